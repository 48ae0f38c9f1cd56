"""Calibration: the bands are honest, right likelihoods pass, wrong ones fail."""

import dataclasses

import h5py
import numpy as np
import pytest
from scipy.stats import binom

from starcensus.forward import (
    Constant,
    HalfNormal,
    Normal,
    Population,
    PowerLaw,
    Separable,
)
from starcensus.inference import ErrorSettings, PopulationModel, SamplerSettings
from starcensus.inference.calibration import (
    Calibration,
    CalibrationFileError,
    CalibrationSettings,
    Problem,
    calibrate,
    check_ranks,
    ecdf_band,
    fits,
    gate_power,
    rank_ecdf,
    rank_of,
    run,
    score_test,
)
from starcensus.inference.calibration.fits import _program
from starcensus.inference.importance import NotGaussianError, resampled
from starcensus.inference.likelihood import Form
from starcensus.runs import RunError
from starcensus.selection import MagnitudeLimit, with_acts_on
from starcensus.shards import Work


def test_band_is_left_as_often_as_stated():
    n, n_ranked, rate = 80, 49, 0.1
    low, high = ecdf_band(n, n_ranked, rate)
    rng = np.random.default_rng(99)
    ranks = rng.integers(0, n_ranked + 1, size=(n, 4000))
    counts = rank_ecdf(ranks, n_ranked)
    left = ((counts < low[:, None]) | (counts > high[:, None])).any(axis=0).sum()
    # Two-sided, at a false-alarm rate of 1e-4; the band is conservative because counts are whole.
    assert left <= binom.ppf(1 - 1e-4, 4000, rate)
    assert left >= binom.ppf(1e-4, 4000, 0.5 * rate)


def made(quantiles: np.ndarray, n_ranked: int = 99) -> Calibration:
    ranks = np.floor(quantiles * (n_ranked + 1)).astype(int)
    shape = quantiles.shape
    rest = np.full(shape[0], 300), np.full(shape[0], 500.0)
    return Calibration(("x",), ranks, quantiles, np.zeros(shape), *rest, 99, 0, 0)


def test_uniform_ranks_pass_and_others_fail():
    u = np.random.default_rng(3).uniform(size=(200, 1))
    assert made(u).accepted()
    assert not made(u**1.6).checks().ranks_accepted[0]
    assert not made(0.5 + (u - 0.5) * 0.6).checks().coverage_accepted[1, 0]
    wide = 0.5 + np.sign(u - 0.5) * np.abs(2 * u - 1) ** 0.25 / 2
    assert not made(wide).checks().coverage_accepted[3, 0]


def test_ranks_are_counts_of_draws_below_the_truth():
    draws = np.array([[1.0, 2.0, 3.0, 4.0]] * 4)
    found = rank_of(draws, np.array([0.5, 2.5, 4.5, 3.0]))
    np.testing.assert_array_equal(found, [0, 2, 4, 2])
    with pytest.raises(ValueError, match="ranks run from 1 to 5; among 4 draws they are 0 to 4"):
        check_ranks(found[:, None] + 1, 4)


def test_the_gate_has_the_power_that_it_states():
    """A third of a σ of bias, 20% of width: what 600 catalogues of ten parameters must see."""
    assert gate_power(600, 10, bias=0.3, repeats=60) > 0.95
    assert gate_power(600, 10, width=0.8, repeats=60) > 0.95
    assert gate_power(600, 10, width=1.25, repeats=60) > 0.95
    rng, n = np.random.default_rng(5), 600
    alarms = [not check_ranks(rng.integers(0, 100, (n, 10)), 99).accepted for _ in range(200)]
    assert sum(alarms) <= binom.ppf(1 - 1e-4, 200, 0.01)


def small_model(form: Form = "poisson") -> PopulationModel:
    population = Population(
        Separable(PowerLaw((3.5, 6.0)), Constant((6.5, 8.5))), HalfNormal((0.0, 2.0)), log_n=2.6
    )
    priors = {
        "alpha_m": Normal(mean=-2.0, sd=0.25),
        "sigma_av": Normal(mean=0.5, sd=0.1, low=0.02),
    }
    if form == "poisson":
        priors["log_n"] = Normal(mean=2.6, sd=0.1)
    return PopulationModel(population, priors, form)


def small_settings(n: int) -> CalibrationSettings:
    return CalibrationSettings(
        n_catalogues=n,
        n_ranked=39,
        seed=7,
        errors=ErrorSettings(n_samples=16),
        sampler=SamplerSettings(n_chains=2, n_warmup=80, n_samples=100, max_tree_depth=4),
    )


def test_calibration_of_a_small_model():
    programs = _program.cache_info().misses
    right = calibrate(small_model(), limit(), SIGMA, limit(), small_settings(60))
    assert right.names == ("alpha_m", "sigma_av", "log_n", "log_likelihood")
    assert right.n_divergent == 0
    assert right.accepted()
    # The operator is no constant of the program: cases of one model compile it once.
    assert _program.cache_info().misses == programs + 1


def test_scores_at_the_truth_tell_right_likelihoods_from_wrong_ones():
    """A likelihood that forgets where p_sel stands is refused at 200 catalogues."""
    settings = small_settings(200)
    right = score_test(Problem.drawn(small_model(), limit(), SIGMA, limit(), settings))
    assert set(right.names) == {"alpha_m", "sigma_av", "log_n"} and right.n == 200
    assert right.accepted() and right.power(bias=0.4)[0] > 0.9 and right.power(width=0.6)[1] > 0.9
    # Shifts are in standard deviations: those of 200 catalogues have errors of 1/14.
    np.testing.assert_allclose(right.bias_error * np.sqrt(200), 1, atol=0.2)
    wrong = with_acts_on(limit(), "data")
    assert not score_test(Problem.drawn(small_model(), limit(), SIGMA, wrong, settings)).accepted()


def test_scores_of_a_likelihood_that_is_conditional_on_the_number():
    """Its population has no number; a likelihood that forgets where p_sel stands is refused."""
    model = small_model("conditional")
    settings = small_settings(200)
    right = score_test(Problem.drawn(model, limit(), SIGMA, limit(), settings))
    assert set(right.names) == {"alpha_m", "sigma_av"}
    assert right.accepted() and right.power(bias=0.4)[0] > 0.9
    wrong = with_acts_on(limit(), "data")
    assert not score_test(Problem.drawn(model, limit(), SIGMA, wrong, settings)).accepted()


def limit() -> MagnitudeLimit:
    return MagnitudeLimit.default(limit_mag=22.0, acts_on="truth", outside="zero")


def tiny(n: int = 5) -> CalibrationSettings:
    sampler = SamplerSettings(n_chains=2, n_warmup=50, n_samples=50, max_tree_depth=3)
    return dataclasses.replace(
        small_settings(n), n_ranked=20, sampler=sampler, errors=ErrorSettings(n_samples=4)
    )


SIGMA = (0.3, 0.1, 0.1)


def assert_same(one: Calibration, other: Calibration) -> None:
    assert one.names == other.names and one.n_divergent == other.n_divergent
    for name in ("ranks", "quantiles", "truth", "sizes", "min_ess_bulk"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_ranks_are_those_of_the_draws_that_were_made(monkeypatch):
    """Catches draws that are shifted or narrowed on their way to the ranks, by however little."""
    settings = tiny(4)
    problem = Problem.drawn(small_model(), limit(), SIGMA, limit(), settings)
    rng, truths = np.random.default_rng(2), problem.truths()
    draws = {k: v[:, None, None] + rng.normal(size=(4, 2, 50)) for k, v in truths.items()}
    ranked, at_truth = rng.normal(size=(4, settings.n_ranked)), rng.normal(size=4)
    made = fits.Fits(
        draws, ranked, at_truth, np.zeros(4, int), np.full(4, np.inf), np.ones(4, bool)
    )
    monkeypatch.setattr(run, "fits_of", lambda *_: made)
    mocks = problem.mocks(0, 4)
    found = run.fit_catalogues(problem, mocks, 0, problem.sizes(mocks), 4)
    thin = np.linspace(0, 99, settings.n_ranked).astype(int)
    for i, name in enumerate(found.names[:-1]):
        below = draws[name].reshape(4, 100) < truths[name][:, None]
        np.testing.assert_array_equal(found.quantiles[:, i], below.mean(axis=1))
        np.testing.assert_array_equal(found.ranks[:, i], below[:, thin].sum(axis=1))
        np.testing.assert_array_equal(found.truth[:, i], truths[name])
    np.testing.assert_array_equal(found.ranks[:, -1], (ranked < at_truth[:, None]).sum(axis=1))


def test_interruptions_change_nothing(tmp_path):
    arguments = (small_model(), limit(), SIGMA, limit(), tiny())
    whole = calibrate(*arguments, out=tmp_path / "whole.h5", work=Work(shard_size=2))
    out = tmp_path / "calibration.h5"

    class Stopped(Exception):
        pass

    def stop(phrase: str) -> None:
        if phrase == "fitted 2 of 5":
            raise Stopped

    with pytest.raises(Stopped):
        calibrate(*arguments, stop, out=out, work=Work(shard_size=2))
    assert not out.exists()
    phrases: list[str] = []
    made = calibrate(*arguments, phrases.append, out=out, work=Work(shard_size=2))
    assert phrases == ["fitted 2 of 5", "drawing catalogues", "fitted 4 of 5", "fitted 5 of 5"]
    assert_same(made, whole)
    assert_same(Calibration.load(out), whole)
    again: list[str] = []
    assert_same(calibrate(*arguments, again.append, out=out), whole)
    assert again == ["fitted 5 of 5"]
    for i, other in (
        (3, with_acts_on(limit(), "data")),
        (1, MagnitudeLimit.default(limit_mag=22.5, acts_on="truth", outside="zero")),
        (2, (0.2, 0.1, 0.1)),
        (4, dataclasses.replace(tiny(), seed=6)),
        (0, dataclasses.replace(small_model(), priors={})),
    ):
        changed = [*arguments[:i], other, *arguments[i + 1 :]]
        with pytest.raises(RunError, match="another model, operator"):
            calibrate(*changed, out=out)


@pytest.mark.slow
def test_workers_and_shards_change_nothing(tmp_path):
    arguments = (small_model(), limit(), SIGMA, limit(), tiny())
    made = calibrate(*arguments, out=tmp_path / "c.h5", work=Work(workers=2, shard_size=2))
    assert_same(made, calibrate(*arguments))


def test_files_of_calibrations(tmp_path):
    result = made(np.random.default_rng(3).uniform(size=(20, 1)))
    result.save(tmp_path / "c.h5", "some key")
    assert_same(Calibration.load(tmp_path / "c.h5"), result)
    assert Calibration.key_of(tmp_path / "c.h5") == "some key"
    joined = Calibration.joined([result, result])
    assert len(joined.sizes) == 40 and joined.n_ranked == result.n_ranked
    # What version 0.1 wrote names no format.
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["names"] = ["x"]
        file["ranks"] = np.zeros((3, 1), int)
    with pytest.raises(CalibrationFileError, match="starcensus calibrate"):
        Calibration.load(tmp_path / "old.h5")


def test_the_verdict_is_in_the_numbers():
    u = np.random.default_rng(3).uniform(size=(200, 1))
    for result in (made(u), made(u**1.6)):
        numbers = result.describe()
        assert numbers["accepted"] is result.accepted() is numbers["x.ranks_uniform"]
        assert numbers["x.coverage_68"] == pytest.approx(
            np.mean(np.abs(2 * result.quantiles - 1) <= 0.68)
        )
        assert 0.3 < numbers["power_bias_0.2"] < 0.8
    assert not made(u**1.6).accepted()


def test_settings_that_cannot_be_met():
    with pytest.raises(ValueError, match="n_ranked = 500; the sampler makes 400"):
        CalibrationSettings(n_ranked=500)
    with pytest.raises(ValueError, match="n_catalogues = 0"):
        CalibrationSettings(n_catalogues=0)
    with pytest.raises(ValueError, match="without out"):
        calibrate(small_model(), limit(), SIGMA, limit(), tiny(), work=Work(workers=2))


def test_weighted_points_are_judged_as_chains_are(monkeypatch):
    """Those whose weights forbid it are drawn by chains, and are what chains alone would give."""
    chains = small_settings(24)
    importance = dataclasses.replace(
        chains, sampler=dataclasses.replace(chains.sampler, method="importance")
    )
    of = small_model(), limit(), SIGMA, limit()
    by_chains, by_points = (calibrate(*of, cfg) for cfg in (chains, importance))
    assert by_chains.n_by_chains == 24 and by_points.n_by_chains == 0
    np.testing.assert_array_equal(by_points.truth[:, :-1], by_chains.truth[:, :-1])
    np.testing.assert_allclose(by_points.truth[:, -1], by_chains.truth[:, -1], rtol=1e-9)
    # Quantiles among 200 draws, or some 130 independent ones, scatter by up to 0.045 each.
    off = by_points.quantiles - by_chains.quantiles
    assert np.abs(off).max() < 0.3 and np.abs(off.mean(axis=0)).max() < 0.04
    assert (by_points.min_ess_bulk > 50).all() and (by_points.min_ess_bulk < 200).all()

    def refusing(log_weight, n, rng):
        if calls.append(0) or len(calls) == 2:
            raise NotGaussianError("as if its weights were few")
        return resampled(log_weight, n, rng)

    calls: list[int] = []
    monkeypatch.setattr(fits, "resampled", refusing)
    mixed = calibrate(*of, importance)
    assert mixed.n_by_chains == 1
    np.testing.assert_array_equal(mixed.quantiles[1], by_chains.quantiles[1])
    others = np.arange(24) != 1
    np.testing.assert_array_equal(mixed.quantiles[others], by_points.quantiles[others])
