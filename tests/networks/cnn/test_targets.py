"""Targets and their decoding, against closed forms and a brute-force encoder."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from starcensus.networks.cnn.decoding import decode, log_density, marginal, quantiles, softmax
from starcensus.networks.cnn.targets import JOINT, Axis, Grid, make_targets

GRID = Grid()
LONG = Axis(0.0, 20.0, 40, 10)


def sampled(values: np.ndarray, axis: Axis, sigma_bins: float) -> np.ndarray:
    """The other encoding: a Gaussian's density at the centres, divided by its sum."""
    away = (axis.centres - values[:, None]) / axis.width / sigma_bins
    density = np.exp(-0.5 * away**2)
    return density / density.sum(1, keepdims=True)


def test_bins_are_those_of_the_thesis_with_padding():
    assert GRID.heads() == {"joint": 2800, "size": 14, "class": 2, "visibility": 20}
    np.testing.assert_allclose(
        GRID.log_age.edges[[0, 1, -2, -1]], [6.4056, 6.6, 10.1, 10.2944], atol=1e-4
    )
    np.testing.assert_allclose(GRID.a_v.edges, -0.375 + 0.375 * np.arange(11))
    np.testing.assert_allclose(GRID.log_mass.edges[[1, -2]], [3.5, 5.5])
    np.testing.assert_allclose(10 ** GRID.log_visibility.edges[[0, 5, -1]], [0.1, 1, 1000])
    # 0.04 to 0.4 arcsec at 4.5 Mpc.
    arcsec = np.log10(np.array([0.04, 0.4]) * 4.5e6 * np.pi / 648_000)
    np.testing.assert_allclose(GRID.log_r_eff_pc.edges[[1, -2]], arcsec, atol=1e-4)
    assert all(len(axis.edges) == axis.n_bins + 1 for axis in GRID.continuous)


def test_a_target_is_the_integral_of_a_gaussian_over_each_bin():
    axis = Axis(0.0, 10.0, 12)
    for value, sigma in [(4.2, 0.5), (6.9, 0.25), (0.1, 0.5)]:
        found = axis.encode(np.array([value]), sigma)[0]
        law = norm(value, sigma * axis.width).pdf
        inside = [
            quad(law, a, b, points=[value])[0]
            for a, b in zip(axis.edges, axis.edges[1:], strict=False)
        ]
        np.testing.assert_allclose(found, np.array(inside) / np.sum(inside), atol=1e-9)
    centred = axis.encode(axis.centres[5:6], 0.5)[0, 4:7]
    np.testing.assert_allclose(centred, [0.1573, 0.6827, 0.1573], atol=1e-4)


def test_a_cell_has_its_share_of_each_bin():
    """Against as many values as one likes, spread over the cell, and counted."""
    axis, width = Axis(0.0, 3.0, 10), 0.1
    for value in (0.0, 0.4, 1.1, 2.98, 3.3):
        found = axis.encode_cells(np.array([value]), width)[0]
        spread = value + width * ((np.arange(10_000) + 0.5) / 10_000 - 0.5)
        expected = np.histogram(spread, axis.edges)[0] / 10_000
        np.testing.assert_allclose(found, expected, atol=2e-4)
    # No value leaves the bins, and one without a cell has a bin alone.
    assert axis.encode_cells(np.array([9.0]), width)[0, -1] == pytest.approx(1)
    np.testing.assert_array_equal(axis.encode_cells(np.array([0.5]), 0.0)[0], np.eye(10)[2])
    with pytest.raises(ValueError, match="a value to encode is NaN"):
        axis.encode_cells(np.array([np.nan]), width)


def test_targets_of_cells_are_the_bins_of_the_truth():
    rng, n, grid = np.random.default_rng(6), 50, Grid()
    truths = {
        name: rng.uniform(axis.low, axis.high, n)
        for name, axis in zip((*JOINT, "log_r_eff_pc"), grid.continuous, strict=True)
    }
    made = make_targets(grid, np.ones(n, bool), **truths, visibility=np.ones(n), cells={})
    held = [np.digitize(truths[name], getattr(grid, name).edges) - 1 for name in JOINT]
    assert (made["joint"].argmax(1) == np.ravel_multi_index(held, grid.joint_shape)).all()
    assert (made["joint"].max(1) == 1).all() and (made["size"].max(1) == 1).all()
    wide = make_targets(
        grid, np.ones(n, bool), **truths, visibility=np.ones(n), cells={"log_age": 0.05}
    )
    np.testing.assert_allclose(wide["joint"].sum(1), 1, rtol=1e-6)
    shared = (wide["joint"] > 0).sum(1)
    # An age is within 0.025 dex of an edge for a quarter of them.
    assert set(shared.tolist()) == {1, 2} and 0.05 < (shared == 2).mean() < 0.55


def test_the_sampled_encoding_is_the_one_whose_weights_are_printed():
    np.testing.assert_allclose(
        sampled(LONG.centres[9:10], LONG, 0.5)[0, 8:11], [0.106, 0.787, 0.106], atol=1e-3
    )
    np.testing.assert_allclose(
        sampled(LONG.centres[9:10], LONG, 0.25)[0, 8:10], [3.4e-4, 0.99933], atol=1e-5
    )


@pytest.mark.parametrize(
    ("encode", "sigma", "worst"),
    [
        (sampled, 0.25, 0.27),
        (lambda values, axis, sigma: axis.encode(values, sigma), 0.25, 0.09),
        (sampled, 0.5, 0.023),
        (lambda values, axis, sigma: axis.encode(values, sigma), 0.5, 0.0023),
    ],
)
def test_the_mean_of_a_target_is_off_by_a_known_share_of_a_bin(encode, sigma, worst):
    values = np.linspace(5.0, 15.0, 4001)
    found = decode(encode(values, LONG, sigma), (LONG,))[:, 0]
    assert np.abs(found - values).max() / LONG.width == pytest.approx(worst, rel=0.05)


def test_values_of_the_whole_range_come_back_from_all_axes():
    rng = np.random.default_rng(0)
    low, high = (np.array([getattr(a, end) for a in GRID.continuous]) for end in ("low", "high"))
    theta = rng.uniform(low, high, (600, 4))
    names = ("log_age", "a_v", "log_mass", "log_r_eff_pc")
    made = make_targets(
        GRID, np.ones(600, bool), **dict(zip(names, theta.T, strict=True)), visibility=np.ones(600)
    )
    widths = np.array([axis.width for axis in GRID.continuous])
    joint = decode(made["joint"], GRID.joint)
    size = decode(made["size"], (GRID.log_r_eff_pc,))
    off = np.abs(np.concatenate([joint, size], axis=1) - theta) / widths
    # The bound of an axis holds for each; at the end of a range a tail is cut off.
    assert (off[:, :3].max(0) < 0.095).all() and off[:, 3].max() < 0.06
    for axis, name in zip(GRID.joint, names, strict=False):
        alone = marginal(made["joint"], GRID, name)
        np.testing.assert_allclose(alone, axis.encode(theta[:, names.index(name)], 0.25), atol=1e-6)
        np.testing.assert_allclose(alone.sum(1), 1, atol=1e-6)


def test_two_modes_give_one_of_them():
    cube = np.zeros(GRID.joint_shape)
    cube[3, 2, 4], cube[12, 2, 4] = 0.45, 0.55
    (point,) = decode(cube.reshape(1, -1), GRID.joint)
    np.testing.assert_allclose(
        point, [GRID.log_age.centres[12], GRID.a_v.centres[2], GRID.log_mass.centres[4]]
    )
    # Within three bins, both count; the distance is over all axes together.
    cube[...] = 0
    cube[3, 2, 4], cube[5, 2, 5] = 0.5, 0.5
    cube[6, 4, 4] = 0.4
    (point,) = decode(cube.reshape(1, -1), GRID.joint)
    np.testing.assert_allclose(point[0], GRID.log_age.centres[4])
    np.testing.assert_allclose(point[2], GRID.log_mass.edges[5])


def test_backgrounds_have_class_and_visibility_alone():
    nan = np.array([7.0, np.nan])
    made = make_targets(
        GRID, np.array([True, False]), log_age=nan, a_v=nan, log_mass=nan, log_r_eff_pc=nan,
        visibility=np.array([3.0, np.nan]),
    )  # fmt: skip
    np.testing.assert_allclose(made["joint"].sum(1), [1, 0], atol=1e-5)
    np.testing.assert_allclose(made["size"].sum(1), [1, 0], atol=1e-6)
    assert made["class"].tolist() == [[0, 1], [1, 0]]
    np.testing.assert_allclose(made["visibility"].sum(1), 1, atol=1e-6)
    assert made["visibility"].argmax(1).tolist() == [7, 0] and made["visibility"][1, 0] > 0.95
    assert all(values.dtype == np.float32 for n, values in made.items() if n != "is_cluster")


def test_a_batch_of_backgrounds_alone_has_targets():
    none = np.full(3, np.nan)
    made = make_targets(
        GRID, np.zeros(3, bool), log_age=none, a_v=none, log_mass=none, log_r_eff_pc=none,
        visibility=none,
    )  # fmt: skip
    assert made["joint"].shape == (3, 2800) and not made["joint"].any()


def test_a_cluster_without_parameters_is_refused():
    ones, nan = np.ones(1), np.full(1, np.nan)
    rest = {"a_v": ones, "log_mass": ones, "log_r_eff_pc": ones}
    with pytest.raises(ValueError, match="is NaN"):
        make_targets(GRID, np.array([True]), log_age=nan, visibility=ones, **rest)
    with pytest.raises(ValueError, match="negative or NaN"):
        make_targets(GRID, np.array([True]), log_age=ones, visibility=-ones, **rest)


def test_quantiles_are_those_of_a_density_that_is_flat_in_bins():
    axis = Axis(0.0, 4.0, 4, 0)
    probability = np.array([[0.1, 0.4, 0.4, 0.1], [0.0, 1.0, 0.0, 0.0]])
    found = quantiles(probability, axis, (0.0, 0.05, 0.5, 0.9, 1.0))
    np.testing.assert_allclose(found[0], [0, 0.5, 2, 3, 4])
    np.testing.assert_allclose(found[1, 1:4], [1.05, 1.5, 1.9])
    many = axis.encode(np.full(1, 1.7), 0.5)
    draws = np.random.default_rng(0).choice(4, 200_000, p=many[0]) + np.random.default_rng(
        1
    ).random(200_000)
    np.testing.assert_allclose(
        quantiles(many, axis, (0.16, 0.84))[0], np.quantile(draws, (0.16, 0.84)), atol=0.01
    )
    with pytest.raises(ValueError, match="from 0 to 1"):
        quantiles(many, axis, (16.0,))


def test_a_binned_density_is_one_and_can_be_compared():
    rng = np.random.default_rng(0)
    joint, size = rng.dirichlet(np.ones(2800), 1), rng.dirichlet(np.ones(14), 1)
    axes = GRID.continuous
    n = 100_000
    low, high = (np.array([axis.edges[i] for axis in axes]) for i in (0, -1))
    theta = rng.uniform(low, high, (n, 4))
    each = np.broadcast_to(joint, (n, 2800)), np.broadcast_to(size, (n, 14))
    density = np.exp(log_density(*each, theta, GRID))
    assert density.mean() * np.prod(high - low) == pytest.approx(1, abs=0.02)
    at = np.array([[axis.centres[3] for axis in axes]])
    volume = np.prod([axis.width for axis in axes])
    expected = joint.reshape(GRID.joint_shape)[3, 3, 3] * size[0, 3] / volume
    assert log_density(joint, size, at, GRID)[0] == pytest.approx(np.log(expected))
    outside = at + np.array([[0, 0, 100.0, 0]])
    assert log_density(joint, size, outside, GRID)[0] == -np.inf


def test_a_posterior_is_given_in_the_order_of_theta():
    joint = np.random.default_rng(0).dirichlet(np.ones(2800), 2)
    edges, posterior = GRID.theta_posterior(joint)
    assert posterior.shape == (2, 14, 20, 10)
    assert [len(e) for e in edges] == [15, 21, 11]
    assert posterior[1, 6, 5, 4] == joint.reshape(2, 20, 10, 14)[1, 5, 4, 6]


def test_a_softmax_of_large_logits_is_finite():
    found = softmax(np.array([[1e4, 1e4 - np.log(3), -1e4]]))
    np.testing.assert_allclose(found, [[0.75, 0.25, 0]])


def test_a_grid_is_read_from_what_it_says():
    assert Grid.from_dict(GRID.as_dict()) == GRID
    with pytest.raises(TypeError):
        Grid.from_dict({"age": {"low": 0.0, "high": 1.0, "n_bins": 4}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0, 10), "low below high"),
        ((0.0, 1.0, 2), "one bin"),
        ((0.0, 1.0, 5, -1), "one bin"),
    ],
)
def test_an_axis_without_bins_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Axis(*arguments)


def test_numbers_that_are_not_those_of_the_bins_are_refused():
    with pytest.raises(ValueError, match="14 probabilities; expected 20"):
        decode(np.ones((1, 14)), (GRID.log_age,))
    with pytest.raises(ValueError, match="expected one of log_age"):
        marginal(np.ones((1, 2800)), GRID, "size")
