"""Densities of what is recorded, as mixtures of Gaussians whose parameters are networks of μ.

Measured less true magnitudes y are, to first order, one number common to all bands, which the size
of a cluster decides, and the concentration index c tells the size. Which bands are recorded is the
pattern s. Two factorisations of p(c, s, y | μ, det) are offered, with k the component:

    sequential   Σ_j v_j(μ) N(c; j) · Σ_k w_k(μ, c) ρ_k(s; μ, c) N(y_s; a_k(μ, c), Σ_k(μ, c))
    joint        Σ_k w_k(μ) N(c; k) ρ_k(s; μ) N(y_s; a_k(μ) + b_k(μ) (c − c_k), Σ_k(μ))

with Σ_k = diag(s_k²) + L_k L_kᵀ of low rank, so that the marginal over bands that nobody looked at
is the same sum over the other bands alone. Cuts of the survey on what is measured are sharp edges,
which no smooth density has: the Gaussian of c, and that of the magnitude of the band of reference,
are those beyond the limits cut off and normalised anew. (Mixture density networks: Bishop 1994,
Neural Computing Research Group report NCRG/94/004.)
"""

import dataclasses
import functools
import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, logsumexp
from jaxtyping import Array, Bool, Float

from starcensus.settings import check_choices

Form = Literal["sequential", "joint"]

_LN_2PI = math.log(2 * math.pi)
# Least sd of a component, mag: no photometry is better, and no mixture sits on a single row.
_LEAST_SD = 3e-4
# Largest of what a network gives as the logarithm of an sd.
_MOST_LN_SD = 1.5
# Pairs farther apart than this have the density of this distance; squares stay in single precision.
_FAR_MAG = 1e4


class Weights(NamedTuple):
    """Parameters of a network: one matrix and one vector for each layer."""

    matrices: tuple[Array, ...]
    vectors: tuple[Array, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """A network of several outputs, with SiLU between its layers.

    **Arguments:**

    - `weights`: one array `(n_out, n_in)` for each layer.
    - `biases`: one array `(n_out,)` for each layer.
    - `mean`, `scale`: `(n_in,)`; the network sees `(x − mean) / scale`.
    """

    weights: tuple[Float[np.ndarray, "_ _"], ...]
    biases: tuple[Float[np.ndarray, "_"], ...]
    mean: Float[np.ndarray, " n_in"]
    scale: Float[np.ndarray, " n_in"]

    def __post_init__(self) -> None:
        width = len(self.mean)
        shapes = [(w.shape, b.shape) for w, b in zip(self.weights, self.biases, strict=True)]
        for w, b in shapes:
            if w[1] != width or b != w[:1]:
                raise ValueError(
                    f"layers have weights and biases of shapes {shapes}; expected each to take "
                    f"what the one before gives, the first {len(self.mean)}"
                )
            width = w[0]
        if self.scale.shape != self.mean.shape or not (self.scale > 0).all():
            raise ValueError(f"scale is {self.scale}; expected {len(self.mean)} positive numbers")

    @property
    def n_out(self) -> int:
        """Number of outputs."""
        return len(self.biases[-1])

    def in_single(self) -> tuple[Weights, tuple[Array, Array]]:
        """Parameters and standardisation, in single precision."""
        single = functools.partial(jnp.asarray, dtype=jnp.float32)
        weights = Weights(tuple(map(single, self.weights)), tuple(map(single, self.biases)))
        return weights, (single(self.mean), single(self.scale))


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a mixture is, without its parameters.

    **Arguments:**

    - `form`: the factorisation, see the module.
    - `n_bands`: number of bands.
    - `n_patterns`: number of patterns of recorded bands.
    - `n_components`: Gaussians of the magnitudes.
    - `n_ci`: Gaussians of the concentration index of the sequential form.
    - `rank`: of L.
    - `concentration`: whether c is among the data.
    - `least_ci`: c is at least this, mag; None for no limit.
    - `reference`, `faintest`: the band, by its column, whose recorded magnitude is at most
      `faintest`, mag; None for no limit.

    Raises `ValueError` for numbers out of their ranges.
    """

    form: Form
    n_bands: int
    n_patterns: int
    n_components: int = 8
    n_ci: int = 6
    rank: int = 1
    concentration: bool = True
    least_ci: float | None = None
    reference: int = 0
    faintest: float | None = None

    def __post_init__(self) -> None:
        check_choices(self)
        for name in ("n_bands", "n_patterns", "n_components", "n_ci"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected 1 or more")
        if self.rank < 0 or not 0 <= self.reference < self.n_bands:
            raise ValueError(
                f"rank is {self.rank} and reference {self.reference}; expected 0 or more, and a "
                f"column of {self.n_bands}"
            )

    @property
    def joint(self) -> bool:
        """Whether c has the components of the magnitudes."""
        return self.concentration and self.form == "joint"

    @property
    def per_component(self) -> int:
        """Outputs for each component of the magnitudes."""
        own = 1 + self.n_bands * (2 + self.rank) + self.n_patterns
        return own + (2 + self.n_bands if self.joint else 0)


class Recorded(NamedTuple):
    """The data of pairs, an object and a cluster each, in single precision.

    **Arguments:**

    - `excess`: `(band, n)`, measured less true magnitudes; anything where not recorded.
    - `there`: `(band, n)`, 1 where recorded, else 0.
    - `allowed`: `(pattern, n)`, 0 where a pattern agrees with what is known of the object, else
      −inf.
    - `ci`: `(n,)`, mag.
    - `room`: `(n,)`, the faintest limit less the true magnitude in the band of reference.
    """

    excess: Float[Array, "band n"]
    there: Float[Array, "band n"]
    allowed: Float[Array, "pattern n"]
    ci: Float[Array, " n"]
    room: Float[Array, " n"]


class Components(NamedTuple):
    """Parameters of the Gaussians of the magnitudes, for n clusters.

    **Arguments:**

    - `log_weight`: `(k, n)`, normalised.
    - `mean`, `sd`: `(k, band, n)`, mag.
    - `loading`: `(rank, k, band, n)`, L, mag.
    - `log_pattern`: `(k, pattern, n)`, ln ρ.
    """

    log_weight: Float[Array, "k n"]
    mean: Float[Array, "k band n"]
    sd: Float[Array, "k band n"]
    loading: Float[Array, "rank k band n"]
    log_pattern: Float[Array, "k pattern n"]


class OfCi(NamedTuple):
    """Parameters of the Gaussians of the concentration index, for n clusters: `(j, n)` each."""

    log_weight: Float[Array, "j n"]
    mean: Float[Array, "j n"]
    sd: Float[Array, "j n"]


def outputs(
    weights: Weights, standard: tuple[Array, Array], x: Float[Array, "k n"]
) -> Float[Array, "out n"]:
    """What a network gives for n columns of inputs."""
    mean, scale = standard
    h = (x - mean[:, None]) / scale[:, None]
    for layer, (w, b) in enumerate(zip(weights.matrices, weights.vectors, strict=True)):
        if layer:
            h = jax.nn.silu(h)
        h = w @ h + b[:, None]
    return h


def of_ci(shape: Shape, out: Float[Array, "out n"]) -> OfCi:
    """The Gaussians of c of the sequential form."""
    parts = out.reshape(shape.n_ci, 3, out.shape[1])
    return OfCi(jax.nn.log_softmax(parts[:, 0], axis=0), parts[:, 1], _sd(parts[:, 2]))


def components(
    shape: Shape, out: Float[Array, "out n"], ci: Float[Array, " n"]
) -> tuple[Components, OfCi | None]:
    """The Gaussians of the magnitudes and, of the joint form, those of c."""
    k, b, r = shape.n_components, shape.n_bands, shape.rank
    parts = out.reshape(k, shape.per_component, out.shape[1])
    ends = np.cumsum([1, b, b, r * b, shape.n_patterns])
    logit, mean, ln_sd, loading, pattern = (
        parts[:, start:stop] for start, stop in zip([0, *ends[:-1]], ends, strict=True)
    )
    log_weight = jax.nn.log_softmax(logit[:, 0], axis=0)
    own = None
    if shape.joint:
        rest = parts[:, ends[-1] :]
        own = OfCi(log_weight, rest[:, 0], _sd(rest[:, 1]))
        mean = mean + rest[:, 2:] * (ci[None] - own.mean)[:, None]
    loading = jnp.moveaxis(loading.reshape(k, r, b, out.shape[1]), 1, 0)
    found = Components(log_weight, mean, _sd(ln_sd), loading, jax.nn.log_softmax(pattern, axis=1))
    return found, own


def _sd(raw: Array) -> Array:
    return _LEAST_SD + jnp.exp(jnp.minimum(raw, _MOST_LN_SD))


def log_of_ci(shape: Shape, of: OfCi, ci: Float[Array, " n"]) -> Float[Array, "j n"]:
    """ln N(c; j), cut off below the limit."""
    z = (ci[None] - of.mean) / of.sd
    found = -0.5 * (z * z + _LN_2PI) - jnp.log(of.sd)
    if shape.least_ci is not None:
        found = found - log_ndtr((of.mean - shape.least_ci) / of.sd)
    return found


def log_of_bands(shape: Shape, of: Components, data: Recorded) -> Float[Array, "k n"]:
    """ln [ρ_k(s) N(y_s; k)], over the recorded bands, cut off beyond the faintest limit.

    The Gaussian of diagonal and low rank by the lemma of Sherman, Morrison and Woodbury.
    """
    there = data.there[None]
    weight = there / (of.sd * of.sd)
    away = jnp.clip(data.excess[None] - of.mean, -_FAR_MAG, _FAR_MAG)
    ln_det = 2 * (jnp.log(of.sd) * there).sum(axis=1)
    # The Cholesky factor of 1 + Lᵀ D⁻¹ L, and of Lᵀ D⁻¹ (y − a) against it, column by column.
    rank = shape.rank
    factor: list[list[Array]] = []
    solved: list[Array] = []
    for i in range(rank):
        row: list[Array] = []
        scaled = of.loading[i] * weight
        for j in range(i + 1):
            entry = (scaled * of.loading[j]).sum(axis=1) + (1.0 if i == j else 0.0)
            entry = entry - sum((row[m] * (factor[j] if j < i else row)[m] for m in range(j)), 0.0)
            row.append(jnp.sqrt(entry) if i == j else entry / factor[j][j])
        right = (scaled * away).sum(axis=1) - sum((row[m] * solved[m] for m in range(i)), 0.0)
        factor.append(row)
        solved.append(right / row[i])
        ln_det = ln_det + 2 * jnp.log(row[i])
    # The most probable g of y = a + L g + noise: the square is the least of |y − a − L g|² + |g|²,
    # two sums of squares, where the lemma's difference would lose single precision's digits.
    shared: dict[int, Array] = {}
    for i in reversed(range(rank)):
        rest = solved[i] - sum((factor[m][i] * shared[m] for m in range(i + 1, rank)), 0.0)
        shared[i] = rest / factor[i][i]
        away = away - of.loading[i] * shared[i][:, None]
    square = (away * away * weight).sum(axis=1) + sum((g * g for g in shared.values()), 0.0)
    n_there = data.there.sum(axis=0)[None]
    found = -0.5 * (square + ln_det + n_there * _LN_2PI)
    if shape.faintest is not None:
        at = shape.reference
        sd = jnp.sqrt(of.sd[:, at] ** 2 + (of.loading[:, :, at] ** 2).sum(axis=0))
        found = found - data.there[at][None] * log_ndtr((data.room[None] - of.mean[:, at]) / sd)
    return found + logsumexp(of.log_pattern + data.allowed[None], axis=1)


def log_density(
    shape: Shape,
    networks: tuple[tuple[Weights, tuple[Array, Array]], ...],
    x: Float[Array, "k n"],
    data: Recorded,
    index: OfCi | None = None,
) -> Float[Array, " n"]:
    """ln p(c, s, y | x) of n pairs.

    **Arguments:**

    - `networks`: that of the magnitudes and, of the sequential form with c, that of c.
    - `x`: `(k, n)`, inputs: true magnitudes within the limits, then nuisance properties.
    - `index`: the Gaussians of c of the sequential form, if they are known.
    """
    inputs = x
    if shape.concentration and not shape.joint:
        inputs = jnp.concatenate([x, data.ci[None]])
    of, own = components(shape, outputs(*networks[0], inputs), data.ci)
    each = of.log_weight + log_of_bands(shape, of, data)
    if own is not None:
        return logsumexp(each + log_of_ci(shape, own, data.ci), axis=0)
    found = logsumexp(each, axis=0)
    if shape.concentration:
        parts = of_ci(shape, outputs(*networks[1], x)) if index is None else index
        found = found + logsumexp(parts.log_weight + log_of_ci(shape, parts, data.ci), axis=0)
    return found


@dataclasses.dataclass(frozen=True, eq=False)
class MixtureDensity:
    """p(c, s, m | μ, det): concentration index, recorded bands and their magnitudes.

    **Arguments:**

    - `shape`: the form of the mixture.
    - `networks`: that of the magnitudes and, of the sequential form with c, that of c.
    - `limits`: `(band, 2)`, brightest and faintest true magnitude of the training; others are moved
      there before a network sees them.
    - `patterns`: `(pattern, band)`, the sets of bands that are recorded together.

    Raises `ValueError` for networks that do not fit the shape.
    """

    shape: Shape
    networks: tuple[Layers, ...]
    limits: Float[np.ndarray, "band 2"]
    patterns: Bool[np.ndarray, "pattern band"]

    def __post_init__(self) -> None:
        s = self.shape
        wanted = [s.n_components * s.per_component]
        wanted += [3 * s.n_ci] if s.concentration and not s.joint else []
        if [network.n_out for network in self.networks] != wanted:
            raise ValueError(
                f"networks have {[n.n_out for n in self.networks]} outputs; expected {wanted}"
            )
        if self.patterns.shape != (s.n_patterns, s.n_bands):
            raise ValueError(
                f"patterns have shape {self.patterns.shape}; expected ({s.n_patterns}, {s.n_bands})"
            )
        if self.limits.shape != (s.n_bands, 2):
            raise ValueError(f"limits have shape {self.limits.shape}; expected ({s.n_bands}, 2)")

    @property
    def n_nuisances(self) -> int:
        """Inputs of the networks beside the magnitudes, and the concentration index."""
        own = self.shape.concentration and not self.shape.joint
        return len(self.networks[0].mean) - self.shape.n_bands - own
