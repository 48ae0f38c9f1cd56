"""A survey of held-out injections has its own shares of places."""

import dataclasses

import numpy as np
import pytest
from benchmarks import known_survey as known
from tests.inference.held_out import HeldOut

from starcensus.inference.identity import described
from starcensus.networks import TrainSettings
from starcensus.selection.observation import ObservationSettings, learn_observation


@pytest.fixture(scope="module")
def observation():
    settings = ObservationSettings(epochs=1, n_components=2, selection=TrainSettings((8,), 2, 1))
    return learn_observation(known.table(2000, 1), settings)


def test_places_count_as_the_survey_has_them(observation):
    """Half of the injections are where few of the survey's clusters are, and are catalogued there
    twice as often: 0.625 of them where all places alike would say 0.75, and weights among the
    three nearest alone 0.664."""
    table = known.table(20_000, 2)
    crowded = np.arange(len(table)) % 2 == 0
    lost = crowded & (np.random.default_rng(3).random(len(table)) < 0.5)
    kept = table.catalogued & ~lost
    weighted = dataclasses.replace(
        table,
        catalogued=kept,
        detected=kept,
        cuts={"ci": kept},
        measured_mags=np.where(kept[:, None], table.measured_mags, np.nan),
        measured_errors=np.where(kept[:, None], table.measured_errors, np.nan),
        ci=np.where(kept, table.ci, np.nan),
        place_weight=np.where(crowded, 1.5, 0.5),
    )
    survey = HeldOut.of(observation, weighted)
    mags = known.true_mags(20_000, np.random.default_rng(4))
    share = survey.draw(mags, np.random.default_rng(5))[0].sum() / known.p_detected(mags).sum()
    assert share == pytest.approx(0.625, abs=0.02)


def test_what_a_concentration_index_says_of_light_is_not_blurred(observation):
    """V about what the index says of it scatters as the survey's does. With the V of the injections
    as it is, it would by the distance between them too, 1.04 times as much."""
    survey = HeldOut.of(observation, known.table(20_000, 2))
    mags = known.true_mags(20_000, np.random.default_rng(4))
    kept, data = survey.draw(mags, np.random.default_rng(5))
    true = mags[kept]
    bright = true[:, 1] < 22.5
    assert data.ci is not None
    away = (data.mags - true)[bright, 1] - 1.5 * (data.ci[bright] - 1.75)
    expected = np.sqrt(
        (known.covariance(true[0])[1, 1] - known.sd_of(true[0])[1] ** 2)
        + np.mean(known.sd_of(true[bright, 1]) ** 2)
    )
    assert away.std() == pytest.approx(expected, rel=0.03)


def test_a_cut_on_v_acts_on_what_is_measured(observation, monkeypatch):
    """Of the clusters near it as many are catalogued as in the survey itself, and none beyond."""
    limit = known.FAINTEST
    monkeypatch.setattr(known, "FAINTEST", 99.0)
    table, direct = known.table(40_000, 2), known.table(40_000, 3)
    v, other = (np.nan_to_num(x.measured_mags[:, 1], nan=99.0) for x in (table, direct))
    cut = dataclasses.replace(
        table,
        catalogued=table.catalogued & (v <= limit),
        cuts={"ci": table.catalogued, "absolute_v": v <= limit},
    )
    survey = HeldOut.of(observation, cut)
    kept, data = survey.draw(direct.true_mags, np.random.default_rng(5))
    assert data.mags[:, 1].max() <= limit
    near = np.abs(direct.true_mags[:, 1] - limit) < 0.4
    share = (direct.catalogued & (other <= limit))[near].sum()
    assert kept[near].sum() == pytest.approx(share, abs=4 * np.sqrt(2 * share))


def test_what_a_survey_found_since_is_no_part_of_it(observation):
    """A study that goes on in another process has another history."""
    table = known.table(4000, 2)
    survey = HeldOut.of(observation, table)
    before = described(survey)
    survey.draw(table.true_mags, np.random.default_rng(0))
    assert described(survey) == before
    fewer = dataclasses.replace(survey, table=table.take(np.arange(3999)))
    assert described(fewer) != before
    assert described(dataclasses.replace(survey, max_error=0.2)) != before
