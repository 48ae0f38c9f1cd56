"""Backgrounds: pixels of the frame, of good places, and of one split each."""

import dataclasses
import itertools

import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.simulate import BandImage, Frame
from starcensus.simulate.stamps import Backgrounds, BackgroundSettings, cut_backgrounds
from starcensus.simulate.stamps.backgrounds import SPLITS, medians

SHAPE = (500, 430)
SMALL = BackgroundSettings(n=(300, 60, 60), size_pix=16, block_pix=64, guard_pix=10)


def frame_of(shape=SHAPE, bad=None) -> Frame:
    """Pixels that name their place: row and column in one band, noise in the other."""
    row, col = np.indices(shape, dtype=float)
    noise = np.random.default_rng(0).normal(5.0, 1.0, shape)
    planes = (row * 1000 + col, noise)
    if bad is not None:
        planes = tuple(np.where(bad, np.nan, plane) for plane in planes)
    images = tuple(
        BandImage(band, plane, exposure_s=t, zero_point=zero, bad=bad)
        for band, plane, t, zero in zip(
            ("ACS_F435W", "ACS_F555W"), planes, (100.0, 300.0), (25.0, 26.0), strict=True
        )
    )
    return Frame(images, distance_modulus=29.0, pixel_scale_arcsec=0.05)


def pixels(cut: Backgrounds, shape=SHAPE) -> dict[str, np.ndarray]:
    """Which pixels of the frame the cutouts of each split have."""
    out = {}
    side = cut.images.shape[2]
    for number, name in enumerate(SPLITS):
        out[name] = np.zeros(shape, bool)
        for x, y in zip(cut.x[cut.split == number], cut.y[cut.split == number], strict=True):
            out[name][y : y + side, x : x + side] = True
    return out


def test_cutouts_are_pixels_of_the_frame():
    frame = frame_of()
    cut = cut_backgrounds(frame, SMALL, seed=1)
    assert cut.images.shape == (420, 2, 16, 16) and cut.images.dtype == np.float32
    assert np.bincount(cut.split).tolist() == [300, 60, 60]
    for at in range(0, 420, 50):
        rows, cols = slice(cut.y[at], cut.y[at] + 16), slice(cut.x[at], cut.x[at] + 16)
        for band, image in enumerate(frame):
            part = image.data[rows, cols].astype(np.float32)
            np.testing.assert_array_equal(cut.images[at, band], part)
    assert cut.bands == frame.bands and cut.pixel_scale_arcsec == 0.05
    assert cut.exposure_s.tolist() == [100.0, 300.0] and cut.zero_point.tolist() == [25.0, 26.0]
    np.testing.assert_allclose(cut.median, np.median(cut.images, axis=(2, 3)))
    np.testing.assert_allclose(cut.sigma[:, 1], 1.0, atol=0.3)


@pytest.mark.parametrize("margin", [0, 4])
@pytest.mark.parametrize("guard", [0, 7, 10])
def test_splits_share_no_pixel_and_are_a_guard_apart(margin: int, guard: int):
    settings = dataclasses.replace(SMALL, margin_pix=margin, guard_pix=guard)
    for seed in range(3):
        parts = pixels(cut_backgrounds(frame_of(), settings, seed))
        assert all(part.any() for part in parts.values())
        for one, other in itertools.combinations(parts.values(), 2):
            assert not (one & other).any()
            # Within the guard of a pixel of the one there is none of the other.
            row, col = np.nonzero(one)
            for step in range(1, guard + 1):
                for dr, dc in itertools.product((-step, 0, step), repeat=2):
                    at = (np.clip(row + dr, 0, SHAPE[0] - 1), np.clip(col + dc, 0, SHAPE[1] - 1))
                    assert not other[at].any()


def test_places_fill_the_frame():
    parts = pixels(cut_backgrounds(frame_of(), dataclasses.replace(SMALL, n=(4000, 900, 900)), 2))
    every = np.logical_or.reduce(list(parts.values()))
    assert every.mean() > 0.8 and every[0].any() and every[-1].any() and every[:, -1].any()
    shares = np.array([part.sum() for part in parts.values()]) / every.sum()
    np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.08)


def test_the_same_seed_gives_the_same_places():
    one, same, other = (cut_backgrounds(frame_of(), SMALL, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.images, same.images)
    assert (one.x != other.x).mean() > 0.9


def test_bad_pixels_and_known_clusters_are_in_no_cutout():
    rng = np.random.default_rng(3)
    bad = np.zeros(SHAPE, bool)
    bad[rng.integers(0, 500, 30), rng.integers(0, 430, 30)] = True
    bad[:, :40] = True
    known = np.column_stack(
        [rng.uniform(-5, 440, 25), rng.uniform(-5, 510, 25), rng.uniform(0, 9, 25)]
    )
    cut = cut_backgrounds(frame_of(bad=bad), SMALL, 1, known)
    assert np.isfinite(cut.images).all() and cut.x.min() >= 40
    taken = np.logical_or.reduce(list(pixels(cut).values()))
    assert not (taken & bad).any()
    # Points of the circles' rims, and their middles, lie in no pixel that was taken.
    turn = np.linspace(0, 2 * np.pi, 200)
    for x, y, radius in known:
        for scale in (0.0, 0.5, 1.0):
            col = np.rint(x + scale * radius * np.cos(turn)).astype(int)
            row = np.rint(y + scale * radius * np.sin(turn)).astype(int)
            inside = (col >= 0) & (col < 430) & (row >= 0) & (row < 500)
            assert not taken[row[inside], col[inside]].any()
    free = cut_backgrounds(frame_of(bad=bad), SMALL, 1)
    assert np.logical_or.reduce(list(pixels(free).values())).sum() > taken.sum()


def test_a_frame_that_is_full_is_refused():
    bad = np.ones(SHAPE, bool)
    with pytest.raises(
        ValueError, match=r"of 300 backgrounds for train 0 were found in .* 16 x 16"
    ):
        cut_backgrounds(frame_of(bad=bad), SMALL, 1)
    with pytest.raises(ValueError, match="has 1 blocks of 64 for 3 splits"):
        cut_backgrounds(frame_of((100, 100)), SMALL, 1)
    with pytest.raises(ValueError, match="0 were found"):
        one = dataclasses.replace(SMALL, n=(1, 0, 0), shares=(1.0, 0.0, 0.0))
        cut_backgrounds(frame_of((100, 10)), one, 1)


def test_one_split_may_have_it_all():
    one = dataclasses.replace(SMALL, n=(50, 0, 0), shares=(1.0, 0.0, 0.0))
    cut = cut_backgrounds(frame_of((60, 40)), one, 1)
    assert len(cut) == len(cut.of("train")) == 50 and len(cut.of("test")) == 0
    assert cut.x.max() > 15 and cut.y.max() > 35


def test_splits_by_name_and_files(tmp_path):
    cut = cut_backgrounds(frame_of(), dataclasses.replace(SMALL, margin_pix=2), 1)
    test = cut.of("test")
    assert len(test) == 60 and (test.split == 2).all() and test.size_pix == 16
    np.testing.assert_array_equal(test.images, cut.images[cut.split == 2])
    np.testing.assert_allclose(test.median, np.median(test.images[:, :, 2:-2, 2:-2], axis=(2, 3)))
    with pytest.raises(ValueError, match="split is 'training'; expected one of train, validation"):
        cut.of("training")
    cut.save(tmp_path / "a.h5")
    again = Backgrounds.load(tmp_path / "a.h5")
    for field in dataclasses.fields(cut):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(cut, field.name))
    (tmp_path / "a.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:-2000])
    with pytest.raises(FileError, match="damaged"):
        Backgrounds.load(tmp_path / "a.h5")


@pytest.mark.parametrize("side", [4, 5, 16])
def test_medians(side: int):
    images = np.random.default_rng(1).normal(size=(700, 2, side, side)).astype(np.float32)
    np.testing.assert_allclose(medians(images), np.median(images, axis=(2, 3)), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": (0, 0, 0)}, "one of them above 0"),
        ({"size_pix": 4}, "size_pix is 4"),
        ({"margin_pix": -1}, "margin_pix -1"),
        ({"guard_pix": -1}, "guard_pix -1"),
        ({"shares": (1.0, 0.0, 0.0)}, "above 0 where there are cutouts"),
        ({"block_pix": 35}, "block_pix is 35; expected 36 or more"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
    assert (
        BackgroundSettings().guard == 64 and dataclasses.replace(SMALL, margin_pix=3).side_pix == 22
    )
