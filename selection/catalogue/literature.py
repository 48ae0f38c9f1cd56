"""Published cluster tables in VizieR's FITS form: M83, NGC 628 and M31."""

import dataclasses
import pathlib

import numpy as np

from starcensus.files import Path, listed

from ._base import Catalogue, CatalogueError
from .checks import check, existing_file
from .column_map import ColumnMap, PhotometryColumns, Quantity
from .open_table import read_fits_table
from .photometry import BandState
from .table import read_table

M83 = ColumnMap(
    id="ID",
    mass=Quantity(
        column="logMass", unit="Msun", scale="log10", lower="b_logMass", upper="b_logmass_lc"
    ),
    age=Quantity(column="logAge", unit="yr", scale="log10", lower="b_logAge", upper="b_logage_lc"),
    extra=("RAJ2000", "DEJ2000", "Dgc", "Eta", "e_Eta", "logReff", "e_logReff", "fiso"),
)

NGC628 = ColumnMap(
    id="ID",
    mass=Quantity(
        column="logMass", unit="Msun", scale="log10", minus="e_logmass_lc", plus="E_logMass"
    ),
    age=Quantity(column="logAge", unit="yr", scale="log10", minus="e_logage_lc", plus="E_logAge"),
    extra=(
        "RAJ2000",
        "DEJ2000",
        "CI",
        "eta",
        "logReffg",
        "E_logReffg",
        "e_logreffg_lc",
        "logReffc",
        "E_logReffc",
        "e_logreffc_lc",
        "fvis",
    ),
)

# `logM-bset` is VizieR's spelling.
M31 = ColumnMap(
    id="PCID",
    mass=Quantity(
        column="logM-bset", unit="Msun", scale="log10", lower="logM-p16", upper="logM-p84"
    ),
    age=Quantity(column="logA-best", unit="yr", scale="log10", lower="logA-p16", upper="logA-p84"),
    a_v=Quantity(column="AV-best", unit="mag", lower="AV-p16", upper="AV-p84"),
    extra=("RAJ2000", "DEJ2000", "CFlag"),
    allow_missing=True,
    distance_modulus=24.47,
)

_M31_BANDS = (
    PhotometryColumns(name="WFC3_UVIS_F275W", column="F275W"),
    PhotometryColumns(name="WFC3_UVIS_F336W", column="F336W"),
    PhotometryColumns(name="ACS_F475W", column="F475W"),
    PhotometryColumns(name="ACS_F814W", column="F814W"),
    PhotometryColumns(name="WFC3_IR_F110W", column="F110W"),
    PhotometryColumns(name="WFC3_IR_F160W", column="F160W"),
)
_JOHNSON = "johnson2012_m31.fits"
_NAMES = {"RAJ2000": "ra", "DEJ2000": "dec"}
_KINDS = {"m83": M83, "ngc628": NGC628, "m31": M31}


def _needed(column_map: ColumnMap) -> set[str]:
    quantities = (column_map.mass, column_map.age, column_map.a_v)
    names = {
        str(name) for q in quantities if q for name in (q.column, q.lower, q.upper, q.minus) if name
    }
    return names | {str(column_map.id)}


def _kind(path: pathlib.Path, present: set[str]) -> str:
    for kind, column_map in _KINDS.items():
        if _needed(column_map) <= present:
            return kind
    missing = {kind: sorted(_needed(m) - present)[:4] for kind, m in _KINDS.items()}
    raise CatalogueError(
        f"{path}: not one of the known tables (M83: Ryon+15, NGC 628: Ryon+17, M31: "
        f"Fouesneau+14); missing columns {missing}; the file has {listed(sorted(present))}. "
        "Use format 'table' with a column map"
    )


def _with_photometry(cat: Catalogue, path: pathlib.Path) -> Catalogue:
    """The M31 catalogue with Johnson et al. (2012)'s magnitudes and radii, matched on PCID."""
    table = read_fits_table(path)
    names = {"PCID", "Reff", "Rap", *(band.column for band in _M31_BANDS)}
    if missing := sorted(names - set(table.colnames)):
        raise CatalogueError(f"{path}: no column {', '.join(missing)}; expected Johnson+12's table")
    ids = np.asarray(table["PCID"]).astype(np.int64)
    order = np.argsort(ids)
    if (np.diff(ids[order]) == 0).any():
        raise CatalogueError(f"{path}: column PCID: repeated identifiers; expected unique ones")
    place = np.minimum(np.searchsorted(ids[order], cat.ids), len(ids) - 1)
    matched = ids[order][place] == cat.ids
    rows = order[place]

    def column(name: str) -> np.ndarray:
        values = np.ma.filled(np.ma.asarray(table[name]).astype(np.float64), np.nan)[rows]
        return np.where(matched, np.round(values, 6), np.nan)

    mags = np.stack([column(str(band.column)) for band in _M31_BANDS], axis=1)
    extra = {"r_eff_arcsec": column("Reff"), "r_aperture_arcsec": column("Rap")}
    return dataclasses.replace(
        cat,
        bands=tuple(band.name for band in _M31_BANDS),
        mags=mags,
        mag_errors=np.full_like(mags, np.nan),
        # The table does not say why a band has no magnitude.
        band_states=np.where(np.isnan(mags), BandState.UNKNOWN, BandState.MEASURED).astype(
            np.uint8
        ),
        columns={**cat.columns, **extra},
        meta={
            **cat.meta,
            "photometry": str(path),
            "n_without_photometry": int((~matched).sum()),
            "n_photometry_only": int((~np.isin(ids, cat.ids)).sum()),
        },
    )


def read_literature(path: Path, *, photometry: Path | None = None) -> Catalogue:
    """A published table, recognised by its columns.

    - M83: Ryon et al. 2015 (MNRAS 452, 525, table 3). log mass and log age with `b_…` the minimum
      and `b_…_lc` the maximum, as the columns' comments say and every row obeys. No extinction.
    - NGC 628: Ryon et al. 2017 (ApJ 841, 92, table 3). `E_…` are positive and `e_…_lc` negative
      errors of log values. No extinction; radii as extra columns.
    - M31: Fouesneau et al. 2014 (ApJ 786, 117, table 2), best values with the 16th and 84th
      percentiles; one source has no estimate and stays as NaN.

    **Arguments:**

    - `path`: the FITS file.
    - `photometry`: for M31, Johnson et al. 2012 (ApJ 752, 95), six Vega magnitudes joined on PCID;
      by default `johnson2012_m31.fits` beside `path`, where there is one. It publishes no
      errors of magnitudes: `mag_errors` is NaN.

    Returns a checked `Catalogue`; where no extinction is published a_v is NaN and
    `meta["not_published"]` is `("a_v",)`. Raises `CatalogueError` for a damaged file or unknown
    columns.

    ```python
    m31 = read_literature("fouesneau2014_m31.fits", photometry="johnson2012_m31.fits")
    ```
    """
    path = existing_file(path)
    kind = _kind(path, set(read_fits_table(path).colnames))
    cat = read_table(path, _KINDS[kind])
    columns = {_NAMES.get(name, name): values for name, values in cat.columns.items()}
    cat = dataclasses.replace(cat, columns=columns, meta={**cat.meta, "galaxy": kind})
    if kind != "m31":
        if photometry is not None:
            raise CatalogueError(f"{path}: photometry is joined for M31 only, this is {kind}")
        return cat
    photometry = photometry if photometry is not None else photometry_beside(path)
    return cat if photometry is None else check(_with_photometry(cat, existing_file(photometry)))


def photometry_beside(path: pathlib.Path) -> pathlib.Path | None:
    """Johnson et al. (2012)'s table beside Fouesneau et al. (2014)'s, where it is there."""
    beside = path.with_name(_JOHNSON)
    return beside if beside.exists() and beside != path else None
