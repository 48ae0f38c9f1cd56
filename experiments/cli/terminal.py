"""Options that commands share, and what they show while they work."""

import contextlib
import pathlib
import sys
from collections.abc import Callable, Iterator
from typing import Annotated

import typer

Out = Annotated[pathlib.Path, typer.Option("--out", help="Folder for the results; made if absent.")]


@contextlib.contextmanager
def stages() -> Iterator:
    """A function that shows the current stage; a spinner on a terminal, silence elsewhere."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda text: bar.update(task, description=text)


@contextlib.contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how many of all are done; a bar on a terminal, else silence."""
    if not sys.stderr.isatty():
        yield lambda done, n: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, n: bar.update(task, completed=done, total=n)
