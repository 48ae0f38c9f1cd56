"""Commands on images: `simulate galaxy`, `detect`, `inject`."""

import pathlib
from typing import Annotated

import typer

from starcensus.experiments.cli.terminal import Out, counted, stages

Survey = Annotated[
    pathlib.Path, typer.Argument(help="Survey file (TOML): \\[images], \\[psf], \\[pipeline].")
]


def galaxy_command(
    galaxy: Annotated[pathlib.Path, typer.Argument(help="Galaxy file (TOML).")], out: Out
) -> None:
    """Draw a synthetic galaxy in several bands, with clusters of a known population in it."""
    from starcensus.experiments.jobs.galaxy import run_galaxy

    with stages() as show:
        summary = run_galaxy(galaxy, out, show)
    typer.echo(
        f"{out}: {summary['n_rows']} x {summary['n_columns']} pixels, {summary['n_clusters']} "
        f"clusters, {summary['n_field_stars']} field stars, {summary['wall_s']:.1f} s"
    )


def detect_command(
    survey: Survey,
    out: Out,
    truth: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Synthetic galaxy (folder) whose images these are: also writes known.ecsv, its "
            "own clusters of the catalogue, for a fit."
        ),
    ] = None,
    sigma: Annotated[
        str, typer.Option(help="With --truth: errors of log mass, log age and A_V.")
    ] = "0.1,0.1,0.1",
    seed: Annotated[int, typer.Option(help="With --truth: of the errors.")] = 0,
) -> None:
    """Run a survey's pipeline over images: a catalogue with a flag for every cut."""
    from starcensus.experiments.jobs.detect import run_detect
    from starcensus.experiments.jobs.known import Known
    from starcensus.experiments.schema.fit import ConfigError

    known = None
    if truth is not None:
        try:
            mass, age, a_v = (float(word) for word in sigma.split(","))
        except ValueError:
            raise ConfigError(f"--sigma is {sigma!r}; expected three numbers") from None
        known = Known(truth, (mass, age, a_v), seed)
    with stages() as show:
        summary = run_detect(survey, out, show, known)
    for name, value in summary.items():
        if name.startswith("n_after."):
            typer.echo(f"  {name.removeprefix('n_after.'):16s} {value}")
    typer.echo(f"{out / 'catalogue.ecsv'}: {summary['n_catalogued']} catalogued")
    if known is not None:
        typer.echo(
            f"{out / 'known.ecsv'}: {summary['n_known_catalogued']} of the galaxy's clusters"
        )


def inject_command(
    survey: Annotated[
        pathlib.Path,
        typer.Argument(help="Survey file (TOML) that also has \\[library] and \\[plan]."),
    ],
    out: Annotated[pathlib.Path, typer.Option("--out", help="Injection table to write (.h5).")],
    workers: Annotated[int, typer.Option(help="Processes on this machine.")] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler to run on, instead of --workers."),
    ] = None,
    shard_frames: Annotated[
        int, typer.Option(help="Frames done and written at a time; the result is the same.")
    ] = 5,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write the table as Parquet too, beside OUT.")
    ] = False,
) -> None:
    """Artificial cluster tests; the same command continues an interrupted run."""
    from starcensus.experiments.jobs.inject import run_inject
    from starcensus.shards import Work

    with counted("frames") as show:
        summary = run_inject(
            survey,
            out,
            work=Work(workers, scheduler, shard_frames),
            parquet=parquet,
            progress=show,
        )
    before = summary["n_frames_done_before"]
    typer.echo(
        f"{out}: {summary['n_injected']} clusters in {summary['n_frames']} frames"
        + (f", {before} of them done before" if before else "")
        + f"; {summary['n_detected']} detected, {summary['n_catalogued']} catalogued, "
        f"{summary['wall_s']:.1f} s"
    )
