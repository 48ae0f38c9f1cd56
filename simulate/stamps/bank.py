"""Banks of mock clusters: noiseless stamps and all that is known of what they show.

On disk a bank is HDF5: `images`, `(n, band, row, col)`, 32-bit electrons/s, a chunk for each stamp,
and one dataset for each column of `COLUMNS`, with its unit. The bytes of the file depend on its
content alone.
"""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Float32, Shaped

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_array, read_json_attribute

from .mocks import COLUMNS

FORMAT = Format(
    "starcensus.StampBank", 2, "bank of cluster stamps", "`run_stamps` writes a bank of stamps"
)
_DTYPE = {"seed": "uint64", "n_stars": "int64", "n_drawn": "int64"}


@dataclasses.dataclass(frozen=True, eq=False)
class StampBank:
    """Mock clusters: noiseless stamps and truths.

    **Arguments:**

    - `bands`: names of the bands.
    - `images`: `(n, band, row, col)`, electrons/s.
    - `columns`: by name, `(n,)` or `(n, band)`:
      `log_mass` (log10 M_sun, the mass aimed at), `log_age` (log10 yr), `a_v` (mag);
      `eff_a_arcsec`, `eff_gamma` of the profile; `r_h_arcsec`, `r_h_pc`, that hold half of its
      stars; `half_light_arcsec`, of the drawn stars before any PSF, in each band;
      `observed_arcsec` and `core_rate`, of `observed_radius`, in each band; `mags`, apparent Vega
      magnitudes; `x`, `y`, the centre in the stamp, pixels; `birth_mass` (M_sun), `n_stars`,
      `seed`, as of `draw_clusters`; `n_drawn`, clusters drawn until one passed the cut.
    - `exposure_s`, `zero_point`: of each band, with which the stamps were made.
    - `pixel_scale_arcsec`, `distance_modulus`: of the stamps.
    - `meta`: the settings, the engine and whom to cite; JSON.

    Raises `ValueError` for shapes that differ.

    ```python
    small = StampSettings(faintest_mags=None, size_pix=16, psf_radius_pix=24)
    run_stamps(small, 4, 1, "bank.h5")
    bank = StampBank.load("bank.h5")
    bank["log_mass"], bank.images.shape
    ```
    """

    bands: tuple[str, ...]
    images: Float32[np.ndarray, "n band row col"]
    columns: Mapping[str, Shaped[np.ndarray, "n ..."]]
    exposure_s: Float[np.ndarray, "band"]
    zero_point: Float[np.ndarray, "band"]
    pixel_scale_arcsec: float
    distance_modulus: float
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        n, n_band = self.images.shape[:2]
        if n_band != len(self.bands) or self.images.shape[2] != self.images.shape[3]:
            raise ValueError(
                f"images have shape {self.images.shape}; expected squares in each of "
                f"{len(self.bands)} bands"
            )
        if set(self.columns) != set(COLUMNS):
            raise ValueError(
                f"columns are {', '.join(sorted(self.columns))}; expected {', '.join(COLUMNS)}"
            )
        for name, (_, by_band) in COLUMNS.items():
            shape = (n, n_band) if by_band else (n,)
            if self.columns[name].shape != shape:
                raise ValueError(f"{name} has shape {self.columns[name].shape}; expected {shape}")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, name: str) -> Shaped[np.ndarray, "n ..."]:
        """A column; `ValueError` naming those that are there."""
        if name not in self.columns:
            raise ValueError(f"the bank has no column {name}; it has {', '.join(self.columns)}")
        return self.columns[name]

    @property
    def size_pix(self) -> int:
        """Side of a stamp, pixels."""
        return self.images.shape[2]

    @property
    def lattice(self) -> dict[str, float]:
        """Steps of the lattice on which ages (dex) and extinctions (mag) lie; 0 without one."""
        settings = self.meta["settings"]
        return {name: float(settings[f"{name}_step"]) for name in ("log_age", "a_v")}

    def take(self, rows: np.ndarray | slice) -> "StampBank":
        """The mocks of some rows: mocks for training, for instance, and others for a test.

        ```python
        run_stamps(StampSettings(faintest_mags=None, size_pix=16, psf_radius_pix=24), 3, 1, "b.h5")
        len(StampBank.load("b.h5").take(slice(0, 2)))
        ```
        """
        columns = {name: values[rows] for name, values in self.columns.items()}
        return dataclasses.replace(self, images=self.images[rows], columns=columns)

    @classmethod
    def load(cls, path: Path, rows: slice = slice(None)) -> "StampBank":
        """Read a bank, or a run of its rows; of 50,000 mocks in three bands images take 2.5 GB.

        Raises `FileError` for a file that is missing, is no bank, was cut off or lacks a column.
        """
        with FORMAT.open(path) as file:
            missing = [name for name in ("images", *COLUMNS) if name not in file]
            if missing:
                raise FileError(f"{path}: has no column {', '.join(missing)}")
            columns = {
                name: read_array(file, name, np.dtype(_DTYPE.get(name, "f")).kind, rows)
                for name in COLUMNS
            }
            meta = read_json_attribute(file, "meta")
            settings = meta["settings"]
            return cls(
                bands=tuple(exposure["band"] for exposure in settings["exposures"]),
                images=read_array(file, "images", "f", rows),
                columns=columns,
                exposure_s=np.array([float(each["exposure_s"]) for each in settings["exposures"]]),
                zero_point=np.array([float(each["zero_point"]) for each in settings["exposures"]]),
                pixel_scale_arcsec=float(settings["pixel_scale_arcsec"]),
                distance_modulus=float(settings["distance_modulus"]),
                meta=meta,
            )


def write_bank(
    path: Path,
    n: int,
    meta: dict[str, Any],
    parts: Sequence[Callable[[], Mapping[str, np.ndarray]]],
) -> None:
    """Write a bank whose rows come in parts, holding one part at a time.

    **Arguments:**

    - `n`: number of mocks of all parts together.
    - `meta`: JSON, with the `settings` of the mocks.
    - `parts`: functions that return the columns of consecutive mocks, `images` among them.

    Raises `ValueError` when the parts do not have n mocks. The file is replaced only when all is
    written.
    """
    with FORMAT.create(path) as file:
        file.attrs["meta"] = json.dumps(meta, sort_keys=True)
        start = 0
        for part in parts:
            columns = part()
            if start == 0:
                for name in ("images", *COLUMNS):
                    _create(file, name, (n, *columns[name].shape[1:]))
            stop = start + len(columns["images"])
            if stop > n:
                raise ValueError(f"the parts have more than {n} mocks")
            for name in ("images", *COLUMNS):
                file[name][start:stop] = columns[name]  # pyright: ignore[reportIndexIssue]
            start = stop
        if start != n:
            raise ValueError(f"the parts have {start} mocks together; expected {n}")


def _create(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    # Space taken at once, column after column, whatever the parts: the same bytes every time.
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_obj_track_times(False)
    if name == "images":
        layout.set_chunk((1, *shape[1:]))
    dtype = "float32" if name == "images" else _DTYPE.get(name, "float64")
    h5py.h5d.create(
        file.id,
        name.encode(),
        h5py.h5t.py_create(np.dtype(dtype)),
        h5py.h5s.create_simple(shape),
        layout,
    )
    file[name].attrs["unit"] = "electrons s-1" if name == "images" else COLUMNS[name][0]
