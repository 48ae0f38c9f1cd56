"""A survey of held-out injections has its own shares of places."""

import dataclasses

import numpy as np
import pytest
from benchmarks import known_survey as known
from tests.inference.held_out import HeldOut

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
