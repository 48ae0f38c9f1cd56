"""kind = "light": fits of a catalogue's magnitudes, each with a population."""

from typing import Annotated, Any

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.fit import CatalogueTable, LatentsTable, Name, check_name
from starcensus.experiments.schema.photometry import (
    ObservationTable,
    PhotometryTable,
    PoolTable,
    changed,
    refuse_uncertainty,
)
from starcensus.experiments.schema.population import PopulationTable
from starcensus.inference import BinSettings, SamplerSettings, Thresholds
from starcensus.inference.objects import EmulatedSettings, LightSettings


class LightFitTable(Strict):
    """One fit.

    **Arguments:**

    - `name`: of its folder and in the report: small letters, digits and hyphens.
    - `population`: name of the family. `text`: why, in a sentence.
    """

    name: Name
    population: str
    text: str = ""


class EmulatorTable(Strict):
    """A learned density of light, in place of simulated clusters.

    **Arguments:**

    - `path`: of an emulator (.json), as `kind = "emulator"` makes it; `default`, the one that the
      package carries. It must have been taught clusters of the stars, the IMF and the gas that
      `[library]` says.
    - `points`: how many stand for each cluster and for the expected number.
    """

    path: str = "default"
    points: Annotated[EmulatedSettings, Without(("seed",))] = EmulatedSettings()


@FILES.register("light")
class LightFile(BandsFile):
    """Fits of measured magnitudes; the first is the main one, with which the others are compared.

    **Arguments:**

    - `catalogue`: of the clusters. `photometry`: which of its magnitudes are the data.
    - `observation`: what the survey does to a cluster.
    - `library`: the simulated clusters; one draw serves all fits.
    - `light`: how they become a likelihood.
    - `emulator`: what explains the clusters instead of simulated ones; `library` then says where
      clusters may be and of which stars they are, and none are drawn.
    - `populations`: families, by name.
    - `fits`: which families are fitted.
    - `sampler`: how draws are made. `bins`: of the checks. `thresholds`: what a fit must reach.
    - `latents`: write `clusters.ecsv` for each fit: every cluster under its population.
    - `references`: published values for the report, each with a `name`.
    - `notes`: sentences for the report.
    """

    catalogue: CatalogueTable
    photometry: PhotometryTable = PhotometryTable()
    observation: ObservationTable
    library: PoolTable
    light: LightSettings = LightSettings()
    emulator: EmulatorTable | None = None
    populations: dict[str, PopulationTable]
    fits: Annotated[tuple[LightFitTable, ...], pydantic.Field(min_length=1)]
    sampler: Annotated[SamplerSettings, Without(("seed",))] = SamplerSettings()
    bins: BinSettings = BinSettings()
    thresholds: Thresholds = Thresholds()
    latents: LatentsTable | None = None
    references: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _one_of_two_forms(self) -> "LightFile":
        if self.emulator is None:
            return self
        refuse_uncertainty(self.observation, "those by an emulator take")
        own = changed(
            self.library, {"path", "target", "min_effective", "leave_out_thin", "metallicity"}
        )
        given = [f"library.{name}" for name in own]
        given += ["light"] if self.light != LightSettings() else []
        if given:
            raise ValueError(
                f"{', '.join(given)}: settings of simulated clusters, and an emulator explains the "
                "catalogue's; leave out either"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _says_what_is_catalogued(self) -> "LightFile":
        self.observation.refuse_unsaid(
            "a fit then expects all of the bounds in the catalogue, the faintest too"
        )
        return self

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "LightFile":
        for fit in self.fits:
            check_name(fit.population, self.populations)
        names = [fit.name for fit in self.fits]
        if len(set(names)) != len(names) or "library" in names:
            raise ValueError(
                f"fits must have different names, and none is 'library', got {', '.join(names)}"
            )
        for name, table in self.populations.items():
            if complaints := table.bounds.exceeds(self.library.bounds):
                raise ValueError(
                    f"populations.{name}: its bounds reach beyond those of the library: "
                    f"{'; '.join(complaints)}; widen library.bounds, or narrow the population"
                )
        return self
