"""Tables as their owners publish them: each form gives the same catalogue, blanks included."""

import gzip
import pathlib

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from starcensus.selection.catalogue import CatalogueError, ColumnMap, read_table

MAP = {
    "id": "name",
    "mass": {"column": "mass", "unit": "Msun"},
    "age": {"column": "age", "unit": "Myr"},
    "allow_missing": True,
}
ROWS = (("a", 1e4, 12.5), ("b", 2e4, None), ("c", 5e3, 130.0))
EXPECTED = [[4.0, np.log10(12.5e6)], [np.nan, np.nan], [np.log10(5e3), np.log10(1.3e8)]]

TEXT = {
    "names in the first line": "name mass age\na 1e4 12.5\nb 2e4 nan\nc 5e3 130\n",
    "names in a comment": "# made by hand\n#name mass age\n\na 1e4 12.5\nb 2e4 --\nc 5e3 130\n",
    "units in a comment": "# name mass age\n# -  Msun  Myr\na 1e4 12.5\nb 2e4 N/A\nc 5e3 130\n",
    "nulls": "name\tmass\tage\na\t1e4\t12.5\nb\t2e4\tnull\nc\t5e3\t130\n",
}
CDS = """Title: A table
Authors: Somebody
================================================================================
Byte-by-byte Description of file: t.dat
--------------------------------------------------------------------------------
   Bytes Format Units    Label Explanations
--------------------------------------------------------------------------------
   1      A1    ---      name  Name
   3-  7  F5.0  solMass  mass  Mass
   9- 13  F5.1  Myr      age   ?="" Age
--------------------------------------------------------------------------------
a 10000  12.5
b 20000
c  5000 130.0
"""


def filled() -> Table:
    names, masses, ages = zip(*ROWS, strict=True)
    age = MaskedColumn([0.0 if v is None else v for v in ages], mask=[v is None for v in ages])
    return Table({"name": list(names), "mass": list(masses), "age": age})


def check(path: pathlib.Path, **changes) -> None:
    cat = read_table(path, ColumnMap.model_validate({**MAP, **changes}))
    assert cat.ids.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(cat.theta[:, :2], EXPECTED)
    assert cat.meta["n_no_estimate"] == 1


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", ["fits", "votable", "ascii.ecsv", "ascii.csv", "parquet"])
def test_forms_and_their_nulls(tmp_path, kind, packed):
    suffix = {"votable": "vot"}.get(kind, kind.removeprefix("ascii."))
    path = tmp_path / f"t.{suffix}"
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = zip(*ROWS, strict=True)
        parquet.write_table(
            pyarrow.table(
                {k: list(v) for k, v in zip(("name", "mass", "age"), columns, strict=True)}
            ),
            path,
        )
    else:
        filled().write(path, format=kind)
    if packed:
        path = path.with_name(path.name + ".gz")
        path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))
    check(path)


@pytest.mark.parametrize("kind", TEXT)
def test_text_with_blanks_between_its_columns(tmp_path, kind):
    path = tmp_path / "t.dat"
    path.write_text(TEXT[kind])
    check(path)
    cat = read_table(path, ColumnMap.model_validate(MAP))
    lines = TEXT[kind].splitlines()
    assert [lines[number - 1][0] for number in cat.columns["row"]] == ["a", "b", "c"]


def test_text_without_names_and_with_repeated_names(tmp_path):
    """Columns by number; a name that stands twice is no name."""
    by_number = {
        "id": 1,
        "mass": {"column": 2, "unit": "Msun"},
        "age": {"column": 3, "unit": "Myr"},
    }
    path = tmp_path / "t.txt"
    path.write_text("a 1e4 12.5 Two Words\nb 2e4 nan One\nc 5e3 130 And Three More\n")
    check(path, **by_number, n_fields=3)
    with pytest.raises(CatalogueError, match=r"line 1, 5 fields, expected 4.*can say n_fields"):
        read_table(path, ColumnMap.model_validate(MAP | by_number))
    path.write_text("#name e e\na 1e4 12.5\nb 2e4 nan\nc 5e3 130\n")
    check(path, **by_number)
    with pytest.raises(
        CatalogueError, match=r"no column 'mass'; the table has name, field_2, field"
    ):
        read_table(path, ColumnMap.model_validate(MAP))
    with pytest.raises(CatalogueError, match="no column 9; the table has columns 1 to 3"):
        read_table(path, ColumnMap.model_validate({**MAP, **by_number, "id": 9}))


def test_a_cds_table(tmp_path):
    path = tmp_path / "t.dat"
    path.write_text(CDS)
    check(path)
    # Its own units are believed.
    with pytest.raises(
        CatalogueError, match="column age: the file says unit 'Myr', the column map"
    ):
        check(path, age={"column": "age", "unit": "yr"})


def test_damaged_words_are_words(tmp_path):
    """Bytes of a FITS column that are no text are kept, and end in no traceback."""
    path = tmp_path / "t.fits"
    words = np.array([b"a", b"b\x94", b"c"])
    Table({"name": words, "mass": [1e4] * 3, "age": [5.0, 6.0, 7.0]}).write(path)
    cat = read_table(path, ColumnMap.model_validate({**MAP, "columns": {"word": "name"}}))
    assert cat.ids.tolist() == cat.columns["word"].tolist() == ["a", "b\ufffd", "c"]


def test_semicolons(tmp_path):
    """German spreadsheets: the message says which delimiter stands there, and it can be said."""
    path = tmp_path / "t.csv"
    path.write_text("name;mass;age\na;1e4;12.5\nb;2e4;\nc;5e3;130\n")
    with pytest.raises(
        CatalogueError, match=r'semicolons between the columns.*say delimiter = ";"'
    ):
        check(path)
    check(path, delimiter=";")


@pytest.mark.parametrize(
    "name, content, message",
    [
        (
            "t.csv.gz",
            gzip.compress(b"name,mass,age\n" * 99, mtime=0)[:40],
            "not readable by gzip.*truncated",
        ),
        ("t.vot", b"<?xml version='1.0'?><VOTABLE><RES", "not a readable VOTable"),
        ("t.dat", CDS[:500].encode(), "the table has no rows"),
        ("t.txt", b"# nothing but\n# comments\n", "no rows, only blank lines and comments"),
        ("t.txt", b"a b\xe9\n", "line 1: byte 0xe9 is not UTF-8"),
        ("t.txt", b"a\0b\n", "binary data of no known kind"),
        ("t.txt", b"name mass age\n", "no rows after the line of names"),
        ("t.doc", b"anything", r"unknown kind of table '\.doc'; expected FITS, VOTable"),
    ],
)
def test_damaged_tables(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CatalogueError, match=message) as caught:
        read_table(path, ColumnMap.model_validate(MAP))
    assert str(path) in str(caught.value)


@pytest.mark.shared
def test_a_published_cds_table(shared):
    """McLaughlin & van der Marel (2005): masses of three models of each cluster, without ages."""
    path = shared / "lmc" / "McL_vdM05.dat"
    cat = read_table(
        path,
        ColumnMap.model_validate(
            {
                "estimates": False,
                "columns": {"cluster": "Cluster", "model": "model", "log_mass": "Mtot"},
            }
        ),
    )
    raw = [line for line in path.read_text().splitlines() if line.startswith("LMC-")]
    first = int(np.flatnonzero(cat.columns["cluster"] == raw[0].split()[0])[0])
    assert cat.columns["log_mass"][first] == float(raw[0][33:37])
    assert set(cat.columns["model"]) >= {"K", "W"}
