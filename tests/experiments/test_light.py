"""Fits of measured magnitudes, from a file to a report."""

import dataclasses
import json
import pathlib
import re

import numpy as np
import pytest
from tests.experiments.light_project import LIGHT, population, survey, write_project

from starcensus.experiments.jobs._job import Show, open_job
from starcensus.experiments.jobs._pool import _kept
from starcensus.experiments.jobs._seen import passing, whole
from starcensus.experiments.jobs.light import LightJob
from starcensus.experiments.report.fit.checks import p_value
from starcensus.inference.light_predictive import predict_light
from starcensus.inference.objects import LightObjects
from starcensus.selection.catalogue import BandState, photometry_of, read_catalogue
from starcensus.selection.catalogue.open_table import load

# One fit, as rough as may be.
SMALL = (
    "library.target.n_clusters=6000",
    "library.target.n_first=2000",
    "library.target.max_rounds=1",
    # So fine that nothing is sampled again.
    "light.panels=[0.22, 0.22, 0.22]",
    "sampler.n_warmup=50",
    "sampler.n_samples=50",
    "sampler.n_chains=2",
    "sampler.max_tree_depth=4",
    "latents.draws=20",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("light")
    write_project(folder)
    text = LIGHT[: LIGHT.index('\n[[fits]]\nname = "constant"')]
    (folder / "light.toml").write_text(text)
    return folder


def job(project: pathlib.Path, *settings: str) -> LightJob:
    made = open_job(project / "light.toml", project / "out", settings=(*SMALL, *settings))
    assert isinstance(made, LightJob)
    return made


def performed(project: pathlib.Path, *settings: str) -> tuple[dict, list[str], list[str]]:
    stages: list[str] = []
    said: list[str] = []
    summary = job(project, *settings).perform(Show(stage=stages.append, say=said.append))
    return summary, stages, said


@pytest.fixture(scope="module")
def finished(project) -> dict:
    return performed(project)[0]


@pytest.fixture(scope="module")
def objects(project) -> LightObjects:
    made = job(project).explained(Show()).objects
    assert isinstance(made, LightObjects)
    return made


def test_the_files_of_a_run(project, finished):
    out = project / "out"
    names = {path.name for path in out.iterdir()}
    expected = {"posterior.nc", "summary.json", "provenance.json", "run.json", "selection.h5"}
    assert expected | {"report.html", "magnitudes.json", "library", "clusters.ecsv"} <= names
    rounds = {path.name for path in (out / "library").iterdir()}
    assert rounds == {"library.json", "explored-00.h5", "explored-01.h5", "library.h5"}
    assert json.loads((out / "summary.json").read_text()) == finished
    facts = json.loads((out / "provenance.json").read_text())
    assert set(facts["inputs"]) == {"catalogue", "catalogue.column_map"}
    assert facts["settings"]["observation"]["cuts"]["kind"] == "measured"
    assert finished["library.n_clusters"] == 6000 and finished["library.n_rows"] == 24_000
    # Every cluster under the population, of rows of the library, those of too few are blank.
    clusters = load(out / "clusters.ecsv").table
    mass, few = np.asarray(clusters["log_mass_p50"]), np.asarray(clusters["n_effective"]) < 4
    assert len(clusters) == finished["n_clusters"] and finished["latents.n_draws"] == 20
    assert few.sum() == finished["latents.n_blank"] < len(clusters) / 4
    np.testing.assert_array_equal(np.isnan(mass), few)
    assert ((mass[~few] > 2.5) & (mass[~few] < 5.0)).all()
    # Rough, but of this catalogue.
    assert finished["posterior.alpha_m.median"] == pytest.approx(-1.9, abs=0.4)
    assert all(0 <= v <= 1 for k, v in finished.items() if re.match(r"predictive\..*\.p$", k))
    assert sum(k.startswith("predictive.") for k in finished) == 7


def test_the_report_says_what_the_data_and_the_model_are(project, finished):
    page = (project / "out" / "report.html").read_text()
    assert survey().words in page.replace("&#39;", "'")
    assert "Observation model" in page and "figure-magnitudes" in page
    assert "means under a stated prior" in page
    assert (
        "PARSEC isochrones as in FSPS, PARSEC_isoc_z0.0200.dat; Z = 0.02; Kroupa initial masses, "
        "0.08 to 120 M_sun; gas that absorbs 0.5 of the ionising photons until log age 7" in page
    )
    # Cuts on measured magnitudes are steps with their numbers.
    record = json.loads((project / "out" / "run.json").read_text())
    steps = {step["name"]: step for step in record["catalogue"]["steps"]}
    cut = steps["the survey's cuts"]
    assert cut["n_after"] == finished["n_clusters"] < cut["n_before"]
    assert "M(ACS_F555W) &lt;= -5.5" in page
    # Points of θ under a prior are not held beside predictions of recorded θ.
    assert "<li>Masses, p" not in page and "F555W, p" in page


def test_what_is_finished_is_not_done_again(project, finished):
    again, stages, said = performed(project, "title=Another title")
    assert said == ["main: finished before"] and again == finished
    assert not [stage for stage in stages if "exploring" in stage or "main" in stage]
    assert "Another title" in (project / "out" / "report.html").read_text()


def test_a_library_is_continued_and_one_of_other_settings_is_not(project, objects, tmp_path):
    rounds = sorted((project / "out" / "library").glob("*.h5"))
    assert len(rounds) == 3
    before = [path.stat().st_mtime_ns for path in rounds]
    again = job(project, "sampler.n_samples=51", "light.order=3").explained(Show()).objects
    assert [path.stat().st_mtime_ns for path in rounds] == before
    assert isinstance(again, LightObjects)
    np.testing.assert_array_equal(again.pool.theta, objects.pool.theta)
    folder = _kept(tmp_path / "library", "one")
    (folder / "library.h5").write_text("")
    assert (_kept(folder, "one") / "library.h5").exists()
    assert not (_kept(folder, "two") / "library.h5").exists()


def test_clusters_that_fail_the_cuts_are_counted_and_pass_no_more(project):
    catalogue = read_catalogue(project / "catalogue.csv", "table", column_map=project / "map.toml")
    data = photometry_of(catalogue)
    model = dataclasses.replace(survey(), bands=data.bands)
    kept = passing(model, data)
    snr, mags = data.flux / data.flux_error, data.mags
    v = data.bands.index("ACS_F555W")
    with np.errstate(invalid="ignore"):
        good = (mags[:, v] - 29.98 <= -5.5) & (snr[:, v] >= 5) & ((snr >= 5).sum(axis=1) >= 2)
    assert 0 < good.sum() < len(data)
    np.testing.assert_array_equal(kept.ids, data.ids[good])
    assert kept.steps[-1].n_before - kept.steps[-1].n_after == (~good).sum()
    assert "S/N 5" in model.cuts.words
    model.check(kept)
    with pytest.raises(ValueError, match="own cuts"):
        model.check(data)


def test_where_all_bands_were_observed(project):
    catalogue = read_catalogue(project / "catalogue.csv", "table", column_map=project / "map.toml")
    data = photometry_of(catalogue)
    states, flux = data.states.copy(), data.flux.copy()
    states[:7, 0], flux[:7, 0] = BandState.NOT_OBSERVED, np.nan
    states[7:9, 1], flux[7:9, 1] = BandState.NOT_DETECTED, np.nan
    odd = dataclasses.replace(data, states=states, flux=flux)
    kept = whole(odd)
    assert len(kept) == len(data) - 7 and kept.steps[-1].name == "whole"
    np.testing.assert_array_equal(kept.ids, data.ids[7:])


def test_predicted_catalogues_are_those_of_the_population(objects):
    """At the truth magnitudes and colours are as observed; a wrong law of ages is seen in both."""
    true = {name: np.repeat(np.asarray(v)[None], 150) for name, v in population().values().items()}
    found = predict_light(objects, population(), true, seed=2)
    p = {name: p_value(found.predicted[name], found.observed[name]) for name in found.edges}
    assert min(p.values()) > 0.01 and len(p) == 7, p
    # The expected number is the sum over the pool.
    pool, p_rows = objects.pool, objects.p_rows
    assert p_rows is not None
    rate = np.exp(np.asarray(population().log_rate(*pool.theta.T)) + pool.log_weight)
    v = np.array([counts.sum() for counts in found.predicted["ACS_F555W"]])
    assert v.mean() == pytest.approx((rate * p_rows).sum(), rel=4 / v.sum() ** 0.5)
    wrong = {**true, "alpha_t": np.full(150, 0.3), "log_n": np.full(150, 3.2)}
    other = predict_light(objects, population(), wrong, seed=2)
    worse = {name: p_value(other.predicted[name], other.observed[name]) for name in other.edges}
    assert worse["ACS_F814W"] < 0.05 and worse["F275W - F435W"] < 0.05, worse
