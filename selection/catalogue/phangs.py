"""PHANGS-HST cluster catalogues as released on MAST: photometry, classes and SED fits."""

import dataclasses
import pathlib
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt8

from starcensus.bands import BANDS, ab_minus_vega, full_name
from starcensus.files import Path, listed

from ._base import Catalogue, CatalogueError
from .checks import check, existing_file
from .column_map import Column, ColumnMap, ExtraColumn, Markers, PhotometryColumns, Quantity
from .open_table import Loaded, load
from .photometry import BandState
from .table import through

if TYPE_CHECKING:
    import astropy.table

_BAND = re.compile(r"PHANGS_(F\d+W)_(VEGA|mJy)(?:_TOT)?")
_IDS = ("ID_PHANGS_CLUSTER", "ID_PHANGS_CANDIDATE", "INDEX")
# "No value", in every column; an age or a mass of 0 is none either.
_NONE: Markers = (-9999.0, -999.0, 9999.0)
# Of a flux: outside the footprint, as the release's list of columns says. A magnitude has it where
# the flux is negative, too.
_NOT_COVERED = -9999.0
_OTHER_NONE = tuple(marker for marker in _NONE if marker != _NOT_COVERED)
_PER_DEX = 2.5 / np.log(10.0)
_RENAMED = {
    "x": "PHANGS_X",
    "y": "PHANGS_Y",
    "ra": "PHANGS_RA",
    "dec": "PHANGS_DEC",
    "concentration_index": "PHANGS_CI",
}


def read_phangs(
    path: Path,
    *,
    sed: Path | None = None,
    r_v: float = 3.1,
    distance_modulus: float | None = None,
) -> Catalogue:
    """A PHANGS-HST cluster catalogue (Maschmann et al. 2024, ApJS 273, 14; MAST `phangs-cat`).

    **Arguments:**

    - `path`: the table of observed properties (`…_obs-…`), or one that holds SED fits as well.
    - `sed`: the table of SED fits (Turner et al. 2021), joined on the cluster's number; by default
      the `…_sed-…` beside `path`, where there is one.
    - `r_v`: a_v = r_v · E(B-V).
    - `distance_modulus`: mag; by default `PHANGS_DM`, where the table has it.

    Returns a checked `Catalogue`: magnitudes are Vega, as released (corrected for the Milky Way's
    reddening and for the aperture). Why a band has none is what its flux says: -9999 is not
    observed; a negative error marks an upper limit (S/N below 1), which is not detected; a flux of
    0 or less is a measurement, in `fluxes`. A magnitude of -9999 without fluxes beside it is
    unknown. Limits are `…_LIMLO` and `…_LIMHI`, or errors
    `…_ERR`, linear ones of mass and age taken to dex as error / (value ln 10), for they may be as
    large as the value. All other columns keep their names, such as `PHANGS_CLUSTER_CLASS_HUMAN`,
    beside `x`, `y`, `ra`, `dec` and `concentration_index`. Without SED fits θ is NaN, and
    `meta["not_published"]` names all of it.

    Raises `CatalogueError` for tables that are not PHANGS's, or do not belong together.

    ```python
    name = "hlsp_phangs-cat_hst_uvis_ngc1097_multi_v1_obs-human-cluster-class12.fits"
    catalogue = read_phangs(name)
    apply_cuts(catalogue, [Classes((1, 2), column="PHANGS_CLUSTER_CLASS_HUMAN")])
    ```
    """
    path = existing_file(path)
    loaded = load(path)
    names = set(loaded.table.colnames)
    if not names & set(_IDS) or not any(_BAND.fullmatch(name) for name in names):
        raise CatalogueError(
            f"{path}: not a PHANGS-HST catalogue: no {' or '.join(_IDS)} with PHANGS_F555W_VEGA "
            f"and the like; the table has {listed(sorted(names))}. Use format 'table' with a "
            "column map"
        )
    sed = sed if sed is not None else sed_beside(path)
    if sed is not None:
        loaded = _joined(path, loaded, existing_file(sed))
    column_map = phangs_map(path.name, loaded.table, r_v, distance_modulus)
    catalogue = _with_fluxes(through(str(path), loaded, column_map), loaded)
    galaxy = re.search(r"_(ngc\d+|ic\d+)[a-z]?[-_]", path.name)
    facts = {"galaxy": galaxy[1] if galaxy else path.stem, "r_v": r_v}
    facts |= {"sed": str(sed)} if sed is not None else {}
    return dataclasses.replace(catalogue, meta={**catalogue.meta, **facts})


def sed_beside(path: pathlib.Path) -> pathlib.Path | None:
    """The table of SED fits that belongs to one of observations, where it is beside it."""
    if "_obs-" not in path.name:
        return None
    found = path.with_name(path.name.replace("_obs-", "_sed-"))
    return found if found.exists() else None


def _joined(path: pathlib.Path, loaded: Loaded, sed: pathlib.Path) -> Loaded:
    """The table with the columns of its SED fits; clusters without one have blanks there."""
    from astropy.table import MaskedColumn

    fits, table = load(sed).table, loaded.table.copy()
    common = [name for name in _IDS if name in table.colnames and name in fits.colnames]
    if not common:
        raise CatalogueError(f"{sed}: no column {' or '.join(_IDS)} in common with {path}")
    ids, others = (np.ma.filled(np.ma.asarray(t[common[0]]), -1) for t in (table, fits))
    order = np.argsort(others)
    if (np.diff(others[order]) == 0).any():
        raise CatalogueError(
            f"{sed}: column {common[0]}: repeated identifiers; expected unique ones"
        )
    place = np.minimum(np.searchsorted(others[order], ids), len(others) - 1)
    rows, matched = order[place], others[order][place] == ids
    if not matched.any():
        raise CatalogueError(f"{sed}: no {common[0]} is that of a cluster of {path}")
    for name in fits.colnames:
        if name not in table.colnames:
            column: Any = fits[name]
            mask = ~matched | np.ma.getmaskarray(np.ma.asarray(column))[rows]
            values = np.asarray(column)[rows]
            table[name] = MaskedColumn(values, mask=mask, unit=column.unit)
    return Loaded(table, loaded.numbers, loaded.word, loaded.bad)


def phangs_map(
    name: str,
    table: "astropy.table.Table",
    r_v: float = 3.1,
    distance_modulus: float | None = None,
) -> ColumnMap:
    """The column map of a released table.

    **Arguments:**

    - `name`: of its file, which says the cameras: `uvis` or `acs-uvis`.
    - `table`: it.
    - `r_v`, `distance_modulus`: as `read_phangs` takes them.
    """
    names = table.colnames
    bands = _bands(name, names)
    mass, age, ebv = (_quantity(names, what, r_v) for what in ("MASS", "AGE", "EBV"))
    estimates = mass is not None and age is not None
    used = (
        {_RENAMED[key] for key in _RENAMED} | {b.column for b in bands} | {b.error for b in bands}
    )
    for q in (mass, age, ebv):
        used |= {q.column, q.sigma, q.lower, q.upper} if q else set()
    renamed = {k: ExtraColumn(column=v, missing=_NONE) for k, v in _RENAMED.items() if v in names}
    kept = {each: _kept(table, each) for each in names if each not in used}
    ids = [each for each in _IDS if each in names and not np.ma.is_masked(table[each])]
    return ColumnMap(
        mass=mass if estimates else None,
        age=age if estimates else None,
        a_v=ebv if estimates else None,
        estimates=estimates,
        allow_missing=True,
        id=ids[0] if ids else None,
        bands=bands,
        columns={**renamed, **kept},
        distance_modulus=distance_modulus or _constant(table, "PHANGS_DM"),
    )


def _with_fluxes(catalogue: Catalogue, loaded: Loaded) -> Catalogue:
    """The catalogue with what the fluxes beside its magnitudes say of its bands."""
    mags, mag_errors, states = catalogue.mags, catalogue.mag_errors, catalogue.band_states
    assert mags is not None and mag_errors is not None and states is not None
    filters = [band.rpartition("_")[2] for band in catalogue.bands]
    beside = [f"PHANGS_{name}_mJy" in loaded.table.colnames for name in filters]
    if catalogue.fluxes is not None or not any(beside):
        return catalogue
    rows = np.searchsorted(loaded.numbers, catalogue.columns["row"])
    states, fluxes = states.copy(), 10.0 ** (-0.4 * mags)
    flux_errors = fluxes * mag_errors / _PER_DEX
    for k in np.flatnonzero(beside):
        parts = _of_flux(loaded.table, catalogue.bands[k], filters[k])
        state, flux, error = (part[rows] for part in parts)
        here = states[:, k] == BandState.UNKNOWN
        fluxes[here, k], flux_errors[here, k] = flux[here], error[here]
        states[:, k] = np.where(here | (state == BandState.NOT_DETECTED), state, states[:, k])
    absent = states != BandState.MEASURED
    fluxes[absent] = flux_errors[absent] = np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        positive = np.where(fluxes > 0, fluxes, np.nan)
    new = np.isnan(mags)
    catalogue = dataclasses.replace(
        catalogue,
        mags=np.where(new, -2.5 * np.log10(positive), np.where(absent, np.nan, mags)),
        mag_errors=np.where(
            new, _PER_DEX * flux_errors / positive, np.where(absent, np.nan, mag_errors)
        ),
        band_states=states,
        fluxes=fluxes,
        flux_errors=flux_errors,
    )
    return check(catalogue)


def _of_flux(
    table: "astropy.table.Table", band: str, name: str
) -> tuple[UInt8[np.ndarray, " n"], Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """State, flux relative to Vega and its error, of a band by its flux in mJy."""

    def column(name: str | None) -> Float[np.ndarray, " n"]:
        if name is None:
            return np.full(len(table), np.nan)
        given: Any = table[name]
        return np.ma.filled(np.ma.asarray(given).astype(np.float64), np.nan)

    flux, error = column(f"PHANGS_{name}_mJy"), column(_error(table.colnames, f"PHANGS_{name}_mJy"))
    covered = flux != _NOT_COVERED
    flux[np.isin(flux, _NONE)] = np.nan
    error[np.isin(error, _NONE)] = np.nan
    zero = ab_minus_vega(full_name(band))
    states = np.select(
        [~covered, error < 0, np.isnan(flux) | (zero is None)],
        [BandState.NOT_OBSERVED, BandState.NOT_DETECTED, BandState.UNKNOWN],
        BandState.MEASURED,
    ).astype(np.uint8)
    vega_mjy = 3631e3 * 10.0 ** (-0.4 * (zero or 0.0))
    return states, flux / vega_mjy, error / vega_mjy


def _kept(table: "astropy.table.Table", name: str) -> ExtraColumn:
    column: Any = table[name]
    whole = column.dtype.kind in "iu"
    return ExtraColumn(column=name, missing=() if whole else _NONE)


def _constant(table: "astropy.table.Table", name: str) -> float | None:
    """The one value of a column, or None."""
    if name not in table.colnames:
        return None
    values = np.unique(np.ma.compressed(np.ma.asarray(table[name])))
    return float(values[0]) if len(values) == 1 and values[0] > 0 else None


def _bands(name: str, names: list[str]) -> tuple[PhotometryColumns, ...]:
    """Vega magnitudes where there are some, fluxes otherwise, from blue to red."""
    found = {}
    for column in names:
        match = _BAND.fullmatch(column)
        if match and (match[1] not in found or match[2] == "VEGA"):
            found[match[1]] = (column, match[2])
    return tuple(
        PhotometryColumns(
            name=_camera(band, name, kind == "mJy"),
            column=column,
            error=_error(names, column),
            unit="mJy" if kind == "mJy" else "mag",
            not_observed=(_NOT_COVERED,) if kind == "mJy" else (),
            missing=_OTHER_NONE if kind == "mJy" else _NONE,
        )
        for band, (column, kind) in sorted(found.items())
    )


def _camera(band: str, name: str, flux: bool) -> str:
    """The band's full name where its camera is known, the filter alone otherwise."""
    if "_hst_uvis_" in name and f"WFC3_UVIS_{band}" in BANDS:
        return f"WFC3_UVIS_{band}"
    if band in ("F275W", "F336W", "F438W"):
        return f"WFC3_UVIS_{band}"
    return full_name(band) if band == "F435W" or flux else band


def _error(names: list[str], column: str) -> str | None:
    """Of a magnitude or flux: `…_ERR`, or `…_TOT_ERR` where only the last bands have it."""
    for end in ("_ERR", "_TOT_ERR"):
        if column + end in names:
            return column + end
    return None


def _quantity(names: list[str], what: str, r_v: float) -> Quantity | None:
    units = {"MASS": "Msun", "AGE": "Myr", "EBV": "E(B-V)"}
    none = _NONE if what == "EBV" else (*_NONE, 0.0)
    for column in (f"PHANGS_SED_{what}", f"PHANGS_{what}_MINCHISQ", f"PHANGS_{what}"):
        if column not in names:
            continue
        errors: dict[str, Column] = {}
        if {f"{column}_LIMLO", f"{column}_LIMHI"} <= set(names):
            errors = {"lower": f"{column}_LIMLO", "upper": f"{column}_LIMHI"}
        elif f"{column}_ERR" in names:
            errors = {"sigma": f"{column}_ERR"}
        return Quantity(
            column=column,
            unit=units[what],
            scale="linear",
            missing=none,
            r_v=r_v,
            error_unit="first_order" if "sigma" in errors and what != "EBV" else "same",
            **errors,
        )
    return None
