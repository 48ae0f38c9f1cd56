"""The calibrations of coverage.toml: right likelihoods pass, wrong ones fail."""

import pathlib

import pytest

from starcensus.experiments.jobs._job import SILENT, open_job
from starcensus.experiments.jobs.calibration import CalibrationJob

COVERAGE = pathlib.Path(__file__).parents[2] / "experiments" / "examples" / "coverage.toml"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["selection-on-data", "selection-on-truth", "data-fitted-as-truth", "truth-fitted-as-data"],
)
def test_full_calibration(name, tmp_path):
    job = open_job(COVERAGE, tmp_path)
    assert isinstance(job, CalibrationJob) and job.file.calibration.n_catalogues == 200
    case = next(case for case in job.file.cases if case.name == name)
    assert job.calibrate(case, SILENT).accepted() == case.passes
