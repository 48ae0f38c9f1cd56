"""[population], [populations.NAME] and kind = "population": a family, its values and priors."""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
import pydantic
from pydantic_core import core_schema

from starcensus.experiments.schema._base import FILES, BandsFile, Strict
from starcensus.experiments.schema._kinds import Kinds
from starcensus.forward import (
    AGE_FUNCTIONS,
    EXTINCTIONS,
    MASS_AGE,
    MASS_FUNCTIONS,
    PRIORS,
    AbstractPrior,
    Population,
    Separable,
    as_prior,
)
from starcensus.inference import PopulationModel
from starcensus.settings import check_numbers
from starcensus.theta import Box

# Fields of parts that follow from the bounds.
_RANGES = {"log_mass_range": "log_mass", "log_age_range": "log_age", "a_v_range": "a_v"}


@dataclasses.dataclass(frozen=True, eq=False)
class Part(Kinds):
    """Annotation of the table of one part, whose limits follow from the population's bounds.

    The table is kept, for it takes the bounds to build the part.
    """

    without: Mapping[str, tuple[str, ...]] = dataclasses.field(
        default_factory=lambda: {"": tuple(_RANGES)}
    )

    def made(self, table: Mapping[str, Any], bounds: Box) -> Any:
        """The part inside bounds; raises `ValueError` for a kind or key that is unknown."""
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        kind = settings.pop("kind", None)
        cls = self.registry.find(kind)
        self._refuse(cls, str(kind), settings)
        check_numbers(cls, settings)
        fields = {field.name for field in dataclasses.fields(cls)}
        limits = {k: getattr(bounds, axis) for k, axis in _RANGES.items() if k in fields}
        return cls(**limits, **settings)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.dict_schema(core_schema.str_schema())


@dataclasses.dataclass(frozen=True, eq=False)
class _Priors(Kinds):
    """Annotation of the table of a prior."""

    def build(self, value: object) -> AbstractPrior:
        return as_prior(value)


MASS = Part(MASS_FUNCTIONS)
AGE = Part(AGE_FUNCTIONS)
JOINT = Part(MASS_AGE)
EXTINCTION = Part(EXTINCTIONS)


class PopulationTable(Strict):
    """A population family, its starting values and priors: `mass` and `age`, or `mass_age`.

    **Arguments:**

    - `bounds`: of the population: log10 M_sun, log10 yr, mag.
    - `mass`: mass function; each of its keys but `kind` is a starting value or a setting.
    - `age`: age function, likewise.
    - `mass_age`: of mass and age together, instead of both.
    - `extinction`: distribution of A_V, likewise.
    - `log_n`: log10 of the number of clusters inside the bounds, to start from.
    - `form`: `"poisson"` fits the number of clusters, `"conditional"` integrates it out.
    - `priors`: by parameter, where they are not the default ones.
    """

    bounds: Box
    mass: Annotated[dict[str, Any], MASS] | None = None
    age: Annotated[dict[str, Any], AGE] | None = None
    mass_age: Annotated[dict[str, Any], JOINT] | None = None
    extinction: Annotated[dict[str, Any], EXTINCTION]
    log_n: float = 3.0
    form: Literal["poisson", "conditional"] = "poisson"
    priors: dict[str, Annotated[AbstractPrior, _Priors(PRIORS)]] = pydantic.Field({})

    @pydantic.model_validator(mode="after")
    def _builds(self) -> "PopulationTable":
        self.model()
        return self

    def model(self) -> PopulationModel:
        """The population model that this describes."""
        return PopulationModel(self.population(), dict(self.priors), self.form)

    def population(self) -> Population:
        """The population at its starting values."""
        given = [part is not None for part in (self.mass, self.age, self.mass_age)]
        if given not in ([True, True, False], [False, False, True]):
            raise ValueError("give either mass and age, or mass_age")
        if self.mass_age is not None:
            mass_age = _named("mass_age", JOINT, self.mass_age, self.bounds)
        else:
            mass_age = Separable(
                mass=_named("mass", MASS, self.mass or {}, self.bounds),
                age=_named("age", AGE, self.age or {}, self.bounds),
            )
        extinction = _named("extinction", EXTINCTION, self.extinction, self.bounds)
        population = Population(mass_age=mass_age, extinction=extinction, log_n=self.log_n)
        box = self.bounds
        if complaints := population.box.exceeds(box) + box.exceeds(population.box):
            raise ValueError(f"nodes and bounds disagree: {'; '.join(complaints)}")
        return population


class KnownPopulation(PopulationTable):
    """A population whose parameters are known.

    **Arguments:**

    - `truth`: its parameters, where they are not those that its parts begin with.
    """

    truth: dict[str, float | tuple[float, ...]] = pydantic.Field({})

    @pydantic.model_validator(mode="after")
    def _known(self) -> "KnownPopulation":
        self.true_population()
        return self

    def true_population(self) -> Population:
        """The population at its true parameters."""
        try:
            return self.population().with_values(
                {name: np.asarray(value, float) for name, value in self.truth.items()}
            )
        except KeyError as error:
            raise ValueError(f"truth: {error.args[0]}") from error


def _named(name: str, part: Part, table: Mapping[str, Any], bounds: Box) -> Any:
    try:
        return part.made(table, bounds)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error


@FILES.register("population")
class PopulationFile(PopulationTable, BandsFile):
    """A population alone, for `starcensus fit --population`."""
