"""The convolutional network in JAX against NumPy, window by window."""

import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.networks.conv import ConvNetwork
from starcensus.networks.conv_files import read_network
from starcensus.networks.conv_settings import ConvSettings

HEADS = (("joint", 12), ("class", 2), ("visibility", 3))
SMALL = ConvSettings(
    ("V", "I"),
    (0.02, 0.05),
    stages=(((3, 4),), ((3, 6),), ((2, 5), (1, 6))),
    box_pix=5,
    heads=HEADS,
)


def random_arrays(conv: ConvSettings, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 1 / np.sqrt(np.prod(shape[1:])), shape)
        for name, shape in conv.shapes().items()
    }


def sky(conv: ConvSettings, shape: tuple[int, int], seed: int = 1) -> np.ndarray:
    """Noise with a few bright pixels, on a level of twenty times the noise."""
    rng = np.random.default_rng(seed)
    scale = np.array(conv.flux_scale)[:, None, None]
    image = rng.normal(20, 1, (len(conv.bands), *shape))
    return scale * (image + 300 * (rng.random(image.shape) > 0.99))


def by_hand(
    conv: ConvSettings, arrays: dict[str, np.ndarray], window: np.ndarray
) -> dict[str, np.ndarray]:
    """Logits of one window in double precision, a pixel or an output at a time."""
    margin = conv.box_pix // 2
    inner = range(margin, window.shape[1] - margin)
    planes = []
    for kind in ("local", "flux"):
        for band, scale in zip(window, conv.flux_scale, strict=True):
            plane = np.empty((len(inner), len(inner)))
            for i in inner:
                for j in inner:
                    box = band[i - margin : i + margin + 1, j - margin : j + margin + 1]
                    sd = np.sqrt(box.var() + (conv.sd_floor * scale) ** 2)
                    value = (
                        (band[i, j] - box.mean()) / sd if kind == "local" else band[i, j] / scale
                    )
                    plane[i - margin, j - margin] = np.arcsinh(value)
            planes.append(plane)
    h = np.stack(planes)
    for s, stage in enumerate(conv.stages):
        if s:
            c, y, x = h.shape
            h = h.reshape(c, y // 2, 2, x // 2, 2).max(axis=(2, 4))
        for k in range(len(stage)):
            w, b = (arrays[f"stage_{s}.conv_{k}.{kind}"] for kind in ("weight", "bias"))
            patches = np.lib.stride_tricks.sliding_window_view(h, w.shape[2:], axis=(1, 2))
            h = np.maximum(np.einsum("cijyx,ocyx->oij", patches, w) + b[:, None, None], 0)
    assert h.shape[1:] == (1, 1)
    return {
        name: arrays[f"heads.{name}.weight"] @ h[:, 0, 0] + arrays[f"heads.{name}.bias"]
        for name, _ in conv.heads
    }


@pytest.fixture(scope="module")
def network() -> ConvNetwork:
    return ConvNetwork(SMALL, random_arrays(SMALL))


def test_the_default_is_as_large_as_it_says():
    conv = ConvSettings(("a", "b", "c"), (1.0, 1.0, 1.0))
    assert (conv.field_pix, conv.window_pix, conv.stride) == (40, 64, 4)
    assert conv.centre_pix == 31.5
    assert conv.n_parameters == sum(
        n_out * (n_in * k * k + 1)
        for n_in, n_out, k in [
            (6, 32, 5), (32, 64, 3), (64, 64, 3), (64, 128, 3), (128, 128, 3), (128, 192, 3),
            (192, 2836, 1),
        ]
    )  # fmt: skip
    assert 1.0e6 < conv.n_parameters < 1.1e6
    sides = [(36, 6 * 32 * 25), (16, 32 * 64 * 9), (14, 64 * 64 * 9), (5, 64 * 128 * 9)]
    sides += [(3, 128 * 128 * 9), (1, 128 * 192 * 9), (1, 192 * 2836)]
    assert conv.macs() == sum(side**2 * n for side, n in sides)
    # Operations, of which a multiplication and an addition are two.
    assert 2 * conv.macs() < 60e6


def test_a_stamp_is_what_numpy_says(network: ConvNetwork):
    side = SMALL.window_pix
    stamps = np.stack([sky(SMALL, (side, side), seed) for seed in range(3)])
    found = network(stamps)
    for i, stamp in enumerate(stamps):
        expected = by_hand(SMALL, random_arrays(SMALL), stamp)
        for name, _ in HEADS:
            np.testing.assert_allclose(found[name][i], expected[name], rtol=0, atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_a_map_is_what_numpy_says_of_each_window(network: ConvNetwork, stride: int):
    image = sky(SMALL, (36, 31))
    side = SMALL.window_pix
    maps = network.dense(image, ("class", "visibility"), stride=stride)
    ny, nx = network.map_shape((36, 31), stride)
    assert maps["class"].shape == (2, ny, nx) and maps["visibility"].shape == (3, ny, nx)
    for i in range(0, ny, 3):
        for j in range(0, nx, 2):
            window = image[:, i * stride : i * stride + side, j * stride : j * stride + side]
            expected = by_hand(SMALL, random_arrays(SMALL), window)
            for name in maps:
                np.testing.assert_allclose(maps[name][:, i, j], expected[name], rtol=0, atol=2e-5)


def test_a_map_of_a_larger_image_is_that_of_every_window():
    conv = ConvSettings(
        ("V",), (0.02,), stages=(((5, 4),), ((3, 6), (3, 6)), ((3, 8), (3, 8), (3, 8))), heads=HEADS
    )
    assert conv.window_pix == 64
    network = ConvNetwork(conv, random_arrays(conv))
    image = sky(conv, (100, 100))
    windows = np.lib.stride_tricks.sliding_window_view(image, (64, 64), axis=(1, 2))
    each = network(np.ascontiguousarray(windows.transpose(1, 2, 0, 3, 4).reshape(-1, 1, 64, 64)))
    maps = network.dense(image)
    assert maps["class"].shape == (2, 37, 37)
    for name, values in maps.items():
        np.testing.assert_allclose(values.reshape(len(values), -1).T, each[name], atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_tiles_do_not_show(network: ConvNetwork, stride: int):
    image = sky(SMALL, (53, 70))
    whole = network.dense(image, stride=stride, tile_pix=512)
    tiled = network.dense(image, stride=stride, tile_pix=10)
    for name in whole:
        np.testing.assert_allclose(tiled[name], whole[name], atol=2e-5)


def test_places_of_a_map_have_all_heads(network: ConvNetwork):
    image = sky(SMALL, (50, 41))
    maps = network.dense(image, ("joint", "class"))
    y, x = np.array([0, 7, 29]), np.array([20, 3, 11])
    found = network.at(image, y, x)
    assert set(found) == {name for name, _ in HEADS}
    for name in maps:
        np.testing.assert_allclose(found[name], maps[name][:, y, x].T, atol=2e-5)
    with pytest.raises(ValueError, match="outside the map"):
        network.at(image, np.array([50]), np.array([0]))


def test_a_window_with_a_hole_is_nan_and_no_other_is_changed(network: ConvNetwork):
    image = sky(SMALL, (60, 50))
    holed = image.copy()
    holed[1, 30, 20] = np.nan
    holed[0, 5, 45] = np.inf
    maps, before = network.dense(holed, tile_pix=16), network.dense(image, tile_pix=16)
    bad = ~np.isfinite(holed).all(0)
    windows = np.lib.stride_tricks.sliding_window_view(bad, (SMALL.window_pix,) * 2)
    expected = windows.any(axis=(2, 3))
    assert 0 < expected.sum() < expected.size
    for name in maps:
        assert (np.isnan(maps[name]) == expected).all()
        np.testing.assert_allclose(maps[name][:, ~expected], before[name][:, ~expected], atol=2e-5)


def test_an_empty_tile_is_nan_and_costs_nothing(network: ConvNetwork, monkeypatch):
    image = sky(SMALL, (120, 30))
    image[:, 50:] = np.nan
    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return tile_maps(*arguments)

    from starcensus.networks import conv

    tile_maps = conv.tile_maps
    monkeypatch.setattr(conv, "tile_maps", counted)
    maps = network.dense(image, tile_pix=20)
    n_rows = image.shape[1] - SMALL.window_pix + 1
    assert np.isnan(maps["class"][:, 51 - SMALL.window_pix :]).all()
    assert np.isfinite(maps["class"][:, : 51 - SMALL.window_pix]).all()
    # One call finds the shapes.
    assert len(calls) - 1 < n_rows // 20


def probability(logits: dict[str, jax.Array]) -> dict[str, jax.Array]:
    return {"cluster": jax.nn.softmax(logits["class"], axis=0)[1:]}


def test_what_is_made_of_a_tile_is_kept(network: ConvNetwork):
    image = sky(SMALL, (50, 41))
    maps = network.dense(image, ("class",), reduce=probability, tile_pix=12)
    logits = network.dense(image, ("class",))["class"].astype(float)
    assert list(maps) == ["cluster"]
    np.testing.assert_allclose(
        maps["cluster"][0], 1 / (1 + np.exp(logits[0] - logits[1])), atol=1e-5
    )


def test_one_program_serves_all_tiles_and_numbers_of_stamps(network: ConvNetwork):
    from starcensus.networks.conv_maps import maps_of, tile_maps

    image = sky(SMALL, (90, 90), 3)
    before = tile_maps._cache_size()
    network.dense(image, tile_pix=24)
    assert tile_maps._cache_size() <= before + 1
    stamps = np.zeros((300, 2, SMALL.window_pix, SMALL.window_pix))
    before = maps_of._cache_size()
    network(stamps)
    network(stamps[:290])
    assert maps_of._cache_size() <= before + 1


def test_a_constant_sky_is_finite(network: ConvNetwork):
    flat = np.full((1, 2, SMALL.window_pix, SMALL.window_pix), 0.3)
    assert all(np.isfinite(values).all() for values in network(flat).values())


def test_no_stamps_give_no_logits(network: ConvNetwork):
    found = network(np.zeros((0, 2, SMALL.window_pix, SMALL.window_pix)))
    assert found["joint"].shape == (0, 12)


def test_a_file_is_read_as_it_was_written(network: ConvNetwork, tmp_path: pathlib.Path):
    network.save(tmp_path / "net.json", about={"galaxy": "M83"})
    again = ConvNetwork.load(tmp_path / "net.json")
    assert again.settings == network.settings
    assert all((again.arrays[n] == network.arrays[n]).all() for n in network.arrays)
    assert read_network(tmp_path / "net.json")[2] == {"galaxy": "M83"}
    definition = json.loads((tmp_path / "net.json").read_text())
    assert definition["weights"] == "net.safetensors"
    assert definition["network"]["box_pix"] == 5


def test_files_that_do_not_belong_together_are_refused(network: ConvNetwork, tmp_path):
    network.save(tmp_path / "net.json")
    other = ConvNetwork(SMALL, random_arrays(SMALL, 7))
    other.save(tmp_path / "other.json")
    (tmp_path / "other.safetensors").replace(tmp_path / "net.safetensors")
    with pytest.raises(FileError, match="not the file that it was written with"):
        ConvNetwork.load(tmp_path / "net.json")
    with pytest.raises(FileError, match="no such"):
        ConvNetwork.load(tmp_path / "other.json")
    (tmp_path / "net.json").write_text('{"kind": "another"}')
    with pytest.raises(FileError, match="no definition of a network"):
        ConvNetwork.load(tmp_path / "net.json")


def test_a_definition_that_is_changed_is_refused(network: ConvNetwork, tmp_path):
    network.save(tmp_path / "net.json")
    for change, message in (
        ({"box_pix": 4}, "odd number"),
        ({"box_pix": "5"}, "expected a number"),
        ({"stages": [[[3, 4]]]}, "missing|shape"),
        ({"depth": 3}, "the definition has"),
    ):
        definition = json.loads((tmp_path / "net.json").read_text())
        definition["network"] |= change
        (tmp_path / "bad.json").write_text(json.dumps(definition))
        with pytest.raises(FileError, match=message):
            ConvNetwork.load(tmp_path / "bad.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": ()}, "one or more, all different"),
        ({"bands": ("V", "V")}, "all different"),
        ({"flux_scale": (0.1,)}, "each of the 2 bands"),
        ({"flux_scale": (0.1, 0.0)}, "a positive flux"),
        ({"stages": ()}, "one or more in each"),
        ({"stages": (((0, 3),),)}, "all 1 or more"),
        ({"box_pix": 24}, "an odd number"),
        ({"sd_floor": 0.0}, "a positive number"),
        ({"heads": ()}, "names, all different"),
    ],
)
def test_settings_that_make_no_network_are_refused(change, message):
    good = {"bands": ("V", "I"), "flux_scale": (0.1, 0.2)}
    with pytest.raises(ValueError, match=message):
        ConvSettings(**(good | change))


def test_arguments_that_do_not_fit_are_refused(network: ConvNetwork):
    image = sky(SMALL, (50, 41))
    with pytest.raises(ValueError, match=r"array 'heads\.class\.bias' is missing"):
        ConvNetwork(SMALL, {n: a for n, a in network.arrays.items() if n != "heads.class.bias"})
    with pytest.raises(ValueError, match="has the shape"):
        ConvNetwork(SMALL, {**network.arrays, "heads.class.bias": np.zeros(3)})
    with pytest.raises(ValueError, match="stamps are"):
        network(np.zeros((1, 2, 9, 9)))
    with pytest.raises(ValueError, match="1 bands; expected 2"):
        network.dense(image[:1])
    with pytest.raises(ValueError, match="expected some of joint"):
        network.dense(image, ("age",))
    with pytest.raises(ValueError, match="power of 2 up to 4"):
        network.dense(image, stride=3)
    with pytest.raises(ValueError, match="or more on each side"):
        network.dense(image[:, :10])


@pytest.mark.slow
def test_memory_is_that_of_a_tile():
    code = (
        "import resource, numpy as np\n"
        "from starcensus.networks.conv import ConvNetwork\n"
        "from starcensus.networks.conv_settings import ConvSettings\n"
        "def peak():\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "c = ConvSettings(('V',), (1.0,))\n"
        "n = ConvNetwork(c, {k: np.zeros(s) for k, s in c.shapes().items()})\n"
        "n.dense(np.zeros((1, 575, 575), np.float32), ('class',), stride=4)\n"
        "before = peak()\n"
        "n.dense(np.zeros((1, 3063, 3063), np.float32), ('class',), stride=4)\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The first layer alone would have 1.2 GB of the whole image.
    assert int(done.stdout) < 200_000


@pytest.mark.parametrize("stride", [1, 2])
def test_squares_about_places_are_cut_out_of_the_map(stride):
    network = ConvNetwork(SMALL, random_arrays(SMALL))
    image = sky(SMALL, (34, 41))
    image[:, 20, 30] = np.nan
    whole = network.dense(image, ("class", "joint"), stride=stride)
    ny, nx = whole["class"].shape[1:]
    y, x = np.array([0, ny // 2, ny - 1, 3]), np.array([nx - 1, nx // 2, 0, 2])
    for name in ("class", "joint"):
        padded = np.pad(whole[name], ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
        seen = 0
        for part, said in network.around(image, y, x, 1, (name,), stride):
            for k, (row, col) in enumerate(zip(y[part], x[part], strict=True)):
                expected = padded[:, row : row + 3, col : col + 3]
                np.testing.assert_allclose(said[name][k], expected, rtol=2e-3, atol=2e-3)
                seen += 1
        assert seen == 4
    with pytest.raises(ValueError, match="a place lies outside the map"):
        next(network.around(image, np.array([ny]), np.array([0]), 1, ("class",), stride))
