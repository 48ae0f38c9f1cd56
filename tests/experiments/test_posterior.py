"""`kind = "posterior"`, and fits of what a pipeline found by a learned posterior."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from scipy.special import ndtr
from tests.helpers import run
from tests.selection.posterior.gaussian_survey import (
    BIAS,
    HIGH,
    LIMIT,
    LOW,
    SD,
    detections,
    injections,
)

from starcensus.selection import GridSelection, SurveyFacts, save_selection
from starcensus.selection.injection import InjectionTable
from starcensus.theta import AXES, Box

POSTERIOR = """
kind = "posterior"
title = "made"
tables = ["one.h5", "two.h5"]
test = ["test.h5"]
[train]
magnitudes = false
concentration = false
n_members = 2
widths = [48, 48]
epochs = 60
"""
FIT = """
kind = "fit"
seed = 3
[catalogue]
path = "catalogue.ecsv"
format = "detections"
learned = { path = "out/posterior.h5", draws = 300 }
[selections.learned]
kind = "file"
path = "operator.h5"
[selections.ignored]
kind = "complete"
[populations.mine]
bounds = { log_mass = [3, 5], log_age = [6.5, 8.5], a_v = [0, 2] }
mass = { kind = "power_law", alpha_m = -2.0 }
age = { kind = "power_law", alpha_t = -0.5 }
extinction = { kind = "half_normal", sigma_av = 0.6 }
[[fits]]
name = "learned"
selection = "learned"
population = "mine"
[[fits]]
name = "ignored"
selection = "ignored"
population = "mine"
[nodes]
min_objects = 1
"""


def population(n: int, seed: int) -> dict[str, np.ndarray]:
    """Masses as M^-2, ages as T^-0.5, A_V a half normal of 0.6 mag below 2."""
    rng = np.random.default_rng(seed)
    u = rng.random((3, n))
    mass = -np.log10(10.0 ** -LOW["log_mass"] * (1 - u[0]) + 10.0 ** -HIGH["log_mass"] * u[0])
    low, high = 10 ** (LOW["log_age"] / 2), 10 ** (HIGH["log_age"] / 2)
    age = 2 * np.log10(low + (high - low) * u[1])
    a_v = np.abs(rng.normal(0, 0.6, 3 * n))
    a_v = a_v[a_v < HIGH["a_v"]][:n]
    radius = rng.uniform(LOW["log_r_eff_pc"], HIGH["log_r_eff_pc"], n)
    return {"log_age": age, "a_v": a_v, "log_mass": mass, "log_r_eff_pc": radius}


def operator() -> GridSelection:
    """The survey's own: how often what is said of a mass is above the limit."""
    mass = np.linspace(LOW["log_mass"], HIGH["log_mass"], 81)
    p = np.clip(ndtr((mass + BIAS - LIMIT) / SD["log_mass"]), 1e-9, 1 - 1e-9)
    logit = np.broadcast_to(np.log(p / (1 - p))[:, None, None], (81, 2, 2)).copy()
    axes = np.array([LOW["log_age"], HIGH["log_age"]]), np.array([LOW["a_v"], HIGH["a_v"]])
    domain = Box(*((LOW[name], HIGH[name]) for name in AXES))
    return GridSelection(mass, *axes, logit[None], domain)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("posterior")
    whole = injections(14_000, 1)
    whole.take(slice(0, 8_000)).save(folder / "one.h5")
    whole.take(slice(8_000, None)).save(folder / "two.h5")
    injections(1_500, 3).save(folder / "test.h5")
    (folder / "posterior.toml").write_text(POSTERIOR)
    detections(injections(4_000, 5, population(4_000, 4))).write(folder / "catalogue.ecsv")
    save_selection(operator(), folder / "operator.h5")
    (folder / "fit.toml").write_text(FIT)
    with pytest.MonkeyPatch.context() as patch:
        out = str(folder / "out" / "posterior.h5")
        assert run(patch, "run", str(folder / "posterior.toml"), "--out", out) == 0
    return folder


def test_the_summary_says_how_right_it_is(project):
    found = json.loads((project / "out" / "posterior.summary.json").read_text())
    table = InjectionTable.concatenate(
        *(InjectionTable.load(project / f"{name}.h5") for name in ("one", "two"))
    )
    assert found["n_catalogued"] == table.catalogued.sum()
    assert found["columns"] == [f"said_{n}" for n in ("log_age", "a_v", "log_mass", "log_r_eff_pc")]
    assert found["test.accepted"] and found["test.log_mass_accepted"]
    # That of a Gaussian of 0.15 dex, with the cut's side of the range missing.
    assert 0.06 < found["test.log_mass_median_error"] < 0.11
    assert found["test.caught_bias"] < 0.2


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ('format = "posteriors"', "learned goes with what a pipeline found"),
        ('format = "detections"\ncuts = [{ name = "classes" }]', "leave out options and cuts"),
    ],
)
def test_what_does_not_go_with_a_posterior(project, tmp_path, monkeypatch, capsys, change, match):
    (project / "bad.toml").write_text(FIT.replace('format = "detections"', change))
    assert run(monkeypatch, "run", str(project / "bad.toml"), "--out", str(tmp_path / "out")) == 2
    assert match in " ".join(capsys.readouterr().err.split())


def test_an_operator_that_would_count_the_selection_twice_is_refused(
    project, tmp_path, monkeypatch, capsys
):
    text = FIT.replace('path = "operator.h5"', 'path = "operator.h5"\nacts_on = "truth"')
    (project / "twice.toml").write_text(text)
    assert run(monkeypatch, "run", str(project / "twice.toml"), "--out", str(tmp_path / "o")) == 2
    assert 'say acts_on = "data"' in " ".join(capsys.readouterr().err.split())


def test_an_operator_and_a_catalogue_of_other_surveys_are_refused(
    project, tmp_path, monkeypatch, capsys
):
    far = dataclasses.replace(operator(), learned_for=SurveyFacts(distance_modulus=28.0))
    save_selection(far, project / "far.h5")
    (project / "far.toml").write_text(FIT.replace("operator.h5", "far.h5"))
    assert run(monkeypatch, "run", str(project / "far.toml"), "--out", str(tmp_path / "o")) == 2
    assert "distance" in capsys.readouterr().err
    other = dataclasses.replace(
        detections(injections(200, 5)), pipeline={"pipeline": "toy", "limit": 3.0}
    )
    other.write(project / "other.ecsv")
    (project / "other.toml").write_text(FIT.replace("catalogue.ecsv", "other.ecsv"))
    assert run(monkeypatch, "run", str(project / "other.toml"), "--out", str(tmp_path / "p")) == 2
    assert "other settings: limit" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_fit_finds_the_population_with_the_operator_and_not_without(
    project, tmp_path, monkeypatch
):
    """Of 4,000 clusters the survey catalogues a few hundred, and is off by 0.25 in all that it says
    of them: a fit of what it says would be wrong in each parameter."""
    out = tmp_path / "fits"
    assert run(monkeypatch, "run", str(project / "fit.toml"), "--out", str(out)) in (0, 1)
    truth = {"alpha_m": -2.0, "alpha_t": -0.5, "sigma_av": 0.6, "log_n": np.log10(4_000)}
    found, ignored = (
        json.loads((folder / "summary.json").read_text()) for folder in (out, out / "ignored")
    )
    for name, value in truth.items():
        low, high = (found[f"posterior.{name}.{q}"] for q in ("p2_5", "p97_5"))
        assert low <= value <= high, name
    assert not ignored["posterior.alpha_m.p2_5"] <= -2.0 <= ignored["posterior.alpha_m.p97_5"]
    assert not ignored["posterior.log_n.p2_5"] <= truth["log_n"] <= ignored["posterior.log_n.p97_5"]
