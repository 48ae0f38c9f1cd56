"""Evidences of populations against brute force, and what makes them of no meaning."""

import dataclasses

import jax
import numpy as np
import numpyro.distributions as dist
import pytest
import scipy.special
import scipy.stats
from tests.inference.evidence.conftest import TWO

from starcensus.forward import Dirichlet, Given, Uniform
from starcensus.inference import PopulationModel, log_likelihood
from starcensus.inference.evidence import (
    BridgeSettings,
    EvidenceError,
    EvidenceSettings,
    NestedSettings,
    check_priors,
    evidence,
    population_target,
    posterior_values,
    unconstrained_draws,
)
from starcensus.inference.sampling import double_precision

BRIDGE = EvidenceSettings(method="bridge")
LN10 = np.log(10.0)


def on_grid(result, points: dict[str, np.ndarray]) -> np.ndarray:
    """ln L at points, by the likelihood alone."""
    model = result.model
    base = model.population.with_values(model.fixed_values())

    def one(values):
        return log_likelihood(base.with_values(values), result.samples, result.grid, model.form)

    with double_precision():
        return np.asarray(jax.lax.map(one, points, batch_size=64))


def log_sum(terms: np.ndarray) -> float:
    return float(scipy.special.logsumexp(terms))


def quadrature_of_two(result, truncated: bool = True) -> float:
    """Gauss-Legendre over alpha_m and log_n, where the posterior is."""
    prior = result.model.priors["alpha_m"]
    values = posterior_values(result)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    low, high = prior.low, min(prior.high, values["alpha_m"].max() + 0.3)
    alpha, w_alpha = low + (high - low) * (nodes + 1) / 2, weights * (high - low) / 2
    first, last = values["log_n"].min() - 0.15, values["log_n"].max() + 0.15
    log_n, w_log_n = first + (last - first) * (nodes + 1) / 2, weights * (last - first) / 2
    mesh = np.meshgrid(alpha, log_n, indexing="ij")
    ln_l = on_grid(result, {"alpha_m": mesh[0].ravel(), "log_n": mesh[1].ravel()})
    if truncated:
        a, b = ((end - prior.mean) / prior.sd for end in (prior.low, prior.high))
        ln_prior = scipy.stats.truncnorm.logpdf(mesh[0], a, b, prior.mean, prior.sd)
    else:
        ln_prior = scipy.stats.norm.logpdf(mesh[0], prior.mean, prior.sd)
    of_n = result.model.priors["log_n"]
    ln_w = np.log(w_alpha)[:, None] + np.log(w_log_n)[None] - np.log(of_n.high - of_n.low)
    return log_sum(ln_l + (ln_prior + ln_w).ravel())


@pytest.mark.slow
def test_two_parameters_with_a_truncated_prior(two_parameters):
    true = quadrature_of_two(two_parameters)
    found = evidence(
        two_parameters, EvidenceSettings(nested=NestedSettings(n_live=200, n_replaced=40))
    )
    assert abs(found.bridge_ln_z - true) < 4 * found.error < 0.1
    assert found.nested_ln_z is not None and found.nested_error is not None
    assert abs(found.nested_ln_z - true) < 4 * found.nested_error < 0.6
    # The truncation is of the prior's density: without it, ln Z would be another.
    assert abs(quadrature_of_two(two_parameters, truncated=False) - true) > 0.3


@pytest.mark.slow
def test_a_simplex(shares):
    """Three shares under a flat Dirichlet, whose density is 2 in both coordinates."""
    assert shares.model.prior(shares.model.fitted()[0]) == Dirichlet(1.0)
    n = 80
    nodes, weights = np.polynomial.legendre.leggauss(n)
    u, w = (nodes + 1) / 2, weights / 2
    first, second = np.meshgrid(u, u, indexing="ij")
    p = np.stack([first, (1 - first) * second, (1 - first) * (1 - second)], axis=-1)
    ln_w = np.log(w)[:, None] + np.log(w)[None] + np.log1p(-first) + np.log(2.0)
    true = log_sum(on_grid(shares, {"p_av": p.reshape(-1, 3)}) + ln_w.ravel())
    found = evidence(shares, BRIDGE)
    assert abs(found.bridge_ln_z - true) < 4 * found.error < 0.1


def test_the_slope_of_a_power_law_is_exact(pareto):
    """∏ β e^(−β s) with a flat prior on the slope, and the number with its own."""
    log_mass = pareto.mock.catalogue.theta[:, 0]
    n, s = len(log_mass), LN10 * (log_mass - 3.0).sum()
    prior = pareto.model.priors["alpha_m"]
    gamma = scipy.stats.gamma(n + 1, scale=1 / s)
    ln_slope = scipy.special.gammaln(n + 1) - (n + 1) * np.log(s)
    ln_slope += np.log(gamma.cdf(-prior.low - 1) - gamma.cdf(-prior.high - 1))
    ln_slope -= np.log(prior.high - prior.low)
    # Per dex of mass; masses beyond 10^14 count as none. Ages and extinctions are as they are.
    mass_age = pareto.model.population.mass_age
    theta = pareto.mock.catalogue.theta
    with double_precision():
        ln_age = float(mass_age.age.log_prob(theta[:, 1]).sum())
        dust = pareto.model.population.extinction
        ln_dust = float(dust.log_prob(theta[:, 2], theta[:, 1]).sum())
    true = ln_slope + n * np.log(LN10) + ln_age + ln_dust
    if pareto.model.form == "poisson":
        # ∫ N^n e^−N dlog10 N / 9
        true += scipy.special.gammaln(n) - np.log(9 * LN10)
    found = evidence(pareto.result, BRIDGE)
    assert abs(found.bridge_ln_z - true) < 4 * found.error + 2e-3 < 0.1
    assert found.shift == 0.0 and found.numerical < 0.01


def test_the_density_is_the_samplers(two_parameters, shares):
    """Prior, Jacobian and likelihood at each draw, as the sampler of the fit had them."""
    for result in (two_parameters, shares):
        target = population_target(result.model, result.samples, result.grid)
        x = unconstrained_draws(result.model, posterior_values(result))
        ours = np.add(*target.at(x.reshape(-1, target.n)))
        theirs = result.tree["sample_stats"]["lp"].values.ravel()
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


def test_draws_of_the_prior_have_its_density(two_parameters):
    """∫ π = 1 of prior draws, and their mean likelihood is Z where it is broad."""
    model = two_parameters.model
    target = population_target(model, two_parameters.samples, two_parameters.grid)
    x = target.prior_draws(jax.random.key(1), 4000)
    assert x.shape == (4000, 2)
    prior = TWO["alpha_m"]
    ends = [(end - prior.mean) / prior.sd for end in (prior.low, prior.high)]
    high, low = prior.high, prior.low
    alpha = low + (high - low) * scipy.special.expit(x[:, 0])
    assert (
        scipy.stats.kstest(alpha, scipy.stats.truncnorm(*ends, prior.mean, prior.sd).cdf)[1] > 1e-4
    )


@dataclasses.dataclass(frozen=True)
class _Half(Uniform):
    """A user's prior that forgot to be normalised."""

    def distribution(self, size: int = 0):
        return _HalfUniform(self.low, self.high)


class _HalfUniform(dist.Uniform):
    def log_prob(self, value):
        return super().log_prob(value) - np.log(2.0)


def test_priors_that_are_improper_or_not_normalised_are_refused(given):
    good = {"alpha_m": dist.Gamma(4.0, 2.0), "sigma_av": dist.LogNormal(-0.5, 0.3)}
    check_priors(PopulationModel(given.population, good))
    improper = dist.ImproperUniform(dist.constraints.real, (), ())
    with pytest.raises(EvidenceError, match="prior of alpha_m, ImproperUniform, is improper"):
        check_priors(PopulationModel(given.population, {"alpha_m": improper}))
    wrong = Given(_HalfUniform(-3.0, -1.0))
    with pytest.raises(EvidenceError, match=r"prior of alpha_m, .* integrates to 0\.(49|50)"):
        check_priors(PopulationModel(given.population, {"alpha_m": wrong}))


def test_fits_that_cannot_be_trusted_are_refused(two_parameters):
    bad = dataclasses.replace(
        two_parameters,
        diagnostics=dataclasses.replace(two_parameters.diagnostics, failures=("R-hat is 2",)),
    )
    with pytest.raises(EvidenceError, match=r"takes a fit that has converged.*R-hat is 2"):
        evidence(bad, BRIDGE)
    few = EvidenceSettings(method="bridge", bridge=BridgeSettings(min_effective=1e5))
    with pytest.raises(EvidenceError, match="effective draws, fewer than 100000"):
        evidence(two_parameters, few)
    other = dataclasses.replace(two_parameters, samples=two_parameters.samples.padded(200))
    wrong = dataclasses.replace(
        other, samples=dataclasses.replace(other.samples, mask=np.arange(200) < 50)
    )
    with pytest.raises(EvidenceError, match=r"differs by .* from what its sampler had"):
        evidence(wrong, BRIDGE)
