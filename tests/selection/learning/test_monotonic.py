"""Breaks of the order in which probabilities should go, against closed forms."""

import numpy as np
import pytest
from scipy.special import expit

from starcensus.networks import MLP
from starcensus.selection import Box, NetworkSelection, Nuisance, PhotometricNetwork
from starcensus.selection.learning import monotonic_breaks

BOX = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))


def linear(*slopes: float, at: float) -> MLP:
    return MLP([np.array([slopes])], [np.array([at])])


def hat(n: int, column: int, centre: float) -> MLP:
    """logit = 2 - 2 |x - centre| in one input, but for the rounding of GELU at the top."""
    slopes = np.zeros((2, n))
    slopes[:, column] = [50.0, -50.0]
    return MLP([slopes, np.full((1, 2), -2.0 / 50)], [50.0 * np.array([-centre, centre]),
               np.array([2.0])])  # fmt: skip


def test_an_operator_in_order_has_no_breaks(made_table):
    table, _ = made_table(300)
    radii = Nuisance(("log_r_eff_pc",), np.log10([[2.0], [5.0]]), np.ones(2))
    networks = (linear(3.0, -1.5, -1.0, at=0.0), linear(2.0, -1.5, -0.5, at=1.0))
    assert monotonic_breaks(NetworkSelection(networks, domain=BOX), table) == {
        "fall_with_log_mass": 0.0,
        "rise_with_a_v": 0.0,
    }
    network = linear(-0.4, -1.0, 3.0, at=34.0)
    limits = np.array([[15.0, 29.0]] * 2)
    of_mags = PhotometricNetwork((network,), table.bands, limits, 29.98, nuisance=radii)
    assert monotonic_breaks(of_mags, table) == {"rise_with_magnitudes": 0.0}


@pytest.mark.parametrize(
    ("column", "centre", "name", "ends"),
    [(0, 4.0, "fall_with_log_mass", (2.0, 7.0)), (2, 1.0, "rise_with_a_v", (0.0, 3.0))],
)
def test_a_break_has_the_size_that_it_should_have(made_table, column, centre, name, ends):
    table, _ = made_table(300)
    breaks = monotonic_breaks(NetworkSelection((hat(3, column, centre),), domain=BOX), table)
    top = expit(2.0)
    if name == "fall_with_log_mass":
        expected = top - expit(2 - 2 * (ends[1] - centre))
    else:
        expected = top - expit(2 - 2 * (centre - ends[0]))
    assert breaks[name] == pytest.approx(expected, abs=0.01)
    other = {"fall_with_log_mass", "rise_with_a_v"} - {name}
    assert breaks[other.pop()] == 0


def test_a_break_of_magnitudes(made_table):
    """p has its maximum at V = 22, and brighter clusters come up to it when they get fainter."""
    table, _ = made_table(300)
    limits = np.array([[15.0, 29.0]] * 2)
    operator = PhotometricNetwork((hat(2, 1, 22.0),), table.bands, limits, 29.98)
    v = np.clip(table.true_mags[:, 1], *limits[1])
    start = np.clip(v - 3, 15, 29)
    reached = np.minimum(np.clip(v + 3, 15, 29), 22.0)
    rise = expit(2 - 2 * np.abs(reached - 22)) - expit(2 - 2 * np.abs(start - 22))
    expected = rise[start < 22].max()
    found = monotonic_breaks(operator, table)["rise_with_magnitudes"]
    assert found == pytest.approx(expected, abs=0.02)
