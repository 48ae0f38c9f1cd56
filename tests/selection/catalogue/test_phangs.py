"""PHANGS-HST tables: the released columns, joined with SED fits, sentinels and large errors."""

import pathlib

import numpy as np
import pytest
from astropy.table import Table

from starcensus.selection.catalogue import (
    BandState,
    CatalogueError,
    Classes,
    ColumnCut,
    Concentration,
    WithEstimates,
    apply_cuts,
    read_catalogue,
    read_phangs,
)
from starcensus.selection.catalogue.bad_rows import BadRows
from starcensus.selection.catalogue.open_table import Loaded
from starcensus.selection.catalogue.phangs import phangs_map
from starcensus.selection.catalogue.table import through

OBS = "hlsp_phangs-cat_hst_uvis_ngc1097_multi_v1_obs-human-cluster-class12.fits"
SED = OBS.replace("_obs-", "_sed-")


def observed(n: int = 6) -> dict[str, list]:
    columns: dict[str, list] = {
        "ID_PHANGS_CLUSTER": list(range(1, n + 1)),
        "PHANGS_X": [100.0] * n,
        "PHANGS_CLUSTER_CLASS_HUMAN": [1.0, 2.0, 3.0, 1.0, 2.0, -9999.0][:n],
        "PHANGS_CI": [1.5, 1.6, 1.3, 1.7, 1.4, 1.5][:n],
        "CC_CLASS": ["ycl", "map", "outside", "ycl", "ogcc", "map"][:n],
    }
    for band in ("F275W", "F336W", "F438W", "F555W", "F814W"):
        columns[f"PHANGS_{band}_VEGA"] = [-9999.0, *[23.0] * (n - 1)]
        columns[f"PHANGS_{band}_VEGA_ERR"] = [-9999.0, *[0.1] * (n - 1)]
        tot = "_TOT" * (band in ("F555W", "F814W"))
        columns[f"PHANGS_{band}_mJy"] = [-9999.0, *[1e-3] * (n - 1)]
        columns[f"PHANGS_{band}_mJy{tot}_ERR"] = [1e-5] * n
    return columns


def write(folder: pathlib.Path, name: str, columns: dict[str, list]) -> pathlib.Path:
    Table(columns).write(folder / name, overwrite=True)
    return folder / name


LIMITS = {
    "ID_PHANGS_CLUSTER": [6, 4, 3, 2, 1],
    "PHANGS_SED_AGE": [5.0, 10.0, 100.0, -9999.0, 1.0],
    "PHANGS_SED_AGE_LIMLO": [4.0, 8.0, 90.0, -9999.0, 1.0],
    "PHANGS_SED_AGE_LIMHI": [6.0, 20.0, 200.0, -9999.0, 2.0],
    "PHANGS_SED_MASS": [5e3, 1e4, 2e4, -9999.0, 3e3],
    "PHANGS_SED_MASS_LIMLO": [4e3, 9e3, 1e4, -9999.0, 2e3],
    "PHANGS_SED_MASS_LIMHI": [6e3, 2e4, 3e4, -9999.0, 4e3],
    "PHANGS_SED_EBV": [0.1, 0.2, 0.3, -9999.0, 0.0],
    "PHANGS_SED_EBV_LIMLO": [0.0, 0.1, 0.2, -9999.0, 0.0],
    "PHANGS_SED_EBV_LIMHI": [0.2, 0.3, 0.4, -9999.0, 0.1],
    "PHANGS_DM": [30.63] * 5,
}
ERRORS = {
    "ID_PHANGS_CLUSTER": [1, 2, 3, 4, 5, 6],
    "PHANGS_AGE_MINCHISQ": [1.0, 10.0, 100.0, 5.0, 5.0, 5.0],
    "PHANGS_AGE_MINCHISQ_ERR": [2.0, 1.0, 50.0, 5.0, 1.0, 1.0],
    "PHANGS_MASS_MINCHISQ": [3e3, 1e4, 2e4, 5e3, 5e3, 5e3],
    "PHANGS_MASS_MINCHISQ_ERR": [6e3, 1e3, 1e4, 5e3, 1e3, 1e3],
    "PHANGS_EBV_MINCHISQ": [0.0, 0.1, 0.2, 0.3, 0.1, 0.1],
    "PHANGS_EBV_MINCHISQ_ERR": [0.1] * 6,
}


def test_observations_and_fits_are_joined_by_number(tmp_path):
    write(tmp_path, SED, LIMITS)
    cat = read_catalogue(write(tmp_path, OBS, observed()), "phangs")
    assert cat.ids.tolist() == [1, 2, 3, 4, 5, 6]
    # 2 has -9999, 5 is not in the table of fits.
    np.testing.assert_array_equal(np.isnan(cat.theta[:, 0]), [0, 1, 0, 0, 1, 0])
    np.testing.assert_allclose(cat.theta[3], [4.0, 7.0, 0.62])
    np.testing.assert_allclose(cat.theta_low[3], [np.log10(9e3), np.log10(8e6), 0.31])
    np.testing.assert_allclose(cat.theta_high[2], [np.log10(3e4), np.log10(2e8), 1.24])
    assert cat.meta["distance_modulus"] == 30.63 and cat.meta["galaxy"] == "ngc1097"
    assert cat.bands[3] == "WFC3_UVIS_F555W" and cat.mags is not None
    assert np.isnan(cat.mags[0]).all() and (cat.mags[1:] == 23.0).all()


def test_classes_and_other_columns_keep_their_names(tmp_path):
    write(tmp_path, SED, LIMITS)
    cat = read_phangs(write(tmp_path, OBS, observed()))
    human = Classes((1, 2), column="PHANGS_CLUSTER_CLASS_HUMAN")
    assert human(cat).ids.tolist() == [1, 2, 4, 5]
    kept = apply_cuts(cat, [human, WithEstimates(), Concentration(1.6)])
    assert kept.ids.tolist() == [4]
    assert ColumnCut("CC_CLASS", keep=("map", "ogcc"))(cat).ids.tolist() == [2, 5, 6]
    assert ColumnCut("PHANGS_F555W_mJy_TOT_ERR", low=0.0)(cat).ids.size == 6


def test_errors_as_large_as_the_value_are_taken_to_first_order(tmp_path):
    cat = read_phangs(
        write(tmp_path, OBS, observed()), sed=write(tmp_path, "any_name.fits", ERRORS), r_v=3.0
    )
    np.testing.assert_allclose(cat.theta_high[0, :2] - cat.theta[0, :2], 2.0 / np.log(10.0))
    np.testing.assert_allclose(cat.theta[0, :2] - cat.theta_low[0, :2], 2.0 / np.log(10.0))
    np.testing.assert_allclose(cat.theta_high[1, 2], 0.6)


def test_photometry_alone_and_fluxes_alone(tmp_path):
    columns = observed()
    cat = read_phangs(write(tmp_path, OBS, columns))
    assert cat.meta["not_published"] == ("log_mass", "log_age", "a_v")
    fluxes = {k: v for k, v in columns.items() if "VEGA" not in k}
    alone = read_phangs(write(tmp_path, OBS, fluxes))
    assert alone.mags is not None and alone.mag_errors is not None
    # 1e-3 mJy is AB 23.9; F814W in Vega is 0.42 brighter.
    assert alone.mags[1, 4] == pytest.approx(23.9 - 0.42, abs=0.02)
    np.testing.assert_allclose(alone.mag_errors[1:], 0.01 * 2.5 / np.log(10.0))
    assert alone.band_states is not None
    np.testing.assert_array_equal(alone.band_states[0], BandState.NOT_OBSERVED)


def test_the_flux_says_why_there_is_no_magnitude(tmp_path):
    """-9999 of a flux is outside the footprint; a negative error marks an upper limit."""
    columns = observed()
    column = columns["PHANGS_F275W_VEGA"]
    column[1] = column[2] = column[4] = -9999.0
    columns["PHANGS_F275W_mJy"][1:5] = [-3e-5, -9999.0, 2e-5, np.nan]
    columns["PHANGS_F275W_mJy_ERR"][1:5] = [4e-5, -9999.0, -5e-5, 1e-5]
    cat = read_phangs(write(tmp_path, OBS, columns))
    assert cat.band_states is not None and cat.mags is not None
    assert cat.fluxes is not None and cat.flux_errors is not None
    observed_, measured = BandState.NOT_OBSERVED, BandState.MEASURED
    expected = [observed_, measured, observed_, BandState.NOT_DETECTED, BandState.UNKNOWN, measured]
    np.testing.assert_array_equal(cat.band_states[:, 0], expected)
    assert (cat.band_states[1:, 1:] == measured).all()
    # Vega in F275W is 1.496 mag of AB fainter than 3631 Jy.
    vega_mjy = 3631e3 * 10 ** (-0.4 * 1.496)
    np.testing.assert_allclose(cat.fluxes[1, 0], -3e-5 / vega_mjy)
    np.testing.assert_allclose(cat.flux_errors[1, 0], 4e-5 / vega_mjy)
    np.testing.assert_array_equal(np.isnan(cat.mags[:, 0]), [1, 1, 1, 1, 1, 0])
    np.testing.assert_array_equal(np.isnan(cat.fluxes[:, 0]), [1, 0, 1, 1, 1, 0])
    np.testing.assert_allclose(cat.fluxes[5], 10 ** (-0.4 * 23.0))
    # Without fluxes nobody knows.
    magnitudes = {name: values for name, values in columns.items() if "mJy" not in name}
    alone = read_phangs(write(tmp_path, OBS, magnitudes))
    assert alone.band_states is not None and alone.fluxes is None
    unknown = BandState.UNKNOWN
    np.testing.assert_array_equal(
        alone.band_states[:, 0], [unknown, unknown, unknown, measured, unknown, measured]
    )


def test_tables_that_do_not_belong_together(tmp_path):
    obs = write(tmp_path, OBS, observed())
    for columns, message in (
        ({**ERRORS, "ID_PHANGS_CLUSTER": [11, 12, 13, 14, 15, 16]}, "no ID_PHANGS_CLUSTER is that"),
        ({**ERRORS, "ID_PHANGS_CLUSTER": [1, 1, 3, 4, 5, 6]}, "repeated identifiers"),
        ({"PHANGS_AGE_MINCHISQ": [1.0]}, "no column ID_PHANGS_CLUSTER or .* in common with"),
    ):
        with pytest.raises(CatalogueError, match=message):
            read_phangs(obs, sed=write(tmp_path, "other.fits", columns))
    with pytest.raises(CatalogueError, match="not a PHANGS-HST catalogue: no ID_PHANGS_CLUSTER or"):
        read_phangs(write(tmp_path, "mine.fits", {"m": [1.0]}))


@pytest.mark.shared
def test_the_released_columns(shared):
    path = shared / "catalogues" / "phangs" / "phangs_ngc1097_obs_human_class12_sample.fits"
    cat, raw = read_phangs(path), Table.read(path)
    assert len(cat) == 19 and cat.mags is not None and cat.mag_errors is not None
    np.testing.assert_array_equal(cat.ids, raw["ID_PHANGS_CLUSTER"])
    for k, band in enumerate(("F275W", "F336W", "F438W", "F555W", "F814W")):
        given = np.asarray(raw[f"PHANGS_{band}_VEGA"])
        # A negative error says that the flux is an upper limit.
        tot = "_TOT" * (band in ("F555W", "F814W"))
        limit = np.asarray(raw[f"PHANGS_{band}_mJy{tot}_ERR"]) < 0
        np.testing.assert_array_equal(cat.mags[:, k], np.where(limit, np.nan, given))
    assert cat.band_states is not None
    not_detected = (cat.band_states == BandState.NOT_DETECTED).sum(axis=1)
    np.testing.assert_array_equal(not_detected, raw["PHANGS_NON_DETECTION_FLAG"])
    not_observed = (cat.band_states == BandState.NOT_OBSERVED).sum(axis=1)
    np.testing.assert_array_equal(not_observed, raw["PHANGS_NO_COVERAGE_FLAG"])
    assert not_detected.sum() == 2 and (cat.band_states != BandState.UNKNOWN).all()
    assert len(Classes((1, 2), column="PHANGS_CLUSTER_CLASS_HUMAN")(cat)) == 19
    assert set(cat.columns["CC_CLASS"]) <= {"ycl", "map", "ogcc", "outside"}
    # Fluxes of the release, taken to Vega magnitudes, are its magnitudes.
    only = [name for name in raw.colnames if "VEGA" not in name]
    loaded = Loaded(raw[only], np.arange(1, 20), "row", BadRows("sample", "row"))
    by_flux = through("sample", loaded, phangs_map(OBS, loaded.table))
    assert by_flux.mags is not None
    both = np.isfinite(by_flux.mags) & np.isfinite(cat.mags)
    assert both.mean() > 0.9
    np.testing.assert_allclose(by_flux.mags[both], cat.mags[both], atol=0.03)
