"""How many effective draws a second the clusters of a catalogue have, under their population.

A mock catalogue with errors is fitted, and each draw of the population brings a mass, an age and an
extinction of every cluster. Effective sizes and R-hat are those of these latents themselves (bulk,
Vehtari et al. 2021), the worst of all of them, and of the population's parameters.
"""

from collections.abc import Callable, Iterator

import numpy as np
from arviz_stats.base.array import array_stats
from jaxtyping import Float

from benchmarks.fit import Clock, Result, problem
from starcensus.inference import (
    ErrorSettings,
    FitSettings,
    SamplerSettings,
    fit,
    latents,
)
from starcensus.inference.draws import flatten

# Clusters whose draws are judged at a time.
_CLUSTERS = 500


def bench_latents(
    sizes: tuple[int, ...],
    settings: SamplerSettings,
    n_samples: int = 256,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """One result for each size of a catalogue.

    **Arguments:**

    - `n_samples`: points of each cluster.
    """
    for size in sizes:
        given = problem(size, seed)
        errors = ErrorSettings(n_samples=n_samples, seed=seed)
        clock = Clock()
        say(f"fit of {size:,} clusters")
        result = fit(given.catalogue, given.selection, given.model,
                     FitSettings(errors=errors, sampler=settings))  # fmt: skip
        fit_s, _ = clock.read()
        say("latents")
        model = given.model
        population = model.population.with_values(model.fixed_values())
        values = {str(k): np.asarray(v) for k, v in result.tree["posterior"].data_vars.items()}
        found = latents(result.exact, result.objects.ids, population, values, seed, 0.0)
        latents_s, _ = clock.read()
        ess, r_hat = _judged(found.theta)
        own_ess, own_r_hat = _judged(
            np.stack(list(flatten(model, values).values()), axis=-1)[..., None]
        )
        yield {
            "benchmark": "latents",
            "n_clusters": len(found.ids),
            "n_latents": int(found.mean.size),
            "n_draws": int(np.prod(found.theta.shape[:2])),
            "fit_s": round(fit_s, 2),
            "latents_s": round(latents_s, 2),
            "min_ess": round(ess),
            "min_ess_per_s": round(ess / (fit_s + latents_s), 2),
            "max_r_hat": round(r_hat, 4),
            "parameters.min_ess": round(own_ess),
            "parameters.max_r_hat": round(own_r_hat, 4),
            "least_effective_points": round(float(found.effective.min()), 1),
            "n_few_points": int((found.effective < 4).sum()),
        }


def _judged(draws: Float[np.ndarray, "chain draw n k"]) -> tuple[float, float]:
    """The smallest bulk ESS and the largest R-hat of all scalars."""
    ess, r_hat = np.inf, 0.0
    for start in range(0, draws.shape[2], _CLUSTERS):
        some = draws[:, :, start : start + _CLUSTERS]
        ess = min(
            ess, float(np.min(array_stats.ess(some, method="bulk", chain_axis=0, draw_axis=1)))
        )
        r_hat = max(r_hat, float(np.max(array_stats.rhat(some, chain_axis=0, draw_axis=1))))
    return ess, r_hat
