"""A survey that does to clusters what a pipeline did to artificial ones in pixels.

Nothing here is learned: a cluster of true magnitudes μ meets the fate of an injection of nearly the
same magnitudes, which its pipeline catalogued and measured, or did not. So catalogues can be drawn
without the model that is to be judged.
"""

import dataclasses
import functools

import numpy as np
from scipy.spatial import cKDTree

from starcensus.bands import find_band
from starcensus.selection.catalogue.photometry import BandState, Photometry
from starcensus.selection.injection import InjectionTable
from starcensus.selection.observation import LearnedObservation, recorded_photometry

# What counts as near: mag in V, and in the colours against it.
_V, _COLOUR = 0.05, 0.1
_NEAREST = 3
# The cut on V, and how far from it sources are like those that it cuts, mag.
_ON_V, _NEAR_CUT = "absolute_v", 0.5
# A magnitude for light that there is hardly any of.
_DARK = 35.0


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut(LearnedObservation):
    """As a likelihood the learned model, as a generator one of a table that it never saw.

    One of the three nearest injections decides: how far what is measured of the cluster is from the
    truth, in every band, its concentration index, which bands are recorded, and whether all cuts
    but that on V let it pass; that one acts on what is measured of the cluster itself. To give it
    the injection's V as it is would blur V by as much as the two differ, and what the
    concentration index says of the light that is lost with it.
    """

    table: InjectionTable = None  # pyright: ignore[reportAssignmentType]

    @classmethod
    def of(cls, model: LearnedObservation, table: InjectionTable) -> "HeldOut":
        """Raises an error of `TrainingMarks.refuse` for a table that the model was learned from."""
        model.marks.refuse({"the survey's injections": table}, "the observation model")
        own = {f.name: getattr(model, f.name) for f in dataclasses.fields(model)}
        return cls(**own, table=table)

    @functools.cached_property
    def _rows(self) -> np.ndarray:
        """Injections in places as the survey has them: kept in proportion to their weights. To
        weigh the few that are near a cluster instead is to weigh too little: one alone has the
        weight 1."""
        weight = self.table.place_weight
        if weight is None:
            return np.arange(len(self.table))
        rng = np.random.default_rng(len(weight))
        return np.flatnonzero(rng.random(len(weight)) < weight / weight.max())

    @functools.cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._place(self.table.true_mags[self._rows]))

    @functools.cached_property
    def _recorded(self) -> tuple[Photometry, np.ndarray]:
        """Those that pass every cut, whatever their V is, and for each injection its row there, or
        -1. Of sources that pass every cut a part is no injection's own; of those that fail the one
        on V, as many as of those near it."""
        table, cuts = self.table, self.table.cuts
        others = np.all([passed for name, passed in cuts.items() if name != _ON_V], axis=0)
        of_v = np.zeros(len(table), bool)
        if _ON_V in cuts and (limit := self.density.shape.faintest) is not None:
            v = table.measured_mags[:, self.bands.index(find_band(self.bands, "V"))]
            near = others & cuts[_ON_V] & (v > limit - _NEAR_CUT)
            own = np.random.default_rng(len(v)).random(len(v)) < table.catalogued[near].mean()
            of_v = others & ~cuts[_ON_V] & np.isfinite(table.ci) & own
        passing = dataclasses.replace(table, catalogued=table.catalogued | of_v)
        seen = recorded_photometry(passing, self.max_error)
        kept = self.patterns(seen).any(axis=1)
        row = np.full(len(table), -1)
        row[np.flatnonzero(passing.catalogued)[kept]] = np.arange(kept.sum())
        return seen.take(kept), row

    def _place(self, mags: np.ndarray) -> np.ndarray:
        at = self.bands.index(find_band(self.bands, "V"))
        mags = np.clip(mags, 0.0, _DARK)
        place = (mags - mags[:, [at]]) / _COLOUR
        place[:, at] = mags[:, at] / _V
        return place

    def like(self, mags: np.ndarray) -> np.ndarray:
        """Injections whose fate clusters may meet, one as well as another, `(n, nearest)`."""
        return self._rows[self._tree.query(self._place(mags), k=_NEAREST)[1]]

    def draw(self, mags, rng):
        near = self.like(mags)
        like = near[np.arange(len(mags)), rng.integers(_NEAREST, size=len(mags))]
        seen, row = self._recorded
        kept = row[like] >= 0
        like, true = like[kept], mags[kept]
        drawn = seen.take(row[like])
        found = drawn.mags + (true - self.table.true_mags[like])
        # Errors grow as the flux falls, or more slowly where the cluster's own light makes them.
        errors = drawn.mag_errors * 10 ** (0.4 * (found - drawn.mags))
        # A band that is lost because its error grew would have none to make up for it.
        there = drawn.measured
        data = Photometry.from_mags(
            "catalogued as injections were",
            np.arange(len(drawn)),
            self.bands,
            np.where(there, found, np.nan),
            np.where(there, np.minimum(errors, self.max_error), np.nan),
            np.where(there, BandState.MEASURED, BandState.NOT_DETECTED).astype(np.uint8),
            ci=drawn.ci,
            distance_modulus=self.distance_modulus,
        )
        known = self.passing(data)[0]
        kept[np.flatnonzero(kept)[~known]] = False
        return kept, data.take(known)
