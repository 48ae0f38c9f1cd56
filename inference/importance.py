"""Draws of a posterior that is nearly a Gaussian, without a chain.

Points come from a multivariate t distribution and have the weights p / q: first around the
posterior's mode with the scale of its curvature, then, as skewed posteriors want it, around the
mean of those points with their covariance (adaptive importance sampling; Cappé et al. 2008,
Statistics and Computing 18, 447). Those of the second distribution count. Where the largest weights
are few (Pareto shape k̂, Vehtari et al. 2024, JMLR 25, 72) the posterior is no such thing, and this
is no way to draw from it.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from .laplace import Laplace

# Degrees of freedom: the tails of a posterior must not be fatter.
_FREEDOM = 8.0
# Points that a product with nodes takes at a time.
_AT_ONCE = 32
# Of so many points or more; beyond it smoothed weights are not reliable (Vehtari et al. 2024).
_MAX_PARETO_K = 0.7
# Points for each draw that is wanted.
POINTS_PER_DRAW = 2


class NotGaussianError(ValueError):
    """Importance weights of a posterior are dominated by few of them."""


def propose(
    potential: Callable[[Float[Array, " d"]], Float[Array, ""]],
    around: Laplace,
    key: PRNGKeyArray,
    n: int,
) -> tuple[Float[Array, "n d"], Float[Array, " n"], Float[Array, " n"]]:
    """Points, the potential there, and ln of their weights up to a constant.

    Half as many points, before them, adapt the distribution from which they come.

    ```python
    x, u, log_weight = propose(potential, laplace(potential, start), jax.random.key(0), 1000)
    ```
    """
    d, dtype, each = len(around.mode), around.mode.dtype, -(-n // 2)

    # One compiled potential serves all stages: the first adapts, the other two draw.
    def stage(at: tuple, inputs: tuple) -> tuple:
        mode, scale = at
        adapting, key = inputs
        normal, chi = jax.random.split(key)
        square = 2 * jax.random.gamma(chi, _FREEDOM / 2, (each,), dtype)
        w = jax.random.normal(normal, (each, d), dtype) * jnp.sqrt(_FREEDOM / square)[:, None]
        x = mode[None] + w @ scale.T
        u = jax.lax.map(potential, x, batch_size=_AT_ONCE)
        log_q = -0.5 * (_FREEDOM + d) * jnp.log1p((w**2).sum(axis=1) / _FREEDOM)
        mean, root = _moments(w, -u - log_q)
        moved = mode + scale @ mean, scale @ root
        at = jax.tree.map(lambda new, old: jnp.where(adapting, new, old), moved, at)
        return at, (x, u, -u - log_q)

    first = jnp.asarray([True, False, False]), jax.random.split(key, 3)
    _, made = jax.lax.scan(stage, (around.mode, around.scale), first)
    x, u, log_weight = jax.tree.map(lambda a: jnp.concatenate([a[1], a[2]])[:n], made)
    return x, u, log_weight


def _moments(
    w: Float[Array, "n d"], log_weight: Float[Array, " n"]
) -> tuple[Float[Array, " d"], Float[Array, "d d"]]:
    """Mean and a square root of the covariance under weights that are cut at √n times their mean
    (Ionides 2008); those of a unit Gaussian where they say nothing."""
    n, d = w.shape
    share = jax.nn.log_softmax(jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight))
    share = jax.nn.softmax(jnp.minimum(share, -0.5 * jnp.log(1.0 * n)))
    mean = share @ w
    off = w - mean[None]
    root = jnp.linalg.cholesky(off.T @ (off * share[:, None]))
    known = jnp.isfinite(mean).all() & jnp.isfinite(root).all()
    return jnp.where(known, mean, 0.0), jnp.where(known, root, jnp.eye(d, dtype=w.dtype))


def resampled(
    log_weight: Float[np.ndarray, " n"], n_kept: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " kept"], float]:
    """Points of a sample in which all count alike, in random order, and the effective number of
    independent draws that they stand for.

    Raises `NotGaussianError` where k̂ is above 0.7 (above 1 − 1/log₁₀ n, of fewer points than
    2,200), or a weight is no number. A mode that the points do not reach is not seen, as by chains
    that start around another.

    ```python
    picked, effective = resampled(np.zeros(1000), 500, np.random.default_rng(0))
    ```
    """
    from arviz_stats.base.array import array_stats

    if unknown := int(np.isnan(log_weight).sum()):
        raise NotGaussianError(
            f"the posterior is no number at {unknown} of {len(log_weight)} points around its mode; "
            "use sampler.method = 'nuts', which says where it diverges"
        )
    # ArviZ takes ln p(data), whose inverse is the weight.
    smooth, k = array_stats.psislw(-log_weight)
    most = min(1 - 1 / np.log10(len(log_weight)), _MAX_PARETO_K)
    if not float(k) <= most:
        raise NotGaussianError(
            f"the posterior differs too much from a Gaussian around its mode for importance "
            f"sampling: the Pareto shape of the weights is {float(k):.2f}, expected "
            f"{most:.2f} or less; use sampler.method = 'nuts'"
        )
    weight = np.exp(smooth - np.max(smooth))
    weight /= weight.sum()
    at = (np.arange(n_kept) + rng.uniform()) / n_kept
    picked = np.minimum(np.searchsorted(np.cumsum(weight), at), len(weight) - 1)
    # The draws are a sample of the points, which are a sample themselves.
    effective = 1.0 / (1.0 / n_kept + float((weight**2).sum()))
    return rng.permutation(picked), effective
