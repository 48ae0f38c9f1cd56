"""Units that a table's own numbers contradict, and tables that hold everything twice."""

import re
from typing import TYPE_CHECKING

import numpy as np

from ._base import CatalogueError
from .checks import LOG_AGE_RANGE
from .column_map import Quantity

if TYPE_CHECKING:
    import astropy.table

_REDDENING = re.compile(r"e[_ ]?\(?b[_ -]*v\)?|ebv|reddening", re.IGNORECASE)
_EXTINCTION = re.compile(r"a[_ ]?\(?v\)?|avbest|av[-_ ].*|extinction", re.IGNORECASE)
# Fewer rows may have such values by chance.
_FEWEST = 5


def check_meaning(source: str, q: Quantity, values: np.ndarray) -> None:
    """Values and names that say another unit than the map does.

    A `scale` that the map states is believed, and so is a column that is given by its number.
    Raises `CatalogueError`.
    """
    name = q.column if isinstance(q.column, str) else ""
    if q.bare_unit == "mag" and _REDDENING.fullmatch(name):
        raise CatalogueError(
            f"{source}: column {name}: its name says E(B-V), the column map says unit 'mag', which "
            "is A_V; say unit = 'E(B-V)', or give the column by its number if it is A_V"
        )
    if q.bare_unit == "E(B-V)" and _EXTINCTION.fullmatch(name):
        raise CatalogueError(
            f"{source}: column {name}: its name says A_V, the column map says unit 'E(B-V)'; say "
            "unit = 'mag', or give the column by its number if it is E(B-V)"
        )
    known = values[np.isfinite(values)]
    is_age = q.bare_unit in ("yr", "Myr", "Gyr")
    if not is_age or len(known) < _FEWEST or "scale" in q.model_fields_set:
        return
    low, high = LOG_AGE_RANGE
    if (known > low).all() and (known < high).all() and np.ptp(known) > 0.3:
        raise CatalogueError(
            f"{source}: column {q.column}: all ages are between {known.min():g} and "
            f"{known.max():g} {q.unit}: they look like log10 of years. Say scale = 'log10' and "
            f"unit = 'yr', or scale = 'linear' if they are {q.unit}"
        )


def check_errors(
    source: str,
    q: Quantity,
    best: np.ndarray,
    errors: np.ndarray,
    name: str,
    limits: bool = False,
) -> None:
    """Errors that are in another unit than the map says.

    **Arguments:**

    - `errors`: as they stand in the table; upper limits where `limits`.

    Raises `CatalogueError`.
    """
    known = np.isfinite(best) & np.isfinite(errors) & (errors > 0)
    if q.is_extinction or known.sum() < 1:
        return
    typical, value = float(np.median(errors[known])), float(np.median(best[known]))
    if limits:
        if q.scale == "linear" and value > 100 and (errors[known] < 12).all():
            raise CatalogueError(
                f"{source}: column {name}: limits of {typical:.3g} beside values of {value:.3g} "
                f"{q.unit} look like log10; expected limits in the scale of the values"
            )
        return
    said = None
    if q.scale == "log10" or q.error_unit == "dex":
        # No estimate is that bad: a factor of 1,000 either way.
        said = "a linear error or per cent, not dex" if typical > 3.0 else None
    elif q.error_unit == "fraction":
        said = "per cent or a linear error, not a fraction" if typical > 5.0 else None
    elif known.sum() >= _FEWEST and typical < 1e-3 * value:
        said = "dex or a fraction, not of the value's unit"
    if said is not None:
        raise CatalogueError(
            f"{source}: column {name}: errors of {typical:.3g} beside values of {value:.3g} "
            f"({q.scale} {q.unit}) look like {said}; say error_unit = 'dex', 'fraction' or "
            "'same', whichever is right"
        )


def check_not_repeated(
    source: str, table: "astropy.table.Table", rows: np.ndarray, word: str
) -> None:
    """Raises `CatalogueError` for a table without ids whose second half is its first again."""
    n = len(table)
    if n < 4 or n % 2:
        return
    first, second = table[: n // 2], table[n // 2 :]
    for name in table.colnames:
        a, b = (np.ma.filled(np.ma.asarray(t[name]).astype(str), "") for t in (first, second))
        if not np.array_equal(a, b):
            return
    if all(len(np.unique(np.asarray(first[name]).astype(str))) == 1 for name in table.colnames):
        return
    raise CatalogueError(
        f"{source}: {word}s {rows[n // 2]} to {rows[-1]} repeat {word}s {rows[0]} to "
        f"{rows[n // 2 - 1]}, all {n // 2} of them; remove one half, or give the id column if they "
        "are other clusters"
    )
