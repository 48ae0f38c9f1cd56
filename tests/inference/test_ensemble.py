"""The posterior under each member of an operator's ensemble, against the posteriors themselves."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from starcensus.forward import (
    Constant,
    Fixed,
    HalfNormal,
    Population,
    PowerLaw,
    Separable,
    Uniform,
    selection_grid,
)
from starcensus.inference import (
    ErrorSettings,
    FitSettings,
    PopulationModel,
    PublishedValues,
    SamplerSettings,
    double_precision,
    ensemble_change,
    fit,
    log_likelihood,
)
from starcensus.selection import (
    Box,
    GridSelection,
    MemberSelection,
    complete,
    load_selection,
    save_selection,
)
from starcensus.selection.catalogue import Catalogue

BOX = Box((3.0, 6.0), (6.0, 8.5), (0.0, 2.0))
POPULATION = Population(
    Separable(PowerLaw(BOX.log_mass, -2.0), Constant(BOX.log_age)), HalfNormal(BOX.a_v, 0.5), 2.4
)
NODES = selection_grid(complete(BOX), POPULATION)
ALPHA, LOG_N = np.linspace(-2.9, -1.1, 61), np.linspace(1.8, 3.4, 81)
N_DRAWS = 4000


def ensemble(spread: float, acts_on: str) -> GridSelection:
    """Three members whose limits differ in mass and in width."""
    mass, age, a_v = np.linspace(3, 6, 31), np.array([6.0, 8.5]), np.array([0.0, 2.0])
    limits = 3.6 + spread * np.array([-1.0, 0.0, 1.0])
    widths = np.array([0.18, 0.2, 0.22])
    p = 1 / (1 + np.exp(-(mass - limits[:, None]) / widths[:, None]))
    p = np.broadcast_to(p[:, :, None, None], (3, 31, 2, 2))
    made = GridSelection.from_probabilities((mass, age, a_v), p)
    return dataclasses.replace(made, acts_on=acts_on)


def objects(n: int = 60) -> PublishedValues:
    rng = np.random.default_rng(5)
    log_mass = np.minimum(3.5 - np.log10(1 - rng.random(n)), 5.9)
    theta = np.stack([log_mass, rng.uniform(6.1, 8.4, n), rng.uniform(0.1, 1.5, n)], axis=1)
    catalogue = Catalogue("made", np.arange(n).astype(str), theta, theta - 0.15, theta + 0.15)
    return PublishedValues(catalogue, ErrorSettings(n_samples=8))


@eqx.filter_jit
def of_each_slope(family, samples, p_sel):
    """ln L of the conditional form and the share that is catalogued, at every alpha_m."""
    grid = eqx.tree_at(lambda g: g.p_sel, NODES, p_sel)

    def of(alpha):
        drawn = family.with_values({"alpha_m": alpha})
        return log_likelihood(drawn, samples, grid, "conditional"), grid.detected_fraction(drawn)

    return jax.lax.map(of, jnp.asarray(ALPHA))


def posterior(samples, model, grid) -> np.ndarray:
    """Probabilities of the points (alpha_m, log_n), or of alpha_m alone where N is integrated."""
    family = model.population.with_values(model.fixed_values())
    ln_l, share = (np.asarray(x) for x in of_each_slope(family, samples, grid.p_sel))
    if model.form == "poisson":
        expected = share[:, None] * 10.0**LOG_N
        n = samples.n_objects
        ln_l = ln_l[:, None] + n * np.log(expected) - expected
    p = np.exp(ln_l - np.max(ln_l))
    return p / p.sum()


@pytest.mark.parametrize(("form", "acts_on"), [("poisson", "truth"), ("conditional", "data")])
def test_reweighted_draws_are_those_of_each_member_alone(form, acts_on):
    selection, clusters = ensemble(0.06, acts_on), objects()
    priors = {"alpha_m": Uniform(-2.9, -1.1), "sigma_av": Fixed()}
    model = PopulationModel(POPULATION, priors, form)
    with double_precision():
        grid = selection_grid(selection, POPULATION)
        samples = clusters.samples(BOX, selection)
        exact = posterior(samples, model, grid)
        # Draws of the very posterior of the mean, without a sampler.
        at = np.random.default_rng(1).choice(exact.size, N_DRAWS, p=exact.ravel())
        if form == "poisson":
            i, j = np.divmod(at, len(LOG_N))
            values = {"alpha_m": ALPHA[i][None], "log_n": LOG_N[j][None]}
        else:
            values = {"alpha_m": ALPHA[at][None], "log_n": np.zeros((1, N_DRAWS))}
        found = ensemble_change(clusters, samples, selection, model, grid, values)
        assert len(found.members) == 3
        alpha = ALPHA[:, None] if form == "poisson" else ALPHA
        shifts = []
        for k, member in enumerate(found.members):
            one = MemberSelection(selection, k)
            of_member = posterior(
                clusters.samples(BOX, one), model, selection_grid(selection, POPULATION, None, k)
            )
            expected = (of_member - exact) * alpha
            change = member.mean["alpha_m"] - found.mean["alpha_m"]
            # The draws are common to both, so that their difference is better known than either.
            assert change == pytest.approx(expected.sum(), abs=0.1 * found.sd["alpha_m"])
            if form == "poisson":
                expected = ((of_member - exact) * LOG_N).sum()
                change_n = member.mean["log_n"] - found.mean["log_n"]
                assert change_n == pytest.approx(expected, abs=0.1 * found.sd["log_n"])
            shifts.append(change / found.sd["alpha_m"])
            assert not member.refused and member.effective >= 100
    # What is compared is there: members shift the slope by more than the tolerance, either way.
    assert min(shifts) < -0.25 and max(shifts) > 0.25
    assert (found.widening("alpha_m") or 0.0) > 1.0
    summary = found.summary()
    assert summary["ensemble.n_members"] == 3
    assert summary["ensemble.member_0.alpha_m"] == pytest.approx(shifts[0] * found.sd["alpha_m"])


def test_the_number_of_a_conditional_fit_moves_with_the_share_that_is_catalogued():
    selection, clusters = ensemble(0.02, "data"), objects()
    model = PopulationModel(POPULATION, {"sigma_av": Fixed(), "alpha_m": Fixed()}, "conditional")
    values = {"alpha_m": np.full((1, 500), -2.0), "log_n": np.full((1, 500), 2.5)}
    with double_precision():
        grid = selection_grid(selection, POPULATION)
        samples = clusters.samples(BOX, selection)
        found = ensemble_change(clusters, samples, selection, model, grid, values)
        family = POPULATION
        shares = [
            float(selection_grid(selection, family, None, k).detected_fraction(family))
            for k in (None, 0, 1, 2)
        ]
    for member, share in zip(found.members, shares[1:], strict=True):
        assert member.mean["log_n"] == pytest.approx(2.5 + np.log10(shares[0] / share))


def test_a_member_too_far_from_the_mean_is_refused_in_words():
    selection, clusters = ensemble(0.5, "data"), objects()
    model = PopulationModel(POPULATION, {"sigma_av": Fixed()})
    rng = np.random.default_rng(2)
    values = {
        "alpha_m": rng.normal(-2.0, 0.1, (1, 500)),
        "log_n": rng.normal(2.4, 0.06, (1, 500)),
    }
    with double_precision():
        grid = selection_grid(selection, POPULATION)
        samples = clusters.samples(BOX, selection)
        found = ensemble_change(clusters, samples, selection, model, grid, values)
        few = ensemble_change(clusters, samples, ensemble(0.0, "data"), model, grid, values, 40.0)
    first = found.members[0]
    assert first.effective < 100 and first.mean == {}
    assert "under member 0" in first.refused and "member = 0" in first.refused
    assert found.widening("alpha_m") is None
    assert found.summary()["ensemble.member_0.refused"] == first.refused
    assert not any("widening" in name for name in found.summary())
    # Draws that follow one another are fewer than they look.
    assert all(member.effective <= 40 and member.refused for member in few.members)


def test_a_single_member_says_nothing_of_spread():
    selection, clusters = MemberSelection(ensemble(0.1, "data"), 1), objects(5)
    model = PopulationModel(POPULATION, {"sigma_av": Fixed()})
    values = {"alpha_m": np.full((1, 3), -2.0), "log_n": np.full((1, 3), 2.0)}
    grid = selection_grid(selection, POPULATION)
    samples = clusters.samples(BOX, selection)
    found = ensemble_change(clusters, samples, selection, model, grid, values)
    assert found.members == () and found.summary() == {"ensemble.n_members": 0}


def test_one_member_is_an_operator_that_is_saved(tmp_path):
    whole = ensemble(0.1, "truth")
    theta = (np.array([3.4, 3.7]), 7.0, 0.5)
    for k, one in enumerate(MemberSelection.each(whole)):
        np.testing.assert_array_equal(one.p_sel(*theta), whole.members(*theta)[k])
        assert one.acts_on == "truth" and one.n_members == 1
        np.testing.assert_allclose(
            selection_grid(one, POPULATION).p_sel,
            selection_grid(whole, POPULATION, None, k).p_sel,
            atol=1e-6,
        )
        save_selection(one, tmp_path / "one.h5")
        again = load_selection(tmp_path / "one.h5")
        np.testing.assert_array_equal(again.p_sel(*theta), one.p_sel(*theta))
    with pytest.raises(ValueError, match="expected 0 to 2"):
        MemberSelection(whole, 3)


@pytest.mark.slow
def test_a_fit_with_one_member_alone_is_what_the_weights_say():
    selection, clusters = ensemble(0.06, "truth"), objects()
    model = PopulationModel(POPULATION)
    settings = FitSettings(sampler=SamplerSettings(n_warmup=300, n_samples=1000, seed=1))
    whole = fit(clusters, selection, model, settings)
    alone = fit(clusters, MemberSelection(selection, 2), model, settings)
    shifts = {}
    for name in ("alpha_m", "sigma_av", "log_n"):
        before, after = (np.asarray(r.tree["posterior"][name]) for r in (whole, alone))
        said = whole.summary[f"ensemble.member_2.{name}"]
        assert (after.mean() - before.mean()) == pytest.approx(said, abs=0.12 * before.std())
        shifts[name] = abs(said) / before.std()
    assert shifts["alpha_m"] > 0.25
    assert alone.summary["ensemble.n_members"] == 0
