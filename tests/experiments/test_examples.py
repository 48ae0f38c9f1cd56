"""The examples run, made small: each kind of file does what it says."""

import json
import pathlib
import shutil

import pytest

from starcensus.experiments.jobs._job import Summary, open_job
from starcensus.experiments.jobs.survey import DetectJob
from starcensus.selection import load_selection

EXAMPLES = pathlib.Path(__file__).parents[2] / "experiments" / "examples"
# What makes each file of the completeness experiment small.
SMALL = {
    "galaxy.toml": [("[2048, 2048]", "[320, 320]"), ("log_n = 4.15", "log_n = 2.8")],
    "library.toml": [("250_000", "2000")],
    "pool.toml": [("1_000_000", "1500")],
    "training.toml": [("245_000", "1600")],
    "pilot.toml": [("10_000", "1600")],
    "test.toml": [("5_000", "60"), ("245_000", "1600"), ("repeats = 50", "repeats = 10")],
    "choose.toml": [("51_250", "200")],
    "closure.toml": [("[[fits]]", "[sampler]\nn_warmup = 60\nn_samples = 60\n\n[[fits]]")],
}
TRAIN = [("epochs = 40", "epochs = 3"), ("[64, 64]", "[16, 16]\nbatch_size = 64")]


def small(folder: pathlib.Path) -> None:
    shutil.copytree(EXAMPLES / "completeness", folder, dirs_exist_ok=True)
    for path in folder.glob("*.toml"):
        changes = SMALL.get(path.name, [])
        changes += TRAIN if 'kind = "learning"' in path.read_text() else []
        text = path.read_text()
        for old, new in changes:
            if "epochs" not in old or old in text:
                assert old in text, (path.name, old)
            text = text.replace(old, new, 1)
        path.write_text(text)


@pytest.mark.slow
def test_the_completeness_experiment(tmp_path):
    pytest.importorskip("galsim")
    small(tmp_path)

    def do(name: str, out: str, **how) -> Summary:
        return open_job(tmp_path / name, tmp_path / out, **how).perform()

    assert do("galaxy.toml", "galaxy")["n_clusters"] > 300
    assert do("library.toml", "library.h5")["n_clusters"] == 2000
    assert do("training.toml", "training/table.h5")["n_injected"] == 1600
    assert do("test.toml", "test/table.h5")["n_injected"] == 600
    for name in ("physical_r_eff", "photometric_r_eff"):
        assert do(f"{name}.toml", f"{name}.h5")["n_injections"] == 1600
    assert do("evaluate.toml", "check")["n_clusters"] == 60
    do("pilot.toml", "pilot/table.h5")
    do("pilot_networks.toml", "pilot.h5")
    do("pool.toml", "pool.h5")
    assert 100 < do("choose.toml", "chosen.h5")["n_chosen"] < 300
    assert do("focused.toml", "focused/table.h5")["n_clusters"] > 100
    do("focused_networks.toml", "focused.h5")
    found = do("survey.toml", "catalogue", make=DetectJob)
    assert found["n_known_catalogued"] > 10
    summary = do("closure.toml", "closure")
    assert summary["n_clusters"] > 10 and "truth.alpha_m" in summary
    # The operator says what it was learned from, down to the images.
    facts = json.loads((tmp_path / "closure" / "provenance.json").read_text())
    origin = facts["inputs"]["selections.learned"]["origin"]
    assert set(origin["tables"]) == {"table.h5"}
    assert origin["pipeline"]["pipeline"] == "legus" and origin["distance_modulus"] == 29.98


@pytest.mark.slow
def test_a_marginalisation(tmp_path):
    small(tmp_path)
    shutil.copy(EXAMPLES / "marginalisation.toml", tmp_path)
    text = (tmp_path / "library.toml").read_text().replace("n = 2000", "n = 20_000")
    (tmp_path / "library.toml").write_text(text)
    open_job(tmp_path / "library.toml", tmp_path / "library.h5").perform()
    write_network(tmp_path / "photometric.h5")
    text = (tmp_path / "marginalisation.toml").read_text()
    for old, new in (
        ("6.0, 0.25", "6.0, 1.0"),
        ("10.1, 0.1", "10.1, 0.82"),
        ("3.0, 0.5", "3.0, 1"),
    ):
        assert old in text
        text = text.replace(old, new)
    (tmp_path / "marginalisation.toml").write_text(text)
    made = open_job(tmp_path / "marginalisation.toml", tmp_path / "theta.h5").perform()
    assert 0 < made["median_standard_error"] < 0.2
    p = load_selection(tmp_path / "theta.h5").p_sel(5.5, 7.0, 0.5)  # pyright: ignore
    assert 0 <= float(p) <= 1


def write_network(path: pathlib.Path) -> None:
    import numpy as np

    from starcensus.networks import MLP
    from starcensus.selection import PhotometricNetwork, save_selection

    bands = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")
    network = MLP([np.array([[0.0, 0.0, 0.0, -2.0, 0.0]])], [np.array([46.0])])
    limits = np.array([[15.0, 32.0]] * 5)
    save_selection(PhotometricNetwork((network,), bands, limits, 29.98), path)
