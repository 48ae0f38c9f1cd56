"""Operators as a file of settings names them: by a source, or by the kind of an operator.

A source makes an operator from options, the population's bounds and the files that the settings
name. A class of one's own needs none: registered in `OPERATORS`, it is built by its
`from_settings`.
"""

from collections.abc import Callable, Mapping
from typing import Any

from starcensus.registry import Registry
from starcensus.theta import Box

from ._base import OPERATORS, AbstractSelection
from .complete import complete
from .magnitude import MagnitudeLimit
from .photometric import PhotometricNetwork
from .store import load_selection

type Source = Callable[[Mapping[str, Any], Box], AbstractSelection | PhotometricNetwork]

SOURCES = Registry[Source]("source of operators")


def operator_kinds() -> tuple[str, ...]:
    """What the `kind` of an operator may be in a file of settings.

    ```python
    operator_kinds()  # ("complete", "magnitude", …)
    ```
    """
    of_theta = [name for name, cls in OPERATORS.items() if issubclass(cls, AbstractSelection)]
    return tuple(dict.fromkeys([*SOURCES, *of_theta]))


def check_operator_kind(kind: str) -> str:
    """The kind; raises `ValueError` naming those that there are for one that there is not.

    ```python
    check_operator_kind("magnitude")
    ```
    """
    if kind not in operator_kinds():
        raise ValueError(
            f"{kind!r} is no {OPERATORS.what}; expected one of {', '.join(operator_kinds())}, or "
            "one of your own from a module that --allow-own names"
        )
    return kind


def operator_from_settings(kind: str, options: Mapping[str, Any], box: Box) -> AbstractSelection:
    """The operator of θ that settings name.

    **Arguments:**

    - `kind`: `complete` (inside `box`), `magnitude` (options as of `MagnitudeLimit.default`),
      `c4_physical` (options as of `import_c4`), `file` (`path`, of `save_selection`), or the name
      of a class in `OPERATORS`, whose `from_settings` takes the options.
    - `options`: arguments of what makes the operator, by name.
    - `box`: bounds of the population.

    Raises `ValueError` for a kind that there is not, options that do not fit, or an operator of
    magnitudes.

    ```python
    operator_from_settings("magnitude", {"band": "F814W"}, Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0)))
    ```
    """
    check_operator_kind(kind)
    source = SOURCES[kind] if kind in SOURCES else OPERATORS[kind].from_settings
    try:
        operator = source(options, box)
    except TypeError as error:
        raise ValueError(f"the options of an operator of kind {kind!r}: {error}") from error
    if not isinstance(operator, AbstractSelection):
        raise ValueError(
            f"the operator of kind {kind!r} is one of magnitudes ({type(operator).__name__}); a "
            "fit needs one of mass, age and extinction: `starcensus selection marginalise` makes it"
        )
    return operator


@SOURCES.register("complete")
def _complete(options: Mapping[str, Any], box: Box) -> AbstractSelection:
    return complete(box, **options)


@SOURCES.register("magnitude")
def _magnitude(options: Mapping[str, Any], box: Box) -> AbstractSelection:
    return MagnitudeLimit.default(**options)


@SOURCES.register("file")
def _file(options: Mapping[str, Any], box: Box) -> AbstractSelection | PhotometricNetwork:
    return load_selection(**options)
