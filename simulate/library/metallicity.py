"""Clusters whose stars' metallicity follows from their age, or is known by a prior alone."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt64

from starcensus import files

from ..clusters.cluster import DrawSettings, Streams
from ..clusters.imf import AbstractImf, Kroupa
from .design import Pair
from .engine import StarcensusEngine, load_grid

# The second word of the key of a row's stream: no other use of a seed shares it.
_STREAM = 0x6D6574616C
# Relative; grids that are closer are one metallicity.
_SAME = 0.01


@dataclasses.dataclass(frozen=True)
class AgeMetallicity:
    """The mass fraction of metals Z of clusters, by age.

    log10 Z is linear in log age between knots and constant before the first and after the last; a
    cluster scatters about it normally. One Z without knots, and a scatter, is a prior of clusters
    whose metallicity nobody measured.

    **Arguments:**

    - `z`: at each knot, or one for every age.
    - `log_age`: the knots, log10 yr, increasing; empty for one Z.
    - `scatter_dex`: standard deviation of log10 Z of clusters of one age.

    Raises `ValueError` for knots that do not match or increase, and numbers out of their ranges.

    ```python
    AgeMetallicity(z=(0.008, 0.004, 0.001), log_age=(8.0, 9.4, 10.1), scatter_dex=0.1)
    ```
    """

    z: tuple[float, ...]
    log_age: tuple[float, ...] = ()
    scatter_dex: float = 0.0

    def __post_init__(self) -> None:
        if len(self.z) != max(len(self.log_age), 1) or len(self.log_age) == 1:
            raise ValueError(
                f"z has {len(self.z)} values and log_age {len(self.log_age)} knots; expected one z "
                "and no knots, or as many of both, two at least"
            )
        if not all(0 < z < 0.1 for z in self.z):
            raise ValueError(
                f"z is {', '.join(f'{z:g}' for z in self.z)}; expected mass fractions of metals, "
                "above 0 and below 0.1 (the Sun's is about 0.015)"
            )
        if not all(4 <= a <= 10.5 for a in self.log_age) or not (np.diff(self.log_age) > 0).all():
            raise ValueError(
                f"log_age is {', '.join(f'{a:g}' for a in self.log_age)}; expected knots that "
                "increase, log10 yr, within 4 and 10.5"
            )
        if not 0 <= self.scatter_dex < math.inf:
            raise ValueError(f"scatter_dex is {self.scatter_dex}; expected 0 or more, finite")

    def log_z(self, log_age: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """log10 Z at the middle of the relation, `(n,)`, at ages log10 yr, `(n,)`."""
        if not self.log_age:
            return np.full(len(log_age), math.log10(self.z[0]))
        return np.interp(log_age, self.log_age, np.log10(self.z))

    def quantile(
        self, log_age: Float[np.ndarray, "n"], u: Float[np.ndarray, "n"], low: float, high: float
    ) -> Float[np.ndarray, "n"]:
        """log10 Z at quantiles u of clusters of these ages, `(n,)`, within low and high."""
        middle = self.log_z(log_age)
        if self.scatter_dex == 0:
            return middle
        from scipy.special import ndtr, ndtri  # slow to import

        below, above = (ndtr((end - middle) / self.scatter_dex) for end in (low, high))
        return np.clip(middle + self.scatter_dex * ndtri(below + u * (above - below)), low, high)

    def describe(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class MetallicityEngine:
    """Clusters of starcensus's own engine, whose stars have the metallicities of a relation.

    Each cluster has stars of one grid: of the two whose log10 Z enclose its own, by chance, with
    odds by which its mean log10 Z is its own. So the mean light of clusters of one age runs between
    those of the grids, and grids far from each other make clusters of two kinds. A scatter is cut
    off at the poorest and the richest grid.

    **Arguments:**

    - `bands`: some of each grid's.
    - `grids`: paths of stellar grids of different Z, which they must say; None among them is the
      one that the package carries first.
    - `law`: the relation, which must run within the grids'.
    - `imf`, `settings`: as of `StarcensusEngine`.

    Libraries have a column `z` of the Z of each cluster's stars. `limits` and `draw` raise
    `ValueError` for grids that do not say their Z or have the same, and a relation beyond them.

    ```python
    law = AgeMetallicity(z=(0.01,), scatter_dex=0.2)
    MetallicityEngine(("BESSELL_B", "BESSELL_V"), ("z004.h5", "z008.h5", "z020.h5"), law)
    ```
    """

    bands: tuple[str, ...]
    grids: tuple[str | None, ...]
    law: AgeMetallicity
    imf: AbstractImf = dataclasses.field(default_factory=Kroupa)
    settings: DrawSettings = dataclasses.field(default_factory=DrawSettings)

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def engines(self) -> tuple[list[StarcensusEngine], Float[np.ndarray, "grid"]]:
        """An engine for each grid, poorest in metals first, and their log10 Z; raises as `draw`."""
        states = tuple(None if path is None else files.state(path) for path in self.grids)
        order, log_z = _ladder(self.grids, states)
        engines = [
            StarcensusEngine(self.bands, self.grids[i], self.imf, self.settings) for i in order
        ]
        middle = self.law.log_z(np.array(self.law.log_age or (0.0,)))
        if middle.min() < log_z[0] - 1e-9 or middle.max() > log_z[-1] + 1e-9:
            raise ValueError(
                f"z of the relation runs from {10 ** middle.min():g} to {10 ** middle.max():g}; "
                f"the grids have {10 ** log_z[0]:g} to {10 ** log_z[-1]:g}: make grids of those "
                "metallicities, or narrow the relation"
            )
        return engines, log_z

    def limits(self) -> dict[str, Pair]:
        each = [engine.limits() for engine in self.engines()[0]]
        return {
            name: (max(one[name][0] for one in each), min(one[name][1] for one in each))
            for name in each[0]
        }

    def describe(self) -> dict[str, Any]:
        each = [engine.describe() for engine in self.engines()[0]]
        cited = dict.fromkeys(text for one in each for text in one["citations"])
        return {
            "name": "starcensus",
            "grid": [one["grid"] for one in each],
            "z": {"grids": [one["z"] for one in each], **self.law.describe()},
            "imf": each[0]["imf"],
            "settings": each[0]["settings"],
            "citations": list(cited),
        }

    def draw(
        self,
        log_mass: Float[np.ndarray, "n"],
        log_age: Float[np.ndarray, "n"],
        a_v: Float[np.ndarray, "n"],
        seeds: UInt64[np.ndarray, "n"],
    ) -> dict[str, np.ndarray]:
        engines, log_z = self.engines()
        which = self._grid_of(log_z, log_age, seeds)
        columns: dict[str, np.ndarray] = {}
        for i, engine in enumerate(engines):
            rows = np.flatnonzero(which == i)
            drawn = engine.draw(log_mass[rows], log_age[rows], a_v[rows], seeds[rows])
            for name, values in drawn.items():
                empty = np.empty((len(log_mass), *values.shape[1:]), values.dtype)
                columns.setdefault(name, empty)[rows] = values
        return {**columns, "z": 10 ** log_z[which]}

    def _grid_of(
        self, log_z: np.ndarray, log_age: np.ndarray, seeds: np.ndarray
    ) -> Int[np.ndarray, "n"]:
        """The grid of each cluster's stars, from its age and its seed alone."""
        streams = Streams(_STREAM)
        each, back = np.unique(seeds, return_inverse=True)
        u = np.array([streams.start(int(seed)).random(2) for seed in each]).reshape(-1, 2)[back]
        wanted = self.law.quantile(log_age, u[:, 0], float(log_z[0]), float(log_z[-1]))
        below = np.clip(np.searchsorted(log_z, wanted, "right") - 1, 0, len(log_z) - 2)
        share = (wanted - log_z[below]) / (log_z[below + 1] - log_z[below])
        return below + (u[:, 1] < share)


@functools.lru_cache(maxsize=8)
def _ladder(
    paths: Sequence[str | None], states: tuple[object, ...]
) -> tuple[list[int], np.ndarray]:
    """The order of grids by Z, and their log10 Z."""
    if len(paths) < 2:
        raise ValueError(
            f"grids has {len(paths)}; expected two or more, of different metallicities (stars of "
            "one are `grid`)"
        )
    found = []
    for path in paths:
        z = load_grid(path).provenance.get("z")
        if not isinstance(z, int | float) or not z > 0:
            raise ValueError(
                f"the stellar grid {path or 'default'} does not say its Z; make it anew "
                "(`starcensus simulate grid`)"
            )
        found.append(math.log10(z))
    order = np.argsort(found, kind="stable")
    log_z = np.array(found)[order]
    if (close := np.diff(log_z) < math.log10(1 + _SAME)).any():
        first = int(np.argmax(close))
        pair = " and ".join(str(paths[order[first + k]] or "default") for k in (0, 1))
        raise ValueError(f"the grids {pair} have the same Z, {10 ** log_z[first]:g}; leave out one")
    return [int(i) for i in order], log_z
