"""Predicted catalogues against catalogues that are drawn, measured and selected by brute force."""

import jax
import numpy as np
import pytest
import scipy.stats

from starcensus.forward import Population, selection_grid
from starcensus.forward.mock import Mock, mock_catalogue
from starcensus.inference import BinSettings, PublishedValues
from starcensus.inference.predictive import AXES, bin_edges, binned, predict
from starcensus.selection import MagnitudeLimit, complete

REPEATS = 200
SIGMA = (0.1, 0.1, 0.1)
FALSE_ALARM = 1e-3


def errors_of(mock: Mock) -> np.ndarray:
    return PublishedValues(mock.catalogue).points().errors


@pytest.fixture(scope="module")
def population(simple_population: Population) -> Population:
    return simple_population.with_values({"log_n": np.asarray(3.3)})


@pytest.mark.parametrize("acts_on", ["data", "truth"])
def test_counts_equal_brute_force(population, survey, acts_on):
    """Mean counts per bin, chi² at a false-alarm rate of 1e-3 per axis."""
    selection, sigma = survey, None
    if acts_on == "truth":
        selection = MagnitudeLimit.default(
            "F555W", limit_mag=23.0, width_mag=0.2, acts_on="truth", outside="zero"
        )
        sigma = SIGMA
    settings = BinSettings()
    edges = bin_edges(population, settings)
    brute: dict[str, list[np.ndarray]] = {axis: [] for axis in AXES}
    size = []
    keys = jax.random.split(jax.random.key(17), REPEATS)
    mocks = [mock_catalogue(key, population, selection, sigma) for key in keys]
    for mock in mocks:
        size.append(len(mock.catalogue))
        for axis, count in binned(mock.catalogue.theta, edges).items():
            brute[axis].append(count)
    grid = selection_grid(selection, population)
    same = {k: np.broadcast_to(v, (REPEATS, *np.shape(v))) for k, v in population.values().items()}
    got = predict(population, same, grid, selection, errors_of(mocks[-1]), 23, settings)
    for axis in AXES:
        a, b = np.asarray(brute[axis], float), got.counts[axis].astype(float)
        used = (a.mean(axis=0) > 0.05) & (b.mean(axis=0) > 0.05)
        difference = (a.mean(axis=0) - b.mean(axis=0))[used]
        variance = ((a.var(axis=0) + b.var(axis=0)) / REPEATS)[used]
        chi2 = float(np.sum(difference**2 / variance))
        p = scipy.stats.chi2(used.sum()).sf(chi2)
        assert p > FALSE_ALARM, (axis, chi2, int(used.sum()))
    z = (np.mean(size) - got.n_catalogued.mean()) / np.sqrt(2 * np.mean(size) / REPEATS)
    assert abs(z) < 4


def test_densities_integrate_to_the_counts(population, survey):
    grid = selection_grid(survey, population)
    one = {k: np.asarray(v)[None] for k, v in population.values().items()}
    mock = mock_catalogue(jax.random.key(0), population, survey)
    got = predict(population, one, grid, survey, errors_of(mock), 0)
    rules = (grid.mass_rule, grid.age_rule, grid.a_v_rule)
    for axis, rule in zip(AXES, rules, strict=True):
        total = float((got.density[axis][0] * rule.weights).sum())
        assert total == pytest.approx(10.0 ** float(population.log_n), rel=1e-6)
        seen = float((got.detected[axis][0] * rule.weights).sum())
        assert seen == pytest.approx(
            10.0 ** float(population.log_n) * float(grid.detected_fraction(population)), rel=1e-9
        )


def test_bins_cover_the_bounds_and_keep_every_cluster(population):
    edges = bin_edges(population, BinSettings(0.5, 1.0, 5.0))
    assert edges["log_mass"][0] == 3.5 and edges["log_mass"][-1] == 6.5
    assert [len(edges[axis]) - 1 for axis in AXES] == [6, 2, 1]
    theta = np.array([[2.0, 7.0, 0.5], [9.0, 5.0, -1.0]])
    counts = binned(theta, edges)
    assert all(c.sum() == 2 for c in counts.values())
    assert counts["log_mass"][0] == counts["log_mass"][-1] == 1


def test_a_prediction_may_be_empty(population):
    selection = complete(population.box, acts_on="truth")
    grid = selection_grid(selection, population)
    few = {k: np.asarray(v)[None] for k, v in population.values().items()}
    few["log_n"] = np.array([-9.0])
    mock = mock_catalogue(jax.random.key(0), population, selection, SIGMA)
    got = predict(population, few, grid, selection, errors_of(mock), 0)
    assert got.n_catalogued.tolist() == [0]
    assert all(got.counts[axis].sum() == 0 for axis in AXES)
