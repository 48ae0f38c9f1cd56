"""An operator of one's own, named in an experiment."""

import tomllib

import jax
import numpy as np
import pytest

from starcensus.experiments.jobs.fit import make_mock
from starcensus.experiments.schema.fit import ConfigError, parse_experiment
from starcensus.selection import (
    OPERATORS,
    AbstractSelection,
    ActsOn,
    Box,
    Outside,
    ProductSelection,
    load_selection,
)

EXPERIMENT = """
title = "Own operator"
[selections.mine]
kind = "test_mass_limit"
options = { limit = 3.8 }
acts_on = "truth"
recorded_limits = { log_mass = [3.5, 6.0], log_age = [6.0, 9.5], a_v = [0.0, 3.0] }
limits_sigma = [0.1, 0.1, 0.1]
[populations.only]
bounds = { log_mass = [3.0, 6.5], log_age = [6.0, 9.5], a_v = [0.0, 3.0] }
mass = { kind = "schechter" }
age = { kind = "mid" }
extinction = { kind = "nodes", nodes = [0.0, 1.0, 3.0] }
[mock]
selection = "mine"
population = "only"
seed = 1
truth = { log_n = 2.5 }
sigma = [0.1, 0.1, 0.1]
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
    experiment = parse_experiment(tomllib.loads(EXPERIMENT), "own.toml")
    catalogue, path = make_mock(experiment, tmp_path, [tmp_path], "own")
    assert catalogue.is_file()
    product = load_selection(path)
    assert isinstance(product, ProductSelection) and isinstance(product.first, MassLimit)
    assert product.first.limit == 3.8 and product.acts_on == "truth"
    assert product.first.domain == Box((3.0, 6.5), (6.0, 9.5), (0.0, 3.0))
    np.testing.assert_allclose(product.p_sel(3.8, 8.0, 1.0), 0.5, atol=2e-3)


def test_a_kind_that_there_is_not_is_refused_with_those_that_are():
    text = EXPERIMENT.replace("test_mass_limit", "oracle")
    with pytest.raises(ConfigError, match=r"oracle.*expected one of complete, magnitude"):
        parse_experiment(tomllib.loads(text), "own.toml")
