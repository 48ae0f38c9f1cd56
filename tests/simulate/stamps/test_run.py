"""Banks: the same bytes however the work is cut, shared out or interrupted; and their file."""

import dataclasses
import os
import pathlib
import pickle
import signal
import subprocess
import sys

import h5py
import numpy as np
import pytest
from tests.simulate.stamps.toys import PSFS, toy_settings

from starcensus.files import FileError
from starcensus.runs import RunError
from starcensus.simulate import StellarGrid, Work
from starcensus.simulate.stamps import StampBank, draw_mocks, run_stamps, stamps_run
from starcensus.simulate.stamps.bank import COLUMNS, write_bank

N = 30


@pytest.fixture(scope="module", name="toy")
def _toy(tmp_path_factory):
    return toy_settings(tmp_path_factory.mktemp("toy"), offset_sd_pix=0.5, size_pix=16)


@pytest.fixture(scope="module", name="whole")
def _whole(toy, tmp_path_factory):
    """A bank made in one go."""
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    done = run_stamps(toy, N, 4, path, psfs=PSFS)
    assert (done.n, done.n_resumed) == (N, 0)
    return path


def test_what_a_bank_holds(toy, whole):
    bank, mocks = StampBank.load(whole), draw_mocks(toy, PSFS, 4, 0, N)
    assert len(bank) == N and bank.bands == toy.bands and bank.size_pix == 16
    np.testing.assert_array_equal(bank.images, mocks["images"])
    for name in COLUMNS:
        np.testing.assert_array_equal(bank[name], mocks[name])
    assert bank["seed"].dtype == np.uint64 and bank["n_stars"].dtype == np.int64
    np.testing.assert_array_equal(bank.exposure_s, toy.exposure_s)
    assert bank.zero_point.tolist() == [24.0, 25.0, 24.5]
    assert (bank.pixel_scale_arcsec, bank.distance_modulus) == (0.04, 28.0)
    assert bank.meta["seed"] == 4 and bank.meta["settings"]["log_mass"] == [2.5, 3.5]
    assert bank.meta["key"] == stamps_run(toy, N, 4, PSFS).key
    assert [p.name for p in whole.parent.iterdir()] == ["whole.h5"]
    with h5py.File(whole) as file:
        assert file["images"].shape == (N, 3, 16, 16) and file["images"].dtype == np.float32
        assert file["images"].chunks == (1, 3, 16, 16)
        assert file["images"].attrs["unit"] == "electrons s-1"
        assert file["eff_a_arcsec"].attrs["unit"] == "arcsec"


def test_rows_of_a_bank(whole):
    bank, some = StampBank.load(whole), StampBank.load(whole, slice(3, 9))
    for taken in (some, bank.take(slice(3, 9)), bank.take(np.arange(3, 9))):
        np.testing.assert_array_equal(taken.images, bank.images[3:9])
        np.testing.assert_array_equal(taken["mags"], bank["mags"][3:9])
    with pytest.raises(ValueError, match="no column mass; it has log_mass, log_age"):
        bank["mass"]


def test_a_larger_bank_begins_with_the_smaller(toy, whole, tmp_path):
    run_stamps(toy, N + 3, 4, tmp_path / "a.h5", psfs=PSFS)
    larger = StampBank.load(tmp_path / "a.h5", slice(0, N))
    np.testing.assert_array_equal(larger.images, StampBank.load(whole).images)


@pytest.mark.parametrize("shard_size", [7, 29])
def test_shards_change_no_byte(toy, whole, tmp_path, shard_size):
    run_stamps(toy, N, 4, tmp_path / "a.h5", Work(shard_size=shard_size), psfs=PSFS)
    assert (tmp_path / "a.h5").read_bytes() == whole.read_bytes()


def test_workers_change_no_byte(toy, whole, tmp_path):
    run_stamps(toy, N, 4, tmp_path / "a.h5", Work(workers=2, shard_size=10), psfs=PSFS)
    assert (tmp_path / "a.h5").read_bytes() == whole.read_bytes()


KILLED = """
import os, pickle, signal, sys
from starcensus.simulate import Work
from starcensus.simulate.stamps import run_stamps

def progress(done, n):
    if done >= 10:
        os.kill(os.getpid(), signal.SIGKILL)

settings, psfs = pickle.load(open(sys.argv[1], "rb"))
run_stamps(settings, 30, 4, sys.argv[2], Work(shard_size=5), progress, psfs)
"""


def test_a_killed_run_goes_on(toy, whole, tmp_path):
    (tmp_path / "killed.py").write_text(KILLED)
    (tmp_path / "what").write_bytes(pickle.dumps((toy, PSFS)))
    path = tmp_path / "a.h5"
    killed = subprocess.run(
        [sys.executable, tmp_path / "killed.py", tmp_path / "what", path],
        env={**os.environ, "STARCENSUS_CACHE": "off"},
        check=False,
        timeout=300,
    )
    assert killed.returncode == -signal.SIGKILL and not path.exists()
    shards = sorted((tmp_path / "a.h5.parts").glob("0*.h5"))
    assert len(shards) == 2
    # One that was cut off is made again.
    shards[0].write_bytes(shards[0].read_bytes()[:-100])
    done = run_stamps(toy, N, 4, path, Work(shard_size=9), psfs=PSFS)
    assert done.n_resumed == 5 and path.read_bytes() == whole.read_bytes()
    assert run_stamps(toy, N, 4, path, psfs=PSFS).n_resumed == N
    assert not (tmp_path / "a.h5.parts").exists()


def test_a_bank_of_other_settings_psfs_or_offsets_is_not_taken_for_this_one(toy, whole, tmp_path):
    path = tmp_path / "a.h5"
    path.write_bytes(whole.read_bytes())
    still = dataclasses.replace(toy, offset_sd_pix=0.0)
    wider = {**PSFS, "red": dataclasses.replace(PSFS["blue"], band="red")}
    offsets = np.array([[0.5, 0.2]])
    with pytest.raises(RunError, match="of another settings, PSFs, seed or version"):
        run_stamps(still, N, 4, path, psfs=PSFS)
    keys = {
        stamps_run(toy, N, 4, PSFS).key,
        stamps_run(still, N, 4, PSFS).key,
        stamps_run(still, N, 4, PSFS, offsets).key,
        stamps_run(still, N, 4, PSFS, 2 * offsets).key,
        stamps_run(toy, N, 5, PSFS).key,
        stamps_run(toy, N + 1, 4, PSFS).key,
        stamps_run(toy, N, 4, wider).key,
    }
    assert len(keys) == 7
    assert path.read_bytes() == whole.read_bytes()


def test_offsets_reach_the_bank(toy, tmp_path):
    still = dataclasses.replace(toy, offset_sd_pix=0.0)
    offsets = np.array([[1.0, 0.25]])
    run_stamps(still, 8, 4, tmp_path / "a.h5", psfs=PSFS, offsets_pix=offsets)
    bank = StampBank.load(tmp_path / "a.h5")
    d = np.sort(np.abs(np.stack([bank["x"], bank["y"]]) - 7.5), axis=0)
    np.testing.assert_allclose(d, np.broadcast_to([[0.25], [1.0]], (2, 8)))


def test_what_cannot_be_made_is_refused_before_it_is_begun(toy, tmp_path):
    with pytest.raises(ValueError, match="n is 0"):
        run_stamps(toy, 0, 4, tmp_path / "a.h5", psfs=PSFS)
    with pytest.raises(ValueError, match="seed is -1"):
        run_stamps(toy, 1, -1, tmp_path / "a.h5", psfs=PSFS)
    with pytest.raises(RunError, match=r"ask for z = 0\.03"):
        run_stamps(dataclasses.replace(toy, z=0.03), 1, 1, tmp_path / "a.h5", psfs=PSFS)
    with pytest.raises(ValueError, match="no PSF of red"):
        run_stamps(toy, 1, 1, tmp_path / "a.h5", psfs={b: PSFS[b] for b in ("blue", "green")})
    assert list(tmp_path.iterdir()) == []


def test_a_grid_that_changes_under_way_is_noticed(tmp_path):
    toy = toy_settings(tmp_path, size_pix=16)

    def progress(done: int, n: int) -> None:
        if done:
            grid = StellarGrid.load(str(toy.grid))
            dimmer = dataclasses.replace(grid, flux=grid.flux * np.float32(0.5))
            dimmer.save(pathlib.Path(str(toy.grid)))

    with pytest.raises(RunError, match="another stellar grid than the process that asked it"):
        run_stamps(toy, 4, 1, tmp_path / "a.h5", Work(shard_size=2), progress, PSFS)


def test_files_that_are_no_banks_are_named(whole, tmp_path):
    cut = tmp_path / "cut.h5"
    cut.write_bytes(whole.read_bytes()[:-4000])
    with pytest.raises(FileError, match=r"cut.h5.*damaged"):
        StampBank.load(cut)
    lacking = tmp_path / "lacking.h5"
    lacking.write_bytes(whole.read_bytes())
    with h5py.File(lacking, "r+") as file:
        del file["r_h_pc"]
    with pytest.raises(FileError, match="has no column r_h_pc"):
        StampBank.load(lacking)
    other = tmp_path / "other.h5"
    with h5py.File(other, "w") as file:
        file.attrs["format"] = "something"
    with pytest.raises(FileError, match="is no bank of cluster stamps; `run_stamps` writes"):
        StampBank.load(other)


def test_shapes_that_differ_are_refused(whole, tmp_path):
    bank = StampBank.load(whole)
    with pytest.raises(ValueError, match="a_v has shape"):
        dataclasses.replace(bank, columns={**bank.columns, "a_v": bank["a_v"][1:]})
    with pytest.raises(ValueError, match=r"columns are .*; expected log_mass"):
        dataclasses.replace(bank, columns={"a_v": bank["a_v"]})
    with pytest.raises(ValueError, match="expected squares in each of 3 bands"):
        dataclasses.replace(bank, images=bank.images[:, :, :8])
    columns = {"images": bank.images, **bank.columns}
    with pytest.raises(ValueError, match="have 30 mocks together; expected 31"):
        write_bank(tmp_path / "a.h5", N + 1, bank.meta, [lambda: columns])
    with pytest.raises(ValueError, match="more than 29 mocks"):
        write_bank(tmp_path / "a.h5", N - 1, bank.meta, [lambda: columns])
    assert list(tmp_path.iterdir()) == []
