"""A learned operator against injections that it has not seen."""

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._operators import operator_input
from starcensus.experiments.jobs.learning import load_tables, table_inputs
from starcensus.experiments.schema.evaluation import EvaluationFile
from starcensus.runs import Input
from starcensus.selection.learning import evaluate


@JOBS.register("evaluation")
class EvaluationJob(Job[EvaluationFile]):
    """Figures of an operator's errors and reliability."""

    def inputs(self) -> dict[str, Input]:
        found = {"operator": operator_input(self.file.operator, self.sources)}
        return found | table_inputs(self.file.tables, self.sources)

    def results(self) -> tuple[str, ...]:
        return ()

    def run(self, show: Show) -> Outcome:
        from starcensus.experiments.report.learned import evaluation_figures  # loads Matplotlib

        show.stage("evaluating")
        path = self.sources.file(self.file.operator, "operator")
        tables = load_tables(self.file.tables, self.sources)
        found = evaluate(path, tables, self.file.neighbours)
        test = None if found.repeats is None else found.repeats.test
        evaluation_figures(self.out, found.reliability, test, found.p)
        by_k = {"neighbours.by_k": found.by_k()} if found.repeats is not None else {}
        return Outcome({**found.summary(), **by_k})
