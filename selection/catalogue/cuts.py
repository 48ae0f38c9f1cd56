"""Named cuts on a catalogue; each returns a new one with the step and its counts recorded.

A value that is NaN never passes: it fails the cut, and the step's reason counts it. All
boundaries are inclusive, which matters for estimates that sit exactly on a model grid.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pydantic
from jaxtyping import Bool

from ._base import Catalogue, CatalogueError
from .checks import THETA_NAMES, has_estimate, published

_V_BANDS = ("F555W", "F606W")


def _keep(
    cat: Catalogue, mask: Bool[np.ndarray, " n"], nan: Bool[np.ndarray, " n"], name: str, rule: str
) -> Catalogue:
    failed = int((nan & ~mask).sum())
    return cat.keep(mask & ~nan, name, f"{rule}; {failed} failed for NaN")


def _column(cat: Catalogue, name: str, cut: str) -> np.ndarray:
    if name not in cat.columns:
        raise CatalogueError(
            f"{cat.source}: the cut {cut!r} needs the column {name!r}; this catalogue has "
            f"{', '.join(sorted(cat.columns)) or 'none'}"
        )
    return cat.columns[name]


def _band_index(cat: Catalogue, band: str) -> int:
    wanted = _V_BANDS if band == "V" else (band,)
    found = [
        index
        for index, name in enumerate(cat.bands)
        if name in wanted or name.rsplit("_", 1)[-1] in wanted
    ]
    if len(found) != 1 or cat.mags is None:
        raise CatalogueError(
            f"{cat.source}: band {band!r} matches {len(found)} of the bands "
            f"{', '.join(cat.bands) or '(none)'}; expected exactly one"
        )
    return found[0]


def photometric_errors(cat: Catalogue, n_bands: int = 4, max_error: float = 0.3) -> Catalogue:
    """Sources measured to `max_error` (mag) or better in at least `n_bands` bands.

    A band without a magnitude or an error does not count.
    """
    if cat.mag_errors is None or cat.mags is None:
        raise CatalogueError(f"{cat.source}: the cut 'photometric_errors' needs mags and errors")
    if not 1 <= n_bands <= len(cat.bands):
        raise CatalogueError(
            f"{cat.source}: n_bands = {n_bands}, expected 1 to {len(cat.bands)} (the bands here)"
        )
    measured = np.isfinite(cat.mags) & np.isfinite(cat.mag_errors)
    good = (measured & (cat.mag_errors <= max_error)).sum(axis=1) >= n_bands
    too_few = measured.sum(axis=1) < n_bands
    rule = f"error <= {max_error:g} mag in at least {n_bands} of {len(cat.bands)} bands"
    return _keep(cat, good, too_few, "photometric_errors", rule)


def absolute_magnitude(
    cat: Catalogue, band: str = "V", limit: float = -6.0, distance_modulus: float | None = None
) -> Catalogue:
    """Sources with absolute magnitude at or brighter than `limit` in `band`.

    `band` is a full name, the filter alone (`F555W`), or `V`: F555W or F606W, whichever the
    catalogue has. `distance_modulus` (mag) defaults to the catalogue's own.
    """
    index = _band_index(cat, band)
    modulus = cat.meta.get("distance_modulus") if distance_modulus is None else distance_modulus
    if not isinstance(modulus, int | float):
        raise CatalogueError(
            f"{cat.source}: the cut 'absolute_magnitude' needs a distance modulus and none is "
            "known; pass distance_modulus (mag) to the reader or to the cut"
        )
    assert cat.mags is not None
    absolute = cat.mags[:, index] - modulus
    rule = f"M({cat.bands[index]}) <= {limit:g} at distance modulus {modulus:g}"
    return _keep(cat, absolute <= limit, np.isnan(absolute), "absolute_magnitude", rule)


def concentration(cat: Catalogue, minimum: float = 1.4) -> Catalogue:
    """Sources with concentration index (mag within 1 pix minus 3 pix) of at least `minimum`."""
    index = _column(cat, "concentration_index", "concentration")
    return _keep(cat, index >= minimum, np.isnan(index), "concentration", f"CI >= {minimum:g} mag")


def legus_stage2(cat: Catalogue) -> Catalogue:
    """What LEGUS inspects by eye: four bands to 0.3 mag, M_V <= -6, CI >= 1.4, in this order.

    Adamo et al. 2017. The team's M_V used an aperture correction that depends on CI, so a table
    with average corrections keeps slightly different sources near the limit; other galaxies
    have other CI limits (1.2 to 1.4).
    """
    return concentration(absolute_magnitude(photometric_errors(cat)))


def classes(cat: Catalogue, keep: Sequence[int] = (1, 2, 3)) -> Catalogue:
    """Sources whose `class_mode` is in `keep`: 1 compact, 2 asymmetric, 3 multiple peaks,
    4 spurious, 0 not inspected."""
    if not keep or not set(keep) <= {0, 1, 2, 3, 4}:
        raise CatalogueError(f"{cat.source}: classes keep = {keep}, expected some of 0, 1, 2, 3, 4")
    mode = _column(cat, "class_mode", "classes").astype(np.float64)
    rule = f"class (mode) in {', '.join(map(str, keep))}"
    return _keep(cat, np.isin(mode, list(keep)), np.isnan(mode), "classes", rule)


def with_estimates(cat: Catalogue, min_filters: int | None = None) -> Catalogue:
    """Sources with a finite θ, and with at least `min_filters` bands in the fit where given."""
    mask = has_estimate(cat)
    rule = "has an estimate of " + ", ".join(np.array(THETA_NAMES)[published(cat)])
    nan = ~mask
    if min_filters is not None:
        mask = mask & (_column(cat, "n_filters", "with_estimates") >= min_filters)
        rule += f" from at least {min_filters} filters"
    return _keep(cat, mask, nan, "with_estimates", rule)


def theta_range(
    cat: Catalogue,
    log_mass: tuple[float, float] | None = None,
    log_age: tuple[float, float] | None = None,
    a_v: tuple[float, float] | None = None,
) -> Catalogue:
    """Sources whose best θ lies in the given ranges, both ends included.

    Published ages sit on a grid: a boundary on a grid age (such as 2e8 yr) decides about every
    source piled up there.
    """
    ranges = {"log_mass": log_mass, "log_age": log_age, "a_v": a_v}
    given = {name: pair for name, pair in ranges.items() if pair is not None}
    if not given:
        raise CatalogueError(f"{cat.source}: theta_range needs one of {', '.join(ranges)}")
    mask = np.ones(len(cat), bool)
    nan = np.zeros(len(cat), bool)
    for name, (low, high) in given.items():
        if not low < high:
            raise CatalogueError(f"{cat.source}: theta_range {name} = ({low}, {high}) is empty")
        values = cat.theta[:, THETA_NAMES.index(name)]
        nan |= np.isnan(values)
        mask &= (values >= low) & (values <= high)
    rule = ", ".join(f"{low:.6g} <= {name} <= {high:.6g}" for name, (low, high) in given.items())
    return _keep(cat, mask, nan, "theta_range", rule)


CUTS: dict[str, Callable[..., Catalogue]] = {
    "photometric_errors": photometric_errors,
    "absolute_magnitude": absolute_magnitude,
    "concentration": concentration,
    "legus_stage2": legus_stage2,
    "classes": classes,
    "with_estimates": with_estimates,
    "theta_range": theta_range,
}


def apply_cuts(cat: Catalogue, cuts: Sequence[Mapping[str, object]]) -> Catalogue:
    """The catalogue after each cut in turn.

    **Arguments:**

    - `cuts`: tables such as `{name = "classes", keep = [1, 2, 3]}` from an experiment file.

    **Raises** `CatalogueError` for an unknown cut or argument, with the allowed ones, and for a
    value of the wrong type.
    """
    for number, table in enumerate(cuts, 1):
        arguments = dict(table)
        name = arguments.pop("name", None)
        if not isinstance(name, str) or name not in CUTS:
            raise CatalogueError(
                f"cut {number}: name = {name!r}, expected one of {', '.join(CUTS)}"
            )
        function = CUTS[name]
        parameters = dict(list(inspect.signature(function).parameters.items())[1:])
        unknown = sorted(set(arguments) - set(parameters))
        if unknown:
            raise CatalogueError(
                f"cut {number} ({name}): unknown argument {', '.join(unknown)}; allowed: "
                f"{', '.join(parameters) or 'none'}"
            )
        for key, value in arguments.items():
            kind = parameters[key].annotation
            try:
                arguments[key] = pydantic.TypeAdapter(kind).validate_python(value)
            except pydantic.ValidationError as error:
                raise CatalogueError(
                    f"cut {number} ({name}): {key} = {value!r}: {error.errors()[0]['msg']}"
                ) from error
        cat = function(cat, **arguments)
    return cat
