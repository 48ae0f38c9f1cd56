"""Runs of `starcensus selection train` and `evaluate`: from injection tables to operators."""

import pathlib
import time
from collections.abc import Callable
from typing import Annotated

import pydantic

from starcensus.experiments.jobs.fit import prepare_folder, write_json
from starcensus.experiments.jobs.library import FlatConfig, MassRadiusConfig
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import Strict, _only_fields
from starcensus.experiments.schema.survey import parse, read_text
from starcensus.networks import TrainSettings
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import NEIGHBOURS, Inputs, LearnSettings, evaluate, learn

Progress = Callable[[str], None]


class LearningConfig(Strict):
    """A learning file.

    - `tables`: injection tables, relative to the file.
    - `inputs`, `train`, `search`, `weighted`: as in `LearnSettings`.
    - `distance_modulus`: where the tables do not say it.
    - `[radius]`: as in library files; distribution to average over, by default the tables'.
    """

    title: str = ""
    tables: Annotated[tuple[str, ...], pydantic.Field(min_length=1)]
    inputs: Annotated[Inputs, _only_fields(Inputs)] = Inputs()
    train: Annotated[TrainSettings, _only_fields(TrainSettings)] = TrainSettings()
    search: bool = False
    distance_modulus: float | None = None
    weighted: bool = False
    radius: (
        Annotated[FlatConfig | MassRadiusConfig, pydantic.Field(discriminator="kind")] | None
    ) = None

    @property
    def settings(self) -> LearnSettings:
        return LearnSettings(self.inputs, self.train, self.search, self.weighted)


def load_learning(path: pathlib.Path) -> tuple[LearningConfig, str]:
    """The checked learning file and its text; `ConfigError` naming file, key and value."""
    text = read_text(path, "learning")
    return parse(LearningConfig, text, str(path)), text


def load_tables(paths: list[pathlib.Path]) -> dict[str, InjectionTable]:
    """Injection tables by path; `FileError` for one that cannot be read."""
    return {str(path): InjectionTable.load(path) for path in paths}


def run_training(
    path: pathlib.Path, out: pathlib.Path, progress: Progress = lambda _: None
) -> dict[str, object]:
    """Train the operator of a learning file and write it to `out`, a summary beside it.

    Raises `ConfigError`, and `ValueError` for tables that cannot be learned from.
    """
    config, text = load_learning(path)
    paths = [path.resolve().parent / name for name in config.tables]
    prepare_folder(out.parent)
    progress("reading tables")
    tables = load_tables(paths)
    began = time.perf_counter()

    def show(member: int, epoch: int, train: float, validation: float) -> None:
        progress(
            f"network {member + 1} of {config.train.n_members}, epoch {epoch + 1}: loss "
            f"{train:.4f}, held out {validation:.4f}"
        )

    learned = learn(
        tables,
        config.settings,
        radius=None if config.radius is None else config.radius.radius(),
        distance_modulus=config.distance_modulus,
        progress=show,
    )
    facts = provenance(text, config.train.seed, paths, command_line())
    kept = {name: facts[name] for name in ("inputs", "version")} | {"title": config.title}
    learned.save(out, kept)
    write_json(out.with_suffix(".provenance.json"), {**facts, **learned.provenance(), **kept})
    # After the operator is written, for a check may find too few rows in every bin.
    summary = {**learned.summary(), "wall_s": time.perf_counter() - began}
    write_json(out.with_suffix(".summary.json"), summary)
    return summary


def run_evaluation(
    operator: pathlib.Path,
    tables: list[pathlib.Path],
    out: pathlib.Path,
    neighbours: tuple[int, ...] = NEIGHBOURS,
) -> dict[str, object]:
    """Compare an operator with injections, see `evaluate`; writes summary and figures.

    The file also has the scores of each count of neighbours, `neighbours.by_k`. Raises as
    `evaluate`, and `ConfigError` where the folder cannot be written.
    """
    from starcensus.experiments.report.learned import evaluation_figures  # loads Matplotlib

    found = evaluate(operator, load_tables(tables), neighbours)
    prepare_folder(out)
    test = None if found.repeats is None else found.repeats.test
    evaluation_figures(out, found.reliability, test, found.p)
    summary: dict[str, object] = {**found.summary()}
    by_k = {"neighbours.by_k": found.by_k()} if found.repeats is not None else {}
    write_json(out / "summary.json", summary | by_k)
    files = [operator, *tables]
    write_json(out / "provenance.json", provenance("", 0, files, command_line()))
    return summary
