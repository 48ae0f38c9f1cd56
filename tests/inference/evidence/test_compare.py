"""Comparisons of evidences: probabilities, words, and what must not be compared."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from starcensus.forward import (
    Constant,
    HalfNormal,
    Normal,
    Population,
    PowerLaw,
    Separable,
    Uniform,
)
from starcensus.inference import PopulationModel
from starcensus.inference.evidence import (
    Comparison,
    Evidence,
    EvidenceError,
    PriorCurve,
    Thinned,
    grade,
    prior_curve,
    scaled,
    statistics_of,
)

DATA = {"clusters": "a", "selection": "b", "bounds": "box", "form": "poisson"}


def made(ln_z: float, model: str, error: float = 0.01, **other) -> Evidence:
    facts = {"numerical": 0.0, "data": DATA, **other}
    return Evidence(
        ln_z, error, ln_z, None, None, 0.0, model=model, n_clusters=100, details={}, **facts
    )


def test_probabilities_follow_from_odds_and_evidences():
    found = Comparison(
        {"a": made(0.0, "a"), "b": made(2.0, "b"), "c": made(-1.0, "c")}, {"a": 3.0, "c": 2.0}
    )
    weight = np.array([3.0, np.exp(2.0), 2 * np.exp(-1.0)])
    middle = [found.probabilities()[name][1] for name in "abc"]
    np.testing.assert_allclose(middle, weight / weight.sum())
    assert found.odds == pytest.approx({"a": 0.5, "b": 1 / 6, "c": 1 / 3})
    assert found.best == "b"
    low, _, high = Comparison({"a": made(0.0, "a", 0.5), "b": made(0.0, "b", 0.5)}).probabilities()[
        "a"
    ]
    # ln of the odds has the standard deviation √½.
    ends = 1 / (1 + np.exp(np.array([1, -1]) * np.sqrt(0.5) * scipy.stats.norm.ppf(0.84)))
    np.testing.assert_allclose([low, high], ends, atol=0.02)


def test_grades_are_those_of_kass_and_raftery():
    """2 ln B of 2, 6 and 10, of what remains after twice the error."""
    assert [grade(x, 0.0) for x in (0.99, 1.0, 2.99, 3.0, 4.99, -5.0)] == [
        "none",
        "positive",
        "positive",
        "strong",
        "strong",
        "very strong",
    ]
    assert grade(5.5, 0.3) == "strong" and grade(1.4, 0.3) == "none"


def test_words_say_what_cannot_be_told_apart():
    found = Comparison({"mid": made(0.0, "a"), "mdd": made(-0.4, "b"), "none": made(-9.0, "c")})
    assert found.words() == (
        "The data cannot tell mid and mdd apart (ln B = 0.4 ± 0.0).",
        "There is very strong evidence for mid against none (ln B = 9.0 ± 0.0).",
    )
    curve = PriorCurve(
        "log_t_mid", "flat", (0.5, 1.0, 2.0, 4.0), (1.0, 0.0, -5.0, -9.0), (0.0,) * 4, ("",) * 4
    )
    bent = Comparison(found.evidences, curves={"mid": (curve,)})
    assert (
        "This depends on the prior of log_t_mid of mid: 2 times as wide, ln B would be +4.0."
        in (bent.words())
    )
    scores = {
        "mid": Thinned((1.0, 2.0, 3.0), (0.0,) * 3, (5, 5, 5), 0),
        "none": Thinned((0.0, 0.9, 2.1), (0.0,) * 3, (5, 5, 5), 0),
    }
    scored = Comparison(found.evidences, thinned=scores)
    assert any("mid predicts clusters that were held out better (+3.0" in w for w in scored.words())


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("clusters", "b has other clusters, or other errors of these than a"),
        ("selection", "b has another selection than a"),
        ("bounds", r"b has other bounds of the population than a \(other; box\)"),
        ("form", "b has another form of the likelihood than a"),
    ],
)
def test_models_of_other_data_are_refused(what, message):
    other = made(0.0, "b", data={**DATA, what: "other"})
    with pytest.raises(EvidenceError, match=message):
        Comparison({"a": made(0.0, "a"), "b": other})


def test_other_mistakes_are_refused():
    with pytest.raises(EvidenceError, match="b and a are the same model"):
        Comparison({"a": made(0.0, "same"), "b": made(0.0, "same")})
    with pytest.raises(EvidenceError, match="expected two or more"):
        Comparison({"a": made(0.0, "a")})
    two = {"a": made(0.0, "a"), "b": made(0.0, "b")}
    with pytest.raises(EvidenceError, match=r"prior odds are given of \['x'\]"):
        Comparison(two, {"x": 1.0})
    with pytest.raises(EvidenceError, match="expected numbers above 0"):
        Comparison(two, {"a": -1.0})
    with pytest.raises(EvidenceError, match="expected the same folds"):
        Thinned((1.0,), (0.0,), (5,), 0).less(Thinned((1.0,), (0.0,), (5,), 1))


def test_files_keep_all_of_it():
    given = made(1.0, "a")
    assert Evidence.of_json(dataclasses.asdict(given)) == given


POPULATION = Population(
    Separable(PowerLaw((3.5, 6.5), -2.0), Constant((6.0, 8.5))), HalfNormal((0.0, 2.0), 0.5), 2.0
)


def test_curves_of_a_normal_prior_are_exact():
    """A normal posterior under a normal prior: Z of any width in closed form."""
    data, error = -1.8, 0.1
    model = PopulationModel(POPULATION, {"alpha_m": Normal(-2.0, 0.5)})
    precise = 1 / 0.5**2 + 1 / error**2
    mean = (-2.0 / 0.5**2 + data / error**2) / precise
    draws = mean + precise**-0.5 * np.random.default_rng(1).normal(size=(4, 4000))
    factors = (0.7, 1.0, 2.0, 4.0)
    found = prior_curve(model, {"alpha_m": draws}, "alpha_m", factors)

    def ln_z(factor: float) -> float:
        return float(scipy.stats.norm.logpdf(data, -2.0, np.hypot(0.5 * factor, error)))

    exact = np.array([ln_z(factor) - ln_z(1.0) for factor in factors])
    assert (np.abs(found.change - exact) <= 4 * np.array(found.errors) + 1e-12).all()
    assert max(found.errors) < 0.02 and not any(found.refused)
    narrow = prior_curve(model, {"alpha_m": draws}, "alpha_m", (0.002,))
    assert np.isnan(narrow.change[0]) and "expected 100" in narrow.refused[0]


def test_curves_of_a_flat_prior():
    model = PopulationModel(POPULATION, {"alpha_m": Uniform(-3.0, -1.0)})
    draws = np.clip(-2.0 + 0.1 * np.random.default_rng(1).normal(size=(4, 1000)), -2.99, -1.01)
    found = prior_curve(model, {"alpha_m": draws}, "alpha_m", (0.5, 2.0))
    np.testing.assert_allclose(found.change, [np.log(2.0), -np.log(2.0)])
    leaning = np.random.default_rng(1).uniform(-3.0, -2.0, size=(4, 1000))
    found = prior_curve(model, {"alpha_m": leaning}, "alpha_m", (0.5, 2.0))
    # Half of the draws lie in the middle half of the prior.
    assert abs(found.change[0]) < 4 * found.errors[0] < 0.2
    assert np.isnan(found.change[1]) and "leans on the edge" in found.refused[1]
    with pytest.raises(EvidenceError, match=r"'log_t_mid' is no fitted scalar.*alpha_m"):
        prior_curve(model, {"alpha_m": draws}, "log_t_mid")
    with pytest.raises(EvidenceError, match="no number above 0"):
        prior_curve(model, {"alpha_m": draws}, "alpha_m", (0.0,))


def test_scaled_priors_keep_their_middle_and_their_limits():
    assert scaled(Uniform(-3.0, -1.0), 0.5) == Uniform(-2.5, -1.5)
    assert scaled(Normal(0.0, 1.0, low=-1.0), 2.0) == Normal(0.0, 2.0, low=-1.0)


def test_numbers_of_a_catalogue_aim_where_they_say():
    rng = np.random.default_rng(1)
    theta = np.column_stack([rng.normal(4, 0.5, 400), rng.uniform(6, 9, 400), np.zeros(400)])
    tilted = theta.copy()
    tilted[:, 1] += 0.5 * (tilted[:, 0] > np.median(theta[:, 0]))
    of = {name: statistic for name, (_, statistic) in statistics_of(theta).items()}
    assert of["age_by_mass"](tilted) - of["age_by_mass"](theta) == pytest.approx(0.5)
    assert of["old_share"](theta) == pytest.approx(0.25, abs=0.01)
    assert of["young_share"](theta) == pytest.approx(0.25, abs=0.01)
    top = theta.copy()
    top[np.argmax(top[:, 0]), 0] += 1.0
    assert of["largest_masses"](top) - of["largest_masses"](theta) == pytest.approx(0.2)
    assert np.isnan(of["largest_masses"](theta[:3]))
