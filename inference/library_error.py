"""How far a posterior of measured light moves because its library is one of many that there could
be.

Simulated clusters are independent draws, and ln L is a smooth function of sums over them. So the
scatter of ln L from library to library is known, to first order, from one: by how much ln L goes
up with the weight of each simulated cluster (the infinitesimal jackknife; Efron 1982, chapter 6).
A cluster c with the share s_ic(φ) of object i's sum, and e_c(φ) of the expected number, moves

    ln L by  u_c(φ) = Σ_i s_ic(φ) − e_c(φ),     Var ln L(φ) − ln L(φ') = Σ_c (u_c(φ) − u_c(φ'))²,

and a parameter by its covariance with u_c among the posterior's draws. The same cluster stands
behind many objects and the expected number, whose shifts may cancel or add. To second order the
logarithm of object i's sum is low by half of Σ_c s_ic². Libraries whose masses and ages follow a
Sobol sequence (`CellTheta`) scatter less than independent draws would, and less than is said.
"""

from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..forward import Population
from .draws import flatten, thinned
from .likelihood import Form
from .model import PopulationModel
from .objects import LightObjects, RowSamples
from .sampling import double_precision

# What is not known of a variance by so few draws is a hundredth of it.
_DRAWS = 100


class LibraryError(NamedTuple):
    """What another library of the same size would change.

    **Arguments:**

    - `shift`: by flat name, the root mean square of a parameter's shift, in standard deviations of
      the posterior.
    - `log_likelihood`: standard deviation, over libraries, of ln L at one draw of the posterior
      beside the mean over draws. Two libraries differ by √2 times as much.
    """

    shift: dict[str, float]
    log_likelihood: float


def library_error(
    objects: LightObjects,
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
) -> LibraryError:
    """The error of a fit of light by the size of its library, from that library alone.

    It cannot know of light that no cluster of the library has.

    **Arguments:**

    - `objects`: clusters with their simulated ones, inside the population's bounds.
    - `model`, `values`: of the fit, and draws of the posterior by name.

    Infinite where a draw cannot produce some object.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    library_error(objects, model, drawn).log_likelihood
    ```
    """
    picked = thinned(values, _DRAWS)
    moving = {k: draws for k, draws in flatten(model, picked).items() if np.ptp(draws) > 0}
    if not moving:
        return LibraryError({}, 0.0)
    population = model.population.with_values(model.fixed_values())
    scores = np.stack([(x - x.mean()) / x.std() for x in moving.values()], axis=1)
    grid = objects.pool_grid(population.box)
    rows = objects.rows(population.box)
    clusters, behind = np.unique(
        np.concatenate([np.asarray(rows.cluster), grid.draw]), return_inverse=True
    )
    of_rows, of_grid = np.split(behind, [len(np.asarray(rows.cluster))])
    with double_precision():
        found = _moments(
            population,
            picked,
            scores,
            rows,
            of_rows,
            (np.ascontiguousarray(grid.theta.T), grid.weight, of_grid),
            len(clusters),
            model.form,
        )
    each, scatter, low = (np.asarray(x) for x in found)
    if not np.isfinite(scatter):
        return LibraryError(dict.fromkeys(moving, np.inf), np.inf)
    bias = scores.T @ low / len(low)
    shift = np.sqrt((each**2).sum(axis=0) + bias**2)
    return LibraryError(
        {name: float(x) for name, x in zip(moving, shift, strict=True)}, float(np.sqrt(scatter))
    )


@eqx.filter_jit
def _moments(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    scores: Float[np.ndarray, "draw parameter"] | Float[Array, "draw parameter"],
    rows: RowSamples,
    of_rows: Int[np.ndarray, " row"] | Int[Array, " row"],
    expected: tuple[
        Float[np.ndarray, "3 some"] | Float[Array, "3 some"],
        Float[np.ndarray, " some"] | Float[Array, " some"],
        Int[np.ndarray, " some"] | Int[Array, " some"],
    ],
    n_clusters: int,
    form: Form,
) -> tuple[Float[Array, "cluster parameter"], Float[Array, ""], Float[Array, " draw"]]:
    """Covariances of u_c with each parameter, the sum over clusters of the variance of u_c, and
    the second-order change of ln L at each draw."""
    owner = jnp.asarray(rows.owner)
    theta, weight, of_grid = (jnp.asarray(x) for x in expected)

    def summed(each: Float[Array, " x"], behind: Int[Array, " x"]) -> Float[Array, " cluster"]:
        return jax.ops.segment_sum(each, behind, n_clusters)

    def at(carry: tuple, draw: tuple) -> tuple:
        value, score = draw
        drawn = population.with_values(value)
        log_p = drawn.log_prob(*jnp.asarray(rows.theta))
        share = jnp.exp(log_p + jnp.asarray(rows.log_weight) - rows.log_sums(log_p)[owner])
        number = weight * jnp.exp(drawn.log_prob(*theta))
        # Conditional on the number of objects, the expected one is scaled to it.
        scale = (
            len(rows.mask) / number.sum()
            if form == "conditional"
            else 10.0 ** jnp.asarray(drawn.log_n, number.dtype)
        )
        u = summed(share, jnp.asarray(of_rows)) - scale * summed(number, of_grid)
        low = -0.5 * (1.0 / rows.effective_of(log_p)).sum()
        products, first, second = carry
        return (products + u[:, None] * score[None], first + u, second + (u**2).sum()), low

    n = len(scores)
    start = (
        jnp.zeros((n_clusters, scores.shape[1])),
        jnp.zeros(n_clusters),
        jnp.zeros(()),
    )
    (products, first, second), low = jax.lax.scan(at, start, (dict(values), jnp.asarray(scores)))
    return products / n, second / n - ((first / n) ** 2).sum(), low
