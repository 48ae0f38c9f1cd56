"""An object as the arguments of its constructor: plain arrays, and the rest as JSON.

Whatever is stored is a dataclass (an `equinox.Module` is one) whose constructor's parameters are
fields of the same names, so it needs no code of its own to be saved: the field's type says how its
value is written and what is accepted when it is read. Arrays go under the path of their field,
`networks/0/weights/1`. Nothing that is read is ever executed; classes come from the registry alone.

| type of the field | in JSON |
|---|---|
| array (`Float[np.ndarray, "n"]`, also in a union) | `"array"`; read: a list of numbers too |
| `float`, `int`, `bool`, `str`, `Literal[…]`, `X \\| None` | the value |
| an infinite `float` | `"inf"`, `"-inf"` |
| `tuple[X, Y]`, `tuple[X, ...]` | a list |
| `Mapping[str, X]` | its entries |
| a registered class, or a base of such | `{"kind": NAME, "fields": {…}}` |
| another dataclass, as `Box` | its fields |
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import AbstractArray

from starcensus.registry import Registry

ARRAY = "array"
type Arrays = dict[str, np.ndarray]


def encode(thing: object, kinds: Registry[type]) -> tuple[dict[str, Any], Arrays]:
    """The tree `{"kind": …, "fields": …}` of an object of a registered class, and its arrays.

    Raises `ValueError` for a class that has no name, `TypeError` for one whose constructor's
    parameters are not fields, or are of types that cannot be stored.
    """
    arrays: Arrays = {}
    return _encode_kind(thing, "", arrays, kinds), arrays


def decode(tree: object, arrays: Arrays, kinds: Registry[type]) -> Any:
    """The inverse of `encode`; raises `ValueError` saying which field is missing or wrong."""
    return _decode_kind(tree, "", arrays, kinds)


def build(cls: type, settings: Mapping[str, object], kinds: Registry[type]) -> Any:
    """An object of a class from settings as a TOML file has them; raises `ValueError`."""
    return _decode_fields(cls, settings, "", {}, kinds)


def arguments(cls: type) -> dict[str, Any]:
    """Parameters of a class's constructor, each with the type of the field of the same name.

    Raises `TypeError` for a parameter that is no field.
    """
    hints = typing.get_type_hints(cls)
    names = list(inspect.signature(cls.__init__).parameters)[1:]
    unknown = [name for name in names if name not in hints]
    if unknown or not dataclasses.is_dataclass(cls):
        what = f"takes {unknown}" if unknown else "is no dataclass"
        raise TypeError(
            f"{cls.__name__} {what}; to be stored, it needs to be a dataclass (as every "
            "equinox.Module is) whose constructor takes nothing but fields, by their names"
        )
    return {name: hints[name] for name in names}


def _encode_kind(thing: object, where: str, arrays: Arrays, kinds: Registry[type]) -> dict:
    kind = kinds.name_of(type(thing))
    return {"kind": kind, "fields": _encode_fields(thing, where, arrays, kinds)}


def _encode_fields(thing: object, where: str, arrays: Arrays, kinds: Registry[type]) -> dict:
    return {
        name: _encode(getattr(thing, name), expected, _join(where, name), arrays, kinds)
        for name, expected in arguments(type(thing)).items()
    }


def _encode(value: Any, expected: Any, where: str, arrays: Arrays, kinds: Registry[type]) -> Any:
    expected, optional = _plain(expected)
    if optional and value is None:
        return None
    if _is_array(expected):
        arrays[where] = np.asarray(value)
        return ARRAY
    origin = typing.get_origin(expected)
    if origin is tuple:
        types_ = _elements(expected, len(value), where)
        return [
            _encode(v, t, _join(where, str(i)), arrays, kinds)
            for i, (v, t) in enumerate(zip(value, types_, strict=True))
        ]
    if origin is Mapping:
        of = typing.get_args(expected)[1]
        return {k: _encode(v, of, _join(where, k), arrays, kinds) for k, v in value.items()}
    if origin is Literal:
        return value
    if expected is float and np.isinf(value):
        return repr(float(value))
    if expected in (float, int, bool, str):
        return expected(value)
    if _has_kind(expected, kinds):
        return _encode_kind(value, where, arrays, kinds)
    if dataclasses.is_dataclass(expected):
        return _encode_fields(value, where, arrays, kinds)
    raise TypeError(
        f"{where} is of the type {expected}, which cannot be stored; expected arrays, numbers, "
        "words, tuples, or dataclasses of these"
    )


def _decode_kind(tree: object, where: str, arrays: Arrays, kinds: Registry[type]) -> Any:
    if not isinstance(tree, dict) or not isinstance(tree.get("fields"), dict):
        raise ValueError(
            f"{where or 'the whole'} is {_short(tree)}; expected a kind and its fields"
        )
    kind = tree.get("kind")
    cls = kinds.find(kind)
    try:
        return _decode_fields(cls, tree["fields"], where, arrays, kinds)
    except KeyError as missing:
        raise ValueError(
            f"the {kinds.what} of kind {kind} lacks {missing}; the file has the arrays "
            f"{', '.join(arrays) or 'none'}"
        ) from missing


def _decode_fields(
    cls: type, tree: Mapping[str, object], where: str, arrays: Arrays, kinds: Registry[type]
) -> Any:
    known = arguments(cls)
    if unknown := [name for name in tree if name not in known]:
        raise ValueError(
            f"{cls.__name__} knows no {', '.join(map(str, unknown))}; it takes {', '.join(known)}"
        )
    needed = [
        name
        for name, parameter in inspect.signature(cls.__init__).parameters.items()
        if name in known and parameter.default is inspect.Parameter.empty
    ]
    if missing := [name for name in needed if name not in tree]:
        raise KeyError(_join(where, missing[0]))
    return cls(
        **{
            name: _decode(value, known[name], _join(where, name), arrays, kinds)
            for name, value in tree.items()
        }
    )


def _decode(stored: Any, expected: Any, where: str, arrays: Arrays, kinds: Registry[type]) -> Any:
    expected, optional = _plain(expected)
    if optional and stored is None:
        return None
    if _is_array(expected):
        return _decode_array(stored, expected, where, arrays)
    origin = typing.get_origin(expected)
    if origin is tuple:
        if not isinstance(stored, list | tuple):
            raise ValueError(f"{where} is {_short(stored)}; expected a list")
        types_ = _elements(expected, len(stored), where)
        return tuple(
            _decode(v, t, _join(where, str(i)), arrays, kinds)
            for i, (v, t) in enumerate(zip(stored, types_, strict=True))
        )
    if origin is Mapping:
        if not isinstance(stored, Mapping):
            raise ValueError(f"{where} is {_short(stored)}; expected values by name")
        of = typing.get_args(expected)[1]
        return {k: _decode(v, of, _join(where, k), arrays, kinds) for k, v in stored.items()}
    if origin is Literal:
        allowed = typing.get_args(expected)
        if not any(stored == a and type(stored) is type(a) for a in allowed):
            raise ValueError(
                f"{where} is {_short(stored)}; expected {' or '.join(map(repr, allowed))}"
            )
        return stored
    if expected is float and stored in ("inf", "-inf"):
        return float(stored)
    if expected in (float, int, bool, str):
        accepted = int | float if expected is float else expected
        if not isinstance(stored, accepted) or isinstance(stored, bool) != (expected is bool):
            raise ValueError(f"{where} is {_short(stored)}; expected {_WORDS[expected]}")
        return expected(stored)
    if _has_kind(expected, kinds):
        return _decode_kind(stored, where, arrays, kinds)
    if dataclasses.is_dataclass(expected) and isinstance(expected, type):
        if isinstance(stored, expected):
            return stored
        if not isinstance(stored, dict):
            raise ValueError(f"{where} is {_short(stored)}; expected the fields of a {expected}")
        return _decode_fields(expected, stored, where, arrays, kinds)
    raise TypeError(f"{where} is of the type {expected}, which cannot be stored")


_WORDS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def _decode_array(stored: Any, expected: Any, where: str, arrays: Arrays) -> np.ndarray:
    if isinstance(stored, list):
        try:
            value = np.array(stored, float)
        except (TypeError, ValueError):
            raise ValueError(f"{where} is {_short(stored)}; expected a list of numbers") from None
    else:
        value = arrays[where]
    # Its own frame: a check of shapes binds the names of axes to the function that makes it.
    if not isinstance(value, expected):
        raise ValueError(
            f"{where} has {value.dtype} values of shape {value.shape}; expected {expected}"
        )
    return value


def _plain(expected: Any) -> tuple[Any, bool]:
    """A type without its alias and without None; whether None was in it."""
    while isinstance(expected, typing.TypeAliasType):
        expected = expected.__value__
    if typing.get_origin(expected) not in (types.UnionType, typing.Union):
        return expected, False
    parts = typing.get_args(expected)
    rest = [part for part in parts if part is not type(None)]
    if len(rest) == len(parts):
        return expected, False
    return (rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]), True  # noqa: UP007


def _is_array(expected: Any) -> bool:
    parts = typing.get_args(expected) or (expected,)
    arrays = (AbstractArray, np.ndarray, jax.Array)
    return all(isinstance(part, type) and issubclass(part, arrays) for part in parts)


def _has_kind(expected: Any, kinds: Registry[type]) -> bool:
    return isinstance(expected, type) and any(issubclass(k, expected) for k in kinds.values())


def _elements(expected: Any, n: int, where: str) -> tuple[Any, ...]:
    elements = typing.get_args(expected)
    if len(elements) == 2 and elements[1] is Ellipsis:
        return (elements[0],) * n
    if len(elements) != n:
        raise ValueError(f"{where} has {n} elements; expected {len(elements)}")
    return elements


def _join(where: str, name: str) -> str:
    return f"{where}/{name}" if where else name


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 100 else text[:100] + "…"
