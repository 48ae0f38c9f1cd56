"""Is the likelihood of measured light right? Catalogues of known populations, judged.

`python -m tests.inference.light_study scores|ranks|both [N CLUSTERS]` draws N catalogues of about
300 clusters from the priors of two populations (Schechter masses; mass-independent, or dependent,
disruption; extinction on nodes), sees them through a survey like LEGUS, and takes the score of ln L
at each truth, or fits them and ranks the truth. The likelihood has a library of CLUSTERS clusters;
the light of the catalogues is drawn apart from it. Likelihoods that are wrong in one thing must be
refused. `--form emulator` has the emulator that the package carries in place of the library.
`--injections TRAINING TEST` takes another survey: clusters meet the fate of injections of the
second table, and the likelihood has what was learned from the first (`held_out`). The tables are
those of `experiments/examples/observation`. `--method importance` fits without chains where weights
allow it. Catalogues of these, and their fits, are kept beside the library, so that a study that was
stopped goes on;
`catalogues N --first K` draws some of them for it, on another processor.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import pathlib
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Literal

import numpy as np
from benchmarks import known_light
from benchmarks.known_light import BOX, MODULUS, NODES, engine, nothing, recorded, survey
from benchmarks.recovered import learned, quoted
from tests.inference.held_out import HeldOut

from starcensus.bands import find_band
from starcensus.files import replacing
from starcensus.forward import (
    MassDependentDisruption,
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    Schechter,
    Separable,
)
from starcensus.forward.light import default_emulator
from starcensus.forward.priors import Dirichlet, Normal
from starcensus.inference import EmulatedObjects, PopulationModel
from starcensus.inference.calibration import (
    CalibrationSettings,
    Problem,
    calibrate_problem,
    score_test,
)
from starcensus.inference.calibration.seen import Seen, SeenCatalogue
from starcensus.inference.identity import model_digest
from starcensus.inference.objects import (
    LightSettings,
    ObjectsError,
)
from starcensus.inference.objects.rows import RowSamples
from starcensus.inference.sampling import SamplerSettings
from starcensus.selection import complete
from starcensus.selection.catalogue.photometry import BandState
from starcensus.selection.injection import InjectionTable
from starcensus.selection.observation import (
    AbstractObservation,
    GaussianObservation,
)
from starcensus.shards import Work
from starcensus.simulate import Pool

MODELS = ("mid", "mdd")
# Of all catalogues.
SEED = 5
_PROCESSES = 2
# One process that fits 25 catalogues has 9 GB.
_FITTING = 1
# In step eight chains cost as much as one.
SAMPLERS = {
    "nuts": SamplerSettings(8, 120, 50, max_tree_depth=6, target_accept=0.8),
    "importance": SamplerSettings(
        8, 120, 125, max_tree_depth=6, target_accept=0.8, method="importance"
    ),
}


def model(disruption: str = "mid", more: float = 0.0) -> PopulationModel:
    """With priors about as wide as a posterior of a few hundred clusters; of `more` dex more."""
    if disruption == "mid":
        log_n = 3.2 + more
        mass_age = Separable(Schechter(BOX.log_mass), MassIndependentDisruption(BOX.log_age))
        own = {
            "alpha_t": Normal(mean=-0.8, sd=0.15, low=-1.6, high=-0.1),
            "log_t_mid": Normal(mean=7.6, sd=0.15, low=6.8, high=8.8),
        }
    else:
        log_n = 2.75 + more
        mass_age = MassDependentDisruption(BOX.log_mass, BOX.log_age)
        own = {
            "gamma_mdd": Normal(mean=0.6, sd=0.1, low=0.3, high=0.9),
            "log_t_mdd": Normal(mean=6.9, sd=0.15, low=6.3, high=7.7),
        }
    priors = {
        "alpha_m": Normal(mean=-2.0, sd=0.15, low=-2.6, high=-1.4),
        "log_m_break": Normal(mean=4.8, sd=0.25, low=4.0, high=5.6),
        "p_av": Dirichlet(concentration=4.0),
        "log_n": Normal(mean=log_n, sd=0.05, low=log_n - 0.2, high=log_n + 0.2),
        **own,
    }
    return PopulationModel(Population(mass_age, NodesExtinction(NODES), log_n), priors)


def library(
    n_clusters: int,
    workers: int = 1,
    folder: pathlib.Path | None = None,
    seen_by: AbstractObservation | None = None,
) -> Pool:
    """Simulated clusters for catalogues of both populations' priors."""
    some = [
        ("mid", {"alpha_m": -1.8, "log_m_break": 5.0}),
        ("mid", {"alpha_m": -2.2, "log_t_mid": 8.2}),
        ("mdd", {"gamma_mdd": 0.6, "log_t_mdd": 7.1}),
    ]
    catalogues = [
        recorded(model(name).population.with_values(values), seed, seen_by)
        for seed, (name, values) in enumerate(some)
    ]
    return known_light.library(catalogues, n_clusters, workers, folder, seen_by)


@dataclasses.dataclass(frozen=True, eq=False)
class Filling(GaussianObservation):
    """Fills in what was not detected with another flux of the band, as others do: that of the
    faintest cluster that has one, or that of their mean magnitude."""

    with_mean: bool = False

    def draw(self, mags, rng):
        kept, data = super().draw(mags, rng)
        lost = data.states == BandState.NOT_DETECTED
        flux, error = data.flux.copy(), data.flux_error.copy()
        for k in range(len(self.bands)):
            mean = np.exp(np.nanmean(np.log(data.flux[:, k])))
            level = mean if self.with_mean else np.nanmin(data.flux[:, k])
            like = np.nanargmin(np.abs(data.flux[:, k] - level))
            flux[lost[:, k], k], error[lost[:, k], k] = level, data.flux_error[like, k]
        states = np.where(lost, BandState.MEASURED, data.states).astype(np.uint8)
        return kept, dataclasses.replace(data, flux=flux, flux_error=error, states=states)


@dataclasses.dataclass(frozen=True, eq=False)
class OnTruth(GaussianObservation):
    """The cuts' probability of true magnitudes beside each object, as if they acted on those."""

    @functools.cached_property
    def _known(self) -> dict[bytes, float]:
        return {}

    def log_prob(self, data, rows, mags):
        # Each simulated cluster stands beside many objects, and its integral takes long.
        each, whose = np.unique(mags, axis=0, return_inverse=True)
        names = [row.tobytes() for row in each]
        new = [i for i, name in enumerate(names) if name not in self._known]
        self._known.update(zip((names[i] for i in new), self.p_sel(each[new]), strict=True))
        p = np.array([self._known[name] for name in names])
        with np.errstate(divide="ignore"):
            return super().log_prob(data, rows, mags) + np.log(p)[whose.ravel()]


@dataclasses.dataclass(frozen=True, eq=False)
class Kept(Seen):
    """Remembers its catalogues, which take longer to draw and compare than to fit, and keeps them
    in a folder, whose name says of what they are."""

    folder: pathlib.Path | None = None

    @functools.cached_property
    def _known(self) -> dict:
        return {}

    def catalogues(self, model, cfg, start, stop):
        for i in range(start, stop):
            if (cfg.seed, i) not in self._known:
                self._known[cfg.seed, i] = self._one(model, cfg, i)
        return [self._known[cfg.seed, i] for i in range(start, stop)]

    def path(self, model, cfg, i: int) -> pathlib.Path:
        """Where a catalogue is kept: truths of other calibrations may be others, for its number."""
        assert self.folder is not None
        truth = {k: v[i].tolist() for k, v in self.truths(model, cfg).items()}
        facts = repr((model_digest(model), cfg.seed, truth))
        return self.folder / f"{i:04d}-{hashlib.sha256(facts.encode()).hexdigest()[:12]}.pkl"

    def _one(self, model, cfg, i: int) -> SeenCatalogue:
        if self.folder is None:
            return super().catalogues(model, cfg, i, i + 1)[0]
        if not (path := self.path(model, cfg, i)).exists():
            with replacing(path) as part:
                part.write_bytes(pickle.dumps(super().catalogues(model, cfg, i, i + 1)[0]))
        return pickle.loads(path.read_bytes())


def folder_of(case: str, light: LightSettings, files: Iterable[pathlib.Path]) -> str:
    """A name of catalogues that were seen and compared alike."""
    digest = hashlib.sha256(f"{case} {light}".encode())
    for path in files:
        digest.update(path.read_bytes())
    return f"catalogues-{digest.hexdigest()[:12]}"


class ByEmulator(Kept):
    """The likelihood has the carried emulator; the catalogues' clusters have stars as before."""

    @functools.cached_property
    def _expected(self) -> EmulatedObjects:
        one = recorded(model().population, 1).take(slice(0, 1))
        return EmulatedObjects(one, self.assumed, default_emulator(), BOX)

    def _fitted(self, model, data):
        own = self._expected
        objects = dataclasses.replace(own, data=data, drawn=None).inside(model.population.box)
        points = objects.samples(model.population.box, pad=False)
        n, each = points.log_weight.shape
        rows = RowSamples(
            np.asarray(points.theta).reshape(3, -1),
            np.asarray(points.log_weight).ravel(),
            np.repeat(np.arange(n), each),
            np.arange(n * each),
            np.ones(n, bool),
        )
        return SeenCatalogue(rows, n)

    def grid(self, model, selection, cfg):
        return self._expected.expected(model.population, selection).grid


def told(observation: GaussianObservation) -> dict:
    return {f.name: getattr(observation, f.name) for f in dataclasses.fields(observation)}


@functools.cache
def cases() -> dict[str, dict]:
    """What the survey does and what the likelihood believes: the truth of three surveys, and things
    that are wrong on purpose. Where what is measured scatters by 0.35 mag, as in pixels, it matters
    on which side of the noise the cuts act; where only what is detected is recorded, bands are
    lost."""
    right = survey()
    no_cut = dataclasses.replace(right.cuts, max_absolute={})
    scattered = survey(common=0.35)
    detected = survey(cuts=dataclasses.replace(right.cuts, recorded_snr=3.62))
    return {
        "right": {},
        "the quoted errors alone": {"assumed": survey(common=0.0, floor=0.02)},
        "M_V cut left out": {"assumed": survey(cuts=no_cut)},
        "kernel ten times too wide": {"assumed": survey(floor=0.6, common=0.0)},
        "right, scattered": {"survey": scattered, "assumed": scattered},
        "operator of the truth": {"survey": scattered, "assumed": OnTruth(**told(scattered))},
        "right, detected": {"survey": detected, "assumed": detected},
        "filled in: faintest": {"survey": Filling(**told(detected)), "assumed": detected},
        "filled in: mean": {
            "survey": Filling(**told(detected), with_mean=True),
            "assumed": detected,
        },
    }


def injected(training: pathlib.Path, test: pathlib.Path, folder: pathlib.Path) -> dict[str, dict]:
    """A survey as held-out injections met it, and likelihoods of what was learned from others,
    which `folder` keeps, and of the errors that it quotes. It catalogues fewer than LEGUS, so that
    there are `more` clusters."""
    folder.mkdir(parents=True, exist_ok=True)
    learnt = learned(training, folder)
    held_out = HeldOut.of(learnt, InjectionTable.load(test))
    gaussian = quoted(learnt, recorded(model().population, 1, held_out), 0.1)
    band, limit = find_band(learnt.bands, "V"), learnt.density.shape.faintest
    assert limit is not None
    cuts = dataclasses.replace(gaussian.cuts, max_absolute={band: limit - MODULUS})
    return {
        "injected": {"survey": held_out, "assumed": learnt, "more": 0.2},
        "injected, of the training": {
            "survey": dataclasses.replace(held_out, table=InjectionTable.load(training)),
            "assumed": learnt,
            "more": 0.2,
        },
        "injected, of the model itself": {"survey": learnt, "assumed": learnt, "more": 0.2},
        "injected, quoted errors": {
            "survey": held_out,
            "more": 0.2,
            "assumed": dataclasses.replace(gaussian, cuts=cuts),
        },
    }


def problem(
    disruption: str,
    case: str,
    n: int,
    pool: Pool,
    seed: int = 0,
    light: LightSettings = LightSettings(),
    emulated: bool = False,
    more: Mapping[str, dict] = MappingProxyType({}),
    method: Literal["nuts", "importance"] = "nuts",
    folder: pathlib.Path | None = None,
) -> Problem:
    two = {"survey": survey(), "assumed": survey(), "more": 0.0, **{**cases(), **more}[case]}
    family = model(disruption, two["more"])
    of = ByEmulator if emulated else Kept
    source = of(engine(), two["survey"], two["assumed"], pool, light, folder)
    settings = CalibrationSettings(n, seed=seed, sampler=SAMPLERS[method])
    return Problem(family, source, complete(family.population.box), settings)


def judged(
    what: str,
    made: Problem,
    say: Callable[[str], None],
    folder: pathlib.Path | None,
    name: str,
) -> dict:
    """What a test says; fits of catalogues that are kept are kept beside them."""
    if what == "scores":
        return score_test(made, say).describe()
    if folder is None:
        return calibrate_problem(made, say).describe()
    # Found here, once for all processes.
    assert made.grid is not None
    out = folder / f"ranks-{name}-{made.n}.h5"
    return calibrate_problem(made, say, out, Work(_FITTING)).describe()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("scores", "ranks", "both", "catalogues"))
    parser.add_argument("n", type=int, nargs="?", default=300)
    parser.add_argument("clusters", type=int, nargs="?", default=80_000)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--cases", nargs="+")
    parser.add_argument("--library", type=pathlib.Path, help="folder where the library is kept")
    parser.add_argument("--form", default="nodes", choices=("nodes", "rows", "emulator"))
    parser.add_argument("--method", default="nuts", choices=tuple(SAMPLERS))
    parser.add_argument("--first", type=int, default=0, help="of `catalogues`, which are kept")
    parser.add_argument("--injections", type=pathlib.Path, nargs=2, metavar=("TRAINING", "TEST"))
    given = parser.parse_args()
    started = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - started:7.0f} s  {text}", file=sys.stderr, flush=True)

    emulated = given.form == "emulator"
    if given.injections and given.library is None:
        parser.error("--injections needs --library, which keeps what is learned from them")
    more = injected(*given.injections, given.library) if given.injections else {}
    seen_by = more["injected"]["assumed"] if more else None
    pool = nothing() if emulated else library(given.clusters, _PROCESSES, given.library, seen_by)
    say("no library" if emulated else f"library of {given.clusters} clusters drawn")
    for disruption in given.models:
        for case in given.cases or more or cases():
            light = LightSettings() if emulated else LightSettings(form=given.form)
            folder = None
            if given.injections:
                files = *given.injections, *sorted(given.library.glob("*.h5"))
                folder = given.library / folder_of(case, light, files)
                folder.mkdir(exist_ok=True)
                if n_kept := len(list(folder.glob("*.pkl"))):
                    say(
                        f"{n_kept} catalogues are kept in {folder}; remove them if the code changed"
                    )
            made = problem(
                disruption, case, given.n, pool, SEED, light, emulated, more, given.method, folder
            )
            if given.what == "catalogues":
                for i in range(given.first, given.n):
                    made.mocks(i, i + 1)
                    say(f"catalogue {i} of {given.n}")
            for what in ("scores", "ranks"):
                if given.what not in (what, "both"):
                    continue
                try:
                    found = judged(what, made, say, folder, disruption)
                except ObjectsError as error:
                    # A survey that is wrong enough explains some clusters by no simulated one.
                    found = {"accepted": False, "refused": str(error)}
                say(f"{what} of {disruption}, {case}")
                said = {k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()}
                facts = {"model": disruption, "case": case, "form": given.form, "test": what}
                print(json.dumps({**facts, **said}), flush=True)


if __name__ == "__main__":
    main()
