"""From published values with errors to weighted samples of θ for each cluster.

Each row's 68% limits become a two-piece normal in (log_mass, log_age, a_v): the median side scales
are best − low and high − best, the three axes are independent, and the density is read as the
likelihood p(d|θ), i.e. as a posterior under a prior π flat per dex and per mag. The samples are a
low-discrepancy set (scrambled Sobol, shifted per object), truncated to the population's bounds, and
weighted (`two_piece`).
"""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from starcensus.settings import check_choices, check_seed
from starcensus.theta import AXES, Box

from ...selection import AbstractSelection, ProductSelection, RecordedLimits
from ...selection.catalogue import Catalogue, CatalogueError, Step
from ...selection.catalogue.checks import published
from . import two_piece
from ._base import AbstractObjects, ObjectSamples, Points, padded_size, with_selection
from .bounds import check_bounds

# Rows whose errors stand for those of all clusters near a sample's limits.
_MAX_ERRORS = 256
# Of an error box that lies beyond the bounds for certain.
_SURELY = 1 - 1e-7
_UNKNOWN = "extinction unknown"
_N_EXTINCTIONS = 16


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

    Raises `ValueError` for numbers out of their ranges, and for a floor without errors.

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
        check_seed(self.seed)
        if min(self.floor) <= 0:
            raise ValueError(f"floor = {self.floor}; expected positive errors in dex, dex, mag")
        if self.mode == "none" and self.missing == "floor":
            raise ValueError(
                "errors.mode = 'none' takes best values as exact, errors.missing = 'floor' gives "
                "them errors; leave one of them out"
            )
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
    def unmeasured(self) -> tuple[str, ...]:
        return tuple(np.array(AXES)[~published(self.catalogue)].tolist())

    @property
    def remedy(self) -> str:
        return "raise errors.n_samples"

    def entering(self, selection: AbstractSelection) -> AbstractSelection:
        """`selection`, times `RecordedLimits` of a catalogue that has limits.

        Errors of the catalogue's clusters, evenly taken where there are many, stand for those of
        all that the survey recorded: near the limits they should be alike.
        """
        if not (limits := self.catalogue.limits):
            return selection
        pairs = np.array([limits.get(axis, (-np.inf, np.inf)) for axis in AXES])
        lower = upper = np.zeros((1, 3))
        if self.errors.mode == "published":
            lower, upper = _one_sided_errors(self.catalogue, self.errors)
        step = -(-len(lower) // _MAX_ERRORS)
        kept = RecordedLimits(
            low=pairs[:, 0], high=pairs[:, 1], lower=lower[::step], upper=upper[::step]
        )
        return ProductSelection(selection, kept)

    def inside(self, box: Box) -> "PublishedValues":
        """As `in_bounds`."""
        return PublishedValues(in_bounds(self.catalogue, box, self.errors), self.errors)

    def samples(
        self, box: Box, selection: AbstractSelection | None = None, pad: bool = True
    ) -> ObjectSamples:
        """As `object_samples`."""
        return object_samples(self.catalogue, box, self.errors, selection, pad)

    def finer(self) -> "PublishedValues | None":
        """As of `AbstractObjects`."""
        if self.exact:
            return None
        n_samples, seed = 4 * self.errors.n_samples, self.errors.seed + 1
        errors = dataclasses.replace(self.errors, n_samples=n_samples, seed=seed)
        return PublishedValues(self.catalogue, errors)

    def points(self) -> Points:
        c = self.catalogue
        return Points(c.theta, c.theta_low, c.theta_high, "published best values and 68% limits")


def in_bounds(catalogue: Catalogue, box: Box, settings: ErrorSettings) -> Catalogue:
    """The rows that a population inside `box` may have.

    With errors that is all of them, or the bounds are wrong (`check_bounds`). Exact values outside
    are skipped, with a recorded step: for them bounds and limits of a sample are the same.

    **Arguments:**

    - `catalogue`: clusters with best values and limits.
    - `box`: the population's bounds.
    - `settings`: how limits become errors.

    Raises `CatalogueError` if there are none, and for rows without estimates or limits,
    `BoundsError` for bounds that cut through the catalogue.

    ```python
    len(in_bounds(catalogue, Box((3.0, 6.0), (6.0, 9.0), (0.0, 2.0)), ErrorSettings()))
    ```
    """
    _check_rows(catalogue)
    catalogue.check_limits()
    known = published(catalogue)
    catalogue = _with_unknown_extinction(catalogue, box)
    if settings.mode == "published":
        best, (lower, upper) = catalogue.theta, _one_sided_errors(catalogue, settings)
        low, high = _limits(box)
        shares = np.stack(
            [two_piece.cdf(low, best, lower, upper), 1 - two_piece.cdf(high, best, lower, upper)],
            axis=-1,
        )
        shares[:, ~known] = 0.5
        _check_any(catalogue, box, shares.max(axis=(1, 2)) < _SURELY)
        check_bounds(catalogue.source, shares, best, catalogue.ids, box, catalogue.limits)
        return catalogue
    keep = np.asarray(box.contains(*catalogue.theta.T))
    _check_any(catalogue, box, keep)
    reason = "best value inside the population's bounds"
    return catalogue.keep(keep, "inside the bounds", reason)


def _check_any(catalogue: Catalogue, box: Box, inside: Bool[np.ndarray, " n"]) -> None:
    if not inside.any():
        raise CatalogueError(
            f"{catalogue.source}: none of the {len(catalogue)} clusters lies inside the "
            f"population's bounds {box.as_dict()}; check the bounds and the units"
        )


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

    Where no extinction is published, every a_v inside the box is as likely as any other, so that
    the likelihood takes the population's own distribution of it.

    Raises `CatalogueError` for an empty catalogue, rows without estimates and, unless settings say
    otherwise, rows without limits; and for unpublished extinctions with an operator that depends
    on them, and acts on the data.

    ```python
    object_samples(catalogue, population.box, ErrorSettings(n_samples=16)).theta.shape
    ```
    """
    settings = settings or ErrorSettings()
    _check_rows(catalogue)
    catalogue = _with_unknown_extinction(catalogue, box)
    if settings.mode == "none":
        theta = catalogue.theta[:, None, :].astype(float)
        log_weight = np.zeros(theta.shape[:2])
    else:
        lower, upper = _one_sided_errors(catalogue, settings)
        theta, log_weight = _draw(catalogue.theta, lower, upper, box, settings)
    if not published(catalogue)[2]:
        theta, log_weight = _over_extinction(catalogue, theta, log_weight, box, selection)
    else:
        log_weight = with_selection(theta, log_weight, selection)
    by_axis = np.ascontiguousarray(np.moveaxis(theta, -1, 0))
    samples = ObjectSamples(by_axis, log_weight, np.ones(len(theta), bool))
    return samples.padded(padded_size(len(theta))) if pad else samples


def _check_rows(catalogue: Catalogue) -> None:
    if len(catalogue) == 0:
        raise CatalogueError(f"{catalogue.source}: no cluster is left to fit; {_taken(catalogue)}")
    columns = published(catalogue)
    if lacking := [name for name, there in zip(AXES[:2], columns, strict=False) if not there]:
        raise CatalogueError(
            f"{catalogue.source}: publishes no {' and no '.join(lacking)}; a fit needs both: join "
            "the table that has them"
        )
    if bad := int((~np.isfinite(catalogue.theta[:, columns]).all(axis=1)).sum()):
        names = ", ".join(np.array(AXES)[columns])
        raise CatalogueError(
            f"{catalogue.source}: {bad} of {len(catalogue)} rows have no estimate of {names}; drop "
            "them with the cut 'with_estimates'"
        )


def _with_unknown_extinction(catalogue: Catalogue, box: Box) -> Catalogue:
    """Where none is published, the median and the central 68% of all that the bounds allow."""
    if published(catalogue)[2] or any(step.name == _UNKNOWN for step in catalogue.steps):
        return catalogue
    low, high = box.a_v
    shares = {"theta": 0.5, "theta_low": 0.16, "theta_high": 0.84}
    filled = {name: getattr(catalogue, name).copy() for name in shares}
    for name, share in shares.items():
        filled[name][:, 2] = low + share * (high - low)
    reason = (
        f"a_v is not published: integrated over {low:g} to {high:g} mag with the population's "
        "distribution, of which these data say nothing but that the clusters were found"
    )
    step = Step(_UNKNOWN, len(catalogue), len(catalogue), reason)
    return dataclasses.replace(catalogue, **filled, steps=(*catalogue.steps, step))


def _over_extinction(
    catalogue: Catalogue,
    theta: Float[np.ndarray, "n s 3"],
    log_weight: Float[np.ndarray, "n s"],
    box: Box,
    selection: AbstractSelection | None,
) -> tuple[Float[np.ndarray, "n t axis"], Float[np.ndarray, "n t"]]:
    """Samples and ln weights of objects whose a_v nobody knows.

    Where p_sel does not depend on a_v the integral over it is 1, and the samples leave it out.
    Otherwise each sample meets all nodes of a Gauss-Legendre rule in the square root of a_v.
    Raises `CatalogueError` for an operator that depends on a_v but stands in no object's term.
    """
    n = len(theta)
    if selection is None or not _depends_on_extinction(selection, theta, box):
        return theta[..., :2], with_selection(theta, log_weight, selection)
    if selection.acts_on == "data":
        raise CatalogueError(
            f"{catalogue.source}: publishes no extinction, on which the operator depends: that a "
            "cluster was found is all that is known of its a_v, so that p_sel stands in its term. "
            "Say acts_on = 'truth' of the operator (--set selections.given.acts_on=truth of "
            "`starcensus fit`)"
        )
    x, w = np.polynomial.legendre.leggauss(_N_EXTINCTIONS)
    root, span = (x + 1.0) / 2.0, box.a_v[1] - box.a_v[0]
    theta = np.repeat(theta[:, :, None], _N_EXTINCTIONS, axis=2)
    theta[..., 2] = box.a_v[0] + span * root**2
    log_weight = log_weight[..., None] + np.log(w * root * span)
    theta, log_weight = theta.reshape(n, -1, 3), log_weight.reshape(n, -1)
    return theta, with_selection(theta, log_weight, selection)


def _depends_on_extinction(
    selection: AbstractSelection, theta: Float[np.ndarray, "n s 3"], box: Box
) -> bool:
    """Whether p_sel changes with a_v at some of the samples."""
    points = theta.reshape(-1, 3)[:: max(1, theta[..., 0].size // 512)]
    p = []
    for a_v in np.linspace(*box.a_v, 5):
        at = np.column_stack([points[:, :2], np.full(len(points), a_v)])
        p.append(np.asarray(selection.p_sel(*at.T)))
    return bool(np.ptp(np.stack(p), axis=0).max() > 1e-9)


def _taken(catalogue: Catalogue) -> str:
    """Which cut took the last rows."""
    for step in catalogue.steps:
        if step.n_before and not step.n_after:
            return f"the cut {step.name!r} took the last {step.n_before} ({step.reason})"
    return "the catalogue has no rows"


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


def _limits(box: Box) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.asarray([box.log_mass, box.log_age, box.a_v])
    return pairs[:, 0], pairs[:, 1]


def _draw(
    best: np.ndarray, lower: np.ndarray, upper: np.ndarray, box: Box, settings: ErrorSettings
) -> tuple[Float[np.ndarray, "n s 3"], Float[np.ndarray, "n s"]]:
    """Draws and the ln of their weights, whose sum over an object's draws is 1 on average."""
    from scipy.stats import qmc

    rng = np.random.default_rng(settings.seed)
    points = qmc.Sobol(3, scramble=True, rng=rng).random(settings.n_samples)
    u = (points[None] + rng.uniform(size=(len(best), 1, 3))) % 1.0
    theta, log_weight = two_piece.draw(u, best, lower, upper, *_limits(box))
    return theta, log_weight - np.log(settings.n_samples)
