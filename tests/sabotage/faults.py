"""The table of deliberate faults, `faults.toml`."""

import pathlib
import tomllib
from typing import NamedTuple


class Fault(NamedTuple):
    """A deliberate fault.

    - `name`: in words.
    - `file`: where it is put, from the root of the checkout.
    - `old`, `new`: the text that occurs once there, and what takes its place.
    - `why`: what would be wrong.
    - `tests`: files of the default suite that should see it, or FILE::test.
    - `survives`: why nobody can see it; of most, nothing.
    """

    name: str
    file: str
    old: str
    new: str
    why: str
    tests: tuple[str, ...]
    survives: str = ""


def faults() -> list[Fault]:
    """All of them, in the order of the table."""
    text = pathlib.Path(__file__).with_name("faults.toml").read_text()
    tables = tomllib.loads(text)["fault"]
    return [Fault(**{**table, "tests": tuple(table["tests"])}) for table in tables]
