"""Placement: the right kernel, the right pixels, room between clusters; no cluster twice."""

import dataclasses
import itertools
import json

import numpy as np
import pydantic
import pytest
from scipy import stats

from starcensus.selection.injection import InjectionPlan
from starcensus.selection.injection.plan import place
from starcensus.simulate.images.frame import BandImage, Frame
from starcensus.simulate.images.white import draw_positions, placement_density

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
        placement_density(point_frame((20, 20), (10, 10)), margin_pix=12)


def test_clusters_go_where_v_has_data_whatever_the_other_bands_lack():
    image = point_frame().images[0]
    bad = np.zeros(image.shape, bool)
    bad[:, 330:] = True
    other = dataclasses.replace(image, band="ACS_F814W", bad=bad)
    both = Frame((other, image), 29.98, 0.0396)
    np.testing.assert_allclose(placement_density(both), placement_density(point_frame()))
    exchanged = Frame(
        (dataclasses.replace(image, band="ACS_F814W"), dataclasses.replace(image, bad=bad)),
        29.98,
        0.0396,
    )
    assert not placement_density(exchanged)[:, 330:].any()
    assert placement_density(exchanged)[:, 329].all()


def test_the_white_light_of_any_filter_is_weighed_as_the_plan_says():
    """Of two filters, one of them new, the one with the smaller factor attracts the clusters."""
    images = []
    for band, at in ((BAND, (250, 200)), ("ACS_F475W", (250, 400))):
        data = np.zeros((501, 601), np.float32)
        data[at] = 1.0
        images.append(BandImage(band, data, 1.0, 25.0))
    frame = Frame(tuple(images), 29.98, 0.0396)

    def share(plan: InjectionPlan) -> float:
        arguments = plan.sigma_pc, plan.margin_pix, plan.scale_factors
        return float(placement_density(frame, *arguments)[:, :300].sum())

    with pytest.raises(ValueError, match="no scale factor for ACS_F475W"):
        share(InjectionPlan(sigma_pc=20.0))
    plan = InjectionPlan(sigma_pc=20.0, scale_factors=({"F555W": 1.0, "F475W": 3.0},))
    assert share(plan) == pytest.approx(0.75, abs=0.01)
    described = json.loads(json.dumps(plan.describe()))
    assert described["scale_factors"] == [{"F555W": 1.0, "F475W": 3.0}]
    assert pydantic.TypeAdapter(InjectionPlan).validate_python(described) == plan


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
    x, y = place(density, radii, 3.0, 0.0, np.random.default_rng(0))
    assert closest(x, y) >= 6.0
    assert closest(*place(density, radii, 0.0, 7.0, np.random.default_rng(0))) >= 7.0
    # Without the rule they do not.
    assert closest(*place(density, radii, 0.0, 0.0, np.random.default_rng(0))) < 6.0


def test_a_full_frame_is_said_to_be_full():
    with pytest.raises(ValueError, match="inject fewer per frame"):
        place(np.ones((20, 20)) / 400, np.full(40, 3.0), 3.0, 0.0, np.random.default_rng(0))


def test_every_row_is_used_once():
    light = np.random.default_rng(0).uniform(0, 1, 1200)
    for radii in (None, (1.0, 2.0, 3.0)):
        for group in ("brightness", "rows"):
            plan = InjectionPlan(
                n_clusters=1000, per_frame=50, start_row=7, group=group, radii_pc=radii
            )
            sets = plan.sets(light, 1e9)
            rows = np.concatenate([rows for rows, _ in sets])
            np.testing.assert_array_equal(np.sort(rows), np.arange(7, 1007))
            assert max(len(rows) for rows, _ in sets) == 50
            assert {radius for _, radius in sets} == set(radii or (None,))


def test_a_frame_has_clusters_of_like_light_and_not_too_much_of_it():
    light = 10 ** np.random.default_rng(1).uniform(-3, 3, 4000)
    plan = InjectionPlan(n_clusters=4000, per_frame=100, max_light=0.2, min_per_frame=5)
    sets = [rows for rows, _ in plan.sets(light, 5000.0)]
    for above, below in itertools.pairwise(sets):
        assert light[above].min() >= light[below].max()
    for rows in sets:
        assert len(rows) <= 5 or light[rows].sum() <= 1000.0
    # Taken as they come, nearly every frame has too much.
    mixed = dataclasses.replace(plan, group="rows").sets(light, 5000.0)
    assert np.mean([light[rows].sum() > 1000.0 for rows, _ in mixed]) > 0.9


def test_frames_have_random_numbers_of_their_own():
    plan = InjectionPlan()
    assert plan.rng(3, 0).random() == plan.rng(3, 0).random()
    assert len({plan.rng(*which).random() for which in ((3, 0), (4, 0), (3, 1))}) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_clusters": 0}, "n_clusters is 0; expected 1 or more"),
        ({"radii_pc": (0.0,)}, "expected parsecs > 0, or None"),
        ({"match_pix": 0.0}, "match_pix is 0.0; expected > 0"),
        ({"max_light": float("nan")}, "max_light is nan"),
        ({"seed": -1}, "seed is -1; expected a whole number from 0"),
        ({"scale_factors": ()}, r"scale_factors is \(\); expected one or more sets"),
        ({"scale_factors": ({"F555W": 1.0}, {})}, "expected one or more sets"),
        ({"scale_factors": ({"F475W": 0.0},)}, "scale_factors of F475W has 0.0; expected more th"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, message: str):
    with pytest.raises(ValueError, match=message):
        InjectionPlan(**changes)
