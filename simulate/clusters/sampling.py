"""Which stars a cluster has: exact draws whose cost hardly depends on the cluster's mass.

A cluster is wanted with a target mass M. The rules:

- `"stop_nearest"` (SLUG's default; da Silva+12, Krumholz+15): stars are drawn until their sum
  exceeds M; the last is kept or dropped, whichever brings the sum closer to M.
- `"poisson"`: the number of stars is Poisson with mean M / (mean stellar mass).
- `"number"`: the number of stars is M / (mean stellar mass), rounded.

Few stars are drawn one by one: a uniform number gives the mass bin, the place inside it and with it
the mass. Many are drawn as a block: n independent stars are a multinomial over the bins.

Under stop-nearest the stars up to the one that crosses M are a prefix of an endless sequence of
independent stars. A block of n is a piece of that sequence whose order is not known yet. If its
mass leaves the sum below M the whole block belongs to the cluster, and the sequence goes on.
Otherwise the crossing is inside: given the block, its first half is a uniformly random subset of it
(multivariate hypergeometric), which tells in which half the crossing lies; halving goes on until
few stars are left, which are put in random order and added one by one. So any block size is exact;
sizes are chosen `_MARGIN` standard deviations short of M, so that halving is rare and what remains
shrinks like a square root: three blocks and a few hundred single stars at 10⁸ M_sun.

The one approximation: the mass of a block is the sum of the exact means of its bins and a Gaussian
of the exact variance within them, which is 2% of the variance of its total mass or less. The rule
at the crossing sees it only through the few hundred solar masses that are added star by star.
"""

import dataclasses
import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from .bins import Bins, Interval, MassBins

Rule = Literal["stop_nearest", "poisson", "number"]
RULES: tuple[str, ...] = get_args(Rule)

# Below so many stars they are drawn one by one; above, in blocks. Chosen for speed.
SINGLE_STARS = 2500
_MARGIN = 3.0
# NumPy's hypergeometric takes no more than 1e9.
_LARGEST_BLOCK = 500_000_000
_HALVED_TO = 400
# Cells of the table that finds the mass bin of a star.
_CELLS = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class Drawn:
    """The stars of one cluster.

    **Arguments:**

    - `counts`: stars in each bin of the interval.
    - `birth_mass`: sum of their initial masses, M_sun.
    - `max_mass`: initial mass of the most massive, M_sun; 0 if there are no stars.
    - `single_bins`, `single_masses`: bin and initial mass of the stars that were drawn one by one;
      of the others only counts are known.
    - `block_max_mass`: the most massive of these others, M_sun; 0 if there are none.
    """

    counts: Int[np.ndarray, "bin"]
    birth_mass: float
    max_mass: float
    single_bins: Int[np.ndarray, "star"]
    single_masses: Float[np.ndarray, "star"]
    block_max_mass: float


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """Independent stars in no order: counts per bin, their mass, and its part from within bins."""

    counts: Int[np.ndarray, "bin"]
    mass: float
    noise: float


class StarSampler:
    """Draws the stars of clusters.

    **Arguments:**

    - `mass_bins`: of the population.
    """

    def __init__(self, mass_bins: MassBins) -> None:
        self.mass_bins = mass_bins
        p, mean = mass_bins.probability, mass_bins.mean
        self.mean_mass = float(p @ mean)
        self.spread = float(np.sqrt(p @ (mass_bins.variance + mean**2) - self.mean_mass**2))
        self._scale = 1.0 / p
        # The mass bin of u is that where its cell starts or the next, up to `_unique`.
        self._inner = mass_bins.below[1:].copy()
        self._upper = np.append(self._inner, np.inf)
        edges = np.linspace(0.0, 1.0, _CELLS + 1)
        start = self._inner.searchsorted(edges, side="right")
        self._guide = start[:-1]
        crowded = np.diff(start) > 1
        self._unique = float(edges[np.argmax(crowded)]) if crowded.any() else 1.0

    def draw(
        self, interval: Interval, w: float, target: float, rule: Rule, rng: np.random.Generator
    ) -> Drawn:
        """The stars of one cluster.

        **Arguments:**

        - `interval`: bins at the cluster's age. `w`: weight of the older isochrone.
        - `target`: M_sun. `rule`: which stars make up that mass.
        - `rng`: where all randomness comes from.
        """
        if rule == "stop_nearest":
            return self._stop_nearest(interval, w, target, rng)
        wanted = target / self.mean_mass
        n = int(rng.poisson(wanted) if rule == "poisson" else np.rint(wanted))
        if n < SINGLE_STARS:
            k, fraction, masses = self._singles(n, rng)
            bins = _place(interval, w, k, fraction, rng)
            return self._finish(interval, None, 0.0, bins, masses, rng)
        block = _block(interval, interval.probabilities(w), n, rng)
        nobody = np.zeros(0, np.intp), np.zeros(0)
        return self._finish(interval, block.counts, block.mass, *nobody, rng)

    def _stop_nearest(
        self, interval: Interval, w: float, target: float, rng: np.random.Generator
    ) -> Drawn:
        counts, total, p = None, 0.0, None
        while (n := self._safe_number(target - total)) >= SINGLE_STARS:
            p = interval.probabilities(w) if p is None else p
            block = _block(interval, p, n, rng)
            if total + block.mass > target:
                block, bins, masses = self._halve(interval, block, target - total, rng)
                counts = block.counts if counts is None else counts + block.counts
                return self._finish(interval, counts, total + block.mass, bins, masses, rng)
            counts = block.counts if counts is None else counts + block.counts
            total += block.mass
        found, done, crossed = [], total, False
        while not crossed:
            wanted = (target - done) / self.mean_mass
            n = int(wanted + self.spread / self.mean_mass * wanted**0.5) + 8
            k, fraction, masses = self._singles(n, rng)
            n, done, crossed = _nearest(masses, done, target)
            found.append((k[:n], fraction[:n], masses[:n]))
        k, fraction, masses = map(np.concatenate, zip(*found, strict=True))
        bins = _place(interval, w, k, fraction, rng)
        return self._finish(interval, counts, total, bins, masses, rng)

    def _safe_number(self, remaining: float) -> int:
        """How many stars stay `_MARGIN` standard deviations below a mass."""
        if remaining <= 0:
            return 0
        half = 0.5 * _MARGIN * self.spread
        root = (math.sqrt(half * half + self.mean_mass * remaining) - half) / self.mean_mass
        return min(int(root * root), _LARGEST_BLOCK)

    def _singles(self, n: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Mass bin, fraction of its stars below, and mass of n stars."""
        u = rng.random(n)
        # Twice as fast as a binary search, whose branches no processor predicts.
        k = self._guide[(u * _CELLS).astype(np.intp)]
        k += u >= self._upper[k]
        crowded = (u >= self._unique).nonzero()[0]
        if len(crowded):
            k[crowded] = self._inner.searchsorted(u[crowded], side="right")
        fraction = (u - self.mass_bins.below[k]) * self._scale[k]
        return k, fraction, self.mass_bins.mass_at(k, fraction)

    def _halve(
        self, interval: Interval, block: _Block, remaining: float, rng: np.random.Generator
    ) -> tuple[_Block, np.ndarray, np.ndarray]:
        """What of a block comes before its mass crosses `remaining`, and the stars around there.

        Returns a block, and the bins and masses of single stars that follow it.
        """
        bins = interval.bins
        counts, noise = block.counts, block.noise
        kept, kept_mass = np.zeros_like(counts), 0.0
        while (n := int(counts.sum())) > _HALVED_TO:
            half = rng.multivariate_hypergeometric(counts, n // 2, method="marginals")
            variance, whole = _dot(half, bins.variance), _dot(counts, bins.variance)
            # The Gaussian of the stars within their bins, shared between the halves given its sum.
            share = variance / whole if whole > 0 else 0.0
            part = noise * share + rng.standard_normal() * math.sqrt(variance * (1 - share))
            mass = _dot(half, bins.mean) + part
            if kept_mass + mass > remaining:
                counts, noise = half, part
            else:
                kept, kept_mass = kept + half, kept_mass + mass
                counts, noise = counts - half, noise - part
        order = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        total = _dot(counts, bins.mean) + noise
        masses = masses_within(self.mass_bins, bins, order, total, rng)
        n, _, _ = _nearest(masses, kept_mass, remaining)
        return _Block(kept, kept_mass, 0.0), order[:n], masses[:n]

    def _finish(
        self,
        interval: Interval,
        counts: Int[np.ndarray, "bin"] | None,
        block_mass: float,
        single_bins: np.ndarray,
        single_masses: np.ndarray,
        rng: np.random.Generator,
    ) -> Drawn:
        n_bins = len(interval.bins)
        block_max = 0.0
        if counts is None:
            total = np.bincount(single_bins, minlength=n_bins)
        else:
            block_max = _most_massive(self.mass_bins, interval, counts, rng)
            total = counts + np.bincount(single_bins, minlength=n_bins)
        single_max = float(single_masses.max()) if len(single_masses) else 0.0
        return Drawn(
            counts=total,
            birth_mass=block_mass + float(single_masses.sum()),
            max_mass=max(block_max, single_max),
            single_bins=single_bins,
            single_masses=single_masses,
            block_max_mass=block_max,
        )


def masses_within(
    mass_bins: MassBins,
    bins: Bins,
    which: Int[np.ndarray, "star"],
    total: float,
    rng: np.random.Generator,
    highest: float = np.inf,
) -> Float[np.ndarray, "star"]:
    """Masses of stars known to be in the bins `which`, given their sum, M_sun.

    Masses independent of each other are moved to the sum in proportion to their variances, which
    is exact for Gaussians; none leaves its bin, or exceeds `highest`, unless the sum demands it.
    """
    low, high = bins.low[which], bins.high[which]
    k = bins.mass_bin[which]
    masses = mass_bins.mass_at(k, low - k + (high - low) * rng.random(len(which)))
    lowest = mass_bins.mass_at(k, low - k)
    highest_each = np.minimum(mass_bins.mass_at(k, high - k), highest)
    masses = np.clip(masses, lowest, highest_each)
    variance = bins.variance[which]
    for _ in range(50):
        missing = total - masses.sum()
        room = np.where(masses < highest_each if missing > 0 else masses > lowest, variance, 0.0)
        if missing == 0 or not room.any():
            break
        masses = np.clip(masses + room * (missing / room.sum()), lowest, highest_each)
    left = total - masses.sum()
    return masses + variance * (left / variance.sum()) if variance.any() else masses


def _block(
    interval: Interval, p: Float[np.ndarray, "bin"], n: int, rng: np.random.Generator
) -> _Block:
    counts = rng.multinomial(n, p)
    bins = interval.bins
    noise = rng.standard_normal() * math.sqrt(_dot(counts, bins.variance))
    return _Block(counts, _dot(counts, bins.mean) + noise, noise)


def _place(
    interval: Interval, w: float, k: np.ndarray, fraction: np.ndarray, rng: np.random.Generator
) -> Int[np.ndarray, "star"]:
    """The bins of stars at places in the mass bins: an isochrone is chosen where it matters."""
    found = interval.undivided[k]
    divided = (found < 0).nonzero()[0]
    if len(divided):
        x = k[divided] + fraction[divided]
        low, n_young, n_old = interval.bins.low, interval.n_young, interval.n_old
        # Rounding may carry k + fraction to k + 1.
        x = np.minimum(x, np.nextafter(k[divided] + 1.0, 0.0))
        older = rng.random(len(divided)) < w
        young = low[:n_young].searchsorted(x, side="right") - 1
        old = low[n_young : n_young + n_old].searchsorted(x, side="right") - 1 + n_young
        found[divided] = np.where(older, old, young)
    return found


def _nearest(
    masses: Float[np.ndarray, "star"], before: float, target: float
) -> tuple[int, float, bool]:
    """How many stars to keep, the total mass then, and whether the target was crossed."""
    total = before + masses.cumsum()
    n = int(total.searchsorted(target, side="right"))
    if n == len(masses):
        return n, float(total[-1]) if n else before, False
    under = float(total[n - 1]) if n else before
    over = float(total[n])
    return (n + 1, over, True) if over - target < target - under else (n, under, True)


def _most_massive(
    mass_bins: MassBins,
    interval: Interval,
    counts: Int[np.ndarray, "bin"],
    rng: np.random.Generator,
) -> float:
    """The largest mass among stars of which counts are known, M_sun."""
    bins = interval.bins
    there = counts.nonzero()[0]
    if len(there) == 0:
        return 0.0
    # The bins of two isochrones overlap: all that reach above the highest lower edge compete.
    there = there[bins.high[there] > bins.low[there].max()]
    low, high = bins.low[there], bins.high[there]
    place = low + (high - low) * rng.random(len(there)) ** (1.0 / counts[there])
    top = int(np.argmax(place))
    k = bins.mass_bin[there[top : top + 1]]
    return float(mass_bins.mass_at(k, place[top : top + 1] - k)[0])


def _dot(counts: np.ndarray, values: np.ndarray) -> float:
    return float(counts.astype(float) @ values)
