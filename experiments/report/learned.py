"""Figures of a learned selection operator against injections that it has not seen."""

import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    GREEN,
    INK,
    LIGHT,
    ORANGE,
    PURPLE,
    band_label,
    save_figure,
    text,
)
from starcensus.selection.learning import Reliability, TestSet

_LOSSES = {
    "held_out_loss": "held-out loss / nat",
    "excess_loss": "loss beyond the least possible / nat",
}
# Told apart without colour.
_CURVES = (("o", "-"), ("s", "--"), ("^", ":"), ("D", "-."))


def evaluation_figures(
    out: pathlib.Path,
    check: Reliability,
    test: TestSet | None,
    p: Float[np.ndarray, "n"],
) -> list[pathlib.Path]:
    """Write reliability.png and, for repeated clusters, binned.png and errors.png into `out`."""
    paint: dict[str, Callable[[], Figure]] = {"reliability.png": lambda: reliability_figure(check)}
    if test is not None:
        paint["binned.png"] = lambda: binned_figure(test, p)
        paint["errors.png"] = lambda: errors_figure(test, p)
    return [save_figure(out / name, draw) for name, draw in paint.items()]


def reliability_figure(check: Reliability) -> Figure:
    """Observed against predicted frequency, with the spread that the counts allow."""
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.add_subplot()
    spread = np.sqrt(check.predicted * (1 - check.predicted) / check.n)
    axes.plot([0, 1], [0, 1], color=LIGHT, lw=1, zorder=0)
    axes.errorbar(check.predicted, check.observed, 2 * spread, fmt="o", ms=4, color=BLUE, capsize=2)
    axes.set_xlabel("predicted probability")
    axes.set_ylabel("share catalogued")
    title = f"held-out injections, p = {check.p_value:.2g}; bars are 2σ"
    axes.set_title(title, fontsize=10, fontweight="normal")
    return figure


def binned_figure(test: TestSet, p: Float[np.ndarray, "n"]) -> Figure:
    """Mean completeness in bins of mass, age and each magnitude.

    As figures 3 to 5 of Tang et al. (2026, arXiv:2604.05291).
    """
    first = test.first
    panels = [
        (AXIS_LABELS["log_mass"], first.log_mass, 35),
        (AXIS_LABELS["log_age"], first.log_age, 35),
        *(
            (text(f"{band_label(band)} (mag)"), first.true_mags[:, i], 60)
            for i, band in enumerate(first.bands)
        ),
    ]
    rows = -(-len(panels) // 3)
    figure = Figure(figsize=(10.2, 2.7 * rows), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False, sharey=True)
    for axes, (name, values, bins) in zip(grid.flat, panels, strict=False):
        means = test.binned(values, p, bins)
        axes.plot(means["middle"], means["p_true"], "o", ms=3.5, color=INK, label="repeats")
        axes.plot(means["middle"], means["p"], "-", lw=1.6, color=ORANGE, label="network")
        axes.set_xlabel(name)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("mean completeness")
    grid.flat[0].legend(fontsize=8)
    return figure


def errors_figure(test: TestSet, p: Float[np.ndarray, "n"]) -> Figure:
    """Distribution of |p − p_true| with the noise of the repeats, and p against p_true."""
    figure = Figure(figsize=(10.0, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    share = (np.arange(len(test)) + 1) / len(test)
    for values, name, colour in (
        (np.abs(p - test.p_true), "network", ORANGE),
        (test.noise, "noise of the repeats alone", BLUE),
    ):
        left.plot(np.sort(values), share, color=colour, label=name)
    for level in (0.5, 0.9, 0.95):
        left.axhline(level, color=LIGHT, lw=0.8, ls="--", zorder=0)
    left.set_xlabel("|p − p_true|")
    left.set_ylabel("share of the clusters")
    left.set_xlim(0, max(0.3, float(np.quantile(np.abs(p - test.p_true), 0.995))))
    left.legend(loc="lower right")
    cells = right.hexbin(
        test.p_true, p, gridsize=40, norm=LogNorm(), cmap="cividis", mincnt=1, extent=(0, 1, 0, 1)
    )
    right.plot([0, 1], [0, 1], color=ORANGE, lw=1)
    right.set_xlabel("p_true, share of the repeats catalogued")
    right.set_ylabel("p of the network")
    figure.colorbar(cells, label="clusters", ax=right)
    return figure


def learning_curve_figure(path: pathlib.Path, rows: Sequence[Mapping[str, object]]) -> pathlib.Path:
    """Write a PNG of the loss against the number of injections, a curve for each design.

    `rows`: as `starcensus bench design` prints them: `design`, `n`, `held_out_loss` or
    `excess_loss` (of one kind in all rows), and where known its standard error,
    `held_out_loss_se` or `standard_error`. Bars are 1σ.
    """
    kinds = {kind for row in rows for kind in _LOSSES if kind in row}
    if len(kinds) != 1 or any(not {"design", "n", *kinds} <= row.keys() for row in rows):
        keys = sorted({", ".join(sorted(row)) for row in rows}) or ["no rows"]
        raise ValueError(
            f"the rows have {'; '.join(keys)}; expected design, n and held_out_loss, or design, n "
            "and excess_loss, in every row"
        )
    [kind] = kinds
    return save_figure(path, lambda: _learning_curves(rows, kind))


def _learning_curves(rows: Sequence[Mapping[str, object]], kind: str) -> Figure:
    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale("log")
    if kind == "excess_loss" and all(_number(row, kind) > 0 for row in rows):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, [_number(row, kind) for row in rows])
    _plain_ticks(axes.xaxis, [_number(row, "n") for row in rows])
    for index, design in enumerate(dict.fromkeys(str(row["design"]) for row in rows)):
        _curve(axes, [row for row in rows if row["design"] == design], kind, index)
    axes.set_xlabel("injections")
    axes.set_ylabel(_LOSSES[kind])
    axes.legend(title="design")
    return figure


def _curve(axes: Axes, rows: Sequence[Mapping[str, object]], kind: str, index: int) -> None:
    line = sorted(rows, key=lambda row: _number(row, "n"))
    marker, style = _CURVES[index % len(_CURVES)]
    bars = np.array([_number(row, "held_out_loss_se", "standard_error") for row in line])
    axes.errorbar(
        [_number(row, "n") for row in line],
        [_number(row, kind) for row in line],
        bars if np.isfinite(bars).any() else None,
        marker=marker,
        ls=style,
        ms=5.5,
        lw=1.5,
        mfc="white" if index % 2 else None,
        elinewidth=1.0,
        capsize=3,
        color=(BLUE, ORANGE, GREEN, PURPLE)[index % 4],
        label=str(line[0]["design"]),
    )


def _plain_ticks(axis: Axis, values: list[float]) -> None:
    """Numbers without exponents at 1, 2 and 5 of a decade, or at decades if there are many."""
    if max(values) < 50 * min(values):
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.9g}"))


def _number(row: Mapping[str, object], *keys: str) -> float:
    """The first of the keys that the row has, NaN if it has none."""
    found = [row[key] for key in keys if row.get(key) is not None]
    return float(str(found[0])) if found else float("nan")
