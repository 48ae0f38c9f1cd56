# ruff: noqa: E402
"""The compact network in Torch: each pixel of a map is its own window, and JAX says the same."""

import pathlib
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from starcensus.networks.cnn.compact import CompactNetwork
from starcensus.networks.cnn.mixture import mixture_outputs
from starcensus.networks.cnn.targets import Grid
from starcensus.networks.conv import ConvNetwork
from starcensus.networks.conv_files import read_network
from starcensus.networks.conv_settings import ConvSettings

pytestmark = pytest.mark.torch

HEADS = (*Grid().heads().items(), ("mixture", mixture_outputs(8)))
FULL = ConvSettings(("a", "b", "c"), (0.01, 0.02, 0.05), heads=HEADS)
THIN = ConvSettings(
    ("a", "b", "c"),
    (0.01, 0.02, 0.05),
    stages=(((5, 6),), ((3, 8), (3, 8)), ((3, 8), (3, 8), (3, 12))),
    heads=(("class", 2), ("visibility", 20)),
)


def trained_like(conv: ConvSettings, seed: int = 1) -> CompactNetwork:
    """A network whose heads are not at 0."""
    network = CompactNetwork(conv, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for values in network.parameters():
            if values.ndim == 2:
                values.normal_(0, 0.1, generator=generator)
            elif values.ndim == 1:
                values.normal_(0, 0.05, generator=generator)
    return network


def sky(conv: ConvSettings, n: int, shape: tuple[int, int], seed: int = 1) -> np.ndarray:
    """Noise on a level, with stars of a few hundred times the noise."""
    rng = np.random.default_rng(seed)
    scale = np.array(conv.flux_scale)[:, None, None]
    image = rng.normal(5, 1, (n, len(conv.bands), *shape))
    return (scale * (image + 300 * (rng.random(image.shape) > 0.995))).astype(np.float32)


def away(found: np.ndarray, expected: Any) -> float:
    """Largest difference, in the largest of the logits."""
    return float(np.abs(found - expected.numpy()).max() / np.abs(expected.numpy()).max())


def test_every_pixel_of_a_map_is_its_own_window():
    network = trained_like(THIN)
    image = sky(THIN, 1, (100, 100))
    windows = np.lib.stride_tricks.sliding_window_view(image[0], (64, 64), axis=(1, 2))
    stamps = torch.from_numpy(windows.transpose(1, 2, 0, 3, 4).reshape(-1, 3, 64, 64).copy())
    with torch.no_grad():
        maps = network.dense(torch.from_numpy(image))
        each = network(stamps)
    for name in maps:
        assert maps[name].shape[2:] == (37, 37) and maps[name].std() > 1e-2
        flat = maps[name][0].flatten(1).T
        torch.testing.assert_close(flat, each[name][:, :, 0, 0], rtol=0, atol=1e-5)


def test_a_window_is_all_that_an_output_depends_on():
    network = trained_like(THIN)
    image = torch.from_numpy(sky(THIN, 1, (64, 64)))
    gradient = torch.zeros(64, 64)
    for channel in range(22):
        inputs = image.clone().requires_grad_()
        logits = torch.cat([v.flatten() for v in network(inputs).values()])
        gradient += torch.autograd.grad(logits[channel], inputs)[0].abs().sum((0, 1))
    assert (gradient[[0, -1]] > 0).any() and (gradient[:, [0, -1]] > 0).any()
    assert network.settings.window_pix == 64


def test_jax_says_the_same_of_stamps_and_of_an_image(tmp_path: pathlib.Path):
    network = trained_like(FULL)
    network.export(tmp_path / "net.json", about={"grid": Grid().as_dict()})
    twin = ConvNetwork.load(tmp_path / "net.json")
    stamps, image = sky(FULL, 4, (64, 64)), sky(FULL, 1, (80, 75), 2)
    with torch.no_grad():
        expected = network(torch.from_numpy(stamps))
        maps = network.dense(torch.from_numpy(image))
    found = twin(stamps)
    assert set(found) == set(expected) == {name for name, _ in HEADS}
    for name, values in expected.items():
        assert values.std() > 0.1
        assert away(found[name], values[:, :, 0, 0]) < 1e-5
    dense = twin.dense(image[0], tile_pix=12)
    assert dense["class"].shape == (2, 17, 12)
    for name, values in dense.items():
        assert away(values, maps[name][0]) < 1e-5
    about = read_network(tmp_path / "net.json")[2]
    assert Grid.from_dict(about["grid"]) == Grid()


def test_the_file_has_the_arrays_that_the_definition_says(tmp_path: pathlib.Path):
    load_file = pytest.importorskip("safetensors.torch").load_file
    network = trained_like(FULL)
    network.export(tmp_path / "net.json")
    arrays = load_file(tmp_path / "net.safetensors")
    assert {n: tuple(a.shape) for n, a in arrays.items()} == FULL.shapes()
    assert torch.equal(arrays["stage_1.conv_1.bias"], network.stages[1][1].bias)
    again = CompactNetwork(FULL, seed=9).from_arrays(network.to_arrays())
    for own, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(own, other)


def test_it_is_as_large_as_the_definition_says():
    network = CompactNetwork(FULL)
    n = sum(values.numel() for values in network.parameters())
    assert n == FULL.n_parameters and 1.0e6 < n < 1.1e6


def test_channels_are_local_and_absolute():
    network = CompactNetwork(FULL)
    image = sky(FULL, 1, (64, 64))
    with torch.no_grad():
        channels = network.channels(torch.from_numpy(image))[0].numpy()
        brighter = network.channels(torch.from_numpy(3 * image))[0].numpy()
    box = image[0, 1, 10 : 10 + 25, 3 : 3 + 25].astype(float)
    sd = np.hypot(box.std(), 0.01 * 0.02)
    assert channels[1, 10, 3] == pytest.approx(
        np.arcsinh((box[12, 12] - box.mean()) / sd), abs=1e-5
    )
    assert channels[4, 10, 3] == pytest.approx(np.arcsinh(box[12, 12] / 0.02), abs=1e-5)
    # The floor keeps the first from being quite the same.
    np.testing.assert_allclose(brighter[:3], channels[:3], atol=1e-3)
    assert np.abs(brighter[3:] - channels[3:]).min() > 0.01


def test_a_seed_gives_a_network_and_leaves_the_generators_alone():
    before = torch.get_rng_state()
    first, again, other = (CompactNetwork(THIN, seed) for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    pairs = list(zip(first.parameters(), again.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not torch.equal(pairs[0][0], pairs[0][2])


@pytest.mark.slow
def test_a_bright_level_costs_no_more_than_digits():
    """The standard deviation of noise of 1 on a level of 1000 is good to a percent."""
    network = CompactNetwork(FULL)
    image = sky(FULL, 1, (64, 64))
    with torch.no_grad():
        low = network.channels(torch.from_numpy(image))[0, :3]
        high = network.channels(torch.from_numpy(image + np.float32(10)))[0, :3]
    torch.testing.assert_close(low, high, rtol=0, atol=1e-2)
