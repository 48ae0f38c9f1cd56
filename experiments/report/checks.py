"""Posterior predictive checks: would the fitted population give this catalogue?"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure

from starcensus.experiments.report.load import AXES, Run
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    INK,
    Plot,
    draw,
    few_ticks,
)

_NAMES = {"log_mass": "masses", "log_age": "ages", "a_v": "extinctions"}
_MIN_EXPECTED = 3.0
_DOUBTFUL = 0.05


@dataclasses.dataclass(frozen=True)
class Check:
    """One Bayesian p-value and what it says."""

    name: str
    p: float
    words: str

    @property
    def passed(self) -> bool:
        return self.p >= _DOUBTFUL


def pooled(
    counts: Float[np.ndarray, "draw bin"], observed: Float[np.ndarray, " bin"]
) -> tuple[np.ndarray, np.ndarray]:
    """Neighbouring bins joined until each is expected to hold a few clusters."""
    expected = counts.mean(axis=0)
    starts, heap = [0], 0.0
    for i, value in enumerate(expected):
        if heap >= _MIN_EXPECTED and expected[i:].sum() >= _MIN_EXPECTED:
            starts.append(i)
            heap = 0.0
        heap += value
    return np.add.reduceat(counts, starts, axis=1), np.add.reduceat(observed, starts)


def p_value(counts: Int[np.ndarray, "draw bin"], observed: Int[np.ndarray, " bin"]) -> float:
    """Share of predicted catalogues that lie as far from the mean prediction as the observed.

    The distance is Σ (n − mean)² / variance over bins, with the mean and variance of the
    predictions; sparse bins are joined with their neighbours.
    """
    drawn, seen = pooled(counts.astype(float), observed.astype(float))
    mean, variance = drawn.mean(axis=0), np.maximum(drawn.var(axis=0), 1.0 / len(drawn))
    distance = ((drawn - mean) ** 2 / variance).sum(axis=1)
    return float(np.mean(distance >= ((seen - mean) ** 2 / variance).sum()))


def checks(run: Run) -> tuple[Check, ...]:
    """One check for each axis, and one of the number of clusters."""
    found = []
    for axis in AXES:
        p = p_value(run.predicted_counts[axis], run.counts[axis])
        good = p >= _DOUBTFUL
        verdict = "the fit explains them" if good else "<b>the fit does not explain them</b>"
        found.append(
            Check(
                _NAMES[axis],
                p,
                f"{_share(p, len(run.n_catalogued))} of the catalogues that the fit predicts "
                f"scatter from the mean prediction in {_NAMES[axis]} at least as far as the "
                f"observed one does: {verdict}.",
            )
        )
    n, size = len(run.theta), run.n_catalogued
    p = float(min(1.0, 2 * min(np.mean(size >= n), np.mean(size <= n))))
    low, high = np.percentile(size, [2.5, 97.5])
    verdict = "as observed" if p >= _DOUBTFUL else "<b>unlike the observed number</b>"
    found.append(
        Check(
            "number of clusters",
            p,
            f"The fit predicts {low:,.0f} to {high:,.0f} catalogued clusters (95%), {verdict} "
            f"({n:,}).",
        )
    )
    return tuple(found)


def _share(p: float, n_draws: int) -> str:
    if p == 0:
        return f"Fewer than {100 / n_draws:.2g}%"
    if p < 0.01:
        return f"{100 * p:.2g}%"
    return "More than 99%" if p > 0.99 else f"{100 * p:.0f}%"


def _brief(p: float, n_draws: int) -> str:
    return f"p < {1 / n_draws:.2g}" if p == 0 else f"p = {p:.2f}"


def checks_plot(run: Run) -> Plot:
    """Binned counts against their predictions, and the size of the catalogue."""

    def paint(figure: Figure) -> None:
        grid = figure.subplots(2, 2)
        for axes, axis, check in zip(grid.flat, AXES, checks(run), strict=False):
            edges, counts = run.edges[axis], run.predicted_counts[axis]
            middle = (edges[1:] + edges[:-1]) / 2
            low2, low, mid, high, high2 = np.percentile(counts, [2.5, 16, 50, 84, 97.5], axis=0)
            for below, above, alpha, name in (
                (low2, high2, 0.2, "predicted, 95%"),
                (low, high, 0.4, "predicted, 68%"),
            ):
                axes.stairs(
                    above,
                    edges,
                    baseline=below,
                    fill=True,
                    color=BLUE,
                    alpha=alpha,
                    lw=0,
                    label=name,
                )
            axes.stairs(mid, edges, color=BLUE, baseline=None, label="predicted, median")
            axes.plot(middle, run.counts[axis], "o", color=INK, ms=5, label="observed", zorder=4)
            axes.set_xlim(edges[0], edges[-1])
            axes.set_ylim(0, 1.12 * max(high2.max(), run.counts[axis].max(), 1))
            axes.set_xlabel(AXIS_LABELS[axis])
            axes.set_ylabel("clusters per bin")
            axes.set_title(f"{_NAMES[axis].capitalize()}:  {_brief(check.p, len(counts))}")
            few_ticks(axes, 7, 5)
        axes = grid[1, 1]
        size, n = run.n_catalogued, len(run.theta)
        low, high = min(size.min(), n) - 0.5, max(size.max(), n) + 0.5
        bins = np.linspace(low, high, min(25, int(high - low)) + 1)
        axes.hist(size, bins, color=BLUE, alpha=0.4)
        axes.axvline(n, color=INK, linewidth=2)
        few_ticks(axes, 6, 5)
        axes.set_xlabel("catalogued clusters")
        axes.set_ylabel("predicted catalogues")
        axes.set_title(f"Number of clusters:  {_brief(checks(run)[-1].p, len(size))}")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4)

    return draw(
        "checks",
        (10.4, 6.8),
        paint,
        "Four panels: observed clusters per bin of mass, age and extinction over predicted bands, "
        "and the observed number of clusters over the distribution of predicted numbers.",
        "Observed points should lie in the 68% bands two times out of three, without runs on one "
        "side. Predictions include selection, measurement errors and counting noise. The outermost "
        "bins also hold what was recorded beyond them.",
    )
