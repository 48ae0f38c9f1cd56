"""Cuts on a catalogue; each makes a new one with the step and its counts recorded.

A value that is NaN never passes: it fails the cut, and the step's reason counts it. All
boundaries are inclusive, which matters for estimates that sit exactly on a model grid.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import pydantic
from jaxtyping import Bool

from starcensus.bands import filter_of, letter_of
from starcensus.registry import Registry
from starcensus.theta import AXES

from ._base import Catalogue, CatalogueError
from .checks import has_estimate, published

Pair = tuple[float, float]


@runtime_checkable
class Cut(Protocol):
    """A function from a catalogue to the one that is left, see `Catalogue.keep`."""

    def __call__(self, catalogue: Catalogue) -> Catalogue: ...


CUTS = Registry[type]("cut")
"""Cuts by the `name` that files say.

A cut of one's own is a frozen dataclass, whose fields are what a file may say beside the name:

```python
@CUTS.register("bright")
@dataclasses.dataclass(frozen=True)
class Bright:
    limit: float = 22.0

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        return catalogue.keep(catalogue.mags[:, 0] <= self.limit, "bright", "bright enough")
```
"""


@CUTS.register("photometric_errors")
@dataclasses.dataclass(frozen=True)
class PhotometricErrors:
    """Sources measured well enough in enough bands.

    A band without a magnitude or an error does not count.

    **Arguments:**

    - `n_bands`: the fewest such bands.
    - `max_error`: the largest error of one, mag.
    """

    n_bands: int = 4
    max_error: float = 0.3

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` without magnitudes, or with fewer bands."""
        mags, errors, n = catalogue.mags, catalogue.mag_errors, len(catalogue.bands)
        if errors is None or mags is None:
            raise CatalogueError(
                f"{catalogue.source}: the cut 'photometric_errors' needs mags and errors"
                + _why_no_magnitudes(catalogue)
            )
        if not 1 <= self.n_bands <= n:
            raise CatalogueError(
                f"{catalogue.source}: n_bands = {self.n_bands}, expected 1 to {n} (the bands here)"
            )
        measured = np.isfinite(mags) & np.isfinite(errors)
        good = (measured & (errors <= self.max_error)).sum(axis=1) >= self.n_bands
        too_few = measured.sum(axis=1) < self.n_bands
        rule = f"error <= {self.max_error:g} mag in at least {self.n_bands} of {n} bands"
        limits = (("max_error", self.max_error), ("min_bands", float(self.n_bands)))
        return _keep(catalogue, good, too_few, "photometric_errors", rule, limits)


@CUTS.register("absolute_magnitude")
@dataclasses.dataclass(frozen=True)
class AbsoluteMagnitude:
    """Sources at or brighter than an absolute magnitude.

    **Arguments:**

    - `band`: a full name, the filter alone (`F555W`), or `V`: whichever V band the catalogue has.
    - `limit`: the faintest absolute magnitude, mag.
    - `distance_modulus`: mag, by default the catalogue's own.
    """

    band: str = "V"
    limit: float = -6.0
    distance_modulus: float | None = None

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` for an unknown band or distance."""
        index = _band_index(catalogue, self.band)
        modulus, own = self.distance_modulus, catalogue.meta.get("distance_modulus")
        modulus = own if modulus is None else modulus
        if not isinstance(modulus, int | float):
            raise CatalogueError(
                f"{catalogue.source}: the cut 'absolute_magnitude' needs a distance modulus and "
                "none is known; say distance_modulus (mag) among the options of the reader or of "
                "the cut (--distance-modulus of `starcensus fit`)"
            )
        assert catalogue.mags is not None
        absolute = catalogue.mags[:, index] - modulus
        rule = f"M({catalogue.bands[index]}) <= {self.limit:g} at distance modulus {modulus:g}"
        passed = absolute <= self.limit
        in_v = letter_of(catalogue.bands[index]) == "V"
        # At the distance of the catalogue, where others compare it with theirs.
        there = self.limit + (modulus - own if isinstance(own, int | float) else 0.0)
        limits = (("max_absolute_v", there),) if in_v else ()
        nan = np.isnan(absolute)
        return _keep(catalogue, passed, nan, "absolute_magnitude", rule, limits, not in_v)


@CUTS.register("concentration")
@dataclasses.dataclass(frozen=True)
class Concentration:
    """Sources with concentration index (mag within 1 pix minus 3 pix) of at least `minimum`."""

    minimum: float = 1.4

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` for a catalogue without the index."""
        index = _column(catalogue, "concentration_index", "concentration")
        rule = f"CI >= {self.minimum:g} mag"
        limits = (("ci_limit", self.minimum),)
        passed = index >= self.minimum
        return _keep(catalogue, passed, np.isnan(index), "concentration", rule, limits)


@CUTS.register("legus_stage2")
@dataclasses.dataclass(frozen=True)
class LegusStage2:
    """What LEGUS inspects by eye: four bands to 0.3 mag, M_V <= -6, CI >= 1.4, in this order.

    Adamo et al. 2017. The team's M_V used an aperture correction that depends on CI, so a table
    with average corrections keeps slightly different sources near the limit; other galaxies
    have other CI limits (1.2 to 1.4).
    """

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises as the three cuts."""
        return apply_cuts(catalogue, (PhotometricErrors(), AbsoluteMagnitude(), Concentration()))


@CUTS.register("classes")
@dataclasses.dataclass(frozen=True)
class Classes:
    """Sources whose class is in `keep`: 1 compact, 2 asymmetric, 3 multiple peaks, 4 spurious,
    0 not inspected.

    **Arguments:**

    - `keep`: the classes.
    - `column`: where they stand, such as `PHANGS_CLUSTER_CLASS_HUMAN`.

    Raises `CatalogueError` for other classes, or none.
    """

    keep: tuple[int, ...] = (1, 2, 3)
    column: str = "class_mode"

    def __post_init__(self) -> None:
        if not self.keep or not set(self.keep) <= {0, 1, 2, 3, 4}:
            raise CatalogueError(f"classes keep = {self.keep}, expected some of 0, 1, 2, 3, 4")

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` for a catalogue without classes."""
        mode = _numeric(catalogue, self.column, "classes")
        word = "class (mode)" if self.column == "class_mode" else self.column
        rule = f"{word} in {', '.join(map(str, self.keep))}"
        passed, limits = np.isin(mode, list(self.keep)), _classes(self.keep)
        return _keep(catalogue, passed, np.isnan(mode), "classes", rule, limits)


@CUTS.register("column")
@dataclasses.dataclass(frozen=True)
class ColumnCut:
    """Sources by the values of any column, magnitudes and θ among them.

    **Arguments:**

    - `column`: a further column, a band, or `log_mass`, `log_age`, `a_v`.
    - `low`, `high`: limits, both included, or none.
    - `keep`: values to keep, numbers or words, instead of limits.

    Limits of θ are limits of the sample, as of `ThetaRange`. Raises `CatalogueError` for neither
    limits nor `keep`, for both, and for `keep` of θ.

    ```python
    apply_cuts(catalogue, [ColumnCut("log_mass", low=4.0), ColumnCut("class_mode", keep=(1, 2))])
    ```
    """

    column: str
    low: float | None = None
    high: float | None = None
    keep: tuple[int | float | str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.keep) == (self.low is not None or self.high is not None):
            raise CatalogueError(
                f"column {self.column}: expected low, high or both, or keep = [values]"
            )
        if self.keep and self.column in AXES:
            raise CatalogueError(
                f"column {self.column}: keep = {list(self.keep)} picks single values of θ, and no "
                "fit knows how many clusters scatter out of them; expected low and high"
            )

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` for a column that the catalogue does not have."""
        low = -np.inf if self.low is None else self.low
        high = np.inf if self.high is None else self.high
        if self.keep and any(isinstance(value, str) for value in self.keep):
            words = _column(catalogue, self.column, "column").astype(str)
            mask, nan = np.isin(words, [str(value) for value in self.keep]), words == ""
        else:
            values = _numeric(catalogue, self.column, "column")
            mask, nan = np.isin(values, list(self.keep)), np.isnan(values)
            if not self.keep:
                mask = (values >= low) & (values <= high)
        limits = _classes(self.keep) if "class" in self.column.lower() else ()
        of_light = self.column in (*catalogue.bands, "concentration_index")
        kept = _keep(catalogue, mask & ~nan, nan, "column", self._rule(), limits, of_light)
        return kept.limited({self.column: (low, high)}) if self.column in AXES else kept

    def _rule(self) -> str:
        if self.keep:
            return f"{self.column} in {', '.join(map(str, self.keep))}"
        low = "" if self.low is None else f"{self.low:.6g} <= "
        high = "" if self.high is None else f" <= {self.high:.6g}"
        return f"{low}{self.column}{high}"


@CUTS.register("with_estimates")
@dataclasses.dataclass(frozen=True)
class WithEstimates:
    """Sources with a finite θ, and with at least `min_filters` bands in the fit where given."""

    min_filters: int | None = None

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` for a catalogue that does not count filters, where asked to."""
        mask = has_estimate(catalogue)
        rule = "has an estimate of " + ", ".join(np.array(AXES)[published(catalogue)])
        nan = ~mask
        if self.min_filters is not None:
            counts = _column(catalogue, "n_filters", "with_estimates")
            mask = mask & (counts >= self.min_filters)
            rule += f" from at least {self.min_filters} filters"
        return _keep(catalogue, mask, nan, "with_estimates", rule)


@CUTS.register("theta_range")
@dataclasses.dataclass(frozen=True)
class ThetaRange:
    """Sources whose best θ lies in the given ranges, both ends included.

    They become the sample's limits (`Catalogue.limits`): a fit knows that clusters scatter across
    them, and asks for a population that reaches beyond. Give them for a table, too, that somebody
    else has limited before.

    Published ages sit on a grid: a boundary on a grid age (such as 2e8 yr) decides about every
    source piled up there.

    `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag): (low, high), or None for no limit.
    Raises `CatalogueError` for no range, or an empty one.

    ```python
    apply_cuts(catalogue, [ThetaRange(log_mass=(3.7, 6.0))]).steps[-1].reason
    ```
    """

    log_mass: Pair | None = None
    log_age: Pair | None = None
    a_v: Pair | None = None

    def __post_init__(self) -> None:
        if not self.ranges:
            raise CatalogueError(f"theta_range needs one of {', '.join(AXES)}")
        for name, (low, high) in self.ranges.items():
            if not low < high:
                raise CatalogueError(f"theta_range {name} = ({low}, {high}) is empty")

    @property
    def ranges(self) -> dict[str, Pair]:
        """Those that are given, by axis."""
        every = {name: getattr(self, name) for name in AXES}
        return {name: pair for name, pair in every.items() if pair is not None}

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        mask, nan = np.ones(len(catalogue), bool), np.zeros(len(catalogue), bool)
        for name, (low, high) in self.ranges.items():
            values = catalogue.theta[:, AXES.index(name)]
            nan |= np.isnan(values)
            mask &= (values >= low) & (values <= high)
        ranges = self.ranges.items()
        rule = ", ".join(f"{low:.6g} <= {name} <= {high:.6g}" for name, (low, high) in ranges)
        return _keep(catalogue, mask, nan, "theta_range", rule).limited(self.ranges)


def apply_cuts(catalogue: Catalogue, cuts: Sequence[Cut]) -> Catalogue:
    """The catalogue after each cut in turn; raises what the cuts raise.

    ```python
    cuts = [PhotometricErrors(n_bands=1), AbsoluteMagnitude(), Classes((1, 2)), WithEstimates()]
    left = apply_cuts(catalogue, cuts)
    [(step.name, step.n_before, step.n_after) for step in left.steps]
    ```
    """
    for cut in cuts:
        catalogue = cut(catalogue)
    return catalogue


def cuts_of(tables: Sequence[Mapping[str, object]]) -> tuple[Cut, ...]:
    """The cuts that a file names.

    **Arguments:**

    - `tables`: such as `{name = "classes", keep = [1, 2, 3]}`, in order.

    Raises `CatalogueError` for an unknown cut or argument, with the allowed ones, and for a
    value of the wrong type.

    ```python
    cuts_of([{"name": "classes", "keep": [1, 2]}, {"name": "with_estimates"}])
    ```
    """
    return tuple(_cut(number, table) for number, table in enumerate(tables, 1))


def _cut(number: int, table: Mapping[str, object]) -> Cut:
    arguments = dict(table)
    name = arguments.pop("name", None)
    if not isinstance(name, str) or name not in CUTS:
        raise CatalogueError(f"cut {number}: name = {name!r}, expected one of {', '.join(CUTS)}")
    cls = CUTS[name]
    allowed = [field.name for field in dataclasses.fields(cls)]
    if unknown := sorted(set(arguments) - set(allowed)):
        raise CatalogueError(
            f"cut {number} ({name}): unknown argument {', '.join(unknown)}; allowed: "
            f"{', '.join(allowed) or 'none'}"
        )
    try:
        return pydantic.TypeAdapter(cls).validate_python(arguments)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        key = first["loc"][0] if first["loc"] else None
        of_key = "" if key is None else f"{key} = {arguments.get(str(key))!r}: "
        said = first["msg"].removeprefix("Value error, ")
        raise CatalogueError(f"cut {number} ({name}): {of_key}{said}") from error


def _classes(kept: Sequence[int | float | str]) -> tuple[tuple[str, float], ...]:
    """Classes that were kept, as a step's limits; those that are words have no number."""
    return tuple(("class", -1.0 if isinstance(each, str) else float(each)) for each in kept)


def _keep(
    catalogue: Catalogue,
    mask: Bool[np.ndarray, " n"],
    nan: Bool[np.ndarray, " n"],
    name: str,
    rule: str,
    limits: tuple[tuple[str, float], ...] = (),
    on_measured: bool = False,
) -> Catalogue:
    failed = int((nan & ~mask).sum())
    reason = f"{rule}; {failed} failed for NaN"
    return catalogue.keep(mask & ~nan, name, reason, limits, on_measured)


def _column(catalogue: Catalogue, name: str, cut: str) -> np.ndarray:
    if name in catalogue.columns:
        return catalogue.columns[name]
    if cut == "column" and name in AXES:
        return catalogue.theta[:, AXES.index(name)]
    if cut == "column" and name in catalogue.bands and catalogue.mags is not None:
        return catalogue.mags[:, catalogue.bands.index(name)]
    has = [*sorted(catalogue.columns), *(catalogue.bands if cut == "column" else ())]
    raise CatalogueError(
        f"{catalogue.source}: the cut {cut!r} needs the column {name!r}; this catalogue has "
        f"{', '.join(has) or 'none'}; a column map keeps further ones under extra or columns"
    )


def _numeric(catalogue: Catalogue, name: str, cut: str) -> np.ndarray:
    values = _column(catalogue, name, cut)
    if values.dtype.kind not in "biuf":
        raise CatalogueError(
            f"{catalogue.source}: the cut {cut!r}: column {name!r} holds words; expected numbers "
            "(the cut 'column' takes words with keep)"
        )
    return values.astype(np.float64)


def _why_no_magnitudes(catalogue: Catalogue) -> str:
    why = catalogue.meta.get("no_magnitudes")
    return f"; the table has magnitudes, but {why}" if why else ""


def _band_index(catalogue: Catalogue, band: str) -> int:
    found = [
        index
        for index, name in enumerate(catalogue.bands)
        if (letter_of(name) == "V" if band == "V" else band in (name, filter_of(name)))
    ]
    if len(found) != 1 or catalogue.mags is None:
        raise CatalogueError(
            f"{catalogue.source}: band {band!r} matches {len(found)} of the bands "
            f"{', '.join(catalogue.bands) or '(none)'}; expected exactly one"
            + _why_no_magnitudes(catalogue)
        )
    return found[0]
