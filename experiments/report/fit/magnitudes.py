"""Posterior predictive checks of measured light: magnitudes and colours."""

import pathlib

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starcensus.bands import BANDS
from starcensus.experiments.report.fit.checks import Check, p_value
from starcensus.experiments.report.fit.load import MagnitudeCounts, Run, load_magnitudes
from starcensus.experiments.report.style import (
    BLUE,
    INK,
    Plot,
    band_label,
    draw,
    few_ticks,
    panels,
)

_COLUMNS = 3


def magnitude_checks(run: Run) -> tuple[Check, ...]:
    """One check for each band and colour, and one of the number of clusters."""
    n, size = len(run.theta), run.n_catalogued
    p = float(min(1.0, 2 * min(np.mean(size >= n), np.mean(size <= n))))
    of_light = [
        Check(_words(each), each.name, _p(each), len(each.predicted)) for each in run.magnitudes
    ]
    return (*of_light, Check("number of clusters", None, p, len(size)))


def p_values(folder: pathlib.Path) -> dict[str, float]:
    """Of a run folder, by band and colour."""
    return {each.name: _p(each) for each in load_magnitudes(folder)}


def magnitudes_plot(run: Run, found: tuple[Check, ...]) -> Plot:
    """Counts by magnitude and colour against their predictions."""
    rows = -(-len(run.magnitudes) // _COLUMNS)

    def paint(figure: Figure) -> None:
        grid = panels(figure, rows, _COLUMNS, top=0.75, down=0.95, across=0.65)
        for axes in grid.flat[len(run.magnitudes) :]:
            axes.set_visible(False)
        for axes, each, check in zip(grid.flat, run.magnitudes, found, strict=False):
            _binned(axes, each)
            axes.set_title(f"{_words(each)}:  {check.p_words}")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper center", ncols=4)

    return draw(
        "magnitudes",
        (10.4, 0.45 + 2.75 * rows),
        paint,
        "One panel for each band and each colour of neighbouring bands: observed clusters per bin "
        "over predicted bands.",
    )


def _binned(axes: Axes, each: MagnitudeCounts) -> None:
    low2, low, mid, high, high2 = np.percentile(each.predicted, [2.5, 16, 50, 84, 97.5], axis=0)
    for below, above, alpha, name in (
        (low2, high2, 0.2, "predicted, 95%"),
        (low, high, 0.4, "predicted, 68%"),
    ):
        axes.stairs(
            above, each.edges, baseline=below, fill=True, color=BLUE, alpha=alpha, lw=0, label=name
        )
    axes.stairs(mid, each.edges, color=BLUE, baseline=None, label="predicted, median")
    middle = (each.edges[1:] + each.edges[:-1]) / 2
    axes.plot(middle, each.observed, "o", color=INK, ms=4, label="observed", zorder=4)
    axes.set_xlim(each.edges[0], each.edges[-1])
    axes.set_ylim(0, 1.12 * max(high2.max(), each.observed.max(), 1))
    axes.set_xlabel("mag")
    axes.set_ylabel("clusters per bin")
    few_ticks(axes, 5, 4)


def _words(each: MagnitudeCounts) -> str:
    return band_label(each.name) if each.name in BANDS else each.name.replace(" - ", " − ")


def _p(each: MagnitudeCounts) -> float:
    return p_value(each.predicted, each.observed)
