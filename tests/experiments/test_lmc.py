"""Clusters of the LMC: ages from integrated light beside those of their CMDs."""

import pathlib

import numpy as np
import pytest
from benchmarks.lmc import Ages, words

from starcensus.experiments.jobs._job import open_job
from starcensus.files import read_json

EXAMPLE = pathlib.Path(__file__).parents[2] / "experiments" / "examples" / "lmc_ages.toml"


@pytest.mark.shared
@pytest.mark.slow
def test_ages_of_144_clusters(shared: pathlib.Path, tmp_path: pathlib.Path):
    """With a seventh of the simulated clusters; docs/results/lmc.md has the figures of all."""
    text = EXAMPLE.read_text()
    small = text
    for old, new in (
        ("n_clusters = 400_000", "n_clusters = 60_000"),
        ("n_first = 60_000", "n_first = 20_000"),
        ("max_rounds = 3", "max_rounds = 1"),
    ):
        assert old in small
        small = small.replace(old, new)
    (tmp_path / "lmc_ages.toml").write_text(small)
    open_job(tmp_path / "lmc_ages.toml", tmp_path / "out", (shared,)).perform()
    summary = read_json(tmp_path / "out" / "summary.json")
    assert summary["n"] == 144 and summary["n_unexplained"] == 0
    assert summary["rms_dex"] < 0.31 and summary["share_off_1"] == 0
    assert summary["share_off_0_5"] < 0.13
    # The classes of the CMD's errors are upper limits.
    assert summary["coverage_68"] > 0.68 and summary["coverage_95"] > 0.95
    # The published ones of the README of the table.
    assert summary["beside.rms_dex"] == pytest.approx(0.311, abs=5e-4)
    assert summary["beside.share_off_0_5"] == pytest.approx(14 / 144)
    assert summary["popescu.n"] == 144 and summary["popescu.rms_dex"] < 0.4
    ages = Ages.read(tmp_path / "out", shared)
    rms = np.sqrt(((ages.mine - ages.cmd) ** 2).mean())
    assert rms == pytest.approx(summary["rms_dex"])
    assert ages.shared()[0] > 2 * ages.shared()[1]
    assert len(words(ages)) == 10
