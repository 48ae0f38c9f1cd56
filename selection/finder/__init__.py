"""Networks that find clusters: what they are trained with.

The stamps are those of `starcensus.simulate.stamps`, the networks those of
`starcensus.networks.cnn`; this folder alone knows both.
"""

from .batches import StampBatches as StampBatches
from .batches import grid_of as grid_of
