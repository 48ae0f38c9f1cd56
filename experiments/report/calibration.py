"""The figure of a calibration: do intervals hold the truth as often as they say?

The band is that of `inference.calibration.ecdf_band`, by which a calibration is judged.
`arviz_plots.plot_ecdf_pit` judges by another test, so that its figure could contradict the verdict.
"""

import pathlib

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binom

from starcensus.experiments.report.style import (
    BLUE,
    GREY,
    LIGHT,
    ORANGE,
    panels,
    save_figure,
    text,
)
from starcensus.inference.calibration import Calibration, ecdf_band, rank_ecdf

_COLUMNS, _BAND = 4, 0.05


def calibration_figure(
    path: pathlib.Path,
    result: Calibration,
    title: str,
    levels: tuple[float, ...],
    false_alarm: float,
) -> pathlib.Path:
    """Write a PNG: ECDF of the ranks minus that of uniform ranks, one panel a parameter.

    **Arguments:**

    - `title`: name of the case.
    - `levels`: of the intervals whose coverage stands above each panel.
    - `false_alarm`: rate at which the verdict calls good ranks bad; bad ones are orange.
    """
    return save_figure(path, lambda: _figure(result, title, levels, false_alarm))


def _figure(
    result: Calibration, title: str, levels: tuple[float, ...], false_alarm: float
) -> Figure:
    n, edges = len(result.sizes), np.arange(1, result.n_ranked + 1) / (result.n_ranked + 1)
    counts = rank_ecdf(result.ranks, result.n_ranked)
    low, high = ecdf_band(n, result.n_ranked, _BAND)
    good = result.ranks_accepted(false_alarm)
    covered = [result.coverage(level) for level in levels]
    rows = -(-len(result.names) // _COLUMNS)
    figure = Figure(figsize=(3 * _COLUMNS, 0.6 + 2.2 * rows))
    grid = panels(figure, rows, _COLUMNS, left=0.6, bottom=0.35, top=0.75, across=0.55, down=0.6)
    for axes in grid.flat[len(result.names) :]:
        axes.set_visible(False)
    for i, (axes, name) in enumerate(zip(grid.flat, result.names, strict=False)):
        axes.fill_between(edges, low / n - edges, high / n - edges, color=LIGHT, alpha=0.6, lw=0)
        axes.step(edges, counts[:, i] / n - edges, color=BLUE if good[i] else ORANGE)
        axes.axhline(0, color=GREY, lw=0.8)
        shares = ", ".join(f"{share[i]:.0%}" for share in covered)
        axes.set_title(text(f"{name}: {shares}"), fontsize=9, fontweight="normal")
        axes.tick_params(labelsize=8)
    spread = [binom.ppf([0.025, 0.975], n, level) / n for level in levels]
    expected = "; ".join(
        f"{a:.0%} to {b:.0%} inside {level:.0%}"
        for level, (a, b) in zip(levels, spread, strict=True)
    )
    figure.suptitle(text(f"{title}: {n} catalogues; expected {expected}"), fontsize=10)
    return figure
