"""The stellar grid that a file names."""

from starcensus.experiments.schema.paths import Sources
from starcensus.runs import Input
from starcensus.simulate.stars.grid import CARRIED, carried_path


def grid_path(name: str, sources: Sources) -> str | None:
    """Path of a grid; None for `default`, the one that the package carries first."""
    if name == "default":
        return None
    return str(carried_path(name) if name in CARRIED else sources.file(name, "grid"))


def grid_input(name: str, sources: Sources) -> dict[str, Input]:
    """The file of a grid, unless it is `default`."""
    path = grid_path(name, sources)
    return {} if path is None else {"grid": Input.of(path)}
