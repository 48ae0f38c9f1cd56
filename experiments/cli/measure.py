"""The command `measure`: mass, age and extinction of each cluster, without a file."""

import pathlib
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from starcensus.experiments.cli.fit import (
    Bands,
    ColumnMap,
    Columns,
    Cuts,
    Kept,
    Modulus,
    Seed,
    cuts_of_options,
    floats,
    listed,
    numbers,
)
from starcensus.experiments.cli.terminal import (
    AllowOwn,
    Data,
    Out,
    Scheduler,
    Set,
    Workers,
    given,
    perform_tables,
)

File = Annotated[pathlib.Path, typer.Argument(help="Catalogue file with magnitudes.")]
Format = Annotated[
    str, typer.Option(help="Format of the catalogue; `starcensus schema measure` lists them.")
]
Use = Annotated[str | None, typer.Option(help="Bands that are the data, by commas [default: all].")]
Unknown = Annotated[
    str,
    typer.Option(
        help="What a band without a measurement is where the catalogue does not say: refuse, "
        "'not observed', 'not detected'."
    ),
]
MinBands = Annotated[int, typer.Option(help="Leave out clusters measured in fewer bands.")]
Observation = Annotated[
    pathlib.Path | None,
    typer.Option(
        help="Observation model of the survey (.h5), learned from artificial clusters [default: "
        "Gaussian errors]."
    ),
]
Floor = Annotated[
    float | None, typer.Option(help="Error of each band on top of the quoted one, mag.")
]
MeasuredCuts = Annotated[
    str | None, typer.Option(help="What the catalogue demands of measured magnitudes: legus.")
]
Library = Annotated[
    pathlib.Path | None,
    typer.Option(help="Cluster library (.h5) [default: clusters are drawn to order]."),
]
Limits = Annotated[str, typer.Option(help="Where clusters may be: low,high.")]
Prior = Annotated[
    pathlib.Path | None,
    typer.Option(help="Folder of a finished fit, whose population is the prior."),
]
Slope = Annotated[float | None, typer.Option(help="dN/dM ~ M^slope of the prior [default: -2].")]
AgeSlope = Annotated[
    float | None, typer.Option(help="dN/dT ~ T^slope of the prior [default: -0.5].")
]
Draws = Annotated[int, typer.Option(help="Draws from each posterior, into draws.h5.")]


def measure_command(
    catalogue: File,
    out: Out,
    format: Format = "starcensus",
    column_map: ColumnMap = None,
    columns: Columns = None,
    bands: Bands = None,
    distance_modulus: Modulus = None,
    cuts: Cuts = "",
    classes: Kept = None,
    use: Use = None,
    unknown: Unknown = "refuse",
    min_bands: MinBands = 1,
    observation: Observation = None,
    floor: Floor = None,
    measured_cuts: MeasuredCuts = None,
    library: Library = None,
    log_mass: Limits = "2,6.5",
    log_age: Limits = "6,10.1",
    a_v: Limits = "0,2",
    prior: Prior = None,
    mass_slope: Slope = None,
    age_slope: AgeSlope = None,
    draws: Draws = 0,
    seed: Seed = 0,
    workers: Workers = 1,
    scheduler: Scheduler = None,
    settings: Set = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Measure each cluster of a catalogue by itself: mass, age and extinction from magnitudes."""
    from starcensus.shards import Work

    tables = _tables(locals())
    work = Work(workers, scheduler)
    perform_tables("measure", tables, out, "the command line", allow_own, data, settings, work=work)


def _tables(options: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a file of kind measure that options stand for, by their names."""
    o = {name: options[name] for name in ("column_map", "distance_modulus")}
    columns, bands, use = (options[name] for name in ("columns", "bands", "use"))
    o |= {"columns": columns and numbers(columns), "bands": bands and listed(bands)}
    catalogue = options["catalogue"]
    library, prior = (options[name] and str(options[name]) for name in ("library", "prior"))
    from starcensus.theta import AXES  # loads NumPy

    limits = {axis: floats(options[axis], f"--{axis.replace('_', '-')}", 2) for axis in AXES}
    slopes = {name: options[name] for name in ("mass_slope", "age_slope")}
    return {
        "title": f"Clusters of {catalogue.name}",
        **{name: options[name] for name in ("seed", "draws")},
        "catalogue": {
            "path": str(catalogue),
            "format": options["format"],
            "options": given(**o),
            "cuts": cuts_of_options(listed(options["cuts"]), options["classes"], {}),
        },
        "photometry": {name: options[name] for name in ("unknown", "min_bands")}
        | given(bands=use and listed(use)),
        "observation": _observation(
            *(options[n] for n in ("observation", "floor", "measured_cuts"))
        ),
        "library": {"bounds": limits} | given(path=library),
        "prior": given(run=prior, **slopes),
    }


def _observation(
    path: pathlib.Path | None, floor: float | None, cuts: str | None
) -> dict[str, Any]:
    own = given(floor=floor, cuts=cuts)
    if path is not None:
        return {"kind": "file", "path": str(path), **own}
    return {"kind": "gaussian", **own}
