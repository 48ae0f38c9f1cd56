"""The posterior: corner plot of scalars, intervals of vector parameters, prior and truth.

The corner plot is our own: it lays other fits over this one, with the prior's density and the
truth, and takes a third of the time of `arviz_plots.plot_pair`, which shows one fit alone.
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy.ndimage import gaussian_filter

from starcensus.experiments.report.fit.load import Quantity, Run
from starcensus.experiments.report.style import (
    BLUE,
    GREY,
    INK,
    OTHERS,
    Plot,
    draw,
    panels,
    text,
)
from starcensus.forward import prior_density

_BINS, _SMOOTH = 48, 1.6
_SHARES = (0.95, 0.68)


def _limits(run: Run, name: str) -> tuple[float, float]:
    """A range that holds nearly all draws of every fit, and the truth."""
    every = [q for r in (run, *(c.run for c in run.comparisons)) if (q := r.find(name)) is not None]
    ends = np.array([np.percentile(q.flat, [0.3, 99.7]) for q in every])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    if (truth := every[0].truth) is not None:
        low, high = min(low, truth), max(high, truth)
    pad = 0.05 * (high - low) or 0.5
    return float(low - pad), float(high + pad)


def _curve(draws: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """A smoothed histogram, as density."""
    density, edges = np.histogram(draws, 2 * _BINS, (low, high))
    smooth = gaussian_filter(density.astype(float), 2 * _SMOOTH, mode="nearest")
    return (edges[1:] + edges[:-1]) / 2, smooth / max(len(draws) * (edges[1] - edges[0]), 1e-300)


def _contour(
    axes: Axes, x: np.ndarray, y: np.ndarray, box: list[tuple[float, float]], colour: str
) -> None:
    """Contours of highest density around 68% and 95% of the draws, filled for this fit."""
    # Bins follow the posterior's own width, which may be far below that of the panel.
    local = []
    for values, (low, high) in zip((x, y), box, strict=True):
        a, b = np.percentile(values, [0.1, 99.9])
        pad = 0.25 * (b - a) or 0.5
        local.append([max(low, a - pad), min(high, b + pad)])
    density, ex, ey = np.histogram2d(x, y, _BINS, local)
    density = gaussian_filter(density, _SMOOTH, mode="constant")
    ordered = np.sort(density.ravel())[::-1]
    heap = np.cumsum(ordered)
    levels = [float(ordered[np.searchsorted(heap, share * heap[-1])]) for share in _SHARES]
    if not 0 < levels[0] < levels[1] < density.max():
        return
    cx, cy = (ex[1:] + ex[:-1]) / 2, (ey[1:] + ey[:-1]) / 2
    if colour == BLUE:
        axes.contourf(cx, cy, density.T, [levels[0], np.inf], colors=[colour], alpha=0.25)
        axes.contourf(cx, cy, density.T, [levels[1], np.inf], colors=[colour], alpha=0.45)
    axes.contour(cx, cy, density.T, levels, colors=[colour], linewidths=1.1)


def corner_plot(run: Run) -> Plot:
    """Every pair of fitted scalars."""
    scalars = run.scalars
    n = len(scalars)
    limits = {q.name: _limits(run, q.name) for q in scalars}
    side = min(10.0, 1.2 + 2.0 * max(n, 2))

    def paint(figure: Figure) -> None:
        gap = 0.12
        wide = (side - 1.0 - gap * (n - 1)) / n
        for i, row in enumerate(scalars):
            for j, column in enumerate(scalars[: i + 1]):
                left, bottom = 0.85 + j * (wide + gap), 0.8 + (n - 1 - i) * (wide + gap)
                at = (left / side, bottom / side, wide / side, wide / side)
                axes = figure.add_axes(at)
                if i == j:
                    _diagonal(axes, run, row, limits[row.name])
                else:
                    _pair(axes, run, column, row, limits)
                axes.set_xlim(*limits[column.name])
                axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
                axes.tick_params(axis="x", labelrotation=45, labelbottom=i == n - 1)
                axes.tick_params(axis="y", labelleft=j == 0 and i > 0)
                if i == n - 1:
                    axes.set_xlabel(text(column.label))
                    axes.xaxis.set_label_coords(0.5, -0.62 / wide)
                if j == 0 and i > 0:
                    axes.set_ylabel(text(row.label))
                    axes.yaxis.set_label_coords(-0.6 / wide, 0.5)
        figure.legend(handles=_legend(run), loc="upper right", fontsize=10.5)

    return draw(
        "corner",
        (side, side),
        paint,
        f"Corner plot of {n} parameters: one-dimensional posterior densities on the diagonal, "
        "68% and 95% contours of each pair below it.",
    )


def _diagonal(axes: Axes, run: Run, q: Quantity, limits: tuple[float, float]) -> None:
    x, y = _curve(q.flat, *limits)
    axes.fill_between(x, y, color=BLUE, alpha=0.35, linewidth=0)
    axes.plot(x, y, color=BLUE)
    top = y.max()
    for c, colour in zip(run.comparisons, OTHERS, strict=False):
        if (other := c.run.find(q.name)) is not None:
            x, y = _curve(other.flat, *limits)
            axes.plot(x, y, color=colour)
            top = max(top, y.max())
    grid = np.linspace(*limits, 200)
    if (density := prior_density(q.prior, grid, q.size)) is not None:
        axes.plot(grid, density, color=GREY, linestyle=":", linewidth=1.6)
    axes.set_ylim(0, 1.12 * top)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    _truth_lines(axes, q.truth)


def _pair(
    axes: Axes,
    run: Run,
    column: Quantity,
    row: Quantity,
    limits: Mapping[str, tuple[float, float]],
) -> None:
    box = [limits[column.name], limits[row.name]]
    for c, colour in zip(run.comparisons, OTHERS, strict=False):
        x, y = c.run.find(column.name), c.run.find(row.name)
        if x is not None and y is not None:
            _contour(axes, x.flat, y.flat, box, colour)
    _contour(axes, column.flat, row.flat, box, BLUE)
    _truth_lines(axes, column.truth, row.truth)
    axes.set_ylim(*limits[row.name])
    axes.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
    axes.spines[["top", "right"]].set_visible(True)


def _truth_lines(axes: Axes, across: float | None, along: float | None = None) -> None:
    if across is not None:
        axes.axvline(across, color=INK, linestyle="--", linewidth=1.1)
    if along is not None:
        axes.axhline(along, color=INK, linestyle="--", linewidth=1.1)


def _legend(run: Run, prior: bool = True) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [Patch(facecolor=BLUE, alpha=0.5, label="this fit")]
    for c, colour in zip(run.comparisons, OTHERS, strict=False):
        handles.append(Line2D([], [], color=colour, label=text(c.name)))
    if prior:
        handles.append(Line2D([], [], color=GREY, linestyle=":", label="prior"))
    if any(q.truth is not None for q in run.quantities):
        handles.append(Line2D([], [], color=INK, linestyle="--", linewidth=1.1, label="truth"))
    return handles


def vector_plot(run: Run, name: str, elements: tuple[Quantity, ...]) -> Plot:
    """Posterior densities of the elements of a vector, side by side."""
    parent = next(p for p in run.parameters if p["name"] == name)

    def paint(figure: Figure) -> None:
        axes = panels(figure, bottom=0.4, top=0.45)[0, 0]
        for i, q in enumerate(elements):
            _element(axes, run, q, i)
        axes.set_xticks(range(len(elements)), _positions(run, name, len(elements)))
        axes.set_xlim(-0.6, len(elements) - 0.4)
        axes.set_ylim(bottom=0)
        unit = str(parent.get("unit") or "value")
        axes.set_ylabel(text(f"{parent.get('label') or name} ({unit})"))
        figure.legend(handles=_legend(run, prior=False), loc="upper center", ncols=6)

    return draw(
        f"vector-{name}",
        (min(10.4, 3.0 + 1.5 * len(elements)), 3.6),
        paint,
        f"Posterior of each of the {len(elements)} elements of {name}.",
    )


def _element(axes: Axes, run: Run, q: Quantity, i: int) -> None:
    x, y = _curve(q.flat, *_limits(run, q.name))
    half = 0.36 * y / max(y.max(), 1e-300)
    axes.fill_betweenx(x, i - half, i + half, color=BLUE, alpha=0.3, linewidth=0)
    axes.vlines(i, *q.interval(95), color=BLUE, linewidth=1.4)
    axes.vlines(i, *q.interval(68), color=BLUE, linewidth=5)
    axes.plot(i, q.median, "o", mfc="white", mec=BLUE, ms=6, zorder=4)
    for k, (c, colour) in enumerate(zip(run.comparisons, OTHERS, strict=False)):
        if (other := c.run.find(q.name)) is not None:
            at = i + 0.08 * (k + 1)
            axes.vlines(at, *other.interval(95), color=colour, linewidth=1.4)
            axes.plot(at, other.median, "o", color=colour, ms=5, zorder=4)
    if q.truth is not None:
        axes.hlines(q.truth, i - 0.4, i + 0.4, color=INK, linestyle="--", linewidth=1.2)


def _positions(run: Run, name: str, n: int) -> list[str]:
    """Where the elements sit, if the run says so."""
    population = run.info.get("population")
    nodes = population.get("nodes") if isinstance(population, dict) else None
    given = nodes.get(name) if isinstance(nodes, dict) else None
    if isinstance(given, list) and len(given) == n:
        unit = {"p_av": " mag", "p_age": ""}.get(name, "")
        return [f"{float(x):g}{unit}" for x in given]
    return [f"node {i}" for i in range(n)]
