"""An age prior of single clusters that the light of their own catalogue teaches.

What the light leaves open is decided by the prior. How ages are distributed in a catalogue is in
its light as well: the distribution, constant in bins of log age, under which what was recorded is
most probable,

    max over s of Π_i Σ_b s_b p(d_i | b),   p(d_i | b) = ∫_b p(d_i, det | θ) π(θ) / ∫_b p_sel π,

s_b the share of catalogued clusters in bin b and π the law of mass and extinction. The maximum is
found by expectation and maximisation (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1); each
bin has a part of a cluster beforehand, so that none is impossible. Ages that others measured take
no part.
"""

import dataclasses

import numpy as np
from jaxtyping import Float

from starcensus.theta import Box

from .measure import ObjectPrior, power_law_prior, weighted
from .objects import LightObjects
from .objects.kernel import apparent

_STEPS, _CHANGE = 2000, 1e-6
_MAX_BEYOND = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedAges:
    """A distribution of ages in bins.

    **Arguments:**

    - `edges`: `(bin + 1,)`, log10 yr.
    - `catalogued`: `(bin,)`, share of each bin among catalogued clusters; their sum is 1.
    - `density`: `(bin,)`, of clusters per dex before the survey chose, up to a constant; 0 where no
      cluster would be catalogued.
    - `mass_slope`: dN/dM ∝ M^mass_slope in every bin.

    ```python
    learn_ages(objects, box, width=0.5).catalogued
    ```
    """

    edges: Float[np.ndarray, " edge"]
    catalogued: Float[np.ndarray, " bin"]
    density: Float[np.ndarray, " bin"]
    mass_slope: float

    @property
    def prior(self) -> ObjectPrior:
        """ln π of θ, per dex, dex and mag; -inf beyond the bins."""
        in_mass = power_law_prior(self.mass_slope, -1.0)
        with np.errstate(divide="ignore"):
            log_density = np.append(np.log(self.density), -np.inf)

        def prior(theta: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
            place = _bins(theta[:, 1], self.edges)
            beyond = (theta[:, 1] < self.edges[0]) | (theta[:, 1] > self.edges[-1])
            return in_mass(theta) + log_density[np.where(beyond, len(self.density), place)]

        return prior


def learn_ages(
    objects: LightObjects,
    box: Box,
    mass_slope: float = -2.0,
    width: float = 0.3,
    beforehand: float = 0.5,
) -> LearnedAges:
    """The distribution of ages that makes the light of a catalogue most probable.

    **Arguments:**

    - `objects`: clusters with measured light and simulated ones.
    - `box`: of θ; bins of equal widths cover its ages.
    - `mass_slope`: dN/dM ∝ M^mass_slope, at any extinction.
    - `width`: dex, widest bins.
    - `beforehand`: clusters that each bin has before any is looked at.

    Raises `ValueError` for a width or a number that is not above 0, for objects of which no
    simulated cluster is like any, and for a bin more than a tenth of whose catalogued clusters
    would be fainter than every artificial one (`AbstractObservation.beyond`).

    ```python
    measure(objects, learn_ages(objects, box).prior, box).mean
    ```
    """
    if not width > 0 or not beforehand > 0:
        raise ValueError(f"width is {width} and beforehand {beforehand}; expected numbers above 0")
    low, high = box.log_age
    edges = np.linspace(low, high, int(np.ceil((high - low) / width - 1e-9)) + 1)
    n_bins = len(edges) - 1
    law = power_law_prior(mass_slope, -1.0)
    expected = _catalogued(objects, box, law, edges)
    theta, weight, owner, _, _ = weighted(objects, law, box)
    cell = owner * n_bins + _bins(theta[:, 1], edges)
    of_bin = np.bincount(cell, weight, len(objects) * n_bins).reshape(-1, n_bins)
    of_bin = of_bin[of_bin.sum(axis=1) > 0]
    if not len(of_bin):
        raise ValueError(f"{objects.source}: no simulated cluster is like any of the catalogue")
    seen = expected > 0
    likelihood = np.where(seen, of_bin / np.where(seen, expected, 1.0), 0.0)
    share = seen / seen.sum()
    for _ in range(_STEPS):
        mine = likelihood * share
        mine /= mine.sum(axis=1, keepdims=True)
        new = np.where(seen, mine.sum(axis=0) + beforehand, 0.0)
        new /= new.sum()
        change, share = np.abs(new - share).max(), new
        if change < _CHANGE:
            break
    density = np.where(seen, share / np.where(seen, expected, 1.0), 0.0)
    return LearnedAges(edges, share, density / density.max(), mass_slope)


def _catalogued(
    objects: LightObjects, box: Box, law: ObjectPrior, edges: Float[np.ndarray, " edge"]
) -> Float[np.ndarray, " bin"]:
    """∫ p_sel(θ) π(θ) of each bin, per dex, with the clusters of the pool."""
    pool, p_rows = objects.pool, objects.p_rows
    assert p_rows is not None
    inside = box.holds(pool.theta)
    log_w = np.where(inside, pool.log_weight + law(pool.theta), -np.inf)
    weight = np.where(inside, p_rows * np.exp(log_w - log_w.max()), 0.0)
    place, n = _bins(pool.theta[:, 1], edges), len(edges) - 1
    found = np.bincount(place, weight, n)
    beyond = objects.observation.beyond(apparent(pool, objects.observation))
    unseen = np.bincount(place, np.where(beyond, weight, 0.0), n)
    if (bad := np.flatnonzero(unseen > _MAX_BEYOND * found)).size:
        first = int(bad[0])
        raise ValueError(
            f"{objects.source}: of the clusters of log age {edges[first]:.2f} to "
            f"{edges[first + 1]:.2f} that would be catalogued {unseen[first] / found[first]:.0%} "
            "are fainter than every artificial cluster, and nobody knows how many of these are: "
            "inject fainter ones, down to where none is found, or give age_slope"
        )
    return found


def _bins(log_age: Float[np.ndarray, " n"], edges: Float[np.ndarray, " edge"]) -> np.ndarray:
    return np.clip(np.searchsorted(edges, log_age, side="right") - 1, 0, len(edges) - 2)
