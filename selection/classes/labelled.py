"""Stamps with classes, a user's own or simulated ones, and the batches that classifiers learn from.

No labelled cut-outs of PHANGS-HST or LEGUS come with this package. Networks are trained on
`ClassStamps`, which are simulated; labelled cut-outs that a user has take the same way.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float32, Int, Shaped

from starcensus.files import FileError, Path, reading
from starcensus.fits_files import opened
from starcensus.hdf5 import Format, read_array, read_json_attribute
from starcensus.settings import check_seed
from starcensus.text_tables import any_table

from ...simulate.stamps.backgrounds import Backgrounds, medians
from ...simulate.stamps.classes import ClassStamps
from ...simulate.stamps.compose import observe, turned
from .labels import CLASSES, class_labels, four_classes
from .training_draws import class_balanced_rows

FORMAT = Format(
    "starcensus.LabelledStamps", 1, "set of labelled stamps", "`LabelledStamps.save` writes one"
)
_HDF5, _FITS = (".h5", ".hdf5"), (".fits", ".fit")
# Steps of training whose rows are drawn together.
_BLOCK = 64

type Batch = tuple[np.ndarray, dict[str, np.ndarray]]


@dataclasses.dataclass(frozen=True, eq=False)
class LabelledStamps:
    """Cut-outs of candidates and their classes.

    **Arguments:**

    - `images`: `(n, band, row, col)`, squares, electrons/s or any other unit, the same for all.
    - `labels`: `(n,)`, class 1 to 4.
    - `bands`: names of the bands.
    - `kind`: `(n,)`, what is known beyond the class, as words: "galaxy", or "4.7"; or None.
    - `columns`: by name, `(n,)` or `(n, band)`: what else is known, such as magnitudes.

    Raises `ValueError`, naming the first row, for pixels that are not finite and for labels that
    are no class; and for shapes that differ.

    ```python
    images = np.ones((8, 5, 16, 16), np.float32)
    stamps = LabelledStamps(images, np.tile([1, 2, 3, 4], 2), ("a", "b", "c", "d", "e"))
    [len(part) for part in stamps.split((0.5, 0.5), seed=1)]  # 4, 4
    ```
    """

    images: Float32[np.ndarray, "n band row col"]
    labels: Int[np.ndarray, "n"]
    bands: tuple[str, ...]
    kind: Shaped[np.ndarray, "n"] | None = None
    columns: Mapping[str, Shaped[np.ndarray, "n ..."]] = MappingProxyType({})

    def __post_init__(self) -> None:
        n, n_band, rows, cols = self.images.shape
        if n_band != len(self.bands) or rows != cols:
            raise ValueError(
                f"images have shape {self.images.shape}; expected squares in each of the "
                f"{len(self.bands)} bands {', '.join(self.bands)}: (n, {len(self.bands)}, y, x)"
            )
        lengths = {"labels": len(self.labels)} | {k: len(v) for k, v in self.columns.items()}
        if self.kind is not None:
            lengths["kind"] = len(self.kind)
        if wrong := [name for name, length in lengths.items() if length != n]:
            raise ValueError(f"there are {n} images and {lengths[wrong[0]]} {wrong[0]}")
        known = np.isin(self.labels, list(CLASSES))
        if not known.all():
            row = int(np.argmin(known))
            raise ValueError(f"row {row} has class {self.labels[row]}; expected 1 to 4")
        finite = np.isfinite(self.images).all(axis=(2, 3))
        if not finite.all():
            row, band = (int(i) for i in np.argwhere(~finite)[0])
            n_bad = int((~np.isfinite(self.images[row, band])).sum())
            raise ValueError(
                f"row {row} has {n_bad} pixels in {self.bands[band]} that are not finite; expected "
                "fluxes: leave the stamp out, or fill its gaps"
            )

    def __len__(self) -> int:
        return len(self.images)

    @classmethod
    def of(cls, stamps: ClassStamps) -> "LabelledStamps":
        """Simulated candidates, without noise, with their magnitudes and truths as columns.

        ```python
        few = ClassSettings(shares=(("star", 1.0), ("galaxy", 1.0)))
        small = StampSettings(size_pix=16, psf_radius_pix=24)
        LabelledStamps.of(make_classes(small, few, 4, seed=1)).columns["mags"].shape  # 4, 3
        ```
        """
        columns = {"mags": stamps.mags, **stamps.truth}
        return cls(stamps.images, stamps.label, stamps.bands, stamps.kind, columns)

    def take(self, rows: np.ndarray | slice) -> "LabelledStamps":
        """Some of them (indices, a slice or a boolean mask)."""
        return dataclasses.replace(
            self,
            images=self.images[rows],
            labels=self.labels[rows],
            kind=None if self.kind is None else self.kind[rows],
            columns={name: values[rows] for name, values in self.columns.items()},
        )

    def split(self, shares: tuple[float, ...], seed: int) -> tuple["LabelledStamps", ...]:
        """Parts at random, each with its share of every class; no stamp is in two.

        **Arguments:**

        - `shares`: of the parts, relative to one another, such as (0.7, 0.15, 0.15).
        - `seed`: of the draw.

        Raises `ValueError` for shares that are not above 0.
        """
        check_seed(seed)
        if not shares or not min(shares) > 0:
            raise ValueError(f"shares are {shares}; expected one or more, all above 0")
        rng = np.random.default_rng(seed)
        ends = np.cumsum(shares) / sum(shares)
        part = np.empty(len(self), int)
        for each in CLASSES:
            rows = rng.permutation(np.flatnonzero(self.labels == each))
            # Middles of equal steps: a part is off by half a stamp at most.
            part[rows] = np.searchsorted(
                ends[:-1], (np.arange(len(rows)) + 0.5) / max(len(rows), 1)
            )
        return tuple(self.take(part == number) for number in range(len(shares)))

    def on_backgrounds(self, backgrounds: Backgrounds, seed: int) -> "LabelledStamps":
        """Noiseless stamps as observed, each on a background; see `on_backgrounds`."""
        check_seed(seed)
        images = on_backgrounds(self.images, backgrounds, np.random.default_rng(seed))
        return dataclasses.replace(self, images=images)

    def save(self, path: Path) -> None:
        """Write them as HDF5, in one step."""
        kinds = [] if self.kind is None else sorted({str(each) for each in self.kind})
        with FORMAT.create(path) as file:
            facts = {"bands": list(self.bands), "kinds": kinds, "columns": list(self.columns)}
            file.attrs["facts"] = json.dumps(facts)
            file["images"], file["class"] = self.images, self.labels
            if self.kind is not None:
                file["kind"] = np.array([kinds.index(str(each)) for each in self.kind], int)
            for number, values in enumerate(self.columns.values()):
                file[f"column_{number}"] = values

    @classmethod
    def load(cls, path: Path) -> "LabelledStamps":
        """Read what `save` wrote; raises `FileError` for a file that is none, or damaged.

        ```python
        stamps = LabelledStamps(np.ones((2, 1, 16, 16), np.float32), np.array([1, 4]), ("V",))
        stamps.save("labelled.h5")
        LabelledStamps.load("labelled.h5").labels  # 1, 4
        ```
        """
        with FORMAT.open(path) as file:
            facts: dict[str, Any] = read_json_attribute(file, "facts")
            kind = None
            if "kind" in file:
                kind = np.array(facts["kinds"], str)[read_array(file, "kind", "iu")]
            columns = {
                str(name): read_array(file, f"column_{number}", "fiub")
                for number, name in enumerate(facts["columns"])
            }
            labels = read_array(file, "class", "iu")
            return cls(read_array(file, "images"), labels, tuple(facts["bands"]), kind, columns)


def read_labelled(
    path: Path,
    bands: tuple[str, ...],
    labels: Path | None = None,
    column: str = "class",
    images: str = "images",
) -> LabelledStamps:
    """A user's own labelled cut-outs.

    **Arguments:**

    - `path`: the cut-outs, squares. Of HDF5 a dataset `(n, band, y, x)`; of FITS the first image
      with four axes, which astropy reads as `(n, band, y, x)`.
    - `bands`: names of the bands, in their order.
    - `labels`: a table in ECSV, CSV or FITS with a row for each cut-out, in their order. None: the
      labels are in the same file, of HDF5 a dataset and of FITS a column of the first table.
    - `column`: name of the column or dataset of labels, which are those of `class_labels`: 1 to 4,
      or words as "4.7".
    - `images`: name of the dataset of the cut-outs, in HDF5.

    Where a label has a subclass, labels in words become `kind`. Raises `FileError`, naming file and
    row, for labels that are no class or are floats, for pixels that are not finite, and for other
    shapes; also for files that are missing, damaged or of another ending.

    ```python
    import h5py

    with h5py.File("mine.h5", "w") as file:
        file["images"], file["class"] = np.ones((2, 1, 16, 16)), [1, 4]
    read_labelled("mine.h5", ("ACS_F555W",)).labels  # 1, 4
    ```
    """
    with reading(path, "file of labelled cut-outs", "h5py", "astropy") as source:
        pixels, given = _read(source, images, column if labels is None else None)
    if labels is not None:
        with reading(labels, "table of labels", "astropy") as table:
            given = _column(any_table(table, "table of labels"), column)
    assert given is not None
    with reading(path if labels is None else labels, "table of labels"):
        words = _words(given, column)
    with reading(path, "file of labelled cut-outs"):
        if pixels.ndim != 4 or pixels.dtype.kind not in "fiu":
            raise ValueError(
                f"its images have shape {pixels.shape} of {pixels.dtype}; expected numbers of "
                f"shape (n, {len(bands)}, y, x)"
            )
        if len(pixels) != len(words):
            raise ValueError(f"there are {len(pixels)} images and {len(words)} labels")
        classes = four_classes(words)
        kind = words if any("." in word for word in words) else None
        return LabelledStamps(pixels.astype(np.float32), classes, bands, kind)


def _read(
    source: pathlib.Path, images: str, column: str | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels of a file, and its labels, if a column of them is asked for."""
    suffix = source.suffix.lower()
    if suffix in _HDF5:
        with FORMAT.opened(source) as file:
            if missing := [n for n in (images, column) if n is not None and n not in file]:
                raise FileError(f"{source}: has no dataset {missing[0]!r}; it has {list(file)}")
            given = None if column is None else np.asarray(file[column])
            return np.asarray(file[images]), given
    if suffix not in _FITS:
        raise FileError(
            f"{source}: cannot be read as labelled cut-outs; expected a name ending in "
            f"{', '.join((*_HDF5, *_FITS))}"
        )
    with opened(source, "FITS file of labelled cut-outs") as file:
        cubes = [hdu for hdu in file if hdu.is_image and hdu.data is not None]
        four = [hdu for hdu in cubes if hdu.data.ndim == 4]
        if not four:
            there = [tuple(hdu.shape) for hdu in cubes]
            raise FileError(f"{source}: has images of shapes {there}; expected (n, band, y, x)")
        given = None
        if column is not None:
            tables = [hdu for hdu in file if not hdu.is_image]
            if not tables:
                raise FileError(f"{source}: has no table with a column {column!r}; give `labels`")
            given = _column(tables[0].data, column)
        return np.asarray(four[0].data), given


def _column(table: Any, column: str) -> np.ndarray:
    names = [str(name) for name in (table.dtype.names or ())]
    if column not in names:
        raise ValueError(f"there is no column {column!r}; there are {', '.join(names)}")
    return np.ma.asarray(table[column])


def _words(given: np.ndarray, column: str) -> np.ndarray:
    """Labels as words; an error names the first row that is none."""
    if given.ndim != 1:
        raise ValueError(f"{column} has shape {given.shape}; expected one label for each cut-out")
    plain = [None if np.ma.is_masked(each) else each for each in given]
    plain = [each.item() if isinstance(each, np.generic) else each for each in plain]
    plain = [each.decode() if isinstance(each, bytes) else each for each in plain]
    plain = [each.strip() if isinstance(each, str) else each for each in plain]
    try:
        return class_labels(plain)
    except ValueError:
        for row, label in enumerate(plain):
            try:
                class_labels([label])
            except ValueError as error:
                raise ValueError(f"row {row} of {column}: {error}") from error
        raise


def on_backgrounds(
    images: Float32[np.ndarray, "n band row col"],
    backgrounds: Backgrounds,
    rng: np.random.Generator,
) -> Float32[np.ndarray, "n band row col"]:
    """Noiseless stamps with their photon noise, each on a background that is drawn for it.

    **Arguments:**

    - `images`: electrons/s. `backgrounds`: of the same bands and size, those of one split.
    - `rng`: a generator of NumPy.

    Raises `ValueError` for other shapes, and no background.

    ```python
    choice = BackgroundSettings(n=(20, 5, 5), size_pix=16, block_pix=32, guard_pix=4)
    train = cut_backgrounds(frame, choice, seed=1).of("train")
    light = np.ones((2, len(frame.bands), 16, 16), np.float32)
    on_backgrounds(light, train, np.random.default_rng(1)).shape
    ```
    """
    size, margin = backgrounds.size_pix, backgrounds.margin_pix
    wanted = (len(backgrounds.bands), size, size)
    if images.shape[1:] != wanted or len(backgrounds) == 0:
        raise ValueError(
            f"stamps have shape {images.shape[1:]} and the {len(backgrounds)} backgrounds "
            f"{wanted}; expected the same bands and size, and a background or more"
        )
    rows = rng.integers(len(backgrounds), size=len(images))
    first = rng.integers(0, 2 * margin + 1, (len(images), 2))
    skies = np.empty_like(images)
    for at, (row, (dy, dx)) in enumerate(zip(rows, first, strict=True)):
        skies[at] = backgrounds.images[row, :, dy : dy + size, dx : dx + size]
    return observe(images, skies, medians(skies), backgrounds.exposure_s, rng)


@dataclasses.dataclass(frozen=True, eq=False)
class ClassBatches:
    """Batches in which classes are equally frequent, as `train_network` asks for them.

    Called with the number of a step, it returns batches from that step on, without end: images and
    the targets `class`, `(n, 4)`, and `is_cluster`, `(n,)`, True for classes 1 and 2.

    **Arguments:**

    - `stamps`: labelled, those of one part of a split.
    - `n`: stamps in a batch; 32 in the example of Whitmore et al. (2021).
    - `seed`: of all batches.
    - `backgrounds`: those of one split. If given, the stamps are noiseless, and each has another
      background and other photons whenever it is drawn.
    - `dihedral`: turn and mirror each stamp in one of eight ways.

    ```python
    stamps = LabelledStamps(np.ones((2, 1, 16, 16), np.float32), np.array([1, 4]), ("V",))
    images, targets = next(ClassBatches(stamps, 8, seed=1)(0))
    targets["class"].shape  # (8, 4)
    ```
    """

    stamps: LabelledStamps
    n: int
    seed: int
    backgrounds: Backgrounds | None = None
    dihedral: bool = True

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.n < 1 or len(self.stamps) == 0:
            raise ValueError(
                f"a batch has {self.n} of {len(self.stamps)} stamps; expected 1 or more of each"
            )

    def __call__(self, step: int) -> Iterator[Batch]:
        block, within = divmod(step, _BLOCK)
        while True:
            seed = np.random.SeedSequence([self.seed, block]).generate_state(1, np.uint64)[0]
            rows = class_balanced_rows(self.stamps.labels, _BLOCK * self.n, int(seed) % 2**62)
            for number in range(within, _BLOCK):
                mine = rows[number * self.n : (number + 1) * self.n]
                yield self._batch(mine, block * _BLOCK + number)
            block, within = block + 1, 0

    def _batch(self, rows: Int[np.ndarray, "n"], step: int) -> Batch:
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, step, 1]))
        images, labels = self.stamps.images[rows], self.stamps.labels[rows]
        if self.backgrounds is not None:
            images = on_backgrounds(images, self.backgrounds, rng)
        if self.dihedral:
            images = turned(images, rng.integers(8, size=len(rows)))
        of_class = (labels[:, None] == np.array(list(CLASSES))).astype(np.float32)
        return images, {"class": of_class, "is_cluster": labels <= 2}
