"""Posteriors whose evidence is known, with independent draws of each."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
import scipy.stats
from numpyro.distributions.transforms import StickBreakingTransform

from starcensus.forward.priors import numpyro_rules
from starcensus.inference.evidence import Target
from starcensus.inference.sampling import double_precision

SHAPE = (4, 500)


@dataclasses.dataclass(frozen=True)
class Case:
    """A target, its ln Z, and what draws unconstrained coordinates of its posterior."""

    target: Target
    ln_z: float
    draw: Callable[[np.random.Generator], np.ndarray]


def gaussian(d: int, rho: float, shift: float = 1.0) -> Case:
    """A correlated normal likelihood under a normal prior of width 3."""
    covariance = 0.09 * ((1 - rho) * np.eye(d) + rho * np.ones((d, d)))
    data = np.linspace(-shift, shift, d) if d > 1 else np.array([shift])
    precise, log_det = np.linalg.inv(covariance), np.linalg.slogdet(covariance)[1]

    def log_likelihood(x, data):
        away = x - data
        square = away @ jnp.asarray(precise) @ away
        return -0.5 * (square + log_det + d * np.log(2 * np.pi))

    after = np.linalg.inv(precise + np.eye(d) / 9)
    mean = after @ precise @ data
    true = scipy.stats.multivariate_normal(np.zeros(d), covariance + 9 * np.eye(d)).logpdf(data)
    target = Target(
        d,
        lambda x: jax.scipy.stats.norm.logpdf(x, 0.0, 3.0).sum(),
        log_likelihood,
        lambda key: 3.0 * jax.random.normal(key, (d,), float),
        data,
    )
    return Case(target, float(true), lambda rng: rng.multivariate_normal(mean, after, size=SHAPE))


def gamma_poisson(n: int = 7, shape: float = 2.0, rate: float = 0.5) -> Case:
    """A number n of a Poisson law whose mean has a Gamma prior; x = ln mean."""
    constant = shape * np.log(rate) - scipy.special.gammaln(shape)
    true = scipy.stats.nbinom(shape, rate / (1 + rate)).logpmf(n)
    target = Target(
        1,
        lambda x: (shape * x - rate * jnp.exp(x)).sum() + constant,
        lambda x, data: (data * x - jnp.exp(x)).sum() - scipy.special.gammaln(n + 1),
        lambda key: jnp.log(jax.random.gamma(key, shape, (1,), float) / rate),
        np.array(float(n)),
    )

    def draw(rng: np.random.Generator) -> np.ndarray:
        return np.log(rng.gamma(shape + n, 1 / (rate + 1), size=(*SHAPE, 1)))

    return Case(target, float(true), draw)


def truncated() -> Case:
    """A normal mean between limits that cut its posterior, under a truncated normal prior."""
    low, high, mean, sd, data, error = 0.0, 2.0, 0.5, 1.0, 0.2, 0.4
    mass = np.diff(scipy.stats.norm.cdf([low, high], mean, sd))[0]
    precise = 1 / sd**2 + 1 / error**2
    m, s = (mean / sd**2 + data / error**2) / precise, precise**-0.5
    within = np.diff(scipy.stats.norm.cdf([low, high], m, s))[0]
    whole = scipy.stats.norm.logpdf(data, mean, np.hypot(sd, error))
    true = whole + np.log(within) - np.log(mass)

    def value(x):
        return low + (high - low) * jax.nn.sigmoid(x[0])

    def log_prior(x):
        jacobian = np.log(high - low) + jax.nn.log_sigmoid(x[0]) + jax.nn.log_sigmoid(-x[0])
        return jax.scipy.stats.norm.logpdf(value(x), mean, sd) - np.log(mass) + jacobian

    def draw_prior(key):
        ends = jax.scipy.special.ndtr((jnp.asarray([low, high]) - mean) / sd)
        u = ends[0] + (ends[1] - ends[0]) * jax.random.uniform(key, (1,), float)
        at = (mean + sd * jax.scipy.special.ndtri(u) - low) / (high - low)
        return jnp.log(at) - jnp.log1p(-at)

    target = Target(
        1,
        log_prior,
        lambda x, data: jax.scipy.stats.norm.logpdf(data, value(x), error),
        draw_prior,
        np.array(data),
    )

    def draw(rng: np.random.Generator) -> np.ndarray:
        at = scipy.stats.truncnorm.rvs(
            (low - m) / s, (high - m) / s, m, s, size=(*SHAPE, 1), random_state=rng
        )
        return scipy.special.logit((at - low) / (high - low))

    return Case(target, float(true), draw)


def dirichlet_multinomial(
    counts: tuple[int, ...] = (12, 3, 0, 5), concentration: float = 1.5
) -> Case:
    """Counts of four classes whose shares have a Dirichlet prior; x is NumPyro's stick breaking."""
    n, k, a = sum(counts), len(counts), concentration
    gammaln, to = scipy.special.gammaln, StickBreakingTransform()
    norm = gammaln(k * a) - k * gammaln(a)
    true = norm + sum(gammaln(a + c) for c in counts) - gammaln(k * a + n)

    def log_prior(x):
        p = to(x)
        return ((a - 1) * jnp.log(p)).sum() + norm + to.log_abs_det_jacobian(x, p)

    target = Target(
        k - 1,
        log_prior,
        lambda x, data: (data * jnp.log(to(x))).sum(),
        lambda key: to._inverse(jax.random.dirichlet(key, jnp.full(k, a))),
        np.asarray(counts, float),
    )

    def draw(rng: np.random.Generator) -> np.ndarray:
        p = rng.dirichlet(a + np.asarray(counts), size=SHAPE).reshape(-1, k)
        with double_precision(), numpyro_rules():
            return np.asarray(jax.vmap(to._inverse)(jnp.asarray(p))).reshape(*SHAPE, k - 1)

    return Case(target, float(true), draw)


# Of the two modes of `bimodal`: the place on the first axis, and the share.
MODES = ((-4.0, 0.7), (4.0, 0.3))


def bimodal() -> Case:
    """Two normal modes of two coordinates, 30 standard deviations from each other."""
    width, prior_sd = 0.25, 5.0

    def log_likelihood(x, data):
        parts = [
            jnp.log(share)
            + jax.scipy.stats.norm.logpdf(x[0], at, width)
            + jax.scipy.stats.norm.logpdf(x[1], 0.0, width)
            for at, share in MODES
        ]
        return jax.scipy.special.logsumexp(jnp.stack(parts))

    spread = np.hypot(width, prior_sd)
    logs = [
        np.log(share)
        + scipy.stats.norm.logpdf(at, 0, spread)
        + scipy.stats.norm.logpdf(0, 0, spread)
        for at, share in MODES
    ]
    target = Target(
        2,
        lambda x: jax.scipy.stats.norm.logpdf(x, 0.0, prior_sd).sum(),
        log_likelihood,
        lambda key: prior_sd * jax.random.normal(key, (2,), float),
    )
    after = (1 / width**2 + 1 / prior_sd**2) ** -0.5

    def draw(rng: np.random.Generator) -> np.ndarray:
        centres = np.array([at for at, _ in MODES]) * after**2 / width**2
        shares = np.exp(np.array(logs) - scipy.special.logsumexp(logs))
        x = after * rng.normal(size=(*SHAPE, 2))
        x[..., 0] += rng.choice(centres, p=shares, size=SHAPE)
        return x

    return Case(target, float(scipy.special.logsumexp(logs)), draw)


CASES: dict[str, Callable[[], Case]] = {
    "normal mean": lambda: gaussian(1, 0.0),
    "gamma and Poisson": gamma_poisson,
    "truncated normal": truncated,
    "Dirichlet and multinomial": dirichlet_multinomial,
    "two modes": bimodal,
    "ten correlated normals": lambda: gaussian(10, 0.8),
}
