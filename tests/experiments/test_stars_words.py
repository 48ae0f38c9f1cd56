"""What reports say of the stars behind a fit."""

import dataclasses
import pathlib

import numpy as np
import pytest
from tests.simulate.conftest import BANDS, analytic_grid

from starcensus.experiments.jobs._stars import stars_words
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.photometry import PoolTable
from starcensus.simulate import BoxTheta, ClusterLibrary, Design, StarcensusEngine, run_library
from starcensus.theta import Box

BOX = Box((2.0, 3.0), (6.0, 7.0), (0.0, 1.0)).as_dict()


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    made = analytic_grid(np.array([6.0, 7.0]), 0.05)
    for z in (0.004, 0.02):
        said = {"z": z, "isochrones": "toy tracks"}
        dataclasses.replace(made, provenance=said).save(tmp_path / f"{z}.h5")
    return tmp_path


def words(folder: pathlib.Path, **table: object) -> str:
    return stars_words(PoolTable.model_validate({"bounds": BOX, **table}), Sources(folder, ()))


def test_a_grid_a_relation_and_a_library_are_named(folder):
    one = words(folder, grid="0.004.h5", draw={"nebular": False}, imf={"kind": "salpeter"})
    assert one.startswith("toy tracks; Z = 0.004; Salpeter initial masses") and "no gas" in one
    relation = {"grids": ["0.02.h5", "0.004.h5"], "z": [0.01], "scatter_dex": 0.2}
    assert "toy tracks; Z = 0.01 with 0.2 dex of scatter, of grids of 0.004, 0.02; Kro" in words(
        folder, metallicity=relation
    )
    aged = {"grids": relation["grids"], "z": [0.02, 0.005], "log_age": [6.5, 7.0]}
    assert "Z = 0.02 at log age 6.5, 0.005 at log age 7, of grids" in words(
        folder, metallicity=aged
    )
    engine = StarcensusEngine(BANDS, str(folder / "0.004.h5"))
    theta = BoxTheta((2.0, 3.0), (6.0, 7.0), (0.0, 1.0))
    run_library(Design(5, theta=theta), engine, folder / "a.h5")
    assert words(folder, path="a.h5") == (
        "those of a.h5; Z = 0.004; Kroupa initial masses, 0.08 to 120 M_sun; "
        "gas that absorbs 0.5 of the ionising photons until log age 7"
    )
    # Other engines have settings of their own.
    library = ClusterLibrary.load(folder / "a.h5")
    for name, meta in {
        "b.h5": {"engine": {"name": "slug", "settings": {"rule": 1}}},
        "c.h5": {},
    }.items():
        dataclasses.replace(library, meta=meta).save(folder / name)
    assert words(folder, path="b.h5") == "those of b.h5; of the engine slug"
    assert words(folder, path="c.h5") == "those of c.h5"
