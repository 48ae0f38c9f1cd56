# ruff: noqa: E402
"""ResNet18 and VGG19 with batch normalisation, layer by layer."""

import dataclasses
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from starcensus.networks.cnn.resnet18 import ResNet18, ResNet18Settings, from_words
from starcensus.networks.cnn.vgg19 import VGG19, VGG19Settings

pytestmark = pytest.mark.torch

SMALL = {
    "resnet18": (ResNet18, ResNet18Settings(n_bands=2, n_classes=3, width=4, seed=1)),
    "vgg19": (VGG19, VGG19Settings(2, 3, width=4, n_hidden=8, pool_pix=2, seed=1)),
}


def empty(network: type, settings: Any) -> Any:
    """A network without memory for its weights, of which VGG19 has half a gigabyte."""
    with torch.device("meta"):
        return network(settings)


def convolutions(network: Any) -> list[Any]:
    return [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]


@pytest.mark.parametrize(
    ("network", "settings", "published"),
    [
        (ResNet18, ResNet18Settings(3, 1000), 11_689_512),
        (VGG19, VGG19Settings(3, 1000), 143_678_248),
    ],
)
def test_parameters_are_as_many_as_published(network, settings, published):
    assert sum(p.numel() for p in empty(network, settings).parameters()) == published


def test_maps_of_resnet18_are_those_of_the_paper():
    """He et al. (2016), table 1: 112, 56, 28, 14 and 7 pixels for images of 224."""
    network = empty(ResNet18, ResNet18Settings(3, 1000))
    x, seen = torch.zeros(1, 3, 224, 224, device="meta"), []
    first = network.stages[0][0](x)
    for stage in network.stages:
        x = stage(x)
        seen.append((x.shape[1], x.shape[2]))
    assert (first.shape[1], first.shape[2]) == (64, 112)
    assert seen == [(64, 56), (64, 56), (128, 28), (256, 14), (512, 7)]
    inside = [m for n, m in network.named_modules() if "shortcut" not in n]
    n_layers = sum(isinstance(m, torch.nn.Conv2d | torch.nn.Linear) for m in inside)
    assert n_layers == 18
    # A shortcut is a convolution where the shape changes, in three of eight blocks.
    assert len(convolutions(network)) == 17 + 3
    assert all(layer.bias is None for layer in convolutions(network))


def test_maps_of_vgg19_are_those_of_the_paper():
    """Simonyan & Zisserman (2015), table 1, column E."""
    network = empty(VGG19, VGG19Settings(3, 1000))
    x, seen = torch.zeros(1, 3, 224, 224, device="meta"), []
    for stage in network.stages:
        x = stage(x)
        seen.append((x.shape[1], x.shape[2]))
    assert seen == [(64, 112), (128, 56), (256, 28), (512, 14), (512, 7)]
    widths = [layer.out_channels for layer in convolutions(network)]
    assert widths == [64] * 2 + [128] * 2 + [256] * 4 + [512] * 8
    assert all(layer.kernel_size == (3, 3) for layer in convolutions(network))
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [
        (512 * 49, 4096),
        (4096, 4096),
        (4096, 1000),
    ]
    n_norms = sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules())
    assert n_norms == 16 and sum(isinstance(m, torch.nn.Dropout) for m in network.modules()) == 2


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("side", [32, 41, 80])
def test_stamps_of_other_sizes_have_logits_of_each_class(name, side):
    network, settings = SMALL[name]
    with torch.no_grad():
        logits = network(settings).eval()(torch.rand(3, 2, side, side))
    assert set(logits) == {"class"} and logits["class"].shape == (3, 3)
    # An untrained network says that all classes are alike.
    assert (logits["class"] == 0).all()


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_decides_the_first_weights_and_leaves_the_generators(name):
    network, settings = SMALL[name]
    before = torch.get_rng_state()
    one, same, other = (network(dataclasses.replace(settings, seed=s)) for s in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = zip(one.parameters(), same.parameters(), other.parameters(), strict=True)
    equal = [(torch.equal(a, b), torch.equal(a, c)) for a, b, c in pairs]
    assert all(a for a, _ in equal) and not all(b for _, b in equal)


@pytest.mark.parametrize("name", SMALL)
def test_first_weights_keep_the_scale_of_what_they_are_given(name):
    """He et al. (2015): with ReLU and normalisation, features of noise are of order 1."""
    network, settings = SMALL[name]
    wide = network(dataclasses.replace(settings, width=16, n_bands=5))
    wide.train()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        features = wide.stages(torch.randn(8, 5, 64, 64, generator=generator))
    assert 0.2 < float(features.std()) < 5


@pytest.mark.parametrize("name", SMALL)
def test_every_weight_is_trained(name):
    network, settings = SMALL[name]
    made = network(settings)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        made.heads.layers["class"].weight.normal_(generator=generator)
    logits = made(torch.randn(4, 2, 64, 64, generator=generator))["class"]
    logits.log_softmax(1)[:, 0].sum().backward()
    still = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # Normalisation takes off again what the convolutions of VGG add.
    norms = torch.nn.BatchNorm2d
    bias_before_norm = {
        f"stages.{i}.{j}.bias"
        for i, stage in enumerate(made.stages)
        for j in range(len(stage) - 1)
        if name == "vgg19" and isinstance(stage[j + 1], norms)
    }
    assert set(still) <= bias_before_norm


@pytest.mark.parametrize("name", SMALL)
def test_settings_come_back_from_json(name):
    _, settings = SMALL[name]
    kind = type(settings)
    assert kind.from_dict(settings.as_dict()) == settings
    words = settings.as_dict()
    del words["width"]
    with pytest.raises(ValueError, match=r"settings have .*; expected n_bands, n_classes|expected"):
        kind.from_dict(words)
    with pytest.raises(ValueError, match=r"width is '64'; expected a number"):
        kind.from_dict(settings.as_dict() | {"width": "64"})
    with pytest.raises(ValueError, match="depth"):
        from_words(kind, settings.as_dict() | {"depth": 3})


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        (ResNet18Settings, {"n_bands": 0}, "n_bands is 0"),
        (ResNet18Settings, {"n_classes": 1}, "n_classes 1; expected 1, 1 and 2"),
        (ResNet18Settings, {"seed": -1}, "seed is -1"),
        (VGG19Settings, {"pool_pix": 0}, "pool_pix are"),
        (VGG19Settings, {"dropout": 1.0}, "from 0 to below 1"),
    ],
)
def test_settings_that_make_no_network_are_refused(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        kind(**arguments)


def test_dropout_is_for_training_alone():
    network = VGG19(VGG19Settings(1, 2, width=2, n_hidden=32, pool_pix=1))
    with torch.no_grad():
        torch.nn.init.ones_(network.heads.layers["class"].weight)
        images = torch.from_numpy(np.random.default_rng(0).normal(size=(4, 1, 32, 32))).float()
        network.train()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
        assert not torch.equal(network(images)["class"], network(images)["class"])
        network.eval()
        assert torch.equal(network(images)["class"], network(images)["class"])
