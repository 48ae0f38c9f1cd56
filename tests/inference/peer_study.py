"""What do published ways of selecting say of NGC 3344, and can so few clusters tell laws apart?

`python -m tests.inference.peer_study modes|mocks DIR --out FOLDER`, with the LEGUS tables below
DIR. `modes` fits the 383 clusters brighter than M_V = -6 with our likelihood, and with selections
of true magnitudes that stand for the cut on measured ones: a box around the magnitudes of the
catalogue, with a margin; a network that knows no cut (the published one of NGC 628-C at NGC 3344's
distance); both (hybrid); and the hybrid with the network one magnitude off, either way. `mocks`
draws catalogues of as many clusters from three laws of masses, and fits each by the right
likelihood. A line of JSON for each fit: medians and halves of the central 68%.
"""

import argparse
import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
from jaxtyping import Float
from tests.inference.legus_study import NGC3344, fitted, opened, say

from starcensus.experiments.jobs._seen import passing
from starcensus.experiments.jobs._stars import engine_of
from starcensus.experiments.jobs.light import LightJob
from starcensus.inference.objects import LightObjects, draw_to_order
from starcensus.selection import PhotometricNetwork, import_c4
from starcensus.selection.catalogue import Photometry
from starcensus.selection.observation import GaussianObservation, MeasuredCuts
from starcensus.shards import Work

# Margin of the box, mag; None without one. Whether the network is asked, and of which magnitudes.
MODES: dict[str, tuple[float | None, float | None, float]] = {
    "box, 0.05": (0.05, None, 0.0),
    "box, 0.1": (0.1, None, 0.0),
    "box, 0.5": (0.5, None, 0.0),
    "hybrid, 0.1": (0.1, 0.0, 0.0),
    "hybrid, 0.5": (0.5, 0.0, 0.0),
    "network": (None, 0.0, 0.0),
    "hybrid, 0.1, one magnitude less complete": (0.1, 1.0, 0.0),
    "hybrid, 0.1, network and box at m - 1": (0.1, -1.0, -1.0),
}
OURS = "the cut in the likelihood"
MOCKS: dict[str, dict[str, float]] = {
    "-2, no break": {"alpha_m": -2.0, "log_m_break": 6.4},
    "-2, 10^4": {"alpha_m": -2.0, "log_m_break": 4.0},
    "-1, 10^3.4": {"alpha_m": -1.0, "log_m_break": 3.4},
}
AGES = {"alpha_t": -0.7, "log_t_mid": 6.5, "p_av": np.array([0.4, 0.3, 0.2, 0.1])}
# Of a mock: drawn, and catalogued ones that are kept.
DRAWN, KEPT = 100_000, 383


@dataclasses.dataclass(frozen=True, eq=False)
class PeerSelection:
    """p(catalogued) of true magnitudes, as a box with a network or without.

    **Arguments:**

    - `bands`, `distance_modulus`: of the survey.
    - `box`: its brightest and faintest magnitudes, `(band,)` each; None for no box. `moved`: what
      is added to the magnitudes before it looks.
    - `network`, `shift`: and what is added to the magnitudes that it sees.
    """

    bands: tuple[str, ...]
    distance_modulus: float
    box: tuple[np.ndarray, np.ndarray] | None
    moved: float
    network: PhotometricNetwork | None
    shift: float

    def p_sel(self, mags: Any) -> Float[np.ndarray, " n"]:
        mags = np.asarray(mags, float)
        p = np.ones(len(mags))
        if self.network is not None:
            p *= np.asarray(self.network.p_sel(mags + self.shift), float)
        if self.box is not None:
            low, high = self.box
            p *= ((mags + self.moved >= low) & (mags + self.moved <= high)).all(axis=1)
        return p


def of_mode(name: str, data: Photometry, ours: GaussianObservation) -> GaussianObservation:
    """The survey as a mode has it: every cut is the selection's."""
    margin, shift, moved = MODES[name]
    box = None
    if margin is not None:
        box = np.nanmin(data.mags, axis=0) - margin, np.nanmax(data.mags, axis=0) + margin
    network = None
    if shift is not None:
        network = dataclasses.replace(import_c4()[1], bands=data.bands).simulated("clip")
    selection = PeerSelection(data.bands, ours.distance_modulus, box, moved, network, shift or 0.0)
    return dataclasses.replace(
        ours, cuts=MeasuredCuts(min_snr=0.0, recorded_snr=0.0), selection=selection
    )


def modes(job: LightJob, objects: LightObjects, names: list[str]) -> None:
    data, ours = job.seen.data, job.seen.observation
    assert isinstance(ours, GaussianObservation)
    for name in (OURS, *MODES):
        if names and name not in names:
            continue
        survey = ours if name == OURS else of_mode(name, data, ours)
        made = LightObjects(data, survey, objects.pool)
        some = made.explained(job.file.library.min_effective)
        say(name, fitted(job, some), n=len(data))


def mocks(job: LightJob, out: pathlib.Path, names: list[str]) -> None:
    table, survey = job.file.library, job.seen.observation
    model = job.file.populations["mid"].model()
    engine = engine_of(table.grid, None, survey.bands, table.imf, table.draw, job.sources)
    for number, (name, truth) in enumerate(MOCKS.items()):
        if names and name not in names:
            continue
        population = model.population.with_values({**truth, **AGES})
        theta = np.asarray(population.sample(jax.random.key(number), DRAWN), float)
        seeds = np.arange(DRAWN).astype(np.uint64) + np.uint64(number << 40)
        mags = engine.draw(*theta.T, seeds)["abs_mags"] + survey.distance_modulus
        drawn = survey.draw(mags.astype(float), np.random.default_rng(number))[1]
        data = passing(survey, drawn)
        if len(data) < KEPT:
            raise RuntimeError(f"{name}: {len(data)} are catalogued, expected {KEPT} or more")
        data = dataclasses.replace(data.take(slice(0, KEPT)), ids=np.arange(KEPT).astype(str))
        settings = dataclasses.replace(table.target, seed=number)
        folder = out / f"mock-{number}"
        made = draw_to_order(
            data, survey, engine, table.bounds, settings, folder, Work(job.work.workers)
        )
        objects = LightObjects(data, survey, made.pool, job.file.light, made.pairs)
        say(name, fitted(job, objects.explained(table.min_effective)), n=len(data))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("modes", "mocks"))
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--cases", nargs="+", default=[], help="by default all")
    parser.add_argument("--set", nargs="*", default=[], help="settings of the file, key=value")
    given = parser.parse_args()
    job, explained = opened(NGC3344, given.data, given.out, *given.set)
    if given.what == "modes":
        modes(job, explained.objects, given.cases)
    else:
        mocks(job, given.out, given.cases)


if __name__ == "__main__":
    main()
