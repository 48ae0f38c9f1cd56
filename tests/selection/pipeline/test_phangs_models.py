"""Synthetic clusters of PHANGS-HST: the grid, what is inserted, and the regions it fills."""

import dataclasses

import numpy as np
import pytest
from scipy import integrate

from starcensus.selection.pipeline import PhangsPipeline, PhangsSettings
from starcensus.selection.pipeline.phangs import (
    CI_TABLE_1,
    ModelSettings,
    crossing_time_myr,
    fiducial_ci,
    half_light_radius,
    mean_magnitudes,
    synthetic_clusters,
)
from starcensus.simulate import StellarGrid, StellarPopulation, draw_clusters
from starcensus.simulate.clusters.profiles import Moffat
from starcensus.simulate.images.frame import BandImage, Frame
from starcensus.simulate.images.psf import optical_psf

V = "WFC3_UVIS_F555W"
GRID = ModelSettings()


@pytest.mark.parametrize(
    ("fwhm", "eta", "a", "r_eff"),
    [(2.0, 3.0, 1.96146, 1.26238), (1.0, 4.0, 1.14948, 0.58603), (2.0, 2.0, 1.55377, 1.55377)],
)
def test_moffat_radii(fwhm: float, eta: float, a: float, r_eff: float):
    assert Moffat(fwhm, eta).core_radius_pc == pytest.approx(a, abs=6e-6)
    assert half_light_radius(fwhm, eta) == pytest.approx(r_eff, abs=6e-6)

    def light(r: float) -> float:
        return 2 * np.pi * r * (1 + (r / a) ** 2) ** -eta

    inside, total = (integrate.quad(light, 0, end)[0] for end in (r_eff, np.inf))
    assert inside / total == pytest.approx(0.5, abs=1e-5)
    assert half_light_radius(2.0, 3.0) * 0.19208 * 16 == pytest.approx(3.880, abs=6e-4)
    assert half_light_radius(2.0, 3.0) * 0.19208 * 9.9 == pytest.approx(2.401, abs=6e-4)


def test_every_morphology_has_its_fwhm_and_no_radius_where_light_is_endless():
    for fwhm, eta in GRID.morphologies:
        a = Moffat(fwhm, eta, truncation_pc=1e3).core_radius_pc
        assert (1 + (fwhm / 2 / a) ** 2) ** -eta == pytest.approx(0.5)
        assert np.isnan(half_light_radius(fwhm, eta)) == (eta <= 1)


def test_the_size_of_the_grid():
    assert len(GRID.fwhm_pix) == 27 and len(GRID.morphologies) == 216
    assert (GRID.fwhm_pix[0], GRID.fwhm_pix[-1]) == (0.5, 7.0)
    assert len(GRID.log_ages) * len(GRID.a_vs) == 21
    assert (GRID.n_per_morphology, GRID.n_models) == (21_000, 4_536_000)


@pytest.mark.parametrize(("mpc", "small"), [(9.9, 105), (10, 104), (16, 69), (18, 61)])
def test_how_many_morphologies_are_below_10_pc(mpc: float, small: int):
    radii = np.array([half_light_radius(*each) for each in GRID.morphologies]) * 0.19208 * mpc
    assert np.isfinite(radii).sum() == 135
    assert (radii <= 10).sum() == small


def test_the_crossing_time_of_a_known_cluster():
    # 10^4 M_sun within 1 pc: 10 / sqrt(0.0045 x 10^4) Myr.
    found = crossing_time_myr(np.array([4.0]), np.array([1.0]))
    assert found == pytest.approx(10 / np.sqrt(45), rel=1e-3)


@pytest.fixture(scope="module")
def population() -> StellarPopulation:
    return StellarPopulation(StellarGrid.default())


def test_magnitudes_are_those_of_massive_clusters(population):
    settings = ModelSettings(log_ages=(7.0, 8.0), a_vs=(0.0, 0.5))
    expected = mean_magnitudes(population, V, settings)
    theta = np.full(40, 6.0), np.repeat([7.0, 8.0], 20), np.tile([0.0, 0.5], 20)
    drawn = draw_clusters(population, *theta, seeds=np.arange(40)).abs_mags
    found = drawn[:, population.bands.index(V)].reshape(2, 10, 2).mean(1) + 15
    np.testing.assert_allclose(found, expected, atol=0.02)
    with pytest.raises(ValueError, match="no band F999W; there are"):
        mean_magnitudes(population, "F999W", settings)


def sky(shape=(150, 190), level: float = 0.1, t: float = 1000.0) -> BandImage:
    rng = np.random.default_rng(1)
    data = (rng.poisson(level * t, shape) / t).astype(np.float32)
    return BandImage(V, data, t, 25.8)


@pytest.fixture(scope="module")
def psf():
    return optical_psf(V, radius_pix=50)


@pytest.fixture(scope="module")
def fiducial(psf):
    return fiducial_ci({V: psf})[V]


@pytest.fixture(scope="module")
def inserted(psf, fiducial):
    settings = ModelSettings(n_masses=100, fwhm_pix=(1.0, 3.0), etas=(0.75, 1.5, 4.0))
    magnitudes = np.full((7, 3), 4.5) + np.linspace(0, 1, 7)[:, None]
    clusters = synthetic_clusters(sky(), psf, 29.98, 1.9, magnitudes, settings, 3, fiducial)
    return settings, clusters


def test_inserted_fiducials_have_the_noise_free_ci(psf, fiducial):
    settings = ModelSettings(n_masses=300, fwhm_pix=(2.0,), etas=(3.0,), mass_range=(5e4, 1e5))
    found = synthetic_clusters(
        sky(), psf, 29.98, 1.9, np.full((7, 3), 3.0), settings, 0, CI_TABLE_1
    )
    assert len(found) == 6300
    np.testing.assert_allclose(np.median(found.ci, axis=0), fiducial, atol=0.006)


def test_what_is_inserted_is_what_was_asked(inserted):
    settings, found = inserted
    assert len(found) == settings.n_models == 12_600
    expected = 4.5 + (found.log_age - 6) / 3 - 2.5 * found.log_mass + 29.98
    np.testing.assert_allclose(found.mag, expected, atol=1e-9)
    assert np.unique(10**found.log_mass).round(3).tolist() == pytest.approx(
        np.linspace(1e3, 1e5, 100)
    )
    assert found.x.min() >= 12 and found.x.max() < 190 - 11
    assert found.y.min() >= 12 and found.y.max() < 150 - 11
    near = found.eta == 4.0
    rows = near & (found.fwhm_pix == 1.0)
    assert found.r_eff_pc[rows] == pytest.approx(np.full(rows.sum(), 0.58603 * 1.9), rel=1e-4)
    young = rows & (found.log_age == 6.0)
    assert (found.pi * crossing_time_myr(found.log_mass, found.r_eff_pc))[young] == pytest.approx(
        np.ones(young.sum())
    )


def test_scatter_of_mci_falls_with_brightness_and_rises_as_halos_widen(inserted):
    _, found = inserted
    for mci in (found.mci_in, found.mci_out):
        spread = [
            np.nanstd(
                mci[
                    (found.eta == 4)
                    & (found.fwhm_pix == 1)
                    & (found.mag > low)
                    & (found.mag <= high)
                ]
            )
            for low, high in ((22.5, 23.2), (23.5, 24.2), (25.0, 26.0))
        ]
        assert spread == sorted(spread)
        bright = (found.mag < 24) & (found.fwhm_pix == 1)
        spread = [np.nanstd(mci[bright & (found.eta == eta)]) for eta in (4.0, 1.5, 0.75)]
        assert spread == sorted(spread)


def test_which_clusters_count(inserted):
    settings, found = inserted
    counted = found.counts(settings)
    assert counted.any() and not counted[found.eta < 1].any()
    assert (found.brightness[counted] > 0.04).all()
    slow = (found.pi < 3) & (found.log_age > 7)
    assert slow.any() and not counted[slow].any()
    with_endless = found.counts(dataclasses.replace(settings, endless=True))
    assert with_endless[(found.eta < 1) & (found.brightness > 0.04)].all()
    assert (with_endless >= counted).all()


def test_a_seed_gives_the_same_clusters_whatever_else_is_in_the_grid(psf, fiducial):
    def run(seed: int, etas: tuple[float, ...]):
        settings = ModelSettings(n_masses=2, fwhm_pix=(2.0,), etas=etas)
        arguments = sky(), psf, 29.98, 1.9, np.full((7, 3), 4.0), settings, seed, fiducial
        return synthetic_clusters(*arguments).mci_in[:42]

    np.testing.assert_array_equal(run(1, (3.0,)), run(1, (3.0, 4.0)))
    assert not np.array_equal(run(1, (3.0,)), run(2, (3.0,)))


def test_mistakes_are_named(psf, fiducial):
    with pytest.raises(ValueError, match=r"shape \(20, 30\); expected 26 or more"):
        synthetic_clusters(sky((20, 30)), psf, 29.98, 1.9, np.zeros((7, 3)), GRID, 0, fiducial)
    with pytest.raises(ValueError, match=r"magnitudes has shape \(3, 7\); the grid has \(7, 3\)"):
        synthetic_clusters(sky(), psf, 29.98, 1.9, np.zeros((3, 7)), GRID, 0, fiducial)
    with pytest.raises(ValueError, match="n_masses >= 1"):
        ModelSettings(n_masses=0)


def test_an_ml_pipeline_needs_model_clusters(psf):
    with pytest.raises(ValueError, match="sample is 'ml' and regions is None"):
        PhangsPipeline(PhangsSettings(sample="ml"))
    frame = Frame((sky(),), 29.98)
    with pytest.raises(ValueError, match="sample is 'ml' and magnitudes is None"):
        PhangsPipeline.for_field(frame, {V: psf}, PhangsSettings(sample="ml"))
