"""What is known of each cluster of a catalogue alone, from its magnitudes and a stated prior."""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np

from starcensus.experiments.jobs._injections import injections_inputs, with_model
from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.jobs._pool import Explained, drawn_key, explain, pool_inputs
from starcensus.experiments.jobs._prior import Prior, learned, prior_of
from starcensus.experiments.jobs._references import Compared, check_columns, compare
from starcensus.experiments.jobs._seen import Seen, read_seen, seen_inputs
from starcensus.experiments.jobs._stars import stars_words
from starcensus.experiments.jobs._theta_table import theta_table, write_table
from starcensus.experiments.schema.measure import MeasureFile
from starcensus.inference import write_posteriors
from starcensus.inference.measure import Measured, measure
from starcensus.inference.objects import LightSettings
from starcensus.runs import Input
from starcensus.selection import save_selection
from starcensus.theta import AXES, AXIS_UNITS

COLUMNS: tuple[str, ...] = ("mode", "mean", "p16", "p50", "p84")


@JOBS.register("measure")
class MeasureJob(Job[MeasureFile]):
    """`objects.ecsv`, `selection.h5`, `report.html` and, if they are wanted, `draws.h5`."""

    def inputs(self) -> dict[str, Input]:
        file = self.file
        found = seen_inputs(file.catalogue, file.observation, self.sources)
        found |= injections_inputs(file.observation, self)
        return {**found, **pool_inputs(file.library, self.sources), **self._prior.inputs}

    def results(self) -> tuple[str, ...]:
        draws = ("draws.h5",) if self.file.draws else ()
        return ("objects.ecsv", "selection.h5", "report.html", *draws)

    @functools.cached_property
    def _prior(self) -> Prior:
        return prior_of(self.file.prior, self.file.library.bounds, self.sources)

    def run(self, show: Show) -> Outcome:
        from starcensus.experiments.report.measured import write_measured  # loads Matplotlib

        show.stage("reading the catalogue")
        file = self.file
        observation = with_model(file.observation, file.catalogue, file.photometry, self, show)
        tables = file.catalogue, file.photometry, observation, self.sources
        seen = read_seen(*tables, counted=file.prior.learned_ages is not None)
        for words in seen.warnings.values():
            show.say(f"warning: {words}")
        check_columns(file.references, seen.catalogue)
        explained = self._explained(seen, show)
        show.stage("measuring")
        prior, ages = self._prior, None
        if file.prior.learned_ages is not None:
            prior, ages = learned(file.prior, explained.objects, prior.box)
        found = measure(explained.objects, prior.log_density, prior.box, file.draws, file.seed)
        compared = compare(file.references, seen.catalogue, explained.objects, found, prior)
        self._write(found, seen, prior, compared)
        operator = explained.objects.pool_grid(prior.box).operator(prior.box)
        save_selection(operator, self.out / "selection.h5")
        summary = self._summary(found, seen, explained, prior, compared)
        record = {
            "catalogue": {
                "source": pathlib.Path(seen.catalogue.source).name,
                "steps": [dataclasses.asdict(step) for step in explained.objects.steps],
            },
            "observation": {
                "kind": type(seen.observation).__name__,
                "words": seen.observation.words,
            },
            "stars": stars_words(self.file.library, self.sources),
            "prior": prior.words,
        }
        if ages is not None:
            learned_ages = ("edges", "catalogued", "density")
            record["learned_ages"] = {name: getattr(ages, name).tolist() for name in learned_ages}
        show.stage("writing the report")
        write_measured(self.out, found, {**self.words(), **record}, summary, compared)
        return Outcome(summary, {}, record)

    def _explained(self, seen: Seen, show: Show) -> Explained:
        given = ("catalogue", "photometry", "observation", "library")
        settings = {k: v for k, v in self.settings().items() if k in given}
        inputs = {**self.own_inputs(), **self.inputs()}
        files = {k: v for k, v in inputs.items() if not k.startswith("prior")}
        return explain(
            seen,
            self.file.library,
            LightSettings(),
            self.sources,
            self.out / "library",
            drawn_key(settings, files, self.file.seed),
            self.file.seed,
            self.work,
            show.stage,
        )

    def _summary(
        self,
        found: Measured,
        seen: Seen,
        explained: Explained,
        prior: Prior,
        compared: tuple[Compared, ...],
    ) -> dict[str, Any]:
        half = (found.quantiles[2] - found.quantiles[0]) / 2
        said = [explained.thin, *seen.warnings.values()]
        return {
            "n_clusters": len(found.ids),
            "n_unexplained": int((found.effective == 0).sum()),
            **(compared[0].summary() if compared else {}),
            "prior": prior.words,
            "remarks": " ".join(filter(None, said)),
            **{f"warning.{name}": words for name, words in seen.warnings.items()},
            **explained.summary(),
            **{
                f"median_error.{axis}": float(np.nanmedian(half[:, k]))
                for k, axis in enumerate(AXES)
            },
            **{f"{c.name}.{k}": v for c in compared for k, v in c.summary().items()},
        }

    def _write(
        self, found: Measured, seen: Seen, prior: Prior, compared: tuple[Compared, ...]
    ) -> None:
        from astropy.table import Column

        by_name = dict(zip(COLUMNS, (found.mode, found.mean, *found.quantiles), strict=True))
        what = "effective number of simulated clusters"
        table = theta_table(found.ids, by_name, found.effective, what)
        for c in compared:
            words = f"{c.label}, reference of {c.table.axis}, {AXIS_UNITS[c.table.axis]}"
            table[f"reference_{c.name}"] = Column(c.reference, description=words)
        meta = {
            "prior": prior.words,
            "observation": seen.observation.words,
            "source": pathlib.Path(seen.catalogue.source).name,
            "key": self.identity.key,
        }
        write_table(table, self.out / "objects.ecsv", meta)
        if found.draws is not None:
            write_posteriors(found.draws, self.out / "draws.h5")
