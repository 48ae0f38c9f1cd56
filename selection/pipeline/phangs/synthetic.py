"""Synthetic clusters in an image, and the regions of the MCI plane that they fill (section 4.2)."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ....simulate.clusters.profiles import Moffat
from ....simulate.images.frame import BandImage
from ....simulate.images.psf import PSF
from ....simulate.images.render import photon_noise
from ....simulate.images.templates import CORE_RADIUS, make_template
from ..photometry import SKY_PIX, aperture_photometry
from .concentration import OFFSETS_PIX, RADII_PIX, concentration, multi_scale
from .hits import ModelRegions, hit_regions
from .models import ModelSettings, crossing_time_myr, half_light_radius

_HALF = 12  # pixels around a cluster, enough for its annulus
_CHUNK = 4000
assert _HALF <= CORE_RADIUS


@dataclasses.dataclass(frozen=True, eq=False)
class SyntheticClusters:
    """What was inserted and measured, one row each.

    **Arguments:**

    - `fwhm_pix`, `eta`, `log_mass`, `log_age`, `a_v`: of the cluster. `r_eff_pc`: NaN for η ≤ 1.
    - `pi`: age over crossing time; NaN for η ≤ 1.
    - `mag`: apparent V, total. `x`, `y`: where it was put.
    - `ci`: `(n, 6)`; `mci_in`, `mci_out`; NaN where a flux is not positive.
    - `brightness`: mean within 2.5 pixels, electrons/s/pixel above the sky.
    """

    fwhm_pix: Float[np.ndarray, "n"]
    eta: Float[np.ndarray, "n"]
    log_mass: Float[np.ndarray, "n"]
    log_age: Float[np.ndarray, "n"]
    a_v: Float[np.ndarray, "n"]
    r_eff_pc: Float[np.ndarray, "n"]
    pi: Float[np.ndarray, "n"]
    mag: Float[np.ndarray, "n"]
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    ci: Float[np.ndarray, "n 6"]
    mci_in: Float[np.ndarray, "n"]
    mci_out: Float[np.ndarray, "n"]
    brightness: Float[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.eta)

    def counts(self, settings: ModelSettings) -> Bool[np.ndarray, "n"]:
        """True where a cluster could exist and be detected (section 4.2.1)."""
        shape = self.r_eff_pc <= settings.max_r_eff_pc
        shape &= (self.pi >= settings.min_pi) | (self.log_age <= settings.always_log_age)
        if settings.endless:
            shape |= self.eta <= 1
        return shape & (self.brightness > settings.min_brightness)

    def regions(self, settings: ModelSettings) -> ModelRegions:
        """The regions that the clusters which count fill."""
        rows = self.counts(settings) & np.isfinite(self.mci_in) & np.isfinite(self.mci_out)
        return hit_regions(
            self.mci_in[rows],
            self.mci_out[rows],
            settings.bin_sizes,
            settings.min_models,
            structure=settings.structure,
            openings=settings.openings,
        )


def synthetic_clusters(
    image: BandImage,
    psf: PSF,
    distance_modulus: float,
    pc_per_pixel: float,
    magnitudes: Float[np.ndarray, "age a_v"],
    settings: ModelSettings,
    seed: int,
    fiducial: tuple[float, ...],
) -> SyntheticClusters:
    """Insert the grid into a V image at uniform positions, and measure it there.

    Each cluster has its own photon noise, on the image's own noise and neighbours; no two share a
    pixel, since each is put into a copy of its surroundings. Centres are at one of five sub-pixel
    offsets, in turn. Each morphology has a random stream of its own.

    **Arguments:**

    - `magnitudes`: absolute V of 1 M_sun, see `mean_magnitudes`.

    Raises `ValueError` for an image too small for a cluster and its annulus.
    """
    rows, cols = image.shape
    if min(rows, cols) <= 2 * _HALF + 1:
        raise ValueError(f"{image.band} has shape {image.shape}; expected {2 * _HALF + 2} or more")
    expected = (len(settings.log_ages), len(settings.a_vs))
    if magnitudes.shape != expected:
        raise ValueError(f"magnitudes has shape {magnitudes.shape}; the grid has {expected}")
    mass = np.linspace(*settings.mass_range, settings.n_masses)
    axes = (np.arange(expected[0]), np.arange(expected[1]), np.arange(settings.n_masses))
    age, a_v, m = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    log_mass, log_age = np.log10(mass)[m], np.array(settings.log_ages)[age]
    mag = magnitudes[age, a_v] - 2.5 * log_mass + distance_modulus
    rate = image.rate(mag)
    streams = np.random.SeedSequence(seed).spawn(len(settings.morphologies))
    parts: list[dict[str, Any]] = []
    for (fwhm, eta), stream in zip(settings.morphologies, streams, strict=True):
        rng = np.random.Generator(np.random.Philox(stream))
        end = settings.truncation_pix * pc_per_pixel
        profile = Moffat(fwhm * pc_per_pixel, eta, truncation_pc=end)
        stamps = _stamps(psf, profile, pc_per_pixel)
        x, y, flux = _measure(image, stamps, rate, rng)
        ci = concentration(flux)
        mci_in, mci_out = multi_scale(ci, fiducial)
        r_eff = np.full(len(rate), half_light_radius(fwhm, eta) * pc_per_pixel)
        parts.append(
            {
                "fwhm_pix": np.full(len(rate), fwhm),
                "eta": np.full(len(rate), eta),
                "log_mass": log_mass,
                "log_age": log_age,
                "a_v": np.array(settings.a_vs)[a_v],
                "r_eff_pc": r_eff,
                "pi": 10.0 ** (log_age - 6) / crossing_time_myr(log_mass, r_eff),
                "mag": mag,
                "x": x,
                "y": y,
                "ci": ci,
                "mci_in": mci_in,
                "mci_out": mci_out,
                "brightness": flux[:, RADII_PIX.index(2.5)] / (np.pi * 2.5**2),
            }
        )
    return SyntheticClusters(
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    )


def model_regions(
    image: BandImage,
    psf: PSF,
    distance_modulus: float,
    pc_per_pixel: float,
    magnitudes: Float[np.ndarray, "age a_v"],
    settings: ModelSettings,
    seed: int,
    fiducial: tuple[float, ...],
) -> ModelRegions:
    """Regions of the MCI plane for a field; arguments as of `synthetic_clusters`."""
    clusters = synthetic_clusters(
        image, psf, distance_modulus, pc_per_pixel, magnitudes, settings, seed, fiducial
    )
    return clusters.regions(settings)


def _stamps(psf: PSF, profile: Moffat, pc_per_pixel: float) -> Float[np.ndarray, "5 size size"]:
    """A cluster of unit flux at each sub-pixel offset."""
    template = make_template(psf, profile, pc_per_pixel)
    return np.array([template.stamp(dx, dy, _HALF) for dx, dy in OFFSETS_PIX])


def _measure(
    image: BandImage,
    stamps: Float[np.ndarray, "5 size size"],
    rate: Float[np.ndarray, "n"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n"], Float[np.ndarray, "n"], Float[np.ndarray, "n radius"]]:
    """Positions of clusters of these total rates, and their fluxes in the apertures."""
    n, size = len(rate), 2 * _HALF + 1
    col = rng.integers(_HALF, image.shape[1] - _HALF, n)
    row = rng.integers(_HALF, image.shape[0] - _HALF, n)
    which = np.arange(n) % len(OFFSETS_PIX)
    offset = np.array(OFFSETS_PIX)[which]
    step = np.arange(-_HALF, _HALF + 1)
    flux = np.empty((n, len(RADII_PIX)))
    for start in range(0, n, _CHUNK):
        part = slice(start, min(start + _CHUNK, n))
        rows, cols = row[part, None, None] + step[:, None], col[part, None, None] + step
        light = stamps[which[part]] * rate[part, None, None].astype(np.float32)
        # The wings of a spline may dip below nothing by rounding.
        light = np.maximum(light, 0).reshape(-1, size)
        tiles = image.data[rows, cols].reshape(-1, size)
        tiles = tiles + photon_noise(light, image.exposure_s, rng)
        bad = None if image.bad is None else image.bad[rows, cols].reshape(-1, size)
        count = part.stop - part.start
        mosaic = BandImage(
            image.band, tiles.astype(np.float32), image.exposure_s, image.zero_point, bad=bad
        )
        x = _HALF + offset[part, 0]
        y = _HALF + offset[part, 1] + size * np.arange(count)
        flux[part] = aperture_photometry(mosaic, x, y, RADII_PIX, SKY_PIX).flux
    return col + offset[:, 0], row + offset[:, 1], flux
