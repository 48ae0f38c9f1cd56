"""Fits that several tests look at; a compilation costs more than all of them."""

import dataclasses

import jax
import numpy as np
import pytest

from starcensus.forward import (
    Constant,
    Fixed,
    HalfNormal,
    NodesExtinction,
    Population,
    PowerLaw,
    SelectionGrid,
    Separable,
    Uniform,
    selection_grid,
)
from starcensus.forward.mock import Mock, mock_catalogue
from starcensus.inference import (
    ErrorSettings,
    FitResult,
    FitSettings,
    ObjectSamples,
    PopulationModel,
    Sampler,
    SamplerSettings,
    fit,
    object_samples,
)
from starcensus.inference.objects import in_bounds
from starcensus.selection import (
    AbstractSelection,
    MagnitudeLimit,
    RecordedSelection,
    complete,
    with_outside,
)


@dataclasses.dataclass(frozen=True)
class Fitted:
    """A fit with everything that went into it."""

    mock: Mock
    selection: AbstractSelection
    model: PopulationModel
    settings: FitSettings
    grid: SelectionGrid
    objects: ObjectSamples
    sampler: Sampler
    result: FitResult


@pytest.fixture(scope="session")
def survey() -> RecordedSelection:
    """A magnitude limit that acts on recorded values with errors of 0.1 dex and 0.1 mag."""
    rule = MagnitudeLimit.default("F555W", limit_mag=23.0, width_mag=0.2)
    return RecordedSelection(with_outside(rule, "zero"), (0.1, 0.1, 0.1))


@pytest.fixture(scope="session")
def simple_population() -> Population:
    """Power law in mass, constant formation, half-normal extinction; about 120 clusters seen."""
    return Population(
        Separable(PowerLaw((3.5, 6.5), -2.0), Constant((6.0, 8.5))),
        HalfNormal((0.0, 2.0), 0.5),
        np.log10(660.0),
    )


@pytest.fixture(scope="session")
def simple_fit(simple_population: Population, survey: RecordedSelection) -> Fitted:
    """alpha_m, sigma_av and log_n of `simple_population`, from one mock."""
    model = PopulationModel(simple_population)
    mock = mock_catalogue(jax.random.key(11), simple_population, survey)
    settings = FitSettings(
        sampler=SamplerSettings(n_warmup=300, n_samples=1000, seed=5), n_predictions=50
    )
    grid = selection_grid(survey, simple_population, settings.quadrature)
    kept = in_bounds(mock.catalogue, simple_population.box, settings.errors)
    objects = object_samples(kept, simple_population.box, settings.errors, survey)
    sampler = Sampler(model, grid, settings.sampler)
    result = fit(mock.catalogue, survey, model, settings)
    return Fitted(mock, survey, model, settings, grid, objects, sampler, result)


def pareto_fit(form: str, population: Population) -> Fitted:
    """Only alpha_m (and log_n) of a complete catalogue without errors, flat prior on alpha_m."""
    model = PopulationModel(
        population,
        {"alpha_m": Uniform(low=-3.9, high=-1.1), "p_av": Fixed()},
        "conditional" if form == "conditional" else "poisson",
    )
    selection = complete(population.box)
    mock = mock_catalogue(jax.random.key(3), population, selection)
    settings = FitSettings(
        errors=ErrorSettings(mode="none"),
        sampler=SamplerSettings(n_warmup=300, n_samples=2500, seed=8),
        n_predictions=10,
    )
    grid = selection_grid(selection, population, settings.quadrature)
    kept = in_bounds(mock.catalogue, population.box, settings.errors)
    objects = object_samples(kept, population.box, settings.errors, selection)
    sampler = Sampler(model, grid, settings.sampler)
    result = fit(mock.catalogue, selection, model, settings)
    return Fitted(mock, selection, model, settings, grid, objects, sampler, result)


@pytest.fixture(scope="session", params=["poisson", "conditional"])
def pareto(request: pytest.FixtureRequest) -> Fitted:
    """Masses from 10^3 to 10^13: for slopes below −1.5 as good as unbounded."""
    population = Population(
        Separable(PowerLaw((3.0, 11.0), -2.0), Constant((6.0, 8.0))),
        NodesExtinction((0.0, 2.0)),
        2.0,
    )
    return pareto_fit(request.param, population)
