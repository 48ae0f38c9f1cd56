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
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from starcensus.settings import check_seed

from ..forward import Population
from .likelihood import deviating_weights, log_density
from .model import OPERATOR
from .objects import ObjectSamples, ObjectsError, Samples
from .objects.rows import RowSamples
from .sampling import double_precision

LEVELS = (0.025, 0.16, 0.5, 0.84, 0.975)
# Fewer effective points of a cluster are no posterior.
LEAST_EFFECTIVE = 4.0


@dataclasses.dataclass(frozen=True, eq=False)
class Latents:
    """Draws of every cluster's θ, beside those of the population.

    **Arguments:**

    - `ids`: of the clusters.
    - `theta`: `(chain, draw, n, 3)`, log10 M_sun, log10 yr, mag; draw by draw with those of φ.
    - `mean`: `(n, 3)`. `quantiles`: `(5, n, 3)`, at 2.5, 16, 50, 84 and 97.5%; of all points by
      their mean weights, which scatter less than draws.
    - `effective`: `(n,)`, least effective number of points behind a cluster among the draws of φ;
      points with one draw of light count as one.
    """

    ids: np.ndarray
    theta: Float[np.ndarray, "chain draw n 3"]
    mean: Float[np.ndarray, "n 3"]
    quantiles: Float[np.ndarray, "5 n 3"]
    effective: Float[np.ndarray, " n"]


def latents(
    samples: Samples,
    ids: np.ndarray,
    population: Population,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    seed: int = 0,
    least_effective: float = LEAST_EFFECTIVE,
) -> Latents:
    """Every cluster's posterior under the inferred population.

    **Arguments:**

    - `samples`: of the clusters, as a fit had them (`FitResult.exact`): points, or rows of a
      library.
    - `ids`: of the clusters.
    - `population`: the family, its fixed parameters at their values.
    - `values`: draws of its posterior by parameter name; with the numbers by which the operator
      deviates, if the fit had its uncertainty.
    - `seed`: of the draws.
    - `least_effective`: effective points that every cluster must have under every draw.

    Raises `ObjectsError` for clusters that have fewer, by name, for those that a draw cannot
    produce, and for samples that are no points.

    ```python
    values = {"alpha_m": np.full((2, 5), -2.0), "alpha_t": np.full((2, 5), -0.5)}
    latents(samples, np.arange(samples.n_objects), population, values).quantiles[2]
    ```
    """
    check_seed(seed)
    if not isinstance(samples, RowSamples | ObjectSamples):
        raise ObjectsError(
            f"{type(samples).__name__} are no points of θ; expected what a fit had before they "
            "were deposited on nodes, `FitResult.exact`"
        )
    points = _points(samples)
    n, first, last = len(points.first), points.first, points.last
    if len(ids) != n:
        raise ObjectsError(f"{len(ids)} ids are given for {n} clusters")
    shape = np.shape(next(iter(values.values())))[:2]
    flat = {k: np.asarray(v).reshape(-1, *np.shape(v)[2:]) for k, v in values.items()}
    rng = np.random.default_rng([seed, 83])
    total, least = np.zeros(len(points.owner)), np.full(n, np.inf)
    picked = np.empty((int(np.prod(shape)), n), int)
    with double_precision():
        for i in range(len(picked)):
            draw = {name: value[i] for name, value in flat.items()}
            weight = points.shares(np.asarray(_log_weights(population, draw, samples)))
            if (bad := np.flatnonzero(np.isnan(weight[first]))).size:
                raise ObjectsError(
                    f"{len(bad)} clusters cannot come from a population of the posterior, "
                    f"the first is {ids[bad[0]]}; check the bounds"
                )
            least = np.minimum(least, points.effective(weight))
            heap = np.cumsum(weight)
            below = np.where(first > 0, heap[first - 1], 0.0)
            level = below + rng.uniform(size=n) * (heap[last] - below)
            picked[i] = np.clip(np.searchsorted(heap, level, side="right"), first, last)
            total += weight
    if (few := np.flatnonzero(least < least_effective)).size:
        shown = ", ".join(str(ids[k]) for k in few[:5])
        raise ObjectsError(
            f"{len(few)} of {n} clusters have fewer than {least_effective:g} effective points "
            f"under some draw of the population: {shown}{', …' if few.size > 5 else ''}; fit "
            "with more points of each"
        )
    weight = total / len(picked)
    mean = np.stack([np.add.reduceat(weight * x, first) for x in points.theta], axis=1)
    drawn = points.theta[:, picked].transpose(1, 2, 0).reshape(*shape, n, 3)
    return Latents(np.asarray(ids), drawn, mean, _quantiles(points, weight), least)


class _Points(NamedTuple):
    """Points of all clusters one after another.

    - `theta`: `(3, point)`. `owner`: `(point,)`, the cluster of each. `which`: among all samples.
    - `first`, `last`: `(n,)`, of each cluster. `draw`: `(m,)`, where another draw of light begins.
    """

    theta: Float[np.ndarray, "3 point"]
    owner: Int[np.ndarray, " point"]
    which: np.ndarray
    first: Int[np.ndarray, " n"]
    last: Int[np.ndarray, " n"]
    draw: Int[np.ndarray, " m"]

    def shares(self, log_weight: np.ndarray) -> Float[np.ndarray, " point"]:
        """Weights whose sum over each cluster is 1; NaN where all of a cluster's are 0."""
        log_w = log_weight.ravel()[self.which]
        top = np.maximum.reduceat(log_w, self.first)
        with np.errstate(invalid="ignore"):
            weight = np.exp(log_w - top[self.owner])
        return weight / np.add.reduceat(weight, self.first)[self.owner]

    def effective(self, weight: Float[np.ndarray, " point"]) -> Float[np.ndarray, " n"]:
        of_draw = np.add.reduceat(weight, self.draw)
        return 1.0 / np.bincount(self.owner[self.draw], of_draw**2, len(self.first))


def _points(samples: ObjectSamples | RowSamples) -> _Points:
    theta, mask = np.asarray(samples.theta), np.asarray(samples.mask)
    if isinstance(samples, RowSamples):
        owner, cluster = np.asarray(samples.owner), np.asarray(samples.cluster)
        which = np.flatnonzero(mask[owner])
        owner, cluster = owner[which], cluster[which]
        new = (np.diff(owner) != 0) | (np.diff(cluster) != 0)
        draw = np.concatenate([[0], np.flatnonzero(new) + 1])
        theta = theta[:, which]
    else:
        n_each = samples.log_weight.shape[1]
        which = np.flatnonzero(np.repeat(mask, n_each))
        owner, draw = which // n_each, np.arange(len(which))
        theta = theta.reshape(len(theta), -1)[:, which]
    if len(theta) != 3:
        raise ObjectsError("the clusters' samples have no extinction; expected all of θ")
    # Clusters among those that count, one after another.
    owner = np.cumsum(mask)[owner] - 1
    first = np.searchsorted(owner, np.arange(int(mask.sum())))
    last = np.concatenate([first[1:], [len(owner)]]) - 1
    return _Points(theta, owner, which, first, last, draw)


@eqx.filter_jit
def _log_weights(
    population: Population,
    draw: Mapping[str, Float[Array, "..."] | Float[np.ndarray, "..."]],
    samples: ObjectSamples | RowSamples,
) -> Float[Array, "..."]:
    """Of each point under a draw of the population, up to a constant of each cluster."""
    z = draw.get(OPERATOR)
    population = population.with_values({k: v for k, v in draw.items() if k != OPERATOR})
    if isinstance(samples, RowSamples):
        log_mass, log_age, a_v = jnp.asarray(samples.theta)
        log_p = population.log_prob(log_mass, log_age, a_v)
        return log_p + jnp.asarray(samples.log_weight)
    if z is not None:
        return deviating_weights(population, samples, jnp.asarray(z))
    return log_density(population, samples) + jnp.asarray(samples.log_weight)


def _quantiles(points: _Points, weight: Float[np.ndarray, " point"]) -> Float[np.ndarray, "5 n 3"]:
    n = len(points.first)
    found = np.empty((len(LEVELS), n, 3))
    for axis, x in enumerate(points.theta):
        order = np.lexsort((x, points.owner))
        heap = np.cumsum(weight[order])
        below = np.where(points.first > 0, heap[points.first - 1], 0.0)
        for k, level in enumerate(LEVELS):
            at = np.searchsorted(heap, below + level * (heap[points.last] - below))
            found[k, :, axis] = x[order][np.clip(at, points.first, points.last)]
    return found
