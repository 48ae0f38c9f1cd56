"""Numbers, intervals, priors and labels in words; what is HTML is `Markup`, with its parts escaped.

Shares and probabilities of clusters are percentages, p-values are numbers.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from markupsafe import Markup, escape

from starcensus.experiments.report.fit.load import Quantity
from starcensus.forward import prior_words

NOTHING = "–"
_GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "sigma": "σ",
    "eta": "η",
    "mu": "μ",
    "log": "log ",
}


def number(value: float | int | None, scale: float | None = None) -> str:
    """A number with the digits that an uncertainty of `scale` warrants: two of its own."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if scale is None or not math.isfinite(scale) or scale <= 0:
        text = f"{value:.4g}"
    else:
        digits = min(max(1 - math.floor(math.log10(scale)), 0), 6)
        text = f"{value:,.{digits}f}"
    return re.sub(r"^-(?=[\d.])", "−", text).replace("e-", "e−").replace("e+", "e")


def rounded(value: float, scale: float) -> str:
    """Like `number`, also rounding in front of the decimal point: 98765 ± 2345 is 98,800."""
    if not scale > 0:
        return number(value)
    power = math.floor(math.log10(scale)) - 1
    return number(round(value, -power), scale)


def percent(value: float) -> Markup:
    """A share as percentage: 0.0472 is 4.72%, 1e-10 a power of ten."""
    if 0 < value < 1e-6:
        return Markup("10<sup>−{}</sup>%").format(-round(math.log10(100 * value)))
    return escape(f"{number(float(f'{100 * value:.3g}'))}%")


def interval(low: float, high: float, scale: float | None = None) -> str:
    """Two numbers, by default with the digits that half their distance warrants."""
    scale = (high - low) / 2 if scale is None else scale
    return f"{number(low, scale)} to {number(high, scale)}"


def plus_minus(q: Quantity) -> Markup:
    """Median with the distances to the ends of the 68% interval."""
    low, high = q.interval(68)
    up, down = high - q.median, q.median - low
    scale = (up + down) / 2
    if scale <= 0:
        return escape(number(q.median))
    middle, above, below = (number(x, scale) for x in (q.median, up, down))
    if above == below:
        return Markup('<span class="nowrap">{} ± {}</span>').format(middle, above)
    return Markup(
        '<span class="nowrap">{} <span class="pm"><sup>+{}</sup><sub>−{}</sub></span></span>'
    ).format(middle, above, below)


def linear(q: Quantity, divide: float = 1.0) -> str:
    """10^q with its 68% interval, for a parameter in log10."""
    values = 10.0 ** np.array([q.median, *q.interval(68)]) / divide
    scale = float(values[2] - values[1]) / 2
    mid, low, high = (rounded(float(v), scale) for v in values)
    return f"{mid} ({low} to {high})"


def label(mathtext: str, fallback: str) -> Markup:
    """Simple mathtext as HTML; `fallback` where it is not simple."""
    text = str(escape(mathtext.strip("$"))).replace(r"\rm ", "").replace(r"\rm", "")
    text = re.sub(r"\\([a-zA-Z]+)\s*", lambda m: _GREEK.get(m[1], m[0]), text)
    for _ in range(6):
        text = re.sub(r"_([A-Za-z0-9α-ω])", r"<sub>\1</sub>", text)
        text = re.sub(r"(?<![_^])\{([^{}]*)\}", r"\1", text)
        text = re.sub(r"_\{([^{}]*)\}", r"<sub>\1</sub>", text)
    return escape(fallback) if re.search(r"[\\{}_^$]", text) else Markup(text)


def unit(text: str) -> Markup:
    """A unit as HTML: `log10 M_sun`, `yr^-1`."""
    words = "" if text == "dimensionless" else str(escape(text))
    words = words.replace("log10", "log<sub>10</sub>").replace("M_sun", "M<sub>☉</sub>")
    return Markup(re.sub(r"\^-(\d)", r"<sup>−\1</sup>", words))


def prior(given: Mapping[str, Any], name: str, fitted: bool = True) -> str:
    """A prior in words."""
    if given.get("kind") == "fixed" and fitted and name == "log_n":
        return "flat in log N, integrated out"
    return prior_words(given) or NOTHING


def share(count: int, total: int) -> str:
    """A count and its share: 3 of 12 (25.0%)."""
    return f"{count:,} of {total:,} ({100 * count / max(total, 1):.1f}%)"


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def plain(key: object) -> str:
    """A key of a JSON file in words; names of files stay as they are."""
    return str(key) if "." in str(key) else str(key).replace("_", " ")


def readable(value: object) -> str:
    """A value of a JSON file in words."""
    if isinstance(value, list | tuple):
        return ", ".join(readable(v) for v in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{plain(k)}: {readable(v)}" for k, v in value.items())
    if isinstance(value, float):
        return number(value)
    return NOTHING if value is None else str(value)
