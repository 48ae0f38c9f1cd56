"""Boxes in θ."""

import dataclasses
import math

import numpy as np
import pytest

from starcensus.theta import AXES, AXIS_UNITS, Box

BOX = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))


def test_every_axis_has_a_unit():
    assert set(AXIS_UNITS) == set(AXES)


def test_a_box_is_closed_and_nan_is_outside():
    corners = np.array([[2.0, 6.0, 0.0], [7.0, 10.0, 3.0], [2.0, 10.0, 0.0]])
    assert np.all(BOX.contains(*corners.T))
    for axis in range(3):
        for beyond in (corners[0, axis] - 1e-6, corners[1, axis] + 1e-6, math.nan):
            theta = np.array([4.0, 8.0, 1.0])
            theta[axis] = beyond
            assert not BOX.contains(*theta)
    assert BOX.contains(np.zeros((4, 1)) + 3, 8.0, np.ones((1, 5))).shape == (4, 5)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.inf)])
def test_contradictory_limits_are_refused(axis: str, limits: tuple[float, float]):
    with pytest.raises(ValueError, match=f"limits of {axis}"):
        dataclasses.replace(BOX, **{axis: limits})


@pytest.mark.parametrize(
    ("limits", "advice"),
    [
        ({"log_mass": (1e3, 1e6)}, "if these are M_sun, write 3 to 6"),
        ({"log_age": (1e6, 1e9)}, "if these are yr, write 6 to 9"),
        ({"log_age": (1.0, 500.0)}, "expected log10 yr, between 2 and 12"),
        ({"a_v": (0.0, 300.0)}, "expected mag, between -10 and 100"),
    ],
)
def test_limits_in_other_units_are_refused(limits: dict, advice: str):
    """They made quadratures of 136 GiB."""
    with pytest.raises(ValueError, match=advice):
        dataclasses.replace(BOX, **limits)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("value", [None, 3, [1], [1, 2, 3], "ab"])
def test_a_table_that_is_no_box_is_refused(axis: str, value: object):
    with pytest.raises(ValueError, match=f"bounds.{axis}"):
        Box.from_dict({**BOX.as_dict(), axis: value})


def test_a_box_that_goes_beyond_another_says_where():
    wide = Box((1.0, 7.0), (6.0, 10.5), (0.0, 3.0))
    assert BOX.exceeds(wide) == [] and BOX.exceeds(BOX) == []
    first, second = wide.exceeds(BOX)
    assert "log_mass 1" in first and "M_sun" in first and "log_age" in second
    assert Box.from_dict(BOX.as_dict()) == BOX
