"""Whether a network's posteriors hold the truth as often as they say.

What a right posterior gives to values below the truth (PIT) is uniform, and so is what it gives to
values nearer to a point than the truth is, wherever the point (TARP: Lemos et al. 2023,
"Sampling-Based Accuracy Testing of Posterior Estimators for General Inference"). Points are of
three kinds, for each is blind to something:

- anywhere in the box, in all parameters at once. Wrong correlations hide there: seen from one side
  a posterior is too narrow, from another too wide, and the mean of both looks right;
- at the two ends of the degeneracy of age and extinction, in these two parameters alone, from where
  a wrong correlation of both is a wrong width;
- depending on the data, without which a posterior that repeats the prior passes.

Whether something is uniform is asked of a band around its ECDF that the caller gives, for the
population's calibration has one: `starcensus.inference.calibration.ecdf_band`. Objects come as the
caller chose them: subsets are made before.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from starcensus.settings import check_seed

from ...networks.cnn.targets import Grid
from .accuracy import finite_or_none
from .answers import AbstractAnswers
from .cells import PARAMETERS

LEVELS = (0.5, 0.68, 0.9, 0.95)
# Least and greatest counts of n ranks from 0 to `n_ranked` that are not above 0, 1, …, which they
# leave anywhere at a given rate: (n, n_ranked, rate).
type Band = Callable[[int, int, float], tuple[Float[np.ndarray, "edge"], Float[np.ndarray, "edge"]]]
# Ranks have a hundred places, whatever the number of draws.
_N_RANKED = 99
_CHUNK = 256
_DEGENERATE = ("log_age", "a_v")
# Share of a range that is its end.
_END = 0.25
_POWER = 0.9


@dataclasses.dataclass(frozen=True, eq=False)
class RankCurve:
    """ECDF of what should be uniform, and the bands that it should not leave.

    **Arguments:**

    - `ecdf`: share of the objects up to each of `levels`; for TARP, the expected coverage.
    - `low`, `high`: band that one right curve leaves anywhere at the rate of false alarms.
    - `outer_low`, `outer_high`: band that any of all curves leaves at that rate (Bonferroni).

    ```python
    band = np.array([0.2, 0.4, 0.6]), np.array([0.3, 0.6, 0.9])
    RankCurve(np.array([0.25, 0.65, 0.75]), *band, *band).accepted  # False: 0.65 for 0.5
    ```
    """

    ecdf: Float[np.ndarray, "edge"]
    low: Float[np.ndarray, "edge"]
    high: Float[np.ndarray, "edge"]
    outer_low: Float[np.ndarray, "edge"]
    outer_high: Float[np.ndarray, "edge"]

    @property
    def levels(self) -> Float[np.ndarray, "edge"]:
        """Where the ECDF is known, and what it should be there."""
        return np.arange(1, len(self.ecdf) + 1) / (len(self.ecdf) + 1)

    @property
    def deviation(self) -> float:
        """ECDF minus level where they are furthest apart."""
        apart = self.ecdf - self.levels
        return float(apart[np.abs(apart).argmax()])

    @property
    def distance(self) -> float:
        """Largest distance of the ECDF from its levels."""
        return abs(self.deviation)

    @property
    def half_width(self) -> float:
        """Half the width of the band, where it is widest."""
        return float((self.high - self.low).max()) / 2

    @property
    def accepted(self) -> bool:
        """Whether the ECDF stays inside its own band."""
        return bool(((self.ecdf >= self.low) & (self.ecdf <= self.high)).all())

    @property
    def accepted_among_all(self) -> bool:
        """Whether it stays inside the band of all curves."""
        return bool(((self.ecdf >= self.outer_low) & (self.ecdf <= self.outer_high)).all())


@dataclasses.dataclass(frozen=True)
class Caught:
    """Least faults of one parameter that its ECDF's band refuses in 90% of cases.

    They are those of a normal posterior; NaN where none is caught so often.

    **Arguments:**

    - `bias`: of the mean, in posterior standard deviations.
    - `too_narrow`, `too_wide`: the posterior's standard deviation over the right one.

    ```python
    from starcensus.inference.calibration import ecdf_band

    least_caught(500, ecdf_band).bias  # 0.18
    ```
    """

    bias: float
    too_narrow: float
    too_wide: float


@dataclasses.dataclass(frozen=True, eq=False)
class Coverage:
    """What `judge_coverage` finds.

    **Arguments:**

    - `n`, `n_samples`: objects, and draws of each posterior for TARP.
    - `false_alarm`: rate at which right posteriors leave the band of one curve, and at which they
      are not `accepted`.
    - `curves`: by parameter; `tarp`, from points anywhere; `tarp_degeneracy`, from the ends of the
      degeneracy of age and extinction; `tarp_of_data` where the caller gave a scalar.
    - `intervals`: by parameter, shares of the truths in central intervals of `LEVELS`.
    - `interval_errors`: their binomial standard errors, if posteriors are right.
    - `caught`: the least faults that the band of one parameter sees in so many objects.

    ```python
    from starcensus.inference.calibration import ecdf_band
    from starcensus.networks.cnn import Grid
    from starcensus.selection.finder.answers import Binned

    flat = Binned(np.full((50, 2800), 1 / 2800), np.full((50, 14), 1 / 14), Grid())
    values = {"log_age": 7.0, "a_v": 1.0, "log_mass": 4.0, "log_r_eff_pc": 0.5}
    truths = {name: np.full(50, value) for name, value in values.items()}
    judge_coverage(flat, truths, ecdf_band, seed=1).describe()["log_age_accepted"]  # False
    ```
    """

    n: int
    n_samples: int
    false_alarm: float
    curves: dict[str, RankCurve]
    intervals: dict[str, Float[np.ndarray, "level"]]
    interval_errors: Float[np.ndarray, "level"]
    caught: Caught

    @property
    def accepted(self) -> bool:
        """Whether no curve leaves the band of all curves."""
        return all(curve.accepted_among_all for curve in self.curves.values())

    def describe(self) -> dict[str, Any]:
        """The numbers for JSON, in one dictionary; what is not finite is None.

        Each curve has a distance, the half width of its band and both verdicts under its name;
        those of TARP have the expected coverage at the levels of the intervals as well.
        """
        made: dict[str, Any] = {
            "n": self.n,
            "n_samples": self.n_samples,
            "false_alarm": self.false_alarm,
            "accepted": self.accepted,
        }
        for name, curve in self.curves.items():
            made[f"{name}_distance"] = curve.distance
            made[f"{name}_deviation"] = curve.deviation
            made[f"{name}_band"] = curve.half_width
            made[f"{name}_accepted"] = curve.accepted
            made[f"{name}_accepted_among_all"] = curve.accepted_among_all
            if name not in PARAMETERS:
                made |= {
                    f"{name}_coverage_{100 * level:g}": float(value)
                    for level, value in zip(
                        LEVELS, np.interp(LEVELS, curve.levels, curve.ecdf), strict=True
                    )
                }
        for name, shares in self.intervals.items():
            for level, share in zip(LEVELS, shares, strict=True):
                made[f"{name}_interval_{100 * level:g}"] = float(share)
        for level, error in zip(LEVELS, self.interval_errors, strict=True):
            made[f"interval_error_{100 * level:g}"] = float(error)
        for field, value in dataclasses.asdict(self.caught).items():
            made[f"caught_{field}"] = finite_or_none(value)
        return made


def judge_coverage(
    answers: AbstractAnswers,
    truths: Mapping[str, Float[np.ndarray, "n"]],
    band: Band,
    *,
    seed: int,
    scalar: Float[np.ndarray, "n"] | None = None,
    lattice: Mapping[str, float] | None = None,
    n_samples: int = 499,
    false_alarm: float = 0.05,
) -> Coverage:
    """Marginal ranks, TARP and interval coverage of posteriors whose truths are known.

    **Arguments:**

    - `answers`: the posteriors.
    - `truths`: `(n,)` each, `log_age`, `a_v`, `log_mass` and `log_r_eff_pc`.
    - `band`: simultaneous band of an ECDF: `starcensus.inference.calibration.ecdf_band`.
    - `seed`: of all draws.
    - `scalar`: `(n,)`, a number from the data of each object, such as its magnitude as measured, on
      which the points of one more TARP curve depend. Only what the network was shown may enter: a
      number from the truth, or from light that a stamp does not hold, refuses right posteriors.
    - `lattice`: steps of parameters whose truths lie on a lattice, such as
      `{"log_age": 0.05, "a_v": 0.1}`. Where posteriors are as narrow as a step, shares below
      truths on a lattice are lumpy, though nothing is wrong. Each truth gets a place in its cell,
      drawn evenly within half a step to either side.
    - `n_samples`: draws of each posterior for TARP; one less than a multiple of 100.
    - `false_alarm`: of each curve alone, and of all together.

    The band of one parameter sees a bias or a wrong width from the size on that `caught` states.
    TARP sees what moves its expected coverage by about the half width of its band. Where age and
    extinction, known to 0.35 dex and 0.35 mag, have a correlation of -0.9 and the posterior says
    none, 2,000 objects move it by 0.03 or less from points anywhere, which is noise, and by 0.07 to
    0.10 from the ends of the degeneracy.

    Raises `ValueError` for posteriors or truths that cannot be, and for numbers out of their
    ranges.

    Source: Lemos et al. 2023 (TARP); Säilynoja, Bürkner & Vehtari 2022 (the band).

    ```python
    from starcensus.inference.calibration import ecdf_band
    from starcensus.networks.cnn import Grid
    from starcensus.selection.finder.answers import Binned

    rng = np.random.default_rng(1)
    shares = rng.dirichlet(np.ones(2800), 100), rng.dirichlet(np.ones(14), 100)
    some = Binned(*shares, Grid())
    drawn = some.draw(1, rng)[:, 0]
    truths = dict(zip(("log_age", "a_v", "log_mass", "log_r_eff_pc"), drawn.T))
    judge_coverage(some, truths, ecdf_band, seed=1).accepted  # True
    ```
    """
    check_seed(seed)
    if n_samples < _N_RANKED or (n_samples + 1) % (_N_RANKED + 1):
        raise ValueError(f"n_samples is {n_samples}; expected 99, 199, 299, …")
    if not 0 < false_alarm < 1:
        raise ValueError(f"false_alarm is {false_alarm}; expected a rate between 0 and 1")
    true = answers.check(truths)
    if scalar is not None and not (len(scalar) == len(true) and np.isfinite(scalar).all()):
        raise ValueError(
            f"scalar has {len(scalar)} numbers, {int(np.isfinite(scalar).sum())} of them finite; "
            f"expected one for each of {len(true)} objects"
        )
    of_cells, of_points, of_samples = np.random.default_rng(seed).spawn(3)
    true = answers.spread_truths(true, lattice or {}, of_cells)
    shares, grid = answers.below(true), answers.grid
    ranks = {name: _places(share) for name, share in shares.items()}
    looks = {
        "tarp": (reference_points(grid, len(true), of_points), PARAMETERS),
        "tarp_degeneracy": (degeneracy_points(grid, len(true), of_points), _DEGENERATE),
    }
    if scalar is not None:
        points = reference_points(grid, len(true), of_points, scalar)
        looks["tarp_of_data"] = points, PARAMETERS
    for name, (points, over) in looks.items():
        nearer = tarp_ranks(answers, true, points, n_samples, of_samples, over)
        ranks[name] = nearer * (_N_RANKED + 1) // (n_samples + 1)
    return Coverage(
        len(true),
        n_samples,
        false_alarm,
        {
            name: _curve(some, band, false_alarm, false_alarm / len(ranks))
            for name, some in ranks.items()
        },
        {
            name: np.array([(np.abs(share - 0.5) <= level / 2).mean() for level in LEVELS])
            for name, share in shares.items()
        },
        np.array([math.sqrt(level * (1 - level) / len(true)) for level in LEVELS]),
        least_caught(len(true), band, false_alarm=false_alarm),
    )


def reference_points(
    grid: Grid,
    n: int,
    rng: np.random.Generator,
    scalar: Float[np.ndarray, "n"] | None = None,
) -> Float[np.ndarray, "n 4"]:
    """Points from which TARP measures distances, inside the bins without their padding.

    **Arguments:**

    - `grid`, `n`: the bins and the number of objects.
    - `rng`: of the points, drawn evenly.
    - `scalar`: `(n,)`. With it a point lies halfway between a random one and one on a diagonal of
      the box, at the place of the object's scalar among all: the least is at the young, clear,
      heavy and small end. So bright and faint objects look from opposite sides.

    ```python
    from starcensus.networks.cnn import Grid

    reference_points(Grid(), 3, np.random.default_rng(1)).shape  # (3, 4)
    ```
    """
    share = rng.random((n, len(PARAMETERS)))
    if scalar is not None:
        place = (np.argsort(np.argsort(scalar, kind="stable")) + 0.5) / n
        diagonal = np.stack([place, place, 1 - place, place], axis=1)
        share = (share + diagonal) / 2
    low = np.array([axis.low for axis in grid.continuous])
    return low + share * _ranges(grid)


def degeneracy_points(grid: Grid, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 4"]:
    """Points of TARP at either end of the degeneracy of age and extinction.

    Half are in the youngest and dustiest quarters of the ranges, half in the oldest and clearest;
    mass and size are anywhere.

    **Arguments:** as of `reference_points`.

    ```python
    from starcensus.networks.cnn import Grid

    degeneracy_points(Grid(), 3, np.random.default_rng(1)).shape  # (3, 4)
    ```
    """
    share = rng.random((n, len(PARAMETERS)))
    young = rng.random(n) < 0.5
    low, high = _END * share, 1 - _END * share
    age, a_v = (PARAMETERS.index(name) for name in _DEGENERATE)
    share[:, age] = np.where(young, low[:, age], high[:, age])
    share[:, a_v] = np.where(young, high[:, a_v], low[:, a_v])
    return np.array([axis.low for axis in grid.continuous]) + share * _ranges(grid)


def tarp_ranks(
    answers: AbstractAnswers,
    parameters: Float[np.ndarray, "n 4"],
    points: Float[np.ndarray, "n 4"],
    n_samples: int,
    rng: np.random.Generator,
    over: tuple[str, ...] = PARAMETERS,
) -> Int[np.ndarray, "n"]:
    """Number of draws of each posterior that are nearer to its point than the truth is.

    Distances are Euclidean, each parameter in units of its range without padding. Divided by the
    number of draws, it is the credibility of Lemos et al. 2023; for right posteriors it is one of
    0 to `n_samples`, all as likely.

    **Arguments:**

    - `answers`: the posteriors.
    - `parameters`, `points`: `(n, 4)`, truths and reference points.
    - `n_samples`, `rng`: draws of each posterior, and their generator.
    - `over`: parameters that count in distances.

    ```python
    from starcensus.networks.cnn import Grid
    from starcensus.selection.finder.answers import Binned

    flat = Binned(np.full((1, 2800), 1 / 2800), np.full((1, 14), 1 / 14), Grid())
    one, rng = np.array([[7.0, 1.0, 4.0, 0.5]]), np.random.default_rng(1)
    tarp_ranks(flat, one, one, 99, rng)  # 0: the truth is the point
    ```
    """
    scale = np.isin(PARAMETERS, over) / _ranges(answers.grid)
    found = np.empty(len(answers), int)
    for first in range(0, len(answers), _CHUNK):
        part = np.arange(first, min(first + _CHUNK, len(answers)))
        drawn = answers.take(part).draw(n_samples, rng)
        apart = (((drawn - points[part, None]) * scale) ** 2).sum(axis=2)
        of_truth = (((parameters[part] - points[part]) * scale) ** 2).sum(axis=1)
        found[part] = (apart < of_truth[:, None]).sum(axis=1)
    return found


def band_power(
    n: int,
    band: Band,
    *,
    bias: float = 0.0,
    width: float = 1.0,
    false_alarm: float = 0.05,
    repeats: int = 1000,
    seed: int = 0,
) -> float:
    """How often the ECDF of one parameter leaves its band, for normal posteriors with a fault.

    **Arguments:**

    - `n`: objects. `band`: as of `judge_coverage`.
    - `bias`: of the posterior's mean, in its standard deviations.
    - `width`: of the posterior's standard deviation over the right one.
    - `false_alarm`: of the band.
    - `repeats`, `seed`: of the simulation.

    ```python
    from starcensus.inference.calibration import ecdf_band

    band_power(500, ecdf_band, bias=0.3)  # 1.0
    ```
    """
    low, high = band(n, _N_RANKED, false_alarm)
    below = ndtr(width * ndtri(np.arange(_N_RANKED + 2) / (_N_RANKED + 1)) + bias)
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n, np.diff(below), size=repeats).cumsum(axis=1)[:, :-1]
    return float(((counts < low) | (counts > high)).any(axis=1).mean())


@functools.cache
def least_caught(n: int, band: Band, *, false_alarm: float = 0.05) -> Caught:
    """The least bias and the least faults of width that the band of n objects refuses.

    **Arguments:** as of `band_power`.

    ```python
    from starcensus.inference.calibration import ecdf_band

    least_caught(500, ecdf_band)  # a bias of 0.18, widths of 0.86 and 1.18
    ```
    """

    def of_bias(bias: float) -> float:
        return band_power(n, band, bias=bias, false_alarm=false_alarm)

    def of_width(width: float) -> float:
        return band_power(n, band, width=width, false_alarm=false_alarm)

    def search(power: Callable[[float], float], right: float, wrong: float) -> float:
        if power(wrong) < _POWER:
            return math.nan
        while abs(wrong - right) > 1e-3:
            middle = (right + wrong) / 2
            right, wrong = (right, middle) if power(middle) >= _POWER else (middle, wrong)
        return wrong

    return Caught(
        search(of_bias, 0.0, 5.0), search(of_width, 1.0, 0.02), search(of_width, 1.0, 20.0)
    )


def _places(share: Float[np.ndarray, "n"]) -> Int[np.ndarray, "n"]:
    return np.minimum((share * (_N_RANKED + 1)).astype(int), _N_RANKED)


def _curve(ranks: Int[np.ndarray, "n"], band: Band, one: float, each: float) -> RankCurve:
    n = len(ranks)
    counts = np.bincount(ranks, minlength=_N_RANKED + 1).cumsum()[:-1]
    edges = (edge / n for rate in (one, each) for edge in band(n, _N_RANKED, rate))
    return RankCurve(counts / n, *edges)


def _ranges(grid: Grid) -> Float[np.ndarray, "4"]:
    return np.array([axis.high - axis.low for axis in grid.continuous])
