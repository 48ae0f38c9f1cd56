"""Densities whose logarithm is piecewise linear: closed-form normalisation and exact sampling.

Every power law in mass or age is such a density in log10 M or log10 T. The integral of one piece,

    ln ∫_a^b exp(k x) dx = k (a+b)/2 + ln(b−a) + ln sinhc(k (b−a)/2),   sinhc z = sinh z / z,

is smooth through k = 0, where the textbook form divides zero by zero.
"""

import abc
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray


def log_sinhc(z: Float[Array, "*n"]) -> Float[Array, "*n"]:
    """ln(sinh z / z), even in z, accurate and differentiable at 0 and for large |z|."""
    small = jnp.abs(z) < 1e-2
    safe = jnp.abs(jnp.where(small, 1.0, z))
    large_form = safe + jnp.log1p(-jnp.exp(-2 * safe)) - jnp.log(2 * safe)
    square = z * z
    return jnp.where(small, square / 6 - square**2 / 180 + square**3 / 2835, large_form)


def log_integral_exp(
    slope: Float[Array, "*n"], low: Float[Array, "*n"], high: Float[Array, "*n"]
) -> Float[Array, "*n"]:
    """ln ∫ exp(slope·x) dx from `low` to `high`; −inf for an empty interval."""
    width = high - low
    empty = width <= 0
    safe = jnp.where(empty, 1.0, width)
    value = slope * (low + high) / 2 + jnp.log(safe) + log_sinhc(slope * safe / 2)
    return jnp.where(empty, -jnp.inf, value)


def inverse_exp(
    u: Float[Array, "*n"],
    slope: Float[Array, "*n"],
    low: Float[Array, "*n"],
    high: Float[Array, "*n"],
) -> Float[Array, "*n"]:
    """Quantile u of the density ∝ exp(slope·x) on [low, high]."""
    width = high - low
    rising = slope > 0
    k = -jnp.abs(slope) * width
    v = jnp.where(rising, 1 - u, u)
    flat = jnp.abs(k) < 1e-6
    safe = jnp.where(flat, -1.0, k)
    fraction = jnp.where(flat, v, jnp.log1p(v * jnp.expm1(safe)) / safe)
    return jnp.where(rising, high - fraction * width, low + fraction * width)


class Segments:
    """A continuous density on [edges[0], edges[-1]], ∝ exp(slopes[i]·x) on segment i.

    **Arguments:**

    - `edges`: shape (k+1,), non-decreasing; an empty segment carries no mass.
    - `slopes`: shape (k,), d ln p / dx on each segment.
    """

    def __init__(self, edges: Float[Array, "k1"], slopes: Float[Array, "k"]):
        self.edges = edges
        self.slopes = slopes
        steps = slopes * jnp.diff(edges)
        at_edges = jnp.concatenate([jnp.zeros_like(steps[:1]), jnp.cumsum(steps)])
        # ln p on segment i is slopes[i]·x + offsets[i], up to one common constant.
        self.offsets = at_edges[:-1] - slopes * edges[:-1]
        self.log_masses = self.offsets + log_integral_exp(slopes, edges[:-1], edges[1:])
        self.log_norm = jax.scipy.special.logsumexp(self.log_masses)

    def log_prob(self, x: Float[Array, "*n"]) -> Float[Array, "*n"]:
        """Normalised log density; −inf outside the edges."""
        inside = (x >= self.edges[0]) & (x <= self.edges[-1])
        if self.slopes.shape[0] == 1:
            value = self.slopes[0] * x + self.offsets[0] - self.log_norm
        else:
            clipped = jnp.clip(x, self.edges[0], self.edges[-1])
            value = self.slopes[0] * clipped + self.offsets[0] - self.log_norm
            for i in range(1, self.slopes.shape[0]):
                piece = self.slopes[i] * clipped + self.offsets[i] - self.log_norm
                value = jnp.where(clipped >= self.edges[i], piece, value)
        return jnp.where(inside, value, -jnp.inf)

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...]) -> Float[Array, "*n"]:
        """Exact draws."""
        key_segment, key_position = jax.random.split(key)
        # A search of the cumulative shares; a categorical draw would need a number per segment.
        shares = jnp.cumsum(jnp.exp(self.log_masses - self.log_norm))
        v = jax.random.uniform(key_segment, shape, dtype=self.edges.dtype) * shares[-1]
        segment = jnp.minimum(jnp.searchsorted(shares, v, side="right"), len(shares) - 1)
        u = jax.random.uniform(key_position, shape, dtype=self.edges.dtype)
        return inverse_exp(
            u, self.slopes[segment], self.edges[:-1][segment], self.edges[1:][segment]
        )


class AbstractSegmented(eqx.Module):
    """A law whose log density is piecewise linear: it only has to say what its segments are."""

    @abc.abstractmethod
    def _segments(self) -> Segments:
        """The segments at the current parameters."""

    def log_prob(self, x: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
        """ln p per dex; −inf outside the range."""
        return self._segments().log_prob(jnp.asarray(x, float))

    def sample(self, key: PRNGKeyArray, shape: tuple[int, ...] = ()) -> Float[Array, "*shape"]:
        """Exact draws."""
        return self._segments().sample(key, shape)


def tabulated(
    log_density: Callable[[Float[Array, "m"]], Float[Array, "m"]], nodes: Float[Array, "m"]
) -> Segments:
    """Log-linear interpolation of any density on [nodes[0], nodes[-1]], to sample from.

    The relative error of the density is (node spacing)²/8 times the second derivative of its
    logarithm; callers choose the nodes so that this stays below 1e-4.
    """
    values = log_density(nodes)
    return Segments(nodes, jnp.diff(values) / jnp.diff(nodes))
