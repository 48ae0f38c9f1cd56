"""Experiments end to end: the carried mock, resuming, the quickstart."""

import json
import pathlib

import numpy as np
import pytest

from starcensus.experiments.jobs.fit import make_mock, run_experiment
from starcensus.experiments.schema.fit import load_experiment, parse_experiment
from starcensus.selection import load_selection
from starcensus.selection.catalogue import read_catalogue

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
QUICKSTART = EXPERIMENTS / "quickstart.toml"


def test_carried_mock_is_what_the_experiment_makes(tmp_path):
    experiment, _ = load_experiment(QUICKSTART)
    made, operator = make_mock(experiment, tmp_path, [EXPERIMENTS], "quickstart")
    again = read_catalogue(made, "starcensus")
    carried = read_catalogue(EXPERIMENTS / "data" / "quickstart.ecsv", "starcensus")
    np.testing.assert_array_equal(again.ids, carried.ids)
    np.testing.assert_allclose(again.theta, carried.theta, atol=1e-9)
    assert again.meta["truth"] == carried.meta["truth"]
    theta = (np.linspace(3, 6, 5), 7.5, 0.3)
    np.testing.assert_allclose(
        load_selection(operator).p_sel(*theta),
        load_selection(EXPERIMENTS / "data" / "legus_synthetic.h5").p_sel(*theta),
        atol=1e-12,
    )


def test_every_carried_experiment_file_is_valid():
    files = sorted(EXPERIMENTS.glob("*.toml"))
    assert files
    for path in files:
        assert load_experiment(path)[0].title


def test_the_files_of_the_completeness_experiment_are_valid():
    from starcensus.experiments.jobs.galaxy import GalaxyConfig
    from starcensus.experiments.jobs.learn import load_learning
    from starcensus.experiments.jobs.library import load_design
    from starcensus.experiments.schema.survey import load_survey, parse, read_text

    folder = EXPERIMENTS / "completeness"
    readers = {"closure": load_experiment, "library": load_design, "pool": load_design}
    surveys = "training", "test", "test_more", "survey", "pilot", "focused"
    readers |= dict.fromkeys(surveys, load_survey)
    readers["galaxy"] = lambda path: [parse(GalaxyConfig, read_text(path, "galaxy"), str(path))]
    for path in sorted(folder.glob("*.toml")):
        assert readers.get(path.stem, load_learning)(path)[0].title


TINY = {
    "title": "tiny",
    "seed": 3,
    "catalogue": {"path": "tiny.ecsv"},
    "selections": {"all": {"kind": "complete"}},
    "populations": {
        "simple": {
            "bounds": {"log_mass": [3.0, 6.0], "log_age": [6.0, 9.0], "a_v": [0.0, 2.0]},
            "mass": {"kind": "power_law"},
            "age": {"kind": "constant"},
            "extinction": {"kind": "half_normal"},
            "log_n": 1.8,
        }
    },
    "fits": [
        {"name": "first", "selection": "all", "population": "simple"},
        {"name": "second", "selection": "all", "population": "simple"},
    ],
    "mock": {
        "selection": "all",
        "population": "simple",
        "truth": {"alpha_m": -2.0, "sigma_av": 0.5, "log_n": 1.8},
        "seed": 1,
    },
    "sampler": {"n_warmup": 60, "n_samples": 60},
}


def test_a_run_writes_its_files_and_resumes(tmp_path):
    experiment = parse_experiment(TINY, "tiny")
    make_mock(experiment, tmp_path, [], "tiny")
    out = tmp_path / "out"
    stages: list[str] = []
    summary = run_experiment(experiment, "tiny", out, [tmp_path], stages.append)
    names = {path.name for path in out.iterdir()}
    expected = {"posterior.nc", "summary.json", "provenance.json", "run.json", "selection.h5"}
    assert expected | {"report.html", "second"} <= names
    written = json.loads((out / "summary.json").read_text())
    assert written == summary
    assert written["truth.alpha_m"] == -2.0
    for key in ("n_clusters", "wall_s", "max_r_hat", "min_ess_bulk", "n_divergent"):
        assert isinstance(written[key], int | float)
    assert all(isinstance(v, str) or np.isfinite(v) for v in written.values())
    facts = json.loads((out / "provenance.json").read_text())
    assert facts["seed"] == 3 and facts["experiment"] == "tiny"
    assert facts["inputs"]["tiny.ecsv"].startswith("sha256:")

    # An interrupted run: the second fit's summary never came to be.
    (out / "second" / "summary.json").unlink()
    stages.clear()
    again = run_experiment(experiment, "tiny", out, [tmp_path], stages.append)
    assert "first: finished before" in stages
    assert "second: compiling and sampling" in stages
    first = {k: v for k, v in summary.items() if not k.startswith("second.")}
    assert {k: again[k] for k in first} == first
    assert again["second.posterior.alpha_m.median"] == summary["second.posterior.alpha_m.median"]

    # Another experiment text: nothing may be taken over.
    stages.clear()
    run_experiment(experiment, "tiny, changed", out, [tmp_path], stages.append)
    assert "first: finished before" not in stages


@pytest.mark.slow
def test_quickstart_recovers_the_truth_and_its_twin_does_not(tmp_path):
    experiment, text = load_experiment(QUICKSTART)
    summary = run_experiment(experiment, text, tmp_path, [EXPERIMENTS])
    assert summary["converged"] is True
    assert float(str(summary["max_r_hat"])) < 1.01
    assert float(str(summary["min_ess_bulk"])) >= 400
    assert summary["n_divergent"] == 0
    missed = 0
    for key, true in summary.items():
        if key.startswith("truth."):
            name = key.removeprefix("truth.")

            def bounds(prefix: str, name: str = name) -> tuple[float, float]:
                low, high = (summary[f"{prefix}posterior.{name}.{q}"] for q in ("p2_5", "p97_5"))
                return float(str(low)), float(str(high))

            low, high = bounds("")
            assert low < float(str(true)) < high, name
            low, high = bounds("selection-ignored.")
            missed += not low < float(str(true)) < high
    assert missed >= 5
    assert (tmp_path / "report.html").stat().st_size > 100_000
