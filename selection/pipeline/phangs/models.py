"""The grid of synthetic clusters of the survey (Thilker et al. 2022, section 3)."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Float

from starcensus.settings import check_choices

from ....simulate.clusters.bins import StellarPopulation
from ....simulate.clusters.profiles import Moffat
from .hits import BIN_SIZES, MIN_MODELS

LOG_AGES = (6.0, 6.5, 7.0, 7.5, 8.0, 8.5, 9.0)
A_VS = (0.0, 0.25, 0.5)
ETAS = (0.75, 0.875, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)
FWHM_PIX = tuple(0.5 + 0.25 * step for step in range(27))
MASS_RANGE = (1e3, 1e5)

_G = 4.499e-3  # pc³ M_sun⁻¹ Myr⁻²


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """The grid, its size, and which of its clusters make the regions.

    **Arguments:**

    - `log_ages`, `a_vs`, `etas`, `fwhm_pix`: the grid; FWHM before the PSF, pixels.
    - `n_masses`: clusters of each age, A_V and morphology, flat in mass over `mass_range` (M_sun).
      1000 is the survey's; 4.5 million clusters.
    - `truncation_pix`: profiles end there, which gives those of η ≤ 1 a total.
    - `max_r_eff_pc`, `min_pi`, `always_log_age`, `min_brightness`: a cluster counts if r_eff ≤ max,
      age/crossing time ≥ min_pi or log_age ≤ always_log_age, and the mean surface brightness above
      the sky within 2.5 pixels exceeds min_brightness, electrons/s/pixel.
    - `endless`: whether clusters of η ≤ 1, which have no r_eff, count. The paper does not say; by
      default they do not, as any comparison with their r_eff fails.
    - `bin_sizes`, `min_models`, `structure`, `openings`: see `hit_map`.
    """

    log_ages: tuple[float, ...] = LOG_AGES
    a_vs: tuple[float, ...] = A_VS
    etas: tuple[float, ...] = ETAS
    fwhm_pix: tuple[float, ...] = FWHM_PIX
    mass_range: tuple[float, float] = MASS_RANGE
    n_masses: int = 1000
    truncation_pix: float = 50.0
    max_r_eff_pc: float = 10.0
    min_pi: float = 3.0
    always_log_age: float = 7.0
    min_brightness: float = 0.04
    endless: bool = False
    bin_sizes: tuple[float, ...] = BIN_SIZES
    min_models: int = MIN_MODELS
    structure: Literal["cross", "square"] = "cross"
    openings: int = 1

    def __post_init__(self) -> None:
        check_choices(self)
        if self.n_masses < 1 or not 0 < self.mass_range[0] <= self.mass_range[1]:
            raise ValueError(
                f"n_masses >= 1 and 0 < low <= high in mass_range; got {self.n_masses} and "
                f"{self.mass_range}"
            )

    @property
    def morphologies(self) -> list[tuple[float, float]]:
        """(FWHM in pixels, η) of each."""
        return [(fwhm, eta) for eta in self.etas for fwhm in self.fwhm_pix]

    @property
    def n_per_morphology(self) -> int:
        return len(self.log_ages) * len(self.a_vs) * self.n_masses

    @property
    def n_models(self) -> int:
        return len(self.morphologies) * self.n_per_morphology


def half_light_radius(fwhm: float, eta: float) -> float:
    """Half-light radius of an endless profile, in the unit of `fwhm`; NaN for η ≤ 1."""
    return Moffat(fwhm, eta).half_light_radius if eta > 1 else float("nan")


def crossing_time_myr(
    log_mass: Float[np.ndarray, "n"], r_eff_pc: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """10 (r_eff³ / GM)^(1/2), of virial equilibrium (Gieles & Portegies Zwart 2011)."""
    return 10 * np.sqrt(r_eff_pc**3 / (_G * 10**log_mass))


def mean_magnitudes(
    population: StellarPopulation, band: str, settings: ModelSettings
) -> Float[np.ndarray, "age a_v"]:
    """Absolute magnitude of the expected light of 1 M_sun, at each age and A_V of the grid.

    Raises `ValueError` for a band that the population lacks.
    """
    if band not in population.bands:
        raise ValueError(f"there is no band {band}; there are {', '.join(population.bands)}")
    light = population.band_flux(population.mean_light(np.array(settings.log_ages)))
    log_flux = np.log(light[:, population.bands.index(band)])
    knots = population.grid.a_v
    at = np.array([np.interp(settings.a_vs, knots, row) for row in log_flux])
    return -2.5 / np.log(10) * at
