"""Several populations of one catalogue: a fit and an evidence of each, and what they say together.

Each model has a folder of its name with the files of a fit and `evidence.json`; one that is
finished is not fitted again.
"""

import dataclasses
import functools
from typing import Any, ClassVar

import numpy as np

from starcensus.experiments.jobs._job import JOBS, SILENT, Job, Outcome, Show, Summary
from starcensus.experiments.jobs.fit import FitJob, OneFit
from starcensus.experiments.jobs.light import LightJob, OneLightFit
from starcensus.experiments.schema.compare import CompareFile
from starcensus.experiments.schema.fit import FitFile
from starcensus.files import prepare_folder, read_json, write_json
from starcensus.inference import FitResult
from starcensus.inference.evidence import (
    Comparison,
    Evidence,
    EvidenceError,
    PriorCurve,
    Thinned,
    aimed_checks,
    evidence,
    posterior_values,
    prior_curve,
    thinned_score,
)
from starcensus.runs import Input

_OF_MODEL = "evidence", "bridge", "nested", "thinning", "sensitivity"


def _weighed(file: CompareFile, name: str, result: FitResult, show: Show) -> dict[str, Any]:
    """Evidence, curves, scores and checks of one model, JSON-ready."""

    def progress(stage: str) -> None:
        show.stage(f"{name}: {stage}")

    settings = dataclasses.replace(
        file.evidence,
        bridge=dataclasses.replace(file.bridge, seed=file.seed),
        nested=dataclasses.replace(file.nested, seed=file.seed),
    )
    try:
        found = evidence(result, settings, progress)
        curves = _curves(file, name, result)
        made: dict[str, Any] = {"evidence": found.json()}
        made["curves"] = [_plain(dataclasses.asdict(curve)) for curve in curves]
        if file.thinning is not None:
            thinning = dataclasses.replace(file.thinning, seed=file.seed)
            sampler = dataclasses.replace(file.sampler, seed=file.seed)
            scores = thinned_score(result, thinning, sampler, progress)
            made["thinned"] = dataclasses.asdict(scores)
        if not file.of_light:
            progress("checking predictions")
            made["checks"] = [dataclasses.asdict(c) for c in aimed_checks(result, file.seed)]
    except EvidenceError as error:
        raise EvidenceError(f"models.{name}: {error}") from error
    return made


def _curves(file: CompareFile, name: str, result: FitResult) -> list[PriorCurve]:
    """Of the parameters that were asked for, or that not all models have."""
    own = {site.name for site in result.model.sites() if not site.size}
    if file.sensitivity.parameters:
        wanted = own & set(file.sensitivity.parameters)
    else:
        others = [t.model() for n, t in file.models.items() if n != name]
        everywhere = [{p.name for p in other.fitted()} for other in others]
        wanted = own - set.intersection(*everywhere)
    values, curves = posterior_values(result), []
    for parameter in sorted(wanted):
        try:
            curves.append(prior_curve(result.model, values, parameter, file.sensitivity.factors))
        except EvidenceError:
            # A prior without a width, which nobody asked for.
            if file.sensitivity.parameters:
                raise
    return curves


def _plain(facts: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: None stands for it."""
    return {
        k: [None if isinstance(x, float) and not np.isfinite(x) else x for x in v]
        if isinstance(v, tuple)
        else v
        for k, v in facts.items()
    }


class _Weighs(Job[Any]):
    """What a model's job has beside a fit's, whose class comes after this one."""

    compared: CompareFile
    table: Any

    def settings(self) -> dict[str, Any]:
        return super().settings() | _own_settings(self.compared, self.table.name)

    def results(self) -> tuple[str, ...]:
        return (*super().results(), "evidence.json")

    def words(self) -> dict[str, Any]:
        return {**super().words(), "comparisons": []}

    def weigh(self, made: dict[str, Any]) -> dict[str, Any]:
        """Write them; returns what the summary has of it."""
        write_json(self.out / "evidence.json", made)
        found = made["evidence"]
        return {"ln_z": found["ln_z"], "ln_z_error": found["error"]}


@dataclasses.dataclass(frozen=True, eq=False)
class OneModel(_Weighs, OneFit):
    """One model of published values, draws or grids."""

    compared: CompareFile = dataclasses.field(kw_only=True)

    # Evidences are of the operator as it is.
    takes_uncertainty: ClassVar[bool] = False

    def run(self, show: Show) -> Outcome:
        result = self.fitted(show)
        more = self.weigh(_weighed(self.compared, self.table.name, result, show))
        summary = {**result.summary, **more}
        return Outcome(summary, {"fit": self.name}, self._record(result))


@dataclasses.dataclass(frozen=True, eq=False)
class OneLightModel(_Weighs, OneLightFit):
    """One model of measured light."""

    compared: CompareFile = dataclasses.field(kw_only=True)

    def run(self, show: Show) -> Outcome:
        result, explained = self.fitted(show)
        more = self.weigh(_weighed(self.compared, self.table.name, result, show))
        summary = {**self._summary(result, explained), **more}
        return Outcome(summary, {"fit": self.name}, self._record(result))


def _own_settings(file: CompareFile, name: str) -> dict[str, Any]:
    whole = file.settings()
    # Whose priors are widened depends on what the other models have.
    parameters = sorted({p.name for t in file.models.values() for p in t.model().fitted()})
    return {key: whole[key] for key in _OF_MODEL} | {"parameters": parameters, "model": name}


@JOBS.register("compare")
@dataclasses.dataclass(frozen=True, eq=False)
class CompareJob(Job[CompareFile]):
    """All models of a file, and which of them the data prefer."""

    resumes: ClassVar[bool] = False

    def inputs(self) -> dict[str, Input]:
        return self._fits.inputs()

    def results(self) -> tuple[str, ...]:
        return "summary.json", "comparison.json"

    @functools.cached_property
    def _fits(self) -> FitJob | LightJob:
        """The job of the same fits without evidences."""
        file = self.file.whole()
        make = FitJob if isinstance(file, FitFile) else LightJob
        return make(file, self.text, self.sources, self.out, self.work, self.own, self.source)  # pyright: ignore[reportArgumentType]

    @functools.cached_property
    def models(self) -> dict[str, OneModel | OneLightModel]:
        """A job for each model, by name."""
        whole = self._fits
        made: dict[str, OneModel | OneLightModel] = {}
        for table in whole.file.fits:
            common = (self.text, self.sources, self.out / table.name, self.work, self.own)
            if isinstance(whole, FitJob):
                made[table.name] = OneModel(
                    whole.file,
                    *common,
                    self.source,
                    table=table,  # pyright: ignore[reportArgumentType]
                    catalogue=whole._catalogue,
                    compared=self.file,
                )
            else:
                made[table.name] = OneLightModel(
                    whole.file,
                    *common,
                    self.source,
                    table=table,  # pyright: ignore[reportArgumentType]
                    whole=whole,
                    compared=self.file,
                )
        return made

    def perform(self, show: Show = SILENT) -> Summary:
        with self._named():
            self.check()
            prepare_folder(self.out)
            with self._lock():
                for name, model in self.models.items():
                    model.perform(show)
                    show.say(f"{name}: ln Z is known")
                made = self.run(show)
                run = self.identity
                facts = {**run.provenance(), "file": self.text, **made.provenance}
                write_json(self.out / "provenance.json", facts)
                write_json(self.out / "summary.json", made.summary)
                self._write_report()
        return made.summary

    def run(self, show: Show) -> Outcome:
        from starcensus.experiments.report import write_report  # loads Matplotlib

        show.stage("comparing")
        found = {name: read_json(m.out / "evidence.json") for name, m in self.models.items()}
        together = comparison_of(found, self.file.prior_odds)
        summary = together.summary()
        for name, each in found.items():
            summary |= {f"check.{name}.{c['name']}.p": c["p"] for c in each.get("checks", [])}
        write_json(
            self.out / "comparison.json",
            {
                "title": self.file.title,
                "description": self.file.description,
                "prior_odds": dict(self.file.prior_odds),
                "models": found,
                "words": list(together.words()),
            },
        )
        show.stage("writing reports")
        for model in self.models.values():
            write_report(model.out)
        return Outcome(summary)

    def _write_report(self) -> None:
        from starcensus.experiments.report.compared import write_compared

        write_compared(self.out)


def comparison_of(found: dict[str, Any], prior_odds: dict[str, float]) -> Comparison:
    """The comparison of what the models' `evidence.json` say."""

    def curve(facts: dict[str, Any]) -> PriorCurve:
        numbers = {
            k: tuple(np.nan if x is None else x for x in facts[k]) for k in ("change", "errors")
        }
        rest = {k: tuple(v) if isinstance(v, list) else v for k, v in facts.items()}
        return PriorCurve(**{**rest, **numbers})

    def scores(facts: dict[str, Any]) -> Thinned:
        lists = {k: tuple(facts[k]) for k in ("scores", "errors", "n_held")}
        return Thinned(**lists, seed=facts["seed"])

    return Comparison(
        {name: Evidence.of_json(each["evidence"]) for name, each in found.items()},
        prior_odds,
        {name: tuple(map(curve, each["curves"])) for name, each in found.items()},
        {name: scores(each["thinned"]) for name, each in found.items() if "thinned" in each},
    )
