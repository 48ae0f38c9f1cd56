"""`starcensus detect`: a survey's pipeline over images, and the catalogue."""

import pathlib
import time

from starcensus.experiments.jobs.fit import Progress, prepare_folder, write_json
from starcensus.experiments.jobs.known import Known
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import ConfigError
from starcensus.experiments.schema.survey import load_survey, require_images
from starcensus.selection.catalogue import write_catalogue
from starcensus.selection.pipeline import run_pipeline


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
        found.write(out / "catalogue.ecsv")
        counts = found.counts()
        summary: dict[str, object] = {
            "n_detected": counts.pop("detected"),
            **{f"n_after.{name}": n for name, n in counts.items()},
            "n_catalogued": int(found.catalogued.sum()),
            "n_bad_pixels": int(frame.bad.sum()),
            "distance_modulus": frame.distance_modulus,
            "pixel_scale_arcsec": frame.pixel_scale_arcsec,
        }
        if known is not None:
            own = known.catalogue(found, frame, config.make_templates(frame, psfs))
            write_catalogue(own, out / "known.ecsv")
            summary["n_known_catalogued"] = len(own)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from error
    summary["wall_s"] = time.perf_counter() - start
    facts = provenance(text, 0, [path, *config.inputs(folder)], command_line())
    write_json(out / "provenance.json", {**facts, "pipeline": dict(found.pipeline)})
    write_json(out / "summary.json", summary)
    return summary
