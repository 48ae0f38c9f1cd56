"""Networks that find clusters: what they are trained with, and what they find.

The stamps are those of `starcensus.simulate.stamps`, the networks those of
`starcensus.networks.cnn`; this folder alone knows both.
"""

from .batches import StampBatches as StampBatches
from .batches import grid_of as grid_of
from .batches import taught_share as taught_share
from .batches import training_prior as training_prior
from .maps import FinderMaps as FinderMaps
from .maps import FinderSettings as FinderSettings
from .maps import Found as Found
from .maps import Said as Said
from .maps import SeenPeaks as SeenPeaks
from .maps import find_clusters as find_clusters
from .maps import finder_maps as finder_maps
from .maps import posteriors_at as posteriors_at
from .maps import see_peaks as see_peaks
from .peaks import Peaks as Peaks
from .peaks import PeakSettings as PeakSettings
from .peaks import find_peaks as find_peaks
from .posteriors import FinderPosteriors as FinderPosteriors
