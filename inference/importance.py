"""Draws of a posterior that is nearly a Gaussian, without a chain.

Points come from a multivariate t distribution around the posterior's mode, with the scale of its
curvature, and have the weights p / q. Where the largest weights are few (Pareto shape k̂, Vehtari et
al. 2024, JMLR 25, 72) the posterior is no such thing, and this is no way to draw from it.
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
# Beyond it the weights have no variance.
MAX_PARETO_K = 0.5
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
    """Whitened points, the potential there, and ln of their weights up to a constant.

    ```python
    w, u, log_weight = propose(potential, laplace(potential, start), jax.random.key(0), 1000)
    ```
    """
    d = len(around.mode)
    normal, chi = jax.random.split(key)
    square = 2 * jax.random.gamma(chi, _FREEDOM / 2, (n,), around.mode.dtype)
    w = jax.random.normal(normal, (n, d), around.mode.dtype) * jnp.sqrt(_FREEDOM / square)[:, None]
    u = jax.lax.map(lambda x: potential(around.mode + around.scale @ x), w, batch_size=_AT_ONCE)
    log_q = -0.5 * (_FREEDOM + d) * jnp.log1p((w**2).sum(axis=1) / _FREEDOM)
    return w, u, -u - log_q


def resampled(
    log_weight: Float[np.ndarray, " n"], n_kept: int, rng: np.random.Generator
) -> tuple[Int[np.ndarray, " kept"], float]:
    """Points of a sample in which all count alike, in random order, and the effective number of
    independent draws that they stand for.

    Raises `NotGaussianError` where k̂ is above 0.5, or a weight is no number. A mode that the points
    do not reach is not seen, as by chains that start around another.

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
    if not float(k) <= MAX_PARETO_K:
        raise NotGaussianError(
            f"the posterior differs too much from a Gaussian around its mode for importance "
            f"sampling: the Pareto shape of the weights is {float(k):.2f}, expected "
            f"{MAX_PARETO_K:g} or less; use sampler.method = 'nuts'"
        )
    weight = np.exp(smooth - np.max(smooth))
    weight /= weight.sum()
    at = (np.arange(n_kept) + rng.uniform()) / n_kept
    picked = np.minimum(np.searchsorted(np.cumsum(weight), at), len(weight) - 1)
    # The draws are a sample of the points, which are a sample themselves.
    effective = 1.0 / (1.0 / n_kept + float((weight**2).sum()))
    return rng.permutation(picked), effective
