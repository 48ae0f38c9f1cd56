"""Numbers of chains: effective draws, R-hat and the Pareto shape of weights, by ArviZ."""

from typing import Any

import numpy as np
from jaxtyping import Float


def _stats() -> Any:
    from arviz_stats.base.array import array_stats  # slow to import

    return array_stats


def effective(values: Float[np.ndarray, "chain draw"], most: float = np.inf) -> float:
    """So many independent draws know the mean of `values` as well; `most` at most.

    ```python
    effective(np.random.default_rng(1).normal(size=(4, 500)))
    ```
    """
    most = min(values.size, most)
    if np.ptp(values) == 0:
        return float(most)
    found = float(np.asarray(_stats().ess(values, method="mean")))
    return float(np.clip(found, 1.0, most))


def r_hat(values: Float[np.ndarray, "chain draw"]) -> float:
    """R-hat of Vehtari et al. (2021)."""
    return float(np.asarray(_stats().rhat(values)))


def pareto_k(log_weight: Float[np.ndarray, " n"]) -> float:
    """Shape of the tail of weights (Vehtari et al. 2024)."""
    return float(np.asarray(_stats().psislw(-log_weight)[1]))


def log_mean(
    values: Float[np.ndarray, "chain draw"], most: float = np.inf
) -> tuple[float, float, float]:
    """ln of the mean of exp, its error, and the effective draws among which the mean is shared.

    ```python
    log_mean(np.zeros((4, 500)))  # (0.0, 0.0, 2000.0)
    ```
    """
    top = float(values.max())
    weight = np.exp(values - top)
    size, mean = effective(weight, most), float(weight.mean())
    error = float(weight.std() / mean / np.sqrt(size))
    sharing = float(weight.sum() ** 2 / (weight**2).sum() / weight.size)
    return top + float(np.log(mean)), error, size * sharing
