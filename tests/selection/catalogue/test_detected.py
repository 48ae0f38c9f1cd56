"""What a pipeline catalogued, as a catalogue: outside the frame is not the same as too faint."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from starcensus.selection.catalogue import (
    BandState,
    CatalogueError,
    photometry_of,
    read_catalogue,
    read_detections,
    write_catalogue,
)
from starcensus.selection.pipeline import Detections, run_pipeline
from starcensus.simulate import BandImage, Frame

BANDS = ("ACS_F435W", "ACS_F555W")


def found(**changes) -> Detections:
    states = np.array([[0, 0], [1, 0], [2, 0], [0, 0]], np.uint8)
    mags = np.where(states == 0, [[23.0, 22.5]], np.nan)
    made = Detections(
        BANDS,
        np.arange(4.0),
        np.arange(4.0),
        mags,
        np.where(states == 0, 0.1, np.nan),
        np.full(4, 1.5),
        {"bright": np.array([True, True, True, False])},
        {"sky_v": np.arange(4.0)},
        ids=np.array([7, 8, 9, 11]),
        states=states,
        distance_modulus=29.98,
        pipeline={"pipeline": "mine"},
    )
    return dataclasses.replace(made, **changes)


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_states_are_read_back(tmp_path, suffix):
    path = tmp_path / f"found.{suffix}"
    made = found()
    made.write(path)
    back = Detections.read(path)
    assert back.states is not None and back.states.dtype == np.uint8
    np.testing.assert_array_equal(back.states, made.states)
    cat = read_catalogue(path, "detections")
    assert cat.ids.tolist() == [7, 8, 9] and cat.meta["distance_modulus"] == 29.98
    assert (cat.steps[-1].name, cat.steps[-1].n_before) == ("catalogued", 4)
    assert made.states is not None and np.isnan(cat.theta).all()
    np.testing.assert_array_equal(cat.band_states, made.states[:3])
    np.testing.assert_array_equal(cat.mags, made.mags[:3])
    np.testing.assert_array_equal(cat.columns["concentration_index"], 1.5)
    np.testing.assert_array_equal(cat.columns["sky_v"], [0, 1, 2])
    seen = photometry_of(cat)
    assert seen.distance_modulus == 29.98 and seen.ci is not None
    np.testing.assert_array_equal(seen.states, made.states[:3])
    write_catalogue(cat, tmp_path / "own.ecsv")
    again = read_catalogue(tmp_path / "own.ecsv", "starcensus")
    np.testing.assert_array_equal(again.band_states, cat.band_states)


def test_files_that_do_not_say_why(tmp_path):
    path = tmp_path / "found.ecsv"
    found(states=None).write(path)
    assert Detections.read(path).states is None
    cat = read_detections(path)
    assert cat.band_states is not None
    np.testing.assert_array_equal(cat.band_states[:, 0], [0, BandState.UNKNOWN, BandState.UNKNOWN])


def test_files_that_hold_none(tmp_path):
    path = tmp_path / "other.ecsv"
    Table({"mag_V": [22.0]}).write(path, format="ascii.ecsv")
    with pytest.raises(CatalogueError, match="holds no detections of a pipeline; expected a file"):
        read_detections(path)
    found(cuts={"bright": np.zeros(4, bool)}).write(tmp_path / "none.ecsv")
    with pytest.raises(CatalogueError, match="none of 4 sources is catalogued"):
        read_detections(tmp_path / "none.ecsv")


@dataclasses.dataclass(frozen=True)
class Everything:
    """A pipeline that measures at five given places: V everywhere, B where there is light."""

    says: bool = False

    def describe(self) -> dict[str, object]:
        return {"pipeline": "everything"}

    def __call__(self, frame: Frame) -> Detections:
        x = np.array([20.0, 40.0, 55.0, 2.0, 30.0])
        b = np.array([23.0, np.nan, np.nan, np.nan, 24.0])
        mags = np.stack([b, np.full(5, 22.0)], axis=1)
        states = np.full(mags.shape, 3, np.uint8) if self.says else None
        return Detections(
            BANDS,
            x,
            np.full(5, 30.0),
            mags,
            np.where(np.isnan(mags), np.nan, 0.1),
            np.full(5, 1.5),
            {"all": np.ones(5, bool)},
            states=states,
        )


def frame() -> Frame:
    """B has no data at x above 50."""
    data = np.full((60, 60), 0.1, np.float32)
    bad = np.zeros((60, 60), bool)
    bad[:, 51:] = True
    images = tuple(
        BandImage(band, data, exposure_s=1000.0, zero_point=25.0, bad=bad if k == 0 else None)
        for k, band in enumerate(BANDS)
    )
    return Frame(images, distance_modulus=29.98)


def test_outside_the_frame_is_not_too_faint():
    made = run_pipeline(Everything(), frame())
    assert made.states is not None
    # B's apertures: whole, whole, over the edge of its data, over that of the image, whole.
    np.testing.assert_array_equal(made.states[:, 0], [0, 2, 1, 1, 0])
    assert (made.states[:, 1] == BandState.MEASURED).all()
    said = run_pipeline(Everything(says=True), frame()).states
    assert said is not None and (said == BandState.UNKNOWN).all()
