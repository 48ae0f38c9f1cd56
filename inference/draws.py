"""Draws of a model's parameters: from the priors, by flat name, completed by the number."""

import functools
from collections.abc import Mapping

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray
from numpyro import handlers

from ..forward import Population, SelectionGrid, flat_names
from .identity import Rules, Static, grid_of, model_digest, rules_of
from .model import OPERATOR, PopulationModel
from .sampling import double_precision, numpyro_rules


def flatten(
    model: PopulationModel, values: dict[str, Float[np.ndarray, "..."]]
) -> dict[str, Float[np.ndarray, "..."]]:
    """Draws of every fitted scalar, by flat name: a vector `p_av` gives p_av_0, p_av_1, …

    **Arguments:**

    - `model`: what was fitted.
    - `values`: draws by parameter name, with any leading axes.

    ```python
    flatten(model, {"alpha_m": np.full((2, 50), -2.0)})
    ```
    """
    flat = {}
    for p in model.population.parameters():
        if p.name in values:
            names = flat_names((p,))
            columns = values[p.name] if p.size else values[p.name][..., None]
            flat |= {name: columns[..., i] for i, name in enumerate(names)}
    return flat


def thinned(
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]], n: int
) -> dict[str, Float[np.ndarray, "n ..."]]:
    """Evenly taken draws of all chains, `n` or as many as there are.

    ```python
    thinned({"alpha_m": np.zeros((4, 500))}, 250)["alpha_m"].shape  # (250,)
    ```
    """
    joined = {k: np.asarray(v).reshape(-1, *v.shape[2:]) for k, v in values.items()}
    total = len(next(iter(joined.values())))
    pick = np.linspace(0, total - 1, min(n, total)).astype(int)
    return {k: v[pick] for k, v in joined.items()}


def prior_draws(model: PopulationModel, n: int, seed: int) -> dict[str, np.ndarray]:
    """Draws from the priors, `(n, …)` by parameter name.

    A conditional fit's log_n has none and is left out. The same `seed` gives the same draws.

    ```python
    prior_draws(model, 100, seed=0)["alpha_m"]
    ```
    """

    with double_precision(), numpyro_rules():
        keys = jax.random.split(jax.random.key(seed + 1), n)
        drawn = _sample_priors(Static(model, model_digest(model)), keys)
        return {k: np.asarray(v) for k, v in drawn.items()}


@functools.partial(jax.jit, static_argnums=0)
def _sample_priors(model: Static[PopulationModel], keys: Key[Array, " n"]) -> dict[str, Array]:
    def sample(key: PRNGKeyArray) -> dict[str, Array]:
        with handlers.seed(rng_seed=key):
            return model.value.sample_values()

    return jax.vmap(sample)(keys)


def with_number(
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."] | Float[Array, "chain draw ..."]],
    n_objects: int,
    grid: SelectionGrid,
    seed: int,
) -> dict[str, np.ndarray]:
    """Add log_n to the draws of a conditional fit: N | φ ~ Gamma(n) / ∫ p_sel p dθ.

    Draws of a Poisson fit have it and come back as they are.

    **Arguments:**

    - `model`: what was fitted.
    - `values`: draws `(chain, draw, …)` by parameter name.
    - `n_objects`: number of clusters that were fitted.
    - `grid`: the operator at the quadrature's nodes, of `selection_grid`.
    - `seed`: seed of the draws of N.

    Where `grid` deviates, `values` has the numbers of it under `OPERATOR`, and each draw has its
    own operator.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    grid = selection_grid(operator, population)
    conditional = PopulationModel(population, form="conditional")
    with_number(conditional, drawn, len(catalogue), grid, seed=1)["log_n"]
    ```
    """
    arrays = {k: np.asarray(v) for k, v in values.items()}
    if model.form == "poisson":
        return arrays
    shape = next(iter(arrays.values())).shape[:2]
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in arrays.items()}
    population = model.population.with_values(model.fixed_values())
    with double_precision():
        z = flat.pop(OPERATOR, None)
        each = _detected_fractions(population, flat, rules_of(grid), grid.p_sel, grid.deviations, z)
    detected = np.asarray(each).reshape(shape)
    number = np.random.default_rng(seed).gamma(n_objects, size=shape) / detected
    return {**arrays, "log_n": np.log10(number)}


@eqx.filter_jit
def _detected_fractions(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    rules: Rules,
    p_sel: Float[Array, "m t a"] | Float[np.ndarray, "m t a"],
    deviations: Float[Array, "k m t a"] | Float[np.ndarray, "k m t a"] | None = None,
    z: Float[Array, "draw k"] | Float[np.ndarray, "draw k"] | None = None,
) -> Float[Array, " draw"]:
    grid = grid_of(rules, p_sel, deviations)

    def of(draw: tuple) -> Float[Array, ""]:
        own, at = draw
        here = grid if at is None else grid.shifted(at)
        return here.detected_fraction(population.with_values(own))

    return jax.lax.map(of, (dict(values), z))
