"""Ranks of the truth among posterior draws: uniform, if the posterior is right."""

import functools

import numpy as np
from jaxtyping import Float, Int


def rank_of(
    draws: Float[np.ndarray, "n draw"], truth: Float[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Number of draws below the truth, 0 to all."""
    return (draws < truth[:, None]).sum(axis=1)


def rank_ecdf(ranks: Int[np.ndarray, "n k"], n_ranked: int) -> Int[np.ndarray, "edge k"]:
    """Number of ranks not above 0, 1, ..., n_ranked − 1."""
    return (ranks[None] <= np.arange(n_ranked)[:, None, None]).sum(axis=1)


@functools.cache
def ecdf_band(
    n: int, n_ranked: int, false_alarm: float, n_simulations: int = 20_000, seed: int = 0
) -> tuple[Float[np.ndarray, " edge"], Float[np.ndarray, " edge"]]:
    """Bounds that the ECDF of n uniform ranks leaves anywhere with probability `false_alarm`.

    Pointwise binomial bounds whose common level is set by simulation, as in Säilynoja, Bürkner &
    Vehtari (2022); counts, inclusive. For rates below 10 / `n_simulations`, where simulation has
    too few exceedances, the pointwise level is Bonferroni's, which is wider.
    """
    from scipy.stats import binom

    z = np.arange(1, n_ranked + 1) / (n_ranked + 1)
    if false_alarm * n_simulations < 10:
        level = false_alarm / n_ranked
        return binom.ppf(level / 2, n, z), binom.isf(level / 2, n, z)
    rng = np.random.default_rng(seed)
    k, column = np.arange(n + 1)[:, None], np.arange(n_ranked)
    tails = np.minimum(binom.cdf(k, n, z), binom.sf(k - 1, n, z))
    smallest = np.empty(n_simulations)
    for i in range(n_simulations):
        ranks = rng.integers(0, n_ranked + 1, size=n)
        counts = np.cumsum(np.bincount(ranks, minlength=n_ranked + 1))[:-1]
        smallest[i] = 2 * tails[counts, column].min()
    level = np.quantile(smallest, false_alarm)
    return binom.ppf(level / 2, n, z), binom.isf(level / 2, n, z)
