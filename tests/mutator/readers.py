"""Every reader, with valid files made from nothing."""

import functools
import importlib.resources
import json
import pathlib
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from tests.experiments import test_report
from tests.helpers import COLUMN_MAP, COLUMNS, made_table
from tests.mutator.damage import ANY as BYTES
from tests.mutator.damage import FITS, HDF5, TEXT
from tests.mutator.outcome import Reader
from tests.selection.catalogue import test_bad_catalogues
from tests.selection.importers import test_c4
from tests.selection.pipeline.test_detections import detections
from tests.simulate.conftest import analytic_grid
from tests.simulate.stars import test_isochrones

from starcensus.experiments.jobs.survey import read_known
from starcensus.experiments.report.fit.load import load_run
from starcensus.experiments.schema._base import KINDS, load
from starcensus.files import read_json
from starcensus.inference import PosteriorDraws, read_posteriors, write_posteriors
from starcensus.inference.calibration import Calibration
from starcensus.networks import MLP
from starcensus.selection import (
    Box,
    GridSelection,
    MagnitudeLimit,
    PhotometricNetwork,
    ProductSelection,
    complete,
    load_selection,
    save_selection,
)
from starcensus.selection.catalogue import (
    Catalogue,
    ColumnMap,
    read_catalogue,
    read_literature,
    write_catalogue,
)
from starcensus.selection.importers.c4.pickles import read_checkpoint, read_scaler
from starcensus.selection.injection import InjectionTable
from starcensus.selection.pipeline import Detections
from starcensus.selection.pipeline.phangs.hits import HitMap, ModelRegions
from starcensus.simulate import (
    BandImage,
    ClusterLibrary,
    Frame,
    TableTheta,
    read_frame,
    read_psf,
    read_slug2,
    read_slug3,
    read_zeropoints,
    write_frame,
)
from starcensus.simulate.stars import (
    StellarGrid,
    read_ck04,
    read_cmd,
    read_cmfgen,
    read_filter,
    read_fsps,
    read_mist,
    read_post_agb,
    read_vega,
    read_wmbasic,
)
from starcensus.simulate.stars.atmospheres._base import LIGHT, SIGMA_SB, planck

SLUG2 = ("ACS_F555W", "ACS_F814W")
SLUG3 = {"V": "HST.ACS_WFC.F555W"}
BOX = Box((2.0, 6.0), (6.0, 10.0), (0.0, 3.0))
WAVE = np.geomspace(100.0, 100_000.0, 120)


def planck_shape(teff: float) -> np.ndarray:
    """Flux per Å whose integral is 1."""
    shape = planck(WAVE, np.array([teff]))[0]
    return shape / np.trapezoid(shape, WAVE)


def per_hz(teff: float) -> np.ndarray:
    return planck_shape(teff) * WAVE**2 / LIGHT


Maker = Callable[[pathlib.Path], pathlib.Path]


def text(name: str, content: str) -> Maker:
    def make(folder: pathlib.Path) -> pathlib.Path:
        path = folder / name
        path.write_text(content)
        return path

    return make


def saved(name: str, save: Callable[[pathlib.Path], object]) -> Maker:
    def make(folder: pathlib.Path) -> pathlib.Path:
        save(folder / name)
        return folder / name

    return make


def operators() -> dict[str, Maker]:
    rng = np.random.default_rng(0)
    shapes = ((3, 2), (1, 3)), (3, 1)
    network = MLP(
        tuple(rng.normal(size=shape) for shape in shapes[0]),
        tuple(rng.normal(size=n) for n in shapes[1]),
        np.zeros(2),
        np.ones(2),
    )
    nodes = (np.linspace(2, 6, 4), np.linspace(6, 10, 3), np.linspace(0, 3, 3))
    made = {
        "magnitude limit": MagnitudeLimit.default(),
        "grid": GridSelection.from_probabilities(nodes, rng.uniform(0.1, 0.9, (4, 3, 3))),
        "product": ProductSelection(complete(BOX), complete(BOX)),
        "network": PhotometricNetwork(
            networks=(network,),
            bands=("U", "V"),
            limits=np.asarray([[15.0, 30.0]] * 2),
            distance_modulus=30.0,
        ),
    }
    return {
        f"operator: {name}": saved("operator.h5", functools.partial(save_selection, operator))
        for name, operator in made.items()
    }


def psf(path: pathlib.Path) -> None:
    y, x = np.mgrid[-7:8, -7:8]
    fits.PrimaryHDU(np.exp(-(x**2 + y**2) / 8.0)).writeto(path, overwrite=True)


def vega(path: pathlib.Path) -> None:
    columns = [fits.Column("WAVELENGTH", "E", array=WAVE), fits.Column("FLUX", "E", array=1 / WAVE)]
    fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)


def ck04(folder: pathlib.Path) -> pathlib.Path:
    (folder / "ckp00").mkdir(exist_ok=True)
    for teff in (4000.0, 5000.0, 6000.0):
        columns = [fits.Column("WAVELENGTH", "E", array=WAVE)]
        flux = planck_shape(teff) * SIGMA_SB * teff**4
        columns += [fits.Column(name, "E", array=flux) for name in ("g30", "g40")]
        path = folder / "ckp00" / f"ckp00_{teff:.0f}.fits"
        fits.BinTableHDU.from_columns(columns).writeto(path, overwrite=True)
    return path


def rows_of(*columns: np.ndarray) -> str:
    return "".join(" ".join(f"{x:.6e}" for x in row) + "\n" for row in np.stack(columns, axis=1))


def wmbasic(folder: pathlib.Path) -> pathlib.Path:
    (folder / "WMBASIC.teff").write_text("4.4\n4.5\n")
    path = folder / "WMBASIC_z0.0200.spec"
    path.write_text(rows_of(WAVE, *[per_hz(3e4)] * 6))
    return path


def cmfgen(folder: pathlib.Path) -> pathlib.Path:
    (folder / "CMFGEN_WN.teff").write_text("4.5\n4.6\n")
    path = folder / "CMFGEN_WN_Zall.spec"
    spectrum = " ".join(f"{x:.6e}" for x in per_hz(4e4))
    blocks = [f"model 0.02 {k}\n{spectrum}\n" for k in range(2)]
    path.write_text(" ".join(f"{x:.6e}" for x in WAVE) + "\n" + "".join(blocks))
    return path


def post_agb(folder: pathlib.Path) -> pathlib.Path:
    (folder / "ipagb.teff").write_text("50000\n80000\n")
    path = folder / "ipagb_solar.spec"
    path.write_text(rows_of(WAVE, per_hz(5e4), per_hz(8e4)))
    return path


def beside(make: Maker, name: str) -> Maker:
    """Damage another of the files that `make` writes."""

    def other(folder: pathlib.Path) -> pathlib.Path:
        make(folder)
        return folder / name

    return other


def checkpoint(path: pathlib.Path) -> None:
    path.write_bytes(test_c4.checkpoint(test_c4.parameters(3)))


def scaler(path: pathlib.Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        path.write_bytes(test_c4.scaler(np.ones(3), np.ones(3), patch))


def frame(path: pathlib.Path) -> None:
    rng = np.random.default_rng(1)
    image = BandImage("ACS_F555W", rng.normal(1, 0.1, (20, 24)), 858.0, 25.7)
    write_frame(Frame((image,), 0.04, 29.98), path.parent)


def table(suffix: str) -> Maker:
    def make(folder: pathlib.Path) -> pathlib.Path:
        path = folder / f"catalogue.{suffix}"
        (folder / "map.toml").write_text(COLUMN_MAP)
        if suffix == "parquet":
            import pyarrow
            import pyarrow.parquet

            pyarrow.parquet.write_table(pyarrow.table(COLUMNS), path)
        else:
            kinds = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits"}
            Table(COLUMNS).write(path, format=kinds[suffix], overwrite=True)
        return path

    return make


def read_mapped(path: pathlib.Path) -> Catalogue:
    column_map = ColumnMap.from_toml(path.with_name("map.toml"))
    return read_catalogue(path, "table", column_map=column_map)


def catalogue(path: pathlib.Path) -> None:
    theta = np.array([[4.0, 7.0, 0.1], [4.3, 7.5, 0.5], [4.7, 8.0, 1.0]])
    columns = {"x": np.arange(3.0), "word": np.array(["a", "b", "c"])}
    meta = {"truth": {"alpha_m": -2.0}, "pair": (1, 2)}
    made = Catalogue(
        "mine", np.arange(3), theta, theta - 0.1, theta + 0.1, columns=columns, meta=meta
    )
    write_catalogue(made, path)


def literature(path: pathlib.Path) -> None:
    data: dict[str, Any] = {"PCID": [3, 7], "RAJ2000": [11.0, 11.1], "DEJ2000": [41.0, 41.1]}
    data["CFlag"] = [0, 1]
    for name, best in (("AV-best", 0.3), ("logA-best", 8.0), ("logM-bset", 3.5)):
        stem = name.split("-")[0]
        data |= {name: [best] * 2, f"{stem}-p16": [best - 0.2] * 2, f"{stem}-p84": [best + 0.2] * 2}
    Table(data).write(path, overwrite=True)


def drawn(path: pathlib.Path) -> None:
    rng = np.random.default_rng(7)
    ClusterLibrary(
        log_mass=rng.uniform(2, 6, 9),
        log_age=rng.uniform(6, 10, 9),
        a_v=rng.uniform(0, 3, 9),
        bands=("u", "v"),
        abs_mags=rng.normal(-5, 2, (9, 2)),
        log_density=np.full(9, -3.0),
        n_stars=rng.integers(0, 2**40, 9),
        seed=rng.integers(0, 2**64, 9, dtype=np.uint64),
        meta={"design": {"n": 9}},
    ).save(path)


def slug2(folder: pathlib.Path) -> pathlib.Path:
    """The photometry of SLUG v2, with the properties beside it."""
    base = {"Trial": [1, 2], "UniqueID": [7, 9], "Time": [1e6, 2e6]}
    parts = {
        "prop": base | {"FormTime": [0.0, 1e6], "TargetMass": [100.0, 1e4], "A_V": [0.5, 1.0]},
        "phot": base | {f"{band}_neb_ex": [-3.0, -5.0] for band in SLUG2},
    }
    for name, columns in parts.items():
        fields = [
            fits.Column(key, "D", unit="Vega mag" if "ACS" in key else "", array=np.array(values))
            for key, values in columns.items()
        ]
        path = folder / f"x_cluster_{name}.fits"
        fits.BinTableHDU.from_columns(fields).writeto(path, overwrite=True)
    return folder / "x_cluster_phot.fits"


def slug3(path: pathlib.Path) -> None:
    with h5py.File(path, "w") as file:
        file["clusters/uid"] = np.array([0, 1, 2], np.uint64)
        file["clusters/target_mass"] = [1e2, 1e3, 1e4]
        file["clusters/birth_mass"] = [101.0, 999.0, 1e4]
        file["clusters/form_time"] = [0.0, 0.0, 3e6]
        file["clusters/A_V"] = [0.5, 1.0, 1.5]
        light = file.create_group("cluster_phot")
        light.attrs["filters"] = [SLUG3["V"], "Q(HI)"]
        light["uid"] = np.array([2, 0, 1], np.uint64)
        light["time"] = [4e6, 1e6, 2e6]
        light["phot"] = [[-1.0, 1e46], [-3.0, 1e47], [-5.0, 1e48]]
        light["phot"].attrs["units"] = ["mag", "photon/s"]
        light["phot_extinct"] = [[0.0], [-2.0], [-4.0]]
        light["phot_extinct"].attrs["units"] = ["mag"]
        file["input_deck/toml"] = '[phot]\nsystem = "Vega"\n'


def report(folder: pathlib.Path) -> pathlib.Path:
    return test_report.write_fit(folder) / "posterior.nc"


def draws(path: pathlib.Path) -> None:
    rng = np.random.default_rng(2)
    each = [rng.normal([4.0, 7.5, 0.5], 0.1, (5, 3)) for _ in "ab"]
    made = PosteriorDraws.from_arrays(["a", "b"], each, [np.zeros(5)] * 2, BOX)
    if path.suffix == ".h5":
        write_posteriors(made, path)
        return
    names = np.repeat(["a", "b"], 5)
    columns = dict(zip(("log_mass", "log_age", "a_v"), np.concatenate(each).T, strict=True))
    Table({"object_id": names, **columns, "log_prior": np.zeros(10)}).write(path, overwrite=True)


def calibration(path: pathlib.Path) -> None:
    u = np.random.default_rng(3).uniform(size=(6, 1))
    rest = np.full(6, 300), np.full(6, 500.0)
    ranks = np.floor(u * 100).astype(int)
    Calibration(("x",), ranks, u, np.zeros((6, 1)), *rest, 99, 0, 0).save(path)


def known(path: pathlib.Path) -> None:
    rng = np.random.default_rng(4)
    names = ("x", "y", "log_mass", "log_age", "a_v", "r_eff_pc", "mag_ACS_F555W")
    made = Table({name: rng.uniform(3, 6, 4) for name in names})
    made.meta = {"truth": {"alpha_m": -2.0}}
    made.write(path, format="ascii.ecsv", overwrite=True)


def regions(path: pathlib.Path) -> None:
    mask = np.random.default_rng(5).random((5, 6)) < 0.5
    ModelRegions((HitMap(0.1, (-1.0, -1.0), mask), HitMap(0.2, (-1.0, -1.0), mask)), "x").save(path)


def thetas(path: pathlib.Path) -> None:
    rng = np.random.default_rng(6)
    columns = {"log_mass": rng.uniform(2, 6, 5), "log_age": rng.uniform(6, 9, 5)}
    columns |= {"a_v": rng.uniform(0, 2, 5), "r_eff_pc": rng.uniform(1, 9, 5)}
    Table(columns).write(path, overwrite=True)


_FRAME = Frame((BandImage("ACS_F555W", np.ones((20, 24)), 858.0, 25.7),), 0.04, 29.98)


def _settings() -> list[Reader]:
    """An example of each kind that the package carries, the shortest one."""
    folder = pathlib.Path(str(importlib.resources.files("starcensus.experiments"))) / "examples"
    found = {path: path.read_text() for path in sorted(folder.rglob("*.toml"))}
    made = []
    for kind in KINDS:
        own = [content for content in found.values() if f'kind = "{kind}"' in content.split("[")[0]]
        made.append(
            Reader(f"settings: {kind}", text(f"{kind}.toml", min(own, key=len)), load, TEXT)
        )
    return made


def readers() -> list[Reader]:
    """All of them."""
    legus = "\n".join(test_bad_catalogues.ROWS) + "\n"
    curve = "# a curve\n4000 0.0\n5000 0.5\n5500 0.4\n6000 0.0\n"
    return [
        *(Reader(name, make, load_selection, HDF5) for name, make in operators().items()),
        Reader(
            "stellar grid",
            saved("grid.h5", analytic_grid(np.array([6.0, 7.0]), 0.02).save),
            StellarGrid.load,
            HDF5,
        ),
        Reader("library", saved("library.h5", drawn), ClusterLibrary.load, HDF5),
        Reader("injections", saved("table.h5", made_table(20)[0].save), InjectionTable.load, HDF5),
        Reader("calibration", saved("case.h5", calibration), Calibration.load, HDF5),
        Reader("regions", saved("regions.h5", regions), ModelRegions.load, HDF5),
        Reader("draws: HDF5", saved("draws.h5", draws), read_posteriors, HDF5),
        Reader("draws: ECSV", saved("draws.ecsv", draws), read_posteriors, TEXT),
        Reader("draws: CSV", saved("draws.csv", draws), read_posteriors, TEXT),
        Reader(
            "SLUG v3",
            saved("slug.h5", slug3),
            lambda path: read_slug3(path, SLUG3),
            HDF5,
        ),
        Reader(
            "SLUG v2",
            slug2,
            lambda path: read_slug2(path.with_name("x_cluster_prop.fits"), path, bands=SLUG2),
            FITS,
        ),
        Reader("posterior: NetCDF", report, lambda path: load_run(path.parent), HDF5),
        Reader(
            "posterior: summary",
            beside(report, "summary.json"),
            lambda path: load_run(path.parent),
            TEXT,
        ),
        Reader(
            "JSON", text("run.json", json.dumps({"a": [1, {"b": 2}]}, indent=1)), read_json, TEXT
        ),
        Reader(
            "PSF", saved("psf.fits", psf), lambda path: read_psf(path, "ACS_F555W", 4, 0.04), FITS
        ),
        Reader("frame", saved("ACS_F555W.fits", frame), lambda path: read_frame([path]), FITS),
        Reader("Vega", saved("vega.fits", vega), read_vega, FITS),
        Reader("filter", text("curve.dat", curve), read_filter, TEXT),
        Reader(
            "zero points",
            text("zero.txt", "# Vega\nACS_F555W 0.009\nB 0.4 # I\n"),
            read_zeropoints,
            TEXT,
        ),
        Reader("isochrones: CMD", text("cmd.dat", test_isochrones.CMD), read_cmd, TEXT),
        Reader("isochrones: MIST", text("mist.iso", test_isochrones.MIST), read_mist, TEXT),
        Reader("isochrones: FSPS", text("isoc_z0.0190.dat", test_isochrones.FSPS), read_fsps, TEXT),
        Reader("atmospheres: CK04", ck04, lambda path: read_ck04(path.parents[1]), FITS),
        Reader("atmospheres: WM-basic", wmbasic, lambda path: read_wmbasic(path.parent), TEXT),
        Reader(
            "atmospheres: temperatures",
            beside(wmbasic, "WMBASIC.teff"),
            lambda path: read_wmbasic(path.parent),
            TEXT,
        ),
        Reader("atmospheres: CMFGEN", cmfgen, lambda path: read_cmfgen(path.parent, "WN"), TEXT),
        Reader("atmospheres: post-AGB", post_agb, lambda path: read_post_agb(path.parent), TEXT),
        Reader(
            "C-4: checkpoint",
            saved("net.pt", checkpoint),
            lambda path: read_checkpoint(path.read_bytes(), path.name),
            BYTES,
        ),
        Reader(
            "C-4: scaler",
            saved("scaler.pkl", scaler),
            lambda path: read_scaler(path.read_bytes(), path.name),
            BYTES,
        ),
        *(Reader(f"catalogue: {kind}", table(kind), read_mapped, TEXT) for kind in ("ecsv", "csv")),
        Reader("catalogue: fits", table("fits"), read_mapped, FITS),
        Reader("catalogue: parquet", table("parquet"), read_mapped, BYTES),
        Reader(
            "column map",
            beside(table("csv"), "map.toml"),
            lambda path: read_mapped(path.with_name("catalogue.csv")),
            TEXT,
        ),
        Reader(
            "catalogue: starcensus",
            saved("mine.ecsv", catalogue),
            lambda path: read_catalogue(path, "starcensus"),
            TEXT,
        ),
        Reader(
            "catalogue: LEGUS",
            text(test_bad_catalogues.NAME, legus),
            lambda path: read_catalogue(path, "legus"),
            TEXT,
        ),
        Reader("catalogue: literature", saved("m31.fits", literature), read_literature, FITS),
        Reader("detections: ECSV", saved("found.ecsv", detections().write), Detections.read, TEXT),
        Reader(
            "detections: FITS",
            saved("found.fits", detections(columns={}).write),
            Detections.read,
            FITS,
        ),
        Reader(
            "known clusters",
            saved("clusters.ecsv", known),
            lambda path: read_known(path, _FRAME),
            TEXT,
        ),
        Reader("table of θ: ECSV", saved("theta.ecsv", thetas), TableTheta.read, TEXT),
        Reader("table of θ: FITS", saved("theta.fits", thetas), TableTheta.read, FITS),
        *_settings(),
    ]
