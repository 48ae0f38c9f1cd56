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
# A magnitude for light that there is hardly any of.
_DARK = 35.0


@dataclasses.dataclass(frozen=True, eq=False)
class HeldOut(LearnedObservation):
    """As a likelihood the learned model, as a generator one of a table that it never saw.

    One of the three nearest injections decides: whether the cluster is
    catalogued, its V and concentration index, and how far its colours against V, and its errors,
    are from the truth. V itself is not moved by the difference of both truths, or cuts on it would
    act twice; it is symmetric and of some hundredths of a magnitude, where V scatters by 0.37.
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
        """Those that are catalogued and pass, and for each injection its row there, or -1."""
        seen = recorded_photometry(self.table, self.max_error)
        rows = np.flatnonzero(self.table.catalogued)
        kept = self.passing(seen)[0] & self.patterns(seen).any(axis=1)
        row = np.full(len(self.table), -1)
        row[rows[kept]] = np.arange(kept.sum())
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
        at = self.bands.index(find_band(self.bands, "V"))
        excess = drawn.mags - self.table.true_mags[like]
        found = drawn.mags[:, [at]] + (true - true[:, [at]]) + (excess - excess[:, [at]])
        # Errors grow as the flux falls, or more slowly where the cluster's own light makes them.
        errors = drawn.mag_errors * 10 ** (0.4 * (found - drawn.mags))
        with np.errstate(invalid="ignore"):
            there = np.isfinite(found) & (errors <= self.max_error)
        there[:, at] = np.isfinite(drawn.mags[:, at])
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
        known = self.patterns(data).any(axis=1)
        kept[np.flatnonzero(kept)[~known]] = False
        return kept, data.take(known)
