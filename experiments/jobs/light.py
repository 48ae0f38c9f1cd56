"""Fits of a catalogue's magnitudes: one draw of simulated clusters, and each fit with its report.

The main fit writes into the output folder itself, the others into sub-folders of their names; the
simulated clusters are in the folder `library`, and an interrupted run continues with them.
"""

import dataclasses
import functools
import pathlib
from typing import Any, ClassVar

from starcensus.experiments.jobs._emulator import Emulated, emulated, emulator_inputs
from starcensus.experiments.jobs._fits import AllFits
from starcensus.experiments.jobs._injections import injections_inputs, with_model
from starcensus.experiments.jobs._job import JOBS, SILENT, Job, Outcome, Show, Summary
from starcensus.experiments.jobs._latents import latent_files, write_latents
from starcensus.experiments.jobs._operators import facts_words
from starcensus.experiments.jobs._pool import (
    Explained,
    drawn_key,
    explain,
    pool_inputs,
    refuse_unlike,
)
from starcensus.experiments.jobs._seen import Seen, read_seen, seen_inputs
from starcensus.experiments.jobs._stars import stars_words
from starcensus.experiments.jobs.fit import population_words, words_of
from starcensus.experiments.schema.light import LightFile, LightFitTable
from starcensus.experiments.schema.photometry import ObservationTable
from starcensus.files import write_json
from starcensus.inference import FitResult, FitSettings, fit
from starcensus.inference.draws import thinned
from starcensus.inference.light_predictive import predict_light
from starcensus.runs import Input
from starcensus.selection import learned_facts, save_selection

# Predicted catalogues; more know their own spread little better.
_PREDICTED = 60
_OF_DATA = ("catalogue", "photometry", "observation", "library")


@dataclasses.dataclass(frozen=True, eq=False)
class OneLightFit(Job[LightFile]):
    """One fit of a file, into a folder of its own.

    **Arguments:**

    - `table`: of the fit. `whole`: the job of the file, with the clusters that all fits share.
    """

    table: LightFitTable = dataclasses.field(kw_only=True)
    whole: "LightJob" = dataclasses.field(kw_only=True)

    locks: ClassVar[bool] = False

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def is_main(self) -> bool:
        return self.table is self.file.fits[0]

    def inputs(self) -> dict[str, Input]:
        return self.whole.inputs()

    def settings(self) -> dict[str, Any]:
        given = super().settings()
        shared = "seed", *_OF_DATA, "light", "emulator", "sampler", "bins", "thresholds", "latents"
        own = {
            "fit": {"population": self.table.population},
            "population": given["populations"][self.table.population],
        }
        return {name: given[name] for name in shared} | own

    def results(self) -> tuple[str, ...]:
        own = latent_files(self.file.latents)
        return "posterior.nc", "selection.h5", "magnitudes.json", *own

    def words(self) -> dict[str, Any]:
        return words_of(self.file, self.table, "Light")

    def run(self, show: Show) -> Outcome:
        result, explained = self.fitted(show)
        of_clusters = write_latents(
            result, self.file.latents, self.out, self.file.seed, self.identity.key, show
        )
        summary = {**self._summary(result, explained), **of_clusters}
        return Outcome(summary, {"fit": self.name}, self._record(result))

    def fitted(self, show: Show) -> tuple[FitResult, Explained | Emulated]:
        """The fit, with its files, and the clusters that it had."""
        explained = self.whole.explained(show)
        model = self.file.populations[self.table.population].model()
        settings = FitSettings(
            sampler=dataclasses.replace(self.file.sampler, seed=self.file.seed),
            bins=self.file.bins,
            thresholds=self.file.thresholds,
            uncertainty=self.file.observation.uncertainty,
        )
        result = fit(
            explained.objects,
            None,
            model,
            settings,
            progress=lambda stage: show.stage(f"{self.name}: {stage}"),
        )
        show.stage(f"{self.name}: predicting magnitudes")
        result.save(self.out)
        save_selection(result.selection, self.out / "selection.h5")
        self._predict(result, explained)
        return result, explained

    def _predict(self, result: FitResult, explained: Explained | Emulated) -> None:
        model = result.model
        population = model.population.with_values(model.fixed_values())
        values = {str(k): v.values for k, v in result.tree["posterior"].data_vars.items()}
        made = predict_light(
            explained.objects, population, thinned(values, _PREDICTED), self.file.seed
        )
        write_json(self.out / "magnitudes.json", made.json())

    def _summary(self, result: FitResult, explained: Explained | Emulated) -> Summary:
        from starcensus.experiments.report.fit.magnitudes import p_values  # loads Matplotlib

        warnings = self.whole.seen.warnings
        said = [str(result.summary.get("remarks") or ""), explained.thin, *warnings.values()]
        summary: Summary = {**result.summary, "remarks": " ".join(filter(None, said))}
        summary |= {f"warning.{name}": words for name, words in warnings.items()}
        summary |= explained.summary()
        return summary | {f"predictive.{k}.p": v for k, v in p_values(self.out).items()}

    def _record(self, result: FitResult) -> dict[str, Any]:
        seen = self.whole.seen
        return {
            "catalogue": {
                "source": pathlib.Path(seen.catalogue.source).name,
                "n": len(result.objects),
                "steps": [dataclasses.asdict(step) for step in result.objects.steps],
            },
            "selection": {
                "kind": "ObservationModel",
                "description": "whether a cluster is catalogued follows from its light",
                "learned_for": [facts_words(facts) for facts in learned_facts(seen.observation)],
                "differences": [
                    {**dataclasses.asdict(each), "accepted": not each.is_warning}
                    for each in seen.differences
                ],
            },
            "observation": {
                "kind": type(seen.observation).__name__,
                "words": seen.observation.words,
            },
            "stars": stars_words(self.whole.file.library, self.whole.sources),
            "population": population_words(self.file.populations[self.table.population]),
            "warnings": seen.warnings,
        }


@JOBS.register("light")
class LightJob(AllFits[LightFile]):
    """All fits of a file, compared with one another."""

    def inputs(self) -> dict[str, Input]:
        file = self.file
        found = seen_inputs(file.catalogue, file.observation, self.sources)
        found |= injections_inputs(file.observation, self)
        found |= {} if file.emulator is None else emulator_inputs(file.emulator, self.sources)
        return {**self.own_inputs(), **found, **pool_inputs(file.library, self.sources)}

    @functools.cached_property
    def seen(self) -> Seen:
        """What was recorded, and by what survey."""
        file, observation = self.file, self._observation(SILENT)
        return read_seen(file.catalogue, file.photometry, observation, self.sources)

    @functools.cached_property
    def _made(self) -> dict[str, ObservationTable]:
        return {}

    def _observation(self, show: Show) -> ObservationTable:
        """With the file of a model, learned once."""
        if not self._made:
            file = self.file
            made = with_model(file.observation, file.catalogue, file.photometry, self, show)
            self._made["observation"] = made
        return self._made["observation"]

    @functools.cached_property
    def _explained(self) -> dict[str, Explained | Emulated]:
        return {}

    def explained(self, show: Show) -> Explained | Emulated:
        """The clusters with the simulated ones, found or drawn once."""
        if not self._explained:
            self._observation(show)
            settings = {k: v for k, v in self.settings().items() if k in _OF_DATA}
            key = drawn_key(settings, self.inputs(), self.file.seed)
            for words in self.seen.warnings.values():
                show.say(f"warning: {words}")
            file = self.file
            if file.emulator is not None:
                made = emulated(
                    self.seen, file.emulator, file.library, self.sources, file.seed, show.stage
                )
            else:
                made = explain(
                    self.seen,
                    file.library,
                    file.light,
                    self.sources,
                    self.out / "library",
                    key,
                    file.seed,
                    self.work,
                    show.stage,
                )
                refuse_unlike(made.objects.ids, made.effective)
            self._explained["made"] = made
        return self._explained["made"]

    def fit_of(self, table: LightFitTable, common: tuple[Any, ...]) -> OneLightFit:
        return OneLightFit(*common, table=table, whole=self)
