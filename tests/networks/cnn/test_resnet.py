# ruff: noqa: E402
"""The networks of the thesis, layer by layer."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from starcensus.networks.cnn.resnet import ResNet, ResNetSettings, standardised

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def networks() -> dict[str, ResNet]:
    return {variant: ResNet(ResNetSettings(variant)).eval() for variant in ("A", "B")}


def images(variant: str, n: int = 2) -> Any:
    side = {"A": 80, "B": 64}[variant]
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.gamma(0.3, 3.0, (n, 3, side, side))).float()


@pytest.mark.parametrize(
    ("variant", "sides", "limits"),
    [
        ("A", (80, 40, 40, 20, 10, 5), (7.0e6, 7.15e6)),
        ("B", (64, 32, 32, 16, 8, 4), (9.9e6, 10.05e6)),
    ],
)
def test_maps_channels_and_parameters_are_those_of_the_thesis(networks, variant, sides, limits):
    network = networks[variant]
    x, seen = images(variant, 1), []
    for stage in network.stages:
        x = stage(x)
        seen.append((x.shape[1], *x.shape[2:]))
    channels = (64, 64, 128, 256, 512, 1024)
    assert seen == [(c, side, side) for c, side in zip(channels, sides, strict=True)]
    n = sum(p.numel() for p in network.parameters())
    assert limits[0] < n < limits[1]
    convolutions = [
        module
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Conv2d) and "shortcut" not in name
    ]
    # 48 in bottlenecks and the first; with the hidden layer they are 50.
    assert len(convolutions) == 49
    assert convolutions[0].stride == (1, 1) and convolutions[0].kernel_size == (7, 7)


def test_heads_are_those_of_the_thesis(networks):
    assert networks["A"].settings.sizes() == {"regression": 3}
    assert networks["B"].settings.sizes() == {
        "joint": 2800,
        "size": 14,
        "class": 2,
        "visibility": 20,
    }
    with torch.no_grad():
        shapes = {n: tuple(v.shape) for n, v in networks["B"](images("B")).items()}
    assert shapes == {n: (2, k) for n, k in networks["B"].settings.sizes().items()}
    other = ResNet(ResNetSettings("A", 2, heads=(("class", 2), ("size", 14))))
    assert set(other(torch.rand(2, 2, 40, 40))) == {"class", "size"}


def test_a_rotated_image_leaves_variant_a_unchanged(networks):
    stamps = images("A")
    with torch.no_grad():
        before = networks["A"](stamps)["regression"]
        turned = networks["A"](torch.rot90(stamps, 1, (2, 3)))["regression"]
        mirrored = networks["A"](stamps.flip(3))["regression"]
    torch.testing.assert_close(turned, before, rtol=1e-4, atol=1e-4)
    # The test can fail: a mirror image is another one.
    assert (mirrored - before).abs().max() > 20 * (turned - before).abs().max()


def test_variant_b_does_not_see_level_and_scale(networks):
    network = networks["B"]
    generator = torch.Generator().manual_seed(0)
    torch.nn.init.normal_(network.heads.layers["joint"].weight, generator=generator)
    stamps = images("B")
    factor = torch.tensor([0.5, 3.0, 20.0])[:, None, None]
    with torch.no_grad():
        before = network(stamps)["joint"]
        after = network(factor * stamps + 7 * factor)["joint"]
        shuffled = network(stamps.flip(1))["joint"]
    torch.testing.assert_close(after, before, rtol=1e-3, atol=1e-3 * float(before.abs().max()))
    assert (shuffled - before).abs().max() > 20 * (after - before).abs().max()


def test_stamps_are_standardised_and_constant_ones_are_zero():
    stamps = images("B")
    stamps[1, 2] = 3.7
    found = standardised(stamps).double()
    assert found[0].mean((1, 2)).abs().max() < 1e-5
    torch.testing.assert_close(found[0].std((1, 2), correction=0), torch.ones(3).double())
    assert (found[1, 2] == 0).all()


def test_dropout_is_that_of_the_thesis_and_for_training_alone(networks):
    assert networks["A"].dropout.p == 0.5 and networks["B"].dropout.p == 0
    network = ResNet(ResNetSettings("A", 1))
    stamps = torch.rand(2, 1, 24, 24)
    with torch.no_grad():
        network.train()
        first, second = network(stamps)["regression"], network(stamps)["regression"]
        assert not torch.equal(first, second)
        network.eval()
        assert torch.equal(network(stamps)["regression"], network(stamps)["regression"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_bands": 0}, "expected 1 or more"),
        ({"dropout": 1.0}, "from 0 to below 1"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_that_make_no_network_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ResNetSettings(**arguments)
