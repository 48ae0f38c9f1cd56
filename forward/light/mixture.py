"""Mixtures of Gaussians whose weights, means and covariances are a network of θ.

    p(μ | θ) = Σ_k w_k(θ) N(μ; b(θ) + s(θ) a_k(θ), s(θ)² L_k(θ) L_k(θ)ᵀ)

with b the magnitudes of the mean light of so many stars and s their spread, both closed forms that
leave the network the shapes alone. L_k is a lower triangle. Gaussian errors of covariance S add to
each component's covariance, and a band that is not observed is left out of every component: both
are exact, so that p(m | θ) needs no integral (mixture density networks: Bishop 1994, Neural
Computing Research Group report NCRG/94/004; convolved with errors: Bovy, Hogg & Roweis 2011, Ann.
Appl. Stat. 5, 1657).
"""

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_LN_2PI = math.log(2 * math.pi)
# Of the spread: ln of the least and largest standard deviation along an axis.
_LN_SD = -7.0, 2.5


class Net(NamedTuple):
    """Parameters of a network with SiLU between its layers: `(n_out, n_in)` and `(n_out,)` each."""

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]


class Components(NamedTuple):
    """Gaussians of n clusters.

    **Arguments:**

    - `log_weight`: `(k, n)`, normalised.
    - `mean`: `(k, band, n)`, mag.
    - `triangle`: `(k, entry, n)`, rows of L one after another, mag.
    """

    log_weight: Float[Array, "k n"]
    mean: Float[Array, "k band n"]
    triangle: Float[Array, "k entry n"]

    @property
    def n_bands(self) -> int:
        return self.mean.shape[1]


def per_component(n_bands: int) -> int:
    """Outputs of the network for each component."""
    return 1 + n_bands + n_bands * (n_bands + 1) // 2


def outputs(net: Net, x: Float[Array, "n_in n"]) -> Float[Array, "out n"]:
    """What the network gives for n columns of inputs."""
    h = x
    for layer, (w, b) in enumerate(zip(net.weights, net.biases, strict=True)):
        h = w @ (jax.nn.silu(h) if layer else h) + b[:, None]
    return h


def components(
    out: Float[Array, "out n"],
    centre: Float[Array, "band n"],
    spread: Float[Array, " n"],
) -> Components:
    """The Gaussians that the network's outputs stand for.

    **Arguments:**

    - `centre`: b, mag. `spread`: s, mag.
    """
    n_bands, n = centre.shape
    parts = out.reshape(-1, per_component(n_bands), n)
    mean = centre[None] + spread[None, None] * parts[:, 1 : 1 + n_bands]
    rows = []
    for entry, (i, j) in enumerate(_entries(n_bands)):
        part = parts[:, 1 + n_bands + entry]
        rows.append(spread[None] * (jnp.exp(jnp.clip(part, *_LN_SD)) if i == j else part))
    return Components(jax.nn.log_softmax(parts[:, 0], axis=0), mean, jnp.stack(rows, axis=1))


def covariances(of: Components) -> list[list[Float[Array, "k n"]]]:
    """L Lᵀ of each component: row i holds the columns 0 to i."""
    at = {pair: of.triangle[:, e] for e, pair in enumerate(_entries(of.n_bands))}
    return [
        [sum((at[i, m] * at[j, m] for m in range(1, j + 1)), at[i, 0] * at[j, 0])
         for j in range(i + 1)]
        for i in range(of.n_bands)
    ]  # fmt: skip


def log_terms(
    of: Components,
    mags: Float[Array, "band n"],
    variance: Float[Array, "band n"],
    there: Float[Array, "band n"],
    common: Float[Array, " n"] | Float[Array, ""] | float = 0.0,
) -> Float[Array, "k n"]:
    """ln [w_k N(m; k)] over the bands that are there.

    **Arguments:**

    - `mags`: m; anything where not there. `variance`: of each band's own errors, mag².
    - `there`: 1 where observed, else 0.
    - `common`: variance of an error that all bands share, mag².
    """
    whole = covariances(of)
    shared = jnp.broadcast_to(jnp.asarray(common, mags.dtype), mags.shape[1:])[None]
    n_bands = of.n_bands
    away = jnp.where(there > 0, mags, 0.0)[None] - of.mean
    factor: list[list[Array]] = []
    solved: list[Array] = []
    found = of.log_weight
    for i in range(n_bands):
        row: list[Array] = []
        for j in range(i + 1):
            both = (there[i] * there[j])[None]
            entry = both * (whole[i][j] + shared)
            if i == j:
                # A band that is not there has variance 1 and no deviation, by itself.
                entry = entry + jnp.where(there[i] > 0, variance[i], 1.0)[None]
            for m in range(j):
                entry = entry - row[m] * (row[m] if i == j else factor[j][m])
            row.append(jnp.sqrt(jnp.maximum(entry, 1e-12)) if i == j else entry / factor[j][j])
        rest = there[i][None] * away[:, i]
        for m in range(i):
            rest = rest - row[m] * solved[m]
        factor.append(row)
        solved.append(rest / row[i])
        found = found - 0.5 * solved[i] ** 2 - jnp.log(row[i])
    return found - 0.5 * _LN_2PI * there.sum(axis=0)[None]


def log_density(
    of: Components,
    mags: Float[Array, "band n"],
    variance: Float[Array, "band n"],
    there: Float[Array, "band n"],
    common: Float[Array, " n"] | Float[Array, ""] | float = 0.0,
) -> Float[Array, " n"]:
    """ln p(m | θ), the sum of `log_terms`."""
    return jax.nn.logsumexp(log_terms(of, mags, variance, there, common), axis=0)


def _entries(n_bands: int) -> list[tuple[int, int]]:
    """Row and column of the entries of a lower triangle."""
    return [(i, j) for i, j in itertools.product(range(n_bands), repeat=2) if j <= i]
