"""The two-piece normal that a best value with 68% limits stands for, and draws from it.

A population's density changes by powers of ten along an error of a dex, so that of plain draws a
handful would carry all the weight. Half of the draws are therefore made from the error times
exp(slope · x); `SLOPES` are those of a population of dN/dM ∝ M^−2, dN/dT ∝ T^−0.5. Each draw is
weighted by the error's density over that of both halves together (Veach & Guibas 1995, the balance
heuristic): the integral does not depend on the slopes, only how many draws it takes, and no weight
is above 2.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

# Along (log_mass, log_age, a_v), per dex, dex, mag.
SLOPES = np.log(10.0) * np.array([-1.0, 0.5, 0.0])
# A draw of errors of many dex is tilted by this number of standard errors at most.
_STEEPEST = 3.0
# Nothing is tilted so far out of the bounds that less than this is left in them.
_LEFT = 1e-4


def cdf(
    x: np.ndarray,
    best: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    slope: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Share below `x` of the two-piece normal times exp(slope · x).

    **Arguments:**

    - `x`, `best`, `lower`, `upper`: of one shape; upper and lower scales are positive.
    - `slope`: of the tilt.

    ```python
    cdf(np.array(4.0), np.array(4.0), np.array(0.1), np.array(0.3))  # 0.25
    ```
    """
    left, right = _masses(lower, upper, slope)
    below = _weight(lower, slope) * ndtr((x - best) / lower - slope * lower)
    above = _weight(upper, slope) * ndtr(slope * upper - (x - best) / upper)
    return np.where(x < best, below / (left + right), 1.0 - above / (left + right))


def draw(
    u: Float[np.ndarray, "n s axis"],
    best: Float[np.ndarray, "n axis"],
    lower: Float[np.ndarray, "n axis"],
    upper: Float[np.ndarray, "n axis"],
    low: Float[np.ndarray, " axis"],
    high: Float[np.ndarray, " axis"],
) -> tuple[Float[np.ndarray, "n s axis"], Float[np.ndarray, "n s"]]:
    """Draws between `low` and `high`, and the ln of their weights.

    **Arguments:**

    - `u`: uniform numbers.
    - `best`, `lower`, `upper`: of each object.
    - `low`, `high`: bounds.

    Means over draws with these weights are those under the two-piece normal inside the bounds.

    ```python
    u = np.random.default_rng(1).random((1, 64, 3))
    theta, log_weight = draw(u, best, best - 0.1, best + 0.1, np.zeros(3), np.full(3, 10.0))
    ```
    """
    slope = np.clip(SLOPES, *(s * _STEEPEST / np.maximum(lower, upper) for s in (-1, 1)))
    ends = (cdf(edge, best, lower, upper, slope) for edge in (high, low))
    slope = np.where(np.subtract(*ends) > _LEFT, slope, 0.0)
    n_plain = (u.shape[1] + 1) // 2
    parts, ln_shares = [], []
    for tilt, part in ((0.0 * slope, u[:, :n_plain]), (slope, u[:, n_plain:])):
        first, last = (cdf(edge, best, lower, upper, tilt) for edge in (low, high))
        of_each = (each[:, None] for each in (best, lower, upper, tilt))
        x = _quantile(first[:, None] + part * (last - first)[:, None], *of_each)
        parts.append(np.clip(x, low, high))
        ln_shares.append(np.log(sum(_masses(lower, upper, tilt)) * (last - first)))
    x = np.concatenate(parts, axis=1)
    plain, tilted = ln_shares
    ln_ratio = (slope[:, None] * (x - best[:, None]) + (plain - tilted)[:, None]).sum(axis=-1)
    share = n_plain / u.shape[1]
    return x, -np.log(share + (1.0 - share) * np.exp(ln_ratio))


def _weight(scale: np.ndarray, slope: np.ndarray | float) -> np.ndarray:
    return scale * np.exp((slope * scale) ** 2 / 2)


def _masses(
    lower: np.ndarray, upper: np.ndarray, slope: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """Integrals of the tilted density on both sides of its mode, in units of √(2π)."""
    left = _weight(lower, slope) * ndtr(-slope * lower)
    return left, _weight(upper, slope) * ndtr(slope * upper)


def _quantile(
    u: np.ndarray, best: np.ndarray, lower: np.ndarray, upper: np.ndarray, slope: np.ndarray
) -> np.ndarray:
    left, right = _masses(lower, upper, slope)
    share = left / (left + right)
    below = np.minimum(u / share, 1.0) * ndtr(-slope * lower)
    above = np.minimum((1.0 - u) / (1.0 - share), 1.0) * ndtr(slope * upper)
    return np.where(
        u < share,
        best + lower * (ndtri(below) + slope * lower),
        best + upper * (slope * upper - ndtri(above)),
    )
