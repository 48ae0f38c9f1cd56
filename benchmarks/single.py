"""Posteriors of single clusters: by the emulator, and by a million clusters drawn for them.

Clusters are spread evenly over a box about each mass and seen with an error of 0.05 mag in each of
five bands; their posteriors are under the same even density, so that ranks of the truth in them are
uniform where they are right. Weights of the drawn ones are the survey's density of what was
measured, with no kernel besides.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import kstest

from starcensus.forward.light import default_emulator
from starcensus.inference.objects.emulated import EmulatedObjects, EmulatedSettings
from starcensus.inference.objects.kernel import find_pairs
from starcensus.selection.observation import GaussianObservation, MeasuredCuts, NoiseCurves
from starcensus.shards import Work
from starcensus.simulate import BoxTheta, ClusterLibrary, Design, StarcensusEngine, run_library
from starcensus.simulate.library.pool import Pool
from starcensus.theta import AXES, Box

type Say = Callable[[str], None]

# The noise of the sky is 37.5 mag: what is said holds at any distance.
_MODULUS = 30.0
_ERROR_MAG = 0.05
_HALF_DEX = 0.5
_LOG_AGE, _A_V = (6.2, 9.9), (0.0, 1.5)
# A posterior of fewer effective draws is not compared.
_LEAST = 30.0


@dataclasses.dataclass(frozen=True, eq=False)
class Weighted:
    """Posteriors of n clusters as weighted points: in the order of their owners.

    **Arguments:**

    - `owner`: `(point,)`. `theta`: `(point, 3)`, in the order of `AXES`. `weight`: `(point,)`, of
      which each cluster's mean over all that was drawn for it is its evidence.
    - `n`: clusters. `n_drawn`: points drawn for each, with those that count for nothing.
    """

    owner: Int[np.ndarray, "point"]
    theta: Float[np.ndarray, "point 3"]
    weight: Float[np.ndarray, "point"]
    n: int
    n_drawn: int

    def of(self, i: int) -> tuple[Float[np.ndarray, "some 3"], Float[np.ndarray, "some"]]:
        """The points of a cluster."""
        first, last = np.searchsorted(self.owner, [i, i + 1])
        return self.theta[first:last], self.weight[first:last]


def bench_single(
    masses: tuple[float, ...] = (500.0, 5000.0, 50_000.0),
    n: int = 100,
    n_draws: int = 1_000_000,
    n_points: int = 1024,
    seed: int = 0,
    workers: int = 2,
    out: pathlib.Path | None = None,
    say: Say = lambda text: None,
) -> Iterator[dict[str, Any]]:
    """One result for each mass (M_sun); `out` keeps the drawn clusters, for a rerun."""
    for mass in masses:
        with tempfile.TemporaryDirectory() as folder:
            where = pathlib.Path(folder) if out is None else out
            where.mkdir(parents=True, exist_ok=True)
            facts = {"benchmark": "single", "mass": mass, "n_draws": n_draws, "seed": seed}
            yield {**facts, **_one(mass, n, n_draws, n_points, seed, Work(workers), where, say)}


def _one(
    mass: float,
    n: int,
    n_draws: int,
    n_points: int,
    seed: int,
    work: Work,
    folder: pathlib.Path,
    say: Say,
) -> dict[str, Any]:
    middle = float(np.log10(mass))
    box = Box((middle - _HALF_DEX, middle + _HALF_DEX), _LOG_AGE, _A_V)
    bands = default_emulator().bands
    engine, ends = StarcensusEngine(bands), BoxTheta(box.log_mass, box.log_age, box.a_v)

    def library(name: str, count: int, own: int) -> Pool:
        path = folder / f"{name}-{mass:g}.h5"

        def tell(done: int, of: int) -> None:
            say(f"{mass:g} M_sun: {name}, {done:,} of {of:,} clusters")

        run_library(Design(count, own, ends), engine, path, work, tell)
        return Pool.of(ClusterLibrary.load(path), bands)

    pool, truths = library("drawn", n_draws, 2 * seed), library("truths", n, 2 * seed + 1)
    flat = NoiseCurves(bands, np.full(len(bands), 1e-30), *np.zeros((2, len(bands))))
    survey = GaussianObservation(
        bands, _MODULUS, noise=flat, floor=_ERROR_MAG, common=0.0, cuts=MeasuredCuts()
    )
    _, data = survey.draw(truths.abs_mags + _MODULUS, np.random.default_rng(seed))
    say(f"{mass:g} M_sun: comparing with drawn clusters")
    pairs = find_pairs(data, survey, pool)
    drawn = Weighted(pairs.owner, pool.theta[pairs.row], np.exp(pairs.log_kernel), n, len(pool))
    say(f"{mass:g} M_sun: points of the emulator")
    settings = EmulatedSettings(n_samples=n_points, n_first=8192, n_expected=1000, seed=seed)
    objects = EmulatedObjects(data, survey, default_emulator(), box, settings)
    points = objects.samples(box, pad=False)
    volume = np.prod([high - low for low, high in box.as_dict().values()])
    emulated = Weighted(
        np.repeat(np.arange(n), n_points),
        np.moveaxis(np.asarray(points.theta), 0, -1).reshape(-1, 3),
        np.exp(np.asarray(points.log_weight).ravel()) * n_points / volume,
        n,
        n_points,
    )
    return compare(drawn, emulated, truths.theta)


def compare(
    drawn: Weighted, emulated: Weighted, truths: Float[np.ndarray, "n 3"]
) -> dict[str, Any]:
    """How two kinds of posteriors of the same clusters differ, and how right each of them is.

    `shift_…`: mean difference of the means, in standard deviations of the drawn, and its error;
    `scatter_…`: of these differences, and that which so many draws make. `width_…`: median ratio of
    the standard deviations. `log_evidence`: mean difference, and its error. `rank_p_…`: by
    Kolmogorov and Smirnov, of the ranks of the truths.
    """
    rows, ranks = [], {"drawn": [], "emulated": []}
    for i in range(drawn.n):
        theta, weight = drawn.of(i)
        if not len(weight) or _effective(weight) < _LEAST:
            continue
        other, other_weight = emulated.of(i)
        mean, sd, error = _moments(theta, weight)
        other_mean, other_sd, other_error = _moments(other, other_weight)
        evidence = other_weight.sum() / emulated.n_drawn, weight.sum() / drawn.n_drawn
        rows.append(
            [
                *(other_mean - mean) / sd,
                *other_sd / sd,
                *np.hypot(error, other_error) / sd,
                np.log(evidence[0] / evidence[1]),
            ]
        )
        for name, points, w in (("drawn", theta, weight), ("emulated", other, other_weight)):
            below = (points < truths[i]).astype(float)
            ranks[name].append((w @ below) / w.sum())
    made: dict[str, Any] = {"n": drawn.n, "n_compared": len(rows)}
    if len(rows) < 2:
        return made
    table = np.array(rows)
    for k, axis in enumerate(AXES):
        shift, width, error = table[:, k], table[:, 3 + k], table[:, 6 + k]
        made[f"shift_{axis}"] = [_rounded(shift.mean()), _rounded(shift.std() / len(rows) ** 0.5)]
        made[f"scatter_{axis}"] = [_rounded(shift.std()), _rounded(np.sqrt((error**2).mean()))]
        made[f"width_{axis}"] = _rounded(np.median(width))
    gap = table[:, 9]
    made["log_evidence"] = [_rounded(gap.mean()), _rounded(gap.std() / len(rows) ** 0.5)]
    for name, found in ranks.items():
        for k, axis in enumerate(AXES):
            made[f"rank_p_{name}_{axis}"] = _rounded(
                kstest(np.array(found)[:, k], "uniform").pvalue
            )
    return made


def _effective(weight: Float[np.ndarray, "point"]) -> float:
    return float(weight.sum() ** 2 / (weight**2).sum())


def _moments(
    theta: Float[np.ndarray, "point 3"], weight: Float[np.ndarray, "point"]
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Means, standard deviations, and the errors of the means."""
    share = weight / weight.sum()
    mean = share @ theta
    away = (theta - mean) ** 2
    return mean, np.sqrt(share @ away), np.sqrt(share**2 @ away)


def _rounded(value: float) -> float:
    return round(float(value), 4)
