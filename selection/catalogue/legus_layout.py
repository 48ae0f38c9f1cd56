"""Which field of a LEGUS table is which, from what the fields contain.

Tables have 34 to 39 fields. The first 33 are the same everywhere, but for mosaic coordinates that
may stand before RA; what follows differs. Every known order is a *reading*; a reading that the
values contradict in more than a tenth of the rows that can tell is out. If readings are left that
disagree on a column that all of them have, the user is asked.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from jaxtyping import Bool, Float

from ._base import CatalogueError

SENTINELS = {"outside_frame": 66.666, "not_detected": 99.999, "no_ci_correction": 44.444}
NO_FIT = 200.0
N_BANDS = 5
_N_KNOWN = 33
_MOSTLY = 0.9
_WHOLE = 0.98
# Degrees: a field of view is flat to 1e-4, and no other column is linear in x and y.
_FLAT = 1e-3

_BEFORE = ("id", "x", "y")
_PHOTOMETRY = tuple(f"{what}_{k}" for k in range(1, N_BANDS + 1) for what in ("mag", "mag_error"))
_FIT = tuple(name + end for name in ("age", "mass", "ebv") for end in ("", "_max", "_min"))
_RESIDUALS = tuple(f"residual_{k}" for k in range(1, N_BANDS + 1))
_AFTER = (
    *("ra", "dec", *_PHOTOMETRY, "concentration_index", *_FIT, *_RESIDUALS),
    *("chi2", "q", "n_filters"),
)

# What follows the number of filters, as the descriptions of the tables have it. NGC 4449's class 5
# is a source that was not inspected, and 0 there is spurious as 4 is.
_NGC4449 = ("class_mode", "class_quality", "halpha_flag", "class_ml", "selection_flag")
READINGS: tuple[tuple[str, ...], ...] = (
    ("class_mode",),
    ("class_mode", "class_mean"),
    ("class_mode", "selection_flag"),
    ("class_mode", "class_ml"),
    ("class_mode", "class_mean", "selection_flag"),
    ("selection_flag", "class_mode", "class_quality", "halpha_flag"),
    ("class_mode", "class_quality", "halpha_flag", "selection_flag"),
    _NGC4449,
    (
        *("class_mode", "class_method", "class_human", "class_ml"),
        *("class_verified", "class_revised"),
    ),
)
# Values that whole-numbered columns may have.
VALUES: dict[str, tuple[int, ...]] = {
    "class_mode": (0, 1, 2, 3, 4),
    "class_ml": (0, 1, 2, 3, 4),
    "class_human": (0, 1, 2, 3, 4),
    "class_verified": (0, 1, 2, 3, 4),
    "class_revised": (0, 1, 2, 3, 4),
    "class_method": (0, 1, 2, 3, 4, 6),
    "class_quality": (0, 1, 2, 3, 4),
    "halpha_flag": (0, 1, 2, 3, 4),
    "selection_flag": (0, 1, 2),
}

Values = Float[np.ndarray, "n field"]
Columns = Mapping[str, Float[np.ndarray, " n"]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where things stand in one table.

    **Arguments:**

    - `fields`: name of each column, to its field counted from 1.
    - `not_inspected`: value of `class_mode` for a source that nobody has looked at.
    - `evidence`: what the table's values say for it, for messages and provenance.
    """

    fields: Mapping[str, int]
    not_inspected: int
    evidence: str

    def columns(self, values: Values) -> dict[str, Float[np.ndarray, " n"]]:
        """The columns by name."""
        return {name: values[:, field - 1] for name, field in self.fields.items()}

    @property
    def class_columns(self) -> tuple[str, ...]:
        """Names of what follows the number of filters."""
        known = {*_BEFORE, *_AFTER, "x_mosaic", "y_mosaic"}
        return tuple(name for name in self.fields if name not in known)


def find_layout(values: Values, source: str, chosen: Mapping[str, int] | None = None) -> Layout:
    """The layout of a table, from its values.

    **Arguments:**

    - `values`: the numbers of the table.
    - `source`: its file, for messages.
    - `chosen`: fields of columns, counted from 1, that the user knows better.

    Raises `CatalogueError` if no reading fits, or if those that fit disagree; the message shows
    what each reading says of the table.
    """
    chosen = dict(chosen or {})
    _check_chosen(chosen, values.shape[1], source)
    candidates = _candidates(values.shape[1], chosen)
    seen: dict[tuple[int, ...], list[str]] = {}
    against = [_objections(values, fields, set(chosen), seen) for fields in candidates]
    fits = [f for f, found in zip(candidates, against, strict=True) if not found]
    if not fits:
        raise CatalogueError(_none_fits(values, source, candidates, against))
    agreed = _agreed(fits, values, source)
    has_five = 5 in values[:, agreed["class_mode"] - 1]
    not_inspected = 5 if has_five and set(_NGC4449) <= set(agreed) else 0
    return Layout(agreed, not_inspected, _evidence(values, agreed, chosen))


def _fields(shift: int, names: tuple[str, ...]) -> dict[str, int]:
    mosaic = ("x_mosaic", "y_mosaic")[:shift]
    return {name: k for k, name in enumerate((*_BEFORE, *mosaic, *_AFTER, *names), 1)}


def _check_chosen(chosen: Mapping[str, int], n_fields: int, source: str) -> None:
    known = {*_BEFORE, *_AFTER, *(name for reading in READINGS for name in reading)}
    if unknown := sorted(set(chosen) - known):
        raise CatalogueError(
            f"{source}: columns {', '.join(unknown)}: no such column of a LEGUS table; expected "
            f"some of {', '.join(sorted(known))}"
        )
    whole = {n: k for n, k in chosen.items() if isinstance(k, int) and not isinstance(k, bool)}
    bad = {n: k for n, k in chosen.items() if n not in whole or not 1 <= k <= n_fields}
    if bad:
        raise CatalogueError(f"{source}: columns {bad}: expected fields 1 to {n_fields}")


def _candidates(n_fields: int, chosen: Mapping[str, int]) -> list[dict[str, int]]:
    """The known orders with this number of fields, as the user's choice leaves them."""
    found = [
        _fields(shift, names)
        for shift in (0, 2)
        for names in READINGS
        if len(names) == n_fields - _N_KNOWN - shift
    ]
    if not chosen:
        return found
    as_chosen = [f for f in found if all(f.get(name) == k for name, k in chosen.items())]
    if as_chosen:
        return as_chosen
    n_extra = n_fields - _N_KNOWN
    bare = [
        _fields(shift, tuple(f"field_{_N_KNOWN + shift + k + 1}" for k in range(n_extra - shift)))
        for shift in (0, 2)
        if n_extra - shift >= 1
    ]
    found = [{n: k for n, k in f.items() if k not in chosen.values()} | dict(chosen) for f in bare]
    needed = {*_BEFORE, *_AFTER, "class_mode"}
    return [fields for fields in found if needed <= set(fields)]


def _share(ok: Bool[np.ndarray, " n"], of: Bool[np.ndarray, " n"] | None = None) -> float:
    """The share of the rows that can tell, 1 where none can."""
    ok = ok if of is None else ok[of]
    return float(ok.mean()) if ok.size else 1.0


Objection = tuple[tuple[str, ...], str]


def _objections(
    values: Values,
    fields: Mapping[str, int],
    chosen: set[str],
    seen: dict[tuple[int, ...], list[str]],
) -> list[str]:
    """Why the table cannot have this reading, leaving out what the user chose.

    `seen` keeps what is said of the fields that are in every table, by where they are.
    """
    columns = {name: values[:, field - 1] for name, field in fields.items()}

    def said(*tests: Callable[[Columns, Mapping[str, int]], Iterator[Objection]]) -> list[str]:
        found = (each for test in tests for each in test(columns, fields))
        return [text for names, text in found if not chosen & set(names)]

    place = tuple(fields[name] for name in (*_BEFORE, *_AFTER))
    if place not in seen:
        seen[place] = said(_against_position, _against_photometry, _against_fit, _against_flags)
    return seen[place] or said(_against_classes)


def _against_position(c: Columns, f: Mapping[str, int]) -> Iterator[Objection]:
    if _share(c["id"] == np.round(c["id"])) < _MOSTLY:
        yield ("id",), f"field {f['id']} is not an id (a whole number): {c['id'][0]:g}"
    ra, dec = c["ra"], c["dec"]
    # A pointing spans arcminutes; RA may wrap at 0.
    spread = min(np.ptp(ra), np.ptp((ra + 180.0) % 360.0))
    where = ("ra", "dec")
    if _share((ra >= 0) & (ra < 360)) < _MOSTLY or spread > 5.0:
        yield where, f"field {f['ra']} is not RA (0 to 360 deg, one field): {ra[0]:g}"
    elif _share(np.abs(dec) <= 90) < _MOSTLY or np.ptp(dec) > 5.0:
        yield where, f"field {f['dec']} is not Dec (-90 to 90 deg, one field): {dec[0]:g}"
    elif (off := _off_plane(c)) > _FLAT:
        yield (
            (*where, "x", "y"),
            f"fields {f['ra']}, {f['dec']} are not linear in x and y (fields {f['x']}, {f['y']}) "
            f"as RA and Dec are: off by {off:.2g} deg",
        )


def _off_plane(c: Columns) -> float:
    """How far RA and Dec are from planes in x and y in nine rows of ten, deg."""
    ra = np.where(np.ptp(c["ra"]) > 180.0, (c["ra"] + 180.0) % 360.0, c["ra"])
    scaled = [(v - np.median(v)) / max(np.ptp(v), 1e-9) for v in (c["x"], c["y"])]
    plane = np.stack([np.ones(len(ra)), *scaled], axis=1)
    if len(np.unique(plane, axis=0)) < 6:
        return 0.0
    return max(_off_fit(plane, ra), _off_fit(plane, c["dec"]))


def _off_fit(plane: Float[np.ndarray, "n 3"], sky: Float[np.ndarray, " n"]) -> float:
    """Distance from a plane within which nine in ten lie, the worst tenth left out of its fit."""
    sky = sky - np.median(sky)
    off, kept = sky, np.ones(len(sky), bool)
    for _ in range(2):
        slopes = np.linalg.lstsq(plane[kept], sky[kept], rcond=None)[0]
        off = np.abs(plane @ slopes - sky)
        kept = off <= np.quantile(off, _MOSTLY)
    return float(np.quantile(off, _MOSTLY))


def _against_photometry(c: Columns, f: Mapping[str, int]) -> Iterator[Objection]:
    sentinels = tuple(SENTINELS.values())
    for k in range(1, N_BANDS + 1):
        names = f"mag_{k}", f"mag_error_{k}"
        mag, error = (c[name] for name in names)
        missing = np.isin(mag, sentinels)
        pair = (missing & (error == mag)) | (~missing & (mag > 5) & (mag < 40) & (error < 10))
        if _share(pair) < _MOSTLY:
            yield (
                names,
                (
                    f"fields {f[names[0]]}, {f[names[1]]} are not a magnitude and its error: "
                    f"{mag[0]:g}, {error[0]:g}"
                ),
            )
    ci = np.median(c["concentration_index"])
    if not -1.0 < ci < 6.0:
        field = f["concentration_index"]
        yield (
            ("concentration_index",),
            f"field {field} is not a concentration index: median {ci:g}",
        )


def fitted(c: Columns) -> Bool[np.ndarray, " n"]:
    """Rows with an SED fit: no fit is 0 filters or 200, age 0, or E(B-V) 200."""
    none = np.isin(c["n_filters"], (0.0, NO_FIT)) | (c["ebv"] == NO_FIT) | (c["age"] == 0)
    return ~none


def _against_fit(c: Columns, f: Mapping[str, int]) -> Iterator[Objection]:
    fit = fitted(c)
    age = c["age"]
    # A mass in the place of an age has more than two digits.
    with np.errstate(divide="ignore", invalid="ignore"):
        digits = age / 10.0 ** np.floor(np.log10(age)) * 10.0
        grid = np.abs(digits - np.round(digits)) < 1e-3
    if _share(((age >= 1e5) & (age <= 2e10) & grid), fit) < _MOSTLY:
        median = np.median(age[fit])
        hint = "; ages look like Myr: multiply by 1e6" if 0 < median < 2e4 else ""
        yield (
            ("age",),
            (
                f"field {f['age']} is not an age (0, or 1e5 to 2e10 yr in two digits): median "
                f"{median:g}{hint}"
            ),
        )
    for name in ("age", "mass", "ebv"):
        names = name, f"{name}_max", f"{name}_min"
        best, most, least = (c[each] for each in names)
        given = fit & ((most != 0) | (least != 0))
        if _share((least <= best * (1 + 1e-6)) & (best <= most * (1 + 1e-6)), given) < _MOSTLY:
            yield (
                names,
                (
                    f"fields {f[names[0]]} to {f[names[2]]} are not best, max and min of {name}: "
                    "min <= best <= max does not hold"
                ),
            )
    for name, low, high in (("mass", 1e-2, 1e10), ("ebv", -1.0, 5.0), ("q", 0.0, 1.0)):
        if _share((c[name] >= low) & (c[name] <= high), fit) < _MOSTLY:
            yield (name,), f"field {f[name]} is not {name} ({low:g} to {high:g})"
    if _share(c["chi2"] >= 0, fit) < _MOSTLY:
        yield ("chi2",), f"field {f['chi2']} is not chi-square: negative values"


def _against_flags(c: Columns, f: Mapping[str, int]) -> Iterator[Objection]:
    n_filters, fit = c["n_filters"], fitted(c)
    mags = np.stack([c[f"mag_{k}"] for k in range(1, N_BANDS + 1)])
    measured = (~np.isin(mags, tuple(SENTINELS.values()))).sum(axis=0)
    names, field = ("n_filters",), f["n_filters"]
    if _share(np.isin(n_filters, (0, 1, 2, 3, 4, 5, NO_FIT))) < _MOSTLY:
        yield names, f"field {field} is not a number of filters (0 to 5, or 200)"
    elif _share(n_filters <= measured, fit) < _MOSTLY:
        yield names, f"field {field} is not a number of filters: more than have a magnitude"
    elif _share(n_filters > 0, (c["age"] > 0) & (c["mass"] > 0) & (c["ebv"] < NO_FIT)) < _MOSTLY:
        yield names, f"field {field} is not a number of filters: 0 beside an SED fit"


def _against_classes(c: Columns, f: Mapping[str, int]) -> Iterator[Objection]:
    """Of the columns after the number of filters; a row of zeros says nothing."""
    mode = c["class_mode"]
    for name, allowed in VALUES.items():
        if name not in c:
            continue
        if name == "class_mode" and set(_NGC4449) <= set(c):
            allowed = (*allowed, 5)
        if _share(np.isin(c[name], allowed), c[name] != 0) < _MOSTLY:
            text = ", ".join(map(str, allowed))
            yield (name,), f"field {f[name]} is not {name} ({text}): {content(c[name])}"
    # A column of means that is read as one of modes has few values that are no whole numbers where
    # most classes were agreed on.
    if _share(mode == np.round(mode), mode != 0) < _WHOLE:
        yield (
            ("class_mode",),
            f"field {f['class_mode']} is not class_mode, which is a whole number",
        )
    if "class_mean" in c:
        mean = c["class_mean"]
        close = ((mean == 0) == (mode == 0)) & (np.abs(mean - mode) < 2.5) & (mean <= 4)
        if _share(close, (mean != 0) | (mode != 0)) < _MOSTLY:
            yield (
                ("class_mean", "class_mode"),
                (
                    f"field {f['class_mean']} is not a mean of classes: not near field "
                    f"{f['class_mode']}, and 0 where that is 0"
                ),
            )
    if "class_ml" in c and c["class_ml"].max() == 1:
        # A flag is 0 or 1 as well, but for few of those that were inspected.
        if _share(c["class_ml"] != 0, (mode >= 1) & (mode <= 4)) < 0.5:
            yield (
                ("class_ml", "class_mode"),
                (f"field {f['class_ml']} is not a machine's class: 0 or 1, and mostly 0"),
            )
    if {"class_quality", "halpha_flag"} <= set(c):
        quality, halpha = c["class_quality"] != 0, c["halpha_flag"] != 0
        if _share(quality == halpha, quality | halpha) < _MOSTLY:
            yield (
                ("class_quality", "halpha_flag"),
                (
                    f"fields {f['class_quality']}, {f['halpha_flag']} are not quality and H-alpha "
                    "flag, which the same sources have"
                ),
            )
        is_cluster = (mode >= 1) & (mode <= 3)
        if _share(quality, is_cluster) < _MOSTLY or _share(mode != 0, quality) < _MOSTLY:
            yield (
                ("class_quality", "class_mode"),
                (
                    f"field {f['class_quality']} is not the quality of the class in field "
                    f"{f['class_mode']}: sources of class 1 to 3 have one"
                ),
            )


def content(column: Float[np.ndarray, " n"]) -> str:
    """What a column holds, in words."""
    values, counts = np.unique(column, return_counts=True)
    if len(values) > 8:
        return f"{values[0]:g} to {values[-1]:g}"
    pairs = zip(values, counts, strict=True)
    return ", ".join(f"{value:g} ({count} rows)" for value, count in pairs)


def _agreed(fits: list[dict[str, int]], values: Values, source: str) -> dict[str, int]:
    """Names on which all readings agree; the other fields after them are field_NN."""
    first = fits[0]
    shared = set(first).intersection(*fits[1:])
    for other in fits[1:]:
        for name in sorted(shared):
            same = np.array_equal(values[:, first[name] - 1], values[:, other[name] - 1])
            if not same and (name == "class_mode" or first[name] <= _N_KNOWN):
                raise CatalogueError(_two_fit(values, source, name, (first, other)))
            if not same:
                shared.discard(name)
    agreed = {name: field for name, field in first.items() if name in shared}
    rest = sorted(set(range(1, values.shape[1] + 1)) - set(agreed.values()))
    return agreed | {f"field_{field}": field for field in rest}


def _two_fit(
    values: Values, source: str, name: str, readings: tuple[dict[str, int], dict[str, int]]
) -> str:
    said = "; or ".join(
        f"{name} in field {fields[name]} ({content(values[:, fields[name] - 1])}), with "
        + ", ".join(f"{each} in {field}" for each, field in fields.items() if field > _N_KNOWN)
        for fields in readings
    )
    first, second = (fields[name] for fields in readings)
    return (
        f"{source}: two readings fit these {values.shape[1]} fields: {said}. Say which: columns = "
        f"{{{name} = {first}}} or {{{name} = {second}}} among the reader's options (--columns "
        f"{name}={first} of `starcensus fit`)"
    )


def _none_fits(
    values: Values, source: str, candidates: list[dict[str, int]], against: list[list[str]]
) -> str:
    n_fields = values.shape[1]
    counts = sorted({_N_KNOWN + len(names) for names in READINGS})
    known = f"known are {counts[0]} to {counts[-1]} fields, and two more with mosaic coordinates"
    reasons = "; ".join(
        f"with {_tail(fields)}: {', '.join(found[:3])}"
        for fields, found in sorted(
            zip(candidates, against, strict=True), key=lambda pair: len(pair[1])
        )[:3]
    )
    last = "; ".join(
        f"{k} holds {content(values[:, k - 1])}" for k in range(_N_KNOWN + 1, n_fields + 1)
    )
    holds = f" Of the fields after the number of filters {last}." if last else ""
    return (
        f"{source}: {n_fields} fields per line in no known LEGUS layout ({known}; "
        f"docs/how-to/catalogues.md). {reasons + '.' if reasons else ''}{holds} If the table is "
        "whole, say where its columns are, such as columns = {class_mode = 34} among the reader's "
        "options (--columns class_mode=34 of `starcensus fit`), or use format 'table' with a map"
    )


def _tail(fields: Mapping[str, int]) -> str:
    last = [f"{name} in {field}" for name, field in fields.items() if name in VALUES]
    return f"RA in {fields['ra']}, {', '.join(last)}"


def _evidence(values: Values, fields: Mapping[str, int], chosen: Mapping[str, int]) -> str:
    columns = {name: values[:, field - 1] for name, field in fields.items()}
    n_fit = int(fitted(columns).sum())
    trailing = ", ".join(
        f"{name} is field {field} ({content(columns[name])})"
        for name, field in fields.items()
        if name in VALUES or name.startswith(("class_mean", "field_"))
    )
    told = f"; as told: {', '.join(f'{n} is field {k}' for n, k in chosen.items())}" * bool(chosen)
    return (
        f"{values.shape[1]} fields: RA and Dec in {fields['ra']} and {fields['dec']}, linear in x "
        f"and y to {_off_plane(columns):.1g} deg; best, max and min of age, mass and E(B-V) from "
        f"{fields['age']} on, in order in {n_fit} fitted rows; {trailing}{told}"
    )
