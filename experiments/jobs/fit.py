"""Run an experiment: every fit, its files, its report.

The main fit writes into the output folder itself, the others into sub-folders of their names.
A fit whose files are complete and whose inputs are unchanged is not run again, so an interrupted
experiment continues where it stopped.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Callable

import jax
import numpy as np

from starcensus import files
from starcensus.experiments.jobs.provenance import checksum, command_line, provenance
from starcensus.experiments.schema.fit import ConfigError, Experiment, FitConfig
from starcensus.experiments.schema.operators import build_selection, find_file
from starcensus.forward.mock import mock_catalogue
from starcensus.inference import (
    ErrorSettings,
    FitSettings,
    PopulationModel,
    Sampler,
    fit,
)
from starcensus.selection import AbstractSelection, save_selection
from starcensus.selection.catalogue import (
    Catalogue,
    apply_cuts,
    cuts_of,
    read_catalogue,
    write_catalogue,
)

Progress = Callable[[str], None]


def run_experiment(
    experiment: Experiment,
    text: str,
    out: pathlib.Path,
    roots: list[pathlib.Path],
    progress: Progress = lambda _: None,
) -> dict[str, object]:
    """Run all fits of an experiment and write the folder `out`; returns its summary.

    Raises `ConfigError` when the folder cannot be written or a file is missing, and what the
    readers and the fit raise.
    """
    prepare_folder(out)
    if experiment.catalogue is None:
        raise ConfigError("the experiment has no [catalogue]; use `starcensus mock` to make one")
    path = find_file(experiment.catalogue.path, roots, "catalogue")
    progress(f"reading {path.name}")
    options = dict(experiment.catalogue.options)
    if "column_map" in options:
        options["column_map"] = find_file(str(options["column_map"]), roots, "column map")
    catalogue = read_catalogue(path, experiment.catalogue.format, **options)
    catalogue = apply_cuts(catalogue, cuts_of(experiment.catalogue.cuts))
    facts = provenance(text, experiment.seed, [path], command_line())
    key = hashlib.sha256(f"{text}{checksum(path)}{facts['version']}".encode()).hexdigest()
    summaries: list[dict[str, object]] = []
    samplers: dict[str, Sampler] = {}
    for position, config in enumerate(experiment.fits):
        folder = out if position == 0 else out / config.name
        folder.mkdir(exist_ok=True)
        write_json(folder / "provenance.json", {**facts, "fit": config.name})
        done = _finished(folder, key)
        if done is None:
            done = _run_one(experiment, config, catalogue, roots, folder, key, progress, samplers)
        else:
            progress(f"{config.name}: finished before")
        summaries.append(done)
    truth = catalogue.meta.get("truth")
    known = {f"truth.{k}": v for k, v in truth.items()} if isinstance(truth, dict) else {}
    summary = {**summaries[0], **known}
    for config, other in zip(experiment.fits[1:], summaries[1:], strict=True):
        summary |= {f"{config.name}.{k}": v for k, v in other.items() if k != "verdict"}
        write_json(out / config.name / "summary.json", {**other, **known})
    write_json(out / "summary.json", summary)
    progress("writing the report")
    from starcensus.experiments.report import write_report  # loads Matplotlib

    for config in experiment.fits[1:]:
        write_report(out / config.name)
    write_report(out)
    return summary


def _run_one(
    experiment: Experiment,
    config: FitConfig,
    catalogue: Catalogue,
    roots: list[pathlib.Path],
    folder: pathlib.Path,
    key: str,
    progress: Progress,
    samplers: dict[str, Sampler],
) -> dict[str, object]:
    model = experiment.populations[config.population].model()
    selection_config = experiment.selections[config.selection]
    selection = build_selection(selection_config, model.population.box, roots, catalogue)
    errors = config.errors or experiment.errors
    settings = FitSettings(
        errors=dataclasses.replace(errors, seed=experiment.seed),
        sampler=dataclasses.replace(experiment.sampler, seed=experiment.seed),
        quadrature=experiment.quadrature,
        bins=experiment.bins,
        thresholds=experiment.thresholds,
    )
    result = fit(
        catalogue,
        selection,
        model,
        settings,
        progress=lambda stage: progress(f"{config.name}: {stage}"),
        sampler=samplers.get(config.population),
    )
    samplers[config.population] = result.sampler
    result.save(folder)
    save_selection(selection, folder / "selection.h5")
    is_main = config is experiment.fits[0]
    write_json(
        folder / "run.json",
        {
            "key": key,
            "title": experiment.title if is_main else f"{experiment.title}: {config.name}",
            "description": experiment.description if is_main else config.text,
            "fit": config.name,
            "summary_keys": list(result.summary),
            "catalogue": {
                "source": pathlib.Path(catalogue.source).name,
                "n": len(result.objects),
                "steps": [dataclasses.asdict(step) for step in result.objects.steps],
            },
            "selection": {
                "kind": type(selection).__name__,
                "acts_on": selection.acts_on,
                "description": selection_config.description,
            },
            "population": _population_words(experiment, config, model),
            "errors": _error_words(errors),
            "notes": list(experiment.notes),
            "references": list(experiment.references),
            "comparisons": [
                {"name": other.name, "path": other.name, "text": other.text}
                for other in experiment.fits[1:]
            ]
            if is_main
            else [],
        },
    )
    return dict(result.summary)


def _finished(folder: pathlib.Path, key: str) -> dict[str, object] | None:
    """The summary of a fit that these inputs have already given, if its files are all there."""
    files = [folder / name for name in ("run.json", "summary.json", "posterior.nc", "selection.h5")]
    if not all(file.is_file() for file in files):
        return None
    if json.loads(files[0].read_text()).get("key") != key:
        return None
    summary = json.loads(files[1].read_text())
    # The main fit's summary also holds the truth and the other fits' numbers.
    names = json.loads(files[0].read_text())["summary_keys"]
    return {name: summary[name] for name in names}


def make_mock(
    experiment: Experiment, out: pathlib.Path, roots: list[pathlib.Path], stem: str
) -> tuple[pathlib.Path, pathlib.Path]:
    """Draw the mock of an experiment's [mock] and write `STEM.ecsv` and `STEM_operator.h5`.

    The true parameters go into the catalogue's metadata.
    """
    if experiment.mock is None:
        raise ConfigError("the experiment has no [mock] section")
    prepare_folder(out)
    config = experiment.mock
    family = experiment.populations[config.population].population()
    population = family.with_values({k: np.asarray(v, float) for k, v in config.truth.items()})
    selection: AbstractSelection = build_selection(
        experiment.selections[config.selection], population.box, roots, None
    )
    with jax.enable_x64(True):
        key = jax.random.key(config.seed)
        mock = mock_catalogue(key, population, selection, config.sigma, source=stem)
    facts = {"truth": mock.truth, "n_drawn": mock.n_drawn, "seed": config.seed}
    catalogue = dataclasses.replace(mock.catalogue, meta={**mock.catalogue.meta, **facts})
    paths = (out / f"{stem}.ecsv", out / f"{stem}_operator.h5")
    write_catalogue(catalogue, paths[0])
    save_selection(selection, paths[1])
    return paths


def prepare_folder(out: pathlib.Path) -> None:
    """Make `out`; raises `ConfigError` if that, or writing into it, is not possible."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / ".starcensus-write-test"
        probe.touch()
        probe.unlink()
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise ConfigError(f"cannot write to the output folder {out}: {reason}") from error


def write_json(path: pathlib.Path, content: dict[str, object]) -> None:
    """Write JSON atomically; NaN and infinity are refused."""
    files.write_json(path, content)


def _population_words(
    experiment: Experiment, config: FitConfig, model: PopulationModel
) -> dict[str, object]:
    table = experiment.populations[config.population]
    joint = table.mass_age or {}
    return {
        "mass": (table.mass or joint).get("kind"),
        "age": (table.age or joint).get("kind"),
        "extinction": table.extinction.get("kind"),
        "bounds": table.bounds.model_dump(),
        "form": model.form,
        "nodes": {
            name: list(part["nodes"])
            for name, part in (("p_av", table.extinction), ("p_age", table.age or {}))
            if "nodes" in part
        },
    }


def _error_words(errors: ErrorSettings) -> dict[str, object]:
    return dataclasses.asdict(errors)
