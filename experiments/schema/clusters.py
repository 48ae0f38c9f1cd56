"""[imf] and [radius]: what clusters are made of, in libraries, galaxies and operators."""

from typing import Annotated, Any

from starcensus.experiments.schema._kinds import Kinds
from starcensus.simulate.clusters.imf import IMFS
from starcensus.simulate.library.radius import RADIUS_LAWS

ImfTable = Annotated[Any, Kinds(IMFS, default="kroupa")]
RadiusTable = Annotated[Any, Kinds(RADIUS_LAWS)]
