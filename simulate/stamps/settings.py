"""What a bank of mock clusters is drawn from, and how its stamps see it.

The ranges are those of Bialopetravičius & Narbutis (2020) and of J. Bialopetravičius's thesis,
chapter 3; where these are silent the choice is stated with the field.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from starcensus.runs import RunError
from starcensus.theta import AXES, check_units

from ..clusters.cluster import DrawSettings
from ..clusters.imf import AbstractImf, Kroupa
from ..images.frame import Frame
from ..images.galaxy import NGC628C, Exposure
from ..library.design import Pair
from ..library.engine import StarcensusEngine, load_grid
from ..sky import pc_per_arcsec, pc_per_pixel

# M83's mosaic: middles of the ranges of exposure (Bialopetravičius & Narbutis 2020, section 2.1),
# STScI's VEGAMAG zero points of 2009, and zodiacal skies in proportion to those of NGC 628-C.
M83 = (
    Exposure("WFC3_UVIS_F336W", 2250.0, 23.48, 0.003),
    Exposure("WFC3_UVIS_F438W", 2400.0, 24.98, 0.010),
    Exposure("WFC3_UVIS_F814W", 1950.0, 24.67, 0.032),
)
M83_MODULUS = 28.266  # 4.5 Mpc (Thim et al. 2003)
NGC628_MODULUS = 29.98  # 9.9 Mpc


@dataclasses.dataclass(frozen=True)
class StampSettings:
    """Mock clusters for one field: their θ, structure, light and cut, and the stamps of them.

    The defaults are the M83 set-up with the stars of the carried grid, of Z = 0.02.

    **Arguments:**

    - `exposures`: the bands, with exposure times and zero points. Skies and read noise do not
      enter noiseless stamps.
    - `distance_modulus`: mag.
    - `pixel_scale_arcsec`, `size_pix`: side of a pixel (arcsec) and of a stamp (pixels).
    - `log_age` (log10 yr), `a_v` (mag): ranges, drawn uniformly from steps of `log_age_step` and
      `a_v_step`, both ends included; a step of 0 is none.
    - `log_mass`: range of log10 M_sun, drawn uniformly: of the mass at birth.
    - `eff_a_arcsec`, `eff_gamma`: ranges of the EFF profile's core radius (arcsec) and γ, drawn
      log-uniformly, and kept if log10 of the radius that holds half of the stars, in arcsec, lies
      in `log_r_h_arcsec`. The profile is not truncated.
    - `faintest_mags`: a cluster is kept if it is brighter than each of these apparent Vega
      magnitudes, one for each band; infinity asks nothing of a band, None nothing at all.
    - `offset_sd_pix`: standard deviation, along each axis, of the place of a cluster's centre about
      the middle of its stamp, pixels: the peaks of a detector are off by something.
    - `psf_radius_pix`: half the side of the embedded PSFs; light is followed that far beyond the
      stamp too.
    - `grid`: path of a stellar grid; None takes the one that the package carries.
    - `z`: metallicity that the grid must say it has; None takes any.
    - `imf`: masses of the stars.
    - `draw`: gas, and how stars are drawn.

    Raises `ValueError` for ranges that are not in order or no whole number of steps, and for cuts
    that are not one for each band.

    ```python
    settings = StampSettings(log_mass=(4.0, 5.0), offset_sd_pix=0.7)
    len(settings.log_ages) * len(settings.a_vs)  # 71 ages behind 31 extinctions
    ```
    """

    exposures: tuple[Exposure, ...] = M83
    distance_modulus: float = M83_MODULUS
    pixel_scale_arcsec: float = 0.04
    size_pix: int = 64
    log_age: Pair = (6.6, 10.1)
    log_mass: Pair = (3.5, 5.5)
    a_v: Pair = (0.0, 3.0)
    log_age_step: float = 0.05
    a_v_step: float = 0.1
    eff_a_arcsec: Pair = (0.04, 1.2)
    eff_gamma: Pair = (2.05, 8.0)
    log_r_h_arcsec: Pair = (-1.4, -0.4)
    faintest_mags: tuple[float, ...] | None = (24.0, 23.5, 23.0)
    offset_sd_pix: float = 0.0
    psf_radius_pix: int = 64
    grid: str | None = None
    z: float | None = 0.02
    imf: AbstractImf = dataclasses.field(default_factory=Kroupa)
    draw: DrawSettings = dataclasses.field(default_factory=lambda: DrawSettings(nebular=False))

    def __post_init__(self) -> None:
        if not self.bands or len(set(self.bands)) < len(self.bands):
            raise ValueError(f"exposures are of bands, each once; got {', '.join(self.bands)}")
        for name in (*AXES, "eff_a_arcsec", "eff_gamma", "log_r_h_arcsec"):
            low, high = getattr(self, name)
            if not (np.isfinite([low, high]).all() and low <= high):
                raise ValueError(f"{name} = [{low:g}, {high:g}]; expected the lower limit first")
        for name in AXES:
            check_units(name, *getattr(self, name))
        if self.a_v[0] < 0 or not self.eff_a_arcsec[0] > 0 or not self.eff_gamma[0] > 2:
            raise ValueError(
                f"a_v starts at {self.a_v[0]:g}, eff_a_arcsec at {self.eff_a_arcsec[0]:g} and "
                f"eff_gamma at {self.eff_gamma[0]:g}; expected 0 or more, above 0, and above 2, "
                "where the light of a profile without end is finite"
            )
        for name in ("log_age", "a_v"):
            (low, high), step = getattr(self, name), getattr(self, f"{name}_step")
            steps = (high - low) / step if step > 0 else 0.0
            if not step >= 0 or abs(steps - round(steps)) > 1e-6:
                raise ValueError(
                    f"{name} runs from {low:g} to {high:g} in steps of {step:g}; expected a whole "
                    "number of steps, or a step of 0 for none"
                )
        if self.faintest_mags is not None and (
            len(self.faintest_mags) != len(self.bands) or np.isnan(self.faintest_mags).any()
        ):
            raise ValueError(
                f"faintest_mags is {self.faintest_mags}; expected one magnitude for each of "
                f"{', '.join(self.bands)}, infinity where there is no cut"
            )
        if self.size_pix < 8 or self.psf_radius_pix < 8 or not self.offset_sd_pix >= 0:
            raise ValueError(
                f"size_pix is {self.size_pix}, psf_radius_pix {self.psf_radius_pix} and "
                f"offset_sd_pix {self.offset_sd_pix:g}; expected 8, 8 and 0 or more"
            )
        _ = self.pc_per_pixel

    @classmethod
    def m83(cls, grid: str | None = None, z: float | None = 0.03) -> "StampSettings":
        """The set-up of M83: F336W, F438W and F814W of WFC3/UVIS at 4.5 Mpc, Z = 0.03.

        The carried grid is of Z = 0.02: give the path of a `grid` of 0.03 (`build_grid` makes one
        of PARSEC isochrones), or z = 0.02 to take the carried one knowingly. Its extinction is that
        of Fitzpatrick (1999), the thesis's that of Cardelli et al. (1989), both of R_V = 3.1.
        There is no nebular light, as in isochrones alone.

        ```python
        StampSettings.m83(z=0.02).check_grid()
        ```
        """
        return cls(grid=grid, z=z)

    @classmethod
    def ngc628(cls, grid: str | None = None, z: float | None = 0.02) -> "StampSettings":
        """A set-up of NGC 628: the five bands of LEGUS at 9.9 Mpc, as of its field C, Z = 0.02.

        Radii are those of the M83 set-up in parsecs (0.87 to 8.7). Clusters are brighter than
        M_V = -6, LEGUS's own limit (Adamo et al. 2017), down to the masses and ages that it lets
        in; there is gas.

        ```python
        StampSettings.ngc628().bands
        ```
        """
        nearer = pc_per_arcsec(M83_MODULUS) / pc_per_arcsec(NGC628_MODULUS)
        shift = float(np.log10(nearer))
        return cls(
            exposures=NGC628C,
            distance_modulus=NGC628_MODULUS,
            pixel_scale_arcsec=0.0396,
            log_age=(6.0, 10.1),
            log_mass=(2.5, 5.5),
            eff_a_arcsec=(cls.eff_a_arcsec[0] * nearer, cls.eff_a_arcsec[1] * nearer),
            log_r_h_arcsec=(cls.log_r_h_arcsec[0] + shift, cls.log_r_h_arcsec[1] + shift),
            faintest_mags=(np.inf, np.inf, np.inf, NGC628_MODULUS - 6.0, np.inf),
            grid=grid,
            z=z,
            draw=DrawSettings(),
        )

    def like(self, frame: Frame) -> "StampSettings":
        """These settings with the bands, exposures, zero points, distance and pixels of a frame.

        The cut goes, for it is of other bands, unless the bands are the same.

        ```python
        StampSettings().like(frame).bands
        ```
        """
        exposures = tuple(
            Exposure(
                image.band,
                float(image.exposure_s),
                float(image.zero_point),
                float(np.median(image.data if image.bad is None else image.data[~image.bad])),
                float(image.read_noise_e),
                image.n_exposures,
            )
            for image in frame
        )
        return dataclasses.replace(
            self,
            exposures=exposures,
            distance_modulus=float(frame.distance_modulus),
            pixel_scale_arcsec=float(frame.pixel_scale_arcsec),
            faintest_mags=self.faintest_mags if frame.bands == self.bands else None,
        )

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(exposure.band for exposure in self.exposures)

    @property
    def pc_per_pixel(self) -> float:
        """Side of a pixel at the distance, pc."""
        return pc_per_pixel(self.distance_modulus, self.pixel_scale_arcsec)

    @property
    def pc_per_arcsec(self) -> float:
        """Length of an arcsec at the distance, pc."""
        return pc_per_arcsec(self.distance_modulus)

    @property
    def middle_pix(self) -> float:
        """x and y of the middle of a stamp, which lies between pixels where the side is even."""
        return (self.size_pix - 1) / 2

    @property
    def log_ages(self) -> Float[np.ndarray, "age"]:
        """The ages that are drawn, log10 yr; the two limits where there is no step."""
        return _steps(self.log_age, self.log_age_step)

    @property
    def a_vs(self) -> Float[np.ndarray, "extinction"]:
        """The extinctions that are drawn, mag; the two limits where there is no step."""
        return _steps(self.a_v, self.a_v_step)

    @property
    def rate_of_flux(self) -> Float[np.ndarray, "band"]:
        """Electrons/s in each band of a source of absolute magnitude 0."""
        zero = np.array([exposure.zero_point for exposure in self.exposures])
        return 10.0 ** (0.4 * (zero - self.distance_modulus))

    @property
    def exposure_s(self) -> Float[np.ndarray, "band"]:
        """Exposure time of each band, s."""
        return np.array([exposure.exposure_s for exposure in self.exposures])

    @property
    def engine(self) -> StarcensusEngine:
        """What draws the clusters' stars."""
        return StarcensusEngine(self.bands, self.grid, self.imf, self.draw)

    def check_grid(self) -> None:
        """Raises `RunError` for a grid of another metallicity, without a band, or that ends early.

        ```python
        StampSettings.m83(z=0.02).check_grid()
        ```
        """
        grid = load_grid(self.grid)
        name = "the carried stellar grid" if self.grid is None else self.grid
        has = grid.provenance.get("z")
        if self.z is not None and (has is None or abs(has - self.z) > 1e-6):
            raise RunError(
                f"{name} has z = {has} and the settings ask for z = {self.z:g}: give the path of a "
                "`grid` of that metallicity, or the grid's own z to take it as it is"
            )
        if missing := [band for band in self.bands if band not in grid.bands]:
            raise RunError(
                f"{name} has no band {', '.join(missing)}; it has {', '.join(grid.bands)}: build "
                "one that has (`starcensus simulate grid`) and give its path as `grid`"
            )
        for axis, (least, most) in self.engine.limits().items():
            low, high = getattr(self, axis)
            if low < least or high > most:
                raise RunError(
                    f"{axis} runs from {low:g} to {high:g}; {name} has {least:g} to {most:g}: "
                    "narrow the range"
                )

    def passes(self, mags: Float[np.ndarray, "n band"]) -> Bool[np.ndarray, "n"]:
        """Which clusters of these apparent Vega magnitudes pass the cut: in all bands."""
        if self.faintest_mags is None:
            return np.ones(len(mags), bool)
        faintest = np.array(self.faintest_mags)
        return ((mags < faintest) | np.isposinf(faintest)).all(axis=1)

    def describe(self) -> dict[str, Any]:
        """All that the mocks depend on, the engine's facts included, as JSON."""
        own = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if field.name not in ("exposures", "faintest_mags", "grid", "imf", "draw")
        }
        faintest = self.faintest_mags or (np.inf,) * len(self.bands)
        return {
            **own,
            "exposures": [dataclasses.asdict(exposure) for exposure in self.exposures],
            "faintest_mags": [mag if np.isfinite(mag) else None for mag in faintest],
            "engine": self.engine.describe(),
        }


def _steps(limits: Pair, step: float) -> Float[np.ndarray, "n"]:
    low, high = limits
    n = round((high - low) / step) if step > 0 else 1
    # Multiples that print as they are meant, and are those of the grid's ages.
    return np.round(np.linspace(low, high, n + 1), 10)
