"""Entries that may be one cluster are named."""

import dataclasses
import pathlib

import numpy as np
import pytest
from astropy.coordinates import SkyCoord

from starcensus.experiments.jobs._seen import read_seen
from starcensus.experiments.schema.fit import CatalogueTable
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.photometry import ObservationTable, PhotometryTable
from starcensus.selection.catalogue import Catalogue, close_pairs, read_legus, with_close_pairs


def at(ra: np.ndarray, dec: np.ndarray) -> Catalogue:
    n = len(ra)
    theta = np.tile([4.0, 7.0, 0.3], (n, 1))
    return Catalogue(
        "mine",
        np.array([f"c{i}" for i in range(n)]),
        theta,
        theta - 0.1,
        theta + 0.1,
        columns={"ra": ra, "dec": dec},
    )


@pytest.mark.parametrize("centre", [(24.17, 15.78), (0.0, -80.0), (120.0, 89.9999)])
def test_pairs_are_those_of_astropy(centre):
    """At a galaxy's place, across 0h, and at a pole."""
    rng = np.random.default_rng(1)
    ra = (centre[0] + rng.normal(0, 2e-4, 300) / max(np.cos(np.radians(centre[1])), 1e-3)) % 360
    dec = np.clip(centre[1] + rng.normal(0, 2e-4, 300), -90, 90)
    places = SkyCoord(ra, dec, unit="deg")
    apart = places[:, None].separation(places[None]).arcsec
    i, j = np.nonzero(np.triu(apart < 0.1, 1))
    expected = {(f"c{a}", f"c{b}") for a, b in zip(i, j, strict=True)}
    found = close_pairs(at(ra, dec))
    assert {tuple(sorted(p)) for p in found} == {tuple(sorted(p)) for p in expected}
    assert len(found) == len(expected) > 10


def test_a_step_names_them():
    dec = np.array([10.0, 10.0 + 0.05 / 3600, 11.0, np.nan, np.nan])
    found = with_close_pairs(at(np.full(5, 30.0), dec))
    step = found.steps[-1]
    assert (step.n_before, step.n_after) == (5, 5)
    assert step.reason.startswith("1 pair lies within 0.1 arcsec (c0 and c1): if that is one")
    apart = at(np.full(2, 30.0), np.array([10.0, 10.1]))
    assert with_close_pairs(apart) is apart
    assert close_pairs(dataclasses.replace(apart, columns={})) == ()
    words = {"ra": np.array(["2h", "3h"]), "dec": np.array(["1d", "2d"])}
    assert close_pairs(dataclasses.replace(apart, columns=words)) == ()


def test_placeholders_are_no_places():
    """Of three thousand entries at 0, 0 none is near another."""
    zero = np.zeros(3000)
    assert close_pairs(at(zero, zero)) == ()


def test_a_catalogue_of_a_file_names_them(tmp_path):
    rows = ["id,v,e,right,up", "1,20.0,0.1,30.0,10.0", "2,20.1,0.1,30.0,10.00001"]
    rows += [f"{n},{19 + n / 2},0.1,30.0,{10 + n / 10}" for n in range(3, 8)]
    (tmp_path / "mine.csv").write_text("\n".join(rows))
    options = {
        "id": "id",
        "estimates": False,
        "distance_modulus": 30.0,
        "columns": {"ra": "right", "dec": "up"},
        "bands": [{"name": "ACS_F555W", "column": "v", "error": "e"}],
    }
    table = CatalogueTable(path="mine.csv", format="table", options={"column_map": options})  # pyright: ignore[reportCallIssue]
    observation = ObservationTable(kind="gaussian", cuts={})
    seen = read_seen(table, PhotometryTable(), observation, Sources(tmp_path))
    assert seen.catalogue.steps[-1].name == "close pairs"
    assert "(1 and 2)" in seen.warnings["close_pairs"]
    bright = ObservationTable(kind="gaussian", cuts={"max_absolute": {"ACS_F555W": -9.95}})
    assert not read_seen(table, PhotometryTable(), bright, Sources(tmp_path)).warnings


@pytest.mark.shared
def test_a_published_table_has_one_cluster_twice(shared: pathlib.Path):
    """NGC 4449: two entries of one class within 0.02 arcsec."""
    [path] = shared.glob("catalogues/legus/*ngc4449*padagb-mwext-avgapcor*.tab")
    table = read_legus(path)
    mode = table.columns["class_mode"]
    some = table.keep((mode >= 1) & (mode <= 3), "classes", "clusters")
    assert len(close_pairs(some, 0.02)) == 1 and len(close_pairs(some)) == 2
