"""A survey whose density is known in closed form, written without anything of ours but its table.

V from 19 to 24.5, blue and red colours; of the catalogued ones

    c ~ N(1.75, 0.15²) above 1.4,
    y_b = 1.5 (c − 1.75) + 0.08 g + s_b ε_b, with s_b rising to the faint, V brighter than 24.0,
    I is recorded with the probability of a logistic of the true I.
"""

import json

import numpy as np
import scipy.stats
from scipy.special import expit

from starcensus.selection.injection import InjectionTable

BANDS = ("ACS_F435W", "ACS_F555W", "ACS_F814W")
MODULUS, FAINTEST, LEAST_CI = 30.0, 24.0, 1.4
SHARED = 0.08


def sd_of(true: np.ndarray) -> np.ndarray:
    return 0.02 + 0.06 * 10 ** (0.3 * (true - 24.0))


def p_detected(true: np.ndarray) -> np.ndarray:
    return expit(3.0 * (23.5 - true[:, 1]))


def p_recorded_i(true: np.ndarray) -> np.ndarray:
    return expit(2.0 * (23.0 - true[:, 2]))


def covariance(true: np.ndarray) -> np.ndarray:
    return np.diag(sd_of(true) ** 2) + SHARED**2


def log_density(true: np.ndarray, mags: np.ndarray, ci: float) -> float:
    """ln p(c, s, m | μ, det) of one cluster by SciPy; NaN where not recorded."""
    there = np.isfinite(mags)
    mean = true + 1.5 * (ci - 1.75)
    cov = covariance(true)
    seen = np.ix_(there, there)
    found = scipy.stats.multivariate_normal.logpdf(mags[there], mean[there], cov[seen])  # pyright: ignore
    found -= scipy.stats.norm.logcdf(FAINTEST, mean[1], cov[1, 1] ** 0.5)
    p = p_recorded_i(true[None])[0]
    found += np.log(p if there[2] else 1 - p)
    of_c = {"loc": 1.75, "scale": 0.15}
    found += scipy.stats.norm.logpdf(ci, **of_c) - scipy.stats.norm.logsf(LEAST_CI, **of_c)
    return float(found)


def true_mags(n: int, rng: np.random.Generator, faintest: float = 24.5) -> np.ndarray:
    v = rng.uniform(19.0, faintest, n)
    return np.stack([v + rng.normal(0.3, 0.3, n), v, v - rng.normal(0.5, 0.4, n)], axis=1)


def measured(true: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Magnitudes and c of catalogued clusters: V first, the others given V."""
    n = len(true)
    low = (LEAST_CI - 1.75) / 0.15
    free = scipy.stats.truncnorm.rvs(low, np.inf, size=n, random_state=rng)
    ci: np.ndarray = 1.75 + 0.15 * np.asarray(free)
    mean = true + 1.5 * (ci - 1.75)[:, None]
    width = np.sqrt(sd_of(true[:, 1]) ** 2 + SHARED**2)
    room = (FAINTEST - mean[:, 1]) / width
    mags = mean.copy()
    mags[:, 1] += width * scipy.stats.truncnorm.rvs(-np.inf, room, random_state=rng)
    for row in range(n):
        cov = covariance(true[row])
        gain = cov[[0, 2], 1] / cov[1, 1]
        rest = cov[np.ix_([0, 2], [0, 2])] - np.outer(gain, gain) * cov[1, 1]
        given = mean[row, [0, 2]] + gain * (mags[row, 1] - mean[row, 1])
        mags[row, [0, 2]] = rng.multivariate_normal(given, rest)
    mags[rng.random(n) >= p_recorded_i(true), 2] = np.nan
    return mags, ci


def table(n: int, seed: int, faintest: float = 24.5) -> InjectionTable:
    """Injections even in V, from 19 to `faintest`, mag."""
    rng = np.random.default_rng(seed)
    return met(true_mags(n, rng, faintest), rng)


def met(true: np.ndarray, rng: np.random.Generator) -> InjectionTable:
    """What the survey does to clusters of true magnitudes."""
    n = len(true)
    catalogued = rng.random(n) < p_detected(true)
    mags, ci = np.full((n, 3), np.nan), np.full(n, np.nan)
    mags[catalogued], ci[catalogued] = measured(true[catalogued], rng)
    errors = np.where(np.isfinite(mags), 0.02 + 0.05 * 10 ** (0.3 * (mags - 24.0)), np.nan)
    # A band with a large error is as good as one without a magnitude.
    poor = np.isnan(mags[:, 2]) & catalogued & (rng.random(n) < 0.5)
    mags[poor, 2], errors[poor, 2] = 27.0, 0.6
    limits = {"ci_limit": LEAST_CI, "max_absolute_v": FAINTEST - MODULUS}
    meta = {
        "distance_modulus": MODULUS,
        "survey": {
            "field": "known",
            "distance_modulus": MODULUS,
            "bands": [{"name": band} for band in BANDS],
            "pipeline": json.dumps(limits),
        },
    }
    zero = np.zeros(n)
    return InjectionTable(
        bands=BANDS,
        frame=np.zeros(n, int),
        cluster=np.arange(n),
        repeat=np.zeros(n, int),
        log_mass=rng.uniform(3, 6, n),
        log_age=rng.uniform(6, 9, n),
        a_v=zero,
        r_eff_pc=rng.uniform(1, 10, n),
        true_mags=true,
        x=rng.uniform(0, 100, n),
        y=rng.uniform(0, 100, n),
        background=np.full(n, 0.1),
        crowding=zero,
        log_density=zero,
        detected=catalogued.copy(),
        already_there=np.zeros(n, bool),
        catalogued=catalogued,
        measured_mags=mags,
        measured_errors=errors,
        ci=ci,
        cuts={"ci": catalogued.copy()},
        meta=meta,
    )
