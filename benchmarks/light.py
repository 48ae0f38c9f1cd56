"""How fast a fit of measured light is, and how fast the recipe of others would be on the same data.

The recipe is emcee with a hundred walkers that sums the kernels of every object over the simulated
clusters near it at every step (Krumholz et al. 2019; Tang et al. 2024). Its autocorrelation time
does not depend on how ln L is summed, so it is measured on the nodes; the time of a step is that of
plain Gaussian kernels in all bands and of λ, of every row that is near. A second ratio is against
the same with kernels that are kept and rows that are thinned, as the form `"rows"` has them.
"""

import dataclasses
import pathlib
import resource
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.fit import Result, _emcee, _machine, _nuts, _rounded
from starcensus.experiments.jobs._job import SILENT, open_job
from starcensus.experiments.jobs.light import LightJob
from starcensus.inference import PopulationModel, log_likelihood
from starcensus.inference.objects import LightObjects, LightSettings, Pairs, Samples, find_pairs
from starcensus.inference.objects.kernel import apparent
from starcensus.inference.sampling import double_precision
from starcensus.shards import Work

_ROWS_TIMED = 20


def bench_light(
    path: pathlib.Path,
    out: pathlib.Path,
    data: tuple[pathlib.Path, ...],
    settings: tuple[str, ...] = (),
    n_steps: int = 1500,
    workers: int = 2,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Of the first fit of a file of `kind = "light"`.

    **Arguments:**

    - `out`: where simulated clusters are kept; those that are there already are taken.
    - `n_steps`: of emcee's walkers.
    """
    try:
        import emcee
    except ImportError as error:
        raise ValueError(
            "this benchmark compares with emcee, which is not installed; install starcensus[test]"
        ) from error
    job = open_job(path, out, data, expected=("light",), settings=settings, work=Work(workers))
    assert isinstance(job, LightJob)
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    progress("simulated clusters")
    explained = job.explained(SILENT)
    library_s = time.perf_counter() - started
    model = job.file.populations[job.file.fits[0].population].model()
    started = time.perf_counter()
    if not isinstance(explained.objects, LightObjects):
        raise ValueError("sums over simulated clusters are timed here; leave [emulator] out")
    objects = explained.objects.inside(model.population.box)
    nodes = objects.summed(model.population)
    with double_precision():
        grid = objects.expected(model.population, objects.entering(_everything(model))).grid
    nodes_s = time.perf_counter() - started
    rows = dataclasses.replace(objects, settings=LightSettings("rows")).summed(model.population)
    progress("NUTS")
    ours = _nuts(model, nodes, grid, dataclasses.replace(job.file.sampler, seed=job.file.seed))
    progress("emcee")
    theirs = _emcee(emcee, model, nodes, grid, n_steps, job.file.seed, n_walkers=100)
    max_rss_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    progress("steps of the recipe")
    times = {name: _seconds(model, some, grid) for name, some in (("nodes", nodes), ("rows", rows))}
    near = find_pairs(objects.data, objects.observation, objects.pool)
    times["recipe"] = _seconds_of_recipe(model, objects, near)
    n_evaluated = theirs["emcee_walkers"] * theirs["emcee_steps"]
    per_second = {
        name: theirs["emcee_min_ess"] / (n_evaluated * times[name]) for name in ("recipe", "rows")
    }
    return _rounded(
        {
            "benchmark": "light",
            "file": path.name,
            "n_clusters": len(objects),
            **_machine(),
            **explained.summary(),
            "library_s": library_s,
            "nodes_s": nodes_s,
            "n_values": nodes.n_values,
            "n_rows": rows.n_values,
            "value_nodes_ms": 1e3 * times["nodes"],
            "value_rows_ms": 1e3 * times["rows"],
            **ours,
            **theirs,
            "recipe_rows": len(near.owner),
            "recipe_step_ms": 1e3 * times["recipe"],
            "recipe_ess_per_s": per_second["recipe"],
            "ratio_s": ours["nuts_ess_per_s"] / per_second["recipe"],
            "ratio_kept_kernels_s": ours["nuts_ess_per_s"] / per_second["rows"],
            "max_rss_gb": max_rss_gb,
        }
    )


def _everything(model: PopulationModel):
    from starcensus.selection import complete

    return complete(model.population.box)


def _seconds(model: PopulationModel, objects: Samples, grid) -> float:
    """Of one value of ln L."""
    population = model.population.with_values(model.fixed_values())
    with double_precision():
        values = {k: jnp.asarray(v, float) for k, v in model.start().items()}
        program = jax.jit(lambda v: log_likelihood(population.with_values(v), objects, grid))
        return _seconds_of(lambda: program(values))


def _seconds_of_recipe(model: PopulationModel, objects: LightObjects, pairs: Pairs) -> float:
    """Of one value of Σ ln Σ_j K(d_i − μ_j) λ(θ_j)/π(θ_j), the kernels Gaussian in every band."""
    reach, n = objects.observation.reach(objects.data), len(objects)
    seen = np.isfinite(reach.centre)
    light = apparent(objects.pool, objects.observation)[pairs.row]
    data = np.where(seen, reach.centre, 0.0)[pairs.owner]
    inverse = np.where(seen, 1.0 / reach.sd, 0.0)[pairs.owner]
    population = model.population
    with double_precision():
        arrays = jax.tree.map(
            jnp.asarray,
            (
                np.where(np.isfinite(light), light, 0.0),
                data,
                inverse,
                np.ascontiguousarray(objects.pool.theta[pairs.row].T),
                objects.pool.log_weight[pairs.row],
                pairs.owner,
            ),
        )

        @jax.jit
        def value(values, light, data, inverse, theta, log_weight, owner):
            chi2 = jnp.sum(((light - data) * inverse) ** 2, axis=1)
            log_p = population.with_values(values).log_prob(*theta) + log_weight - chi2 / 2
            summed = jax.ops.segment_sum(jnp.exp(log_p), owner, n, indices_are_sorted=True)
            return jnp.log(summed).sum()

        values = {k: jnp.asarray(v, float) for k, v in model.start().items()}
        return _seconds_of(lambda: value(values, *arrays))


def _seconds_of(function: Callable[[], jax.Array]) -> float:
    jax.block_until_ready(function())
    started = time.perf_counter()
    for _ in range(_ROWS_TIMED):
        jax.block_until_ready(function())
    return (time.perf_counter() - started) / _ROWS_TIMED
