"""Mock clusters and their noiseless stamps: drawn, cut by magnitude, placed and drawn star by star.

Mock i of a seed has random numbers of its own, whatever other mocks there are: θ and a cluster are
drawn until one passes the cut, then its profile, the place of its centre, and its stars' places.
A row's `seed` is that of the cluster that passed: `draw_clusters` and `draw_kinds` draw it again.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from starcensus import files
from starcensus.theta import AXES

from ..clusters.bins import StellarPopulation
from ..clusters.cluster import draw_clusters
from ..clusters.profiles import EFF
from ..clusters.resolved import PLACES
from ..images.psf import PSF, SCALE_TOLERANCE, optical_psf
from ..library.engine import population_of_grid
from ..library.streams import key_of
from . import drawing
from .drawing import StampRenderer, chunks, draw_places
from .measure import half_light_radius, observed_radius
from .settings import StampSettings
from .stars import draw_kinds
from .structure import draw_eff, half_number_radius

# Of all streams of a seed, that of mocks.
_STREAM = 0x7374616D
# Rounds of draws after which a cut is taken to let nothing pass.
_ROUNDS = 2000

# Columns of a bank: their units, and whether they have one number for each band.
COLUMNS: Mapping[str, tuple[str, bool]] = {
    "log_mass": ("log10 M_sun", False),
    "log_age": ("log10 yr", False),
    "a_v": ("mag", False),
    "eff_a_arcsec": ("arcsec", False),
    "eff_gamma": ("", False),
    "r_h_arcsec": ("arcsec", False),
    "r_h_pc": ("pc", False),
    "half_light_arcsec": ("arcsec", True),
    "observed_arcsec": ("arcsec", True),
    "core_rate": ("electrons s-1 pixel-1", True),
    "mags": ("mag", True),
    "x": ("pixel", False),
    "y": ("pixel", False),
    "birth_mass": ("M_sun", False),
    "n_stars": ("", False),
    "n_drawn": ("", False),
    "seed": ("", False),
}


def stamp_psfs(settings: StampSettings) -> dict[str, PSF]:
    """The embedded PSF of each band with the pixels of the settings; see `optical_psf`.

    ```python
    stamp_psfs(StampSettings(psf_radius_pix=24))["WFC3_UVIS_F814W"].radius_pix
    ```
    """
    return {
        band: optical_psf(band, settings.pixel_scale_arcsec, radius_pix=settings.psf_radius_pix)
        for band in settings.bands
    }


def check_psfs(settings: StampSettings, psfs: Mapping[str, PSF]) -> None:
    """Raises `ValueError` for a band without PSF, or a PSF of other pixels than the settings'."""
    if missing := [band for band in settings.bands if band not in psfs]:
        raise ValueError(f"there is no PSF of {', '.join(missing)}; there are {', '.join(psfs)}")
    scale = settings.pixel_scale_arcsec
    for band in settings.bands:
        if abs(psfs[band].pixel_scale_arcsec / scale - 1) > SCALE_TOLERANCE:
            raise ValueError(
                f"the PSF of {band} is of pixels of {psfs[band].pixel_scale_arcsec:g} arcsec; the "
                f"settings' are {scale:g}: give PSFs of these"
            )


def draw_mocks(
    settings: StampSettings,
    psfs: Mapping[str, PSF],
    seed: int,
    start: int,
    stop: int,
    offsets_pix: Float[np.ndarray, "k 2"] | None = None,
) -> dict[str, np.ndarray]:
    """The mocks start to stop of a seed: columns, and `images`, `(n, band, row, col)`, float32.

    **Arguments:**

    - `settings`: what is drawn.
    - `psfs`: one for each band, of the settings' pixels.
    - `seed`: of all mocks. `start`, `stop`: which of them.
    - `offsets_pix`: `(k, 2)`, (x, y) of a detector's peaks from the middle; each mock's centre has
      one of them, turned and mirrored at random, in place of the settings' Gaussian.

    Images are electrons/s. Raises `ValueError` for PSFs that are missing or of other pixels, and
    for a cut that lets nothing pass.

    ```python
    some = StampSettings(exposures=settings.exposures, faintest_mags=None, size_pix=16)
    mocks = draw_mocks(dataclasses.replace(some, pixel_scale_arcsec=0.0396), psfs, 1, 0, 3)
    mocks["images"].sum(axis=(2, 3)), mocks["log_mass"]
    ```
    """
    if offsets_pix is not None and settings.offset_sd_pix > 0:
        raise ValueError(
            f"offset_sd_pix is {settings.offset_sd_pix:g} and offsets_pix are given; expected one "
            "of the two"
        )
    check_psfs(settings, psfs)
    renderer = StampRenderer(tuple(psfs[band] for band in settings.bands), settings.size_pix)
    state = None if settings.grid is None else files.state(settings.grid)
    population = population_of_grid(settings.grid, state, settings.bands, settings.imf)
    streams = [_stream(seed, row) for row in range(start, stop)]
    columns = _draw_clusters(settings, population, streams)
    for row, rng in enumerate(streams):
        mock = _draw_stamp(settings, population, renderer, columns, row, rng, offsets_pix)
        for name, value in mock.items():
            if name not in columns:
                shape = (len(streams), *np.shape(value))
                columns[name] = np.empty(shape, np.float32 if name == "images" else float)
            columns[name][row] = value
    return columns


def _stream(seed: int, row: int) -> np.random.Generator:
    """The random numbers of one mock: 2^129 of them, from a place of the seed's stream."""
    return np.random.Generator(np.random.Philox(key=key_of(seed, _STREAM), counter=row << 128))


def _draw_clusters(
    settings: StampSettings, population: StellarPopulation, streams: list[np.random.Generator]
) -> dict[str, np.ndarray]:
    """θ, seed and integrated light of the first cluster of each stream that passes the cut."""
    n, log_ages, a_vs = len(streams), settings.log_ages, settings.a_vs
    found: dict[str, np.ndarray] = {
        "log_mass": np.empty(n),
        "log_age": np.empty(n),
        "a_v": np.empty(n),
        "birth_mass": np.empty(n),
        "n_stars": np.empty(n, np.int64),
        "n_drawn": np.zeros(n, np.int64),
        "seed": np.empty(n, np.uint64),
        "mags": np.empty((n, len(settings.bands))),
    }
    waiting = np.arange(n)
    for _ in range(_ROUNDS):
        if len(waiting) == 0:
            return found
        theta = np.empty((len(waiting), 3))
        seeds = np.empty(len(waiting), np.uint64)
        for at, row in enumerate(waiting):
            rng = streams[row]
            u = rng.random(3)
            low, high = settings.log_mass
            theta[at] = (
                low + u[0] * (high - low),
                _one(log_ages, settings.log_age_step, u[1]),
                _one(a_vs, settings.a_v_step, u[2]),
            )
            seeds[at] = rng.integers(2**62)
        drawn = draw_clusters(population, *theta.T.copy(), seeds, settings.draw)
        mags = drawn.abs_mags + settings.distance_modulus
        passed = settings.passes(mags)
        rows = waiting[passed]
        found["log_mass"][rows], found["log_age"][rows], found["a_v"][rows] = theta[passed].T
        found["birth_mass"][rows] = drawn.birth_mass[passed]
        found["n_stars"][rows] = drawn.n_stars[passed]
        found["n_drawn"][waiting] += 1
        found["seed"][rows], found["mags"][rows] = seeds[passed], mags[passed]
        waiting = waiting[~passed]
    raise ValueError(
        f"of {_ROUNDS} clusters none was brighter than faintest_mags {settings.faintest_mags}; "
        "expected a cut that more clusters pass"
    )


def _one(values: Float[np.ndarray, "n"], step: float, u: float) -> float:
    """One of the values, or a number between the two of them where there is no step."""
    if step > 0:
        return float(values[int(u * len(values))])
    return float(values[0] + u * (values[-1] - values[0]))


def _draw_stamp(
    settings: StampSettings,
    population: StellarPopulation,
    renderer: StampRenderer,
    clusters: Mapping[str, np.ndarray],
    row: int,
    rng: np.random.Generator,
    offsets_pix: Float[np.ndarray, "k 2"] | None,
) -> dict[str, np.ndarray | float]:
    """The image of one cluster, and what is known of its structure."""
    log_mass, log_age, a_v = (float(clusters[name][row]) for name in AXES)
    seed = int(clusters["seed"][row])
    kinds = draw_kinds(population, log_mass, log_age, a_v, seed, settings.draw)
    a, gamma = draw_eff(settings, rng)
    dx, dy = _offset(settings, rng, offsets_pix)
    x0, y0 = settings.middle_pix + dx, settings.middle_pix + dy

    rates = kinds.flux * settings.rate_of_flux
    electrons = (rates * settings.exposure_s).max(axis=1)
    # Brightest first: how many are drawn one by one moves none of them.
    order = np.argsort(-electrons, kind="stable")
    n_placed = int(np.searchsorted(-electrons[order], -drawing.SMOOTH_ELECTRONS, side="left"))
    order, faint = order[:n_placed], order[n_placed:]
    smooth = kinds.gas * settings.rate_of_flux + (kinds.counts[faint, None] * rates[faint]).sum(0)
    counts = kinds.counts[order]
    rate = np.repeat(rates[order], counts, axis=0)
    profile = EFF(a * settings.pc_per_arcsec, gamma)
    places_rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(PLACES,)))
    x, y, r = np.empty((3, len(rate)))
    for part in chunks(len(rate)):
        places = profile.sample(places_rng, part.stop - part.start) / settings.pc_per_pixel
        x[part], y[part] = places.T + np.array([[x0], [y0]])
        r[part] = np.hypot(*places.T)
    spectra = draw_places(renderer, x, y, rate, np.repeat(electrons[order], counts))
    spectra.append(renderer.smooth(a / settings.pixel_scale_arcsec, gamma, x0, y0, smooth))
    image = renderer.image(*spectra)

    r_h = float(half_number_radius(np.array(a), np.array(gamma)))
    halves = half_light_radius(r * settings.pc_per_pixel, rate, profile, smooth)
    observed, core = observed_radius(image, x0, y0)
    return {
        "images": image,
        "eff_a_arcsec": a,
        "eff_gamma": gamma,
        "r_h_arcsec": r_h,
        "r_h_pc": r_h * settings.pc_per_arcsec,
        "half_light_arcsec": halves / settings.pc_per_arcsec,
        "observed_arcsec": observed * settings.pixel_scale_arcsec,
        "core_rate": core,
        "x": x0,
        "y": y0,
    }


def _offset(
    settings: StampSettings, rng: np.random.Generator, offsets_pix: np.ndarray | None
) -> tuple[float, float]:
    if offsets_pix is None:
        dx, dy = settings.offset_sd_pix * rng.standard_normal(2)
        return float(dx), float(dy)
    dx, dy = offsets_pix[rng.integers(len(offsets_pix))] * rng.choice([-1.0, 1.0], 2)
    return (float(dx), float(dy)) if rng.random() < 0.5 else (float(dy), float(dx))
