"""Posterior draws and grids of each object: their prior is divided out, whatever it was."""

import dataclasses

import h5py
import jax
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import scipy.stats.qmc
from astropy.table import Table

from starcensus.forward import (
    Constant,
    HalfNormal,
    Population,
    PowerLaw,
    Separable,
)
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import (
    BoundsError,
    ErrorSettings,
    FitSettings,
    GridPosteriors,
    ObjectsError,
    PopulationModel,
    PosteriorDraws,
    PublishedValues,
    fit,
    log_object_terms,
    object_samples,
    read_posteriors,
    sampling,
    write_posteriors,
)
from starcensus.inference.objects.taught import Taught
from starcensus.selection import Box, MagnitudeLimit, OtherSurveyError, SurveyFacts, with_acts_on

BOX = Box((3.0, 6.0), (6.0, 9.0), (0.0, 2.0))
BEST = np.array([[4.0, 7.2, 0.8], [4.8, 8.0, 1.2], [3.6, 6.9, 0.5]])
SIGMA = np.array([0.15, 0.2, 0.1])
# The prior under which draws are made: steep in each axis, and different in each.
SLOPE = np.array([-1.5, 1.2, -3.0])


def population(alpha: float = -2.0) -> Population:
    return Population(
        Separable(PowerLaw(BOX.log_mass, alpha), Constant(BOX.log_age)),
        HalfNormal(BOX.a_v, 0.6),
        3.0,
    )


def draws_under_a_prior(n: int = 200_000) -> PosteriorDraws:
    """Of a Gaussian likelihood and π ∝ exp(slope · θ): a Gaussian at best + σ² slope."""
    rng = np.random.default_rng(5)
    draws = [best + SIGMA**2 * SLOPE + SIGMA * rng.normal(size=(n, 3)) for best in BEST]
    log_prior = [theta @ SLOPE - 17.0 for theta in draws]
    return PosteriorDraws.from_arrays(["a", "b", "c"], draws, log_prior)


def analytic(alpha: float) -> np.ndarray:
    """ln ∫ N(best; θ, σ) p(θ) dθ of each object, by adaptive quadrature on each axis."""
    terms = []
    for best in BEST:
        axes = (
            (lambda x, a=alpha: 10.0 ** ((a + 1) * x), BOX.log_mass),
            (lambda x: 10.0**x, BOX.log_age),
            (lambda x: np.exp(-0.5 * (x / 0.6) ** 2), BOX.a_v),
        )
        total = 0.0
        for (density, limits), mean, sigma in zip(axes, best, SIGMA, strict=True):
            norm = scipy.integrate.quad(density, *limits, epsabs=0, epsrel=1e-10)[0]
            near = (max(limits[0], mean - 9 * sigma), min(limits[1], mean + 9 * sigma))
            value = scipy.integrate.quad(
                lambda x, d=density, m=mean, s=sigma: d(x) * scipy.stats.norm.pdf(x, m, s),
                *near,
                epsabs=0,
                epsrel=1e-10,
            )[0]
            total += np.log(value / norm)
        terms.append(total)
    return np.asarray(terms)


def test_draws_under_a_known_prior_give_the_analytic_likelihood():
    samples = draws_under_a_prior().samples(BOX, pad=False)
    for alpha in (-1.4, -2.0, -2.6):
        got = np.asarray(log_object_terms(population(alpha), samples))
        # A constant of each object is free: the likelihood's normalisation.
        shift = np.asarray(log_object_terms(population(-2.0), samples)) - analytic(-2.0)
        np.testing.assert_allclose(got - shift, analytic(alpha), rtol=0, atol=0.02)
    # Gaussians: the constant is that of π at the point which the posterior is centred on.
    constant = 17.0 - BEST @ SLOPE - 0.5 * np.sum((SIGMA * SLOPE) ** 2)
    np.testing.assert_allclose(shift, constant, rtol=0, atol=0.02)


def test_a_forgotten_prior_is_seen():
    given = draws_under_a_prior()
    wrong = PosteriorDraws(
        given.source, given.ids, given.counts, given.theta, np.zeros(len(given.theta))
    )
    difference = [
        np.asarray(log_object_terms(population(alpha), objects.samples(BOX, pad=False))).sum()
        for objects in (given, wrong)
        for alpha in (-1.4, -2.6)
    ]
    exact = analytic(-1.4).sum() - analytic(-2.6).sum()
    assert difference[0] - difference[1] == pytest.approx(exact, abs=0.05)
    assert abs(difference[2] - difference[3] - exact) > 0.1


def test_draws_outside_the_bounds_count_as_draws():
    inside = np.full((30, 3), [4.0, 7.0, 0.5])
    outside = np.full((10, 3), [4.0, 7.0, 2.5])
    objects = PosteriorDraws.from_arrays(
        ["a", "b"], [inside, np.concatenate([inside, outside])], [np.zeros(30), np.zeros(40)]
    )
    terms = np.asarray(log_object_terms(population(), objects.samples(BOX)))[:2]
    assert terms[1] - terms[0] == pytest.approx(np.log(30 / 40))


def test_unequal_lengths_and_padding_change_nothing():
    given = draws_under_a_prior(400)
    rows = np.concatenate([np.arange(50), 400 + np.arange(400), 800 + np.arange(7)])
    ragged = PosteriorDraws(
        "ragged", given.ids, np.array([50, 400, 7]), given.theta[rows], given.log_prior[rows]
    )
    padded = ragged.samples(BOX)
    assert padded.log_weight.shape[1] > 400 and padded.n_objects == 3
    every = np.asarray(log_object_terms(population(), padded))
    for i, (start, n) in enumerate(((0, 50), (50, 400), (450, 7))):
        some = slice(start, start + n)
        lnp = np.asarray(population().log_prob(*ragged.theta[some].T)) - ragged.log_prior[some]
        assert every[i] == pytest.approx(scipy.special.logsumexp(lnp) - np.log(n), rel=1e-12)

    def total(log_n_and_alpha):
        drawn = population().with_values({"alpha_m": log_n_and_alpha})
        return log_object_terms(drawn, padded).sum()

    assert np.isfinite(float(jax.grad(total)(np.asarray(-2.0))))


def test_points_are_the_likelihoods_and_not_drawn_to_the_prior():
    points = draws_under_a_prior().points()
    np.testing.assert_allclose(points.theta, BEST, rtol=0, atol=0.01)
    np.testing.assert_allclose(points.errors, np.tile(SIGMA, (3, 1)), rtol=0.05)
    assert "prior" in points.meaning


def test_selection_on_the_truth_multiplies_the_weights():
    limit = MagnitudeLimit.default(limit_mag=23.0, acts_on="truth", outside="zero")
    objects = draws_under_a_prior(100)
    plain, seen = objects.samples(BOX), objects.samples(BOX, limit)
    real = np.isfinite(plain.log_weight)
    p = np.exp(seen.log_weight[real] - plain.log_weight[real])
    np.testing.assert_allclose(p, np.asarray(limit.p_sel(*plain.theta))[real], rtol=1e-9)


def table_of(objects: PosteriorDraws) -> Table:
    names = np.repeat(objects.ids, objects.counts)
    columns = dict(zip(("log_mass", "log_age", "a_v"), objects.theta.T, strict=True))
    return Table({"object_id": names, **columns, "log_prior": objects.log_prior})


@pytest.mark.parametrize("suffix", [".h5", ".ecsv", ".fits"])
def test_round_trips_in_any_order(tmp_path, suffix):
    given = draws_under_a_prior(20)
    path = tmp_path / f"draws{suffix}"
    if suffix == ".h5":
        given = dataclasses.replace(given, support=Box((2.0, 8.0), (5.0, 10.5), (-1.0, 4.0)))
        write_posteriors(given, path)
    else:
        table_of(given).write(path)
    read = read_posteriors(path)
    for name in ("ids", "counts", "theta", "log_prior"):
        np.testing.assert_array_equal(getattr(read, name), getattr(given, name))
    assert read.support == given.support
    # Rows of the objects may be mixed up.
    mixed = table_of(given)[np.arange(60).reshape(3, 20).T.ravel()]
    again = PosteriorDraws.from_table(mixed)
    np.testing.assert_array_equal(again.theta, given.theta)


def replaced(**columns) -> Table:
    table = table_of(draws_under_a_prior(5))
    for name, value in columns.items():
        table[name] = value
    return table


def with_unit(name: str, unit: str) -> Table:
    table = table_of(draws_under_a_prior(5))
    table[name].unit = unit
    return table


@pytest.mark.parametrize(
    ("table", "facts"),
    [
        (lambda: replaced(log_prior=np.where(np.arange(15) == 7, -np.inf, 0.0)), "ln π.*object b"),
        (lambda: replaced(log_mass=np.linspace(1e3, 1e5, 15)), "log_mass.*solar masses"),
        (lambda: replaced(log_age=np.full(15, 0.1)), "log_age.*years"),
        (lambda: replaced(a_v=np.full(15, np.nan)), "a_v.*not finite"),
        (lambda: with_unit("log_mass", "solMass"), "unit of log_mass is solMass"),
        (lambda: with_unit("log_age", "dex(Gyr)"), "unit of log_age"),
        (lambda: with_unit("log_prior", "mag"), "unit of log_prior"),
        (lambda: table_of(draws_under_a_prior(5))["object_id", "log_mass"], "log_age, a_v"),
    ],
)
def test_tables_that_are_refused(table, facts):
    with pytest.raises(ObjectsError, match=facts):
        PosteriorDraws.from_table(table())


def test_units_that_agree_are_taken():
    table = with_unit("log_age", "dex(yr)")
    table["a_v"].unit, table["log_mass"].unit = "mag", "dex(solMass)"
    assert len(PosteriorDraws.from_table(table)) == 3


def test_objects_without_draws_and_draws_without_objects_are_refused():
    table = table_of(draws_under_a_prior(5))
    with pytest.raises(ObjectsError, match=r"1 objects have no draws.*d"):
        PosteriorDraws.from_table(table, ids=["a", "b", "c", "d"])
    with pytest.raises(ObjectsError, match="draws of c"):
        PosteriorDraws.from_table(table, ids=["a", "b"])
    with pytest.raises(ObjectsError, match="different"):
        PosteriorDraws.from_arrays(["a", "a"], [BEST, BEST], [np.zeros(3)] * 2)
    with pytest.raises(ObjectsError, match="object b has 3 draws and 2"):
        PosteriorDraws.from_arrays(["a", "b"], [BEST, BEST], [np.zeros(3), np.zeros(2)])


def test_bounds_beyond_the_prior_are_refused_and_draws_beyond_it():
    given = draws_under_a_prior(50)
    with pytest.raises(ObjectsError, match="outside the support"):
        dataclasses.replace(given, support=Box((3.0, 6.0), (6.0, 9.0), (0.7, 2.0)))
    narrow = dataclasses.replace(given, support=Box((2.0, 8.0), (6.2, 9.5), (-1.0, 4.0)))
    for act in (narrow.inside, narrow.samples):
        with pytest.raises(ObjectsError, match=r"log_age 6 to 9 goes beyond 6.2"):
            act(BOX)


def test_objects_far_outside_the_bounds_are_named():
    given = draws_under_a_prior(50)
    with pytest.raises(BoundsError, match=r"2 of 3 clusters .* below .*log_mass = 4\.4 .*is a "):
        given.inside(Box((4.4, 6.0), (6.0, 9.0), (0.0, 2.0)))


def test_files_that_are_no_posteriors_are_refused(tmp_path):
    (tmp_path / "a.h5").write_bytes(b"nothing")
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["log_mass"] = np.zeros(3)
    for name in ("a.h5", "b.h5", "none.h5", "none.ecsv"):
        with pytest.raises(ObjectsError if name[0] != "n" else ValueError, match=name[:-3]):
            read_posteriors(tmp_path / name)


def edges() -> tuple:
    return (np.linspace(2.5, 6.5, 41), np.linspace(5.5, 9.5, 31), np.linspace(-0.5, 2.5, 16))


def grids(prior_slope: np.ndarray | None = None) -> GridPosteriors:
    """Gaussian likelihoods at the bins' middles, times a prior of those slopes."""
    middles = [(e[1:] + e[:-1]) / 2 for e in edges()]
    mesh = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
    likelihood = np.exp(-0.5 * (((mesh[None] - BEST[:, None, None, None]) / SIGMA) ** 2).sum(-1))
    prior = None if prior_slope is None else np.exp((mesh - mesh.mean()) @ prior_slope)
    posterior = likelihood if prior is None else likelihood * prior
    posterior = posterior / posterior.sum(axis=(1, 2, 3), keepdims=True)
    return GridPosteriors("cnn", np.array(["a", "b", "c"]), edges(), posterior, prior)


def test_a_grid_equals_a_quadrature():
    """∫ L λ with L constant in each bin: each bin's integral of λ in closed form."""
    given = grids()
    for box in (BOX, Box((3.33, 5.9), (6.01, 8.77), (0.11, 1.9))):
        p = Population(
            Separable(PowerLaw(box.log_mass, -2.3), Constant(box.log_age)), HalfNormal(box.a_v, 0.6)
        )
        powers = ((-1.3, box.log_mass), (1.0, box.log_age))
        parts = []
        for (power, limits), edge in zip(powers, edges()[:2], strict=True):
            inside = np.clip(edge, *limits)
            whole = 10.0 ** (power * limits[1]) - 10.0 ** (power * limits[0])
            parts.append(np.diff(10.0 ** (power * inside)) / whole)
        inside = np.clip(edges()[2], *box.a_v)
        cdf = scipy.stats.halfnorm(scale=0.6).cdf
        parts.append(np.diff(cdf(inside)) / (cdf(box.a_v[1]) - cdf(box.a_v[0])))
        exact = np.log(np.einsum("nmta,m,t,a->n", given.posterior, *parts))
        exact -= np.log(given.posterior.max(axis=(1, 2, 3)))
        fine = dataclasses.replace(given, nodes=(4, 4, 4), neglected=0.0)
        got = np.asarray(log_object_terms(p, fine.samples(box, pad=False)))
        np.testing.assert_allclose(got, exact, rtol=0, atol=1e-9)
        default = np.asarray(log_object_terms(p, given.samples(box)))[:3]
        np.testing.assert_allclose(default, exact, rtol=0, atol=1e-4)


def test_the_training_prior_is_divided_out():
    flat, trained = grids(), grids(np.array([-2.0, 1.5, -1.0]))
    assert np.abs(flat.posterior - trained.posterior).max() > 1e-3
    terms = [
        np.asarray(log_object_terms(population(), objects.samples(BOX)))[:3]
        for objects in (flat, trained)
    ]
    np.testing.assert_allclose(*terms, rtol=0, atol=1e-5)
    np.testing.assert_allclose(flat.points().theta, BEST, rtol=0, atol=0.01)
    np.testing.assert_allclose(trained.points().theta, BEST, rtol=0, atol=0.01)
    # Bins in a_v are two standard deviations wide.
    errors = flat.points().errors
    np.testing.assert_allclose(errors[:, :2], np.tile(SIGMA[:2], (3, 1)), rtol=0.05)
    np.testing.assert_allclose(errors[:, 2], 0.1, rtol=0.5)


def test_softmaxes_of_single_axes_are_multiplied():
    given = grids()
    each = [given.posterior.sum(axis=axes) for axes in ((2, 3), (1, 3), (1, 2))]
    made = GridPosteriors.independent("cnn", given.ids, edges(), tuple(each))
    np.testing.assert_allclose(made.posterior, given.posterior, rtol=1e-9, atol=1e-15)


def test_grids_that_are_refused():
    given = grids(SLOPE)
    assert given.prior is not None
    zero = np.where(np.arange(41 - 1)[:, None, None] == 15, 0.0, given.prior)
    with pytest.raises(ObjectsError, match=r"bins where the prior has none.*a"):
        dataclasses.replace(given, prior=zero)
    empty = np.where(zero > 0, given.posterior, 0.0)
    with pytest.raises(ObjectsError, match=r"prior is zero.*log_mass 4 to 4.1"):
        dataclasses.replace(given, prior=zero, posterior=empty).inside(BOX)
    with pytest.raises(ObjectsError, match="beyond the grid: a_v 0 to 3"):
        given.samples(Box((3.0, 6.0), (6.0, 9.0), (0.0, 3.0)))
    for change, words in (
        ({"posterior": -given.posterior}, "negative"),
        ({"posterior": 0.0 * given.posterior}, "no probability"),
        ({"posterior": given.posterior[:, 1:]}, "shape"),
        ({"edges": tuple(e[::-1] for e in edges())}, "do not increase"),
        ({"edges": (10 ** edges()[0], *edges()[1:])}, "solar masses"),
    ):
        with pytest.raises(ObjectsError, match=words):
            dataclasses.replace(given, **change)


def test_published_values_are_the_catalogue_bit_for_bit(survey, simple_population):
    mock = mock_catalogue(jax.random.key(4), simple_population, survey)
    errors = ErrorSettings(n_samples=64, seed=9)
    box = simple_population.box
    objects = PublishedValues(mock.catalogue, errors).inside(box)
    one = objects.samples(box, survey)
    other = object_samples(objects.catalogue, box, errors, survey)
    for name in ("theta", "log_weight", "mask"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert list(objects.ids) == list(objects.catalogue.ids) and objects.steps[-1].n_before > 0


def test_a_fit_to_draws_equals_the_fit_to_published_values(simple_fit):
    """The same Gaussian likelihoods, as 68% limits and as draws under a steep prior.

    As many, evenly spread draws of each object, and as many of the posterior, as of the other fit:
    its programs serve this one too."""
    kept = simple_fit.result.objects.catalogue
    rng = np.random.default_rng(1)
    sigma, slope = np.full(3, 0.1), np.array([2.0, -2.0, 3.0])
    even = scipy.stats.qmc.Sobol(3, rng=rng).random(32) + rng.uniform(size=(len(kept), 1, 3))
    draws = kept.theta[:, None] + sigma**2 * slope + sigma * scipy.stats.norm.ppf(even % 1.0)
    objects = PosteriorDraws.from_arrays(kept.ids, list(draws), list(draws @ slope))
    before = sampling._compiled._cache_size()
    result = fit(objects, simple_fit.selection, simple_fit.model, simple_fit.settings)
    assert sampling._compiled._cache_size() == before
    assert len(result.objects) == len(kept) == result.summary["n_clusters"]
    observed = result.tree["observed_data"]
    np.testing.assert_allclose(observed["theta"].values, kept.theta, rtol=0, atol=0.06)
    assert "prior" in observed.attrs["theta"]
    for name in ("alpha_m", "sigma_av", "log_n"):
        one, other = simple_fit.result.summary, result.summary
        median, low, high = (f"posterior.{name}.{q}" for q in ("median", "p16", "p84"))
        width = one[high] - one[low]
        # Monte Carlo errors of 4,000 draws and of 32 even samples for each object.
        assert abs(one[median] - other[median]) < 0.2 * width
        assert other[high] - other[low] == pytest.approx(width, rel=0.25)


def test_errors_that_would_be_ignored_are_refused(survey, simple_population):
    settings = FitSettings(errors=ErrorSettings(mode="none"))
    with pytest.raises(ValueError, match="bring their own"):
        fit(draws_under_a_prior(5), survey, PopulationModel(simple_population), settings)


@pytest.mark.parametrize("form", ["draws", "grids"])
def test_what_a_network_sees_is_what_decides(form):
    """An operator of the truth beside it would count the selection twice."""
    population = Population(
        Separable(PowerLaw(BOX.log_mass, -2.0), Constant(BOX.log_age)), HalfNormal(BOX.a_v), 2.0
    )
    rng = np.random.default_rng(0)
    if form == "draws":
        draws = [rng.normal([4.5, 7.5, 0.5], 0.05, (50, 3))]
        plain = PosteriorDraws.from_arrays(["a"], draws, [np.zeros(50)])
        objects = dataclasses.replace(plain, learned_for=SurveyFacts())
    else:
        edges = tuple(np.linspace(*limits, 3) for limits in BOX.as_dict().values())
        plain = GridPosteriors("cnn", np.array(["a"]), edges, np.ones((1, 2, 2, 2)))
        objects = dataclasses.replace(plain, taught=Taught(edges, np.ones((2, 2, 2))))
    operator = MagnitudeLimit.default("ACS_F555W", limit_mag=24.0, domain=BOX)
    assert plain.survey is None and objects.survey == SurveyFacts()
    with pytest.raises(OtherSurveyError, match='say acts_on = "data"'):
        fit(objects, with_acts_on(operator, "truth"), PopulationModel(population))
