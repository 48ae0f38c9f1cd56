# ruff: noqa: E402
"""Classifiers and ensembles: what they see, learn, keep and refuse."""

import dataclasses
import pathlib
from collections.abc import Iterator

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from starcensus.files import FileError
from starcensus.networks.cnn.classify import (
    PHANGS_LOOP,
    Classifier,
    ClassifierEnsemble,
    ClassifierSettings,
    member_seed,
    over_noise,
    train_ensemble,
)
from starcensus.networks.cnn.resnet18 import ResNet18Settings
from starcensus.networks.cnn.schedules import LoopSettings
from starcensus.networks.cnn.vgg19 import VGG19Settings
from starcensus.selection.classes import ensemble_vote

pytestmark = pytest.mark.torch

SMALL = ClassifierSettings(ResNet18Settings(n_bands=1, width=4))
SHORT = LoopSettings(steps=4, max_rate=3e-3, validate_every=2, checkpoint_every=1)


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Four classes of 16 pixels a side: a spot, a line of two, a ring of four, and noise alone."""

    seed: int
    n: int = 24

    def __call__(self, step: int) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        rng = np.random.default_rng([self.seed, step])
        labels = rng.integers(4, size=self.n)
        images = rng.normal(0.0, 0.2, (self.n, 1, 16, 16))
        y, x = np.mgrid[:16, :16] - 7.5
        for image, label in zip(images, labels, strict=True):
            for k in range((1, 2, 4, 0)[label]):
                r, angle = (0.0, 3.0, 4.0, 0.0)[label], 2 * np.pi * k / max((1, 2, 4, 1)[label], 1)
                dx, dy = r * np.cos(angle), r * np.sin(angle)
                image[0] += 3 * np.exp(-((x - dx) ** 2 + (y - dy) ** 2) / 2)
        targets = np.eye(4, dtype=np.float32)[labels]
        return images.astype(np.float32), {"class": targets, "is_cluster": labels < 2}


def same(a: ClassifierEnsemble, b: ClassifierEnsemble) -> bool:
    pairs = zip(a.members, b.members, strict=True)
    return all(
        torch.equal(x, y)
        for one, other in pairs
        for x, y in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize("normalisation", ["standard", "noise"])
def test_levels_and_scales_of_bands_are_not_seen(normalisation):
    settings = ClassifierSettings(ResNet18Settings(n_bands=3, width=4), normalisation)
    classifier = Classifier(settings).eval()
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(classifier.network.heads.layers["class"].weight, generator=generator)
    images = torch.from_numpy(np.random.default_rng(1).gamma(0.4, 2.0, (4, 3, 32, 32))).float()
    factor = torch.tensor([0.01, 3.0, 50.0])[:, None, None]
    with torch.no_grad():
        before = classifier(images)["class"]
        after = classifier(factor * images + 2 * factor)["class"]
        other = classifier(images.sqrt())["class"]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3)
    assert (other - before).abs().max() > 0.05


def test_noise_has_unit_scatter_and_an_object_its_signal_to_noise():
    rng = np.random.default_rng(2)
    images = rng.normal(5.0, 0.3, (2, 1, 64, 64)).astype(np.float32)
    images[1, 0, 30:34, 30:34] += 0.3 * 40
    seen = over_noise(torch.from_numpy(images)).numpy()
    # The median absolute deviation of a Gaussian is 0.6745 σ; 4096 pixels.
    assert seen[0].std() == pytest.approx(1.0, abs=0.06) and abs(np.median(seen[0])) < 0.01
    assert seen[1, 0, 30:34, 30:34].mean() == pytest.approx(40.0, rel=0.06)
    flat = np.full((1, 1, 8, 8), 3.7, np.float32)
    assert (over_noise(torch.from_numpy(flat)).numpy() == 0).all()


def test_an_ensemble_learns_classes_and_says_how_sure_it_is():
    loop = LoopSettings(steps=90, max_rate=5e-3, validate_every=45)
    ensemble, trained = train_ensemble(
        SMALL, Shapes, loop, n_models=2, seed=3, validation=[Shapes(77).batch(0)]
    )
    assert len(ensemble.members) == 2
    assert trained[0].train_loss["class"][0] == pytest.approx(np.log(4), abs=1e-5)
    images, targets = Shapes(99, 200).batch(0)
    truth = targets["class"].argmax(1) + 1
    probabilities, votes = ensemble.probabilities(images), ensemble.votes(images, batch=64)
    assert probabilities.shape == (200, 2, 4)
    np.testing.assert_allclose(probabilities.sum(axis=2), 1.0, atol=1e-5)
    np.testing.assert_array_equal(votes, probabilities.argmax(axis=2) + 1)
    voted = ensemble_vote(votes)
    assert (voted.mode == truth).mean() > 0.85
    assert set(voted.quality) <= {0.5, 1.0}
    # What both say is right more often than what one of them does.
    agreed = voted.quality == 1
    assert (voted.mode == truth)[agreed].mean() >= (votes == truth[:, None]).mean()
    np.testing.assert_array_equal(votes, ensemble.votes(images, batch=200))


def test_members_differ_and_are_those_of_a_larger_ensemble():
    two, _ = train_ensemble(SMALL, Shapes, SHORT, n_models=2, seed=5)
    one, _ = train_ensemble(SMALL, Shapes, SHORT, n_models=1, seed=5)
    assert same(one, ClassifierEnsemble(two.members[:1]))
    assert not same(ClassifierEnsemble(two.members[:1]), ClassifierEnsemble(two.members[1:]))
    other, _ = train_ensemble(SMALL, Shapes, SHORT, n_models=1, seed=6)
    assert not same(one, other)
    seeds = {member_seed(seed, model) for seed in range(20) for model in range(20)}
    assert len(seeds) == 400 and max(seeds) < 2**62


class Interrupted(Exception):
    pass


def test_an_ensemble_goes_on_where_it_stopped(tmp_path: pathlib.Path):
    options = {"n_models": 2, "seed": 1, "about": {"stamps": "abc"}}
    vgg = ClassifierSettings(VGG19Settings(1, 4, width=2, n_hidden=8, pool_pix=1), "noise")

    def images(seed: int):
        def wide(step: int):
            for stamps, targets in Shapes(seed, 6)(step):
                yield np.pad(stamps, [(0, 0), (0, 0), (8, 8), (8, 8)], mode="wrap"), targets

        return wide

    whole, _ = train_ensemble(vgg, images, SHORT, **options)

    def stop(model: int, step: int, loss: float, validation: float | None) -> None:
        if (model, step) == (1, 2):
            raise Interrupted

    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        train_ensemble(vgg, images, SHORT, folder=folder, report=stop, **options)
    steps = []
    again, _ = train_ensemble(
        vgg,
        images,
        SHORT,
        folder=folder,
        report=lambda model, step, loss, validation: steps.append((model, step)),
        **options,
    )
    assert same(again, whole) and steps == [(1, 3), (1, 4)]
    assert sorted(p.name for p in folder.iterdir()) == ["ensemble.json", "model-00", "model-01"]
    for changes, name in (
        ({"seed": 2}, "seed = 1, not 2"),
        ({"about": {"stamps": "abd"}}, "about"),
    ):
        with pytest.raises(FileError, match=rf"ensemble\.json: was made with {name}"):
            train_ensemble(vgg, images, SHORT, folder=folder, **(options | changes))
    with pytest.raises(FileError, match="was made with loop"):
        longer = dataclasses.replace(SHORT, steps=5)
        train_ensemble(vgg, images, longer, folder=folder, **options)
    with pytest.raises(FileError, match="was made with settings"):
        train_ensemble(SMALL, images, SHORT, folder=folder, **options)


def test_an_ensemble_is_saved_and_read_with_the_same_answers(tmp_path: pathlib.Path):
    ensemble, _ = train_ensemble(SMALL, Shapes, SHORT, n_models=2, seed=5)
    ensemble.save(tmp_path / "classes.json", about={"command": "train"})
    found = ClassifierEnsemble.load(tmp_path / "classes.json")
    images, _ = Shapes(4).batch(0)
    np.testing.assert_array_equal(found.probabilities(images), ensemble.probabilities(images))
    assert [m.settings for m in found.members] == [m.settings for m in ensemble.members]
    weights = tmp_path / "classes.safetensors"
    other, _ = train_ensemble(SMALL, Shapes, SHORT, n_models=2, seed=6)
    kept = weights.read_bytes()
    other.save(tmp_path / "other.json")
    weights.write_bytes((tmp_path / "other.safetensors").read_bytes())
    with pytest.raises(FileError, match="is not the file that it was written with"):
        ClassifierEnsemble.load(tmp_path / "classes.json")
    weights.write_bytes(kept)
    text = (tmp_path / "classes.json").read_text()
    (tmp_path / "classes.json").write_text(text.replace('"width": 4', '"width": 8'))
    with pytest.raises(FileError, match=r"classes\.json: is damaged"):
        ClassifierEnsemble.load(tmp_path / "classes.json")
    (tmp_path / "classes.json").write_text('{"kind": "another"}')
    with pytest.raises(FileError, match="is no ensemble of classifiers"):
        ClassifierEnsemble.load(tmp_path / "classes.json")


def test_stamps_that_do_not_fit_are_refused():
    ensemble = ClassifierEnsemble((Classifier(SMALL),))
    with pytest.raises(ValueError, match="stamps have 2 bands; expected 1"):
        ensemble.votes(np.zeros((3, 2, 16, 16), np.float32))
    images = np.zeros((3, 1, 16, 16), np.float32)
    images[1, 0, 4, 4] = np.nan
    with pytest.raises(ValueError, match="stamp 1 has pixels that are not finite"):
        ensemble.votes(images)
    with pytest.raises(ValueError, match="expected one member or more, all alike"):
        ClassifierEnsemble(())
    two = Classifier(ClassifierSettings(ResNet18Settings(n_bands=2, width=4)))
    with pytest.raises(ValueError, match="all alike"):
        ClassifierEnsemble((ensemble.members[0], two))
    with pytest.raises(ValueError, match="n_models is 0"):
        train_ensemble(SMALL, Shapes, SHORT, n_models=0)


@pytest.mark.parametrize("network", [ResNet18Settings(3, 4, 8), VGG19Settings(3, 4, 8)])
def test_settings_come_back_from_json(network):
    settings = ClassifierSettings(network, "noise")
    assert ClassifierSettings.from_dict(settings.as_dict()) == settings
    words = settings.as_dict()
    with pytest.raises(ValueError, match="kind is 'alexnet'"):
        ClassifierSettings.from_dict(words | {"network": {"kind": "alexnet"}})
    with pytest.raises(ValueError, match="expected network and normalisation"):
        ClassifierSettings.from_dict({"network": words["network"]})


def test_the_loop_is_as_long_as_that_of_phangs():
    assert PHANGS_LOOP.steps == 10_000
