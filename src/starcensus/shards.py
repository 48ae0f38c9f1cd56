"""Tasks on one process or many, here or on a Dask cluster, and the folder of their shards."""

import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any


class RunError(ValueError):
    """A run cannot be done as asked; the message says what is in the way."""


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

    - `workers`: processes on this machine; one works in this process unless `apart`.
    - `scheduler`: address of a Dask scheduler, instead.

    Raises `RunError` when workers are lost or the scheduler has none.
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
                    waiting[executor.submit(function, *arguments(task))] = task
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


def prepare_parts(parts: pathlib.Path, key: str, shard_size: int, of: str) -> int:
    """Make the folder of a run's shards, or check that it is of this run; the size of its shards.

    **Arguments:**

    - `key`: of all that the result depends on. `of`: what that is, for the message.

    Raises `RunError` for shards of another run, or a folder that cannot be written.
    """
    manifest = parts / "manifest.json"
    try:
        parts.mkdir(parents=True, exist_ok=True)
        # A folder without shards holds nothing to lose.
        if manifest.exists() and any(parts.glob("[0-9]*.h5")):
            found = json.loads(manifest.read_text())
            if found.get("key") != key:
                raise RunError(
                    f"{parts} holds the shards of an interrupted run of another {of}; remove the "
                    "folder or choose another --out"
                )
            return int(found["shard_size"])
        temporary = parts / ".manifest.json"
        temporary.write_text(json.dumps({"key": key, "shard_size": shard_size}))
        os.replace(temporary, manifest)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise RunError(f"cannot write to {parts}: {reason}") from error
    return shard_size


@contextlib.contextmanager
def _executor(
    workers: int, scheduler: str | None
) -> Iterator[tuple[concurrent.futures.Executor, int]]:
    """An executor and the number of tasks that may wait in it."""
    if scheduler is not None:
        with _dask(scheduler) as found:
            yield found
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        workers,
        # Fresh interpreters: safe whatever threads this one has, and free to take an environment.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_follow_parent,
    )
    try:
        yield pool, workers
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


def _lost(error: Exception) -> bool:
    """Whether Dask says with this that workers or scheduler are gone."""
    from distributed.comm.core import CommClosedError
    from distributed.scheduler import KilledWorker

    # Without its scheduler a client cancels what it waits for.
    gone = (KilledWorker, CommClosedError, concurrent.futures.CancelledError)
    return isinstance(error, gone)


@contextlib.contextmanager
def _dask(scheduler: str) -> Iterator[tuple[concurrent.futures.Executor, int]]:
    try:
        from distributed import Client
    except ImportError as error:
        raise RunError(
            "--scheduler needs Dask's distributed: pip install 'starcensus[dask]'"
        ) from error
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
        executor = client.get_executor(pure=False)
        try:
            yield executor, threads
        finally:
            executor.shutdown(wait=False)
