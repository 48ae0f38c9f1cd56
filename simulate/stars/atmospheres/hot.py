"""Hot stars: WM-basic O stars, CMFGEN Wolf-Rayet stars, post-AGB stars, black bodies.

The files are those of FSPS: flux per Hz per unit of bolometric luminosity.
"""

import os
import pathlib
import re

import numpy as np
from jaxtyping import Float

from starcensus.files import FileError, parse_numbers, read_numbers, read_text, reading

from ._base import LIGHT, SIGMA_SB, SpectralLibrary, build_library, planck
from .ck04 import HOT

SMITH = "Smith, Norris & Crowther 2002, MNRAS 337, 1309"
# Gravities of the WM-basic models in FSPS's files, in the order of their columns.
WMBASIC_LOG_G = (3.5, 4.0, 4.5)
SHORTEST, LONGEST = 20.0, 2e6  # Å; the light beyond is nil


def read_wmbasic(
    folder: str | os.PathLike[str], *, z: float = 0.02, extend_hot: bool = True
) -> SpectralLibrary:
    """Read the WM-basic O stars (`WMBASIC_z0.0200.spec`, `WMBASIC.teff`) of the nearest z.

    **Arguments:**

    - `folder`: where the files are.
    - `z`: metal mass fraction.
    - `extend_hot`: make models hotter than 50,000 K, by ratios of Planck functions.

    Raises `FileNotFoundError` where files are not there, and `FileError` for damaged ones.

    ```python
    read_wmbasic("Hot_spectra", z=0.014).log_teff
    ```
    """
    folder = pathlib.Path(folder)
    path = _nearest(folder, "WMBASIC", z)
    log_teff = _temperatures(folder / "WMBASIC.teff")
    table = read_numbers(path, "spectra of WM-basic")
    if table.shape[1] != 1 + len(log_teff) * len(WMBASIC_LOG_G):
        raise FileError(
            f"{path} has {table.shape[1]} columns; expected a wavelength and "
            f"{len(log_teff)} temperatures times {len(WMBASIC_LOG_G)} gravities"
        )
    models = {
        (float(log_teff[i % len(log_teff)]), WMBASIC_LOG_G[i // len(log_teff)]): column
        for i, column in enumerate(table[:, 1:].T)
    }
    citations = ("Pauldrach, Hoffmann & Lennon 2001, A&A 375, 161", SMITH)
    label = f"WM-basic, {path.stem.split('_')[1]}"
    with reading(path, "spectra of WM-basic"):
        return _from_per_hz(label, citations, table[:, 0], models, HOT if extend_hot else None)


def read_cmfgen(
    folder: str | os.PathLike[str], sequence: str, *, z: float = 0.02
) -> SpectralLibrary:
    """Read the CMFGEN Wolf-Rayet stars (`CMFGEN_WN_Zall.spec`, `CMFGEN_WN.teff`) of the nearest z.

    The models have no gravity; temperatures outside theirs take the first or last model.

    **Arguments:**

    - `folder`: where the files are.
    - `sequence`: `"WN"` or `"WC"`.
    - `z`: metal mass fraction.

    Raises `FileNotFoundError` where files are not there, and `FileError` for damaged ones.

    ```python
    read_cmfgen("Hot_spectra", "WN", z=0.014).log_teff
    ```
    """
    folder = pathlib.Path(folder)
    path = _existing(folder / f"CMFGEN_{sequence}_Zall.spec")
    log_teff = _temperatures(folder / f"CMFGEN_{sequence}.teff")
    lines = read_text(path, "spectra of CMFGEN").split("\n")
    wavelength = parse_numbers(lines[:1], str(path)).ravel()
    found: dict[float, list[np.ndarray]] = {}
    for i in range(1, len(lines) - 1, 2):
        if lines[i + 1].strip():
            row = parse_numbers(lines[i + 1 : i + 2], str(path), i + 2).ravel()
            if len(row) != len(wavelength):
                raise FileError(
                    f"{path}, line {i + 2}: has {len(row)} fluxes for {len(wavelength)} wavelengths"
                )
            found.setdefault(_metals(lines[i], f"{path}, line {i + 1}"), []).append(row)
    if not found:
        raise FileError(f"{path}: holds no spectra; expected a line of text and one of fluxes each")
    nearest = min(found, key=lambda value: abs(np.log10(value / z)))
    if len(found[nearest]) != len(log_teff):
        raise FileError(
            f"{path} has {len(found[nearest])} models of z = {nearest}; "
            f"CMFGEN_{sequence}.teff names {len(log_teff)} temperatures"
        )
    models = {(float(t), 4.0): row for t, row in zip(log_teff, found[nearest], strict=True)}
    citations = ("Hillier & Miller 1998, ApJ 496, 407", SMITH)
    with reading(path, "spectra of CMFGEN"):
        return _from_per_hz(
            f"CMFGEN {sequence}, z = {nearest}", citations, wavelength, models, None
        )


def read_post_agb(folder: str | os.PathLike[str]) -> SpectralLibrary:
    """Read the post-AGB stars of solar composition (`ipagb_solar.spec`, `ipagb.teff`).

    Raises `FileNotFoundError` where files are not there, and `FileError` for damaged ones.

    ```python
    read_post_agb("Hot_spectra").log_teff
    ```
    """
    folder = pathlib.Path(folder)
    teff = _temperatures(folder / "ipagb.teff")
    path = _existing(folder / "ipagb_solar.spec")
    table = read_numbers(path, "spectra of post-AGB stars")
    if table.shape[1] != 1 + len(teff) or not (teff > 0).all():
        raise FileError(
            f"{path}: has {table.shape[1]} columns; expected a wavelength and one for each of the "
            f"{len(teff)} temperatures > 0 of ipagb.teff"
        )
    models = {(float(np.log10(t)), 6.0): row for t, row in zip(teff, table[:, 1:].T, strict=True)}
    citations = ("Rauch 2003, A&A 403, 709",)
    with reading(path, "spectra of post-AGB stars"):
        return _from_per_hz("post-AGB, Rauch 2003", citations, table[:, 0], models, None)


def _temperatures(path: pathlib.Path) -> Float[np.ndarray, "t"]:
    """The temperatures of the columns of a file of spectra."""
    found = read_numbers(_existing(path), "list of temperatures").ravel()
    # In K, or log10 of K.
    if not ((found > 0) & (found < 1e7)).all() or ((found < 100).any() and (found > 7).any()):
        raise FileError(f"{path}: holds a number that is no temperature in K, or no log10 of one")
    return found


def _metals(line: str, where: str) -> float:
    """The metal mass fraction in the line above a spectrum of CMFGEN."""
    words = line.split()
    try:
        found = float(words[1])
    except (IndexError, ValueError):
        found = 0.0
    if not 0 < found < 1:
        raise FileError(f"{where}: {line.strip()[:100]!r} does not say a metal mass fraction")
    return found


def black_bodies() -> SpectralLibrary:
    """Black bodies of 1,000 to 400,000 K.

    ```python
    black_bodies().ionising.max()  # photons per erg
    ```
    """
    log_teff = np.linspace(3.0, 5.6, 131)
    wavelength = np.geomspace(10.0, 1e7, 6001)
    spectra = {
        (float(t), 4.0): row
        for t, row in zip(log_teff, planck(wavelength, 10**log_teff), strict=True)
    }
    expected = {key: SIGMA_SB * 10 ** (4 * key[0]) for key in spectra}
    return build_library("black body", (), wavelength, spectra, expected)


def _from_per_hz(
    name: str,
    citations: tuple[str, ...],
    wavelength: Float[np.ndarray, "wave"],
    models: dict[tuple[float, float], np.ndarray],
    hot: Float[np.ndarray, "h"] | None,
) -> SpectralLibrary:
    """A library from fluxes per Hz and solar luminosity whose integral over frequency is 1."""
    # Rounding in the files makes a few neighbouring wavelengths equal: the first stands.
    wavelength, first = np.unique(wavelength.astype(np.float64), return_index=True)
    keep = (wavelength >= SHORTEST) & (wavelength <= LONGEST)
    wavelength, first = wavelength[keep], first[keep]
    spectra = {key: row[first] * LIGHT / wavelength**2 for key, row in models.items()}
    return build_library(name, citations, wavelength, spectra, dict.fromkeys(spectra, 1.0), hot=hot)


def _nearest(folder: pathlib.Path, stem: str, z: float) -> pathlib.Path:
    found = {}
    for path in folder.glob(f"{stem}_z*.spec"):
        match = re.search(r"z(0\.\d+)", path.name)
        if match:
            found[float(match.group(1))] = path
    if not found:
        raise FileNotFoundError(f"no file {stem}_z*.spec in {folder}")
    return found[min(found, key=lambda value: abs(np.log10(value / z)))]


def _existing(path: pathlib.Path) -> pathlib.Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; it is one of FSPS's SPECTRA/Hot_spectra")
    return path
