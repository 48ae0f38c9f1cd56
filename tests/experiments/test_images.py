"""`simulate galaxy`, `detect` and `inject`: what they write, and what they say to mistakes."""

import dataclasses
import json
import pathlib
import re
import shutil
from collections.abc import Callable

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from tests.helpers import run

from starcensus.experiments.jobs._images import Survey, SurveyBuild
from starcensus.experiments.schema._base import load
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.selection.injection import InjectionTable, Injector
from starcensus.selection.pipeline import Detections, describe_pipeline
from starcensus.simulate import ClusterLibrary, Frame, read_band, read_frame, write_frame

BANDS = ("ACS_F435W", "ACS_F555W", "ACS_F814W")
GALAXY = """
kind = "galaxy"
seed = 1
field = true
[galaxy]
shape = [128, 160]
centre = [0.6, 0.4]
[[exposures]]
band = "ACS_F435W"
exposure_s = 1358.0
zero_point = 25.784
sky = 0.02
[[exposures]]
band = "ACS_F555W"
exposure_s = 858.0
zero_point = 25.731
sky = 0.035
n_exposures = 2
[[exposures]]
band = "ACS_F814W"
exposure_s = 922.0
zero_point = 25.53
sky = 0.07
[population]
bounds = { log_mass = [4, 6], log_age = [6, 8], a_v = [0, 1] }
mass = { kind = "power_law" }
age = { kind = "constant" }
extinction = { kind = "half_normal" }
truth = { log_n = 1.3, alpha_m = -1.8 }
[radius]
kind = "flat"
low = 2
high = 4
whole = true
[psf]
ACS_F435W = "ACS_F435W_psf.fits"
ACS_F555W = "ACS_F555W_psf.fits"
ACS_F814W = { path = "ACS_F814W_psf.fits", oversampling = 4 }
"""
SURVEY = """
kind = "survey"
[images]
paths = "galaxy"
[psf]
ACS_F435W = "ACS_F435W_psf.fits"
ACS_F555W = "ACS_F555W_psf.fits"
ACS_F814W = "ACS_F814W_psf.fits"
[pipeline]
kind = "legus"
detection_sigma = 5.0
min_bands = 2
[library]
path = "library.h5"
[plan]
n_clusters = 60
per_frame = 20
radii_pc = [3.0]
"""


def write_psfs(folder: pathlib.Path) -> None:
    step = np.arange(-100, 101) / 4
    r2 = step[:, None] ** 2 + step**2
    for width, band in zip((1.5, 1.7, 2.0), BANDS, strict=True):
        hdu = fits.PrimaryHDU(((1 + r2 / width**2) ** -3).astype(np.float32))
        hdu.header["OVERSAMP"] = 4
        hdu.writeto(folder / f"{band}_psf.fits")


def write_library(folder: pathlib.Path) -> None:
    n, rng = 100, np.random.default_rng(3)
    theta = rng.uniform(3, 6, n), rng.uniform(6, 9, n), rng.uniform(0, 1, n)
    mags = rng.uniform(-11, -5, (n, 1)) + np.array([[0.1, 0.0, -0.3, 0.5]])
    bands = (*BANDS, "WFC3_UVIS_F336W")
    ClusterLibrary(*theta, bands, mags, np.zeros(n)).save(folder / "library.h5")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    """A folder with a galaxy, its PSFs, a library and the two files."""
    folder = tmp_path_factory.mktemp("project")
    write_psfs(folder)
    write_library(folder)
    (folder / "galaxy.toml").write_text(GALAXY)
    (folder / "survey.toml").write_text(SURVEY)
    with pytest.MonkeyPatch.context() as patch:
        files = str(folder / "galaxy.toml"), "--out", str(folder / "galaxy")
        assert run(patch, "simulate", "galaxy", *files) == 0
    return folder


@pytest.fixture
def copy(project, tmp_path) -> pathlib.Path:
    """One's own copy of the project."""
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture(scope="module")
def table(project) -> pathlib.Path:
    out = project / "test" / "table.h5"
    with pytest.MonkeyPatch.context() as patch:
        files = str(project / "survey.toml"), "--out", str(out)
        assert run(patch, "inject", *files, "--shard-frames", "2", "--parquet") == 0
    return out


def test_a_galaxy_and_its_truth(project):
    out = project / "galaxy"
    frame, field = read_frame(sorted(out.glob("*.fits"))), read_frame(sorted(out.glob("field/*")))
    assert frame.bands == field.bands == BANDS and frame.shape == (128, 160)
    assert frame.distance_modulus == 29.98 and frame.image("ACS_F555W").n_exposures == 2
    clusters = Table.read(out / "clusters.ecsv", format="ascii.ecsv")
    library = ClusterLibrary.load(out / "clusters.h5")
    assert len(clusters) == len(library) > 5
    np.testing.assert_array_equal(clusters["log_mass"], library.log_mass)
    assert set(np.unique(clusters["r_eff_pc"])) <= {2.0, 3.0, 4.0}
    assert (clusters["log_mass"] >= 4).all() and (clusters["log_age"] <= 8).all()
    # What was added is the clusters' light, and lies where the table says.
    for image, bare in zip(frame, field, strict=True):
        own = (image.data - bare.data).astype(float)
        rate = 10 ** (-0.4 * (np.asarray(clusters[f"mag_{image.band}"]) - image.zero_point))
        assert own.sum() == pytest.approx(rate.sum(), rel=0.05)
        brightest = int(np.argmax(rate))
        row, col = (round(float(clusters[axis][brightest])) for axis in ("y", "x"))
        assert own[row - 8 : row + 9, col - 8 : col + 9].sum() > 0.7 * rate[brightest]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["n_clusters"] == len(clusters) and summary["truth.alpha_m"] == -1.8
    assert summary["truth.log_n"] == 1.3 and clusters.meta["truth"]["alpha_m"] == -1.8
    facts = json.loads((out / "provenance.json").read_text())
    assert facts["seed"] == 1 and facts["file"] == GALAXY
    assert facts["inputs"]["psf.ACS_F814W"]["name"] == "ACS_F814W_psf.fits"
    assert (out / "preview.png").read_bytes()[:4] == b"\x89PNG"


def test_clusters_star_by_star_in_the_same_field(copy, monkeypatch):
    text = GALAXY.replace("seed = 1\n", "seed = 1\nresolved = true\n").replace("1.3", "0.7")
    (copy / "galaxy.toml").write_text(text)
    out = copy / "resolved"
    assert run(monkeypatch, "simulate", "galaxy", str(copy / "galaxy.toml"), "--out", str(out)) == 0
    for band in BANDS:
        before, after = (f / "field" / f"{band}.fits" for f in (copy / "galaxy", out))
        assert before.read_bytes() == after.read_bytes()
        assert read_band(out / f"{band}.fits").data.sum() > read_band(after).data.sum()


def test_a_galaxy_without_clusters(copy, monkeypatch):
    start, stop = GALAXY.index("[population]"), GALAXY.index("[radius]")
    (copy / "galaxy.toml").write_text(GALAXY[:start] + GALAXY[stop:])
    out = copy / "galaxy"
    assert run(monkeypatch, "simulate", "galaxy", str(copy / "galaxy.toml"), "--out", str(out)) == 0
    for band in BANDS:
        assert (out / f"{band}.fits").read_bytes() == (out / f"field/{band}.fits").read_bytes()
    assert len(Table.read(out / "clusters.ecsv", format="ascii.ecsv")) == 0
    assert not (out / "clusters.h5").exists()
    assert json.loads((out / "summary.json").read_text())["n_clusters"] == 0


def test_a_catalogue(project, tmp_path, monkeypatch, capfd):
    out = tmp_path / "catalogue"
    assert run(monkeypatch, "detect", str(project / "survey.toml"), "--out", str(out)) == 0
    assert "catalogued" in capfd.readouterr().out
    made = Table.read(out / "catalogue.ecsv", format="ascii.ecsv")
    build = SurveyBuild("s", SURVEY, Sources(project))()
    found = build.pipeline(build.frame)
    np.testing.assert_array_equal(made["x"], found.x)
    np.testing.assert_array_equal(made["mag_ACS_F814W"], found.mags[:, 2])
    np.testing.assert_array_equal(made["cut_ci"], found.cuts["ci"])
    assert made["error_ACS_F435W"].unit == "mag" and "ra" not in made.colnames
    again = Detections.read(out / "catalogue.ecsv")
    for name in ("x", "y", "mags", "mag_errors", "ci", "catalogued"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))
    assert again.counts() == found.counts() and list(again.columns) == [*found.columns, "near_edge"]
    assert again.pipeline == describe_pipeline(build.pipeline)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["n_detected"] == len(found) and summary["n_catalogued"] == found.catalogued.sum()
    assert summary["n_after.absolute_v"] == summary["n_catalogued"] <= summary["n_after.ci"]
    facts = json.loads((out / "provenance.json").read_text())
    assert facts["pipeline"]["detection_sigma"] == 5
    assert "images.ACS_F435W.fits" in facts["inputs"]
    # The brightest cluster is in it, at its place and magnitude.
    clusters = Table.read(project / "galaxy" / "clusters.ecsv", format="ascii.ecsv")
    brightest = clusters[np.argmin(clusters["mag_ACS_F555W"])]
    apart = np.hypot(made["x"] - brightest["x"], made["y"] - brightest["y"])
    nearest = made[np.argmin(apart)]
    assert apart.min() < 1.5 and nearest["catalogued"]
    assert nearest["mag_ACS_F555W"] == pytest.approx(brightest["mag_ACS_F555W"], abs=0.3)


def test_a_catalogue_of_phangs(copy, monkeypatch, capfd):
    replace('"legus"\ndetection_sigma = 5.0', '"phangs"')(copy)
    arguments = "detect", str(copy / "survey.toml"), "--out", str(copy / "out")
    assert run(monkeypatch, *arguments) == 2
    assert re.search(r"survey\.toml: .*stars do not make .*set `ci_floor`", capfd.readouterr().err)
    replace("min_bands", "ci_floor = 1.3\nmin_bands")(copy)
    assert run(monkeypatch, *arguments) == 0
    made = Table.read(copy / "out" / "catalogue.ecsv", format="ascii.ecsv")
    assert {"cut_candidate", "mci_in", "super_hd"} <= set(made.colnames) and made[
        "catalogued"
    ].any()
    summary = json.loads((copy / "out" / "summary.json").read_text())
    assert summary["n_after.single"] == summary["n_catalogued"] == made["catalogued"].sum()


def test_bad_pixels_and_the_sky(copy, monkeypatch):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [24.2, 15.8], [80, 60]
    wcs.wcs.cdelt = [-0.0396 / 3600, 0.0396 / 3600]
    frame = read_frame(sorted((copy / "galaxy").glob("*.fits")))
    with_wcs = (
        type(image)(**{**image.__dict__, "wcs": wcs, "bad": None, "data": image.data})
        for image in frame
    )
    write_frame(Frame(tuple(with_wcs), 29.98, 0.0396), copy / "galaxy")
    with fits.open(copy / "galaxy" / "ACS_F555W.fits", mode="update") as file:
        file["SCI"].data[:20] = np.nan
    out = copy / "catalogue"
    assert run(monkeypatch, "detect", str(copy / "survey.toml"), "--out", str(out)) == 0
    made = Table.read(out / "catalogue.ecsv", format="ascii.ecsv")
    assert json.loads((out / "summary.json").read_text())["n_bad_pixels"] == 20 * 160
    assert made["y"].min() > 18
    ra, dec = wcs.pixel_to_world_values(made["x"], made["y"])
    np.testing.assert_allclose(made["ra"], ra, atol=1e-9)
    np.testing.assert_allclose(made["dec"], dec, atol=1e-9)


def test_a_table_of_injections(project, table):
    made = InjectionTable.load(table)
    assert len(made) == 60 and made.bands == BANDS and set(made.r_eff_pc) == {3.0}
    library = ClusterLibrary.load(project / "library.h5", BANDS)
    np.testing.assert_allclose(made.true_mags, library.abs_mags[made.cluster] + 29.98, rtol=1e-6)
    bright = made.true_mags[:, 1] < 20.5
    assert made.catalogued[bright].mean() > 0.6 > made.catalogued[~bright].mean()
    summary = json.loads((table.with_suffix(".summary.json")).read_text())
    assert summary["n_injected"] == 60 and summary["n_catalogued"] == made.catalogued.sum()
    assert all(isinstance(value, int | float) for value in summary.values())
    facts = json.loads((table.with_suffix(".provenance.json")).read_text())
    assert facts["test"]["key"] == made.meta["key"]
    assert facts["inputs"]["library"]["name"] == "library.h5"
    flat = Table.read(table.with_suffix(".parquet"))
    np.testing.assert_array_equal(flat["true_mags_ACS_F814W"], made.true_mags[:, 2])
    np.testing.assert_array_equal(flat["cut_ci"], made.cuts["ci"])


def test_injections_of_chosen_clusters(copy, monkeypatch):
    library = ClusterLibrary.load(copy / "library.h5").take(slice(10, 50))
    inclusion, unknown = np.linspace(0.05, 1.0, 40), np.full(40, np.nan)
    chosen = dataclasses.replace(library, inclusion=inclusion, log_density=unknown)
    chosen.save(copy / "library.h5")
    text = SURVEY.replace("n_clusters = 60", "start_row = 20")
    (copy / "survey.toml").write_text(text)
    files = str(copy / "survey.toml"), "--out", str(copy / "chosen" / "table.h5")
    assert run(monkeypatch, "inject", *files, "--parquet") == 0
    made = InjectionTable.load(copy / "chosen" / "table.h5")
    assert sorted(made.cluster) == list(range(20, 40))
    np.testing.assert_array_equal(made.inclusion, inclusion[made.cluster])
    assert made.meta["plan"]["n_clusters"] == 20
    flat = Table.read(copy / "chosen" / "table.parquet")
    np.testing.assert_array_equal(flat["inclusion"], made.inclusion)


def test_two_workers_make_the_same_table(project, table, tmp_path, monkeypatch):
    files = str(project / "survey.toml"), "--out", str(tmp_path / "two.h5")
    assert run(monkeypatch, "inject", *files, "--workers", "2", "--shard-frames", "1") == 0
    assert (tmp_path / "two.h5").read_bytes() == table.read_bytes()


@pytest.mark.slow
def test_a_dask_cluster_makes_the_same_table(project, table, tmp_path, monkeypatch):
    """Frames are run by the cluster's processes, none by the one that asks."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(Injector, "run", lambda *arguments: pytest.fail("a frame was run here"))
    out = tmp_path / "dask.h5"
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        processes=True,
        dashboard_address=None,
        local_directory=str(tmp_path / "dask"),
    ) as cluster:
        files = str(project / "survey.toml"), "--out", str(out)
        options = "--scheduler", cluster.scheduler_address, "--shard-frames", "1"
        assert run(monkeypatch, "inject", *files, *options) == 0
    assert out.read_bytes() == table.read_bytes()


def test_an_interrupted_run_goes_on(project, table, tmp_path, monkeypatch, capfd):
    files = str(project / "survey.toml"), "--out", str(tmp_path / "again.h5")
    original, calls = SurveyBuild.__call__, []

    def interrupted(build):
        injector = original(build)
        run_one = injector.run

        def stop(number, *rest):
            if number == 2:
                raise KeyboardInterrupt
            return run_one(number, *rest)

        calls.append(1)
        object.__setattr__(injector, "run", stop)
        return injector

    with monkeypatch.context() as patch:
        patch.setattr(SurveyBuild, "__call__", interrupted)
        assert run(patch, "inject", *files, "--shard-frames", "1") in (1, 130)
    assert calls and not (tmp_path / "again.h5").exists()
    assert run(monkeypatch, "inject", *files) == 0
    assert re.search(r"frames, 2 of them done before", capfd.readouterr().out)
    assert (tmp_path / "again.h5").read_bytes() == table.read_bytes()


def test_options_of_the_images(project):
    text = SURVEY.replace(
        'paths = "galaxy"',
        'paths = { ACS_F555W = "galaxy/ACS_F555W.fits", ACS_F435W = "galaxy/ACS_F435W.fits" }\n'
        'bands = ["ACS_F555W"]\nread = { read_noise_e = 9.0, exposure_s = 100.0 }\n'
        "read_band = { ACS_F555W = { exposure_s = 50.0 } }",
    )
    (project / "options.toml").write_text(text)
    file, _ = load(project / "options.toml", SurveyFile)
    [image] = Survey(file, Sources(project)).frame
    assert (image.band, image.read_noise_e, image.exposure_s) == ("ACS_F555W", 9.0, 50.0)


def replace(old: str, new: str, name: str = "survey.toml") -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        assert old in (folder / name).read_text()
        (folder / name).write_text((folder / name).read_text().replace(old, new))

    return change


def galaxy(old: str, new: str) -> Callable[[pathlib.Path], None]:
    return replace(old, new, "galaxy.toml")


def both(*changes: Callable[[pathlib.Path], None]) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        for one in changes:
            one(folder)

    return change


def header(keyword: str, value: object, extension: str | int = 0) -> Callable:
    def change(folder: pathlib.Path) -> None:
        with fits.open(folder / "galaxy" / "ACS_F555W.fits", mode="update") as file:
            file[extension].header[keyword] = value

    return change


def all_nan(folder: pathlib.Path) -> None:
    with fits.open(folder / "galaxy" / "ACS_F555W.fits", mode="update") as file:
        file["SCI"].data[:] = np.nan


def empty(folder: pathlib.Path) -> None:
    (folder / "empty").mkdir()
    replace('"galaxy"', '"empty"')(folder)


def remove(name: str) -> Callable[[pathlib.Path], None]:
    return lambda folder: (folder / name).unlink()


def no_psf(folder: pathlib.Path) -> None:
    name = folder / "galaxy" / "ACS_F435W.fits"
    with fits.open(name, mode="update") as file:
        file[0].header["BAND"] = "ACS_F475W"
    replace('ACS_F435W = "ACS_F435W_psf.fits"\n', "")(folder)


def other_images(folder: pathlib.Path) -> None:
    (folder / "out").mkdir()
    shutil.copy(folder / "galaxy" / "ACS_F555W.fits", folder / "out" / "V.fits")


def other_table(folder: pathlib.Path) -> None:
    (folder / "out").write_text("something")


def no_oversampling(folder: pathlib.Path) -> None:
    with fits.open(folder / "ACS_F555W_psf.fits", mode="update") as file:
        del file[0].header["OVERSAMP"]


MISTAKES: dict[str, tuple[str, Callable[[pathlib.Path], None], str]] = {
    "no file": ("detect", remove("survey.toml"), r"survey\.toml: there is no such survey file"),
    "bad TOML": ("detect", replace("[images]", "[images"), r"survey\.toml: not valid TOML"),
    "unknown key": ("detect", replace("paths", "path"), r"images\.path: unknown key"),
    "no folder": ("detect", replace('"galaxy"', '"none"'), r"images\.paths: no file none in"),
    "empty folder": ("detect", empty, r"the folder .*empty has no image \(\.fits"),
    "missing file": (
        "detect",
        replace('"galaxy"', '["galaxy/ACS_F606W.fits"]'),
        r"images\.paths: no file galaxy/ACS_F606W\.fits",
    ),
    "missing band": (
        "detect",
        replace('"galaxy"', '"galaxy"\nbands = ["ACS_F606W"]'),
        r"survey\.toml: the frame has no band ACS_F606W; it has ACS_F435W",
    ),
    "wrong units": (
        "detect",
        header("BUNIT", "JY/BEAM", "SCI"),
        r"ACS_F555W\.fits\[SCI\]: BUNIT is 'JY/BEAM'; expected electrons or counts",
    ),
    "no exposure": ("detect", header("EXPTIME", 0.0), r"ACS_F555W\.fits\[SCI\]: EXPTIME is 0"),
    "only NaN": ("detect", all_nan, r"ACS_F555W\.fits\[SCI\]: no pixel has a finite value and a"),
    "other scale": (
        "detect",
        header("PIXSCALE", 0.05),
        r"the pixel scale is 0\.05 and in",
    ),
    "unknown pipeline": (
        "detect",
        replace('"legus"', '"phongs"'),
        r"kind: 'phongs' is no pipeline; exp",
    ),
    "pipeline key": (
        "detect",
        replace("min_bands", "min_band"),
        r"pipeline: .*kind legus has no min_band; it has .*min_bands",
    ),
    "pipeline value": (
        "detect",
        replace("min_bands = 2", "min_bands = 7"),
        r"survey\.toml: the frame has 3 bands; 7 are needed",
    ),
    "aperture correction": (
        "detect",
        replace("min_bands", "aperture_correction = { F555W = -0.5 }\nmin_bands"),
        r"aperture_correction: no band F555W; there are ACS_F435W",
    ),
    "PSF of another band": (
        "detect",
        replace('ACS_F814W = "', 'ACS_F606W = "'),
        r"survey\.toml: psf: no band ACS_F606W; there are",
    ),
    "no PSF": ("detect", no_psf, r"there is no PSF model of ACS_F475W; there are"),
    "PSF file": ("detect", remove("ACS_F555W_psf.fits"), r"psf\.ACS_F555W: no file"),
    "oversampling": ("detect", no_oversampling, r"psf\.ACS_F555W: .* has no OVERSAMP and no"),
    "out is a file": ("detect", other_table, r"cannot write to the output folder .*out"),
    "no library": (
        "inject",
        replace('[library]\npath = "library.h5"\n', ""),
        r"survey\.toml: \[library\] is missing",
    ),
    "library missing": ("inject", remove("library.h5"), r"library: no file library\.h5"),
    "library's bands": (
        "inject",
        lambda folder: ClusterLibrary.load(folder / "library.h5", BANDS[:2]).save(
            folder / "library.h5"
        ),
        r"survey\.toml: .*library\.h5 has no band ACS_F814W; it has",
    ),
    "long plan": (
        "inject",
        replace("n_clusters = 60", "n_clusters = 600"),
        r"survey\.toml: the plan uses rows 0 to 599 of the library, none twice; it has 100",
    ),
    "plan key": (
        "inject",
        replace("per_frame", "in_frame"),
        r"plan\.in_frame: unknown key",
    ),
    "no radii": (
        "inject",
        replace("radii_pc = [3.0]", 'radii_pc = "library"'),
        r"survey\.toml: radii_pc is None and the library has no r_eff_pc; draw it with a \[radius",
    ),
    "other table": ("inject", other_table, r"out is there and is not whole"),
    "no galaxy file": ("simulate", remove("galaxy.toml"), r"there is no such galaxy file"),
    "galaxy key": ("simulate", galaxy("centre", "center"), r"galaxy\.center: unknown key"),
    "exposures in galaxy": (
        "simulate",
        galaxy("[galaxy]", "[galaxy]\nexposures = []"),
        r"unknown key exposures",
    ),
    "small": (
        "simulate",
        galaxy("[128, 160]", "[12, 16]"),
        r"galaxy: shape is \(12, 16\)",
    ),
    "band twice": ("simulate", galaxy("ACS_F435W", "ACS_F555W"), r"not valid TOML|each band once"),
    "truth": (
        "simulate",
        galaxy("alpha_m", "alpha"),
        r"population: truth: no parameter",
    ),
    "unknown band": (
        "simulate",
        both(
            galaxy('band = "ACS_F435W"', 'band = "ACS_F475W"'),
            galaxy('ACS_F435W = "ACS_F435W_psf', 'ACS_F475W = "ACS_F435W_psf'),
        ),
        r"galaxy\.toml: exposures: the stellar grid has no ACS_F475W; it has WFC3_UVIS_F275W",
    ),
    "PSF of no exposure": (
        "simulate",
        galaxy("[psf]", '[psf]\nACS_F606W = "a.fits"'),
        r"galaxy\.toml: psf: no band ACS_F606W; there are ACS_F435W",
    ),
    "another field": (
        "simulate",
        both(galaxy("field = true", ""), lambda folder: (folder / "out/field").mkdir(parents=True)),
        r"out/field is of another galaxy; name another --out",
    ),
    "ages": (
        "simulate",
        galaxy("log_age = [6, 8]", "log_age = [4, 5]"),
        r"log_age",
    ),
    "other images": (
        "simulate",
        other_images,
        r"holds other images \(V\.fits\); name anoth",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes(name, copy, monkeypatch, capfd):
    command, spoil, message = MISTAKES[name]
    spoil(copy)
    file = copy / ("galaxy.toml" if command == "simulate" else "survey.toml")
    words = ["simulate", "galaxy"] if command == "simulate" else [command]
    assert run(monkeypatch, *words, str(file), "--out", str(copy / "out")) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("starcensus: ") and "\n" not in error, error
    assert re.search(message, error), error
    assert not (copy / "out" / "summary.json").exists()
    assert not (copy / "out.summary.json").exists()


def test_the_galaxys_own_clusters_of_a_catalogue(project, monkeypatch, capsys):
    from starcensus.selection.catalogue import read_catalogue

    survey, out = str(project / "survey.toml"), project / "own"
    truth = "--truth", str(project / "galaxy")
    sigma = "--sigma", "0.2,0.1,0.05"
    assert run(monkeypatch, "detect", survey, "--out", str(out), *truth, *sigma) == 0
    known = read_catalogue(out / "known.ecsv", "starcensus")
    clusters = Table.read(project / "galaxy" / "clusters.ecsv", format="ascii.ecsv")
    assert 0 < len(known) <= len(clusters) and known.meta["n_drawn"] == len(clusters)
    rows = known.ids.astype(int)
    np.testing.assert_allclose(known.columns["true_log_mass"], clusters["log_mass"][rows])
    away = known.theta - np.stack([clusters[n][rows] for n in ("log_mass", "log_age", "a_v")], 1)
    assert (np.abs(away) < 5 * np.array([0.2, 0.1, 0.05])).all() and away.any()
    np.testing.assert_allclose(known.theta_high - known.theta, [[0.2, 0.1, 0.05]] * len(known))
    # Each stands for a source of the catalogue.
    found = Table.read(out / "catalogue.ecsv", format="ascii.ecsv")
    found = found[found["catalogued"]]
    for x, y in zip(known.columns["x"], known.columns["y"], strict=True):
        assert np.hypot(found["x"] - x, found["y"] - y).min() <= 3
    for wrong, message in (
        ((*truth, "--sigma", "0.1,0.1"), "expected three numbers"),
        ((*truth, "--sigma", "0.1,0,0.1"), "three errors above 0"),
        (("--truth", str(project)), "has no clusters.ecsv"),
    ):
        assert run(monkeypatch, "detect", survey, "--out", str(out), *wrong) == 2
        assert message in capsys.readouterr().err
