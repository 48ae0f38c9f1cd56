"""kind = "evaluation": a learned operator against injections that it has not seen."""

from starcensus.experiments.schema._base import FILES, File
from starcensus.experiments.schema.learning import Tables
from starcensus.selection import About
from starcensus.selection.learning.validate import NEIGHBOURS


@FILES.register("evaluation")
class EvaluationFile(File):
    """Errors, reliability and figures of a learned operator.

    **Arguments:**

    - `operator`: file of the operator.
    - `tables`: injection tables that it was not trained on, joined.
    - `accept`: in what the tables may differ from the survey that the operator was learned in.
    - `neighbours`: counts of neighbours among which the yardstick is chosen.
    """

    operator: str
    tables: Tables
    accept: tuple[About, ...] = ()
    neighbours: tuple[int, ...] = NEIGHBOURS
