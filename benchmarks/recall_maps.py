"""Shares of mocks that are found, in bins of two of their parameters, in and out of spiral arms."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure

# Planes of the thesis's figure, and where the mocks lie.
PLANES = (("log_age", "log_mass"), ("log_age", "a_v"), ("a_v", "log_mass"))
WHERE = ("all", "arms", "between")
# dex and mag.
_STEP = 0.5
# Young stars of the arms, of those of a ridge, from which a place is in an arm.
ARM = 0.5
# Of fewer mocks no share is shown; the darkest colour is of so many per cent or less.
_FEW, _DARK = 10, 50


@dataclasses.dataclass(frozen=True, eq=False)
class RecallMap:
    """Mocks in the bins of a plane, and those of them that are found.

    **Arguments:**

    - `x`, `y`: names of the parameters. `where`: one of `WHERE`.
    - `x_edges`, `y_edges`: of the bins; the last bins hold their upper edge too.
    - `n`, `found`: `(x, y)`, all mocks and those that are found.
    """

    x: str
    y: str
    where: str
    x_edges: Float[np.ndarray, "x_edge"]
    y_edges: Float[np.ndarray, "y_edge"]
    n: Int[np.ndarray, "x y"]
    found: Int[np.ndarray, "x y"]

    @property
    def share(self) -> Float[np.ndarray, "x y"]:
        """NaN where no mock is."""
        return np.where(self.n > 0, self.found / np.maximum(self.n, 1), np.nan)


def recall_maps(
    columns: Mapping[str, np.ndarray],
    found: Bool[np.ndarray, "mock"],
    ranges: Mapping[str, tuple[float, float]],
) -> tuple[RecallMap, ...]:
    """A map of each plane, of all mocks, of those in arms and of the rest.

    **Arguments:**

    - `columns`: `log_age`, `log_mass`, `a_v`, and `arms`, as of `GalaxySettings.arms`.
    - `found`: which mocks are found.
    - `ranges`: of each parameter, from end to end.
    """
    arms = in_arms(columns)
    rows = dict(zip(WHERE, (np.ones(len(found), bool), arms, ~arms), strict=True))
    edges = {name: _edges(*ends) for name, ends in ranges.items()}
    made = []
    for x, y in PLANES:
        for where, here in rows.items():
            both = edges[x], edges[y]
            n, held = (
                np.histogram2d(columns[x][some], columns[y][some], both)[0].astype(int)
                for some in (here, here & found)
            )
            made.append(RecallMap(x, y, where, *both, n, held))
    return tuple(made)


def in_arms(columns: Mapping[str, np.ndarray]) -> Bool[np.ndarray, "mock"]:
    """Which mocks lie where arms have half of a ridge's young stars or more."""
    return columns["arms"] >= ARM


def maps_table(maps: Sequence[RecallMap]) -> "Table":
    """A row for each bin of each map."""
    from astropy.table import Table, vstack

    parts = []
    for each in maps:
        low = np.meshgrid(each.x_edges[:-1], each.y_edges[:-1], indexing="ij")
        high = np.meshgrid(each.x_edges[1:], each.y_edges[1:], indexing="ij")
        names = {"where": each.where, "x": each.x, "y": each.y}
        parts.append(
            Table(
                {name: np.full(each.n.size, text) for name, text in names.items()}
                | {"x_low": low[0].ravel(), "x_high": high[0].ravel()}
                | {"y_low": low[1].ravel(), "y_high": high[1].ravel()}
                | {"n": each.n.ravel(), "found": each.found.ravel(), "share": each.share.ravel()}
            )
        )
    return vstack(parts)


def recall_figure(maps: Sequence[RecallMap]) -> "Figure":
    """A panel for each map, with percentages in the bins that have ten mocks or more."""
    from matplotlib.figure import Figure

    from starcensus.experiments.report.style import FULL_WIDTH

    figure = Figure(figsize=(FULL_WIDTH, 8.0), layout="constrained")
    grid = figure.subplots(len(PLANES), len(WHERE), sharex="row", sharey="row")
    mesh = [_panel(axes, each) for axes, each in zip(grid.flat, maps, strict=True)][-1]
    titles = ("all mocks", "in spiral arms", "out of arms")
    for axes, title, row in zip(grid[0], titles, grid.T, strict=True):
        axes.set_title(title)
        if axes is not grid[0, 0]:
            for each in row:
                each.set_ylabel("")
    bar = figure.colorbar(mesh, ax=grid, location="bottom", shrink=0.35, aspect=40, extend="min")
    bar.set_label("mocks that are found (%)")
    return figure


def _panel(axes: "Axes", each: RecallMap) -> "QuadMesh":
    from starcensus.experiments.report.style import AXIS_LABELS, INK, few_ticks

    share = np.where(each.n >= _FEW, 100 * each.share, np.nan)
    edges = each.x_edges, each.y_edges
    mesh = axes.pcolormesh(*edges, share.T, cmap="cividis", vmin=_DARK, vmax=100, ec="w", lw=0.6)
    for i, j in np.argwhere(each.n >= _FEW):
        x, y = (edge[at : at + 2].mean() for edge, at in zip(edges, (i, j), strict=True))
        colour = INK if share[i, j] > (_DARK + 100) / 2 else "w"
        axes.text(x, y, f"{share[i, j]:.0f}", color=colour, ha="center", va="center")
    axes.set_xlabel(AXIS_LABELS[each.x])
    axes.set_ylabel(AXIS_LABELS[each.y])
    few_ticks(axes)
    return mesh


def _edges(low: float, high: float) -> Float[np.ndarray, "edge"]:
    """From `low` in whole steps to `high` or just beyond; as round as the mocks' own values."""
    n = max(1, int(np.ceil((high - low) / _STEP - 1e-9)))
    return np.round(low + _STEP * np.arange(n + 1), 10)
