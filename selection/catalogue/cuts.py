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
            )
        if not 1 <= self.n_bands <= n:
            raise CatalogueError(
                f"{catalogue.source}: n_bands = {self.n_bands}, expected 1 to {n} (the bands here)"
            )
        measured = np.isfinite(mags) & np.isfinite(errors)
        good = (measured & (errors <= self.max_error)).sum(axis=1) >= self.n_bands
        too_few = measured.sum(axis=1) < self.n_bands
        rule = f"error <= {self.max_error:g} mag in at least {self.n_bands} of {n} bands"
        return _keep(catalogue, good, too_few, "photometric_errors", rule)


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
        modulus = self.distance_modulus
        modulus = catalogue.meta.get("distance_modulus") if modulus is None else modulus
        if not isinstance(modulus, int | float):
            raise CatalogueError(
                f"{catalogue.source}: the cut 'absolute_magnitude' needs a distance modulus and "
                "none is known; pass distance_modulus (mag) to the reader or to the cut"
            )
        assert catalogue.mags is not None
        absolute = catalogue.mags[:, index] - modulus
        rule = f"M({catalogue.bands[index]}) <= {self.limit:g} at distance modulus {modulus:g}"
        passed = absolute <= self.limit
        return _keep(catalogue, passed, np.isnan(absolute), "absolute_magnitude", rule)


@CUTS.register("concentration")
@dataclasses.dataclass(frozen=True)
class Concentration:
    """Sources with concentration index (mag within 1 pix minus 3 pix) of at least `minimum`."""

    minimum: float = 1.4

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` for a catalogue without the index."""
        index = _column(catalogue, "concentration_index", "concentration")
        rule = f"CI >= {self.minimum:g} mag"
        return _keep(catalogue, index >= self.minimum, np.isnan(index), "concentration", rule)


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
    """Sources whose `class_mode` is in `keep`: 1 compact, 2 asymmetric, 3 multiple peaks,
    4 spurious, 0 not inspected.

    Raises `CatalogueError` for other classes, or none.
    """

    keep: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        if not self.keep or not set(self.keep) <= {0, 1, 2, 3, 4}:
            raise CatalogueError(f"classes keep = {self.keep}, expected some of 0, 1, 2, 3, 4")

    def __call__(self, catalogue: Catalogue) -> Catalogue:
        """Raises `CatalogueError` for a catalogue without classes."""
        mode = _column(catalogue, "class_mode", "classes").astype(np.float64)
        rule = f"class (mode) in {', '.join(map(str, self.keep))}"
        return _keep(catalogue, np.isin(mode, list(self.keep)), np.isnan(mode), "classes", rule)


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
        return _keep(catalogue, mask, nan, "theta_range", rule)


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


def _keep(
    catalogue: Catalogue,
    mask: Bool[np.ndarray, " n"],
    nan: Bool[np.ndarray, " n"],
    name: str,
    rule: str,
) -> Catalogue:
    failed = int((nan & ~mask).sum())
    return catalogue.keep(mask & ~nan, name, f"{rule}; {failed} failed for NaN")


def _column(catalogue: Catalogue, name: str, cut: str) -> np.ndarray:
    if name not in catalogue.columns:
        raise CatalogueError(
            f"{catalogue.source}: the cut {cut!r} needs the column {name!r}; this catalogue has "
            f"{', '.join(sorted(catalogue.columns)) or 'none'}"
        )
    return catalogue.columns[name]


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
        )
    return found[0]
