"""Are priors normalised, and what becomes of the evidence when one of them is wider or narrower?"""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...forward import AbstractPrior, Dirichlet, MultivariateNormal, Normal, Uniform
from ...forward.priors import numpyro_rules
from ..model import PopulationModel
from ..sampling import double_precision
from .bridge import BridgeSettings, bridge
from .chains import log_mean, pareto_k
from .errors import EvidenceError

# Priors of ours, whose integrals are known; those of users are integrated.
_KNOWN = (Uniform, Normal, Dirichlet, MultivariateNormal)
_CHAINS, _DRAWS = 4, 1000
_MOST_OFF = 0.02
# A posterior that is to have an end inside a flat prior has next to no draws in this share of it.
_EDGE, _AT_EDGE = 0.02, 1e-3
_MAX_PARETO_K = 0.7


def check_priors(model: PopulationModel) -> None:
    """Raises `EvidenceError` for a prior of a fitted parameter that is improper or does not
    integrate to 1, which its own draws tell by bridge sampling.

    ```python
    check_priors(PopulationModel(population, {"alpha_m": (-3.0, -1.0)}))
    ```
    """
    for site in model.sites():
        if isinstance(site.prior, _KNOWN):
            continue
        name = " and ".join(site.names)
        try:
            off = _log_integral(site.prior, site.size)
        except NotImplementedError as error:
            raise EvidenceError(
                f"the prior of {name}, {site.prior.words()}, is improper: nothing can be drawn "
                "from it; an evidence takes normalised priors, such as a pair of limits"
            ) from error
        if not abs(off) <= _MOST_OFF:
            raise EvidenceError(
                f"the prior of {name}, {site.prior.words()}, integrates to {math.exp(off):.3g}; "
                "an evidence takes priors that integrate to 1"
            )


def _log_integral(prior: AbstractPrior, size: int) -> float:
    """ln of the integral of a prior over its support."""
    from numpyro.distributions import biject_to

    with double_precision(), numpyro_rules():
        made = prior.distribution(size)
        # Densities are asked of points within, where draws may round to an edge.
        to = biject_to(made.support)
        drawn = made.sample(jax.random.key(0), (_CHAINS * _DRAWS,))
        x = np.asarray(to._inverse(jnp.asarray(drawn, float)), float)
        x = x.reshape(_CHAINS, _DRAWS, -1)
        scalar = made.event_shape == ()

        def log_density(points: Float[np.ndarray, "k d"]) -> Float[np.ndarray, " k"]:
            def one(point):
                at = point[0] if scalar else point
                value = to(at)
                return made.log_prob(value) + to.log_abs_det_jacobian(at, value)

            with double_precision(), numpyro_rules():
                return np.asarray(jax.vmap(one)(jnp.asarray(points)))

    return bridge(log_density, x, BridgeSettings(max_disagreement=100.0)).ln_z


def scaled(prior: AbstractPrior, factor: float) -> AbstractPrior:
    """A prior `factor` times as wide: a flat one about its middle, a normal one in its standard
    deviation, with the limits that it has.

    Raises `EvidenceError` for a kind that has no such width.

    ```python
    scaled(Uniform(-3.0, -1.0), 0.5)  # Uniform(low=-2.5, high=-1.5)
    ```
    """
    if isinstance(prior, Uniform):
        middle, half = (prior.low + prior.high) / 2, (prior.high - prior.low) / 2 * factor
        return Uniform(middle - half, middle + half)
    if isinstance(prior, Normal):
        return dataclasses.replace(prior, sd=factor * prior.sd)
    raise EvidenceError(
        f"a prior is {prior.words()}, which has no width to scale; expected a flat or a normal one "
        "of one parameter"
    )


@dataclasses.dataclass(frozen=True)
class PriorCurve:
    """What the width of a prior does to an evidence.

    **Arguments:**

    - `parameter`: whose prior it is. `words`: the prior.
    - `factors`: widths, in units of that of the fit.
    - `change`: ln Z with each width less ln Z of the fit; NaN where it was refused.
    - `errors`: Monte Carlo error of each. `refused`: why, or nothing.
    """

    parameter: str
    words: str
    factors: tuple[float, ...]
    change: tuple[float, ...]
    errors: tuple[float, ...]
    refused: tuple[str, ...]


def prior_curve(
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    parameter: str,
    factors: tuple[float, ...] = (0.5, 0.7, 1.0, 1.4, 2.0, 4.0),
    min_effective: float = 100.0,
) -> PriorCurve:
    """How ln Z changes with the width of a parameter's prior, without another fit:
    Z' / Z = E_post[π' / π].

    A flat prior that is made wider lets in values of which the draws know nothing. It is refused
    where the posterior leans on an edge; where it does not, the likelihood is taken to be
    negligible beyond, and ln Z' − ln Z is −ln of the factor.

    **Arguments:**

    - `model`, `values`: of the fit, and draws of its posterior by parameter name.
    - `parameter`: a fitted scalar with a prior of its own.
    - `factors`: widths, in units of that of the fit.
    - `min_effective`: fewest effective draws behind a value.

    Raises `EvidenceError` for a parameter that has no such prior.

    ```python
    result = fit(catalogue, operator, model)
    prior_curve(result.model, posterior_values(result), "alpha_m", (0.5, 1.0)).change
    ```
    """
    known = {p.name: p for p in model.fitted()}
    alone = {site.name for site in model.sites()}
    if parameter not in known or parameter not in alone or known[parameter].size:
        raise EvidenceError(
            f"{parameter!r} is no fitted scalar with a prior of its own; there are "
            f"{', '.join(sorted(n for n in alone if n in known and not known[n].size))}"
        )
    if bad := [factor for factor in factors if not (0 < factor < math.inf)]:
        raise EvidenceError(f"the factor {bad[0]} of a prior's width is no number above 0")
    prior, draws = model.prior(known[parameter]), np.asarray(values[parameter], float)
    found = [_one_width(prior, draws, factor, min_effective) for factor in factors]
    change, errors, refused = zip(*found, strict=True)
    return PriorCurve(parameter, prior.words(), tuple(factors), change, errors, refused)


def _one_width(
    prior: AbstractPrior, draws: Float[np.ndarray, "chain draw"], factor: float, fewest: float
) -> tuple[float, float, str]:
    other = scaled(prior, factor)
    if factor == 1:
        return 0.0, 0.0, ""
    if isinstance(prior, Uniform) and factor > 1:
        width = prior.high - prior.low
        near = (draws < prior.low + _EDGE * width) | (draws > prior.high - _EDGE * width)
        if near.mean() > _AT_EDGE:
            why = f"the posterior leans on the edge of the prior ({near.mean():.1%} of it)"
            return math.nan, math.nan, why
        return -math.log(factor), 0.0, ""
    before, after = prior.density(draws.ravel()), other.density(draws.ravel())
    assert before is not None and after is not None
    weight = (after / before).reshape(draws.shape)
    if not weight.any():
        return math.nan, math.nan, "no draw lies inside the narrower prior"
    with np.errstate(divide="ignore"):
        log_weight = np.log(weight)
    change, error, size = log_mean(log_weight)
    if not size >= fewest:
        why = f"{size:.0f} effective draws lie where the other prior is, expected {fewest:g}"
        return math.nan, math.nan, why
    if not isinstance(prior, Uniform):
        if not (k := pareto_k(np.maximum(log_weight.ravel(), -700.0))) <= _MAX_PARETO_K:
            why = f"the Pareto shape of the weights is {k:.2f}, expected {_MAX_PARETO_K:g} or less"
            return math.nan, math.nan, why
    return change, error, ""
