"""PARSEC isochrones in the tables that the CMD web page of Padova writes."""

import os
import pathlib

import numpy as np

from starcensus.files import parse_numbers, read_text, reading

from ._base import IsochroneSet, Kind, assemble, group_by_age, stripped_stars, surface_kinds

CITATIONS = (
    "Bressan et al. 2012, MNRAS 427, 127",
    "Chen et al. 2015, MNRAS 452, 1068",
    "Marigo et al. 2017, ApJ 835, 77",
)
NEEDED = ("Zini", "logAge", "Mini", "Mass", "logL", "logTe", "logg", "label")
POST_AGB_LABEL = 9


def read_cmd(path: str | os.PathLike[str]) -> IsochroneSet:
    """Read a table of isochrones of one metallicity written by the CMD web page (3.x).

    Columns are found by the names in the header (`# Zini MH logAge Mini int_IMF Mass logL logTe
    logg label ...`); others, magnitudes included, are left aside. Where the table gives the
    surface composition (`X`, `Xc`) it decides which stars are Wolf-Rayet, otherwise the mass lost
    does. Rows that close an isochrone with a remnant (log L of -9) are dropped.

    Raises `FileError` for a file that is damaged, without that header, or with several
    metallicities.

    ```python
    read_cmd("output123456789.dat").between(6.0, 9.0)
    ```
    """
    with reading(path, "table of isochrones") as source:
        return _read(source)


def _read(path: pathlib.Path) -> IsochroneSet:
    header: list[str] = []
    lines = read_text(path).splitlines()
    for line in lines:
        if not line.startswith("#"):
            break
        words = line.lstrip("#").split()
        if "Mini" in words and "logL" in words:
            header = words
    missing = [name for name in NEEDED if name not in header]
    if missing:
        raise ValueError(
            f"{path} is not a table of the CMD web page: no column {', '.join(missing)} in its "
            "header; expected a line # Zini MH logAge Mini int_IMF Mass logL logTe logg label"
        )
    table = parse_numbers(lines, str(path))
    if table.shape[1] != len(header):
        raise ValueError(
            f"{path} has {table.shape[1]} columns under a header of {len(header)} names"
        )
    column = {name: table[:, i] for i, name in enumerate(header)}
    metals = np.unique(column["Zini"])
    if len(metals) != 1:
        raise ValueError(f"{path} mixes the metallicities {metals}; expected one per file")
    alive = column["logL"] > -9
    column = {name: values[alive] for name, values in column.items()}
    isochrones = []
    for log_age, rows in group_by_age(column["logAge"]):
        columns = {
            "initial_mass": column["Mini"][rows],
            "current_mass": column["Mass"][rows],
            "log_lum": column["logL"][rows],
            "log_teff": column["logTe"][rows],
            "log_g": column["logg"][rows],
        }
        if {"X", "Xc"} <= column.keys():
            kind = surface_kinds(
                columns["log_lum"], columns["log_teff"], column["X"][rows], column["Xc"][rows]
            )
        else:
            kind = stripped_stars(
                columns["initial_mass"],
                columns["current_mass"],
                columns["log_lum"],
                columns["log_teff"],
            )
        after = column["label"][rows] >= POST_AGB_LABEL
        kind = np.where(after, int(Kind.POST_AGB), kind)
        isochrones.append(assemble(log_age, columns, kind))
    return IsochroneSet(
        isochrones=tuple(isochrones),
        z=float(metals[0]),
        source=f"PARSEC isochrones from the CMD web page, {path.name}",
        citations=CITATIONS,
    )
