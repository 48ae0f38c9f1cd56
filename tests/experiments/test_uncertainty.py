"""`uncertainty = true` in files of settings: where it counts, and where it is refused by name."""

import dataclasses
import pathlib

import numpy as np
import pytest

from starcensus.experiments.jobs._operators import build_selection, uncertainty_words
from starcensus.experiments.jobs.compare import OneModel
from starcensus.experiments.jobs.fit import OneFit
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.selection import SelectionTable
from starcensus.networks import MLP
from starcensus.selection import Box, LogitUncertainty, NetworkSelection, complete, save_selection

BOX = Box((3.0, 6.0), (6.0, 8.5), (0.0, 2.0))


@pytest.fixture
def operator(tmp_path) -> NetworkSelection:
    network = MLP([np.array([[4.0, 0.0, 0.0]])], [np.array([-16.0])])
    known = LogitUncertainty(np.array([4.0, 7.0, 1.0]), np.ones(3), 0.1 * np.eye(20))
    made = NetworkSelection((network,), BOX, uncertainty=known)
    save_selection(made, tmp_path / "o.h5")
    return made


def test_other_jobs_than_fits_refuse_it(operator, tmp_path):
    table = SelectionTable(kind="file", path="o.h5", options={}, uncertainty=True)
    sources = Sources.beside(pathlib.Path(tmp_path / "fit.toml"))
    assert build_selection(table, BOX, sources, uncertain=True).n_members == 1
    with pytest.raises(ConfigError, match="uncertainty = true is for fits"):
        build_selection(table, BOX, sources)
    assert OneFit.takes_uncertainty and not OneModel.takes_uncertainty


def test_one_network_alone_has_no_uncertainty_of_the_mean():
    with pytest.raises(ValueError, match="leave one of them out"):
        SelectionTable(kind="file", path="o.h5", options={}, uncertainty=True, member=0)


def test_the_report_has_words_for_each_case(operator):
    assert "is fitted along" in uncertainty_words(operator, True)
    assert "leaves that out" in uncertainty_words(operator, False)
    bare = dataclasses.replace(operator, uncertainty=None)
    for other in (bare, complete(BOX)):
        assert "does not say what is uncertain" in uncertainty_words(other, False)
