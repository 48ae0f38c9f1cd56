"""A learned operator against injections that it has not seen."""

import dataclasses

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._operators import operator_input
from starcensus.experiments.jobs.learning import load_tables, table_inputs
from starcensus.experiments.schema.evaluation import EvaluationFile
from starcensus.runs import Input
from starcensus.selection.learning import evaluate

# The latter two are of repeated clusters alone.
_FIGURES = "reliability.png", "binned.png", "errors.png"


@JOBS.register("evaluation")
class EvaluationJob(Job[EvaluationFile]):
    """Figures of an operator's errors and reliability."""

    def inputs(self) -> dict[str, Input]:
        found = {"operator": operator_input(self.file.operator, self.sources)}
        return found | table_inputs(self.file.tables, self.sources)

    def results(self) -> tuple[str, ...]:
        return tuple(name for name in _FIGURES if (self.out / name).exists())

    def run(self, show: Show) -> Outcome:
        from starcensus.experiments.report.learned import evaluation_figures  # loads Matplotlib

        show.stage("evaluating")
        path = self.sources.file(self.file.operator, "operator")
        tables = load_tables(self.file.tables, self.sources)
        found = evaluate(path, tables, self.file.neighbours, self.file.accept)
        test = None if found.repeats is None else found.repeats.test
        for name in _FIGURES:
            # None is left of another evaluation.
            (self.out / name).unlink(missing_ok=True)
        evaluation_figures(self.out, found.reliability, test, found.p)
        by_k = {"neighbours.by_k": found.by_k()} if found.repeats is not None else {}
        for difference in found.differences:
            show.say(f"{difference.about}: {difference.words}")
        if not found.logistic:
            show.say(
                f"{self.file.operator} keeps no logistic regression to compare the networks with; "
                "an operator that is learned again does"
            )
        for name, each in found.logistic.items():
            columns = ", ".join(each.regression.columns)
            words = f"{each.gain:+.4f} ± {each.gain_error:.4f} nats"
            show.say(
                f"logistic regression ({name}) in {columns}: log-loss {each.log_loss:.4f}; the "
                f"networks' {found.log_loss:.4f} is lower by {words}"
            )
        said = [dataclasses.asdict(each) for each in found.differences]
        return Outcome({**found.summary(), **by_k}, {"differences": said} if said else {})
