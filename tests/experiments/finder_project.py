"""A bank of small stamps, images like them, and the files of settings: seconds to learn from."""

import dataclasses
import pathlib

import numpy as np
from astropy.io import fits
from tests.simulate.conftest import analytic_grid

from starcensus.simulate import BandImage, Frame, write_frame
from starcensus.simulate.stars.grid import StellarGrid

BANDS = ("WFC3_UVIS_F336W", "WFC3_UVIS_F438W", "WFC3_UVIS_F814W")
SCALE, MODULUS = 0.04, 28.0
SKIES = {"WFC3_UVIS_F336W": 0.02, "WFC3_UVIS_F438W": 0.03, "WFC3_UVIS_F814W": 0.05}
EXPOSURES = {
    "WFC3_UVIS_F336W": (2000.0, 24.0),
    "WFC3_UVIS_F438W": (1000.0, 25.0),
    "WFC3_UVIS_F814W": (1500.0, 24.5),
}

STAMPS = (
    """
kind = "stamps"
n = 40
seed = 3
grid = "grid.h5"
[stamps]
distance_modulus = 28.0
size_pix = 16
log_age = [6.5, 8.5]
log_age_step = 0.5
log_mass = [2.0, 3.0]
faintest_mags = "none"
z = "any"
psf_radius_pix = 12
"""
    + "".join(
        f'[[exposures]]\nband = "{band}"\nexposure_s = {seconds}\nzero_point = {zero}\n'
        f"sky = {SKIES[band]}\n"
        for band, (seconds, zero) in EXPOSURES.items()
    )
    + "[psf]\n"
    + "".join(f'{band} = "{band}_psf.fits"\n' for band in BANDS)
)
# Of a bank of 60 mocks. The network's window is that of the stamps, 16 pixels.
FINDER = """
kind = "finder"
title = "tiny"
seed = 4
bank = "bank.h5"
n_validation = 30
n_test = 10
threads = 1
known = "known.csv"
[images]
paths = "images"
field = "noise"
[backgrounds]
n = [60, 20, 20]
size_pix = 16
margin_pix = 2
block_pix = 48
guard_pix = 4
[network]
stages = [[[3, 4]], [[3, 8]]]
box_pix = 9
[batches]
n_backgrounds = 8
n_clusters = 16
dihedral = true
[loop]
steps = 30
max_rate = 3e-3
ema_decay = 0.9
validate_every = 10
checkpoint_every = 10
[sharpening]
steps = 6
max_rate = 5e-4
validate_every = 3
checkpoint_every = 3
"""


def stellar_grid() -> StellarGrid:
    """The analytic grid, in bands that have names."""
    return dataclasses.replace(analytic_grid(np.arange(6.5, 8.51, 0.5)), bands=BANDS)


def write_psfs(folder: pathlib.Path) -> None:
    step = np.arange(-48, 49) / 4
    for sigma, band in zip((1.0, 0.9, 1.1), BANDS, strict=True):
        # No pixel is 0.
        image = np.exp(-(step[:, None] ** 2 + step**2) / (2 * sigma**2)) + 1e-9
        hdu = fits.PrimaryHDU(image.astype(np.float32))
        hdu.header["OVERSAMP"] = 4
        hdu.writeto(folder / f"{band}_psf.fits", overwrite=True)


def noise_frame(seed: int = 5, side: int = 240) -> Frame:
    """Sky and its photons."""
    rng = np.random.default_rng(seed)
    images = []
    for band, (seconds, zero) in EXPOSURES.items():
        counts = rng.poisson(SKIES[band] * seconds, (side, side))
        images.append(BandImage(band, counts / seconds, seconds, zero))
    return Frame(tuple(images), MODULUS, SCALE)


def write_project(folder: pathlib.Path, n: int = 40) -> pathlib.Path:
    """Grid, PSFs, images, known circles and the two files, of n mocks; no bank."""
    stellar_grid().save(folder / "grid.h5")
    write_psfs(folder)
    (folder / "images").mkdir()
    write_frame(noise_frame(), folder / "images")
    (folder / "known.csv").write_text("x,y,radius\n100.0,110.0,7.5\n20.0,30.0,0.0\n")
    (folder / "stamps.toml").write_text(STAMPS.replace("n = 40", f"n = {n}"))
    (folder / "finder.toml").write_text(FINDER)
    return folder
