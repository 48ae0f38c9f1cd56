"""Evidences of measured light, on nodes and on rows, and of draws from posteriors of others."""

import dataclasses

import jax
import numpy as np
import pytest
from tests.inference import test_light as light

from starcensus.forward import Constant, Fixed, HalfNormal, Population, Schechter, Separable
from starcensus.inference import (
    FitResult,
    FitSettings,
    LightObjects,
    LightSettings,
    PopulationModel,
    PosteriorDraws,
    SamplerSettings,
    Thresholds,
    fit,
)
from starcensus.inference.evidence import (
    Comparison,
    Evidence,
    EvidenceError,
    EvidenceSettings,
    ThinningSettings,
    evidence,
    thinned_score,
)
from starcensus.selection import complete
from starcensus.selection.observation import GaussianObservation, MeasuredCuts, NoiseCurves
from starcensus.simulate import ClusterLibrary, Design, Pool, StarcensusEngine

SETTINGS = FitSettings(
    sampler=SamplerSettings(n_warmup=150, n_samples=300, seed=3),
    # The library is small: what matters here is that the sums are the same.
    thresholds=Thresholds(
        max_r_hat=1.05,
        min_ess=100.0,
        max_object_shift=9.0,
        max_integral_error=9.0,
        min_object_ess=0.0,
    ),
    n_predictions=10,
)
BRIDGE = EvidenceSettings(method="bridge", max_numerical=100.0)
HELD = {"log_m_break": Fixed(4.5), "sigma_av": Fixed()}
FALLING = PopulationModel(light.population(), HELD)
FLAT = PopulationModel(
    Population(
        Separable(Schechter(light.BOX.log_mass, -1.9, 4.5), Constant(light.BOX.log_age)),
        HalfNormal(light.BOX.a_v),
        2.8,
    ),
    HELD,
)


def weighed(objects, model: PopulationModel, selection=None) -> tuple[FitResult, Evidence]:
    result = fit(objects, selection, model, SETTINGS)
    return result, evidence(result, BRIDGE)


@pytest.mark.slow
def test_light_on_nodes_and_on_rows_has_one_evidence():
    design = Design(24_000, 1, light.cells())
    rows = design.rows(0, design.n)
    columns = [rows[name] for name in ("log_mass", "log_age", "a_v", "seed")]
    mags = StarcensusEngine(light.BANDS).draw(*columns)["abs_mags"]
    library = ClusterLibrary(bands=light.BANDS, abs_mags=mags, **rows)
    pool = Pool.of_rounds([(library, design.theta)])
    sky = 10 ** (-0.4 * np.array([26.0, 26.0, 25.0]))
    noise = NoiseCurves(light.BANDS, sky**2, np.zeros(3), np.full(3, 0.02))
    cuts = MeasuredCuts(5.0, 2, (), (), {"ACS_F555W": -5.5}, 0.0)
    observation = GaussianObservation(light.BANDS, light.MODULUS, noise, floor=0.1, cuts=cuts)
    theta = np.asarray(light.population().sample(jax.random.key(3), 300), float)
    seeds = np.arange(300).astype(np.uint64) + 10**9
    seen = StarcensusEngine(light.BANDS).draw(*theta.T, seeds)["abs_mags"] + light.MODULUS
    data = observation.draw(seen, np.random.default_rng(4))[1]
    nodes = LightObjects(data, observation, pool, LightSettings())
    result, on_nodes = weighed(nodes, FALLING)
    in_rows = dataclasses.replace(nodes, settings=LightSettings(form="rows"))
    _, on_rows = weighed(in_rows, FALLING)
    # Sums are the same but for what nodes do to them, which `shift` undoes in the first term; the
    # expected number on nodes is a sum over the same rows.
    assert abs(on_nodes.ln_z - on_rows.ln_z) < 0.1
    assert on_rows.shift == 0.0 and on_nodes.data == on_rows.data
    _, flat = weighed(nodes, FLAT)
    # The slope of ages of the mock is −0.8.
    found = Comparison({"falling": on_nodes, "flat": flat})
    assert found.bayes("falling", "flat").ln_b > 3
    scores = thinned_score(result, ThinningSettings(n_folds=2), SETTINGS.sampler)
    assert np.isfinite(scores.scores).all() and sum(scores.n_held) == len(data.ids)


@pytest.mark.slow
def test_draws_of_posteriors_have_the_evidence_of_what_they_are_drawn_from():
    """π is divided out, and a constant that is missing from it is the same for all models."""
    theta = np.asarray(light.population().sample(jax.random.key(3), 120), float)
    rng = np.random.default_rng(5)
    box = light.BOX
    low, high = (np.array([getattr(box, a)[i] for a in box.as_dict()]) for i in (0, 1))
    inside = [np.clip(t + 0.02 * rng.normal(size=(64, 3)), low, high) for t in theta]
    ids = [str(i) for i in range(len(inside))]
    found = {}
    for constant in (0.0, 2.0):
        priors = [np.full(64, constant) for _ in inside]
        objects = PosteriorDraws.from_arrays(ids, inside, priors)
        for name, model in (("falling", FALLING), ("flat", FLAT)):
            found[name, constant] = weighed(objects, model, complete(box))[1]
    n = len(ids)
    for name in ("falling", "flat"):
        apart = found[name, 0.0].ln_z - found[name, 2.0].ln_z
        assert apart == pytest.approx(2.0 * n, abs=0.1)
    ln_b = [
        Comparison({name: found[name, c] for name in ("falling", "flat")}).bayes("falling", "flat")
        for c in (0.0, 2.0)
    ]
    assert ln_b[0].ln_b == pytest.approx(ln_b[1].ln_b, abs=0.1)
    with pytest.raises(EvidenceError, match="has other clusters, or other errors"):
        Comparison({"falling": found["falling", 0.0], "flat": found["flat", 2.0]})
