"""How near the answers of a network are on fresh mocks, on a galaxy that it never saw."""

import dataclasses
import json
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from starcensus.inference.calibration.ranks import ecdf_band
from starcensus.networks import ConvNetwork, ConvSettings, read_network, shipped_network
from starcensus.networks.cnn.decoding import softmax
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder.accuracy import judge_accuracy
from starcensus.selection.finder.coverage import judge_coverage
from starcensus.shards import Work
from starcensus.simulate import StellarPopulation, load_grid
from starcensus.simulate.clusters.cluster import DrawSettings
from starcensus.simulate.images.galaxy import Exposure, Galaxy, GalaxySettings, make_galaxy
from starcensus.simulate.stamps import (
    Backgrounds,
    BackgroundSettings,
    ComposeSettings,
    StampBank,
    StampSettings,
    compose,
    cut_backgrounds,
    run_stamps,
    stamp_psfs,
)

type Say = Callable[[str], None]

_BATCH = 250
# Of fewer objects nothing can be said.
FEW = 20
# Mocks in a figure.
_SHOWN = 2000


def mocks_of(described: dict[str, Any]) -> StampSettings:
    """The settings of the mocks that a network was taught, from what its file says of them.

    Raises `ValueError` where they cannot be made again by this package with its carried stars.
    """
    own = {field.name for field in dataclasses.fields(StampSettings)}
    given: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v
        for k, v in described.items()
        if k in own and k not in ("exposures", "faintest_mags")
    }
    mags = [np.inf if mag is None else mag for mag in described["faintest_mags"]]
    settings = StampSettings(
        exposures=tuple(Exposure(**each) for each in described["exposures"]),
        faintest_mags=tuple(mags),
        draw=DrawSettings(**described["engine"]["settings"]),
        **given,
    )
    # A file has lists for tuples.
    if json.dumps(settings.describe(), sort_keys=True) != json.dumps(described, sort_keys=True):
        raise ValueError(
            "the network was taught mocks of other stars than the carried ones, or of another "
            "initial mass function; their benchmark needs those"
        )
    return settings


def known_network(
    path: pathlib.Path | None, seed: int
) -> tuple[ConvSettings, dict[str, np.ndarray], dict[str, Any]]:
    """A network and what its file says; by default the one that the package carries.

    Raises `ValueError` for the seed with which it was taught: its mocks would not be fresh.
    """
    conv, arrays, about = read_network(path or shipped_network())
    taught = {about.get(name, {}).get("seed") for name in ("bank", "images")}
    if seed in taught:
        raise ValueError(f"seed {seed} is that of the network's own mocks or images; give another")
    return conv, arrays, about


def fresh_galaxy(settings: StampSettings, side: int, seed: int) -> Galaxy:
    """A galaxy without clusters, observed as the mocks are."""
    return make_galaxy(
        field_of(settings, side),
        StellarPopulation(load_grid(settings.grid), settings.imf),
        stamp_psfs(settings),
        seed,
    )


def field_of(settings: StampSettings, side: int) -> GalaxySettings:
    """What that galaxy is made of."""
    return GalaxySettings(
        shape=(side, side),
        exposures=settings.exposures,
        distance_modulus=settings.distance_modulus,
        pixel_scale_arcsec=settings.pixel_scale_arcsec,
    )


def bench_cnn(
    seed: int,
    n: int = 5000,
    network: pathlib.Path | None = None,
    jitter: float = 0.0,
    workers: int = 2,
    side: int = 2048,
    figure: pathlib.Path | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Accuracy and calibration on n fresh mocks, on backgrounds of a fresh galaxy.

    Three answers are judged: the mean of each posterior, whose figures have no prefix, its median,
    and the thesis's own way, the mean about the most probable bin (`decode.…`). `figure`: a PNG of
    means against the truth.
    """
    conv, arrays, about = known_network(network, seed)
    settings = mocks_of(about["stamps"])
    started = time.perf_counter()
    say("a galaxy")
    psfs = stamp_psfs(settings)
    galaxy = fresh_galaxy(settings, side, seed)
    choice = BackgroundSettings(n=(0, 0, min(n, 5000)), shares=(0.0, 0.0, 1.0))
    backgrounds = cut_backgrounds(galaxy.frame, choice, seed)
    say("mocks")
    with tempfile.TemporaryDirectory() as folder:
        drawing = time.perf_counter()
        bank_path = pathlib.Path(folder) / "bank.h5"
        run_stamps(settings, n, seed, bank_path, Work(workers), psfs=psfs)
        drawn = time.perf_counter() - drawing
        bank = StampBank.load(bank_path)
    say("posteriors")
    told = evaluate(ConvNetwork(conv, arrays), bank, backgrounds, seed, jitter)
    grid, truths = Grid.from_dict(about["grid"]), told["truths"]
    if figure is not None:
        # Loads Matplotlib.
        from starcensus.experiments.report.finder import predicted_figure
        from starcensus.experiments.report.style import save_figure

        some = {name: values[:_SHOWN] for name, values in truths.items()}
        parts = told["joint"][:_SHOWN], told["size"][:_SHOWN]
        save_figure(figure, lambda: predicted_figure(*parts, some, grid))
    found: dict[str, Any] = {"seed": seed, "jitter": jitter, "mocks_per_s": n / drawn}
    for point in ("mean", "median", "decode"):
        judged = judge_accuracy(told["joint"], told["size"], grid, truths, point=point)
        prefix = "" if point == "mean" else f"{point}."
        found |= {f"{prefix}{k}": v for k, v in judged.describe().items()}
    lattice = {"log_age": settings.log_age_step, "a_v": settings.a_v_step}
    say("calibration")
    for name, rows in _subsets(told["visibility"]).items():
        found[f"{name}.n"] = int(rows.sum())
        if rows.sum() < FEW:
            continue
        some = {k: v[rows] for k, v in truths.items()}
        judged = judge_coverage(
            told["joint"][rows],
            told["size"][rows],
            grid,
            some,
            ecdf_band,
            seed=seed,
            lattice=lattice,
        )
        found |= {f"{name}.{k}": v for k, v in judged.describe().items()}
    return {**found, "wall_s": time.perf_counter() - started}


def evaluate(
    network: ConvNetwork,
    bank: StampBank,
    backgrounds: Backgrounds,
    seed: int,
    jitter: float = 0.0,
) -> dict[str, Any]:
    """Posteriors of all mocks of a bank, each on one background, with their truths."""
    n = len(bank) // _BATCH * _BATCH or len(bank)
    sizes = ComposeSettings(0, min(_BATCH, n), jitter=jitter)
    parts: dict[str, list[np.ndarray]] = {"joint": [], "size": [], "visibility": [], "row": []}
    for step in range(n // sizes.n_clusters):
        batch = compose(bank, backgrounds, seed, step, sizes)
        said = network(batch.images)
        for name in ("joint", "size"):
            parts[name].append(softmax(said[name]))
        parts["visibility"].append(batch.visibility)
        parts["row"].append(batch.cluster)
    made: dict[str, Any] = {name: np.concatenate(values) for name, values in parts.items()}
    rows = made["row"]
    truths = {name: bank[name][rows] for name in ("log_age", "a_v", "log_mass")}
    made["truths"] = truths | {"log_r_eff_pc": np.log10(bank["r_h_pc"][rows])}
    return made


def _subsets(visibility: np.ndarray) -> dict[str, np.ndarray]:
    """All objects, and those near the visibility from which clusters count."""
    return {
        "all": np.ones(len(visibility), bool),
        "near_cut": (visibility > 1.5) & (visibility < 4),
    }
