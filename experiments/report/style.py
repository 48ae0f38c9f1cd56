"""How figures look, and how they become inline SVG."""

import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe & Ito (2008), told apart under every common form of colour blindness.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
INK, GREY, LIGHT = "#1d2329", "#6b7480", "#c9cfd6"
OTHERS = (ORANGE, GREEN, PURPLE, "#E69F00", "#56B4E9") * 4
CHAINS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#6b7480", "#F0E442")

AXIS_LABELS = {
    "log_mass": r"$\log_{10}(M\,/\,{\rm M}_\odot)$",
    "log_age": r"$\log_{10}(T\,/\,{\rm yr})$",
    "a_v": r"$A_V$ (mag)",
}
PER_UNIT = {"log_mass": "per dex", "log_age": "per dex", "a_v": "per mag"}

FULL_WIDTH = 10.4  # inches, as wide as the page

_RC: dict[Any, Any] = {
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
    "figure.constrained_layout.h_pad": 0.08,
    "svg.fonttype": "path",
    "path.simplify": True,
}


@dataclasses.dataclass(frozen=True)
class Plot:
    """A figure of the page. `alt` is read out where it cannot be seen; `caption` is HTML."""

    name: str
    svg: str
    alt: str
    caption: str


def draw(
    name: str,
    size: tuple[float, float],
    paint: Callable[[Figure], None],
    alt: str,
    caption: str,
) -> Plot:
    """Call `paint` on an empty figure of `size` (inches) and keep the result as SVG.

    Matplotlib's settings are put back afterwards, and those of the user play no part.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for key, value in _RC.items():
            matplotlib.rcParams[key] = value
        matplotlib.rcParams["svg.hashsalt"] = name
        figure = Figure(figsize=size, layout="constrained")
        paint(figure)
        buffer = io.StringIO()
        no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", dpi=160, metadata=no_metadata)
    return Plot(name, _inline(buffer.getvalue(), name, size[0]), alt, caption)


def _inline(svg: str, name: str, width: float) -> str:
    """An SVG file as an element of an HTML page, whose ids clash with no other figure's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", svg)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(href=")#', rf"\1#{name}-", svg)
    svg = svg.replace("url(#", f"url(#{name}-")
    # Text keeps one size on the page whatever the width of the figure.
    share = min(100.0, 100 * width / FULL_WIDTH)
    attributes = f'aria-hidden="true" focusable="false" style="max-width: {share:.1f}%" '
    return svg.replace("<svg ", f"<svg {attributes}", 1).strip()


def few_ticks(axes: Axes, x: int = 5, y: int = 5) -> None:
    """At most so many intervals between round tick marks on linear axes."""
    axes.xaxis.set_major_locator(MaxNLocator(x, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(y, steps=[1, 2, 2.5, 5, 10]))
