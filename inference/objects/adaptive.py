"""Points of θ where each object is likely, with the density that they were drawn from.

Importance sampling that learns: points that all objects share are weighted by the object's
likelihood with wider errors, which no narrow peak escapes; kernels about some of these, as wide as
their neighbours are apart, are drawn from and weighted anew with errors half as much widened, and
so on to the object's own, so that no peak is ever much narrower than the points that look for it
are apart. The last points are drawn from a fixed mixture of kernels, a part of them wide ones, and
take part in sums alone; those that taught where they are to be drawn do not (Cappé et al. 2004, J.
Comp. Graph. Stat. 13, 907; Owen & Zhou 2000, JASA 95, 135). Kernels are folded at the edges of the
box, so that nothing is drawn outside.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from starcensus.theta import Box

# ln of the object's likelihood times a reference at points `(object, point, 3)` of some objects,
# with errors widened by so many mag.
type LogTarget = Callable[
    [Int[np.ndarray, " n"], Float[np.ndarray, "n s 3"], float], Float[np.ndarray, "n s"]
]

# By which the first look widens every error, mag, and the rounds after it.
FIRST_WIDENED = 0.25
_WIDENED = 0.125, 0.06, 0.03, 0.0
# Kernels of each object, neighbours that say how wide one is, and points of a round.
_CENTRES, _NEIGHBOURS, _POINTS = 96, 16, 512
# Effective points that kernels are put about: weights are tempered until so many have a part, lest
# a peak be lost that no point has come near yet.
_EFFECTIVE = 24.0
# Of the last points, and kernels' widths in units of the distance of neighbours, and at least.
_WIDE_SHARE, _WIDTH, _LEAST = 0.15, 0.8, 0.004


@dataclasses.dataclass(frozen=True, eq=False)
class Kernels:
    """Equal mixtures of Gaussians along the axes, folded at the edges of a box.

    **Arguments:**

    - `centre`, `width`: `(n, kernel, 3)`.
    """

    centre: Float[np.ndarray, "n kernel 3"]
    width: Float[np.ndarray, "n kernel 3"]

    def draw(
        self, count: int, box: Float[np.ndarray, "3 2"], rng: np.random.Generator
    ) -> Float[np.ndarray, "n count 3"]:
        n, k, _ = self.centre.shape
        # As many from each kernel, within one, and chance decides which have the one.
        at = np.argsort(rng.uniform(size=(n, max(count, k))), axis=1)[:, :count] % k
        at = np.take_along_axis(np.argsort(rng.uniform(size=(n, k)), axis=1), at, axis=1)
        rows = np.arange(n)[:, None]
        x = self.centre[rows, at] + self.width[rows, at] * rng.standard_normal((n, count, 3))
        low, span = box[:, 0], box[:, 1] - box[:, 0]
        # Reflected at both edges, as often as it takes.
        folded = np.mod(x - low, 2 * span)
        return low + np.minimum(folded, 2 * span - folded)

    def log_density(
        self, theta: Float[np.ndarray, "n s 3"], box: Float[np.ndarray, "3 2"]
    ) -> Float[np.ndarray, "n s"]:
        found = np.zeros(theta.shape[:2])
        for i in range(len(theta)):
            total = np.ones((theta.shape[1], self.centre.shape[1]))
            for axis, (low, high) in enumerate(box):
                x, c, w = theta[i, :, axis, None], self.centre[i, :, axis], self.width[i, :, axis]
                images = (c, 2 * low - c, 2 * high - c)
                heights = sum(np.exp(-0.5 * ((x - image) / w) ** 2) for image in images)
                total *= heights / (w * np.sqrt(2 * np.pi))
            found[i] = total.mean(axis=1)
        with np.errstate(divide="ignore"):
            return np.log(found)


@dataclasses.dataclass(frozen=True, eq=False)
class Adapted:
    """Points of each object.

    **Arguments:**

    - `theta`: `(n, s, 3)`. `log_density`: `(n, s)`, ln q of what they were drawn from, per dex²
      mag.
    """

    theta: Float[np.ndarray, "n s 3"]
    log_density: Float[np.ndarray, "n s"]


def adapted(
    first: Float[np.ndarray, "m 3"],
    log_first: Float[np.ndarray, "n m"],
    log_target: LogTarget,
    box: Box,
    n_samples: int,
    rng: np.random.Generator,
) -> Adapted:
    """Points for each object.

    **Arguments:**

    - `first`: points that cover the box evenly. `log_first`: ln of each object's likelihood with
      errors widened by `FIRST_WIDENED` times the reference there.
    - `log_target`: the same anywhere, with errors as much widened as it is told.
    - `n_samples`: points of each object.

    ```python
    def target(objects, theta, widened):
        return -0.5 * ((theta - 4.0) ** 2).sum(axis=-1) / (1 + widened**2)

    box = Box((2.0, 6.0), (3.0, 9.0), (0.0, 5.0))
    corners = np.array(list(box.as_dict().values()))
    rng = np.random.default_rng(0)
    first = rng.uniform(*corners.T, (500, 3))
    wide = target(None, first[None], FIRST_WIDENED)
    adapted(first, wide, target, box, 64, rng).theta.shape  # (1, 64, 3)
    ```
    """
    edges = np.array(list(box.as_dict().values()))
    span, n = edges[:, 1] - edges[:, 0], len(log_first)
    objects = np.arange(n)
    # The distance between points that cover the box.
    coarse = span * len(first) ** (-1 / 3)
    wide = _kernels(np.broadcast_to(first, (n, *first.shape)), log_first, 0.5 * coarse, rng)
    narrow = wide
    for widened in _WIDENED:
        mixed = _joined(narrow, wide)
        points = mixed.draw(_POINTS, edges, rng)
        log_w = log_target(objects, points, widened) - mixed.log_density(points, edges)
        narrow = _kernels(points, log_w, _LEAST * span, rng)
    n_wide = max(1, round(_WIDE_SHARE * n_samples))
    theta = np.concatenate(
        [narrow.draw(n_samples - n_wide, edges, rng), wide.draw(n_wide, edges, rng)], axis=1
    )
    share = n_wide / n_samples
    log_density = np.logaddexp(
        np.log1p(-share) + narrow.log_density(theta, edges),
        np.log(share) + wide.log_density(theta, edges),
    )
    return Adapted(theta, log_density)


def _joined(narrow: Kernels, wide: Kernels) -> Kernels:
    """Half of the kernels of each."""
    if narrow is wide:
        return wide
    centre, width = (
        np.concatenate([getattr(narrow, name), getattr(wide, name)[:, ::4]], axis=1)
        for name in ("centre", "width")
    )
    return Kernels(centre, width)


def _kernels(
    points: Float[np.ndarray, "n m 3"],
    log_weight: Float[np.ndarray, "n m"],
    least: Float[np.ndarray, " 3"],
    rng: np.random.Generator,
) -> Kernels:
    """About points that are picked by weight, as wide as their neighbours are apart."""
    n = len(points)
    centre = np.empty((n, _CENTRES, 3))
    width = np.empty((n, _CENTRES, 3))
    for i in range(n):
        log_w = np.where(np.isfinite(log_weight[i]), log_weight[i], -np.inf)
        weight = _tempered(log_w) if np.isfinite(log_w.max()) else np.ones(len(log_w))
        heap = np.cumsum(weight)
        level = (np.arange(_CENTRES) + rng.uniform(size=_CENTRES)) / _CENTRES
        picked = np.minimum(np.searchsorted(heap, level * heap[-1]), len(heap) - 1)
        own = points[i, picked]
        scale = np.maximum(own.std(axis=0), least)
        apart = (((own[:, None] - own[None]) / scale) ** 2).sum(axis=-1)
        near = np.argpartition(apart, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        away = own[near] - own[:, None]
        centre[i] = own
        width[i] = np.maximum(_WIDTH * np.sqrt((away**2).mean(axis=1)), least)
    return Kernels(centre, width)


def _tempered(log_weight: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Weights, to the largest power up to 1 that leaves enough of them effective."""
    log_w = log_weight - log_weight.max()
    low, high = 0.0, 1.0
    power = 1.0
    for _ in range(20):
        weight = np.exp(power * log_w)
        enough = weight.sum() ** 2 >= _EFFECTIVE * (weight**2).sum()
        if enough and power == 1.0:
            break
        low, high = (power, high) if enough else (low, power)
        power = (low + high) / 2
    return np.exp(power * log_w)
