"""Survey files: what their tables become."""

import pytest

from starcensus.experiments.config import ConfigError
from starcensus.experiments.survey import SurveyConfig, parse_survey
from starcensus.simulate.white import SCALE_FACTORS

TEXT = """
[images]
paths = "galaxy"
[pipeline]
kind = "legus"
[plan]
"""


def parsed(text: str) -> SurveyConfig:
    return parse_survey(text, "survey.toml")


def test_scale_factors_of_the_placement():
    assert parsed(TEXT).plan.scale_factors == SCALE_FACTORS
    own = "scale_factors = [{ F475W = 2.5, F814W = 1 }, { F475W = 1, F814W = 1 }]"
    found = parsed(TEXT + own).plan
    assert found.scale_factors == ({"F475W": 2.5, "F814W": 1.0}, {"F475W": 1.0, "F814W": 1.0})
    assert found.describe()["scale_factors"] == list(found.scale_factors)
    with pytest.raises(ConfigError, match=r"survey\.toml: plan: scale_factors of F475W has -1\.0;"):
        parsed(TEXT + "scale_factors = [{ F475W = -1 }]")
