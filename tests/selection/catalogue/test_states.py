"""Missing is not faint: what readers, files and cuts keep of why a band has no magnitude."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from starcensus.files import FileError
from starcensus.selection.catalogue import (
    BandState,
    Catalogue,
    CatalogueError,
    Classes,
    ColumnMap,
    PhotometryColumns,
    check,
    read_catalogue,
    read_legus,
    read_literature,
    read_table,
    write_catalogue,
)

MEASURED, NOT_OBSERVED, NOT_DETECTED, UNKNOWN = range(4)
NGC628 = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"


def read(folder: pathlib.Path, columns: dict[str, list], *bands: dict[str, Any]) -> Catalogue:
    path = folder / "t.ecsv"
    units = {name: columns.pop(name)[0] for name in list(columns) if name.startswith("unit_")}
    table = Table(columns, units={name.removeprefix("unit_"): u for name, u in units.items()})
    table.write(path, format="ascii.ecsv", overwrite=True)
    return read_table(path, ColumnMap.model_validate({"estimates": False, "bands": bands}))


def states(catalogue: Catalogue) -> list[int]:
    assert catalogue.band_states is not None and catalogue.band_states.dtype == np.uint8
    return catalogue.band_states[:, 0].tolist()


def made() -> Catalogue:
    """Four clusters in two bands: measured, below 0, not observed, not detected, unknown."""
    theta = np.tile([4.0, 7.0, 0.1], (4, 1))
    fluxes = np.array([[1e-9, 2e-9], [-1e-10, 1e-9], [np.nan, 3e-9], [np.nan, np.nan]])
    positive = np.where(fluxes > 0, fluxes, np.nan)
    errors = np.where(np.isnan(fluxes), np.nan, 2e-10)
    return Catalogue(
        "made",
        np.arange(4),
        theta,
        theta - 0.1,
        theta + 0.1,
        bands=("WFC3_UVIS_F275W", "ACS_F555W"),
        mags=-2.5 * np.log10(positive),
        mag_errors=errors / positive * 2.5 / np.log(10.0),
        band_states=np.array(
            [[0, 0], [0, 0], [NOT_OBSERVED, 0], [NOT_DETECTED, UNKNOWN]], np.uint8
        ),
        fluxes=fluxes,
        flux_errors=errors,
    )


# ── the catalogue and its file ────────────────────────────────────────────────────────────────────


def test_states_and_fluxes_survive_files_and_cuts(tmp_path):
    cat = check(made())
    write_catalogue(cat, tmp_path / "own.ecsv")
    back = read_catalogue(tmp_path / "own.ecsv", "starcensus")
    for name in ("mags", "mag_errors", "band_states", "fluxes", "flux_errors"):
        given, found = getattr(cat, name), getattr(back, name)
        assert given.dtype == found.dtype
        np.testing.assert_array_equal(given, found)
    mask = np.array([False, True, False, True])
    kept = back.keep(mask, "some", "these")
    for name in ("mags", "band_states", "fluxes", "flux_errors"):
        np.testing.assert_array_equal(getattr(kept, name), getattr(cat, name)[mask])


def test_files_of_version_1_say_nothing_of_states(tmp_path):
    bare = dataclasses.replace(made(), band_states=None, fluxes=None, flux_errors=None)
    path = tmp_path / "old.ecsv"
    write_catalogue(bare, path)
    table = Table.read(path, format="ascii.ecsv")
    header = json.loads(table.meta["starcensus"])
    assert header["version"] == 2
    for name in ("band_states", "fluxes", "flux_errors"):
        assert header.pop(name) is False

    def of_version(number: int) -> pathlib.Path:
        table.meta["starcensus"] = json.dumps({**header, "version": number})
        table.write(path, format="ascii.ecsv", overwrite=True)
        return path

    old = read_catalogue(of_version(1), "starcensus")
    assert old.band_states is None and old.fluxes is None and old.mags is not None
    with pytest.raises(CatalogueError, match="version 3, expected up to 2: install a newer"):
        read_catalogue(of_version(3), "starcensus")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"band_states": np.full((4, 2), 4, np.uint8)}, "band_states go up to 4; expected those"),
        (
            {"band_states": np.zeros((4, 2), np.uint8)},
            r"row 3, WFC3_UVIS_F275W: is said to be MEASURED and has no magnitude .*2 such rows",
        ),
        (
            {"band_states": np.full((4, 2), UNKNOWN, np.uint8)},
            "row 1, WFC3_UVIS_F275W: is said to be UNKNOWN and has a magnitude",
        ),
        ({"flux_errors": None}, "fluxes and flux_errors belong together; got one of them"),
        (
            {"flux_errors": np.full((4, 2), -1e-10)},
            "row 1, flux in WFC3.*expected a positive error",
        ),
        (
            {"flux_errors": np.full((4, 2), 1e-13)},
            "row 2, flux in WFC3.*a sentinel must be declared",
        ),
        (
            {"mags": np.asarray(made().mags) + 0.3},
            r"magnitude 22.8000 beside a flux that is 22.5000 mag \(3 su",
        ),
    ],
)
def test_contradictions_are_refused(changes, message):
    with pytest.raises(CatalogueError, match=message):
        check(dataclasses.replace(made(), **changes))


# ── tables of one's own ───────────────────────────────────────────────────────────────────────────


def test_markers_say_what_they_mean(tmp_path):
    """In the column of magnitudes or in that of errors; a blank says nothing."""
    mags = [22.0, 99.0, 66.0, -1.0, np.nan, 24.0, 23.0]
    errors = [0.1, 99.0, 66.0, -1.0, np.nan, 99.0, np.nan]
    band = {"name": "V", "column": "m", "error": "e", "missing": [-1.0]}
    band |= {"not_observed": [66.0], "not_detected": [99.0]}
    cat = read(tmp_path, {"m": mags, "e": errors}, band)
    assert states(cat) == [0, NOT_DETECTED, NOT_OBSERVED, UNKNOWN, UNKNOWN, NOT_DETECTED, 0]
    assert cat.mags is not None and cat.mag_errors is not None and cat.fluxes is None
    np.testing.assert_array_equal(cat.mags[:, 0], [22, *[np.nan] * 5, 23])
    np.testing.assert_array_equal(cat.mag_errors[:, 0], [0.1, *[np.nan] * 6])


def test_markers_that_are_words(tmp_path):
    band = {"name": "V", "column": "m", "missing": ["n/a"]}
    band |= {"not_observed": ["out", 66], "not_detected": ["faint"]}
    cat = read(tmp_path, {"m": ["22.5", "out", "faint", "n/a", " 66.0", "21"]}, band)
    assert states(cat) == [0, NOT_OBSERVED, NOT_DETECTED, UNKNOWN, NOT_OBSERVED, 0]


def test_negative_fluxes_are_measurements(tmp_path):
    """Ten thousand clusters without light: their mean flux is 0, whatever is bright enough."""
    rng = np.random.default_rng(3)
    given = rng.normal(0.0, 2.0, 10_000)
    band = {"name": "ACS_F555W", "column": "f", "error": "e", "unit": "nJy"}
    cat = read(tmp_path, {"f": given.tolist(), "e": [2.0] * len(given)}, band)
    assert set(states(cat)) == {MEASURED}
    assert cat.fluxes is not None and cat.flux_errors is not None and cat.mags is not None
    vega_njy = 3631e9 * 10 ** (-0.4 * -0.010)
    np.testing.assert_allclose(cat.fluxes[:, 0] * vega_njy, given, rtol=1e-6)
    np.testing.assert_allclose(cat.flux_errors[:, 0] * vega_njy, 2.0, rtol=1e-6)
    np.testing.assert_array_equal(np.isnan(cat.mags[:, 0]), given <= 0)
    assert abs(cat.fluxes.mean() * vega_njy) < 0.06


def test_fluxes_beside_magnitudes(tmp_path):
    """A table of both has fluxes of both."""
    columns = {"f": [2.0, -1.0], "e": [0.1, 0.5], "m": [20.0, np.nan], "em": [0.1, np.nan]}
    bands = (
        {"name": "ACS_F814W", "column": "f", "error": "e", "unit": "uJy"},
        {"name": "ACS_F555W", "column": "m", "error": "em"},
    )
    cat = read(tmp_path, columns, *bands)
    assert cat.fluxes is not None and cat.flux_errors is not None
    np.testing.assert_allclose(cat.fluxes[:, 1], [1e-8, np.nan])
    np.testing.assert_allclose(cat.flux_errors[:, 1], [1e-8 * 0.1 * 0.4 * np.log(10), np.nan])
    assert cat.fluxes[1, 0] < 0


def test_zero_points_of_ones_own(tmp_path):
    """25.7 mag of Vega, or as much more of AB, for one electron per second."""
    columns = {"f": [100.0, -3.0], "e": [5.0, 4.0], "unit_f": ["electron / s"]}
    band = {"name": "ACS_F814W", "column": "f", "error": "e", "unit": "flux"}
    for zero in ({"zero_point_vega": 25.5}, {"zero_point_ab": 25.927}):
        cat = read(tmp_path, dict(columns), {**band, **zero})
        assert cat.mags is not None and cat.fluxes is not None
        np.testing.assert_allclose(cat.mags[:, 0], [20.5, np.nan])
        np.testing.assert_allclose(cat.fluxes[1], -3 * 10 ** (-0.4 * 25.5))
    ab = {"name": "ACS_F814W", "column": "m", "unit": "ABmag"}
    vega = read(tmp_path, {"m": [20.927]}, ab).mags
    np.testing.assert_allclose(vega, [[20.5]])


@pytest.mark.parametrize(
    "band, message",
    [
        ({"unit": "counts"}, "received 'counts', expected one of mag, ABmag.*zero_point_vega or"),
        ({"unit": "flux"}, "unit 'flux' with 0 zero points; expected one of zero_point_vega and"),
        ({"unit": "mJy", "zero_point_vega": 25.0}, "unit 'mJy' with 1 zero points; .*none for oth"),
        ({"unit": "flux", "zero_point_vega": 1.0, "zero_point_ab": 1.0}, "'flux' with 2 zero poin"),
        ({"name": "MINE", "unit": "flux", "zero_point_ab": 25.0}, "MINE: its AB minus Vega magnit"),
        ({"name": "MINE", "unit": "ABmag"}, "MINE: its AB minus Vega magnitude is not known"),
        (
            {"missing": [99.0], "not_detected": [99]},
            "99.* stands twice among not_observed, not_det",
        ),
    ],
)
def test_maps_that_mean_nothing(band, message):
    with pytest.raises(ValueError, match=message):
        PhotometryColumns.model_validate({"name": "ACS_F555W", "column": "m", **band})


@pytest.mark.parametrize(
    "unit, said, message",
    [
        (
            "mJy",
            "mag",
            "column m: the file says unit 'mJy', the column map says 'mag' for ACS_F555",
        ),
        (
            "electron / s",
            "mag",
            "the file says unit 'electron / s'.*counts and the like are 'flux'",
        ),
        ("mag", "mJy", "the file says unit 'mag', the column map says 'mJy'"),
        ("uJy", "mJy", "the file says unit 'uJy', the column map says 'mJy'"),
        ("mag(AB)", "mag", r"the file says unit 'mag\(AB\)', the column map says 'mag'"),
        ("mag(AB)", "ABmag", None),
        ("mag", "mag", None),
        ("mJy", "mJy", None),
    ],
)
def test_units_of_the_file(tmp_path, unit, said, message):
    columns = {"m": [22.0, 23.0], "unit_m": [unit]}
    band = {"name": "ACS_F555W", "column": "m", "unit": said}
    if message is None:
        assert states(read(tmp_path, columns, band)) == [0, 0]
        return
    with pytest.raises(CatalogueError, match=message):
        read(tmp_path, columns, band)


def test_markers_that_nobody_declared_are_no_fluxes(tmp_path):
    band = {"name": "ACS_F555W", "column": "f", "error": "e", "unit": "uJy"}
    for flux, error, message in (
        (
            -99.0,
            -99.0,
            "row 2, column f: received flux and error -99 .1 such rows.*list it under mi",
        ),
        (
            -99.0,
            0.1,
            "flux in ACS_F555W: .*a sentinel must be declared as missing, not_observed or",
        ),
    ):
        path = tmp_path / "t.fits"
        Table({"f": [1.0, flux], "e": [0.1, error]}).write(path, overwrite=True)
        column_map = ColumnMap.model_validate({"estimates": False, "bands": [band]})
        with pytest.raises(FileError, match=message):
            read_table(path, column_map)


# ── published tables ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.shared
def test_ngc628_c(shared):
    """11 of the 990 clusters of class 1 to 3 with M_V < -6 in four bands lack the ultraviolet.

    All were looked at, none was found: 99.999. Nothing of the table is of another kind.
    """
    path = shared / "catalogues" / "legus" / NGC628
    cat = read_legus(path)
    found = cat.band_states
    assert found is not None and cat.mags is not None
    counts = {state.name: (found == state).sum(axis=0).tolist() for state in BandState}
    assert counts == {
        "MEASURED": [2207, 2296, 3062, 3080, 3073],
        "NOT_OBSERVED": [673, 673, 0, 0, 0],
        "NOT_DETECTED": [198, 110, 18, 0, 7],
        "UNKNOWN": [2, 1, 0, 0, 0],
    }
    raw = np.loadtxt(path)[:, 5:15:2]
    np.testing.assert_array_equal(found == NOT_OBSERVED, raw == 66.666)
    np.testing.assert_array_equal(found == NOT_DETECTED, raw == 99.999)
    clusters = Classes()(cat)
    assert clusters.mags is not None and clusters.band_states is not None
    bright = clusters.mags[:, 3] - 29.98 < -6.0
    bright &= (clusters.band_states == MEASURED).sum(axis=1) >= 4
    kept = clusters.keep(bright, "bright", "as in the peer's fit").band_states
    assert kept is not None and len(kept) == 990
    lacking = (kept[:, :2] != MEASURED).any(axis=1)
    assert lacking.sum() == 11 and (kept[lacking, 0] == NOT_DETECTED).all()


@pytest.mark.shared
def test_m31_does_not_say_why(shared):
    folder = shared / "catalogues" / "literature"
    cat = read_literature(folder / "fouesneau2014_m31.fits")
    assert cat.band_states is not None and cat.mags is not None
    np.testing.assert_array_equal(cat.band_states == UNKNOWN, np.isnan(cat.mags))
    assert set(np.unique(cat.band_states)) == {MEASURED, UNKNOWN}
