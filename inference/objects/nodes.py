"""Objects whose rows of a library stand on the nodes of a rule.

With θ_c the nodes of a composite Gauss-Legendre rule, ℓ_c the Lagrange polynomials of its panels,
and r a density near to λ,

    Σ_j w_ij λ(θ_j) ≈ Σ_c A_ic ρ_c,
    A_ic = Σ_j w_ij r(θ_j) ℓ_c(θ_j),    ρ_c = W_c(λ) / (v_c r(θ_c)),

with v_c the rule's own weight of a node and W_c(λ) = ∫ λ ℓ_c dθ that of the law's quadrature, which
knows where the law has a kink. Where λ is smooth ρ_c is λ/r at the node, and the sum exact where
λ/r is a polynomial of the rule's order in each panel; elsewhere ρ is its projection onto those.
Either way the error has the mean 0 over a panel, so that the errors of many objects cancel, and λ
is taken at the nodes, whatever the number of rows behind them.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from starcensus.theta import AXES, Box

from ...forward import Population
from ...forward._quadrature import PanelRule, panel_rule
from ._base import ObjectSamples
from ._sparse import Sparse
from .rows import SLOPES, RowSamples

# Nodes with less than this share of an object's largest are left out.
_NEGLIGIBLE = 1e-8
_LEAST = 1e-300
# Rows with less than this of an object's largest weight, whose square is no number but 0.
_LEAST_WEIGHT = 1e-100
# Rows that are deposited at a time: what they need stays below a gigabyte.
_ROWS = 1 << 21
# Objects for which the panels of `NodeSettings` are meant.
_OF_PANELS = 20_000
# Panels of a finer rule are so many times as wide.
FINER = 0.7

type Rules = tuple[PanelRule, PanelRule, PanelRule]


class NodeSamples(eqx.Module):
    """A sparse matrix of objects by nodes of θ, one value after another.

    **Arguments:**

    - `rules`: edges and order of the rules along the axes of θ; a node's number counts the tensor
      of their nodes.
    - `slopes`: of ln r along the axes.
    - `log_scale`: `(n,)`, ln of what each object's values are to be multiplied with.
    - `value`: A_ic of `(n, nodes)`; `square` the same for the squares of the rows' weights.
    - `mask`: `(n,)`, which are objects; the others are padding.
    """

    rules: tuple[tuple[tuple[float, ...], int], ...] = eqx.field(static=True)
    slopes: tuple[float, float, float] = eqx.field(static=True)
    log_scale: Float[Array, " n"] | Float[np.ndarray, " n"]
    value: Sparse
    square: Sparse
    mask: Bool[Array, " n"] | Bool[np.ndarray, " n"]

    @property
    def n_objects(self) -> int:
        return int(np.asarray(self.mask).sum())

    @property
    def n_values(self) -> int:
        return len(self.value.forward.value)

    def padded(self, n_values: int, n_objects: int) -> "NodeSamples":
        """The same in arrays of these sizes, so that one program serves many catalogues.

        Padding is of objects that do not count, with the value 1 at the first node: one of these at
        least must fit, and each must get a value. Raises `ValueError` for sizes that are too small.

        ```python
        nodes.padded(1 << 15, 256).n_objects
        ```
        """
        from scipy.sparse import csr_matrix

        n, more = len(self.mask), n_values - self.n_values
        if n_objects <= n or more < n_objects - n:
            raise ValueError(
                f"cannot pad {n} objects with {self.n_values} values to {n_objects} with "
                f"{n_values}; expected one more object at least, and a value for each that is added"
            )
        ends = np.minimum(np.arange(n_objects - n) + 1, more)
        ends[-1] = more

        def longer(matrix: Sparse) -> Sparse:
            rows = matrix.forward
            starts = np.concatenate([rows.starts, rows.starts[-1] + ends])
            column = np.concatenate([rows.column, np.zeros(more, np.int32)])
            value = np.concatenate([rows.value, np.ones(more)])
            size = n_objects, len(matrix.backward.starts) - 1
            return Sparse.of(csr_matrix((value, column, starts), size))

        return NodeSamples(
            self.rules,
            self.slopes,
            np.concatenate([self.log_scale, np.zeros(n_objects - n)]),
            longer(self.value),
            longer(self.square),
            np.arange(n_objects) < n,
        )

    def log_terms(self, population: Population) -> Float[Array, " n"]:
        """ln Σ_c A_ic ρ_c of every object; −inf for one that the population cannot produce.

        Polynomials fall below 0 where p/r falls by much more than its own size in a panel, which
        counts as nothing too: the rows would say next to nothing.
        """
        top, at = self._ratio(population)
        total = self.value @ at
        some = total > _LEAST
        # The second `where` keeps gradients finite.
        log_total = jnp.where(some, jnp.log(jnp.where(some, total, 1.0)), -jnp.inf)
        return log_total + jnp.log(top) + jnp.asarray(self.log_scale)

    def effective(self, population: Population) -> Float[Array, " n"]:
        """(Σ w)² / Σ w² of the rows behind each object's nodes, roughly: squares are not smooth,
        and where their polynomials fall below 0 it is 0."""
        _, at = self._ratio(population)
        total, squares = self.value @ at, self.square @ at**2
        return jnp.where(squares > 0, total**2 / jnp.where(squares > 0, squares, 1.0), 0.0)

    def _ratio(self, population: Population) -> tuple[Float[Array, ""], Float[Array, " node"]]:
        """The largest p/r of a node, and p/r of the nodes in units of it.

        The density's share of a node is what the law's own quadrature gives it, which knows where
        the law has a kink: the projection onto the panel's polynomials, not the value at the node.
        """
        mass, age, a_v = (PanelRule(np.asarray(edges), order) for edges, order in self.rules)
        density = (
            population.mass_age.quadrature(mass, age)[:, :, None]
            * (population.extinction.quadrature(a_v, age.nodes)[None])
        )
        unit = [
            rule.weights * np.exp(slope * rule.nodes)
            for rule, slope in zip((mass, age, a_v), self.slopes, strict=True)
        ]
        ratio = density / jnp.asarray(unit[0][:, None, None] * unit[1][:, None] * unit[2])
        top = jax.lax.stop_gradient(jnp.maximum(ratio.max(), _LEAST))
        return top, (ratio / top).ravel()


@dataclasses.dataclass(frozen=True)
class NodeSettings:
    """From how many objects on their samples are deposited on nodes, and on which.

    A step of the sampler evaluates λ at every sample of every object, or once at each node, of
    which there are about ten thousand, and multiplies a sparse matrix.

    **Arguments:**

    - `min_objects`: fewer objects keep their samples; infinite: all do.
    - `panels`: dex, dex and mag, widest panels of the rule for 20,000 objects or fewer; for n they
      are (20,000 / n)^¼ as wide, for what nodes do to ln L between draws goes as √n and as the
      square of the width. `order`: nodes in each.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    NodeSettings(min_objects=1000.0)
    ```
    """

    min_objects: float = 4000.0
    panels: tuple[float, float, float] = (0.2, 0.15, 0.2)
    order: int = 2

    def __post_init__(self) -> None:
        if not self.min_objects >= 1 or min(self.panels) <= 0 or self.order < 2:
            raise ValueError(
                f"min_objects is {self.min_objects}, panels are {self.panels}, order is "
                f"{self.order}; expected 1 or more objects, widths above 0, and 2 nodes or more"
            )

    def finer(self) -> "NodeSettings":
        """On panels 0.7 times as wide, whose errors are half as large, about."""
        mass, age, a_v = (FINER * width for width in self.panels)
        return dataclasses.replace(self, panels=(mass, age, a_v))

    def laid(self, samples: "Samples", population: Population) -> "Samples":
        """The samples on the nodes of the population's bounds, if they are of many objects.

        Samples without extinction stay as they are, and so do objects that are exact points: the
        errors of nodes are small beside those of the objects.

        ```python
        NodeSettings(min_objects=1.0).laid(samples, population).n_objects
        ```
        """
        if not isinstance(samples, ObjectSamples) or samples.n_objects < self.min_objects:
            return samples
        axes, _, n_samples = samples.theta.shape
        if axes < len(AXES) or n_samples == 1:
            return samples
        dust, share = population.extinction, min(1.0, (_OF_PANELS / samples.n_objects) ** 0.25)
        mass, age, a_v = (share * width for width in self.panels)
        box, corners = population.box, dust.corners()
        rules = rules_of_box(box, (mass, age, a_v), self.order, corners, dust.linear)
        return deposit(rows_of(samples), rules)


def rows_of(samples: ObjectSamples) -> RowSamples:
    """Every sample of every object as a row, without padding; each is a draw of its own.

    ```python
    rows_of(samples).n_objects
    ```
    """
    kept = np.asarray(samples.mask)
    n, n_samples = int(kept.sum()), samples.theta.shape[2]
    log_weight = np.asarray(samples.log_weight)[kept].reshape(-1)
    some = np.isfinite(log_weight)
    return RowSamples(
        np.ascontiguousarray(np.asarray(samples.theta)[:, kept].reshape(3, -1)[:, some]),
        log_weight[some],
        np.repeat(np.arange(n), n_samples)[some],
        np.flatnonzero(some),
        np.ones(n, bool),
    )


# What the likelihood takes of objects.
Samples = ObjectSamples | RowSamples | NodeSamples


def rules_of_box(
    box: Box,
    widths: tuple[float, float, float],
    order: int = 2,
    corners: tuple[float, ...] = (),
    linear: bool = False,
) -> Rules:
    """A rule for each axis, with panels no wider than `widths` that end at `corners` of a_v.

    For densities that are `linear` in a_v between its corners, two nodes there are exact.

    ```python
    rules_of_box(box, (0.2, 0.2, 0.2))[0].nodes
    ```
    """
    mass, age = (
        panel_rule(low, high, width, order)
        for (low, high), width in zip((box.log_mass, box.log_age), widths[:2], strict=True)
    )
    if linear:
        return mass, age, panel_rule(*box.a_v, np.inf, 2, corners)
    return mass, age, panel_rule(*box.a_v, widths[2], order, corners)


def lagrange(
    rule: PanelRule, x: Float[np.ndarray, " row"]
) -> tuple[Int[np.ndarray, " row"], Float[np.ndarray, "row order"]]:
    """The first node of the panel of each x, and the values of the panel's polynomials there.

    Raises `ValueError` for x outside the rule.

    ```python
    lagrange(rules_of_box(box, (0.2, 0.2, 0.2))[0], np.array([4.0]))
    ```
    """
    edges = np.asarray(rule.edges)
    if len(x) and (x.min() < edges[0] - 1e-9 or x.max() > edges[-1] + 1e-9):
        raise ValueError(
            f"rows lie at {x.min():g} to {x.max():g}; the rule covers {edges[0]:g} to {edges[-1]:g}"
        )
    panel = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    nodes, _ = np.polynomial.legendre.leggauss(rule.order)
    local = 2 * (x - edges[panel]) / (edges[panel + 1] - edges[panel]) - 1
    powers = np.vander(local, rule.order, increasing=True)
    return panel * rule.order, powers @ np.linalg.inv(np.vander(nodes, increasing=True))


def deposit(
    rows: RowSamples,
    rules: Rules,
    slopes: tuple[float, float, float] = SLOPES,
) -> NodeSamples:
    """Rows on the nodes of a rule.

    **Arguments:**

    - `rows`: inside the rule.
    - `rules`: of the three axes, of `rules_of_box`.
    - `slopes`: of ln r(θ) along the axes, per dex, dex and mag; by default dN/dM ∝ M⁻² and
      dN/dT ∝ T^(−1/2).

    Raises `ValueError` for rows outside the rule.

    ```python
    deposit(rows, rules_of_box(box, (0.2, 0.2, 0.2)))
    ```
    """
    from scipy.sparse import csr_matrix, vstack

    owner, n = np.asarray(rows.owner), len(rows.mask)
    ends = np.searchsorted(owner, np.arange(n), side="right")
    first, parts = 0, []
    while first < n:
        # Whole objects, as many as fit, and one at least.
        start = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, start + _ROWS, side="right")))
        parts.append(_deposited(rows, slice(start, ends[last - 1]), first, last, rules, slopes))
        first = last
    log_scale, value, square = zip(*parts, strict=True)
    return NodeSamples(
        tuple((tuple(rule.edges.tolist()), rule.order) for rule in rules),
        tuple(float(slope) for slope in slopes),  # pyright: ignore[reportArgumentType]
        np.concatenate(log_scale),
        Sparse.of(csr_matrix(vstack(value, "csr"))),
        Sparse.of(csr_matrix(vstack(square, "csr"))),
        np.ones(n, bool),
    )


def _deposited(
    rows: RowSamples,
    part: slice,
    first: int,
    last: int,
    rules: Rules,
    slopes: tuple[float, float, float],
) -> tuple[Float[np.ndarray, " n"], Any, Any]:
    """Scale, values and squares of the objects from `first` to `last`, whose rows `part` has."""
    from scipy.sparse import coo_matrix, csr_matrix

    theta, owner = np.asarray(rows.theta)[:, part], np.asarray(rows.owner)[part] - first
    n = last - first
    log_w = np.asarray(rows.log_weight)[part] + np.asarray(slopes) @ theta
    log_scale = np.full(n, -np.inf)
    np.maximum.at(log_scale, owner, log_w)
    weight = np.exp(log_w - log_scale[owner])
    some = weight > _LEAST_WEIGHT
    theta, owner, weight = theta[:, some], owner[some], weight[some]
    starts = (np.diff(owner) != 0) | (np.diff(np.asarray(rows.cluster)[part][some]) != 0)
    draw = np.concatenate([[0], np.cumsum(starts)]) if len(owner) else owner
    # The square of a draw's weight, shared out over its rows.
    squared = np.bincount(draw, weight)[draw] * weight
    shape = tuple(len(rule.nodes) for rule in rules)
    size = (n, int(np.prod(shape)))
    parts = [lagrange(rule, x) for rule, x in zip(rules, theta, strict=True)]
    value: Any = csr_matrix(size)
    square: Any = csr_matrix(size)
    for corner in np.ndindex(*(rule.order for rule in rules)):
        share = np.prod([basis[:, k] for (_, basis), k in zip(parts, corner, strict=True)], axis=0)
        at = [first + k for (first, _), k in zip(parts, corner, strict=True)]
        where = owner, np.ravel_multi_index(at, shape)
        value = value + coo_matrix((weight * share, where), size).tocsr()
        square = square + coo_matrix((squared * share, where), size).tocsr()
    value.sort_indices()
    square.sort_indices()
    assert (value.indices == square.indices).all()
    of_value = np.repeat(np.arange(n), np.diff(value.indptr))
    top = np.zeros(n)
    np.maximum.at(top, of_value, np.abs(value.data))
    kept = np.abs(value.data) > _NEGLIGIBLE * top[of_value]
    starts = np.concatenate([[0], np.cumsum(np.bincount(of_value[kept], minlength=n))])
    return (
        log_scale,
        csr_matrix((value.data[kept], value.indices[kept], starts), size),
        csr_matrix((square.data[kept], value.indices[kept], starts), size),
    )
