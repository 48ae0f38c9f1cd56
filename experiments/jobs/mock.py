"""Mock catalogues of a known population."""

import dataclasses
from typing import Any

import jax

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._operators import (
    build_selection,
    operator_digest,
    operator_input,
)
from starcensus.experiments.schema.mock import MockFile
from starcensus.forward.mock import mock_catalogue
from starcensus.runs import Input
from starcensus.selection import save_selection
from starcensus.selection.catalogue import write_catalogue


@JOBS.register("mock")
class MockJob(Job[MockFile]):
    """`catalogue.ecsv`, with the true parameters in its metadata, and `operator.h5`."""

    def inputs(self) -> dict[str, Input]:
        path = self.file.selection.path
        return {} if path is None else {"selection": operator_input(path, self.sources)}

    def settings(self) -> dict[str, Any]:
        file = self.file
        numbers = operator_digest(file.selection, file.population.bounds, self.sources)
        return super().settings() | {"operator": numbers}

    def results(self) -> tuple[str, ...]:
        return "catalogue.ecsv", "operator.h5"

    def run(self, show: Show) -> Outcome:
        show.stage("drawing clusters")
        population = self.file.population.true_population()
        selection = build_selection(self.file.selection, population.box, self.sources)
        with jax.enable_x64(True):
            key = jax.random.key(self.file.seed)
            mock = mock_catalogue(
                key, population, selection, self.file.sigma, source=self.file.title or "mock"
            )
        facts = {"truth": mock.truth, "n_drawn": mock.n_drawn, "seed": self.file.seed}
        catalogue = dataclasses.replace(mock.catalogue, meta={**mock.catalogue.meta, **facts})
        write_catalogue(catalogue, self.out / "catalogue.ecsv")
        save_selection(selection, self.out / "operator.h5")
        truth = {f"truth.{name}": value for name, value in mock.truth.items()}
        return Outcome({"n_clusters": len(catalogue), "n_drawn": mock.n_drawn, **truth})
