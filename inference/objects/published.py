"""From published values with errors to weighted samples of θ for each cluster.

Each row's 68% limits become a two-piece normal in (log_mass, log_age, a_v): the median side scales
are best − low and high − best, the three axes are independent, and the density is read as the
likelihood p(d|θ), i.e. as a posterior under a prior π flat per dex and per mag. The samples are a
low-discrepancy set (scrambled Sobol, shifted per object), truncated to the population's bounds.
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from starcensus.settings import check_choices
from starcensus.theta import AXES, Box

from ...selection import AbstractSelection
from ...selection.catalogue import Catalogue, CatalogueError, Step
from ._base import AbstractObjects, ObjectSamples, Points, padded_size, with_selection

MIN_MASS_INSIDE = 1e-3


@dataclasses.dataclass(frozen=True)
class ErrorSettings:
    """How a catalogue's limits are turned into errors.

    **Arguments:**

    - `mode`: `"published"` uses the limits; `"none"` takes the best values as exact, as
      maximum-likelihood fits to catalogues do.
    - `floor`: smallest one-sided error of (log_mass, log_age, a_v), in dex, dex, mag. It replaces
      degenerate limits (best = low = high), which are the grid of the SED fit, not a
      measurement without error. The defaults are the spacing of that grid in age, the scatter in
      mass that follows from it, and half of a typical E(B−V) error.
    - `missing`: `"refuse"` raises for rows without limits; `"floor"` gives them the floor.
    - `n_samples`: samples per object, a power of two.
    - `seed`: seed of the scrambling.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    ErrorSettings(floor=(0.05, 0.1, 0.05), n_samples=64)
    ```
    """

    mode: Literal["published", "none"] = "published"
    floor: tuple[float, float, float] = (0.1, 0.1, 0.05)
    missing: Literal["refuse", "floor"] = "refuse"
    n_samples: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        check_choices(self)
        if min(self.floor) <= 0:
            raise ValueError(f"floor = {self.floor}; expected positive errors in dex, dex, mag")
        if self.n_samples < 1 or self.n_samples & (self.n_samples - 1):
            raise ValueError(f"n_samples = {self.n_samples}; expected a power of two")


class PublishedValues(AbstractObjects):
    """A catalogue's best values and 68% limits, read as two-piece normal errors.

    **Arguments:**

    - `catalogue`: clusters with `theta`, `theta_low` and `theta_high`.
    - `errors`: how limits become errors.

    ```python
    objects = PublishedValues(catalogue, ErrorSettings(missing="floor"))
    len(objects.inside(population.box).ids)
    ```
    """

    catalogue: Catalogue
    errors: ErrorSettings
    source: str
    ids: np.ndarray

    def __init__(self, catalogue: Catalogue, errors: ErrorSettings | None = None):
        self.catalogue, self.errors = catalogue, errors or ErrorSettings()
        self.source, self.ids = catalogue.source, catalogue.ids

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.catalogue.steps

    @property
    def exact(self) -> bool:
        return self.errors.mode == "none"

    @property
    def remedy(self) -> str:
        return "raise errors.n_samples"

    def inside(self, box: Box) -> "PublishedValues":
        """As `in_bounds`."""
        return PublishedValues(in_bounds(self.catalogue, box, self.errors), self.errors)

    def samples(
        self, box: Box, selection: AbstractSelection | None = None, pad: bool = True
    ) -> ObjectSamples:
        """As `object_samples`."""
        return object_samples(self.catalogue, box, self.errors, selection, pad)

    def points(self) -> Points:
        c = self.catalogue
        return Points(c.theta, c.theta_low, c.theta_high, "published best values and 68% limits")


def in_bounds(catalogue: Catalogue, box: Box, settings: ErrorSettings) -> Catalogue:
    """Skip, with a recorded step, the rows whose errors leave no room inside `box`.

    **Arguments:**

    - `catalogue`: clusters with best values and limits.
    - `box`: the population's bounds.
    - `settings`: how limits become errors.

    Raises `CatalogueError` if there are none, and for rows without estimates or limits.

    ```python
    in_bounds(catalogue, Box((3.5, 6.0), (6.0, 9.0), (0.0, 2.0)), ErrorSettings()).steps[-1]
    ```
    """
    _check_rows(catalogue)
    if settings.mode == "none":
        keep = np.asarray(box.contains(*catalogue.theta.T))
        reason = "best value inside the population's bounds"
    else:
        lower, upper = _one_sided_errors(catalogue, settings)
        keep = _log_mass_inside(catalogue.theta, lower, upper, box) > np.log(MIN_MASS_INSIDE)
        reason = f"more than {MIN_MASS_INSIDE:g} of the error box inside the population's bounds"
    if not keep.any():
        raise CatalogueError(
            f"{catalogue.source}: none of the {len(catalogue)} clusters lies inside the "
            f"population's bounds {box.as_dict()}; check the bounds and the units"
        )
    return catalogue.keep(keep, "inside the bounds", reason)


def object_samples(
    catalogue: Catalogue,
    box: Box,
    settings: ErrorSettings | None = None,
    selection: AbstractSelection | None = None,
    pad: bool = True,
) -> ObjectSamples:
    """Weighted samples of every row of a catalogue, truncated to a box.

    **Arguments:**

    - `catalogue`: clusters with best values and limits.
    - `box`: the population's bounds.
    - `settings`: how limits become errors.
    - `selection`: the operator of the fit; if it acts on the truth, its p_sel multiplies the
      weights.
    - `pad`: fill up to sizes that many catalogues share.

    Raises `CatalogueError` for an empty catalogue, rows without estimates and, unless settings say
    otherwise, rows without limits.

    ```python
    object_samples(catalogue, population.box, ErrorSettings(n_samples=16)).theta.shape
    ```
    """
    settings = settings or ErrorSettings()
    _check_rows(catalogue)
    if settings.mode == "none":
        theta = catalogue.theta[:, None, :].astype(float)
    else:
        lower, upper = _one_sided_errors(catalogue, settings)
        theta = _draw(catalogue.theta, lower, upper, box, settings)
    log_weight = np.full(theta.shape[:2], -np.log(theta.shape[1]))
    log_weight = with_selection(theta, log_weight, selection)
    by_axis = np.ascontiguousarray(np.moveaxis(theta, -1, 0))
    samples = ObjectSamples(by_axis, log_weight, np.ones(len(theta), bool))
    return samples.padded(padded_size(len(theta))) if pad else samples


def _check_rows(catalogue: Catalogue) -> None:
    if len(catalogue) == 0:
        raise CatalogueError(f"{catalogue.source}: no cluster is left to fit")
    if bad := int((~np.isfinite(catalogue.theta).all(axis=1)).sum()):
        raise CatalogueError(
            f"{catalogue.source}: {bad} of {len(catalogue)} rows have no estimate of mass, age or "
            "extinction; drop them with the cut 'with_estimates'"
        )


def _one_sided_errors(
    catalogue: Catalogue, settings: ErrorSettings
) -> tuple[np.ndarray, np.ndarray]:
    lower = catalogue.theta - catalogue.theta_low
    upper = catalogue.theta_high - catalogue.theta
    missing = ~np.isfinite(lower) | ~np.isfinite(upper)
    if missing.any() and settings.missing == "refuse":
        row, axis = (int(i) for i in np.argwhere(missing)[0])
        raise CatalogueError(
            f"{catalogue.source}: {int(missing.any(axis=1).sum())} clusters have no 68% limits, "
            f"the first is {catalogue.ids[row]} ({AXES[axis]}); set "
            "errors.missing = 'floor' to give them the floor, or errors.mode = 'none'"
        )
    floor = np.asarray(settings.floor)
    lower = np.maximum(np.where(missing, 0.0, lower), floor)
    upper = np.maximum(np.where(missing, 0.0, upper), floor)
    return lower, upper


def _cdf(x: np.ndarray, best: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    total = lower + upper
    left = 2 * lower / total * ndtr((x - best) / lower)
    right = (lower - upper) / total + 2 * upper / total * ndtr((x - best) / upper)
    return np.where(x < best, left, right)


def _quantile(u: np.ndarray, best: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    total = lower + upper
    left = best + lower * ndtri(np.minimum(u * total / (2 * lower), 0.5))
    right = best + upper * ndtri(np.clip((u * total - lower + upper) / (2 * upper), 0.5, None))
    return np.where(u * total < lower, left, right)


def _limits(box: Box) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.asarray([box.log_mass, box.log_age, box.a_v])
    return pairs[:, 0], pairs[:, 1]


def _log_mass_inside(
    best: np.ndarray, lower: np.ndarray, upper: np.ndarray, box: Box
) -> Float[np.ndarray, " n"]:
    low, high = _limits(box)
    inside = _cdf(high, best, lower, upper) - _cdf(low, best, lower, upper)
    return np.log(np.maximum(inside, 1e-300)).sum(axis=1)


def _draw(
    best: np.ndarray, lower: np.ndarray, upper: np.ndarray, box: Box, settings: ErrorSettings
) -> Float[np.ndarray, "n s 3"]:
    from scipy.stats import qmc

    rng = np.random.default_rng(settings.seed)
    points = qmc.Sobol(3, scramble=True, rng=rng).random(settings.n_samples)
    u = (points[None] + rng.uniform(size=(len(best), 1, 3))) % 1.0
    low, high = _limits(box)
    first, last = _cdf(low, best, lower, upper), _cdf(high, best, lower, upper)
    u = first[:, None] + u * (last - first)[:, None]
    theta = _quantile(u, best[:, None], lower[:, None], upper[:, None])
    return np.clip(theta, low, high)
