"""Points for posteriors that the draws of a fit do not reach.

To first order the posterior under a deviation Δ_z = Σ_k z_k D_k of ln L is the fit's, moved by
Σ_k z_k Cov(x, D_k), which the fit's own draws know. So a distribution with the covariance

    Cov(x) + Σ_k Cov(x, D_k) Cov(x, D_k)ᵀ

covers the mean over z of all of them, and weights p / q of its points do the rest.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..forward import SelectionGrid
from .draws import with_number
from .evidence.errors import EvidenceError
from .evidence.target import constrained, population_target, unconstrained_draws
from .model import PopulationModel
from .objects import Samples

# Degrees of freedom of the distribution of points, and their number.
_FREEDOM = 8
_POINTS = 4000


class WidePoints(NamedTuple):
    """Points of a posterior, wider than it.

    **Arguments:**

    - `values`: by parameter name, `(point, …)`, `log_n` among them.
    - `potential`: `(point,)`, minus ln of the posterior without deviations.
    - `log_weight`: `(point,)`, ln of the weights that make them a sample of it, up to a constant.
    """

    values: dict[str, Float[np.ndarray, "point ..."]]
    potential: Float[np.ndarray, " point"]
    log_weight: Float[np.ndarray, " point"]


def wide_points(
    model: PopulationModel,
    samples: Samples,
    grid: SelectionGrid,
    values: dict[str, Float[np.ndarray, "draw ..."]],
    deviations: Float[np.ndarray, "k draw"],
    seed: int,
) -> WidePoints:
    """Points that cover the posteriors under Σ_k z_k D_k for z_k ~ N(0, 1).

    **Arguments:**

    - `model`, `samples`, `grid`: as the sampler had them.
    - `values`: draws of the posterior without deviations, by name.
    - `deviations`: D_k at these draws.
    - `seed`: of the points.

    Raises `EvidenceError` where a draw lies at the very edge of a prior, the draws are in fewer
    directions than there are parameters (chains that did not move), or no point is possible.
    """
    x = unconstrained_draws(model, {k: v[None] for k, v in values.items()})[0]
    away = x - x.mean(axis=0)
    beside = deviations - deviations.mean(axis=1, keepdims=True)
    moved = away.T @ beside.T / len(x)
    covariance = away.T @ away / len(x) + moved @ moved.T
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(29,)))
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise EvidenceError(
            f"the {len(x)} draws span less than the {x.shape[1]} parameters; the chains have not "
            "moved: see the fit's diagnostics"
        ) from error
    w = rng.normal(size=(_POINTS, len(root)))
    w *= np.sqrt(_FREEDOM / rng.chisquare(_FREEDOM, size=(_POINTS, 1)))
    log_q = -0.5 * (_FREEDOM + len(root)) * np.log1p((w**2).sum(axis=1) / _FREEDOM)
    places = x.mean(axis=0) + w @ root.T
    log_prior, log_like = population_target(model, samples, grid).at(places)
    there = np.isfinite(log_prior + log_like)
    if not there.any():
        raise EvidenceError(f"none of {_POINTS} points around the draws is possible")
    potential = -(log_prior + log_like)[there]
    named = {k: v[None] for k, v in constrained(model, places[there]).items()}
    named = with_number(model, named, samples.n_objects, grid, seed)
    own = {k: v[0] for k, v in named.items()}
    return WidePoints(own, potential, -potential - log_q[there])
