"""kind = "galaxy": a synthetic galaxy with clusters of a known population in it."""

import dataclasses
from typing import Annotated

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.clusters import ImfTable, RadiusTable
from starcensus.experiments.schema.images import PsfTable
from starcensus.experiments.schema.population import KnownPopulation
from starcensus.simulate import DrawSettings, Kroupa, MassRadius
from starcensus.simulate.images.galaxy import NGC628C, Exposure, GalaxySettings
from starcensus.simulate.images.templates import ProfileSettings


@FILES.register("galaxy")
class GalaxyFile(BandsFile):
    """Images of a galaxy that is known through and through.

    **Arguments:**

    - `grid`: stellar grid: a file, or a grid that the package carries: `default`, of solar
      metallicity in bands of HST, `lmc` and `lmc-padova`, of the LMC (docs/explain/stars.md).
    - `galaxy`: what it is made of.
    - `exposures`: how each band was observed, by default as LEGUS observed NGC 628-C.
    - `population`: of its own clusters; without it there are none.
    - `radius`: of their half-light radii. `profile`: their profiles.
    - `imf`: of all stars. `draw`: rules of drawing clusters, and their gas.
    - `psf`: by band; by default the embedded models.
    - `resolved`: clusters star by star instead of as smooth profiles.
    - `field`: write the same galaxy without its clusters into the folder `field`.
    """

    grid: str = "default"
    galaxy: Annotated[GalaxySettings, Without(("exposures",))] = GalaxySettings()
    exposures: Annotated[tuple[Exposure, ...], pydantic.Field(min_length=1)] = NGC628C
    population: KnownPopulation | None = None
    radius: RadiusTable = MassRadius()
    profile: ProfileSettings = ProfileSettings()
    imf: ImfTable = Kroupa()
    draw: DrawSettings = DrawSettings()
    psf: dict[str, PsfTable] = pydantic.Field({})
    resolved: bool = False
    field: bool = False

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "GalaxyFile":
        names = [exposure.band for exposure in self.exposures]
        if len(set(names)) < len(names):
            raise ValueError(f"exposures have {', '.join(names)}; expected each band once")
        if unknown := [band for band in self.psf if band not in names]:
            raise ValueError(f"psf: no band {', '.join(unknown)}; there are {', '.join(names)}")
        return self

    def galaxy_settings(self) -> GalaxySettings:
        """The galaxy with the file's exposures."""
        return dataclasses.replace(self.galaxy, exposures=self.exposures)
