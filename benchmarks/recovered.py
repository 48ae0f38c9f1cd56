"""Are the posteriors of single clusters right whose light was measured in pixels?

    python -m benchmarks.recovered training.h5 test.h5 --out FOLDER

The tables are those of `experiments/examples/observation`: artificial clusters with known mass, age
and extinction, found and measured by a survey's pipeline. A model of what is measured is learned
from the first. Catalogued clusters of the second, chosen by what was measured of them alone, get
posteriors under the design's distribution of mass, age and extinction; among the draws the truth
must have uniform ranks. The same with the errors that the pipeline quotes, and a floor.
"""

import argparse
import json
import pathlib
import sys
import time

import numpy as np

from benchmarks.observation import Row, table_of
from starcensus.bands import find_band
from starcensus.inference import measure, power_law_prior
from starcensus.inference.calibration.ranks import ecdf_band, rank_ecdf, rank_of
from starcensus.inference.objects import LightObjects, LightSettings, TargetSettings, draw_to_order
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.injection import InjectionTable
from starcensus.selection.observation import (
    AbstractObservation,
    GaussianObservation,
    LearnedObservation,
    MeasuredCuts,
    NoiseCurves,
    learn_observation,
    load_observation,
    recorded_photometry,
    save_observation,
)
from starcensus.shards import Work
from starcensus.simulate import Pool, StarcensusEngine
from starcensus.theta import Box

# Of the library that was injected, log-uniform in mass and age, uniform in extinction.
BOX = Box((2.5, 6.0), (6.0, 10.1), (0.0, 3.0))
FLAT = power_law_prior(-1.0, -1.0)
NAMES = ("log_mass", "log_age", "a_v")
N_DRAWS = 199
FLOORS = (0.05, 0.3)
# Effective simulated clusters of those judged by quoted errors, which explain few.
FEW = 5.0


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", file=sys.stderr, flush=True)


def learned(training: pathlib.Path, out: pathlib.Path) -> LearnedObservation:
    """What is measured, learned from the table, or read where `out` has it."""
    path = out / "observation.h5"
    if not path.exists():
        save_observation(learn_observation(InjectionTable.load(training)), path)
    found = load_observation(path)
    assert isinstance(found, LearnedObservation)
    return found


def chosen(
    table: InjectionTable, model: LearnedObservation, n: int, brightest: float, faintest: float
) -> tuple[Photometry, np.ndarray]:
    """Any n clusters with a measured V between two limits, and their truth `(n, 3)`."""
    model.marks.refuse({"the test": table}, "the observation model")
    seen = recorded_photometry(table, model.max_error)
    rows = np.flatnonzero(table.catalogued)
    v = seen.mags[:, seen.bands.index(find_band(seen.bands, "V"))]
    kept = model.passing(seen)[0] & (v > brightest) & (v < faintest)
    # Tables are in the order of brightness.
    kept = np.random.default_rng(0).permutation(np.flatnonzero(kept))[:n]
    some = table.take(rows[kept])
    return seen.take(kept), np.column_stack([getattr(some, name) for name in NAMES])


def quoted(model: LearnedObservation, data: Photometry, floor: float) -> GaussianObservation:
    """Gaussian errors as the pipeline quotes them, with a floor, mag."""
    # Only bands with an error of at most `max_error` are recorded.
    least = 2.5 / np.log(10.0) / model.max_error
    cuts = MeasuredCuts(min_snr=least, recorded_snr=least)
    noise = NoiseCurves.of(data)
    return GaussianObservation(model.bands, model.distance_modulus, noise, floor=floor, cuts=cuts)


def judged(
    data: Photometry, truth: np.ndarray, model: AbstractObservation, pool: Pool, least: float
) -> list[Row]:
    """Ranks and coverage of those that have `least` effective simulated clusters or more, which
    the data alone decide."""
    objects = LightObjects(data, model, pool, LightSettings(max_rows=20_000))
    found = measure(objects, FLAT, BOX, N_DRAWS, seed=1)
    enough = found.effective >= least
    assert found.draws is not None
    some = np.flatnonzero(enough)
    # Every object that has draws has as many.
    drawn = found.draws.theta.reshape(-1, N_DRAWS, len(NAMES))
    draws = drawn[np.searchsorted(np.flatnonzero(found.effective > 0), some)]
    low, high = ecdf_band(len(some), N_DRAWS, 0.05)
    rows: list[Row] = []
    for k, name in enumerate(NAMES):
        ranks = rank_of(draws[:, :, k], truth[some, k])
        ecdf = rank_ecdf(ranks[:, None], N_DRAWS)[:, 0]
        level = (ranks + 0.5) / (N_DRAWS + 1)
        even = (np.arange(1, N_DRAWS + 1) / (N_DRAWS + 1)) * len(some)
        rows.append(
            {
                "parameter": name,
                "n": len(some),
                "too few": int((~enough).sum()),
                "inside the band": bool(((ecdf >= low) & (ecdf <= high)).all()),
                "largest distance": float(np.abs(ecdf - even).max() / len(some)),
                "band": float(np.abs(high - even).max() / len(some)),
                "68%": float((np.abs(level - 0.5) < 0.34).mean()),
                "95%": float((np.abs(level - 0.5) < 0.475).mean()),
                "sd (median)": float(np.median(draws[:, :, k].std(axis=1))),
                "rms error of the median": float(
                    np.sqrt(((np.median(draws[:, :, k], axis=1) - truth[some, k]) ** 2).mean())
                ),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("training", type=pathlib.Path)
    parser.add_argument("test", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--n", type=int, default=3000)
    parser.add_argument("--v", type=float, nargs=2, default=(20.5, 24.5), help="measured V")
    parser.add_argument("--least", type=float, default=30.0, help="effective simulated clusters")
    parser.add_argument("--rounds", type=int, default=2, help="of exploring")
    parser.add_argument("--clusters", type=int, default=200_000, help="of the library")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    model = learned(given.training, given.out)
    data, truth = chosen(InjectionTable.load(given.test), model, given.n, *given.v)
    say(f"{len(data)} clusters")
    engine = StarcensusEngine(model.bands)
    first = given.clusters // 8
    settings = TargetSettings(
        given.clusters, 100.0, first, first, given.rounds, 12, mass_slope=-1.2, seed=7
    )
    drawn = draw_to_order(data, model, engine, BOX, settings, given.out / "library", Work(2), say)
    models: dict[str, tuple[AbstractObservation, float]] = {"learned": (model, given.least)}
    for floor in FLOORS:
        models[f"quoted errors, floor {floor:g} mag"] = quoted(model, data, floor), FEW
    found: dict[str, list[Row]] = {}
    for name, (assumed, least) in models.items():
        found[name] = judged(data, truth, assumed, drawn.pool, least)
        print(f"\n**{name}**\n\n{table_of(found[name])}", flush=True)
        (given.out / "recovered.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
