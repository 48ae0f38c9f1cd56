"""Ages that the light of a catalogue teaches: the maximum by another way, and its use."""

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from tests.experiments.light_project import BOX, MODULUS, light_objects, population

from starcensus.inference import LightObjects, learn_ages, measure, power_law_prior
from starcensus.networks import MLP
from starcensus.selection import PhotometricNetwork
from starcensus.selection.observation import MeasuredCuts

WIDTH = 0.5


@pytest.fixture(scope="module")
def objects() -> LightObjects:
    return light_objects()


def plain(objects: LightObjects, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """∫ over each bin of p(d_i, det | θ) and of p_sel, both times dN/dM ∝ M⁻², over all rows."""
    pool, data = objects.pool, objects.data
    weight = np.exp(pool.log_weight) * 10.0 ** -pool.theta[:, 0]
    place = np.digitize(pool.theta[:, 1], edges[1:-1])
    flux = 10.0 ** (-0.4 * (pool.abs_mags.astype(float) + 29.98))
    p_sel = objects.observation.p_sel(pool.abs_mags.astype(float) + 29.98)
    of_bins = np.zeros((len(data), len(edges) - 1))
    for i in range(len(data)):
        variance = data.flux_error[i] ** 2 + (0.4 * np.log(10) * 0.1 * flux) ** 2
        kernel = -0.5 * ((data.flux[i] - flux) ** 2 / variance + np.log(variance)).sum(axis=1)
        of_bins[i] = np.bincount(place, np.exp(kernel - kernel.max()) * weight, len(edges) - 1)
    return of_bins, np.bincount(place, weight * np.asarray(p_sel), len(edges) - 1)


def test_it_is_the_maximum_of_the_likelihood(objects):
    found = learn_ages(objects, BOX, -2.0, WIDTH, beforehand=1e-9)
    of_bins, catalogued = plain(objects, found.edges)
    assert len(found.density) == 4 and found.catalogued.sum() == pytest.approx(1)

    def minus_log_likelihood(x: np.ndarray) -> float:
        density = np.exp(np.append(0.0, x))
        total = of_bins @ density / (catalogued @ density)
        return -float(np.log(total[of_bins.sum(axis=1) > 0]).sum())

    best = scipy.optimize.minimize(minus_log_likelihood, np.zeros(3), method="Nelder-Mead")
    away = np.log(found.density[1:] / found.density[0]) - best.x
    # Rows are thinned, and the search leaves out those beyond 5 sigma.
    assert np.abs(away).max() < 0.03, (found.density, best.x)
    mine = minus_log_likelihood(np.log(found.density[1:] / found.density[0]))
    assert mine < best.fun + 0.05
    # dN/dT ∝ T^-2 is far from it.
    assert minus_log_likelihood(-1.15 * np.arange(1.0, 4.0)) > best.fun + 5


def test_it_is_near_the_ages_that_the_catalogue_was_drawn_with(objects):
    """dN/dT ∝ T^-0.8, so that 10^0.1 more in each bin of half a dex than in the one before."""
    found = learn_ages(objects, BOX, -1.9, WIDTH)
    truth = population()
    edges = found.edges
    middle = (edges[1:] + edges[:-1]) / 2
    log_p = np.asarray(truth.log_prob(np.full(4, 4.0), middle, np.full(4, 0.3)))
    away = np.log(found.density / found.density.mean()) - (log_p - np.log(np.exp(log_p).mean()))
    assert np.abs(away).max() < 0.6, away


def test_the_prior_is_the_density_inside_the_bins_and_nothing_beyond(objects):
    found = learn_ages(objects, BOX, -2.0, WIDTH)
    theta = np.array([[3.0, 6.6, 0.1], [4.0, 6.6, 0.9], [3.0, 8.4, 0.1], [3.0, 8.6, 0.1]])
    log_p = found.prior(theta)
    assert log_p[0] - log_p[1] == pytest.approx(np.log(10.0))
    ratio = found.density[0] / found.density[-1]
    assert log_p[0] - log_p[2] == pytest.approx(np.log(ratio))
    assert np.isneginf(log_p[3])


def test_more_beforehand_is_flatter(objects):
    firm = learn_ages(objects, BOX, width=WIDTH, beforehand=1e5).catalogued
    assert np.ptp(firm) < 0.01
    assert np.ptp(learn_ages(objects, BOX, width=WIDTH).catalogued) > 0.1


def test_a_wrong_law_of_ages_is_mended(objects):
    """Of a law that is off by 1.5 in its slope, measured ages keep little."""
    learned = measure(objects, learn_ages(objects, BOX, -1.9, WIDTH).prior, BOX).mean[:, 1]
    right, wrong = (
        measure(objects, power_law_prior(-1.9, slope), BOX).mean[:, 1] for slope in (-0.8, -2.3)
    )
    there = np.isfinite(right)
    assert np.abs(np.mean((wrong - right)[there])) > 3 * np.abs(np.mean((learned - right)[there]))


def test_bins_in_which_no_cluster_would_be_catalogued_have_none(objects):
    p_rows = np.where(objects.pool.theta[:, 1] > 8.0, 0.0, objects.p_rows)
    blind = dataclasses.replace(objects, p_rows=p_rows)
    found = learn_ages(blind, BOX, width=WIDTH)
    assert found.density[-1] == found.catalogued[-1] == 0 and found.catalogued.sum() == 1
    assert np.isneginf(found.prior(np.array([[3.0, 8.4, 0.1]]))).all()


@pytest.mark.parametrize("wrong", [{"width": 0.0}, {"beforehand": -1.0}])
def test_mistakes(objects, wrong):
    with pytest.raises(ValueError, match="expected numbers above 0"):
        learn_ages(objects, BOX, **wrong)


def test_ages_of_clusters_that_nobody_has_seen_are_not_learned(objects):
    """A network that finds 0.3 down to V = 25.5, or to 40, where none is fainter."""
    bands = objects.observation.bands
    parts = MLP((np.zeros((2, 4)), np.zeros((1, 2))), (np.zeros(2), np.array([-0.85])))
    for faintest in (25.5, 40.0):
        limits = np.array([[10.0, faintest]] * 4)
        network = PhotometricNetwork((parts,), bands, limits, MODULUS, outside="clip")
        survey = dataclasses.replace(objects.observation, cuts=MeasuredCuts(), selection=network)
        p = survey.p_sel(objects.pool.abs_mags + MODULUS)
        some = dataclasses.replace(objects, observation=survey, p_rows=p)
        if faintest > 30:
            assert np.isfinite(learn_ages(some, BOX, -2.0, WIDTH).density).all()
            continue
        with pytest.raises(ValueError, match=r"log age 6\.50 to 7\.00 .*fainter than every artif"):
            learn_ages(some, BOX, -2.0, WIDTH)
