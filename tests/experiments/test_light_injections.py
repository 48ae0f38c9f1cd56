"""Fits of light whose observation model the run learns itself: `kind = "injections"`."""

import json
import pathlib

import jax
import numpy as np
import pytest
from astropy.table import Table
from benchmarks import known_survey as known
from tests.experiments import light_project, test_systematic
from tests.helpers import run

from starcensus.experiments.jobs._injections import injections_inputs, with_model
from starcensus.experiments.jobs._job import SILENT, open_job
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.photometry import ObservationTable
from starcensus.selection.injection import InjectionTable
from starcensus.selection.observation import LearnedObservation, load_observation
from starcensus.simulate import StarcensusEngine

TRAIN = """train = { n_components = 2, n_ci = 1, widths = [24, 24], epochs = 20, max_rate = 3e-3, \
batch_size = 256, selection = { widths = [16], n_members = 1, epochs = 30, batch_size = 256 } }
"""
TABLES = f'tables = ["injections.h5"]\n{TRAIN}'


def learning(text: str, given: str = TABLES) -> str:
    """A file of `light_project` whose survey is learned."""
    made = light_project.of_injections(text, given)
    return made.replace("[library]", "[library]\nleave_out_thin = true", 1)


LIGHT = learning(light_project.LIGHT.partition('[[fits]]\nname = "constant"')[0])
MAP = """id = "id"
estimates = false
distance_modulus = 30.0
columns = { concentration_index = "ci" }
bands = [
"""


def write_catalogue(folder: pathlib.Path) -> int:
    """Clusters of the population of `light_project` as the known survey catalogues them."""
    theta = np.asarray(light_project.population().sample(jax.random.key(3), 900), float)
    seeds = np.arange(900).astype(np.uint64) + 10**9
    mags = StarcensusEngine(known.BANDS).draw(*theta.T, seeds)["abs_mags"] + known.MODULUS
    bright = mags[np.isfinite(mags).all(axis=1)].astype(float)
    seen = known.met(bright, np.random.default_rng(4))
    seen = seen.take(seen.catalogued)
    columns: dict[str, np.ndarray] = {"id": np.arange(len(seen)), "ci": seen.ci}
    text = MAP
    for k, band in enumerate(known.BANDS):
        there = np.isfinite(seen.measured_mags[:, k])
        columns[f"m{k}"] = np.where(there, seen.measured_mags[:, k], 99.0)
        columns[f"e{k}"] = np.where(there, seen.measured_errors[:, k], 99.0)
        text += f'{{ name = "{band}", column = "m{k}", error = "e{k}", not_detected = [99.0] }},\n'
    Table(columns).write(folder / "catalogue.csv", format="ascii.csv")
    (folder / "map.toml").write_text(text + "]\n")
    return len(seen)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("injections")
    known.table(10_000, seed=1, faintest=28.0).save(folder / "injections.h5")
    write_catalogue(folder)
    (folder / "light.toml").write_text(LIGHT)
    (folder / "measure.toml").write_text(learning(light_project.MEASURE))
    return folder


def test_one_file_leads_from_injections_to_a_posterior(project, monkeypatch):
    out = project / "out"
    assert run(monkeypatch, "run", project / "light.toml", "--out", out) == 0
    summary = json.loads((out / "summary.json").read_text())
    record = json.loads((out / "run.json").read_text())
    assert record["observation"]["kind"] == "LearnedObservation"
    truth = {"alpha_m": -1.9, "alpha_t": -0.8, "log_n": np.log10(900)}
    for name, true in truth.items():
        low, middle, high = (summary[f"posterior.{name}.{k}"] for k in ("p16", "median", "p84"))
        assert abs(middle - true) < 3 * (high - low) / 2 < 0.6, name
    assert summary["share_beyond"] < 1e-3
    model = load_observation(out / "observation.h5")
    assert isinstance(model, LearnedObservation) and model.settings.n_components == 2
    # Another run of other injections is another fit; of the same, the model is not learned again.
    before = (out / "observation.h5").stat().st_mtime_ns
    job = open_job(project / "light.toml", out)
    again = model_of(job)
    assert again.kind == "file" and again.path == str((out / "observation.h5").resolve())
    assert (out / "observation.h5").stat().st_mtime_ns == before
    keys = [job.fits[0].identity.key]
    content = (project / "injections.h5").read_bytes()
    known.table(6000, seed=2).save(project / "injections.h5")
    keys.append(open_job(project / "light.toml", out).fits[0].identity.key)
    (project / "injections.h5").write_bytes(content)
    assert keys[0] != keys[1]


def test_single_clusters_are_measured_by_it(project, monkeypatch):
    out = project / "alone"
    assert run(monkeypatch, "run", project / "measure.toml", "--out", out) == 0
    assert isinstance(load_observation(out / "observation.h5"), LearnedObservation)
    record = json.loads((out / "run.json").read_text())
    assert record["observation"]["kind"] == "LearnedObservation"
    found = Table.read(out / "objects.ecsv", format="ascii.ecsv")
    assert len(found) > 100 and np.isfinite(found["log_mass_p50"]).all()


def model_of(job) -> ObservationTable:
    file = job.file
    return with_model(file.observation, file.catalogue, file.photometry, job, SILENT)


def test_a_surveys_file_injects_first(tmp_path):
    """The table is the survey's own, the model its; the run's inputs are all that it names."""
    test_systematic.write_project(tmp_path)
    write_catalogue(tmp_path)
    survey = f'survey = "survey.toml"\n{TRAIN}'
    (tmp_path / "light.toml").write_text(learning(light_project.LIGHT, survey))
    job = open_job(tmp_path / "light.toml", tmp_path / "out")
    names = {item.name for item in injections_inputs(job.file.observation, job).values()}
    assert {"survey.toml", "library.h5", f"{test_systematic.BAND}.fits"} <= names
    found = model_of(job)
    table = InjectionTable.load(tmp_path / "out" / "injections.h5")
    assert found.path is not None and len(table) == 300
    model = load_observation(found.path)
    assert isinstance(model, LearnedObservation) and model.bands == table.bands
    bright, faint = np.array([[20.0]]), np.array([[27.0]])
    assert model.p_sel(bright) > model.p_sel(faint) + 0.2
    # A survey that injects nothing teaches nothing.
    text = (tmp_path / "survey.toml").read_text()
    (tmp_path / "survey.toml").write_text(text.partition("[library]")[0])
    job = open_job(tmp_path / "light.toml", tmp_path / "other")
    with pytest.raises(ConfigError, match=r"has no \[library\], so that it injects nothing"):
        model_of(job)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('tables = ["injections.h5"]\n', "", "received neither"),
        ('tables = ["injections.h5"]\n', 'tables = ["a.h5"]\nsurvey = "b.toml"\n', "received both"),
        ("[library]", "[photometry]\nbands = ['ACS_F435W', 'ACS_F555W']\n[library]", "is of ACS"),
        ("n_members = 1", "seed = 3, n_members = 1", "train.selection.seed is 3"),
        ('kind = "injections"', 'kind = "file"\npath = "a.h5"', "tables, train: of kind = 'inj"),
        ('kind = "injections"', 'kind = "injections"\nfloor = 0.1', "floor: the model of the inj"),
        ('kind = "injections"', 'kind = "injections"\nuncertainty = true', "n_halves is 0"),
        ("injections.h5", "none.h5", "no file none.h5"),
        ('path = "catalogue.csv"', 'path = "none.csv"', "none.csv"),
    ],
)
def test_mistakes(project, tmp_path, monkeypatch, capsys, old, new, message):
    for name in ("catalogue.csv", "map.toml", "injections.h5"):
        (tmp_path / name).write_bytes((project / name).read_bytes())
    assert old in LIGHT
    (tmp_path / "light.toml").write_text(LIGHT.replace(old, new, 1))
    assert run(monkeypatch, "run", tmp_path / "light.toml", "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1, said
    assert not (tmp_path / "out" / "observation.h5").exists()
