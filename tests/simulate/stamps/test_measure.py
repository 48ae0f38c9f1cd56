"""Radii behind the PSF, the scatter of backgrounds, visibility, and radii of stars."""

import numpy as np
import pytest

from starcensus.simulate import EFF
from starcensus.simulate.stamps import (
    background_sigma,
    half_light_radius,
    observed_radius,
    visibility,
)

COLUMN, ROW = np.meshgrid(np.arange(64), np.arange(64))


def disc(x: float, y: float, radius: float) -> np.ndarray:
    return (np.hypot(COLUMN - x, ROW - y) <= radius).astype(np.float32)


def test_a_disc_as_bright_as_the_background_scatters_has_visibility_1():
    rng = np.random.default_rng(1)
    noise = rng.normal(0.3, [[[[0.02]], [[0.5]]]], (1, 2, 64, 64)).astype(np.float32)
    sigma = background_sigma(noise)
    for radius in (2.0, 6.3, 12.0):
        stamp = disc(31.5, 31.5, radius) * sigma[0].astype(np.float32)[:, None, None]
        _, core = observed_radius(stamp, 31.5, 31.5)
        assert visibility(core[None], sigma) == pytest.approx(1.0, rel=1e-6)
        _, twice = observed_radius(2 * stamp, 31.5, 31.5)
        assert visibility(twice[None], sigma) == pytest.approx(2.0, rel=1e-6)


def test_visibility_is_the_mean_of_the_bands():
    core, sigma = np.array([[0.2, 0.4], [0.0, 0.1]]), np.array([[0.1, 0.1], [0.1, 0.0]])
    np.testing.assert_allclose(visibility(core, sigma), [3.0, np.inf])
    assert visibility(np.zeros((1, 2)), np.zeros((1, 2))) == 0.0


def test_half_of_the_light_of_a_disc():
    for x, y in ((31.5, 31.5), (30.2, 33.9)):
        radius, rate = observed_radius(disc(x, y, 12.0)[None], x, y)
        assert radius[0] == pytest.approx(12 / 2**0.5, rel=0.01)
        assert rate[0] == pytest.approx(1.0, rel=1e-6)


def test_half_of_the_light_of_a_gaussian():
    """σ √(2 ln 2) in closed form; each band has its own radius."""
    sigma = np.array([2.0, 4.0])[:, None, None]
    r2 = (COLUMN - 31.5) ** 2 + (ROW - 31.5) ** 2
    stamp = np.exp(-r2 / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    radius, rate = observed_radius(stamp.astype(np.float32), 31.5, 31.5)
    np.testing.assert_allclose(radius, sigma[:, 0, 0] * (2 * np.log(2)) ** 0.5, rtol=5e-3)
    np.testing.assert_allclose(rate, 0.5 / (np.pi * radius**2), rtol=2e-4)


def test_no_light_has_no_radius():
    radius, rate = observed_radius(
        np.stack([np.zeros((64, 64)), disc(31, 31, 3)]).astype(np.float32), 31.5, 31.5
    )
    assert radius[0] == rate[0] == 0.0 and radius[1] > 0


def test_the_scatter_is_that_within_25_pixels():
    noise = np.random.default_rng(2).normal(100.0, 0.1, (3, 2, 64, 64)).astype(np.float32)
    noise[:, :, np.hypot(COLUMN - 31.5, ROW - 31.5) > 25] = 1e6
    inside = np.hypot(COLUMN - 31.5, ROW - 31.5) <= 25
    expected = noise[:, :, inside].astype(float).std(axis=2)
    np.testing.assert_allclose(background_sigma(noise), expected, rtol=1e-5)
    assert background_sigma(noise[:, :, 30:34, 30:34]).shape == (3, 2)
    np.testing.assert_allclose(background_sigma(np.ones((1, 1, 64, 64), np.float32)), 0.0)


def test_half_of_the_stars_light():
    profile = EFF(2.0, 3.0)
    rng = np.random.default_rng(3)
    r = np.hypot(*profile.sample(rng, 5000).T)
    light = rng.exponential(size=(5000, 2))
    nothing = np.zeros(2)
    found = half_light_radius(r, light, profile, nothing)
    for column in range(2):
        order = np.argsort(r)
        within = np.cumsum(light[order, column])
        exact = r[order[np.searchsorted(within, within[-1] / 2)]]
        assert found[column] == pytest.approx(exact, rel=0.01)
    # Smooth light has the profile's own radius, and pulls the radius there.
    alone = half_light_radius(r[:0], light[:0], profile, np.ones(2))
    np.testing.assert_allclose(alone, 2 * 3**0.5, rtol=1e-3)
    most = half_light_radius(r[:50], light[:50], profile, np.full(2, 1e5))
    np.testing.assert_allclose(most, 2 * 3**0.5, rtol=2e-3)
    # One star far out that outshines the others.
    far, bright = np.r_[r[:10], 1e4], np.r_[np.ones(10), 50.0][:, None]
    assert half_light_radius(far, bright, profile, np.zeros(1))[0] == np.inf
    assert half_light_radius(far, 0 * bright, profile, np.zeros(1))[0] == 0.0
