"""Mixtures that end with their ranges, against quadrature and SciPy's truncated normal."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import kstest, qmc, truncnorm

from starcensus.networks.cnn import Grid
from starcensus.networks.cnn.mixture import Mixtures, mixture_outputs
from starcensus.selection.posterior.density import log_density
from starcensus.selection.posterior.truncated import (
    FARTHEST,
    HALF,
    MIDDLE_LOG_D,
    TruncatedMixtures,
    places,
)


def some(n: int = 4, seed: int = 0) -> tuple[np.ndarray, Mixtures]:
    """Outputs of networks, of wide components that lean against ends and on one another."""
    rng = np.random.default_rng(seed)
    out = rng.normal(0.0, 1.0, (n, 3, 15))
    out[..., 5:9] -= 2.8
    out[..., 9:] *= 0.6
    out[..., 1:5] *= 2.0
    flat = out.reshape(n, mixture_outputs(3))
    return flat, TruncatedMixtures.of_outputs(flat, Grid())


def test_densities_integrate_to_one_and_draws_follow_them():
    _, made = some()
    u = qmc.Sobol(4, rng=np.random.default_rng(1)).random(2**15)
    theta = made.low + u * (made.high - made.low)
    volume = np.prod(made.high - made.low)
    drawn = made.draw(20_000, np.random.default_rng(2))
    assert (drawn >= made.low).all() and (drawn <= made.high).all()
    for n in range(len(made)):
        density = np.exp(made.take(np.full(len(theta), n)).log_density(theta)) * volume
        assert density.mean() == pytest.approx(1.0, abs=0.01)
        mean = (density[:, None] * theta).mean(0)
        # Means of 20,000 draws are known to 0.007 standard deviations.
        assert np.abs((drawn[n].mean(0) - mean) / drawn[n].std(0)).max() < 0.05


def test_one_component_without_relations_is_scipy_s_truncated_normal():
    out = np.zeros((1, 15))
    out[0, 1:5] = [0.3, -2.5, 1.9, 0.0]
    out[0, 5:9] = np.array([2.0, 1.0, 0.2, -1.0]) - MIDDLE_LOG_D
    made = TruncatedMixtures.of_outputs(out, Grid())
    d = np.exp(made.log_d[0, 0])
    middle = FARTHEST * np.tanh(out[0, 1:5] / FARTHEST)
    exact = truncnorm((-HALF - middle) * d, (HALF - middle) * d, middle, 1 / d)
    theta = made.low + np.random.default_rng(3).random((200, 4)) * (made.high - made.low)
    at = places(theta, made.low, made.high)
    expected = exact.logpdf(at).sum(1) + np.log(2 * HALF / (made.high - made.low)).sum()
    found = made.take(np.zeros(200, int)).log_density(theta)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    drawn = places(made.draw(4_000, np.random.default_rng(4))[0], made.low, made.high)
    for i in range(4):
        one = truncnorm((-HALF - middle[i]) * d[i], (HALF - middle[i]) * d[i], middle[i], 1 / d[i])
        assert kstest(drawn[:, i], one.cdf).pvalue > 1e-3


def test_networks_are_trained_by_the_density_that_is_drawn_from():
    out, made = some(8, 5)
    theta = made.low + np.random.default_rng(6).random((8, 4)) * (made.high - made.low)
    at = places(theta, made.low, made.high)
    trained = np.asarray(log_density(jnp.asarray(out, jnp.float32), jnp.asarray(at, jnp.float32)))
    scale = np.log(2 * HALF / (made.high - made.low)).sum()
    np.testing.assert_allclose(trained + scale, made.log_density(theta), atol=1e-4)


def test_numbers_however_wild_make_a_density_and_draws():
    rng = np.random.default_rng(7)
    out = rng.normal(0.0, 20.0, (50, 45))
    made = TruncatedMixtures.of_outputs(out, Grid())
    drawn = made.draw(200, rng)
    assert np.isfinite(drawn).all()
    assert (drawn >= made.low).all() and (drawn <= made.high).all()
    assert np.isfinite(made.log_density(drawn[:, 0])).all()


def test_blended_mixtures_are_means_of_densities():
    _, made = some(4, 8)
    blended = made.blended(np.array([[0.3, 0.7], [1.0, 0.0]]))
    assert isinstance(blended, TruncatedMixtures)
    theta = made.low + np.random.default_rng(9).random((2, 4)) * (made.high - made.low)
    each = np.exp(made.log_density(np.repeat(theta, 2, axis=0))).reshape(2, 2)
    expected = [0.3 * each[0, 0] + 0.7 * each[0, 1], each[1, 0]]
    np.testing.assert_allclose(np.exp(blended.log_density(theta)), expected, rtol=1e-9)
