"""[selections.NAME]: the operators of fits, mocks and calibrations."""

from typing import Annotated, Any, Literal

import pydantic

from starcensus.experiments.schema._base import Strict
from starcensus.experiments.schema._kinds import Named, schema_of
from starcensus.selection import About, operator_kinds, operator_maker

Triple = tuple[float, float, float]


class _Options:
    """Annotation of the options of an operator: those of every kind are listed."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        each = {kind: operator_maker(kind) for kind in operator_kinds() if kind != "file"}
        # The file is named by `path`.
        listed = [
            {**schema_of(maker, without=("box",)), "label": f'options of kind = "{kind}"'}
            for kind, maker in each.items()
            if maker is not None
        ]
        return {"type": "object", "tables": listed}


class SelectionTable(Strict):
    """An operator: the probability that a cluster is catalogued.

    **Arguments:**

    - `kind`: `complete` (inside the bounds), `magnitude` (a limit on the mean light of clusters),
      `c4_physical` (the published C-4 network, from the installed package), `file` (an operator
      that starcensus saved), or the name of a registered operator, one's own too.
    - `path`: of the operator, for kind `file`.
    - `options`: arguments of the operator, for the other kinds.
    - `member`: take one member of the operator's ensemble alone, from 0.
    - `acts_on`: where it stands in the likelihood, instead of what the operator says: `data` in
      the normalisation alone, `truth` also in each cluster's term.
    - `accept`: in what the catalogue may differ from the survey that the operator was learned in;
      the report says what differs.
    - `recorded_sigma`: the rule was applied to recorded values with these Gaussian errors (dex,
      dex, mag), so that the operator is an integral over them.
    - `uncertainty`: of fits, whether what the operator's injections left open about it is fitted
      along with the parameters. Off unless said, since it costs a fit of very many clusters its
      shortcuts; the report says which, and how uncertain the operator leaves the expected number.
    - `description`: for the report.
    """

    kind: Annotated[str, Named(operator_kinds, "selection operator")]
    path: str | None = None
    options: Annotated[dict[str, Any], _Options()] = pydantic.Field({})
    member: int | None = None
    acts_on: Literal["data", "truth"] | None = None
    accept: tuple[About, ...] = ()
    recorded_sigma: Triple | None = None
    uncertainty: bool = False
    description: str = ""

    @pydantic.model_validator(mode="after")
    def _path_for_file(self) -> "SelectionTable":
        if (self.kind == "file") != (self.path is not None):
            raise ValueError("path goes with kind = 'file', and kind = 'file' needs it")
        if self.uncertainty and self.member is not None:
            raise ValueError(
                "uncertainty is that of the ensemble's mean, and member takes one network alone; "
                "leave one of them out"
            )
        return self
