"""PARSEC isochrones, and those of other tracks, in the files that FSPS carries."""

import os
import pathlib
import re

import numpy as np

from starcensus.files import read_numbers, reading

from ._base import IsochroneSet, Kind, assemble, group_by_age, log_gravity, stripped_stars

# Tracks by the words in a file's path that name them, and the papers to cite; PARSEC's where no
# word does.
TRACKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "padova2007": ("Padova 2007", ("Marigo et al. 2008, A&A 482, 883",)),
    "basti": ("BaSTI", ("Pietrinferni et al. 2004, ApJ 612, 168",)),
    "geneva": ("Geneva", ("Schaller et al. 1992, A&AS 96, 269",)),
    "mist": ("MIST", ("Choi et al. 2016, ApJ 823, 102", "Dotter 2016, ApJS 222, 8")),
}
PARSEC = (
    "PARSEC",
    ("Bressan et al. 2012, MNRAS 427, 127", "Chen et al. 2015, MNRAS 452, 1068"),
)
FSPS = "Conroy, Gunn & White 2009, ApJ 699, 486"
COLUMNS = 8
# A log g below this is none: BaSTI's files have -99 throughout.
_NO_GRAVITY = -50.0


def read_fsps(path: str | os.PathLike[str], *, z: float | None = None) -> IsochroneSet:
    """Read an isochrone file of FSPS (`isoc_z0.0200.dat`).

    Columns: log age, initial and current mass, log L, log Teff, log g, composition (C/O), phase
    (0 main sequence, 1 subgiant, 2 red giant, 3 core helium, 4 early AGB, 5 thermally pulsing AGB,
    6 post-AGB, 9 Wolf-Rayet). In PARSEC's files massive stars keep phase 0 to 3 throughout and no
    star has 6 or 9, so stripped stars are found by their mass (`stripped_stars`). A gravity that a
    file lacks (-99 in BaSTI's) is that of mass, luminosity and temperature.

    **Arguments:**

    - `path`: the file. Its name or that of its folder tells whose tracks they are, `Padova2007`,
      `BaSTI`, `Geneva` or `MIST`; those of any other are PARSEC's.
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
        absent = columns["log_g"] < _NO_GRAVITY
        of_star = log_gravity(*(columns[name] for name in ("current_mass", "log_lum", "log_teff")))
        columns["log_g"] = np.where(absent, of_star, columns["log_g"])
        composition, phase = table[rows, 6], table[rows, 7]
        kind = stripped_stars(*(columns[name] for name in names[:4]))
        flagged = np.where(composition >= 10, int(Kind.WC), int(Kind.WN))
        kind = np.where(phase == 9, flagged, kind)
        kind = np.where(phase == 6, int(Kind.POST_AGB), kind)
        isochrones.append(assemble(log_age, columns, kind))
    tracks, papers = _tracks(path)
    return IsochroneSet(
        isochrones=tuple(isochrones),
        z=z,
        source=f"{tracks} isochrones as in FSPS, {path.name}",
        citations=(*papers, FSPS),
    )


def _tracks(path: pathlib.Path) -> tuple[str, tuple[str, ...]]:
    """Whose tracks a file holds and the papers to cite, by its name and those of its folders."""
    near = [path.name.lower(), *(folder.name.lower() for folder in path.resolve().parents)]
    for part in near[:3]:
        if "parsec" in part:
            break
        for word, found in TRACKS.items():
            if word in part:
                return found
    return PARSEC
