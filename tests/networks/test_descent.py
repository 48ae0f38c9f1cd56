"""Layers to begin with, and the descent that keeps its best epoch."""

import jax
import jax.numpy as jnp
import numpy as np

from starcensus.networks.descent import best_epoch, first_layers


def test_layers_begin_uniform_and_end_with_their_biases():
    last = np.array([0.5, -2.0])
    sizes = (400, 300, 2)
    matrices, biases = first_layers(jax.random.key(1), sizes, last, spread=1.7, last_spread=0.3)
    assert [w.shape for w in matrices] == [(300, 400), (2, 300)]
    for w, spread, n_in in zip(matrices, (1.7, 0.3), sizes[:2], strict=True):
        limit = spread / np.sqrt(n_in)
        assert float(jnp.abs(w).max()) <= limit
        # A uniform number has the standard deviation limit / √3.
        np.testing.assert_allclose(float(w.std()), limit / np.sqrt(3), rtol=0.05)
    assert not biases[0].any()
    np.testing.assert_array_equal(biases[1], np.float32(last))


def test_the_best_epoch_is_kept():
    """Of a line with outliers in training alone: a rate too large at the end does not count."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=600)
    y = 3.0 * x + 0.1 * rng.normal(size=600)
    train, test = (
        (jnp.float32(x[rows]), jnp.float32(y[rows])) for rows in (slice(0, 500), slice(500, 600))
    )
    said = []
    found, losses = best_epoch(
        _square, jnp.zeros(1, jnp.float32), (), train, test, (0.3, 0.0), 25, 100, jax.random.key(0),
        lambda *each: said.append(each),
    )  # fmt: skip
    assert len(said) == 25
    assert losses == min((each[1:] for each in said), key=lambda pair: pair[1])
    np.testing.assert_allclose(found, 3.0, atol=0.05)


def _square(slope, fixed, rows):
    x, y = rows
    return jnp.square(y - slope[0] * x).mean()
