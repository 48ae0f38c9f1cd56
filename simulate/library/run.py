"""Draw a library in shards: by one process or many, here or on a Dask cluster, and resumably.

Rows are drawn in shards, each written into OUT.parts as soon as it is there; when all are, they are
merged into OUT and the folder goes. A run that was interrupted continues with the shards that are
missing. What a row holds follows from the design, the engine and the row's index alone, so neither
workers nor shards nor interruptions change a bit of the library.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Generator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt64

from starcensus.shards import RunError, prepare_parts, run_tasks

from .design import AXIS_UNITS, Design, Pair
from .library import THETA, VERSION, ClusterLibrary, write_library

Progress = Callable[[int, int], None]
_PARTS = ".parts"


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
        """`mags` `(n, band)` and any of the optional columns of a ClusterLibrary."""
        ...


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """How the work is done; nothing of the result depends on it.

    - `workers`: processes on this machine. `scheduler`: address of a Dask scheduler, instead.
    - `shard_rows`: clusters drawn and written at a time.
    """

    workers: int = 1
    scheduler: str | None = None
    shard_rows: int = 20_000

    def __post_init__(self) -> None:
        for name in ("workers", "shard_rows"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")


@dataclasses.dataclass(frozen=True)
class LibraryRun:
    """A finished run: the file, its number of clusters, and how many were drawn before."""

    path: pathlib.Path
    n: int
    n_resumed: int


def run_library(
    design: Design,
    engine: Engine,
    out: str | os.PathLike[str],
    settings: RunSettings = RunSettings(),
    progress: Progress = lambda done, n: None,
) -> LibraryRun:
    """Draw the library of a design into the HDF5 file `out`.

    **Arguments:**

    - `progress`: called with the number of clusters drawn so far and of all.

    Raises `RunError` when the design leaves the engine's range, when `out` or its shards
    belong to another design, or cannot be written, or when workers are lost.
    """
    out = pathlib.Path(out)
    _check_limits(design, engine.limits())
    meta: dict[str, Any] = {
        "design": design.describe(),
        "engine": engine.describe(),
        "starcensus": importlib.metadata.version("starcensus"),
    }
    text = json.dumps({**meta, "bands": engine.bands, "format": VERSION}, sort_keys=True)
    meta["key"] = hashlib.sha256(text.encode()).hexdigest()
    parts = out.with_name(out.name + _PARTS)
    if out.exists():
        _check_finished(out, meta["key"])
        shutil.rmtree(parts, ignore_errors=True)
        progress(design.n, design.n)
        return LibraryRun(out, design.n, design.n)
    shard_rows = prepare_parts(parts, meta["key"], settings.shard_rows, "design, engine or version")
    shards = [
        (start, min(start + shard_rows, design.n)) for start in range(0, design.n, shard_rows)
    ]
    files = {shard: parts / f"{shard[0]:010d}-{shard[1]:010d}.h5" for shard in shards}
    missing = [shard for shard in shards if not _is_whole(files[shard], shard, meta["key"])]
    n_resumed = done = design.n - sum(stop - start for start, stop in missing)
    progress(done, design.n)
    with contextlib.closing(_draw_shards(design, engine, missing, settings)) as drawn:
        for shard, library in drawn:
            dataclasses.replace(library, meta={"key": meta["key"]}).save(files[shard])
            done += len(library)
            progress(done, design.n)
    merged = parts / "merged.h5"
    readers = [lambda path=files[shard]: ClusterLibrary.load(path).columns() for shard in shards]
    write_library(merged, design.n, engine.bands, meta, readers)
    os.replace(merged, out)
    shutil.rmtree(parts)
    return LibraryRun(out, design.n, n_resumed)


def _check_limits(design: Design, limits: dict[str, Pair]) -> None:
    bounds = design.theta.bounds()
    for name in THETA:
        if name not in limits:
            continue
        (low, high), (least, most) = bounds[name], limits[name]
        if low < least or high > most:
            unit = AXIS_UNITS[name]
            raise RunError(
                f"{name} of the design runs from {low:g} to {high:g} {unit}; the engine has "
                f"{least:g} to {most:g}: narrow the design"
            )


def _check_finished(out: pathlib.Path, key: str) -> None:
    try:
        found = ClusterLibrary.load(out, rows=slice(0, 0)).meta.get("key")
    except ValueError as error:
        raise RunError(
            f"{out} is there and is not a whole library ({error}); remove it or choose another name"
        ) from error
    if found != key:
        raise RunError(
            f"{out} is there and is the library of another design, engine or version; remove it or "
            "choose another name"
        )


def _is_whole(path: pathlib.Path, shard: tuple[int, int], key: str) -> bool:
    if not path.exists():
        return False
    try:
        library = ClusterLibrary.load(path)
    except ValueError:
        return False
    return len(library) == shard[1] - shard[0] and library.meta.get("key") == key


def _draw_shards(
    design: Design, engine: Engine, shards: list[tuple[int, int]], settings: RunSettings
) -> Generator[tuple[tuple[int, int], ClusterLibrary]]:
    """The shards as they are finished."""
    tasks = run_tasks(
        _draw,
        shards,
        lambda shard: (engine, *_arguments(design.rows(*shard))),
        settings.workers,
        settings.scheduler,
        apart=bool(engine.environment),
    )
    with contextlib.closing(tasks) as drawn:
        for shard, columns in drawn:
            yield shard, _library(engine, design.rows(*shard), columns)


def _arguments(rows: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [rows[name] for name in (*THETA, "seed")]


def _draw(
    engine: Engine,
    log_mass: Float[np.ndarray, "n"],
    log_age: Float[np.ndarray, "n"],
    a_v: Float[np.ndarray, "n"],
    seeds: UInt64[np.ndarray, "n"],
) -> dict[str, np.ndarray]:
    """What a worker does; one that serves an engine with an environment takes it on."""
    os.environ.update(engine.environment)
    return engine.draw(log_mass, log_age, a_v, seeds)


def _library(engine: Engine, rows: dict[str, Any], columns: dict[str, Any]) -> ClusterLibrary:
    return ClusterLibrary(bands=engine.bands, **rows, **columns)
