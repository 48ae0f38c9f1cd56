"""Piecewise-linear densities as mixtures of normalised hat functions.

Node k carries the triangle that is 1 at the node and 0 at its neighbours, divided by its area. Any
non-negative mixture with weights that sum to one is a normalised piecewise-linear density, and
every piecewise-linear density is such a mixture: the weights are a simplex, sampling is exact.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray


def hat_areas(nodes: np.ndarray) -> np.ndarray:
    """Area of each hat function, shape (k,)."""
    gaps = np.diff(nodes)
    return (np.concatenate([[0.0], gaps]) + np.concatenate([gaps, [0.0]])) / 2


def log_density(
    x: Float[Array, "*n"], nodes: np.ndarray, weights: Float[Array, "*n k"] | Float[Array, "k"]
) -> Float[Array, "*n"]:
    """ln of the mixture at x; −inf outside the nodes.

    `weights`: shape (k,), or x.shape + (k,) when each x has its own.
    """
    heights = weights / jnp.broadcast_to(jnp.asarray(hat_areas(nodes)), weights.shape)
    # A sum over triangles vectorises; a search for the cell and two gathers do not.
    density = jnp.zeros_like(x)
    for k in range(len(nodes)):
        hat = jnp.ones_like(x)
        if k > 0:
            hat = jnp.minimum(hat, (x - nodes[k - 1]) / (nodes[k] - nodes[k - 1]))
        if k < len(nodes) - 1:
            hat = jnp.minimum(hat, (nodes[k + 1] - x) / (nodes[k + 1] - nodes[k]))
        density = density + jnp.maximum(hat, 0.0) * heights[..., k]
    inside = (x >= nodes[0]) & (x <= nodes[-1]) & (density > 0)
    return jnp.where(inside, jnp.log(jnp.where(inside, density, 1.0)), -jnp.inf)


def sample(
    key: PRNGKeyArray,
    nodes: np.ndarray,
    weights: Float[Array, "*w k"],
    shape: tuple[int, ...],
) -> Float[Array, "*n"]:
    """Exact draws: choose a hat, then its side, then its position."""
    key_hat, key_side, key_position = jax.random.split(key, 3)
    hat = jax.random.categorical(key_hat, jnp.log(weights), axis=-1, shape=shape)
    gaps = np.diff(nodes)
    left = jnp.asarray(np.concatenate([[0.0], gaps]))[hat]
    right = jnp.asarray(np.concatenate([gaps, [0.0]]))[hat]
    dtype = left.dtype
    go_left = jax.random.uniform(key_side, shape, dtype=dtype) * (left + right) < left
    away = 1 - jnp.sqrt(jax.random.uniform(key_position, shape, dtype=dtype))
    return jnp.asarray(nodes)[hat] + jnp.where(go_left, -left, right) * away
