"""How far a posterior moves because each object's integral is a mean over few samples.

The logarithm of a mean of S samples is low by half its relative variance, and off by chance. One
object's error is small beside its term; summed over a catalogue it is a smooth function Δ(φ) beside
ln L(φ), which moves a posterior as more clusters make it narrow. With other samples of every object
Δ is known where the posterior is, and the shift of a parameter is, to first order, its covariance
with Δ among the posterior's draws.
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..forward import Population
from ..selection import AbstractSelection
from .draws import flatten, thinned
from .identity import Rules, grid_of, rules_of
from .likelihood import Form, log_likelihood, sum_of_object_terms
from .model import PopulationModel
from .objects import AbstractObjects, NodeSamples, NodeSettings, Samples
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

    By flat name; empty for objects of which there are no other samples (`AbstractObjects.finer`),
    infinite where a draw cannot produce some object by one of the two.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    object_shift(PublishedValues(catalogue), samples, operator, model, drawn)["alpha_m"]
    ```
    """
    finer = objects.finer()
    if finer is None:
        return {}
    picked = thinned(values, _DRAWS)
    population = model.population.with_values(model.fixed_values())
    with double_precision():
        more = nodes.laid(finer.within(population, selection), population)
        if objects.selects:
            # The same simulated clusters stand behind the expected number.
            grids = [each.expected(population, selection).grid for each in (objects, finer)]
            few, many = (
                np.asarray(_whole(population, picked, each, rules_of(grid), grid.p_sel, model.form))
                for each, grid in zip((samples, more), grids, strict=True)
            )
        else:
            few, many = (np.asarray(_sums(population, picked, each)) for each in (samples, more))
    moving = {k: draws for k, draws in flatten(model, picked).items() if np.ptp(draws) > 0}
    if not (np.isfinite(many).all() and np.isfinite(few).all()):
        return dict.fromkeys(moving, np.inf)
    change = many - few - (many - few).mean()
    return {
        name: float(change @ (draws - draws.mean()) / len(draws) / draws.std())
        for name, draws in moving.items()
    }


def node_error(
    exact: Samples,
    samples: Samples,
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
) -> float:
    """By how much ln L of the nodes and ln L of the rows behind them differ more at one draw than
    at another: the largest such change among some draws of the posterior; 0 without nodes, infinite
    where nodes or rows cannot produce some object.

    **Arguments:**

    - `exact`, `samples`: what is known of the clusters, and what the sampler had of it.
    - `model`, `values`: of the fit, and draws of the posterior by name.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    node_error(samples, samples, model, drawn)  # 0.0
    ```
    """
    if exact is samples:
        return 0.0
    picked = thinned(values, _FEW_DRAWS)
    population = model.population.with_values(model.fixed_values())
    with double_precision():
        true, found = (np.asarray(_sums(population, picked, x)) for x in (exact, samples))
    if not (np.isfinite(true).all() and np.isfinite(found).all()):
        return np.inf
    return float(np.ptp(found - true))


@eqx.filter_jit
def _sums(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    samples: Samples,
) -> Float[Array, " draw"]:
    """Σ_i ln ∫ p(d_i|θ) p(θ|φ) dθ at each draw."""

    def of(draw: dict[str, Array]) -> Float[Array, ""]:
        return sum_of_object_terms(population.with_values(draw), samples)

    return jax.lax.map(of, dict(values), batch_size=_at_once(samples))


@eqx.filter_jit
def _whole(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    samples: Samples,
    rules: Rules,
    p_sel: Float[Array, "m t a"] | Float[np.ndarray, "m t a"],
    form: Form,
) -> Float[Array, " draw"]:
    """ln L at each draw."""
    grid = grid_of(rules, p_sel)

    def of(draw: dict[str, Array]) -> Float[Array, ""]:
        return log_likelihood(population.with_values(draw), samples, grid, form)

    return jax.lax.map(of, dict(values), batch_size=_at_once(samples))


def _at_once(samples: Samples) -> int | None:
    """A product with nodes takes many columns at little more than the cost of one."""
    return _COLUMNS if isinstance(samples, NodeSamples) else None
