"""Fits of small populations, whose evidence brute force finds."""

import dataclasses

import jax
import numpy as np
import pytest

from starcensus.forward import (
    Constant,
    Fixed,
    HalfNormal,
    NodesExtinction,
    Normal,
    Population,
    PowerLaw,
    Separable,
    Uniform,
)
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import FitResult, FitSettings, PopulationModel, SamplerSettings, fit
from starcensus.selection import RecordedSelection
from starcensus.selection.catalogue import Catalogue


@dataclasses.dataclass(frozen=True)
class Given:
    """A mock catalogue with its operator and the family that made it."""

    catalogue: Catalogue
    selection: RecordedSelection
    population: Population

    def fitted(self, priors: dict, form: str = "poisson", seed: int = 5) -> FitResult:
        model = PopulationModel(self.population, priors, form)
        sampler = SamplerSettings(n_warmup=300, n_samples=1000, seed=seed)
        settings = FitSettings(sampler=sampler, n_predictions=20)
        return fit(self.catalogue, self.selection, model, settings)


@pytest.fixture(scope="session")
def given(simple_population: Population, survey: RecordedSelection) -> Given:
    mock = mock_catalogue(jax.random.key(11), simple_population, survey)
    return Given(mock.catalogue, survey, simple_population)


# Two free parameters, one of them with a prior that is truncated where the posterior is.
TWO = {"alpha_m": Normal(-2.0, 0.4, low=-2.15, high=0.0), "sigma_av": Fixed(0.5)}


@pytest.fixture(scope="session")
def two_parameters(given: Given) -> FitResult:
    """alpha_m under a truncated prior, and log_n."""
    return given.fitted({**TWO, "log_n": Uniform(1.0, 4.0)})


@pytest.fixture(scope="session")
def shares(survey: RecordedSelection) -> FitResult:
    """A simplex of three shares of extinction, of the conditional form; all else is fixed."""
    population = Population(
        Separable(PowerLaw((3.5, 6.5), -2.0), Constant((6.0, 8.5))),
        NodesExtinction((0.0, 1.0, 2.0), np.array([0.5, 0.3, 0.2])),
        np.log10(400.0),
    )
    mock = mock_catalogue(jax.random.key(2), population, survey)
    return Given(mock.catalogue, survey, population).fitted({"alpha_m": Fixed()}, "conditional")


@pytest.fixture(scope="session")
def half_normal(given: Given) -> HalfNormal:
    found = given.population.extinction
    assert isinstance(found, HalfNormal)
    return found
