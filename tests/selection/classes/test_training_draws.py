"""Draws of classes."""

import numpy as np
import pytest

from starcensus.selection.classes import class_balanced_rows


def test_classes_are_drawn_alike_from_a_set_that_is_not():
    labels = np.repeat([1, 2, 3, 4], [900, 60, 30, 10])
    rows = class_balanced_rows(labels, 40_000, seed=1)
    share = np.bincount(labels[rows], minlength=5)[1:] / 40_000
    # Four standard deviations of a share of a quarter.
    np.testing.assert_allclose(share, 0.25, atol=4 * np.sqrt(0.25 * 0.75 / 40_000))
    # Objects of a class are drawn alike too.
    within = np.bincount(rows[labels[rows] == 4] - 990, minlength=10)
    np.testing.assert_allclose(within / within.sum(), 0.1, atol=0.015)


def test_draws_depend_on_the_seed_alone():
    labels = ["1", "4.10", "4.2", 3]
    one = class_balanced_rows(labels, 50, seed=3)
    np.testing.assert_array_equal(one, class_balanced_rows(labels, 50, seed=3))
    assert (one != class_balanced_rows(labels, 50, seed=4)).any()
    # Kinds of class 4 are one class: a third of the draws, not half.
    many = class_balanced_rows(labels, 9000, seed=5)
    assert np.isin(many, (1, 2)).mean() == pytest.approx(1 / 3, abs=0.02)


def test_nothing_cannot_be_drawn_from():
    with pytest.raises(ValueError, match="no labels"):
        class_balanced_rows([], 3, seed=1)
    with pytest.raises(ValueError, match="seed is -1"):
        class_balanced_rows([1], 3, seed=-1)
