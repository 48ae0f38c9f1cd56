"""Synthetic galaxies with clusters of a known population in them."""

import functools
import pathlib
import time
from typing import Any

import numpy as np

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._psfs import make_psfs, psf_inputs
from starcensus.experiments.jobs._stars import grid_input, grid_path
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.galaxy import GalaxyFile
from starcensus.extras import need
from starcensus.files import prepare_folder, replacing
from starcensus.forward import draw_population, flat_values
from starcensus.runs import Input
from starcensus.simulate import (
    ClusterLibrary,
    StellarGrid,
    StellarPopulation,
    Templates,
    load_grid,
    write_frame,
)
from starcensus.simulate.clusters.imf import AbstractImf
from starcensus.simulate.images.galaxy import Galaxy, make_galaxy
from starcensus.theta import AXES


@JOBS.register("galaxy")
class GalaxyJob(Job[GalaxyFile]):
    """`BAND.fits`, `clusters.ecsv` and `clusters.h5` with the clusters' truth, `preview.png`."""

    def inputs(self) -> dict[str, Input]:
        return grid_input(self.file.grid, self.sources) | psf_inputs(self.file.psf, self.sources)

    def results(self) -> tuple[str, ...]:
        images = [f"{band}.fits" for band in self.file.galaxy_settings().bands]
        field = [f"field/{name}" for name in images] if self.file.field else []
        return (*images, *field, "clusters.ecsv", "preview.png")

    def check(self) -> None:
        need("galsim", "sep", purpose="images")
        self._refuse_other_images()

    def run(self, show: Show) -> Outcome:
        start = time.perf_counter()
        galaxy = self._make(show)
        show.stage("writing")
        write_frame(galaxy.frame, self.out)
        population = self.file.population
        truth = {} if population is None else flat_values(population.true_population())
        write_clusters(galaxy, truth, self.out)
        from starcensus.experiments.report.galaxy import write_picture  # loads Matplotlib

        write_picture(galaxy.frame, self.out / "preview.png")
        return Outcome(self._summary(galaxy, truth) | {"wall_s": time.perf_counter() - start})

    def _make(self, show: Show) -> Galaxy:
        file, settings = self.file, self.file.galaxy_settings()
        show.stage("stars and PSFs")
        stars = _stars(load_grid(grid_path(file.grid, self.sources)), file.imf)
        if unknown := [band for band in settings.bands if band not in stars.bands]:
            raise ConfigError(
                f"exposures: the stellar grid has no {', '.join(unknown)}; it has "
                f"{', '.join(stars.bands)}"
            )
        psfs = make_psfs(file.psf, settings.bands, settings.pixel_scale_arcsec, self.sources)
        show.stage("clusters")
        clusters = self._clusters(stars)
        templates = Templates(psfs, settings.pc_per_pixel, file.profile)
        show.stage("the galaxy")
        galaxy = make_galaxy(
            settings, stars, psfs, file.seed, clusters, templates, file.resolved, file.draw
        )
        if file.field:
            show.stage("the galaxy without its clusters")
            field = make_galaxy(settings, stars, psfs, file.seed)
            write_frame(field.frame, prepare_folder(self.out / "field"))
        return galaxy

    def _clusters(self, stars: StellarPopulation) -> ClusterLibrary | None:
        """The galaxy's own, in all bands of the grid; None where there are none."""
        if self.file.population is None:
            return None
        population = self.file.population.true_population()
        return draw_population(
            population, stars, self.file.radius, self.file.draw, seed=self.file.seed
        )

    def _refuse_other_images(self) -> None:
        """Images of other bands, or a field, would be taken for this galaxy's."""
        ours = {f"{band}.fits" for band in self.file.galaxy_settings().bands}
        for folder in (self.out, self.out / "field"):
            others = [p.name for p in sorted(folder.glob("*.fits")) if p.name not in ours]
            if others:
                raise ConfigError(
                    f"{folder} holds other images ({', '.join(others)}); name another --out"
                )
        if not self.file.field and (self.out / "field").exists():
            raise ConfigError(f"{self.out / 'field'} is of another galaxy; name another --out")

    def _summary(self, galaxy: Galaxy, truth: dict[str, float]) -> dict[str, Any]:
        settings = self.file.galaxy_settings()
        return {
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
        }


@functools.lru_cache(maxsize=2)
def _stars(grid: StellarGrid, imf: AbstractImf) -> StellarPopulation:
    return StellarPopulation(grid, imf)


def write_clusters(galaxy: Galaxy, truth: dict[str, float], out: pathlib.Path) -> None:
    """`clusters.ecsv` with positions and apparent magnitudes, `clusters.h5` as a library."""
    from astropy.table import Table

    clusters, frame = galaxy.clusters, galaxy.frame
    columns: dict[str, Any] = {"x": galaxy.x, "y": galaxy.y}
    names = (*AXES, "r_eff_pc")
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
    with replacing(out / "clusters.ecsv") as temporary:
        Table(columns, units=units, meta=meta).write(temporary, format="ascii.ecsv", overwrite=True)
