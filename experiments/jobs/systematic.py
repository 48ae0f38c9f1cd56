"""An operator, and a fit, under two PSFs."""

import functools
import json
import pathlib
from typing import Any, ClassVar

from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show, Summary
from starcensus.experiments.jobs.fit import FitJob
from starcensus.experiments.jobs.learning import LearningJob
from starcensus.experiments.jobs.survey import InjectJob
from starcensus.experiments.schema._base import ConfigError, changed, load
from starcensus.experiments.schema.fit import FitFile
from starcensus.experiments.schema.images import PsfTable
from starcensus.experiments.schema.learning import LearningFile
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.selection import SelectionTable
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.experiments.schema.systematic import SystematicFile
from starcensus.files import prepare_folder
from starcensus.runs import Input
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import by_radius, compare, learned_networks


@JOBS.register("systematic")
class SystematicJob(Job[SystematicFile]):
    """NAME/table.h5, NAME/operator.h5 and NAME/fit for each PSF, and how they differ.

    Each is the job of its own file, so that one that is finished is not done again.
    """

    resumes: ClassVar[bool] = False

    def inputs(self) -> dict[str, Input]:
        found: dict[str, Input] = {}
        for name in self.file.psfs:
            found |= {f"{name}.{role}": item for role, item in self._inject(name).inputs().items()}
        paths = {"survey": self.file.survey, "learning": self.file.learning}
        if self.file.fit is not None:
            paths["fit"] = self.file.fit.path
        return found | {role: Input.of(self.sources.file(p, role)) for role, p in paths.items()}

    def results(self) -> tuple[str, ...]:
        return tuple(f"{name}/operator.h5" for name in self.file.psfs)

    def run(self, show: Show) -> Outcome:
        # What cannot be compared is said before hours of injections.
        self._check_fit()
        fits: list[Summary] = []
        for name in self.file.psfs:
            folder = prepare_folder(self.out / name)
            self._inject(name).perform(show)
            self._learn(name, folder).perform(show)
        tables = [InjectionTable.load(self.out / n / "table.h5") for n in self.file.psfs]
        operators = [learned_networks(self.out / n / "operator.h5") for n in self.file.psfs]
        summary: dict[str, Any] = dict(
            compare((tables[0], tables[1]), (operators[0], operators[1]))
        )
        for name, table in zip(self.file.psfs, tables, strict=True):
            summary[f"{name}.by_radius"] = by_radius(table)
        if self.file.fit is not None:
            fits = [self._fit(name).perform(show) for name in self.file.psfs]
            summary |= shifts(fits[0], fits[1])
        return Outcome(summary)

    def _file[F: (SurveyFile, LearningFile, FitFile)](
        self, path: str, cls: type[F]
    ) -> tuple[F, str, pathlib.Path]:
        found = self.sources.file(path, cls.__name__.removesuffix("File").lower())
        file, text = load(found, cls)
        return file, text, found

    def _beside(self, path: pathlib.Path) -> Sources:
        return Sources.beside(path, self.sources.data)

    @functools.cached_property
    def _survey(self) -> tuple[SurveyFile, str, pathlib.Path]:
        return self._file(self.file.survey, SurveyFile)

    def _inject(self, name: str) -> InjectJob:
        file, text, path = self._survey
        psf = {
            band: table.model_copy(
                update={"path": str(self.sources.file(table.path, f"psfs.{name}.{band}").resolve())}
            )
            for band, table in self.file.psfs[name].items()
        }
        return InjectJob(
            changed(file, {"psf": psf}, str(path)),
            text,
            self._beside(path),
            self.out / name / "table.h5",
            self.work,
            self.own,
            str(path),
            psf=_as_json(psf),
        )

    def _learn(self, name: str, folder: pathlib.Path) -> LearningJob:
        file, text, path = self._file(self.file.learning, LearningFile)
        table = str((self.out / name / "table.h5").resolve())
        return LearningJob(
            changed(file, {"tables": (table,)}, str(path)),
            text,
            self._beside(path),
            folder / "operator.h5",
            self.work,
            self.own,
            str(path),
        )

    def _check_fit(self) -> None:
        if self.file.fit is None:
            return
        file, _, path = self._file(self.file.fit.path, FitFile)
        name = self.file.fit.selection
        if name not in file.selections:
            raise ConfigError(f"fit.selection is {name!r}; {path} has {', '.join(file.selections)}")
        learning, _, learned = self._file(self.file.learning, LearningFile)
        if learning.inputs.kind != "physical":
            raise ConfigError(
                f"fit takes an operator of mass, age and extinction, and {learned} trains one of "
                'magnitudes; expected inputs.kind = "physical", or no fit'
            )

    def _fit(self, name: str) -> FitJob:
        assert self.file.fit is not None
        file, text, path = self._file(self.file.fit.path, FitFile)
        operator = str((self.out / name / "operator.h5").resolve())
        old = file.selections[self.file.fit.selection]
        new = SelectionTable(
            kind="file",
            path=operator,
            options={},
            member=old.member,
            acts_on=old.acts_on,
            # That the PSF, and the aperture corrections with it, differ is the point.
            accept=(*old.accept, "psf", "pipeline"),
            recorded_sigma=old.recorded_sigma,
            uncertainty=old.uncertainty,
            description=f"{old.description} PSF: {name}.".strip(),
        )
        selections = {**file.selections, self.file.fit.selection: new}
        return FitJob(
            changed(file, {"selections": selections}, str(path)),
            text,
            self._beside(path),
            self.out / name / "fit",
            self.work,
            self.own,
            str(path),
        )


def shifts(first: Summary, second: Summary) -> dict[str, float]:
    """Shift of every parameter's median from one fit to the other, and in errors of the first.

    The main fit's parameters; the error is half of the central 68%.
    """
    found: dict[str, float] = {}
    for key, median in first.items():
        if not (key.startswith("posterior.") and key.endswith(".median")) or key not in second:
            continue
        name = key.removeprefix("posterior.").removesuffix(".median")
        shift = float(second[key]) - float(median)
        low, high = (float(first[f"posterior.{name}.{q}"]) for q in ("p16", "p84"))
        found[f"shift.{name}"] = shift
        if high > low:
            found[f"shift.{name}.errors"] = shift / (0.5 * (high - low))
    return found


def _as_json(psf: dict[str, PsfTable]) -> str:
    return json.dumps({band: table.model_dump(exclude_none=True) for band, table in psf.items()})
