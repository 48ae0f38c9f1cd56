"""The plane of age and mass."""

import dataclasses

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.interpolate import RegularGridInterpolator
from scipy.special import expit, logit

from starcensus.experiments.report.fit.correction import mean_over_a_v
from starcensus.experiments.report.fit.load import Run
from starcensus.experiments.report.style import (
    AXIS_LABELS,
    GREY,
    ORANGE,
    Plot,
    draw,
    few_ticks,
)

_LEVELS = {0.1: ":", 0.5: "-", 0.9: "--"}
# Where the axes stand, in inches.
_SIZE, _ROOM = (9.4, 6.0), (0.75, 0.6, 7.35, 5.25)
_MANY = 3000


@dataclasses.dataclass(frozen=True, eq=False)
class Plane:
    """p_sel over mass and age, averaged over extinction, on a fine grid."""

    log_mass: Float[np.ndarray, " m"]
    log_age: Float[np.ndarray, " t"]
    p_sel: Float[np.ndarray, "m t"]

    @property
    def levels(self) -> list[float]:
        """Those of 10, 50 and 90% that have a contour."""
        return [level for level in _LEVELS if self.p_sel.min() < level < self.p_sel.max()]


def selection_plane(run: Run) -> Plane:
    """The operator over the plane, averaged over the fitted distribution of extinction."""
    p = mean_over_a_v(run)
    rule = RegularGridInterpolator(
        (run.nodes["log_mass"], run.nodes["log_age"]), logit(np.clip(p, 1e-9, 1 - 1e-9))
    )
    log_mass, log_age = (
        np.linspace(run.edges[name][0], run.edges[name][-1], 121)
        for name in ("log_mass", "log_age")
    )
    # The outermost nodes lie a hundredth of a dex inside the bounds.
    inside = [
        np.clip(x, run.nodes[name][0], run.nodes[name][-1])
        for name, x in (("log_mass", log_mass), ("log_age", log_age))
    ]
    return Plane(log_mass, log_age, expit(rule(tuple(np.meshgrid(*inside, indexing="ij")))))


def plane_plot(run: Run, plane: Plane) -> Plot:
    """Clusters in age and mass over the contours of the operator."""

    def paint(figure: Figure) -> None:
        width, height = _SIZE
        left, bottom, wide, high = _ROOM
        axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
        _shade(axes, plane)
        points = _clusters(axes, run)
        _contours(axes, plane)
        _limits(axes, run)
        _typical_error(axes, run)
        few_ticks(axes, 8, 8)
        axes.set_xlabel(AXIS_LABELS["log_age"])
        axes.set_ylabel(AXIS_LABELS["log_mass"])
        side = ((left + wide + 0.1) / width, bottom / height, 0.25 / width, high / height)
        bar = figure.colorbar(points, cax=figure.add_axes(side), extend="max")
        bar.ax.yaxis.set_major_locator(MaxNLocator(8))
        bar.set_label(AXIS_LABELS["a_v"])
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]

    return draw(
        "plane",
        _SIZE,
        paint,
        "Scatter of the catalogue's clusters in log age and log mass, coloured by extinction, over "
        "contours of equal selection probability.",
    )


def _shade(axes: Axes, plane: Plane) -> None:
    axes.contourf(
        plane.log_age[::2],
        plane.log_mass[::2],
        plane.p_sel[::2, ::2],
        np.linspace(0, 1, 11),
        cmap="Greys_r",
        alpha=0.35,
    )


def _clusters(axes: Axes, run: Run):
    lowest = run.edges["a_v"][0]
    many = len(run.theta) > _MANY
    return axes.scatter(
        run.theta[:, 1],
        run.theta[:, 0],
        c=run.theta[:, 2],
        s=8 if many else 22,
        cmap="viridis",
        vmin=lowest,
        vmax=max(float(np.percentile(run.theta[:, 2], 98)), lowest + 0.1),
        edgecolors="none" if many else "white",
        linewidths=0.4,
        rasterized=many,
        zorder=3,
    )


def _contours(axes: Axes, plane: Plane) -> None:
    if not plane.levels:
        return
    lines = axes.contour(
        plane.log_age,
        plane.log_mass,
        plane.p_sel,
        plane.levels,
        colors=ORANGE,
        linestyles=[_LEVELS[level] for level in plane.levels],
        linewidths=2,
        zorder=4,
    )
    names = axes.clabel(
        lines, fmt=lambda level: f"{level:.0%}", fontsize=10, inline=False, zorder=6
    )
    for text in names:
        text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1})


def _limits(axes: Axes, run: Run) -> None:
    """All that is inside the bounds, and every cluster that was recorded outside."""
    for name, limits, column in (("log_age", axes.set_xlim, 1), ("log_mass", axes.set_ylim, 0)):
        low = min(run.edges[name][0], float(run.theta[:, column].min()))
        high = max(run.edges[name][-1], float(run.theta[:, column].max()))
        pad = 0.012 * (high - low)
        limits(low - pad, high + pad)


def _typical_error(axes: Axes, run: Run) -> None:
    if not np.isfinite(run.half_error).any():
        return
    typical = np.nanmedian(run.half_error, axis=0)
    (x0, x1), (_, y1) = axes.get_xlim(), axes.get_ylim()
    x, y = x0 + typical[1] + 0.04 * (x1 - x0), y1 - typical[0] - 0.25
    axes.errorbar(x, y, typical[0], typical[1], color=GREY, capsize=2, elinewidth=1.2)
    axes.annotate(
        "typical error" if run.magnitudes else "typical published error",
        (x + typical[1], y),
        (6, 0),
        textcoords="offset points",
        va="center",
    )
