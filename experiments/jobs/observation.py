"""What a survey measures of a cluster, learned from injections."""

import time
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs.learning import load_tables, table_inputs
from starcensus.experiments.schema.observation import ObservationFile
from starcensus.runs import Input
from starcensus.selection.injection import InjectionTable, at_planned_places
from starcensus.selection.learning.features import nuisance_columns
from starcensus.selection.observation import (
    LearnedObservation,
    learn_observation,
    of_whole_area,
    recorded_photometry,
    save_observation,
)


@JOBS.register("observation")
class ObservationJob(Job[ObservationFile]):
    """A file of an observation model (.h5)."""

    makes_file: ClassVar[bool] = True

    def inputs(self) -> dict[str, Input]:
        return table_inputs((*self.file.tables, *self.file.test), self.sources)

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def run(self, show: Show) -> Outcome:
        show.stage("reading tables")
        file, settings = self.file, self.file.learn_settings()
        tables = load_tables(file.tables, self.sources)
        tests = load_tables(file.test, self.sources)
        began = time.perf_counter()

        def progress(epoch: int, loss: float, held_out: float) -> None:
            show.stage(f"epoch {epoch + 1}: loss {loss:.4f}, held out {held_out:.4f}")

        show.stage("learning which are catalogued")
        joined = InjectionTable.concatenate(*map(of_whole_area, tables.values()))
        learned = learn_observation(joined, settings, progress=progress)
        summary: dict[str, Any] = {
            "n_injections": len(joined),
            "n_catalogued": int(joined.catalogued.sum()),
            "train_loss": learned.losses[0],
            "validation_loss": learned.losses[1],
            "wall_s": time.perf_counter() - began,
        }
        if tests:
            show.stage("judging")
            learned.marks.refuse(tests, "the observation model")
            test = InjectionTable.concatenate(*map(of_whole_area, tests.values()))
            summary |= judged(learned, at_planned_places(test, file.seed))
        facts = {
            "inputs": {item.name: f"sha256:{item.sha256}" for item in self.inputs().values()},
            "title": file.title,
        }
        save_observation(learned, self.out, facts)
        return Outcome(summary)


def judged(learned: LearnedObservation, test: InjectionTable) -> dict[str, Any]:
    """How uniform what was recorded of other injections is, and how many are catalogued."""
    seen = recorded_photometry(test, learned.max_error)
    known = learned.patterns(seen).any(axis=1)
    held, seen = test.take(np.flatnonzero(test.catalogued)[known]), seen.take(known)
    nuisance = learned.selection.nuisance
    further = nuisance_columns(held, () if nuisance is None else nuisance.names)
    found = learned.transforms(seen, held.true_mags, further)
    columns = {"ci": found.ci, **dict(zip(learned.bands, found.bands.T, strict=True))}
    p = learned.p_sel(test.true_mags)
    expected, scatter = float(p.sum()), float(np.sqrt((p * (1 - p)).sum()))
    summary: dict[str, Any] = {
        "test.n_catalogued": int(test.catalogued.sum()),
        "test.expected": expected,
        "test.expected_sd": scatter,
        "test.n_of_other_patterns": int((~known).sum()),
    }
    for name, u in columns.items():
        some = u[np.isfinite(u)]
        if len(some):
            summary[f"test.{name}_distance"] = largest_distance(some)
            # That of Kolmogorov, for many.
            summary[f"test.{name}_band"] = 1.358 / len(some) ** 0.5
    return summary


def largest_distance(u: Float[np.ndarray, "n"]) -> float:
    """Of the ECDF of numbers from the uniform one."""
    steps = np.arange(len(u) + 1) / len(u)
    ordered = np.sort(u)
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))
