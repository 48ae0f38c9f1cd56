"""The light of stochastic star clusters.

A cluster is a draw of stars (`sampling`) from a population (`population`). Its light behind each
knot of extinction is the sum over stars of theirs; ln(flux) is then interpolated to the cluster's
a_v. Nebular light is the light of gas that a fraction `covering` of the ionising photons reaches.

Each row of a draw has its own seed, hence its own stream of random numbers, and is summed in a
fixed order: it is the same, to the bit, alone, among others, in any order and in any process.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Integer

from starcensus.settings import check_choices

from ..stars.dust import attenuate
from .bins import Bins, StellarPopulation
from .sampling import Drawn, Rule, StarSampler, masses_within

# The second word of the key of a row's stream: no other use of a seed shares it.
_STREAM = 0x73746172
# Rows finished together, which bounds memory.
_CHUNK = 4096


@dataclasses.dataclass(frozen=True)
class DrawSettings:
    """What a cluster is made of besides stars.

    **Arguments:**

    - `rule`: how many stars a mass makes, `"stop_nearest"`, `"poisson"` or `"number"`; see
      docs/explain/clusters.md.
    - `nebular`: whether gas shines.
    - `covering`: fraction of the ionising photons that the gas absorbs.
    - `nebular_extinction`: how many times more than starlight nebular light is reddened. Calzetti
      et al. (1994) find 1/0.44 for starburst galaxies; 2.1 is SLUG's.
    - `nebular_max_log_age`: log10 yr; older clusters have no gas.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    StarcensusEngine(bands, settings=DrawSettings(nebular=False))
    ```
    """

    rule: Rule = "stop_nearest"
    nebular: bool = True
    covering: float = 0.5
    nebular_extinction: float = 2.1
    nebular_max_log_age: float = 7.0

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 <= self.covering <= 1:
            raise ValueError(f"covering is a fraction, from 0 to 1; got {self.covering}")
        if not self.nebular_extinction >= 0:
            raise ValueError(f"nebular_extinction is {self.nebular_extinction}; expected 0 or more")


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnClusters:
    """Clusters and their light.

    **Arguments:**

    - `abs_mags`: `(n, band)`, absolute Vega magnitudes, extinguished; inf where no star shines.
    - `log_lum`: `(n,)`, log10 of the stars' bolometric luminosity in L_sun, before extinction; -inf
      where none shines.
    - `q_h`: `(n,)`, ionising photons per second that the stars emit.
    - `birth_mass`: `(n,)`, M_sun, sum of the initial masses of all stars drawn.
    - `live_mass`: `(n,)`, M_sun, current mass of those that live.
    - `n_stars`: `(n,)`, how many were drawn.
    - `max_mass`: `(n,)`, initial mass of the most massive star, M_sun.
    - `max_live_mass`: `(n,)`, the same among those that live, to the width of a bin; 0 where there
      is none.
    """

    abs_mags: Float[np.ndarray, "n band"]
    log_lum: Float[np.ndarray, "n"]
    q_h: Float[np.ndarray, "n"]
    birth_mass: Float[np.ndarray, "n"]
    live_mass: Float[np.ndarray, "n"]
    n_stars: Int[np.ndarray, "n"]
    max_mass: Float[np.ndarray, "n"]
    max_live_mass: Float[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.log_lum)


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnStars:
    """The stars of one cluster, most massive first.

    **Arguments:**

    - `masses`: `(star,)`, initial masses, M_sun.
    - `alive`: `(star,)`, which of the stars live.
    - `abs_mags`: `(star, band)`, absolute Vega magnitudes, extinguished; inf for dead and
      dark stars.
    """

    masses: Float[np.ndarray, "star"]
    alive: Bool[np.ndarray, "star"]
    abs_mags: Float[np.ndarray, "star band"]

    def __len__(self) -> int:
        return len(self.masses)


def draw_clusters(
    population: StellarPopulation,
    log_mass: Float[np.ndarray, "n"],
    log_age: Float[np.ndarray, "n"],
    a_v: Float[np.ndarray, "n"],
    seeds: Integer[np.ndarray, "n"],
    settings: DrawSettings | None = None,
) -> DrawnClusters:
    """One stochastic cluster per row.

    **Arguments:**

    - `population`: stars and their light.
    - `log_mass`: `(n,)`, log10 M_sun, the target of `settings.rule`.
    - `log_age`: `(n,)`, log10 yr.
    - `a_v`: `(n,)`, mag.
    - `seeds`: `(n,)`, whole numbers from 0 to 2⁶⁴ - 1; a row depends on its own and on nothing
      else. Rows of one mass, age and seed are one cluster, behind different dust: side by side,
      its stars are drawn once.
    - `settings`: gas, and how stars are drawn.

    Raises `ValueError` for θ outside the grid or not finite, and for seeds below 0.

    ```python
    log_mass, log_age, a_v = np.array([3.0, 4.0]), np.array([6.8, 7.5]), np.array([0.5, 0.2])
    draw_clusters(stars, log_mass, log_age, a_v, seeds=np.array([1, 2])).abs_mags
    ```
    """
    settings = settings or DrawSettings()
    keys = _checked(population, log_mass, log_age, a_v, seeds, settings)
    n = len(log_mass)
    out = DrawnClusters(
        abs_mags=np.empty((n, len(population.bands))),
        n_stars=np.empty(n, np.int64),
        **{
            name: np.empty(n)
            for name in ("log_lum", "q_h", "birth_mass", "live_mass", "max_mass", "max_live_mass")
        },
    )
    index, weight = population.place(log_age)
    mass = 10.0**log_mass
    streams = Streams()
    sampler = sampler_of(population)
    light = np.empty((min(n, _CHUNK), population.n_flux + 3))
    # Neighbours in age share tables, which then stay in the processor's cache.
    order = np.argsort(index, kind="stable")
    drawn_before = _repeats(order, keys, log_mass, log_age)
    for start in range(0, n, _CHUNK):
        rows = order[start : start + _CHUNK]
        for at, row in enumerate(rows):
            if at and drawn_before[start + at]:
                light[at], before = light[at - 1], rows[at - 1]
                for values in (out.birth_mass, out.max_mass, out.n_stars, out.max_live_mass):
                    values[row] = values[before]
                continue
            w = float(weight[row])
            interval = population.interval(int(index[row]))
            rng = streams.start(int(keys[row]))
            drawn = sampler.draw(interval, w, float(mass[row]), settings.rule, rng)
            light[at] = interval.totals(drawn.counts, w)
            out.birth_mass[row] = drawn.birth_mass
            out.max_mass[row] = drawn.max_mass
            out.n_stars[row] = drawn.counts.sum()
            living = interval.bins.alive[drawn.counts > 0]
            out.max_live_mass[row] = min(living.max(initial=0.0), drawn.max_mass)
        there = light[: len(rows)]
        out.abs_mags[rows] = _mags(population, there, log_age[rows], a_v[rows], settings)
        with np.errstate(divide="ignore"):
            out.log_lum[rows] = np.log10(there[:, -3])
        out.q_h[rows] = there[:, -2]
        # A dead star's mass is its bin's mean, which may exceed what was drawn.
        out.live_mass[rows] = np.maximum(out.birth_mass[rows] - there[:, -1], 0.0)
    return out


def draw_stars(
    population: StellarPopulation,
    log_mass: float,
    log_age: float,
    a_v: float,
    seed: int,
    settings: DrawSettings | None = None,
) -> DrawnStars:
    """The stars of the cluster that `draw_clusters` draws from the same arguments.

    Their masses add up to its `birth_mass` and their light to its starlight (nebular light, which
    belongs to no star, is not theirs): exactly at the knots of extinction, elsewhere to the error
    of interpolation between these. A star has the mean light of its bin. Masses of stars that were
    drawn in blocks are drawn within their bins, given the sum.

    **Arguments:**

    - `population`: stars and their light.
    - `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag), `seed`: of one cluster.
    - `settings`: gas, and how stars are drawn.

    Raises `ValueError` as `draw_clusters`.

    ```python
    draw_stars(stars, 3.0, 6.8, 0.5, seed=1).masses[:3]
    ```
    """
    settings = settings or DrawSettings()
    row = [np.array([float(value)]) for value in (log_mass, log_age, a_v)]
    keys = _checked(population, row[0], row[1], row[2], np.array([seed]), settings)
    index, weight = population.place(row[1])
    interval, w = population.interval(int(index[0])), float(weight[0])
    sampler = sampler_of(population)
    rng = Streams().start(int(keys[0]))
    drawn = sampler.draw(interval, w, 10.0 ** float(log_mass), settings.rule, rng)
    masses, which = _all_stars(population, interval.bins, drawn, rng)
    order = np.argsort(-masses, kind="stable")
    masses, which = masses[order], which[order]
    light = population.band_flux(interval.star_light(w))
    flux = extinguished(light, population.grid.a_v, np.full(len(light), float(a_v)))
    return DrawnStars(
        masses=masses,
        alive=interval.bins.alive[which] > 0,
        abs_mags=_magnitudes(flux)[which],
    )


def ssp_abs_mags(
    population: StellarPopulation,
    log_age: Float[np.ndarray, "n"],
    a_v: Float[np.ndarray, "n"],
    settings: DrawSettings | None = None,
) -> Float[np.ndarray, "n band"]:
    """Absolute Vega magnitudes of the mean light of a population, per M_sun at birth.

    The limit of a massive cluster: its magnitudes less 2.5 log10(mass) tend to these.

    **Arguments:**

    - `population`: stars and their light.
    - `log_age`: `(n,)`, log10 yr.
    - `a_v`: `(n,)`, mag.
    - `settings`: whether gas shines, and how.

    Raises `ValueError` for ages outside the grid.

    ```python
    ssp_abs_mags(stars, np.array([6.8, 8.0]), np.zeros(2)) - 2.5 * 4.0  # of 10,000 M_sun
    ```
    """
    settings = settings or DrawSettings()
    light = population.mean_light(log_age)
    return _mags(population, light, log_age, a_v, settings)


def _repeats(
    order: Int[np.ndarray, "n"], keys: np.ndarray, log_mass: np.ndarray, log_age: np.ndarray
) -> Bool[np.ndarray, "n"]:
    """Whether each row, in this order, has the stars of the one before it."""
    same = np.zeros(len(order), bool)
    columns = [values[order] for values in (keys, log_mass, log_age)]
    same[1:] = np.logical_and.reduce([values[1:] == values[:-1] for values in columns])
    return same


class Streams:
    """One generator, set to the start of the stream of each key in turn (Philox, Salmon+11).

    `stream`: the second word of the keys, one for each use of a seed.
    """

    def __init__(self, stream: int = _STREAM) -> None:
        self._bits = np.random.Philox(key=0)
        self._rng = np.random.Generator(self._bits)
        self._key = np.array([0, stream], np.uint64)
        self._state: Any = {
            "bit_generator": "Philox",
            "state": {"counter": np.zeros(4, np.uint64), "key": self._key},
            "buffer": np.zeros(4, np.uint64),
            "buffer_pos": 4,
            "has_uint32": 0,
            "uinteger": 0,
        }

    def start(self, key: int) -> np.random.Generator:
        self._key[0] = key
        self._bits.state = self._state
        return self._rng


@functools.lru_cache(maxsize=8)
def sampler_of(population: StellarPopulation) -> StarSampler:
    return StarSampler(population.mass_bins)


def _checked(
    population: StellarPopulation,
    log_mass: np.ndarray,
    log_age: np.ndarray,
    a_v: np.ndarray,
    seeds: np.ndarray,
    settings: DrawSettings,
) -> np.ndarray:
    """The seeds as 64-bit keys."""
    for name, values in (("log_mass", log_mass), ("log_age", log_age), ("a_v", a_v)):
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise ValueError(f"{name} of cluster {row} is {values[row]}; expected a number")
    if (log_mass > 10).any():
        raise ValueError(
            f"log_mass reaches {log_mass.max():g}; clusters of up to 10 (log10 M_sun) are drawn"
        )
    if seeds.dtype.kind not in "iu" or (seeds < 0).any():
        raise ValueError(f"seeds are whole numbers of at least 0; got {seeds.dtype} {seeds[:3]}…")
    highest = float(population.grid.a_v[-1])
    if ((a_v < 0) | (a_v > highest)).any():
        row = int(np.argmax((a_v < 0) | (a_v > highest)))
        raise ValueError(
            f"a_v of cluster {row} is {a_v[row]:g} mag; the grid covers 0 to {highest:g}"
        )
    gas = population.grid.nebular_a_v[-1]
    if settings.nebular and (a_v * settings.nebular_extinction > gas * (1 + 1e-12)).any():
        raise ValueError(
            f"nebular light behind {a_v.max() * settings.nebular_extinction:g} mag is wanted (a_v "
            f"times nebular_extinction = {settings.nebular_extinction:g}); the grid covers {gas:g}"
        )
    return seeds.astype(np.uint64)


def extinguished(
    flux: Float[np.ndarray, "n band knot"],
    knots: Float[np.ndarray, "knot"],
    a_v: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "m band"]:
    """Flux behind a_v, for as many rows of flux as of a_v, or one for all."""
    # No light stays none: its logarithm must not meet weights of both signs.
    dark = (flux == 0).any(-1)
    log_flux = np.log(np.where(dark[..., None], 1.0, flux))
    return np.where(dark, 0.0, np.exp(attenuate(log_flux, knots, a_v[:, None])))


def _mags(
    population: StellarPopulation,
    light: Float[np.ndarray, "n column"],
    log_age: Float[np.ndarray, "n"],
    a_v: Float[np.ndarray, "n"],
    settings: DrawSettings,
) -> Float[np.ndarray, "n band"]:
    grid = population.grid
    flux = extinguished(population.band_flux(light), grid.a_v, a_v)
    if settings.nebular:
        behind = np.minimum(settings.nebular_extinction * a_v, grid.nebular_a_v[-1])
        per_photon = extinguished(grid.nebular_flux[None], grid.nebular_a_v, behind)
        absorbed = settings.covering * light[:, -2] * (log_age <= settings.nebular_max_log_age)
        flux = flux + absorbed[:, None] * per_photon
    return _magnitudes(flux)


def _magnitudes(flux: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return -2.5 * np.log10(flux)


def _all_stars(
    population: StellarPopulation, bins: Bins, drawn: Drawn, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Initial mass and bin of every star."""
    n_bins = len(bins)
    unseen = drawn.counts - np.bincount(drawn.single_bins, minlength=n_bins)
    which = np.repeat(np.arange(n_bins), unseen)
    if len(which) == 0:
        return drawn.single_masses, drawn.single_bins
    # The most massive is known, and stands for one of the stars whose bin reaches up to it.
    top = drawn.block_max_mass
    reach = population.mass_bins.edges.searchsorted(top) - 1
    there = (bins.mass_bin[which] == reach).nonzero()[0]
    known = int(there[np.argmax(bins.high[which[there]])]) if len(there) else len(which) - 1
    rest = np.delete(which, known)
    total = drawn.birth_mass - float(drawn.single_masses.sum()) - top
    masses = masses_within(population.mass_bins, bins, rest, total, rng, highest=top)
    return (
        np.concatenate([[top], masses, drawn.single_masses]),
        np.concatenate([which[known : known + 1], rest, drawn.single_bins]),
    )
