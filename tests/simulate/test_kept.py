"""What is kept on disk: the same numbers, and nothing where it cannot be trusted or written."""

import dataclasses
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from starcensus.simulate import Kroupa, StellarPopulation, kept
from starcensus.simulate.clusters.bins import Binning, Bins

NAMES = [field.name for field in dataclasses.fields(Bins)]


@pytest.fixture
def cache(monkeypatch, tmp_path) -> pathlib.Path:
    monkeypatch.setenv("STARCENSUS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def entries(cache: pathlib.Path) -> list[pathlib.Path]:
    return sorted(cache.rglob("*.npz"))


def same(one: Bins, other: Bins) -> bool:
    return all(
        getattr(one, name).dtype == getattr(other, name).dtype
        and getattr(one, name).tobytes() == getattr(other, name).tobytes()
        for name in NAMES
    )


def forbid(monkeypatch) -> None:
    """Let nothing be made any more."""

    def made(self, index):
        raise AssertionError("made again")

    monkeypatch.setattr(StellarPopulation, "_resolved", made)


def test_bins_are_made_once_and_are_the_same_bits(grid, cache, monkeypatch):
    made = StellarPopulation(grid).isochrone(2)
    assert [path.name for path in entries(cache)] == ["2.npz"]
    monkeypatch.setenv("STARCENSUS_CACHE", "off")
    assert same(StellarPopulation(grid).isochrone(2), made)
    monkeypatch.setenv("STARCENSUS_CACHE", str(cache))
    forbid(monkeypatch)
    assert same(StellarPopulation(grid).isochrone(2), made)


@pytest.mark.parametrize("other", ["grid", "imf", "binning", "code"])
def test_what_follows_from_other_causes_is_another_entry(grid, cache, monkeypatch, other):
    StellarPopulation(grid).isochrone(2)
    imf = Kroupa(high=100.0) if other == "imf" else Kroupa()
    binning = Binning(tolerance=1e-3) if other == "binning" else Binning()
    if other == "grid":
        grid = dataclasses.replace(grid, q_h=2 * grid.q_h)
    if other == "code":
        monkeypatch.setattr(kept, "code_version", lambda: "another")
    found = StellarPopulation(grid, imf, binning).isochrone(2)
    assert len(entries(cache)) == 2
    monkeypatch.setenv("STARCENSUS_CACHE", "off")
    assert same(StellarPopulation(grid, imf, binning).isochrone(2), found)


def test_of_a_mass_function_whose_code_is_not_known_nothing_is_kept(grid, cache):
    @dataclasses.dataclass(frozen=True)
    class Own(Kroupa):
        pass

    StellarPopulation(grid, Own()).isochrone(2)
    assert not entries(cache)


@pytest.mark.parametrize("spoil", ["cut", "changed", "empty", "other", "folder"])
def test_an_entry_that_is_not_whole_is_made_again(grid, cache, spoil):
    made = StellarPopulation(grid).isochrone(2)
    [path] = entries(cache)
    whole = path.read_bytes()
    if spoil == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif spoil == "changed":
        middle = len(whole) // 2
        path.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif spoil == "empty":
        path.write_bytes(b"")
    elif spoil == "other":
        np.savez(path, light=np.zeros(3))
    else:
        path.unlink()
        path.mkdir()
    assert same(StellarPopulation(grid).isochrone(2), made)


def test_where_nothing_can_be_written_nothing_is_kept(grid, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STARCENSUS_CACHE", str(tmp_path / "file" / "below"))
    made = StellarPopulation(grid).isochrone(2)
    monkeypatch.setenv("STARCENSUS_CACHE", "off")
    assert same(StellarPopulation(grid).isochrone(2), made)


def test_the_oldest_entries_go_when_there_are_too_many(cache):
    arrays = {"a": np.zeros(1000)}
    for i in range(4):
        path = cache / "bins" / f"key{i}" / "0.npz"
        kept.write(path, arrays, max_bytes=20_000)
        os.utime(path, (1000 + i, 1000 + i))
    # The newest is written after the others were trimmed to 20,000 bytes, which two of them fit.
    assert [path.parent.name for path in entries(cache)] == ["key1", "key2", "key3"]
    assert kept.read(cache / "bins" / "key3" / "0.npz", ["a"]) is not None


def test_a_process_that_simulates_loads_no_jax():
    """Workers start in a fraction of the time."""
    program = "import sys, starcensus.simulate; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
