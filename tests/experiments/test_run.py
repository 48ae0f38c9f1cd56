"""Fits end to end: the carried mock, resuming, what invalidates a finished fit, the quickstart."""

import json
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from starcensus.experiments.jobs._job import Job, Show, open_job
from starcensus.selection import MagnitudeLimit, load_selection, save_selection
from starcensus.selection.catalogue import read_catalogue
from starcensus.theta import Box

EXPERIMENTS = pathlib.Path(__file__).parents[2] / "experiments"
EXAMPLES = EXPERIMENTS / "examples"
POPULATION = """
bounds = { log_mass = [3.0, 6.0], log_age = [6.0, 9.0], a_v = [0.0, 2.0] }
mass = { kind = "power_law" }
age = { kind = "constant" }
extinction = { kind = "half_normal" }
log_n = 1.8
"""
MOCK = f"""
kind = "mock"
title = "tiny"
seed = 1
[selection]
kind = "complete"
[population]
{POPULATION}
truth = {{ alpha_m = -2.0, sigma_av = 0.5, log_n = 1.8 }}
"""
FIT = f"""
kind = "fit"
title = "tiny"
seed = 3
[catalogue]
path = "mock/catalogue.ecsv"
[selections.all]
kind = "complete"
[selections.limit]
kind = "file"
path = "limit.h5"
[populations.simple]
{POPULATION}
[[fits]]
name = "first"
selection = "all"
population = "simple"
[[fits]]
name = "second"
selection = "limit"
population = "simple"
[sampler]
n_warmup = 60
n_samples = 60
"""
# It ends inside the bounds, so that the second fit has another quadrature than the first.
DOMAIN = Box((3.0, 6.0), (6.0, 8.95), (0.0, 2.0))


def job(path: pathlib.Path, out: pathlib.Path) -> Job:
    return open_job(path, out)


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("project")
    (folder / "mock.toml").write_text(MOCK)
    (folder / "fit.toml").write_text(FIT)
    job(folder / "mock.toml", folder / "mock").perform()
    write_limit(folder, 24.0)
    return folder


def write_limit(folder: pathlib.Path, limit_mag: float) -> None:
    save_selection(
        MagnitudeLimit.default(limit_mag=limit_mag, domain=DOMAIN, outside="zero"),
        folder / "limit.h5",
    )


def test_the_carried_mock_is_what_its_file_makes(tmp_path):
    job(EXAMPLES / "quickstart_mock.toml", tmp_path).perform()
    again = read_catalogue(tmp_path / "catalogue.ecsv", "starcensus")
    carried = read_catalogue(EXPERIMENTS / "data" / "quickstart.ecsv", "starcensus")
    np.testing.assert_array_equal(again.ids, carried.ids)
    np.testing.assert_allclose(again.theta, carried.theta, atol=1e-9)
    assert again.meta["truth"] == carried.meta["truth"]
    theta = (np.linspace(3, 6, 5), 7.5, 0.3)
    np.testing.assert_allclose(
        load_selection(tmp_path / "operator.h5").p_sel(*theta),
        load_selection(EXPERIMENTS / "data" / "legus_synthetic.h5").p_sel(*theta),
        atol=1e-12,
    )


@pytest.fixture(scope="module")
def finished(project) -> tuple[pathlib.Path, dict]:
    out = project / "out"
    return out, job(project / "fit.toml", out).perform()


def said(project: pathlib.Path, out: pathlib.Path) -> tuple[dict, list[str]]:
    lines: list[str] = []
    return job(project / "fit.toml", out).perform(Show(say=lines.append)), lines


def test_a_run_writes_its_files(finished):
    out, summary = finished
    names = {path.name for path in out.iterdir()}
    expected = {"posterior.nc", "summary.json", "provenance.json", "run.json", "selection.h5"}
    assert expected | {"report.html", "second"} <= names
    written = json.loads((out / "summary.json").read_text())
    assert written == summary
    assert written["truth.alpha_m"] == -2.0
    for key in ("n_clusters", "wall_s", "max_r_hat", "min_ess_bulk", "n_divergent"):
        assert isinstance(written[key], int | float)
    assert all(isinstance(v, str) or np.isfinite(v) for v in written.values())
    facts = json.loads((out / "second" / "provenance.json").read_text())
    assert facts["seed"] == 3 and facts["file"] == FIT
    assert set(facts["inputs"]) == {"catalogue", "selections.limit"}
    assert facts["settings"]["sampler"]["n_samples"] == 60
    assert facts["key"] == json.loads((out / "second" / "run.json").read_text())["key"]


def test_a_finished_fit_is_known_again_and_an_interrupted_one_continues(project, finished):
    out, summary = finished
    again, lines = said(project, out)
    assert lines == ["first: finished before", "second: finished before"]
    assert again == summary
    # An interrupted run: the second fit's posterior never came to be whole.
    with (out / "second" / "posterior.nc").open("r+b") as file:
        file.truncate(100)
    again, lines = said(project, out)
    assert lines == ["first: finished before"]
    skip = "wall_s", "sampling_s"
    assert {k: v for k, v in again.items() if not k.endswith(skip)} == {
        k: v for k, v in summary.items() if not k.endswith(skip)
    }


def retrain(project: pathlib.Path) -> None:
    write_limit(project, 23.0)


def another_catalogue(project: pathlib.Path) -> None:
    path = project / "mock" / "catalogue.ecsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")


def edit(old: str, new: str) -> Callable[[pathlib.Path], None]:
    def change(project: pathlib.Path) -> None:
        text = (project / "fit.toml").read_text()
        assert old in text
        (project / "fit.toml").write_text(text.replace(old, new))

    return change


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (retrain, {"first"}),
        (another_catalogue, set()),
        (edit("seed = 3", "seed = 4"), set()),
        (edit('title = "tiny"', 'title = "other words"'), {"first", "second"}),
        (edit("n_samples = 60", "n_samples = 61"), set()),
    ],
    ids=[
        "another operator in the same file",
        "another catalogue",
        "another seed",
        "another title",
        "more samples",
    ],
)
def test_what_a_fit_depends_on_invalidates_it(
    project, finished, tmp_path, monkeypatch, change, kept
):
    """The fit is stubbed: whether it is asked for is what counts."""
    from starcensus.experiments.jobs import fit as fits

    class Asked(Exception):
        pass

    def stub(*args, **kwargs):
        raise Asked

    monkeypatch.setattr(fits, "fit", stub)
    files = "fit.toml", "limit.h5", "mock/catalogue.ecsv"
    before = {name: (project / name).read_bytes() for name in files}
    out = shutil.copytree(finished[0], tmp_path / "out")
    try:
        change(project)
        whole = job(project / "fit.toml", out)
        found = {
            one.name
            for one in whole.fits  # pyright: ignore
            if one.identity.finished(one.out, *one.results())
        }
        assert found == kept
        if len(kept) < 2:
            with pytest.raises(Asked):
                whole.perform()
    finally:
        for name, content in before.items():
            (project / name).write_bytes(content)


@pytest.mark.slow
def test_quickstart_recovers_the_truth_and_its_twin_does_not(tmp_path):
    summary = job(EXAMPLES / "quickstart.toml", tmp_path).perform()
    assert summary["converged"] is True
    assert summary["max_r_hat"] < 1.01
    assert summary["min_ess_bulk"] >= 400
    assert summary["n_divergent"] == 0
    missed = 0
    for key, true in summary.items():
        if key.startswith("truth."):
            name = key.removeprefix("truth.")

            def bounds(prefix: str, name: str = name) -> tuple[float, float]:
                low, high = (summary[f"{prefix}posterior.{name}.{q}"] for q in ("p2_5", "p97_5"))
                return float(low), float(high)

            low, high = bounds("")
            assert low < float(true) < high, name
            low, high = bounds("selection-ignored.")
            missed += not low < float(true) < high
    assert missed >= 5
    assert (tmp_path / "report.html").stat().st_size > 100_000


def command(project: pathlib.Path, out: pathlib.Path) -> subprocess.Popen[str]:
    words = "run", str(project / "fit.toml"), "--out", str(out)
    code = "from starcensus.experiments.cli.main import main; main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *words], text=True, **pipes)  # pyright: ignore


@pytest.mark.slow
def test_a_run_that_is_killed_gives_the_same_bytes_when_it_is_run_again(project, tmp_path):
    """Killed at the start, before and after the first fit, and while the report is written."""
    whole, out = tmp_path / "whole", tmp_path / "killed"
    first = command(project, whole)
    _, error = first.communicate(timeout=300)
    assert first.returncode == 0, error
    for seen in ("provenance.json", "run.json", "second/provenance.json", "second/posterior.nc"):
        running = command(project, out)
        while not (out / seen).exists():
            assert running.poll() is None
            time.sleep(0.02)
        running.kill()
        running.communicate(timeout=60)
    again = command(project, out)
    _, error = again.communicate(timeout=300)
    assert again.returncode == 0, error
    for name in ("posterior.nc", "selection.h5", "second/posterior.nc", "second/selection.h5"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    assert not [path for path in out.rglob(".*") if path.is_file()]


@pytest.mark.slow
def test_a_folder_that_vanishes_is_said_in_a_line(project, tmp_path):
    out = tmp_path / "gone"
    running = command(project, out)
    while not (out / "provenance.json").exists():
        assert running.poll() is None
        time.sleep(0.02)
    shutil.rmtree(out)
    _, error = running.communicate(timeout=300)
    assert "Traceback" not in error, error[-2000:]
    assert running.returncode == 0 or "gone" in error
