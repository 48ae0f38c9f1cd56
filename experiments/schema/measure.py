"""kind = "measure": what is known of each cluster of a catalogue alone, under a stated prior."""

from typing import Annotated, Literal

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema.fit import CatalogueTable, Name
from starcensus.experiments.schema.photometry import (
    ObservationTable,
    PhotometryTable,
    PoolTable,
    changed,
    refuse_uncertainty,
)
from starcensus.theta import AXES


class PriorTable(Strict):
    """The prior of each cluster's mass, age and extinction inside the bounds of the library.

    **Arguments:**

    - `mass_slope`: dN/dM ∝ M^mass_slope. `age_slope`: dN/dT ∝ T^age_slope. Any extinction is as
      probable as another.
    - `learned_ages`: dex; instead of `age_slope`, the distribution of ages in bins so wide that
      makes the light of the catalogue most probable. Every cluster's light takes part in it, and
      what the survey demands of measured magnitudes must be stated in `observation.cuts`.
    - `run`: folder of a finished fit of magnitudes, or of published values, instead: the mean of
      the population over its posterior.
    - `fit`: name of another fit of the folder than its main one.
    """

    mass_slope: float = -2.0
    age_slope: float = -0.5
    learned_ages: Annotated[float, pydantic.Field(gt=0.0)] | None = None
    run: str | None = None
    fit: Name | None = None

    @pydantic.model_validator(mode="after")
    def _one_prior(self) -> "PriorTable":
        given = changed(self, {"mass_slope", "age_slope", "learned_ages"})
        if self.run is not None and given:
            raise ValueError(f"give either run or {', '.join(given)}: a fit is a prior by itself")
        if self.learned_ages is not None and changed(self, {"age_slope"}):
            raise ValueError("give either age_slope or learned_ages: both say how ages are")
        if self.fit is not None and self.run is None:
            raise ValueError("fit names a fit of the folder `run`, which is missing")
        return self


class ReferenceTable(Strict):
    """Values of the catalogue that the measured ones are compared with, and that measure nothing.

    **Arguments:**

    - `column`: name of the reference among the catalogue's further columns, which the reader keeps
      beside the photometry (`columns` of a column map).
    - `axis`: what it is a reference of: `log_mass`, `log_age` or `a_v`.
    - `scale`: `log10` if the column holds log10 of M_sun or of yr, `linear` if M_sun or yr.
    - `error`: column of its standard errors, dex or mag; by default it is taken as exact.
    - `beside`: column of other published estimates, on the same scale, that are compared with the
      reference in the same way.
    - `estimate`: of each posterior: `mean`, which has the least mean square error if the prior is
      right, `p50` or `mode`.
    - `label`: of the reference in the report. `beside_label`: of the other estimates.
    """

    column: str
    axis: str = "log_age"
    scale: Literal["log10", "linear"] = "log10"
    error: str | None = None
    beside: str | None = None
    estimate: Literal["mean", "p50", "mode"] = "mean"
    label: str = ""
    beside_label: str = ""

    @pydantic.field_validator("axis")
    @classmethod
    def _known_axis(cls, axis: str) -> str:
        if axis not in AXES:
            raise ValueError(f"received {axis!r}, expected one of {', '.join(AXES)}")
        return axis

    @pydantic.model_validator(mode="after")
    def _fits_its_axis(self) -> "ReferenceTable":
        if self.axis == "a_v" and self.scale == "linear":
            raise ValueError("scale 'linear' is of masses and ages; leave it out for a_v, in mag")
        return self


@FILES.register("measure")
class MeasureFile(BandsFile):
    """Mass, age and extinction of each cluster of a catalogue, from its magnitudes.

    **Arguments:**

    - `catalogue`: of the clusters. `photometry`: which of its magnitudes are the data.
    - `observation`: what the survey does to a cluster.
    - `library`: the simulated clusters.
    - `prior`: of each cluster.
    - `references`: by names of yours, what is compared with what was measured. The figures of the
      first stand in the summary as they are, those of all with the name before them.
    - `draws`: from each posterior, written to `draws.h5` with the density of the prior, so that
      `starcensus fit --format posteriors` takes them; 0 for none.
    """

    catalogue: CatalogueTable
    photometry: PhotometryTable = PhotometryTable()
    observation: ObservationTable
    library: PoolTable
    prior: PriorTable = PriorTable()
    references: dict[Name, ReferenceTable] = pydantic.Field({})
    draws: Annotated[int, pydantic.Field(ge=0, le=100_000)] = 0

    @pydantic.model_validator(mode="after")
    def _old_clusters_may_be_too_faint(self) -> "MeasureFile":
        seen = self.observation
        refuse_uncertainty(seen, "single clusters take")
        if self.prior.learned_ages is not None:
            seen.refuse_unsaid(
                "prior.learned_ages without it expects every old cluster in the catalogue"
            )
        return self

    @pydantic.model_validator(mode="after")
    def _references_take_no_part(self) -> "MeasureFile":
        theirs = {c for r in self.references.values() for c in (r.column, r.error, r.beside) if c}
        for cut in self.catalogue.cuts:
            if used := sorted(theirs & set(_words(cut))):
                raise ValueError(
                    f"catalogue.cuts: {', '.join(used)} is a column of references, which may not "
                    "decide which clusters are measured; leave out the cut or the reference"
                )
        return self


def _words(value: object) -> list[str]:
    """All words in a cut's arguments."""
    if isinstance(value, dict):
        return [w for key, item in value.items() for w in (str(key), *_words(item))]
    if isinstance(value, list | tuple):
        return [w for item in value for w in _words(item)]
    return [value] if isinstance(value, str) else []
