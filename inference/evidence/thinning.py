"""How well a population predicts clusters that its fit did not have.

A Poisson process of rate p_sel λ whose clusters are shared out at random among K folds is K Poisson
processes of rate p_sel λ / K, independent of one another given φ (Kingman 1993, Poisson Processes,
§5.1). So the clusters outside fold k are fitted with p_sel (1 − 1/K), and the score of the fold is

    ln p(fold k | others) = ln E[exp(Σ_{i in k} ln ∫ p(d_i|θ) λ/K dθ − ∫ p_sel λ/K dθ)],

the mean over the posterior of the others. That is the predictive density of a new piece of sky,
number of clusters and all. Leaving one cluster out of a Poisson likelihood by its own term, as
PSIS-LOO does, is another thing, for the expected number remains in the likelihood with that cluster
in it. Of the conditional form, clusters are independent draws given their number, and folds are
held out as such.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from starcensus.settings import check_seed

from ...forward import SelectionGrid
from ..draws import flatten
from ..identity import Rules, Static, grid_of, model_digest, rules_of
from ..likelihood import log_likelihood
from ..model import PopulationModel
from ..objects import ObjectSamples, Samples
from ..results import FitResult
from ..sampling import Sampler, SamplerSettings, double_precision
from .chains import log_mean, r_hat
from .errors import EvidenceError


@dataclasses.dataclass(frozen=True)
class ThinningSettings:
    """How clusters are held out.

    **Arguments:**

    - `n_folds`: each cluster is in one of so many, at random; 2 or more.
    - `max_r_hat`: largest R-hat of a parameter of a fold's fit.
    - `max_error`: largest Monte Carlo error of a fold's score.
    - `seed`: of the folds; models are compared with the same.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    ThinningSettings(n_folds=5)
    ```
    """

    n_folds: int = 10
    max_r_hat: float = 1.05
    max_error: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.n_folds < 2:
            raise ValueError(f"n_folds = {self.n_folds}; expected 2 or more")
        if not self.max_r_hat > 1 or not self.max_error > 0:
            raise ValueError(
                f"max_r_hat = {self.max_r_hat}, max_error = {self.max_error}; expected a number "
                "above 1, and one above 0"
            )


@dataclasses.dataclass(frozen=True)
class Thinned:
    """Scores of a model on clusters that were held out.

    **Arguments:**

    - `scores`: ln of the predictive density of each fold. `errors`: Monte Carlo error of each.
    - `n_held`: clusters in each fold. `seed`: of the folds.
    """

    scores: tuple[float, ...]
    errors: tuple[float, ...]
    n_held: tuple[int, ...]
    seed: int

    @property
    def total(self) -> float:
        """Sum of the scores."""
        return float(sum(self.scores))

    def less(self, other: "Thinned") -> tuple[float, float]:
        """This total less another's, and its standard error by the scatter between folds.

        Raises `EvidenceError` for other folds than these.
        """
        if (self.n_held, self.seed) != (other.n_held, other.seed):
            raise EvidenceError(
                f"scores are of folds of {self.n_held} clusters (seed {self.seed}) and of "
                f"{other.n_held} (seed {other.seed}); expected the same folds of all models"
            )
        apart = np.subtract(self.scores, other.scores)
        chance = float(np.hypot(np.linalg.norm(self.errors), np.linalg.norm(other.errors)))
        scatter = float(np.sqrt(len(apart)) * apart.std(ddof=1))
        return float(apart.sum()), max(scatter, chance)


def thinned_score(
    result: FitResult,
    settings: ThinningSettings | None = None,
    sampler: SamplerSettings | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Thinned:
    """Fit all folds but one, in turn, and score the one; exact for Poisson processes.

    **Arguments:**

    - `result`: of `fit`, of any form of objects.
    - `settings`: of the folds. `sampler`: of their fits.
    - `progress`: called with a phrase at each fold.

    Raises `EvidenceError` where the chains of a fold have not converged, or its score is uncertain.

    ```python
    result = fit(catalogue, operator, model)
    thinned_score(result, ThinningSettings(n_folds=5)).total
    ```
    """
    settings, sampler = settings or ThinningSettings(), sampler or SamplerSettings()
    samples, grid, model = result.samples, result.grid, result.model
    n, k = int(np.asarray(samples.mask).sum()), settings.n_folds
    fold = np.random.default_rng([settings.seed, k]).integers(k, size=n)
    program, key = Sampler(model, grid, sampler), jax.random.key(sampler.seed)
    scores, errors = [], []
    for held in range(k):
        progress(f"fold {held + 1} of {k}")
        kept = with_objects(samples, fold != held)
        draws = program.run(kept, scaled_grid(grid, 1 - 1 / k), jax.random.fold_in(key, held))
        values = {name: np.asarray(each) for name, each in draws.values.items()}
        _check_chains(model, values, settings, held)
        some = with_objects(samples, fold == held)
        log_like = held_log_likelihood(model, values, some, grid, 1 / k)
        score, error, _ = log_mean(log_like, draws.most_effective)
        if not error <= settings.max_error:
            raise EvidenceError(
                f"the score of fold {held + 1} of {k} is uncertain by {error:.2g}, more than "
                f"{settings.max_error:g}: the draws of the others' posterior hardly reach where it "
                "would be with this fold; raise sampler.n_samples, or thinning.n_folds"
            )
        scores.append(score)
        errors.append(error)
    sizes = tuple(int(x) for x in np.bincount(fold, minlength=k))
    return Thinned(tuple(scores), tuple(errors), sizes, settings.seed)


def with_objects(samples: Samples, kept: Bool[np.ndarray, " n"]) -> Samples:
    """The objects of a mask, in arrays of the same size.

    Objects come first and what is left out is padding, as the likelihood expects, which skips whole
    blocks of padding at the end.

    ```python
    with_objects(samples, np.arange(samples.n_objects) > 0).n_objects
    ```
    """
    mask = np.asarray(samples.mask).copy()
    mask[np.flatnonzero(mask)] = kept
    if not isinstance(samples, ObjectSamples):
        return eqx.tree_at(lambda s: s.mask, samples, mask)
    order = np.argsort(~mask, kind="stable")
    return ObjectSamples(
        np.asarray(samples.theta)[:, order], np.asarray(samples.log_weight)[order], mask[order]
    )


def scaled_grid(grid: SelectionGrid, share: float) -> SelectionGrid:
    """The operator of a process of which each cluster is kept with a probability.

    ```python
    scaled_grid(selection_grid(operator, population), 0.9).p_sel.max()
    ```
    """
    return eqx.tree_at(lambda g: g.p_sel, grid, share * np.asarray(grid.p_sel))


def held_log_likelihood(
    model: PopulationModel,
    values: Mapping[str, Float[np.ndarray, "chain draw ..."]],
    held: Samples,
    grid: SelectionGrid,
    share: float,
) -> Float[np.ndarray, "chain draw"]:
    """ln p(held objects | φ) at each draw, of a process that has `share` of the rate.

    ```python
    drawn = {name: value[None] for name, value in prior_draws(model, 50, seed=0).items()}
    at_nodes = selection_grid(operator, population)
    held_log_likelihood(model, drawn, samples, at_nodes, 1.0).shape
    ```
    """
    arrays = {p.name: np.asarray(values[p.name]) for p in model.fitted()}
    arrays |= {name: arrays[to] for name, to in model.tied().items() if to in arrays}
    shape = next(iter(arrays.values())).shape[:2]
    flat = {k: v.reshape(-1, *v.shape[2:]) for k, v in arrays.items()}
    poisson = model.form == "poisson"
    # The number of a conditional fit is given, and what share of the rate it is does not matter.
    used = scaled_grid(grid, share) if poisson else grid
    constant = held.n_objects * np.log(share) if poisson else 0.0
    with double_precision():
        found = _log_likelihoods(
            Static(model, model_digest(model)), flat, held, rules_of(used), jnp.asarray(used.p_sel)
        )
    return np.asarray(found).reshape(shape) + constant


@functools.partial(jax.jit, static_argnums=(0, 3))
def _log_likelihoods(
    model: Static[PopulationModel],
    values: dict[str, Array],
    held: Samples,
    rules: Rules,
    p_sel: Float[Array, "m t a"],
) -> Float[Array, " draw"]:
    of = model.value
    base, grid = of.population.with_values(of.fixed_values()), grid_of(rules, p_sel)

    def one(draw: dict[str, Array]) -> Float[Array, ""]:
        return log_likelihood(base.with_values(draw), held, grid, of.form)

    return jax.lax.map(one, values)


def _check_chains(
    model: PopulationModel,
    values: dict[str, np.ndarray],
    settings: ThinningSettings,
    held: int,
) -> None:
    for name, draws in flatten(model, values).items():
        if np.ptp(draws) > 0 and not (r := r_hat(draws)) <= settings.max_r_hat:
            raise EvidenceError(
                f"the fit without fold {held + 1} has not converged: R-hat of {name} is {r:.3f}, "
                f"above {settings.max_r_hat:g}; raise sampler.n_warmup and sampler.n_samples"
            )
