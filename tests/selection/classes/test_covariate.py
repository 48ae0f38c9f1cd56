"""Agreement in bins of equal numbers."""

import numpy as np
import pytest

from starcensus.selection.classes import agreement, agreement_by, equal_count_bins


@pytest.mark.parametrize(("n", "n_bins"), [(8, 4), (10, 4), (101, 7), (5, 5), (3, 1)])
def test_numbers_differ_by_one_at_most_and_bins_are_in_order(n: int, n_bins: int):
    values = np.random.default_rng(n).permutation(n) * 0.1
    member = equal_count_bins(values, n_bins)
    counts = np.bincount(member, minlength=n_bins)
    assert counts.sum() == n and counts.max() - counts.min() <= 1 and len(counts) == n_bins
    assert (np.diff(member[np.argsort(values)]) >= 0).all()


def test_equal_values_share_a_bin_whatever_the_order_of_rows():
    values = np.array([0.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0, 4.0])
    order = np.random.default_rng(1).permutation(8)
    member = equal_count_bins(values, 2)
    # The border falls between the two ones.
    assert member.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    np.testing.assert_array_equal(equal_count_bins(values[order], 2), member[order])


@pytest.mark.parametrize(
    ("values", "n_bins", "match"),
    [
        ([0.0, 0.0, 0.0, 1.0], 2, "2 different values leave one of 2 bins empty"),
        ([0.0, np.nan], 1, "NaN"),
        ([0.0, 1.0], 3, "n_bins is 3; expected 1 to 2"),
        ([0.0, 1.0], 0, "n_bins is 0"),
    ],
)
def test_bins_that_cannot_be_are_refused(values: list, n_bins: int, match: str):
    with pytest.raises(ValueError, match=match):
        equal_count_bins(np.array(values), n_bins)


def faint_confusion(n: int = 4000):
    """Class 2 is taken for class 1 ever more often, from 0 at 20 mag to half at 24 mag."""
    rng = np.random.default_rng(5)
    v_mag, first = rng.uniform(20, 24, n), rng.integers(1, 5, n)
    swapped = (first == 2) & (rng.random(n) < (v_mag - 20) / 8)
    return v_mag, first, np.where(swapped, 1, first)


def test_each_bin_has_the_agreement_of_its_objects():
    v_mag, first, second = faint_confusion()
    result = agreement_by(v_mag, first, second)
    assert result.n.tolist() == [1000] * 4
    ranked = np.argsort(v_mag).reshape(4, 1000)
    for i, rows in enumerate(ranked):
        np.testing.assert_array_equal(result.rows[i], agreement(first[rows], second[rows]).row)
        assert result.median[i] == np.median(v_mag[rows])
        assert (result.low[i], result.high[i]) == (v_mag[rows].min(), v_mag[rows].max())


def test_lines_follow_what_was_put_in():
    v_mag, first, second = faint_confusion()
    lines = agreement_by(v_mag, first, second, 8).lines()
    # Of class 2 a share (m - 20)/8 is lost: AF = ½ (1 - share + 1), so that it falls by 1/16 a mag.
    assert lines[1, 0] == pytest.approx(-1 / 16, abs=0.012)
    assert lines[1] @ [22.0, 1.0] == pytest.approx(1 - 2 / 16, abs=0.02)
    np.testing.assert_allclose(lines[[2, 3, 5]], [[0, 1]] * 3, atol=1e-12)


def test_a_class_that_a_bin_lacks_is_left_out_of_its_line():
    v_mag = np.arange(40.0)
    first = np.tile([1, 2, 3, 4], 10)
    second = np.where((v_mag >= 10) & (first == 3), 4, first)
    result = agreement_by(v_mag, first, second)
    assert np.isfinite(result.rows[0, 2]) and np.isnan(result.rows[1:, 2]).all()
    assert np.isnan(result.lines()[2]).all() and np.isfinite(result.lines()[[0, 1, 3, 5]]).all()


def test_other_objects_are_refused():
    with pytest.raises(ValueError, match="lengths 2, 2 and 1"):
        agreement_by(np.array([1.0, 2.0]), [1, 2], [1])
