"""Mixtures of Gaussians that end where the ranges end, each parameter after those before it.

A posterior often leans against an end of a range: no cluster has less than no extinction, and one
that has little may as well have none. In logits of the range such a density runs off to infinity in
a bent tail, which Gaussians follow badly. Here a component is, in the parameters themselves, a
Gaussian of the first, of the second given the first, and so on, each truncated to its range and
normalised there: its integral is one whatever its numbers are.
"""

import math
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri

from ...networks.cnn.mixture import N_CONTINUOUS, Mixtures

# A range reaches from -HALF to HALF, so that a flat density has the standard deviation 1.
HALF = math.sqrt(3.0)
# Where a Gaussian may have its middle, beyond the ends too, where it falls from them.
FARTHEST = 2.0 * HALF
# ln of the inverse standard deviation lies between -1.5 and 5, bounded softly.
MIDDLE_LOG_D, REACH_LOG_D = 1.75, 3.25
BELOW = tuple(zip(*np.tril_indices(N_CONTINUOUS, -1), strict=True))


def places(
    parameters: Float[np.ndarray, "n 4"],
    low: Float[np.ndarray, "4"],
    high: Float[np.ndarray, "4"],
) -> Float[np.ndarray, "n 4"]:
    """Parameters on the scale of `HALF`; what lies beyond a range is at its end."""
    return np.clip((2.0 * (parameters - low) / (high - low) - 1.0) * HALF, -HALF, HALF)


class TruncatedMixtures(Mixtures):
    """The mixture of each object; means and precisions are on the scale of `HALF`.

    ```python
    from starcensus.networks.cnn import Grid

    one = TruncatedMixtures.of_outputs(np.zeros((1, 15)), Grid())
    one.draw(5, np.random.default_rng(1)).shape  # (1, 5, 4)
    ```
    """

    scales: ClassVar[tuple[float, float]] = MIDDLE_LOG_D, REACH_LOG_D

    def log_density(self, parameters: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
        """Log density per dex, mag, dex and dex at one point for each object; beyond the ranges it
        is that of their ends.

        ```python
        one = TruncatedMixtures.of_outputs(np.zeros((1, 15)), Grid())
        one.log_density(np.array([[8.35, 1.5, 4.5, 0.44]]))
        ```
        """
        at = places(parameters, self.low, self.high)[:, None]
        d, total = np.exp(self.log_d), self.log_weight.copy()
        for i in range(N_CONTINUOUS):
            middle = self._middle(i, at, self.mean, self.triangle)
            z, ends = (at[..., i] - middle) * d[..., i], self._ends(middle, d[..., i])
            total += self.log_d[..., i] - 0.5 * z**2 - _log_between(*ends)
        constant = 0.5 * N_CONTINUOUS * math.log(2 * math.pi)
        scale = np.log(2.0 * HALF / (self.high - self.low)).sum()
        return np.asarray(logsumexp(total, axis=1)) - constant + scale

    def draw(self, n_samples: int, rng: np.random.Generator) -> Float[np.ndarray, "n sample 4"]:
        """Draws of each object's parameters.

        ```python
        one = TruncatedMixtures.of_outputs(np.zeros((1, 15)), Grid())
        one.draw(100, np.random.default_rng(1)).mean(axis=1)
        ```
        """
        rows = np.arange(len(self))[:, None]
        which = self._components(n_samples, rng)
        mean, triangle = self.mean[rows, which], self.triangle[rows, which]
        d, u = np.exp(self.log_d[rows, which]), rng.random((*which.shape, N_CONTINUOUS))
        at = np.empty_like(u)
        for i in range(N_CONTINUOUS):
            middle = self._middle(i, at, mean, triangle)
            low, high = self._ends(middle, d[..., i])
            # Small tails are exact below the middle.
            sign = np.where(low + high > 0, -1.0, 1.0)
            first, last = ndtr(sign * low), ndtr(sign * high)
            z = sign * ndtri(first + u[..., i] * (last - first))
            at[..., i] = np.clip(middle + z / d[..., i], -HALF, HALF)
        return self.low + (at / HALF + 1.0) / 2.0 * (self.high - self.low)

    @staticmethod
    def _middle(i: int, at: np.ndarray, mean: np.ndarray, triangle: np.ndarray) -> np.ndarray:
        """Of a parameter's Gaussian, given the parameters before it."""
        middle = mean[..., i]
        for k, (row, j) in enumerate(BELOW):
            if row == i:
                middle = middle - triangle[..., k] * (at[..., j] - mean[..., j])
        return FARTHEST * np.tanh(middle / FARTHEST)

    @staticmethod
    def _ends(middle: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (-HALF - middle) * d, (HALF - middle) * d


def _log_between(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """ln of the standard normal's share between two values."""
    flip = low + high > 0
    low, high = np.where(flip, -high, low), np.where(flip, -low, high)
    above, below = log_ndtr(high), log_ndtr(low)
    return above + np.log1p(-np.exp(below - above))
