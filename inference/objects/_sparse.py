"""A sparse matrix times columns, for values of many chains at once and their gradients."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCSR
from jaxtyping import Array, Float, Float64, Int32

# The product of a processor takes whole groups of columns; fewer cost it more than a group.
_COLUMNS = 8


class Compressed(eqx.Module):
    """A matrix by its rows: the values of row i are those from `starts[i]` to `starts[i + 1]`."""

    starts: Int32[Array, " edge"] | Int32[np.ndarray, " edge"]
    column: Int32[Array, " value"] | Int32[np.ndarray, " value"]
    value: Float[Array, " value"] | Float64[np.ndarray, " value"]

    @classmethod
    def of(cls, matrix: Any) -> "Compressed":
        """From SciPy's `csr_matrix`."""
        return cls(
            matrix.indptr.astype(np.int32),
            matrix.indices.astype(np.int32),
            np.asarray(matrix.data, np.float64),
        )


class Sparse(eqx.Module):
    """A matrix and its transpose, each by its rows, so that neither product scatters."""

    forward: Compressed
    backward: Compressed

    @classmethod
    def of(cls, matrix: Any) -> "Sparse":
        """From SciPy's `csr_matrix`."""
        return cls(Compressed.of(matrix), Compressed.of(matrix.transpose().tocsr()))

    def __matmul__(self, x: Float[Array, " column"]) -> Float[Array, " row"]:
        return _product(self, x)

    @property
    def T(self) -> "Sparse":
        return Sparse(self.backward, self.forward)


@jax.custom_vjp
def _product(matrix: Sparse, x: Float[Array, " column"]) -> Float[Array, " row"]:
    return _columns(matrix, x[:, None])[:, 0]


def _product_fwd(matrix: Sparse, x: Float[Array, " column"]) -> tuple[Float[Array, " row"], Sparse]:
    return _product(matrix, x), matrix


def _product_bwd(matrix: Sparse, change: Float[Array, " row"]) -> tuple[None, Float[Array, "..."]]:
    return None, _product(matrix.T, change)


_product.defvjp(_product_fwd, _product_bwd)


@jax.custom_batching.custom_vmap
def _columns(matrix: Sparse, x: Float[Array, "column k"]) -> Float[Array, "row k"]:
    rows = matrix.forward
    n, n_columns = len(rows.starts) - 1, len(matrix.backward.starts) - 1
    parts = (rows.value, rows.column, rows.starts)
    value, column, starts = (jax.lax.stop_gradient(jnp.asarray(part)) for part in parts)
    held = BCSR((value.astype(x.dtype), column, starts), shape=(n, n_columns))
    k = x.shape[1]
    return (held @ jnp.pad(x, ((0, 0), (0, -k % _COLUMNS))))[:, :k]


@_columns.def_vmap
def _(size: int, batched: Any, matrix: Sparse, x: Float[Array, "..."]) -> tuple[Any, bool]:
    if any(jax.tree.leaves(batched[0])):
        leaves, kind = jax.tree.flatten((matrix, x))
        flags = jax.tree.leaves(batched)
        wide = [
            leaf if flag else jnp.broadcast_to(leaf, (size, *jnp.shape(leaf)))
            for leaf, flag in zip(leaves, flags, strict=True)
        ]
        each = jax.tree.unflatten(kind, wide)
        return jax.lax.map(lambda one: _columns(*one), each), True
    beside = jnp.moveaxis(x, 0, 1)
    done = _columns(matrix, beside.reshape(len(beside), -1))
    return jnp.moveaxis(done.reshape(len(done), *beside.shape[1:]), 1, 0), True
