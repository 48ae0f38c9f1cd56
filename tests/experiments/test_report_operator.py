"""What a report says of the operator: its survey, its place in the likelihood, its ensemble."""

import html
import json
import re

from tests.experiments.test_report import section, tree_of, write_fit

from starcensus.experiments.report import write_report


def test_the_operator_what_it_was_learned_for_and_what_its_members_say(tmp_path):
    """Refused members and accepted differences are said; without an ensemble there is no table."""
    error = float(tree_of()["posterior"]["alpha_m"].std())
    members = {
        "ensemble.n_members": 2,
        "ensemble.member_0.alpha_m": 0.5 * error,
        "ensemble.member_1.refused": "too far: fit with member 1 & look",
    }
    folder = write_fit(tmp_path, **members)
    learned = {
        "field": "NGC 628-C",
        "distance_modulus": 29.98,
        "bands": [{"name": "F555W"}],
        "pipeline": {"pipeline": "legus"},
    }
    selection = {
        "kind": "NetworkSelection",
        "acts_on": "data",
        "acts_on_said_by": "the settings",
        "acts_on_words": "masses were fitted to the light",
        "learned_for": [learned],
        "differences": [
            {"about": "distance", "words": "it was learned nearer", "accepted": True},
            {"about": "cuts", "words": "the catalogue keeps classes", "accepted": False},
        ],
        "not_compared": ["sky", "psf"],
    }
    (folder / "run.json").write_text(json.dumps({"selection": selection}))
    made = write_report(folder).read_text("utf-8")
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", section(made, "fitted"))).split())
    assert 'So the settings say ( acts_on = "data" ): masses were fitted' in text
    assert "Learned for NGC 628-C; distance modulus 29.98; F555W; legus" in text
    assert "Accepted: distance It was learned nearer." in text
    assert "Note: cuts The catalogue keeps classes." in text
    assert "agree in sky, psf is not known" in text
    row = re.search(r'<tr data-ensemble="alpha_m">.*?</tr>', made, re.DOTALL)
    assert row is not None and "+0.50" in row[0] and row[0].count("–") == 2
    assert "Too far: fit with member 1 &amp; look." in made
    assert made.count("data-ensemble") == len(re.findall(r'<tr data-parameter="', made))


def test_the_uncertainty_of_the_operator_counts_or_is_left_out_and_the_report_says_which(tmp_path):
    words = "this fit leaves that out (uncertainty = false)"
    folder = write_fit(tmp_path, **{"operator.uncertainty": False, "operator.count_sd": 0.123})
    selection = {"kind": "NetworkSelection", "acts_on": "data", "uncertainty": words}
    (folder / "run.json").write_text(json.dumps({"selection": selection}))
    left = write_report(folder).read_text("utf-8")
    said = section(left, "fitted")
    assert words[1:] in said and "uncertain by 12.3%" in said
    assert "data-operator=" not in left and "What the operator's uncertainty does" not in left

    counted = {
        "operator.uncertainty": True,
        "operator.n_directions": 12,
        "operator.kept": 0.993,
        "operator.effective_draws": 412.0,
        "operator.largest_pull": 3.2,
        "operator.alpha_m.shift": -0.42,
        "operator.alpha_m.widening": 1.37,
    }
    made = write_report(write_fit(tmp_path, **counted)).read_text("utf-8")
    row = re.search(r'<tr data-operator="alpha_m">.*?</tr>', made, re.DOTALL)
    assert row is not None and "−0.42" in row[0] and "× 1.37" in row[0]
    assert made.count("data-operator=") == 1 and "hold 99.3%" in " ".join(made.split())
    assert "by up to 3.2 of their standard deviations, which is much" in made

    far = {k: v for k, v in counted.items() if "alpha_m" not in k} | {
        "operator.effective_draws": 7.0
    }
    made = write_report(write_fit(tmp_path, **far)).read_text("utf-8")
    assert "(7 effective ones)" in made and "data-operator=" not in made


def test_the_uncertainty_of_the_observation_model_counts_or_would(tmp_path):
    facts = {
        "observation.uncertainty": True,
        "observation.n_halves": 6,
        "observation.effective_draws": 321.0,
        "observation.alpha_m.shift": -0.12,
        "observation.alpha_m.widening": 1.23,
    }
    made = write_report(write_fit(tmp_path, **facts)).read_text("utf-8")
    row = re.search(r'<tr data-survey="alpha_m">.*?</tr>', made, re.DOTALL)
    assert row is not None and "−0.12" in row[0] and "× 1.23" in row[0]
    assert "uncertainty does</h3>" in made and "321 effective ones or more" in made
    assert "from the same draws" in made
    wider = write_fit(tmp_path, **facts | {"observation.n_points": 4000})
    said = write_report(wider).read_text("utf-8")
    assert "4,000 points" in said and "from the same draws weighted" not in said
    left = write_fit(tmp_path, **facts | {"observation.uncertainty": False})
    made = write_report(left).read_text("utf-8")
    assert "uncertainty would do</h3>" in made and "leaves it out" in made
    far = {k: v for k, v in facts.items() if "alpha_m" not in k}
    made = write_report(write_fit(tmp_path, **far)).read_text("utf-8")
    assert "data-survey=" not in made and "(321 effective ones): inject more" in made
    assert "observation model's uncertainty" not in write_report(write_fit(tmp_path)).read_text()
