"""Galaxy files: a synthetic galaxy with clusters of a known population in it (TOML)."""

import dataclasses
import functools
import pathlib
import time
from typing import Annotated, Any

import numpy as np
import pydantic

from starcensus.experiments.jobs.fit import Progress, prepare_folder, write_json
from starcensus.experiments.jobs.library import DrawConfig, FlatConfig, ImfConfig, MassRadiusConfig
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import ConfigError, PopulationConfig, Strict, _only_fields
from starcensus.experiments.schema.psfs import PsfConfig, make_psfs
from starcensus.experiments.schema.survey import parse, read_text, require_images
from starcensus.files import replacing
from starcensus.forward import Population, draw_population
from starcensus.forward.population import flat_values
from starcensus.simulate import ClusterLibrary, Templates, write_frame
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.cluster import DrawSettings
from starcensus.simulate.clusters.imf import AbstractImf
from starcensus.simulate.images.galaxy import NGC628C, Exposure, Galaxy, GalaxySettings, make_galaxy
from starcensus.simulate.images.templates import ProfileSettings
from starcensus.simulate.library.engine import load_grid


class OwnClusters(PopulationConfig):
    """The population of the galaxy's own clusters, and its parameters where they are not those
    that its parts begin with; `log_n` is log10 of the expected number.
    """

    truth: dict[str, float | tuple[float, ...]] = pydantic.Field({})

    @pydantic.model_validator(mode="after")
    def _known(self) -> "OwnClusters":
        self.true_population()
        return self

    def true_population(self) -> Population:
        try:
            return self.population().with_values(
                {name: np.asarray(value, float) for name, value in self.truth.items()}
            )
        except KeyError as error:
            raise ValueError(f"truth: {error.args[0]}") from error


class GalaxyConfig(Strict):
    """A whole galaxy file.

    - `galaxy`: fields of `GalaxySettings`. `exposures`: fields of `Exposure`, one for each band.
    - `population`: of the galaxy's own clusters; without it there are none. `radius` as in design
        files of libraries. `eta`: of their profiles. `imf`, `draw`, `grid`: as there.
    - `resolved`: clusters star by star instead of as smooth profiles.
    - `field`: write the same galaxy without its clusters into the folder `field`.
    - `psf`: BAND = "path", see `PsfConfig`; by default the embedded models.
    """

    title: str = ""
    seed: Annotated[int, pydantic.Field(ge=0)] = 0
    grid: str = "default"
    galaxy: Annotated[GalaxySettings, _only_fields(GalaxySettings, ("exposures",))] = (
        GalaxySettings()
    )
    exposures: Annotated[
        tuple[Annotated[Exposure, _only_fields(Exposure)], ...], pydantic.Field(min_length=1)
    ] = NGC628C
    population: OwnClusters | None = None
    radius: Annotated[FlatConfig | MassRadiusConfig, pydantic.Field(discriminator="kind")] = (
        MassRadiusConfig(kind="mass_radius")
    )
    profile: Annotated[ProfileSettings, _only_fields(ProfileSettings)] = ProfileSettings()
    imf: ImfConfig = ImfConfig()
    draw: DrawConfig = DrawConfig()
    psf: dict[str, PsfConfig] = pydantic.Field({})
    resolved: bool = False
    field: bool = False

    @pydantic.model_validator(mode="after")
    def _fits_together(self) -> "GalaxyConfig":
        names = [exposure.band for exposure in self.exposures]
        if len(set(names)) < len(names):
            raise ValueError(f"exposures have {', '.join(names)}; expected each band once")
        if self.resolved and self.draw != DrawConfig():
            raise ValueError("resolved clusters are drawn by the default rules; leave out [draw]")
        return self

    @property
    def settings(self) -> GalaxySettings:
        return dataclasses.replace(self.galaxy, exposures=self.exposures)

    def clusters(self, stars: StellarPopulation) -> ClusterLibrary | None:
        """The galaxy's own, in all bands of the grid; None where there are none."""
        if self.population is None:
            return None
        return draw_population(
            self.population.true_population(),
            stars,
            self.radius.radius(),
            DrawSettings(**self.draw.model_dump()),
            seed=self.seed,
        )


def run_galaxy(
    path: pathlib.Path, out: pathlib.Path, progress: Progress = lambda _: None
) -> dict[str, object]:
    """Draw the galaxy of a file into the folder `out`; returns its summary.

    `BAND.fits` are its images, `clusters.ecsv` and `clusters.h5` its clusters with their truth,
    `preview.png` a picture. Raises `ConfigError` naming the file and the key.
    """
    require_images()
    text = read_text(path, "galaxy")
    config = parse(GalaxyConfig, text, str(path))
    settings, folder = config.settings, path.resolve().parent
    prepare_folder(out)
    _refuse_others(out, settings.bands)
    if not config.field and (out / "field").exists():
        raise ConfigError(f"{out / 'field'} is of another galaxy; name another --out")
    start = time.perf_counter()
    try:
        progress("stars and PSFs")
        stars = _stars(
            None if config.grid == "default" else str(folder / config.grid), config.imf.imf()
        )
        if unknown := [band for band in settings.bands if band not in stars.bands]:
            raise ConfigError(
                f"exposures: the stellar grid has no {', '.join(unknown)}; it has "
                f"{', '.join(stars.bands)}"
            )
        psfs = make_psfs(config.psf, settings.bands, settings.pixel_scale_arcsec, folder)
        progress("clusters")
        clusters = config.clusters(stars)
        templates = Templates(psfs, settings.pc_per_pixel, config.profile)
        progress("the galaxy")
        galaxy = make_galaxy(
            settings, stars, psfs, config.seed, clusters, templates, config.resolved
        )
        if config.field:
            progress("the galaxy without its clusters")
            field = make_galaxy(settings, stars, psfs, config.seed)
            prepare_folder(out / "field")
            _refuse_others(out / "field", settings.bands)
            write_frame(field.frame, out / "field")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    progress("writing")
    write_frame(galaxy.frame, out)
    truth = {} if config.population is None else flat_values(config.population.true_population())
    write_clusters(galaxy, truth, out)
    from starcensus.experiments.report.galaxy import write_picture  # loads Matplotlib

    write_picture(galaxy.frame, out / "preview.png")
    inputs = [path, *(folder / psf.path for psf in config.psf.values())]
    if config.grid != "default":
        inputs.append(folder / config.grid)
    write_json(out / "provenance.json", provenance(text, config.seed, inputs, command_line()))
    summary: dict[str, object] = {
        "n_clusters": len(galaxy.x),
        "n_field_stars": galaxy.n_stars,
        "n_rows": settings.shape[0],
        "n_columns": settings.shape[1],
        "distance_modulus": settings.distance_modulus,
        "pc_per_pixel": settings.pc_per_pixel,
        **{f"truth.{name}": value for name, value in truth.items()},
        **{
            f"median_electrons_per_s.{image.band}": float(np.median(image.data))
            for image in galaxy.frame
        },
        "wall_s": time.perf_counter() - start,
    }
    write_json(out / "summary.json", summary)
    return summary


@functools.lru_cache(maxsize=2)
def _stars(grid: str | None, imf: AbstractImf) -> StellarPopulation:
    return StellarPopulation(load_grid(grid), imf)


def _refuse_others(folder: pathlib.Path, bands: tuple[str, ...]) -> None:
    """Images of other bands would be taken for this galaxy's."""
    ours = {f"{band}.fits" for band in bands}
    others = [p.name for p in sorted(folder.glob("*.fits")) if p.name not in ours]
    if others:
        raise ConfigError(f"{folder} holds other images ({', '.join(others)}); name another --out")


def write_clusters(galaxy: Galaxy, truth: dict[str, float], out: pathlib.Path) -> None:
    """`clusters.ecsv` with positions and apparent magnitudes, `clusters.h5` as a library."""
    from astropy.table import Table

    clusters, frame = galaxy.clusters, galaxy.frame
    columns: dict[str, Any] = {"x": galaxy.x, "y": galaxy.y}
    names = ("log_mass", "log_age", "a_v", "r_eff_pc")
    if clusters is None:
        (out / "clusters.h5").unlink(missing_ok=True)
        columns |= {name: np.empty(0) for name in names}
        columns |= {f"mag_{band}": np.empty(0) for band in frame.bands}
    else:
        columns |= {name: clusters.column(name) for name in names}
        mags = clusters.apparent(frame.distance_modulus)
        columns |= {f"mag_{band}": mags[:, i] for i, band in enumerate(frame.bands)}
        clusters.save(out / "clusters.h5")
    units = {"x": "pix", "y": "pix", "a_v": "mag", "r_eff_pc": "pc"}
    units |= {name: "mag" for name in columns if name.startswith("mag_")}
    meta = {"truth": truth, "distance_modulus": frame.distance_modulus}
    table = Table(columns, units=units, meta=meta)
    with replacing(out / "clusters.ecsv") as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
