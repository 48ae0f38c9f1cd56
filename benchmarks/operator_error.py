"""Whether posteriors hold the error of a learned operator: many trainings, one truth.

The true operator is known. For each replicate, injections are drawn and catalogued by it, networks
learn from them, a population of known parameters is drawn and catalogued by the true operator too,
and is fitted with what was learned: with the networks' mean alone, and with their uncertainty. The
distance of the likelihood's mode from the truth, over the standard deviation that its curvature
there says, is a standard normal number where intervals are right. Its ranks pass the checks of a
calibration, or do not.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.special import ndtr

from starcensus.forward import (
    HalfNormal,
    OperatorDirections,
    Population,
    PowerLawAge,
    QuadratureSettings,
    Schechter,
    SelectionGrid,
    Separable,
    checked_grid,
    with_uncertainty,
)
from starcensus.inference import (
    ObjectSamples,
    double_precision,
    log_likelihood,
    with_operator_directions,
)
from starcensus.inference.calibration.gate import check_ranks, gate_power
from starcensus.networks import TrainSettings, train_ensemble
from starcensus.selection import AbstractSelection, ActsOn, Box, NetworkSelection, Outside
from starcensus.selection.learning.uncertainty import logit_uncertainty

INJECTED = Box((2.3, 6.0), (6.0, 9.5), (0.0, 2.0))
BOX = Box((2.5, 6.0), (6.0, 9.5), (0.0, 2.0))
TRUTH = {"alpha_m": -2.0, "alpha_t": -0.7, "sigma_av": 0.5}
_TRAIN = TrainSettings(widths=(32, 32), n_members=3, epochs=40, batch_size=256)
# Nodes that a difference of some per cent needs, and no more.
_NODES = QuadratureSettings(0.9, 6, 0.9, 6, 1.0, 4, max_relative_error=0.02)
_DIRECTIONS, _RANKED = 16, 999
_NAMES = (*TRUTH, "log_n")
# Newton's steps from the truth, and of a difference of slopes.
_STEPS, _STEP = 6, 1e-4
# No longer than this at once, in the parameters and in z.
_REACH = np.array([0.3, 0.3, 0.1, 0.3, *[2.0] * _DIRECTIONS])


class TrueOperator(AbstractSelection):
    """A limit on light that fades with age by a curve, is wider at low mass, and never reaches 1:
    no logistic function of a polynomial in θ."""

    domain: Box
    outside: Outside = "refuse"
    acts_on: ActsOn = "data"

    @property
    def n_members(self) -> int:
        return 1

    def _members_inside(
        self, log_mass: Float[Array, "n"], log_age: Float[Array, "n"], a_v: Float[Array, "n"]
    ) -> Float[Array, "member n"]:
        fading = 1.75 * (log_age - 7.5) + 0.35 * jnp.sin(2.5 * (log_age - 6.0))
        above = 2.5 * (log_mass - 4.0) - fading - a_v
        width = 0.45 + 0.25 * jnp.clip(4.2 - log_mass, 0.0, 2.0)
        return 0.97 * jax.nn.sigmoid(above / width + 0.8)[None]


def learned(n: int, seed: int, train: TrainSettings = _TRAIN) -> NetworkSelection:
    """An operator from `n` injections, even in θ, that the true one catalogued."""
    truth, rng = TrueOperator(INJECTED), np.random.default_rng(seed)
    low, high = np.array([getattr(INJECTED, a) for a in ("log_mass", "log_age", "a_v")]).T
    theta = rng.uniform(low, high, (n, 3))
    label = rng.random(n) < np.asarray(truth.p_sel(*theta.T))
    trained = train_ensemble(theta, label, dataclasses.replace(train, seed=seed))
    rows = np.setdiff1d(np.arange(n), trained.held_out)
    made = NetworkSelection(networks=trained.networks, domain=INJECTED)
    known = logit_uncertainty(theta[rows], np.asarray(made.p_sel(*theta[rows].T), float))
    return dataclasses.replace(made, uncertainty=known)


def bench_operator_error(
    n_injections: int = 3000,
    n_clusters: tuple[float, ...] = (300.0, 3000.0),
    n_replicates: int = 40,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    each: Callable[[dict[str, Any]], None] = lambda _: None,
) -> Iterator[dict[str, Any]]:
    """A line for each number of clusters and each of `mean` and `uncertainty`.

    **Arguments:**

    - `n_injections`: of each training. `n_clusters`: expected in a catalogue.
    - `n_replicates`: trainings, each of which meets one catalogue of each size.
    - `each`: called with the distances of each replicate.
    """
    base = Population(
        Separable(Schechter(BOX.log_mass, -2.0, 5.3), PowerLawAge(BOX.log_age, -0.7)),
        HalfNormal(BOX.a_v, 0.5),
        3.0,
    )
    grid = checked_grid(TrueOperator(INJECTED), base, _NODES).grid
    share = float(grid.detected_fraction(base))
    size = int(max(n_clusters) + 6 * max(n_clusters) ** 0.5)
    with double_precision():
        world = _World(base, size)
        pulls: dict[tuple[float, str], list[list[float]]] = {}
        for r in range(n_replicates):
            operator = learned(n_injections, seed + r)
            directions = _directions(operator, grid, base)
            for n in n_clusters:
                log_n = float(np.log10(n / share))
                for name, found in world.pulls(operator, directions, log_n, seed + r).items():
                    pulls.setdefault((n, name), []).append(found)
                    line = {"replicate": r, "n_clusters": n, "with": name}
                    each(line | dict(zip(_NAMES, found, strict=True)))
            progress(f"replicate {r + 1} of {n_replicates}")
    for (n, name), rows in pulls.items():
        line = {"n_injections": n_injections, "n_clusters": n, "with": name}
        yield line | summary(np.array(rows), _NAMES)


def summary(pulls: Float[np.ndarray, "n name"], names: tuple[str, ...]) -> dict[str, Any]:
    """The gate of distances that should be standard normal, and what it would have refused."""
    n = len(pulls)
    ranks = np.minimum((ndtr(pulls) * (_RANKED + 1)).astype(int), _RANKED)
    out: dict[str, Any] = {"n_replicates": n, "accepted": check_ranks(ranks, _RANKED).accepted}
    for j, name in enumerate(names):
        out[f"{name}.mean"] = round(float(pulls[:, j].mean()), 3)
        out[f"{name}.rms"] = round(float(np.sqrt((pulls[:, j] ** 2).mean())), 3)
    for width in (0.5, 0.7):
        power = gate_power(n, len(names), n_ranked=_RANKED, width=width)
        out[f"power_width_{width:g}"] = power
    out["power_bias_0.8"] = gate_power(n, len(names), n_ranked=_RANKED, bias=0.8)
    return out


class _World:
    """Catalogues of the true operator, and the likelihood of what was learned."""

    def __init__(self, base: Population, size: int):
        self.population, self.size = base, size

        def log_posterior(x: Array, samples: ObjectSamples, grid: SelectionGrid) -> Array:
            values, z = dict(zip(_NAMES, x[: len(_NAMES)], strict=True)), x[len(_NAMES) :]
            drawn = base.with_values(values)
            return log_likelihood(drawn, samples, grid, "poisson", z) - 0.5 * (z**2).sum()

        def slopes(at: Array, samples: ObjectSamples, grid: SelectionGrid) -> Array:
            return jax.lax.map(lambda x: jax.grad(log_posterior)(x, samples, grid), at)

        self._slopes = eqx.filter_jit(slopes)

    def pulls(
        self, operator: NetworkSelection, directions: OperatorDirections, log_n: float, seed: int
    ) -> dict[str, list[float]]:
        """Distance of the truth from the mode, in standard deviations, by parameter."""
        rng = np.random.default_rng([seed, round(1000 * log_n)])
        truth = np.array([*TRUTH.values(), log_n])
        drawn = self.population.with_values(dict(zip(_NAMES, jnp.asarray(truth), strict=True)))
        theta = np.asarray(drawn.sample(jax.random.key(seed), int(rng.poisson(10**log_n))), float)
        p = np.asarray(TrueOperator(INJECTED).p_sel(*theta.T))
        theta = theta[rng.random(len(theta)) < p]
        ones = np.ones(len(theta), bool)
        samples = ObjectSamples(theta.T[:, :, None], np.zeros((len(theta), 1)), ones)
        moving = with_operator_directions(samples.padded(self.size), operator, directions)
        assert isinstance(moving, ObjectSamples)
        start = np.concatenate([truth, np.zeros(_DIRECTIONS)])
        return {
            name: self._pull(start, moving, directions.grid, free)
            for name, free in (("mean", len(_NAMES)), ("uncertainty", len(start)))
        }

    def _pull(
        self, start: np.ndarray, samples: ObjectSamples, grid: SelectionGrid, free: int
    ) -> list[float]:
        """Newton steps in the first `free` coordinates; the others stay at 0."""
        x, covariance = start.copy(), np.eye(free)
        for _ in range(_STEPS):
            steps = np.diag(np.full(len(x), _STEP))
            points = np.concatenate([x[None], x + steps, x - steps])
            slope = np.asarray(self._slopes(jnp.asarray(points), samples, grid))
            d = len(x)
            hessian = (slope[1 : d + 1] - slope[d + 1 :])[:free, :free] / (2 * _STEP)
            values, vectors = np.linalg.eigh(-(hessian + hessian.T) / 2)
            covariance = (vectors / np.maximum(values, 1e-2)) @ vectors.T
            step = covariance @ slope[0, :free]
            x[:free] += step / max(1.0, float((np.abs(step) / _REACH[:free]).max()))
        k = len(_NAMES)
        return ((start - x)[:k] / np.sqrt(np.diag(covariance)[:k])).tolist()


def _directions(
    operator: NetworkSelection, grid: SelectionGrid, population: Population
) -> OperatorDirections:
    """Filled up to one number of directions, so that one program serves all replicates."""
    p = np.asarray(operator.on_tensor_grid(*(rule.nodes for rule in grid.rules)).mean(axis=0))
    own = SelectionGrid(*grid.rules, p_sel=np.asarray(p, float))
    found = with_uncertainty(own, operator, population)
    more = _DIRECTIONS - found.grid.n_directions
    if more < 0:
        raise ValueError(f"{found.grid.n_directions} directions; expected {_DIRECTIONS} at most")
    moved = np.pad(np.asarray(found.grid.deviations), ((0, more), *[(0, 0)] * 3))
    full = SelectionGrid(*grid.rules, p_sel=own.p_sel, deviations=moved)
    return dataclasses.replace(found, grid=full, turn=np.pad(found.turn, ((0, 0), (0, more))))
