"""A synthetic face-on spiral galaxy in several bands, with everything in it known.

The embedded stand-in for a mosaic. Its light: an exponential disc and a Sérsic bulge of old stars,
a clumpy two-armed spiral of young ones, dust lanes on the inner side of the arms, in front of half
of the disc's light, and galaxies behind it all. Stars brighter than a limit are drawn one by one
and convolved with the PSF; the rest is the mean light of the same isochrones. Numbers are of the
order of NGC 628's inner disc; nothing is fitted to it.
"""

import dataclasses

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from starcensus.bands import BANDS, filter_of, find_band, full_name

from ..clusters.bins import StellarPopulation
from ..clusters.cluster import DrawSettings
from ..library.library import ClusterLibrary
from ..sky import pc_per_pixel
from ..stars.dust import extinction_curve
from .frame import BandImage, Frame, check_size
from .psf import PSF
from .render import add_sources, add_stars, convolve, photon_noise
from .resolved import STAR_LIMIT_M_V, StarByStar
from .templates import Templates
from .white import draw_positions, placement_density

# Magnitudes of background galaxies less those in V; linear in wavelength between these bands.
_BACKGROUND_COLOURS = {
    "WFC3_UVIS_F275W": 1.5,
    "WFC3_UVIS_F336W": 1.0,
    "WFC3_UVIS_F438W": 0.9,
    "ACS_F435W": 0.9,
    "ACS_F555W": 0.0,
    "ACS_F606W": -0.3,
    "ACS_F814W": -1.1,
}
# Of a pixel in a band, at the peak of `make_galaxy` (measured: 28 to 37).
_BYTES_PER_BAND = 40
_YOUNG_LOG_AGES = (6.6, 7.0, 7.4, 7.8, 8.2)


@dataclasses.dataclass(frozen=True)
class Exposure:
    """How a band was observed.

    **Arguments:**

    - `band`: name of the band.
    - `exposure_s`: total exposure time, s.
    - `zero_point`: Vega magnitude of 1 electron/s.
    - `sky`: electrons/s in a pixel, of the order of zodiacal light.
    - `read_noise_e`, `n_exposures`: as in `BandImage`.
    """

    band: str
    exposure_s: float
    zero_point: float
    sky: float
    read_noise_e: float = 3.1
    n_exposures: int = 3


# LEGUS's NGC 628-C (Calzetti et al. 2015).
NGC628C = (
    Exposure("WFC3_UVIS_F275W", 2481.0, 22.6322, 0.001),
    Exposure("WFC3_UVIS_F336W", 2361.0, 23.4836, 0.003),
    Exposure("ACS_F435W", 1358.0, 25.784, 0.02, n_exposures=2),
    Exposure("ACS_F555W", 858.0, 25.731, 0.035, n_exposures=2),
    Exposure("ACS_F814W", 922.0, 25.53, 0.07, n_exposures=2),
)


@dataclasses.dataclass(frozen=True)
class GalaxySettings:
    """What the galaxy is made of.

    **Arguments:**

    - `shape`: (rows, columns).
    - `exposures`: the bands, by default those of LEGUS's NGC 628-C (Calzetti et al. 2015).
    - `distance_modulus`: mag.
    - `pixel_scale_arcsec`: side of a pixel, arcsec.
    - `centre`: centre of the galaxy, as fractions of (columns, rows).
    - `disc_mu_v`, `disc_scale_kpc`: central V surface brightness (mag/arcsec²) and scale length.
    - `bulge_mu_v`, `bulge_r_eff_kpc`, `bulge_n`: V surface brightness (mag/arcsec²) at the
      effective radius, that radius, and the Sérsic index.
    - `young_mu_v`: mean over the frame of the light of stars of 4 to 160 Myr, V mag/arcsec².
    - `pitch_deg`, `arm_width`: pitch of two logarithmic arms; width in radians of phase.
    - `clumping_dex`: scatter of the surface density of young stars, at scales of 40 and 160 pc.
    - `lane_a_v`: V extinction in the middle of a lane, mag.
    - `behind`: share of the stars behind it. Own clusters have the extinction of the library alone.
    - `star_limit_m_v`: stars brighter than this absolute magnitude are drawn one by one, in V of
      the field and in any band of clusters.
    - `galaxies_per_arcmin2`: background galaxies with V between 19 and 25.
    - `noise_correlation_pix`: σ of a Gaussian over which noise is shared among pixels as drizzling
      does, its variance kept; 0 for independent pixels.
    - `margin_pix`, `smoothing_pc`: border that clusters keep from, and smoothing of the light that
      they follow.

    Raises `ValueError` for fewer than 64 rows or columns, more than 2³¹ − 1 pixels, or numbers out
    of their ranges.

    ```python
    v = Exposure("ACS_F555W", 858.0, 25.731, 0.035, n_exposures=2)
    GalaxySettings(shape=(256, 256), exposures=(v,)).pc_per_pixel
    ```
    """

    shape: tuple[int, int] = (2048, 2048)
    exposures: tuple[Exposure, ...] = NGC628C
    distance_modulus: float = 29.98
    pixel_scale_arcsec: float = 0.0396
    centre: tuple[float, float] = (0.25, 0.3)
    disc_mu_v: float = 20.8
    disc_scale_kpc: float = 2.6
    bulge_mu_v: float = 20.6
    bulge_r_eff_kpc: float = 0.5
    bulge_n: float = 1.5
    young_mu_v: float = 22.6
    pitch_deg: float = 22.0
    arm_width: float = 0.7
    clumping_dex: float = 0.25
    lane_a_v: float = 1.2
    behind: float = 0.5
    star_limit_m_v: float = STAR_LIMIT_M_V
    galaxies_per_arcmin2: float = 25.0
    noise_correlation_pix: float = 0.0
    margin_pix: int = 12
    smoothing_pc: float = 120.0

    def __post_init__(self) -> None:
        if min(self.shape) < 64:
            raise ValueError(f"shape is {self.shape}; expected 64 rows and columns or more")
        check_size(self.shape, "the galaxy's shape", 0)
        if not (0 <= self.behind <= 1 and self.noise_correlation_pix >= 0):
            raise ValueError(
                "behind is a share and noise_correlation_pix >= 0; got "
                f"{self.behind} and {self.noise_correlation_pix}"
            )

    @property
    def pc_per_pixel(self) -> float:
        """Side of a pixel at the galaxy's distance, pc."""
        return pc_per_pixel(self.distance_modulus, self.pixel_scale_arcsec)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return tuple(exposure.band for exposure in self.exposures)

    @property
    def rate_of_flux(self) -> Float[np.ndarray, "band"]:
        """Electrons/s in each band of a source of flux 1, that is of absolute magnitude 0."""
        zero = np.array([exposure.zero_point for exposure in self.exposures])
        return 10.0 ** (0.4 * (zero - self.distance_modulus))

    def arms(
        self, x: Float[np.ndarray, "*n"], y: Float[np.ndarray, "*n"]
    ) -> Float[np.ndarray, "*n"]:
        """Young stars of the arms over those of an arm's ridge, without clumps and the disc's fall.

        1 on a ridge; less between arms, and towards the middle of the galaxy, where arms fade.

        **Arguments:**

        - `x`, `y`: positions, pixels.

        ```python
        GalaxySettings().arms(np.array([900.0]), np.array([1200.0]))
        ```
        """
        r, turn = _spiral(self, x, y)
        return _arms(turn, self.arm_width) * _outside_the_middle(r)


@dataclasses.dataclass(frozen=True, eq=False)
class Galaxy:
    """A synthetic galaxy.

    **Arguments:**

    - `frame`: its images, with noise.
    - `expected`: `(band, row, col)`, electrons/s without noise.
    - `clusters`: its own clusters, with `r_eff_pc` as rendered, or None.
    - `x`, `y`: `(n,)`, centres of the clusters, pixels.
    - `n_stars`: how many field stars were drawn one by one.
    """

    frame: Frame
    expected: Float[np.ndarray, "band row col"]
    clusters: ClusterLibrary | None
    x: Float[np.ndarray, "n"]
    y: Float[np.ndarray, "n"]
    n_stars: int


def make_galaxy(
    settings: GalaxySettings,
    population: StellarPopulation,
    psfs: dict[str, PSF],
    seed: int,
    clusters: ClusterLibrary | None = None,
    templates: Templates | None = None,
    resolved: bool = False,
    draw: DrawSettings = DrawSettings(),
) -> Galaxy:
    """Draw the galaxy; the same arguments give the same images.

    The field, its noise and the clusters have random streams of their own, so with another
    `clusters` (or None) the field is the same to the bit: images differ by the clusters' photons.
    These are not drizzled, so `noise_correlation_pix` leaves their noise alone. Clusters are placed
    in proportion to the field's smoothed white light, whatever their
    properties, as artificial cluster tests place theirs.

    **Arguments:**

    - `settings`: what the galaxy is made of.
    - `population`: the field stars; must know the bands, and one that stands for V.
    - `psfs`: one PSF for each band.
    - `seed`: seed of everything random.
    - `clusters`: absolute magnitudes in the bands, with `r_eff_pc` and, if `resolved`, `seed`.
    - `templates`: templates of the clusters; by default those of `psfs`.
    - `resolved`: render each cluster star by star from its seed. Else smooth EFF profiles.
    - `draw`: how the clusters were drawn, and their gas; read where they are resolved.

    Raises `ValueError` for a band without PSF, clusters without radii, resolved ones that these
    stars do not make, or more pixels than memory holds.

    ```python
    galaxy = make_galaxy(settings, stars, psfs, seed=2, clusters=library.take(slice(0, 10)))
    galaxy.frame.image("ACS_F555W").data.mean(), galaxy.x
    ```
    """
    missing = [band for band in settings.bands if band not in psfs]
    if missing:
        raise ValueError(f"there is no PSF of {', '.join(missing)}; psfs has {', '.join(psfs)}")
    check_size(settings.shape, "the galaxy's shape", _BYTES_PER_BAND * len(settings.exposures))
    streams = np.random.SeedSequence(seed).spawn(6)
    maps = _maps(settings, np.random.default_rng(streams[0]))
    expected, n_stars = _field(settings, population, psfs, maps, np.random.default_rng(streams[1]))
    behind = _background_galaxies(settings, np.random.default_rng(streams[2]))
    for plane, light, exposure in zip(expected, behind, settings.exposures, strict=True):
        plane += np.maximum(convolve(light, psfs[exposure.band]), 0.0)
    for plane, exposure in zip(expected, settings.exposures, strict=True):
        plane += np.float32(exposure.sky)
    field = np.stack(
        [
            _observe(plane, exposure, settings, np.random.default_rng(stream))
            for plane, exposure, stream in zip(
                expected, settings.exposures, streams[3].spawn(len(expected)), strict=True
            )
        ]
    )
    if clusters is None:
        return Galaxy(_frame(settings, field), expected, None, np.empty(0), np.empty(0), n_stars)
    density = placement_density(
        _frame(settings, expected), settings.smoothing_pc, settings.margin_pix
    )
    x, y = draw_positions(density, len(clusters), np.random.default_rng(streams[4]))
    templates = templates or Templates(psfs, settings.pc_per_pixel)
    light = np.zeros_like(expected)
    clusters = _add_clusters(
        settings, population, light, clusters, x, y, templates, draw if resolved else None
    )
    for plane, own, exposure, stream in zip(
        field, light, settings.exposures, streams[5].spawn(len(light)), strict=True
    ):
        plane += photon_noise(own, exposure.exposure_s, np.random.default_rng(stream))
    return Galaxy(_frame(settings, field), expected + light, clusters, x, y, n_stars)


def _frame(settings: GalaxySettings, data: np.ndarray) -> Frame:
    images = tuple(
        BandImage(e.band, plane, e.exposure_s, e.zero_point, e.read_noise_e, e.n_exposures)
        for e, plane in zip(settings.exposures, data, strict=True)
    )
    return Frame(images, settings.distance_modulus, settings.pixel_scale_arcsec)


def _observe(
    plane: np.ndarray, exposure: Exposure, settings: GalaxySettings, rng: np.random.Generator
) -> np.ndarray:
    """Photon and read noise, electrons/s."""
    t = exposure.exposure_s
    observed = rng.poisson(plane.astype(np.float64) * t).astype(np.float32)
    read = exposure.read_noise_e * exposure.n_exposures**0.5
    observed += rng.standard_normal(plane.shape, dtype=np.float32) * np.float32(read)
    observed /= np.float32(t)
    if settings.noise_correlation_pix:
        width = settings.noise_correlation_pix
        point = np.zeros((4 * int(np.ceil(4 * width)) + 1,) * 2)
        point[point.shape[0] // 2, point.shape[1] // 2] = 1
        kernel = ndimage.gaussian_filter(point, width)
        noise = ndimage.gaussian_filter(observed - plane, width, mode="wrap")
        observed = plane + noise / np.float32(np.sqrt((kernel**2).sum()))
    return observed


def _maps(settings: GalaxySettings, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Relative surface densities of the components, and the extinction of the lanes."""
    rows, cols = (np.arange(n, dtype=np.float32) for n in settings.shape)
    r, turn = _spiral(settings, cols, rows[:, None])
    disc = np.exp(-r / settings.disc_scale_kpc)
    b_n = 2 * settings.bulge_n - 1 / 3
    bulge = np.exp(-b_n * ((r / settings.bulge_r_eff_kpc) ** (1 / settings.bulge_n) - 1))

    def texture(scales_pc: tuple[float, ...], dex: float) -> np.ndarray:
        field = np.zeros(settings.shape, np.float32)
        for scale in scales_pc:
            noise = rng.standard_normal(settings.shape, dtype=np.float32)
            smooth = _smooth(noise, scale / settings.pc_per_pixel)
            field += (smooth - smooth.mean()) / smooth.std()
        field /= np.float32(len(scales_pc) ** 0.5)
        return 10 ** (np.float32(dex) * field)

    inner = _outside_the_middle(r)
    young = disc * inner * (0.12 + _arms(turn, settings.arm_width))
    young *= texture((40.0, 160.0), settings.clumping_dex)
    lanes = settings.lane_a_v * inner * np.exp(-r / (1.5 * settings.disc_scale_kpc))
    lanes *= _arms(turn + 0.22, 0.45 * settings.arm_width) * texture((25.0, 90.0), 0.3)
    return {
        "disc": disc.astype(np.float32),
        "bulge": bulge.astype(np.float32),
        "young": young.astype(np.float32),
        "lanes": lanes.astype(np.float32),
    }


def _spiral(
    settings: GalaxySettings, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the centre, kpc, and angle from the ridge of an arm at that distance."""
    kpc = np.float32(settings.pc_per_pixel / 1000)
    dx = (x - settings.centre[0] * settings.shape[1]) * kpc
    dy = (y - settings.centre[1] * settings.shape[0]) * kpc
    r = np.hypot(dx, dy)
    wound = np.log(np.maximum(r, 0.05)) / np.tan(np.deg2rad(settings.pitch_deg))
    return r, np.arctan2(dy, dx) - wound


def _arms(turn: np.ndarray, width: float) -> np.ndarray:
    """Profile of two arms: 1 on their ridges."""
    return np.exp((np.cos(2 * turn) - 1) / width**2)


def _outside_the_middle(r: np.ndarray) -> np.ndarray:
    """Of young stars and dust the middle of the galaxy has few."""
    return 1 - np.exp(-((r / 0.6) ** 2))


def _smooth(noise: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian smoothing; of wide kernels on every fourth pixel."""
    if sigma < 16:
        return ndimage.gaussian_filter(noise, sigma, mode="wrap")
    coarse = ndimage.gaussian_filter(noise[::4, ::4], sigma / 4, mode="wrap")
    zoomed = ndimage.zoom(coarse, 4, order=1, mode="nearest")
    return np.asarray(zoomed)[: noise.shape[0], : noise.shape[1]]


def _field(
    settings: GalaxySettings,
    population: StellarPopulation,
    psfs: dict[str, PSF],
    maps: dict[str, np.ndarray],
    rng: np.random.Generator,
) -> tuple[np.ndarray, int]:
    """Electrons/s of the field stars in each band, and how many were drawn."""
    v = find_band(population.bands, "V")
    columns = [population.bands.index(band) for band in settings.bands]
    v_column = population.bands.index(v)
    curve = extinction_curve("F99")
    ratio = [float(curve(np.array([_pivot(b)]))[0]) for b in settings.bands]
    to_rate = settings.rate_of_flux
    area = settings.pixel_scale_arcsec**2
    smooth = np.zeros((len(columns), *settings.shape), np.float32)
    stars_x, stars_y, stars_rate = [], [], []
    parts = [("disc", (9.3, 9.9), settings.disc_mu_v, 1.0)]
    parts += [("bulge", (10.0,), settings.bulge_mu_v, 1.0)]
    mean_young = float(maps["young"].mean())
    parts += [("young", _YOUNG_LOG_AGES, settings.young_mu_v, mean_young)]
    screens = [10 ** (-0.4 * np.float32(k) * maps["lanes"]) for k in ratio]
    for name, log_ages, mu_v, where in parts:
        # Constant formation rate: mass in proportion to age between equal steps of log age.
        share = 10 ** np.array(log_ages) if name == "young" else np.ones(len(log_ages))
        share = share / share.sum()
        bins = [population.isochrone(_nearest(population, age)) for age in log_ages]
        flux = [population.band_flux(each.light)[:, :, 0] for each in bins]
        per_mass = [each.probability / population.imf.mean_mass for each in bins]
        v_per_mass = sum(
            s * (p * f[:, v_column]).sum() for s, p, f in zip(share, per_mass, flux, strict=True)
        )
        # Solar masses in a pixel where the map is 1.
        pixel_v = 10 ** (-0.4 * (mu_v - settings.distance_modulus)) * area
        mass = pixel_v / float(v_per_mass) / where
        density = maps[name] * np.float32(mass)
        in_front = 1 - settings.behind
        faint = np.zeros(len(columns))
        total = float(density.sum(dtype=float))
        for s, p, f in zip(share, per_mass, flux, strict=True):
            bright = f[:, v_column] > 10 ** (-0.4 * settings.star_limit_m_v)
            faint += s * (p[~bright, None] * f[~bright][:, columns]).sum(0)
            counts = rng.poisson(total * s * p[bright])
            x, y = draw_positions(density, int(counts.sum()), rng)
            rate = np.repeat(f[bright][:, columns], counts, axis=0) * to_rate
            behind = rng.random(len(x)) >= in_front
            row = np.clip(np.rint(y).astype(int), 0, settings.shape[0] - 1)
            col = np.clip(np.rint(x).astype(int), 0, settings.shape[1] - 1)
            for band, screen in enumerate(screens):
                rate[:, band] *= np.where(behind, screen[row, col], 1.0)
            stars_x.append(x)
            stars_y.append(y)
            stars_rate.append(rate)
        for band, screen in enumerate(screens):
            light = density * np.float32(faint[band] * to_rate[band])
            smooth[band] += light * (np.float32(in_front) + np.float32(1 - in_front) * screen)
    x, y, rate = np.concatenate(stars_x), np.concatenate(stars_y), np.concatenate(stars_rate)
    for band, exposure in enumerate(settings.exposures):
        add_stars(smooth[band], psfs[exposure.band], x, y, rate[:, band])
    # The transforms leave rounding errors of 1e-7 of the brightest star, of either sign.
    return np.maximum(smooth, 0.0), len(x)


def _nearest(population: StellarPopulation, log_age: float) -> int:
    return int(np.argmin(np.abs(population.grid.log_age - log_age)))


def _pivot(band: str) -> float:
    """Å; of a filter that several cameras have one for all, so that galaxies look alike in them."""
    known = full_name(filter_of(band))
    if (known := known if known in BANDS else band) not in BANDS:
        raise ValueError(
            f"no pivot wavelength of {band} is known; known are {', '.join(BANDS)}. Add the band "
            "to BANDS"
        )
    return BANDS[known].pivot_angstrom


def _background_galaxies(settings: GalaxySettings, rng: np.random.Generator) -> np.ndarray:
    """Electrons/s, before the PSF, of exponential discs, redder than the spiral.

    Their log10 N rises by 0.35 per magnitude.
    """
    rows, cols = settings.shape
    out = np.zeros((len(settings.exposures), rows, cols), np.float32)
    arcmin2 = rows * cols * (settings.pixel_scale_arcsec / 60) ** 2
    n = rng.poisson(settings.galaxies_per_arcmin2 * arcmin2)
    u = rng.random(n)
    v = 19 + np.log10(1 + u * (10 ** (0.35 * 6) - 1)) / 0.35
    pivots = [BANDS[band].pivot_angstrom for band in _BACKGROUND_COLOURS]
    colour = {
        exposure.band: float(
            np.interp(_pivot(exposure.band), pivots, list(_BACKGROUND_COLOURS.values()))
        )
        for exposure in settings.exposures
    }
    x, y = rng.random(n) * cols, rng.random(n) * rows
    scale = rng.uniform(0.12, 0.4, n) / settings.pixel_scale_arcsec
    ratio, angle = rng.uniform(0.3, 1, n), rng.uniform(0, np.pi, n)
    redder = rng.normal(0, 0.3, n)
    for k in range(n):
        reach = int(8 * scale[k]) + 1
        r0, r1 = max(int(y[k]) - reach, 0), min(int(y[k]) + reach + 1, rows)
        c0, c1 = max(int(x[k]) - reach, 0), min(int(x[k]) + reach + 1, cols)
        dy, dx = np.mgrid[r0:r1, c0:c1] - np.array([y[k], x[k]])[:, None, None]
        along = np.cos(angle[k]) * dx + np.sin(angle[k]) * dy
        across = np.cos(angle[k]) * dy - np.sin(angle[k]) * dx
        light = np.exp(-np.hypot(along, across / ratio[k]) / scale[k])
        light /= 2 * np.pi * scale[k] ** 2 * ratio[k]
        for plane, exposure in zip(out, settings.exposures, strict=True):
            extra = colour[exposure.band]
            mag = v[k] + extra + redder[k] * np.sign(extra)
            plane[r0:r1, c0:c1] += light * 10 ** (-0.4 * (mag - exposure.zero_point))
    return out


def _add_clusters(
    settings: GalaxySettings,
    population: StellarPopulation,
    expected: np.ndarray,
    clusters: ClusterLibrary,
    x: np.ndarray,
    y: np.ndarray,
    templates: Templates,
    draw: DrawSettings | None,
) -> ClusterLibrary:
    if clusters.r_eff_pc is None:
        raise ValueError("the clusters have no r_eff_pc; draw the library with a [radius]")
    clusters = clusters.select(settings.bands)
    r_eff = np.array([templates.radius(float(r)) for r in clusters.column("r_eff_pc")])
    clusters = dataclasses.replace(clusters, r_eff_pc=r_eff)
    if draw is not None:
        StarByStar(population, templates, draw, settings.star_limit_m_v).add(
            expected,
            clusters,
            x,
            y,
            r_eff,
            settings.rate_of_flux,
            settings.distance_modulus,
            settings.pixel_scale_arcsec,
        )
        return clusters
    rates = 10.0 ** (-0.4 * clusters.abs_mags) * settings.rate_of_flux
    for band, exposure in enumerate(settings.exposures):
        rate = rates[:, band]
        for radius in np.unique(r_eff):
            rows = np.flatnonzero(r_eff == radius)
            template = templates.get(exposure.band, float(radius))
            add_sources(expected[band], template, x[rows], y[rows], rate[rows])
    return clusters
