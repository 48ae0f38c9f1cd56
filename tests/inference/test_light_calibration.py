"""Calibrations of measured light: catalogues with stars of their own, judged by the likelihood."""

import dataclasses

import jax
import numpy as np
import pytest
from benchmarks.known_light import BOX, engine, survey
from tests.inference import light_study
from tests.inference.light_study import model

from starcensus.forward import (
    Fixed,
    HalfNormal,
    Normal,
    Population,
    PowerLaw,
    PowerLawAge,
    Separable,
)
from starcensus.inference import PopulationModel
from starcensus.inference.calibration import (
    CalibrationSettings,
    Problem,
    calibrate_problem,
    score_test,
)
from starcensus.inference.objects import (
    LightSettings,
    ObjectsError,
    TargetSettings,
    draw_to_order,
)
from starcensus.inference.sampling import SamplerSettings
from starcensus.selection.observation import MeasuredCuts
from starcensus.simulate import Pool


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Thin, and wide enough for what these tests ask of it."""
    settings = TargetSettings(
        2500, n_first=500, n_extinctions=4, max_rounds=0, mass_slope=-1.0, seed=3
    )
    first = model().population
    data = light_study.recorded(first, 0)
    return draw_to_order(data, survey(), engine(), BOX, settings).pool


WIDE = survey(floor=0.5)


def simple() -> PopulationModel:
    """Of few parameters, for what does not depend on them."""
    population = Population(
        Separable(PowerLaw(BOX.log_mass), PowerLawAge(BOX.log_age)), HalfNormal(BOX.a_v), 2.6
    )
    priors = {
        "alpha_m": Normal(mean=-2.0, sd=0.15),
        "alpha_t": Normal(mean=-0.5, sd=0.15),
        "sigma_av": Fixed(),
        "log_n": Normal(mean=2.6, sd=0.05),
    }
    return PopulationModel(population, priors)


def problem(pool: Pool, n: int = 2, of: PopulationModel | None = None, **told) -> Problem:
    sampler = SamplerSettings(2, 50, 50, max_tree_depth=3)
    settings = CalibrationSettings(n, seed=2, n_ranked=50, sampler=sampler)
    return Problem.seen(of or model(), engine(), WIDE, pool, settings, **told)


def test_catalogues_of_light_are_judged_as_those_of_masses_are(pool):
    made, again = (problem(pool, of=simple()) for _ in range(2))
    assert made.digest == again.digest
    assert made.digest != problem(pool, of=simple(), assumed=survey(floor=0.4)).digest
    catalogues, others = made.mocks(0, 2), again.mocks(1, 2)
    assert [len(x) for x in catalogues[1:]] == [len(x) for x in others]
    for one, other in zip(
        *(jax.tree.leaves(x.samples) for x in (catalogues[1], others[0])), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert min(map(len, catalogues)) > 20
    said: list[str] = []
    scores = score_test(made, said.append)
    # The library's chance is that of all catalogues: what is behind them is told.
    behind = np.concatenate([x.effective for x in catalogues])
    assert f"half of the clusters are like {np.median(behind):.3g} effective" in said[1]
    assert 1 <= behind.min() and behind.max() < len(np.unique(pool.cluster))
    assert scores.n == 2 and set(scores.names) == {"alpha_m", "alpha_t", "log_n"}
    assert np.isfinite(scores.bias).all()


@pytest.mark.slow
def test_catalogues_of_light_are_ranked(pool):
    made = problem(pool)
    catalogues = made.mocks(0, 2)
    ranked = calibrate_problem(made)
    assert ranked.ranks.shape == (2, len(ranked.names)) and ranked.ranks.max() <= 50
    assert ranked.sizes.tolist() == [len(x) for x in catalogues]


@pytest.mark.slow
def test_the_rows_give_the_scores_of_the_nodes(pool):
    nodes, rows = (
        score_test(problem(pool, light=LightSettings(form, (0.2, 0.2, 0.2))))
        for form in ("nodes", "rows")
    )
    np.testing.assert_allclose(nodes.bias, rows.bias, rtol=0.05, atol=0.05)


def test_an_engine_of_other_bands_is_refused_and_default_cuts_have_a_digest(pool):
    few = dataclasses.replace(engine(), bands=engine().bands[1:])
    with pytest.raises(ValueError, match=r"draws no WFC3_UVIS_F275W; it has WFC3_UVIS_F336W"):
        Problem.seen(model(), few, WIDE, pool)
    uncut = dataclasses.replace(WIDE, cuts=MeasuredCuts())
    digests = {Problem.seen(model(), engine(), x, pool).digest for x in (WIDE, uncut)}
    assert len(digests) == 2


def test_a_library_without_a_likeness_is_refused(pool):
    narrow = survey(floor=0.01, common=0.0)
    with pytest.raises(ObjectsError, match="like no simulated one"):
        problem(pool.take(slice(0, 50)), assumed=narrow).mocks(0, 1)
