"""Experiment files: TOML, checked, unknown keys refused, every value with its meaning."""

import dataclasses
import pathlib
import tomllib
from typing import Annotated, Any, Literal

import pydantic

from starcensus.forward import (
    AGE_FUNCTIONS,
    EXTINCTIONS,
    MASS_AGE,
    MASS_FUNCTIONS,
    AbstractPrior,
    Population,
    QuadratureSettings,
    Separable,
)
from starcensus.inference import (
    BinSettings,
    ErrorSettings,
    PopulationModel,
    SamplerSettings,
    Thresholds,
)
from starcensus.registry import Registry
from starcensus.selection import Box, check_operator_kind


class ConfigError(ValueError):
    """An experiment file cannot be used; the message names the file, the key and the remedy."""


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")


def _only_fields(cls: type, without: tuple[str, ...] = ()) -> Any:
    """Refuses keys that are no fields of a dataclass, or among `without`."""
    names = [f.name for f in dataclasses.fields(cls) if f.name not in without]

    def check(value: object) -> object:
        if isinstance(value, dict) and (unknown := sorted(set(value) - set(names))):
            raise ValueError(f"unknown key {', '.join(unknown)}; allowed: {', '.join(names)}")
        return value

    return pydantic.BeforeValidator(check)


Pair = tuple[float, float]
Triple = tuple[float, float, float]


class BoundsConfig(Strict):
    """Bounds of the population: log10 M_sun, log10 yr, mag."""

    log_mass: Pair
    log_age: Pair
    a_v: Pair = (0.0, 3.0)


class CatalogueConfig(Strict):
    """Where the clusters come from.

    `path` is relative to `--data` (searched with its sub-folders) or to the experiment file;
    `package:NAME` is a file that starcensus carries.
    """

    path: str
    format: Literal["legus", "literature", "table", "starcensus"] = "starcensus"
    options: dict[str, Any] = {}
    cuts: tuple[dict[str, Any], ...] = ()


class SelectionConfig(Strict):
    """An operator.

    - `kind`: `complete` (inside the bounds), `magnitude` (MagnitudeLimit; options as its
        `default`), `c4_physical` (the published C-4 network, from the installed package),
        `file` (saved by starcensus; `path` as for catalogues), or the name of a registered
        operator, one's own too, with the `options` that its `from_settings` takes.
    - `recorded_sigma`: the operator's rule was applied to recorded values with these Gaussian
        errors (dex, dex, mag): it is wrapped in a RecordedSelection.
    - `recorded_limits`: the user kept only recorded values inside this box; the operator is
        multiplied by the probability of that, for Gaussian errors `limits_sigma` (by default the
        catalogue's median errors).
    """

    kind: str
    path: str | None = None
    options: dict[str, Any] = {}
    acts_on: Literal["data", "truth"] | None = None
    recorded_sigma: Triple | None = None
    recorded_limits: BoundsConfig | None = None
    limits_sigma: Triple | None = None
    description: str = ""

    @pydantic.field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        return check_operator_kind(kind)

    @pydantic.model_validator(mode="after")
    def _path_for_file(self) -> "SelectionConfig":
        if (self.kind == "file") != (self.path is not None):
            raise ValueError("path goes with kind = 'file', and kind = 'file' needs it")
        return self


class PopulationConfig(Strict):
    """A population family, its starting values and priors.

    Either `mass` and `age`, or `mass_age = {kind = "mdd", ...}`. Every other key of a part is a
    starting value or a setting of that part (`nodes`, `age_dependent`).
    """

    bounds: BoundsConfig
    mass: dict[str, Any] | None = None
    age: dict[str, Any] | None = None
    mass_age: dict[str, Any] | None = None
    extinction: dict[str, Any]
    log_n: float = 3.0
    form: Literal["poisson", "conditional"] = "poisson"
    priors: dict[str, AbstractPrior] = {}

    @pydantic.model_validator(mode="after")
    def _builds(self) -> "PopulationConfig":
        self.model()
        return self

    def model(self) -> PopulationModel:
        """The population model that this describes."""
        return PopulationModel(self.population(), dict(self.priors), self.form)

    def population(self) -> Population:
        """The population at its starting values."""
        box = Box.from_dict(self.bounds.model_dump())
        given = [part is not None for part in (self.mass, self.age, self.mass_age)]
        if given not in ([True, True, False], [False, False, True]):
            raise ValueError("give either mass and age, or mass_age")
        if self.mass_age is not None:
            ranges = {"log_mass_range": box.log_mass, "log_age_range": box.log_age}
            mass_age = _part(MASS_AGE, self.mass_age, "mass_age", ranges)
        else:
            mass = _part(MASS_FUNCTIONS, self.mass or {}, "mass", {"log_mass_range": box.log_mass})
            age = _part(AGE_FUNCTIONS, self.age or {}, "age", {"log_age_range": box.log_age})
            mass_age = Separable(mass=mass, age=age)
        extinction = _part(EXTINCTIONS, self.extinction, "extinction", {"a_v_range": box.a_v})
        population = Population(mass_age=mass_age, extinction=extinction, log_n=self.log_n)
        if complaints := population.box.exceeds(box) + box.exceeds(population.box):
            raise ValueError(f"nodes and bounds disagree: {'; '.join(complaints)}")
        return population


def _part(kinds: Registry[Any], table: dict[str, Any], what: str, ranges: dict[str, Pair]) -> Any:
    settings = dict(table)
    kind = settings.pop("kind", None)
    try:
        cls = kinds.find(kind)
    except ValueError as error:
        raise ValueError(f"{what}.kind: {error}") from error
    fields = {f.name for f in dataclasses.fields(cls)}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    allowed = fields - set(ranges)
    if unknown := sorted(set(given) - allowed):
        raise ValueError(
            f"{what} of kind {kind} has no {', '.join(unknown)}; "
            f"it has {', '.join(sorted(allowed))}"
        )
    return cls(**{k: v for k, v in ranges.items() if k in fields}, **given)


class FitConfig(Strict):
    """One fit of the experiment: which operator, which population, in a sentence why."""

    name: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    selection: str
    population: str
    text: str = ""
    errors: Annotated[ErrorSettings, _only_fields(ErrorSettings)] | None = None


class MockConfig(Strict):
    """A mock catalogue: the true parameters, and which operator and population make it.

    `sigma`: Gaussian errors (dex, dex, mag) of the recorded values, for an operator that acts on
    the truth.
    """

    selection: str
    population: str
    truth: dict[str, float | tuple[float, ...]]
    seed: int
    sigma: Triple | None = None


class CalibrationCase(Strict):
    """Mocks made by one operator, fitted with another (the same, if the likelihood is right).

    - `generator`: makes the catalogues; with `sigma` (dex, dex, mag) if it acts on the truth.
    - `selection`: stands in the likelihood. `acts_on` overrides where.
    - `passes`: whether the calibration should succeed; a wrong likelihood should not.
    """

    name: Annotated[str, pydantic.Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    population: str
    generator: str
    selection: str
    sigma: Triple | None = None
    acts_on: Literal["data", "truth"] | None = None
    passes: bool = True


class Experiment(Strict):
    """A whole experiment file. The first fit is the main one; the others are compared with it."""

    title: str
    description: str = ""
    seed: int = 0
    catalogue: CatalogueConfig | None = None
    selections: dict[str, SelectionConfig]
    populations: dict[str, PopulationConfig]
    fits: tuple[FitConfig, ...] = ()
    mock: MockConfig | None = None
    calibration: tuple[CalibrationCase, ...] = ()
    errors: Annotated[ErrorSettings, _only_fields(ErrorSettings)] = ErrorSettings()
    sampler: Annotated[SamplerSettings, _only_fields(SamplerSettings)] = SamplerSettings()
    quadrature: Annotated[QuadratureSettings, _only_fields(QuadratureSettings)] = (
        QuadratureSettings()
    )
    bins: Annotated[BinSettings, _only_fields(BinSettings)] = BinSettings()
    thresholds: Annotated[Thresholds, _only_fields(Thresholds)] = Thresholds()
    references: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @pydantic.model_validator(mode="after")
    def _names_exist(self) -> "Experiment":
        users = [*self.fits, *([self.mock] if self.mock else []), *self.calibration]
        used = [(user.selection, self.selections) for user in users]
        used += [(user.population, self.populations) for user in users]
        used += [(case.generator, self.selections) for case in self.calibration]
        for name, table in used:
            if name not in table:
                raise ValueError(f"{name!r} is not defined; defined are {', '.join(table)}")
        names = [fit.name for fit in self.fits]
        if len(set(names)) != len(names):
            raise ValueError(f"fits must have different names, got {', '.join(names)}")
        if self.fits and self.catalogue is None:
            raise ValueError("fits need a [catalogue]")
        return self


def load_experiment(path: pathlib.Path) -> tuple[Experiment, str]:
    """The checked experiment and the text it came from.

    Raises `ConfigError` for a missing file, bad TOML, or a key or value that does not fit.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such experiment file")
    try:
        text = path.read_text()
        return parse_experiment(tomllib.loads(text), str(path)), text
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error


def parse_experiment(tables: dict[str, Any], source: str) -> Experiment:
    """Check tables that stand for an experiment file."""
    try:
        return Experiment.model_validate(tables)
    except pydantic.ValidationError as error:
        raise ConfigError(f"{source}: {explain(error)}") from error


def explain(error: pydantic.ValidationError) -> str:
    """Pydantic's findings as one readable line."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"]) or "the file"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "unknown key; remove it or check its spelling"
        received = item.get("input")
        shown = f" (received {received!r})" if isinstance(received, str | int | float) else ""
        lines.append(f"{key}: {message}{shown}")
    return "; ".join(lines)
