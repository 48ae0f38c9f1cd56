"""A mixture in double precision, object by object: draws, and probability integral transforms."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int
from scipy.special import log_ndtr, logsumexp, ndtr, ndtri

from .mixture import MixtureDensity, Shape, components, of_ci, outputs

# Draws keep off the very ends of their distributions.
_EDGE = 1e-12


class OfBands(NamedTuple):
    """As `Components`, the clusters first, in double precision."""

    log_weight: Float[np.ndarray, "n k"]
    mean: Float[np.ndarray, "n k band"]
    sd: Float[np.ndarray, "n k band"]
    loading: Float[np.ndarray, "n rank k band"]
    log_pattern: Float[np.ndarray, "n k pattern"]


class OfIndex(NamedTuple):
    """As `OfCi`, the clusters first, in double precision."""

    log_weight: Float[np.ndarray, "n j"]
    mean: Float[np.ndarray, "n j"]
    sd: Float[np.ndarray, "n j"]


def parts_of_ci(density: MixtureDensity, x: Float[np.ndarray, "n k"]) -> OfIndex:
    """The Gaussians of c; `x`: true magnitudes within the limits, then nuisance properties."""
    if density.shape.joint:
        # Those of c do not depend on c.
        _, own = parts_of_bands(density, x, np.zeros(len(x)))
        assert own is not None
        return own
    return OfIndex(*map(_clusters_first, of_ci(density.shape, _out(density, 1, x))))


def parts_of_bands(
    density: MixtureDensity, x: Float[np.ndarray, "n k"], ci: Float[np.ndarray, " n"]
) -> tuple[OfBands, OfIndex | None]:
    """The Gaussians of the magnitudes and, of the joint form, of c; `x` as of `parts_of_ci`."""
    shape = density.shape
    inputs = x
    if shape.concentration and not shape.joint:
        inputs = np.column_stack([x, ci])
    of, own = components(shape, _out(density, 0, inputs), jnp.asarray(ci, jnp.float32))
    bands = OfBands(*map(_clusters_first, of))
    return bands, None if own is None else OfIndex(*map(_clusters_first, own))


def _clusters_first(part: Array) -> np.ndarray:
    return np.moveaxis(np.asarray(part, float), -1, 0)


def _out(density: MixtureDensity, which: int, x: np.ndarray) -> Array:
    return outputs(*density.networks[which].in_single(), jnp.asarray(x.T, jnp.float32))


def draw_recorded(
    density: MixtureDensity,
    x: Float[np.ndarray, "n k"],
    true: Float[np.ndarray, "n band"],
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "n band"], Float[np.ndarray, " n"] | None]:
    """Magnitudes, NaN where not recorded, and concentration indices, of catalogued clusters."""
    shape, n = density.shape, len(x)
    ci: Float[np.ndarray, " n"] = np.zeros(n)
    rows = np.arange(n)
    which: Int[np.ndarray, " n"] | None = None
    if shape.concentration:
        log_weight, mean, sd = parts_of_ci(density, x)
        which = _choose(log_weight, rng)
        mean, sd = mean[rows, which], sd[rows, which]
        least = -np.inf if shape.least_ci is None else shape.least_ci
        # From above, so that the tail beyond the limit is where precision is.
        share = rng.uniform(_EDGE, 1 - _EDGE, n) * ndtr((mean - least) / sd)
        ci = np.maximum(mean - sd * ndtri(np.maximum(share, _EDGE**2)), least)
    of, _ = parts_of_bands(density, x, ci)
    if which is None or not shape.joint:
        which = _choose(of.log_weight, rng)
    mean, sd = of.mean[rows, which], of.sd[rows, which]
    loading = of.loading[rows, :, which]
    pattern = density.patterns[_choose(of.log_pattern[rows, which], rng)]
    common = rng.standard_normal((n, shape.rank))
    own = rng.standard_normal((n, shape.n_bands)) * sd
    if shape.faintest is not None:
        _cut_off(shape, true, mean, sd, loading, common, own, rng)
    y = mean + own + np.einsum("nr,nrb->nb", common, loading)
    mags = np.where(pattern, true + y, np.nan)
    return mags, ci if shape.concentration else None


def _cut_off(
    shape: Shape,
    true: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    loading: np.ndarray,
    common: np.ndarray,
    own: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Move `common` and `own` to where the band of reference is brighter than the limit.

    By Matheron's rule: a Gaussian given one of its sums is a free one, moved along what covaries.
    """
    at = shape.reference
    of = loading[:, :, at]
    variance = sd[:, at] ** 2 + (of**2).sum(axis=1)
    width = np.sqrt(variance)
    assert shape.faintest is not None
    room = (shape.faintest - true[:, at] - mean[:, at]) / width
    share = rng.uniform(_EDGE, 1 - _EDGE, len(mean)) * ndtr(room)
    wanted = np.minimum(width * ndtri(np.maximum(share, 1e-300)), width * room)
    more = wanted - own[:, at] - (common * of).sum(axis=1)
    common += of * (more / variance)[:, None]
    own[:, at] += sd[:, at] ** 2 * more / variance


def _choose(log_weight: np.ndarray, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    gumbel = rng.gumbel(size=log_weight.shape)
    return np.argmax(log_weight + gumbel, axis=1)


def transform(
    density: MixtureDensity,
    x: Float[np.ndarray, "n k"],
    true: Float[np.ndarray, "n band"],
    mags: Float[np.ndarray, "n band"],
    there: Bool[np.ndarray, "n band"],
    allowed: Float[np.ndarray, "n pattern"],
    ci: Float[np.ndarray, " n"],
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n band"], Float[np.ndarray, "n pattern"]]:
    """Of what was recorded, P(less | μ, det): of c; of each band, given c and the reference.

    The band of reference itself is given c alone. Returns also the probability of each pattern
    given c.
    """
    shape = density.shape
    each_ci = None
    of_c = np.full(len(x), np.nan)
    of, own = parts_of_bands(density, x, ci)
    log_weight = of.log_weight
    if shape.concentration:
        of_index = parts_of_ci(density, x) if own is None else own
        log_w, mean, sd = of_index.log_weight, of_index.mean, of_index.sd
        z = (ci[:, None] - mean) / sd
        least = -np.inf if shape.least_ci is None else shape.least_ci
        below = ndtr((least - mean) / sd)
        inside = (ndtr(z) - below) / np.maximum(1 - below, 1e-300)
        of_c = (np.exp(log_w) * np.clip(inside, 0, 1)).sum(axis=1)
        each_ci = -0.5 * z**2 - np.log(sd) - log_ndtr((mean - least) / sd)
    if own is not None and each_ci is not None:
        log_weight = log_weight + each_ci
        log_weight = log_weight - _total(log_weight, 1)[:, None]
    log_pattern = of.log_pattern
    p_pattern = np.exp(_total(log_weight[:, :, None] + log_pattern, 1))
    log_weight = log_weight + _total(log_pattern + allowed[:, None], 2)
    found = np.full(mags.shape, np.nan)
    away = np.where(there, mags - true, 0.0)[:, None] - of.mean
    loading = of.loading
    variance = of.sd**2 + (loading**2).sum(axis=1)
    at = shape.reference
    width = np.sqrt(variance[:, :, at])
    z, room = away[:, :, at] / width, np.inf
    if shape.faintest is not None:
        room = (shape.faintest - true[:, at, None] - of.mean[:, :, at]) / width
    inside = np.exp(np.minimum(log_ndtr(np.minimum(z, room)) - log_ndtr(room), 0.0))
    seen = there[:, at]
    found[seen, at] = _mean(log_weight, inside)[seen]
    log_weight = log_weight + np.where(
        seen[:, None], -0.5 * z**2 - np.log(width) - log_ndtr(room), 0.0
    )
    for b in [b for b in range(shape.n_bands) if b != at]:
        cov = (loading[:, :, :, b] * loading[:, :, :, at]).sum(axis=1)
        gain = np.where(seen[:, None], cov / variance[:, :, at], 0.0)
        rest = variance[:, :, b] - gain * cov
        scaled = (away[:, :, b] - gain * away[:, :, at]) / np.sqrt(rest)
        found[:, b] = np.where(there[:, b], _mean(log_weight, ndtr(scaled)), np.nan)
    return of_c, found, p_pattern


def _mean(log_weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    weight = np.exp(log_weight - _total(log_weight, 1)[:, None])
    return (weight * values).sum(axis=1)


def _total(logs: np.ndarray, axis: int) -> np.ndarray:
    return np.asarray(logsumexp(logs, axis=axis))
