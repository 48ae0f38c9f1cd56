"""From a catalogue to photometry that a likelihood takes: every band's state is known."""

from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from ._base import Catalogue, CatalogueError, Step
from .checks import check, row_label
from .loci import distance_sign
from .photometry import BandState, Photometry

Unknown = Literal["refuse", "not observed", "not detected"]


def photometry_of(
    catalogue: Catalogue,
    bands: tuple[str, ...] | None = None,
    *,
    unknown: Unknown = "refuse",
    min_bands: int = 1,
) -> Photometry:
    """What a catalogue measured of each cluster in each band, and why it did not.

    Nothing is filled in. Fluxes are the catalogue's own where it has them, negative ones too, and
    10^(−0.4 m) with errors to first order otherwise.

    **Arguments:**

    - `catalogue`: with `mags` or `fluxes`, and their errors.
    - `bands`: those to take, in this order; by default all.
    - `unknown`: what a band without a measurement is where the catalogue does not say why.
      `"refuse"` asks; the others are for the user to know.
    - `min_bands`: clusters that are measured in fewer of the bands are left out.

    Returns `Photometry`: its `ci` is the column `concentration_index`, where there is one, its
    `distance_modulus` the catalogue's; the step `photometry` says what was done.

    Raises `CatalogueError` for a catalogue without magnitudes or without these bands, for bands
    whose state is unknown, measured bands without an error above 0, a distance modulus that is none
    (`distance_sign`), and where no cluster is left; and what `check` raises.

    ```python
    photometry_of(catalogue, ("ACS_F555W",), unknown="not observed").flux
    ```
    """
    check(catalogue)
    source = catalogue.source
    chosen = _columns(catalogue, bands)
    names = tuple(catalogue.bands[k] for k in chosen)
    if not 1 <= min_bands <= len(names):
        raise CatalogueError(
            f"{source}: min_bands = {min_bands}, expected 1 to {len(names)} (the bands here)"
        )
    flux, error = _fluxes(catalogue)
    flux, error, states = flux[:, chosen], error[:, chosen], _states(catalogue)[:, chosen]
    enough = (states == BandState.MEASURED).sum(axis=1) >= min_bands
    rows = np.flatnonzero(enough)
    if not rows.size:
        raise CatalogueError(
            f"{source}: none of {len(catalogue)} clusters is measured in {min_bands} of the bands "
            f"{', '.join(names)}; lower min_bands or name others"
        )
    flux, error, states = flux[rows], error[rows], states[rows]
    said = _settle(catalogue, names, rows, states, unknown)
    _check_errors(catalogue, names, rows, flux, error, states)
    if n_few := len(catalogue) - len(rows):
        said += f"; {n_few} clusters with fewer than {min_bands} measured bands left out"
    limits = (("min_bands", float(min_bands)),) if min_bands > 1 else ()
    step = Step("photometry", len(catalogue), len(rows), f"{', '.join(names)}: {said}", limits)
    index = catalogue.columns.get("concentration_index")
    modulus = catalogue.meta.get("distance_modulus")
    made = Photometry(
        source=source,
        ids=catalogue.ids[rows],
        bands=names,
        flux=flux,
        flux_error=error,
        states=states,
        ci=None if index is None else index[rows].astype(np.float64),
        distance_modulus=float(modulus) if isinstance(modulus, int | float) else None,
        steps=(*catalogue.steps, step),
    )
    if (odd := distance_sign(made)) is not None:
        raise CatalogueError(f"{source}: {odd}")
    return made


def _columns(catalogue: Catalogue, bands: tuple[str, ...] | None) -> list[int]:
    if (catalogue.mags is None and catalogue.fluxes is None) or not catalogue.bands:
        why = catalogue.meta.get("no_magnitudes")
        raise CatalogueError(
            f"{catalogue.source}: has no magnitudes"
            + (f"; the table does, but {why}" if why else "; expected them in at least one band")
        )
    wanted = catalogue.bands if bands is None else tuple(bands)
    unknown = [band for band in wanted if band not in catalogue.bands]
    if unknown or not wanted or len(set(wanted)) != len(wanted):
        raise CatalogueError(
            f"{catalogue.source}: bands = {wanted}; expected different ones, some of "
            f"{', '.join(catalogue.bands)}"
        )
    return [catalogue.bands.index(band) for band in wanted]


def _fluxes(
    catalogue: Catalogue,
) -> tuple[Float[np.ndarray, "n band"], Float[np.ndarray, "n band"]]:
    if catalogue.fluxes is not None and catalogue.flux_errors is not None:
        return catalogue.fluxes, catalogue.flux_errors
    assert catalogue.mags is not None
    flux = 10.0 ** (-0.4 * catalogue.mags)
    if catalogue.mag_errors is None:
        return flux, np.full_like(flux, np.nan)
    return flux, flux * catalogue.mag_errors * (0.4 * np.log(10.0))


def _states(catalogue: Catalogue) -> UInt8[np.ndarray, "n band"]:
    if catalogue.band_states is not None:
        return catalogue.band_states.copy()
    measured = ~np.isnan(_fluxes(catalogue)[0])
    return np.where(measured, BandState.MEASURED, BandState.UNKNOWN).astype(np.uint8)


def _settle(
    catalogue: Catalogue,
    bands: tuple[str, ...],
    rows: np.ndarray,
    states: UInt8[np.ndarray, "n band"],
    unknown: Unknown,
) -> str:
    """Gives unknown states, in place, the meaning that the user says; what there was, in words."""
    open_ = states == BandState.UNKNOWN
    counts = _by_band(bands, open_)
    if open_.any() and unknown == "refuse":
        row, band = (int(i) for i in np.argwhere(open_)[0])
        raise CatalogueError(
            f"{catalogue.source}: {row_label(catalogue, int(rows[row]))} (id "
            f"{catalogue.ids[rows[row]]}), {bands[band]}: has no measurement, and the catalogue "
            f"does not say why; so have {int(open_.any(axis=1).sum())} of {len(rows)} clusters "
            f"({counts}). Expected to know whether a band was not observed or not detected, which "
            'is not the same: say unknown = "not observed" or unknown = "not detected", declare '
            "the table's markers as not_observed and not_detected in its column map, or leave out "
            "the band"
        )
    words = {BandState.NOT_OBSERVED: "not observed", BandState.NOT_DETECTED: "not detected"}
    parts = [
        f"{_by_band(bands, states == state)} {word}"
        for state, word in words.items()
        if (states == state).any()
    ]
    if open_.any():
        parts.append(f"{counts} unknown, taken as {unknown}")
        for state, word in words.items():
            if word == unknown:
                states[open_] = state
    return ", ".join(parts) or "all measured"


def _by_band(bands: tuple[str, ...], mask: np.ndarray) -> str:
    pairs = zip(mask.sum(axis=0).tolist(), bands, strict=True)
    return ", ".join(f"{n} in {band}" for n, band in pairs if n)


def _check_errors(
    catalogue: Catalogue,
    bands: tuple[str, ...],
    rows: np.ndarray,
    flux: np.ndarray,
    error: np.ndarray,
    states: np.ndarray,
) -> None:
    bad = (states == BandState.MEASURED) & ~(np.isfinite(error) & (error > 0))
    if not bad.any():
        return
    row, band = (int(i) for i in np.argwhere(bad)[0])
    raise CatalogueError(
        f"{catalogue.source}: {row_label(catalogue, int(rows[row]))} (id "
        f"{catalogue.ids[rows[row]]}), {bands[band]}: measured with error {error[row, band]:g} "
        f"(flux {flux[row, band]:.4g} of Vega's; {_by_band(bands, bad)} such), expected a positive "
        "error. Name the column of errors in the column map, or give the catalogue errors that you "
        "know: dataclasses.replace(catalogue, mag_errors=...)"
    )
