"""Settings and PSFs of the analytic grid's three bands, small enough to be drawn in no time."""

import pathlib

import numpy as np
from tests.simulate.conftest import BANDS, analytic_grid

from starcensus.simulate import PSF, Exposure
from starcensus.simulate.stamps import StampSettings

SCALE = 0.04
EXPOSURES = (
    Exposure(BANDS[0], 2000.0, 24.0, 0.004),
    Exposure(BANDS[1], 1000.0, 25.0, 0.02),
    Exposure(BANDS[2], 1500.0, 24.5, 0.03),
)


def gaussian_psf(band: str, sigma_pix: float, radius_pix: int = 12, oversampling: int = 4) -> PSF:
    """A round Gaussian of σ = `sigma_pix`, integrated over nothing more."""
    step = np.arange(-radius_pix * oversampling, radius_pix * oversampling + 1) / oversampling
    image = np.exp(-(step[:, None] ** 2 + step**2) / (2 * sigma_pix**2))
    return PSF(band, image / image.sum(), oversampling, SCALE)


PSFS = {band: gaussian_psf(band, sigma) for band, sigma in zip(BANDS, (1.0, 0.9, 1.1), strict=True)}


def toy_settings(folder: pathlib.Path, **changes) -> StampSettings:
    """Stamps of 24 pixels from a file of the analytic grid, which is made in the folder."""
    path = folder / "toy_grid.h5"
    if not path.exists():
        analytic_grid(np.arange(6.5, 8.51, 0.5)).save(path)
    known = {
        "exposures": EXPOSURES,
        "distance_modulus": 28.0,
        "size_pix": 24,
        "log_age": (6.5, 8.5),
        "log_age_step": 0.5,
        "log_mass": (2.5, 3.5),
        "faintest_mags": None,
        "grid": str(path),
        "z": None,
    }
    return StampSettings(**(known | changes))
