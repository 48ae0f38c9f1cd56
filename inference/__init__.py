"""Inference: likelihoods, samplers, diagnostics and calibration of population fits."""

from .diagnostics import Diagnostics as Diagnostics
from .diagnostics import Thresholds as Thresholds
from .fit import FitResult as FitResult
from .fit import FitSettings as FitSettings
from .fit import fit as fit
from .fit import write_atomic as write_atomic
from .likelihood import effective_sample_sizes as effective_sample_sizes
from .likelihood import log_likelihood as log_likelihood
from .likelihood import log_object_terms as log_object_terms
from .model import PopulationModel as PopulationModel
from .objects import ErrorSettings as ErrorSettings
from .objects import ObjectSamples as ObjectSamples
from .objects import object_samples as object_samples
from .predictive import BinSettings as BinSettings
from .sampling import Sampler as Sampler
from .sampling import SamplerSettings as SamplerSettings
from .sampling import double_precision as double_precision
