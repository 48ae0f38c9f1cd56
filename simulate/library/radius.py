"""Laws of the half-light radii of clusters, open to users.

A law of one's own is a frozen dataclass of its parameters, added to `RADIUS_LAWS` under the word
by which files name it:

```python
@RADIUS_LAWS.register("log_flat")
@dataclasses.dataclass(frozen=True)
class LogFlatRadius(AbstractRadiusLaw):
    low: float = 1.0
    high: float = 10.0

    def draw(self, u, log_mass):
        return self.low * (self.high / self.low) ** u
```
"""

import abc
import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from starcensus.registry import Registry

RADIUS_LAWS = Registry[type["AbstractRadiusLaw"]]("radius law")


@dataclasses.dataclass(frozen=True)
class AbstractRadiusLaw(abc.ABC):
    """Interface of a law: a frozen dataclass whose fields are its parameters."""

    @abc.abstractmethod
    def draw(
        self, u: Float[np.ndarray, "n"], log_mass: Float[np.ndarray, "n"]
    ) -> Float[np.ndarray, "n"]:
        """Half-light radii, pc, above 0.

        **Arguments:**

        - `u`: `(n,)`, uniform between 0 and 1, all that is random of each radius.
        - `log_mass`: `(n,)`, log10 M_sun.
        """

    def describe(self) -> dict[str, Any]:
        """Name and parameters, JSON; raises `ValueError` for a law without a name."""
        return {"kind": RADIUS_LAWS.name_of(type(self)), **dataclasses.asdict(self)}


@RADIUS_LAWS.register("flat")
@dataclasses.dataclass(frozen=True)
class FlatRadius(AbstractRadiusLaw):
    """Half-light radii uniform between two limits.

    **Arguments:**

    - `low`, `high`: pc.
    - `whole`: whole numbers of pc alone, each as probable as the other; the limits must be whole.

    Raises `ValueError` for limits that are not in order, or not whole where they have to be.

    ```python
    FlatRadius(1.0, 10.0, whole=True).draw(np.array([0.05, 0.95]), np.array([4.0, 4.0]))
    ```
    """

    low: float = 1.0
    high: float = 10.0
    whole: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < np.inf:
            raise ValueError(
                f"radii from {self.low:g} to {self.high:g} pc; expected 0 < low <= high"
            )
        if self.whole and (self.low % 1 or self.high % 1):
            raise ValueError(
                f"whole radii from {self.low:g} to {self.high:g} pc; expected limits that are "
                "whole numbers"
            )

    def draw(self, u: Float[np.ndarray, "n"], log_mass: Float[np.ndarray, "n"]) -> np.ndarray:
        if self.whole:
            return np.minimum(self.low + np.floor(u * (self.high - self.low + 1)), self.high)
        return self.low + u * (self.high - self.low)


@RADIUS_LAWS.register("mass_radius")
@dataclasses.dataclass(frozen=True)
class MassRadius(AbstractRadiusLaw):
    """log10(r / pc) = slope log10(M / M_sun) + N(0, scatter), the rough relation through the
    clusters of Krumholz et al. (2019, ARA&A 57, figure 9) that tests with artificial clusters use.

    **Arguments:**

    - `slope`: dex per dex.
    - `scatter`: standard deviation of log10 of the radius, dex.
    - `low`, `high`: pc; radii beyond these limits are cut to them, where they are given.
    - `whole`: round to whole numbers of pc between `low` and `high`.

    Raises `ValueError` for numbers that are not finite, or limits that are not in order.

    ```python
    MassRadius(low=0.5, high=20.0).draw(np.array([0.5]), np.array([4.0]))  # 3.6 pc
    ```
    """

    slope: float = 0.14
    scatter: float = 0.21
    low: float | None = None
    high: float | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope) and 0 <= self.scatter < np.inf):
            raise ValueError(
                f"slope {self.slope}, scatter {self.scatter} dex; expected finite numbers, the "
                "scatter not negative"
            )
        if not 0 < (self.low or 1.0) <= (self.high or np.inf):
            raise ValueError(f"radii from {self.low} to {self.high} pc; expected 0 < low <= high")

    def draw(self, u: Float[np.ndarray, "n"], log_mass: Float[np.ndarray, "n"]) -> np.ndarray:
        radius = 10 ** (self.slope * log_mass + self.scatter * ndtri(u))
        low, high = self.low, self.high
        if self.whole:
            radius, low, high = np.rint(radius), low or 1.0, high or 10.0
        return np.clip(radius, low, high) if low or high else radius
