"""A posterior that moves with the number of samples of each cluster says so."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from starcensus.forward import Constant, NodesExtinction, Population, PowerLaw, Separable
from starcensus.forward.mock import mock_catalogue
from starcensus.forward.priors import Fixed
from starcensus.inference import (
    ErrorSettings,
    PopulationModel,
    PublishedValues,
    least_object_ess,
    object_shift,
)
from starcensus.inference.likelihood import sum_of_object_terms
from starcensus.inference.objects import AbstractObjects
from starcensus.selection import complete

SIGMA = (0.8, 0.1, 0.1)


@pytest.fixture(scope="module")
def fitted() -> tuple[PopulationModel, PublishedValues]:
    """Errors of 0.8 dex under a steep slope, and two samples of each cluster."""
    population = Population(
        Separable(PowerLaw((2.0, 7.0), -2.6), Constant((6.0, 8.0))),
        NodesExtinction((0.0, 2.0)),
        log_n=2.6,
    )
    model = PopulationModel(population, {"log_n": Fixed(), "p_av": Fixed()})
    survey = complete(population.box, acts_on="truth")
    mock = mock_catalogue(jax.random.key(2), population, survey, SIGMA)
    return model, PublishedValues(mock.catalogue, ErrorSettings(n_samples=2))


def test_the_shift_is_the_change_of_the_slope_times_the_variance(fitted):
    """By derivatives of ln L with few and with many samples, and draws of a normal posterior."""
    model, objects = fitted
    population, survey = model.population, complete(model.population.box, acts_on="truth")
    samples = objects.samples(population.box, survey)
    more = objects.finer()
    assert isinstance(more, PublishedValues) and more.errors.n_samples == 8
    assert more.errors.seed != objects.errors.seed
    finer = more.samples(population.box, survey)

    def slope(each) -> float:
        at = lambda x: sum_of_object_terms(population.with_values({"alpha_m": x}), each)  # noqa: E731
        return float(jax.grad(at)(jnp.asarray(-2.6)))

    sd = 0.03
    draws = -2.6 + sd * np.random.default_rng(1).normal(size=(2, 500))
    found = object_shift(objects, samples, survey, model, {"alpha_m": draws})
    expected = sd * (slope(finer) - slope(samples))
    assert abs(expected) > 0.25
    assert found["alpha_m"] == pytest.approx(expected, rel=0.15)


def test_objects_without_more_samples_have_no_shift(fitted):
    model, objects = fitted
    exact = PublishedValues(objects.catalogue, ErrorSettings(mode="none"))
    assert exact.finer() is None and AbstractObjects.finer(objects) is None
    drawn = {"alpha_m": np.zeros((1, 5))}
    survey = complete(model.population.box, acts_on="truth")
    samples = exact.samples(model.population.box, survey)
    assert object_shift(exact, samples, survey, model, drawn) == {}
    # A parameter that does not vary cannot shift.
    few = objects.samples(model.population.box, survey)
    still = {"alpha_m": np.full((1, 5), -2.6)}
    assert object_shift(objects, few, survey, model, still) == {}


def test_samples_are_too_few_wherever_the_posterior_goes(fitted):
    """By sums over the samples in numpy; at the median of the draws each object has more."""
    model, objects = fitted
    objects = PublishedValues(objects.catalogue, ErrorSettings(n_samples=8))
    samples = objects.samples(model.population.box, complete(model.population.box, acts_on="truth"))
    draws = np.array([[-0.5, -2.6, -2.5, -2.7, -5.5]])
    log_mass, log_age, a_v = (np.asarray(x) for x in samples.theta)
    dust = np.asarray(model.population.extinction.log_prob(a_v, log_age))
    # Constant in time.
    rest = dust + np.log(10.0) * log_age + samples.log_weight
    mask = np.asarray(samples.mask)

    def effective(slope: float) -> np.ndarray:
        log_w = (slope + 1) * np.log(10.0) * log_mass + rest
        w = np.exp(log_w - log_w.max(axis=1, keepdims=True))
        return (w.sum(axis=1) ** 2 / (w**2).sum(axis=1))[mask]

    expected = np.min([effective(slope) for slope in draws[0]], axis=0)
    found = least_object_ess(samples, model, {"alpha_m": draws})
    np.testing.assert_allclose(found[mask], expected, rtol=1e-6)
    assert np.isnan(found[~mask]).all()
    assert np.median(found[mask]) < 0.7 * np.median(effective(-2.6))
