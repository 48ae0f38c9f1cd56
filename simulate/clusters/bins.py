"""A stellar population: stars of a grid weighted by an IMF, in bins fine enough to be exact.

**Between ages.** Each star of a cluster of age t belongs to the older isochrone with probability w
and to the younger with 1 - w, w linear in log t between the grid's ages. The intensity measure of
stellar light, and with it every cumulant of a cluster's light, is then interpolated linearly, and
no evolutionary phases have to be matched; at an age of the grid only its isochrone counts.

**Between points** of an isochrone ln(flux) and ln(luminosity) are linear in ln(initial mass); Q(H)
and the current mass are linear in initial mass. Integrals over a bin are four-point Gauss-Legendre
in ln(mass) between neighbouring points, edges and breaks of the IMF.

**Bins.** Mass bins, the same at all ages, are narrow in log mass, so that counts per mass bin give
the total mass of a cluster. Those in which the light of one star differs much from another's are
divided along the isochrone. The flux of a bin is the mean over its stars, so mean light is exact,
and what bins lose is the variance within them. A cluster of N stars has flux variance N E[F²]
(stars Poisson in number) in each band; bins are divided until at most `tolerance` of E[F²] is lost,
in every band at the first and last knot of extinction, in bolometric light and in Q(H).
"""

import dataclasses
import functools
import itertools
import pathlib
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .. import kept
from ..stars.grid import StellarGrid
from .imf import AbstractImf, Kroupa

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)
# Flux below which a star's light is nothing, where its logarithm is needed.
_NO_FLUX = 1e-30
# Shares of the tolerance: mass bins that are not divided, and all the others together.
_UNDIVIDED = 0.2
_SHARES = 40.0


@dataclasses.dataclass(frozen=True)
class Binning:
    """How finely a population is binned.

    **Arguments:**

    - `mass_step_dex`: widest mass bin, dex.
    - `tolerance`: largest share of a band's second moment E[F²] that bins may lose.
    """

    mass_step_dex: float = 0.03
    tolerance: float = 3e-4

    def __post_init__(self) -> None:
        if not (0 < self.mass_step_dex <= 0.1 and 0 < self.tolerance < 0.1):
            raise ValueError(
                "mass_step_dex lies in (0, 0.1] and tolerance in (0, 0.1); got "
                f"{self.mass_step_dex} and {self.tolerance}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class MassBins:
    """Bins in initial mass, the same at all ages.

    A star of bin k with a fraction f of the bin's stars below it has the coordinate k + f and the
    mass `quantile[k] @ (1, f, f², f³)`, a Hermite polynomial that meets the IMF's quantiles and
    densities at both edges.

    **Arguments:**

    - `edges`: M_sun. `probability`, `below`: of a star to be in the bin, and below it.
    - `mean`, `variance`: of the mass of the bin's stars, M_sun and M_sun².
    - `quantile`: coefficients, M_sun.
    """

    edges: Float[np.ndarray, "edge"]
    probability: Float[np.ndarray, "bin"]
    below: Float[np.ndarray, "bin"]
    mean: Float[np.ndarray, "bin"]
    variance: Float[np.ndarray, "bin"]
    quantile: Float[np.ndarray, "4 bin"]

    @classmethod
    def of(cls, imf: AbstractImf, step_dex: float) -> "MassBins":
        stops = np.array([imf.low, *imf.breaks, imf.high])
        runs = [
            np.geomspace(a, b, int(np.ceil(np.log10(b / a) / step_dex)) + 1)
            for a, b in itertools.pairwise(stops)
        ]
        edges = np.unique(np.concatenate([stops, *(run[1:-1] for run in runs)]))
        low, high = edges[:-1], edges[1:]
        zeroth, first, second = (imf.partial_moment(k, low, high) for k in (0.0, 1.0, 2.0))
        mean = first / zeroth
        slope_low, slope_high = zeroth / imf.pdf(low), zeroth / imf.pdf(high)
        rise = high - low
        quantile = [low, slope_low, 3 * rise - 2 * slope_low - slope_high]
        quantile.append(slope_low + slope_high - 2 * rise)
        return cls(
            edges=edges,
            probability=zeroth / zeroth.sum(),
            below=np.concatenate([[0.0], np.cumsum(zeroth)[:-1]]) / zeroth.sum(),
            mean=mean,
            variance=np.maximum(second / zeroth - mean**2, 0.0),
            quantile=np.stack(quantile),
        )

    def __len__(self) -> int:
        return len(self.mean)

    def mass_at(
        self, k: Int[np.ndarray, "*shape"], f: Float[np.ndarray, "*shape"]
    ) -> Float[np.ndarray, "*shape"]:
        """Mass of a star with a fraction f of the stars of bin k below it, M_sun."""
        c0, c1, c2, c3 = self.quantile
        return c0[k] + f * (c1[k] + f * (c2[k] + f * c3[k]))


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
    """Stars of one isochrone, or of neighbouring ones, in bins that do not divide further.

    **Arguments:**

    - `mass_bin`: in which each bin lies. `low`, `high`: its coordinates, as in `MassBins`.
    - `probability`: of a star to be in it. `mean`, `variance`: of its mass, M_sun and M_sun².
    - `alive`: mean initial mass of its living stars, M_sun; 0 where none lives.
    - `light`: means of what a star gives: flux of each band behind each knot, bolometric
      luminosity (L_sun), Q(H) (1/s), and mass lost since birth (M_sun; all of it, once dead).
    - `square`: mean squares of the quantities that the binning watches.
    """

    mass_bin: Int[np.ndarray, "bin"]
    low: Float[np.ndarray, "bin"]
    high: Float[np.ndarray, "bin"]
    probability: Float[np.ndarray, "bin"]
    mean: Float[np.ndarray, "bin"]
    variance: Float[np.ndarray, "bin"]
    alive: Float[np.ndarray, "bin"]
    light: Float[np.ndarray, "bin column"]
    square: Float[np.ndarray, "bin watched"]

    def __len__(self) -> int:
        return len(self.mean)

    def take(self, rows: np.ndarray) -> "Bins":
        fields = dataclasses.fields(self)
        return Bins(**{field.name: getattr(self, field.name)[rows] for field in fields})

    def merged(self, first: Int[np.ndarray, "group"]) -> "Bins":
        """Runs of neighbouring bins joined; `first` is where each run starts, 0 the first."""
        p = np.add.reduceat(self.probability, first)

        def mean(values: np.ndarray) -> np.ndarray:
            weight = self.probability.reshape(-1, *([1] * (values.ndim - 1)))
            total = np.add.reduceat(values * weight, first, axis=0)
            return total / p.reshape(-1, *([1] * (values.ndim - 1)))

        last = np.append(first[1:], len(self)) - 1
        centre = mean(self.mean)
        lives = self.probability * (self.alive > 0)
        living = np.add.reduceat(lives, first)
        alive = np.add.reduceat(lives * self.alive, first)
        return Bins(
            mass_bin=self.mass_bin[first],
            low=self.low[first],
            high=self.high[last],
            probability=p,
            mean=centre,
            variance=np.maximum(mean(self.variance + self.mean**2) - centre**2, 0.0),
            alive=np.where(living > 0, alive / np.where(living > 0, living, 1.0), 0.0),
            light=mean(self.light),
            square=mean(self.square),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Interval:
    """The bins between two neighbouring ages of the grid.

    The bins are those of the younger isochrone, of the older, and last the mass bins that are not
    divided, heaviest first, whose light is interpolated between the isochrones.

    **Arguments:**

    - `n_young`, `n_old`: how many of the bins belong to one isochrone.
    - `bins`: all of them; `probability` is that of a star known to belong to the isochrone.
    - `old_light`: `light` of the undivided bins on the older isochrone (`bins.light`: younger).
    - `undivided`: the bin of each mass bin, or -1 for one that is divided.
    """

    n_young: int
    n_old: int
    bins: Bins
    old_light: Float[np.ndarray, "undivided column"]
    undivided: Int[np.ndarray, "mass_bin"]

    @functools.cached_property
    def table(self) -> Float[np.ndarray, "row column"]:
        """Light by which `weights` of counts are multiplied and summed."""
        return np.ascontiguousarray(np.concatenate([self.bins.light, self.old_light]))

    def probabilities(self, w: float) -> Float[np.ndarray, "bin"]:
        """Of each bin, for a weight w of the older isochrone."""
        p = self.bins.probability.copy()
        p[: self.n_young] *= 1.0 - w
        p[self.n_young : self.n_young + self.n_old] *= w
        return p

    def weights(self, counts: np.ndarray, w: float) -> Float[np.ndarray, "row"]:
        """Factors of the rows of `table` for counts (or probabilities) of the bins."""
        n = self.n_young + self.n_old
        return np.concatenate([counts[:n], (1.0 - w) * counts[n:], w * counts[n:]])

    def star_light(self, w: float) -> Float[np.ndarray, "bin column"]:
        """Mean light of a star of each bin."""
        n = self.n_young + self.n_old
        light = self.bins.light.copy()
        light[n:] = (1.0 - w) * light[n:] + w * self.old_light
        return light

    def totals(self, counts: np.ndarray, w: float) -> Float[np.ndarray, "column"]:
        """Light of all stars, summed in an order that depends on nothing but the interval."""
        # Not a BLAS product: its order of summation may follow the number of threads.
        return np.einsum("r,rc->c", self.weights(counts, w), self.table)


@dataclasses.dataclass(frozen=True, eq=False)
class StellarPopulation:
    """Stars of a grid with masses from an IMF, ready to be drawn.

    Bins of an age are made when first asked for, then kept; pickling leaves them behind.

    **Arguments:**

    - `grid`: light of the stars.
    - `imf`: their masses; stars below the grid's lightest are dark.
    - `binning`: how finely they are binned.

    ```python
    stars = StellarPopulation(StellarGrid.default().select(("ACS_F555W",)), Chabrier())
    stars.bands
    ```
    """

    grid: StellarGrid
    imf: AbstractImf = dataclasses.field(default_factory=Kroupa)
    binning: Binning = dataclasses.field(default_factory=Binning)
    _isochrones: dict[int, Bins] = dataclasses.field(default_factory=dict, init=False, repr=False)
    _intervals: dict[int, Interval] = dataclasses.field(
        default_factory=dict, init=False, repr=False
    )

    def __reduce__(self) -> tuple[Any, ...]:
        return StellarPopulation, (self.grid, self.imf, self.binning)

    @property
    def bands(self) -> tuple[str, ...]:
        return self.grid.bands

    @functools.cached_property
    def mass_bins(self) -> MassBins:
        return MassBins.of(self.imf, self.binning.mass_step_dex)

    @property
    def n_flux(self) -> int:
        """Columns of `light` that are fluxes, knot by knot of each band."""
        return len(self.grid.bands) * len(self.grid.a_v)

    def band_flux(self, light: Float[np.ndarray, "n column"]) -> Float[np.ndarray, "n band knot"]:
        """The columns of `light` that are fluxes."""
        shape = (len(light), len(self.grid.bands), len(self.grid.a_v))
        return light[:, : self.n_flux].reshape(shape)

    def place(
        self, log_age: Float[np.ndarray, "n"]
    ) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
        """Index of the interval of each age, and the weight of its older isochrone.

        Raises `ValueError` for an age outside the grid.
        """
        ages = self.grid.log_age
        outside = ~((log_age >= ages[0]) & (log_age <= ages[-1]))
        if outside.any():
            row = int(np.argmax(outside))
            raise ValueError(
                f"log_age of cluster {row} is {log_age[row]:g}; the grid's isochrones cover "
                f"{ages[0]:g} to {ages[-1]:g} (log10 yr)"
            )
        if len(ages) == 1:
            return np.zeros(len(log_age), int), np.zeros(len(log_age))
        index = np.clip(np.searchsorted(ages, log_age, side="right") - 1, 0, len(ages) - 2)
        return index, (log_age - ages[index]) / (ages[index + 1] - ages[index])

    def isochrone(self, index: int) -> Bins:
        """The bins of isochrone `index`."""
        if index not in self._isochrones:
            self._isochrones[index] = self._kept_or_made(index)
        return self._isochrones[index]

    def interval(self, index: int) -> Interval:
        """The bins between the ages `index` and `index + 1`."""
        if index not in self._intervals:
            young = self.isochrone(index)
            old = self.isochrone(min(index + 1, len(self.grid.log_age) - 1))
            self._intervals[index] = self._join(young, old)
        return self._intervals[index]

    def mean_light(self, log_age: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n column"]:
        """Expected light of a population, per M_sun at birth; columns as in `Bins.light`."""
        index, weight = self.place(log_age)
        out = np.empty((len(log_age), self.n_flux + 3))
        for row, (i, w) in enumerate(zip(index, weight, strict=True)):
            interval = self.interval(int(i))
            out[row] = interval.totals(interval.probabilities(float(w)), float(w))
        return out / self.imf.mean_mass

    def _kept_or_made(self, index: int) -> Bins:
        path = None if self._kept is None else self._kept / f"{index}.npz"
        names = [field.name for field in dataclasses.fields(Bins)]
        if path is not None and (found := kept.read(path, names)) is not None:
            return Bins(**found)
        made = self._merge(self._resolved(index))
        if path is not None:
            kept.write(path, {name: getattr(made, name) for name in names})
        return made

    @functools.cached_property
    def _kept(self) -> pathlib.Path | None:
        """Folder of the bins that another process made, all of whose causes are in its name."""
        # Of a mass function that is not ours the code is not known.
        if not type(self.imf).__module__.startswith("starcensus."):
            return None
        imf = type(self.imf).__name__, dataclasses.astuple(self.imf)
        return kept.folder("bins", self.grid.digest, imf, dataclasses.astuple(self.binning))

    def _resolved(self, index: int) -> Bins:
        """Bins so narrow that a star's light hardly varies inside one."""
        masses = self.grid.initial_mass[self.grid.isochrone(index)]
        edges = self.mass_bins.edges
        inside = masses[(masses > edges[0]) & (masses < edges[-1])]
        cuts = np.union1d(edges, inside)
        # Points a rounding error from an edge would make bins without stars.
        near = np.diff(cuts) <= 1e-12 * cuts[1:]
        cuts = np.delete(cuts, [i if cuts[i] not in edges else i + 1 for i in near.nonzero()[0]])
        bins = self._integrate(index, cuts)
        total = _total(bins.probability, bins.square)
        watched = bins.light[:, self._watched]
        lost = (bins.probability[:, None] * np.maximum(bins.square - watched**2, 0) / total).max(1)
        share = self.binning.tolerance / _SHARES
        pieces = np.ceil(np.sqrt(lost / (share / 4))).astype(int).clip(1, 200)
        if (pieces == 1).all():
            return bins
        return self._integrate(index, _divided(cuts, pieces))

    @functools.cached_property
    def _watched(self) -> Int[np.ndarray, "watched"]:
        n_knot = len(self.grid.a_v)
        first = np.arange(len(self.grid.bands)) * n_knot
        return np.concatenate([first, first + n_knot - 1, [self.n_flux, self.n_flux + 1]])

    def _integrate(self, index: int, cuts: Float[np.ndarray, "edge"]) -> Bins:
        """IMF-weighted means between cuts, among which are all points and edges of mass bins."""
        part = self.grid.isochrone(index)
        points = self.grid.initial_mass[part]
        low, high = cuts[:-1], cuts[1:]
        middle = np.sqrt(low * high)
        alive = (middle > points[0]) & (middle < points[-1])
        left = np.clip(np.searchsorted(points, middle) - 1, 0, len(points) - 2)
        half = 0.5 * np.log(high / low)
        nodes = middle[:, None] * np.exp(half[:, None] * _NODES)
        weight = self.imf.pdf(nodes) * nodes * _WEIGHTS
        weight /= weight.sum(1, keepdims=True)

        a, b = points[left], points[left + 1]
        # Beyond the first and last points, where there is no light, their values are kept.
        in_log = np.clip(np.log(nodes / a[:, None]) / np.log(b / a)[:, None], 0, 1)[..., None]
        in_mass = np.clip((nodes - a[:, None]) / (b - a)[:, None], 0, 1)

        def along(values: np.ndarray, t: np.ndarray) -> np.ndarray:
            start = values[left][:, None]
            return start + t * (values[left + 1][:, None] - start)

        flux = self.grid.flux[part].reshape(len(points), -1).astype(float)
        log_light = np.concatenate(
            [np.log(np.maximum(flux, _NO_FLUX)), self.grid.log_lum[part][:, None] * np.log(10.0)],
            axis=1,
        )
        light = np.concatenate(
            [np.exp(along(log_light, in_log)), along(self.grid.q_h[part], in_mass)[..., None]],
            axis=2,
        )
        light *= alive[:, None, None]
        lost = nodes - along(self.grid.current_mass[part], in_mass)
        lost = np.where(alive[:, None], lost, np.where(middle > points[-1], 1, 0)[:, None] * nodes)
        light = np.concatenate([light, lost[..., None]], axis=2)

        bins = self.mass_bins
        k = np.searchsorted(bins.edges, middle) - 1
        p = self.imf.partial_moment(0.0, low, high)
        p *= (bins.probability / np.bincount(k, p, len(bins)))[k]
        before = np.cumsum(p) - p
        start = before[np.searchsorted(k, k)]
        f = (before - start) / bins.probability[k]
        end = np.append(f[1:], 1.0)
        end[np.append(np.diff(k) > 0, True)] = 1.0
        mean = (weight * nodes).sum(1)
        return Bins(
            mass_bin=k,
            low=k + f,
            high=k + end,
            probability=p,
            mean=mean,
            variance=np.maximum((weight * nodes**2).sum(1) - mean**2, 0.0),
            alive=np.where(middle < points[-1], mean, 0.0),
            light=np.einsum("sn,snc->sc", weight, light),
            square=np.einsum("sn,snc->sc", weight, light[..., self._watched] ** 2),
        )

    def _merge(self, bins: Bins) -> Bins:
        """Neighbours in one mass bin joined while the variance that is lost stays small."""
        total = _total(bins.probability, bins.square)
        allowed = self.binning.tolerance * (1 - _UNDIVIDED)
        share = allowed / _SHARES
        while True:
            merged = bins.merged(self._runs(bins, total, share))
            within = merged.square - merged.light[:, self._watched] ** 2
            if ((merged.probability @ within / total) <= allowed).all():
                return merged
            share *= 0.7

    def _runs(
        self, bins: Bins, total: Float[np.ndarray, "watched"], share: float
    ) -> Int[np.ndarray, "run"]:
        """Where runs of bins start, each losing at most `share` of the second moments `total`."""
        p = bins.probability
        first = p[:, None] * bins.light[:, self._watched] / np.sqrt(total)
        second = p[:, None] * bins.square / total
        dead = bins.alive == 0
        apart = np.append(True, (np.diff(bins.mass_bin) > 0) | (np.diff(dead) != 0))
        starts = []
        weight, mean, square = p[0], first[0], second[0]
        for i in range(len(bins)):
            if not apart[i]:
                new = weight + p[i], mean + first[i], square + second[i]
                if (new[2] - new[1] ** 2 / new[0]).max() <= share:
                    weight, mean, square = new
                    continue
            starts.append(i)
            weight, mean, square = p[i], first[i], second[i]
        return np.array(starts)

    def _join(self, young: Bins, old: Bins) -> Interval:
        n = len(self.mass_bins)
        whole = [bins.merged(np.searchsorted(bins.mass_bin, np.arange(n))) for bins in (young, old)]
        # What an undivided bin loses as its two isochrones mix, at the worst weight.
        lost = np.zeros(n)
        for w in np.linspace(0.0, 1.0, 9):
            square = (1 - w) * whole[0].square + w * whole[1].square
            light = (1 - w) * whole[0].light + w * whole[1].light
            within = self.mass_bins.probability[:, None] * (square - light[:, self._watched] ** 2)
            lost = np.maximum(lost, (within / _total(whole[0].probability, square)).max(1))
        order = np.argsort(lost, kind="stable")
        small = np.cumsum(lost[order]) <= self.binning.tolerance * _UNDIVIDED
        kept = np.sort(order[small])[::-1]
        divided = np.ones(n, bool)
        divided[kept] = False
        parts = [bins.take(divided[bins.mass_bin]) for bins in (young, old)]
        parts.append(whole[0].take(kept))
        n_young, n_old = len(parts[0]), len(parts[1])
        joined = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in dataclasses.fields(Bins)
        }
        joined["alive"][n_young + n_old :] = np.maximum(parts[2].alive, whole[1].alive[kept])
        undivided = np.full(n, -1)
        undivided[kept] = n_young + n_old + np.arange(len(kept))
        return Interval(
            n_young=n_young,
            n_old=n_old,
            bins=Bins(**joined),
            old_light=whole[1].light[kept],
            undivided=undivided,
        )


def _divided(
    cuts: Float[np.ndarray, "edge"], pieces: Int[np.ndarray, "gap"]
) -> Float[np.ndarray, "finer"]:
    """Cuts and between them those of equal ratios: all of np.geomspace(a, b, n) at once."""
    logs = np.log10(cuts)
    start = np.cumsum(pieces) - pieces
    within = np.arange(pieces.sum()) - np.repeat(start, pieces)
    finer = 10.0 ** (
        within * np.repeat(np.diff(logs) / pieces, pieces) + np.repeat(logs[:-1], pieces)
    )
    finer[start] = cuts[:-1]
    return np.append(finer, cuts[-1])


def _total(probability: np.ndarray, square: np.ndarray) -> Float[np.ndarray, "watched"]:
    """E[F²] of a star; one where there is no light at all."""
    total = probability @ square
    return np.where(total > 0, total, 1.0)
