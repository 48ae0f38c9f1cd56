"""A population: mass × age (or joint) × extinction × total number."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..selection import Box
from ._base import AbstractExtinction, AbstractMassAge, AbstractPart, Value
from ._parameters import Parameter
from .mass import LN10
from .priors import Uniform


class Population(AbstractPart):
    """Rate density λ(θ) = N p(log_mass, log_age) p(a_v | log_age) inside `box`.

    **Arguments:**

    - `mass_age`: law of mass and age, `Separable` or a joint one.
    - `extinction`: law of the extinction, which may depend on age.
    - `log_n`: log10 of the expected number of clusters inside the bounds, catalogued or not.

    ```python
    population = Population(
        mass_age=Separable(Schechter((3.0, 6.0)), PowerLawAge((6.0, 9.0))),
        extinction=HalfNormal((0.0, 2.0)),
        log_n=2.5,
    )
    theta = population.sample(jax.random.key(0), 100)  # (100, 3)
    steeper = population.with_values({"alpha_m": -2.3})
    ```
    """

    mass_age: AbstractMassAge
    extinction: AbstractExtinction
    log_n: Value = 3.0

    @property
    def box(self) -> Box:
        """The bounds of (log_mass, log_age, a_v) inside which the population is defined."""
        return Box(
            self.mass_age.log_mass_range, self.mass_age.log_age_range, self.extinction.a_v_range
        )

    def parameters(self) -> tuple[Parameter, ...]:
        number = Parameter(
            "log_n",
            "log10 number",
            Uniform(low=0.0, high=9.0),
            "flat in log number, the scale-free choice, up to more clusters than a galaxy has",
            label=r"$\log N$",
        )
        return (*self.mass_age.parameters(), *self.extinction.parameters(), number)

    def values(self) -> dict[str, Array]:
        number = {"log_n": jnp.asarray(self.log_n, float)}
        return {**self.mass_age.values(), **self.extinction.values(), **number}

    def with_values(self, values: Mapping[str, Value]) -> "Population":
        """A copy with the named parameters replaced.

        Raises `KeyError` for a name that no part of this population has.
        """
        known = {p.name for p in self.parameters()}
        if unknown := sorted(set(values) - known):
            raise KeyError(f"no parameter {unknown} in this population; it has {sorted(known)}")
        return Population(
            mass_age=self.mass_age.with_values(values),
            extinction=self.extinction.with_values(values),
            log_n=values.get("log_n", self.log_n),
        )

    def log_prob(self, log_mass: Value, log_age: Value, a_v: Value) -> Float[Array, "..."]:
        """ln p(θ), per dex² mag, normalised inside the bounds; arguments broadcast."""
        shape = self.extinction.log_prob(a_v, log_age)
        return self.mass_age.log_prob(log_mass, log_age) + shape

    def log_rate(self, log_mass: Value, log_age: Value, a_v: Value) -> Float[Array, "..."]:
        """ln λ(θ): expected number of clusters per dex² mag."""
        return LN10 * jnp.asarray(self.log_n, float) + self.log_prob(log_mass, log_age, a_v)

    def sample(self, key: PRNGKeyArray, n: int) -> Float[Array, "n 3"]:
        """n draws of θ, columns (log_mass, log_age, a_v)."""
        key_mass_age, key_a_v = jax.random.split(key)
        log_mass, log_age = self.mass_age.sample(key_mass_age, (n,))
        a_v = self.extinction.sample(key_a_v, log_age)
        return jnp.stack([log_mass, log_age, a_v], axis=-1)


def flat_names(parameters: tuple[Parameter, ...]) -> list[str]:
    """One name per scalar: a vector parameter `p_av` of length k gives p_av_0 … p_av_{k−1}.

    ```python
    flat_names(population.parameters())  # ["alpha_m", "log_m_break", …, "log_n"]
    ```
    """
    names = []
    for p in parameters:
        names += [f"{p.name}_{i}" for i in range(p.size)] if p.size else [p.name]
    return names


def flat_values(population: Population) -> dict[str, float]:
    """The population's parameters as scalars, by flat name.

    ```python
    flat_values(population)["log_n"]  # 2.0
    ```
    """
    flat = {}
    for p in population.parameters():
        value = np.asarray(population.values()[p.name])
        flat |= (
            {f"{p.name}_{i}": float(v) for i, v in enumerate(value)}
            if p.size
            else {p.name: float(value)}
        )
    return flat
