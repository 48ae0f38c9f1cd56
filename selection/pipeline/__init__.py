"""Survey pipelines: from band images to a catalogue with a flag for every cut."""

from ._base import Detections as Detections
from ._base import Pipeline as Pipeline
from .legus import LegusPipeline as LegusPipeline
from .legus import LegusSettings as LegusSettings
from .legus import aperture_corrections as aperture_corrections
from .phangs import PhangsPipeline as PhangsPipeline
from .phangs import PhangsSettings as PhangsSettings
from .photometry import Apertures as Apertures
from .photometry import aperture_photometry as aperture_photometry
