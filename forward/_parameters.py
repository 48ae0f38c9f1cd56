"""Named parameters with units, and the priors that a fit gives them unless told otherwise."""

import dataclasses

from .priors import AbstractPrior


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

    ```python
    Parameter("log_m_peak", "log10 M_sun", Normal(3.5, 1.0), "where most clusters are")
    ```
    """

    name: str
    unit: str
    prior: AbstractPrior
    reason: str
    size: int = 0
    label: str = ""
