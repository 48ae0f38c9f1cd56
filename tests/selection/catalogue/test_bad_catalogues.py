"""Mistakes that users make, and the one readable message each must give."""

import numpy as np
import pytest
from astropy.table import Table

from starcensus.files import FileError
from starcensus.selection.catalogue import (
    Catalogue,
    CatalogueError,
    ColumnMap,
    check,
    read_catalogue,
    read_table,
    write_catalogue,
)

NAME = "hlsp_legus_hst_acs-wfc3_ngc628-c_multiband_v1_padagb-mwext-avgapcor.tab"
GOOD = (
    "{id} 2034.0 5987.6 24.17 15.78 22.5 0.1 22.6 0.1 23.0 0.05 22.9 0.04 22.1 0.05 1.55 "
    "1e7 2e7 5e6 1e4 2e4 5e3 0.2 0.3 0.1 0.1 0.1 0.1 0.1 0.1 1.2 0.6 5 1.0 1.333"
)
ROWS = [GOOD.format(id=k) for k in range(1, 21)]


def changed(row: int, field: int, value: str) -> str:
    fields = [line.split() for line in ROWS]
    fields[row - 1][field - 1] = value
    return "\n".join(" ".join(words) for words in fields)


def every(field: int, value: str) -> str:
    lines = [line.split() for line in ROWS]
    for words in lines:
        words[field - 1] = value
    return "\n".join(" ".join(words) for words in lines)


LEGUS = {
    "empty file": (b"", r"\.tab: the file is empty"),
    "blank lines": (b"\n\n \n", "only blank lines"),
    "binary": (b"\x89PNG\0\0", "binary data, expected a LEGUS text table"),
    "fits as legus": (b"SIMPLE  =                    T", "use format 'table' or 'literature'"),
    "not ascii": (b"1 2\n3 \xe9 4\n", "line 2: byte 0xe9 is not ASCII"),
    "header line": ("id x y\n" + "\n".join(ROWS), "line 1, field 1: received 'id'.*no header line"),
    "ragged rows": (
        "\n".join(line[:80] if k in (4, 5, 6) else line for k, line in enumerate(ROWS)),
        r"line 5, 16 fields, expected 35 \(3 of 20 rows are bad; up to 10% would be left out\)",
    ),
    "cut": ("\n".join([*ROWS[:4], ROWS[4][:80]]), "line 5, the last one: received 16 fields, exp"),
    "too few columns": ("\n".join("1 2 3" for _ in ROWS), "3 fields per line, but the published"),
    "too many columns": (
        "\n".join(f"{line} 0 0 7" for line in ROWS),
        "38 fields per line, but the",
    ),
    "ages in Myr": (every(17, "10.0"), "field 17 is not an age.*ages look like Myr: multiply by"),
    "log ages": (every(17, "7.2"), "field 17 is not an age"),
    "ages of 19 Gyr": (every(17, "1.9e10"), "fields 17 to 19 are not best, max and min of age"),
    "duplicate ids": (changed(9, 1, "4"), "line 4 and line 9, column id: 4 appears 2 times"),
    "dec out of range": (every(5, "115.2"), "field 5 is not Dec"),
    "magnitudes for errors": (every(7, "22.1"), "fields 6, 7 are not a magnitude and its error"),
    "no filters": (every(33, "7"), "field 33 is not a number of filters"),
    "limits swapped": (every(18, "1e6"), "fields 17 to 19 are not best, max and min of age"),
}


@pytest.mark.parametrize("mistake", LEGUS)
def test_legus(tmp_path, mistake):
    content, message = LEGUS[mistake]
    path = tmp_path / NAME
    path.write_bytes(content if isinstance(content, bytes) else content.encode() + b"\n")
    with pytest.raises(CatalogueError, match=message) as caught:
        read_catalogue(path, "legus")
    assert str(path) in str(caught.value)


def mapping(**changes):
    given = {
        "id": "id",
        "mass": {"column": "m", "unit": "Msun", "sigma": "em"},
        "age": {"column": "t", "unit": "yr"},
        "a_v": {"column": "av", "unit": "mag"},
    }
    return ColumnMap.model_validate({**given, **changes})


def columns(**changes):
    given = {
        "id": [1, 2, 3],
        "m": [1e4, 2e4, 5e3],
        "em": [1e3, 1e3, 1e2],
        "t": [1e7, 3e7, 2e8],
        "av": [0.0, 0.5, 1.0],
    }
    return {name: values for name, values in {**given, **changes}.items() if values is not None}


AGE_LIMITS = {"column": "t", "unit": "yr", "lower": "tl", "upper": "tu"}
LOG_AGE = {"column": "t", "unit": "yr", "scale": "log10"}
TABLES = {
    "missing column": (columns(av=None), {}, "no column 'av'; the table has id, m, em, t"),
    "nan mass": (columns(m=[1e4, np.nan, 1e4]), {}, "line 3, column m: received NaN or a blank"),
    "negative mass": (columns(m=[1e4, 1e4, -1.0]), {}, "line 4, column m: received -1 Msun"),
    "negative error": (columns(em=[1e3, -5.0, 1.0]), {}, "line 3, column em: received a negative"),
    "error above value": (columns(em=[2e4, 1.0, 1.0]), {}, "line 2, column m: the lower limit is"),
    "ages in Myr": (
        columns(t=[10.0, 300.0, 20.0]),
        {},
        r"line 2, column log_age: .* ages look like Myr: multiply by 1e6",
    ),
    "log ages as linear": (columns(t=[7.0, 8.0, 8.5]), {}, "ages look like log10 values"),
    "linear ages as log": (columns(), {"age": LOG_AGE}, "ages look linear"),
    "log masses as linear": (
        columns(m=[4.0, 5.0, 3.5], em=[0.1] * 3),
        {},
        "masses look like log10 values: scale is 'log10'",
    ),
    "linear masses as log": (
        columns(),
        {"mass": {"column": "m", "unit": "Msun", "scale": "log10"}},
        "masses look linear: scale is 'linear'",
    ),
    "negative extinction": (columns(av=[0.0, -0.5, 1.0]), {}, "line 3, column a_v: received -0.5"),
    "duplicate ids": (columns(id=[1, 2, 1]), {}, "line 2 and line 4, column id: 1 appears 2"),
    "blank id": (columns(id=["a", "", "c"]), {}, "line 3, column id: blank id"),
    "float ids": (columns(id=[1.5, 2.5, 3.5]), {}, "column id: identifiers are float64"),
    "words": (columns(m=["1e4", "big", "1e3"]), {}, "line 3, column m: received 'big'"),
    "swapped limits": (
        columns(tl=[2e7] * 3, tu=[1e6] * 3),
        {"age": AGE_LIMITS},
        "lower limit 2e[+]07 above upper limit 1e[+]06.*are the two swapped",
    ),
    "limits beside the value": (
        columns(tl=[2e7] * 3, tu=[3e8] * 3),
        {"age": AGE_LIMITS},
        "line 2, column log_age: limits 7.301 and 8.477 do not enclose the best value 7",
    ),
    "empty": ({name: [] for name in columns()}, {}, "the table has no rows"),
}


@pytest.mark.parametrize("mistake", TABLES)
def test_table(tmp_path, mistake):
    data, changes, message = TABLES[mistake]
    path = tmp_path / "clusters.csv"
    Table(data).write(path, format="ascii.csv")
    with pytest.raises(CatalogueError, match=message) as caught:
        read_table(path, mapping(**changes))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "unit, changes, message",
    [
        ("Myr", {}, "column t: the file says unit 'Myr', the column map says linear yr"),
        ("yr", {"age": LOG_AGE}, "the file says unit 'yr', the column map says log10 yr"),
        ("mag", {}, "the file says unit 'mag', the column map says linear yr"),
    ],
)
@pytest.mark.parametrize("suffix", ["ecsv", "fits"])
def test_units_that_disagree(tmp_path, unit, changes, message, suffix):
    table = Table(columns(), units={"t": unit})
    path = tmp_path / f"clusters.{suffix}"
    table.write(path)
    with pytest.raises(CatalogueError, match=message):
        read_table(path, mapping(**changes))


@pytest.mark.parametrize(
    "text, message",
    [
        ("mass = [", "not valid TOML"),
        ("[mass]\ncolumn = 'm'\nunit = 'Msun'", "age: is missing; a table without estimates says"),
        ("colour = 1", "colour: Extra inputs are not permitted"),
        ("[mass]\ncolumn = 'm'\nunit = 'kg'", "mass.unit: .*expected one of Msun, yr, Myr"),
        ("[mass]\ncolumn='m'\nunit='Msun'\nlower='a'", "mass: .*lower and upper belong together"),
        ("[mass]\ncolumn='m'\nunit='1e4 kg'", "or one with a factor: '1e4 Msun'"),
        (
            "[mass]\ncolumn='m'\nunit='Msun'\nscale='log10'\nsigma='e'\nerror_unit='fraction'",
            "are in",
        ),
        ("[mass]\ncolumn='m'\nunit='Msun'\nerror_unit='percent'", "error_unit"),
        ("estimates = false\n[mass]\ncolumn='m'\nunit='Msun'", "mass is given, but estimates = f"),
        (
            "bands = [{name='MINE_F1W', column='f', unit='mJy'}]",
            "MINE_F1W: its AB minus Vega magnitude is not known, which mJy needs",
        ),
        (
            "[mass]\ncolumn='m'\nunit='yr'\n[age]\ncolumn='t'\nunit='yr'",
            "mass: unit 'yr', expected Msun",
        ),
    ],
)
def test_column_maps(tmp_path, text, message):
    path = tmp_path / "map.toml"
    path.write_text(text)
    with pytest.raises(FileError, match=message):
        ColumnMap.from_toml(path)


def test_truncated_fits(tmp_path):
    whole = tmp_path / "whole.fits"
    Table({"ID": np.arange(2000), "logMass": np.ones(2000)}).write(whole)
    for size in (100, 4000, 20000):
        path = tmp_path / f"cut{size}.fits"
        path.write_bytes(whole.read_bytes()[:size])
        for name, options in (("literature", {}), ("table", {"column_map": mapping()})):
            with pytest.raises(CatalogueError, match=r"fits: not a readable FITS table.*truncated"):
                read_catalogue(path, name, **options)


def test_files_and_formats(tmp_path):
    with pytest.raises(CatalogueError, match=r"none\.tab: there is no such catalogue file"):
        read_catalogue(tmp_path / "none.tab", "legus")
    with pytest.raises(CatalogueError, match="is a folder; expected a catalogue file"):
        read_catalogue(tmp_path, "literature")
    path = tmp_path / "a.xlsx"
    path.write_text("x")
    with pytest.raises(CatalogueError, match=r"unknown kind of table '\.xlsx'"):
        read_catalogue(path, "table", column_map=mapping())
    with pytest.raises(CatalogueError, match="format 'votable', expected one of legus"):
        read_catalogue(path, "votable")
    with pytest.raises(CatalogueError, match="unknown option rv for format 'legus'; allowed: r_v"):
        read_catalogue(path, "legus", rv=3.1)
    with pytest.raises(CatalogueError, match="needs the option column_map"):
        read_catalogue(path, "table")
    with pytest.raises(CatalogueError, match="r_v = -1"):
        tab = tmp_path / NAME
        tab.write_text("\n".join(ROWS))
        read_catalogue(tab, "legus", r_v=-1.0)
    other = tmp_path / "other.fits"
    Table(columns()).write(other)
    with pytest.raises(CatalogueError, match=r"not one of the known tables .*missing columns"):
        read_catalogue(other, "literature")
    ecsv = tmp_path / "other.ecsv"
    Table(columns()).write(ecsv)
    with pytest.raises(CatalogueError, match="not written by write_catalogue"):
        read_catalogue(ecsv, "starcensus")
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1 no")
    pytest.importorskip("pyarrow")
    with pytest.raises(CatalogueError, match="not a readable Parquet file"):
        read_catalogue(damaged, "table", column_map=mapping())


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(CatalogueError, match=r"pip install 'starcensus\[parquet\]'"):
        read_table(path, mapping())


def test_damaged_own_file(tmp_path):
    theta = np.array([[4.0, 7.0, 0.0], [4.5, 8.0, 0.1]])
    path = tmp_path / "own.ecsv"
    write_catalogue(Catalogue("made", np.array([1, 2]), theta, theta, theta), path)
    text = path.read_text()
    path.write_text(text.rsplit(" ", 2)[0] + "\n")
    with pytest.raises(CatalogueError, match=r"own\.ecsv: not a readable ECSV table"):
        read_catalogue(path, "starcensus")
    path.write_text(text.replace("log_age_low", "log_age_lo"))
    with pytest.raises(CatalogueError, match="damaged catalogue file: KeyError"):
        read_catalogue(path, "starcensus")


@pytest.mark.parametrize(
    "low, high, message",
    [
        ([[4.2, 7.0, 0.0]], [[4.4, 7.0, 0.0]], "row 1, column log_mass: limits 4.2 and 4.4 do not"),
        (
            [[4.0, np.nan, 0.0]],
            [[4.0, 7.0, 0.0]],
            "column log_age: limits .nan, 7.0.; expected both",
        ),
        ([[4.0, 7.0, 0.0]], [[4.0, 7.0, np.inf]], "column a_v: limits"),
    ],
)
def test_check_limits(low, high, message):
    theta = np.array([[4.0, 7.0, 0.0]])
    with pytest.raises(CatalogueError, match=message):
        check(Catalogue("made", np.array([1]), theta, np.array(low), np.array(high)))


def test_check_partial_estimate():
    theta = np.array([[4.0, np.nan, 0.0]])
    with pytest.raises(CatalogueError, match="column log_age: received nan beside finite values"):
        check(Catalogue("made", np.array([1]), theta, theta, theta))
