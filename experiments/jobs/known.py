"""The truth of a synthetic galaxy of ours, for `starcensus detect --truth`."""

import dataclasses
import pathlib

import numpy as np

from starcensus.bands import find_band
from starcensus.experiments.schema.fit import ConfigError
from starcensus.selection.catalogue import Catalogue
from starcensus.selection.injection import KnownClusters
from starcensus.selection.pipeline import Detections
from starcensus.simulate import Frame, Templates
from starcensus.theta import AXES


@dataclasses.dataclass(frozen=True)
class Known:
    """A synthetic galaxy and what is recorded of its clusters.

    `galaxy`: folder that `starcensus simulate galaxy` wrote. `sigma`: Gaussian errors (dex, dex,
    mag). `seed`: of the errors.
    """

    galaxy: pathlib.Path
    sigma: tuple[float, float, float] = (0.1, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        if not min(self.sigma) > 0:
            raise ConfigError(f"--sigma is {self.sigma}; expected three errors above 0")
        if not (self.galaxy / "clusters.ecsv").exists():
            raise ConfigError(
                f"{self.galaxy} has no clusters.ecsv; expected a galaxy with clusters of its own "
                "that `starcensus simulate galaxy` wrote"
            )

    def catalogue(self, found: Detections, frame: Frame, templates: Templates) -> Catalogue:
        """The catalogued clusters, see `KnownClusters.catalogue`."""
        clusters = self._clusters(find_band(frame.bands, "V"))
        return clusters.catalogue(
            found, frame, templates, self.sigma, self.seed, source=self.galaxy.resolve().name
        )

    def _clusters(self, v_band: str) -> KnownClusters:
        from astropy.table import Table

        table = Table.read(self.galaxy / "clusters.ecsv", format="ascii.ecsv")
        columns = {name: np.asarray(table[name], float) for name in table.colnames}
        return KnownClusters(
            x=columns["x"],
            y=columns["y"],
            v_mag=columns[f"mag_{v_band}"],
            r_eff_pc=columns["r_eff_pc"],
            theta=np.stack([columns[name] for name in AXES], axis=1),
            truth=dict(table.meta["truth"]),
        )
