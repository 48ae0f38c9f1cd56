"""Files of kind "compare": what they may say, and a small comparison from the file to the page."""

import json

import numpy as np
import pytest
from tests import helpers

from starcensus.experiments.jobs.compare import comparison_of
from starcensus.experiments.report.compared import write_compared
from starcensus.experiments.schema._base import ConfigError, parse
from starcensus.experiments.schema.compare import CompareFile
from starcensus.experiments.schema.fit import FitFile
from starcensus.files import write_json

BOUNDS = "{ log_mass = [3.5, 6.5], log_age = [6.0, 8.5], a_v = [0.0, 2.0] }"
MODEL = """
[models.{name}]
bounds = BOUNDS
mass = {{ kind = "power_law", alpha_m = -2.0 }}
age = {age}
extinction = {{ kind = "half_normal", sigma_av = 0.5 }}
priors = {{ sigma_av = 0.5 }}
""".replace("BOUNDS", BOUNDS.replace("{", "{{").replace("}", "}}"))
CONSTANT = MODEL.format(name="none", age='{ kind = "constant" }')
POWER = MODEL.format(name="falling", age='{ kind = "power_law", alpha_t = -0.5 }')
FILE = (
    """
kind = "compare"
seed = 5
catalogue = { path = "mock.ecsv" }
selection = { kind = "complete" }
sampler = { n_chains = 4, n_warmup = 150, n_samples = 300 }
thresholds = { min_ess = 200.0, max_r_hat = 1.02 }
bridge = { max_parts = 2 }
evidence = { method = "bridge" }
thinning = { n_folds = 3 }
"""
    + CONSTANT
    + POWER
)


def parsed(text: str) -> CompareFile:
    return parse(text, "compare.toml", CompareFile)


def test_a_file_stands_for_a_file_of_fits():
    whole = parsed(FILE).whole()
    assert isinstance(whole, FitFile)
    assert [fit.name for fit in whole.fits] == ["none", "falling"]
    assert whole.sampler.n_samples == 300 and whole.seed == 5


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (POWER, "", "models has 1 tables; expected two or more"),
        (
            "bounds = { log_mass = [3.5, 6.5], log_age = [6.0, 8.5], a_v = [0.0, 2.0] }\nmass = "
            '{ kind = "power_law", alpha_m = -2.0 }\nage = { kind = "power_law"',
            "bounds = { log_mass = [3.0, 6.5], log_age = [6.0, 8.5], a_v = [0.0, 2.0] }\nmass = "
            '{ kind = "power_law", alpha_m = -2.0 }\nage = { kind = "power_law"',
            r"models\.falling has other bounds than models\.none",
        ),
        (
            'age = { kind = "power_law"',
            'form = "conditional"\nage = { kind = "power_law"',
            r"models\.falling has other form than models\.none",
        ),
        (
            "bridge = {",
            "prior_odds = { mid = 2.0 }\nbridge = {",
            r"prior odds are given of \['mid'\]",
        ),
        ("bridge = {", "prior_odds = { none = 0.0 }\nbridge = {", "expected numbers above 0"),
        (
            "bridge = {",
            'sensitivity = { parameters = ["log_t_mid"] }\nbridge = {',
            "log_t_mid is of no model",
        ),
        ('selection = { kind = "complete" }', "", "give a selection, or of measured light"),
        (
            "bridge = {",
            'light = { form = "rows" }\nbridge = {',
            "light is of measured light; leave it out",
        ),
        ("bridge = {", "bridge = { seed = 1,", "unknown key seed"),
        ("n_folds = 3", "n_folds = 1", "n_folds = 1; expected 2 or more"),
    ],
)
def test_mistakes_are_named(old, new, message):
    assert FILE.count(old) == 1
    with pytest.raises(ConfigError, match=message):
        parsed(FILE.replace(old, new))


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A catalogue of a population without disruption, and the file."""
    import jax

    from starcensus.forward.mock import mock_catalogue
    from starcensus.selection import complete, with_acts_on
    from starcensus.selection.catalogue import write_catalogue

    folder = tmp_path_factory.mktemp("compare")
    population = parsed(FILE).models["none"].population().with_values({"log_n": np.log10(120.0)})
    operator = with_acts_on(complete(population.box), "truth")
    made = mock_catalogue(jax.random.key(4), population, operator, sigma=(0.1, 0.1, 0.1))
    write_catalogue(made.catalogue, folder / "mock.ecsv")
    (folder / "compare.toml").write_text(FILE)
    return folder


@pytest.mark.slow
def test_a_comparison_from_the_file_to_the_page(project, monkeypatch, tmp_path, capsys):
    out = tmp_path / "out"
    assert helpers.run(monkeypatch, "compare", project / "compare.toml", "--out", out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["best"] == "none"
    total = summary["probability.none"] + summary["probability.falling"]
    assert total == pytest.approx(1.0)
    ln_b = summary["ln_b.none.falling"]
    assert ln_b == pytest.approx(summary["ln_z.none"] - summary["ln_z.falling"])
    assert summary["probability.none"] == pytest.approx(1 / (1 + np.exp(-ln_b)))
    assert abs(summary["score_difference.none.falling"]) < 20
    assert 0 < summary["check.none.age_by_mass.p"] <= 1
    for name in ("none", "falling"):
        assert {p.name for p in (out / name).iterdir()} >= {
            "posterior.nc",
            "evidence.json",
            "report.html",
            "run.json",
        }
    page = (out / "report.html").read_text()
    assert "What the data can and cannot tell apart" in page and "alpha t of falling" in page
    # A finished model is not fitted again, by whatever command.
    capsys.readouterr()
    assert helpers.run(monkeypatch, "run", project / "compare.toml", "--out", out) == 0
    said = capsys.readouterr().out
    assert "none: finished before" in said and "falling: finished before" in said
    assert json.loads((out / "summary.json").read_text()) == summary
    # What the files say is what was compared.
    found = {
        name: json.loads((out / name / "evidence.json").read_text()) for name in ("none", "falling")
    }
    assert comparison_of(found, {"falling": 3.0}).probabilities()["falling"][1] == pytest.approx(
        3 / (3 + np.exp(ln_b))
    )


def test_the_page_says_what_is_known_and_what_is_refused(tmp_path):
    """From the files of a comparison alone, with a low p and a curve that has gaps."""
    facts = {
        "error": 0.01,
        "nested_error": 0.1,
        "shift": 0.0,
        "numerical": 0.0,
        "data": {"bounds": "box"},
        "n_clusters": 50,
        "details": {},
    }
    check = {
        "name": "old_share",
        "words": "share of clusters older than 10^8.0 yr: how the age distribution ends",
        "observed": 0.25,
        "low": 0.4,
        "middle": 0.5,
        "high": 0.6,
        "n": 200,
    }
    curve = {
        "parameter": "log_t_mid",
        "words": "flat",
        "factors": [0.5, 1.0, 2.0],
        "change": [0.7, 0.0, None],
        "errors": [0.0, 0.0, None],
        "refused": ["", "", "the posterior leans on the edge of the prior (5.0% of it)"],
    }
    found = {
        "mid": {
            "evidence": {
                "ln_z": 3.0,
                "bridge_ln_z": 3.0,
                "nested_ln_z": 3.1,
                "model": "a",
                **facts,
            },
            "curves": [curve],
            "checks": [{**check, "p": 0.5}],
        },
        "none": {
            "evidence": {
                "ln_z": 2.5,
                "bridge_ln_z": 2.5,
                "nested_ln_z": 2.4,
                "model": "b",
                **facts,
            },
            "curves": [],
            "checks": [{**check, "p": 0.004}],
        },
    }
    together = comparison_of(found, {})
    write_json(tmp_path / "summary.json", together.summary())
    info = {"title": "Two", "description": "", "models": found, "words": list(together.words())}
    write_json(tmp_path / "comparison.json", info)
    page = write_compared(tmp_path).read_text()
    assert "The data cannot tell mid and none apart (ln B = 0.5 ± 0.0)." in page
    assert "none does not predict this catalogue: share of clusters older than 10^8.0 yr" in page
    assert "log_t_mid of mid, 2.0 times as wide: not known without another fit" in page
    assert page.count("<svg") == 2 and "0.622" in page
