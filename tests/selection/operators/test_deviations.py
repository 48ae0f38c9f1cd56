"""Deviations of an operator against the operator itself, moved; and what they are said to be."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import expit

from starcensus.networks import MLP
from starcensus.selection import (
    Box,
    LogitUncertainty,
    MemberSelection,
    NetworkSelection,
    ProductSelection,
    RecordedSelection,
    UncertaintyError,
    complete,
    cubic_terms,
    deviating,
    deviations,
    load_selection,
    n_cubic_terms,
    n_directions,
    radius_distribution,
    save_selection,
    tabulate,
    with_acts_on,
    with_outside,
)
from starcensus.selection.learning import fit_logistic
from starcensus.selection.learning.uncertainty import logit_uncertainty
from starcensus.simulate import FlatRadius

BOX = Box((3.0, 6.0), (6.0, 9.0), (0.0, 2.0))
POINTS = np.array([[3.4, 6.5, 0.2], [4.1, 7.5, 0.5], [4.4, 8.0, 1.0], [5.6, 8.5, 1.7]])
SIZE = 0.6


def networks(shift: float = 0.0, more: int = 0) -> tuple[MLP, ...]:
    """Two networks whose logits differ by 0.5; `shift` is added to both."""
    weight = np.array([[4.0, -1.0, -0.7, *[0.8] * more]])
    return tuple(MLP([weight], [np.array([b + shift])]) for b in (-8.6, -8.1))


def uncertain(shift: float = 0.0, more: int = 0, **options) -> NetworkSelection:
    """The first number adds a constant to the logit, the second a slope along log_age."""
    k = 3 + more
    root = np.zeros((n_cubic_terms(k),) * 2)
    root[0, 0], root[2, 1] = SIZE, 0.3
    mean = np.array([4.0, 7.0, 0.0, *[0.0] * more])
    known = LogitUncertainty(mean, np.ones(k), root)
    return NetworkSelection(networks(shift, more), BOX, uncertainty=known, **options)


def _wrapped(of: NetworkSelection) -> dict:
    zero = with_outside(of, "zero")
    limits = RecordedSelection(
        complete(Box((3.5, 6.0), (6.0, 8.5), (0.0, 2.0))), (0.1, 0.2, 0.1), BOX
    )
    return {
        "bare": of,
        "recorded": RecordedSelection(zero, (0.15, 0.1, 0.2), BOX),
        "product": ProductSelection(of, limits, BOX),
        "mixed": ProductSelection(with_acts_on(of, "truth"), limits, BOX),
    }


@pytest.mark.parametrize("kind", ["bare", "recorded", "product", "mixed"])
def test_a_deviation_is_how_the_operator_moves(kind):
    """A constant in the logit is a bias of the last layer, whatever stands around the network."""
    h = 1e-3
    with jax.enable_x64(True):
        up, down = (
            np.asarray(_wrapped(uncertain(sign * h * SIZE))[kind].p_sel(*POINTS.T))
            for sign in (1, -1)
        )
        members = np.asarray(deviating(_wrapped(uncertain())[kind]).members(*POINTS.T))
        found = deviations(members)[0]
        np.testing.assert_allclose(
            members[0], np.asarray(_wrapped(uncertain())[kind].p_sel(*POINTS.T)), atol=1e-12
        )
        moved = (np.log(up / (1 - up)) - np.log(down / (1 - down))) / (2 * h)
        np.testing.assert_allclose(found, moved, rtol=1e-4, atol=1e-6)
        grid = np.array([3.6, 4.4]), np.array([6.5, 8.0]), np.array([0.3, 1.0])
        mesh = np.stack(np.meshgrid(*grid, indexing="ij"), -1).reshape(-1, 3)
        on_grid = deviations(
            np.asarray(deviating(_wrapped(uncertain())[kind]).on_tensor_grid(*grid))
        )
        at = deviations(np.asarray(deviating(_wrapped(uncertain())[kind]).members(*mesh.T)))
        np.testing.assert_allclose(on_grid.reshape(len(at), -1), at, rtol=2e-3, atol=1e-3)


def test_radii_are_averaged_over_after_the_deviation():
    """Of a radius that nobody knows the deviation of each counts by how open its outcome is."""
    nuisance = radius_distribution(FlatRadius(1.0, 4.0, whole=True), (1.0, 4.0))
    at = np.log10([1.0, 2.0, 3.0, 4.0])
    x = POINTS[1]
    with jax.enable_x64(True):
        selection = uncertain(more=1, nuisance=nuisance)
        found = deviations(np.asarray(deviating(selection).members(*x[:, None])))
        logit = 4.0 * x[0] - x[1] - 0.7 * x[2] + 0.8 * at
        p = np.mean([expit(logit + b) for b in (-8.6, -8.1)], axis=0)
        slope = np.mean([expit(logit + b) * expit(-logit - b) for b in (-8.6, -8.1)], axis=0)
        spread = p.mean() * (1 - p.mean())
        assert found[0, 0] == pytest.approx(SIZE * slope.mean() / spread, rel=1e-6)
        assert found[1, 0] == pytest.approx(0.3 * (x[1] - 7.0) * slope.mean() / spread, rel=1e-6)


def test_its_size_is_that_of_refits_to_other_outcomes():
    """Logistic regressions of the same rows with outcomes drawn anew scatter as it says, with
    weights too."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, (3000, 1))
    p = expit(0.3 + 2.5 * x[:, 0])
    for weight in (np.ones(3000), np.where(x[:, 0] > 0, 3.0, 0.5)):
        known = logit_uncertainty(x, p, weight)
        terms = np.asarray(cubic_terms(jnp.asarray((x - known.mean) / known.scale)), float)
        fits = [fit_logistic(terms, rng.random(3000) < p, weight) for _ in range(150)]
        at = np.linspace(-0.9, 0.9, 7)[:, None]
        rows = np.asarray(cubic_terms(jnp.asarray((at - known.mean) / known.scale)), float)
        stated = np.sqrt((np.asarray(known.directions(jnp.asarray(at))) ** 2).sum(axis=1))
        np.testing.assert_allclose((rows @ np.array(fits).T).std(axis=1), stated, rtol=0.25)


def test_the_terms_are_those_of_a_cubic():
    u = np.random.default_rng(0).normal(size=(50, 3))
    terms = np.asarray(cubic_terms(jnp.asarray(u)))
    assert terms.shape == (50, n_cubic_terms(3)) == (50, 20)
    cubic = (1 + u @ [0.3, -0.2, 0.5]) ** 3
    assert np.abs(terms @ np.linalg.lstsq(terms, cubic)[0] - cubic).max() < 1e-4


def test_a_file_keeps_it(tmp_path):
    save_selection(uncertain(), tmp_path / "o.h5")
    again = load_selection(tmp_path / "o.h5")
    assert isinstance(again, NetworkSelection) and again.uncertainty is not None
    known = uncertain().uncertainty
    assert known is not None
    np.testing.assert_array_equal(again.uncertainty.root, known.root)
    assert n_directions(again) == 20
    save_selection(dataclasses.replace(uncertain(), uncertainty=None), tmp_path / "old.h5")
    assert n_directions(load_selection(tmp_path / "old.h5")) == 0


def test_what_does_not_deviate_says_so():
    grid = tabulate(complete(BOX), np.array([3.0, 6.0]), np.array([6.0, 9.0]), np.array([0.0, 2.0]))
    two = dataclasses.replace(grid, logit=np.concatenate([np.asarray(grid.logit)] * 2))
    for selection, message in (
        (complete(BOX), r"CompleteSelection\) carries no uncertainty"),
        (ProductSelection(uncertain(), uncertain()), "2 stages of the operator carry"),
        (MemberSelection(uncertain(), 1), "its member 1 alone"),
        (ProductSelection(uncertain(), two), "an ensemble of 2 beside"),
    ):
        with pytest.raises(UncertaintyError, match=message):
            deviating(selection)
    with pytest.raises(ValueError, match="one of 4 inputs; expected 3"):
        known = LogitUncertainty(np.zeros(4), np.ones(4), np.eye(n_cubic_terms(4)))
        dataclasses.replace(uncertain(), uncertainty=known)
    with pytest.raises(ValueError, match=r"root \(3, 3\); expected \(3,\) and \(20, 20\)"):
        LogitUncertainty(np.zeros(3), np.ones(3), np.eye(3))
