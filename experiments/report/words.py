"""Numbers, intervals, priors and labels in words and HTML."""

import html
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from starcensus.experiments.report.load import Quantity, Run, finite

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


def escape(value: object) -> str:
    return html.escape(str(value))


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


def interval(low: float, high: float) -> str:
    half = (high - low) / 2
    return f"{number(low, half)} to {number(high, half)}"


def plus_minus(q: Quantity) -> str:
    """Median with the distances to the ends of the 68% interval."""
    low, high = q.interval(68)
    up, down = high - q.median, q.median - low
    scale = (up + down) / 2
    if scale <= 0:
        return number(q.median)
    if number(up, scale) == number(down, scale):
        return f'<span class="nowrap">{number(q.median, scale)} ± {number(up, scale)}</span>'
    return (
        f'<span class="nowrap">{number(q.median, scale)} <span class="pm">'
        f"<sup>+{number(up, scale)}</sup><sub>−{number(down, scale)}</sub></span></span>"
    )


def linear(q: Quantity, divide: float = 1.0) -> str:
    """10^q with its 68% interval, for a parameter in log10."""
    values = 10.0 ** np.array([q.median, *q.interval(68)]) / divide
    scale = float(values[2] - values[1]) / 2
    mid, low, high = (rounded(float(v), scale) for v in values)
    return f"{mid} ({low} to {high})"


def label(quantity: Quantity) -> str:
    return html_label(quantity.label, quantity.name)


def html_label(mathtext: str, fallback: str) -> str:
    """Simple mathtext as HTML; `fallback` where it is not simple."""
    text = escape(mathtext.strip("$")).replace(r"\rm ", "").replace(r"\rm", "")
    text = re.sub(r"\\([a-zA-Z]+)\s*", lambda m: _GREEK.get(m[1], m[0]), text)
    for _ in range(6):
        text = re.sub(r"_([A-Za-z0-9α-ω])", r"<sub>\1</sub>", text)
        text = re.sub(r"(?<![_^])\{([^{}]*)\}", r"\1", text)
        text = re.sub(r"_\{([^{}]*)\}", r"<sub>\1</sub>", text)
    return escape(fallback) if re.search(r"[\\{}_^$]", text) else text


def unit(text: str) -> str:
    text = "" if text == "dimensionless" else escape(text)
    text = text.replace("log10", "log<sub>10</sub>").replace("M_sun", "M<sub>☉</sub>")
    return re.sub(r"\^-(\d)", r"<sup>−\1</sup>", text)


def prior(given: Mapping[str, Any], name: str, fitted: bool = True) -> str:
    """A prior in words."""
    kind = given.get("kind")
    if kind == "uniform":
        return f"flat, {number(given['low'])} to {number(given['high'])}"
    if kind == "normal":
        text = f"normal, {number(given['mean'])} ± {number(given['sd'])}"
        low, high = (finite(given.get(k)) for k in ("low", "high"))
        if low is not None and high is not None:
            return f"{text}, within {number(low)} to {number(high)}"
        if low is not None:
            return f"{text}, above {number(low)}"
        return text if high is None else f"{text}, below {number(high)}"
    if kind == "dirichlet":
        return f"Dirichlet, concentration {number(given.get('concentration', 1.0))}"
    if kind == "fixed" and fitted and name == "log_n":
        return "flat in log N, integrated out"
    if kind == "fixed":
        value = finite(given.get("value"))
        return "fixed" if value is None else f"fixed at {number(value)}"
    return escape(kind or NOTHING)


def share(count: int, total: int) -> str:
    return f"{count} of {total} ({100 * count / max(total, 1):.1f}%)"


def answer(run: Run) -> str:
    """The fit's result as one paragraph of HTML; intervals hold 68% of the posterior."""
    found = {q.name: q for q in run.quantities}
    sentences = []
    if (n := found.pop("log_n", None)) is not None:
        sentences.append(
            f"The surveyed field holds <b>{linear(n)} clusters</b> within the fitted bounds"
            f"{_catalogued(run)}."
        )
    sentences += [_mass(found), _age(found), _disruption(found), _extinction(run)]
    rest = [q for name, q in found.items() if not q.size and name not in _OF_DUST]
    sentences += [f"{label(q)} is {plus_minus(q)} {unit(q.unit)}." for q in rest]
    return " ".join(s for s in sentences if s)


def _catalogued(run: Run) -> str:
    """How much of the population a survey catalogues, as the end of a sentence."""
    width = run.weights["log_mass"]
    seen = (run.detected["log_mass"] * width).sum(axis=1)
    percent = 100 * seen / (run.density["log_mass"] * width).sum(axis=1)
    low, mid, high = (float(x) for x in np.percentile(percent, [16, 50, 84]))
    if low > 99.9:
        return ", all of which such a catalogue is taken to hold"
    scale = max((high - low) / 2, 0.1)
    return (
        f"; a catalogue like this one, of {len(run.theta):,}, holds {number(mid, scale)}% of them "
        f"({number(low, scale)} to {number(high, scale)}%)"
    )


_OF_DUST = ("tilt_av", "sigma_av", "log_av_median", "sigma_log_av", "slope_av")


def _mass(found: dict[str, Quantity]) -> str:
    slope, bend, steep = (found.pop(k, None) for k in ("alpha_m", "log_m_break", "alpha_m_high"))
    text = ""
    born = "At birth, their" if "log_t_mdd" in found else "Their"
    if slope is not None:
        text = (
            f"{born} numbers fall with mass as d<i>N</i>/d<i>M</i> ∝ "
            f"<i>M</i><sup>α<sub>M</sub></sup> with <b>α<sub>M</sub> = {plus_minus(slope)}</b>"
        )
    if bend is not None:
        how = "up to a break at" if steep is not None else "with an exponential cut-off at"
        text += (
            f"{', ' if text else 'Masses are limited, '}{how} <b>{linear(bend)} M<sub>☉</sub></b>"
        )
    if steep is not None:
        text += f", beyond which the slope is <b>{plus_minus(steep)}</b>"
    return text and text + "."


def _age(found: dict[str, Quantity]) -> str:
    slope, onset = found.pop("alpha_t", None), found.pop("log_t_mid", None)
    law = "<i>T</i><sup>α<sub>T</sub></sup>"
    exponent = "" if slope is None else f" with <b>α<sub>T</sub> = {plus_minus(slope)}</b>"
    if onset is not None:
        return (
            f"The number per unit of age is constant until <b>{linear(onset, 1e6)} Myr</b>, then "
            f"falls as {law}{exponent}: disruption that does not depend on mass."
        )
    return f"Their number per unit of age goes as {law}{exponent}." if slope is not None else ""


def _disruption(found: dict[str, Quantity]) -> str:
    power, time = found.pop("gamma_mdd", None), found.pop("log_t_mdd", None)
    if time is None:
        return ""
    text = (
        f"A cluster of 100 M<sub>☉</sub> loses its mass on a timescale of "
        f"<b>{linear(time, 1e6)} Myr</b>"
    )
    if power is not None:
        text += f", which grows with mass to the power γ<sub>MDD</sub> = {plus_minus(power)}"
    return text + "."


def _extinction(run: Run) -> str:
    """The median a_v of the population, from its density."""
    at, width = run.nodes["a_v"], run.weights["a_v"]
    mass = run.density["a_v"] * width
    total = mass.sum(axis=1)
    if not (total > 0).all():
        return ""
    # A cell's mass is complete at its upper border.
    borders = run.edges["a_v"][0] + np.concatenate([[0.0], np.cumsum(width)])
    heap = np.concatenate([np.zeros((len(mass), 1)), np.cumsum(mass, axis=1)], axis=1)
    middles = [np.interp(0.5, h / h[-1], borders) for h in heap]
    low, mid, high = (float(x) for x in np.percentile(middles, [16, 50, 84]))
    scale = max((high - low) / 2, 1e-3 * float(at[-1] - at[0]))
    return (
        f"Half of all clusters, seen or not, lie behind less than {number(mid, scale)} mag of "
        f"extinction ({number(low, scale)} to {number(high, scale)}) in <i>V</i>."
    )
