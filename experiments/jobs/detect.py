"""`starcensus detect`: a survey's pipeline over images, and the catalogue."""

import pathlib
import time
from typing import Any

import numpy as np

from starcensus.experiments.jobs.fit import Progress, prepare_folder, write_json
from starcensus.experiments.jobs.known import Known
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import ConfigError
from starcensus.experiments.schema.survey import load_survey, require_images
from starcensus.inference import write_atomic
from starcensus.selection.catalogue import write_catalogue as write_known
from starcensus.selection.pipeline import Detections
from starcensus.simulate import Frame


def run_detect(
    path: pathlib.Path,
    out: pathlib.Path,
    progress: Progress = lambda _: None,
    known: Known | None = None,
) -> dict[str, object]:
    """Run the pipeline of a survey file and write `catalogue.ecsv`, summary and provenance.

    With `known` also `known.ecsv`, the synthetic galaxy's own clusters of the catalogue. Raises
    `ConfigError` naming the file and the key.
    """
    require_images()
    config, text = load_survey(path)
    prepare_folder(out)
    folder = path.resolve().parent
    start = time.perf_counter()
    try:
        progress("reading the images")
        frame = config.images.frame(folder)
        progress("PSFs")
        psfs = config.psfs(frame, folder)
        pipeline = config.make_pipeline(frame, psfs, folder)
        progress("detection and photometry")
        found = run_pipeline(pipeline, frame)
        inputs = [path, *config.inputs(folder)]
        own = None
        if known is not None:
            own = known.catalogue(found, frame, config.make_bank(frame, psfs))
            write_known(own, out / "known.ecsv")
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    write_catalogue(found, frame, pipeline.describe(), out / "catalogue.ecsv")
    counts = found.counts()
    summary: dict[str, object] = {
        "n_detected": counts.pop("detected"),
        **{f"n_after.{name}": n for name, n in counts.items()},
        "n_catalogued": int(found.catalogued.sum()),
        "n_bad_pixels": int(frame.bad.sum()),
        "distance_modulus": frame.distance_modulus,
        "pixel_scale_arcsec": frame.pixel_scale_arcsec,
        "wall_s": time.perf_counter() - start,
    }
    if own is not None:
        summary["n_own_catalogued"] = len(own)
    facts = provenance(text, 0, inputs, command_line())
    write_json(out / "provenance.json", {**facts, "pipeline": pipeline.describe()})
    write_json(out / "summary.json", summary)
    return summary


def run_pipeline(pipeline: Any, frame: Frame) -> Detections:
    """The pipeline's detections; `ConfigError` where it gives up on the frame."""
    try:
        return pipeline(frame)
    except RuntimeError as error:
        if type(error) is not RuntimeError:
            raise
        raise ConfigError(str(error)) from error


def write_catalogue(
    found: Detections, frame: Frame, pipeline: dict[str, Any], path: pathlib.Path
) -> None:
    """One row for each source, in pixels (the first is 0), on the sky where there is a WCS."""
    from astropy.table import Table

    columns: dict[str, np.ndarray] = {"x": found.x, "y": found.y}
    wcs = next((image.wcs for image in frame if image.wcs is not None), None)
    if wcs is not None:
        sky = wcs.pixel_to_world_values(found.x, found.y)
        columns |= dict(zip(("ra", "dec"), np.array(sky, float), strict=True))
    for i, band in enumerate(found.bands):
        columns |= {f"mag_{band}": found.mags[:, i], f"error_{band}": found.mag_errors[:, i]}
    columns |= {"ci": found.ci, **found.columns}
    columns |= {f"cut_{name}": passed for name, passed in found.cuts.items()}
    columns["catalogued"] = found.catalogued
    units = {"x": "pix", "y": "pix", "ci": "mag", "ra": "deg", "dec": "deg"}
    units |= {name: "mag" for name in columns if name.startswith(("mag_", "error_"))}
    units = {name: unit for name, unit in units.items() if name in columns}
    meta = {"distance_modulus": frame.distance_modulus, "pipeline": pipeline}
    table = Table(columns, units=units, meta=meta)
    write_atomic(path, lambda p: table.write(p, format="ascii.ecsv", overwrite=True))
