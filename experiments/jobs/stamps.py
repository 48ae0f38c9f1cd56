"""Banks of mock clusters in noiseless stamps."""

import time
from typing import ClassVar

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._psfs import psf_inputs, read_table
from starcensus.experiments.jobs._stars import grid_input, grid_path
from starcensus.experiments.schema.stamps import StampsFile
from starcensus.extras import need
from starcensus.runs import Input
from starcensus.simulate import PSF, optical_psf
from starcensus.simulate.stamps import StampSettings, run_stamps


@JOBS.register("stamps")
class StampsJob(Job[StampsFile]):
    """A bank (.h5), drawn in shards: an interrupted run continues where it stopped."""

    makes_file: ClassVar[bool] = True
    locks: ClassVar[bool] = False
    resumes: ClassVar[bool] = False

    def inputs(self) -> dict[str, Input]:
        return grid_input(self.file.grid, self.sources) | psf_inputs(self.file.psf, self.sources)

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def check(self) -> None:
        if set(self.file.stamp_settings().bands) - set(self.file.psf):
            need("galsim", purpose="the embedded PSFs")

    def run(self, show: Show) -> Outcome:
        start = time.perf_counter()
        settings = self.file.stamp_settings(grid_path(self.file.grid, self.sources))
        settings.check_grid()
        show.stage("PSFs")
        psfs = self._psfs(settings)
        done = run_stamps(
            settings,
            self.file.n,
            self.file.seed,
            self.out,
            self.work,
            show.count,
            psfs,
            inputs=self.own_inputs(),
        )
        wall = time.perf_counter() - start
        rate = (done.n - done.n_resumed) / wall
        if done.n_resumed == done.n:
            show.say(f"{self.name}: finished before")
        summary = {
            "n_mocks": done.n,
            "n_drawn_before": done.n_resumed,
            "size_pix": settings.size_pix,
            "pc_per_pixel": settings.pc_per_pixel,
            "wall_s": wall,
            "mocks_per_s": rate,
        }
        return Outcome(summary, {"mocks": settings.describe()})

    def _psfs(self, settings: StampSettings) -> dict[str, PSF]:
        """PSF of each band, the embedded model where none is given."""
        scale, given = settings.pixel_scale_arcsec, self.file.psf
        return {
            band: read_table(given[band], band, scale, self.sources)
            if band in given
            else optical_psf(band, scale, radius_pix=settings.psf_radius_pix)
            for band in settings.bands
        }
