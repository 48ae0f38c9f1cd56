"""kind = "systematic": an operator and a fit under two PSFs."""

import json
import pathlib

import numpy as np
import pytest
from astropy.io import fits
from tests.helpers import run

from starcensus.experiments.jobs.fit import FitJob
from starcensus.experiments.jobs.systematic import shifts
from starcensus.experiments.schema._base import ConfigError, parse
from starcensus.experiments.schema.systematic import SystematicFile
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import LearningError, compare, learned_networks
from starcensus.simulate import BandImage, ClusterLibrary, Frame, write_frame

BAND = "ACS_F555W"
SURVEY = """
kind = "survey"
seed = 3
[images]
paths = "images"
[pipeline]
kind = "legus"
detection_sigma = 5.0
min_bands = 1
max_absolute_v = 0
[library]
path = "library.h5"
[plan]
n_clusters = 300
per_frame = 75
group = "rows"
radii_pc = [1.0, 6.0]
"""
LEARNING = """
kind = "learning"
tables = ["none.h5"]
[inputs]
r_eff = true
[train]
widths = [8]
n_members = 2
epochs = 3
validation = 0.4
batch_size = 64
"""
FIT = """
kind = "fit"
[catalogue]
path = "mine.ecsv"
[selections.learned]
kind = "complete"
[populations.simple]
bounds = { log_mass = [3, 6], log_age = [6, 9], a_v = [0, 1] }
mass = { kind = "power_law" }
age = { kind = "constant" }
extinction = { kind = "half_normal" }
[[fits]]
name = "main"
selection = "learned"
population = "simple"
"""
SYSTEMATIC = """
kind = "systematic"
survey = "survey.toml"
learning = "learning.toml"
[fit]
path = "fit.toml"
selection = "learned"
[psfs.sharp]
ACS_F555W = "sharp.fits"
[psfs.wide]
ACS_F555W = "wide.fits"
"""


def write_project(folder: pathlib.Path) -> None:
    """Images, library and files of settings."""
    rng = np.random.default_rng(0)
    data = (rng.poisson(0.05 * 858, (300, 300)) / 858).astype(np.float32)
    (folder / "images").mkdir()
    write_frame(Frame((BandImage(BAND, data, 858.0, 25.7),), 29.98), folder / "images")
    n = 300
    theta = rng.uniform(3, 6, n), rng.uniform(6, 9, n), rng.uniform(0, 1, n)
    mags = (-8 - 2 * (theta[0] - 4.5))[:, None]
    ClusterLibrary(*theta, (BAND,), mags, np.zeros(n)).save(folder / "library.h5")
    step = np.arange(-60, 61) / 4
    for name, width in (("sharp", 0.8), ("wide", 1.4)):
        image = np.exp(-(step[:, None] ** 2 + step**2) / 2 / width**2)
        hdu = fits.PrimaryHDU(image.astype(np.float32))
        hdu.header["OVERSAMP"] = 4
        hdu.writeto(folder / f"{name}.fits")
    texts = {"survey": SURVEY, "learning": LEARNING, "fit": FIT, "systematic": SYSTEMATIC}
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("systematic")
    write_project(folder)
    return folder


def test_one_command_gives_both_operators_and_what_changes(project, monkeypatch):
    """A wide PSF lets clusters of 1 pc pass the cut on CI that a sharp one fails."""
    asked: list[FitJob] = []

    def perform(job: FitJob, show) -> dict:
        asked.append(job)
        alpha = -2.0 + 0.1 * (len(asked) - 1)
        values = {"median": alpha, "p16": alpha - 0.05, "p84": alpha + 0.05}
        return {f"posterior.alpha_m.{name}": value for name, value in values.items()}

    monkeypatch.setattr(FitJob, "perform", perform)
    out = project / "out"
    assert run(monkeypatch, "run", project / "systematic.toml", "--out", out) == 0
    summary = json.loads((out / "summary.json").read_text())
    first, second = (InjectionTable.load(out / name / "table.h5") for name in ("sharp", "wide"))
    # The same clusters in the same places: only their images differ.
    np.testing.assert_array_equal(first.x, second.x)
    np.testing.assert_array_equal(first.true_mags, second.true_mags)
    assert first.meta["templates"] != second.meta["templates"]
    sharp, wide = summary["sharp.by_radius"], summary["wide.by_radius"]
    assert [row["r_eff_pc"] for row in sharp] == [1.0, 6.0] and sharp[0]["n"] == 150
    assert wide[0]["ci"] - sharp[0]["ci"] > 0.2 > wide[1]["ci"] - sharp[1]["ci"]
    assert wide[0]["passes_ci"] > sharp[0]["passes_ci"] + 0.3
    change = second.catalogued.mean() - first.catalogued.mean()
    assert summary["catalogued.change"] == pytest.approx(change) and change > 0.05
    # The fit is repeated with each operator, and its shift stands in errors.
    paths = [pathlib.Path(job.file.selections["learned"].path or "") for job in asked]
    assert paths == [(out / name / "operator.h5").resolve() for name in ("sharp", "wide")]
    assert summary["shift.alpha_m"] == pytest.approx(0.1)
    assert summary["shift.alpha_m.errors"] == pytest.approx(2.0)
    operators = [learned_networks(path) for path in paths]
    made = compare((first, second), (operators[0], operators[1]))
    assert {name: summary[name] for name in made} == pytest.approx(made)
    same = compare((first, first), (operators[0], operators[0]))
    assert same["change.rms"] == 0 and same["catalogued.change"] == 0
    with pytest.raises(LearningError, match="other clusters or places"):
        compare((first, second.take(slice(0, 9))), (operators[0], operators[1]))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[psfs.wide]\n", "[psfs.third]\n[psfs.wide]\n", "psfs has 3 tables .*; expected two"),
        ("wide.fits", "sharp.fits", "psfs: sharp and wide are the same"),
        ('survey = "survey.toml"', "", "survey: is missing"),
    ],
)
def test_what_a_systematic_cannot_be(old, new, message):
    assert old in SYSTEMATIC
    with pytest.raises(ConfigError, match=message):
        parse(SYSTEMATIC.replace(old, new), "systematic.toml", SystematicFile)


def test_a_fit_needs_an_operator_of_theta_before_anything_is_injected(project, monkeypatch, capsys):
    (project / "magnitudes.toml").write_text(
        LEARNING.replace("r_eff =", 'kind = "photometric"\nr_eff =')
    )
    for name, change, message in (
        ("a", ("learning.toml", "magnitudes.toml"), "trains one of magnitudes"),
        ("b", ('selection = "learned"', 'selection = "other"'), "fit.selection is 'other'"),
    ):
        (project / f"{name}.toml").write_text(SYSTEMATIC.replace(*change))
        out = project / name
        assert run(monkeypatch, "run", project / f"{name}.toml", "--out", out) != 0
        assert message in capsys.readouterr().err.replace("\n", " ")
        assert not list(out.rglob("table.h5"))


def test_a_parameter_without_error_has_a_shift_alone():
    fit = {f"posterior.a.{name}": 1.0 for name in ("median", "p16", "p84")} | {"n": 3}
    assert shifts(fit, {"posterior.a.median": 1.5}) == {"shift.a": 0.5}
