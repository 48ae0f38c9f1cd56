"""Runs of `starcensus selection choose`: which clusters of a pool are worth injecting."""

import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from starcensus.experiments.jobs.fit import prepare_folder, write_json
from starcensus.experiments.jobs.learn import operator_inputs
from starcensus.experiments.jobs.provenance import checksum, command_line, provenance
from starcensus.experiments.schema.fit import ConfigError
from starcensus.networks import training
from starcensus.selection import NetworkSelection, PhotometricNetwork, load_selection
from starcensus.selection.learning import TransitionDesign, predict_library
from starcensus.simulate import ClusterLibrary

Progress = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class ChoiceSettings:
    """A choice of about `n` clusters.

    **Arguments:**

    - `uniform`, `disagreement`, `seed`: as in `TransitionDesign.choose`.
    - `start_row`: first row of the pool that may be chosen; a pilot may have used those before it.

    Raises `ConfigError` for a negative number, or none to choose.
    """

    n: int
    uniform: float = 0.05
    disagreement: float = 4.0
    seed: int = 0
    start_row: int = 0

    def __post_init__(self) -> None:
        for name, least in {"n": 1, "seed": 0, "start_row": 0}.items():
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {least} or more")


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

    The library that is written has the chosen rows in the pool's order, with their `inclusion`;
    what decided it is in its meta under `choice`. Its `log_density` is NaN: the choice depends on
    light and radius too, so only the weights 1 / inclusion undo it. They make the chosen rows stand
    for those that could be chosen, which are not the excluded ones.

    **Arguments:**

    - `pilot`: operator file of two or more networks. `library`: the pool.
    - `exclude`: libraries whose clusters, known by their `seed`, are left out of the choice.

    Raises `ConfigError` for files that cannot be used together, and `ValueError` for a pool without
    what the pilot takes.
    """
    began = time.perf_counter()
    operator = _load_pilot(pilot)
    if out.resolve() in {path.resolve() for path in (pilot, library, *exclude)}:
        raise ConfigError(f"--out {out} is one of the files to read; give it another name")
    prepare_folder(out.parent)
    progress("reading the library")
    pool = ClusterLibrary.load(library)
    if pool.inclusion is not None:
        raise ConfigError(
            f"{library}: its clusters were chosen already; expected the pool that they are from, "
            "and this file as --exclude"
        )
    allowed = _allowed(pool, library, exclude)
    n_excluded = int((~allowed).sum())
    allowed[: settings.start_row] = False
    candidates = np.flatnonzero(allowed)
    if len(candidates) < settings.n:
        raise ConfigError(
            f"{library}: {len(candidates)} of its {len(pool)} clusters may be chosen, and --n is "
            f"{settings.n}; draw a larger library or choose fewer"
        )
    members = predict_library(
        operator,
        pool.take(candidates),
        lambda done, n: progress(f"asking the pilot: {done:,} of {n:,} clusters"),
    )
    design = TransitionDesign.choose(
        members,
        settings.n,
        uniform=settings.uniform,
        disagreement=settings.disagreement,
        seed=settings.seed,
    )
    if not len(design.rows):
        raise ConfigError(f"--n {settings.n}: by chance no cluster was chosen; ask for more")
    progress("writing the library")
    files = [pilot, library, *exclude]
    facts = provenance("", settings.seed, files, command_line())
    choice = {
        **dataclasses.asdict(settings),
        "inputs": dataclasses.asdict(operator_inputs(operator)),
        "pilot_networks_sha256": training.checksum(operator.networks),
        "pool_sha256": checksum(library),
        "exclude_sha256": [checksum(path) for path in exclude],
        "n_candidates": len(candidates),
    }
    chosen = dataclasses.replace(
        pool.take(candidates[design.rows]),
        log_density=np.full(len(design.rows), np.nan),
        inclusion=design.inclusion,
        meta={**pool.meta, "choice": choice},
    )
    chosen.save(out)
    p, weight = members.mean(axis=0), design.weights
    summary: dict[str, object] = {
        "n_pool": len(pool),
        "n_excluded": n_excluded,
        "n_candidates": len(candidates),
        "n_chosen": len(chosen),
        "n_certain": int((design.inclusion == 1).sum()),
        "n_effective": float(weight.sum() ** 2 / (weight**2).sum()),
        "candidates.mean_p": float(p.mean()),
        "chosen.mean_p": float(p[design.rows].mean()),
        "chosen.weighted_mean_p": float(np.average(p[design.rows], weights=weight)),
        "candidates.open_share": _open_share(p),
        "chosen.open_share": _open_share(p[design.rows]),
        "wall_s": time.perf_counter() - began,
    }
    write_json(out.with_suffix(".provenance.json"), {**facts, "choice": choice})
    write_json(out.with_suffix(".summary.json"), summary)
    return summary


def _load_pilot(path: pathlib.Path) -> NetworkSelection | PhotometricNetwork:
    loaded = load_selection(path)
    if not isinstance(loaded, NetworkSelection | PhotometricNetwork):
        raise ConfigError(f"{path}: holds a {type(loaded).__name__}; expected learned networks")
    if loaded.n_members < 2:
        raise ConfigError(
            f"{path}: holds 1 network; a pilot needs two or more, whose disagreement says what is "
            "not known: train it with n_members of 2 or more"
        )
    return loaded


def _allowed(
    pool: ClusterLibrary, path: pathlib.Path, exclude: Sequence[pathlib.Path]
) -> Bool[np.ndarray, "n"]:
    """Which rows of the pool have a seed that none of the libraries has."""
    allowed = np.ones(len(pool), bool)
    for other in exclude:
        used = ClusterLibrary.load(other)
        if pool.seed is None or used.seed is None:
            without = path if pool.seed is None else other
            raise ConfigError(
                f"{without}: has no column seed, by which --exclude knows clusters again; expected "
                "libraries of starcensus"
            )
        shared = np.isin(pool.seed, used.seed)
        if not shared.any():
            raise ConfigError(
                f"--exclude {other}: has no cluster of {path}; expected a library that was chosen "
                "from it"
            )
        allowed &= ~shared
    return allowed


def _open_share(p: np.ndarray) -> float:
    """Share of clusters of which between 5% and 95% would be catalogued."""
    return float(((p > 0.05) & (p < 0.95)).mean())
