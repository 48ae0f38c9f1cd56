"""Closure in other galaxies: what is asked of them, and how it is counted."""

import json
import pathlib

from benchmarks import closure

from starcensus.selection import Box, complete

EXAMPLES = pathlib.Path(__file__).parents[2] / "experiments/examples/cnn/closure"
BOX = Box((3.5, 5.5), (6.6, 10.1), (0.0, 3.0))
CLUSTERS = """# %ECSV 1.0
# ---
# datatype:
# - {name: log_mass, datatype: float64}
# - {name: log_age, datatype: float64}
# - {name: a_v, datatype: float64}
# meta: !!omap
# - truth: {alpha_m: -2.0, p_av_0: 0.35}
# schema: astropy-2.0
log_mass log_age a_v
4.0 7.0 0.5
4.1 8.0 0.1
3.0 8.0 0.1
"""


def galaxy(folder: pathlib.Path) -> pathlib.Path:
    for name in ("galaxy", "catalogue", "fit"):
        (folder / name).mkdir()
    (folder / "galaxy/clusters.ecsv").write_text(CLUSTERS)
    (folder / "catalogue/known.ecsv").write_text(CLUSTERS)
    (folder / "catalogue/summary.json").write_text(json.dumps({"n_catalogued": 4}))
    ends = {
        "posterior.alpha_m.p2_5": -2.4, "posterior.alpha_m.p97_5": -1.9,
        "posterior.p_av_0.p2_5": 0.1, "posterior.p_av_0.p97_5": 0.3,
    }  # fmt: skip
    (folder / "fit/summary.json").write_text(json.dumps(ends))
    return folder


def test_clusters_and_intervals_are_counted(tmp_path):
    here = galaxy(tmp_path)
    found = closure.counted(here, complete(BOX, acts_on="truth"))
    assert found == {"expected": 2.0, "expected_variance": 0.0, "catalogued": 3, "sources": 4}
    held = closure.intervals(here, "posteriors")
    assert held == {"alpha_m": (-2.0, -2.4, -1.9), "p_av_0": (0.35, 0.1, 0.3)}
    inside = {name: low <= truth <= high for name, (truth, low, high) in held.items()}
    assert inside == {"alpha_m": True, "p_av_0": False}


def test_a_galaxy_of_another_seed_is_asked_for_once(tmp_path, monkeypatch):
    for path in EXAMPLES.glob("*.toml"):
        (tmp_path / path.name).write_text(path.read_text())
    asked = []
    monkeypatch.setattr(closure.subprocess, "run", lambda words, **_: asked.append(words[1:]))
    here = closure.prepare(tmp_path, 101, ("posteriors", "light"))
    assert [words[0] for words in asked] == ["simulate", "detect", "run", "run"]
    assert "\nseed = 101\n" in (here / "galaxy.toml").read_text()
    # What was learned lies one folder up, what belongs to the galaxy beside the files.
    text = (here / "closure.toml").read_text() + (here / "light.toml").read_text()
    assert all(text.count(f'"../{name}"') == 1 for name in closure.SHARED)
    assert text.count('"catalogue/catalogue.ecsv"') == 2
    for name in ("galaxy", "catalogue", "fit"):
        (here / name).mkdir()
        (here / name / "run.json").write_text("{}")
    asked.clear()
    closure.prepare(tmp_path, 101, ("posteriors",))
    assert not asked
