"""Convolutional networks in JAX: at single windows, or at every pixel of an image.

At every pixel, a maximum over 2×2 pixels is taken without a step, and what follows it takes its
inputs twice as far apart ("à trous"). Each output is then that of its own window, at the cost of
one convolution of the image for each layer.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Int

from starcensus.files import Path

from .conv_files import read_network, save_network
from .conv_maps import Reduce, maps_of, tile_maps
from .conv_settings import ConvSettings, check_arrays

_CHUNK_STAMPS = 256
_CHUNK_PATCHES = 16


class ConvNetwork(eqx.Module):
    """A network of `ConvSettings` with its parameters, in single precision.

    **Arguments:**

    - `settings`: its definition.
    - `arrays`: parameters by name, of the shapes `settings.shapes()`.

    Raises `ValueError` naming an array that is missing, left over or of another shape.

    ```python
    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    rng = np.random.default_rng(0)
    network = ConvNetwork(conv, {n: rng.normal(size=s) for n, s in conv.shapes().items()})
    network(rng.normal(size=(2, 1, 12, 12)))["class"].shape  # (2, 2)
    ```
    """

    settings: ConvSettings = eqx.field(static=True)
    arrays: dict[str, np.ndarray | Array]

    def __init__(self, settings: ConvSettings, arrays: Mapping[str, np.ndarray]):
        check_arrays(settings, arrays)
        self.settings = settings
        self.arrays = {name: np.asarray(arrays[name], np.float32) for name in settings.shapes()}

    def __call__(self, stamps: Float[np.ndarray, "n band y x"]) -> dict[str, np.ndarray]:
        """Logits `(n, outputs)` of each head for windows of `settings.window_pix`.

        A stamp with a pixel that is no number has NaN. Raises `ValueError` for stamps of another
        size or number of bands.
        """
        side = self.settings.window_pix
        if stamps.shape[1:] != (len(self.settings.bands), side, side):
            raise ValueError(
                f"stamps are {stamps.shape}; expected (n, {len(self.settings.bands)}, {side}, "
                f"{side})"
            )
        heads = tuple(name for name, _ in self.settings.heads)
        sizes, n = dict(self.settings.heads), len(stamps)
        found = {name: np.empty((n, sizes[name]), np.float32) for name in heads}
        # Of one size, so that one program serves any number of stamps.
        chunk = min(_CHUNK_STAMPS, 2 ** max(n - 1, 0).bit_length())
        for first in range(0, n, chunk):
            part = np.asarray(stamps[first : first + chunk], np.float32)
            rest = np.zeros((chunk - len(part), *part.shape[1:]), np.float32)
            part = np.concatenate([part, rest])
            maps = maps_of(self.settings, self.arrays, part, heads, self.settings.stride)
            for name in heads:
                found[name][first : first + chunk] = np.asarray(maps[name])[: n - first, :, 0, 0]
        return found

    def at(
        self, image: Float[np.ndarray, "band y x"], y: Int[np.ndarray, "n"], x: Int[np.ndarray, "n"]
    ) -> dict[str, np.ndarray]:
        """Logits of every head at places of the map that `dense` makes with `stride=1`.

        A joint posterior has thousands of outputs: this is for the peaks of a map of few.

        **Arguments:**

        - `image`: `(band, y, x)`. `y`, `x`: rows and columns of the map, which are the first row
          and column of each window in the image.

        Raises `ValueError` for a place outside the map.

        ```python
        conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
        network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
        network.at(np.zeros((1, 30, 30)), np.array([3]), np.array([4]))["joint"].shape  # (1, 2800)
        ```
        """
        ny, nx = self.map_shape(image.shape[1:])
        if not ((y >= 0) & (y < ny) & (x >= 0) & (x < nx)).all():
            raise ValueError(f"a place lies outside the map, which has {ny} rows and {nx} columns")
        side = self.settings.window_pix
        windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(1, 2))
        heads = {name: np.empty((len(y), n), np.float32) for name, n in self.settings.heads}
        for first in range(0, len(y), _CHUNK_STAMPS):
            part = slice(first, first + _CHUNK_STAMPS)
            for name, logits in self(windows[:, y[part], x[part]].swapaxes(0, 1)).items():
                heads[name][part] = logits
        return heads

    def around(
        self,
        image: Float[np.ndarray, "band y x"],
        y: Int[np.ndarray, "n"],
        x: Int[np.ndarray, "n"],
        reach: int,
        heads: tuple[str, ...],
        stride: int = 1,
    ) -> Iterator[tuple[slice, dict[str, Float[np.ndarray, "part outputs row col"]]]]:
        """Logits in the squares of 2 · `reach` + 1 places of a map about some of its places.

        Neighbouring windows share what is computed, which costs a fifth of `at` for 25 of them. A
        few places at a time: yields which they are, and their logits, NaN beyond the map.

        **Arguments:**

        - `image`, `stride`: as of `dense`. `y`, `x`: rows and columns of its map.
        - `reach`: places on each side. `heads`: those that are wanted.

        ```python
        conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
        network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
        parts = network.around(np.zeros((1, 30, 30)), np.array([3]), np.array([4]), 2, ("size",))
        next(parts)[1]["size"].shape  # (1, 14, 5, 5)
        ```
        """
        ny, nx = self.map_shape(image.shape[1:], stride)
        if not ((y >= 0) & (y < ny) & (x >= 0) & (x < nx)).all():
            raise ValueError(f"a place lies outside the map, which has {ny} rows and {nx} columns")
        side = self.settings.window_pix + 2 * reach * stride
        beyond = reach * stride
        chunk = min(_CHUNK_PATCHES, 2 ** max(len(y) - 1, 0).bit_length())
        for first in range(0, len(y), chunk):
            part = slice(first, min(first + chunk, len(y)))
            patches = np.full((chunk, image.shape[0], side, side), np.nan, np.float32)
            for patch, row, col in zip(patches, y[part], x[part], strict=False):
                top, left = row * stride - beyond, col * stride - beyond
                seen = image[:, max(top, 0) : top + side, max(left, 0) : left + side]
                at_y, at_x = max(-top, 0), max(-left, 0)
                patch[:, at_y : at_y + seen.shape[1], at_x : at_x + seen.shape[2]] = seen
            maps = maps_of(self.settings, self.arrays, patches, heads, stride)
            yield part, {name: np.asarray(m)[: part.stop - first] for name, m in maps.items()}

    def map_shape(self, shape: tuple[int, ...], stride: int = 1) -> tuple[int, int]:
        """Rows and columns of the map of an image `(y, x)`; raises `ValueError` for a smaller one.

        ```python
        conv = ConvSettings(("V",), (0.02,))
        network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
        network.map_shape((100, 80))  # 37, 17
        ```
        """
        side = self.settings.window_pix
        if min(shape) < side:
            raise ValueError(f"the image has {shape} pixels; expected {side} or more on each side")
        ny, nx = ((n - side) // stride + 1 for n in shape)
        return ny, nx

    def dense(
        self,
        image: Float[np.ndarray, "band y x"],
        heads: tuple[str, ...] = ("class", "visibility"),
        *,
        stride: int = 1,
        tile_pix: int = 256,
        reduce: Reduce | None = None,
    ) -> dict[str, np.ndarray]:
        """Logits `(outputs, rows, columns)` at every pixel whose window lies inside an image.

        Row i and column j are the window that begins at row i · stride and column j · stride; its
        middle is `settings.centre_pix` further. They equal those of `__call__` for that window,
        but for rounding. Where a window holds a pixel that is no number, they are NaN.

        **Arguments:**

        - `image`: `(band, y, x)` in the unit of `flux_scale`, NaN where nothing was observed.
        - `heads`: those that are wanted.
        - `stride`: pixels between windows: 1, 2, 4 … up to `settings.stride`; each step costs a
          quarter or less.
        - `tile_pix`: side of a tile, pixels, to which the rest of its windows is added; memory is
          that of one tile and of the result.
        - `reduce`: makes of a tile's logits what is kept, as a probability. It is compiled; takes
          and returns arrays `(outputs, y, x)` by name.

        Raises `ValueError` for an image, a head, a stride or a tile that does not fit.

        ```python
        conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
        network = ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()})

        def probability(logits):
            return {"cluster": jax.nn.softmax(logits["class"], axis=0)[1:]}

        network.dense(np.zeros((1, 40, 40)), reduce=probability)["cluster"][0, 3, 3]  # 0.5
        ```
        """
        conv = self.settings
        if image.shape[0] != len(conv.bands):
            raise ValueError(f"the image has {image.shape[0]} bands; expected {len(conv.bands)}")
        known = [name for name, _ in conv.heads]
        if not heads or not set(heads) <= set(known):
            raise ValueError(f"heads are {heads}; expected some of {', '.join(known)}")
        if stride < 1 or conv.stride % stride:
            raise ValueError(f"stride is {stride}; expected a power of 2 up to {conv.stride}")
        if tile_pix < stride:
            raise ValueError(f"tile_pix is {tile_pix}; expected {stride} or more")
        ny, nx = self.map_shape(image.shape[1:], stride)
        ty, tx = (_even_parts(n, tile_pix // stride) for n in (ny, nx))
        sides = [(t - 1) * stride + conv.window_pix for t in (ty, tx)]
        part = np.empty((len(conv.bands), *sides), np.float32)
        made = jax.eval_shape(
            lambda tile: tile_maps(conv, self.arrays, tile, heads, stride, reduce), part
        )
        found = {n: np.full((m.shape[0], ny, nx), np.nan, m.dtype) for n, m in made.items()}
        for i in range(0, ny, ty):
            for j in range(0, nx, tx):
                part[...] = np.nan
                seen = image[:, i * stride :, j * stride :][:, : sides[0], : sides[1]]
                part[:, : seen.shape[1], : seen.shape[2]] = seen
                # Mosaics have wide empty margins.
                if not np.isfinite(part).all(axis=0).any():
                    continue
                for name, values in tile_maps(
                    conv, self.arrays, part, heads, stride, reduce
                ).items():
                    into = found[name][:, i : i + ty, j : j + tx]
                    into[...] = np.asarray(values)[:, : into.shape[1], : into.shape[2]]
        return found

    def save(self, path: Path, about: Mapping[str, Any] | None = None) -> None:
        """Write the definition, JSON, and beside it the parameters, of the suffix `.safetensors`.

        **Arguments:**

        - `path`: the JSON file, which is written last and says the other's name and checksum.
        - `about`: further facts for the definition, as the bins of the heads.

        Raises `FileError` where writing fails.

        ```python
        conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
        ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()}).save("net.json")
        ```
        """
        save_network(path, self.settings, {n: np.asarray(a) for n, a in self.arrays.items()}, about)

    @classmethod
    def load(cls, path: Path) -> "ConvNetwork":
        """The network of a file that `save` or `save_network` wrote.

        Raises `FileError` for files that are missing, damaged, or not of one another.

        ```python
        conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
        ConvNetwork(conv, {n: np.zeros(s) for n, s in conv.shapes().items()}).save("net.json")
        ConvNetwork.load("net.json").settings.window_pix  # 12
        ```
        """
        settings, arrays, _ = read_network(path)
        return cls(settings, arrays)


def _even_parts(n: int, most: int) -> int:
    """Size of the fewest parts of n that have `most` at most, as even as can be."""
    return -(-n // -(-n // most))
