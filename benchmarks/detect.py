"""How fast a network maps a mosaic, beside the same network at one window after another.

Dense inference is what finds clusters; a sliding window evaluates the same two heads at windows of
the same mosaic, in batches that are cut out beforehand. All is compiled and run once, and then
timed in turn, a row of tiles and a few batches at a time, so that what else the machine does hits
all alike. Rates count the pixels of a map: those whose window lies inside the mosaic.
"""

import contextlib
import dataclasses
import functools
import importlib
import pathlib
import resource
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from benchmarks.fit import Clock, Result, _machine, _rounded
from starcensus.networks import ConvNetwork, ConvSettings, read_network, shipped_network
from starcensus.networks.cnn.decoding import decode, softmax
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder.maps import FinderMaps, FinderSettings, finder_maps

# Windows that a network is given at once.
BATCH = 256
_HEADS = ("class", "visibility")
_LARGE_PIX = 4096
_GAP_PIX = 8
_PIXELS_PER_STAR = 1000
_STAR_PIX = 8

# By name, the parts of each job.
type Jobs = dict[str, list[Callable[[], object]]]
# Probability of a cluster, and log10 of the visibility, which spans decades.
type Answers = tuple[np.ndarray, np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Windows:
    """Windows of a mosaic: the first row and column of each, and its pixels."""

    y: Int[np.ndarray, "n"]
    x: Int[np.ndarray, "n"]
    stamps: Float[np.ndarray, "n band side side"]

    def batches(self) -> list[Float[np.ndarray, "batch band side side"]]:
        return [self.stamps[first : first + BATCH] for first in range(0, len(self.y), BATCH)]


def bench_detect(
    path: pathlib.Path | None = None,
    size: int = 1024,
    n_windows: int = 2000,
    stride: int = 1,
    rounds: int = 3,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Result:
    """Pixels a second and windows a second of one network on one mosaic.

    **Arguments:**

    - `path`: definition of a network; without it, of the one that the package carries.
    - `size`: rows and columns of the mosaic.
    - `n_windows`: of the sliding window; rounded up to whole batches.
    - `stride`: where it is not 1, maps of this stride are timed too, in keys `strided_…`; their
      ratio is to a sliding window of the same stride.
    - `rounds`: how often each is timed.

    `ratio_sliding_window` is the time of a window over that of a pixel of the map of stride 1.
    `max_abs_difference` is the largest, of the probability of a cluster and of the log10 of the
    visibility, between that map and the windows' own answers, which NumPy decodes. `peak_memory_gb`
    is that of the process until the first map is there. With Torch, or a GPU, keys `torch_…` (of
    one tile) and `gpu_…` follow, with the largest difference from JAX on the CPU.

    Raises `ValueError` for a network without the heads or the bins, and a mosaic narrower than two
    windows.
    """
    path = path or shipped_network()
    network, grid = _network(path)
    if size < 2 * network.settings.window_pix:
        raise ValueError(
            f"size is {size}; expected {2 * network.settings.window_pix} or more, two windows"
        )
    progress("the mosaic")
    mosaic = make_mosaic(network.settings, size, seed)

    def dense(image: Float[np.ndarray, "band y x"] = mosaic, step: int = 1) -> FinderMaps:
        return finder_maps(network, grid, image, FinderSettings(stride=step))

    away: dict[str, float] = {}
    # With a GPU, JAX would take that.
    with jax.default_device(jax.devices("cpu")[0]):
        progress("a first map")
        maps = dense()
        peak_memory_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        progress("first windows")
        windows = draw_windows(network, mosaic, n_windows, seed + 1)
        alone = _decoded(network(windows.stamps), grid)
        away["windows"] = largest_difference(_at(maps, windows), alone)
        rows, n_pixels = rows_of_tiles(network, mosaic)
        jobs: Jobs = {
            "dense": [functools.partial(dense, row) for row in rows],
            "windows": [functools.partial(network, batch) for batch in windows.batches()],
        }
        if stride > 1:
            away["strided"] = largest_difference(_all(dense(step=stride)), _all(maps, stride))
            jobs["strided"] = [functools.partial(dense, step=stride)]
        if twin := _Twin.of(network, mosaic):
            progress("Torch")
            away["torch"] = max(
                largest_difference(_decoded(twin.at(windows.stamps), grid), alone),
                largest_difference(_decoded(twin.tile(), grid), twin.part_of(maps)),
            )
            jobs["torch_windows"] = [functools.partial(twin.at, windows.stamps[:BATCH])]
            jobs["torch_tile"] = [twin.tile]
        wall, cpu = timed(jobs, rounds, progress)
    n, large = len(windows.y), _pixels(network, _LARGE_PIX)
    found: Result = {
        "benchmark": "detect",
        "network": path.stem,
        "n_bands": len(network.settings.bands),
        "size_pix": size,
        "n_windows": n,
        "n_nan_windows": int(np.isnan(alone[0]).sum()),
        "rounds": rounds,
        **_machine(),
        "ratio_sliding_window": wall["windows"] / n / (wall["dense"] / n_pixels),
        "ratio_sliding_window_cpu": cpu["windows"] / n / (cpu["dense"] / n_pixels),
        "max_abs_difference": away["windows"],
        "megapixels_per_s": n_pixels / wall["dense"] / 1e6,
        "megapixels_per_cpu_s": n_pixels / cpu["dense"] / 1e6,
        "stamps_per_s": n / wall["windows"],
        "seconds_4096": wall["dense"] * large / n_pixels,
        "peak_memory_gb": peak_memory_gb,
        "torch": twin is not None,
    }
    if stride > 1:
        per_pixel = wall["strided"] / _pixels(network, size)
        per_window = wall["strided"] / _pixels(network, size, stride)
        found |= {
            "stride": stride,
            "strided_ratio_sliding_window": wall["windows"] / n / per_window,
            "strided_max_abs_difference": away["strided"],
            "strided_megapixels_per_s": 1e-6 / per_pixel,
            "strided_seconds_4096": per_pixel * large,
        }
    if twin:
        found |= {
            "torch_threads": twin.torch.get_num_threads(),
            "torch_megapixels_per_s": twin.n_pixels / wall["torch_tile"] / 1e6,
            "torch_stamps_per_s": BATCH / wall["torch_windows"],
            "torch_max_abs_difference": away["torch"],
        }
    if gpu := _gpu():
        progress("the GPU")
        with jax.default_device(gpu):
            away["gpu"] = largest_difference(_at(dense(), windows), alone)
            network(windows.stamps[:BATCH])
            wall, _ = timed({k: jobs[k] for k in ("dense", "windows")}, rounds, progress)
        found |= {
            "gpu": gpu.device_kind,
            "gpu_ratio_sliding_window": wall["windows"] / n / (wall["dense"] / n_pixels),
            "gpu_megapixels_per_s": n_pixels / wall["dense"] / 1e6,
            "gpu_stamps_per_s": n / wall["windows"],
            "gpu_seconds_4096": wall["dense"] * large / n_pixels,
            "gpu_max_abs_difference": away["gpu"],
        }
    return _rounded(found)


def make_mosaic(conv: ConvSettings, size: int, seed: int) -> Float[np.ndarray, "band y x"]:
    """Noise of `flux_scale`, round stars of 10 to 10,000 times that, and columns without numbers.

    ```python
    make_mosaic(ConvSettings(("V",), (0.02,)), 100, seed=0).shape  # (1, 100, 100)
    ```
    """
    rng = np.random.default_rng(seed)
    mosaic = rng.standard_normal((len(conv.bands), size, size), np.float32)
    n = max(size**2 // _PIXELS_PER_STAR, 1)
    width = 2 * _STAR_PIX + 1
    flux = 10.0 ** rng.uniform(1, 4, n)
    colour = 10.0 ** rng.normal(0, 0.2, (n, len(conv.bands)))
    for (y, x), sigma, fluxes in zip(
        rng.uniform(0, size, (n, 2)), rng.uniform(0.8, 2.5, n), flux[:, None] * colour, strict=True
    ):
        # Within the mosaic, so that a small one has whole stars.
        row, col = (int(np.clip(v - _STAR_PIX, 0, max(size - width, 0))) for v in (y, x))
        down, across = (
            np.exp(-0.5 * ((np.arange(first, min(first + width, size)) - v) / sigma) ** 2)
            for first, v in ((row, y), (col, x))
        )
        star = np.outer(down, across) / (2 * np.pi * sigma**2)
        into = mosaic[:, row : row + width, col : col + width]
        into += (fluxes[:, None, None] * star).astype(np.float32)
    mosaic *= np.asarray(conv.flux_scale, np.float32)[:, None, None]
    mosaic[:, :, size // 2 : size // 2 + _GAP_PIX] = np.nan
    return mosaic


def draw_windows(
    network: ConvNetwork, mosaic: Float[np.ndarray, "band y x"], n: int, seed: int
) -> Windows:
    """At least n windows anywhere in a mosaic, in whole batches."""
    rng, side = np.random.default_rng(seed), network.settings.window_pix
    n = -(-n // BATCH) * BATCH
    y, x = (rng.integers(0, high, n) for high in network.map_shape(mosaic.shape[1:]))
    views = np.lib.stride_tricks.sliding_window_view(mosaic, (side, side), axis=(1, 2))
    return Windows(y, x, np.ascontiguousarray(views[:, y, x].swapaxes(0, 1)))


def largest_difference(found: Answers, expected: Answers) -> float:
    """Largest difference; infinite where one has a number and the other has none."""
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if (np.isnan(a) != np.isnan(b)).any():
            return np.inf
        worst = max(worst, float(np.nanmax(np.abs(a - b), initial=0.0)))
    return worst


def timed(
    jobs: Jobs, rounds: int, progress: Callable[[str], None]
) -> tuple[dict[str, float], dict[str, float]]:
    """Mean wall-clock and CPU seconds of each job; parts of all jobs are mixed in each round."""
    order = sorted(
        ((k + 0.5) / len(parts), name, k) for name, parts in jobs.items() for k in range(len(parts))
    )
    wall, cpu = dict.fromkeys(jobs, 0.0), dict.fromkeys(jobs, 0.0)
    for number in range(rounds):
        progress(f"round {number + 1} of {rounds}")
        for _, name, k in order:
            clock = Clock()
            jobs[name][k]()
            spent = clock.read()
            wall[name] += spent[0] / rounds
            cpu[name] += spent[1] / rounds
    return wall, cpu


def _network(path: pathlib.Path) -> tuple[ConvNetwork, Grid]:
    """A network of the two heads that maps have, and its bins."""
    settings, arrays, about = read_network(path)
    sizes = dict(settings.heads)
    if missing := [name for name in _HEADS if name not in sizes]:
        raise ValueError(f"{path}: the network has no head {missing[0]!r}")
    if "grid" not in about:
        raise ValueError(f"{path}: the network says nothing of its bins; expected 'grid'")
    heads = tuple((name, sizes[name]) for name in _HEADS)
    settings = dataclasses.replace(settings, heads=heads)
    kept = {name: arrays[name] for name in settings.shapes()}
    return ConvNetwork(settings, kept), Grid.from_dict(about["grid"])


def _decoded(logits: dict[str, np.ndarray], grid: Grid) -> Answers:
    """Of logits `(n, outputs)`."""
    log_visibility = decode(softmax(logits["visibility"]), (grid.log_visibility,))[:, 0]
    return softmax(logits["class"])[:, 1], log_visibility


def _at(maps: FinderMaps, windows: Windows) -> Answers:
    at = windows.y, windows.x
    return maps.probability[at], np.log10(maps.visibility[at])


def _all(maps: FinderMaps, step: int = 1) -> Answers:
    return maps.probability[::step, ::step], np.log10(maps.visibility[::step, ::step])


def rows_of_tiles(
    network: ConvNetwork, mosaic: Float[np.ndarray, "band y x"]
) -> tuple[list[Float[np.ndarray, "band y x"]], int]:
    """Parts of a mosaic as high as its tiles, and the number of pixels of their maps.

    All have as many rows, so that one program serves them: the last may share some.
    """
    ny, nx = network.map_shape(mosaic.shape[1:])
    n = -(-ny // FinderSettings().tile_pix)
    high = -(-ny // n)
    firsts = [min(k * high, ny - high) for k in range(n)]
    side = high + network.settings.window_pix - 1
    return [mosaic[:, first : first + side] for first in firsts], n * high * nx


def _pixels(network: ConvNetwork, size: int, stride: int = 1) -> int:
    ny, nx = network.map_shape((size, size), stride)
    return ny * nx


def _gpu() -> Any:
    with contextlib.suppress(RuntimeError):
        return jax.devices("gpu")[0]
    return None


@dataclasses.dataclass(frozen=True, eq=False)
class _Twin:
    """The network in Torch, at windows and at every pixel of a tile."""

    torch: Any
    module: Any
    image: Float[np.ndarray, "band y x"]
    shape: tuple[int, int]

    @classmethod
    def of(cls, network: ConvNetwork, mosaic: Float[np.ndarray, "band y x"]) -> "_Twin | None":
        """None without Torch."""
        try:
            torch = importlib.import_module("torch")
        except ImportError:
            return None
        from starcensus.networks.cnn.compact import CompactNetwork

        arrays = {name: np.asarray(values) for name, values in network.arrays.items()}
        module = CompactNetwork(network.settings).from_arrays(arrays).eval()
        side = FinderSettings().tile_pix + network.settings.window_pix - 1
        # It takes finite images alone.
        image = mosaic[:, :side, : min(side, mosaic.shape[2] // 2)]
        return cls(torch, module, image, network.map_shape(image.shape[1:]))

    @property
    def n_pixels(self) -> int:
        return self.shape[0] * self.shape[1]

    def at(self, stamps: Float[np.ndarray, "n band y x"]) -> dict[str, np.ndarray]:
        """Logits `(n, outputs)` of windows, NaN where a pixel has no number."""
        parts = []
        with self.torch.inference_mode():
            for first in range(0, len(stamps), BATCH):
                finite = np.nan_to_num(stamps[first : first + BATCH])
                parts.append(self.module(self.torch.from_numpy(finite)))
        bad = ~np.isfinite(stamps).all(axis=(1, 2, 3))[:, None]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in _HEADS}
        return {name: np.where(bad, np.nan, v[:, :, 0, 0]) for name, v in joined.items()}

    def tile(self) -> dict[str, np.ndarray]:
        """Logits `(n, outputs)` of the tile's pixels."""
        with self.torch.inference_mode():
            maps = self.module.dense(self.torch.from_numpy(self.image[None].copy()))
        return {name: values[0].flatten(1).numpy().T for name, values in maps.items()}

    def part_of(self, maps: FinderMaps) -> Answers:
        """What maps say of the tile's pixels."""
        probability, log_visibility = _all(maps)
        ny, nx = self.shape
        return probability[:ny, :nx].ravel(), log_visibility[:ny, :nx].ravel()
