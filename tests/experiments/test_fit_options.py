"""Options of `fit`, and `--set` of `fit` and `run`: both are keys of a fit file."""

import pathlib

import pytest
from tests.helpers import run

from starcensus.experiments.cli import fit as cli_fit
from starcensus.experiments.jobs.fit import catalogue_inputs
from starcensus.experiments.schema._base import ConfigError, load, parse, with_settings
from starcensus.experiments.schema.fit import CatalogueTable, FitFile
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.selection import SelectionTable
from starcensus.selection.catalogue import Classes, ThetaRange, cuts_of

POPULATION = """
kind = "population"
bounds = { log_mass = [3.0, 6.0], log_age = [6.0, 9.0], a_v = [0.0, 2.0] }
mass = { kind = "power_law" }
age = { kind = "constant" }
extinction = { kind = "nodes", nodes = [0.0, 1.0, 2.0] }
"""


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """The fit file that the options of `starcensus fit` stand for."""
    (tmp_path / "pop.toml").write_text(POPULATION)
    taken = {}

    def take(kind, tables, out, source, allow_own, data, settings):
        taken["file"] = parse(with_settings(tables, settings or ()), source, FitFile, of=kind)

    monkeypatch.setattr(cli_fit, "perform_tables", take)

    def ask(*options: str) -> FitFile:
        always = ("--out", tmp_path / "out", "--selection", "complete")
        population = ("--population", tmp_path / "pop.toml")
        assert run(monkeypatch, "fit", "clusters.tab", *always, *population, *options) == 0
        return taken["file"]

    return ask


def test_each_option_is_a_key_of_the_file(asked):
    file = asked(
        *("--format", "legus", "--bands", "A_F1W, B_F2W,C_F3W,D_F4W,E_F5W", "--r-v", "3.0"),
        *("--distance-modulus", "29.9", "--columns", "class_mode=35, class_quality=36"),
        *("--cuts", "with_estimates", "--classes", "1,2", "--log-mass", "3.7,6"),
        *("--log-age", "6,8.30104", "--object-samples", "64", "--chains", "2"),
        *("--warmup", "100", "--samples", "1000"),
    )
    assert file.catalogue.options == {
        "bands": ["A_F1W", "B_F2W", "C_F3W", "D_F4W", "E_F5W"],
        "distance_modulus": 29.9,
        "columns": {"class_mode": 35, "class_quality": 36},
        "r_v": 3.0,
    }
    _, classes, limits = cuts_of(file.catalogue.cuts)
    assert classes == Classes((1, 2))
    assert limits == ThetaRange(log_mass=(3.7, 6.0), log_age=(6.0, 8.30104))
    assert (file.errors.n_samples, file.sampler.n_chains) == (64, 2)
    assert (file.sampler.n_warmup, file.sampler.n_samples) == (100, 1000)


def test_classes_are_given_to_the_cut_that_is_named(asked):
    file = asked("--cuts", "legus_stage2,classes,with_estimates", "--classes", "1")
    assert [cut["name"] for cut in file.catalogue.cuts] == [
        "legus_stage2",
        "classes",
        "with_estimates",
    ]
    assert file.catalogue.cuts[1] == {"name": "classes", "keep": [1]}


def test_set_means_the_same_in_fit_and_in_a_file(asked, tmp_path):
    settings = ("populations.given.log_n=2.5", "sampler.target_accept=0.8", "title=A trial")
    file = asked(*(word for each in settings for word in ("--set", each)))
    assert (file.title, file.sampler.target_accept) == ("A trial", 0.8)
    assert file.populations["given"].log_n == 2.5
    path = tmp_path / "pop.toml"
    loaded, text = load(path, settings=("log_n=2.5",))
    assert loaded.settings()["log_n"] == 2.5
    assert text.startswith(path.read_text()) and "# --set log_n=2.5" in text


def test_set_replaces_in_lists_and_says_what_cannot_be_set():
    tables = {"fits": [{"name": "main"}], "seed": 0}
    assert with_settings(tables, ["fits.0.selection=all"])["fits"][0]["selection"] == "all"
    assert tables == {"fits": [{"name": "main"}], "seed": 0}
    for setting, message in (
        ("seed", "expected KEY=VALUE"),
        ("fits.1.name=x", "1 is looked for in a list of 1"),
        ("seed.x=1", "x is looked for in the value 0"),
    ):
        with pytest.raises(ConfigError, match=message):
            with_settings(tables, [setting])


@pytest.mark.parametrize(
    "options, message",
    [
        (("--columns", "class_mode"), "--columns is 'class_mode'; expected NAME=NUMBER"),
        (("--classes", "one"), "--classes is 'one'; expected numbers separated by commas"),
        (("--log-mass", "3"), "--log-mass is '3'; expected low,high"),
    ],
)
def test_mistakes_name_the_option(tmp_path: pathlib.Path, monkeypatch, capsys, options, message):
    (tmp_path / "pop.toml").write_text(POPULATION)
    given = ("--selection", "complete", "--population", tmp_path / "pop.toml", *options)
    assert run(monkeypatch, "fit", "c.tab", "--out", tmp_path / "out", *given) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_a_reader_joins_is_an_input(tmp_path):
    """A fit whose table of SED fits, or of magnitudes, is another one is another fit."""
    for name in ("x_obs-human.fits", "x_sed-human.fits", "m31.fits", "mine.fits"):
        (tmp_path / name).write_text(name)
    (tmp_path / "johnson2012_m31.fits").write_text("magnitudes")
    sources = Sources(tmp_path)

    def roles(path: str, format: str, **options: str) -> dict[str, str]:
        table = CatalogueTable(path=path, format=format, options=options)
        return {role: each.name for role, each in catalogue_inputs(table, sources).items()}

    obs = {"catalogue": "x_obs-human.fits"}
    assert roles("x_obs-human.fits", "phangs") == obs | {"catalogue.sed": "x_sed-human.fits"}
    own = roles("x_obs-human.fits", "phangs", sed="mine.fits")
    assert own == obs | {"catalogue.sed": "mine.fits"}
    assert roles("m31.fits", "literature")["catalogue.photometry"] == "johnson2012_m31.fits"
    assert roles("m31.fits", "legus") == {"catalogue": "m31.fits"}


def test_what_an_operator_acts_on_and_what_is_accepted_of_it(asked):
    file = asked("--acts-on", "truth", "--accept", "field, distance")
    operator = file.selections["given"]
    assert operator.acts_on == "truth" and operator.accept == ("field", "distance")
    silent = asked().selections["given"]
    assert silent.acts_on is None and silent.accept == ()


@pytest.mark.parametrize("stated", [{"acts_on": "both"}, {"accept": ["weather"]}])
def test_other_words_for_them_are_refused(stated):
    with pytest.raises(ValueError, match=r"Input should be 'data' or 'truth'|'acts_on', 'field'"):
        SelectionTable(kind="complete", **stated)
