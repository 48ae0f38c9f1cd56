"""Stellar grids from isochrones, atmospheres and filter curves."""

import dataclasses
import functools
import math
import pathlib
import time
from typing import Any

import numpy as np

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.schema.grid import GridFile
from starcensus.files import files_below
from starcensus.runs import Input
from starcensus.simulate import read_zeropoints
from starcensus.simulate.stars import (
    Filter,
    IsochroneSet,
    StellarGrid,
    build_grid,
    default_filters,
    read_atmospheres,
    read_cmd,
    read_filter,
    read_fsps,
    read_mist,
    read_slug,
    read_vega,
)
from starcensus.simulate.stars.metal_lines import CITATION, SOLAR_Z, read_cloudy_lines
from starcensus.simulate.stars.nebular import NebularSettings, nebular_band_flux


@JOBS.register("grid")
class GridJob(Job[GridFile]):
    """`grid.h5`."""

    def inputs(self) -> dict[str, Input]:
        found: dict[str, Input] = {}
        for role in ("isochrones", "ck04", "hot", "curves", "vega", "zeropoints"):
            place = self._place(role)
            if place is not None and place.is_dir():
                files = files_below(place)
                found |= {f"{role}/{path.relative_to(place)}": Input.of(path) for path in files}
            elif place is not None:
                found[role] = Input.of(place)
        if (gas := self.file.gas) is not None:
            found["gas.lines"] = Input.of(self.sources.file(gas.lines, "table of lines"))
        return found | {
            f"filters.{name}": Input.of(self.sources.file(path, "filter"))
            for name, path in self.file.filters.items()
        }

    def results(self) -> tuple[str, ...]:
        return ("grid.h5",)

    def run(self, show: Show) -> Outcome:
        began = time.perf_counter()
        grid = self.build(show)
        grid.save(self.out / "grid.h5")
        served = grid.provenance["points_served"]
        summary = {
            "n_ages": len(grid.log_age),
            "n_points": len(grid),
            "n_bands": len(grid.bands),
            "n_black_body_points": served["black body"],
            "file_mb": (self.out / "grid.h5").stat().st_size / 1e6,
            "wall_s": time.perf_counter() - began,
        }
        return Outcome(summary, {"grid": grid.provenance})

    def build(self, show: Show) -> StellarGrid:
        """Read the ingredients and build the grid."""
        file, isochrones = self.file, self._isochrones()
        show.stage(f"atmospheres for {isochrones.source}")
        above = np.inf if file.black_body_above is None else file.black_body_above
        atmospheres = read_atmospheres(
            self._there("ck04"),
            self._place("hot"),
            z=isochrones.z,
            metallicity=file.metallicity,
            interpolate=file.interpolate,
            wolf_rayet=file.wolf_rayet,
            black_body_above=above,
        )
        vega, zeropoints = self._place("vega"), self._place("zeropoints")
        gas = self._gas(isochrones.z)
        grid = build_grid(
            isochrones,
            atmospheres,
            self._filters(),
            vega=read_vega(vega) if vega else None,
            ab_minus_vega=dict(read_zeropoints(zeropoints)) if zeropoints else None,
            curve=file.curve,
            gas=None if gas is None else functools.partial(nebular_band_flux, settings=gas),
            progress=show.stage,
        )
        if gas is None:
            return grid
        facts = {**dataclasses.asdict(gas), "metal_lines": len(gas.metal_lines)}
        assert file.gas is not None
        told = {**facts, **file.gas.model_dump(), "log_z": self._log_z(isochrones.z)}
        told["lines"] = pathlib.PurePath(file.gas.lines).name
        papers = sorted({*grid.provenance["citations"], CITATION})
        return dataclasses.replace(
            grid, provenance={**grid.provenance, "gas": told, "citations": papers}
        )

    def _log_z(self, z: float) -> float:
        """Metals of the gas, which are those of the stars unless the file says others."""
        gas = self.file.gas
        assert gas is not None
        return math.log10(z / SOLAR_Z) if gas.log_z is None else gas.log_z

    def _gas(self, z: float) -> NebularSettings | None:
        if (gas := self.file.gas) is None:
            return None
        table = read_cloudy_lines(self.sources.file(gas.lines, "table of lines"))
        lines = table.over_h_beta(self._log_z(z), gas.log_u, gas.age_myr * 1e6)
        return NebularSettings(gas.temperature, 0.1, gas.helium_lines, lines)

    def _filters(self) -> tuple[Filter, ...]:
        curves = self._place("curves")
        found = [*(default_filters(curves) if curves else ())]
        for name, path in self.file.filters.items():
            found.append(read_filter(self.sources.file(path, "filter"), name))
        return tuple(found)

    def _isochrones(self) -> IsochroneSet:
        file, place = self.file, self._there("isochrones")
        if file.format == "slug":
            return read_slug(place, np.array(file.ages), z=file.z or 0.014)
        low, high = file.ages
        readers: dict[str, Any] = {"cmd": read_cmd, "mist": read_mist}
        if file.format in readers:
            return readers[file.format](place).between(low, high)
        return read_fsps(place, z=file.z).between(low, high)

    def _place(self, role: str) -> pathlib.Path | None:
        path = getattr(self.file, role)
        return None if path is None else self.sources.place(path, role)

    def _there(self, role: str) -> pathlib.Path:
        return self.sources.place(getattr(self.file, role), role)
