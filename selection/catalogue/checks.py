"""What every catalogue must satisfy, whoever wrote it; messages name the file, row and column."""

import dataclasses
import pathlib

import numpy as np
from jaxtyping import Bool, Float

from starcensus.files import FileError, Path, existing
from starcensus.theta import AXES

from ._base import Catalogue, CatalogueError
from .photometry import BandState

LOG_MASS_RANGE = (0.0, 9.0)
LOG_AGE_RANGE = (4.0, 10.3)
# Of `Catalogue.meta["recorded"]`: θ is the truth plus Gaussian noise, so that a_v may be negative.
GAUSSIAN = "gaussian"
# No cluster is older or heavier: the Universe has 13.8 Gyr, and grids of models end at 14 to 15.6;
# the heaviest young cluster known (W3 in NGC 7252) has 8e7 M_sun.
OLDEST_YR = 1.6e10
HEAVIEST_MSUN = 1e8
# Rounding of published tables and of float32 FITS columns; a real negative extinction is larger.
A_V_TOLERANCE = 1e-3
LIMIT_TOLERANCE = 1e-5
# A flux that is further below 0, in units of its error, is a marker and no measurement.
DEEPEST_SNR = -30.0
_FAINTEST_MAG = 40.0
# Between a magnitude and the flux beside it, mag: both are of one measurement.
_MAG_TOLERANCE = 1e-3
_FILE_SIZE_LIMIT = 2**31


def existing_file(path: Path) -> pathlib.Path:
    """The path of a readable, non-empty file.

    **Raises** `CatalogueError` if it is missing, a folder, empty or too large to be a table.
    """
    try:
        source = existing(path, "catalogue file")
    except FileError as error:
        raise CatalogueError(f"{error}; check the path") from error
    size = source.stat().st_size
    if size == 0:
        raise CatalogueError(f"{source}: the file is empty (0 bytes); fetch or write it again")
    if size > _FILE_SIZE_LIMIT:
        raise CatalogueError(f"{source}: {size} bytes is too large for a table of clusters")
    return source


def row_label(cat: Catalogue, index: int) -> str:
    """`line 12` for text files, `row 12` otherwise: where row `index` stands in its file."""
    word = str(cat.meta.get("row_name", "row"))
    number = cat.columns["row"][index] if "row" in cat.columns else index + 1
    return f"{word} {number}"


def published(cat: Catalogue) -> Bool[np.ndarray, " 3"]:
    """Which of θ's three columns the source publishes at all (`meta["not_published"]`)."""
    absent = cat.meta.get("not_published", ())
    names = absent if isinstance(absent, tuple) else ()
    return np.array([name not in names for name in AXES])


def has_estimate(cat: Catalogue) -> Bool[np.ndarray, " n"]:
    """Which rows, `(n,)`, have a finite number in every θ column that is published.

    ```python
    catalogue.theta[has_estimate(catalogue)]
    ```
    """
    columns = published(cat)
    return np.isfinite(cat.theta[:, columns]).all(axis=1) & bool(columns.any())


def implausible(cat: Catalogue) -> dict[int, str]:
    """Rows whose age or mass no cluster has, with the reason; none where noise is Gaussian.

    ```python
    implausible(catalogue)  # {12: "log_age: received 10.28 (1.9e+10 yr), expected at most ..."}
    ```
    """
    if cat.meta.get("recorded") == GAUSSIAN:
        return {}
    found: dict[int, str] = {}
    limits = (
        (1, LOG_AGE_RANGE[0], OLDEST_YR, "yr", "older"),
        (0, LOG_MASS_RANGE[0], HEAVIEST_MSUN, "M_sun", "heavier"),
    )
    for column, least, most, unit, word in limits:
        values = cat.theta[:, column]
        for row in np.flatnonzero((values < least) | (values > np.log10(most) + 1e-6)):
            value = values[row]
            linear = f"{10.0 ** min(max(value, -300.0), 300.0):.3g} {unit}"
            limit = (
                f"is {word} than {most:.2g}"
                if value > least
                else f"has less than {10.0**least:.2g}"
            )
            found.setdefault(
                int(row),
                f"{AXES[column]}: received {value:.4g} ({linear}); no cluster {limit} {unit}",
            )
    return found


def _first(bad: Bool[np.ndarray, "..."]) -> tuple[int, int]:
    row, *rest = np.argwhere(bad)[0]
    return int(row), int(rest[0]) if rest else 0


def _mass_hint(log_mass: Float[np.ndarray, " n"]) -> str:
    if np.all(log_mass > LOG_MASS_RANGE[1]):
        return "masses look linear: scale is 'linear', not 'log10'"
    if np.all(10.0**log_mass <= LOG_MASS_RANGE[1]):
        return "masses look like log10 values: scale is 'log10', not 'linear'"
    return "check the mass column and its unit (M_sun)"


def _age_hint(log_age: Float[np.ndarray, " n"]) -> str:
    if np.all(log_age > 1e4):
        return "ages look linear: scale is 'linear', not 'log10'"
    age = 10.0 ** np.minimum(log_age, 300.0)
    if np.all((age >= LOG_AGE_RANGE[0]) & (age <= LOG_AGE_RANGE[1])) and np.ptp(age) > 0:
        return "ages look like log10 values: scale is 'log10' (or they are Myr: multiply by 1e6)"
    if np.median(age) < 20.0:
        return "ages look like Myr or Gyr: multiply by 1e6 or 1e9 (unit 'Myr' or 'Gyr')"
    if np.median(age) < 2e4:
        return "ages look like Myr: multiply by 1e6 (unit 'Myr')"
    return "check the age column and its unit (yr)"


def _check_rows(cat: Catalogue) -> None:
    if len(cat) == 0:
        raise CatalogueError(f"{cat.source}: no rows; expected at least one cluster")
    n = len(cat)
    if cat.theta_low.shape != (n, 3) or cat.theta_high.shape != (n, 3) or cat.theta.shape != (n, 3):
        raise CatalogueError(f"{cat.source}: theta and its limits must have shape ({n}, 3)")
    lengths = {name: len(column) for name, column in cat.columns.items() if len(column) != n}
    if lengths:
        raise CatalogueError(f"{cat.source}: columns of the wrong length (expected {n}): {lengths}")
    values, counts = np.unique(cat.ids, return_counts=True)
    if (counts > 1).any():
        value = values[counts > 1][0]
        rows = np.flatnonzero(cat.ids == value)[:2].tolist()
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, rows[0])} and {row_label(cat, rows[1])}, column id: "
            f"{value!s} appears {int(counts[counts > 1][0])} times "
            f"({int((counts > 1).sum())} ids are repeated); ids must be unique: "
            "remove the duplicates or choose another id column"
        )


def _check_theta(cat: Catalogue) -> None:
    columns = published(cat)
    finite = np.isfinite(cat.theta) | ~columns
    bad = ~finite & (np.isfinite(cat.theta) & columns).any(axis=1)[:, None]
    bad |= np.isinf(cat.theta)
    if bad.any():
        row, column = _first(bad)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, column {AXES[column]}: received "
            f"{cat.theta[row, column]} beside finite values ({int(bad.any(axis=1).sum())} such "
            "rows); expected all of log_mass, log_age and a_v, or none: mark rows without an "
            "estimate as missing in all three"
        )
    ok = has_estimate(cat)
    ranges = ((0, LOG_MASS_RANGE, _mass_hint), (1, LOG_AGE_RANGE, _age_hint))
    for column, (low, high), hint in ranges:
        values = cat.theta[:, column]
        bad = ok & columns[column] & ((values < low) | (values > high))
        # A whole column of stars' masses, or of ages below 20,000 yr, is a unit mistaken.
        suspect = ok.any() and columns[column] and np.median(values[ok]) < (1.0, 4.3)[column]
        bad = ok if suspect and not bad.any() else bad
        if bad.any():
            row, _ = _first(bad)
            raise CatalogueError(
                f"{cat.source}: {row_label(cat, row)}, column {AXES[column]}: received "
                f"{values[row]:.4g}, expected {low:g} to {high:g} and a median above "
                f"{(1.0, 4.3)[column]:g} ({int(bad.sum())} of {int(ok.sum())} rows implausible); "
                f"{hint(values[bad])}"
            )
    bad = ok & columns[2] & (cat.theta[:, 2] < -A_V_TOLERANCE)
    if bad.any() and cat.meta.get("recorded") != GAUSSIAN:
        row, _ = _first(bad)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, column a_v: received "
            f"{cat.theta[row, 2]:.4g} mag, expected >= 0 (tolerance {A_V_TOLERANCE:g}; "
            f"{int(bad.sum())} such rows). If each value is the truth plus Gaussian noise, a "
            f"negative one is data: say noise = {GAUSSIAN!r} in the column map (meta recorded = "
            f"{GAUSSIAN!r} in Python). Rows set to 0, or dropped, would bias the extinction"
        )


def _check_limits(cat: Catalogue) -> None:
    low, best, high = cat.theta_low, cat.theta, cat.theta_high
    half = np.isnan(low) != np.isnan(high)
    if half.any():
        row, column = _first(half)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, column {AXES[column]}: limits "
            f"({low[row, column]}, {high[row, column]}); expected both or neither (NaN)"
        )
    bad = (low > best + LIMIT_TOLERANCE) | (high < best - LIMIT_TOLERANCE)
    bad |= (np.isfinite(low) & np.isnan(best)) | np.isinf(low) | np.isinf(high)
    if bad.any():
        row, column = _first(bad)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, column {AXES[column]}: limits "
            f"{low[row, column]:.4g} and {high[row, column]:.4g} do not enclose the best value "
            f"{best[row, column]:.4g} ({int(bad.any(axis=1).sum())} such rows); expected "
            "low <= best <= high: are lower and upper columns swapped?"
        )


def _check_photometry(cat: Catalogue) -> None:
    shape = (len(cat), len(cat.bands))
    for name in ("mags", "mag_errors", "band_states", "fluxes", "flux_errors"):
        array = getattr(cat, name)
        if array is not None and array.shape != shape:
            raise CatalogueError(f"{cat.source}: {name} has shape {array.shape}, expected {shape}")
    if cat.mag_errors is not None and (cat.mag_errors < 0.0).any():
        row, column = _first(cat.mag_errors < 0.0)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, column error of {cat.bands[column]}: received "
            f"{cat.mag_errors[row, column]:.4g} mag, expected a positive error; "
            "if negative marks a missing value, make it NaN"
        )
    far = np.zeros(shape, bool) if cat.mags is None else np.abs(cat.mags) > _FAINTEST_MAG
    if cat.flux_errors is not None:
        # A flux that happens to be next to nothing is a measurement, by its error.
        far &= ~(cat.flux_errors > 10.0 ** (-0.4 * _FAINTEST_MAG))
    if far.any() and cat.mags is not None:
        row, column = _first(far)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, column {cat.bands[column]}: received "
            f"{cat.mags[row, column]:.4g} mag, expected -40 to 40; a sentinel must be declared "
            "as missing, not_observed or not_detected"
        )
    _check_fluxes(cat)
    _check_states(cat)


def _check_fluxes(cat: Catalogue) -> None:
    if cat.fluxes is None or cat.flux_errors is None:
        if cat.fluxes is not cat.flux_errors:
            raise CatalogueError(
                f"{cat.source}: fluxes and flux_errors belong together; got one of them: give "
                "both, NaN where there is no error"
            )
        return
    with np.errstate(invalid="ignore", divide="ignore"):
        deep = cat.fluxes < DEEPEST_SNR * np.abs(cat.flux_errors)
        mags = -2.5 * np.log10(np.where(cat.fluxes > 0, cat.fluxes, np.nan))
        apart = np.zeros(mags.shape, bool)
        if cat.mags is not None:
            apart = np.abs(mags - cat.mags) > _MAG_TOLERANCE
    bad = (cat.flux_errors < 0) | np.isinf(cat.fluxes) | deep
    if bad.any():
        row, column = _first(bad)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, flux in {cat.bands[column]}: received "
            f"{cat.fluxes[row, column]:.4g} with error {cat.flux_errors[row, column]:.4g} (of "
            f"Vega's; {int(bad.any(axis=1).sum())} such rows), expected a positive error and a "
            f"flux above {DEEPEST_SNR:g} of it; a sentinel must be declared as missing, "
            "not_observed or not_detected"
        )
    if apart.any():
        assert cat.mags is not None
        row, column = _first(apart)
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, {cat.bands[column]}: magnitude "
            f"{cat.mags[row, column]:.4f} beside a flux that is {mags[row, column]:.4f} mag "
            f"({int(apart.any(axis=1).sum())} such rows); expected one measurement: change both, "
            "or leave out the fluxes"
        )


def _check_states(cat: Catalogue) -> None:
    if cat.band_states is None:
        return
    if (cat.band_states > max(BandState)).any():
        raise CatalogueError(
            f"{cat.source}: band_states go up to {cat.band_states.max()}; expected those of "
            f"BandState, 0 to {max(BandState)}"
        )
    has = np.zeros(cat.band_states.shape, bool)
    for values in (cat.mags, cat.fluxes):
        has |= False if values is None else ~np.isnan(values)
    bad = has != (cat.band_states == BandState.MEASURED)
    if bad.any():
        row, column = _first(bad)
        state = BandState(int(cat.band_states[row, column])).name
        raise CatalogueError(
            f"{cat.source}: {row_label(cat, row)}, {cat.bands[column]}: is said to be {state} and "
            f"has {'a' if has[row, column] else 'no'} magnitude or flux "
            f"({int(bad.any(axis=1).sum())} such rows); expected one where, and only where, the "
            "state is MEASURED"
        )


def check(cat: Catalogue) -> Catalogue:
    """The same catalogue, after testing what every reader promises.

    Rows are present and ids unique; θ is finite, or NaN in every published column of a row;
    log_mass is in 0 to 9, log_age in 4 to 10.3, a_v not below -0.001 mag; limits come in pairs
    and enclose the best value (to 1e-5, float32 rounding); errors are not negative; a band has a
    magnitude or flux where `band_states` says that it is measured, and nowhere else.

    Raises `CatalogueError` with file, row, column, what was received, what was expected and
    what to do.

    ```python
    check(catalogue)
    ```
    """
    _check_rows(cat)
    _check_theta(cat)
    _check_limits(cat)
    _check_photometry(cat)
    return cat


def enclose(cat: Catalogue) -> Catalogue:
    """The catalogue with each pair of limits widened to contain the best value.

    Published limits that exclude the best value are reordered or widened, never dropped; the
    number of changed rows is `meta["limits_reordered"]`.
    """
    low = np.fmin(np.fmin(cat.theta_low, cat.theta_high), cat.theta)
    high = np.fmax(np.fmax(cat.theta_low, cat.theta_high), cat.theta)
    given = np.isfinite(cat.theta_low) & np.isfinite(cat.theta_high)
    changed = given & ((low != cat.theta_low) | (high != cat.theta_high))
    meta = {**cat.meta, "limits_reordered": int(changed.any(axis=1).sum())}
    return dataclasses.replace(
        cat,
        theta_low=np.where(given, low, np.nan),
        theta_high=np.where(given, high, np.nan),
        meta=meta,
    )
