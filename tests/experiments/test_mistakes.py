"""Mistakes on purpose: each must end with exit code 2 and one line that says what to do."""

import importlib.resources
import json
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from tests.helpers import COLUMN_MAP, COLUMNS, run

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
POPULATION = """
kind = "population"
bounds = { log_mass = [3.0, 6.0], log_age = [6.0, 9.0], a_v = [0.0, 2.0] }
mass = { kind = "power_law", alpha_m = -2.0 }
age = { kind = "constant" }
extinction = { kind = "nodes", nodes = [0.0, 1.0, 2.0] }
"""


def write_project(folder: pathlib.Path) -> None:
    (folder / "experiment.toml").write_text(EXPERIMENT)
    (folder / "map.toml").write_text(COLUMN_MAP)
    write_columns(folder, COLUMNS)
    library = 'kind = "library"\nn = 2\n[theta]\nkind = "log_uniform"\n'
    (folder / "library.toml").write_text(library)
    (folder / "many.toml").write_text(library.replace("n = 2", f"n = {10**15}"))
    (folder / "utf16.toml").write_text(library, encoding="utf-16")
    (folder / "population.toml").write_text(POPULATION)
    coverage = importlib.resources.files("starcensus.experiments") / "examples" / "coverage.toml"
    (folder / "coverage.toml").write_text(coverage.read_text())
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
MAGNITUDE = '[selections.all]\nkind = "magnitude"\n[selections.all.options]\n'
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
    "bounds through the catalogue": (
        replace("log_mass = [3.0, 6.0]", "log_mass = [4.6, 6.0]"),
        r"2 of 3 clusters .* below the population's bound log_mass = 4\.6.*--log-mass LOW,HIGH",
    ),
    "masses in solar masses": (
        replace("log_mass = [3.0, 6.0]", "log_mass = [1e3, 1e6]"),
        r"simple\.bounds.*if these are M_sun, write 3 to 6",
    ),
    "ages in years": (
        replace("log_age = [6.0, 9.0]", "log_age = [1e6, 1e9]"),
        r"simple\.bounds.*if these are yr, write 6 to 9",
    ),
    "seed of many digits": (
        replace("seed = 1", f"seed = {2**70}"),
        r"seed: Input should be less than 4611686018427387904",
    ),
    "path with an asterisk": (
        replace('path = "catalogue.csv"', 'path = "*.csv"'),
        r"catalogue: no file \*\.csv in .*--data",
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
    "number in quotes": (
        replace("[[fits]]", '[sampler]\nn_samples = "400"\n[[fits]]'),
        r"sampler\.n_samples is '400'; expected a number, without quotes",
    ),
    "number in quotes in a list": (
        replace("log_age = [6.0, 9.0]", 'log_age = ["6.0", 9.0]'),
        r"bounds\.log_age\.0 is '6\.0'; expected a number",
    ),
    "number in quotes of a law": (
        replace("alpha_m = -2.0", 'alpha_m = "-2.0"'),
        r"mass: alpha_m is '-2\.0'; expected a number",
    ),
    "number in quotes of an operator": (
        replace('[selections.all]\nkind = "complete"', MAGNITUDE + 'limit_mag = "24"'),
        r"limit_mag is '24'; expected a number",
    ),
    "number in quotes of a reader": (
        replace('"table"\noptions = { column_map = "map.toml" }', '"legus"\noptions.r_v = "3.1"'),
        r"r_v is '3\.1'; expected a number",
    ),
    "true for a number": (
        replace("seed = 1", "seed = true"),
        r"seed is True; expected a number",
    ),
    "misspelled option of an operator": (
        replace('[selections.all]\nkind = "complete"', MAGNITUDE + "limt_mag = 24"),
        r"kind 'magnitude' has no option limt_mag; it has band, limit_mag",
    ),
    "exact values with a floor": (
        replace("[[fits]]", '[errors]\nmode = "none"\nmissing = "floor"\n[[fits]]'),
        r"errors\.mode = 'none'.*errors\.missing = 'floor'.*leave one of them out",
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
    "unknown option": (["fit", "--sed", "3"], r"^starcensus fit: No such option: --sed .*--seed"),
    "unknown command": (["fti"], r"^starcensus: No such command 'fti'.*fit"),
    "missing option": (
        ["quickstart"],
        r"^starcensus quickstart: Missing option '--out'; `starcens",
    ),
    "word for a number": (
        ["run", "experiment.toml", "--out", "out", "--workers", "two"],
        r"^starcensus run: Invalid value for '--workers'.*two",
    ),
    "own module that registers nothing": (
        ["run", "experiment.toml", "--out", "out", "--allow-own", "numpy"],
        r"--allow-own numpy: registers nothing",
    ),
    "no seed at all": (
        [
            "fit",
            "catalogue.csv",
            "--out",
            "out",
            "--selection",
            "complete",
            "--population",
            "population.toml",
            "--seed",
            "-3",
        ],
        r"seed: Input should be greater than or equal to 0",
    ),
    "library into a folder": (
        ["simulate", "library", "library.toml", "--out", "."],
        r": is a folder; expected the name of a file to write",
    ),
    "more clusters than there are": (
        ["simulate", "library", "many.toml", "--out", "many.h5"],
        r"n is 1000000000000000; a library holds at most 1,000,000,000 clusters",
    ),
    "no catalogues": (
        ["calibrate", "coverage.toml", "--n", "0", "--out", "out"],
        r"n_catalogues = 0; expected 1 or more",
    ),
    "no step": (
        [
            "selection",
            "marginalise",
            "--network",
            "limit.h5",
            "--library",
            "l.h5",
            "--out",
            "m.h5",
            "--log-mass",
            "2,6,0",
        ],
        r"log_mass\.step: Input should be greater than 0",
    ),
    "a step of nothing": (
        [
            "selection",
            "marginalise",
            "--network",
            "limit.h5",
            "--library",
            "l.h5",
            "--out",
            "m.h5",
            "--log-mass",
            "2,6,1e-12",
        ],
        r"log_mass: step is 1e-12, which makes 4e\+12 nodes",
    ),
    "UTF-16": (
        ["simulate", "library", "utf16.toml", "--out", "many.h5"],
        r"utf16\.toml: is not text in UTF-8",
    ),
    "a name of 5,000 characters": (
        ["simulate", "library", "library.toml", "--out", "x" * 5000],
        r"cannot write x{100,300}…: File name too long",
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
    known = {path.name for path in tmp_path.iterdir()} | {
        "none.toml",
        "out",
        "map.toml/out",
        ".",
        "many.h5",
    }
    full = [str(tmp_path / a) if a in known else a for a in arguments]
    code = run(monkeypatch, *full)
    message = capsys.readouterr().err
    assert code == 2, message
    assert message.count("\n") == 1, message
    assert re.search(pattern, message), message


@pytest.mark.parametrize("kind", ["galaxy", "survey"])
def test_a_missing_extra_leaves_nothing_behind(kind, tmp_path, monkeypatch, capsys):
    examples = pathlib.Path(cli.__file__).parents[1] / "examples"
    path = next(p for p in sorted(examples.rglob("*.toml")) if f'kind = "{kind}"' in p.read_text())
    monkeypatch.setattr("starcensus.extras.importlib.util.find_spec", lambda name: None)
    out = tmp_path / ("out.h5" if kind == "survey" else "out")
    assert run(monkeypatch, "run", path, "--out", out) == 2
    assert "pip install 'starcensus[images]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


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
