"""Commands `starcensus selection …`: train, choose, evaluate, import, marginalise, predict."""

import pathlib
from typing import Annotated

import typer

from starcensus.experiments.cli.process import Commands
from starcensus.experiments.cli.terminal import (
    Accept,
    AllowOwn,
    Data,
    Out,
    OutFile,
    given,
    perform,
    perform_tables,
)

selection_app = Commands(help="Selection operators: train, choose, evaluate, import, marginalise.")


@selection_app.command("train")
def train_command(
    learning: Annotated[
        pathlib.Path, typer.Argument(help="Learning file (TOML): tables, \\[inputs], \\[train].")
    ],
    out: OutFile,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Train an operator on artificial cluster tests."""
    perform(learning, out, data, allow_own, expected=("learning",))


@selection_app.command("choose")
def choose_command(
    pilot: Annotated[pathlib.Path, typer.Argument(help="Operator file of two or more networks.")],
    library: Annotated[pathlib.Path, typer.Option(help="Cluster library to choose from (.h5).")],
    n: Annotated[int, typer.Option("--n", help="How many clusters, within chance.")],
    out: OutFile,
    uniform: Annotated[
        float | None,
        typer.Option(help="Share of the draws that every cluster has alike [default: 0.05]."),
    ] = None,
    disagreement: Annotated[
        float | None, typer.Option(help="Weight of the networks' disagreement [default: 4].")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draws.")] = 0,
    exclude: Annotated[
        list[pathlib.Path] | None,
        typer.Option(help="Library chosen before, whose clusters are left out; may be repeated."),
    ] = None,
    start_row: Annotated[
        int, typer.Option(help="First row that may be chosen; a pilot used those before it.")
    ] = 0,
) -> None:
    """Choose the clusters of a library that are worth injecting: where the outcome is open."""
    tables = {
        "pilot": str(pilot),
        "library": str(library),
        "exclude": [str(path) for path in exclude or ()],
        "seed": seed,
        "choice": {"n": n, "start_row": start_row}
        | given(uniform=uniform, disagreement=disagreement),
    }
    perform_tables("choice", tables, out, "choose")


@selection_app.command("evaluate")
def evaluate_command(
    operator: Annotated[pathlib.Path, typer.Argument(help="Operator file of learned networks.")],
    table: Annotated[
        list[pathlib.Path],
        typer.Option(help="Injection table that it was not trained on; repeat to join several."),
    ],
    out: Out,
    accept: Accept = None,
) -> None:
    """Compare an operator with injections: errors, reliability, figures."""
    tables = {"operator": str(operator), "tables": [str(path) for path in table]}
    tables |= {"accept": [name.strip() for name in accept.split(",")] if accept else []}
    perform_tables("evaluation", tables, out, "evaluate")


@selection_app.command("restate")
def restate_command(
    operator: Annotated[pathlib.Path, typer.Argument(help="Operator file.")],
    out: OutFile,
    survey: Annotated[
        pathlib.Path | None,
        typer.Option(help="Survey file of its injections: depth, PSFs and skies of the images."),
    ] = None,
    field: Annotated[str | None, typer.Option(help="Name of the galaxy or pointing.")] = None,
    distance_modulus: Annotated[float | None, typer.Option(help="Of the galaxy, mag.")] = None,
    bands: Annotated[str | None, typer.Option(help="Names of the bands, by commas.")] = None,
    acts_on: Annotated[str | None, typer.Option(help="data or truth.")] = None,
) -> None:
    """Write an operator that says for which survey it was learned; its numbers stay."""
    from starcensus.experiments.jobs.restatement import restate

    names = tuple(name.strip() for name in bands.split(",")) if bands else ()
    made = restate(
        operator,
        out,
        survey=survey,
        field=field,
        distance_modulus=distance_modulus,
        bands=names,
        acts_on=acts_on,
    )
    known = made.json()
    typer.echo(f"{out}: knows {', '.join(known) or 'nothing'} of its survey")


@selection_app.command("import-c4")
def import_c4_command(
    out: Out,
    source: Annotated[
        pathlib.Path | None,
        typer.Option(help="Wheel or folder of cluster-completeness-pipeline 0.1.0."),
    ] = None,
) -> None:
    """Convert the published C-4 networks: c4_physical.h5 and c4_photometric.h5."""
    from starcensus.files import prepare_folder
    from starcensus.selection import import_c4, save_selection

    prepare_folder(out)
    for name, operator in zip(("c4_physical", "c4_photometric"), import_c4(source), strict=True):
        save_selection(operator, out / f"{name}.h5")
        typer.echo(str(out / f"{name}.h5"))


Axis = Annotated[str | None, typer.Option(help="low,high,step of the grid.")]


@selection_app.command("marginalise")
def marginalise_command(
    out: OutFile,
    network: Annotated[
        pathlib.Path, typer.Option(help="Operator of magnitudes, e.g. c4_photometric.h5.")
    ],
    library: Annotated[
        list[str],
        typer.Option(
            help="Cluster library (.h5), or of SLUG v2 the path before _cluster_prop.fits and "
            "_cluster_phot.fits; repeat to join several."
        ),
    ],
    bands: Annotated[
        str | None,
        typer.Option(help="Library columns for the network's bands, in its order."),
    ] = None,
    zeropoints: Annotated[
        pathlib.Path | None,
        typer.Option(help="AB minus Vega of SLUG's Vega, per band; converts to VEGAMAG."),
    ] = None,
    log_mass: Axis = None,
    log_age: Axis = None,
    a_v: Axis = None,
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Average an operator of magnitudes over the stochastic light of simulated clusters."""
    named = {"log_mass": log_mass, "log_age": log_age, "a_v": a_v}
    axes = {name: _axis(text, name) for name, text in named.items() if text is not None}
    tables = {"network": str(network), "libraries": library, "seed": seed, **axes}
    if bands is not None:
        tables["bands"] = [name.strip() for name in bands.split(",")]
    if zeropoints is not None:
        tables["zeropoints"] = str(zeropoints)
    perform_tables("marginalisation", tables, out, "marginalise")


def _axis(text: str, name: str) -> list[float]:
    from starcensus.experiments.schema._base import ConfigError

    try:
        low, high, step = (float(part) for part in text.split(","))
    except ValueError as error:
        option = name.replace("_", "-")
        raise ConfigError(f"--{option} is {text!r}; expected low,high,step") from error
    return [low, high, step]


@selection_app.command("predict")
def predict_command(
    operator: Annotated[pathlib.Path, typer.Argument(help="Operator file.")],
    log_mass: Annotated[float, typer.Option(help="log10 of the mass, M_sun.")],
    log_age: Annotated[float, typer.Option(help="log10 of the age, yr.")],
    a_v: Annotated[float, typer.Option(help="V-band extinction, mag.")],
) -> None:
    """Print p_sel at one mass, age and extinction, and its spread over the ensemble."""
    from starcensus.experiments.schema._base import ConfigError
    from starcensus.selection import AbstractSelection, load_selection

    loaded = load_selection(operator)
    if not isinstance(loaded, AbstractSelection):
        raise ConfigError(f"{operator}: holds an operator of magnitudes, not of θ")
    loaded.check_points(log_mass, log_age, a_v)
    members = loaded.members(log_mass, log_age, a_v)
    typer.echo(f"p_sel = {float(members.mean()):.6f} (ensemble spread {float(members.std()):.2g})")
