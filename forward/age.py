"""Cluster age functions, as densities in log10 of the age in yr.

dN/dT ∝ T^α_T is dN/dlog T ∝ T^(α_T+1); constant formation without disruption is α_T = 0.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from . import _hats
from ._base import AGE_FUNCTIONS, AbstractAgeFunction, Range, Value
from ._parameters import Parameter
from ._segments import AbstractSegmented, Segments
from .mass import LN10
from .priors import Dirichlet, Normal, Uniform

ALPHA_T = Parameter(
    "alpha_t",
    "dimensionless",
    Normal(mean=-0.8, sd=0.6, low=-3.0, high=1.0),
    "published slopes of cluster age functions lie between 0 and −1.2 "
    "(compilation of Krumholz, McKee & Bland-Hawthorn 2019)",
    label=r"$\alpha_T$",
)


@AGE_FUNCTIONS.register("constant")
class Constant(AbstractSegmented, AbstractAgeFunction):
    """Constant formation, no disruption: flat in age, dN/dlog T ∝ T.

    `log_age_range`: lower and upper limit, log10 yr.

    ```python
    Constant((6.0, 9.0)).log_prob(8.0)
    ```
    """

    log_age_range: Range

    def parameters(self) -> tuple[Parameter, ...]:
        return ()

    def _segments(self) -> Segments:
        return Segments(jnp.asarray(self.log_age_range, float), jnp.asarray([LN10], float))


@AGE_FUNCTIONS.register("power_law")
class PowerLawAge(AbstractSegmented, AbstractAgeFunction):
    """dN/dT ∝ T^alpha_t between the limits of `log_age_range`.

    **Arguments:**

    - `log_age_range`: lower and upper limit, log10 yr.
    - `alpha_t`: slope; 0 is constant formation without disruption.

    ```python
    PowerLawAge((6.0, 9.0), alpha_t=-0.8).sample(jax.random.key(0), (100,))
    ```
    """

    log_age_range: Range
    alpha_t: Value = -0.5

    def parameters(self) -> tuple[Parameter, ...]:
        return (ALPHA_T,)

    def _segments(self) -> Segments:
        slope = LN10 * (jnp.asarray(self.alpha_t, float) + 1)
        return Segments(jnp.asarray(self.log_age_range, float), slope[None])


@AGE_FUNCTIONS.register("mid")
class MassIndependentDisruption(AbstractSegmented, AbstractAgeFunction):
    """MID: dN/dT flat up to T_mid = 10^log_t_mid, then ∝ T^alpha_t (Tang et al. 2024).

    **Arguments:**

    - `log_age_range`: lower and upper limit, log10 yr.
    - `log_t_mid`: log10 of the age at which disruption sets in, yr.
    - `alpha_t`: slope above that age.

    ```python
    MassIndependentDisruption((6.0, 9.0), log_t_mid=7.5, alpha_t=-1.0).log_prob(8.0)
    ```
    """

    log_age_range: Range
    log_t_mid: Value = 7.5
    alpha_t: Value = -1.0

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter(
                "log_t_mid",
                "log10 yr",
                Uniform(low=self.log_age_range[0], high=self.log_age_range[1]),
                "flat in log age over the fitted range: disruption may set in anywhere in it",
                label=r"$\log T_{\rm mid}$",
            ),
            ALPHA_T,
        )

    def breaks(self) -> tuple[Float[Array, ""], ...]:
        return (jnp.clip(jnp.asarray(self.log_t_mid, float), *self.log_age_range),)

    def _segments(self) -> Segments:
        low, high = self.log_age_range
        edges = jnp.stack([jnp.asarray(low, float), self.breaks()[0], jnp.asarray(high, float)])
        late = LN10 * (jnp.asarray(self.alpha_t, float) + 1)
        return Segments(edges, jnp.stack([jnp.asarray(LN10, float), late]))


@AGE_FUNCTIONS.register("piecewise_linear")
class PiecewiseLinearAge(AbstractAgeFunction):
    """A free age function: dN/dlog T linear in log T between nodes.

    **Arguments:**

    - `nodes`: two or more increasing log ages, log10 yr; the first and the last are the bounds.
    - `p_age`: `(node,)`, a simplex: the share of the clusters carried by each node's hat
      function; by default equal shares.

    Raises `ValueError` for fewer than two nodes, or nodes that do not increase.

    ```python
    PiecewiseLinearAge((6.0, 7.0, 8.0, 9.0), np.array([0.1, 0.2, 0.3, 0.4])).log_prob(7.5)
    ```
    """

    nodes: tuple[float, ...]
    p_age: Value

    def __init__(self, nodes: tuple[float, ...], p_age: Value | None = None):
        if len(nodes) < 2 or (np.diff(nodes) <= 0).any():
            raise ValueError(f"age nodes must be at least two and increase, got {nodes}")
        self.nodes = nodes
        self.p_age = np.full(len(nodes), 1.0 / len(nodes)) if p_age is None else p_age

    @property
    def log_age_range(self) -> Range:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self.nodes[0], self.nodes[-1])

    def parameters(self) -> tuple[Parameter, ...]:
        return (
            Parameter(
                "p_age",
                "share of clusters",
                Dirichlet(concentration=1.0),
                "flat over all ways to share the clusters among the nodes",
                size=len(self.nodes),
                label=r"$p_{\rm age}$",
            ),
        )

    def breaks(self) -> tuple[Float[Array, ""], ...]:
        return tuple(jnp.asarray(x, float) for x in self.nodes[1:-1])

    def log_prob(self, x: Value) -> Float[Array, "..."]:
        x = jnp.asarray(x, float)
        return _hats.log_density(x, np.asarray(self.nodes, float), jnp.asarray(self.p_age, float))

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*shape"]:
        weights = jnp.asarray(self.p_age, float)
        return _hats.sample(key, np.asarray(self.nodes, float), weights, shape)
