"""Distributions of the V-band extinction a_v (mag), each optionally dependent on age.

Dependence on age is switched on by `age_dependent=True`, which frees one more parameter; the
others then hold at the pivot, log_age = 7 (10 Myr).
"""

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtr, ndtri
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

from . import _hats
from ._base import EXTINCTIONS, AbstractExtinction, Range, Value
from ._parameters import Parameter
from ._quadrature import PanelRule
from .mass import LN10
from .priors import Dirichlet, Normal, Uniform

PIVOT_LOG_AGE = 7.0

_SLOPE_REASON = (
    "dust is expected to clear with age; changes by more than a factor of about three per dex, "
    "either way, are disfavoured"
)


@EXTINCTIONS.register("nodes")
class NodesExtinction(AbstractExtinction):
    """Piecewise-linear density, as in Krumholz et al. (2019) and Tang et al. (2024).

    With `age_dependent`, the shares are tilted by exp[tilt_av (log_age − 7) a_v] and renormalised.

    **Arguments:**

    - `nodes`: two or more increasing extinctions, mag; the first and the last are the bounds.
    - `p_av`: `(node,)`, a simplex: the share of the clusters carried by each node's hat
      function; by default equal shares.
    - `tilt_av`: mag⁻¹ dex⁻¹, negative if older clusters are less reddened.
    - `age_dependent`: whether `tilt_av` is a parameter.

    Raises `ValueError` for fewer than two nodes, or nodes that are negative or do not increase.

    ```python
    NodesExtinction((0.0, 0.5, 1.0, 3.0), np.array([0.4, 0.3, 0.2, 0.1])).log_prob(0.7, 7.0)
    ```
    """

    nodes: tuple[float, ...]
    p_av: Value
    tilt_av: Value
    age_dependent: bool = eqx.field(static=True)

    def __init__(
        self,
        nodes: tuple[float, ...],
        p_av: Value | None = None,
        tilt_av: Value = 0.0,
        age_dependent: bool = False,
    ):
        if len(nodes) < 2 or (np.diff(nodes) <= 0).any() or nodes[0] < 0:
            raise ValueError(
                f"extinction nodes must be at least two, non-negative and increase: {nodes}"
            )
        self.nodes = nodes
        self.p_av = np.full(len(nodes), 1.0 / len(nodes)) if p_av is None else p_av
        self.tilt_av = tilt_av
        self.age_dependent = age_dependent

    @property
    def a_v_range(self) -> Range:  # pyright: ignore[reportIncompatibleVariableOverride]
        return (self.nodes[0], self.nodes[-1])

    def parameters(self) -> tuple[Parameter, ...]:
        shares = Parameter(
            "p_av",
            "share of clusters",
            Dirichlet(concentration=1.0),
            "flat over all ways to share the clusters among the nodes",
            size=len(self.nodes),
            label=r"$p_{A_V}$",
        )
        tilt = Parameter(
            "tilt_av",
            "mag^-1 dex^-1",
            Normal(mean=0.0, sd=1.0),
            _SLOPE_REASON,
            label=r"$\beta_{A_V}$",
        )
        return (shares, tilt) if self.age_dependent else (shares,)

    def corners(self) -> tuple[float, ...]:
        return self.nodes

    @property
    def linear(self) -> bool:
        return True

    def _weights(self, log_age: Float[Array, "*n"]) -> Float[Array, "*n k"] | Float[Array, "k"]:
        shares = jnp.asarray(self.p_av, float)
        if not self.age_dependent:
            return shares
        # Shares of zero, a corner of the simplex, keep finite gradients.
        log_share = jnp.log(jnp.maximum(shares, jnp.finfo(shares.dtype).tiny))
        tilt = jnp.asarray(self.tilt_av, float) * (log_age - PIVOT_LOG_AGE)
        lever = jnp.stack([tilt * node for node in self.nodes], axis=-1)
        return jax.nn.softmax(jnp.broadcast_to(log_share, lever.shape) + lever, axis=-1)

    def log_prob(self, a_v: Value, log_age: Value) -> Float[Array, "..."]:
        x, age = jnp.broadcast_arrays(jnp.asarray(a_v, float), jnp.asarray(log_age, float))
        return _hats.log_density(x, np.asarray(self.nodes, float), self._weights(age))

    def sample(self, key: PRNGKeyArray, log_age: Value) -> Float[Array, "..."]:
        age = jnp.asarray(log_age, float)
        return _hats.sample(key, np.asarray(self.nodes, float), self._weights(age), age.shape)


@EXTINCTIONS.register("half_normal")
class HalfNormal(AbstractExtinction):
    """Half-normal on `a_v_range`.

    With `age_dependent`, the scale is sigma_av · 10^[slope_av (log_age − 7)].

    **Arguments:**

    - `a_v_range`: lower and upper limit, mag; the lower one is 0 or more.
    - `sigma_av`: scale, mag.
    - `slope_av`: change of the scale's log10 per dex of age.
    - `age_dependent`: whether `slope_av` is a parameter.

    ```python
    HalfNormal((0.0, 2.0), sigma_av=0.5).sample(jax.random.key(0), np.array([6.5, 8.0]))
    ```
    """

    a_v_range: Range
    sigma_av: Value = 0.5
    slope_av: Value = 0.0
    age_dependent: bool = eqx.field(static=True, default=False)

    def parameters(self) -> tuple[Parameter, ...]:
        scale = Parameter(
            "sigma_av",
            "mag",
            Uniform(low=0.02, high=self.a_v_range[1]),
            "flat from a scale too small to be measured to the upper bound",
            label=r"$\sigma_{A_V}$",
        )
        return (scale, _slope()) if self.age_dependent else (scale,)

    def log_prob(self, a_v: Value, log_age: Value) -> Float[Array, "..."]:
        x, age = jnp.broadcast_arrays(jnp.asarray(a_v, float), jnp.asarray(log_age, float))
        low, high = self.a_v_range
        sigma = self._scale(age)
        value = _log_gaussian(x / sigma, low / sigma, high / sigma) - jnp.log(sigma)
        return jnp.where((x >= low) & (x <= high), value, -jnp.inf)

    def quadrature(self, rule: PanelRule, log_age: Float[ArrayLike, "t"]) -> Float[Array, "t a"]:
        ages = jnp.asarray(log_age, float)
        sigma = self._scale(ages if self.age_dependent else ages[:1])[:, None]
        edges = jnp.clip(jnp.asarray(rule.edges), *self.a_v_range)[None, :] / sigma
        weights = _gaussian_weights(rule, edges, lambda z: z * sigma[..., None])
        return jnp.broadcast_to(weights, (len(ages), weights.shape[1]))

    def sample(self, key: PRNGKeyArray, log_age: Value) -> Float[Array, "..."]:
        age = jnp.asarray(log_age, float)
        low, high = self.a_v_range
        sigma = self._scale(age)
        upper, lower = ndtr(-low / sigma), ndtr(-high / sigma)
        u = jax.random.uniform(key, age.shape, dtype=age.dtype)
        return jnp.clip(-sigma * ndtri(lower + u * (upper - lower)), low, high)

    def _scale(self, log_age: Float[Array, "*n"]) -> Float[Array, "*n"]:
        sigma = jnp.asarray(self.sigma_av, float)
        if not self.age_dependent:
            return jnp.broadcast_to(sigma, log_age.shape)
        return sigma * jnp.exp(LN10 * jnp.asarray(self.slope_av, float) * (log_age - PIVOT_LOG_AGE))


@EXTINCTIONS.register("log_normal")
class LogNormal(AbstractExtinction):
    """Log-normal, truncated to `a_v_range`: log10 a_v is Gaussian.

    With `age_dependent`, the median moves by `slope_av` dex per dex of age.

    **Arguments:**

    - `a_v_range`: lower and upper limit, mag; the lower one is 0 or more.
    - `log_av_median`: log10 of the median in mag, at 10 Myr if it depends on age.
    - `sigma_log_av`: standard deviation of log10 a_v, dex.
    - `slope_av`: dex per dex of age.
    - `age_dependent`: whether `slope_av` is a parameter.

    ```python
    LogNormal((0.0, 2.0), log_av_median=-0.5, sigma_log_av=0.3).log_prob(0.4, 7.0)
    ```
    """

    a_v_range: Range
    log_av_median: Value = -0.5
    sigma_log_av: Value = 0.3
    slope_av: Value = 0.0
    age_dependent: bool = eqx.field(static=True, default=False)

    def parameters(self) -> tuple[Parameter, ...]:
        median = Parameter(
            "log_av_median",
            "log10 mag",
            Uniform(low=-2.0, high=math.log10(self.a_v_range[1])),
            "flat from a hundredth of a magnitude to the upper bound",
            label=r"$\log A_{V,{\rm med}}$",
        )
        width = Parameter(
            "sigma_log_av",
            "dex",
            Uniform(low=0.05, high=1.0),
            "flat between widths that errors would hide and a spread over all of the range",
            label=r"$\sigma_{\log A_V}$",
        )
        return (median, width, _slope()) if self.age_dependent else (median, width)

    def _standard(self, a_v: Value, log_age: Float[Array, "*n"]) -> Float[Array, "*n"]:
        median = jnp.asarray(self.log_av_median, float)
        if self.age_dependent:
            median = median + jnp.asarray(self.slope_av, float) * (log_age - PIVOT_LOG_AGE)
        safe = jnp.broadcast_to(jnp.maximum(jnp.asarray(a_v, float), 1e-12), log_age.shape)
        return (jnp.log(safe) / LN10 - median) / jnp.asarray(self.sigma_log_av, float)

    def _from_standard(
        self, z: Float[Array, "*n"], log_age: Float[Array, "*n"]
    ) -> Float[Array, "*n"]:
        return jnp.exp(LN10 * self.sigma_log_av * (z - self._standard(1.0, log_age)))

    def _limits(self, log_age: Float[Array, "*n"]) -> tuple[Float[Array, "*n"], Float[Array, "*n"]]:
        low, high = (self._standard(x, log_age) for x in self.a_v_range)
        low = low if self.a_v_range[0] > 0 else jnp.full_like(high, -jnp.inf)
        return low, high

    def log_prob(self, a_v: Value, log_age: Value) -> Float[Array, "..."]:
        x, age = jnp.broadcast_arrays(jnp.asarray(a_v, float), jnp.asarray(log_age, float))
        low, high = self.a_v_range
        inside = (x >= low) & (x <= high) & (x > 0)
        safe = jnp.where(inside, x, high)
        scale = jnp.log(safe * LN10 * jnp.asarray(self.sigma_log_av, float))
        value = _log_gaussian(self._standard(safe, age), *self._limits(age)) - scale
        return jnp.where(inside, value, -jnp.inf)

    def quadrature(self, rule: PanelRule, log_age: Float[ArrayLike, "t"]) -> Float[Array, "t a"]:
        ages = jnp.asarray(log_age, float)
        some = (ages if self.age_dependent else ages[:1])[:, None]
        edges = jnp.clip(jnp.asarray(rule.edges), *self.a_v_range)[None, :]
        shape = (len(some), len(rule.edges))
        standard = self._standard(jnp.broadcast_to(edges, shape), jnp.broadcast_to(some, shape))
        weights = _gaussian_weights(
            rule,
            standard,
            lambda z: self._from_standard(z, jnp.broadcast_to(some[..., None], z.shape)),
        )
        return jnp.broadcast_to(weights, (len(ages), weights.shape[1]))

    def sample(self, key: PRNGKeyArray, log_age: Value) -> Float[Array, "..."]:
        age = jnp.asarray(log_age, float)
        low, high = self.a_v_range
        z_low, z_high = self._limits(age)
        # The lower tail is the one that keeps its digits far from the median.
        flip = jnp.where(z_low > 0, -1.0, 1.0)
        ends = ndtr(flip * z_low), ndtr(flip * z_high)
        u = jax.random.uniform(key, age.shape, dtype=age.dtype)
        z = flip * ndtri(ends[0] + u * (ends[1] - ends[0]))
        return jnp.clip(self._from_standard(z, age), low, high)


def _log_gaussian(
    z: Float[Array, "*n"], low: Float[Array, "*n"], high: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """ln of the standard normal density truncated to [low, high]."""
    flip = low > 0
    far, near = jnp.where(flip, -high, low), jnp.where(flip, -low, high)
    safe = jnp.where(jnp.isinf(far), near - 1, far)
    share = jnp.where(jnp.isinf(far), 0.0, jnp.exp(log_ndtr(safe) - log_ndtr(near)))
    return -0.5 * z**2 - 0.5 * math.log(2 * math.pi) - log_ndtr(near) - jnp.log1p(-share)


def _gaussian_weights(
    rule: PanelRule,
    edges: Float[Array, "t e"],
    from_standard: Callable[[Float[Array, "t p q"]], Float[Array, "t p q"]],
) -> Float[Array, "t a"]:
    """Weights of ∫ p(a_v) f(a_v) where a_v is a monotone function of a truncated normal z.

    Integrated in z, however narrow p is beside the panels. `edges` are the panels' edges in z.
    """
    low, high = edges[:, :1], edges[:, -1:]
    # Beyond these the density is below exp(−36) of its largest value.
    start = -jnp.sqrt(jnp.maximum(-high, 0.0) ** 2 + 72)
    stop = jnp.sqrt(jnp.maximum(low, 0.0) ** 2 + 72)
    cuts = jnp.clip(edges, start, stop)
    middle, half = (cuts[:, 1:] + cuts[:, :-1]) / 2, (cuts[:, 1:] - cuts[:, :-1]) / 2
    nodes, weights = (jnp.asarray(a)[None, None, :] for a in np.polynomial.legendre.leggauss(40))
    z = middle[..., None] + half[..., None] * nodes
    ends = (jnp.broadcast_to(x[..., None], z.shape) for x in (low, high))
    mass = half[..., None] * weights * jnp.exp(_log_gaussian(z, *ends))
    return rule.mass_weights(from_standard(z), mass)


def _slope() -> Parameter:
    return Parameter(
        "slope_av",
        "dex per dex of age",
        Normal(mean=0.0, sd=0.5),
        _SLOPE_REASON,
        label=r"$\beta_{A_V}$",
    )
