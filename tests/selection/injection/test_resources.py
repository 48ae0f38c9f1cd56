"""A run holds one frame at a time and writes none: its files are tables."""

import dataclasses
import importlib
import pathlib
import tempfile
import tracemalloc

import numpy as np
import pytest

from starcensus.selection.injection import InjectionTable, Injector, run_injections
from starcensus.shards import Work
from starcensus.simulate import Frame
from starcensus.simulate.images import templates

HERE = pathlib.Path(__file__).parent
SHAPE = (600, 1040)
FRAME_BYTES = 4 * SHAPE[0] * SHAPE[1]


@pytest.fixture(scope="module")
def toy():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("toy_survey")


@dataclasses.dataclass(frozen=True)
class Large:
    """Builds the toy injector with a frame of 2.5 MB."""

    toy: object
    n_sets: int

    def __call__(self) -> Injector:
        injector = self.toy.Toy(self.n_sets)()  # pyright: ignore[reportAttributeAccessIssue]
        [image] = injector.frame.images
        data = np.tile(np.linspace(0, 2e-3, SHAPE[1], dtype=np.float32), (SHAPE[0], 1))
        frame = dataclasses.replace(injector.frame, images=(image.with_data(data),))
        return dataclasses.replace(injector, frame=frame)


def test_nothing_is_written_but_shards_and_the_table(toy, tmp_path, monkeypatch):
    """Looked at in the middle of every frame and after every shard, temporary files included."""
    seen: dict[str, int] = {}

    def look() -> None:
        for path in tmp_path.rglob("*"):
            if path.is_file():
                name = path.relative_to(tmp_path).as_posix()
                seen[name] = max(seen.get(name, 0), path.stat().st_size)

    survey, looks = toy.ToySurvey.__call__, []

    def watched(self, frame: Frame):
        look()
        looks.append(1)
        return survey(self, frame)

    for folder in ("here", "temporary"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(toy.ToySurvey, "__call__", watched)
    run_injections(Large(toy, 6), "table.h5", Work(shard_size=2), progress=lambda done, n: look())
    look()
    # Six frames, and the untouched one.
    assert len(looks) == 7
    shards = [f"here/table.h5.parts/{i:010d}-{i + 2:010d}.h5" for i in (0, 2, 4)]
    sums = [f"{shard}.sha256" for shard in shards]
    lock, manifest = "here/.table.h5.lock", "here/table.h5.parts/manifest.json"
    assert set(seen) == {"here/table.h5", lock, manifest, *shards, *sums}
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["table.h5"]
    assert len(InjectionTable.load("table.h5")) == 72
    assert sum(seen.values()) < 0.05 * 6 * FRAME_BYTES


def test_memory_does_not_grow_with_the_number_of_frames(toy, tmp_path):
    """Neither from shard to shard nor with the frames of a shard, by half a frame or more."""
    peaks = []

    def look(done: int, n: int) -> None:
        # The first shard has the untouched frame too.
        if done > 6:
            peaks.append(tracemalloc.get_traced_memory()[1] / FRAME_BYTES)
        tracemalloc.reset_peak()

    tracemalloc.start()
    try:
        for shard_frames in (1, 6):
            out = tmp_path / f"{shard_frames}.h5"
            # Those of the run before are kept, up to 16.
            templates._psf_spectrum.cache_clear()
            run_injections(Large(toy, 12), out, Work(shard_size=shard_frames), progress=look)
    finally:
        tracemalloc.stop()
    assert len(peaks) == 7 and min(peaks) > 1
    assert max(peaks) - min(peaks) < 0.5
