"""Kinds by name: what a file of settings may say, open to users.

Each abstraction that a user may extend has one `Registry`. A class is added under the word by
which files name it, and is then built, saved and loaded as ours are.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any


class Registry[T](Mapping[str, T]):
    """Names and what they stand for.

    `what` is the thing in words, for messages: "mass function".

    ```python
    MASS_FUNCTIONS = Registry[type]("mass function")

    @MASS_FUNCTIONS.register("my_law")
    class MyLaw: ...

    MASS_FUNCTIONS.find("my_law")
    ```
    """

    def __init__(self, what: str) -> None:
        self.what = what
        self._known: dict[str, T] = {}

    def register[U](self, name: str) -> Callable[[U], U]:
        """Decorator that adds a class under `name`.

        The same class from the same place may come again, as when a notebook's cell is run twice;
        raises `ValueError` for a name that another class has.
        """

        def add(thing: U) -> U:
            self.add(name, thing)  # pyright: ignore[reportArgumentType]
            return thing

        return add

    def add(self, name: str, thing: T) -> None:
        """Add a thing under `name`; raises `ValueError` for a name that is taken or no word."""
        if not name.replace("_", "").isalnum():
            raise ValueError(
                f"{name!r} cannot name a {self.what}; expected letters, digits and underscores"
            )
        held = self._known.get(name)
        if held is not None and _place(held) != _place(thing):
            raise ValueError(f"{name!r} is the {self.what} {_place(held)} already; choose another")
        self._known[name] = thing

    def __getitem__(self, name: str) -> T:
        """Raises `KeyError`; `find` says what there is."""
        return self._known[name]

    def find(self, name: object) -> T:
        """The thing of that name; raises `ValueError`, which names those that there are."""
        if not isinstance(name, str) or name not in self._known:
            raise ValueError(
                f"{name!r} is no {self.what}; expected one of {', '.join(self._known)}, or one of "
                "your own from a module that --allow-own names"
            )
        return self._known[name]

    def name_of(self, cls: object) -> str:
        """The name under which a class was added; raises `ValueError` for one that was not."""
        for name, known in self._known.items():
            if known is cls:
                return name
        raise ValueError(
            f"{_place(cls)} has no name as a {self.what}, so files cannot say it; add it with "
            "`register(NAME)`"
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)


def _place(thing: Any) -> str:
    """Where a class was defined; a value stands for itself."""
    name = getattr(thing, "__qualname__", None)
    return repr(thing) if name is None else f"{thing.__module__}.{name}"
