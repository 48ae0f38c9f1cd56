"""Which law of disruption made a mock catalogue, by the evidence: one JSON line for each catalogue.

    python -m tests.inference.evidence.confusion_study 25 300

Parameters of each mock are drawn from the priors of its model, so that probabilities, with equal
odds, must be calibrated: of catalogues whose model was given the probability p, the share p was
made by it. A model whose evidence is refused has none (`refused`), and such a line is of no use for
that.
Published values with Gaussian errors, complete inside the bounds; bridge sampling alone.
"""

import argparse
import json

import jax
import numpy as np

from starcensus.forward import (
    Constant,
    HalfNormal,
    MassDependentDisruption,
    MassIndependentDisruption,
    Normal,
    Population,
    PowerLawAge,
    Schechter,
    SelectionGrid,
    Separable,
    Uniform,
    selection_grid,
)
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import (
    PopulationModel,
    Sampler,
    SamplerSettings,
    double_precision,
    object_samples,
    prior_draws,
)
from starcensus.inference.evidence import (
    BridgeSettings,
    EvidenceError,
    bridge,
    population_target,
    unconstrained_draws,
)
from starcensus.selection import complete, with_acts_on

MASS, AGE, DUST = (3.5, 6.5), (6.0, 9.0), (0.0, 2.0)
SIGMA = (0.1, 0.1, 0.1)
SAMPLER = SamplerSettings(n_chains=2, n_warmup=200, n_samples=400, seed=1)


def models(n_clusters: float) -> dict[str, PopulationModel]:
    """The four laws, with one mass function, one dust and a number near `n_clusters`."""
    mass = Schechter(MASS, -2.0, 5.0)
    laws = {
        "none": Separable(mass, Constant(AGE)),
        "power law": Separable(mass, PowerLawAge(AGE, -0.6)),
        "MID": Separable(mass, MassIndependentDisruption(AGE, 7.5, -0.8)),
        "MDD": MassDependentDisruption(MASS, AGE),
    }
    log_n = float(np.log10(n_clusters))
    shared = {
        "alpha_m": Normal(-2.0, 0.15),
        "log_m_break": Uniform(4.6, 5.6),
        "sigma_av": Uniform(0.3, 0.8),
        "log_n": Uniform(log_n - 0.05, log_n + 0.05),
    }
    return {
        name: PopulationModel(Population(law, HalfNormal(DUST, 0.5), log_n), shared)
        for name, law in laws.items()
    }


def evidences(made: dict[str, PopulationModel], catalogue, grids: dict, samplers: dict, size: int):
    """ln Z of each model, NaN where it was refused."""
    found = []
    for name, model in made.items():
        box = model.population.box
        operator = with_acts_on(complete(box), "truth")
        samples = object_samples(catalogue, box, selection=operator, pad=False).padded(size)
        draws = samplers[name].run(samples, grids[name], jax.random.key(3))
        values = {k: np.asarray(v) for k, v in draws.values.items()}
        target = population_target(model, samples, grids[name])
        try:
            x = unconstrained_draws(model, values)
            settings = BridgeSettings(max_parts=2, min_effective=40.0, max_r_hat=1.1)
            found.append(bridge(lambda at, t=target: np.add(*t.at(at)), x, settings).ln_z)
        except EvidenceError:
            found.append(np.nan)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalogues", type=int, help="of each model")
    parser.add_argument("clusters", type=float, help="expected in each")
    options = parser.parse_args()
    made, size = models(options.clusters), int(1.6 * options.clusters) + 32
    grids: dict[str, SelectionGrid] = {
        name: selection_grid(complete(model.population.box), model.population)
        for name, model in made.items()
    }
    samplers = {name: Sampler(model, grids[name], SAMPLER) for name, model in made.items()}
    for i in range(options.catalogues):
        for number, (truth, model) in enumerate(made.items()):
            drawn = {k: v[0] for k, v in prior_draws(model, 1, seed=1000 * number + i).items()}
            with double_precision():
                population = model.population.with_values(drawn)
                operator = with_acts_on(complete(population.box), "truth")
                key = jax.random.key(1000 * number + i)
                mock = mock_catalogue(key, population, operator, sigma=SIGMA)
            ln_z = np.array(evidences(made, mock.catalogue, grids, samplers, size))
            known = np.where(np.isfinite(ln_z), ln_z, -np.inf)
            share = np.exp(known - known.max())
            share /= share.sum()
            row = {"truth": truth, "n": len(mock.catalogue), "refused": int(np.isnan(ln_z).sum())}
            row |= {name: round(float(p), 4) for name, p in zip(made, share, strict=True)}
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
