"""Whether posteriors of measured light hold the error of a learned observation model: many tables
of injections, one survey.

What the survey does is known (`known_survey`). For each replicate, injections meet it, networks
learn from them and from random halves of them, a population whose parameters are drawn from the
priors is catalogued by the survey itself, and its light is fitted with what was learned: with the
networks' mean alone, and with their uncertainty. The distance of the truth from the posterior's
mean, over its standard deviation, is a standard normal number where intervals are right.
"""

import dataclasses
import functools
import pathlib
import pickle
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks import known_survey
from benchmarks.known_survey import BANDS, MODULUS
from benchmarks.operator_error import summary as gate_of
from starcensus.forward import HalfNormal, Population, PowerLawAge, Schechter, Separable
from starcensus.forward.mock import draw_theta
from starcensus.forward.priors import Fixed, Normal
from starcensus.inference import (
    FitResult,
    FitSettings,
    PopulationModel,
    SamplerSettings,
    double_precision,
    fit,
)
from starcensus.inference.draws import flatten, prior_draws
from starcensus.inference.importance import NotGaussianError
from starcensus.inference.objects import LightObjects, TargetSettings, draw_to_order
from starcensus.networks import TrainSettings
from starcensus.selection import Box
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.observation import (
    ObservationSettings,
    learn_observation,
    recorded_photometry,
)
from starcensus.shards import Work, run_tasks
from starcensus.simulate import Pool, StarcensusEngine

BOX = Box((3.3, 6.0), (6.2, 9.5), (0.0, 1.5))
NAMES = ("alpha_m", "alpha_t", "sigma_av", "log_n")
# Injections reach a magnitude beyond what is catalogued one time in a hundred.
FAINTEST = 26.0
SETTINGS = ObservationSettings(
    n_components=2,
    n_ci=1,
    widths=(24, 24),
    epochs=40,
    max_rate=3e-3,
    batch_size=256,
    n_halves=6,
    selection=TrainSettings(widths=(32, 32), n_members=3, epochs=40, batch_size=256),
)
_POINTS = SamplerSettings(4, 100, 500, method="importance")
_CHAINS = SamplerSettings(4, 300, 500)
_PREDICTED = 20
# Of the table that says where simulated clusters are wanted, and a typical catalogue's number.
_TYPICAL = 20_000, 1000.0
_STARS = 29


def model_of(log_n: float) -> PopulationModel:
    """With priors that truths are drawn from, wide beside what is known of a few hundred."""
    population = Population(
        Separable(Schechter(BOX.log_mass, -2.0, 5.3), PowerLawAge(BOX.log_age, -0.7)),
        HalfNormal(BOX.a_v, 0.5),
        log_n,
    )
    priors = {
        "alpha_m": Normal(mean=-2.0, sd=0.2, low=-2.8, high=-1.2),
        "log_m_break": Fixed(),
        "alpha_t": Normal(mean=-0.7, sd=0.2, low=-1.5, high=0.1),
        "sigma_av": Normal(mean=0.5, sd=0.15, low=0.1, high=1.2),
        "log_n": Normal(mean=log_n, sd=0.15, low=log_n - 0.7, high=log_n + 0.7),
    }
    return PopulationModel(population, priors, "poisson")


@dataclasses.dataclass(frozen=True, eq=False)
class World:
    """What all replicates share.

    **Arguments:**

    - `pool`: simulated clusters of the likelihood.
    """

    pool: Pool

    @classmethod
    def drawn(cls, clusters: int, work: Work = Work()) -> "World":
        """Simulated clusters, half of which are where those of a typical catalogue are."""
        n, number = _TYPICAL
        settings = dataclasses.replace(SETTINGS, n_halves=0)
        learned = learn_observation(known_survey.table(n, 0, FAINTEST), settings)
        typical = recorded(model_of(np.log10(number)).population, 0)
        wanted = TargetSettings(
            clusters, 1e9, clusters // 4, max_rounds=0, n_extinctions=6, wide_share=0.5,
            mass_slope=-1.0, seed=1,
        )  # fmt: skip
        return cls(draw_to_order(typical, learned, _engine(), BOX, wanted, work=work).pool)

    @functools.cached_property
    def share(self) -> float:
        """Of the population at the means of the priors, what the survey catalogues."""
        pool, population = self.pool, model_of(0.0).population
        log_mass, log_age, a_v = pool.theta.T
        with double_precision():
            log_density = np.asarray(population.log_prob(log_mass, log_age, a_v))
        density = np.exp(log_density + pool.log_weight)
        p = known_survey.p_detected(pool.abs_mags.astype(float) + MODULUS)
        return float(density @ p / density.sum())


@functools.cache
def _engine() -> StarcensusEngine:
    return StarcensusEngine(BANDS)


def recorded(population: Population, seed: int) -> Photometry:
    """What the known survey records of one Poisson draw of a population."""
    with double_precision():
        number, places = jax.random.split(jax.random.key(seed))
        theta = np.asarray(draw_theta(number, places, population), float)
    rng = np.random.default_rng([seed, _STARS])
    seeds = rng.integers(0, 1 << 62, len(theta)).astype(np.uint64)
    log_mass, log_age, a_v = theta.T
    drawn = _engine().draw(log_mass, log_age, a_v, seeds)["abs_mags"]
    true = drawn.astype(float) + MODULUS
    return recorded_photometry(known_survey.met(true, rng), SETTINGS.max_error)


def replicate(
    folder: str, n_injections: int, n_clusters: tuple[float, ...], seed: int
) -> list[dict[str, Any]]:
    """A line for each number of clusters: distances of the truth under the mean and with the
    uncertainty, the latter missing where the fit says that it cannot reach it."""
    world = _loaded(folder)
    selection = dataclasses.replace(SETTINGS.selection, seed=seed)
    settings = dataclasses.replace(SETTINGS, seed=seed, selection=selection)
    learned = learn_observation(known_survey.table(n_injections, seed + 1, FAINTEST), settings)
    return [_compared(world, learned, n, seed) for n in n_clusters]


def _compared(world: World, learned: Any, n: float, seed: int) -> dict[str, Any]:
    model = model_of(float(np.log10(n / world.share)))
    truth = {k: float(v[0]) for k, v in prior_draws(model, 1, seed).items()}
    data = recorded(model.population.with_values(truth), seed * 1009 + round(n))
    found = fitted(LightObjects(data, learned, world.pool), model, seed)
    tree = {str(k): v.values for k, v in found.tree["posterior"].data_vars.items()}
    line = {"replicate": seed, "n_clusters": n, "n": len(data)}
    facts = found.summary
    line["effective"] = facts["observation.effective_draws"]
    line["n_points"] = facts["observation.n_points"]
    line["failures"] = list(found.diagnostics.failures)
    for name, draws in flatten(model, tree).items():
        if name not in NAMES:
            continue
        sd, away = draws.std(), truth[name] - draws.mean()
        line[f"{name}.mean"] = float(away / sd)
        if (shift := facts.get(f"observation.{name}.shift")) is not None:
            widening = float(facts[f"observation.{name}.widening"])
            line[f"{name}.uncertainty"] = float((away / sd - float(shift)) / widening)
            line[f"{name}.widening"] = widening
    return line


def fitted(objects: LightObjects, model: PopulationModel, seed: int) -> FitResult:
    """By weighted points, or chains where the weights forbid it."""

    def by(sampler: SamplerSettings) -> FitResult:
        own = dataclasses.replace(sampler, seed=seed)
        return fit(objects, None, model, FitSettings(sampler=own, n_predictions=_PREDICTED))

    try:
        return by(_POINTS)
    except NotGaussianError:
        return by(_CHAINS)


@functools.cache
def _loaded(folder: str) -> World:
    return pickle.loads((pathlib.Path(folder) / "world.pkl").read_bytes())


def bench_observation_error(
    n_injections: int = 3000,
    n_clusters: tuple[float, ...] = (300.0,),
    n_replicates: int = 40,
    clusters: int = 160_000,
    seed: int = 0,
    workers: int = 1,
    progress: Callable[[str], None] = lambda _: None,
    each: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """A line for each number of clusters and each of `mean` and `uncertainty`.

    **Arguments:**

    - `n_injections`: of each table. `n_clusters`: expected in a catalogue at the priors' means.
    - `n_replicates`: tables, each of which meets one catalogue of each size.
    - `clusters`: simulated ones of the likelihood, shared by all.
    - `workers`: processes.
    - `each`: called with the distances of each replicate.
    """
    with tempfile.TemporaryDirectory() as folder:
        progress(f"drawing {clusters} clusters")
        world = World.drawn(clusters, Work(workers))
        (pathlib.Path(folder) / "world.pkl").write_bytes(pickle.dumps(world))
        lines, done = [], 0
        tasks = range(seed, seed + n_replicates)
        for _, found in run_tasks(
            replicate, tasks, lambda s: (folder, n_injections, n_clusters, s), workers
        ):
            lines += found
            done += 1
            for line in found:
                each(line)
            progress(f"replicate {done} of {n_replicates}")
    for n in n_clusters:
        of_size = [line for line in lines if line["n_clusters"] == n]
        for name in ("mean", "uncertainty"):
            yield {"n_injections": n_injections, "n_clusters": n, "with": name} | summary(
                of_size, name
            )


def summary(lines: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The gate of one kind of distances. Fits that say that they cannot be known count as what
    they are, and one is enough to refuse: which they are depends on the truth."""
    reached = [line for line in lines if f"{NAMES[0]}.{kind}" in line]
    out: dict[str, Any] = {"n_replicates": len(lines), "n_unreached": len(lines) - len(reached)}
    # Fits that count and say that they failed, as where the library is thin.
    out["n_failed"] = sum(bool(line.get("failures")) for line in reached)
    if not reached:
        return out | {"accepted": False}
    pulls = np.array([[line[f"{name}.{kind}"] for name in NAMES] for line in reached])
    gate = gate_of(pulls, NAMES)
    return out | gate | {"accepted": gate["accepted"] and len(reached) == len(lines)}
