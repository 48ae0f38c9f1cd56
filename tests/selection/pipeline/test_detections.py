"""Detections on disk, and what is said of files that are none."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from starcensus.files import FileError
from starcensus.selection import BandFacts, SurveyFacts, facts_of_catalogue
from starcensus.selection.catalogue import CatalogueError, read_catalogue, read_detections
from starcensus.selection.operators.facts import pipeline_text
from starcensus.selection.pipeline import Detections

BANDS = ("ACS_F435W", "ACS_F555W")


def detections(n: int = 7, **changes: object) -> Detections:
    rng = np.random.default_rng(n)
    mags = rng.normal(23, 1, (n, 2))
    mags[:1, 1] = np.nan
    made = Detections(
        BANDS,
        rng.uniform(0, 100, n),
        rng.uniform(0, 100, n),
        mags,
        np.abs(rng.normal(0, 0.1, (n, 2))),
        rng.normal(1.5, 0.2, n),
        {"v_error": rng.random(n) < 0.7, "ci": rng.random(n) < 0.7},
        {
            "sky_v": rng.normal(0, 1, n),
            "n_pixels": rng.integers(1, 90, n),
            "excluded": rng.random(n) < 0.5,
            "note": np.array(["", "a b", "c,d", "e", "f", "g", "\u03b1"] * n)[:n],
        },
        ids=np.arange(n) + 11,
        sky=rng.uniform(20, 21, (n, 2)),
        distance_modulus=29.98,
        pipeline={"pipeline": "legus", "scale_factors": [{"F555W": 1.5}], "bottom": None},
    )
    return dataclasses.replace(made, **changes)


FACTS = SurveyFacts(
    "NGC 628-C",
    29.98,
    tuple(BandFacts(band, 858.0, 29.5, "a" * 64, 0.07) for band in BANDS),
    sky=(0.03, 0.05, 0.1, 0.2, 0.3),
    pipeline=pipeline_text(detections().pipeline),
    frame_sha256="b" * 64,
)


def same(one: Detections, two: Detections) -> None:
    for field in dataclasses.fields(Detections):
        a, b = getattr(one, field.name), getattr(two, field.name)
        if field.name in ("cuts", "columns"):
            assert list(a) == list(b)
            for name in a:
                assert a[name].dtype.kind == b[name].dtype.kind
                np.testing.assert_array_equal(a[name], b[name])
        elif isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
        else:
            assert a == b, field.name


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_what_was_written_is_read_back(tmp_path, suffix):
    path = tmp_path / f"found.{suffix}"
    for found in (
        detections(),
        detections(sky=None, columns={}, distance_modulus=None, pipeline={}),
        detections().take(np.array([4, 1])),
        detections(survey=FACTS),
        detections(0, ids=np.arange(0)) if suffix == "ecsv" else detections(1),
    ):
        if suffix == "fits":
            # FITS holds ASCII alone.
            columns = {name: v for name, v in found.columns.items() if name != "note"}
            found = dataclasses.replace(found, columns=columns)
        found.write(path)
        same(found, Detections.read(path))
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_a_catalogue_knows_the_images_that_it_is_of(tmp_path, suffix):
    path = tmp_path / f"found.{suffix}"
    found = detections(survey=FACTS, columns={})
    found.write(path)
    known = facts_of_catalogue(read_detections(path))
    assert dataclasses.replace(known, limits=()) == found.facts == FACTS
    # Without facts there are those of the table.
    bare = detections(columns={})
    bare.write(path)
    assert facts_of_catalogue(read_detections(path)).sky == bare.facts.sky == ()
    assert bare.facts.distance_modulus == 29.98 and bare.facts.settings == found.facts.settings


@pytest.mark.parametrize(
    "change", [{"distance_modulus": 28.0}, {"pipeline": {"pipeline": "phangs"}}]
)
def test_facts_of_other_images_are_refused(tmp_path, change):
    with pytest.raises(ValueError, match="the facts of the survey are of"):
        detections(survey=FACTS, **change)
    path = tmp_path / "found.ecsv"
    detections(survey=FACTS).write(path)
    with pytest.raises(ValueError, match="WFC3_UVIS_F275W is in one alone"):
        bands = (*FACTS.bands, BandFacts("WFC3_UVIS_F275W"))
        detections(survey=dataclasses.replace(FACTS, bands=bands))
    text = path.read_text()
    path.write_text(text.replace("- {distance_modulus: 29.98}", "- {distance_modulus: 28.0}", 1))
    with pytest.raises(FileError, match=r"distance modulus 29\.98"):
        Detections.read(path)
    path.write_text(text.replace("frame_sha256", "frame_md5"))
    with pytest.raises(CatalogueError, match="metadata `survey`"):
        read_detections(path)


def test_the_table_is_what_others_read(tmp_path):
    found = detections()
    found.write(tmp_path / "found.ecsv")
    table = Table.read(tmp_path / "found.ecsv", format="ascii.ecsv")
    assert table["mag_ACS_F555W"].unit == "mag" and table["ra"].unit == "deg"
    np.testing.assert_array_equal(table["catalogued"], found.catalogued)
    assert table.meta["distance_modulus"] == 29.98 and table.meta["pipeline"]["pipeline"] == "legus"


def test_a_catalogue_of_version_0_1_is_read(tmp_path):
    found = detections(columns={"sky_v": np.arange(7.0)}, ids=np.arange(7) + 1)
    found.write(tmp_path / "found.ecsv")
    table = Table.read(tmp_path / "found.ecsv", format="ascii.ecsv")
    table.remove_column("id")
    table.meta = {"distance_modulus": 29.98, "pipeline": {**found.pipeline, "sky_pix": (7.0, 8.0)}}
    table.write(tmp_path / "old.ecsv", format="ascii.ecsv")
    again = Detections.read(tmp_path / "old.ecsv")
    assert again.pipeline["sky_pix"] == [7.0, 8.0]
    same(found, dataclasses.replace(again, pipeline=found.pipeline))
    with pytest.raises(CatalogueError, match="detections"):
        read_catalogue(tmp_path / "old.ecsv", "starcensus")


def test_a_fit_is_told_what_detections_lack(tmp_path):
    """Whatever the suffix: magnitudes are no masses, ages and extinctions."""
    for suffix in ("ecsv", "fits"):
        path = tmp_path / f"found.{suffix}"
        detections(columns={}).write(path)
        with pytest.raises(CatalogueError) as error:
            read_catalogue(path, "starcensus")
        for part in (str(path), "detections", "log_mass", "Detections.read", "write_catalogue"):
            assert part in str(error.value)


def test_files_that_are_no_detections_are_named(tmp_path):
    path = tmp_path / "found.ecsv"
    found = detections()
    found.write(path)
    text = path.read_text()

    def said(change: str, to: str) -> str:
        assert change in text
        path.write_text(text.replace(change, to))
        with pytest.raises(FileError) as error:
            Detections.read(path)
        assert str(path) in str(error.value)
        return str(error.value)

    assert "version 2" in said("version: 1", "version: 2")
    assert "no detections" in said("starcensus detections", "other")
    line = text.splitlines()[-1]
    words = line.split(" ")
    flipped = " ".join([*words[:-1], "False" if words[-1] == "True" else "True"])
    wrong = said(line, flipped)
    assert "column catalogued" in wrong and "line" in wrong
    path.write_text(text[: len(text) // 3])
    with pytest.raises(FileError, match=str(path)):
        Detections.read(path)
    with pytest.raises(FileError, match=r"\.ecsv or \.fits"):
        found.write(tmp_path / "found.txt")
    with pytest.raises(FileError, match="no such"):
        Detections.read(tmp_path / "none.ecsv")
    for name in ("ra", "mag_of_all", "cut_off"):
        clash = dataclasses.replace(found, columns={name: np.zeros(7)})
        with pytest.raises(FileError, match=f"named {name}"):
            clash.write(path)


def test_identifiers_stay_with_their_sources():
    found = detections()
    assert found.take(found.ids > 14).ids.tolist() == [15, 16, 17]
    assert detections(ids=np.arange(0)).ids.tolist() == list(range(1, 8))
    with pytest.raises(ValueError, match="ids repeat"):
        detections(ids=np.ones(7, int))
