"""The logistic regression beside the networks: its fit, its rows, its comparison."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit

from starcensus.networks import TrainSettings
from starcensus.selection import load_selection, save_selection, selection_provenance
from starcensus.selection.learning import (
    Inputs,
    LearningError,
    LearnSettings,
    LogisticRegression,
    evaluate,
    fit_logistic,
    fit_regressions,
    learn,
    log_loss,
    loss_difference,
    quadratic_terms,
)

QUICK = TrainSettings((8,), n_members=2, epochs=2, batch_size=512)


def test_newton_finds_what_another_optimiser_finds():
    rng = np.random.default_rng(3)
    x = np.column_stack([np.ones(800), rng.normal(size=(800, 3))])
    label = rng.random(800) < expit(x @ [-1.0, 3.0, -0.5, 0.2])
    weight = rng.uniform(0.2, 3.0, 800)

    def objective(b):
        p = np.clip(expit(x @ b), 1e-300, None), np.clip(expit(-x @ b), 1e-300, None)
        return -weight @ np.where(label, *np.log(p)) + 0.5 * (b[1:] ** 2).sum() / 2.0**2

    other = minimize(objective, np.zeros(4), method="BFGS", options={"gtol": 1e-6})
    found = fit_logistic(x, label, weight, prior_sd=2.0)
    np.testing.assert_allclose(found, other.x, atol=2e-5)


def test_two_groups_have_the_log_odds_of_their_shares():
    """In closed form, for a prior that is too wide to matter."""
    group = np.repeat([0.0, 1.0], [100, 50])
    label = np.concatenate([np.arange(100) < 20, np.arange(50) < 35])
    weight = np.where(group > 0, 1.5, 1.0)
    found = fit_logistic(np.column_stack([np.ones(150), group]), label, weight, prior_sd=1e4)
    odds = np.log(0.2 / 0.8), np.log(0.7 / 0.3)
    np.testing.assert_allclose(found, [odds[0], odds[1] - odds[0]], rtol=1e-6)


def test_separated_outcomes_have_finite_coefficients():
    x = np.linspace(-1, 1, 60)
    found = fit_logistic(np.column_stack([np.ones(60), x]), x > 0, np.ones(60))
    assert np.isfinite(found).all() and 10 < found[1] < 100


def test_the_error_of_a_difference_is_that_of_pairs():
    rng = np.random.default_rng(0)
    truth = rng.uniform(0.05, 0.95, 4000)
    p, q = expit(np.log(truth / (1 - truth)) + 0.4), truth
    means, error = [], np.nan
    for _ in range(200):
        label = rng.random(4000) < truth
        mean, error = loss_difference(p, q, label)
        assert mean == pytest.approx(log_loss(p, label) - log_loss(q, label), abs=1e-12)
        means.append(mean)
    assert np.std(means) == pytest.approx(error, rel=0.2)
    # A row of weight 2 is two rows.
    label, twice = np.arange(6) % 2 == 0, np.array([2.0, 1, 1, 1, 1, 1])
    a, b = rng.uniform(size=(2, 6))
    rows = [0, 0, 1, 2, 3, 4, 5]
    mean = loss_difference(a[rows], b[rows], label[rows])[0]
    assert loss_difference(a, b, label, twice)[0] == pytest.approx(mean)


def test_it_knows_a_logistic_truth(made_table, p_of):
    """`p_of` is logistic, and all but linear, in what the regression takes."""
    table = made_table(12_000)[0]
    same = fit_regressions(table, Inputs(r_eff=True))["same_inputs"]
    assert same.columns == ("log_mass", "log_age", "a_v", "log_r_eff_pc")
    truth = p_of(table.log_mass, table.log_age, table.a_v, table.r_eff_pc)
    assert np.sqrt(((same.p_sel(table) - truth) ** 2).mean()) < 0.03


def test_it_is_learned_with_the_networks_and_judged_beside_them(made_table, tmp_path):
    learned = learn(made_table(4000)[0], LearnSettings(Inputs(r_eff=True), QUICK))
    rows = np.setdiff1d(np.arange(4000), learned.held_out)
    own = fit_regressions(learned.table.take(rows), Inputs(r_eff=True))
    np.testing.assert_array_equal(
        own["same_inputs"].coefficients, learned.logistic["same_inputs"].coefficients
    )
    summary = learned.summary()
    gain = summary["held_out.logistic.same_inputs.gain"]
    loss = summary["held_out.logistic.same_inputs.log_loss"]
    assert gain == pytest.approx(loss - summary["held_out.log_loss"])
    # Two epochs of eight neurons know less than a logistic regression of a logistic truth.
    assert gain < -3 * summary["held_out.logistic.same_inputs.gain_error"] < 0

    learned.save(tmp_path / "o.h5")
    table = made_table(3000, 9)[0]
    found, again = evaluate(learned, table), evaluate(tmp_path / "o.h5", table)
    assert found.summary() == again.summary()
    each = found.logistic["same_inputs"]
    p = each.regression.p_sel(table)
    assert each.log_loss == pytest.approx(log_loss(p, table.catalogued))
    assert each.gain == pytest.approx(each.log_loss - found.log_loss)
    assert found.summary()["logistic.same_inputs.n_terms"] == 15
    assert each.reliability is not None
    assert each.reliability.p_value > 1e-4 > found.reliability.p_value


def test_what_the_networks_are_not_told_of_is_named(made_table):
    """`p_of` hangs on the radius, and not on the sky."""
    table = made_table(4000)[0]
    [words] = learn(table, LearnSettings(Inputs(), QUICK)).remarks()
    assert "the radius" in words and "`r_eff = true` in [inputs]" in words
    assert "sky" not in words
    by_sky = dataclasses.replace(table, r_eff_pc=table.background, background=table.r_eff_pc)
    [words] = learn(by_sky, LearnSettings(Inputs(), QUICK)).remarks()
    assert "`background = true` in [inputs]" in words and "radius" not in words
    told = learn(table, LearnSettings(Inputs(r_eff=True), QUICK))
    # Two epochs of networks know less than it, and it is not the sky that tells them apart.
    assert told.summary()["held_out.logistic.same_inputs.gain"] < 0
    assert told.remarks() == ()
    same = dataclasses.replace(table, r_eff_pc=np.full(len(table), 3.0))
    assert learn(same, LearnSettings(Inputs(), QUICK)).remarks() == ()


def test_place_weights_count_as_for_the_networks(made_table):
    table = made_table(3000)[0]
    # Catalogued clusters stand for twice as many of their kind.
    weight = np.where(table.catalogued, 2.0, 1.0)
    heavy = dataclasses.replace(table, place_weight=weight / weight.mean())
    settings = LearnSettings(Inputs(), QUICK)
    plain, moved = (learn(t, settings) for t in (table, heavy))
    p, q = (each.logistic["same_inputs"].p_sel(table) for each in (plain, moved))
    shift = np.log(q / (1 - q)) - np.log(p / (1 - p))
    assert np.median(shift) == pytest.approx(np.log(2), abs=0.1)
    test = made_table(2000, 5)[0]
    light = dataclasses.replace(test, place_weight=np.where(test.catalogued, 2.0, 0.5))
    found = evaluate(moved, light).logistic["same_inputs"]
    p = moved.logistic["same_inputs"].p_sel(test)
    assert found.log_loss == pytest.approx(log_loss(p, test.catalogued, light.place_weight))
    assert found.gain == pytest.approx(found.log_loss - evaluate(moved, light).log_loss)


def test_an_operator_that_keeps_none_says_nothing_of_it(made_table, tmp_path):
    learned = learn(made_table(1000)[0], LearnSettings(Inputs(), QUICK))
    facts = learned.provenance()
    del facts["logistic"]
    save_selection(learned.operator, tmp_path / "old.h5", facts)
    load_selection(tmp_path / "old.h5")
    found = evaluate(tmp_path / "old.h5", made_table(1000, 5)[0])
    assert found.logistic == {} and not any("logistic" in key for key in found.summary())
    facts["logistic"] = {"same_inputs": {"columns": ["log_mass"]}}
    save_selection(learned.operator, tmp_path / "torn.h5", facts)
    with pytest.raises(LearningError, match=r"cannot be read .*learn it again"):
        evaluate(tmp_path / "torn.h5", made_table(1000, 5)[0])


def test_magnitudes_keep_their_limits_through_a_file(made_table, tmp_path):
    learned = learn(made_table(2000)[0], LearnSettings(Inputs("photometric"), QUICK))
    same = learned.logistic["same_inputs"]
    assert same.columns == learned.table.bands and np.isfinite(same.low).all()
    learned.save(tmp_path / "o.h5")
    facts = selection_provenance(tmp_path / "o.h5")["logistic"]
    kept = {k: LogisticRegression.from_facts(v) for k, v in json.loads(json.dumps(facts)).items()}
    far = dataclasses.replace(learned.table, true_mags=learned.table.true_mags + 50.0)
    for name, each in learned.logistic.items():
        np.testing.assert_array_equal(kept[name].p_sel(far), each.p_sel(far))
    low, high = same.low, same.high
    edge = dataclasses.replace(far, true_mags=np.clip(far.true_mags, low, high))
    np.testing.assert_array_equal(same.p_sel(far), same.p_sel(edge))
    assert learned.logistic["physical"].columns[:3] == ("log_mass", "log_age", "a_v")


def test_what_cannot_be_regressed(made_table):
    table = made_table(300)[0]
    with pytest.raises(LearningError, match="takes X, and the table has magnitudes in"):
        LogisticRegression.fit(table, ("X",))
    with pytest.raises(LearningError, match="a_v is the same for all"):
        LogisticRegression.fit(dataclasses.replace(table, a_v=np.ones(300)), ("log_mass", "a_v"))
    with pytest.raises(ValueError, match=r"in 2 columns .* expected 2 and 6"):
        LogisticRegression(("a", "b"), *np.zeros((4, 2)), np.zeros(5))
    np.testing.assert_array_equal(quadratic_terms(np.array([[2.0, 3.0]])), [[1, 2, 3, 4, 6, 9]])
