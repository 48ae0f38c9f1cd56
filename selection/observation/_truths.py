"""ln p(d, det | μ) of many pairs of objects and clusters, by the networks of a learned model.

P(det | μ) and the Gaussians of the concentration index belong to the cluster alone, and cost more
than half of all. A library's clusters are compared with hundreds of objects: what is theirs is
found once for each that is met, unless it is averaged over nodes, of which each would have to be
kept.
"""

import functools
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Bool, Float, Float32, Int

from ...networks import MLP
from ..catalogue.photometry import Photometry
from ..operators.photometric import PhotometricNetwork
from ._base import Truths
from .mixture import MixtureDensity, OfCi, Recorded, Shape, Weights, log_density, of_ci, outputs

# Pairs that are evaluated at a time: what they need stays in the cache of a core.
BLOCK = 8192


@runtime_checkable
class Learned(Protocol):
    """What is asked of a `LearnedObservation`."""

    @property
    def density(self) -> MixtureDensity: ...
    @property
    def selection(self) -> PhotometricNetwork: ...
    def recorded(self, data: Photometry) -> Bool[np.ndarray, "n band"]: ...
    def patterns(self, data: Photometry) -> Bool[np.ndarray, "n pattern"]: ...


class _Model(NamedTuple):
    """Networks in single precision, the limits of their magnitudes, and nodes with ln weights."""

    networks: tuple[tuple[Weights, tuple[Array, Array]], ...]
    of_selection: tuple[MLP, ...]
    limits: Float[Array, "band 2"] | Float32[np.ndarray, "band 2"]
    selection_limits: Float[Array, "band 2"] | Float32[np.ndarray, "band 2"]
    nodes: Float[Array, "q k"] | Float32[np.ndarray, "q k"]
    ln_weight: Float[Array, " q"] | Float32[np.ndarray, " q"]

    @classmethod
    def of(cls, observation: Learned) -> "_Model":
        density, selection = observation.density, observation.selection
        if (nuisance := selection.nuisance) is None:
            nodes, ln_weight = np.empty((1, 0), np.float32), np.zeros(1, np.float32)
        else:
            weights = np.asarray(nuisance.weights, float)
            nodes = np.asarray(nuisance.values, np.float32)
            ln_weight = np.log(weights / weights.sum()).astype(np.float32)
        return cls(
            tuple(network.in_single() for network in density.networks),
            selection.networks,
            np.asarray(density.limits, np.float32),
            np.asarray(selection.limits, np.float32),
            nodes,
            ln_weight,
        )


class LearnedTruths(Truths):
    """Of a `LearnedObservation`."""

    observation: Learned  # pyright: ignore[reportIncompatibleVariableOverride]

    @functools.cached_property
    def _model(self) -> _Model:
        return _Model.of(self.observation)

    @functools.cached_property
    def _single(self) -> Float32[np.ndarray, "row band"]:
        return np.asarray(self.mags, np.float32)

    @functools.cached_property
    def _own(self) -> tuple[Float32[np.ndarray, "row value"], Bool[np.ndarray, " row"]]:
        """What `_of_clusters` gives for each cluster, and for which it is known."""
        shape = self.observation.density.shape
        n_values = 1 + (3 * shape.n_ci if shape.concentration and not shape.joint else 0)
        return np.empty((len(self.mags), n_values), np.float32), np.zeros(len(self.mags), bool)

    def _find(self, which: Int[np.ndarray, " pair"]) -> Float32[np.ndarray, "row value"]:
        """What is the clusters' own, of those `which` at least."""
        own, known = self._own
        met = np.zeros(len(known), bool)
        met[which] = True
        new = np.flatnonzero(met & ~known)
        for block, filled in _blocks(len(new)):
            mags = self._single[new[filled]].T
            found = _of_clusters(self.observation.density.shape, self._model, mags)
            own[new[block]] = np.asarray(found).T[: len(block)]
        known[new] = True
        return own

    def log_prob(
        self, data: Photometry, rows: Int[np.ndarray, " pair"], which: Int[np.ndarray, " pair"]
    ) -> Float[np.ndarray, " pair"]:
        observation, shape = self.observation, self.observation.density.shape
        there, known = observation.recorded(data), observation.patterns(data)
        measured = np.where(there, data.mags, 0.0)
        allowed = np.where(known, 0.0, -np.inf).astype(np.float32)
        ci = data.ci if data.ci is not None else np.full(len(data), np.nan)
        possible = known.any(axis=1)
        if shape.concentration:
            possible &= np.isfinite(ci)
            if shape.least_ci is not None:
                possible &= ci >= shape.least_ci
        else:
            ci = np.zeros(len(data))
        if shape.faintest is not None:
            at = shape.reference
            possible &= ~(there[:, at] & (measured[:, at] > shape.faintest))
        objects = _Objects(
            measured.astype(np.float32), there, allowed, np.asarray(ci, np.float32), possible
        )
        own = self._find(which) if len(self._model.nodes) == 1 else None
        found = np.empty(len(rows))
        for block, filled in _blocks(len(rows)):
            of, row = rows[filled], which[filled]
            of_rows = None if own is None else own[row]
            each = _Objects(*(part[of] for part in objects))
            values = _block(shape, self._model, self._single[row], of_rows, each)
            found[block] = np.asarray(values)[: len(block)]
        return found


class _Objects(NamedTuple):
    """What was recorded of objects, or of the objects of pairs, in single precision.

    **Arguments:**

    - `measured`: `(n, band)`, mag; anything where not recorded. `there`: `(n, band)`, recorded.
    - `allowed`: `(n, pattern)`, 0 where a pattern agrees with what is known, else −inf.
    - `ci`: `(n,)`, mag. `possible`: `(n,)`, whether the survey can have recorded it.
    """

    measured: Float[Array, "n band"] | Float32[np.ndarray, "n band"]
    there: Bool[Array, "n band"] | Bool[np.ndarray, "n band"]
    allowed: Float[Array, "n pattern"] | Float32[np.ndarray, "n pattern"]
    ci: Float[Array, " n"] | Float32[np.ndarray, " n"]
    possible: Bool[Array, " n"] | Bool[np.ndarray, " n"]


def _blocks(n: int):
    """Ranges of n, and the same filled up, so that few programs serve all."""
    for start in range(0, n, BLOCK):
        block = np.arange(start, min(start + BLOCK, n))
        size = BLOCK if n > BLOCK else 1 << (n - 1).bit_length()
        yield block, np.resize(block, size)


@functools.partial(jax.jit, static_argnums=0)
def _of_clusters(
    shape: Shape, model: _Model, mags: Float[Array, "band n"]
) -> Float[Array, "value n"]:
    """ln P(det | μ) and, of the sequential form, ln weights, means and sds of c, at one node."""
    ln_p, index = _at_node(shape, model, mags, jnp.asarray(model.nodes)[0])
    return jnp.concatenate([ln_p[None], *(() if index is None else index)])


def _at_node(
    shape: Shape, model: _Model, mags: Float[Array, "band n"], node: Float[Array, " k"]
) -> tuple[Float[Array, " n"], OfCi | None]:
    light = jnp.clip(mags, model.selection_limits[:, :1], model.selection_limits[:, 1:])
    logits = jnp.stack([network(_with(light, node).T) for network in model.of_selection])
    ln_p = logsumexp(jax.nn.log_sigmoid(logits), axis=0) - jnp.float32(np.log(len(logits)))
    if not shape.concentration or shape.joint:
        return ln_p, None
    seen = jnp.clip(mags, model.limits[:, :1], model.limits[:, 1:])
    return ln_p, of_ci(shape, outputs(*model.networks[1], _with(seen, node)))


def _with(mags: Float[Array, "band n"], node: Float[Array, " k"]) -> Float[Array, "input n"]:
    return jnp.concatenate([mags, jnp.broadcast_to(node[:, None], (len(node), mags.shape[1]))])


@functools.partial(jax.jit, static_argnums=0)
def _block(
    shape: Shape,
    model: _Model,
    mags: Float[Array, "n band"],
    own: Float[Array, "n value"] | None,
    objects: _Objects,
) -> Float[Array, " n"]:
    """ln p(d, det | μ) of a block of pairs; `own`: what `_of_clusters` gives, if it is known."""
    light, there = mags.T, jnp.asarray(objects.there).T
    lit = jnp.isfinite(light)
    excess = jnp.where(there & lit, jnp.asarray(objects.measured).T - light, 0.0)
    room = jnp.zeros(len(mags), light.dtype)
    if shape.faintest is not None:
        v = light[shape.reference]
        room = jnp.where(lit[shape.reference], shape.faintest - v, 0.0)
    allowed, ci = jnp.asarray(objects.allowed).T, jnp.asarray(objects.ci)
    data = Recorded(excess, there.astype(light.dtype), allowed, ci, room)
    seen = jnp.clip(light, model.limits[:, :1], model.limits[:, 1:])

    def at(node: Array, ln_w: Array) -> Array:
        if own is None:
            ln_p, index = _at_node(shape, model, light, node)
        else:
            ln_p, values = own[:, 0], own[:, 1:]
            index = None if shape.joint or not shape.concentration else _index_of(values)
        return ln_w + ln_p + log_density(shape, model.networks, _with(seen, node), data, index)

    if len(model.ln_weight) == 1:
        found = at(jnp.asarray(model.nodes)[0], jnp.asarray(model.ln_weight)[0])
    else:
        each = jax.lax.map(lambda one: at(*one), (model.nodes, model.ln_weight))
        found = logsumexp(each, axis=0)
    dark = (there & ~lit).any(axis=0) | jnp.isposinf(light).all(axis=0)
    return jnp.where(objects.possible & ~dark, found, -jnp.inf)


def _index_of(values: Float[Array, "n value"]) -> OfCi:
    return OfCi(*values.T.reshape(3, -1, len(values)))
