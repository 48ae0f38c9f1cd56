"""Integrated light of the grids of the LMC: by another way, and beside published figures."""

import pathlib
import re

import numpy as np
import pytest
from astropy.io import fits
from scipy.interpolate import RegularGridInterpolator

from starcensus.experiments.jobs._job import open_job
from starcensus.simulate import Kroupa, StellarPopulation, ssp_abs_mags
from starcensus.simulate.stars import StellarGrid, read_ck04

EXAMPLES = pathlib.Path(__file__).parents[3] / "experiments" / "examples"
BANDS = tuple(f"BESSELL_{letter}" for letter in "UBVRI")
CURVES = {"WFC3_UVIS_F814W": "sedpy/wfc3_uvis_f814w.par", "ACS_F435W": "sedpy/acs_wfc_f435w.par"}
CURVES |= {band: f"johnson_cousins/bessell_{band[-1]}.par" for band in BANDS}
# [M/H] of Z = 0.008 lies between those of the atlas.
SHARE_OF_SOLAR = (np.log10(0.008 / 0.017) + 0.5) / 0.5


def rows_of(path: pathlib.Path) -> np.ndarray:
    with fits.open(path) as file:
        return np.array(file[1].data)


def curve(path: pathlib.Path) -> np.ndarray:
    rows = re.findall(r"^\s*(?:\S*FILTER\s+)?([\d.]+)\s+([-+\d.eE]+)\s*$", path.read_text(), re.M)
    return np.array(rows, float).T


def mean_flux(wave: np.ndarray, flux: np.ndarray, filter_: np.ndarray) -> np.ndarray:
    """Photon-counting mean on wavelengths of an Å."""
    fine = np.arange(filter_[0, 0], filter_[0, -1], 1.0)
    weight = np.interp(fine, *filter_) * fine
    each = np.atleast_2d(flux)
    return np.array([np.interp(fine, wave, row) @ weight for row in each]) / weight.sum()


class Atlas:
    """Mean fluxes of the atlas in a band, at a share between two metallicities, per σT⁴."""

    def __init__(self, folder: pathlib.Path, filters: dict[str, np.ndarray]) -> None:
        temperatures = np.array(
            [3500, 4000, 5000, 6000, 7000, 8000, 9000, *range(10_000, 32_000, 2000)]
        )
        temperatures = np.unique(
            [*temperatures, *range(3750, 9000, 250), *range(9000, 13_000, 500)]
        )
        gravities = np.arange(0.0, 5.1, 0.5)
        values = np.zeros((len(temperatures), len(gravities), len(filters)))
        for i, t in enumerate(temperatures):
            for name, share in (("ckp00", SHARE_OF_SOLAR), ("ckm05", 1 - SHARE_OF_SOLAR)):
                rows = rows_of(folder / name / f"{name}_{t}.fits")
                models = [np.asarray(rows[f"g{g * 10:02.0f}"], float) for g in gravities]
                there = [j for j, model in enumerate(models) if model.any()]
                nearest = [min(there, key=lambda k, j=j: abs(k - j)) for j in range(len(models))]
                wave = np.asarray(rows["WAVELENGTH"], float)
                for k, band in enumerate(filters.values()):
                    found = mean_flux(wave, np.stack(models), band) / (5.670374e-5 * float(t) ** 4)
                    values[i, :, k] += share * found[nearest]
        self.at = RegularGridInterpolator(
            (np.log10(temperatures), gravities), values, bounds_error=False, fill_value=None
        )


@pytest.mark.shared
@pytest.mark.slow
def test_mean_light_is_that_of_an_integration_of_its_own(shared: pathlib.Path):
    """From the files of the isochrones, the atlas and the curves, where no star is hotter."""
    filters = {band: curve(shared / "filters" / path) for band, path in CURVES.items()}
    atlas = Atlas(shared / "atmospheres" / "ck04", filters)
    vega = rows_of(shared / "filters" / "alpha_lyr_stis_011.fits")
    order = np.argsort(vega["WAVELENGTH"])
    wave, flux = (np.asarray(vega[name], float)[order] for name in ("WAVELENGTH", "FLUX"))
    zero = np.array([mean_flux(wave, flux, band)[0] for band in filters.values()])
    table = np.loadtxt(shared / "isochrones" / "PARSEC_isoc_z0.0080.dat")
    population = StellarPopulation(StellarGrid.carried("lmc").select(tuple(CURVES)), Kroupa())
    for age in (8.5, 9.0, 9.5):
        rows = table[np.isclose(table[:, 0], age)]
        rows = rows[np.unique(rows[:, 1], return_index=True)[1]]
        mass, log_lum, log_teff, log_g = rows[:, 1], rows[:, 3], rows[:, 4], rows[:, 5]
        assert log_teff.max() < np.log10(25_000)
        # Fine in mass between the points, but where the helium flash is between them.
        steps = np.abs(np.diff(log_lum)) < 1.0
        at, width = [], []
        for i in np.flatnonzero(steps):
            share = (np.arange(40) + 0.5) / 40
            at.append(i + share)
            width.append(np.full(40, (mass[i + 1] - mass[i]) / 40))
        place, dm = np.concatenate(at), np.concatenate(width)
        x = [np.interp(place, np.arange(len(mass)), y) for y in (mass, log_lum, log_teff, log_g)]
        warm = 10 ** x[2]
        found = atlas.at(np.stack([np.maximum(x[2], np.log10(3500)), np.clip(x[3], 0, 5)], axis=1))
        luminosity = 3.828e33 * 10 ** x[1]
        number = np.where(x[0] < 0.5, x[0] ** -1.3, 0.5 * x[0] ** -2.3) * dm
        masses = np.geomspace(0.08, 120, 200_001)
        law = np.where(masses < 0.5, masses**-1.3, 0.5 * masses**-2.3)
        total = np.trapezoid(law * masses, masses)
        weight = number * luminosity * (warm > 3000)
        flux = weight @ found / total / (4 * np.pi * 3.0856776e19**2)
        mags = -2.5 * np.log10(flux / zero)
        ours = ssp_abs_mags(population, np.array([age]), np.zeros(1))[0]
        away = dict(zip(filters, ours - mags, strict=True))
        # The stars that are left out, below 3,000 K, give up to 5% of I at 3 Gyr.
        assert max(abs(away[band]) for band in BANDS[:3]) < 0.02, (age, away)
        assert max(abs(v) for v in away.values()) < 0.06, (age, away)


@pytest.mark.shared
@pytest.mark.parametrize("name", ["lmc", "lmc-padova"])
def test_the_files_that_made_the_carried_grids_make_them_again(
    shared: pathlib.Path, name: str, tmp_path: pathlib.Path
):
    shipped = StellarGrid.carried(name)
    text = (EXAMPLES / f"grid_{name.replace('-', '_')}.toml").read_text()
    assert "ages = [6.0, 10.1]" in text
    (tmp_path / "grid.toml").write_text(text.replace("[6.0, 10.1]", "[7.5, 7.55]"))
    open_job(tmp_path / "grid.toml", tmp_path / "out", (shared,)).perform()
    grid = StellarGrid.load(tmp_path / "out" / "grid.h5")
    assert shipped.bands == grid.bands and len(shipped.log_age) == 83
    for key in ("ab_minus_vega", "atmospheres", "citations", "isochrones", "z"):
        assert shipped.provenance[key] == grid.provenance[key], key
    for i, age in enumerate(grid.log_age):
        [j] = np.flatnonzero(np.isclose(shipped.log_age, age))
        mine, theirs = grid.isochrone(i), shipped.isochrone(int(j))
        np.testing.assert_allclose(shipped.initial_mass[theirs], grid.initial_mass[mine], rtol=1e-9)
        apart = 2.5 * np.abs(np.log10(shipped.flux[theirs] / grid.flux[mine]))
        assert apart[grid.flux[mine] > 1e-12].max() < 0.002


@pytest.mark.shared
@pytest.mark.parametrize("name", ["lmc", "lmc-padova"])
def test_clusters_fade_in_v_as_hunter_et_al_have_it(shared: pathlib.Path, name: str):
    """Their M_V of each LMC cluster, and faded to 10 Myr with Starburst99 of Z = 0.008."""
    rows = [
        line.split() for line in (shared / "lmc" / "hunter_03.dat").read_text().splitlines()
        if line.startswith("LMC")
    ]  # fmt: skip
    ages, faded = [], []
    for row in rows:
        # M_V, four colours, aperture, age in Myr, M_V at 10 Myr, quality, field.
        v, age, then = float(row[-10]), float(row[-4]), float(row[-3])
        ages.append(np.log10(age) + 6 if age > 0 else np.nan)
        faded.append(v - then)
    log_age, theirs = np.array(ages), np.array(faded)
    population = StellarPopulation(StellarGrid.carried(name).select(("BESSELL_V",)), Kroupa())
    some = (log_age > 7.9) & (log_age < 9.5) & (theirs < 6)
    assert some.sum() > 100
    ours = ssp_abs_mags(population, log_age[some], np.zeros(some.sum()))[:, 0]
    # Of the law of fading the shape: what lies between 10 and 80 Myr is the tracks' supergiants.
    away = ours - theirs[some]
    away -= np.median(away)
    assert np.percentile(np.abs(away), 90) < 0.06
    assert np.ptp(theirs[some]) > 2


@pytest.mark.shared
@pytest.mark.slow
def test_atmospheres_between_metallicities_are_the_mean_of_their_neighbours(shared: pathlib.Path):
    folder = shared / "atmospheres" / "ck04"
    solar, poor = (read_ck04(folder, metallicity=m) for m in (0.0, -0.5))
    half = read_ck04(folder, metallicity=-0.25, interpolate=True)
    assert half.name == "Castelli & Kurucz 2004 [M/H] = -0.25 between -0.5 and +0.0"
    log_teff, log_g = np.log10([4000.0, 5600.0, 12_000.0]), np.array([1.0, 4.3, 3.9])
    mean = (solar.spectrum(log_teff, log_g) + poor.spectrum(log_teff, log_g)) / 2
    # Each library is normalised by its own integral, within 0.3%.
    some = mean > 1e-3 * mean.max(axis=1, keepdims=True)
    ratio = half.spectrum(log_teff, log_g)[some] / mean[some]
    np.testing.assert_allclose(ratio, 1.0, atol=4e-3)
    for metallicity, library in ((-0.5, poor), (0.0, solar)):
        same = read_ck04(folder, metallicity=metallicity, interpolate=True)
        assert same.name == library.name
        np.testing.assert_array_equal(same.spectra, library.spectra)
    beyond = read_ck04(folder, metallicity=-2.0, interpolate=True)
    assert beyond.name == read_ck04(folder, metallicity=-1.0).name
