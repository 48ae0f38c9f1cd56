"""Joint distributions of mass and age.

*Mass-dependent disruption* (MDD). A cluster loses mass as dM/dT = −M (M/100 M_sun)^−γ / T_mdd, so
its birth mass is M_i = M η with η = [1 + γ (100 M_sun/M)^γ T/T_mdd]^(1/γ). With dM_i/dM = η^(1−γ),
a Schechter birth mass function and constant formation,

    p(log M, log T) ∝ M^(α_M+1) η^(α_M+1−γ) exp(−η M/M_break) T

(Lamers et al. 2005; Tang et al. 2024).
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._base import (
    MASS_AGE,
    AbstractAgeFunction,
    AbstractMassAge,
    AbstractMassFunction,
    Range,
    Value,
)
from ._parameters import Parameter
from ._quadrature import PanelRule, panel_rule
from ._segments import tabulated
from .mass import ALPHA_M, LN10, log_m_break
from .priors import Uniform

_N_CUTS = 8


class Separable(AbstractMassAge):
    """Mass and age independent: p(log_mass) p(log_age).

    **Arguments:**

    - `mass`: the mass function.
    - `age`: the age function.

    ```python
    Separable(Schechter((3.0, 6.0)), PowerLawAge((6.0, 9.0))).log_prob(4.0, 7.0)
    ```
    """

    mass: AbstractMassFunction
    age: AbstractAgeFunction

    def __init__(self, mass: AbstractMassFunction, age: AbstractAgeFunction):
        self.mass = mass
        self.age = age

    @property
    def log_mass_range(self) -> Range:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.mass.log_mass_range

    @property
    def log_age_range(self) -> Range:  # pyright: ignore[reportIncompatibleVariableOverride]
        return self.age.log_age_range

    def parameters(self) -> tuple[Parameter, ...]:
        return (*self.mass.parameters(), *self.age.parameters())

    def values(self) -> dict[str, Array]:
        return {**self.mass.values(), **self.age.values()}

    def with_values(self, values) -> "Separable":
        return Separable(mass=self.mass.with_values(values), age=self.age.with_values(values))

    def log_prob(self, log_mass: Value, log_age: Value) -> Float[Array, "..."]:
        return self.mass.log_prob(log_mass) + self.age.log_prob(log_age)

    def sample(
        self, key: PRNGKeyArray, shape: tuple[int, ...] = ()
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        key_mass, key_age = jax.random.split(key)
        return self.mass.sample(key_mass, shape), self.age.sample(key_age, shape)

    def quadrature(self, mass_rule: PanelRule, age_rule: PanelRule) -> Float[Array, "m t"]:
        mass_weights = self.mass.quadrature(mass_rule)
        return mass_weights[:, None] * self.age.quadrature(age_rule)[None, :]


@MASS_AGE.register("mdd")
class MassDependentDisruption(AbstractMassAge):
    """MDD: Schechter birth masses, constant formation, mass loss dM/dT = −M (M/100 M_sun)^−γ /
    T_mdd (Lamers et al. 2005; Tang et al. 2024).

    `log_mass` is the mass still bound at the cluster's age.

    **Arguments:**

    - `log_mass_range`, `log_age_range`: lower and upper limit, log10 M_sun and log10 yr.
    - `alpha_m`: slope of the birth masses.
    - `log_m_break`: log10 of the break of the birth masses, M_sun.
    - `gamma_mdd`: γ, how strongly the loss depends on mass.
    - `log_t_mdd`: log10 of the disruption time of a cluster of 100 M_sun, yr. Below a tenth of the
      youngest age the density is a spike that its quadrature does not resolve.

    ```python
    mdd = MassDependentDisruption((3.0, 6.0), (6.0, 9.0), gamma_mdd=0.65, log_t_mdd=7.5)
    mdd.log_birth_mass(4.0, 8.0)
    ```
    """

    log_mass_range: Range
    log_age_range: Range
    alpha_m: Value = -2.0
    log_m_break: Value = 5.5
    gamma_mdd: Value = 0.65
    log_t_mdd: Value = 7.5

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            ALPHA_M,
            log_m_break(self.log_mass_range),
            Parameter(
                "gamma_mdd",
                "dimensionless",
                Uniform(low=0.1, high=1.2),
                "theory and observation give 0.6 to 0.7 (Lamers et al. 2005); twice that, and "
                "nearly mass-independent loss, are allowed",
                label=r"$\gamma_{\rm MDD}$",
            ),
            Parameter(
                "log_t_mdd",
                "log10 yr",
                Uniform(low=self.log_age_range[0] - 1, high=self.log_age_range[1] + 1.0),
                "flat in log time: from a tenth of the youngest age, which leaves no cluster of "
                "100 M_sun, to ten times the oldest, within which all survive",
                label=r"$\log T_{\rm MDD}$",
            ),
        )

    def log_birth_mass(self, log_mass: Value, log_age: Value) -> Float[Array, "..."]:
        """log10 of the mass before disruption, M_sun."""
        return jnp.asarray(log_mass, float) + self._ln_eta(log_mass, log_age) / LN10

    def _ln_eta(self, log_mass: Value, log_age: Value) -> Float[Array, "..."]:
        gamma = jnp.asarray(self.gamma_mdd, float)
        exponent = gamma * (2 - jnp.asarray(log_mass, float)) + log_age - self.log_t_mdd
        return jnp.log1p(gamma * jnp.exp(LN10 * exponent)) / gamma

    def _log_kernel(self, log_mass: Value, log_age: Value) -> Float[Array, "..."]:
        slope = jnp.asarray(self.alpha_m, float) + 1
        ln_eta = self._ln_eta(log_mass, log_age)
        broken = jnp.exp(LN10 * (jnp.asarray(log_mass, float) - self.log_m_break) + ln_eta)
        return LN10 * (slope * log_mass + log_age) + (slope - self.gamma_mdd) * ln_eta - broken

    def _log_norm(self) -> Float[Array, ""]:
        mass = panel_rule(*self.log_mass_range, width=0.5, order=8)
        # A small γ_mdd ends the density within a tenth of a dex of age.
        age = PanelRule(_young(panel_rule(*self.log_age_range, width=0.25, order=2).edges), 10)
        kernel = self._log_kernel(jnp.asarray(mass.nodes)[:, None], jnp.asarray(age.nodes)[None, :])
        weights = jnp.log(jnp.asarray(np.outer(mass.weights, age.weights)))
        return jax.scipy.special.logsumexp(kernel + weights)

    def log_prob(self, log_mass: Value, log_age: Value) -> Float[Array, "..."]:
        x, y = jnp.asarray(log_mass, float), jnp.asarray(log_age, float)
        (m0, m1), (t0, t1) = self.log_mass_range, self.log_age_range
        inside = (x >= m0) & (x <= m1) & (y >= t0) & (y <= t1)
        value = self._log_kernel(jnp.clip(x, m0, m1), jnp.clip(y, t0, t1)) - self._log_norm()
        return jnp.where(inside, value, -jnp.inf)

    def sample(
        self, key: PRNGKeyArray, shape: tuple[int, ...] = ()
    ) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
        key_age, key_mass = jax.random.split(key)
        rule = panel_rule(*self.log_mass_range, width=0.5, order=8)
        masses, weights = jnp.asarray(rule.nodes), jnp.log(jnp.asarray(rule.weights))

        def log_marginal(log_age: Float[Array, "t"]) -> Float[Array, "t"]:
            kernel = self._log_kernel(masses[None, :], log_age[:, None])
            return jax.scipy.special.logsumexp(kernel + weights[None, :], axis=1)

        ages = tabulated(log_marginal, jnp.linspace(*self.log_age_range, 2049)).sample(
            key_age, shape
        )
        nodes = jnp.linspace(*self.log_mass_range, 1025)

        def draw_mass(pair: tuple[PRNGKeyArray, Float[Array, ""]]) -> Float[Array, ""]:
            key, log_age = pair
            table = tabulated(lambda x: jnp.maximum(self._log_kernel(x, log_age), -650.0), nodes)
            return table.sample(key, ())

        flat = ages.ravel()
        keys = jax.random.split(key_mass, flat.shape[0])
        draws = jax.lax.map(draw_mass, (keys, flat), batch_size=1024)
        return draws.reshape(shape), ages

    def quadrature(self, mass_rule: PanelRule, age_rule: PanelRule) -> Float[Array, "m t"]:
        masses, mass_weights = jnp.asarray(mass_rule.nodes), jnp.asarray(mass_rule.weights)
        n, order = len(age_rule.edges) - 1, age_rule.order
        later = jnp.asarray(age_rule.nodes[order:])
        density = jnp.exp(self.log_prob(masses[:, None], later[None, :]))
        later_weights = density * jnp.asarray(age_rule.weights[order:])[None, :]
        # The first panel's density may be a spike at its young end.
        fine = PanelRule(_young(age_rule.edges[:2]), order)
        first = PanelRule(age_rule.edges[:2], order)
        share = jnp.exp(self.log_prob(masses[:, None], jnp.asarray(fine.nodes)[None, :]))
        share = share * jnp.asarray(fine.weights)[None, :]
        at = jnp.broadcast_to(jnp.asarray(fine.nodes), share.shape)
        first_weights = first.mass_weights(at[:, None, :], share[:, None, :])
        weights = [first_weights, later_weights] if n > 1 else [first_weights]
        return mass_weights[:, None] * jnp.concatenate(weights, axis=1)


def _young(edges: Float[np.ndarray, " e"]) -> Float[np.ndarray, " f"]:
    """Edges of panels, with the first cut into ever narrower ones towards its young end.

    Where disruption takes much less time than the youngest age, the density falls by a factor of e
    within 0.002 dex.
    """
    cuts = edges[0] + (edges[1] - edges[0]) * 2.0 ** -np.arange(_N_CUTS, 0.0, -1.0)
    return np.concatenate([edges[:1], cuts, edges[1:]])
