"""Filter curves and magnitudes.

The mean flux of a spectrum in a band is that of a detector which counts photons,

    <f> = integral of f T λ dλ / integral of T λ dλ,

with T the total throughput, f per Å; the Vega magnitude is -2.5 log10 of its ratio to Vega's
(Bohlin et al. 2014, PASP 126, 711; Koornneef et al. 1986 for the pivot). Spectrum and curve are
both taken as straight between their samples. Between neighbours of the union of the two sets of
samples f T λ is then a cubic, which Simpson's rule integrates exactly.
"""

import dataclasses
import os
import pathlib

import numpy as np
from jaxtyping import Float

from starcensus.bands import BANDS
from starcensus.files import FileError, read_text, reading
from starcensus.fits_files import numbers, table

from .atmospheres._base import LIGHT

AB_ZERO = 3.631e-20  # erg s⁻¹ cm⁻² Hz⁻¹


@dataclasses.dataclass(frozen=True, eq=False)
class Filter:
    """A band.

    **Arguments:**

    - `name`: e.g. `"ACS_F814W"`.
    - `wavelength_angstrom`: `(wave,)`, increasing.
    - `throughput`: `(wave,)`, total throughput, photons counted per photon; any scale.

    Raises `ValueError` for a curve that does not increase in wavelength or has no throughput.

    ```python
    wavelength = np.array([5000.0, 5200.0, 5500.0, 5700.0])
    Filter("mine", wavelength, np.array([0.0, 0.3, 0.3, 0.0])).pivot
    ```
    """

    name: str
    wavelength_angstrom: Float[np.ndarray, "wave"]
    throughput: Float[np.ndarray, "wave"]

    def __post_init__(self) -> None:
        if self.wavelength_angstrom.shape != self.throughput.shape:
            raise ValueError(
                f"filter {self.name}: {self.wavelength_angstrom.shape} wavelengths and "
                f"{self.throughput.shape} throughputs"
            )
        if len(self.throughput) < 2 or not (np.diff(self.wavelength_angstrom) > 0).all():
            raise ValueError(f"filter {self.name}: wavelengths must increase, two or more")
        if not np.isfinite(self.throughput).all() or (self.throughput < 0).any():
            raise ValueError(f"filter {self.name}: throughputs that are negative or not finite")
        if not self.throughput.any():
            raise ValueError(f"filter {self.name}: no throughput at any wavelength")

    @property
    def pivot(self) -> float:
        """Pivot wavelength, Å: the one that turns f_λ into f_ν, sqrt(∫ T λ dλ / ∫ T dλ/λ)."""
        # Simpson's rule, for the curve is straight between its samples, however far apart they are.
        wave, curve = self.wavelength_angstrom, self.throughput
        half = (wave[1:] + wave[:-1]) / 2
        step, between = np.diff(wave) / 6, (curve[1:] + curve[:-1]) / 2
        over, under = (
            step @ (ends[1:] + ends[:-1] + 4 * middle)
            for ends, middle in ((curve * wave, between * half), (curve / wave, between / half))
        )
        return float(np.sqrt(over / under))

    @property
    def ab_flux(self) -> float:
        """Mean flux of an AB magnitude of zero, erg s⁻¹ cm⁻² Å⁻¹."""
        return AB_ZERO * LIGHT / self.pivot**2

    def grid(self, wavelength: Float[np.ndarray, "n"]) -> Float[np.ndarray, "union"]:
        """Nodes of the integral: samples of the curve and a spectrum, and the middles between."""
        low, high = self._range()
        inside = (wavelength > low) & (wavelength < high)
        own = self.wavelength_angstrom
        own = own[(own >= low) & (own <= high)]
        edges = np.unique(np.concatenate([own, wavelength[inside]]))
        return np.insert(edges, np.arange(1, len(edges)), (edges[1:] + edges[:-1]) / 2)

    def weights(
        self,
        wavelength: Float[np.ndarray, "n"],
        transmission: Float[np.ndarray, "*k union"] | None = None,
    ) -> Float[np.ndarray, "*k n"]:
        """Vector w such that the mean flux of a spectrum is the sum of w times its fluxes.

        **Arguments:**

        - `wavelength`: `(n,)`, Å, of the spectrum.
        - `transmission`: what the light passes before the filter, on `grid(wavelength)`; several
          screens give several vectors.

        Raises `ValueError` for a spectrum that does not cover the band.
        """
        low, high = self._range()
        if wavelength[0] > low or wavelength[-1] < high:
            raise ValueError(
                f"the spectrum covers {wavelength[0]:.0f} to {wavelength[-1]:.0f} Å; filter "
                f"{self.name} needs {low:.0f} to {high:.0f} Å"
            )
        union = self.grid(wavelength)
        step = union[2::2] - union[:-2:2]
        share = np.zeros(len(union))
        share[:-2:2] += step / 6
        share[1::2] = step * (4 / 6)
        share[2::2] += step / 6
        counts = share * union * np.interp(union, self.wavelength_angstrom, self.throughput)
        counts /= counts.sum()
        if transmission is not None:
            counts = counts * transmission
        below = np.clip(
            np.searchsorted(wavelength, union, side="right") - 1, 0, len(wavelength) - 2
        )
        along = (union - wavelength[below]) / (wavelength[below + 1] - wavelength[below])
        n = len(wavelength)
        result = [
            np.bincount(below, row * (1 - along), n) + np.bincount(below + 1, row * along, n)
            for row in counts.reshape(-1, len(union))
        ]
        return np.array(result).reshape(*counts.shape[:-1], n)

    def photon_mean_flux(
        self, wavelength: Float[np.ndarray, "n"], f_lambda: Float[np.ndarray, "*k n"]
    ) -> Float[np.ndarray, "*k"]:
        """Photon-counting mean flux of each spectrum, in its own unit."""
        return np.asarray(f_lambda @ self.weights(wavelength))

    def _range(self) -> tuple[float, float]:
        """The wavelengths between which the curve is not zero."""
        some = np.flatnonzero(self.throughput)
        first, last = max(some[0] - 1, 0), min(some[-1] + 1, len(self.throughput) - 1)
        return float(self.wavelength_angstrom[first]), float(self.wavelength_angstrom[last])


def read_filter(
    path: str | os.PathLike[str], name: str | None = None, *, floor: float = 0.0
) -> Filter:
    r"""Read a curve from text: two columns, wavelength in Å and throughput, `#` comments.

    Commas separate as well as spaces, and a line of words (a heading) is passed over.

    **Arguments:**

    - `path`: the file.
    - `name`: name of the band, by default the file's name without ending.
    - `floor`: throughputs below this part of the peak count as zero.

    Raises `ValueError` for anything else, naming the line.

    ```python
    rows = "5000 0.0", "5200 0.3", "5500 0.3", "5700 0.0"
    write_text("mine.dat", "\n".join(rows))
    read_filter("mine.dat").pivot
    ```
    """
    with reading(path, "filter curve") as source:
        return _read(source, name, floor)


def _read(path: pathlib.Path, name: str | None, floor: float) -> Filter:
    rows = []
    for number, line in enumerate(read_text(path, "filter curve").splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append((float(words[0]), float(words[1])))
        except (ValueError, IndexError):
            if rows:
                raise ValueError(
                    f"{path}, line {number}: {line.strip()[:100]!r}; expected a wavelength in Å "
                    "and a throughput"
                ) from None
    if len(rows) < 2:
        raise ValueError(f"{path} holds no curve: expected lines of wavelength and throughput")
    wavelength, throughput = np.array(rows).T
    order = np.argsort(wavelength, kind="stable")
    wavelength, first = np.unique(wavelength[order], return_index=True)
    throughput = np.clip(throughput[order][first], 0, None)
    throughput = np.where(throughput < floor * throughput.max(), 0.0, throughput)
    return Filter(name=name or path.stem, wavelength_angstrom=wavelength, throughput=throughput)


def default_filters(folder: str | os.PathLike[str]) -> tuple[Filter, ...]:
    """The bands of `starcensus.bands` that have a curve, from a folder of sedpy's and EAZY's.

    Raises `FileNotFoundError` for curves that are not there.

    ```python
    [band.pivot for band in default_filters("filters")]
    ```
    """
    curves = {name: band.curve for name, band in BANDS.items() if band.curve is not None}
    folder = pathlib.Path(folder)
    missing = [str(folder / file) for file in curves.values() if not (folder / file).is_file()]
    if missing:
        raise FileNotFoundError(f"curves of the default bands are not there: {', '.join(missing)}")
    return tuple(read_filter(folder / file, name) for name, file in curves.items())


@dataclasses.dataclass(frozen=True, eq=False)
class Spectrum:
    """A spectrum.

    **Arguments:**

    - `wavelength`: `(n,)`, Å, increasing.
    - `flux`: `(n,)`, erg s⁻¹ cm⁻² Å⁻¹.
    - `source`: where it comes from.
    """

    wavelength: Float[np.ndarray, "n"]
    flux: Float[np.ndarray, "n"]
    source: str


def read_vega(path: str | os.PathLike[str]) -> Spectrum:
    """Vega's spectrum from a CALSPEC file (`alpha_lyr_stis_011.fits`).

    Vega has magnitude 0 in every band by definition (STScI's VEGAMAG). Raises `FileError` for a
    file that is none.

    ```python
    read_vega("alpha_lyr_stis_011.fits").flux
    ```
    """
    rows, columns = table(path, "spectrum of CALSPEC")
    if missing := {"WAVELENGTH", "FLUX"} - set(columns.names):
        raise FileError(f"{path}: has no column {', '.join(sorted(missing))}")
    wavelength, first = np.unique(numbers(rows, "WAVELENGTH", path), return_index=True)
    flux = numbers(rows, "FLUX", path)[first]
    return Spectrum(wavelength=wavelength, flux=flux, source=pathlib.Path(path).name)


def zero_fluxes(
    filters: tuple[Filter, ...],
    *,
    vega: Spectrum | None = None,
    ab_minus_vega: dict[str, float] | None = None,
) -> Float[np.ndarray, "band"]:
    """Mean flux of a star of magnitude 0 in each band, erg s⁻¹ cm⁻² Å⁻¹.

    **Arguments:**

    - `filters`: the bands.
    - `vega`: the spectrum that has magnitude 0, or
    - `ab_minus_vega`: mag, AB minus Vega magnitude per band, for another definition of Vega (such
      as SLUG's). One of the two.

    Raises `ValueError` for both or neither, or a band that `ab_minus_vega` lacks.

    ```python
    wavelength = np.array([5000.0, 5200.0, 5500.0, 5700.0])
    mine = Filter("mine", wavelength, np.array([0.0, 0.3, 0.3, 0.0]))
    zero_fluxes((mine,), ab_minus_vega={"mine": -0.01})
    ```
    """
    if (vega is None) == (ab_minus_vega is None):
        raise ValueError("give either the spectrum of Vega or ab_minus_vega, and not both")
    if vega is not None:
        return np.array([float(f.photon_mean_flux(vega.wavelength, vega.flux)) for f in filters])
    assert ab_minus_vega is not None
    missing = [f.name for f in filters if f.name not in ab_minus_vega]
    if missing:
        raise ValueError(f"no zero point for {', '.join(missing)}")
    return np.array([f.ab_flux * 10 ** (-0.4 * ab_minus_vega[f.name]) for f in filters])
