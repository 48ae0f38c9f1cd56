"""How fast a population fit is: against emcee on the identical posterior, and with catalogue size.

Effective draws per second are those of the worst parameter: bulk ESS of NUTS (Vehtari et al. 2021);
for emcee, whose walkers are not independent, draws / τ (Goodman & Weare 2010). Both samplers see
the same unconstrained coordinates and the same compiled log posterior, and start from the mode that
the fit finds. Wall-clock times depend on what else the machine does; CPU times less so.
"""

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from arviz_stats.base.array import array_stats
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.util import constrain_fn, potential_energy, unconstrain_fn

from starcensus.forward import (
    MassIndependentDisruption,
    NodesExtinction,
    Population,
    Schechter,
    SelectionGrid,
    Separable,
    selection_grid,
)
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import (
    FitSettings,
    NodeSettings,
    PopulationModel,
    Sampler,
    SamplerSettings,
    double_precision,
    fit,
    flatten,
    object_samples,
)
from starcensus.inference.laplace import laplace
from starcensus.inference.objects import Samples, in_bounds
from starcensus.inference.sampling import numpyro_rules
from starcensus.selection import MagnitudeLimit, RecordedSelection, with_outside
from starcensus.selection.catalogue import Catalogue

Result = dict[str, float | int | str | bool]

N_WALKERS = 32
# Ways to fit a catalogue, with the numbers of chains and steps given.
ROUTES: dict[str, Callable[[SamplerSettings], FitSettings]] = {
    "default": lambda cfg: FitSettings(sampler=cfg),
    "samples": lambda cfg: FitSettings(sampler=cfg, nodes=NodeSettings(np.inf)),
    "importance": lambda cfg: FitSettings(sampler=dataclasses.replace(cfg, method="importance")),
}


@dataclasses.dataclass
class Clock:
    """Wall-clock and CPU seconds since it was made or last read."""

    wall: float = dataclasses.field(default_factory=time.perf_counter)
    cpu: float = dataclasses.field(default_factory=time.process_time)

    def read(self) -> tuple[float, float]:
        before = (self.wall, self.cpu)
        self.wall, self.cpu = time.perf_counter(), time.process_time()
        return self.wall - before[0], self.cpu - before[1]


@dataclasses.dataclass(frozen=True)
class Problem:
    """A mock catalogue of about the size asked for, and what fits it."""

    catalogue: Catalogue
    selection: RecordedSelection
    model: PopulationModel


def problem(n_clusters: int, seed: int = 0) -> Problem:
    """Schechter × mass-independent disruption × four extinction nodes behind V = 23.5 mag."""
    rule = MagnitudeLimit.default("F555W", limit_mag=23.5, width_mag=0.15)
    selection = RecordedSelection(with_outside(rule, "zero"), (0.1, 0.1, 0.1))
    family = Population(
        Separable(
            Schechter((3.0, 6.5), -2.0, 5.0), MassIndependentDisruption((6.0, 9.5), 7.8, -0.8)
        ),
        NodesExtinction((0.0, 0.5, 1.0, 3.0), np.array([0.35, 0.4, 0.2, 0.05])),
    )
    with double_precision():
        seen = float(selection_grid(selection, family).detected_fraction(family))
        population = family.with_values({"log_n": np.asarray(np.log10(n_clusters / seen))})
        mock = mock_catalogue(jax.random.key(seed), population, selection, source="benchmark")
    return Problem(mock.catalogue, selection, PopulationModel(population))


def bench_fit(
    sizes: tuple[int, ...] = (1000,),
    settings: SamplerSettings | None = None,
    n_steps: int = 4000,
    seed: int = 0,
) -> Iterator[Result]:
    """NUTS against emcee on the identical posterior, one result for each catalogue size.

    `n_steps`: steps of emcee's 32 walkers. Raises `ValueError` if emcee is not installed.
    """
    try:
        import emcee
    except ImportError as error:
        raise ValueError(
            "this benchmark compares with emcee, which is not installed; "
            "install starcensus[test], or use --scaling, which does without"
        ) from error
    cfg = settings or SamplerSettings(seed=seed)
    for size in sizes:
        given = problem(size, seed)
        box, errors = given.model.population.box, FitSettings().errors
        with double_precision():
            grid = selection_grid(given.selection, given.model.population)
            kept = in_bounds(given.catalogue, box, errors)
            objects = object_samples(kept, box, errors, given.selection)
        ours = _nuts(given.model, objects, grid, cfg)
        theirs = _emcee(emcee, given.model, objects, grid, n_steps, seed)
        ratios = {
            f"ratio_{kind}": ours[f"nuts_ess_per_{kind}"] / theirs[f"emcee_ess_per_{kind}"]
            for kind in ("s", "s_with_compile", "cpu_s")
        }
        facts: Result = {"benchmark": "fit", "n_clusters": len(kept), **_machine()}
        yield _rounded({**facts, **dataclasses.asdict(cfg), **ours, **theirs, **ratios})


def bench_scaling(
    sizes: tuple[int, ...] = (1000, 10_000, 100_000),
    settings: SamplerSettings | None = None,
    seed: int = 0,
    routes: tuple[str, ...] = ("default",),
) -> Iterator[Result]:
    """Whole fits, from catalogue to diagnostics and predictions, compilation included.

    `routes`: names in `ROUTES`.
    """
    cfg = settings or SamplerSettings(seed=seed)
    for size, route in itertools.product(sizes, routes):
        given, told = problem(size, seed), ROUTES[route](cfg)
        jax.clear_caches()
        stages: dict[str, float] = {}
        clock, last = Clock(), [time.perf_counter(), "starting"]

        def stage(name: str, stages=stages, last=last) -> None:
            now = time.perf_counter()
            stages[f"{last[1]}_s"] = stages.get(f"{last[1]}_s", 0.0) + now - last[0]
            last[:] = [now, name.replace(" ", "_")]

        result = fit(given.catalogue, given.selection, given.model, told, stage)
        stage("done")
        wall, cpu = clock.read()
        found: Result = {
            "benchmark": "fit_scaling",
            "route": route,
            "n_clusters": len(result.objects),
            **_machine(),
            **dataclasses.asdict(told.sampler),
            "wall_s": wall,
            "cpu_s": cpu,
            "max_r_hat": result.diagnostics.max_r_hat,
            "min_ess_bulk": result.diagnostics.min_ess_bulk,
            "n_divergent": result.diagnostics.n_divergent,
            "mean_n_steps": float(np.asarray(result.tree["sample_stats"]["n_steps"]).mean()),
            "node_error": result.diagnostics.node_error,
            "max_object_shift": result.diagnostics.max_object_shift,
            "converged": result.diagnostics.converged,
            **stages,
        }
        yield _rounded(found)


def _nuts(
    model: PopulationModel, objects: Samples, grid: SelectionGrid, cfg: SamplerSettings
) -> dict[str, float]:
    clock = Clock()
    sampler = Sampler(model, grid, cfg)
    sampler.run(objects, grid, jax.random.key(cfg.seed))
    first = clock.read()
    draws = sampler.run(objects, grid, jax.random.key(cfg.seed + 1))
    wall, cpu = clock.read()
    flat = flatten(model, {k: np.asarray(v) for k, v in draws.values.items()})
    ess = min(float(np.asarray(array_stats.ess(x, method="bulk"))) for x in flat.values())
    r_hat = max(float(np.asarray(array_stats.rhat(x))) for x in flat.values())
    return {
        "n_parameters": float(len(flat)),
        "nuts_compile_s": max(first[0] - wall, 0.0),
        "nuts_compile_cpu_s": max(first[1] - cpu, 0.0),
        "nuts_run_s": wall,
        "nuts_run_cpu_s": cpu,
        "nuts_min_ess_bulk": ess,
        "nuts_max_r_hat": r_hat,
        "nuts_mean_n_steps": float(np.mean(draws.n_steps)),
        **_per_second("nuts", ess, (wall, cpu), max(first[0], wall)),
    }


def _emcee(
    emcee,
    model: PopulationModel,
    objects: Samples,
    grid: SelectionGrid,
    n_steps: int,
    seed: int,
    n_walkers: int = N_WALKERS,
) -> dict[str, float]:
    callable_model = model.numpyro_model()
    with double_precision(), numpyro_rules():
        clock = Clock()
        values = {k: jnp.asarray(v, float) for k, v in model.start().items()}
        start, unravel = ravel_pytree(unconstrain_fn(model.sample_population, (), {}, values))

        def log_prob(x: Float[Array, " d"]) -> Float[Array, ""]:
            return -jnp.asarray(potential_energy(callable_model, (objects, grid), {}, unravel(x)))

        around = jax.jit(lambda x: laplace(lambda y: -log_prob(y), x))(start)
        half = (n_walkers // 2, len(start))
        compiled, how = _fastest(log_prob, jnp.zeros(half) + around.mode)

        def evaluate(x: np.ndarray) -> np.ndarray:
            # emcee moves half of the walkers at a time; the very first call has all of them.
            rows = [compiled(jnp.asarray(part)) for part in np.split(x, len(x) // half[0])]
            return np.concatenate([np.asarray(r) for r in rows])

        normal = np.random.default_rng(seed).normal(size=(n_walkers, len(start)))
        first = np.asarray(around.mode) + normal @ np.asarray(around.scale).T
        compile_s, compile_cpu_s = clock.read()
        sampler = emcee.EnsembleSampler(*first.shape, evaluate, vectorize=True)
        sampler.random_state = np.random.RandomState(seed).get_state()
        sampler.run_mcmc(first, n_steps)
        wall, cpu = clock.read()
        chain = jnp.asarray(sampler.get_chain(discard=n_steps // 20))
        constrained = jax.jit(
            jax.vmap(jax.vmap(lambda x: constrain_fn(model.sample_population, (), {}, unravel(x))))
        )(chain)
        flat = flatten(model, {k: np.asarray(v) for k, v in constrained.items()})
    tau = max(
        float(emcee.autocorr.integrated_time(x[..., None], quiet=True)[0]) for x in flat.values()
    )
    ess = next(iter(flat.values())).size / tau
    return {
        "emcee_walkers": float(n_walkers),
        "emcee_steps": float(n_steps),
        "emcee_tau": tau,
        "emcee_vectorised_by_vmap": float(how == "vmap"),
        "emcee_compile_s": compile_s,
        "emcee_compile_cpu_s": compile_cpu_s,
        "emcee_run_s": wall,
        "emcee_run_cpu_s": cpu,
        "emcee_min_ess": ess,
        **_per_second("emcee", ess, (wall, cpu), wall + compile_s),
    }


def _fastest(
    log_prob: Callable[[Float[Array, " d"]], Float[Array, ""]], points: Float[Array, "n d"]
) -> tuple[Callable[[Float[Array, "n d"]], Float[Array, " n"]], str]:
    """log_prob of many points, by `vmap` or in turn: whichever this machine does faster."""
    timed = []
    ways = (
        ("vmap", jax.jit(jax.vmap(log_prob))),
        ("map", jax.jit(lambda x: jax.lax.map(log_prob, x))),
    )
    for name, way in ways:
        jax.block_until_ready(way(points))
        started = time.process_time()
        for _ in range(10):
            jax.block_until_ready(way(points))
        timed.append((time.process_time() - started, name, way))
    _, name, way = min(timed, key=lambda item: item[0])
    return way, name


def _per_second(
    name: str, ess: float, run: tuple[float, float], with_compile_s: float
) -> dict[str, float]:
    return {
        f"{name}_ess_per_s": ess / run[0],
        f"{name}_ess_per_cpu_s": ess / run[1],
        f"{name}_ess_per_s_with_compile": ess / with_compile_s,
    }


def _machine() -> Result:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else -1.0
    devices = jax.local_devices()
    return {
        "device": f"{len(devices)} {devices[0].device_kind}",
        "cpu_count": os.cpu_count() or 0,
        "load_average": load,
    }


def _rounded(result: Result) -> Result:
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in result.items()}
