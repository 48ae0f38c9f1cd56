"""Means with the two uncertainties that the paper prints."""

import dataclasses

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True, eq=False)
class Spread:
    """Mean of a few values, and how they scatter, as `spread` returns it.

    **Arguments:**

    - `mean`: `(*column)`.
    - `sd`: `(*column)`, standard deviation of the sample (n − 1 below).
    - `n`: number of values.
    """

    mean: Float[np.ndarray, "*column"]
    sd: Float[np.ndarray, "*column"]
    n: int

    @property
    def sem(self) -> Float[np.ndarray, "*column"]:
        """Standard error of the mean, `sd` / √n."""
        return np.asarray(self.sd / np.sqrt(self.n))


def spread(values: Float[np.ndarray, "n *column"]) -> Spread:
    """Mean and scatter of values, along the first axis.

    Whitmore et al. (2021) say that the uncertainties of table 1 are standard errors. What is
    printed is `sd` in the rows of single galaxies and `sem` in the mean of these rows; in tables 4
    and 5 it is `sem`.

    Raises `ValueError` for fewer than two values, which have no scatter.

    ```python
    spread(np.array([0.80, 0.73, 0.80, 0.82, 0.84])).sem  # 0.019
    ```
    """
    n = len(values)
    if n < 2:
        raise ValueError(f"there are {n} values; expected two or more")
    return Spread(np.asarray(values.mean(0)), np.asarray(values.std(0, ddof=1)), n)
