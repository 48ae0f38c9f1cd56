"""Properties that decide a cluster's detection and are no part of θ: size and surroundings.

A network may take them as inputs. A fit does not know them, so the operator averages the network's
probability over a stated distribution of them.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...simulate.library.radius import AbstractRadiusLaw, FlatRadius, MassRadius

R_EFF, BACKGROUND = "log_r_eff_pc", "log_background"
NUISANCES = (R_EFF, BACKGROUND)


class Nuisance(eqx.Module):
    """Nodes and weights of a distribution of nuisance properties, in the network's units.

    **Arguments:**

    - `names`: names of the properties: `log_r_eff_pc`, log10 of the half-light radius in pc, and
      `log_background`, log10 of the local sky in V in electrons/s/pixel.
    - `values`: `(node, property)`, the nodes.
    - `weights`: `(node,)`, positive, normalised here.
    - `mass_radius`: None, or slope and scatter (dex) of log r = slope log M + N(0, scatter); the
      weights then are those of the measure to which this density is applied, at every mass anew.

    Raises `ValueError` for shapes or weights that do not fit.

    ```python
    Nuisance(("log_r_eff_pc",), np.log10([[1.0], [3.0], [10.0]]), np.array([0.2, 0.6, 0.2]))
    ```
    """

    names: tuple[str, ...] = eqx.field(static=True)
    values: Float[Array, "q k"] | Float[np.ndarray, "q k"]
    weights: Float[Array, "q"] | Float[np.ndarray, "q"]
    mass_radius: tuple[float, float] | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        unknown = [name for name in self.names if name not in NUISANCES]
        if unknown or not self.names:
            raise ValueError(
                f"nuisance properties are {self.names}; expected some of {', '.join(NUISANCES)}"
            )
        if self.values.shape != (len(self.weights), len(self.names)) or not len(self.weights):
            raise ValueError(
                f"values have shape {self.values.shape} and weights {self.weights.shape}; expected "
                f"(node, {len(self.names)}) and (node,)"
            )
        if self.mass_radius is not None and not (R_EFF in self.names and self.mass_radius[1] > 0):
            raise ValueError(
                f"mass_radius is {self.mass_radius}; it needs {R_EFF} among the names and a "
                "positive scatter"
            )

    def weights_at(self, log_mass: Float[Array, "n"]) -> Float[Array, "n q"]:
        """Weights of the nodes for clusters of these masses; each row has the sum 1."""
        weights = jnp.broadcast_to(
            jnp.asarray(self.weights, log_mass.dtype)[None], (len(log_mass), len(self.weights))
        )
        if self.mass_radius is not None:
            slope, scatter = self.mass_radius
            log_r = jnp.asarray(self.values[:, self.names.index(R_EFF)], log_mass.dtype)
            away = (log_r[None] - slope * log_mass[:, None]) / scatter
            # The nearest node has weight 1 before normalisation, however far it is.
            away = away**2 - jnp.min(away**2, axis=1, keepdims=True)
            weights = weights * jnp.exp(-0.5 * away)
        return weights / weights.sum(axis=1, keepdims=True)


def radius_distribution(
    radius: AbstractRadiusLaw, known: tuple[float, float], n_nodes: int = 16
) -> Nuisance:
    """A distribution of half-light radii as nodes and weights.

    **Arguments:**

    - `radius`: the law of the radii. A `MassRadius` needs both `low` and `high`; radii beyond them
      are cut off here and not moved to the limits. Of a law of one's own, which must not depend
      on mass, the nodes are the middles of 4 `n_nodes` equal shares.
    - `known`: smallest and largest radius (pc) of the network's training data.
    - `n_nodes`: Gauss-Legendre nodes, where radii are not whole numbers of pc.

    Raises `ValueError` for radii that the network does not know, and for a law of one's own that
    depends on mass.

    ```python
    radius_distribution(FlatRadius(1.0, 10.0, whole=True), known=(1.0, 10.0))
    ```
    """
    if not isinstance(radius, FlatRadius | MassRadius):
        return _of_own_law(radius, known, 4 * n_nodes)
    low, high = radius.low, radius.high
    if low is None or high is None or low < known[0] - 1e-9 or high > known[1] + 1e-9:
        raise ValueError(
            f"radii from {low} to {high} pc; the network knows {known[0]:g} to {known[1]:g} pc: "
            "give low and high within"
        )
    if isinstance(radius, FlatRadius) and radius.whole:
        nodes = np.arange(low, high + 0.5)
        weights = np.ones(len(nodes))
    elif low == high:
        nodes, weights = np.array([low]), np.ones(1)
    else:
        t, weights = np.polynomial.legendre.leggauss(n_nodes)
        if isinstance(radius, FlatRadius):
            nodes = low + (high - low) * (t + 1) / 2
        else:
            nodes = 10 ** (np.log10(low) + np.log10(high / low) * (t + 1) / 2)
    relation = None
    if isinstance(radius, MassRadius):
        relation = (radius.slope, radius.scatter)
    return Nuisance((R_EFF,), np.log10(nodes)[:, None], weights, relation)


def _of_own_law(radius: AbstractRadiusLaw, known: tuple[float, float], n_nodes: int) -> Nuisance:
    shares = (np.arange(n_nodes) + 0.5) / n_nodes
    nodes, heavy = (radius.draw(shares, np.full(n_nodes, log_mass)) for log_mass in (2.0, 7.0))
    if not np.array_equal(nodes, heavy):
        raise ValueError(
            f"radii of {type(radius).__name__} depend on mass; the average over radii of a law of "
            "one's own is that of one distribution: expected a law that leaves log_mass alone, or "
            "`mass_radius`"
        )
    if nodes.min() < known[0] - 1e-9 or nodes.max() > known[1] + 1e-9:
        raise ValueError(
            f"radii from {nodes.min():g} to {nodes.max():g} pc; the network knows {known[0]:g} to "
            f"{known[1]:g} pc: narrow the law"
        )
    return Nuisance((R_EFF,), np.log10(nodes)[:, None], np.ones(n_nodes))


def background_distribution(
    log_background: Float[np.ndarray, "n"],
    n_nodes: int = 12,
    weight: Float[np.ndarray, "n"] | None = None,
) -> Nuisance:
    """The distribution of local skies of a sample, as nodes at the middles of equal shares.

    **Arguments:**

    - `log_background`: `(n,)`, log10 of electrons/s/pixel in V.
    - `n_nodes`: number of shares. `weight`: `(n,)`, of the skies; by default 1.

    ```python
    background_distribution(np.log10(table.background))
    ```
    """
    shares = (np.arange(n_nodes) + 0.5) / n_nodes
    method = "linear" if weight is None else "inverted_cdf"
    nodes = np.quantile(log_background, shares, weights=weight, method=method)
    return Nuisance((BACKGROUND,), nodes[:, None], np.ones(n_nodes))


def independent(*parts: Nuisance) -> Nuisance:
    """The joint distribution of independent ones: every combination of their nodes.

    ```python
    independent(
        radius_distribution(FlatRadius(1.0, 10.0), known=(1.0, 10.0)),
        background_distribution(np.log10(table.background)),
    )
    ```
    """
    values, weights = parts[0].values, np.asarray(parts[0].weights)
    for part in parts[1:]:
        n, m = len(weights), len(part.weights)
        values = np.concatenate(
            [np.repeat(values, m, axis=0), np.tile(np.asarray(part.values), (n, 1))], axis=1
        )
        weights = np.repeat(weights, m) * np.tile(np.asarray(part.weights), n)
    relations = [part.mass_radius for part in parts if part.mass_radius is not None]
    names = tuple(name for part in parts for name in part.names)
    return Nuisance(names, np.asarray(values), weights, relations[0] if relations else None)
