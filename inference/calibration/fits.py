"""Fits of many catalogues by compiled programs, each a map over blocks of catalogues."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ...forward import SelectionGrid
from ..identity import Static, model_digest, rules_of
from ..importance import NotGaussianError, resampled
from ..likelihood import log_likelihood
from ..model import PopulationModel
from ..objects import Samples
from ..sampling import Sampler, SamplerSettings, double_precision
from .problem import Problem
from .settings import CalibrationSettings


class Fits(NamedTuple):
    """Draws of the posteriors of n catalogues.

    **Arguments:**

    - `values`: draws of what is sampled, by name, `(n, chain, draw, …)`.
    - `ranked`, `at_truth`: `(n, ranked)` and `(n,)`, ln L of the draws that are ranked, and of the
      truth.
    - `diverging`: `(n,)`, divergent transitions.
    - `most_effective`: `(n,)`, so many independent draws at most do a catalogue's stand for.
    - `by_chains`: `(n,)`, which were drawn by chains.
    """

    values: dict[str, Float[np.ndarray, "..."]]
    ranked: Float[np.ndarray, "n ranked"]
    at_truth: Float[np.ndarray, " n"]
    diverging: Int[np.ndarray, " n"]
    most_effective: Float[np.ndarray, " n"]
    by_chains: Bool[np.ndarray, " n"]


def thinned(cfg: CalibrationSettings) -> Int[np.ndarray, " ranked"]:
    """Which draws are ranked."""
    n_total = cfg.sampler.n_chains * cfg.sampler.n_samples
    return np.linspace(0, n_total - 1, cfg.n_ranked).astype(int)


def fits_of(
    problem: Problem,
    objects: Samples,
    truths: dict[str, np.ndarray],
    numbers: Int[np.ndarray, " n"],
    capacity: int,
) -> Fits:
    """Fit catalogues of these numbers, by programs for `capacity` of them; needs x64.

    With importance sampling, those whose weights forbid it are drawn by chains: both draw from the
    posterior, so that which of them is taken says nothing of the truth.
    """
    cfg, grid = problem.settings, problem.grid
    keys = jax.random.split(jax.random.key(cfg.seed + 2), cfg.n_catalogues)[numbers]
    if cfg.sampler.method == "nuts":
        return _by_chains(problem, grid, capacity, (objects, keys, truths))
    found, chains = _by_points(problem, grid, capacity, numbers, (objects, keys, truths))
    if not chains.any():
        return found
    some = np.flatnonzero(chains)
    given = jax.tree.map(lambda x: x[some], (objects, keys, truths))
    made = _by_chains(problem, grid, capacity, given)

    def put(into: np.ndarray, new: np.ndarray) -> np.ndarray:
        into = into.copy()
        into[some] = new
        return into

    return jax.tree.map(put, found, made)


def _by_chains(problem: Problem, grid: SelectionGrid, capacity: int, given: tuple) -> Fits:
    program = _program(_of_program(problem, grid, "nuts"), capacity)
    values, ranked, at_truth, diverging = program(grid.p_sel, *given)
    n = len(at_truth)
    return Fits(values, ranked, at_truth, diverging, np.full(n, np.inf), np.ones(n, bool))


def _by_points(
    problem: Problem, grid: SelectionGrid, capacity: int, numbers: np.ndarray, given: tuple
) -> tuple[Fits, Bool[np.ndarray, " n"]]:
    """Fits by weighted points, and those whose weights forbid it, which have the first points."""
    cfg = problem.settings
    points = _program(_of_program(problem, grid, "importance"), capacity)(grid.p_sel, *given[:2])
    sampler, n = cfg.sampler, len(numbers)
    shape = sampler.n_chains, sampler.n_samples
    picked = np.tile(np.arange(np.prod(shape)), (n, 1))
    effective, refused = np.zeros(n), ~points.mode_converged
    for i, number in enumerate(numbers):
        try:
            rng = np.random.default_rng((cfg.seed, int(number)))
            picked[i], effective[i] = resampled(points.log_weight[i], int(np.prod(shape)), rng)
        except NotGaussianError:
            refused[i] = True
    each = np.arange(n)[:, None]
    values = {k: v[each, picked] for k, v in points.values.items()}
    some = {k: v[:, thinned(cfg)] for k, v in values.items()}
    terms = _program(_of_program(problem, grid, "terms"), capacity)
    ranked, at_truth = terms(grid.p_sel, given[0], some, given[2])
    chains = {k: v.reshape(n, *shape, *v.shape[2:]) for k, v in values.items()}
    none = np.zeros(n, int)
    return Fits(chains, ranked, at_truth, none, effective, none > 0), refused


# Model, settings, nodes, and which program: neither catalogues nor simulated clusters are kept.
type Compiled = tuple[PopulationModel, CalibrationSettings, SelectionGrid, str]


def _of_program(problem: Problem, grid: SelectionGrid, what: str) -> Static[Compiled]:
    """What is compiled into a program of a problem: all but p_sel, data and seed."""
    cfg = problem.settings
    sampler = dataclasses.replace(cfg.sampler, seed=0)
    facts = (what, model_digest(problem.model), rules_of(grid), sampler, cfg.n_ranked, cfg.batch)
    digest = hashlib.sha256(repr(facts).encode()).hexdigest()
    return Static((problem.model, cfg, grid, what), digest)


@functools.lru_cache(maxsize=6)
def _program(compiled_in: Static[Compiled], capacity: int) -> Callable[..., Any]:
    """A function of p_sel and what each of at most `capacity` catalogues has: objects, keys and
    truths of chains ("nuts"), objects and keys of points ("importance"), and objects, parameters
    and truths of "terms", which are ln L."""
    model, cfg, nodes, what = compiled_in.value
    thin = thinned(cfg)
    fixed = model.population.with_values(model.fixed_values())

    def values_of(grid: SelectionGrid, catalogue: Samples, at: dict, truth: dict) -> tuple:
        def value(at: dict[str, Array]) -> Float[Array, ""]:
            return log_likelihood(fixed.with_values(at), catalogue, grid, model.form)

        return jax.lax.map(value, at), value(truth)

    if what == "terms":
        return _in_blocks(lambda grid, given: values_of(grid, *given), nodes, cfg, capacity)
    with double_precision():
        sampler = Sampler(model, nodes, cfg.sampler if what != "nuts" else _chains_of(cfg))

    def points(grid: SelectionGrid, given: tuple[Samples, PRNGKeyArray]) -> Any:
        return sampler.points(given[0], grid, given[1])

    def chains(grid: SelectionGrid, given: tuple[Samples, PRNGKeyArray, dict[str, Array]]) -> tuple:
        catalogue, key, truth = given
        draws = sampler.program(catalogue, grid, key)
        joined = {k: v.reshape(-1, *v.shape[2:])[thin] for k, v in draws.values.items()}
        return draws.values, *values_of(grid, catalogue, joined, truth), draws.diverging.sum()

    return _in_blocks(chains if what == "nuts" else points, nodes, cfg, capacity)


def _chains_of(cfg: CalibrationSettings) -> SamplerSettings:
    return dataclasses.replace(cfg.sampler, method="nuts")


def _in_blocks(
    one: Callable[[SelectionGrid, Any], Any],
    nodes: SelectionGrid,
    cfg: CalibrationSettings,
    capacity: int,
) -> Callable[..., Any]:
    """A compiled program that maps `one` over catalogues, in blocks and on all devices."""
    devices = jax.local_devices()
    batch = min(cfg.batch, capacity)
    # Blocks of `batch` catalogues for each device; capacity is filled up to whole blocks.
    blocks = -(-capacity // (len(devices) * batch))

    def over_blocks(p_sel: Array, inputs: Any, n_blocks: Array) -> Any:
        """The first `n_blocks` blocks of one device's share; a count that is not compiled in."""
        grid = eqx.tree_at(lambda g: g.p_sel, nodes, p_sel)

        def block(i: Array) -> Any:
            rows = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, i * batch, batch), inputs)
            if batch == 1:
                return jax.tree.map(
                    lambda x: x[None], one(grid, jax.tree.map(lambda x: x[0], rows))
                )
            return jax.vmap(lambda row: one(grid, row))(rows)

        def advance(i: Array, so_far: Any) -> Any:
            return jax.tree.map(
                lambda all_, new: jax.lax.dynamic_update_slice_in_dim(all_, new, i * batch, 0),
                so_far,
                block(i),
            )

        shapes = jax.eval_shape(block, jnp.asarray(0))
        empty = jax.tree.map(lambda x: jnp.zeros((blocks * batch, *x.shape[1:]), x.dtype), shapes)
        return jax.lax.fori_loop(0, n_blocks, advance, empty)

    program = over_blocks
    if len(devices) > 1:
        mesh = jax.sharding.Mesh(np.asarray(devices), ("catalogue",))
        spec = jax.P("catalogue")
        program = jax.shard_map(
            over_blocks,
            mesh=mesh,
            in_specs=(jax.P(), spec, jax.P()),
            out_specs=spec,
            check_vma=False,
        )
    compiled = jax.jit(program)

    def run(p_sel: np.ndarray, *inputs: Any) -> Any:
        n = jax.tree.leaves(inputs)[0].shape[0]
        n_blocks = -(-n // (len(devices) * batch))
        # Where catalogues do not fill the blocks, the first ones take the rest.
        place = np.zeros((len(devices), blocks * batch), int)
        place[:, : n_blocks * batch] = (np.arange(len(devices) * n_blocks * batch) % n).reshape(
            len(devices), -1
        )
        filled = jax.tree.map(lambda x: x[place.ravel()], inputs)
        results = compiled(p_sel, filled, jnp.asarray(n_blocks))
        used = np.arange(place.size).reshape(place.shape)[:, : n_blocks * batch].ravel()[:n]
        return jax.tree.map(lambda x: np.asarray(x)[used], results)

    return run
