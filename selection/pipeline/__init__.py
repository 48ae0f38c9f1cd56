"""Survey pipelines: from band images to a catalogue with a flag for every cut."""

from ._base import PIPELINES as PIPELINES
from ._base import Field as Field
from ._base import Pipeline as Pipeline
from ._base import completed as completed
from ._base import describe_pipeline as describe_pipeline
from ._base import find_with as find_with
from ._base import make_pipeline as make_pipeline
from ._base import pipeline_settings as pipeline_settings
from ._base import pipeline_source as pipeline_source
from ._base import run_pipeline as run_pipeline
from .cnn import CnnPipeline as CnnPipeline
from .cnn import CnnSettings as CnnSettings
from .detections import Detections as Detections
from .legus import LegusPipeline as LegusPipeline
from .legus import LegusSettings as LegusSettings
from .legus import aperture_corrections as aperture_corrections
from .legus import centroids as centroids
from .legus import detect as detect
from .phangs import PhangsPipeline as PhangsPipeline
from .phangs import PhangsSettings as PhangsSettings
from .phangs import PhangsSurveySettings as PhangsSurveySettings
from .photometry import Apertures as Apertures
from .photometry import annulus_sky as annulus_sky
from .photometry import aperture_photometry as aperture_photometry
from .photometry import magnitudes as magnitudes
