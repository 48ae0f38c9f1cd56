"""Figures of a network that finds clusters: how it learned, and what it says of mocks."""

import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Real
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    GREY,
    INK,
    LIGHT,
    ORANGE,
    few_ticks,
    save_figure,
)
from starcensus.selection.finder.answers import AbstractAnswers
from starcensus.selection.finder.cells import PARAMETERS

_LABELS = {**AXIS_LABELS, "log_r_eff_pc": r"$\log_{10}(r_{\rm h}\,/\,{\rm pc})$"}
_UNITS = {"log_age": "dex", "a_v": "mag", "log_mass": "dex", "log_r_eff_pc": "dex"}
_TITLES = {"log_age": "age", "a_v": "extinction", "log_mass": "mass", "log_r_eff_pc": "size"}
_LEVELS = (0.16, 0.84)
# Bars of so many objects are one grey together.
_FEW = 120


def finder_figures(
    out: pathlib.Path,
    curves: Mapping[str, np.ndarray],
    answers: AbstractAnswers,
    true: Mapping[str, Float[np.ndarray, "n"]],
    *,
    sharpened_from: int,
) -> list[pathlib.Path]:
    """Write curves.png and predicted.png into `out`.

    **Arguments:**

    - `curves`, `sharpened_from`: as of `curves_figure`.
    - `answers`: posteriors of mocks.
    - `true`: their parameters, `(n,)` each.
    """
    return [
        save_figure(out / "curves.png", lambda: curves_figure(curves, sharpened_from)),
        save_figure(out / "predicted.png", lambda: predicted_figure(answers, true)),
    ]


def curves_figure(curves: Mapping[str, np.ndarray], sharpened_from: int) -> Figure:
    """Losses against steps, a panel for each head and one for their sum.

    **Arguments:**

    - `curves`: `step` and, of the same length, `train.HEAD` and `validation.HEAD`, nats; NaN where
      there was no validation.
    - `sharpened_from`: number of steps before targets are the truth's bin alone.
    """
    heads = [name.removeprefix("train.") for name in curves if name.startswith("train.")]
    rows = -(-len(heads) // 3)
    figure = Figure(figsize=(10.2, 2.9 * rows), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False)
    steps = curves["step"]
    for axes, head in zip(grid.flat, heads, strict=False):
        axes.plot(steps, curves[f"train.{head}"], color=LIGHT, lw=0.6)
        middle, mean = _smoothed(steps, curves[f"train.{head}"])
        axes.plot(middle, mean, color=BLUE, label="training, mean of 2% of the steps")
        validation = curves[f"validation.{head}"]
        seen = np.isfinite(validation)
        axes.plot(steps[seen], validation[seen], "o-", ms=3, color=ORANGE, label="validation")
        axes.axvline(sharpened_from, color=GREY, lw=0.8, ls=":", label="sharper targets from here")
        axes.set_title("all heads" if head == "total" else head)
        axes.set_xlabel("step")
        _without_outliers(axes, np.concatenate([mean, validation[seen]]))
    for axes in grid.flat[len(heads) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("loss (nat)")
    grid.flat[0].legend(fontsize=8)
    return figure


def predicted_figure(
    answers: AbstractAnswers, true: Mapping[str, Float[np.ndarray, "n"]]
) -> Figure:
    """What a network says of mocks against what they are, with the central 68% of its posteriors.

    **Arguments:** as of `finder_figures`.
    """
    figure = Figure(figsize=(8.6, 8.2), layout="constrained")
    points, levels = answers.points(), answers.quantiles(_LEVELS)
    panels = zip(
        figure.subplots(2, 2).flat, PARAMETERS, answers.grid.continuous, points.T, strict=True
    )
    for k, (axes, name, axis, point) in enumerate(panels):
        bars = levels[:, k]
        ends = axis.edges[0], axis.edges[-1]
        _panel(axes, true[name], point, bars, ends)
        p95 = np.percentile(np.abs(point - true[name]), 95)
        axes.set_title(f"{_TITLES[name]}: 95% within {p95:.2f} {_UNITS[name]}")
        axes.set_xlabel(f"true {_LABELS[name]}")
        axes.set_ylabel(f"predicted {_LABELS[name]}")
        if name == PARAMETERS[0]:
            axes.plot([], [], ".", color=BLUE, label="mean of the posterior")
            axes.plot([], [], color=GREY, lw=1.0, label="its central 68%")
            axes.legend(loc="lower right", fontsize=8)
    return figure


def _panel(
    axes: Axes,
    true: Float[np.ndarray, "n"],
    point: Float[np.ndarray, "n"],
    bars: Float[np.ndarray, "n 2"],
    ends: tuple[float, float],
) -> None:
    """Points and bars about the line on which they should lie."""
    alpha = float(np.clip(_FEW / len(point), 0.02, 0.5))
    axes.vlines(true, *bars.T, color=GREY, alpha=alpha, lw=1.0, zorder=1)
    size = 3 if len(point) > 500 else 6
    axes.plot(true, point, ".", ms=size, mew=0, color=BLUE, alpha=0.5, zorder=2)
    axes.plot(ends, ends, color=INK, lw=0.9, zorder=3)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    few_ticks(axes)


def _smoothed(
    steps: Real[np.ndarray, "step"], loss: Float[np.ndarray, "step"]
) -> tuple[Float[np.ndarray, "m"], Float[np.ndarray, "m"]]:
    """Means over 2% of the steps, at the middles of these."""
    width = max(1, len(loss) // 50)
    whole = len(loss) // width * width
    middle, mean = (v[:whole].reshape(-1, width).mean(axis=1) for v in (steps, loss))
    return middle, mean


def _without_outliers(axes: Axes, shown: Float[np.ndarray, "n"]) -> None:
    """Limits of what was smoothed: single batches may lie outside."""
    low, high = float(shown.min()), float(np.percentile(shown, 98))
    room = 0.08 * max(high - low, 1e-3)
    axes.set_ylim(low - 2 * room, high + room)
