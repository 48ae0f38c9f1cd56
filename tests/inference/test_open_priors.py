"""Fits with tied and joint priors, from start to summary."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

from starcensus.forward import (
    NodesExtinction,
    Population,
    PowerLaw,
    PowerLawAge,
    Separable,
    mock_catalogue,
)
from starcensus.inference import (
    ErrorSettings,
    FitSettings,
    PopulationModel,
    SamplerSettings,
    fit,
)
from starcensus.selection import CompleteSelection


@pytest.mark.slow
def test_a_tied_and_a_joint_prior_in_a_fit():
    population = Population(
        Separable(PowerLaw((3.0, 6.0), -1.5), PowerLawAge((6.0, 9.0), -1.5)),
        NodesExtinction((0.0, 1.0)),
        2.3,
    )
    selection = CompleteSelection(population.box)
    catalogue = mock_catalogue(jax.random.key(1), population, selection).catalogue
    covariance = np.array([[0.09, 0.03], [0.03, 0.04]])
    model = PopulationModel(
        population,
        {
            ("alpha_m", "log_n"): dist.MultivariateNormal(np.array([-1.6, 2.4]), covariance),
            "alpha_t": "alpha_m",
            "p_av": {"kind": "fixed"},
        },
    )
    settings = FitSettings(
        errors=ErrorSettings(mode="none"), sampler=SamplerSettings(n_warmup=100, n_samples=200)
    )
    result = fit(catalogue, selection, model, settings)
    posterior = result.tree["posterior"]
    np.testing.assert_array_equal(posterior["alpha_t"], posterior["alpha_m"])
    # Independent: on a grid, the same density by hand.
    mass, age = np.log(10) * catalogue.theta[:, 0], np.log(10) * catalogue.theta[:, 1]
    alpha, log_n = np.meshgrid(np.linspace(-2.6003, -0.9, 341), np.linspace(1.9, 2.7, 321))
    n, value = len(catalogue), 0.0
    for x, low, high in ((mass, 3.0, 6.0), (age, 6.0, 9.0)):
        a, b = np.log(10) * low, np.log(10) * high
        slope = alpha + 1
        norm = (np.exp(slope * b) - np.exp(slope * a)) / slope
        value = value + slope * x.sum() - n * np.log(norm)
    value = value + n * np.log(10) * log_n - 10**log_n
    away = np.stack([alpha + 1.6, log_n - 2.4])
    value = value - np.einsum("i...,ij,j...->...", away, np.linalg.inv(covariance), away) / 2
    weight = np.exp(value - value.max())
    for name, at in (("alpha_m", alpha), ("log_n", log_n)):
        mean = (weight * at).sum() / weight.sum()
        sd = np.sqrt((weight * (at - mean) ** 2).sum() / weight.sum())
        found = np.asarray(posterior[name])
        assert abs(found.mean() - mean) < 0.25 * sd
        assert 0.8 < found.std() / sd < 1.2
    assert result.summary["posterior.alpha_t.median"] == result.summary["posterior.alpha_m.median"]
