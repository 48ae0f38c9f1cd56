"""Candidates near a brighter one become 4.9."""

import numpy as np
import pytest

from starcensus.selection.classes import four_classes, mark_redundant


def line(*x: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array(x, float), np.zeros(len(x))


@pytest.mark.parametrize(("gap", "label"), [(4.9, "4.9"), (5.0, "4.9"), (5.1, "3")])
def test_the_fainter_of_two_within_five_pixels(gap: float, label: str):
    x, y = line(7.3, 7.3 + gap)
    assert mark_redundant([1, 3], x, y, np.array([21.0, 22.0])).tolist() == ["1", label]
    faint_first = mark_redundant([3, 1], x, y, np.array([22.0, 21.0]))
    assert faint_first.tolist() == [label, "1"]
    assert four_classes(faint_first).tolist() == [4 if label == "4.9" else 3, 1]


def test_what_is_redundant_makes_nothing_redundant():
    x, y = line(0, 4, 8)
    assert mark_redundant([1, 2, 3], x, y, np.array([20.0, 21.0, 22.0])).tolist() == [
        "1",
        "4.9",
        "3",
    ]
    # The middle one is the brightest: both others are near it.
    assert mark_redundant([1, 2, 3], x, y, np.array([21.0, 20.0, 22.0])).tolist() == [
        "4.9",
        "2",
        "4.9",
    ]


def test_a_star_makes_what_is_near_redundant_too():
    x, y = line(0, 3)
    assert mark_redundant(["4.1", 1], x, y, np.array([20.0, 21.0])).tolist() == ["4.1", "4.9"]


def test_what_was_redundant_before_stays_so_and_makes_nothing_redundant():
    x, y = line(0, 3)
    assert mark_redundant(["4.9", 1], x, y, np.array([20.0, 21.0])).tolist() == ["4.9", "1"]


def test_equal_magnitudes_keep_the_first_row():
    x, y = line(0, 3)
    assert mark_redundant([2, 1], x, y, np.array([20.0, 20.0])).tolist() == ["2", "4.9"]


def test_labels_are_those_of_a_loop_from_bright_to_faint():
    rng = np.random.default_rng(1)
    n = 400
    x, y, mag = rng.uniform(0, 80, n), rng.uniform(0, 80, n), rng.uniform(18, 25, n)
    expected = [str(c) for c in rng.integers(1, 5, n)]
    given = list(expected)
    for i in np.argsort(mag):
        if expected[i] == "4.9":
            continue
        for j in range(n):
            if mag[j] > mag[i] and np.hypot(x[i] - x[j], y[i] - y[j]) <= 5:
                expected[j] = "4.9"
    marked = mark_redundant(given, x, y, mag)
    assert marked.tolist() == expected and 100 < (marked == "4.9").sum() < 350
    # Nothing that is left has a neighbour, and a second pass finds nothing.
    assert mark_redundant(marked, x, y, mag).tolist() == expected


def test_other_numbers_and_nan_are_refused():
    with pytest.raises(ValueError, match="lengths 1, 2, 2 and 2"):
        mark_redundant([1], np.zeros(2), np.zeros(2), np.zeros(2))
    with pytest.raises(ValueError, match="NaN"):
        mark_redundant([1], np.zeros(1), np.zeros(1), np.array([np.nan]))
