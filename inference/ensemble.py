"""What the spread of an operator's ensemble does to a posterior.

A fit takes the mean of its operator's ensemble. Under member k alone the posterior of φ is the
fit's times L_k(φ) / L(φ), so that the fit's draws, weighted by that ratio, are draws of it: nothing
is sampled again. The weights are judged by their effective number, and a member whose posterior
lies too far from the fit's for that is said to, in words.
"""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..forward import Population, SelectionGrid
from ..selection import AbstractSelection, MemberSelection
from .draws import flatten, thinned
from .identity import Rules, grid_of, rules_of
from .likelihood import log_density
from .model import PopulationModel
from .objects import AbstractObjects, ObjectSamples, Samples
from .sampling import double_precision

# Draws that are weighted; the quantiles of 500 are good to a twentieth of an error.
_DRAWS = 500
MIN_EFFECTIVE = 100.0


@dataclasses.dataclass(frozen=True)
class MemberChange:
    """The posterior under one member of an ensemble.

    **Arguments:**

    - `effective`: effective number of the fit's draws under the weights L_k / L.
    - `mean`, `sd`: mean and standard deviation of each parameter, by flat name; empty where
      `refused`.
    - `refused`: why nothing can be said, or empty.
    """

    effective: float
    mean: Mapping[str, float]
    sd: Mapping[str, float]
    refused: str = ""


@dataclasses.dataclass(frozen=True)
class EnsembleChange:
    """The posterior under each member of an operator's ensemble.

    **Arguments:**

    - `mean`, `sd`: of the fit, with the ensemble's mean, by flat name.
    - `members`: under each member.
    """

    mean: Mapping[str, float]
    sd: Mapping[str, float]
    members: tuple[MemberChange, ...]

    def widening(self, name: str) -> float | None:
        """Standard deviation of the mixture of the members' posteriors over that of the fit.

        None where one of them was refused, or the parameter does not move.
        """
        if not self.members or any(each.refused for each in self.members) or not self.sd[name]:
            return None
        means = np.array([each.mean[name] for each in self.members])
        variances = np.array([each.sd[name] ** 2 for each in self.members])
        return float(np.sqrt(means.var() + variances.mean()) / self.sd[name])

    def summary(self) -> dict[str, float | int | str]:
        """The flat numbers of `summary.json`; changes are of means, in the parameter's unit."""
        out: dict[str, float | int | str] = {"ensemble.n_members": len(self.members)}
        for number, each in enumerate(self.members):
            stem = f"ensemble.member_{number}"
            out[f"{stem}.effective_draws"] = each.effective
            if each.refused:
                out[f"{stem}.refused"] = each.refused
            out |= {f"{stem}.{name}": value - self.mean[name] for name, value in each.mean.items()}
        wide = {name: self.widening(name) for name in self.sd}
        return out | {f"ensemble.{k}.widening": v for k, v in wide.items() if v is not None}


def ensemble_change(
    objects: AbstractObjects,
    samples: Samples,
    selection: AbstractSelection,
    model: PopulationModel,
    grid: SelectionGrid,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    min_ess: float = np.inf,
) -> EnsembleChange:
    """How each parameter changes under each member of the operator's ensemble.

    **Arguments:**

    - `objects`, `samples`: clusters of the fit, and their samples as the sampler had them.
    - `selection`, `model`, `grid`: operator, model and quadrature of the fit.
    - `values`: draws of the posterior by name, `log_n` among them.
    - `min_ess`: the least effective sample size of a parameter; draws that follow one another
      count for no more than this.

    An operator of one member has no spread, and gives no `members`.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    grid = selection_grid(operator, population)
    objects = PublishedValues(catalogue)
    ensemble_change(objects, samples, operator, model, grid, drawn).summary()
    ```
    """
    picked = thinned(values, _DRAWS)
    flat = flatten(model, picked)
    n = len(next(iter(picked.values())))
    mean, sd = _moments(flat, np.full(n, 1 / n))
    if selection.n_members == 1:
        return EnsembleChange(mean, sd, ())
    population = model.population.with_values(model.fixed_values())
    nodes = (grid.mass_rule.nodes, grid.age_rule.nodes, grid.a_v_rule.nodes)
    with double_precision():
        p_sel = np.asarray(selection.on_tensor_grid(*nodes), float)
        fractions = detected_shares(population, picked, grid, p_sel)
        terms = np.zeros_like(fractions)
        if selection.acts_on != "data":
            # Only forms whose weights hold p_sel themselves may have such an operator.
            assert isinstance(samples, ObjectSamples)
            box = population.box
            each = [objects.samples(box, member) for member in MemberSelection.each(selection)]
            weights = np.stack([samples.log_weight, *(s.log_weight for s in each)])
            terms = np.asarray(_terms(population, picked, samples, weights))
    reached = min(1.0, min_ess / n)
    members = tuple(
        _member(
            model.form, flat, (fractions[:, 0], fractions[:, k]), terms[:, k] - terms[:, 0],
            samples.n_objects, reached, k - 1,
        )
        for k in range(1, fractions.shape[1])
    )  # fmt: skip
    return EnsembleChange(mean, sd, members)


def detected_shares(
    population: Population,
    values: Mapping[str, Float[np.ndarray, "draw ..."]],
    grid: SelectionGrid,
    others: Float[np.ndarray, "k m t a"],
) -> Float[np.ndarray, "draw more"]:
    """The share of the population that is catalogued at each draw: by `grid`, and by each of other
    p_sel at the same nodes.

    ```python
    drawn = {name: value for name, value in prior_draws(model, 50, seed=0).items()}
    detected_shares(population, drawn, grid, np.stack([grid.p_sel]))
    ```
    """
    with double_precision():
        return np.asarray(_fractions(population, values, rules_of(grid), grid.p_sel, others))


def _member(
    form: str,
    flat: Mapping[str, Float[np.ndarray, "draw"]],
    fractions: tuple[Float[np.ndarray, "draw"], Float[np.ndarray, "draw"]],
    of_objects: Float[np.ndarray, "draw"],
    n_objects: int,
    reached: float,
    number: int,
) -> MemberChange:
    """The posterior under one member, from the shares that the mean and it catalogue."""
    of_mean, of_member = fractions
    if form == "conditional":
        ratio = of_objects - n_objects * (np.log(of_member) - np.log(of_mean))
        # N follows from the share that is catalogued: N | φ ~ Gamma(n) / share.
        flat = {**flat, "log_n": flat["log_n"] + np.log10(of_mean / of_member)}
    else:
        ratio = of_objects - 10 ** flat["log_n"] * (of_member - of_mean)
    weights = np.exp(ratio - ratio.max())
    weights /= weights.sum()
    effective = float(reached / np.sum(weights**2))
    if effective < MIN_EFFECTIVE:
        said = (
            f"the posterior under member {number} lies too far from the fit's for its draws to "
            f"stand for it: {effective:.0f} effective ones, expected {MIN_EFFECTIVE:.0f}. Fit with "
            f"this member alone (member = {number} in the selection)"
        )
        return MemberChange(effective, {}, {}, said)
    return MemberChange(effective, *_moments(flat, weights))


def _moments(
    flat: Mapping[str, Float[np.ndarray, "draw"]], weights: Float[np.ndarray, "draw"]
) -> tuple[dict[str, float], dict[str, float]]:
    mean = {name: float(weights @ draws) for name, draws in flat.items()}
    sd = {n: float(np.sqrt(weights @ (draws - mean[n]) ** 2)) for n, draws in flat.items()}
    return mean, sd


@eqx.filter_jit
def _fractions(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    rules: Rules,
    mean: Float[Array, "m t a"] | Float[np.ndarray, "m t a"],
    members: Float[Array, "member m t a"] | Float[np.ndarray, "member m t a"],
) -> Float[Array, "draw k"]:
    """The share of the population that is catalogued, by the mean and by each member."""
    every = jnp.concatenate([jnp.asarray(mean)[None], jnp.asarray(members)])
    mass_rule, age_rule, a_v_rule = grid_of(rules, mean).rules

    def of(draw: dict[str, Array]) -> Float[Array, "k"]:
        drawn = population.with_values(draw)
        mass_age = drawn.mass_age.quadrature(mass_rule, age_rule)
        a_v = drawn.extinction.quadrature(a_v_rule, age_rule.nodes)
        return jnp.einsum("mt,ta,kmta->k", mass_age, a_v, every)

    return jax.lax.map(of, dict(values))


@eqx.filter_jit
def _terms(
    population: Population,
    values: Mapping[str, Float[Array, "draw ..."] | Float[np.ndarray, "draw ..."]],
    samples: ObjectSamples,
    weights: Float[Array, "k n s"] | Float[np.ndarray, "k n s"],
) -> Float[Array, "draw k"]:
    """Sum of the objects' terms, with the weights of the mean and of each member."""

    def of(draw: dict[str, Array]) -> Float[Array, "k"]:
        log_p = log_density(population.with_values(draw), samples)

        def total(weight: Float[Array, "n s"]) -> Float[Array, ""]:
            terms = jax.scipy.special.logsumexp(log_p + weight, axis=1)
            return jnp.where(jnp.asarray(samples.mask), terms, 0.0).sum()

        return jax.lax.map(total, jnp.asarray(weights))

    return jax.lax.map(of, dict(values))
