"""The command line."""

import contextlib
import importlib.resources
import os
import pathlib
import sys
import time
from typing import Annotated

import jax
import typer
from rich.console import Console

import starcensus
from starcensus.experiments.images import detect_command, galaxy_command, inject_command
from starcensus.experiments.selection import selection_app
from starcensus.experiments.simulate import simulate_app
from starcensus.experiments.terminal import Out, stages

app = typer.Typer(
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
bench_app = typer.Typer(help="Benchmarks: one JSON line each.")
app.add_typer(bench_app, name="bench", no_args_is_help=True)

Data = Annotated[
    pathlib.Path | None,
    typer.Option("--data", help="Folder that holds the catalogues, as their owners publish them."),
]


def main() -> None:
    """Entry point: a user's mistake is one line and exit code 2, a bug is a traceback."""
    # The application owns its process, so it may set what a library must not.
    jax.config.update("jax_enable_x64", True)
    _use_every_core()
    try:
        app(standalone_mode=True)
    except (ValueError, FileNotFoundError, PermissionError, IsADirectoryError) as error:
        if not _is_users(error):
            raise
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"starcensus: {error}", style="bold red", markup=False
        )
        sys.exit(2)


def _use_every_core() -> None:
    """One JAX device for each core, up to four: a sampler runs its chains on them side by side."""
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    # Too late, and refused, once JAX has computed something.
    with contextlib.suppress(RuntimeError):
        jax.config.update("jax_num_cpu_devices", min(os.cpu_count() or 1, 4))


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
    from starcensus.experiments.config import load_experiment
    from starcensus.experiments.run import make_mock

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

    from starcensus.experiments.config import ConfigError, parse_experiment
    from starcensus.experiments.run import run_experiment

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
    from starcensus.experiments.calibrate import run_calibration
    from starcensus.experiments.config import ConfigError, load_experiment

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


@bench_app.command("slug")
def bench_slug_command(
    data: Annotated[
        pathlib.Path,
        typer.Option(help="Folder that holds slug, slug3 and atmospheres, SLUG's output and data."),
    ],
    version: Annotated[int, typer.Option(help="Of SLUG: 2 or 3.")] = 3,
    n: Annotated[int, typer.Option(help="Our clusters for each set.")] = 20_000,
    own_light: Annotated[
        bool, typer.Option("--own-light", help="With SLUG v3's magnitudes of each star.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of our clusters.")] = 0,
) -> None:
    """Means, scatters and percentiles of our clusters' light against SLUG's."""
    import json

    from starcensus.experiments.bench.slug import bench_slug

    with stages() as show:
        for line in bench_slug(data, version, n, seed, own_light=own_light, progress=show):
            typer.echo(json.dumps(line))


@bench_app.command("simulate")
def bench_simulate_command(
    n: Annotated[int, typer.Option(help="Clusters of each measurement.")] = 4000,
    slug: Annotated[
        pathlib.Path | None,
        typer.Option(help="SLUG v3's executable, to be timed in the same run (about a minute)."),
    ] = None,
    slug_data: Annotated[
        pathlib.Path | None,
        typer.Option(help="Folder of SLUG's data ($SLUG_DIR), with --slug."),
    ] = None,
    large: Annotated[
        int, typer.Option(help="Clusters of one more library, 1e2-1e8 M_sun; 0: none.")
    ] = 0,
    processes: Annotated[int, typer.Option(help="Processes that draw it.")] = 2,
    seed: Annotated[int, typer.Option(help="Of the clusters.")] = 0,
) -> None:
    """How fast stochastic clusters are drawn, beside SLUG."""
    import json

    from starcensus.experiments.bench.simulate import SlugProgram, bench_simulate

    if (slug is None) != (slug_data is None):
        raise ValueError("--slug and --slug-data go together: an executable and its data")
    program = None if slug is None or slug_data is None else SlugProgram(slug, slug_data)
    for line in bench_simulate(n, seed, program, large, processes):
        typer.echo(json.dumps(line))


@bench_app.command("inject")
def bench_inject_command(
    frames: Annotated[int, typer.Option(help="Frames of the measurement.", min=1)] = 3,
    side: Annotated[int, typer.Option(help="Rows and columns of the galaxy.", min=256)] = 2048,
    per_frame: Annotated[int, typer.Option(help="Most clusters in a frame.", min=1)] = 250,
    seed: Annotated[int, typer.Option(help="Of galaxy, clusters and positions.", min=0)] = 0,
) -> None:
    """How fast clusters are injected into five bands and go through the LEGUS pipeline."""
    import json

    from starcensus.experiments.bench.inject import bench_inject

    with stages() as show:
        typer.echo(json.dumps(bench_inject(frames, side, per_frame, seed, show)))


@bench_app.command("design")
def bench_design_command(
    table: Annotated[
        list[pathlib.Path] | None, typer.Option(help="Injection table; may be repeated.")
    ] = None,
    test: Annotated[
        list[pathlib.Path] | None,
        typer.Option(help="Table of repeats to test with; without it a fifth is held out."),
    ] = None,
    focused: Annotated[
        list[pathlib.Path] | None,
        typer.Option(
            help="Tables of a focused design, pilot and chosen; else chosen from --table."
        ),
    ] = None,
    oracle: Annotated[
        pathlib.Path | None,
        typer.Option(help="Operator of mass, age and A_V, taken for the truth instead of a table."),
    ] = None,
    kind: Annotated[str, typer.Option(help="physical or photometric.")] = "photometric",
    r_eff: Annotated[bool, typer.Option(help="Networks also take the half-light radius.")] = True,
    sizes: Annotated[
        str, typer.Option(help="Numbers of injections, separated by commas.")
    ] = "10000,20000,40000,80000,160000",
    pilot: Annotated[
        float, typer.Option(help="Share of a focused design that is uniform.", min=0.01, max=0.9)
    ] = 0.25,
    repeats: Annotated[int, typer.Option(help="Trainings of each point.", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="Of choices and networks.", min=0)] = 0,
    figure: Annotated[pathlib.Path | None, typer.Option(help="PNG of the curves.")] = None,
) -> None:
    """Learning curves of transition-focused against uniform artificial cluster tests."""
    import json

    from starcensus.experiments.bench import design
    from starcensus.experiments.config import ConfigError
    from starcensus.selection.learning import Inputs

    try:
        numbers = tuple(int(word) for word in sizes.split(","))
    except ValueError:
        raise ConfigError(f"--sizes is {sizes!r}; expected whole numbers and commas") from None
    inputs = Inputs("photometric" if kind == "photometric" else "physical", r_eff=r_eff)
    if kind not in ("photometric", "physical"):
        raise ConfigError(f"--kind is {kind!r}; expected physical or photometric")
    if (table is None) == (oracle is None):
        raise ConfigError("give either --table or --oracle")
    if oracle and (test or focused):
        raise ConfigError("--test and --focused go with --table; an oracle needs no injections")
    with stages() as show:
        if oracle is not None:
            population = design.oracle_population(oracle, 5 * max(numbers), seed)
        else:
            population = design.table_population(
                table or [], inputs, test or [], focused or [], seed
            )
        lines = []
        for line in design.bench_design(population, numbers, pilot, repeats, seed, show):
            lines.append(line)
            typer.echo(json.dumps(line))
    if (share := design.open_share(population)) is not None:
        typer.echo(json.dumps({"open_share": share, "bound_of_worth": 1 / share}))
    if figure is not None:
        from starcensus.experiments.figures_selection import learning_curve_figure

        learning_curve_figure(figure, lines)


@bench_app.command("fit")
def bench_fit_command(
    sizes: Annotated[
        str,
        typer.Option(
            help="Catalogue sizes, separated by commas "
            "[default: 1000, with --scaling 1000,10000,100000]."
        ),
    ] = "",
    scaling: Annotated[
        bool, typer.Option("--scaling", help="Time whole fits by size; without emcee.")
    ] = False,
    chains: Annotated[int, typer.Option(help="NUTS chains.")] = 4,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of each NUTS chain.")] = 250,
    samples: Annotated[int, typer.Option(help="Draws kept of each NUTS chain.")] = 400,
    steps: Annotated[int, typer.Option(help="Steps of each of emcee's 32 walkers.")] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the mock and of the samplers.")] = 0,
) -> None:
    """Effective draws per second of NUTS against emcee on one posterior, or time against size."""
    import json

    from starcensus.experiments.bench.fit import bench_fit, bench_scaling
    from starcensus.experiments.config import ConfigError
    from starcensus.inference import SamplerSettings

    try:
        given = tuple(int(float(size)) for size in sizes.split(",") if size.strip())
    except ValueError as error:
        raise ConfigError(f"--sizes {sizes}: expected numbers separated by commas") from error
    settings = SamplerSettings(n_chains=chains, n_warmup=warmup, n_samples=samples, seed=seed)
    if scaling:
        results = bench_scaling(given or (1000, 10_000, 100_000), settings, seed)
    else:
        results = bench_fit(given or (1000,), settings, steps, seed)
    for result in results:
        typer.echo(json.dumps(result))


def _run(experiment: pathlib.Path, data: pathlib.Path | None, out: pathlib.Path) -> None:
    from starcensus.experiments.config import ConfigError, load_experiment
    from starcensus.experiments.run import run_experiment

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
