"""What is drawn: ranges, presets, the grid and the cut."""

import dataclasses

import numpy as np
import pytest
from tests.simulate.stamps.toys import toy_settings

from starcensus.runs import RunError
from starcensus.simulate import (
    BandImage,
    Frame,
    StellarGrid,
    StellarPopulation,
    ssp_abs_mags,
)
from starcensus.simulate.stamps import StampSettings

M83 = StampSettings.m83(z=0.02)


def test_the_m83_set_up_is_that_of_the_thesis():
    assert M83.bands == ("WFC3_UVIS_F336W", "WFC3_UVIS_F438W", "WFC3_UVIS_F814W")
    assert M83.distance_modulus == pytest.approx(5 * np.log10(4.5e6) - 5, abs=5e-4)
    assert M83.size_pix * M83.pc_per_pixel == pytest.approx(55.9, abs=0.06)
    low, high = 10 ** np.array(M83.log_r_h_arcsec) * M83.pc_per_arcsec
    assert low == pytest.approx(0.87, abs=0.006) and high == pytest.approx(8.7, abs=0.06)
    assert len(M83.log_ages) == 71 and len(M83.a_vs) == 31
    assert len(M83.log_ages) * len(M83.a_vs) == 2201
    assert M83.middle_pix == 31.5


def test_the_ages_are_those_of_the_carried_grid():
    ages = StellarGrid.default().log_age
    index, weight = StellarPopulation(StellarGrid.default()).place(M83.log_ages)
    # Of an age of the grid one isochrone alone is used: the weights of its neighbours are nothing.
    assert np.minimum(weight, 1 - weight).max() < 1e-9
    np.testing.assert_allclose(ages[np.round(index + weight).astype(int)], M83.log_ages)
    assert StampSettings.ngc628().log_ages[[0, -1]].tolist() == [6.0, 10.1]


def test_the_set_up_of_ngc_628_has_the_sizes_of_m83_in_parsecs():
    far = StampSettings.ngc628()
    assert far.bands[0] == "WFC3_UVIS_F275W" and len(far.bands) == 5
    assert far.distance_modulus == pytest.approx(5 * np.log10(9.9e6) - 5, abs=2e-3)
    sizes = [10 ** np.array(each.log_r_h_arcsec) * each.pc_per_arcsec for each in (M83, far)]
    np.testing.assert_allclose(sizes[0], sizes[1], rtol=1e-9)
    ratio = np.array(far.eff_a_arcsec) / np.array(M83.eff_a_arcsec)
    np.testing.assert_allclose(ratio, 4.5 / 9.9, rtol=2e-3)
    far.check_grid()
    assert far.passes(np.array([[30.0, 30.0, 30.0, 23.9, 30.0]])).all()
    assert not far.passes(np.array([[20.0, 20.0, 20.0, 24.0, 20.0]])).any()


def test_a_cluster_passes_where_it_is_brighter_in_all_bands():
    limits = np.array([24.0, 23.5, 23.0])
    every = limits + 0.1 * np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, 8).T
    assert M83.passes(every).tolist() == [(row < limits).all() for row in every]
    assert M83.passes(every).sum() == 1
    assert not M83.passes(limits[None]).any()
    free = dataclasses.replace(M83, faintest_mags=(24.0, np.inf, np.inf))
    assert free.passes(np.array([[23.0, 99.0, np.inf]])).all()
    assert dataclasses.replace(M83, faintest_mags=None).passes(every).all()


def test_dust_takes_more_blue_light():
    stars = StellarPopulation(StellarGrid.default().select(M83.bands))
    for log_age in (6.6, 8.0, 10.1):
        clear, dusty = ssp_abs_mags(stars, np.full(2, log_age), np.array([0.0, 3.0]))
        dimming = dusty - clear
        assert dimming[0] > dimming[1] > dimming[2] > 1.0


def test_a_grid_of_another_metallicity_is_refused_unless_it_is_asked_for():
    with pytest.raises(RunError, match=r"carried stellar grid has z = 0.02 .* ask for z = 0.03"):
        StampSettings.m83().check_grid()
    M83.check_grid()
    dataclasses.replace(M83, z=None).check_grid()
    StampSettings().check_grid()


def test_a_grid_without_what_is_drawn_is_refused(tmp_path):
    toy = toy_settings(tmp_path)
    toy.check_grid()
    with pytest.raises(RunError, match=r"has z = None and the settings ask for z = 0.03"):
        dataclasses.replace(toy, z=0.03).check_grid()
    with pytest.raises(
        RunError, match=r"has no band WFC3_UVIS_F336W, .* it has blue, green, red: build"
    ):
        dataclasses.replace(M83, grid=toy.grid, z=None).check_grid()
    with pytest.raises(RunError, match=r"log_age runs from 6.5 to 9.5; .* has 6.5 to 8.5"):
        dataclasses.replace(toy, log_age=(6.5, 9.5)).check_grid()


def test_settings_follow_a_frame():
    image = np.full((32, 32), 0.02)
    image[0, 0] = 0.5
    frame = Frame(
        (
            BandImage("WFC3_UVIS_F336W", image, exposure_s=1234.0, zero_point=23.4),
            BandImage("WFC3_UVIS_F814W", image + 0.01, exposure_s=99.0, zero_point=24.6),
        ),
        distance_modulus=29.0,
        pixel_scale_arcsec=0.0396,
    )
    like = M83.like(frame)
    assert like.bands == frame.bands and like.faintest_mags is None
    assert like.exposure_s.tolist() == [1234.0, 99.0] and like.exposures[1].sky == 0.03
    assert like.distance_modulus == 29.0 and like.pixel_scale_arcsec == 0.0396
    assert M83.like(frame.select(frame.bands[:1])).log_mass == M83.log_mass
    same = dataclasses.replace(M83, exposures=like.exposures, faintest_mags=(24.0, 23.0))
    assert same.like(frame).faintest_mags == (24.0, 23.0)
    # 1 electron/s is a magnitude of the zero point.
    rate = like.rate_of_flux * 10 ** (-0.4 * (np.array([23.4, 24.6]) - 29.0))
    np.testing.assert_allclose(rate, 1.0)


def test_a_description_is_equal_for_equal_mocks_and_no_others(tmp_path):
    toy = toy_settings(tmp_path)
    other = tmp_path / "elsewhere.h5"
    other.write_bytes((tmp_path / "toy_grid.h5").read_bytes())
    assert dataclasses.replace(toy, grid=str(other)).describe() == toy.describe()
    changes = {
        "log_mass": (2.5, 3.6),
        "faintest_mags": (30.0, 30.0, 30.0),
        "eff_gamma": (2.1, 8.0),
        "offset_sd_pix": 0.1,
        "draw": dataclasses.replace(toy.draw, rule="number"),
        "exposures": (dataclasses.replace(toy.exposures[0], zero_point=24.1), *toy.exposures[1:]),
    }
    for name, value in changes.items():
        assert dataclasses.replace(toy, **{name: value}).describe() != toy.describe(), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_mass": (5.0, 4.0)}, r"log_mass = \[5, 4\]; expected the lower limit first"),
        ({"log_mass": (1e3, 1e5)}, "if these are M_sun, write 3 to 5"),
        ({"log_age": (6.6, 10.12)}, r"log_age runs from 6.6 to 10.12 in steps of 0.05"),
        ({"a_v_step": 0.7}, "a_v runs from 0 to 3 in steps of 0.7"),
        ({"a_v_step": -0.1}, "a whole number of steps, or a step of 0"),
        ({"eff_gamma": (2.0, 8.0)}, "eff_gamma at 2; expected 0 or more, above 0, and above 2"),
        ({"faintest_mags": (24.0, 23.0)}, "expected one magnitude for each of WFC3_UVIS_F336W"),
        ({"size_pix": 4}, "size_pix is 4"),
        ({"offset_sd_pix": -1.0}, "offset_sd_pix -1; expected 8, 8 and 0 or more"),
        ({"exposures": M83.exposures[:1] * 3}, "exposures are of bands, each once"),
        ({"pixel_scale_arcsec": 0.0}, "pixel_scale_arcsec is 0"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(M83, **change)


def test_a_step_of_nothing_is_none():
    free = dataclasses.replace(M83, log_age_step=0.0, a_v_step=0.0)
    assert free.log_ages.tolist() == [6.6, 10.1] and free.a_vs.tolist() == [0.0, 3.0]
    fixed = dataclasses.replace(M83, log_age=(7.0, 7.0), a_v=(0.5, 0.5))
    assert fixed.log_ages.tolist() == [7.0] and fixed.a_vs.tolist() == [0.5]
