"""Several fits of one file: the main one in the output folder, the others in folders of their
names, all known again by themselves, and compared in the main one's report."""

import abc
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from starcensus.experiments.jobs._job import SILENT, Job, Outcome, Show, Summary
from starcensus.experiments.schema.fit import FitFile
from starcensus.experiments.schema.light import LightFile
from starcensus.files import prepare_folder, write_json

# Sentences of a summary, which a line of numbers has no room for.
WORDS = ("verdict", "remarks")


@dataclasses.dataclass(frozen=True, eq=False)
class AllFits[F: FitFile | LightFile](Job[F]):
    """All fits of a file, compared with one another."""

    @abc.abstractmethod
    def fit_of(self, table: Any, common: tuple[Any, ...]) -> Job[F]:
        """The job of one table of `fits`, with its first arguments."""

    @functools.cached_property
    def fits(self) -> tuple[Job[F], ...]:
        """The fits, the main one first."""
        made = []
        for table in self.file.fits:
            out = self.out if table is self.file.fits[0] else self.out / table.name
            common = (self.file, self.text, self.sources, out, self.work, self.own, self.source)
            made.append(self.fit_of(table, common))
        return tuple(made)

    def known(self) -> Mapping[str, Any]:
        """What is known of the truth, for every fit's summary."""
        return {}

    def results(self) -> tuple[str, ...]:
        return ("summary.json",)

    def perform(self, show: Show = SILENT) -> Summary:
        """Each fit is known again by itself, and has a record of its own."""
        with self._named():
            self.inputs()
            prepare_folder(self.out)
            with self._lock():
                return self.run(show).summary

    def run(self, show: Show) -> Outcome:
        show.stage("reading the catalogue")
        summaries = [one.perform(show) for one in self.fits]
        show.stage("writing the report")
        main, *others = self.fits
        known = dict(self.known())
        summary = {**summaries[0], **known}
        for one, other in zip(others, summaries[1:], strict=True):
            summary |= {f"{one.name}.{k}": v for k, v in other.items() if k not in WORDS}
            prepare_folder(one.out)
            write_json(one.out / "summary.json", {**other, **known})
        # The report of the main fit needs its summary, and those of the others.
        write_json(self.out / "summary.json", summary)
        from starcensus.experiments.report import write_report  # loads Matplotlib

        for one in (*others, main):
            write_report(one.out)
        return Outcome(summary)
