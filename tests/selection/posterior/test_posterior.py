"""Posteriors learned from injections, against exact ones of a survey that is a Gaussian."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import truncnorm
from tests.selection.posterior.gaussian_survey import (
    BIAS,
    SD,
    detections,
    exact,
    injections,
)

from starcensus.files import FileError
from starcensus.inference import PosteriorDraws
from starcensus.inference.calibration import ecdf_band
from starcensus.selection import BandFacts, OtherSurveyError
from starcensus.selection.finder.cells import PARAMETERS
from starcensus.selection.finder.coverage import judge_coverage
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import LearningError
from starcensus.selection.posterior import LearnedPosterior, PosteriorSettings, learn_posterior

SETTINGS = PosteriorSettings(
    magnitudes=False, concentration=False, n_members=2, widths=(48, 48), epochs=60
)


@pytest.fixture(scope="module")
def learned() -> LearnedPosterior:
    return learn_posterior(injections(14_000, 1), SETTINGS)


@pytest.fixture(scope="module")
def others() -> InjectionTable:
    return injections(1_500, 3)


def test_the_exact_posterior_of_a_gaussian_survey_is_learned(learned, others):
    answers, truths = learned.of_injections(others)
    score = answers.log_score(answers.check(truths)).mean()
    caught = others.take(others.catalogued)
    ideal = sum(
        truncnorm.logpdf(truths[k], a, b, loc=middle, scale=SD[k])
        for k, (middle, a, b) in exact(caught).items()
    )
    # What is lost is lost at the sharp ends of the ranges, of which Gaussians have none.
    assert 0 <= ideal.mean() - score < 0.2
    below = answers.below(answers.check(truths))
    for k, (middle, a, b) in exact(caught).items():
        right = truncnorm.cdf(truths[k], a, b, loc=middle, scale=SD[k])
        assert np.abs(below[k] - right).mean() < 0.04
    # Weights depend on how a processor rounds: at a rate of 5% another one would be refused.
    found = judge_coverage(answers, truths, ecdf_band, seed=1, false_alarm=0.001)
    assert found.accepted, found.describe()
    # So many see a bias of a fifth of an error, or a width that is off by as much.
    assert found.caught.bias < 0.2 and found.caught.too_wide < 1.2


def test_a_posterior_that_ignores_the_bias_would_be_refused(learned, others):
    moved = dataclasses.replace(
        others, measured={k: v + 0.5 * BIAS for k, v in others.measured.items()}
    )
    answers, truths = learned.of_injections(moved)
    assert not judge_coverage(answers, truths, ecdf_band, seed=1, false_alarm=0.001).accepted


def test_draws_are_of_the_catalogued_sources_and_of_one_seed(learned, others):
    found = detections(others)
    drawn = learned.draw(found, 400, seed=3)
    assert drawn.theta.shape == (int(found.catalogued.sum()), 400, 3)
    np.testing.assert_array_equal(drawn.ids, found.ids[found.catalogued])
    assert drawn.box.holds(drawn.theta.reshape(-1, 3)).all()
    np.testing.assert_array_equal(drawn.theta, learned.draw(found, 400, seed=3).theta)
    middle, a, b = exact(others.take(others.catalogued))["log_mass"]
    mean = truncnorm.mean(a, b, loc=middle, scale=SD["log_mass"])
    assert np.abs(drawn.theta[..., 0].mean(1) - mean).mean() < 0.02


def test_a_file_gives_the_same_posterior(learned, others, tmp_path):
    learned.save(tmp_path / "posterior.h5", {"title": "toy"})
    again = LearnedPosterior.load(tmp_path / "posterior.h5")
    one, other = (
        each.mixtures(each.inputs.of_injections(others)).log_weight for each in (learned, again)
    )
    np.testing.assert_array_equal(one, other)
    assert again.inputs.names == learned.inputs.names and again.box == learned.box
    assert again.learned_for == learned.learned_for and again.marks == learned.marks
    (tmp_path / "other.h5").write_bytes(b"no")
    with pytest.raises(FileError, match=r"other\.h5"):
        LearnedPosterior.load(tmp_path / "other.h5")


def test_the_same_seed_gives_the_same_networks():
    few = dataclasses.replace(SETTINGS, n_members=1, epochs=2)
    one, other = (learn_posterior(injections(3_000, 4), few) for _ in range(2))
    for a, b in zip(one.members[0].weights, other.members[0].weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_injections_of_the_training_do_not_judge(learned):
    with pytest.raises(LearningError, match="it has not seen"):
        learned.of_injections(injections(14_000, 1).take(slice(0, 9_000)))


def test_a_design_that_is_not_even_is_refused():
    table = injections(3_000, 5)
    uneven = dataclasses.replace(table, log_density=table.log_mass)
    with pytest.raises(LearningError, match="not spread evenly"):
        learn_posterior(uneven, SETTINGS)
    with pytest.raises(LearningError, match="they are a part of it"):
        learn_posterior(table.take(table.log_mass > 3.5), SETTINGS)
    with pytest.raises(LearningError, match="200 or more"):
        learn_posterior(table.take(slice(0, 300)), SETTINGS)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"columns": ("said_colour",)}, "no column said_colour; it has"),
        ({"magnitudes": True}, "mag_ACS_F555W has nearly one value"),
        ({"concentration": True}, "ci has nearly one value"),
    ],
)
def test_columns_that_say_nothing_are_refused_by_name(change, match):
    with pytest.raises(LearningError, match=match):
        learn_posterior(injections(3_000, 5), dataclasses.replace(SETTINGS, **change))


def _with_depth(facts, noise_mag):
    bands = tuple(dataclasses.replace(each, noise_mag=noise_mag) for each in facts.bands)
    return dataclasses.replace(facts, bands=bands)


def test_detections_of_another_survey_are_refused(learned, others):
    found = detections(others)
    with pytest.raises(OtherSurveyError, match="pipeline"):
        learned.draw(dataclasses.replace(found, pipeline={"pipeline": "toy", "cut": 3}))
    with pytest.raises(OtherSurveyError, match="distance"):
        learned.draw(dataclasses.replace(found, distance_modulus=28.0))
    bands = tuple(BandFacts(each.name, noise_mag=27.0) for each in learned.learned_for.bands)
    deeper = dataclasses.replace(learned, learned_for=_with_depth(learned.learned_for, 28.0))
    with pytest.raises(OtherSurveyError, match="depth: the noise of a pixel"):
        deeper.draw(
            dataclasses.replace(found, survey=dataclasses.replace(found.facts, bands=bands))
        )
    assert (
        learned.draw(
            dataclasses.replace(found, distance_modulus=28.0), 5, accept=("distance",)
        ).theta.shape[1]
        == 5
    )
    with pytest.raises(LearningError, match="no column said_a_v"):
        fewer = {k: v for k, v in found.columns.items() if k != "said_a_v"}
        learned.draw(dataclasses.replace(found, columns=fewer))
    gap = np.array(found.columns["said_a_v"])
    gap[np.flatnonzero(found.catalogued)[4]] = np.nan
    lacking = dataclasses.replace(found, columns={**found.columns, "said_a_v": gap})
    with pytest.raises(LearningError, match="row 5 has no said_a_v"):
        learned.draw(lacking)
    rows = np.flatnonzero(found.catalogued)
    drawn = learned.draw(lacking, 5, leave_out=True)
    assert drawn.ids.tolist() == np.delete(found.ids[rows], 4).tolist()
    [cut] = PosteriorDraws.of_learned(drawn, "a survey").steps
    assert (cut.n_before, cut.n_after) == (len(rows), len(rows) - 1) and "said_a_v" in cut.reason
    assert not learned.draw(found, 5, leave_out=True).cuts
    gap[rows[: len(rows) // 10]] = np.nan
    lacking = dataclasses.replace(found, columns={**found.columns, "said_a_v": gap})
    with pytest.raises(LearningError, match="do not describe this catalogue"):
        learned.draw(lacking, 5, leave_out=True)


def test_numbers_that_some_rows_lack_are_told_apart_from_numbers():
    """A band that is there for half of the clusters says what it can of these, and of the others
    that it is not there."""
    table = injections(8_000, 6)
    mag = np.where(
        np.arange(8_000) % 2,
        table.log_mass + np.random.default_rng(1).normal(0, 0.05, 8_000),
        np.nan,
    )
    table = dataclasses.replace(table, measured_mags=mag[:, None])
    learned = learn_posterior(table, dataclasses.replace(SETTINGS, magnitudes=True))
    test = injections(2_000, 7)
    there = np.where(
        np.arange(2_000) % 2,
        test.log_mass + np.random.default_rng(2).normal(0, 0.05, 2_000),
        np.nan,
    )
    test = dataclasses.replace(test, measured_mags=there[:, None])
    answers, _ = learned.of_injections(test)
    sd = answers.draws[..., PARAMETERS.index("log_mass")].std(1)
    has = np.isfinite(test.measured_mags[test.catalogued, 0])
    assert sd[has].mean() < 0.1 and sd[~has].mean() > 0.12


def test_settings_refuse_what_cannot_be():
    for change in ({"n_members": 0}, {"widths": ()}, {"max_rate": 0.0}, {"columns": ("a", "a")}):
        with pytest.raises(ValueError, match="expected"):
            PosteriorSettings(**change)


def test_a_table_keeps_what_the_pipeline_measured(tmp_path, others):
    others.save(tmp_path / "table.h5")
    again = InjectionTable.load(tmp_path / "table.h5")
    assert again.sha256() == others.sha256() and list(again.measured) == list(others.measured)
    bare = dataclasses.replace(others, measured={})
    joined = InjectionTable.concatenate(others, bare)
    assert not joined.measured and len(joined) == 2 * len(others)
