"""Bridge and nested sampling of evidences that are known in closed form."""

import numpy as np
import pytest
from tests.inference.evidence.closed_forms import CASES, MODES, bimodal, gaussian

from starcensus.inference.evidence import (
    BridgeSettings,
    EvidenceError,
    Mixture,
    NestedSettings,
    bridge,
    nested,
)

# Errors are standard errors: more than four of them off is a fault, but for 1 in 16,000.
FACTOR = 4.0


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow if n.startswith("ten") else ()) for n in CASES],
)
def test_both_methods_find_the_evidence(name):
    case = CASES[name]()
    draws = case.draw(np.random.default_rng(1))
    by_bridge = bridge(lambda x: np.add(*case.target.at(x)), draws)
    near = Mixture.best(draws.reshape(-1, case.target.n), 4, np.random.default_rng(2))
    by_nested = nested(case.target, NestedSettings(n_live=400, seed=3), near)
    assert abs(by_bridge.ln_z - case.ln_z) < FACTOR * by_bridge.error + 1e-6
    assert by_bridge.error < 0.02
    assert abs(by_nested.ln_z - case.ln_z) < FACTOR * by_nested.error
    assert by_nested.error < 0.1
    assert abs(by_nested.ln_z - by_bridge.ln_z) < 0.3
    assert by_nested.remaining < 0.01 and by_nested.insertion < 2.5


@pytest.mark.parametrize("name", ["gamma and Poisson", "truncated normal"])
def test_nested_sampling_from_the_prior_alone(name):
    case = CASES[name]()
    found = nested(case.target, NestedSettings(n_live=500, seed=5))
    assert abs(found.ln_z - case.ln_z) < FACTOR * found.error < 0.6
    mean = np.average(found.x[:, 0], weights=np.exp(found.log_weight))
    drawn = case.draw(np.random.default_rng(1))
    assert abs(mean - drawn.mean()) < 0.3 * drawn.std()


def test_nested_sampling_sees_a_mode_that_the_draws_have_missed():
    """What it begins from knows one mode of two; the prior's share of it finds the other."""
    case = bimodal()
    draws = case.draw(np.random.default_rng(1))
    one = draws[draws[..., 0] < 0][:1200].reshape(4, -1, 2)
    by_bridge = bridge(lambda x: np.add(*case.target.at(x)), one)
    assert abs(by_bridge.ln_z - (case.ln_z + np.log(MODES[0][1]))) < 0.02
    near = Mixture.fit(one.reshape(-1, 2), 1, np.random.default_rng(2))
    found = nested(case.target, NestedSettings(n_live=400, seed=3), near)
    assert abs(found.ln_z - case.ln_z) < FACTOR * found.error < 0.4
    assert by_bridge.ln_z < found.ln_z - 0.2


def test_errors_of_bridges_are_what_they_say():
    case = gaussian(3, 0.5)

    def density(x: np.ndarray) -> np.ndarray:
        return np.add(*case.target.at(x))

    z = []
    for seed in range(40):
        draws = case.draw(np.random.default_rng([seed, 9]))
        found = bridge(density, draws, BridgeSettings(max_parts=1, seed=seed))
        z.append((found.ln_z - case.ln_z) / found.error)
    # A standard deviation of 40 has an error of 11%; the formula may be a little careful.
    assert 0.6 < np.std(z) < 1.4 and abs(np.mean(z)) < 0.6


def test_errors_of_dependent_draws_are_larger():
    """An autoregressive chain of correlation 0.95 stands for a fortieth of its draws."""
    rng, n = np.random.default_rng(4), 2000
    chains = np.zeros((4, n, 1))
    chains[:, 0] = rng.normal(size=(4, 1))
    for i in range(1, n):
        chains[:, i] = 0.95 * chains[:, i - 1] + np.sqrt(1 - 0.95**2) * rng.normal(size=(4, 1))

    def density(x: np.ndarray) -> np.ndarray:
        return -0.5 * (x**2).sum(axis=1) - 0.25 * x[:, 0] ** 4

    weight = rng.uniform(size=chains.shape[:2]) < np.exp(-0.25 * chains[..., 0] ** 4)
    least = weight.sum(axis=1).min()
    kept = np.stack([c[w][:least] for c, w in zip(chains, weight, strict=True)])
    dependent = bridge(density, kept)
    shuffled = rng.permutation(kept.reshape(-1, 1)).reshape(kept.shape)
    assert dependent.error > 1.3 * bridge(density, shuffled).error


def test_few_draws_and_halves_that_disagree_are_refused():
    rng = np.random.default_rng(1)

    def density(x: np.ndarray) -> np.ndarray:
        return -0.5 * (x**2).sum(axis=1)

    with pytest.raises(EvidenceError, match=r"effective draws, fewer than 100.*n_samples"):
        bridge(density, rng.normal(size=(2, 40, 2)))
    drifting = rng.normal(size=(4, 400, 1)) + np.repeat([-1.0, 2.0], 200)[None, :, None]
    with pytest.raises(EvidenceError, match=r"have not converged: R-hat is .* above 1\.05"):
        bridge(density, drifting)
    widening = rng.normal(size=(4, 400, 1)) * np.repeat([0.4, 1.5], 200)[None, :, None]
    with pytest.raises(EvidenceError, match="two halves of the draws give"):
        bridge(
            lambda x: (-0.5 * x**2 - 0.25 * x**4).sum(axis=1),
            widening,
            BridgeSettings(max_r_hat=10.0),
        )
    with pytest.raises(EvidenceError, match="density is 0 or no number at 1600"):
        bridge(lambda x: np.full(len(x), -np.inf), rng.normal(size=(4, 400, 1)))
    with pytest.raises(EvidenceError, match="more than 1e-05"):
        bridge(
            lambda x: -0.25 * (x**4).sum(axis=1) - 0.5 * (x**2).sum(axis=1),
            rng.normal(size=(4, 400, 1)),
            BridgeSettings(max_error=1e-5, max_disagreement=1e9),
        )


def test_unfinished_and_uncertain_runs_are_refused():
    target = gaussian(2, 0.5).target
    with pytest.raises(EvidenceError, match=r"not finished after 10 steps.*max_steps"):
        nested(target, NestedSettings(n_live=400, max_steps=10))
    with pytest.raises(EvidenceError, match=r"error of .* more than 0.001.*n_live"):
        nested(target, NestedSettings(max_error=0.001))


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_live": 10},
        {"n_replaced": 200},
        {"prior_share": 0.0},
        {"max_remaining": 1.5},
        {"max_error": 0.0},
        {"seed": -1},
    ],
)
def test_nested_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        NestedSettings(**wrong)


@pytest.mark.parametrize(
    "wrong", [{"max_parts": 0}, {"max_error": 0.0}, {"min_effective": -1.0}, {"seed": -1}]
)
def test_bridge_settings_are_checked(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BridgeSettings(**wrong)
