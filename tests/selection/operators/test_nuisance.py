"""Operators that average over radius and surroundings, against explicit sums and quadrature."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from starcensus.networks import MLP
from starcensus.selection import (
    Box,
    NetworkSelection,
    PhotometricNetwork,
    background_distribution,
    independent,
    radius_distribution,
)
from starcensus.simulate import AbstractRadiusLaw, FlatRadius, MassRadius

BOX = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))
KNOWN = (1.0, 10.0)


def linear(coefficients: list[float], bias: float) -> MLP:
    return MLP([np.array([coefficients])], [np.array([bias])])


def p_linear(log_mass, log_age, a_v, log_r):
    return expit(2 * log_mass - log_age - 0.5 * a_v - 3 * log_r)


def operator(nuisance) -> NetworkSelection:
    return NetworkSelection(
        networks=(linear([2.0, -1.0, -0.5, -3.0], 0.0),), domain=BOX, nuisance=nuisance
    )


THETA = np.array([3.0, 4.0, 5.5]), np.array([7.0, 8.5, 9.0]), np.array([0.0, 1.0, 2.5])


def test_whole_radii_are_summed():
    found = operator(radius_distribution(FlatRadius(1.0, 10.0, whole=True), KNOWN)).p_sel(*THETA)
    each = [p_linear(*THETA, np.log10(r)) for r in range(1, 11)]
    np.testing.assert_allclose(found, np.mean(each, axis=0), rtol=1e-5)


def test_flat_radii_are_integrated():
    found = operator(radius_distribution(FlatRadius(2.0, 8.0), KNOWN)).p_sel(*THETA)
    for i, theta in enumerate(zip(*THETA, strict=True)):
        expected = quad(lambda r, t=theta: p_linear(*t, np.log10(r)) / 6, 2, 8)[0]
        assert found[i] == pytest.approx(expected, rel=1e-5)


def test_radii_that_grow_with_mass_are_integrated_at_each_mass():
    radius = MassRadius(slope=0.14, scatter=0.21, low=1.0, high=10.0)
    found = operator(radius_distribution(radius, KNOWN, n_nodes=24)).p_sel(*THETA)
    for i, theta in enumerate(zip(*THETA, strict=True)):
        law = norm(0.14 * theta[0], 0.21)
        expected = quad(lambda s, t=theta, d=law: p_linear(*t, s) * d.pdf(s), 0, 1)[0]
        assert found[i] == pytest.approx(expected / (law.cdf(1) - law.cdf(0)), rel=1e-4)


@dataclasses.dataclass(frozen=True)
class LogFlat(AbstractRadiusLaw):
    low: float = 1.0
    high: float = 10.0
    slope: float = 0.0

    def draw(self, u, log_mass):
        return self.low * (self.high / self.low) ** u * 10 ** (self.slope * log_mass)


def test_radii_of_a_law_of_ones_own_are_integrated():
    found = operator(radius_distribution(LogFlat(2.0, 8.0), KNOWN)).p_sel(*THETA)
    low, high = np.log10([2.0, 8.0])
    for i, theta in enumerate(zip(*THETA, strict=True)):
        expected = quad(lambda s, t=theta: p_linear(*t, s), low, high)[0] / (high - low)
        assert found[i] == pytest.approx(expected, rel=1e-3)


def test_a_law_of_ones_own_that_depends_on_mass_or_goes_too_far_is_refused():
    with pytest.raises(ValueError, match="depend on mass"):
        radius_distribution(LogFlat(2.0, 3.0, slope=0.05), KNOWN)
    with pytest.raises(ValueError, match="the network knows 1 to 10 pc"):
        radius_distribution(LogFlat(0.5, 8.0), KNOWN)


def test_radius_and_sky_together():
    skies = np.random.default_rng(0).normal(-1, 0.3, 5000)
    both = independent(
        radius_distribution(FlatRadius(1.0, 3.0, whole=True), KNOWN),
        background_distribution(skies, 50),
    )
    network = linear([2.0, -1.0, -0.5, -3.0, -2.0], 0.0)
    found = NetworkSelection(networks=(network,), domain=BOX, nuisance=both).p_sel(*THETA)
    expected = np.mean(
        [expit(2 * THETA[0] - THETA[1] - 0.5 * THETA[2] - 3 * np.log10(r) - 2 * s)
         for r in (1, 2, 3) for s in np.quantile(skies, (np.arange(400) + 0.5) / 400)], axis=0,
    )  # fmt: skip
    np.testing.assert_allclose(found, expected, rtol=3e-3)


def test_radii_that_the_network_does_not_know_are_refused():
    for radius in (FlatRadius(0.5, 5.0), MassRadius(), MassRadius(low=1.0, high=20.0)):
        with pytest.raises(ValueError, match="the network knows 1 to 10 pc"):
            radius_distribution(radius, KNOWN)
    with pytest.raises(ValueError, match="expected 3: mass, age, A_V"):
        operator(None)


def photometric(masked: bool, nuisance=None) -> PhotometricNetwork:
    k = 0 if nuisance is None else 1
    weights = [-1.0, -0.5, *[-2.0] * k, *([0.3, 0.1] if masked else [])]
    mean = np.array([20.0, 21.0, *[0.0] * k, *([0.0, 0.0] if masked else [])])
    network = MLP([np.array([weights])], [np.array([0.5])], mean)
    limits = np.array([[15.0, 30.0], [15.0, 30.0]])
    return PhotometricNetwork(
        (network,), ("A", "B"), limits, 29.98, nuisance=nuisance, masked=masked
    )


def test_magnitudes_with_a_radius_are_averaged():
    nuisance = radius_distribution(FlatRadius(1.0, 10.0, whole=True), KNOWN)
    mags = np.array([[19.0, 22.0], [20.0, 20.0]])
    each = [expit(0.5 - (mags[:, 0] - 20) - 0.5 * (mags[:, 1] - 21) - 2 * np.log10(r))
            for r in range(1, 11)]  # fmt: skip
    one = photometric(False, nuisance)
    np.testing.assert_allclose(one.p_sel(mags), np.mean(each, 0), rtol=1e-5)
    at = one.members(mags, jnp.log10(jnp.array([[2.0], [5.0]])))[0]
    np.testing.assert_allclose(at, [each[1][0], each[4][1]], rtol=1e-5)
    with pytest.raises(ValueError, match="knows no mass"):
        photometric(False, radius_distribution(MassRadius(low=1.0, high=10.0), KNOWN))


def test_a_missing_band_is_seen_as_missing_and_not_as_faint():
    one = photometric(True)
    mags = np.array([[19.0, np.nan], [19.0, 22.0]])
    p = np.asarray(one.p_sel(mags))
    assert p[0] == pytest.approx(expit(0.5 + 1.0 + 0.3), rel=1e-5)
    assert p[1] == pytest.approx(expit(0.5 + 1.0 - 0.5 + 0.3 + 0.1), rel=1e-5)
    for broken, message in (
        ([[np.nan, np.nan]], "needs one magnitude at least"),
        ([[19.0, 99.999]], "sentinel"),
        ([[19.0, np.inf]], "not a magnitude"),
    ):
        with pytest.raises(ValueError, match=message):
            one.p_sel(np.array(broken))
    with pytest.raises(ValueError, match="not a magnitude"):
        photometric(False).p_sel(mags)
