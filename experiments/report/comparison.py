"""The same catalogue fitted otherwise, beside this fit."""

import dataclasses
import itertools

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starcensus.experiments.report import words
from starcensus.experiments.report.functions import band
from starcensus.experiments.report.load import Comparison, Quantity, Run
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    INK,
    OTHERS,
    Plot,
    draw,
)

_LARGE = 2.0
_FITS_PER_TABLE = 2


def shift(main: Quantity, other: Quantity) -> float | None:
    """Difference of the medians in units of this fit's error, half its 68% interval."""
    low, high = main.interval(68)
    return 2 * (other.median - main.median) / (high - low) if high > low else None


def _with_truth(run: Run, other: Run) -> list[tuple[Quantity, Quantity, float]]:
    """Quantities of both fits whose truth either of them knows."""
    pairs = []
    for q in run.quantities:
        match = other.find(q.name)
        if match is None:
            continue
        truth = q.truth if q.truth is not None else match.truth
        if truth is not None:
            pairs.append((q, match, truth))
    return pairs


def _holds(q: Quantity, truth: float) -> bool:
    low, high = q.interval(95)
    return low <= truth <= high


def verdict(run: Run, c: Comparison) -> str:
    """What the comparison shows, in words."""
    shifts = [
        (abs(s), q, s)
        for q in run.quantities
        if (other := c.run.find(q.name)) is not None and (s := shift(q, other)) is not None
    ]
    if not shifts:
        return "The two fits share no parameter."
    large = [q for size, q, _ in shifts if size >= _LARGE]
    _, worst, by = max(shifts, key=lambda x: x[0])
    text = (
        f"<b>{words.escape(c.name)}</b>: {len(large)} of {len(shifts)} parameters "
        f"move by more than {_LARGE:g} errors of this fit; the largest shift is that of "
        f"{words.label(worst)}, by {words.number(by, 1.0)} errors."
    )
    if pairs := _with_truth(run, c.run):
        ours = sum(_holds(q, truth) for q, _, truth in pairs)
        theirs = sum(_holds(other, truth) for _, other, truth in pairs)
        text += (
            f" The true value lies inside the 95% interval for {ours} of {len(pairs)} parameters "
            f"in this fit, and for {theirs} of {len(pairs)} in the other."
        )
    if c.run.summary.get("converged") is not True:
        text += " That fit has not converged."
    return text


def tables(run: Run) -> str:
    """Parameters side by side, few fits to a table so that it fits the page."""
    parts = itertools.batched(run.comparisons, _FITS_PER_TABLE)
    return "".join(_table(dataclasses.replace(run, comparisons=part)) for part in parts)


def _table(run: Run) -> str:
    with_truth = any(_with_truth(run, c.run) for c in run.comparisons)
    head = ["<th>Parameter</th>"] + ["<th>Truth</th>"] * with_truth
    head += ["<th>This fit</th>"] + ["<th>Truth inside 95%</th>"] * with_truth
    for c in run.comparisons:
        head += [f"<th>{words.escape(c.name)}</th>", "<th>Shift (errors)</th>"]
        head += ["<th>Truth inside 95%</th>"] * with_truth
    rows = []
    for q in run.quantities:
        others = [c.run.find(q.name) for c in run.comparisons]
        truths = [x.truth for x in (q, *others) if x is not None and x.truth is not None]
        truth = truths[0] if truths else None
        cells = [
            f'<th scope="row">{words.label(q)} <span class="note">{words.unit(q.unit)}</span></th>'
        ]
        cells += [f"<td>{words.number(truth)}</td>"] * with_truth
        cells += [f"<td>{words.plus_minus(q)}</td>"] + [_inside(q, truth)] * with_truth
        for other in others:
            if other is None:
                cells += [f"<td>{words.NOTHING}</td>"] * (2 + with_truth)
                continue
            s = shift(q, other)
            mark = ' class="bad"' if s is not None and abs(s) >= _LARGE else ""
            sign = "+" if s is not None and s > 0 else ""
            cells += [
                f"<td>{words.plus_minus(other)}</td>",
                f"<td{mark}>{sign}{words.number(s, 1.0)}</td>",
            ]
            cells += [_inside(other, truth)] * with_truth
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="wide"><table class="numbers"><thead><tr>{"".join(head)}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _inside(q: Quantity, truth: float | None) -> str:
    if truth is None:
        return f"<td>{words.NOTHING}</td>"
    return '<td class="good">yes</td>' if _holds(q, truth) else '<td class="bad">no</td>'


def intervals_plot(run: Run) -> Plot:
    """Intervals of every shared parameter, one panel each."""
    shared = [q for q in run.quantities if any(c.run.find(q.name) for c in run.comparisons)]
    shared.sort(key=lambda q: q.size > 0)
    n_columns = min(4, len(shared))
    n_rows = int(np.ceil(len(shared) / n_columns))
    names = ["this fit", *(c.name for c in run.comparisons)]

    def paint(figure: Figure) -> None:
        grid = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True)
        for axes in grid.flat[len(shared) :]:
            axes.set_visible(False)
        for axes, q in zip(grid.flat, shared, strict=False):
            runs = [run, *(c.run for c in run.comparisons)]
            for i, (r, colour) in enumerate(zip(runs, (BLUE, *OTHERS), strict=False)):
                if (found := r.find(q.name)) is not None:
                    axes.hlines(i, *found.interval(95), color=colour, linewidth=1.5)
                    axes.hlines(i, *found.interval(68), color=colour, linewidth=5)
                    axes.plot(found.median, i, "o", mfc="white", mec=colour, ms=6, zorder=4)
            if q.truth is not None:
                axes.axvline(q.truth, color=INK, linestyle="--", linewidth=1.2)
            axes.set_title(q.label, fontweight="normal")
            axes.margins(x=0.12)
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(axis="y", length=0, labelsize=10)
            axes.spines["left"].set_visible(False)
            axes.xaxis.set_major_locator(MaxNLocator(3))

    return draw(
        "intervals",
        (10.4, n_rows * (0.95 + 0.34 * len(names)) + 0.1),
        paint,
        "One panel for each parameter with the 68% and 95% intervals of this fit and of each other "
        "fit, one above the other.",
        "Thick: 68%; thin: 95%; circle: median"
        + ("; dashed: the true value" if any(q.truth is not None for q in shared) else "")
        + ". Intervals that lie apart are conclusions that depend on the choice.",
    )


def overlay_plot(run: Run) -> Plot:
    """The populations that the fits imply."""

    def paint(figure: Figure) -> None:
        for axes, axis in zip(figure.subplots(1, 2), ("log_mass", "log_age"), strict=True):
            band(axes, run.nodes[axis], run.density[axis], BLUE, "this fit")
            tops = [run.density[axis].max()]
            for c, colour in zip(run.comparisons, OTHERS, strict=False):
                band(axes, c.run.nodes[axis], c.run.density[axis], colour, c.name)
                tops.append(c.run.density[axis].max())
            axes.set_yscale("log")
            width = float(np.diff(run.edges[axis]).max())
            axes.set_ylim(0.25 / width, 3 * max(tops))
            axes.set_xlim(run.edges[axis][0], run.edges[axis][-1])
            axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
            axes.set_xlabel(AXIS_LABELS[axis])
            axes.set_ylabel("clusters per dex, seen or not")
        handles, names = figure.axes[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=5)

    return draw(
        "overlay",
        (10.4, 4.0),
        paint,
        "Fitted mass and age functions of the whole population, for this fit and each other fit.",
        "The populations that the fits imply, 68% and 95%. Where the bands part, the catalogue "
        "alone does not decide: what is assumed of the selection does.",
    )
