"""What a network sees of θ."""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from starcensus.theta import Box


class Standard(NamedTuple):
    """Numbers by which θ becomes inputs, as arrays of one precision.

    **Arguments:**

    - `middle`, `half`: `(3,)`, of the ranges of θ. `bumps`: `(age feature,)`, centres in log_age.
    - `width`: of the bumps, dex. `gas_until`: log10 yr; infinite where there is none.
    """

    middle: Float[Array, " 3"]
    half: Float[Array, " 3"]
    bumps: Float[Array, " feature"]
    width: Float[Array, ""]
    gas_until: Float[Array, ""]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """θ, bumps of log_age, and whether there is gas.

    **Arguments:**

    - `box`: ranges of θ. `age_features`: number of bumps.
    - `gas_until`: log10 yr, oldest clusters with gas; None where all or none have it.
    """

    box: Box
    age_features: int
    gas_until: float | None

    @property
    def n_in(self) -> int:
        return 4 + self.age_features

    def standard(self, dtype: object) -> Standard:
        ends = np.array(list(self.box.as_dict().values()))
        low, high = self.box.log_age
        bumps = np.linspace(low, high, self.age_features) if self.age_features else np.zeros(0)
        width = (high - low) / max(self.age_features - 1, 1)
        until = np.inf if self.gas_until is None else self.gas_until
        given = ends.mean(axis=1), (ends[:, 1] - ends[:, 0]) / 2, bumps, width, until
        return Standard(*(jnp.asarray(x, dtype) for x in given))  # pyright: ignore[reportArgumentType]


def inputs(of: Standard, theta: Float[Array, "3 n"]) -> Float[Array, "n_in n"]:
    """Columns of inputs for columns of θ."""
    plain = (theta - of.middle[:, None]) / of.half[:, None]
    bumps = jnp.exp(-0.5 * ((theta[1][None] - of.bumps[:, None]) / of.width) ** 2)
    gas = jnp.where(theta[1] <= of.gas_until, 1.0, -1.0).astype(theta.dtype)
    return jnp.concatenate([plain, bumps, gas[None]])
