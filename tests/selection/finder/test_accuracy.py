"""Errors of a network's answers: percentiles, nulls, biases, degeneracies, log scores."""

import json

import numpy as np
import pytest
from scipy import stats

from starcensus.networks.cnn import Axis, Grid
from starcensus.selection.finder.accuracy import judge_accuracy, mode_shares
from starcensus.selection.finder.answers import Binned
from starcensus.selection.finder.cells import PARAMETERS

GRID = Grid(Axis(6.6, 10.1, 12), Axis(0.0, 3.0, 8), Axis(3.5, 5.5, 7), Axis(0.0, 1.0, 9))


def columns(values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(PARAMETERS, values.T, strict=True))


def inside(n: int, rng: np.random.Generator) -> np.ndarray:
    """Parameters drawn evenly between the ends of the ranges."""
    return np.stack([rng.uniform(axis.low, axis.high, n) for axis in GRID.continuous], axis=1)


def about(values: np.ndarray, sigma_bins: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors that are Gaussians about values."""
    age, a_v, mass, size = (
        axis.encode(column, sigma_bins)
        for axis, column in zip(GRID.continuous, values.T, strict=True)
    )
    return np.einsum("ni,nj,nk->nijk", age, a_v, mass).reshape(len(values), -1), size


def anything(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of no shape."""
    heads = GRID.heads()
    return rng.dirichlet(np.full(heads["joint"], 0.05), n), rng.dirichlet(np.ones(9), n)


def test_answers_are_those_that_loops_over_all_bins_give():
    rng = np.random.default_rng(1)
    joint, size = anything(6, rng)
    centres = [axis.centres for axis in GRID.continuous]
    mean, near = np.zeros((6, 4)), np.zeros((6, 4))
    for i, (cube, radius) in enumerate(zip(joint.reshape(6, 12, 8, 7), size, strict=True)):
        peak, held = np.unravel_index(cube.argmax(), cube.shape), 0.0
        for at in np.ndindex(cube.shape):
            point = np.array([centres[k][at[k]] for k in range(3)])
            mean[i, :3] += cube[at] * point
            if sum((a - p) ** 2 for a, p in zip(at, peak, strict=True)) <= 9:
                near[i, :3] += cube[at] * point
                held += cube[at]
        near[i, :3] /= held
        mean[i, 3] = radius @ centres[3]
        some = np.abs(np.arange(9) - radius.argmax()) <= 3
        near[i, 3] = radius[some] @ centres[3][some] / radius[some].sum()
    np.testing.assert_allclose(Binned(joint, size, GRID).points("mean"), mean, rtol=1e-12)
    np.testing.assert_allclose(Binned(joint, size, GRID).points("decode"), near, rtol=1e-12)
    ages = Binned(joint, size, GRID).points("median")[:, 0]
    places = np.linspace(*GRID.log_age.edges[[0, -1]], 12_001)[1:]
    for value, row in zip(ages, joint.reshape(6, 12, -1).sum(axis=2), strict=True):
        below = np.repeat(row / 1000, 1000).cumsum()
        assert value == pytest.approx(places[np.searchsorted(below, 0.5)], abs=1e-3)


@pytest.mark.parametrize("point", ["decode", "mean", "median"])
def test_percentiles_and_medians_are_those_of_numpy(point: str):
    rng = np.random.default_rng(2)
    true, (joint, size) = inside(137, rng), anything(137, rng)
    found = judge_accuracy(Binned(joint, size, GRID), columns(true), point=point)
    error = np.abs(Binned(joint, size, GRID).points(point) - true)
    assert found.n == 137 and found.point == point
    for k, name in enumerate(PARAMETERS):
        assert found.p95[name] == pytest.approx(np.percentile(error[:, k], 95), rel=1e-12)
        assert found.median_error[name] == pytest.approx(np.percentile(error[:, k], 50), rel=1e-12)


def test_no_single_answer_beats_the_null():
    """By trying a thousand answers over the whole range."""
    rng = np.random.default_rng(3)
    true = inside(301, rng)
    # Two clumps: the middle of half of them is far from the median.
    true[:, 0] = np.where(rng.random(301) < 0.55, rng.normal(7.0, 0.1, 301), 9.5)
    found = judge_accuracy(Binned(*about(true), GRID), columns(true), point="decode")
    for k, (name, axis) in enumerate(zip(PARAMETERS, GRID.continuous, strict=True)):
        tried = np.linspace(axis.low, axis.high, 1001)
        error = np.abs(true[:, k] - tried[:, None])
        step = (axis.high - axis.low) / 1000
        for level, null in ((95, found.null_p95), (50, found.null_median_error)):
            least = np.percentile(error, level, axis=1).min()
            assert least - step <= null[name] <= least + 1e-2 * (axis.high - axis.low)
        assert found.null_of_median[name] == pytest.approx(
            np.median(np.abs(true[:, k] - np.median(true[:, k])))
        )
    assert found.null_median_error["log_age"] < 0.7 * found.null_of_median["log_age"]


def test_a_bias_is_found_in_its_bin_of_age_with_its_error():
    rng = np.random.default_rng(4)
    true = inside(4000, rng)
    told = true.copy()
    told[:, 0] += rng.normal(0, 0.15, 4000) + np.where(
        (true[:, 0] > 8.5) & (true[:, 0] < 9), -0.3, 0
    )
    found = judge_accuracy(
        Binned(*about(told), GRID),
        columns(true),
        age_edges=(7.0, 7.5, 8.5, 9.0, 12.0),
        point="decode",
    )
    np.testing.assert_array_equal(found.n_in_bin, np.histogram(true[:, 0], found.age_edges)[0])
    bias, error = found.bias["log_age"], found.bias_error["log_age"]
    assert bias[2] == pytest.approx(-0.3, abs=0.05)
    assert (np.abs(np.delete(bias, 2)[:2]) < 4 * np.delete(error, 2)[:2]).all()
    # That of a normal distribution of the errors.
    normal = 1.2533 * 0.15 / np.sqrt(found.n_in_bin)
    np.testing.assert_allclose(error[:3], normal[:3], rtol=0.35)
    # Lattice ages at an edge, off by rounding, are in the bin above.
    lattice = inside(20, rng)
    lattice[:, 0] = 7.5 - 1e-12
    edges = judge_accuracy(
        Binned(*about(lattice), GRID), columns(lattice), age_edges=(7.0, 7.5, 8.0), point="decode"
    )
    assert edges.n_in_bin.tolist() == [0, 20]
    assert np.isnan(edges.bias["a_v"][0]) and np.isfinite(edges.bias["a_v"][1])


def test_errors_of_a_median_are_its_scatter():
    """Over 60 samples of a distribution with long tails."""
    rng = np.random.default_rng(5)
    medians, errors = [], []
    true = np.tile([[7.5, 1.5, 4.5, 0.5]], (60, 1))
    for _ in range(60):
        told = true.copy()
        told[:, 0] += np.clip(0.1 * rng.standard_t(2, 60), -0.8, 0.8)
        found = judge_accuracy(Binned(*about(told), GRID), columns(true), point="mean")
        medians.append(found.young_bias["log_age"])
        errors.append(found.young_bias_error["log_age"])
    assert np.mean(errors) == pytest.approx(np.std(medians), rel=0.3)


def test_errors_along_the_degeneracy_have_the_signs_of_the_thesis():
    """Digest of the thesis, test 22: with extinction negative, with mass positive, size about 0."""
    rng = np.random.default_rng(6)
    true = inside(3000, rng)
    true[:, 0] = rng.uniform(7.4, 9.3, 3000)
    true[:, 1:] = np.array([1.5, 4.5, 0.5]) + 0.1 * rng.normal(size=(3000, 3))
    old = true[:, 0] >= 8
    along = rng.normal(0, np.where(old, 0.3, 0.05))
    noise = rng.normal(0, 0.05, (3000, 4))
    told = true + along[:, None] * np.array([1.0, -0.8, 0.3, 0.0]) + noise
    joint, size = about(told)
    found = judge_accuracy(Binned(joint, size, GRID), columns(true), point="decode")
    error = Binned(joint, size, GRID).points("decode") - true
    assert found.n_old == old.sum()
    for some, held in ((slice(None), found.correlation), (old, found.correlation_old)):
        x = error[some] - error[some].mean(axis=0)
        expected = (x[:, :1] * x[:, 1:]).sum(0) / np.sqrt(
            (x[:, :1] ** 2).sum(0) * (x[:, 1:] ** 2).sum(0)
        )
        np.testing.assert_allclose([held[name] for name in PARAMETERS[1:]], expected, rtol=1e-9)
    for held in (found.correlation, found.correlation_old):
        assert held["a_v"] < -0.8 and held["log_mass"] > 0.6 and abs(held["log_r_eff_pc"]) < 0.1
    assert found.correlation["a_v"] > found.correlation_old["a_v"]


def test_the_log_score_is_that_of_a_density_over_the_bins():
    """Flat posteriors: minus the log of the volume. Gaussians: by SciPy, one after the other."""
    rng = np.random.default_rng(7)
    true = inside(400, rng)
    heads = GRID.heads()
    flat = np.full((400, heads["joint"]), 1 / heads["joint"]), np.full((400, 9), 1 / 9)
    found = judge_accuracy(Binned(*flat, GRID), columns(true), point="decode")
    volume = np.prod([axis.edges[-1] - axis.edges[0] for axis in GRID.continuous])
    assert found.log_score == pytest.approx(-np.log(volume), rel=1e-12)
    assert found.log_score_error == pytest.approx(0, abs=1e-12)
    told = true + 0.1 * (inside(400, rng) - true)
    found = judge_accuracy(Binned(*about(told, 1.0), GRID), columns(true), point="decode")
    score = np.zeros(400)
    for axis, at, value in zip(GRID.continuous, told.T, true.T, strict=True):
        k = np.searchsorted(axis.edges, value)
        below = stats.norm.cdf((axis.edges - at[:, None]) / axis.width)
        share = (below[np.arange(400), k] - below[np.arange(400), k - 1]) / np.ptp(below, axis=1)
        score += np.log(share / (axis.edges[k] - axis.edges[k - 1]))
    assert found.log_score == pytest.approx(score.mean(), rel=1e-9)
    assert found.log_score_error == pytest.approx(np.sqrt(score.var(ddof=1) / 400), rel=1e-9)


def test_a_truth_that_has_no_probability_has_no_error_of_the_score():
    true = np.array([[7.0, 1.0, 4.0, 0.5]] * 12)
    joint, size = about(true)
    size = np.where(size == size.max(axis=1, keepdims=True), 0.0, size)
    size /= size.sum(axis=1, keepdims=True)
    found = judge_accuracy(Binned(joint, size, GRID), columns(true), point="decode")
    assert found.log_score == -np.inf and np.isnan(found.log_score_error)
    made = found.describe()
    assert made["log_score"] is None and made["log_score_error"] is None


def test_modes_are_two_only_where_both_hold_enough_and_a_valley_parts_them():
    axis = Axis(7.0, 9.0, 10, 0)
    far = [0.4, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.4]
    unequal = [0.7, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.2]
    too_small = [0.75, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.15]
    shallow = [0.2, 0.15, 0.15, 0.15, 0.15, 0.2, 0.0, 0.0, 0.0, 0.0]
    deep = [0.25, 0.15, 0.1, 0.1, 0.15, 0.25, 0.0, 0.0, 0.0, 0.0]
    compact = [0.0, 0.0, 0.1, 0.8, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0]
    flat = [0.1] * 10
    for row, bimodal, extended in (
        (far, 1, 0),
        (unequal, 1, 0),
        (too_small, 0, 0),
        (shallow, 0, 1),
        (deep, 1, 0),
        (compact, 0, 0),
        (flat, 0, 1),
    ):
        assert mode_shares(np.array([row]), axis) == (bimodal, extended)
        assert mode_shares(np.array([row[::-1]]), axis) == (bimodal, extended)
    several = np.array([far, compact, flat, compact])
    assert mode_shares(several, axis) == (0.25, 0.25)
    # 0.68 of ten bins of 0.1 dex is shorter than 0.7 dex.
    assert mode_shares(np.array([flat]), Axis(7.0, 8.0, 10, 0)) == (0, 0)


def test_the_numbers_go_into_json_under_the_names_of_the_bench():
    rng = np.random.default_rng(8)
    true = inside(30, rng)
    joint, size = about(true)
    found = judge_accuracy(
        Binned(joint.astype(np.float32), size.astype(np.float32), GRID),
        columns(true),
        point="decode",
    )
    made = json.loads(json.dumps(found.describe(), allow_nan=False))
    assert made["p95_age_dex"] == found.p95["log_age"]
    assert made["p95_a_v_mag"] == found.p95["a_v"]
    assert made["p95_mass_dex"] == found.p95["log_mass"]
    assert made["p95_size_dex"] == found.p95["log_r_eff_pc"]
    assert made["correlation_age_a_v_old"] == found.correlation_old["a_v"]
    # A bin with few objects has no bias.
    assert None in made["bias_age_dex"] and len(made["bias_age_dex"]) == len(made["bias_n"])
    assert all(
        isinstance(value, int | float | str | list) or value is None for value in made.values()
    )


def test_what_is_no_posterior_or_no_truth_is_refused():
    rng = np.random.default_rng(9)
    true = inside(5, rng)
    joint, size = about(true)
    assert Binned(joint, size, GRID).check(columns(true)).tolist() == true.tolist()
    with pytest.raises(ValueError, match="expected probabilities"):
        Binned(np.log(joint + 1e-9), size, GRID).check(columns(true))
    with pytest.raises(ValueError, match="size has 8 bins; the grid has 9"):
        Binned(joint, size[:, :-1], GRID).check(columns(true))
    with pytest.raises(ValueError, match="expected two or more"):
        Binned(joint[:1], size[:1], GRID).check(columns(true[:1]))
    with pytest.raises(ValueError, match="truths lack log_r_eff_pc"):
        Binned(joint, size, GRID).check({k: v for k, v in columns(true).items() if "r_" not in k})
    for wrong in (np.nan, 99.0):
        beyond = true.copy()
        beyond[2, 1] = wrong
        with pytest.raises(ValueError, match="true a_v goes from"):
            Binned(joint, size, GRID).check(columns(beyond))
    with pytest.raises(ValueError, match="point is 'mode'"):
        judge_accuracy(Binned(joint, size, GRID), columns(true), point="mode")
    with pytest.raises(ValueError, match="age_edges"):
        judge_accuracy(
            Binned(joint, size, GRID), columns(true), age_edges=(8.0, 7.0), point="decode"
        )
