"""Light of ionised gas: recombination lines and continuum per ionising photon.

Hydrogen that absorbs Q ionising photons per second recombines as often, so in case B a process of
emissivity 4πj = ε n_e n_p has the luminosity Q ε / α_B, whatever the density. The spectrum holds

- lines of hydrogen and He I from published emissivities (`nebular_lines`),
- free-bound continuum, hydrogenic, with the Gaunt factor of Menzel & Pekeris (1935) as expanded by
  Burgess & Summers (1987, MNRAS 226, 257); helium below its own thresholds,
- free-free continuum, with the thermally averaged Gaunt factor of Mihalas (1967, ApJ 149, 169),
- two-photon continuum of hydrogen in the fit of Nussbaumer & Schmutz (1984, A&A 138, 495).

Gas has one temperature and a low density (100 cm⁻³); helium is singly ionised where hydrogen is.
Metals are absent unless their lines are given.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from .dust import ExtinctionCurve, Wavelengths
from .filters import Filter
from .nebular_lines import (
    ALPHA_2S,
    ALPHA_B,
    H_BETA,
    HELIUM,
    HELIUM_TERMS,
    HYDROGEN,
    TEMPERATURES,
)

BOLTZMANN = 1.380649e-16  # erg K⁻¹
PLANCK = 6.62607015e-27  # erg s
LIGHT = 2.99792458e18  # Å s⁻¹
EV = 1.602176634e-12  # erg
RYDBERG = 2.178685e-11  # erg, of hydrogen (reduced mass)
LYMAN_LIMIT = PLANCK * LIGHT / RYDBERG  # Å
LYMAN_ALPHA = LYMAN_LIMIT / 0.75
# Decay rate of 2s and its collisional transfer to 2p at 10⁴ K and 100 cm⁻³, s⁻¹ (Osterbrock &
# Ferland 2006, Table 4.10).
DECAY_2S, TRANSFER_2S = 8.2249, 100 * 5.31e-4
HIGHEST_LEVEL = 100
HIGHEST_EDGE = 40


@dataclasses.dataclass(frozen=True)
class NebularSettings:
    """The gas.

    **Arguments:**

    - `temperature`: temperature of the electrons, K, 5000 to 20000 (range of the line tables).
    - `helium`: He⁺ per H⁺ by number.
    - `helium_lines`: whether He I lines are emitted (SLUG v2 without metals has none).
    - `metal_lines`: further lines as (vacuum wavelength in Å, luminosity over Hβ's); none by
      default, because they depend on metallicity and ionisation parameter.

    ```python
    NebularSettings(temperature=8000.0, metal_lines=((5008.24, 3.0), (4960.3, 1.0)))
    ```
    """

    temperature: float = 1e4
    helium: float = 0.1
    helium_lines: bool = True
    metal_lines: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        low, high = TEMPERATURES[[0, -1]]
        if not low <= self.temperature <= high:
            raise ValueError(
                f"temperature is {self.temperature}; the line tables hold {low:g} to {high:g} K"
            )
        if not 0 <= self.helium < 1:
            raise ValueError(f"helium is {self.helium}; expected He/H by number, about 0.1")
        for wavelength, ratio in self.metal_lines:
            if not (wavelength > LYMAN_LIMIT and ratio >= 0):
                raise ValueError(
                    f"metal line ({wavelength}, {ratio}): expected a wavelength above 912 Å and a "
                    "luminosity relative to Hβ that is not negative"
                )


@dataclasses.dataclass(frozen=True, eq=False)
class NebularSpectrum:
    """Nebular light of one absorbed ionising photon per second.

    **Arguments:**

    - `wavelength`: `(wave,)`, Å. `continuum`: `(wave,)`, erg s⁻¹ Å⁻¹.
    - `line_wavelength`: `(line,)`, Å in vacuum. `line_luminosity`: `(line,)`, erg s⁻¹.
    """

    wavelength: Float[np.ndarray, "wave"]
    continuum: Float[np.ndarray, "wave"]
    line_wavelength: Float[np.ndarray, "line"]
    line_luminosity: Float[np.ndarray, "line"]

    def sampled(self) -> Float[np.ndarray, "wave"]:
        """Continuum and lines on the grid, erg s⁻¹ Å⁻¹; the trapezoid rule finds each line's power.

        A line is shared between the two points beside it, so its width is that of the grid.
        """
        grid = self.wavelength
        step = np.diff(grid)
        width = np.concatenate([step, [0.0]]) / 2 + np.concatenate([[0.0], step]) / 2
        inside = (self.line_wavelength >= grid[0]) & (self.line_wavelength <= grid[-1])
        at, power = self.line_wavelength[inside], self.line_luminosity[inside]
        below = np.clip(np.searchsorted(grid, at, side="right") - 1, 0, len(grid) - 2)
        along = (at - grid[below]) / step[below]
        lines = np.bincount(below, power * (1 - along), len(grid))
        lines += np.bincount(below + 1, power * along, len(grid))
        return self.continuum + lines / width


def nebular_spectrum(
    wavelength: Float[np.ndarray, "wave"], settings: NebularSettings = NebularSettings()
) -> NebularSpectrum:
    """Spectrum of the gas per ionising photon per second that it absorbs.

    **Arguments:**

    - `wavelength`: `(wave,)`, Å, increasing; below the Lyman limit the gas is opaque and gives 0.
    - `settings`: temperature and composition.

    Dust inside the gas, photons that escape and helium's own share of the photons are the
    caller's: multiply by what hydrogen absorbs.

    ```python
    nebular_spectrum(np.linspace(3000.0, 9000.0, 601), NebularSettings(helium_lines=False))
    ```
    """
    if wavelength.ndim != 1 or len(wavelength) < 2 or not (np.diff(wavelength) > 0).all():
        raise ValueError("wavelengths must increase, two or more, in Å")
    alpha = _interpolate(ALPHA_B, settings.temperature)
    seen = np.maximum(wavelength, LYMAN_LIMIT)
    continuum = (
        free_bound(seen, settings.temperature)
        + settings.helium * helium_free_bound(seen, settings.temperature)
        + (1 + settings.helium) * free_free(seen, settings.temperature)
        + two_photon(seen, settings.temperature)
    )
    lines, power = _lines(settings)
    return NebularSpectrum(
        wavelength, np.where(wavelength < LYMAN_LIMIT, 0.0, continuum) / alpha, lines, power / alpha
    )


def nebular_band_flux(
    filters: tuple[Filter, ...],
    a_v: Float[np.ndarray, "knot"],
    curve: ExtinctionCurve,
    settings: NebularSettings = NebularSettings(),
) -> Float[np.ndarray, "band knot"]:
    """Photon-counting mean luminosity density in bands, per absorbed ionising photon per second.

    **Arguments:**

    - `filters`: the bands.
    - `curve`: extinction curve.
    - `a_v`: `(knot,)`, mag of V-band extinction of the gas.

    Returns `(band, knot)`, erg s⁻¹ Å⁻¹. Lines enter at the throughput of their own wavelength, so
    narrow bands are as good as broad ones. Raises `ValueError` for bands outside 912 Å to 10 µm.

    ```python
    wavelength = np.array([5000.0, 5200.0, 5500.0, 5700.0])
    mine = Filter("mine", wavelength, np.array([0.0, 0.3, 0.3, 0.0]))
    nebular_band_flux((mine,), np.array([0.0, 1.0]), extinction_curve())
    ```
    """
    spectrum = nebular_spectrum(_grid(settings), settings)
    dimming = 10 ** (-0.4 * a_v[:, None] * curve(spectrum.line_wavelength))
    result = []
    for band in filters:
        screens = 10 ** (-0.4 * a_v[:, None] * curve(band.grid(spectrum.wavelength)))
        own, throughput = band.wavelength_angstrom, band.throughput
        counted = np.interp(spectrum.line_wavelength, own, throughput, left=0.0, right=0.0)
        counted = counted * spectrum.line_wavelength / np.trapezoid(throughput * own, own)
        lines = dimming @ (counted * spectrum.line_luminosity)
        result.append(band.weights(spectrum.wavelength, screens) @ spectrum.continuum + lines)
    return np.array(result)


def free_free(wavelength: Wavelengths, temperature: float) -> Wavelengths:
    """Free-free emissivity of a singly charged ion, erg cm³ s⁻¹ Å⁻¹ (Mihalas 1967)."""
    x = LYMAN_LIMIT / wavelength
    y = BOLTZMANN * temperature * wavelength / (PLANCK * LIGHT)
    gaunt = 1 + 0.1728 * np.cbrt(x) * (1 + 2 * y)
    gaunt = gaunt - 0.0496 * np.cbrt(x) ** 2 * (1 + 2 / 3 * y + 4 / 3 * y**2)
    return _kramers(wavelength, temperature) * np.exp(-1 / y) * gaunt


def free_bound(wavelength: Wavelengths, temperature: float, lowest: int = 2) -> Wavelengths:
    """Emissivity of recombinations to hydrogen's levels `lowest` and above, erg cm³ s⁻¹ Å⁻¹."""
    total = np.zeros(wavelength.shape)
    for n in range(lowest, HIGHEST_LEVEL + 1):
        total = total + _recombination(wavelength, temperature, n, RYDBERG / n**2)
    return total


def helium_free_bound(wavelength: Wavelengths, temperature: float) -> Wavelengths:
    """Emissivity of recombinations to He I, n = 2 and above, erg cm³ s⁻¹ Å⁻¹.

    Hydrogenic in shape: each term of n = 2 and 3 starts at its own threshold with its own weight,
    higher levels are those of hydrogen. Within 15% of Ercolano & Storey (2006).
    """
    total = free_bound(wavelength, temperature, lowest=4)
    for n, energy, weight in HELIUM_TERMS:
        total = total + weight * _recombination(wavelength, temperature, int(n), energy * EV)
    return total


def two_photon(wavelength: Wavelengths, temperature: float) -> Wavelengths:
    """Two-photon emissivity of hydrogen's 2s level, erg cm³ s⁻¹ Å⁻¹ (Nussbaumer & Schmutz 1984)."""
    y = np.minimum(LYMAN_ALPHA / wavelength, 1.0)
    product = y * (1 - y)
    rate = 202.0 * (
        product * (1 - (4 * product) ** 0.8) + 0.88 * product**1.53 * (4 * product) ** 0.8
    )
    decays = _interpolate(ALPHA_2S, temperature) / (1 + TRANSFER_2S / DECAY_2S)
    return decays * rate / DECAY_2S * PLANCK * LIGHT * LYMAN_ALPHA / wavelength**3


def _recombination(
    wavelength: Wavelengths, temperature: float, n: int, energy: float
) -> Wavelengths:
    """Emissivity of recombinations to level n, bound by `energy` (erg), erg cm³ s⁻¹ Å⁻¹.

    Kramers' law times the Gaunt factor, u the energy of the electron over the level's.
    """
    photon = PLANCK * LIGHT / wavelength
    u = np.maximum(photon / energy - 1, 0.0)
    scale = n * (u + 1)
    gaunt = 1 + 0.1728 * (u - 1) / np.cbrt(scale) ** 2
    gaunt = gaunt - 0.0496 * (u**2 + 4 / 3 * u + 1) / np.cbrt(scale) ** 4
    kt = BOLTZMANN * temperature
    # The photon's energy above threshold is the electron's.
    share = 2 * RYDBERG / (kt * n**3) * np.exp(-np.maximum(photon - energy, 0.0) / kt)
    # Rounding may not close a threshold that the grid holds exactly.
    open_ = photon >= energy * (1 - 1e-12)
    return np.where(open_, _kramers(wavelength, temperature) * share * gaunt, 0.0)


def _kramers(wavelength: Wavelengths, temperature: float) -> Wavelengths:
    """Free-free emissivity without Gaunt factor and exponential (Osterbrock & Ferland eq. 4.22)."""
    return 6.8391e-38 / np.sqrt(temperature) * LIGHT / wavelength**2


def _interpolate(table: Float[np.ndarray, "*k 3"], temperature: float) -> Float[np.ndarray, "*k"]:
    """A column between those of `TEMPERATURES`: a parabola in the logarithms through all three."""
    x = np.log(temperature / TEMPERATURES[1]) / np.log(2)
    low, middle, high = np.moveaxis(np.log(table), -1, 0)
    return np.asarray(np.exp(middle + x * (high - low) / 2 + x**2 * ((high + low) / 2 - middle)))


def _lines(
    settings: NebularSettings,
) -> tuple[Float[np.ndarray, "line"], Float[np.ndarray, "line"]]:
    """Vacuum wavelengths (Å) and emissivities (erg cm³ s⁻¹ per n_e n_p), by wavelength."""
    h_beta = _interpolate(H_BETA, settings.temperature)
    wavelength, power = [], []
    for lower, table in HYDROGEN.items():
        upper = np.arange(lower + 1, HIGHEST_LEVEL + 1)
        ratio = _interpolate(table, settings.temperature) / 100
        # Beyond the table emissivities fall as n⁻³, as they do at its end to some percent.
        tail = ratio[-1] * (upper[len(table) - 1] / upper[len(table) :]) ** 3
        wavelength.append(LYMAN_LIMIT / (lower**-2.0 - upper**-2.0))
        power.append(h_beta * np.concatenate([ratio, tail]))
    if settings.helium_lines and settings.helium > 0:
        at, a, b, c = HELIUM.T
        t = settings.temperature / 1e4
        wavelength.append(at)
        power.append(settings.helium * a * t**b * np.exp(c / t))
    if settings.metal_lines:
        at, ratio = np.array(settings.metal_lines, float).T
        wavelength.append(at)
        power.append(h_beta * ratio)
    at = np.concatenate(wavelength)
    order = np.argsort(at, kind="stable")
    return at[order], np.concatenate(power)[order]


def _grid(settings: NebularSettings) -> Float[np.ndarray, "wave"]:
    """Wavelengths that resolve the continuum, with both sides of every threshold."""
    levels = np.arange(2, HIGHEST_EDGE + 1)
    edges = [LYMAN_LIMIT * levels**2.0, PLANCK * LIGHT / (HELIUM_TERMS[:, 1] * EV)]
    edges = np.concatenate([*edges, [LYMAN_ALPHA]])
    edges = edges[edges < 1e5]
    smooth = np.geomspace(LYMAN_LIMIT, 1e5, 3000)
    return np.unique(np.concatenate([smooth, edges, edges * (1 + 1e-9)]))
