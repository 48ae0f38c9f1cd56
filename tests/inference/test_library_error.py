"""What one library says of its error, beside what other libraries of its size do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.inference.test_light import BANDS, BOX, MODULUS, cells, population

from starcensus.forward.priors import Fixed
from starcensus.inference import PopulationModel, library_error, object_shift
from starcensus.inference.draws import flatten
from starcensus.inference.likelihood import log_likelihood, sum_of_object_terms
from starcensus.inference.objects import LightObjects, LightSettings
from starcensus.inference.sampling import double_precision
from starcensus.selection import complete
from starcensus.selection.observation import GaussianObservation, MeasuredCuts, NoiseCurves
from starcensus.simulate import ClusterLibrary, Design, Pool, StarcensusEngine

N_PARTS = 24
DRAWS = 40


@pytest.fixture(scope="module")
def survey() -> GaussianObservation:
    """So wide that a thousand simulated clusters are fifty for an object."""
    sky = 10 ** (-0.4 * np.array([26.0, 26.0, 25.0]))
    noise = NoiseCurves(BANDS, sky**2, np.zeros(3), np.full(3, 0.02))
    cuts = MeasuredCuts(5.0, 2, (), (), {"ACS_F555W": -5.0}, 0.0)
    return GaussianObservation(BANDS, MODULUS, noise, floor=0.8, cuts=cuts)


def libraries(survey: GaussianObservation, n_parts: int) -> list[LightObjects]:
    """The same clusters with libraries that share no simulated cluster."""
    engine = StarcensusEngine(BANDS)
    theta = np.asarray(population().sample(jax.random.key(3), 1500), float)
    seeds = np.arange(1500).astype(np.uint64) + 10**9
    light = engine.draw(*theta.T, seeds)["abs_mags"] + MODULUS
    data = survey.draw(light, np.random.default_rng(4))[1]
    found = []
    for part in range(n_parts):
        design = Design(3000, 5 + part, cells(n_extinctions=3))
        rows = design.rows(0, design.n)
        columns = [rows[name] for name in ("log_mass", "log_age", "a_v", "seed")]
        library = ClusterLibrary(bands=BANDS, abs_mags=engine.draw(*columns)["abs_mags"], **rows)
        pool = Pool.of_rounds([(library, design.theta)])
        found.append(LightObjects(data, survey, pool, LightSettings(max_rows=10**6)))
    return found


@pytest.fixture(scope="module")
def objects(survey: GaussianObservation) -> LightObjects:
    return libraries(survey, 1)[0]


@pytest.fixture(scope="module", params=["poisson", "conditional"])
def model(request) -> PopulationModel:
    """Broad in two parameters, so that a draw's sums differ from another's."""
    fixed = {"alpha_t": Fixed(), "sigma_av": Fixed()}
    if request.param == "poisson":
        return PopulationModel(population(), fixed)
    return PopulationModel(population(), fixed, form="conditional")


def drawn_values(model: PopulationModel) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(8)
    found = {
        "alpha_m": -1.9 + 0.1 * rng.normal(size=(1, DRAWS)),
        "log_m_break": 4.5 + 0.2 * rng.normal(size=(1, DRAWS)),
    }
    if model.form == "poisson":
        found["log_n"] = 2.8 + 0.04 * rng.normal(size=(1, DRAWS))
    return found


def log_l(objects: LightObjects, model: PopulationModel, values: dict) -> np.ndarray:
    family = model.population.with_values(model.fixed_values())
    with double_precision():
        rows, grid = objects.rows(BOX), objects.expected(family, complete(BOX)).grid

        def at(drawn: dict) -> jax.Array:
            return log_likelihood(family.with_values(drawn), rows, grid, model.form)

        return np.asarray(
            jax.jit(lambda x: jax.lax.map(at, x))({k: v[0] for k, v in values.items()})
        )


@pytest.mark.slow
def test_one_library_says_how_libraries_scatter(survey, model):
    parts = libraries(survey, N_PARTS)
    values = drawn_values(model)
    each = np.array([log_l(part, model, values) for part in parts])
    change = each - each.mean(axis=1, keepdims=True)
    said = [library_error(part, model, values) for part in parts]
    # Of ln L between draws.
    scatter = np.sqrt(((change - change.mean(axis=0)) ** 2).sum() / (N_PARTS - 1) / DRAWS)
    told = np.sqrt(np.mean([x.log_likelihood**2 for x in said]))
    assert scatter > 0.1
    assert told == pytest.approx(scatter, rel=0.25)
    # Of each parameter, in units of its scatter among the draws.
    for name, draws in flatten(model, values).items():
        z = (draws[0] - draws.mean()) / draws.std()
        moved = (change @ z / DRAWS).std(ddof=1)
        predicted = np.sqrt(np.mean([x.shift[name] ** 2 for x in said]))
        # Low logs count as an error, though libraries share them.
        assert 0.75 * moved < predicted < 1.6 * moved, name
        # Each of them says so.
        assert min(x.shift[name] for x in said) > 0.5 * moved


def test_the_error_is_the_slope_with_each_clusters_weight(objects, model):
    """By derivatives of ln L with the logarithm of every simulated cluster's weight."""
    values = drawn_values(model)
    family = model.population.with_values(model.fixed_values())
    names, of_pool = np.unique(objects.pool.cluster, return_inverse=True)
    with double_precision():
        rows = objects.rows(BOX)
        of_rows = np.searchsorted(names, rows.cluster)
        at_rows = objects.pool.theta.T
        weight = objects.p_rows * np.exp(objects.pool.log_weight)

        def of(drawn: dict, raised: jax.Array) -> jax.Array:
            now = family.with_values(drawn)
            more = dataclasses.replace(rows, log_weight=rows.log_weight + raised[of_rows])
            total = sum_of_object_terms(now, more)
            number = (weight * jnp.exp(now.log_prob(*at_rows) + raised[of_pool])).sum()
            if model.form == "conditional":
                return total - len(objects) * jnp.log(number)
            return total - 10.0**now.log_n * number

        at = {k: v[0] for k, v in values.items()}
        slope = np.asarray(jax.lax.map(lambda x: jax.grad(of, 1)(x, jnp.zeros(len(names))), at))
        of_logs = jax.lax.map(lambda x: (1 / rows.effective(family.with_values(x))).sum(), at)
        low = -0.5 * np.asarray(of_logs)
    found = library_error(objects, model, values)
    assert found.log_likelihood == pytest.approx(np.sqrt(slope.var(axis=0).sum()), rel=1e-6)
    for name, draws in flatten(model, values).items():
        z = (draws[0] - draws.mean()) / draws.std()
        expected = np.hypot(np.sqrt(((z @ slope / DRAWS) ** 2).sum()), z @ low / DRAWS)
        assert found.shift[name] == pytest.approx(expected, rel=1e-6)


def test_a_shift_of_light_is_its_librarys(objects, model):
    values = drawn_values(model)
    family = model.population.with_values(model.fixed_values())
    with double_precision():
        nodes = objects.summed(family)
    found = object_shift(objects, nodes, complete(BOX), model, values)
    assert found == library_error(objects, model, values).shift
    assert set(found) == set(values) and all(x > 0.05 for x in found.values())


def test_a_library_of_nine_times_the_clusters_has_a_third_of_the_error(objects, model):
    """Every cluster nine times over, as if drawn anew, at a ninth of its weight."""
    values = drawn_values(model)
    pool, pairs, n = objects.pool, objects.pairs, len(objects.pool)
    assert pairs is not None
    times = np.repeat(np.arange(9), n)
    often = dataclasses.replace(
        pool,
        theta=np.tile(pool.theta, (9, 1)),
        abs_mags=np.tile(pool.abs_mags, (9, 1)),
        log_weight=np.tile(pool.log_weight, 9) - np.log(9),
        cluster=np.tile(pool.cluster, 9) + times * (pool.cluster.max() + 1),
    )
    row = (pairs.row[:, None] + n * np.arange(9)).ravel()
    more = dataclasses.replace(
        pairs,
        owner=np.repeat(pairs.owner, 9),
        row=row,
        log_kernel=np.repeat(pairs.log_kernel, 9),
    )
    whole = dataclasses.replace(objects, pool=often, pairs=more, p_rows=np.tile(objects.p_rows, 9))
    few, many = (library_error(x, model, values) for x in (objects, whole))
    assert many.log_likelihood == pytest.approx(few.log_likelihood / 3, rel=1e-6)
    # Between a third, of chance, and a ninth, of logarithms that are low.
    for name, shift in few.shift.items():
        assert shift / 9 < many.shift[name] < shift / 3 * (1 + 1e-6)


def test_an_object_that_nothing_can_produce_has_no_finite_error(objects, model):
    lost = np.where(objects.pairs.owner == 3, -np.inf, objects.pairs.log_kernel)
    none = dataclasses.replace(objects, pairs=dataclasses.replace(objects.pairs, log_kernel=lost))
    found = library_error(none, model, drawn_values(model))
    assert np.isinf(found.log_likelihood) and np.isinf(list(found.shift.values())).all()


def test_where_nothing_moves_nothing_is_off(objects, model):
    still = {name: np.full((1, 5), draws.mean()) for name, draws in drawn_values(model).items()}
    assert library_error(objects, model, still) == ({}, 0.0)
