"""The command line."""

import importlib.resources
import pathlib
import sys
from typing import Annotated, Any

import typer

import starcensus
from starcensus.experiments.cli.fit import fit_command
from starcensus.experiments.cli.images import detect_command, galaxy_command, inject_command
from starcensus.experiments.cli.measure import measure_command
from starcensus.experiments.cli.networks import train_command
from starcensus.experiments.cli.process import Commands
from starcensus.experiments.cli.select import selection_app
from starcensus.experiments.cli.simulate import simulate_app
from starcensus.experiments.cli.terminal import (
    AllowOwn,
    Data,
    Out,
    Scheduler,
    Set,
    ShardSize,
    Workers,
    perform,
)

# Of the Click that Typer is built on, which may be Typer's own.
_UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # pyright: ignore[reportAssignmentType]

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
app.command("fit")(fit_command)
app.command("measure")(measure_command)
app.command("detect")(detect_command)
app.command("inject")(inject_command)
app.command("train")(train_command)


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, a bug is a traceback."""
    try:
        sys.exit(app(standalone_mode=False, prog_name="starcensus") or 0)
    except _UsageError as error:
        if words := _usage(error):
            typer.echo(f"starcensus{words}", err=True)
        sys.exit(2)
    except typer.Abort:
        sys.exit(130)
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


def _usage(error: Any) -> str:
    """What is wrong with the words of a command, and where the right ones are listed.

    Nothing for a command without words, which has shown its help.
    """
    import pydantic

    words = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(cause := error.__cause__, pydantic.ValidationError):
        words += f", received {cause.errors()[0]['input']!r}"
    command = error.ctx.command_path if error.ctx else "starcensus"
    shown = command.removeprefix("starcensus")
    return f"{shown}: {words}; `{command} --help` lists what it takes" if words else ""


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
    settings: Set = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Do what a file asks for; `starcensus schema` lists the kinds of files."""
    from starcensus.shards import Work

    work = Work(workers, scheduler, shard_size)
    perform(file, out, data, allow_own, settings=tuple(settings or ()), work=work)


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


@app.command()
def compare(
    file: Annotated[pathlib.Path, typer.Argument(help="Comparison file (TOML).")],
    out: Out,
    settings: Set = None,
    data: Data = None,
    allow_own: AllowOwn = None,
) -> None:
    """Which of several populations the data prefer, and how sure that is."""
    perform(file, out, data, allow_own, expected=("compare",), settings=tuple(settings or ()))


@app.command()
def calibrate(
    file: Annotated[pathlib.Path, typer.Argument(help="Calibration file (TOML).")],
    out: Out,
    n: Annotated[
        int | None, typer.Option(help="Number of mock catalogues, instead of the file's.")
    ] = None,
    scored: Annotated[
        int | None,
        typer.Option(
            help="Number of further catalogues whose scores are tested, instead of the file's; "
            "with --n alone, in the file's proportion to it."
        ),
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
        return chosen_job(*args, n=n, scored=scored, batch=batch, cases=case, **how)

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
