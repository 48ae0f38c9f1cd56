"""Filter curves, photon-counting means, zero points."""

import itertools
import pathlib

import numpy as np
import pytest
from scipy.integrate import quad

from starcensus.bands import BANDS
from starcensus.simulate.stars import (
    Filter,
    default_filters,
    read_filter,
    read_vega,
    zero_fluxes,
)

# Published pivots, Å: WFC3 Instrument Handbook and ACS throughput tables of STScI.
PIVOTS = {
    "WFC3_UVIS_F275W": 2710.2,
    "WFC3_UVIS_F336W": 3354.8,
    "WFC3_UVIS_F438W": 4325.6,
    "WFC3_UVIS_F555W": 5308.1,
    "WFC3_UVIS_F814W": 8029.5,
    "ACS_F435W": 4328.0,
    "ACS_F555W": 5360.0,
    "ACS_F606W": 5921.0,
    "ACS_F814W": 8057.0,
}


def box(low: float = 4000.0, high: float = 6000.0) -> Filter:
    return Filter("box", np.array([low, high]), np.array([0.3, 0.3]))


def test_a_box_has_the_pivot_of_its_formula():
    expected = np.sqrt((6000**2 - 4000**2) / 2 / np.log(1.5))
    wave = np.linspace(4000, 6000, 20001)
    assert Filter("fine", wave, np.full(len(wave), 0.3)).pivot == pytest.approx(expected, rel=1e-8)


def test_the_mean_flux_counts_photons():
    wave = np.linspace(3000, 7000, 4001)
    mean = box().photon_mean_flux(wave, wave[None] ** np.array([[0.0], [1.0], [-1.0]]))
    area = (6000**2 - 4000**2) / 2
    expected = [1.0, (6000**3 - 4000**3) / 3 / area, 2000 / area]
    np.testing.assert_allclose(mean, expected, rtol=1e-6)


@pytest.mark.parametrize("step", [1.0, 13.0, 90.0])
def test_a_coarse_spectrum_is_a_polyline_not_a_stair(step: float):
    wave = np.arange(3000.0, 7000.0 + step, step)
    curve = Filter("triangle", np.array([4000.0, 4900.0, 6000.0]), np.array([0.0, 0.8, 0.0]))
    flux = 2 + np.sin(wave / 300)

    def product(x: float, weight: float) -> float:
        height = np.interp(x, curve.wavelength_angstrom, curve.throughput)
        return float(height * x * (np.interp(x, wave, flux) if weight else 1.0))

    edges = np.unique([4000, 4900, 6000, *wave[(wave > 4000) & (wave < 6000)]])
    pieces = list(itertools.pairwise(edges))
    light = sum(quad(product, a, b, args=(1.0,))[0] for a, b in pieces)
    photons = sum(quad(product, a, b, args=(0.0,))[0] for a, b in pieces)
    assert curve.photon_mean_flux(wave, flux) == pytest.approx(light / photons, rel=1e-10)


def test_a_screen_before_the_filter_dims_the_light():
    wave = np.linspace(3000, 7000, 401)
    band = box()
    union = band.grid(wave)
    screens = np.stack([np.ones(len(union)), np.full(len(union), 0.25)])
    clear, dim = band.weights(wave, screens) @ np.ones(len(wave))
    assert clear == pytest.approx(1) and dim == pytest.approx(0.25)


def test_curves_are_read_with_spaces_commas_and_headings(tmp_path: pathlib.Path):
    (tmp_path / "a.dat").write_text("# a curve\n\n4000 0.0\n5000 0.5 extra\n6000 0.0\n")
    (tmp_path / "b.csv").write_text("# x\nWAVELENGTH,THROUGHPUT\n6000,0.0\n5000,0.5\n4000,-1e-9\n")
    a, b = read_filter(tmp_path / "a.dat"), read_filter(tmp_path / "b.csv", "mine")
    assert a.name == "a" and b.name == "mine"
    np.testing.assert_array_equal(a.wavelength_angstrom, b.wavelength_angstrom)
    np.testing.assert_array_equal(a.throughput, b.throughput)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no curve"),
        ("4000 0.1\n5000 broken\n6000 0\n", "line 2: '5000 broken'"),
        ("4000 0\n5000 0\n", "no throughput at any wavelength"),
        ("4000 nan\n5000 0.5\n", "negative or not finite"),
    ],
)
def test_curves_that_are_not_are_refused(tmp_path: pathlib.Path, text: str, message: str):
    (tmp_path / "bad.dat").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_filter(tmp_path / "bad.dat")


def test_a_spectrum_that_is_too_short_is_refused():
    with pytest.raises(ValueError, match="covers 4500 to 7000 Å; filter box needs 4000"):
        box().photon_mean_flux(np.array([4500.0, 7000.0]), np.ones(2))


def test_ab_zero_points_follow_from_the_pivot():
    band = box()
    flat = 3.631e-20 * 2.99792458e18 / np.linspace(3000, 7000, 40001) ** 2
    mean = band.photon_mean_flux(np.linspace(3000, 7000, 40001), flat)
    wave = np.linspace(4000, 6000, 20001)
    fine = Filter("fine", wave, np.full(len(wave), 0.3))
    assert mean == pytest.approx(fine.ab_flux, rel=1e-6)
    assert zero_fluxes((fine,), ab_minus_vega={"fine": 1.0})[0] == pytest.approx(mean * 10**-0.4)
    with pytest.raises(ValueError, match="no zero point for fine"):
        zero_fluxes((fine,), ab_minus_vega={})
    with pytest.raises(ValueError, match="either the spectrum of Vega or"):
        zero_fluxes((fine,))


def test_default_curves_that_are_absent_are_named(tmp_path: pathlib.Path):
    with pytest.raises(FileNotFoundError, match=r"wfc3_uvis_f275w\.par"):
        default_filters(tmp_path)


@pytest.mark.shared
def test_the_default_bands_have_their_published_pivots(shared: pathlib.Path):
    filters = default_filters(shared / "filters")
    assert {f.name for f in filters} == set(PIVOTS)
    for band in filters:
        assert band.pivot == pytest.approx(PIVOTS[band.name], abs=3.0)


@pytest.mark.shared
def test_vega_is_zero_and_its_ab_magnitudes_are_those_of_stsci(shared: pathlib.Path):
    filters = default_filters(shared / "filters")
    vega = read_vega(shared / "filters" / "alpha_lyr_stis_011.fits")
    zero = zero_fluxes(filters, vega=vega)
    for band, flux in zip(filters, zero, strict=True):
        again = band.photon_mean_flux(vega.wavelength, 0.01 * vega.flux)
        assert -2.5 * np.log10(again / flux) == pytest.approx(5, abs=1e-9)
        # STScI's tables hold other releases of Vega and of the throughputs: 0.03 mag.
        if band.name in BANDS:
            ab = -2.5 * np.log10(flux / band.ab_flux)
            assert ab == pytest.approx(BANDS[band.name].ab_minus_vega, abs=0.03)


def test_the_pivot_of_a_coarse_curve_is_that_of_the_straight_lines_between_its_samples():
    """A triangle of 1,000 Å: ∫ T λ = (a + b + c)/3 of its area, ∫ T/λ by 100,000 steps."""
    band = Filter("coarse", np.array([5000.0, 5500.0, 6000.0]), np.array([0.0, 1.0, 0.0]))
    fine = np.linspace(5000.0, 6000.0, 100_001)
    under = np.trapezoid(np.interp(fine, [5000.0, 5500.0, 6000.0], [0.0, 1.0, 0.0]) / fine, fine)
    assert band.pivot == pytest.approx(np.sqrt(5500.0 * 500.0 / under), abs=0.01)
