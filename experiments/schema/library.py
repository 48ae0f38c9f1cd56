"""kind = "library": a library of stochastic clusters."""

import dataclasses
from typing import Annotated, Any, Literal

import pydantic

from starcensus.experiments.schema._base import FILES, File
from starcensus.experiments.schema._kinds import Kinds, Without
from starcensus.experiments.schema.clusters import (
    ImfTable,
    MetallicityTable,
    RadiusTable,
    refuse_two_grids,
)
from starcensus.registry import Registry
from starcensus.simulate import BoxTheta, DrawSettings, Kroupa
from starcensus.simulate.library.slug3_engine import SlugSettings
from starcensus.theta import AXES


@dataclasses.dataclass(frozen=True)
class QuasiRandom(BoxTheta):
    """θ between limits on a scrambled Sobol sequence, which covers the box more evenly."""

    sequence: Literal["random", "sobol"] = "sobol"


@dataclasses.dataclass(frozen=True)
class ThetaOfTable:
    """θ from a table (ECSV, FITS or CSV); rows are taken without repeats.

    **Arguments:**

    - `path`: of the table; columns log_mass, log_age, a_v [, r_eff_pc] [, log_density].
    """

    path: str


THETAS = Registry[type]("design of θ")
for _name, _cls in {
    "log_uniform": BoxTheta,
    "quasi_random": QuasiRandom,
    "table": ThetaOfTable,
}.items():
    THETAS.add(_name, _cls)


def _fixed(table: dict[str, Any]) -> dict[str, Any]:
    """One number instead of two fixes an axis."""
    numbers = {k: v for k, v in table.items() if k in AXES and isinstance(v, int | float)}
    return {**table, **{k: (v, v) for k, v in numbers.items()}}


Theta = Annotated[Any, Kinds(THETAS, without={"": ("sequence",)}, prepare=_fixed)]


@FILES.register("library")
class LibraryFile(File):
    """A library of stochastic clusters: which are drawn, and what they are made of.

    **Arguments:**

    - `n`: number of clusters; with a table of θ by default its rows.
    - `bands`: in which magnitudes are wanted, some of the grid's; by default all.
    - `grid`: stellar grid: a file, or a grid that the package carries: `default`, of solar
      metallicity in bands of HST, `lmc` and `lmc-padova`, of the LMC (docs/explain/stars.md).
    - `metallicity`: grids of several metallicities instead, and which clusters have which.
    - `engine`: what draws clusters.
    - `theta`: how masses, ages and extinctions are chosen.
    - `radius`: how half-light radii are; without it there are none, unless a table has them.
    - `imf`: initial mass function. `draw`: rules of drawing, and the gas.
    - `slug`: names of SLUG v3's own ingredients, for the engine `slug`.
    """

    n: int | None = None
    bands: tuple[str, ...] | None = None
    grid: str = "default"
    metallicity: MetallicityTable | None = None
    engine: Literal["starcensus", "slug"] = "starcensus"
    theta: Theta
    radius: RadiusTable | None = None
    imf: ImfTable = Kroupa()
    draw: DrawSettings = DrawSettings()
    slug: Annotated[
        SlugSettings, Without(("imf", "rule", "nebular", "covering", "nebular_extinction"))
    ] = SlugSettings()

    @pydantic.model_validator(mode="after")
    def _each_band_once(self) -> "LibraryFile":
        if self.bands is not None and len(set(self.bands)) != len(self.bands):
            raise ValueError(f"bands repeat: {', '.join(self.bands)}; expected each once")
        if self.n is None and not isinstance(self.theta, ThetaOfTable):
            raise ValueError("n is missing; expected the number of clusters")
        refuse_two_grids(self.grid, self.metallicity)
        if self.engine == "slug" and self.metallicity is not None:
            raise ValueError("metallicity: the engine slug has stars of its own; leave it out")
        if self.engine == "slug" and not self.bands:
            raise ValueError("bands is missing; the engine slug needs their names")
        return self
