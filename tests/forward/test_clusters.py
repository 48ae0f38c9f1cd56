"""Clusters of a population, with the light of their own stars."""

import numpy as np
import pytest
import scipy.stats
from tests.simulate.conftest import analytic_grid

from starcensus.forward import (
    Constant,
    NodesExtinction,
    Population,
    PowerLaw,
    Separable,
    draw_population,
)
from starcensus.simulate import ClusterLibrary, FlatRadius, StellarPopulation


def population(log_n: float) -> Population:
    return Population(
        Separable(PowerLaw((2.0, 4.0), -2.0), Constant((6.5, 8.5))),
        NodesExtinction((0.0, 1.0, 2.0)),
        log_n,
    )


@pytest.fixture(scope="module")
def stars() -> StellarPopulation:
    return StellarPopulation(analytic_grid(np.array([6.0, 7.0, 8.0, 9.0]), step=0.01))


@pytest.fixture(scope="module")
def drawn(stars: StellarPopulation) -> ClusterLibrary:
    clusters = draw_population(population(2.5), stars, FlatRadius(1.0, 10.0), seed=3)
    assert clusters is not None
    return clusters


def test_number_theta_and_radii_follow_their_laws(drawn: ClusterLibrary):
    # Of Poisson counts and KS tests together a false alarm in two hundred.
    assert 1e-3 < scipy.stats.poisson(10**2.5).cdf(len(drawn)) < 1 - 1e-3
    laws = (
        # Mass: dN/dM ∝ M^-2, age: flat in years, radius: flat in pc.
        (-(10.0**-drawn.log_mass), -1e-2, -1e-4),
        (10**drawn.log_age, 10**6.5, 10**8.5),
        (drawn.r_eff_pc, 1.0, 10.0),
    )
    for values, low, high in laws:
        assert scipy.stats.kstest(values, scipy.stats.uniform(low, high - low).cdf).pvalue > 1e-3
    density = population(2.5).log_prob(drawn.log_mass, drawn.log_age, drawn.a_v)
    np.testing.assert_allclose(drawn.log_density, density, rtol=1e-12)


def test_light_is_of_the_stars_in_all_their_bands(drawn: ClusterLibrary, stars: StellarPopulation):
    assert drawn.bands == stars.bands and drawn.abs_mags.shape == (len(drawn), 3)
    heavy, light = drawn.log_mass > 3, drawn.log_mass < 2.3
    assert np.median(drawn.abs_mags[heavy]) < np.median(drawn.abs_mags[light]) - 1


def test_the_seed_says_all(drawn: ClusterLibrary, stars: StellarPopulation):
    again = draw_population(population(2.5), stars, FlatRadius(1.0, 10.0), seed=3)
    other = draw_population(population(2.5), stars, FlatRadius(1.0, 10.0), seed=4)
    assert again is not None and other is not None
    np.testing.assert_array_equal(again.abs_mags, drawn.abs_mags)
    assert not np.array_equal(other.log_mass[:5], drawn.log_mass[:5])


def test_chance_may_make_none_and_too_many_are_refused(stars: StellarPopulation):
    assert draw_population(population(-9.0), stars, FlatRadius(1.0, 10.0), seed=0) is None
    with pytest.raises(ValueError, match="log_n = 9 asks for 1e\\+09"):
        draw_population(population(9.0), stars, FlatRadius(1.0, 10.0), seed=0)
