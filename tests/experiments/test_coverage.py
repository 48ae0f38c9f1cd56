"""The calibrations of coverage.toml: right likelihoods pass, wrong ones fail."""

import pathlib

import pytest

from starcensus.experiments.jobs.calibrate import run_case
from starcensus.experiments.schema.fit import load_experiment
from starcensus.inference import CalibrationSettings

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["selection-on-data", "selection-on-truth", "data-fitted-as-truth", "truth-fitted-as-data"],
)
def test_full_calibration(name):
    experiment, _ = load_experiment(EXPERIMENTS / "coverage.toml")
    case = next(case for case in experiment.calibration if case.name == name)
    settings = CalibrationSettings(n_catalogues=200, seed=experiment.seed)
    result = run_case(experiment, case, [EXPERIMENTS], settings)
    assert result.accepted() == case.passes
