"""LEGUS tables: every published layout, sentinels, bad rows, and what is left after cuts."""

import gzip
import pathlib
from typing import Any

import numpy as np
import pytest

from starcensus.selection.catalogue import (
    AbsoluteMagnitude,
    CatalogueError,
    Classes,
    LegusStage2,
    PhotometricErrors,
    ThetaRange,
    WithEstimates,
    apply_cuts,
    read_catalogue,
    read_legus,
)
from starcensus.selection.catalogue.legus_layout import find_layout

NAME = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"
# The bands are known from the name, and no published table has it.
UNKNOWN = "hlsp_legus_hst_wfc3_ngc1291_multiband_v1_padagb-mwext-avgapcor.tab"

# name: rows, fields, field of class_mode, sources in classes 1, 2, 3, 4, distance modulus, V, and
# lines of clusters heavier than 1e8 M_sun
TABLES = {
    "ic4247": (762, 36, 34, (1, 4, 3, 37), 28.54, "ACS_F606W", []),
    "ngc3274": (1776, 35, 34, (29, 29, 18, 76), 29.08, "WFC3_UVIS_F555W", [1772]),
    "ngc3351": (1389, 37, 35, (118, 80, 94, 326), 30.0, "WFC3_UVIS_F555W", []),
    "ngc4248": (235, 34, 34, (14, 3, 8, 27), 29.46, "WFC3_UVIS_F555W", []),
    "ngc4449": (2853, 38, 34, (143, 282, 182, 875), 28.17, "ACS_F555W", [1496]),
    "ngc4485": (5610, 34, 34, (137, 161, 79, 486), 29.40, "ACS_F606W", []),
    "ngc5253": (2100, 36, 34, (20, 37, 23, 154), 27.49, "ACS_F555W", []),
    "ngc5474": (4275, 37, 34, (48, 95, 34, 144), 29.16, "ACS_F606W", []),
    "ngc628-c": (3080, 35, 34, (334, 357, 326, 542), 29.98, "ACS_F555W", []),
    "ngc7793-w": (2794, 35, 34, (51, 84, 86, 78), 27.68, "ACS_F555W", []),
    "ugc4305": (4848, 36, 34, (16, 29, 40, 147), 27.42, "ACS_F555W", []),
    "ugc5139": (917, 36, 34, (2, 7, 7, 23), 28.0, "ACS_F555W", []),
    "ugc685": (464, 36, 34, (7, 4, 3, 6), 28.42, "ACS_F606W", []),
    "ngc1313-e": (5284, 37, 36, (42, 95, 122, 386), 28.21, "WFC3_UVIS_F555W", []),
    "ngc1433": (1099, 35, 34, (51, 61, 56, 138), 29.6, "WFC3_UVIS_F555W", [1032]),
    "ngc1566": (2752, 39, 34, (477, 404, 692, 878), 31.28, "WFC3_UVIS_F555W", [1395]),
    "ngc1705": (365, 36, 34, (16, 13, 13, 54), 28.54, "WFC3_UVIS_F555W", []),
    "ngc3344": (1527, 35, 34, (119, 118, 159, 161), 29.23, "WFC3_UVIS_F555W", [507]),
    "ngc4395-n": (291, 36, 34, (8, 12, 19, 19), 28.17, "WFC3_UVIS_F555W", [109, 110]),
    "ngc45": (774, 37, 35, (45, 52, 20, 43), 29.1, "WFC3_UVIS_F555W", []),
    "ngc6503": (4225, 35, 34, (71, 96, 131, 172), 28.61, "WFC3_UVIS_F555W", []),
    "ugc7242": (746, 36, 34, (3, 3, 3, 26), 28.67, "ACS_F606W", []),
}
# What follows the number of filters, as the descriptions of the tables say.
TRAILING = {
    "ngc3274": ("class_mode", "selection_flag"),
    "ngc3351": ("selection_flag", "class_mode", "class_quality", "halpha_flag"),
    "ngc45": ("selection_flag", "class_mode", "class_quality", "halpha_flag"),
    "ngc5474": ("class_mode", "class_quality", "halpha_flag", "selection_flag"),
    "ngc4449": ("class_mode", "class_quality", "halpha_flag", "class_ml", "selection_flag"),
    "ngc4485": ("class_mode",),
    "ngc628-c": ("class_mode", "class_mean"),
    "ngc5253": ("class_mode", "class_mean", "selection_flag"),
    "ngc1566": (
        *("class_mode", "class_method", "class_human", "class_ml"),
        *("class_verified", "class_revised"),
    ),
}


def row(number: int = 1, *, shift: int = 0, extra=(1.0, 1.333), **changes: Any) -> str:
    """One line of a table; `changes` replace fields by their 1-based number without shift."""
    fields: dict[int, Any] = {1: number, 2: 2034.0, 3: 5987.6, 4: 24.17, 5: 15.78}
    fields |= {6: 22.5, 7: 0.1, 8: 22.6, 9: 0.1, 10: 23.0, 11: 0.05, 12: 22.9, 13: 0.04}
    fields |= {14: 22.1, 15: 0.05, 16: 1.55}
    fields |= {17: 1e7, 18: 2e7, 19: 5e6, 20: 1e4, 21: 2e4, 22: 5e3, 23: 0.2, 24: 0.3, 25: 0.1}
    fields |= dict.fromkeys(range(26, 31), 0.1) | {31: 1.2, 32: 0.6, 33: 5}
    fields |= {int(key[1:]): value for key, value in changes.items()}
    values = list(fields.values())
    if shift:
        values[3:3] = [6030.2, 4894.5]
    return " ".join(str(value) for value in [*values, *extra])


def total(counts: Any) -> int:
    return sum(counts.values())


def write(folder: pathlib.Path, *rows: str, name: str = NAME) -> pathlib.Path:
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.mark.shared
@pytest.mark.parametrize("galaxy", TABLES)
def test_published_tables(shared, galaxy):
    n, n_fields, class_field, counts, modulus, v, heavy = TABLES[galaxy]
    (path,) = (shared / "catalogues" / "legus").glob(f"*_{galaxy}_multiband*.tab")
    cat = read_legus(path)
    raw = np.loadtxt(path)
    assert (len(raw), len(cat)) == (n, n - len(heavy))
    # Classes are those of the README of the tables; NGC 4449's 5 and 0 are the others' 0 and 4.
    mode = raw[:, class_field - 1]
    if galaxy == "ngc4449":
        mode = np.select([mode == 5, mode == 0], [0, 4], mode)
    assert tuple(np.bincount(mode.astype(int), minlength=5)[1:]) == counts
    assert (cat.meta["n_fields"], cat.meta["class_field"]) == (n_fields, class_field)
    raw = raw[[line not in heavy for line in range(1, n + 1)]]
    np.testing.assert_array_equal(
        cat.columns["class_mode"], mode[[line not in heavy for line in range(1, n + 1)]]
    )
    listed: Any = cat.meta.get("bad_rows", ())
    assert [int(text.split(",")[0].split()[1]) for text in listed] == heavy
    assert cat.meta["distance_modulus"] == pytest.approx(modulus, abs=0.005)
    assert cat.bands[3] == v
    for k, name in enumerate(TRAILING.get(galaxy, ()), 34):
        assert cat.meta["fields"][name] == k
    # Independent of the reader: published ages and masses of the fitted sources.
    shift = 2 if galaxy == "ngc1313-e" else 0
    fitted = np.isfinite(cat.theta[:, 0])
    assert int((~fitted).sum()) == cat.meta["n_no_fit"]
    np.testing.assert_allclose(10 ** cat.theta[fitted, 1], raw[fitted, 16 + shift])
    np.testing.assert_allclose(10 ** cat.theta[fitted, 0], raw[fitted, 19 + shift])
    np.testing.assert_allclose(cat.theta[fitted, 2], 3.1 * raw[fitted, 22 + shift])
    assert set(np.unique(raw[~fitted, 32 + shift])) <= {0.0, 200.0}
    assert cat.mags is not None and np.nanmax(cat.mags) < 40.0
    assert cat.meta["limits_reordered"] == 0


@pytest.mark.shared
def test_a_cut_table_without_a_field_is_never_read_as_another(shared, tmp_path):
    """Forty lines of every table, each field left out in turn: refused, or the same masses.

    Under its own name no such table is read. Under another, one without its column of classes may
    be, with the next one in its place, which nothing in forty rows betrays.
    """
    same_class = []
    for path in sorted((shared / "catalogues" / "legus").glob("*.tab")):
        lines = path.read_text().splitlines()
        rows = [line.split() for line in lines[len(lines) // 2 :][:40]]
        with pytest.raises(CatalogueError, match="but the published table of this name has"):
            read_legus(write(tmp_path, *(" ".join(r[:-1]) for r in rows), name=path.name))
        values = np.array(rows, float)
        whole = find_layout(values, "whole").columns(values)
        for k in range(values.shape[1]):
            less = np.delete(values, k, axis=1)
            try:
                found = find_layout(less, "less").columns(less)
            except CatalogueError:
                continue
            for name in ("mass", "mass_max", "mass_min", "age", "ebv", "n_filters", "ra"):
                np.testing.assert_array_equal(found[name], whole[name])
            same_class.append(np.array_equal(found["class_mode"], whole["class_mode"]))
    assert len(same_class) > 20 and same_class.count(False) <= 3


@pytest.mark.shared
def test_masses_rest_on_the_distance_that_is_carried(shared):
    """At one age and E(B-V) mass and V say how much farther a field is than NGC 628's 29.98."""

    def zero_points(galaxy: str) -> tuple[dict[tuple[float, float], float], float]:
        (path,) = (shared / "catalogues" / "legus").glob(f"*_{galaxy}_multiband*.tab")
        cat = read_legus(path, r_v=1.0)
        assert cat.mags is not None and cat.mag_errors is not None
        good = (cat.mag_errors[:, 3] < 0.1) & (cat.columns["n_filters"] >= 4)
        good &= cat.columns["chi2"] < 3.0
        found: dict[tuple[float, float], list[float]] = {}
        for (mass, age, ebv), v in zip(cat.theta[good], cat.mags[good, 3], strict=True):
            found.setdefault((round(age, 3), round(ebv, 2)), []).append(2.5 * mass + v)
        modulus = cat.meta["distance_modulus"]
        assert isinstance(modulus, float)
        return {key: float(np.median(values)) for key, values in found.items()}, modulus

    reference, _ = zero_points("ngc628-c")
    for galaxy in ("ngc1566", "ngc1433", "ngc3344", "ngc3351", "ngc45", "ngc6503"):
        points, modulus = zero_points(galaxy)
        off = [value - reference[key] for key, value in points.items() if key in reference]
        assert 29.98 + np.median(off) == pytest.approx(modulus, abs=0.06)


@pytest.mark.shared
def test_ngc628c_sample(shared):
    cat = read_legus(shared / "catalogues" / "legus" / NAME)
    limits = {"log_mass": (np.log10(5000.0), 9.0), "log_age": (0.0, np.log10(2e8))}
    inspected = apply_cuts(cat, [Classes(), WithEstimates()])
    assert len(inspected) == 1017
    # 389 needs age <= 2e8 yr: 103 of the class 1-3 sources sit exactly on that grid age.
    assert len(ThetaRange(**limits)(inspected)) == 389
    below = {**limits, "log_age": (0.0, np.log10(1.999e8))}
    assert len(ThetaRange(**below)(inspected)) == 286
    stage2 = LegusStage2()(cat)
    assert [step.n_after for step in stage2.steps] == [3080, 1910, 1423, 1423]
    assert len(ThetaRange(**limits)(apply_cuts(stage2, [Classes(), WithEstimates()]))) == 378
    ages, counts = np.unique(inspected.theta[:, 1], return_counts=True)
    assert len(ages) == 34
    assert np.sort(counts)[-5:].sum() == 460


@pytest.mark.shared
def test_ngc628c_sentinels(shared):
    cat = read_legus(shared / "catalogues" / "legus" / NAME)
    assert cat.meta["n_outside_frame"] == dict(zip(cat.bands, (673, 673, 0, 0, 0), strict=True))
    assert cat.meta["n_not_detected"] == dict(zip(cat.bands, (198, 110, 18, 0, 7), strict=True))
    assert total(cat.meta["n_no_ci_correction"]) == 0
    assert (cat.meta["n_no_fit"], cat.meta["n_no_limits"]) == (1179, 23)


@pytest.mark.parametrize(
    "shift, extra, field, names",
    [
        (0, (2.0,), 34, {"class_mode"}),
        (0, (2.0, 2.333), 34, {"class_mode", "class_mean"}),
        (0, (2.0, 2.333, 1), 34, {"class_mode", "class_mean", "selection_flag"}),
        (0, (0.0, 2.0, 1, 4), 35, {"class_mode", "class_quality", "halpha_flag"}),
        (0, (2.0, 1, 4, 0), 34, {"class_mode", "class_quality", "halpha_flag"}),
        (0, (2, 1, 4, 3, 0), 34, {"class_mode", "class_ml", "selection_flag"}),
        (0, (2.0, 6, 4.0, 3.0, 0.0, 2.0), 34, {"class_method", "class_human", "class_ml"}),
        (2, (2.0, 2.333), 36, {"class_mode", "class_mean", "x_mosaic"}),
    ],
)
def test_layouts(tmp_path, shift, extra, field, names):
    cat = read_legus(write(tmp_path, row(1, shift=shift, extra=extra), name=UNKNOWN))
    assert cat.meta["class_field"] == field
    assert names <= set(cat.columns)
    assert cat.columns["class_mode"][0] == 2
    assert (cat.columns["ra"][0], cat.columns["dec"][0]) == (24.17, 15.78)
    np.testing.assert_allclose(cat.theta, [[4.0, 7.0, 0.62]])
    np.testing.assert_allclose(cat.theta_low, [[np.log10(5e3), np.log10(5e6), 0.31]])
    np.testing.assert_allclose(cat.theta_high, [[np.log10(2e4), np.log10(2e7), 0.93]])
    assert cat.bands[2:] == ("WFC3_UVIS_F438W", "WFC3_UVIS_F555W", "WFC3_UVIS_F814W")
    (step,) = cat.steps
    assert step.name == "recognised" and f"class_mode is field {field} (2 (1 rows))" in step.reason


def test_two_readings_that_fit_are_asked_about(tmp_path):
    """Classes, qualities and flags in one of two orders: both are shown, either is taken."""
    rows = [row(k, extra=(1.0, 1.0, 1.0, 1.0)) for k in range(1, 8)]
    rows += [row(9, extra=(1.0, 2.0, 1.0, 1.0))]
    path = write(tmp_path, *rows, name="mine.tab")
    asked = (
        r"two readings fit these 37 fields: class_mode in field 35 \(1 \(7 rows\), 2 \(1 rows\)\).*"
        r"or class_mode in field 34 \(1 \(8 rows\)\).*columns = {class_mode = 35} or "
        r"{class_mode = 34}.*--columns class_mode=35"
    )
    with pytest.raises(CatalogueError, match=asked):
        read_legus(path)
    for field, last in ((35, 2), (34, 1)):
        cat = read_legus(path, columns={"class_mode": field})
        assert cat.columns["class_mode"][-1] == last
        assert f"class_mode is field {field}" in cat.steps[0].reason


def test_names_on_which_readings_disagree_are_not_given(tmp_path):
    """Nobody was inspected: a column of zeros may be means, a flag or a machine's classes."""
    cat = read_legus(write(tmp_path, *(row(k, extra=(0.0, 0)) for k in (1, 2)), name="mine.tab"))
    assert (cat.columns["class_mode"] == 0).all() and (cat.columns["field_35"] == 0).all()
    assert not {"class_mean", "selection_flag", "class_ml"} & set(cat.columns)


@pytest.mark.parametrize(
    "columns, message",
    [
        ({"class": 34}, "columns class: no such column of a LEGUS table; expected some of age"),
        ({"class_mode": 40}, "columns {'class_mode': 40}: expected fields 1 to 35"),
        (
            {"class_mode": "last"},
            "option columns = {'class_mode': 'last'}: Input should be a valid",
        ),
    ],
)
def test_columns_that_are_not_there(tmp_path, columns, message):
    path = write(tmp_path, row(1))
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(path, "legus", columns=columns)


def test_options_of_files_are_what_the_reader_takes(tmp_path):
    """Lists for tuples, whole numbers; other kinds are named, not a traceback."""
    path = write(tmp_path, row(1), name="mine.tab")
    bands = ["F275W", "F336W", "F435W", "F555W", "F814W"]
    cat = read_catalogue(path, "legus", bands=bands, r_v=3, distance_modulus=30)
    assert cat.bands == tuple(bands) and cat.meta["distance_modulus"] == 30.0
    for options, message in (
        ({"distance_modulus": "far"}, "distance_modulus is 'far'; expected a number"),
        ({"bands": "F275W,F336W"}, "option bands = 'F275W,F336W': .*valid tuple"),
    ):
        with pytest.raises(CatalogueError, match=message):
            read_catalogue(path, "legus", **options)


def test_a_packed_table(tmp_path):
    path = tmp_path / f"{NAME}.gz"
    path.write_bytes(gzip.compress((row(1) + "\n").encode()))
    assert read_legus(path).bands[2] == "ACS_F435W"


def test_unknown_layouts_show_what_the_fields_hold(tmp_path):
    path = write(
        tmp_path, *(row(k, extra=(9, 2, 1, 4, 0, 8, 1, 7, 3)) for k in (1, 2)), name="m.tab"
    )
    with pytest.raises(
        CatalogueError, match=r"42 fields per line.*34 holds 9 .2 rows.; 35 holds 2"
    ):
        read_legus(path)
    cat = read_legus(path, columns={"class_mode": 35, "class_quality": 36})
    assert (cat.columns["class_mode"] == 2).all() and (cat.columns["class_quality"] == 1).all()
    assert (cat.columns["field_34"] == 9).all()


def test_sentinels_become_nan(tmp_path):
    cat = read_legus(
        write(
            tmp_path,
            row(1, f6=66.666, f7=66.666, f8=99.999, f9=99.999, f33=3),
            row(2, f10=44.444, f11=44.444, f33=4),
            row(3, f6=31.2, f7=99.999),
            *(row(k) for k in range(4, 21)),
        )
    )
    assert cat.mags is not None and cat.mag_errors is not None
    expected = np.zeros((20, 5), bool)
    expected[0, :2] = expected[1, 2] = expected[2, 0] = True
    np.testing.assert_array_equal(np.isnan(cat.mags), expected)
    np.testing.assert_array_equal(np.isnan(cat.mag_errors), expected)
    kinds = ("outside_frame", "not_detected", "no_ci_correction")
    assert [total(cat.meta[f"n_{kind}"]) for kind in kinds] == [1, 1, 1]
    assert cat.meta["n_magnitude_without_error"] == 1


def test_missing_fits_and_limits(tmp_path):
    zeros: dict[str, Any] = {f"f{field}": 0.0 for field in range(17, 34)}
    v2: dict[str, Any] = {"f17": 2e8, "f20": 200.0, "f23": 200.0, "f33": 200}
    no_limits = dict.fromkeys(("f18", "f19", "f21", "f22", "f24", "f25"), 0.0)
    rows = [row(1, **zeros), row(2, **v2), row(3, **no_limits), row(4)]
    cat = read_legus(write(tmp_path, *rows))
    np.testing.assert_array_equal(np.isnan(cat.theta[:, 0]), [True, True, False, False])
    np.testing.assert_array_equal(np.isnan(cat.theta_low).all(axis=1), [True, True, True, False])
    assert (cat.meta["n_no_fit"], cat.meta["n_no_limits"]) == (2, 1)
    np.testing.assert_array_equal(cat.columns["n_filters"], [0, 0, 5, 5])


def test_limits_are_made_to_enclose_the_best_value(tmp_path):
    others = [row(k) for k in range(3, 21)]
    cat = read_legus(write(tmp_path, row(1, f18=5e6, f19=2e7), row(2, f21=9e3), *others))
    assert cat.meta["limits_reordered"] == 2
    np.testing.assert_allclose(10 ** cat.theta_low[:, 1], 5e6)
    np.testing.assert_allclose(10 ** cat.theta_high[:3, 0], [2e4, 1e4, 2e4])


BAD = {
    "class of 7": ({"extra": (7, 1.0)}, "field 34 (class_mode): received 7, expected 0, 1, 2, 3"),
    "class of 1.5": ({"extra": (1.5, 1.0)}, "field 34 (class_mode): received 1.5"),
    "mean of 9": ({"extra": (1, 9.0)}, "field 35 (class_mean): received 9, expected 0 to 4"),
    "word": ({"f20": "big"}, "field 20: received 'big', expected a number"),
    "nan": ({"f20": "nan"}, "field 20: received nan, expected a finite number"),
    "zero mass": ({"f20": 0.0, "f22": 0.0}, "field 20 (mass): received 0, in a fitted source"),
    "negative error": ({"f13": -0.1}, "field 13 (mag_error_4): received -0.1, expected a positive"),
    "sentinel of its own": ({"f12": -99.9}, "field 12 (mag_4): received -99.9, expected -40 to"),
    "negative extinction": ({"f23": -0.4, "f25": -0.5}, "field 23 (ebv): received -0.4"),
    "19 Gyr": ({"f17": 1.9e10, "f18": 1.9e10}, "log_age: received 10.28 (1.9e+10 yr); no cluster"),
    "2.8e8 M_sun": ({"f20": 2.8e8, "f21": 3e8}, "log_mass: received 8.447 (2.8e+08 M_sun); no"),
    "too many fields": ({"extra": (1.0, 1.0, 1.0)}, "36 fields, expected 35"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_row_is_a_bad_row(tmp_path, fault):
    """One in 60 is left out, counted and listed; one in 4 is no exception."""
    changes, reason = BAD[fault]
    rows = [row(k) for k in range(1, 61)]
    rows[11] = row(12, **changes)
    cat = read_legus(write(tmp_path, *rows))
    assert 12 not in cat.ids and len(cat) == 59
    assert cat.meta["bad_rows"] == (cat.steps[1].reason.removeprefix("1 left out: "),)
    assert cat.steps[1].reason.startswith(f"1 left out: line 12, {reason}")
    assert (cat.steps[1].n_before, cat.steps[1].n_after) == (60, 59)
    if fault != "too many fields":
        with pytest.raises(CatalogueError):
            read_legus(write(tmp_path, *rows[10:14]))


def test_a_table_that_ends_within_a_line_is_refused(tmp_path):
    rows = [row(k) for k in range(1, 61)]
    with pytest.raises(CatalogueError, match=r"line 60, the last one: received 10 fields.*fetch"):
        read_legus(write(tmp_path, *rows[:-1], " ".join(rows[-1].split()[:10])))


def test_bands_and_distance_are_asked_for_when_they_are_needed(tmp_path):
    """Masses and ages need no bands."""
    path = write(tmp_path, row(1), name="mine.tab")
    cat = read_legus(path)
    assert len(ThetaRange(log_mass=(3.0, 5.0))(WithEstimates()(cat))) == 1
    for cut in (PhotometricErrors(), AbsoluteMagnitude(distance_modulus=29.98)):
        with pytest.raises(
            CatalogueError, match=r"mine\.tab: .* not known from its name; say bands"
        ):
            cut(cat)
    cat = read_legus(path, bands=("F275W", "F336W", "F435W", "F555W", "F814W"))
    with pytest.raises(CatalogueError, match=r"needs a distance modulus.*--distance-modulus"):
        AbsoluteMagnitude()(cat)
    assert len(AbsoluteMagnitude(distance_modulus=29.98)(cat)) == 1
