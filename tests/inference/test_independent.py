"""The package against catalogues that it did not make."""

import dataclasses

import numpy as np
import pytest
from tests.inference import independent
from tests.inference.independent import CASES, Case

from starcensus.inference.calibration import Problem, calibrate_problem, score_test

N = 100


def test_scores_of_an_independent_generator():
    """The hardest case: selection on the truth, limits on recorded values.

    Sees a bias of half a standard deviation in any of six parameters with nine chances in ten; the
    slow test sees 0.2, in all cases."""
    made = independent.settings()
    made = dataclasses.replace(made, errors=dataclasses.replace(made.errors, n_samples=16))
    found = score_test(independent.problem("limited", N, made))
    assert found.accepted(), (found.bias / found.bias_error, found.excess / found.excess_error)
    assert found.power(bias=0.5)[0] > 0.9


def test_given_catalogues_must_fit_each_other_and_the_model():
    catalogue, truth = independent.drawn("truth", 0)
    limited, _ = independent.drawn("limited", 0)
    model, operator = independent.model(), independent.operator("truth")
    with pytest.raises(ValueError, match="different limits"):
        Problem.given(model, [catalogue, limited], [truth] * 2, operator)
    with pytest.raises(ValueError, match="lacks log_n"):
        rest = {k: v for k, v in truth.items() if k != "log_n"}
        Problem.given(model, [catalogue], [rest], operator)
    with pytest.raises(ValueError, match="1 catalogues and 2 truths"):
        Problem.given(model, [catalogue], [truth] * 2, operator)
    one = Problem.given(model, [catalogue], [truth], operator)
    other = Problem.given(model, [catalogue], [truth | {"alpha_m": -1.9}], operator)
    assert one.digest != other.digest and one.n == 1


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_posteriors_of_an_independent_generator(case: Case):
    scores = score_test(independent.problem(case, 2000, independent.settings(), start=100_000))
    assert scores.accepted() and min(scores.power()) > 0.9
    result = calibrate_problem(independent.problem(case, 200, independent.settings(64)))
    assert result.accepted() and np.median(result.min_ess_bulk) > 400
