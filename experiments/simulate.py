"""Commands `starcensus simulate …`: stars, clusters, galaxies."""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

simulate_app = typer.Typer(help="Simulate: stellar grids and libraries of stochastic clusters.")


@simulate_app.callback()
def _simulate() -> None:
    """Simulate: stellar grids and libraries of stochastic clusters."""


@simulate_app.command("library")
def library_command(
    design: Annotated[pathlib.Path, typer.Argument(help="Design file (TOML).")],
    out: Annotated[pathlib.Path, typer.Option("--out", help="Library file to write (.h5).")],
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler to draw on, instead of --workers."),
    ] = None,
    engine: Annotated[str, typer.Option(help="starcensus, or slug (SLUG v3).")] = "starcensus",
    slug_data: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Folder that holds SLUG v3's data/, for --engine slug [default: $SLUG_DIR or "
            "where SLUG keeps them]."
        ),
    ] = None,
    shard_rows: Annotated[
        int, typer.Option(help="Clusters drawn and written at a time; the result is the same.")
    ] = 20_000,
) -> None:
    """Draw a library of stochastic clusters; the same command continues an interrupted one."""
    from starcensus.experiments.library import run_library_file
    from starcensus.simulate.run import RunSettings

    settings = RunSettings(workers=workers, scheduler=scheduler, shard_rows=shard_rows)
    with _rows() as show:
        summary = run_library_file(design, out, settings, engine, slug_data, show)
    before = summary["n_drawn_before"]
    typer.echo(
        f"{out}: {summary['n_clusters']} clusters"
        + (f", {before} of them drawn before" if before else "")
        + f", {float(str(summary['wall_s'])):.1f} s"
    )


@contextlib.contextmanager
def _rows() -> Iterator[Callable[[int, int], None]]:
    """A function that shows how many rows of all are done; a bar on a terminal, else silence."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda done, n: None
        return
    with Progress(
        TextColumn("clusters"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as bar:
        task = bar.add_task("clusters", total=None)
        yield lambda done, n: bar.update(task, completed=done, total=n)
