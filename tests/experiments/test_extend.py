"""Every part of docs/how-to/extend.md, written out and used as the page says."""

import importlib
import pathlib
import re
import sys

import numpy as np
import pytest
from astropy.io import fits
from tests.helpers import run

from starcensus.bands import BANDS
from starcensus.selection import load_selection
from starcensus.selection.catalogue import read_catalogue
from starcensus.selection.pipeline import Detections
from starcensus.simulate import BandImage, ClusterLibrary, Frame, write_frame

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "how-to" / "extend.md"
FILES = dict(re.findall(r'```(?:python|toml) title="(.*?)"\n(.*?)```', PAGE.read_text(), re.DOTALL))
OWN = [name for name in FILES if name.endswith(".py")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    made = tmp_path_factory.mktemp("extend")
    for name, text in FILES.items():
        (made / name).write_text(text)
    return made


@pytest.fixture(autouse=True)
def _process(folder, monkeypatch):
    """A command is a process of its own: what it may import is its own, too."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])


def allow(*names: str) -> list[str]:
    return [word for name in names for word in ("--allow-own", name)]


@pytest.mark.parametrize("name", OWN)
def test_each_part_has_thirty_lines_or_fewer(name: str):
    assert FILES[name].count("\n") <= 30


@pytest.mark.parametrize(
    ("file", "kind"), [("mock.toml", "fading_line"), ("library.toml", "log_flat")]
)
def test_a_file_alone_runs_no_code(file: str, kind: str, tmp_path, monkeypatch, capsys):
    # Kinds stay registered in a process, so this goes before the others.
    assert run(monkeypatch, "run", file, "--out", tmp_path / "out") == 2
    assert kind in (said := capsys.readouterr().err) and "--allow-own" in said


def test_a_mass_function_and_an_operator_make_a_mock(monkeypatch):
    own = allow("my_laws.py", "my_operator.py")
    assert run(monkeypatch, "run", "mock.toml", "--out", "mock", *own) in (0, None)
    catalogue = read_catalogue(pathlib.Path("mock") / "catalogue.ecsv", "starcensus")
    operator = load_selection(pathlib.Path("mock") / "operator.h5")
    # Masses are N(4.1, 0.4) weighted by the operator, here averaged over the box by hand.
    rng = np.random.default_rng(0)
    n = 40_000
    mass, age = rng.normal(4.1, 0.4, n), np.log10(rng.uniform(1e6, 1e9, n))
    weight = np.asarray(operator.p_sel(mass, age, np.abs(rng.normal(0, 0.5, n))))
    expected = np.average(mass, weights=weight)
    spread = np.hypot(0.4, 0.1) / np.sqrt(len(catalogue))
    assert abs(catalogue.theta[:, 0].mean() - expected) < 4 * spread + 0.02


def test_a_prior_of_ones_own_comes_to_the_sampler(monkeypatch):
    """With the mass function and the operator: everything of a fit but its draws."""
    module = importlib.import_module("starcensus.inference.fit")

    class Ready(Exception):
        pass

    def sampled(given, model, *_):
        module._check_start(model, given.samples, given.objects)
        assert type(model.priors["log_m_peak"]).__name__ == "Student"
        assert type(model.population.mass_age.mass).__name__ == "LogNormalMass"
        assert type(given.selection).__name__ == "FadingLine"
        raise Ready

    monkeypatch.setattr(module, "_sampled", sampled)
    own = allow("my_laws.py", "my_operator.py", "my_prior.py")
    with pytest.raises(Ready):
        run(monkeypatch, "run", "fit.toml", "--out", "ready", *own)
    provenance = (pathlib.Path("ready") / "provenance.json").read_text()
    assert all(name in provenance for name in ("my_laws", "my_operator", "my_prior"))


@pytest.mark.slow
def test_a_prior_of_ones_own_stands_in_a_fit(monkeypatch):
    with pathlib.Path("fit.toml").open("a") as file:
        file.write("\n[sampler]\nn_chains = 2\nn_warmup = 60\nn_samples = 60\n")
    own = allow("my_laws.py", "my_operator.py", "my_prior.py")
    assert run(monkeypatch, "run", "fit.toml", "--out", "fit", *own) in (0, None)
    report = (pathlib.Path("fit") / "report.html").read_text()
    assert "student" in report.lower() and "log_m_peak" in report
    provenance = (pathlib.Path("fit") / "provenance.json").read_text()
    assert all(name in provenance for name in ("my_laws", "my_operator", "my_prior"))


def test_radii_follow_a_law_of_ones_own(monkeypatch):
    own = allow("my_radius.py")
    assert run(monkeypatch, "run", "library.toml", "--out", "library.h5", *own) in (0, None)
    radius = ClusterLibrary.load("library.h5").r_eff_pc
    assert radius is not None and 0.5 <= radius.min() and radius.max() <= 20.0
    # Flat in log r: the mean of ln r over its range, with its error.
    share = np.log(radius / 0.5) / np.log(40.0)
    assert abs(share.mean() - 0.5) < 4 / np.sqrt(12 * len(radius))


def test_a_pipeline_on_a_band_of_ones_own(monkeypatch):
    rng = np.random.default_rng(0)
    data = rng.normal(0.02, 0.003, (120, 160))
    row, column = np.mgrid[:120, :160]
    places = [(20 + 30 * i, 25 + 35 * j) for i in range(4) for j in range(3)]
    for x, y in places:
        data += 100 * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 2) / (2 * np.pi)
    image = BandImage("MYCAM_F500M", data.astype(np.float32), 1000.0, 25.7)
    made = pathlib.Path("made")
    made.mkdir()
    write_frame(Frame((image,), 29.98), made)
    next(made.iterdir()).rename("image.fits")
    step = np.arange(-40, 41) / 4
    psf = fits.PrimaryHDU(np.exp(-(step[:, None] ** 2 + step**2) / 2))
    psf.header["OVERSAMP"] = 4
    psf.writeto("psf.fits")
    own = allow("my_pipeline.py")
    assert run(monkeypatch, "run", "survey.toml", "--out", "found", *own) in (0, None)
    found = Detections.read(pathlib.Path("found") / "catalogue.ecsv")
    kept = {(int(x), int(y)) for x, y in zip(found.x, found.y, strict=True)}
    catalogued = {
        (int(x), int(y))
        for x, y, good in zip(found.x, found.y, found.catalogued, strict=True)
        if good
    }
    assert catalogued == set(places) and catalogued < kept
    assert BANDS["MYCAM_F500M"].letter == "V"
