"""The laws against closed forms, other libraries and a simulation of the physics."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from starcensus.forward import (
    Constant,
    HalfNormal,
    LogNormal,
    MassDependentDisruption,
    MassIndependentDisruption,
    NodesExtinction,
    PiecewiseLinearAge,
    PowerLaw,
    PowerLawAge,
    Schechter,
)

MASS, AGE = (2.0, 6.5), (6.0, 9.0)
LN10 = math.log(10)
X = np.linspace(MASS[0], MASS[1], 19)
T = np.linspace(AGE[0], AGE[1], 19)


@pytest.mark.parametrize("alpha", [-3.0, -2.0, -1.5, -1.0, 0.0])
def test_a_power_law_in_linear_mass(alpha: float):
    low, high = 10.0 ** MASS[0], 10.0 ** MASS[1]
    if alpha == -1:
        norm = math.log(high / low)
    else:
        norm = (high ** (alpha + 1) - low ** (alpha + 1)) / (alpha + 1)
    mass = 10.0**X
    per_dex = mass**alpha / norm * mass * LN10
    np.testing.assert_allclose(np.exp(PowerLaw(MASS, alpha).log_prob(X)), per_dex, rtol=1e-12)


def test_a_power_law_passes_smoothly_through_minus_one():
    near = [PowerLaw(MASS, -1 + d).log_prob(X) for d in (-1e-7, 0.0, 1e-7)]
    np.testing.assert_allclose(near[1], (near[0] + near[2]) / 2, atol=1e-12)


def upper_gamma(s: float, x: float) -> float:
    """Γ(s, x) for s ≤ 0 too, by recurrence from Γ(0, x) or from 0 < s ≤ 1."""
    if s > 0:
        return float(scipy.special.gammaincc(s, x) * scipy.special.gamma(s))
    if s == 0:
        return float(scipy.special.exp1(x))
    return (upper_gamma(s + 1, x) - x**s * math.exp(-x)) / s


@pytest.mark.parametrize("alpha", [-2.5, -2.0, -1.3, -1.0, -0.5])
def test_schechter_by_incomplete_gamma_functions(alpha: float):
    for top in (3.5, 5.0, 6.4):
        low, high = (10 ** (limit - top) for limit in MASS)
        norm = upper_gamma(alpha + 1, low) - upper_gamma(alpha + 1, high)
        m = 10 ** (X - top)
        expected = (alpha + 1) * np.log(m) - m + math.log(LN10 / norm)
        np.testing.assert_allclose(Schechter(MASS, alpha, top).log_prob(X), expected, atol=1e-10)


def test_constant_formation_in_linear_age():
    age = 10.0**T
    expected = age * LN10 / (10.0 ** AGE[1] - 10.0 ** AGE[0])
    np.testing.assert_allclose(np.exp(Constant(AGE).log_prob(T)), expected, rtol=1e-12)
    for same in (
        PowerLawAge(AGE, 0.0),
        MassIndependentDisruption(AGE, 7.3, 0.0),
        MassIndependentDisruption(AGE, 9.5, -2.0),
    ):
        np.testing.assert_allclose(same.log_prob(T), Constant(AGE).log_prob(T), atol=1e-12)


def test_mid_that_sets_in_before_the_youngest_age_is_a_power_law():
    early = MassIndependentDisruption(AGE, 5.0, -0.7)
    np.testing.assert_allclose(early.log_prob(T), PowerLawAge(AGE, -0.7).log_prob(T), atol=1e-12)


def test_mid_in_linear_age():
    t_mid, alpha = 10**7.2, -1.4
    age = 10.0**T
    rate = np.where(age < t_mid, 1.0, (age / t_mid) ** alpha)
    late = (10.0 ** (AGE[1] * (alpha + 1)) - t_mid ** (alpha + 1)) / (alpha + 1) / t_mid**alpha
    norm = t_mid - 10.0 ** AGE[0] + late
    law = MassIndependentDisruption(AGE, 7.2, alpha)
    np.testing.assert_allclose(np.exp(law.log_prob(T)), rate * age * LN10 / norm, rtol=1e-12)


NODES = (0.0, 0.4, 1.0, 2.5)
SHARES = np.array([0.1, 0.5, 0.3, 0.1])


def heights() -> np.ndarray:
    gaps = np.diff(NODES)
    return SHARES / ((np.append(0, gaps) + np.append(gaps, 0)) / 2)


def test_nodes_interpolate_linearly():
    x = np.linspace(0, 2.5, 51)
    expected = np.interp(x, NODES, heights())
    assert np.trapezoid(heights(), NODES) == pytest.approx(1, abs=1e-14)
    got = NodesExtinction(NODES, SHARES).log_prob(x, 7.0)
    np.testing.assert_allclose(np.exp(got), expected, rtol=1e-12)
    ages = tuple(6 + n for n in NODES)
    got = PiecewiseLinearAge(ages, SHARES).log_prob(6 + x)
    np.testing.assert_allclose(np.exp(got), expected, rtol=1e-9)


def test_the_tilt_of_the_nodes_moves_shares_with_age():
    x = np.array([0.0, 0.4, 1.7, 2.5])
    for age in (6.0, 7.0, 8.5):
        tilted = SHARES * np.exp(-0.6 * (age - 7) * np.array(NODES))
        gaps = np.diff(NODES)
        areas = (np.append(0, gaps) + np.append(gaps, 0)) / 2
        expected = np.interp(x, NODES, tilted / tilted.sum() / areas)
        law = NodesExtinction(NODES, SHARES, -0.6, age_dependent=True)
        np.testing.assert_allclose(np.exp(law.log_prob(x, age)), expected, rtol=1e-12)


@pytest.mark.parametrize(("low", "sigma"), [(0.0, 0.4), (0.0, 5.0), (0.3, 0.1), (0.5, 0.02)])
def test_half_normal_is_scipys_truncated_normal(low: float, sigma: float):
    x = np.linspace(low, min(2.0, low + 8 * sigma), 30)
    expected = scipy.stats.truncnorm.logpdf(x, low / sigma, 2.0 / sigma, scale=sigma)
    law = HalfNormal((low, 2.0), sigma)
    np.testing.assert_allclose(law.log_prob(x, 7.0), expected, rtol=1e-8, atol=1e-8)
    draws = np.asarray(law.sample(jax.random.key(1), jnp.full(2000, 7.0)))
    cdf = scipy.stats.truncnorm(low / sigma, 2.0 / sigma, scale=sigma).cdf
    assert scipy.stats.kstest(draws, cdf).pvalue > 1e-4


@pytest.mark.parametrize(
    ("low", "median", "sigma"), [(0.0, -0.5, 0.3), (0.1, -0.6, 0.4), (0.1, -2.0, 0.05)]
)
def test_log_normal_is_a_truncated_normal_of_the_logarithm(low: float, median: float, sigma: float):
    z = ((-np.inf if low == 0 else math.log10(low)) - median) / sigma, (0.4 - median) / sigma
    law = LogNormal((low, 10**0.4), median, sigma)
    start = median - 4 * sigma if low == 0 else math.log10(low)
    x = 10 ** np.linspace(start, start + 0.4, 30)
    options = {"a": z[0], "b": z[1], "loc": median, "scale": sigma}
    expected = scipy.stats.truncnorm.logpdf(np.log10(x), **options) - np.log(x * LN10)
    np.testing.assert_allclose(law.log_prob(x, 7.0), expected, rtol=1e-8, atol=1e-8)
    draws = np.log10(law.sample(jax.random.key(2), jnp.full(2000, 7.0)))
    assert scipy.stats.kstest(draws, scipy.stats.truncnorm(**options).cdf).pvalue > 1e-4


@pytest.mark.parametrize("gamma", [0.2, 0.65, 1.1])
def test_birth_masses_solve_the_equation_of_mass_loss(gamma: float):
    law = MassDependentDisruption(MASS, AGE, gamma_mdd=gamma, log_t_mdd=7.9)
    for log_mass, log_age in ((2.3, 7.0), (3.7, 8.1), (5.0, 9.0)):
        birth = float(law.log_birth_mass(log_mass, log_age))

        def loss(_: float, ln_m: np.ndarray) -> np.ndarray:
            return -((np.exp(ln_m) / 100) ** -gamma) / 10**7.9

        path = scipy.integrate.solve_ivp(
            loss, (0, 10**log_age), [birth * LN10], method="DOP853", rtol=1e-11, atol=1e-12
        )
        assert path.y[0, -1] / LN10 == pytest.approx(log_mass, abs=1e-8)


def test_clusters_that_form_and_lose_mass_follow_mdd():
    """Births from a Schechter function at a constant rate; each then loses mass to its age."""
    mass_range, age_range = (2.5, 6.0), (6.0, 9.0)
    alpha, top, gamma, t_mdd = -1.8, 4.8, 0.65, 10**8.0
    rng = np.random.default_rng(4)
    n = 4_000_000
    grid = np.linspace(2.5, 7.0, 40_001)
    weight = 10 ** ((alpha + 1) * grid) * np.exp(-(10 ** (grid - top)))
    cumulative = np.append(0.0, np.cumsum((weight[1:] + weight[:-1]) / 2))
    birth = 10 ** np.interp(rng.uniform(size=n) * cumulative[-1], cumulative, grid)
    age = rng.uniform(10 ** age_range[0], 10 ** age_range[1], n)
    left = birth**gamma - gamma * 100**gamma * age / t_mdd
    alive = left > 0
    log_mass = np.log10(left[alive]) / gamma
    log_age = np.log10(age[alive])

    edges = [np.linspace(*mass_range, 15), np.linspace(*age_range, 13)]
    observed, _, _ = np.histogram2d(log_mass, log_age, bins=edges)
    law = MassDependentDisruption(mass_range, age_range, alpha, top, gamma, math.log10(t_mdd))
    fine = [np.linspace(e[0], e[-1], 40 * (len(e) - 1) + 1) for e in edges]
    middle = [(f[1:] + f[:-1]) / 2 for f in fine]
    density = np.exp(law.log_prob(middle[0][:, None], middle[1][None, :]))
    cells = density * np.outer(*(np.diff(f) for f in fine))
    shares = cells.reshape(14, 40, 12, 40).sum(axis=(1, 3))
    expected = observed.sum() * shares / shares.sum()
    assert shares.sum() == pytest.approx(1, abs=1e-4)
    many = expected > 20
    assert many.sum() > 80
    chi2 = ((observed - expected) ** 2 / expected)[many].sum()
    assert scipy.stats.chi2(many.sum() - 1).sf(chi2) > 1e-3


def test_mdd_without_disruption_is_schechter_and_constant():
    law = MassDependentDisruption(MASS, AGE, -1.9, 5.0, 0.65, 20.0)
    separate = Schechter(MASS, -1.9, 5.0).log_prob(X[:, None]) + Constant(AGE).log_prob(T[None, :])
    np.testing.assert_allclose(law.log_prob(X[:, None], T[None, :]), separate, atol=1e-9)
