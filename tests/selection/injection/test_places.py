"""Weights of injections that kept one another out of crowded places."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import kstest

from starcensus.networks import TrainSettings
from starcensus.selection.injection import at_planned_places, place, place_weights
from starcensus.selection.learning import LearningError, LearnSettings, evaluate, learn, pool_weight
from starcensus.selection.learning.facts import facts_of_table
from starcensus.selection.learning.features import Inputs
from starcensus.selection.learning.guards import training_weight


def peak(size: int = 400) -> np.ndarray:
    """A galaxy with most of its clusters in the middle."""
    y, x = np.indices((size, size)) - size / 2
    density = np.exp(-np.hypot(x, y) / 40)
    return density / density.sum()


def placed(
    density: np.ndarray, apart: float, n: int, n_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    each = [
        place(density, np.ones(n), 0.0, apart, np.random.default_rng([1, k]))
        for k in range(n_frames)
    ]
    x, y = (np.concatenate(parts) for parts in zip(*each, strict=True))
    return x, y


def radius(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.hypot(x - 200, y - 200)


def weighted_distance(r: np.ndarray, weight: np.ndarray, truth: np.ndarray) -> float:
    """Largest distance of a weighted ECDF from that of many."""
    order = np.argsort(r)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(np.abs(np.searchsorted(np.sort(truth), r[order]) / len(truth) - share).max())


def test_injections_that_have_room_need_no_weights():
    density = peak()
    assert place_weights(density, *placed(density, 0.0, 60, 60)) is None
    assert place_weights(density, *placed(density, 4.0, 5, 500)) is None


def test_weights_undo_what_distances_do_to_places():
    density = peak()
    x, y = placed(density, 24.0, 60, 60)
    free = radius(*placed(density, 0.0, 20_000, 1))
    assert kstest(radius(x, y), free).statistic > 0.15
    weight = place_weights(density, x, y)
    assert weight is not None and weight.mean() == pytest.approx(1)
    # The middle has too few, the outskirts too many.
    assert weight[radius(x, y) < 20].mean() > 1.5 and weight[radius(x, y) > 150].mean() < 0.7
    # Of 3,600 with these weights the ECDF scatters by 0.02.
    assert weighted_distance(radius(x, y), weight, free) < 0.04


def test_a_part_of_the_injections_lies_where_the_plan_says(made_table):
    density = peak()
    x, y = placed(density, 24.0, 60, 60)
    table = dataclasses.replace(
        made_table(3_600)[0], x=x, y=y, place_weight=place_weights(density, x, y)
    )
    some = at_planned_places(table, 1)
    free = radius(*placed(density, 0.0, 20_000, 1))
    assert 500 < len(some) < 3_000 and some.place_weight is None
    assert kstest(radius(some.x, some.y), free).pvalue > 0.01
    assert kstest(radius(x, y), free).pvalue < 1e-6
    assert at_planned_places(some, 1) is some


def test_weighted_injections_count_as_fewer(made_table):
    table = made_table(4_000)[0]
    assert table.n_effective == 4_000
    halved = dataclasses.replace(table, place_weight=np.repeat([2.0, 1e-9], 2_000))
    assert halved.n_effective == pytest.approx(2_000, rel=1e-6)
    # The error of a weighted share is that of so many.
    rng = np.random.default_rng(1)
    weight = rng.gamma(2.0, 0.5, 4_000)
    shares = [np.average(rng.random(4_000) < 0.3, weights=weight) for _ in range(2_000)]
    n = dataclasses.replace(table, place_weight=weight).n_effective
    assert n < 3_000 and np.var(shares) * n == pytest.approx(0.21, rel=0.15)


def test_learning_takes_the_weights(made_table):
    table = made_table(4_000)[0]
    weight = np.where(table.x < 500, 1.6, 0.4)
    weighted = dataclasses.replace(table, place_weight=weight / weight.mean())
    tables = {"mine": weighted}
    assert pool_weight(table) is None
    np.testing.assert_array_equal(pool_weight(weighted), weighted.place_weight)
    np.testing.assert_array_equal(
        training_weight(tables, weighted, Inputs(), False), weighted.place_weight
    )
    with pytest.raises(LearningError, match="leave weighted out"):
        training_weight(tables, weighted, Inputs(), True)
    chosen = dataclasses.replace(weighted, inclusion=np.linspace(0.2, 1.0, len(table)))
    each = {"mine": chosen}
    # Networks that see the sky need not be told where injections lie.
    assert training_weight(tables, weighted, Inputs(background=True), False) is None
    alone = training_weight(each, chosen, Inputs(background=True), True)
    both = training_weight(each, chosen, Inputs(), True)
    assert alone is not None and both is not None
    np.testing.assert_allclose(alone * np.linspace(0.2, 1.0, len(table)), alone[-1])
    np.testing.assert_allclose(both / alone, both[0] / alone[0] * weight / weight[0])
    dark = dataclasses.replace(
        weighted, background=np.where(table.x < 500, 0.01, 1.0) * table.background
    )
    assert (
        facts_of_table(dark).sky[2]
        < facts_of_table(dataclasses.replace(dark, place_weight=None)).sky[2]
    )


def test_repeats_at_places_that_are_not_the_plan_s_judge_nothing(made_table):
    table = made_table(600, repeats=3)[0]
    learned = learn(
        made_table(600, 9)[0],
        LearnSettings(train=TrainSettings(widths=(8,), n_members=1, epochs=2)),
    )
    crowded = dataclasses.replace(table, place_weight=np.ones(len(table)))
    with pytest.raises(LearningError, match="fewer per frame"):
        evaluate(learned, crowded)


def test_joined_tables_keep_their_weights(made_table):
    from starcensus.selection.injection import InjectionTable

    one, other = made_table(30)[0], made_table(20, 1)[0]
    weighted = dataclasses.replace(one, place_weight=np.full(30, 2.0))
    joined = InjectionTable.concatenate(weighted, other)
    np.testing.assert_array_equal(joined.place_weight, np.repeat([2.0, 1.0], [30, 20]))
