"""The page of `starcensus measure`: each cluster alone, under a stated prior."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starcensus.experiments.report.page import render
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    GREY,
    INK,
    ORANGE,
    Plot,
    draw,
    few_ticks,
    panels,
)
from starcensus.files import write_text
from starcensus.inference.measure import Measured
from starcensus.inference.references import Agreement
from starcensus.theta import AXES

_SHOWN = 12


@runtime_checkable
class Beside(Protocol):
    """A reference beside what was measured, as `jobs` makes it."""

    @property
    def name(self) -> str: ...

    @property
    def reference(self) -> Float[np.ndarray, " n"]: ...

    @property
    def error(self) -> Float[np.ndarray, " n"] | None: ...

    @property
    def beside(self) -> Float[np.ndarray, " n"] | None: ...

    @property
    def estimate(self) -> Float[np.ndarray, " n"]: ...

    @property
    def low(self) -> Float[np.ndarray, " n"]: ...

    @property
    def high(self) -> Float[np.ndarray, " n"]: ...

    @property
    def mine(self) -> Agreement: ...

    @property
    def theirs(self) -> Agreement | None: ...

    @property
    def unit(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def beside_label(self) -> str: ...


def write_measured(
    folder: pathlib.Path,
    found: Measured,
    info: Mapping[str, Any],
    summary: Mapping[str, Any],
    references: Sequence[Beside] = (),
) -> pathlib.Path:
    """Write `report.html` into a folder.

    **Arguments:**

    - `info`: title, catalogue with its steps, observation, prior. `summary`: of the run.
    - `references`: what is compared with what was measured.
    """
    half = (found.quantiles[2] - found.quantiles[0]) / 2
    order = np.argsort(found.effective, kind="stable")[:_SHOWN]
    few = [
        (str(found.ids[i]), float(found.effective[i]), found.quantiles[1][i], half[i])
        for i in order
    ]
    plots = {
        "plane_plot": plane_plot(found),
        "errors_plot": errors_plot(found),
    }
    beside = [(each, reference_plot(each)) for each in references]
    page = render(
        "measured.html", info=info, summary=summary, few=few, found=found, beside=beside, **plots
    )
    target = folder / "report.html"
    write_text(target, page)
    return target


def plane_plot(found: Measured) -> Plot:
    """Medians in age and mass with their 68% intervals."""

    def paint(figure: Figure) -> None:
        axes = panels(figure, right=1.0)[0, 0]
        low, middle, high = found.quantiles
        there = np.isfinite(middle).all(axis=1)
        x, y = middle[there, 1], middle[there, 0]
        bars = [np.abs(np.stack([middle - low, high - middle])[:, there, k]) for k in (1, 0)]
        axes.errorbar(x, y, bars[1], bars[0], fmt="none", ecolor=GREY, elinewidth=0.5, alpha=0.4)
        top = max(float(np.percentile(middle[there, 2], 98)), 0.1) if there.any() else 1.0
        points = axes.scatter(
            x, y, c=middle[there, 2], s=16, cmap="viridis", vmin=0, vmax=top, zorder=3
        )
        few_ticks(axes, 8, 8)
        axes.set_xlabel(AXIS_LABELS["log_age"])
        axes.set_ylabel(AXIS_LABELS["log_mass"])
        bar = figure.colorbar(points, ax=axes, extend="max", pad=0.02)
        bar.set_label(AXIS_LABELS["a_v"])

    return draw(
        "plane",
        (9.4, 5.6),
        paint,
        "Medians of log age and log mass of each cluster with their 68% intervals, coloured by the "
        "median extinction.",
    )


def reference_plot(one: Beside) -> Plot:
    """Measured values against their references, and the differences."""
    return draw(
        f"reference-{one.name}",
        (9.4, 4.6),
        lambda figure: paint_reference(figure, one),
        f"Measured values with 68% intervals against {one.label}, and their differences.",
    )


def paint_reference(figure: Figure, one: Beside) -> None:
    """The two panels of `reference_plot` on a figure."""
    across, down = panels(figure, 1, 2, across=0.9)[0]
    both = np.isfinite(one.estimate) & np.isfinite(one.reference)
    x, y = one.reference[both], one.estimate[both]
    # The estimate may lie beyond its interval.
    bars = np.maximum(np.stack([y - one.low[both], one.high[both] - y]), 0.0)
    wide = None if one.error is None else one.error[both]
    for axes, values in ((across, y), (down, y - x)):
        axes.errorbar(
            x, values, bars, wide, fmt="o", ms=3.5, color=BLUE, ecolor=GREY, elinewidth=0.5
        )
        few_ticks(axes, 6, 6)
        axes.set_xlabel(one.label)
    if one.beside is not None:
        other = one.beside[both]
        down.plot(x, other - x, "x", ms=4, color=ORANGE, label=one.beside_label)
        down.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), borderpad=0.0)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    across.plot([low, high], [low, high], color=INK, lw=1)
    across.set_ylabel("measured")
    for level, style in ((0.0, "-"), (0.5, ":"), (-0.5, ":")):
        down.axhline(level, color=INK, lw=1, ls=style)
    down.set_ylabel(f"measured − reference ({one.unit})")


def errors_plot(found: Measured) -> Plot:
    """How wide the posteriors are, and how many simulated clusters stand behind each."""

    def paint(figure: Figure) -> None:
        row = panels(figure, 1, 4, left=0.6, across=0.55)[0]
        half = (found.quantiles[2] - found.quantiles[0]) / 2
        for axes, k in zip(row, range(3), strict=False):
            _histogram(axes, half[:, k])
            unit = "mag" if AXES[k] == "a_v" else "dex"
            axes.set_xlabel(f"σ of {AXES[k].replace('_', ' ')} ({unit})")
        _histogram(row[3], np.log10(np.maximum(found.effective, 0.1)))
        row[3].set_xlabel("log10 effective clusters")
        row[0].set_ylabel("clusters")

    return draw(
        "errors",
        (10.4, 2.9),
        paint,
        "Histograms of half the 68% interval of mass, age and extinction, and of the effective "
        "number of simulated clusters.",
    )


def _histogram(axes: Axes, values: np.ndarray) -> None:
    good = values[np.isfinite(values)]
    if len(good):
        counts, edges = np.histogram(good, 24)
        axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.5)
    few_ticks(axes, 4, 4)
