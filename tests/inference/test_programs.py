"""Programs are compiled once for all fits of equal models, whatever their data."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from starcensus.forward import Normal, QuadratureSettings, selection_grid
from starcensus.inference import (
    PopulationModel,
    Sampler,
    SamplerSettings,
    draws,
    fit,
    likelihood,
    predictive,
    results,
    sampling,
)
from starcensus.inference.identity import fingerprint, grid_of, model_digest, rules_of
from starcensus.inference.objects import padded_size
from starcensus.selection import MagnitudeLimit, RecordedSelection, complete, with_outside


def test_another_catalogue_of_the_same_padded_size_compiles_nothing(simple_fit):
    """Fewer clusters, another operator, and a model made anew."""
    population = simple_fit.model.population
    catalogue = simple_fit.result.objects.catalogue
    fewer = catalogue.keep(np.arange(len(catalogue)) > 2, "fewer", "of the same padded size")
    assert padded_size(len(fewer)) == padded_size(len(catalogue))
    programs: tuple[Any, ...] = (
        sampling._compiled,
        draws._sample_priors,
        likelihood.judged,
        predictive._spread,
        results._shape_terms,
    )

    def compiled() -> list[int]:
        return [getattr(p, "_cached", p)._cache_size() for p in programs]

    before = compiled()
    assert min(before) >= 1
    rule = MagnitudeLimit.default("F555W", limit_mag=23.1, width_mag=0.2)
    other = RecordedSelection(with_outside(rule, "zero"), (0.1, 0.1, 0.1))
    fit(fewer, other, PopulationModel(population), simple_fit.settings)
    assert compiled() == before


def test_models_are_equal_when_everything_is(simple_population):
    model = PopulationModel(simple_population)
    assert model_digest(model) == model_digest(PopulationModel(simple_population))
    others = [
        PopulationModel(simple_population, form="conditional"),
        PopulationModel(simple_population, {"alpha_m": Normal(mean=-2.0, sd=0.1)}),
        PopulationModel(simple_population, {"alpha_m": Normal(mean=-2.0, sd=0.2)}),
        PopulationModel(simple_population.with_values({"alpha_m": -1.9})),
    ]
    assert len({model_digest(m) for m in [model, *others]}) == 5


def test_grids_are_rebuilt_from_their_rules(simple_fit):
    grid = simple_fit.grid
    assert fingerprint(grid_of(rules_of(grid), grid.p_sel)) == fingerprint(grid)


def test_a_sampler_of_another_model_is_refused(simple_fit):
    model, population = simple_fit.model, simple_fit.model.population
    settings = SamplerSettings()
    everything = complete(population.box)
    coarse = selection_grid(everything, population, QuadratureSettings(mass_panel_dex=1.0))
    sampler = Sampler(model, simple_fit.grid, settings)
    sampler.check(model, simple_fit.grid, dataclasses.replace(settings, seed=9))
    for arguments in (
        (PopulationModel(population, {"alpha_m": (-3.0, -1.0)}), simple_fit.grid, settings),
        (model, simple_fit.grid, dataclasses.replace(settings, n_warmup=300)),
        (model, coarse, settings),
    ):
        with pytest.raises(ValueError, match="another"):
            sampler.check(*arguments)
