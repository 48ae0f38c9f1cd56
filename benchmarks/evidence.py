"""The evidence of one fit by bridge and nested sampling here, and by nautilus and dynesty.

All integrate the same compiled likelihood over the same unconstrained coordinates. Bridge sampling
has the draws of the fit, whose time is beside it; nested sampling here begins half from the prior
and half around those draws. The others begin evenly in a box about the draws, as long as the prior
leaves nothing outside: for them the integrand is prior times likelihood. nautilus (Lange 2023,
MNRAS 525, 3181) takes many points at a time, dynesty (Speagle 2020, MNRAS 493, 3132) one.
"""

from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float

from benchmarks.fit import Clock, Result, problem
from starcensus.extras import need
from starcensus.inference import FitSettings, SamplerSettings, fit
from starcensus.inference.evidence import Mixture, NestedSettings, bridge, nested
from starcensus.inference.evidence.evidence import posterior_values
from starcensus.inference.evidence.target import Target, population_target, unconstrained_draws

type Say = Callable[[str], None]

# Standard deviations of the draws to either side of their mean that are the box.
_REACH = 8.0
_AT_ONCE = 128


def bench_evidence(
    size: int,
    sampler: SamplerSettings,
    n_live: int = 500,
    seed: int = 0,
    say: Say = lambda text: None,
) -> Iterator[Result]:
    """One result for each method; `ln_z` of all must be one number within their errors."""
    need("nautilus", "dynesty", purpose="the benchmark of evidences")
    import dynesty  # pyright: ignore[reportMissingImports]
    import nautilus  # pyright: ignore[reportMissingImports]

    given, clock = problem(size, seed), Clock()
    say(f"fit of {size:,} clusters")
    result = fit(given.catalogue, given.selection, given.model, FitSettings(sampler=sampler))
    model = result.model
    target = population_target(model, result.samples, result.grid)
    x = unconstrained_draws(model, posterior_values(result))
    facts: Result = {"benchmark": "evidence", "n_clusters": size, "n_parameters": target.n}
    yield {**facts, "method": "fit", **_times(clock)}

    say("bridge sampling")
    counted = Counted(target)
    by_bridge = bridge(counted, x)
    found = {"ln_z": by_bridge.ln_z, "error": by_bridge.error, "n_calls": counted.n}
    yield {**facts, "method": "bridge", **found, **_times(clock)}
    flat = x.reshape(-1, target.n)
    low = flat.mean(axis=0) - _REACH * flat.std(axis=0)
    high = flat.mean(axis=0) + _REACH * flat.std(axis=0)
    log_volume = float(np.log(high - low).sum())
    say("nautilus")
    counted = Counted(target)
    other = nautilus.Sampler(
        lambda u: low + u * (high - low), counted, target.n, n_live=4 * n_live, n_batch=_AT_ONCE,
        vectorized=True, seed=seed, pass_dict=False,
    )  # fmt: skip
    other.run()
    log_z = float(other.log_z) + log_volume
    found = {"ln_z": log_z, "error": other.n_eff**-0.5, "n_calls": counted.n}
    yield {**facts, "method": "nautilus", **found, **_times(clock)}
    counted = Counted(target)
    say("dynesty")
    last = dynesty.NestedSampler(
        lambda at: counted(at[None])[0], lambda u: low + u * (high - low), target.n,
        nlive=n_live, rstate=np.random.default_rng(seed),
    )  # fmt: skip
    last.run_nested(print_progress=False)
    log_z, error = float(last.results.logz[-1]) + log_volume, float(last.results.logzerr[-1])
    yield {
        **{**facts, "method": "dynesty", "ln_z": log_z, "error": error},
        **{"n_calls": counted.n, **_times(clock)},
    }
    near = Mixture.best(x.reshape(-1, target.n), 4, np.random.default_rng(seed))
    by_nested = nested(target, NestedSettings(n_live=n_live, seed=seed), near, say)
    found = {"ln_z": by_nested.ln_z, "error": by_nested.error, "n_calls": by_nested.n_calls}
    yield {**facts, "method": "nested", **found, **_times(clock)}


class Counted:
    """ln of prior times likelihood, and at how many points it was asked for."""

    def __init__(self, target: Target) -> None:
        self._target, self.n = target, 0

    def __call__(self, at: Float[np.ndarray, "k n"]) -> Float[np.ndarray, " k"]:
        self.n += len(at)
        # Each number of points is a program of its own: there are two.
        size = 1 if len(at) == 1 else _AT_ONCE
        parts = [at[k : k + size] for k in range(0, len(at), size)]
        found = [
            np.add(*self._target.at(np.resize(np.asarray(part, float), (size, at.shape[1]))))
            for part in parts
        ]
        # Beyond all that matters a density may be 0.
        return np.maximum(np.concatenate(found)[: len(at)], -1e10)


def _times(clock: Clock) -> Result:
    wall, cpu = clock.read()
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2)}
