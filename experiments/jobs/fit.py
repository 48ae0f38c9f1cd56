"""Fits of a catalogue: each with its files and its report.

The main fit writes into the output folder itself, the others into sub-folders of their names. A fit
whose catalogue, operator and settings are those of a finished one is not run again, so that an
interrupted run continues where it stopped.
"""

import dataclasses
import functools
import pathlib
from typing import Any, ClassVar

from starcensus.experiments.jobs._job import JOBS, SILENT, Job, Outcome, Show, Summary
from starcensus.experiments.jobs._operators import build_selection, operator_inputs
from starcensus.experiments.schema.fit import CatalogueTable, FitFile, FitTable
from starcensus.experiments.schema.paths import Sources
from starcensus.files import prepare_folder, write_json
from starcensus.inference import ErrorSettings, FitResult, FitSettings, Sampler, fit
from starcensus.runs import Input
from starcensus.selection import AbstractSelection, save_selection
from starcensus.selection.catalogue import Catalogue, apply_cuts, cuts_of, read_catalogue


@dataclasses.dataclass(frozen=True, eq=False)
class OneFit(Job[FitFile]):
    """One fit of a file, into a folder of its own.

    **Arguments:**

    - `table`: of the fit. `catalogue`: that the file names.
    - `samplers`: compiled programs by population, shared among the fits.
    """

    table: FitTable = dataclasses.field(kw_only=True)
    catalogue: Catalogue = dataclasses.field(kw_only=True)
    samplers: dict[str, Sampler] = dataclasses.field(kw_only=True)

    locks: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def is_main(self) -> bool:
        return self.table is self.file.fits[0]

    def inputs(self) -> dict[str, Input]:
        used = {self.table.selection: self.file.selections[self.table.selection]}
        return catalogue_inputs(self.file.catalogue, self.sources) | operator_inputs(
            used, self.sources
        )

    def settings(self) -> dict[str, Any]:
        whole, table = super().settings(), self.table
        shared = "seed", "catalogue", "errors", "sampler", "quadrature", "bins", "thresholds"
        own = {
            "fit": {"selection": table.selection, "population": table.population},
            "selection": whole["selections"][table.selection],
            "population": whole["populations"][table.population],
        }
        errors = {"errors": dataclasses.asdict(self._errors())}
        return {name: whole[name] for name in shared} | own | errors

    def results(self) -> tuple[str, ...]:
        return "posterior.nc", "selection.h5"

    def words(self) -> dict[str, Any]:
        file, table, main = self.file, self.table, self.is_main
        others = [{"name": t.name, "path": t.name, "text": t.text} for t in file.fits[1:]]
        title = file.title or f"Fit of {pathlib.Path(file.catalogue.path).name}"
        return {
            "title": title if main else f"{title}: {table.name}",
            "description": file.description if main else table.text,
            "fit": table.name,
            "notes": list(file.notes),
            "references": list(file.references),
            "comparisons": others if main else [],
        }

    def run(self, show: Show) -> Outcome:
        model = self.file.populations[self.table.population].model()
        operator = self.file.selections[self.table.selection]
        selection = build_selection(operator, model.population.box, self.sources, self.catalogue)
        result = fit(
            self.catalogue,
            selection,
            model,
            self._fit_settings(),
            progress=lambda stage: show.stage(f"{self.name}: {stage}"),
            sampler=self.samplers.get(self.table.population),
        )
        self.samplers[self.table.population] = result.sampler
        result.save(self.out)
        save_selection(selection, self.out / "selection.h5")
        return Outcome(dict(result.summary), {"fit": self.name}, self._record(result, selection))

    def _errors(self) -> ErrorSettings:
        return self.table.errors or self.file.errors

    def _fit_settings(self) -> FitSettings:
        return FitSettings(
            errors=dataclasses.replace(self._errors(), seed=self.file.seed),
            sampler=dataclasses.replace(self.file.sampler, seed=self.file.seed),
            quadrature=self.file.quadrature,
            bins=self.file.bins,
            thresholds=self.file.thresholds,
        )

    def _record(self, result: FitResult, selection: AbstractSelection) -> dict[str, Any]:
        return {
            "catalogue": {
                "source": pathlib.Path(self.catalogue.source).name,
                "n": len(result.objects),
                "steps": [dataclasses.asdict(step) for step in result.objects.steps],
            },
            "selection": {
                "kind": type(selection).__name__,
                "acts_on": selection.acts_on,
                "description": self.file.selections[self.table.selection].description,
            },
            "population": self._population_words(),
            "errors": dataclasses.asdict(self._errors()),
        }

    def _population_words(self) -> dict[str, Any]:
        table = self.file.populations[self.table.population]
        joint = table.mass_age or {}
        nodes = (("p_av", table.extinction), ("p_age", table.age or {}))
        return {
            "mass": (table.mass or joint).get("kind"),
            "age": (table.age or joint).get("kind"),
            "extinction": table.extinction.get("kind"),
            "bounds": table.bounds.as_dict(),
            "form": table.form,
            "nodes": {name: list(part["nodes"]) for name, part in nodes if "nodes" in part},
        }


@JOBS.register("fit")
class FitJob(Job[FitFile]):
    """All fits of a file, compared with one another."""

    def perform(self, show: Show = SILENT) -> Summary:
        """Each fit is known again by itself, and has a record of its own."""
        with self._named():
            self.inputs()
            prepare_folder(self.out)
            with self._lock():
                return self.run(show).summary

    def inputs(self) -> dict[str, Input]:
        return catalogue_inputs(self.file.catalogue, self.sources) | operator_inputs(
            self.file.selections, self.sources
        )

    def results(self) -> tuple[str, ...]:
        return ("summary.json",)

    @functools.cached_property
    def fits(self) -> tuple[OneFit, ...]:
        """The fits, the main one first."""
        catalogue = read(self.file.catalogue, self.sources)
        samplers: dict[str, Sampler] = {}
        return tuple(
            OneFit(
                self.file,
                self.text,
                self.sources,
                self.out if table is self.file.fits[0] else self.out / table.name,
                self.work,
                self.own,
                self.source,
                table=table,
                catalogue=catalogue,
                samplers=samplers,
            )
            for table in self.file.fits
        )

    def run(self, show: Show) -> Outcome:
        show.stage("reading the catalogue")
        summaries = [one.perform(show) for one in self.fits]
        show.stage("writing the report")
        summary = self._joined(summaries)
        # The report of the main fit needs its summary, and those of the others.
        write_json(self.out / "summary.json", summary)
        from starcensus.experiments.report import write_report  # loads Matplotlib

        for one in (*self.fits[1:], self.fits[0]):
            write_report(one.out)
        return Outcome(summary)

    def _joined(self, summaries: list[Summary]) -> Summary:
        """The main fit's numbers, the truth, and the other fits' under their names."""
        truth = self.fits[0].catalogue.meta.get("truth")
        known = {f"truth.{k}": v for k, v in truth.items()} if isinstance(truth, dict) else {}
        joined = {**summaries[0], **known}
        for one, summary in zip(self.fits[1:], summaries[1:], strict=True):
            joined |= {f"{one.name}.{k}": v for k, v in summary.items() if k != "verdict"}
            prepare_folder(one.out)
            write_json(one.out / "summary.json", {**summary, **known})
        return joined


def read(table: CatalogueTable, sources: Sources) -> Catalogue:
    """The catalogue of a table, after its cuts."""
    options = dict(table.options)
    if "column_map" in options:
        options["column_map"] = sources.file(str(options["column_map"]), "column map")
    path = sources.file(table.path, "catalogue")
    return apply_cuts(read_catalogue(path, table.format, **options), cuts_of(table.cuts))


def catalogue_inputs(table: CatalogueTable, sources: Sources) -> dict[str, Input]:
    """The files of a catalogue."""
    found = {"catalogue": Input.of(sources.file(table.path, "catalogue"))}
    if "column_map" in table.options:
        path = sources.file(str(table.options["column_map"]), "column map")
        found["catalogue.column_map"] = Input.of(path)
    return found
