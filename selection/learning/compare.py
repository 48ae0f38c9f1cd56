"""What another assumption about the images, such as their PSF, changes in a learned operator."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..injection import InjectionTable
from .features import LearnedOperator
from .guards import LearningError
from .predict import predict, predict_members

# More radii than this are put into bins of equal numbers.
_FEW_RADII, _BINS = 12, 4


def compare(
    tables: tuple[InjectionTable, InjectionTable],
    operators: tuple[LearnedOperator, LearnedOperator],
) -> dict[str, int | float]:
    """Change of p_sel from one operator to another, at the injected clusters.

    Both are asked about the same clusters, places and skies. `change.members` is what two trainings
    of the same injections would differ by, from the spread within both ensembles: a smaller
    `change.rms` is none.

    **Arguments:**

    - `tables`: injections of the same clusters into the same places, under the two assumptions.
    - `operators`: learned from the one and from the other.

    Returns the means of both; mean, root mean square and 95th percentile of the size of the change;
    `change.members`; and the paired change of the share that was catalogued, with its standard
    error.
    Raises `LearningError` for tables of other clusters or places.

    ```python
    compare((table, table), (learned.operator, learned.operator))["change.rms"]  # 0.0
    ```
    """
    one, other = tables
    _refuse_other_clusters(one, other)
    p, q = (predict(operator, one) for operator in operators)
    change = q - p
    paired = other.catalogued.astype(float) - one.catalogued
    spread = [_uncertainty(operator, one) for operator in operators]
    return {
        "n_injections": len(one),
        "mean_p.first": float(p.mean()),
        "mean_p.second": float(q.mean()),
        "change.mean": float(change.mean()),
        "change.rms": float(np.sqrt((change**2).mean())),
        "change.p95": float(np.percentile(np.abs(change), 95)),
        "change.members": float(np.sqrt(spread[0] ** 2 + spread[1] ** 2)),
        "catalogued.change": float(paired.mean()),
        "catalogued.change_error": float(paired.std() / len(paired) ** 0.5),
    }


def by_radius(table: InjectionTable) -> list[dict[str, Any]]:
    """Concentration and fate of the injections by half-light radius.

    One row for each radius, or for quarters of the sample where they are many: `r_eff_pc` (its
    mean), `n`, median `ci` of those with a source, and the shares that pass the cut `ci`, if there
    is one, and that are catalogued.

    ```python
    by_radius(table)[0]["catalogued"]
    ```
    """
    rows = []
    for inside in _bins(table.r_eff_pc):
        ci = table.ci[inside]
        row = {"r_eff_pc": float(table.r_eff_pc[inside].mean()), "n": int(inside.sum())}
        if np.isfinite(ci).any():
            row["ci"] = float(np.nanmedian(ci))
        if "ci" in table.cuts:
            sources = inside & np.isfinite(table.ci)
            row["passes_ci"] = float(table.cuts["ci"][sources].mean()) if sources.any() else 0.0
        rows.append({**row, "catalogued": float(table.catalogued[inside].mean())})
    return rows


def _bins(radius: Float[np.ndarray, "n"]) -> list[Bool[np.ndarray, "n"]]:
    each = np.unique(radius)
    if len(each) <= _FEW_RADII:
        return [radius == value for value in each]
    edges = np.quantile(radius, np.linspace(0, 1, _BINS + 1)[1:-1])
    which = np.digitize(radius, edges)
    return [which == i for i in range(_BINS) if (which == i).any()]


def _uncertainty(operator: LearnedOperator, table: InjectionTable) -> float:
    """Root mean square of the standard error of an ensemble's mean; 0 of a single network."""
    members = predict_members(operator, table)
    if len(members) < 2:
        return 0.0
    return float(np.sqrt((members.var(axis=0, ddof=1) / len(members)).mean()))


def _refuse_other_clusters(one: InjectionTable, other: InjectionTable) -> None:
    same = len(one) == len(other) and all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("cluster", "x", "y")
    )
    if not same:
        raise LearningError(
            "the tables hold other clusters or places; expected the same plan, library and images, "
            "so that only what was assumed differs"
        )
