"""How far a posterior moves because each object's integral is a mean over few samples.

The logarithm of a mean of S samples is low by half its relative variance, and off by chance. One
object's error is small beside its term; summed over a catalogue it is a smooth function Δ(φ) beside
ln L(φ), which moves a posterior as more clusters make it narrow. With other samples of every object
Δ is known where the posterior is, and the shift of a parameter is, to first order, its covariance
with Δ among the posterior's draws: a sum over objects, whose samples are independent, so that its
scatter is known too.
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..forward import CheckedGrid, Population
from ..selection import AbstractSelection
from .draws import flatten, thinned
from .library_error import library_error
from .likelihood import log_object_terms, sum_of_object_terms
from .model import PopulationModel
from .objects import AbstractObjects, LightObjects, NodeSamples, NodeSettings, PoolGrid, Samples
from .sampling import double_precision

# A correlation of so many draws is known to a fifteenth.
_DRAWS = 250
_FEW_DRAWS = 40
_COLUMNS = 32


def object_shift(
    objects: AbstractObjects,
    samples: Samples,
    selection: AbstractSelection,
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    nodes: NodeSettings = NodeSettings(),
) -> dict[str, float]:
    """How many standard deviations each parameter would move with other samples of each object.

    **Arguments:**

    - `objects`, `samples`: clusters of the fit, and their samples as the sampler had them.
    - `selection`, `model`: operator and model of the fit.
    - `values`: draws of the posterior by name.
    - `nodes`: on which the fit had the samples, if on any.

    By flat name. Of measured light it is what another library would do (`library_error`). Of other
    objects it is what other samples do, with its sign, or how much that scatters by chance where
    this is more: shifts of single objects may cancel in one set of samples. Empty for objects of
    which there are no other samples (`AbstractObjects.finer`), infinite where a draw cannot produce
    some object by one of the two.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    object_shift(PublishedValues(catalogue), samples, operator, model, drawn)["alpha_m"]
    ```
    """
    if isinstance(objects, LightObjects):
        return library_error(objects, model, values).shift
    finer = objects.finer()
    if finer is None:
        return {}
    picked = thinned(values, _DRAWS)
    moving = {k: draws for k, draws in flatten(model, picked).items() if np.ptp(draws) > 0}
    if not moving:
        return {}
    population = model.population.with_values(model.fixed_values())
    scores = np.stack([(x - x.mean()) / x.std() for x in moving.values()], axis=1)
    with double_precision():
        more = nodes.laid(finer.within(population, selection), population)
        few, many = (
            np.asarray(_covariances(population, picked, scores, each))[np.asarray(each.mask)]
            for each in (samples, more)
        )
    each = many - few
    if not np.isfinite(each).all():
        return dict.fromkeys(moving, np.inf)
    whole, chance = each.sum(axis=0), np.sqrt((each**2).sum(axis=0))
    shift = np.where(np.abs(whole) > chance, whole, np.copysign(chance, whole))
    return {name: float(x) for name, x in zip(moving, shift, strict=True)}


def node_error(
    exact: Samples,
    samples: Samples,
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    checked: CheckedGrid | None = None,
) -> float:
    """By how much ln L of the nodes and ln L of the rows behind them differ more at one draw than
    at another: the largest such change among some draws of the posterior; 0 without nodes, infinite
    where nodes or rows cannot produce some object.

    Both terms count: those of the objects, and the expected number where it is a sum over rows of a
    library that was deposited on nodes (`PoolGrid`), whose logarithm counts once for each object.

    **Arguments:**

    - `exact`, `samples`: what is known of the clusters, and what the sampler had of it.
    - `model`, `values`: of the fit, and draws of the posterior by name.
    - `checked`: grid of the expected number.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    node_error(samples, samples, model, drawn)  # 0.0
    ```
    """
    of_rows = isinstance(checked, PoolGrid)
    if exact is samples and not of_rows:
        return 0.0
    picked = thinned(values, _FEW_DRAWS)
    population = model.population.with_values(model.fixed_values())
    off = np.zeros(len(next(iter(picked.values()))))
    with double_precision():
        if exact is not samples:
            sums = [np.asarray(sums_of_terms(population, picked, x)) for x in (exact, samples)]
            if not np.isfinite(sums).all():
                return np.inf
            off += sums[1] - sums[0]
        if of_rows:
            off -= samples.n_objects * _log_expected_error(checked, population, picked)
    return float(np.ptp(off))


def _log_expected_error(
    checked: PoolGrid, population: Population, values: Mapping[str, Float[np.ndarray, "draw ..."]]
) -> Float[np.ndarray, " draw"]:
    """ln of the expected number on nodes less that of the sum over rows, at each draw."""
    grid = checked.grid

    @jax.jit
    def of_both(drawn: dict[str, Array], theta: Array, weight: Array) -> Float[Array, " draw"]:
        def of(draw: dict[str, Array]) -> Float[Array, ""]:
            there = population.with_values(draw)
            rows = jnp.sum(weight * jnp.exp(there.log_prob(*theta)))
            return jnp.log(grid.detected_fraction(there) / rows)

        return jax.lax.map(of, drawn)

    drawn = {name: jnp.asarray(value) for name, value in values.items()}
    return np.asarray(of_both(drawn, jnp.asarray(checked.theta.T), jnp.asarray(checked.weight)))


@eqx.filter_jit
def sums_of_terms(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    samples: Samples,
) -> Float[Array, " draw"]:
    """Σ_i ln ∫ p(d_i|θ) p(θ|φ) dθ at each draw."""

    def of(draw: dict[str, Array]) -> Float[Array, ""]:
        return sum_of_object_terms(population.with_values(draw), samples)

    return jax.lax.map(of, dict(values), batch_size=_at_once(samples))


@eqx.filter_jit
def _covariances(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    scores: Float[Array, "draw parameter"] | Float[np.ndarray, "draw parameter"],
    samples: Samples,
) -> Float[Array, "n parameter"]:
    """Of each object's term with each parameter's standard scores among the draws; NaN where a
    draw cannot produce the object."""
    n, columns = len(scores), _at_once(samples) or 1
    # The last draws are filled up with the first, which then count as nothing.
    blocks = -(-n // columns)
    at = jnp.arange(blocks * columns).reshape(blocks, columns)
    counted = jnp.where(at[..., None] < n, jnp.asarray(scores)[at % n], 0.0)

    def add(total: Array, block: tuple) -> tuple[Array, None]:
        which, score = block
        drawn = {k: jnp.asarray(v)[which] for k, v in values.items()}
        terms = jax.vmap(lambda d: log_object_terms(population.with_values(d), samples))(drawn)
        return total + terms.T @ score, None

    start = jnp.zeros((len(samples.mask), scores.shape[1]))
    return jax.lax.scan(add, start, (at % n, counted))[0] / n


def _at_once(samples: Samples) -> int | None:
    """A product with nodes takes many columns at little more than the cost of one."""
    return _COLUMNS if isinstance(samples, NodeSamples) else None
