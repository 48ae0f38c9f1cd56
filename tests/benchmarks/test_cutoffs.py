"""Odds of cut-offs: the laws of the mocks, what is counted, and whether odds come true."""

import numpy as np
import pytest
from benchmarks.cutoffs import LIMIT, bench_cutoffs, judge, recorded


def test_catalogues_are_of_their_law():
    """Behind errors a power law stays one; a cut-off leaves nothing far above it."""
    rng = np.random.default_rng(1)
    free = recorded(rng, 20_000, -2.0, None, 0.3).theta[:, 0]
    assert free.min() > LIMIT and len(free) == 20_000
    # Mean excess of an exponential in log mass, with the top far away.
    assert (free - LIMIT).mean() == pytest.approx(1 / np.log(10), rel=0.03)
    cut = recorded(rng, 20_000, -2.0, 5.0, 1e-6).theta[:, 0]
    assert (cut > 5.7).mean() < 1e-3 < 5e-3 < (free > 5.7).mean()


def test_what_is_counted():
    cut_offs = np.array([np.nan] * 100 + [4.7] * 50 + [6.2] * 50)
    right = np.array([0.02] * 95 + [0.97] * 5 + [0.97] * 45 + [0.6] * 5 + [0.3] * 50)
    found = judge(right, cut_offs)
    assert (found["false_alarms"], found["found"], found["missed_for_certain"]) == (5, 45, 0)
    assert found["found_4.5_5"] == "45 of 50" and found["found_6_6.5"] == "0 of 50"
    assert found["stated_0.95_1"] == "45 of 50 true, 48.5 stated"
    # All of 50 that are told to be cut off with 0.3 are.
    assert found["stated_0.2_0.5"] == "50 of 50 true, 15.0 stated" and not found["reliable"]
    share = np.random.default_rng(1).uniform(size=2000)
    true = np.random.default_rng(2).uniform(size=2000) < share
    assert judge(share, np.where(true, 5.2, np.nan))["reliable"]
    assert not judge(share, np.where(true, np.nan, 5.2))["reliable"]


@pytest.mark.slow
def test_odds_with_known_errors_come_true():
    """A false alarm in 20 at most; twice as many as stated would be seen in 200 catalogues."""
    known, ignored = bench_cutoffs(300, 100, 0.3, 3)
    assert known["errors"] == "known" and ignored["errors"] == "ignored"
    assert known["reliable"] and known["false_alarms"] <= 5
