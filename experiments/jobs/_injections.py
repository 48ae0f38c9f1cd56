"""Observation models that a run learns itself, from injections that are there or that it makes."""

from typing import Any

from starcensus.experiments.jobs._job import Job, Show, open_job
from starcensus.experiments.jobs._seen import photometry_of_tables
from starcensus.experiments.jobs.observation import ObservationJob
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.fit import CatalogueTable
from starcensus.experiments.schema.observation import ObservationFile
from starcensus.experiments.schema.photometry import ObservationTable, PhotometryTable
from starcensus.files import prepare_folder
from starcensus.runs import Input
from starcensus.selection.injection import InjectionTable

_TABLE, _MODEL = "injections.h5", "observation.h5"


def injections_inputs(table: ObservationTable, job: Job[Any]) -> dict[str, Input]:
    """The files of the injections: tables, or a survey's file with all that it names."""
    if table.kind != "injections":
        return {}
    if table.survey is None:
        tables = _learning(table, job, table.tables).inputs()
        return {f"observation.{role}": item for role, item in tables.items()}
    file = job.sources.file(table.survey, "observation.survey")
    found = {f"observation.survey.{k}": v for k, v in _injecting(table, job).inputs().items()}
    return {"observation.survey": Input.of(file), **found}


def with_model(
    table: ObservationTable,
    catalogue: CatalogueTable,
    photometry: PhotometryTable,
    job: Job[Any],
    show: Show,
) -> ObservationTable:
    """The table, with the file of a model where it asks for one to be learned.

    Injections and model are results of `job`, beside its others, and known again: an interrupted
    run continues where it stopped. What `catalogue` and `photometry` cannot be raises before hours
    of work.
    """
    if table.kind != "injections":
        return table
    _check_data(table, catalogue, photometry, job)
    tables = table.tables
    folder = prepare_folder(job.out)
    if table.survey is not None:
        _injecting(table, job).perform(show)
        tables = (str((folder / _TABLE).resolve()),)
    _learning(table, job, tables).perform(show)
    path = str((folder / _MODEL).resolve())
    changes = {"kind": "file", "path": path, "tables": (), "survey": None}
    return table.model_copy(update=changes)


def _check_data(
    table: ObservationTable,
    catalogue: CatalogueTable,
    photometry: PhotometryTable,
    job: Job[Any],
) -> None:
    """Raises for a catalogue without magnitudes, or of other bands than injection tables have."""
    found = photometry_of_tables(catalogue, photometry, job.sources)[1]
    for path in table.tables:
        bands = InjectionTable.load(job.sources.file(path, "injection table")).bands
        if bands != found.bands:
            raise ConfigError(
                f"observation.tables: {path} is of {', '.join(bands)}, and the data of "
                f"{', '.join(found.bands)}; expected the same, in one order: name them in "
                "photometry.bands, or inject in those of the catalogue"
            )


def _injecting(table: ObservationTable, job: Job[Any]) -> Job[Any]:
    path = job.sources.file(str(table.survey), "observation.survey")
    made = open_job(
        path,
        job.out / _TABLE,
        job.sources.data,
        expected=("survey",),
        work=job.work,
        own=job.own,
    )
    if made.file.library is None:
        raise ConfigError(
            f"observation.survey: {path} has no [library], so that it injects nothing; expected "
            "the file of artificial cluster tests (`starcensus inject`)"
        )
    return made


def _learning(table: ObservationTable, job: Job[Any], tables: tuple[str, ...]) -> ObservationJob:
    file = ObservationFile(
        kind="observation",
        title=f"What the survey of {job.file.title or job.name} measures",
        seed=job.file.seed,
        tables=tables,
        train=table.train,
    )
    return ObservationJob(
        file, job.text, job.sources, job.out / _MODEL, job.work, job.own, job.source
    )
