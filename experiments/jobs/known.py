"""The clusters of a synthetic galaxy that its catalogue holds, with θ as a survey would record it.

For checks of fits: the images decide what is catalogued, and θ is the truth with Gaussian errors
that know nothing of the pixels. Selection then is independent of the noise in the recorded θ, and
an operator learned from injections stands in the likelihood with `acts_on = "truth"`.
"""

import dataclasses
import pathlib
from typing import Any

import numpy as np

from starcensus.experiments.schema.fit import ConfigError
from starcensus.selection.catalogue import Catalogue, Step
from starcensus.selection.injection import ApertureLight, catalogued_clusters
from starcensus.selection.pipeline import Detections
from starcensus.simulate import Frame, TemplateBank
from starcensus.simulate.images.frame import V_FILTERS, band_of

THETA = ("log_mass", "log_age", "a_v")


@dataclasses.dataclass(frozen=True)
class Known:
    """A synthetic galaxy's truth and what is recorded of it.

    `galaxy`: folder that `starcensus simulate galaxy` wrote. `sigma`: Gaussian errors (dex, dex,
    mag). `seed`: of the errors.
    """

    galaxy: pathlib.Path
    sigma: tuple[float, float, float] = (0.1, 0.1, 0.1)
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.sigma) <= 0:
            raise ConfigError(f"--sigma is {self.sigma}; expected three errors above 0")
        if not (self.galaxy / "clusters.ecsv").exists():
            raise ConfigError(
                f"{self.galaxy} has no clusters.ecsv; expected a galaxy with clusters of its own "
                "that `starcensus simulate galaxy` wrote"
            )

    def catalogue(self, found: Detections, frame: Frame, bank: TemplateBank) -> Catalogue:
        """The catalogued clusters with recorded θ; the true parameters go into `meta`.

        `bank`: of the clusters' templates.
        """
        from astropy.table import Table

        table = Table.read(self.galaxy / "clusters.ecsv", format="ascii.ecsv")
        columns: dict[str, Any] = {name: np.asarray(table[name], float) for name in table.colnames}
        band = band_of(frame.bands, V_FILTERS)
        x, y, v, r_eff = (columns[name] for name in ("x", "y", f"mag_{band}", "r_eff_pc"))
        light = ApertureLight(bank, band)
        source = catalogued_clusters(x, y, v, r_eff, found, frame.image(band), light)
        rows = np.flatnonzero(source >= 0)
        if not len(rows):
            raise ConfigError(f"{self.galaxy}: none of its {len(table)} clusters is catalogued")
        sigma = np.array(self.sigma)
        theta = np.stack([columns[name][rows] for name in THETA], axis=1)
        recorded = theta + sigma * np.random.default_rng(self.seed).standard_normal(theta.shape)
        ids = np.array([str(row) for row in rows])
        truths = {f"true_{name}": columns[name][rows] for name in (*THETA, "r_eff_pc")}
        return Catalogue(
            source=self.galaxy.name,
            ids=ids,
            theta=recorded,
            theta_low=recorded - sigma,
            theta_high=recorded + sigma,
            columns={"x": columns["x"][rows], "y": columns["y"][rows], **truths},
            steps=(Step("catalogued", len(table), len(rows), "the pipeline catalogued them"),),
            meta={
                "recorded": "gaussian",
                "truth": dict(table.meta["truth"]),
                "n_drawn": len(table),
                "seed": self.seed,
            },
        )
