"""Run artificial cluster tests frame by frame: on one process or many, resumably.

Each shard of frames is written into OUT.parts as soon as it is there; when all are, they are joined
into OUT. A frame follows from the plan's seed and its number, so neither workers nor shards nor
interruptions change the table.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
import shutil
from collections.abc import Callable, Hashable
from typing import Protocol, runtime_checkable

from starcensus.shards import RunError, prepare_parts, run_tasks

from .frames import Injector
from .table import InjectionTable

Progress = Callable[[int, int], None]


@runtime_checkable
class Build(Hashable, Protocol):
    """Makes the injector in whatever process needs it: small, picklable, hashable.

    A frozen dataclass of paths and settings does; two that are equal make the same injector.
    """

    def __call__(self) -> Injector: ...


@dataclasses.dataclass(frozen=True)
class InjectionRun:
    """A finished run: the file, its number of frames, and how many were done before."""

    path: pathlib.Path
    n_frames: int
    n_resumed: int


def run_injections(
    build: Build,
    out: str | os.PathLike[str],
    *,
    workers: int = 1,
    scheduler: str | None = None,
    shard_frames: int = 5,
    progress: Progress = lambda done, n: None,
) -> InjectionRun:
    """Run all frames of a plan and write the table to the HDF5 file `out`.

    **Arguments:**

    - `build`: makes the injector, once in each process.
    - `workers`: processes on this machine. `scheduler`: address of a Dask scheduler, instead.
    - `shard_frames`: frames between two files; the result is the same.
    - `progress`: called with the number of frames done so far and of all.

    Raises `RunError` when `out` or its shards belong to another test or cannot be written, or when
    workers are lost.
    """
    if workers < 1 or shard_frames < 1:
        raise ValueError(
            f"workers and shard_frames are 1 or more; got {workers} and {shard_frames}"
        )
    out = pathlib.Path(out)
    injector = _injector(build)
    n = injector.n_frames
    meta = {**injector.describe(), "key": injector.key}
    parts = out.with_name(out.name + ".parts")
    if out.exists():
        if _key(out) != meta["key"]:
            raise RunError(
                f"{out} is there and is no table of this test; remove it or choose another name"
            )
        shutil.rmtree(parts, ignore_errors=True)
        progress(n, n)
        return InjectionRun(out, n, n)
    shard_frames = prepare_parts(parts, meta["key"], shard_frames, "test")
    shards = [(start, min(start + shard_frames, n)) for start in range(0, n, shard_frames)]
    files = {shard: parts / f"{shard[0]:06d}-{shard[1]:06d}.h5" for shard in shards}
    missing = [shard for shard in shards if _key(files[shard]) != meta["key"]]
    resumed = done = n - sum(stop - start for start, stop in missing)
    progress(done, n)
    tasks = run_tasks(
        _shard, missing, lambda shard: (build, meta["key"], *shard), workers, scheduler
    )
    with contextlib.closing(tasks) as results:
        for shard, table in results:
            dataclasses.replace(table, meta={"key": meta["key"]}).save(files[shard])
            done += shard[1] - shard[0]
            progress(done, n)
    joined = InjectionTable.concatenate(*(InjectionTable.load(files[shard]) for shard in shards))
    dataclasses.replace(joined, meta=meta).save(out)
    shutil.rmtree(parts)
    return InjectionRun(out, n, resumed)


@functools.lru_cache(maxsize=1)
def _injector(build: Build) -> Injector:
    return build()


def _shard(build: Build, key: str, start: int, stop: int) -> InjectionTable:
    injector = _injector(build)
    if injector.key != key:
        raise RunError(
            "a worker has other images, clusters or settings than the process that asked it; give "
            "all machines the same files"
        )
    return InjectionTable.concatenate(*(injector.run(number) for number in range(start, stop)))


def _key(path: pathlib.Path) -> str | None:
    """Of which test a table is; None where there is none, or none that is whole."""
    if not path.exists():
        return None
    try:
        return InjectionTable.load(path).meta.get("key")
    except (ValueError, OSError):
        return None
