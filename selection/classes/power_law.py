"""Power laws of masses and ages from binned counts (Whitmore et al. 2021, section 7).

dN/dM ∝ M^β and dN/dτ ∝ τ^γ: a straight line through log10 of the counts over the widths of the
bins. The paper gives no number of bins, no weights and no limits in mass. Bins of equal numbers
have errors of one size, so that no weights are needed; with ten of them β = −1.9 between 10³ and
10⁶ M_sun comes out steeper by 0.02, for the centre of a wide bin is not where its density is.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from .covariate import equal_count_bins


@dataclasses.dataclass(frozen=True, eq=False)
class PowerLawFit:
    """A straight line in log-log, as `fit_power_law` returns it.

    **Arguments:**

    - `slope`: β or γ. `slope_error`: from the scatter about the line.
    - `intercept`: log10 of the density at 1 unit.
    - `log_edges`: `(bin + 1,)`; `counts`: `(bin,)`.
    - `log_centres`, `log_density`: `(used,)`, of the bins that the line goes through: geometric
      centres, and log10 of the number per unit, not per dex.
    """

    slope: float
    slope_error: float
    intercept: float
    log_edges: Float[np.ndarray, "edge"]
    counts: Int[np.ndarray, "bin"]
    log_centres: Float[np.ndarray, "used"]
    log_density: Float[np.ndarray, "used"]


def equal_number_edges(
    log_values: Float[np.ndarray, "n"], n_bins: int
) -> Float[np.ndarray, "edge"]:
    """Edges of bins of equal numbers: the extremes, and between these the middles of the gaps.

    Raises `ValueError` as `equal_count_bins`, and for values that are all equal.

    ```python
    equal_number_edges(np.array([3.0, 3.2, 3.6, 4.4]), 2)  # [3.0, 3.4, 4.4]
    ```
    """
    member = equal_count_bins(log_values, n_bins)
    low, high = (
        np.array([extreme(log_values[member == each]) for each in range(n_bins)])
        for extreme in (np.min, np.max)
    )
    if low[0] == high[-1]:
        raise ValueError(f"all values are {low[0]:g}; expected a range of them")
    return np.array([low[0], *(high[:-1] + low[1:]) / 2, high[-1]])


def fit_power_law(
    log_values: Float[np.ndarray, "n"],
    n_bins: int = 10,
    log_edges: Float[np.ndarray, "edge"] | None = None,
    skip_first: int = 0,
) -> PowerLawFit:
    """Slope of dN/dx, by least squares through bins.

    **Arguments:**

    - `log_values`: `(n,)`, log10 of masses (M_sun) or ages (yr).
    - `n_bins`: bins of equal numbers.
    - `log_edges`: `(bin + 1,)`, bins instead of these, for ages. A bin holds its lower edge, the
      last one its upper too; values outside count nowhere, and empty bins are left out.
    - `skip_first`: bins that are left out at the low end; the paper's fits without the youngest
      point have 1.

    Raises `ValueError` for fewer than three bins with objects, edges that do not increase, and as
    `equal_number_edges`.

    ```python
    u = np.random.default_rng(1).random(2000)
    log_mass = np.log10(1e3 ** (1 - u) * 1e6**u)  # dN/dM of slope −1
    fit_power_law(log_mass).slope
    ```
    """
    edges = equal_number_edges(log_values, n_bins) if log_edges is None else log_edges
    if not (np.diff(edges) > 0).all():
        raise ValueError("log_edges must be increasing numbers")
    if skip_first < 0:
        raise ValueError(f"skip_first is {skip_first}; expected 0 or more")
    counts = np.histogram(log_values, edges)[0]
    used = (counts > 0) & (np.arange(len(counts)) >= skip_first)
    if used.sum() < 3:
        raise ValueError(
            f"{used.sum()} bins hold objects; expected three or more for a line and its scatter"
        )
    x = ((edges[1:] + edges[:-1]) / 2)[used]
    y = np.log10(counts[used] / np.diff(10.0**edges)[used])
    slope, intercept = np.polyfit(x, y, 1)
    scatter = np.sum((y - slope * x - intercept) ** 2) / (len(x) - 2)
    error = np.sqrt(scatter / np.sum((x - x.mean()) ** 2))
    return PowerLawFit(float(slope), float(error), float(intercept), edges, counts, x, y)
