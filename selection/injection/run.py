"""Run artificial cluster tests frame by frame, on one process or many, resumably.

A frame follows from the plan's seed and its number, so neither workers nor shards nor
interruptions change the table.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Hashable, Mapping
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from starcensus.files import Path
from starcensus.runs import Input, Run, RunError
from starcensus.shards import Done, Progress, ShardedRun, Work

from .injector import Injector
from .places import place_weights
from .table import InjectionTable

# Frames in a shard, where `Work` leaves it open.
SHARD_FRAMES = 5


@runtime_checkable
class Build(Hashable, Protocol):
    """Makes the injector in whatever process needs it: small, picklable, hashable.

    A frozen dataclass of paths and settings does; two that are equal make the same injector.
    """

    def __call__(self) -> Injector: ...


def run_injections(
    build: Build,
    out: Path,
    work: Work = Work(),
    progress: Progress = lambda done, n: None,
    inputs: Mapping[str, Input] = MappingProxyType({}),
) -> Done:
    """Run all frames of a plan and write the table to the HDF5 file `out`.

    **Arguments:**

    - `build`: makes the injector, once in each process.
    - `out`: the file; shards lie beside it until it is whole.
    - `work`: processes, and frames between two files; the result is the same.
    - `progress`: called with the number of frames done so far and of all.
    - `inputs`: files on which the table depends besides, such as modules of your own.

    Returns the file and its number of frames. Raises `RunError` when `out` or its shards belong to
    another test, cannot be written or are being written, or when workers are lost.

    ```python
    @dataclasses.dataclass(frozen=True)
    class Test:
        n_clusters: int

        def __call__(self) -> Injector:
            plan = InjectionPlan(n_clusters=self.n_clusters, min_separation=0.0)
            return Injector(frame, library, templates, pipeline, plan)

    run_injections(Test(25), "table.h5")  # Work(workers=4) where Test is in a module of yours
    ```
    """
    # Files may have been replaced since an equal one was built.
    _injector.cache_clear()
    injector = _injector(build)
    of_test = injector.key
    key = Run("injections", {"test": of_test}, inputs).key if inputs else of_test

    def merge(files: list[pathlib.Path], path: pathlib.Path) -> None:
        meta = {**injector.describe(), "survey": injector.facts().json(), "key": key}
        joined = InjectionTable.concatenate(*(InjectionTable.load(each) for each in files))
        weights = place_weights(injector.density, joined.x, joined.y)
        dataclasses.replace(joined, meta=meta, place_weight=weights).save(path)

    return ShardedRun(
        key=key,
        of="test, or of the same by another version",
        n=injector.n_frames,
        unit="frames",
        task=_shard,
        arguments=lambda start, stop: (build, of_test, start, stop),
        save=lambda table, start, stop, path: table.save(path),
        merge=merge,
        finished=lambda path: InjectionTable.load(path).meta.get("key"),
    ).run(out, work, SHARD_FRAMES, progress)


@functools.lru_cache(maxsize=1)
def _injector(build: Build) -> Injector:
    return build()


def _shard(build: Build, key: str, start: int, stop: int) -> InjectionTable:
    injector = _injector(build)
    if injector.key != key:
        # Workers of a scheduler outlive the run for which they built theirs.
        _injector.cache_clear()
        injector = _injector(build)
    if injector.key != key:
        raise RunError(
            "a worker has other images, clusters, settings or code than the process that asked "
            "it; give all machines the same files and the same starcensus"
        )
    return InjectionTable.concatenate(*(injector.run(number) for number in range(start, stop)))
