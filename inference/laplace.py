"""The mode of a posterior and the scale around it, to start and to whiten a sampler.

Damped Newton steps on the potential U = −ln posterior in unconstrained coordinates, with the
Hessian's eigenvalues made positive. The Hessian is that of central differences of the gradient, so
that a compiled program holds the gradient once, and no second derivative: compiling these takes
longer than sampling. Everything is traceable: it runs under `jit` and `vmap`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

# Of unconstrained coordinates. The gradient's rounding, 1e-9 of a million clusters, stays below
# 1e-5 of the Hessian's unit; the scale only whitens.
_STEP = 1e-4


class Laplace(NamedTuple):
    """What is known of a potential.

    **Arguments:**

    - `mode`: where it is smallest. `potential`: its value there.
    - `scale`: a square root of the inverse Hessian there: `mode + scale @ w` whitens.
    - `converged`: whether the mode was found. `n_steps`: points that were tried.
    - `start_potential`, `start_gradient`: at the starts, the gradient with respect to `w`.
    """

    mode: Float[Array, " d"]
    scale: Float[Array, "d d"]
    potential: Float[Array, ""]
    converged: Bool[Array, ""]
    n_steps: Int[Array, ""]
    start_potential: Float[Array, " k"]
    start_gradient: Float[Array, "k d"]


def laplace(
    potential: Callable[[Float[Array, " d"]], Float[Array, ""]],
    start: Float[Array, " d"],
    max_steps: int = 40,
    tolerance: float = 1e-3,
    starts: Float[Array, "k d"] | None = None,
) -> Laplace:
    """Minimise `potential` from `start`.

    **Arguments:**

    - `max_steps`: points that are tried at most.
    - `tolerance`: converged when a Newton step promises to lower the potential by less, a
      thousandth of the posterior's own width in ln-probability.
    - `starts`: whitened points `w` at which a sampler starts; potential and gradient are evaluated
      at `mode + scale @ w`, by the same compiled gradient.
    """
    d = start.shape[0]
    starts = jnp.zeros((0, d), start.dtype) if starts is None else starts
    basis = jnp.eye(d, dtype=start.dtype)
    offsets = _STEP * jnp.concatenate([jnp.zeros((1, d), start.dtype), basis, -basis])
    n_points = max(2 * d + 1, len(starts))

    def points(at: _Search) -> Float[Array, "n d"]:
        """A candidate with its neighbours, or, once these are done, the starts."""
        tries = _filled(at.candidate[None] + offsets, n_points)
        if len(starts) == 0:
            return tries
        mode, _, _, values, vectors = at.best
        begins = mode[None] + starts @ (vectors / jnp.sqrt(values)[None, :]).T
        return jnp.where(at.done, _filled(begins, n_points), tries)

    # Each pass evaluates one candidate and proposes the next; the first candidate is the start.
    def body(loop: tuple[_Search, tuple]) -> tuple[_Search, tuple]:
        at, _ = loop
        found = jax.lax.map(jax.value_and_grad(potential), points(at))
        u, g = found[0][0], found[1][0]
        columns = (found[1][1 : d + 1] - found[1][d + 1 : 2 * d + 1]) / (2 * _STEP)
        values, vectors = jnp.linalg.eigh((columns + columns.T) / 2)
        tried = (at.candidate, u, g, jnp.clip(jnp.abs(values), 1e-2, 1e12), vectors)
        better = (u < at.best[1]) & ~at.done
        best = jax.tree.map(lambda new, old: jnp.where(better, new, old), tried, at.best)
        damping = jnp.where(better, at.damping / 5, jnp.maximum(at.damping, 1.0) * 10)
        x, _, g, values, vectors = best
        projected = vectors.T @ g
        step = -vectors @ (projected / (values + damping))
        gain = 0.5 * jnp.sum(projected**2 / values)
        converged = jnp.where(at.done, at.converged, gain < tolerance)
        n = jnp.where(at.done, at.n, at.n + 1)
        done = converged | (n >= max_steps)
        finished = at.done if len(starts) else done
        return _Search(x + step, best, damping, n, converged, done, finished), found

    one, no = jnp.ones_like(start), jnp.asarray(False)
    nothing = (start, jnp.asarray(jnp.inf, start.dtype), jnp.inf * one, one, basis)
    first = _Search(start, nothing, jnp.asarray(5.0, start.dtype), jnp.asarray(0), no, no, no)
    blank = jnp.zeros(n_points, start.dtype), jnp.zeros((n_points, d), start.dtype)
    at, found = jax.lax.while_loop(lambda loop: ~loop[0].finished, body, (first, blank))
    mode, u, _, values, vectors = at.best
    scale = vectors / jnp.sqrt(values)[None, :]
    begun = found[0][: len(starts)], found[1][: len(starts)] @ scale
    return Laplace(mode, scale, u, at.converged, at.n, *begun)


class _Search(NamedTuple):
    """Between two passes: `best` is (x, U, gradient, eigenvalues, eigenvectors)."""

    candidate: Float[Array, " d"]
    best: tuple
    damping: Float[Array, ""]
    n: Int[Array, ""]
    converged: Bool[Array, ""]
    done: Bool[Array, ""]
    finished: Bool[Array, ""]


def _filled(points: Float[Array, "k d"], n: int) -> Float[Array, "n d"]:
    """`n` points, those that lack the first."""
    lacking = jnp.broadcast_to(points[:1], (n - len(points), points.shape[1]))
    return jnp.concatenate([points, lacking])
