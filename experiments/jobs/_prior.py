"""From [prior] to the density of a cluster's mass, age and extinction."""

import dataclasses
import pathlib

import numpy as np
import pydantic

from starcensus.experiments.schema._base import ConfigError, explain
from starcensus.experiments.schema.measure import PriorTable
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.population import PopulationTable
from starcensus.files import FileError, read_json
from starcensus.inference.draws import thinned
from starcensus.inference.learned_ages import LearnedAges, learn_ages
from starcensus.inference.measure import ObjectPrior, population_prior, power_law_prior
from starcensus.inference.objects import LightObjects
from starcensus.runs import Input
from starcensus.theta import AXES, Box

# Draws of a fit's parameters over which its population is averaged.
_DRAWS = 200


@dataclasses.dataclass(frozen=True, eq=False)
class Prior:
    """A prior of θ, where it is not 0, and in words.

    **Arguments:**

    - `inputs`: the files that it comes from.
    """

    log_density: ObjectPrior
    box: Box
    words: str
    inputs: dict[str, Input]


def prior_of(table: PriorTable, bounds: Box, sources: Sources) -> Prior:
    """The prior of a table inside bounds; raises `ConfigError` for a folder of no finished fit."""
    if table.run is None:
        words = (
            f"dN/dM ~ M^{table.mass_slope:g}, dN/dT ~ T^{table.age_slope:g}, any extinction, "
            f"inside {_limits(bounds)}"
        )
        return Prior(power_law_prior(table.mass_slope, table.age_slope), bounds, words, {})
    folder = sources.place(table.run, "prior.run")
    folder = folder if table.fit is None else folder / table.fit
    population = _population(folder)
    path = folder / "posterior.nc"
    values = _values(path)
    model = population.model()
    family = model.population.with_values(model.fixed_values())
    box = _common(bounds, family.box, folder)
    words = (
        f"the population of {folder.name or folder.resolve().name}, mean over its posterior, "
        f"inside {_limits(box)}"
    )
    return Prior(population_prior(family, values), box, words, {"prior": Input.of(path)})


def learned(table: PriorTable, objects: LightObjects, bounds: Box) -> tuple[Prior, LearnedAges]:
    """The prior whose ages are those that the catalogue's light makes most probable."""
    assert table.learned_ages is not None
    found = learn_ages(objects, bounds, table.mass_slope, table.learned_ages)
    words = (
        f"dN/dM ~ M^{table.mass_slope:g}, any extinction, ages as the light of the catalogue makes "
        f"them most probable in {len(found.density)} bins, inside {_limits(bounds)}"
    )
    return Prior(found.prior, bounds, words, {}), found


def _population(folder: pathlib.Path) -> PopulationTable:
    try:
        said = read_json(folder / "provenance.json")
        read_json(folder / "run.json")
        return PopulationTable.model_validate(said["settings"]["population"])
    except (FileError, KeyError, TypeError) as error:
        raise ConfigError(
            f"prior.run: {folder} is no folder of a finished fit ({error}); `starcensus run` of a "
            "file of kind light, or fit, writes one"
        ) from error
    except pydantic.ValidationError as error:
        raise ConfigError(f"prior.run: {folder}: its population: {explain(error)}") from error


def _values(path: pathlib.Path) -> dict[str, np.ndarray]:
    import xarray

    try:
        with xarray.open_datatree(path, engine="netcdf4") as tree:
            drawn = {str(k): np.asarray(v.values) for k, v in tree["posterior"].data_vars.items()}
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"prior.run: {path} cannot be read ({error})") from error
    return thinned(drawn, _DRAWS)


def _common(one: Box, two: Box, folder: pathlib.Path) -> Box:
    pairs = {}
    for axis in AXES:
        (low, high), (least, most) = getattr(one, axis), getattr(two, axis)
        pairs[axis] = (max(low, least), min(high, most))
        if pairs[axis][0] >= pairs[axis][1]:
            raise ConfigError(
                f"prior.run: the population of {folder} has {axis} {least:g} to {most:g}, the "
                f"library {low:g} to {high:g}; expected bounds that meet"
            )
    return Box(**pairs)


def _limits(box: Box) -> str:
    return ", ".join(f"{axis} {low:g} to {high:g}" for axis, (low, high) in box.as_dict().items())
