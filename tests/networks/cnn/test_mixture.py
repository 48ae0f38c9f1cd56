"""Mixtures: equal to SciPy's Gaussians, one in all, and drawn as their densities say."""

import numpy as np
import pytest
from scipy.stats import kstest, multivariate_normal, norm

from starcensus.networks.cnn.mixture import Mixtures, mixture_outputs
from starcensus.networks.cnn.targets import Grid

GRID = Grid()
LOW, HIGH = (np.array([getattr(a, end) for a in GRID.continuous]) for end in ("low", "high"))


def logits(theta: np.ndarray) -> np.ndarray:
    return np.log((theta - LOW) / (HIGH - theta))


def gaussians(row: np.ndarray) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Weight, mean and covariance of the components of one object's outputs, by their words."""
    parts = row.reshape(-1, 15)
    weights = np.exp(parts[:, 0]) / np.exp(parts[:, 0]).sum()
    made = []
    for weight, numbers in zip(weights, parts, strict=True):
        u = np.eye(4)
        u[np.tril_indices(4, -1)] = numbers[9:]
        root = np.diag(np.exp(1.25 + 2.75 * np.tanh(numbers[5:9] / 2.75))) @ u
        cov = np.linalg.inv(root.T @ root)
        made.append((float(weight), numbers[1:5], (cov + cov.T) / 2))
    return made


def test_a_mixture_is_that_of_its_gaussians():
    rng = np.random.default_rng(3)
    outputs = rng.normal(size=(6, mixture_outputs(3)))
    theta = rng.uniform(LOW, HIGH, (6, 4))
    found = Mixtures.of_outputs(outputs, GRID).log_density(theta)
    step = 1e-6 * (HIGH - LOW)
    for row, at, value in zip(outputs, theta, found, strict=True):
        slopes = (logits(at + step) - logits(at - step)) / (2 * step)
        density = sum(w * multivariate_normal(m, c).pdf(logits(at)) for w, m, c in gaussians(row))
        assert value == pytest.approx(np.log(density * slopes.prod()), rel=1e-6)


def test_draws_are_inside_their_ranges_and_spread_as_the_density_says():
    rng = np.random.default_rng(4)
    outputs = rng.normal(size=(3, mixture_outputs(2)))
    drawn = Mixtures.of_outputs(outputs, GRID).draw(4000, np.random.default_rng(5))
    assert (drawn >= LOW).all() and (drawn <= HIGH).all()
    for row, some in zip(outputs, drawn, strict=True):
        parts = gaussians(row)
        # Each coordinate, and one direction in which correlations count.
        for direction in (*np.eye(4), np.array([1.0, -2.0, 0.5, 1.0])):

            def below(x: np.ndarray, parts=parts, d=direction) -> np.ndarray:
                return np.sum(
                    [w * norm(m @ d, np.sqrt(d @ c @ d)).cdf(x) for w, m, c in parts], axis=0
                )

            assert kstest(logits(some) @ direction, below).pvalue > 1e-3


def test_a_blend_is_the_weighted_sum_of_its_densities():
    rng = np.random.default_rng(6)
    windows = Mixtures.of_outputs(rng.normal(size=(6, mixture_outputs(2))), GRID)
    weight = np.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])
    theta = rng.uniform(LOW, HIGH, (2, 4))
    each = np.exp(windows.log_density(np.repeat(theta, 3, axis=0))).reshape(2, 3)
    blend = windows.blended(weight)
    np.testing.assert_allclose(np.exp(blend.log_density(theta)), (weight * each).sum(1))
    assert len(blend) == 2 and np.isfinite(blend.draw(50, rng)).all()


def test_ends_and_wild_outputs_stay_finite():
    wild = Mixtures.of_outputs(1e3 * np.random.default_rng(7).normal(size=(4, 30)), GRID)
    assert np.isfinite(wild.log_density(np.array([LOW, HIGH, LOW - 1, HIGH + 1]))).all()
    assert np.isfinite(wild.draw(20, np.random.default_rng(8))).all()
