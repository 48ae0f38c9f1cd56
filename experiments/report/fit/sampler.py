"""What the sampler did: traces, ranks, energies, trajectory lengths, samples per cluster.

The ranks are our own: `arviz_plots.plot_rank` (1.3.2) takes draws for independent and calls a third
of good chains bad whose neighbouring draws correlate by 0.6, in a time that grows with the square
of their number. The other panels are a few lines each, on axes that `arviz_plots` would make anew.
"""

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

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
TRACE_POINTS = 200
_RANK_BINS = 20


def rank_counts(
    draws: Float[np.ndarray, "chain draw"], n_bins: int
) -> Float[np.ndarray, "chain bin"]:
    """Histogram of each chain's ranks among all draws; flat, up to noise, if chains agree."""
    ranks = rankdata(draws).reshape(draws.shape)
    edges = np.linspace(0.5, draws.size + 0.5, n_bins + 1)
    return np.stack([np.histogram(chain, edges)[0] for chain in ranks]).astype(float)


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
        for (left, right), q in zip(grid, quantities, strict=True):
            _trace(left, q)
            _ranks(right, q)
        grid[0, 0].set_title("Draws, in order")
        grid[0, 1].set_title("Ranks")
        grid[-1, 0].set_xlabel("draw")
        grid[-1, 1].set_xlabel("rank among all chains")
        for axes in grid.flat:
            axes.label_outer()

    return draw(
        "chains",
        (10.4, 0.8 + 0.85 * len(quantities)),
        paint,
        f"For each of {len(quantities)} parameters, the draws of every chain in order and the "
        "histogram of each chain's ranks.",
    )


def _trace(axes: Axes, q: Quantity) -> None:
    n_draws = q.draws.shape[1]
    at = np.unique(np.linspace(0, n_draws - 1, min(n_draws, TRACE_POINTS)).astype(int))
    for i, chain in enumerate(q.draws):
        axes.plot(at, chain[at], color=CHAINS[i % len(CHAINS)], linewidth=0.5, alpha=0.75)
    axes.set_xlim(0, n_draws)
    axes.set_ylabel(text(q.label), rotation=0, ha="right", va="center", labelpad=12)
    few_ticks(axes, 5, 2)
    axes.tick_params(labelsize=8.5)


def _ranks(axes: Axes, q: Quantity) -> None:
    n_bins = max(2, min(_RANK_BINS, q.draws.shape[1] // 5))
    counts = rank_counts(q.draws, n_bins)
    expected = q.draws.shape[1] / n_bins
    edges = np.linspace(0, q.draws.size, n_bins + 1)
    # Draws of a chain are correlated: as many as its effective ones scatter by chance.
    effective = min(1.0, (q.ess_bulk or q.draws.size) / q.draws.size)
    spread = 1.645 * np.sqrt(expected * (1 - 1 / n_bins) / max(effective, 1e-6))
    axes.axhspan(max(expected - spread, 0), expected + spread, color=GREY, alpha=0.15, linewidth=0)
    for i, chain in enumerate(counts):
        axes.stairs(chain, edges, color=CHAINS[i % len(CHAINS)], linewidth=1.1, baseline=None)
    axes.axhline(expected, color=GREY, linewidth=0.8)
    axes.set_ylim(0, max(counts.max(), expected + spread) * 1.05)
    axes.set_xlim(0, q.draws.size)
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
