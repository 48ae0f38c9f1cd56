"""Interfaces of the population's parts.

A user's own law is a subclass of one of the abstract classes below, registered under the word by
which files name it (`kind = "..."`), and is then fitted, drawn and reported as ours are:

```python
import jax
import jax.numpy as jnp
from starcensus.forward import MASS_FUNCTIONS, AbstractMassFunction, Normal, Parameter

@MASS_FUNCTIONS.register("log_normal_mass")
class LogNormalMass(AbstractMassFunction):
    log_mass_range: tuple[float, float]  # from the population's bounds
    log_m_peak: float = 3.5              # a parameter: a field with its starting value
    width_dex: float = 0.5               # a setting: not among `parameters`

    def parameters(self):
        return (Parameter("log_m_peak", "log10 M_sun", Normal(3.5, 1.0), "where most are"),)

    def _cdf(self, x):
        return jax.scipy.special.ndtr((jnp.asarray(x, float) - self.log_m_peak) / self.width_dex)

    def log_prob(self, x):
        low, high = self.log_mass_range
        z = (jnp.asarray(x, float) - self.log_m_peak) / self.width_dex
        norm = jnp.log(self.width_dex * (self._cdf(high) - self._cdf(low)))
        value = -(z**2) / 2 - 0.5 * jnp.log(2 * jnp.pi) - norm
        return jnp.where((x >= low) & (x <= high), value, -jnp.inf)

    def sample(self, key, shape=()):
        low, high = (self._cdf(end) for end in self.log_mass_range)
        u = low + (high - low) * jax.random.uniform(key, shape, float)
        return self.log_m_peak + self.width_dex * jax.scipy.special.ndtri(u)
```

Densities are per dex of mass and of age and per mag of extinction, normalised inside bounds that
belong to the part. A part's parameters are its fields of the same name; `parameters()` lists them
with unit, default prior and reason. Nothing is mutated: `with_values` returns a new part.
"""

import abc
import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from starcensus.registry import Registry

from ._parameters import Parameter
from ._quadrature import PanelRule

Range = tuple[float, float]
Value = Float[Array | np.ndarray, "..."] | float


class AbstractPart(eqx.Module):
    """Anything with named parameters."""

    @abc.abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """The parameters, in order."""

    def values(self) -> dict[str, Array]:
        """Current value of every parameter, by name."""
        return {p.name: jnp.asarray(getattr(self, p.name), float) for p in self.parameters()}

    def with_values[Part: "AbstractPart"](self: Part, values: Mapping[str, Value]) -> Part:
        """A copy with the parameters of `values` that belong to this part replaced."""
        names = {p.name for p in self.parameters()}
        return dataclasses.replace(self, **{k: v for k, v in values.items() if k in names})


class AbstractMassFunction(AbstractPart):
    """p(log_mass), per dex. A law of one's own is a subclass registered in `MASS_FUNCTIONS`.

    ```python
    mass = MASS_FUNCTIONS["schechter"](log_mass_range=(3.0, 6.0))
    mass.log_prob(4.0)
    mass.with_values({"alpha_m": -1.8}).sample(jax.random.key(0), (100,))
    ```
    """

    log_mass_range: eqx.AbstractVar[Range]

    @abc.abstractmethod
    def log_prob(self, x: Value) -> Float[Array, "..."]:
        """ln p per dex; −inf outside `log_mass_range`."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*shape"]:
        """Draws of log_mass (log10 M_sun), in an array of the given shape."""

    def breaks(self) -> tuple[Float[Array, ""], ...]:
        """Positions in log_mass where the density is not smooth."""
        return ()

    def quadrature(self, rule: PanelRule) -> Float[Array, "n"]:
        """Weights of ∫ p(log_mass) f(log_mass) at the nodes of `rule`."""
        return rule.density_weights(self.log_prob, self.breaks())


class AbstractAgeFunction(AbstractPart):
    """p(log_age), per dex. A law of one's own is a subclass registered in `AGE_FUNCTIONS`.

    ```python
    age = AGE_FUNCTIONS["power_law"](log_age_range=(6.0, 9.0))
    age.log_prob(7.0)
    ```
    """

    log_age_range: eqx.AbstractVar[Range]

    @abc.abstractmethod
    def log_prob(self, x: Value) -> Float[Array, "..."]:
        """ln p per dex; −inf outside `log_age_range`."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*shape"]:
        """Draws of log_age (log10 yr), in an array of the given shape."""

    def breaks(self) -> tuple[Float[Array, ""], ...]:
        """Positions in log_age where the density is not smooth."""
        return ()

    def quadrature(self, rule: PanelRule) -> Float[Array, "n"]:
        """Weights of ∫ p(log_age) f(log_age) at the nodes of `rule`."""
        return rule.density_weights(self.log_prob, self.breaks())


class AbstractMassAge(AbstractPart):
    """Joint density p(log_mass, log_age), per dex². A law of one's own is a subclass registered in
    `MASS_AGE`.

    ```python
    mdd = MASS_AGE["mdd"](log_mass_range=(3.0, 6.0), log_age_range=(6.0, 9.0))
    mdd.log_prob(4.0, np.array([6.5, 8.5]))
    ```
    """

    log_mass_range: eqx.AbstractVar[Range]
    log_age_range: eqx.AbstractVar[Range]

    @abc.abstractmethod
    def log_prob(self, log_mass: Value, log_age: Value) -> Float[Array, "..."]:
        """ln p per dex²; arguments broadcast; −inf outside the ranges."""

    @abc.abstractmethod
    def sample(
        self, key: PRNGKeyArray, shape: tuple[int, ...] = ()
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        """Draws of log_mass (log10 M_sun) and log_age (log10 yr), two arrays of the given shape."""

    @abc.abstractmethod
    def quadrature(self, mass_rule: PanelRule, age_rule: PanelRule) -> Float[Array, "m t"]:
        """Weights of ∫∫ p f at the tensor nodes of the two rules."""


class AbstractExtinction(AbstractPart):
    """p(a_v | log_age), per mag. A law of one's own is a subclass registered in `EXTINCTIONS`.

    ```python
    dust = EXTINCTIONS["half_normal"](a_v_range=(0.0, 2.0))
    dust.log_prob(0.3, 7.0)
    ```
    """

    a_v_range: eqx.AbstractVar[Range]

    @abc.abstractmethod
    def log_prob(self, a_v: Value, log_age: Value) -> Float[Array, "..."]:
        """ln p per mag; arguments broadcast; −inf outside `a_v_range`."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray, log_age: Value) -> Float[Array, "..."]:
        """One draw of a_v (mag) for each log_age (log10 yr)."""

    def corners(self) -> tuple[float, ...]:
        """Fixed positions in a_v where the density is not smooth; quadrature panels end there."""
        return ()

    @property
    def linear(self) -> bool:
        """Whether the density is linear in a_v between the limits and `corners`, at every age."""
        return False

    def quadrature(self, rule: PanelRule, log_age: Float[ArrayLike, "t"]) -> Float[Array, "t a"]:
        """Weights of ∫ p(a_v | log_age) f(a_v) at the nodes of `rule`, for each log_age."""
        nodes = jnp.asarray(rule.nodes)[None, :]
        ages = jnp.asarray(log_age)[:, None]
        return jnp.asarray(rule.weights)[None, :] * jnp.exp(self.log_prob(nodes, ages))


# What `kind` may be in the tables `mass`, `age`, `mass_age` and `extinction` of a population.
MASS_FUNCTIONS = Registry[type[AbstractMassFunction]]("mass function")
AGE_FUNCTIONS = Registry[type[AbstractAgeFunction]]("age function")
MASS_AGE = Registry[type[AbstractMassAge]]("function of mass and age")
EXTINCTIONS = Registry[type[AbstractExtinction]]("extinction law")
