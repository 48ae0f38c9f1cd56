"""From an operator of magnitudes to one of θ, by averaging over the stochastic light of clusters.

p_sel(θ) = ∫ p_sel(m) p(m | θ) dm = E[p_sel(m_j) | θ_j = θ] over simulated clusters j: a regression
of p_j = p_sel(m_j) on θ_j. At each node it is local logistic: neighbours weighted by a kernel K_j
maximise Σ_j K_j [p_j log q_j + (1 − p_j) log(1 − q_j)], logit q_j = β·(1, θ_j − θ), and
p_sel(θ) = sigmoid(β_0). Because the fit conditions on θ_j and has slopes, the density from which
the library was drawn cancels to second order; it decides only how many clusters a node has, and the
bandwidth follows it.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jaxtyping import ArrayLike, Float, PRNGKeyArray
from scipy.special import expit, logit

from starcensus.bands import filter_of
from starcensus.theta import AXES, AXIS_UNITS

from ...simulate import ClusterLibrary
from ._base import SelectionDomainError
from .facts import learned_facts
from .grid import GridSelection
from .photometric import PhotometricNetwork

_EDGE = 1e-9
_NEWTON_STEPS = 25
_CHUNK_NODES = 256


@runtime_checkable
class Photometric(Protocol):
    """What `marginalise` asks of an operator of magnitudes."""

    @property
    def distance_modulus(self) -> float: ...

    @property
    def bands(self) -> tuple[str, ...]: ...

    def p_sel(self, mags: Any) -> Any: ...


@dataclasses.dataclass(frozen=True, eq=False)
class Marginalised:
    """An operator of θ with the figures that say how well the library determines it.

    **Arguments:**

    - `selection`: its members are bootstrap replicates of the library, centred so that their mean
      logit is that of the whole library.
    - `standard_error`: `(log_mass, log_age, a_v)`, standard error of p at each node.
    - `n_effective`: `(log_mass, log_age, a_v)`, effective number of clusters at each node.
    - `bandwidth`: `(log_mass, log_age, a_v)`, reach of the kernel, in units of `widths`.
    """

    selection: GridSelection
    standard_error: Float[np.ndarray, "i j k"]
    n_effective: Float[np.ndarray, "i j k"]
    bandwidth: Float[np.ndarray, "i j k"]


def marginalise(
    photometric: Photometric,
    library: ClusterLibrary,
    log_mass: ArrayLike,
    log_age: ArrayLike,
    a_v: ArrayLike,
    *,
    key: PRNGKeyArray,
    bands: Sequence[str] | None = None,
    widths: tuple[float, float, float] = (0.25, 0.25, 0.5),
    n_neighbours: int = 150,
    max_bandwidth: float = 3.0,
    min_effective: float = 30.0,
    n_members: int = 8,
) -> Marginalised:
    """p_sel(θ) on the grid of the given nodes, from a library of simulated clusters.

    A local logistic regression of the operator's probabilities, see the head of the module.

    **Arguments:**

    - `photometric`: operator of apparent Vega magnitudes, such as `PhotometricNetwork`.
    - `library`: clusters with absolute Vega magnitudes, at the same extinction law and filters as
      the operator's training data.
    - `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag): increasing nodes.
    - `key`: JAX random key of the bootstrap.
    - `bands`: the library's columns that stand for `photometric.bands`, in that order; by default
      its columns as they come.
    - `widths`: dex, dex and mag that count as equal distances.
    - `n_neighbours`: the kernel (tricube) reaches to this neighbour, or to `max_bandwidth` times
      the widths where neighbours are farther.
    - `max_bandwidth`: the farthest reach of the kernel, in units of `widths`.
    - `min_effective`: (Σ K)² / Σ K² must reach this at every node.
    - `n_members`: bootstrap replicates, at least 5.

    Raises `SelectionDomainError` naming the node with the fewest clusters if there are too few, and
    `ValueError` for bands that do not match, or a library whose clusters were chosen by their
    light (it has the column `inclusion`), which is not that of all clusters of their θ.

    ```python
    from starcensus.networks import random_mlp

    networks = (random_mlp((2, 8), key=jax.random.key(0)),)
    limits = np.array([[10.0, 40.0], [10.0, 40.0]])
    photometric = PhotometricNetwork(networks, bands, limits, distance_modulus=29.98)
    nodes = np.array([4.0, 5.0]), np.array([7.0, 8.0]), np.array([1.0, 2.0])
    made = marginalise(
        photometric, library, *nodes, key=jax.random.key(1), max_bandwidth=8.0, min_effective=10.0
    )
    made.selection.p_sel(4.5, 7.5, 1.5), made.standard_error.max()
    ```
    """
    from scipy.spatial import KDTree

    if library.inclusion is not None:
        raise ValueError(
            "the library's clusters were chosen from a pool, by their light or radius; average "
            "over the pool itself"
        )
    if n_members < 5:
        raise ValueError(f"n_members is {n_members}; expected at least 5 bootstrap replicates")
    p = _probabilities(photometric, library, bands)
    nodes = [np.asarray(x, float) for x in (log_mass, log_age, a_v)]
    mesh = np.stack([m.ravel() for m in np.meshgrid(*nodes, indexing="ij")], axis=1)
    scale = np.asarray(widths, float)
    k = min(n_neighbours, len(library))
    found = KDTree(library.theta / scale).query(mesh / scale, k=k)
    distance, neighbour = (np.asarray(part).reshape(len(mesh), k) for part in found)
    # The last neighbour only sets the reach: a tricube gives it no weight.
    reach = np.minimum(distance[:, -1:], max_bandwidth)
    kernel = np.clip(1 - (distance / reach) ** 3, 0, None) ** 3
    n_effective = kernel.sum(1) ** 2 / np.maximum((kernel**2).sum(1), 1e-300)
    shape = tuple(len(x) for x in nodes)
    if n_effective.min() < min_effective:
        worst = mesh[np.argmin(n_effective)]
        point = ", ".join(f"{a} = {v:g} {AXIS_UNITS[a]}" for a, v in zip(AXES, worst, strict=True))
        raise SelectionDomainError(
            f"{int((n_effective < min_effective).sum())} of {len(mesh)} nodes have fewer than "
            f"{min_effective:g} effective clusters; the fewest, {n_effective.min():.1f}, at {point}"
            "; narrow the grid, simulate more clusters there, or raise n_neighbours or "
            "max_bandwidth"
        )
    rng = np.random.default_rng(np.asarray(jax.random.bits(key, (4,)), np.uint32))
    # A Poisson bootstrap: each cluster's weight is drawn once, for every node alike.
    draws = [np.ones(len(p)), *(rng.poisson(1.0, len(p)).astype(float) for _ in range(n_members))]
    fits = np.empty((len(draws), len(mesh)))
    for start in range(0, len(mesh), _CHUNK_NODES):
        part = slice(start, start + _CHUNK_NODES)
        near = neighbour[part]
        offset = (library.theta[near] - mesh[part, None]) / scale
        design = np.concatenate([np.ones((*near.shape, 1)), offset], axis=-1)
        for index, draw in enumerate(draws):
            fits[index, part] = _local_logit(design, p[near], kernel[part] * draw[near])
    whole, replicates = fits[0], fits[1:]
    spread = expit(replicates).std(axis=0, ddof=1)
    members = np.clip(replicates + (whole - replicates.mean(axis=0)), logit(_EDGE), -logit(_EDGE))
    selection = GridSelection.from_probabilities(
        nodes,
        expit(members).reshape(n_members, *shape),
        learned_for=next(iter(learned_facts(photometric)), None),
    )
    return Marginalised(
        selection, spread.reshape(shape), n_effective.reshape(shape), reach[:, 0].reshape(shape)
    )


def _probabilities(
    photometric: Photometric, library: ClusterLibrary, bands: Sequence[str] | None
) -> Float[np.ndarray, "n"]:
    names = library.bands if bands is None else tuple(bands)
    wanted = photometric.bands
    fits = len(names) == len(wanted) and all(
        filter_of(name) == filter_of(band) for name, band in zip(names, wanted, strict=True)
    )
    missing = [name for name in names if name not in library.bands]
    if missing or not fits:
        raise ValueError(
            f"the library's bands {', '.join(names)} cannot stand for {', '.join(wanted)}; "
            f"expected the same filters in the same order, of {', '.join(library.bands)}"
        )
    apparent = library.apparent(photometric.distance_modulus, names)
    if isinstance(photometric, PhotometricNetwork):
        photometric.check_vega()
        photometric = photometric.simulated(photometric.outside)
    return np.clip(np.asarray(photometric.p_sel(apparent), float), _EDGE, 1 - _EDGE)


def _local_logit(
    design: Float[np.ndarray, "node k 4"],
    p: Float[np.ndarray, "node k"],
    weight: Float[np.ndarray, "node k"],
) -> Float[np.ndarray, "node"]:
    """Intercept of the weighted logistic fit at each node, by Newton's method."""
    total = np.maximum(weight.sum(1), 1e-12)
    weight = weight / total[:, None]
    mean = np.clip((weight * p).sum(1), _EDGE, 1 - _EDGE)
    beta = np.zeros((len(p), 4))
    beta[:, 0] = logit(mean)
    # A weak prior on the slopes keeps nodes finite where every p_j is nearly 0 or 1; it is small
    # beside the information m(1 − m) that the neighbours hold.
    prior = np.array([0.0, 1.0, 1.0, 1.0]) * (1e-2 * mean * (1 - mean))[:, None]
    for _ in range(_NEWTON_STEPS):
        q = expit(np.clip(np.einsum("nkd,nd->nk", design, beta), -40, 40))
        gradient = np.einsum("nk,nkd->nd", weight * (p - q), design) - prior * beta
        information = np.einsum("nk,nkd,nke->nde", weight * q * (1 - q), design, design)
        information[:, range(4), range(4)] += prior + 1e-14
        step = np.linalg.solve(information, gradient[..., None])[..., 0]
        # Full steps overshoot where q saturates.
        step *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step).max(1), 1e-12))[:, None]
        beta += step
        if np.abs(step).max() < 1e-6:
            break
    return beta[:, 0]
