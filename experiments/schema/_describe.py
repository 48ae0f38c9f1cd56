"""What a file may hold, in words: descriptions come from the docstrings of the classes."""

import inspect
import re
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pydantic
from pydantic.json_schema import GenerateJsonSchema


class Docs(NamedTuple):
    """The first sentence of a class, and its words on each field."""

    summary: str
    fields: Mapping[str, str]


def docs_of(cls: type | Callable[..., Any]) -> Docs:
    """Docs of a class and of those that it is derived from, by their **Arguments:** bullets.

    Of a function, those of its arguments, which may be those of the class that it makes.
    """
    names = _names(cls)
    bases: tuple[Any, ...] = cls.__mro__ if isinstance(cls, type) else (cls, *_made_by(cls))
    found: dict[str, str] = {}
    for base in reversed(bases):
        own = vars(base).get("__doc__") if isinstance(base, type) else base.__doc__
        text = inspect.cleandoc(own or "")
        found |= _mentions(text, names)
        if "**Arguments:**" in text:
            found |= _bullets(text.partition("**Arguments:**")[2], names)
    text = inspect.cleandoc(cls.__doc__ or "")
    first = " ".join(text.partition("\n\n")[0].split())
    # A dataclass without a docstring has its signature in its place.
    return Docs("" if first.startswith(f"{getattr(cls, '__name__', '')}(") else first, found)


def _made_by(function: Callable[..., Any]) -> tuple[type, ...]:
    made = typing.get_type_hints(function).get("return")
    return made.__mro__ if isinstance(made, type) else ()


def _names(cls: type | Callable[..., Any]) -> set[str]:
    if not isinstance(cls, type):
        return set(inspect.signature(cls).parameters)
    names: set[str] = {str(name) for name in getattr(cls, "model_fields", ())}
    for base in cls.__mro__:
        names |= set(vars(base).get("__annotations__", ()))
    return names or set(inspect.signature(cls).parameters)


def _mentions(text: str, names: set[str]) -> dict[str, str]:
    """The sentence that names a field, where no bullet is its own."""
    sentences = re.split(r"(?<=[.;])\s+(?=[A-Z`-])", text)
    return {
        name: " ".join(sentence.split()).removeprefix("- ")
        for sentence in reversed(sentences)
        for name in re.findall(r"`(\w+)`", sentence)
        if name in names
    }


def _bullets(text: str, names: set[str]) -> dict[str, str]:
    """Words on each field: "- `a`, `b`: of both. `c`: of c alone."."""
    body: list[str] = []
    for line in text.strip().splitlines():
        if line.startswith("- "):
            body.append(line[2:])
        elif body and line.startswith(" "):
            body[-1] += f" {line.strip()}"
        elif line.strip():
            break
    found: dict[str, str] = {}
    head = r"((?:`\w+`(?: \([^)]*\))?†?(?:, | and |; )?)+)(?:: |; )"
    for bullet in body:
        pieces = re.split(rf"(?:^|(?<=[.;)] )){head}", f"{bullet}")
        for group, words in zip(pieces[1::2], pieces[2::2], strict=False):
            for name, note in re.findall(r"`(\w+)`(?: \(([^)]*)\))?", group):
                if name in names:
                    found[name] = words.strip() + (f" ({note})" if note else "")
    return found


def described(schema: dict[str, Any], cls: type | Callable[..., Any]) -> dict[str, Any]:
    """A JSON schema of an object with the words of a class on it and on its properties."""
    docs = docs_of(cls)
    properties = {
        name: {**item, "description": docs.fields[name]} if name in docs.fields else item
        for name, item in schema.get("properties", {}).items()
    }
    for item in properties.values():
        item.pop("title", None)
    return {**schema, "description": docs.summary, "properties": properties}


class _Described(GenerateJsonSchema):
    def model_schema(self, schema: Any) -> Any:
        return described(super().model_schema(schema), schema["cls"])

    def dataclass_schema(self, schema: Any) -> Any:
        return described(super().dataclass_schema(schema), schema["cls"])


def json_schema(cls: type[pydantic.BaseModel]) -> dict[str, Any]:
    """JSON schema of a model, without references."""
    found = cls.model_json_schema(schema_generator=_Described)
    defined = found.pop("$defs", {})

    def inline(item: Any) -> Any:
        if isinstance(item, list):
            return [inline(each) for each in item]
        if not isinstance(item, dict):
            return item
        rest = {k: inline(v) for k, v in item.items() if k != "$ref"}
        if "$ref" in item:
            target = inline(defined[item["$ref"].rpartition("/")[2]])
            rest.pop("title", None)
            return {**target, **rest}
        return rest

    return inline(found)
