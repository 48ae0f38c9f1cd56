"""The same catalogue fitted otherwise, beside this fit."""

import dataclasses

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from starcensus.experiments.report.fit.functions import PER_DEX, band
from starcensus.experiments.report.fit.load import Comparison, Quantity, Run
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    INK,
    OTHERS,
    Plot,
    draw,
    logarithmic,
    panels,
    text,
)

LARGE = 2.0


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What a comparison shows.

    **Arguments:**

    - `n_shared`, `n_large`: parameters of both fits, and those that move by more than `LARGE`.
    - `worst`, `by`: the one that moves most, and by how many errors of this fit.
    - `n_truths`, `n_held`, `n_held_by_other`: parameters whose truth is known, and how often each
      fit's 95% interval holds it.
    """

    n_shared: int
    n_large: int
    worst: Quantity | None
    by: float
    n_truths: int
    n_held: int
    n_held_by_other: int


@dataclasses.dataclass(frozen=True)
class Cell:
    """One parameter in another fit."""

    quantity: Quantity
    shift: float | None
    holds: bool | None

    @property
    def large(self) -> bool:
        return self.shift is not None and abs(self.shift) >= LARGE


@dataclasses.dataclass(frozen=True)
class Row:
    """One parameter in this fit and in others; `None` for a fit that does not have it."""

    quantity: Quantity
    truth: float | None
    holds: bool | None
    others: tuple[Cell | None, ...]


def shift(main: Quantity, other: Quantity) -> float | None:
    """Difference of the medians in units of this fit's error, half its 68% interval."""
    low, high = main.interval(68)
    return 2 * (other.median - main.median) / (high - low) if high > low else None


def _holds(q: Quantity, truth: float | None) -> bool | None:
    if truth is None:
        return None
    low, high = q.interval(95)
    return low <= truth <= high


def rows(run: Run, others: tuple[Comparison, ...]) -> list[Row]:
    """Every parameter of this fit beside the other fits; any of them may know its truth."""
    found = []
    for q in run.quantities:
        matches = [c.run.find(q.name) for c in others]
        truths = [x.truth for x in (q, *matches) if x is not None and x.truth is not None]
        truth = truths[0] if truths else None
        cells = [None if x is None else Cell(x, shift(q, x), _holds(x, truth)) for x in matches]
        found.append(Row(q, truth, _holds(q, truth), tuple(cells)))
    return found


def verdict(run: Run, other: Comparison) -> Verdict:
    """What the comparison with one fit shows."""
    pairs = [(row, cell) for row in rows(run, (other,)) if (cell := row.others[0]) is not None]
    moves = [(cell.shift, row.quantity) for row, cell in pairs if cell.shift is not None]
    by, worst = max(moves, key=lambda move: abs(move[0]), default=(0.0, None))
    known = [(row, cell) for row, cell in pairs if row.truth is not None]
    return Verdict(
        len(moves),
        sum(cell.large for _, cell in pairs),
        worst,
        by,
        len(known),
        sum(row.holds is True for row, _ in known),
        sum(cell.holds is True for _, cell in known),
    )


def intervals_plot(run: Run) -> Plot:
    """Intervals of every shared parameter, one panel each."""
    shared = [q for q in run.quantities if any(c.run.find(q.name) for c in run.comparisons)]
    shared.sort(key=lambda q: q.size > 0)
    n_columns = min(4, len(shared))
    n_rows = int(np.ceil(len(shared) / n_columns))
    names = ["this fit", *(text(c.name) for c in run.comparisons)]
    left = 0.3 + 0.085 * max(len(name) for name in names)

    def paint(figure: Figure) -> None:
        grid = panels(
            figure, n_rows, n_columns, left=left, bottom=0.3, top=0.3, across=0.15, down=0.65
        )
        for axes in grid.flat[len(shared) :]:
            axes.set_visible(False)
        for axes, q in zip(grid.flat, shared, strict=False):
            _intervals(axes, run, q)
            axes.set_ylim(len(names) - 0.4, -0.6)
            axes.set_yticks(range(len(names)), names)
            axes.tick_params(axis="y", length=0, labelsize=10)
            axes.tick_params(labelleft=axes in grid[:, 0])

    return draw(
        "intervals",
        (10.4, n_rows * (0.95 + 0.34 * len(names)) - 0.1),
        paint,
        "One panel for each parameter with the 68% and 95% intervals of this fit and of each other "
        "fit, one above the other.",
    )


def _intervals(axes: Axes, run: Run, q: Quantity) -> None:
    runs = [run, *(c.run for c in run.comparisons)]
    for i, (other, colour) in enumerate(zip(runs, (BLUE, *OTHERS), strict=False)):
        if (found := other.find(q.name)) is not None:
            axes.hlines(i, *found.interval(95), color=colour, linewidth=1.5)
            axes.hlines(i, *found.interval(68), color=colour, linewidth=5)
            axes.plot(found.median, i, "o", mfc="white", mec=colour, ms=6, zorder=4)
    if q.truth is not None:
        axes.axvline(q.truth, color=INK, linestyle="--", linewidth=1.2)
    axes.set_title(text(q.label), fontweight="normal")
    axes.margins(x=0.12)
    axes.spines["left"].set_visible(False)
    axes.xaxis.set_major_locator(MaxNLocator(3))


def overlay_plot(run: Run) -> Plot:
    """The populations that the fits imply."""

    def paint(figure: Figure) -> None:
        [row] = panels(figure, 1, 2, left=0.9, across=1.0, top=0.45)
        for axes, axis in zip(row, ("log_mass", "log_age"), strict=True):
            band(axes, run.nodes[axis], run.density[axis], BLUE, "this fit")
            tops = [run.density[axis].max()]
            for c, colour in zip(run.comparisons, OTHERS, strict=False):
                band(axes, c.run.nodes[axis], c.run.density[axis], colour, text(c.name))
                tops.append(c.run.density[axis].max())
            logarithmic(axes)
            width = float(np.diff(run.edges[axis]).max())
            axes.set_ylim(0.25 / width, 3 * max(tops))
            axes.set_xlim(run.edges[axis][0], run.edges[axis][-1])
            axes.xaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
            axes.set_xlabel(AXIS_LABELS[axis])
            axes.set_ylabel(PER_DEX[axis])
        handles, names = row[0].get_legend_handles_labels()
        figure.legend(handles, names, loc="upper center", ncols=5)

    return draw(
        "overlay",
        (10.4, 4.0),
        paint,
        "Fitted mass and age functions of the whole population, for this fit and each other fit.",
    )
