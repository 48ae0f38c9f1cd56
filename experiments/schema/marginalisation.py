"""kind = "marginalisation": an operator of magnitudes, averaged over the light of clusters."""

from typing import Annotated

import pydantic

from starcensus.experiments.schema._base import FILES, File, Strict
from starcensus.experiments.schema.learning import Tables

MAX_NODES = 1000
_Step = Annotated[float, pydantic.Field(gt=0)]


class AxisTable(Strict):
    """Nodes of an axis.

    **Arguments:**

    - `low`, `high`: ends.
    - `step`: distance of two nodes.
    """

    low: float
    high: float
    step: _Step

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        if isinstance(value, list | tuple) and len(value) == 3:
            return dict(zip(("low", "high", "step"), value, strict=True))
        return value

    @pydantic.model_validator(mode="after")
    def _rises(self) -> "AxisTable":
        if not self.low < self.high:
            raise ValueError(f"runs from {self.low:g} to {self.high:g}; expected low < high")
        if (n := (self.high - self.low) / self.step) > MAX_NODES:
            raise ValueError(
                f"step is {self.step:g}, which makes {n:.3g} nodes; expected {MAX_NODES} or less"
            )
        return self


@FILES.register("marginalisation")
class MarginalisationFile(File):
    """An operator of θ: one of magnitudes, averaged over the light of a library's clusters.

    **Arguments:**

    - `network`: file of the operator of magnitudes.
    - `libraries`: cluster libraries (.h5), or of SLUG v2 the path before `_cluster_prop.fits` and
      `_cluster_phot.fits`; several are joined.
    - `bands`: columns of the libraries for the network's bands, in its order.
    - `zeropoints`: table of AB minus Vega of SLUG's Vega, by band; converts to VEGAMAG.
    - `log_mass`: nodes, dex: low, high and step. `log_age`: likewise, dex. `a_v`: likewise, mag.
    """

    network: str
    libraries: Tables
    bands: tuple[str, ...] = (
        "WFC3_UVIS_F275W",
        "WFC3_UVIS_F336W",
        "ACS_F435W",
        "ACS_F555W",
        "ACS_F814W",
    )
    zeropoints: str | None = None
    log_mass: AxisTable = AxisTable(low=2.0, high=6.0, step=0.25)
    log_age: AxisTable = AxisTable(low=6.0, high=10.1, step=0.1)
    a_v: AxisTable = AxisTable(low=0.0, high=3.0, step=0.5)

    @pydantic.model_validator(mode="after")
    def _zeropoints_of_slug(self) -> "MarginalisationFile":
        own = [path for path in self.libraries if path.endswith(".h5")]
        if own and self.zeropoints is not None:
            raise ValueError(
                f"zeropoints is for files of SLUG v2, and {own[0]} is a library of starcensus: "
                "leave it out"
            )
        return self
