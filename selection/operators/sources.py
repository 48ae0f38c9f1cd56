"""Operators as a file of settings names them: by a source, or by the kind of an operator.

A source makes an operator from options, the population's bounds and the files that the settings
name. A class of one's own needs none: registered in `OPERATORS`, it is built by its
`from_settings`.
"""

from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any

from starcensus.registry import Registry
from starcensus.settings import check_numbers
from starcensus.theta import Box

from ._base import OPERATORS, AbstractSelection
from .complete import complete
from .magnitude import MagnitudeLimit
from .photometric import PhotometricNetwork
from .store import load_selection

type Source = Callable[[Mapping[str, Any], Box], AbstractSelection | PhotometricNetwork]

# Attribute of a source: what its options are arguments of.
_MAKER = "__starcensus_maker__"

SOURCES = Registry[Source]("source of operators")


def operator_kinds() -> tuple[str, ...]:
    """What the `kind` of an operator may be in a file of settings.

    ```python
    operator_kinds()  # ("complete", "magnitude", …)
    ```
    """
    of_theta = [name for name, cls in OPERATORS.items() if issubclass(cls, AbstractSelection)]
    return tuple(dict.fromkeys([*SOURCES, *of_theta]))


def takes(maker: Callable[..., Any]) -> Callable[[Source], Source]:
    """Decorator of a source: its options are arguments of `maker`, of the same names.

    They are listed by `starcensus schema`, and others are refused.

    ```python
    @takes(MagnitudeLimit.default)
    def made(options, box):
        return MagnitudeLimit.default(**options)
    ```
    """

    def add(source: Source) -> Source:
        setattr(source, _MAKER, maker)
        return source

    return add


def operator_maker(kind: str) -> Callable[..., Any] | None:
    """What the options of an operator are arguments of; None for a source that does not say it.

    An argument `box` is none of them: it is the population's. Raises `ValueError` for a kind that
    there is not.

    ```python
    operator_maker("magnitude")  # MagnitudeLimit.default
    ```
    """
    check_operator_kind(kind)
    if kind in SOURCES:
        return getattr(SOURCES[kind], _MAKER, None)
    cls = OPERATORS[kind]
    return None if "from_settings" in vars(cls) else cls


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
    if (maker := operator_maker(kind)) is not None:
        allowed = [name for name in signature(maker).parameters if name != "box"]
        if unknown := [name for name in options if name not in allowed]:
            raise ValueError(
                f"an operator of kind {kind!r} has no option {', '.join(unknown)}; it has "
                f"{', '.join(allowed) or 'none'}"
            )
        check_numbers(maker, options)
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
@takes(complete)
def _complete(options: Mapping[str, Any], box: Box) -> AbstractSelection:
    return complete(box, **options)


@SOURCES.register("magnitude")
@takes(MagnitudeLimit.default)
def _magnitude(options: Mapping[str, Any], box: Box) -> AbstractSelection:
    return MagnitudeLimit.default(**options)


@SOURCES.register("file")
@takes(load_selection)
def _file(options: Mapping[str, Any], box: Box) -> AbstractSelection | PhotometricNetwork:
    return load_selection(**options)
