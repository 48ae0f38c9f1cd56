"""Libraries of simulated clusters: what was drawn, and the light that came out.

On disk a library is HDF5: one contiguous dataset for each column, with its unit in the attribute
`unit`, absolute magnitudes as 32-bit floats (steps below 2e-6 mag), everything else in 64 bits;
`bands`, `format`, `version` and `meta` (JSON: the design, the engine, whom to cite) are attributes
of the file. The bytes of the file depend on these alone.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Int, Shaped, UInt64

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_array, read_json_attribute
from starcensus.theta import AXES

FORMAT = Format(
    "starcensus.ClusterLibrary",
    2,
    "cluster library",
    "`starcensus simulate library` writes one; SLUG's files are read by read_slug2 and read_slug3",
)
# Column → unit, what each library has; then what it may have.
UNITS = {
    "log_mass": "log10 M_sun",
    "log_age": "log10 yr",
    "a_v": "mag",
    "abs_mags": "mag",
    "log_density": "ln(dex-1 dex-1 mag-1)",
}
OPTIONAL = {
    "birth_mass": "M_sun",
    "live_mass": "M_sun",
    "n_stars": "",
    "max_mass": "M_sun",
    "n_live": "",
    "max_live_mass": "M_sun",
    "q_h": "s-1",
    "log_lum": "log10 L_sun",
    "z": "",
    "r_eff_pc": "pc",
    "seed": "",
    "inclusion": "",
}
_DTYPE = {"n_stars": "int64", "n_live": "int64", "seed": "uint64"}


@dataclasses.dataclass(frozen=True, eq=False)
class ClusterLibrary:
    """Simulated clusters of known θ, with stochastic light.

    The columns from `birth_mass` on are None where the source has none.

    **Arguments:**

    - `log_mass`: `(n,)`, log10 M_sun, the mass that was asked for (SLUG's target mass).
    - `log_age`: `(n,)`, log10 yr.
    - `a_v`: `(n,)`, mag.
    - `bands`: names of the columns of `abs_mags`.
    - `abs_mags`: `(n, band)`, absolute Vega magnitudes; infinite for a cluster that gives no light.
    - `log_density`: `(n,)`, natural logarithm of the density π(θ) from which θ was drawn, per dex,
      dex and mag; NaN where unknown. An axis on which all clusters have one value does not count.
    - `birth_mass`, `live_mass`: `(n,)`, M_sun, of the stars that were drawn, at birth and of those
      alive now.
    - `n_stars`, `n_live`: `(n,)`, how many stars were drawn, and how many of them are alive.
    - `max_mass`, `max_live_mass`: `(n,)`, initial mass of the heaviest star, and of the heaviest
      that is alive, M_sun.
    - `q_h`: `(n,)`, hydrogen-ionising photons per second.
    - `log_lum`: `(n,)`, log10 of the bolometric luminosity in L_sun.
    - `z`: `(n,)`, mass fraction of metals of the stars, where clusters differ in it.
    - `r_eff_pc`: `(n,)`, half-light radius, pc.
    - `seed`: `(n,)`, from which the cluster was drawn.
    - `inclusion`: `(n,)`, of a library that was chosen from a larger one: the probability with
      which each cluster was. A choice may depend on light and radius, and no density of θ can
      undo that: `log_density` is NaN then, and the weights 1 / inclusion make the clusters stand
      for those that they were chosen from.
    - `meta`: the design, the engine and whom to cite; JSON.

    Raises `ValueError` for shapes that differ or θ that is not finite.

    ```python
    library = ClusterLibrary.load("library.h5", bands=("ACS_F555W",))
    massive = library.take(library.log_mass > 4.0)
    massive.apparent(29.98)  # (n, 1), mag
    ```
    """

    log_mass: Float[np.ndarray, "n"]
    log_age: Float[np.ndarray, "n"]
    a_v: Float[np.ndarray, "n"]
    bands: tuple[str, ...]
    abs_mags: Float[np.ndarray, "n band"]
    log_density: Float[np.ndarray, "n"]
    birth_mass: Float[np.ndarray, "n"] | None = None
    live_mass: Float[np.ndarray, "n"] | None = None
    n_stars: Int[np.ndarray, "n"] | None = None
    max_mass: Float[np.ndarray, "n"] | None = None
    n_live: Int[np.ndarray, "n"] | None = None
    max_live_mass: Float[np.ndarray, "n"] | None = None
    q_h: Float[np.ndarray, "n"] | None = None
    log_lum: Float[np.ndarray, "n"] | None = None
    z: Float[np.ndarray, "n"] | None = None
    r_eff_pc: Float[np.ndarray, "n"] | None = None
    seed: UInt64[np.ndarray, "n"] | None = None
    inclusion: Float[np.ndarray, "n"] | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        n = len(self.log_mass)
        for name in (*AXES, "log_density", *OPTIONAL):
            values = getattr(self, name)
            if values is None:
                continue
            if values.shape != (n,):
                raise ValueError(f"{name} has shape {values.shape}; expected ({n},)")
            if name in AXES and not np.isfinite(values).all():
                row = int(np.argmin(np.isfinite(values)))
                raise ValueError(f"{name} of cluster {row} is {values[row]}; expected a number")
        if self.abs_mags.shape != (n, len(self.bands)):
            raise ValueError(
                f"abs_mags has shape {self.abs_mags.shape}; expected ({n}, {len(self.bands)}), one "
                f"column for each of {', '.join(self.bands)}"
            )

    def __len__(self) -> int:
        return len(self.log_mass)

    @property
    def theta(self) -> Float[np.ndarray, "n 3"]:
        """(log_mass, log_age, a_v) of each cluster."""
        return np.stack([self.log_mass, self.log_age, self.a_v], axis=1)

    def columns(self) -> dict[str, Shaped[np.ndarray, "n ..."]]:
        """The columns that are there, by name."""
        every = {name: getattr(self, name) for name in (*UNITS, *OPTIONAL)}
        return {name: values for name, values in every.items() if values is not None}

    def column(self, name: str) -> Shaped[np.ndarray, "n ..."]:
        """The column of that name; `ValueError` where the library has none."""
        there = self.columns()
        if name not in there:
            raise ValueError(f"the library has no column {name}; it has {', '.join(there)}")
        return there[name]

    def take(self, rows: np.ndarray | slice) -> "ClusterLibrary":
        """The clusters of the given rows (indices, a slice or a boolean mask)."""
        taken = {name: values[rows] for name, values in self.columns().items()}
        return dataclasses.replace(self, **taken)

    def select(self, bands: Sequence[str]) -> "ClusterLibrary":
        """The library with these bands alone, in this order; `ValueError` for an unknown one."""
        columns = _band_columns(self.bands, bands, "the library")
        return dataclasses.replace(self, bands=tuple(bands), abs_mags=self.abs_mags[:, columns])

    def apparent(
        self, distance_modulus: float, bands: Sequence[str] | None = None
    ) -> Float[np.ndarray, "n band"]:
        """Apparent Vega magnitudes at a distance; infinite for a cluster that gives no light.

        **Arguments:**

        - `distance_modulus`: mag.
        - `bands`: the columns, in this order; by default all of the library's.

        Raises `ValueError` for a band that the library lacks.
        """
        columns = _band_columns(self.bands, self.bands if bands is None else bands, "the library")
        return self.abs_mags[:, columns] + distance_modulus

    @classmethod
    def concatenate(cls, *libraries: "ClusterLibrary") -> "ClusterLibrary":
        """All clusters of several libraries; raises `ValueError` if their bands differ.

        `log_density` becomes NaN: the density of a union is not that of its parts. A column that
        one of them lacks is left out; `meta["parts"]` holds what each said of itself.
        """
        if not libraries:
            raise ValueError("no libraries to join; expected at least one")
        bands = {library.bands for library in libraries}
        if len(bands) != 1:
            raise ValueError(f"libraries with different bands cannot be joined: {sorted(bands)}")
        parts = [library.columns() for library in libraries]
        joined = {
            name: np.concatenate([part[name] for part in parts])
            for name in parts[0]
            if name != "log_density" and all(name in part for part in parts)
        }
        unknown = np.full(len(joined["log_mass"]), np.nan)
        meta = {"parts": [library.meta for library in libraries]}
        return cls(bands=bands.pop(), log_density=unknown, meta=meta, **joined)

    def save(self, path: Path) -> None:
        """Write the library as HDF5, in one step."""
        write_library(path, len(self), self.bands, self.meta, [self.columns])

    @classmethod
    def load(
        cls,
        path: Path,
        bands: Sequence[str] | None = None,
        rows: slice = slice(None),
    ) -> "ClusterLibrary":
        """Read a library, or some of its bands and a run of its rows.

        Raises `FileError` for a file that is missing, is not a library, was cut off, or lacks a
        column, or whose columns differ in length; `ValueError` for a band that it lacks.
        """
        with FORMAT.open(path) as file:
            return _read(file, path, bands, rows)

    @classmethod
    def chunks(
        cls, path: Path, size: int = 65536, bands: Sequence[str] | None = None
    ) -> Iterator["ClusterLibrary"]:
        """The library of a file as pieces of at most `size` clusters, in order."""
        if size < 1:
            raise ValueError(f"size is {size}; expected at least 1 cluster in a piece")
        with FORMAT.open(path) as file:
            for start in range(0, _length(file, path), size):
                yield _read(file, path, bands, slice(start, start + size))


def write_library(
    path: Path,
    n: int,
    bands: Sequence[str],
    meta: dict[str, Any],
    parts: Sequence[Callable[[], dict[str, np.ndarray]]],
) -> None:
    """Write a library whose columns come in parts, holding one part at a time.

    **Arguments:**

    - `n`: number of clusters of all parts together.
    - `parts`: functions that return the columns of consecutive clusters.

    Raises `ValueError` when the parts do not have n clusters or not the same columns. The file is
    replaced only when all is written.
    """
    with FORMAT.create(path) as file:
        file.attrs["bands"] = list(bands)
        file.attrs["meta"] = json.dumps(meta, sort_keys=True)
        start = 0
        for part in parts:
            columns = part()
            if start == 0:
                for name in columns:
                    _create(file, name, n, len(bands))
            if set(columns) != set(file):
                raise ValueError(
                    f"the part at row {start} has the columns {sorted(columns)}; expected "
                    f"{sorted(file)}, as before"
                )
            stop = start + len(columns["log_mass"])
            if stop > n:
                raise ValueError(f"the parts have more than {n} clusters")
            for name, values in columns.items():
                file[name][start:stop] = values  # pyright: ignore[reportIndexIssue]
            start = stop
        if start != n:
            raise ValueError(f"the parts have {start} clusters together; expected {n}")


def _create(file: h5py.File, name: str, n: int, n_bands: int) -> None:
    shape = (n, n_bands) if name == "abs_mags" else (n,)
    dtype = "float32" if name == "abs_mags" else _DTYPE.get(name, "float64")
    # Space taken at once, column after column, whatever the parts: the same bytes every time.
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_obj_track_times(False)
    h5py.h5d.create(
        file.id,
        name.encode(),
        h5py.h5t.py_create(np.dtype(dtype)),
        h5py.h5s.create_simple(shape),
        layout,
    )
    file[name].attrs["unit"] = (UNITS | OPTIONAL)[name]


def _stored(file: h5py.File, name: str) -> str:
    """The dataset of a column; version 1 said `mags` of the absolute magnitudes."""
    return "mags" if name == "abs_mags" and file.attrs["version"] == 1 else name


def _length(file: h5py.File, path: Path) -> int:
    missing = [name for name in UNITS if _stored(file, name) not in file]
    if missing:
        raise FileError(f"{path}: has no column {', '.join(missing)}; it has {', '.join(file)}")
    lengths = {name: len(file[name]) for name in file}  # pyright: ignore[reportArgumentType]
    if len(set(lengths.values())) != 1:
        raise FileError(f"{path}: has columns of different length: {lengths}")
    return lengths["log_mass"]


def _read(file: h5py.File, path: Path, bands: Sequence[str] | None, rows: slice) -> ClusterLibrary:
    _length(file, path)
    known = tuple(str(band) for band in file.attrs["bands"])  # pyright: ignore[reportGeneralTypeIssues]
    wanted = known if bands is None else tuple(bands)
    columns = _band_columns(known, wanted, str(path), FileError)
    found: dict[str, Any] = {
        name: read_array(file, _stored(file, name), np.dtype(_DTYPE.get(name, "f")).kind, rows)
        for name in (*UNITS, *OPTIONAL)
        if _stored(file, name) in file
    }
    found["abs_mags"] = found["abs_mags"][:, columns].astype(np.float64)
    return ClusterLibrary(bands=wanted, meta=read_json_attribute(file, "meta"), **found)


def _band_columns(
    known: Sequence[str], wanted: Sequence[str], where: str, error: type[ValueError] = ValueError
) -> list[int]:
    if not wanted:
        raise error(f"bands is empty; expected some of {', '.join(known)}")
    unknown = [band for band in wanted if band not in known]
    if unknown:
        raise error(f"{where} has no band {', '.join(unknown)}; it has {', '.join(known)}")
    return [list(known).index(band) for band in wanted]
