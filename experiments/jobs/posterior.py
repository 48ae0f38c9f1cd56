"""What catalogued clusters are, learned from injections."""

import time
from typing import Any, ClassVar

import numpy as np

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs.learning import load_tables, table_inputs
from starcensus.experiments.schema.posterior import PosteriorFile
from starcensus.inference.calibration import ecdf_band
from starcensus.runs import Input
from starcensus.selection.finder.cells import PARAMETERS
from starcensus.selection.finder.coverage import judge_coverage
from starcensus.selection.injection import InjectionTable, at_planned_places
from starcensus.selection.posterior import LearnedPosterior, learn_posterior


@JOBS.register("posterior")
class PosteriorJob(Job[PosteriorFile]):
    """A file of a learned posterior (.h5)."""

    makes_file: ClassVar[bool] = True

    def inputs(self) -> dict[str, Input]:
        both = (*self.file.tables, *self.file.test)
        return table_inputs(both, self.sources)

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def run(self, show: Show) -> Outcome:
        show.stage("reading tables")
        file, settings = self.file, self.file.learn_settings()
        tables = load_tables(file.tables, self.sources)
        tests = load_tables(file.test, self.sources)
        began = time.perf_counter()

        def progress(member: int, epoch: int, loss: float, held_out: float) -> None:
            show.stage(
                f"network {member + 1} of {settings.n_members}, epoch {epoch + 1}: loss "
                f"{loss:.4f}, held out {held_out:.4f}"
            )

        learned = learn_posterior(tables, settings, file.bounds, progress)
        wall = time.perf_counter() - began
        summary: dict[str, Any] = {
            "n_catalogued": learned.n_rows,
            "columns": list(learned.inputs.names),
            "train_loss": float(np.mean(learned.losses[:, 0])),
            "validation_loss": float(np.mean(learned.losses[:, 1])),
            "wall_s": wall,
        }
        if tests:
            show.stage("judging")
            test = at_planned_places(InjectionTable.concatenate(*tests.values()), self.file.seed)
            learned.marks.refuse(tests, "the posterior")
            summary |= judged(learned, test, self.file.seed)
        inputs = {item.name: f"sha256:{item.sha256}" for item in self.inputs().values()}
        learned.save(self.out, {"inputs": inputs, "title": file.title})
        return Outcome(summary)


def judged(learned: LearnedPosterior, test: InjectionTable, seed: int) -> dict[str, Any]:
    """Log score, errors and coverage on injections that it has not seen."""
    answers, truths = learned.of_injections(test)
    true = answers.check(truths)
    scores = answers.log_score(true)
    errors = np.abs(answers.points() - true)
    found: dict[str, Any] = {
        "test.log_score": float(scores.mean()),
        "test.log_score_error": float(scores.std() / np.sqrt(len(scores))),
    }
    for k, name in enumerate(PARAMETERS):
        found[f"test.{name}_median_error"] = float(np.median(errors[:, k]))
        found[f"test.{name}_p95"] = float(np.quantile(errors[:, k], 0.95))
    coverage = judge_coverage(answers, truths, ecdf_band, seed=seed)
    return found | {f"test.{name}": value for name, value in coverage.describe().items()}
