"""kind = "survey": images, their pipeline, and artificial cluster tests of it."""

import dataclasses
from typing import Annotated, Any

import pydantic

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema._kinds import Kinds, Without, fields_of
from starcensus.experiments.schema.clusters import ImfTable
from starcensus.experiments.schema.images import ImagesTable, PsfTable
from starcensus.experiments.schema.selection import Triple
from starcensus.selection.classes import ClassifierCut
from starcensus.selection.injection import InjectionPlan
from starcensus.selection.pipeline import PIPELINES, pipeline_settings
from starcensus.simulate import DrawSettings, Kroupa
from starcensus.simulate.images.templates import ProfileSettings


@dataclasses.dataclass(frozen=True)
class PipelineTable:
    """A pipeline by its kind, and its settings, which `make_pipeline` takes."""

    kind: str
    settings: Any


@dataclasses.dataclass(frozen=True, eq=False)
class _Pipelines(Kinds):
    """Annotation of [pipeline], whose keys are fields of the settings of a registered class."""

    def cls_of(self, kind: object) -> type:
        return pipeline_settings(str(kind))

    def wrap(self, kind: str, made: Any) -> PipelineTable:
        return PipelineTable(kind, made)

    def is_built(self, value: Any) -> bool:
        return isinstance(value, PipelineTable)

    def dump(self, value: PipelineTable) -> Any:
        return {"kind": value.kind, **fields_of(value.settings)}


class LibraryTable(Strict):
    """A cluster library to inject.

    **Arguments:**

    - `path`: of the library (.h5).
    """

    path: str


class KnownTable(Strict):
    """The synthetic galaxy whose images these are: its own clusters of the catalogue, for a fit.

    **Arguments:**

    - `galaxy`: folder that `starcensus simulate galaxy` wrote.
    - `sigma`: Gaussian errors (dex, dex, mag) of the recorded values.
    """

    galaxy: str
    sigma: Triple = (0.1, 0.1, 0.1)


def _own_radii(value: object) -> object:
    """TOML has no null: `radii_pc = "library"` takes each cluster's own radius."""
    if isinstance(value, dict) and value.get("radii_pc") == "library":
        return {**value, "radii_pc": None}
    return value


class StarsTable(Strict):
    """Stars of injected clusters: those that their library was drawn from.

    **Arguments:**

    - `grid`: stellar grid: a file, or a grid that the package carries: `default`, of solar
      metallicity in bands of HST, `lmc` and `lmc-padova`, of the LMC (docs/explain/stars.md).
    - `imf`: of their masses. `draw`: rules of drawing clusters, and their gas.
    """

    grid: str = "default"
    imf: ImfTable = Kroupa()
    draw: DrawSettings = DrawSettings()


@FILES.register("survey")
class SurveyFile(BandsFile):
    """A survey: `starcensus detect` makes its catalogue, `starcensus inject` tests it.

    `starcensus run` tests it where the file has a [library], and makes its catalogue otherwise.

    **Arguments:**

    - `images`: the survey's. `psf`: by band; by default the embedded models.
    - `profile`: of injected clusters, and of those from which LEGUS's aperture corrections follow.
    - `pipeline`: the survey's. `classifier`: networks that classify its candidates, of which it
      catalogues some classes alone.
    - `library`: the clusters to inject. `plan`: which, how often, and where.
    - `stars`: inject clusters star by star instead of as smooth profiles.
    - `known`: for images of a synthetic galaxy.
    """

    images: ImagesTable
    psf: dict[str, PsfTable] = pydantic.Field({})
    profile: ProfileSettings = ProfileSettings()
    pipeline: Annotated[PipelineTable, _Pipelines(PIPELINES)]
    classifier: ClassifierCut | None = None
    library: LibraryTable | None = None
    plan: Annotated[InjectionPlan, Without(("seed",)), pydantic.BeforeValidator(_own_radii)] = (
        InjectionPlan()
    )
    stars: StarsTable | None = None
    known: KnownTable | None = None

    def injection_plan(self) -> InjectionPlan:
        """The plan with the file's seed."""
        return dataclasses.replace(self.plan, seed=self.seed)
