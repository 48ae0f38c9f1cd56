"""What a survey file's tables stand for: frames, PSFs, templates, pipelines, injectors."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from starcensus.bands import wavelength_order
from starcensus.experiments.jobs._own import Own
from starcensus.experiments.jobs._psfs import make_psfs, psf_inputs
from starcensus.experiments.jobs._stars import grid_input, grid_path
from starcensus.experiments.schema._base import ConfigError, changed, parse
from starcensus.experiments.schema.images import ImagesTable
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.runs import Input
from starcensus.selection.classes import ClassifiedPipeline
from starcensus.selection.injection import Injector
from starcensus.selection.pipeline import (
    Detections,
    Field,
    Pipeline,
    describe_pipeline,
    make_pipeline,
    pipeline_source,
)
from starcensus.simulate import (
    PSF,
    ClusterLibrary,
    Frame,
    ReadOptions,
    StellarPopulation,
    Templates,
    load_grid,
    read_frame,
)
from starcensus.simulate.images.resolved import StarByStar

_SUFFIXES = (".fits", ".fits.gz", ".fits.fz", ".fit")


@dataclasses.dataclass(frozen=True)
class Survey:
    """A survey file and where its files are; each part is made when it is first asked for.

    Raises `ConfigError`, and `ValueError` as the readers of images and PSFs.
    """

    file: SurveyFile
    sources: Sources
    own: tuple[Own, ...] = ()

    @functools.cached_property
    def frame(self) -> Frame:
        """The images of the bands."""
        table = self.file.images
        files = image_files(table, self.sources)
        named = isinstance(table.paths, dict)
        frame = read_frame(
            dict(zip(table.paths, files, strict=True)) if named else files,
            table.distance_modulus,
            table.pixel_scale_arcsec,
            self._anchored(table.read),
            {band: self._anchored(_over(table.read, own)) for band, own in table.read_band.items()},
        )
        frame = dataclasses.replace(frame, field=table.field)
        return frame.select(table.bands or tuple(sorted(frame.bands, key=wavelength_order)))

    @functools.cached_property
    def psfs(self) -> dict[str, PSF]:
        """PSF of each band."""
        frame = self.frame
        return make_psfs(self.file.psf, frame.bands, frame.pixel_scale_arcsec, self.sources)

    @functools.cached_property
    def templates(self) -> Templates:
        """Templates of the model clusters."""
        radii = self.file.plan.radii_pc
        exact = {} if radii is None else {"exact": radii}
        return Templates(self.psfs, self.frame.pc_per_pixel, self.file.profile, **exact)

    @functools.cached_property
    def pipeline(self) -> Pipeline:
        """The survey's pipeline."""
        table, eta = self.file.pipeline, self.file.profile.eta
        field = Field(self.frame, self.psfs, eta, self.sources.folder)
        made = make_pipeline(table.kind, table.settings, field)
        if pipeline_source(table.kind) is not None:
            made = OwnPipeline(made, {each.name: each.input().sha256 for each in self.own})
        if self.file.classifier is None:
            return made
        return ClassifiedPipeline.of(made, self.file.classifier, self.frame, self.sources.folder)

    def injector(self) -> Injector:
        """The test that [library] and [plan] ask for."""
        if self.file.library is None:
            raise ConfigError("[library] is missing; expected the path of a cluster library (.h5)")
        path = self.sources.file(self.file.library.path, "library")
        library = ClusterLibrary.load(path, self.frame.bands)
        if self.file.stars is not None:
            # Star by star a cluster is that of all of the library's bands.
            library = ClusterLibrary.load(path)
        plan = self.file.injection_plan()
        return Injector(
            self.frame, library, self.templates, self.pipeline, plan, self._star_by_star(library)
        )

    def _star_by_star(self, library: ClusterLibrary) -> StarByStar | None:
        """What renders clusters star by star, where the file has [stars]."""
        table = self.file.stars
        if table is None:
            return None
        grid = load_grid(grid_path(table.grid, self.sources)).select(library.bands)
        return StarByStar(StellarPopulation(grid, table.imf), self.templates, table.draw)

    def inputs(self) -> dict[str, Input]:
        """Files that the survey is made of."""
        files = image_files(self.file.images, self.sources)
        found = {f"images.{path.name}": Input.of(path) for path in files}
        found |= psf_inputs(self.file.psf, self.sources)
        for name in sorted(self._weights()):
            found[f"weights.{name}"] = Input.of(self.sources.file(name, "weight"))
        if self.file.stars is not None:
            found |= grid_input(self.file.stars.grid, self.sources)
        if self.file.library is not None:
            found["library"] = Input.of(self.sources.file(self.file.library.path, "library"))
        if (source := pipeline_source(self.file.pipeline.kind)) is not None:
            found["pipeline.code"] = Input.of(source)
        # Settings that name files say which; those that a run makes need not be there.
        of_settings = getattr(self.file.pipeline.settings, "files", None)
        for path in () if of_settings is None else of_settings(self.sources.folder):
            if path.exists():
                found[f"pipeline.{path.name}"] = Input.of(path)
        if self.file.classifier is not None:
            path = self.sources.file(self.file.classifier.ensemble, "classifier.ensemble")
            found["classifier"] = Input.of(path)
        return found

    def _weights(self) -> set[str]:
        table = self.file.images
        options = (table.read, *table.read_band.values())
        return {each.weight for each in options if each.weight is not None}

    def _anchored(self, options: ReadOptions) -> ReadOptions:
        if options.weight is None:
            return options
        path = self.sources.file(options.weight, "weight")
        return dataclasses.replace(options, weight=str(path))


def image_files(table: ImagesTable, sources: Sources) -> list[pathlib.Path]:
    """The images; `ConfigError` for a folder that is not there or has none."""
    if not isinstance(table.paths, str):
        paths = table.paths.values() if isinstance(table.paths, dict) else table.paths
        return [sources.file(path, "images.paths") for path in paths]
    place = sources.place(table.paths, "images.paths")
    if place.is_file():
        return [place]
    found = sorted(p for p in place.iterdir() if p.name.endswith(_SUFFIXES))
    found = [p for p in found if not p.name.startswith(".")]
    if not found:
        raise ConfigError(f"images.paths: the folder {place} has no image ({', '.join(_SUFFIXES)})")
    return found


def _over(common: ReadOptions, own: ReadOptions) -> ReadOptions:
    default = ReadOptions()
    names = (field.name for field in dataclasses.fields(ReadOptions))
    changed: dict[str, Any] = {
        n: getattr(own, n) for n in names if getattr(own, n) != getattr(default, n)
    }
    return dataclasses.replace(common, **changed)


@dataclasses.dataclass(frozen=True, eq=False)
class OwnPipeline:
    """A pipeline of the user's, with the checksums of all its modules among its facts."""

    pipeline: Pipeline
    modules: Mapping[str, str]

    def describe(self) -> dict[str, Any]:
        return {**describe_pipeline(self.pipeline), "modules": dict(self.modules)}

    def __call__(self, frame: Frame) -> Detections:
        return self.pipeline(frame)


@dataclasses.dataclass(frozen=True)
class SurveyBuild:
    """Makes the injector of a survey file's text, in whatever process.

    `psf`: JSON of a [psf] that takes the place of the text's; empty for none. Raises `ConfigError`
    naming the file.
    """

    path: str
    text: str
    sources: Sources
    own: tuple[Own, ...] = ()
    psf: str = ""

    def __call__(self) -> Injector:
        for each in self.own:
            each.again()
        file = parse(self.text, self.path, SurveyFile)
        if self.psf:
            file = changed(file, {"psf": json.loads(self.psf)}, self.path)
        try:
            return Survey(file, self.sources, self.own).injector()
        except ValueError as error:
            raise ConfigError(f"{self.path}: {error}") from error
