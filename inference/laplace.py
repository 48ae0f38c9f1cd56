"""The mode of a posterior and the scale around it, to start and to whiten a sampler.

Damped Newton steps on the potential U = −ln posterior in unconstrained coordinates, with the
Hessian's eigenvalues made positive. Everything is traceable: it runs under `jit` and `vmap`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


class Laplace(NamedTuple):
    """Mode, a square root of the inverse Hessian there, potential, and whether it converged."""

    mode: Float[Array, " d"]
    scale: Float[Array, "d d"]
    potential: Float[Array, ""]
    converged: Bool[Array, ""]
    n_steps: Int[Array, ""]


def laplace(
    potential: Callable[[Float[Array, " d"]], Float[Array, ""]],
    start: Float[Array, " d"],
    max_steps: int = 40,
    tolerance: float = 1e-3,
) -> Laplace:
    """Minimise `potential` from `start`.

    Converged when a Newton step promises to lower the potential by less than `tolerance`, a
    thousandth of the posterior's own width in ln-probability.
    """
    gradient = jax.grad(potential)
    basis = jnp.eye(start.shape[0], dtype=start.dtype)

    def curvature(x: Float[Array, " d"]) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
        # Column by column: all at once, a large catalogue would need d times the memory.
        columns = jax.lax.map(lambda v: jax.jvp(gradient, (x,), (v,))[1], basis)
        values, vectors = jnp.linalg.eigh((columns + columns.T) / 2)
        return jnp.clip(jnp.abs(values), 1e-2, 1e12), vectors

    # Each pass evaluates one candidate and proposes the next; the first candidate is the start.
    def body(state: tuple) -> tuple:
        candidate, best, damping, _, n = state
        u, g = jax.value_and_grad(potential)(candidate)
        better = u < best[1]
        tried = (candidate, u, g, *curvature(candidate))
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), tried, best)
        damping = jnp.where(better, damping / 5, jnp.maximum(damping, 1.0) * 10)
        x, _, g, values, vectors = best
        projected = vectors.T @ g
        step = -vectors @ (projected / (values + damping))
        gain = 0.5 * jnp.sum(projected**2 / values)
        return x + step, best, damping, gain < tolerance, n + 1

    def unfinished(state: tuple) -> Bool[Array, ""]:
        *_, converged, n = state
        return ~converged & (n < max_steps)

    nothing = (
        start,
        jnp.asarray(jnp.inf, start.dtype),
        jnp.full_like(start, jnp.inf),
        jnp.ones_like(start),
        basis,
    )
    state = (start, nothing, jnp.asarray(5.0, start.dtype), jnp.asarray(False), jnp.asarray(0))
    _, (mode, u, _, values, vectors), _, converged, n = jax.lax.while_loop(unfinished, body, state)
    return Laplace(mode, vectors / jnp.sqrt(values)[None, :], u, converged, n)
