"""Simulation-based calibration of population fits (Talts et al. 2018; Modrák et al. 2023).

Parameters are drawn from the priors, a mock catalogue is made of each, and all catalogues, padded
to one size, are fitted by one program. If likelihood, priors and sampler are right, the rank of
the true value among the posterior's draws is uniform for every parameter, and so is the rank of
the log-likelihood of the truth, which also catches posteriors that ignore part of the data.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from starcensus.files import Path
from starcensus.runs import Run
from starcensus.shards import ShardedRun, Work

from ...forward import selection_grid
from ...forward.mock import Mock, mock_catalogue
from ...selection import AbstractSelection
from ..draws import flatten, prior_draws
from ..identity import fingerprint, model_digest
from ..likelihood import log_likelihood
from ..model import PopulationModel
from ..objects import ObjectSamples, object_samples, padded_size
from ..sampling import Sampler, double_precision
from .result import Calibration
from .settings import CalibrationSettings

LIKELIHOOD = "log_likelihood"
_SHARD = 25


def calibrate(
    model: PopulationModel,
    generator: AbstractSelection,
    sigma: tuple[float, float, float] | None,
    selection: AbstractSelection,
    settings: CalibrationSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
    out: Path | None = None,
    work: Work | None = None,
) -> Calibration:
    """Draw from the priors, make mocks with `generator`, fit them with `selection`.

    **Arguments:**

    - `generator`, `sigma`: those of `mock_catalogue`.
    - `selection`: what the likelihood believes; give another than the generator to see a wrong
        likelihood fail.
    - `progress`: called with a phrase at the start of each stage.
    - `out`: HDF5 file of the result. Catalogues are then fitted in shards, which an interrupted
        run continues, and a file that is this very calibration is read instead of made.
    - `work`: processes on this machine, or a Dask scheduler, that do the shards; needs `out`.

    Catalogues, and each one's fit, depend on its number and the settings alone. With `batch` 1
    on CPUs the result is the same, bit for bit, for all workers and shards; elsewhere a compiler
    may round sums of other shapes differently, which moves single draws and no statistics.

    Raises `ValueError` for mock catalogues without clusters, `RunError` for an `out` that is of
    another calibration or cannot be written.

    ```python
    result = calibrate(model, operator, None, operator, out="calibration.h5", work=Work(workers=8))
    result.accepted()
    ```
    """
    problem = _Problem(model, generator, sigma, selection, settings or CalibrationSettings())
    n = problem.settings.n_catalogues
    if out is None:
        if work is not None:
            raise ValueError("work is given without out; shards need a file to be gathered in")
        progress("drawing catalogues")
        mocks = problem.mocks(0, n)
        largest = _largest(mocks)
        progress(f"fitting {n} catalogues of up to {largest} clusters")
        return problem.fit(mocks, 0, padded_size(largest), n)
    work = work or Work()
    capacity = min(work.shard_size or _SHARD, n)

    @functools.cache
    def size() -> int:
        progress("drawing catalogues")
        return padded_size(_largest(problem.mocks(0, n)))

    def finished(path: Path) -> str:
        return Calibration.key_of(path)

    run = ShardedRun(
        key=problem.run().key,
        of="model, operator, settings or version",
        n=n,
        unit="catalogues",
        task=_fit_shard,
        arguments=lambda start, stop: (problem, start, stop, size(), max(capacity, stop - start)),
        save=lambda result, start, stop, path: result.save(path),
        merge=lambda parts, path: Calibration.joined([Calibration.load(p) for p in parts]).save(
            path, problem.run().key
        ),
        finished=finished,
    )
    done = run.run(out, work, capacity, lambda done, of: progress(f"fitted {done} of {of}"))
    return Calibration.load(done.path)


@dataclasses.dataclass(frozen=True, eq=False)
class _Problem:
    """What is calibrated; equal problems share their compiled program in a process."""

    model: PopulationModel
    generator: AbstractSelection
    sigma: tuple[float, float, float] | None
    selection: AbstractSelection
    settings: CalibrationSettings

    @functools.cached_property
    def digest(self) -> str:
        """Of all that the result depends on, apart from the code."""
        facts = (
            model_digest(self.model),
            fingerprint(self.generator),
            self.sigma,
            fingerprint(self.selection),
            self.settings,
        )
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Problem) and self.digest == other.digest

    def run(self) -> Run:
        return Run("calibration", {"problem": self.digest}, seed=self.settings.seed)

    def truths(self) -> dict[str, np.ndarray]:
        """The true parameters of all catalogues."""
        return prior_draws(self.model, self.settings.n_catalogues, self.settings.seed)

    def mocks(self, start: int, stop: int) -> list[Mock]:
        """Catalogues `start` to `stop`."""
        cfg, truths = self.settings, self.truths()
        fixed = self.model.population.with_values(self.model.fixed_values())
        with double_precision():
            keys = jax.random.split(jax.random.key(cfg.seed), cfg.n_catalogues)
            return [
                mock_catalogue(
                    keys[i],
                    fixed.with_values({k: v[i] for k, v in truths.items()}),
                    self.generator,
                    self.sigma,
                )
                for i in range(start, stop)
            ]

    def samples(self, mocks: list[Mock], start: int, size: int) -> ObjectSamples:
        """Samples of every catalogue, stacked, each padded to `size` clusters."""
        cfg = self.settings
        each = [
            object_samples(
                mock.catalogue,
                self.model.population.box,
                dataclasses.replace(cfg.errors, seed=cfg.seed + start + i),
                self.selection,
                pad=False,
            ).padded(size)
            for i, mock in enumerate(mocks)
        ]
        return jax.tree.map(lambda *leaves: np.stack(leaves), *each)

    def fit(self, mocks: list[Mock], start: int, size: int, capacity: int) -> Calibration:
        """Fit the mocks, the first of which is catalogue `start`, by a program for `capacity`."""
        cfg, n = self.settings, len(mocks)
        with double_precision():
            objects = self.samples(mocks, start, size)
            keys = jax.random.split(jax.random.key(cfg.seed + 2), cfg.n_catalogues)
            truths = {k: v[start : start + n] for k, v in self.truths().items()}
            program = _program(self, size, capacity)
            values, ranked, at_truth, diverging = program(objects, keys[start : start + n], truths)
        thin = _thinned(cfg)
        names, draw_columns, ess = [], [], []
        from arviz_stats.base.array import array_stats

        for name, column in flatten(self.model, values).items():
            names.append(name)
            draw_columns.append(column.reshape(n, -1))
            ess.append([array_stats.ess(chains, method="bulk") for chains in column])
        columns = {k: v[:, None] if v.ndim == 1 else v for k, v in truths.items()}
        true_flat = flatten(self.model, columns)
        true_columns = [np.asarray(true_flat[name]).reshape(n) for name in names]
        pairs = list(zip(draw_columns, true_columns, strict=True))
        quantiles = [(draws < truth[:, None]).mean(axis=1) for draws, truth in pairs]
        ranks = [(draws[:, thin] < truth[:, None]).sum(axis=1) for draws, truth in pairs]
        below = ranked < at_truth[:, None]
        return Calibration(
            (*names, LIKELIHOOD),
            np.stack([*ranks, below.sum(axis=1)], axis=1),
            np.stack([*quantiles, below.mean(axis=1)], axis=1),
            np.stack([*true_columns, at_truth], axis=1),
            np.asarray([len(mock.catalogue) for mock in mocks]),
            np.asarray(ess, float).min(axis=0),
            cfg.n_ranked,
            int(diverging.sum()),
        )


def _fit_shard(problem: _Problem, start: int, stop: int, size: int, capacity: int) -> Calibration:
    return problem.fit(problem.mocks(start, stop), start, size, capacity)


def _largest(mocks: list[Mock]) -> int:
    """Clusters of the largest catalogue; raises `ValueError` if one is empty."""
    sizes = np.asarray([len(mock.catalogue) for mock in mocks])
    if sizes.min() == 0:
        raise ValueError(
            f"{int((sizes == 0).sum())} of {len(sizes)} mock catalogues are empty; a fit needs "
            "at least one cluster: raise the prior of log_n"
        )
    return int(sizes.max())


def _thinned(cfg: CalibrationSettings) -> np.ndarray:
    """Which draws are ranked."""
    n_total = cfg.sampler.n_chains * cfg.sampler.n_samples
    return np.linspace(0, n_total - 1, cfg.n_ranked).astype(int)


@functools.lru_cache(maxsize=2)
def _program(problem: _Problem, size: int, capacity: int) -> Callable[..., tuple]:
    """A function of (objects, keys, truths) of at most `capacity` catalogues of `size` rows."""
    cfg, model = problem.settings, problem.model
    with double_precision():
        grid = selection_grid(problem.selection, model.population, cfg.quadrature)
        sampler = Sampler(model, grid, cfg.sampler)
    thin = _thinned(cfg)
    fixed = model.population.with_values(model.fixed_values())

    def one(inputs: tuple[ObjectSamples, PRNGKeyArray, dict[str, Array]]) -> tuple:
        catalogue, key, truth = inputs
        draws = sampler.program(catalogue, grid, key)
        joined = {k: v.reshape(-1, *v.shape[2:]) for k, v in draws.values.items()}

        def value(at: dict[str, Array]) -> Float[Array, ""]:
            return log_likelihood(fixed.with_values(at), catalogue, grid, model.form)

        ranked = jax.lax.map(value, {k: v[thin] for k, v in joined.items()})
        return draws.values, ranked, value(truth), draws.diverging.sum()

    devices = jax.local_devices()
    batch = min(cfg.batch, capacity)
    # Blocks of `batch` catalogues for each device; capacity is filled up to whole blocks.
    blocks = -(-capacity // (len(devices) * batch))

    def over_blocks(inputs: Any, n_blocks: Array) -> Any:
        """The first `n_blocks` blocks of one device's share; a count that is not compiled in."""

        def block(i: Array) -> Any:
            rows = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, i * batch, batch), inputs)
            if batch == 1:
                return jax.tree.map(lambda x: x[None], one(jax.tree.map(lambda x: x[0], rows)))
            return jax.vmap(one)(rows)

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
            over_blocks, mesh=mesh, in_specs=(spec, jax.P()), out_specs=spec, check_vma=False
        )
    compiled = jax.jit(program)

    def run(*inputs: Any) -> tuple:
        n = jax.tree.leaves(inputs)[0].shape[0]
        n_blocks = -(-n // (len(devices) * batch))
        # Where catalogues do not fill the blocks, the first ones take the rest.
        place = np.zeros((len(devices), blocks * batch), int)
        place[:, : n_blocks * batch] = (np.arange(len(devices) * n_blocks * batch) % n).reshape(
            len(devices), -1
        )
        filled = jax.tree.map(lambda x: x[place.ravel()], inputs)
        results = compiled(filled, jnp.asarray(n_blocks))
        used = np.arange(place.size).reshape(place.shape)[:, : n_blocks * batch].ravel()[:n]
        return jax.tree.map(lambda x: np.asarray(x)[used], results)

    return run
