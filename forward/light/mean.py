"""The mean light of a population of stars, as a table over age and extinction.

A massive cluster's magnitudes tend to those of the mean, b(θ) = M(log_age, a_v) − 2.5 log_mass, and
scatter about them as 1/√mass. Learned shapes are relative to both, so that what a network must tell
changes little from 10⁴ to 10⁷ M_sun.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...simulate import DrawSettings, StellarPopulation, ssp_abs_mags

_AGE_STEP, _A_V_STEP = 0.01, 0.25
# Where the spread of a cluster stops to grow with falling mass, M_sun, and what it is there, mag.
_FEW_STARS, _MOST_SPREAD = 300.0, 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class MeanLight:
    """Magnitudes of the mean light per M_sun at birth.

    **Arguments:**

    - `log_age`: `(age,)`, increasing; two next to one another where light jumps.
    - `a_v`: `(dust,)`, increasing, mag.
    - `mags`: `(band, age, dust)`, absolute Vega magnitudes of 1 M_sun.

    Raises `ValueError` for shapes that do not fit.

    ```python
    default_emulator().mean.mags.shape
    ```
    """

    log_age: Float[np.ndarray, " age"]
    a_v: Float[np.ndarray, " dust"]
    mags: Float[np.ndarray, "band age dust"]

    def __post_init__(self) -> None:
        if self.mags.shape[1:] != (len(self.log_age), len(self.a_v)):
            raise ValueError(
                f"mags have shape {self.mags.shape}; expected (band, {len(self.log_age)}, "
                f"{len(self.a_v)})"
            )
        for name in ("log_age", "a_v"):
            if len(getattr(self, name)) < 2 or (np.diff(getattr(self, name)) <= 0).any():
                raise ValueError(f"{name} of the mean light does not increase")

    @classmethod
    def of(
        cls,
        stars: StellarPopulation,
        log_age: tuple[float, float],
        a_v: tuple[float, float],
        settings: DrawSettings,
    ) -> "MeanLight":
        """Of the stars and the gas of a library, over ranges of age and extinction.

        ```python
        MeanLight.of(stars, (7.0, 8.0), (0.0, 1.0), DrawSettings())
        ```
        """
        n_age = max(2, round((log_age[1] - log_age[0]) / _AGE_STEP) + 1)
        n_dust = max(2, round((a_v[1] - a_v[0]) / _A_V_STEP) + 1)
        ages, dust = np.linspace(*log_age, n_age), np.linspace(*a_v, n_dust)
        edge = settings.nebular_max_log_age
        if settings.nebular and log_age[0] < edge < log_age[1]:
            ages = np.unique(
                np.concatenate([ages[np.abs(ages - edge) > 1e-6], [edge, edge + 1e-6]])
            )
        grid = np.stack(np.meshgrid(ages, dust, indexing="ij"), -1).reshape(-1, 2)
        found = ssp_abs_mags(stars, grid[:, 0], grid[:, 1], settings)
        return cls(ages, dust, np.moveaxis(found.reshape(len(ages), len(dust), -1), -1, 0))

    def centre(self, theta: Float[Array, "3 n"]) -> Float[Array, "band n"]:
        """b(θ), mag, linear between the table's nodes.

        ```python
        default_emulator().mean.centre(jnp.array([[4.0], [7.5], [0.2]]))
        ```
        """
        log_mass, log_age, a_v = theta
        table = jnp.asarray(self.mags, log_age.dtype)
        i, u = _between(self.log_age, log_age)
        j, v = _between(self.a_v, a_v)
        u, v = u[None], v[None]
        low = table[:, i, j] * (1 - v) + table[:, i, j + 1] * v
        high = table[:, i + 1, j] * (1 - v) + table[:, i + 1, j + 1] * v
        return low * (1 - u) + high * u - 2.5 * log_mass[None]


def spread(log_mass: Float[Array, " n"]) -> Float[Array, " n"]:
    """s(θ), mag: as 1/√mass where stars are many."""
    return _MOST_SPREAD / jnp.sqrt(1.0 + 10.0**log_mass / _FEW_STARS)


def _between(nodes: np.ndarray, x: Array) -> tuple[Array, Array]:
    """The node below each x, and how far x is on the way to the next."""
    grid = jnp.asarray(nodes, x.dtype)
    i = jnp.clip(jnp.searchsorted(grid, x, side="left") - 1, 0, len(nodes) - 2)
    return i, jnp.clip((x - grid[i]) / (grid[i + 1] - grid[i]), 0.0, 1.0)
