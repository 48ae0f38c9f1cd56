"""The score at the truth: a test of a likelihood that needs no sampler.

Of a right likelihood, the gradient s of ln L at the true parameters φ has mean 0, and its
covariance is the mean of the information H = −∂² ln L (the first two Bartlett identities; White
1982, Econometrica 50, 1). Catalogues drawn from the priors and evaluated at their own truth show
both. A catalogue's shift of parameter j is e = w_j(φ) · s, in standard deviations; w_j points along
the answer of its posterior to that parameter:

- the mean of e is the bias;
- the mean of e² over that of w_j H w_j, minus 1, is the excess of the true scatter over the
  posterior's width: 0.23 where intervals are 10% too narrow.

Any w will do that depends on the truth alone; ours is of the information that clusters without
errors would bring, Σ (∂D)(∂D)ᵀ/D over the nodes of the expected density D(φ), which makes shifts of
rich and poor catalogues alike. A catalogue takes some ten evaluations of the gradient, so
thousands of them take minutes. What they do not see is the sampler.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float
from numpyro.infer.util import constrain_fn, unconstrain_fn
from scipy.special import ndtr, ndtri

from ...forward import Population, SelectionGrid
from ...forward.priors import numpyro_rules
from ..draws import prior_draws
from ..likelihood import Form, log_likelihood
from ..model import PopulationModel
from ..objects import Samples
from ..sampling import double_precision
from .gate import FALSE_ALARM
from .problem import Problem

# In standard deviations.
_STEP = 0.1
_PRIOR_DRAWS = 400
# Of the curvature that clusters without errors would give.
_LEAST = 0.01


@dataclasses.dataclass(frozen=True)
class ScoreTest:
    """Bias and width of a likelihood, by parameter.

    **Arguments:**

    - `names`: flat parameter names; a simplex has one coordinate less than shares.
    - `n`: number of catalogues.
    - `bias`, `bias_error`: `(name,)`, mean shift of the parameter in its standard deviations.
    - `excess`, `excess_error`: `(name,)`, variance of the shift over what curvature says, less 1.
    """

    names: tuple[str, ...]
    n: int
    bias: Float[np.ndarray, " name"]
    bias_error: Float[np.ndarray, " name"]
    excess: Float[np.ndarray, " name"]
    excess_error: Float[np.ndarray, " name"]

    def accepted(self, false_alarm: float = FALSE_ALARM) -> bool:
        """Whether all are what chance allows; `false_alarm`: of all together."""
        limit = self._critical(false_alarm)
        return bool(
            (np.abs(self.bias) <= limit * self.bias_error).all()
            and (np.abs(self.excess) <= limit * self.excess_error).all()
        )

    def power(
        self, bias: float = 0.2, width: float = 0.9, false_alarm: float = FALSE_ALARM
    ) -> tuple[float, float]:
        """Chances to refuse a bias in standard deviations, and a width by a factor, of the
        parameter for which they are the least.
        """
        limit = self._critical(false_alarm)
        of_bias = ndtr(abs(bias) / self.bias_error.max() - limit)
        of_width = ndtr(abs(1 / width**2 - 1) / self.excess_error.max() - limit)
        return float(of_bias), float(of_width)

    def describe(self) -> dict[str, float | int | bool]:
        """Flat numbers: the verdict and its power, and what each parameter shows."""
        of_bias, of_width = self.power()
        numbers: dict[str, float | int | bool] = {
            "n_scored": self.n,
            "score_accepted": self.accepted(),
            "score_power_bias_0.2": of_bias,
            "score_power_width_0.9": of_width,
        }
        for i, name in enumerate(self.names):
            numbers[f"{name}.score_bias"] = float(self.bias[i])
            numbers[f"{name}.score_bias_error"] = float(self.bias_error[i])
            numbers[f"{name}.score_excess"] = float(self.excess[i])
            numbers[f"{name}.score_excess_error"] = float(self.excess_error[i])
        return numbers

    def _critical(self, false_alarm: float) -> float:
        return float(-ndtri(false_alarm / (4 * len(self.names))))


def score_test(problem: Problem, progress: Callable[[str], None] = lambda _: None) -> ScoreTest:
    """Evaluate a likelihood's slope and curvature at the truth of every catalogue.

    Coordinates are those of the sampler, without bounds. Curvature is the change of the slope over
    a fifth of a standard deviation: densities have kinks, whose second derivatives at a point miss
    what a finite step sees.

    **Arguments:**

    - `problem`: model, catalogues and operator, as `calibrate` takes them; of its settings the
      sampler does not count.
    - `progress`: called with a phrase at the start of each stage.

    ```python
    few = PopulationModel(population, {"log_n": Normal(mean=2.0, sd=0.1, low=1.5, high=2.5)})
    settings = CalibrationSettings(n_catalogues=50)
    recorded = RecordedSelection(with_outside(operator, "zero"), (0.1, 0.1, 0.1))
    problem = Problem.drawn(few, recorded, None, recorded, settings)
    found = score_test(problem)
    found.bias / found.bias_error
    ```
    """
    n, model = problem.n, problem.model
    mocks = problem.all_mocks(progress)
    sizes = problem.sizes(mocks)
    progress(f"scores of {n} catalogues of up to {max(map(len, mocks))} clusters")
    with double_precision(), numpyro_rules():
        truths = problem.truths()
        sites = [_sites(model, {k: np.asarray(v[i]) for k, v in truths.items()}) for i in range(n)]
        unconstrain = jax.jit(lambda at: unconstrain_fn(model.sample_population, (), {}, at))
        free = [ravel_pytree(unconstrain(at)) for at in sites]
        unravel = free[0][1]
        grid = problem.grid
        at = _population(model, unravel)
        slope, information = _slope(at, grid, model.form), _information(at, grid, model.form)
        of_prior = _prior_precision(model, unconstrain)
        d = len(of_prior)
        scores, curvatures, expected = np.empty((n, d)), np.empty((n, d, d)), np.empty((n, d, d))
        for i, (x, _) in enumerate(free):
            objects = problem.samples([mocks[i]], i, sizes)
            scores[i] = slope(x, objects)
            expected[i] = information(x, len(mocks[i])) + of_prior
            steps = _STEP * np.sqrt(np.diag(np.linalg.inv(expected[i])))
            changes = [
                np.asarray(slope(x + step, objects) - slope(x - step, objects))
                for step in jnp.asarray(np.diag(steps))
            ]
            curvatures[i] = -np.stack(changes) / (2 * steps[:, None])
    curvatures = (curvatures + curvatures.swapaxes(1, 2)) / 2
    return _summary(_names(model), scores, curvatures, expected, of_prior)


def _summary(
    names: tuple[str, ...],
    scores: Float[np.ndarray, "n d"],
    curvatures: Float[np.ndarray, "n d d"],
    expected: Float[np.ndarray, "n d d"],
    of_prior: Float[np.ndarray, "d d"],
) -> ScoreTest:
    """`expected`: information of clusters without errors, and of the prior."""
    n = len(scores)
    root = np.linalg.inv(np.linalg.cholesky(expected))
    # What of that information errors leave, on average.
    left = (root @ (curvatures + of_prior) @ root.swapaxes(1, 2)).mean(axis=0)
    # A wrong likelihood need not be peaked at the truth; any direction will do to refuse it.
    values, vectors = np.linalg.eigh(left)
    inverse = (vectors / np.maximum(values, _LEAST)) @ vectors.T
    covariance = root.swapaxes(1, 2) @ inverse @ root
    directions = covariance / np.sqrt(np.einsum("njj->nj", covariance))[:, None, :]
    shifts = np.einsum("nd,ndj->nj", scores, directions)
    said = np.einsum("ndk,ndj,nkj->nj", curvatures, directions, directions)
    scale = np.maximum(said.mean(axis=0), _LEAST * (shifts**2).mean(axis=0))
    excess = (shifts**2 - said) / scale
    shifts = shifts / np.sqrt(scale)
    return ScoreTest(
        names,
        n,
        shifts.mean(axis=0),
        shifts.std(axis=0, ddof=1) / np.sqrt(n),
        excess.mean(axis=0),
        excess.std(axis=0, ddof=1) / np.sqrt(n),
    )


def _prior_precision(
    model: PopulationModel, unconstrain: Callable[[dict], dict]
) -> Float[np.ndarray, "d d"]:
    draws = prior_draws(model, _PRIOR_DRAWS, 0)
    each = [
        ravel_pytree(unconstrain(_sites(model, {k: np.asarray(v[i]) for k, v in draws.items()})))[0]
        for i in range(_PRIOR_DRAWS)
    ]
    return np.linalg.inv(np.atleast_2d(np.cov(np.stack(each), rowvar=False)))


def _information(
    at: Callable[[Array], Population], grid: SelectionGrid, form: Form
) -> Callable[[Array, int], Array]:
    """The information in the places of clusters that are known without error, as a program."""

    def value(x: Float[Array, " d"], n: Array) -> Float[Array, "d d"]:
        def density(x: Float[Array, " d"]) -> Float[Array, " node"]:
            found = grid.detected_density(at(x)).ravel()
            return found / found.sum() * n if form == "conditional" else found

        here, changes = density(x), jax.jacfwd(density)(x)
        weights = jnp.where(here > 0, 1 / jnp.where(here > 0, here, 1.0), 0.0)
        return jnp.einsum("kd,k,ke->de", changes, weights, changes)

    return jax.jit(value)


def _names(model: PopulationModel) -> tuple[str, ...]:
    """Of the coordinates without bounds; a simplex has one less than shares."""
    sizes = {p.name: p.size for p in model.fitted()}
    named: dict[str, list[str]] = {}
    for site in model.sites():
        named[site.name] = [
            each
            for name in site.names
            for each in ([f"{name}_{i}" for i in range(sizes[name] - 1)] if sizes[name] else [name])
        ]
    # As `ravel_pytree` orders a dictionary.
    return tuple(name for site in sorted(named) for name in named[site])


def _sites(
    model: PopulationModel, truth: dict[str, Float[np.ndarray, "..."]]
) -> dict[str, Float[np.ndarray, "..."]]:
    """True values by what is sampled at once."""
    return {
        site.name: np.asarray(truth[site.names[0]])
        if len(site.names) == 1
        else np.stack([truth[name] for name in site.names])
        for site in model.sites()
    }


def _slope(
    at: Callable[[Array], Population], grid: SelectionGrid, form: Form
) -> Callable[[Array, Samples], Array]:
    """The gradient of ln L, of one catalogue with an axis of its own, as a program."""

    def value(x: Float[Array, " d"], stacked: Samples) -> Float[Array, ""]:
        objects = jax.tree.map(lambda leaf: leaf[0], stacked)
        return log_likelihood(at(x), objects, grid, form)

    return jax.jit(jax.grad(value))


def _population(
    model: PopulationModel, unravel: Callable[[Array], dict[str, Array]]
) -> Callable[[Array], Population]:
    """The population at a point of the sampler's coordinates."""
    fixed = model.population.with_values(model.fixed_values())

    def at(x: Float[Array, " d"]) -> Population:
        sites = constrain_fn(model.sample_population, (), {}, unravel(x))
        return fixed.with_values(model.from_sites(sites))

    return at
