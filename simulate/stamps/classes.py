"""Simulated candidates of the four classes of PHANGS-HST: noiseless stamps and what they are.

No labelled images come with this package: classes are drawn, after the definitions of Whitmore
et al. (2021, arXiv:2107.13049, section 2): 1, one symmetric peak broader than the PSF; 2, one such
peak with something asymmetric about it; 3, several peaks; 4, stars, pairs, triplets, saturated
stars, spikes and galaxies. Of their kinds of class 4 fluff, nuclei, redundant and faint candidates,
edges and bad pixels are not drawn.

A poor cluster whose light is that of three giants is no symmetric cluster to any eye. So clusters
and associations are drawn until the image without noise meets the definition of their class
(`ClassSettings`, the last five fields).

All is points behind the PSF: stars, as in `draw_mocks`; and gas, stars too faint to be told apart
and galaxies as points spread evenly over their profile.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Shaped
from scipy import special

from starcensus import files
from starcensus.bands import reference_band
from starcensus.settings import check_seed
from starcensus.shards import run_tasks
from starcensus.theta import AXES

from ..clusters.bins import StellarPopulation
from ..clusters.cluster import DrawSettings, draw_clusters, extinguished, ssp_abs_mags
from ..clusters.profiles import EFF
from ..images.psf import PSF
from ..library.design import Pair
from ..library.engine import population_of_grid
from ..library.streams import key_of
from . import drawing
from .drawing import StampRenderer, draw_places
from .mocks import check_psfs, stamp_psfs
from .settings import StampSettings
from .stars import draw_kinds
from .structure import draw_eff, half_number_radius

KINDS: Mapping[str, str] = {
    "symmetric": "1",
    "elongated": "2",
    "lopsided": "2",
    "fragment": "2",
    "association": "3",
    "star": "4.1",
    "pair": "4.2",
    "triplet": "4.3",
    "saturated": "4.4",
    "spike": "4.5",
    "galaxy": "4.7",
}
"""The kinds that are drawn, and the class and subclass of Whitmore et al. (2021) of each."""

# What is known of a candidate, NaN where it has none.
TRUTHS = (*AXES, "r_h_pc", "n_peaks", "asymmetry", "extra_ci_mag", "x", "y")
# How often each of the kinds is drawn by default.
_SHARES = (0.25, 0.09, 0.08, 0.08, 0.25, 0.05, 0.09, 0.045, 0.015, 0.015, 0.035)
# Of all streams of a seed, that of these candidates.
_STREAM = 0x636C6173
# Rounds of draws after which a class is taken to be impossible; clusters of a round; a task.
_ROUNDS, _BATCH, _SHARD = 500, 8, 50
# Smooth light: electrons of a point in the whole exposure, and the least and most points.
_PER_POINT, _POINTS = 2.0, (256, 16384)
_GOLDEN = math.pi * (3 - math.sqrt(5))
# Half-number radius of clumps, pixels.
_CLUMP_PIX = (0.3, 1.0)
# Stars of the Milky Way are of this isochrone, and galaxies shine as old stars behind some dust.
_FOREGROUND_LOG_AGE = 9.5
_GALAXY_LOG_AGE, _GALAXY_A_V = (8.5, 10.0), (0.0, 1.0)
_COUNTS_SLOPE = 0.35  # of log10 N of galaxies, per magnitude


@dataclasses.dataclass(frozen=True)
class ClassSettings:
    """What candidates are drawn, and which images count as their class.

    **Arguments:**

    - `shares`: how often each of `KINDS` is drawn, relative to one another.
    - `mass_slope`: the number of clusters per dex goes as mass to this power. With 0, as in banks
      of mocks, most are brighter than stars; with -1, as nature has it, most are a few stars.
    - `axis_ratio`: of elongated clusters.
    - `clump_share`: share of the stars of lopsided and fragmented clusters that lie in a clump, and
      `clump_pix`, `fragment_pix`, how far off the centre it is for either, pixels.
    - `association_log_mass` (log10 M_sun), `association_log_age` (log10 yr): ranges; of the ages
      those that the stamps' settings have too.
    - `n_clumps`: range of the number of clumps of an association, of which PHANGS-HST asks for four
      or more; `association_pix`, half-number radius of their places, pixels; `free_share`, share of
      the stars that lie among them.
    - `separation_pix`, `light_ratio`: distances of stars of pairs and triplets from the brightest,
      pixels, and their light as a share of its.
    - `saturated_log_electrons`: log10 of the photo-electrons of saturated stars, in their brightest
      band; `full_well_e`, electrons of one exposure that fill a pixel. Bleeding is not drawn.
    - `spike_pix`: how far from a saturated star the candidate on its spike is, pixels.
    - `galaxy_r_eff_arcsec`, `galaxy_n`, `galaxy_axis_ratio`: of Sérsic profiles. Their colours are
      those of stars of 0.3 to 10 Gyr, without redshift.
    - `least_electrons`: candidates have more in the whole exposure, in their brightest band.
    - `radius_pix`: circle about a candidate in which its class is looked for; PHANGS-HST's 5.
    - `peak_contrast`: a peak has at least this share of the height of the highest.
    - `least_peaks`: of class 3; classes 1 and 2 have one.
    - `most_symmetric`: largest asymmetry of class 1, and least of class 2: half the sum of the
      absolute differences from the image turned by 90°, over its sum.
    - `least_extra_ci_mag`: classes 1 and 2 are wider than a star: CI between 1 and 3 pixels, mag,
      beyond that of the PSF.

    The defaults draw each class equally often. In class 4, stars, pairs and triplets have about the
    proportions of the paper's table 3, and the rare kinds more than theirs, to be learned.

    Raises `ValueError` for kinds that there are not, and numbers out of their ranges.

    ```python
    ClassSettings(shares=(("symmetric", 1.0), ("star", 1.0)))
    ```
    """

    shares: tuple[tuple[str, float], ...] = tuple(zip(KINDS, _SHARES, strict=True))
    mass_slope: float = -0.5
    axis_ratio: Pair = (0.4, 0.75)
    clump_share: Pair = (0.1, 0.4)
    clump_pix: Pair = (1.0, 3.5)
    fragment_pix: Pair = (3.0, 6.0)
    association_log_mass: Pair = (3.0, 5.0)
    association_log_age: Pair = (6.0, 7.5)
    n_clumps: tuple[int, int] = (4, 8)
    association_pix: Pair = (2.0, 5.0)
    free_share: Pair = (0.2, 0.6)
    separation_pix: Pair = (1.5, 5.0)
    light_ratio: Pair = (0.2, 1.0)
    saturated_log_electrons: Pair = (6.3, 7.5)
    full_well_e: float = 70_000.0
    spike_pix: Pair = (6.0, 20.0)
    galaxy_r_eff_arcsec: Pair = (0.1, 0.6)
    galaxy_n: Pair = (0.7, 4.0)
    galaxy_axis_ratio: Pair = (0.25, 1.0)
    least_electrons: float = 1000.0
    radius_pix: float = 5.0
    peak_contrast: float = 0.25
    least_peaks: int = 2
    most_symmetric: float = 0.1
    least_extra_ci_mag: float = 0.1

    def __post_init__(self) -> None:
        names, values = [name for name, _ in self.shares], [share for _, share in self.shares]
        if unknown := [name for name in names if name not in KINDS]:
            raise ValueError(f"shares name {unknown[0]!r}; expected some of {', '.join(KINDS)}")
        if len(set(names)) < len(names) or not (min(values, default=-1) >= 0 and sum(values) > 0):
            raise ValueError(f"shares are {self.shares}; expected each kind once, 0 or more")
        shares = {"axis_ratio", "clump_share", "free_share", "light_ratio", "galaxy_axis_ratio"}
        shares |= {"peak_contrast", "most_symmetric"}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in ("shares", "mass_slope"):
                continue
            low, high = value if isinstance(value, tuple) else (value, value)
            most = 1.0 if field.name in shares else math.inf
            if not (0 < low <= high <= most and math.isfinite(high)):
                raise ValueError(
                    f"{field.name} is {value}; expected numbers above 0, the lower limit first, "
                    f"and {most} at most"
                )
        if not math.isfinite(self.mass_slope) or self.radius_pix < 3 or self.least_peaks < 2:
            raise ValueError(
                f"mass_slope is {self.mass_slope}, radius_pix {self.radius_pix} and least_peaks "
                f"{self.least_peaks}; expected a finite number, 3 or more, and 2 or more"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class ClassStamps:
    """Candidates of known class.

    **Arguments:**

    - `bands`: names of the bands.
    - `images`: `(n, band, row, col)`, electrons/s, without noise and background.
    - `label`: `(n,)`, class 1 to 4. `kind`: `(n,)`, of `KINDS`.
    - `mags`: `(n, band)`, apparent Vega magnitudes of all light that was drawn; inf where none.
    - `truth`: by name, `(n,)`: `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag) of
      classes 1 to 3, `r_h_pc`, which holds half of the stars of the main body, of classes 1 and 2;
      `n_peaks`, `asymmetry`, `extra_ci_mag`, of `ClassSettings`; `x`, `y`, the centre, pixels. NaN
      where there is none.

    ```python
    stars = ClassSettings(shares=(("star", 1.0), ("pair", 1.0)))
    make_classes(StampSettings(size_pix=16, psf_radius_pix=24), stars, 4, seed=1).label  # all 4
    ```
    """

    bands: tuple[str, ...]
    images: Float32[np.ndarray, "n band row col"]
    label: Int[np.ndarray, "n"]
    kind: Shaped[np.ndarray, "n"]
    mags: Float[np.ndarray, "n band"]
    truth: Mapping[str, Float[np.ndarray, "n"]]


def make_classes(
    settings: StampSettings,
    classes: ClassSettings,
    n: int,
    seed: int,
    psfs: Mapping[str, PSF] | None = None,
    workers: int = 1,
) -> ClassStamps:
    """The first n candidates of a seed, drawn by one process or many.

    **Arguments:**

    - `settings`: bands, distance, pixels, stamps, ranges of θ and of sizes, and the cut, which
      candidates of all kinds pass but the saturated ones. `classes`: the kinds.
    - `n`, `seed`: number of candidates; candidate i of a seed is the same in a larger set.
    - `psfs`: one for each band, of the settings' pixels; by default the embedded ones.
    - `workers`: processes, on which no bit of the result depends.

    Raises `ValueError` as `draw_classes`, and for n below 1.

    ```python
    few = ClassSettings(shares=(("symmetric", 1.0), ("galaxy", 1.0)))
    small = StampSettings(size_pix=16, psf_radius_pix=24)
    make_classes(small, few, 4, seed=1).images.shape  # 4, 3, 16, 16
    ```
    """
    if n < 1:
        raise ValueError(f"n is {n}; expected 1 candidate or more")
    psfs = stamp_psfs(settings) if psfs is None else psfs
    starts = range(0, n, _SHARD)

    def arguments(start: int) -> tuple[Any, ...]:
        return settings, classes, psfs, seed, start, min(start + _SHARD, n)

    parts = dict(run_tasks(draw_classes, starts, arguments, workers))
    ordered: list[ClassStamps] = [parts[start] for start in starts]
    names = ("images", "label", "kind", "mags")
    joined = {name: np.concatenate([getattr(p, name) for p in ordered]) for name in names}
    truth = {name: np.concatenate([p.truth[name] for p in ordered]) for name in TRUTHS}
    return ClassStamps(settings.bands, **joined, truth=truth)


def draw_classes(
    settings: StampSettings,
    classes: ClassSettings,
    psfs: Mapping[str, PSF],
    seed: int,
    start: int,
    stop: int,
) -> ClassStamps:
    """The candidates start to stop of a seed; each depends on the seed and its own number alone.

    A cut-out is centred on a whole pixel: centres are anywhere in it, beside the settings' offsets.

    **Arguments:** as of `make_classes`.

    Raises `ValueError` for PSFs that are missing or of other pixels, ages outside the grid, and a
    kind of which no draw passes the cut and meets its class.

    ```python
    small = StampSettings(size_pix=16, psf_radius_pix=24)
    draw_classes(small, ClassSettings(), stamp_psfs(small), seed=1, start=2, stop=4).kind
    ```
    """
    check_seed(seed)
    check_psfs(settings, psfs)
    state = None if settings.grid is None else files.state(settings.grid)
    population = population_of_grid(settings.grid, state, settings.bands, settings.imf)
    field = _Field(settings, classes, population, tuple(psfs[band] for band in settings.bands))
    n, size, key = stop - start, settings.size_pix, key_of(seed, _STREAM)
    kinds, shares = zip(*classes.shares, strict=True)
    images = np.empty((n, len(settings.bands), size, size), np.float32)
    mags, drawn = np.empty((n, len(settings.bands))), []
    truth = {name: np.full(n, np.nan) for name in TRUTHS}
    for row in range(n):
        rng = np.random.Generator(np.random.Philox(key=key, counter=(start + row) << 128))
        drawn.append(str(rng.choice(kinds, p=np.array(shares) / sum(shares))))
        points, known = _MAKERS.get(drawn[-1], _cluster)(field, drawn[-1], rng)
        x, y = settings.middle_pix + rng.uniform(-0.5, 0.5, 2)
        x, y = np.array([x, y]) + settings.offset_sd_pix * rng.standard_normal(2)
        images[row] = field.image(points, float(x), float(y), drawn[-1])
        mags[row] = field.mags(points.rate.sum(axis=0))
        for name, value in (known | field.look(points) | {"x": x, "y": y}).items():
            truth[name][row] = value
    label = np.array([int(KINDS[kind][0]) for kind in drawn], int)
    return ClassStamps(settings.bands, images, label, np.array(drawn, str), mags, truth)


class _Points(NamedTuple):
    """Places about the centre, pixels, and electrons/s of points, the brightest first."""

    x: Float[np.ndarray, "point"]
    y: Float[np.ndarray, "point"]
    rate: Float[np.ndarray, "point band"]
    electrons: Float[np.ndarray, "point"]


@dataclasses.dataclass(frozen=True, eq=False)
class _Field:
    """What all candidates are drawn with."""

    settings: StampSettings
    classes: ClassSettings
    population: StellarPopulation
    psfs: tuple[PSF, ...]

    @functools.cached_property
    def _renderer(self) -> StampRenderer:
        return StampRenderer(self.psfs, self.settings.size_pix)

    @functools.cached_property
    def reference(self) -> int:
        return self.settings.bands.index(reference_band(self.settings.bands))

    @functools.cached_property
    def _eye(self) -> StampRenderer:
        return StampRenderer((self.psfs[self.reference],), 2 * int(self.classes.radius_pix) + 5)

    @functools.cached_property
    def _psf_ci_mag(self) -> float:
        here = np.zeros(1)
        return _ci_mag(self._seen(self.points(here, here, np.ones((1, len(self.psfs))))))

    def points(self, x: np.ndarray, y: np.ndarray, rate: np.ndarray) -> _Points:
        electrons = self.electrons(rate)
        order = np.argsort(-electrons, kind="stable")
        return _Points(x[order], y[order], rate[order], electrons[order])

    def electrons(self, rate: Float[np.ndarray, "*n band"]) -> Float[np.ndarray, "*n"]:
        return np.asarray((rate * self.settings.exposure_s).max(axis=-1))

    def mags(self, rate: Float[np.ndarray, "*n band"]) -> Float[np.ndarray, "*n band"]:
        zero = np.array([exposure.zero_point for exposure in self.settings.exposures])
        with np.errstate(divide="ignore"):
            return zero - 2.5 * np.log10(rate)

    def candidates(self, rate: Float[np.ndarray, "n band"]) -> Bool[np.ndarray, "n"]:
        """Which pass the cut and have enough light."""
        enough = self.electrons(rate) >= self.classes.least_electrons
        return enough & self.settings.passes(self.mags(rate))

    def none(self, kind: str) -> ValueError:
        s = self.settings
        return ValueError(
            f"no draw of kind {kind!r} passes faintest_mags {s.faintest_mags} with ages of "
            f"{s.log_age} and looks as class {KINDS[kind]}; expected wider limits, or a share of 0"
        )

    def image(self, points: _Points, x: float, y: float, kind: str) -> np.ndarray:
        """The stamp; pixels of saturated stars are full."""
        at = points.x + x, points.y + y
        image = self._renderer.image(*draw_places(self._renderer, *at, *points[2:]))
        if kind not in ("saturated", "spike"):
            return image
        reads = np.array([exposure.n_exposures for exposure in self.settings.exposures])
        most = self.classes.full_well_e * reads / self.settings.exposure_s
        return np.minimum(image, most[:, None, None].astype(np.float32))

    def _seen(self, points: _Points) -> Float[np.ndarray, "row col"]:
        middle = (self._eye.size_pix - 1) / 2
        at, rate = (points.x + middle, points.y + middle), points.rate[:, [self.reference]]
        image = self._eye.image(*draw_places(self._eye, *at, rate, points.electrons))
        return image[0].astype(float)

    def look(self, points: _Points) -> dict[str, float]:
        """What is seen about the centre, without noise."""
        image, c = self._seen(points), self.classes
        light = np.where(_radius(image) <= c.radius_pix, image, 0.0)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, 1), (3, 3))
        top = (light > 0) & (image == windows.max(axis=(2, 3)))
        total = max(float(light.sum()), 1e-300)
        return {
            "n_peaks": float((top & (image >= c.peak_contrast * light.max())).sum()),
            "asymmetry": float(np.abs(light - np.rot90(light)).sum()) / (2 * total),
            "extra_ci_mag": _ci_mag(image) - self._psf_ci_mag,
        }

    def is_of_class(self, look: Mapping[str, float], label: str) -> bool:
        c = self.classes
        if label == "3":
            return look["n_peaks"] >= c.least_peaks
        symmetric = look["asymmetry"] <= c.most_symmetric
        wide = look["extra_ci_mag"] >= c.least_extra_ci_mag
        return look["n_peaks"] == 1 and wide and symmetric == (label == "1")

    def theta(self, kind: str, n: int, rng: np.random.Generator) -> Float[np.ndarray, "n 3"]:
        """θ of clusters, of the settings' steps of age and extinction."""
        s, c, mass, age = self.settings, self.classes, self.settings.log_mass, self.settings.log_age
        if kind == "association":
            mass, young = c.association_log_mass, c.association_log_age
            age = max(age[0], young[0]), min(age[1], young[1])
            if age[0] > age[1]:
                raise self.none(kind)
        u, log_mass = rng.random(n), rng.uniform(*mass, n)
        if c.mass_slope:
            low, high = (10 ** (c.mass_slope * limit) for limit in mass)
            log_mass = np.log10(low + u * (high - low)) / c.mass_slope
        log_age = rng.uniform(*age, n)
        if s.log_age_step > 0:
            among = s.log_ages[(s.log_ages >= age[0] - 1e-9) & (s.log_ages <= age[1] + 1e-9)]
            log_age = rng.choice(among, n)
        a_v = rng.choice(s.a_vs, n) if s.a_v_step > 0 else rng.uniform(*s.a_v, n)
        return np.column_stack([log_mass, log_age, a_v])

    def star(self, rng: np.random.Generator, of: Pair | None = None) -> Float[np.ndarray, "band"]:
        """Electrons/s of a star of the field that is a candidate, or has electrons in a range."""
        for _ in range(_ROUNDS):
            _, log_age, a_v = self.theta("star", 1, rng)[0]
            rates, chance = self.isochrone(float(log_age), float(a_v))
            light = self.electrons(rates)
            wanted = self.candidates(rates) if of is None else (of[0] <= light) & (light <= of[1])
            if wanted.any():
                return rates[rng.choice(len(rates), p=chance * wanted / (chance @ wanted))]
        raise self.none("star")

    def isochrone(self, log_age: float, a_v: float) -> tuple[np.ndarray, np.ndarray]:
        """Electrons/s of the shining stars of the isochrone next in age, and how many there are."""
        ages = self.population.grid.log_age
        bins = self.population.isochrone(int(np.argmin(np.abs(ages - log_age))))
        light = self.population.band_flux(bins.light)
        flux = extinguished(light, self.population.grid.a_v, np.full(len(light), a_v))
        shines = (flux > 0).any(axis=1)
        return flux[shines] * self.settings.rate_of_flux, bins.probability[shines]


type _Made = tuple[_Points, dict[str, float]]
# A body of a cluster: share of the stars, profile in pixels, and place of its centre.
type _Body = tuple[float, EFF, float, float]


def _cluster(field: _Field, kind: str, rng: np.random.Generator) -> _Made:
    """A cluster or association that looks as its class."""
    s, label = field.settings, KINDS[kind]
    for _ in range(_ROUNDS):
        theta, seeds = field.theta(kind, _BATCH, rng), rng.integers(2**62, size=_BATCH)
        drawn = draw_clusters(field.population, *theta.T.copy(), seeds=seeds, settings=s.draw)
        for row in np.flatnonzero(field.candidates(10 ** (-0.4 * drawn.abs_mags) * s.rate_of_flux)):
            mass, age, a_v = map(float, theta[row])
            kinds = draw_kinds(field.population, mass, age, a_v, int(seeds[row]), s.draw)
            bodies, r_h_pix = _bodies(field, kind, rng)
            rates = kinds.flux * s.rate_of_flux
            placed = field.electrons(rates) > drawing.SMOOTH_ELECTRONS
            smooth = (kinds.counts[~placed, None] * rates[~placed]).sum(axis=0)
            smooth += kinds.gas * s.rate_of_flux
            stars = np.repeat(rates[placed], kinds.counts[placed], axis=0)
            points = _spread(field, stars, smooth, bodies, kind == "association", rng)
            if field.is_of_class(field.look(points), label):
                known = dict(zip(AXES, (mass, age, a_v), strict=True))
                return points, known | {"r_h_pc": r_h_pix * s.pc_per_pixel}
    raise field.none(kind)


def _bodies(field: _Field, kind: str, rng: np.random.Generator) -> tuple[list[_Body], float]:
    """What a cluster is made of, and the radius of half of the stars of the main body, pixels."""
    s, c = field.settings, field.classes
    if kind == "association":
        n = int(rng.integers(c.n_clumps[0], c.n_clumps[1] + 1))
        free = rng.uniform(*c.free_share)
        # With γ = 4 the core radius holds half of the stars.
        whole = EFF(rng.uniform(*c.association_pix), 4.0)
        shares = (1 - free) * rng.dirichlet(np.full(n, 3.0))
        sizes, places = rng.uniform(*_CLUMP_PIX, n), whole.sample(rng, n)
        numbers = np.column_stack([shares, sizes, places]).tolist()
        clumps = [(share, EFF(size, 4.0), x, y) for share, size, x, y in numbers]
        return [(free, whole, 0.0, 0.0), *clumps], math.nan
    a_arcsec, gamma = draw_eff(s, rng)
    a = a_arcsec / s.pixel_scale_arcsec
    r_h = float(half_number_radius(np.array(a), np.array(gamma)))
    if kind == "symmetric":
        return [(1.0, EFF(a, gamma), 0.0, 0.0)], r_h
    angle = rng.uniform(0.0, 360.0)
    if kind == "elongated":
        ratio = rng.uniform(*c.axis_ratio)
        return [(1.0, EFF(a, gamma, math.inf, ratio, angle), 0.0, 0.0)], r_h
    share, size = rng.uniform(*c.clump_share), rng.uniform(*_CLUMP_PIX)
    away = rng.uniform(*(c.clump_pix if kind == "lopsided" else c.fragment_pix))
    x, y = away * math.cos(math.radians(angle)), away * math.sin(math.radians(angle))
    return [(1 - share, EFF(a, gamma), 0.0, 0.0), (share, EFF(size, 4.0), x, y)], r_h


def _spread(
    field: _Field,
    stars: Float[np.ndarray, "star band"],
    smooth: Float[np.ndarray, "band"],
    bodies: list[_Body],
    on_brightest: bool,
    rng: np.random.Generator,
) -> _Points:
    """Stars in bodies by chance, smooth light by shares, about the first or the brightest other."""
    shares = np.array([share for share, *_ in bodies])
    body = rng.choice(len(bodies), len(stars), p=shares / shares.sum())
    light = np.bincount(body, field.electrons(stars), len(bodies))
    x, y = np.empty((2, len(stars)))
    rates, xs, ys = [stars], [x], [y]
    for number, (share, profile, x0, y0) in enumerate(bodies):
        members = np.flatnonzero(body == number)
        x[members], y[members] = profile.sample(rng, len(members)).T + np.array([[x0], [y0]])
        rate, within = _shared(field, share * smooth)
        radius = profile.radius_enclosing(within)
        dx, dy = _even(radius, profile.axis_ratio, profile.position_angle_deg)
        rates, xs, ys = [*rates, rate], [*xs, dx + x0], [*ys, dy + y0]
    _, _, x0, y0 = bodies[1 + int(np.argmax(light[1:])) if on_brightest else 0]
    return field.points(np.concatenate(xs) - x0, np.concatenate(ys) - y0, np.concatenate(rates))


def _shared(field: _Field, rate: Float[np.ndarray, "band"]) -> tuple[np.ndarray, np.ndarray]:
    """Smooth light in equal points, and the shares of it that lie inside the places of each."""
    n = int(np.clip(field.electrons(rate) / _PER_POINT, *_POINTS))
    return np.tile(rate / n, (n, 1)), (np.arange(n) + 0.5) / n


def _even(
    radius: Float[np.ndarray, "point"], axis_ratio: float, angle_deg: float
) -> tuple[np.ndarray, np.ndarray]:
    """Places at circularised radii, turned from one to the next by the golden angle."""
    turn = _GOLDEN * np.arange(len(radius))
    along = radius * np.cos(turn) / axis_ratio**0.5
    across = radius * np.sin(turn) * axis_ratio**0.5
    cosine, sine = math.cos(math.radians(angle_deg)), math.sin(math.radians(angle_deg))
    return cosine * along - sine * across, sine * along + cosine * across


def _stars(field: _Field, kind: str, rng: np.random.Generator) -> _Made:
    """A star, or several of which the brightest is in the middle."""
    c, rates, places = field.classes, [field.star(rng)], np.zeros((1, 2))
    low, high = (ratio * float(field.electrons(rates[0])) for ratio in c.light_ratio)
    for _ in range(("star", "pair", "triplet").index(kind)):
        rates.append(field.star(rng, (low, high)))
        while True:
            distance, angle = rng.uniform(*c.separation_pix), rng.uniform(0.0, 2 * math.pi)
            place = distance * np.array([math.cos(angle), math.sin(angle)])
            # Two that are nearer are one star.
            if np.hypot(*(places - place).T).min() >= c.separation_pix[0]:
                break
        places = np.vstack([places, place])
    return field.points(places[:, 0], places[:, 1], np.stack(rates)), {}


def _saturated(field: _Field, kind: str, rng: np.random.Generator) -> _Made:
    """A saturated star in the middle, or where the middle lies on its spike."""
    rates, chance = field.isochrone(_FOREGROUND_LOG_AGE, 0.0)
    rate = rates[[rng.choice(len(rates), p=chance / chance.sum())]]
    rate *= 10 ** rng.uniform(*field.classes.saturated_log_electrons) / field.electrons(rate)
    x, y = np.zeros((2, 1))
    if kind == "spike":
        psf, distance = field.psfs[field.reference], rng.uniform(*field.classes.spike_pix)
        # Where the PSF is brightest at the distance, in one of four quadrants.
        angles = (rng.integers(4) + np.arange(90) / 90) * math.pi / 2
        middle = len(psf.image) // 2
        away = distance * psf.oversampling * np.array([np.sin(angles), np.cos(angles)])
        at = np.rint(middle + away).astype(int).clip(0, 2 * middle)
        angle = angles[np.argmax(psf.image[at[0], at[1]])]
        x, y = x - distance * math.cos(angle), y - distance * math.sin(angle)
    return field.points(x, y, rate), {}


def _galaxy(field: _Field, kind: str, rng: np.random.Generator) -> _Made:
    """A Sérsic profile, inclined."""
    s, c = field.settings, field.classes
    ages = np.clip(_GALAXY_LOG_AGE, *field.population.grid.log_age[[0, -1]])
    age, a_v = rng.uniform(ages[0], ages[1], 1), rng.uniform(*_GALAXY_A_V, 1)
    mags = ssp_abs_mags(field.population, age, a_v, DrawSettings(nebular=False))[0]
    rate = 10 ** (-0.4 * mags) * s.rate_of_flux
    for _ in range(_ROUNDS):
        brighter = rng.random() ** (-0.4 / _COUNTS_SLOPE)
        rate *= brighter * c.least_electrons / field.electrons(rate)
        if brighter < 1e3 and field.candidates(rate[None])[0]:
            break
    else:
        raise field.none(kind)
    index, rates = rng.uniform(*c.galaxy_n), _shared(field, rate)
    r_eff = math.exp(rng.uniform(*np.log(c.galaxy_r_eff_arcsec))) / s.pixel_scale_arcsec
    # Light of a Sérsic profile within r is the incomplete gamma function of b (r/r_eff)^(1/n).
    b = special.gammaincinv(2 * index, 0.5)
    radius = r_eff * (special.gammaincinv(2 * index, rates[1]) / b) ** index
    x, y = _even(radius, rng.uniform(*c.galaxy_axis_ratio), rng.uniform(0.0, 180.0))
    return field.points(x, y, rates[0]), {}


def _radius(image: Float[np.ndarray, "row col"]) -> Float[np.ndarray, "row col"]:
    step = np.arange(len(image)) - (len(image) - 1) / 2
    return np.hypot(step[:, None], step)


def _ci_mag(image: Float[np.ndarray, "row col"]) -> float:
    """Magnitude within 1 pixel of the middle less that within 3."""
    inner, outer = (max(float(image[_radius(image) <= r].sum()), 1e-300) for r in (1.0, 3.0))
    return 2.5 * math.log10(outer / inner)


_MAKERS: Mapping[str, Callable[[_Field, str, np.random.Generator], _Made]] = {
    **dict.fromkeys(("star", "pair", "triplet"), _stars),
    **dict.fromkeys(("saturated", "spike"), _saturated),
    "galaxy": _galaxy,
}
