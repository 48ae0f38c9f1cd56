"""Which simulated clusters may be which observed ones, and with what weight.

The kernel is the observation model itself: nothing is added to the errors to make up for a thin
library. For every object only the rows are looked at whose magnitudes lie within the reach of its
data, found by sorting the rows by one band and by comparing colours, on which a shift that all
bands share has no effect. Of very many such rows, and where few truths lie far out in a wide reach,
of those beyond its core, a sample is looked at, each with the weight of those that it stands for:
no sum is biased.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from ...selection.catalogue.photometry import Photometry
from ...selection.observation import REACH, AbstractObservation, Reach
from ...simulate import Pool
from .rows import SLOPES

# Rows whose kernel is below e^-14 of an object's largest are nothing in a sum: beyond it a
# Gaussian in five bands holds 4e-5.
_NEGLIGIBLE = 14.0
# The reach is as wide as an object's errors or wider, so that χ² by it is too small: at most so.
_SLACK = 1.5
_PAIRS = 1 << 20
# Rows that are looked at in the core of a wide reach, and beyond it.
_IN_CORE, _BEYOND = 16_000, 6000
# Rows that are compared at once, at least.
_SLICE = 4096
# The share of both that is taken evenly: what promises little may be more than that.
_EVENLY = 0.1
# Pairs that an object with a wide reach keeps of these.
_KEPT = 8000
# Samples of those beyond.
_SAMPLES = 16
_THINNED = 1.25


@dataclasses.dataclass(frozen=True, eq=False)
class Pairs:
    """Objects with the rows that may be them, sorted by object.

    **Arguments:**

    - `owner`: `(pair,)`, the object. `row`: `(pair,)`, the row of the pool.
    - `log_kernel`: `(pair,)`, ln p(d, det | μ).
    """

    owner: Int[np.ndarray, " pair"]
    row: Int[np.ndarray, " pair"]
    log_kernel: Float[np.ndarray, " pair"]

    @classmethod
    def none(cls) -> "Pairs":
        """No pairs."""
        return cls(np.zeros(0, int), np.zeros(0, int), np.zeros(0))

    def thinned(self, pool: Pool, n: int, max_rows: int, seed: int = 0) -> "Pairs":
        """About `max_rows` pairs of each object at most, which stand for all that it had.

        Those with the largest weights under `reference_weights` stay as they are; one of weight w
        below a threshold τ stays with probability w/τ, and its kernel is raised to the weight τ. So
        every sum keeps its expectation, and the many small terms become few.

        **Arguments:**

        - `pool`: of which the rows are. `n`: number of objects. `seed`: of the choice.

        ```python
        find_pairs(light, survey, drawn_pool).thinned(drawn_pool, len(light), 1000)
        ```
        """
        counts = np.bincount(self.owner, minlength=n)
        # What was thinned before has as many up to chance, and stays as it is.
        many = counts > _THINNED * max_rows
        if not many.any():
            return self
        weight = reference_weights(self, pool, n)
        rng = np.random.default_rng(seed)
        ends = np.cumsum(counts)
        kept, raised = np.ones(len(weight), bool), np.zeros(len(weight))
        for start, stop in zip((ends - counts)[many], ends[many], strict=True):
            own = weight[start:stop]
            tau = _threshold(own, max_rows)
            p = np.minimum(1.0, own / tau)
            kept[start:stop] = rng.uniform(size=len(own)) < p
            with np.errstate(divide="ignore"):
                raised[start:stop] = -np.log(p)
        return Pairs(self.owner[kept], self.row[kept], (self.log_kernel + raised)[kept])

    def joined(self, other: "Pairs", n_before: int) -> "Pairs":
        """With pairs of rows that come after the first `n_before` of the pool."""
        owner = np.concatenate([self.owner, other.owner])
        row = np.concatenate([self.row, other.row + n_before])
        log_kernel = np.concatenate([self.log_kernel, other.log_kernel])
        order = np.argsort(owner, kind="stable")
        return Pairs(owner[order], row[order], log_kernel[order])


def find_pairs(
    data: Photometry,
    observation: AbstractObservation,
    pool: Pool,
    scale: float = 1.0,
    objects: Int[np.ndarray, " some"] | None = None,
    progress: Callable[[str], None] = lambda _: None,
    most: int | None = None,
) -> Pairs:
    """All pairs with a weight that counts.

    **Arguments:**

    - `data`, `observation`: what was recorded, and by what survey.
    - `pool`: simulated clusters.
    - `scale`: how many times wider than its reach an object looks; the kernel is then as wide, its
      logarithm divided by the square.
    - `objects`: the objects to look at, by default all.
    - `most`: rows of an object that the kernel is evaluated for, about; of more within its reach
      each is looked at in proportion to what it promises, and has the weight of those left out.

    ```python
    find_pairs(light, survey, drawn_pool).row
    ```
    """
    chosen = np.arange(len(data)) if objects is None else objects
    mags = apparent(pool, observation)
    log_weight = _reference(pool).astype(np.float32)
    truths = observation.truths(mags)
    search = _search(mags.astype(np.float32), observation.reach(data), scale, log_weight, most)
    found: list[Pairs] = []
    for owner, row, log_share in _batches(search, chosen):
        log_kernel = np.asarray(truths.log_prob(data, owner, row), float) / scale**2
        raised = log_kernel - log_share
        # A row that stands for many counts as they do, one that stands for itself by itself.
        kept = np.zeros(len(row), bool)
        for each in (log_kernel, raised):
            top = np.full(len(data), -np.inf)
            np.maximum.at(top, owner, each)
            with np.errstate(invalid="ignore"):
                kept |= each > top[owner] - _NEGLIGIBLE
        each = Pairs(owner[kept], row[kept], raised[kept])
        if isinstance(search, _InTwo):
            each = each.thinned(pool, len(data), _KEPT if most is None else most)
        found.append(each)
        progress(f"comparing clusters with simulated ones: {int(owner.max(initial=0)) + 1}")
    if not found:
        return Pairs.none()
    columns = [(each.owner, each.row, each.log_kernel) for each in found]
    return Pairs(*(np.concatenate(of) for of in zip(*columns, strict=True)))


def _threshold(weight: Float[np.ndarray, " row"], n: int) -> float:
    """τ with Σ min(1, w/τ) = n."""
    falling = np.sort(weight)[::-1]
    rest = falling.sum() - np.cumsum(falling)
    # With the k largest kept for certain, the others share n − k.
    k = np.arange(1, n)
    tau = rest[:n][k - 1] / (n - k)
    good = np.flatnonzero(tau <= falling[:n][k - 1])
    return float(tau[good[0]]) if len(good) and tau[good[0]] > 0 else float(weight.sum() / n)


def effective_clusters(pairs: Pairs, pool: Pool, n: int) -> Float[np.ndarray, " n"]:
    """Effective number of simulated clusters of each object, under dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2).

    The rows of one cluster behind different dust count as one draw; 0 for an object without any.

    **Arguments:**

    - `pairs`: of the objects and the pool. `n`: number of objects.

    ```python
    effective_clusters(find_pairs(light, survey, drawn_pool), drawn_pool, len(light))
    ```
    """
    weight = reference_weights(pairs, pool, n)
    cluster = pool.cluster[pairs.row]
    starts = (np.diff(pairs.owner) != 0) | (np.diff(cluster) != 0)
    draw = np.concatenate([[0], np.cumsum(starts)]) if len(weight) else pairs.owner
    squares = np.bincount(pairs.owner, np.bincount(draw, weight)[draw] * weight, n)
    total = np.bincount(pairs.owner, weight, n)
    return np.where(squares > 0, total**2 / np.where(squares > 0, squares, 1.0), 0.0)


def reference_weights(pairs: Pairs, pool: Pool, n: int) -> Float[np.ndarray, " pair"]:
    """Weights of the pairs under the reference, in units of the largest of each object.

    **Arguments:**

    - `pairs`: of the objects and the pool. `n`: number of objects.

    ```python
    reference_weights(find_pairs(light, survey, drawn_pool), drawn_pool, len(light)).max()  # 1.0
    ```
    """
    log_w = pairs.log_kernel + _reference(pool)[pairs.row]
    top = np.full(n, -np.inf)
    np.maximum.at(top, pairs.owner, log_w)
    return np.exp(log_w - top[pairs.owner])


def _reference(pool: Pool) -> Float[np.ndarray, " row"]:
    """ln of the rows' weights under dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2)."""
    return pool.log_weight + pool.theta @ np.asarray(SLOPES)


def apparent(pool: Pool, observation: AbstractObservation) -> Float[np.ndarray, "row band"]:
    """Apparent magnitudes of the pool in the survey's bands, in its order.

    Raises `ValueError` for bands that the pool lacks.

    ```python
    apparent(drawn_pool, survey)
    ```
    """
    lacking = [band for band in observation.bands if band not in pool.bands]
    if lacking:
        raise ValueError(
            f"the library has no {', '.join(lacking)}; it has {', '.join(pool.bands)}: draw one in "
            f"the bands of the survey, {', '.join(observation.bands)}"
        )
    columns = [pool.bands.index(band) for band in observation.bands]
    return pool.abs_mags[:, columns].astype(np.float64) + observation.distance_modulus


def _batches(
    search: "_Search | _InTwo", objects: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Candidates of whole objects, some million at a time: objects, rows, and ln of the share of
    all such rows that each of them is."""
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    held = 0
    for i in objects:
        row, log_share = search.near(int(i))
        if not len(row):
            continue
        parts.append((np.full(len(row), i), row, log_share))
        held += len(row)
        if held > _PAIRS:
            yield tuple(map(np.concatenate, zip(*parts, strict=True)))  # pyright: ignore
            parts, held = [], 0
    if held:
        yield tuple(map(np.concatenate, zip(*parts, strict=True)))  # pyright: ignore


@dataclasses.dataclass(frozen=True, eq=False)
class _Promise:
    """How many rows of an object are looked at, and ln of every row's weight but for the kernel."""

    log_weight: Float32[np.ndarray, " row"]
    most: int

    def chosen(
        self, i: int, row: Int[np.ndarray, " some"], chi2: Float32[np.ndarray, " some"]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which rows of object i are looked at, and ln of the probability of each."""
        # χ² by a reach that is wider than the errors: what is promised falls off more slowly yet.
        promise = self.log_weight[row] - chi2 / (2 * _SLACK)
        weight = np.exp(promise - promise.max()).astype(np.float64)
        p = np.minimum(1.0, weight / _threshold(weight, self.most))
        kept = _systematic(p, np.random.default_rng((i, len(row))).uniform())
        return kept, np.log(p[kept])


def _search(
    mags: Float32[np.ndarray, "row band"],
    reach: Reach,
    scale: float,
    log_weight: Float32[np.ndarray, " row"],
    most: int | None,
) -> "_Search | _InTwo":
    promise = None if most is None else _Promise(log_weight, most)
    if reach.core >= REACH:
        return _Search(mags, reach, scale, promise=promise)
    return _InTwo(mags, reach, scale, log_weight)


class _Search:
    """Rows near an object: first by one band, then by the colours against it."""

    def __init__(
        self,
        mags: Float32[np.ndarray, "row band"],
        reach: Reach,
        scale: float,
        among: Int[np.ndarray, " some"] | None = None,
        promise: _Promise | None = None,
        log_weight: Float32[np.ndarray, " row"] | None = None,
    ) -> None:
        self._promise, self._log_weight = promise, log_weight
        self._mags, self._centre = mags, reach.centre
        self._sd, self._common = scale * reach.sd, scale * reach.common
        there = np.isfinite(mags).all(axis=1)
        self._lit = np.flatnonzero(there) if among is None else among[there[among]]
        self._sorted: dict[int, _Sorted] = {}

    def near(self, i: int) -> tuple[Int[np.ndarray, " some"], Float[np.ndarray, " some"]]:
        """Rows that may be object i, in order, and ln of the probability that each is looked at."""
        row, chi2 = self.within(i)
        share = np.zeros(len(row))
        if chi2 is None or not len(row):
            return row, share
        near = chi2 <= chi2.min() + 2 * _SLACK * _NEGLIGIBLE
        row, chi2, share = row[near], chi2[near], share[near]
        if self._promise is not None and len(row) > _THINNED * self._promise.most:
            kept, share = self._promise.chosen(i, row, chi2)
            row = row[kept]
        order = np.argsort(row, kind="stable")
        return row[order], share[order]

    def within(
        self, i: int
    ) -> tuple[Int[np.ndarray, " some"], Float32[np.ndarray, " some"] | None]:
        """Rows whose colours are within the reach of object i, and χ²; None if all are."""
        if (part := self._part(i)) is None:
            return self._lit, None
        at = part.low - part.start
        chi2 = np.asarray(_distances(*part.asked, part.n))[at : at + part.length]
        kept = np.flatnonzero(chi2 < np.inf)
        return part.order[part.low + kept], chi2[kept]

    def promised(
        self, i: int, most: int
    ) -> tuple[Int[np.ndarray, " some"], Float[np.ndarray, " some"]]:
        """About `most` rows within the reach of object i, by `_chances` of their weights and χ²,
        and ln of the probability of each; of all if they are fewer."""
        assert self._log_weight is not None
        if (part := self._part(i)) is None:
            order, p = self._lit, np.asarray(_chances(self._log_weight[self._lit], most, _EVENLY))
        else:
            at = part.low - part.start
            where = part.n, part.log_weight, at, part.length
            p = np.asarray(_promises(*part.asked, *where, most, _EVENLY))
            order, p = part.order[part.low : part.low + part.length], p[at : at + part.length]
        kept = _systematic(p, np.random.default_rng((i, len(p))).uniform())
        return order[kept], np.log(p[kept].astype(float))

    def _part(self, i: int) -> "_Part | None":
        """Rows near object i in one band; None if no band restricts it."""
        centre, sd = self._centre[i], self._sd[i]
        bands = np.isfinite(centre)
        if not bands.any():
            return None
        first = int(np.flatnonzero(bands)[np.argmin(sd[bands])])
        order, values, mags, log_weight = self._by(first)
        half = REACH * np.hypot(sd[first], self._common[i])
        low, high = np.searchsorted(values, [centre[first] - half, centre[first] + half])
        # Slices of few lengths, so that few programs serve all objects.
        n = min(len(order), max(_SLICE, 1 << int(high - low).bit_length()))
        start = min(int(low), len(order) - n)
        asked = (
            mags,
            start,
            np.where(bands, centre, 0.0).astype(np.float32),
            np.where(bands, sd, np.inf).astype(np.float32),
            np.float32(self._common[i]),
            first,
        )
        return _Part(order, log_weight, int(low), int(high - low), start, n, asked)

    def _by(self, band: int) -> "_Sorted":
        """Rows in the order of a band."""
        if band not in self._sorted:
            order = self._lit[np.argsort(self._mags[self._lit, band], kind="stable")]
            mags = self._mags[order]
            weights = None if self._log_weight is None else jnp.asarray(self._log_weight[order])
            of_band = mags[:, band].copy()
            self._sorted[band] = _Sorted(order, of_band, jnp.asarray(mags.T), weights)
        return self._sorted[band]


class _Sorted(NamedTuple):
    """Rows in the order of a band, their magnitudes there and in every band, and ln of weights."""

    order: Int[np.ndarray, " row"]
    values: Float32[np.ndarray, " row"]
    mags: Float32[Array, "band row"]
    log_weight: Float32[Array, " row"] | None


class _Part(NamedTuple):
    """`length` sorted rows from `low` on, which are among the n from `start` on, and the arguments
    of `_distances` but for n."""

    order: Int[np.ndarray, " row"]
    log_weight: Float32[Array, " row"] | None
    low: int
    length: int
    start: int
    n: int
    asked: tuple[Any, ...]


@functools.partial(jax.jit, static_argnums=6)
def _distances(
    mags: Float32[Array, "band row"],
    start: int | Int[Array, ""],
    centre: Float32[Array, " band"],
    sd: Float32[Array, " band"],
    common: Float32[Array, ""],
    first: int | Int[Array, ""],
    n: int,
) -> Float32[Array, " n"]:
    """χ² of n rows from the one at `start`, whatever shift of all bands is the most probable; ∞
    where a colour against the `first` band is out of reach."""
    away = jax.lax.dynamic_slice(mags, (0, start), (len(mags), n)) - centre[:, None]
    weight = sd**-2.0
    total = weight.sum()
    shift = (weight[:, None] * away).sum(axis=0) / total
    square = (weight[:, None] * (away - shift[None]) ** 2).sum(axis=0)
    square = square + shift**2 / (1 / total + common**2)
    most = REACH * jnp.sqrt(sd**2 + sd[first] ** 2)
    near = (jnp.abs(away - away[first][None]) <= most[:, None]).all(axis=0)
    return jnp.where(near, square, jnp.inf)


class _InTwo:
    """Rows in the core of a wide reach, and a sample of those beyond it.

    Of very many in the core, most are looked at in proportion to what they promise by their weight
    and χ², and some evenly: in magnitudes of many bands most of a core is far from its centre, and
    rows that were taken evenly alone would be as few near it, however large the library.
    """

    def __init__(
        self,
        mags: Float32[np.ndarray, "row band"],
        reach: Reach,
        scale: float,
        log_weight: Float32[np.ndarray, " row"],
    ) -> None:
        p = np.asarray(_chances(log_weight, _BEYOND, _EVENLY), float)
        self._log_share = np.log(p)
        # Objects take turns with samples, so that their errors are not one error.
        rng, n = np.random.default_rng(len(mags)), max(1, min(_SAMPLES, len(mags) // _BEYOND))
        samples = [np.flatnonzero(rng.uniform(size=len(mags)) < p) for _ in range(n)]
        self._core = (reach.core / REACH) ** 2
        self._inner = _Search(mags, reach, scale * reach.core / REACH, log_weight=log_weight)
        self._outer = [_Search(mags, reach, scale, some) for some in samples]

    def near(self, i: int) -> tuple[Int[np.ndarray, " some"], Float[np.ndarray, " some"]]:
        """Rows that may be object i, in order, and ln of the share of all such that each is."""
        inside, log_p = self._inner.promised(i, _IN_CORE)
        turn = i % len(self._outer)
        beyond, chi2 = self._outer[turn].within(i)
        outside = np.zeros(0, int)
        if chi2 is not None:
            outside = beyond[(chi2 <= REACH**2) & (chi2 > REACH**2 * self._core)]
        row = np.concatenate([inside, outside])
        share = np.concatenate([log_p, self._log_share[outside]])
        order = np.argsort(row, kind="stable")
        return row[order], share[order]


@functools.partial(jax.jit, static_argnums=(6, 10, 11))
def _promises(
    mags: Float32[Array, "band row"],
    start: int | Int[Array, ""],
    centre: Float32[Array, " band"],
    sd: Float32[Array, " band"],
    common: Float32[Array, ""],
    first: int | Int[Array, ""],
    n: int,
    log_weight: Float32[Array, " row"],
    low: int | Int[Array, ""],
    count: int | Int[Array, ""],
    most: int,
    evenly: float,
) -> Float32[Array, " n"]:
    """`_chances` of the `count` rows from `low` on of those that `_distances` has."""
    chi2 = _distances(mags, start, centre, sd, common, first, n)
    at = jnp.arange(n)
    near = (at >= low) & (at < low + count) & (chi2 <= REACH**2)
    weight = jax.lax.dynamic_slice(log_weight, (start,), (n,))
    return _chances(jnp.where(near, weight - chi2 / (2 * _SLACK), -jnp.inf), most, evenly)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _chances(promise: Float32[Array, " row"], most: int, evenly: float) -> Float32[Array, " row"]:
    """Of each row to be among about `most`, by ln of what it promises, and a share `evenly`; 0
    where that is −∞."""
    there = (promise > -jnp.inf).astype(promise.dtype)
    n = jnp.maximum(there.sum(), 1.0)
    top = promise.max()
    weight = jnp.exp(promise - jnp.where(jnp.isfinite(top), top, 0.0))
    p = (1 - evenly) * most / weight.sum() * weight + there * (evenly * most / n)
    return jnp.where(n <= most, there, jnp.minimum(p, 1.0))


def _systematic(
    p: Float[np.ndarray, " row"] | Float32[np.ndarray, " row"], u: float
) -> Int[np.ndarray, " some"]:
    """Rows, each with its probability, by one uniform number for all of them."""
    if not len(p):
        return np.zeros(0, int)
    ends = np.cumsum(p, dtype=np.float64)
    return np.searchsorted(ends, np.arange(u, ends[-1]))
