"""Which clusters of a library are worth injecting."""

import time
from typing import ClassVar

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._operators import operator_input
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.choice import ChoiceFile
from starcensus.runs import Input
from starcensus.selection.learning import choose_clusters, learned_networks
from starcensus.simulate import ClusterLibrary


@JOBS.register("choice")
class ChoiceJob(Job[ChoiceFile]):
    """A library (.h5) of the chosen clusters."""

    makes_file: ClassVar[bool] = True

    def inputs(self) -> dict[str, Input]:
        found = {"pilot": operator_input(self.file.pilot, self.sources)}
        names = {"library": self.file.library}
        names |= {f"exclude.{i}": path for i, path in enumerate(self.file.exclude)}
        files = {role: self.sources.file(path, role) for role, path in names.items()}
        pilot = self.sources.file(self.file.pilot, "pilot")
        if self.out.resolve() in {path.resolve() for path in (pilot, *files.values())}:
            raise ConfigError(f"--out {self.out} is one of the files to read; give another name")
        return found | {role: Input.of(path) for role, path in files.items()}

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def run(self, show: Show) -> Outcome:
        began = time.perf_counter()
        file = self.file
        operator = learned_networks(self.sources.file(file.pilot, "pilot"))
        show.stage("reading the library")
        pool = ClusterLibrary.load(self.sources.file(file.library, "library"))
        used = {
            path: ClusterLibrary.load(self.sources.file(path, "exclude")) for path in file.exclude
        }

        def progress(done: int, n: int) -> None:
            show.stage(f"asking the pilot: {done:,} of {n:,} clusters")

        try:
            made = choose_clusters(operator, pool, file.choice_settings(), used, progress)
        except ValueError as error:
            raise ConfigError(f"{file.pilot}, {file.library}: {error}") from error
        show.stage("writing the library")
        made.library.save(self.out)
        summary = {**made.summary(), "wall_s": time.perf_counter() - began}
        return Outcome(summary, {"choice": made.library.meta["choice"]})
