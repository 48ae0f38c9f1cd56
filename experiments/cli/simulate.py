"""Commands `starcensus simulate …`: stars, clusters, galaxies."""

import pathlib
from typing import Annotated

import typer

from starcensus.experiments.cli.process import Commands
from starcensus.experiments.cli.terminal import (
    AllowOwn,
    Data,
    Out,
    OutFile,
    Scheduler,
    ShardSize,
    Workers,
    given,
    perform,
)

simulate_app = Commands(help="Simulate: stellar grids and libraries of stochastic clusters.")


@simulate_app.callback()
def _simulate() -> None:
    """Simulate: stellar grids and libraries of stochastic clusters."""


@simulate_app.command("library")
def library_command(
    library: Annotated[pathlib.Path, typer.Argument(help="Library file (TOML).")],
    out: OutFile,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    engine: Annotated[
        str | None, typer.Option(help="starcensus, or slug (SLUG v3), instead of the file's.")
    ] = None,
    slug_data: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Folder that holds SLUG v3's data/, for --engine slug [default: $SLUG_DIR or "
            "where SLUG keeps them]."
        ),
    ] = None,
    shard_rows: ShardSize = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Draw a library of stochastic clusters; the same command continues an interrupted one."""
    from starcensus.shards import Work

    work = Work(workers, scheduler, shard_rows)
    how = {"work": work, "change": given(engine=engine), **given(slug_data=slug_data)}
    perform(library, out, data, allow_own, expected=("library",), **how)


@simulate_app.command("stamps")
def stamps_command(
    stamps: Annotated[pathlib.Path, typer.Argument(help="Stamps file (TOML).")],
    out: OutFile,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    shard_size: ShardSize = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Draw a bank of mock clusters in stamps; the same command continues an interrupted one."""
    from starcensus.shards import Work

    work = Work(workers, scheduler, shard_size)
    perform(stamps, out, data, allow_own, expected=("stamps",), work=work)


@simulate_app.command("grid")
def grid_command(
    grid: Annotated[pathlib.Path, typer.Argument(help="Grid file (TOML).")],
    out: Out,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Build a stellar grid: magnitudes of stars of all masses and ages behind any extinction."""
    perform(grid, out, data, allow_own, expected=("grid",))


@simulate_app.command("ssp")
def ssp_command(
    references: Annotated[
        pathlib.Path, typer.Argument(help="Folder with BC03's npz and Yggdrasil's table.")
    ],
    curves: Annotated[pathlib.Path, typer.Option(help="Folder with the curves of the bands.")],
    grid: Annotated[
        pathlib.Path | None, typer.Option(help="Stellar grid [default: the one carried].")
    ] = None,
    figure: Annotated[pathlib.Path | None, typer.Option(help="PNG to draw.")] = None,
) -> None:
    """Integrated light of a stellar grid, minus that of BC03 and of Yggdrasil, at A_V = 0, mag."""
    import numpy as np
    from benchmarks.ssp import BANDS, GOALS, compare_files, plot

    from starcensus.simulate.stars import StellarGrid, default_filters

    stars = StellarGrid.default() if grid is None else StellarGrid.load(grid)
    filters = {f.name: f for f in default_filters(curves)}
    stars = stars.select(tuple(name for name in stars.bands if name in filters))
    chosen = tuple(filters[name] for name in stars.bands)
    ages = np.array(list(GOALS))
    found = compare_files(stars, chosen, references, ages)
    heads = " ".join(f"{name.split('_')[-1]:>7s}" for name in BANDS)
    typer.echo(f"log age  goal   minus BC03: {heads}   minus Yggdrasil (F435W for F438W): {heads}")
    for i, age in enumerate(ages):
        rows = (
            " ".join(f"{value:+7.3f}" for value in row[i]) for row in (found.bc03, found.yggdrasil)
        )
        middle = " " * 38
        typer.echo(f"{age:7.2f}  {GOALS[age]:4.2f}               {middle.join(rows)}")
    if figure is not None:
        every = stars.log_age[stars.log_age <= 10.0]
        plot(compare_files(stars, chosen, references, every), figure)
        typer.echo(f"wrote {figure}")


@simulate_app.command("figures")
def figures_command(
    out: Annotated[pathlib.Path, typer.Option("--out", help="Folder for the PNG files.")],
    seed: Annotated[int, typer.Option(help="Seed of the clusters.", min=0)] = 1,
    draws: Annotated[
        int, typer.Option(help="Clusters per mass and age in the figure of scatter.", min=2)
    ] = 400,
) -> None:
    """Draw the figures of stochastic and resolved clusters that the documentation shows."""
    from starcensus.experiments.report.clusters import draw_figures

    for path in draw_figures(out, seed, draws):
        typer.echo(str(path))
