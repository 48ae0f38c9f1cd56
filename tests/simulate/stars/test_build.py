"""Building grids: fluxes of stars, extinction, sampling along isochrones, the shipped grid."""

import dataclasses
import functools
import pathlib

import numpy as np
import pytest

from starcensus.bands import BANDS
from starcensus.simulate.stars import (
    Atmospheres,
    Filter,
    Isochrone,
    IsochroneSet,
    Photometry,
    Resampling,
    StellarGrid,
    black_bodies,
    build_grid,
    default_filters,
    read_atmospheres,
    read_filter,
    read_fsps,
    read_vega,
    zero_fluxes,
)
from starcensus.simulate.stars.atmospheres._base import planck
from starcensus.simulate.stars.build import (
    SOLAR_LUMINOSITY,
    TEN_PARSEC_AREA,
    _split_flash,
    resample,
)
from starcensus.simulate.stars.dust import AV_KNOTS, attenuate, extinction_curve
from starcensus.simulate.stars.grid import carried_path

# Bessell (1990, PASP 102, 1181), table 2: V, 4700 to 7000 Å in steps of 100.
BESSELL_V = np.array(
    [
        *(0.000, 0.030, 0.163, 0.458, 0.780, 0.967, 1.000, 0.973, 0.898, 0.792, 0.684, 0.574),
        *(0.461, 0.359, 0.270, 0.197, 0.135, 0.081, 0.045, 0.025, 0.017, 0.013, 0.009, 0.000),
    ]
)
V = Filter("V", np.arange(4700.0, 7001.0, 100.0), BESSELL_V)
BOXES = (
    Filter("blue", np.array([4000.0, 4500.0]), np.array([0.4, 0.4])),
    Filter("red", np.array([7000.0, 9000.0]), np.array([0.2, 0.2])),
)
AB = {"blue": 0.0, "red": 0.0}


def an_isochrone() -> Isochrone:
    """A main sequence, a giant branch and a helium flash."""
    mass = np.array([0.5, 1.0, 1.5, 1.6, 1.61, 1.6101, 1.62])
    return Isochrone(
        log_age=9.3,
        initial_mass=mass,
        current_mass=0.98 * mass,
        log_lum=np.array([-1.3, 0.0, 0.9, 1.2, 3.3, 1.6, 3.4]),
        log_teff=np.array([3.6, 3.76, 3.83, 3.7, 3.52, 3.68, 3.5]),
        log_g=np.array([4.7, 4.4, 4.2, 3.2, 0.4, 2.7, 0.2]),
        kind=np.zeros(7, dtype=int),
    )


@functools.cache
def planckian() -> Atmospheres:
    cool = dataclasses.replace(black_bodies(), name="cool")
    return Atmospheres(cool=cool, black_body=black_bodies())


def photometry(a_v: np.ndarray = AV_KNOTS) -> Photometry:
    zero = zero_fluxes(BOXES, ab_minus_vega=AB)
    return Photometry.compute(planckian(), BOXES, zero, extinction_curve("F99"), a_v)


def direct(stars: Isochrone, band: Filter, a_v: float) -> np.ndarray:
    """Magnitudes of black bodies by integrating finely spaced spectra."""
    wave = np.linspace(band.wavelength_angstrom[0], band.wavelength_angstrom[-1], 4001)
    screen = 10 ** (-0.4 * a_v * extinction_curve("F99")(wave))
    flux = planck(wave, 10**stars.log_teff) * screen
    mean = np.trapezoid(flux * wave, wave) / np.trapezoid(wave, wave)
    area = 10**stars.log_lum * SOLAR_LUMINOSITY / (5.670374e-5 * 10 ** (4 * stars.log_teff))
    return -2.5 * np.log10(mean * area / TEN_PARSEC_AREA / band.ab_flux)


def test_fluxes_of_stars_are_those_of_their_spectra():
    stars, knots = an_isochrone(), np.array([0.0, 1.7, 5.0])
    mags = -2.5 * np.log10(photometry(knots).star_flux(stars))
    for j, band in enumerate(BOXES):
        for k, a_v in enumerate(knots):
            # 0.02 dex between black bodies, interpolated linearly: 0.01 mag.
            np.testing.assert_allclose(mags[:, j, k], direct(stars, band, a_v), atol=0.01)


@pytest.mark.parametrize("a_v", [0.05, 0.4, 1.9, 3.3, 4.9])
def test_extinction_between_knots_is_good_to_five_millimagnitudes(a_v: float):
    stars = an_isochrone()
    log_flux = np.log(photometry().star_flux(stars))
    between = attenuate(log_flux, AV_KNOTS, np.full(log_flux.shape[:-1], a_v))
    exact = np.log(photometry(np.array([0.0, a_v])).star_flux(stars)[..., 1])
    assert 1.0857 * np.abs(between - exact).max() < 0.005


def test_points_are_put_in_where_the_light_changes_fast():
    fine = resample(an_isochrone(), photometry(), Resampling(step=0.1))
    mags = -2.5 * np.log10(photometry().star_flux(fine, knots=1)[:, :, 0])
    wide = np.diff(fine.initial_mass) > 1e-8
    step = np.abs(np.diff(mags, axis=0)).max(axis=1)
    assert step[wide].max() < 0.13 and len(fine) > 60
    whole = set(an_isochrone().initial_mass)
    assert whole <= set(fine.initial_mass), "the points of the isochrone stay"


def test_no_star_stands_between_the_helium_flash_and_the_clump():
    split = _split_flash(an_isochrone(), 1.0)
    assert len(split) == 8
    between = split.at(np.array([1.61003, 1.61008]))
    np.testing.assert_allclose(between.log_lum, 3.3)
    assert split.at(np.array([1.6101, 1.62])).log_lum[0] == pytest.approx(1.6)
    assert len(_split_flash(an_isochrone(), 5.0)) == 7


def test_a_grid_knows_what_it_was_made_of():
    isochrones = IsochroneSet((an_isochrone(),), z=0.02, source="made up", citations=("me 2001",))
    grid = build_grid(isochrones, planckian(), BOXES, ab_minus_vega=AB)
    assert grid.bands == ("blue", "red") and grid.flux.shape[1:] == (2, len(AV_KNOTS))
    assert grid.provenance["extinction_curve"]["name"] == extinction_curve("F99").name
    assert grid.provenance["points_served"]["cool"] == len(grid)
    assert "me 2001" in grid.provenance["citations"]
    assert grid.nebular_flux.shape == (2, len(grid.nebular_a_v))
    assert grid.nebular_a_v[-1] == pytest.approx(2.1 * 5)
    with pytest.raises(ValueError, match="positive"):
        Resampling(step=0.0)


@pytest.mark.shared
@pytest.mark.parametrize("curve", ["F99", "Calzetti00"])
def test_extinction_of_every_model_atmosphere_is_good_to_five_millimagnitudes(
    shared: pathlib.Path, curve: str
):
    # Giants of 4,250 K in F275W, where light leaks through in the red, are the hardest.
    filters = default_filters(shared / "filters")[:2]
    zero = zero_fluxes(filters, vega=read_vega(shared / "filters" / "alpha_lyr_stis_011.fits"))
    atmospheres = read_atmospheres(shared / "atmospheres" / "ck04", metallicity=0.0)
    between = np.array([0.0, 0.11, 0.6, 1.25, 2.1, 2.9, 3.9, 4.86])
    screen = extinction_curve(curve)
    knots = Photometry.compute(atmospheres, filters, zero, screen, AV_KNOTS).flux[0]
    exact = Photometry.compute(atmospheres, filters, zero, screen, between).flux[0]
    models = np.unique(atmospheres.cool.model[atmospheres.cool.log_teff > np.log10(2000)])
    for k, a_v in enumerate(between):
        log_flux = np.log(knots[models])
        found = attenuate(log_flux, AV_KNOTS, np.full(log_flux.shape[:-1], a_v))
        assert 1.0857 * np.abs(found - np.log(exact[models, :, k])).max() < 0.005


@pytest.mark.shared
def test_the_sun_and_vega_have_their_magnitudes(shared: pathlib.Path):
    vega = read_vega(shared / "filters" / "alpha_lyr_stis_011.fits")
    filters = (V, *default_filters(shared / "filters"))
    zero = zero_fluxes(filters, vega=vega)
    zero[0] *= 10 ** (0.4 * 0.03)  # V = 0.03 for Vega (Bohlin & Gilliland 2004).
    atmospheres = read_atmospheres(shared / "atmospheres" / "ck04", metallicity=0.0)
    knots = np.array([0.0, 1.0])
    made = Photometry.compute(atmospheres, filters, zero, extinction_curve("F99"), knots)

    def star(log_lum: float, teff: float, log_g: float) -> np.ndarray:
        two = Isochrone(
            log_age=9.6,
            initial_mass=np.array([1.0, 1.1]),
            current_mass=np.array([1.0, 1.1]),
            log_lum=np.full(2, log_lum),
            log_teff=np.full(2, np.log10(teff)),
            log_g=np.full(2, log_g),
            kind=np.zeros(2, dtype=int),
        )
        return -2.5 * np.log10(made.star_flux(two)[0])

    sun = dict(zip([f.name for f in filters], star(0.0, 5772.0, 4.438)[:, 0], strict=True))
    # Willmer (2018, ApJS 236, 47), table 3: the Sun in Vega magnitudes.
    published = {"V": 4.81, "ACS_F435W": 5.45, "ACS_F606W": 4.66, "ACS_F814W": 4.12}
    for name, expected in published.items():
        assert sun[name] == pytest.approx(expected, abs=0.05), name
    # A_V of 1 is 1 mag at one wavelength, a little less over the band. The atmosphere of Vega at
    # its place has no colour, to the 0.03 mag that its rotation makes, against V = 0.03.
    dimmed = star(0.0, 5772.0, 4.438)
    assert dimmed[0, 1] - dimmed[0, 0] == pytest.approx(0.98, abs=0.02)
    colours = star(1.6, 9550.0, 3.95)[:, 0]
    assert np.abs(colours[3:] - colours[0] + 0.03).max() < 0.04


@pytest.mark.shared
def test_the_command_that_made_the_shipped_grid_makes_it_again(shared: pathlib.Path):
    shipped = StellarGrid.default()
    vega = read_vega(shared / "filters" / "alpha_lyr_stis_011.fits")
    isochrones = read_fsps(shared / "isochrones" / "PARSEC_isoc_z0.0200.dat")
    ages = (6.0, 6.6, 7.0, 8.0, 9.0, 10.1)
    chosen = isochrones.keep(lambda age: min(abs(age - a) for a in ages) < 1e-6)
    folder = shared / "atmospheres"
    atmospheres = read_atmospheres(folder / "ck04", folder / "hot", z=isochrones.z)
    grid = build_grid(chosen, atmospheres, default_filters(shared / "filters"), vega=vega)
    assert shipped.bands == grid.bands and len(shipped.log_age) == 83
    np.testing.assert_allclose(shipped.nebular_flux, grid.nebular_flux, rtol=1e-6)
    for name in ("ab_minus_vega", "extinction_curve", "atmospheres", "citations", "resampling"):
        assert shipped.provenance[name] == grid.provenance[name]
    for i, age in enumerate(grid.log_age):
        [j] = np.flatnonzero(np.isclose(shipped.log_age, age))
        mine, theirs = grid.isochrone(i), shipped.isochrone(int(j))
        np.testing.assert_allclose(shipped.initial_mass[theirs], grid.initial_mass[mine], rtol=1e-9)
        apart = 2.5 * np.abs(np.log10(shipped.flux[theirs] / grid.flux[mine]))
        bright = grid.flux[mine] > 1e-12
        assert apart[bright].max() < 0.002
        np.testing.assert_allclose(shipped.q_h[theirs], grid.q_h[mine], rtol=3e-4, atol=2)


@pytest.mark.parametrize(
    ("name", "z", "tracks"), [("lmc", 0.008, "Bressan"), ("lmc-padova", 0.0077, "Marigo")]
)
def test_the_grids_of_the_lmc_are_small_and_say_whom_to_cite(name: str, z: float, tracks: str):
    assert carried_path(name).stat().st_size < 3e6
    grid = StellarGrid.carried(name)
    assert {f"BESSELL_{letter}" for letter in "UBVRI"} <= set(grid.bands)
    assert grid.provenance["z"] == z and grid.provenance["points_served"]["black body"] == 0
    assert tracks in " ".join(grid.provenance["citations"])
    with pytest.raises(ValueError, match="no grid 'smc' is carried; there are default, lmc"):
        carried_path("smc")


def test_the_shipped_grid_is_small_and_says_whom_to_cite():
    file = pathlib.Path(__file__).parents[3] / "simulate" / "data" / "solar.h5"
    assert file.stat().st_size < 8e6
    grid = StellarGrid.default()
    assert grid is StellarGrid.default()
    assert grid.log_age[0] == 6.0 and grid.log_age[-1] == pytest.approx(10.1)
    assert grid.a_v[-1] == 5.0
    assert any("Bressan" in paper for paper in grid.provenance["citations"])
    assert grid.provenance["z"] == 0.02
    # The heaviest star of 10 Myr is a red supergiant; those of 1 Myr ionise.
    ten = grid.isochrone(int(np.flatnonzero(np.isclose(grid.log_age, 7.0))[0]))
    colour = -2.5 * np.log10(grid.flux[ten, 3, 0] / grid.flux[ten, 4, 0])
    assert colour[-1] > 2 and grid.flux[ten, 4, 0][-1] > 10 ** (0.4 * 8)
    assert np.log10(grid.q_h[grid.isochrone(0)].max()) > 49.5


@pytest.mark.parametrize("name", ["default", "lmc", "lmc-padova"])
def test_zero_points_are_known_for_every_band_of_the_shipped_grids(name: str):
    """Those of STScI's tables within 0.03 mag of the grid's, which has another release of Vega."""
    grid = StellarGrid.carried(name)
    made = grid.provenance["ab_minus_vega"]
    assert set(made) == set(grid.bands) <= set(BANDS)
    for band, value in made.items():
        assert value == pytest.approx(BANDS[band].ab_minus_vega, abs=0.03)


@pytest.mark.shared
def test_any_curve_by_path_becomes_a_band(shared: pathlib.Path):
    narrow = read_filter(shared / "filters" / "eazy" / "wfc3_uvis_f657n.dat", "WFC3_UVIS_F657N")
    vega = read_vega(shared / "filters" / "alpha_lyr_stis_011.fits")
    zero = zero_fluxes((narrow,), vega=vega)
    assert narrow.pivot == pytest.approx(6566.6, abs=1)
    # Vega's Hα line makes the narrow band fainter than the AB system's 0.09 at V.
    assert -2.5 * np.log10(zero[0] / narrow.ab_flux) == pytest.approx(0.34, abs=0.1)
