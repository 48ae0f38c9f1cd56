"""Column maps: where the columns of a table of one's own are, in which units."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import pydantic

from starcensus.bands import ab_minus_vega
from starcensus.files import Path, read_toml

from ._base import CatalogueError

_ALLOWED_UNITS = {"mass": ("Msun",), "age": ("yr", "Myr", "Gyr"), "a_v": ("mag", "E(B-V)")}
_FACTOR = {"Msun": 1.0, "yr": 1.0, "Myr": 1e6, "Gyr": 1e9, "mag": 1.0, "E(B-V)": 1.0}
_UNIT = re.compile(r"(?:(?P<factor>[0-9.]+(?:[eE][-+]?\d+)?)\s*\*?\s*)?(?P<unit>\S+)")

# A column by its name, or by its number, counted from 1.
Column = Annotated[str | int, pydantic.Field(union_mode="smart")]
# Numbers or words that stand for "no value".
Markers = tuple[float | str, ...]
# AB magnitude of a flux of 1.
_AB_OF_FLUX = {
    unit: -2.5 * math.log10(jansky / 3631.0)
    for unit, jansky in (("Jy", 1.0), ("mJy", 1e-3), ("uJy", 1e-6), ("nJy", 1e-9))
}
PHOTOMETRIC_UNITS = ("mag", "ABmag", *_AB_OF_FLUX, "flux")


class _Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Quantity(_Strict):
    """Where one parameter stands in the table.

    Columns are given by name, or by number, counted from 1. Errors are of one kind.

    **Arguments:**

    - `column`: its column.
    - `unit`: `Msun`, `yr`, `Myr`, `Gyr`, `mag` or `E(B-V)`, with a factor where the column has one:
      `1e4 Msun`.
    - `scale`: `log10` if the column holds logarithms.
    - `sigma`: column of symmetric errors.
    - `lower`, `upper`: columns of the limits of the central 68%.
    - `minus`, `plus`: columns of positive differences from the best value.
    - `error_unit`: of `sigma`, `minus` and `plus`. `same`: the column's scale and unit. `dex`: of
      the logarithm. `fraction`: relative, 0.3 for 30%. `first_order`: as `same`, taken to dex as
      σ/(x ln 10), which an error as large as the value needs.
    - `missing`: numbers or words that mark "no estimate".
    - `r_v`: for the unit `E(B-V)`, a_v = r_v · E(B-V).

    Raises `ValueError` for errors of two kinds, or half of one, and for an unknown unit.
    """

    column: Column
    unit: str
    scale: Literal["linear", "log10"] = "linear"
    sigma: Column | None = None
    lower: Column | None = None
    upper: Column | None = None
    minus: Column | None = None
    plus: Column | None = None
    error_unit: Literal["same", "dex", "fraction", "first_order"] = "same"
    missing: Markers = ()
    r_v: float = pydantic.Field(default=3.1, gt=0.0)

    @pydantic.model_validator(mode="after")
    def _one_kind_of_error(self) -> "Quantity":
        if (self.lower is None) != (self.upper is None):
            raise ValueError("lower and upper belong together")
        if (self.minus is None) != (self.plus is None):
            raise ValueError("minus and plus belong together")
        if sum(name is not None for name in (self.sigma, self.lower, self.minus)) > 1:
            raise ValueError("give one of sigma, lower and upper, or minus and plus")
        if self.error_unit != "same" and (self.is_extinction or self.lower is not None):
            raise ValueError(
                f"error_unit {self.error_unit!r} goes with sigma, minus and plus of mass or age"
            )
        if self.error_unit in ("fraction", "first_order") and self.scale == "log10":
            raise ValueError(
                f"error_unit {self.error_unit!r} goes with scale 'linear'; errors of a column of "
                "logarithms are in dex"
            )
        return self

    @pydantic.field_validator("unit")
    @classmethod
    def _known_unit(cls, text: str) -> str:
        match = _UNIT.fullmatch(text.strip())
        if match is None or match["unit"] not in _FACTOR:
            known = ", ".join(_FACTOR)
            raise ValueError(f"expected one of {known}, or one with a factor: '1e4 Msun'")
        return text.strip()

    @property
    def bare_unit(self) -> str:
        """The unit without its factor."""
        match = _UNIT.fullmatch(self.unit)
        assert match is not None
        return match["unit"]

    @property
    def own_factor(self) -> float:
        """The factor before the unit, 1e4 of `1e4 Msun`."""
        match = _UNIT.fullmatch(self.unit)
        assert match is not None
        return float(match["factor"] or 1.0)

    @property
    def factor(self) -> float:
        """From the column to M_sun, yr or mag."""
        return self.own_factor * _FACTOR[self.bare_unit]

    @property
    def is_extinction(self) -> bool:
        """Whether it is A_V or E(B-V), which may be 0."""
        return self.bare_unit in _ALLOWED_UNITS["a_v"]


class PhotometryColumns(_Strict):
    """One band of photometry.

    **Arguments:**

    - `name`: name of the band in the catalogue, `ACS_F555W`.
    - `column`: column of magnitudes or of fluxes.
    - `error`: column of their 1σ errors, in the same unit.
    - `bluer_than`: name of another band of the map, of magnitudes; the column holds the colour,
      this band minus that one. `redder_than`: the column holds that one minus this one. Either way
      the quoted error of the colour stands for that of the magnitude, which is no larger where the
      errors of the two bands are independent. A band without the other one is not measured.
    - `absolute`: whether the magnitudes are absolute; the map's `distance_modulus` is added.
    - `unit`: `mag` (Vega), `ABmag`, or a flux: `Jy`, `mJy`, `uJy`, `nJy`, or `flux`, which has a
      zero point. A flux of 0 or less is a measurement; one with a negative error is an upper limit,
      of a cluster that was not detected.
    - `zero_point_vega`, `zero_point_ab`: for the unit `flux`, the magnitude of a flux of 1.
    - `not_observed`: numbers or words, in either column, that mark a cluster outside the frame.
    - `not_detected`: those that mark one that was looked at and not found.
    - `missing`: those that mark "no measurement" and do not say why. So does a blank or NaN.

    Raises `ValueError` for a marker with two meanings, for AB magnitudes or fluxes of a band whose
    AB minus Vega magnitude is not known, for `flux` without one zero point, and for a colour that
    is not of Vega magnitudes or of two other bands.
    """

    name: str
    column: Column
    error: Column | None = None
    bluer_than: str | None = None
    redder_than: str | None = None
    absolute: bool = False
    unit: Literal["mag", "ABmag", "Jy", "mJy", "uJy", "nJy", "flux"] = "mag"
    zero_point_vega: float | None = pydantic.Field(default=None, allow_inf_nan=False)
    zero_point_ab: float | None = pydantic.Field(default=None, allow_inf_nan=False)
    not_observed: Markers = ()
    not_detected: Markers = ()
    missing: Markers = ()

    @pydantic.field_validator("unit", mode="before")
    @classmethod
    def _known_unit(cls, unit: object) -> object:
        if unit not in PHOTOMETRIC_UNITS:
            raise ValueError(
                f"received {unit!r}, expected one of {', '.join(PHOTOMETRIC_UNITS)}; fluxes in "
                "counts, electrons or erg are unit = 'flux' with zero_point_vega or zero_point_ab, "
                "the magnitude of a flux of 1"
            )
        return unit

    @pydantic.model_validator(mode="after")
    def _zero_point(self) -> "PhotometryColumns":
        given = [self.zero_point_vega, self.zero_point_ab]
        n_given = sum(zero is not None for zero in given)
        if n_given != (self.unit == "flux"):
            raise ValueError(
                f"{self.name}: unit {self.unit!r} with {n_given} zero points; expected one of "
                "zero_point_vega and zero_point_ab, the magnitude of a flux of 1, for unit 'flux', "
                "and none for others"
            )
        from_ab = self.unit not in ("mag", "flux") or self.zero_point_ab is not None
        if from_ab and ab_minus_vega(self.name) is None:
            raise ValueError(
                f"{self.name}: its AB minus Vega magnitude is not known, which {self.unit} needs; "
                "add the band with `ab_minus_vega`, give Vega magnitudes, or unit = 'flux' with "
                "zero_point_vega"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _one_meaning(self) -> "PhotometryColumns":
        every = [*self.not_observed, *self.not_detected, *self.missing]
        if twice := sorted({str(each) for each in every if every.count(each) > 1}):
            raise ValueError(
                f"{self.name}: {', '.join(twice)} stands twice among not_observed, not_detected "
                "and missing; expected one meaning for each marker"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _one_colour(self) -> "PhotometryColumns":
        if self.bluer_than is not None and self.redder_than is not None:
            raise ValueError(
                f"{self.name}: is bluer_than {self.bluer_than} and redder_than {self.redder_than}; "
                "a column holds one colour, so give one of them"
            )
        if self.absolute and (self.is_flux or self.other is not None):
            raise ValueError(
                f"{self.name}: absolute goes with magnitudes, not with a flux or colour"
            )
        if self.other is not None and self.unit != "mag":
            raise ValueError(
                f"{self.name}: unit {self.unit!r} of a colour; expected 'mag', of Vega magnitudes"
            )
        return self

    @property
    def other(self) -> str | None:
        """The other band of the colour that the column holds; None for a magnitude or a flux."""
        return self.bluer_than if self.redder_than is None else self.redder_than

    @property
    def is_flux(self) -> bool:
        """Whether the column holds fluxes."""
        return self.unit not in ("mag", "ABmag")

    @property
    def zero_point(self) -> float:
        """Vega magnitude of a flux of 1; of magnitudes, what is added to them."""
        if self.zero_point_vega is not None:
            return self.zero_point_vega
        if self.unit == "mag":
            return 0.0
        offset = ab_minus_vega(self.name)
        assert offset is not None
        if self.zero_point_ab is not None:
            return self.zero_point_ab - offset
        return (0.0 if self.unit == "ABmag" else _AB_OF_FLUX[self.unit]) - offset


def in_order(bands: tuple[PhotometryColumns, ...]) -> tuple[PhotometryColumns, ...]:
    """The bands, those that others are colours with before these.

    Raises `ValueError` for a colour with a band that the map lacks, that holds fluxes or AB
    magnitudes, or that is itself, over others, a colour with the first.
    """
    by_name = {band.name: band for band in bands}
    for band in bands:
        if band.other is None:
            continue
        if band.other not in by_name:
            raise ValueError(
                f"{band.name}: its column is a colour with {band.other}, which is no band of the "
                f"map; there are {', '.join(by_name)}"
            )
        if by_name[band.other].unit != "mag":
            raise ValueError(
                f"{band.name}: its column is a colour with {band.other}, of unit "
                f"{by_name[band.other].unit!r}; expected Vega magnitudes, 'mag'"
            )
    found: dict[str, PhotometryColumns] = {}
    while len(found) < len(bands):
        ready = [b for b in bands if b.name not in found and (b.other is None or b.other in found)]
        if not ready:
            left = ", ".join(band.name for band in bands if band.name not in found)
            raise ValueError(
                f"{left}: each is a colour with another of them; expected one with a magnitude"
            )
        found |= {band.name: band for band in ready}
    return tuple(found.values())


class ExtraColumn(_Strict):
    """A further column, to be kept and cut on.

    **Arguments:**

    - `column`: its column.
    - `factor`: that its numbers are multiplied by.
    - `missing`: numbers or words that mark "no value".
    """

    column: Column
    factor: float = 1.0
    missing: Markers = ()


class ColumnMap(_Strict):
    """How to read a table; docs/how-to/catalogues.md has worked examples.

    **Arguments:**

    - `mass`, `age`, `a_v`: where the parameters are; without `a_v` it is NaN throughout and named
      in the catalogue's `meta["not_published"]`.
    - `id`: identifier column; row numbers from 1 if not given.
    - `bands`: the photometry.
    - `extra`: further columns to keep under their own names.
    - `columns`: further columns under names of yours: `{class_mode = "Class"}`, or a table with
      `column`, `factor`, `missing`.
    - `allow_missing`: whether rows without an estimate (NaN or blank) are expected.
    - `estimates`: `false` for a table of photometry alone, without mass and age.
    - `distance_modulus`: mag.
    - `noise`: `"gaussian"` says that each value is the truth plus Gaussian noise of the given
      errors, so that a measured extinction may be negative; `"published"` refuses such ones.
    - `delimiter`: of a CSV file, by default a comma.
    - `n_fields`: of text without delimiters, how many fields of each line are read: the last
      columns of some tables hold names with blanks.

    Raises `ValueError` for units that do not fit the parameter, bands of the same name, or colours
    that lead to no magnitude.

    ```python
    ColumnMap(
        mass=Quantity(column="mass", unit="1e4 Msun"),
        age=Quantity(column="age", unit="Myr", lower="age_16", upper="age_84"),
        bands=(PhotometryColumns(name="ACS_F555W", column="V", error="e_V", missing=(99.99,)),),
        columns={"class_mode": "Class", "radius_pc": {"column": 12, "factor": 48.5}},
    )
    ```
    """

    mass: Quantity | None = None
    age: Quantity | None = None
    a_v: Quantity | None = None
    id: Column | None = None
    bands: tuple[PhotometryColumns, ...] = ()
    extra: tuple[str, ...] = ()
    columns: dict[str, ExtraColumn] = pydantic.Field(default={})
    allow_missing: bool = False
    estimates: bool = True
    distance_modulus: float | None = None
    noise: Literal["published", "gaussian"] = "published"
    delimiter: Literal[",", ";", "|", "\t"] = ","
    n_fields: int | None = pydantic.Field(default=None, ge=1)

    @pydantic.field_validator("columns", mode="before")
    @classmethod
    def _by_name(cls, given: object) -> object:
        if not isinstance(given, dict):
            return given
        return {k: {"column": v} if isinstance(v, str | int) else v for k, v in given.items()}

    @pydantic.model_validator(mode="after")
    def _units_fit(self) -> "ColumnMap":
        for name in ("mass", "age"):
            if (getattr(self, name) is not None) != self.estimates:
                raise ValueError(
                    f"{name}: is missing; a table without estimates says estimates = false"
                    if self.estimates
                    else f"{name} is given, but estimates = false"
                )
        for name, allowed in _ALLOWED_UNITS.items():
            quantity = getattr(self, name)
            if quantity is not None and quantity.bare_unit not in allowed:
                raise ValueError(f"{name}: unit {quantity.unit!r}, expected {', '.join(allowed)}")
        if self.a_v is not None and self.a_v.scale == "log10":
            raise ValueError("a_v: scale 'log10', expected 'linear' (an extinction may be 0)")
        if len({band.name for band in self.bands}) != len(self.bands):
            raise ValueError("bands: names must differ")
        in_order(self.bands)
        if self.distance_modulus is None and any(band.absolute for band in self.bands):
            raise ValueError(
                "bands: absolute magnitudes need the distance_modulus that they were made with, mag"
            )
        if twice := sorted(set(self.extra) & set(self.columns)):
            raise ValueError(f"{', '.join(twice)}: in extra and in columns; expected in one")
        return self

    @property
    def quantities(self) -> dict[str, Quantity | None]:
        """The parameters, in the order of θ."""
        return {"mass": self.mass, "age": self.age, "a_v": self.a_v}

    @property
    def names(self) -> frozenset[str]:
        """Every column that is given by its name."""
        found: set[object] = {self.id, *self.extra, *(e.column for e in self.columns.values())}
        for q in self.quantities.values():
            found |= {q.column, q.sigma, q.lower, q.upper, q.minus, q.plus} if q else set()
        for band in self.bands:
            found |= {band.column, band.error}
        return frozenset(name for name in found if isinstance(name, str))

    @classmethod
    def from_toml(cls, path: Path) -> "ColumnMap":
        """The map in a TOML file; raises `FileError` naming the key that is wrong."""
        tables, _ = read_toml(path, "column map")
        return cls.of_tables(tables, str(path))

    @classmethod
    def of_tables(cls, tables: Mapping[str, Any], where: str) -> "ColumnMap":
        """The map of tables as TOML has them; raises `CatalogueError` naming the key that is wrong.

        **Arguments:**

        - `where`: they stand, for the message.
        """
        try:
            return cls.model_validate(dict(tables))
        except pydantic.ValidationError as error:
            raise CatalogueError(f"{where}: {_explain(error)}") from error


def _explain(error: pydantic.ValidationError) -> str:
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or 'column map'}: {item['msg']}"
        for item in error.errors()
    )
