"""What the uncertainty of a learned observation model does to a posterior of measured light.

Artificial clusters leave open what a survey does to a cluster, and models that were learned from
random halves of them scatter as the model of all scatters about the survey (McCarthy 1969, Rev.
Int. Stat. Inst. 37, 239). Under half k the likelihood is L_k(φ) where that of all is L_0(φ); both
the objects' terms and the expected number differ. With D_k = ln L_k − ln L_0 and D̄ their mean over
K halves, ln L is known to first order up to

    Δ_z(φ) = Σ_k z_k (D_k(φ) − D̄(φ)) / (K − 1)^½,     z_k ~ N(0, 1),

a smooth random function that has the halves' covariance. The posterior that counts it is the mean
over z of the posteriors under L_0 exp(Δ_z): what artificial clusters say of the survey, the
catalogue does not correct (a cut model: Plummer 2015, Stat. Comput. 25, 37). Were it to, a
deviation of which each object knows nothing would be found by chance among many.

Nothing is sampled again: for every z one draw is taken from the fit's, with weights exp(Δ_z), whose
effective number says whether the draws reach that far. Where they do not, points that are spread as
widely as the posteriors under all z take their place (`observation_points`).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..forward import SelectionGrid
from ..selection import UncertaintyError, complete
from .draws import flatten
from .ensemble import detected_shares
from .evidence.errors import EvidenceError
from .model import PopulationModel
from .object_shift import sums_of_terms
from .objects import LightObjects, NodeSamples, RowSamples, Samples
from .observation_points import WidePoints, wide_points
from .operator_error import MIN_EFFECTIVE
from .sampling import Draws, double_precision

# Draws of a fit at which L_k is evaluated, at most; of z whose weights are known at a time.
_DRAWS = 2000
_AT_ONCE = 256
# What all but one z in twenty have.
_POOR = 5.0
_OF_DRAWS = ("potential", "energy", "n_steps", "accept", "diverging")


@dataclasses.dataclass(frozen=True)
class ObservationChange:
    """A posterior with the observation model's uncertainty, against the one without.

    **Arguments:**

    - `effective`: effective draws of the fit, or points, under the weights of a z, of 95% of these
      or more.
    - `shift`: mean with the uncertainty less that without, in standard deviations without, by flat
      name. `widening`: standard deviation with it over that without. Empty where `effective` is
      below 50.
    - `log_likelihood`: standard deviation of Δ_z at one draw beside its mean over draws.
    - `n_halves`: models behind it.
    - `number`: draws of the fit, or `points`, `(draw,)`, that count alike.
    - `change_of_log_n`: `(draw,)`, what is added to log N of each, where N follows from the share
      that is catalogued.
    - `points`: in place of the fit's draws, which do not reach as far; None if they do.
    """

    effective: float
    shift: Mapping[str, float]
    widening: Mapping[str, float]
    log_likelihood: float
    n_halves: int
    number: Int[np.ndarray, " draw"]
    change_of_log_n: Float[np.ndarray, " draw"]
    points: WidePoints | None = None

    @property
    def reached(self) -> bool:
        """Whether the draws or points can stand for the posterior with the uncertainty."""
        return self.effective >= MIN_EFFECTIVE

    def summary(self) -> dict[str, float | int | str]:
        """The flat numbers of `summary.json`."""
        out: dict[str, float | int | str] = {
            "observation.n_halves": self.n_halves,
            "observation.effective_draws": self.effective,
            "observation.log_likelihood_sd": self.log_likelihood,
            "observation.n_points": 0 if self.points is None else len(self.points.potential),
        }
        out |= {f"observation.{name}.shift": value for name, value in self.shift.items()}
        return out | {f"observation.{k}.widening": value for k, value in self.widening.items()}

    def counted(
        self, draws: Draws, values: Mapping[str, Float[np.ndarray, "chain draw ..."]]
    ) -> tuple[Draws, dict[str, Float[np.ndarray, "chain draw ..."]]]:
        """The draws of the posterior that counts the uncertainty, in the same shapes.

        **Arguments:**

        - `draws`, `values`: of the fit, and by name with the number.
        """
        shape = next(iter(values.values())).shape[:2]

        def picked(x: Any) -> np.ndarray:
            return x[self.number].reshape(*shape, *x.shape[1:])

        def joined(x: Any) -> np.ndarray:
            return np.asarray(x).reshape(-1, *np.shape(x)[2:])

        if self.points is None:
            source = {name: joined(value) for name, value in values.items()}
            told = {name: picked(joined(getattr(draws, name))) for name in _OF_DRAWS}
        else:
            source, u = self.points.values, picked(self.points.potential)
            zero = np.zeros(shape, int)
            share = np.full(shape, self.effective / zero.size)
            told = dict(zip(_OF_DRAWS, (u, u, zero, share, zero > 0), strict=True))
        named = {name: picked(value) for name, value in source.items() if name in values}
        if "log_n" in named:
            named["log_n"] = named["log_n"] + self.change_of_log_n.reshape(shape)
        # The number of a conditional fit is not among what is sampled.
        whole = draws._replace(values={k: named[k] for k in draws.values}, **told)
        return whole, named


def refuse_certain(objects: LightObjects) -> None:
    """Raises `UncertaintyError` for objects whose observation model does not know its own
    uncertainty."""
    if not objects.observation.halves:
        raise UncertaintyError(
            f"{objects.source}: the observation model ({objects.observation.words}) does not know "
            "its own uncertainty; learn it from artificial clusters with n_halves (5 or more), or "
            "leave uncertainty out"
        )


def observation_change(
    objects: LightObjects,
    samples: Samples,
    grid: SelectionGrid,
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    seed: int = 0,
    min_ess: float = np.inf,
) -> ObservationChange:
    """How the observation model's uncertainty changes each parameter's posterior.

    **Arguments:**

    - `objects`: of the fit, inside the population's bounds; their observation model has `halves`.
    - `samples`, `grid`, `model`: as the sampler had them.
    - `values`: draws of the posterior by name, `log_n` among them.
    - `seed`: of z, and of the draws that are taken.
    - `min_ess`: the least effective sample size of a parameter.

    Raises `UncertaintyError` for an observation model without halves.
    """
    refuse_certain(objects)
    halves = objects.of_halves()
    shape = next(iter(values.values())).shape[:2]
    n_draws = int(np.prod(shape))
    at = np.unique(np.linspace(0, n_draws - 1, min(_DRAWS, n_draws)).astype(int))
    joined = {k: np.asarray(v).reshape(-1, *np.shape(v)[2:]) for k, v in values.items()}
    picked = {k: v[at] for k, v in joined.items()}
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(23,)))
    z = rng.normal(size=(n_draws, len(halves)))
    own = _Deviations.at(halves, samples, grid, model, picked)
    where, effective = _taken(z, own.of_log_like, np.zeros(len(at)), rng)
    least = min(1.0, min_ess / len(at)) * float(np.percentile(effective, _POOR))
    number, source, points, moved = at[where], joined, None, own.of_log_n
    if least < MIN_EFFECTIVE and (points := _wider(model, samples, grid, picked, own, seed)):
        other = _Deviations.at(halves, samples, grid, model, points.values)
        taken, effective = _taken(z, other.of_log_like, points.log_weight, rng)
        if (wider := float(np.percentile(effective, _POOR))) > least:
            least, where, number = wider, taken, taken
            source, moved = points.values, other.of_log_n
        else:
            points = None
    of_number = np.einsum("dk,kd->d", z, moved[:, where])
    flat = {k: v for k, v in flatten(model, joined).items() if np.ptp(v) > 0}
    counted = flatten(model, {k: source[k][number] for k in joined})
    shift, widening = {}, {}
    if least >= MIN_EFFECTIVE:
        for name, draws in flat.items():
            with_ = counted[name] + (of_number if name == "log_n" else 0.0)
            shift[name] = float((with_.mean() - draws.mean()) / draws.std())
            widening[name] = float(with_.std() / draws.std())
    beside = own.of_log_like - own.of_log_like.mean(axis=1, keepdims=True)
    spread = float(np.sqrt((beside**2).sum(axis=0).mean()))
    return ObservationChange(least, shift, widening, spread, len(halves), number, of_number, points)


def _wider(
    model: PopulationModel,
    samples: Samples,
    grid: SelectionGrid,
    values: dict[str, Float[np.ndarray, "draw ..."]],
    deviations: "_Deviations",
    seed: int,
) -> WidePoints | None:
    """None where no points can be: the draws then do not reach that far, as the fit says."""
    try:
        return wide_points(model, samples, grid, values, deviations.of_log_like, seed)
    except EvidenceError:
        return None


class _Deviations(NamedTuple):
    """What each half deviates by from their mean, over (K − 1)^½: of ln L and of log N."""

    of_log_like: Float[np.ndarray, "half draw"]
    of_log_n: Float[np.ndarray, "half draw"]

    @classmethod
    def at(
        cls,
        halves: tuple[LightObjects, ...],
        samples: Samples,
        grid: SelectionGrid,
        model: PopulationModel,
        values: dict[str, Float[np.ndarray, "draw ..."]],
    ) -> "_Deviations":
        with double_precision():
            found = _changes(halves, samples, grid, model, values)
        return cls(*((each - each.mean(axis=0)) / np.sqrt(len(halves) - 1) for each in found))


def _changes(
    halves: tuple[LightObjects, ...],
    samples: Samples,
    grid: SelectionGrid,
    model: PopulationModel,
    values: dict[str, Float[np.ndarray, "draw ..."]],
) -> tuple[Float[np.ndarray, "half draw"], Float[np.ndarray, "half draw"]]:
    """ln L_k − ln L_0 of each half at each draw, and what N under it differs by, in log N."""
    population = model.population.with_values(model.fixed_values())
    n = samples.n_objects
    here = np.asarray(sums_of_terms(population, values, samples))
    grids = [each.expected(population, complete(population.box)).grid for each in halves]
    shares = detected_shares(population, values, grid, np.stack([g.p_sel for g in grids]))
    of_all, of_halves = shares[:, :1].T, shares[:, 1:].T
    change = np.empty((len(halves), len(here)))
    for k, each in enumerate(_alike([half.summed(population) for half in halves])):
        change[k] = np.asarray(sums_of_terms(population, values, each)) - here
    if model.form == "conditional":
        more = np.log(of_halves / of_all)
        return change - n * more, -more / np.log(10.0)
    log_n = values.get("log_n", population.log_n)
    number = 10.0 ** np.asarray(log_n, float)
    return change - number * (of_halves - of_all), np.zeros_like(change)


def _alike(samples: list[RowSamples | NodeSamples]) -> list[RowSamples | NodeSamples]:
    """In arrays of one size, so that one program serves all; rows have one size anyway."""
    nodes = [each for each in samples if isinstance(each, NodeSamples)]
    most = max((each.n_values for each in nodes), default=0)
    return [
        each.padded(most + 1, len(each.mask) + 1) if isinstance(each, NodeSamples) else each
        for each in samples
    ]


def _taken(
    z: Float[np.ndarray, "many half"],
    centred: Float[np.ndarray, "half draw"],
    log_weight: Float[np.ndarray, " draw"],
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, " many"], Float[np.ndarray, " many"]]:
    """One draw for each z, by its own weight times exp(Δ_z), and the effective number of these."""
    where, effective = np.empty(len(z), int), np.empty(len(z))
    u = rng.uniform(size=len(z))
    for start in range(0, len(z), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        log_w = z[some] @ centred + log_weight
        weight = np.exp(log_w - log_w.max(axis=1, keepdims=True))
        weight /= weight.sum(axis=1, keepdims=True)
        effective[some] = 1.0 / (weight**2).sum(axis=1)
        below = (np.cumsum(weight, axis=1) < u[some, None]).sum(axis=1)
        where[some] = np.minimum(below, weight.shape[1] - 1)
    return where, effective
