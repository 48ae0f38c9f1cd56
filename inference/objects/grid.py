"""Posteriors on a grid of bins: a network's softmax, or a user's own grid.

A network that was trained on clusters with θ spread as π gives P_ib ∝ ∫_b p(d_i|θ) π(θ) dθ of each
bin b. With Π_b = ∫_b π dθ, the mean of the likelihood over the bin under π is P_ib / Π_b, up to a
constant of the object, and

    ∫ p(d_i|θ) λ(θ) dθ ∝ Σ_b P_ib / Π_b ∫_b λ(θ) dθ.

The last integral is a Gauss-Legendre rule in each bin: exact for a likelihood that is constant over
a bin, which is all that a grid knows.
"""

import dataclasses

import equinox as eqx
import numpy as np
from jaxtyping import Float

from starcensus.theta import AXES, Box

from ...selection import AbstractSelection, SurveyFacts
from ...selection.catalogue import Step
from ...selection.finder import FinderPosteriors
from ._base import (
    AbstractObjects,
    ObjectSamples,
    ObjectsError,
    Points,
    check_ids,
    check_theta,
    names_of,
    padded_size,
    with_selection,
)
from .bounds import check_bounds
from .taught import Taught

type Edges = tuple[Float[np.ndarray, " m1"], Float[np.ndarray, " t1"], Float[np.ndarray, " a1"]]
_MIN_SHARE_INSIDE = 1e-3


class GridPosteriors(AbstractObjects):
    """Probabilities of bins in θ for each object, and those of the prior.

    **Arguments:**

    - `source`: where they came from, for messages.
    - `ids`: one for each object, all different.
    - `edges`: edges of the bins in log_mass (log10 M_sun), log_age (log10 yr) and a_v (mag).
    - `posterior`: `(object, mass bin, age bin, a_v bin)`, probability of each bin, of any
      normalisation.
    - `prior`: `(mass bin, age bin, a_v bin)`, probability that the prior gives to each bin, of
      any normalisation: for a network, the share of its training set in it. None: flat in θ.
    - `nodes`: number of nodes of the quadrature in each bin, for each axis.
    - `neglected`: bins with the smallest likelihoods that hold together less than this share of it
      are left out.
    - `cuts`: what was cut on the way.
    - `taught`: what a network was taught, against which an operator is checked.

    Raises `ObjectsError` for shapes that do not fit, edges that do not increase, probabilities that
    are negative or not finite, an object without any, and bins with posterior but without prior.

    ```python
    edges = np.linspace(3.0, 6.0, 4), np.linspace(6.0, 9.0, 4), np.linspace(0.0, 2.0, 3)
    softmax = np.random.default_rng(0).dirichlet(np.ones(18), size=2).reshape(2, 3, 3, 2)
    objects = GridPosteriors("cnn", np.array(["a", "b"]), edges, softmax)
    objects.points().theta
    ```
    """

    source: str
    ids: np.ndarray = eqx.field(converter=names_of)
    edges: Edges
    posterior: Float[np.ndarray, "n m t a"]
    prior: Float[np.ndarray, "m2 t2 a2"] | None = None
    nodes: tuple[int, int, int] = (2, 2, 2)
    neglected: float = 1e-6
    cuts: tuple[Step, ...] = ()
    taught: Taught | None = None

    def __check_init__(self) -> None:
        check_ids(self.source, self.ids)
        for i, (axis, edges) in enumerate(zip(AXES, self.edges, strict=True)):
            if len(edges) < 2 or not np.isfinite(edges).all() or (np.diff(edges) <= 0).any():
                raise ObjectsError(f"{self.source}: the edges of {axis} do not increase: {edges}")
            ends = np.full((2, 3), [5.0, 8.0, 1.0])
            ends[:, i] = edges[[0, -1]]
            check_theta(self.source, ends, "edges")
        if min(self.nodes) < 1 or not 0 <= self.neglected < 0.1:
            raise ObjectsError(
                f"nodes = {self.nodes}, neglected = {self.neglected}; expected 1 or more and "
                "0 to 0.1"
            )
        bins = tuple(len(edges) - 1 for edges in self.edges)
        for what, found, expected in (
            ("the posterior", self.posterior, (len(self.ids), *bins)),
            ("the prior", self.prior, bins),
        ):
            if found is None:
                continue
            if found.shape != expected:
                raise ObjectsError(
                    f"{self.source}: {what} has shape {found.shape}; ids and edges have {expected}"
                )
            if not np.isfinite(found).all() or found.min() < 0:
                raise ObjectsError(
                    f"{self.source}: {what} has values that are negative or not finite; expected "
                    "probabilities of bins"
                )
        if (none := np.flatnonzero(self.posterior.sum(axis=(1, 2, 3)) <= 0)).size:
            raise ObjectsError(
                f"{self.source}: {len(none)} objects have no probability in any bin, the first is "
                f"{self.ids[none[0]]}"
            )
        if self.prior is not None:
            strange = (self.posterior > 0) & (self.prior == 0)
            if (rows := np.flatnonzero(strange.any(axis=(1, 2, 3)))).size:
                raise ObjectsError(
                    f"{self.source}: {len(rows)} objects have probability in bins where the prior "
                    f"has none, the first is {self.ids[rows[0]]}; a posterior cannot: check that "
                    "prior and posterior have the same bins, or leave such bins out"
                )

    @classmethod
    def of_finder(
        cls, found: FinderPosteriors, source: str, nodes: tuple[int, int, int] = (2, 2, 2)
    ) -> "GridPosteriors":
        """What a network says of the clusters that it found, under its training clusters' prior.

        Where it has densities, `PosteriorDraws.of_finder` says more.

        ```python
        from starcensus.networks.cnn import Grid
        from starcensus.selection.finder import FinderPosteriors

        n = Grid().heads()
        flat = np.full((2, n["joint"]), 1 / n["joint"]), np.full((2, n["size"]), 1 / n["size"])
        found = FinderPosteriors(np.array([4, 7]), *flat, flat[0][0], Grid(), np.ones(n["joint"]))
        GridPosteriors.of_finder(found, "a network").box
        ```
        """
        edges, posterior, prior = found.theta_grid()
        names, taught = np.asarray(found.ids).astype(str), Taught(*found.taught_grid())
        return cls(source, names, edges, posterior, prior, nodes, taught=taught)

    @classmethod
    def independent(
        cls,
        source: str,
        ids: np.ndarray,
        edges: Edges,
        posteriors: tuple[
            Float[np.ndarray, "n m"], Float[np.ndarray, "n t"], Float[np.ndarray, "n a"]
        ],
        prior: Float[np.ndarray, "m t a"] | None = None,
        nodes: tuple[int, int, int] = (2, 2, 2),
    ) -> "GridPosteriors":
        """Make it of one softmax for each axis, taken as independent: their product."""
        joint = np.einsum("nm,nt,na->nmta", *posteriors)
        return cls(source, ids, edges, joint, prior, nodes)

    @property
    def box(self) -> Box:
        """What the bins cover."""
        return Box(*((float(edges[0]), float(edges[-1])) for edges in self.edges))

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.cuts

    @property
    def survey(self) -> SurveyFacts | None:
        """A network catalogues by the images of which it says what they are."""
        return None if self.taught is None else SurveyFacts()

    @property
    def exact(self) -> bool:
        return False

    @property
    def remedy(self) -> str:
        return "use finer bins, or more nodes in each"

    def inside(self, box: Box) -> "GridPosteriors":
        """Skip objects of whose likelihood nearly nothing is inside `box`.

        Raises `BoundsError` if `box` cuts through the objects, `ObjectsError` if none is left, or
        if `box` reaches beyond the bins.
        """
        self._check_covers(box)
        mass = self._likelihoods() * self._volumes(self.box)
        cut = self._likelihoods() * self._volumes(box)
        keep = cut.sum(axis=(1, 2, 3)) > _MIN_SHARE_INSIDE * mass.sum(axis=(1, 2, 3))
        if not keep.any():
            raise ObjectsError(
                f"{self.source}: none of the {len(self)} objects lies inside the population's "
                f"bounds {box.as_dict()}; check the bounds and the units"
            )
        check_bounds(self.source, self._shares(mass, box), self.points().theta, self.ids, box)
        reason = f"more than {_MIN_SHARE_INSIDE:g} of the grid's mass inside the bounds"
        step = Step("inside the bounds", len(self), int(keep.sum()), reason)
        return dataclasses.replace(
            self, ids=self.ids[keep], posterior=self.posterior[keep], cuts=(*self.cuts, step)
        )

    def samples(
        self, box: Box, selection: AbstractSelection | None = None, pad: bool = True
    ) -> ObjectSamples:
        """Nodes in the bins of each object, or in what of them lies inside `box`."""
        self._check_covers(box)
        if self.taught is not None and selection is not None:
            self.taught.check(self.source, box, selection)
        likelihoods, volumes = self._likelihoods(), self._volumes(box)
        mass = (likelihoods * volumes).reshape(len(self), -1)
        if (none := np.flatnonzero(mass.sum(axis=1) <= 0)).size:
            raise ObjectsError(
                f"{self.source}: {len(none)} objects have nothing inside {box.as_dict()}, the "
                f"first is {self.ids[none[0]]}; `inside` leaves them out"
            )
        order = np.argsort(-mass, axis=1, kind="stable")
        sorted_mass = np.take_along_axis(mass, order, axis=1)
        held = np.cumsum(sorted_mass, axis=1)
        needed = (held - sorted_mass < (1 - self.neglected) * held[:, -1:]) & (sorted_mass > 0)
        width = int(needed.sum(axis=1).max())
        width = min(padded_size(width), mass.shape[1]) if pad else width
        kept, needed = order[:, :width], needed[:, :width]
        points, weights = self._rule(box)
        log_l = np.log(np.where(needed, np.take_along_axis(_flat(likelihoods), kept, 1), 1.0))
        # Unneeded bins are padding: they take the place of the first, which lies inside.
        kept = np.where(needed, kept, kept[:, :1])
        theta = points[kept].reshape(len(self), -1, 3)
        log_weight = np.log(weights[kept]) + log_l[..., None]
        log_weight = np.where(needed[..., None], log_weight, -np.inf).reshape(len(self), -1)
        log_weight = with_selection(theta, log_weight, selection)
        by_axis = np.ascontiguousarray(np.moveaxis(theta, -1, 0))
        samples = ObjectSamples(by_axis, log_weight, np.ones(len(self), bool))
        return samples.padded(padded_size(len(self))) if pad else samples

    def points(self) -> Points:
        """Means of the posteriors after their prior is divided out, and their central 68%."""
        mass = self._likelihoods() * self._volumes(self.box)
        mass = mass / mass.sum(axis=(1, 2, 3), keepdims=True)
        means, limits = [], []
        for i, edges in enumerate(self.edges):
            along = mass.sum(axis=tuple(k + 1 for k in range(3) if k != i))
            means.append(along @ ((edges[1:] + edges[:-1]) / 2))
            below = np.pad(np.cumsum(along, axis=1), ((0, 0), (1, 0)))
            limits.append([np.interp((0.16, 0.84), row, edges) for row in below])
        low, high = (np.asarray(limits)[:, :, i].T for i in (0, 1))
        words = "means and 68% of the objects' grids, with their prior divided out"
        return Points(np.stack(means, axis=1), low, high, words)

    def _shares(self, mass: Float[np.ndarray, "n m t a"], box: Box) -> Float[np.ndarray, "n 3 2"]:
        """Share of each object below and above `box`."""
        sides = []
        for i, (axis, edges) in enumerate(zip(AXES, self.edges, strict=True)):
            along = mass.sum(axis=tuple(k + 1 for k in range(3) if k != i))
            below = np.pad(np.cumsum(along, axis=1), ((0, 0), (1, 0))) / along.sum(axis=1)[:, None]
            low, high = getattr(box, axis)
            sides.append([[np.interp(low, edges, row), 1 - np.interp(high, edges, row)]
                          for row in below])  # fmt: skip
        return np.moveaxis(np.asarray(sides), 0, 1)

    def _likelihoods(self) -> Float[np.ndarray, "n m t a"]:
        """Mean likelihood of each bin, up to a constant of each object; 0 where P is 0."""
        prior = self._volumes(self.box) if self.prior is None else self.prior
        ratio = self.posterior / np.where(prior > 0, prior, 1.0)
        return ratio / ratio.max(axis=(1, 2, 3), keepdims=True)

    def _inside_edges(self, box: Box) -> list[tuple[np.ndarray, np.ndarray]]:
        """Lower and upper edge of what of each bin is inside, by axis; equal if nothing is."""
        pairs = []
        for axis, edges in zip(AXES, self.edges, strict=True):
            clipped = np.clip(edges, *getattr(box, axis))
            pairs.append((clipped[:-1], clipped[1:]))
        return pairs

    def _volumes(self, box: Box) -> Float[np.ndarray, "m t a"]:
        widths = [high - low for low, high in self._inside_edges(box)]
        return np.einsum("m,t,a->mta", *widths)

    def _rule(self, box: Box) -> tuple[Float[np.ndarray, "bin k 3"], Float[np.ndarray, "bin k"]]:
        """Nodes and weights of the rule in each bin."""
        x, w = [], []
        for (low, high), n in zip(self._inside_edges(box), self.nodes, strict=True):
            unit, weight = np.polynomial.legendre.leggauss(n)
            half = (high - low)[:, None] / 2
            x.append((low + high)[:, None] / 2 + half * unit)
            w.append(half * weight)
        shape = tuple(len(edges) - 1 for edges in self.edges)
        full = (*shape, *self.nodes)
        axes = [
            np.broadcast_to(x[i].reshape([s if k in (i, i + 3) else 1 for k, s in enumerate(full)]),
                            full)
            for i in range(3)
        ]  # fmt: skip
        weights = np.einsum("mi,tj,ak->mtaijk", *w)
        n_bins = int(np.prod(shape))
        return np.stack(axes, axis=-1).reshape(n_bins, -1, 3), weights.reshape(n_bins, -1)

    def _check_covers(self, box: Box) -> None:
        if complaints := box.exceeds(self.box):
            raise ObjectsError(
                f"{self.source}: the population's bounds reach beyond the grid: "
                f"{'; '.join(complaints)}; nothing is known there: narrow the bounds"
            )
        if self.prior is None:
            return
        unknown = (self.prior == 0) & (self._volumes(box) > 0)
        if unknown.any():
            first = np.argwhere(unknown)[0]
            where = ", ".join(
                f"{axis} {edges[i]:g} to {edges[i + 1]:g}"
                for axis, edges, i in zip(AXES, self.edges, first, strict=True)
            )
            raise ObjectsError(
                f"{self.source}: the prior is zero in {int(unknown.sum())} bins inside the "
                f"population's bounds, the first is {where}; the posteriors know nothing there: "
                "narrow the bounds"
            )


def _flat(values: Float[np.ndarray, "n m t a"]) -> Float[np.ndarray, "n bin"]:
    return values.reshape(len(values), -1)
