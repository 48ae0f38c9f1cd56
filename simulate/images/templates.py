"""Templates: what a cluster or a star looks like on a pixel grid.

A template is a profile convolved with the PSF and a pixel. Its transform is the PSF's, measured,
times the profile's, computed ring by ring, so a core of any smallness is exact. It is kept
sampled at pixel spacing for source centres on a grid of sub-pixel phases, sixteen per axis in the
core and two in the wings, and is bilinear between phases: within 0.2% of the peak of GalSim's
drawing for point sources and for EFF profiles of 0.5 pc and more at 1.9 pc per pixel.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from scipy import fft, special

from starcensus.settings import check_choices

from ..clusters.profiles import EFF, King, Profile
from .psf import PSF, fast_length

ProfileKind = Literal["eff", "king"]

CORE_PHASES, WING_PHASES = 16, 2
_FINE = 8
CORE_RADIUS = 24
_RINGS = 3000


@dataclasses.dataclass(frozen=True, eq=False)
class Template:
    """A source of unit flux at sub-pixel phases.

    **Arguments:**

    - `core`: `(phase, phase, m, m)`, m = 2 CORE_RADIUS + 1, its pixels when the centre is moved by
      (row phase, column phase) / CORE_PHASES pixels from that of the middle pixel; one more phase
      than CORE_PHASES, so that the last is a move by a whole pixel.
    - `wing`: the same for all pixels within `radius`, with WING_PHASES.
    - `radius`: half the side of `wing`, pixels.
    """

    core: Float[np.ndarray, "phase phase m m"]
    wing: Float[np.ndarray, "wing_phase wing_phase n n"]
    radius: int

    def edge(self) -> float:
        """Largest value on the border of the core: what a core alone leaves out, per unit flux."""
        middle = self.core[0, 0]
        return float(max(middle[0].max(), middle[:, 0].max()))

    def stamp(self, dx: float, dy: float, radius: int) -> Float[np.ndarray, "size size"]:
        """Pixels within `radius` of the middle one, for a centre at (dx, dy) in [0, 1) from its.

        `radius` is at most CORE_RADIUS, or the template's whole radius.
        """
        m = CORE_RADIUS
        if radius <= m:
            at = slice(m - radius, m + radius + 1)
            return _between(self.core, dx, dy, at)
        stamp = _between(self.wing, dx, dy, slice(None))
        middle = slice(self.radius - m, self.radius + m + 1)
        stamp[middle, middle] = _between(self.core, dx, dy, slice(None))
        return stamp


def _between(phases: np.ndarray, dx: float, dy: float, at: slice) -> np.ndarray:
    n = phases.shape[0] - 1
    row, col = dy * n, dx * n
    i, j = min(int(row), n - 1), min(int(col), n - 1)
    u, v = np.float32(row - i), np.float32(col - j)
    one = np.float32(1)
    stamp = phases[i, j, at, at] * ((one - u) * (one - v))
    stamp += phases[i, j + 1, at, at] * ((one - u) * v)
    stamp += phases[i + 1, j, at, at] * (u * (one - v))
    stamp += phases[i + 1, j + 1, at, at] * (u * v)
    return stamp


def make_template(psf: PSF, profile: Profile | None, pc_per_pixel: float) -> Template:
    """The template of a profile, or of a point source (None).

    Its pixels within the PSF's radius (but at least the core) are kept; they sum to 1 less the
    light beyond.

    **Arguments:**

    - `psf`: PSF of the band.
    - `profile`: distribution of the light.
    - `pc_per_pixel`: side of a detector pixel, pc.

    ```python
    make_template(psfs["ACS_F555W"], EFF.from_half_light(3.0), pc_per_pixel=1.9).radius
    ```
    """
    radius = max(int(psf.radius_pix), CORE_RADIUS)
    # Light may wrap around only from beyond the corners that are kept.
    n_pix = fast_length(2 * radius + 2 * CORE_RADIUS)
    spectrum = _psf_spectrum(psf, n_pix)
    n = n_pix * psf.oversampling
    if profile is not None:
        f_row = np.fft.fftfreq(n, 1 / psf.oversampling)
        f_col = np.fft.rfftfreq(n, 1 / psf.oversampling)
        spectrum = spectrum * _profile_spectrum(profile, f_col, f_row[:, None], pc_per_pixel)
    image = resample(spectrum, n, n_pix * _FINE)
    return Template(
        core=_core_phases(image), wing=_phases(image, WING_PHASES, radius), radius=radius
    )


@functools.lru_cache(maxsize=16)
def _psf_spectrum(psf: PSF, n_pix: int) -> np.ndarray:
    """Transform of the PSF about its centre; pixels of the detector set the unit of frequency."""
    n = n_pix * psf.oversampling
    grid = np.zeros((n, n))
    half = psf.image.shape[0] // 2
    half = min(half, n // 2 - 1)
    middle = psf.image.shape[0] // 2
    cut = psf.image[middle - half : middle + half + 1, middle - half : middle + half + 1]
    grid[: 2 * half + 1, : 2 * half + 1] = cut
    grid = np.roll(grid, (-half, -half), axis=(0, 1))
    return np.asarray(fft.rfft2(grid))


def _profile_spectrum(
    profile: Profile, f_x: np.ndarray, f_y: np.ndarray, pc_per_pixel: float
) -> np.ndarray:
    """Transform of a profile at frequencies in cycles per pixel: a sum of J0 over rings."""
    angle = np.deg2rad(profile.position_angle_deg)
    along = np.cos(angle) * f_x + np.sin(angle) * f_y
    across = np.cos(angle) * f_y - np.sin(angle) * f_x
    ratio = profile.axis_ratio
    f = np.hypot(along / ratio**0.5, across * ratio**0.5)
    edges = np.linspace(0.0, 1.0, _RINGS + 1)
    # Rings of equal light; the last, of an endless profile, ends where all but 1e-6 is inside.
    edges[-1] = 1 - 1e-6
    middle = 0.5 * (edges[1:] + edges[:-1])
    r = np.asarray(profile.radius_enclosing(middle)) / pc_per_pixel
    weight = np.diff(edges)
    steps = np.r_[0.0, np.geomspace(1e-4, f.max() * 1.0001, 1200)]
    value = np.array([(weight * special.j0(2 * np.pi * k * r)).sum() for k in steps])
    return np.interp(f, steps, value)


def resample(spectrum: np.ndarray, n: int, wanted: int) -> np.ndarray:
    """Image with `wanted` samples across from the transform of one with n, in the same units."""
    keep = min(n, wanted) // 2
    full = np.zeros((wanted, wanted // 2 + 1), complex)
    full[:keep, :keep] = spectrum[:keep, :keep]
    full[-keep + 1 :, :keep] = spectrum[-keep + 1 :, :keep]
    return np.asarray(fft.irfft2(full, s=(wanted, wanted)))


def _phases(image: np.ndarray, phases: int, radius: int) -> np.ndarray:
    """(phases + 1, phases + 1, n, n): pixels when the centre is moved by i / phases of one."""
    pixels = np.arange(-radius, radius + 1) * _FINE
    at = [(pixels - i * _FINE // phases) % len(image) for i in range(phases + 1)]
    rows = [[image[np.ix_(row, col)] for col in at] for row in at]
    return np.array(rows, np.float32) * _FINE**2


def _core_phases(image: np.ndarray) -> np.ndarray:
    """The same for the core, with the phases between those of the image by quintic splines."""
    from scipy import ndimage

    margin = 2 * _FINE
    reach = CORE_RADIUS * _FINE + margin
    at = np.arange(-reach - _FINE, reach + 1) % len(image)
    smooth = ndimage.spline_filter(image[np.ix_(at, at)] * _FINE**2, order=5)
    n = CORE_PHASES + 1
    out = np.empty((n, n, 2 * CORE_RADIUS + 1, 2 * CORE_RADIUS + 1), np.float32)
    step = CORE_PHASES // _FINE
    fine = np.arange(len(at) * step) / step
    whole = ndimage.map_coordinates(
        smooth, np.meshgrid(fine, fine, indexing="ij"), order=5, prefilter=False
    )
    centre = (reach + _FINE) * step
    pixels = centre + np.arange(-CORE_RADIUS, CORE_RADIUS + 1) * CORE_PHASES
    for i in range(n):
        for j in range(n):
            out[i, j] = whole[np.ix_(pixels - i, pixels - j)]
    return out


@dataclasses.dataclass(frozen=True)
class ProfileSettings:
    """The profile that all clusters have, but for their radii.

    **Arguments:**

    - `kind`: `"eff"`, (1 + r²/a²)^(−η) truncated at the radius of the PSF, or `"king"`.
    - `eta`: η of EFF profiles, above 0.5.
    - `concentration`: r_t/r_c of King's profiles, 0.5 or more.
    - `axis_ratio`, `position_angle_deg`: see `Profile`.
    - `step_dex`: radii are rounded to this step in log10; 0.02 dex is 2.3% in a radius at most.

    Raises `ValueError` for numbers outside these ranges, and for a number of the other kind.

    ```python
    Templates(psfs, pc_per_pixel=1.9, profile=ProfileSettings("king", concentration=20.0))
    ```
    """

    kind: ProfileKind = "eff"
    eta: float = 1.5
    concentration: float = 30.0
    axis_ratio: float = 1.0
    position_angle_deg: float = 0.0
    step_dex: float = 0.02

    def __post_init__(self) -> None:
        check_choices(self)
        other = "concentration" if self.kind == "eff" else "eta"
        default = {field.name: field.default for field in dataclasses.fields(self)}[other]
        if getattr(self, other) != default:
            raise ValueError(f"profile.{other} is not of kind {self.kind}; remove it")
        for name, good, expected in (
            ("eta", 0.5 < self.eta < np.inf, "more than 0.5"),
            ("concentration", 0.5 <= self.concentration < np.inf, "r_t/r_c of 0.5 or more"),
            ("axis_ratio", 0 < self.axis_ratio <= 1, "B/A in (0, 1]"),
            ("position_angle_deg", np.isfinite(self.position_angle_deg), "degrees"),
            ("step_dex", 0 < self.step_dex < np.inf, "dex > 0"),
        ):
            if not good:
                raise ValueError(f"profile.{name} is {getattr(self, name)}; expected {expected}")

    def at(self, r_eff_pc: float, end_pc: float) -> EFF | King:
        """The profile of a half-light radius, pc, circularised, truncation at `end_pc` included."""
        ellipse = self.axis_ratio, self.position_angle_deg
        if self.kind == "king":
            return King.from_half_light(r_eff_pc, self.concentration, *ellipse)
        return EFF.from_half_light(r_eff_pc, 2 * self.eta, end_pc, *ellipse)

    def describe(self) -> dict[str, Any]:
        """What the light depends on; JSON."""
        own = {"eta": self.eta} if self.kind == "eff" else {"concentration": self.concentration}
        return {
            "profile": self.kind,
            **own,
            "axis_ratio": self.axis_ratio,
            "position_angle_deg": self.position_angle_deg,
            "step_dex": self.step_dex,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class Templates:
    """Templates of clusters behind the PSF of each band, made when they are first asked for.

    **Arguments:**

    - `psfs`: one PSF for each band.
    - `pc_per_pixel`: side of a pixel of the images, pc.
    - `profile`: profile of the clusters. Its half-light radius counts the truncation, circularised.
    - `exact`: radii in pc that are not rounded to `profile.step_dex`; by default whole parsecs
      from 1 to 10.

    Raises `ValueError` for a pc_per_pixel that is not positive.

    ```python
    templates = Templates(default_psfs(("ACS_F555W",)), pc_per_pixel=1.9)
    stamp = templates.get("ACS_F555W", 3.0).stamp(0.0, 0.0, 10)
    ```
    """

    psfs: Mapping[str, PSF]
    pc_per_pixel: float
    profile: ProfileSettings = ProfileSettings()
    exact: tuple[float, ...] = tuple(float(r) for r in range(1, 11))
    _made: dict[tuple[str, float], Template] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    def __post_init__(self) -> None:
        if not 0 < self.pc_per_pixel < np.inf:
            raise ValueError(f"pc_per_pixel is {self.pc_per_pixel}; expected pc > 0")
        object.__setattr__(self, "psfs", dict(self.psfs))

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_made": {}}

    def describe(self) -> dict[str, object]:
        """What the light of a cluster depends on; JSON."""
        return {
            **self.profile.describe(),
            "pc_per_pixel": self.pc_per_pixel,
            "exact_pc": list(self.exact),
            "psf_sha256": {band: psf.sha256() for band, psf in self.psfs.items()},
        }

    def profile_of(self, band: str, r_eff_pc: float) -> EFF | King:
        """The profile of a half-light radius, pc."""
        return self.profile.at(r_eff_pc, self.psfs[band].radius_pix * self.pc_per_pixel)

    def radius(self, r_eff_pc: float) -> float:
        """The radius, pc, whose template serves; `ValueError` unless positive. 0 is a point."""
        if r_eff_pc in self.exact or r_eff_pc == 0:
            return float(r_eff_pc)
        if not r_eff_pc > 0:
            raise ValueError(f"r_eff_pc is {r_eff_pc}; expected parsecs >= 0")
        step = self.profile.step_dex
        return float(10 ** (step * round(np.log10(r_eff_pc) / step)))

    def get(self, band: str, r_eff_pc: float) -> Template:
        """The template of a band and a half-light radius in pc; of a point source for 0.

        Raises `ValueError` for a band without PSF, or a radius that is negative.
        """
        if band not in self.psfs:
            raise ValueError(f"there is no PSF of {band}; there are {', '.join(self.psfs)}")
        radius = self.radius(r_eff_pc)
        if (band, radius) not in self._made:
            profile = self.profile_of(band, radius) if radius else None
            self._made[band, radius] = make_template(self.psfs[band], profile, self.pc_per_pixel)
        return self._made[band, radius]
