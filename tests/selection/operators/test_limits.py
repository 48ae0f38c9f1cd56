"""The limits of a sample against noise that is drawn, and against closed forms."""

import numpy as np
import pytest
from scipy.stats import norm

from starcensus.selection import RecordedLimits

INF = np.inf


def test_gaussian_errors_against_the_normal_distribution():
    sigma = np.array([[0.1, 0.2, 0.0], [0.3, 0.1, 0.0]])
    operator = RecordedLimits(
        np.array([3.7, -INF, 0.0]), np.array([6.0, 8.3, INF]), lower=sigma, upper=sigma
    )
    mass, age = np.array([3.5, 3.7, 4.1]), np.array([8.2, 8.6, 7.0])
    each = [
        (norm.cdf((6.0 - mass) / s) - norm.cdf((3.7 - mass) / s)) * norm.cdf((8.3 - age) / t)
        for s, t in sigma[:, :2]
    ]
    np.testing.assert_allclose(operator.p_sel(mass, age, 0.5), np.mean(each, axis=0), rtol=1e-9)
    # An error of nothing is a step.
    exact = RecordedLimits(np.array([-INF, -INF, 0.0]), np.full(3, INF), 0 * sigma, 0 * sigma)
    np.testing.assert_array_equal(exact.p_sel(5.0, 7.0, np.array([-0.01, 0.01])), [0.0, 1.0])


def test_two_piece_errors_as_published_values_read_them():
    """A cluster recorded at d with lower and upper errors has p(d|θ) of the two-piece normal."""
    lower, upper, low = 0.1, 0.4, 3.7
    operator = RecordedLimits(
        np.array([low, -INF, -INF]),
        np.full(3, INF),
        lower=np.array([[lower, 0.1, 0.1]]),
        upper=np.array([[upper, 0.1, 0.1]]),
    )
    d = np.linspace(0, 8, 400_001)
    for theta in (3.2, 3.6, 3.75, 4.3):
        # θ above d is on the upper side of what was recorded.
        density = np.exp(-(((theta - d) / np.where(theta > d, upper, lower)) ** 2) / 2)
        truth = density[d >= low].sum() / density.sum()
        assert float(operator.p_sel(theta, 8.0, 0.2)) == pytest.approx(truth, rel=1e-3)


def test_edges_are_the_limits_and_nonsense_is_refused():
    one = np.full((1, 3), 0.1)
    operator = RecordedLimits(np.array([3.7, -INF, -INF]), np.array([INF, 8.3, INF]), one, one)
    assert operator.edges() == ((3.7,), (8.3,), ())
    with pytest.raises(ValueError, match="each low below its high"):
        RecordedLimits(np.array([4.0, 6.0, 0.0]), np.array([3.0, 9.0, 1.0]), one, one)
    with pytest.raises(ValueError, match="negative ones"):
        RecordedLimits(np.zeros(3), np.ones(3), -one, one)
