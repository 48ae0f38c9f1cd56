"""The sampler's promises, its diagnostics, and what a fit refuses."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from starcensus.forward import (
    Constant,
    HalfNormal,
    NodesExtinction,
    Population,
    PowerLaw,
    QuadratureSettings,
    Separable,
    selection_grid,
)
from starcensus.inference import (
    ErrorSettings,
    FitSettings,
    PopulationModel,
    Sampler,
    SamplerSettings,
    Thresholds,
    fit,
    log_likelihood,
    object_samples,
    sampling,
)
from starcensus.inference.diagnostics import diagnose
from starcensus.inference.laplace import laplace
from starcensus.inference.results import summarise
from starcensus.inference.sampling import Draws
from starcensus.selection import Box, MagnitudeLimit, SelectionDomainError, complete
from starcensus.selection.catalogue import Catalogue, CatalogueError, ThetaRange

SHAPE = (4, 500)


def draws(**changes: np.ndarray) -> Draws:
    rng = np.random.default_rng(0)
    good = Draws(
        values={},
        potential=jnp.asarray(rng.normal(size=SHAPE)),
        energy=jnp.asarray(rng.normal(size=SHAPE)),
        n_steps=jnp.full(SHAPE, 7),
        accept=jnp.full(SHAPE, 0.8),
        diverging=jnp.zeros(SHAPE, bool),
        mode_converged=jnp.asarray(True),
    )
    return good._replace(**{k: jnp.asarray(v) for k, v in changes.items()})


def values(**changes: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {"alpha_m": rng.normal(size=SHAPE), "log_n": rng.normal(size=SHAPE)} | changes


def autocorrelated(rho: float) -> np.ndarray:
    rng = np.random.default_rng(2)
    x = rng.normal(size=SHAPE)
    for i in range(1, SHAPE[1]):
        x[:, i] = rho * x[:, i - 1] + np.sqrt(1 - rho**2) * x[:, i]
    return x


def heavy_tailed_energy() -> np.ndarray:
    return np.cumsum(np.random.default_rng(3).normal(size=SHAPE), axis=1)


GOOD_ESS = np.array([30.0, 25.0, np.nan])


def test_good_draws_converge():
    found = diagnose(values(), draws(), GOOD_ESS, 7)
    assert found.converged
    assert found.failures == ()
    assert found.verdict().startswith("Converged: yes, because the largest R-hat is 1.0")
    assert "0 transitions diverged" in found.verdict()
    assert found.min_object_ess == 25.0
    assert 1.5 < found.min_bfmi < 2.5


def test_a_posterior_that_moves_with_the_samples_of_its_clusters_is_not_converged():
    still = diagnose(values(), draws(), GOOD_ESS, 7, object_shift={"log_n": -0.24})
    assert still.converged and still.max_object_shift == 0.24
    moved = diagnose(values(), draws(), GOOD_ESS, 7, object_shift={"log_n": -0.26, "x": 0.1})
    assert moved.failures == (
        "log_n moves by -0.26 standard deviations with other draws behind each cluster, "
        "more than 0.25; raise errors.n_samples",
    )
    of_nodes = diagnose(values(), draws(), GOOD_ESS, 7, node_error=0.2)
    assert "ln L changes by 0.2 between draws" in of_nodes.failures[0]
    assert diagnose(values(), draws(), GOOD_ESS, 7, node_error=0.09).converged
    assert diagnose(values(), draws(), GOOD_ESS, 7).max_object_shift == 0.0
    unseen = diagnose(values(), draws(), GOOD_ESS, 7, share_beyond=0.02)
    assert "0.02 of the expected clusters are fainter than every artificial" in unseen.failures[0]
    assert diagnose(values(), draws(), GOOD_ESS, 7, share_beyond=0.002).converged


def test_what_is_unknown_spoils_a_fit_and_is_no_number_of_its_summary():
    """JSON has no infinity, and a long fit must not end with that."""
    lost = diagnose(values(), draws(), GOOD_ESS, 7, object_shift={"x": np.inf}, node_error=np.inf)
    assert not lost.converged and len(lost.failures) == 2
    summary = summarise(3, values(), lost, 1.0)
    assert not {"node_error", "max_object_shift"} & set(summary) and "inf" in summary["verdict"]
    assert json.loads(json.dumps(summary, allow_nan=False))["n_clusters"] == 3


@pytest.mark.parametrize(
    ("given", "sampler", "object_ess", "expected"),
    [
        (
            {"log_n": np.random.default_rng(4).normal(size=SHAPE) + np.arange(4)[:, None]},
            {},
            GOOD_ESS,
            "R-hat of log_n is",
        ),
        ({"alpha_m": autocorrelated(0.97)}, {}, GOOD_ESS, "bulk ESS of alpha_m is"),
        ({"alpha_m": autocorrelated(0.97)}, {}, GOOD_ESS, "tail ESS of alpha_m is"),
        ({}, {"diverging": np.arange(2000).reshape(SHAPE) < 3}, GOOD_ESS, "3 divergent trans"),
        ({}, {"energy": heavy_tailed_energy()}, GOOD_ESS, "BFMI is"),
        ({}, {"n_steps": np.full(SHAPE, 127)}, GOOD_ESS, "100.0% of trajectories reached"),
        ({}, {}, np.array([1.5, 3.0, 9.0, np.nan]), "2 clusters have fewer than 4 effective"),
        ({"log_n": np.full(SHAPE, np.nan)}, {}, GOOD_ESS, "R-hat of log_n is nan"),
    ],
)
def test_each_failure_is_named(given, sampler, object_ess, expected):
    found = diagnose(values(**given), draws(**sampler), object_ess, 7)
    assert not found.converged
    assert any(expected in failure for failure in found.failures), found.failures
    assert found.verdict().startswith("Converged: NO, because ")
    assert expected in found.verdict()
    assert "For the record" in found.verdict()


def test_unfinished_search_for_the_mode_is_recorded_but_no_failure():
    """A posterior that leans on the edge of a prior has its mode at infinity."""
    found = diagnose(values(), draws(mode_converged=np.asarray(False)), GOOD_ESS, 7)
    assert found.converged
    assert not found.mode_converged


def test_thresholds_are_settings():
    lenient = Thresholds(max_r_hat=2.0, min_ess=5.0, max_divergent=3)
    bad = draws(diverging=np.arange(2000).reshape(SHAPE) < 3)
    assert diagnose(values(alpha_m=autocorrelated(0.9)), bad, GOOD_ESS, 7, lenient).converged


def test_rank_normalised_r_hat_sees_a_difference_in_scale():
    other = np.random.default_rng(5).normal(size=SHAPE) * np.array([1, 1, 1, 5.0])[:, None]
    assert not diagnose(values(alpha_m=other), draws(), GOOD_ESS, 7).converged


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_chains": 1}, "n_chains = 1; expected at least 2"),
        ({"n_warmup": 10}, "n_warmup = 10; expected at least 50"),
        ({"n_samples": 0}, "n_samples = 0; expected at least 50"),
        ({"target_accept": 1.0}, "target_accept = 1.0; expected 0.5 to 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        SamplerSettings(**settings)


def test_fit_recovers_the_truth(simple_fit):
    assert simple_fit.result.diagnostics.converged, simple_fit.result.diagnostics.verdict()
    for name, truth in simple_fit.mock.truth.items():
        x = simple_fit.result.tree["posterior"][name].values
        # One parameter in 16,000 is further away if the fit is right.
        assert abs(x.mean() - truth) < 4 * x.std(), name


def test_same_seed_same_draws_and_one_compilation(simple_fit):
    f = simple_fit
    key = jax.random.key(f.settings.sampler.seed)
    again = f.sampler.run(f.objects, f.grid, key)
    posterior = f.result.tree["posterior"]
    for name, x in again.values.items():
        np.testing.assert_array_equal(x, posterior[name].values)
    before = sampling._compiled._cache_size()
    other = f.sampler.run(f.objects, f.grid, jax.random.key(99))
    assert (other.values["alpha_m"] != again.values["alpha_m"]).all()
    # Another catalogue of similar size.
    fewer = dataclasses.replace(
        f.objects, mask=np.arange(len(f.objects.mask)) < f.objects.n_objects - 7
    )
    smaller = f.sampler.run(fewer, f.grid, key)
    assert smaller.values["log_n"].mean() < again.values["log_n"].mean()
    assert sampling._compiled._cache_size() == before


def test_sampler_refuses_another_quadrature(simple_fit):
    f = simple_fit
    population = f.model.population
    everything = complete(population.box)
    coarse = selection_grid(everything, population, QuadratureSettings(mass_order=6))
    with pytest.raises(ValueError, match="another mass_rule"):
        f.sampler.run(f.objects, coarse, jax.random.key(0))


def test_start_is_valid_at_the_edges_of_the_priors():
    """Values at the ends of their priors' supports and in a corner of the simplex."""
    edge = Population(
        Separable(PowerLaw((3.0, 6.0), -4.0), Constant((6.0, 9.0))),
        NodesExtinction((0.0, 1.0, 2.0), np.array([1.0, 0.0, 0.0])),
        0.0,
    )
    box = Box((3.0, 6.0), (6.0, 9.0), (0.0, 2.0))
    theta = np.array([[5.9, 6.1, 1.9], [3.1, 8.9, 0.2]])
    cat = Catalogue("two", np.array(["a", "b"]), theta, theta - 0.1, theta + 0.1)
    objects = object_samples(cat, box)
    grid = selection_grid(complete(box), edge)
    sampler = Sampler(PopulationModel(edge), grid)
    for x in jax.tree.leaves(sampler._start):
        assert np.isfinite(x).all()
    start = {k: jnp.asarray(v) for k, v in PopulationModel(edge).start().items()}
    value, slope = jax.value_and_grad(lambda v: log_likelihood(edge.with_values(v), objects, grid))(
        start
    )
    assert np.isfinite(value)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(slope))


def box_population(a_v: tuple[float, float] = (0.0, 2.0)) -> Population:
    return Population(
        Separable(PowerLaw((3.5, 6.5), -2.0), Constant((6.0, 8.5))), HalfNormal(a_v, 0.5), 2.5
    )


def rows(theta: np.ndarray) -> Catalogue:
    ids = np.array([f"id{i}" for i in range(len(theta))])
    return Catalogue("some.fits", ids, theta, theta - 0.1, theta + 0.1)


GOOD_ROWS = np.array([[4.0, 7.0, 0.5], [5.0, 8.0, 1.0]])


def refuse(cat: Catalogue, selection, population: Population, settings=None) -> None:
    fit(cat, selection, PopulationModel(population), settings)


def test_fit_refuses_an_empty_catalogue():
    population = box_population()
    with pytest.raises(CatalogueError, match=r"some\.fits: no cluster is left to fit"):
        refuse(rows(GOOD_ROWS[:0]), complete(population.box), population)
    cut = ThetaRange(log_mass=(5.5, 6.0))(ThetaRange(a_v=(0.0, 2.0))(rows(GOOD_ROWS)))
    took = r"the cut 'theta_range' took the last 2 \(5.5 <= log_mass <= 6; 0 failed for NaN\)"
    with pytest.raises(CatalogueError, match=took):
        refuse(cut, complete(population.box), population)


@pytest.mark.parametrize("mode", ["none", "published"])
def test_fit_refuses_rows_without_estimates(mode):
    population = box_population()
    theta = np.vstack([GOOD_ROWS, np.full((1, 3), np.nan)])
    settings = FitSettings(errors=ErrorSettings(mode=mode))
    with pytest.raises(CatalogueError, match="1 of 3 rows have no estimate"):
        refuse(rows(theta), complete(population.box), population, settings)


def test_fit_refuses_a_catalogue_outside_the_bounds():
    population = box_population()
    with pytest.raises(CatalogueError, match="none of the 2 clusters lies inside"):
        refuse(rows(GOOD_ROWS - [0, 4.0, 0]), complete(population.box), population)


def test_fit_refuses_an_impossible_cluster():
    """The survey sees nothing above 10^4.5 M_sun, and says that it looks at true masses."""
    population = box_population()
    low_mass = complete(Box((3.5, 4.5), (6.0, 8.5), (0.0, 2.0)), acts_on="truth")
    settings = FitSettings(errors=ErrorSettings(mode="none"))
    with pytest.raises(ValueError, match=r"1 clusters cannot come from this population.*id1"):
        refuse(rows(GOOD_ROWS), low_mass, population, settings)


def test_fit_refuses_bounds_outside_the_domain():
    population = box_population((0.0, 12.0))
    with pytest.raises(SelectionDomainError, match="a_v 0 to 12 goes beyond 0 to 10"):
        refuse(rows(GOOD_ROWS), MagnitudeLimit.default(), population)


def test_laplace_is_exact_for_a_gaussian():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 5))
    precision, mean = jnp.asarray(a @ a.T + np.eye(5)), jnp.asarray(rng.normal(size=5))
    found = laplace(
        lambda x: 0.5 * (x - mean) @ precision @ (x - mean) + 3.0, jnp.zeros(5), tolerance=1e-12
    )
    assert bool(found.converged)
    np.testing.assert_allclose(found.mode, mean, atol=1e-6)
    np.testing.assert_allclose(found.scale @ found.scale.T, np.linalg.inv(precision), rtol=1e-9)
    assert float(found.potential) == pytest.approx(3.0)


def softplus_sum(x: jax.Array) -> jax.Array:
    """Convex, far from quadratic; its minimum is at x = ln 4 − ln 1, every component."""
    return jnp.sum(5 * jax.nn.softplus(x) - 4 * x)


def test_laplace_on_a_convex_function():
    found = laplace(softplus_sum, jnp.asarray([-8.0, 0.0, 9.0]), tolerance=1e-12)
    assert bool(found.converged)
    np.testing.assert_allclose(found.mode, np.log(4.0), atol=1e-5)
    np.testing.assert_allclose(np.diag(found.scale @ found.scale.T), 1 / (5 * 0.8 * 0.2), rtol=1e-4)


def test_laplace_under_vmap():
    starts = jnp.asarray(scipy.stats.norm.rvs(size=(6, 3), scale=4.0, random_state=0))
    many = jax.jit(jax.vmap(lambda x: laplace(softplus_sum, x)))(starts)
    assert np.asarray(many.converged).all()
    for i, start in enumerate(starts):
        one = laplace(softplus_sum, start)
        np.testing.assert_allclose(many.mode[i], one.mode, rtol=1e-10)
        assert int(many.n_steps[i]) == int(one.n_steps)


@pytest.mark.parametrize("n_starts", [2, 9])
def test_laplace_evaluates_where_a_sampler_starts(n_starts):
    begin = jnp.asarray([-2.0, 0.0, 3.0])
    w = jnp.asarray(np.random.default_rng(0).normal(size=(n_starts, 3)))
    found = laplace(softplus_sum, begin, starts=w)
    assert int(found.n_steps) == int(laplace(softplus_sum, begin).n_steps)
    whitened = jax.vmap(jax.value_and_grad(lambda w: softplus_sum(found.mode + found.scale @ w)))
    u, gradient = whitened(w)
    np.testing.assert_allclose(found.start_potential, u, rtol=1e-12)
    np.testing.assert_allclose(found.start_gradient, gradient, rtol=1e-10, atol=1e-12)


def test_laplace_says_when_it_does_not_converge():
    found = laplace(lambda x: jnp.sum(-x), jnp.zeros(2), max_steps=10)
    assert not bool(found.converged)


def test_laplace_survives_an_impossible_start():
    found = laplace(lambda x: jnp.where(x[0] > 0, x[0] ** 2, jnp.inf), jnp.full(1, -1.0))
    assert not bool(found.converged)
    assert np.isfinite(found.mode).all()
