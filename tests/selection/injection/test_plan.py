"""Placement: the right kernel, the right pixels, room between clusters; no cluster twice."""

import numpy as np
import pytest
from scipy import stats

from starcensus.selection.injection import InjectionPlan
from starcensus.selection.injection.plan import place
from starcensus.simulate.image import BandImage, Frame
from starcensus.simulate.white import draw_positions, placement_density

BAND = "ACS_F555W"


def point_frame(shape=(501, 601), at=(250, 300), bad=None) -> Frame:
    data = np.zeros(shape, np.float32)
    data[at] = 1.0
    return Frame((BandImage(BAND, data, 1.0, 25.0, bad=bad),), 29.98, 0.0396)


def kernel_pix(density: np.ndarray) -> float:
    """Standard deviation of a density along x, pixels."""
    x = np.arange(density.shape[1])
    weight = density.sum(0)
    return float(np.sqrt((weight * (x - 300.0) ** 2).sum()))


def test_120_pc_are_63_pixels_at_nine_point_nine_mpc():
    # Four standard deviations to either side of the point are inside.
    assert kernel_pix(placement_density(point_frame())) == pytest.approx(63.1, rel=0.02)


def test_a_kernel_in_the_wrong_unit_would_be_seen():
    # The published code had 0.17 pixels for 120 pc.
    broken = placement_density(point_frame(), sigma_pc=120.0 / 360)
    assert kernel_pix(broken) < 1


def test_borders_and_bad_pixels_are_kept_clear_of():
    bad = np.zeros((501, 601), bool)
    bad[250, 330] = True
    density = placement_density(point_frame(bad=bad), margin_pix=12)
    assert density.sum() == pytest.approx(1)
    assert not density[:12].any() and not density[:, -12:].any()
    assert not density[250, 318:343].any() and density[250, 317] > 0
    with pytest.raises(ValueError, match="no pixel of the frame"):
        placement_density(point_frame((20, 20), (10, 10)))


def positions_follow(density: np.ndarray, x: np.ndarray, y: np.ndarray) -> bool:
    """Whether positions are draws of a density; a false no once in 10,000."""
    expected = density[density > 0] * len(x)
    row, col = np.rint(y).astype(int), np.rint(x).astype(int)
    found = np.zeros(density.shape)
    np.add.at(found, (row, col), 1)
    outside = found[density == 0].sum()
    return outside == 0 and stats.chisquare(found[density > 0], expected).pvalue > 1e-4


def test_positions_are_drawn_in_the_right_pixels():
    density = np.zeros((6, 9))
    density[1, 7], density[4, 2], density[0, 8] = 0.5, 0.3, 0.2
    x, y = draw_positions(density, 5000, np.random.default_rng(0))
    assert positions_follow(density, x, y)
    # Uniform within pixels; and columns taken for rows would be seen.
    assert stats.kstest(np.mod(x + 0.5, 1), "uniform").pvalue > 1e-4
    assert not positions_follow(density, np.minimum(y, 8), np.minimum(x, 5))


def closest(x: np.ndarray, y: np.ndarray) -> float:
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    return float(distance[np.triu_indices(len(x), 1)].min())


def test_clusters_keep_three_half_light_radii_apart():
    density = np.ones((60, 80)) / 4800
    radii = np.full(40, 2.0)
    x, y = place(density, radii, 3.0, np.random.default_rng(0))
    assert closest(x, y) >= 6.0
    # Without the rule they do not.
    assert closest(*place(density, radii, 0.0, np.random.default_rng(0))) < 6.0


def test_a_full_frame_is_said_to_be_full():
    with pytest.raises(ValueError, match="inject fewer per frame"):
        place(np.ones((20, 20)) / 400, np.full(40, 3.0), 3.0, np.random.default_rng(0))


def test_no_row_is_used_twice_and_repeats_use_the_same():
    plan = InjectionPlan(n_sets=20, per_frame=50, repeats=2, start_row=7)
    rows = np.concatenate([plan.rows(frame) for frame in range(20)])
    np.testing.assert_array_equal(rows, np.arange(7, 1007))
    np.testing.assert_array_equal(plan.rows(23), plan.rows(3))
    assert plan.repeat(23) == 1 and plan.radius_pc(23) == plan.radius_pc(3) == 4.0
    assert {plan.radius_pc(frame) for frame in range(10)} == set(range(1, 11))
    one, other = plan.rng(3, 0).random(), plan.rng(23, 0).random()
    assert one != other and one == plan.rng(3, 0).random()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_sets": 0}, "n_sets is 0; expected 1 or more"),
        ({"radii_pc": (0.0,)}, "expected parsecs > 0, or None"),
        ({"match_pix": 0.0}, "sigma_pc and match_pix are positive"),
        ({"seed": -1}, "seed and margin_pix are >= 0"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, message: str):
    with pytest.raises(ValueError, match=message):
        InjectionPlan(**changes)
