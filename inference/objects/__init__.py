"""Objects: what is known of each cluster, in the form that the likelihood takes."""

from ._base import AbstractObjects as AbstractObjects
from ._base import ObjectSamples as ObjectSamples
from ._base import ObjectsError as ObjectsError
from ._base import Points as Points
from ._base import padded_size as padded_size
from .grid import GridPosteriors as GridPosteriors
from .posterior import PosteriorDraws as PosteriorDraws
from .posterior import read_posteriors as read_posteriors
from .posterior import write_posteriors as write_posteriors
from .published import ErrorSettings as ErrorSettings
from .published import PublishedValues as PublishedValues
from .published import in_bounds as in_bounds
from .published import object_samples as object_samples
