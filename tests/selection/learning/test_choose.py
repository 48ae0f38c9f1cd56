"""Choosing clusters from a notebook: what comes back, and what is refused."""

import dataclasses

import numpy as np
import pytest

from starcensus.networks import MLP
from starcensus.selection import PhotometricNetwork
from starcensus.selection.learning import ChoiceSettings, LearningError, choose_clusters
from starcensus.simulate import ClusterLibrary

N = 4000


def pilot(n_members: int = 2) -> PhotometricNetwork:
    networks = [MLP([np.array([[-2.0]])], [np.array([46.0 + k])]) for k in range(n_members)]
    limits = np.array([[18.0, 32.0]])
    return PhotometricNetwork(tuple(networks), ("ACS_F555W",), limits, 29.98)


@pytest.fixture(scope="module")
def pool() -> ClusterLibrary:
    rng = np.random.default_rng(0)
    theta = rng.uniform(2, 7, N), rng.uniform(6, 10, N), rng.uniform(0, 3, N)
    mags = (2.0 - 2.5 * theta[0] + theta[2])[:, None]
    seed = rng.integers(0, 2**64, N, dtype=np.uint64)
    return ClusterLibrary(*theta, ("ACS_F555W",), mags, np.zeros(N), seed=seed)


def test_rounds_leave_out_what_was_chosen(pool):
    settings = ChoiceSettings(300, start_row=500)
    one = choose_clusters(pilot(), pool, settings)
    two = choose_clusters(pilot(), pool, settings, {"one": one.library})
    seeds = np.concatenate([each.library.column("seed") for each in (one, two)])
    assert len(np.unique(seeds)) == len(seeds) and np.isin(seeds, pool.column("seed")[500:]).all()
    assert two.n_excluded == len(one.library) == one.summary()["n_chosen"]
    choice = two.library.meta["choice"]
    assert choice["n_candidates"] == N - 500 - len(one.library) == len(two.p)
    assert choice["inputs"]["kind"] == "photometric" and choice["start_row"] == 500
    # Clusters in the open are chosen, and counted.
    summary = one.summary()
    assert summary["chosen.open_share"] > 2 * summary["candidates.open_share"]


def test_what_cannot_be_chosen_from(pool):
    settings = ChoiceSettings(300)
    chosen = choose_clusters(pilot(), pool, settings).library
    nameless = dataclasses.replace(pool, seed=None)
    strange = dataclasses.replace(pool, seed=pool.column("seed") + np.uint64(1))
    for arguments, message in (
        ((pilot(1), pool, settings), "the pilot: holds 1 network"),
        ((pilot(), chosen, settings), "its clusters were chosen already"),
        ((pilot(), pool, ChoiceSettings(N + 1)), f"{N} of the pool's {N} clusters may be"),
        ((pilot(), nameless, settings, {"one": chosen}), "the pool: has no column seed"),
        ((pilot(), pool, settings, {"one": nameless}), "one: has no column seed"),
        ((pilot(), pool, settings, {"one": strange}), "one: has no cluster of the pool"),
    ):
        with pytest.raises(LearningError, match=message):
            choose_clusters(*arguments)
    for wrong in ({"n": 0}, {"seed": -1}, {"start_row": -1}, {"uniform": 0.0}, {"uniform": 1.5}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ChoiceSettings(**{"n": 1, **wrong})
