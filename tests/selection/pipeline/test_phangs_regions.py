"""Regions of the MCI plane: polygon, hit maps, stars."""

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import ndimage

from starcensus.selection.pipeline.phangs import (
    ModelRegions,
    crop_mci_out,
    hit_map,
    hit_regions,
    in_polygon,
    polygon,
    stellar_exclusion,
)

AREAS = {-2.0: 0.8255, -1.7: 0.7272, -1.1: 0.5260, -0.7: 0.3884}
EDGES = {-1.7: (-0.4587, -0.1285), -1.1: (-0.3260, 0.0146), -0.7: (-0.2375, 0.1100)}


def at(*values: float) -> np.ndarray:
    return np.array(values, float)


@pytest.mark.parametrize("bottom", AREAS)
def test_the_polygon_of_table_2_and_its_crops(bottom: float):
    corners = polygon(bottom)
    following = np.roll(corners, -1, axis=0)
    area = (corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum() / 2
    assert abs(area) == pytest.approx(AREAS[bottom], abs=6e-5)
    if bottom in EDGES:
        edge = np.sort(corners[np.isclose(corners[:, 1], bottom), 0])
        np.testing.assert_allclose(edge, EDGES[bottom], atol=6e-5)
    assert in_polygon(at(0.0), at(0.0), bottom)[0]
    assert not in_polygon(at(0.25), at(0.0), bottom)[0]
    assert in_polygon(at(-0.3), at(-1.5), bottom)[0] == (bottom <= -1.7)


def test_points_beside_the_edges_of_the_polygon():
    mci_in = at(0.2122, 0.2124, -0.0826, -0.0828, np.nan)
    assert in_polygon(mci_in, np.zeros(5)).tolist() == [True, False, True, False, False]


def test_membership_is_the_area_by_chance():
    # 100,000 points in a box of 2.6 x 0.85: the share has an error of 0.0015.
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-0.55, 0.30, 100_000), rng.uniform(-2.0, 0.6, 100_000)
    for bottom, area in AREAS.items():
        share = in_polygon(x, y, bottom).mean()
        assert share * 0.85 * 2.6 == pytest.approx(area, abs=0.015)


def test_the_crop_follows_the_distance():
    found = [crop_mci_out(mpc) for mpc in (4.4, 7.9, 8.0, 8.01, 13.99, 14.0, 14.01)]
    assert found == [-2.0, -1.7, -1.7, -1.1, -1.1, -0.7, -0.7]
    assert crop_mci_out(4.4, full_within_mpc=0.0) == -1.7
    with pytest.raises(ValueError, match="distance_mpc is -1"):
        crop_mci_out(-1.0)
    with pytest.raises(ValueError, match="got a bottom of -3"):
        polygon(-3.0)


def blob(per_bin: int) -> tuple[np.ndarray, np.ndarray]:
    """Models in the middle of 5 x 5 bins of 0.02."""
    middle = (np.arange(-2, 3) + 0.5) * 0.02
    points = np.array(list(itertools.product(middle, middle))).repeat(per_bin, axis=0)
    return points[:, 0], points[:, 1]


def test_nine_models_make_a_hit():
    assert not hit_map(*blob(8), 0.02).mask.any()
    assert hit_map(*blob(9), 0.02, openings=0).mask.sum() == 25
    # The opening with a cross takes the corners of a square.
    assert hit_map(*blob(9), 0.02).mask.sum() == 21
    assert hit_map(*blob(9), 0.02, structure="square").mask.sum() == 25


def test_an_opening_removes_a_bin_that_stands_alone():
    one = np.full(50, 0.011)
    assert hit_map(one, one, 0.02, openings=0).mask.sum() == 1
    assert not hit_map(one, one, 0.02).mask.any()


def test_bins_begin_at_multiples_of_their_size():
    region = hit_map(np.full(9, 0.06), np.full(9, -0.07), 0.01, openings=0)
    inside = region.contains(at(0.06, 0.0699, 0.0599, 0.06), at(-0.07, -0.0601, -0.07, -0.0701))
    assert inside.tolist() == [True, True, False, False]


def test_regions_nest():
    rng = np.random.default_rng(1)
    models = rng.normal(0, 0.1, (2, 300_000))
    points = rng.uniform(-0.6, 0.6, (2, 20_000))
    regions = hit_regions(models[0], models[1])
    for fine, coarse in itertools.pairwise(regions.maps):
        inner, outer = fine.contains(*points), coarse.contains(*points)
        assert outer[inner].mean() > 0.99 and outer.sum() > inner.sum()
    union = regions.contains(*points)
    assert (union == np.any([each.contains(*points) for each in regions.maps], axis=0)).all()
    assert not regions.contains(at(np.nan), at(0.0))[0]


def test_regions_are_stored(tmp_path):
    models = np.random.default_rng(1).normal(0, 0.1, (2, 20_000))
    regions = dataclasses.replace(hit_regions(*models), source="normal")
    regions.save(tmp_path / "regions.h5")
    found = ModelRegions.load(tmp_path / "regions.h5")
    assert found.source == "normal" and hit_regions(*models).source == ""
    assert found.describe() == regions.describe()
    points = np.random.default_rng(2).uniform(-0.5, 0.5, (2, 1000))
    np.testing.assert_array_equal(found.contains(*points), regions.contains(*points))
    assert [path.name for path in tmp_path.iterdir()] == ["regions.h5"]


def test_another_file_is_refused(tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.h5", "w"):
        pass
    with pytest.raises(ValueError, match="no file of model regions"):
        ModelRegions.load(tmp_path / "other.h5")


def test_regions_of_version_0_1_are_read(tmp_path):
    import h5py

    mask = np.eye(4, dtype=bool)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["starcensus_kind"], file.attrs["source"] = "starcensus.ModelRegions", "mine"
        data = file.create_dataset("0", data=mask)
        data.attrs["bin_size"], data.attrs["first"] = 0.5, (-1.0, -1.0)
    found = ModelRegions.load(tmp_path / "old.h5")
    assert found.source == "mine" and found.describe()["hits"] == [4]


def test_a_bin_has_a_size():
    with pytest.raises(ValueError, match="bin_size is 0"):
        hit_map(at(0.0), at(0.0), 0.0)


def stars(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal([[0.28], [0.45]], [[0.03], [0.06]], (2, n))


def test_the_region_of_stars_is_one_piece_around_its_peak():
    rng = np.random.default_rng(5)
    field = np.hstack([stars(2000, 3), rng.uniform(-0.5, 0.4, (2, 200))])
    region = stellar_exclusion(*field)
    assert region.n_stars == 2200
    assert region.contains(at(region.peak[0]), at(region.peak[1]))[0]
    assert region.peak == pytest.approx((0.28, 0.45), abs=0.04)
    mask = region.map.mask
    assert ndimage.label(mask)[1] == 1
    assert (ndimage.binary_fill_holes(mask) == mask).all()
    # Half of a Gaussian's points lie where its density is above half of the peak; smoothing by
    # Scott's width adds 8% to the variance.
    assert region.contains(*stars(20_000, 7)).mean() == pytest.approx(0.53, abs=0.05)
    fiducials = rng.normal(0, 1, (2, 2000)) * [[0.05], [0.1]]
    assert region.contains(*fiducials).mean() < 0.01


def test_the_level_and_the_smoothing_shape_the_region():
    field = stars(500, 3)
    sizes = [
        stellar_exclusion(*field, **options).map.mask.sum()
        for options in ({"level": 0.8}, {}, {"smoothing": 2.0}, {"level": 0.2})
    ]
    assert sizes == sorted(sizes)


def test_few_stars_make_no_region():
    with pytest.raises(ValueError, match=r"9 clean stars .* 50 are needed.*Pass `exclusion`"):
        stellar_exclusion(*stars(9, 0))
    with pytest.raises(ValueError, match="0 clean stars"):
        stellar_exclusion(np.full(99, np.nan), np.zeros(99))
