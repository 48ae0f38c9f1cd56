"""LEGUS tables: every published layout, sentinels, missing fits, and what is left after cuts."""

import pathlib
from typing import Any

import numpy as np
import pytest

from starcensus.selection.catalogue import (
    AbsoluteMagnitude,
    CatalogueError,
    Classes,
    LegusStage2,
    ThetaRange,
    WithEstimates,
    apply_cuts,
    read_legus,
)

NAME = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"

# name: rows, fields, field of class_mode, sources in classes 1, 2, 3, 4, distance modulus
TABLES = {
    "ic4247": (762, 36, 34, (1, 4, 3, 37), 28.54),
    "ngc3351": (1389, 37, 35, (118, 80, 94, 326), 30.0),
    "ngc4485": (5610, 34, 34, (137, 161, 79, 486), 29.40),
    "ngc5253": (2100, 36, 34, (20, 37, 23, 154), 27.49),
    "ngc628-c": (3080, 35, 34, (334, 357, 326, 542), 29.98),
    "ngc7793-w": (2794, 35, 34, (51, 84, 86, 78), 27.68),
    "ugc4305": (4848, 36, 34, (16, 29, 40, 147), 27.42),
    "ngc1313-e": (5284, 37, 36, (42, 95, 122, 386), 28.21),
    "ngc1433": (1099, 35, 34, (51, 61, 56, 138), 29.6),
    "ngc1705": (365, 36, 34, (16, 13, 13, 54), 28.54),
    "ngc3344": (1527, 35, 34, (119, 118, 159, 161), 29.23),
    "ngc6503": (4225, 35, 34, (71, 96, 131, 172), 28.61),
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
    n, n_fields, class_field, counts, modulus = TABLES[galaxy]
    (path,) = (shared / "catalogues" / "legus").glob(f"*_{galaxy}_multiband*.tab")
    cat = read_legus(path)
    raw = np.loadtxt(path)
    mode = raw[:, class_field - 1]
    assert len(cat) == n == len(raw)
    assert (cat.meta["n_fields"], cat.meta["class_field"]) == (n_fields, class_field)
    assert tuple(np.bincount(cat.columns["class_mode"], minlength=5)[1:]) == counts
    np.testing.assert_array_equal(cat.columns["class_mode"], mode)
    assert cat.meta["distance_modulus"] == pytest.approx(modulus, abs=0.005)
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
    assert [step.n_after for step in stage2.steps] == [1910, 1423, 1423]
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
        (2, (2.0, 2.333), 36, {"class_mode", "class_mean", "x_mosaic"}),
    ],
)
def test_layouts(tmp_path, shift, extra, field, names):
    cat = read_legus(write(tmp_path, row(1, shift=shift, extra=extra)))
    assert cat.meta["class_field"] == field
    assert names <= set(cat.columns)
    assert cat.columns["class_mode"][0] == 2
    assert (cat.columns["ra"][0], cat.columns["dec"][0]) == (24.17, 15.78)
    np.testing.assert_allclose(cat.theta, [[4.0, 7.0, 0.62]])
    np.testing.assert_allclose(cat.theta_low, [[np.log10(5e3), np.log10(5e6), 0.31]])
    np.testing.assert_allclose(cat.theta_high, [[np.log10(2e4), np.log10(2e7), 0.93]])
    assert cat.bands[2:] == ("ACS_F435W", "ACS_F555W", "ACS_F814W")


def test_sentinels_become_nan(tmp_path):
    cat = read_legus(
        write(
            tmp_path,
            row(1, f6=66.666, f7=66.666, f8=99.999, f9=99.999),
            row(2, f10=44.444, f11=44.444),
            row(3, f6=31.2, f7=99.999),
        )
    )
    assert cat.mags is not None and cat.mag_errors is not None
    expected = np.zeros((3, 5), bool)
    expected[0, :2] = expected[1, 2] = expected[2, 0] = True
    np.testing.assert_array_equal(np.isnan(cat.mags), expected)
    np.testing.assert_array_equal(np.isnan(cat.mag_errors), expected)
    kinds = ("outside_frame", "not_detected", "no_ci_correction")
    assert [total(cat.meta[f"n_{kind}"]) for kind in kinds] == [1, 1, 1]
    assert cat.meta["n_magnitude_without_error"] == 1


def test_missing_fits_and_limits(tmp_path):
    zeros: dict[str, Any] = {f"f{field}": 0.0 for field in range(17, 34)}
    v2: dict[str, Any] = {"f17": 2e8, "f20": 200.0, "f23": 200.0, "f33": 200}
    rows = [row(1, **zeros), row(2, **v2), row(3, f18=0.0, f19=0.0, f21=0.0, f22=0.0), row(4)]
    cat = read_legus(write(tmp_path, *rows))
    np.testing.assert_array_equal(np.isnan(cat.theta[:, 0]), [True, True, False, False])
    np.testing.assert_array_equal(np.isnan(cat.theta_low).all(axis=1), [True, True, True, False])
    assert (cat.meta["n_no_fit"], cat.meta["n_no_limits"]) == (2, 1)
    np.testing.assert_array_equal(cat.columns["n_filters"], [0, 0, 5, 5])


def test_limits_are_made_to_enclose_the_best_value(tmp_path):
    cat = read_legus(write(tmp_path, row(1, f18=5e6, f19=2e7), row(2, f21=9e3), row(3)))
    assert cat.meta["limits_reordered"] == 2
    np.testing.assert_allclose(10 ** cat.theta_low[:, 1], 5e6)
    np.testing.assert_allclose(10 ** cat.theta_high[:, 0], [2e4, 1e4, 2e4])


def test_bands_and_distance_are_asked_for_when_unknown(tmp_path):
    path = write(tmp_path, row(1), name="mine.tab")
    with pytest.raises(CatalogueError, match=r"mine\.tab: the bands of this table .* pass bands="):
        read_legus(path)
    cat = read_legus(path, bands=("F275W", "F336W", "F435W", "F555W", "F814W"))
    with pytest.raises(CatalogueError, match="needs a distance modulus"):
        AbsoluteMagnitude()(cat)
    assert len(AbsoluteMagnitude(distance_modulus=29.98)(cat)) == 1
