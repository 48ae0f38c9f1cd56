"""A pipeline of the user's own in `detect` and `inject`, from a file and from a module."""

import json
import pathlib
import re
import shutil

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from starcensus.experiments.cli import main as cli
from starcensus.experiments.jobs.provenance import checksum
from starcensus.experiments.schema.own_pipeline import OwnConfig
from starcensus.selection.injection import InjectionTable
from starcensus.selection.injection import run as injections
from starcensus.simulate import ClusterLibrary, Frame, write_frame
from starcensus.simulate.images.frame import BandImage

BAND = "ACS_F555W"
CODE = '''
import dataclasses

import numpy as np
from scipy import ndimage

from starcensus.selection.pipeline import Detections


@dataclasses.dataclass(frozen=True)
class Peaks:
    """Local maxima of a 5 x 5 sum, brighter than a limit."""

    limit: float
    sides: tuple[int, int] = (5, 9)

    def describe(self):
        return {"pipeline": "peaks", "limit": self.limit}

    def __call__(self, frame):
        image = frame.images[0]
        total = ndimage.uniform_filter(image.data.astype(float), self.sides[0]) * 25
        peak = (total == ndimage.maximum_filter(total, self.sides[1])) & (total > 0)
        y, x = (values.astype(float) for values in np.nonzero(peak))
        mags = image.mag(total[peak])[:, None]
        none = np.zeros(len(x))
        cuts = {"bright": mags[:, 0] < self.limit}
        return Detections(frame.bands, x, y, mags, np.zeros_like(mags), none, cuts)


class Silent:
    def __call__(self, frame):
        return None


class Unwritable(Peaks):
    def describe(self):
        return {"limit": np.ones(2)}


class Wrong(Peaks):
    def __call__(self, frame):
        return [1.0]


class OtherBands(Peaks):
    def __call__(self, frame):
        found = super().__call__(frame)
        return dataclasses.replace(found, bands=("V",))


number = 3
'''
SURVEY = f"""
[images]
paths = "{BAND}.fits"
[psf]
{BAND} = "psf.fits"
[pipeline]
kind = "own"
file = "peaks.py"
object = "Peaks"
limit = 22.0
sides = [5, 9]
[library]
path = "library.h5"
[plan]
per_frame = 12
group = "rows"
radii_pc = [1.0]
"""


def run(monkeypatch, *arguments: str) -> int | str | None:
    # A command is a process of its own, and keeps no injector of another.
    injections._injector.cache_clear()
    monkeypatch.setattr("sys.argv", ["starcensus", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> pathlib.Path:
    """A small image, its PSF, clusters for it, the survey file and its pipeline."""
    folder = tmp_path_factory.mktemp("made")
    rng = np.random.default_rng(0)
    data = np.tile(np.linspace(0.01, 0.05, 180), (120, 1)) + rng.normal(0, 0.003, (120, 180))
    image = BandImage(BAND, data.astype(np.float32), 1000.0, 25.7)
    write_frame(Frame((image,), 29.98), folder)
    step = np.arange(-40, 41) / 4
    psf = fits.PrimaryHDU(np.exp(-(step[:, None] ** 2 + step**2) / 2))
    psf.header["OVERSAMP"] = 4
    psf.writeto(folder / "psf.fits")
    n = 48
    theta = rng.uniform(3, 6, n), rng.uniform(6, 9, n), rng.uniform(0, 1, n)
    mags = np.where(rng.random((n, 1)) < 0.5, -9.5, -6.5)
    ClusterLibrary(*theta, (BAND,), mags, np.zeros(n)).save(folder / "library.h5")
    (folder / "survey.toml").write_text(SURVEY)
    (folder / "peaks.py").write_text(CODE)
    return folder


@pytest.fixture
def project(made, tmp_path) -> pathlib.Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="module")
def table(made) -> pathlib.Path:
    out = made / "test" / "table.h5"
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "inject", str(made / "survey.toml"), "--out", str(out)) == 0
    return out


def test_a_table_of_injections(made, table):
    found = InjectionTable.load(table)
    assert len(found) == 48 and found.cuts.keys() == {"bright"}
    bright = found.true_mags[:, 0] < 22
    assert found.catalogued[bright].mean() > 0.8 and not found.catalogued[~bright].any()
    pipeline = found.meta["pipeline"]
    assert pipeline["pipeline"] == "peaks" and pipeline["limit"] == 22.0
    assert pipeline["own"] == {
        "object": "Peaks",
        "sha256": checksum(made / "peaks.py"),
        "options": {"limit": 22.0, "sides": [5, 9]},
    }
    facts = json.loads(table.with_suffix(".provenance.json").read_text())
    assert facts["inputs"]["peaks.py"] == f"sha256:{checksum(made / 'peaks.py')}"


@pytest.mark.slow
def test_two_workers_make_the_same_table(made, table, tmp_path, monkeypatch):
    files = str(made / "survey.toml"), "--out", str(tmp_path / "two.h5")
    assert run(monkeypatch, "inject", *files, "--workers", "2", "--shard-frames", "1") == 0
    assert (tmp_path / "two.h5").read_bytes() == table.read_bytes()


def test_another_version_of_the_file_does_not_continue_a_table(
    made, table, project, monkeypatch, capfd
):
    files = str(project / "survey.toml"), "--out", str(project / "table.h5")
    shutil.copy(table, project / "table.h5")
    assert run(monkeypatch, "inject", *files) == 0
    assert "4 of them done before" in capfd.readouterr().out
    # Of the same length, and within the same second.
    (project / "peaks.py").write_text(CODE.replace("total > 0)", "total > 1)"))
    assert run(monkeypatch, "inject", *files) == 2
    assert "is there and is of another test" in capfd.readouterr().err
    # Not of the options alone, either, that describe() leaves out.
    (project / "peaks.py").write_text(CODE)
    (project / "survey.toml").write_text(SURVEY.replace("[5, 9]", "[5, 11]"))
    assert run(monkeypatch, "inject", *files) == 2


def test_a_catalogue_by_an_installed_module(project, monkeypatch):
    (project / "lib").mkdir()
    (project / "lib" / "peaks_elsewhere.py").write_text(CODE)
    # What names the class may be another module than that which defines it.
    (project / "lib" / "peaks_named.py").write_text("from peaks_elsewhere import Peaks as Mine\n")
    monkeypatch.syspath_prepend(str(project / "lib"))
    lines = 'file = "peaks.py"\nobject = "Peaks"\n'
    assert lines in SURVEY
    text = SURVEY.replace(lines, 'object = "peaks_named:Mine"\n')
    (project / "survey.toml").write_text(text)
    out = project / "catalogue"
    assert run(monkeypatch, "detect", str(project / "survey.toml"), "--out", str(out)) == 0
    found = Table.read(out / "catalogue.ecsv", format="ascii.ecsv")
    assert len(found) > 0 and "cut_bright" in found.colnames
    facts = json.loads((out / "provenance.json").read_text())
    expected = checksum(project / "lib" / "peaks_elsewhere.py")
    assert facts["pipeline"]["own"]["sha256"] == expected
    assert facts["inputs"]["peaks_elsewhere.py"] == f"sha256:{expected}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"peaks.py"', '"none.py"', r"survey\.toml: pipeline\.file: there is no file .*none\.py"),
        (
            '"Peaks"',
            '"Peak"',
            r"peaks\.py has no Peak; its classes are Peaks, Silent, Unwritable, W",
        ),
        ('"Peaks"', '"number"', r"number of .*peaks\.py is int; expected a class, or"),
        ("limit =", "limits =", r"Peaks with the keys limits, sides raised TypeError: .*limits"),
        ("limit = 22.0", "", r"raised TypeError: .*; it takes \(limit: float, sides: tuple"),
        ('"Peaks"\nlimit = 22.0\nsides = [5, 9]', '"Silent"', r"makes a Silent, which is no pip"),
        ('"Peaks"', '"Unwritable"', r"describe\(\) of Unwritable .* cannot be written .*ndarray"),
        ('"Peaks"', '"Wrong"', r"Wrong returned a list; expected Detections"),
        ('"Peaks"', '"OtherBands"', r"OtherBands returned magnitudes in V; expected .*ACS_F555W"),
        ('"Peaks"', '"peaks:Peaks"', r"pipeline: .*expected a name in the file, such as 'Peaks'"),
        ('file = "peaks.py"\n', "", r"pipeline: .*object is 'Peaks'; expected \"module:name\", or"),
        (
            'file = "peaks.py"\nobject = "Peaks"',
            'object = "no_such_module:Peaks"',
            r"no_such_module cannot be imported \(ModuleNotFoundError: .*; install it, or give",
        ),
        (
            'file = "peaks.py"\nobject = "Peaks"',
            'object = "itertools:count"',
            r"itertools has no file, whose checksum",
        ),
        ('object = "Peaks"\n', "", r"pipeline: object: Field required"),
    ],
)
def test_mistakes(old, new, message, project, monkeypatch, capfd):
    assert old in SURVEY
    (project / "survey.toml").write_text(SURVEY.replace(old, new))
    out = project / "out"
    assert run(monkeypatch, "detect", str(project / "survey.toml"), "--out", str(out)) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("starcensus: ") and "\n" not in error, error
    assert re.search(message, error), error


def test_a_file_that_does_not_run(project, monkeypatch, capfd):
    files = str(project / "survey.toml"), "--out", str(project / "table.h5")
    for code, said in (("class Peaks(", "SyntaxError: "), ("1 / 0", "ZeroDivisionError: division")):
        (project / "peaks.py").write_text(code)
        assert run(monkeypatch, "inject", *files) == 2
        error = capfd.readouterr().err
        assert re.search(rf"pipeline\.file: .*peaks\.py cannot be run \({said}", error), error


def test_a_file_that_was_changed_is_run_anew(project):
    config = OwnConfig.model_validate({"object": "Peaks", "file": "peaks.py", "limit": 1.0})
    first = config.pipeline(project).describe()
    (project / "peaks.py").write_text(CODE.replace('"peaks", "lim', '"peaky", "lim'))
    second = config.pipeline(project).describe()
    assert (first["pipeline"], second["pipeline"]) == ("peaks", "peaky")
    assert first["own"]["sha256"] != second["own"]["sha256"]
