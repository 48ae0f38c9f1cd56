"""Operators that networks learn from injection tables."""

import time
from typing import Any, ClassVar

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._operators import facts_words
from starcensus.experiments.schema.learning import LearningFile
from starcensus.experiments.schema.paths import Sources
from starcensus.runs import Input
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import Learned, LearnSettings, facts_of_table, learn


@JOBS.register("learning")
class LearningJob(Job[LearningFile]):
    """An operator file (.h5)."""

    makes_file: ClassVar[bool] = True

    def inputs(self) -> dict[str, Input]:
        return table_inputs(self.file.tables, self.sources)

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def run(self, show: Show) -> Outcome:
        show.stage("reading tables")
        tables = load_tables(self.file.tables, self.sources)
        began = time.perf_counter()
        learned = self._learn(tables, show)
        facts = {
            "inputs": {item.name: f"sha256:{item.sha256}" for item in self.inputs().values()},
            "version": self.identity.provenance()["version"],
            "title": self.file.title,
        }
        learned.save(self.out, facts)
        for words in learned.remarks():
            show.say(f"warning: {words}")
        # After the operator is written, for a check may find too few rows in every bin.
        summary = {**learned.summary(), "wall_s": time.perf_counter() - began}
        return Outcome(summary, {"learned": learned.provenance()})

    def _learn(self, tables: dict[str, InjectionTable], show: Show) -> Learned:
        file, train = self.file, self.file.train_settings()

        def progress(member: int, epoch: int, loss: float, held_out: float) -> None:
            show.stage(
                f"network {member + 1} of {train.n_members}, epoch {epoch + 1}: loss "
                f"{loss:.4f}, held out {held_out:.4f}"
            )

        return learn(
            tables,
            LearnSettings(file.inputs, train, file.search, file.weighted),
            radius=file.radius,
            distance_modulus=file.distance_modulus,
            progress=progress,
        )


def load_tables(paths: tuple[str, ...], sources: Sources) -> dict[str, InjectionTable]:
    """Injection tables by path."""
    return {path: InjectionTable.load(sources.file(path, "injection table")) for path in paths}


def table_inputs(paths: tuple[str, ...], sources: Sources) -> dict[str, Input]:
    """The files of injection tables, with what each was made of."""
    return {f"tables.{i}": table_input(path, sources) for i, path in enumerate(paths)}


def table_input(path: str, sources: Sources) -> Input:
    """One injection table: bands, distance, pipeline."""
    file = sources.file(path, "injection table")
    table = InjectionTable.load(file)
    origin: dict[str, Any] = {"path": path, "bands": list(table.bands)}
    return Input.of(file, origin | facts_words(facts_of_table(table)))
