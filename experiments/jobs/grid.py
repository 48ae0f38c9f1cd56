"""Building a stellar grid from files: `starcensus simulate grid`."""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable

import numpy as np

from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.simulate.library.slug2 import read_zeropoints
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

FORMATS = ("fsps", "cmd", "mist", "slug")


@dataclasses.dataclass(frozen=True)
class GridFiles:
    """Where the ingredients of a grid are, and what to take of them.

    **Arguments:**

    - `isochrones`: a file, or for `format` `"slug"` the folder that `SLUG_DIR` names.
    - `format`: one of `FORMATS`.
    - `ck04`, `hot`: folders of the Castelli & Kurucz atlas and of FSPS's hot spectra (or None).
    - `curves`: folder with the curves of the nine default bands, or None.
    - `filters`: further bands, `NAME=PATH`.
    - `vega`: spectrum of magnitude 0. `zeropoints`: table of AB minus Vega in its place.
    - `ages`: log10 yr; lowest and highest, or with SLUG's tracks the ages themselves.
    - `z`: metal mass fraction, where the isochrones do not say.
    - `metallicity`: [M/H] of the cool atmospheres, by default from z.
    - `curve`: extinction curve. `wolf_rayet`: use Wolf-Rayet and post-AGB spectra.
    - `black_body_above`: K, or infinite.
    """

    isochrones: pathlib.Path
    ck04: pathlib.Path
    hot: pathlib.Path | None = None
    curves: pathlib.Path | None = None
    filters: tuple[str, ...] = ()
    vega: pathlib.Path | None = None
    zeropoints: pathlib.Path | None = None
    format: str = "fsps"
    ages: tuple[float, ...] = (6.0, 10.1)
    z: float | None = None
    metallicity: float | None = None
    curve: str = "F99"
    wolf_rayet: bool = True
    black_body_above: float = np.inf

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}")
        if self.curves is None and not self.filters:
            raise ValueError("no bands: give --curves, or --filter NAME=PATH, or both")
        if (self.vega is None) == (self.zeropoints is None):
            raise ValueError("give either --vega or --zeropoints, and not both")
        if self.format != "slug" and len(self.ages) != 2:
            raise ValueError(
                f"--ages names {len(self.ages)} ages; expected the lowest and the highest"
            )


def build_from_files(files: GridFiles, progress: Callable[[str], None]) -> StellarGrid:
    """Read the ingredients and build the grid."""
    isochrones = _isochrones(files)
    progress(f"atmospheres for {isochrones.source}")
    atmospheres = read_atmospheres(
        files.ck04,
        files.hot,
        z=isochrones.z,
        metallicity=files.metallicity,
        wolf_rayet=files.wolf_rayet,
        black_body_above=files.black_body_above,
    )
    bands = [*(default_filters(files.curves) if files.curves else ())]
    bands += [_named(text) for text in files.filters]
    table = None
    if files.zeropoints is not None:
        table = dict(read_zeropoints(files.zeropoints))
    return build_grid(
        isochrones,
        atmospheres,
        tuple(bands),
        vega=read_vega(files.vega) if files.vega else None,
        ab_minus_vega=table,
        curve=files.curve,
        progress=progress,
    )


def run_grid(
    files: GridFiles, out: pathlib.Path, progress: Callable[[str], None]
) -> dict[str, object]:
    """Build the grid and write `grid.h5`, `summary.json` and `provenance.json` under `out`."""
    began = time.perf_counter()
    grid = build_from_files(files, progress)
    out.mkdir(parents=True, exist_ok=True)
    grid.save(out / "grid.h5")
    served = grid.provenance["points_served"]
    summary: dict[str, object] = {
        "n_ages": len(grid.log_age),
        "n_points": len(grid),
        "n_bands": len(grid.bands),
        "n_black_body_points": served["black body"],
        "file_mb": (out / "grid.h5").stat().st_size / 1e6,
        "wall_s": time.perf_counter() - began,
    }
    inputs = [files.isochrones, files.vega, files.zeropoints]
    inputs += [pathlib.Path(text.partition("=")[2]) for text in files.filters]
    facts = provenance(
        "", 0, [p for p in inputs if p is not None and p.is_file()], command_line()
    ) | {"grid": grid.provenance}
    _write(out / "summary.json", summary)
    _write(out / "provenance.json", facts)
    return summary | {f"served: {name}": count for name, count in served.items() if count}


def _isochrones(files: GridFiles) -> IsochroneSet:
    if files.format == "slug":
        return read_slug(files.isochrones, np.array(files.ages), z=files.z or 0.014)
    low, high = files.ages
    if files.format == "cmd":
        return read_cmd(files.isochrones).between(low, high)
    if files.format == "mist":
        return read_mist(files.isochrones).between(low, high)
    return read_fsps(files.isochrones, z=files.z).between(low, high)


def _named(text: str) -> Filter:
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise ValueError(f"--filter {text}: expected NAME=PATH")
    return read_filter(path, name)


def _write(path: pathlib.Path, content: dict[str, object]) -> None:
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_text(json.dumps(content, indent=2, default=str) + "\n")
    os.replace(temporary, path)
