"""Regions of the MCI plane that synthetic clusters fill (section 4.2)."""

import dataclasses
import hashlib
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_array

BIN_SIZES = (0.01, 0.02, 0.04)
MIN_MODELS = 9
# Half-width of the plane that hit maps cover; what lies beyond is noise.
_REACH = 4.0
_FORMAT = Format(
    "starcensus.ModelRegions",
    1,
    "file of model regions",
    "expected one that `ModelRegions.save` wrote",
)


@dataclasses.dataclass(frozen=True, eq=False)
class HitMap:
    """Bins of the plane that belong to a region.

    **Arguments:**

    - `bin_size`: of both axes. `first`: lower edges of the first bin, (MCI_in, MCI_out).
    - `mask`: `(MCI_in bin, MCI_out bin)`.
    """

    bin_size: float
    first: tuple[float, float]
    mask: Bool[np.ndarray, "i j"]

    def contains(
        self, mci_in: Float[np.ndarray, "n"], mci_out: Float[np.ndarray, "n"]
    ) -> Bool[np.ndarray, "n"]:
        """Whether points lie in a bin of the region. NaN does not."""
        index = _bins(mci_in, mci_out, self.bin_size, self.first)
        shape = np.array(self.mask.shape)[:, None]
        ok = ((index >= 0) & (index < shape)).all(0)
        i, j = np.where(ok, index, 0)
        return ok & self.mask[i, j]


@dataclasses.dataclass(frozen=True, eq=False)
class ModelRegions:
    """Regions of model clusters at several bin sizes; a candidate lies in any of them.

    **Arguments:**

    - `maps`: one for each bin size. `source`: what they were made from, in any words, or "".
    """

    maps: tuple[HitMap, ...]
    source: str = ""

    def contains(
        self, mci_in: Float[np.ndarray, "n"], mci_out: Float[np.ndarray, "n"]
    ) -> Bool[np.ndarray, "n"]:
        """Whether points lie in one of the regions. NaN does not."""
        inside = np.zeros(len(mci_in), bool)
        for each in self.maps:
            inside |= each.contains(mci_in, mci_out)
        return inside

    def describe(self) -> dict[str, Any]:
        """Bin sizes, how many bins are hit, and a checksum of which; JSON."""
        digest = hashlib.sha256()
        for each in self.maps:
            digest.update(repr((each.bin_size, each.first, each.mask.shape)).encode())
            digest.update(np.packbits(each.mask).tobytes())
        return {
            "bin_sizes": [each.bin_size for each in self.maps],
            "hits": [int(each.mask.sum()) for each in self.maps],
            "sha256": digest.hexdigest(),
        }

    def save(self, path: Path) -> None:
        """Write to HDF5, in one step; raises `FileError`."""
        with _FORMAT.create(path) as file:
            file.attrs["source"] = self.source
            for number, each in enumerate(self.maps):
                data = file.create_dataset(str(number), data=each.mask)
                data.attrs["bin_size"], data.attrs["first"] = each.bin_size, each.first

    @classmethod
    def load(cls, path: Path) -> "ModelRegions":
        """Read what `save` wrote; raises `FileError` for another file."""
        with _FORMAT.opened(path) as file:
            # Files of version 0.1 name their kind and no format.
            if file.attrs.get("starcensus_kind") != _FORMAT.name:
                _FORMAT.check_header(file, path)
            maps = []
            for number in range(len(file)):
                data: Any = file[str(number)]
                first_in, first_out = (float(edge) for edge in data.attrs["first"])
                mask = read_array(file, str(number), "b")
                if mask.ndim != 2:
                    raise FileError(f"{path}: {number} has shape {mask.shape}; expected a plane")
                maps.append(HitMap(float(data.attrs["bin_size"]), (first_in, first_out), mask))
            source = str(file.attrs.get("source", ""))
        return cls(tuple(maps), source)


def hit_map(
    mci_in: Float[np.ndarray, "n"],
    mci_out: Float[np.ndarray, "n"],
    bin_size: float,
    min_models: int = MIN_MODELS,
    *,
    structure: Literal["cross", "square"] = "cross",
    openings: int = 1,
) -> HitMap:
    """Bins with at least `min_models` models, after a morphological opening.

    Bins begin at multiples of their size, so that those of half the size nest in them. The paper
    names neither the structuring element, here 3 x 3 `structure`, nor the number of erosions that
    precede as many dilations, `openings`; 0 leaves the opening out.

    Raises `ValueError` for a bin size that is not positive.
    """
    if not bin_size > 0:
        raise ValueError(f"bin_size is {bin_size}; expected more than 0")
    near = (np.abs(mci_in) < _REACH) & (np.abs(mci_out) < _REACH)
    half = round(_REACH / bin_size)
    first = (-half * bin_size, -half * bin_size)
    i, j = _bins(mci_in[near], mci_out[near], bin_size, first)
    shape = (2 * half + 1, 2 * half + 1)
    counts = np.bincount(i * shape[1] + j, minlength=shape[0] * shape[1]).reshape(shape)
    mask = counts >= min_models
    element = ndimage.generate_binary_structure(2, 1 if structure == "cross" else 2)
    if openings:
        mask = np.asarray(ndimage.binary_opening(mask, element, iterations=openings))
    return HitMap(bin_size, first, mask)


def hit_regions(
    mci_in: Float[np.ndarray, "n"],
    mci_out: Float[np.ndarray, "n"],
    bin_sizes: tuple[float, ...] = BIN_SIZES,
    min_models: int = MIN_MODELS,
    *,
    structure: Literal["cross", "square"] = "cross",
    openings: int = 1,
) -> ModelRegions:
    """The region of models at each bin size; see `hit_map`."""
    return ModelRegions(
        tuple(
            hit_map(mci_in, mci_out, size, min_models, structure=structure, openings=openings)
            for size in bin_sizes
        )
    )


def _bins(
    mci_in: Float[np.ndarray, "n"],
    mci_out: Float[np.ndarray, "n"],
    size: float,
    first: tuple[float, float],
) -> Int[np.ndarray, "2 n"]:
    """Indices of bins; -1 for NaN. A value of few decimals is not below its own bin's edge."""
    values = np.stack([mci_in - first[0], mci_out - first[1]])
    with np.errstate(invalid="ignore"):
        index = np.floor(values / size + 1e-9)
    return np.where(np.isfinite(index), index, -1).astype(np.int64)
