"""Figures of stochastic clusters for the documentation."""

import functools
import os
import pathlib
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from scipy.ndimage import gaussian_filter

from starcensus.experiments.report.style import (
    AXIS_LABELS,
    INK,
    PALETTE,
    band_label,
    save_figure,
)
from starcensus.files import prepare_folder
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.cluster import draw_clusters, ssp_abs_mags
from starcensus.simulate.clusters.profiles import EFF
from starcensus.simulate.clusters.resolved import ResolvedCluster, resolve
from starcensus.simulate.sky import pc_per_arcsec
from starcensus.simulate.stars.grid import StellarGrid

BANDS = tuple(f"WFC3_UVIS_F{number}W" for number in (336, 438, 555, 814))


def draw_figures(
    out: str | os.PathLike[str], seed: int = 1, draws: int = 400
) -> list[pathlib.Path]:
    """Write every figure of this module, drawn with the shipped grid, as PNG into `out`.

    `draws` is the number of clusters of each mass and age in the figure of magnitude scatter. The
    folder is made if absent. Matplotlib's settings are left as they were.
    """
    folder = prepare_folder(out)
    population = StellarPopulation(StellarGrid.default().select(BANDS))
    figures = {
        "colour_colour.png": colour_colour,
        "magnitude_scatter.png": functools.partial(magnitude_scatter, draws=draws),
        "resolved_clusters.png": resolved_clusters,
    }
    return [
        save_figure(folder / name, functools.partial(paint, population, seed))
        for name, paint in figures.items()
    ]


def colour_colour(population: StellarPopulation, seed: int = 1) -> Figure:
    """F336W − F438W against F555W − F814W of clusters of 500 M_sun, and of the mean light."""
    figure = Figure(figsize=(6.6, 5.6), layout="constrained")
    axes = figure.add_subplot()
    ages = np.log10([2e6, 6.3e6, 2e7, 1e8, 1e9, 1e10])
    for k, (age, colour) in enumerate(zip(ages, PALETTE, strict=True)):
        mags = _draw(population, np.log10(500.0), age, 400, seed + 400 * k)
        axes.plot(*_colours(mags), ".", color=colour, ms=4.2, alpha=0.6, mew=0)
    track = _colours(_mean(population, np.linspace(6.0, 10.1, 329)))
    axes.plot(*track, color="white", lw=3.6)
    axes.plot(*track, color=INK, lw=1.3)
    for age, colour in zip(ages, PALETTE, strict=True):
        axes.plot(
            *_colours(_mean(population, np.array([age]))),
            "o",
            color=colour,
            ms=9,
            mec=INK,
            mew=1.0,
            label=_years(age),
            zorder=5,
        )
    x, y = _colours(ssp_abs_mags(population, np.array([8.0, 8.0]), np.array([0.0, 1.0])))
    foot = (1.9, -1.75)
    head = (foot[0] + x[1] - x[0], foot[1] + y[1] - y[0])
    axes.annotate("", head, foot, arrowprops={"arrowstyle": "-|>"})
    axes.annotate("$A_V$ = 1 mag", foot, xytext=(6, 3), textcoords="offset points")
    axes.set(xlim=(-0.9, 2.9), ylim=(1.6, -2.0))
    axes.set_xlabel("F555W − F814W (Vega mag)")
    axes.set_ylabel("F336W − F438W (Vega mag)")
    legend = axes.legend(
        loc="lower left",
        title="dots: clusters of 500 M$_\\odot$\nline, circles: mean light",
        alignment="left",
    )
    legend.get_title().set_fontsize(9.5)
    return figure


def magnitude_scatter(population: StellarPopulation, seed: int = 1, draws: int = 400) -> Figure:
    """Standard deviation of the magnitudes in F555W and F814W over mass and age."""
    masses, ages = np.arange(2.0, 6.01, 0.25), np.arange(6.0, 10.01, 0.125)
    n = len(ages) * len(masses)
    theta = np.meshgrid(ages, masses, indexing="ij")
    mags = draw_clusters(
        population,
        np.repeat(theta[1].ravel(), draws),
        np.repeat(theta[0].ravel(), draws),
        np.zeros(n * draws),
        np.arange(seed, seed + n * draws),
    ).abs_mags[:, 2:]
    # A cluster of one massive star that has died has no magnitude.
    mags = np.where(np.isfinite(mags), mags, np.nan).reshape(len(ages), len(masses), draws, 2)
    spread = np.nanstd(mags, axis=2)
    figure = Figure(figsize=(8.2, 3.9), layout="constrained")
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    mesh = None
    for axes, band, values in zip(panels, BANDS[2:], np.moveaxis(spread, 2, 0), strict=True):
        mesh = axes.pcolormesh(
            masses, ages, values, norm=LogNorm(0.01, 2.0), cmap="cividis", shading="nearest"
        )
        levels = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0]
        lines = axes.contour(masses, ages, _smooth(values), levels, colors="white", linewidths=1.0)
        axes.clabel(lines, fmt="%g", fontsize=8.5)
        axes.set(title=band_label(band), xlabel=AXIS_LABELS["log_mass"])
    panels[0].set_ylabel(AXIS_LABELS["log_age"])
    assert mesh is not None
    bar = figure.colorbar(mesh, ax=panels, label="standard deviation (mag)")
    bar.set_ticks([0.01, 0.03, 0.1, 0.3, 1.0], labels=["0.01", "0.03", "0.1", "0.3", "1"])
    return figure


def resolved_clusters(population: StellarPopulation, seed: int = 1) -> Figure:
    """Stars of three clusters of one age: the area of a point tells F814W, its colour B − I."""
    figure = Figure(figsize=(9.4, 3.7), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    profile = EFF.from_half_light(3.0, truncation_pc=60.0)
    points = None
    for axes, log_mass in zip(panels, (3.0, 4.0, 5.0), strict=True):
        cluster = resolve(population, log_mass, 7.3, 0.0, profile, seed, faint_limit_mag=2.0)
        points = _stars(axes, cluster)
        axes.set_title(rf"$10^{log_mass:.0f}\,{{\rm M}}_\odot$: {len(cluster)} stars")
    panels[0].set_ylabel("y (pc)")
    for magnitude in (-8, -5, -2, 1):
        panels[0].scatter(
            [],
            [],
            s=_area(np.array([magnitude])),
            color="white",
            label=f"{magnitude:d}".replace("-", "−"),
        )
    panels[0].legend(
        loc="upper left",
        title="$M_{\\rm F814W}$",
        labelcolor="white",
        fontsize=8,
        title_fontsize=8,
        handletextpad=0.1,
        borderpad=0.1,
    ).get_title().set_color("white")
    assert points is not None
    figure.colorbar(points, ax=panels, label="F438W − F814W (Vega mag)", extend="both")
    return figure


def _stars(axes: Axes, cluster: ResolvedCluster) -> Any:
    blue, red = cluster.abs_mags[:, 1], cluster.abs_mags[:, 3]
    order = np.argsort(-red)
    points = axes.scatter(
        cluster.x_pc[order],
        cluster.y_pc[order],
        s=_area(red[order]),
        c=(blue - red)[order],
        cmap=LinearSegmentedColormap.from_list(
            "stars", ["#7db4ff", "#ffffff", "#ffb84d", "#ff5a2a"]
        ),
        vmin=-0.5,
        vmax=3.0,
        linewidths=0,
    )
    axes.set_facecolor("#10141a")
    radius = cluster.profile.half_light_radius
    axes.add_patch(Circle((0, 0), radius, fill=False, ec="white", ls="--", lw=0.9, zorder=5))
    axes.set(xlim=(-12, 12), ylim=(-12, 12), xlabel="x (pc)", aspect="equal")
    tenth = 0.1 * pc_per_arcsec(29.98)
    axes.plot([10.5 - tenth, 10.5], [-10.7] * 2, color="white", lw=2)
    note = axes.text(10.5, -10.1, '0.1" at 9.9 Mpc', color="white", ha="right", fontsize=8)
    note.set_bbox({"facecolor": "#10141a", "edgecolor": "none", "pad": 1.0})
    return points


def _area(magnitude: np.ndarray) -> np.ndarray:
    return 24 * 10 ** (-0.16 * (magnitude + 6))


def _draw(
    population: StellarPopulation, log_mass: float, log_age: float, n: int, seed: int
) -> np.ndarray:
    """Magnitudes `(n, band)` of clusters of one mass and age without extinction."""
    mass, age = np.full(n, log_mass), np.full(n, log_age)
    return draw_clusters(population, mass, age, np.zeros(n), np.arange(seed, seed + n)).abs_mags


def _mean(population: StellarPopulation, log_age: np.ndarray) -> np.ndarray:
    return ssp_abs_mags(population, log_age, np.zeros(len(log_age)))


def _colours(mags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return mags[:, 2] - mags[:, 3], mags[:, 0] - mags[:, 1]


def _years(log_age: float) -> str:
    years = 10**log_age
    return f"{years / 1e9:.0f} Gyr" if years > 9e8 else f"{years / 1e6:.3g} Myr"


def _smooth(values: np.ndarray) -> np.ndarray:
    """Logarithmic mean over neighbours, so that contours do not follow sampling noise."""
    return np.exp(gaussian_filter(np.log(values), 1.0, mode="nearest"))
