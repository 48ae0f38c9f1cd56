"""Pairs of two catalogues: each object once, within two pixels, in the common field."""

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from starcensus.selection.classes import agreement, cross_match


def crowded(seed: int, n: int, m: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 25, (n, 2)), rng.uniform(0, 25, (m, 2))


@pytest.mark.parametrize(("gap", "n"), [(1.99, 1), (2.0, 1), (2.001, 0)])
def test_matches_are_within_two_pixels(gap: float, n: int):
    # 7.3 + 2.0 - 7.3 is more than 2 in floats.
    match = cross_match(np.array([[7.3, 5.0]]), np.array([[7.3 + gap, 5.0]]))
    assert len(match) == n


def test_pairs_are_those_of_a_search_through_all_distances():
    one, other = crowded(1, 150, 120)
    left = cdist(one, other)
    pairs = {}
    while left.min() <= 2:
        i, j = np.unravel_index(left.argmin(), left.shape)
        pairs[int(i)] = int(j)
        left[i, :] = left[:, j] = np.inf
    match = cross_match(one, other)
    assert dict(zip(match.first.tolist(), match.second.tolist(), strict=True)) == pairs
    assert 50 < len(match) < 120
    np.testing.assert_allclose(match.distance_pix, cdist(one, other)[match.first, match.second])


def test_mutual_nearest_neighbours_are_pairs_and_nothing_free_is_near():
    one, other = crowded(2, 200, 200)
    apart, match = cdist(one, other), cross_match(one, other)
    pairs = set(zip(match.first.tolist(), match.second.tolist(), strict=True))
    nearest, back = apart.argmin(1), apart.argmin(0)
    mutual = {(i, int(j)) for i, j in enumerate(nearest) if back[j] == i and apart[i, int(j)] <= 2}
    assert mutual < pairs
    free = apart[np.setdiff1d(range(200), match.first)][:, np.setdiff1d(range(200), match.second)]
    assert free.min() > 2
    assert len(set(match.first)) == len(set(match.second)) == len(match)


def test_catalogues_exchanged_give_the_same_pairs():
    one, other = crowded(3, 150, 180)
    match, back = cross_match(one, other), cross_match(other, one)
    pairs = set(zip(match.first.tolist(), match.second.tolist(), strict=True))
    assert pairs == set(zip(back.second.tolist(), back.first.tolist(), strict=True))
    assert match.share_of_union == back.share_of_union


def test_what_is_not_matched_enters_no_denominator():
    """The counts 50, 20, 10, 20 of classes 1 and 2, among as many lone objects of each."""
    first = np.repeat([1, 1, 2, 2], [50, 20, 10, 20])
    second = np.repeat([1, 2, 1, 2], [50, 20, 10, 20])
    xy = 10.0 * np.stack([np.arange(100), np.arange(100) % 7], axis=1)
    lone = np.stack([np.arange(40) * 10.0, np.full(40, 500.0)], axis=1)
    match = cross_match(np.concatenate([xy, lone]), np.concatenate([lone + 3.0, xy[::-1] + 0.5]))
    one, other = np.append(first, np.full(40, 1)), np.append(np.full(40, 2), second[::-1])
    pair = agreement(one[match.first], other[match.second])
    assert pair.n == len(match) == 100
    np.testing.assert_allclose(pair.fractions[:2], [0.774, 0.583], atol=5e-4)
    assert pair.clusters == 1.0
    assert match.share_of_union == 100 / 180


def test_only_the_common_field_counts():
    xy = np.stack([np.arange(10) * 10.0, np.zeros(10)], axis=1)
    inside = xy[:, 0] < 70
    match = cross_match(xy, xy[:7] + 0.5, in_field=(inside, np.ones(7, bool)))
    assert (match.n_first, match.n_second, match.share_of_union) == (7, 7, 1.0)
    assert cross_match(xy, xy[:7] + 0.5).share_of_union == 0.7
    # Rows are those of the whole catalogue.
    late = cross_match(xy, xy + 0.5, in_field=(~inside, ~inside))
    assert late.first.tolist() == late.second.tolist() == [7, 8, 9]


def test_empty_catalogues_share_nothing():
    match = cross_match(np.zeros((0, 2)), np.zeros((3, 2)))
    assert len(match) == 0 and match.share_of_union == 0
    assert np.isnan(cross_match(np.zeros((0, 2)), np.zeros((0, 2))).share_of_union)


def test_positions_and_radii_that_are_none_are_refused():
    bad = np.array([[1.0, np.nan], [2.0, 3.0]])
    with pytest.raises(ValueError, match="second_xy holds NaN"):
        cross_match(np.zeros((1, 2)), bad)
    assert len(cross_match(bad, bad, in_field=(np.array([False, True]),) * 2)) == 1
    with pytest.raises(ValueError, match="radius_pix is 0"):
        cross_match(np.zeros((1, 2)), np.zeros((1, 2)), 0.0)
