"""Resolved clusters: no light is lost, and each star has its place."""

import itertools
import math
import tracemalloc

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Distance
from scipy.stats import kstest, spearmanr

from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.cluster import DrawSettings, draw_clusters, draw_stars
from starcensus.simulate.clusters.imf import Kroupa
from starcensus.simulate.clusters.profiles import EFF, King, Profile
from starcensus.simulate.clusters.resolved import place_stars, resolve
from starcensus.simulate.sky import pc_per_arcsec, pc_per_pixel
from starcensus.simulate.stars.grid import StellarGrid

BANDS = ("WFC3_UVIS_F336W", "ACS_F555W", "ACS_F814W")
PROFILE = EFF.from_half_light(3.0)


def some_stars(n: int = 5000) -> tuple[np.ndarray, np.ndarray]:
    """Masses and magnitudes over 20 mag; the first ten stars are dark."""
    rng = np.random.default_rng(1)
    masses = 0.08 * (1 - rng.random(n)) ** (-1 / 1.35)
    mags = rng.uniform(-8.0, 12.0, n)[:, None] + rng.normal(0.0, 0.3, (n, len(BANDS)))
    mags[:10] = np.inf
    return masses, mags


def total(mags: np.ndarray) -> np.ndarray:
    return np.array([math.fsum(10 ** (-0.4 * column)) for column in mags.T])


@pytest.mark.parametrize("limit", [None, -20.0, -3.0, 0.0, 5.0, 30.0])
@pytest.mark.parametrize("band", BANDS)
def test_a_limit_conserves_the_light(limit, band):
    masses, mags = some_stars()
    gas = np.array([1e3, 2e3, 3e3])
    cluster = place_stars(
        [(masses, mags)],
        BANDS,
        PROFILE,
        4,
        unresolved_flux=gas,
        faint_limit_mag=limit,
        faint_limit_band=None if limit is None else band,
    )
    flux = cluster.flux.sum(0) + cluster.smooth_flux
    np.testing.assert_allclose(flux, total(mags) + gas, rtol=1e-13)
    np.testing.assert_allclose(cluster.total_abs_mags, -2.5 * np.log10(flux), rtol=1e-14)
    np.testing.assert_allclose(cluster.smooth_abs_mags, -2.5 * np.log10(cluster.smooth_flux))
    column = BANDS.index(band)
    if limit is None:
        assert cluster.n_smooth == 0 and len(cluster) == 4990
        np.testing.assert_array_equal(cluster.smooth_flux, gas)
    else:
        listed = mags[:, column] <= limit
        assert len(cluster) == listed.sum() and cluster.n_smooth == 4990 - listed.sum()
        np.testing.assert_array_equal(cluster.masses, masses[listed])
    np.testing.assert_array_equal(gas, [1e3, 2e3, 3e3])


def test_the_limit_is_in_the_last_band_by_default():
    masses, mags = some_stars()
    default = place_stars([(masses, mags)], BANDS, PROFILE, 4, faint_limit_mag=0.0)
    assert (default.abs_mags[:, -1] <= 0).all() and (default.abs_mags[:, 0] > 0).any()


def test_a_limit_in_several_bands_lists_what_is_bright_in_any():
    masses, mags = some_stars()
    some = BANDS[0], BANDS[-1]
    cluster = place_stars(
        [(masses, mags)], BANDS, PROFILE, 4, faint_limit_mag=0.0, faint_limit_band=some
    )
    each = [
        place_stars([(masses, mags)], BANDS, PROFILE, 4, faint_limit_mag=0.0, faint_limit_band=b)
        for b in some
    ]
    assert len(cluster) == ((mags[:, 0] <= 0) | (mags[:, -1] <= 0)).sum()
    assert len(cluster) > max(map(len, each))


def test_a_star_dark_in_the_band_of_the_limit_keeps_its_light_elsewhere():
    mags = np.array([[-1.0, 2.0, np.inf], [np.inf, np.inf, np.inf], [4.0, 4.0, 4.0]])
    cluster = place_stars([(np.ones(3), mags)], BANDS, PROFILE, 4, faint_limit_mag=5.0)
    assert len(cluster) == 1 and cluster.n_smooth == 1
    np.testing.assert_allclose(cluster.smooth_abs_mags, mags[0])


def test_chunks_and_limits_move_no_star():
    masses, mags = some_stars()
    whole = place_stars([(masses, mags)], BANDS, PROFILE, 4)
    cuts = [0, 1, 700, 700, 5000]
    parts = [(masses[a:b], mags[a:b]) for a, b in itertools.pairwise(cuts)]
    chunked = place_stars(iter(parts), BANDS, PROFILE, 4)
    limited = place_stars([(masses, mags)], BANDS, PROFILE, 4, faint_limit_mag=2.0)
    bright = whole.abs_mags[:, -1] <= 2.0
    for name in ("masses", "abs_mags", "x_pc", "y_pc"):
        np.testing.assert_array_equal(getattr(chunked, name), getattr(whole, name))
        np.testing.assert_array_equal(getattr(limited, name), getattr(whole, name)[bright])
    other = place_stars([(masses, mags)], BANDS, PROFILE, 5)
    np.testing.assert_array_equal(other.abs_mags, whole.abs_mags)
    assert (other.x_pc != whole.x_pc).all()


@pytest.mark.parametrize("profile", [PROFILE, King.from_half_light(2.0, 20.0, 0.5, 30.0)])
def test_places_follow_the_profile_and_ignore_the_stars(profile: Profile):
    """One Kolmogorov–Smirnov and three rank tests for each profile, 1e-5 false alarms each."""
    masses, mags = some_stars(20_000)
    cluster = place_stars([(masses, mags)], BANDS, profile, 11)
    radius = profile.circularised_radius(cluster.x_pc, cluster.y_pc)
    assert kstest(radius, profile.enclosed).pvalue > 1e-5
    assert spearmanr(radius, cluster.masses).pvalue > 1e-5
    assert spearmanr(radius, cluster.abs_mags[:, -1]).pvalue > 1e-5
    # Whatever else a generator of the same seed draws has nothing to do with the places.
    same_seed = np.random.default_rng(11).random((20_000, 2))[10:, 0]
    assert spearmanr(radius, same_seed).pvalue > 1e-5


def test_memory_follows_the_listed_stars():
    """Two million stars pass in 40 MB; all of them at once would take 96 MB and more."""
    masses, mags = some_stars(50_000)
    chunks = ((masses, mags) for _ in range(40))
    tracemalloc.start()
    cluster = place_stars(chunks, BANDS, PROFILE, 1, faint_limit_mag=-6.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6
    flux = cluster.flux.sum(0) + cluster.smooth_flux
    np.testing.assert_allclose(flux, 40 * total(mags), rtol=1e-12)
    assert len(cluster) + cluster.n_smooth == 40 * (50_000 - 10)


def test_no_star_at_all():
    cluster = place_stars([], BANDS, PROFILE, 0)
    assert len(cluster) == 0 and np.isposinf(cluster.total_abs_mags).all()
    assert cluster.pixel_positions(30.0, 0.04).shape == (0, 2)


def test_published_scales():
    """Two surveys of the thesis of J. Bialopetravičius, and PHANGS-HST (Thilker et al. 2022)."""
    for distance_mpc, modulus in ((0.785, 24.474), (4.5, 28.266), (9.9, 29.978)):
        assert Distance(distance_mpc, u.Mpc).distmod.value == pytest.approx(modulus, abs=6e-4)
        per_arcsec = (distance_mpc * u.Mpc * u.arcsec.to(u.rad)).to_value(u.pc)
        assert pc_per_arcsec(modulus) == pytest.approx(per_arcsec, rel=3e-4)
    assert 80 * pc_per_pixel(24.474, 0.05) == pytest.approx(15.2, abs=0.05)
    assert 64 * pc_per_pixel(28.266, 0.04) == pytest.approx(55.9, abs=0.06)
    assert 0.04 * pc_per_arcsec(28.266) == pytest.approx(0.87, abs=5e-3)
    for distance_mpc, scale in ((8.3, 1.594), (9.9, 1.902), (10.0, 1.921), (16.0, 3.073)):
        modulus = 5 * math.log10(distance_mpc * 1e5)
        assert pc_per_pixel(modulus, 0.03962) == pytest.approx(scale, abs=6e-4)


def test_pixels_and_apparent_magnitudes():
    cluster = place_stars([some_stars(100)], BANDS, PROFILE, 2)
    xy = cluster.pixel_positions(29.98, 0.0396, centre=(100.0, 20.5))
    scale = pc_per_pixel(29.98, 0.0396)
    np.testing.assert_allclose((xy[:, 0] - 100) * scale, cluster.x_pc, rtol=1e-9)
    np.testing.assert_allclose((xy[:, 1] - 20.5) * scale, cluster.y_pc, rtol=1e-9)
    np.testing.assert_allclose(cluster.apparent(29.98) - cluster.abs_mags, 29.98)


@pytest.fixture(scope="module", name="population")
def _population(grid: StellarGrid) -> StellarPopulation:
    return StellarPopulation(grid, Kroupa())


def integrated(population, theta, seed, settings):
    row = [np.array([value]) for value in theta]
    return draw_clusters(population, *row, np.array([seed]), settings)


@pytest.mark.parametrize("limit", [None, 2.0])
@pytest.mark.parametrize("rule", ["stop_nearest", "poisson", "number"])
@pytest.mark.parametrize("nebular", [True, False])
@pytest.mark.parametrize(
    "theta", [(2.0, 7.03, 0.0), (3.5, 6.2, 1.3), (4.7, 6.5, 4.9), (4.5, 8.4, 0.37)]
)
def test_the_light_is_that_of_the_integrated_draw(population, theta, nebular, rule, limit):
    settings = DrawSettings(rule=rule, nebular=nebular)
    for seed in (0, 3, 2**62 + 11):
        whole = integrated(population, theta, seed, settings)
        cluster = resolve(population, *theta, PROFILE, seed, settings, faint_limit_mag=limit)
        np.testing.assert_allclose(cluster.total_abs_mags, whole.abs_mags[0], atol=1e-4)
        stars = draw_stars(population, *theta, seed, settings)
        assert len(cluster) + cluster.n_smooth == np.isfinite(stars.abs_mags).any(1).sum()
        if limit is None:
            # The rest is gas, half of whose photons come from the stars; the toy grid's law.
            k = np.array([1.6, 1.0, 0.6])
            gas = 0.5e-49 * whole.q_h * 10 ** (-0.4 * 2.1 * theta[2] * k)
            expected = gas if nebular and theta[1] <= 7.0 else np.zeros(3)
            total_flux = 10 ** (-0.4 * whole.abs_mags[0])
            np.testing.assert_allclose(
                cluster.smooth_flux / total_flux, expected / total_flux, atol=1e-6
            )
            np.testing.assert_array_equal(
                cluster.masses, stars.masses[np.isfinite(stars.abs_mags[:, 0])]
            )


def test_neither_profile_nor_limit_changes_the_stars(population):
    theta, seed = (3.5, 7.0, 0.5), 8
    one = resolve(population, *theta, PROFILE, seed)
    other = resolve(population, *theta, King.from_half_light(1.0), seed)
    np.testing.assert_array_equal(one.abs_mags, other.abs_mags)
    np.testing.assert_array_equal(one.smooth_flux, other.smooth_flux)
    bright = resolve(
        population, *theta, PROFILE, seed, faint_limit_mag=0.0, faint_limit_band="green"
    )
    listed = one.abs_mags[:, 1] <= 0
    assert 0 < listed.sum() < len(one)
    np.testing.assert_array_equal(bright.x_pc, one.x_pc[listed])
    np.testing.assert_array_equal(bright.abs_mags, one.abs_mags[listed])


def test_a_massive_cluster_is_small_with_a_limit(population):
    cluster = resolve(population, 6.0, 7.5, 0.2, PROFILE, 1, faint_limit_mag=-3.0)
    whole = integrated(population, (6.0, 7.5, 0.2), 1, None)
    assert 0 < len(cluster) < 20_000 < 1_000_000 < cluster.n_smooth
    np.testing.assert_allclose(cluster.total_abs_mags, whole.abs_mags[0], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"faint_limit_mag": 1.0, "faint_limit_band": "V"}, "faint_limit_band is V; expected one"),
        ({"faint_limit_band": "ACS_F555W"}, "without a faint_limit_mag"),
        ({"stars": [(np.ones(3), np.ones((3, 2)))]}, r"shape \(3, 2\); expected \(3, 3\)"),
        ({"unresolved_flux": np.array([1.0, -1.0, 0.0])}, "smooth_flux in ACS_F555W is -1"),
    ],
)
def test_mistakes_are_named(options, message):
    arguments = {"stars": [some_stars(20)], "bands": BANDS, "profile": PROFILE, "seed": 1}
    with pytest.raises(ValueError, match=message):
        place_stars(**(arguments | options))


def test_impossible_clusters_and_pixels_are_refused():
    cluster = place_stars([some_stars(20)], BANDS, PROFILE, 2)
    object.__setattr__(cluster, "x_pc", np.zeros(9))  # past the annotations, as a user's would be
    with pytest.raises(ValueError, match=r"x_pc has shape \(9,\); expected \(10,\)"):
        cluster.__post_init__()
    with pytest.raises(ValueError, match="pixel_scale_arcsec is 0"):
        pc_per_pixel(30.0, 0.0)
