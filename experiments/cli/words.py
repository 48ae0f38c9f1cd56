"""What is said of a finished job."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from starcensus.experiments.jobs._job import Job, Summary


def words(job: Job[Any], summary: Summary) -> Iterator[str]:
    """The lines of a job."""
    yield from _OF.get(type(job).__name__, _numbers)(job, summary)


def _numbers(job: Job[Any], summary: Summary) -> Iterator[str]:
    """All numbers of a summary."""
    for name, value in summary.items():
        if isinstance(value, bool | str):
            yield f"  {name:32s} {value}"
        elif isinstance(value, int | float):
            yield f"  {name:32s} {value:.6g}"
    yield f"wrote {job.out}"


def _fit(job: Job[Any], summary: Summary) -> Iterator[str]:
    """A fit that is not to be trusted says so."""
    yield str(summary["verdict"])
    if summary.get("remarks"):
        yield str(summary["remarks"])
    for key in summary:
        if not (key.startswith("posterior.") and key.endswith(".median")):
            continue
        stem = key.removesuffix(".median")
        low, high = (float(summary[f"{stem}.{q}"]) for q in ("p16", "p84"))
        middle = float(summary[key])
        yield (
            f"  {stem.removeprefix('posterior.'):16s} {middle:9.3f}  "
            f"+{high - middle:.3f} −{middle - low:.3f} (68%)"
        )
    yield f"{time.strftime('%H:%M:%S')} wrote {job.out / 'report.html'}"


def _compare(job: Job[Any], summary: Summary) -> Iterator[str]:
    """Probabilities, and what the data can and cannot tell apart."""
    import json

    for key, value in summary.items():
        if key.startswith("probability.") and key.count(".") == 1:
            name = key.removeprefix("probability.")
            yield f"  {name:16s} P = {value:.3f}, ln Z = {summary[f'ln_z.{name}']:.2f}"
    yield from json.loads((job.out / "comparison.json").read_text())["words"]
    yield f"wrote {job.out / 'report.html'}"


def _measure(job: Job[Any], summary: Summary) -> Iterator[str]:
    if summary.get("remarks"):
        yield str(summary["remarks"])
    yield f"prior: {summary['prior']}"
    yield (
        f"{job.out / 'objects.ecsv'}: {summary['n_clusters']} clusters; half have an error of "
        f"{summary['median_error.log_mass']:.2f} dex in mass, "
        f"{summary['median_error.log_age']:.2f} dex in age"
    )
    yield f"wrote {job.out / 'report.html'}"


def _library(job: Job[Any], summary: Summary) -> Iterator[str]:
    before = summary["n_drawn_before"]
    yield (
        f"{job.out}: {summary['n_clusters']} clusters"
        + (f", {before} of them drawn before" if before else "")
        + f", {summary['wall_s']:.1f} s"
    )


def _stamps(job: Job[Any], summary: Summary) -> Iterator[str]:
    before = summary["n_drawn_before"]
    yield (
        f"{job.out}: {summary['n_mocks']} mocks"
        + (f", {before} of them drawn before" if before else "")
        + f", {summary['wall_s']:.1f} s, {summary['mocks_per_s']:.1f} per s"
    )


def _galaxy(job: Job[Any], summary: Summary) -> Iterator[str]:
    yield (
        f"{job.out}: {summary['n_rows']} x {summary['n_columns']} pixels, "
        f"{summary['n_clusters']} clusters, {summary['n_field_stars']} field stars, "
        f"{summary['wall_s']:.1f} s"
    )


def _detect(job: Job[Any], summary: Summary) -> Iterator[str]:
    for name, value in summary.items():
        if name.startswith("n_after."):
            yield f"  {name.removeprefix('n_after.'):16s} {value}"
    yield f"{job.out / 'catalogue.ecsv'}: {summary['n_catalogued']} catalogued"
    if "n_known_catalogued" in summary:
        known = summary["n_known_catalogued"]
        yield f"{job.out / 'known.ecsv'}: {known} of the galaxy's clusters"


def _inject(job: Job[Any], summary: Summary) -> Iterator[str]:
    before = summary["n_frames_done_before"]
    yield (
        f"{job.out}: {summary['n_injected']} clusters in {summary['n_frames']} frames"
        + (f", {before} of them done before" if before else "")
        + f"; {summary['n_detected']} detected, {summary['n_catalogued']} catalogued, "
        f"{summary['wall_s']:.1f} s"
    )


def _mock(job: Job[Any], summary: Summary) -> Iterator[str]:
    for name in job.results():
        yield str(job.out / name)


def _calibration(job: Job[Any], summary: Summary) -> Iterator[str]:
    for key, value in summary.items():
        yield f"{key} = {value}"


def _marginalisation(job: Job[Any], summary: Summary) -> Iterator[str]:
    yield (
        f"{job.out}: median standard error of p_sel {summary['median_standard_error']:.4f}, "
        f"largest {summary['largest_standard_error']:.3f}"
    )


_OF: dict[str, Callable[[Job[Any], Summary], Iterator[str]]] = {
    "FitJob": _fit,
    "LightJob": _fit,
    "MeasureJob": _measure,
    "CompareJob": _compare,
    "LibraryJob": _library,
    "StampsJob": _stamps,
    "GalaxyJob": _galaxy,
    "DetectJob": _detect,
    "InjectJob": _inject,
    "MockJob": _mock,
    "CalibrationJob": _calibration,
    "MarginalisationJob": _marginalisation,
}
