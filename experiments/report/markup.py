"""Pieces of HTML that sections share."""

from collections.abc import Mapping
from typing import Any

from starcensus.experiments.report import words
from starcensus.experiments.report.style import Plot
from starcensus.experiments.report.words import escape


def figure(plot: Plot) -> str:
    """A figure with its caption; the drawing is one image to a screen reader."""
    return (
        f'<figure id="figure-{plot.name}">'
        f'<div role="img" aria-label="{escape(plot.alt)}">{plot.svg}</div>'
        f"<figcaption>{plot.caption}</figcaption></figure>"
    )


def table(head: list[str], rows: list[str], caption: str = "", kind: str = "") -> str:
    """A table of ready-made cells that scrolls by itself where the page is narrow."""
    top = f"<caption>{caption}</caption>" if caption else ""
    cells = "".join(f"<th>{h}</th>" for h in head)
    return (
        f'<div class="wide"><table class="{kind}">{top}<thead><tr>{cells}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def mapping(value: object) -> Mapping[str, Any]:
    """A JSON object, or an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}


def plain(key: str) -> str:
    """A key of a JSON file in words; names of files stay as they are."""
    return str(key) if "." in str(key) else str(key).replace("_", " ")


def readable(value: object) -> str:
    """A value of a JSON file as HTML."""
    if isinstance(value, list | tuple):
        return ", ".join(readable(v) for v in value)
    if isinstance(value, float):
        return words.number(value)
    return words.NOTHING if value is None else escape(value)
