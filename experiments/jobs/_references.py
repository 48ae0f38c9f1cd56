"""From [references] to how far what was measured is from values that others have."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from starcensus.experiments.jobs._prior import Prior
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.measure import ReferenceTable
from starcensus.inference.measure import LEVELS, Measured
from starcensus.inference.objects import LightObjects
from starcensus.inference.references import Agreement, reference_ranks
from starcensus.selection.catalogue import Catalogue
from starcensus.theta import AXES


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """A reference beside what was measured.

    **Arguments:**

    - `name`, `table`: as the file has them.
    - `reference`, `error`, `beside`: `(n,)`, in the units of θ; NaN where there is none. The last
      two are None where the table names none.
    - `estimate`: `(n,)`. `low`, `high`: `(n,)`, 16 and 84% of the posterior.
    - `mine`, `theirs`: agreement of the estimates, and of those beside, with the reference.
    """

    name: str
    table: ReferenceTable
    reference: Float[np.ndarray, " n"]
    error: Float[np.ndarray, " n"] | None
    beside: Float[np.ndarray, " n"] | None
    estimate: Float[np.ndarray, " n"]
    low: Float[np.ndarray, " n"]
    high: Float[np.ndarray, " n"]
    mine: Agreement
    theirs: Agreement | None

    @property
    def unit(self) -> str:
        return "mag" if self.table.axis == "a_v" else "dex"

    @property
    def label(self) -> str:
        return self.table.label or self.table.column

    @property
    def beside_label(self) -> str:
        return self.table.beside_label or str(self.table.beside)

    def summary(self) -> dict[str, float | int]:
        """For `summary.json`, without the name before each."""
        found: dict[str, float | int] = dict(self.mine.summary(self.unit))
        if self.theirs is not None:
            found |= {f"beside.{k}": v for k, v in self.theirs.summary(self.unit).items()}
        return found


def compare(
    tables: Mapping[str, ReferenceTable],
    catalogue: Catalogue,
    objects: LightObjects,
    found: Measured,
    prior: Prior,
) -> tuple[Compared, ...]:
    """All references of a file; raises `ConfigError` for columns that are not there, or no numbers.

    **Arguments:**

    - `catalogue`: of all clusters, with its further columns.
    - `objects`: those that were measured. `found`: what is known of them.
    """
    names = [str(each) for each in catalogue.ids]
    place = {name: i for i, name in enumerate(names)}
    rows = np.array([place[str(each)] for each in objects.ids])
    return tuple(
        _compared(name, table, catalogue, rows, objects, found, prior)
        for name, table in tables.items()
    )


def check_columns(tables: Mapping[str, ReferenceTable], catalogue: Catalogue) -> None:
    """Raises `ConfigError` for columns of references that are not there, or are words."""
    for name, table in tables.items():
        for key in ("column", "error", "beside"):
            column = getattr(table, key)
            if column is not None:
                _column(f"references.{name}.{key}", column, catalogue)


def _column(where: str, name: str, catalogue: Catalogue) -> Float[np.ndarray, " n"]:
    if name not in catalogue.columns:
        there = ", ".join(catalogue.columns) or "none"
        raise ConfigError(
            f"{where}: {catalogue.source} has no further column {name!r}; there are {there}. A "
            "column map keeps further ones by `columns`"
        )
    values = catalogue.columns[name]
    if values.dtype.kind not in "iuf":
        raise ConfigError(f"{where}: column {name} of {catalogue.source} holds no numbers")
    return np.asarray(values, float)


def _compared(
    name: str,
    table: ReferenceTable,
    catalogue: Catalogue,
    rows: np.ndarray,
    objects: LightObjects,
    found: Measured,
    prior: Prior,
) -> Compared:
    where = f"references.{name}"
    reference = _on_axis(f"{where}.column", table.column, table, catalogue, rows)
    beside = error = None
    if table.beside is not None:
        beside = _on_axis(f"{where}.beside", table.beside, table, catalogue, rows)
    if table.error is not None:
        error = _column(f"{where}.error", table.error, catalogue)[rows]
    of = {"mean": found.mean, "p50": found.quantiles[LEVELS.index(0.5)], "mode": found.mode}
    axis = AXES.index(table.axis)
    estimate = of[table.estimate][:, axis]
    density, box = prior.log_density, prior.box
    try:
        ranks = reference_ranks(objects, density, box, table.axis, reference, error)
        mine = Agreement.of(estimate, reference, ranks)
        theirs = None if beside is None else Agreement.of(beside, reference)
    except ValueError as wrong:
        raise ConfigError(f"{where}: {wrong}") from wrong
    low, _, high = found.quantiles[:, :, axis]
    return Compared(name, table, reference, error, beside, estimate, low, high, mine, theirs)


def _on_axis(
    where: str, column: str, table: ReferenceTable, catalogue: Catalogue, rows: np.ndarray
) -> Float[np.ndarray, " n"]:
    """A column in the units of θ."""
    values = _column(where, column, catalogue)[rows]
    if table.scale == "log10" or table.axis == "a_v":
        return values
    if (values <= 0).any():
        raise ConfigError(
            f"{where}: {column} holds {np.nanmin(values):g}, which has no log10; list markers of "
            "missing values under missing in the column map"
        )
    return np.log10(values)
