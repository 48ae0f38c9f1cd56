"""The atmospheres of Castelli and Kurucz (2004), in the layout of the STScI atlas."""

import os
import pathlib
import re

import numpy as np

from starcensus.files import FileError
from starcensus.fits_files import numbers, table

from ._base import SIGMA_SB, SpectralLibrary, build_library

CITATIONS = ("Castelli & Kurucz 2004, IAU Symp. 210, A20",)
# Models made below 3,500 K: the 3,500 K model times the ratio of Planck functions.
COOL = np.arange(1500.0, 3500.0, 100.0)
HOT = np.array([55, 60, 70, 80, 100, 120, 150, 200, 250]) * 1000.0


def read_ck04(
    folder: str | os.PathLike[str],
    *,
    metallicity: float = 0.0,
    interpolate: bool = False,
    extend_hot: bool = True,
) -> SpectralLibrary:
    """Read the models of one metallicity.

    **Arguments:**

    - `folder`: the atlas (with subfolders `ckp00`, `ckm05`, ...).
    - `metallicity`: [M/H]; the nearest one in the folder is taken.
    - `interpolate`: take the mean of the fluxes of the two neighbours in the folder, weighted so
      that it is linear in [M/H], of models that both have; beyond them, the nearest.
    - `extend_hot`: make models hotter than the last, by ratios of Planck functions.

    A model of zeros does not exist: its place takes the nearest gravity of the same temperature.
    Raises `FileNotFoundError` for a folder without models, and `FileError` for one that is damaged.

    ```python
    read_ck04("ck04models", metallicity=-0.5).log_teff
    ```
    """
    folder = pathlib.Path(folder)
    found = {}
    for sub in folder.glob("ck[mp][0-9][0-9]"):
        sign = -1 if sub.name[2] == "m" else 1
        found[sign * int(sub.name[3:]) / 10] = sub
    if not found:
        raise FileNotFoundError(
            f"no models of Castelli & Kurucz in {folder}; expected subfolders such as ckp00"
        )
    ends = {min(found, key=lambda value: abs(value - metallicity)): 1.0}
    below = max((value for value in found if value <= metallicity), default=None)
    above = min((value for value in found if value > metallicity), default=None)
    if interpolate and below is not None and above is not None:
        share = (metallicity - below) / (above - below)
        ends = {below: 1 - share, above: share} if share > 0 else {below: 1.0}
    parts = [(_models(found[value]), share) for value, share in ends.items()]
    wavelength, spectra = parts[0][0]
    for (wave, others), _ in parts[1:]:
        if not np.array_equal(wave, wavelength):
            raise FileError(f"{folder}: wavelengths of {' and '.join(map(str, ends))} differ")
        spectra = {key: spectra[key] for key in spectra if key in others}
    spectra = {
        key: np.sum([share * part[1][key] for part, share in parts], axis=0) for key in spectra
    }
    named = f"{next(iter(ends)):+.1f}"
    if len(ends) > 1:
        named = f"{metallicity:+.2f} between {' and '.join(f'{value:+.1f}' for value in ends)}"
    return build_library(
        f"Castelli & Kurucz 2004 [M/H] = {named}",
        CITATIONS,
        wavelength,
        spectra,
        {key: SIGMA_SB * 10 ** (4 * key[0]) for key in spectra},
        cool=COOL,
        hot=HOT if extend_hot else None,
    )


def _models(folder: pathlib.Path) -> tuple[np.ndarray, dict[tuple[float, float], np.ndarray]]:
    """Wavelengths, and the spectra of the files of one metallicity by log Teff and log g."""
    spectra: dict[tuple[float, float], np.ndarray] = {}
    wavelength = np.zeros(0)
    for path in sorted(folder.glob("*.fits")):
        wave, teff, models = _read(path)
        if len(wavelength) and not np.array_equal(wave, wavelength):
            raise FileError(f"{path}: its wavelengths are not those of the files before it")
        wavelength = wave
        for log_g, flux in models.items():
            spectra[float(np.log10(teff)), log_g] = flux
    if not spectra:
        raise FileNotFoundError(f"no FITS files of models in {folder}")
    return wavelength, spectra


def _read(path: pathlib.Path) -> tuple[np.ndarray, float, dict[float, np.ndarray]]:
    """Wavelengths, temperature, and the spectrum of each log g that has one, of a file."""
    found = re.fullmatch(r"ck[mp]\d\d_(\d+)", path.stem)
    if found is None or not int(found[1]):
        raise FileError(f"{path}: expected a name such as ckp00_5000.fits")
    teff = float(found[1])
    rows, columns = table(path, "model of Castelli & Kurucz")
    if "WAVELENGTH" not in columns.names:
        raise FileError(f"{path}: has no column WAVELENGTH; it has {', '.join(columns.names)}")
    wavelength = numbers(rows, "WAVELENGTH", path)
    if not (np.diff(wavelength) > 0).all():
        raise FileError(f"{path}: its wavelengths do not increase")
    models = {}
    for column in columns.names:
        if re.fullmatch(r"g\d\d", column) and (flux := numbers(rows, column, path)).any():
            integral = float(np.trapezoid(flux, wavelength)) / (SIGMA_SB * teff**4)
            if not (flux >= 0).all() or not abs(integral - 1) <= 0.05:
                raise FileError(
                    f"{path}: {column} is negative somewhere, or integrates to {integral:.3g} of "
                    f"the bolometric flux of {teff:g} K; is the file damaged?"
                )
            models[int(column[1:]) / 10] = flux
    return wavelength, teff, models
