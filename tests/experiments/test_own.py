"""What a user registers may be named in files, once `--allow-own` imports it, and not before."""

import json
import pathlib
import re
import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from starcensus.experiments.cli import main as cli
from starcensus.selection.injection import InjectionTable
from starcensus.selection.pipeline import PIPELINES
from starcensus.simulate import ClusterLibrary, Frame, write_frame
from starcensus.simulate.images.frame import BandImage

BAND = "ACS_F555W"
# The module has a name of its own in every test, as it has in every process.
CODE = '''
import dataclasses

import numpy as np
from scipy import ndimage

from HELPER import bright_enough
from starcensus.selection.pipeline import PIPELINES, Detections


@PIPELINES.register("NAME")
@dataclasses.dataclass(frozen=True)
class Peaks:
    """Local maxima of a 5 x 5 sum, brighter than a limit.

    **Arguments:**

    - `limit`: mag. `sides`: of the sum and of the search, pixels.
    """

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
        cuts = {"bright": bright_enough(mags[:, 0], self.limit)}
        return Detections(frame.bands, x, y, mags, np.zeros_like(mags), none, cuts)
'''
HELPER = """
def bright_enough(mags, limit):
    return mags < limit
"""
SURVEY = f"""
kind = "survey"
[images]
paths = "{BAND}.fits"
[psf]
{BAND} = "psf.fits"
[pipeline]
kind = "NAME"
limit = 22.0
sides = [5, 9]
[library]
path = "library.h5"
[plan]
per_frame = 12
group = "rows"
radii_pc = [1.0]
"""


def run(monkeypatch, *arguments: object) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["starcensus", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return stopped.value.code


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> pathlib.Path:
    """A small image, its PSF, and clusters for it."""
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
    return folder


@pytest.fixture
def project(images, tmp_path, request, monkeypatch) -> tuple[pathlib.Path, pathlib.Path]:
    """The folder, and the module in it."""
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr(PIPELINES, "_known", dict(PIPELINES))
    name = re.sub(r"\W", "_", f"own_{request.node.name}")
    shutil.copytree(images, tmp_path, dirs_exist_ok=True)
    helper = f"{name}_helper"
    code = CODE.replace("NAME", name).replace("HELPER", helper)
    (tmp_path / f"{name}.py").write_text(code)
    (tmp_path / f"{helper}.py").write_text(HELPER)
    (tmp_path / "survey.toml").write_text(SURVEY.replace("NAME", name))
    return tmp_path, tmp_path / f"{name}.py"


def test_a_pipeline_of_ones_own(project, monkeypatch, capfd):
    folder, module = project
    out = folder / "test" / "table.h5"
    files = "inject", folder / "survey.toml", "--out", out
    assert run(monkeypatch, *files) == 2
    assert re.search(
        rf"pipeline: kind: '{module.stem}' is no .*--allow-own", capfd.readouterr().err
    )
    assert run(monkeypatch, *files, "--allow-own", module) == 0
    found = InjectionTable.load(out)
    assert len(found) == 48 and found.cuts.keys() == {"bright"}
    bright = found.true_mags[:, 0] < 22
    assert found.catalogued[bright].mean() > 0.8 and not found.catalogued[~bright].any()
    facts = json.loads(out.with_suffix(".provenance.json").read_text())
    own = facts["inputs"][f"own.{module.stem}"]
    assert own["origin"]["files"] == [module.name, f"{module.stem}_helper.py"]
    # The same again is finished.
    capfd.readouterr()
    assert run(monkeypatch, *files, "--allow-own", module) == 0
    assert "finished before" in capfd.readouterr().out
    assert run(monkeypatch, "schema", "survey", "--allow-own", module) == 0
    assert f'kind = "{module.stem}"' in capfd.readouterr().out
    # A catalogue, by the same word.
    files = "detect", folder / "survey.toml", "--out", folder / "catalogue"
    assert run(monkeypatch, *files, "--allow-own", module) == 0
    table = Table.read(folder / "catalogue" / "catalogue.ecsv", format="ascii.ecsv")
    assert len(table) > 0 and "cut_bright" in table.colnames


def test_a_module_that_was_edited_since_is_not_taken_for_what_ran(project, monkeypatch, capfd):
    folder, module = project
    files = "detect", folder / "survey.toml", "--out", folder / "out", "--allow-own", module
    assert run(monkeypatch, *files) == 0
    helper = folder / f"{module.stem}_helper.py"
    # Of the same length, and within the same second.
    helper.write_text(HELPER.replace("<", ">"))
    assert run(monkeypatch, *files) == 2
    assert "was edited since it was imported" in capfd.readouterr().err


@pytest.mark.slow
def test_two_workers_make_the_same_table(project, monkeypatch):
    folder, module = project
    survey = "inject", folder / "survey.toml", "--allow-own", module
    assert run(monkeypatch, *survey, "--out", folder / "one.h5") == 0
    two = "--out", folder / "two.h5", "--workers", "2", "--shard-frames", "1"
    assert run(monkeypatch, *survey, *two) == 0
    assert (folder / "two.h5").read_bytes() == (folder / "one.h5").read_bytes()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("class Peaks(", "cannot be imported .SyntaxError"),
        ("1 / 0", "cannot be imported .ZeroDivisionError: division"),
        (
            "import subprocess\nfrom starcensus.selection.pipeline import PIPELINES\n"
            'PIPELINES.register("NAME")(subprocess.getoutput)',
            "is no dataclass",
        ),
        ("class NotRegistered: ...", "registers nothing"),
    ],
)
def test_modules_that_give_no_pipeline(code, message, project, monkeypatch, capfd):
    folder, module = project
    module.write_text(code.replace("NAME", module.stem))
    files = "detect", folder / "survey.toml", "--out", folder / "out"
    assert run(monkeypatch, *files, "--allow-own", module) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("starcensus: ") and "\n" not in error, error
    assert re.search(message, error), error


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("none.py", "there is no such file"),
        ("subprocess", "is no module of yours"),
        ("starcensus.selection", "is no module of yours"),
        ("no_such_module", "there is no such module; install it, or give its file"),
        ("json.py", "json is another module already"),
        ("numpy.py", "numpy is another module already"),
        ("a-b.py", "cannot name a module"),
    ],
)
def test_what_is_no_module_of_ones_own(given, message, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("sys.path", [*sys.path])
    for name in ("json.py", "numpy.py", "a-b.py"):
        (tmp_path / name).write_text("")
    path = tmp_path / given if given.endswith(".py") else given
    assert run(monkeypatch, "schema", "--allow-own", path) == 2
    assert re.search(message, capfd.readouterr().err)


def test_a_file_alone_names_no_code(project, monkeypatch, capfd):
    folder, _ = project
    survey = folder / "survey.toml"
    text = re.sub(r'\[pipeline\]\nkind = "\w+"', '[pipeline]\nkind = "own"', survey.read_text())
    survey.write_text(text.replace("limit = 22.0", 'object = "subprocess:getoutput"'))
    assert run(monkeypatch, "detect", survey, "--out", folder / "out") == 2
    assert "'own' is no pipeline" in capfd.readouterr().err


def test_a_band_of_ones_own(project, monkeypatch):
    """It sorts, and is named in figures, as ours."""
    from starcensus.bands import BANDS, letter_of, wavelength_order
    from starcensus.experiments.schema._base import parse

    table = '[bands.ACS_F475W]\nletter = "B"\npivot_angstrom = 4747.0\nab_minus_vega = -0.097\n'
    monkeypatch.setattr(BANDS, "_known", dict(BANDS._known))
    images = '[images]\npaths = "x"\n[pipeline]\nkind = "legus"\n'
    parse('kind = "survey"\n' + images + table, "survey.toml")
    assert letter_of("ACS_F475W") == "B"
    assert wavelength_order("ACS_F435W") < wavelength_order("ACS_F475W")
    with pytest.raises(ValueError, match=r"'ACS_F475W' is the band .* already"):
        parse('kind = "survey"\n' + images + table.replace("4747", "4700"), "survey.toml")


LAW = """
import dataclasses

from starcensus.simulate import RADIUS_LAWS, AbstractRadiusLaw


@RADIUS_LAWS.register("NAME")
@dataclasses.dataclass(frozen=True)
class LogFlat(AbstractRadiusLaw):
    low: float = 1.0
    high: float = 10.0

    def draw(self, u, log_mass):
        return self.low * (self.high / self.low) ** u
"""


def test_a_radius_law_of_ones_own_in_a_library(tmp_path, monkeypatch):
    from starcensus.simulate.library.radius import RADIUS_LAWS

    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr(RADIUS_LAWS, "_known", dict(RADIUS_LAWS))
    (tmp_path / "own_law_of_a_library.py").write_text(LAW.replace("NAME", "own_law_of_a_library"))
    (tmp_path / "library.toml").write_text(
        'kind = "library"\nn = 40\nbands = ["ACS_F555W"]\n[theta]\nkind = "log_uniform"\n'
        'log_mass = [2, 4]\n[radius]\nkind = "own_law_of_a_library"\nlow = 2\nhigh = 4\n'
    )
    files = "simulate", "library", tmp_path / "library.toml", "--out", tmp_path / "a.h5"
    assert run(monkeypatch, *files) == 2
    own = "--allow-own", tmp_path / "own_law_of_a_library.py"
    assert run(monkeypatch, *files, *own) == 0
    radii = ClusterLibrary.load(tmp_path / "a.h5").column("r_eff_pc")
    assert 2 <= radii.min() < 2.5 and 3.5 < radii.max() <= 4


def test_a_module_that_ends_the_process_cannot_be_imported(tmp_path, monkeypatch, capfd):
    (tmp_path / "own_that_exits.py").write_text("raise SystemExit(0)")
    monkeypatch.setattr("sys.path", [*__import__("sys").path])
    own = tmp_path / "own_that_exits.py"
    assert run(monkeypatch, "schema", "survey", "--allow-own", own) == 2
    assert "cannot be imported (SystemExit" in capfd.readouterr().err
