"""What every job is: a file of settings, the files that it reads, and the files that it makes.

A job reads files, calls the library and writes files. Its identity, its provenance and whether it
is finished already follow from `settings` and `inputs` alone, by `starcensus.runs.Run`.
"""

import abc
import contextlib
import dataclasses
import functools
import importlib
import json
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

from starcensus.experiments.jobs._own import Own
from starcensus.experiments.schema._base import (
    KINDS,
    ConfigError,
    File,
    changed,
    file_class,
    load,
    parse,
    with_settings,
)
from starcensus.experiments.schema.paths import Sources
from starcensus.files import FileError, prepare_file, prepare_folder, read_json, write_json
from starcensus.registry import Registry
from starcensus.runs import Input, Run, RunError, locked
from starcensus.shards import Work

Summary = dict[str, Any]
# Keys of a file that change words of the results, and no number.
_WORDS = ("title", "description")


def _nothing(*_: object) -> None:
    pass


@dataclasses.dataclass(frozen=True)
class Show:
    """What a job says while it works.

    **Arguments:**

    - `stage`: takes a phrase. `count`: takes how many are done, and of how many.
    - `say`: takes a line that stays.
    """

    stage: Callable[[str], None] = _nothing
    count: Callable[[int, int], None] = _nothing
    say: Callable[[str], None] = _nothing


SILENT = Show()


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a job has to say of its results.

    **Arguments:**

    - `summary`: the numbers that the run stands for, for `summary.json`.
    - `provenance`: facts beyond those of every run. `record`: facts for `run.json`.
    """

    summary: Summary
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, eq=False)
class Job[F: File](abc.ABC):
    """A file of settings, to be run.

    **Arguments:**

    - `file`: the settings. `text`: as they were written.
    - `sources`: where the files are that they name.
    - `out`: folder for the results, or the file to write.
    - `work`: how the work is done; nothing of the result depends on it.
    - `own`: the user's modules.
    - `source`: the file, for messages.
    """

    file: F
    text: str
    sources: Sources
    out: pathlib.Path
    work: Work = dataclasses.field(default_factory=Work)
    own: tuple[Own, ...] = ()
    source: str = "the file"

    # Whether `out` is a file, beside which OUT.summary.json and so on lie.
    makes_file: ClassVar[bool] = False
    # Whether the run as a whole is locked and known again here; sharded runs see to it themselves.
    locks: ClassVar[bool] = True
    resumes: ClassVar[bool] = True

    @abc.abstractmethod
    def inputs(self) -> dict[str, Input]:
        """Role → file, of every file that the job reads."""

    @abc.abstractmethod
    def run(self, show: Show) -> Outcome:
        """Make the results; raises `ValueError` for what cannot be done."""

    @abc.abstractmethod
    def results(self) -> tuple[str, ...]:
        """Names of the files that it makes, in its folder."""

    def check(self) -> None:  # noqa: B027
        """Raises, before anything is written, for what must fail: a package that is missing."""

    def settings(self) -> dict[str, Any]:
        """What the numbers of the result depend on, JSON-ready."""
        return {k: v for k, v in self.file.settings().items() if k not in _WORDS}

    def words(self) -> dict[str, Any]:
        """Facts of the record on which no number depends."""
        return {"title": self.file.title, "description": self.file.description}

    @property
    def name(self) -> str:
        """What it is called when something is said of it."""
        return self.out.name

    @property
    def folder(self) -> pathlib.Path:
        """Where its files are."""
        return self.out.parent if self.makes_file else self.out

    def beside(self, name: str) -> pathlib.Path:
        """Path of `summary.json` and its like."""
        return self.out.with_suffix(f".{name}") if self.makes_file else self.out / name

    @functools.cached_property
    def identity(self) -> Run:
        """All that the result depends on."""
        settings = {k: v for k, v in self.settings().items() if k != "seed"}
        inputs = {**self.own_inputs(), **self.inputs()}
        return Run(self.file.kind, settings, inputs, self.file.seed)

    def own_inputs(self) -> dict[str, Input]:
        """The user's modules, for runs in shards too, which are known again by keys of theirs."""
        return {f"own.{each.name}": each.input() for each in self.own}

    def perform(self, show: Show = SILENT) -> Summary:
        """Do it, or find it done; returns the summary."""
        with self._named():
            self.check()
            run = self.identity
            (prepare_file if self.makes_file else prepare_folder)(self.out)
            with self._lock():
                record = self.beside("run.json")
                if self.resumes and run.finished(self.folder, *self.results(), record=record.name):
                    show.say(f"{self.name}: finished before")
                    return self._again(read_json(record))
                record.unlink(missing_ok=True)
                facts = {**run.provenance(), "file": self.text}
                write_json(self.beside("provenance.json"), facts)
                made = self.run(show)
                write_json(self.beside("provenance.json"), {**facts, **made.provenance})
                write_json(self.beside("summary.json"), made.summary)
                if self.resumes:
                    self._finish({**made.record, **self.words(), "summary": made.summary})
        return made.summary

    def _again(self, record: Mapping[str, Any]) -> Summary:
        """The summary of a finished run, whose words may have changed."""
        self._finish({**record, **self.words()})
        write_json(self.beside("summary.json"), record["summary"])
        return record["summary"]

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in what our checks say, unless they name another."""
        try:
            yield
        except (FileError, RunError):
            raise
        except ValueError as error:
            if self.source in str(error) or not is_ours(error):
                raise
            raise ConfigError(f"{self.source}: {error}") from error

    def _finish(self, facts: Mapping[str, Any]) -> None:
        record = self.beside("run.json").name
        self.identity.finish(self.folder, *self.results(), record=record, facts=facts)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        if not self.locks:
            yield
            return
        with locked(self.out):
            yield


def is_ours(error: Exception) -> bool:
    """Whether our own checks raised an error, and not another library by a bug."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get("__name__", "") if trace else ""
    return module.startswith(("starcensus.", "benchmarks."))


JOBS = Registry[Callable[..., Job[Any]]]("job")


def job_of(kind: str) -> Callable[..., Job[Any]]:
    """What makes the job of a kind of file; raises `ValueError` for a kind that has none."""
    if kind == "population":
        raise ConfigError("a population alone is nothing to run: `starcensus fit` takes it")
    if kind in KINDS:
        importlib.import_module(f"{__package__}.{kind}")
    return JOBS.find(kind)


def open_job(
    path: pathlib.Path,
    out: pathlib.Path,
    data: tuple[pathlib.Path, ...] = (),
    *,
    expected: tuple[str, ...] = (),
    make: Callable[..., Job[Any]] | None = None,
    change: Mapping[str, Any] | None = None,
    settings: tuple[str, ...] = (),
    **how: Any,
) -> Job[Any]:
    """The job of a file; raises as `load`.

    **Arguments:**

    - `data`: folders where files are looked for that are not beside this one.
    - `expected`: kinds of files that are of use; by default any.
    - `make`: makes the job; by default what the kind of the file says.
    - `change`: top-level values that take the place of the file's.
    - `settings`: KEY=VALUE that take the place of the file's, as `with_settings` reads them.
    - `how`: `work`, `own` and further fields of the job.
    """
    file, text = load(path, *(file_class(kind) for kind in expected), settings=settings)
    if change:
        file = changed(file, change, str(path))
    make = make or job_of(file.kind)
    return make(file, text, Sources.beside(path, data), out, source=str(path), **how)


def job_from(
    kind: str,
    tables: Mapping[str, Any],
    out: pathlib.Path,
    source: str,
    data: tuple[pathlib.Path, ...] = (),
    settings: tuple[str, ...] = (),
    **how: Any,
) -> Job[Any]:
    """The job of tables that stand for a file of a kind; paths start from the working folder.

    **Arguments:**

    - `source`: what they come from, for messages.
    - `data`: folders where files are looked for that are not in the working folder.
    - `settings`: KEY=VALUE that take the place of the tables', as `with_settings` reads them.
    - `how`: `work`, `own` and further fields of the job.
    """
    tables = with_settings(tables, settings)
    file = parse(tables, source, file_class(kind), of=kind)
    text = json.dumps(tables, indent=2, default=str)
    sources = Sources(pathlib.Path.cwd(), data)
    return job_of(kind)(file, text, sources, out, source=source, **how)
