"""What every class of settings checks of itself: a word that is none of its words is refused."""

import dataclasses
import types
import typing
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
