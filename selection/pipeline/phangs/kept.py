"""Regions of model clusters that are made once and kept in a file: whose they are."""

import dataclasses
import hashlib
import importlib.metadata
import json

import numpy as np

from starcensus.bands import find_band
from starcensus.files import FileError, Path

from ....simulate.images.frame import Frame
from ....simulate.images.psf import PSF
from .hits import ModelRegions
from .models import ModelSettings
from .settings import PhangsSettings


def regions_source(frame: Frame, psf: PSF, settings: PhangsSettings, models: ModelSettings) -> str:
    """Checksum of all that the regions of a frame's model clusters follow from.

    **Arguments:**

    - `psf`: in V. `settings`: with the fiducial CI of that band.
    """
    image = frame.image(find_band(frame.bands, "V"))
    found = hashlib.sha256()
    for plane in (image.data, image.bad):
        found.update(b"" if plane is None else np.ascontiguousarray(plane).tobytes())
    facts = [
        [image.band, image.exposure_s, image.zero_point, frame.distance_modulus],
        [frame.pixel_scale_arcsec, psf.sha256(), settings.fiducial_ci[image.band]],
        dataclasses.asdict(models),
        importlib.metadata.version("starcensus"),
    ]
    found.update(json.dumps(facts).encode())
    return found.hexdigest()


def load_kept(path: Path, source: str) -> ModelRegions:
    """The regions of a file; raises `FileError` for those of another `source`."""
    regions = ModelRegions.load(path)
    if regions.source not in ("", source):
        raise FileError(
            f"{path}: holds regions of other images, PSFs or models; remove it, or name another "
            "file as pipeline.regions"
        )
    return regions
