"""Simulation-based calibration of population fits (Talts et al. 2018; Modrák et al. 2023).

Parameters are drawn from the priors, a mock catalogue is made of each, and all catalogues, padded
to one size, are fitted by one program. If likelihood, priors and sampler are right, the rank of
the true value among the posterior's draws is uniform for every parameter, and so is the rank of
the log-likelihood of the truth, which also catches posteriors that ignore part of the data.
"""

import functools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np

from starcensus.files import Path
from starcensus.runs import Input
from starcensus.shards import ShardedRun, Work

from ...selection import AbstractSelection
from ..draws import flatten
from ..model import PopulationModel
from ..sampling import double_precision
from .fits import fits_of, thinned
from .problem import Problem
from .ranks import rank_of
from .result import Calibration
from .settings import CalibrationSettings
from .sources import Sizes

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
    inputs: Mapping[str, Input] = MappingProxyType({}),
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
    - `inputs`: files on which the result depends, such as modules with laws of your own.

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
    problem = Problem.drawn(model, generator, sigma, selection, settings)
    return calibrate_problem(problem, progress, out, work, inputs)


def calibrate_problem(
    problem: Problem,
    progress: Callable[[str], None] = lambda _: None,
    out: Path | None = None,
    work: Work | None = None,
    inputs: Mapping[str, Input] = MappingProxyType({}),
) -> Calibration:
    """As `calibrate`, of a `Problem`, whose catalogues may have been made elsewhere.

    Raises `BoundsError` where the catalogues contradict the population's bounds.

    ```python
    truth = dict(alpha_m=-2.0, log_m_break=5.0, alpha_t=-0.8, sigma_av=0.4, log_n=2.5)
    calibrate_problem(Problem.given(model, [catalogue], [truth], operator)).describe()
    ```
    """
    n = problem.n
    if out is None:
        if work is not None:
            raise ValueError("work is given without out; shards need a file to be gathered in")
        mocks = problem.all_mocks(progress)
        padded = problem.sizes(mocks)
        progress(f"fitting {n} catalogues of up to {max(map(len, mocks))} clusters")
        # Devices are filled, whatever number they take at a time.
        at_once = problem.settings.batch * len(jax.local_devices())
        capacity, made = min(n, -(-_SHARD // at_once) * at_once), []
        for start in range(0, n, capacity):
            some = mocks[start : start + capacity]
            made.append(fit_catalogues(problem, some, start, padded, capacity))
            progress(f"fitted {start + len(some)} of {n}")
        return Calibration.joined(made)
    work = work or Work()
    capacity = min(work.shard_size or _SHARD, n)

    @functools.cache
    def sizes() -> Sizes:
        return problem.sizes(problem.all_mocks(progress))

    def finished(path: Path) -> str:
        return Calibration.key_of(path)

    key = problem.run(inputs).key
    run = ShardedRun(
        key=key,
        of="model, operator, settings or version",
        n=n,
        unit="catalogues",
        task=_fit_shard,
        arguments=lambda start, stop: (problem, start, stop, sizes(), max(capacity, stop - start)),
        save=lambda result, start, stop, path: result.save(path),
        merge=lambda parts, path: Calibration.joined([Calibration.load(p) for p in parts]).save(
            path, key
        ),
        finished=finished,
    )
    done = run.run(out, work, capacity, lambda done, of: progress(f"fitted {done} of {of}"))
    return Calibration.load(done.path)


def fit_catalogues(
    problem: Problem, mocks: list[Any], start: int, sizes: Sizes, capacity: int
) -> Calibration:
    """Fit the mocks, the first of which is catalogue `start`, by a program for `capacity`."""
    cfg, n = problem.settings, len(mocks)
    truths = {k: v[start : start + n] for k, v in problem.truths().items()}
    numbers = np.arange(start, start + n)
    with double_precision():
        fits = fits_of(problem, problem.samples(mocks, start, sizes), truths, numbers, capacity)
    thin = thinned(cfg)
    names, draw_columns, ess = [], [], []
    from arviz_stats.base.array import array_stats

    for name, column in flatten(problem.model, fits.values).items():
        names.append(name)
        draw_columns.append(column.reshape(n, -1))
        ess.append([array_stats.ess(chains, method="bulk") for chains in column])
    columns = {k: v[:, None] if v.ndim == 1 else v for k, v in truths.items()}
    true_flat = flatten(problem.model, columns)
    true_columns = [np.asarray(true_flat[name]).reshape(n) for name in names]
    pairs = list(zip(draw_columns, true_columns, strict=True))
    quantiles = [rank_of(draws, truth) / draws.shape[1] for draws, truth in pairs]
    ranks = [rank_of(draws[:, thin], truth) for draws, truth in pairs]
    below = rank_of(fits.ranked, fits.at_truth)
    return Calibration(
        (*names, LIKELIHOOD),
        np.stack([*ranks, below], axis=1),
        np.stack([*quantiles, below / fits.ranked.shape[1]], axis=1),
        np.stack([*true_columns, fits.at_truth], axis=1),
        np.asarray([len(mock) for mock in mocks]),
        np.minimum(np.asarray(ess, float).min(axis=0), fits.most_effective),
        cfg.n_ranked,
        int(fits.diverging.sum()),
        int(fits.by_chains.sum()),
    )


def _fit_shard(problem: Problem, start: int, stop: int, sizes: Sizes, capacity: int) -> Calibration:
    return fit_catalogues(problem, problem.mocks(start, stop), start, sizes, capacity)
