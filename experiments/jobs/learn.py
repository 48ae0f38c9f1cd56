"""Runs of `starcensus selection train` and `evaluate`: from injection tables to operators."""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
import pydantic
from jaxtyping import Float, Int, UInt64

from starcensus.experiments.jobs.fit import prepare_folder, write_json
from starcensus.experiments.jobs.library import FlatConfig, MassRadiusConfig
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import ConfigError, Strict, _only_fields
from starcensus.experiments.schema.survey import parse, read_text
from starcensus.networks import TrainSettings
from starcensus.selection import (
    NetworkSelection,
    PhotometricNetwork,
    load_selection,
    save_selection,
)
from starcensus.selection.injection import InjectionTable
from starcensus.selection.learning import (
    Inputs,
    LearnSettings,
    TestSet,
    features,
    learn,
    log_loss,
    monotonic_breaks,
    pool_weight,
    reliability,
)
from starcensus.selection.learning.learn import predict
from starcensus.selection.learning.validate import MIN_ROWS, NEIGHBOURS

Progress = Callable[[str], None]
# Of a table with a share f of the training rows, all are missed with probability (1 - f)^256.
_ROWS_KEPT = 256


class LearningConfig(Strict):
    """A learning file.

    - `tables`: injection tables, relative to the file. `search`: as in `LearnSettings`.
    - `distance_modulus`: where the tables do not say it.
    - `weighted`: weight the rows by 1 / `inclusion`, which undoes a choice of clusters. Networks
      that take what the pilot took need it not, and learn more without.
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


def load_learning(path: pathlib.Path) -> tuple[LearningConfig, str]:
    """The checked learning file and its text; `ConfigError` naming file, key and value."""
    text = read_text(path, "learning")
    return parse(LearningConfig, text, str(path)), text


def load_tables(paths: list[pathlib.Path]) -> InjectionTable:
    """Injection tables, joined; `ConfigError` for one that is not there."""
    return InjectionTable.concatenate(*_load_each(paths))


def _load_each(paths: list[pathlib.Path]) -> list[InjectionTable]:
    for path in paths:
        if not path.is_file():
            raise ConfigError(f"{path}: there is no injection table of this name")
    return [InjectionTable.load(path) for path in paths]


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
    tables = _load_each(paths)
    table = InjectionTable.concatenate(*tables)
    weight = _weight(config, paths, tables, table)
    _refuse_few(config.train.validation, table)
    began = time.perf_counter()

    def show(member: int, epoch: int, train: float, validation: float) -> None:
        progress(
            f"network {member + 1} of {config.train.n_members}, epoch {epoch + 1}: loss "
            f"{train:.4f}, held out {validation:.4f}"
        )

    learned = learn(
        table,
        LearnSettings(config.inputs, config.train, config.search),
        radius=None if config.radius is None else config.radius.radius(),
        distance_modulus=config.distance_modulus,
        weight=weight,
        progress=show,
    )
    facts = provenance(text, config.train.seed, paths, command_line())
    kept = {**learned.provenance(), "inputs": facts["inputs"], "version": facts["version"]}
    kept |= {"injections": dict(table.meta), "title": config.title}
    kept["tables_sha256"] = [each.sha256() for each in tables]
    kept["rows"] = " ".join(f"{mark:016x}" for mark in np.sort(_row_marks(table))[:_ROWS_KEPT])
    save_selection(learned.operator, out, kept)
    write_json(out.with_suffix(".provenance.json"), {**facts, **kept})
    # After the operator is written, for a check may find too few rows in every bin.
    label = table.catalogued[learned.held_out]
    of_held_out = None if weight is None else weight[learned.held_out]
    check = reliability(learned.p, label, weight=of_held_out)
    summary: dict[str, object] = {
        "n_injections": len(table),
        "n_catalogued": int(table.catalogued.sum()),
        "held_out.n": len(label),
        "held_out.log_loss": log_loss(learned.p, label, of_held_out),
        "held_out.reliability_p_value": check.p_value,
        "held_out.largest_z": float(np.abs(check.z).max()),
        "final_train_loss": float(learned.trained.train_loss[:, -1].mean()),
        "final_validation_loss": float(learned.trained.validation_loss[:, -1].mean()),
        "max_rate": learned.settings.train.max_rate,
        "weight_decay": learned.settings.train.weight_decay,
        "wall_s": time.perf_counter() - began,
    }
    write_json(out.with_suffix(".summary.json"), summary)
    return summary


def _refuse_few(share: float, table: InjectionTable) -> None:
    """`ConfigError` where so few rows are held out that they cannot say anything."""
    n = int(table.catalogued.sum())
    held_out = round(share * n) + round(share * (len(table) - n))
    if held_out < MIN_ROWS:
        raise ConfigError(
            f"validation = {share:g} holds out {held_out} of {len(table)} injections; expected "
            f"{MIN_ROWS} or more, to check the probabilities with: inject more clusters or hold "
            "out a larger share"
        )


def _weight(
    config: LearningConfig,
    paths: list[pathlib.Path],
    tables: list[InjectionTable],
    table: InjectionTable,
) -> Float[np.ndarray, "n"] | None:
    """Weights that undo a choice; `ConfigError` for a choice that has to be undone and is not."""
    if config.weighted:
        if table.inclusion is None:
            raise ConfigError(
                "weighted = true, and no table has the column inclusion: its clusters were not "
                "chosen; leave weighted out"
            )
        weight = pool_weight(table)
        return None if weight is None else weight / weight.mean()
    wanted = config.inputs
    for path, each in zip(paths, tables, strict=True):
        pilots = [choice.get("inputs") for choice in each.choices]
        if None in pilots or (not pilots and each.inclusion is not None):
            raise ConfigError(
                f"{path}: its clusters were chosen (column inclusion), and its meta does not say "
                "by which inputs; expected the key choice, as `starcensus inject` writes it. "
                "Networks that take the pilot's inputs need no weights, but whether these do is "
                "unknown: list the tables as they were written, or set weighted = true"
            )
        for pilot in (Inputs(**chosen) for chosen in pilots if chosen is not None):
            if pilot.kind != wanted.kind or pilot.r_eff > wanted.r_eff:
                raise ConfigError(
                    f"{path}: its clusters were chosen by a pilot of {_said(pilot)}, and these "
                    f"networks take {_said(wanted)}; of clusters with the same inputs they are not "
                    "a fair sample. Take the pilot's inputs, or set weighted = true"
                )
    return None


def _said(inputs: Inputs) -> str:
    of = "magnitudes" if inputs.kind == "photometric" else "mass, age and A_V"
    return f"{of} and r_eff" if inputs.r_eff else of


def run_evaluation(
    operator_path: pathlib.Path,
    tables: list[pathlib.Path],
    out: pathlib.Path,
    neighbours: tuple[int, ...] = NEIGHBOURS,
) -> dict[str, object]:
    """Compare an operator with injections that it was not trained on; writes summary and figures.

    Tables with repeats give the network's scores against p_true (`Scores`), the noise of the
    repeats and a yardstick, `TestSet.neighbours`; others the log-loss and the reliability alone.
    The file also has the scores of each count of neighbours, `neighbours.by_k`.

    Raises `ConfigError` for an operator that no network is in, or for a table that it was trained
    on, in whole or in part.
    """
    loaded = load_selection(operator_path)
    if not isinstance(loaded, NetworkSelection | PhotometricNetwork):
        raise ConfigError(
            f"{operator_path}: holds a {type(loaded).__name__}; expected learned networks"
        )
    if isinstance(loaded, PhotometricNetwork):
        loaded = loaded.simulated()
    each = _load_each(tables)
    table = InjectionTable.concatenate(*each)
    if isinstance(loaded, PhotometricNetwork) and loaded.bands != table.bands:
        raise ConfigError(
            f"the operator's bands are {', '.join(loaded.bands)}, those of the table "
            f"{', '.join(table.bands)}"
        )
    _refuse_own_tables(operator_path, tables, each, table)
    prepare_folder(out)
    test = TestSet.of(table) if table.repeat.max() > 0 else None
    # Repeats of a cluster share its light, so only one of each counts as an independent outcome.
    once = table if test is None else test.first
    p = predict(loaded, once)
    every = p if test is None else predict(loaded, table)
    check = reliability(every, table.catalogued, group=None if test is None else table.cluster)
    summary: dict[str, object] = {
        "n_injections": len(table),
        "log_loss": log_loss(p, once.catalogued),
        "reliability_p_value": check.p_value,
        "reliability_largest_miss": check.largest_miss,
    }
    breaks = monotonic_breaks(loaded, once)
    summary |= {f"monotonic.{name}": value for name, value in breaks.items()}
    from starcensus.experiments.report.learned import evaluation_figures  # loads Matplotlib

    written = dict[str, object]()
    if test is not None:
        # p_true is over the places of the repeats, each with its own sky.
        at = _means(table.cluster, every)
        x = features(test.first, operator_inputs(loaded))
        near = test.neighbours(x[:, : _n_informative(loaded)], neighbours)
        summary |= {"n_clusters": len(test), "n_repeats": test.n_repeats, "neighbours.k": near.k}
        for name, scores in (("error", test.scores(at)), ("neighbours", near.scores)):
            summary |= {f"{name}.{key}": v for key, v in dataclasses.asdict(scores).items()}
        noise = zip((50, 90, 95), test.noise_percentiles(), strict=True)
        summary |= {f"repeat_noise.p{q}": float(v) for q, v in noise}
        by_k = [{"k": k, **dataclasses.asdict(scores)} for k, scores in near.by_k.items()]
        written["neighbours.by_k"] = by_k
        evaluation_figures(out, check, test, at)
    else:
        evaluation_figures(out, check, None, p)
    write_json(out / "summary.json", summary | written)
    files = [operator_path, *tables]
    write_json(out / "provenance.json", provenance("", 0, files, command_line()))
    return summary


def _means(group: Int[np.ndarray, "n"], values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "m"]:
    """Mean value of each group, groups in ascending order."""
    _, index, counts = np.unique(group, return_inverse=True, return_counts=True)
    return np.bincount(index, values) / counts


def _refuse_own_tables(
    operator_path: pathlib.Path,
    paths: list[pathlib.Path],
    tables: list[InjectionTable],
    joined: InjectionTable,
) -> None:
    """`ConfigError` for tables, alone or joined, whole or in part, that it was trained on."""
    from starcensus.selection import selection_provenance

    facts: dict[str, Any] = selection_provenance(operator_path)
    seen = {*facts.get("tables_sha256", ()), facts.get("injection_table_sha256")}
    rows = np.array([int(mark, 16) for mark in facts.get("rows", "").split()], np.uint64)
    own = [
        str(path)
        for path, each in zip(paths, tables, strict=True)
        if each.sha256() in seen or np.isin(rows, _row_marks(each)).any()
    ]
    if own or joined.sha256() in seen:
        raise ConfigError(
            f"{operator_path} was trained on {', '.join(own) or 'these tables'}, or on a part of "
            "it; evaluate it on injections that it has not seen"
        )


def _row_marks(table: InjectionTable) -> UInt64[np.ndarray, "n"]:
    """A number for each injection, by what was put in and where, whatever table it is in.

    The smallest of a table's are a fair sample of its rows, and the same one however they are
    joined, ordered or selected.
    """
    marks = np.zeros(len(table), np.uint64)
    for values in (table.log_mass, table.log_age, table.a_v, table.x, table.y):
        marks ^= np.ascontiguousarray(values, np.float64).view(np.uint64)
        # Steps of splitmix64, which spread every bit over all.
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            marks = (marks ^ (marks >> np.uint64(shift))) * np.uint64(factor)
        marks ^= marks >> np.uint64(31)
    return marks


def operator_inputs(operator: NetworkSelection | PhotometricNetwork) -> Inputs:
    """What an operator's networks were trained on."""
    names = () if operator.nuisance is None else operator.nuisance.names
    return Inputs(
        "photometric" if isinstance(operator, PhotometricNetwork) else "physical",
        r_eff="log_r_eff_pc" in names,
        background="log_background" in names,
        masked=isinstance(operator, PhotometricNetwork) and operator.masked,
    )


def _n_informative(operator: NetworkSelection | PhotometricNetwork) -> int:
    """Columns of the features that differ between clusters: p_true averages over the sky."""
    first = len(operator.bands) if isinstance(operator, PhotometricNetwork) else 3
    names = () if operator.nuisance is None else operator.nuisance.names
    return first + ("log_r_eff_pc" in names)
