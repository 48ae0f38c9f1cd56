"""How near a network's answers are to the truth: errors, biases, degeneracies, log scores.

The figures are those by which the thesis of J. Bialopetravičius (Vilnius), section 3, judges its
network, beside what a guess that sees no image would reach. Objects come as the caller chose them:
cuts and subsets are made before.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...networks.cnn.decoding import quantiles
from ...networks.cnn.targets import Axis
from .answers import AbstractAnswers
from .cells import PARAMETERS

# From here on the colours leave age and extinction open (thesis, section 3.4).
OLD_LOG_AGE = 8.0
AGE_EDGES = (6.5, 7.0, 7.5, 8.0, 8.5, 9.0, 9.5, 10.0, 10.5)
# Fewer errors have no median whose own error can be told.
_LEAST_IN_BIN = 10
# Ages on a lattice are off its values by rounding.
_ROUNDING = 1e-6
_VALLEY, _LEAST_MODE = 0.5, 0.2
_EXTENDED_DEX = 0.7
_IN_WORDS: dict[str, str] = dict(
    zip(PARAMETERS, ("age_dex", "a_v_mag", "mass_dex", "size_dex"), strict=True)
)


@dataclasses.dataclass(frozen=True, eq=False)
class Accuracy:
    """What `judge_accuracy` finds. Dictionaries go by parameter; errors are answer minus truth.

    **Arguments:**

    - `n`, `point`: number of objects, and the answer that was judged.
    - `p95`, `median_error`: 95th percentile and median of the absolute errors.
    - `null_p95`, `null_median_error`: the same of the one answer for all objects that makes them
      least: the middle of the shortest interval that holds 95%, or half, of the truths.
    - `null_of_median`: median absolute error of the truths' median.
    - `age_edges`: edges of bins of the true log age; `n_in_bin`: objects in each.
    - `bias`, `bias_error`: median error in each bin and its standard error, NaN for fewer than 10.
    - `young_bias`, `young_bias_error`: of all objects with a true log age below 8, by parameter.
    - `correlation`, `correlation_old`: Pearson's, of the errors in log age with those in each other
      parameter, of all objects and of those with a true log age of 8 or more.
    - `n_old`: number of the latter.
    - `log_score`, `log_score_error`: mean log density at the truth, nats per object, in the units
      of `log_density`, and its standard error.
    - `share_bimodal`, `share_extended`: shares of the posteriors in log age, of `mode_shares`.

    ```python
    from starcensus.networks.cnn import Grid
    from starcensus.selection.finder.answers import Binned

    flat = Binned(np.full((20, 2800), 1 / 2800), np.full((20, 14), 1 / 14), Grid())
    values = {"log_age": 7.0, "a_v": 1.0, "log_mass": 4.0, "log_r_eff_pc": 0.5}
    truths = {name: np.full(20, value) for name, value in values.items()}
    judge_accuracy(flat, truths).p95["log_age"]  # 1.35
    ```
    """

    n: int
    point: str
    p95: dict[str, float]
    median_error: dict[str, float]
    null_p95: dict[str, float]
    null_median_error: dict[str, float]
    null_of_median: dict[str, float]
    age_edges: tuple[float, ...]
    n_in_bin: Int[np.ndarray, "bin"]
    bias: dict[str, Float[np.ndarray, "bin"]]
    bias_error: dict[str, Float[np.ndarray, "bin"]]
    young_bias: dict[str, float]
    young_bias_error: dict[str, float]
    correlation: dict[str, float]
    correlation_old: dict[str, float]
    n_old: int
    log_score: float
    log_score_error: float
    share_bimodal: float
    share_extended: float

    def describe(self) -> dict[str, Any]:
        """The numbers for JSON, in one dictionary; what is not finite is None.

        Parameters are `age_dex`, `a_v_mag`, `mass_dex` and `size_dex` in its keys, as in
        `p95_age_dex` and `null_p95_age_dex`; biases are lists over `bias_age_edges`.
        """
        made: dict[str, Any] = {"n": self.n, "n_old": self.n_old, "point": self.point}
        by_parameter = (
            "p95",
            "median_error",
            "null_p95",
            "null_median_error",
            "null_of_median",
            "young_bias",
            "young_bias_error",
        )
        for field in by_parameter:
            for name, value in getattr(self, field).items():
                made[f"{field}_{_IN_WORDS[name]}"] = finite_or_none(value)
        made["bias_age_edges"] = list(self.age_edges)
        made["bias_n"] = self.n_in_bin.tolist()
        for field in ("bias", "bias_error"):
            for name, values in getattr(self, field).items():
                made[f"{field}_{_IN_WORDS[name]}"] = [finite_or_none(v) for v in values]
        for end, found in (("", self.correlation), ("_old", self.correlation_old)):
            for name, value in found.items():
                word = _IN_WORDS[name].rpartition("_")[0]
                made[f"correlation_age_{word}{end}"] = finite_or_none(value)
        for field in ("log_score", "log_score_error", "share_bimodal", "share_extended"):
            made[field] = finite_or_none(getattr(self, field))
        return made


def judge_accuracy(
    answers: AbstractAnswers,
    truths: Mapping[str, Float[np.ndarray, "n"]],
    *,
    point: str = "mean",
    age_edges: tuple[float, ...] = AGE_EDGES,
) -> Accuracy:
    """Errors of the answers that posteriors give, with their biases and correlations.

    **Arguments:**

    - `answers`: the posteriors.
    - `truths`: `(n,)` each, `log_age` (log10 yr), `a_v` (mag), `log_mass` (log10 M_sun) and
      `log_r_eff_pc`.
    - `point`: the answer: `mean` or `median` of each parameter's marginal; of bins also `decode`,
      the mean about the most probable one, as the thesis has it.
    - `age_edges`: edges of bins of the true log age, in which biases are found.

    The standard error of a median is half the distance between the order statistics half a root of
    n to either side of it, which asks for no shape of the errors.

    Raises `ValueError` for posteriors or truths that cannot be, another `point`, or edges that do
    not rise.

    Source: thesis of J. Bialopetravičius, sections 3.3 and 3.4.

    ```python
    from starcensus.networks.cnn import Grid
    from starcensus.selection.finder.answers import Binned

    grid, rng = Grid(), np.random.default_rng(1)
    axes = (*grid.joint, grid.log_r_eff_pc)
    names = ("log_age", "a_v", "log_mass", "log_r_eff_pc")
    truths = {k: rng.uniform(a.low, a.high, 50) for k, a in zip(names, axes)}
    age, a_v, mass, size = (a.encode(truths[k], 0.5) for k, a in zip(names, axes))
    joint = np.einsum("ni,nj,nk->nijk", age, a_v, mass).reshape(50, -1)
    judge_accuracy(Binned(joint, size, grid), truths, point="decode").describe()["p95_age_dex"]
    ```
    """
    true = answers.check(truths)
    edges = np.asarray(age_edges, float)
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError(f"age_edges are {age_edges}; expected two or more that rise")
    errors = answers.points(point) - true
    absolute = np.abs(errors)
    at = np.searchsorted(edges, true[:, 0] + _ROUNDING, side="right") - 1
    bins = [at == k for k in range(len(edges) - 1)]
    old = true[:, 0] >= OLD_LOG_AGE - _ROUNDING
    by_bin = np.array([[_median(column[some]) for some in bins] for column in errors.T])
    young = np.array([_median(column[~old]) for column in errors.T])
    score = answers.log_score(true)
    bimodal, extended = mode_shares(answers.age_shares(), answers.grid.log_age)
    return Accuracy(
        len(true),
        point,
        _named(np.percentile(absolute, 95, axis=0)),
        _named(np.median(absolute, axis=0)),
        _named([_least_error(column, 0.95) for column in true.T]),
        _named([_least_error(column, 0.5) for column in true.T]),
        _named(np.median(np.abs(true - np.median(true, axis=0)), axis=0)),
        tuple(float(edge) for edge in edges),
        np.array([some.sum() for some in bins]),
        dict(zip(PARAMETERS, by_bin[:, :, 0], strict=True)),
        dict(zip(PARAMETERS, by_bin[:, :, 1], strict=True)),
        _named(young[:, 0]),
        _named(young[:, 1]),
        _correlations(errors),
        _correlations(errors[old]),
        int(old.sum()),
        float(score.mean()),
        float(score.std(ddof=1) / np.sqrt(len(score))) if np.isfinite(score).all() else math.nan,
        bimodal,
        extended,
    )


def mode_shares(age: Float[np.ndarray, "n bin"], axis: Axis) -> tuple[float, float]:
    """Shares of posteriors in log age that are bimodal, and that are extended with one mode.

    Bimodal: some bin parts the others into two sides, each of which holds a fifth of the
    probability or more and has a bin at least twice as high as the one between. Extended: not so,
    and the central 68% are longer than 0.7 dex, four bins of the thesis. The thesis, which finds
    less than 1% and about 20%, defines neither.

    **Arguments:**

    - `age`: `(n, bin)`, probabilities. `axis`: their bins.

    ```python
    from starcensus.networks.cnn import Axis

    two, flat = [0.4, 0.1, 0.0, 0.1, 0.4], [0.2] * 5
    mode_shares(np.array([two, flat]), Axis(7.0, 9.0, 5, 0))  # 0.5, 0.5
    ```
    """
    below = age.cumsum(axis=1)
    left = np.maximum.accumulate(age, axis=1)[:, :-2]
    right = np.maximum.accumulate(age[:, ::-1], axis=1)[:, ::-1][:, 2:]
    valley = age[:, 1:-1] <= _VALLEY * np.minimum(left, right)
    lesser = np.minimum(below[:, :-2], below[:, -1:] - below[:, 1:-1])
    bimodal = (valley & (lesser >= _LEAST_MODE * below[:, -1:])).any(axis=1)
    length = np.diff(quantiles(age, axis, (0.16, 0.84)), axis=1)[:, 0]
    return float(bimodal.mean()), float((~bimodal & (length > _EXTENDED_DEX)).mean())


def finite_or_none(value: float) -> float | None:
    """A number for JSON, which has no NaN.

    ```python
    finite_or_none(float("nan"))  # None
    ```
    """
    return float(value) if math.isfinite(value) else None


def _named(values: Any) -> dict[str, float]:
    return {name: float(value) for name, value in zip(PARAMETERS, values, strict=True)}


def _median(errors: Float[np.ndarray, "n"]) -> tuple[float, float]:
    """The median and its standard error."""
    if len(errors) < _LEAST_IN_BIN:
        return math.nan, math.nan
    aside = 0.5 / math.sqrt(len(errors))
    low, middle, high = np.quantile(errors, (0.5 - aside, 0.5, 0.5 + aside))
    return float(middle), float(high - low) / 2


def _least_error(truth: Float[np.ndarray, "n"], level: float) -> float:
    """Quantile of the absolute errors of the one answer that makes it least."""
    rising = np.sort(truth)
    beyond = math.ceil(level * (len(rising) - 1))
    first = int((rising[beyond:] - rising[: len(rising) - beyond]).argmin())
    middle = (rising[first] + rising[first + beyond]) / 2
    return float(np.quantile(np.abs(truth - middle), level))


def _correlations(errors: Float[np.ndarray, "n 4"]) -> dict[str, float]:
    made = {}
    age = errors[:, 0]
    for name, other in zip(PARAMETERS[1:], errors.T[1:], strict=True):
        told = len(age) > 2 and _varies(age) and _varies(other)
        made[name] = float(np.corrcoef(age, other)[0, 1]) if told else math.nan
    return made


def _varies(values: Float[np.ndarray, "n"]) -> bool:
    return bool(np.ptp(values) > 0)
