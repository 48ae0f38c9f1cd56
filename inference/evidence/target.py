"""What is integrated: a prior and a likelihood in unconstrained coordinates.

    Z = ∫ π(φ) L(φ) dφ = ∫ π(φ(x)) |dφ/dx| L(φ(x)) dx,

with the bijections of NumPyro that the sampler has: logit between the limits of a bounded prior,
stick breaking of a simplex. Here the density of a prior is the one that NumPyro normalises: a
truncated normal is divided by the mass between its limits, a Dirichlet by its Beta function.
"""

import dataclasses
import functools
import secrets
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray
from numpyro import handlers
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from ...forward import SelectionGrid
from ...forward.priors import numpyro_rules
from ..identity import Static, grid_of, model_digest, rules_of
from ..likelihood import log_likelihood
from ..model import PopulationModel
from ..objects import Samples
from ..sampling import double_precision
from .errors import EvidenceError

# Points that are evaluated side by side.
_AT_ONCE = 32


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """A prior and a likelihood of `n` unconstrained coordinates x, traceable by JAX.

    **Arguments:**

    - `n`: number of coordinates.
    - `log_prior`: ln of the normalised prior of x, of an array `(n,)`.
    - `log_likelihood`: ln L, of x and `data`; −inf where it is 0.
    - `draw_prior`: a draw of x from the prior, of a JAX key.
    - `data`: what the likelihood takes beside x: a tree of arrays.
    - `key`: targets of one key share compiled programs; by default none does.

    ```python
    normal = Target(
        1,
        lambda x: jax.scipy.stats.norm.logpdf(x).sum(),
        lambda x, data: jax.scipy.stats.norm.logpdf(data - x).sum(),
        lambda key: jax.random.normal(key, (1,), float),
        np.array([0.3]),
    )
    normal.at(np.zeros((1, 1)))  # ln prior and ln likelihood of each point
    ```
    """

    n: int
    log_prior: Callable[[Float[Array, " n"]], Float[Array, ""]]
    log_likelihood: Callable[[Float[Array, " n"], Any], Float[Array, ""]]
    draw_prior: Callable[[PRNGKeyArray], Float[Array, " n"]]
    data: Any = ()
    key: str = dataclasses.field(default_factory=lambda: secrets.token_hex(8))

    @property
    def static(self) -> "Static[Target]":
        """Itself without its data, as a constant of compiled programs."""
        return Static(dataclasses.replace(self, data=None), self.key)

    def at(
        self, x: Float[np.ndarray, "k n"]
    ) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
        """ln prior and ln likelihood of each point; NaN counts as a fault of the likelihood.

        Raises `EvidenceError` where one of them is no number.
        """
        with double_precision(), numpyro_rules():
            found = _at(self.static, jnp.asarray(x, float), self.data)
        log_prior, log_like = (np.asarray(each) for each in found)
        if unknown := int((np.isnan(log_prior) | np.isnan(log_like)).sum()):
            raise EvidenceError(
                f"prior or likelihood is no number at {unknown} of {len(x)} points; expected one "
                "everywhere in the prior's support: narrow the priors to where the law is defined"
            )
        return log_prior, log_like

    def prior_draws(self, key: PRNGKeyArray, k: int) -> Float[np.ndarray, "k n"]:
        """Draws of x from the prior."""
        with double_precision(), numpyro_rules():
            return np.asarray(_drawn(self.static, jax.random.split(key, k)))


@functools.partial(jax.jit, static_argnums=0)
def _at(target: Static[Target], x: Float[Array, "k n"], data: Any) -> tuple[Array, Array]:
    of = target.value

    def both(point: Float[Array, " n"]) -> tuple[Array, Array]:
        return of.log_prior(point), of.log_likelihood(point, data)

    return jax.lax.map(both, x, batch_size=_AT_ONCE)


@functools.partial(jax.jit, static_argnums=0)
def _drawn(target: Static[Target], keys: Array) -> Array:
    return jax.vmap(target.value.draw_prior)(keys)


def population_target(model: PopulationModel, samples: Samples, grid: SelectionGrid) -> Target:
    """The posterior of a fit: its priors, and its likelihood of the same samples and operator.

    **Arguments:**

    - `model`: family and priors, normalised.
    - `samples`, `grid`: as the sampler of the fit had them (`FitResult`).

    Raises `EvidenceError` for a prior that nothing can be drawn from.

    ```python
    result = fit(catalogue, operator, model)
    population_target(result.model, result.samples, result.grid).n
    ```
    """
    with double_precision(), numpyro_rules():
        n, unravel = _coordinates(model)
    rules, fixed = rules_of(grid), model.fixed_values()
    base = model.population.with_values(fixed)

    def log_prior(x: Float[Array, " n"]) -> Float[Array, ""]:
        return -jnp.asarray(potential_energy(model.sample_population, (), {}, unravel(x)))

    def log_like(x: Float[Array, " n"], data: tuple[Samples, Array]) -> Float[Array, ""]:
        sites = constrain_fn(model.sample_population, (), {}, unravel(x))
        population = base.with_values(model.from_sites(sites))
        objects, p_sel = data
        return log_likelihood(population, objects, grid_of(rules, p_sel), model.form)

    def draw(key: PRNGKeyArray) -> Float[Array, " n"]:
        with handlers.seed(rng_seed=key):
            sites = {
                site.name: numpyro.sample(site.name, site.prior.distribution(site.size))
                for site in model.sites()
            }
        return ravel_pytree(unconstrain_fn(model.sample_population, (), {}, sites))[0]

    try:
        with double_precision(), numpyro_rules():
            jax.eval_shape(draw, jax.random.key(0))
    except NotImplementedError as error:
        raise EvidenceError(
            "a prior has no draws, as improper ones have none; an evidence takes priors that are "
            "normalised: give each parameter a proper one, such as a pair of limits"
        ) from error
    key = f"{model_digest(model)} {rules}"
    return Target(n, log_prior, log_like, draw, (samples, jnp.asarray(grid.p_sel)), key)


def unconstrained_draws(
    model: PopulationModel, values: Mapping[str, Float[np.ndarray, "chain draw ..."]]
) -> Float[np.ndarray, "chain draw n"]:
    """Draws of a fit in the coordinates of `population_target`.

    **Arguments:**

    - `model`: of the fit. `values`: draws by parameter name; those that it does not sample are
      left out.

    Raises `EvidenceError` for draws at the very edge of a prior, where these are infinite.

    ```python
    result = fit(catalogue, operator, model)
    unconstrained_draws(result.model, posterior_values(result)).shape
    ```
    """
    sites = {}
    for site in model.sites():
        parts = [np.asarray(values[name], float) for name in site.names]
        sites[site.name] = parts[0] if len(parts) == 1 else np.stack(parts, axis=-1)
    chains, draws = next(iter(sites.values())).shape[:2]
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in sites.items()}
    with double_precision(), numpyro_rules():
        x = np.asarray(_unconstrained(Static(model, model_digest(model)), flat))
    if bad := int((~np.isfinite(x)).any(axis=1).sum()):
        raise EvidenceError(
            f"{bad} of {len(x)} draws lie at the very edge of a prior, where no density is known; "
            "widen the prior, or hold the parameter fixed"
        )
    return x.reshape(chains, draws, -1)


def constrained(
    model: PopulationModel, x: Float[np.ndarray, "k n"]
) -> dict[str, Float[np.ndarray, "k ..."]]:
    """Points in the coordinates of `population_target` by parameter name, as draws of a fit.

    ```python
    result = fit(catalogue, operator, model)
    x = unconstrained_draws(result.model, posterior_values(result))
    constrained(result.model, x[0])["alpha_m"]
    ```
    """
    with double_precision(), numpyro_rules():
        unravel = _coordinates(model)[1]

        def named(point: Float[Array, " n"]) -> dict[str, Array]:
            sites = constrain_fn(model.sample_population, (), {}, unravel(point))
            return {k: jnp.asarray(v) for k, v in model.from_sites(sites).items()}

        found = jax.jit(jax.vmap(named))(jnp.asarray(x, float))
    return {k: np.asarray(v) for k, v in found.items()}


def _coordinates(model: PopulationModel) -> tuple[int, Callable[[Array], Any]]:
    """How many coordinates there are, and what they are by site."""
    start = {k: jnp.asarray(v, float) for k, v in model.start_sites().items()}
    flat, unravel = ravel_pytree(
        jax.jit(lambda v: unconstrain_fn(model.sample_population, (), {}, v))(start)
    )
    return len(flat), unravel


@functools.partial(jax.jit, static_argnums=0)
def _unconstrained(model: Static[PopulationModel], sites: dict[str, Array]) -> Array:
    def of(each: dict[str, Array]) -> Array:
        found = unconstrain_fn(model.value.sample_population, (), {}, each)
        return ravel_pytree(found)[0]

    return jax.vmap(of)(sites)
