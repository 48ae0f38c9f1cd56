"""The runner: the same bytes however the work is cut, shared out or interrupted."""

import importlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tests.simulate.conftest import BANDS, analytic_grid

from starcensus.files import to_json
from starcensus.simulate import (
    BoxTheta,
    ClusterLibrary,
    Design,
    FlatRadius,
    RunError,
    StarcensusEngine,
    Work,
    run_library,
)
from starcensus.simulate import library as libraries

HERE = pathlib.Path(__file__).parent
DESIGN = Design(1000, 4, BoxTheta((2.0, 6.0), (6.0, 10.0), (0.0, 3.0)), FlatRadius())


@pytest.fixture
def toy(monkeypatch):
    # Worker processes find the module on the path too.
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("toy_engine").ToyEngine


@pytest.fixture
def whole(toy, tmp_path):
    """Bytes of the library drawn in one go."""
    path = tmp_path / "whole.h5"
    run_library(DESIGN, toy(), path)
    return path.read_bytes()


def test_what_a_library_holds(toy, tmp_path):
    run = run_library(DESIGN, toy(), tmp_path / "a.h5")
    assert (run.n, run.n_resumed) == (1000, 0)
    library = ClusterLibrary.load(tmp_path / "a.h5")
    rows = DESIGN.rows(0, 1000)
    for name, values in rows.items():
        np.testing.assert_array_equal(getattr(library, name), values)
    columns = toy().draw(*(rows[k] for k in ("log_mass", "log_age", "a_v", "seed")))
    np.testing.assert_array_equal(library.abs_mags, columns["abs_mags"].astype(np.float32))
    np.testing.assert_array_equal(library.n_stars, columns["n_stars"])
    assert library.meta["design"]["seed"] == 4 and library.meta["engine"]["name"] == "toy"
    assert library.live_mass is None
    assert [p.name for p in tmp_path.iterdir()] == ["a.h5"]


@pytest.mark.parametrize("shard_size", [999, 37])
def test_shards_change_no_byte(toy, tmp_path, whole, shard_size):
    run_library(DESIGN, toy(), tmp_path / "a.h5", Work(shard_size=shard_size))
    assert (tmp_path / "a.h5").read_bytes() == whole


def test_workers_change_no_byte_and_keep_their_environment(toy, tmp_path):
    run_library(DESIGN, toy(q_h=7.0), tmp_path / "one.h5")
    engine = toy(environment={"TOY_Q_H": "7"})
    run_library(DESIGN, engine, tmp_path / "two.h5", Work(workers=2, shard_size=130))
    assert (tmp_path / "two.h5").read_bytes() == (tmp_path / "one.h5").read_bytes()
    assert (ClusterLibrary.load(tmp_path / "two.h5").q_h == 7).all()
    assert "TOY_Q_H" not in os.environ


def test_two_workers_of_dask(toy, tmp_path, whole):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        work = Work(scheduler=cluster.scheduler_address, shard_size=150)
        run_library(DESIGN, toy(), tmp_path / "a.h5", work)
        with pytest.raises(ValueError, match="shape"):
            run_library(DESIGN, toy(bands=("x",)), tmp_path / "b.h5", work)
    assert (tmp_path / "a.h5").read_bytes() == whole


def test_no_scheduler(toy, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    work = Work(scheduler="tcp://127.0.0.1:9")
    with pytest.raises(RunError, match=r"pip install 'starcensus\[dask\]'"):
        run_library(DESIGN, toy(), tmp_path / "a.h5", work)


def test_an_interrupted_run_goes_on(toy, tmp_path, whole):
    path = tmp_path / "a.h5"
    seen = []
    work = Work(shard_size=100)
    # The first row above 5.99 dex is in the middle: the shards before it stay.
    masses = DESIGN.rows(0, 1000)["log_mass"]
    limit = float(np.sort(masses)[-2])
    failing = int(np.argmax(masses)) // 100
    assert failing > 1
    with pytest.raises(RuntimeError, match="the machine stops here"):
        run_library(DESIGN, toy(fail_above=limit), path, work)
    parts = tmp_path / "a.h5.parts"
    kept = sorted(p.name for p in parts.glob("0*.h5"))
    assert len(kept) == failing and not path.exists()
    # A shard that was cut off is drawn again; a stray temporary file is nothing.
    (parts / kept[0]).write_bytes((parts / kept[0]).read_bytes()[:-100])
    (parts / ".stray.part").write_bytes(b"x")
    # Whatever the shards asked for now, those of the folder go on.
    run = run_library(DESIGN, toy(), path, Work(shard_size=33), lambda done, n: seen.append(done))
    assert run.n_resumed == 100 * (len(kept) - 1) == seen[0] and seen[-1] == 1000
    assert seen == sorted(seen) and len(seen) == 1 + 10 - (len(kept) - 1)
    assert path.read_bytes() == whole and not parts.exists()
    again = run_library(DESIGN, toy(), path)
    assert again.n_resumed == 1000 and path.read_bytes() == whole


KILLED = """
import sys
from toy_engine import ToyEngine
from starcensus.simulate import *
if __name__ == "__main__":
    design = Design(1000, 4, BoxTheta((2.0, 6.0), (6.0, 10.0), (0.0, 3.0)), FlatRadius())
    work = Work(workers=2, shard_size=50)
    run_library(design, ToyEngine(sleep=0.5), sys.argv[1], work)
"""


def is_running(pid):
    try:
        state = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.skipif(not pathlib.Path("/proc/self").exists(), reason="looks for processes in /proc")
def test_a_killed_run_goes_on(toy, tmp_path, whole):
    path, parts, pids = tmp_path / "a.h5", tmp_path / "a.h5.parts", tmp_path / "pids"
    pids.mkdir()
    (tmp_path / "killed.py").write_text(KILLED)
    path_of_modules = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path_of_modules, "TOY_PIDS": str(pids)}
    process = subprocess.Popen([sys.executable, tmp_path / "killed.py", path], env=environment)
    try:
        deadline = time.monotonic() + 300
        while len(list(parts.glob("0*.h5.sha256"))) < 3:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not path.exists()
    # Workers do not outlive it.
    workers = [int(p.name) for p in pids.iterdir()]
    assert len(workers) in (1, 2) and process.pid not in workers
    while any(is_running(pid) for pid in workers):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run = run_library(DESIGN, toy(), path)
    assert 150 <= run.n_resumed < 1000
    assert path.read_bytes() == whole and not parts.exists()


def test_a_lost_worker_is_said(toy, tmp_path, monkeypatch):
    (tmp_path / "deadly.py").write_text(
        "import os, dataclasses, toy_engine\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Deadly(toy_engine.ToyEngine):\n"
        "    def draw(self, *theta):\n"
        "        os._exit(9)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    engine = importlib.import_module("deadly").Deadly()
    with pytest.raises(RunError, match="a worker process was lost"):
        run_library(DESIGN, engine, tmp_path / "a.h5", Work(workers=2))


def test_another_design_is_refused(toy, tmp_path):
    path = tmp_path / "a.h5"
    other = Design(1000, 5, DESIGN.theta, DESIGN.radius)
    work = Work(shard_size=100)
    with pytest.raises(RuntimeError, match="stops here"):
        limit = float(DESIGN.rows(0, 200)["log_mass"].max())
        run_library(DESIGN, toy(fail_above=limit), path, work)
    with pytest.raises(RunError, match=r"a.h5.parts holds the shards of an interrupted run"):
        run_library(other, toy(), path, work)
    run_library(DESIGN, toy(), path, work)
    with pytest.raises(RunError, match=r"a.h5 is there and is of another design"):
        run_library(other, toy(), path)
    with pytest.raises(RunError, match="of another design, engine or version"):
        run_library(DESIGN, toy(bands=("r", "i")), path)


def test_a_refused_start_blocks_nothing(toy, tmp_path):
    path = tmp_path / "a.h5"
    with pytest.raises(RuntimeError):
        run_library(DESIGN, toy(fail_above=0.0), path)
    run_library(Design(10, 5), toy(), path)
    assert len(ClusterLibrary.load(path)) == 10


@pytest.mark.parametrize(
    ("theta", "message"),
    [
        (BoxTheta(a_v=(0.0, 6.0)), "a_v of the design runs from 0 to 6 mag; the engine has 0 to 5"),
        (BoxTheta(log_age=(4.0, 10.0)), "log_age of the design runs from 4 to 10 log10 yr"),
    ],
)
def test_refuses_what_the_engine_lacks(toy, tmp_path, theta, message):
    with pytest.raises(RunError, match=message):
        run_library(Design(10, 0, theta), toy(), tmp_path / "a.h5")


def test_refuses_places(toy, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=r"cannot write .*(Not a directory|File exists)"):
        run_library(DESIGN, toy(), tmp_path / "file" / "a.h5")
    with pytest.raises(RunError, match="file is there and is not whole"):
        run_library(DESIGN, toy(), tmp_path / "file")
    with pytest.raises(ValueError, match="workers is 0"):
        Work(workers=0)


def test_a_worker_with_another_grid_draws_nothing(tmp_path):
    """Catches a library of two grids: the file is replaced, or another machine has another."""
    grid = tmp_path / "grid.h5"
    analytic_grid(np.array([6.0, 7.0]), 0.05).save(grid)
    engine = StarcensusEngine(BANDS, str(grid))
    rows = [np.array([2.0]), np.array([6.5]), np.array([0.0]), np.array([1], np.uint64)]
    facts = to_json(engine.describe(), sort_keys=True)
    assert len(libraries.run._draw(engine, facts, *rows)["n_stars"]) == 1
    analytic_grid(np.array([6.0, 7.1]), 0.05).save(grid)
    with pytest.raises(RunError, match="another stellar grid"):
        libraries.run._draw(engine, facts, *rows)
