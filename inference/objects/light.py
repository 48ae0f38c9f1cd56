"""Objects of which a survey measured the light: p(d|θ) by simulated clusters.

    ∫ p(d_i, det | θ) λ(θ) dθ = ∫∫ p(d_i, det | μ) p(μ | θ) λ(θ) dμ dθ
                              ≈ Σ_j p(d_i, det | μ_j) λ(θ_j) / (n π(θ_j))

over the rows j of a `Pool`, n clusters with stochastic light μ_j and θ_j drawn from π. The same
observation model gives p_sel(θ) = E[P(det | μ) | θ] for the expected number, so that no one has to
say whether the survey's cuts act on what was measured or on the truth.
"""

import dataclasses
from typing import Literal

import equinox as eqx
import numpy as np
from jaxtyping import Bool, Float

from starcensus.settings import check_choices
from starcensus.theta import Box

from ...forward import Population, QuadratureSettings
from ...selection import AbstractSelection
from ...selection.catalogue import Step
from ...selection.catalogue.photometry import Photometry
from ...selection.observation import AbstractObservation
from ...simulate import Pool
from ._base import ObjectsError, Points, check_ids, names_of
from .bounds import check_bounds
from .kernel import Pairs, apparent, effective_clusters, find_pairs
from .measured import MeasuredLight
from .nodes import FINER, NodeSamples, Rules, deposit, rules_of_box
from .pool_grid import PoolGrid
from .rows import SLOPES, RowSamples

# Pairs whose kernel is taken anew at a time.
_PAIRS = 1 << 20
# Rows for which the kernel is evaluated, for each that an object keeps.
_LOOKED_AT = 4


@dataclasses.dataclass(frozen=True)
class LightSettings:
    """How the light of objects is turned into a likelihood.

    **Arguments:**

    - `form`: `"nodes"`, each object's rows deposited on the nodes of a rule, or `"rows"`, as they
      are.
    - `panels`: dex, dex and mag, widest panels of the rule.
    - `order`: nodes in each panel.
    - `max_rows`: rows of each object, about; of those with more, a few stand for the many that
      have small weights (`Pairs.thinned`), and the kernel is evaluated for four times as many.

    ```python
    LightSettings(form="rows")
    ```
    """

    form: Literal["nodes", "rows"] = "nodes"
    panels: tuple[float, float, float] = (0.2, 0.15, 0.2)
    order: int = 2
    max_rows: int = 2000

    def __post_init__(self) -> None:
        check_choices(self)
        if min(self.panels) <= 0 or self.order < 2 or self.max_rows < 100:
            raise ValueError(
                f"panels are {self.panels}, order is {self.order}, max_rows {self.max_rows}; "
                "expected widths above 0, 2 nodes or more, and 100 rows or more"
            )

    def rules(self, box: Box, corners: tuple[float, ...] = (), linear: bool = False) -> Rules:
        """Rules of the axes of θ inside `box`; further arguments as of `rules_of_box`."""
        return rules_of_box(box, self.panels, self.order, corners, linear)


class LightObjects(MeasuredLight):
    """Clusters with measured light, and the simulated ones that explain them.

    **Arguments:**

    - `data`: what was recorded of each.
    - `observation`: the survey; it judges what it records and what it catalogues.
    - `pool`: simulated clusters, `Pool.of` a library or `drawn_to_order`.
    - `settings`: nodes of the likelihood and of the selection.
    - `pairs`, `p_rows`: what `find_pairs` gave, and P(det | μ) of the pool's rows, if known.

    Raises `ObjectsError` for data that the observation model cannot have recorded, and for bands
    that the pool lacks.

    ```python
    LightObjects(light, survey, drawn_pool).points().theta
    ```
    """

    data: Photometry
    observation: AbstractObservation
    pool: Pool
    settings: LightSettings = LightSettings()
    pairs: Pairs | None = None
    p_rows: Float[np.ndarray, " row"] | None = None
    cuts: tuple[Step, ...] = ()
    ids: np.ndarray = eqx.field(init=False)
    source: str = eqx.field(init=False)

    def __post_init__(self) -> None:
        self.ids = names_of(self.data.ids)
        self.source = self.data.source
        check_ids(self.source, self.ids)
        if self.pairs is None:
            try:
                self.observation.check(self.data)
                most = _LOOKED_AT * self.settings.max_rows
                self.pairs = find_pairs(self.data, self.observation, self.pool, most=most)
            except ValueError as error:
                raise ObjectsError(str(error)) from error
        assert self.pairs is not None
        self.pairs = self.pairs.thinned(self.pool, len(self), self.settings.max_rows)
        if self.p_rows is None:
            mags = apparent(self.pool, self.observation)
            self.p_rows = np.asarray(self.observation.p_sel(mags), float)

    @property
    def steps(self) -> tuple[Step, ...]:
        return (*self.data.steps, *self.cuts)

    @property
    def remedy(self) -> str:
        return "draw more simulated clusters where these are"

    def remedy_for(self, times: float) -> str:
        n = len(np.unique(self.pool.cluster))
        if not 1 < times < np.inf:
            return self.remedy
        return f"draw about {n * (times - 1):,.0f} simulated clusters more (there are {n:,})"

    def expected(
        self,
        population: Population,
        selection: AbstractSelection,
        settings: QuadratureSettings | None = None,
    ) -> PoolGrid:
        """Of the simulated clusters; `ObjectsError` if the pool does not cover the bounds, or for
        objects of a part of the survey whose selection is not known."""
        self._check_expected()
        return self.pool_grid(population.box, population.extinction.corners())

    def pool_grid(self, box: Box, corners: tuple[float, ...] = ()) -> PoolGrid:
        """The expected number of catalogued clusters inside `box`, as a sum over nodes.

        Raises `ObjectsError` if the pool does not cover `box`.
        """
        self._check_covers(box)
        assert self.p_rows is not None
        facts = self.observation.learned_for
        beyond = self.observation.beyond(apparent(self.pool, self.observation))
        rules = self.settings.rules(box, corners)
        return PoolGrid.of(self.pool, self.p_rows, box, rules, facts, beyond)

    def inside(self, box: Box) -> "LightObjects":
        """The objects, after `check_bounds`; every one must have rows inside `box`.

        Raises `BoundsError` if `box` cuts through the objects, `ObjectsError` if it reaches beyond
        the pool, or for objects that no simulated cluster is like.
        """
        self._check_covers(box)
        pairs = self._pairs
        inside = self._within(box)
        n_rows = np.bincount(pairs.owner[inside], minlength=len(self))
        if (none := np.flatnonzero(n_rows == 0)).size:
            shown = ", ".join(str(self.ids[i]) for i in none[:5])
            raise ObjectsError(
                f"{self.source}: {len(none)} of {len(self)} clusters are like no simulated one "
                f"inside {box.as_dict()}: {shown}{', …' if len(none) > 5 else ''}. Draw more "
                "simulated clusters where these are; if that does not help, the stars, the dust, "
                "the errors or the bounds cannot explain them: widen what may be wrong, or leave "
                "them out with a cut that the report names"
            )
        check_bounds(self.source, self._shares(box), self.points().theta, self.ids, box)
        reason = "some simulated cluster inside the bounds is like it"
        step = Step("inside the bounds", len(self), len(self), reason)
        return dataclasses.replace(self, cuts=(*self.cuts, step))

    def effective(self) -> Float[np.ndarray, " n"]:
        """Effective number of simulated clusters that each object is like, `(n,)`.

        0 where there are none; see `effective_clusters`.

        ```python
        objects.effective().min()
        ```
        """
        return effective_clusters(self._pairs, self.pool, len(self))

    def explained(self, min_effective: float = 2.0) -> "LightObjects":
        """Without the objects that hardly any simulated cluster is like.

        What no cluster of the library resembles, in spite of many drawn where it is, is a blend, a
        mistake of the photometry, or light that the stars do not give. The step says which were
        left out, and their share belongs into the report.

        **Arguments:**

        - `min_effective`: effective simulated clusters that an object must have, under
          dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2).

        ```python
        len(objects.explained(min_effective=1.0))
        ```
        """
        kept = self.effective() >= min_effective
        if kept.all():
            return self
        left = ", ".join(str(i) for i in self.ids[~kept])
        reason = f"{min_effective:g} effective simulated clusters are like it; left out: {left}"
        step = Step("explained", len(self), int(kept.sum()), reason)
        return dataclasses.replace(self.taking(kept), cuts=(*self.cuts, step))

    def taking(self, kept: Bool[np.ndarray, " n"]) -> "LightObjects":
        """Those of a mask, with the simulated clusters that they had.

        ```python
        objects.taking(objects.data.mags[:, 0] < 25.0)
        ```
        """
        pairs, there = self._pairs, kept[self._pairs.owner]
        number = np.cumsum(kept) - 1
        return dataclasses.replace(
            self,
            data=self.data.take(kept),
            pairs=Pairs(number[pairs.owner[there]], pairs.row[there], pairs.log_kernel[there]),
        )

    def of_halves(self) -> tuple["LightObjects", ...]:
        """The same objects and simulated clusters under each of the observation model's `halves`.

        Which simulated clusters stand for others was chosen under the model of all injections, and
        stays: sums keep their expectation. Raises `ObjectsError` for halves of other bands, or of
        another distance.

        ```python
        len(objects.of_halves())  # 0, unless its observation model has halves
        ```
        """
        halves = self.observation.halves
        if not halves:
            return ()
        own = self.observation.bands, self.observation.distance_modulus
        for half in halves:
            if (half.bands, half.distance_modulus) != own:
                raise ObjectsError(
                    f"a half of the observation model has bands {', '.join(half.bands)} and the "
                    f"distance modulus {half.distance_modulus:g}; expected {', '.join(own[0])} and "
                    f"{own[1]:g}, those of the whole"
                )
        pairs, mags = self._pairs, apparent(self.pool, self.observation)
        change = np.empty((len(halves), len(pairs.row)))
        whole, *parts = (each.truths(mags) for each in (self.observation, *halves))
        for start in range(0, len(pairs.row), _PAIRS):
            some = slice(start, start + _PAIRS)
            owner, row = pairs.owner[some], pairs.row[some]
            of_whole = whole.log_prob(self.data, owner, row)
            for k, part in enumerate(parts):
                change[k, some] = part.log_prob(self.data, owner, row) - of_whole
        for k, more in enumerate(change):
            there = np.bincount(pairs.owner[np.isfinite(more)], minlength=len(self)) > 0
            if not there.all():
                lost = self.ids[~there]
                raise ObjectsError(
                    f"{self.source}: half {k} of the observation model cannot have recorded "
                    f"{len(lost)} of {len(self)} clusters, the first is {lost[0]}; learn from more "
                    "injections, where these are"
                )
        return tuple(
            dataclasses.replace(
                self,
                observation=half,
                pairs=dataclasses.replace(pairs, log_kernel=pairs.log_kernel + more),
                p_rows=np.asarray(half.p_sel(mags), float),
            )
            for half, more in zip(halves, change, strict=True)
        )

    def rows(self, box: Box) -> RowSamples:
        """Rows inside `box` with their weights, for every object."""
        pairs, inside = self._pairs, self._within(box)
        row = pairs.row[inside]
        return RowSamples(
            np.ascontiguousarray(self.pool.theta[row].T),
            pairs.log_kernel[inside] + self.pool.log_weight[row],
            pairs.owner[inside],
            self.pool.cluster[row],
            np.ones(len(self), bool),
        )

    def samples(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, box: Box, selection: AbstractSelection | None = None, pad: bool = True
    ) -> RowSamples | NodeSamples:
        """Rows inside `box`, or their deposit on nodes; `selection` and `pad` are of no effect."""
        rows = self.rows(box)
        if self.settings.form == "rows":
            return rows
        return deposit(rows, self.settings.rules(box))

    def within(
        self, population: Population, selection: AbstractSelection
    ) -> RowSamples | NodeSamples:
        return self.summed(population)

    def summed(self, population: Population) -> RowSamples | NodeSamples:
        """Rows inside the population's bounds, or their deposit on nodes that suit its dust.

        ```python
        objects.summed(population).log_terms
        ```
        """
        rows, dust = self.rows(population.box), population.extinction
        if self.settings.form == "rows":
            return rows
        return deposit(rows, self.settings.rules(population.box, dust.corners(), dust.linear))

    def with_finer_nodes(self) -> "LightObjects":
        """On panels 0.7 times as wide, whose errors are half as large, about.

        ```python
        objects.with_finer_nodes().settings.panels
        ```
        """
        panels = tuple(FINER * width for width in self.settings.panels)
        settings = dataclasses.replace(self.settings, panels=panels)
        return dataclasses.replace(self, settings=settings)

    def points(self) -> Points:
        """Means and central 68% under dN/dM ∝ M⁻², dN/dT ∝ T^(−1/2), flat in a_v."""
        rows = self.rows(self.pool.box)
        weight, owner, n = self._shares_of_rows(rows), np.asarray(rows.owner), len(self)
        theta = np.asarray(rows.theta)
        means = np.stack([np.bincount(owner, weight * x, n) for x in theta], axis=1)
        limits = np.full((2, n, 3), np.nan)
        counts = np.bincount(owner, minlength=n)
        first = np.cumsum(counts) - counts
        there = counts > 0
        for axis, x in enumerate(theta):
            order = np.lexsort((x, owner))
            below = np.cumsum(weight[order]) - weight[order] / 2
            start = np.concatenate([[0.0], np.cumsum(weight[order])])[first]
            for i, level in enumerate((0.16, 0.84)):
                at = np.searchsorted(below, start + level)
                at = np.clip(at, first, np.maximum(first + counts - 1, first))
                limits[i, there, axis] = x[order][at[there]]
        means[~there] = np.nan
        words = "means and 68% of each object under dN/dM ~ M^-2, dN/dT ~ T^-1/2, any extinction"
        return Points(means, limits[0], limits[1], words)

    def _shares_of_rows(self, rows: RowSamples) -> Float[np.ndarray, " row"]:
        """Weights of the rows under the reference, with the sum 1 over those of an object."""
        owner = np.asarray(rows.owner)
        log_w = np.asarray(rows.log_weight) + np.asarray(SLOPES) @ np.asarray(rows.theta)
        top = np.full(len(self), -np.inf)
        np.maximum.at(top, owner, log_w)
        weight = np.exp(log_w - top[owner])
        return weight / np.bincount(owner, weight, len(self))[owner]

    @property
    def _pairs(self) -> Pairs:
        assert self.pairs is not None
        return self.pairs

    def _within(self, box: Box) -> np.ndarray:
        return box.holds(self.pool.theta[self._pairs.row])

    def _shares(self, box: Box) -> Float[np.ndarray, "n 3 2"]:
        """Share of each object's rows below and above `box`."""
        rows = self.rows(self.pool.box)
        weight, owner = self._shares_of_rows(rows), np.asarray(rows.owner)
        sides = [
            [np.bincount(owner, weight * out, len(self)) for out in (x < low, x > high)]
            for x, (low, high) in zip(np.asarray(rows.theta), box.as_dict().values(), strict=True)
        ]
        return np.moveaxis(np.asarray(sides), -1, 0)

    def _check_covers(self, box: Box) -> None:
        if complaints := box.exceeds(self.pool.box):
            raise ObjectsError(
                f"{self.source}: the population's bounds reach beyond the simulated clusters: "
                f"{'; '.join(complaints)}; narrow the bounds, or draw clusters there"
            )
