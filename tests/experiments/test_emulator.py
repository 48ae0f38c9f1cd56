"""`kind = "emulator"`, and fits of light by `[emulator]`."""

import json
import pathlib
import re

import numpy as np
import pytest
from tests.experiments.light_project import LIGHT, TARGET, write_project
from tests.helpers import run

from starcensus.experiments.jobs._emulator import Emulated
from starcensus.experiments.jobs._job import Show, open_job
from starcensus.experiments.jobs.light import LightJob
from starcensus.forward.light import LightEmulator

EMULATOR = """
kind = "emulator"
seed = 2
survey_bands = ["ACS_F435W", "ACS_F555W"]
bounds = { log_mass = [3.0, 5.0], log_age = [6.5, 8.5], a_v = [0.0, 1.0] }
n_clusters = 1000
n_extinctions = 2
[train]
n_components = 2
widths = [8]
age_features = 3
epochs = 1
[judge]
log_mass = [4.0]
log_age = [7.5]
n_test = 50
n_kernel = 100
"""
# Five points of `[emulator]` are enough for what is refused.
FEW = "[emulator]\npoints = { n_samples = 64, n_first = 1024, n_expected = 20000 }\n"


def light(folder: pathlib.Path, *changes: tuple[str, str]) -> pathlib.Path:
    write_project(folder)
    text = LIGHT[: LIGHT.index('\n[[fits]]\nname = "constant"')].replace(TARGET, "")
    text = text.replace("[populations.simple]", FEW + "[populations.simple]", 1)
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new, 1)
    (folder / "light.toml").write_text(text)
    return folder / "light.toml"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("emulator")
    (folder / "emulator.toml").write_text(EMULATOR)
    open_job(folder / "emulator.toml", folder / "out").perform(Show())
    return folder / "out"


def test_an_emulator_is_learned_and_judged(made):
    emulator = LightEmulator.load(made / "emulator.json")
    assert emulator.bands == ("ACS_F435W", "ACS_F555W") and emulator.n_components == 2
    summary = json.loads((made / "summary.json").read_text())
    [cell] = json.loads((made / "cells.json").read_text())["cells"]
    assert summary["n_rows"] == 2000 and summary["judged.score"] == cell["score"]
    assert emulator.facts["training"]["seed"] == 2
    assert np.isfinite(emulator.log_prob(np.array([[4.0, 7.0, 0.5]]), np.full((1, 2), -8.0), 0.1))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("log_mass = [4.0]", "log_mass = [5.5]", r"judge\.log_mass has 5\.5, outside of bounds"),
        ('"ACS_F435W", ', '"ACS_F555W", ', "survey_bands repeat"),
        ("n_test = 50", "n_test = 5", "n_test is 5"),
        ("epochs = 1", "seed = 3", "unknown key seed"),
    ],
)
def test_mistakes_in_the_file_are_named(old, new, words, tmp_path, monkeypatch, capsys):
    (tmp_path / "emulator.toml").write_text(EMULATOR.replace(old, new, 1))
    assert run(monkeypatch, "run", tmp_path / "emulator.toml", "--out", tmp_path / "out") == 2
    assert re.search(words, " ".join(capsys.readouterr().err.split()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([("[library]", "[library]\ndraw = { nebular = false }")], "other gas than"),
        ([("[library]", '[library]\ngrid = "lmc"')], "other isochrones and atmospheres than"),
        ([("[library]", "[library]\nimf = { kind = 'chabrier' }")], "other IMF than"),
        ([("[library]", "[library]\nmin_effective = 9.0")], "library.min_effective: settings of"),
        ([("[sampler]", "[light]\nform = 'rows'\n[sampler]")], "light: settings of simulated"),
        ([("points =", "path = 'none.json'\npoints =")], "none.json"),
    ],
)
def test_an_emulator_of_other_clusters_is_refused(changes, words, tmp_path, monkeypatch, capsys):
    path = light(tmp_path, *changes)
    assert run(monkeypatch, "run", path, "--out", tmp_path / "out") == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_an_emulator_of_other_bands_is_refused(made, tmp_path, monkeypatch, capsys):
    path = light(tmp_path, ("points =", f"path = '{made / 'emulator.json'}'\npoints ="))
    assert run(monkeypatch, "run", path, "--out", tmp_path / "out") == 2
    words = " ".join(capsys.readouterr().err.split())
    assert "the emulator knows no WFC3_UVIS_F275W" in words


@pytest.mark.slow
def test_a_fit_by_the_emulator_finds_the_population(tmp_path):
    changes = ("n_warmup = 100\nn_samples = 100", "n_warmup = 150\nn_samples = 150")
    job = open_job(light(tmp_path, changes), tmp_path / "out")
    assert isinstance(job, LightJob)
    summary = job.perform(Show())
    assert summary["posterior.alpha_m.median"] == pytest.approx(-1.9, abs=0.25)
    assert summary["emulator.effective.min"] > 1
    assert summary["emulator.effective.p5"] > 10
    assert isinstance(job.explained(Show()), Emulated)
    assert (tmp_path / "out" / "magnitudes.json").is_file()
