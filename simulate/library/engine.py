"""starcensus's own engine of a library: stochastic clusters of a stellar grid and an IMF."""

import dataclasses
import functools
from typing import Any

import numpy as np
from jaxtyping import Float, UInt64

from starcensus import files

from ..clusters.bins import StellarPopulation
from ..clusters.cluster import DrawSettings, draw_clusters
from ..clusters.imf import AbstractImf, Kroupa
from ..stars.grid import StellarGrid
from .design import Pair


@dataclasses.dataclass(frozen=True)
class StarcensusEngine:
    """Clusters drawn by `draw_clusters`, with the columns of `DrawnClusters`.

    **Arguments:**

    - `bands`: some of the grid's.
    - `grid`: path of a stellar grid; None takes the one that the package carries.
    - `imf`: masses of the stars.
    - `settings`: gas, and how stars are drawn.

    ```python
    StarcensusEngine(("ACS_F435W", "ACS_F555W"), imf=Chabrier()).limits()
    ```
    """

    bands: tuple[str, ...]
    grid: str | None = None
    imf: AbstractImf = dataclasses.field(default_factory=Kroupa)
    settings: DrawSettings = dataclasses.field(default_factory=DrawSettings)

    @property
    def environment(self) -> dict[str, str]:
        return {}

    def limits(self) -> dict[str, Pair]:
        grid = load_grid(self.grid)
        highest = float(grid.a_v[-1])
        if self.settings.nebular and self.settings.nebular_extinction > 0:
            highest = min(highest, float(grid.nebular_a_v[-1]) / self.settings.nebular_extinction)
        return {
            "log_mass": (-np.inf, 10.0),
            "log_age": (float(grid.log_age[0]), float(grid.log_age[-1])),
            "a_v": (0.0, highest),
        }

    def describe(self) -> dict[str, Any]:
        grid = load_grid(self.grid)
        return {
            "name": "starcensus",
            "grid": f"sha256:{grid.digest}",
            "z": grid.provenance.get("z"),
            "imf": {"kind": type(self.imf).__name__, **dataclasses.asdict(self.imf)},
            "settings": dataclasses.asdict(self.settings),
            "citations": list(grid.provenance.get("citations", [])),
        }

    def draw(
        self,
        log_mass: Float[np.ndarray, "n"],
        log_age: Float[np.ndarray, "n"],
        a_v: Float[np.ndarray, "n"],
        seeds: UInt64[np.ndarray, "n"],
    ) -> dict[str, np.ndarray]:
        population = population_of_engine(self)
        drawn = draw_clusters(population, log_mass, log_age, a_v, seeds, self.settings)
        return {field.name: getattr(drawn, field.name) for field in dataclasses.fields(drawn)}


def load_grid(path: str | None) -> StellarGrid:
    """The stellar grid of a path, or the package's where it is None.

    Read once in a process, and again when the file at the path is another.

    ```python
    load_grid(None).bands
    ```
    """
    return StellarGrid.default() if path is None else _load(path, files.state(path))


@functools.lru_cache(maxsize=8)
def _load(path: str, state: tuple[int, ...]) -> StellarGrid:
    return StellarGrid.load(path)


def population_of_engine(engine: StarcensusEngine) -> StellarPopulation:
    """The stars that an engine draws.

    ```python
    population_of_engine(StarcensusEngine(("ACS_F555W",))).bands
    ```
    """
    state = None if engine.grid is None else files.state(engine.grid)
    return population_of_grid(engine.grid, state, engine.bands, engine.imf)


@functools.lru_cache(maxsize=8)
def population_of_grid(
    path: str | None, state: tuple[int, ...] | None, bands: tuple[str, ...], imf: AbstractImf
) -> StellarPopulation:
    return StellarPopulation(load_grid(path).select(bands), imf)
