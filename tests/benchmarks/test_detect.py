"""The benchmark of maps beside a sliding window, and the convolutions that make maps fast."""

import dataclasses
import functools
import json
import pathlib
import time

import numpy as np
import pytest
from benchmarks.commands import bench_app
from benchmarks.detect import (
    BATCH,
    bench_detect,
    draw_windows,
    largest_difference,
    make_mosaic,
    rows_of_tiles,
    timed,
)
from typer.testing import CliRunner

from starcensus.networks import ConvNetwork, ConvSettings, conv_maps
from starcensus.networks.cnn.targets import Grid

# The last convolution is wide enough for the fast one of large maps.
WIDE = ConvSettings(
    ("U", "B", "I"),
    (0.02, 0.03, 0.05),
    stages=(((3, 4),), ((3, 64),), ((3, 16),)),
    box_pix=5,
    heads=(("size", 14), ("class", 2), ("visibility", 20)),
)


def made(conv: ConvSettings = WIDE, seed: int = 0) -> ConvNetwork:
    rng = np.random.default_rng(seed)
    return ConvNetwork(
        conv,
        {
            name: rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            for name, shape in conv.shapes().items()
        },
    )


def by_hand(network: ConvNetwork, window: np.ndarray, name: str) -> np.ndarray:
    """Logits of a head for one window, in double precision."""
    conv, arrays = network.settings, network.arrays
    margin, scale = conv.box_pix // 2, np.array(conv.flux_scale)[:, None, None]
    boxes = np.lib.stride_tricks.sliding_window_view(
        window.astype(float), (conv.box_pix, conv.box_pix), axis=(1, 2)
    )
    mean, variance = boxes.mean((3, 4)), boxes.var((3, 4))
    inner = window.astype(float)[:, margin:-margin, margin:-margin]
    local = (inner - mean) / np.sqrt(variance + (conv.sd_floor * scale) ** 2)
    h = np.arcsinh(np.concatenate([local, inner / scale]))
    for s, stage in enumerate(conv.stages):
        if s:
            c, y, x = h.shape
            h = h.reshape(c, y // 2, 2, x // 2, 2).max(axis=(2, 4))
        for k in range(len(stage)):
            w, b = (np.asarray(arrays[f"stage_{s}.conv_{k}.{kind}"]) for kind in ("weight", "bias"))
            patches = np.lib.stride_tricks.sliding_window_view(h, w.shape[2:], axis=(1, 2))
            h = np.maximum(np.einsum("cijyx,ocyx->oij", patches, w) + b[:, None, None], 0)
    w, b = (np.asarray(arrays[f"heads.{name}.{kind}"]) for kind in ("weight", "bias"))
    return w @ h[:, 0, 0] + b


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    path = tmp_path_factory.mktemp("networks") / "wide.json"
    made().save(path, about={"grid": Grid().as_dict()})
    return path


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pixels between the inputs of each fast convolution that is compiled."""
    apart: list[int] = []
    filtering = conv_maps._minimal_filtering

    def counted(h, weight, bias, step):
        apart.append(step)
        return filtering(h, weight, bias, step)

    monkeypatch.setattr(conv_maps, "_minimal_filtering", counted)
    return apart


@pytest.mark.parametrize(("stride", "size", "tile"), [(1, 145, 62), (4, 200, 256)])
def test_maps_by_the_fast_convolution_are_what_numpy_says_of_each_window(
    fast: list[int], stride: int, size: int, tile: int
):
    network = made()
    image = make_mosaic(WIDE, size, seed=3)
    side = WIDE.window_pix
    maps = network.dense(image, ("visibility",), stride=stride, tile_pix=tile)["visibility"]
    assert set(fast) == {4 // stride}
    ny, nx = network.map_shape(image.shape[1:], stride)
    # Of all phases of a square, and the last rows and columns among them.
    places = [(i, j) for i in (*range(0, ny, 7), ny - 1) for j in (*range(0, nx, 5), nx - 1)]
    largest, seen = np.nanmax(np.abs(maps)), 0
    for i, j in places:
        window = image[:, i * stride :, j * stride :][:, :side, :side]
        if np.isfinite(window).all():
            away = maps[:, i, j] - by_hand(network, window, "visibility")
            assert np.abs(away).max() < 1e-5 * largest
            seen += 1
        else:
            assert np.isnan(maps[:, i, j]).all()
    assert 20 < seen < len(places)


def test_stamps_and_narrow_layers_take_the_plain_convolution(fast: list[int]):
    # Of other numbers of channels than elsewhere, so that nothing is compiled yet.
    stages = (((3, 63),), ((3, 65), (3, 8)))
    conv = ConvSettings(("V",), (0.02,), stages=stages, box_pix=5, heads=(("class", 2),))
    made(conv)(np.zeros((300, 1, conv.window_pix, conv.window_pix)))
    assert fast == []
    narrow = dataclasses.replace(conv, stages=(((3, 63),), ((3, 63), (3, 8))))
    made(narrow).dense(np.zeros((1, 60, 60)), ("class",))
    assert fast == []


def test_the_line_has_what_was_measured(path: pathlib.Path):
    said: list[str] = []
    line = bench_detect(path, size=70, n_windows=300, stride=2, rounds=2, progress=said.append)
    assert said[-1] == "round 2 of 2"
    n_pixels = (70 - WIDE.window_pix + 1) ** 2
    assert line["n_windows"] == 2 * BATCH
    assert 0 < line["n_nan_windows"] < line["n_windows"]
    assert 0 < line["max_abs_difference"] < 1e-3
    assert line["strided_max_abs_difference"] < 1e-3
    assert line["ratio_sliding_window"] == pytest.approx(
        1e6 * line["megapixels_per_s"] / line["stamps_per_s"], rel=1e-3
    )
    assert line["ratio_sliding_window"] > 1
    assert line["seconds_4096"] == pytest.approx(
        (4096 - WIDE.window_pix + 1) ** 2 / line["megapixels_per_s"] / 1e6, rel=1e-3
    )
    n_strided = ((70 - WIDE.window_pix) // 2 + 1) ** 2
    assert line["strided_ratio_sliding_window"] == pytest.approx(
        n_strided
        / n_pixels
        * line["strided_megapixels_per_s"]
        / line["megapixels_per_s"]
        * line["ratio_sliding_window"],
        rel=1e-3,
    )
    assert 0.1 < line["peak_memory_gb"] < 100
    if not line["torch"]:
        assert not [name for name in line if name.startswith("torch_")]


def test_the_command_prints_one_line_of_json(path: pathlib.Path):
    words = ["detect", "--network", str(path), "--size", "60", "--windows", "1", "--rounds", "1"]
    done = CliRunner().invoke(bench_app, words, catch_exceptions=False)
    line = json.loads(done.stdout)
    assert line["benchmark"] == "detect" and line["network"] == "wide"
    assert line["size_pix"] == 60 and "stride" not in line


def test_torch_says_the_same(path: pathlib.Path):
    pytest.importorskip("torch")
    line = bench_detect(path, size=60, n_windows=1, rounds=1)
    assert line["torch"] is True
    assert 0 < line["torch_max_abs_difference"] < 1e-4
    assert line["torch_megapixels_per_s"] > 0 and line["torch_stamps_per_s"] > 0


def test_a_mosaic_is_noise_with_stars_and_a_gap():
    conv = ConvSettings(("V", "I"), (0.02, 3.0))
    mosaic = make_mosaic(conv, 300, seed=1)
    empty = np.isnan(mosaic).all(axis=(0, 1))
    assert (np.flatnonzero(empty) == np.arange(150, 158)).all()
    assert np.isfinite(mosaic[:, :, ~empty]).all()
    for band, scale in zip(mosaic[:, :, ~empty], conv.flux_scale, strict=True):
        middle = np.percentile(band, [16, 50, 84])
        assert np.diff(middle) == pytest.approx(scale, rel=0.15)
        assert band.max() > 50 * scale
    assert (make_mosaic(conv, 300, seed=1) == mosaic)[:, :, ~empty].all()
    assert (make_mosaic(conv, 300, seed=2) != mosaic)[:, :, ~empty].all()


def test_windows_are_cut_where_they_say():
    network, mosaic = made(), make_mosaic(WIDE, 80, seed=0)
    windows = draw_windows(network, mosaic, 5, seed=2)
    side = WIDE.window_pix
    assert windows.stamps.shape == (BATCH, 3, side, side)
    for k in range(0, BATCH, 50):
        y, x = windows.y[k], windows.x[k]
        expected = mosaic[:, y : y + side, x : x + side]
        np.testing.assert_array_equal(windows.stamps[k], expected)
    assert {windows.y.min(), windows.x.min()} == {0}
    assert {windows.y.max(), windows.x.max()} == {80 - side}


def test_rows_of_tiles_cover_the_map():
    network, mosaic = made(), np.arange(600.0)[None, :, None] * np.ones((3, 1, 70))
    rows, n_pixels = rows_of_tiles(network, mosaic)
    side = WIDE.window_pix
    # 579 rows of a map, in tiles of at most 256.
    assert [row.shape for row in rows] == 3 * [(3, 193 + side - 1, 70)]
    assert [row[0, 0, 0] for row in rows] == [0, 193, 386]
    assert n_pixels == 579 * (70 - side + 1)
    # 580 are no multiple of 3.
    rows, n_pixels = rows_of_tiles(network, np.pad(mosaic, ((0, 0), (0, 1), (0, 0))))
    assert [row[0, 0, 0] for row in rows] == [0, 194, 386]
    assert n_pixels == 582 * (70 - side + 1)


def test_a_difference_is_the_largest_of_both_maps_and_infinite_beside_a_hole():
    a, b = np.array([0.5, np.nan]), np.array([2.0, 3.0])
    assert largest_difference((a, b), (a, b + np.array([0, 0.25]))) == 0.25
    assert largest_difference((a, b), (a + 0.5, b)) == 0.5
    assert largest_difference((a, b), (np.nan_to_num(a), b)) == np.inf


def test_parts_of_jobs_are_timed_in_turn():
    order: list[str] = []

    def job(name: str, seconds: float) -> None:
        order.append(name)
        time.sleep(seconds)

    jobs = {
        name: [functools.partial(job, name, seconds)] * n
        for name, n, seconds in (("a", 4, 0.01), ("b", 2, 0.05))
    }
    wall, cpu = timed(jobs, 2, lambda _: None)
    assert order == 2 * ["a", "b", "a", "a", "b", "a"]
    assert wall["a"] >= 0.04 and wall["b"] >= 0.1
    # Sleep takes no time of the processor.
    assert max(cpu.values()) < 0.04


def test_what_cannot_be_measured_is_refused(path: pathlib.Path, tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match="size is 40; expected 44 or more"):
        bench_detect(path, size=40)
    made().save(tmp_path / "bare.json")
    with pytest.raises(ValueError, match="nothing of its bins"):
        bench_detect(tmp_path / "bare.json", size=60)
    blind = ConvSettings(("V",), (0.02,), stages=(((3, 4),),), box_pix=5, heads=(("class", 2),))
    made(blind).save(tmp_path / "blind.json")
    with pytest.raises(ValueError, match="no head 'visibility'"):
        bench_detect(tmp_path / "blind.json", size=60)
