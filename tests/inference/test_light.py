"""Objects with measured light: sums against brute force, and nodes against rows."""

import dataclasses
import importlib

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy.stats import truncnorm

from starcensus.forward import (
    HalfNormal,
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    PowerLaw,
    PowerLawAge,
    Schechter,
    Separable,
)
from starcensus.inference import (
    FitSettings,
    PopulationModel,
    SamplerSettings,
    Thresholds,
    fit,
    least_object_ess,
)
from starcensus.inference.likelihood import judged, sum_of_object_terms
from starcensus.inference.object_shift import node_error
from starcensus.inference.objects import (
    LightObjects,
    LightSettings,
    ObjectsError,
    Pairs,
    RowSamples,
    TargetSettings,
    deposit,
    draw_to_order,
    effective_clusters,
    lagrange,
    rules_of_box,
)
from starcensus.inference.sampling import double_precision
from starcensus.networks import MLP
from starcensus.selection import Box, MagnitudeLimit, PhotometricNetwork, complete
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.observation import (
    GaussianObservation,
    MeasuredCuts,
    NoiseCurves,
)
from starcensus.simulate import CellTheta, ClusterLibrary, Design, Pool, StarcensusEngine

BOX = Box((2.0, 5.0), (6.5, 8.5), (0.0, 1.0))
BANDS = ("ACS_F435W", "ACS_F555W", "ACS_F814W")
MODULUS = 29.98
LN10 = np.log(10.0)
# Every row, where sums are compared with those over all.
WHOLE = LightSettings(max_rows=10**6)


def cells(n_extinctions: int = 4, slope: float = -0.7, box: Box = BOX) -> CellTheta:
    edges = tuple(np.linspace(low, high, 11) for low, high in box.as_dict().values())
    middle = (edges[0][1:] + edges[0][:-1]) / 2
    shares = np.broadcast_to(np.exp(slope * np.log(10) * middle)[:, None, None], (10, 10, 10))
    return CellTheta(edges, np.ascontiguousarray(shares), n_extinctions)


def population(**values) -> Population:
    made = Population(
        Separable(Schechter(BOX.log_mass), PowerLawAge(BOX.log_age)), HalfNormal(BOX.a_v), 2.8
    )
    return made.with_values({"alpha_m": -1.9, "log_m_break": 4.5, "alpha_t": -0.8, **values})


@pytest.fixture(scope="module")
def survey() -> GaussianObservation:
    sky = 10 ** (-0.4 * np.array([26.0, 26.0, 25.0]))
    noise = NoiseCurves(BANDS, sky**2, np.zeros(3), np.full(3, 0.02))
    cuts = MeasuredCuts(5.0, 2, (), (), {"ACS_F555W": -5.5}, 0.0)
    return GaussianObservation(BANDS, MODULUS, noise, floor=0.1, cuts=cuts)


def drawn_pool(n: int) -> Pool:
    design = Design(n, 1, cells())
    rows = design.rows(0, design.n)
    columns = [rows[name] for name in ("log_mass", "log_age", "a_v", "seed")]
    mags = StarcensusEngine(BANDS).draw(*columns)["abs_mags"]
    return Pool.of_rounds([(ClusterLibrary(bands=BANDS, abs_mags=mags, **rows), design.theta)])


@pytest.fixture(scope="module")
def pool() -> Pool:
    return drawn_pool(24_000)


@pytest.fixture(scope="module")
def data(survey: GaussianObservation) -> Photometry:
    theta = np.asarray(population().sample(jax.random.key(3), 600), float)
    seeds = np.arange(600).astype(np.uint64) + 10**9
    mags = StarcensusEngine(BANDS).draw(*theta.T, seeds)["abs_mags"] + MODULUS
    return survey.draw(mags, np.random.default_rng(4))[1]


@pytest.fixture(scope="module")
def objects(survey, pool, data) -> LightObjects:
    return LightObjects(data, survey, pool, WHOLE)


total = eqx.filter_jit(sum_of_object_terms)


def terms(drawn: Population, samples) -> np.ndarray:
    return np.asarray(judged(drawn, samples)[0])


def effective(drawn: Population, samples) -> np.ndarray:
    return np.asarray(judged(drawn, samples)[1])


def brute_force(
    objects: LightObjects, drawn: Population, rows: np.ndarray | slice, far: float = np.inf
) -> np.ndarray:
    """ln Σ_j p(d_i, det | μ_j) λ(θ_j) w_j over rows of the pool, in plain 64-bit sums.

    With `far`, over those whose kernel is above e^-far of the object's largest among all.
    """
    data, pool, survey = objects.data, objects.pool, objects.observation
    assert isinstance(survey, GaussianObservation)
    flux = 10.0 ** (-0.4 * (pool.abs_mags[rows].astype(float) + MODULUS))
    # Of the whole pool: other numbers of rows would be other programs.
    log_p = (np.asarray(drawn.log_prob(*pool.theta.T), float) + pool.log_weight)[rows]
    found = []
    for value, error in zip(data.flux, data.flux_error, strict=True):
        variance = error**2 + (0.4 * np.log(10.0) * survey.floor * flux) ** 2
        kernel = (-0.5 * (value - flux) ** 2 / variance - 0.5 * np.log(variance / error**2)).sum(1)
        weights = np.where(kernel > kernel.max() - far, np.exp(kernel + log_p), 0.0)
        found.append(np.log(weights.sum()))
    return np.array(found)


def test_rows_are_the_brute_force_sum(objects):
    """To 1e-10 on 200 rows, and to 1e-5 on all, of which the search takes those within 5 sigma."""
    near = np.unique(objects.pairs.row)
    counts = np.bincount(objects.pairs.row, minlength=len(objects.pool))
    some = np.sort(near[np.argsort(counts[near])[-200:]])
    pairs = objects.pairs
    kept = np.isin(pairs.row, some)
    held = Pairs(pairs.owner[kept], np.searchsorted(some, pairs.row[kept]), pairs.log_kernel[kept])
    few = dataclasses.replace(
        objects, pool=objects.pool.take(some), pairs=held, p_rows=objects.p_rows[some]
    )
    drawn = population()
    there = np.bincount(held.owner, minlength=len(few)) > 0
    alone = np.array([(held.owner == i).sum() for i in range(len(few))])
    # Sums over the very rows that the search found, by a formula of their own.
    exact = np.full(len(few), -np.inf)
    for i in np.flatnonzero(there):
        rows = held.row[held.owner == i]
        one = dataclasses.replace(few, data=few.data.take(np.array([i])), pairs=held)
        exact[i] = brute_force(one, drawn, rows)[0]
    assert there.sum() > 10 and alone.max() > 20
    found = terms(drawn, few.rows(BOX))
    np.testing.assert_allclose(found[there], exact[there], rtol=0, atol=1e-10)
    first = dataclasses.replace(objects, data=objects.data.take(slice(0, 12)), pairs=Pairs.none())
    whole = brute_force(first, drawn, slice(None))
    np.testing.assert_allclose(terms(drawn, objects.rows(BOX))[:12], whole, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def in_forms(objects) -> tuple:
    """Rows, nodes, and nodes on panels of half the width."""
    rows = objects.rows(BOX)
    return rows, *(deposit(rows, rules_of_box(BOX, (width,) * 3)) for width in (0.2, 0.1))


@pytest.mark.parametrize("values", [{}, {"alpha_m": -2.3}, {"alpha_t": -0.2}, {"sigma_av": 0.3}])
def test_nodes_are_the_rows(in_forms, values):
    rows, nodes, _ = in_forms
    drawn = population(**values)
    exact, found, again = (terms(drawn, each) for each in in_forms)
    assert abs((found - exact).sum()) < 0.1 and np.abs(found - exact).max() < 0.1
    # Of all clusters together: the one that is off most need not be where panels are too wide.
    coarse, fine = (np.sqrt(((x - exact) ** 2).mean()) for x in (found, again))
    assert fine < 0.5 * coarse
    of_rows, of_nodes = (effective(drawn, x) for x in (rows, nodes))
    # Of few rows in a panel across which the density falls by much, it is an estimate.
    np.testing.assert_allclose(of_nodes, of_rows, rtol=0.5)
    assert np.quantile(np.abs(of_nodes / of_rows - 1), 0.9) < 0.25


def test_deposit_is_exact_for_what_it_should_be_exact_for():
    """A density that is r times a polynomial of first degree in each axis."""
    rng = np.random.default_rng(0)
    rules = rules_of_box(BOX, (0.3, 0.5, 0.25))
    x = rng.uniform(6.5, 8.5, 50)
    first, basis = lagrange(rules[1], x)
    nodes = rules[1].nodes
    assert (basis.sum(axis=1) == pytest.approx(1.0)) and basis.shape == (50, 2)
    np.testing.assert_allclose((basis * nodes[first[:, None] + np.arange(2)]).sum(axis=1), x)
    with pytest.raises(ValueError, match="the rule covers"):
        lagrange(rules[1], np.array([8.6]))


def test_gradients_of_rows_and_nodes_agree(objects, in_forms):
    rows, _, nodes = in_forms
    names = ("alpha_m", "log_m_break", "alpha_t")
    values = {name: population().values()[name] for name in names}

    @jax.jit
    @jax.grad
    def slope(v, samples):
        return sum_of_object_terms(population().with_values(v), samples)

    of_rows, of_nodes = slope(values, rows), slope(values, nodes)
    for name in names:
        error = float(of_nodes[name]) - float(of_rows[name])
        assert abs(error) < 0.02 * len(objects) ** 0.5, name


@eqx.filter_jit
@jax.grad
def _slope_of_kink(at, drawn, samples):
    """A program for all kinks, whose places are an argument."""
    return sum_of_object_terms(drawn.with_values({"log_t_mid": at}), samples)


@pytest.mark.parametrize("log_t_mid", [7.1, 7.3, 7.4, 7.7])
def test_nodes_know_where_a_law_has_its_kink(objects, log_t_mid):
    """Wherever T_mid lies in a panel, the slope in it is that of the rows.

    With the density's values at the nodes it would be off by 4 to 6 here."""
    age = MassIndependentDisruption(BOX.log_age, alpha_t=-1.0)
    drawn = Population(Separable(Schechter(BOX.log_mass), age), HalfNormal(BOX.a_v), 2.8)
    rows = objects.rows(BOX)
    nodes = deposit(rows, rules_of_box(BOX, (0.3, 0.3, 0.3)))

    def slope(samples):
        with double_precision():
            return float(_slope_of_kink(np.asarray(log_t_mid), drawn, samples))

    assert slope(nodes) == pytest.approx(slope(rows), abs=1.5)


def test_dust_that_is_linear_between_corners_needs_no_more_nodes(objects):
    dust = NodesExtinction((0.0, 0.35, 1.0), np.array([0.5, 0.4, 0.1]))
    drawn = Population(population().mass_age, dust, 2.8)
    rows, corners = objects.rows(BOX), dust.corners()
    few, many = (
        deposit(rows, rules_of_box(BOX, (0.3, 0.3, 0.05), 2, corners, linear=linear))
        for linear in (True, False)
    )
    assert few.n_values < 0.5 * many.n_values
    np.testing.assert_allclose(terms(drawn, few), terms(drawn, many), rtol=0, atol=2e-6)


def test_what_a_population_cannot_produce_is_nothing_and_has_a_gradient(objects):
    """One object has dusty rows alone, and the dusty nodes carry no share: its term is −inf in both
    forms, and the gradient of the others' sum is finite."""
    dust = NodesExtinction((0.0, 0.1, 0.4, 1.0), np.array([1.0, 0.0, 0.0, 0.0]))
    drawn = Population(population().mass_age, dust, 2.8)
    rows = objects.rows(BOX)
    kept = (np.asarray(rows.owner) > 0) | (np.asarray(rows.theta)[2] > 0.4)
    some = RowSamples(
        np.asarray(rows.theta)[:, kept],
        *(np.asarray(x)[kept] for x in (rows.log_weight, rows.owner, rows.cluster)),
        rows.mask,
    )
    nodes = deposit(some, rules_of_box(BOX, (0.3, 0.3, 0.3), 2, dust.corners(), linear=True))
    for each in (some, nodes):
        found = terms(drawn, each)
        assert np.isneginf(found[0]) and np.isfinite(found[1:]).mean() > 0.9

    @jax.jit
    @jax.grad
    def slope(alpha_m):
        return sum_of_object_terms(drawn.with_values({"alpha_m": alpha_m}), nodes)

    with double_precision():
        assert np.isfinite(slope(-1.9))


def test_padding_changes_no_term(objects):
    drawn, nodes = population(), objects.summed(population())
    n, size = len(objects), nodes.n_values + 50
    padded = nodes.padded(size, n + 3)
    assert padded.n_objects == n and len(padded.mask) == n + 3
    np.testing.assert_array_equal(terms(drawn, padded)[:n], terms(drawn, nodes))
    assert float(total(drawn, padded)) == pytest.approx(float(total(drawn, nodes)), rel=1e-12)
    for sizes in ((size, n), (nodes.n_values, n + 3)):
        with pytest.raises(ValueError, match="cannot pad"):
            nodes.padded(*sizes)


@pytest.mark.parametrize("values", [{}, {"alpha_m": -2.4}, {"log_m_break": 4.0}, {"alpha_t": -0.3}])
def test_expected_number_is_the_sum_over_the_pool(objects, values):
    drawn, made = population(**values), objects.pool_grid(BOX)
    log_p = np.asarray(drawn.log_prob(*objects.pool.theta.T), float)
    each = objects.p_rows * np.exp(objects.pool.log_weight + log_p)
    fraction = float(made.grid.detected_fraction(drawn))
    assert fraction == pytest.approx(each.sum(), rel=2e-3)
    of_draw = np.bincount(objects.pool.cluster, each)
    assert made.error(drawn) == pytest.approx(np.sqrt((of_draw**2).sum()) / each.sum(), rel=1e-6)


def test_expected_number_is_what_a_survey_catalogues(objects, survey):
    """By clusters that the pool does not hold, of another seed."""
    drawn = population()
    theta = np.asarray(drawn.sample(jax.random.key(11), 6000), float)
    mags = StarcensusEngine(BANDS).draw(*theta.T, np.arange(6000).astype(np.uint64) + 10**10)
    p = survey.p_sel(mags["abs_mags"] + MODULUS)
    made = objects.pool_grid(BOX)
    error = np.hypot(made.error(drawn) * p.mean(), p.std() / np.sqrt(len(p)))
    assert float(made.grid.detected_fraction(drawn)) == pytest.approx(p.mean(), abs=4 * error)
    assert error < 0.1 * p.mean()


def test_order_of_bands_and_rows_is_of_no_effect(objects, survey, pool, data):
    turned = tuple(reversed(BANDS))
    noise = survey.noise
    other = dataclasses.replace(
        survey, bands=turned, noise=NoiseCurves(turned, noise.sky[::-1], noise.source[::-1],
                                                noise.share[::-1]),
    )  # fmt: skip
    mixed = np.random.default_rng(5).permutation(len(data))
    again = LightObjects(data.take(mixed).select(turned), other, pool, WHOLE)
    drawn = population()
    for form in ("rows", "nodes"):
        settings = dataclasses.replace(WHOLE, form=form)
        one, two = (
            np.asarray(terms(drawn, dataclasses.replace(x, settings=settings).samples(BOX)))
            for x in (objects, again)
        )
        np.testing.assert_allclose(two, one[mixed], rtol=0, atol=1e-9)


def test_an_object_is_judged_without_looking_at_the_others(objects, survey, pool, data):
    """The likelihood of the others is the same to the last bit when the extremes are left out."""
    bright = data.mags[:, 1]
    kept = np.delete(np.arange(len(data)), [np.argmin(bright), np.argmax(bright)])
    fewer = LightObjects(data.take(kept), survey, pool, WHOLE)
    drawn = population()
    whole = terms(drawn, objects.rows(BOX))
    np.testing.assert_array_equal(terms(drawn, fewer.rows(BOX)), whole[kept])
    np.testing.assert_array_equal(
        fewer.pool_grid(BOX).grid.p_sel, objects.pool_grid(BOX).grid.p_sel
    )


def test_a_few_rows_stand_for_the_many(objects):
    """Thinned sums keep their expectation, with the noise that their effective numbers say."""
    drawn = population()
    few = dataclasses.replace(objects, settings=LightSettings(max_rows=300))
    assert 300 * 0.8 < np.bincount(few.pairs.owner).max() < 300 * 1.3
    whole, some = terms(drawn, objects.rows(BOX)), terms(drawn, few.rows(BOX))
    counts = np.bincount(objects.pairs.owner)
    np.testing.assert_array_equal(some[counts <= 300], whole[counts <= 300])
    z = (np.exp(some - whole) - 1)[counts > 300] * np.sqrt(300)
    assert len(z) > 30 and abs(z.mean()) < 4 * z.std() / np.sqrt(len(z)) and 0.1 < z.std() < 1.5


@pytest.mark.slow
def test_a_library_that_is_too_thin_is_refused_and_one_drawn_to_order_is_not(survey, data):
    thin = draw_to_order(
        data, survey, StarcensusEngine(BANDS), BOX, TargetSettings(30, n_first=20, max_rounds=0)
    )
    with pytest.raises(ObjectsError, match="like no simulated one"):
        LightObjects(data, survey, thin.pool, pairs=thin.pairs).inside(BOX)
    settings = TargetSettings(6000, 30.0, 1500, 1500, max_rounds=3)
    made = draw_to_order(data, survey, StarcensusEngine(BANDS), BOX, settings)
    # A fit asks for 4 behind each.
    least = Thresholds().min_object_ess
    assert made.effective.min() > least and np.median(made.effective) > 30
    np.testing.assert_array_equal(
        made.effective, effective_clusters(made.pairs, made.pool, len(data))
    )
    # Aimed at these clusters, a pool serves them better than one of the same size that is not.
    flat = draw_to_order(
        data, survey, StarcensusEngine(BANDS), BOX,
        TargetSettings(6000, n_first=1, max_rounds=0, wide_share=1.0),
    )  # fmt: skip
    assert np.percentile(made.effective, 5) > 1.15 * np.percentile(flat.effective, 5)


def test_expected_clusters_of_which_nobody_knows_whether_they_are_catalogued(objects):
    """A network that finds 0.3 of all that it knows, down to V = 25.5: beyond stands for that."""
    bands = objects.observation.bands
    parts = MLP((np.zeros((2, len(bands))), np.zeros((1, 2))), (np.zeros(2), np.array([-0.85])))
    limits = np.array([[10.0, 25.5]] * len(bands))
    network = PhotometricNetwork((parts,), bands, limits, MODULUS, outside="clip")
    v = bands.index("ACS_F555W")
    for cuts, outside in ((objects.observation.cuts, "clip"), (MeasuredCuts(), "clip"),
                          (MeasuredCuts(), "zero")):  # fmt: skip
        survey = dataclasses.replace(
            objects.observation,
            cuts=cuts,
            selection=dataclasses.replace(network, outside=outside),
        )
        mags = objects.pool.abs_mags + MODULUS
        p = survey.p_sel(mags)
        some = dataclasses.replace(objects, observation=survey, p_rows=p)
        rate = p * np.exp(np.asarray(population().log_prob(*objects.pool.theta.T)))
        rate *= np.exp(objects.pool.log_weight)
        expected = rate[mags[:, v] > 25.5].sum() / rate.sum() if outside == "clip" else 0.0
        assert some.pool_grid(BOX).share_beyond(population()) == pytest.approx(expected, abs=1e-9)
        assert (expected > 0.1) == (cuts == MeasuredCuts() and outside == "clip"), expected
    assert objects.pool_grid(BOX).share_beyond(population()) == 0.0


def test_how_many_more_are_to_be_drawn_is_said(objects):
    n = len(np.unique(objects.pool.cluster))
    assert objects.remedy_for(3.0) == (
        f"draw about {2 * n:,} simulated clusters more (there are {n:,})"
    )
    assert objects.remedy_for(0.5) == objects.remedy_for(np.inf) == objects.remedy


def test_an_operator_beside_the_survey_is_refused(objects):
    limit = MagnitudeLimit.default("F555W", limit_mag=23.0, width_mag=0.2)
    with pytest.raises(ObjectsError, match="would count beside it"):
        objects.entering(limit)
    assert objects.entering(complete(BOX)).p_sel(4.5, 7.0, 0.1) == 1.0
    assert objects.pool_grid(BOX).operator(BOX).p_sel(4.5, 7.0, 0.1) > 0.9


def test_bounds_beyond_the_pool_are_refused(objects):
    with pytest.raises(ObjectsError, match="reach beyond the simulated clusters"):
        objects.inside(Box((2.0, 6.0), BOX.log_age, BOX.a_v))


def test_bands_that_the_pool_lacks_are_named(survey, data, pool):
    other = dataclasses.replace(pool, bands=("ACS_F435W", "ACS_F555W", "WFC3_UVIS_F814W"))
    with pytest.raises(ObjectsError, match="the library has no ACS_F814W"):
        LightObjects(data, survey, other)


@pytest.mark.slow
def test_a_fit_of_light_gives_back_its_truth(objects):
    settings = FitSettings(sampler=SamplerSettings(n_chains=2, n_warmup=200, n_samples=250))
    result = fit(objects, None, PopulationModel(population()), settings)
    for name in ("alpha_m", "alpha_t", "log_n"):
        truth = float(population().values()[name])
        low, high = (result.summary[f"posterior.{name}.{p}"] for p in ("p2_5", "p97_5"))
        assert low - 0.1 < truth < high + 0.1, name
    assert result.diagnostics.max_r_hat < 1.15
    assert result.diagnostics.integral_error < 0.1
    assert 0 < result.summary["node_error"] < 0.1
    assert set(result.diagnostics.object_shift) >= {"alpha_m", "log_n"}
    # Of the rows: what nodes say of squares may be nothing.
    drawn = {str(k): v.values for k, v in result.tree["posterior"].data_vars.items()}
    least = least_object_ess(result.exact, result.model, drawn)
    np.testing.assert_allclose(result.tree["constant_data"]["object_ess"], least, rtol=1e-6)
    assert least.min() == result.diagnostics.min_object_ess > 1.0


@pytest.mark.parametrize("width", [2.0, 0.2])
def test_node_error_counts_the_expected_number(objects, width):
    """Sums over the rows by the laws' own formulas, beside the product with the nodes."""
    settings = LightSettings(panels=(width, width, width), order=2)
    of = dataclasses.replace(objects, settings=settings).inside(BOX)
    mass_age = Separable(PowerLaw(BOX.log_mass), PowerLawAge(BOX.log_age))
    model = PopulationModel(Population(mass_age, HalfNormal(BOX.a_v), 2.8))
    rng = np.random.default_rng(2)
    values = {
        "alpha_m": rng.normal(-1.9, 0.1, (1, 12)),
        "alpha_t": rng.normal(-0.8, 0.1, (1, 12)),
        "sigma_av": np.exp(rng.normal(-1, 0.1, (1, 12))),
        "log_n": np.full((1, 12), 2.8),
    }
    with double_precision():
        checked = of.expected(model.population, complete(BOX))
        samples = of.rows(BOX)
        found = node_error(samples, samples, model, values, checked)
        off = []
        for k in range(12):
            a, t, s, _ = (float(v[0, k]) for v in values.values())

            def slope(x, power, low, high):
                return (
                    10 ** (power * x) * power * LN10 / (10 ** (power * high) - 10 ** (power * low))
                )

            density = slope(checked.theta[:, 0], a + 1, *BOX.log_mass)
            density = density * slope(checked.theta[:, 1], t + 1, *BOX.log_age)
            dust = truncnorm.pdf(checked.theta[:, 2] / s, 0.0, BOX.a_v[1] / s) / s
            there = model.population.with_values({n: v[0, k] for n, v in values.items()})
            rows = float((checked.weight * density * dust).sum())
            off.append(np.log(float(checked.grid.detected_fraction(there)) / rows))
    expected = len(of) * np.ptp(off)
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-6)
    # The gate has power where panels are wide.
    assert (found > 0.1) == (width == 2.0)


def test_nodes_are_made_finer_until_they_are_fine_enough(objects, monkeypatch):
    """What is sampled, without the sampling: a test of `slow` has the chains."""
    few = dataclasses.replace(objects, settings=LightSettings(panels=(0.4, 0.4, 0.4)))
    module = importlib.import_module("starcensus.inference.fit")
    seen = []
    said: list[str] = []

    class Enough(Exception):
        pass

    def sampled(given, *_):
        seen.append(given)
        error = {1: 0.5, 2: 0.11}.get(len(seen), 0.09)
        return module._Sampled(None, {}, error)

    def judge(*_):
        raise Enough

    monkeypatch.setattr(module, "_sampled", sampled)
    monkeypatch.setattr(module, "flatten", judge)
    with pytest.raises(Enough):
        fit(few, None, PopulationModel(population()), progress=said.append)
    assert said.count("sampling again, with finer nodes") == 2
    for times, given in enumerate(seen):
        np.testing.assert_allclose(given.objects.settings.panels, [0.4 * 0.7**times] * 3)
    edges = [len(given.samples.rules[0][0]) for given in seen]
    assert edges == sorted(set(edges))


@pytest.mark.slow
def test_a_fit_whose_nodes_are_too_few_takes_more(objects):
    few = dataclasses.replace(objects, settings=LightSettings(panels=(0.7, 0.7, 0.7)))
    sampler = SamplerSettings(n_chains=2, n_warmup=80, n_samples=50)
    coarse = Thresholds(max_node_error=np.inf)
    said: list[str] = []
    for limits in (coarse, Thresholds()):
        result = fit(
            few,
            None,
            PopulationModel(population()),
            FitSettings(sampler=sampler, thresholds=limits),
            said.append,
        )
        assert isinstance(result.objects, LightObjects)
        times = said.count("sampling again, with finer nodes")
        expected = [0.7 * 0.7**times] * 3
        np.testing.assert_allclose(result.objects.settings.panels, expected, rtol=1e-9)
        assert (times == 0) == (limits is coarse) and result.summary.get("n_refined", 0) == times
        assert (result.summary["node_error"] > 0.1) == (limits is coarse)
