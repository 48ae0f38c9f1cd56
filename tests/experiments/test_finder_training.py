# ruff: noqa: E402
"""`train`: the network that it writes, what stands beside it, and what interrupts it."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from tests.experiments.finder_project import BANDS, FINDER, noise_frame, write_project
from tests.helpers import run

torch = pytest.importorskip("torch")

from starcensus.experiments.jobs import finder as jobs
from starcensus.experiments.jobs._job import SILENT, Show, open_job
from starcensus.files import checksum
from starcensus.networks import ConvNetwork, read_network
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder.mocks import answer_mocks
from starcensus.selection.pipeline import run_pipeline
from starcensus.selection.pipeline.cnn import CnnPipeline, CnnSettings
from starcensus.simulate import read_frame, write_frame
from starcensus.simulate.stamps import BackgroundSettings, StampBank, cut_backgrounds
from starcensus.simulate.stamps.bank import write_bank

pytestmark = pytest.mark.torch

RESULTS = "network.json", "network.safetensors", "curves.ecsv", "curves.png", "predicted.png"


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> pathlib.Path:
    folder = write_project(tmp_path_factory.mktemp("training"), n=60)
    open_job(folder / "stamps.toml", folder / "bank.h5").perform()
    with pytest.MonkeyPatch.context() as patch:
        assert run(patch, "train", folder / "finder.toml", "--out", folder / "finder") == 0
    return folder


def job(folder: pathlib.Path, out: str, text: str = FINDER) -> jobs.FinderJob:
    (folder / "changed.toml").write_text(text)
    made = open_job(folder / "changed.toml", folder / out)
    assert isinstance(made, jobs.FinderJob)
    return made


def weights(folder: pathlib.Path) -> bytes:
    return (folder / "network.safetensors").read_bytes()


def summary_of(folder: pathlib.Path) -> dict[str, Any]:
    return json.loads((folder / "summary.json").read_text())


def test_a_network_and_what_stands_beside_it(project):
    out = project / "finder"
    names = {path.name for path in out.iterdir()}
    assert names == {*RESULTS, "summary.json", "provenance.json", "run.json"}
    _, _, about = read_network(out / "network.json")
    bank = StampBank.load(project / "bank.h5")
    assert about["stamps"] == bank.meta["settings"]
    assert about["bank"] == {
        "name": "bank.h5",
        "sha256": checksum(project / "bank.h5"),
        "seed": 3,
        "n": 60,
    }
    sums = {f"{band}.fits": checksum(project / "images" / f"{band}.fits") for band in BANDS}
    assert about["images"]["files"] == sums and about["images"]["field"] == "noise"
    curves = Table.read(out / "curves.ecsv", format="ascii.ecsv")
    assert curves["step"].tolist() == list(range(1, 37))
    seen = np.isfinite(np.ma.filled(curves["validation.total"], np.nan))
    assert curves["step"][seen].tolist() == [10, 20, 30, 33, 36]
    facts = json.loads((out / "provenance.json").read_text())
    assert set(facts["inputs"]) == {"bank", "known", *(f"images.{b}.fits" for b in BANDS)}
    assert facts["torch"] == torch.__version__ and facts["file"] == FINDER


def test_its_numbers_are_those_of_the_last_mocks_of_the_bank(project):
    """As the file of the network answers them, on the backgrounds of the test."""
    out = project / "finder"
    found = summary_of(out)
    assert (found["n_train"], found["n_validation"], found["n_test"]) == (20, 30, 10)
    bank = StampBank.load(project / "bank.h5", rows=slice(50, 60))
    choice = BackgroundSettings((60, 20, 20), 16, 2, block_pix=48, guard_pix=4)
    circles = np.array([[100.0, 110.0, 7.5], [20.0, 30.0, 0.0]])
    frame = read_frame(sorted((project / "images").glob("*.fits"))).select(BANDS)
    test = cut_backgrounds(frame, choice, 4, circles).of("test")
    grid = Grid.from_dict(read_network(out / "network.json")[2]["grid"])
    said = answer_mocks(ConvNetwork.load(out / "network.json"), grid, bank, test, 4)
    points = said.said.answers.points()
    true = [bank["log_age"], bank["a_v"], bank["log_mass"], np.log10(bank["r_h_pc"])]
    for name, point, truth in zip(
        ("age_dex", "a_v_mag", "mass_dex", "size_dex"), points.T, true, strict=True
    ):
        expected = np.percentile(np.abs(point - truth), 95)
        assert found[f"p95_{name}"] == pytest.approx(expected, rel=1e-4), name
    curves = Table.read(out / "curves.ecsv", format="ascii.ecsv")
    # Losses against sharper targets are of another kind: the best is the best of these.
    losses = np.ma.filled(curves["validation.total"], np.nan)[30:]
    assert found["validation_loss.total"] == pytest.approx(np.nanmin(losses))
    assert found["best_step"] == 31 + np.nanargmin(losses)
    assert all(isinstance(v, str) or np.isfinite(v) for v in found.values())


NONE = dict.fromkeys(BANDS, 0.0)


def test_the_pipeline_takes_the_network(project):
    """As a survey file names it, relative to its folder."""
    settings = CnnSettings("finder/network.json", aperture_correction=NONE)
    frame = noise_frame(side=64)
    pipeline = CnnPipeline.for_field(frame, {}, settings, folder=project)
    assert run_pipeline(pipeline, frame).bands == BANDS


def test_a_finished_network_is_not_trained_again(project, monkeypatch, capsys):
    before = weights(project / "finder")
    assert run(monkeypatch, "run", project / "finder.toml", "--out", project / "finder") == 0
    assert "finder: finished before" in capsys.readouterr().out
    assert weights(project / "finder") == before


def test_an_interrupted_training_goes_on_to_the_same_weights(project):
    def stop(text: str) -> None:
        if text.startswith("step 25 of 36"):
            raise KeyboardInterrupt

    threads = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        job(project, "halted").perform(Show(stage=stop))
    assert torch.get_num_threads() == threads
    assert (project / "halted" / "checkpoint" / "checkpoint-20.safetensors").exists()
    # Another training does not go on from it, and leaves it as it is.
    other = FINDER.replace("jitter", "#").replace("dihedral = true", "dihedral = false")
    with pytest.raises(ValueError, match=r"checkpoint holds .* of another file, bank, images or"):
        job(project, "halted", other).perform(SILENT)
    stages: list[str] = []
    job(project, "halted").perform(Show(stage=stages.append))
    steps = [text.split(":")[0] for text in stages if text.startswith("step")]
    assert steps == [f"step {step} of 36" for step in range(21, 37)]
    assert weights(project / "halted") == weights(project / "finder")
    assert not (project / "halted" / "checkpoint").exists()
    kept = summary_of(project / "halted"), summary_of(project / "finder")
    names = [name for name in kept[0] if not name.endswith("wall_s")]
    assert {n: kept[0][n] for n in names} == {n: kept[1][n] for n in names}


def test_mocks_of_the_test_are_not_learned_from(project):
    """Others in their place: the same weights, and other figures."""
    bank = StampBank.load(project / "bank.h5")
    images = bank.images.copy()
    images[50:] *= np.float32(30.0)
    path = project / "other.h5"
    write_bank(path, 60, bank.meta, [lambda: {"images": images, **bank.columns}])
    found = job(project, "others", FINDER.replace("bank.h5", "other.h5")).perform()
    assert weights(project / "others") == weights(project / "finder")
    same = summary_of(project / "finder")
    assert found["validation_loss.total"] == same["validation_loss.total"]
    assert found["log_score"] != same["log_score"]


def test_images_unlike_the_bank_are_refused_before_training(project, monkeypatch, capsys):
    (project / "coarse").mkdir()
    write_frame(dataclasses.replace(noise_frame(), pixel_scale_arcsec=0.05), project / "coarse")
    (project / "coarse.toml").write_text(FINDER.replace('"images"', '"coarse"'))
    assert run(monkeypatch, "train", project / "coarse.toml", "--out", project / "no") == 2
    said = capsys.readouterr().err
    assert "coarse.toml: images: they have pixels of 0.05 arcsec, and the stamps of bank.h5" in said
    assert not (project / "no" / "checkpoint").exists()


def test_too_few_backgrounds_are_refused(project, monkeypatch, capsys):
    circles = "x,y,radius\n120.0,120.0,160.0\n"
    (project / "everywhere.csv").write_text(circles)
    (project / "full.toml").write_text(FINDER.replace("known.csv", "everywhere.csv"))
    assert run(monkeypatch, "train", project / "full.toml", "--out", project / "no") == 2
    said = capsys.readouterr().err
    assert "full.toml: of 60 backgrounds for train 0 were found" in said
