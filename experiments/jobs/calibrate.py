"""Run the calibrations of an experiment: coverage, ranks, a picture of both."""

import pathlib
import time
from collections.abc import Callable

import numpy as np

from starcensus.experiments.jobs.fit import prepare_folder, write_json
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import CalibrationCase, ConfigError, Experiment
from starcensus.experiments.schema.operators import build_selection
from starcensus.inference.calibration import (
    FALSE_ALARM,
    LEVELS,
    Calibration,
    CalibrationSettings,
    calibrate,
)
from starcensus.selection import GridSelection, with_acts_on


def run_case(
    experiment: Experiment,
    case: CalibrationCase,
    roots: list[pathlib.Path],
    settings: CalibrationSettings,
    progress: Callable[[str], None] = lambda _: None,
) -> Calibration:
    """One calibration of an experiment."""
    model = experiment.populations[case.population].model()
    box = model.population.box
    generator = build_selection(experiment.selections[case.generator], box, roots, None)
    selection = build_selection(experiment.selections[case.selection], box, roots, None)
    if case.acts_on is not None and case.acts_on != selection.acts_on:
        # On a grid an integral over recorded values costs no more than any other operator.
        nodes = [np.linspace(*limits, 61) for limits in (box.log_mass, box.log_age, box.a_v)]
        p_sel = np.clip(np.asarray(selection.on_tensor_grid(*nodes)), 0.0, 1.0)
        table = GridSelection.from_probabilities(nodes, p_sel, outside=selection.outside)
        selection = with_acts_on(table, case.acts_on)
    return calibrate(model, generator, case.sigma, selection, settings, progress)


def run_calibration(
    experiment: Experiment,
    text: str,
    out: pathlib.Path,
    roots: list[pathlib.Path],
    n: int,
    batch: int,
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, object]:
    """Run every case; write `summary.json`, `provenance.json`, and per case HDF5 and a figure."""
    from starcensus.experiments.report.calibration import calibration_figure  # loads Matplotlib

    if not experiment.calibration:
        raise ConfigError("the experiment has no [[calibration]]")
    prepare_folder(out)
    write_json(out / "provenance.json", provenance(text, experiment.seed, [], command_line()))
    settings = CalibrationSettings(n_catalogues=n, batch=batch, seed=experiment.seed)
    summary: dict[str, object] = {"n_catalogues": n}
    for case in experiment.calibration:
        started = time.perf_counter()
        result = run_case(
            experiment, case, roots, settings, lambda s, name=case.name: progress(f"{name}: {s}")
        )
        seconds = time.perf_counter() - started
        summary |= {f"{case.name}.{k}": v for k, v in result.describe().items()}
        summary[f"{case.name}.wall_s"] = round(seconds, 1)
        summary[f"{case.name}.as_expected"] = result.accepted() == case.passes
        result.save(out / f"{case.name}.h5")
        calibration_figure(out / f"{case.name}.png", result, case.name, LEVELS, FALSE_ALARM)
        write_json(out / "summary.json", summary)
    return summary
