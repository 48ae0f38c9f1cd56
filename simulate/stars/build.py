"""Building a stellar grid from isochrones, atmospheres, filters and an extinction curve.

The spectrum of a star is its luminosity times a weighted mean of model spectra that each carry
unit luminosity, and a band's flux is linear in the spectrum. So the flux of every model behind
every knot of extinction is computed once, and those of the stars are the same weighted means.
"""

import dataclasses
import hashlib
import importlib.metadata
import platform
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from .atmospheres import Atmospheres, SpectralLibrary
from .dust import AV_KNOTS, NEBULAR_AV_KNOTS, ExtinctionCurve, chebyshev_knots, extinction_curve
from .filters import Filter, Spectrum, zero_fluxes
from .grid import StellarGrid
from .isochrones import Isochrone, IsochroneSet

SOLAR_LUMINOSITY = 3.828e33  # erg/s, IAU 2015 B3
TEN_PARSEC_AREA = 4 * np.pi * (10 * 3.0856775814913673e18) ** 2  # cm²
# Nebular light is reddened up to this many times more than stars.
NEBULAR_FACTOR = 2.1

# Luminosity of gas per absorbed ionising photon in each band and behind each knot, erg/Å.
GasLight = Callable[
    [tuple[Filter, ...], Float[np.ndarray, "knot"], ExtinctionCurve],
    Float[np.ndarray, "band knot"],
]


@dataclasses.dataclass(frozen=True)
class Resampling:
    """How finely isochrones are sampled.

    **Arguments:**

    - `step`: mag, largest difference between neighbours in any of the bands that matter.
    - `faint`: mag; bands in which both neighbours are fainter than this (absolute magnitude) do
      not count: a red dwarf's ultraviolet light adds nothing to a cluster's.
    - `jump`: dex; a fall in luminosity of more than this between neighbours is a helium flash,
      not a phase: the stars before it stay where they are up to the next point's mass.
    - `limit`: most points put between two neighbours.

    ```python
    Resampling(step=0.05).limit
    ```
    """

    step: float = 0.15
    faint: float = 10.0
    jump: float = 1.0
    limit: int = 64

    def __post_init__(self) -> None:
        if not (self.step > 0 and self.jump > 0 and self.limit >= 1):
            raise ValueError(f"step, jump and limit must be positive; got {self}")


@dataclasses.dataclass(frozen=True, eq=False)
class Photometry:
    """Fluxes of the models of a set of atmospheres, ready to be weighted.

    **Arguments:**

    - `atmospheres`: the libraries and the rule.
    - `flux`: one `(model, band, knot)` per library, 10^(-0.4 M) of a star of one solar luminosity.
    - `ionising`: one `(model,)` per library, photons per second per solar luminosity.
    """

    atmospheres: Atmospheres
    flux: tuple[Float[np.ndarray, "_ band knot"], ...]
    ionising: tuple[Float[np.ndarray, "_"], ...]

    @classmethod
    def compute(
        cls,
        atmospheres: Atmospheres,
        filters: tuple[Filter, ...],
        zero: Float[np.ndarray, "band"],
        curve: ExtinctionCurve,
        a_v: Float[np.ndarray, "knot"],
    ) -> "Photometry":
        """Integrate every model through every filter behind every knot of extinction.

        **Arguments:**

        - `zero`: `(band,)`, mean flux of magnitude 0, erg s⁻¹ cm⁻² Å⁻¹.
        - `curve`: A(λ)/A_V of wavelengths in Å.
        - `a_v`: `(knot,)`, mag.
        """
        flux = tuple(
            _model_flux(library, filters, zero, curve, a_v) for library in atmospheres.libraries
        )
        ionising = tuple(SOLAR_LUMINOSITY * lib.ionising for lib in atmospheres.libraries)
        return cls(atmospheres=atmospheres, flux=flux, ionising=ionising)

    def star_flux(
        self, stars: Isochrone, knots: int | None = None
    ) -> Float[np.ndarray, "star band knot"]:
        """10^(-0.4 M) of each star in each band, behind the first `knots` knots (all)."""
        shape = self.flux[0][0, :, :knots].shape
        result = np.zeros((len(stars), *shape))
        for mine, place, models, weights in self._shares(stars):
            flux = self.flux[place][:, :, :knots]
            result[mine] = np.einsum("sn,snbk->sbk", weights, flux[models])
        return result * 10 ** stars.log_lum[:, None, None]

    def star_ionising(self, stars: Isochrone) -> Float[np.ndarray, "star"]:
        """Hydrogen-ionising photons per second of each star."""
        result = np.zeros(len(stars))
        for mine, place, models, weights in self._shares(stars):
            result[mine] = np.sum(weights * self.ionising[place][models], axis=1)
        return result * 10**stars.log_lum

    def _shares(self, stars: Isochrone):
        chosen = self.atmospheres.assign(stars.log_teff, stars.log_g, stars.kind)
        for place, library in enumerate(self.atmospheres.libraries):
            mine = np.flatnonzero(chosen == place)
            if len(mine):
                yield mine, place, *library.nodes(stars.log_teff[mine], stars.log_g[mine])


def build_grid(
    isochrones: IsochroneSet,
    atmospheres: Atmospheres,
    filters: tuple[Filter, ...],
    *,
    vega: Spectrum | None = None,
    ab_minus_vega: dict[str, float] | None = None,
    curve: str | ExtinctionCurve = "F99",
    a_v: Float[np.ndarray, "knot"] = AV_KNOTS,
    gas: GasLight | None = None,
    resampling: Resampling | None = None,
    progress: Callable[[str], None] = lambda message: None,
) -> StellarGrid:
    """The stellar grid of these ingredients.

    **Arguments:**

    - `isochrones`, `atmospheres`, `filters`: what `read_...` returned.
    - `vega` or `ab_minus_vega`: what has magnitude 0 (`zero_fluxes`).
    - `curve`: extinction, a name that `dust.extinction_curve` knows or a curve from `dust`.
    - `a_v`: `(knot,)`, mag, knots from 0 up.
    - `gas`: its light, by default `nebular.nebular_band_flux` (hydrogen and helium, case B).
    - `resampling`: how finely isochrones are sampled.
    - `progress`: called with a line per stage.

    Raises `ValueError` for ingredients that do not fit together.

    ```python
    ck04, hot = "ck04models", "Hot_spectra"
    grid = build_grid(
        read_fsps("isoc_z0.0190.dat"),
        read_atmospheres(ck04, hot, z=0.019),
        default_filters("filters"),
        vega=read_vega("alpha_lyr_stis_011.fits"),
    )
    ```
    """
    if gas is None:
        # `nebular` itself needs the filters of this package, so it comes later.
        from .nebular import nebular_band_flux as gas

    resampling = resampling or Resampling()
    screen = extinction_curve(curve) if isinstance(curve, str) else curve
    zero = zero_fluxes(filters, vega=vega, ab_minus_vega=ab_minus_vega)
    progress(f"{len(filters)} bands through {len(atmospheres.libraries)} libraries")
    photometry = Photometry.compute(atmospheres, filters, zero, screen, a_v)
    progress(f"{len(isochrones.isochrones)} isochrones")
    fine = [resample(isochrone, photometry, resampling) for isochrone in isochrones.isochrones]
    whole = {
        name: np.concatenate([getattr(stars, name) for stars in fine])
        for name in ("initial_mass", "current_mass", "log_lum", "log_teff", "log_g")
    }
    kind = np.concatenate([stars.kind for stars in fine])
    nebular_a_v = chebyshev_knots(len(NEBULAR_AV_KNOTS), NEBULAR_FACTOR * float(a_v[-1]))
    nebular = gas(filters, nebular_a_v, screen) / TEN_PARSEC_AREA / zero[:, None]
    provenance: dict[str, Any] = {
        "isochrones": isochrones.source,
        "z": isochrones.z,
        "isochrones_sha256": _digest(*(stars.log_lum for stars in isochrones.isochrones)),
        "atmospheres": [library.name for library in atmospheres.libraries],
        "atmospheres_sha256": _digest(*(library.spectra for library in atmospheres.libraries)),
        "atmosphere_integrals": {
            library.name: [float(np.nanmin(library.integral)), float(np.nanmax(library.integral))]
            for library in atmospheres.libraries
        },
        "points_served": atmospheres.census(whole["log_teff"], whole["log_g"], kind),
        "pivots_angstrom": {f.name: round(f.pivot, 2) for f in filters},
        "filters_sha256": _digest(*(f.throughput for f in filters)),
        "magnitude_zero": "AB minus Vega table" if vega is None else vega.source,
        "ab_minus_vega": {
            f.name: round(float(-2.5 * np.log10(z / f.ab_flux)), 5)
            for f, z in zip(filters, zero, strict=True)
        },
        "extinction_curve": screen.describe(),
        "resampling": dataclasses.asdict(resampling),
        "citations": sorted(
            {
                *isochrones.citations,
                screen.reference,
                *(paper for library in atmospheres.libraries for paper in library.citations),
            }
        ),
        "versions": {
            "starcensus": importlib.metadata.version("starcensus"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
    }
    return StellarGrid(
        bands=tuple(f.name for f in filters),
        log_age=isochrones.log_age,
        start=np.cumsum([0, *(len(stars) for stars in fine)]),
        q_h=np.concatenate([photometry.star_ionising(stars) for stars in fine]),
        a_v=np.asarray(a_v, dtype=np.float64),
        flux=np.concatenate([photometry.star_flux(stars).astype(np.float32) for stars in fine]),
        nebular_a_v=nebular_a_v,
        nebular_flux=nebular,
        provenance=provenance,
        **whole,
    )


def resample(stars: Isochrone, photometry: Photometry, settings: Resampling) -> Isochrone:
    """The isochrone with points put in until neighbours are close in every band."""
    stars = _split_flash(stars, settings.jump)
    for _ in range(3):
        flux = photometry.star_flux(stars, knots=1)[:, :, 0]
        mags = -2.5 * np.log10(np.maximum(flux, 1e-30))
        step = np.abs(np.diff(mags, axis=0))
        step[np.minimum(mags[1:], mags[:-1]) > settings.faint] = 0
        step[np.diff(stars.initial_mass) < 1e-9 * stars.initial_mass[1:]] = 0
        parts = np.ceil(step.max(axis=1) / settings.step).astype(int)
        parts = np.clip(parts, 1, settings.limit)
        if (parts == 1).all():
            break
        low = np.repeat(stars.initial_mass[:-1], parts)
        width = np.repeat(np.diff(stars.initial_mass) / parts, parts)
        place = np.arange(len(low)) - np.repeat(np.cumsum(parts) - parts, parts)
        stars = stars.at(np.append(low + place * width, stars.initial_mass[-1]))
    return stars


def _split_flash(stars: Isochrone, jump: float) -> Isochrone:
    """Put the star before each helium flash just below the star after it.

    A straight line from the tip of the giant branch to the horizontal branch would fill the gap
    with stars that do not exist.
    """
    before = np.flatnonzero(np.diff(stars.log_lum) < -jump)
    if not len(before):
        return stars
    after = stars.initial_mass[before + 1]
    columns = {
        name: np.insert(getattr(stars, name), before + 1, getattr(stars, name)[before])
        for name in ("current_mass", "log_lum", "log_teff", "log_g", "kind")
    }
    near = np.maximum(after * (1 - 1e-10), (stars.initial_mass[before] + after) / 2)
    mass = np.insert(stars.initial_mass, before + 1, near)
    return Isochrone(log_age=stars.log_age, initial_mass=mass, **columns)


def _model_flux(
    library: SpectralLibrary,
    filters: tuple[Filter, ...],
    zero: Float[np.ndarray, "band"],
    curve: ExtinctionCurve,
    a_v: Float[np.ndarray, "knot"],
) -> Float[np.ndarray, "model band knot"]:
    """Flux of each model of one solar luminosity at 10 pc, in units of magnitude 0."""
    bands = []
    for band, flux in zip(filters, zero, strict=True):
        absorption = curve(band.grid(library.wavelength))
        screen = 10 ** (-0.4 * a_v[:, None] * absorption)
        weights = band.weights(library.wavelength, screen)
        bands.append(library.spectra @ weights.T * (SOLAR_LUMINOSITY / TEN_PARSEC_AREA / flux))
    return np.stack(bands, axis=1)


def _digest(*arrays: np.ndarray) -> str:
    """SHA-256 of arrays in single precision."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array, dtype=np.float32).tobytes())
    return total.hexdigest()
