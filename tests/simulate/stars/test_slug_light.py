"""Mean light of a grid of SLUG's ingredients against SLUG's own clusters.

The mean flux of N clusters has a sampling error; differences are allowed four of them (20 and 18
comparisons, false alarms 0.2 percent) besides what the ingredients leave open.
"""

import pathlib

import h5py
import numpy as np
import pytest
from astropy.io import fits
from benchmarks.ssp import ssp_mags

from starcensus.simulate.clusters.imf import Chabrier
from starcensus.simulate.library.slug2 import read_zeropoints
from starcensus.simulate.stars import (
    build_grid,
    default_filters,
    read_atmospheres,
    read_filter,
    read_slug,
    read_vega,
)

pytestmark = pytest.mark.shared
AGES = {"3Myr": 3e6, "10Myr": 1e7, "100Myr": 1e8, "1Gyr": 1e9}


def mean_mag(mags: np.ndarray, birth_mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Magnitude of the mean flux per solar mass formed, and its sampling error."""
    flux = 10 ** (-0.4 * mags.astype(np.float64))
    mean = flux.mean(axis=0)
    error = 1.0857 * flux.std(axis=0) / mean / np.sqrt(len(flux))
    return -2.5 * np.log10(mean / birth_mass.mean()), error


def test_slug_3_has_the_same_mean_light(shared: pathlib.Path):
    isochrones = read_slug(shared / "slug3" / "slugdata", np.log10(list(AGES.values())))
    atmospheres = read_atmospheres(shared / "atmospheres" / "ck04", metallicity=0.0)
    vega = read_vega(shared / "filters" / "alpha_lyr_stis_011.fits")
    # SLUG v3's Vega is a model (alpha_lyr_mod_005), apart from the STIS spectrum below 4000 Å.
    names = {
        "WFC3_UVIS_F438W": "HSTPC.WFC3_UVIS1.F438W",
        "WFC3_UVIS_F555W": "HSTPC.WFC3_UVIS1.F555W",
        "WFC3_UVIS_F814W": "HSTPC.WFC3_UVIS1.F814W",
        "ACS_F435W": "HSTPC.ACS_WFC.F435W",
        "ACS_F814W": "HSTPC.ACS_WFC.F814W",
    }
    grid = build_grid(isochrones, atmospheres, default_filters(shared / "filters"), vega=vega)
    grid = grid.select(tuple(names))
    for age, years in AGES.items():
        path = max((shared / "slug3" / "fixed").glob(f"fixed_M1e[45]_{age}.h5"))
        with h5py.File(path) as file:
            found = [str(name) for name in np.asarray(file["cluster_phot"].attrs["filters"])]
            columns = [found.index(name) for name in names.values()]
            mags = file["cluster_phot/phot"][()][:, columns]
            expected, error = mean_mag(mags, file["clusters/birth_mass"][()])
        apart = np.abs(ssp_mags(grid, np.log10(years), Chabrier()) - expected)
        assert (apart < 0.008 + 4 * error).all(), (age, apart)


def test_corrected_slug_2_has_the_same_mean_light_from_100_myr(shared: pathlib.Path):
    ages = {age: years for age, years in AGES.items() if years >= 1e8}
    isochrones = read_slug(shared / "slug3" / "slugdata", np.log10(list(ages.values())))
    folder = shared / "atmospheres"
    atmospheres = read_atmospheres(
        folder / "ck04",
        folder / "hot",
        z=0.014,
        metallicity=0.0,
        wolf_rayet=False,
        black_body_above=50_000.0,
    )
    filters = tuple(read_filter(path) for path in (shared / "slug" / "filters").glob("*.dat"))
    table = read_zeropoints(shared / "slug" / "zeropoints.txt")
    grid = build_grid(isochrones, atmospheres, filters, ab_minus_vega=table)
    for age, years in ages.items():
        stem = shared / "slug" / "fixed" / f"fixedcorr_M1e4_t{age}_cluster"
        phot, prop = (np.asarray(fits.getdata(f"{stem}_{k}.fits", 1)) for k in ("phot", "prop"))
        mags = np.stack([phot[band] for band in grid.bands], axis=1)
        expected, error = mean_mag(mags, prop["BirthMass"])
        apart = np.abs(ssp_mags(grid, np.log10(years), Chabrier()) - expected)
        assert (apart < 0.003 + 4 * error).all(), (age, apart, error)
