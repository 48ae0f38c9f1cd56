"""The page: sections, style sheet and figures in one HTML file."""

import contextlib
import functools
import gc
import pathlib
from collections.abc import Iterator
from typing import Any

import jinja2

from starcensus.experiments.report import words
from starcensus.experiments.report.fit.load import Run, load_run
from starcensus.experiments.report.fit.sections import context
from starcensus.files import write_text

# What templates call of `words`.
_WORDS = (
    *("NOTHING", "interval", "label", "linear", "number", "percent", "plus_minus"),
    *("prior", "readable", "share", "unit"),
)


def write_report(folder: pathlib.Path) -> pathlib.Path:
    """Write `report.html` into the folder of a finished fit and return its path.

    The page needs nothing beside itself: figures and style are inside. `posterior.nc` and
    `summary.json` must be in the folder; `run.json` and `provenance.json` add to the page.
    Raises `ValueError` naming a file that is missing or cannot be used, and what to do.
    """
    target = pathlib.Path(folder) / "report.html"
    write_text(target, html_page(load_run(pathlib.Path(folder))))
    return target


def html_page(run: Run) -> str:
    """The whole page as text."""
    with _uncollected():
        return render("page.html", **context(run))


def render(template: str, **context: Any) -> str:
    """A template of this package, filled in."""
    return _environment().get_template(template).render(context)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """No search for garbage: after a fit each takes as long as several figures."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


@functools.cache
def _environment() -> jinja2.Environment:
    """The templates; whatever they show is escaped unless it is `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("starcensus.experiments.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update({name: getattr(words, name) for name in _WORDS}, zip=zip)
    return environment
