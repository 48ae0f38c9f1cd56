"""Long runs in shards: on one process or many, here or on a Dask cluster, and resumably."""

import ast
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import platform
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from starcensus.extras import MissingExtraError, need
from starcensus.files import (
    FileError,
    Path,
    checksum,
    read_json,
    read_text,
    reason,
    replacing,
    write_json,
    write_text,
)
from starcensus.runs import RunError, code_version, locked

Progress = Callable[[int, int], None]
PARTS = ".parts"


def run_tasks[T](
    function: Callable[..., Any],
    tasks: Iterable[T],
    arguments: Callable[[T], tuple[Any, ...]],
    workers: int = 1,
    scheduler: str | None = None,
    apart: bool = False,
) -> Generator[tuple[T, Any]]:
    """Pairs of a task and `function(*arguments(task))`, as they are finished, few on their way.

    **Arguments:**

    - `function`: what does a task, in whatever process; at the top level of a module.
    - `tasks`: the tasks, in the order in which they are begun.
    - `arguments`: those of `function` for a task, picklable.
    - `workers`: processes on this machine; a single worker is this process, unless `apart`.
    - `scheduler`: address of a Dask scheduler, whose workers do the tasks instead.
    - `apart`: never work in this process.

    Raises `RunError` when workers are lost, the scheduler has none, or a worker has another version
    of starcensus. Whatever ends the loop ends the work of this machine's processes too.

    ```python
    dict(run_tasks(np.sqrt, [1, 4, 9], lambda n: (n,)))  # {1: 1.0, 4: 2.0, 9: 3.0}
    ```
    """
    if scheduler is None and workers == 1 and not apart:
        for task in tasks:
            yield task, function(*arguments(task))
        return
    waiting: dict[concurrent.futures.Future[Any], T] = {}
    todo = iter(tasks)
    with _executor(workers, scheduler) as (executor, width):
        try:
            while True:
                for task in todo:
                    future = executor.submit(_same_code, code_version(), function, *arguments(task))
                    waiting[future] = task
                    if len(waiting) > width:
                        break
                if not waiting:
                    return
                done, _ = concurrent.futures.wait(
                    waiting, return_when=concurrent.futures.FIRST_COMPLETED
                )
                for future in done:
                    yield waiting.pop(future), future.result()
        except RunError as error:
            # Raised in a worker: said again here, as from this process.
            raise RunError(str(error)) from error
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process was lost, perhaps for want of memory; the same command continues "
                "where this one stopped, with fewer --workers if need be"
            ) from error
        except Exception as error:
            if scheduler is None or not _lost(error):
                raise
            raise RunError(
                f"the Dask workers of {scheduler}, or the scheduler, were lost "
                f"({type(error).__name__}: {error}), perhaps for want of memory; the finished "
                "parts are kept and the same command continues where this one stopped"
            ) from error
        finally:
            for future in waiting:
                future.cancel()


def _same_code(code: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Do a task in a worker; raises `RunError` where the worker would do another."""
    if (here := code_version()) != code:
        raise RunError(
            f"worker on {platform.node()} has starcensus {here}, and the process that asked it "
            f"{code}; give both the same installation, unchanged while they run, and start again"
        )
    return function(*arguments)


@dataclasses.dataclass(frozen=True)
class Work:
    """How the work of a run is done; nothing of the result depends on it.

    **Arguments:**

    - `workers`: processes on this machine.
    - `scheduler`: address of a Dask scheduler, whose workers do the work instead.
    - `shard_size`: units that are done and written at a time; None leaves it to the run.

    Raises `ValueError` for numbers below 1.

    ```python
    run_library(design, engine, "mine.h5", Work(shard_size=100))
    ```
    """

    workers: int = 1
    scheduler: str | None = None
    shard_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("workers", "shard_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}; expected 1 or more")


@dataclasses.dataclass(frozen=True)
class Done:
    """A finished run.

    **Arguments:**

    - `path`: the file.
    - `n`: the number of its units.
    - `n_resumed`: how many of them were done before, by a run that was interrupted.
    """

    path: pathlib.Path
    n: int
    n_resumed: int


@dataclasses.dataclass(frozen=True)
class ShardedRun:
    """A result that is made of units 0 … n − 1, in shards of consecutive ones.

    What a unit is follows from the run's inputs and the unit's number alone, so that workers,
    shards and interruptions change nothing of the result. Finished shards lie in OUT.parts, each
    with its checksum; when all are there they are merged into OUT and the folder goes.

    **Arguments:**

    - `key`: identity of all that the result depends on (`Run.key`).
    - `of`: what that is, for messages: "design, engine or version".
    - `n`: number of units.
    - `task`: makes the units of a shard from `arguments(start, stop)`, in whatever process.
    - `arguments`: the arguments of `task` for a shard, picklable.
    - `save`: writes what `task` returned for (start, stop) to a file.
    - `merge`: makes the result at a path from the files of all shards, in order.
    - `finished`: the key of a result that is there; raises `ValueError` for what is none.
    - `unit`: the units' name, "clusters".
    - `suffix`: suffix of the files of shards.
    - `apart`: never work in this process.

    ```python
    def merge(files, path):
        squares = [square for file in files for square in read_json(file)["squares"]]
        write_json(path, {"key": "ten squares", "squares": squares})

    ten_squares = ShardedRun(
        key="ten squares",
        of="list",
        n=10,
        task=lambda start, stop: [i**2 for i in range(start, stop)],
        arguments=lambda start, stop: (start, stop),
        save=lambda squares, start, stop, path: write_json(path, {"squares": squares}),
        merge=merge,
        finished=lambda path: read_json(path)["key"],
        suffix=".json",
    )
    ten_squares.run("squares.json", default_shard=4)
    ```
    """

    key: str
    of: str
    n: int
    task: Callable[..., Any]
    arguments: Callable[[int, int], tuple[Any, ...]]
    save: Callable[[Any, int, int, pathlib.Path], None]
    merge: Callable[[list[pathlib.Path], pathlib.Path], None]
    finished: Callable[[pathlib.Path], str | None]
    unit: str = "units"
    suffix: str = ".h5"
    apart: bool = False

    def run(
        self,
        out: Path,
        work: Work = Work(),
        default_shard: int = 1,
        progress: Progress = lambda done, n: None,
    ) -> Done:
        """Make `out`, or what is missing of it.

        **Arguments:**

        - `out`: the file of the result; shards lie beside it until it is whole.
        - `work`: on how many processes, or where else, and in shards of which size.
        - `default_shard`: units in a shard where `work` leaves that open.
        - `progress`: called with the number of units done so far and of all.

        Raises `RunError` when `out` or its shards are of another run, cannot be written, or are
        being written by another process, and when workers are lost.
        """
        out = pathlib.Path(out)
        with locked(out):
            return self._run(out, work, default_shard, progress)

    def _run(self, out: pathlib.Path, work: Work, default_shard: int, progress: Progress) -> Done:
        parts = out.with_name(out.name + PARTS)
        if out.exists():
            self._check_finished(out)
            shutil.rmtree(parts, ignore_errors=True)
            progress(self.n, self.n)
            return Done(out, self.n, self.n)
        size = self._prepare(parts, work.shard_size or default_shard)
        shards = [(start, min(start + size, self.n)) for start in range(0, self.n, size)]
        files = {shard: parts / f"{shard[0]:010d}-{shard[1]:010d}{self.suffix}" for shard in shards}
        missing = [shard for shard in shards if not _is_whole(files[shard])]
        resumed = done = self.n - sum(stop - start for start, stop in missing)
        progress(done, self.n)
        tasks = run_tasks(
            self.task,
            missing,
            lambda shard: self.arguments(*shard),
            work.workers,
            work.scheduler,
            self.apart,
        )
        with contextlib.closing(tasks) as results:
            for (start, stop), result in results:
                path = files[start, stop]
                self.save(result, start, stop, path)
                write_text(_sum_of(path), checksum(path))
                done += stop - start
                progress(done, self.n)
        with replacing(out) as temporary:
            self.merge([files[shard] for shard in shards], temporary)
        # The next run removes what cannot be removed now.
        shutil.rmtree(parts, ignore_errors=True)
        return Done(out, self.n, resumed)

    def _check_finished(self, out: pathlib.Path) -> None:
        try:
            found = self.finished(out)
        except ValueError as error:
            raise RunError(
                f"{out} is there and is not whole ({error}); remove it or choose another --out"
            ) from error
        if found != self.key:
            raise RunError(
                f"{out} is there and is of another {self.of}; remove it or choose another --out"
            )

    def _prepare(self, parts: pathlib.Path, size: int) -> int:
        """Make or check the folder of the shards; returns how many units each of them has."""
        manifest = parts / "manifest.json"
        try:
            parts.mkdir(parents=True, exist_ok=True)
            # A folder without shards holds nothing to lose.
            if manifest.exists() and any(parts.glob(f"[0-9]*{self.suffix}")):
                found = read_json(manifest)
                if found.get("key") != self.key:
                    raise RunError(
                        f"{parts} holds the shards of an interrupted run of another {self.of}; "
                        "remove the folder or choose another --out"
                    )
                kept = found["shard_size"]
                if type(kept) is not int or kept < 1:
                    raise TypeError(f"shard_size is {kept!r:.50}")
                return kept
            write_json(manifest, {"key": self.key, "shard_size": size})
        except OSError as error:
            raise RunError(f"cannot write to {parts}: {reason(error)}") from error
        except (FileError, KeyError, TypeError, AttributeError) as error:
            raise RunError(f"{parts}: cannot be used ({error}); remove the folder") from error
        return size


def _sum_of(path: pathlib.Path) -> pathlib.Path:
    return path.with_name(path.name + ".sha256")


def _is_whole(path: pathlib.Path) -> bool:
    """Whether a shard is there with the checksum that was written after it."""
    try:
        return read_text(_sum_of(path)) == checksum(path)
    except FileError:
        return False


def _refuse_unguarded_script() -> None:
    """Raises `RunError` where a script asks for processes outside of its guard.

    Each process imports the script first. It would come to the same line, and die there.
    """
    frame, outer = sys._getframe(), None
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            outer = frame
        frame = frame.f_back
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    if outer is None or path is None or outer.f_code.co_filename != path:
        return
    try:
        tree = ast.parse(pathlib.Path(path).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    guards = [
        node
        for node in tree.body
        if isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
    ]
    if not any(node.lineno <= outer.f_lineno <= (node.end_lineno or 0) for node in guards):
        raise RunError(
            f"{path}, line {outer.f_lineno}: starts worker processes, each of which imports this "
            'script and would start others; put what runs below `if __name__ == "__main__":`, or '
            "take one worker"
        )


@contextlib.contextmanager
def _executor(
    workers: int, scheduler: str | None
) -> Iterator[tuple[concurrent.futures.Executor, int]]:
    """An executor and the number of tasks that may wait in it."""
    if scheduler is not None:
        with _dask(scheduler) as found:
            yield found
        return
    _refuse_unguarded_script()
    others = set(multiprocessing.active_children())
    pool = concurrent.futures.ProcessPoolExecutor(
        workers,
        # Fresh interpreters: safe whatever threads this one has, and free to take an environment.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_follow_parent,
    )
    try:
        yield pool, workers
    except BaseException:
        # What they are at is of no use any more, and may take an hour.
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _follow_parent() -> None:
    """End this worker when the process that started it is gone, even if that was killed.

    Ctrl-C on a terminal reaches all of them; that process sees to its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _lost(error: Exception) -> bool:
    """Whether Dask says with this that workers or scheduler are gone."""
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    # Without its scheduler a client cancels what it waits for.
    gone = (KilledWorker, CommClosedError, concurrent.futures.CancelledError)
    return isinstance(error, gone)


# What is sent must need nothing of ours: a worker may have none, or an older one.
_ASK_VERSION = "__import__('starcensus.runs', fromlist=['runs']).code_version()"


def _check_workers(client: Any, scheduler: str) -> None:
    """Raises `RunError` unless all workers have this very code."""
    answers = client.run(eval, _ASK_VERSION, on_error="return")
    for worker, answer in sorted(answers.items()):
        if answer != code_version():
            found = "none of this kind" if isinstance(answer, Exception) else answer
            raise RunError(
                f"the Dask worker {worker} of {scheduler} has another starcensus ({found}) than "
                f"this process ({code_version()}); install the same on all"
            )


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[tuple[concurrent.futures.Executor, int]]:
    try:
        need("distributed", purpose="--scheduler")
    except MissingExtraError as error:
        raise RunError(str(error)) from error
    from distributed import Client

    try:
        client = Client(scheduler, timeout=10, set_as_default=False)
    except (OSError, ValueError) as error:
        raise RunError(
            f"no Dask scheduler answers at {scheduler} ({error}); expected an address such as "
            "tcp://host:8786 of a running `dask scheduler`"
        ) from error
    with client:
        threads = sum(dict(client.nthreads()).values())  # pyright: ignore[reportArgumentType, reportCallIssue]
        if not threads:
            raise RunError(
                f"the Dask scheduler at {scheduler} has no workers; start some with `dask worker "
                f"{scheduler}`"
            )
        _check_workers(client, scheduler)
        executor = client.get_executor(pure=False)
        try:
            yield executor, threads
        finally:
            executor.shutdown(wait=False)
