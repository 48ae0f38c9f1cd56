"""[imf], [radius] and [metallicity]: what clusters are made of."""

import dataclasses
from typing import Annotated, Any

from starcensus.experiments.schema._kinds import Kinds
from starcensus.simulate.clusters.imf import IMFS
from starcensus.simulate.library.metallicity import AgeMetallicity
from starcensus.simulate.library.radius import RADIUS_LAWS

ImfTable = Annotated[Any, Kinds(IMFS, default="kroupa")]
RadiusTable = Annotated[Any, Kinds(RADIUS_LAWS)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class MetallicityTable(AgeMetallicity):
    """Stars whose metallicity follows the age of their cluster, or is known by a prior alone.

    **Arguments:**

    - `grids`: stellar grids of different Z, two at least: files, or names of grids that the package
      carries. A cluster has stars of one, chosen by its own Z.
    - `z`: mass fraction of metals at each knot, or one for every age.
    - `log_age`: the knots, log10 yr; log10 Z is linear between them and constant beyond.
    - `scatter_dex`: standard deviation of log10 Z of clusters of one age, cut off at the poorest
      and the richest grid.
    """

    grids: tuple[str, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(set(self.grids)) < max(len(self.grids), 2):
            raise ValueError(
                f"grids is {list(self.grids)}; expected two or more, each once (stars of one "
                "metallicity are `grid`)"
            )

    @property
    def law(self) -> AgeMetallicity:
        return AgeMetallicity(self.z, self.log_age, self.scatter_dex)


def refuse_two_grids(grid: str, metallicity: MetallicityTable | None) -> None:
    """Raises `ValueError` where both say which stars clusters have."""
    if metallicity is not None and grid != "default":
        raise ValueError(
            f"grid is {grid!r}, and metallicity.grids has {', '.join(metallicity.grids)}; give "
            "either one grid, or those of a relation"
        )
