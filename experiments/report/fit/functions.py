"""The cluster mass and age functions."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starcensus.experiments.report.fit.correction import Correction, poisson_interval
from starcensus.experiments.report.fit.load import Run
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    GREY,
    INK,
    ORANGE,
    Plot,
    draw,
    few_ticks,
    logarithmic,
    panels,
)

_TITLES = {"log_mass": "Cluster mass function", "log_age": "Cluster age function"}
PER_DEX = {
    "log_mass": r"$dN/d\log_{10}M$ (clusters per dex)",
    "log_age": r"$dN/d\log_{10}T$ (clusters per dex)",
}


def band(
    axes: Axes, x: np.ndarray, draws: Float[np.ndarray, "draw node"], colour: str, name: str
) -> None:
    """Median, 68% and 95% bands of curves."""
    low2, low, mid, high, high2 = np.percentile(draws, [2.5, 16, 50, 84, 97.5], axis=0)
    axes.fill_between(x, low2, high2, color=colour, alpha=0.18, linewidth=0)
    axes.fill_between(x, low, high, color=colour, alpha=0.32, linewidth=0)
    axes.plot(x, mid, color=colour, label=name)


def functions_plot(run: Run, corrections: Mapping[str, Correction]) -> Plot:
    """Mass and age functions, with the marginal completeness below."""

    def paint(figure: Figure) -> None:
        grid = panels(
            figure,
            2,
            2,
            heights=[3.2, 1.0],
            sharex="col",
            left=0.9,
            top=0.65,
            down=0.25,
            across=1.0,
        )
        for (top, bottom), axis in zip(grid.T, ("log_mass", "log_age"), strict=True):
            _function(top, run, axis, corrections[axis])
            bottom.plot(run.nodes[axis], 100 * corrections[axis].marginal, color=INK)
            bottom.set_ylim(0, 105)
            few_ticks(bottom, 7, 2)
            bottom.set_xlabel(AXIS_LABELS[axis])
            bottom.set_ylabel("completeness (%)", fontsize=10)
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper center", ncols=4)

    return draw(
        "functions",
        (10.4, 6.2),
        paint,
        "Two panels with logarithmic vertical axes: clusters per dex against log mass and log age. "
        "Bands show the fitted population above the fitted catalogued clusters; points show the "
        "catalogue as it is and corrected for completeness. Below each, the marginal completeness.",
    )


def _function(axes: Axes, run: Run, axis: str, correction: Correction) -> None:
    edges = run.edges[axis]
    width = np.diff(edges)
    band(axes, run.nodes[axis], run.density[axis], BLUE, "population, fitted")
    band(axes, run.nodes[axis], run.detected[axis], ORANGE, "catalogued, fitted")
    _counts(axes, run, axis)
    highest = _corrected(axes, run, axis, correction)
    top = max(np.percentile(run.density[axis], 97.5, axis=0).max(), highest)
    logarithmic(axes)
    axes.set_ylim(0.25 / width.max(), 4 * top)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_title(_TITLES[axis])
    axes.set_ylabel(PER_DEX[axis])


def _counts(axes: Axes, run: Run, axis: str) -> None:
    """The catalogue as it is, with Poisson errors; upper limits of bins without clusters."""
    edges, counts = run.edges[axis], run.counts[axis]
    width, middle = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    low, high = poisson_interval(counts)
    some, none = counts > 0, counts == 0
    axes.errorbar(
        (middle - 0.06 * width)[some],
        (counts / width)[some],
        np.stack([counts - low, high - counts])[:, some] / width[some],
        fmt="o",
        markersize=5,
        color=INK,
        elinewidth=1.2,
        label="catalogue",
        zorder=5,
    )
    axes.plot(middle[none], (high / width)[none], "v", ms=5, mfc="white", mec=GREY, zorder=3)


def _corrected(axes: Axes, run: Run, axis: str, correction: Correction) -> float:
    """The catalogue corrected for completeness; returns the highest point."""
    edges, counts, fixed = run.edges[axis], run.counts[axis], correction.counts
    width, middle = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    shown = (counts > 0) & np.isfinite(fixed.n_corrected)
    x, y = (middle + 0.06 * width)[shown], (fixed.n_corrected / width)[shown]
    bars = np.stack(poisson_interval(counts))[:, shown] / counts[shown] * y
    axes.errorbar(x, y, np.abs(bars - y), fmt="none", color=BLUE, elinewidth=1.0, zorder=4)
    axes.vlines(
        x, (fixed.n_low / width)[shown], (fixed.n_high / width)[shown], BLUE, lw=4, alpha=0.5
    )
    axes.plot(
        x, y, "s", ms=5.5, mfc="white", mec=BLUE, mew=1.4, label="catalogue, corrected", zorder=6
    )
    return float(y.max(initial=1.0))
