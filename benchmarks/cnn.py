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
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder.accuracy import judge_accuracy
from starcensus.selection.finder.coverage import judge_coverage
from starcensus.selection.finder.mocks import answer_mocks
from starcensus.selection.finder.surroundings import judge_surroundings
from starcensus.shards import Work
from starcensus.simulate import StellarPopulation, load_grid
from starcensus.simulate.clusters.cluster import DrawSettings
from starcensus.simulate.images.galaxy import Exposure, Galaxy, GalaxySettings, make_galaxy
from starcensus.simulate.stamps import (
    BackgroundSettings,
    StampBank,
    StampSettings,
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
    """Accuracy and calibration on n fresh mocks, on backgrounds of a fresh galaxy, and what these
    tell of the mocks (`surroundings.…`).

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
    grid = Grid.from_dict(about["grid"])
    asked = ConvNetwork(conv, arrays)
    told = answer_mocks(asked, grid, bank, backgrounds, seed, jitter)
    truths = told.true
    if figure is not None:
        # Loads Matplotlib.
        from starcensus.experiments.report.finder import predicted_figure
        from starcensus.experiments.report.style import save_figure

        first = np.arange(min(_SHOWN, len(told.said)))
        some = {name: values[first] for name, values in truths.items()}
        save_figure(figure, lambda: predicted_figure(told.said.answers.take(first), some))
    found: dict[str, Any] = {"seed": seed, "jitter": jitter, "mocks_per_s": n / drawn}
    for point in ("mean", "median", "decode"):
        answers = told.said.binned if point == "decode" else told.said.answers
        judged = judge_accuracy(answers, truths, point=point)
        prefix = "" if point == "mean" else f"{point}."
        found |= {f"{prefix}{k}": v for k, v in judged.describe().items()}
    lattice = {"log_age": settings.log_age_step, "a_v": settings.a_v_step}
    say("calibration")
    for name, rows in _subsets(told.visibility).items():
        found[f"{name}.n"] = int(rows.sum())
        if rows.sum() < FEW:
            continue
        some = {k: v[rows] for k, v in truths.items()}
        judged = judge_coverage(
            told.said.answers.take(rows),
            some,
            ecdf_band,
            seed=seed,
            lattice=lattice,
        )
        found |= {f"{name}.{k}": v for k, v in judged.describe().items()}
    say("surroundings")
    found |= judge_surroundings(asked, grid, bank, backgrounds, seed).describe()
    return {**found, "wall_s": time.perf_counter() - started}


def _subsets(visibility: np.ndarray) -> dict[str, np.ndarray]:
    """All objects, and those near the visibility from which clusters count."""
    return {
        "all": np.ones(len(visibility), bool),
        "near_cut": (visibility > 1.5) & (visibility < 4),
    }
