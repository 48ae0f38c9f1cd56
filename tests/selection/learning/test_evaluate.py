"""How an operator is judged by injections, single and repeated."""

import dataclasses

import numpy as np
import pytest

from starcensus.networks import TrainSettings
from starcensus.selection import (
    Box,
    OtherSurveyError,
    SelectionDomainError,
    complete,
    load_selection,
    save_selection,
)
from starcensus.selection.learning import (
    Inputs,
    LearningError,
    LearnSettings,
    evaluate,
    learn,
    learned_networks,
    predict,
)

TRAIN = TrainSettings((32, 32), n_members=2, epochs=30, batch_size=512)


@pytest.fixture(scope="module")
def repeats(made_table):
    return made_table(1200, 7, repeats=20)[0]


def test_repeated_injections_say_how_good_it_is(made_table, repeats):
    found = evaluate(
        learn(made_table(12_000)[0], LearnSettings(Inputs(r_eff=True), TRAIN)), repeats
    )
    summary = found.summary()
    assert summary["n_clusters"] == 1200 and summary["n_repeats"] == 20
    assert 0.8 * summary["repeat_noise.p90"] < summary["error.p90"]
    assert summary["error.p90"] < 1.25 * summary["neighbours.p90"]
    by_k = found.by_k()
    assert [row["k"] for row in by_k] == [10, 20, 40, 80, 160, 320]
    best = min(by_k, key=lambda row: row["log_loss"])
    assert best == {key: summary[f"neighbours.{key}"] for key in best}
    assert summary["error.log_loss"] < summary["neighbours.log_loss"] + 0.005
    assert summary["error.rms"] < 1.05 * summary["neighbours.rms"]
    assert summary["reliability_p_value"] > 1e-4


def test_a_table_with_five_times_the_sky_is_another_survey(made_table, repeats):
    """An evaluation that said nothing would blame the networks for the sky, or praise them."""
    learned = learn(
        made_table(3000)[0], LearnSettings(Inputs(r_eff=True), dataclasses.replace(TRAIN, epochs=2))
    )
    bright = dataclasses.replace(repeats, background=5 * repeats.background)
    with pytest.raises(OtherSurveyError, match=r"sky: .*--accept sky"):
        evaluate(learned, bright)
    few = bright.take(bright.cluster < 100)
    [told] = evaluate(learned, few, neighbours=(20,), accept=("sky",)).differences
    assert told.about == "sky" and "moves by up to 0.8" in told.words
    assert evaluate(learned, repeats.take(repeats.cluster < 100), (20,)).differences == ()


def test_networks_that_take_the_sky_are_averaged_over_the_repeats(made_table, repeats, tmp_path):
    settings = LearnSettings(
        Inputs(r_eff=True, background=True), dataclasses.replace(TRAIN, epochs=2)
    )
    learn(made_table(6000)[0], settings).save(tmp_path / "sky.h5")
    # Of one cluster each repeat has another sky.
    sky = repeats.background * 10.0 ** (repeats.repeat % 4)
    table = dataclasses.replace(repeats, background=sky)
    found = evaluate(tmp_path / "sky.h5", {"skies": table})
    p = predict(learned_networks(tmp_path / "sky.h5"), table)
    share, mean, first = (
        np.array([rows(table.cluster == cluster) for cluster in range(1200)])
        for rows in (
            lambda own: table.catalogued[own].mean(),
            lambda own: p[own].mean(),
            lambda own: p[own][0],
        )
    )
    assert found.summary()["error.rms"] == pytest.approx(np.sqrt(((mean - share) ** 2).mean()))
    np.testing.assert_allclose(found.p, mean)
    assert np.abs(mean - first).max() > 0.01


def test_what_cannot_be_judged(made_table, tmp_path):
    table = made_table(600, 5)[0]
    save_selection(complete(Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))), tmp_path / "complete.h5")
    with pytest.raises(LearningError, match="holds a CompleteSelection; expected learned networks"):
        evaluate(tmp_path / "complete.h5", table)
    quick = LearnSettings(Inputs("photometric"), TrainSettings((8,), 1, 1, 256))
    learned = learn(made_table(600)[0], quick)
    with pytest.raises(LearningError, match="bands are ACS_F435W, ACS_F555W, those of the table"):
        evaluate(learned, dataclasses.replace(table, bands=("ACS_F435W", "V")))
    once = evaluate(learned, table)
    assert once.repeats is None and once.by_k() == [] and len(once.p) == 600
    assert "error.rms" not in once.summary()
    learned.save(tmp_path / "o.h5")
    assert type(load_selection(tmp_path / "o.h5")) is type(learned.operator)


def test_clusters_outside_the_domain_are_refused_and_not_judged_as_nan(made_table):
    quick = LearnSettings(Inputs(), TrainSettings((8,), 1, 1, 256))
    learned = learn(made_table(600)[0], quick)
    table = made_table(600, 5)[0]
    far = dataclasses.replace(table, log_mass=table.log_mass + 3.0)
    with pytest.raises(SelectionDomainError, match="points lie outside the domain"):
        evaluate(learned, far)
