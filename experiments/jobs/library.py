"""Libraries of stochastic clusters."""

import dataclasses
import pathlib
import time
from typing import Any, ClassVar

import numpy as np

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._stars import engine_of, grid_input
from starcensus.experiments.schema.library import LibraryFile, ThetaOfTable
from starcensus.runs import Input
from starcensus.simulate import ClusterLibrary, Design, TableTheta, run_library
from starcensus.simulate.library.run import Engine
from starcensus.theta import AXES


@JOBS.register("library")
@dataclasses.dataclass(frozen=True, eq=False)
class LibraryJob(Job[LibraryFile]):
    """A library (.h5), drawn in shards: an interrupted run continues where it stopped.

    **Arguments:**

    - `slug_data`: folder that holds SLUG v3's data/.
    """

    slug_data: pathlib.Path | None = None

    makes_file: ClassVar[bool] = True
    locks: ClassVar[bool] = False
    resumes: ClassVar[bool] = False

    def inputs(self) -> dict[str, Input]:
        found = grid_input(self.file.grid, self.sources, self.file.metallicity)
        if isinstance(self.file.theta, ThetaOfTable):
            found["theta"] = Input.of(self.sources.file(self.file.theta.path, "table of θ"))
        return found

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def run(self, show: Show) -> Outcome:
        start = time.perf_counter()
        engine = self.engine()
        done = run_library(
            self.design(), engine, self.out, self.work, show.count, self.own_inputs()
        )
        wall = time.perf_counter() - start
        summary = {
            "n_clusters": done.n,
            "n_drawn_before": done.n_resumed,
            "wall_s": wall,
            "clusters_per_s": (done.n - done.n_resumed) / wall,
            **_numbers(self.out),
        }
        if done.n_resumed == done.n:
            show.say(f"{self.name}: finished before")
        return Outcome(summary, {"engine": engine.describe()})

    def design(self) -> Design:
        """Which clusters are drawn."""
        file, theta = self.file, self.file.theta
        if isinstance(theta, ThetaOfTable):
            theta = TableTheta.read(self.sources.file(theta.path, "table of θ"))
            return Design(file.n or len(theta), file.seed, theta, file.radius)
        return Design(file.n or 0, file.seed, theta, file.radius)

    def engine(self) -> Engine:
        """What draws them."""
        if self.file.engine == "slug":
            return self._slug()
        file = self.file
        return engine_of(file.grid, file.metallicity, file.bands, file.imf, file.draw, self.sources)

    def _slug(self) -> Engine:
        from starcensus.simulate.library.slug3_engine import SlugEngine, find_slug_data

        draw = self.file.draw
        settings = dataclasses.replace(
            self.file.slug,
            imf=self.file.imf,
            rule=draw.rule,
            nebular=draw.nebular,
            covering=draw.covering,
            nebular_extinction=draw.nebular_extinction,
        )
        return SlugEngine(self.file.bands or (), find_slug_data(self.slug_data), settings)


def _numbers(path: pathlib.Path) -> dict[str, Any]:
    """What a library spans, and how many of its clusters give no light."""
    low: dict[str, float] = {}
    high: dict[str, float] = {}
    dark = 0
    for part in ClusterLibrary.chunks(path):
        dark += int((~np.isfinite(part.abs_mags)).any(axis=1).sum())
        for name in (*AXES, "r_eff_pc"):
            values = getattr(part, name)
            if values is not None:
                low[name] = min(low.get(name, np.inf), float(values.min()))
                high[name] = max(high.get(name, -np.inf), float(values.max()))
    spans = {f"{name}.{end}": v[name] for name in low for end, v in (("min", low), ("max", high))}
    return {"n_without_light": dark, **spans}
