"""The calibrations of coverage.toml: right likelihoods pass, wrong ones fail."""

import pathlib

import pytest

from starcensus.experiments.jobs._job import SILENT, open_job
from starcensus.experiments.jobs.calibration import CalibrationJob, chosen_job

COVERAGE = pathlib.Path(__file__).parents[2] / "experiments" / "examples" / "coverage.toml"


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, (200, 3000)), ({"n": 10}, (10, 150)), ({"n": 10, "scored": 7}, (10, 7)),
     ({"scored": 7}, (200, 7))],
)  # fmt: skip
def test_scores_go_with_the_posteriors_unless_they_are_given(given, expected, tmp_path):
    def make(*args, **how):
        return chosen_job(
            *args, **{"n": None, "scored": None, "batch": None, "cases": None} | given, **how
        )

    found = open_job(COVERAGE, tmp_path, make=make).file.calibration
    assert (found.n_catalogues, found.n_scored) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["selection-on-data", "selection-on-truth", "data-fitted-as-truth", "truth-fitted-as-data"],
)
def test_full_calibration(name, tmp_path):
    job = open_job(COVERAGE, tmp_path)
    assert isinstance(job, CalibrationJob) and job.file.calibration.n_catalogues == 200
    case = next(case for case in job.file.cases if case.name == name)
    scores, posteriors = job.score(case, SILENT), job.calibrate(case, SILENT)
    assert (scores.accepted() and posteriors.accepted()) == case.passes
    assert not case.passes or min(scores.power()) > 0.9
