"""By how much a survey and what was learned of it move fits: slopes, and the chance of tables."""

import numpy as np
import pytest
from benchmarks import known_survey as known
from tests.inference.held_out import HeldOut
from tests.inference.held_out_shift import Study, at_injections, features, learned_slopes, totals

from starcensus.networks import TrainSettings
from starcensus.selection.observation import (
    ObservationSettings,
    learn_observation,
    recorded_photometry,
)

NUMBER = 300.0


def of_v(data) -> np.ndarray:
    """A slope that is known: V about 22, and 1 for what is catalogued."""
    return np.column_stack([data.mags[:, 1] - 22.0, np.ones(len(data))])


STUDY = Study(("v", "number"), of_v, np.eye(2), np.ones(2))


@pytest.fixture(scope="module")
def observation():
    settings = ObservationSettings(epochs=20, n_components=2, selection=TrainSettings((8,), 2, 20))
    return learn_observation(known.table(4000, 1), settings)


def test_slopes_are_learned_where_they_are_smooth():
    rng = np.random.default_rng(0)
    mags = known.true_mags(4000, rng)
    seen = recorded_photometry(known.met(mags, rng), 0.3)
    assert seen.ci is not None
    same = np.full(len(seen), 2.0)
    slopes = np.column_stack([np.sin(seen.mags[:, 1]), (seen.ci - 1.75) ** 2, same])
    of, explained = learned_slopes(features(seen), slopes)
    assert (explained[:2] > 0.9).all()
    assert explained[2] == 1.0 and np.abs(of(seen)[:, 2] - 2.0).max() < 0.05


def test_tables_differ_by_as_much_as_their_chance_says(observation):
    mags = known.true_mags(3000, np.random.default_rng(2))
    found = [
        at_injections(
            STUDY, observation, HeldOut.of(observation, known.table(1500, seed)), mags, NUMBER
        )
        for seed in range(10, 24)
    ]
    moved, chance = (np.array(x) for x in zip(*found, strict=True))
    np.testing.assert_allclose(moved.std(axis=0, ddof=1), chance.mean(axis=0), rtol=0.6)
    # The last column counts clusters, as the slope of 1 does.
    np.testing.assert_allclose(moved[:, 1], moved[:, 2])


def test_a_survey_that_the_model_knows_moves_nothing(observation):
    mags = known.true_mags(4000, np.random.default_rng(3))
    one, other = (totals(STUDY, observation, mags, NUMBER, seed) for seed in (1, 2))
    assert one.shape == (2, 3)
    p = observation.p_sel(mags).mean() * NUMBER
    assert one[:, 2].mean() == pytest.approx(p, rel=0.05)
    assert abs((one - other).mean(axis=0)[0]) < 0.1 * p
