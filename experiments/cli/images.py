"""Commands on images: `simulate galaxy`, `detect`, `inject`."""

import pathlib
from typing import Annotated

import typer

from starcensus.experiments.cli.terminal import (
    AllowOwn,
    Data,
    Out,
    OutFile,
    Scheduler,
    ShardSize,
    Workers,
    perform,
)

Survey = Annotated[
    pathlib.Path, typer.Argument(help="Survey file (TOML): \\[images], \\[psf], \\[pipeline].")
]


def galaxy_command(
    galaxy: Annotated[pathlib.Path, typer.Argument(help="Galaxy file (TOML).")],
    out: Out,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Draw a synthetic galaxy in several bands, with clusters of a known population in it."""
    perform(galaxy, out, data, allow_own, expected=("galaxy",))


def detect_command(
    survey: Survey,
    out: Out,
    truth: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="Synthetic galaxy (folder) whose images these are, instead of the file's "
            "\\[known]: also writes known.ecsv, its own clusters of the catalogue, for a fit."
        ),
    ] = None,
    sigma: Annotated[
        str, typer.Option(help="With --truth: errors of log mass, log age and A_V.")
    ] = "0.1,0.1,0.1",
    seed: Annotated[int | None, typer.Option(help="Instead of the file's seed.")] = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Run a survey's pipeline over images: a catalogue with a flag for every cut."""
    from starcensus.experiments.jobs.survey import DetectJob
    from starcensus.experiments.schema._base import ConfigError

    change: dict[str, object] = {} if seed is None else {"seed": seed}
    if truth is not None:
        try:
            errors = tuple(float(word) for word in sigma.split(","))
        except ValueError:
            errors = ()
        if len(errors) != 3:
            raise ConfigError(f"--sigma is {sigma!r}; expected three numbers")
        change["known"] = {"galaxy": str(truth.resolve()), "sigma": errors}
    perform(
        survey, out, data, allow_own, expected=("survey",), make=DetectJob, change=change or None
    )


def inject_command(
    survey: Annotated[
        pathlib.Path,
        typer.Argument(help="Survey file (TOML) that also has \\[library] and \\[plan]."),
    ],
    out: OutFile,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    shard_frames: ShardSize = None,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="Write the table as Parquet too, beside OUT.")
    ] = False,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Artificial cluster tests; the same command continues an interrupted run."""
    from starcensus.experiments.jobs.survey import InjectJob
    from starcensus.shards import Work

    work = Work(workers, scheduler, shard_frames)
    how = {"expected": ("survey",), "make": InjectJob, "work": work, "parquet": parquet}
    perform(survey, out, data, allow_own, **how)
