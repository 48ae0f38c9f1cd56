"""Posteriors as mixtures: points, coverage and draws agree with what their densities say."""

import numpy as np
import pytest

from starcensus.inference.calibration import ecdf_band
from starcensus.networks.cnn import Grid
from starcensus.networks.cnn.mixture import Mixtures, mixture_outputs
from starcensus.selection.finder.accuracy import judge_accuracy
from starcensus.selection.finder.answers import Mixed
from starcensus.selection.finder.cells import PARAMETERS, cell_log_prior, in_cells
from starcensus.selection.finder.coverage import judge_coverage

GRID = Grid()
LOW, HIGH = (np.array([getattr(a, end) for a in GRID.continuous]) for end in ("low", "high"))


def columns(values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(PARAMETERS, values.T, strict=True))


def some(n: int, seed: int, sharpen: float = 0.0) -> Mixtures:
    outputs = np.random.default_rng(seed).normal(size=(n, mixture_outputs(3)))
    outputs.reshape(n, 3, 15)[..., 5:9] += sharpen
    return Mixtures.of_outputs(outputs, GRID)


def test_right_mixtures_are_accepted_and_those_of_a_wrong_width_are_refused():
    right = some(800, 1)
    true = right.draw(1, np.random.default_rng(2))[:, 0]
    found = judge_coverage(Mixed(right, GRID), columns(true), ecdf_band, seed=3, n_samples=99)
    assert found.accepted
    # The same numbers with components a third as wide.
    wrong = judge_coverage(
        Mixed(some(800, 1, 1.1), GRID), columns(true), ecdf_band, seed=3, n_samples=99
    )
    refused = {name for name, curve in wrong.curves.items() if not curve.accepted_among_all}
    assert refused >= set(PARAMETERS)


def test_points_quantiles_and_shares_are_those_of_draws():
    mixed = Mixed(some(4, 5), GRID, n_samples=4000)
    often = mixed.mixtures.draw(20_000, np.random.default_rng(9))
    np.testing.assert_allclose(mixed.points(), often.mean(axis=1), atol=0.06)
    levels = (0.16, 0.5, 0.84)
    expected = np.moveaxis(np.quantile(often, levels, axis=1), 0, -1)
    np.testing.assert_allclose(mixed.quantiles(levels), expected, atol=0.12)
    assert mixed.age_shares().shape == (4, 20)
    np.testing.assert_allclose(mixed.age_shares().sum(axis=1), 1)
    below = mixed.below(often[:, 0])
    for k, name in enumerate(PARAMETERS):
        exact = (often[:, :, k] < often[:, :1, k]).mean(axis=1)
        np.testing.assert_allclose(below[name], exact, atol=0.05)
    with pytest.raises(ValueError, match="expected one of mean, median"):
        mixed.points("decode")


def test_objects_have_the_same_draws_among_others():
    mixed = Mixed(some(5, 6), GRID)
    part = mixed.take(np.array([3, 1]))
    np.testing.assert_array_equal(part.points("median"), mixed.points("median")[[3, 1]])
    assert len(part) == 2 and mixed.take(np.array([], int)).quantiles((0.5,)).shape == (0, 4, 1)


def test_the_score_is_the_mean_log_density_at_the_truths():
    mixed = Mixed(some(30, 7), GRID)
    true = mixed.mixtures.draw(1, np.random.default_rng(8))[:, 0]
    found = judge_accuracy(mixed, columns(true))
    assert found.log_score == pytest.approx(mixed.mixtures.log_density(true).mean())


def test_cells_at_the_ends_are_folded_back_and_twice_as_dense():
    lattice, rng = {"log_age": 0.05, "a_v": 0.1}, np.random.default_rng(11)
    n = 62_000
    true = np.tile([8.0, 0.0, 4.0, 0.5], (n, 1))
    true[:, 1] = 0.1 * rng.integers(31, size=n)
    moved = in_cells(true, lattice, rng, GRID)
    assert (moved >= LOW).all() and (moved <= HIGH).all()
    counts, _ = np.histogram(moved[:, 1], np.array([0.0, 0.05, 0.1, 1.5, 2.9, 2.95, 3.0]))
    density = counts / np.array([0.05, 0.05, 1.4, 1.4, 0.05, 0.05]) / n
    expected = np.exp(cell_log_prior({"a_v": np.array([0.02, 0.07, 1.0, 2.0, 2.92, 2.97])},
                                     {"a_v": 0.1}, GRID))  # fmt: skip
    np.testing.assert_allclose(density * 3.1, expected, rtol=0.1)
    with pytest.raises(ValueError, match="expected one of"):
        in_cells(true, {"mass": 0.1}, rng)
