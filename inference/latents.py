"""Mass, age and extinction of every cluster under the population that all of them imply.

The hierarchical posterior has one θ_i for each cluster beside the parameters φ of the population,

    p(φ, θ_1 … θ_n | d) ∝ p(φ) e^{−Λ(φ)} Π_i λ(θ_i | φ) p(d_i, det | θ_i).

Given φ the θ_i are independent, and their sum is what the marginal fit samples φ by. So draws of φ
from that fit, and for each of them a θ_i from

    p(θ_i | φ, d_i) ∝ λ(θ_i | φ) p(d_i, det | θ_i) ≈ Σ_j w_ij λ(θ_ij | φ) δ(θ_i − θ_ij),

are draws of the whole, exact but for the points θ_ij that stand for each cluster in the fit (a
collapsed Gibbs sampler, Liu 1994, JASA 89, 958, whose second step needs no chain). Nothing has to
mix over thousands of latents, and clusters with two modes have both.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from starcensus.settings import check_seed

from ..forward import Population
from .likelihood import log_density
from .objects import ObjectSamples, ObjectsError
from .sampling import double_precision

LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)
# Fewer effective points of a cluster are no posterior.
_LEAST_EFFECTIVE = 4.0


@dataclasses.dataclass(frozen=True, eq=False)
class Latents:
    """Draws of every cluster's θ, beside those of the population.

    **Arguments:**

    - `ids`: of the clusters.
    - `theta`: `(chain, draw, n, 3)`, log10 M_sun, log10 yr, mag; draw by draw with those of φ.
    - `mean`: `(n, 3)`. `quantiles`: `(5, n, 3)`, at 2.5, 16, 50, 84 and 97.5%; of all points by
      their mean weights, which scatter less than draws.
    - `effective`: `(n,)`, least effective number of points behind a cluster among the draws of φ.
    """

    ids: np.ndarray
    theta: Float[np.ndarray, "chain draw n 3"]
    mean: Float[np.ndarray, "n 3"]
    quantiles: Float[np.ndarray, "5 n 3"]
    effective: Float[np.ndarray, " n"]


def latents(
    samples: ObjectSamples,
    ids: np.ndarray,
    population: Population,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    seed: int = 0,
) -> Latents:
    """Every cluster's posterior under the inferred population.

    **Arguments:**

    - `samples`: of the clusters, as a fit had them (`FitResult.exact`).
    - `ids`: of the clusters.
    - `population`: the family, its fixed parameters at their values.
    - `values`: draws of its posterior by parameter name.
    - `seed`: of the draws.

    Raises `ObjectsError` for clusters that have too few effective points under some draw, by name,
    or that a draw cannot produce.

    ```python
    values = {"alpha_m": np.full((2, 5), -2.0), "alpha_t": np.full((2, 5), -0.5)}
    latents(samples, np.arange(samples.n_objects), population, values).quantiles[2]
    ```
    """
    check_seed(seed)
    kept = np.asarray(samples.mask)
    theta = np.moveaxis(np.asarray(samples.theta)[:, kept], 0, -1)
    n, n_samples = theta.shape[:2]
    if theta.shape[2] != 3:
        raise ObjectsError("the clusters' samples have no extinction; expected all of θ")
    if len(ids) != n:
        raise ObjectsError(f"{len(ids)} ids are given for {n} clusters")
    shape = np.shape(next(iter(values.values())))[:2]
    flat = {k: np.asarray(v).reshape(-1, *np.shape(v)[2:]) for k, v in values.items()}
    rng = np.random.default_rng([seed, 83])
    total, least = np.zeros((n, n_samples)), np.full(n, np.inf)
    picked = np.empty((int(np.prod(shape)), n), int)
    with double_precision():
        for i in range(len(picked)):
            draw = {name: value[i] for name, value in flat.items()}
            weight = np.asarray(_weights(population, draw, samples))[kept]
            if (bad := np.flatnonzero(~np.isfinite(weight).all(axis=1))).size:
                raise ObjectsError(
                    f"{len(bad)} clusters cannot come from a population of the posterior, "
                    f"the first is {ids[bad[0]]}; check the bounds"
                )
            least = np.minimum(least, 1.0 / (weight**2).sum(axis=1))
            heap = np.cumsum(weight, axis=1)
            level = rng.uniform(size=(n, 1)) * heap[:, -1:]
            picked[i] = np.minimum((heap <= level).sum(axis=1), n_samples - 1)
            total += weight
    if (few := np.flatnonzero(least < _LEAST_EFFECTIVE)).size:
        shown = ", ".join(str(ids[k]) for k in few[:5])
        raise ObjectsError(
            f"{len(few)} of {n} clusters have fewer than {_LEAST_EFFECTIVE:g} effective points "
            f"under some draw of the population: {shown}{', …' if few.size > 5 else ''}; fit "
            "with more points of each (n_samples)"
        )
    weight = total / total.sum(axis=1, keepdims=True)
    drawn = theta[np.arange(n)[None], picked].reshape(*shape, n, 3)
    mean = np.einsum("ns,nsa->na", weight, theta)
    return Latents(np.asarray(ids), drawn, mean, _quantiles(theta, weight), least)


@eqx.filter_jit
def _weights(
    population: Population,
    draw: Mapping[str, Float[Array, "..."] | Float[np.ndarray, "..."]],
    samples: ObjectSamples,
) -> Float[Array, "n s"]:
    """Shares of each cluster's points, whose sum is 1."""
    log_p = log_density(population.with_values(draw), samples)
    return jax.nn.softmax(log_p + jnp.asarray(samples.log_weight), axis=1)


def _quantiles(
    theta: Float[np.ndarray, "n s 3"], weight: Float[np.ndarray, "n s"]
) -> Float[np.ndarray, "5 n 3"]:
    found = np.empty((len(LEVELS), *theta.shape[::2]))
    for axis in range(theta.shape[2]):
        order = np.argsort(theta[:, :, axis], axis=1)
        x = np.take_along_axis(theta[:, :, axis], order, axis=1)
        below = np.cumsum(np.take_along_axis(weight, order, axis=1), axis=1)
        for k, level in enumerate(LEVELS):
            at = np.minimum((below < level).sum(axis=1), x.shape[1] - 1)
            found[k, :, axis] = np.take_along_axis(x, at[:, None], axis=1)[:, 0]
    return found
