"""Tables of the Magellanic Clouds, through the maps of the page on catalogues."""

import pathlib
import re

import numpy as np
import pytest

from starcensus.selection.catalogue import Catalogue, ColumnMap, read_table

PAGE = pathlib.Path(__file__).parents[3] / "docs" / "how-to" / "catalogues.md"
MAPS = dict(re.findall(r"```toml\n# (\S+\.dat)\n(.*?)```", PAGE.read_text(), re.DOTALL))


@pytest.fixture
def read(shared, tmp_path):
    def through_map(name: str) -> Catalogue:
        (tmp_path / "map.toml").write_text(MAPS[name])
        return read_table(shared / "lmc" / name, ColumnMap.from_toml(tmp_path / "map.toml"))

    return through_map


@pytest.mark.shared
def test_masses_and_ages_of_144_clusters(read, shared):
    cat = read("lmc_cmd_ages_a.dat")
    assert len(cat) == 144 and "bad_rows" not in cat.meta
    # The residuals that the README of the table gives.
    residual = cat.theta[:, 1] - cat.columns["log_age_cmd"]
    assert np.sqrt((residual**2).mean()) == pytest.approx(0.311, abs=5e-4)
    hunter = cat.columns["log_age_hunter"] - cat.columns["log_age_cmd"]
    assert np.isfinite(hunter).sum() == 125
    assert np.sqrt(np.nanmean(hunter**2)) == pytest.approx(0.860, abs=5e-4)
    lines = (shared / "lmc" / "lmc_cmd_ages_a.dat").read_text().splitlines()
    words = next(line for line in lines if line[0] != "#").split()
    assert cat.ids[0] == words[0] and 10 ** cat.theta[0, 0] == pytest.approx(float(words[16]))
    assert cat.theta_high[0, 1] == pytest.approx(float(words[13]) + float(words[14]))
    assert cat.theta_low[0, 1] == pytest.approx(float(words[13]) - float(words[15]))
    assert cat.theta[0, 2] == pytest.approx(3.1 * float(words[12]))


@pytest.mark.shared
def test_names_with_blanks_at_the_end_of_lines(read):
    cat = read("matched_H03_P12.dat")
    assert len(cat) == 670 and set(cat.columns["galaxy"]) == {"LMC"}
    np.testing.assert_allclose(cat.theta[0, :2], [np.log10(1275.0), 6.86])
    assert cat.meta["not_published"] == ("a_v",)


@pytest.mark.shared
def test_photometry_without_masses(read):
    cat = read("hunter_03.dat")
    assert len(cat) == 939 and cat.mags is not None
    assert (cat.mags[0, 0], cat.columns["age_myr"][0]) == (14.602, 15.1)
    assert (cat.columns["galaxy"] == "LMC").sum() == 748
