"""`selection train`, `selection evaluate`, `detect --truth`, `bench design`."""

import dataclasses
import importlib
import itertools
import json
import pathlib

import numpy as np
import pytest
from benchmarks import design
from tests.helpers import run

from starcensus.experiments.jobs import learn as learning
from starcensus.experiments.schema.fit import ConfigError
from starcensus.networks import TrainSettings
from starcensus.selection import (
    NetworkSelection,
    load_selection,
    save_selection,
    selection_provenance,
)
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import Inputs, LearnSettings, learn, predict

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
LEARNING = """
title = "made"
tables = ["tables/one.h5", "tables/two.h5"]
[inputs]
r_eff = true
[train]
widths = [32, 32]
n_members = 2
epochs = 30
batch_size = 512
[radius]
kind = "flat"
low = 2
high = 5
whole = true
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory, made_table) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("learning")
    (folder / "tables").mkdir()
    for seed, name in enumerate(("one", "two")):
        made_table(6000, seed)[0].save(folder / "tables" / f"{name}.h5")
    made_table(1200, 7, repeats=20)[0].save(folder / "tables" / "test.h5")
    (folder / "learn.toml").write_text(LEARNING)
    with pytest.MonkeyPatch.context() as patch:
        files = str(folder / "learn.toml"), "--out", str(folder / "out" / "operator.h5")
        assert run(patch, "selection", "train", *files) == 0
    return folder


def test_an_operator_with_its_summary_and_provenance(project, p_of):
    operator = load_selection(project / "out" / "operator.h5")
    assert isinstance(operator, NetworkSelection) and operator.n_members == 2
    mass = np.linspace(3, 6, 13)
    expected = np.mean([p_of(mass, 8.0, 1.0, r) for r in (2, 3, 4, 5)], axis=0)
    found = np.asarray(operator.p_sel(mass, np.full(13, 8.0), np.full(13, 1.0)))
    assert np.abs(found - expected).max() < 0.08
    summary = json.loads((project / "out" / "operator.summary.json").read_text())
    assert summary["n_injections"] == 12_000 and summary["held_out.reliability_p_value"] > 1e-3
    facts = selection_provenance(project / "out" / "operator.h5")
    tables = [InjectionTable.load(project / "tables" / f"{name}.h5") for name in ("one", "two")]
    assert facts["injection_table_sha256"] == InjectionTable.concatenate(*tables).sha256()
    assert set(facts["inputs"]) == {"one.h5", "two.h5"} and facts["title"] == "made"


def test_a_choice_by_what_networks_do_not_take_has_to_be_undone(
    project, made_table, p_of, monkeypatch, capsys
):
    """Clusters of uncertain outcome were chosen, radius included; the networks take no radius."""
    pool = made_table(30_000, 3)[0]
    p = p_of(pool.log_mass, pool.log_age, pool.a_v, pool.r_eff_pc)
    # Small clusters only, where they can be catalogued: these are easily lost.
    inclusion = np.where(pool.r_eff_pc < 3.5, 0.8, 0.1) * np.where(p * (1 - p) > 0.02, 1.0, 0.3)
    kept = np.random.default_rng(2).random(len(pool)) < inclusion
    asked = {"kind": "physical", "r_eff": True, "background": False, "masked": False}
    meta = {**pool.meta, "choice": {"inputs": asked}}
    table = dataclasses.replace(pool, inclusion=inclusion, meta=meta).take(kept)
    table.save(project / "tables" / "chosen.h5")
    text = LEARNING[: LEARNING.index("[radius]")].replace("r_eff = true", "r_eff = false")
    text = text.replace('"tables/one.h5", "tables/two.h5"', '"tables/chosen.h5"')
    (project / "chosen.toml").write_text(text)
    files = str(project / "chosen.toml"), "--out", str(project / "chosen_net.h5")
    assert run(monkeypatch, "selection", "train", *files) == 2
    said = capsys.readouterr().err
    assert "chosen by a pilot of mass, age and A_V and r_eff" in said and "weighted" in said
    (project / "chosen.toml").write_text("weighted = true\n" + text)
    assert run(monkeypatch, "selection", "train", *files) == 0
    mass = np.linspace(3, 6, 13)
    radii = np.unique(pool.r_eff_pc)
    expected = np.mean([p_of(mass, 8.0, 1.0, r) for r in radii], axis=0)
    at = mass, np.full(13, 8.0), np.full(13, 1.0)
    weighted = np.abs(np.asarray(load_selection(project / "chosen_net.h5").p_sel(*at)) - expected)
    settings = LearnSettings(Inputs(), TrainSettings((32, 32), 2, 30, 512))
    plain = np.abs(np.asarray(learn(table, settings).operator.p_sel(*at)) - expected)
    assert weighted.max() < 0.1 < plain.max()
    summary = json.loads((project / "chosen_net.summary.json").read_text())
    assert summary["held_out.reliability_p_value"] > 1e-3
    # Networks that take the radius need no weights; tables that were not chosen have none.
    (project / "chosen.toml").write_text(text.replace("r_eff = false", "r_eff = true"))
    assert run(monkeypatch, "selection", "train", *files) == 0
    (project / "learn2.toml").write_text("weighted = true\n" + LEARNING)
    assert run(monkeypatch, "selection", "train", str(project / "learn2.toml"), *files[1:]) == 2
    assert "no table has the column inclusion" in capsys.readouterr().err


def test_a_choice_is_not_lost_in_a_table_that_was_joined(project, made_table, monkeypatch, capsys):
    uniform, more = (made_table(600, seed)[0] for seed in (8, 9))
    asked = {"kind": "physical", "r_eff": True, "background": False, "masked": False}
    chosen = dataclasses.replace(more, inclusion=np.full(600, 0.5))
    known = dataclasses.replace(chosen, meta={**more.meta, "choice": {"inputs": asked}})
    text = LEARNING[: LEARNING.index("[radius]")].replace("epochs = 30", "epochs = 1")
    text = text.replace('"tables/one.h5", "tables/two.h5"', '"tables/joined.h5"')
    files = str(project / "joined.toml"), "--out", str(project / "joined_net.h5")

    def said(table: InjectionTable, text: str) -> str:
        InjectionTable.concatenate(uniform, table).save(project / "tables" / "joined.h5")
        (project / "joined.toml").write_text(text)
        assert run(monkeypatch, "selection", "train", *files) in (0, 2)
        return capsys.readouterr().err

    without = text.replace("r_eff = true", "r_eff = false")
    assert "joined.h5: its clusters were chosen by a pilot" in said(known, without)
    # Where the choice is not known, it is not known whether these inputs are the pilot's.
    unknown = "joined.h5: its clusters were chosen (column inclusion), and its meta does not"
    assert unknown in said(chosen, without) and unknown in said(chosen, text)
    assert not (project / "joined_net.h5").exists()
    for table, good in ((known, text), (chosen, "weighted = true\n" + without)):
        said(table, good)
        assert (project / "joined_net.h5").is_file()
        (project / "joined_net.h5").unlink()


def test_few_injections_are_refused_before_training_or_leave_the_operator(
    project, made_table, monkeypatch, capsys
):
    text = LEARNING[: LEARNING.index("[radius]")].replace("epochs = 30", "epochs = 1")
    text = text.replace('"tables/one.h5", "tables/two.h5"', '"tables/few.h5"')
    (project / "few.toml").write_text(text)
    operator = project / "few_net.h5"
    files = "selection", "train", str(project / "few.toml"), "--out", str(operator)
    made_table(200)[0].save(project / "tables" / "few.h5")
    assert run(monkeypatch, *files) == 2
    assert "validation = 0.2 holds out 40 of 200 injections; exp" in capsys.readouterr().err
    assert not operator.exists()
    # Enough rows, and none of the bins has enough of them.
    made_table(400)[0].save(project / "tables" / "few.h5")

    def spread(operator, table):
        return np.linspace(0.001, 0.999, len(table))

    module = importlib.import_module("starcensus.selection.learning.learn")
    monkeypatch.setattr(module, "predict", spread)
    assert run(monkeypatch, *files) == 2
    assert "80 rows are too few for a check" in capsys.readouterr().err
    assert isinstance(load_selection(operator), NetworkSelection)
    assert (project / "few_net.provenance.json").is_file()


def test_repeated_injections_say_how_good_it_is(project, monkeypatch, capsys):
    files = str(project / "out" / "operator.h5"), "--out", str(project / "check")
    table = str(project / "tables" / "test.h5")
    assert run(monkeypatch, "selection", "evaluate", *files, "--table", table) == 0
    said = capsys.readouterr().out
    assert "neighbours.log_loss" in said and "error.rms" in said and "by_k" not in said
    summary = json.loads((project / "check" / "summary.json").read_text())
    assert summary["n_clusters"] == 1200 and summary["n_repeats"] == 20
    assert 0.8 * summary["repeat_noise.p90"] < summary["error.p90"]
    assert summary["error.p90"] < 1.25 * summary["neighbours.p90"]
    by_k = summary["neighbours.by_k"]
    assert [row["k"] for row in by_k] == [10, 20, 40, 80, 160, 320]
    best = min(by_k, key=lambda row: row["log_loss"])
    assert best == {key: summary[f"neighbours.{key}"] for key in best}
    assert summary["error.log_loss"] < summary["neighbours.log_loss"] + 0.005
    assert summary["error.rms"] < 1.05 * summary["neighbours.rms"]
    assert summary["reliability_p_value"] > 1e-4
    for name in ("reliability.png", "binned.png", "errors.png"):
        assert (project / "check" / name).stat().st_size > 5000


def test_networks_that_take_the_sky_are_averaged_over_the_repeats(project, monkeypatch):
    text = LEARNING.replace("r_eff = true", "r_eff = true\nbackground = true")
    (project / "sky.toml").write_text(text.replace("epochs = 30", "epochs = 2"))
    operator = project / "sky.h5"
    train = "selection", "train", str(project / "sky.toml"), "--out", str(operator)
    assert run(monkeypatch, *train) == 0
    table = InjectionTable.load(project / "tables" / "test.h5")
    # Of one cluster each repeat has another sky.
    sky = table.background * 10.0 ** (table.repeat % 4)
    table = dataclasses.replace(table, background=sky)
    table.save(project / "tables" / "skies.h5")
    files = str(operator), "--out", str(project / "skies")
    found = str(project / "tables" / "skies.h5")
    assert run(monkeypatch, "selection", "evaluate", *files, "--table", found) == 0
    summary = json.loads((project / "skies" / "summary.json").read_text())
    p = predict(load_selection(operator), table)
    share, mean, first = (
        np.array([rows(table.cluster == cluster) for cluster in range(1200)])
        for rows in (
            lambda own: table.catalogued[own].mean(),
            lambda own: p[own].mean(),
            lambda own: p[own][0],
        )
    )
    assert summary["error.rms"] == pytest.approx(np.sqrt(((mean - share) ** 2).mean()))
    assert np.abs(mean - first).max() > 0.01


@pytest.mark.parametrize("names", [("one", "two"), ("two", "one"), ("two",), ("test", "one")])
def test_it_is_not_judged_by_what_it_was_trained_on(project, monkeypatch, capsys, names):
    """By none of its tables, in whatever order or company."""
    files = str(project / "out" / "operator.h5"), "--out", str(project / "own")
    tables = [f"--table={project / 'tables' / name}.h5" for name in names]
    assert run(monkeypatch, "selection", "evaluate", *files, *tables) == 2
    said = capsys.readouterr().err
    assert "was trained on" in said and f"{names[-1]}.h5" in said
    assert not (project / "own").exists()


def test_it_is_not_judged_by_a_part_of_what_it_was_trained_on(
    project, made_table, monkeypatch, capsys
):
    """Any rows of its tables, in any order and company, and a table that had been joined before."""
    one, two = (InjectionTable.load(project / "tables" / f"{name}.h5") for name in ("one", "two"))
    whole = InjectionTable.concatenate(one, two)
    made = project / "out" / "operator.h5"
    facts = selection_provenance(made) | {"tables_sha256": [whole.sha256()]}
    save_selection(load_selection(made), project / "of_whole.h5", facts)
    some = two.take(np.random.default_rng(3).permutation(6000)[:600])
    mixed = InjectionTable.concatenate(made_table(1000, 22)[0], some)
    for operator, table in ((made, some), (made, mixed), (project / "of_whole.h5", one)):
        table.save(project / "tables" / "part.h5")
        asked = f"--table={project / 'tables' / 'part.h5'}", "--out", str(project / "part")
        assert run(monkeypatch, "selection", "evaluate", str(operator), *asked) == 2
        assert "tables/part.h5, or on a part of it; eval" in capsys.readouterr().err
    assert not (project / "part").exists()
    # The same clusters elsewhere, and other clusters there, are other injections.
    marks = learning._row_marks(one)
    assert len(np.unique(marks)) == 6000
    for change in ({"x": one.x + 0.5}, {"y": one.y[::-1]}, {"a_v": one.a_v + 1e-9}):
        assert not np.isin(marks, learning._row_marks(dataclasses.replace(one, **change))).any()


def test_an_operator_without_a_list_of_its_tables_knows_them_joined(project, monkeypatch, capsys):
    made = project / "out" / "operator.h5"
    facts = selection_provenance(made)
    assert len(facts.pop("rows").split()) == 256 and len(facts.pop("tables_sha256")) == 2
    save_selection(load_selection(made), project / "old.h5", facts)
    files = str(project / "old.h5"), "--out", str(project / "own")
    tables = [f"--table={project / 'tables' / name}.h5" for name in ("one", "two")]
    assert run(monkeypatch, "selection", "evaluate", *files, *tables) == 2
    assert "was trained on these tables" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"tables/two.h5"', '"tables/none.h5"'), "there is no injection table of this name"),
        (("epochs = 30", "epoch = 30"), "unknown key"),
        (("widths = [32, 32]", "widths = []"), "at least one hidden layer"),
        (("low = 2", "low = 0.5\n#"), "the network knows 1 to 10 pc"),
        (("r_eff = true", "r_eff = false"), "radius is for networks that take r_eff"),
        (("r_eff = true", "masked = true"), "masked is for magnitudes"),
        (('tables = ["tables/one.h5", "tables/two.h5"]', "tables = []"), "tables"),
        (('"tables/one.h5"', '"learn.toml"'), "cannot be read as HDF5"),
        (("[train]", "[train"), "not valid TOML"),
    ],
)
def test_mistakes_in_a_learning_file(project, monkeypatch, capsys, change, message):
    text = LEARNING.replace(*change)
    if "low = 0.5" in text:
        text = text.replace("whole = true", "")
    (project / "broken.toml").write_text(text)
    files = str(project / "broken.toml"), "--out", str(project / "o.h5")
    assert run(monkeypatch, "selection", "train", *files) == 2
    said = capsys.readouterr().err
    assert message in said and said.startswith("starcensus:")
    assert not (project / "o.h5").exists()


def test_an_operator_that_was_not_learned_has_nothing_to_evaluate(project, monkeypatch, capsys):
    from starcensus.selection import Box, complete

    box = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))
    save_selection(complete(box), project / "complete.h5")
    table = str(project / "tables" / "test.h5")
    files = str(project / "complete.h5"), "--table", table, "--out", str(project / "no")
    assert run(monkeypatch, "selection", "evaluate", *files) == 2
    assert "expected learned networks" in capsys.readouterr().err


def test_learning_curves_of_both_designs(project):
    tables, test = [project / "tables" / "one.h5"], [project / "tables" / "test.h5"]
    inputs = Inputs(r_eff=True)
    population = design.table_population(tables, inputs, test, [], seed=0)
    # Each training is compiled anew: the largest focused design is left out.
    lines = list(itertools.islice(design.bench_design(population, (600, 1500)), 3))
    assert [(line["design"], line["n"]) for line in lines[:2]] == [
        ("uniform", 600),
        ("uniform", 1500),
    ]
    assert lines[2]["design"] == "focused" and abs(int(str(lines[2]["n"])) - 600) < 60
    assert all(0 < float(str(line["held_out_loss"])) < 0.6 for line in lines)
    assert lines[1]["difference"] == 0 and float(str(lines[0]["difference_se"])) > 0
    held = design.table_population(tables, inputs, [], [], seed=0)
    n = len(population.x)
    assert len(held.x) == n - round(0.2 * n) and set(held.p_test) == {0.0, 1.0}


def test_learning_curves_of_injections_that_were_chosen(project):
    """A focused design that was injected: the pilot's rows are in every point, others in turn."""
    tables = [project / "tables" / "one.h5"]
    table = InjectionTable.load(tables[0])
    rows = np.arange(len(table))
    inclusion = np.where(rows < 400, np.nan, 0.5)
    dataclasses.replace(table, inclusion=inclusion).take(rows < 1500).save(project / "focused.h5")
    files = tables, Inputs(r_eff=True), [project / "tables" / "test.h5"]
    population = design.table_population(*files, [project / "focused.h5"], seed=0)
    assert population.n_uniform == 6000 and len(population.x) == 7500
    assert population.pilot is not None and population.chosen is not None
    both = np.concatenate([population.pilot, population.chosen])
    np.testing.assert_array_equal(both, np.arange(6000, 7500))
    np.testing.assert_array_equal(population.x[both], design.features(table, files[1])[:1500])
    lines = list(design.bench_design(population, (450, 1000)))
    assert [(line["design"], line["n"]) for line in lines[2:]] == [("focused", 1000)]
    with pytest.raises(ConfigError, match="no rows of a pilot"):
        design.table_population(*files, tables, seed=0)


def test_an_oracle_gives_the_loss_without_noise():
    oracle = EXPERIMENTS / "data" / "legus_synthetic.h5"
    population = design.oracle_population(oracle, 4000, seed=0)
    assert population.losses(population.p_test).max() < 1e-6
    # Of predictions that are off by 0.1 in the logit: half of the squared error, times p(1 - p).
    p = population.p_test
    off = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + 0.1)))
    assert population.losses(off).mean() == pytest.approx(
        (p * (1 - p) * 0.1**2 / 2).mean(), rel=0.05
    )
    assert population.known is not None
    share = abs(population.label.mean() - population.known.mean())
    assert share < 4 * (0.25 / 4000) ** 0.5
    lines = list(design.bench_design(population, (800,)))
    assert [line["design"] for line in lines] == ["uniform", "focused", "known"]
    assert all(float(str(line["excess_loss"])) > 0 for line in lines)
    assert 0.1 < (design.open_share(population) or 0) < 0.5


def test_worth_is_read_off_the_uniform_curve():
    # Excess as 1/n, known at powers of two, of a design that needs a third of the rows.
    curve = [(1000 * 2**k, 0.016 / 2**k) for k in range(5)]
    assert design._worth(curve, 2000.0, 0.004) == pytest.approx(2.0)
    assert design._worth(curve, 2000.0, 0.003) == pytest.approx(2 * 2**0.5)
    assert design._worth(curve, 2000.0, 0.1) is None and design._worth(curve, 9000.0, 1e-4) is None


def test_mistakes_in_learning_curves(project, monkeypatch, capsys):
    table = str(project / "tables" / "one.h5")
    for options, message in (
        ([], "either --table or --oracle"),
        (["--table", table, "--oracle", table], "either --table or --oracle"),
        (["--table", table, "--sizes", "many"], "expected whole numbers"),
        (["--table", table, "--kind", "chemical"], "expected physical or photometric"),
        (["--table", table, "--sizes", "100,9999999"], "9999999"),
    ):
        assert run(monkeypatch, "bench", "design", *options) == 2
        assert message in capsys.readouterr().err
