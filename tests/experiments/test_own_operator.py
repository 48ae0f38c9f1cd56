"""An operator of one's own, named in a file."""

import jax
import numpy as np
import pytest

from starcensus.experiments.jobs._job import open_job
from starcensus.experiments.schema._base import ConfigError, parse
from starcensus.selection import (
    OPERATORS,
    AbstractSelection,
    ActsOn,
    Box,
    Outside,
    load_selection,
)

MOCK = """
kind = "mock"
title = "Own operator"
seed = 1
sigma = [0.1, 0.1, 0.1]
[selection]
kind = "test_mass_limit"
options = { limit = 3.8 }
acts_on = "truth"
[population]
bounds = { log_mass = [3.0, 6.5], log_age = [6.0, 9.5], a_v = [0.0, 3.0] }
mass = { kind = "schechter" }
age = { kind = "mid" }
extinction = { kind = "nodes", nodes = [0.0, 1.0, 3.0] }
truth = { log_n = 2.5 }
"""


@OPERATORS.register("test_mass_limit")
class MassLimit(AbstractSelection):
    domain: Box
    limit: float = 3.5
    outside: Outside = "zero"
    acts_on: ActsOn = "data"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(self, log_mass, log_age, a_v):
        return jax.nn.sigmoid((log_mass - self.limit) / 0.1)[None]


def test_a_mock_is_drawn_with_it_and_its_file_is_loaded(tmp_path):
    (tmp_path / "own.toml").write_text(MOCK)
    open_job(tmp_path / "own.toml", tmp_path / "out").perform()
    assert (tmp_path / "out" / "catalogue.ecsv").is_file()
    operator = load_selection(tmp_path / "out" / "operator.h5")
    assert isinstance(operator, MassLimit)
    assert operator.limit == 3.8 and operator.acts_on == "truth"
    assert operator.domain == Box((3.0, 6.5), (6.0, 9.5), (0.0, 3.0))
    np.testing.assert_allclose(operator.p_sel(3.8, 8.0, 1.0), 0.5)


def test_a_kind_that_there_is_not_is_refused_with_those_that_are():
    text = MOCK.replace("test_mass_limit", "oracle")
    with pytest.raises(ConfigError, match=r"oracle.*expected one of complete, magnitude"):
        parse(text, "own.toml")
