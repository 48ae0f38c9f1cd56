"""The stellar grid: the light of a star of any initial mass and age, behind any extinction.

A grid is a set of isochrones, each a run of points of increasing initial mass, dense enough that
neighbours differ little in every band (fast phases included), with the flux of each point in each
band behind each knot of extinction. Fluxes are in units of Vega's at 10 pc: the absolute Vega
magnitude is M = -2.5 log10(flux), and fluxes of stars add. Extinction is applied to the spectrum
before the filter; between knots `dust.attenuate` interpolates ln(flux).

A star heavier than an isochrone's last point has died and gives no light; one lighter than its
first point gives none either.
"""

import dataclasses
import functools
import hashlib
import json
import pathlib
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float, Float32, Int

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_array, read_json_attribute

FORMAT = Format(
    "starcensus.StellarGrid", 1, "stellar grid", "`starcensus simulate grid` writes a stellar grid"
)
PER_POINT = ("initial_mass", "current_mass", "log_lum", "log_teff", "log_g", "q_h")
# Grids in `simulate/data`.
CARRIED = {"default": "solar.h5", "lmc": "lmc.h5", "lmc-padova": "lmc_padova.h5"}
# Fluxes below this are stored as this: forty magnitudes fainter than the Sun.
FAINTEST = 1e-18


@dataclasses.dataclass(frozen=True, eq=False)
class StellarGrid:
    """Magnitudes of stars over initial mass, age and extinction.

    **Arguments:**

    - `bands`: names of the bands, e.g. `"WFC3_UVIS_F275W"`.
    - `log_age`: `(age,)`, log10 yr, increasing.
    - `start`: `(age + 1,)`, isochrone i holds the points `start[i]:start[i + 1]`.
    - `initial_mass`, `current_mass`: `(point,)`, M_sun; the initial mass increases strictly inside
      an isochrone.
    - `log_lum`, `log_teff`, `log_g`: `(point,)`, log10 of L_sun, K, cm s⁻².
    - `q_h`: `(point,)`, hydrogen-ionising photons per second.
    - `a_v`: `(knot,)`, mag, knots of V-band extinction, the first of them 0.
    - `flux`: `(point, band, knot)`, 10^(-0.4 M), M the absolute Vega magnitude of the extinguished
      star.
    - `nebular_a_v`: `(neb_knot,)`, mag, knots of extinction of nebular light.
    - `nebular_flux`: `(band, neb_knot)`, flux of nebular light in the same unit, per ionising
      photon per second that the gas absorbs.
    - `provenance`: what the grid was made of; JSON.

    Raises `ValueError` for shapes that differ, masses that do not increase, or fluxes that are
    negative or not finite.

    ```python
    grid = StellarGrid.default().select(("ACS_F555W",))
    youngest = grid.isochrone(0)
    grid.initial_mass[youngest], grid.flux[youngest, 0, 0]
    ```
    """

    bands: tuple[str, ...]
    log_age: Float[np.ndarray, "age"]
    start: Int[np.ndarray, "age+1"]
    initial_mass: Float[np.ndarray, "point"]
    current_mass: Float[np.ndarray, "point"]
    log_lum: Float[np.ndarray, "point"]
    log_teff: Float[np.ndarray, "point"]
    log_g: Float[np.ndarray, "point"]
    q_h: Float[np.ndarray, "point"]
    a_v: Float[np.ndarray, "knot"]
    flux: Float32[np.ndarray, "point band knot"]
    nebular_a_v: Float[np.ndarray, "neb_knot"]
    nebular_flux: Float[np.ndarray, "band neb_knot"]
    provenance: dict[str, Any]
    # Of the file's stored numbers, from which those above follow to all but the last digits, which
    # differ from processor to processor. What is changed in memory has none.
    _stored: str = dataclasses.field(init=False, repr=False, default="")

    def __post_init__(self) -> None:
        n, n_band = len(self.initial_mass), len(self.bands)
        shapes = {name: (n,) for name in PER_POINT} | {
            "start": (len(self.log_age) + 1,),
            "flux": (n, n_band, len(self.a_v)),
            "nebular_flux": (n_band, len(self.nebular_a_v)),
        }
        for name, shape in shapes.items():
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} has shape {getattr(self, name).shape}; expected {shape}, from "
                    f"{len(self.log_age)} ages, {n} points, {n_band} bands and "
                    f"{len(self.a_v)} knots of a_v"
                )
        if len(set(self.bands)) != n_band:
            raise ValueError(f"bands must differ from each other; got {self.bands}")
        if not (np.diff(self.log_age) > 0).all():
            raise ValueError("log_age must increase")
        if self.start[0] != 0 or self.start[-1] != n or not (np.diff(self.start) >= 2).all():
            raise ValueError(
                f"start must run from 0 to {n} with at least two points per isochrone; got "
                f"{self.start}"
            )
        rising = np.diff(self.initial_mass) > 0
        rising[self.start[1:-1] - 1] = True
        if not rising.all():
            point = int(np.argmin(rising)) + 1
            raise ValueError(
                f"initial_mass must increase inside an isochrone; point {point} has "
                f"{self.initial_mass[point]} after {self.initial_mass[point - 1]}"
            )
        for name in ("a_v", "nebular_a_v"):
            knots = getattr(self, name)
            if knots[0] != 0 or not (np.diff(knots) > 0).all():
                raise ValueError(f"{name} must increase from 0; got {knots}")
        for name in (*PER_POINT, "flux", "nebular_flux"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"{name} holds values that are not finite")
        for name in ("flux", "nebular_flux", "q_h"):
            if (getattr(self, name) < 0).any():
                raise ValueError(f"{name} holds negative values")

    def __len__(self) -> int:
        return len(self.initial_mass)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all numbers, as they are stored where they came from a file, whichever.

        So it is the same on every machine.
        """
        found = hashlib.sha256(json.dumps([self._stored, self.bands]).encode())
        if self._stored:
            return found.hexdigest()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                found.update(field.name.encode() + np.ascontiguousarray(value).tobytes())
        return found.hexdigest()

    def isochrone(self, index: int) -> slice:
        """The points of isochrone `index`, as a slice."""
        return slice(int(self.start[index]), int(self.start[index + 1]))

    def select(self, bands: tuple[str, ...]) -> "StellarGrid":
        """The grid with these bands alone, in this order; `ValueError` for an unknown one."""
        unknown = [band for band in bands if band not in self.bands]
        if unknown:
            raise ValueError(
                f"the grid has no band {', '.join(unknown)}; it has {', '.join(self.bands)}"
            )
        columns = [self.bands.index(band) for band in bands]
        selected = dataclasses.replace(
            self,
            bands=tuple(bands),
            flux=np.ascontiguousarray(self.flux[:, columns]),
            nebular_flux=self.nebular_flux[columns],
        )
        object.__setattr__(selected, "_stored", self._stored)
        return selected

    def save(self, path: Path, *, resolution: float = 0.0005) -> None:
        """Write the grid as compressed HDF5, in one step.

        **Arguments:**

        - `path`: file to write; replaced if it is there.
        - `resolution`: mag; magnitudes are stored rounded to this step, and log_lum, log_teff,
          log_g and log10 q_h to a tenth of it in dex. Initial masses are stored to 10⁻¹² M_sun,
          current ones to 10⁻⁵.
        """
        with FORMAT.create(path) as file:
            file.attrs["bands"] = list(self.bands)
            file.attrs["provenance"] = json.dumps(self.provenance, sort_keys=True)
            for name in ("log_age", "start", "a_v", "nebular_a_v", "nebular_flux"):
                file[name] = getattr(self, name)
            for name in ("log_lum", "log_teff", "log_g"):
                _pack(file, name, getattr(self, name), resolution / 10)
            _pack(file, "log_q_h", np.log10(np.maximum(self.q_h, 1.0)), resolution / 10)
            _pack(file, "initial_mass", self.initial_mass, 1e-12)
            _pack(file, "current_mass", self.current_mass, 1e-5)
            mags = -2.5 * np.log10(np.maximum(self.flux, FAINTEST, dtype=np.float64))
            mags[:, :, 1:] -= mags[:, :, :-1]
            _pack(file, "mags", mags, resolution / np.sqrt(len(self.a_v)))

    @classmethod
    def load(cls, path: Path) -> "StellarGrid":
        """Read a grid that `save` wrote.

        Raises `FileError` for a file that is missing, is no grid or is damaged.
        """
        with FORMAT.open(path) as file:
            mags = np.cumsum(_unpack(file, "mags"), axis=2)
            log_q_h = _unpack(file, "log_q_h")
            plain = {
                name: read_array(file, name, "iu" if name == "start" else "f")
                for name in ("log_age", "start", "a_v", "nebular_a_v", "nebular_flux")
            }
            packed = {name: _unpack(file, name) for name in PER_POINT if name != "q_h"}
            stored = _digest_of(file)
            try:
                made = cls(
                    bands=tuple(str(band) for band in file.attrs["bands"]),  # pyright: ignore[reportGeneralTypeIssues]
                    q_h=np.where(log_q_h > 0, 10**log_q_h, 0.0),
                    flux=(10 ** (-0.4 * mags)).astype(np.float32),
                    provenance=read_json_attribute(file, "provenance"),
                    **plain,
                    **packed,
                )
            except ValueError as error:
                raise FileError(f"{path}: is no whole stellar grid: {error}") from error
        object.__setattr__(made, "_stored", stored)
        return made

    @classmethod
    def default(cls) -> "StellarGrid":
        """The grid that the package carries first: solar metallicity, nine HST bands."""
        return _carried("default")

    @classmethod
    def carried(cls, name: str) -> "StellarGrid":
        """A grid that the package carries: `"default"`, `"lmc"` or `"lmc-padova"`.

        Those of the LMC have Z = 0.008 and 0.0077, U, B, V, R, I of Bessell (1990), and `"lmc"`
        the nine HST bands as well. Raises `ValueError` for another name.

        ```python
        StellarGrid.carried("lmc").bands
        ```
        """
        return _carried(name)


def carried_path(name: str) -> pathlib.Path:
    """The file of a grid that the package carries; raises `ValueError` for another name.

    ```python
    carried_path("lmc").name  # "lmc.h5"
    ```
    """
    if name not in CARRIED:
        raise ValueError(f"no grid {name!r} is carried; there are {', '.join(CARRIED)}")
    return pathlib.Path(__file__).resolve().parents[1] / "data" / CARRIED[name]


@functools.cache
def _carried(name: str) -> StellarGrid:
    return StellarGrid.load(carried_path(name))


def _digest_of(file: h5py.File) -> str:
    """SHA-256 of a file's datasets."""
    found = hashlib.sha256()
    for name in sorted(file):
        data: Any = file[name]
        values = np.ascontiguousarray(data[()])
        little = values.astype(values.dtype.newbyteorder("<"))
        found.update(f"{name} {little.dtype} {data.attrs.get('step')}".encode() + little.tobytes())
    return found.hexdigest()


def _pack(file: h5py.File, name: str, values: np.ndarray, step: float) -> None:
    """Store values as multiples of `step`, differenced along the points so that they compress."""
    whole = np.rint(values / step).astype(np.int64)
    limit = np.iinfo(np.int64 if np.abs(whole).max(initial=0) > 2**30 else np.int32)
    # The points run along the last axis of the stored array, whose differences are small.
    change = np.diff(np.moveaxis(whole, 0, -1), axis=-1, prepend=0).astype(limit.dtype)
    stored = file.create_dataset(
        name, data=change, chunks=True, shuffle=True, compression="gzip", compression_opts=9
    )
    stored.attrs["step"] = step


def _unpack(file: h5py.File, name: str) -> np.ndarray:
    stored = file[name]
    assert isinstance(stored, h5py.Dataset)
    whole = np.cumsum(stored[()], axis=-1, dtype=np.int64)
    return np.moveaxis(whole, -1, 0) * float(stored.attrs["step"])  # pyright: ignore[reportArgumentType]
