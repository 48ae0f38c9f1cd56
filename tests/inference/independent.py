"""Catalogues whose truth is known, from a generator that shares no code with the package.

    python -m tests.inference.independent [--n 200] [--scored 2000]

draws parameters from priors and clusters from inverse distribution functions on fine tables, adds
noise, loses what a survey with a sloping limit loses, and asks `score_test` and `calibrate_problem`
whether the package's posteriors hold the truths. NumPy does everything that makes a catalogue; the
package's `Catalogue` and `ThetaRange` carry it.
"""

import argparse
import dataclasses
from typing import Literal

import jax
import numpy as np

from starcensus.forward import (
    HalfNormal,
    MassIndependentDisruption,
    Normal,
    Population,
    Schechter,
    Separable,
)
from starcensus.inference import ErrorSettings, PopulationModel, SamplerSettings
from starcensus.inference.calibration import (
    CalibrationSettings,
    Problem,
    calibrate_problem,
    score_test,
)
from starcensus.selection import AbstractSelection, ActsOn, Box, Outside, RecordedSelection
from starcensus.selection.catalogue import Catalogue, ThetaRange, apply_cuts

type Case = Literal["truth", "recorded", "limited"]

CASES: tuple[Case, ...] = ("truth", "recorded", "limited")
BOUNDS = Box((3.0, 6.5), (6.0, 9.5), (0.0, 3.0))
SIGMA = {"truth": (0.2, 0.2, 0.2), "recorded": (0.2, 0.2, 0.2), "limited": (0.2, 0.15, 0.1)}
LIMITS = {"log_mass": (3.6, 9.0), "log_age": (5.0, 8.8)}
# Means and standard deviations of the priors, and where they are cut.
PRIORS = {
    "alpha_m": (-2.0, 0.2, -3.0, -1.0),
    "log_m_break": (5.4, 0.3, 4.5, 6.5),
    "log_t_mid": (7.8, 0.3, 6.5, 9.0),
    "alpha_t": (-1.0, 0.2, -2.0, 0.0),
    "sigma_av": (0.5, 0.1, 0.1, 1.0),
    "log_n": (3.2, 0.1, 2.7, 3.7),
}
LIMIT_MAG, WIDTH_MAG = 24.7, 0.15


def mean_mag(log_mass, log_age, a_v):
    """Light that falls with age and dust and grows with mass, for NumPy and JAX alike."""
    return 25.0 - 2.5 * (log_mass - 3.0) + 0.8 * (log_age - 6.0) + a_v


class SlopingLimit(AbstractSelection):
    """What the package's fits are told of the survey."""

    domain: Box = Box((0.0, 9.0), (3.0, 12.0), (-5.0, 8.0))
    outside: Outside = "zero"
    acts_on: ActsOn = "truth"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(self, log_mass, log_age, a_v):
        z = (LIMIT_MAG - mean_mag(log_mass, log_age, a_v)) / WIDTH_MAG
        return jax.nn.sigmoid(z)[None]


def operator(case: Case) -> AbstractSelection:
    if case == "recorded":
        return RecordedSelection(SlopingLimit(acts_on="data"), SIGMA[case])
    return SlopingLimit()


def model() -> PopulationModel:
    population = Population(
        Separable(Schechter(BOUNDS.log_mass), MassIndependentDisruption(BOUNDS.log_age)),
        HalfNormal(BOUNDS.a_v),
        log_n=3.2,
    )
    priors = {
        name: Normal(mean=mean, sd=sd, low=low, high=high)
        for name, (mean, sd, low, high) in PRIORS.items()
    }
    return PopulationModel(population, priors)


def _truth(rng: np.random.Generator) -> dict[str, float]:
    """A draw from the priors, by rejection."""
    found = {}
    for name, (mean, sd, low, high) in PRIORS.items():
        value = rng.normal(mean, sd)
        while not low < value < high:
            value = rng.normal(mean, sd)
        found[name] = float(value)
    return found


def _from_table(rng: np.random.Generator, x: np.ndarray, density: np.ndarray, n: int) -> np.ndarray:
    steps = (density[1:] + density[:-1]) / 2 * np.diff(x)
    below = np.concatenate([[0.0], np.cumsum(steps)])
    return np.interp(rng.uniform(size=n) * below[-1], below, x)


def drawn(case: Case, seed: int) -> tuple[Catalogue, dict[str, float]]:
    """A catalogue and the parameters that it was made from."""
    rng = np.random.default_rng([seed, CASES.index(case)])
    truth = _truth(rng)
    n = rng.poisson(10 ** truth["log_n"])
    x = np.linspace(*BOUNDS.log_mass, 7001)
    mass = 10 ** ((truth["alpha_m"] + 1) * (x - 3)) * np.exp(-(10 ** (x - truth["log_m_break"])))
    t = np.linspace(*BOUNDS.log_age, 7001)
    late = np.maximum(t - truth["log_t_mid"], 0.0)
    age = 10 ** (t - 6 + truth["alpha_t"] * late)
    a_v = np.abs(rng.normal(0, truth["sigma_av"], 20 * n + 100))
    true = np.stack(
        [_from_table(rng, x, mass, n), _from_table(rng, t, age, n), a_v[a_v < 3.0][:n]], axis=1
    )
    recorded = true + rng.normal(size=true.shape) * SIGMA[case]
    seen = recorded if case == "recorded" else true
    p = 1 / (1 + np.exp(-(LIMIT_MAG - mean_mag(*seen.T)) / WIDTH_MAG))
    theta = recorded[rng.uniform(size=n) < p]
    sigma, ids = np.asarray(SIGMA[case]), np.arange(len(theta)).astype(str)
    facts = {"recorded": "gaussian"}
    catalogue = Catalogue(f"{case} {seed}", ids, theta, theta - sigma, theta + sigma, meta=facts)
    if case == "limited":
        catalogue = apply_cuts(catalogue, [ThetaRange(**LIMITS)])
    return catalogue, truth


def problem(case: Case, n: int, settings: CalibrationSettings, start: int = 0) -> Problem:
    """n catalogues for the package to judge."""
    catalogues, truths = zip(*(drawn(case, start + i) for i in range(n)), strict=True)
    return Problem.given(model(), catalogues, truths, operator(case), settings)


def settings(object_samples: int = 256) -> CalibrationSettings:
    """Fits that reach some 400 effective draws of every parameter.

    Where p_sel rises within an object's errors, 64 samples of it bias log_n by 0.07 σ: thousands of
    scores see that, hundreds of posteriors do not.
    """
    return CalibrationSettings(
        errors=ErrorSettings(n_samples=object_samples, floor=(1e-3, 1e-3, 1e-3)),
        sampler=SamplerSettings(n_chains=2, n_warmup=200, n_samples=500, target_accept=0.8),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200)
    parser.add_argument("--scored", type=int, default=2000)
    parser.add_argument("--case", choices=CASES, action="append")
    given = parser.parse_args()
    for case in given.case or CASES:
        if given.scored:
            _scores(case, given.scored)
        if given.n:
            _posteriors(case, given.n)


def _scores(case: Case, n: int) -> None:
    found = score_test(problem(case, n, settings(), start=100_000))
    of_bias, of_width = found.power()
    print(f"\n{case}: scores of {found.n} catalogues, accepted: {found.accepted()}; power "
          f"{of_bias:.2f} at 0.2 σ, {of_width:.2f} at 10% of width")  # fmt: skip
    for i, name in enumerate(found.names):
        print(f"  {name:12s} bias {found.bias[i]:+.3f} ± {found.bias_error[i]:.3f} σ, excess "
              f"{found.excess[i]:+.3f} ± {found.excess_error[i]:.3f}")  # fmt: skip


def _posteriors(case: Case, n: int) -> None:
    result = calibrate_problem(problem(case, n, settings(64)))
    facts = dataclasses.asdict(result.checks())
    print(f"  {n} posteriors, accepted: {result.accepted()}; power {result.power()}; "
          f"median of the least ESS {np.median(result.min_ess_bulk):.0f}")  # fmt: skip
    for i, name in enumerate(result.names):
        covered = ", ".join(f"{result.coverage(level)[i]:.3f}" for level in (0.68, 0.95))
        moments = ", ".join(f"{m:+.1f}" for m in facts["moments"][:, i])
        print(f"  {name:16s} 68% and 95% hold {covered}; bias, width, skew {moments}")


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
