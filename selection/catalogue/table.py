"""Any table of clusters (ECSV, FITS, CSV, Parquet), read through a declared column map."""

import importlib
import pathlib
import re
import warnings
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pydantic
from jaxtyping import Float

from starcensus.extras import MissingExtraError, need
from starcensus.files import Path, read_toml

from ._base import Catalogue, CatalogueError
from .checks import check, enclose, existing_file

if TYPE_CHECKING:
    import astropy.table

Unit = Literal["Msun", "yr", "Myr", "Gyr", "mag", "E(B-V)"]
_ALLOWED_UNITS = {"mass": ("Msun",), "age": ("yr", "Myr", "Gyr"), "a_v": ("mag", "E(B-V)")}
# What the metadata of a pipeline's detections name as their `format`; see `Detections.write`.
DETECTIONS_FORMAT = "starcensus detections"
_FACTOR = {"Msun": 1.0, "yr": 1.0, "Myr": 1e6, "Gyr": 1e9, "mag": 1.0, "E(B-V)": 1.0}


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Quantity(_Strict):
    """Where one parameter stands in the table.

    Errors are in the scale and unit of the column, and of one kind.

    **Arguments:**

    - `column`: its column.
    - `unit`: `Msun`, `yr`, `Myr`, `Gyr`, `mag` or `E(B-V)`.
    - `scale`: `log10` if the column holds logarithms.
    - `sigma`: column of symmetric errors.
    - `lower`, `upper`: columns of the limits of the central 68%.
    - `minus`, `plus`: columns of positive differences from the best value.
    - `missing`: values that mark "no estimate".
    - `r_v`: for the unit `E(B-V)`, a_v = r_v · E(B-V).

    Raises `ValueError` for errors of two kinds, or half of one.
    """

    column: str
    unit: Unit
    scale: Literal["linear", "log10"] = "linear"
    sigma: str | None = None
    lower: str | None = None
    upper: str | None = None
    minus: str | None = None
    plus: str | None = None
    missing: tuple[float, ...] = ()
    r_v: float = pydantic.Field(default=3.1, gt=0.0)

    @pydantic.model_validator(mode="after")
    def _one_kind_of_error(self) -> "Quantity":
        if (self.lower is None) != (self.upper is None):
            raise ValueError("lower and upper belong together")
        if (self.minus is None) != (self.plus is None):
            raise ValueError("minus and plus belong together")
        if sum(name is not None for name in (self.sigma, self.lower, self.minus)) > 1:
            raise ValueError("give one of sigma, lower and upper, or minus and plus")
        return self


class PhotometryColumns(_Strict):
    """One band of photometry.

    **Arguments:**

    - `name`: name of the band in the catalogue, `ACS_F555W`.
    - `column`: column of the Vega magnitudes.
    - `error`: column of their 1σ errors, mag.
    - `missing`: values that mark "no measurement".
    """

    name: str
    column: str
    error: str | None = None
    missing: tuple[float, ...] = ()


class ColumnMap(_Strict):
    """How to read a table; docs/how-to/catalogues.md has a worked example.

    **Arguments:**

    - `mass`, `age`, `a_v`: where the parameters are; without `a_v` it is NaN throughout and named
      in the catalogue's `meta["not_published"]`.
    - `id`: identifier column; row numbers from 1 if not given.
    - `bands`: the photometry.
    - `extra`: further columns to keep under their own names.
    - `allow_missing`: whether rows without an estimate (NaN or blank) are expected.
    - `distance_modulus`: mag.

    Raises `ValueError` for units that do not fit the parameter, or bands of the same name.

    ```python
    ColumnMap(
        mass=Quantity(column="mass", unit="Msun"),
        age=Quantity(column="age", unit="Myr", lower="age_16", upper="age_84"),
        bands=(PhotometryColumns(name="ACS_F555W", column="V", error="e_V", missing=(99.99,)),),
    )
    ```
    """

    mass: Quantity
    age: Quantity
    a_v: Quantity | None = None
    id: str | None = None
    bands: tuple[PhotometryColumns, ...] = ()
    extra: tuple[str, ...] = ()
    allow_missing: bool = False
    distance_modulus: float | None = None

    @pydantic.model_validator(mode="after")
    def _units_fit(self) -> "ColumnMap":
        for name, allowed in _ALLOWED_UNITS.items():
            quantity = getattr(self, name)
            if quantity is not None and quantity.unit not in allowed:
                raise ValueError(f"{name}: unit {quantity.unit!r}, expected {', '.join(allowed)}")
        if self.a_v is not None and self.a_v.scale == "log10":
            raise ValueError("a_v: scale 'log10', expected 'linear' (an extinction may be 0)")
        if len({band.name for band in self.bands}) != len(self.bands):
            raise ValueError("bands: names must differ")
        return self

    @classmethod
    def from_toml(cls, path: Path) -> "ColumnMap":
        """The map in a TOML file; raises `FileError` naming the key that is wrong."""
        tables, _ = read_toml(path, "column map")
        try:
            return cls.model_validate(tables)
        except pydantic.ValidationError as error:
            raise CatalogueError(f"{path}: {_explain(error)}") from error


def _explain(error: pydantic.ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'column map'}: {item['msg']}"
        for item in error.errors()
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def read_fits_table(path: pathlib.Path) -> "astropy.table.Table":
    """The first table of a FITS file.

    Units such as `[yr]` (VizieR's way to say log10) are kept as text without astropy's warning.
    **Raises** `CatalogueError` for a truncated file or one without a table.
    """
    from astropy import units
    from astropy.table import Table

    try:
        # Our own handle: astropy leaves a damaged file open.
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.filterwarnings("error")
            for category, message in (
                (units.UnitsWarning, ".*did not parse as fits unit.*"),
                (Warning, ".*hdu= was not specified but multiple tables are present.*"),
            ):
                warnings.filterwarnings("ignore", message, category)
            return Table.read(file, format="fits", memmap=False)
    except Exception as error:
        raise CatalogueError(
            f"{path}: not a readable FITS table ({_one_line(error)}); the file may be truncated: "
            "fetch it again"
        ) from error


def _read_parquet(path: pathlib.Path) -> "astropy.table.Table":
    from astropy.table import Table

    try:
        need("pyarrow", purpose="reading Parquet")
    except MissingExtraError as error:
        raise CatalogueError(f"{path}: {error}") from error
    parquet = importlib.import_module("pyarrow.parquet")
    try:
        table = parquet.ParquetFile(path).read()
    except Exception as error:
        raise CatalogueError(f"{path}: not a readable Parquet file ({_one_line(error)})") from error
    return Table({name: table[name].to_numpy() for name in table.column_names})


def load(path: pathlib.Path) -> "tuple[astropy.table.Table, int, str]":
    """A table, the number of its first data row or line, and which of `row` or `line` that is."""
    from astropy.io import registry
    from astropy.table import Table

    suffix = path.suffix.lower()
    if suffix in {".fits", ".fit"} or path.name.lower().endswith(".fits.gz"):
        return read_fits_table(path), 1, "row"
    if suffix in {".parquet", ".pq"}:
        return _read_parquet(path), 1, "row"
    formats = {".ecsv": "ascii.ecsv", ".csv": "ascii.csv"}
    if suffix not in formats:
        raise CatalogueError(
            f"{path}: unknown kind of table {suffix!r}; expected .ecsv, .csv, .fits or .parquet"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        table = Table.read(path, format=formats[suffix])
    except (registry.IORegistryError, UnicodeDecodeError, ValueError, KeyError) as error:
        raise CatalogueError(
            f"{path}: not a readable {suffix[1:].upper()} table: {_one_line(error)}"
        ) from error
    header = sum(line.startswith("#") for line in lines) + 1 if suffix == ".ecsv" else 1
    return table, header + 1, "line"


def holds_detections(table: "astropy.table.Table") -> bool:
    """Whether a table is what `Detections.write` wrote, of version 0.1 too."""
    meta = {str(key).lower(): value for key, value in dict(table.meta or {}).items()}
    named = DETECTIONS_FORMAT in (meta.get("format"), *str(meta.get("starcens", "")).split('"'))
    return named or ("pipeline" in meta and {"x", "y", "catalogued"} <= set(table.colnames))


class _Reader:
    """The columns of one table, with errors that say where they are."""

    def __init__(self, path: pathlib.Path) -> None:
        self.source = str(path)
        self.table, self.first, self.word = load(path)
        if len(self.table) == 0:
            raise CatalogueError(f"{path}: the table has no rows")

    def where(self, row: int, column: str) -> str:
        return f"{self.source}: {self.word} {self.first + row}, column {column}"

    def raw(self, name: str) -> "astropy.table.Column":
        if name not in self.table.colnames:
            raise CatalogueError(
                f"{self.source}: no column {name!r}; the table has {', '.join(self.table.colnames)}"
            )
        column: Any = self.table[name]
        return column

    def numbers(self, name: str, missing: tuple[float, ...] = ()) -> Float[np.ndarray, " n"]:
        column = self.raw(name)
        if column.ndim != 1:
            raise CatalogueError(f"{self.source}: column {name} has shape {column.shape}")
        if column.dtype.kind not in "iufb":
            for row, value in enumerate(column):
                try:
                    float(value)
                except (TypeError, ValueError) as error:
                    raise CatalogueError(
                        f"{self.where(row, name)}: received {str(value)!r}, expected a number"
                    ) from error
        values = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
        if column.dtype.kind == "f" and column.dtype.itemsize == 4:
            # The decimal that was published, not its float32 neighbour.
            values = values.astype(np.float32).astype(str).astype(np.float64)
        values[np.isin(values, missing)] = np.nan
        return values

    def check_unit(self, quantity: Quantity, name: str) -> None:
        from astropy import units

        unit = self.raw(name).unit
        if unit is None:
            return
        text = str(unit)
        log = re.fullmatch(r"\[(.*)\]|dex\((.*)\)|log(?:10)?\((.*)\)", text)
        scale = "log10" if log else "linear"
        inner = next(group for group in log.groups() if group is not None) if log else text
        try:
            found = units.Unit(inner)
            wanted = units.Unit("mag" if quantity.unit == "E(B-V)" else quantity.unit)
            same = found.is_equivalent(wanted) and bool(np.isclose(found.to(wanted), 1.0))
        except (ValueError, TypeError):
            same = False
        if not (same and scale == quantity.scale):
            raise CatalogueError(
                f"{self.source}: column {name}: the file says unit {text!r}, the column map says "
                f"{quantity.scale} {quantity.unit}; correct the one that is wrong"
            )


def _to_theta(values: Float[np.ndarray, "..."], q: Quantity) -> Float[np.ndarray, "..."]:
    if q.unit in ("mag", "E(B-V)"):
        return values * (q.r_v if q.unit == "E(B-V)" else 1.0)
    if q.scale == "log10":
        return values + np.log10(_FACTOR[q.unit])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log10(values * _FACTOR[q.unit])


def _quantity(reader: _Reader, q: Quantity) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Best, low and high in the units of θ; NaN where missing."""
    best = reader.numbers(q.column, q.missing)
    reader.check_unit(q, q.column)
    positive = q.scale == "linear" and q.unit not in ("mag", "E(B-V)")
    if positive and (best <= 0).any():
        row = int(np.flatnonzero(best <= 0)[0])
        raise CatalogueError(
            f"{reader.where(row, q.column)}: received {best[row]:g} {q.unit}, expected a positive "
            "value; if it marks a missing estimate, list it under missing"
        )
    missing = np.full_like(best, np.nan)
    if q.lower is not None and q.upper is not None:
        low, high = reader.numbers(q.lower, q.missing), reader.numbers(q.upper, q.missing)
        reader.check_unit(q, q.lower)
        reader.check_unit(q, q.upper)
        if (crossed := low > high).any():
            row = int(np.flatnonzero(crossed)[0])
            raise CatalogueError(
                f"{reader.where(row, q.lower)}: lower limit {low[row]:g} above upper limit "
                f"{high[row]:g} (column {q.upper}); are the two swapped?"
            )
    elif q.sigma is not None or q.minus is not None:
        names = (q.sigma, q.sigma) if q.sigma is not None else (q.minus, q.plus)
        errors = []
        for name in names:
            assert name is not None
            error = reader.numbers(name, q.missing)
            if (error < 0).any():
                row = int(np.flatnonzero(error < 0)[0])
                raise CatalogueError(
                    f"{reader.where(row, name)}: received a negative error {error[row]:g}, "
                    "expected >= 0; give minus errors as positive numbers"
                )
            errors.append(error)
        low, high = best - errors[0], best + errors[1]
    else:
        return _to_theta(best, q), missing, missing
    if positive and (low <= 0).any():
        # An error as large as the value: the limit in log10 does not exist.
        row = int(np.flatnonzero(low <= 0)[0])
        raise CatalogueError(
            f"{reader.where(row, q.column)}: the lower limit is {low[row]:g} {q.unit}, expected a "
            "positive one; give errors of log10 values, or explicit limits"
        )
    if q.unit in ("mag", "E(B-V)"):
        low = np.where(best >= 0, np.maximum(low, 0.0), low)
    return _to_theta(best, q), _to_theta(low, q), _to_theta(high, q)


def read_table(path: Path, column_map: ColumnMap) -> Catalogue:
    r"""Clusters from an ECSV, CSV, FITS or Parquet table.

    **Arguments:**

    - `path`: the table; its suffix decides the format.
    - `column_map`: which columns hold what, in which unit.

    Returns a checked `Catalogue`. Rows without an estimate are kept as NaN and counted in
    `meta["n_no_estimate"]`; lower limits of extinction below 0 become 0.

    Raises `CatalogueError` for missing columns, units that disagree with the file's own,
    NaN without `allow_missing`, negative errors, duplicate ids and implausible values.

    ```python
    rows = ["mass,age", "12000,8.5", "34000,120"]
    write_text("mine.csv", "\n".join(rows))
    mass, age = Quantity(column="mass", unit="Msun"), Quantity(column="age", unit="Myr")
    read_table("mine.csv", ColumnMap(mass=mass, age=age)).theta
    ```
    """
    path = existing_file(path)
    reader = _Reader(path)
    n = len(reader.table)
    nothing = np.full(n, np.nan)
    quantities = {"mass": column_map.mass, "age": column_map.age, "a_v": column_map.a_v}
    parts = []
    for q in quantities.values():
        best, low, high = (nothing,) * 3 if q is None else _quantity(reader, q)
        parts.append(np.stack([best, low, high]))
    theta = np.stack(parts, axis=-1)

    absent = np.zeros(n, bool)
    for k, q in enumerate(quantities.values()):
        if q is None:
            continue
        bad = np.isnan(theta[0, :, k])
        if bad.any() and not column_map.allow_missing:
            row = int(np.flatnonzero(bad)[0])
            raise CatalogueError(
                f"{reader.where(row, q.column)}: received NaN or a blank ({int(bad.sum())} rows), "
                "expected a number; set allow_missing = true if rows without an estimate are "
                "expected"
            )
        absent |= bad
    theta[:, absent] = np.nan
    half = np.isnan(theta[1]) | np.isnan(theta[2])
    theta[1][half] = np.nan
    theta[2][half] = np.nan

    bands = column_map.bands
    mags = errors = None
    if bands:
        mags = np.stack([reader.numbers(b.column, b.missing) for b in bands], axis=1)
        errors = np.stack(
            [nothing if b.error is None else reader.numbers(b.error, b.missing) for b in bands],
            axis=1,
        )
        errors[np.isnan(mags)] = np.nan
    columns: dict[str, np.ndarray] = {"row": np.arange(reader.first, reader.first + n)}
    for name in column_map.extra:
        column = reader.raw(name)
        text = column.dtype.kind in "OSU"
        columns[name] = np.asarray(column).astype(str) if text else reader.numbers(name)
        if column.dtype.kind in "iu" and not np.ma.is_masked(column):
            columns[name] = np.asarray(column).astype(np.int64)
    ids = np.arange(1, n + 1)
    if column_map.id is not None:
        raw = np.ma.asarray(reader.raw(column_map.id))
        if np.ma.is_masked(raw):
            row = int(np.flatnonzero(np.ma.getmaskarray(raw))[0])
            raise CatalogueError(f"{reader.where(row, column_map.id)}: blank id, expected one")
        if raw.dtype.kind in "OSU":
            ids = np.char.strip(np.asarray(raw).astype(str))
        elif raw.dtype.kind in "iu":
            ids = np.asarray(raw).astype(np.int64)
        else:
            raise CatalogueError(
                f"{path}: column {column_map.id}: identifiers are {raw.dtype}, expected integers "
                "or text"
            )
    meta: dict[str, object] = {"row_name": reader.word, "n_no_estimate": int(absent.sum())}
    if column_map.a_v is None:
        meta["not_published"] = ("a_v",)
    if column_map.distance_modulus is not None:
        meta["distance_modulus"] = column_map.distance_modulus
    catalogue = Catalogue(
        source=str(path),
        ids=ids,
        theta=theta[0],
        theta_low=theta[1],
        theta_high=theta[2],
        bands=tuple(band.name for band in bands),
        mags=mags,
        mag_errors=errors,
        columns=columns,
        meta=meta,
    )
    check(catalogue)
    return enclose(catalogue)
