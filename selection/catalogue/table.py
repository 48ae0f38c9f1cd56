"""Any table of clusters, read through a declared column map."""

import dataclasses
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from starcensus.files import Path, listed

from ._base import Catalogue, CatalogueError
from .bad_rows import MAX_SHARE, BadRows
from .checks import GAUSSIAN, check, enclose, existing_file, implausible
from .column_map import (
    PHOTOMETRIC_UNITS,
    Column,
    ColumnMap,
    ExtraColumn,
    Markers,
    PhotometryColumns,
    Quantity,
    in_order,
)
from .open_table import Loaded, load
from .photometry import BandState
from .table_checks import check_errors, check_meaning, check_not_repeated

if TYPE_CHECKING:
    import astropy.table

# What the metadata of a pipeline's detections name as their `format`; see `Detections.write`.
DETECTIONS_FORMAT = "starcensus detections"
_PER_DEX = 2.5 / np.log(10.0)


def holds_detections(table: "astropy.table.Table") -> bool:
    """Whether a table is what `Detections.write` wrote, of version 0.1 too."""
    meta = {str(key).lower(): value for key, value in dict(table.meta or {}).items()}
    named = DETECTIONS_FORMAT in (meta.get("format"), *str(meta.get("starcens", "")).split('"'))
    return named or ("pipeline" in meta and {"x", "y", "catalogued"} <= set(table.colnames))


def _texts(column: Any) -> list[str]:
    """The words of a column, without blanks around them."""
    return [
        (word.decode(errors="replace") if isinstance(word, bytes) else str(word)).strip()
        for word in column
    ]


class _Reader:
    """The columns of one table, with errors that say where they are."""

    def __init__(self, source: str, loaded: Loaded) -> None:
        self.source, self.table, self.bad = source, loaded.table, loaded.bad
        self.rows, self.word = loaded.numbers, loaded.word
        if len(self.table) == 0:
            raise CatalogueError(f"{source}: the table has no rows")

    def where(self, row: int, column: Column) -> str:
        return f"{self.source}: {self.word} {self.rows[row]}, column {column}"

    def note(self, mask: np.ndarray, column: Column, reason: str, values: np.ndarray) -> None:
        """Rows that are bad, and why; `{}` in the reason stands for the value."""
        for row in np.flatnonzero(mask):
            self.bad.add(int(self.rows[row]), f"column {column}: {reason.format(values[row])}")

    def raw(self, column: Column) -> "astropy.table.Column":
        names = self.table.colnames
        if isinstance(column, int):
            if not 1 <= column <= len(names):
                raise CatalogueError(
                    f"{self.source}: no column {column}; the table has columns 1 to {len(names)}"
                )
            found: Any = self.table.columns[column - 1]
            return found
        if column not in names:
            by_number = any(re.fullmatch(r"field_\d+", name) for name in names)
            remedy = "; columns without a name of their own are given by number, from 1" * by_number
            raise CatalogueError(
                f"{self.source}: no column {column!r}; the table has {listed(names)}{remedy}"
            )
        found = self.table[column]
        return found

    def numbers(self, name: Column, missing: Markers = ()) -> Float[np.ndarray, " n"]:
        """A column as numbers, NaN for blanks and markers; words are bad rows."""
        return self.cells(name, missing)[0]

    def cells(
        self, name: Column, *groups: Markers
    ) -> tuple[Float[np.ndarray, " n"], list[np.ndarray]]:
        """As `numbers`, and which rows have a marker of each group."""
        values = self._unmarked(name, tuple(m for group in groups for m in group))
        column = self.raw(name)
        texts = None if column.dtype.kind in "iufb" else _texts(column)
        marked = []
        for group in groups:
            here = np.isin(values, [m for m in group if not isinstance(m, str)])
            if texts is not None:
                here |= np.isin(texts, [str(m).strip() for m in group])
            marked.append(here)
        values[np.logical_or.reduce(marked)] = np.nan
        return values, marked

    def _unmarked(self, name: Column, markers: Markers) -> Float[np.ndarray, " n"]:
        """A column as numbers, markers that are numbers among them."""
        column = self.raw(name)
        if column.ndim != 1:
            raise CatalogueError(f"{self.source}: column {name} has shape {column.shape}")
        absent = np.ma.getmaskarray(np.ma.asarray(column))
        if column.dtype.kind in "iufb":
            values = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
        else:
            values = self._words(name, column, absent, markers)
        if column.dtype.kind == "f" and column.dtype.itemsize == 4:
            # The decimal that was published, not its float32 neighbour.
            values = values.astype(np.float32).astype(str).astype(np.float64)
        return values

    def _words(
        self, name: Column, column: Any, absent: np.ndarray, missing: Markers
    ) -> Float[np.ndarray, " n"]:
        markers = {str(m).strip() for m in missing} | {""}
        values = np.full(len(column), np.nan)
        for row, text in enumerate(_texts(column)):
            if absent[row] or text in markers:
                continue
            try:
                values[row] = float(text)
            except ValueError:
                reason = f"column {name}: received {text[:30]!r}, expected a number"
                self.bad.add(int(self.rows[row]), reason)
        return values

    def check_band_unit(self, band: PhotometryColumns, name: Column) -> None:
        """Raises `CatalogueError` if the file says fluxes and the map magnitudes, or another flux.

        A unit that astropy does not know says nothing, and `mag` is of any system.
        """
        from astropy import units

        text = str(self.raw(name).unit or "")
        if not text or band.unit == "flux":
            return
        if text in ("mag(AB)", "ABmag"):
            same = band.unit == "ABmag"
        else:
            try:
                found = units.Unit(text)
            except (ValueError, TypeError):
                return
            if found.is_equivalent(units.mag):
                same = not band.is_flux
            else:
                wanted = units.Unit(band.unit if band.is_flux else "mag")
                same = found.is_equivalent(wanted) and bool(np.isclose(found.to(wanted), 1.0))
        if not same:
            raise CatalogueError(
                f"{self.source}: column {name}: the file says unit {text!r}, the column map "
                f"says {band.unit!r} for {band.name}; expected the same. Say unit = one of "
                f"{', '.join(PHOTOMETRIC_UNITS)}; counts and the like are 'flux', with "
                "zero_point_vega or zero_point_ab"
            )

    def check_unit(self, q: Quantity, name: Column, error: bool = False) -> None:
        """Raises `CatalogueError` if the file gives the column a unit that the map does not."""
        from astropy import units

        unit = self.raw(name).unit
        if unit is None:
            return
        text = str(unit)
        if error and text in _error_units(q):
            return
        log = re.fullmatch(r"\[(.*)\]|dex\((.*)\)|log(?:10)?\((.*)\)", text)
        scale = "log10" if log else "linear"
        inner = next(group for group in log.groups() if group is not None) if log else text
        try:
            found = units.Unit(inner)
            wanted = units.Unit("mag" if q.is_extinction else q.bare_unit)
            same = found.is_equivalent(wanted) and bool(
                np.isclose(found.to(wanted), 1.0 if log else q.own_factor)
            )
        except (ValueError, TypeError):
            same = False
        relative = error and q.error_unit in ("dex", "fraction")
        if relative or not (same and scale == q.scale):
            said = f"error_unit {q.error_unit!r}" if relative else f"{q.scale} {q.unit}"
            raise CatalogueError(
                f"{self.source}: column {name}: the file says unit {text!r}, the column map says "
                f"{said}; correct the one that is wrong"
            )


def _error_units(q: Quantity) -> tuple[str, ...]:
    """Units of an error column that need no look at the value's."""
    if q.scale == "log10" or q.error_unit == "dex":
        return ("dex", "")
    return ("",) if q.error_unit == "fraction" else ()


def _to_theta(values: Float[np.ndarray, "..."], q: Quantity) -> Float[np.ndarray, "..."]:
    if q.is_extinction:
        return values * q.factor * (q.r_v if q.bare_unit == "E(B-V)" else 1.0)
    if q.scale == "log10":
        return values + np.log10(q.factor)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values * q.factor)


def _quantity(
    reader: _Reader, q: Quantity, gaussian: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best, low and high in the units of θ; NaN where missing."""
    best = reader.numbers(q.column, q.missing)
    reader.check_unit(q, q.column)
    check_meaning(reader.source, q, best)
    if q.scale == "linear" and not q.is_extinction:
        reader.note(
            best <= 0,
            q.column,
            f"received {{:g}} {q.unit}, expected a positive value; if it marks a missing estimate, "
            "list it under missing",
            best,
        )
        best = np.where(best <= 0, np.nan, best)
    missing = np.full_like(best, np.nan)
    if q.lower is not None and q.upper is not None:
        low, high = _limits(reader, q, q.lower, q.upper, best)
    elif q.sigma is not None or q.minus is not None:
        minus, plus = (q.sigma, q.sigma) if q.sigma is not None else (q.minus, q.plus)
        assert minus is not None and plus is not None
        errors = [_error(reader, q, name, best) for name in (minus, plus)]
        if q.error_unit != "same":
            theta = _to_theta(best, q)
            return theta, theta - errors[0], theta + errors[1]
        low, high = best - errors[0], best + errors[1]
    else:
        return _to_theta(best, q), missing, missing
    if q.scale == "linear" and not q.is_extinction and (low <= 0).any():
        # An error as large as the value: the limit in log10 does not exist.
        row = int(np.flatnonzero(low <= 0)[0])
        raise CatalogueError(
            f"{reader.where(row, q.column)}: the lower limit is {low[row]:g} {q.unit}, expected a "
            f"positive one ({int((low <= 0).sum())} such rows); give errors of log10 values, "
            'explicit limits, or error_unit = "first_order", which takes an error to dex as '
            "error / (value ln 10)"
        )
    if q.is_extinction and not gaussian:
        low = np.where(best >= 0, np.maximum(low, 0.0), low)
    return _to_theta(best, q), _to_theta(low, q), _to_theta(high, q)


def _limits(
    reader: _Reader, q: Quantity, lower: Column, upper: Column, best: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    low, high = reader.numbers(lower, q.missing), reader.numbers(upper, q.missing)
    reader.check_unit(q, lower)
    reader.check_unit(q, upper)
    check_errors(reader.source, q, best, high, f"{lower} and {upper}", limits=True)
    crossed = low > high
    pairs = np.array([f"{a:g} above upper limit {b:g}" for a, b in zip(low, high, strict=True)])
    reader.note(crossed, lower, f"lower limit {{}} (column {upper}); are the two swapped?", pairs)
    return np.where(crossed, np.nan, low), np.where(crossed, np.nan, high)


def _error(reader: _Reader, q: Quantity, name: Column, best: np.ndarray) -> np.ndarray:
    """A column of errors: as the values are, or in dex where `error_unit` says other than same."""
    error = reader.numbers(name, q.missing)
    reader.check_unit(q, name, error=True)
    if (error < 0).any():
        row = int(np.flatnonzero(error < 0)[0])
        raise CatalogueError(
            f"{reader.where(row, name)}: received a negative error {error[row]:g}, expected >= 0; "
            "give minus errors as positive numbers, and list markers under missing"
        )
    check_errors(reader.source, q, best, error, str(name))
    if q.error_unit == "fraction":
        return error / np.log(10.0)
    if q.error_unit == "first_order":
        return error / (best * np.log(10.0))
    return error


@dataclasses.dataclass(frozen=True, eq=False)
class BandColumns:
    """What a table says of its bands, `(n, band)` each; fields as those of `Catalogue`."""

    mags: Float[np.ndarray, "n band"]
    mag_errors: Float[np.ndarray, "n band"]
    band_states: UInt8[np.ndarray, "n band"]
    fluxes: Float[np.ndarray, "n band"] | None
    flux_errors: Float[np.ndarray, "n band"] | None


def _photometry(reader: _Reader, column_map: ColumnMap) -> BandColumns:
    """Measurements as the table has them, NaN where there is none, and why."""
    bands = column_map.bands
    read = {band.name: _band(reader, band, column_map.distance_modulus) for band in bands}
    for band in in_order(bands):
        if band.other is not None:
            read[band.name] = _of_colour(band, read[band.name], read[band.other])
    each = [read[band.name] for band in bands]
    values, errors, states = (np.stack(part, axis=1) for part in zip(*each, strict=True))
    is_flux = np.array([band.is_flux for band in bands])
    with np.errstate(divide="ignore", invalid="ignore"):
        positive = np.where(values > 0, values, np.nan)
        mags = np.where(is_flux, -2.5 * np.log10(positive), values)
        mag_errors = np.where(is_flux, _PER_DEX * errors / positive, errors)
    if not is_flux.any():
        return BandColumns(mags, mag_errors, states, None, None)
    flux_of_mag = 10.0 ** (-0.4 * mags)
    fluxes = np.where(is_flux, values, flux_of_mag)
    return BandColumns(
        mags,
        mag_errors,
        states,
        fluxes,
        np.where(is_flux, errors, flux_of_mag * mag_errors / _PER_DEX),
    )


def _band(
    reader: _Reader, band: PhotometryColumns, modulus: float | None
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], UInt8[np.ndarray, " n"]]:
    """Vega magnitudes, or fluxes relative to Vega, their errors, and states."""
    groups = (band.not_observed, band.not_detected, band.missing)
    values, marked = reader.cells(band.column, *groups)
    reader.check_band_unit(band, band.column)
    errors = np.full(len(values), np.nan)
    if band.error is not None:
        errors, beside = reader.cells(band.error, *groups)
        reader.check_band_unit(band, band.error)
        # An error without a value is common, and means nothing.
        marked = [a | b for a, b in zip(marked[:2], beside[:2], strict=True)]
    if band.is_flux:
        _check_upper_limits(reader, band, values, errors)
        limit = errors < 0
        values, errors = (x * 10.0 ** (-0.4 * band.zero_point) for x in (values, errors))
    else:
        limit = np.zeros(len(values), bool)
        values = values + band.zero_point
        if band.absolute:
            assert modulus is not None
            values = values + modulus
    states = np.select(
        [marked[0], marked[1] | limit, np.isnan(values)],
        [BandState.NOT_OBSERVED, BandState.NOT_DETECTED, BandState.UNKNOWN],
        BandState.MEASURED,
    ).astype(np.uint8)
    absent = states != BandState.MEASURED
    return np.where(absent, np.nan, values), np.where(absent, np.nan, errors), states


type _Band = tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"], UInt8[np.ndarray, " n"]]


def _of_colour(band: PhotometryColumns, colour: _Band, other: _Band) -> _Band:
    """Magnitudes of a band from its colour with another; its own errors and states where it is.

    Where the other one is not measured neither is this, and nobody says why.
    """
    values, errors, states = colour
    lost = (other[2] != BandState.MEASURED) & (states == BandState.MEASURED)
    values = other[0] + values if band.bluer_than is not None else other[0] - values
    states = np.where(lost, np.uint8(BandState.UNKNOWN), states)
    absent = states != BandState.MEASURED
    return np.where(absent, np.nan, values), np.where(absent, np.nan, errors), states


def _check_upper_limits(
    reader: _Reader, band: PhotometryColumns, values: np.ndarray, errors: np.ndarray
) -> None:
    """A flux and an error that are the same negative number are a marker, no upper limit."""
    odd = (errors < 0) & (values == errors)
    if odd.any():
        row = int(np.flatnonzero(odd)[0])
        raise CatalogueError(
            f"{reader.where(row, band.column)}: received flux and error {values[row]:g} "
            f"({int(odd.sum())} such rows), which is no upper limit; list it under missing, "
            "not_observed or not_detected, whichever it means"
        )


def _further(reader: _Reader, column_map: ColumnMap) -> dict[str, np.ndarray]:
    """Columns that are kept beside θ and the photometry."""
    kept: dict[str, np.ndarray] = {"row": reader.rows}
    wanted = {name: ExtraColumn(column=name) for name in column_map.extra}
    for name, extra in {**wanted, **column_map.columns}.items():
        column = reader.raw(extra.column)
        if column.dtype.kind in "OSU":
            kept[name] = _text(column)
        elif (
            column.dtype.kind in "iu"
            and extra == ExtraColumn(column=extra.column)
            and not (np.ma.is_masked(column))
        ):
            kept[name] = np.asarray(column).astype(np.int64)
        else:
            kept[name] = reader.numbers(extra.column, extra.missing) * extra.factor
    return kept


def _text(column: Any) -> np.ndarray:
    """A column of words: blanks are empty, bytes that are no UTF-8 are shown as such."""
    given = np.ma.asarray(column)
    if given.dtype.kind == "S":
        given = np.ma.array(np.char.decode(given.data, "utf-8", "replace"), mask=given.mask)
    return np.char.strip(np.ma.filled(given.astype(str), ""))


def _ids(reader: _Reader, column: Column | None) -> np.ndarray:
    if column is None:
        check_not_repeated(reader.source, reader.table, reader.rows, reader.word)
        return np.arange(1, len(reader.table) + 1)
    raw = np.ma.asarray(reader.raw(column))
    if np.ma.is_masked(raw):
        row = int(np.flatnonzero(np.ma.getmaskarray(raw))[0])
        raise CatalogueError(f"{reader.where(row, column)}: blank id, expected one")
    if raw.dtype.kind in "OSU":
        return _text(raw)
    if raw.dtype.kind in "iu":
        return np.asarray(raw).astype(np.int64)
    raise CatalogueError(
        f"{reader.source}: column {column}: identifiers are {raw.dtype}, expected integers or text"
    )


def _estimates(
    reader: _Reader, column_map: ColumnMap
) -> tuple[Float[np.ndarray, "3 n 3"], np.ndarray]:
    """Best, low and high θ, and which rows have none; NaN where the table has none."""
    n = len(reader.table)
    nothing = (np.full(n, np.nan),) * 3
    gaussian = column_map.noise == GAUSSIAN
    parts = []
    absent = np.zeros(n, bool)
    for q in column_map.quantities.values():
        best, low, high = nothing if q is None else _quantity(reader, q, gaussian)
        parts.append(np.stack([best, low, high]))
        if q is None:
            continue
        missing = np.isnan(best)
        if not column_map.allow_missing:
            reader.note(
                missing,
                q.column,
                f"received NaN or a blank ({int(missing.sum())} rows), expected a number; set "
                "allow_missing = true if rows without an estimate are expected",
                best,
            )
        absent |= missing
    theta = np.stack(parts, axis=-1)
    theta[:, absent] = np.nan
    half = np.isnan(theta[1]) | np.isnan(theta[2])
    theta[1][half] = np.nan
    theta[2][half] = np.nan
    return theta, absent


def read_table(path: Path, column_map: ColumnMap) -> Catalogue:
    r"""Clusters from a FITS, VOTable, CDS, ECSV, CSV, Parquet or text table.

    **Arguments:**

    - `path`: the table, packed with gzip or not.
    - `column_map`: which columns hold what, in which unit.

    Returns a checked `Catalogue`. Rows without an estimate are kept as NaN and counted in
    `meta["n_no_estimate"]`; rows that cannot be read are left out, counted in the step `bad rows`
    and listed in `meta["bad_rows"]`; lower limits of extinction below 0 become 0.

    Raises `CatalogueError` for missing columns, units that disagree with the file's own or with
    the values, negative errors, duplicate ids, a table that is repeated, and where more than a
    tenth of the rows is bad.

    ```python
    rows = ["mass,age", "12000,8.5", "34000,120"]
    write_text("mine.csv", "\n".join(rows))
    mass, age = Quantity(column="mass", unit="Msun"), Quantity(column="age", unit="Myr")
    read_table("mine.csv", ColumnMap(mass=mass, age=age)).theta
    ```
    """
    path = existing_file(path)
    loaded = load(path, column_map.delimiter, column_map.n_fields, column_map.names)
    return through(str(path), loaded, column_map)


def through(source: str, loaded: Loaded, column_map: ColumnMap) -> Catalogue:
    """The catalogue of a table that is read already; raises as `read_table`."""
    reader = _Reader(source, loaded)
    theta, absent = _estimates(reader, column_map)
    photometry = _photometry(reader, column_map) if column_map.bands else None
    meta: dict[str, object] = {"row_name": reader.word, "n_no_estimate": int(absent.sum())}
    names = {"mass": "log_mass", "age": "log_age", "a_v": "a_v"}
    if lacking := tuple(names[k] for k, q in column_map.quantities.items() if q is None):
        meta["not_published"] = lacking
    if column_map.noise == GAUSSIAN:
        meta["recorded"] = GAUSSIAN
    if column_map.distance_modulus is not None:
        meta["distance_modulus"] = column_map.distance_modulus
    catalogue = Catalogue(
        source=source,
        ids=_ids(reader, column_map.id),
        theta=theta[0],
        theta_low=theta[1],
        theta_high=theta[2],
        bands=tuple(band.name for band in column_map.bands),
        **({} if photometry is None else vars(photometry)),
        columns=_further(reader, column_map),
        meta=meta,
    )
    return _checked(catalogue, reader.bad)


def _checked(catalogue: Catalogue, bad: BadRows) -> Catalogue:
    """Without its bad rows; units that are mistaken everywhere are named as such."""
    found = implausible(catalogue)
    if len(found) > MAX_SHARE * len(catalogue):
        check(dataclasses.replace(catalogue, ids=np.arange(len(catalogue))))
    for row, reason in found.items():
        bad.add(int(catalogue.columns["row"][row]), reason)
    return enclose(check(bad.leave_out(catalogue)))
