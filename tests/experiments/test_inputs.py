"""No input of any job can be replaced unnoticed, whichever the job and whichever the file.

Each job is asked for its keys, and nothing is computed. Then each file that it reads is replaced by
another that is as valid, at the same path and in the same process: every key must be another.
"""

import dataclasses
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from astropy.io import fits
from tests.experiments import finder_project, light_project
from tests.helpers import made_table
from tests.mutator import readers as valid
from tests.selection.importers import test_c4
from tests.simulate.conftest import analytic_grid
from tests.simulate.stars import test_isochrones

from starcensus.experiments.jobs import library as libraries
from starcensus.experiments.jobs._job import SILENT, Job, open_job
from starcensus.experiments.jobs._own import import_own
from starcensus.experiments.jobs.calibration import CalibrationJob
from starcensus.experiments.jobs.fit import FitJob
from starcensus.experiments.jobs.stamps import StampsJob
from starcensus.experiments.jobs.survey import InjectJob
from starcensus.files import files_below
from starcensus.forward import PRIORS
from starcensus.selection.catalogue.literature import _M31_BANDS as M31_BANDS
from starcensus.shards import ShardedRun
from starcensus.simulate import BandImage, Frame, write_frame

FILE = "job.toml"
BAND = "ACS_F555W"
BOUNDS = "{ log_mass = [3, 6], log_age = [6, 9], a_v = [0, 1] }"
MASS = 'mass = { kind = "power_law", alpha_m = -2.0 }\nage = { kind = "constant" }\n'
PARTS = f'bounds = {BOUNDS}\n{MASS}extinction = {{ kind = "half_normal" }}\n'


def operator(path: pathlib.Path, kind: str = "grid") -> None:
    made = valid.operators()[f"operator: {kind}"](path.parent)
    made.rename(path)


def image(path: pathlib.Path, level: float = 1.0) -> None:
    rng = np.random.default_rng(0)
    pixels = rng.normal(level, 0.01, (60, 70)).astype(np.float32)
    write_frame(Frame((BandImage(BAND, pixels, 1000.0, 25.7),), 29.98), path.parent)


def library(path: pathlib.Path) -> None:
    rng = np.random.default_rng(1)
    n = 30
    theta = rng.uniform(3, 6, n), rng.uniform(6, 9, n), rng.uniform(0, 1, n)
    mags = rng.uniform(-10, -7, (n, 1))
    valid.ClusterLibrary(*theta, (BAND,), mags, np.zeros(n)).save(path)


def psf(path: pathlib.Path) -> None:
    valid.psf(path)
    fits.setval(path, "OVERSAMP", value=1)


def grid(path: pathlib.Path) -> None:
    analytic_grid(np.array([6.0, 7.0]), 0.05).save(path)


def a_fit(folder: pathlib.Path) -> str:
    valid.table("csv")(folder)
    operator(folder / "operator.h5")
    return f"""
    [catalogue]
    path = "catalogue.csv"
    format = "table"
    options = {{ column_map = "map.toml" }}
    [selections.mine]
    kind = "file"
    path = "operator.h5"
    [populations.mine]
    {PARTS}
    [[fits]]
    name = "main"
    selection = "mine"
    population = "mine"
    """


def a_comparison(folder: pathlib.Path) -> str:
    valid.table("csv")(folder)
    operator(folder / "operator.h5")
    return f"""
    [catalogue]
    path = "catalogue.csv"
    format = "table"
    options = {{ column_map = "map.toml" }}
    [selection]
    kind = "file"
    path = "operator.h5"
    [models.one]
    {PARTS}
    [models.two]
    {PARTS.replace('"constant"', '"power_law", alpha_t = -0.5')}
    """


def a_fit_of_c4(folder: pathlib.Path) -> str:
    """Its networks are named in options; the checksums of the release may be waived."""
    (folder / "c4").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for kind, n in (("phys", 3), ("phot", 5)):
            net = test_c4.checkpoint(test_c4.parameters(n))
            (folder / "c4" / f"best_model_{kind}_model0.pt").write_bytes(net)
            scaler = test_c4.scaler(np.full(n, 20.0), np.full(n, 3.0), patch)
            (folder / "c4" / f"scaler_{kind}_model0.pkl").write_bytes(scaler)
    text = a_fit(folder)
    (folder / "operator.h5").unlink()
    options = 'kind = "c4_physical"\noptions = { source = "c4", allow_other = true }'
    return re.sub(r'kind = "file"\s+path = "operator.h5"', options, text)


def a_fit_of_literature(folder: pathlib.Path) -> str:
    """A catalogue to which its reader joins another that lies beside it."""
    valid.literature(folder / "apj.fits")
    names = "Reff", "Rap", *(str(band.column) for band in M31_BANDS)
    columns = {"PCID": [3, 7], **{name: [20.0, 21.0] for name in names}}
    valid.Table(columns).write(folder / "johnson2012_m31.fits")
    text = re.sub(r"options = .*column_map.*", "", a_fit(folder))
    for name in ("catalogue.csv", "map.toml"):
        (folder / name).unlink()
    return text.replace("catalogue.csv", "apj.fits").replace('"table"', '"literature"')


def a_mock(folder: pathlib.Path) -> str:
    operator(folder / "operator.h5")
    return f"""
    sigma = [0.1, 0.1, 0.1]
    [selection]
    kind = "file"
    path = "operator.h5"
    [population]
    {PARTS}
    truth = {{ log_n = 2.0 }}
    """


def a_calibration(folder: pathlib.Path) -> str:
    operator(folder / "generator.h5")
    operator(folder / "operator.h5", "magnitude limit")
    return f"""
    [calibration]
    n_catalogues = 4
    [selections.one]
    kind = "file"
    path = "generator.h5"
    [selections.two]
    kind = "file"
    path = "operator.h5"
    [populations.mine]
    {PARTS}
    [[cases]]
    name = "case"
    population = "mine"
    generator = "one"
    selection = "two"
    sigma = [0.1, 0.1, 0.1]
    """


def a_library(folder: pathlib.Path) -> str:
    grid(folder / "grid.h5")
    rng = np.random.default_rng(6)
    columns = {"log_mass": rng.uniform(2, 3, 5), "log_age": rng.uniform(6, 7, 5)}
    valid.Table(columns | {"a_v": np.zeros(5)}).write(folder / "theta.ecsv")
    return """
    grid = "grid.h5"
    [theta]
    kind = "table"
    path = "theta.ecsv"
    """


def a_library_of_a_relation(folder: pathlib.Path) -> str:
    for z in (0.004, 0.02):
        made = analytic_grid(np.array([6.0, 7.0]), 0.05)
        dataclasses.replace(made, provenance={"z": z}).save(folder / f"{z}.h5")
    return """
    n = 5
    [metallicity]
    grids = ["0.004.h5", "0.02.h5"]
    z = [0.01]
    [theta]
    kind = "log_uniform"
    log_age = [6.0, 7.0]
    """


def an_emulator(folder: pathlib.Path) -> str:
    grid(folder / "grid.h5")
    return """
    grid = "grid.h5"
    survey_bands = ["V"]
    bounds = { log_mass = [2.0, 7.0], log_age = [6.0, 10.1], a_v = [0.0, 3.0] }
    """


def a_galaxy(folder: pathlib.Path) -> str:
    grid(folder / "grid.h5")
    psf(folder / "psf.fits")
    return f"""
    grid = "grid.h5"
    [psf]
    {BAND} = "psf.fits"
    """


def a_survey(folder: pathlib.Path) -> str:
    """To be searched, with a synthetic galaxy's own clusters."""
    (folder / "images").mkdir()
    image(folder / "images" / f"{BAND}.fits")
    fits.PrimaryHDU(np.ones((60, 70), np.float32)).writeto(folder / "weight.fits")
    psf(folder / "psf.fits")
    (folder / "galaxy").mkdir()
    valid.known(folder / "galaxy" / "clusters.ecsv")
    return f"""
    [images]
    paths = "images"
    [images.read]
    weight = "weight.fits"
    [psf]
    {BAND} = "psf.fits"
    [pipeline]
    kind = "legus"
    min_bands = 1
    [known]
    galaxy = "galaxy"
    """


def an_injection(folder: pathlib.Path) -> str:
    library(folder / "library.h5")
    text = a_survey(folder).replace('[known]\n    galaxy = "galaxy"', "")
    (folder / "galaxy" / "clusters.ecsv").unlink()
    return f"""{text}
    [library]
    path = "library.h5"
    [plan]
    n_clusters = 12
    per_frame = 6
    group = "rows"
    radii_pc = [1.0]
    """


def a_learning(folder: pathlib.Path) -> str:
    for k in range(2):
        made_table(20, seed=k)[0].save(folder / f"table{k}.h5")
    return 'tables = ["table0.h5", "table1.h5"]'


def a_posterior(folder: pathlib.Path) -> str:
    for k in range(2):
        made_table(20, seed=k)[0].save(folder / f"table{k}.h5")
    return 'tables = ["table0.h5"]\ntest = ["table1.h5"]'


def a_choice(folder: pathlib.Path) -> str:
    operator(folder / "pilot.h5", "network")
    for name in ("library.h5", "used.h5"):
        library(folder / name)
    return """
    pilot = "pilot.h5"
    library = "library.h5"
    exclude = ["used.h5"]
    choice = { n = 10 }
    """


def an_evaluation(folder: pathlib.Path) -> str:
    operator(folder / "operator.h5", "network")
    made_table(20)[0].save(folder / "table.h5")
    return 'operator = "operator.h5"\ntables = ["table.h5"]'


def a_marginalisation(folder: pathlib.Path) -> str:
    operator(folder / "network.h5", "network")
    valid.slug2(folder)
    (folder / "zero.txt").write_text("# Vega\nACS_F555W 0.009\nACS_F814W 0.4\n")
    return """
    network = "network.h5"
    libraries = ["x"]
    zeropoints = "zero.txt"
    bands = ["ACS_F555W", "ACS_F814W"]
    """


def a_marginalisation_of_ours(folder: pathlib.Path) -> str:
    operator(folder / "network.h5", "network")
    library(folder / "library.h5")
    return 'network = "network.h5"\nlibraries = ["library.h5"]'


def a_grid(folder: pathlib.Path) -> str:
    """Its atmospheres lie in folders, one of them a link."""
    (folder / "isochrones.dat").write_text(test_isochrones.CMD)
    (folder / "ck04").mkdir()
    valid.ck04(folder / "ck04")
    for name in ("elsewhere", "hot"):
        (folder / name).mkdir()
    valid.wmbasic(folder / "elsewhere")
    (folder / "hot" / "WMBASIC").symlink_to(folder / "elsewhere")
    (folder / "curves").mkdir()
    for name in ("curves/V.dat", "curve.dat"):
        (folder / name).write_text("4000 0.0\n5000 0.5\n5500 0.4\n6000 0.0\n")
    valid.vega(folder / "vega.fits")
    return """
    isochrones = "isochrones.dat"
    format = "cmd"
    ck04 = "ck04"
    hot = "hot"
    curves = "curves"
    vega = "vega.fits"
    filters = { MINE_F500W = "curve.dat" }
    """


def a_grid_of_slug(folder: pathlib.Path) -> str:
    (folder / "slug" / "lib").mkdir(parents=True)
    (folder / "slug" / "lib" / "tracks.dat").write_text("1 2 3\n")
    (folder / "ck04").mkdir()
    valid.ck04(folder / "ck04")
    (folder / "curve.dat").write_text("4000 0.0\n5000 0.5\n5500 0.4\n6000 0.0\n")
    (folder / "zero.txt").write_text("MINE_F500W 0.009\n")
    return """
    isochrones = "slug"
    format = "slug"
    ages = [6.0, 7.0, 8.0]
    ck04 = "ck04"
    zeropoints = "zero.txt"
    filters = { MINE_F500W = "curve.dat" }
    """


def a_light(folder: pathlib.Path, text: str = light_project.LIGHT) -> str:
    light_project.write_project(folder)
    for name in ("light.toml", "measure.toml"):
        (folder / name).unlink()
    return text.partition("\n")[2]


def a_measurement(folder: pathlib.Path) -> str:
    return a_light(folder, light_project.MEASURE)


def a_light_of_injections(folder: pathlib.Path) -> str:
    return light_project.of_injections(a_light(folder), a_learning(folder))


def a_light_of_a_survey(folder: pathlib.Path) -> str:
    text = 'kind = "survey"\n' + an_injection(folder).replace("    ", "")
    (folder / "survey.toml").write_text(text)
    return light_project.of_injections(a_light(folder), 'survey = "survey.toml"')


def a_systematic(folder: pathlib.Path) -> str:
    (folder / "survey.toml").write_text(
        'kind = "survey"\n' + an_injection(folder).replace("    ", "")
    )
    (folder / "learning.toml").write_text('kind = "learning"\ntables = ["none.h5"]\n')
    (folder / "fit.toml").write_text('kind = "fit"\n' + a_fit(folder).replace("    ", ""))
    (folder / "psf.fits").rename(folder / "sharp.fits")
    psf(folder / "wide.fits")
    # These are of the fit, which is a job of its own with keys of its own.
    for name in ("catalogue.csv", "map.toml", "operator.h5"):
        (folder / name).unlink()
    return f"""
    survey = "survey.toml"
    learning = "learning.toml"
    fit = {{ path = "fit.toml", selection = "mine" }}
    [psfs.sharp]
    {BAND} = "sharp.fits"
    [psfs.wide]
    {BAND} = "wide.fits"
    """


# Where tests stop runs in shards, a bank is drawn all the same.
WHOLE_RUN = ShardedRun.run


def a_bank_of_stamps(folder: pathlib.Path) -> str:
    finder_project.write_project(folder)
    for path in (*(folder / "images").iterdir(), folder / "known.csv"):
        path.unlink()
    text = (folder / "stamps.toml").read_text()
    for name in ("stamps.toml", "finder.toml"):
        (folder / name).unlink()
    return text.replace('kind = "stamps"\n', "")


def a_finder(folder: pathlib.Path) -> str:
    finder_project.write_project(folder, 60)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ShardedRun, "run", WHOLE_RUN)
        open_job(folder / "stamps.toml", folder / "bank.h5").run(SILENT)
    for path in (folder / "grid.h5", folder / "stamps.toml", *folder.glob("*_psf.fits")):
        path.unlink()
    text = (folder / "finder.toml").read_text()
    (folder / "finder.toml").unlink()
    return text.replace('kind = "finder"\n', "")


Make = Callable[[pathlib.Path], str]
JOBS: dict[str, tuple[str, Make]] = {
    "fit": ("fit", a_fit),
    "fit with C-4": ("fit", a_fit_of_c4),
    "fit of literature": ("fit", a_fit_of_literature),
    "compare": ("compare", a_comparison),
    "mock": ("mock", a_mock),
    "calibration": ("calibration", a_calibration),
    "library": ("library", a_library),
    "library of a relation": ("library", a_library_of_a_relation),
    "emulator": ("emulator", an_emulator),
    "galaxy": ("galaxy", a_galaxy),
    "survey": ("survey", a_survey),
    "injection": ("survey", an_injection),
    "learning": ("learning", a_learning),
    "posterior": ("posterior", a_posterior),
    "observation": ("observation", a_posterior),
    "choice": ("choice", a_choice),
    "evaluation": ("evaluation", an_evaluation),
    "marginalisation": ("marginalisation", a_marginalisation),
    "marginalisation of ours": ("marginalisation", a_marginalisation_of_ours),
    "grid": ("grid", a_grid),
    "grid of SLUG": ("grid", a_grid_of_slug),
    "systematic": ("systematic", a_systematic),
    "light": ("light", a_light),
    "light of injections": ("light", a_light_of_injections),
    "light of a survey": ("light", a_light_of_a_survey),
    "measure": ("measure", a_measurement),
    "stamps": ("stamps", a_bank_of_stamps),
    "finder": ("finder", a_finder),
}


class Asked(Exception):
    """A run in shards was asked for."""


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[Job[Any]], tuple[str, ...]]:
    """All keys by which results of a job are known again."""

    def stop(run: ShardedRun, *_: object) -> None:
        raise Asked(run.key)

    monkeypatch.setattr(ShardedRun, "run", stop)

    def of(job: Job[Any]) -> tuple[str, ...]:
        if isinstance(job, FitJob):
            return tuple(one.identity.key for one in job.fits)
        if isinstance(job, InjectJob | libraries.LibraryJob | StampsJob | CalibrationJob):
            job.out.parent.mkdir(exist_ok=True)
            with pytest.raises(Asked) as asked:
                if isinstance(job, CalibrationJob):
                    job.calibrate(job.file.cases[0], SILENT)
                job.run(SILENT)
            return job.identity.key, str(asked.value)
        return (job.identity.key,)

    return of


def write(name: str, folder: pathlib.Path) -> None:
    kind, make = JOBS[name]
    text = make(folder)
    (folder / FILE).write_text(f'kind = "{kind}"\n' + re.sub(r"^ +", "", text, flags=re.M))


def opened(folder: pathlib.Path, **how: Any) -> Job[Any]:
    return open_job(folder / FILE, folder.parent / "out" / "out.h5", **how)


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
    # Of C-4's networks the fit takes the physical one alone.
    found = [path for path in files_below(folder) if path.name != FILE]
    return [path for path in found if "phot_model" not in path.name]


def replace(path: pathlib.Path) -> None:
    """Another file of the same kind, as valid, and of the same size where that is possible."""
    if path.suffix == ".h5":
        with h5py.File(path, "a") as file:
            found: list[h5py.Dataset] = []
            file.visititems(lambda _, item: found.append(item) if _is_float(item) else None)
            values = found[-1][()]
            values.flat[-1] *= 1 + 1e-6
            values.flat[-1] += 1e-9
            found[-1][...] = values
    elif path.suffix == ".fits":
        with fits.open(path, mode="update") as hdus:
            data: Any = next(hdu.data for hdu in hdus if hdu.data is not None)
            names = data.dtype.names
            column = data if names is None else data[next(n for n in names if _floats(data[n]))]
            # Of weights it counts where they are 0.
            column.flat[-1] *= 0.0 if path.stem == "weight" else 1.01
    elif path.suffix in (".pt", ".pkl"):
        with pytest.MonkeyPatch.context() as patch:
            values = {k: 1.5 * v for k, v in test_c4.parameters(3).items()}
            scaler = test_c4.scaler(np.full(3, 21.0), np.full(3, 3.0), patch)
            content = test_c4.checkpoint(values) if path.suffix == ".pt" else scaler
        path.write_bytes(content)
    else:
        text = path.read_text()
        digits = [match.start() for match in re.finditer(r"\d", text)]
        at = digits[-1] if digits else len(text)
        path.write_text(text[:at] + str(int(text[at]) ^ 1 if digits else "#") + text[at + 1 :])


def _floats(values: np.ndarray) -> bool:
    return values.dtype.kind == "f"


def _is_float(item: object) -> bool:
    return isinstance(item, h5py.Dataset) and item.dtype.kind == "f" and bool(item.size)


@pytest.mark.parametrize("name", JOBS)
def test_no_file_can_be_replaced_unnoticed(name: str, tmp_path: pathlib.Path, keys):
    """Catches a file that a job reads and does not state, and one that a process remembers."""
    folder = tmp_path / "project"
    folder.mkdir()
    write(name, folder)
    before, files = keys(opened(folder)), files_of(folder)
    assert keys(opened(folder)) == before and files
    for path in files:
        content = path.read_bytes()
        replace(path)
        assert path.read_bytes() != content
        after = keys(opened(folder))
        same = [k for k, (old, new) in enumerate(zip(before, after, strict=True)) if old == new]
        assert not same, f"{path.relative_to(folder)}: {same}"
        path.write_bytes(content)
    assert keys(opened(folder)) == before


OWN = """
import dataclasses
import numpyro.distributions as dist
from HELPER import SPREAD
from starcensus.forward import PRIORS, AbstractPrior


@PRIORS.register("NAME")
@dataclasses.dataclass(frozen=True)
class Mine(AbstractPrior):
    centre: float

    def distribution(self, size=0):
        return dist.Normal(self.centre, SPREAD)
"""


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("edited", ["module", "helper"])
def test_no_module_can_be_replaced_unnoticed(
    name: str, edited: str, tmp_path: pathlib.Path, keys, monkeypatch, request
):
    """Catches results in shards, which have keys of their own, of a law that has been edited."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(PRIORS, "_known", dict(PRIORS))
    folder = tmp_path / "project"
    folder.mkdir()
    write(name, folder)
    module = re.sub(r"\W", "_", f"own_{request.node.name}")
    paths = {"module": tmp_path / f"{module}.py", "helper": tmp_path / f"{module}_helper.py"}
    paths["module"].write_text(OWN.replace("HELPER", f"{module}_helper").replace("NAME", module))
    paths["helper"].write_text("SPREAD = 1.0\n")

    def now() -> tuple[str, ...]:
        # Each command is a process of its own.
        for path in paths.values():
            sys.modules.pop(path.stem, None)
        return keys(opened(folder, own=import_own([str(paths["module"])])))

    before = now()
    assert now() == before
    paths[edited].write_text(paths[edited].read_text() + "# edited\n")
    assert all(old != new for old, new in zip(before, now(), strict=True))


def test_every_kind_of_job_is_here():
    from starcensus.experiments.schema._base import KINDS

    assert {kind for kind, _ in JOBS.values()} == set(KINDS) - {"population"}
