"""Draws by importance sampling, against distributions that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from starcensus.inference import FitSettings, Sampler, SamplerSettings, fit
from starcensus.inference.importance import NotGaussianError, propose, resampled
from starcensus.inference.laplace import laplace
from starcensus.inference.sampling import double_precision


def weighted(potential, start) -> tuple[np.ndarray, np.ndarray]:
    """Points and ln of their weights."""

    def program():
        around = laplace(potential, start)
        return propose(potential, around, jax.random.key(1), 6000)

    with double_precision():
        x, u, log_weight = jax.jit(program)()
        np.testing.assert_allclose(u, [potential(at) for at in x[:20]] + list(u[20:]), rtol=1e-12)
    return np.asarray(x), np.asarray(log_weight)


def nearly_equal() -> np.ndarray:
    """ln of a thousand weights; ArviZ judges no tail of weights that are all the same."""
    return 1e-9 * np.random.default_rng(3).normal(size=1000)


def test_a_skewed_posterior_has_its_own_moments():
    """ln of a Gamma variate of shape 20, and a Gaussian with a correlation of 0.9."""
    inverse = np.linalg.inv([[1.0, 0.9], [0.9, 1.0]])

    def potential(x):
        return jnp.exp(x[0]) - 20.0 * x[0] + 0.5 * x[1:] @ inverse @ x[1:]

    with double_precision():
        x, log_weight = weighted(potential, jnp.zeros(3))
    picked, effective = resampled(log_weight, 3000, np.random.default_rng(2))
    drawn = x[picked]
    assert 1000 < effective < 3000
    error = 4 / effective**0.5
    gamma = stats.loggamma(20.0)
    assert drawn[:, 0].mean() == pytest.approx(gamma.mean(), abs=error * gamma.std())
    assert drawn[:, 0].std() == pytest.approx(gamma.std(), rel=error)
    assert stats.skew(drawn[:, 0]) == pytest.approx(float(gamma.stats("s")), abs=3 * error)
    assert np.corrcoef(drawn[:, 1:].T)[0, 1] == pytest.approx(0.9, abs=error)


def test_points_follow_a_posterior_that_is_not_around_its_mode():
    """ln of Gamma variates of shape 1: 3,500 of 6,000 points are effective, or 1,330 around it."""
    with double_precision():
        x, log_weight = weighted(lambda x: (jnp.exp(x) - x).sum(), jnp.zeros(4))
    picked, effective = resampled(log_weight, 3000, np.random.default_rng(2))
    assert effective > 1300
    gamma = stats.loggamma(1.0)
    assert x[picked].mean() == pytest.approx(gamma.mean(), abs=4 * gamma.std() / 1300**0.5)


def test_tails_that_the_points_do_not_reach_are_refused():
    """Of a Cauchy density no weighted Gaussian is a sample."""
    with double_precision():
        _, log_weight = weighted(lambda x: 1.5 * jnp.log1p((x**2).sum()), jnp.full(2, 0.1))
    with pytest.raises(NotGaussianError, match=r"Pareto shape of the weights is .*method = 'nuts'"):
        resampled(log_weight, 1000, np.random.default_rng(0))


def test_equal_weights_are_all_kept_once():
    picked, effective = resampled(nearly_equal(), 1000, np.random.default_rng(0))
    assert sorted(picked) == list(range(1000))
    assert list(picked) != list(range(1000))
    assert effective == pytest.approx(500)


def test_points_without_a_density_have_no_weight():
    log_weight = nearly_equal()
    log_weight[:300] = -np.inf
    picked, _ = resampled(log_weight, 500, np.random.default_rng(0))
    assert picked.min() >= 300


def test_a_density_that_is_no_number_is_refused():
    log_weight = nearly_equal()
    log_weight[:3] = np.nan
    with pytest.raises(NotGaussianError, match="no number at 3 of 1000 points"):
        resampled(log_weight, 500, np.random.default_rng(0))


@pytest.mark.slow
def test_a_fit_has_the_posterior_of_the_chains(simple_fit):
    settings = FitSettings(
        sampler=SamplerSettings(n_samples=500, seed=5, method="importance"), n_predictions=20
    )
    result = fit(simple_fit.mock.catalogue, simple_fit.selection, simple_fit.model, settings)
    most = min(result.diagnostics.min_ess_bulk, result.diagnostics.min_ess_tail)
    assert 400 < most < 2000 / 1.4
    assert (result.tree["sample_stats"]["n_steps"].values == 0).all()
    for name in ("alpha_m", "sigma_av", "log_n"):
        was, found = (r.tree["posterior"][name].values for r in (simple_fit.result, result))
        assert abs(found.mean() - was.mean()) < 0.2 * was.std()
        assert found.std() == pytest.approx(was.std(), rel=0.15)


def test_chains_of_weighted_points_are_refused(simple_fit):
    settings = SamplerSettings(method="importance")
    sampler = Sampler(simple_fit.model, simple_fit.grid, settings)
    with pytest.raises(ValueError, match="chains expect 'nuts'"):
        sampler.program(simple_fit.objects, simple_fit.grid, jax.random.key(0))
