"""Products with a sparse matrix, against NumPy's with the dense one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.sparse import csr_matrix

from starcensus.inference.objects._sparse import Sparse
from starcensus.inference.sampling import double_precision

N, M = 13, 29


def dense(seed: int) -> np.ndarray:
    """With rows and columns that hold nothing."""
    rng = np.random.default_rng(seed)
    matrix = np.where(rng.uniform(size=(N, M)) < 0.2, rng.normal(size=(N, M)), 0.0)
    matrix[3] = matrix[:, 7] = 0.0
    return matrix


@pytest.fixture
def columns() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(2, 3, M))


def test_products_and_their_transposes(columns):
    matrix = dense(1)
    with double_precision():
        held, x = Sparse.of(csr_matrix(matrix)), jnp.asarray(columns[0, 0])
        np.testing.assert_allclose(held @ x, matrix @ x, rtol=0, atol=1e-13)
        np.testing.assert_allclose(held.T @ x[:N], matrix.T @ x[:N], rtol=0, atol=1e-13)


def test_columns_side_by_side_and_nested(columns):
    with double_precision():
        held = Sparse.of(csr_matrix(dense(1)))
        found = jax.jit(jax.vmap(jax.vmap(lambda x: held @ x)))(columns)
    np.testing.assert_allclose(found, columns @ dense(1).T, rtol=0, atol=1e-13)


def test_gradients_of_many_columns(columns):
    """Of Σ_i (A x)_i³."""
    with double_precision():
        held = Sparse.of(csr_matrix(dense(1)))
        slope = jax.jit(jax.vmap(jax.grad(lambda x: ((held @ x) ** 3).sum())))(columns[0])
    expected = 3 * (columns[0] @ dense(1).T) ** 2 @ dense(1)
    np.testing.assert_allclose(slope, expected, rtol=0, atol=1e-12)


def test_matrices_of_one_pattern_with_one_column_each_or_all(columns):
    pattern = dense(1)
    several = [np.where(pattern != 0, pattern * k, 0.0) for k in (1.0, -2.0, 0.5)]
    with double_precision():
        held = jax.tree.map(lambda *x: np.stack(x), *[Sparse.of(csr_matrix(a)) for a in several])
        one = jnp.asarray(columns[0, 0])
        each = jax.vmap(lambda a, x: a @ x)(held, jnp.asarray(columns[0]))
        shared = jax.vmap(lambda a, x: a @ x, (0, None))(held, one)
        slopes = jax.vmap(jax.grad(lambda x, a: (a @ x).sum()), (None, 0))(one, held)
    for k, matrix in enumerate(several):
        np.testing.assert_allclose(each[k], matrix @ columns[0, k], rtol=0, atol=1e-13)
        np.testing.assert_allclose(shared[k], matrix @ columns[0, 0], rtol=0, atol=1e-13)
        np.testing.assert_allclose(slopes[k], matrix.sum(axis=0), rtol=0, atol=1e-13)


def test_single_precision_stays_single(columns):
    held = Sparse.of(csr_matrix(dense(1)))
    found = held @ jnp.asarray(columns[0, 0], jnp.float32)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, dense(1) @ columns[0, 0], rtol=0, atol=1e-5)
