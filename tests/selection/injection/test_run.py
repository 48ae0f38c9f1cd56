"""Tests of whole runs: labels in their rows, the same table however it was made."""

import dataclasses
import importlib
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from starcensus.runs import RunError
from starcensus.selection.injection import InjectionTable, run_injections
from starcensus.shards import Work

HERE = pathlib.Path(__file__).parent
LIMIT = -9.0


@pytest.fixture(scope="module")
def toy_survey():
    with pytest.MonkeyPatch.context() as patch:
        # Worker processes find the module on the path too.
        patch.syspath_prepend(HERE)
        yield importlib.import_module("toy_survey")


@pytest.fixture(scope="module")
def Toy(toy_survey):
    return toy_survey.Toy


@pytest.fixture(scope="module")
def whole(Toy, tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "table.h5"
    run_injections(Toy(), path, Work(shard_size=2))
    return path


def agreement(table: InjectionTable) -> float:
    """Share of rows whose label is what their own magnitude asks for."""
    return float((table.catalogued == (table.true_mags[:, 0] - 29.98 < LIMIT)).mean())


def test_labels_stand_beside_the_clusters_that_earned_them(whole):
    table = InjectionTable.load(whole)
    assert len(table) == 72 and agreement(table) > 0.999
    np.testing.assert_array_equal(table.cluster, np.arange(72))
    # Labels in another order of the same frames and clusters would be seen.
    scrambled = table.catalogued.reshape(6, 12).T.ravel()
    assert agreement(dataclasses.replace(table, catalogued=scrambled)) < 0.8


def test_light_is_found_where_it_was_put(Toy, whole):
    # The frame is not square: x and y exchanged would put most of it off the frame.
    injector = Toy()()
    table = InjectionTable.load(whole)
    bright = table.true_mags[:, 0] - 29.98 < LIMIT
    frame = injector.injected(2).images[0].data
    rows = (table.frame == 2) & bright
    for x, y in zip(table.x[rows], table.y[rows], strict=True):
        row, col = round(float(y)), round(float(x))
        assert frame[row - 2 : row + 3, col - 2 : col + 3].sum() > 1.0


def test_a_frame_is_made_again_from_its_number(Toy, whole):
    one, two = Toy()().injected(3), Toy()().injected(3)
    np.testing.assert_array_equal(one.images[0].data, two.images[0].data)
    assert (one.images[0].data != Toy()().injected(4).images[0].data).any()


def test_a_source_that_was_there_is_no_recovery(Toy):
    injector = Toy(old=True)()
    x, y = np.array([201.0, 60.0]), np.array([40.0, 60.0])
    plan = dataclasses.replace(injector.plan, per_frame=2, n_clusters=2)
    injector = dataclasses.replace(injector, plan=plan)
    frame = injector._inject(0, x, y, np.ones(2))
    found = injector.pipeline(frame)
    table = injector._table(0, (x, y, np.ones(2)), frame, found)
    assert table.already_there.tolist() == [True, False]
    assert not table.catalogued[0]
    # A source of the catalogue is there; only its light says whose it is.
    assert table.cuts["bright"][0]
    assert (np.hypot(found.x - x[0], found.y - y[0]) <= plan.match_pix).any()


def test_two_processes_make_the_same_table(Toy, whole, tmp_path):
    run_injections(Toy(), tmp_path / "two.h5", Work(2, shard_size=1))
    assert (tmp_path / "two.h5").read_bytes() == whole.read_bytes()


@pytest.fixture(scope="module")
def scheduler(toy_survey, tmp_path_factory):
    """Address of a Dask scheduler with two worker processes, which come back when they die."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=":0",
        local_directory=str(tmp_path_factory.mktemp("dask")),
    ) as cluster:
        yield cluster.scheduler_address


def test_two_processes_of_dask_make_the_same_table(toy_survey, scheduler, whole, tmp_path):
    """Both processes run frames; the table is that of one process to the byte."""
    pids = tmp_path / "pids"
    pids.mkdir()
    out = tmp_path / "dask.h5"
    build = toy_survey.Watched(pids, together=2)
    run_injections(build, out, Work(scheduler=scheduler, shard_size=1))
    assert out.read_bytes() == whole.read_bytes()
    assert len(list(pids.iterdir())) == 2 and not (pids / str(os.getpid())).exists()


def test_a_worker_that_is_killed_loses_nothing(toy_survey, scheduler, whole, tmp_path):
    """A worker process of Dask is killed in the middle of a frame; the table is the same."""
    pids = tmp_path / "pids"
    pids.mkdir()
    out, seen = tmp_path / "dask.h5", []
    run_injections(
        toy_survey.Watched(pids, together=2, deadly_frame=3),
        out,
        Work(scheduler=scheduler, shard_size=1),
        progress=lambda done, n: seen.append(done),
    )
    assert out.read_bytes() == whole.read_bytes() and seen == list(range(7))
    killed = int((tmp_path / "killed").read_text())
    assert (pids / str(killed)).exists() and killed != os.getpid()


def test_an_interrupted_run_goes_on_where_it_was(Toy, whole, tmp_path):
    def stop(done: int, n: int) -> None:
        if done >= 3:
            raise KeyboardInterrupt

    out = tmp_path / "again.h5"
    with pytest.raises(KeyboardInterrupt):
        run_injections(Toy(), out, Work(shard_size=1), progress=stop)
    assert not out.exists()
    run = run_injections(Toy(), out, Work(shard_size=4))
    assert run.n_resumed == 3 and out.read_bytes() == whole.read_bytes()
    assert run_injections(Toy(), out).n_resumed == 6
    assert not (tmp_path / "again.h5.parts").exists()


def test_shards_and_tables_of_another_test_are_not_joined(Toy, whole, tmp_path):
    def stop(done: int, n: int) -> None:
        if done:
            raise KeyboardInterrupt

    out = tmp_path / "table.h5"
    with pytest.raises(KeyboardInterrupt):
        run_injections(Toy(), out, Work(shard_size=1), progress=stop)
    with pytest.raises(RunError, match="interrupted run of another test"):
        run_injections(Toy(seed=1), out)
    with pytest.raises(RunError, match="is of another test"):
        run_injections(Toy(seed=1), whole)


def test_what_a_table_depends_on_is_in_its_key(Toy):
    injector = Toy()()
    frame = injector.frame
    bad = np.zeros(frame.shape, bool)
    masked = dataclasses.replace(frame.images[0], bad=bad)
    changed = [
        dataclasses.replace(injector, frame=dataclasses.replace(frame, images=(masked,))),
        dataclasses.replace(injector, plan=dataclasses.replace(injector.plan, match_pix=2.0)),
        dataclasses.replace(
            injector, pipeline=dataclasses.replace(injector.pipeline, threshold=1.0)
        ),
    ]
    assert len({injector.key, *(other.key for other in changed)}) == 4
    assert injector.key == Toy()().key


def test_a_library_is_long_enough_and_has_magnitudes(Toy):
    injector = Toy()()
    longer = dataclasses.replace(injector.plan, n_clusters=84)
    with pytest.raises(ValueError, match="uses rows 0 to 83 of the library, none twice; it has 72"):
        dataclasses.replace(injector, plan=longer)
    beyond = dataclasses.replace(injector.plan, n_clusters=None, start_row=72)
    with pytest.raises(ValueError, match="uses rows 72 to 72 of the library, none twice; it has"):
        dataclasses.replace(injector, plan=beyond)
    mags = injector.library.abs_mags.copy()
    mags[5, 0] = np.nan
    with pytest.raises(ValueError, match="magnitude of cluster 5 in ACS_F555W is NaN"):
        dataclasses.replace(injector, library=dataclasses.replace(injector.library, abs_mags=mags))


def test_a_run_that_was_killed_goes_on_where_it_was(Toy, whole, tmp_path):
    out = tmp_path / "killed.h5"
    code = (
        "import os, signal, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from toy_survey import Toy\n"
        "from starcensus.selection.injection import run_injections\n"
        "from starcensus.shards import Work\n"
        "def die(done, n):\n"
        "    if done >= 2:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        f"run_injections(Toy(), {str(out)!r}, Work(shard_size=1), progress=die)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE.anchor, timeout=120)
    assert done.returncode == -signal.SIGKILL and not out.exists()
    run = run_injections(Toy(), out)
    assert run.n_resumed == 2 and out.read_bytes() == whole.read_bytes()


def test_a_chosen_cluster_keeps_the_chance_that_it_had(Toy, whole, tmp_path):
    injector = Toy()()
    rows = np.arange(3, 40)
    inclusion = np.linspace(0.1, 1.0, len(rows))
    pool = injector.library.take(rows)
    unknown = np.full(len(rows), np.nan)
    chosen = dataclasses.replace(pool, inclusion=inclusion, log_density=unknown)
    plan = dataclasses.replace(injector.plan, n_clusters=12)
    table = dataclasses.replace(injector, library=chosen, plan=plan).run(0)
    np.testing.assert_array_equal(table.inclusion, inclusion[table.cluster])
    assert np.isnan(table.log_density).all()
    table.save(tmp_path / "table.h5")
    again = InjectionTable.load(tmp_path / "table.h5")
    np.testing.assert_array_equal(again.inclusion, table.inclusion)
    # Uniform tables have no such column, and their checksum is what it was without it.
    uniform = InjectionTable.load(whole)
    assert uniform.inclusion is None and "inclusion" not in uniform.columns()
    assert InjectionTable.concatenate(uniform, uniform).inclusion is None
    for parts in ((uniform, again), (again, uniform)):
        joined = InjectionTable.concatenate(*parts)
        expected = [
            np.full(len(part), np.nan) if part.inclusion is None else part.inclusion
            for part in parts
        ]
        np.testing.assert_array_equal(joined.inclusion, np.concatenate(expected))
        assert joined.sha256() != uniform.sha256() and len(joined) == 84


def test_a_pilot_sees_a_library_as_it_sees_its_injections(Toy, whole):
    from starcensus.networks import MLP
    from starcensus.selection import PhotometricNetwork
    from starcensus.selection.learning import predict, predict_library

    networks = [MLP([np.array([[-slope]])], [np.array([21.0 * slope])]) for slope in (1.0, 1.3)]
    pilot = PhotometricNetwork(
        networks=tuple(networks),
        bands=("ACS_F555W",),
        limits=np.array([[10.0, 30.0]]),
        distance_modulus=29.98,
    )
    table = InjectionTable.load(whole)
    members = predict_library(pilot, Toy()().library)
    np.testing.assert_array_equal(members.mean(axis=0)[table.cluster], predict(pilot, table))
    assert np.ptp(members) > 0.5


def test_magnitudes_in_other_bands_are_not_taken_for_the_frames(Toy):
    injector = Toy()()

    @dataclasses.dataclass(frozen=True)
    class Other(type(injector.pipeline)):
        def __call__(self, frame):
            return dataclasses.replace(super().__call__(frame), bands=("V",))

    strange = dataclasses.replace(injector, pipeline=Other(injector.pipeline.threshold))
    with pytest.raises(ValueError, match=r"magnitudes in V; expected .*ACS_F555W"):
        strange.run(0)
