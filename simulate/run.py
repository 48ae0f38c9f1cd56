"""Draw a library in shards: by one process or many, here or on a Dask cluster, and resumably.

Rows are drawn in shards, each written into OUT.parts as soon as it is there; when all are, they are
merged into OUT and the folder goes. A run that was interrupted continues with the shards that are
missing. What a row holds follows from the design, the engine and the row's index alone, so neither
workers nor shards nor interruptions change a bit of the library.
"""

import concurrent.futures
import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import multiprocessing
import os
import pathlib
import shutil
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt64

from .design import AXIS_UNITS, Design, Pair
from .library import THETA, VERSION, ClusterLibrary, write_library

Progress = Callable[[int, int], None]
_PARTS = ".parts"


class LibraryRunError(ValueError):
    """A library cannot be drawn as asked; the message says what is in the way."""


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

    Raises `LibraryRunError` when the design leaves the engine's range, when `out` or its shards
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
    shard_rows = _prepare_parts(parts, meta["key"], settings.shard_rows)
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
            raise LibraryRunError(
                f"{name} of the design runs from {low:g} to {high:g} {unit}; the engine has "
                f"{least:g} to {most:g}: narrow the design"
            )


def _check_finished(out: pathlib.Path, key: str) -> None:
    try:
        found = ClusterLibrary.load(out, rows=slice(0, 0)).meta.get("key")
    except ValueError as error:
        raise LibraryRunError(
            f"{out} is there and is not a whole library ({error}); remove it or choose another name"
        ) from error
    if found != key:
        raise LibraryRunError(
            f"{out} is there and is the library of another design, engine or version; remove it or "
            "choose another name"
        )


def _prepare_parts(parts: pathlib.Path, key: str, shard_rows: int) -> int:
    """Make the folder of the shards, or check that it is of this library; rows of its shards."""
    manifest = parts / "manifest.json"
    try:
        parts.mkdir(parents=True, exist_ok=True)
        # A folder without shards holds nothing to lose.
        if manifest.exists() and any(parts.glob("[0-9]*.h5")):
            found = json.loads(manifest.read_text())
            if found.get("key") != key:
                raise LibraryRunError(
                    f"{parts} holds the shards of an interrupted run of another design, engine or "
                    "version; remove the folder or choose another --out"
                )
            return int(found["shard_rows"])
        temporary = parts / ".manifest.json"
        temporary.write_text(json.dumps({"key": key, "shard_rows": shard_rows}))
        os.replace(temporary, manifest)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise LibraryRunError(f"cannot write to {parts}: {reason}") from error
    return shard_rows


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
    """The shards as they are finished, with few on their way at a time."""
    if not shards:
        return
    if settings.scheduler is None and settings.workers == 1 and not engine.environment:
        for shard in shards:
            rows = design.rows(*shard)
            yield shard, _library(engine, rows, _draw(engine, *_arguments(rows)))
        return
    waiting: dict[concurrent.futures.Future[Any], tuple[tuple[int, int], dict[str, Any]]] = {}
    todo = iter(shards)
    with _executor(settings) as (executor, width):
        try:
            while True:
                for shard in todo:
                    rows = design.rows(*shard)
                    future = executor.submit(_draw, engine, *_arguments(rows))
                    waiting[future] = shard, rows
                    if len(waiting) > width:
                        break
                if not waiting:
                    return
                done, _ = concurrent.futures.wait(
                    waiting, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    shard, rows = waiting.pop(future)
                    yield shard, _library(engine, rows, future.result())
        except LibraryRunError as error:
            # Raised in a worker: said again here, as from this process.
            raise LibraryRunError(str(error)) from error
        except BrokenProcessPool as error:
            raise LibraryRunError(
                "a worker process was lost, perhaps for want of memory; the same command continues "
                "where this one stopped, with fewer --workers if need be"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


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


@contextlib.contextmanager
def _executor(settings: RunSettings) -> Iterator[tuple[concurrent.futures.Executor, int]]:
    """An executor and the number of shards that may wait in it."""
    if settings.scheduler is not None:
        with _dask(settings.scheduler) as found:
            yield found
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        settings.workers,
        # Fresh interpreters: safe whatever threads this one has, and free to take an environment.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_follow_parent,
    )
    try:
        yield pool, settings.workers
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """End this worker when the process that started it is gone, even if that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[tuple[concurrent.futures.Executor, int]]:
    try:
        from distributed import Client
    except ImportError as error:
        raise LibraryRunError(
            "--scheduler needs Dask's distributed: pip install 'starcensus[dask]'"
        ) from error
    try:
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise LibraryRunError(
            f"no Dask scheduler answers at {scheduler} ({error}); expected an address such as "
            "tcp://host:8786 of a running `dask scheduler`"
        ) from error
    with client:
        threads = sum(dict(client.nthreads()).values())  # pyright: ignore[reportArgumentType, reportCallIssue]
        if not threads:
            raise LibraryRunError(
                f"the Dask scheduler at {scheduler} has no workers; start some with `dask worker "
                f"{scheduler}`"
            )
        executor = client.get_executor(pure=False)
        try:
            yield executor, threads
        finally:
            executor.shutdown(wait=False)
