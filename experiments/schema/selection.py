"""[selections.NAME]: the operators of fits, mocks and calibrations."""

from typing import Annotated, Any, Literal

import pydantic

from starcensus.experiments.schema._base import Strict
from starcensus.experiments.schema._kinds import Named
from starcensus.selection import operator_kinds
from starcensus.theta import Box

Triple = tuple[float, float, float]


class SelectionTable(Strict):
    """An operator: the probability that a cluster is catalogued.

    **Arguments:**

    - `kind`: `complete` (inside the bounds), `magnitude` (a limit on the mean light of clusters),
      `c4_physical` (the published C-4 network, from the installed package), `file` (an operator
      that starcensus saved), or the name of a registered operator, one's own too.
    - `path`: of the operator, for kind `file`.
    - `options`: arguments of the operator, for the other kinds.
    - `acts_on`: where it stands in the likelihood, instead of what the operator says: `data` in
      the normalisation alone, `truth` also in each cluster's term.
    - `recorded_sigma`: the rule was applied to recorded values with these Gaussian errors (dex,
      dex, mag), so that the operator is an integral over them.
    - `recorded_limits`: only recorded values inside this box were kept; the operator is
      multiplied by the probability of that.
    - `limits_sigma`: Gaussian errors (dex, dex, mag) for `recorded_limits`, by default the
      catalogue's median errors.
    - `description`: for the report.
    """

    kind: Annotated[str, Named(operator_kinds, "selection operator")]
    path: str | None = None
    options: dict[str, Any] = pydantic.Field({})
    acts_on: Literal["data", "truth"] | None = None
    recorded_sigma: Triple | None = None
    recorded_limits: Box | None = None
    limits_sigma: Triple | None = None
    description: str = ""

    @pydantic.model_validator(mode="after")
    def _path_for_file(self) -> "SelectionTable":
        if (self.kind == "file") != (self.path is not None):
            raise ValueError("path goes with kind = 'file', and kind = 'file' needs it")
        return self
