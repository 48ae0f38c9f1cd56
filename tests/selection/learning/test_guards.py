"""What may not be learned from, and what an operator may not be judged by."""

import dataclasses

import numpy as np
import pytest

from starcensus.networks import TrainSettings
from starcensus.selection import (
    NetworkSelection,
    load_selection,
    save_selection,
    selection_provenance,
)
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import (
    Inputs,
    LearningError,
    LearnSettings,
    evaluate,
    learn,
    row_marks,
)

QUICK = TrainSettings((8,), n_members=1, epochs=1, batch_size=256)
RADIUS = {"kind": "physical", "r_eff": True, "background": False, "masked": False}


@pytest.fixture(scope="module")
def tables(made_table) -> dict[str, InjectionTable]:
    return {name: made_table(3000, seed)[0] for seed, name in enumerate(("one", "two"))}


@pytest.fixture(scope="module")
def other(made_table) -> InjectionTable:
    return made_table(2000, 7)[0]


@pytest.fixture(scope="module")
def learned(tables):
    return learn(tables, LearnSettings(Inputs(r_eff=True), QUICK))


@pytest.mark.parametrize("names", [("one", "two"), ("two", "one"), ("two",), ("other", "one")])
def test_it_is_not_judged_by_what_it_was_trained_on(learned, tables, other, tmp_path, names):
    """By none of its tables, in whatever order or company, in memory or from a file."""
    learned.save(tmp_path / "operator.h5")
    given = {name: {**tables, "other": other}[name] for name in names}
    for operator in (learned, tmp_path / "operator.h5"):
        with pytest.raises(LearningError, match=rf"was trained on .*{names[-1]}, or on a part"):
            evaluate(operator, given)


def test_it_is_not_judged_by_a_part_of_what_it_was_trained_on(learned, tables, other):
    """Any rows of its tables, in any order and company, and a table that had been joined before."""
    whole = InjectionTable.concatenate(*tables.values())
    some = tables["two"].take(np.random.default_rng(3).permutation(3000)[:300])
    joined_before = learn(whole, LearnSettings(Inputs(r_eff=True), QUICK))
    for operator, table in (
        (learned, some),
        (learned, InjectionTable.concatenate(other, some)),
        (learned, whole),
        (joined_before, tables["one"]),
    ):
        with pytest.raises(LearningError, match="trained on the table, or on a part of it"):
            evaluate(operator, table)
    assert evaluate(learned, other).log_loss > 0


def test_the_same_clusters_elsewhere_are_other_injections(tables):
    one = tables["one"]
    marks = row_marks(one)
    assert len(np.unique(marks)) == 3000
    for change in ({"x": one.x + 0.5}, {"y": one.y[::-1]}, {"a_v": one.a_v + 1e-9}):
        assert not np.isin(marks, row_marks(dataclasses.replace(one, **change))).any()


def test_an_operator_without_a_list_of_its_tables_knows_them_joined(learned, tables, tmp_path):
    learned.save(tmp_path / "operator.h5")
    facts = selection_provenance(tmp_path / "operator.h5")
    assert len(facts.pop("rows").split()) == 256 and len(facts.pop("tables_sha256")) == 2
    save_selection(load_selection(tmp_path / "operator.h5"), tmp_path / "old.h5", facts)
    with pytest.raises(LearningError, match="was trained on these tables"):
        evaluate(tmp_path / "old.h5", tables)


def test_a_choice_by_what_networks_do_not_take_has_to_be_undone(made_table, p_of):
    """Clusters of uncertain outcome were chosen, radius included; the networks take no radius."""
    pool = made_table(30_000, 3)[0]
    p = p_of(pool.log_mass, pool.log_age, pool.a_v, pool.r_eff_pc)
    # Small clusters only, where they can be catalogued: these are easily lost.
    inclusion = np.where(pool.r_eff_pc < 3.5, 0.8, 0.1) * np.where(p * (1 - p) > 0.02, 1.0, 0.3)
    kept = np.random.default_rng(2).random(len(pool)) < inclusion
    meta = {**pool.meta, "choice": {"inputs": RADIUS}}
    table = dataclasses.replace(pool, inclusion=inclusion, meta=meta).take(kept)
    settings = LearnSettings(Inputs(), TrainSettings((32, 32), 2, 30, 512))
    with pytest.raises(LearningError, match=r"pilot of mass, age and A_V and r_eff.* weighted"):
        learn(table, settings)
    mass = np.linspace(3, 6, 13)
    radii = np.unique(pool.r_eff_pc)
    expected = np.mean([p_of(mass, 8.0, 1.0, r) for r in radii], axis=0)

    def miss(table: InjectionTable, settings: LearnSettings) -> float:
        made = learn(table, settings)
        assert isinstance(made.operator, NetworkSelection)
        assert made.weight is None or made.reliability().p_value > 1e-3
        found = made.operator.p_sel(mass, np.full(13, 8.0), np.full(13, 1.0))
        return float(np.abs(np.asarray(found) - expected).max())

    weighted = miss(table, dataclasses.replace(settings, weighted=True))
    # The choice kept from the table, the networks learn it.
    silent = dataclasses.replace(table, inclusion=None, meta=pool.meta)
    assert weighted < 0.1 < miss(silent, settings)


def test_a_choice_is_not_lost_in_a_table_that_was_joined(made_table):
    uniform, more = (made_table(600, seed)[0] for seed in (8, 9))
    chosen = dataclasses.replace(more, inclusion=np.full(600, 0.5))
    known = dataclasses.replace(chosen, meta={**more.meta, "choice": {"inputs": RADIUS}})
    without, taken = (LearnSettings(Inputs(r_eff=r_eff), QUICK) for r_eff in (False, True))

    def joined(table: InjectionTable) -> dict[str, InjectionTable]:
        return {"joined": InjectionTable.concatenate(uniform, table)}

    with pytest.raises(LearningError, match="joined: its clusters were chosen by a pilot"):
        learn(joined(known), without)
    # Where the choice is not known, it is not known whether these inputs are the pilot's.
    for settings in (without, taken):
        with pytest.raises(LearningError, match=r"joined: .* \(column inclusion\), and its meta"):
            learn(joined(chosen), settings)
    learn(joined(known), taken)
    learn(joined(chosen), dataclasses.replace(without, weighted=True))
    with pytest.raises(LearningError, match="no table has the column inclusion"):
        learn(uniform, dataclasses.replace(without, weighted=True))


def test_few_injections_are_refused_before_training(made_table):
    settings = LearnSettings(Inputs(), QUICK)
    with pytest.raises(LearningError, match=r"validation = 0\.2 holds out 40 of 200 injections"):
        learn(made_table(200)[0], settings)
    with pytest.raises(LearningError, match="no injection table"):
        learn({}, settings)
    # Enough rows, and none of the bins has enough of them.
    made = learn(made_table(400)[0], settings)
    spread = dataclasses.replace(made, p=np.linspace(0.001, 0.999, len(made.p)))
    with pytest.raises(ValueError, match="80 rows are too few for a check"):
        spread.summary()
