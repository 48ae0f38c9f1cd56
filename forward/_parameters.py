"""Named parameters with units, and the priors that a fit gives them unless told otherwise."""

import dataclasses
import math
from typing import Annotated, Literal

import pydantic


class _Prior(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


class Uniform(_Prior):
    """Flat between `low` and `high`."""

    kind: Literal["uniform"] = "uniform"
    low: float
    high: float

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        return self


class Normal(_Prior):
    """Gaussian, truncated to [`low`, `high`] where these are given."""

    kind: Literal["normal"] = "normal"
    mean: float
    sd: Annotated[float, pydantic.Field(gt=0)]
    low: float = -math.inf
    high: float = math.inf

    @pydantic.model_validator(mode="after")
    def _ordered(self) -> "Normal":
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        return self


class Dirichlet(_Prior):
    """Symmetric Dirichlet on a simplex; `concentration` 1 is flat over the simplex."""

    kind: Literal["dirichlet"] = "dirichlet"
    concentration: Annotated[float, pydantic.Field(gt=0)] = 1.0


class Fixed(_Prior):
    """Not fitted: held at `value` (the population's own value if that is None)."""

    kind: Literal["fixed"] = "fixed"
    value: float | None = None


Prior = Annotated[Uniform | Normal | Dirichlet | Fixed, pydantic.Field(discriminator="kind")]


@dataclasses.dataclass(frozen=True)
class Parameter:
    """What a fit needs to know of one parameter.

    **Arguments:**

    - `name`: name of the field that holds it, and of its entry in summaries.
    - `unit`: unit and scale, in words ("log10 yr").
    - `prior`: default prior.
    - `reason`: why that prior.
    - `size`: 0 for a scalar, else the length of a simplex vector.
    - `label`: axis label, Matplotlib mathtext.
    """

    name: str
    unit: str
    prior: Uniform | Normal | Dirichlet | Fixed
    reason: str
    size: int = 0
    label: str = ""
