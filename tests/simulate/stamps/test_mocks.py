"""Mocks: their stars and light are the engine's, their places the profile's, their truths true."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest
from tests.simulate.stamps.toys import PSFS, gaussian_psf, toy_settings

from starcensus.simulate import DrawSettings, StellarPopulation, draw_clusters, draw_stars
from starcensus.simulate.library.engine import load_grid
from starcensus.simulate.stamps import (
    StampRenderer,
    draw_kinds,
    draw_mocks,
    half_number_radius,
    observed_radius,
)


@pytest.fixture(scope="module", name="toy")
def _toy(tmp_path_factory):
    return toy_settings(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module", name="mocks")
def _mocks(toy):
    return draw_mocks(toy, PSFS, 5, 0, 60)


def population(settings) -> StellarPopulation:
    return StellarPopulation(load_grid(settings.grid).select(settings.bands), settings.imf)


@pytest.mark.parametrize("nebular", [True, False])
@pytest.mark.parametrize(("log_mass", "log_age", "a_v"), [(3.2, 6.5, 0.0), (4.6, 7.3, 1.3)])
def test_kinds_are_the_stars_of_the_same_seed(toy, log_mass, log_age, a_v, nebular):
    stars, settings = population(toy), DrawSettings(nebular=nebular)
    row = [np.array([value]) for value in (log_mass, log_age, a_v)]
    whole = draw_clusters(stars, *row, np.array([9]), settings)
    kinds = draw_kinds(stars, log_mass, log_age, a_v, 9, settings)
    np.testing.assert_allclose(-2.5 * np.log10(kinds.total), whole.abs_mags[0], atol=1e-4)
    each = draw_stars(stars, log_mass, log_age, a_v, 9, settings)
    shining = np.isfinite(each.abs_mags).any(1)
    assert kinds.counts.sum() == shining.sum()
    listed = np.sort(np.repeat(kinds.flux[:, 1], kinds.counts))
    np.testing.assert_allclose(listed, np.sort(10 ** (-0.4 * each.abs_mags[shining, 1])), rtol=1e-9)
    assert kinds.gas.any() == (nebular and log_age <= 7.0)


def test_a_row_can_be_drawn_again_from_its_own_columns(toy, mocks):
    row = {name: mocks[name] for name in ("log_mass", "log_age", "a_v", "seed")}
    drawn = draw_clusters(population(toy), *row.values(), toy.draw)
    np.testing.assert_array_equal(mocks["mags"], drawn.abs_mags + toy.distance_modulus)
    np.testing.assert_array_equal(mocks["birth_mass"], drawn.birth_mass)
    np.testing.assert_array_equal(mocks["n_stars"], drawn.n_stars)
    assert len(np.unique(mocks["seed"])) == 60


def test_stamps_have_the_light_of_their_magnitudes(toy):
    """All of it, in stamps much larger than the clusters and their PSFs."""
    narrow = dataclasses.replace(
        toy, size_pix=96, eff_gamma=(6.0, 8.0), log_r_h_arcsec=(-1.4, -1.0)
    )
    mocks = draw_mocks(narrow, PSFS, 1, 0, 12)
    zero = np.array([exposure.zero_point for exposure in toy.exposures])
    light = mocks["images"].sum(axis=(2, 3), dtype=float)
    np.testing.assert_allclose(light, 10 ** (0.4 * (zero - mocks["mags"])), rtol=2e-3)
    assert mocks["images"].dtype == np.float32 and mocks["images"].min() >= 0


def test_gas_is_smooth_light_of_the_image(toy):
    young = dataclasses.replace(
        toy, log_age=(6.5, 6.5), log_mass=(4.5, 4.6), draw=DrawSettings(covering=1.0)
    )
    dry = dataclasses.replace(young, draw=DrawSettings(nebular=False))
    with_gas, without = (draw_mocks(each, PSFS, 1, 0, 3) for each in (young, dry))
    zero = np.array([exposure.zero_point for exposure in toy.exposures])
    rates = [10 ** (0.4 * (zero - each["mags"])) for each in (with_gas, without)]
    renderer = StampRenderer(tuple(PSFS.values()), 24)
    for row in range(3):
        a_pix = with_gas["eff_a_arcsec"][row] / 0.04
        gas = renderer.image(
            renderer.smooth(
                a_pix, with_gas["eff_gamma"][row], 11.5, 11.5, (rates[0] - rates[1])[row]
            )
        )
        found = with_gas["images"][row].astype(float) - without["images"][row]
        assert gas.max() > 1e-4
        np.testing.assert_allclose(found, gas, rtol=0.02, atol=1e-6 * with_gas["images"][row].max())


def test_parameters_fill_their_ranges(toy, mocks):
    assert set(mocks["log_age"]) == {6.5, 7.0, 7.5, 8.0, 8.5}
    assert set(np.round(mocks["a_v"] * 10)) <= set(range(31)) and len(set(mocks["a_v"])) > 20
    steps = np.abs(mocks["a_v"] * 10 - np.round(mocks["a_v"] * 10))
    assert steps.max() < 1e-9
    assert kstest((mocks["log_mass"] - 2.5), "uniform").pvalue > 1e-4
    size = np.log10(mocks["r_h_arcsec"])
    assert size.min() >= -1.4 and size.max() <= -0.4
    expected = half_number_radius(mocks["eff_a_arcsec"], mocks["eff_gamma"])
    np.testing.assert_allclose(mocks["r_h_arcsec"], expected, rtol=1e-12)
    np.testing.assert_allclose(mocks["r_h_pc"], expected * toy.pc_per_arcsec, rtol=1e-12)
    assert (mocks["x"] == 11.5).all() and (mocks["y"] == 11.5).all()
    smooth = dataclasses.replace(toy, log_age_step=0.0, a_v_step=0.0)
    free = draw_mocks(smooth, PSFS, 5, 0, 30)
    assert len(set(free["log_age"])) == len(set(free["a_v"])) == 30
    assert free["log_age"].min() >= 6.5 and free["log_age"].max() <= 8.5


def test_only_clusters_that_pass_the_cut_are_kept(toy, mocks, monkeypatch):
    faintest = tuple(float(np.median(mocks["mags"][:, band])) for band in range(3))
    cut = draw_mocks(dataclasses.replace(toy, faintest_mags=faintest), PSFS, 5, 0, 60)
    assert (cut["mags"] < np.array(faintest)).all()
    passed = (mocks["mags"] < np.array(faintest)).all(axis=1)
    assert 0 < passed.sum() < 60
    # What had passed without being asked is the same cluster, of the same stars.
    for name in ("seed", "log_mass", "mags", "images", "eff_a_arcsec"):
        np.testing.assert_array_equal(cut[name][passed], mocks[name][passed])
    assert not np.isin(cut["seed"][~passed], mocks["seed"]).any()
    monkeypatch.setattr("starcensus.simulate.stamps.mocks._ROUNDS", 20)
    with pytest.raises(
        ValueError, match=r"of 20 clusters none was brighter than faintest_mags \(-50.0"
    ):
        draw_mocks(dataclasses.replace(toy, faintest_mags=(-50.0, 0.0, 0.0)), PSFS, 5, 0, 1)


def test_a_mock_is_the_same_whichever_others_there_are(toy, mocks):
    some = draw_mocks(toy, PSFS, 5, 17, 21)
    for name, values in some.items():
        np.testing.assert_array_equal(values, mocks[name][17:21])
    other = draw_mocks(toy, PSFS, 6, 17, 21)
    assert (other["log_mass"] != some["log_mass"]).all()


def test_stars_lie_as_the_profile_says(toy):
    """Light within circles, of 20 rich clusters of one profile, and of the profile behind a PSF."""
    fixed = dataclasses.replace(
        toy,
        size_pix=32,
        log_age=(8.5, 8.5),
        a_v=(0.0, 0.0),
        log_mass=(5.0, 5.0),
        eff_a_arcsec=(0.08, 0.08),
        eff_gamma=(3.0, 3.0),
    )
    mocks = draw_mocks(fixed, PSFS, 2, 0, 20)
    total = 10 ** (0.4 * (np.array([24.0, 25.0, 24.5]) - mocks["mags"]))
    mean = (mocks["images"] / total[:, :, None, None]).mean(axis=0)
    renderer = StampRenderer(tuple(PSFS.values()), 32)
    pixel = np.arange(32) - 15.5
    r = np.hypot(pixel[:, None], pixel)

    def off(core_pix: float) -> float:
        model = renderer.image(renderer.smooth(core_pix, 3.0, 15.5, 15.5, np.ones(3)))
        light = [[each[:, r < end].sum(axis=1) for end in (2, 4, 8, 15)] for each in (mean, model)]
        return float(np.abs(np.divide(*light) - 1).max())

    assert off(2.0) < 0.03 and off(1.7) > 0.06 < off(2.3)


def test_half_of_the_light_lies_within_the_radii_that_say_so(toy):
    """Of clusters of many stars: the profile's own; behind the PSF, what a curve of growth says."""
    rich = dataclasses.replace(toy, size_pix=64, log_mass=(5.0, 5.0), log_age=(8.5, 8.5))
    mocks = draw_mocks(rich, PSFS, 3, 0, 5)
    np.testing.assert_allclose(mocks["half_light_arcsec"].mean(1), mocks["r_h_arcsec"], rtol=0.15)
    smallest = int(np.argmin(mocks["r_h_arcsec"]))
    assert (mocks["observed_arcsec"] > 1.2 * mocks["half_light_arcsec"])[smallest].all()
    for row in range(5):
        radius, rate = observed_radius(mocks["images"][row], 31.5, 31.5)
        np.testing.assert_allclose(radius * 0.04, mocks["observed_arcsec"][row])
        np.testing.assert_allclose(rate, mocks["core_rate"][row])


def test_centres_are_off_as_they_are_asked_to_be(toy):
    still = dataclasses.replace(toy, eff_gamma=(7.0, 8.0), log_r_h_arcsec=(-1.4, -1.2))
    mocks = draw_mocks(still, PSFS, 5, 0, 60)
    moved = draw_mocks(dataclasses.replace(still, offset_sd_pix=1.5), PSFS, 5, 0, 60)
    d = np.concatenate([moved["x"] - 11.5, moved["y"] - 11.5])
    assert kstest(d / 1.5, "norm").pvalue > 1e-4
    np.testing.assert_array_equal(moved["seed"], mocks["seed"])
    # The same stars about another centre: the light has moved with it.
    pixel = np.arange(24)
    light = np.stack([each["images"].sum(axis=1, dtype=float) for each in (mocks, moved)])
    total = light.sum(axis=(2, 3))
    x, y = (light.sum(axis=2) @ pixel) / total, (light.sum(axis=3) @ pixel) / total
    np.testing.assert_allclose(x[1] - x[0], moved["x"] - 11.5, atol=0.1)
    np.testing.assert_allclose(y[1] - y[0], moved["y"] - 11.5, atol=0.1)


def test_centres_are_off_by_what_was_measured(toy):
    measured = np.array([[0.5, 2.0], [1.0, 3.0]])
    moved = draw_mocks(toy, PSFS, 5, 0, 40, offsets_pix=measured)
    d = np.stack([moved["x"] - 11.5, moved["y"] - 11.5], axis=1)
    sides = {tuple(pair) for pair in np.sort(np.abs(d), axis=1).tolist()}
    assert sides == {(0.5, 2.0), (1.0, 3.0)}
    assert len({tuple(pair) for pair in d.tolist()}) > 8
    with pytest.raises(ValueError, match="offset_sd_pix is 1 and offsets_pix are given"):
        draw_mocks(dataclasses.replace(toy, offset_sd_pix=1.0), PSFS, 5, 0, 1, measured)


def test_other_psfs_are_refused(toy):
    with pytest.raises(ValueError, match="no PSF of green, red; there are blue"):
        draw_mocks(toy, {"blue": PSFS["blue"]}, 5, 0, 1)
    large = dataclasses.replace(gaussian_psf("red", 1.0), pixel_scale_arcsec=0.05)
    with pytest.raises(ValueError, match=r"PSF of red is of pixels of 0.05 arcsec; .* 0.04"):
        draw_mocks(toy, {**PSFS, "red": large}, 5, 0, 1)
