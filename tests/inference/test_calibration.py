"""Calibration: the bands are honest, right likelihoods pass, wrong ones fail."""

import pathlib

import numpy as np
import pytest
from scipy.stats import binom

from starcensus.experiments.jobs.calibrate import accepted, run_case
from starcensus.experiments.schema.fit import load_experiment
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
    CalibrationSettings,
    calibrate,
    ecdf_band,
    rank_ecdf,
)
from starcensus.selection import MagnitudeLimit, with_acts_on

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"


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
    assert accepted(made(u))
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
    assert accepted(right)
    wrong = calibrate(small_model(), limit, sigma, with_acts_on(limit, "data"), small_settings(60))
    assert not accepted(wrong)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["selection-on-data", "selection-on-truth", "data-fitted-as-truth", "truth-fitted-as-data"],
)
def test_full_calibration(name):
    experiment, _ = load_experiment(EXPERIMENTS / "coverage.toml")
    case = next(case for case in experiment.calibration if case.name == name)
    settings = CalibrationSettings(n_catalogues=200, seed=experiment.seed)
    result = run_case(experiment, case, [EXPERIMENTS], settings)
    assert accepted(result) == case.passes
