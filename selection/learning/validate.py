"""Whether a learned probability is right: on held-out injections, and on repeated ones."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats
from scipy.spatial import KDTree
from scipy.special import expit, logit

from ..injection import InjectionTable

PERCENTILES = (50.0, 90.0, 95.0)


def log_loss(
    p: Float[np.ndarray, "n"],
    label: Bool[np.ndarray, "n"],
    weight: Float[np.ndarray, "n"] | None = None,
) -> float:
    """Mean Bernoulli cross-entropy, nats; probabilities are kept 1e-7 away from 0 and 1."""
    p = np.clip(p, 1e-7, 1 - 1e-7)
    each = -np.where(label, np.log(p), np.log1p(-p))
    return float(np.average(each, weights=weight))


@dataclasses.dataclass(frozen=True, eq=False)
class Reliability:
    """Predicted probabilities against outcomes, in bins of logit p.

    `predicted`, `observed`: mean p and share of the label in each bin; `n`: rows; `z`: observed
    less predicted over its standard deviation, if p is right. `p_value`: of their sum of squares.
    """

    predicted: Float[np.ndarray, "bin"]
    observed: Float[np.ndarray, "bin"]
    n: Int[np.ndarray, "bin"]
    z: Float[np.ndarray, "bin"]
    p_value: float


def reliability(
    p: Float[np.ndarray, "n"],
    label: Bool[np.ndarray, "n"],
    edges: tuple[float, ...] = (-5, -4, -3, -2, -1, 0, 1, 2, 3, 4),
    min_rows: int = 50,
    weight: Float[np.ndarray, "n"] | None = None,
) -> Reliability:
    """Reliability in bins of logit p between `edges`, the outer ones open; small bins are left out.

    The variance of a bin's weighted count is Σ w² p(1 − p), so a systematic miss shows wherever it
    is.
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
        means = np.average(q, weights=v), np.average(y, weights=v)
        rows.append((*means, n, miss / max(spread, 1e-9)))
    predicted, observed, n, z = (np.array(column) for column in zip(*rows, strict=True))
    return Reliability(
        predicted, observed, n.astype(int), z, float(stats.chi2.sf((z**2).sum(), len(z)))
    )


@dataclasses.dataclass(frozen=True, eq=False)
class TestSet:
    """Clusters that were injected many times: completeness of each, as measured.

    **Arguments:**

    - `first`: one row of each cluster. `p_true`: `(n,)`, share of its repeats that were catalogued
      (C-4, equation 10). `noise`: `(n,)`, half the difference of the shares of even and odd
      repeats, which has the variance of the noise in `p_true`. `n_repeats`: of each cluster.
    """

    __test__ = False

    first: InjectionTable
    p_true: Float[np.ndarray, "n"]
    noise: Float[np.ndarray, "n"]
    n_repeats: int

    @classmethod
    def of(cls, table: InjectionTable) -> "TestSet":
        """From a table of repeats; `ValueError` unless all clusters have equally many, two or more.

        An odd last repeat counts for `p_true` and not for `noise`.
        """
        order = np.lexsort((table.repeat, table.cluster))
        clusters, counts = np.unique(table.cluster, return_counts=True)
        repeats = int(counts[0])
        if repeats < 2 or (counts != repeats).any():
            raise ValueError(
                f"clusters were injected {int(counts.min())} to {int(counts.max())} times; a test "
                "set needs as many repeats, two or more, of each"
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

    def neighbour_regression(
        self, x: Float[np.ndarray, "n k"], n_neighbours: int = 20
    ) -> Float[np.ndarray, "n"]:
        """p_true of each cluster from the others that are nearest in `x`: a yardstick.

        Local logistic regression on standardised `x`, tricube weights; a cluster never serves its
        own prediction. It has seen the test set, and a network has not.
        """
        standard = (x - x.mean(0)) / x.std(0)
        found = KDTree(standard).query(standard, k=n_neighbours + 2)
        distance, near = (np.asarray(part)[:, 1:] for part in found)
        reach = np.maximum(distance[:, -1:], 1e-12)
        kernel = np.clip(1 - (distance / reach) ** 3, 0, None) ** 3
        out = np.empty(len(x))
        for i in range(len(x)):
            design = np.column_stack([np.ones(n_neighbours + 1), standard[near[i]] - standard[i]])
            out[i] = _local(design, self.p_true[near[i]], kernel[i])
        return out

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
    design: Float[np.ndarray, "m d"], p: Float[np.ndarray, "m"], weight: Float[np.ndarray, "m"]
) -> float:
    """The value at the origin of a weighted logistic fit with a weak ridge on the slopes."""
    weight = weight / max(weight.sum(), 1e-12)
    mean = float(np.clip((weight * p).sum(), 1e-4, 1 - 1e-4))
    beta = np.zeros(design.shape[1])
    beta[0] = logit(mean)
    ridge = np.full(len(beta), 0.02 * mean * (1 - mean))
    ridge[0] = 1e-9
    for _ in range(15):
        q = expit(np.clip(design @ beta, -30, 30))
        gradient = design.T @ (weight * (p - q)) - ridge * beta
        information = (design * (weight * q * (1 - q))[:, None]).T @ design
        information[np.diag_indices(len(beta))] += ridge + 1e-10
        step = np.linalg.solve(information, gradient)
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-12))
        beta += step
        if np.abs(step).max() < 1e-6:
            break
    return float(expit(beta[0]))
