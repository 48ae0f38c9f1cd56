"""What an observation model leaves open, where its effect on a posterior is known."""

import dataclasses

import jax
import numpy as np
import pytest
from tests.inference.test_light import BANDS, BOX, MODULUS, drawn_pool, population

from starcensus.forward.priors import Fixed, Normal, Uniform
from starcensus.inference import (
    FitSettings,
    PopulationModel,
    SamplerSettings,
    double_precision,
    fit,
    log_likelihood,
    observation_change,
)
from starcensus.inference.draws import flatten
from starcensus.inference.evidence import EvidenceError, evidence
from starcensus.inference.objects import LightObjects, LightSettings, ObjectsError
from starcensus.selection import UncertaintyError, complete
from starcensus.selection.observation import (
    AbstractObservation,
    GaussianObservation,
    MeasuredCuts,
    NoiseCurves,
)
from starcensus.simulate import StarcensusEngine

SKY = 10 ** (-0.4 * np.array([26.0, 26.0, 25.0]))
NOISE = NoiseCurves(BANDS, SKY**2, np.zeros(3), np.full(3, 0.02))
CUTS = MeasuredCuts(5.0, 2, (), (), {"ACS_F555W": -5.5}, 0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Other(GaussianObservation):
    """A survey that sees clusters fainter by `offset`, mag, and catalogues a `share` of them."""

    offset: float = 0.0
    share: float = 1.0
    halves: tuple[AbstractObservation, ...] = ()

    def log_prob(self, data, rows, mags):
        return super().log_prob(data, rows, mags + self.offset) + np.log(self.share)

    def p_sel(self, mags):
        return self.share * super().p_sel(mags + self.offset)


def survey(**values) -> Other:
    return Other(BANDS, MODULUS, NOISE, floor=0.1, cuts=CUTS, **values)


SHARES = (0.8, 1.0, 1.25)


@pytest.fixture(scope="module")
def objects() -> LightObjects:
    theta = np.asarray(population().sample(jax.random.key(3), 600), float)
    seeds = np.arange(600).astype(np.uint64) + 10**9
    light = StarcensusEngine(BANDS).draw(*theta.T, seeds)["abs_mags"] + MODULUS
    data = survey().draw(light, np.random.default_rng(4))[1]
    return LightObjects(data, survey(), drawn_pool(16_000), LightSettings(max_rows=10**6))


def believing(objects: LightObjects, observation: Other) -> LightObjects:
    """The objects with another observation model, compared anew."""
    return LightObjects(objects.data, observation, objects.pool, objects.settings)


def test_halves_are_what_they_are_alone(objects):
    """To what the search leaves out at the edge of sums, for it looks around the whole model."""
    halves = tuple(survey(offset=x, share=0.9) for x in (-0.04, 0.04))
    found = believing(objects, survey(halves=halves)).of_halves()
    assert len(found) == len(halves)
    for each, half in zip(found, halves, strict=True):
        alone = believing(objects, half)
        np.testing.assert_array_equal(each.p_rows, alone.p_rows)
        own, again = (x.rows(BOX).log_terms(population()) for x in (alone, each))
        np.testing.assert_allclose(again, own, rtol=0, atol=1e-3)


def test_halves_of_another_survey_are_refused(objects):
    far = dataclasses.replace(survey(), distance_modulus=MODULUS + 1)
    with pytest.raises(ObjectsError, match="those of the whole"):
        believing(objects, survey(halves=(far, far))).of_halves()


MODEL = {
    "alpha_m": Normal(mean=-1.9, sd=0.2, low=-2.6, high=-1.2),
    "log_m_break": Normal(mean=4.5, sd=0.2, low=4.0, high=5.0),
    "alpha_t": Fixed(),
    "sigma_av": Fixed(),
}


def model(form: str) -> PopulationModel:
    own = {} if form == "conditional" else {"log_n": Uniform(low=2.0, high=4.0)}
    return PopulationModel(population(), MODEL | own, form=form)  # pyright: ignore


def drawn(n: int = 4000, scale: float = 1.0) -> dict[str, np.ndarray]:
    """Draws of some posterior: what a weight does to them is known whatever it is."""
    rng = np.random.default_rng(8)
    values = {
        "alpha_m": rng.normal(-1.9, 0.02 * scale, (4, n // 4)),
        "log_m_break": rng.normal(4.5, 0.05 * scale, (4, n // 4)),
    }
    return values | {"log_n": rng.normal(2.8, 0.03 * scale, (4, n // 4))}


def change(objects: LightObjects, halves: tuple[Other, ...], form: str, values, **more):
    own = believing(objects, survey(halves=halves))
    of = model(form)
    samples, grid = own.summed(of.population), own.pool_grid(BOX).grid
    return observation_change(own, samples, grid, of, values, **more)


def test_halves_that_agree_change_nothing(objects):
    found = change(objects, (survey(),) * 3, "poisson", drawn())
    assert found.effective == pytest.approx(2000, rel=1e-6) and found.log_likelihood < 1e-9
    for name, value in found.shift.items():
        # Of 4,000 draws with replacement from 2,000.
        assert abs(value) < 0.06 and found.widening[name] == pytest.approx(1.0, abs=0.04)


def test_a_share_that_is_unknown_is_an_unknown_number(objects):
    """Conditional on the number of objects, what share is catalogued everywhere alike says nothing
    of φ, and log N is uncertain by just that."""
    halves = tuple(survey(share=share) for share in SHARES)
    values = drawn()
    found = change(objects, halves, "conditional", values)
    assert found.effective == pytest.approx(2000, rel=1e-6)
    sd = np.log10(SHARES).std(ddof=1)
    expected = np.hypot(1.0, sd / values["log_n"].std())
    assert found.widening["log_n"] == pytest.approx(expected, rel=0.05)
    assert found.widening["alpha_m"] == pytest.approx(1.0, abs=0.04)
    assert abs(found.shift["log_n"]) < 0.06 * expected


def test_a_poisson_posterior_with_an_unknown_share(objects):
    """exp(Δ_z) of a narrow posterior of N alone: a Gaussian times an exponential of N moves by its
    variance times the slope. The catalogue's number knows log N to 1/√n; a share moves ln L by
    n ln s − N f (s − 1)."""
    shares = (0.97, 1.03)
    values = {k: np.full_like(v, v.mean()) for k, v in drawn().items()}
    values["log_n"] = drawn()["log_n"]
    found = change(objects, tuple(survey(share=s) for s in shares), "poisson", values)
    own = believing(objects, survey())
    fixed = population().with_values({k: v.flat[0] for k, v in values.items()})
    fraction = float(own.pool_grid(BOX).grid.detected_fraction(fixed))
    n = 10 ** values["log_n"]
    slope = np.std(-fraction * (np.asarray(shares) - 1.0), ddof=1)
    shift = n.var() * slope / n.std()
    of_n = 10 ** values["log_n"].reshape(-1)[found.number]
    assert of_n.std() / n.std() == pytest.approx(np.hypot(1.0, shift), rel=0.04)
    assert found.log_likelihood == pytest.approx(slope * n.std(), rel=0.05)


def test_counted_draws_are_those_of_the_change(objects):
    values = drawn()
    found = change(objects, tuple(survey(share=s) for s in SHARES), "conditional", values, seed=3)
    again = change(objects, tuple(survey(share=s) for s in SHARES), "conditional", values, seed=4)
    assert not np.array_equal(found.number, again.number)
    joined = {k: v.reshape(-1) for k, v in values.items()}
    with_ = joined["log_n"][found.number] + found.change_of_log_n
    spread = with_.std() / joined["log_n"].std()
    assert spread == pytest.approx(found.widening["log_n"], rel=1e-9)


def test_what_draws_do_not_reach_is_not_claimed(objects):
    halves = tuple(survey(offset=x) for x in (-1.0, 1.0))
    found = change(objects, halves, "poisson", drawn(scale=8.0))
    assert found.effective < 50, found.effective
    assert not found.reached and not found.shift and not found.widening
    assert change(objects, (survey(),) * 2, "poisson", drawn(), min_ess=40.0).effective < 41


def test_draws_that_never_moved_are_not_claimed_either(objects):
    """Chains that stand still have no covariance, around which points could be."""
    stuck = {k: np.full_like(v, v.mean()) for k, v in drawn().items()}
    found = change(objects, tuple(survey(offset=x) for x in (-1, 1)), "poisson", stuck, min_ess=4.0)
    assert not found.reached and found.points is None and not found.shift


def quick(**more) -> FitSettings:
    sampler = SamplerSettings(4, 120, 500, method="importance")
    return FitSettings(sampler=sampler, n_predictions=20, **more)


def test_a_fit_is_refused_the_uncertainty_of_a_model_that_does_not_know_it(objects):
    with pytest.raises(UncertaintyError, match="n_halves"):
        fit(objects, None, model("conditional"), quick(uncertainty=True))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["conditional", "poisson"])
def test_a_zero_point_that_is_unknown_widens_what_it_moves(objects, form):
    """By as much as fits under other zero points move: each a fit of its own."""
    halves = tuple(survey(offset=x) for x in (-0.07, 0.07))
    found = fit(
        believing(objects, survey(halves=halves)), None, model(form), quick(uncertainty=True)
    )
    assert found.summary["observation.uncertainty"]
    assert found.summary["observation.n_points"] == 0
    converged = dataclasses.replace(found.diagnostics, failures=())
    with pytest.raises(EvidenceError, match="not of the one likelihood"):
        evidence(dataclasses.replace(found, diagnostics=converged))
    assert not any("leave open" in words for words in found.diagnostics.failures)
    tree = {k: v.values for k, v in found.tree["posterior"].data_vars.items()}
    wide = flatten(found.model, tree)
    means, sds = [], []
    for half in (*halves, survey()):
        alone = fit(believing(objects, half), None, model(form), quick())
        own = {k: v.values for k, v in alone.tree["posterior"].data_vars.items()}
        flat = flatten(alone.model, own)
        means.append({k: v.mean() for k, v in flat.items()})
        sds.append({k: v.std() for k, v in flat.items()})
    for name in ("alpha_m", "log_m_break", "log_n"):
        moved = np.std([m[name] for m in means[:2]], ddof=1)
        expected = np.hypot(sds[2][name], moved)
        assert wide[name].std() == pytest.approx(expected, rel=0.06), name
        said = found.summary[f"observation.{name}.widening"]
        assert said == pytest.approx(expected / sds[2][name], rel=0.06)
    # How deep the survey is moves log N most.
    assert found.summary["observation.log_n.widening"] > 1.04


@pytest.mark.slow
def test_what_draws_do_not_reach_wider_points_do(objects):
    """The mean over z of posteriors under L exp(Δ_z), by quadrature over parameters and z."""
    halves = tuple(survey(offset=x) for x in (-0.16, 0.16))
    own, of = believing(objects, survey(halves=halves)), model("poisson")
    alone = fit(believing(objects, survey()), None, of, quick())
    draws = {k: alone.tree["posterior"][k].values for k in ("alpha_m", "log_m_break", "log_n")}
    samples, grid = own.summed(of.population), own.pool_grid(BOX).grid
    found = observation_change(own, samples, grid, of, draws)
    assert found.reached and found.points is not None
    axes = np.linspace(-2.6, -1.2, 29), np.linspace(4.0, 5.0, 9), np.linspace(2.2, 3.9, 69)
    at = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")])
    values = dict(zip(draws, at, strict=True))
    log_like = [log_likelihoods(samples, grid, of, values)]
    for each in own.of_halves():
        log_like.append(
            log_likelihoods(each.summed(of.population), each.pool_grid(BOX).grid, of, values)
        )
    log_prior = -0.5 * ((at[0] + 1.9) / 0.2) ** 2 - 0.5 * ((at[1] - 4.5) / 0.2) ** 2
    # Of two halves, z_1 − z_2 alone counts.
    nodes, shares = np.polynomial.hermite_e.hermegauss(24)
    mixed = np.zeros(at.shape[1])
    for z, share in zip(nodes, shares / shares.sum(), strict=True):
        log_p = log_prior + log_like[0] + z * (log_like[2] - log_like[1]) / np.sqrt(2)
        p = np.exp(log_p - log_p.max())
        mixed += share * p / p.sum()
    for (name, x), own_draws in zip(values.items(), draws.values(), strict=True):
        mean = mixed @ x
        sd = np.sqrt(mixed @ (x - mean) ** 2)
        shift, widening = found.shift[name], found.widening[name]
        assert widening * own_draws.std() == pytest.approx(sd, rel=0.08), name
        assert own_draws.mean() + shift * own_draws.std() == pytest.approx(mean, abs=0.15 * sd)
    assert found.widening["log_n"] > 1.15


def log_likelihoods(samples, grid, of, values) -> np.ndarray:
    def at(draw):
        return log_likelihood(of.population.with_values(draw), samples, grid, "poisson")

    with double_precision():
        return np.asarray(jax.jit(lambda v: jax.lax.map(at, v, batch_size=32))(values))


def test_a_fit_says_what_would_be_counted(objects):
    halves = tuple(survey(share=s) for s in SHARES)
    found = fit(believing(objects, survey(halves=halves)), None, model("conditional"), quick())
    assert found.summary["observation.uncertainty"] is False
    assert found.summary["observation.n_halves"] == 3
    assert float(found.summary["observation.log_n.widening"]) > 1.2
    assert complete(BOX).n_members == 1
