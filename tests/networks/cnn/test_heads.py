# ruff: noqa: E402
"""Heads and losses: what is uniform, what is masked, and what a density is worth."""

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from starcensus.networks.cnn.compact import CompactNetwork
from starcensus.networks.cnn.heads import Heads, mixture_log_density
from starcensus.networks.cnn.losses import cross_entropy, head_losses, of_stamps, smooth_l1
from starcensus.networks.cnn.mixture import Mixtures, mixture_outputs
from starcensus.networks.cnn.resnet import ResNet, ResNetSettings
from starcensus.networks.cnn.targets import Grid, make_targets
from starcensus.networks.conv_settings import ConvSettings

pytestmark = pytest.mark.torch

GRID = Grid()
SIZES = {**GRID.heads(), "mixture": mixture_outputs(3)}
CONV = ConvSettings(
    ("V",), (1.0,), stages=(((3, 4),), ((3, 8),)), box_pix=5, heads=tuple(SIZES.items())
)


def targets(is_cluster: np.ndarray, **changed: np.ndarray) -> dict:
    n = len(is_cluster)
    rng = np.random.default_rng(0)
    truths = {
        "log_age": rng.uniform(6.6, 10.1, n),
        "a_v": rng.uniform(0, 3, n),
        "log_mass": rng.uniform(3.5, 5.5, n),
        "log_r_eff_pc": rng.uniform(0, 0.9, n),
        "visibility": 10 ** rng.uniform(-1, 3, n),
    }
    made = make_targets(GRID, is_cluster, **(truths | changed))
    return {name: torch.as_tensor(values) for name, values in made.items()}


def images(n: int, side: int = 12, bands: int = 1) -> Any:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(n, bands, side, side))).float()


def wake(network: Any) -> None:
    """Heads that are at 0 give the trunk no gradient."""
    generator = torch.Generator().manual_seed(0)
    for layer in network.heads.layers.values():
        layer.weight.data.normal_(0, 0.1, generator=generator)


@pytest.mark.parametrize("kind", ["compact", "B"])
def test_an_untrained_network_says_that_all_bins_are_alike(kind: str):
    if kind == "compact":
        network, stamps = CompactNetwork(CONV), images(6)
    else:
        network, stamps = ResNet(ResNetSettings("B")).eval(), images(6, 64, 3)
    with torch.no_grad():
        total, each = head_losses(network(stamps), targets(np.arange(6) < 4), GRID)
    expected = {"joint": np.log(2800), "size": np.log(14), "class": np.log(2)}
    expected["visibility"] = np.log(20)
    for name, value in expected.items():
        assert float(each[name]) == pytest.approx(value, abs=1e-5)
    softmax = sum(float(each[name]) for name in expected)
    assert softmax == pytest.approx(14.27, abs=5e-3)
    assert float(total) == pytest.approx(softmax + float(each.get("mixture", 0.0)), abs=1e-4)


def gradients(network: Any, stamps, made) -> dict[str, float]:
    network.zero_grad()
    head_losses(network(stamps), made, GRID)[0].backward()
    return {
        name: max(float(p.grad.abs().max()) for p in layer.parameters())
        for name, layer in network.heads.layers.items()
    }


def test_backgrounds_train_class_and_visibility_alone():
    network, stamps = CompactNetwork(CONV), images(4)
    wake(network)
    found = gradients(network, stamps, targets(np.zeros(4, bool)))
    assert found["joint"] == found["size"] == found["mixture"] == 0.0
    assert found["class"] > 0 and found["visibility"] > 0
    found = gradients(network, stamps, targets(np.ones(4, bool)))
    assert min(found.values()) > 0


def test_what_backgrounds_have_for_parameters_changes_nothing():
    network: Any = CompactNetwork(CONV)
    stamps = images(4)
    wake(network)
    made = targets(np.array([True, False, True, False]))
    network.zero_grad()
    head_losses(network(stamps), made, GRID)[0].backward()
    before = [p.grad.clone() for p in network.parameters()]
    for name in ("joint", "size", "continuous"):
        made[name][1::2] = torch.nan
    network.zero_grad()
    head_losses(network(stamps), made, GRID)[0].backward()
    assert all(torch.equal(p.grad, g) for p, g in zip(network.parameters(), before, strict=True))


def test_a_trunk_learns_of_parameters_from_clusters_alone():
    network, stamps = CompactNetwork(CONV), images(4)
    wake(network)
    made = targets(np.array([True, False, True, False]))
    stamps.requires_grad_()
    _, each = head_losses(network(stamps), made, GRID)
    for name in ("joint", "size", "mixture"):
        (gradient,) = torch.autograd.grad(each[name], stamps, retain_graph=True)
        assert (gradient[1::2] == 0).all() and (gradient[::2] != 0).any()


def test_losses_are_means_over_the_rows_that_count():
    logits, target = torch.randn(5, 7), torch.rand(5, 7)
    rows = torch.tensor([True, False, True, True, False])
    found = cross_entropy(logits, target, rows)
    z = logits.double().numpy()
    log_p = z - np.log(np.exp(z).sum(1, keepdims=True))
    by_hand = -(target.numpy() * log_p).sum(1)[rows.numpy()].mean()
    assert float(found) == pytest.approx(by_hand, rel=1e-6)
    assert float(cross_entropy(logits, target, torch.zeros(5, dtype=torch.bool))) == 0


def test_smooth_l1_is_the_thesis_s():
    zero = torch.zeros(1, 1)
    for x, value, slope in [(0.5, 0.125, 0.5), (1.0, 0.5, 1.0), (3.0, 2.5, 1.0), (-3.0, 2.5, -1.0)]:
        at = torch.tensor([[x]], requires_grad=True)
        loss = smooth_l1(at, zero)
        loss.backward()
        assert loss.item() == pytest.approx(value) and at.grad.item() == pytest.approx(slope)
    assert float(smooth_l1(torch.ones(2, 3), torch.zeros(2, 3))) == pytest.approx(1.5)


def test_regression_is_trained_by_clusters_alone():
    network: Any = Heads(4, {"regression": 3})
    features = torch.randn(4, 4)
    rows = torch.tensor([True, False, False, True])
    truths = torch.randn(4, 3)
    truths[1:3] = torch.nan
    made = {"regression": truths, "is_cluster": rows}
    head_losses(network(features), made, GRID)[0].backward()
    gradient = network.layers["regression"].weight.grad.clone()
    network.zero_grad()
    only = {"regression": truths[rows], "is_cluster": rows[rows]}
    head_losses(network(features[rows]), only, GRID)[0].backward()
    torch.testing.assert_close(gradient, network.layers["regression"].weight.grad)


def test_heads_of_maps_are_those_of_each_place():
    heads = Heads(5, SIZES)
    for layer in heads.layers.values():
        torch.nn.init.normal_(layer.weight)
    maps = torch.randn(2, 5, 3, 4)
    found = heads(maps)
    for name, values in heads(maps.permute(0, 2, 3, 1).reshape(-1, 5)).items():
        there = found[name].permute(0, 2, 3, 1).reshape(values.shape)
        torch.testing.assert_close(there, values, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="are a map"):
        of_stamps(found["class"])


def test_weights_of_heads_count_in_the_sum():
    made = targets(np.ones(3, bool))
    logits = {name: torch.randn(3, n) for name, n in GRID.heads().items()}
    total, each = head_losses(logits, made, GRID, {"joint": 0.5, "class": 0.0})
    expected = 0.5 * each["joint"] + each["size"] + each["visibility"]
    assert float(total) == pytest.approx(float(expected))


def test_a_mixture_is_the_same_in_torch_and_without():
    rng = np.random.default_rng(3)
    outputs = 3 * rng.normal(size=(50, mixture_outputs(2)))
    low, high = (np.array([getattr(a, end) for a in GRID.continuous]) for end in ("low", "high"))
    theta = low + (high - low) * np.clip(rng.uniform(-0.1, 1.1, (50, 4)), 0, 1)
    found = mixture_log_density(
        torch.from_numpy(outputs).float(), torch.from_numpy(theta).float(), GRID
    )
    expected = Mixtures.of_outputs(outputs, GRID).log_density(theta)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_components_of_a_mixture_begin_apart_and_wild_outputs_stay_finite():
    network = CompactNetwork(CONV)
    with torch.no_grad():
        mixture = of_stamps(network(images(2))["mixture"]).reshape(2, 3, 15)
    assert (mixture[0, 0, 1:5] - mixture[0, 1, 1:5]).abs().max() > 0.1
    wild = (1e3 * torch.randn(4, mixture_outputs(8))).requires_grad_()
    value = mixture_log_density(wild, torch.tensor([[7.0, 1.0, 4.0, 0.5]]).expand(4, 4), GRID)
    value.sum().backward()
    assert torch.isfinite(value).all() and torch.isfinite(wild.grad).all()
