"""A population's bounds against a sample: what is refused, what passes, and what slopes follow.

Catalogues come from NumPy alone: masses by the inverse of a power law, even log ages, Gaussian
noise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Float

from starcensus.forward import (
    HalfNormal,
    Population,
    PowerLaw,
    PowerLawAge,
    Separable,
    selection_grid,
)
from starcensus.inference import (
    BoundsError,
    ErrorSettings,
    GridPosteriors,
    PosteriorDraws,
    PublishedValues,
    log_likelihood,
)
from starcensus.inference.identity import Rules, grid_of, rules_of
from starcensus.inference.objects import ObjectSamples
from starcensus.selection import AbstractSelection, Box, ProductSelection, RecordedLimits, complete
from starcensus.selection.catalogue import Catalogue, ThetaRange, apply_cuts

ALPHA = -2.0
WHOLE = Box((2.5, 6.5), (6.0, 10.0), (0.0, 3.0))


def drawn(error: float, n: int = 6000, low: float = 2.5, seed: int = 0) -> Catalogue:
    """n clusters between 10^low and 10^6.5 M_sun, all of them catalogued."""
    rng = np.random.default_rng(seed)
    ends = 10 ** (low * (ALPHA + 1)), 10 ** (6.5 * (ALPHA + 1))
    log_mass = np.log10(ends[0] + rng.uniform(size=n) * (ends[1] - ends[0])) / (ALPHA + 1)
    true = np.stack([log_mass, rng.uniform(6.0, 10.0, n), np.abs(rng.normal(0, 0.4, n))], axis=1)
    recorded = true + error * rng.normal(size=true.shape)
    return Catalogue(
        "drawn", np.arange(n).astype(str), recorded, recorded - error, recorded + error
    )


def population(box: Box) -> Population:
    age = PowerLawAge(box.log_age, -1.0)
    return Population(Separable(PowerLaw(box.log_mass), age), HalfNormal(box.a_v, 0.4), 3.0)


def box(low: float) -> Box:
    return Box((low, 6.5), WHOLE.log_age, WHOLE.a_v)


def limited(catalogue: Catalogue, low: float) -> Catalogue:
    return apply_cuts(catalogue, [ThetaRange(log_mass=(low, 9.0))])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _profile(
    low: float, rules: Rules, alphas: jax.Array, samples: ObjectSamples, p_sel: jax.Array
) -> jax.Array:
    family, grid = population(box(low)), grid_of(rules, p_sel)

    def value(alpha: jax.Array) -> jax.Array:
        return log_likelihood(family.with_values({"alpha_m": alpha}), samples, grid, "conditional")

    return jax.lax.map(value, alphas)


def slope(
    objects: PublishedValues, low: float, selection: AbstractSelection
) -> tuple[float, float]:
    """Posterior mean and sd of alpha_m under a flat prior, with n given."""
    samples = objects.samples(box(low))
    grid = selection_grid(selection, population(box(low)))
    alphas = jnp.linspace(-4.0, -1.2, 57)
    log_p = np.asarray(_profile(low, rules_of(grid), alphas, samples, jnp.asarray(grid.p_sel)))
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = float((p * alphas).sum())
    return mean, float(np.sqrt((p * (np.asarray(alphas) - mean) ** 2).sum()))


@pytest.mark.parametrize(("error", "low_bound"), [(0.1, 3.3), (0.3, 2.6)])
def test_a_limited_sample_gives_the_slope_of_its_population(error: float, low_bound: float):
    objects = PublishedValues(limited(drawn(error), 3.7), ErrorSettings()).inside(box(low_bound))
    mean, sd = slope(objects, low_bound, objects.entering(complete(box(low_bound))))
    assert abs(mean - ALPHA) < 3.3 * sd and sd < 0.15
    # What it would be without the probability of having been recorded above the limit.
    wrong, _ = slope(objects, low_bound, complete(box(low_bound)))
    assert abs(wrong - ALPHA) > 5 * sd


@pytest.mark.parametrize("error", [0.1, 0.3])
def test_bounds_through_a_catalogue_are_refused(error: float):
    catalogue = drawn(error)
    with pytest.raises(BoundsError, match=r"below the population's bound log_mass = 3\.7 .*theta_"):
        PublishedValues(catalogue).inside(box(3.7))
    # Limits at the bounds: clusters from below scatter into the sample.
    with pytest.raises(BoundsError, match=r"limited to log_mass = \[3\.7, \.\.\].*too near"):
        PublishedValues(limited(catalogue, 3.7)).inside(box(3.7))
    with pytest.raises(BoundsError, match="too near"):
        PublishedValues(limited(catalogue, 3.7)).inside(box(3.7 - 0.5 * error))
    # A sample that somebody limited before, and that does not say so.
    large = drawn(error, n=20_000)
    silent = large.keep(large.theta[:, 0] > 3.7, "massive", "M > 5,000 M_sun")
    with pytest.raises(BoundsError, match=r"recorded log_mass stops at .* bound 3\.7"):
        PublishedValues(silent).inside(box(3.7))


def test_upper_ages_are_bounds_too():
    catalogue = drawn(0.2)
    narrow = Box(WHOLE.log_mass, (6.0, 8.3), WHOLE.a_v)
    with pytest.raises(BoundsError, match=r"above the population's bound log_age = 8\.3"):
        PublishedValues(catalogue).inside(narrow)
    young = apply_cuts(catalogue, [ThetaRange(log_age=(5.0, 8.3))])
    with pytest.raises(BoundsError, match=r"limited to log_age = \[\.\., 8\.3\]"):
        PublishedValues(young).inside(narrow)
    PublishedValues(young).inside(Box(WHOLE.log_mass, (6.0, 9.1), WHOLE.a_v))


def test_a_population_that_ends_at_its_bounds_passes():
    """200 catalogues of populations that end where the model says: at most one false alarm."""
    refused = 0
    for seed in range(200):
        for error in (0.05, 0.3):
            catalogue = drawn(error, n=[30, 300, 2000][seed % 3], seed=seed)
            try:
                assert len(PublishedValues(catalogue).inside(WHOLE)) == len(catalogue)
            except BoundsError:
                refused += 1
    assert refused <= 1


def test_power_of_the_check():
    """Bounds half an error inside the population are found in most catalogues of 1,000."""
    found = 0
    for seed in range(20):
        catalogue = drawn(0.1, n=1000, seed=seed)
        try:
            PublishedValues(catalogue).inside(box(2.65))
        except BoundsError:
            found += 1
    assert found >= 18


def test_one_cluster_far_beyond_is_named():
    catalogue = drawn(0.1, n=300)
    catalogue.theta[7, 0] = 8.4
    catalogue.theta_low[7, 0], catalogue.theta_high[7, 0] = 8.3, 8.5
    with pytest.raises(BoundsError, match=r"log_mass = 6\.5 .*the farthest is 7 with 8\.4"):
        PublishedValues(catalogue).inside(WHOLE)


def test_exact_values_are_cut_by_bounds_as_by_limits():
    catalogue, exact = drawn(0.1), ErrorSettings(mode="none")
    inside = PublishedValues(catalogue, exact).inside(box(3.7))
    assert inside.steps[-1].name == "inside the bounds"
    assert len(inside) == int(box(3.7).contains(*catalogue.theta.T).sum())
    entering = PublishedValues(limited(catalogue, 3.7), exact).entering(complete(box(3.0)))
    np.testing.assert_array_equal(
        entering.p_sel(np.array([3.69, 3.71, 4.5]), 7.0, 0.5), [0.0, 1.0, 1.0]
    )


def test_draws_and_grids_are_checked_alike():
    rng, n = np.random.default_rng(3), 150
    catalogue = drawn(0.1, n=400).keep(np.arange(400) < n, "fewer", "as many as are enough")
    draws = [rng.normal(theta, 0.1, (200, 3)) for theta in catalogue.theta]
    objects = PosteriorDraws.from_arrays(catalogue.ids, draws, [np.zeros(200)] * n)
    assert len(objects.inside(WHOLE)) == n
    with pytest.raises(BoundsError, match="below the population's bound log_mass = 3 "):
        objects.inside(box(3.0))
    edges = (np.linspace(1.5, 7.5, 61), np.linspace(5, 11, 61), np.linspace(-1, 4, 21))

    def softmax(axis: int) -> Float[np.ndarray, "n bin"]:
        middle = (edges[axis][1:] + edges[axis][:-1]) / 2
        return np.exp(-(((middle - catalogue.theta[:, axis, None]) / 0.1) ** 2) / 2)

    grids = GridPosteriors.independent(
        "grids", catalogue.ids, edges, (softmax(0), softmax(1), softmax(2))
    )
    with pytest.raises(BoundsError, match="below the population's bound log_mass = 3 "):
        grids.inside(box(3.0))


def test_limits_of_a_catalogue_become_part_of_the_operator():
    catalogue = apply_cuts(drawn(0.1), [ThetaRange(log_mass=(3.7, 9.0)), ThetaRange((3.0, 6.0))])
    assert catalogue.limits == {"log_mass": (3.7, 6.0)}
    operator = PublishedValues(catalogue).entering(complete(WHOLE, "truth"))
    assert isinstance(operator, ProductSelection) and operator.acts_on == "mixed"
    limits = operator.second
    assert isinstance(limits, RecordedLimits) and limits.lower.shape[0] <= 256
    np.testing.assert_allclose(limits.p_sel(3.7, 7.0, 0.5), 0.5, atol=1e-9)
    plain = PublishedValues(drawn(0.1))
    assert plain.entering(complete(WHOLE)) == complete(WHOLE)
