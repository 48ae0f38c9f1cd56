"""The stars of a cluster by kind: how many there are of each, and the light of one.

A drawn cluster of 10⁵ M_sun has 150,000 stars of a few hundred kinds, the bins of the population.
An image needs their number and light alone, and neither masses nor magnitudes star by star.
"""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

from ..clusters.bins import StellarPopulation
from ..clusters.cluster import DrawSettings, Streams, extinguished, sampler_of
from ..clusters.resolved import nebular_flux_of


@dataclasses.dataclass(frozen=True, eq=False)
class StarKinds:
    """The luminous stars of one cluster.

    **Arguments:**

    - `bands`: names of the columns.
    - `counts`: `(kind,)`, how many stars.
    - `flux`: `(kind, band)`, of one star behind the cluster's extinction, 10^(−0.4 M).
    - `gas`: `(band,)`, flux of the nebular light, the same unit.

    ```python
    kinds = draw_kinds(stars, 4.0, 7.0, 0.5, 1, DrawSettings())
    kinds.counts.sum(), kinds.gas / kinds.total
    ```
    """

    bands: tuple[str, ...]
    counts: Int[np.ndarray, "kind"]
    flux: Float[np.ndarray, "kind band"]
    gas: Float[np.ndarray, "band"]

    @property
    def total(self) -> Float[np.ndarray, "band"]:
        """Flux of stars and gas."""
        return self.counts @ self.flux + self.gas


def draw_kinds(
    population: StellarPopulation,
    log_mass: float,
    log_age: float,
    a_v: float,
    seed: int,
    settings: DrawSettings,
) -> StarKinds:
    """The stars of the cluster that `draw_clusters` draws from the same arguments.

    Their light adds up to its light to the error of interpolation in a_v, some 1e-5 mag.

    **Arguments:**

    - `population`: stars and their light.
    - `log_mass` (log10 M_sun), `log_age` (log10 yr), `a_v` (mag), `seed`: of one cluster.
    - `settings`: gas, and how stars are drawn.

    Raises `ValueError` for an age outside the grid.

    ```python
    kinds = draw_kinds(stars, 4.0, 7.0, 0.5, 1, DrawSettings())
    -2.5 * np.log10(kinds.total), kinds.counts.sum()
    ```
    """
    index, weight = population.place(np.array([float(log_age)]))
    interval, w = population.interval(int(index[0])), float(weight[0])
    rng = Streams().start(seed)
    drawn = sampler_of(population).draw(interval, w, 10.0 ** float(log_mass), settings.rule, rng)
    there = np.flatnonzero(drawn.counts)
    light = population.band_flux(interval.star_light(w)[there])
    flux = extinguished(light, population.grid.a_v, np.full(len(there), float(a_v)))
    shines = (flux > 0).any(axis=1)
    gas = np.zeros(len(population.bands))
    if settings.nebular and log_age <= settings.nebular_max_log_age:
        gas = nebular_flux_of(population, log_mass, log_age, a_v, seed, settings)
    return StarKinds(population.bands, drawn.counts[there][shines], flux[shines], gas)
