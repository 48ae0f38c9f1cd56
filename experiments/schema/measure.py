"""kind = "measure": what is known of each cluster of a catalogue alone, under a stated prior."""

from typing import Annotated

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema.fit import CatalogueTable, Name
from starcensus.experiments.schema.photometry import (
    ObservationTable,
    PhotometryTable,
    PoolTable,
    changed,
)


class PriorTable(Strict):
    """The prior of each cluster's mass, age and extinction inside the bounds of the library.

    **Arguments:**

    - `mass_slope`: dN/dM ∝ M^mass_slope. `age_slope`: dN/dT ∝ T^age_slope. Any extinction is as
      probable as another.
    - `run`: folder of a finished fit of magnitudes, or of published values, instead: the mean of
      the population over its posterior.
    - `fit`: name of another fit of the folder than its main one.
    """

    mass_slope: float = -2.0
    age_slope: float = -0.5
    run: str | None = None
    fit: Name | None = None

    @pydantic.model_validator(mode="after")
    def _one_prior(self) -> "PriorTable":
        given = changed(self, {"mass_slope", "age_slope"})
        if self.run is not None and given:
            raise ValueError(f"give either run or {', '.join(given)}: a fit is a prior by itself")
        if self.fit is not None and self.run is None:
            raise ValueError("fit names a fit of the folder `run`, which is missing")
        return self


@FILES.register("measure")
class MeasureFile(BandsFile):
    """Mass, age and extinction of each cluster of a catalogue, from its magnitudes.

    **Arguments:**

    - `catalogue`: of the clusters. `photometry`: which of its magnitudes are the data.
    - `observation`: what the survey does to a cluster.
    - `library`: the simulated clusters.
    - `prior`: of each cluster.
    - `draws`: from each posterior, written to `draws.h5` with the density of the prior, so that
      `starcensus fit --format posteriors` takes them; 0 for none.
    """

    catalogue: CatalogueTable
    photometry: PhotometryTable = PhotometryTable()
    observation: ObservationTable
    library: PoolTable
    prior: PriorTable = PriorTable()
    draws: Annotated[int, pydantic.Field(ge=0, le=100_000)] = 0
