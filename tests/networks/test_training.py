"""Training: probabilities that are right, on problems whose answer is known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm

from starcensus.networks import TrainSettings, search_grid, train_ensemble
from starcensus.networks.training import C4_DECAYS, C4_RATES, stratified_split

SMALL = TrainSettings(widths=(32, 32), n_members=2, epochs=40, batch_size=512, max_rate=1e-2)


def problem(n: int, shift: float = 0.0, seed: int = 0):
    """Features, the true probability of each row, and labels drawn from it."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-2, 2, (n, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, 5.0]
    z = (x - [0.0, 100.0, 5.0]) / [1.0, 10.0, 0.1]
    p = expit(2 * z[:, 0] - z[:, 1] ** 2 + z[:, 0] * z[:, 2] + shift)
    return x, p, rng.random(n) < p


def mean_p(networks, x: np.ndarray) -> np.ndarray:
    return np.mean(
        [expit(np.asarray(network(jnp.asarray(x, jnp.float32)))) for network in networks], 0
    )


def entropy(p: np.ndarray) -> float:
    return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).mean())


@pytest.fixture(scope="module")
def trained():
    x, p, label = problem(20_000)
    return train_ensemble(x, label, SMALL), x, p, label


def test_probabilities_are_those_that_made_the_labels(trained):
    result, x, p, _ = trained
    found = mean_p(result.networks, x[result.held_out])
    assert np.abs(found - p[result.held_out]).mean() < 0.02
    # Kullback-Leibler divergence from the truth, nats.
    truth = p[result.held_out]
    extra = -(truth * np.log(found) + (1 - truth) * np.log1p(-found)).mean() - entropy(truth)
    assert 0 <= extra < 3e-3


def test_shuffled_labels_teach_nothing_but_their_mean(trained):
    _, x, _, label = trained
    scrambled = np.random.default_rng(1).permutation(label)
    one = dataclasses.replace(SMALL, n_members=1, epochs=5)
    found = mean_p(train_ensemble(x, scrambled, one).networks, x)
    assert np.abs(found - label.mean()).mean() < 0.04


def test_rare_labels_keep_their_frequency():
    x, p, label = problem(20_000, shift=-5.0)
    one = dataclasses.replace(SMALL, n_members=1)
    found = mean_p(train_ensemble(x, label, one).networks, x)
    assert p.mean() < 0.04
    assert found.mean() == pytest.approx(p.mean(), rel=0.15)


def test_members_differ_and_a_seed_repeats_them(trained):
    _, x, _, label = trained
    few = dataclasses.replace(SMALL, epochs=1)
    one, two = (train_ensemble(x, label, few) for _ in range(2))
    a, b = (np.asarray(result.networks[0].weights[0]) for result in (one, two))
    np.testing.assert_array_equal(a, b)
    assert (a != np.asarray(one.networks[1].weights[0])).any()
    np.testing.assert_array_equal(one.held_out, two.held_out)


def test_the_split_is_stratified_and_without_overlap():
    label = np.arange(1000) % 10 == 0
    rows, held_out = stratified_split(label, 0.2, seed=3)
    assert len(held_out) == 200 and label[held_out].sum() == 20
    assert not np.intersect1d(rows, held_out).size and len(rows) == 800


def test_rows_of_weight_zero_are_not_learned_from(trained):
    _, x, p, label = trained
    wrong = np.arange(len(x)) % 2 == 0
    corrupted = np.where(wrong, True, label)
    one = dataclasses.replace(SMALL, n_members=1)
    kept = train_ensemble(x, corrupted, one, weight=np.where(wrong, 0.0, 1.0))
    assert np.abs(mean_p(kept.networks, x) - p).mean() < 0.04
    all_rows = train_ensemble(x, corrupted, one)
    assert np.abs(mean_p(all_rows.networks, x) - p).mean() > 0.15


def test_a_hidden_band_is_averaged_over():
    """p(label | second band) is the mean of p over the first, which has a closed form."""
    rng = np.random.default_rng(2)
    n = 40_000
    first = rng.normal(20, 1, n)
    second = first + rng.normal(0, 1, n)
    label = norm.cdf(first - 20) > rng.random(n)
    x = np.column_stack([first, second, np.ones((n, 2))])
    settings = dataclasses.replace(SMALL, n_members=1, dropout=0.4)
    network = train_ensemble(x, label, settings, n_masked=2).networks[0]
    at = np.linspace(18, 22, 9)
    hidden = np.column_stack([np.full(9, float(network.mean[0])), at, np.zeros(9), np.ones(9)])
    # first | second ~ N(20 + (second - 20) / 2, 1/2), and E[Φ(z)] = Φ(mean / (1 + var)^½).
    expected = norm.cdf((at - 20) / 2 / np.sqrt(1.5))
    assert np.abs(mean_p([network], hidden) - expected).max() < 0.05
    both = np.column_stack([at, at, np.ones((9, 2))])
    assert np.abs(mean_p([network], both) - norm.cdf(at - 20)).max() < 0.05


def test_the_grid_search_passes_over_rates_that_diverge(trained):
    _, x, _, label = trained
    few = dataclasses.replace(SMALL, epochs=3)
    best, losses = search_grid(x[:4000], label[:4000], few, rates=(1e-2, 1e30), decays=(1e-3,))
    assert best.max_rate == 1e-2 and np.isfinite(losses[0, 0])
    assert losses[1, 0] == np.inf


def test_the_grid_is_that_of_the_paper():
    """C-4, appendix D; a search without options goes through all of it."""
    assert C4_RATES == (5e-3, 1e-2, 5e-2, 1e-1)
    assert C4_DECAYS == (1e-3, 5e-3, 1e-2, 3e-2, 5e-2, 1e-1)
    x, _, label = problem(200)
    one = TrainSettings(widths=(4,), n_members=1, epochs=1, batch_size=100)
    best, losses = search_grid(x, label, one)
    assert losses.shape == (4, 6)
    i, j = np.unravel_index(np.argmin(losses), losses.shape)
    assert (best.max_rate, best.weight_decay) == (C4_RATES[i], C4_DECAYS[j])


def test_what_cannot_be_trained_on_is_refused(trained):
    _, x, _, label = trained
    broken = x.copy()
    broken[7, 1] = np.nan
    with pytest.raises(ValueError, match="feature 1 of row 7 is nan"):
        train_ensemble(broken, label, SMALL)
    with pytest.raises(ValueError, match="both labels are needed"):
        train_ensemble(x, np.ones(len(x), bool), SMALL)
    with pytest.raises(ValueError, match="widths is"):
        TrainSettings(widths=())
    with pytest.raises(ValueError, match="one number >= 0"):
        train_ensemble(x, label, SMALL, weight=np.full(len(x), -1.0))
