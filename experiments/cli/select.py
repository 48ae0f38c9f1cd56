"""Commands `starcensus selection …`: train, choose, evaluate, import, marginalise, predict."""

import pathlib
from typing import TYPE_CHECKING, Annotated

import typer

from starcensus.experiments.cli.process import Commands
from starcensus.experiments.cli.terminal import Out, stages

if TYPE_CHECKING:
    import numpy

selection_app = Commands(help="Selection operators: train, choose, evaluate, import, marginalise.")


@selection_app.command("train")
def train_command(
    learning: Annotated[
        pathlib.Path, typer.Argument(help="Learning file (TOML): tables, \\[inputs], \\[train].")
    ],
    out: Annotated[pathlib.Path, typer.Option("--out", help="Operator file to write (.h5).")],
) -> None:
    """Train an operator on artificial cluster tests."""
    from starcensus.experiments.jobs.learn import run_training

    with stages() as show:
        summary = run_training(learning, out, show)
    for name, value in summary.items():
        typer.echo(f"  {name:32s} {value:.6g}")
    typer.echo(f"wrote {out}")


@selection_app.command("choose")
def choose_command(
    pilot: Annotated[pathlib.Path, typer.Argument(help="Operator file of two or more networks.")],
    library: Annotated[pathlib.Path, typer.Option(help="Cluster library to choose from (.h5).")],
    n: Annotated[int, typer.Option("--n", help="How many clusters, within chance.")],
    out: Annotated[pathlib.Path, typer.Option("--out", help="Cluster library to write (.h5).")],
    uniform: Annotated[
        float | None,
        typer.Option(help="Share of the draws that every cluster has alike, by default 0.05."),
    ] = None,
    disagreement: Annotated[
        float | None,
        typer.Option(help="Weight of the spread of the networks, by default 4."),
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
    from starcensus.experiments.jobs.choose import run_choice
    from starcensus.selection.learning import ChoiceSettings

    given = {"uniform": uniform, "disagreement": disagreement}
    given = {name: value for name, value in given.items() if value is not None}
    settings = ChoiceSettings(n, seed=seed, start_row=start_row, **given)
    with stages() as show:
        summary = run_choice(pilot, library, out, settings, exclude=exclude or (), progress=show)
    for name, value in summary.items():
        typer.echo(f"  {name:32s} {value:.6g}")
    typer.echo(f"wrote {out}")


@selection_app.command("evaluate")
def evaluate_command(
    operator: Annotated[pathlib.Path, typer.Argument(help="Operator file of learned networks.")],
    table: Annotated[
        list[pathlib.Path],
        typer.Option(help="Injection table that it was not trained on; repeat to join several."),
    ],
    out: Out,
) -> None:
    """Compare an operator with injections: errors, reliability, figures."""
    from starcensus.experiments.jobs.learn import run_evaluation

    with stages() as show:
        show("evaluating")
        summary = run_evaluation(operator, table, out)
    for name, value in summary.items():
        typer.echo(f"  {name:32s} {value:.6g}")
    typer.echo(f"wrote {out}")


@selection_app.command("import-c4")
def import_c4_command(
    out: Out,
    source: Annotated[
        pathlib.Path | None,
        typer.Option(help="Wheel or folder of cluster-completeness-pipeline 0.1.0."),
    ] = None,
) -> None:
    """Convert the published C-4 networks: c4_physical.h5 and c4_photometric.h5."""
    from starcensus.experiments.jobs.fit import prepare_folder
    from starcensus.selection import import_c4, save_selection

    prepare_folder(out)
    for name, operator in zip(("c4_physical", "c4_photometric"), import_c4(source), strict=True):
        save_selection(operator, out / f"{name}.h5")
        typer.echo(str(out / f"{name}.h5"))


@selection_app.command("marginalise")
def marginalise_command(
    out: Annotated[pathlib.Path, typer.Option("--out", help="Operator file to write (.h5).")],
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
        str, typer.Option(help="Library columns for the network's bands, in its order.")
    ] = "WFC3_UVIS_F275W,WFC3_UVIS_F336W,ACS_F435W,ACS_F555W,ACS_F814W",
    zeropoints: Annotated[
        pathlib.Path | None,
        typer.Option(help="AB minus Vega of SLUG's Vega, per band; converts to VEGAMAG."),
    ] = None,
    log_mass: Annotated[str, typer.Option(help="low,high,step of the grid, dex.")] = "2,6,0.25",
    log_age: Annotated[str, typer.Option(help="low,high,step of the grid, dex.")] = "6,10.1,0.1",
    a_v: Annotated[str, typer.Option(help="low,high,step of the grid, mag.")] = "0,3,0.5",
    seed: Annotated[int, typer.Option(help="Seed of the bootstrap.")] = 0,
) -> None:
    """Average an operator of magnitudes over the stochastic light of simulated clusters."""
    import jax
    import numpy as np

    from starcensus.bands import ab_minus_vega
    from starcensus.experiments.schema.fit import ConfigError
    from starcensus.selection import PhotometricNetwork, load_selection, marginalise, save_selection
    from starcensus.simulate import ClusterLibrary, read_slug2, read_zeropoints

    own = [path for path in library if path.endswith(".h5")]
    if own and zeropoints is not None:
        raise ConfigError(
            f"--zeropoints is for files of SLUG v2, and {own[0]} is a library of starcensus: leave "
            "it out"
        )
    loaded = load_selection(network)
    if not isinstance(loaded, PhotometricNetwork):
        raise ConfigError(f"{network}: holds a {type(loaded).__name__}, not one of magnitudes")
    names = [name.strip() for name in bands.split(",")]
    convert = None
    if zeropoints is not None:
        given = read_zeropoints(zeropoints)
        known = {name: ab for name in names if (ab := ab_minus_vega(name)) is not None}
        if missing := [name for name in names if name not in given or name not in known]:
            raise ConfigError(f"{zeropoints}: no zero points for {', '.join(missing)}")
        convert = {name: (given[name], known[name]) for name in names}
    parts = [
        ClusterLibrary.load(path, names)
        if path in own
        else read_slug2(
            f"{path}_cluster_prop.fits", f"{path}_cluster_phot.fits", names, "neb_ex", convert
        )
        for path in library
    ]
    # Beyond the training magnitudes the network is saturated: 0 below, 1 above.
    result = marginalise(
        loaded.simulated(),
        ClusterLibrary.concatenate(*parts),
        *(
            _axis(text, name)
            for text, name in ((log_mass, "log-mass"), (log_age, "log-age"), (a_v, "a-v"))
        ),
        key=jax.random.key(seed),
    )
    save_selection(result.selection, out)
    typer.echo(
        f"{out}: median standard error of p_sel {float(np.median(result.standard_error)):.4f}, "
        f"largest {float(result.standard_error.max()):.3f}"
    )


def _axis(text: str, name: str) -> "numpy.ndarray":
    import numpy as np

    from starcensus.experiments.schema.fit import ConfigError

    try:
        low, high, step = (float(part) for part in text.split(","))
        return np.linspace(low, high, round((high - low) / step) + 1)
    except ValueError as error:
        raise ConfigError(f"--{name} is {text!r}; expected low,high,step") from error


@selection_app.command("predict")
def predict_command(
    operator: Annotated[pathlib.Path, typer.Argument(help="Operator file.")],
    log_mass: Annotated[float, typer.Option(help="log10 of the mass, M_sun.")],
    log_age: Annotated[float, typer.Option(help="log10 of the age, yr.")],
    a_v: Annotated[float, typer.Option(help="V-band extinction, mag.")],
) -> None:
    """Print p_sel at one mass, age and extinction, and its spread over the ensemble."""
    from starcensus.experiments.schema.fit import ConfigError
    from starcensus.selection import AbstractSelection, load_selection

    loaded = load_selection(operator)
    if not isinstance(loaded, AbstractSelection):
        raise ConfigError(f"{operator}: holds an operator of magnitudes, not of θ")
    loaded.check_points(log_mass, log_age, a_v)
    members = loaded.members(log_mass, log_age, a_v)
    typer.echo(f"p_sel = {float(members.mean()):.6f} (ensemble spread {float(members.std()):.2g})")
