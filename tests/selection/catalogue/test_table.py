"""Tables through a column map, and this library's own file: units, errors, exact round trips."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table

from starcensus.files import FileError
from starcensus.selection.catalogue import (
    Catalogue,
    CatalogueError,
    ColumnCut,
    ColumnMap,
    Step,
    ThetaRange,
    WithEstimates,
    apply_cuts,
    read_catalogue,
    read_table,
    write_catalogue,
)

MAP = """
id = "name"
extra = ["radius", "field"]
distance_modulus = 28.0
bands = [{name = "ACS_F555W", column = "V", error = "eV", missing = [99.0]}]

[mass]
column = "mass"
unit = "Msun"
lower = "mass_low"
upper = "mass_high"

[age]
column = "age"
unit = "Myr"
minus = "age_minus"
plus = "age_plus"

[a_v]
column = "ebv"
unit = "E(B-V)"
sigma = "ebv_err"
r_v = 3.0
"""


@pytest.fixture
def table():
    return Table(
        {
            "name": ["a", "b"],
            "mass": [1e4, 1e5],
            "mass_low": [5e3, 9e4],
            "mass_high": [2e4, 1.1e5],
            "age": [10.0, 100.0],
            "age_minus": [5.0, 20.0],
            "age_plus": [10.0, 0.0],
            "ebv": [0.1, 0.5],
            "ebv_err": [0.2, 0.1],
            "V": [22.0, 99.0],
            "eV": [0.1, 99.0],
            "radius": [1.5, 3.0],
            "field": ["c", "e"],
        }
    )


@pytest.fixture
def column_map(tmp_path):
    path = tmp_path / "map.toml"
    path.write_text(MAP)
    return ColumnMap.from_toml(path)


@pytest.mark.parametrize("suffix", ["ecsv", "csv", "fits", "parquet"])
def test_formats(tmp_path, table, column_map, suffix):
    path = tmp_path / f"clusters.{suffix}"
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        columns = {name: table[name].tolist() for name in table.colnames}
        parquet.write_table(pyarrow.table(columns), path)
    else:
        if suffix != "csv":
            table["mass"].unit, table["age"].unit = "Msun", "Myr"
        table.write(path, format={"csv": "ascii.csv", "ecsv": "ascii.ecsv"}.get(suffix, suffix))
    cat = read_table(path, column_map)
    assert cat.ids.tolist() == ["a", "b"]
    np.testing.assert_allclose(cat.theta, [[4.0, 7.0, 0.3], [5.0, 8.0, 1.5]])
    low = [[np.log10(5e3), np.log10(5e6), 0.0], [np.log10(9e4), np.log10(8e7), 1.2]]
    high = [[np.log10(2e4), np.log10(2e7), 0.9], [np.log10(1.1e5), 8.0, 1.8]]
    np.testing.assert_allclose(cat.theta_low, low, atol=1e-12)
    np.testing.assert_allclose(cat.theta_high, high)
    np.testing.assert_array_equal(cat.mags, [[22.0], [np.nan]])
    np.testing.assert_array_equal(cat.mag_errors, [[0.1], [np.nan]])
    assert cat.columns["field"].tolist() == ["c", "e"]
    assert cat.meta["distance_modulus"] == 28.0
    first = {"csv": 2, "fits": 1, "parquet": 1}.get(suffix)
    if first is not None:
        assert cat.columns["row"][0] == first
    else:
        line = path.read_text().splitlines()[cat.columns["row"][0] - 1]
        assert line.startswith("a ")


def test_log_scales_and_missing_rows(tmp_path):
    path = tmp_path / "logs.ecsv"
    Table({"m": [4.0, 5.0, -9.0], "t": [1.0, 2.0, 3.0], "e": [0.1, 0.2, 0.1]}).write(
        path, format="ascii.ecsv"
    )
    mass = {"column": "m", "unit": "Msun", "scale": "log10", "sigma": "e", "missing": [-9.0]}
    age = {"column": "t", "unit": "Myr", "scale": "log10"}
    given = {"mass": mass, "age": age, "allow_missing": True}
    cat = read_table(path, ColumnMap.model_validate(given))
    np.testing.assert_allclose(cat.theta[:2, :2], [[4.0, 7.0], [5.0, 8.0]])
    np.testing.assert_allclose(cat.theta_high[:2, 0], [4.1, 5.2])
    assert np.isnan(cat.theta[2]).all() and np.isnan(cat.theta_low[:, 1]).all()
    assert cat.meta["not_published"] == ("a_v",)
    assert (cat.meta["n_no_estimate"], len(WithEstimates()(cat))) == (1, 2)
    assert cat.ids.tolist() == [1, 2, 3]


def _identical(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def test_round_trip_is_exact(tmp_path):
    rng = np.random.default_rng(5)
    theta = rng.normal([4.0, 8.0, 1.0], [0.3, 0.5, 0.1], (50, 3))
    theta[7] = np.nan
    cat = Catalogue(
        source="made",
        ids=np.array([f"c{k}" for k in range(50)]),
        theta=theta,
        theta_low=theta - rng.random((50, 3)),
        theta_high=theta + rng.random((50, 3)) / 3,
        bands=("F555W", "F814W"),
        mags=np.where(rng.random((50, 2)) < 0.1, np.nan, rng.normal(22, 1, (50, 2))),
        mag_errors=rng.random((50, 2)),
        columns={
            "row": np.arange(50),
            "class_mode": rng.integers(0, 5, 50),
            "flag": rng.random(50) < 0.5,
            "name": np.array(["", "a b", 'say "x"', "é,ü", "#1"] * 10),
            "mass": rng.random(50).astype(np.float32),
        },
        steps=(Step("classes", 60, 50, 'class in 1, 2; "quoted"'),),
        meta={"distance_modulus": 29.98, "not": None, "bands": ("a", ("b", 1)), "n": {"x": 1}},
    )
    path = tmp_path / "own.ecsv"
    write_catalogue(cat, path)
    back = read_catalogue(path, "starcensus")
    for field in ("ids", "theta", "theta_low", "theta_high", "mags", "mag_errors"):
        _identical(getattr(back, field), getattr(cat, field))
    assert list(back.columns) == list(cat.columns)
    for name, column in cat.columns.items():
        _identical(back.columns[name], column)
    assert (back.source, back.bands, back.steps) == (cat.source, cat.bands, cat.steps)
    assert back.meta == cat.meta
    bare = dataclasses.replace(cat, bands=(), mags=None, mag_errors=None)
    write_catalogue(bare, path)
    assert read_catalogue(path, "starcensus").mags is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["own.ecsv"]


def test_limits_of_a_sample_survive_a_file(tmp_path):
    """Also those of one side, of which the other is infinite; rows that contradict are refused."""
    theta = np.array([[4.0, 7.0, 0.0], [3.0, 8.0, 1.0]])
    cat = Catalogue("made", np.array([1, 2]), theta, theta, theta)
    limited = apply_cuts(cat, [ColumnCut("log_age", low=6.5), ThetaRange(log_mass=(3.0, 7.0))])
    path = tmp_path / "limited.ecsv"
    write_catalogue(limited, path)
    back = read_catalogue(path, "starcensus")
    assert back.limits == {"log_age": (6.5, np.inf), "log_mass": (3.0, 7.0)} == limited.limits
    with pytest.raises(
        CatalogueError, match=r"1 rows lie beyond the limits .* 3\.5 to 7 in log_mass"
    ):
        back.limited({"log_mass": (3.5, np.inf)})


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "own.ecsv"
    theta = np.array([[4.0, 7.0, 0.0]])
    cat = Catalogue("made", np.array([1]), theta, theta, theta)
    write_catalogue(cat, path)
    before = path.read_bytes()

    def fail(self, name, **_):
        with open(name, "w") as file:
            file.write("half")
        raise OSError("disk full")

    monkeypatch.setattr(Table, "write", fail)
    with pytest.raises(FileError, match="disk full"):
        write_catalogue(cat, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["own.ecsv"]


def test_what_cannot_be_written(tmp_path):
    theta = np.array([[4.0, 7.0, 0.0]])
    cat = Catalogue("made", np.array([1]), theta, theta, theta, meta={"f": object()})
    with pytest.raises(CatalogueError, match="meta: object cannot be written"):
        write_catalogue(cat, tmp_path / "a.ecsv")
    with pytest.raises(CatalogueError, match=r"expected a name ending in \.ecsv"):
        write_catalogue(cat, tmp_path / "a.csv")
    with pytest.raises(FileError, match=r"cannot write .*a\.ecsv"):
        write_catalogue(dataclasses.replace(cat, meta={}), tmp_path / "no" / "a.ecsv")
