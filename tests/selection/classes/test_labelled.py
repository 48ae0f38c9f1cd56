"""Labelled stamps: what is refused, what comes back, and what a batch holds."""

import dataclasses
import pathlib

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from starcensus.files import FileError
from starcensus.selection.classes.labelled import (
    ClassBatches,
    LabelledStamps,
    on_backgrounds,
    read_labelled,
)
from starcensus.simulate.stamps import Backgrounds
from starcensus.simulate.stamps.classes import TRUTHS, ClassStamps

BANDS = ("V", "I")


def stamps(labels: list[int] | None = None, side: int = 8) -> LabelledStamps:
    """Every pixel of a stamp says its row, but for a corner that tells its eight views apart."""
    labels = [1, 2, 3, 4] * 5 if labels is None else labels
    images = np.zeros((len(labels), 2, side, side), np.float32)
    images += np.arange(len(labels))[:, None, None, None]
    images[:, :, 0, 1] += 0.5
    columns = {"mags": np.arange(2.0 * len(labels)).reshape(-1, 2), "x": np.arange(len(labels))}
    kind = np.array([f"kind {label}" for label in labels])
    return LabelledStamps(images, np.array(labels), BANDS, kind, columns)


def skies(n: int = 6, margin: int = 0, level: float = 0.5) -> Backgrounds:
    side = 8 + 2 * margin
    images = np.random.default_rng(n).normal(level, 0.01, (n, 2, side, side)).astype(np.float32)
    none = np.zeros(n, int)
    exposure_s, zero = np.array([1000.0, 400.0]), np.array([25.0, 24.5])
    return Backgrounds(BANDS, images, none, none, none, exposure_s, zero, 0.04, margin)


def written(path: pathlib.Path, labels, images: np.ndarray | None = None) -> pathlib.Path:
    """Cut-outs and labels in one file of the path's format."""
    images = stamps().images[: len(labels)] if images is None else images
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            file["images"] = images
            file["class"] = labels
    else:
        table = fits.BinTableHDU(Table({"class": labels}))
        fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(images), table]).writeto(path)
    return path


@pytest.mark.parametrize("name", ["mine.h5", "mine.fits"])
def test_cut_outs_of_a_user_are_read_with_their_labels(tmp_path, name):
    path = written(tmp_path / name, [2, 1, 4, 3])
    found = read_labelled(path, BANDS)
    np.testing.assert_array_equal(found.images, stamps().images[:4])
    assert found.images.dtype == np.float32 and found.images.dtype.isnative
    assert found.labels.tolist() == [2, 1, 4, 3] and found.bands == BANDS and found.kind is None


@pytest.mark.parametrize("name", ["mine.h5", "mine.fits"])
def test_subclasses_in_words_are_kinds(tmp_path, name):
    labels = np.array(["1", "4.10", "4.1", "3"])
    given = labels.astype("S4") if name == "mine.h5" else labels
    found = read_labelled(written(tmp_path / name, given), BANDS)
    assert found.labels.tolist() == [1, 4, 4, 3]
    assert found.kind is not None and found.kind.tolist() == ["1", "4.10", "4.1", "3"]


@pytest.mark.parametrize("ending", [".csv", ".ecsv", ".fits"])
def test_labels_may_lie_in_a_table_of_their_own(tmp_path, ending):
    path = tmp_path / "cube.fits"
    fits.PrimaryHDU(stamps().images[:3]).writeto(path)
    table = tmp_path / f"labels{ending}"
    Table({"id": [7, 8, 9], "mode": [3, 1, 4]}).write(table)
    found = read_labelled(path, BANDS, labels=table, column="mode")
    assert found.labels.tolist() == [3, 1, 4]
    with pytest.raises(
        FileError, match=rf"labels{ending}: there is no column 'class'; .* id, mode"
    ):
        read_labelled(path, BANDS, labels=table)
    with pytest.raises(FileError, match=r"cube\.fits: has no table .* give `labels`"):
        read_labelled(path, BANDS)


@pytest.mark.parametrize("name", ["mine.h5", "mine.fits"])
@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, 2, 5, 3], "row 2 of class: a label is 5;"),
        ([1.0, 2.0, 3.0, 4.0], "row 0 of class: a label is .*floats cannot tell"),
        ([1, 0, 2, 3], "row 1 of class: a label is 0;"),
    ],
)
def test_labels_that_are_no_class_are_refused_by_file_and_row(tmp_path, name, labels, message):
    path = written(tmp_path / name, labels)
    with pytest.raises(FileError, match=rf"{name}: {message}"):
        read_labelled(path, BANDS)


def test_a_label_that_is_missing_is_refused(tmp_path):
    path = tmp_path / "cube.h5"
    with h5py.File(path, "w") as file:
        file["images"] = stamps().images[:3]
    (tmp_path / "labels.csv").write_text('class\n1\n""\n3\n')
    with pytest.raises(FileError, match=r"labels\.csv: row 1 of class"):
        read_labelled(path, BANDS, labels=tmp_path / "labels.csv")
    with pytest.raises(FileError, match=r"cube\.h5: has no dataset 'class'; it has \['images'\]"):
        read_labelled(path, BANDS)


@pytest.mark.parametrize("name", ["mine.h5", "mine.fits"])
def test_pixels_and_shapes_that_are_wrong_are_refused_by_file_and_row(tmp_path, name):
    holes = stamps().images[:4].copy()
    holes[2, 1, 3, 3:5] = np.nan
    cases = {
        "holes": (holes, "row 2 has 2 pixels in I that are not finite"),
        "oblong": (
            np.ones((4, 2, 8, 6), np.float32),
            "expected squares in each of the 2 bands V, I",
        ),
        "bands": (np.ones((4, 3, 8, 8), np.float32), "expected squares"),
        "fewer": (np.ones((3, 2, 8, 8), np.float32), "3 images and 4 labels"),
        "flat": (np.ones((2, 8, 8), np.float32), r"\(2, 8, 8\)"),
    }
    for case, (images, message) in cases.items():
        folder = tmp_path / case
        folder.mkdir()
        path = written(folder / name, [1, 2, 3, 4], images)
        with pytest.raises(FileError, match=rf"{name}: .*{message}"):
            read_labelled(path, BANDS)


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(FileError, match="there is no such file of labelled cut-outs"):
        read_labelled(tmp_path / "none.h5", BANDS)
    (tmp_path / "mine.png").write_bytes(b"x")
    with pytest.raises(FileError, match=r"mine\.png: .* ending in \.h5"):
        read_labelled(tmp_path / "mine.png", BANDS)
    (tmp_path / "broken.fits").write_bytes(b"SIMPLE" * 900)
    with pytest.raises(FileError, match=r"broken\.fits"):
        read_labelled(tmp_path / "broken.fits", BANDS)


def test_stamps_are_saved_and_read_whole(tmp_path):
    one = stamps()
    for path, given in (("a.h5", one), ("b.h5", dataclasses.replace(one, kind=None, columns={}))):
        given.save(tmp_path / path)
        found = LabelledStamps.load(tmp_path / path)
        for name in ("images", "labels"):
            np.testing.assert_array_equal(getattr(found, name), getattr(given, name))
        assert found.bands == given.bands and set(found.columns) == set(given.columns)
        for name, values in given.columns.items():
            np.testing.assert_array_equal(found.columns[name], values)
        if given.kind is None:
            assert found.kind is None
        else:
            np.testing.assert_array_equal(found.kind, given.kind)
    one.save(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == (tmp_path / "a.h5").read_bytes()
    with h5py.File(tmp_path / "a.h5", "r+") as file:
        file["class"][3] = 9
    with pytest.raises(FileError, match=r"row 3 has class 9"):
        LabelledStamps.load(tmp_path / "a.h5")
    (tmp_path / "cut.h5").write_bytes((tmp_path / "b.h5").read_bytes()[:2000])
    with pytest.raises(FileError, match=r"cut\.h5"):
        LabelledStamps.load(tmp_path / "cut.h5")


def test_simulated_candidates_have_the_same_structure():
    n = 3
    truth = {name: np.arange(3.0) for name in TRUTHS}
    made = ClassStamps(
        BANDS,
        stamps().images[:n],
        np.array([1, 4, 4]),
        np.array(["symmetric", "star", "pair"]),
        np.ones((n, 2)),
        truth,
    )
    found = LabelledStamps.of(made)
    assert found.labels.tolist() == [1, 4, 4] and found.kind is not None
    assert found.kind.tolist() == ["symmetric", "star", "pair"]
    assert set(found.columns) == {"mags", *TRUTHS}


def test_a_split_takes_each_stamp_once_and_each_class_by_its_share():
    many = stamps([1] * 100 + [2] * 40 + [3] * 7 + [4] * 53)
    parts = many.split((0.7, 0.2, 0.1), seed=3)
    rows = np.concatenate([part.columns["x"] for part in parts])
    assert sorted(rows) == list(range(200))
    for part, share in zip(parts, (0.7, 0.2, 0.1), strict=True):
        for label, n in ((1, 100), (2, 40), (3, 7), (4, 53)):
            assert abs((part.labels == label).sum() - share * n) <= 1
        # What belongs together stays so.
        np.testing.assert_array_equal(part.images[:, 0, 3, 3], part.columns["x"])
        np.testing.assert_array_equal(part.columns["mags"][:, 0], 2 * part.columns["x"])
    again = many.split((0.7, 0.2, 0.1), seed=3)[0]
    np.testing.assert_array_equal(again.columns["x"], parts[0].columns["x"])
    other = many.split((0.7, 0.2, 0.1), seed=4)[0]
    assert (other.columns["x"] != parts[0].columns["x"]).any()
    with pytest.raises(ValueError, match="all above 0"):
        many.split((1.0, 0.0), seed=1)


def test_stamps_get_the_light_and_the_noise_of_their_background():
    """Mean and variance of pixels: cluster + sky, (cluster + median) / t, and that of the sky."""
    light = np.full((4000, 2, 8, 8), 0.3, np.float32)
    sky = skies(1)
    seen = on_backgrounds(light, sky, np.random.default_rng(1)).astype(float) - sky.images[0]
    variance = (0.3 + np.median(sky.images[0], axis=(1, 2))) / sky.exposure_s
    mean = seen.mean(axis=(0, 2, 3))
    assert (np.abs(mean - 0.3) < 5 * np.sqrt(variance / (4000 * 64))).all()
    np.testing.assert_allclose(seen.var(axis=(0, 2, 3)), variance, rtol=0.02)


def test_backgrounds_with_a_margin_are_shifted_and_others_are_refused():
    dark = np.zeros((300, 2, 8, 8), np.float32)
    sky = skies(1, margin=1, level=-5.0)  # A sky below 0 has no photons of its own.
    seen = on_backgrounds(dark, sky, np.random.default_rng(2))
    places = [
        (dy, dx)
        for image in seen
        for dy in range(3)
        for dx in range(3)
        if np.array_equal(image, sky.images[0, :, dy : dy + 8, dx : dx + 8])
    ]
    assert len(places) == 300 and len(set(places)) == 9
    with pytest.raises(ValueError, match="expected the same bands and size"):
        on_backgrounds(dark[:, :1], sky, np.random.default_rng(2))
    with pytest.raises(ValueError, match="the 0 backgrounds"):
        on_backgrounds(dark, sky.take(slice(0, 0)), np.random.default_rng(2))


def test_classes_are_alike_in_batches_and_targets_are_of_the_stamp():
    rare = stamps([1] * 60 + [2] * 4 + [3] * 30 + [4] * 6)
    batches = ClassBatches(rare, 50, seed=2)(0)
    counts = np.zeros(4)
    views = set()
    for _ in range(40):
        images, targets = next(batches)
        row = np.floor(images[:, 0, 3, 3]).astype(int)
        np.testing.assert_array_equal(targets["class"].argmax(1) + 1, rare.labels[row])
        np.testing.assert_array_equal(targets["class"].sum(1), 1.0)
        np.testing.assert_array_equal(targets["is_cluster"], rare.labels[row] <= 2)
        assert targets["class"].dtype == images.dtype == np.float32
        counts += targets["class"].sum(0)
        corner = np.argmax((images[:, 0] - row[:, None, None]).reshape(50, -1), axis=1)
        views |= set(corner.tolist())
    assert len(views) == 8  # The marked corner is in each of its eight places.
    np.testing.assert_allclose(counts / 2000, 0.25, atol=5 * (0.25 * 0.75 / 2000) ** 0.5)
    plain, _ = next(ClassBatches(rare, 50, seed=2, dihedral=False)(0))
    assert (np.argmax(plain[:, 0].reshape(50, -1), axis=1) == 1).all()


@pytest.mark.parametrize("step", [1, 63, 64, 130])
def test_a_step_is_the_same_wherever_batches_begin(step):
    one, sky = stamps(), skies()
    batches = ClassBatches(one, 6, seed=5, backgrounds=sky)
    whole = batches(0)
    *_, (last, _), (images, targets) = (next(whole) for _ in range(step + 1))
    again, others = next(batches(step))
    np.testing.assert_array_equal(images, again)
    np.testing.assert_array_equal(targets["class"], others["class"])
    assert (last != images).any()
    other, _ = next(dataclasses.replace(batches, seed=6)(step))
    assert (other != images).any()


def test_photons_are_new_each_time_a_stamp_is_drawn():
    single = stamps([1]).take(slice(0, 1))
    batches = ClassBatches(single, 2, seed=1, backgrounds=skies(1), dihedral=False)(0)
    first, second = next(batches)[0], next(batches)[0]
    assert (first[0] != first[1]).any() and (first != second).any()
    fixed = single.on_backgrounds(skies(1), seed=4)
    np.testing.assert_array_equal(fixed.images, single.on_backgrounds(skies(1), seed=4).images)
    assert fixed.labels.tolist() == [1]


@pytest.mark.parametrize(
    ("n", "seed", "message"), [(0, 1, "a batch has 0 of 20"), (4, -1, "seed is -1")]
)
def test_batches_of_nothing_are_refused(n, seed, message):
    with pytest.raises(ValueError, match=message):
        ClassBatches(stamps(), n, seed)
    with pytest.raises(ValueError, match="of 0 stamps"):
        ClassBatches(stamps().take(slice(0, 0)), 4, 1)
