"""References of a file of kind measure: figures, a report, and that they measure nothing."""

import pathlib
import re

import numpy as np
import pytest
from astropy.table import Table
from tests.experiments.light_project import COLUMN_MAP, MEASURE, write_project

from starcensus.experiments.jobs._job import job_from
from starcensus.experiments.jobs._pool import ConfigError
from starcensus.files import read_json, read_toml

REFERENCES = """
[references.cmd]
column = "ages"
error = "age_errors"
beside = "other_ages"
label = "CMD ages"
beside_label = "others"

[references.mass]
axis = "log_mass"
column = "masses"
scale = "linear"
estimate = "p50"
"""
COLUMNS = "columns = { ages = 'ref', age_errors = 'ref_e', other_ages = 'other', masses = 'mass' }"


def write(folder: pathlib.Path, shift: float = 0.0, **changes: str) -> dict:
    write_project(folder)
    table = Table.read(folder / "catalogue.csv")[:60]
    rng = np.random.default_rng(3)
    table["ref"] = rng.uniform(7.0, 8.0, len(table)) + shift
    table["ref_e"] = 0.3
    table["other"] = table["ref"] + 0.6
    table["mass"] = 10 ** rng.uniform(3.0, 4.0, len(table))
    table["word"] = "x"
    table.write(folder / "catalogue.csv", format="ascii.csv", overwrite=True)
    (folder / "map.toml").write_text(COLUMNS + "\n" + COLUMN_MAP)
    text = (
        MEASURE.replace("draws = 400\n", "").replace("max_rounds = 1", "max_rounds = 0")
        + "min_effective = 0.1\n\n[prior]\nlearned_ages = 0.5\n"
        + REFERENCES
    )
    for old, new in changes.items():
        text = text.replace(old, new)
    (folder / "one.toml").write_text(text)
    return read_toml(folder / "one.toml", "file")[0]


def made(folder: pathlib.Path) -> tuple[Table, dict]:
    table = Table.read(folder / "objects.ecsv", format="ascii.ecsv")
    return table, read_json(folder / "summary.json")


def test_figures_are_those_of_the_table_and_references_move_no_cluster(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for shift in (0.0, 0.7):
        job_from("measure", write(tmp_path, shift), tmp_path / "out", "tables").perform()
        found.append(made(tmp_path / "out"))
    (table, summary), (other, others) = found
    off = np.asarray(table["log_age_mean"]) - np.asarray(table["reference_cmd"])
    assert summary["n"] == summary["cmd.n"] == len(table) == np.isfinite(off).sum()
    assert summary["rms_dex"] == pytest.approx(np.sqrt((off**2).mean()))
    assert summary["share_off_0_5"] == pytest.approx((np.abs(off) > 0.5).mean())
    assert summary["share_off_1"] == pytest.approx((np.abs(off) > 1).mean())
    assert 0 <= summary["coverage_68"] <= summary["coverage_95"] <= 1
    assert summary["beside.rms_dex"] == pytest.approx(0.6) and summary["beside.n"] == len(table)
    masses = np.asarray(table["log_mass_p50"]) - np.asarray(table["reference_mass"])
    assert summary["mass.rms_dex"] == pytest.approx(np.sqrt((masses**2).mean()))
    assert (np.asarray(table["reference_mass"]) < 4.0).all()
    # Bit for bit the same, whatever the references say.
    for name in table.colnames:
        if not name.startswith("reference"):
            assert (table[name] == other[name]).all(), name
    np.testing.assert_allclose(other["reference_cmd"] - table["reference_cmd"], 0.7)
    assert others["median_dex"] == pytest.approx(summary["median_dex"] - 0.7)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Beside other data" in page and "CMD ages" in page and "others" in page
    assert "ages as the light of the catalogue makes them most probable in 4 bins" in page
    learned = read_json(tmp_path / "out" / "run.json")["learned_ages"]
    assert sum(learned["catalogued"]) == pytest.approx(1)


MISTAKES = {
    "no column": ({'column = "ages"': 'column = "nothing"'}, "has no further column 'nothing'"),
    "words": ({'column = "ages"': 'column = "words"', "ages = 'ref'": ""}, "holds no numbers"),
    "two laws of ages": ({"learned_ages = 0.5": "learned_ages = 0.5\nage_slope = -1.0"}, "either"),
    "ages without cuts": (
        {"[observation.cuts]\nmin_snr = 5.0\nmin_bands = 2\n"
         "max_absolute = { ACS_F555W = -5.5 }\nrecorded_snr = 0.0\n": ""},
        "learned_ages without it expects every old cluster",
    ),
    "no axis": ({'axis = "log_mass"': 'axis = "log_m"'}, "'log_m', expected one of log_mass"),
    "linear dust": ({'axis = "log_mass"': 'axis = "a_v"'}, "scale 'linear' is of masses"),
    "a cut": (
        {"[observation]": '[[catalogue.cuts]]\nname = "column"\ncolumn = "ages"\nmax = 8.0\n'
         "[observation]"},
        "ages is a column of references, which may not decide",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistaken_references(name: str, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    changes, words = MISTAKES[name]
    tables = write(tmp_path, **changes)
    if name == "words":
        (tmp_path / "map.toml").write_text(
            COLUMNS.replace("ages = 'ref'", "ages = 'ref', words = 'word'") + "\n" + COLUMN_MAP
        )
    with pytest.raises((ConfigError, ValueError), match=re.compile(words)):
        job_from("measure", tables, tmp_path / "out", "tables").perform()
