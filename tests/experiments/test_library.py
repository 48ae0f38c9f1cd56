"""`starcensus simulate library`: what it writes, and what it says to mistakes."""

import json
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from tests.helpers import run

from starcensus.experiments.jobs._job import open_job
from starcensus.experiments.jobs.library import LibraryJob
from starcensus.shards import Work
from starcensus.simulate import BoxTheta, ClusterLibrary, TableTheta
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.cluster import DrawSettings, draw_clusters
from starcensus.simulate.clusters.imf import Chabrier
from starcensus.simulate.stars.grid import StellarGrid

DESIGN = """
kind = "library"
n = 60
seed = 3
bands = ["ACS_F814W", "WFC3_UVIS_F275W"]
[theta]
kind = "log_uniform"
log_mass = [2, 4]
log_age = [6.5, 9]
[radius]
kind = "flat"
[imf]
kind = "chabrier"
high = 100.0
"""
BANDS = ("ACS_F814W", "WFC3_UVIS_F275W")


def test_a_library_and_what_stands_beside_it(tmp_path, monkeypatch, capfd):
    (tmp_path / "d.toml").write_text(DESIGN)
    out = tmp_path / "out" / "a.h5"
    arguments = [str(tmp_path / "d.toml"), "--out", str(out), "--shard-rows", "25"]
    assert run(monkeypatch, "simulate", "library", *arguments) == 0
    said = capfd.readouterr()
    assert re.search(r"a.h5: 60 clusters, \d+\.\d s$", said.out.strip()) and said.err == ""
    library = ClusterLibrary.load(out)
    # Each row is what its θ and its seed alone give.
    population = StellarPopulation(StellarGrid.default().select(BANDS), Chabrier(high=100.0))
    rows = [41, 7]
    seeds = library.column("seed")[rows]
    theta = (values[rows] for values in (library.log_mass, library.log_age, library.a_v))
    drawn = draw_clusters(population, *theta, seeds, DrawSettings())
    np.testing.assert_array_equal(library.abs_mags[rows], drawn.abs_mags.astype(np.float32))
    for name in ("birth_mass", "live_mass", "n_stars", "max_mass", "q_h", "log_lum"):
        np.testing.assert_array_equal(library.column(name)[rows], getattr(drawn, name))
    np.testing.assert_allclose(library.log_density, -np.log(2 * 2.5 * 3))
    assert library.meta["engine"]["citations"] and library.meta["engine"]["imf"]["high"] == 100
    summary = json.loads((out.with_suffix(".summary.json")).read_text())
    assert summary["n_clusters"] == 60 and summary["n_drawn_before"] == 0
    assert 1 <= summary["r_eff_pc.min"] < summary["r_eff_pc.max"] <= 10
    assert all(isinstance(value, int | float) for value in summary.values())
    facts = json.loads((out.with_suffix(".provenance.json")).read_text())
    assert facts["seed"] == 3 and facts["file"] == DESIGN
    assert facts["engine"]["grid"].startswith("sha256:")
    # Another library in the folder has facts of its own.
    assert (
        run(monkeypatch, "simulate", "library", arguments[0], "--out", str(out.with_name("b.h5")))
        == 0
    )
    names = sorted(path.name for path in out.parent.glob("*.json"))
    assert names == [f"{x}.{kind}.json" for x in "ab" for kind in ("provenance", "summary")]
    assert json.loads(out.with_suffix(".provenance.json").read_text()) == facts
    capfd.readouterr()
    # The same again is finished already; another design is refused.
    before = out.read_bytes()
    assert run(monkeypatch, "simulate", "library", *arguments) == 0
    assert "60 clusters, 60 of them drawn before" in capfd.readouterr().out
    assert out.read_bytes() == before
    (tmp_path / "d.toml").write_text(DESIGN.replace("seed = 3", "seed = 4"))
    assert run(monkeypatch, "simulate", "library", *arguments) == 2
    assert "a.h5 is there and is of another design" in capfd.readouterr().err
    assert out.read_bytes() == before


def library_job(folder: pathlib.Path) -> LibraryJob:
    job = open_job(folder / "d.toml", folder / "a.h5")
    assert isinstance(job, LibraryJob)
    return job


def test_designs(tmp_path):
    Table(
        {"log_mass": [2.0, 3.0], "log_age": [7.0, 8.0], "a_v": [0.0, 1.0], "r_eff_pc": [1.0, 2.0]}
    ).write(tmp_path / "t.ecsv")
    (tmp_path / "d.toml").write_text(
        'kind = "library"\nbands = ["ACS_F814W"]\n[theta]\nkind = "table"\npath = "t.ecsv"\n'
    )
    design = library_job(tmp_path).design()
    assert design.n == 2 and isinstance(design.theta, TableTheta)
    open_job(tmp_path / "d.toml", tmp_path / "a.h5", work=Work(shard_size=1)).perform()
    assert ClusterLibrary.load(tmp_path / "a.h5").column("r_eff_pc").tolist() == [1, 2]
    box = 'kind = "quasi_random"\nlog_mass = [2, 6]\nlog_age = 7\nmass_slope = -2\n'
    (tmp_path / "d.toml").write_text('kind = "library"\nn = 4\n[theta]\n' + box)
    theta = library_job(tmp_path).design().theta
    assert isinstance(theta, BoxTheta)
    assert theta.sequence == "sobol" and theta.log_age == (7, 7) and theta.mass_slope == -2


def replace(old: str, new: str) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        path = folder / "d.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def table(**columns: list[float]) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        good = {"log_mass": [2.0, 3.0], "log_age": [7.0, 8.0], "a_v": [0.0, 1.0]}
        kept = {k: v for k, v in (good | columns).items() if v}
        Table(kept).write(folder / "t.csv")
        text = (folder / "d.toml").read_text()
        start, stop = text.index("[theta]"), text.index("[radius]")
        text = text[:start] + '[theta]\nkind = "table"\npath = "t.csv"\n' + text[stop:]
        (folder / "d.toml").write_text(text.replace("n = 60", "n = 2"))

    return change


def both(*changes: Callable[[pathlib.Path], None]) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        for one in changes:
            one(folder)

    return change


def write(name: str, content: str) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        (folder / name).write_text(content)

    return change


def truncated(folder: pathlib.Path) -> None:
    one = np.ones(3)
    ClusterLibrary(one, one, one, ("a",), np.ones((3, 1)), one).save(folder / "out.h5")
    data = (folder / "out.h5").read_bytes()
    (folder / "out.h5").write_bytes(data[:-100])


RELATION = """[metallicity]
grids = ["lmc"]
z = [0.03]

"""
MISTAKES = [
    (replace("n = 60", "m = 60"), [], "d.toml: m: unknown key; remove it or check its spelling"),
    (replace("n = 60", ""), [], "d.toml: n is missing; expected the number of clusters"),
    (replace("n = 60", "n = 0"), [], "d.toml: n is 0; expected at least 1 cluster"),
    (replace("n = 60", "n = 2.5"), [], "d.toml: n: Input should be a valid integer"),
    (replace("seed = 3", "seed = -3"), [], "seed: .*greater than or equal to 0"),
    (replace("n = 60", "n = "), [], "d.toml: not valid TOML"),
    (replace("[2, 4]", "[4, 2]"), [], r"log_mass = \[4, 2\]; expected finite limits, the lower"),
    (
        replace("[2, 4]", "[2, 11]"),
        [],
        "runs from 2 to 11 log10 M_sun; .* 10",
    ),
    (
        replace("[6.5, 9]", "[6.5, 11]"),
        [],
        "runs from 6.5 to 11 log10 yr; the ",
    ),
    (replace("[6.5, 9]", "[6.5, 9]\na_v = [0, 7]"), [], "a_v of the design runs from 0 to 7 mag"),
    (replace("[6.5, 9]", "[6.5, nan]"), [], "expected finite limits"),
    (
        replace('"log_uniform"', '"flat"'),
        [],
        "theta: kind: 'flat' is no design of θ; expected one of log_uniform",
    ),
    (replace('kind = "flat"', 'kind = "flat"\nlow = -1'), [], "radii from -1 to 10 pc; expected"),
    (
        replace('kind = "flat"', 'kind = "flat"\nslope = 1'),
        [],
        "radius: radius law of kind flat has no slope; it has low",
    ),
    (replace("ACS_F814W", "ACS_F999W"), [], "the grid has no band ACS_F999W; it has "),
    (replace("WFC3_UVIS_F275W", "ACS_F814W"), [], "bands repeat: ACS_F814W, ACS_F814W"),
    (replace("high = 100.0", "high = 0.01"), [], "an IMF needs 0 < low < high"),
    (
        replace('"chabrier"', '"chabriere"'),
        [],
        "imf: kind: 'chabriere' is no initial mass function; expected one of k",
    ),
    (
        replace("[imf]", "[draw]\ncovering = 2\n[imf]"),
        [],
        "draw: covering is a fraction, from 0 to 1; got 2",
    ),
    (replace("n = 60", 'n = 60\ngrid = "none.h5"'), [], "grid: no file none.h5 in "),
    (replace("[imf]", RELATION + "[imf]"), [], "grids is .*expected two or more, each once"),
    (
        replace("[imf]", RELATION.replace('"lmc"', '"lmc", "default"') + "[imf]"),
        [],
        "metallicity: z of the relation runs from 0.03 to 0.03; the grids have 0.008 to 0.02",
    ),
    (
        both(
            replace("[imf]", RELATION.replace('"lmc"', '"lmc", "default"') + "[imf]"),
            replace("n = 60", 'n = 60\ngrid = "lmc"'),
        ),
        [],
        "grid is 'lmc', and metallicity.grids has lmc, default; give either",
    ),
    (
        replace("[imf]", RELATION.replace('"lmc"', '"lmc-padova", "default"') + "[imf]"),
        [],
        "lmc-padova: the grid has no band ACS_F814W, WFC3",
    ),
    (
        replace("[imf]", RELATION.replace('"lmc"', '"lmc", "default"') + "[imf]"),
        ["--engine", "slug"],
        "metallicity: the engine slug has stars of its own",
    ),
    (table(log_age=[7.0, np.nan]), [], "t.csv, row 2: log_age is nan; expected a finite number"),
    (table(a_v=[0.0, -1.0]), [], "t.csv, row 2: a_v is -1; expected a finite number of 0 mag"),
    (table(a_v=[]), [], "t.csv has no column a_v; it has log_mass, log_age"),
    (
        both(table(), replace("n = 2", "n = 3")),
        [],
        "n is 3 but t.csv has 2 rows, .*without repeats",
    ),
    (
        both(table(), write("t.csv", "a,b\n1,2,3\n")),
        [],
        "t.csv: is damaged, or no table of θ in CSV",
    ),
    (both(table(), replace("t.csv", "u.csv")), [], "table of θ: no file u.csv in "),
    (lambda folder: (folder / "d.toml").unlink(), [], "d.toml: there is no such library file"),
    (write("out.h5", "something else"), [], "out.h5 is there and is not whole"),
    (truncated, [], "out.h5 is there and is not whole .*cut off"),
    (write("sub", ""), ["--out", "sub/out.h5"], "cannot write to the output folder .*sub"),
    (None, ["--workers", "0"], "workers is 0; expected 1 or more"),
    (None, ["--engine", "galev"], "engine: .*'starcensus' or 'slug'"),
    (None, ["--engine", "slug", "--slug-data", "."], "fetch them with `python -m slugpy.download"),
    (None, ["--scheduler", "nowhere"], "no Dask scheduler answers at nowhere"),
]


@pytest.mark.parametrize(("spoil", "arguments", "message"), MISTAKES)
def test_mistakes(tmp_path, monkeypatch, capfd, spoil, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d.toml").write_text(DESIGN)
    if spoil is not None:
        spoil(tmp_path)
    assert run(monkeypatch, "simulate", "library", "d.toml", "--out", "out.h5", *arguments) == 2
    error = capfd.readouterr().err.strip()
    assert error.startswith("starcensus: ") and "\n" not in error, error
    assert re.search(message, error), error
