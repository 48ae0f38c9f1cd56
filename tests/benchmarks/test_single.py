"""How posteriors of single clusters are compared, where both are known Gaussians."""

import numpy as np
import pytest
from benchmarks.single import Weighted, compare

N, POINTS = 100, 2000
SD = np.array([0.1, 0.2, 0.3])


@pytest.fixture(scope="module")
def known():
    """Truths around what is measured, and means of the posteriors."""
    rng = np.random.default_rng(1)
    means = rng.normal(0.0, 1.0, (N, 3))
    return means, means + SD * rng.standard_normal((N, 3))


def weighted(means, sd, seed, evidence=1.0, n_drawn=POINTS):
    """Even points in boxes of eight standard deviations, with the weights of Gaussians."""
    rng = np.random.default_rng(seed)
    z = rng.uniform(-4, 4, (N, POINTS, 3))
    theta = means[:, None] + z * SD
    weight = evidence * np.exp(-0.5 * ((z * SD / sd) ** 2).sum(axis=2)) / np.prod(sd)
    owner = np.repeat(np.arange(N), POINTS)
    return Weighted(owner, theta.reshape(-1, 3), weight.ravel(), N, n_drawn)


def test_the_same_posteriors_agree(known):
    means, truths = known
    found = compare(weighted(means, SD, 2), weighted(means, SD, 3), truths)
    assert found["n_compared"] == N
    for axis in ("log_mass", "log_age", "a_v"):
        assert abs(found[f"shift_{axis}"][0]) < 4 * found[f"shift_{axis}"][1]
        scatter, expected = found[f"scatter_{axis}"]
        assert scatter == pytest.approx(expected, rel=0.3)
        assert found[f"width_{axis}"] == pytest.approx(1.0, abs=0.03)
        assert found[f"rank_p_drawn_{axis}"] > 1e-3 and found[f"rank_p_emulated_{axis}"] > 1e-3
    assert abs(found["log_evidence"][0]) < 4 * found["log_evidence"][1]


def test_what_differs_is_found(known):
    means, truths = known
    wrong = weighted(means + np.array([0.05, 0.0, 0.0]), SD * [1.0, 1.5, 1.0], 3, 1.2, 2 * POINTS)
    found = compare(weighted(means, SD, 2), wrong, truths)
    assert found["shift_log_mass"][0] == pytest.approx(0.5, abs=4 * found["shift_log_mass"][1])
    assert found["width_log_age"] == pytest.approx(1.5, abs=0.05)
    assert found["width_a_v"] == pytest.approx(1.0, abs=0.03)
    assert found["rank_p_emulated_log_mass"] < 0.01 and found["rank_p_emulated_log_age"] < 0.05
    # A fifth more in each, of twice as many that were drawn.
    assert found["log_evidence"][0] == pytest.approx(np.log(0.6), abs=0.02)


def test_few_draws_are_not_compared(known):
    means, truths = known
    full = weighted(means, SD, 2)
    first = full.owner < N - 5
    few = Weighted(full.owner[first], full.theta[first], full.weight[first], N, POINTS)
    assert compare(few, full, truths)["n_compared"] == N - 5
    lone = np.arange(0, len(full.owner), POINTS)
    one = Weighted(full.owner[lone], full.theta[lone], full.weight[lone], N, POINTS)
    assert compare(one, full, truths) == {"n": N, "n_compared": 0}
