"""The [pipeline] of kind "phangs": what a survey file can say beyond `PhangsSettings`."""

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Annotated

import numpy as np

from starcensus.experiments.schema.fit import ConfigError, _only_fields
from starcensus.selection.pipeline import PhangsPipeline, PhangsSettings
from starcensus.selection.pipeline.phangs import ModelRegions, ModelSettings, mean_magnitudes
from starcensus.simulate import PSF, Frame, StellarGrid, StellarPopulation
from starcensus.simulate.images.frame import V_FILTERS, band_of


@dataclasses.dataclass(frozen=True)
class PhangsConfig(PhangsSettings):
    """`PhangsSettings`, and for the sample `"ml"`:

    - `models`: the grid of model clusters (fields of `ModelSettings`).
    - `regions`: a file relative to the survey file, for the regions that they fill. It is written
        if it is not there, and read by every later process and command; one that
        `ModelRegions.save` wrote in Python is taken as it is.
    """

    models: Annotated[ModelSettings, _only_fields(ModelSettings)] = dataclasses.field(
        default_factory=ModelSettings
    )
    regions: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sample == "human" and (self.regions or self.models != ModelSettings()):
            raise ValueError(
                "models and regions are given and sample is 'human', which uses none; set "
                "sample = 'ml' or remove them"
            )

    @property
    def settings(self) -> PhangsSettings:
        names = [field.name for field in dataclasses.fields(PhangsSettings)]
        return PhangsSettings(**{name: getattr(self, name) for name in names})

    def pipeline(
        self, frame: Frame, psfs: Mapping[str, PSF], folder: pathlib.Path
    ) -> PhangsPipeline:
        """With what the survey derives from the frame: model clusters for the sample `"ml"`, and
        the region of its stars, unless `ci_floor` stands for one.

        Raises `ConfigError` for regions of other images, PSFs or models, and `ValueError` as
        `PhangsPipeline.for_field`.
        """
        # First what takes a second, for it may fail, and models take minutes.
        human = PhangsPipeline.for_field(
            frame,
            psfs,
            dataclasses.replace(self.settings, sample="human"),
            exclusion="field" if self.ci_floor is None else None,
        )
        if self.sample == "human":
            return human
        settings = dataclasses.replace(human.settings, sample="ml")
        v = band_of(frame.bands, V_FILTERS)
        path = None if self.regions is None else folder / self.regions
        source = self._source(frame, psfs[v], v, settings)
        if path is not None and path.exists():
            return PhangsPipeline(settings, _saved(path, source), human.exclusion)
        stars = StellarPopulation(StellarGrid.default())
        made = PhangsPipeline.for_field(
            frame,
            psfs,
            settings,
            magnitudes=mean_magnitudes(stars, v, self.models),
            models=self.models,
            exclusion=human.exclusion,
        )
        if path is not None and made.regions is not None:
            try:
                dataclasses.replace(made.regions, source=source).save(path)
            except OSError as error:
                raise ConfigError(
                    f"pipeline.regions: {path} cannot be written ({error}); expected a file in a "
                    "folder that is there"
                ) from error
        return made

    def _source(self, frame: Frame, psf: PSF, v: str, settings: PhangsSettings) -> str:
        """Checksum of all that the regions follow from."""
        image = frame.image(v)
        found = hashlib.sha256()
        for plane in (image.data, image.bad):
            found.update(b"" if plane is None else np.ascontiguousarray(plane).tobytes())
        facts = [
            [v, image.exposure_s, image.zero_point, frame.distance_modulus],
            [frame.pixel_scale_arcsec, psf.sha256(), settings.fiducial_ci[v]],
            dataclasses.asdict(self.models),
            importlib.metadata.version("starcensus"),
        ]
        found.update(json.dumps(facts).encode())
        return found.hexdigest()


def _saved(path: pathlib.Path, source: str) -> ModelRegions:
    try:
        regions = ModelRegions.load(path)
    except OSError as error:
        raise ConfigError(
            f"pipeline.regions: {path} cannot be read ({error}); expected a file of "
            "`ModelRegions.save`"
        ) from error
    if regions.source not in ("", source):
        raise ConfigError(
            f"pipeline.regions: {path} is of other images, PSFs or models; remove it, or name "
            "another file"
        )
    return regions
