"""Coverage of posteriors: right ones pass at the stated rate, faults fail where they show."""

import json

import numpy as np
import pytest
from scipy import stats

from starcensus.inference.calibration import ecdf_band, rank_ecdf
from starcensus.networks.cnn import Axis, Grid
from starcensus.selection.finder.answers import Binned
from starcensus.selection.finder.cells import PARAMETERS, in_cells
from starcensus.selection.finder.coverage import (
    LEVELS,
    Coverage,
    band_power,
    degeneracy_points,
    judge_coverage,
    least_caught,
    reference_points,
    tarp_ranks,
)

SMALL = Grid(Axis(6.6, 10.1, 8), Axis(0.0, 3.0, 5), Axis(3.5, 5.5, 4), Axis(0.0, 1.0, 6))
FINE = Grid(
    Axis(6.6, 10.1, 24, 2), Axis(0.0, 3.0, 12, 2), Axis(3.5, 5.5, 12, 2), Axis(0.0, 1.0, 12, 2)
)
N, FEW = 1000, 150


def columns(values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(PARAMETERS, values.T, strict=True))


def anything(grid: Grid, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of no shape, some of them narrow."""
    heads = grid.heads()
    joint = rng.dirichlet(np.full(heads["joint"], 0.05), n)
    return joint, rng.dirichlet(np.full(heads["size"], 0.5), n)


def truths_of(
    joint: np.ndarray, size: np.ndarray, grid: Grid, rng: np.random.Generator
) -> np.ndarray:
    """One truth of each posterior, a bin and a place in it."""
    bins = [rng.choice(len(row), p=row / row.sum()) for row in joint]
    at = (
        *np.unravel_index(bins, grid.joint_shape),
        np.array([rng.choice(len(row), p=row / row.sum()) for row in size]),
    )
    each = zip(grid.continuous, at, strict=True)
    return np.stack([axis.edges[k] + axis.width * rng.random(len(k)) for axis, k in each], axis=1)


def gaussians(
    middles: np.ndarray, shift: float = 0.0, width: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors of two bins' width; the fault, in their widths, is in log age alone."""
    said = middles.copy()
    said[:, 0] += shift * 2 * FINE.log_age.width
    age, a_v, mass, size = (
        axis.encode(column, 2.0 * (width if k == 0 else 1.0))
        for k, (axis, column) in enumerate(zip(FINE.continuous, said.T, strict=True))
    )
    return np.einsum("ni,nj,nk->nijk", age, a_v, mass).reshape(len(said), -1), size


@pytest.fixture(scope="module")
def middles() -> np.ndarray:
    rng = np.random.default_rng(1)
    low, high = ([axis.edges[k] for axis in FINE.continuous] for k in (4, -5))
    return rng.uniform(low, high, (N, 4))


@pytest.fixture(scope="module")
def truths(middles: np.ndarray) -> np.ndarray:
    return Binned(*gaussians(middles), FINE).draw(1, np.random.default_rng(2))[:, 0]


def judge(joint: np.ndarray, size: np.ndarray, truths: np.ndarray, **words) -> Coverage:
    return judge_coverage(
        Binned(joint, size, FINE), columns(truths), ecdf_band, seed=3, n_samples=99, **words
    )


def refused(found: Coverage) -> set[str]:
    return {name for name, curve in found.curves.items() if not curve.accepted_among_all}


def test_right_posteriors_are_refused_at_the_stated_rate():
    together, alone = 0, 0
    for seed in range(70):
        rng = np.random.default_rng(seed)
        joint, size = anything(SMALL, FEW, rng)
        true = truths_of(joint, size, SMALL, rng)
        found = judge_coverage(
            Binned(joint, size, SMALL),
            columns(true),
            ecdf_band,
            seed=1000 + seed,
            scalar=joint.max(axis=1),
            n_samples=99,
            false_alarm=0.1,
        )
        together += not found.accepted
        alone += sum(not curve.accepted for curve in found.curves.values())
    # Four standard deviations of 70, and of 490 verdicts that depend on one another a little.
    assert 1 <= together <= 17
    assert 23 <= alone <= 75


def test_right_gaussians_pass(middles: np.ndarray, truths: np.ndarray):
    found = judge(*gaussians(middles), truths, scalar=middles[:, 2])
    assert found.accepted and set(found.curves) == {
        *PARAMETERS,
        "tarp",
        "tarp_degeneracy",
        "tarp_of_data",
    }
    for shares in found.intervals.values():
        assert (np.abs(shares - LEVELS) < 4 * found.interval_errors).all()


@pytest.mark.parametrize("fault", [{"shift": 0.3}, {"width": 0.8}, {"width": 1.25}])
def test_a_bias_or_a_wrong_width_is_refused_in_its_parameter(
    middles: np.ndarray, truths: np.ndarray, fault: dict[str, float]
):
    found = judge(*gaussians(middles, **fault), truths)
    assert not found.accepted
    assert "log_age" in refused(found) and not refused(found) & set(PARAMETERS[1:])


def test_swapped_parameters_are_refused(middles: np.ndarray, truths: np.ndarray):
    joint, size = gaussians(middles)
    swapped = joint.reshape(N, 24, 12, 12).swapaxes(2, 3).reshape(N, -1)
    assert refused(judge(swapped, size, truths)) & {"a_v", "log_mass"} == {"a_v", "log_mass"}


def test_tarp_sees_a_wrong_correlation_that_ranks_do_not_see(middles: np.ndarray):
    """Age and extinction with a correlation of -0.9, and the product of their marginals."""
    rng = np.random.default_rng(4)
    x, y = (
        (axis.centres - column[:, None]) / (2 * axis.width)
        for axis, column in zip(FINE.joint[:2], middles.T[:2], strict=True)
    )
    x, y = x[:, :, None], y[:, None, :]
    plane = np.exp(-(x**2 + 1.8 * x * y + y**2) / (2 * (1 - 0.9**2)))
    plane /= plane.sum(axis=(1, 2), keepdims=True)
    mass, size = (FINE.continuous[k].encode(middles[:, k], 2.0) for k in (2, 3))
    right = np.einsum("nij,nk->nijk", plane, mass).reshape(N, -1)
    product = plane.sum(2)[:, :, None] * plane.sum(1)[:, None, :]
    wrong = np.einsum("nij,nk->nijk", product, mass).reshape(N, -1)
    true = Binned(right, size, FINE).draw(1, rng)[:, 0]
    found, same = judge(wrong, size, true), judge(right, size, true)
    assert same.accepted
    assert refused(found) == {"tarp_degeneracy"}
    for name in PARAMETERS:
        np.testing.assert_allclose(found.curves[name].ecdf, same.curves[name].ecdf, atol=1 / N)
    # From the ends the posterior looks too narrow: the truth is beyond most of it, or nearer.
    curve = found.curves["tarp_degeneracy"]
    assert curve.distance > 1.5 * curve.half_width
    assert curve.ecdf[9] > 0.1 and curve.ecdf[89] < 0.9


def test_a_posterior_that_repeats_the_prior_fails_from_points_of_the_data_alone():
    rng = np.random.default_rng(5)
    heads = FINE.heads()
    prior = rng.dirichlet(np.ones(heads["joint"])), rng.dirichlet(np.ones(heads["size"]))
    joint, size = (np.tile(head, (N, 1)) for head in prior)
    true = Binned(joint, size, FINE).draw(1, rng)[:, 0]
    magnitude = -2.5 * true[:, 2] + true[:, 0] + rng.normal(0, 0.5, N)
    assert refused(judge(joint, size, true, scalar=magnitude)) == {"tarp_of_data"}


def test_shares_below_are_integrals_of_histograms():
    rng = np.random.default_rng(6)
    joint, size = anything(SMALL, 20, rng)
    given = truths_of(joint, size, SMALL, rng)
    given[0], given[1], given[2] = -50.0, 50.0, [axis.edges[3] for axis in SMALL.continuous]
    found = Binned(joint, size, SMALL).below(given)
    for k, (name, axis) in enumerate(zip(PARAMETERS, SMALL.continuous, strict=True)):
        others = tuple(1 + i for i in range(3) if i != k)
        share = size if k == 3 else joint.reshape(-1, *SMALL.joint_shape).sum(axis=others)
        expected = [
            stats.rv_histogram((row, axis.edges), density=False).cdf(value)
            for row, value in zip(share, given[:, k], strict=True)
        ]
        np.testing.assert_allclose(found[name], expected, atol=1e-12)


def test_draws_fill_bins_by_their_probability_and_evenly():
    rng = np.random.default_rng(7)
    joint, size = anything(SMALL, 3, rng)
    drawn = Binned(joint, size, SMALL).draw(40_000, rng)
    for cube, radius, some in zip(joint.reshape(3, *SMALL.joint_shape), size, drawn, strict=True):
        edges = [axis.edges for axis in SMALL.continuous]
        counts = np.histogramdd(some, edges)[0]
        expected = 40_000 * cube[..., None] * radius
        assert counts.sum() == 40_000 and (counts[expected < 1e-9] == 0).all()
        often = expected > 5
        chi2 = ((counts - expected)[often] ** 2 / expected[often]).sum()
        assert stats.chi2.sf(chi2, often.sum()) > 1e-4
        for column, axis in zip(some.T, SMALL.continuous, strict=True):
            place = (column - axis.edges[0]) / axis.width % 1
            assert stats.kstest(place, "uniform").pvalue > 1e-4


def test_tarp_counts_what_is_nearer_in_units_of_the_ranges():
    """A posterior that is flat over the box: the share is a length, or part of a circle."""
    n, m = 40, 4999
    grid = Grid(*(Axis(a.low, a.high, 4, 0) for a in SMALL.continuous))
    heads = grid.heads()
    flat = np.full((n, heads["joint"]), 1 / 64), np.full((n, 4), 0.25)
    rng = np.random.default_rng(8)
    true, points = reference_points(grid, n, rng), reference_points(grid, n, rng)
    low = np.array([axis.low for axis in grid.continuous])
    scale = np.array([axis.high - axis.low for axis in grid.continuous])
    t, p = (true - low) / scale, (points - low) / scale
    for k, name in enumerate(PARAMETERS):
        share = tarp_ranks(Binned(*flat, grid), true, points, m, rng, (name,)) / m
        apart = np.abs(t - p)[:, k]
        length = np.minimum(p[:, k] + apart, 1) - np.maximum(p[:, k] - apart, 0)
        np.testing.assert_allclose(share, length, atol=4 * 0.5 / np.sqrt(m))
    middle = np.tile(low + scale / 2, (n, 1))
    within = middle + (true - middle) / 2
    share = tarp_ranks(Binned(*flat, grid), within, middle, m, rng, ("log_age", "log_mass")) / m
    radius2 = ((t - 0.5)[:, [0, 2]] ** 2 / 4).sum(axis=1)
    np.testing.assert_allclose(share, np.pi * radius2, atol=4 * 0.5 / np.sqrt(m))


def test_points_lie_where_they_should():
    rng = np.random.default_rng(9)
    low = np.array([axis.low for axis in FINE.continuous])
    scale = np.array([axis.high - axis.low for axis in FINE.continuous])
    for values in (reference_points(FINE, 4000, rng) - low).T / scale[:, None]:
        assert stats.kstest(values, "uniform").pvalue > 1e-3
    ends = (degeneracy_points(FINE, 4000, rng) - low) / scale
    young = ends[:, 0] < 0.5
    assert young.mean() == pytest.approx(0.5, abs=0.04)
    assert ends[young, 0].max() <= 0.25 and ends[young, 1].min() >= 0.75
    assert ends[~young, 0].min() >= 0.75 and ends[~young, 1].max() <= 0.25
    assert stats.kstest(ends[:, 2], "uniform").pvalue > 1e-3
    scalar = rng.normal(size=4000)
    of_data = (reference_points(FINE, 4000, rng, scalar) - low) / scale
    rank = (stats.rankdata(scalar) - 0.5) / 4000
    for column, sign in zip(of_data.T, (1, 1, -1, 1), strict=True):
        rest = 2 * column - (rank if sign > 0 else 1 - rank)
        assert stats.kstest(rest, "uniform").pvalue > 1e-3


def test_truths_on_a_lattice_pass_once_they_have_places_in_their_cells():
    """Bins as wide as a step, posteriors of one or two bins: the sharpest that can be right."""
    rng = np.random.default_rng(10)
    grid = Grid(Axis(7.0, 8.0, 22), Axis(0.0, 0.5, 7), Axis(3.5, 5.5, 4), Axis(0.0, 1.0, 4))
    assert grid.log_age.width == pytest.approx(0.05) and grid.a_v.width == pytest.approx(0.1)
    n = N
    cube = np.zeros((n, *grid.joint_shape))
    at = rng.integers(1, 20, n), rng.integers(1, 5, n)
    weight = rng.dirichlet(np.ones(4), (n, 4)).transpose(0, 2, 1) / 4
    for k, (i, j) in enumerate(((0, 0), (1, 0), (0, 1), (1, 1))):
        cube[np.arange(n), at[0] + i, at[1] + j] = weight[:, k]
    joint, size = cube.reshape(n, -1), rng.dirichlet(np.ones(4), n)
    true = Binned(joint, size, grid).draw(1, rng)[:, 0]
    for k, axis in enumerate(grid.continuous[:2]):
        true[:, k] = axis.centres[np.floor((true[:, k] - axis.edges[0]) / axis.width).astype(int)]
    steps = {"log_age": 0.05, "a_v": 0.1}
    lumpy, right = (
        judge_coverage(
            Binned(joint, size, grid),
            columns(true),
            ecdf_band,
            seed=1,
            n_samples=99,
            lattice=lattice,
        )
        for lattice in (None, steps)
    )
    assert refused(lumpy) >= {"log_age", "a_v"} and right.accepted
    moved = in_cells(true, steps, rng)
    assert (moved[:, 2:] == true[:, 2:]).all()
    for k, step in enumerate(steps.values()):
        assert stats.kstest((moved - true)[:, k] / step + 0.5, "uniform").pvalue > 1e-3


def test_curves_are_ecdfs_of_ranks_inside_the_band_of_the_calibration():
    rng = np.random.default_rng(11)
    joint, size = anything(SMALL, FEW, rng)
    true = truths_of(joint, size, SMALL, rng)
    true[:, 1] = np.clip(true[:, 1] + 1.0, 0, 3)
    found = judge_coverage(
        Binned(joint, size, SMALL), columns(true), ecdf_band, seed=1, n_samples=99
    )
    shares = Binned(joint, size, SMALL).below(true)
    ranks = np.stack([np.floor(100 * shares[name]).astype(int) for name in PARAMETERS], axis=1)
    counts = rank_ecdf(np.minimum(ranks, 99), 99)
    low, high = ecdf_band(FEW, 99, 0.05)
    outer = ecdf_band(FEW, 99, 0.05 / 6)
    for k, name in enumerate(PARAMETERS):
        curve = found.curves[name]
        np.testing.assert_allclose(curve.ecdf * FEW, counts[:, k], atol=1e-9)
        inside = (counts[:, k] >= low) & (counts[:, k] <= high)
        assert curve.accepted == inside.all()
        assert (
            curve.accepted_among_all
            == ((counts[:, k] >= outer[0]) & (counts[:, k] <= outer[1])).all()
        )
        apart = counts[:, k] / FEW - np.arange(1, 100) / 100
        assert curve.distance == pytest.approx(np.abs(apart).max())
        assert curve.deviation in (pytest.approx(apart.max()), pytest.approx(apart.min()))
        assert curve.half_width == pytest.approx((high - low).max() / FEW / 2)
        for level, share in zip(LEVELS, found.intervals[name], strict=True):
            between = (shares[name] >= (1 - level) / 2) & (shares[name] <= (1 + level) / 2)
            assert share == pytest.approx(between.mean(), abs=1e-12)
    assert not found.curves["a_v"].accepted
    np.testing.assert_allclose(
        found.interval_errors, stats.binom(FEW, LEVELS).std() / FEW, rtol=1e-12
    )


@pytest.mark.parametrize("fault", [{"bias": 0.25}, {"width": 0.78}, {"width": 1.25}, {}])
def test_the_power_is_the_share_of_simulated_normal_posteriors_that_are_refused(
    fault: dict[str, float],
):
    rng = np.random.default_rng(12)
    z = (rng.normal(size=(FEW, 1000)) - fault.get("bias", 0.0)) / fault.get("width", 1.0)
    ranks = np.minimum((100 * stats.norm.cdf(z)).astype(int), 99)
    low, high = ecdf_band(FEW, 99, 0.05)
    counts = rank_ecdf(ranks, 99)
    expected = ((counts < low[:, None]) | (counts > high[:, None])).any(axis=0).mean()
    assert band_power(FEW, ecdf_band, **fault) == pytest.approx(expected, abs=0.07)
    if not fault:
        assert expected == pytest.approx(0.05, abs=0.025)


def test_faults_of_the_stated_size_are_caught_nine_times_in_ten():
    few, many = least_caught(FEW, ecdf_band), least_caught(N, ecdf_band)
    for n, caught in ((FEW, few), (N, many)):
        for fault in (
            {"bias": caught.bias},
            {"width": caught.too_narrow},
            {"width": caught.too_wide},
        ):
            assert band_power(n, ecdf_band, seed=7, **fault) == pytest.approx(0.9, abs=0.05)
    # With the root of the number of objects.
    assert few.bias / many.bias == pytest.approx(np.sqrt(N / FEW), rel=0.15)
    assert many.too_narrow > 0.87 > few.too_narrow and many.too_wide < 1.15 < few.too_wide
    assert np.isnan(least_caught(2, ecdf_band).too_wide)


def test_the_numbers_go_into_json_and_a_seed_gives_them_again():
    rng = np.random.default_rng(13)
    joint, size = anything(SMALL, FEW, rng)
    true = columns(truths_of(joint, size, SMALL, rng))
    half = joint.astype(np.float32), size.astype(np.float32)
    first, again, other = (
        judge_coverage(Binned(*half, SMALL), true, ecdf_band, seed=seed, n_samples=99).describe()
        for seed in (1, 1, 2)
    )
    assert first == again and first["tarp_distance"] != other["tarp_distance"]
    assert first["a_v_distance"] == other["a_v_distance"]
    made = json.loads(json.dumps(first, allow_nan=False))
    for key in ("accepted", "log_age_band", "tarp_coverage_95", "a_v_interval_68", "caught_bias"):
        assert key in made
    assert all(isinstance(value, int | float) for value in made.values())


def test_what_cannot_be_judged_is_refused():
    rng = np.random.default_rng(14)
    joint, size = anything(SMALL, 5, rng)
    true = columns(truths_of(joint, size, SMALL, rng))

    def judge_small(**words):
        return judge_coverage(Binned(joint, size, SMALL), true, ecdf_band, **({"seed": 1} | words))

    with pytest.raises(ValueError, match="n_samples is 100; expected 99, 199"):
        judge_small(n_samples=100)
    with pytest.raises(ValueError, match=r"false_alarm is 1\.0"):
        judge_small(false_alarm=1.0)
    with pytest.raises(ValueError, match="seed is -1"):
        judge_small(seed=-1)
    with pytest.raises(ValueError, match=r"lattice has 'age' in steps of 0\.05"):
        judge_small(lattice={"age": 0.05})
    with pytest.raises(ValueError, match=r"lattice has 'a_v' in steps of -0\.1"):
        judge_small(lattice={"a_v": -0.1})
    with pytest.raises(ValueError, match="4 of them finite"):
        judge_small(scalar=np.array([1.0, 2.0, np.nan, 3.0, 4.0]))
