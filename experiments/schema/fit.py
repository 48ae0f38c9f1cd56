"""kind = "fit": fits of a catalogue, each with an operator and a population."""

from typing import Annotated, Any

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema._kinds import Named, Without
from starcensus.experiments.schema.population import PopulationTable
from starcensus.experiments.schema.selection import SelectionTable
from starcensus.forward import QuadratureSettings
from starcensus.inference import (
    BinSettings,
    ErrorSettings,
    NodeSettings,
    SamplerSettings,
    Thresholds,
)
from starcensus.selection import About
from starcensus.selection.catalogue import READERS

Name = Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
Errors = Annotated[ErrorSettings, Without(("seed",))]
# Formats of draws from each object's posterior, and of a network's grids, which are no catalogues.
POSTERIORS = "posteriors"
FINDER = "finder"
DETECTIONS = "detections"


def _formats() -> tuple[str, ...]:
    return *READERS, POSTERIORS, FINDER


class LearnedTable(Strict):
    """What the clusters of a pipeline's catalogue are, as learned from its injections.

    **Arguments:**

    - `path`: of the learned posterior. `draws`: of each cluster.
    - `accept`: in what the catalogue may differ from the survey that it was learned in.
    - `leave_out`: leave out sources that lack a number that every catalogued injection had, and
      say how many in the report; one in fifty at most.
    """

    path: str
    draws: Annotated[int, pydantic.Field(ge=1)] = 1000
    accept: tuple[About, ...] = ()
    leave_out: bool = False


class CatalogueTable(Strict):
    """Where the clusters come from.

    **Arguments:**

    - `path`: of the catalogue.
    - `format`: `starcensus` (written by it), `legus`, `phangs`, `literature`, `detections` (of a
      pipeline, without θ), `table` with a column map, or `posteriors`: draws from each cluster's
      posterior with the density of their prior, as `read_posteriors` reads them; or `grids`: the
      `posteriors.h5` that `detect` writes with a network. The last two are without options and
      cuts.
    - `options`: of the reader: `column_map` (a file, or its tables), `distance_modulus` (mag),
      `bands`, `columns`, ….
    - `cuts`: in order; each has the `name` of a cut and its arguments.
    - `learned`: for `detections`, the posterior of each cluster that the pipeline catalogued;
      without options and cuts too.
    """

    path: str
    format: Annotated[str, Named(lambda: (*READERS, POSTERIORS, FINDER), READERS.what)] = (
        "starcensus"
    )
    options: dict[str, Any] = pydantic.Field({})
    cuts: tuple[dict[str, Any], ...] = ()
    learned: LearnedTable | None = None

    @pydantic.model_validator(mode="after")
    def _draws_are_as_they_are(self) -> "CatalogueTable":
        if self.format in (POSTERIORS, FINDER) and (self.options or self.cuts):
            raise ValueError("posteriors are read as they are; leave out options and cuts")
        if self.learned is not None and self.format != DETECTIONS:
            raise ValueError(
                f"learned goes with what a pipeline found, format = {DETECTIONS!r}; format is "
                f"{self.format!r}"
            )
        if self.learned is not None and (self.options or self.cuts):
            raise ValueError(
                "a learned posterior is of all that the pipeline catalogued; leave out options "
                "and cuts"
            )
        return self


class FitTable(Strict):
    """One fit.

    **Arguments:**

    - `name`: of its folder and in the report: small letters, digits and hyphens.
    - `selection`: name of the operator. `population`: name of the family.
    - `text`: why, in a sentence.
    - `errors`: of this fit alone, instead of the file's.
    """

    name: Name
    selection: str
    population: str
    text: str = ""
    errors: Errors | None = None


class LatentsTable(Strict):
    """Mass, age and extinction of every cluster under the population that all of them imply.

    **Arguments:**

    - `draws`: of the population, over which each cluster's posterior is averaged.
    - `keep_draws`: write `latents.nc` too: mass, age and extinction of each cluster for each of
      these draws, beside the population's parameters.
    """

    draws: Annotated[int, pydantic.Field(ge=1)] = 400
    keep_draws: bool = False


@FILES.register("fit")
class FitFile(BandsFile):
    """Fits of a catalogue; the first is the main one, with which the others are compared.

    **Arguments:**

    - `catalogue`: of the clusters.
    - `selections`: operators, by name. `populations`: families, by name.
    - `fits`: which operator goes with which family.
    - `errors`: how the catalogue's limits become errors.
    - `sampler`: how draws are made. `quadrature`: of the integral over the population.
    - `nodes`: from how many clusters on their samples are deposited on nodes.
    - `bins`: of the checks. `thresholds`: what a fit must reach.
    - `latents`: write `clusters.ecsv` for each fit: every cluster under its population.
    - `references`: published values for the report, each with a `name`.
    - `notes`: sentences for the report.
    """

    catalogue: CatalogueTable
    selections: dict[str, SelectionTable]
    populations: dict[str, PopulationTable]
    fits: Annotated[tuple[FitTable, ...], pydantic.Field(min_length=1)]
    errors: Errors = ErrorSettings()
    sampler: Annotated[SamplerSettings, Without(("seed",))] = SamplerSettings()
    nodes: NodeSettings = NodeSettings()
    quadrature: QuadratureSettings = QuadratureSettings()
    bins: BinSettings = BinSettings()
    thresholds: Thresholds = Thresholds()
    latents: LatentsTable | None = None
    references: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _names_exist(self) -> "FitFile":
        for fit in self.fits:
            check_name(fit.selection, self.selections)
            check_name(fit.population, self.populations)
        names = [fit.name for fit in self.fits]
        if len(set(names)) != len(names):
            raise ValueError(f"fits must have different names, got {', '.join(names)}")
        return self


def check_name(name: str, tables: dict[str, Any]) -> None:
    """Raises `ValueError` for a name that no table has."""
    if name not in tables:
        raise ValueError(f"{name!r} is not defined; defined are {', '.join(tables)}")
