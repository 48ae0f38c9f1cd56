"""Trained classifiers in a survey file, end to end: needs Torch."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest
from tests.selection.classes.test_classified import SIDE, TwoCuts, frame

from starcensus.files import FileError
from starcensus.selection.classes import ClassifiedPipeline, ClassifierCut, ensemble_vote, stamps_at
from starcensus.selection.pipeline import run_pipeline

torch = pytest.importorskip("torch")

from starcensus.networks.cnn.classify import (  # noqa: E402
    Classifier,
    ClassifierEnsemble,
    ClassifierSettings,
)
from starcensus.networks.cnn.resnet18 import ResNet18Settings  # noqa: E402


def ensemble(path: pathlib.Path, seed: int = 0) -> ClassifierEnsemble:
    members = tuple(
        Classifier(ClassifierSettings(ResNet18Settings(1, width=4, seed=seed + i))).eval()
        for i in range(3)
    )
    made = ClassifierEnsemble(members)
    made.save(path, {"bands": ["ACS_F555W"], "stamp_pix": SIDE})
    return made


def test_the_classes_are_those_of_the_networks(tmp_path):
    made = ensemble(tmp_path / "classes.json")
    image = frame()
    rng = np.random.default_rng(0)
    noisy = image.images[0].data + rng.normal(0, 0.01, image.shape).astype(np.float32)
    image = dataclasses.replace(image, images=(dataclasses.replace(image.images[0], data=noisy),))
    cut = ClassifierCut("classes.json", classes=(1, 2, 3))
    pipeline = ClassifiedPipeline.of(TwoCuts(2.0), cut, image, tmp_path)
    found = run_pipeline(pipeline, image)
    whole = np.isfinite(found.columns["candidate_class"])
    assert whole.sum() == 2
    stamps, _ = stamps_at(noisy[None], found.x[whole], found.y[whole], SIDE)
    modes = ensemble_vote(made.votes(stamps)).mode
    assert found.columns["candidate_class"][whole].tolist() == modes.tolist()


def test_damaged_weights_are_refused(tmp_path):
    ensemble(tmp_path / "classes.json")
    content = json.loads((tmp_path / "classes.json").read_text())
    content["sha256"] = "0" * 64
    (tmp_path / "classes.json").write_text(json.dumps(content))
    pipeline = ClassifiedPipeline.of(TwoCuts(2.0), ClassifierCut("classes.json"), frame(), tmp_path)
    with pytest.raises(FileError, match="not the file that it was written with"):
        run_pipeline(pipeline, frame())
