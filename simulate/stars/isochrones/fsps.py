"""PARSEC isochrones in the files that FSPS carries."""

import os
import pathlib
import re

import numpy as np

from starcensus.files import read_numbers, reading

from ._base import IsochroneSet, Kind, assemble, group_by_age, stripped_stars

CITATIONS = (
    "Bressan et al. 2012, MNRAS 427, 127",
    "Chen et al. 2015, MNRAS 452, 1068",
    "Conroy, Gunn & White 2009, ApJ 699, 486",
)
COLUMNS = 8


def read_fsps(path: str | os.PathLike[str], *, z: float | None = None) -> IsochroneSet:
    """Read an isochrone file of FSPS (`isoc_z0.0200.dat`).

    Columns: log age, initial and current mass, log L, log Teff, log g, composition (C/O), phase
    (0 main sequence, 1 subgiant, 2 red giant, 3 core helium, 4 early AGB, 5 thermally pulsing AGB,
    6 post-AGB, 9 Wolf-Rayet). In PARSEC's files massive stars keep phase 0 to 3 throughout and no
    star has 6 or 9, so stripped stars are found by their mass (`stripped_stars`).

    **Arguments:**

    - `path`: the file.
    - `z`: its metal mass fraction, by default that in its name.

    Raises `FileError` for a file with other columns or a damaged one, and `ValueError` without a z
    in its name or argument.

    ```python
    read_fsps("isoc_z0.0190.dat").log_age
    ```
    """
    path = pathlib.Path(path)
    if z is None:
        found = re.search(r"z(0\.\d+)", path.name)
        if found is None:
            raise ValueError(f"{path.name} does not say its metallicity as z0.0200; give z")
        z = float(found.group(1))
    with reading(path, "isochrone file of FSPS") as source:
        return _read(source, z)


def _read(path: pathlib.Path, z: float) -> IsochroneSet:
    table = read_numbers(path, "isochrone file of FSPS")
    if table.shape[1] != COLUMNS:
        raise ValueError(
            f"{path} has {table.shape[1]} columns; an FSPS isochrone file has {COLUMNS}: log age, "
            "Mini, Mact, logl, logt, logg, composition, phase"
        )
    names = ("initial_mass", "current_mass", "log_lum", "log_teff", "log_g")
    isochrones = []
    for log_age, rows in group_by_age(table[:, 0]):
        columns = {name: table[rows, 1 + i] for i, name in enumerate(names)}
        composition, phase = table[rows, 6], table[rows, 7]
        kind = stripped_stars(*(columns[name] for name in names[:4]))
        flagged = np.where(composition >= 10, int(Kind.WC), int(Kind.WN))
        kind = np.where(phase == 9, flagged, kind)
        kind = np.where(phase == 6, int(Kind.POST_AGB), kind)
        isochrones.append(assemble(log_age, columns, kind))
    return IsochroneSet(
        isochrones=tuple(isochrones),
        z=z,
        source=f"PARSEC isochrones as in FSPS, {path.name}",
        citations=CITATIONS,
    )
