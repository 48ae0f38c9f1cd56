"""`starcensus inject`: artificial cluster tests of a survey file."""

import importlib.util
import pathlib
import time
from collections.abc import Callable

import numpy as np

from starcensus.experiments.jobs.fit import prepare_folder, write_json
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import ConfigError
from starcensus.experiments.schema.survey import SurveyBuild, load_survey, require_images
from starcensus.files import replacing
from starcensus.selection.injection import InjectionTable, run_injections
from starcensus.shards import Work


def run_inject(
    path: pathlib.Path,
    out: pathlib.Path,
    *,
    work: Work = Work(),
    parquet: bool = False,
    progress: Callable[[int, int], None] = lambda done, n: None,
) -> dict[str, object]:
    """Run the test of a survey file into the table `out`; summary and provenance go beside it.

    For `table.h5` they are `table.summary.json` and `table.provenance.json`.

    Raises `ConfigError` and `RunError`, naming the file and the key.
    """
    require_images()
    if parquet and importlib.util.find_spec("pyarrow") is None:
        raise ConfigError("--parquet needs pyarrow: `pip install 'starcensus[parquet]'`")
    config, text = load_survey(path)
    prepare_folder(out.parent)
    folder = path.resolve().parent
    start = time.perf_counter()
    build = SurveyBuild(str(path), str(folder), text)
    try:
        run = run_injections(build, out, work, progress)
    except RuntimeError as error:
        # What a pipeline says of a frame that it cannot take.
        if type(error) is not RuntimeError:
            raise
        raise ConfigError(f"{path}: {error}") from error
    wall = time.perf_counter() - start
    table = InjectionTable.load(out)
    if parquet:
        write_parquet(table, out.with_suffix(".parquet"))
    done = run.n - run.n_resumed
    rows = np.flatnonzero(table.repeat == table.repeat.max())
    summary: dict[str, object] = {
        "n_injected": len(table),
        "n_frames": run.n,
        "n_frames_done_before": run.n_resumed,
        "n_clusters": len(rows),
        "n_detected": int(table.detected.sum()),
        "n_catalogued": int(table.catalogued.sum()),
        "n_already_there": int(table.already_there.sum()),
        "catalogued_share": float(table.catalogued.mean()),
        "wall_s": wall,
        "injections_per_s": len(table) * done / run.n / wall,
    }
    facts = provenance(text, config.plan.seed, [path, *config.inputs(folder)], command_line())
    write_json(out.with_suffix(".provenance.json"), {**facts, "test": dict(table.meta)})
    write_json(out.with_suffix(".summary.json"), summary)
    return summary


def write_parquet(table: InjectionTable, path: pathlib.Path) -> None:
    """The columns of a table as Parquet; magnitudes as `true_mags_BAND` and so on, cuts `cut_NAME`.

    Raises `ImportError` without pyarrow.
    """
    import pyarrow
    import pyarrow.parquet

    columns: dict[str, np.ndarray] = {}
    for name, values in table.columns().items():
        if values.ndim == 2:
            columns |= {f"{name}_{band}": values[:, i] for i, band in enumerate(table.bands)}
        else:
            columns[name.replace("cuts/", "cut_")] = values
    made = pyarrow.table({name: pyarrow.array(values) for name, values in columns.items()})
    with replacing(path) as temporary:
        pyarrow.parquet.write_table(made, temporary)
