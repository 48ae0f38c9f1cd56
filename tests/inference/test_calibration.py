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
    calibrate,
    ecdf_band,
    rank_ecdf,
)
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
    return Calibration(("x",), ranks, quantiles, np.zeros(shape), *rest, 99, 0)


def test_uniform_ranks_pass_and_others_fail():
    u = np.random.default_rng(3).uniform(size=(200, 1))
    assert made(u).accepted()
    assert not made(u**1.6).ranks_accepted()[0]
    assert not made(0.5 + (u - 0.5) * 0.6).coverage_accepted(0.68)[0]
    assert not made(0.5 + np.sign(u - 0.5) * np.abs(2 * u - 1) ** 0.25 / 2).coverage_accepted(0.95)[
        0
    ]


def small_model() -> PopulationModel:
    population = Population(
        Separable(PowerLaw((3.5, 6.0)), Constant((6.5, 8.5))), HalfNormal((0.0, 2.0)), log_n=2.6
    )
    priors = {
        "alpha_m": Normal(mean=-2.0, sd=0.25),
        "sigma_av": Normal(mean=0.5, sd=0.1, low=0.02),
        "log_n": Normal(mean=2.6, sd=0.1),
    }
    return PopulationModel(population, priors)


def small_settings(n: int) -> CalibrationSettings:
    return CalibrationSettings(
        n_catalogues=n,
        n_ranked=39,
        seed=5,
        errors=ErrorSettings(n_samples=16),
        sampler=SamplerSettings(n_chains=2, n_warmup=80, n_samples=100, max_tree_depth=4),
    )


def test_calibration_of_a_small_model_and_of_a_wrong_likelihood():
    limit = MagnitudeLimit.default(limit_mag=22.0, acts_on="truth", outside="zero")
    sigma = (0.3, 0.1, 0.1)
    right = calibrate(small_model(), limit, sigma, limit, small_settings(60))
    assert right.names == ("alpha_m", "sigma_av", "log_n", "log_likelihood")
    assert right.n_divergent == 0
    assert right.accepted()
    wrong = calibrate(small_model(), limit, sigma, with_acts_on(limit, "data"), small_settings(60))
    assert not wrong.accepted()


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
    assert not made(u**1.6).accepted()


def test_settings_that_cannot_be_met():
    with pytest.raises(ValueError, match="n_ranked = 500; the sampler makes 400"):
        CalibrationSettings(n_ranked=500)
    with pytest.raises(ValueError, match="n_catalogues = 0"):
        CalibrationSettings(n_catalogues=0)
    with pytest.raises(ValueError, match="without out"):
        calibrate(small_model(), limit(), SIGMA, limit(), tiny(), work=Work(workers=2))
