"""What networks say of an object, in sum."""

import statistics

import numpy as np
import pytest

from starcensus.selection.classes import agreed_by_most, ensemble_vote


def test_ten_labels_of_one_object():
    vote = ensemble_vote(np.array([[1, 1, 1, 1, 1, 1, 1, 2, 2, 4]]))
    assert (vote.mode[0], vote.quality[0], vote.mean[0], vote.median[0]) == (1, 0.7, 1.5, 1)
    assert not vote.tied[0]
    assert vote.sd[0] == pytest.approx(np.sqrt((7 * 0.25 + 2 * 0.25 + 6.25) / 10))


def test_columns_are_those_of_the_standard_library():
    votes = np.random.default_rng(1).integers(1, 5, (200, 10))
    vote = ensemble_vote(votes)
    for i, row in enumerate(votes.tolist()):
        best = statistics.multimode(row)
        assert vote.mode[i] == max(best) and vote.tied[i] == (len(best) > 1)
        assert vote.quality[i] == row.count(max(best)) / 10
        assert vote.mean[i] == pytest.approx(statistics.mean(row))
        assert vote.median[i] == statistics.median(row)
        assert vote.sd[i] == pytest.approx(statistics.pstdev(row))
    assert 0 < vote.tied.sum() < 200


def test_ties_go_to_the_higher_class_or_to_the_lower_one():
    votes = np.array([[1, 1, 2, 2], [4, 4, 3, 3], [1, 2, 3, 4]])
    assert ensemble_vote(votes).mode.tolist() == [2, 4, 4]
    lower = ensemble_vote(votes, tie="lower")
    assert lower.mode.tolist() == [1, 3, 1] and lower.tied.all()
    assert lower.quality.tolist() == [0.5, 0.5, 0.25]
    with pytest.raises(Exception, match="tie"):
        ensemble_vote(votes, tie="first")


def test_the_order_of_the_networks_does_not_matter():
    rng = np.random.default_rng(2)
    votes = rng.integers(1, 5, (50, 10))
    one, other = ensemble_vote(votes), ensemble_vote(votes[:, rng.permutation(10)])
    np.testing.assert_array_equal(one.mode, other.mode)


def row(n: int, label: int, other: int) -> list[int]:
    return [label] * n + [other] * (10 - n)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (row(7, 1, 2), row(10, 1, 2), True),
        (row(7, 1, 2), row(6, 1, 2), False),
        (row(6, 1, 2), row(7, 1, 2), False),
        (row(9, 1, 2), row(9, 2, 1), False),
        (row(7, 4, 3), row(7, 4, 1), True),
    ],
)
def test_seven_of_ten_of_both_say_the_same(first: list, second: list, expected: bool):
    assert agreed_by_most(np.array([first]), np.array([second])).tolist() == [expected]


def test_the_subset_is_that_of_a_loop():
    rng = np.random.default_rng(3)
    truth = rng.integers(1, 5, 300)[:, None]
    first, second = (
        np.where(rng.random((300, 10)) < 0.75, truth, rng.integers(1, 5, (300, 10)))
        for _ in range(2)
    )
    expected = [
        any(a.count(c) >= 7 and b.count(c) >= 7 for c in (1, 2, 3, 4))
        for a, b in zip(first.tolist(), second.tolist(), strict=True)
    ]
    assert agreed_by_most(first, second).tolist() == expected and 50 < sum(expected) < 280


@pytest.mark.parametrize("least", [5, 11, 0])
def test_most_is_more_than_half_and_no_more_than_there_are(least: int):
    votes = np.ones((1, 10), int)
    with pytest.raises(ValueError, match=f"least is {least}"):
        agreed_by_most(votes, votes, least)


@pytest.mark.parametrize("votes", [np.array([[1, 0]]), np.array([[5]]), np.zeros((2, 0), int)])
def test_votes_are_classes(votes: np.ndarray):
    with pytest.raises(ValueError, match="votes are classes 1 to 4"):
        ensemble_vote(votes)
