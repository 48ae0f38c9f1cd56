"""Calibrations: coverage, ranks, and a picture of both for every case."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._operators import (
    build_selection,
    operator_digest,
    operator_inputs,
)
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.calibration import CalibrationFile, CaseTable
from starcensus.inference.calibration import (
    Calibration,
    CalibrationSettings,
    Problem,
    ScoreTest,
    calibrate_problem,
    score_test,
)
from starcensus.runs import Input
from starcensus.selection import AbstractSelection, GridSelection, with_acts_on
from starcensus.theta import Box


@JOBS.register("calibration")
class CalibrationJob(Job[CalibrationFile]):
    """`NAME.h5` and `NAME.png` for every case."""

    def inputs(self) -> dict[str, Input]:
        return operator_inputs(self.file.selections, self.sources)

    def settings(self) -> dict[str, Any]:
        file = self.file
        used = {(c.population, name) for c in file.cases for name in (c.generator, c.selection)}
        numbers = {
            f"{population}.{name}": operator_digest(
                file.selections[name], file.populations[population].bounds, self.sources
            )
            for population, name in sorted(used)
        }
        return super().settings() | {"operators": numbers}

    def results(self) -> tuple[str, ...]:
        return tuple(
            f"{case.name}.{suffix}" for case in self.file.cases for suffix in ("h5", "png")
        )

    def run(self, show: Show) -> Outcome:
        from starcensus.experiments.report.calibration import (
            calibration_figure,  # loads Matplotlib
        )

        summary: dict[str, Any] = {"n_catalogues": self.file.calibration.n_catalogues}
        for case in self.file.cases:
            started = time.perf_counter()
            scores = self.score(case, show)
            result = self.calibrate(case, show)
            seconds = round(time.perf_counter() - started, 1)
            accepted = result.accepted() and scores.accepted()
            facts = {**scores.describe(), **result.describe(), "wall_s": seconds}
            facts |= {"accepted": accepted, "as_expected": accepted == case.passes}
            summary |= {f"{case.name}.{name}": value for name, value in facts.items()}
            picture = self.out / f"{case.name}.png"
            calibration_figure(picture, result, case.name)
        return Outcome(summary)

    def calibrate(self, case: CaseTable, show: Show) -> Calibration:
        """The posteriors of one case."""
        out = self.out / f"{case.name}.h5"
        problem, stage = self.problem(case), _stage(case, show)
        return calibrate_problem(problem, stage, out, self.work, self.own_inputs())

    def score(self, case: CaseTable, show: Show) -> ScoreTest:
        """The score test of one case, of other catalogues than are fitted."""
        settings = self.file.calibration
        settings = dataclasses.replace(
            settings, n_catalogues=settings.n_scored, seed=self.file.seed + 1
        )
        return score_test(self.problem(case, settings), _stage(case, show))

    def problem(self, case: CaseTable, settings: CalibrationSettings | None = None) -> Problem:
        """What a case calibrates."""
        model = self.file.populations[case.population].model()
        box = model.population.box
        generator, selection = (
            build_selection(self.file.selections[name], box, self.sources)
            for name in (case.generator, case.selection)
        )
        if case.acts_on is not None and case.acts_on != selection.acts_on:
            selection = with_acts_on(_on_grid(selection, box), case.acts_on)
        settings = settings or dataclasses.replace(self.file.calibration, seed=self.file.seed)
        return Problem.drawn(model, generator, case.sigma, selection, settings)


def _stage(case: CaseTable, show: Show) -> Callable[[str], None]:
    return lambda stage: show.stage(f"{case.name}: {stage}")


def chosen_job(
    file: CalibrationFile,
    *args: Any,
    n: int | None,
    scored: int | None,
    batch: int | None,
    cases: list[str] | None,
    **how: Any,
) -> CalibrationJob:
    """The job with another number of catalogues, another batch, or some of the cases.

    Where `n` is given and `scored` is not, as many scores go with a posterior as in the file.

    Raises `ConfigError` for a case that the file does not have.
    """
    known = {case.name: case for case in file.cases}
    if unknown := sorted(set(cases or ()) - set(known)):
        raise ConfigError(f"no case {', '.join(unknown)}; the file has {', '.join(known)}")
    whole = file.calibration
    if n is not None and scored is None:
        scored = max(1, round(whole.n_scored * n / whole.n_catalogues))
    change = {"n_catalogues": n, "n_scored": scored, "batch": batch}
    given: dict[str, Any] = {name: value for name, value in change.items() if value is not None}
    settings = dataclasses.replace(whole, **given)
    kept = tuple(known[name] for name in cases) if cases else file.cases
    changed = file.model_copy(update={"calibration": settings, "cases": kept})
    return CalibrationJob(changed, *args, **how)


def _on_grid(selection: AbstractSelection, box: Box) -> GridSelection:
    """On a grid an integral over recorded values costs no more than any other operator."""
    nodes = [np.linspace(*limits, 61) for limits in (box.log_mass, box.log_age, box.a_v)]
    p_sel = np.clip(np.asarray(selection.on_tensor_grid(*nodes)), 0.0, 1.0)
    return GridSelection.from_probabilities(nodes, p_sel, outside=selection.outside)
