"""LEGUS cluster tables, exactly as published on MAST: whitespace text without a header."""

import pathlib
import re
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, UInt8

from starcensus.files import Path

from ._base import Catalogue, CatalogueError, Step
from .bad_rows import BadRows
from .checks import check, enclose, existing_file, implausible
from .legus_facts import bands_of, distance_modulus_of, n_fields_of
from .legus_layout import N_BANDS, NO_FIT, SENTINELS, VALUES, Layout, find_layout, fitted
from .open_table import unpacked
from .photometry import BandState

_NAME = re.compile(
    r"hlsp_legus_hst_(?P<cameras>[a-z0-9-]+?)_(?P<field>[a-z0-9-]+)_multiband_(?P<version>v\d)"
)
# Without an aperture correction a source was detected, and its light is not known.
_STATES = {
    "outside_frame": BandState.NOT_OBSERVED,
    "not_detected": BandState.NOT_DETECTED,
    "no_ci_correction": BandState.UNKNOWN,
}
_KEPT = ("x", "y", "ra", "dec", "concentration_index", "chi2", "q", "x_mosaic", "y_mosaic")


def read_legus(
    path: Path,
    *,
    r_v: float = 3.1,
    distance_modulus: float | None = None,
    bands: tuple[str, ...] | None = None,
    columns: Mapping[str, int] | None = None,
) -> Catalogue:
    """A LEGUS cluster table as published (MAST HLSP; Adamo et al. 2017, ApJ 841, 131).

    **Arguments:**

    - `path`: the `.tab` file, packed with gzip or not; its name gives the field.
    - `r_v`: a_v = r_v · E(B-V); the tables publish E(B-V).
    - `distance_modulus`: mag. Default: the one behind the masses (Calzetti et al. 2015, table 1;
      18 Mpc for NGC 1566), where the field is known. A new one moves cuts on absolute magnitude,
      not the masses.
    - `bands`: five names in column order. Default: from the cameras and the field in the file's
      name, where they are known; otherwise the table has no magnitudes, and what needs them asks.
    - `columns`: fields, counted from 1, of columns that the reader should not look for itself, such
      as `{"class_mode": 35}`.

    Returns a `Catalogue`: θ is NaN where no fit was done (number of filters 0 or 200, age 0,
    E(B-V) 200); limits are NaN where the table gives 0 for them. A band without a magnitude is NaN
    in `mags` and `mag_errors`, and `band_states` says why: 66.666 is not observed, 99.999 not
    detected; 44.444 (no aperture correction), and an error that is a sentinel, are unknown. Each
    kind is counted by band in `meta`. Rows that
    cannot be read, or hold what cannot be (an age above 16 Gyr, a mass above 1e8 M_sun), are left
    out; the step `bad rows` counts them, `meta["bad_rows"]` lists them. `columns`: `row` (line),
    `class_mode` (0: not inspected), `class_mean` where published, `concentration_index`,
    `n_filters`, `x`, `y` (pix), `ra`, `dec` (deg), `chi2`, `q` and what else the layout has.

    Raises `CatalogueError` for a missing, binary, truncated or unrecognised table, for one that
    two layouts fit, and for one in which more than a tenth of the rows is bad.

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
    bad = BadRows(source, "line")
    values, lines = _read_numbers(path, bad)
    match = _NAME.match(path.name)
    field = match["field"] if match else None
    expected = n_fields_of(field, match["version"]) if match else None
    if expected not in (None, values.shape[1]) and not columns:
        raise CatalogueError(
            f"{source}: {values.shape[1]} fields per line, but the published table of this name "
            f"has {expected}; a field is missing or was added: fetch the table again, or say "
            "where its classes are, as columns = {class_mode = 34} among the reader's options "
            "(--columns class_mode=34 of `starcensus fit`)"
        )
    layout = find_layout(values, source, columns)
    bands = tuple(bands) if bands is not None else bands_of(match and match["cameras"], field)
    if bands is not None and (len(bands) != N_BANDS or len(set(bands)) != N_BANDS):
        raise CatalogueError(f"{source}: bands = {bands}, expected five different names")
    if distance_modulus is None:
        distance_modulus = distance_modulus_of(field)
    given = layout.columns(values)
    theta, fit_meta = _estimates(given, r_v)
    meta: dict[str, object] = {
        "row_name": "line",
        "galaxy": field or path.stem,
        **({} if field is None else {"field": field}),
        "r_v": r_v,
        "n_fields": values.shape[1],
        "fields": dict(layout.fields),
        "class_field": layout.fields["class_mode"],
        **fit_meta,
    }
    mags = errors = states = None
    if bands is None:
        meta["no_magnitudes"] = (
            f"its bands are not known from its name; say bands = (five names in the order of the "
            f"columns) among the reader's options, --bands of `starcensus fit`: {_EXAMPLE}"
        )
    else:
        mags, errors, states, counts = _photometry(given, bands)
        meta |= counts
    if distance_modulus is not None:
        meta["distance_modulus"] = distance_modulus
    _note_bad(given, layout, lines, bad)
    catalogue = Catalogue(
        source=source,
        ids=given["id"].astype(np.int64),
        theta=theta[0],
        theta_low=theta[1],
        theta_high=theta[2],
        bands=bands or (),
        mags=mags,
        mag_errors=errors,
        band_states=states,
        columns=_columns(given, layout, lines),
        steps=(Step("recognised", len(lines), len(lines), layout.evidence),),
        meta=meta,
    )
    for row, reason in implausible(catalogue).items():
        bad.add(int(lines[row]), reason)
    return check(enclose(bad.leave_out(catalogue)))


_EXAMPLE = "--bands WFC3_UVIS_F275W,WFC3_UVIS_F336W,ACS_F435W,ACS_F555W,ACS_F814W"


def _read_numbers(
    path: pathlib.Path, bad: BadRows
) -> tuple[Float[np.ndarray, "n field"], np.ndarray]:
    """The numbers of the lines that hold as many as most do, and the numbers of those lines."""
    rows = _lines(path)
    counts = np.array([len(fields) for _, fields in rows])
    usual = int(np.bincount(counts).argmax())
    last, fields = rows[-1]
    if len(fields) < usual:
        raise CatalogueError(
            f"{path}: line {last}, the last one: received {len(fields)} fields, expected {usual}; "
            "the table is cut, and nobody knows how many rows it lacks: fetch it again"
        )
    values, lines = [], []
    for line, fields in rows:
        if len(fields) != usual:
            bad.add(line, f"{len(fields)} fields, expected {usual}")
            continue
        try:
            numbers = np.array(fields, dtype=np.float64)
        except ValueError:
            bad.add(line, _no_number(fields))
            continue
        if not np.isfinite(numbers).all():
            k = int(np.flatnonzero(~np.isfinite(numbers))[0])
            bad.add(line, f"field {k + 1}: received {fields[k]}, expected a finite number")
            continue
        values.append(numbers)
        lines.append(line)
    bad.check(len(rows))
    return np.stack(values), np.array(lines)


def _no_number(fields: list[str]) -> str:
    for k, word in enumerate(fields, 1):
        try:
            float(word)
        except ValueError:
            return f"field {k}: received {word[:30]!r}, expected a number"
    return "no numbers"


def _lines(path: pathlib.Path) -> list[tuple[int, list[str]]]:
    """Fields of each line that is not blank or a comment."""
    raw, _ = unpacked(path)
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
    rows = [(number, fields) for number, fields in rows if fields and fields[0][0] != "#"]
    if not rows:
        raise CatalogueError(f"{path}: no rows, only blank lines; expected a LEGUS table")
    number, fields = rows[0]
    try:
        float(fields[0])
    except ValueError as error:
        raise CatalogueError(
            f"{path}: line {number}, field 1: received {fields[0][:30]!r}, expected a number (the "
            "source id); LEGUS tables have no header line: remove it"
        ) from error
    return rows


def _photometry(
    given: Mapping[str, np.ndarray], bands: tuple[str, ...]
) -> tuple[
    Float[np.ndarray, "n 5"], Float[np.ndarray, "n 5"], UInt8[np.ndarray, "n 5"], dict[str, object]
]:
    mags, errors = (
        np.stack([given[f"{what}_{k}"] for k in range(1, N_BANDS + 1)], axis=1)
        for what in ("mag", "mag_error")
    )
    meta: dict[str, object] = {}
    states = np.full(mags.shape, BandState.MEASURED, np.uint8)
    for name, sentinel in SENTINELS.items():
        here = mags == sentinel
        meta[f"n_{name}"] = dict(zip(bands, here.sum(axis=0).tolist(), strict=True))
        states[here] = _STATES[name]
    # A handful of sources have a magnitude near 30 whose error is a sentinel: no measurement.
    unmeasured = np.isin(errors, tuple(SENTINELS.values())) & (states == BandState.MEASURED)
    meta["n_magnitude_without_error"] = int(unmeasured.sum())
    states[unmeasured] = BandState.UNKNOWN
    missing = states != BandState.MEASURED
    mags[missing] = np.nan
    errors[missing] = np.nan
    return mags, errors, states, meta


def _estimates(
    given: Mapping[str, np.ndarray], r_v: float
) -> tuple[Float[np.ndarray, "3 n 3"], dict[str, object]]:
    """Best, low and high θ; published order is best, max, min for age, mass and E(B-V)."""
    age, mass, ebv = (
        np.stack([given[name + end] for end in ("", "_max", "_min")], axis=1)
        for name in ("age", "mass", "ebv")
    )
    fit = fitted(given)
    no_limits = fit & (age[:, 1:] == 0).all(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        best, high, low = np.moveaxis(
            np.stack([np.log10(mass), np.log10(age), r_v * ebv], axis=2), 1, 0
        )
    theta = np.stack([best, low, high])
    theta[:, ~fit] = np.nan
    theta[1:, no_limits] = np.nan
    three = fit & (given["n_filters"] == 3)
    meta: dict[str, object] = {
        "n_no_fit": int((~fit).sum()),
        "n_no_limits": int(no_limits.sum()),
        "n_fitted_with_three_filters": int(three.sum()),
    }
    return theta, meta


def _columns(
    given: Mapping[str, np.ndarray], layout: Layout, lines: np.ndarray
) -> dict[str, np.ndarray]:
    """Further columns, classes in one convention: 0 is not inspected, 4 is spurious."""
    columns: dict[str, np.ndarray] = {"row": lines}
    columns |= {name: given[name] for name in _KEPT if name in given}
    n_filters = given["n_filters"]
    columns["n_filters"] = np.where(n_filters == NO_FIT, 0, n_filters).astype(np.int64)
    for name in layout.class_columns:
        whole = name == "class_mode" or (given[name] == np.round(given[name])).all()
        columns[name] = given[name].astype(np.int64) if whole else given[name]
    if layout.not_inspected:
        published = columns["class_mode"]
        columns["class_published"] = published
        columns["class_mode"] = np.select(
            [published == layout.not_inspected, published == 0], [0, 4], published
        )
    return columns


def _note_bad(
    given: Mapping[str, np.ndarray], layout: Layout, lines: np.ndarray, bad: BadRows
) -> None:
    """Rows whose classes, magnitudes or masses cannot be."""
    fit, field = fitted(given), layout.fields
    wrong: list[tuple[str, np.ndarray, str]] = []
    classes = sorted({*VALUES["class_mode"], layout.not_inspected})
    text = "expected " + ", ".join(map(str, classes))
    wrong.append(("class_mode", ~np.isin(given["class_mode"], classes), text))
    if "class_mean" in given:
        mean = given["class_mean"]
        wrong.append(("class_mean", (mean < 0) | (mean > 4), "expected 0 to 4"))
    for name in ("mass", "age"):
        wrong.append((name, fit & (given[name] <= 0), "in a fitted source; expected above 0"))
    sentinels = tuple(SENTINELS.values())
    for k in range(1, N_BANDS + 1):
        mag, error = given[f"mag_{k}"], given[f"mag_error_{k}"]
        odd = (np.abs(mag) > 40) & ~np.isin(mag, sentinels)
        wrong.append((f"mag_{k}", odd, "expected -40 to 40 mag, or 66.666, 99.999 or 44.444"))
        wrong.append((f"mag_error_{k}", error < 0, "expected a positive error"))
    wrong.append(("ebv", fit & (given["ebv"] < 0), "expected 0 or more"))
    for name, mask, expected in wrong:
        for row in np.flatnonzero(mask):
            bad.add(
                int(lines[row]),
                f"field {field[name]} ({name}): received {given[name][row]:g}, {expected}",
            )
