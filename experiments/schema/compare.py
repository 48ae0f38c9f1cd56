"""kind = "compare": several populations of one catalogue, and which of them the data prefer."""

from typing import Annotated, Any

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema._kinds import Without
from starcensus.experiments.schema.fit import POSTERIORS, CatalogueTable, Errors, FitFile, Name
from starcensus.experiments.schema.light import LightFile
from starcensus.experiments.schema.photometry import (
    ObservationTable,
    PhotometryTable,
    PoolTable,
    refuse_uncertainty,
)
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
from starcensus.inference.evidence import (
    BridgeSettings,
    EvidenceSettings,
    NestedSettings,
    ThinningSettings,
    check_odds,
)
from starcensus.inference.objects import LightSettings

# Of files of the kinds `fit` and `light`, whose tables these are.
_OF_FIT = "errors", "nodes", "quadrature"
_OF_LIGHT = "photometry", "observation", "library", "light"
_SHARED = "title", "description", "seed", "bands", "catalogue", "sampler", "bins", "thresholds"


class SensitivityTable(Strict):
    """How evidences depend on the widths of priors.

    **Arguments:**

    - `parameters`: whose priors are made wider and narrower; by default those that some model has
      and another lacks.
    - `factors`: widths, in units of the given ones.
    """

    parameters: tuple[str, ...] = ()
    factors: tuple[Annotated[float, pydantic.Field(gt=0)], ...] = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0)


@FILES.register("compare")
class CompareFile(BandsFile):
    """Populations of one catalogue, beside one another.

    Published values, draws and grids take a `selection`; measured light an `observation` and a
    `library` instead, as files of the kinds `fit` and `light` have them.

    **Arguments:**

    - `catalogue`: of the clusters.
    - `selection`: the operator. `errors`: how the catalogue's limits become errors. `nodes`,
      `quadrature`: as of a fit.
    - `photometry`, `observation`, `library`, `light`: as of a fit of light.
    - `models`: the families by name, two or more, with the same bounds and the same form.
    - `prior_odds`: weights of the models before there are data; by default all are alike.
    - `evidence`: when evidences are refused. `bridge`, `nested`: of the two methods.
    - `thinning`: of scores of clusters that are held out; left out, there are none.
    - `sensitivity`: of the odds to the widths of priors.
    - `sampler`: how draws are made. `bins`: of the checks. `thresholds`: what a fit must reach.
    """

    catalogue: CatalogueTable
    selection: SelectionTable | None = None
    errors: Errors = ErrorSettings()
    nodes: NodeSettings = NodeSettings()
    quadrature: QuadratureSettings = QuadratureSettings()
    photometry: PhotometryTable = PhotometryTable()
    observation: ObservationTable | None = None
    library: PoolTable | None = None
    light: LightSettings = LightSettings()
    models: dict[Name, PopulationTable]
    prior_odds: dict[str, float] = pydantic.Field({})
    evidence: Annotated[EvidenceSettings, Without(("bridge", "nested"))] = EvidenceSettings()
    bridge: Annotated[BridgeSettings, Without(("seed",))] = BridgeSettings()
    nested: Annotated[NestedSettings, Without(("seed",))] = NestedSettings()
    thinning: Annotated[ThinningSettings, Without(("seed",))] | None = None
    sensitivity: SensitivityTable = SensitivityTable()
    sampler: Annotated[SamplerSettings, Without(("seed",))] = SamplerSettings()
    bins: BinSettings = BinSettings()
    thresholds: Thresholds = Thresholds()

    @pydantic.model_validator(mode="after")
    def _comparable(self) -> "CompareFile":
        refuse_uncertainty(self.observation, "evidences are of")
        if len(self.models) < 2:
            raise ValueError(f"models has {len(self.models)} tables; expected two or more")
        if "library" in self.models:
            raise ValueError("models: 'library' is the folder of simulated clusters; rename it")
        (first, reference), *others = self.models.items()
        for name, table in others:
            for what in ("bounds", "form"):
                ours, theirs = getattr(table, what), getattr(reference, what)
                if ours != theirs:
                    raise ValueError(
                        f"models.{name} has other {what} than models.{first} ({ours}; {theirs}): "
                        "evidences are of the same data only if these are the same"
                    )
        check_odds(self.prior_odds, list(self.models))
        known = {p.name for t in self.models.values() for p in t.population().parameters()}
        if unknown := sorted(set(self.sensitivity.parameters) - known):
            raise ValueError(
                f"sensitivity.parameters: {', '.join(unknown)} is of no model; they have "
                f"{', '.join(sorted(known))}"
            )
        self._of_one_form()
        self.whole()
        return self

    @property
    def of_light(self) -> bool:
        """Whether the data are measured magnitudes."""
        return self.observation is not None

    def _of_one_form(self) -> None:
        fields = type(self).model_fields
        given = {name for name, field in fields.items() if getattr(self, name) != field.default}
        light = [name for name in _OF_LIGHT if name in given]
        if (self.observation is None) != (self.library is None):
            raise ValueError("light takes both observation and library; give both, or a selection")
        if self.of_light and (wrong := [n for n in ("selection", *_OF_FIT) if n in given]):
            raise ValueError(
                f"{', '.join(wrong)} is not of measured light, whose observation says what is "
                "selected; leave it out"
            )
        if not self.of_light and self.selection is None:
            raise ValueError("give a selection, or of measured light an observation and a library")
        if not self.of_light and light:
            raise ValueError(f"{', '.join(light)} is of measured light; leave it out")

    def whole(self) -> FitFile | LightFile:
        """The file of fits that this stands for, one fit for each model."""
        tables: dict[str, Any] = {name: getattr(self, name) for name in _SHARED}
        tables["populations"] = dict(self.models)
        if self.of_light:
            fits = [{"name": name, "population": name} for name in self.models]
            tables |= {name: getattr(self, name) for name in _OF_LIGHT}
            return LightFile.model_validate({"kind": "light", **tables, "fits": fits})
        fits = [{"name": n, "population": n, "selection": "given"} for n in self.models]
        tables |= {name: getattr(self, name) for name in _OF_FIT}
        tables["selections"] = {"given": self.selection}
        if self.catalogue.format == POSTERIORS and self.errors != ErrorSettings():
            raise ValueError("posteriors bring their errors; leave out [errors]")
        return FitFile.model_validate({"kind": "fit", **tables, "fits": fits})
