"""Artificial cluster test of a network: mocks on a grid of places in a galaxy without clusters.

As in the thesis of J. Bialopetravičius, section 3.3.2, mocks of all parameters lie 64 pixels apart.
Each round has other mocks; the galaxy is one that the network never saw. LEGUS's pipeline goes
through the same frames.
"""

import dataclasses
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int
from scipy.spatial import KDTree

from benchmarks.cnn import FEW, field_of, fresh_galaxy, known_network, mocks_of
from benchmarks.recall_curves import Scores
from benchmarks.recall_legus import Legus, beside
from benchmarks.recall_maps import in_arms, maps_table, recall_figure, recall_maps
from starcensus.extras import need
from starcensus.files import prepare_folder
from starcensus.inference.calibration.ranks import ecdf_band
from starcensus.networks import ConvNetwork
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder import (
    FinderSettings,
    Said,
    finder_maps,
    posteriors_at,
    see_peaks,
)
from starcensus.selection.finder.accuracy import judge_accuracy
from starcensus.selection.finder.coverage import judge_coverage
from starcensus.shards import Work
from starcensus.simulate.images.galaxy import Galaxy
from starcensus.simulate.stamps import (
    StampBank,
    StampSettings,
    observe,
    run_stamps,
    stamp_psfs,
)

type Say = Callable[[str], None]

NEAR_PIX, FAR_PIX = 3.0, 6.0


@dataclasses.dataclass(frozen=True, eq=False)
class Rounds:
    """What became of the mocks of all rounds, and what was found where none is.

    `columns`: of each mock; `false`: of each peak farther than 6 pixels from any mock;
    `legus_false`: of each of LEGUS's sources that far, the number of its cuts that it passes;
    `said`: posteriors of the mocks with a peak within 6 pixels.
    """

    columns: dict[str, np.ndarray]
    false: dict[str, np.ndarray]
    legus_false: Int[np.ndarray, "source"]
    said: Said
    seconds: float


def bench_recall(
    seed: int,
    rounds: int = 3,
    network: pathlib.Path | None = None,
    side: int = 2048,
    stride: int = 1,
    workers: int = 2,
    out: pathlib.Path | None = None,
    say: Say = lambda text: None,
) -> dict[str, Any]:
    """Shares of mocks that are found, false detections, and posteriors of what is found.

    `out`: a folder for `mocks.ecsv`, what became of each mock, and of each peak where none is;
    `curve.ecsv`, completeness and purity at every cut in class probability; `maps.ecsv` and
    `recall.png`, shares that are found in bins of two parameters.
    """
    need("galsim", "sep", purpose="images")
    folder = None if out is None else prepare_folder(out)
    conv, arrays, about = known_network(network, seed)
    # So that centres have any place within a pixel.
    settings = dataclasses.replace(mocks_of(about["stamps"]), offset_sd_pix=2.0)
    say("a galaxy")
    galaxy, psfs = fresh_galaxy(settings, side, seed), stamp_psfs(settings)
    places = _places(galaxy.frame.shape, settings.size_pix)
    n = rounds * len(places)
    say("mocks")
    with tempfile.TemporaryDirectory() as scratch:
        path = pathlib.Path(scratch) / "bank.h5"
        run_stamps(settings, n, seed, path, Work(workers), psfs=psfs)
        bank = StampBank.load(path)
    finder = FinderSettings(stride=stride)
    grid = Grid.from_dict(about["grid"])
    maps, legus = ConvNetwork(conv, arrays), Legus.for_field(galaxy.frame, psfs)
    made = run_rounds(maps, grid, galaxy, bank, places, finder, legus, seed, say)
    arms = field_of(settings, side).arms(made.columns["x"], made.columns["y"])
    made = dataclasses.replace(made, columns={**made.columns, "arms": arms})
    scores = Scores.of(made.columns, made.false, finder, FAR_PIX)
    if folder is not None:
        _write(folder, made, scores, finder, settings)
    lattice = {"log_age": settings.log_age_step, "a_v": settings.a_v_step}
    return {
        "seed": seed,
        "rounds": rounds,
        "stride": stride,
        "megapixels_per_s": rounds * side**2 / made.seconds / 1e6,
        **recall_of(made, finder),
        "curve": scores.rows(),
        "legus": _with_legus(made, finder, legus, settings.distance_modulus),
        **_judged(made, finder, lattice, seed),
    }


def run_rounds(
    network: ConvNetwork,
    grid: Grid,
    galaxy: Galaxy,
    bank: StampBank,
    places: Int[np.ndarray, "place 2"],
    finder: FinderSettings,
    legus: Legus,
    seed: int,
    say: Say = lambda text: None,
) -> Rounds:
    """Put the mocks into the galaxy, `len(places)` at a time, and look for them."""
    columns: dict[str, list[np.ndarray]] = {}
    false: dict[str, list[np.ndarray]] = {}
    saids, others, seconds = [], [], 0.0
    field = np.stack([image.data for image in galaxy.frame]).astype(np.float32)
    exposure = np.array([image.exposure_s for image in galaxy.frame])
    for first in range(0, len(bank) - len(places) + 1, len(places)):
        say(f"mocks {first} to {first + len(places)}")
        mocks = bank.take(slice(first, first + len(places)))
        rng = np.random.default_rng([seed, first])
        mosaic, sky = _with_mocks(field, exposure, mocks, places, rng)
        started = time.perf_counter()
        seen = see_peaks(finder_maps(network, grid, mosaic, finder), finder)
        seconds += time.perf_counter() - started
        x, y = places[:, 1] + mocks["x"], places[:, 0] + mocks["y"]
        tree = KDTree(np.column_stack([x, y]))
        distance, to = map(np.asarray, tree.query(np.column_stack([seen.x, seen.y])))
        # The mock nearest to a peak; of several peaks the nearest.
        order = np.argsort(-distance, kind="stable")
        peak = np.full(len(places), -1)
        peak[to[order]] = order
        found = peak >= 0
        away = np.where(found, distance[peak], np.inf)
        said = {
            "distance_pix": away,
            "dx_pix": np.where(found, seen.x[peak] - x, np.nan),
            "dy_pix": np.where(found, seen.y[peak] - y, np.nan),
            "p_cluster": np.where(found, seen.probability[peak], 0.0),
            "visibility": np.where(found, seen.visibility[peak], 0.0),
            "sky": sky,
            "x": x,
            "y": y,
            "log_r_eff_pc": np.log10(mocks["r_h_pc"]),
            **{name: mocks[name] for name in ("log_age", "a_v", "log_mass")},
            **{f"mag_{band}": mocks["mags"][:, k] for k, band in enumerate(mocks.bands)},
        }
        said["legus_stage"], away_of_legus = legus.look(mosaic, x, y, NEAR_PIX, FAR_PIX)
        others.append(away_of_legus)
        rest = distance > FAR_PIX
        lone = {"p_cluster": seen.probability[rest], "visibility": seen.visibility[rest]}
        for into, parts in ((columns, said), (false, lone)):
            for name, values in parts.items():
                into.setdefault(name, []).append(values)
        near = away <= FAR_PIX
        which = np.where(near, peak, 0)
        some = seen.peaks.take(which[near])
        saids.append(posteriors_at(network, grid, mosaic, some, finder.stride))
    return Rounds(
        {name: np.concatenate(each) for name, each in columns.items()},
        {name: np.concatenate(each) for name, each in false.items()},
        np.concatenate(others),
        Said.concatenated(saids),
        seconds,
    )


def recall_of(made: Rounds, finder: FinderSettings) -> dict[str, Any]:
    """Shares before and after the cuts, offsets, and false detections."""
    c, f = made.columns, made.false
    near, far = c["distance_pix"] <= NEAR_PIX, c["distance_pix"] <= FAR_PIX
    passing = far & finder.passing(c["p_cluster"], c["visibility"])
    false = finder.passing(f["p_cluster"], f["visibility"])
    bright = (np.abs(c["log_age"] - 7) < 0.26) & (np.abs(c["log_mass"] - 4) < 0.25)
    inner, arms = c["sky"] > np.median(c["sky"]), in_arms(c)
    offsets = np.concatenate([c["dx_pix"][far & passing], c["dy_pix"][far & passing]])
    return {
        "n_mocks": len(far),
        "recall_3_pix": float(near.mean()),
        "recall_6_pix": float(far.mean()),
        "recall_after_cuts": float(passing.mean()),
        "recall_log_age_7_log_mass_4": float(passing[bright].mean()) if bright.any() else None,
        "n_log_age_7_log_mass_4": int(bright.sum()),
        "recall_bright_sky": float(passing[inner].mean()),
        "recall_faint_sky": float(passing[~inner].mean()),
        "n_in_arms": int(arms.sum()),
        "recall_in_arms": float(passing[arms].mean()) if arms.any() else None,
        "recall_out_of_arms": float(passing[~arms].mean()) if (~arms).any() else None,
        "offset_sd_pix": float(np.sqrt((offsets**2).mean())) if len(offsets) else None,
        "offset_median_pix": float(np.median(c["distance_pix"][passing])) if len(offsets) else None,
        "n_raw_peaks_away": len(f["p_cluster"]),
        "n_false": int(false.sum()),
        "false_per_found": float(false.sum() / max(passing.sum(), 1)),
    }


def _with_legus(
    made: Rounds, finder: FinderSettings, legus: Legus, distance_modulus: float
) -> dict[str, Any]:
    """What LEGUS's pipeline is here, and how it does beside the network."""
    limit = distance_modulus + legus.cuts["max_absolute_v"]
    bright = made.columns[f"mag_{legus.reference}"] <= limit
    found = beside(made.columns, made.false, made.legus_false, bright, finder, NEAR_PIX)
    return {"reference_band": legus.reference, **legus.cuts, **found}


def _write(
    folder: pathlib.Path,
    made: Rounds,
    scores: Scores,
    finder: FinderSettings,
    settings: StampSettings,
) -> None:
    """The tables and the figure of a run."""
    # Both load slowly.
    from astropy.table import Table

    from starcensus.experiments.report.style import save_figure

    c, n = made.columns, len(made.false["p_cluster"])
    # A row for each mock, and one with NaN for all that it lacks for each peak away from mocks.
    rows = {
        name: np.concatenate([values, made.false.get(name, np.full(n, np.nan))])
        for name, values in c.items()
    }
    passing = (c["distance_pix"] <= FAR_PIX) & finder.passing(c["p_cluster"], c["visibility"])
    ranges = {name: getattr(settings, name) for name in ("log_age", "log_mass", "a_v")}
    maps = recall_maps(c, passing, ranges)
    tables = {"mocks": Table(rows), "curve": scores.table(), "maps": maps_table(maps)}
    for name, table in tables.items():
        table.write(folder / f"{name}.ecsv", overwrite=True)
    save_figure(folder / "recall.png", lambda: recall_figure(maps))


def _judged(
    made: Rounds, finder: FinderSettings, lattice: dict[str, float], seed: int
) -> dict[str, Any]:
    """Posteriors as detected: of mocks that pass the cuts, at the peaks."""
    c = made.columns
    near = c["distance_pix"] <= FAR_PIX
    rows = near & finder.passing(c["p_cluster"], c["visibility"])
    truths = {name: c[name][rows] for name in ("log_age", "a_v", "log_mass", "log_r_eff_pc")}
    if rows.sum() < FEW:
        return {"detected.n": int(rows.sum())}
    answers = made.said.take(rows[near]).answers
    accuracy = judge_accuracy(answers, truths)
    coverage = judge_coverage(answers, truths, ecdf_band, seed=seed, lattice=lattice)
    return {
        **{f"detected.{k}": v for k, v in accuracy.describe().items()},
        **{f"detected.{k}": v for k, v in coverage.describe().items()},
    }


def _places(shape: tuple[int, int], side: int) -> Int[np.ndarray, "place 2"]:
    """First row and column of the stamps, whose windows lie inside the frame."""
    rows, cols = (np.arange(side // 2, n - 3 * side // 2 + 1, side) for n in shape)
    return np.stack(np.meshgrid(rows, cols, indexing="ij"), axis=-1).reshape(-1, 2)


def _with_mocks(
    field: Float32[np.ndarray, "band row col"],
    exposure_s: Float[np.ndarray, "band"],
    mocks: StampBank,
    places: Int[np.ndarray, "place 2"],
    rng: np.random.Generator,
) -> tuple[Float32[np.ndarray, "band row col"], Float[np.ndarray, "place"]]:
    """The field with a mock at each place, and the bluest band's sky there before."""
    side = mocks.size_pix
    mosaic = field.copy()
    under = np.stack([field[:, r : r + side, c : c + side] for r, c in places])
    # The field has its noise; that of the cluster's photons is added.
    light = observe(mocks.images, under, np.zeros(under.shape[:2]), exposure_s, rng)
    for stamp, (r, c) in zip(light, places, strict=True):
        mosaic[:, r : r + side, c : c + side] = stamp
    return mosaic, np.median(under[:, 0], axis=(1, 2)).astype(float)
