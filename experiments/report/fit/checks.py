"""Posterior predictive checks: would the fitted population give this catalogue?"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starcensus.experiments.report.fit.load import Run
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    INK,
    Plot,
    draw,
    few_ticks,
    panels,
)
from starcensus.theta import AXES

_NAMES = {"log_mass": "masses", "log_age": "ages", "a_v": "extinctions"}
_MIN_EXPECTED = 3.0
_DOUBTFUL = 0.05


@dataclasses.dataclass(frozen=True)
class Check:
    """One Bayesian p-value, from `n_draws` predicted catalogues; `axis` None for their size."""

    name: str
    axis: str | None
    p: float
    n_draws: int

    @property
    def passed(self) -> bool:
        return self.p >= _DOUBTFUL

    @property
    def p_words(self) -> str:
        if self.p == 0:
            return f"p < {1 / self.n_draws:.2g}"
        return f"p = {self.p:.2f}" if self.p >= 0.01 else f"p = {self.p:.2g}"


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
    n, size = len(run.theta), run.n_catalogued
    found = [
        Check(_NAMES[axis], axis, p_value(run.predicted_counts[axis], run.counts[axis]), len(size))
        for axis in AXES
    ]
    p = float(min(1.0, 2 * min(np.mean(size >= n), np.mean(size <= n))))
    return (*found, Check("number of clusters", None, p, len(size)))


def checks_plot(run: Run, found: tuple[Check, ...]) -> Plot:
    """Binned counts against their predictions, and the size of the catalogue."""

    def paint(figure: Figure) -> None:
        grid = panels(figure, 2, 2, top=0.7, down=0.9)
        for axes, check in zip(grid.flat, found, strict=True):
            if check.axis is None:
                _size(axes, run)
            else:
                _binned(axes, run, check.axis)
            axes.set_title(f"{check.name.capitalize()}:  {check.p_words}")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper center", ncols=4)

    return draw(
        "checks",
        (10.4, 6.8),
        paint,
        "Four panels: observed clusters per bin of mass, age and extinction over predicted bands, "
        "and the observed number of clusters over the distribution of predicted numbers.",
    )


def _binned(axes: Axes, run: Run, axis: str) -> None:
    edges, counts = run.edges[axis], run.predicted_counts[axis]
    low2, low, mid, high, high2 = np.percentile(counts, [2.5, 16, 50, 84, 97.5], axis=0)
    for below, above, alpha, name in (
        (low2, high2, 0.2, "predicted, 95%"),
        (low, high, 0.4, "predicted, 68%"),
    ):
        axes.stairs(
            above, edges, baseline=below, fill=True, color=BLUE, alpha=alpha, lw=0, label=name
        )
    axes.stairs(mid, edges, color=BLUE, baseline=None, label="predicted, median")
    middle = (edges[1:] + edges[:-1]) / 2
    axes.plot(middle, run.counts[axis], "o", color=INK, ms=5, label="observed", zorder=4)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.12 * max(high2.max(), run.counts[axis].max(), 1))
    axes.set_xlabel(AXIS_LABELS[axis])
    axes.set_ylabel("clusters per bin")
    few_ticks(axes, 7, 5)


def _size(axes: Axes, run: Run) -> None:
    size, n = run.n_catalogued, len(run.theta)
    low, high = min(size.min(), n) - 0.5, max(size.max(), n) + 0.5
    counts, edges = np.histogram(size, np.linspace(low, high, min(25, int(high - low)) + 1))
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.4)
    axes.axvline(n, color=INK, linewidth=2)
    few_ticks(axes, 6, 5)
    axes.set_xlabel("catalogued clusters")
    axes.set_ylabel("predicted catalogues")
