"""The stellar grids that a file names, and the engine that draws clusters of them."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.clusters import MetallicityTable
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.photometry import PoolTable
from starcensus.runs import Input
from starcensus.simulate import (
    AbstractImf,
    ClusterLibrary,
    DrawSettings,
    MetallicityEngine,
    StarcensusEngine,
)
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


def stars_words(table: PoolTable, sources: Sources) -> str:
    """Of which stars, mass function and gas simulated clusters are, for a report."""
    if table.path is not None:
        path = sources.file(table.path, "library")
        said = ClusterLibrary.load(path, rows=slice(0, 0)).meta.get("engine")
        return "; ".join([f"those of {path.name}", *_engine_words(said)])
    names = (table.grid,) if table.metallicity is None else table.metallicity.grids
    grids = [load_grid(grid_path(each, sources)).provenance for each in names]
    tracks = dict.fromkeys(str(grid.get("isochrones") or "of unknown tracks") for grid in grids)
    z = grids[0].get("z")
    if table.metallicity is not None:
        z = {"grids": [grid.get("z") for grid in grids], **table.metallicity.law.describe()}
    imf = {"kind": type(table.imf).__name__, "low": table.imf.low, "high": table.imf.high}
    gas = _gas_words(dataclasses.asdict(table.draw))
    return "; ".join([" and ".join(tracks), _z_words(z), _imf_words(imf), gas])


def _engine_words(said: object) -> list[str]:
    """What a library's engine says of itself, as far as it is known; others than ours have their
    own words."""
    if not isinstance(said, dict) or said.get("name") != "starcensus":
        return (
            [f"of the engine {said['name']}"] if isinstance(said, dict) and "name" in said else []
        )
    return [
        *([_z_words(said["z"])] if said.get("z") is not None else []),
        *([_imf_words(said["imf"])] if isinstance(said.get("imf"), dict) else []),
        *([_gas_words(said["settings"])] if isinstance(said.get("settings"), dict) else []),
    ]


def _imf_words(imf: Mapping[str, Any]) -> str:
    return f"{imf['kind']} initial masses, {imf['low']:g} to {imf['high']:g} M_sun"


def _z_words(z: object) -> str:
    if not isinstance(z, dict):
        return f"Z = {z:g}" if isinstance(z, int | float) else "of a metallicity that is not said"
    knots = z["log_age"] or [None]
    middle = ", ".join(
        f"{each:g}" + ("" if age is None else f" at log age {age:g}")
        for each, age in zip(z["z"], knots, strict=True)
    )
    scatter = f" with {z['scatter_dex']:g} dex of scatter" if z["scatter_dex"] else ""
    grids = ", ".join(f"{each:g}" for each in sorted(z["grids"]))
    return f"Z = {middle}{scatter}, of grids of {grids}"


def _gas_words(draw: Mapping[str, Any]) -> str:
    if not draw["nebular"]:
        return "no gas"
    return (
        f"gas that absorbs {draw['covering']:g} of the ionising photons until log age "
        f"{draw['nebular_max_log_age']:g}"
    )
