"""A survey of one band that catalogues what is brighter than a limit, and its test."""

import dataclasses
import os
import pathlib
import signal
import time

import numpy as np

from starcensus.selection.injection import Clock, InjectionPlan, InjectionTable, Injector
from starcensus.selection.pipeline import Detections
from starcensus.simulate import ClusterLibrary, Frame, Templates
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.psf import PSF

BAND = "ACS_F555W"
LIMIT = -9.0


@dataclasses.dataclass(frozen=True)
class ToySurvey:
    """Local maxima above a limit in a 5 x 5 sum."""

    threshold: float

    def describe(self):
        return {"pipeline": "toy", "threshold": self.threshold}

    def __call__(self, frame: Frame) -> Detections:
        from scipy import ndimage

        total = ndimage.uniform_filter(frame.images[0].data.astype(float), 5) * 25
        peak = (total == ndimage.maximum_filter(total, 9)) & (total > self.threshold)
        y, x = (values.astype(float) for values in np.nonzero(peak))
        mags = frame.images[0].mag(total[peak])[:, None]
        cuts = {"bright": np.ones(len(x), bool)}
        return Detections((BAND,), x, y, mags, np.zeros_like(mags), np.zeros(len(x)), cuts)


def point_psf() -> PSF:
    step = np.arange(-120, 121) / 4
    image = np.exp(-(step[:, None] ** 2 + step**2) / 2)
    return PSF(BAND, image / image.sum(), 4, 0.0396)


@dataclasses.dataclass(frozen=True)
class Toy:
    """Builds the injector; with `old` there is a bright source in the untouched frame."""

    n_sets: int = 6
    seed: int = 0
    old: bool = False

    def __call__(self) -> Injector:
        n = self.n_sets * 12
        rng = np.random.default_rng(5)
        mags = np.where(rng.random(n) < 0.5, LIMIT - 1.0, LIMIT + 1.0)
        theta = rng.uniform(2, 6, n), rng.uniform(6, 9, n), rng.uniform(0, 3, n)
        library = ClusterLibrary(*theta, (BAND,), mags[:, None], np.zeros(n))
        # Brighter to the right, for clusters go where there is light above the median.
        data = np.tile(np.linspace(0, 2e-3, 260, dtype=np.float32), (150, 1))
        if self.old:
            data[40, 200] = 1e4
        frame = Frame((BandImage(BAND, data, 1000.0, 25.7),), 29.98)
        rate = 10 ** (-0.4 * (LIMIT + 29.98 - 25.7))
        plan = InjectionPlan(
            n_clusters=n,
            per_frame=12,
            group="rows",
            seed=self.seed,
            radii_pc=(1.0,),
            sigma_pc=60.0,
            margin_pix=12,
            min_separation=30.0,
        )
        templates = Templates({BAND: point_psf()}, frame.pc_per_pixel)
        return Injector(frame, library, templates, ToySurvey(0.75 * rate), plan)


@dataclasses.dataclass(frozen=True, eq=False)
class WatchedInjector(Injector):
    """An injector that leaves its process's number, and kills the process once, at one frame."""

    watch: "Watched" = dataclasses.field(kw_only=True)

    def run(self, number: int, clock: Clock = lambda stage, seconds: None) -> InjectionTable:
        (self.watch.pids / str(os.getpid())).touch()
        # However fast the first process is, no frame is done before the others have begun.
        deadline = time.monotonic() + 60
        while len(list(self.watch.pids.iterdir())) < self.watch.together:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        killed = self.watch.pids.parent / "killed"
        if number == self.watch.deadly_frame and not killed.exists():
            killed.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().run(number, clock)


@dataclasses.dataclass(frozen=True)
class Watched:
    """Builds the injector of `Toy()` in another class, whose table is the same.

    **Arguments:**

    - `pids`: folder for the numbers of the processes. `together`: processes to wait for.
    - `deadly_frame`: whose process is killed, once.
    """

    pids: pathlib.Path
    together: int = 1
    deadly_frame: int = -1

    def __call__(self) -> Injector:
        toy = Toy()()
        fields = {field.name: getattr(toy, field.name) for field in dataclasses.fields(toy)}
        return WatchedInjector(**fields, watch=self)
