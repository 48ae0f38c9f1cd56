"""`kind = "observation"`: a model of what is measured, learned and judged by one file."""

import json

import numpy as np
import pytest
from benchmarks import known_survey as known
from tests.helpers import run

from starcensus.experiments.jobs.observation import largest_distance
from starcensus.selection.observation import load_observation, observation_provenance

FILE = """
kind = "observation"
tables = ["one.h5"]
test = ["TEST.h5"]
[train]
n_components = 2
n_ci = 1
widths = [24, 24]
epochs = 25
max_rate = 3e-3
batch_size = 256
selection = { widths = [16], n_members = 1, epochs = 40, batch_size = 256 }
"""


def test_a_model_is_learned_and_judged(tmp_path, monkeypatch, capsys):
    known.table(9_000, 1).save(tmp_path / "one.h5")
    known.table(1_000, 2).save(tmp_path / "test.h5")
    for name in ("test", "one"):
        (tmp_path / f"{name}.toml").write_text(FILE.replace("TEST", name))
    out = tmp_path / "out" / "observation.h5"
    assert run(monkeypatch, "run", str(tmp_path / "test.toml"), "--out", str(out)) == 0
    found = json.loads((out.parent / "observation.summary.json").read_text())
    model = load_observation(out)
    assert set(observation_provenance(out)["inputs"]) == {"one.h5", "test.h5"}
    n, expected = found["test.n_catalogued"], found["test.expected"]
    # The networks' own error beside that of counting.
    assert abs(n - expected) < 5 * found["test.expected_sd"]
    for name in ("ci", *model.bands):
        assert found[f"test.{name}_distance"] < 1.6 * found[f"test.{name}_band"]
    # Injections that taught it do not judge it.
    assert run(monkeypatch, "run", str(tmp_path / "one.toml"), "--out", str(tmp_path / "o.h5")) == 2
    assert "it has not seen" in " ".join(capsys.readouterr().err.split())


def test_the_distance_of_an_ecdf_from_uniform():
    from scipy.stats import kstest

    u = np.random.default_rng(1).random(200) ** 1.2
    assert largest_distance(u) == pytest.approx(kstest(u, "uniform").statistic, abs=1e-12)
