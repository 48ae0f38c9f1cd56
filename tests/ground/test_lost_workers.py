"""What is said when workers are lost."""

import concurrent.futures
import contextlib
import types

import pytest

from starcensus import shards as workers
from starcensus.shards import RunError, run_tasks

pytest.importorskip("distributed")
from distributed.comm.core import CommClosedError
from distributed.scheduler import KilledWorker


@pytest.fixture
def threads(monkeypatch):
    """Threads here in place of a Dask cluster."""

    @contextlib.contextmanager
    def executor(n, scheduler):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            yield pool, 1

    monkeypatch.setattr(workers, "_executor", executor)


KILLED = KilledWorker("frame-3", types.SimpleNamespace(address="tcp://a:1"), 3)  # pyright: ignore


@pytest.mark.parametrize(
    "error", [KILLED, CommClosedError("closed"), concurrent.futures.CancelledError()]
)
def test_lost_dask_workers_are_no_traceback(threads, error):
    """What was finished long before has been handed over."""

    def work(task):
        if task == 2:
            raise error
        return task

    done = []
    with pytest.raises(RunError, match=r"tcp://b:1.*parts are kept and the same command") as said:
        for _, result in run_tasks(work, range(4), lambda task: (task,), scheduler="tcp://b:1"):
            done.append(result)
    assert 0 in done and type(error).__name__ in str(said.value)


def test_other_errors_of_a_task_are_its_own(threads):
    def work(task):
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        list(run_tasks(work, range(2), lambda task: (task,), scheduler="tcp://b:1"))
