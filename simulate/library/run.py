"""Draw a library in shards: by one process or many, here or on a Dask cluster, and resumably.

What a row holds follows from the design, the engine and the row's index alone, so neither workers
nor shards nor interruptions change a bit of the library.
"""

import os
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt64

import starcensus
from starcensus.files import Path, to_json
from starcensus.runs import Input, Run, RunError
from starcensus.shards import Done, Progress, ShardedRun, Work
from starcensus.theta import AXES, AXIS_UNITS

from .design import Design, Pair
from .library import ClusterLibrary, write_library


@runtime_checkable
class Engine(Protocol):
    """What draws the light of clusters: small, picklable, and equal in every process.

    - `bands`: names of the columns of the magnitudes it returns.
    - `environment`: variables of the process in which it must run; if there are any, it never runs
      in the process that asks.
    """

    @property
    def bands(self) -> tuple[str, ...]: ...

    @property
    def environment(self) -> dict[str, str]: ...

    def limits(self) -> dict[str, Pair]:
        """Where θ may lie, for the axes that have limits."""
        ...

    def describe(self) -> dict[str, Any]:
        """All that the result depends on, as JSON; `citations` among it."""
        ...

    def draw(
        self,
        log_mass: Float[np.ndarray, "n"],
        log_age: Float[np.ndarray, "n"],
        a_v: Float[np.ndarray, "n"],
        seeds: UInt64[np.ndarray, "n"],
    ) -> dict[str, np.ndarray]:
        """`abs_mags` `(n, band)` and any of the optional columns of a ClusterLibrary."""
        ...


# Clusters in a shard, unless `Work.shard_size` says another number.
SHARD_SIZE = 20_000


def run_library(
    design: Design,
    engine: Engine,
    out: Path,
    work: Work = Work(),
    progress: Progress = lambda done, n: None,
    inputs: Mapping[str, Input] = MappingProxyType({}),
) -> Done:
    """Draw the library of a design into the HDF5 file `out`.

    **Arguments:**

    - `design`: θ, radii and seed of each cluster.
    - `engine`: what draws their light.
    - `out`: the file; shards lie beside it until it is whole.
    - `work`: processes, a Dask scheduler, clusters in a shard (by default 20,000); nothing of the
      library depends on them.
    - `progress`: called with the number of clusters drawn so far and of all.
    - `inputs`: files on which the library depends besides, such as modules with laws of your own.

    Raises `RunError` when the design leaves the engine's range, when `out` or its shards
    belong to another design, cannot be written, or are being written, or when workers are lost or
    have another grid.

    ```python
    engine = StarcensusEngine(("ACS_F435W", "ACS_F555W"))
    run_library(Design(n=1000, seed=1), engine, "mine.h5")
    ```
    """
    run = library_run(design, engine, inputs)
    facts = to_json(run.settings["engine"], sort_keys=True)
    meta = {
        "design": run.settings["design"],
        "engine": run.settings["engine"],
        "starcensus": starcensus.__version__,
        "key": run.key,
    }

    def arguments(start: int, stop: int) -> tuple[Any, ...]:
        rows = design.rows(start, stop)
        return engine, facts, *(rows[name] for name in (*AXES, "seed"))

    def save(columns: dict[str, Any], start: int, stop: int, path: pathlib.Path) -> None:
        rows: dict[str, Any] = design.rows(start, stop)
        ClusterLibrary(bands=engine.bands, **rows, **columns).save(path)

    def merge(files: list[pathlib.Path], path: pathlib.Path) -> None:
        readers = [lambda file=file: ClusterLibrary.load(file).columns() for file in files]
        write_library(path, design.n, engine.bands, meta, readers)

    return ShardedRun(
        key=run.key,
        of="design, engine or version",
        n=design.n,
        unit="clusters",
        task=_draw,
        arguments=arguments,
        save=save,
        merge=merge,
        finished=lambda path: ClusterLibrary.load(path, rows=slice(0, 0)).meta.get("key"),
        apart=bool(engine.environment),
    ).run(out, work, SHARD_SIZE, progress)


def library_run(
    design: Design, engine: Engine, inputs: Mapping[str, Input] = MappingProxyType({})
) -> Run:
    """All that a library depends on; `run_library` writes its key into the library.

    `inputs`: files besides those of the engine.

    Raises `RunError` when the design leaves the engine's range.

    ```python
    library_run(design, engine).key
    ```
    """
    _check_limits(design, engine.limits())
    settings = {
        "design": design.describe(),
        "engine": engine.describe(),
        "bands": list(engine.bands),
    }
    return Run("library", settings, inputs, design.seed)


def _check_limits(design: Design, limits: dict[str, Pair]) -> None:
    bounds = design.theta.bounds()
    for name in AXES:
        if name not in limits:
            continue
        (low, high), (least, most) = bounds[name], limits[name]
        if low < least or high > most:
            unit = AXIS_UNITS[name]
            raise RunError(
                f"{name} of the design runs from {low:g} to {high:g} {unit}; the engine has "
                f"{least:g} to {most:g}: narrow the design"
            )


def _draw(
    engine: Engine,
    facts: str,
    log_mass: Float[np.ndarray, "n"],
    log_age: Float[np.ndarray, "n"],
    a_v: Float[np.ndarray, "n"],
    seeds: UInt64[np.ndarray, "n"],
) -> dict[str, np.ndarray]:
    """What a worker does; one that serves an engine with an environment takes it on."""
    os.environ.update(engine.environment)
    if to_json(engine.describe(), sort_keys=True) != facts:
        raise RunError(
            "a worker finds another stellar grid, or other data of SLUG, than the process that "
            "asked it, or the file was replaced meanwhile; give all machines the same files and "
            "leave them as they are"
        )
    return engine.draw(log_mass, log_age, a_v, seeds)
