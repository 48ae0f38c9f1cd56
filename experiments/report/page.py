"""The page: sections, style sheet and figures in one HTML file."""

import importlib.resources
import pathlib

from starcensus.experiments.report.load import Run, load_run
from starcensus.experiments.report.sections import sections
from starcensus.experiments.report.words import escape
from starcensus.files import write_text


def write_report(folder: pathlib.Path) -> pathlib.Path:
    """Write `report.html` into the folder of a finished fit and return its path.

    The page needs nothing beside itself: figures and style are inside. `posterior.nc` and
    `summary.json` must be in the folder; `run.json` and `provenance.json` add to the page.
    Raises `ValueError` naming a file that is missing or cannot be used, and what to do.
    """
    page = html_page(load_run(pathlib.Path(folder)))
    target = pathlib.Path(folder) / "report.html"
    write_text(target, page)
    return target


def html_page(run: Run) -> str:
    """The whole page as text."""
    parts = sections(run)
    title = escape(run.info.get("title") or "A population of star clusters")
    css = importlib.resources.files(__package__ or "").joinpath("report.css").read_text("utf-8")
    links = "".join(f'<a href="#{p.anchor}">{escape(p.short)}</a>' for p in parts)
    body = "".join(
        f'<section id="{p.anchor}"><h2><span class="n">{i}</span>{escape(p.title)}</h2>'
        f"{p.body}</section>\n"
        for i, p in enumerate(parts, start=1)
    )
    n = f"{len(run.theta):,} clusters"
    version = run.provenance.get("version")
    by = f"{n} · starcensus {escape(version)}" if isinstance(version, str) else n
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{title}</title>\n<link rel="icon" href="data:,">\n<style>\n{css}</style></head>\n'
        f'<body><header><h1>{title}</h1><p class="byline">{by}</p>'
        f"<nav>{links}</nav></header>\n<main>\n{body}</main></body></html>\n"
    )
