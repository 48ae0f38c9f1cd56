"""Whether a learned probability is right: on held-out injections, and on repeated ones."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree
from scipy.special import chdtrc, expit, logit

from ..injection import InjectionTable

PERCENTILES = (50.0, 90.0, 95.0)
NEIGHBOURS = (10, 20, 40, 80, 160, 320)
# Fewer rows in a bin have no Gaussian count.
MIN_ROWS = 50
_CHUNK = 256
_NEWTON_STEPS = 15


class TooFewRowsError(ValueError):
    """No bin of the probabilities has rows enough for a check."""


def log_loss(
    p: Float[np.ndarray, "n"],
    label: Bool[np.ndarray, "n"] | Float[np.ndarray, "n"],
    weight: Float[np.ndarray, "n"] | None = None,
) -> float:
    """Mean Bernoulli cross-entropy, nats; probabilities are kept 1e-7 away from 0 and 1.

    **Arguments:**

    - `p`: `(n,)`, predicted probabilities.
    - `label`: `(n,)`, outcomes, or shares of them over repeats.
    - `weight`: `(n,)`, weights of the rows; by default 1.

    ```python
    log_loss(np.array([0.9, 0.2]), np.array([True, False]))  # 0.164
    ```
    """
    p = np.clip(p, 1e-7, 1 - 1e-7)
    share = label.astype(float)
    each = -(share * np.log(p) + (1 - share) * np.log1p(-p))
    return float(np.average(each, weights=weight))


def loss_difference(
    p: Float[np.ndarray, "n"],
    q: Float[np.ndarray, "n"],
    label: Bool[np.ndarray, "n"],
    weight: Float[np.ndarray, "n"] | None = None,
) -> tuple[float, float]:
    """Mean log-loss of `p` less that of `q` on the same rows, nats, and its standard error.

    The error is that of a weighted mean of independent pairs, (Σ w² (d − d̄)²)^½ / Σ w: what both
    predictions have in common cancels.

    **Arguments:**

    - `p`, `q`: `(n,)`, predicted probabilities.
    - `label`: `(n,)`, outcomes. `weight`: `(n,)`, of the rows; by default 1.

    ```python
    label = np.array([True, False, True])
    loss_difference(np.full(3, 0.5), np.array([0.9, 0.2, 0.7]), label)  # (0.46, 0.07)
    ```
    """
    p, q = (np.clip(x, 1e-7, 1 - 1e-7) for x in (p, q))
    each = np.where(label, np.log(q / p), np.log1p(-q) - np.log1p(-p))
    w = np.ones(len(each)) if weight is None else np.asarray(weight, float)
    mean = float(np.average(each, weights=w))
    return mean, float(np.sqrt((w**2 * (each - mean) ** 2).sum()) / w.sum())


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probabilities against outcomes, in bins of logit p.

    **Arguments:**

    - `predicted`, `observed`: `(bin,)`, mean p and share of the label.
    - `n`: `(bin,)`, number of rows.
    - `z`: `(bin,)`, observed less predicted over its standard deviation, if p is right.
    - `p_value`: p-value of the sum of squares of z.
    """

    predicted: Float[np.ndarray, "bin"]
    observed: Float[np.ndarray, "bin"]
    n: Int[np.ndarray, "bin"]
    z: Float[np.ndarray, "bin"]
    p_value: float

    @property
    def largest_miss(self) -> float:
        """Largest difference of observed and predicted in a bin."""
        return float(np.abs(self.observed - self.predicted).max())


def reliability(
    p: Float[np.ndarray, "n"],
    label: Bool[np.ndarray, "n"],
    edges: tuple[float, ...] = (-5, -4, -3, -2, -1, 0, 1, 2, 3, 4),
    min_rows: int = MIN_ROWS,
    weight: Float[np.ndarray, "n"] | None = None,
    group: Int[np.ndarray, "n"] | None = None,
) -> Reliability:
    """Predicted probabilities against outcomes, in bins of logit p; small bins are left out.

    The variance of a bin's weighted count is Σ w² p(1 − p), so a systematic miss shows wherever it
    is.

    **Arguments:**

    - `p`: `(n,)`, predicted probabilities.
    - `label`: `(n,)`, outcomes.
    - `edges`: edges of the bins in logit p, the outer ones open.
    - `min_rows`: the fewest rows of a bin.
    - `weight`: `(n,)`, weights of the rows; by default 1.
    - `group`: `(n,)`, numbers. Rows of one group, such as repeats of a cluster, are not
      independent: the variance then is the sum over groups of their squared misses.

    Raises `TooFewRowsError` where every bin is small.

    ```python
    rng = np.random.default_rng(0)
    p = rng.uniform(size=500)
    reliability(p, rng.uniform(size=500) < p).p_value
    ```
    """
    which = np.digitize(logit(np.clip(p, 1e-9, 1 - 1e-9)), edges)
    w = np.ones(len(p)) if weight is None else weight
    rows = []
    for index in range(len(edges) + 1):
        inside = which == index
        n = int(inside.sum())
        if n < min_rows:
            continue
        q, y, v = p[inside], label[inside], w[inside]
        spread = float(np.sqrt((v**2 * q * (1 - q)).sum()))
        miss = float((v * (y - q)).sum())
        if group is not None:
            _, index_of = np.unique(group[inside], return_inverse=True)
            spread = float(np.sqrt((np.bincount(index_of, v * (y - q)) ** 2).sum()))
        means = np.average(q, weights=v), np.average(y, weights=v)
        rows.append((*means, n, miss / max(spread, 1e-9)))
    if not rows:
        raise TooFewRowsError(
            f"{len(p)} rows are too few for a check of the probabilities: no bin of them has "
            f"{min_rows}; inject more clusters"
        )
    predicted, observed, n, z = (np.array(column) for column in zip(*rows, strict=True))
    return Reliability(predicted, observed, n.astype(int), z, float(chdtrc(len(z), (z**2).sum())))


@dataclasses.dataclass(frozen=True)
class Scores:
    """How far probabilities are from the shares of repeats.

    The first two numbers are least for the mean of p_true given the inputs, and the noise of the
    repeats adds the same to them whatever is predicted. The median is least for a prediction that
    follows most clusters and is wrong about the others.

    **Arguments:**

    - `log_loss`: mean cross-entropy against p_true, nats.
    - `rms`: root mean square of p − p_true.
    - `p50`, `p90`, `p95`: percentiles of |p − p_true|.
    """

    log_loss: float
    rms: float
    p50: float
    p90: float
    p95: float


@dataclasses.dataclass(frozen=True, eq=False)
class Neighbours:
    """Local regressions on the nearest clusters, and the one of the least log-loss.

    **Arguments:**

    - `k`: number of neighbours of that one.
    - `p`: `(n,)`, its prediction for each cluster.
    - `by_k`: scores of all.
    """

    k: int
    p: Float[np.ndarray, "n"]
    by_k: dict[int, Scores]

    @property
    def scores(self) -> Scores:
        """Those of the chosen `k`."""
        return self.by_k[self.k]


@dataclasses.dataclass(frozen=True, eq=False)
class TestSet:
    """Clusters that were injected many times: completeness of each, as measured.

    **Arguments:**

    - `first`: one row of each cluster.
    - `p_true`: `(n,)`, share of its repeats that were catalogued (C-4, arXiv:2604.05291, equation
      10).
    - `noise`: `(n,)`, half the difference of the shares of even and odd repeats, which has the
      variance of the noise in `p_true`.
    - `n_repeats`: number of repeats of each cluster.

    ```python
    test = TestSet.of(table)
    test.scores(predict(learned.operator, test.first)).rms, test.noise_percentiles()
    ```
    """

    __test__ = False

    first: InjectionTable
    p_true: Float[np.ndarray, "n"]
    noise: Float[np.ndarray, "n"]
    n_repeats: int

    @classmethod
    def of(cls, table: InjectionTable) -> "TestSet":
        """From a table of repeats, or several of the same clusters that were joined.

        An odd last repeat counts for `p_true` and not for `noise`. Raises `ValueError` unless all
        clusters have equally many repeats, two or more, and a cluster has the same light in all of
        them, each at another place.
        """
        order = np.lexsort((table.repeat, table.cluster))
        clusters, counts = np.unique(table.cluster, return_counts=True)
        repeats = int(counts[0])
        if repeats < 2 or (counts != repeats).any():
            raise ValueError(
                f"clusters were injected {int(counts.min())} to {int(counts.max())} times; a test "
                "set needs as many repeats, two or more, of each"
            )
        mags = table.true_mags[order].reshape(len(clusters), repeats, -1)
        if not (mags == mags[:, :1]).all():
            row = int(np.argmin((mags == mags[:, :1]).all(axis=(1, 2))))
            raise ValueError(
                f"cluster {clusters[row]} has not the same magnitudes in all of its repeats; "
                "expected tables of the same library"
            )
        at = np.sort((table.x + 1j * table.y)[order].reshape(len(clusters), repeats), axis=1)
        if (again := (at[:, 1:] == at[:, :-1]).any(axis=1)).any():
            raise ValueError(
                f"cluster {clusters[np.argmax(again)]} has two repeats at the same x and y; "
                "expected injections of its own in each repeat: give every table once, and tables "
                "of different seeds"
            )
        found = table.catalogued[order].reshape(len(clusters), repeats).astype(float)
        even = repeats // 2 * 2
        halves = found[:, :even:2].mean(1) - found[:, 1:even:2].mean(1)
        return cls(table.take(order[::repeats]), found.mean(1), np.abs(halves) / 2, repeats)

    def __len__(self) -> int:
        return len(self.p_true)

    def error_percentiles(self, p: Float[np.ndarray, "n"]) -> Float[np.ndarray, "3"]:
        """50th, 90th and 95th percentile of |p − p_true|."""
        return np.percentile(np.abs(p - self.p_true), PERCENTILES)

    def noise_percentiles(self) -> Float[np.ndarray, "3"]:
        """Of the noise of the repeats alone: no prediction can be better."""
        return np.percentile(self.noise, PERCENTILES)

    def scores(self, p: Float[np.ndarray, "n"]) -> Scores:
        """Of a prediction for each cluster."""
        rms = float(np.sqrt(((p - self.p_true) ** 2).mean()))
        return Scores(log_loss(p, self.p_true), rms, *map(float, self.error_percentiles(p)))

    def neighbour_regression(
        self, x: Float[np.ndarray, "n d"], n_neighbours: int = 20
    ) -> Float[np.ndarray, "n"]:
        """p_true of each cluster from the others that are nearest in `x`.

        Local logistic regression on standardised `x`, tricube weights; a cluster never serves its
        own prediction. `ValueError` where there are fewer than `n_neighbours` + 1 others.
        """
        n = len(x)
        if not 1 <= n_neighbours <= n - 2:
            raise ValueError(
                f"n_neighbours is {n_neighbours}; expected 1 to {n - 2} for {n} clusters, as the "
                "kernel ends at the next one; ask for fewer or inject more clusters"
            )
        spread = x.std(0)
        standard = (x - x.mean(0)) / np.where(spread > 0, spread, 1.0)
        found = KDTree(standard).query(standard, k=n_neighbours + 2)
        distance, near = (np.asarray(part) for part in found)
        # Where others have the same x, a cluster is not always the first of its own list.
        own = near == np.arange(n)[:, None]
        own[~own.any(1), -1] = True
        distance, near = (part[~own].reshape(n, n_neighbours + 1) for part in (distance, near))
        reach = np.maximum(distance[:, -1:], 1e-12)
        kernel = np.clip(1 - (distance / reach) ** 3, 0, None) ** 3
        out = np.empty(n)
        for start in range(0, n, _CHUNK):
            part = slice(start, start + _CHUNK)
            offset = standard[near[part]] - standard[part, None]
            design = np.concatenate([np.ones((*offset.shape[:2], 1)), offset], axis=-1)
            out[part] = _local(design, self.p_true[near[part]], kernel[part])
        return out

    def neighbours(
        self, x: Float[np.ndarray, "n d"], counts: tuple[int, ...] = NEIGHBOURS
    ) -> Neighbours:
        """A yardstick for what the inputs `x` allow: `neighbour_regression` of the best count.

        Networks estimate the mean of p_true given `x`; so does the regression of the least
        log-loss. Few neighbours follow single clusters, many blur. It has seen the test set, and
        a network has not. Counts that the test set is too small for are left out; `ValueError` if
        none is left.
        """
        usable = [k for k in counts if k <= len(x) - 2]
        if not usable:
            raise ValueError(
                f"{len(x)} clusters are too few for any of {counts} neighbours; expected two more "
                "than the least; inject more clusters"
            )
        found = {k: self.neighbour_regression(x, k) for k in usable}
        by_k = {k: self.scores(p) for k, p in found.items()}
        best = min(by_k, key=lambda k: by_k[k].log_loss)
        return Neighbours(best, found[best], by_k)

    def binned(
        self, values: Float[np.ndarray, "n"], p: Float[np.ndarray, "n"], bins: int, min_n: int = 80
    ) -> dict[str, np.ndarray]:
        """Means of p_true and p in equal bins of a property (C-4, figures 3 to 5)."""
        finite = np.isfinite(values)
        edges = np.histogram_bin_edges(values[finite], bins)
        which = np.clip(np.digitize(values, edges) - 1, 0, bins - 1)
        keep = [b for b in range(bins) if (finite & (which == b)).sum() >= min_n]
        rows = [finite & (which == b) for b in keep]
        return {
            "middle": np.array([(edges[b] + edges[b + 1]) / 2 for b in keep]),
            "p_true": np.array([self.p_true[r].mean() for r in rows]),
            "p": np.array([p[r].mean() for r in rows]),
            "n": np.array([r.sum() for r in rows]),
        }


def _local(
    design: Float[np.ndarray, "n m d"],
    p: Float[np.ndarray, "n m"],
    weight: Float[np.ndarray, "n m"],
) -> Float[np.ndarray, "n"]:
    """Values at the origins of weighted logistic fits with a weak ridge on the slopes."""
    weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-12)
    mean = np.clip((weight * p).sum(1), 1e-4, 1 - 1e-4)
    d = design.shape[2]
    beta = np.zeros((len(design), d))
    beta[:, 0] = logit(mean)
    ridge = np.repeat((0.02 * mean * (1 - mean))[:, None], d, axis=1)
    ridge[:, 0] = 1e-9
    across = design.swapaxes(1, 2)
    for _ in range(_NEWTON_STEPS):
        q = expit(np.clip((design @ beta[..., None])[..., 0], -30, 30))
        gradient = (across @ (weight * (p - q))[..., None])[..., 0] - ridge * beta
        information = (across * (weight * q * (1 - q))[:, None]) @ design
        information[:, range(d), range(d)] += ridge + 1e-10
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        # Full steps overshoot where q saturates.
        step *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(1, keepdims=True), 1e-12))
        beta += step
        if np.abs(step).max() < 1e-6:
            break
    return expit(beta[:, 0])
