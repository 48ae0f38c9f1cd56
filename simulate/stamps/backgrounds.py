"""Backgrounds: stamps cut from images of a galaxy, those of each split from places of their own.

The frame is divided into square blocks, and each block is given to one split at random. A cutout
lies where it and a guard around it are in blocks of its split alone, so that cutouts of different
splits share no pixel and are a guard apart; those of one split may overlap.
"""

import dataclasses
import functools
import json
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from starcensus.files import Path
from starcensus.hdf5 import Format, read_array, read_json_attribute
from starcensus.settings import check_seed

from ..images.frame import Frame
from .measure import background_sigma

SPLITS = ("train", "validation", "test")
FORMAT = Format(
    "starcensus.Backgrounds", 1, "set of background stamps", "`Backgrounds.save` writes one"
)
# Places tried at a time, and in vain one after the other before a frame is taken to be full.
_TRIES, _IN_VAIN = 4096, 100
# Cutouts in memory twice.
_CHUNK = 512


@dataclasses.dataclass(frozen=True)
class BackgroundSettings:
    """How many backgrounds are cut, and where.

    **Arguments:**

    - `n`: cutouts of each split: for training, validation, test.
    - `size_pix`: side of a stamp, pixels.
    - `margin_pix`: pixels around it that are cut too, from which `compose` takes the stamp at a
      random place: shifted backgrounds are new ones.
    - `shares`: of the blocks, that each split is given; a split without cutouts needs none.
    - `block_pix`: side of a block, pixels; blocks at the far borders are larger.
    - `guard_pix`: between cutouts of different splits; None is `size_pix`.

    Raises `ValueError` for numbers out of their ranges, and for blocks smaller than a cutout with
    its guard.

    ```python
    BackgroundSettings(n=(100, 20, 20), block_pix=256).side_pix
    ```
    """

    n: tuple[int, int, int] = (25_000, 5_000, 5_000)
    size_pix: int = 64
    margin_pix: int = 0
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    block_pix: int = 512
    guard_pix: int | None = None

    def __post_init__(self) -> None:
        if min(self.n) < 0 or sum(self.n) < 1:
            raise ValueError(f"n is {self.n}; expected numbers of cutouts, one of them above 0")
        if self.size_pix < 8 or self.margin_pix < 0 or self.guard < 0:
            raise ValueError(
                f"size_pix is {self.size_pix}, margin_pix {self.margin_pix} and guard_pix "
                f"{self.guard_pix}; expected 8, 0 and 0 or more"
            )
        wanted = [share > 0 or n == 0 for share, n in zip(self.shares, self.n, strict=True)]
        if min(self.shares) < 0 or not all(wanted):
            raise ValueError(
                f"shares are {self.shares} for {self.n} cutouts; expected shares of 0 or more, and "
                "above 0 where there are cutouts"
            )
        least = self.side_pix + 2 * self.guard
        if self.block_pix < least:
            raise ValueError(
                f"block_pix is {self.block_pix}; expected {least} or more, a cutout with a guard "
                "on both sides"
            )

    @property
    def guard(self) -> int:
        """Pixels between cutouts of different splits."""
        return self.size_pix if self.guard_pix is None else self.guard_pix

    @property
    def side_pix(self) -> int:
        """Side of a cutout with its margin, pixels."""
        return self.size_pix + 2 * self.margin_pix


@dataclasses.dataclass(frozen=True, eq=False)
class Backgrounds:
    """Cutouts of a frame.

    **Arguments:**

    - `bands`: names of the bands.
    - `images`: `(n, band, row, col)`, electrons/s, with their margin.
    - `x`, `y`: `(n,)`, column and row, in the frame, of each cutout's first pixel.
    - `split`: `(n,)`, position in `SPLITS`.
    - `exposure_s`, `zero_point`: of each band.
    - `pixel_scale_arcsec`: of the frame.
    - `margin_pix`: pixels around the stamps.

    Raises `ValueError` for shapes that differ.

    ```python
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    backgrounds = cut_backgrounds(frame, choice, seed=1)
    len(backgrounds.of("train")), backgrounds.sigma.shape
    ```
    """

    bands: tuple[str, ...]
    images: Float32[np.ndarray, "n band row col"]
    x: Int[np.ndarray, "n"]
    y: Int[np.ndarray, "n"]
    split: Int[np.ndarray, "n"]
    exposure_s: Float[np.ndarray, "band"]
    zero_point: Float[np.ndarray, "band"]
    pixel_scale_arcsec: float
    margin_pix: int = 0

    def __post_init__(self) -> None:
        n, n_band = self.images.shape[:2]
        if n_band != len(self.bands):
            raise ValueError(f"images have {n_band} bands; expected {len(self.bands)}")
        for name, shape in (
            ("x", (n,)),
            ("y", (n,)),
            ("split", (n,)),
            ("exposure_s", (n_band,)),
            ("zero_point", (n_band,)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape}; expected {shape}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size_pix(self) -> int:
        """Side of a stamp, without the margin, pixels."""
        return self.images.shape[2] - 2 * self.margin_pix

    @functools.cached_property
    def median(self) -> Float32[np.ndarray, "n band"]:
        """Median of each stamp, without its margin, electrons/s."""
        return medians(self._middle)

    @functools.cached_property
    def sigma(self) -> Float[np.ndarray, "n band"]:
        """Scatter around the middle of each stamp, see `background_sigma`."""
        return background_sigma(self._middle)

    @property
    def _middle(self) -> Float32[np.ndarray, "n band row col"]:
        inner = slice(self.margin_pix, self.margin_pix + self.size_pix)
        return self.images[:, :, inner, inner]

    def take(self, rows: np.ndarray | slice) -> "Backgrounds":
        """Some of the cutouts (indices, a slice or a boolean mask)."""
        taken = {name: getattr(self, name)[rows] for name in ("images", "x", "y", "split")}
        return dataclasses.replace(self, **taken)

    def of(self, split: str) -> "Backgrounds":
        """The cutouts of a split, by its name in `SPLITS`."""
        if split not in SPLITS:
            raise ValueError(f"split is {split!r}; expected one of {', '.join(SPLITS)}")
        return self.take(self.split == SPLITS.index(split))

    def save(self, path: Path) -> None:
        """Write them as HDF5, in one step."""
        facts = {
            "bands": list(self.bands),
            "pixel_scale_arcsec": self.pixel_scale_arcsec,
            "margin_pix": self.margin_pix,
        }
        with FORMAT.create(path) as file:
            file.attrs["facts"] = json.dumps(facts, sort_keys=True)
            for name in ("images", "x", "y", "split", "exposure_s", "zero_point"):
                file[name] = getattr(self, name)

    @classmethod
    def load(cls, path: Path) -> "Backgrounds":
        """Read what `save` wrote; raises `FileError` for a file that is none, or damaged."""
        with FORMAT.open(path) as file:
            facts: dict[str, Any] = read_json_attribute(file, "facts")
            kinds = {"x": "iu", "y": "iu", "split": "iu"}
            names = ("images", "x", "y", "split", "exposure_s", "zero_point")
            arrays = {name: read_array(file, name, kinds.get(name, "f")) for name in names}
            return cls(
                bands=tuple(facts["bands"]),
                pixel_scale_arcsec=float(facts["pixel_scale_arcsec"]),
                margin_pix=int(facts["margin_pix"]),
                **arrays,
            )


def medians(images: Float32[np.ndarray, "n band row col"]) -> Float32[np.ndarray, "n band"]:
    """Median of the pixels of each image, in its precision.

    ```python
    medians(np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4))  # 7.5
    ```
    """
    n, n_band = images.shape[:2]
    n_pix = images.shape[2] * images.shape[3]
    half = n_pix // 2
    out = np.empty((n, n_band), np.float32)
    for start in range(0, n, _CHUNK):
        part = slice(start, start + _CHUNK)
        # Six times as fast as np.median, which asks for two places and looks for NaN.
        halves = np.partition(images[part].reshape(-1, n_band, n_pix), half, axis=2)
        out[part] = halves[:, :, half]
        if n_pix % 2 == 0:
            out[part] += halves[:, :, :half].max(axis=2)
            out[part] /= 2
    return out


def cut_backgrounds(
    frame: Frame,
    settings: BackgroundSettings,
    seed: int,
    known: Float[np.ndarray, "k 3"] | None = None,
) -> Backgrounds:
    """Cut stamps at random places of a frame.

    **Arguments:**

    - `frame`: a synthetic galaxy's images, or a mosaic's; pixels that are bad in any band are in no
      cutout.
    - `settings`: how many, and where.
    - `seed`: of blocks and places; the same places for the same frame.
    - `known`: `(k, 3)`, x, y and radius, pixels, of circles that no cutout touches: known clusters.

    Raises `ValueError` for a frame with fewer blocks than splits, and where no more places can be
    found.

    ```python
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    cut_backgrounds(frame, choice, seed=1, known=np.array([[40.0, 40.0, 3.0]])).images.shape
    ```
    """
    check_seed(seed)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0x6261636B,)))
    blocks = _blocks(frame.shape, settings, rng)
    bad = frame.bad | _circles(frame.shape, known)
    corners = [
        _corners(bad, blocks == number, settings, n, SPLITS[number], rng)
        for number, n in enumerate(settings.n)
        if n > 0
    ]
    row, col = np.concatenate(corners).T
    side = settings.side_pix
    images = np.empty((len(row), len(frame.bands), side, side), np.float32)
    for band, image in enumerate(frame):
        for at, (r, c) in enumerate(zip(row, col, strict=True)):
            images[at, band] = image.data[r : r + side, c : c + side]
    return Backgrounds(
        bands=frame.bands,
        images=images,
        x=col,
        y=row,
        split=np.repeat(np.arange(len(SPLITS)), settings.n),
        exposure_s=np.array([float(image.exposure_s) for image in frame]),
        zero_point=np.array([float(image.zero_point) for image in frame]),
        pixel_scale_arcsec=float(frame.pixel_scale_arcsec),
        margin_pix=settings.margin_pix,
    )


def _blocks(
    shape: tuple[int, int], settings: BackgroundSettings, rng: np.random.Generator
) -> Int[np.ndarray, "row col"]:
    """The split of each pixel."""
    per_side = [max(side // settings.block_pix, 1) for side in shape]
    n = per_side[0] * per_side[1]
    shares = np.array(settings.shares) / sum(settings.shares)
    used = np.flatnonzero(shares)
    # Each split has a block at least, the largest what is left.
    counts = np.maximum(np.floor(shares * n + 0.5).astype(int), (shares > 0).astype(int))
    counts[np.argmax(shares)] += n - counts.sum()
    if (counts[used] < 1).any():
        raise ValueError(
            f"the frame of {shape[0]} x {shape[1]} pixels has {n} blocks of {settings.block_pix} "
            f"for {len(used)} splits; give a larger frame or a smaller block_pix"
        )
    of_block = np.repeat(np.arange(len(SPLITS), dtype=np.int8), counts)
    of_block = rng.permutation(of_block).reshape(per_side)
    row, col = (
        np.minimum(np.arange(side) // settings.block_pix, last - 1)
        for side, last in zip(shape, per_side, strict=True)
    )
    return of_block[np.ix_(row, col)]


def _circles(
    shape: tuple[int, int], known: Float[np.ndarray, "k 3"] | None
) -> Bool[np.ndarray, "row col"]:
    """Pixels of which some part may lie in a circle."""
    inside = np.zeros(shape, bool)
    for x, y, radius in () if known is None else known:
        reach = radius + 0.5**0.5
        rows = slice(max(int(y - reach), 0), max(int(y + reach) + 2, 0))
        cols = slice(max(int(x - reach), 0), max(int(x + reach) + 2, 0))
        part = inside[rows, cols]
        row = np.arange(rows.start, rows.start + part.shape[0])[:, None]
        col = np.arange(cols.start, cols.start + part.shape[1])
        part |= np.hypot(row - y, col - x) <= reach
    return inside


def _corners(
    bad: Bool[np.ndarray, "row col"],
    own: Bool[np.ndarray, "row col"],
    settings: BackgroundSettings,
    n: int,
    split: str,
    rng: np.random.Generator,
) -> Int[np.ndarray, "n 2"]:
    """First row and column of n cutouts, uniform over all places that they can have."""
    side, half_guard = settings.side_pix, -(-settings.guard // 2)
    last = np.array(own.shape) - side
    found: list[np.ndarray] = []
    n_found = in_vain = 0
    while n_found < n:
        if (last < 0).any() or in_vain == _IN_VAIN:
            raise ValueError(
                f"of {n} backgrounds for {split} {n_found} were found in {int(own.sum())} pixels "
                f"of its blocks, {int((bad & own).sum())} of them bad or of known clusters; a "
                f"cutout takes {side} x {side} good ones: give a larger frame, or other blocks"
            )
        tries = rng.integers(0, last + 1, (_TRIES, 2))
        # Blocks are larger than a cutout with its guard: its corners are where its blocks differ.
        low = np.maximum(tries - half_guard, 0)
        high = np.minimum(tries + side - 1 + half_guard, np.array(own.shape) - 1)
        inside = own[low[:, 0], low[:, 1]] & own[high[:, 0], high[:, 1]]
        inside &= own[low[:, 0], high[:, 1]] & own[high[:, 0], low[:, 1]]
        tries = tries[inside]
        clean = [not bad[r : r + side, c : c + side].any() for r, c in tries]
        good = tries[np.array(clean, bool)] if len(tries) else tries
        in_vain = 0 if len(good) else in_vain + 1
        found.append(good[: n - n_found])
        n_found += len(found[-1])
    return np.concatenate(found)
