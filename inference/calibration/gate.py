"""What a calibration must pass, and what it would have caught.

If posteriors are right, the rank r of the truth among L draws is uniform. The mean and the variance
of z = Φ^−1((r + ½)/(L + 1)) are then known, and faults show in the moments of z:

- a posterior that is off by b of its standard deviations moves the mean of z by b;
- one that is too narrow or too wide by a factor changes its variance by the square of it;
- one that leans the wrong way shows in the third moment.

Coverages, and the band of the ranks' ECDF, look at z as well, with less power against these and
more against other shapes. All checks of a calibration together raise a false alarm at the rate that
is asked for, shared among parameters and checks (Bonferroni; most of it to bias and width). A
verdict says little without its power: `gate_power` simulates how often faults of a given size are
refused.
"""

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import ndtr, ndtri

from .ranks import ecdf_band, rank_ecdf

LEVELS = (0.5, 0.68, 0.9, 0.95)
FALSE_ALARM = 1e-2
MOMENTS = ("bias", "width", "skew")
# Shares of the false alarms: bias, width, skew; all coverages; the ranks' ECDF.
_OF_MOMENTS, _OF_COVERAGE, _OF_RANKS = np.array([0.35, 0.4, 0.05]), 0.1, 0.1


@dataclasses.dataclass(frozen=True)
class Checks:
    """Which checks each parameter passes.

    **Arguments:**

    - `moments`: `(3, name)`, bias, width and skew in units of their standard errors.
    - `moments_accepted`: `(3, name)`.
    - `coverage_accepted`: `(level, name)`.
    - `ranks_accepted`: `(name,)`, whether the ECDF stays inside its simultaneous band.
    """

    moments: Float[np.ndarray, "3 name"]
    moments_accepted: Bool[np.ndarray, "3 name"]
    coverage_accepted: Bool[np.ndarray, "level name"]
    ranks_accepted: Bool[np.ndarray, " name"]

    @property
    def accepted(self) -> bool:
        every = (self.moments_accepted, self.coverage_accepted, self.ranks_accepted)
        return all(bool(found.all()) for found in every)


def check_ranks(
    ranks: Int[np.ndarray, "n name"], n_ranked: int, false_alarm: float = FALSE_ALARM
) -> Checks:
    """The checks of ranks that should be uniform.

    **Arguments:**

    - `ranks`: number of draws below the truth, of every catalogue and parameter.
    - `n_ranked`: number of draws.
    - `false_alarm`: rate at which all checks together refuse right ranks.

    Raises `ValueError` for ranks that cannot be.

    ```python
    ranks = np.random.default_rng(0).integers(0, 100, size=(300, 2))
    check_ranks(ranks, 99).accepted
    ```
    """
    n, n_names = ranks.shape
    if ranks.min() < 0 or ranks.max() > n_ranked:
        raise ValueError(
            f"ranks run from {ranks.min()} to {ranks.max()}; among {n_ranked} draws they are 0 to "
            f"{n_ranked}"
        )
    rate = false_alarm / n_names
    place, mean, sd = _moments_of_uniform(n_ranked)
    z = place[ranks]
    found = np.stack([(z**k).mean(axis=0) for k in (1, 2, 3)])
    standard = (found - mean[:, None]) / (sd[:, None] / np.sqrt(n))
    low, high = ecdf_band(n, n_ranked, _OF_RANKS * rate)
    counts = rank_ecdf(ranks, n_ranked)
    return Checks(
        standard,
        np.abs(standard) <= _critical(n, n_ranked, rate)[:, None],
        np.stack(
            [
                _coverage_accepted(ranks, n_ranked, level, _OF_COVERAGE * rate / len(LEVELS))
                for level in LEVELS
            ]
        ),
        ((counts >= low[:, None]) & (counts <= high[:, None])).all(axis=0),
    )


def gate_power(
    n: int,
    n_names: int,
    n_ranked: int = 99,
    *,
    bias: float = 0.0,
    width: float = 1.0,
    skew: float = 0.0,
    false_alarm: float = FALSE_ALARM,
    repeats: int = 400,
    seed: int = 0,
) -> float:
    """How often a calibration of n catalogues refuses posteriors with a fault in one parameter.

    **Arguments:**

    - `n`, `n_names`, `n_ranked`: catalogues, parameters, and draws among which truth is ranked.
    - `bias`: of the posterior's mean, in its standard deviations.
    - `width`: of the posterior's standard deviation over the right one.
    - `skew`: of the posterior, where the right one has none: third moment over σ³.
    - `false_alarm`: of all checks.
    - `repeats`, `seed`: of the simulation.

    ```python
    gate_power(200, 10, bias=0.3)
    ```
    """
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(repeats):
        # Where the truth lies in a normal posterior of mean 0 and standard deviation 1.
        z = (rng.normal(size=n) - bias) / width
        if skew:
            z = _gamma_quantile(z, skew)
        u = ndtr(z)
        ranks = rng.binomial(n_ranked, u)[:, None]
        refused += not _one_accepted(ranks, n_ranked, n_names, false_alarm)
    return refused / repeats


def _one_accepted(
    ranks: Int[np.ndarray, "n 1"], n_ranked: int, n_names: int, false_alarm: float
) -> bool:
    return check_ranks(ranks, n_ranked, false_alarm / n_names).accepted


def _gamma_quantile(z: Float[np.ndarray, " n"], skew: float) -> Float[np.ndarray, " n"]:
    """Normal score of z under a gamma distribution of mean 0, sd 1 and this skewness."""
    from scipy.stats import pearson3

    return ndtri(np.clip(pearson3.cdf(z, skew), 1e-12, 1 - 1e-12))


@functools.cache
def _moments_of_uniform(n_ranked: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z of each rank; mean and standard deviation of its first three powers."""
    z = ndtri((np.arange(n_ranked + 1) + 0.5) / (n_ranked + 1))
    powers = np.stack([z, z**2, z**3])
    return z, powers.mean(axis=1), powers.std(axis=1)


@functools.cache
def _critical(n: int, n_ranked: int, rate: float) -> Float[np.ndarray, "3"]:
    """What |mean| of each power exceeds in right calibrations at a rate, in standard errors.

    Powers of z have heavy tails; a mean of n of them is not quite normal. Edgeworth's expansion in
    its skewness and kurtosis gives its quantiles.
    """
    z, mean, sd = _moments_of_uniform(n_ranked)
    critical = np.empty(3)
    for k, power in enumerate((z, z**2, z**3)):
        q = -ndtri(_OF_MOMENTS[k] * rate / 2)
        x = (power - mean[k]) / sd[k]
        skew, kurtosis = (x**3).mean() / np.sqrt(n), ((x**4).mean() - 3) / n
        wide = (
            q
            + abs(skew) * (q**2 - 1) / 6
            + kurtosis * (q**3 - 3 * q) / 24
            - skew**2 * (2 * q**3 - 5 * q) / 36
        )
        critical[k] = max(wide, q)
    return critical


def _coverage_accepted(
    ranks: Int[np.ndarray, "n name"], n_ranked: int, level: float, rate: float
) -> Bool[np.ndarray, " name"]:
    """Whether central intervals hold the truth as often as they say, by binomial noise."""
    from scipy.stats import binom

    tail = round((1 - level) / 2 * (n_ranked + 1))
    inside = ((ranks >= tail) & (ranks <= n_ranked - tail)).sum(axis=0)
    chance = 1 - 2 * tail / (n_ranked + 1)
    low, high = binom.ppf([rate / 2, 1 - rate / 2], len(ranks), chance)
    return (inside >= low) & (inside <= high)
