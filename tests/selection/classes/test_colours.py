"""Boxes of colours, and limits in magnitude."""

import numpy as np
import pytest
from tests.selection.classes.whitmore2021 import CUTOFF_MAG, DISTANCE_MPC, GALAXIES

from starcensus.selection.classes import (
    BOX_3_LOW_TABLE,
    ColourBox,
    absolute_limit,
    apparent_limit,
    box_counts,
    colour_boxes,
    common_limit,
    distance_modulus,
    which_box,
)


def box_of(v_i: float, u_b: float, **options) -> int:
    return int(which_box(np.array([v_i]), np.array([u_b]), colour_boxes(**options))[0])


@pytest.mark.parametrize(
    ("v_i", "u_b", "number"),
    [(1.1, 0.2, 1), (0.5, 0.0, 2), (0.5, -0.7, 3), (0.0, -1.5, 4), (0.0, -0.7, 0)],
)
def test_each_box_holds_its_colours(v_i: float, u_b: float, number: int):
    assert box_of(v_i, u_b) == number


def test_box_3_reaches_to_0_1_in_the_table_only():
    assert box_of(0.15, -0.7) == 0
    assert box_of(0.15, -0.7, box_3_low=BOX_3_LOW_TABLE) == 3
    assert box_of(0.15, 0.0, box_3_low=BOX_3_LOW_TABLE) == 0


@pytest.mark.parametrize(
    ("v_i", "u_b", "number"),
    [
        (0.95, 0.0, 1),  # the border of boxes 1 and 2
        (0.5, -0.4, 2),  # of 2 and 3
        (0.5, -1.1, 3),  # of 3 and 4
        (-0.6, -1.8, 4),  # lower edges are inside
        (0.2, 0.0, 2),
        (0.5, 1.0, 0),  # upper edges are not
        (1.5, 0.0, 0),
        (0.95, -0.7, 0),
        (np.nan, 0.0, 0),
        (0.5, np.nan, 0),
    ],
)
def test_a_box_holds_its_lower_edges_and_not_its_upper_ones(v_i: float, u_b: float, number: int):
    assert box_of(v_i, u_b) == number


def test_counts_are_those_of_a_loop():
    rng = np.random.default_rng(1)
    v_i, u_b = rng.uniform(-1, 2, 500), rng.uniform(-2, 1.2, 500)
    labels = rng.integers(1, 5, 500)
    counts = box_counts(v_i, u_b, labels)
    for c in range(1, 5):
        for b, box in enumerate(colour_boxes()):
            inside = [
                box.v_i[0] <= x < box.v_i[1] and box.u_b[0] <= y < box.u_b[1] and label == c
                for x, y, label in zip(v_i, u_b, labels, strict=True)
            ]
            assert counts[c - 1, b] == sum(inside) > 0
    # Boxes do not tile the plane.
    assert counts.sum() < 500
    np.testing.assert_array_equal(
        box_counts(v_i, u_b, np.where(labels == 2, 1, labels))[0], counts[:2].sum(0)
    )


def test_boxes_of_ones_own_must_not_overlap():
    wide = ColourBox("wide", (0.0, 2.0), (-1.0, 0.0))
    with pytest.raises(ValueError, match="'wide' and 'old' overlap"):
        which_box(np.zeros(1), np.zeros(1), [wide, colour_boxes()[0]])
    touching = [wide, ColourBox("above", (0.0, 2.0), (0.0, 1.0))]
    assert which_box(np.array([1.0]), np.array([0.0]), touching).tolist() == [2]
    counts = box_counts(np.array([1.0]), np.array([-0.5]), ["4.10"], touching)
    assert counts.tolist() == [[0, 0], [0, 0], [0, 0], [1, 0]]


@pytest.mark.parametrize("edges", [(1.0, 1.0), (2.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_a_box_has_an_extent(edges: tuple[float, float]):
    with pytest.raises(ValueError, match="u_b of the box 'mine'"):
        ColourBox("mine", (0.0, 1.0), edges)


def test_there_is_a_label_for_each_object():
    with pytest.raises(ValueError, match="1 labels of 2 objects"):
        box_counts(np.zeros(2), np.zeros(2), [1])


def test_limits_of_the_paper():
    assert round(apparent_limit(-7.8, 17.7), 2) == 23.44
    assert round(apparent_limit(-7.8, 11.3), 2) == 22.47
    assert round(absolute_limit(23.5, 9.8), 2) == -6.46
    moduli = [round(distance_modulus(each), 3) for each in DISTANCE_MPC.tolist()]
    assert moduli == [29.956, 31.348, 31.240, 30.000, 30.265]


def test_ngc_3627_sets_the_common_limit():
    each = [
        absolute_limit(m, d)
        for m, d in zip(CUTOFF_MAG.tolist(), DISTANCE_MPC.tolist(), strict=True)
    ]
    limit = common_limit(CUTOFF_MAG, DISTANCE_MPC)
    assert GALAXIES[int(np.argmin(each))] == "3627" and round(limit, 1) == -7.8
    with pytest.raises(ValueError, match="no galaxy"):
        common_limit(np.zeros(0), np.zeros(0))


@pytest.mark.parametrize("distance", [0.0, -1.0, np.nan, np.inf])
def test_a_distance_is_above_0(distance: float):
    with pytest.raises(ValueError, match="distance_mpc"):
        distance_modulus(distance)
