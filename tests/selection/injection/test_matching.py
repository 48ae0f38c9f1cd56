"""Matching of injections with sources."""

import numpy as np

from starcensus.selection.injection import match_one_to_one


def test_each_source_serves_once_and_the_closest_pair_wins():
    x, y = np.array([0.0, 2.0, 50.0]), np.zeros(3)
    assert match_one_to_one(x, y, np.array([1.2]), np.zeros(1), 3.0).tolist() == [-1, 0, -1]
    found = match_one_to_one(x, y, np.array([1.2, -2.9, 53.1]), np.zeros(3), 3.0)
    assert found.tolist() == [1, 0, -1]


def test_without_sources_nothing_matches():
    assert match_one_to_one(np.zeros(2), np.zeros(2), np.zeros(0), np.zeros(0), 3.0).max() == -1
