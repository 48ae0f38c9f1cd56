"""Runs of `starcensus selection choose`: which clusters of a pool are worth injecting."""

import pathlib
import time
from collections.abc import Callable, Sequence

from starcensus.experiments.jobs.fit import prepare_folder, write_json
from starcensus.experiments.jobs.provenance import command_line, provenance
from starcensus.experiments.schema.fit import ConfigError
from starcensus.selection.learning import ChoiceSettings, choose_clusters, learned_networks
from starcensus.simulate import ClusterLibrary

Progress = Callable[[str], None]


def run_choice(
    pilot: pathlib.Path,
    library: pathlib.Path,
    out: pathlib.Path,
    settings: ChoiceSettings,
    *,
    exclude: Sequence[pathlib.Path] = (),
    progress: Progress = lambda _: None,
) -> dict[str, object]:
    """Choose clusters of a library by a pilot's networks, and write them to `out`.

    **Arguments:**

    - `pilot`: operator file of two or more networks. `library`: the pool.
    - `exclude`: libraries whose clusters, known by their `seed`, are left out of the choice.

    Raises `ConfigError` for an output that is an input, and as `choose_clusters`, naming the files.
    """
    began = time.perf_counter()
    operator = learned_networks(pilot)
    if out.resolve() in {path.resolve() for path in (pilot, library, *exclude)}:
        raise ConfigError(f"--out {out} is one of the files to read; give it another name")
    prepare_folder(out.parent)
    progress("reading the library")
    pool = ClusterLibrary.load(library)
    used = {str(path): ClusterLibrary.load(path) for path in exclude}

    def show(done: int, n: int) -> None:
        progress(f"asking the pilot: {done:,} of {n:,} clusters")

    try:
        made = choose_clusters(operator, pool, settings, used, show)
    except ValueError as error:
        raise ConfigError(f"{pilot}, {library}: {error}") from error
    progress("writing the library")
    made.library.save(out)
    facts = provenance("", settings.seed, [pilot, library, *exclude], command_line())
    choice = {"choice": made.library.meta["choice"]}
    summary: dict[str, object] = {**made.summary(), "wall_s": time.perf_counter() - began}
    write_json(out.with_suffix(".provenance.json"), {**facts, **choice})
    write_json(out.with_suffix(".summary.json"), summary)
    return summary
