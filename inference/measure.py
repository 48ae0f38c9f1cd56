"""Each cluster alone: mass, age and extinction from its light, under a stated prior.

    p(θ | d_i, det) ∝ π(θ) ∫ p(d_i, det | μ) p(μ | θ) dμ

over the same rows with stochastic light that a fit sums, each with the weight w_ij π(θ_j) (the sums
of cluster_slug, Krumholz et al. 2015, MNRAS 452, 1447, with the kernel of the survey itself). The
prior is flat in nothing by itself: a density per dex of mass that goes as dN/dM ∝ M⁻² favours faint
clusters tenfold a dex, and says so.
"""

import dataclasses
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Int

from starcensus.settings import check_seed
from starcensus.theta import AXES, Box

from ..forward import Population
from .objects import LightObjects, PosteriorDraws, RowSamples
from .sampling import double_precision

# θ `(n, 3)` ↦ ln π, the density per dex, dex and mag, up to a constant.
ObjectPrior = Callable[[Float[np.ndarray, "n 3"]], Float[np.ndarray, " n"]]

LEVELS = (0.16, 0.5, 0.84)
# Cells of an axis among which the mode is looked for, and rows whose prior is evaluated at once.
_CELLS, _ROWS = 400, 1 << 18


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """Posteriors of single clusters.

    **Arguments:**

    - `ids`: of the clusters.
    - `mode`: `(n, 3)`, highest point of the posterior of each parameter by itself, a density per
      dex, dex and mag; log10 M_sun, log10 yr, mag.
    - `mean`: `(n, 3)`. `quantiles`: `(3, n, 3)`, at 16, 50 and 84%.
    - `effective`: `(n,)`, effective number of simulated clusters behind each.
    - `draws`: from the posteriors of those that have any, with the prior, if they were asked for.

    All are NaN, and `effective` is 0, for a cluster that no simulated one is like.
    """

    ids: np.ndarray
    mode: Float[np.ndarray, "n 3"]
    mean: Float[np.ndarray, "n 3"]
    quantiles: Float[np.ndarray, "3 n 3"]
    effective: Float[np.ndarray, " n"]
    draws: PosteriorDraws | None


def power_law_prior(mass_slope: float = -2.0, age_slope: float = -0.5) -> ObjectPrior:
    """dN/dM ∝ M^mass_slope, dN/dT ∝ T^age_slope, and any extinction.

    ```python
    power_law_prior(-2.0, -0.5)(np.array([[4.0, 7.0, 0.3]]))
    ```
    """
    slopes = np.log(10.0) * np.array([mass_slope + 1, age_slope + 1, 0.0])
    return lambda theta: theta @ slopes


def population_prior(
    population: Population, values: Mapping[str, Float[np.ndarray, "draw ..."]]
) -> ObjectPrior:
    """The mean of a population's p(θ | φ) over draws of its parameters; 0 outside its bounds.

    **Arguments:**

    - `population`: the family, its fixed parameters at their values.
    - `values`: draws `(draw, …)` by parameter name.

    ```python
    population_prior(population, {"alpha_m": np.array([-2.0, -1.9])})
    ```
    """

    def prior(theta: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
        found = np.full(len(theta), -np.inf)
        inside = np.flatnonzero(population.box.holds(theta))
        with double_precision():
            for start in range(0, len(inside), _ROWS):
                # The last block is filled up, so that one program serves all.
                block = inside[start : start + _ROWS]
                filled = np.resize(block, _ROWS) if len(inside) > _ROWS else block
                each = np.asarray(_mean_log_prob(population, values, theta[filled].T))
                found[block] = each[: len(block)]
        return found

    return prior


@eqx.filter_jit
def _mean_log_prob(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    theta: Float[Array, "3 n"] | Float[np.ndarray, "3 n"],
) -> Float[Array, " n"]:

    def one(draw: dict[str, Array]) -> Float[Array, " n"]:
        return population.with_values(draw).log_prob(theta[0], theta[1], theta[2])

    each = jax.lax.map(one, {name: jnp.asarray(value) for name, value in values.items()})
    return logsumexp(each, axis=0) - jnp.log(len(each))


def measure(
    objects: LightObjects, prior: ObjectPrior, box: Box, n_draws: int = 0, seed: int = 0
) -> Measured:
    """Posteriors of all objects, each by itself.

    **Arguments:**

    - `objects`: clusters with measured light and simulated ones.
    - `prior`: of θ, such as `power_law_prior()`.
    - `box`: outside of it the prior is 0.
    - `n_draws`: from each posterior; 0 for none. Their objects' terms in a fit are those of
      `objects`, within the chance of so many draws.
    - `seed`: of the draws.

    ```python
    found = measure(objects, power_law_prior(), box, n_draws=100)
    found.quantiles[1], found.draws
    ```
    """
    check_seed(seed)
    theta, weight, owner, log_prior, rows = weighted(objects, prior, box)
    n = len(objects)
    there = np.bincount(owner, weight, n) > 0
    mean = np.stack([np.bincount(owner, weight * x, n) for x in theta.T], axis=1)
    mean[~there] = np.nan
    return Measured(
        objects.ids,
        _modes(theta, weight, owner, there, box, _effective(rows, log_prior)),
        mean,
        _quantiles(theta, weight, owner, there),
        _effective(rows, log_prior),
        _draws(objects, theta, weight, owner, there, log_prior, box, n_draws, seed)
        if n_draws
        else None,
    )


def weighted(
    objects: LightObjects, prior: ObjectPrior, box: Box
) -> tuple[
    Float[np.ndarray, "row 3"],
    Float[np.ndarray, " row"],
    Int[np.ndarray, " row"],
    Float[np.ndarray, " row"],
    RowSamples,
]:
    """θ, weight, owner and ln π of the simulated clusters that each object is like.

    The weights of an object add up to 1, or are all 0 where no simulated cluster is like it; the
    last is what they come from.

    ```python
    theta, weight, owner, log_prior, rows = weighted(objects, power_law_prior(), box)
    ```
    """
    rows = objects.rows(box)
    theta = np.ascontiguousarray(np.asarray(rows.theta).T)
    log_prior = np.asarray(prior(theta), float)
    owner, n = np.asarray(rows.owner), len(objects)
    log_w = np.asarray(rows.log_weight) + log_prior
    top = np.full(n, -np.inf)
    np.maximum.at(top, owner, log_w)
    with np.errstate(invalid="ignore"):
        weight = np.where(np.isfinite(log_w), np.exp(log_w - top[owner]), 0.0)
    total = np.bincount(owner, weight, n)
    weight = weight / np.where(total > 0, total, 1.0)[owner]
    return theta, weight, owner, log_prior, rows


def _effective(rows: RowSamples, log_prior: np.ndarray) -> Float[np.ndarray, " n"]:
    with double_precision():
        return np.asarray(rows.effective_of(jnp.asarray(log_prior)), float)


def _quantiles(
    theta: Float[np.ndarray, "row 3"],
    weight: Float[np.ndarray, " row"],
    owner: Int[np.ndarray, " row"],
    there: np.ndarray,
) -> Float[np.ndarray, "3 n 3"]:
    """The row at which the weight of those below reaches each level."""
    n = len(there)
    counts = np.bincount(owner, minlength=n)
    last = np.cumsum(counts)
    found = np.full((len(LEVELS), n, theta.shape[1]), np.nan)
    # Each object's weights add up to 1, of one without any to 0.
    start = np.cumsum(there) - there
    for axis, x in enumerate(theta.T):
        order = np.lexsort((x, owner))
        heap = np.cumsum(weight[order])
        for i, level in enumerate(LEVELS):
            at = np.clip(np.searchsorted(heap, start + level), last - counts, last - 1)
            found[i, there, axis] = x[order][at[there]]
    return found


def _modes(
    theta: Float[np.ndarray, "row 3"],
    weight: Float[np.ndarray, " row"],
    owner: Int[np.ndarray, " row"],
    there: np.ndarray,
    box: Box,
    effective: Float[np.ndarray, " n"],
) -> Float[np.ndarray, "n 3"]:
    """Highest point of a smoothed histogram, as wide as so many effective clusters warrant."""
    from scipy.ndimage import gaussian_filter1d

    found = np.full((len(there), 3), np.nan)
    ends = np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(there)))])
    for k, axis in enumerate(AXES):
        low, high = getattr(box, axis)
        edges = np.linspace(low, high, _CELLS + 1)
        width, middle = edges[1] - edges[0], (edges[1:] + edges[:-1]) / 2
        cell = np.clip(np.searchsorted(edges, theta[:, k], side="right") - 1, 0, _CELLS - 1)
        for i in np.flatnonzero(there):
            part = slice(ends[i], ends[i + 1])
            heap = np.bincount(cell[part], weight[part], _CELLS)
            sd = np.sqrt(max(heap @ middle**2 - (heap @ middle) ** 2, 0.0))
            # Silverman's rule.
            reach = max(1.06 * sd * max(effective[i], 1.0) ** -0.2 / width, 0.5)
            found[i, k] = middle[np.argmax(gaussian_filter1d(heap, reach, mode="reflect"))]
    return found


def _draws(
    objects: LightObjects,
    theta: np.ndarray,
    weight: np.ndarray,
    owner: np.ndarray,
    there: np.ndarray,
    log_prior: np.ndarray,
    box: Box,
    n_draws: int,
    seed: int,
) -> PosteriorDraws:
    """Rows by their weights, one from each of `n_draws` equal shares, so that chance is less."""
    rng = np.random.default_rng(seed)
    # Rows without weight are none that a draw may be.
    rows = np.flatnonzero(weight > 0)
    heap = np.cumsum(weight[rows])
    some = np.flatnonzero(there)
    level = (np.arange(n_draws) + rng.uniform(size=(len(some), n_draws))) / n_draws
    at = np.searchsorted(heap, np.arange(len(some))[:, None] + level)
    of = owner[rows]
    first, last = np.searchsorted(of, some), np.searchsorted(of, some, side="right") - 1
    picked = rows[np.clip(at, first[:, None], last[:, None])].ravel()
    return PosteriorDraws(
        objects.source,
        objects.ids[some],
        np.full(len(some), n_draws),
        theta[picked],
        log_prior[picked],
        box,
    )
