"""Isochrones: where the stars of one age are, by initial mass."""

import dataclasses
import enum
from collections.abc import Callable, Iterable

import numpy as np
from jaxtyping import Float, Int

# log10 of 4 pi G sigma_SB M_sun / L_sun in cgs: log g = this + log M - log L + 4 log Teff.
LOG_GRAVITY = -10.60724
HOT_LOG_TEFF = np.log10(25_000.0)
# A star that has shed this share of its mass shows the matter of its former convective core.
STRIPPED = 0.6
WOLF_RAYET_LOG_LUM = 4.9


class Kind(enum.IntEnum):
    """Which family of atmospheres a star needs."""

    ORDINARY = 0
    WN = 1
    WC = 2
    POST_AGB = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Isochrone:
    """Stars of one age, in order of initial mass.

    **Arguments:**

    - `log_age`: log10 yr.
    - `initial_mass`, `current_mass`: `(point,)`, M_sun; the initial mass increases strictly.
    - `log_lum`, `log_teff`, `log_g`: `(point,)`, log10 of L_sun, K, cm s⁻².
    - `kind`: `(point,)`, values of `Kind`.

    Raises `ValueError` for shapes that differ, values that are not finite, masses that do not
    increase.

    ```python
    mass = np.array([1.0, 2.0])
    zeros, kind = np.zeros(2), np.zeros(2, int)
    one = Isochrone(7.0, mass, mass, np.array([0.0, 1.2]), zeros + 3.8, zeros + 4.3, kind)
    one.at(np.array([1.2, 1.5])).log_lum
    ```
    """

    log_age: float
    initial_mass: Float[np.ndarray, "point"]
    current_mass: Float[np.ndarray, "point"]
    log_lum: Float[np.ndarray, "point"]
    log_teff: Float[np.ndarray, "point"]
    log_g: Float[np.ndarray, "point"]
    kind: Int[np.ndarray, "point"]

    def __post_init__(self) -> None:
        n = len(self.initial_mass)
        if n < 2:
            raise ValueError(
                f"the isochrone of log age {self.log_age} has {n} points; expected 2 or more"
            )
        for name in ("current_mass", "log_lum", "log_teff", "log_g", "kind", "initial_mass"):
            values = getattr(self, name)
            if values.shape != (n,):
                raise ValueError(f"{name} has shape {values.shape}; expected ({n},)")
            if not np.isfinite(values).all():
                raise ValueError(f"{name} of log age {self.log_age} holds values not finite")
        if not (np.diff(self.initial_mass) > 0).all():
            raise ValueError(f"initial_mass of log age {self.log_age} must increase strictly")

    def __len__(self) -> int:
        return len(self.initial_mass)

    def at(self, initial_mass: Float[np.ndarray, "new"]) -> "Isochrone":
        """The isochrone at other initial masses: linear in them, `kind` of the nearer point."""
        old = self.initial_mass
        upper = np.clip(np.searchsorted(old, initial_mass), 1, len(old) - 1)
        nearer = np.where(
            initial_mass - old[upper - 1] < old[upper] - initial_mass, upper - 1, upper
        )
        columns = {
            name: np.interp(initial_mass, old, getattr(self, name))
            for name in ("current_mass", "log_lum", "log_teff", "log_g")
        }
        return Isochrone(
            log_age=self.log_age, initial_mass=initial_mass, kind=self.kind[nearer], **columns
        )


@dataclasses.dataclass(frozen=True, eq=False)
class IsochroneSet:
    """Isochrones of one composition.

    **Arguments:**

    - `isochrones`: in order of age.
    - `z`: their metal mass fraction.
    - `source`: what they are and where they came from.
    - `citations`: papers to cite.

    Raises `ValueError` if the ages do not increase.

    ```python
    mass = np.array([1.0, 2.0])
    zeros, kind = np.zeros(2), np.zeros(2, int)
    one = Isochrone(7.0, mass, mass, np.array([0.0, 1.2]), zeros + 3.8, zeros + 4.3, kind)
    IsochroneSet((one,), z=0.014, source="made by hand", citations=()).log_age
    ```
    """

    isochrones: tuple[Isochrone, ...]
    z: float
    source: str
    citations: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.isochrones:
            raise ValueError(f"no isochrones in {self.source}")
        if not (np.diff(self.log_age) > 0).all():
            raise ValueError(f"ages of {self.source} must increase; got {self.log_age}")

    @property
    def log_age(self) -> Float[np.ndarray, "age"]:
        """log10 yr of each isochrone."""
        return np.array([isochrone.log_age for isochrone in self.isochrones])

    def between(self, low: float, high: float) -> "IsochroneSet":
        """The isochrones with log age from `low` to `high`, ends included."""
        return self.keep(lambda log_age: low - 1e-6 <= log_age <= high + 1e-6)

    def keep(self, wanted: Callable[[float], bool]) -> "IsochroneSet":
        """The isochrones whose log age is wanted."""
        chosen = tuple(i for i in self.isochrones if wanted(i.log_age))
        if not chosen:
            raise ValueError(
                f"{self.source} has log ages {self.log_age.min():.2f} to {self.log_age.max():.2f}, "
                "none of those asked for"
            )
        return dataclasses.replace(self, isochrones=chosen)


def log_gravity(
    mass: Float[np.ndarray, "point"],
    log_lum: Float[np.ndarray, "point"],
    log_teff: Float[np.ndarray, "point"],
) -> Float[np.ndarray, "point"]:
    """log10 of the surface gravity in cm s⁻², from the mass in M_sun, log L_sun and log K."""
    return LOG_GRAVITY + np.log10(mass) - log_lum + 4 * log_teff


def spread_ties(mass: Float[np.ndarray, "point"]) -> Float[np.ndarray, "point"]:
    """Initial masses made strictly increasing where rounding made neighbours equal.

    Points with the same printed mass are a fast phase cut short by the table's digits: they are
    spread evenly up to the next mass. A mass below its forerunner counts as equal to it.
    """
    mass = np.maximum.accumulate(mass)
    distinct, first, count = np.unique(mass, return_index=True, return_counts=True)
    step = np.diff(distinct, append=distinct[-1] * (1 + 1e-8))
    place = np.arange(len(mass)) - np.repeat(first, count)
    return mass + place * np.repeat(step / count, count)


def stripped_stars(
    initial_mass: Float[np.ndarray, "point"],
    current_mass: Float[np.ndarray, "point"],
    log_lum: Float[np.ndarray, "point"],
    log_teff: Float[np.ndarray, "point"],
) -> Int[np.ndarray, "point"]:
    """`Kind` of each star where the surface composition is not given.

    A star hotter than 25,000 K and brighter than log L = 4.9 that has lost more than 40 percent
    of its mass shows matter from its convective core, poor in hydrogen: WN. PARSEC's own mass
    loss turns to the Wolf-Rayet rate at the same point.
    """
    bare = (
        (current_mass < STRIPPED * initial_mass)
        & (log_teff > HOT_LOG_TEFF)
        & (log_lum > WOLF_RAYET_LOG_LUM)
    )
    return np.where(bare, int(Kind.WN), int(Kind.ORDINARY))


def surface_kinds(
    log_lum: Float[np.ndarray, "point"],
    log_teff: Float[np.ndarray, "point"],
    hydrogen: Float[np.ndarray, "point"],
    carbon: Float[np.ndarray, "point"],
) -> Int[np.ndarray, "point"]:
    """`Kind` of each star from the mass fractions of hydrogen and carbon at its surface.

    Wolf-Rayet: hydrogen below 0.4 and hotter than 25,000 K (the rule of Starburst99, Smith et al.
    2002, MNRAS 337, 1309), brighter than log L = 4.9; carbon above 0.05 makes it WC.
    """
    bare = (hydrogen < 0.4) & (log_teff > HOT_LOG_TEFF) & (log_lum > WOLF_RAYET_LOG_LUM)
    kind = np.where(carbon > 0.05, int(Kind.WC), int(Kind.WN))
    return np.where(bare, kind, int(Kind.ORDINARY))


def assemble(
    log_age: float,
    columns: dict[str, Float[np.ndarray, "point"]],
    kind: Int[np.ndarray, "point"],
) -> Isochrone:
    """An isochrone from a table's columns: equal masses spread, numbers as float64."""
    plain = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    plain["initial_mass"] = spread_ties(plain["initial_mass"])
    return Isochrone(log_age=float(log_age), kind=np.asarray(kind), **plain)


def group_by_age(
    log_age: Float[np.ndarray, "row"],
) -> Iterable[tuple[float, slice]]:
    """Runs of rows with one age, in the order of the file."""
    edges = np.flatnonzero(np.diff(log_age) != 0) + 1
    for low, high in zip([0, *edges], [*edges, len(log_age)], strict=True):
        yield float(log_age[low]), slice(int(low), int(high))
