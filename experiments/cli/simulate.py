"""Commands `starcensus simulate …`: stars, clusters, galaxies."""

import pathlib
from typing import Annotated

import typer

from starcensus.experiments.cli.process import Commands
from starcensus.experiments.cli.terminal import counted, stages

simulate_app = Commands(help="Simulate: stellar grids and libraries of stochastic clusters.")


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
    from starcensus.experiments.jobs.library import run_library_file
    from starcensus.shards import Work

    work = Work(workers, scheduler, shard_rows)
    with counted("clusters") as show:
        summary = run_library_file(design, out, work, engine, slug_data, show)
    before = summary["n_drawn_before"]
    typer.echo(
        f"{out}: {summary['n_clusters']} clusters"
        + (f", {before} of them drawn before" if before else "")
        + f", {float(str(summary['wall_s'])):.1f} s"
    )


@simulate_app.command("grid")
def grid_command(
    out: Annotated[
        pathlib.Path, typer.Option("--out", help="Folder for grid.h5, summary and provenance.")
    ],
    isochrones: Annotated[
        pathlib.Path,
        typer.Option(help="Isochrone file; with --format slug the folder that SLUG_DIR names."),
    ],
    ck04: Annotated[pathlib.Path, typer.Option(help="Folder of the Castelli-Kurucz atlas.")],
    hot: Annotated[
        pathlib.Path | None, typer.Option(help="Folder of FSPS's SPECTRA/Hot_spectra.")
    ] = None,
    curves: Annotated[
        pathlib.Path | None, typer.Option(help="Folder with the curves of the nine default bands.")
    ] = None,
    band: Annotated[
        list[str] | None,
        typer.Option("--filter", help="A band from a curve, NAME=PATH; may be repeated."),
    ] = None,
    vega: Annotated[
        pathlib.Path | None, typer.Option(help="Spectrum of Vega (FITS), magnitude 0.")
    ] = None,
    zeropoints: Annotated[
        pathlib.Path | None,
        typer.Option(help="Text table of AB minus Vega per band, instead of --vega, mag."),
    ] = None,
    format: Annotated[str, typer.Option(help="Of the isochrones: fsps, cmd, mist, slug.")] = "fsps",
    ages: Annotated[
        str,
        typer.Option(
            help="log10 yr, lowest and highest; with --format slug the ages, comma-separated."
        ),
    ] = "6.0,10.1",
    z: Annotated[
        float | None, typer.Option(help="Metal mass fraction, where the file does not say.")
    ] = None,
    metallicity: Annotated[
        float | None, typer.Option(help="[M/H] of the cool atmospheres \\[default: from z].")
    ] = None,
    curve: Annotated[str, typer.Option(help="Extinction: F99, CCM89, Calzetti00.")] = "F99",
    wolf_rayet: Annotated[
        bool, typer.Option(help="Use the Wolf-Rayet and post-AGB spectra.")
    ] = True,
    black_body_above: Annotated[
        float, typer.Option(help="K, above which other stars are black bodies.")
    ] = float("inf"),
) -> None:
    """Build a stellar grid: magnitudes of stars of all masses and ages behind any extinction."""
    from starcensus.experiments.jobs.grid import GridFiles, run_grid

    try:
        numbers = tuple(float(word) for word in ages.split(","))
    except ValueError:
        raise ValueError(f"--ages {ages}: expected numbers separated by commas") from None
    files = GridFiles(
        isochrones=isochrones,
        ck04=ck04,
        hot=hot,
        curves=curves,
        filters=tuple(band or ()),
        vega=vega,
        zeropoints=zeropoints,
        format=format,
        ages=numbers,
        z=z,
        metallicity=metallicity,
        curve=curve,
        wolf_rayet=wolf_rayet,
        black_body_above=black_body_above,
    )
    with stages() as show:
        summary = run_grid(files, out, show)
    for name, value in summary.items():
        typer.echo(f"  {name:56s} {value:.6g}")
    typer.echo(f"wrote {out / 'grid.h5'}")


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
