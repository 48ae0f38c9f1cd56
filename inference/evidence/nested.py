"""Nested sampling: the evidence from the prior inwards (Skilling 2006, Bayesian Analysis 1, 833).

Live points are drawn from the prior; the least likely ones are replaced by others of the prior
inside their contour, which hit-and-run slices along directions of the live points' covariance find
(BlackJAX's `nss`; Yallup, Kroupa & Handley 2026, arXiv:2601.23252). Replacements are made a few at
a time with `lax.map`, so that memory does not grow with their number.

Most of the way from a wide prior to a narrow posterior is known from a fit. For any density g,

    Z = ∫ π L = ∫ g (π L / g),

and nested sampling of L* = π L / g under g is as exact (posterior repartitioning; Chen, Hobson, Das
& Gelderblom 2019, Stat. Comput. 29, 835; Petrosyan & Handley 2022, arXiv:2212.01760). Here g is a
mixture of the prior, with a stated share, and of normal distributions wider than the draws of the
fit: the points of the prior see modes that chains have missed as those of a run from the prior
alone with as many points would, and the others save its way.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from starcensus.settings import check_seed

from ...forward.priors import numpyro_rules
from ..identity import Static
from ..sampling import double_precision
from .errors import EvidenceError
from .mixture import Mixture
from .target import Target

# Replacements of the live points between two looks at what remains.
_STEPS_AT_ONCE = 10
_VOLUMES = 400
# Of the normal distributions around the draws: the tails of a posterior must not be fatter.
_WIDENED = 1.5


@dataclasses.dataclass(frozen=True)
class NestedSettings:
    """How a prior is walked inwards.

    **Arguments:**

    - `n_live`: live points; the error of ln Z is about √(H / n_live), with the information H.
    - `n_replaced`: live points that are replaced at a time.
    - `prior_share`: of the prior in what the run begins from; 1 is nested sampling of the prior
      alone, which takes several times as long.
    - `slices_per_coordinate`: slices for each replacement and coordinate; five at least are made.
    - `n_at_once`: replacements that are made side by side; 0 takes one on a processor, all on an
      accelerator.
    - `max_remaining`: share of Z that the live points may still hold at the end.
    - `max_steps`: replacements of `n_replaced` points, after which a run is given up.
    - `max_error`: largest error of ln Z.
    - `seed`: of everything random.

    Raises `ValueError` for numbers out of their ranges.

    ```python
    NestedSettings(n_live=1000)
    ```
    """

    n_live: int = 300
    n_replaced: int = 30
    prior_share: float = 0.5
    slices_per_coordinate: int = 2
    n_at_once: int = 0
    max_remaining: float = 0.01
    max_steps: int = 2000
    max_error: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, least in (
            ("n_live", 50),
            ("n_replaced", 1),
            ("slices_per_coordinate", 1),
            ("n_at_once", 0),
            ("max_steps", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} = {getattr(self, name)}; expected at least {least}")
        if self.n_replaced > self.n_live // 2:
            raise ValueError(
                f"n_replaced = {self.n_replaced}; expected at most half of n_live = {self.n_live}"
            )
        if not 0 < self.prior_share <= 1:
            raise ValueError(f"prior_share = {self.prior_share}; expected a share above 0, up to 1")
        if not 0 < self.max_remaining < 1 or not self.max_error > 0:
            raise ValueError(
                f"max_remaining = {self.max_remaining}, max_error = {self.max_error}; expected a "
                "share between 0 and 1, and an error above 0"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Nested:
    """An evidence by nested sampling.

    **Arguments:**

    - `ln_z`, `error`: ln of the evidence, and its scatter by what is not known of the volumes.
    - `information`: H, of the posterior beside what the run began from, nats.
    - `n_calls`: evaluations of the likelihood. `n_steps`: replacements of several points.
    - `remaining`: share of Z in the last live points.
    - `x`, `log_weight`: `(point, n)` and `(point,)`, points of the prior and ln of the weights that
      make them a sample of the posterior; the weights add up to 1.
    - `insertion`: largest distance of the distribution of ranks, at which new points come to lie
      among the live ones, from the even one (Fowlie, Handley & Su 2020, MNRAS 497, 5256), in units
      of 1 / √(number of new points): 1.6 or more in 1 of 100 perfect runs.
    """

    ln_z: float
    error: float
    information: float
    n_calls: int
    n_steps: int
    remaining: float
    x: Float[np.ndarray, "point n"]
    log_weight: Float[np.ndarray, " point"]
    insertion: float


def nested(
    target: Target,
    settings: NestedSettings | None = None,
    near: Mixture | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Nested:
    """ln ∫ π L by nested slice sampling.

    **Arguments:**

    - `target`: prior and likelihood.
    - `settings`: live points, and when to stop.
    - `near`: the posterior, about, as `Mixture.best` of the draws of a fit makes it; without it the
      run begins from the prior alone.
    - `progress`: called with a phrase now and then.

    Raises `EvidenceError` for a run that is not finished after `max_steps`, or whose error is too
    large, and for a likelihood that is 0 at nearly all points of the prior.

    ```python
    normal = Target(
        1,
        lambda x: jax.scipy.stats.norm.logpdf(x).sum(),
        lambda x, data: -2.0 * (x**2).sum(),
        lambda key: jax.random.normal(key, (1,), float),
    )
    nested(normal, NestedSettings(n_live=100)).ln_z
    ```
    """
    settings = settings or NestedSettings()
    if near is not None and settings.prior_share < 1:
        target = guided(target, near, settings.prior_share)
    begin_key, run_key, volume_key = jax.random.split(jax.random.key(settings.seed), 3)
    begin, share = _begin(target, settings.n_live, begin_key)
    with double_precision(), numpyro_rules():
        state = _first(target.static, settings_of(settings), jnp.asarray(begin), target.data)
        dead, ranks, n_calls, n_steps, remaining = [], [], len(begin), 0, 1.0
        while True:
            run_key, key = jax.random.split(run_key)
            state, particles, rank, calls = _advance(
                target.static, settings_of(settings), state, key, target.data
            )
            dead.append(jax.tree.map(np.asarray, particles))
            ranks.append(np.asarray(rank))
            n_calls += int(np.asarray(calls).sum())
            n_steps += _STEPS_AT_ONCE
            whole = np.logaddexp(float(state.integrator.logZ), float(state.integrator.logZ_live))
            remaining = float(np.exp(float(state.integrator.logZ_live) - whole))
            progress(f"nested sampling, {remaining:.1%} of the evidence remains")
            if remaining < settings.max_remaining:
                break
            if n_steps >= settings.max_steps:
                raise EvidenceError(
                    f"nested sampling is not finished after {n_steps} steps: {remaining:.2g} of "
                    "the evidence remains in the live points, more than "
                    f"{settings.max_remaining:g}; raise nested.max_steps"
                )
        points = _joined(dead, jax.tree.map(np.asarray, state.particles))
    made = _summed(points, np.log(share), volume_key, n_calls, n_steps, remaining, ranks)
    if not made.error <= settings.max_error:
        raise EvidenceError(
            f"ln Z has an error of {made.error:.2g} by nested sampling, more than "
            f"{settings.max_error:g}; raise nested.n_live"
        )
    return made


def guided(target: Target, near: Mixture, prior_share: float = 0.5) -> Target:
    """The same evidence, with a prior that is partly where the posterior is known to be.

    **Arguments:**

    - `near`: the posterior, about; its parts are widened.
    - `prior_share`: of the prior that `target` has.

    ```python
    normal = Target(
        1,
        lambda x: jax.scipy.stats.norm.logpdf(x).sum(),
        lambda x, data: -2.0 * (x**2).sum(),
        lambda key: jax.random.normal(key, (1,), float),
    )
    draws = np.random.default_rng(1).normal(size=(500, 1))
    guided(normal, Mixture.fit(draws, 1, np.random.default_rng(2))).at(draws[:5])
    ```
    """
    shares, means = (np.asarray(x, float) for x in (near.shares, near.means))
    roots = _WIDENED * near.roots
    precise = np.linalg.inv(roots)
    log_norm = (
        np.log(shares)
        - np.log(np.diagonal(roots, axis1=1, axis2=2)).sum(axis=1)
        - 0.5 * target.n * np.log(2 * np.pi)
    )
    log_prior_share, log_near_share = np.log(prior_share), np.log1p(-prior_share)

    def log_prior(x: Float[Array, " n"]) -> Float[Array, ""]:
        z = jnp.einsum("kij,kj->ki", precise, x[None] - means)
        log_near = jax.scipy.special.logsumexp(log_norm - 0.5 * (z**2).sum(axis=1))
        return jnp.logaddexp(log_prior_share + target.log_prior(x), log_near_share + log_near)

    def log_likelihood(x: Float[Array, " n"], data: Any) -> Float[Array, ""]:
        return target.log_likelihood(x, data) + target.log_prior(x) - log_prior(x)

    def draw(key: PRNGKeyArray) -> Float[Array, " n"]:
        which, part, normal, plain = jax.random.split(key, 4)
        k = jax.random.categorical(part, jnp.log(jnp.asarray(shares)))
        z = jax.random.normal(normal, (target.n,), float)
        at = jnp.asarray(means)[k] + jnp.asarray(roots)[k] @ z
        return jnp.where(
            jax.random.uniform(which, (), float) < prior_share, target.draw_prior(plain), at
        )

    return Target(target.n, log_prior, log_likelihood, draw, target.data)


def settings_of(settings: NestedSettings) -> NestedSettings:
    """The part of the settings on which the compiled program depends."""
    plain = NestedSettings()
    kept = ("n_live", "n_replaced", "slices_per_coordinate", "n_at_once")
    found = {name: getattr(settings, name) for name in kept}
    if not found["n_at_once"]:
        found["n_at_once"] = 1 if jax.default_backend() == "cpu" else settings.n_replaced
    return dataclasses.replace(plain, **found)


def _begin(target: Target, n_live: int, key: PRNGKeyArray) -> tuple[np.ndarray, float]:
    """Points of the prior whose likelihood is above 0, and their share of the prior."""
    kept, n_drawn, n_kept = [], 0, 0
    while n_kept < n_live:
        if n_drawn >= 100 * n_live:
            raise EvidenceError(
                f"the likelihood is 0 at all but {n_kept} of {n_drawn} points of the prior; "
                "narrow the priors to where the population can make the clusters"
            )
        key, own = jax.random.split(key)
        x = target.prior_draws(own, n_live)
        some = np.isfinite(target.at(x)[1])
        kept.append(x[some])
        n_drawn, n_kept = n_drawn + n_live, n_kept + int(some.sum())
    return np.concatenate(kept)[:n_live], n_kept / n_drawn


class _Step(NamedTuple):
    """One compiled step: BlackJAX's kernel, with replacements made a few at a time."""

    kernel: Callable[..., Any]
    start: Callable[..., Any]


def _algorithm(of: Target, settings: NestedSettings, data: Any) -> _Step:
    from blackjax.ns import adaptive, nss
    from blackjax.ns.base import init_state_strategy

    # NumPyro's densities do not agree with points far outside what floating point holds.
    def log_likelihood(x: Float[Array, " n"]) -> Float[Array, ""]:
        value = of.log_likelihood(x, data)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    one = functools.partial(
        init_state_strategy, logprior_fn=of.log_prior, loglikelihood_fn=log_likelihood
    )
    kernel = nss.build_kernel(
        one,
        num_inner_steps=max(5, settings.slices_per_coordinate * of.n),
        num_delete=settings.n_replaced,
        update_strategy=functools.partial(_in_turn, n_at_once=settings.n_at_once),
    )

    def start(x: Float[Array, "live n"]) -> Any:
        many = functools.partial(jax.lax.map, one, batch_size=settings.n_at_once)
        return adaptive.init(
            x,
            many,
            update_inner_kernel_params_fn=nss.live_covariance_factor,
            rng_key=jax.random.key(0),
        )

    return _Step(kernel, start)


def _in_turn(step: Callable, n_slices: int, n_replaced: int, n_at_once: int) -> Callable:
    """BlackJAX's strategy for replacements: from survivors by chains of slices, a few at a time."""

    def update(key: PRNGKeyArray, state: Any, floor: Array, **parameters: Any) -> tuple[Any, Any]:
        key_choice, key_chains = jax.random.split(key)
        alive = state.particles.loglikelihood > floor
        alive = jnp.where(alive.any(), alive, True)
        begin = jax.random.categorical(
            key_choice, jnp.where(alive, 0.0, -jnp.inf), shape=(n_replaced,)
        )

        def chain(given: tuple[Array, Any]) -> tuple[Any, Any]:
            key, particle = given

            def slice_once(at: Any, key: PRNGKeyArray) -> tuple[Any, Any]:
                at, info = step(key, at, loglikelihood_0=floor, **parameters)
                return at, info.num_expansions + info.num_shrink + 2

            at, calls = jax.lax.scan(slice_once, particle, jax.random.split(key, n_slices))
            return at, calls.sum()

        begins = jax.tree.map(lambda leaf: leaf[begin], state.particles)
        keys = jax.random.split(key_chains, n_replaced)
        made, calls = jax.lax.map(chain, (keys, begins), batch_size=n_at_once)
        born = jnp.full_like(made.loglikelihood_birth, floor)
        return made._replace(loglikelihood_birth=born), calls

    return update


@functools.partial(jax.jit, static_argnums=(0, 1))
def _first(
    target: Static[Target], settings: NestedSettings, x: Float[Array, "live n"], data: Any
) -> Any:
    return _algorithm(target.value, settings, data).start(x)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _advance(
    target: Static[Target], settings: NestedSettings, state: Any, key: PRNGKeyArray, data: Any
) -> tuple[Any, Any, Int[Array, "step new"], Int[Array, "step new"]]:
    """Some steps: the state, the points that died, ranks of the new ones, and calls."""
    kernel = _algorithm(target.value, settings, data).kernel

    def once(state: Any, key: PRNGKeyArray) -> tuple[Any, tuple]:
        before = state.particles.loglikelihood
        lowest = jax.lax.top_k(-before, settings.n_replaced)[1]
        state, info = kernel(key, state)
        survivors = jnp.sort(before.at[lowest].set(jnp.inf))
        new = state.particles.loglikelihood[lowest]
        rank = jnp.searchsorted(survivors, new)
        return state, (info.particles, rank, info.update_info)

    state, (particles, ranks, calls) = jax.lax.scan(
        once, state, jax.random.split(key, _STEPS_AT_ONCE)
    )
    return state, particles, ranks, calls


def _joined(dead: list[Any], live: Any) -> Any:
    flat = [jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), each) for each in dead]
    return jax.tree.map(lambda *parts: np.concatenate(parts), *flat, live)


def _summed(
    points: Any,
    log_share: float,
    key: PRNGKeyArray,
    n_calls: int,
    n_steps: int,
    remaining: float,
    ranks: list[np.ndarray],
) -> Nested:
    """The evidence, with volumes drawn from what is known of them."""
    log_like, born = points.loglikelihood, points.loglikelihood_birth
    order = np.argsort(log_like, kind="stable")
    log_like, born, x = log_like[order], born[order], points.position[order]
    # Live at a death: all that were born below it, and have not died.
    births = np.sort(np.where(np.isnan(born), -np.inf, born))
    live = np.searchsorted(births, log_like, side="left") - np.arange(len(log_like))
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).astype(np.uint64))
    shrink = np.log(rng.uniform(size=(_VOLUMES, len(live)))) / np.maximum(live, 1)
    log_volume = np.cumsum(shrink, axis=1)
    before = np.concatenate([np.zeros((_VOLUMES, 1)), log_volume[:, :-1]], axis=1)
    log_shell = before + np.log(-np.expm1(shrink))
    log_parts = log_shell + log_like
    top = log_parts.max(axis=1, keepdims=True)
    ln_z = top[:, 0] + np.log(np.exp(log_parts - top).sum(axis=1))
    weight = np.exp(log_parts - ln_z[:, None]).mean(axis=0)
    weight /= weight.sum()
    information = float((weight * log_like).sum() - ln_z.mean())
    all_ranks = np.concatenate([each.ravel() for each in ranks])
    with np.errstate(divide="ignore"):
        log_weight = np.log(weight)
    return Nested(
        float(ln_z.mean() + log_share),
        float(ln_z.std(ddof=1)),
        information - log_share,
        n_calls,
        n_steps,
        remaining,
        x,
        log_weight,
        _unevenness(all_ranks),
    )


def _unevenness(ranks: Int[np.ndarray, " new"]) -> float:
    """Kolmogorov's distance of ranks from even ones, times the root of their number."""
    most = int(ranks.max())
    counts = np.bincount(ranks, minlength=most + 1)
    found = np.cumsum(counts) / len(ranks)
    even = (np.arange(most + 1) + 1) / (most + 1)
    return float(np.abs(found - even).max() * np.sqrt(len(ranks)))
