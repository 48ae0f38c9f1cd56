"""The command `fit`: one catalogue, one operator, one population, without a file."""

import pathlib
from typing import Annotated, Any

import typer

from starcensus.experiments.cli.terminal import (
    Accept,
    AllowOwn,
    Data,
    Out,
    Set,
    given,
    perform_tables,
)

File = Annotated[pathlib.Path, typer.Argument(help="Catalogue file.")]
Selection = Annotated[
    str,
    typer.Option(
        help="Operator: a file saved by starcensus, 'complete', or 'c4_physical' (the published "
        "network, from the installed package)."
    ),
]
Population = Annotated[pathlib.Path, typer.Option(help="Population file (TOML).")]
Format = Annotated[
    str, typer.Option(help="Format of the catalogue; `starcensus schema fit` lists them.")
]
ColumnMap = Annotated[str | None, typer.Option(help="Column map (TOML), for --format table.")]
Columns = Annotated[
    str | None,
    typer.Option(help="Fields of a LEGUS table, NAME=NUMBER by commas, e.g. class_mode=35."),
]
Bands = Annotated[
    str | None, typer.Option(help="Bands of a LEGUS table, five names by commas in their order.")
]
Modulus = Annotated[
    float | None, typer.Option(help="Of the galaxy, mag; for cuts on absolute magnitude.")
]
RV = Annotated[
    float | None, typer.Option(help="A_V / E(B-V), for formats legus and phangs (default 3.1).")
]
Cuts = Annotated[
    str, typer.Option(help="Named cuts in order, separated by commas, e.g. legus_stage2,classes.")
]
Kept = Annotated[str | None, typer.Option(help="Keep these classes, e.g. 1,2; the cut 'classes'.")]
Limits = Annotated[
    str | None, typer.Option(help="Keep best values in low,high, both included; a cut.")
]
ActsOn = Annotated[
    str | None,
    typer.Option(
        help="What selection looked at, instead of what the operator says: data (the light to "
        "which masses and ages were fitted) or truth (recorded independently of the images)."
    ),
]
Errors = Annotated[
    str, typer.Option(help="published (68% limits) or none (best values taken as exact).")
]
Missing = Annotated[
    str, typer.Option(help="Rows without limits: refuse, or floor (the documented floor).")
]
ObjectSamples = Annotated[
    int | None,
    typer.Option(
        help="Samples of each cluster, a power of two; defaults: `starcensus schema fit`."
    ),
]
Chains = Annotated[int | None, typer.Option(help="Chains of NUTS.")]
Warmup = Annotated[int | None, typer.Option(help="Steps of each chain that adapt.")]
Samples = Annotated[int | None, typer.Option(help="Steps of each chain that are kept.")]
Seed = Annotated[int, typer.Option(help="Seed of everything random.")]


def fit_command(
    catalogue: File,
    out: Out,
    selection: Selection,
    population: Population,
    format: Format = "starcensus",
    column_map: ColumnMap = None,
    columns: Columns = None,
    bands: Bands = None,
    distance_modulus: Modulus = None,
    r_v: RV = None,
    cuts: Cuts = "",
    classes: Kept = None,
    log_mass: Limits = None,
    log_age: Limits = None,
    a_v: Limits = None,
    acts_on: ActsOn = None,
    accept: Accept = None,
    errors: Errors = "published",
    missing: Missing = "refuse",
    object_samples: ObjectSamples = None,
    chains: Chains = None,
    warmup: Warmup = None,
    samples: Samples = None,
    seed: Seed = 0,
    settings: Set = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Fit published values, or draws, with an operator; `run` fits magnitudes (kind light)."""
    options = {"columns": columns and numbers(columns), "bands": bands and listed(bands)}
    options |= {"distance_modulus": distance_modulus, "r_v": r_v, "column_map": column_map}
    kept = _ranges({"log_mass": log_mass, "log_age": log_age, "a_v": a_v})
    table = {"path": str(catalogue), "format": format, "options": given(**options)}
    table["cuts"] = cuts_of_options(listed(cuts), classes, kept)
    stated = given(acts_on=acts_on, accept=accept and listed(accept))
    tables = _one_fit(table, selection, population, stated) | {"seed": seed}
    tables["errors"] = _errors(format, errors, missing, object_samples)
    tables["sampler"] = given(n_chains=chains, n_warmup=warmup, n_samples=samples)
    perform_tables("fit", tables, out, "the command line", allow_own, data, settings)


def _errors(format: str, errors: str, missing: str, n_samples: int | None) -> dict[str, Any]:
    """Posteriors bring their own errors."""
    if format in ("posteriors", "grids"):
        return {}
    return {"mode": errors, "missing": missing} | given(n_samples=n_samples)


def _ranges(texts: dict[str, str | None]) -> dict[str, list[float]]:
    """Limits of the axes that were given."""
    return {
        axis: floats(text, "--" + axis.replace("_", "-"), 2)
        for axis, text in texts.items()
        if text is not None
    }


def cuts_of_options(
    names: list[str], classes: str | None, kept: dict[str, list[float]]
) -> list[dict[str, Any]]:
    """The cuts in their order: those named, then classes and limits that were given."""
    cuts: list[dict[str, Any]] = [{"name": name} for name in names]
    if classes is not None:
        wanted = [int(value) for value in floats(classes, "--classes")]
        if "classes" not in names:
            cuts.append({"name": "classes"})
        next(cut for cut in cuts if cut["name"] == "classes")["keep"] = wanted
    if kept:
        cuts.append({"name": "theta_range", **kept})
    return cuts


def _one_fit(
    catalogue: dict[str, Any], selection: str, population: pathlib.Path, stated: dict[str, Any]
) -> dict[str, Any]:
    """A fit file of one fit."""
    from starcensus.experiments.schema._base import load
    from starcensus.experiments.schema.population import PopulationFile
    from starcensus.files import read_toml

    load(population, PopulationFile)
    tables, _ = read_toml(population)
    of_file = "kind", "title", "description", "seed", "bands"
    family = {name: table for name, table in tables.items() if name not in of_file}
    named = selection in ("complete", "c4_physical")
    operator = {"kind": selection} if named else {"kind": "file", "path": selection}
    return {
        "title": f"Fit of {pathlib.Path(catalogue['path']).name}",
        "bands": tables.get("bands", {}),
        "catalogue": catalogue,
        "selections": {"given": operator | stated},
        "populations": {"given": family},
        "fits": [{"name": "main", "selection": "given", "population": "given"}],
    }


def listed(text: str) -> list[str]:
    """Words that commas separate."""
    return [word.strip() for word in text.split(",") if word.strip()]


def numbers(text: str) -> dict[str, int]:
    """NAME=NUMBER by commas; raises `ConfigError` for anything else."""
    from starcensus.experiments.schema._base import ConfigError

    found = {}
    for pair in listed(text):
        name, _, number = pair.partition("=")
        if not number.strip().isdigit():
            raise ConfigError(
                f"--columns is {text!r}; expected NAME=NUMBER, such as class_mode=35, with fields "
                "counted from 1"
            )
        found[name.strip()] = int(number)
    return found


def floats(text: str, option: str, n: int | None = None) -> list[float]:
    """Numbers by commas, `n` of them; raises `ConfigError` naming the option."""
    from starcensus.experiments.schema._base import ConfigError

    try:
        values = [float(word) for word in listed(text)]
    except ValueError:
        values = []
    if not values or (n is not None and len(values) != n):
        wanted = "low,high" if n == 2 else "numbers separated by commas"
        raise ConfigError(f"{option} is {text!r}; expected {wanted}")
    return values
