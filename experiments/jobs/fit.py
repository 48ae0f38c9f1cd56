"""Fits of a catalogue: each with its files and its report.

The main fit writes into the output folder itself, the others into sub-folders of their names. A fit
whose catalogue, operator and settings are those of a finished one is not run again, so that an
interrupted run continues where it stopped.
"""

import dataclasses
import functools
import pathlib
from typing import Any, ClassVar

from starcensus.experiments.jobs._fits import AllFits
from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._latents import latent_files, write_latents
from starcensus.experiments.jobs._operators import (
    build_selection,
    operator_digest,
    operator_inputs,
    operator_words,
)
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.fit import (
    FINDER,
    POSTERIORS,
    CatalogueTable,
    FitFile,
    FitTable,
)
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.population import PopulationTable
from starcensus.inference import (
    ErrorSettings,
    FitResult,
    FitSettings,
    GridPosteriors,
    PosteriorDraws,
    fit,
    read_posteriors,
)
from starcensus.runs import Input
from starcensus.selection import catalogue_differences, save_selection
from starcensus.selection.catalogue import (
    Catalogue,
    apply_cuts,
    cuts_of,
    read_catalogue,
    with_close_pairs,
)
from starcensus.selection.catalogue.read import FILE_OPTIONS, files_beside
from starcensus.selection.finder import FinderPosteriors
from starcensus.selection.pipeline import Detections
from starcensus.selection.posterior import LearnedPosterior

type Clusters = Catalogue | PosteriorDraws | GridPosteriors


@dataclasses.dataclass(frozen=True, eq=False)
class OneFit(Job[FitFile]):
    """One fit of a file, into a folder of its own.

    **Arguments:**

    - `table`: of the fit. `catalogue`: that the file names, or its clusters' posteriors.
    """

    table: FitTable = dataclasses.field(kw_only=True)
    catalogue: Clusters = dataclasses.field(kw_only=True)

    locks: ClassVar[bool] = False
    # Whether an operator's uncertainty may be asked for.
    takes_uncertainty: ClassVar[bool] = True

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
        shared = (
            "seed",
            "catalogue",
            "errors",
            "sampler",
            "nodes",
            "quadrature",
            "bins",
            "thresholds",
            "latents",
        )
        own = {
            "fit": {"selection": table.selection, "population": table.population},
            "selection": whole["selections"][table.selection],
            "population": whole["populations"][table.population],
        }
        errors = {"errors": dataclasses.asdict(self._errors())}
        box = self.file.populations[table.population].bounds
        numbers = operator_digest(self.file.selections[table.selection], box, self.sources)
        return {name: whole[name] for name in shared} | own | errors | {"operator": numbers}

    def results(self) -> tuple[str, ...]:
        return "posterior.nc", "selection.h5", *latent_files(self.file.latents)

    def words(self) -> dict[str, Any]:
        return words_of(self.file, self.table, "Fit")

    def run(self, show: Show) -> Outcome:
        if self.file.latents is not None and self._errors().mode == "none":
            raise ConfigError(
                f"{self.name}: errors.mode = 'none' takes masses, ages and extinctions as exact, "
                "and [latents] asks what they are under the population; leave out either"
            )
        result = self.fitted(show)
        of_clusters = write_latents(
            result, self.file.latents, self.out, self.file.seed, self.identity.key, show
        )
        summary = {**result.summary, **of_clusters}
        return Outcome(summary, {"fit": self.name}, self._record(result))

    def fitted(self, show: Show) -> FitResult:
        """The fit, with its files."""
        model = self.file.populations[self.table.population].model()
        operator = self.file.selections[self.table.selection]
        selection = build_selection(
            operator, model.population.box, self.sources, uncertain=self.takes_uncertainty
        )
        if isinstance(self.catalogue, Catalogue):
            for difference in catalogue_differences(selection, self.catalogue):
                show.say(f"{self.name}: {difference.about}: {difference.words}")
        result = fit(
            self.catalogue,
            selection,
            model,
            self._fit_settings(),
            progress=lambda stage: show.stage(f"{self.name}: {stage}"),
        )
        result.save(self.out)
        save_selection(result.selection, self.out / "selection.h5")
        return result

    def _errors(self) -> ErrorSettings:
        return self.table.errors or self.file.errors

    def _fit_settings(self) -> FitSettings:
        errors = dataclasses.replace(self._errors(), seed=self.file.seed)
        if not isinstance(self.catalogue, Catalogue):
            if self._errors() != ErrorSettings():
                raise ConfigError(
                    f"{self.catalogue.source}: holds posteriors, which bring their errors; leave "
                    "out [errors]"
                )
            errors = ErrorSettings()
        return FitSettings(
            errors=errors,
            sampler=dataclasses.replace(self.file.sampler, seed=self.file.seed),
            nodes=self.file.nodes,
            quadrature=self.file.quadrature,
            bins=self.file.bins,
            thresholds=self.file.thresholds,
            accept=self.file.selections[self.table.selection].accept,
            uncertainty=self.file.selections[self.table.selection].uncertainty,
        )

    def _record(self, result: FitResult) -> dict[str, Any]:
        selection = result.selection
        return {
            "catalogue": {
                "source": pathlib.Path(self.catalogue.source).name,
                "n": len(result.objects),
                "steps": [dataclasses.asdict(step) for step in result.objects.steps],
            },
            "selection": {
                "kind": type(selection).__name__,
                "description": self.file.selections[self.table.selection].description,
                **operator_words(
                    self.file.selections[self.table.selection], selection, self.catalogue
                ),
            },
            "population": population_words(self.file.populations[self.table.population]),
            **self._errors_words(),
        }

    def _errors_words(self) -> dict[str, Any]:
        if not isinstance(self.catalogue, Catalogue):
            return {}
        return {"errors": dataclasses.asdict(self._errors())}


def words_of(file: Any, table: Any, what: str) -> dict[str, Any]:
    """Title, text, notes and comparisons of one fit of a file, for its report.

    **Arguments:**

    - `file`: `FitFile` or `LightFile`. `table`: of the fit. `what`: a fit of what, where the file
      has no title.
    """
    main = table is file.fits[0]
    others = [{"name": t.name, "path": t.name, "text": t.text} for t in file.fits[1:]]
    title = file.title or f"{what} of {pathlib.Path(file.catalogue.path).name}"
    return {
        "title": title if main else f"{title}: {table.name}",
        "description": file.description if main else table.text,
        "fit": table.name,
        "notes": list(file.notes),
        "references": list(file.references),
        "comparisons": others if main else [],
    }


@JOBS.register("fit")
class FitJob(AllFits[FitFile]):
    """All fits of a file, compared with one another."""

    def inputs(self) -> dict[str, Input]:
        return catalogue_inputs(self.file.catalogue, self.sources) | operator_inputs(
            self.file.selections, self.sources
        )

    @functools.cached_property
    def _catalogue(self) -> Clusters:
        return read(self.file.catalogue, self.sources)

    def fit_of(self, table: FitTable, common: tuple[Any, ...]) -> OneFit:
        return OneFit(*common, table=table, catalogue=self._catalogue)

    def known(self) -> dict[str, Any]:
        """The truth, where the catalogue is a mock that says it."""
        catalogue = self._catalogue
        truth = catalogue.meta.get("truth") if isinstance(catalogue, Catalogue) else None
        return {f"truth.{k}": v for k, v in truth.items()} if isinstance(truth, dict) else {}


def population_words(table: PopulationTable) -> dict[str, Any]:
    """What a report says of a family."""
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


def read(table: CatalogueTable, sources: Sources) -> Clusters:
    """The catalogue of a table, after its cuts, or the posteriors of each object."""
    path, files = _catalogue_files(table, sources)
    if table.format == POSTERIORS:
        return read_posteriors(path)
    if table.format == FINDER:
        found = FinderPosteriors.load(path)
        if found.draws is None:
            return GridPosteriors.of_finder(found, path.name)
        return PosteriorDraws.of_finder(found, path.name)
    if table.learned is not None:
        learned = LearnedPosterior.load(sources.file(table.learned.path, "learned posterior"))
        found = Detections.read(path)
        drawn = learned.draw(
            found,
            table.learned.draws,
            accept=table.learned.accept,
            source=path.name,
            leave_out=table.learned.leave_out,
        )
        return PosteriorDraws.of_learned(drawn, path.name)
    options = {**table.options, **files}
    found = apply_cuts(read_catalogue(path, table.format, **options), cuts_of(table.cuts))
    return with_close_pairs(found)


def catalogue_inputs(table: CatalogueTable, sources: Sources) -> dict[str, Input]:
    """The files of a catalogue, with those that its reader joins to it."""
    path, files = _catalogue_files(table, sources)
    found = {"catalogue": Input.of(path)}
    if table.learned is not None:
        file = sources.file(table.learned.path, "learned posterior")
        found["catalogue.learned"] = Input.of(file)
    return found | {f"catalogue.{name}": Input.of(file) for name, file in files.items()}


def _catalogue_files(
    table: CatalogueTable, sources: Sources
) -> tuple[pathlib.Path, dict[str, pathlib.Path]]:
    """The catalogue, and further files by the option that names each."""
    path = sources.file(table.path, "catalogue")
    given = {
        name: sources.file(str(table.options[name]), name.replace("_", " "))
        for name in FILE_OPTIONS
        if name in table.options and not isinstance(table.options[name], dict)
    }
    beside = {} if table.format in (POSTERIORS, FINDER) else files_beside(path, table.format)
    return path, {**beside, **given}
