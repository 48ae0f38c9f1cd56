"""What each member of the operator's ensemble would have given, as the summary says."""

import dataclasses

from starcensus.experiments.report.fit.load import Quantity, Run, finite


@dataclasses.dataclass(frozen=True)
class Changes:
    """How one parameter changes under each member, in errors of this fit.

    **Arguments:**

    - `members`: a number for each member; None where its posterior is too far.
    - `widening`: the error with the ensemble's spread over that of this fit; None where unknown.
    """

    quantity: Quantity
    members: tuple[float | None, ...]
    widening: float | None

    @property
    def largest(self) -> float:
        return max((abs(x) for x in self.members if x is not None), default=0.0)


def changes(run: Run) -> tuple[list[Changes], list[str]]:
    """A row for each parameter, and the members of which nothing can be said; of an operator that
    has no ensemble, or a run that does not say, nothing."""
    n = run.summary.get("ensemble.n_members")
    members = range(n if isinstance(n, int) else 0)
    rows = []
    for q in run.quantities if members else ():
        error = float(q.flat.std())
        found = [finite(run.summary.get(f"ensemble.member_{k}.{q.name}")) for k in members]
        if error > 0:
            scaled = tuple(None if x is None else x / error for x in found)
            rows.append(Changes(q, scaled, finite(run.summary.get(f"ensemble.{q.name}.widening"))))
    said = [run.summary.get(f"ensemble.member_{k}.refused") for k in members]
    return rows, [text for text in said if isinstance(text, str)]
