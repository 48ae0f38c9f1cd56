"""Options that commands share, and what they show while they work."""

import contextlib
import pathlib
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from starcensus.experiments.jobs._job import Job, Show

Out = Annotated[pathlib.Path, typer.Option("--out", help="Folder for the results; made if absent.")]
OutFile = Annotated[pathlib.Path, typer.Option("--out", help="File to write (.h5).")]
Data = Annotated[
    list[pathlib.Path] | None,
    typer.Option(
        "--data",
        help="Folder where files are looked for that are not beside FILE, with its sub-folders; "
        "may be repeated.",
    ),
]
AllowOwn = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-own",
        help="Python file, or module, of yours to import: FILE may then name what it registers; "
        "may be repeated.",
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="KEY=VALUE in place of the file's, with dots between tables and TOML values: "
        "sampler.n_samples=1000; may be repeated.",
    ),
]
Accept = Annotated[
    str | None,
    typer.Option(
        help="In what the operator's survey may differ, names by commas as the refusal says them; "
        "the report says what differs."
    ),
]
Workers = Annotated[int, typer.Option(help="Processes on this machine.")]
Scheduler = Annotated[
    str | None,
    typer.Option(help="Address of a Dask scheduler to run on, instead of --workers."),
]
ShardSize = Annotated[
    int | None,
    typer.Option(help="Units done and written at a time; the result is the same."),
]


def perform(
    file: pathlib.Path,
    out: pathlib.Path,
    data: list[pathlib.Path] | None = None,
    allow_own: list[str] | None = None,
    **how: Any,
) -> None:
    """Do what a file asks for, and say what came out.

    **Arguments:**

    - `how`: as `open_job` takes it.
    """
    from starcensus.experiments.jobs._job import open_job

    own = _import_own(allow_own)
    _show(open_job(file, out, tuple(data or ()), own=own, **how))


def perform_tables(
    kind: str,
    tables: Mapping[str, Any],
    out: pathlib.Path,
    source: str,
    allow_own: list[str] | None = None,
    data: list[pathlib.Path] | None = None,
    settings: list[str] | None = None,
    **how: Any,
) -> None:
    """Do what options ask for that stand for a file of a kind; `how` as `job_from` takes it."""
    from starcensus.experiments.jobs._job import job_from

    own = _import_own(allow_own)
    given = tuple(settings or ())
    _show(job_from(kind, tables, out, source, tuple(data or ()), settings=given, own=own, **how))


def given(**options: Any) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


def _import_own(allow_own: list[str] | None) -> tuple[Any, ...]:
    from starcensus.experiments.jobs._own import import_own

    return import_own(allow_own or ())


def _show(job: "Job[Any]") -> None:
    from starcensus.experiments.cli.words import words

    with showing() as show:
        summary = job.perform(show)
    for line in words(job, summary):
        typer.echo(line)


@contextlib.contextmanager
def showing() -> "Iterator[Show]":
    """What shows stages and counts on a terminal, and nothing of them elsewhere."""
    from starcensus.experiments.jobs._job import Show

    if not sys.stderr.isatty():
        yield Show(say=typer.echo)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def count(done: int, n: int) -> None:
            bar.update(task, completed=done, total=n, description=f"{done:,} of {n:,}")

        yield Show(lambda text: bar.update(task, description=text, total=None), count, typer.echo)


@contextlib.contextmanager
def stages() -> "Iterator[Any]":
    """A function that shows the current stage."""
    with showing() as show:
        yield show.stage
