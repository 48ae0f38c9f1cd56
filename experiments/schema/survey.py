"""Survey files: images, their PSFs, a pipeline, and artificial cluster tests of it (TOML)."""

import dataclasses
import importlib.util
import pathlib
import tomllib
from collections.abc import Mapping
from typing import Annotated, Any

import pydantic

from starcensus.bands import wavelength_order
from starcensus.experiments.schema.fit import ConfigError, Strict, _only_fields, explain
from starcensus.experiments.schema.own_pipeline import OwnConfig
from starcensus.experiments.schema.psfs import PsfConfig, make_psfs
from starcensus.selection.injection import InjectionPlan, Injector
from starcensus.selection.pipeline import (
    PIPELINES,
    Field,
    Pipeline,
    make_pipeline,
    pipeline_settings,
    pipeline_source,
)
from starcensus.simulate import (
    PSF,
    ClusterLibrary,
    Frame,
    ReadOptions,
    Templates,
    read_frame,
)
from starcensus.simulate.images.templates import ProfileSettings

_SUFFIXES = (".fits", ".fits.gz", ".fits.fz", ".fit")


Read = Annotated[ReadOptions, _only_fields(ReadOptions)]


class ImagesConfig(Strict):
    """The images: `paths` is a folder, a list of files, or a table BAND = "file".

    Paths are relative to the survey file. `bands` chooses some, in its order; by default all, by
    wavelength. `read` and, for a band alone, `read_band` settle what files do not say (fields of
    `ReadOptions`). `distance_modulus` (mag) and `pixel_scale_arcsec` are the files' by default.
    """

    paths: str | tuple[str, ...] | dict[str, str]
    distance_modulus: float | None = None
    pixel_scale_arcsec: float | None = None
    bands: tuple[str, ...] | None = None
    read: Read = ReadOptions()
    read_band: dict[str, Read] = pydantic.Field({})

    def files(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """The images; `ConfigError` for a folder that is not there or has none."""
        if isinstance(self.paths, dict):
            return [folder / path for path in self.paths.values()]
        if not isinstance(self.paths, str):
            return [folder / path for path in self.paths]
        path = folder / self.paths
        if path.is_file():
            return [path]
        if not path.is_dir():
            raise ConfigError(f"images.paths: there is no folder or file {path}")
        found = sorted(p for p in path.iterdir() if p.name.endswith(_SUFFIXES))
        found = [p for p in found if not p.name.startswith(".")]
        if not found:
            raise ConfigError(
                f"images.paths: the folder {path} has no image ({', '.join(_SUFFIXES)})"
            )
        return found

    def frame(self, folder: pathlib.Path) -> Frame:
        """The images of the bands."""
        files = self.files(folder)
        named = isinstance(self.paths, dict)
        frame = read_frame(
            dict(zip(self.paths, files, strict=True)) if named else files,
            self.distance_modulus,
            self.pixel_scale_arcsec,
            self._anchored(self.read, folder),
            {
                band: self._anchored(self._over(self.read, own), folder)
                for band, own in self.read_band.items()
            },
        )
        return frame.select(self.bands or tuple(sorted(frame.bands, key=wavelength_order)))

    @staticmethod
    def _over(common: ReadOptions, own: ReadOptions) -> ReadOptions:
        default = ReadOptions()
        names = (field.name for field in dataclasses.fields(ReadOptions))
        changed = {n: getattr(own, n) for n in names if getattr(own, n) != getattr(default, n)}
        return dataclasses.replace(common, **changed)

    @staticmethod
    def _anchored(options: ReadOptions, folder: pathlib.Path) -> ReadOptions:
        if options.weight is None:
            return options
        return dataclasses.replace(options, weight=str(folder / options.weight))


def _adapter(cls: type) -> Any:
    """For a dataclass of settings, and those among its fields, without keys that are no fields."""

    def check(value: object) -> object:
        for field in dataclasses.fields(cls):
            part = value.get(field.name) if isinstance(value, dict) else None
            if isinstance(part, dict) and dataclasses.is_dataclass(field.type):
                names = [each.name for each in dataclasses.fields(field.type)]
                if unknown := sorted(set(part) - set(names)):
                    raise ValueError(
                        f"{field.name}: unknown key {', '.join(unknown)}; allowed: "
                        f"{', '.join(names)}"
                    )
        return value

    nested = pydantic.BeforeValidator(check)
    return pydantic.TypeAdapter(Annotated[cls, nested, _only_fields(cls)])  # pyright: ignore


def _pipeline_settings(value: object) -> object:
    """Kind and settings of a [pipeline] table."""
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    settings = {name: setting for name, setting in value.items() if name != "kind"}
    if kind == "own":
        adapter = pydantic.TypeAdapter(OwnConfig)
    else:
        PIPELINES.find(kind)
        adapter = _adapter(pipeline_settings(str(kind)))
    try:
        made = adapter.validate_python(settings)
    except pydantic.ValidationError as error:
        raise ValueError(explain(error).removeprefix("the file: ")) from error
    return {"kind": kind, "settings": made}


def _own_radii(value: object) -> object:
    """TOML has no null: `radii_pc = "library"` takes each cluster's own radius."""
    if isinstance(value, dict) and value.get("radii_pc") == "library":
        return {**value, "radii_pc": None}
    return value


class LibraryFile(Strict):
    """A cluster library; `path` is relative to the survey file."""

    path: str


class SurveyConfig(Strict):
    """A whole survey file.

    `pipeline` has the `kind` (legus, phangs, own, or one that was added to `PIPELINES`) and the
    fields of its settings, see `LegusSettings`, `PhangsSurveySettings` and `OwnConfig`. [profile],
    [library] and [plan] (fields of `InjectionPlan`) are of `starcensus inject`; the slope is of
    LEGUS's aperture corrections too.
    """

    title: str = ""
    images: ImagesConfig
    psf: dict[str, PsfConfig] = pydantic.Field({})
    profile: Annotated[ProfileSettings, _only_fields(ProfileSettings)] = ProfileSettings()
    pipeline: Annotated[dict[str, Any], pydantic.BeforeValidator(_pipeline_settings)]
    library: LibraryFile | None = None
    plan: Annotated[
        InjectionPlan, _only_fields(InjectionPlan), pydantic.BeforeValidator(_own_radii)
    ] = InjectionPlan()

    def psfs(self, frame: Frame, folder: pathlib.Path) -> dict[str, PSF]:
        return make_psfs(self.psf, frame.bands, frame.pixel_scale_arcsec, folder)

    def make_pipeline(
        self, frame: Frame, psfs: Mapping[str, PSF], folder: pathlib.Path
    ) -> Pipeline:
        kind, settings = self.pipeline["kind"], self.pipeline["settings"]
        if isinstance(settings, OwnConfig):
            return settings.pipeline(folder)
        return make_pipeline(kind, settings, Field(frame, psfs, self.profile.eta, folder))

    def make_templates(self, frame: Frame, psfs: Mapping[str, PSF]) -> Templates:
        """Templates of the model clusters."""
        exact = {} if self.plan.radii_pc is None else {"exact": self.plan.radii_pc}
        return Templates(psfs, frame.pc_per_pixel, self.profile, **exact)

    def injector(self, folder: pathlib.Path) -> Injector:
        """The test that [library] and [plan] ask for."""
        if self.library is None:
            raise ConfigError("[library] is missing; expected the path of a cluster library (.h5)")
        frame = self.images.frame(folder)
        library = ClusterLibrary.load(folder / self.library.path, frame.bands)
        psfs = self.psfs(frame, folder)
        templates = self.make_templates(frame, psfs)
        return Injector(
            frame, library, templates, self.make_pipeline(frame, psfs, folder), self.plan
        )

    def inputs(self, folder: pathlib.Path) -> list[pathlib.Path]:
        """Files that the survey is made of."""
        files = self.images.files(folder)
        files += [folder / psf.path for psf in self.psf.values()]
        if self.library is not None:
            files.append(folder / self.library.path)
        kind, settings = self.pipeline["kind"], self.pipeline["settings"]
        if isinstance(settings, OwnConfig):
            return [*files, settings.source(folder)]
        if (source := pipeline_source(kind)) is not None:
            files.append(source)
        # Settings that name files say which.
        of_settings = getattr(settings, "files", None)
        return files if of_settings is None else [*files, *of_settings(folder)]


@dataclasses.dataclass(frozen=True)
class SurveyBuild:
    """Makes the injector of a survey file's text; paths in it start from `folder`.

    Raises `ConfigError` naming the file.
    """

    path: str
    folder: str
    text: str

    def __call__(self) -> Injector:
        config = parse_survey(self.text, self.path)
        try:
            return config.injector(pathlib.Path(self.folder))
        except ValueError as error:
            raise ConfigError(f"{self.path}: {error}") from error


def load_survey(path: pathlib.Path) -> tuple[SurveyConfig, str]:
    """The checked survey file and its text.

    Raises `ConfigError` for a missing file, bad TOML, or a key or value that does not fit.
    """
    text = read_text(path, "survey")
    return parse_survey(text, str(path)), text


def parse_survey(text: str, source: str) -> SurveyConfig:
    return parse(SurveyConfig, text, source)


def read_text(path: pathlib.Path, what: str) -> str:
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such {what} file")
    try:
        return path.read_text()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def parse[T: pydantic.BaseModel](model: type[T], text: str, source: str) -> T:
    """The text of a TOML file as a configuration; `ConfigError` naming file, key and remedy."""
    try:
        return model.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from error
    except pydantic.ValidationError as error:
        raise ConfigError(f"{source}: {explain(error)}") from error


def require_images() -> None:
    """`ConfigError` where what images need is not installed."""
    missing = [name for name in ("galsim", "sep") if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"{' and '.join(missing)} is not installed; images need `pip install "
            "'starcensus[images]'`"
        )
