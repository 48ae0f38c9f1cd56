"""How many samples stand behind each object's term, wherever the posterior goes.

Weights λ/π of an object's samples change with the population. A number that is taken at one point
of the posterior says nothing of draws where the weight has moved to samples that few have; what
counts is the least of an object among draws from all of it.
"""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..forward import Population
from .draws import thinned
from .likelihood import effective_sample_sizes
from .model import PopulationModel
from .objects import Samples
from .sampling import double_precision

_DRAWS = 40


def least_object_ess(
    samples: Samples,
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
) -> Float[np.ndarray, " n"]:
    """The least effective number of samples of each object among some draws, NaN for padding.

    **Arguments:**

    - `samples`: of every cluster, before they were deposited on nodes: squares of weights are no
      smooth function, and what nodes say of them may be nothing at all.
    - `model`, `values`: of the fit, and draws of the posterior by name.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    least_object_ess(samples, model, drawn).min()
    ```
    """
    picked = {k: jnp.asarray(v) for k, v in thinned(values, _DRAWS).items()}
    population = model.population.with_values(model.fixed_values())
    with double_precision():
        return np.asarray(_least(population, picked, samples))


@eqx.filter_jit
def _least(
    population: Population, values: dict[str, Array], samples: Samples
) -> Float[Array, " n"]:
    def lower(least: Float[Array, " n"], draw: dict[str, Array]) -> tuple[Array, None]:
        found = effective_sample_sizes(population.with_values(draw), samples)
        # NaN is of padding, and stays.
        return jnp.minimum(least, found), None

    start = jnp.full(len(samples.mask), jnp.inf)
    return jax.lax.scan(lower, start, values)[0]
