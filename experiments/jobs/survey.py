"""A survey's catalogue, and artificial cluster tests of its pipeline."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from starcensus.bands import reference_band
from starcensus.experiments.jobs._images import Survey, SurveyBuild
from starcensus.experiments.jobs._job import JOBS, Job, Outcome, Show
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.survey import KnownTable, SurveyFile
from starcensus.extras import need
from starcensus.files import FileError, replacing
from starcensus.runs import Input
from starcensus.selection.catalogue import Catalogue, write_catalogue
from starcensus.selection.catalogue.open_table import load
from starcensus.selection.injection import InjectionTable, KnownClusters, run_injections
from starcensus.selection.pipeline import (
    CnnPipeline,
    CnnSettings,
    Detections,
    Pipeline,
    completed,
    run_pipeline,
)
from starcensus.simulate import Frame
from starcensus.theta import AXES


def _check_extras(file: SurveyFile) -> None:
    """Raises `MissingExtraError` before hours of work."""
    need("galsim", "sep", purpose="images")
    if file.classifier is not None:
        need("torch", purpose="[classifier]")


@dataclasses.dataclass(frozen=True, eq=False)
class DetectJob(Job[SurveyFile]):
    """`catalogue.ecsv`, and `posteriors.h5` of a network; with [known] also `known.ecsv`, the
    galaxy's own clusters of it."""

    @functools.cached_property
    def survey(self) -> Survey:
        """The survey without what injections need."""
        bare = self.file.model_copy(update={"library": None, "stars": None})
        return Survey(bare, self.sources, self.own)

    def inputs(self) -> dict[str, Input]:
        found = self.survey.inputs()
        if self.file.known is not None:
            found["known"] = Input.of(self._truth(self.file.known))
        return found

    def settings(self) -> dict[str, Any]:
        of_injections = "library", "plan", "stars"
        return {k: v for k, v in super().settings().items() if k not in of_injections}

    def results(self) -> tuple[str, ...]:
        settings = self.file.pipeline.settings
        grids = isinstance(settings, CnnSettings) and settings.posteriors
        return (
            "catalogue.ecsv",
            *(("posteriors.h5",) if grids else ()),
            *(("known.ecsv",) if self.file.known is not None else ()),
        )

    def check(self) -> None:
        _check_extras(self.file)

    def run(self, show: Show) -> Outcome:
        start = time.perf_counter()
        show.stage("reading the images")
        frame = self.survey.frame
        for note in frame.notes:
            show.say(note)
        show.stage("PSFs")
        pipeline = self.survey.pipeline
        show.stage("detection and photometry")
        found = self._find(pipeline, frame)
        own = None if self.file.known is None else self._known(self.file.known, found)
        found.write(self.out / "catalogue.ecsv")
        counts = found.counts()
        summary: dict[str, Any] = {
            "n_detected": counts.pop("detected"),
            **{f"n_after.{name}": n for name, n in counts.items()},
            "n_catalogued": int(found.catalogued.sum()),
            "n_bad_pixels": int(frame.bad.sum()),
            "distance_modulus": frame.distance_modulus,
            "pixel_scale_arcsec": frame.pixel_scale_arcsec,
            "wall_s": time.perf_counter() - start,
        }
        if own is not None:
            summary["n_known_catalogued"] = len(own)
        return Outcome(summary, {"pipeline": dict(found.pipeline), "notes": list(frame.notes)})

    def _find(self, pipeline: Pipeline, frame: Frame) -> Detections:
        """The catalogue; a network's posteriors are written beside it."""
        if not isinstance(pipeline, CnnPipeline):
            return run_pipeline(pipeline, frame, self.survey.psfs)
        found, posteriors = pipeline.find(frame)
        if pipeline.settings.posteriors:
            posteriors.save(self.out / "posteriors.h5")
        return completed(found, pipeline, frame, self.survey.psfs)

    def _truth(self, known: KnownTable) -> pathlib.Path:
        folder = self.sources.place(known.galaxy, "known.galaxy")
        if not (folder / "clusters.ecsv").exists():
            raise ConfigError(
                f"{folder} has no clusters.ecsv; expected a galaxy with clusters of its own "
                "that `starcensus simulate galaxy` wrote"
            )
        return folder / "clusters.ecsv"

    def _known(self, known: KnownTable, found: Detections) -> Catalogue:
        path = self._truth(known)
        frame = self.survey.frame
        clusters = read_known(path, frame)
        own = clusters.catalogue(
            found, frame, self.survey.templates, known.sigma, self.file.seed, path.parent.name
        )
        write_catalogue(own, self.out / "known.ecsv")
        return own


@dataclasses.dataclass(frozen=True, eq=False)
class InjectJob(Job[SurveyFile]):
    """An injection table (.h5), made in shards: an interrupted run continues where it stopped.

    **Arguments:**

    - `parquet`: write the table as Parquet too.
    - `psf`: JSON of the [psf] that `file` has instead of `text`'s; empty for the same.
    """

    parquet: bool = False
    psf: str = ""

    makes_file: ClassVar[bool] = True
    locks: ClassVar[bool] = False
    resumes: ClassVar[bool] = False

    def inputs(self) -> dict[str, Input]:
        return Survey(self.file, self.sources).inputs()

    def results(self) -> tuple[str, ...]:
        return (self.out.name,)

    def check(self) -> None:
        _check_extras(self.file)
        if self.parquet:
            need("pyarrow", purpose="--parquet")
        if self.file.library is None:
            raise ConfigError(
                f"{self.source}: [library] is missing; expected the path of a cluster library (.h5)"
            )

    def run(self, show: Show) -> Outcome:
        start = time.perf_counter()
        build = SurveyBuild(self.source, self.text, self.sources, self.own, self.psf)
        try:
            done = run_injections(build, self.out, self.work, show.count, self.own_inputs())
        except RuntimeError as error:
            # What a pipeline says of a frame that it cannot take.
            if type(error) is not RuntimeError:
                raise
            raise ConfigError(f"{self.source}: {error}") from error
        wall = time.perf_counter() - start
        table = InjectionTable.load(self.out)
        if self.parquet:
            write_parquet(table, self.out.with_suffix(".parquet"))
        if done.n_resumed == done.n:
            show.say(f"{self.name}: finished before")
        for note in table.meta.get("notes", ()):
            show.say(note)
        if table.place_weight is not None:
            show.say(
                f"injections kept one another out of crowded places and have weights: they count "
                f"as {table.n_effective:,.0f} of {len(table):,}; more would with fewer in a frame "
                "(plan.per_frame) or less apart (plan.min_separation_pix)"
            )
        summary = {
            "n_injected": len(table),
            "n_effective": table.n_effective,
            "n_frames": done.n,
            "n_frames_done_before": done.n_resumed,
            "n_clusters": int((table.repeat == table.repeat.max()).sum()),
            "n_detected": int(table.detected.sum()),
            "n_catalogued": int(table.catalogued.sum()),
            "n_already_there": int(table.already_there.sum()),
            "catalogued_share": float(table.catalogued.mean()),
            "wall_s": wall,
            "injections_per_s": len(table) * (done.n - done.n_resumed) / done.n / wall,
        }
        return Outcome(summary, {"test": dict(table.meta)})


@JOBS.register("survey")
def survey_job(file: SurveyFile, *args: Any, **options: Any) -> Job[SurveyFile]:
    """The test of a survey that has a [library], else its catalogue."""
    return (DetectJob if file.library is None else InjectJob)(file, *args, **options)


def read_known(path: pathlib.Path, frame: Frame) -> KnownClusters:
    """The clusters of a synthetic galaxy, from its `clusters.ecsv`; raises `FileError`."""
    loaded = load(path)
    table = loaded.table
    band = reference_band(frame.bands)

    def values(name: str) -> np.ndarray:
        if name not in table.colnames:
            raise FileError(f"{path}: has no column {name}; expected clusters.ecsv of a galaxy")
        column: Any = table[name]
        numbers = column.dtype.kind in "iuf" and column.ndim == 1
        found = np.ma.filled(np.ma.asarray(column).astype(float), np.nan) if numbers else None
        if found is None or not np.isfinite(found).all():
            row = 0 if found is None or not len(found) else int(np.argmin(np.isfinite(found)))
            where = f"{loaded.word} {loaded.numbers[row]}" if len(table) else "no rows"
            raise FileError(f"{path}: {where}, column {name}: expected a finite number")
        return found

    truth = dict(table.meta or {}).get("truth")
    if not isinstance(truth, Mapping):
        raise FileError(f"{path}: does not say the galaxy's truth; expected clusters.ecsv of one")
    return KnownClusters(
        values("x"),
        values("y"),
        values(f"mag_{band}"),
        values("r_eff_pc"),
        np.stack([values(name) for name in AXES], axis=1),
        dict(truth),
    )


def write_parquet(table: InjectionTable, path: pathlib.Path) -> None:
    """The columns of a table as Parquet; magnitudes as `true_mags_BAND` and so on, cuts `cut_NAME`,
    and the pipeline's further columns by their own names.

    Raises `ImportError` without pyarrow.
    """
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, np.ndarray] = {}
    for name, values in table.columns().items():
        if values.ndim == 2:
            columns |= {f"{name}_{band}": values[:, i] for i, band in enumerate(table.bands)}
        else:
            columns[name.replace("cuts/", "cut_").replace("measured/", "")] = values
    made = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(made, temporary)
