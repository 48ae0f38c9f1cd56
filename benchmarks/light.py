"""How fast a fit of measured light is, and how fast the recipe of others would be on the same data.

The recipe is emcee with a hundred walkers that sums the kernels of every object over its simulated
clusters at every step (Krumholz et al. 2019; Tang et al. 2024). Its autocorrelation time does not
depend on how ln L is summed, so it is measured on the nodes, and the time of a step on the rows.
"""

import dataclasses
import pathlib
import resource
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp

from benchmarks.fit import Result, _emcee, _machine, _nuts, _rounded
from starcensus.experiments.jobs._job import SILENT, open_job
from starcensus.experiments.jobs.light import LightJob
from starcensus.inference import PopulationModel, log_likelihood
from starcensus.inference.objects import LightSettings, Samples
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
    times = {name: _seconds(model, some, grid) for name, some in (("nodes", nodes), ("rows", rows))}
    n_evaluated = theirs["emcee_walkers"] * theirs["emcee_steps"]
    of_recipe = theirs["emcee_min_ess"] / (n_evaluated * times["rows"])
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
            "n_rows": len(rows.owner),
            "value_nodes_ms": 1e3 * times["nodes"],
            "value_rows_ms": 1e3 * times["rows"],
            **ours,
            **theirs,
            "recipe_ess_per_s": of_recipe,
            "ratio_s": ours["nuts_ess_per_s"] / of_recipe,
            "max_rss_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
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
        jax.block_until_ready(program(values))
        started = time.perf_counter()
        for _ in range(_ROWS_TIMED):
            jax.block_until_ready(program(values))
    return (time.perf_counter() - started) / _ROWS_TIMED
