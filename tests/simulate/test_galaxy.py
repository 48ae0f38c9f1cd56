"""The synthetic galaxy: what is in it, where, and with which noise."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from starcensus.simulate import ClusterLibrary, StellarGrid, StellarPopulation
from starcensus.simulate.galaxy import NGC628C, GalaxySettings, make_galaxy
from starcensus.simulate.psf import default_psfs
from starcensus.simulate.white import placement_density

SETTINGS = GalaxySettings(shape=(180, 260), exposures=NGC628C[3:], smoothing_pc=40.0)


@pytest.fixture(scope="module")
def parts():
    return StellarPopulation(StellarGrid.default()), default_psfs(SETTINGS.bands)


def clusters(n: int, mag: float) -> ClusterLibrary:
    mags = np.full((n, 2), mag)
    theta = np.full(n, 4.0), np.full(n, 8.0), np.zeros(n)
    return ClusterLibrary(*theta, SETTINGS.bands, mags, np.zeros(n), r_eff_pc=np.full(n, 3.0))


@pytest.fixture(scope="module")
def field(parts):
    return make_galaxy(SETTINGS, *parts, seed=1)


def test_clusters_add_their_photons_and_change_nothing_else(parts, field):
    with_clusters = make_galaxy(SETTINGS, *parts, seed=1, clusters=clusters(3, -9.0))
    extra = [
        (a.data - b.data).astype(float)
        for a, b in zip(with_clusters.frame, field.frame, strict=True)
    ]
    light = with_clusters.expected - field.expected
    for image, added, expected in zip(field.frame, extra, light, strict=True):
        # Three clusters of magnitude -9: Poisson, so 5 sigma fails once in two million.
        total = float(expected.sum(dtype=float)) * image.exposure_s
        wanted = 3 * float(image.electrons(np.array([-9.0 + 29.98]))[0])
        assert total == pytest.approx(wanted, rel=0.1)
        assert abs(added.sum() * image.exposure_s - total) < 5 * np.sqrt(total)
        assert (np.abs(added[expected == 0]) == 0).all()


def test_clusters_lie_as_the_smoothed_white_light(parts, field):
    n = 4000
    galaxy = make_galaxy(SETTINGS, *parts, seed=1, clusters=clusters(n, np.inf))
    clean = field.frame.with_data(dict(zip(SETTINGS.bands, field.expected, strict=True)))
    density = placement_density(clean, SETTINGS.smoothing_pc, SETTINGS.margin_pix)
    # 6 x 5 blocks that hold pixels; chi-square fails once in 10,000.
    rows, cols = np.linspace(0, 180, 6).astype(int), np.linspace(0, 260, 7).astype(int)
    expected = np.add.reduceat(np.add.reduceat(density, rows[:-1], 0), cols[:-1], 1) * n
    found = np.histogram2d(galaxy.y, galaxy.x, [rows - 0.5, cols - 0.5])[0]
    assert stats.chisquare(found.ravel(), expected.ravel()).pvalue > 1e-4
    uniform = np.full_like(expected, n / expected.size)
    assert stats.chisquare(found.ravel(), uniform.ravel()).pvalue < 1e-6


def test_noise_is_that_of_light_and_reading(field):
    # 46,800 pixels give a variance to 0.7%; 4% is 6 sigma.
    for image, expected in zip(field.frame, field.expected, strict=True):
        t = image.exposure_s
        residual = (image.data - expected).astype(float) * t
        variance = expected * t + image.read_noise_e**2 * image.n_exposures
        assert np.mean(residual**2 / variance) == pytest.approx(1.0, abs=0.04)


def test_shared_noise_keeps_its_variance_and_links_neighbours(parts, field):
    settings = dataclasses.replace(SETTINGS, noise_correlation_pix=0.6)
    smooth = make_galaxy(settings, *parts, seed=1)
    for image, before, expected in zip(smooth.frame, field.frame, field.expected, strict=True):
        noise, white = image.data - expected, before.data - expected
        assert noise.var() == pytest.approx(white.var(), rel=0.05)
        beside = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
        assert beside == pytest.approx(np.exp(-1 / (4 * 0.6**2)), abs=0.06)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(parts, field):
    again, other = (make_galaxy(SETTINGS, *parts, seed=seed) for seed in (1, 2))
    for a, b, c in zip(field.frame, again.frame, other.frame, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
        assert (a.data != c.data).any()


def test_the_disc_has_its_surface_brightness(parts):
    settings = dataclasses.replace(
        SETTINGS,
        bulge_mu_v=40.0,
        young_mu_v=40.0,
        lane_a_v=0.0,
        galaxies_per_arcmin2=0.0,
        disc_scale_kpc=1e6,
    )
    galaxy = make_galaxy(settings, *parts, seed=1)
    exposure = settings.exposures[0]
    rate = galaxy.expected[0].mean() - exposure.sky
    mu_v = exposure.zero_point - 2.5 * np.log10(rate / settings.pixel_scale_arcsec**2)
    assert mu_v == pytest.approx(settings.disc_mu_v, abs=0.1)


def test_a_band_without_a_psf_is_named(parts):
    with pytest.raises(ValueError, match="no PSF of ACS_F814W; psfs has ACS_F555W"):
        make_galaxy(SETTINGS, parts[0], {"ACS_F555W": parts[1]["ACS_F555W"]}, seed=1)
