"""What do the published ways of handling cuts and lost bands do to fits of LEGUS magnitudes?

`python -m tests.inference.legus_study cuts|uv|library|stars DIR --out FOLDER`, with the LEGUS
tables below DIR. `cuts` fits the clusters of NGC 3344 brighter than several limits in M_V, with the
limit in the likelihood, and left out as an operator that knows no cut does. `uv` fits NGC 628-C
with its poor U and F275W (errors above 0.3 mag, or no flux) taken as measured, as upper limits, as
never looked at, and filled in with the faintest or the mean magnitude of the band. `library` fits
NGC 3344 with another library, and without its brightest and its faintest cluster. `stars` fits it
with stars of other tracks and metallicities and without gas, `--galaxy ngc628c` the other galaxy;
it makes the grids, from isochrones, atmospheres and filters below DIR. A line of JSON for each fit:
medians and halves of the central 68%.
"""

import argparse
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Iterator

import numpy as np

from starcensus.experiments.jobs._job import SILENT, open_job
from starcensus.experiments.jobs._pool import Explained
from starcensus.experiments.jobs._seen import passing
from starcensus.experiments.jobs.grid import GridJob
from starcensus.experiments.jobs.light import LightJob
from starcensus.inference import (
    FitResult,
    FitSettings,
    SamplerSettings,
    double_precision,
    fit,
    library_error,
    log_likelihood,
)
from starcensus.inference.draws import thinned
from starcensus.inference.objects import LightObjects
from starcensus.selection import complete
from starcensus.selection.catalogue.photometry import BandState, Photometry
from starcensus.selection.observation import GaussianObservation
from starcensus.shards import Work

EXAMPLES = pathlib.Path(__file__).parents[2] / "experiments" / "examples"
NGC3344, NGC628C = "ngc3344/ngc3344_light.toml", "ngc628c/ngc628c_light.toml"
GALAXIES = {"ngc3344": NGC3344, "ngc628c": NGC628C}
FILES = {"cuts": NGC3344, "uv": NGC628C, "library": NGC3344, "stars": NGC3344}
# Of `stars`: settings of the fit, or those of the file of a grid.
STARS: dict[str, dict[str, str]] = {
    "PARSEC, Z = 0.02": {},
    "without gas": {"library.draw.nebular": "false"},
    "gas with lines of metals": {"gas.lines": '"nebular/ZAU_ND_prsc.lines"'},
    "PARSEC, Z = 0.008": {"library.grid": '"lmc"'},
    "Padova 2007, Z = 0.019": {"isochrones": '"isochrones/Padova2007/isoc_z0.0190.dat"'},
    "BaSTI, Z = 0.02": {"isochrones": '"isochrones/BaSTI/isoc_z0.0200.dat"'},
}
SAMPLER = SamplerSettings(8, 300, 300, target_accept=0.9)
# Larger errors were called no detections by published operators.
POOR_MAG = 0.3
# Of a filled-in magnitude; any value says that something was measured.
FILLED_ERROR = 0.05

type Case = tuple[str, Photometry, GaussianObservation]


def of_cuts(data: Photometry, observation: GaussianObservation, limits: list[float]) -> Iterator:
    """Clusters brighter than each limit, with and without it in the likelihood."""
    band = next(b for b in data.bands if b.endswith("F555W"))
    for limit in limits:
        cut = dataclasses.replace(observation.cuts, max_absolute={band: limit})
        told = dataclasses.replace(observation, cuts=cut)
        none = dataclasses.replace(
            observation, cuts=dataclasses.replace(observation.cuts, max_absolute={})
        )
        some = passing(told, data)
        yield f"M_V < {limit:g}", some, told
        yield f"M_V < {limit:g}, left out", some, none


def of_uv(data: Photometry, observation: GaussianObservation) -> Iterator[Case]:
    """Five ways with what was badly measured in the ultraviolet.

    Whoever calls an error above 0.3 mag a lost band does so in all bands, and says from which S/N
    on a band is recorded: the probability of a lost one is that of less.
    """
    error = 2.5 / np.log(10) * data.flux_error / data.flux
    ultraviolet = np.array([b.endswith(("F275W", "F336W")) for b in data.bands])
    bad = ~((data.states == BandState.MEASURED) & (error > 0) & (error < POOR_MAG))
    poor = ultraviolet & bad
    print(f"{int(poor.any(axis=1).sum())} clusters with a poor U or F275W", file=sys.stderr)

    def states(state: BandState, lost: np.ndarray) -> Photometry:
        return dataclasses.replace(
            data,
            flux=np.where(lost, np.nan, data.flux),
            flux_error=np.where(lost, np.nan, data.flux_error),
            states=np.where(lost, state, data.states).astype(np.uint8),
        )

    def filled(mags: np.ndarray) -> Photometry:
        flux = np.where(poor, 10 ** (-0.4 * mags), data.flux)
        return dataclasses.replace(
            data,
            flux=flux,
            flux_error=np.where(poor, flux * FILLED_ERROR, data.flux_error),
            states=np.where(poor, BandState.MEASURED, data.states).astype(np.uint8),
        )

    good = np.where(poor, np.nan, data.mags)
    covered = dataclasses.replace(observation, coverage=_coverage(poor, data.bands))
    yield "as measured", data, observation
    cuts = dataclasses.replace(observation.cuts, recorded_snr=observation.cuts.min_snr)
    limited = dataclasses.replace(observation, cuts=cuts)
    yield "upper limits", states(BandState.NOT_DETECTED, bad), limited
    yield "never looked at", states(BandState.NOT_OBSERVED, poor), covered
    yield "filled: faintest", filled(np.nanmax(good, axis=0)), observation
    yield "filled: mean", filled(np.nanmean(good, axis=0)), observation


def _coverage(poor: np.ndarray, bands: tuple[str, ...]) -> tuple:
    """Shares of the clusters that have each set of bands."""
    patterns, counts = np.unique(~poor, axis=0, return_counts=True)
    named = [tuple(b for b, there in zip(bands, row, strict=True) if there) for row in patterns]
    return tuple((float(n / len(poor)), names) for n, names in zip(counts, named, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=tuple(FILES))
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--limits", type=float, nargs="+", default=[-6.0, -6.5, -7.0])
    parser.add_argument("--cases", nargs="+", help="of `uv` and `stars`; by default all")
    parser.add_argument("--galaxy", choices=tuple(GALAXIES), help="of `stars`")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the file, key=value")
    given = parser.parse_args()
    if given.what == "stars":
        file = GALAXIES[given.galaxy or "ngc3344"]
        of_stars(file, given.data, given.out, given.cases or list(STARS), given.set)
        return
    if given.galaxy:
        parser.error(f"--galaxy is of `stars`; `{given.what}` has its own")
    file = FILES[given.what]
    job, explained = opened(file, given.data, given.out, *given.set)
    data, observation = job.seen.data, job.seen.observation
    assert isinstance(observation, GaussianObservation)
    if given.what == "library":
        second = opened(file, given.data, given.out / "other", "seed=1", *given.set)
        of_library(job, explained, *second)
        return
    cases = (
        of_cuts(data, observation, given.limits)
        if given.what == "cuts"
        else of_uv(data, observation)
    )
    for name, data, observation in cases:
        if given.cases and name not in given.cases:
            continue
        started = time.perf_counter()
        data = passing(observation, data)
        objects = LightObjects(data, observation, explained.objects.pool)
        objects = objects.explained(job.file.library.min_effective)
        say(name, fitted(job, objects), n=len(data))
        print(f"{time.perf_counter() - started:.0f} s for {name}", file=sys.stderr)


def opened(
    file: str, data: pathlib.Path, out: pathlib.Path, *settings: str
) -> tuple[LightJob, Explained]:
    """The example's catalogue, and simulated clusters drawn to order for it."""
    job = open_job(EXAMPLES / file, out, (data,), settings=settings, work=Work(2))
    assert isinstance(job, LightJob)
    out.mkdir(parents=True, exist_ok=True)
    explained = job.explained(SILENT)
    assert isinstance(explained, Explained)
    return job, explained


def of_library(job: LightJob, explained: Explained, other: LightJob, others: Explained) -> None:
    """The same clusters with another library, and all but the brightest and the faintest in V."""
    ids = set(explained.objects.ids) & set(others.objects.ids)
    ours, theirs = (
        x.objects.taking(np.array([i in ids for i in x.objects.ids])) for x in (explained, others)
    )
    result = fitted(job, ours)
    say("one library", result)
    say("another library", fitted(other, theirs))
    say("change of ln L", **change_of_log_likelihood(job, result, ours, theirs))
    band = next(k for k, b in enumerate(ours.data.bands) if b.endswith("F555W"))
    kept = np.ones(len(ours), bool)
    kept[[np.nanargmin(ours.data.mags[:, band]), np.nanargmax(ours.data.mags[:, band])]] = False
    say("without the extremes", fitted(job, ours.taking(kept)))


def of_stars(
    file: str, data: pathlib.Path, out: pathlib.Path, cases: list[str], more: list[str]
) -> None:
    """A galaxy by other stars, each with a library of its own."""
    for number, (name, settings) in enumerate(STARS.items()):
        if name not in cases:
            continue
        folder = out / f"stars-{number}"
        if not settings.keys() <= {"library.draw.nebular", "library.grid"}:
            path = made_grid(data, folder / "grid", settings)
            settings = {"library.grid": f'"{path.resolve()}"'}
        job, explained = opened(
            file, data, folder, *(f"{k}={v}" for k, v in settings.items()), *more
        )
        say(name, fitted(job, explained.objects), n=len(job.seen.data))


def made_grid(data: pathlib.Path, out: pathlib.Path, settings: dict[str, str]) -> pathlib.Path:
    """The grid of the example's file, of other isochrones."""
    job = open_job(
        EXAMPLES / "grid.toml", out, (data,), settings=[f"{k}={v}" for k, v in settings.items()]
    )
    assert isinstance(job, GridJob)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "grid.h5").exists():
        job.run(SILENT)
    return out / "grid.h5"


def change_of_log_likelihood(
    job: LightJob, result: FitResult, ours: LightObjects, theirs: LightObjects
) -> dict[str, float]:
    """Of two libraries, between draws of the posterior: standard deviation and largest; and the
    standard deviation that each says of itself and another."""
    model = job.file.populations["mid"].model()
    drawn = {str(k): v.values for k, v in result.tree["posterior"].data_vars.items()}
    picked = thinned(drawn, 60)
    fixed = model.population.with_values(model.fixed_values())
    found = []
    with double_precision():
        for objects in (ours, theirs):
            nodes = objects.summed(fixed)
            grid = objects.expected(fixed, complete(fixed.box)).grid
            each = [
                float(log_likelihood(fixed.with_values(at), nodes, grid))
                for at in ({k: v[i] for k, v in picked.items()} for i in range(60))
            ]
            found.append(np.array(each))
    change = found[1] - found[0]
    values = {k: v[None] for k, v in picked.items()}
    told = [library_error(each, model, values).log_likelihood for each in (ours, theirs)]
    return {
        "sd": round(float(change.std()), 3),
        "largest": round(float(np.ptp(change)), 3),
        "told": round(float(np.hypot(*told)), 3),
    }


def say(name: str, result: FitResult | None = None, **more: object) -> None:
    told = {} if result is None else numbers_of(result)
    print(json.dumps({"case": name, **more, **told}), flush=True)


def fitted(job: LightJob, objects: LightObjects) -> FitResult:
    """The fit under mass-independent disruption."""
    model = job.file.populations["mid"].model()
    settings = FitSettings(sampler=dataclasses.replace(SAMPLER, seed=job.file.seed))
    return fit(objects, None, model, settings)


def numbers_of(result: FitResult) -> dict:
    said = {"n_fitted": len(result.objects), "converged": result.summary["converged"]}
    for name in ("alpha_m", "log_m_break", "alpha_t", "log_t_mid"):
        low, middle, high = (
            float(result.summary[f"posterior.{name}.{p}"]) for p in ("p16", "median", "p84")
        )
        said[name] = [round(middle, 3), round((high - low) / 2, 3)]
    kept = ("max_r_hat", "min_object_ess", "node_error", "max_object_shift")
    return said | {k: round(float(result.summary[k]), 3) for k in kept if k in result.summary}


if __name__ == "__main__":
    main()
