"""Fits whose posterior is known in closed form.

For complete data without errors, masses above M_0 without upper limit and a flat prior on α, the
slope β = −α − 1 has the posterior Gamma(n + 1, rate Σ ln(M_i/M_0)); N with prior 1/N has Gamma(n).
Estimates must agree within four Monte Carlo standard errors (a false alarm in 16,000 each).
"""

import numpy as np
import pytest
import scipy.stats
from arviz_stats.base.array import array_stats

FACTOR = 4.0
LN10 = np.log(10.0)


def assert_gamma(draws: np.ndarray, shape: float, rate: float) -> None:
    """Mean, standard deviation and five quantiles of (chain, draw) against Gamma(shape, rate)."""
    truth = scipy.stats.gamma(shape, scale=1 / rate)
    checks = [
        ("mean", draws.mean(), truth.mean(), array_stats.mcse(draws, method="mean")),
        ("sd", draws.std(), truth.std(), array_stats.mcse(draws, method="sd")),
    ]
    for p in (0.05, 0.16, 0.5, 0.84, 0.95):
        error = array_stats.mcse(draws, method="quantile", prob=p)
        checks.append((f"quantile {p}", np.quantile(draws, p), truth.ppf(p), error))
    for what, got, expected, error in checks:
        assert abs(got - expected) < FACTOR * error, (what, got, expected, error)
        assert error < 0.1 * truth.std(), f"{what} is not measured well enough to test anything"


def test_slope_of_a_power_law_is_gamma_distributed(pareto):
    log_mass = pareto.mock.catalogue.theta[:, 0]
    alpha = pareto.result.tree["posterior"]["alpha_m"].values
    assert_gamma(-alpha - 1, len(log_mass) + 1, LN10 * (log_mass - 3.0).sum())


def test_number_is_gamma_distributed(pareto):
    """Sampled by the Poisson form, recovered afterwards by the conditional form."""
    number = 10.0 ** pareto.result.tree["posterior"]["log_n"].values
    assert_gamma(number, len(pareto.mock.catalogue), 1.0)


def test_conditional_form_does_not_fit_log_n(pareto):
    fitted = [p.name for p in pareto.model.fitted()]
    assert fitted == (["alpha_m"] if pareto.model.form == "conditional" else ["alpha_m", "log_n"])
    for name in ("alpha_m", "log_n"):
        assert f"posterior.{name}.median" in pareto.result.summary


@pytest.mark.parametrize("name", ["alpha_m", "log_n"])
def test_converged(pareto, name):
    assert pareto.result.diagnostics.converged, pareto.result.diagnostics.verdict()
    assert pareto.result.diagnostics.r_hat[name] < 1.01
