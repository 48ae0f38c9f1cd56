"""Do a population's bounds and a sample agree?

A population has no clusters outside its bounds. If bounds cut through a catalogue, clusters from
beyond that scatter into it have no place in the model: they steepen slopes and raise numbers. The
limits of a *sample* are another thing: they act on recorded values, and clusters scatter across
them both ways. So every edge of the bounds is checked, and a fit is refused where

- clusters are recorded farther beyond an edge than their errors explain, or
- recorded values stop at an edge, which noise would have carried them across: the sample was
  limited there, and
- the sample's limits lie so near to an edge that clusters from beyond it belong to the sample.

Nothing is asked at edges that nature or the tables of models set: no extinction below 0, no ages
beyond those of SED fits' grids.

The tests look at z, how many standard errors a cluster lies beyond an edge. Where a population of
even density ends, the density of z goes as Φ(−z): of clusters within 2 on both sides, 0.4% lie
beyond 2; and for each within 0.5 inside there are 1.3 outside. Both tests are meant to pass every
catalogue of a population that ends there (`_FAR`, `_ACROSS` leave room for densities that rise or
fall towards the edge), and raise a false alarm in fewer than one in 1,000. The price is power: that
recorded values stop at an edge is seen where 87 or more lie within half an error of it.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from starcensus.files import FileError
from starcensus.theta import AXES, AXIS_UNITS, Box

Pair = tuple[float, float]

# Of clusters within 2 errors of an edge, at most this share is expected beyond 2 errors ...
_FAR = 0.02
# ... and, for each of those within half an error on the near side, at least so many beyond it: 1.3
# of an even density, 0.2 where a magnitude limit on recorded values has all but ended it there.
_ACROSS = 0.08
_CHANCE = 1e-3
# No noise carries a cluster farther.
_NEVER = 5.0
# Largest share of a limited sample that lies beyond an edge of the population.
_BEYOND = 0.005
# Grids of SED fits begin and end with these log_age at the latest.
_YOUNGEST, _OLDEST = 6.3, 10.0


class BoundsError(FileError):
    """A population's bounds contradict a sample; the message says where and what to do."""


def check_bounds(
    source: str,
    shares: Float[np.ndarray, "n 3 2"],
    points: Float[np.ndarray, "n 3"],
    ids: np.ndarray,
    box: Box,
    limits: Mapping[str, Pair] | None = None,
) -> None:
    """Raises `BoundsError` unless a population inside `box` may have given these clusters.

    **Arguments:**

    - `source`: their file, for messages.
    - `shares`: what share of p(d|θ) of each cluster lies below and above `box` on each axis.
    - `points`: `(n, 3)`, a recorded θ for each, for messages.
    - `ids`: of the clusters.
    - `box`: the population's bounds.
    - `limits`: of the sample, by axis.

    ```python
    shares = np.zeros((2, 3, 2))
    check_bounds("mine.ecsv", shares, np.array([[4.0, 7.0, 0.2]] * 2), np.array(["a", "b"]), box)
    ```
    """
    z = ndtri(np.clip(shares, 1e-12, 1 - 1e-12))
    for i, axis in enumerate(AXES):
        for side in (0, 1):
            edge = getattr(box, axis)[side]
            limit = (limits or {}).get(axis, (-np.inf, np.inf))[side]
            natural = _is_natural(axis, side, edge)
            # Counted away from the edge: negative where the limit lies beyond it.
            within = (edge - limit) if side else (limit - edge)
            if within > 0 or (abs(within) < 1e-9 and not natural):
                _check_margin(source, axis, side, edge, limit, shares[:, i, side])
            else:
                _check_far(source, axis, side, edge, z[:, i, side], points, ids)
                if not natural:
                    _check_stop(source, axis, side, edge, z[:, i, side])


def _is_natural(axis: str, side: int, edge: float) -> bool:
    if axis == "a_v":
        return side == 0 and edge <= 0
    if axis == "log_age":
        return edge <= _YOUNGEST if side == 0 else edge >= _OLDEST
    return False


def _check_far(
    source: str,
    axis: str,
    side: int,
    edge: float,
    z: Float[np.ndarray, " n"],
    points: Float[np.ndarray, "n 3"],
    ids: np.ndarray,
) -> None:
    from scipy.stats import poisson  # slow to import

    far, near = z > 2, np.abs(z) <= 2
    too_many = poisson.sf(far.sum() - 1, _FAR * near.sum()) < _CHANCE
    if not (far.any() and too_many) and not (z > _NEVER).any():
        return
    first = int(np.argmax(z))
    raise BoundsError(
        f"{source}: {int(far.sum())} of {len(z)} clusters are recorded more than 2 errors "
        f"{_beyond(side)} the population's bound {axis} = {edge:g} {AXIS_UNITS[axis]}, the "
        f"farthest is {ids[first]} with {points[first, AXES.index(axis)]:.3g}; the model has no "
        f"clusters there, and errors explain at most {_FAR * near.sum():.1f}. Widen the bounds, or "
        f"limit the sample, which is not the same: the cut theta_range with "
        f"{_range(axis, side, edge)} ({_option(axis)}), and bounds that reach {_beyond(side)} it "
        "by some errors (with errors.mode = 'none', by none)"
    )


def _check_stop(source: str, axis: str, side: int, edge: float, z: Float[np.ndarray, " n"]) -> None:
    from scipy.stats import poisson

    across, near = int((z > 0).sum()), int(((z > -0.5) & (z <= 0)).sum())
    if poisson.cdf(across, _ACROSS * near) >= _CHANCE:
        return
    raise BoundsError(
        f"{source}: recorded {axis} stops at the population's bound {edge:g} {AXIS_UNITS[axis]}: "
        f"{near} clusters lie within half an error of it on one side, {across} on the other, where "
        f"errors alone would carry {_ACROSS * near:.0f} or more. The sample was limited there: say "
        f"so with the cut theta_range, {_range(axis, side, edge)} ({_option(axis)}), and let the "
        f"bounds reach {_beyond(side)} it by some errors; or take the values as exact, "
        "errors.mode = 'none'"
    )


def _check_margin(
    source: str,
    axis: str,
    side: int,
    edge: float,
    limit: float,
    shares: Float[np.ndarray, " n"],
) -> None:
    if (beyond := float(shares.mean())) <= _BEYOND:
        return
    raise BoundsError(
        f"{source}: the sample is limited to {_range(axis, side, limit)}, and the population's "
        f"bound {edge:g} {AXIS_UNITS[axis]} is too near: {beyond:.1%} of the sample's error boxes "
        f"lie beyond it, more than {_BEYOND:.1%}. Clusters of true {axis} {_beyond(side)} the "
        "limit scatter into the sample, so the population must have them: let the bounds reach "
        "farther, for example by 3 errors of those near the limit"
    )


def _beyond(side: int) -> str:
    return "above" if side else "below"


def _option(axis: str) -> str:
    return f"--{axis.replace('_', '-')} LOW,HIGH of `starcensus fit`"


def _range(axis: str, side: int, edge: float) -> str:
    return f"{axis} = [.., {edge:g}]" if side else f"{axis} = [{edge:g}, ..]"
