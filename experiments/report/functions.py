"""The cluster mass and age functions, and the plane of age and mass."""

import dataclasses

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.interpolate import RegularGridInterpolator
from scipy.special import expit, logit
from scipy.stats import chi2

from starcensus.experiments.report.load import AXES, Run
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    BLUE,
    GREY,
    INK,
    ORANGE,
    PER_UNIT,
    Plot,
    draw,
    few_ticks,
)
from starcensus.experiments.report.words import share
from starcensus.selection import CorrectedCounts, corrected_counts
from starcensus.selection.corrections import CLIP_LOG_AGE, CLIP_LOG_MASS, MASK_LOG_AGE

_CLIPS = {"log_mass": (CLIP_LOG_MASS, 0.0), "log_age": (CLIP_LOG_AGE, MASK_LOG_AGE)}
_TITLES = {"log_mass": "Cluster mass function", "log_age": "Cluster age function"}
_LEVELS = {0.1: ":", 0.5: "-", 0.9: "--"}


@dataclasses.dataclass(frozen=True, eq=False)
class Correction:
    """Corrected counts along one axis, and what clipping did to them."""

    counts: CorrectedCounts
    marginal: Float[np.ndarray, " node"]
    clip: float
    mask_below: float
    n_clipped: int
    n_masked: int


def marginal_completeness(run: Run, axis: str) -> Float[np.ndarray, " node"]:
    """Mean p_sel at an axis' nodes over the median fitted densities of the others (C-4 eq. 16)."""
    weights = []
    for name in AXES:
        if name == axis:
            weights.append(np.ones(len(run.nodes[name])))
            continue
        mass = np.median(run.density[name], axis=0) * run.weights[name]
        weights.append(mass / mass.sum())
    others = "".join(letter for letter, name in zip("mta", AXES, strict=True) if name != axis)
    kept = next(letter for letter, name in zip("mta", AXES, strict=True) if name == axis)
    factors = [w for w, name in zip(weights, AXES, strict=True) if name != axis]
    mean = np.einsum(f"mta,{others[0]},{others[1]}->{kept}", run.p_sel, *factors)
    return np.clip(mean, 0.0, 1.0)


def correct(run: Run, axis: str) -> Correction:
    """Completeness-corrected counts of the catalogue (C-4 eqs 17 and 18)."""
    clip, mask = _CLIPS[axis]
    marginal = marginal_completeness(run, axis)
    edges = run.edges[axis]
    # The outermost bins also hold what was recorded beyond them, as in the observed counts.
    values = np.clip(run.theta[:, AXES.index(axis)], edges[0], edges[-1])
    p = np.interp(values, run.nodes[axis], marginal)
    counts = corrected_counts(values, p, edges, clip=clip, mask_below=mask)
    masked = (counts.n_raw > 0) & np.isnan(counts.n_corrected)
    return Correction(counts, marginal, clip, mask, int((p < clip).sum()), int(masked.sum()))


def clipping(run: Run) -> str:
    """What clipping and masking did, in words."""
    mass, age = correct(run, "log_mass"), correct(run, "log_age")
    return (
        f"For masses each cluster's completeness is clipped from below at {mass.clip:g}, which "
        f"touches {share(mass.n_clipped, len(run.theta))}; for ages at "
        f"10<sup>−{-np.log10(age.clip):.0f}</sup>, which touches "
        f"{share(age.n_clipped, len(run.theta))}, and age bins whose mean "
        f"completeness is below {age.mask_below:g} are left out (here {age.n_masked})."
    )


def poisson_interval(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Central 68.27% limits of the mean of a Poisson count (Garwood)."""
    tail = 0.158655
    low = np.where(counts > 0, chi2.ppf(tail, 2 * np.maximum(counts, 1)) / 2, 0.0)
    return low, chi2.ppf(1 - tail, 2 * (counts + 1)) / 2


def band(
    axes: Axes, x: np.ndarray, draws: Float[np.ndarray, "draw node"], colour: str, name: str
) -> None:
    """Median, 68% and 95% bands of curves."""
    low2, low, mid, high, high2 = np.percentile(draws, [2.5, 16, 50, 84, 97.5], axis=0)
    axes.fill_between(x, low2, high2, color=colour, alpha=0.18, linewidth=0)
    axes.fill_between(x, low, high, color=colour, alpha=0.32, linewidth=0)
    axes.plot(x, mid, color=colour, label=name)


def _function(axes: Axes, run: Run, axis: str) -> None:
    correction = correct(run, axis)
    edges = run.edges[axis]
    width, middle = np.diff(edges), (edges[1:] + edges[:-1]) / 2
    band(axes, run.nodes[axis], run.density[axis], BLUE, "population, fitted")
    band(axes, run.nodes[axis], run.detected[axis], ORANGE, "catalogued, fitted")
    counts = run.counts[axis]
    low, high = poisson_interval(counts)
    some, shift = counts > 0, 0.06 * width
    raw = counts / width
    axes.errorbar(
        (middle - shift)[some],
        raw[some],
        ((counts - low) / width)[some] * [[1], [0]] + ((high - counts) / width)[some] * [[0], [1]],
        fmt="o",
        markersize=5,
        color=INK,
        elinewidth=1.2,
        label="catalogue",
        zorder=5,
    )
    none = ~some
    axes.plot(middle[none], (high / width)[none], "v", ms=5, mfc="white", mec=GREY, zorder=3)
    fixed = correction.counts
    shown = some & np.isfinite(fixed.n_corrected)
    x, y = (middle + shift)[shown], (fixed.n_corrected / width)[shown]
    bars = np.stack([low, high])[:, shown] / counts[shown] * y
    axes.errorbar(x, y, np.abs(bars - y), fmt="none", color=BLUE, elinewidth=1.0, zorder=4)
    axes.vlines(
        x, (fixed.n_low / width)[shown], (fixed.n_high / width)[shown], BLUE, lw=4, alpha=0.5
    )
    axes.plot(
        x, y, "s", ms=5.5, mfc="white", mec=BLUE, mew=1.4, label="catalogue, corrected", zorder=6
    )
    top = max(np.percentile(run.density[axis], 97.5, axis=0).max(), y.max(initial=1.0))
    axes.set_yscale("log")
    axes.set_ylim(0.25 / width.max(), 4 * top)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_title(_TITLES[axis])
    name = r"\log M" if axis == "log_mass" else r"\log T"
    axes.set_ylabel(rf"$dN/d{name}$ (clusters {PER_UNIT[axis]})")


def functions_plot(run: Run) -> Plot:
    """Mass and age functions, with the marginal completeness below."""

    def paint(figure: Figure) -> None:
        grid = figure.subplots(2, 2, sharex="col", height_ratios=[3.2, 1])
        for column, axis in enumerate(("log_mass", "log_age")):
            top, bottom = grid[0, column], grid[1, column]
            _function(top, run, axis)
            bottom.plot(run.nodes[axis], correct(run, axis).marginal, color=INK)
            bottom.set_ylim(0, 1.05)
            few_ticks(bottom, 7, 2)
            bottom.set_xlabel(AXIS_LABELS[axis])
            bottom.set_ylabel("completeness")
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4)

    return draw(
        "functions",
        (10.4, 6.2),
        paint,
        "Two panels with logarithmic vertical axes: clusters per dex against log mass and log age. "
        "Bands show the fitted population above the fitted catalogued clusters; points show the "
        "catalogue as it is and corrected for completeness. Below each, the marginal completeness.",
        "Black points must follow the lower, orange bands: clusters catalogued, with Poisson "
        "errors. The blue bands (68% and 95%) are the whole population. Open squares are the "
        "catalogue divided by the mean completeness of each bin; they use only the curves below "
        "and the counts, so that agreement with the blue bands is a check of the fit. Points "
        "carry the scatter of measured masses and ages, bands do not: at the steep ends, where "
        "errors move many clusters up the slope, points may lie above.",
    )


def mean_over_a_v(run: Run) -> Float[np.ndarray, "m t"]:
    """p_sel in mass and age, averaged over the median fitted distribution of a_v."""
    mass = np.median(run.density["a_v"], axis=0) * run.weights["a_v"]
    return run.p_sel @ (mass / mass.sum())


def plane_plot(run: Run) -> Plot:
    """Clusters in age and mass over the contours of the operator."""
    p = mean_over_a_v(run)
    rule = RegularGridInterpolator(
        (run.nodes["log_mass"], run.nodes["log_age"]), logit(np.clip(p, 1e-9, 1 - 1e-9))
    )
    axis = {
        name: np.linspace(run.edges[name][0], run.edges[name][-1], 241)
        for name in ("log_mass", "log_age")
    }
    # The outermost nodes lie a hundredth of a dex inside the bounds.
    inside = [np.clip(x, *run.nodes[name][[0, -1]]) for name, x in axis.items()]
    smooth = expit(rule(tuple(np.meshgrid(*inside, indexing="ij"))))
    levels = [level for level in _LEVELS if smooth.min() < level < smooth.max()]

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        axes.contourf(
            axis["log_age"][::3],
            axis["log_mass"][::3],
            smooth[::3, ::3],
            np.linspace(0, 1, 11),
            cmap="Greys_r",
            alpha=0.35,
        )
        points = axes.scatter(
            run.theta[:, 1],
            run.theta[:, 0],
            c=run.theta[:, 2],
            s=22 if len(run.theta) < 2000 else 8,
            cmap="viridis",
            vmin=run.edges["a_v"][0],
            vmax=max(float(np.percentile(run.theta[:, 2], 98)), run.edges["a_v"][0] + 0.1),
            edgecolors="white",
            linewidths=0.4,
            rasterized=len(run.theta) > 3000,
            zorder=3,
        )
        if levels:
            styles = [_LEVELS[level] for level in levels]
            lines = axes.contour(
                axis["log_age"],
                axis["log_mass"],
                smooth,
                levels,
                colors=ORANGE,
                linestyles=styles,
                linewidths=2,
                zorder=4,
            )
            for text in axes.clabel(
                lines, fmt=lambda level: f"{level:g}", fontsize=10, inline=False, zorder=6
            ):
                text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1})
        for name, limits, column in (
            ("log_age", axes.set_xlim, 1),
            ("log_mass", axes.set_ylim, 0),
        ):
            low = min(run.edges[name][0], float(run.theta[:, column].min()))
            high = max(run.edges[name][-1], float(run.theta[:, column].max()))
            pad = 0.012 * (high - low)
            limits(low - pad, high + pad)
        typical = (
            np.nanmedian(run.half_error, axis=0) if np.isfinite(run.half_error).any() else None
        )
        if typical is not None:
            (x0, x1), (_, y1) = axes.get_xlim(), axes.get_ylim()
            x, y = x0 + typical[1] + 0.04 * (x1 - x0), y1 - typical[0] - 0.25
            axes.errorbar(x, y, typical[0], typical[1], color=GREY, capsize=2, elinewidth=1.2)
            axes.annotate(
                "typical published error",
                (x + typical[1], y),
                (6, 0),
                textcoords="offset points",
                va="center",
            )
        few_ticks(axes, 8, 8)
        axes.set_xlabel(AXIS_LABELS["log_age"])
        axes.set_ylabel(AXIS_LABELS["log_mass"])
        bar = figure.colorbar(points, ax=axes, pad=0.01, extend="max")
        bar.set_label(AXIS_LABELS["a_v"])
        bar.outline.set_visible(False)

    lowest, highest = f"{smooth.min():.2g}", f"{smooth.max():.2g}"
    span = lowest if lowest == highest else f"between {lowest} and {highest}"
    where = (
        f"Contours: the selection operator's p<sub>sel</sub> = {', '.join(map(str, levels))}."
        if levels
        else f"The operator's p<sub>sel</sub> is {span} all over the plane: no contour to draw."
    )
    return draw(
        "plane",
        (9.4, 6.0),
        paint,
        "Scatter of the catalogue's clusters in log age and log mass, coloured by extinction, over "
        "contours of equal selection probability.",
        f"{where} It is averaged over the fitted distribution of extinction, and the shade behind "
        "follows it from dark (0) to light (1). Clusters must thin out where it falls; many far "
        "below the lowest contour would speak against the operator, or for large errors. "
        "Clusters on the blank margin were recorded outside the bounds.",
    )
