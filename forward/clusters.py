"""Clusters of a population with the light of their own stars."""

import dataclasses

import jax
import numpy as np

from starcensus.theta import AXES

from ..simulate import (
    AbstractRadiusLaw,
    ClusterLibrary,
    Design,
    DrawSettings,
    StellarPopulation,
    TableTheta,
    draw_clusters,
)
from .mock import MAX_CLUSTERS
from .population import Population

# Random streams of the number of the clusters and of their θ.
_NUMBER, _THETA = 11, 12


def draw_population(
    population: Population,
    stars: StellarPopulation,
    radius: AbstractRadiusLaw,
    settings: DrawSettings = DrawSettings(),
    *,
    seed: int,
) -> ClusterLibrary | None:
    """Draw the clusters of a population, each with stars of its own: a galaxy's true clusters.

    Their number is Poisson with mean 10^log_n; θ is drawn from the population, radii from `radius`,
    stars from the stellar population's initial mass function.

    **Arguments:**

    - `population`: with `log_n`, the log10 of the expected number inside its bounds.
    - `stars`: stars of all masses and ages that the bounds allow, and their light.
    - `radius`: distribution of the half-light radius, pc.
    - `settings`: how stars are drawn.
    - `seed`: seed of everything random; the same seed gives the same clusters.

    Returns a library in all bands of `stars`, with ln p(θ) of the population as `log_density`, or
    None where chance makes no cluster. Raises `ValueError` for a population too large to draw, or
    beyond the ages of the stars.

    ```python
    stars = StellarPopulation(StellarGrid.default().select(("ACS_F555W",)), Kroupa())
    clusters = draw_population(population, stars, MassRadius(), seed=1)
    ```
    """
    expected = 10 ** float(np.asarray(population.log_n))
    if expected > MAX_CLUSTERS:
        raise ValueError(
            f"log_n = {float(population.log_n):g} asks for {expected:.3g} clusters; at most "
            f"{MAX_CLUSTERS:g} are drawn: raise the lower mass bound"
        )
    n = int(np.random.default_rng([seed, _NUMBER]).poisson(expected))
    if n == 0:
        return None
    with jax.enable_x64(True):
        key = jax.random.fold_in(jax.random.key(seed), _THETA)
        theta = population.sample(key, n)
        density = np.asarray(population.log_prob(*theta.T), float)
    columns = dict(zip(AXES, np.array(theta, float).T.copy(), strict=True))
    table = TableTheta({**columns, "log_density": density}, "the population")
    rows = Design(n, seed, table, radius).rows(0, n)
    drawn = draw_clusters(
        stars, rows["log_mass"], rows["log_age"], rows["a_v"], rows["seed"], settings
    )
    light = {f.name: getattr(drawn, f.name) for f in dataclasses.fields(drawn)}
    return ClusterLibrary(bands=stars.bands, **rows, **light, meta={"seed": seed})
