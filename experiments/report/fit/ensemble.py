"""What the operator's ensemble, or its uncertainty, does to a posterior, as the summary says."""

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


@dataclasses.dataclass(frozen=True)
class SurveyChanges:
    """What the observation model's uncertainty does, or would do, to each parameter.

    **Arguments:**

    - `n`: models of halves of the injections; 0 where none is known. `counts`: whether it does.
    - `effective`: as of `starcensus.inference.ObservationChange`.
    - `n_points`: that took the place of the fit's draws, 0 if none did.
    - `rows`: empty where neither reaches that far.
    """

    n: int
    counts: bool
    effective: float
    n_points: int
    rows: tuple["OperatorChange", ...]


def survey_changes(run: Run) -> SurveyChanges:
    """What the summary of a run says of its observation model's uncertainty."""
    n = run.summary.get("observation.n_halves")
    effective = finite(run.summary.get("observation.effective_draws"))
    n_points = run.summary.get("observation.n_points")
    return SurveyChanges(
        n if isinstance(n, int) else 0,
        bool(run.summary.get("observation.uncertainty")),
        0.0 if effective is None else effective,
        n_points if isinstance(n_points, int) else 0,
        _rows(run, "observation"),
    )


def _rows(run: Run, of: str) -> tuple["OperatorChange", ...]:
    rows = []
    for q in run.quantities:
        shift = finite(run.summary.get(f"{of}.{q.name}.shift"))
        widening = finite(run.summary.get(f"{of}.{q.name}.widening"))
        if shift is not None and widening is not None:
            rows.append(OperatorChange(q, shift, widening))
    return tuple(rows)


@dataclasses.dataclass(frozen=True)
class OperatorChange:
    """What the operator's uncertainty does to one parameter.

    **Arguments:**

    - `shift`: change of the mean, in errors without. `widening`: error with it over that without.
    """

    quantity: Quantity
    shift: float
    widening: float


@dataclasses.dataclass(frozen=True)
class OperatorChanges:
    """A row for each parameter, empty where the draws do not reach that far.

    **Arguments:**

    - `n`: how many numbers were sampled; 0 where the operator's uncertainty does not count.
    - `kept`, `effective`, `pull`: as of `starcensus.inference.OperatorChange`.
    """

    n: int
    kept: float
    effective: float
    pull: float
    rows: tuple[OperatorChange, ...]


def operator_changes(run: Run) -> OperatorChanges:
    """What the summary of a run says of its operator's uncertainty."""
    n = run.summary.get("operator.n_directions")

    def number(name: str) -> float:
        found = finite(run.summary.get(f"operator.{name}"))
        return 0.0 if found is None else found

    return OperatorChanges(
        n if isinstance(n, int) else 0,
        number("kept"),
        number("effective_draws"),
        number("largest_pull"),
        _rows(run, "operator"),
    )
