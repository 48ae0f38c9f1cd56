"""What the uncertainty of a learned operator does to a posterior.

An operator that deviates catalogues p_z(θ) instead of p_0(θ). What is then observed of a cluster,
and that it is catalogued, have the probability

    P_z(det, d | θ) = P_0(det, d | θ) p_z(θ) / p_0(θ),

whose integral over d is p_z(θ), as it must be. So p_z / p_0 multiplies the integrand of every
object's term, whether P_0(det, d | θ) is p(d | θ), for selection that acts on the data, or
p_0(θ) p(d | θ). Were the expected number to deviate alone, exp(−Λ_z) would prefer whatever makes it
smaller, without bound (Farr 2019, arXiv:1904.10879, has this term as N²/N_eff).

Where it counts, a fit samples the numbers z by which the operator deviates along with the
parameters φ. The posterior under the operator's mean alone is that of the draws (φ, z) under the
weights L(φ, 0) / L(φ, z): then z is independent of φ and drops out. So nothing is sampled again,
and the effective number of the draws says how far the comparison goes.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from ..forward import OperatorDirections, Population, SelectionGrid, with_uncertainty
from ..selection import AbstractSelection, UncertaintyError
from .draws import flatten, thinned
from .identity import Rules, grid_of, rules_of
from .likelihood import Form, log_likelihood
from .model import OPERATOR, PopulationModel
from .objects import AbstractObjects, ObjectSamples, Samples
from .sampling import double_precision

_DRAWS = 1000
MIN_EFFECTIVE = 50.0


@dataclasses.dataclass(frozen=True)
class OperatorChange:
    """A posterior with the operator's uncertainty, against the one without.

    **Arguments:**

    - `effective`: effective number of draws under the weights L(φ, 0) / L(φ, z).
    - `shift`: mean with the uncertainty less that without, in standard deviations without, by flat
      name. `widening`: standard deviation with it over that without. Both empty where `effective`
      is below 50.
    - `z_mean`, `z_sd`: of each number; far from 0 and 1 where the catalogue speaks of the operator.
    - `kept`, `logit_sd`, `count_sd`: of the directions, see `OperatorDirections`.
    """

    effective: float
    shift: Mapping[str, float]
    widening: Mapping[str, float]
    z_mean: Float[np.ndarray, " k"]
    z_sd: Float[np.ndarray, " k"]
    kept: float
    logit_sd: float
    count_sd: float

    def summary(self) -> dict[str, float | int | str]:
        """The flat numbers of `summary.json`."""
        out: dict[str, float | int | str] = {
            "operator.n_directions": len(self.z_mean),
            "operator.kept": self.kept,
            "operator.logit_sd": self.logit_sd,
            "operator.count_sd": self.count_sd,
            "operator.effective_draws": self.effective,
            "operator.largest_pull": float(np.abs(self.z_mean).max()),
            "operator.least_sd": float(self.z_sd.min()),
        }
        out |= {f"operator.{name}.shift": value for name, value in self.shift.items()}
        return out | {f"operator.{name}.widening": value for name, value in self.widening.items()}


def with_operator_directions(
    samples: Samples, selection: AbstractSelection, directions: OperatorDirections
) -> Samples:
    """Samples whose weights follow the operator, by p_z(θ) / p_0(θ).

    **Arguments:**

    - `samples`: of every object, as the likelihood has them. `selection`: the operator.
    - `directions`: of the same operator.

    Raises `UncertaintyError` for objects without samples of all of θ.
    """
    if not isinstance(samples, ObjectSamples) or len(samples.theta) != 3:
        raise UncertaintyError(
            "the uncertainty of an operator moves the weights of each object's samples of mass, "
            "age and extinction, which these objects do not have; leave uncertainty out"
        )
    p, moved = directions.at(selection, np.moveaxis(np.asarray(samples.theta), 0, -1))
    return dataclasses.replace(samples, p=p, deviations=moved)


def operator_directions(
    objects: AbstractObjects,
    grid: SelectionGrid,
    selection: AbstractSelection,
    population: Population,
) -> OperatorDirections:
    """`with_uncertainty`, for objects that leave the expected number to the operator.

    Raises `UncertaintyError` for objects that are selected by an observation model of their own.
    """
    if objects.selects:
        raise UncertaintyError(
            f"{objects.source}: the objects are selected by their own observation model, whose "
            "uncertainty is not known; leave uncertainty out"
        )
    return with_uncertainty(grid, selection, population)


def operator_change(
    samples: Samples,
    model: PopulationModel,
    directions: OperatorDirections,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    min_ess: float = np.inf,
) -> OperatorChange:
    """How the operator's uncertainty changes each parameter's posterior.

    **Arguments:**

    - `samples`, `model`: of the fit. `directions`: by which its operator deviates.
    - `values`: draws of the posterior by name, `log_n` and `OPERATOR` among them.
    - `min_ess`: the least effective sample size of a parameter.
    """
    picked = thinned(values, _DRAWS)
    z = picked.pop(OPERATOR)
    flat = {k: v for k, v in flatten(model, picked).items() if np.ptp(v) > 0}
    grid, n = directions.grid, len(z)
    population = model.population.with_values(model.fixed_values())
    with double_precision():
        with_, without, shares = (
            np.asarray(x)
            for x in _both(
                population, picked, z, samples, rules_of(grid), grid.p_sel, grid.deviations,
                model.form,
            )
        )  # fmt: skip
    ratio = without - with_
    weights = np.exp(ratio - ratio.max())
    weights /= weights.sum()
    effective = float(min(1.0, min_ess / n) / np.sum(weights**2))
    shift, widening = {}, {}
    if effective >= MIN_EFFECTIVE:
        for name, draws in flat.items():
            alone = draws
            if model.form == "conditional" and name == "log_n":
                # N follows from the share that is catalogued, which is that of the mean here.
                alone = draws + np.log10(shares[:, 0] / shares[:, 1])
            mean = float(weights @ alone)
            sd = float(np.sqrt(weights @ (alone - mean) ** 2))
            shift[name] = (float(draws.mean()) - mean) / sd
            widening[name] = float(draws.std()) / sd
    return OperatorChange(
        effective, shift, widening, z.mean(axis=0), z.std(axis=0), directions.kept,
        directions.logit_sd, directions.count_sd,
    )  # fmt: skip


@eqx.filter_jit
def _both(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    z: Float[Array, "draw k"] | Float[np.ndarray, "draw k"],
    samples: Samples,
    rules: Rules,
    p_sel: Float[Array, "m t a"] | Float[np.ndarray, "m t a"],
    deviations: Float[Array, "k m t a"] | Float[np.ndarray, "k m t a"] | None,
    form: Form,
) -> tuple[Float[Array, " draw"], Float[Array, " draw"], Float[Array, "draw 2"]]:
    """ln L with each draw's z and with z = 0, and the shares that both catalogue."""
    grid = grid_of(rules, p_sel, deviations)

    def of(draw: tuple) -> tuple:
        own, at = draw
        drawn = population.with_values(own)
        each = [log_likelihood(drawn, samples, grid, form, x) for x in (at, 0 * at)]
        shares = [grid.shifted(at).detected_fraction(drawn), grid.detected_fraction(drawn)]
        return *each, jax.numpy.stack(shares)

    return jax.lax.map(of, (dict(values), z))
