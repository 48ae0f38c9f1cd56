"""Objects whose p(d|θ) is a sum over very many points of θ, of another number for each object.

The points are rows of a library, with weights w_ij = p(d_i, det | μ_j) / (n π(θ_j)), so that

    ∫ p(d_i, det | θ) λ(θ) dθ ≈ Σ_j w_ij λ(θ_j)

(Krumholz et al. 2019, MNRAS 482, 3550, with the kernel of the survey itself).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ...forward import Population

# Of ln r along the axes: dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2), any extinction.
SLOPES = (-np.log(10.0), 0.5 * np.log(10.0), 0.0)


class RowSamples(eqx.Module):
    """Weighted points of θ of each object, one after another.

    **Arguments:**

    - `theta`: `(3, row)`, in the order of θ.
    - `log_weight`: `(row,)`.
    - `owner`: `(row,)`, the object of each row, in order.
    - `cluster`: `(row,)`, rows of an object with one number are one draw; next to one another.
    - `mask`: `(n,)`, which are objects; the others are padding.
    """

    theta: Float[Array, "3 row"] | Float[np.ndarray, "3 row"]
    log_weight: Float[Array, " row"] | Float[np.ndarray, " row"]
    owner: Int[Array, " row"] | Int[np.ndarray, " row"]
    cluster: Int[Array, " row"] | Int[np.ndarray, " row"]
    mask: Bool[Array, " n"] | Bool[np.ndarray, " n"]

    @property
    def n_objects(self) -> int:
        return int(np.asarray(self.mask).sum())

    def padded(self, n_rows: int, n_objects: int) -> "RowSamples":
        """The same in arrays of these sizes, so that one program serves many catalogues.

        Padding repeats the first row, in objects that do not count: one of these at least must fit,
        and each must get a row. Raises `ValueError` for sizes that are too small.

        ```python
        rows.padded(1 << 15, 256).n_objects
        ```
        """
        n, m = len(self.mask), len(self.owner)
        if n_objects <= n or n_rows - m < n_objects - n:
            raise ValueError(
                f"cannot pad {n} objects with {m} rows to {n_objects} with {n_rows}; expected one "
                "more object at least, and a row for each that is added"
            )
        more = n + np.minimum(np.arange(n_rows - m), n_objects - n - 1)
        theta = np.asarray(self.theta)
        return RowSamples(
            np.concatenate([theta, np.repeat(theta[:, :1], n_rows - m, axis=1)], axis=1),
            np.concatenate([self.log_weight, np.zeros(n_rows - m)]),
            np.concatenate([self.owner, more]),
            np.concatenate([self.cluster, np.full(n_rows - m, -1)]),
            np.arange(n_objects) < n,
        )

    @property
    def n_values(self) -> int:
        return len(self.owner)

    def log_terms(self, population: Population) -> Float[Array, " n"]:
        """ln Σ_j w_ij p(θ_j) of every object."""
        return self.log_sums(self._log_p(population))

    def effective(self, population: Population) -> Float[Array, " n"]:
        """(Σ w)² / Σ w² of each object, where rows of one cluster count as one draw."""
        return self.effective_of(self._log_p(population))

    def _log_p(self, population: Population) -> Float[Array, " row"]:
        log_mass, log_age, a_v = jnp.asarray(self.theta)
        return population.log_prob(log_mass, log_age, a_v)

    def log_sums(self, log_p: Float[Array, " row"]) -> Float[Array, " n"]:
        """ln Σ_j w_ij p_j of every object, for ln p at the rows."""
        log_w = log_p + jnp.asarray(self.log_weight)
        top, total = self._sums(log_w, jnp.asarray(self.owner), len(self.mask))
        return top + jnp.log(total)

    def effective_of(self, log_p: Float[Array, " row"]) -> Float[Array, " n"]:
        """(Σ w)² / Σ w² of each object, for ln p at the rows."""
        n, owner = len(self.mask), jnp.asarray(self.owner)
        log_w = log_p + jnp.asarray(self.log_weight)
        top, total = self._sums(log_w, owner, n)
        cluster = jnp.asarray(self.cluster)
        starts = (owner[1:] != owner[:-1]) | (cluster[1:] != cluster[:-1])
        draw = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(starts)])
        each = jnp.where(jnp.isfinite(top[owner]), jnp.exp(log_w - top[owner]), 0.0)
        of_draw = jax.ops.segment_sum(each, draw, len(owner), indices_are_sorted=True)
        squares = jax.ops.segment_sum(of_draw[draw] * each, owner, n, indices_are_sorted=True)
        return jnp.where(squares > 0, total**2 / jnp.where(squares > 0, squares, 1.0), 0.0)

    @staticmethod
    def _sums(
        log_w: Float[Array, " row"], owner: Int[Array, " row"], n: int
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """ln of the largest weight of each object, and the sum in units of it."""
        top = jax.ops.segment_max(log_w, owner, n, indices_are_sorted=True)
        top = jax.lax.stop_gradient(top)
        safe = jnp.where(jnp.isfinite(top), top, 0.0)
        total = jax.ops.segment_sum(jnp.exp(log_w - safe[owner]), owner, n, indices_are_sorted=True)
        return safe, total
