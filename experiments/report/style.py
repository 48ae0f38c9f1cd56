"""How every figure looks, and how it becomes inline SVG or a PNG file."""

import dataclasses
import functools
import io
import pathlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cbook import is_math_text
from matplotlib.figure import Figure
from matplotlib.mathtext import MathTextParser
from matplotlib.ticker import MaxNLocator, NullFormatter

from starcensus.bands import BANDS, filter_of
from starcensus.files import replacing

# Okabe & Ito (2008), told apart under every common form of colour blindness.
BLUE, SKY, GREEN, YELLOW = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
ORANGE, PURPLE, LEMON = "#D55E00", "#CC79A7", "#F0E442"
INK, GREY, LIGHT = "#1d2329", "#6b7480", "#c9cfd6"
# A sequence from blue to red, for what has an order.
PALETTE = (BLUE, SKY, GREEN, YELLOW, ORANGE, PURPLE)
OTHERS = (ORANGE, GREEN, PURPLE, YELLOW, SKY) * 4
CHAINS = (BLUE, YELLOW, GREEN, PURPLE, SKY, ORANGE, GREY, LEMON)

AXIS_LABELS = {
    "log_mass": r"$\log_{10}(M\,/\,{\rm M}_\odot)$",
    "log_age": r"$\log_{10}(T\,/\,{\rm yr})$",
    "a_v": r"$A_V$ (mag)",
}

FULL_WIDTH = 10.4  # inches, as wide as the page
_PNG_DPI = 110

_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.labelsize": 11.0,
    "axes.titlesize": 11.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 9.5,
    "ytick.labelsize": 9.5,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "lines.linewidth": 1.6,
    "svg.fonttype": "path",
    "path.simplify": True,
}


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure of a page. `alt` is read out where it cannot be seen."""

    name: str
    svg: str
    alt: str


@contextmanager
def styled(more: Mapping[Any, Any] = MappingProxyType({})) -> Iterator[None]:
    """Matplotlib with the style of this package, whatever the user's; theirs is put back."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        matplotlib.rcParams.update(more)
        yield


def draw(name: str, size: tuple[float, float], paint: Callable[[Figure], None], alt: str) -> Plot:
    """Call `paint` on an empty figure of `size` (inches) and keep the result as SVG.

    `paint` says where its axes stand (`panels`): a layout engine would take as long as the rest.
    """
    name = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    with styled({"svg.hashsalt": name}):
        figure = Figure(figsize=size)
        paint(figure)
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", dpi=160, metadata=no_metadata)
    return Plot(name, _inline(buffer.getvalue(), name, size[0]), alt)


def save_figure(path: pathlib.Path, make: Callable[[], Figure]) -> pathlib.Path:
    """Write the figure that `make` returns, made in the style of this package, as PNG."""
    with styled(), replacing(path) as temporary:
        make().savefig(temporary, dpi=_PNG_DPI, metadata={"Software": None}, format="png")
    return path


def _inline(svg: str, name: str, width: float) -> str:
    """An SVG file as an element of an HTML page, whose ids clash with no other figure's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href=")#', rf"\1#{name}-", svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    # A hundredth of a point is more than a page shows.
    svg = re.sub(r'\bd="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    # Text keeps one size on the page whatever the width of the figure.
    share = min(100.0, 100 * width / FULL_WIDTH)
    attributes = f'aria-hidden="true" focusable="false" style="max-width: {share:.1f}%" '
    return svg.replace("<svg ", f"<svg {attributes}", 1).strip()


def panels(
    figure: Figure,
    rows: int = 1,
    columns: int = 1,
    *,
    left: float = 0.8,
    right: float = 0.15,
    bottom: float = 0.6,
    top: float = 0.35,
    across: float = 0.8,
    down: float = 0.75,
    widths: Sequence[float] | None = None,
    heights: Sequence[float] | None = None,
    **options: Any,
) -> np.ndarray:
    """Axes `(row, column)` of a figure with its margins and gaps in inches."""
    width, height = figure.get_size_inches()
    wide = (width - left - right - across * (columns - 1)) / columns
    high = (height - bottom - top - down * (rows - 1)) / rows
    room = {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
        "wspace": across / wide,
        "hspace": down / high,
    }
    return figure.subplots(
        rows,
        columns,
        squeeze=False,
        width_ratios=widths,
        height_ratios=heights,
        gridspec_kw=room,
        **options,
    )


def few_ticks(axes: Axes, x: int = 5, y: int = 5) -> None:
    """At most so many intervals between round tick marks on linear axes."""
    axes.xaxis.set_major_locator(MaxNLocator(x, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(y, steps=[1, 2, 2.5, 5, 10]))


def logarithmic(axes: Axes) -> None:
    """A logarithmic vertical axis that names its decades alone."""
    axes.set_yscale("log")
    axes.yaxis.set_minor_formatter(NullFormatter())


@functools.cache
def text(label: str) -> str:
    """A label that Matplotlib can draw: as it is, or as plain letters where it is no mathtext."""
    if not is_math_text(label):
        return label
    try:
        MathTextParser("path").parse(label)
    except ValueError:
        return label.replace("$", r"\$")
    return label


def band_colour(band: str) -> str:
    """The colour of a band in figures; grey for one that is not known."""
    return BANDS[band].colour if band in BANDS else "0.4"


def band_label(band: str) -> str:
    """The name of a band in figures."""
    return BANDS[band].label if band in BANDS else filter_of(band)
