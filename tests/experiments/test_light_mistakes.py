"""Mistakes with measured light: each ends with exit code 2 and one line that says what to do."""

import dataclasses
import json
import pathlib
import re
from collections.abc import Callable

import numpy as np
import pytest
from astropy.table import Table
from tests.experiments.light_project import (
    BANDS,
    BOX,
    MODULUS,
    recorded,
    write_project,
    write_table,
)
from tests.helpers import run

from starcensus.bands import ab_minus_vega
from starcensus.networks import MLP
from starcensus.selection import (
    MagnitudeLimit,
    PhotometricNetwork,
    SurveyFacts,
    save_selection,
)
from starcensus.selection.catalogue import Photometry
from starcensus.selection.operators.photometric import MagSystem
from starcensus.simulate import BoxTheta, ClusterLibrary, Design, StarcensusEngine, run_library

Change = Callable[[pathlib.Path], None]
# Nothing that these mistakes are about comes after the library.
TINY = "target = { n_clusters = 200, n_first = 50, max_rounds = 0, n_extinctions = 1 }"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("light")
    write_project(folder)
    return folder


def replace(old: str, new: str, name: str = "light.toml") -> Change:
    def change(folder: pathlib.Path) -> None:
        text = (folder / name).read_text()
        assert old in text, old
        (folder / name).write_text(text.replace(old, new, 1))

    return change


def silent(folder: pathlib.Path) -> None:
    text = (folder / "light.toml").read_text()
    said = re.sub(r"\[observation\.cuts\]\n(.+\n)+", "", text, count=1)
    assert said != text
    (folder / "light.toml").write_text(said)


def both(*changes: Change) -> Change:
    def change(folder: pathlib.Path) -> None:
        for one in changes:
            one(folder)

    return change


def observation(line: str) -> Change:
    return replace("floor = 0.1\n", f"floor = 0.1\n{line}\n")


def cut(line: str) -> Change:
    return replace('format = "table"\n', f'format = "table"\ncuts = [{line}]\n')


def network(
    bands: tuple[str, ...],
    modulus: float = MODULUS,
    mag_system: MagSystem = "Vega",
    limit: float | None = None,
) -> Change:
    def change(folder: pathlib.Path) -> None:
        n = len(bands)
        parts = MLP((np.ones((2, n)), np.ones((1, 2))), (np.zeros(2), np.zeros(1)), None, None)
        limits = np.asarray([[15.0, 30.0]] * n)
        made = PhotometricNetwork((parts,), bands, limits, modulus, mag_system=mag_system)
        if limit is not None:
            pipeline = json.dumps({"max_absolute_v": limit})
            made = dataclasses.replace(made, learned_for=SurveyFacts(pipeline=pipeline))
        save_selection(made, folder / "operator.h5")
        observation('selection = "operator.h5"')(folder)

    return change


def of_theta(folder: pathlib.Path) -> None:
    save_selection(MagnitudeLimit.default(domain=BOX), folder / "operator.h5")
    observation('selection = "operator.h5"')(folder)


def library(bands: tuple[str, ...], joined: bool = False, **bounds: tuple[float, float]) -> Change:
    def change(folder: pathlib.Path) -> None:
        theta = BoxTheta(**{**dataclasses.asdict(BOX), **bounds})
        path = folder / "library.h5"
        run_library(Design(300, 1, theta), StarcensusEngine(bands), path)
        if joined:
            one = ClusterLibrary.load(path)
            ClusterLibrary.concatenate(one, one).save(path)
        text = (folder / "light.toml").read_text()
        (folder / "light.toml").write_text(
            re.sub(r"^target = .*$", 'path = "library.h5"', text, flags=re.MULTILINE)
        )

    return change


def table(change: Callable[[Table], None]) -> Change:
    def changed(folder: pathlib.Path) -> None:
        path = folder / "catalogue.csv"
        found = Table.read(path, format="ascii.csv")
        change(found)
        found.write(path, format="ascii.csv", overwrite=True)

    return changed


def in_mjy(found: Table) -> None:
    for k in range(len(BANDS)):
        seen = np.asarray(found[f"m{k}"]) < 90
        flux = 3.6e6 * 10 ** (-0.4 * np.where(seen, found[f"m{k}"], 0.0))
        found[f"e{k}"] = np.where(seen, flux * found[f"e{k}"] / 1.0857, 99.0)
        found[f"m{k}"] = np.where(seen, flux, 99.0)


def lose(found: Table) -> None:
    found["m0"][:20], found["e0"][:20] = 99.0, 99.0


def unsaid(folder: pathlib.Path) -> None:
    table(lose)(folder)
    text = (folder / "map.toml").read_text()
    (folder / "map.toml").write_text(text.replace("not_detected", "missing"))


def as_flux(folder: pathlib.Path) -> None:
    text = (folder / "map.toml").read_text()
    (folder / "map.toml").write_text(text.replace('column = "m', 'unit = "flux", column = "m'))
    table(in_mjy)(folder)


MISTAKES: dict[str, tuple[Change, str]] = {
    "wrong name of a band in the file": (
        replace("[observation]", '[photometry]\nbands = ["F555W"]\n\n[observation]'),
        r"catalogue\.csv: bands = \('F555W',\).*ACS_F555W",
    ),
    "wrong name of a band in the column map": (
        replace('"ACS_F814W"', '"ACS_F850X"', "map.toml"),
        r"map\.toml|ACS_F850X",
    ),
    "wrong name of a band in the cuts": (
        replace("{ ACS_F555W = -5.5 }", "{ F555W = -5.5 }"),
        r"the cuts ask for F555W; the survey has 4: .*ACS_F555W",
    ),
    "a cut of the catalogue by magnitude that the survey does not make": (
        cut('{ name = "column", column = "ACS_F555W", high = 23.0 }'),
        r"catalogue\.csv: the catalogue was cut by column \(ACS_F555W <= 23; .*counts the cuts of "
        r"its observation model alone.*observation\.accept = \[\"cuts\"\]",
    ),
    "such a cut, accepted: the next refusal is another": (
        both(
            cut('{ name = "column", column = "ACS_F555W", high = 23.0 }'),
            observation('accept = ["cuts"]'),
        ),
        r"thin for \d+ of \d+ clusters",
    ),
    "a cut of the catalogue in V beyond that of the survey": (
        cut('{ name = "absolute_magnitude", limit = -8.0 }'),
        r"cut by M_V <= -8 \(the observation model has M_V <= -5\.5\)",
    ),
    "a cut of the catalogue in V at another distance": (
        cut('{ name = "absolute_magnitude", limit = -5.5, distance_modulus = 29.0 }'),
        r"cut by M_V <= -6\.48 \(the observation model has M_V <= -5\.5\)",
    ),
    "a cut of the catalogue by errors beyond that of the survey": (
        cut('{ name = "photometric_errors", n_bands = 3, max_error = 0.1 }'),
        r"errors <= 0\.1 mag \(.*has errors <= 0\.217147 mag\); in 3 bands or more \(.*in 2 bands",
    ),
    "more bands than the survey demands": (
        replace("[observation]", "[photometry]\nmin_bands = 3\n\n[observation]"),
        r"cut by in 3 bands or more \(the observation model has in 2 bands or more\)",
    ),
    "an operator of a pipeline that makes the survey's cuts": (
        network(BANDS, limit=-5.5),
        r"would count twice: the operator has M_V <= -5\.5, and the cuts M_V <= -5\.5",
    ),
    "operator of AB magnitudes": (
        network(BANDS, mag_system="AB"),
        r"the operator takes AB magnitudes; those of simulated clusters are Vega",
    ),
    "operator of other bands": (
        network(("WFC3_UVIS_F275W", "ACS_F435W")),
        r"the operator is of WFC3_UVIS_F275W, ACS_F435W; expected .*ACS_F814W",
    ),
    "operator at another distance": (
        network(BANDS, 27.0),
        r"learned at a distance modulus of 27; expected 29\.98",
    ),
    "operator of mass and age": (
        of_theta,
        r"operator\.h5 is an operator of mass, age and extinction; expected one of magnitudes",
    ),
    "operator missing": (
        observation('selection = "c4photometric"'),
        r"observation\.selection: no file c4photometric",
    ),
    "library of other bands": (
        library(("ACS_F435W", "ACS_F555W")),
        r"library\.h5: the library has no WFC3_UVIS_F275W, ACS_F814W; it has ACS_F435W",
    ),
    "stars of another metallicity": (
        replace("[library]\n", "[library]\nz = 0.008\n"),
        r"library\.z is 0\.008, and the stars of the stellar grid 'default' have z = 0\.02; make",
    ),
    "library of another metallicity": (
        both(library(BANDS), replace("[library]\n", "[library]\nz = 0.008\n")),
        r"library\.z is 0\.008, and the stars of library\.h5 have z = 0\.02",
    ),
    "stars of a relation and of one metallicity": (
        replace(
            "[library]\n",
            '[library]\nz = 0.008\nmetallicity = { grids = ["default", "lmc"], z = [0.01] }\n',
        ),
        r"library: z is 0\.008, and metallicity says what the stars have; leave out either",
    ),
    "a relation of grids that a library does not need": (
        both(
            library(BANDS),
            replace(
                "[library]\n",
                '[library]\nmetallicity = { grids = ["default", "lmc"], z = [0.01] }\n',
            ),
        ),
        r"metallicity: say how clusters are drawn, and those of library\.h5 are already",
    ),
    "a relation beyond its grids": (
        replace(
            "[library]\n",
            '[library]\nmetallicity = { grids = ["default", "lmc"], z = [0.03] }\n',
        ),
        r"metallicity: z of the relation runs from 0\.03 to 0\.03; the grids have 0\.008 to 0\.02",
    ),
    "library of other bounds": (
        library(BANDS, log_age=(6.5, 8.0)),
        r"reach beyond the clusters of library\.h5: log_age 6\.5 to 8\.5 goes beyond 6\.5 to 8",
    ),
    "library of an unknown density": (
        library(BANDS, joined=True),
        r"library\.h5: the library does not say from which density",
    ),
    "library that is thin": (
        library(BANDS),
        r"thin for \d+ of \d+ clusters.*draw about [\d,]+ more \(draw a larger one\)",
    ),
    "library drawn to order that is thin": (
        replace("[library]", "[library]"),
        r"thin for \d+ of \d+ clusters.*draw about [\d,]+ more \(raise library\.target",
    ),
    "a drawn library with stars of its own": (
        both(library(BANDS), replace("[library]", '[library]\nimf = { kind = "salpeter" }')),
        r"library: imf: say how clusters are drawn, and those of library\.h5 are already",
    ),
    "bounds beyond what the stars have": (
        both(
            replace("log_age = [6.5, 8.5]", "log_age = [4.0, 8.5]"),
            replace("log_age = [6.5, 8.5]", "log_age = [4.0, 8.5]"),
        ),
        r"log_age of the design runs from 4 to 8\.5",
    ),
    "population beyond the library": (
        replace(
            "[populations.simple]\nbounds = { log_mass = [2.5",
            "[populations.simple]\nbounds = { log_mass = [2.0",
        ),
        r"populations\.simple: its bounds reach beyond those of the library: log_mass 2 to 5",
    ),
    "distance modulus of the wrong sign": (
        replace("distance_modulus = 29.98", "distance_modulus = -29.98", "map.toml"),
        r"-29\.98.*(sign is wrong|expected)",
    ),
    "distance in Mpc": (
        replace("distance_modulus = 29.98", "distance_modulus = 9.9", "map.toml"),
        r"catalogue\.csv.*9\.9.*Mpc.*29\.98",
    ),
    "two distances": (
        observation("distance_modulus = 29.2"),
        r"its distance modulus is 29\.98; the observation model has 29\.2",
    ),
    "no distance": (
        replace("distance_modulus = 29.98\n", "", "map.toml"),
        r"says no distance modulus; expected catalogue\.options\.distance_modulus",
    ),
    "fluxes without a zero point": (as_flux, r"map\.toml.*zero_point_vega and zero_point_ab"),
    "fluxes in mJy as magnitudes": (
        table(in_mjy),
        r"catalogue\.csv: half of the clusters are brighter than .*unit = 'mJy'",
    ),
    "bands without magnitudes that say nothing": (
        unsaid,
        r'catalogue\.csv.*does not say why.*unknown = "not observed"',
    ),
    "bands that were not observed somewhere": (
        both(table(lose), replace("not_detected", "not_observed", "map.toml")),
        r"coverage of the survey does not say so; state coverage",
    ),
    "cuts that none passes": (
        replace("ACS_F555W = -5.5", "ACS_F555W = -15.5"),
        r"none of \d+ clusters passes the survey's cuts \(M\(ACS_F555W\) <= -15\.5",
    ),
    "nothing that says who is catalogued": (
        silent,
        r"says nothing of which clusters the survey catalogues.*cuts = \{\} where it",
    ),
    "cuts that do not agree": (
        replace("recorded_snr = 0.0", "recorded_snr = 6.0"),
        r"recorded_snr is 6 and min_snr 5",
    ),
    "unknown cuts": (
        replace("[observation.cuts]\nmin_snr", '[observation.cuts]\nkind = "phangs"\nmin_snr'),
        r"observation\.cuts.*'phangs' is no set of cuts on measured magnitudes.*legus",
    ),
    "the uncertainty of stated errors": (
        observation("uncertainty = true"),
        r"uncertainty is what artificial clusters left open.*kind = 'file'",
    ),
    "a model's file without one": (
        replace('kind = "gaussian"', 'kind = "file"'),
        r"path goes with kind = 'file'",
    ),
    "draws as a catalogue of magnitudes": (
        replace('format = "table"\noptions = { column_map = "map.toml" }', 'format = "posteriors"'),
        r"log_prior|posteriors",
    ),
    "a fit called library": (
        replace('name = "constant"', 'name = "library"'),
        r"none is 'library'",
    ),
    "unknown population": (
        replace('population = "constant"', 'population = "constnt"'),
        r"'constnt' is not defined; defined are simple, constant",
    ),
    "number in quotes": (
        replace("min_snr = 5.0", 'min_snr = "5.0"'),
        r"cuts.*min_snr is '5\.0'; expected a number",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_one_line_and_exit_2(name, project, tmp_path, monkeypatch, capsys):
    for path in project.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    text = (tmp_path / "light.toml").read_text()
    text = re.sub(r"^target = .*$", TINY, text, flags=re.MULTILINE)
    (tmp_path / "light.toml").write_text(text)
    change, pattern = MISTAKES[name]
    change(tmp_path)
    code = run(monkeypatch, "run", tmp_path / "light.toml", "--out", tmp_path / "out")
    message = capsys.readouterr().err
    assert code == 2, message
    assert message.startswith("starcensus: ")
    assert message.count("\n") == 1, message
    assert re.search(pattern, message), message
    assert not (tmp_path / "out" / "summary.json").exists()


def test_ab_magnitudes_that_are_said_to_be_vega_are_named(project, tmp_path, monkeypatch, capsys):
    """They are read as they are said; the warning is there before anything is fitted."""
    for path in project.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    seen = recorded()
    offsets = np.array([ab_minus_vega(band) for band in BANDS], float)
    as_ab = Photometry.from_mags(
        "ab", seen.ids, seen.bands, seen.mags + offsets, seen.mag_errors, seen.states
    )
    write_table(as_ab, tmp_path / "catalogue.csv")
    text = re.sub(r"^target = .*$", TINY, (tmp_path / "light.toml").read_text(), flags=re.MULTILINE)
    (tmp_path / "light.toml").write_text(text)
    assert run(monkeypatch, "run", tmp_path / "light.toml", "--out", tmp_path / "out") == 2
    said = capsys.readouterr()
    assert "thin" in said.err
    assert re.search(r"^warning: the magnitudes are said to be Vega's and look like AB", said.out)


def test_magnitudes_that_are_vega_are_not_warned_of(project):
    from starcensus.selection.catalogue import vega_or_ab

    assert vega_or_ab(recorded()) is None
