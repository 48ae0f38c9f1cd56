"""Which law of disruption do magnitudes tell from which, and do the odds come true?

Catalogues of a stated number of clusters are drawn from each of four populations, with parameters
from the priors of the analysis and stars of their own, and seen through a survey. The likelihood is
that of measured light on nodes, given the number of clusters; each evidence is by bridge sampling,
from draws without chains where the weights of these allow it, else by NUTS.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
from jaxtyping import Float

from benchmarks import known_light
from benchmarks.fit import Result
from benchmarks.known_light import BOX
from benchmarks.odds import reliability
from starcensus.forward import (
    Constant,
    MassDependentDisruption,
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    PowerLawAge,
    Schechter,
    SelectionGrid,
    Separable,
)
from starcensus.forward.priors import Dirichlet, Normal
from starcensus.inference import PopulationModel, Sampler, SamplerSettings, double_precision
from starcensus.inference.draws import prior_draws
from starcensus.inference.evidence.bridge import BridgeSettings, bridge
from starcensus.inference.evidence.errors import EvidenceError
from starcensus.inference.evidence.target import population_target, unconstrained_draws
from starcensus.inference.importance import NotGaussianError
from starcensus.inference.objects import LightObjects, LightSettings, NodeSamples, PoolGrid
from starcensus.inference.objects.kernel import apparent
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.simulate import Pool

type Say = Callable[[str], None]

LAWS = ("none", "power law", "mid", "mdd")
# More are drawn than are kept, so that a catalogue has its number.
_SPARE = 1.3
_MORE = 1.5
_POINTS = SamplerSettings(4, 100, 150, method="importance")
_CHAINS = SamplerSettings(8, 200, 150, target_accept=0.9)
# Single errors of ln Z are far below what tells laws apart; chains of NUTS are short.
_BRIDGE = BridgeSettings(max_error=0.2, max_r_hat=1.05)


def model_of(law: str) -> PopulationModel:
    """A population with the priors that truths are drawn from."""
    masses, ages = Schechter(BOX.log_mass), BOX.log_age
    slope = Normal(mean=-0.7, sd=0.3, low=-1.6, high=0.2)
    mass_age, own = {
        "none": (Separable(masses, Constant(ages)), {}),
        "power law": (Separable(masses, PowerLawAge(ages)), {"alpha_t": slope}),
        "mid": (
            Separable(masses, MassIndependentDisruption(ages)),
            {"alpha_t": slope, "log_t_mid": Normal(mean=7.6, sd=0.4, low=6.6, high=8.8)},
        ),
        "mdd": (
            MassDependentDisruption(BOX.log_mass, ages),
            {
                "gamma_mdd": Normal(mean=0.6, sd=0.15, low=0.2, high=1.1),
                "log_t_mdd": Normal(mean=6.9, sd=0.4, low=5.9, high=8.0),
            },
        ),
    }[law]
    priors = {
        "alpha_m": Normal(mean=-2.0, sd=0.15, low=-2.6, high=-1.4),
        "log_m_break": Normal(mean=4.8, sd=0.25, low=4.0, high=5.6),
        "p_av": Dirichlet(concentration=4.0),
        **own,
    }
    population = Population(mass_age, NodesExtinction(known_light.NODES), 3.0)
    return PopulationModel(population, priors, "conditional")


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """What catalogues are drawn and judged with.

    **Arguments:**

    - `pool`: simulated clusters of the likelihood. `p_rows`: `(row,)`, P(det | μ) of each.
    """

    pool: Pool
    p_rows: Float[np.ndarray, " row"]

    @classmethod
    def of(cls, pool: Pool) -> "Drawn":
        survey = known_light.survey()
        return cls(pool, np.asarray(survey.p_sel(apparent(pool, survey)), float))

    @functools.cached_property
    def grid(self) -> SelectionGrid:
        """Nodes of the expected number, the same for all laws."""
        rules = LightSettings().rules(BOX, model_of("none").population.extinction.corners())
        return PoolGrid.of(self.pool, self.p_rows, BOX, rules).grid

    def catalogue(self, population: Population, n: int, seed: int) -> Photometry:
        """n clusters that the survey recorded of a population."""
        with double_precision():
            share = float(self.grid.detected_fraction(population))
        number = _SPARE * n / share
        while True:
            some = population.with_values({"log_n": np.log10(number)})
            data = known_light.recorded(some, seed)
            if len(data) >= n:
                kept = np.random.default_rng([seed, n]).permutation(len(data))[:n]
                return data.take(np.sort(kept))
            number *= _MORE

    def samples(self, data: Photometry, population: Population) -> NodeSamples:
        """Its clusters on nodes, in arrays of few sizes."""
        objects = LightObjects(data, known_light.survey(), self.pool, p_rows=self.p_rows)
        found = objects.inside(BOX).summed(population)
        assert isinstance(found, NodeSamples)
        step = 1 << 16
        return found.padded(-(-(found.n_values + 2) // step) * step, len(data) + 1)


@dataclasses.dataclass(frozen=True)
class Found:
    """ln Z of a law and its error, and whether chains were needed."""

    ln_z: float
    error: float
    by_chains: bool


def evidence_of(model: PopulationModel, samples: NodeSamples, grid: SelectionGrid) -> Found:
    """The evidence of one law; raises `EvidenceError` where bridge sampling refuses."""
    key = jax.random.key(0)
    target = population_target(model, samples, grid)
    for settings in (_POINTS, _CHAINS):
        try:
            draws = Sampler(model, grid, settings).run(samples, grid, key)
            x = unconstrained_draws(model, _by_parameter(model, draws.values))
            found = bridge(lambda at: np.add(*target.at(at)), x, _BRIDGE, draws.most_effective)
        except (NotGaussianError, EvidenceError):
            if settings is _CHAINS:
                raise
            continue
        return Found(found.ln_z, found.error, settings is _CHAINS)
    raise AssertionError("the last settings return or raise")


def _by_parameter(model: PopulationModel, values: Mapping) -> dict[str, np.ndarray]:
    return {str(k): np.asarray(v) for k, v in values.items()}


def bench_confusion(
    sizes: tuple[int, ...] = (300, 1000),
    replicates: int = 25,
    clusters: int = 40_000,
    seed: int = 0,
    folder: pathlib.Path | None = None,
    workers: int = 1,
    say: Say = lambda text: None,
) -> Iterator[Result]:
    """For each size a result for every catalogue, and one that judges all.

    **Arguments:**

    - `sizes`: clusters of a catalogue. `replicates`: catalogues of each law.
    - `clusters`: simulated ones of the likelihood; `folder` keeps them. `workers`: draw them.
    - `seed`: of truths and catalogues; those of one number in two sizes share their parameters.
    """
    models = {law: model_of(law) for law in LAWS}
    truths = {
        law: prior_draws(models[law], replicates, seed + 100 * i) for i, law in enumerate(LAWS)
    }
    say(f"drawing {clusters:,} simulated clusters")
    typical = [
        known_light.recorded(models[law].population.with_values({"log_n": log_n}), i)
        for i, (law, log_n) in enumerate(zip(LAWS, (4.0, 3.3, 3.2, 2.8), strict=True))
    ]
    drawn = Drawn.of(known_light.library(typical, clusters, workers, folder))
    for n in sizes:
        told: list[tuple[str, dict[str, Found]]] = []
        for at in range(replicates):
            for which, law in enumerate(LAWS):
                truth = {k: v[at] for k, v in truths[law].items()}
                population = models[law].population.with_values(truth)
                data = drawn.catalogue(population, n, seed + 1000 * at + which)
                samples = drawn.samples(data, population)
                found = {}
                for name, model in models.items():
                    say(f"{n} clusters of {law}, catalogue {at + 1} of {replicates}: {name}")
                    found[name] = evidence_of(model, samples, drawn.grid)
                told.append((law, found))
                yield {"benchmark": "confusion", "n": n, "true": law, **_of_one(found)}
        yield {"benchmark": "confusion", "n": n, "clusters": clusters, **judge(told)}


def _of_one(found: Mapping[str, Found]) -> Result:
    top = max(each.ln_z for each in found.values())
    return {
        **{f"ln_z.{k}": round(v.ln_z - top, 3) for k, v in found.items()},
        "error": round(max(v.error for v in found.values()), 3),
        "by_chains": sum(v.by_chains for v in found.values()),
    }


def judge(told: list[tuple[str, dict[str, Found]]]) -> Result:
    """How often each law is the likeliest one, how often with 0.95 or more, and whether stated
    probabilities come true.

    **Arguments:**

    - `told`: of every catalogue the true law, and what was found of each.
    """
    ln_z = np.array([[found[law].ln_z for law in LAWS] for _, found in told])
    share = np.exp(ln_z - ln_z.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    true = np.array([LAWS.index(law) for law, _ in told])
    result: Result = {"n_catalogues": len(told)}
    for i, law in enumerate(LAWS):
        own = share[true == i]
        best, sure = np.argmax(own, axis=1), own.max(axis=1) >= 0.95
        for j, other in enumerate(LAWS):
            certain = int((sure & (best == j)).sum())
            result[f"{law} called {other}"] = f"{int((best == j).sum())}, {certain} surely"
    errors = [each.error for _, found in told for each in found.values()]
    chains = sum(each.by_chains for _, found in told for each in found.values())
    result |= {"max_error": float(np.max(errors)), "by_chains": chains}
    return result | reliability(share.ravel(), (np.arange(len(LAWS)) == true[:, None]).ravel())
