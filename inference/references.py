"""Measured mass, age or extinction beside values that others have from other data.

A reference has an error of its own. Where it should lie is the posterior with that error added,

    F_i(x) = ∫ p(θ | d_i) Φ((x - θ) / σ_i) dθ,

and F_i of the reference is as often below u as u says, if posterior and error are right.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from starcensus.theta import AXES, Box

from .measure import ObjectPrior, weighted
from .objects import LightObjects

# Central parts of a posterior, by the percentage in their name.
_LEVELS = {"68": 0.68, "95": 0.95}


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How far estimates are from references, in the unit of the axis (dex, dex or mag).

    **Arguments:**

    - `n`: objects that have both.
    - `rms`: root of the mean square of estimate minus reference. `median`: of the difference.
    - `share_off_0_5`, `share_off_1`: of those that are off by more than 0.5 and 1.
    - `coverage_68`, `coverage_95`: of those whose reference lies in the central part of the
      posterior with the reference's error added; None where there is no posterior.
    """

    n: int
    rms: float
    median: float
    share_off_0_5: float
    share_off_1: float
    coverage_68: float | None = None
    coverage_95: float | None = None

    @classmethod
    def of(
        cls,
        estimate: Float[np.ndarray, " n"],
        reference: Float[np.ndarray, " n"],
        ranks: Float[np.ndarray, " n"] | None = None,
    ) -> "Agreement":
        """Of objects where both are finite.

        **Arguments:**

        - `ranks`: of the references, from `reference_ranks`.

        Raises `ValueError` where no object has both.

        ```python
        Agreement.of(np.array([7.1, 8.0]), np.array([7.0, 8.6])).share_off_0_5  # 0.5
        ```
        """
        both = np.isfinite(estimate) & np.isfinite(reference)
        if not both.any():
            raise ValueError(
                f"none of {len(both)} objects has both an estimate and a reference; expected some"
            )
        off = (estimate - reference)[both]
        inside = {
            name: None if ranks is None else float((np.abs(ranks[both] - 0.5) <= p / 2).mean())
            for name, p in _LEVELS.items()
        }
        return cls(
            int(both.sum()),
            float(np.sqrt((off**2).mean())),
            float(np.median(off)),
            float((np.abs(off) > 0.5).mean()),
            float((np.abs(off) > 1.0).mean()),
            inside["68"],
            inside["95"],
        )

    def summary(self, unit: str) -> dict[str, float | int]:
        """For `summary.json`; `rms_dex` and `median_dex` of the unit dex."""
        found = dataclasses.asdict(self)
        named = {f"{k}_{unit}" if k in ("rms", "median") else k: v for k, v in found.items()}
        return {name: value for name, value in named.items() if value is not None}


def reference_ranks(
    objects: LightObjects,
    prior: ObjectPrior,
    box: Box,
    axis: str,
    reference: Float[np.ndarray, " n"],
    error: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, " n"]:
    """The part of each object's posterior, with the reference's error added, below the reference.

    **Arguments:**

    - `objects`, `prior`, `box`: as for `measure`.
    - `axis`: of θ, such as `"log_age"`.
    - `reference`: `(n,)`, in the units of θ; NaN where there is none.
    - `error`: `(n,)`, standard deviations of the references, of a normal law; none by default.

    NaN without a reference, or where no simulated cluster is like the object. Raises `ValueError`
    for negative or missing errors of a reference, and for another number of references.

    ```python
    ages, errors = np.full(len(objects), 7.5), np.full(len(objects), 0.3)
    reference_ranks(objects, power_law_prior(), box, "log_age", ages, errors)
    ```
    """
    from scipy.special import ndtr

    n = len(objects)
    sigma = np.zeros(n) if error is None else np.asarray(error, float)
    if reference.shape != (n,) or sigma.shape != (n,):
        raise ValueError(
            f"references have shape {reference.shape} and errors {sigma.shape}; expected ({n},)"
        )
    given = np.isfinite(reference)
    if (bad := given & ~(sigma >= 0)).any():
        i = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"the reference of {objects.ids[i]} is {reference[i]:g} with error {sigma[i]:g}; "
            "expected an error of 0 or more"
        )
    theta, weight, owner, _, _ = weighted(objects, prior, box)
    away = reference[owner] - theta[:, AXES.index(axis)]
    sharp = sigma[owner] == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        below = np.where(sharp, (1 + np.sign(away)) / 2, ndtr(away / sigma[owner]))
    ranks = np.bincount(owner, weight * below, n)
    return np.where(given & (np.bincount(owner, weight, n) > 0), ranks, np.nan)
