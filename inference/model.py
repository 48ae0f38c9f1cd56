"""The NumPyro model of a population fit."""

import dataclasses
from collections.abc import Callable, Mapping

import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array

from ..forward import (
    Dirichlet,
    Fixed,
    Normal,
    Parameter,
    Population,
    Prior,
    SelectionGrid,
    Uniform,
)
from .likelihood import Form, log_likelihood
from .objects import ObjectSamples


@dataclasses.dataclass(frozen=True)
class PopulationModel:
    """A population family with its priors: what is fitted, before there are data.

    **Arguments:**

    - `population`: the family; the values of its parameters are the starting point, and the
        values of those that are fixed.
    - `priors`: overrides of the default priors, by parameter name.
    - `form`: `"poisson"` fits log_n; `"conditional"` conditions on the number of clusters, and
        log_n is recovered afterwards from its exact conditional posterior under the prior 1/N.

    Raises `ValueError` for a prior of an unknown parameter or of the wrong kind.
    """

    population: Population
    priors: Mapping[str, Prior] = dataclasses.field(default_factory=dict)
    form: Form = "poisson"

    def __post_init__(self) -> None:
        known = {p.name: p for p in self.population.parameters()}
        if unknown := sorted(set(self.priors) - set(known)):
            raise ValueError(
                f"priors are given for {unknown}, which this population does not have; "
                f"it has {sorted(known)}"
            )
        for name, prior in self.priors.items():
            simplex = known[name].size > 0
            if isinstance(prior, Dirichlet) != simplex and not isinstance(prior, Fixed):
                expected = "dirichlet" if simplex else "uniform or normal"
                raise ValueError(f"the prior of {name} is {prior.kind}; expected {expected}")

    def prior(self, parameter: Parameter) -> Uniform | Normal | Dirichlet | Fixed:
        """The prior in force for a parameter."""
        if self.form == "conditional" and parameter.name == "log_n":
            return Fixed()
        return self.priors.get(parameter.name, parameter.prior)

    def fitted(self) -> tuple[Parameter, ...]:
        """The parameters that are sampled."""
        every = self.population.parameters()
        return tuple(p for p in every if not isinstance(self.prior(p), Fixed))

    def fixed_values(self) -> dict[str, float]:
        """Values given to fixed parameters by their priors."""
        values = {}
        for p in self.population.parameters():
            prior = self.prior(p)
            if isinstance(prior, Fixed) and prior.value is not None:
                values[p.name] = prior.value
        return values

    def start(self) -> dict[str, np.ndarray]:
        """Starting values inside every prior's support."""
        current = {k: np.asarray(v) for k, v in self.population.values().items()}
        return {p.name: _inside(current[p.name], self.prior(p)) for p in self.fitted()}

    def sample_population(self) -> Population:
        """Inside a NumPyro model: sample the parameters and return the population."""
        values: dict[str, Array] = {
            p.name: numpyro.sample(p.name, distribution(self.prior(p), p.size))  # pyright: ignore
            for p in self.fitted()
        }
        return self.population.with_values({**self.fixed_values(), **values})

    def numpyro_model(self) -> Callable[[ObjectSamples, SelectionGrid], None]:
        """The model as a NumPyro callable of (objects, grid)."""

        def model(objects: ObjectSamples, grid: SelectionGrid) -> None:
            population = self.sample_population()
            value = log_likelihood(population, objects, grid, self.form)
            numpyro.factor("log_likelihood", value)

        return model


def distribution(prior: Uniform | Normal | Dirichlet | Fixed, size: int) -> dist.Distribution:
    """The NumPyro distribution of a prior."""
    if isinstance(prior, Uniform):
        return dist.Uniform(jnp.asarray(prior.low, float), jnp.asarray(prior.high, float))
    if isinstance(prior, Dirichlet):
        return dist.Dirichlet(jnp.full(size, prior.concentration, float))
    if isinstance(prior, Fixed):
        raise ValueError("a fixed parameter has no distribution")
    low = None if np.isinf(prior.low) else jnp.asarray(prior.low, float)
    high = None if np.isinf(prior.high) else jnp.asarray(prior.high, float)
    mean, sd = jnp.asarray(prior.mean, float), jnp.asarray(prior.sd, float)
    if low is None and high is None:
        return dist.Normal(mean, sd)
    return dist.TruncatedNormal(mean, sd, low=low, high=high)


def _inside(value: np.ndarray, prior: Uniform | Normal | Dirichlet | Fixed) -> np.ndarray:
    """`value`, moved off the edges of the prior's support, where transforms are infinite."""
    if isinstance(prior, Dirichlet):
        softened = np.maximum(value, 1e-3)
        return softened / softened.sum()
    if isinstance(prior, Uniform):
        margin = 0.02 * (prior.high - prior.low)
        return np.asarray(np.clip(value, prior.low + margin, prior.high - margin))
    if isinstance(prior, Normal):
        margin = 0.02 * min(prior.sd, prior.high - prior.low)
        return np.asarray(np.clip(value, prior.low + margin, prior.high - margin))
    return value
