"""The stellar grid that a file names."""

from starcensus.experiments.schema.paths import Sources
from starcensus.runs import Input


def grid_path(name: str, sources: Sources) -> str | None:
    """Path of a grid; None for the one that the package carries."""
    return None if name == "default" else str(sources.file(name, "grid"))


def grid_input(name: str, sources: Sources) -> dict[str, Input]:
    """The file of a grid, unless the package carries it."""
    path = grid_path(name, sources)
    return {} if path is None else {"grid": Input.of(path)}
