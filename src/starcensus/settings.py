"""What settings are checked for: words, numbers that are texts, and seeds."""

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal


def check_choices(settings: Any) -> None:
    """Raises `ValueError` for a field of a dataclass whose value is none of its `Literal` type.

    Annotations alone are not checked where a library runs, and a misspelled word would choose
    whatever the last branch does.

    ```python
    import dataclasses
    from typing import Literal

    @dataclasses.dataclass(frozen=True)
    class Settings:
        rows: Literal["keep", "drop"] = "keep"

        def __post_init__(self):
            check_choices(self)
    ```
    """
    for field in dataclasses.fields(settings):
        words = choices_of(field.type)
        value = getattr(settings, field.name)
        if words and not (isinstance(value, str | None) and value in words):
            names = [repr(word) for word in words if word is not None]
            raise ValueError(f"{field.name} is {value!r}; expected one of {', '.join(names)}")


def check_seed(seed: object) -> None:
    """Raises `ValueError` for a seed that NumPy's or JAX's generators do not take.

    Parts have seeds of their own, this one and as many more as there are: 2^62 leaves room.

    ```python
    check_seed(20_260_101)
    ```
    """
    # NumPy's own integers are numbers as Python's are.
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= int(seed) < 2**62:  # pyright: ignore[reportArgumentType]
        raise ValueError(f"seed is {seed!r}; expected a whole number from 0 to 2^62 - 1")


def choices_of(annotation: Any) -> tuple[str | None, ...]:
    """The words of an annotation that is a `Literal` of words, or None or such; else nothing.

    ```python
    from typing import Literal

    choices_of(Literal["data", "truth"])  # ("data", "truth")
    ```
    """
    if isinstance(annotation, typing.TypeAliasType):
        return choices_of(annotation.__value__)
    if typing.get_origin(annotation) is Literal:
        words = typing.get_args(annotation)
        return words if all(isinstance(word, str) for word in words) else ()
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        parts = [part for part in typing.get_args(annotation) if part is not type(None)]
        if len(parts) == 1 and (words := choices_of(parts[0])):
            return (*words, None)
    return ()


def check_numbers(maker: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Raises `ValueError` for a text, or true or false, where a class or function takes numbers.

    **Arguments:**

    - `maker`: says by its annotations which arguments are numbers.
    - `given`: arguments by name, as a file has them.

    ```python
    def made(limit_mag: float = 24.0, name: str = ""): ...

    check_numbers(made, {"limit_mag": 23.5, "name": "23.5"})
    ```
    """
    parameters = inspect.signature(maker).parameters
    for name, value in given.items():
        words = str(parameters[name].annotation) if name in parameters else ""
        numbers = re.search(r"\b(float|int)\b|Array|ndarray", words)
        if not numbers or re.search(r"\b(str|bool|Any|Literal)\b|Path", words):
            continue
        flat = value if isinstance(value, list | tuple) else [value]
        if bad := [each for each in flat if isinstance(each, str | bool)]:
            raise ValueError(f"{name} is {bad[0]!r}; expected a number, without quotes")
