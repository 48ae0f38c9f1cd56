"""The published M83, NGC 628 and M31 tables, against values read from the files directly."""

from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from starcensus.selection.catalogue import has_estimate, read_catalogue, read_literature


@pytest.mark.shared
def test_m83(shared):
    path = shared / "catalogues" / "literature" / "ryon2015_m83.fits"
    cat = read_literature(path)
    raw: Any = fits.getdata(path)
    assert len(cat) == 478 and has_estimate(cat).all()
    for k, name in enumerate(("Mass", "Age")):
        np.testing.assert_allclose(cat.theta[:, k], raw[f"log{name}"], atol=1e-6)
        np.testing.assert_allclose(cat.theta_low[:, k], raw[f"b_log{name}"], atol=1e-6)
        np.testing.assert_allclose(cat.theta_high[:, k], raw[f"b_log{name.lower()}_lc"], atol=1e-6)
    assert np.isnan(cat.theta[:, 2]).all() and cat.meta["not_published"] == ("a_v",)
    assert cat.meta["limits_reordered"] == 0
    # Published with two decimals: float32 columns give the decimals back.
    np.testing.assert_array_equal(cat.theta[:, 1], np.round(cat.theta[:, 1], 2))


@pytest.mark.shared
def test_ngc628(shared):
    path = shared / "catalogues" / "literature" / "ryon2017_ngc628.fits"
    cat = read_literature(path)
    assert len(cat) == 320 and cat.ids[0] == "196-c"
    np.testing.assert_allclose(cat.theta[0, :2], [3.92, 7.95])
    np.testing.assert_allclose(cat.theta_low[0, :2], [3.92 - 0.95, 7.95 - 1.11])
    np.testing.assert_allclose(cat.theta_high[0, :2], [3.92 + 0.22, 7.95 + 0.35])
    assert np.isnan(cat.columns["logReffg"]).sum() == 80
    assert np.isfinite(cat.columns["logReffc"]).all()


@pytest.mark.shared
def test_m31_joined(shared):
    folder = shared / "catalogues" / "literature"
    cat = read_catalogue(folder / "fouesneau2014_m31.fits", "literature")
    assert len(cat) == 601 and has_estimate(cat).sum() == 600
    assert cat.ids[~has_estimate(cat)].tolist() == [121]
    assert cat.meta["n_without_photometry"] == 0 and cat.meta["n_photometry_only"] == 237
    johnson: Any = fits.getdata(folder / "johnson2012_m31.fits")
    place = {pcid: k for k, pcid in enumerate(johnson["PCID"])}
    rows = [place[pcid] for pcid in cat.ids]
    assert cat.mags is not None
    np.testing.assert_allclose(cat.mags[:, 2], johnson["F475W"][rows], rtol=1e-6)
    np.testing.assert_allclose(cat.columns["ra"], johnson["RAJ2000"][rows], atol=1e-5)
    finite = has_estimate(cat)
    assert (cat.theta_low[finite] <= cat.theta[finite]).all()
    assert (cat.theta[finite] <= cat.theta_high[finite]).all()


def test_m31_without_photometry(tmp_path):
    data = {"PCID": [3, 7], "RAJ2000": [11.0, 11.1], "DEJ2000": [41.0, 41.1], "CFlag": [0, 1]}
    for name, best in (("AV-best", 0.3), ("logA-best", 8.0), ("logM-bset", 3.5)):
        stem = name.split("-")[0]
        data |= {name: [best] * 2, f"{stem}-p16": [best - 0.2] * 2, f"{stem}-p84": [best + 0.2] * 2}
    path = tmp_path / "m31.fits"
    Table(data).write(path)
    assert read_literature(path).mags is None
    bands = ("F275W", "F336W", "F475W", "F814W", "F110W", "F160W")
    other = {"PCID": [7, 9], "Reff": [0.4, 0.5], "Rap": [1.0, 1.1]}
    Table(other | {band: [20.0, 21.0] for band in bands}).write(tmp_path / "phot.fits")
    cat = read_literature(path, photometry=tmp_path / "phot.fits")
    assert cat.mags is not None
    np.testing.assert_array_equal(cat.mags[:, 0], [np.nan, 20.0])
    assert (cat.meta["n_without_photometry"], cat.meta["n_photometry_only"]) == (1, 1)
