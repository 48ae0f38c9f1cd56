"""The stellar grids that a file names, and the engine that draws clusters of them."""

from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.clusters import MetallicityTable
from starcensus.experiments.schema.paths import Sources
from starcensus.runs import Input
from starcensus.simulate import AbstractImf, DrawSettings, MetallicityEngine, StarcensusEngine
from starcensus.simulate.library.engine import load_grid
from starcensus.simulate.stars.grid import CARRIED, carried_path


def grid_path(name: str, sources: Sources) -> str | None:
    """Path of a grid; None for `default`, the one that the package carries first."""
    if name == "default":
        return None
    return str(carried_path(name) if name in CARRIED else sources.file(name, "grid"))


def grid_input(
    name: str, sources: Sources, metallicity: MetallicityTable | None = None
) -> dict[str, Input]:
    """The file of a grid, or those of a relation, but for `default`."""
    if metallicity is None:
        path = grid_path(name, sources)
        return {} if path is None else {"grid": Input.of(path)}
    paths = {each: grid_path(each, sources) for each in metallicity.grids}
    return {f"grid.{each}": Input.of(path) for each, path in paths.items() if path is not None}


def engine_of(
    name: str,
    metallicity: MetallicityTable | None,
    bands: tuple[str, ...] | None,
    imf: AbstractImf,
    draw: DrawSettings,
    sources: Sources,
) -> StarcensusEngine | MetallicityEngine:
    """What draws clusters of a grid, or of those of a relation, in some bands, by default all.

    Raises `ConfigError` for grids without the bands, of one metallicity, or a relation beyond them.
    """
    names = (name,) if metallicity is None else metallicity.grids
    paths = tuple(grid_path(each, sources) for each in names)
    if bands is None:
        bands = load_grid(paths[0]).bands
    for each, path in zip(names, paths, strict=True):
        try:
            load_grid(path).select(bands)
        except ValueError as error:
            raise ConfigError(f"{each}: {error}") from error
    if metallicity is None:
        return StarcensusEngine(bands, paths[0], imf, draw)
    engine = MetallicityEngine(bands, paths, metallicity.law, imf, draw)
    try:
        engine.engines()
    except ValueError as error:
        raise ConfigError(f"metallicity: {error}") from error
    return engine
