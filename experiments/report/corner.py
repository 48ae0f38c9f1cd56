"""The posterior: corner plot of scalars, intervals of vector parameters, prior and truth."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from scipy import stats
from scipy.ndimage import gaussian_filter

from starcensus.experiments.report.load import Quantity, Run
from starcensus.experiments.report.style import BLUE, GREY, INK, OTHERS, Plot, draw

_BINS, _SMOOTH = 48, 1.6
_SHARES = (0.95, 0.68)


def prior_density(q: Quantity, at: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"] | None:
    """The prior's density of one scalar or vector element; `None` if it has none."""
    prior: Mapping[str, Any] = q.prior
    match prior.get("kind"):
        case "uniform":
            low, high = float(prior["low"]), float(prior["high"])
            return stats.uniform.pdf(at, low, high - low)
        case "normal":
            mean, sd = float(prior["mean"]), float(prior["sd"])
            low, high = (
                side if prior.get(key) is None else (float(prior[key]) - mean) / sd
                for key, side in (("low", -np.inf), ("high", np.inf))
            )
            return stats.truncnorm.pdf(at, low, high, mean, sd)
        case "dirichlet":
            c = float(prior.get("concentration", 1.0))
            return stats.beta.pdf(at, c, c * (q.size - 1))
    return None


def _ranges(run: Run, names: list[str]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for name in names:
        every = [q for r in _all_runs(run) if (q := r.find(name)) is not None]
        ends = [np.percentile(q.flat, [0.3, 99.7]) for q in every]
        low, high = min(e[0] for e in ends), max(e[1] for e in ends)
        if (truth := every[0].truth) is not None:
            low, high = min(low, truth), max(high, truth)
        pad = 0.05 * (high - low) or 0.5
        ranges[name] = (float(low - pad), float(high + pad))
    return ranges


def _all_runs(run: Run) -> list[Run]:
    return [run, *(c.run for c in run.comparisons)]


def _curve(draws: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """A smoothed histogram, as density."""
    density, edges = np.histogram(draws, 2 * _BINS, (low, high))
    smooth = gaussian_filter(density.astype(float), 2 * _SMOOTH, mode="nearest")
    return (edges[1:] + edges[:-1]) / 2, smooth / max(len(draws) * (edges[1] - edges[0]), 1e-300)


def _contour(
    axes: Axes, x: np.ndarray, y: np.ndarray, box: list[list[float]], colour: str, filled: bool
) -> None:
    """Contours of highest density around 68% and 95% of the draws."""
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
    if filled:
        axes.contourf(cx, cy, density.T, [levels[0], np.inf], colors=[colour], alpha=0.25)
        axes.contourf(cx, cy, density.T, [levels[1], np.inf], colors=[colour], alpha=0.45)
    axes.contour(cx, cy, density.T, levels, colors=[colour], linewidths=1.1)


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
    grid = np.linspace(*limits, 400)
    if (density := prior_density(q, grid)) is not None:
        axes.plot(grid, density, color=GREY, linestyle=":", linewidth=1.6)
    axes.set_ylim(0, 1.12 * top)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)


def _truth_lines(axes: Axes, across: float | None, along: float | None = None) -> None:
    if across is not None:
        axes.axvline(across, color=INK, linestyle="--", linewidth=1.1)
    if along is not None:
        axes.axhline(along, color=INK, linestyle="--", linewidth=1.1)


def corner_plot(run: Run) -> Plot:
    """Every pair of fitted scalars."""
    scalars = run.scalars
    n = len(scalars)
    limits = _ranges(run, [q.name for q in scalars])

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("none")
        side = figure.get_figwidth()
        room = {
            "left": 0.85 / side,
            "right": 1 - 0.15 / side,
            "bottom": 0.8 / side,
            "top": 1 - 0.15 / side,
            "wspace": 0.08,
            "hspace": 0.08,
        }
        grid = figure.subplots(n, n, squeeze=False, gridspec_kw=room)
        for i, row in enumerate(scalars):
            for j, column in enumerate(scalars):
                axes = grid[i, j]
                if j > i:
                    axes.set_visible(False)
                    continue
                if i == j:
                    _diagonal(axes, run, row, limits[row.name])
                    _truth_lines(axes, row.truth)
                else:
                    box = [list(limits[column.name]), list(limits[row.name])]
                    for c, colour in zip(run.comparisons, OTHERS, strict=False):
                        x, y = c.run.find(column.name), c.run.find(row.name)
                        if x is not None and y is not None:
                            _contour(axes, x.flat, y.flat, box, colour, filled=False)
                    _contour(axes, column.flat, row.flat, box, BLUE, filled=True)
                    _truth_lines(axes, column.truth, row.truth)
                    axes.set_ylim(*limits[row.name])
                    axes.yaxis.set_major_locator(MaxNLocator(4, prune="both"))
                    axes.spines[["top", "right"]].set_visible(True)
                axes.set_xlim(*limits[column.name])
                axes.xaxis.set_major_locator(MaxNLocator(4, prune="both"))
                axes.tick_params(axis="x", labelrotation=45, labelbottom=i == n - 1)
                axes.tick_params(axis="y", labelleft=j == 0 and i > 0)
                if i == n - 1:
                    axes.set_xlabel(column.label)
                    axes.xaxis.set_label_coords(0.5, -0.72 * n / side)
                if j == 0 and i > 0:
                    axes.set_ylabel(row.label)
                    axes.yaxis.set_label_coords(-0.6 * n / side, 0.5)
        figure.legend(handles=_legend(run), loc="upper right", fontsize=10.5)

    side = min(10.0, 1.2 + 2.0 * max(n, 2))
    return draw(
        "corner",
        (side, side),
        paint,
        f"Corner plot of {n} parameters: one-dimensional posterior densities on the diagonal, "
        "68% and 95% contours of each pair below it.",
        "Contours enclose 68% and 95% of the posterior. On the diagonal, compare with the dotted "
        "prior: where the two agree, the data say nothing." + _truth_words(run),
    )


def _truth_words(run: Run) -> str:
    known = any(q.truth is not None for q in run.quantities)
    return " Dashed lines are the values that made this mock catalogue." if known else ""


def _legend(run: Run) -> list[Patch | Line2D]:
    handles: list[Patch | Line2D] = [Patch(facecolor=BLUE, alpha=0.5, label="this fit")]
    for c, colour in zip(run.comparisons, OTHERS, strict=False):
        handles.append(Line2D([], [], color=colour, label=c.name))
    handles.append(Line2D([], [], color=GREY, linestyle=":", label="prior"))
    if any(q.truth is not None for q in run.quantities):
        handles.append(Line2D([], [], color=INK, linestyle="--", linewidth=1.1, label="truth"))
    return handles


def vector_plot(run: Run, name: str, elements: tuple[Quantity, ...]) -> Plot:
    """Posterior densities of the elements of a vector, side by side."""
    positions = _positions(run, name, len(elements))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        ranges = _ranges(run, [q.name for q in elements])
        for i, q in enumerate(elements):
            x, y = _curve(q.flat, *ranges[q.name])
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
        axes.set_xticks(range(len(elements)), positions)
        axes.set_xlim(-0.6, len(elements) - 0.4)
        axes.set_ylim(bottom=0)
        parent = next(p for p in run.parameters if p["name"] == name)
        unit = str(parent.get("unit") or "value")
        axes.set_ylabel(f"{parent.get('label') or name} ({unit})")
        figure.legend(
            handles=[h for h in _legend(run) if h.get_label() != "prior"],
            loc="outside upper center",
            ncols=6,
        )

    return draw(
        f"vector-{name}",
        (min(10.4, 3.0 + 1.5 * len(elements)), 3.6),
        paint,
        f"Posterior of each of the {len(elements)} elements of {name}.",
        f"The elements of <code>{name}</code>: shape of the posterior, its 68% (thick) and 95% "
        "(thin) intervals and its median. They sum to 1." + _truth_words(run),
    )


def _positions(run: Run, name: str, n: int) -> list[str]:
    """Where the elements sit, if the run says so."""
    population = run.info.get("population")
    nodes = population.get("nodes") if isinstance(population, dict) else None
    given = nodes.get(name) if isinstance(nodes, dict) else None
    if isinstance(given, list) and len(given) == n:
        unit = {"p_av": " mag", "p_age": ""}.get(name, "")
        return [f"{float(x):g}{unit}" for x in given]
    return [f"node {i}" for i in range(n)]
