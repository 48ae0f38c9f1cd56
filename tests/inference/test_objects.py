"""Catalogue rows as weighted samples: two-piece normals, truncated, low-discrepancy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from jax.flatten_util import ravel_pytree

from starcensus.forward import (
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    Schechter,
    Separable,
    selection_grid,
)
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import (
    ErrorSettings,
    ObjectSamples,
    log_likelihood,
    log_object_terms,
    object_samples,
)
from starcensus.inference.objects import in_bounds
from starcensus.selection import Box
from starcensus.selection.catalogue import Catalogue, CatalogueError

WIDE = Box((0.0, 10.0), (2.0, 14.0), (-10.0, 10.0))
BEST = np.array([[4.0, 7.0, 1.0], [5.0, 8.0, 2.0]])
LOWER = np.array([[0.1, 0.4, 0.2], [0.3, 0.2, 0.5]])
UPPER = np.array([[0.3, 0.2, 0.2], [0.15, 0.6, 0.1]])
MANY = ErrorSettings(n_samples=4096)


def catalogue(
    best: np.ndarray = BEST, lower: np.ndarray = LOWER, upper: np.ndarray = UPPER
) -> Catalogue:
    ids = np.array([f"c{i}" for i in range(len(best))])
    return Catalogue("some.ecsv", ids, best, best - lower, best + upper)


def theta_of(cat: Catalogue, settings: ErrorSettings) -> np.ndarray:
    """Samples in generous bounds, shape (n, s, 3)."""
    return np.moveaxis(np.asarray(object_samples(cat, WIDE, settings, pad=False).theta), 0, -1)


@pytest.mark.parametrize("p", [0.025, 0.16, 0.5, 0.84, 0.975])
def test_quantiles_of_the_two_piece_normal(p):
    """Against the quantiles of SciPy's normal on either side of the mode."""
    samples = theta_of(catalogue(), MANY)
    share_below = LOWER / (LOWER + UPPER)
    below = BEST + LOWER * scipy.stats.norm.ppf(np.minimum(p / share_below, 1.0) / 2)
    above = BEST + UPPER * scipy.stats.norm.isf(np.clip((1 - p) / (1 - share_below), 0.0, 1.0) / 2)
    expected = np.where(p < share_below, below, above)
    np.testing.assert_allclose(
        np.quantile(samples, p, axis=1), expected, rtol=0, atol=0.01 * (LOWER + UPPER).max()
    )


def test_mode_is_the_best_value_and_limits_are_where_they_were():
    """The density is highest at `best` and falls by exp(−1/2) at both limits."""
    samples = theta_of(catalogue(), MANY)
    for row in range(2):
        for axis in range(3):
            best, low, high = (x[row, axis] for x in (BEST, LOWER, UPPER))
            x = samples[row, :, axis]
            assert np.mean(x < best) == pytest.approx(low / (low + high), abs=2e-3)
            for side, scale in ((-1, low), (1, high)):
                distance = side * (x - best) / scale
                one_side = distance[distance > 0]
                ks = scipy.stats.kstest(one_side, scipy.stats.halfnorm.cdf).statistic
                assert ks < 0.005


def test_axes_are_independent():
    samples = theta_of(catalogue(), MANY)
    for row in samples:
        assert np.abs(np.corrcoef(row.T) - np.eye(3)).max() < 0.02


def test_truncation_to_the_bounds():
    box = Box((3.95, 4.2), (6.9, 7.05), (1.1, 1.4))
    samples = object_samples(catalogue(BEST[:1], LOWER[:1], UPPER[:1]), box, MANY, pad=False)
    x = np.moveaxis(np.asarray(samples.theta), 0, -1)[0]
    low, high = np.array([box.log_mass, box.log_age, box.a_v]).T
    assert (x >= low).all() and (x <= high).all()
    # The third axis sees only the upper side of its mode, at 1.0.
    truth = scipy.stats.truncnorm(0.5, 2.0, loc=1.0, scale=0.2)
    assert scipy.stats.kstest(x[:, 2], truth.cdf).statistic < 0.005
    assert np.exp(samples.log_weight).sum() == pytest.approx(1.0)


def test_rows_beyond_the_bounds_are_skipped_and_counted():
    box = Box((3.0, 4.0), (6.0, 9.0), (0.0, 3.0))
    kept = in_bounds(catalogue(), box, ErrorSettings())
    assert list(kept.ids) == ["c0"]
    step = kept.steps[-1]
    assert (step.n_before, step.n_after) == (2, 1)
    assert "bounds" in step.reason
    # Just outside, but within its errors, a row stays.
    near = Box((3.0, 4.9), (6.0, 9.0), (0.0, 3.0))
    assert len(in_bounds(catalogue(), near, ErrorSettings())) == 2
    assert len(in_bounds(catalogue(), near, ErrorSettings(mode="none"))) == 1


@pytest.mark.parametrize("lower", [0.0, 1e-12])
def test_degenerate_limits_get_the_floor(lower):
    """best = low = high is the grid of the SED fit, never a measurement without error."""
    none = np.full((2, 3), lower)
    settings = ErrorSettings(floor=(0.1, 0.2, 0.3), n_samples=4096)
    samples = theta_of(catalogue(BEST, none, none), settings)
    np.testing.assert_allclose(samples.std(axis=1), [[0.1, 0.2, 0.3]] * 2, rtol=0.01)
    one_sided = theta_of(catalogue(BEST, none, UPPER), settings)
    assert (one_sided.std(axis=1) > 0.05).all()


def test_floor_leaves_larger_errors_alone():
    a = object_samples(catalogue(), WIDE, ErrorSettings(floor=(0.01, 0.01, 0.01)))
    b = object_samples(catalogue(), WIDE, ErrorSettings(floor=(0.05, 0.05, 0.05)))
    np.testing.assert_array_equal(a.theta, b.theta)


def test_missing_limits_refuse_or_get_the_floor():
    cat = catalogue()
    low = cat.theta_low.copy()
    low[1, 2] = np.nan
    cat = dataclasses.replace(
        cat, theta_low=low, theta_high=np.where(np.isnan(low), low, cat.theta_high)
    )
    with pytest.raises(CatalogueError, match=r"some\.ecsv: 1 clusters have no 68% limits.*c1.*a_v"):
        object_samples(cat, WIDE)
    settings = ErrorSettings(missing="floor", n_samples=4096)
    samples = theta_of(cat, settings)[1, :, 2]
    assert samples.std() == pytest.approx(0.05, rel=0.01)


def test_mode_none_takes_best_values_as_exact():
    samples = object_samples(catalogue(), WIDE, ErrorSettings(mode="none"), pad=False)
    np.testing.assert_array_equal(samples.theta, BEST.T[:, :, None])
    np.testing.assert_array_equal(samples.log_weight, 0.0)
    without_limits = dataclasses.replace(catalogue(), theta_low=np.full((2, 3), np.nan))
    object_samples(without_limits, WIDE, ErrorSettings(mode="none"))


def test_rows_without_estimates_are_refused():
    best = BEST.copy()
    best[0] = np.nan
    for mode in ("published", "none"):
        settings = ErrorSettings(mode="none" if mode == "none" else "published", missing="floor")
        for act in (
            lambda s: object_samples(catalogue(best), WIDE, s),
            lambda s: in_bounds(catalogue(best), WIDE, s),
        ):
            with pytest.raises(CatalogueError, match="1 of 2 rows have no estimate"):
                act(settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"floor": (0.0, 0.1, 0.1)}, "expected positive errors"),
        ({"n_samples": 48}, "expected a power of two"),
        ({"n_samples": 0}, "expected a power of two"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ErrorSettings(**settings)


def test_seed_decides_the_samples():
    first, same = (object_samples(catalogue(), WIDE, ErrorSettings(seed=4)) for _ in range(2))
    other = object_samples(catalogue(), WIDE, ErrorSettings(seed=5))
    np.testing.assert_array_equal(first.theta, same.theta)
    assert (first.theta != other.theta).any()


def test_default_sample_size_moves_no_parameter(survey):
    """32 samples per object against 4096: a Newton step of less than 0.1 posterior sd."""
    population = Population(
        Separable(Schechter((3.0, 6.5), -2.0, 5.0), MassIndependentDisruption((6.0, 9.0))),
        NodesExtinction((0.0, 0.5, 1.0, 2.0), np.array([0.3, 0.4, 0.2, 0.1])),
        4.1,
    )
    mock = mock_catalogue(jax.random.key(2), population, survey)
    assert 700 < len(mock.catalogue) < 1500
    grid = selection_grid(survey, population)
    # The simplex is opened by its first three shares.
    values = population.values()
    flat, unravel = ravel_pytree({**values, "p_av": values["p_av"][:3]})

    def at(x: jax.Array) -> Population:
        v = unravel(x)
        shares = jnp.concatenate([v["p_av"], 1 - v["p_av"].sum(keepdims=True)])
        return population.with_values({**v, "p_av": shares})

    def samples(n_samples: int) -> ObjectSamples:
        settings = ErrorSettings(n_samples=n_samples)
        kept = in_bounds(mock.catalogue, population.box, settings)
        return object_samples(kept, population.box, settings)

    few, many = samples(32), samples(4096)
    scores = [
        jax.jit(jax.grad(lambda x, o=o: log_likelihood(at(x), o, grid)))(flat) for o in (few, many)
    ]
    # Fisher information of a Poisson process: Σ_i of the outer products of ∇ ln λ_i.
    each = jax.jit(
        jax.jacfwd(lambda x: log_object_terms(at(x), few) + jnp.log(10.0) * at(x).log_n)
    )(flat)[few.mask]
    covariance = np.linalg.inv(np.asarray(each).T @ np.asarray(each))
    shift = covariance @ np.asarray(scores[0] - scores[1])
    in_sigma = np.abs(shift) / np.sqrt(np.diag(covariance))
    assert in_sigma.max() < 0.1, in_sigma
