"""What the sampler did: traces, ranks, energies, trajectory lengths, samples per cluster.

Traces and ranks are those of arviz_plots on axes of ours. Its figure of energies brings its own
panels and takes more arguments than the two histograms here.
"""

from collections.abc import Sequence

import arviz_plots
import numpy as np
import xarray
from arviz_base import from_dict
from arviz_plots.plot_collection import PlotCollection
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from starcensus.experiments.report.fit.load import Quantity, Run
from starcensus.experiments.report.style import (
    BLUE,
    CHAINS,
    GREY,
    INK,
    ORANGE,
    Plot,
    draw,
    few_ticks,
    panels,
    text,
)

# A page holds a few hundred points of a line; drifts and plateaus survive thinning.
TRACE_POINTS, _RANK_POINTS = 200, 100


def thinned(run: Run) -> bool:
    """Whether the traces show only some of the draws."""
    return run.quantities[0].draws.shape[1] > TRACE_POINTS


def chains_plot(run: Run) -> Plot:
    """Trace of every fitted scalar, and the ranks of its chains."""
    quantities = run.quantities

    def paint(figure: Figure) -> None:
        grid = panels(
            figure,
            len(quantities),
            2,
            widths=[2.2, 1.0],
            left=1.15,
            bottom=0.55,
            across=0.5,
            down=0.12,
            sharex="col",
        )
        _traces(list(grid[:, 0]), run)
        _ranks(list(grid[:, 1]), quantities)
        grid[0, 0].set_title("Draws, in order")
        grid[0, 1].set_title("Ranks: excess over uniform")
        grid[-1, 0].set_xlabel("draw")
        grid[-1, 1].set_xlabel("rank among all chains, as a fraction")
        for axes in grid.flat:
            axes.label_outer()

    return draw(
        "chains",
        (10.4, 0.8 + 0.85 * len(quantities)),
        paint,
        f"For each of {len(quantities)} parameters, the draws of every chain in order and the "
        "cumulative distribution of each chain's ranks minus that of uniform ranks.",
    )


def _on(axes: Sequence[Axes], data: xarray.Dataset) -> PlotCollection:
    """The axes as arviz_plots wants them, one for each parameter, chains in their colours."""
    cells = xarray.DataArray(np.array(axes, dtype=object), dims="parameter")
    viz = xarray.DataTree.from_dict(
        {
            "/": xarray.Dataset({"figure": np.array(axes[0].figure, dtype=object)}),
            "plot": xarray.Dataset({"draws": cells}, {"parameter": data["parameter"]}),
        }
    )
    n = data.sizes["chain"]
    colours = [CHAINS[i % len(CHAINS)] for i in range(n)]
    aes = {"color": ["chain"], "overlay": ["chain"]}
    return PlotCollection(
        data, viz, aes=aes, backend="matplotlib", color=colours, overlay=[None] * n
    )


def _tree(draws: Sequence[np.ndarray], at: np.ndarray | None = None) -> xarray.DataTree:
    """One variable of all parameters, which is faster to handle than one for each."""
    return from_dict(
        {"posterior": {"draws": np.stack(draws, axis=-1)}},
        dims={"draws": ["parameter"]},
        coords={} if at is None else {"draw": at},
    )


def _traces(column: Sequence[Axes], run: Run) -> None:
    n_draws = run.quantities[0].draws.shape[1]
    at = np.unique(np.linspace(0, n_draws - 1, min(n_draws, TRACE_POINTS)).astype(int))
    tree = _tree([q.draws[:, at] for q in run.quantities], at)
    arviz_plots.plot_trace(
        tree,
        plot_collection=_on(column, tree["posterior"].to_dataset()),
        visuals={
            "trace": {"width": 0.5, "alpha": 0.75},
            "title": False,
            "xlabel": False,
            "ticklabels": False,
        },
    )
    for axes, q in zip(column, run.quantities, strict=True):
        axes.set_xlim(0, n_draws)
        axes.set_ylabel(text(q.label), rotation=0, ha="right", va="center", labelpad=12)
        few_ticks(axes, 5, 2)
        axes.tick_params(labelsize=8.5)


def _ranks(column: Sequence[Axes], quantities: Sequence[Quantity]) -> None:
    """Ranks of what moves; a parameter whose chains differ is marked where they do."""
    moving = [q.draws for q in quantities if q.r_hat is not None]
    shown = [axes for axes, q in zip(column, quantities, strict=True) if q.r_hat is not None]
    if moving:
        tree = _tree(moving)
        arviz_plots.plot_rank(
            tree,
            plot_collection=_on(shown, tree["posterior"].to_dataset()),
            visuals={
                "ecdf_lines": {"width": 1.0},
                "title": False,
                "xlabel": False,
                "remove_axis": False,
            },
        )
    for axes, q in zip(column, quantities, strict=True):
        if q.r_hat is None:
            axes.text(0.5, 0.5, "does not vary", transform=axes.transAxes, ha="center", color=INK)
        for line in axes.lines:
            x, y = (np.asarray(part) for part in line.get_data())
            step = -(-len(x) // _RANK_POINTS)
            line.set_data(x[::step], y[::step])
        for note in axes.texts:
            note.set_fontsize(8)
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=0)
        axes.set_xlim(0, 1)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.tick_params(labelsize=8.5)


def sampler_plot(run: Run) -> Plot:
    """Energies, trajectory lengths and samples behind each cluster's likelihood term."""

    def paint(figure: Figure) -> None:
        [[energy, steps, objects]] = panels(figure, 1, 3, left=0.35, bottom=0.85, across=0.75)
        _energy(energy, run)
        _steps(steps, run)
        _samples(objects, run)

    return draw(
        "sampler",
        (10.4, 3.5),
        paint,
        "Three panels: energies against their changes from draw to draw, leapfrog steps of "
        "each trajectory, and effective samples behind each cluster's likelihood term.",
    )


def _energy(axes: Axes, run: Run) -> None:
    axes.set_title("Energy")
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    if not run.bfmi:
        _absent(axes)
        return
    energy = np.asarray(run.stats["energy"], float)
    centred = (energy - energy.mean(axis=1, keepdims=True)).ravel()
    change = np.diff(energy, axis=1).ravel()
    low, high = np.percentile(np.concatenate([centred, change]), [0.2, 99.8])
    bins = np.linspace(low, high, 40)
    for values, colour, name in ((centred, BLUE, "energy"), (change, ORANGE, "change")):
        density, _ = np.histogram(values, bins, density=True)
        axes.stairs(density, bins, color=colour, alpha=0.4, fill=colour == BLUE, label=name)
        axes.stairs(density, bins, color=colour)
    axes.legend(loc="upper right", handlelength=1.2, borderaxespad=0.0)
    axes.set_xlabel("energy − its mean; change")
    axes.set_title(f"Energy: BFMI {min(run.bfmi):.2f}")


def _steps(axes: Axes, run: Run) -> None:
    axes.set_title("Trajectory length")
    if "n_steps" not in run.stats:
        _absent(axes)
        return
    steps = np.asarray(run.stats["n_steps"]).ravel()
    powers = np.arange(0, int(np.log2(max(steps.max(), 1))) + 1)
    counts, _ = np.histogram(
        np.log2(np.maximum(steps, 1)), np.append(powers, powers[-1] + 1) - 1e-9
    )
    axes.bar(powers, 100 * counts / counts.sum(), color=BLUE, alpha=0.5, width=0.9)
    axes.set_xticks(powers, [f"{2**p}–{2 ** (p + 1) - 1}" if p else "1" for p in powers])
    axes.tick_params(axis="x", labelrotation=45, labelsize=8.5)
    axes.set_xlabel("leapfrog steps")
    axes.set_ylabel("draws (%)")


def _samples(axes: Axes, run: Run) -> None:
    ess = run.object_ess[np.isfinite(run.object_ess)]
    if len(ess):
        low, high = float(ess.min()), float(ess.max())
        bins = np.linspace(low, high, 26) if high > low else np.array([low - 0.5, high + 0.5])
        axes.stairs(*np.histogram(ess, bins), color=BLUE, alpha=0.5, fill=True)
        axes.axvline(low, color=ORANGE, linestyle="--")
        axes.annotate(
            f"smallest: {low:.1f}",
            (low, 0.97),
            (5, 0),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5},
        )
    axes.set_title("Samples per cluster")
    axes.set_xlabel("effective samples")
    axes.set_ylabel("clusters")


def _absent(axes: Axes) -> None:
    axes.text(0.5, 0.5, "not recorded", transform=axes.transAxes, ha="center", color=INK)
    axes.set_xticks([])
