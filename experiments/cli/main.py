"""The command line."""

import importlib.resources
import pathlib
import sys
from typing import Annotated, Any

import typer

import starcensus
from starcensus.experiments.cli.images import detect_command, galaxy_command, inject_command
from starcensus.experiments.cli.process import Commands
from starcensus.experiments.cli.select import selection_app
from starcensus.experiments.cli.simulate import simulate_app
from starcensus.experiments.cli.terminal import (
    AllowOwn,
    Data,
    Out,
    Scheduler,
    ShardSize,
    Workers,
    given,
    perform,
    perform_tables,
)

app = Commands(
    name="starcensus",
    help="Populations of star clusters in other galaxies: simulate, select, fit.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(selection_app, name="selection", no_args_is_help=True)
app.add_typer(simulate_app, name="simulate", no_args_is_help=True)
simulate_app.command("galaxy")(galaxy_command)
app.command("detect")(detect_command)
app.command("inject")(inject_command)


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, a bug is a traceback."""
    try:
        app(standalone_mode=True)
    except (ValueError, FileNotFoundError, PermissionError, IsADirectoryError) as error:
        if not _is_users(error):
            raise
        from rich.console import Console

        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"starcensus: {error}", style="bold red", markup=False
        )
        sys.exit(2)
    except ImportError as error:
        from starcensus.extras import MissingExtraError

        if not isinstance(error, MissingExtraError):
            raise
        typer.echo(f"starcensus: {error}", err=True)
        sys.exit(2)


def _is_users(error: Exception) -> bool:
    """Errors raised by our own checks speak to the user; those of other libraries are bugs."""
    from starcensus.experiments.jobs._job import is_ours

    return isinstance(error, OSError) or is_ours(error)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(starcensus.__version__)
        raise typer.Exit


@app.command()
def quickstart(out: Out) -> None:
    """Fit the mock catalogue that the package carries, with and without its selection."""
    carried = importlib.resources.files("starcensus.experiments") / "examples" / "quickstart.toml"
    perform(pathlib.Path(str(carried)), out)


@app.command()
def run(
    file: Annotated[pathlib.Path, typer.Argument(help="File of settings (TOML), of any kind.")],
    out: Annotated[
        pathlib.Path,
        typer.Option("--out", help="Folder for the results, or the file that the job writes."),
    ],
    workers: Workers = 1,
    scheduler: Scheduler = None,
    shard_size: ShardSize = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Do what a file asks for; `starcensus schema` lists the kinds of files."""
    from starcensus.shards import Work

    perform(file, out, data, allow_own, work=Work(workers, scheduler, shard_size))


@app.command()
def schema(
    kind: Annotated[str | None, typer.Argument(help="Kind of file; by default all.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON schema.")] = False,
    allow_own: AllowOwn = None,
) -> None:
    """What a file of a kind may hold: keys, types, units, defaults."""
    import json

    from starcensus.experiments.jobs._own import import_own
    from starcensus.experiments.schema.reference import json_of, kinds_text, text_of

    import_own(allow_own or ())
    if kind is None:
        typer.echo(kinds_text())
    else:
        typer.echo(json.dumps(json_of(kind), indent=2) if as_json else text_of(kind))


@app.command()
def mock(
    file: Annotated[pathlib.Path, typer.Argument(help="Mock file (TOML).")],
    out: Out,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Draw a mock catalogue of a known population, with its operator."""
    perform(file, out, data, allow_own, expected=("mock",))


Column = Annotated[pathlib.Path | None, typer.Option(help="Column map (TOML), for --format table.")]
Cuts = Annotated[
    str,
    typer.Option(help="Named cuts in order, separated by commas, e.g. legus_stage2,classes."),
]
Missing = Annotated[
    str, typer.Option(help="Rows without limits: refuse, or floor (the documented floor).")
]


@app.command()
def fit(
    catalogue: Annotated[pathlib.Path, typer.Argument(help="Catalogue file.")],
    out: Out,
    selection: Annotated[
        str,
        typer.Option(
            help="Operator: a file saved by starcensus, 'complete', or 'c4_physical' (the "
            "published network, from the installed package)."
        ),
    ],
    population: Annotated[pathlib.Path, typer.Option(help="Population file (TOML).")],
    format: Annotated[
        str, typer.Option(help="legus, literature, table or starcensus.")
    ] = "starcensus",
    column_map: Column = None,
    cuts: Cuts = "",
    r_v: Annotated[
        float | None, typer.Option(help="A_V / E(B-V), for --format legus [default: 3.1].")
    ] = None,
    errors: Annotated[
        str, typer.Option(help="published (68% limits) or none (best values taken as exact).")
    ] = "published",
    missing: Missing = "refuse",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Fit one catalogue with one operator and one population."""
    given_options = given(column_map=column_map and str(column_map), r_v=r_v)
    listed = [{"name": name.strip()} for name in cuts.split(",")] if cuts.strip() else []
    table = {"path": str(catalogue), "format": format, "options": given_options, "cuts": listed}
    tables = _one_fit(table, selection, population)
    tables |= {"seed": seed, "errors": {"mode": errors, "missing": missing}}
    perform_tables("fit", tables, out, "the command line", allow_own, data)


def _one_fit(catalogue: dict[str, Any], selection: str, population: pathlib.Path) -> dict[str, Any]:
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
        "selections": {"given": operator},
        "populations": {"given": family},
        "fits": [{"name": "main", "selection": "given", "population": "given"}],
    }


@app.command()
def calibrate(
    file: Annotated[pathlib.Path, typer.Argument(help="Calibration file (TOML).")],
    out: Out,
    n: Annotated[
        int | None, typer.Option(help="Number of mock catalogues, instead of the file's.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(
            help="Catalogues that each device fits side by side; more than 1 pays on a GPU."
        ),
    ] = None,
    case: Annotated[
        list[str] | None, typer.Option(help="Run only the cases of these names; repeat.")
    ] = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Simulation-based calibration: coverage and ranks over mocks drawn from the priors."""
    from starcensus.experiments.jobs.calibration import chosen_job

    def make(*args: Any, **how: Any) -> Any:
        return chosen_job(*args, n=n, batch=batch, cases=case, **how)

    perform(file, out, data, allow_own, expected=("calibration",), make=make)


@app.command()
def report(folder: Annotated[pathlib.Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write report.html of a finished run again."""
    from starcensus.experiments.report import write_report

    typer.echo(str(write_report(folder)))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def bench(words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Benchmarks of a checkout, one JSON line each; `starcensus bench` lists them."""
    import jax

    from starcensus.experiments.cli.bench import benchmark_app

    # Their times are those of a process that compiles for itself.
    jax.config.update("jax_enable_compilation_cache", False)
    benchmark_app()(args=words or [], prog_name="starcensus bench")


if __name__ == "__main__":
    main()
