"""A user's own law: the example of the interfaces' docstring, named in a file."""

import re
import textwrap
import tomllib

import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from starcensus.experiments.schema.population import PopulationTable
from starcensus.forward import MASS_FUNCTIONS, _base

TABLE = """
bounds = { log_mass = [2.0, 6.0], log_age = [6.0, 10.0], a_v = [0.0, 3.0] }
mass = { kind = "log_normal_mass", log_m_peak = 3.8 }
age = { kind = "constant" }
extinction = { kind = "nodes", nodes = [0.0, 1.0, 3.0] }
priors = { log_m_peak = [3.0, 4.5] }
"""


@pytest.fixture
def example():
    """The docstring's code, run; what it registers goes again."""
    found = re.search(r"```python\n(.*?)```", _base.__doc__, re.DOTALL)
    source = textwrap.dedent(found[1])
    code = source.strip().splitlines()
    assert len(code) <= 35
    exec(compile(source, "example", "exec"), {"__name__": "example"})
    yield
    del MASS_FUNCTIONS._known["log_normal_mass"]


def test_a_users_mass_function_works_from_a_file(example):
    model = PopulationTable.model_validate(tomllib.loads(TABLE)).model()
    assert [p.name for p in model.fitted()] == ["log_m_peak", "p_av", "log_n"]
    law = model.population.mass_age.mass
    assert law.log_mass_range == (2.0, 6.0)
    truth = scipy.stats.truncnorm((2 - 3.8) / 0.5, (6 - 3.8) / 0.5, 3.8, 0.5)
    x = np.linspace(2.1, 5.9, 20)
    np.testing.assert_allclose(np.exp(law.log_prob(x)), truth.pdf(x), rtol=1e-8)
    draws = np.asarray(law.sample(jax.random.key(0), (4000,)))
    assert scipy.stats.kstest(draws, truth.cdf).pvalue > 1e-3
    moved = model.population.with_values({"log_m_peak": 4.2})
    assert float(moved.values()["log_m_peak"]) == 4.2


def test_a_kind_that_nobody_registered_is_refused():
    with pytest.raises(ValueError, match=r"'log_normal_mass' is no mass function.*schechter"):
        PopulationTable.model_validate(tomllib.loads(TABLE))
