"""Sizes: the radius of half of the stars, which profiles are taken, and densities."""

import dataclasses

import numpy as np
import pytest

from starcensus.simulate import EFF
from starcensus.simulate.stamps import (
    StampSettings,
    draw_eff,
    half_number_radius,
    log_half_mass_density,
    propose_eff,
)


def test_the_radius_of_half_of_the_stars_in_closed_form():
    gamma = np.array([3.0, 4.0, 6.0, 8.0])
    expected = [3**0.5, 1.0, 0.6436, 0.5098]
    np.testing.assert_allclose(half_number_radius(np.ones(4), gamma), expected, atol=5e-5)
    for a, g in ((0.3, 2.3), (1.2, 5.0)):
        of_profile = EFF(a, g).half_light_radius
        assert half_number_radius(np.array(a), np.array(g)) == pytest.approx(of_profile, rel=1e-12)


def test_half_of_the_stars_lie_within():
    profile = EFF(0.7, 2.6)
    radii = np.hypot(*profile.sample(np.random.default_rng(3), 100_000).T)
    inside = (radii < half_number_radius(np.array(0.7), np.array(2.6))).mean()
    assert inside == pytest.approx(0.5, abs=0.008)  # five standard deviations


def test_as_many_profiles_are_taken_as_the_ranges_imply():
    """0.538 by arithmetic on the ranges; two million draws scatter by 0.0004."""
    a, gamma, taken = propose_eff(StampSettings(), 2_000_000, np.random.default_rng(5))
    assert taken.mean() == pytest.approx(0.538, abs=0.005)
    # The corners that no radius in the range reaches.
    assert gamma[taken].min() >= 2.30 and a[taken].max() <= 0.785
    assert gamma[taken].min() < 2.35 and a[taken].max() > 0.77
    size = np.log10(a * np.sqrt(2 ** (2 / (gamma - 2)) - 1))
    np.testing.assert_array_equal(taken, (size >= -1.4) & (size <= -0.4))
    # The distribution of log r_h rises from 5% to 8% of the clusters in a fourteenth of the range.
    shares = np.histogram(size[taken], 14, (-1.4, -0.4))[0] / taken.sum()
    assert shares[0] == pytest.approx(0.05, abs=0.01) and shares[-1] == pytest.approx(
        0.08, abs=0.01
    )
    for values, (low, high) in ((a, (0.04, 1.2)), (gamma, (2.05, 8.0))):
        logs = np.log(values / low) / np.log(high / low)
        assert logs.mean() == pytest.approx(0.5, abs=1e-3)
        assert logs.std() == pytest.approx(12**-0.5, abs=1e-3)


def test_one_profile_at_a_time_is_of_the_same_distribution():
    rng = np.random.default_rng(2)
    pairs = np.array([draw_eff(StampSettings(), rng) for _ in range(4000)])
    size = np.log10(half_number_radius(*pairs.T))
    assert size.min() >= -1.4 and size.max() <= -0.4
    a, gamma, taken = propose_eff(StampSettings(), 400_000, rng)
    many = np.log10(half_number_radius(a, gamma))[taken]
    error = many.std() / 4000**0.5
    assert size.mean() == pytest.approx(many.mean(), abs=5 * error)


def test_ranges_without_such_a_radius_are_refused():
    none = dataclasses.replace(StampSettings(), log_r_h_arcsec=(1.0, 1.1), eff_gamma=(4.0, 8.0))
    with pytest.raises(ValueError, match=r"log r_h from 1 to 1.1 arcsec; widen the ranges"):
        draw_eff(none, np.random.default_rng(0))


def test_densities():
    """The thesis's range: 10⁴ M_sun within 0.1 arcsec at 4.5 Mpc, and the corners of its box."""
    per_arcsec = StampSettings().pc_per_arcsec
    log_mass = np.array([4.0, 3.5, 5.5])
    r_h = np.array([0.1, 0.4, 0.04]) * per_arcsec
    densities = log_half_mass_density(log_mass, r_h)
    np.testing.assert_allclose(densities, [2.06, -0.25, 4.75], atol=7e-3)
