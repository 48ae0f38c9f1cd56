"""Commands `starcensus bench …`: one JSON line for each measurement."""

import pathlib
from typing import Annotated

import typer

from starcensus.experiments.cli.terminal import stages

bench_app = typer.Typer(
    name="starcensus bench", help="Benchmarks: one JSON line each.", no_args_is_help=True
)


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

    from benchmarks.slug import bench_slug

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

    from benchmarks.simulate import SlugProgram, bench_simulate

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

    from benchmarks.inject import bench_inject

    with stages() as show:
        typer.echo(json.dumps(bench_inject(frames, side, per_frame, seed, show)))


@bench_app.command("detect")
def bench_detect_command(
    network: Annotated[
        pathlib.Path | None,
        typer.Option(help="Definition of a network [default: the one that the package carries]."),
    ] = None,
    size: Annotated[int, typer.Option(help="Rows and columns of the mosaic.", min=1)] = 1024,
    windows: Annotated[int, typer.Option(help="Windows of the sliding window.", min=1)] = 2000,
    stride: Annotated[
        int, typer.Option(help="Pixels between windows of a second map; 1: none.", min=1)
    ] = 1,
    rounds: Annotated[int, typer.Option(help="Repetitions of all that is timed.", min=1)] = 3,
    seed: Annotated[int, typer.Option(help="Of mosaic and windows.", min=0)] = 0,
) -> None:
    """How fast a network maps a mosaic, beside its sliding window."""
    import json

    from benchmarks.detect import bench_detect

    with stages() as show:
        found = bench_detect(network, size, windows, stride, rounds, seed, show)
    typer.echo(json.dumps(found))


@bench_app.command("frame")
def bench_frame_command(
    survey: Annotated[pathlib.Path, typer.Argument(help="Survey file of a network's catalogue.")],
    catalogue: Annotated[
        pathlib.Path, typer.Option(help="catalogue.ecsv that `starcensus detect` wrote of it.")
    ],
    known: Annotated[
        pathlib.Path, typer.Option(help="Known clusters: a table with columns x, y and radius.")
    ],
    data: Annotated[
        list[pathlib.Path] | None, typer.Option(help="Folder of the images; may be repeated.")
    ] = None,
    figure: Annotated[
        pathlib.Path | None, typer.Option(help="A picture (.png) of the frame and its sources.")
    ] = None,
) -> None:
    """Which known clusters of a real frame a network's catalogue holds, and what else."""
    import json

    from benchmarks.frame import bench_frame

    typer.echo(json.dumps(bench_frame(survey, catalogue, known, tuple(data or ()), figure)))


@bench_app.command("light")
def bench_light_command(
    file: Annotated[pathlib.Path, typer.Argument(help='File of kind = "light".')],
    out: Annotated[pathlib.Path, typer.Option(help="Folder of the simulated clusters.")],
    data: Annotated[
        list[pathlib.Path] | None, typer.Option(help="Folder of the catalogue; may be repeated.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Instead of the file's.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Of emcee's 100 walkers.", min=100)] = 1500,
    workers: Annotated[int, typer.Option(help="Processes that draw.", min=1)] = 2,
) -> None:
    """A fit of measured light against emcee with kernel sums at every step."""
    import json

    from benchmarks.light import bench_light

    with stages() as show:
        found = bench_light(
            file, out, tuple(data or ()), tuple(settings or ()), steps, workers, show
        )
    typer.echo(json.dumps(found))


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

    from benchmarks import design
    from starcensus.experiments.schema._base import ConfigError
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
        from starcensus.experiments.report.learned import learning_curve_figure

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
    routes: Annotated[
        str,
        typer.Option(
            help="With --scaling: default (nodes for many clusters), samples (never nodes), "
            "importance (no chains); separated by commas."
        ),
    ] = "default",
    chains: Annotated[int, typer.Option(help="NUTS chains.")] = 4,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of each NUTS chain.")] = 250,
    samples: Annotated[int, typer.Option(help="Draws kept of each NUTS chain.")] = 400,
    steps: Annotated[int, typer.Option(help="Steps of each of emcee's 32 walkers.")] = 4000,
    seed: Annotated[int, typer.Option(help="Seed of the mock and of the samplers.")] = 0,
) -> None:
    """Effective draws per second of NUTS against emcee on one posterior, or time against size."""
    import json

    from benchmarks.fit import ROUTES, bench_fit, bench_scaling
    from starcensus.experiments.schema._base import ConfigError
    from starcensus.inference import SamplerSettings

    given = _numbers_of(sizes)
    settings = SamplerSettings(n_chains=chains, n_warmup=warmup, n_samples=samples, seed=seed)
    ways = tuple(route.strip() for route in routes.split(","))
    if unknown := [route for route in ways if route not in ROUTES]:
        raise ConfigError(f"--routes {unknown[0]}: expected some of {', '.join(ROUTES)}")
    if scaling:
        results = bench_scaling(given or (1000, 10_000, 100_000), settings, seed, ways)
    else:
        results = bench_fit(given or (1000,), settings, steps, seed)
    for result in results:
        typer.echo(json.dumps(result))


def _numbers_of(sizes: str) -> tuple[int, ...]:
    from starcensus.experiments.schema._base import ConfigError

    try:
        return tuple(int(float(size)) for size in sizes.split(",") if size.strip())
    except ValueError as error:
        raise ConfigError(f"--sizes {sizes}: expected numbers separated by commas") from error


@bench_app.command("latents")
def bench_latents_command(
    sizes: Annotated[str, typer.Option(help="Catalogue sizes, separated by commas.")] = "1000",
    chains: Annotated[int, typer.Option(help="NUTS chains.")] = 4,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of each chain.")] = 250,
    samples: Annotated[int, typer.Option(help="Draws kept of each chain.")] = 400,
    points: Annotated[int, typer.Option(help="Points of each cluster, a power of two.")] = 256,
    seed: Annotated[int, typer.Option(help="Of the mock and of the samplers.")] = 0,
) -> None:
    """Effective draws per second of every cluster's mass, age and extinction."""
    import json

    from benchmarks.latents import bench_latents
    from starcensus.inference import SamplerSettings

    given = _numbers_of(sizes)
    settings = SamplerSettings(n_chains=chains, n_warmup=warmup, n_samples=samples, seed=seed)
    with stages() as show:
        for result in bench_latents(given, settings, points, seed, show):
            typer.echo(json.dumps(result))


@bench_app.command("evidence")
def bench_evidence_command(
    size: Annotated[int, typer.Option(help="Clusters of the mock catalogue.", min=10)] = 300,
    warmup: Annotated[int, typer.Option(help="Warm-up steps of each NUTS chain.")] = 500,
    samples: Annotated[int, typer.Option(help="Draws kept of each NUTS chain.")] = 1000,
    live: Annotated[int, typer.Option(help="Live points; nautilus has four times as many.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the mock and of all methods.")] = 0,
) -> None:
    """Evidence of one fit by bridge and nested sampling, nautilus and dynesty (extra `nested`)."""
    import json

    from benchmarks.evidence import bench_evidence
    from starcensus.inference import SamplerSettings

    with stages() as show:
        sampler = SamplerSettings(4, warmup, samples)
        for result in bench_evidence(size, sampler, live, seed, show):
            typer.echo(json.dumps(result))


@bench_app.command("cutoffs")
def bench_cutoffs_command(
    n: Annotated[int, typer.Option(help="Clusters of each catalogue.", min=10)] = 300,
    replicates: Annotated[int, typer.Option(help="Catalogues of each law.", min=2)] = 400,
    error: Annotated[float, typer.Option(help="Of recorded masses, dex.", min=0.02)] = 0.3,
    seed: Annotated[int, typer.Option(help="Of all catalogues.")] = 0,
) -> None:
    """How often odds of a Schechter cut-off come true, with errors of masses known and ignored."""
    import json

    from benchmarks.cutoffs import bench_cutoffs

    with stages() as show:
        for result in bench_cutoffs(n, replicates, error, seed, show):
            typer.echo(json.dumps(result))


@bench_app.command("confusion")
def bench_confusion_command(
    size: Annotated[list[int] | None, typer.Option(help="Clusters of a catalogue.", min=50)] = None,
    replicates: Annotated[int, typer.Option(help="Catalogues of each law.", min=1)] = 25,
    clusters: Annotated[int, typer.Option(help="Simulated ones of the likelihood.")] = 40_000,
    seed: Annotated[int, typer.Option(help="Of all catalogues.")] = 0,
    library: Annotated[
        pathlib.Path | None, typer.Option(help="Folder that keeps the simulated clusters.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that draw simulated clusters.")] = 1,
) -> None:
    """Which law of disruption magnitudes tell from which, and whether the odds come true."""
    import json

    from benchmarks.confusion import bench_confusion

    sizes = tuple(size or (300, 1000))
    with stages() as show:
        for result in bench_confusion(sizes, replicates, clusters, seed, library, workers, show):
            typer.echo(json.dumps(result))


@bench_app.command("single")
def bench_single_command(
    mass: Annotated[
        list[float] | None,
        typer.Option(help="M_sun; clusters are within half a dex. By default 500, 5000, 50000."),
    ] = None,
    n: Annotated[int, typer.Option(help="Clusters about each mass.", min=2)] = 100,
    draws: Annotated[int, typer.Option(help="Clusters drawn for them.", min=1000)] = 1_000_000,
    points: Annotated[int, typer.Option(help="Points of the emulator.", min=32)] = 1024,
    seed: Annotated[int, typer.Option(help="Of all clusters.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that draw clusters.", min=1)] = 2,
    out: Annotated[
        pathlib.Path | None, typer.Option(help="A folder that keeps the drawn clusters.")
    ] = None,
) -> None:
    """Posteriors of single clusters: the emulator's beside those of a million drawn clusters."""
    import json

    from benchmarks.single import bench_single

    with stages() as show:
        for result in bench_single(
            tuple(mass or (500.0, 5000.0, 50_000.0)), n, draws, points, seed, workers, out, show
        ):
            typer.echo(json.dumps(result))


@bench_app.command("cnn")
def bench_cnn_command(
    seed: Annotated[int, typer.Option(help="Of mocks and galaxy; not that of the network's own.")],
    n: Annotated[int, typer.Option(help="Mocks.", min=250)] = 5000,
    network: Annotated[
        pathlib.Path | None,
        typer.Option(help="A network's definition; by default the one that the package carries."),
    ] = None,
    jitter: Annotated[
        float, typer.Option(help="Scatter of the factors of the backgrounds' bands.", min=0.0)
    ] = 0.0,
    workers: Annotated[int, typer.Option(help="Processes that draw mocks.", min=1)] = 2,
    side: Annotated[int, typer.Option(help="Rows and columns of the galaxy.", min=512)] = 2048,
    figure: Annotated[
        pathlib.Path | None, typer.Option(help="A picture (.png) of answers against the truth.")
    ] = None,
) -> None:
    """How near a network's answers are on fresh mocks, and whether their errors hold."""
    import json

    from benchmarks.cnn import bench_cnn

    with stages() as show:
        typer.echo(json.dumps(bench_cnn(seed, n, network, jitter, workers, side, figure, show)))


@bench_app.command("classes")
def bench_classes_command(
    seed: Annotated[int, typer.Option(help="Of candidates, galaxy and networks.")] = 1,
    n: Annotated[int, typer.Option(help="Candidates, of which 15% are the test.", min=400)] = 8000,
    models: Annotated[int, typer.Option(help="Networks of each ensemble.", min=1)] = 10,
    steps: Annotated[int, typer.Option(help="Batches of 32 for each network.", min=1)] = 500,
    width: Annotated[int, typer.Option(help="Channels of ResNet18's first stage.", min=1)] = 16,
    side: Annotated[int, typer.Option(help="Rows and columns of the galaxy.", min=512)] = 1536,
    workers: Annotated[int, typer.Option(help="Processes that draw candidates.", min=1)] = 2,
    out: Annotated[
        pathlib.Path | None,
        typer.Option(help="A folder for the networks; training goes on from what is there."),
    ] = None,
) -> None:
    """How far two ensembles of classifiers agree on simulated candidates in five bands (Torch)."""
    import json

    from benchmarks.classes import bench_classes

    with stages() as show:
        found = bench_classes(seed, n, models, steps, width, side, workers, out, say=show)
        typer.echo(json.dumps(found))


@bench_app.command("recall")
def bench_recall_command(
    seed: Annotated[int, typer.Option(help="Of mocks and galaxy; not that of the network's own.")],
    rounds: Annotated[int, typer.Option(help="Times that the grid of places is filled.")] = 3,
    network: Annotated[
        pathlib.Path | None,
        typer.Option(help="A network's definition; by default the one that the package carries."),
    ] = None,
    side: Annotated[int, typer.Option(help="Rows and columns of the galaxy.", min=512)] = 2048,
    stride: Annotated[int, typer.Option(help="Pixels between windows: 1, 2 or 4.")] = 1,
    workers: Annotated[int, typer.Option(help="Processes that draw mocks.", min=1)] = 2,
    out: Annotated[
        pathlib.Path | None,
        typer.Option(
            help="A folder for tables (.ecsv) of all mocks, the curve over the cut in class and "
            "maps of the recall, and a picture of these."
        ),
    ] = None,
) -> None:
    """Which mocks a network and LEGUS's pipeline find in a galaxy, and what else they find."""
    import json

    from benchmarks.recall import bench_recall

    with stages() as show:
        typer.echo(
            json.dumps(bench_recall(seed, rounds, network, side, stride, workers, out, show))
        )


@bench_app.command("operator")
def bench_operator_command(
    injections: Annotated[int, typer.Option(help="Of each training.")] = 3000,
    clusters: Annotated[
        str, typer.Option(help="Expected in a catalogue; several with commas.")
    ] = "100,300,1000,3000",
    replicates: Annotated[int, typer.Option(help="Trainings.")] = 60,
    seed: Annotated[int, typer.Option(help="Of the first replicate.")] = 0,
) -> None:
    """Whether posteriors hold the error of an operator that was learned from few injections."""
    import json

    from benchmarks.operator_error import bench_operator_error

    sizes = tuple(float(part) for part in clusters.split(","))
    with stages() as show:
        for line in bench_operator_error(injections, sizes, replicates, seed, show):
            typer.echo(json.dumps(line))


@bench_app.command("observation")
def bench_observation_command(
    injections: Annotated[int, typer.Option(help="Of each table.")] = 3000,
    catalogued: Annotated[
        str, typer.Option(help="Expected in a catalogue; several with commas.")
    ] = "300,2000",
    replicates: Annotated[int, typer.Option(help="Tables.")] = 24,
    clusters: Annotated[int, typer.Option(help="Simulated ones of the likelihood.")] = 160_000,
    seed: Annotated[int, typer.Option(help="Of the first replicate.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = 2,
    each: Annotated[bool, typer.Option(help="Print the distances of each replicate too.")] = False,
) -> None:
    """Whether fits of light hold the error of an observation model of few injections."""
    import json

    from benchmarks.observation_error import bench_observation_error

    def say(line: dict) -> None:
        if each:
            typer.echo(json.dumps(line))

    sizes = tuple(float(part) for part in catalogued.split(","))
    with stages() as show:
        for line in bench_observation_error(
            injections, sizes, replicates, clusters, seed, workers, show, say
        ):
            typer.echo(json.dumps(line))
