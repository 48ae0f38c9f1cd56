"""The command line."""

import importlib.resources
import pathlib
import sys
import time
from typing import Annotated

import typer

import starcensus
from starcensus.experiments.cli.images import detect_command, galaxy_command, inject_command
from starcensus.experiments.cli.process import Commands
from starcensus.experiments.cli.select import selection_app
from starcensus.experiments.cli.simulate import simulate_app
from starcensus.experiments.cli.terminal import Out, stages

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

Data = Annotated[
    pathlib.Path | None,
    typer.Option("--data", help="Folder that holds the catalogues, as their owners publish them."),
]


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


def _is_users(error: Exception) -> bool:
    """Errors raised by our own checks speak to the user; those of other libraries are bugs."""
    if isinstance(error, OSError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return module.startswith("starcensus.")


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
    carried = importlib.resources.files("starcensus.experiments") / "quickstart.toml"
    _run(pathlib.Path(str(carried)), None, out)


@app.command()
def run(
    experiment: Annotated[pathlib.Path, typer.Argument(help="Experiment file (TOML).")],
    out: Out,
    data: Data = None,
) -> None:
    """Run an experiment file: every fit that it asks for, with report."""
    _run(experiment, data, out)


@app.command()
def mock(
    experiment: Annotated[pathlib.Path, typer.Argument(help="Experiment file with [mock].")],
    out: Out,
    data: Data = None,
) -> None:
    """Draw the mock catalogue of an experiment file, with its truth and its operator."""
    from starcensus.experiments.jobs.fit import make_mock
    from starcensus.experiments.schema.fit import load_experiment

    config, _ = load_experiment(experiment)
    for path in make_mock(config, out, _roots(data, experiment), experiment.stem):
        typer.echo(str(path))


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
    population: Annotated[
        pathlib.Path,
        typer.Option(help="Population: TOML file with the keys of a [populations.NAME] table."),
    ],
    format: Annotated[
        str, typer.Option(help="legus, literature, table or starcensus.")
    ] = "starcensus",
    column_map: Annotated[
        pathlib.Path | None, typer.Option(help="Column map (TOML), for --format table.")
    ] = None,
    cuts: Annotated[
        str,
        typer.Option(help="Named cuts in order, separated by commas, e.g. legus_stage2,classes."),
    ] = "",
    r_v: Annotated[
        float | None, typer.Option(help="A_V / E(B-V), for --format legus [default: 3.1].")
    ] = None,
    errors: Annotated[
        str, typer.Option(help="published (68% limits) or none (best values taken as exact).")
    ] = "published",
    missing: Annotated[
        str, typer.Option(help="Rows without limits: refuse, or floor (the documented floor).")
    ] = "refuse",
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Fit one catalogue with one operator and one population."""
    import tomllib

    from starcensus.experiments.jobs.fit import run_experiment
    from starcensus.experiments.schema.fit import ConfigError, parse_experiment

    if not population.is_file():
        raise ConfigError(f"{population}: there is no such population file")
    try:
        table = tomllib.loads(population.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{population}: not valid TOML: {error}") from error
    options: dict[str, object] = {}
    if column_map is not None:
        options["column_map"] = str(column_map.resolve())
    if r_v is not None:
        options["r_v"] = r_v
    named = selection in ("complete", "c4_physical")
    operator = {"kind": selection} if named else {"kind": "file", "path": _absolute(selection)}
    tables = {
        "title": f"Fit of {catalogue.name}",
        "seed": seed,
        "catalogue": {
            "path": str(catalogue.resolve()),
            "format": format,
            "options": options,
            "cuts": [{"name": name.strip()} for name in cuts.split(",") if name.strip()],
        },
        "errors": {"mode": errors, "missing": missing},
        "selections": {"given": operator},
        "populations": {"given": table},
        "fits": [{"name": "main", "selection": "given", "population": "given"}],
    }
    config = parse_experiment(tables, str(population))
    with stages() as show:
        summary = run_experiment(config, repr(tables), out, _roots(None, population), show)
    _finish(summary, out)


@app.command()
def calibrate(
    experiment: Annotated[
        pathlib.Path, typer.Argument(help="Experiment file that has \\[\\[calibration]] tables.")
    ],
    out: Out,
    n: Annotated[int, typer.Option(help="Number of mock catalogues.")] = 200,
    batch: Annotated[
        int,
        typer.Option(
            help="Catalogues that each device fits side by side; more than 1 pays on a GPU."
        ),
    ] = 1,
    case: Annotated[
        list[str] | None, typer.Option(help="Run only the cases of these names; repeat.")
    ] = None,
) -> None:
    """Simulation-based calibration: coverage and ranks over mocks drawn from the priors."""
    from starcensus.experiments.jobs.calibrate import run_calibration
    from starcensus.experiments.schema.fit import ConfigError, load_experiment

    config, text = load_experiment(experiment)
    if case:
        known = {c.name: c for c in config.calibration}
        if unknown := sorted(set(case) - set(known)):
            raise ConfigError(f"no case {', '.join(unknown)}; the file has {', '.join(known)}")
        config = config.model_copy(update={"calibration": tuple(known[name] for name in case)})
    with stages() as show:
        summary = run_calibration(config, text, out, _roots(None, experiment), n, batch, show)
    for key, value in summary.items():
        typer.echo(f"{key} = {value}")


@app.command()
def report(folder: Annotated[pathlib.Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Write report.html of a finished run again."""
    from starcensus.experiments.report import write_report

    typer.echo(str(write_report(folder)))


@app.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    add_help_option=False,
)
def bench(context: typer.Context) -> None:
    """Benchmarks of a checkout, one JSON line each; `starcensus bench` lists them."""
    import jax

    from starcensus.experiments.cli.bench import benchmark_app

    # Their times are those of a process that compiles for itself.
    jax.config.update("jax_enable_compilation_cache", False)
    benchmark_app()(args=context.args, prog_name="starcensus bench")


def _run(experiment: pathlib.Path, data: pathlib.Path | None, out: pathlib.Path) -> None:
    from starcensus.experiments.jobs.fit import run_experiment
    from starcensus.experiments.schema.fit import ConfigError, load_experiment

    if data is not None and not data.is_dir():
        raise ConfigError(f"--data {data}: there is no such folder")
    config, text = load_experiment(experiment)
    with stages() as show:
        summary = run_experiment(config, text, out, _roots(data, experiment), show)
    _finish(summary, out)


def _roots(data: pathlib.Path | None, experiment: pathlib.Path) -> list[pathlib.Path]:
    return [*([data] if data else []), experiment.resolve().parent]


def _absolute(path: str) -> str:
    return str(pathlib.Path(path).resolve())


def _finish(summary: dict[str, object], out: pathlib.Path) -> None:
    """Say what came out; a fit that is not to be trusted says so."""
    typer.echo(str(summary["verdict"]))
    medians = [k for k in summary if k.startswith("posterior.") and k.endswith(".median")]
    for key in medians:
        stem = key.removesuffix(".median")
        low, high = (float(str(summary[f"{stem}.{q}"])) for q in ("p16", "p84"))
        middle = float(str(summary[key]))
        typer.echo(
            f"  {stem.removeprefix('posterior.'):16s} {middle:9.3f}  "
            f"+{high - middle:.3f} −{middle - low:.3f} (68%)"
        )
    typer.echo(f"{time.strftime('%H:%M:%S')} wrote {out / 'report.html'}")


if __name__ == "__main__":
    main()
