"""The synthetic galaxy: what is in it, where, and with which noise."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage, stats

from starcensus.simulate import (
    ClusterLibrary,
    DrawSettings,
    StellarGrid,
    StellarPopulation,
    draw_clusters,
)
from starcensus.simulate.images.galaxy import NGC628C, GalaxySettings, make_galaxy
from starcensus.simulate.images.psf import PSF, default_psfs
from starcensus.simulate.images.white import placement_density

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


# All of the disc in a small frame, its light as means, without noise of drawn stars.
WHOLE = dataclasses.replace(
    SETTINGS,
    pixel_scale_arcsec=0.6,
    centre=(0.45, 0.55),
    star_limit_m_v=-40.0,
    bulge_mu_v=40.0,
    galaxies_per_arcmin2=0.0,
)


def light(parts, settings: GalaxySettings, seed: int = 1) -> np.ndarray:
    """Expected electrons/s above the sky."""
    sky = np.array([exposure.sky for exposure in settings.exposures])
    return make_galaxy(settings, *parts, seed=seed).expected - sky[:, None, None]


def crests(settings: GalaxySettings, behind: float = 0.0) -> tuple[np.ndarray, ...]:
    """On and between two logarithmic spirals, 1.5 to 5 kpc from the centre; and kpc from it."""
    y, x = np.mgrid[: settings.shape[0], : settings.shape[1]]
    kpc = settings.pc_per_pixel / 1000
    dx = (x - settings.centre[0] * settings.shape[1]) * kpc
    dy = (y - settings.centre[1] * settings.shape[0]) * kpc
    r = np.maximum(np.hypot(dx, dy), 0.01)
    angle = np.arctan2(dy, dx) - np.log(r) / np.tan(np.deg2rad(settings.pitch_deg))
    phase = np.where((r > 1.5) & (r < 5), np.cos(2 * (angle + behind)), 0.0)
    return phase > 0.8, phase < -0.8, r


def test_young_light_follows_the_arms_in_clumps(parts):
    settings = dataclasses.replace(WHOLE, disc_mu_v=40.0, lane_a_v=0.0)
    clumped, even = (
        light(parts, dataclasses.replace(settings, clumping_dex=dex))[0] for dex in (0.25, 0.0)
    )
    on, between, r = crests(settings)
    clumped, even = (plane * np.exp(r / settings.disc_scale_kpc) for plane in (clumped, even))
    # (0.12 + exp((cos - 1) / 0.7²)) on and between, a mean over the phases that are used.
    cosine = np.cos(np.linspace(0, np.arccos(0.8), 100))
    high, low = (np.mean(0.12 + np.exp((c - 1) / 0.49)) for c in (cosine, -cosine))
    assert even[on].mean() / even[between].mean() == pytest.approx(high / low, rel=0.1)
    assert clumped[on].mean() / clumped[between].mean() > 3
    scatter = np.log10(clumped / even)[on | between]
    assert scatter.std() == pytest.approx(0.25, abs=0.03)


def test_arms_are_known_where_their_light_is():
    on, between, r = crests(WHOLE)
    y, x = np.mgrid[: WHOLE.shape[0], : WHOLE.shape[1]].astype(float)
    share = WHOLE.arms(x, y)
    # From 1.5 kpc on 0.002 are missing; phases whose cosine is 0.8 are 0.2 / 0.7² down.
    assert share[on].max() == pytest.approx(1.0, abs=0.01)
    assert share[on].min() == pytest.approx(np.exp(-0.2 / 0.49), abs=0.01)
    assert share[between].max() == pytest.approx(np.exp(-1.8 / 0.49), abs=0.01)
    assert share[r < 0.1].max() < 0.03
    assert WHOLE.arms(x[3], y[3]) == pytest.approx(share[3])


def test_lanes_dim_the_inner_side_of_the_arms(parts):
    settings = dataclasses.replace(WHOLE, young_mu_v=40.0)
    dusty = light(parts, settings)
    clear = light(parts, dataclasses.replace(settings, lane_a_v=0.0))
    lost = -2.5 * np.log10(dusty / clear)
    on, between, _ = crests(settings, behind=0.22)
    assert lost[0][on].mean() > 0.12 and lost[0][between].mean() < 0.02
    # Half of the stars are in front; F814W loses 0.6 of what V does.
    assert (lost < 2.5 * np.log10(2) + 0.01).all()
    assert lost[1][on].mean() / lost[0][on].mean() == pytest.approx(0.6, abs=0.05)
    assert lost[0][on].std() > 0.03


def test_background_galaxies_are_as_many_and_as_red_as_said(parts):
    settings = dataclasses.replace(SETTINGS, galaxies_per_arcmin2=2000.0)
    without = dataclasses.replace(settings, galaxies_per_arcmin2=0.0)
    arcmin2 = 180 * 260 * (settings.pixel_scale_arcsec / 60) ** 2
    found, colours = [], []
    for seed in range(6):
        added = light(parts, settings, seed) - light(parts, without, seed)
        assert added.min() > -1e-4
        peaks = (added[0] == ndimage.maximum_filter(added[0], 5)) & (added[0] > 1e-3)
        found.append(int(peaks.sum()))
        mags = [
            e.zero_point - 2.5 * np.log10(plane.sum())
            for e, plane in zip(settings.exposures, added, strict=True)
        ]
        colours.append(mags[0] - mags[1])
    # 41 of each seed, some in the light of others.
    assert 0.6 < np.mean(found) / (2000 * arcmin2) < 1.15
    assert np.mean(colours) == pytest.approx(1.1, abs=0.25)


def test_background_galaxies_are_seen_through_the_psf(parts):
    settings = dataclasses.replace(
        SETTINGS, galaxies_per_arcmin2=300.0, exposures=SETTINGS.exposures[:1]
    )
    without = dataclasses.replace(settings, galaxies_per_arcmin2=0.0)
    band = settings.exposures[0].band
    step = np.arange(-80, 81) / 4
    planes = []
    for sigma in (0.8, 3.0):
        wide = np.exp(-(step[:, None] ** 2 + step**2) / 2 / sigma**2)
        psfs = {band: PSF(band, wide / wide.sum(), 4, settings.pixel_scale_arcsec)}
        planes.append(light((parts[0], psfs), settings, 2) - light((parts[0], psfs), without, 2))
    sharp, smooth = (plane[0] for plane in planes)
    again = ndimage.gaussian_filter(sharp, np.sqrt(3.0**2 - 0.8**2), mode="constant")
    inner = (slice(20, -20),) * 2
    np.testing.assert_allclose(smooth[inner], again[inner], atol=0.01 * sharp[inner].max())
    assert smooth[inner].max() < 0.8 * sharp[inner].max()


# Young, most of the light in stars above the limit; old, most of it below.
@pytest.mark.parametrize("log_age", [7.5, 9.0])
def test_clusters_star_by_star_have_their_light_where_they_are(parts, log_age: float):
    population, _ = parts
    theta = np.array([5.3]), np.array([log_age]), np.array([0.3])
    seeds = np.array([4], np.uint64)
    mags = draw_clusters(population, *theta, seeds=seeds).abs_mags
    library = ClusterLibrary(
        *theta, population.bands, mags, np.zeros(1), seed=seeds, r_eff_pc=np.array([3.0])
    )
    plain = make_galaxy(SETTINGS, *parts, seed=8)
    smooth, stars = (
        make_galaxy(SETTINGS, *parts, seed=8, clusters=library, resolved=resolved)
        for resolved in (False, True)
    )
    assert abs(stars.x[0] - stars.y[0]) > 40
    y, x = np.mgrid[:180, :260]
    near = np.hypot(x - stars.x[0], y - stars.y[0]) < 12
    for of_stars, of_profile, field in zip(
        stars.expected, smooth.expected, plain.expected, strict=True
    ):
        own, profile = (plane.astype(float) - field for plane in (of_stars, of_profile))
        assert own.sum() == pytest.approx(profile.sum(), rel=0.04)
        assert own[near].sum() > 0.75 * own.sum()
        weight = own[near] / own[near].sum()
        assert (weight * x[near]).sum() == pytest.approx(stars.x[0], abs=0.5)
        assert (weight * y[near]).sum() == pytest.approx(stars.y[0], abs=0.5)
        if log_age < 8:  # Stars, not the profile.
            assert np.abs(own - profile).max() > 0.02 * profile.max()


def test_clusters_of_other_stars_are_refused(parts):
    """Their magnitudes would not be those of their light."""
    population, _ = parts
    theta = np.full(3, 3.5), np.full(3, 6.6), np.zeros(3)
    seeds = np.arange(3, dtype=np.uint64)
    gas = draw_clusters(population, *theta, seeds=seeds)
    bare = draw_clusters(population, *theta, seeds=seeds, settings=DrawSettings(nebular=False))
    assert (gas.abs_mags < bare.abs_mags).any()

    def made(mags: np.ndarray, seed: np.ndarray | None, draw: DrawSettings) -> None:
        radii = np.full(3, 3.0)
        library = ClusterLibrary(
            *theta, population.bands, mags, np.zeros(3), seed=seed, r_eff_pc=radii
        )
        make_galaxy(SETTINGS, *parts, seed=8, clusters=library, resolved=True, draw=draw)

    made(bare.abs_mags, seeds, DrawSettings(nebular=False))
    with pytest.raises(ValueError, match="expected a library of the same grid"):
        made(bare.abs_mags, seeds, DrawSettings())
    with pytest.raises(ValueError, match="expected a library of the same grid"):
        made(gas.abs_mags, seeds + np.uint64(1), DrawSettings())
    with pytest.raises(ValueError, match="the clusters have no seed"):
        made(gas.abs_mags, None, DrawSettings())


def test_a_band_without_a_psf_is_named(parts):
    with pytest.raises(ValueError, match="no PSF of ACS_F814W; psfs has ACS_F555W"):
        make_galaxy(SETTINGS, parts[0], {"ACS_F555W": parts[1]["ACS_F555W"]}, seed=1)


@pytest.mark.parametrize("shape", [(2_000_000, 2_000_000), (100_000, 64_000)])
def test_a_shape_beyond_memory_is_refused_before_it_is_taken(shape):
    """It ended in the words of an allocator, after half an hour of swapping on some machines."""
    with pytest.raises(ValueError, match=r"shape declares \d+ x \d+ pixels"):
        GalaxySettings(shape=shape)


def test_memory_that_is_not_there_is_not_taken(monkeypatch):
    from starcensus.simulate.images import frame

    settings = GalaxySettings(shape=(4096, 4096))
    monkeypatch.setattr(frame, "_memory_bytes", lambda: 2**31)
    point = np.zeros((3, 3))
    point[1, 1] = 1.0
    psfs = {band: PSF(band, point, 1, 0.0396) for band in settings.bands}
    stars = object.__new__(StellarPopulation)
    with pytest.raises(ValueError, match=r"4096 x 4096 pixels, which take 3.12 GiB .* has 2 GiB"):
        make_galaxy(settings, stars, psfs, 1)
