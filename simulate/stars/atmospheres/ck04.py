"""The atmospheres of Castelli and Kurucz (2004), in the layout of the STScI atlas."""

import os
import pathlib
import re

import numpy as np

from ...fits_files import table
from ._base import SIGMA_SB, SpectralLibrary, build_library

CITATIONS = ("Castelli & Kurucz 2004, IAU Symp. 210, A20",)
# Models made below 3,500 K: the 3,500 K model times the ratio of Planck functions.
COOL = np.arange(1500.0, 3500.0, 100.0)
HOT = np.array([55, 60, 70, 80, 100, 120, 150, 200, 250]) * 1000.0


def read_ck04(
    folder: str | os.PathLike[str], *, metallicity: float = 0.0, extend_hot: bool = True
) -> SpectralLibrary:
    """Read the models of one metallicity.

    **Arguments:**

    - `folder`: the atlas (with subfolders `ckp00`, `ckm05`, ...).
    - `metallicity`: [M/H]; the nearest one in the folder is taken.
    - `extend_hot`: make models hotter than the last, by ratios of Planck functions.

    A model of zeros does not exist: its place takes the nearest gravity of the same temperature.
    Raises `FileNotFoundError` for a folder without models.

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
    nearest = min(found, key=lambda value: abs(value - metallicity))
    spectra: dict[tuple[float, float], np.ndarray] = {}
    expected: dict[tuple[float, float], float] = {}
    wavelength = np.zeros(0)
    for path in sorted(found[nearest].glob("*.fits")):
        teff = float(path.stem.split("_")[1])
        rows, columns = table(path, "model of Castelli & Kurucz")
        wavelength = rows["WAVELENGTH"].astype(np.float64)
        for column in columns.names:
            if re.fullmatch(r"g\d\d", column) and rows[column].any():
                key = (float(np.log10(teff)), int(column[1:]) / 10)
                spectra[key] = rows[column].astype(np.float64)
                expected[key] = SIGMA_SB * teff**4
    if not spectra:
        raise FileNotFoundError(f"no FITS files of models in {found[nearest]}")
    return build_library(
        f"Castelli & Kurucz 2004 [M/H] = {nearest:+.1f}",
        CITATIONS,
        wavelength,
        spectra,
        expected,
        cool=COOL,
        hot=HOT if extend_hot else None,
    )
