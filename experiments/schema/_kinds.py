"""Tables whose `kind` chooses a class of a registry, and tables that are a class of the library."""

import dataclasses
import functools
import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pydantic
from pydantic_core import core_schema

from starcensus.experiments.schema._base import Strict, explain
from starcensus.experiments.schema._describe import described, docs_of, json_schema
from starcensus.registry import Registry
from starcensus.settings import check_numbers, choices_of


@dataclasses.dataclass(frozen=True)
class Without:
    """Annotation of a class of settings some of whose fields no file gives.

    **Arguments:**

    - `names`: of these fields.
    """

    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_before_validator_function(
            self._check,
            handler(source),
            serialization=core_schema.wrap_serializer_function_ser_schema(self._dump),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        found = dict(handler.resolve_ref_schema(handler(schema)))
        kept = {k: v for k, v in found["properties"].items() if k not in self.names}
        return {**found, "properties": kept}

    def _dump(self, value: Any, dump: Callable[[Any], Any]) -> Any:
        return {k: v for k, v in dump(value).items() if k not in self.names}

    def _check(self, value: object) -> object:
        if isinstance(value, Mapping) and (given := [n for n in self.names if n in value]):
            at_top = " (it stands at the top of the file)" if given == ["seed"] else ""
            raise ValueError(f"unknown key {', '.join(given)}{at_top}; remove it")
        return value


@dataclasses.dataclass(frozen=True)
class Named:
    """Annotation of a word that must be one of some names.

    **Arguments:**

    - `names`: gives those that there are. `what`: they name, for the message.
    """

    names: Callable[[], Iterable[str]]
    what: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {"type": "string", "enum": list(self.names())}

    def _check(self, value: str) -> str:
        if value not in (known := list(self.names())):
            raise ValueError(
                f"{value!r} is no {self.what}; expected one of {', '.join(known)}, or one of your "
                "own from a module that --allow-own names"
            )
        return value


@dataclasses.dataclass(frozen=True, eq=False)
class Kinds:
    """Annotation of a table: `kind` names a class of a registry, the other keys are its fields.

    What is built is an object of that class. A frozen dataclass is checked field by field; of any
    other class the arguments of its constructor are the keys.

    **Arguments:**

    - `registry`: of the classes. `default`: the kind where the table names none.
    - `without`: fields that no file gives, by kind or, under "", of all kinds.
    - `prepare`: changes a table before it is checked.
    """

    registry: Registry[Any]
    default: str | None = None
    without: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    prepare: Callable[[dict[str, Any]], dict[str, Any]] = lambda table: table

    def build(self, value: object) -> Any:
        """The object that a table describes; an object of the registry is itself."""
        if not isinstance(value, Mapping):
            if self.is_built(value):
                return value
            raise ValueError(f"is {value!r}; expected a table with a kind")
        table = dict(value)
        kind = table.pop("kind", self.default)
        if kind is None:
            raise ValueError(f"kind is missing; expected one of {', '.join(self.registry)}")
        try:
            cls = self.cls_of(kind)
        except ValueError as error:
            raise ValueError(f"kind: {error}") from error
        self._refuse(cls, str(kind), table)
        return self.wrap(kind, construct(cls, self.prepare(table)))

    def cls_of(self, kind: object) -> Any:
        """The class whose fields are the keys of a kind; raises `ValueError` for no kind."""
        return self.registry.find(kind)

    def wrap(self, kind: str, made: Any) -> Any:
        """What the table becomes."""
        return made

    def is_built(self, value: Any) -> bool:
        """Whether a value is what a table becomes."""
        return type(value) in self.registry.values()

    def hidden(self, kind: str) -> tuple[str, ...]:
        """Fields of a kind that no file gives."""
        return (*self.without.get("", ()), *self.without.get(kind, ()))

    def _refuse(self, cls: Any, kind: str, table: Mapping[str, Any]) -> None:
        allowed = [name for name in arguments(cls) if name not in self.hidden(kind)]
        if unknown := [name for name in table if name not in allowed]:
            raise ValueError(
                f"{self.registry.what} of kind {kind} has no {', '.join(unknown)}; it has "
                f"{', '.join(allowed) or 'no keys'}"
            )

    def dump(self, value: Any) -> Any:
        """What was built, as a table with every default; JSON-ready."""
        if value is None:
            return None
        kind = self.registry.name_of(type(value))
        hidden = self.hidden(kind)
        fields = {k: v for k, v in fields_of(value).items() if k not in hidden}
        # JSON has no infinity, which is no limit.
        unlimited = {k for k, v in fields.items() if isinstance(v, float) and math.isinf(v)}
        return {"kind": kind, **{k: v for k, v in fields.items() if k not in unlimited}}

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return core_schema.no_info_plain_validator_function(
            self.build, serialization=core_schema.plain_serializer_function_ser_schema(self.dump)
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> Any:
        return {"anyOf": [self._alternative(kind) for kind in self.registry]}

    def _alternative(self, kind: str) -> dict[str, Any]:
        found = schema_of(self.cls_of(kind))
        hidden = self.hidden(kind)
        kept = {k: v for k, v in found["properties"].items() if k not in hidden}
        required = [name for name in found.get("required", ()) if name not in hidden]
        if kind != self.default:
            required = ["kind", *required]
        return {**found, "properties": {"kind": {"const": kind}, **kept}, "required": required}


def construct(cls: Any, table: Mapping[str, Any]) -> Any:
    """An object of a class from a table; raises `ValueError` for what does not fit."""
    if (model := _model(cls)) is not None:
        try:
            return model.model_validate({"value": table}).value  # pyright: ignore
        except pydantic.ValidationError as error:
            raise ValueError(_inner(error)) from error
    check_numbers(cls, table)
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    try:
        return cls(**given)
    except TypeError as error:
        name = getattr(cls, "__name__", str(cls))
        raise ValueError(f"{name} takes other keys ({error})") from error


def arguments(cls: Any) -> list[str]:
    """Names of what a class is built from."""
    return list(inspect.signature(cls).parameters)


def fields_of(value: Any) -> dict[str, Any]:
    """What an object was built from, JSON-ready; else what it says of itself."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    elif (describe := getattr(value, "describe", None)) is not None:
        found = dict(describe())
    else:
        found = dict(vars(value))
    return {name: _plain(item) for name, item in found.items()}


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return fields_of(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return np.asarray(value).tolist() if hasattr(value, "__array__") else str(value)


@functools.cache
def _model(cls: Any) -> type[pydantic.BaseModel] | None:
    """A model by which pydantic checks a dataclass; None where it knows no way."""
    name = getattr(cls, "__name__", "")
    own = hasattr(cls, "__get_pydantic_core_schema__")
    if not dataclasses.is_dataclass(cls) or _is_module(cls) or own:
        return None
    try:
        field: Any = (cls, ...)
        return pydantic.create_model(f"_{name}", __base__=Strict, value=field)
    except pydantic.errors.PydanticUserError:
        return None


def _is_module(cls: Any) -> bool:
    """Whether a class is Equinox's, whose fields are arrays or numbers alike."""
    return any(base.__module__.split(".")[0] == "equinox" for base in cls.__mro__)


def _inner(error: pydantic.ValidationError) -> str:
    return explain(error).replace("value.", "").replace("value: ", "")


def schema_of(cls: Any, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """JSON schema of a class of a registry, or of the arguments of a function."""
    if (model := _model(cls)) is not None:
        found = json_schema(model)["properties"]["value"]
        return {
            key: found[key] for key in ("description", "properties", "required") if key in found
        }
    docs, given = docs_of(cls), {}
    required = []
    for name in arguments(cls):
        if name in without:
            continue
        default = _default(cls, name)
        given[name] = _guess(cls, name)
        if default is not inspect.Parameter.empty:
            given[name]["default"] = _plain(default)
        if default is inspect.Parameter.empty:
            required.append(name)
    found = {"description": docs.summary, "properties": given, "required": required}
    return described(found, cls)


def _default(cls: Any, name: str) -> Any:
    return inspect.signature(cls).parameters[name].default


def _guess(cls: Any, name: str) -> dict[str, Any]:
    """What an argument holds, as far as its annotation says so in words of JSON."""
    annotation = inspect.signature(cls).parameters[name].annotation
    if choices := choices_of(annotation):
        return {"enum": [word for word in choices if word is not None]}
    words = str(annotation)
    if re.search(r"\bBox\b|\bstarcensus\.\w", words) and "tuple" not in words:
        return {"type": "object"}
    if ("Array" in words and not re.search(r"\bfloat\b", words)) or "Sequence" in words:
        return {"type": "array", "items": {"type": "number"}}
    for word, kind in (("tuple", "array"), ("bool", "boolean"), ("str", "string")):
        if word in words:
            found: dict[str, Any] = {"type": kind}
            return {**found, "items": {"type": "number"}} if kind == "array" else found
    return {"type": "number"}
