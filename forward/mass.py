"""Cluster mass functions, as densities in log10 of the mass in M_sun.

dN/dM ∝ M^α_M is dN/dlog M ∝ M^(α_M+1).
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._base import MASS_FUNCTIONS, AbstractMassFunction, Range, Value
from ._parameters import Parameter
from ._quadrature import panel_rule
from ._segments import AbstractSegmented, Segments, tabulated
from .priors import Normal, Uniform

LN10 = math.log(10.0)

ALPHA_M = Parameter(
    "alpha_m",
    "dimensionless",
    Normal(mean=-2.0, sd=0.5, low=-4.0, high=0.0),
    "published cluster mass functions scatter around −2 by 0.2 "
    "(compilation of Krumholz, McKee & Bland-Hawthorn 2019); twice that, and more, is allowed",
    label=r"$\alpha_M$",
)


def log_m_break(log_mass_range: Range) -> Parameter:
    """The break mass, flat over the part of the range that data can speak of."""
    low, high = log_mass_range
    return Parameter(
        "log_m_break",
        "log10 M_sun",
        Uniform(low=low + 0.3 * (high - low), high=high + 1.0),
        "flat in log mass from a third of the way up the fitted range to a decade above it, "
        "where the break is too high to be seen and the law is a pure power law",
        label=r"$\log M_{\rm break}$",
    )


@MASS_FUNCTIONS.register("power_law")
class PowerLaw(AbstractSegmented, AbstractMassFunction):
    """dN/dM ∝ M^alpha_m between the limits of `log_mass_range`.

    **Arguments:**

    - `log_mass_range`: lower and upper limit, log10 M_sun.
    - `alpha_m`: slope.

    ```python
    PowerLaw((3.0, 6.0), alpha_m=-2.0).log_prob(4.0)
    ```
    """

    log_mass_range: Range
    alpha_m: Value = -2.0

    def parameters(self) -> tuple[Parameter, ...]:
        return (ALPHA_M,)

    def _segments(self) -> Segments:
        slope = LN10 * (jnp.asarray(self.alpha_m, float) + 1)
        return Segments(jnp.asarray(self.log_mass_range, float), slope[None])


@MASS_FUNCTIONS.register("schechter")
class Schechter(AbstractMassFunction):
    """dN/dM ∝ M^alpha_m exp(−M / 10^log_m_break) between the limits of `log_mass_range`
    (Schechter 1976).

    **Arguments:**

    - `log_mass_range`: lower and upper limit, log10 M_sun.
    - `alpha_m`: slope far below the break.
    - `log_m_break`: log10 of the break mass, M_sun.

    ```python
    Schechter((3.0, 6.0), alpha_m=-2.0, log_m_break=5.2).sample(jax.random.key(0), (100,))
    ```
    """

    log_mass_range: Range
    alpha_m: Value = -2.0
    log_m_break: Value = 5.5

    def parameters(self) -> tuple[Parameter, ...]:
        return (ALPHA_M, log_m_break(self.log_mass_range))

    def _log_kernel(self, log_mass: Float[Array, "*n"]) -> Float[Array, "*n"]:
        slope, top = jnp.asarray(self.alpha_m, float) + 1, jnp.asarray(self.log_m_break, float)
        return LN10 * slope * log_mass - jnp.exp(LN10 * (log_mass - top))

    def log_prob(self, x: Value) -> Float[Array, "..."]:
        low, high = self.log_mass_range
        x = jnp.asarray(x, float)
        rule = panel_rule(low, high, width=0.25, order=10)
        log_norm = jax.scipy.special.logsumexp(
            jnp.log(jnp.asarray(rule.weights)) + self._log_kernel(jnp.asarray(rule.nodes))
        )
        inside = (x >= low) & (x <= high)
        return jnp.where(inside, self._log_kernel(jnp.clip(x, low, high)) - log_norm, -jnp.inf)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*shape"]:
        nodes = jnp.linspace(*self.log_mass_range, 4097)
        # Far above the break the kernel underflows any float; a floor keeps slopes finite.
        table = tabulated(lambda x: jnp.maximum(self._log_kernel(x), -650.0), nodes)
        return table.sample(key, shape)


@MASS_FUNCTIONS.register("double_power_law")
class DoublePowerLaw(AbstractSegmented, AbstractMassFunction):
    """dN/dM ∝ M^alpha_m below 10^log_m_break and M^alpha_m_high above it, continuous
    (as fitted to M51, Gieles 2009).

    **Arguments:**

    - `log_mass_range`: lower and upper limit, log10 M_sun.
    - `alpha_m`, `alpha_m_high`: slopes below and above the break.
    - `log_m_break`: log10 of the mass of the break, M_sun.

    ```python
    DoublePowerLaw((3.0, 6.0), -2.0, log_m_break=5.0, alpha_m_high=-3.0).log_prob(5.5)
    ```
    """

    log_mass_range: Range
    alpha_m: Value = -2.0
    log_m_break: Value = 5.0
    alpha_m_high: Value = -3.0

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            ALPHA_M,
            log_m_break(self.log_mass_range),
            Parameter(
                "alpha_m_high",
                "dimensionless",
                Normal(mean=-3.0, sd=1.0, low=-7.0, high=0.0),
                "steeper than the low-mass slope by about one, as reported where a second slope "
                "is fitted (e.g. M51, Gieles 2009), with room for no break at all",
                label=r"$\alpha_{M,{\rm high}}$",
            ),
        )

    def breaks(self) -> tuple[Float[Array, ""], ...]:
        return (jnp.clip(jnp.asarray(self.log_m_break, float), *self.log_mass_range),)

    def _segments(self) -> Segments:
        low, high = self.log_mass_range
        edges = jnp.stack([jnp.asarray(low, float), self.breaks()[0], jnp.asarray(high, float)])
        slopes = jnp.stack(
            [jnp.asarray(self.alpha_m, float) + 1, jnp.asarray(self.alpha_m_high, float) + 1]
        )
        return Segments(edges, LN10 * slopes)
