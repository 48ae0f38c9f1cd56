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
