"""Design files of cluster libraries: TOML, checked, unknown keys refused; and their run."""

import pathlib
import time
import tomllib
from typing import Annotated, Any, Literal

import numpy as np
import pydantic

from starcensus.experiments.jobs.fit import prepare_folder, write_json
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import ConfigError, Pair, Strict, explain
from starcensus.shards import Progress, Work
from starcensus.simulate import ClusterLibrary
from starcensus.simulate.clusters.imf import IMFS, AbstractImf
from starcensus.simulate.library.design import BoxTheta, Design, TableTheta
from starcensus.simulate.library.radius import FlatRadius, MassRadius
from starcensus.simulate.library.run import Engine, run_library


def _fixed(value: object) -> object:
    return (value, value) if isinstance(value, int | float) else value


Limits = Annotated[Pair, pydantic.BeforeValidator(_fixed)]


class BoxConfig(Strict):
    """θ between limits (log10 M_sun, log10 yr, mag); one number instead of two fixes an axis.

    `mass_slope`: dN/dM ∝ M^mass_slope; -1 is uniform in log_mass. `quasi_random` is a scrambled
    Sobol sequence.
    """

    kind: Literal["log_uniform", "quasi_random"]
    log_mass: Limits
    log_age: Limits
    a_v: Limits = (0.0, 3.0)
    mass_slope: float = -1.0

    def theta(self, folder: pathlib.Path) -> BoxTheta:
        sequence = "sobol" if self.kind == "quasi_random" else "random"
        return BoxTheta(self.log_mass, self.log_age, self.a_v, self.mass_slope, sequence)


class TableConfig(Strict):
    """θ from the columns log_mass, log_age, a_v [, r_eff_pc] [, log_density] of a table.

    `path` (ECSV, FITS or CSV) is relative to the design file. Rows are taken without repeats.
    """

    kind: Literal["table"]
    path: str

    def theta(self, folder: pathlib.Path) -> TableTheta:
        return TableTheta.read(folder / self.path)


class FlatConfig(Strict):
    """Radii uniform from `low` to `high` pc; `whole` takes whole numbers of pc."""

    kind: Literal["flat"]
    low: float = 1.0
    high: float = 10.0
    whole: bool = False

    def radius(self) -> FlatRadius:
        return FlatRadius(self.low, self.high, self.whole)


class MassRadiusConfig(Strict):
    """log10(r/pc) = `slope` log10(M/M_sun) + N(0, `scatter`), cut to `low` and `high` if given.

    `whole` rounds to whole numbers of pc, from 1 to 10 unless `low` and `high` say otherwise.
    """

    kind: Literal["mass_radius"]
    slope: float = 0.14
    scatter: float = 0.21
    low: float | None = None
    high: float | None = None
    whole: bool = False

    def radius(self) -> MassRadius:
        return MassRadius(self.slope, self.scatter, self.low, self.high, self.whole)


class ImfConfig(Strict):
    """Initial mass function and its limits, M_sun."""

    kind: Literal["kroupa", "chabrier", "salpeter"] = "kroupa"
    low: float = 0.08
    high: float = 120.0

    def imf(self) -> AbstractImf:
        return IMFS[self.kind](low=self.low, high=self.high)


class DrawConfig(Strict):
    """How a cluster is drawn: the rule that fills it up to its mass, and its gas.

    `covering`: fraction of the ionising photons that the gas absorbs. `nebular_extinction`: A_V of
    the gas over that of the stars. `nebular_max_log_age`: log10 yr, above which there is no gas;
    SLUG has its own.
    """

    rule: Literal["stop_nearest", "poisson", "number"] = "stop_nearest"
    nebular: bool = True
    covering: Annotated[float, pydantic.Field(ge=0, le=1)] = 0.5
    nebular_extinction: Annotated[float, pydantic.Field(ge=0)] = 2.1
    nebular_max_log_age: float = 7.0


class SlugConfig(Strict):
    """Names of SLUG v3's own ingredients, for `--engine slug`; its IMF and drawing are as above."""

    tracks: str = "MIST"
    spectra: str = "default"
    extinction: str = "Calzetti_MW"
    feh: float = 0.0
    min_stoch_mass: Annotated[float, pydantic.Field(ge=0)] = 0.0
    wavelengths: Pair = (91.2, 2e4)
    n_wavelengths: Annotated[int, pydantic.Field(ge=16)] = 1024
    facility: str = "HST"


class LibraryConfig(Strict):
    """A whole design file."""

    title: str = ""
    n: int | None = None
    seed: int = 0
    bands: tuple[str, ...] | None = None
    grid: str = "default"
    theta: Annotated[BoxConfig | TableConfig, pydantic.Field(discriminator="kind")]
    radius: (
        Annotated[FlatConfig | MassRadiusConfig, pydantic.Field(discriminator="kind")] | None
    ) = None
    imf: ImfConfig = ImfConfig()
    draw: DrawConfig = DrawConfig()
    slug: SlugConfig = SlugConfig()

    def design(self, folder: pathlib.Path) -> Design:
        """The design; `folder` is where relative paths start."""
        theta = self.theta.theta(folder)
        n = self.n
        if n is None:
            if not isinstance(theta, TableTheta):
                raise ConfigError("n is missing; expected the number of clusters")
            n = len(theta)
        radius = self.radius.radius() if self.radius is not None else None
        return Design(n, self.seed, theta, radius)

    def engine(
        self, kind: str, folder: pathlib.Path, slug_data: pathlib.Path | None = None
    ) -> Engine:
        """The engine `starcensus` or `slug`."""
        if self.bands is not None and len(set(self.bands)) != len(self.bands):
            raise ConfigError(f"bands repeat: {', '.join(self.bands)}; expected each once")
        if kind == "slug":
            from starcensus.simulate.library.slug3_engine import (
                SlugEngine,
                SlugSettings,
                find_slug_data,
            )

            if not self.bands:
                raise ConfigError("bands is missing; --engine slug needs their names")
            draw = self.draw.model_dump(exclude={"nebular_max_log_age"})
            settings = SlugSettings(imf=self.imf.imf(), **draw, **self.slug.model_dump())
            return SlugEngine(self.bands, find_slug_data(slug_data), settings)
        if kind != "starcensus":
            raise ConfigError(f"--engine is {kind!r}; expected starcensus or slug")
        from starcensus.simulate.clusters.cluster import DrawSettings
        from starcensus.simulate.library.engine import StarcensusEngine, load_grid

        path = None if self.grid == "default" else str(folder / self.grid)
        grid = load_grid(path)
        bands = grid.bands if self.bands is None else self.bands
        grid.select(bands)
        return StarcensusEngine(bands, path, self.imf.imf(), DrawSettings(**self.draw.model_dump()))


def load_design(path: pathlib.Path) -> tuple[LibraryConfig, str]:
    """The checked design file and its text.

    Raises `ConfigError` for a missing file, bad TOML, or a key or value that does not fit.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: there is no such design file")
    try:
        text = path.read_text()
        return LibraryConfig.model_validate(tomllib.loads(text)), text
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    except pydantic.ValidationError as error:
        raise ConfigError(f"{path}: {explain(error)}") from error


def run_library_file(
    path: pathlib.Path,
    out: pathlib.Path,
    work: Work = Work(),
    engine: str = "starcensus",
    slug_data: pathlib.Path | None = None,
    progress: Progress = lambda done, n: None,
) -> dict[str, object]:
    """Draw the library of a design file into `out`; summary and provenance go beside it.

    For `a.h5` they are `a.summary.json` and `a.provenance.json`.

    Raises `ConfigError` and `RunError`, naming the file and the key.
    """
    config, text = load_design(path)
    folder = path.resolve().parent
    try:
        design = config.design(folder)
        built = config.engine(engine, folder, slug_data)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    prepare_folder(out.parent)
    inputs = [path]
    if isinstance(config.theta, TableConfig):
        inputs.append(folder / config.theta.path)
    if engine == "starcensus" and config.grid != "default":
        inputs.append(folder / config.grid)
    start = time.perf_counter()
    run = run_library(design, built, out, work, progress)
    wall = time.perf_counter() - start
    drawn = run.n - run.n_resumed
    summary: dict[str, object] = {
        "n_clusters": run.n,
        "n_drawn_before": run.n_resumed,
        "wall_s": wall,
        "clusters_per_s": drawn / wall,
        **_numbers(out),
    }
    facts = provenance(text, config.seed, inputs, command_line())
    write_json(out.with_suffix(".provenance.json"), {**facts, "engine": built.describe()})
    write_json(out.with_suffix(".summary.json"), summary)
    return summary


def _numbers(path: pathlib.Path) -> dict[str, object]:
    """What a library spans, and how many of its clusters give no light."""
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    dark = 0
    for part in ClusterLibrary.chunks(path):
        dark += int((~np.isfinite(part.abs_mags)).any(axis=1).sum())
        for name in ("log_mass", "log_age", "a_v", "r_eff_pc"):
            values: Any = getattr(part, name)
            if values is not None:
                low[name] = min(low.get(name, np.inf), float(values.min()))
                high[name] = max(high.get(name, -np.inf), float(values.max()))
    spans = {f"{name}.{end}": v[name] for name in low for end, v in (("min", low), ("max", high))}
    return {"n_without_light": dark, **spans}
