"""Draws of population models' posteriors: one traceable program from data to draws.

The program finds the posterior's mode, whitens the unconstrained parameters with the curvature
there and runs NumPyro's NUTS on all chains at once. Catalogues padded to the same size share its
compilation, and `vmap` turns it into a program that fits many catalogues together.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray
from numpyro.infer.hmc import hmc
from numpyro.infer.util import ParamInfo, constrain_fn, potential_energy, unconstrain_fn

from starcensus.settings import check_choices, check_seed

from ..forward import SelectionGrid
from ..forward.priors import numpyro_rules
from .identity import Static, model_digest, rules_of
from .importance import POINTS_PER_DRAW, propose, resampled
from .laplace import laplace
from .model import OPERATOR, PopulationModel
from .objects import NodeSamples, Samples

# p_sel at the nodes of a grid, and its deviations.
type Operator = tuple[Any, Any]


@dataclasses.dataclass(frozen=True)
class SamplerSettings:
    """How draws are made.

    The step counts suit whitened posteriors of up to about twenty parameters. `max_tree_depth` 7
    allows 127 leapfrog steps, twenty times what such a posterior needs.

    **Arguments:**

    - `method`: `"nuts"`, or `"importance"`: weighted points around the mode, for posteriors with
      one mode, as those of many clusters have; where the weights are few they are refused. It
      takes no warm-up, and its chains are parts of one sample.
    - `n_chains`: number of chains, 2 or more.
    - `n_warmup`: steps of each chain that adapt, 50 or more.
    - `n_samples`: steps of each chain that are kept, 50 or more.
    - `target_accept`: mean acceptance that the step size is adapted to, 0.5 to 1.
    - `max_tree_depth`: at most 2^max_tree_depth − 1 leapfrog steps make a step.
    - `seed`: seed of everything random.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    SamplerSettings(n_chains=2, n_warmup=250, n_samples=500)
    ```
    """

    n_chains: int = 4
    n_warmup: int = 250
    n_samples: int = 500
    target_accept: float = 0.8
    max_tree_depth: int = 7
    seed: int = 0
    method: Literal["nuts", "importance"] = "nuts"

    def __post_init__(self) -> None:
        check_choices(self)
        for name, least in (("n_chains", 2), ("n_warmup", 50), ("n_samples", 50)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}; expected at least {least}")
        check_seed(self.seed)
        if not 0.5 <= self.target_accept < 1:
            raise ValueError(f"target_accept = {self.target_accept}; expected 0.5 to 1")


class Draws(NamedTuple):
    """What the sampler returns, chains first.

    **Arguments:**

    - `values`: draws of what is sampled, by name, `(chain, draw, …)`; the numbers by which an
      operator deviates under `OPERATOR`, if its uncertainty counts.
    - `potential`, `energy`: `(chain, draw)`, minus ln of the posterior, and the Hamiltonian.
    - `n_steps`: `(chain, draw)`, leapfrog steps of each trajectory; 0 of importance sampling.
    - `accept`: `(chain, draw)`, mean acceptance of each; of importance sampling, effective draws
      for each that is kept.
    - `diverging`: `(chain, draw)`, which trajectories diverged.
    - `mode_converged`: whether the posterior's mode was found.
    """

    values: dict[str, Float[Array, "..."]]
    potential: Float[Array, "*batch chain draw"]
    energy: Float[Array, "*batch chain draw"]
    n_steps: Int[Array, "*batch chain draw"]
    accept: Float[Array, "*batch chain draw"]
    diverging: Bool[Array, "*batch chain draw"]
    mode_converged: Bool[Array, "*batch"]

    @property
    def most_effective(self) -> float:
        """So many independent draws at most do these stand for: of importance sampling, as many as
        its weights allow; infinite for trajectories, which are judged by themselves."""
        of_weights = np.asarray(self.n_steps) == 0
        return float(np.asarray(self.accept).sum()) if of_weights.all() else np.inf


class WeightedPoints(NamedTuple):
    """What importance sampling draws, before its weights are judged.

    **Arguments:**

    - `values`: points of what is sampled, by name, `(point, …)`.
    - `potential`, `log_weight`: `(point,)`, minus ln of the posterior, and ln of the weights.
    - `mode_converged`: whether the posterior's mode was found.
    """

    values: dict[str, Float[Array, "..."]]
    potential: Float[Array, "*batch point"]
    log_weight: Float[Array, "*batch point"]
    mode_converged: Bool[Array, "*batch"]


class Sampler:
    """NUTS (Hoffman & Gelman 2014), or importance sampling, for one model.

    Call `run` for as many catalogues as there are.
    Catalogues whose padded arrays have equal shapes reuse one compilation.

    **Arguments:**

    - `model`: the population's family and priors.
    - `grid`: gives the quadrature's nodes; its p_sel may be that of any fit to come.
    - `settings`: chains and steps.

    ```python
    sampler = Sampler(model, selection_grid(operator, population), SamplerSettings(n_chains=2))
    draws = sampler.run(samples, selection_grid(operator, population), jax.random.key(0))
    ```
    """

    def __init__(
        self,
        model: PopulationModel,
        grid: SelectionGrid,
        settings: SamplerSettings | None = None,
    ):
        """`grid` gives the quadrature's nodes; its p_sel may be that of any fit to come."""
        self.model = model
        self.settings = settings or SamplerSettings()
        with double_precision(), numpyro_rules():
            start = {k: jnp.asarray(v, float) for k, v in model.start_sites().items()}
            self._start = dict(
                jax.jit(lambda v: unconstrain_fn(model.sample_population, (), {}, v))(start)
            )
            if k := grid.n_directions:
                self._start[OPERATOR] = jnp.zeros(k, float)
        self._grid = grid
        self._identity = _identity(model, grid, self.settings)

    def run(self, objects: Samples, grid: SelectionGrid, key: PRNGKeyArray) -> Draws:
        """Fit one catalogue; arrays come back as NumPy, float64.

        Chains are shared among JAX's devices, as many as divide their number, but for objects on
        nodes on a processor, where one device advances all together. Raises `ValueError`
        if `grid` has other nodes than the one that the sampler was made with, `NotGaussianError`
        where importance sampling is no way to draw.
        """
        self.check(self.model, grid, self.settings)
        with double_precision():
            made = _compiled(Static(self, self._identity), objects, _operator(grid), key)
        made = jax.tree.map(np.asarray, made)
        return made if isinstance(made, Draws) else self._draws(made)

    def compile(self, objects: Samples, grid: SelectionGrid, key: PRNGKeyArray) -> None:
        """Make ready for `run` with arrays of these shapes, which else compiles first."""
        with double_precision():
            _compiled.lower(Static(self, self._identity), objects, _operator(grid), key).compile()

    def check(self, model: PopulationModel, grid: SelectionGrid, settings: SamplerSettings) -> None:
        """Raises `ValueError` unless this sampler is for such a model, grid and settings."""
        for name in ("mass_rule", "age_rule", "a_v_rule"):
            ours, given = getattr(self._grid, name), getattr(grid, name)
            if ours.order != given.order or not np.array_equal(ours.edges, given.edges):
                raise ValueError(
                    f"this Sampler was made for a grid with another {name}; "
                    "make one for each setting of the bounds and the quadrature"
                )
        if _identity(model, grid, settings) != self._identity:
            raise ValueError(
                "this Sampler was made for another model or other settings; leave it out, or make "
                "one with Sampler(model, grid, settings)"
            )

    def program(self, objects: Samples, grid: SelectionGrid, key: PRNGKeyArray) -> Draws:
        """The whole fit as one traceable function on one device; needs x64.

        Raises `ValueError` for importance sampling, which is no such function.
        """
        if self.settings.method != "nuts":
            raise ValueError(
                f"sampler.method is {self.settings.method!r}; chains expect 'nuts', and weighted "
                "points come from `points`"
            )
        return self._chains(objects, grid, jax.random.split(key, self.settings.n_chains))

    def _whole(
        self, objects: Samples, operator: Operator, key: PRNGKeyArray
    ) -> Draws | WeightedPoints:
        """By the method of the settings. Nodes stay constants of the compiled program; only what
        the operator is there is an argument."""
        if self.settings.method == "importance":
            return self.points(objects, self._with(operator), key)
        return self._on_devices(objects, operator, key)

    def _with(self, operator: Operator) -> SelectionGrid:
        return eqx.tree_at(
            lambda g: (g.p_sel, g.deviations), self._grid, operator, is_leaf=lambda x: x is None
        )

    def _on_devices(self, objects: Samples, operator: Operator, key: PRNGKeyArray) -> Draws:
        def chains(objects: Samples, operator: Operator, keys: Array) -> Draws:
            return self._chains(objects, self._with(operator), keys)

        n_chains, devices = self.settings.n_chains, jax.local_devices()
        if _in_step_on_cpu(objects):
            devices = devices[:1]
        n = max(k for k in range(1, len(devices) + 1) if n_chains % k == 0)
        keys = jax.random.split(key, n_chains)
        if n == 1:
            return chains(objects, operator, keys)
        mesh = jax.sharding.Mesh(np.asarray(devices[:n]), ("chain",))
        everywhere, by_chain = jax.P(), jax.P("chain")
        shared = jax.shard_map(
            chains,
            mesh=mesh,
            in_specs=(everywhere, everywhere, by_chain),
            out_specs=Draws(*[by_chain] * 6, mode_converged=everywhere),  # pyright: ignore
            check_vma=False,
        )
        return shared(objects, operator, keys)

    def _potential(
        self, objects: Samples, grid: SelectionGrid, unravel: Callable
    ) -> Callable[[Float[Array, " d"]], Float[Array, ""]]:
        """−ln of the posterior in unconstrained coordinates."""
        model = self.model.numpyro_model()

        def potential(x: Float[Array, " d"]) -> Float[Array, ""]:
            return jnp.asarray(potential_energy(model, (objects, grid), {}, unravel(x)))

        return potential

    def points(self, objects: Samples, grid: SelectionGrid, key: PRNGKeyArray) -> WeightedPoints:
        """Weighted points around the posterior's mode, as one traceable function; needs x64."""
        cfg = self.settings
        start, unravel = ravel_pytree(self._start)
        with numpyro_rules():
            potential = self._potential(objects, grid, unravel)
            around = laplace(potential, start)
            n = POINTS_PER_DRAW * cfg.n_chains * cfg.n_samples
            places, u, log_weight = propose(potential, around, key, n)
            values = jax.vmap(lambda x: self._constrain(unravel(x)))(places)
        return WeightedPoints(values, u, log_weight, around.converged)

    def _draws(self, points: WeightedPoints) -> Draws:
        """Points of which all count alike, in chains."""
        cfg = self.settings
        shape = cfg.n_chains, cfg.n_samples
        rng = np.random.default_rng(cfg.seed)
        log_weight = np.asarray(points.log_weight)
        picked, effective = resampled(log_weight, cfg.n_chains * cfg.n_samples, rng)
        u = points.potential[picked].reshape(shape)
        kept = {k: v[picked].reshape(*shape, *v.shape[1:]) for k, v in points.values.items()}
        share, none = np.full(shape, effective / len(picked)), np.zeros(shape, int)
        converged = points.mode_converged
        return Draws(kept, u, u, none, share, none > 0, converged)  # pyright: ignore

    def _chains(self, objects: Samples, grid: SelectionGrid, keys: Key[Array, " chain"]) -> Draws:
        cfg = self.settings
        start, unravel = ravel_pytree(self._start)
        with numpyro_rules():
            potential = self._potential(objects, grid, unravel)
            both = jax.vmap(jax.random.split)(keys)
            starts = jax.vmap(lambda k: jax.random.normal(k, start.shape, start.dtype))(both[:, 0])
            around = laplace(potential, start, starts=starts)

            def place(w: Float[Array, " d"]) -> Float[Array, " d"]:
                return around.mode + around.scale @ w

            init_kernel, step = hmc(lambda w: potential(place(w)), algo="NUTS")

            def one_chain(chain: tuple[ParamInfo, PRNGKeyArray]) -> tuple:
                begin, key_nuts = chain
                state = init_kernel(
                    begin,
                    cfg.n_warmup,
                    step_size=0.5,
                    dense_mass=True,
                    target_accept_prob=cfg.target_accept,
                    max_tree_depth=cfg.max_tree_depth,
                    rng_key=key_nuts,
                )

                def advance(state, _):
                    state = step(state)
                    kept = (
                        state.z,
                        state.potential_energy,
                        state.energy,
                        state.num_steps,
                        state.accept_prob,
                        state.diverging,
                    )
                    return state, kept

                # One scan over warm-up and sampling: two would compile NUTS twice.
                trace = jax.lax.scan(advance, state, length=cfg.n_warmup + cfg.n_samples)[1]
                return jax.tree.map(lambda x: x[cfg.n_warmup :], trace)

            # In step, chains all wait for the longest trajectory.
            in_turn = jax.default_backend() == "cpu" and not _in_step_on_cpu(objects)
            begins = ParamInfo(starts, around.start_potential, around.start_gradient)
            chains = begins, both[:, 1]
            every = (jax.lax.map if in_turn else _vmap_over)(one_chain, chains)
            w, u, energy, n_steps, accept, diverging = every
            values = jax.vmap(jax.vmap(lambda x: self._constrain(unravel(place(x)))))(w)
        return Draws(values, u, energy, n_steps, accept, diverging, around.converged)

    def _constrain(self, unconstrained: dict[str, Array]) -> dict[str, Array]:
        own = {k: v for k, v in unconstrained.items() if k != OPERATOR}
        sites = constrain_fn(self.model.sample_population, (), {}, own)
        # Normal numbers have no bounds.
        more = {k: v for k, v in unconstrained.items() if k == OPERATOR}
        return {**self.model.from_sites(sites), **more}


@functools.partial(jax.jit, static_argnums=0)
def _compiled(
    sampler: Static[Sampler],
    objects: Samples,
    operator: Operator,
    key: PRNGKeyArray,
) -> Draws | WeightedPoints:
    """One program for all samplers of equal models, grids and settings, and equal shapes."""
    return sampler.value._whole(objects, operator, key)


def _operator(grid: SelectionGrid) -> Operator:
    return grid.p_sel, grid.deviations


def _identity(model: PopulationModel, grid: SelectionGrid, settings: SamplerSettings) -> str:
    """The seed is an argument of the program."""
    facts = (
        model_digest(model),
        rules_of(grid),
        grid.n_directions,
        dataclasses.replace(settings, seed=0),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _in_step_on_cpu(objects: Samples) -> bool:
    """Whether a processor advances the chains together: a product with nodes costs eight chains as
    much as one, and takes every core by itself."""
    return jax.default_backend() == "cpu" and isinstance(objects, NodeSamples)


def _vmap_over(function: Callable, chains: tuple) -> tuple:
    return jax.vmap(function)(chains)


def double_precision():
    """Context in which JAX uses float64: log-likelihood sums need it, nothing else is changed.

    ```python
    with double_precision():
        log_likelihood(population, samples, selection_grid(operator, population))
    ```
    """
    return jax.enable_x64(True)
