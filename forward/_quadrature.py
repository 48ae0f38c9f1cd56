"""Fixed quadrature in θ that stays exact when a density has a movable kink.

p_sel is known at fixed Gauss-Legendre nodes of a composite rule. Where a density is smooth, its
weight at a node is (rule weight)·p(node). Where it has a break inside a panel (T_mid, a mass
break), that would cost accuracy that jumps as the break moves; there the weights are those of

    ∫ p(x) f(x) dx ≈ Σ_j f(x_j) ∫ p(x) ℓ_j(x) dx

with ℓ_j the panel's Lagrange polynomials and the right-hand integrals split at the break. The
nodes never move, so f = p_sel is evaluated once.
"""

import itertools
from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class PanelRule(eqx.Module):
    """Composite Gauss-Legendre rule: `order` nodes in each panel between consecutive `edges`."""

    edges: np.ndarray
    order: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        if self.edges.ndim != 1 or len(self.edges) < 2 or (np.diff(self.edges) <= 0).any():
            raise ValueError(f"panel edges must increase, got {self.edges}")
        if self.order < 2:
            raise ValueError(f"order = {self.order}; a panel needs at least 2 nodes")

    @property
    def nodes(self) -> Float[np.ndarray, "n"]:
        x, _ = np.polynomial.legendre.leggauss(self.order)
        middle, half = self._panels()
        return (middle[:, None] + half[:, None] * x).ravel()

    @property
    def weights(self) -> Float[np.ndarray, "n"]:
        _, w = np.polynomial.legendre.leggauss(self.order)
        _, half = self._panels()
        return (half[:, None] * w).ravel()

    def _panels(self) -> tuple[np.ndarray, np.ndarray]:
        return (self.edges[1:] + self.edges[:-1]) / 2, (self.edges[1:] - self.edges[:-1]) / 2

    def density_weights(
        self,
        log_density: Callable[[Float[Array, "*m"]], Float[Array, "*m"]],
        breaks: tuple[Float[Array, ""], ...] = (),
    ) -> Float[Array, "n"]:
        """Weights W with Σ W_j f(x_j) ≈ ∫ exp(log_density) f dx.

        `breaks`: positions, in increasing order, where the density is continuous but not smooth.
        """
        if not breaks:
            return jnp.asarray(self.weights) * jnp.exp(log_density(jnp.asarray(self.nodes)))
        low, high = jnp.asarray(self.edges[:-1]), jnp.asarray(self.edges[1:])
        cuts = jnp.stack([low, *(jnp.clip(b, low, high) for b in breaks), high], axis=1)
        fine_x, fine_w = np.polynomial.legendre.leggauss(self.order + 4)
        middle = (cuts[:, 1:] + cuts[:, :-1]) / 2
        half = (cuts[:, 1:] - cuts[:, :-1]) / 2
        x = middle[..., None] + half[..., None] * jnp.asarray(fine_x)[None, None, :]
        mass = half[..., None] * jnp.asarray(fine_w)[None, None, :] * jnp.exp(log_density(x))
        panels = (len(self.edges) - 1, -1)
        return self.mass_weights(x.reshape(panels), mass.reshape(panels))

    def mass_weights(
        self, x: Float[Array, "*m p q"], mass: Float[Array, "*m p q"]
    ) -> Float[Array, "*m n"]:
        """Weights W with Σ_j W_j f(x_j) ≈ Σ mass f(x), for masses at points x of panel p."""
        shape = (*(1,) * (x.ndim - 2), -1, 1)
        middle, half = (jnp.asarray(a).reshape(shape) for a in self._panels())
        local = (x - middle) / half
        powers = jnp.stack([local**k for k in range(self.order)], axis=-1)
        moments = jnp.einsum("...pq,...pqk->...pk", mass, powers)
        weights = jnp.einsum("...pk,kj->...pj", moments, jnp.asarray(self._lagrange_coefficients()))
        return weights.reshape((*x.shape[:-2], -1))

    def _lagrange_coefficients(self) -> Float[np.ndarray, "k j"]:
        """Coefficient of ξ^k in the Lagrange polynomial of node j, ξ in [−1, 1]."""
        nodes, _ = np.polynomial.legendre.leggauss(self.order)
        return np.linalg.inv(np.vander(nodes, increasing=True))


def panel_rule(low: float, high: float, width: float, order: int, through: tuple = ()) -> PanelRule:
    """Equal panels no wider than `width` between `low`, the points of `through`, and `high`."""
    corners = sorted({low, high, *(float(x) for x in through if low < x < high)})
    edges = [corners[0]]
    for a, b in itertools.pairwise(corners):
        n = max(1, int(np.ceil((b - a) / width - 1e-9)))
        edges.extend(np.linspace(a, b, n + 1)[1:])
    return PanelRule(edges=np.asarray(edges, float), order=order)
