"""Draws of a model's parameters: from the priors, by flat name, completed by the number."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro import handlers

from ..forward import SelectionGrid, flat_names
from .model import PopulationModel
from .sampling import double_precision, numpyro_rules


def flatten(
    model: PopulationModel, values: dict[str, Float[np.ndarray, "..."]]
) -> dict[str, Float[np.ndarray, "..."]]:
    """Draws of every fitted scalar, by flat name."""
    flat = {}
    for p in model.population.parameters():
        if p.name in values:
            names = flat_names((p,))
            columns = values[p.name] if p.size else values[p.name][..., None]
            flat |= {name: columns[..., i] for i, name in enumerate(names)}
    return flat


def prior_draws(model: PopulationModel, n: int, seed: int) -> dict[str, np.ndarray]:
    """Draws from the priors; a conditional fit's log_n has none and is left out."""

    def sample(key):
        with handlers.seed(rng_seed=key):
            return model.sample_values()

    keys = jax.random.split(jax.random.key(seed + 1), n)
    with double_precision(), numpyro_rules():
        return {k: np.asarray(v) for k, v in jax.vmap(sample)(keys).items()}


def with_number(
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."] | Float[Array, "chain draw ..."]],
    n_objects: int,
    grid: SelectionGrid,
    seed: int,
) -> dict[str, np.ndarray]:
    """Add log_n to the draws of a conditional fit: N | φ ~ Gamma(n) / ∫ p_sel p dθ.

    Draws of a Poisson fit have it and come back as they are.
    """
    arrays = {k: np.asarray(v) for k, v in values.items()}
    if model.form == "poisson":
        return arrays
    shape = next(iter(arrays.values())).shape[:2]
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in arrays.items()}
    population = model.population.with_values(model.fixed_values())

    def fraction(draw: dict[str, Array]) -> Float[Array, ""]:
        return grid.detected_fraction(population.with_values(draw))

    with double_precision():
        each = jax.lax.map(fraction, {k: jnp.asarray(v) for k, v in flat.items()})
    detected = np.asarray(each).reshape(shape)
    number = np.random.default_rng(seed).gamma(n_objects, size=shape) / detected
    return {**arrays, "log_n": np.log10(number)}
