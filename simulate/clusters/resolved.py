"""Star clusters as stars on the sky.

A resolved cluster is one draw of a stochastic population with a place for each of its stars. Its
light is that of the integrated photometry of the same seed: what is not a star of its own, because
it is gas or fainter than a limit, is one smooth component with the cluster's profile.

The places are independent of the stars' masses (no segregation) and drawn from their own stream of
random numbers, so that neither the profile nor the limit changes which stars there are, and the
limit changes no star's place.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from ..sky import pc_per_pixel
from .bins import StellarPopulation
from .cluster import DrawSettings, draw_clusters, draw_stars
from .profiles import Profile

# Distinguishes the stream of places from every other use of a cluster's seed.
PLACES = 0x706C6163
# Stars whose places and fluxes are in memory at once.
_CHUNK = 65536

type Stars = tuple[Float[np.ndarray, "star"], Float[np.ndarray, "star band"]]


@dataclasses.dataclass(frozen=True, eq=False)
class ResolvedCluster:
    """Stars of one cluster, and the rest of its light.

    **Arguments:**

    - `bands`: names of the columns of `abs_mags`.
    - `masses`: `(star,)`, initial masses, M_sun.
    - `abs_mags`: `(star, band)`, absolute Vega magnitudes behind the cluster's extinction; inf
      where a star has no light in a band.
    - `x_pc`, `y_pc`: `(star,)`, offsets from the cluster's centre, pc.
    - `smooth_flux`: `(band,)`, flux of the smooth component in the unit 10^(−0.4 M): nebular light
      and the `n_smooth` stars that are not listed.
    - `n_smooth`: luminous stars within `smooth_flux`.
    - `profile`: how the smooth component lies on the sky; the stars' places are draws of it.

    Raises `ValueError` for shapes that differ or a smooth flux that is negative.
    """

    bands: tuple[str, ...]
    masses: Float[np.ndarray, "star"]
    abs_mags: Float[np.ndarray, "star band"]
    x_pc: Float[np.ndarray, "star"]
    y_pc: Float[np.ndarray, "star"]
    smooth_flux: Float[np.ndarray, "band"]
    n_smooth: int
    profile: Profile

    def __post_init__(self) -> None:
        n, n_band = len(self.masses), len(self.bands)
        for name, shape in (
            ("abs_mags", (n, n_band)),
            ("x_pc", (n,)),
            ("y_pc", (n,)),
            ("smooth_flux", (n_band,)),
        ):
            if getattr(self, name).shape != shape:
                raise ValueError(
                    f"{name} has shape {getattr(self, name).shape}; expected {shape}, from {n} "
                    f"masses and {n_band} bands"
                )
        if not (self.smooth_flux >= 0).all():
            band = int(np.argmin(self.smooth_flux >= 0))
            raise ValueError(
                f"smooth_flux in {self.bands[band]} is {self.smooth_flux[band]:g}; expected at "
                "least 0"
            )

    def __len__(self) -> int:
        return len(self.masses)

    @property
    def flux(self) -> Float[np.ndarray, "star band"]:
        """Flux of each star in the unit 10^(−0.4 M)."""
        return 10 ** (-0.4 * self.abs_mags)

    @property
    def total_abs_mags(self) -> Float[np.ndarray, "band"]:
        """Absolute Vega magnitudes of the whole cluster, stars and smooth component."""
        return magnitude(self.flux.sum(0) + self.smooth_flux)

    @property
    def smooth_abs_mags(self) -> Float[np.ndarray, "band"]:
        """Absolute Vega magnitudes of the smooth component; inf where it has no light."""
        return magnitude(self.smooth_flux)

    def apparent(self, distance_modulus: float) -> Float[np.ndarray, "star band"]:
        """Apparent Vega magnitudes of the stars."""
        return self.abs_mags + distance_modulus

    def pixel_positions(
        self,
        distance_modulus: float,
        pixel_scale_arcsec: float,
        centre: tuple[float, float] = (0.0, 0.0),
    ) -> Float[np.ndarray, "star 2"]:
        """(x, y) of each star in pixels of an image that has the cluster's centre at `centre`.

        +x is the direction of columns and +y that of rows, as in `Profile`.
        """
        scale = pc_per_pixel(distance_modulus, pixel_scale_arcsec)
        return np.stack([self.x_pc, self.y_pc], axis=1) / scale + np.asarray(centre)


def resolve(
    population: StellarPopulation,
    log_mass: float,
    log_age: float,
    a_v: float,
    profile: Profile,
    seed: int,
    settings: DrawSettings | None = None,
    *,
    faint_limit_mag: float | None = None,
    faint_limit_band: str | tuple[str, ...] | None = None,
) -> ResolvedCluster:
    """The cluster that `draw_clusters` draws from the same θ, seed and settings, star by star.

    **Arguments:**

    - `population`: stars and their light.
    - `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag), `seed`, `settings`: as one row of
      `draw_clusters`; nebular light becomes part of the smooth component.
    - `profile`: where stars and gas lie; no part in what the stars are.
    - `faint_limit_mag`, `faint_limit_band`: see `place_stars`.

    `total_abs_mags` agree with those of `draw_clusters` to the error of its interpolation in a_v,
    some 1e-5 mag. Raises `ValueError` for what `draw_clusters` and `place_stars` refuse.

    ```python
    cluster = resolve(stars, 3.0, 6.8, 0.5, EFF.from_half_light(3.0), seed=1, faint_limit_mag=0.0)
    cluster.apparent(29.98), cluster.pixel_positions(29.98, 0.0396)
    ```
    """
    settings = settings or DrawSettings()
    stars = draw_stars(population, log_mass, log_age, a_v, seed, settings)
    return place_stars(
        (
            (stars.masses[start : start + _CHUNK], stars.abs_mags[start : start + _CHUNK])
            for start in range(0, len(stars), _CHUNK)
        ),
        population.bands,
        profile,
        seed,
        unresolved_flux=nebular_flux_of(population, log_mass, log_age, a_v, seed, settings),
        faint_limit_mag=faint_limit_mag,
        faint_limit_band=faint_limit_band,
    )


def place_stars(
    stars: Iterable[Stars],
    bands: tuple[str, ...],
    profile: Profile,
    seed: int,
    *,
    unresolved_flux: Float[np.ndarray, "band"] | None = None,
    faint_limit_mag: float | None = None,
    faint_limit_band: str | tuple[str, ...] | None = None,
) -> ResolvedCluster:
    """A resolved cluster from stars that come in chunks, one chunk in memory at a time.

    **Arguments:**

    - `stars`: pairs of masses `(star,)`, M_sun, and absolute magnitudes `(star, band)`; the places
      do not depend on how the stars are cut into chunks.
    - `bands`: names of the columns of the magnitudes.
    - `profile`: the distribution of the places.
    - `seed`: the cluster's seed, at least 0; places come from a stream of their own.
    - `unresolved_flux`: `(band,)`, more light for the smooth component, 10^(−0.4 M).
    - `faint_limit_mag`, `faint_limit_band`: stars fainter than this absolute magnitude in this band
      (by default the last), or in each of several, are counted and become part of the smooth
      component. None lists every star that has any light.

    Raises `ValueError` for an unknown band, a seed below 0 and chunks of the wrong shape.

    ```python
    drawn = draw_stars(stars, 3.0, 6.8, 0.5, seed=1)
    place_stars([(drawn.masses, drawn.abs_mags)], bands, EFF.from_half_light(3.0), seed=1).x_pc
    ```
    """
    columns = _limit_columns(bands, faint_limit_mag, faint_limit_band)
    rng = np.random.default_rng(np.random.SeedSequence(_whole(seed), spawn_key=(PLACES,)))
    smooth = np.zeros(len(bands)) if unresolved_flux is None else unresolved_flux.astype(float)
    n_smooth = 0
    kept = [(np.zeros(0), np.zeros((0, len(bands))), np.zeros((0, 2)))]
    for masses, mags in stars:
        if mags.shape != (len(masses), len(bands)):
            raise ValueError(
                f"a chunk of stars has {len(masses)} masses and magnitudes of shape {mags.shape}; "
                f"expected ({len(masses)}, {len(bands)})"
            )
        places = profile.sample(rng, len(masses))
        luminous = np.isfinite(mags).any(1)
        bright = luminous
        if faint_limit_mag is not None:
            bright = luminous & (mags[:, columns] <= faint_limit_mag).any(1)
        faint = luminous & ~bright
        smooth = smooth + (10 ** (-0.4 * mags[faint])).sum(0)
        n_smooth += int(faint.sum())
        kept.append((masses[bright], mags[bright], places[bright]))
    masses, mags, places = (np.concatenate(parts) for parts in zip(*kept, strict=True))
    return ResolvedCluster(
        bands=bands,
        masses=masses,
        abs_mags=mags,
        x_pc=places[:, 0].copy(),
        y_pc=places[:, 1].copy(),
        smooth_flux=smooth,
        n_smooth=n_smooth,
        profile=profile,
    )


def magnitude(flux: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Absolute magnitude of a flux in the unit 10^(−0.4 M); inf for none."""
    with np.errstate(divide="ignore"):
        return np.asarray(-2.5 * np.log10(flux))


def nebular_flux_of(
    population: StellarPopulation,
    log_mass: float,
    log_age: float,
    a_v: float,
    seed: int,
    settings: DrawSettings,
) -> Float[np.ndarray, "band"]:
    if not settings.nebular:
        return np.zeros(len(population.bands))
    mass, age, dust = (np.array([float(value)]) for value in (log_mass, log_age, a_v))
    # Without a dtype NumPy makes a seed above 2⁶³ a ulonglong, which is not its uint64.
    key = np.array([seed], np.uint64)
    with_gas, without = (
        10 ** (-0.4 * draw_clusters(population, mass, age, dust, key, choice).abs_mags[0])
        for choice in (settings, dataclasses.replace(settings, nebular=False))
    )
    return np.maximum(with_gas - without, 0.0)


def _limit_columns(
    bands: tuple[str, ...], limit: float | None, band: str | tuple[str, ...] | None
) -> list[int]:
    if band is None:
        return [len(bands) - 1]
    if limit is None:
        raise ValueError(f"faint_limit_band is {band} without a faint_limit_mag; give both")
    several = (band,) if isinstance(band, str) else band
    for name in several:
        if name not in bands:
            raise ValueError(f"faint_limit_band is {name}; expected one of {', '.join(bands)}")
    return [bands.index(name) for name in several]


def _whole(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"seed is {seed}; expected a whole number of at least 0")
    return int(seed)
