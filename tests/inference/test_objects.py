"""Catalogue rows as weighted samples: two-piece normals, truncated, low-discrepancy."""

import dataclasses
import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import scipy.stats.qmc
from jax.flatten_util import ravel_pytree

from starcensus.forward import (
    Constant,
    HalfNormal,
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    PowerLaw,
    PowerLawAge,
    Schechter,
    Separable,
)
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import (
    BinSettings,
    ErrorSettings,
    ObjectSamples,
    PublishedValues,
    effective_sample_sizes,
    log_object_terms,
    object_samples,
)
from starcensus.inference.fit import _bins
from starcensus.inference.objects import in_bounds, two_piece
from starcensus.inference.predictive import bin_edges
from starcensus.selection import Box, MagnitudeLimit, complete, with_acts_on
from starcensus.selection.catalogue import (
    Catalogue,
    CatalogueError,
    ColumnMap,
    Quantity,
    read_table,
)

WIDE = Box((0.0, 10.0), (2.0, 12.0), (-10.0, 10.0))
BEST = np.array([[4.0, 7.0, 1.0], [5.0, 8.0, 2.0]])
LOWER = np.array([[0.1, 0.4, 0.2], [0.3, 0.2, 0.5]])
UPPER = np.array([[0.3, 0.2, 0.2], [0.15, 0.6, 0.1]])
MANY = ErrorSettings(n_samples=4096)
BOX = Box((3.0, 6.0), (6.0, 9.0), (0.0, 3.0))


def catalogue(
    best: np.ndarray = BEST, lower: np.ndarray = LOWER, upper: np.ndarray = UPPER
) -> Catalogue:
    ids = np.array([f"c{i}" for i in range(len(best))])
    return Catalogue("some.ecsv", ids, best, best - lower, best + upper)


def weighted(
    cat: Catalogue, settings: ErrorSettings, box: Box = WIDE
) -> tuple[np.ndarray, np.ndarray]:
    """Samples, shape (n, s, 3), and their weights, (n, s)."""
    samples = object_samples(cat, box, settings, pad=False)
    return np.moveaxis(np.asarray(samples.theta), 0, -1), np.exp(np.asarray(samples.log_weight))


def sd(cat: Catalogue, settings: ErrorSettings) -> np.ndarray:
    theta, weights = weighted(cat, settings)
    weights = weights[..., None] / weights.sum(axis=1)[:, None, None]
    mean = (weights * theta).sum(axis=1)
    return np.sqrt((weights * (theta - mean[:, None]) ** 2).sum(axis=1))


def distribution(x: np.ndarray, weights: np.ndarray, truth: Callable) -> float:
    """Largest difference between the weighted samples' distribution and another."""
    order = np.argsort(x)
    return np.abs(np.cumsum(weights[order]) / weights.sum() - truth(x[order])).max()


@pytest.mark.parametrize("p", [0.025, 0.16, 0.5, 0.84, 0.975])
def test_quantiles_of_the_two_piece_normal(p):
    """Against the quantiles of SciPy's normal on either side of the mode."""
    samples, weights = weighted(catalogue(), MANY)
    share_below = LOWER / (LOWER + UPPER)
    below = BEST + LOWER * scipy.stats.norm.ppf(np.minimum(p / share_below, 1.0) / 2)
    above = BEST + UPPER * scipy.stats.norm.isf(np.clip((1 - p) / (1 - share_below), 0.0, 1.0) / 2)
    expected = np.where(p < share_below, below, above)
    shares = (weights[..., None] * (samples < expected[:, None])).sum(axis=1)
    np.testing.assert_allclose(shares, p, rtol=0, atol=0.004)
    np.testing.assert_allclose(two_piece.cdf(expected, BEST, LOWER, UPPER), p, rtol=1e-12)


def test_mode_is_the_best_value_and_limits_are_where_they_were():
    """The density is highest at `best` and falls by exp(−1/2) at both limits."""
    samples, weights = weighted(catalogue(), MANY)
    for row in range(2):
        for axis in range(3):
            best, low, high = (x[row, axis] for x in (BEST, LOWER, UPPER))
            x, w = samples[row, :, axis], weights[row]
            assert w[x < best].sum() == pytest.approx(low / (low + high), abs=8e-3)
            for side, scale in ((-1, low), (1, high)):
                distance = side * (x - best) / scale
                here = distance > 0
                assert distribution(distance[here], w[here], scipy.stats.halfnorm.cdf) < 0.015


@pytest.mark.parametrize("beyond", [0.5, 2.0, 4.9])
@pytest.mark.parametrize("scale", [0.3, 1.5, 4.0])
def test_draws_of_an_object_that_is_recorded_beyond_the_bounds(scale, beyond):
    """Of its error only a tail lies inside, down to 10⁻⁷; by SciPy's quadrature."""
    best = np.array([[3.0 - beyond * scale, 7.0, 1.0]])
    sides = np.array([[scale, 0.1, 0.1]])
    low, high = np.array([BOX.log_mass, BOX.log_age, BOX.a_v]).T
    points = scipy.stats.qmc.Sobol(3, rng=np.random.default_rng(4)).random(1024)
    theta, log_weight = two_piece.draw(points[None], best, sides, sides, low, high)
    assert (log_weight <= np.log(2) + 1e-9).all() and theta[0, :, 0].std() > 0.01
    for slope in (0.0, -2.5):

        def density(x: float, slope: float) -> float:
            return np.exp(-(((x - best[0, 0]) / scale) ** 2 - beyond**2) / 2) * 10 ** (
                slope * (x - 3.0)
            )

        tilted, whole = (
            scipy.integrate.quad(density, 3.0, 6.0, args=(f,), epsabs=0)[0] for f in (slope, 0.0)
        )
        terms = np.exp(log_weight[0]) * 10 ** (slope * (theta[0, :, 0] - 3.0))
        assert terms.mean() == pytest.approx(tilted / whole, rel=0.02)


@pytest.mark.parametrize("scale", [0.01, 0.3, 1.5, 8.0])
@pytest.mark.parametrize("slopes", [(-1.0, 0.5), (-2.5, -1.0), (0.5, 1.5)])
def test_draws_and_their_weights_are_the_integral_over_steep_densities(scale, slopes):
    """∫ p(d|θ) 10^(slopes · θ) dθ in bounds, by SciPy's quadrature; 512 draws, other slopes too."""
    best, lower, upper = np.array([[4.1, 7.9, 0.4]]), scale * LOWER[:1], scale * UPPER[1:]
    low, high = np.array([BOX.log_mass, BOX.log_age, BOX.a_v]).T
    points = scipy.stats.qmc.Sobol(3, rng=np.random.default_rng(4)).random(512)
    theta, log_weight = two_piece.draw(points[None], best, lower, upper, low, high)
    assert ((theta >= low) & (theta <= high)).all()
    tilt = np.log(10.0) * np.array([*slopes, 0.0])
    terms = np.exp(log_weight + theta @ tilt)[0]
    expected = 1.0
    for axis in range(3):
        b, sides = best[0, axis], (lower[0, axis], upper[0, axis])

        def density(x: float, b: float = b, sides: tuple = sides) -> float:
            return np.exp(-(((x - b) / sides[int(x > b)]) ** 2) / 2)

        ends = [max(low[axis], b - 9 * sides[0]), b, min(high[axis], b + 9 * sides[1])]
        whole, tilted = (
            sum(
                scipy.integrate.quad(lambda x, f=f: density(x) * np.exp(f * x), *pair)[0]
                for pair in itertools.pairwise(ends)
            )
            for f in (0.0, tilt[axis])
        )
        expected *= tilted / whole
    error = abs(terms.mean() / expected - 1)
    assert error < 4 * terms.std() / terms.mean() / np.sqrt(512) + 1e-9
    if slopes == (-1.0, 0.5):
        assert error < 0.02


def test_few_draws_of_wide_errors_serve_a_steep_population():
    """Errors of a dex and slope −2.4: 4 of 32 draws at least carry the weight; of plain ones, 1."""
    wide = catalogue(np.array([[4.8, 9.3, 0.2]]), np.array([[1.2, 2.4, 0.2]]), np.full((1, 3), 0.2))
    box = Box((2.0, 7.0), (6.0, 10.1), (0.0, 4.5))
    mass_age = Separable(Schechter(box.log_mass, -2.4, 5.8), PowerLawAge(box.log_age, -0.2))
    population = Population(mass_age, NodesExtinction((0.0, 4.5)))
    samples = object_samples(wide, box, ErrorSettings(n_samples=32))
    assert effective_sample_sizes(population, samples)[0] > 8


def test_axes_are_independent():
    for theta, weights in zip(*weighted(catalogue(), MANY), strict=True):
        covariance = np.cov(theta.T, aweights=weights)
        scales = np.sqrt(np.diag(covariance))
        assert np.abs(covariance / np.outer(scales, scales) - np.eye(3)).max() < 0.02


def test_truncation_to_the_bounds():
    box = Box((3.95, 4.2), (6.9, 7.05), (1.1, 1.4))
    [x], [weights] = weighted(catalogue(BEST[:1], LOWER[:1], UPPER[:1]), MANY, box)
    low, high = np.array([box.log_mass, box.log_age, box.a_v]).T
    assert (x >= low).all() and (x <= high).all()
    # The third axis sees only the upper side of its mode, at 1.0.
    truth = scipy.stats.truncnorm(0.5, 2.0, loc=1.0, scale=0.2)
    assert distribution(x[:, 2], weights, truth.cdf) < 0.005
    assert weights.sum() == pytest.approx(1.0, abs=1e-3)


def test_exact_rows_beyond_the_bounds_are_skipped_and_counted():
    box, exact = Box((3.0, 4.9), (6.0, 9.0), (0.0, 3.0)), ErrorSettings(mode="none")
    kept = in_bounds(catalogue(), box, exact)
    assert list(kept.ids) == ["c0"]
    step = kept.steps[-1]
    assert (step.n_before, step.n_after) == (2, 1)
    assert "bounds" in step.reason
    # Just outside, but within its errors, a row stays.
    assert len(in_bounds(catalogue(), box, ErrorSettings())) == 2
    with pytest.raises(CatalogueError, match="none of the 2 clusters lies inside"):
        in_bounds(catalogue(), Box((3.0, 3.4), (6.0, 9.0), (0.0, 3.0)), ErrorSettings())


@pytest.mark.parametrize("lower", [0.0, 1e-12])
def test_degenerate_limits_get_the_floor(lower):
    """best = low = high is the grid of the SED fit, never a measurement without error."""
    none = np.full((2, 3), lower)
    settings = ErrorSettings(floor=(0.1, 0.2, 0.3), n_samples=4096)
    np.testing.assert_allclose(
        sd(catalogue(BEST, none, none), settings), [[0.1, 0.2, 0.3]] * 2, rtol=0.01
    )
    assert (sd(catalogue(BEST, none, UPPER), settings) > 0.05).all()


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
    assert sd(cat, settings)[1, 2] == pytest.approx(0.05, rel=0.01)


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
        settings = ErrorSettings(mode="none") if mode == "none" else ErrorSettings(missing="floor")
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


def test_every_object_has_points_of_its_own():
    """What a rule of few points misses averages out over a catalogue instead of adding up."""
    n = 256
    alike = (np.repeat(each[:1], n, axis=0) for each in (BEST, LOWER, LOWER))
    theta, weights = weighted(catalogue(*alike), ErrorSettings(n_samples=8))
    assert (theta[0] != theta[1]).all()
    missed = ((theta - BEST[0]) * weights[..., None]).sum(axis=1) / LOWER[0]
    assert (missed.std(axis=0) > 0.01).all()
    assert (np.abs(missed.mean(axis=0)) < 4 * missed.std(axis=0) / np.sqrt(n)).all()


def test_default_sample_size_moves_no_parameter(survey):
    """32 samples per object against 1024: a Newton step of less than 0.1 posterior sd.

    What is expected is the same for both, and is no part of the difference."""
    population = Population(
        Separable(Schechter((3.0, 6.5), -2.0, 5.0), MassIndependentDisruption((6.0, 9.0))),
        NodesExtinction((0.0, 0.5, 1.0, 2.0), np.array([0.3, 0.4, 0.2, 0.1])),
        3.8,
    )
    mock = mock_catalogue(jax.random.key(2), population, survey)
    assert 350 < len(mock.catalogue) < 750
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

    def log_rates(x: jax.Array, objects: ObjectSamples) -> jax.Array:
        terms = log_object_terms(at(x), objects) + jnp.log(10.0) * at(x).log_n
        return jnp.where(objects.mask, terms, 0.0)

    few, many = samples(32), samples(1024)
    each = np.asarray(jax.jit(jax.jacfwd(log_rates))(flat, few))
    score = jax.jit(jax.grad(lambda x, o: log_rates(x, o).sum()))(flat, many)
    # Fisher information of a Poisson process: Σ_i of the outer products of ∇ ln λ_i.
    covariance = np.linalg.inv(each.T @ each)
    shift = covariance @ (each.sum(axis=0) - np.asarray(score))
    in_sigma = np.abs(shift) / np.sqrt(np.diag(covariance))
    assert in_sigma.max() < 0.1, in_sigma


def test_measured_extinctions_below_zero_are_data(tmp_path):
    """Their noise is Gaussian: σ_AV of 0.4 is found with them, and more without them."""
    rng = np.random.default_rng(8)
    truth = 0.4 * np.abs(rng.normal(size=4000))
    measured = truth + 0.3 * rng.normal(size=truth.size)
    assert (measured < -0.3).sum() > 100

    def most_likely(a_v: np.ndarray, noise: str) -> float:
        rows = "\n".join(f"4.5,7.5,{value:.5f},0.3" for value in a_v)
        (tmp_path / "mine.csv").write_text(f"m,t,av,e\n{rows}\n")
        mass = Quantity(column="m", unit="Msun", scale="log10")
        age = Quantity(column="t", unit="yr", scale="log10")
        mapped = ColumnMap(
            mass=mass, age=age, a_v=Quantity(column="av", unit="mag", sigma="e"), noise=noise
        )
        settings = ErrorSettings(missing="floor", n_samples=64)
        kept = in_bounds(read_table(tmp_path / "mine.csv", mapped), BOX, settings)
        samples = object_samples(kept, BOX, settings, pad=False)

        @jax.jit
        def value(sigma: float) -> jax.Array:
            extinction = HalfNormal(BOX.a_v, sigma)
            parts = Separable(PowerLaw(BOX.log_mass, -2.0), Constant(BOX.log_age))
            return log_object_terms(Population(parts, extinction), samples).sum()

        sigmas = np.linspace(0.3, 0.55, 11)
        log_l = np.array([value(sigma) for sigma in sigmas])
        a, b, _ = np.polyfit(sigmas, log_l - log_l.max(), 2)
        return -b / (2 * a)

    with pytest.raises(CatalogueError, match="noise = 'gaussian' in the column map"):
        most_likely(measured, "published")
    # The standard error is 0.008.
    assert most_likely(measured, "gaussian") == pytest.approx(0.4, abs=0.025)
    assert most_likely(measured[measured >= 0.0], "published") > 0.45


def without_extinction(cat: Catalogue) -> Catalogue:
    def without(values: np.ndarray) -> np.ndarray:
        return np.where(np.arange(3) < 2, values, np.nan)

    limits = {name: without(getattr(cat, name)) for name in ("theta", "theta_low", "theta_high")}
    return dataclasses.replace(cat, **limits, meta={"not_published": ("a_v",)})


PARTS = Separable(PowerLaw((3.0, 6.0), -2.0), Constant((6.0, 9.0)))


def test_an_unknown_extinction_is_integrated_out():
    """Nothing depends on it: a term is that of mass and age, whatever the law of A_V is."""
    cat = in_bounds(without_extinction(catalogue()), BOX, ErrorSettings())
    assert cat.steps[-1].name == "extinction unknown"
    assert "a_v is not published: integrated over 0 to 3 mag" in cat.steps[-1].reason
    samples = object_samples(cat, BOX, ErrorSettings(), complete(BOX), pad=False)
    density = np.exp(PARTS.log_prob(*np.asarray(samples.theta)) + samples.log_weight)
    alone = density.sum(axis=1)
    slopes = []
    for extinction in (HalfNormal(BOX.a_v, 0.05), NodesExtinction((0.0, 0.3, 3.0))):
        terms = log_object_terms(Population(PARTS, extinction), samples)
        np.testing.assert_allclose(np.exp(np.asarray(terms)), alone, rtol=1e-6)
        slopes.append(np.asarray(terms))
    np.testing.assert_array_equal(*slopes)


@pytest.mark.parametrize("sigma_av", [0.1, 0.6])
def test_an_operator_of_unknown_extinctions_stands_in_each_term(sigma_av):
    """Against a fine sum of p_sel(θ) p(A_V) over A_V, at masses and ages without errors."""
    cat = without_extinction(catalogue())
    exact = ErrorSettings(mode="none")
    limit = MagnitudeLimit.default("F555W", limit_mag=23.0)
    with pytest.raises(CatalogueError, match=r"publishes no extinction, on which .*acts_on=truth"):
        object_samples(cat, BOX, exact, with_acts_on(limit, "data"))
    samples = object_samples(cat, BOX, exact, with_acts_on(limit, "truth"), pad=False)
    law = HalfNormal(BOX.a_v, sigma_av)
    terms = np.asarray(log_object_terms(Population(PARTS, law), samples))
    a_v = (np.arange(30000) + 0.5) * 1e-4
    for (log_mass, log_age), term in zip(cat.theta[:, :2], terms, strict=True):
        p = np.asarray(limit.p_sel(np.full_like(a_v, log_mass), np.full_like(a_v, log_age), a_v))
        found = float((p * np.exp(np.asarray(law.log_prob(a_v, log_age)))).sum() * 1e-4)
        expected = float(PARTS.log_prob(log_mass, log_age)) + np.log(found)
        assert term == pytest.approx(expected, abs=2e-3)


def test_counts_of_an_unknown_extinction_are_one_bin(simple_population):
    """What nobody knows is not compared with what is predicted."""
    objects = PublishedValues(without_extinction(catalogue()), ErrorSettings())
    assert objects.unmeasured == ("a_v",) and PublishedValues(catalogue()).unmeasured == ()
    edges = bin_edges(simple_population, _bins(BinSettings(), objects))
    assert edges["a_v"].tolist() == [0.0, 2.0] and len(edges["log_mass"]) > 10


def test_a_table_without_masses_is_not_fitted():
    cat = dataclasses.replace(catalogue(), meta={"not_published": ("log_mass", "a_v")})
    with pytest.raises(CatalogueError, match="publishes no log_mass; a fit needs both"):
        in_bounds(cat, BOX, ErrorSettings())
