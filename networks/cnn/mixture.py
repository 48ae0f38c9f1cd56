"""Densities of continuous parameters: mixtures of Gaussians in the logits of their ranges.

A parameter that lies a share u of the way through its range has the coordinate ln u/(1 − u), so
that no density leaves the range, and a flat one is nearly a Gaussian. In these coordinates a
component with the mean m has the precision UᵀD²U, U a triangle with ones on its diagonal and D
diagonal, so that its determinant is that of D², whatever U is.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int
from scipy.special import expit, logsumexp

from .targets import Grid

N_CONTINUOUS = 4
# Of a component: its weight, mean, and the triangle of its precision.
PER_COMPONENT = 1 + N_CONTINUOUS + N_CONTINUOUS * (N_CONTINUOUS + 1) // 2
# A share nearer to an end of a range counts as this one.
LEAST_SHARE = 1e-4
# ln of 1/D lies between -4 and 1.5: bounded softly, so that no component collapses upon one object.
MIDDLE_LOG_D, REACH_LOG_D = 1.25, 2.75
_PARTS = "log_weight", "mean", "log_d", "triangle"
_BELOW = tuple(zip(*np.tril_indices(N_CONTINUOUS, -1), strict=True))
_MEANS = slice(1, 1 + N_CONTINUOUS)
_SCALES = slice(1 + N_CONTINUOUS, 1 + 2 * N_CONTINUOUS)
_TRIANGLE = slice(1 + 2 * N_CONTINUOUS, PER_COMPONENT)


def mixture_outputs(n_components: int = 12) -> int:
    """Outputs of a head "mixture" of so many Gaussians.

    ```python
    mixture_outputs(8)  # 120
    ```
    """
    return n_components * PER_COMPONENT


@dataclasses.dataclass(frozen=True, eq=False)
class Mixtures:
    """The mixture of each object.

    **Arguments:**

    - `log_weight`: `(n, component)`, normalised.
    - `mean`, `log_d`: `(n, component, 4)`. `triangle`: `(n, component, 6)`, below the diagonal.
    - `low`, `high`: `(4,)`, the ranges of log_age, a_v, log_mass, log_r_eff_pc.

    ```python
    one = Mixtures.of_outputs(np.zeros((1, mixture_outputs(1))), Grid())
    one.draw(5, np.random.default_rng(1)).shape  # (1, 5, 4)
    ```
    """

    # ln of the inverse standard deviation lies between the sums and differences, bounded softly.
    scales: ClassVar[tuple[float, float]] = MIDDLE_LOG_D, REACH_LOG_D

    log_weight: Float[np.ndarray, "n k"]
    mean: Float[np.ndarray, "n k 4"]
    log_d: Float[np.ndarray, "n k 4"]
    triangle: Float[np.ndarray, "n k 6"]
    low: Float[np.ndarray, "4"]
    high: Float[np.ndarray, "4"]

    @classmethod
    def of_outputs(cls, outputs: Float[np.ndarray, "n output"], grid: Grid) -> "Mixtures":
        """Those of a head "mixture".

        **Arguments:**

        - `outputs`: `(n, output)`, of `mixture_outputs(k)` numbers.
        - `grid`: gives the ranges.

        ```python
        Mixtures.of_outputs(np.zeros((2, 30)), Grid()).log_weight  # ln 0.5
        ```
        """
        parts = outputs.astype(float).reshape(
            len(outputs), outputs.shape[1] // PER_COMPONENT, PER_COMPONENT
        )
        raw, (middle, reach) = parts[..., 0], cls.scales
        return cls(
            raw - logsumexp(raw, axis=1, keepdims=True),
            parts[..., _MEANS],
            middle + reach * np.tanh(parts[..., _SCALES] / reach),
            parts[..., _TRIANGLE],
            *(np.array([getattr(a, end) for a in grid.continuous]) for end in ("low", "high")),
        )

    def __len__(self) -> int:
        return len(self.log_weight)

    def blended(self, weight: Float[np.ndarray, "m w"]) -> "Mixtures":
        """Weighted sums of densities of w objects each, as of the windows about a peak.

        **Arguments:**

        - `weight`: `(m, w)`, of objects m · w in number, in rows that sum to 1.

        ```python
        Mixtures.of_outputs(np.zeros((4, 15)), Grid()).blended(np.full((2, 2), 0.5)).mean.shape
        ```
        """
        m, w = weight.shape
        with np.errstate(divide="ignore"):
            log_weight = (
                self.log_weight.reshape(m, w, self.log_weight.shape[1]) + np.log(weight)[..., None]
            )
        return dataclasses.replace(
            self,
            log_weight=log_weight.reshape(m, -1),
            mean=self.mean.reshape(m, -1, N_CONTINUOUS),
            log_d=self.log_d.reshape(m, -1, N_CONTINUOUS),
            triangle=self.triangle.reshape(m, -1, len(_BELOW)),
        )

    @classmethod
    def concatenated(cls, parts: Sequence["Mixtures"]) -> "Mixtures":
        """Objects of several, with as many components, one after another."""
        each = {n: np.concatenate([getattr(p, n) for p in parts]) for n in _PARTS}
        return dataclasses.replace(parts[0], **each)

    def take(self, rows: np.ndarray) -> "Mixtures":
        """Those of some objects."""
        return dataclasses.replace(self, **{name: getattr(self, name)[rows] for name in _PARTS})

    def log_density(self, parameters: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n"]:
        """Log density per dex, mag, dex and dex at one point for each object.

        Beyond the ranges, and within a ten-thousandth of them, it is that of the points there.

        ```python
        one = Mixtures.of_outputs(np.zeros((1, 15)), Grid())
        one.log_density(np.array([[8.35, 1.5, 4.5, 0.44]]))
        ```
        """
        width = self.high - self.low
        share = np.clip((parameters - self.low) / width, LEAST_SHARE, 1 - LEAST_SHARE)
        away = np.log(share / (1 - share))[:, None] - self.mean
        z = away.copy()
        for k, (i, j) in enumerate(_BELOW):
            z[..., i] += self.triangle[..., k] * away[..., j]
        log_normal = self.log_d.sum(-1) - 0.5 * ((z * np.exp(self.log_d)) ** 2).sum(-1)
        to_parameters = np.log(share * (1 - share) * width).sum(-1)
        constant = 0.5 * N_CONTINUOUS * math.log(2 * math.pi)
        total = np.asarray(logsumexp(self.log_weight + log_normal, axis=1))
        return total - constant - to_parameters

    def draw(self, n_samples: int, rng: np.random.Generator) -> Float[np.ndarray, "n sample 4"]:
        """Draws of each object's parameters.

        ```python
        one = Mixtures.of_outputs(np.zeros((1, 15)), Grid())
        one.draw(100, np.random.default_rng(1)).mean(axis=1)
        ```
        """
        rows = np.arange(len(self))[:, None]
        which = self._components(n_samples, rng)
        normal = rng.standard_normal((len(self), n_samples, N_CONTINUOUS))
        away = normal * np.exp(-self.log_d[rows, which])
        triangle = self.triangle[rows, which]
        for k, (i, j) in enumerate(_BELOW):
            away[..., i] -= triangle[..., k] * away[..., j]
        share = expit(self.mean[rows, which] + away)
        return self.low + share * (self.high - self.low)

    def _components(self, n_samples: int, rng: np.random.Generator) -> Int[np.ndarray, "n sample"]:
        below = np.exp(self.log_weight).cumsum(axis=1)
        below /= below[:, -1:]
        u = rng.random((len(self), n_samples))
        found = [
            np.searchsorted(one, some, side="right") for one, some in zip(below, u, strict=True)
        ]
        return np.minimum(np.array(found, int).reshape(u.shape), below.shape[1] - 1)
