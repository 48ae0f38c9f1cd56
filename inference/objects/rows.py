"""Objects whose p(d|θ) is a sum over very many points of θ, of another number for each object.

The points are rows of a library, with weights w_ij = p(d_i, det | μ_j) / (n π(θ_j)), so that

    ∫ p(d_i, det | θ) λ(θ) dθ ≈ Σ_j w_ij λ(θ_j)

(Krumholz et al. 2019, MNRAS 482, 3550, with the kernel of the survey itself). They can be summed as
they are (`RowSamples`), or deposited once on the nodes θ_c of a composite Gauss-Legendre rule
(`NodeSamples`): with ℓ_c the Lagrange polynomials of the panels and r a density near to λ,

    Σ_j w_ij λ(θ_j) ≈ Σ_c A_ic λ(θ_c) / r(θ_c),    A_ic = Σ_j w_ij r(θ_j) ℓ_c(θ_j),

which is exact where λ/r is a polynomial of the rule's order in each panel. Between Gauss nodes the
error of a polynomial has the mean 0 over the panel, so that the errors of many objects cancel. λ is
then evaluated at the nodes, whatever the number of rows behind them.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from starcensus.theta import Box

from ...forward._quadrature import PanelRule, panel_rule
from ._base import ObjectSamples

# Nodes with less than this share of an object's largest are left out.
_NEGLIGIBLE = 1e-8
_LEAST = 1e-9
# Of ln r along the axes: dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2), any extinction.
SLOPES = (-np.log(10.0), 0.5 * np.log(10.0), 0.0)

type Rules = tuple[PanelRule, PanelRule, PanelRule]


class RowSamples(eqx.Module):
    """Weighted points of θ of each object, one after another.

    **Arguments:**

    - `theta`: `(3, row)`, in the order of θ.
    - `log_weight`: `(row,)`.
    - `owner`: `(row,)`, the object of each row, in order.
    - `cluster`: `(row,)`, rows of an object with one number are one draw; next to one another.
    - `mask`: `(n,)`, which are objects; the others are padding.
    """

    theta: Float[Array, "3 row"] | Float[np.ndarray, "3 row"]
    log_weight: Float[Array, " row"] | Float[np.ndarray, " row"]
    owner: Int[Array, " row"] | Int[np.ndarray, " row"]
    cluster: Int[Array, " row"] | Int[np.ndarray, " row"]
    mask: Bool[Array, " n"] | Bool[np.ndarray, " n"]

    @property
    def n_objects(self) -> int:
        return int(np.asarray(self.mask).sum())

    def padded(self, n_rows: int, n_objects: int) -> "RowSamples":
        """The same in arrays of these sizes, so that one program serves many catalogues.

        Padding repeats the first row, in objects that do not count: one of these at least must fit,
        and each must get a row. Raises `ValueError` for sizes that are too small.

        ```python
        rows.padded(1 << 15, 256).n_objects
        ```
        """
        n, m = len(self.mask), len(self.owner)
        if n_objects <= n or n_rows - m < n_objects - n:
            raise ValueError(
                f"cannot pad {n} objects with {m} rows to {n_objects} with {n_rows}; expected one "
                "more object at least, and a row for each that is added"
            )
        more = n + np.minimum(np.arange(n_rows - m), n_objects - n - 1)
        theta = np.asarray(self.theta)
        return RowSamples(
            np.concatenate([theta, np.repeat(theta[:, :1], n_rows - m, axis=1)], axis=1),
            np.concatenate([self.log_weight, np.zeros(n_rows - m)]),
            np.concatenate([self.owner, more]),
            np.concatenate([self.cluster, np.full(n_rows - m, -1)]),
            np.arange(n_objects) < n,
        )

    def log_terms(self, log_p: Float[Array, " row"]) -> Float[Array, " n"]:
        """ln Σ_j w_ij p(θ_j) of every object, for ln p at the rows."""
        log_w = log_p + jnp.asarray(self.log_weight)
        top, total = self._sums(log_w, jnp.asarray(self.owner), len(self.mask))
        return top + jnp.log(total)

    def effective(self, log_p: Float[Array, " row"]) -> Float[Array, " n"]:
        """(Σ w)² / Σ w² of each object, where rows of one cluster count as one draw."""
        n, owner = len(self.mask), jnp.asarray(self.owner)
        log_w = log_p + jnp.asarray(self.log_weight)
        top, total = self._sums(log_w, owner, n)
        cluster = jnp.asarray(self.cluster)
        starts = (owner[1:] != owner[:-1]) | (cluster[1:] != cluster[:-1])
        draw = jnp.concatenate([jnp.zeros(1, int), jnp.cumsum(starts)])
        each = jnp.where(jnp.isfinite(top[owner]), jnp.exp(log_w - top[owner]), 0.0)
        of_draw = jax.ops.segment_sum(each, draw, len(owner), indices_are_sorted=True)
        squares = jax.ops.segment_sum(of_draw[draw] * each, owner, n, indices_are_sorted=True)
        return jnp.where(squares > 0, total**2 / jnp.where(squares > 0, squares, 1.0), 0.0)

    @staticmethod
    def _sums(
        log_w: Float[Array, " row"], owner: Int[Array, " row"], n: int
    ) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
        """ln of the largest weight of each object, and the sum in units of it."""
        top = jax.ops.segment_max(log_w, owner, n, indices_are_sorted=True)
        top = jax.lax.stop_gradient(top)
        safe = jnp.where(jnp.isfinite(top), top, 0.0)
        total = jax.ops.segment_sum(jnp.exp(log_w - safe[owner]), owner, n, indices_are_sorted=True)
        return safe, total


class NodeSamples(eqx.Module):
    """A sparse matrix of objects by nodes of θ, one value after another.

    **Arguments:**

    - `theta`: `(3, node)`, in the order of θ.
    - `log_reference`: `(node,)`, ln r(θ) of the nodes.
    - `log_scale`: `(n,)`, ln of what each object's values are to be multiplied with.
    - `owner`, `index`: `(value,)`, object and node of each value, in the order of the objects.
    - `value`: `(value,)`, A_ic; `square` the same for the squares of the rows' weights.
    - `mask`: `(n,)`, true for every object.
    """

    theta: Float[Array, "3 node"] | Float[np.ndarray, "3 node"]
    log_reference: Float[Array, " node"] | Float[np.ndarray, " node"]
    log_scale: Float[Array, " n"] | Float[np.ndarray, " n"]
    owner: Int32[Array, " value"] | Int32[np.ndarray, " value"]
    index: Int32[Array, " value"] | Int32[np.ndarray, " value"]
    value: Float32[Array, " value"] | Float32[np.ndarray, " value"]
    square: Float32[Array, " value"] | Float32[np.ndarray, " value"]
    mask: Bool[Array, " n"] | Bool[np.ndarray, " n"]

    @property
    def n_objects(self) -> int:
        return int(np.asarray(self.mask).sum())

    def log_terms(self, log_p: Float[Array, " node"]) -> Float[Array, " n"]:
        """ln Σ_c A_ic p(θ_c) / r(θ_c) of every object, for ln p at the nodes."""
        top, at = self._ratio(log_p)
        each = jnp.asarray(self.value).astype(at.dtype) * at
        # Polynomials may fall below 0 where λ/r falls by much more than its own size in a panel.
        total = jnp.maximum(self._sum(each), _LEAST * self._sum(jnp.abs(each)))
        return jnp.log(total) + top + jnp.asarray(self.log_scale)

    def effective(self, log_p: Float[Array, " node"]) -> Float[Array, " n"]:
        """(Σ w)² / Σ w² of the rows behind each object's nodes."""
        _, at = self._ratio(log_p)
        total = self._sum(jnp.asarray(self.value).astype(at.dtype) * at)
        squares = self._sum(jnp.asarray(self.square).astype(at.dtype) * at**2)
        return jnp.where(squares > 0, total**2 / jnp.where(squares > 0, squares, 1.0), 0.0)

    def _sum(self, each: Float[Array, " value"]) -> Float[Array, " n"]:
        owner = jnp.asarray(self.owner)
        return jax.ops.segment_sum(each, owner, len(self.mask), indices_are_sorted=True)

    def _ratio(
        self, log_p: Float[Array, " node"]
    ) -> tuple[Float[Array, ""], Float[Array, " value"]]:
        """ln of the largest p/r at a node, and p/r at the values' nodes in units of it."""
        log_ratio = log_p - jnp.asarray(self.log_reference)
        top = jax.lax.stop_gradient(jnp.max(log_ratio))
        return top, jnp.exp(log_ratio - top)[jnp.asarray(self.index)]


# What the likelihood takes of objects.
Samples = ObjectSamples | RowSamples | NodeSamples


def rules_of_box(
    box: Box,
    widths: tuple[float, float, float],
    order: int = 2,
    corners: tuple[float, ...] = (),
) -> Rules:
    """A rule for each axis, with panels no wider than `widths` that end at `corners` of a_v.

    ```python
    rules_of_box(box, (0.2, 0.2, 0.2))[0].nodes
    ```
    """
    ends = ((), (), corners)
    return tuple(  # pyright: ignore[reportReturnType]
        panel_rule(low, high, width, order, through)
        for (low, high), width, through in zip(box.as_dict().values(), widths, ends, strict=True)
    )


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
    from scipy.sparse import coo_matrix, csr_matrix

    theta, owner, n = np.asarray(rows.theta), np.asarray(rows.owner), len(rows.mask)
    log_w = np.asarray(rows.log_weight) + np.asarray(slopes) @ theta
    log_scale = np.full(n, -np.inf)
    np.maximum.at(log_scale, owner, log_w)
    weight = np.exp(log_w - log_scale[owner])
    starts = (np.diff(owner) != 0) | (np.diff(np.asarray(rows.cluster)) != 0)
    draw = np.concatenate([[0], np.cumsum(starts)]) if len(owner) else owner
    # The square of a draw's weight, shared out over its rows.
    squared = np.bincount(draw, weight)[draw] * weight
    shape = tuple(len(rule.nodes) for rule in rules)
    size = (n, int(np.prod(shape)))
    parts = [lagrange(rule, x) for rule, x in zip(rules, theta, strict=True)]
    value, square = csr_matrix(size), csr_matrix(size)
    for corner in np.ndindex(*(rule.order for rule in rules)):
        share = np.prod([basis[:, k] for (_, basis), k in zip(parts, corner, strict=True)], axis=0)
        at = [first + k for (first, _), k in zip(parts, corner, strict=True)]
        where = owner, np.ravel_multi_index(at, shape)
        value = value + coo_matrix((weight * share, where), size).tocsr()
        square = square + coo_matrix((squared * share, where), size).tocsr()
    return _nodes(value, square, [rule.nodes for rule in rules], np.asarray(slopes), log_scale)


def _nodes(
    value: Any,
    square: Any,
    axes: list[np.ndarray],
    slopes: Float[np.ndarray, "3"],
    log_scale: Float[np.ndarray, " n"],
) -> NodeSamples:
    """Of two sparse matrices with entries in the same places."""
    value.sort_indices()
    square.sort_indices()
    assert (value.indices == square.indices).all()
    n = value.shape[0]
    owner = np.repeat(np.arange(n), np.diff(value.indptr))
    top = np.zeros(n)
    np.maximum.at(top, owner, np.abs(value.data))
    kept = np.abs(value.data) > _NEGLIGIBLE * top[owner]
    used, index = np.unique(value.indices[kept], return_inverse=True)
    at = np.unravel_index(used, tuple(len(line) for line in axes))
    theta = np.stack([line[i] for line, i in zip(axes, at, strict=True)])
    return NodeSamples(
        theta,
        slopes @ theta,
        log_scale,
        owner[kept].astype(np.int32),
        index.astype(np.int32),
        value.data[kept].astype(np.float32),
        square.data[kept].astype(np.float32),
        np.ones(n, bool),
    )
