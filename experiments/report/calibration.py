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

_COLUMNS, _BAND, _SHOWN = 4, 0.05, (0.68, 0.95)


def calibration_figure(path: pathlib.Path, result: Calibration, title: str) -> pathlib.Path:
    """Write a PNG: ECDF of the ranks minus that of uniform ranks, one panel a parameter.

    Above each panel stand the coverages of 68% and 95% intervals; parameters that fail a check are
    orange. `title`: name of the case.
    """
    return save_figure(path, lambda: _figure(result, title))


def _figure(result: Calibration, title: str) -> Figure:
    n, edges = len(result.sizes), np.arange(1, result.n_ranked + 1) / (result.n_ranked + 1)
    counts = rank_ecdf(result.ranks, result.n_ranked)
    low, high = ecdf_band(n, result.n_ranked, _BAND)
    checks = result.checks()
    good = (
        checks.ranks_accepted
        & checks.moments_accepted.all(axis=0)
        & checks.coverage_accepted.all(axis=0)
    )
    covered = [result.coverage(level) for level in _SHOWN]
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
    spread = [binom.ppf([0.025, 0.975], n, level) / n for level in _SHOWN]
    expected = "; ".join(
        f"{a:.0%} to {b:.0%} inside {level:.0%}"
        for level, (a, b) in zip(_SHOWN, spread, strict=True)
    )
    figure.suptitle(text(f"{title}: {n} catalogues; expected {expected}"), fontsize=10)
    return figure
