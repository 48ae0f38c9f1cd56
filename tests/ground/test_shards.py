"""Runs in shards: the same bytes whatever happens on the way."""

import dataclasses
import json
import multiprocessing
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from starcensus.files import FileError, replacing
from starcensus.runs import RunError
from starcensus.shards import PARTS, Done, ShardedRun, Work, run_tasks

N = 23


def squares(start: int, stop: int, log: pathlib.Path | None, fail_at: int, how: str) -> list[int]:
    """The units; says in `log` what it made, and fails in the way asked."""
    if start <= fail_at < stop:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "wait":
            time.sleep(60)
        raise ZeroDivisionError("the fault asked for")
    if log is not None:
        with log.open("a") as file:
            file.write(f"{start} ")
    return [i * i for i in range(start, stop)]


def save(values: list[int], start: int, stop: int, path: pathlib.Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps({"start": start, "stop": stop, "values": values}))


def merge(paths: list[pathlib.Path], out: pathlib.Path) -> None:
    parts = [json.loads(path.read_text()) for path in paths]
    starts = [part["start"] for part in parts]
    assert starts == sorted(starts)
    values = [value for part in parts for value in part["values"]]
    out.write_text(json.dumps({"key": "k", "values": values}))


def finished(path: pathlib.Path) -> str | None:
    return json.loads(path.read_text())["key"]


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What tasks get; a class, so that other processes can be given it."""

    log: pathlib.Path | None = None
    fail_at: int = -1
    how: str = "raise"

    def __call__(self, start: int, stop: int) -> tuple[Any, ...]:
        return start, stop, self.log, self.fail_at, self.how


def sharded(**changes) -> ShardedRun:
    arguments = {name: changes.pop(name) for name in ("log", "fail_at", "how") if name in changes}
    run = ShardedRun("k", "law", N, squares, Arguments(**arguments), save, merge, finished)
    return dataclasses.replace(run, suffix=".json", **changes)


EXPECTED = json.dumps({"key": "k", "values": [i * i for i in range(N)]})


@pytest.fixture
def out(tmp_path: pathlib.Path) -> pathlib.Path:
    return tmp_path / "squares.json"


def parts(out: pathlib.Path) -> pathlib.Path:
    return out.with_name(out.name + PARTS)


@pytest.mark.parametrize("size", [1, 4, 23, 1000])
def test_shards_change_nothing(out: pathlib.Path, size: int):
    progress = []
    done = sharded().run(out, Work(shard_size=size), progress=lambda *p: progress.append(p))
    assert done == Done(out, N, 0) and out.read_text() == EXPECTED
    assert os.listdir(out.parent) == [out.name]
    assert progress[0] == (0, N) and progress[-1] == (N, N) and progress == sorted(progress)


def test_a_run_of_nothing_is_finished(out: pathlib.Path):
    assert sharded(n=0).run(out) == Done(out, 0, 0)
    assert json.loads(out.read_text())["values"] == []


def test_a_finished_run_is_not_done_again(out: pathlib.Path, tmp_path: pathlib.Path):
    sharded().run(out)
    before = out.stat().st_mtime_ns
    progress = []
    done = sharded(fail_at=3).run(out, progress=lambda *p: progress.append(p))
    assert done == Done(out, N, N) and out.stat().st_mtime_ns == before
    assert progress == [(N, N)]


def test_a_result_of_another_run_is_kept_and_refused(out: pathlib.Path):
    sharded().run(out)
    with pytest.raises(RunError, match="another law"):
        sharded(key="other").run(out)
    assert out.read_text() == EXPECTED
    out.write_text("half")
    with pytest.raises(RunError, match="not whole"):
        sharded().run(out)
    assert out.read_text() == "half"


def interrupt(out: pathlib.Path, **changes) -> None:
    """Leave the first two shards of five units done."""
    with pytest.raises(ZeroDivisionError):
        sharded(fail_at=12, **changes).run(out, Work(shard_size=5))
    assert not out.exists() and len(list(parts(out).glob("*.json"))) == 3  # and the manifest


def test_a_run_that_failed_goes_on_where_it_was(out: pathlib.Path, tmp_path: pathlib.Path):
    interrupt(out)
    log = tmp_path / "log"
    progress = []
    # The size of a shard is that of the interrupted run.
    done = sharded(log=log).run(out, Work(shard_size=2), progress=lambda *p: progress.append(p))
    assert done == Done(out, N, 10) and out.read_text() == EXPECTED
    assert log.read_text().split() == ["10", "15", "20"] and progress[0] == (10, N)
    assert not parts(out).exists()


def _run(out: pathlib.Path, work: Work, **changes) -> None:
    sharded(**changes).run(out, work)


def test_a_run_that_was_killed_goes_on_where_it_was(out: pathlib.Path, tmp_path: pathlib.Path):
    context = multiprocessing.get_context("forkserver")
    changes = {"fail_at": 12, "how": "kill"}
    victim = context.Process(target=_run, args=(out, Work(shard_size=5)), kwargs=changes)
    victim.start()
    victim.join(60)
    assert victim.exitcode == -signal.SIGKILL and not out.exists()
    log = tmp_path / "log"
    assert sharded(log=log).run(out) == Done(out, N, 10)
    assert out.read_text() == EXPECTED and log.read_text().split() == ["10", "15", "20"]
    assert sorted(os.listdir(tmp_path)) == ["log", out.name]


def first_shard(out: pathlib.Path) -> pathlib.Path:
    return min(parts(out).glob("[0-9]*.json"))


def flip(path: pathlib.Path) -> None:
    content = bytearray(path.read_bytes())
    content[random.Random(1).randrange(len(content))] ^= 1
    path.write_bytes(content)


SPOILS = {
    "altered": flip,
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-5]),
    "gone": pathlib.Path.unlink,
    "no checksum": lambda path: path.with_name(path.name + ".sha256").unlink(),
    "checksum of nothing": lambda path: path.with_name(path.name + ".sha256").write_text(""),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("name", [name for name in SPOILS if name != "a folder"])
def test_a_spoilt_shard_is_done_again(out: pathlib.Path, tmp_path: pathlib.Path, name: str):
    interrupt(out)
    SPOILS[name](first_shard(out))
    log = tmp_path / "log"
    assert sharded(log=log).run(out) == Done(out, N, 5)
    assert out.read_text() == EXPECTED and log.read_text().split()[0] == "0"


def test_what_cannot_be_a_shard_is_named(out: pathlib.Path):
    interrupt(out)
    SPOILS["a folder"](first_shard(out))
    with pytest.raises(FileError, match=first_shard(out).name):
        sharded().run(out)


def test_shards_of_another_run_are_kept_and_refused(out: pathlib.Path):
    interrupt(out)
    with pytest.raises(RunError, match=r"interrupted run of another law.*remove"):
        sharded(key="other").run(out)
    assert sharded().run(out) == Done(out, N, 10)


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{",
        '{"key": "k"}',
        '{"key": "k", "shard_size": 0}',
        '{"key": "k", "shard_size": -5}',
        '{"key": "k", "shard_size": "five"}',
        '{"key": "k", "shard_size": 2.5}',
        '{"key": "k", "shard_size": null}',
        '{"key": "k", "shard_size": true}',
    ],
)
def test_a_damaged_manifest_is_named(out: pathlib.Path, manifest: str):
    interrupt(out)
    (parts(out) / "manifest.json").write_text(manifest)
    with pytest.raises(RunError, match=r"squares\.json\.parts.*remove the folder"):
        sharded().run(out)
    assert first_shard(out).exists()


def test_a_folder_without_shards_holds_nothing_to_lose(out: pathlib.Path):
    parts(out).mkdir()
    (parts(out) / "manifest.json").write_text('{"key": "other", "shard_size": 3}')
    assert sharded().run(out) == Done(out, N, 0)


def test_a_file_in_the_place_of_the_folder_is_named(out: pathlib.Path):
    parts(out).write_text("mine")
    with pytest.raises(RunError, match=r"squares\.json\.parts"):
        sharded().run(out)
    assert parts(out).read_text() == "mine"


def test_a_merge_that_fails_keeps_the_shards(out: pathlib.Path):
    def fail(paths: list[pathlib.Path], path: pathlib.Path) -> None:
        path.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        sharded(merge=fail).run(out, Work(shard_size=5))
    assert not out.exists()
    assert sharded().run(out) == Done(out, N, N) and out.read_text() == EXPECTED


def _race(out: pathlib.Path, start, answers) -> None:
    start.wait(300)
    try:
        sharded().run(out, Work(shard_size=1))
        answers.put("done")
    except RunError as error:
        answers.put(str(error))


def test_runs_that_race_for_one_result_leave_it_whole(out: pathlib.Path):
    context = multiprocessing.get_context("forkserver")
    start, answers = context.Event(), context.Queue()
    racers = [context.Process(target=_race, args=(out, start, answers)) for _ in range(3)]
    for racer in racers:
        racer.start()
    start.set()
    said = [answers.get(timeout=300) for _ in racers]
    for racer in racers:
        racer.join(300)
    assert "done" in said
    for words in said:
        assert words == "done" or "is being written by another run" in words
    assert out.read_text() == EXPECTED and os.listdir(out.parent) == [out.name]


def test_a_run_refuses_what_another_process_is_writing(out: pathlib.Path):
    context = multiprocessing.get_context("forkserver")
    changes = {"fail_at": 12, "how": "wait"}
    other = context.Process(target=_run, args=(out, Work(shard_size=5)), kwargs=changes)
    other.start()
    try:
        while not (parts(out) / "0000000005-0000000010.json.sha256").exists():
            time.sleep(0.02)
        with pytest.raises(RunError, match=rf"process {other.pid}"):
            sharded().run(out)
    finally:
        other.kill()
        other.join(60)
    assert sharded().run(out) == Done(out, N, 10) and out.read_text() == EXPECTED


@pytest.mark.parametrize("changes", [{"workers": 2}, {"workers": 1, "apart": True}])
def test_processes_change_nothing_and_their_fault_is_ours(
    out: pathlib.Path, tmp_path: pathlib.Path, changes: dict
):
    work, apart = Work(workers=changes["workers"], shard_size=5), changes.get("apart", False)
    with pytest.raises(ZeroDivisionError, match="the fault asked for"):
        sharded(fail_at=12, apart=apart).run(out, work)
    log = tmp_path / "log"
    done = sharded(log=log, apart=apart).run(out, work)
    # Shards that others had in hand when one failed are kept or done again: of the four
    # (three of 5 objects, the last of 3) that hold no fault, any.
    kept = {5 * n + last for n in range(4) for last in (0, N % 5)}
    assert done.n_resumed in kept and out.read_text() == EXPECTED
    assert "10" in log.read_text().split()


def test_a_worker_that_is_lost_is_named_and_the_run_goes_on(out: pathlib.Path):
    with pytest.raises(RunError, match=r"worker process was lost.*continues"):
        sharded(fail_at=12, how="kill").run(out, Work(workers=2, shard_size=5))
    assert sharded().run(out).n == N and out.read_text() == EXPECTED


def test_dask_changes_nothing(out: pathlib.Path):
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp"
    ) as cluster:
        work = Work(scheduler=cluster.scheduler_address, shard_size=5)
        with pytest.raises(ZeroDivisionError, match="the fault asked for"):
            sharded(fail_at=12).run(out, work)
        assert sharded().run(out, work).n == N
    assert out.read_text() == EXPECTED


def test_a_scheduler_that_does_not_answer_is_named(out: pathlib.Path):
    with pytest.raises(RunError, match="no Dask scheduler answers at nonsense"):
        sharded().run(out, Work(scheduler="nonsense"))


@pytest.mark.parametrize("field", ["workers", "shard_size"])
@pytest.mark.parametrize("value", [0, -1])
def test_no_work_is_refused(field: str, value: int):
    with pytest.raises(ValueError, match=f"{field} is {value}"):
        Work(**{field: value})


def test_tasks_are_not_all_taken_at_once():
    taken = []

    def tasks():
        for i in range(100):
            taken.append(i)
            yield i

    results = run_tasks(pow, tasks(), lambda i: (i, 2), workers=2)
    first = next(results)
    assert first[1] == first[0] ** 2 and len(taken) < 10
    rest = dict(results)
    assert {**rest, first[0]: first[1]} == {i: i * i for i in range(100)}


def test_a_worker_of_another_version_does_nothing(out: pathlib.Path, monkeypatch):
    """A Dask worker elsewhere would else make clusters of another law, under this run's key."""
    monkeypatch.setattr("starcensus.shards.code_version", lambda: "0.0.1 another")
    with pytest.raises(RunError, match=r"has starcensus \d.*asked it 0\.0\.1 another; give both"):
        sharded().run(out, Work(workers=2, shard_size=5))
    assert not out.exists()


def test_workers_end_with_the_run(out: pathlib.Path, tmp_path: pathlib.Path):
    """What stops a run does not wait for shards on their way, which may take an hour."""

    def full(*_: object) -> None:
        raise FileError("the disk is full")

    run = sharded(save=full, fail_at=22, how="wait", apart=True)
    started = time.monotonic()
    with pytest.raises(FileError, match="full"):
        run.run(out, Work(workers=2, shard_size=12))
    assert time.monotonic() - started < 30
    assert not multiprocessing.active_children()


SCRIPT = """
from starcensus.shards import run_tasks


def do(task):
    return task * task


def main():
    print(sorted(run_tasks(do, [1, 2, 3], lambda task: (task,), workers=2)))


{start}
"""


@pytest.mark.parametrize("guarded", [True, False])
def test_a_script_without_a_guard_is_told_so(tmp_path: pathlib.Path, guarded: bool):
    """Each worker would come to the same line, die, and seem lost for want of memory."""
    start = 'if __name__ == "__main__":\n    main()' if guarded else "main()"
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(start=start))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True)
    if guarded:
        assert done.returncode == 0 and "9)]" in done.stdout, done.stderr
        return
    assert done.returncode == 1 and 'below `if __name__ == "__main__":`' in done.stderr
    assert f"line {len(SCRIPT.splitlines())}" in done.stderr and "memory" not in done.stderr
