"""References: figures by hand, ranks by draws, their law where posterior and error are right."""

import numpy as np
import pytest
from scipy import stats
from tests.experiments.light_project import BOX, light_objects

from starcensus.inference import (
    Agreement,
    LightObjects,
    measure,
    power_law_prior,
    reference_ranks,
)

PRIOR = power_law_prior()


@pytest.fixture(scope="module")
def objects() -> LightObjects:
    return light_objects()


def test_figures_by_hand():
    estimate = np.array([7.0, 8.0, 9.5, 6.0, np.nan, 7.0])
    reference = np.array([7.3, 8.6, 8.0, 6.0, 7.0, np.nan])
    ranks = np.array([0.9, 0.1, 0.99, 0.5, np.nan, np.nan])
    found = Agreement.of(estimate, reference, ranks)
    assert found.n == 4 and found.median == pytest.approx(-0.15)
    assert found.rms == pytest.approx(np.sqrt((0.09 + 0.36 + 2.25) / 4))
    assert (found.share_off_0_5, found.share_off_1) == (0.5, 0.25)
    assert (found.coverage_68, found.coverage_95) == (0.25, 0.75)
    assert found.summary("dex")["rms_dex"] == found.rms
    bare = Agreement.of(estimate, reference)
    assert bare.coverage_68 is None and "coverage_68" not in bare.summary("mag")
    with pytest.raises(ValueError, match="none of 6 objects has both"):
        Agreement.of(estimate, np.full(6, np.nan))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_ranks_are_those_of_draws(objects, axis):
    name = ("log_mass", "log_age", "a_v")[axis]
    found = measure(objects, PRIOR, BOX, 2000, seed=3)
    assert found.draws is not None
    rng = np.random.default_rng(5)
    there = found.effective > 0
    theta = found.draws.theta[:, axis].reshape(-1, 2000)
    error = np.where(np.arange(len(objects)) % 3 == 0, 0.0, 0.2)
    reference = found.mean[:, axis] + rng.normal(0, 0.15, len(objects))
    ranks = reference_ranks(objects, PRIOR, BOX, name, reference, error)
    noisy = theta + error[there][:, None] * rng.standard_normal(theta.shape)
    below = (noisy < reference[there][:, None]).mean(axis=1)
    # A row with much weight is below, or not, for draws and sums alike; 4 sigma of 2,000 draws.
    np.testing.assert_allclose(ranks[there], below, atol=0.045)
    assert np.isnan(ranks[~there]).all()


def test_ranks_are_even_where_posterior_and_error_are_right(objects):
    """References that are the truth, one draw of each posterior, with their error."""
    found = measure(objects, PRIOR, BOX, 50, seed=9)
    assert found.draws is not None
    there = found.effective > 0
    rng = np.random.default_rng(2)
    draws = found.draws.theta[:, 1].reshape(-1, 50)
    truth = draws[np.arange(len(draws)), rng.integers(0, 50, len(draws))]
    reference = np.full(len(objects), np.nan)
    reference[there] = truth + 0.3 * rng.standard_normal(len(truth))
    of_error = {
        error: reference_ranks(
            objects, PRIOR, BOX, "log_age", reference, np.full(len(objects), error)
        )[there]
        for error in (0.3, 0.02)
    }
    assert stats.kstest(of_error[0.3], "uniform").pvalue > 0.01
    # With a fifteenth of the error they are not.
    assert stats.kstest(of_error[0.02], "uniform").pvalue < 1e-3
    estimates = found.mean[:, 1]
    ranks = np.full(len(objects), np.nan)
    ranks[there] = of_error[0.3]
    covered = Agreement.of(estimates, reference, ranks)
    sd = np.sqrt(0.68 * 0.32 / covered.n)
    assert covered.coverage_68 == pytest.approx(0.68, abs=3 * sd)


def test_mistaken_references(objects):
    n = len(objects)
    with pytest.raises(ValueError, match="expected an error of 0 or more"):
        reference_ranks(objects, PRIOR, BOX, "log_age", np.full(n, 7.0), np.full(n, -0.1))
    with pytest.raises(ValueError, match="expected an error of 0 or more"):
        reference_ranks(objects, PRIOR, BOX, "log_age", np.full(n, 7.0), np.full(n, np.nan))
    with pytest.raises(ValueError, match=r"references have shape \(3,\)"):
        reference_ranks(objects, PRIOR, BOX, "log_age", np.zeros(3))
