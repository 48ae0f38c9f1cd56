"""`selection train`, `selection evaluate`, `detect --truth`, `bench design`."""

import dataclasses
import importlib
import itertools
import json
import pathlib

import numpy as np
import pytest
import scipy.spatial
from benchmarks import design
from tests.helpers import run

from starcensus.experiments.schema._base import ConfigError
from starcensus.selection import (
    NetworkSelection,
    load_selection,
    selection_provenance,
)
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import Inputs

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
LEARNING = """
kind = "learning"
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


def test_what_networks_are_not_told_of_is_said(project, monkeypatch, capsys):
    text = LEARNING[: LEARNING.index("[radius]")].replace("epochs = 30", "epochs = 2")
    (project / "blind.toml").write_text(text.replace("r_eff = true", "r_eff = false"))
    files = str(project / "blind.toml"), "--out", str(project / "out" / "blind.h5")
    assert run(monkeypatch, "selection", "train", *files) == 0
    told = capsys.readouterr()
    assert "warning: a logistic regression that knows the radius is" in told.out + told.err


def test_a_check_that_fails_leaves_the_operator(project, made_table, monkeypatch, capsys):
    text = LEARNING[: LEARNING.index("[radius]")].replace("epochs = 30", "epochs = 1")
    text = text.replace('"tables/one.h5", "tables/two.h5"', '"tables/few.h5"')
    (project / "few.toml").write_text(text)
    operator = project / "few_net.h5"
    files = "selection", "train", str(project / "few.toml"), "--out", str(operator)
    made_table(400)[0].save(project / "tables" / "few.h5")

    def spread(operator, table):
        return np.linspace(0.001, 0.999, len(table))

    module = importlib.import_module("starcensus.selection.learning.learn")
    monkeypatch.setattr(module, "predict", spread)
    assert run(monkeypatch, *files) == 2
    assert "80 rows are too few for a check" in capsys.readouterr().err
    assert isinstance(load_selection(operator), NetworkSelection)
    assert (project / "few_net.provenance.json").is_file()


def test_an_evaluation_with_its_figures(project, monkeypatch, capsys):
    files = str(project / "out" / "operator.h5"), "--out", str(project / "check")
    table = str(project / "tables" / "test.h5")
    assert run(monkeypatch, "selection", "evaluate", *files, "--table", table) == 0
    said = capsys.readouterr().out
    assert "neighbours.log_loss" in said and "error.rms" in said and "by_k" not in said
    summary = json.loads((project / "check" / "summary.json").read_text())
    assert summary["n_clusters"] == 1200 and summary["n_repeats"] == 20
    assert [row["k"] for row in summary["neighbours.by_k"]] == [10, 20, 40, 80, 160, 320]
    facts = json.loads((project / "check" / "provenance.json").read_text())
    assert {each["name"] for each in facts["inputs"].values()} == {"operator.h5", "test.h5"}
    origin = facts["inputs"]["operator"]["origin"]
    assert set(origin["tables"]) == {"one.h5", "two.h5"}
    assert facts["inputs"]["tables.0"]["origin"]["distance_modulus"] == 29.98
    for name in ("reliability.png", "binned.png", "errors.png"):
        assert (project / "check" / name).stat().st_size > 5000


def test_it_is_not_judged_by_what_it_was_trained_on(project, monkeypatch, capsys):
    files = str(project / "out" / "operator.h5"), "--out", str(project / "own")
    tables = [f"--table={project / 'tables' / name}.h5" for name in ("test", "one")]
    assert run(monkeypatch, "selection", "evaluate", *files, *tables) == 2
    said = capsys.readouterr().err
    assert "was trained on" in said and "one.h5" in said and said.startswith("starcensus:")
    assert not (project / "own" / "summary.json").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (('"tables/two.h5"', '"tables/none.h5"'), "injection table: no file tables/none.h5"),
        (("epochs = 30", "epoch = 30"), "unknown key"),
        (("widths = [32, 32]", "widths = []"), "at least one hidden layer"),
        (("low = 2", "low = 0.5\n#"), "the network knows 1 to 10 pc"),
        (("r_eff = true", "r_eff = false"), "radius is for networks that take r_eff"),
        (("r_eff = true", "masked = true"), "masked is for magnitudes"),
        (('tables = ["tables/one.h5", "tables/two.h5"]', "tables = []"), "tables"),
        (('"tables/one.h5"', '"learn.toml"'), "is not an HDF5 file"),
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


def test_learning_curves_of_injections_that_were_chosen(project, monkeypatch):
    """A focused design that was injected: the pilot's rows are in every point, others in turn."""
    tables = [project / "tables" / "one.h5"]
    table = InjectionTable.load(tables[0])
    rows = np.arange(len(table))
    inclusion = np.where(rows < 400, np.nan, 0.5)
    dataclasses.replace(table, inclusion=inclusion).take(rows < 1500).save(project / "focused.h5")
    monkeypatch.setattr(design, "_members", by_neighbours)
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


def by_neighbours(population, rows, seed):
    """What networks that were trained on these rows would say, about."""
    scale = population.x.std(axis=0)
    tree, label = scipy.spatial.KDTree(population.x[rows] / scale), population.label[rows]

    def members(x: np.ndarray) -> np.ndarray:
        near = tree.query(x / scale, k=20)[1]
        return np.tile((label[near].sum(axis=1) + 0.5) / 21, (2, 1))

    return members


def test_an_oracle_gives_the_loss_without_noise(monkeypatch):
    """Curves of both designs above have networks; here neighbours stand for them."""
    monkeypatch.setattr(design, "_members", by_neighbours)
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
