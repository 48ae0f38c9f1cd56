"""The limits of a sample, as a selection of the truth.

A sample that was limited by recorded values (M > 5,000 M_sun, T < 200 Myr) holds clusters whose
true values lie beyond the limits, and lacks some whose true values lie within. A cluster of true θ
enters it with the probability that its recorded θ' lies inside,

    p_sel(θ) = ∫ 1[θ' inside] p(θ'|θ) dθ',

and since the limits are a function of the recorded data alone, this stands in the integral over the
population and not in the clusters' own terms (Loredo & Hendry, arXiv:1911.12337).
"""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr
from jaxtyping import Array, Float

from starcensus.theta import SENSIBLE, Box

from ._base import OPERATORS, AbstractSelection, ActsOn, Outside

# Recorded values are known everywhere.
_ANYWHERE = Box(**SENSIBLE)
# An error of nothing would divide by it; this one is a step.
_LEAST_ERROR = 1e-6


@OPERATORS.register("recorded_limits")
class RecordedLimits(AbstractSelection):
    """The probability that recorded values lie inside limits, given the truth.

    Errors are two-piece normals as `PublishedValues` reads them: a cluster recorded at θ' has the
    error `lower` towards smaller true values and `upper` towards larger ones. Which errors a
    cluster has does not depend on θ: p_sel is the mean over the rows of `lower` and `upper`.

    **Arguments:**

    - `low`, `high`: `(3,)`, limits of recorded log_mass (log10 M_sun), log_age (log10 yr) and a_v
      (mag); infinite where there is none.
    - `lower`, `upper`: `(k, 3)`, one-sided errors of the sample's clusters, dex, dex, mag.

    Raises `ValueError` for limits that are not in order, or errors that are negative.

    ```python
    inf = np.inf
    limits = RecordedLimits(
        low=np.array([3.7, -inf, -inf]),
        high=np.array([inf, 8.3, inf]),
        lower=np.full((1, 3), 0.1),
        upper=np.full((1, 3), 0.1),
    )
    limits.p_sel(3.7, 7.0, 0.5)  # 0.5
    ```
    """

    low: Float[Array, "3"] | Float[np.ndarray, "3"]
    high: Float[Array, "3"] | Float[np.ndarray, "3"]
    lower: Float[Array, "k 3"] | Float[np.ndarray, "k 3"]
    upper: Float[Array, "k 3"] | Float[np.ndarray, "k 3"]
    domain: Box = _ANYWHERE
    outside: Outside = "clip"
    acts_on: ActsOn = "data"

    def __check_init__(self) -> None:
        low, high = np.asarray(self.low), np.asarray(self.high)
        if not (low < high).all():
            raise ValueError(f"limits run from {low} to {high}; expected each low below its high")
        errors = np.stack([np.asarray(self.lower), np.asarray(self.upper)])
        if not errors.size or not (errors >= 0).all() or not np.isfinite(errors).all():
            raise ValueError("lower and upper hold no errors, or negative ones; expected some ≥ 0")

    @property
    def n_members(self) -> int:
        return 1

    def edges(self) -> tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...]]:
        """Where the limits lie: with small errors p_sel steps there."""
        ends = np.stack([np.asarray(self.low), np.asarray(self.high)], axis=1)
        first, second, third = (tuple(float(x) for x in e if np.isfinite(x)) for e in ends)
        return first, second, third

    def _inside(self, axis: int, x: Float[Array, "n"]) -> Float[Array, "n k"]:
        """P(low ≤ recorded ≤ high) on one axis, for each row of errors."""
        dtype = x.dtype
        below, above = (
            jnp.maximum(jnp.asarray(errors, dtype)[None, :, axis], _LEAST_ERROR)
            for errors in (self.upper, self.lower)
        )

        def recorded_below(limit: Float[Array, ""]) -> Float[Array, "n k"]:
            """Of θ' below the truth the error is `upper`, for the truth lies above it."""
            gap = (limit - x)[:, None]
            left = 2 * below / (below + above) * ndtr(jnp.minimum(gap, 0) / below)
            right = (below - above) / (below + above) + 2 * above / (below + above) * ndtr(
                jnp.maximum(gap, 0) / above
            )
            return jnp.where(gap < 0, left, right)

        low, high = (jnp.asarray(end, dtype)[axis] for end in (self.low, self.high))
        return jnp.maximum(recorded_below(high) - recorded_below(low), 0.0)

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        each = [self._inside(i, x) for i, x in enumerate((log_mass, log_age, a_v))]
        return (each[0] * each[1] * each[2]).mean(axis=1)[None]

    def _on_grid_inside(
        self, log_mass: np.ndarray, log_age: np.ndarray, a_v: np.ndarray
    ) -> Float[Array, "member m t a"]:
        nodes = (jnp.asarray(x, float) for x in (log_mass, log_age, a_v))
        mass, age, dust = (self._inside(i, x) for i, x in enumerate(nodes))
        return jnp.einsum("mk,tk,ak->mta", mass, age, dust)[None] / mass.shape[1]
