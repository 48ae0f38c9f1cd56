"""Binned stellar populations against quadrature."""

import pickle

import numpy as np
import pytest
from scipy.integrate import quad

from starcensus.simulate.clusters.bins import Binning, MassBins, StellarPopulation
from starcensus.simulate.clusters.imf import Chabrier, Kroupa, Salpeter
from starcensus.simulate.stars.grid import StellarGrid


@pytest.fixture(scope="module")
def population(grid: StellarGrid) -> StellarPopulation:
    return StellarPopulation(grid)


def mean_and_square(population: StellarPopulation, age: int) -> tuple[np.ndarray, np.ndarray]:
    """E[F] and E[F²] of a star, `(band, knot)`, by the trapezium rule on many masses."""
    grid, imf = population.grid, population.imf
    part = grid.isochrone(age)
    points = grid.initial_mass[part]
    stops = np.append(points[points < imf.high], min(points[-1], imf.high))
    stops = np.unique([*stops[stops > imf.low], imf.low, *imf.breaks])
    mass = np.unique(np.linspace(stops[:-1], stops[1:], 100))
    mass = mass[(mass >= points[0]) & (mass <= points[-1])]
    weight = imf.pdf(mass) * mass
    shape = grid.flux.shape[1:]
    log_flux = np.log(grid.flux[part].astype(float)).reshape(len(points), -1)
    means, squares = np.empty(log_flux.shape[1]), np.empty(log_flux.shape[1])
    for column, values in enumerate(log_flux.T):
        flux = np.exp(np.interp(np.log(mass), np.log(points), values))
        means[column] = np.trapezoid(weight * flux, np.log(mass))
        squares[column] = np.trapezoid(weight * flux**2, np.log(mass))
    return means.reshape(shape), squares.reshape(shape)


@pytest.mark.parametrize("imf", [Kroupa(), Chabrier(), Salpeter(low=0.3, high=60.0)])
def test_mass_bins_follow_the_imf(imf):
    bins = MassBins.of(imf, 0.03)
    assert bins.probability.sum() == pytest.approx(1.0, abs=1e-12)
    assert bins.probability @ bins.mean == pytest.approx(imf.mean_mass, rel=1e-12)
    second = bins.probability @ (bins.variance + bins.mean**2)
    assert second == pytest.approx(imf.moment(2.0), rel=1e-9)
    assert np.log10(bins.edges[1:] / bins.edges[:-1]).max() <= 0.03 + 1e-12
    assert set(imf.breaks) <= set(bins.edges)
    q = np.random.default_rng(1).random(20_000)
    k = np.searchsorted(bins.below, q, side="right") - 1
    found = bins.mass_at(k, (q - bins.below[k]) / bins.probability[k])
    np.testing.assert_allclose(found, imf.ppf(q), rtol=3e-6)


def test_mean_light_is_the_integral_over_the_laws(population: StellarPopulation, laws):
    ages = population.grid.log_age
    light = population.mean_light(ages)
    flux = population.band_flux(light)
    fine = StellarPopulation(laws.analytic_grid(ages[2:4], step=2e-4))
    fine_flux = fine.band_flux(fine.mean_light(ages[2:4]))
    for i, age in enumerate(ages[2:4]):
        top = float(laws.turnoff(age))
        for knot in (0, 3, 5):
            for band in range(3):

                def integrand(x: float, age=age, knot=knot, band=band) -> float:
                    m = np.array([np.exp(x)])
                    f = laws.star_flux(m, float(age), float(laws.a_v[knot]))[0, band]
                    return float(f * population.imf.pdf(m)[0] * m[0])

                stops = np.log([0.1, 0.5, 0.96 * top, top * (1 - 1e-12)])
                truth = sum(
                    quad(integrand, stops[j], stops[j + 1], epsrel=1e-9)[0] for j in range(3)
                )
                truth /= population.imf.mean_mass
                # The grid's points are 0.002 in ln(mass) apart where giants brighten.
                assert flux[i + 2, band, knot] == pytest.approx(truth, rel=5e-3)
                assert fine_flux[i, band, knot] == pytest.approx(truth, rel=5e-5)


def test_means_and_second_moments_between_points(population: StellarPopulation):
    grid = population.grid
    for age in (0, 3, 6):
        mean, square = mean_and_square(population, age)
        flux = population.band_flux(population.mean_light(grid.log_age[age : age + 1]))[0]
        np.testing.assert_allclose(flux * population.imf.mean_mass, mean, rtol=3e-5)
        bins = population.isochrone(age)
        kept = bins.probability @ population.band_flux(bins.light).reshape(len(bins), -1) ** 2
        lost = 1 - kept.reshape(square.shape) / square
        assert lost.max() < population.binning.tolerance and lost.min() > -5e-5


@pytest.mark.parametrize("w", [0.0, 0.1, 0.5, 0.8])
def test_variance_lost_between_ages_is_within_the_tolerance(
    population: StellarPopulation, w: float
):
    for index in (1, 3, 6):
        moments = [mean_and_square(population, index + i) for i in (0, 1)]
        mean, square = ((1 - w) * a + w * b for a, b in zip(*moments, strict=True))
        interval = population.interval(index)
        p, light = interval.probabilities(w), population.band_flux(interval.star_light(w))
        assert p.sum() == pytest.approx(1.0, abs=1e-12)
        np.testing.assert_allclose(np.einsum("b,bck->ck", p, light), mean, rtol=3e-5)
        lost = 1 - np.einsum("b,bck->ck", p, light**2) / square
        assert lost.max() < population.binning.tolerance and lost.min() > -5e-5
        totals = interval.totals(p, w)
        np.testing.assert_allclose(population.band_flux(totals[None])[0], mean, rtol=3e-5)


def test_a_coarse_tolerance_loses_more(laws):
    population = StellarPopulation(
        laws.analytic_grid(np.array([7.0, 7.05])), binning=Binning(tolerance=0.01)
    )
    _, square = mean_and_square(population, 0)
    bins = population.isochrone(0)
    kept = bins.probability @ population.band_flux(bins.light).reshape(len(bins), -1) ** 2
    lost = 1 - kept.reshape(square.shape) / square
    assert 3e-4 < lost.max() < 0.01


def test_dead_and_dark_stars(population: StellarPopulation):
    grid, imf = population.grid, population.imf
    for index in (0, 3, 6):
        bins = population.isochrone(index)
        top = grid.initial_mass[grid.start[index + 1] - 1]
        dead = bins.mean > top
        assert (bins.alive[dead] == 0).all() and (bins.alive[~dead] > 0).all()
        assert (bins.light[dead, :-1] == 0).all()
        np.testing.assert_allclose(bins.light[dead, -1], bins.mean[dead])
        dark = bins.mean < 0.1
        assert (bins.light[dark, :-2] < bins.light[~dark & ~dead, :-2].min(0)).all()
        np.testing.assert_allclose(bins.light[dark, -1], 0.0, atol=1e-12)
        died = float(imf.partial_moment(1.0, np.array(top), np.array(imf.high)))
        assert bins.probability[dead] @ bins.mean[dead] == pytest.approx(died, rel=1e-6)
        assert bins.probability @ bins.mean == pytest.approx(imf.mean_mass, rel=1e-6)


def test_light_between_ages_is_interpolated(population: StellarPopulation):
    young, middle, old = population.mean_light(np.array([7.0, 7.0125, 7.05]))
    np.testing.assert_allclose(middle, 0.75 * young + 0.25 * old, rtol=1e-9)
    index, weight = population.place(np.array([6.0, 7.05, 10.0]))
    np.testing.assert_allclose(population.grid.log_age[index] + weight * 0, [6.0, 7.05, 9.05])
    np.testing.assert_allclose(weight, [0.0, 0.0, 1.0])


def test_the_shipped_grid_is_binned_within_the_tolerance():
    population = StellarPopulation(StellarGrid.default())
    ages = population.grid.log_age
    for index in (0, len(ages) // 3, len(ages) // 2, len(ages) - 2):
        interval = population.interval(index)
        assert 100 < len(interval.bins) < 1200
        moments = [mean_and_square(population, index + i) for i in (0, 1)]
        for w in (0.0, 0.5):
            mean, square = ((1 - w) * a + w * b for a, b in zip(*moments, strict=True))
            p, light = interval.probabilities(w), population.band_flux(interval.star_light(w))
            np.testing.assert_allclose(np.einsum("b,bck->ck", p, light), mean, rtol=3e-5)
            lost = 1 - np.einsum("b,bck->ck", p, light**2) / square
            assert lost.max() < 1.1 * population.binning.tolerance


def test_ages_outside_the_grid_and_bad_binning_are_refused(population: StellarPopulation):
    with pytest.raises(ValueError, match=r"log_age of cluster 1 is 10.3; .* cover 6 to 10"):
        population.place(np.array([7.0, 10.3]))
    with pytest.raises(ValueError, match="mass_step_dex lies in"):
        Binning(mass_step_dex=0.5)


def test_pickles_carry_what_it_is_made_of_and_nothing_more(population: StellarPopulation):
    population.interval(2)
    copy = pickle.loads(pickle.dumps(population))
    assert copy._intervals == {}
    np.testing.assert_array_equal(copy.interval(2).table, population.interval(2).table)
