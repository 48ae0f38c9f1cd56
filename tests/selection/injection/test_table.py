"""Tables that may be joined, and those that may not."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.selection.injection import InjectionTable

SURVEY = {
    "distance_modulus": 29.98,
    "pipeline": {"name": "legus", "threshold": 3.0},
    "frame_sha256": "ab",
    "label": "in the catalogue",
}
OTHERS = {
    "distance_modulus": 29.5,
    "pipeline": {"name": "legus", "threshold": 4.0},
    "frame_sha256": "cd",
    "label": "detected",
}


@pytest.mark.parametrize("name", SURVEY)
def test_tables_of_different_surveys_are_not_joined(made_table, name):
    def table(meta):
        return dataclasses.replace(made_table(20)[0], meta=meta)

    one, other = table(SURVEY), table({**SURVEY, name: OTHERS[name]})
    silent = table({k: v for k, v in SURVEY.items() if k != name})
    for tables in ((one, other), (silent, one, other)):
        with pytest.raises(ValueError, match=f"tables have {name} .*; only tables of one") as error:
            InjectionTable.concatenate(*tables)
        assert str(OTHERS[name]) in str(error.value) and str(SURVEY[name]) in str(error.value)
    # What a survey does not say, and what differs between plans, is no obstacle.
    joined = InjectionTable.concatenate(one, silent, table({**SURVEY, "plan": {"seed": 1}}))
    assert len(joined) == 60 and joined.meta == SURVEY
    np.testing.assert_array_equal(joined.x[20:40], silent.x)


def test_a_joined_table_says_how_its_clusters_were_chosen(made_table, tmp_path):
    uniform = made_table(20)[0]

    def chosen(seed, **inputs):
        meta = {**uniform.meta, "choice": {"inputs": inputs, "seed": seed}}
        return dataclasses.replace(uniform, meta=meta, inclusion=np.full(20, 0.5))

    one, again, other = chosen(0, r_eff=True), chosen(1, r_eff=True), chosen(2, r_eff=False)
    join = InjectionTable.concatenate
    assert join(uniform, uniform).choices == [] and "choice" not in join(uniform, uniform).meta
    first = one.meta["choice"]
    assert join(uniform, one).meta["choice"] == join(one, again, uniform).meta["choice"] == first
    join(join(uniform, one), other, again).save(tmp_path / "joined.h5")
    assert InjectionTable.load(tmp_path / "joined.h5").choices == [first, other.meta["choice"]]


def write_0_1(table: InjectionTable, path) -> None:
    """As version 0.1 did."""
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "starcensus injection table"
        file.attrs["version"] = 1
        file.attrs["bands"] = json.dumps(table.bands)
        file.attrs["cuts"] = json.dumps(list(table.cuts))
        file.attrs["meta"] = json.dumps(dict(table.meta))
        for name, values in table.columns().items():
            chunks = dict(compression="gzip", compression_opts=2)
            file.create_dataset(name, data=values, track_times=False, **chunks)


def test_a_table_of_version_0_1_is_read(made_table, tmp_path):
    table = made_table(5000)[0]
    write_0_1(table, tmp_path / "old.h5")
    table.save(tmp_path / "new.h5")
    for name in ("old", "new"):
        again = InjectionTable.load(tmp_path / f"{name}.h5")
        assert again.sha256() == table.sha256() and again.meta == table.meta
        assert again.bands == table.bands and list(again.cuts) == list(table.cuts)


def test_files_that_are_no_tables_are_named(made_table, tmp_path):
    table = made_table(50)[0]
    path = tmp_path / "table.h5"

    def said() -> str:
        with pytest.raises(FileError) as error:
            InjectionTable.load(path)
        assert str(path) in str(error.value)
        return str(error.value)

    assert "no such injection table" in said()
    path.write_text("text")
    assert "not an HDF5 file" in said()
    write_0_1(table, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged" in said()
    for change, message in (
        (lambda file: file.attrs.__setitem__("version", 2), "version 2"),
        (lambda file: file.attrs.__setitem__("format", "other"), "other"),
        (lambda file: file.__delitem__("ci"), "no column ci"),
        (lambda file: file.attrs.__setitem__("cuts", "["), "damaged"),
        (lambda file: file.attrs.__setitem__("bands", '["V"]'), "true_mags has shape"),
    ):
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            change(file)
        assert message in said()
