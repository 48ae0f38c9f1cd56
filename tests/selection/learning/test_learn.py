"""From injections to operators, where the right answer is known."""

import dataclasses
import functools
import importlib

import numpy as np
import pytest

from starcensus.networks import TrainSettings, search_grid, train_ensemble
from starcensus.selection import (
    NetworkSelection,
    PhotometricNetwork,
    load_selection,
    selection_provenance,
)
from starcensus.selection.learning import (
    Inputs,
    LearnSettings,
    learn,
    log_loss,
    predict,
    reliability,
)
from starcensus.simulate import FlatRadius

TRAIN = TrainSettings(widths=(48, 48), n_members=2, epochs=30, batch_size=1024)


@pytest.fixture(scope="module")
def table(made_table):
    return made_table(30_000)


@pytest.fixture(scope="module")
def physical(table):
    return learn(table[0], LearnSettings(Inputs(r_eff=True), TRAIN))


def theta(n: int = 400):
    rng = np.random.default_rng(9)
    return rng.uniform(2.2, 6.8, n), rng.uniform(6.2, 9.8, n), rng.uniform(0.1, 2.9, n)


@pytest.fixture(scope="module")
def averaged(p_of):
    return lambda at, radii=range(1, 11): np.mean([p_of(*at, r) for r in radii], axis=0)


def test_the_operator_averages_over_radius(physical, averaged):
    operator = physical.operator
    assert isinstance(operator, NetworkSelection) and operator.acts_on == "data"
    assert operator.learned_for is not None
    assert operator.learned_for.tables_sha256 == physical.marks.tables
    assert operator.learned_for.radius_pc == pytest.approx((1.0, 2.0, 5.0, 9.0, 10.0))
    at = theta()
    error = np.abs(np.asarray(operator.p_sel(*at)) - averaged(at))
    assert error.mean() < 0.015 and error.max() < 0.12
    # The bounds of the design lie inside the domain, to the last digit.
    operator.check_points(np.array([2.0, 7.0]), np.array([6.0, 10.0]), np.array([0.0, 3.0]))


def test_another_distribution_of_radii_is_another_operator(table, averaged):
    settings = LearnSettings(Inputs(r_eff=True), TRAIN)
    large = learn(table[0], settings, radius=FlatRadius(8.0, 10.0, whole=True)).operator
    at = theta()
    assert isinstance(large, NetworkSelection)
    found = np.asarray(large.p_sel(*at))
    assert np.abs(found - averaged(at, (8, 9, 10))).mean() < 0.02
    assert np.abs(found - averaged(at)).mean() > 0.04


def test_held_out_injections_find_the_probabilities_right(physical, table):
    label = table[0].catalogued[physical.held_out]
    assert reliability(physical.p, label).p_value > 1e-3
    entropy = log_loss(table[1][physical.held_out], label)
    assert log_loss(physical.p, label) == pytest.approx(entropy, abs=6e-3)


def test_labels_of_other_rows_would_be_seen(table):
    """A separable catalogue is learned to 99.9%; with rows out of step it is not."""
    rows, p = table
    separable = dataclasses.replace(rows, catalogued=p > 0.5)
    shifted = dataclasses.replace(rows, catalogued=np.roll(p > 0.5, 1))
    inputs = Inputs(r_eff=True)
    train = dataclasses.replace(TRAIN, n_members=1, epochs=75)

    def agreement(given):
        learned = learn(given, LearnSettings(inputs, train))
        sure = np.abs(p - 0.5) > 0.05
        return ((predict(learned.operator, given) > 0.5) == given.catalogued)[sure].mean()

    assert agreement(separable) > 0.999
    assert agreement(shifted) < 0.8


def test_magnitudes_with_radius_and_a_mask(table, tmp_path):
    settings = LearnSettings(Inputs("photometric", r_eff=True, masked=True), TRAIN)
    learned = learn(table[0], settings)
    operator = learned.operator
    assert isinstance(operator, PhotometricNetwork) and operator.masked
    label = table[0].catalogued[learned.held_out]
    assert reliability(learned.p, label).p_value > 1e-3
    learned.save(tmp_path / "o.h5")
    facts = selection_provenance(tmp_path / "o.h5")
    assert facts["injection_table_sha256"] == table[0].sha256()
    assert facts["settings"]["train"]["dropout"] == 0.2
    again = load_selection(tmp_path / "o.h5")
    mags = np.array([[28.0, np.nan], [28.0, 27.9]])
    np.testing.assert_array_equal(operator.p_sel(mags), again.p_sel(mags))  # pyright: ignore
    # A band less tells less, but what is left is still right on average.
    hidden = table[0].true_mags[learned.held_out].copy()
    hidden[:, 0] = np.nan
    assert np.asarray(operator.p_sel(hidden)).mean() == pytest.approx(label.mean(), abs=0.03)


def test_the_local_sky_is_averaged_over_too(table, averaged):
    inputs = Inputs(r_eff=True, background=True)
    train = dataclasses.replace(TRAIN, n_members=1)
    operator = learn(table[0], LearnSettings(inputs, train)).operator
    at = theta()
    assert isinstance(operator, NetworkSelection)
    assert np.abs(np.asarray(operator.p_sel(*at)) - averaged(at)).mean() < 0.025


@pytest.mark.parametrize(
    ("given", "masked", "used"),
    [(None, True, 0.2), (0.0, True, 0.0), (0.4, True, 0.4), (None, False, 0.0)],
)
def test_bands_are_hidden_as_often_as_was_asked_for(table, given, masked, used, monkeypatch):
    module = importlib.import_module("starcensus.networks.training")
    seen = []

    def epoch(parameters, state, *rest):
        seen.append(rest[-2])
        return parameters, state, 0.0

    monkeypatch.setattr(module, "_epoch", epoch)
    train = dataclasses.replace(TRAIN, n_members=1, epochs=1, dropout=given)
    settings = LearnSettings(Inputs("photometric", masked=masked), train)
    learned = learn(table[0].take(slice(0, 500)), settings)
    assert learned.settings.train.dropout == used and seen == [used]
    # Networks that are trained without an operator have the same default.
    train_ensemble(np.ones((500, 4)), np.arange(500) % 2 == 0, train, n_masked=2 * masked)
    assert seen == [used, used]


def test_a_search_chooses_what_the_networks_are_trained_with(table, monkeypatch):
    rows = table[0].take(slice(0, 3000))
    module = importlib.import_module("starcensus.selection.learning.learn")
    few = functools.partial(search_grid, rates=(1e-7, 1e-2), decays=(3e-3,))
    monkeypatch.setattr(module, "search_grid", few)
    # A rate that teaches nothing is what the search has to replace.
    train = TrainSettings((16,), n_members=2, epochs=10, batch_size=256, max_rate=1e-7)
    found = learn(rows, LearnSettings(Inputs(), train, search=True))
    best = dataclasses.replace(train, max_rate=1e-2, weight_decay=3e-3, dropout=0.0)
    assert found.settings == LearnSettings(Inputs(), best, search=True)
    given, without = (learn(rows, LearnSettings(Inputs(), each)) for each in (best, train))
    assert found.provenance()["networks_sha256"] == given.provenance()["networks_sha256"]
    assert found.trained.validation_loss[:, -1].max() < without.trained.validation_loss[:, -1].min()


def test_a_distance_does_not_contradict_the_table(table):
    rows = table[0].take(slice(0, 500))
    settings = LearnSettings(Inputs("photometric"), dataclasses.replace(TRAIN, epochs=1))
    with pytest.raises(ValueError, match=r"distance_modulus is 29\.9, and .* are at 29\.98; leave"):
        learn(rows, settings, distance_modulus=29.9)
    for meta in (rows.meta, {}):
        given = dataclasses.replace(rows, meta=meta)
        operator = learn(given, settings, distance_modulus=29.98 + 1e-9).operator
        assert isinstance(operator, PhotometricNetwork)
        assert operator.distance_modulus == pytest.approx(29.98, abs=1e-8)


def test_tables_that_teach_nothing_are_refused(table):
    rows = table[0]
    with pytest.raises(ValueError, match="0 of 30000 injections are catalogued"):
        learn(dataclasses.replace(rows, catalogued=np.zeros(len(rows), bool)))
    with pytest.raises(ValueError, match="all injections have r_eff_pc = 3"):
        learn(
            dataclasses.replace(rows, r_eff_pc=np.full(len(rows), 3.0)),
            LearnSettings(Inputs(r_eff=True), TRAIN),
        )
    with pytest.raises(ValueError, match="radius is for networks that take r_eff"):
        learn(rows, radius=FlatRadius())
    with pytest.raises(ValueError, match="give distance_modulus"):
        learn(
            dataclasses.replace(rows.take(slice(0, 500)), meta={}),
            LearnSettings(Inputs("photometric"), dataclasses.replace(TRAIN, epochs=1)),
        )
    with pytest.raises(ValueError, match="masked is for magnitudes"):
        Inputs(masked=True)
