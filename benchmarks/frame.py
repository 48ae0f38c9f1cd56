"""What a survey's catalogue of a real frame holds: its known clusters, what else, and a picture.

The frame and its options are those of a survey file. A known cluster is found where a source that
passes all cuts lies within a few pixels of its place; all other such sources are others, whatever
they are.
"""

import dataclasses
import math
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from starcensus.experiments.jobs._images import Survey
from starcensus.experiments.jobs.finder import read_circles
from starcensus.experiments.schema._base import load
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.selection.pipeline import Detections
from starcensus.simulate import Frame

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As far as `bench recall` looks.
NEAR_PIX = 6.0
# Of the picture: pixels that are one, shades of grey (noise takes most of a PNG), and cut-outs.
_BINNED, _SHADES, _CUTOUT_PIX, _ROWS, _COLUMNS = 2, 15, 64, 4, 2
# Scatters above the sky at which arcsinh is white, and below it at which it is black.
_WHITE, _BLACK = 120.0, -2.0
_FOUND, _KNOWN = "#f4711f", "#2c9fff"


@dataclasses.dataclass(frozen=True, eq=False)
class Matches:
    """Known clusters and the sources of a catalogue.

    **Arguments:**

    - `source`: row of the nearest source that passes all cuts, -1 where it is too far.
    - `distance_pix`: of that source; infinite where there is none at all.
    - `others`: `(n,)`, catalogued sources that are no known cluster.
    """

    source: list[int]
    distance_pix: Float[np.ndarray, "known"]
    others: Bool[np.ndarray, "n"]


def bench_frame(
    survey: pathlib.Path,
    catalogue: pathlib.Path,
    known: pathlib.Path,
    data: tuple[pathlib.Path, ...] = (),
    figure: pathlib.Path | None = None,
) -> dict[str, Any]:
    """Which known clusters a catalogue holds, and how many other sources.

    **Arguments:**

    - `survey`: survey file. `catalogue`: what `starcensus detect` wrote of it.
    - `known`: a table of circles, as of finder files. `data`: folders of the images.
    - `figure`: a picture (.png) of the frame, its sources, and cut-outs of them.
    """
    found, circles = Detections.read(catalogue), read_circles(known)
    matches = match_known(found, circles)
    numbers: dict[str, Any] = {
        "n_peaks": len(found),
        "n_catalogued": int(found.catalogued.sum()),
        "n_known": len(circles),
        "n_known_found": sum(row >= 0 for row in matches.source),
        "n_others": int(matches.others.sum()),
    }
    for k, row in enumerate(matches.source):
        own = {"distance_pix": matches.distance_pix[k]}
        own |= _of_source(found, row) if row >= 0 else {}
        numbers |= {f"known_{k}.{name}": round(float(value), 4) for name, value in own.items()}
    if figure is not None:
        from starcensus.experiments.report.style import save_figure  # loads Matplotlib

        file, _ = load(survey, SurveyFile)
        frame = Survey(file, Sources.beside(survey, data)).frame
        save_figure(figure, lambda: frame_figure(frame, found, circles, matches))
    return numbers


def match_known(
    found: Detections, circles: Float[np.ndarray, "k 3"], near_pix: float = NEAR_PIX
) -> Matches:
    """The catalogued source nearest to the middle of each circle."""
    apart = np.hypot(found.x[None] - circles[:, :1], found.y[None] - circles[:, 1:2])
    apart = np.where(found.catalogued, apart, np.inf)
    distance = apart.min(axis=1, initial=np.inf)
    rows = [int(np.argmin(each)) if each.min(initial=np.inf) <= near_pix else -1 for each in apart]
    others = found.catalogued.copy()
    others[[row for row in rows if row >= 0]] = False
    return Matches(rows, distance, others)


def _of_source(found: Detections, row: int) -> dict[str, float]:
    own = {"x": found.x[row], "y": found.y[row]}
    own |= {f"mag_{band}": mag for band, mag in zip(found.bands, found.mags[row], strict=True)}
    own |= {name: values[row] for name, values in found.columns.items() if values.dtype.kind == "f"}
    return own


def frame_figure(
    frame: Frame, found: Detections, circles: Float[np.ndarray, "k 3"], matches: Matches
) -> "Figure":
    """The first band of a frame with all catalogued sources, and cut-outs about the surest."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    shown = stretched(frame.images[0].data)
    figure = Figure(figsize=(9.6, 6.3), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=(2.0, 1.0))
    left, right = (figure.add_subfigure(halves[0, k]) for k in range(2))
    axes = left.subplots()
    rows, cols = (n - n % _BINNED for n in shown.shape)
    blocks = shown[:rows, :cols].reshape(rows // _BINNED, _BINNED, cols // _BINNED, _BINNED)
    _show(axes, blocks.mean((1, 3)), (-0.5, cols - 0.5, -0.5, rows - 0.5))
    numbered = _order(found, matches)
    for number, row in enumerate(numbered, start=1):
        at = float(found.x[row]), float(found.y[row])
        axes.add_patch(Circle(at, 14, fill=False, color=_FOUND, lw=1.2))
        axes.annotate(
            str(number),
            at,
            # Where most of the frame is.
            (-14 if at[0] > cols / 2 else 14, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            color=_FOUND,
            path_effects=[withStroke(linewidth=2.5, foreground="black")],
        )
    for x, y, radius in circles:
        axes.add_patch(Circle((x, y), radius, fill=False, color=_KNOWN, lw=1.4, ls="--"))
    axes.set(xlabel="x (pixels)", ylabel="y (pixels)")
    grid = right.subplots(_ROWS, _COLUMNS, squeeze=False)
    for axis in grid.flat:
        axis.set_axis_off()
    for number, (axis, row) in enumerate(zip(grid.flat, numbered, strict=False), start=1):
        _cutout(axis, shown, found, row, number, row in matches.source)
    return figure


def stretched(data: Float[np.ndarray, "row col"]) -> Float[np.ndarray, "row col"]:
    """0 for black to 1 for white, by arcsinh of the light above the sky, in its scatter."""
    sky = np.nanmedian(data)
    scatter = 1.4826 * np.nanmedian(np.abs(data - sky))
    low, high = math.asinh(_BLACK), math.asinh(_WHITE)
    light = (np.arcsinh((data - sky) / scatter) - low) / (high - low)
    return np.clip(np.nan_to_num(light), 0.0, 1.0)


def _order(found: Detections, matches: Matches) -> list[int]:
    """Catalogued sources: those of known clusters, then others, the surest first."""
    known = [row for row in matches.source if row >= 0]
    rows = np.flatnonzero(found.catalogued)
    # Peaks stand in the order of their height.
    return known + [int(row) for row in rows if row not in known]


def _show(axes: "Axes", shown: np.ndarray, extent: tuple[float, float, float, float]) -> None:
    shades = np.round(shown * _SHADES) / _SHADES
    look = {"cmap": "gray", "origin": "lower", "vmin": 0, "vmax": 1, "interpolation": "nearest"}
    axes.imshow(shades, extent=extent, **look)


def _cutout(
    axis: "Axes", shown: np.ndarray, found: Detections, row: int, number: int, known: bool
) -> None:
    half = _CUTOUT_PIX // 2
    x, y = round(float(found.x[row])), round(float(found.y[row]))
    rows = slice(max(y - half, 0), y + half)
    cols = slice(max(x - half, 0), x + half)
    part = shown[rows, cols]
    extent = (cols.start, cols.start + part.shape[1], rows.start, rows.start + part.shape[0])
    _show(axis, part, extent)
    axis.set_xlim(x - half, x + half)
    axis.set_ylim(y - half, y + half)
    mag = float(found.mags[row, 0])
    axis.set_title(f"{number}: {mag:.1f} mag", fontsize=8.5, color=_KNOWN if known else _FOUND)
