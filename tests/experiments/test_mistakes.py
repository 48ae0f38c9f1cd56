"""Mistakes on purpose: each must end with exit code 2 and one line that says what to do."""

import json
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from tests.helpers import run

from starcensus.experiments.cli import main as cli
from starcensus.networks import MLP
from starcensus.selection import (
    Box,
    MagnitudeLimit,
    PhotometricNetwork,
    complete,
    save_selection,
)

EXPERIMENT = """
kind = "fit"
title = "a test"
seed = 1

[catalogue]
path = "catalogue.csv"
format = "table"
options = { column_map = "map.toml" }
cuts = [{ name = "with_estimates" }]

[selections.all]
kind = "complete"

[selections.limit]
kind = "file"
path = "limit.h5"

[populations.simple]
bounds = { log_mass = [3.0, 6.0], log_age = [6.0, 9.0], a_v = [0.0, 2.0] }
mass = { kind = "power_law", alpha_m = -2.0 }
age = { kind = "constant" }
extinction = { kind = "nodes", nodes = [0.0, 1.0, 2.0] }

[[fits]]
name = "main"
selection = "all"
population = "simple"
"""
COLUMN_MAP = """
id = "id"
[mass]
column = "mass"
unit = "Msun"
sigma = "e_mass"
[age]
column = "age"
unit = "yr"
sigma = "e_age"
[a_v]
column = "av"
unit = "mag"
sigma = "e_av"
"""
COLUMNS = {
    "id": ["a", "b", "c"],
    "mass": [1e4, 2e4, 5e4],
    "e_mass": [1e3, 2e3, 5e3],
    "age": [1e7, 3e7, 1e8],
    "e_age": [1e6, 3e6, 1e7],
    "av": [0.1, 0.5, 1.0],
    "e_av": [0.1, 0.1, 0.1],
}


def write_project(folder: pathlib.Path) -> None:
    (folder / "experiment.toml").write_text(EXPERIMENT)
    (folder / "map.toml").write_text(COLUMN_MAP)
    write_columns(folder, COLUMNS)
    limit = MagnitudeLimit.default(domain=Box((3.0, 6.0), (7.0, 9.0), (0.0, 2.0)))
    save_selection(limit, folder / "limit.h5")


def write_columns(folder: pathlib.Path, columns: dict[str, list]) -> None:
    Table(columns).write(folder / "catalogue.csv", format="ascii.csv", overwrite=True)


def replace(old: str, new: str) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        path = folder / "experiment.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return change


def columns(**changes: list | None) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        kept = {**COLUMNS, **changes}
        write_columns(folder, {k: v for k, v in kept.items() if v is not None})

    return change


def map_file(old: str, new: str) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        path = folder / "map.toml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def photometric(folder: pathlib.Path) -> None:
    network = MLP(
        (np.ones((2, 2)), np.ones((1, 2))), (np.zeros(2), np.zeros(1)), np.zeros(2), np.ones(2)
    )
    operator = PhotometricNetwork(
        networks=(network,),
        bands=("U", "V"),
        limits=np.asarray([[15.0, 30.0]] * 2),
        distance_modulus=30.0,
    )
    save_selection(operator, folder / "limit.h5")
    replace('selection = "all"', 'selection = "limit"')(folder)


def truncated_fits(folder: pathlib.Path) -> None:
    Table(COLUMNS).write(folder / "whole.fits")
    data = (folder / "whole.fits").read_bytes()
    (folder / "catalogue.fits").write_bytes(data[: len(data) - 3000])
    replace('path = "catalogue.csv"', 'path = "catalogue.fits"')(folder)


def write(name: str, content: str) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        (folder / name).write_text(content)

    return change


def both(*changes: Callable[[pathlib.Path], None]) -> Callable[[pathlib.Path], None]:
    def change(folder: pathlib.Path) -> None:
        for one in changes:
            one(folder)

    return change


LIMIT = replace('selection = "all"', 'selection = "limit"')
MISTAKES: dict[str, tuple[Callable[[pathlib.Path], None], str]] = {
    "bad TOML": (write("experiment.toml", "title = "), r"experiment\.toml: not valid TOML"),
    "unknown top-level key": (
        replace("seed = 1", "seeed = 1"),
        r"experiment\.toml: seeed: unknown key",
    ),
    "unknown key in bounds": (
        replace("a_v = [0.0, 2.0] }", "a_v = [0.0, 2.0], log_r = [0, 1] }"),
        r"populations\.simple\.bounds\.log_r: unknown key",
    ),
    "unknown mass function": (
        replace('"power_law"', '"powerlaw"'),
        r"mass: 'powerlaw' is no mass function; expected one of power_law, schechter",
    ),
    "parameter of another law": (
        replace("alpha_m = -2.0 }", "log_m_break = 5.0 }"),
        r"mass function of kind power_law has no log_m_break; it has alpha_m",
    ),
    "mass and joint law": (
        replace('age = { kind = "constant" }', 'mass_age = { kind = "mdd" }'),
        r"give either mass and age, or mass_age",
    ),
    "bounds reversed": (
        replace("log_mass = [3.0, 6.0]", "log_mass = [6.0, 3.0]"),
        r"limits of log_mass are \(6, 3\)",
    ),
    "nodes against bounds": (
        replace("nodes = [0.0, 1.0, 2.0]", "nodes = [0.0, 1.0, 3.0]"),
        r"nodes and bounds disagree: a_v 0 to 3 goes beyond 0 to 2 mag",
    ),
    "prior of an unknown parameter": (
        replace("[[fits]]", '[populations.simple.priors]\nbeta = { kind = "fixed" }\n[[fits]]'),
        r"priors are given for \['beta'\]",
    ),
    "prior of the wrong kind": (
        replace(
            "[[fits]]", '[populations.simple.priors]\nalpha_m = { kind = "dirichlet" }\n[[fits]]'
        ),
        r"prior of alpha_m: Dirichlet.*expected a prior of a scalar",
    ),
    "prior with low above high": (
        replace(
            "[[fits]]",
            "[populations.simple.priors]\n"
            'alpha_m = { kind = "uniform", low = 1, high = 0 }\n[[fits]]',
        ),
        r"priors\.alpha_m: low = 1 and high = 0",
    ),
    "undefined selection": (
        replace('selection = "all"', 'selection = "al"'),
        r"'al' is not defined; defined are all, limit",
    ),
    "two fits of one name": (
        replace(
            "[[fits]]",
            '[[fits]]\nname = "main"\nselection = "all"\npopulation = "simple"\n[[fits]]',
        ),
        r"fits must have different names, got main, main",
    ),
    "one chain": (replace("[[fits]]", "[sampler]\nn_chains = 1\n[[fits]]"), r"n_chains = 1"),
    "unknown sampler key": (
        replace("[[fits]]", "[sampler]\nchains = 4\n[[fits]]"),
        r"sampler\.chains: unknown key",
    ),
    "negative floor": (
        replace("[[fits]]", "[errors]\nfloor = [0.1, -0.1, 0.1]\n[[fits]]"),
        r"expected positive errors in dex, dex, mag",
    ),
    "sample number": (
        replace("[[fits]]", "[errors]\nn_samples = 100\n[[fits]]"),
        r"n_samples = 100; expected a power of two",
    ),
    "catalogue missing": (
        replace('path = "catalogue.csv"', 'path = "clusters.csv"'),
        r"catalogue: no file clusters\.csv in .*--data",
    ),
    "catalogue empty": (write("catalogue.csv", ""), r"catalogue\.csv: .*empty"),
    "catalogue without rows": (
        write("catalogue.csv", ",".join(COLUMNS) + "\n"),
        r"catalogue\.csv: .*(no rows|empty)",
    ),
    "truncated FITS": (truncated_fits, r"catalogue\.fits: "),
    "unknown format": (
        replace('format = "table"', 'format = "votable"'),
        r"catalogue\.format: 'votable' is no format of catalogues; expected one of legus",
    ),
    "unknown cut": (
        replace('"with_estimates"', '"bright"'),
        r"bright.*legus_stage2",
    ),
    "cut with a wrong argument": (
        replace('{ name = "with_estimates" }', '{ name = "with_estimates", n = 3 }'),
        r"with_estimates.*min_filters",
    ),
    "missing column": (columns(mass=None), r"catalogue\.csv: .*'?mass'?"),
    "NaN mass": (
        columns(mass=[1e4, float("nan"), 5e4]),
        r"catalogue\.csv.*(row|line) 3.*mass",
    ),
    "negative error": (
        columns(e_mass=[1e3, -2e3, 5e3]),
        r"catalogue\.csv.*(row|line) 3.*e_mass",
    ),
    "ages in Myr": (
        columns(age=[10.0, 30.0, 100.0], e_age=[1.0, 3.0, 10.0]),
        r"(?i)catalogue\.csv.*age.*Myr",
    ),
    "duplicate ids": (columns(id=["a", "b", "a"]), r"catalogue\.csv.*'?a'?"),
    "wrong unit": (map_file('unit = "Msun"', 'unit = "kpc"'), r"map\.toml|kpc"),
    "operator missing": (
        both(LIMIT, lambda folder: (folder / "limit.h5").unlink()),
        r"selection: no file limit\.h5",
    ),
    "operator not HDF5": (
        both(LIMIT, write("limit.h5", "not an operator")),
        r"limit\.h5: is not an HDF5 file",
    ),
    "operator of magnitudes": (
        photometric,
        r"limit\.h5: the operator of kind 'file' is one of magnitudes",
    ),
    "population beyond the operator's domain": (
        LIMIT,
        r"leave the domain of MagnitudeLimit: log_age 6 to 9 goes beyond 7 to 9",
    ),
    "catalogue outside the bounds": (
        columns(age=[1e10, 1.1e10, 1.2e10]),
        r"none of the 3 clusters lies inside the population's bounds",
    ),
    "no limits": (
        map_file('sigma = "e_av"\n', ""),
        r"3 clusters have no 68% limits.*errors\.missing = 'floor'",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_line_and_exit_2(name, tmp_path, monkeypatch, capsys):
    change, pattern = MISTAKES[name]
    write_project(tmp_path)
    change(tmp_path)
    files = tmp_path / "experiment.toml", "--out", tmp_path / "out"
    code = run(monkeypatch, "run", *files)
    message = capsys.readouterr().err
    assert code == 2, message
    assert message.startswith("starcensus: ")
    assert message.count("\n") == 1, message
    assert re.search(pattern, message), message
    assert not (tmp_path / "out" / "summary.json").exists()


def test_there_are_enough_mistakes():
    assert len(MISTAKES) >= 25


COMMANDS: dict[str, tuple[list[str], str]] = {
    "experiment missing": (
        ["run", "none.toml", "--out", "out"],
        r"none\.toml: there is no such TOML file",
    ),
    "data is no folder": (
        ["run", "experiment.toml", "--data", "map.toml", "--out", "out"],
        r"--data .*map\.toml: there is no such folder",
    ),
    "out below a file": (
        ["run", "experiment.toml", "--out", "map.toml/out"],
        r"cannot write to the output folder .*map\.toml/out",
    ),
    "nothing to calibrate": (
        ["calibrate", "experiment.toml", "--out", "out"],
        r"is of kind 'fit'; expected calibration",
    ),
    "nothing to mock": (
        ["mock", "experiment.toml", "--out", "out"],
        r"is of kind 'fit'; expected mock",
    ),
    "report of nothing": (["report", "."], r"(posterior\.nc|summary\.json|run\.json)"),
    "point outside the domain": (
        ["selection", "predict", "limit.h5", "--log-mass", "9", "--log-age", "8", "--a-v", "0"],
        r"outside the domain of MagnitudeLimit.*log_mass = 9",
    ),
    "population file missing": (
        ["fit", "catalogue.csv", "--out", "out", "--selection", "complete", "--population", "p"],
        r"p: there is no such population file",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_mistaken_command(name, tmp_path, monkeypatch, capsys):
    arguments, pattern = COMMANDS[name]
    write_project(tmp_path)
    known = {path.name for path in tmp_path.iterdir()} | {"none.toml", "out", "map.toml/out", "."}
    full = [str(tmp_path / a) if a in known else a for a in arguments]
    code = run(monkeypatch, *full)
    message = capsys.readouterr().err
    assert code == 2, message
    assert re.search(pattern, message), message


def test_a_bug_is_a_traceback(tmp_path, monkeypatch):
    write_project(tmp_path)
    monkeypatch.setattr(
        "starcensus.experiments.jobs.fit.read_catalogue", lambda *a, **k: json.loads("x")
    )
    monkeypatch.setattr(
        "sys.argv",
        ["starcensus", "run", str(tmp_path / "experiment.toml"), "--out", str(tmp_path / "out")],
    )
    with pytest.raises(json.JSONDecodeError):
        cli.main()


def test_complete_operator_round_trip_keeps_its_rule(tmp_path):
    from starcensus.selection import load_selection, with_outside

    operator = with_outside(complete(Box((3.0, 6.0), (7.0, 9.0), (0.0, 2.0))), "refuse")
    save_selection(operator, tmp_path / "box.h5")
    assert load_selection(tmp_path / "box.h5").outside == "refuse"
