"""MIST isochrones in their `.iso` files."""

import os
import pathlib

import numpy as np

from starcensus.files import FileError, parse_numbers, read_text, reading

from ._base import IsochroneSet, Kind, assemble, stripped_stars, surface_kinds

CITATIONS = ("Dotter 2016, ApJS 222, 8", "Choi et al. 2016, ApJ 823, 102")
NEEDED = ("initial_mass", "star_mass", "log_L", "log_Teff", "log_g", "phase")
AGES = ("log10_isochrone_age_yr", "isochrone_age_yr")


def read_mist(path: str | os.PathLike[str], *, pre_main_sequence: bool = True) -> IsochroneSet:
    """Read a MIST isochrone file (`MIST_v1.2_feh_p0.00_..._basic.iso` or `_full.iso`).

    A block per age: a line `# number of EEPs, cols = N M`, a line of column numbers, a line of
    column names, N rows. Wolf-Rayet stars come from the surface composition where the file has
    `surface_h1` and `surface_c12`, otherwise from the file's phase 9 and the mass lost; phase 6
    is post-AGB.

    **Arguments:**

    - `path`: the file.
    - `pre_main_sequence`: keep stars of phase -1.

    Raises `FileError` for another layout, or a damaged file.

    ```python
    read_mist("MIST_v1.2_feh_p0.00_afe_p0.0_vvcrit0.4_full.iso", pre_main_sequence=False)
    ```
    """
    with reading(path, "isochrone file") as source:
        return _read(source, pre_main_sequence)


def _read(path: pathlib.Path, pre_main_sequence: bool) -> IsochroneSet:
    lines = read_text(path).splitlines()
    z, isochrones = None, []
    for i, line in enumerate(lines):
        words = line.lstrip("#").split()
        if line.startswith("#") and "Zinit" in words:
            z = _metals(lines[i + 1 : i + 2], words.index("Zinit"), path, i + 2)
        if not (line.startswith("#") and "EEPs," in words):
            continue
        n_rows = _count(words, path, i + 1)
        names = lines[i + 2].lstrip("#").split() if i + 2 < len(lines) else []
        age = next((name for name in AGES if name in names), None)
        missing = [name for name in NEEDED if name not in names]
        if missing or age is None:
            raise ValueError(
                f"{path}, line {i + 3}: no column {', '.join(missing) or ' or '.join(AGES)}"
            )
        table = parse_numbers(lines[i + 3 : i + 3 + n_rows], str(path), i + 4)
        if table.shape != (n_rows, len(names)):
            raise ValueError(
                f"{path}, line {i + 4}: a block of shape {table.shape}; its heading says "
                f"({n_rows}, {len(names)})"
            )
        column = {name: table[:, j] for j, name in enumerate(names)}
        if age != AGES[0] and not column[age][0] > 0:
            raise FileError(f"{path}, line {i + 4}: the age is {column[age][0]:g} yr; expected > 0")
        log_age = column[age][0] if age == AGES[0] else np.log10(column[age][0])
        if not pre_main_sequence:
            column = {name: values[column["phase"] >= 0] for name, values in column.items()}
        isochrones.append(assemble(float(log_age), *_stars(column)))
    if z is None or not isochrones:
        raise ValueError(f"{path} is not a MIST .iso file: no Zinit or no block of EEPs")
    return IsochroneSet(
        isochrones=tuple(isochrones), z=z, source=f"MIST, {path.name}", citations=CITATIONS
    )


def _metals(line: list[str], column: int, path: pathlib.Path, number: int) -> float:
    words = line[0].lstrip("#").split() if line else []
    try:
        return float(words[column])
    except (IndexError, ValueError) as error:
        raise FileError(f"{path}, line {number}: has no Zinit under its heading") from error


def _count(words: list[str], path: pathlib.Path, number: int) -> int:
    """The number of rows that a block's heading says."""
    try:
        return int(words[-2])
    except (IndexError, ValueError) as error:
        raise FileError(
            f"{path}, line {number}: does not say its numbers of EEPs and columns"
        ) from error


def _stars(column: dict[str, np.ndarray]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns of an isochrone and the kind of each star."""
    columns = {
        "initial_mass": column["initial_mass"],
        "current_mass": column["star_mass"],
        "log_lum": column["log_L"],
        "log_teff": column["log_Teff"],
        "log_g": column["log_g"],
    }
    if {"surface_h1", "surface_c12"} <= column.keys():
        kind = surface_kinds(
            columns["log_lum"],
            columns["log_teff"],
            column["surface_h1"],
            column["surface_c12"],
        )
    else:
        kind = stripped_stars(*(columns[name] for name in list(columns)[:4]))
        kind = np.where(column["phase"] == 9, int(Kind.WN), kind)
    return columns, np.where(column["phase"] == 6, int(Kind.POST_AGB), kind)
