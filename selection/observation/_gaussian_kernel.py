"""ln p(d, det | μ) of Gaussian noise for very many pairs, as one compiled program."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, logsumexp
from jaxtyping import Array, Bool, Float, Int

LN_MAG = 0.4 * np.log(10.0)
# Standard deviations beyond which a Gaussian is nothing.
FAR = 5.0
# Pairs of one call; few are filled up to the smaller number.
_SIZES = 1 << 12, 1 << 16
_LEAST_OBJECTS = 256


def log_kernel(
    value: Float[np.ndarray, "n band"],
    error: Float[np.ndarray, "n band"],
    measured: Bool[np.ndarray, "n band"],
    lost: Bool[np.ndarray, "n band"],
    rows: Int[np.ndarray, " pair"],
    mags: Float[np.ndarray, "pair band"],
    *,
    floor: float,
    common: float,
    n_nodes: int,
    curves: tuple[Float[np.ndarray, " band"], ...],
    least: Float[np.ndarray, " band"],
) -> Float[np.ndarray, " pair"]:
    """The logarithm of the density of measured fluxes, and of the probability of lost ones.

    **Arguments:**

    - `value`, `error`: fluxes and their quoted errors. `measured`, `lost`: which bands have one,
      and which were looked at and not detected.
    - `rows`, `mags`: the object of each pair, and true magnitudes.
    - `floor`, `common`: mag. `n_nodes`: of the integral over the shift that all bands share.
    - `curves`: sky, source and share of the noise. `least`: flux from which on one is recorded.
    """
    # The few objects with a lost band have a program of their own, which takes ten times longer.
    with_lost = lost.any(axis=1)[rows]
    out = np.empty(len(mags))
    facts = (floor, common, *_nodes(n_nodes if common > 0 else 1), *curves, least)
    with jax.enable_x64(True):
        given = [jnp.asarray(x) for x in (*_columns(value, error, measured, lost), *facts)]
        for any_lost in (False, True):
            chosen = np.flatnonzero(with_lost == any_lost)
            size = _SIZES[0] if len(chosen) <= _SIZES[0] else _SIZES[1]
            for start in range(0, len(chosen), size):
                part = chosen[start : start + size]
                # The last block is filled up with its first pair.
                block = np.concatenate([part, np.full(size - len(part), part[0])])
                found = _program(any_lost, common > 0)(rows[block], mags[block].T, *given)
                out[part] = np.asarray(found)[: len(part)]
    return out


def _nodes(n: int) -> tuple[Float[np.ndarray, " node"], Float[np.ndarray, " node"]]:
    """Gauss-Hermite nodes and the logarithms of their weights."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    return x, np.log(w / w.sum())


def _columns(*of_objects: np.ndarray) -> list[np.ndarray]:
    """Bands first, so that what is next to one another is computed side by side; filled up to one
    of few sizes."""
    n, k = of_objects[0].shape
    size = 1 << max(n - 1, _LEAST_OBJECTS - 1).bit_length()
    return [np.ascontiguousarray(np.resize(x, (size, k)).T) for x in of_objects]


@functools.cache
def _program(any_lost: bool, shifted: bool) -> Callable[..., Float[Array, " pair"]]:
    def program(
        rows: Int[Array, " pair"],
        mags: Float[Array, "band pair"],
        value: Float[Array, "band n"],
        error: Float[Array, "band n"],
        measured: Bool[Array, "band n"],
        lost: Bool[Array, "band n"],
        floor: Float[Array, ""],
        common: Float[Array, ""],
        x: Float[Array, " node"],
        log_w: Float[Array, " node"],
        sky: Float[Array, " band"],
        source: Float[Array, " band"],
        share: Float[Array, " band"],
        least: Float[Array, " band"],
    ) -> Float[Array, " pair"]:
        flux = jnp.exp(-LN_MAG * mags)
        there, was_lost = measured[:, rows], lost[:, rows]
        f = jnp.where(there, value[:, rows], 0.0)
        quoted = jnp.where(there, error[:, rows] ** 2, 1.0)

        def term(shift: Float[Array, " pair"] | None) -> Float[Array, " pair"]:
            seen = flux if shift is None else flux * jnp.exp(-LN_MAG * shift)[None]
            own = (LN_MAG * floor * seen) ** 2
            chi2 = jnp.where(there, (f - seen) ** 2 / (quoted + own), 0.0).sum(axis=0)
            # One logarithm of the product of σ² over the quoted ones, each 1 or more.
            wider = jnp.where(there, 1.0 + own / quoted, 1.0).prod(axis=0)
            total = -0.5 * (chi2 + jnp.log(wider))
            if any_lost:
                noise = sky[:, None] + source[:, None] * seen + (share[:, None] * seen) ** 2
                z = (least[:, None] - seen) / jnp.sqrt(noise + own)
                total = total + jnp.where(was_lost, log_ndtr(z), 0.0).sum(axis=0)
            return total

        if not shifted:
            return term(None)
        # The proposal of the shift is what the well-measured bands say of it, times its prior.
        good = measured & (value > FAR * error)
        safe = jnp.where(good, value, 1.0)
        weight = jnp.where(good, 1.0 / ((error / safe / LN_MAG) ** 2 + floor**2), 0.0)
        precision = jnp.where(jnp.isfinite(mags), weight[:, rows], 0.0)
        observed = (-jnp.log(safe) / LN_MAG)[:, rows]
        deviation = jnp.where(precision > 0, observed - mags, 0.0)
        total = precision.sum(axis=0) + common**-2
        centre, sd = (precision * deviation).sum(axis=0) / total, total**-0.5

        def node(of: tuple[Float[Array, ""], Float[Array, ""]]) -> Float[Array, " pair"]:
            x, log_w = of
            shift = centre + sd * x
            prior = -0.5 * (shift / common) ** 2 - jnp.log(common)
            proposal = -0.5 * x**2 - jnp.log(sd)
            return term(shift) + prior - proposal + log_w

        return logsumexp(jax.lax.map(node, (x, log_w)), axis=0)

    return jax.jit(program)
