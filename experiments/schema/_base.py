"""What every file of settings is: TOML that names its kind, in which nothing is unknown.

A class of `FILES` says what a file of one kind may hold. The settings of the library are read as
they are: a frozen dataclass is its own schema. Nothing in this folder computes.
"""

import copy
import importlib
import pathlib
import tomllib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import pydantic

from starcensus.bands import BANDS, Band, Letter
from starcensus.files import parse_toml, read_toml
from starcensus.registry import Registry

# Each is a module of this folder, and of `jobs`, in the order in which a user meets them.
KINDS = (
    "fit",
    "light",
    "measure",
    "compare",
    "population",
    "mock",
    "calibration",
    "library",
    "emulator",
    "galaxy",
    "stamps",
    "finder",
    "survey",
    "learning",
    "choice",
    "evaluation",
    "observation",
    "posterior",
    "marginalisation",
    "systematic",
    "grid",
)


class ConfigError(ValueError):
    """A file cannot be used; the message names the file, the key and the remedy."""


class Strict(pydantic.BaseModel):
    """A table whose keys are all known, and whose numbers are numbers."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid")

    @pydantic.model_validator(mode="wrap")
    @classmethod
    def _of_their_types(cls, given: Any, handler: Any) -> Any:
        """Pydantic alone would take "4" for 4, and true for 1."""
        made = handler(given)
        _refuse_conversion(given, made, "")
        return made


def _refuse_conversion(given: Any, made: Any, key: str) -> None:
    """Raises `ValueError` where a number was made of a text, or of true or false."""
    if given is made:
        return
    if isinstance(given, Mapping):
        for name, value in given.items():
            found = made.get(name) if isinstance(made, Mapping) else getattr(made, str(name), None)
            _refuse_conversion(value, found, f"{key}.{name}" if key else str(name))
    elif isinstance(given, list | tuple):
        if isinstance(made, list | tuple) and len(given) == len(made):
            for i, (value, found) in enumerate(zip(given, made, strict=True)):
                _refuse_conversion(value, found, f"{key}.{i}")
    elif isinstance(made, bool) and not isinstance(given, bool):
        raise ValueError(f"{key} is {given!r}; expected true or false, without quotes")
    elif isinstance(given, str | bool) and _is_number(made):
        raise ValueError(f"{key} is {given!r}; expected a number, without quotes")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class File(Strict):
    """What every file says.

    **Arguments:**

    - `kind`: what the file asks for; `starcensus schema` lists the kinds.
    - `title`: in reports and pictures.
    - `description`: a paragraph, for reports.
    - `seed`: of everything random; 0 or more.
    """

    kind: str
    title: str = ""
    description: str = ""
    seed: Annotated[int, pydantic.Field(ge=0, lt=2**62)] = 0

    @pydantic.model_validator(mode="after")
    def _of_its_kind(self) -> "File":
        if type(self) in FILES.values() and self.kind != FILES.name_of(type(self)):
            raise ValueError(f"kind is {self.kind!r}; expected {FILES.name_of(type(self))!r}")
        return self

    def settings(self) -> dict[str, Any]:
        """All that the file says, with every default filled in; JSON-ready."""
        return self.model_dump(mode="json")

    def prepare(self) -> None:
        """What must be known before the file's other tables mean anything."""


class BandTable(Strict):
    """A band of the user's own; its name, `CAMERA_FILTER`, is the table's.

    **Arguments:**

    - `letter`: the broad band that it stands for, or none.
    - `pivot_angstrom`: pivot wavelength, Å.
    - `ab_minus_vega`: AB magnitude of an object minus its Vega magnitude, mag.
    - `curve`: file of the filter curve below a folder of curves.
    - `colour`: in figures.
    - `label`: in figures and tables, by default the filter.
    """

    letter: Letter | None = None
    pivot_angstrom: float
    ab_minus_vega: float | None = None
    curve: str | None = None
    colour: str = "0.4"
    label: str = ""


class BandsFile(File):
    """A file that may add bands.

    **Arguments:**

    - `bands`: bands of the user's own, by name.
    """

    bands: dict[str, BandTable] = pydantic.Field({})

    def prepare(self) -> None:
        """Add the bands; raises `ValueError` for a name that another band has."""
        for name, table in self.bands.items():
            BANDS.add(name, Band(name=name, **table.model_dump()))


FILES = Registry[type[File]]("kind of file")


def file_class(kind: object) -> type[File]:
    """The class of a kind of file; raises `ValueError` naming the kinds that there are."""
    if kind in KINDS:
        importlib.import_module(f"{__package__}.{kind}")
    elif not isinstance(kind, str) or kind not in FILES:
        known = ", ".join([*KINDS, *(name for name in FILES if name not in KINDS)])
        raise ValueError(f"kind is {kind!r}; expected one of {known}")
    return FILES.find(kind)


def load[T: File](
    path: pathlib.Path, *expected: type[T], settings: tuple[str, ...] = ()
) -> tuple[T, str]:
    """The checked file and its text.

    **Arguments:**

    - `expected`: classes of files that are of use; by default any.
    - `settings`: KEY=VALUE that take the place of the file's, as `with_settings` reads them.

    Raises `FileError` for a file that is not there or is no TOML, and `ConfigError` for a kind, key
    or value that does not fit.
    """
    tables, text = read_toml(path, f"{_words(expected)} file")
    if settings:
        tables = with_settings(tables, settings)
        text += "".join(f"\n# --set {each}" for each in settings) + "\n"
    return parse(tables, str(path), *expected), text


def with_settings(tables: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Tables in which some values are replaced; raises `ConfigError` for what is no KEY=VALUE.

    **Arguments:**

    - `settings`: each `KEY=VALUE`: names of tables and the key with dots between them, and a value
      in TOML's words, where a word without quotes is text. A number is the place in a list, from 0.

    ```python
    with_settings({"sampler": {"n_chains": 4}}, ["sampler.n_samples=1000", "title=A trial"])
    ```
    """
    made = copy.deepcopy(dict(tables))
    for each in settings:
        key, equals, value = each.partition("=")
        if not (equals and key.strip()):
            raise ConfigError(f"--set {each}: expected KEY=VALUE, such as sampler.n_samples=1000")
        _set(made, key.strip(), value.strip(), each)
    return made


def _set(tables: dict[str, Any], key: str, value: str, whole: str) -> None:
    *folders, last = key.split(".")
    place: Any = tables
    for name in folders:
        place = place.setdefault(name, {}) if isinstance(place, dict) else _item(place, name, whole)
    try:
        read = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        read = value
    if isinstance(place, dict):
        place[last] = read
    else:
        _item(place, last, whole)
        place[int(last)] = read


def _item(place: Any, name: str, whole: str) -> Any:
    if isinstance(place, list) and name.isdigit() and int(name) < len(place):
        return place[int(name)]
    what = f"a list of {len(place)}" if isinstance(place, list) else f"the value {place!r}"
    raise ConfigError(
        f"--set {whole}: {name} is looked for in {what}; `starcensus schema` lists keys"
    )


def parse[T: File](
    tables: Mapping[str, Any] | str, source: str, *expected: type[T], of: str | None = None
) -> T:
    """Tables, or TOML text, that stand for a file called `source`; raises as `load`.

    **Arguments:**

    - `of`: the kind, for tables that do not say it.
    """
    given = parse_toml(tables, source) if isinstance(tables, str) else dict(tables)
    if of is not None:
        given = {"kind": of, **given}
    if "kind" not in given:
        raise ConfigError(f"{source}: {_without_kind(given)}")
    try:
        cls = file_class(given["kind"])
        if expected and not issubclass(cls, expected):
            raise ConfigError(
                f"{source}: is of kind {given['kind']!r}; expected {_words(expected)} "
                f"(`starcensus run {source}` runs any kind)"
            )
        made = cls.model_validate(given)
        made.prepare()
    except pydantic.ValidationError as error:
        raise ConfigError(f"{source}: {explain(error)}") from error
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from error
    return made  # pyright: ignore[reportReturnType]


def changed[T: File](file: T, change: Mapping[str, Any], source: str) -> T:
    """A file with other values at its top, checked as a whole; raises `ConfigError`."""
    try:
        return type(file).model_validate({**dict(file), **change})
    except pydantic.ValidationError as error:
        raise ConfigError(f"{source}: {explain(error)}") from error


def _words(expected: tuple[type[File], ...]) -> str:
    return " or ".join(FILES.name_of(cls) for cls in expected) or "TOML"


def _without_kind(tables: Mapping[str, Any]) -> str:
    """What to say of a file of version 0.1, which does not say its kind."""
    shares = {kind: _share(tables, file_class(kind)) for kind in KINDS}
    best = max(shares, key=lambda kind: shares[kind])
    if "calibration" in tables and "selections" in tables:
        best = "calibration"
    if shares[best] == 0:
        return f"kind is missing; expected one of {', '.join(KINDS)}"
    return f'kind is missing; it looks like a {best}: add the line `kind = "{best}"` at the top'


def _share(tables: Mapping[str, Any], cls: type[File]) -> float:
    """How well keys fit a kind: those that it has, less those that it lacks."""
    own = set(cls.model_fields) - set(File.model_fields)
    keys = set(tables) - set(File.model_fields)
    required = {name for name in own if cls.model_fields[name].is_required()}
    score = len(keys & own) + len(keys & required) - 2 * len(keys - own)
    return float(max(0, score))


def explain(error: pydantic.ValidationError) -> str:
    """Pydantic's findings as one readable line."""
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            at_top = item["loc"][-1] == "seed"
            remedy = "the seed stands at the top of the file" if at_top else "check its spelling"
            message = f"unknown key; remove it or {remedy}"
        elif item["type"] in ("missing", "missing_argument"):
            message = "is missing"
        received = item.get("input")
        shown = f" (received {received!r})" if isinstance(received, str | int | float) else ""
        lines.append(f"{key}: {message}{shown}" if key else f"{message}{shown}")
    return "; ".join(lines)
