"""LEGUS cluster tables, exactly as published on MAST: whitespace text without a header."""

import dataclasses
import pathlib
import re

import numpy as np
from jaxtyping import Bool, Float

from starcensus.files import Path

from ._base import Catalogue, CatalogueError
from .checks import check, enclose, existing_file

OUTSIDE_FRAME = 66.666
NOT_DETECTED = 99.999
NO_CI_CORRECTION = 44.444
_SENTINELS = {
    "outside_frame": OUTSIDE_FRAME,
    "not_detected": NOT_DETECTED,
    "no_ci_correction": NO_CI_CORRECTION,
}
_NO_FIT = 200.0

_NAME = re.compile(r"hlsp_legus_hst_(?P<cameras>[a-z0-9-]+?)_(?P<galaxy>[a-z0-9-]+)_multiband_v\d")

_UVI = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W")
_ALL_WFC3 = (*_UVI, "WFC3_UVIS_F438W", "WFC3_UVIS_F555W", "WFC3_UVIS_F814W")
_ACS_BVI = (*_UVI, "ACS_F435W", "ACS_F555W", "ACS_F814W")
_ACS_VI = (*_UVI, "WFC3_UVIS_F438W", "ACS_F555W", "ACS_F814W")

# NGC 3351 is named acs-wfc3 although its five images are all WFC3 (GO 13364).
BANDS: dict[str, tuple[str, ...]] = {
    "ngc628-c": _ACS_BVI,
    "ngc628-e": (*_UVI, "ACS_F435W", "WFC3_UVIS_F555W", "ACS_F814W"),
    "ngc5253": _ACS_BVI,
    "ngc7793-w": _ACS_VI,
    "ugc4305": _ACS_VI,
    "ic4247": (*_UVI, "WFC3_UVIS_F438W", "ACS_F606W", "ACS_F814W"),
    "ngc4485": (*_UVI, "ACS_F435W", "ACS_F606W", "WFC3_UVIS_F814W"),
    "ngc3351": _ALL_WFC3,
}

# Mpc, Calzetti et al. 2015 (AJ 149, 51), table 1: the distances behind the published masses.
DISTANCES_MPC = {
    "ic4247": 5.11,
    "ngc1313": 4.39,
    "ngc1433": 8.3,
    "ngc1705": 5.1,
    "ngc3344": 7.0,
    "ngc3351": 10.0,
    "ngc4485": 7.6,
    "ngc5253": 3.15,
    "ngc628": 9.9,
    "ngc6503": 5.27,
    "ngc7793": 3.44,
    "ugc4305": 3.05,
}

# Columns after the number of filters, by how many there are.
_CLASS_COLUMNS: dict[int, tuple[str, ...]] = {
    1: ("class_mode",),
    2: ("class_mode", "class_mean"),
    3: ("class_mode", "class_mean", "selection_flag"),
    4: ("selection_flag", "class_mode", "class_quality", "halpha_flag"),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where things stand in one table.

    - `n_fields`: fields per line.
    - `shift`: 0, or 2 where mosaic coordinates stand between y and RA (NGC 1313).
    - `class_columns`: names of the fields after the number of filters.
    """

    n_fields: int
    shift: int
    class_columns: tuple[str, ...]

    @property
    def class_field(self) -> int:
        """1-based field of `class_mode`."""
        return 34 + self.shift + self.class_columns.index("class_mode")


def _read_numbers(path: pathlib.Path) -> tuple[Float[np.ndarray, "n field"], np.ndarray]:
    raw = path.read_bytes()
    if b"\0" in raw or raw.startswith(b"SIMPLE  ="):
        raise CatalogueError(
            f"{path}: binary data, expected a LEGUS text table (.tab); use format 'table' or "
            "'literature' for FITS"
        )
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise CatalogueError(
            f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not ASCII text; "
            "expected a LEGUS text table (.tab)"
        ) from error
    rows = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    rows = [(number, fields) for number, fields in rows if fields]
    if not rows:
        raise CatalogueError(f"{path}: no rows, only blank lines; expected a LEGUS table")
    lines = np.array([number for number, _ in rows])
    try:
        first = float(rows[0][1][0])
    except ValueError:
        first = np.nan
    if not np.isfinite(first):
        raise CatalogueError(
            f"{path}: line {lines[0]}, field 1: received {rows[0][1][0][:30]!r}, expected a number "
            "(the source id); LEGUS tables have no header line: remove it"
        )
    counts = np.array([len(fields) for _, fields in rows])
    usual = int(np.bincount(counts).argmax())
    if (counts != usual).any():
        bad = int(np.flatnonzero(counts != usual)[0])
        raise CatalogueError(
            f"{path}: line {lines[bad]}: received {counts[bad]} fields, expected {usual} as on "
            f"{int((counts == usual).sum())} of {len(counts)} lines; the line is cut or damaged: "
            "fetch the table again"
        )
    words = np.array([fields for _, fields in rows])
    try:
        values = words.astype(np.float64)
    except ValueError as error:
        for (line, _), fields in zip(rows, words, strict=True):
            for field, word in enumerate(fields, 1):
                try:
                    float(word)
                except ValueError:
                    raise CatalogueError(
                        f"{path}: line {line}, field {field}: received {str(word)!r}, expected a "
                        "number"
                    ) from error
        raise CatalogueError(f"{path}: {error}") from error
    bad = ~np.isfinite(values)
    if bad.any():
        row, field = np.argwhere(bad)[0]
        raise CatalogueError(
            f"{path}: line {lines[row]}, field {field + 1}: received {words[row, field]}, expected "
            f"a finite number ({int(bad.any(axis=1).sum())} such lines); LEGUS marks missing "
            "values with sentinels, never NaN"
        )
    return values, lines


def _mostly(mask: Bool[np.ndarray, "..."]) -> bool:
    # Single damaged values are for the row checks; a wrong layout is wrong nearly everywhere.
    return bool(mask.mean() >= 0.9)


def _objections(values: Float[np.ndarray, "n field"], shift: int) -> list[str]:
    """Why the table cannot have this shift; field numbers are 1-based."""
    n_extra = values.shape[1] - 33 - shift
    if n_extra not in _CLASS_COLUMNS:
        return [f"{n_extra} fields after the number of filters, expected 1 to 4"]
    ra, dec, ci, age = (values[:, field + shift - 1] for field in (4, 5, 16, 17))
    n_filters = values[:, 32 + shift]
    found = []
    # A pointing spans arcminutes; the spread rules out pixel coordinates. RA may wrap at 0.
    spread = min(np.ptp(ra), np.ptp((ra + 180.0) % 360.0))
    if not (_mostly((ra >= 0) & (ra < 360)) and spread < 5.0):
        found.append(f"field {4 + shift} is not RA (0 to 360 deg, one field): {ra[0]:g}")
    if not (_mostly(np.abs(dec) <= 90) and np.ptp(dec) < 5.0):
        found.append(f"field {5 + shift} is not Dec (-90 to 90 deg, one field): {dec[0]:g}")
    if not -1.0 < np.median(ci) < 6.0:
        found.append(f"field {16 + shift} is not a concentration index: median {np.median(ci):g}")
    if not _mostly((age == 0) | ((age >= 1e5) & (age <= 2e10))):
        hint = "; ages look like Myr: multiply by 1e6" if 0 < np.median(age) < 2e4 else ""
        found.append(
            f"field {17 + shift} is not an age (0 or 1e5 to 2e10 yr): median "
            f"{np.median(age):g}{hint}"
        )
    if not _mostly(np.isin(n_filters, (0, 1, 2, 3, 4, 5, _NO_FIT))):
        found.append(f"field {33 + shift} is not a number of filters (0 to 5, or 200)")
    names = _CLASS_COLUMNS[n_extra]
    extra = dict(zip(names, values[:, 33 + shift :].T, strict=True))
    allowed = {"class_mode": 4, "selection_flag": 2, "class_quality": 4, "halpha_flag": 4}
    for offset, name in enumerate(names):
        if name == "class_mean":
            ok = ((extra[name] == 0) == (extra["class_mode"] == 0)) & (extra[name] <= 4)
        else:
            ok = np.isin(extra[name], np.arange(allowed[name] + 1))
        if not _mostly(ok):
            found.append(f"field {34 + shift + offset} is not {name}")
    return found


def find_layout(values: Float[np.ndarray, "n field"], source: str) -> Layout:
    """The layout of a table, from its values (see `docs/how-to/catalogues.md` for the rules).

    **Raises** `CatalogueError` if no known layout fits, or more than one does.
    """
    n_fields = values.shape[1]
    objections = {shift: _objections(values, shift) for shift in (0, 2)}
    fits = [shift for shift, found in objections.items() if not found]
    if len(fits) == 1:
        return Layout(n_fields, fits[0], _CLASS_COLUMNS[n_fields - 33 - fits[0]])
    if fits:
        raise CatalogueError(
            f"{source}: {n_fields} fields fit the layouts with and without mosaic coordinates; "
            "a table with at least one fitted source is needed to tell them apart"
        )
    reasons = "; ".join(
        f"{label}: {', '.join(objections[shift])}"
        for shift, label in ((0, "RA in field 4"), (2, "RA in field 6"))
    )
    raise CatalogueError(
        f"{source}: {n_fields} fields per line in no known LEGUS layout (34 to 37 fields, "
        f"see docs/how-to/catalogues.md). {reasons}. Use format 'table' with a column map instead"
    )


def _photometry(
    values: Float[np.ndarray, "n field"], shift: int, bands: tuple[str, ...]
) -> tuple[Float[np.ndarray, "n 5"], Float[np.ndarray, "n 5"], dict[str, object]]:
    mags = values[:, 5 + shift : 15 + shift : 2].copy()
    errors = values[:, 6 + shift : 15 + shift : 2].copy()
    meta: dict[str, object] = {}
    missing = np.zeros(mags.shape, bool)
    for name, sentinel in _SENTINELS.items():
        here = mags == sentinel
        meta[f"n_{name}"] = dict(zip(bands, here.sum(axis=0).tolist(), strict=True))
        missing |= here
    # A handful of sources have a magnitude near 30 whose error is a sentinel: no measurement.
    unmeasured = np.isin(errors, tuple(_SENTINELS.values())) & ~missing
    meta["n_magnitude_without_error"] = int(unmeasured.sum())
    missing |= unmeasured
    mags[missing] = np.nan
    errors[missing] = np.nan
    return mags, errors, meta


def _estimates(
    values: Float[np.ndarray, "n field"], shift: int, r_v: float, lines: np.ndarray, source: str
) -> tuple[Float[np.ndarray, "3 n 3"], dict[str, object]]:
    """Best, low and high θ; published order is best, max, min for age, mass and E(B-V)."""
    age, mass, ebv = (values[:, 16 + shift + 3 * k : 19 + shift + 3 * k] for k in range(3))
    n_filters = values[:, 32 + shift]
    no_fit = np.isin(n_filters, (0.0, _NO_FIT)) | (ebv[:, 0] == _NO_FIT)
    for name, column, offset in (("age", age, 17), ("mass", mass, 20)):
        bad = ~no_fit & (column[:, 0] <= 0)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise CatalogueError(
                f"{source}: line {lines[row]}, field {offset + shift} (best {name}): received "
                f"{column[row, 0]:g} in a source fitted with {n_filters[row]:g} filters, expected "
                "a positive value"
            )
    no_limits = ~no_fit & ((age[:, 1:] <= 0).any(axis=1) | (mass[:, 1:] <= 0).any(axis=1))
    blank = np.broadcast_to(no_fit[:, None], age.shape).copy()
    blank[:, 1:] |= no_limits[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        theta = np.stack([np.log10(mass), np.log10(age), r_v * ebv], axis=-1)
    theta = np.where(blank[..., None], np.nan, theta)
    meta: dict[str, object] = {
        "n_no_fit": int(no_fit.sum()),
        "n_no_limits": int(no_limits.sum()),
        "n_fitted_with_three_filters": int((~no_fit & (n_filters < 4)).sum()),
    }
    return np.stack([theta[:, 0], theta[:, 2], theta[:, 1]]), meta


def _bands_of(name: str, cameras: str | None, galaxy: str | None) -> tuple[str, ...]:
    if galaxy in BANDS:
        return BANDS[galaxy]
    if cameras == "wfc3":
        return _ALL_WFC3
    raise CatalogueError(
        f"{name}: the bands of {galaxy or 'this table'} are not known from the file name; pass "
        "bands=(five names in the order of the columns), such as "
        f"{_ACS_BVI}. Known: wfc3 tables and {', '.join(sorted(BANDS))}"
    )


def read_legus(
    path: Path,
    *,
    r_v: float = 3.1,
    distance_modulus: float | None = None,
    bands: tuple[str, ...] | None = None,
) -> Catalogue:
    """A LEGUS cluster table as published (MAST HLSP; Adamo et al. 2017, ApJ 841, 131).

    **Arguments:**

    - `path`: the `.tab` file; its name gives the galaxy.
    - `r_v`: a_v = r_v · E(B-V); the tables publish E(B-V).
    - `distance_modulus`: mag. Default: from Calzetti et al. 2015, table 1 (29.98 for NGC 628, as
      in its description); absent from `meta` for other galaxies, and cuts on absolute
      magnitude then ask for it. Masses in the table keep the distance they were fitted with.
    - `bands`: five names in column order. Defaults: five WFC3/UVIS bands (F275W F336W F438W F555W
      F814W) for `wfc3` tables and for NGC 3351 (all WFC3 images, Whitmore et al. 2021, despite
      its name); ACS F435W F555W F814W for NGC 628-c (its description) and NGC 5253; ACS F555W
      F814W for NGC 7793-w and UGC 4305; ACS F606W F814W for IC 4247; ACS F435W F606W for
      NGC 4485. Cameras agree with which bands share a footprint (66.666). That NGC 4485's V is
      F606W rests on its colours (V-I is a third smaller at a given B-I than in every F555W
      table), not on its description: pass `bands` if you know better.

    Returns a `Catalogue`: θ is NaN where no fit was done (number of filters 0 or 200); limits
    are NaN where the table gives 0 for them. Missing magnitudes are NaN in `mags` and
    `mag_errors`, and each kind of sentinel is counted by band in `meta`. `columns`: `row` (line),
    `class_mode` (0: not inspected), `class_mean` where published, `concentration_index`,
    `n_filters`, `x`, `y` (pix), `ra`, `dec` (deg), `chi2`, `q` and what else the layout has.

    Raises `CatalogueError` for a missing, binary, ragged or unrecognised table.

    ```python
    catalogue = read_legus(
        "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"
    )
    ```
    """
    path = existing_file(path)
    source = str(path)
    if not (np.isfinite(r_v) and r_v > 0):
        raise CatalogueError(f"{source}: r_v = {r_v}, expected a positive number such as 3.1")
    values, lines = _read_numbers(path)
    layout = find_layout(values, source)
    shift = layout.shift
    match = _NAME.match(path.name)
    cameras, galaxy = (match["cameras"], match["galaxy"]) if match else (None, None)
    if bands is None:
        bands = _bands_of(source, cameras, galaxy)
    if len(bands) != 5 or len(set(bands)) != 5:
        raise CatalogueError(f"{source}: bands = {bands}, expected five different names")

    mags, errors, photometry_meta = _photometry(values, shift, bands)
    theta, fit_meta = _estimates(values, shift, r_v, lines, source)
    extra = dict(zip(layout.class_columns, values[:, 33 + shift :].T.copy(), strict=True))
    for name, column in extra.items():
        top = 2 if name == "selection_flag" else 4
        bad = (column < 0) | (column > top)
        bad |= (column != np.round(column)) & (name != "class_mean")
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            field = 34 + shift + layout.class_columns.index(name)
            raise CatalogueError(
                f"{source}: line {lines[row]}, field {field} ({name}): received {column[row]:g}, "
                f"expected 0 to {top}"
            )
    columns: dict[str, np.ndarray] = {
        "row": lines,
        "x": values[:, 1],
        "y": values[:, 2],
        "ra": values[:, 3 + shift],
        "dec": values[:, 4 + shift],
        "concentration_index": values[:, 15 + shift],
        "chi2": values[:, 30 + shift],
        "q": values[:, 31 + shift],
        "n_filters": np.where(values[:, 32 + shift] == _NO_FIT, 0, values[:, 32 + shift]),
        **extra,
    }
    if shift:
        columns |= {"x_mosaic": values[:, 3], "y_mosaic": values[:, 4]}
    for name in ("n_filters", "class_mode", "selection_flag", "class_quality", "halpha_flag"):
        if name in columns:
            columns[name] = columns[name].astype(np.int64)

    if distance_modulus is None and galaxy is not None:
        distance = DISTANCES_MPC.get(galaxy.rsplit("-", 1)[0], None)
        if distance is not None:
            distance_modulus = round(5.0 * float(np.log10(distance)) + 25.0, 2)
    meta: dict[str, object] = {
        "row_name": "line",
        "galaxy": galaxy or path.stem,
        "r_v": r_v,
        "n_fields": layout.n_fields,
        "class_field": layout.class_field,
        **photometry_meta,
        **fit_meta,
    }
    if distance_modulus is not None:
        meta["distance_modulus"] = distance_modulus
    catalogue = Catalogue(
        source=source,
        ids=values[:, 0].astype(np.int64),
        theta=theta[0],
        theta_low=theta[1],
        theta_high=theta[2],
        bands=bands,
        mags=mags,
        mag_errors=errors,
        columns=columns,
        meta=meta,
    )
    return check(enclose(catalogue))
