"""From [library] to the simulated clusters that explain a catalogue's."""

import dataclasses
import pathlib
import shutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from starcensus.experiments.jobs._seen import Seen
from starcensus.experiments.jobs._stars import engine_of, grid_input
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.photometry import PoolTable
from starcensus.files import FileError, prepare_folder, read_json, write_json
from starcensus.inference.objects import (
    LightObjects,
    LightSettings,
    Pairs,
    Targeted,
    draw_to_order,
    effective_clusters,
    find_pairs,
)
from starcensus.runs import Input, Run
from starcensus.selection.catalogue import Photometry, Step
from starcensus.shards import Work
from starcensus.simulate import ClusterLibrary, Pool
from starcensus.theta import AXES, Box

_KEY = "library.json"
# Relative.
_SAME_Z = 0.01
_AFTERWARDS = "min_effective", "leave_out_thin"
# A fit is refused if more of its clusters are thin.
_MAX_THIN = 0.1


@dataclasses.dataclass(frozen=True, eq=False)
class Explained:
    """A catalogue's clusters with the simulated ones, and how many each has of them.

    **Arguments:**

    - `objects`: for the likelihood. `effective`: `(n,)`, effective simulated clusters of each.
    - `thin`: a sentence, where some have few.
    """

    objects: LightObjects
    effective: np.ndarray
    thin: str | None

    def summary(self) -> dict[str, int | float]:
        """Sizes and effective numbers, for `summary.json`."""
        low, middle = np.percentile(self.effective, [5, 50])
        return {
            "library.n_rows": len(self.objects.pool),
            "library.n_clusters": len(np.unique(self.objects.pool.cluster)),
            "library.effective.min": float(self.effective.min()),
            "library.effective.p5": float(low),
            "library.effective.median": float(middle),
        }


def pool_inputs(table: PoolTable, sources: Sources) -> dict[str, Input]:
    """The files of the library."""
    found = grid_input(table.grid, sources, table.metallicity)
    if table.path is not None:
        found["library"] = Input.of(sources.file(table.path, "library"))
    return found


def explain(
    seen: Seen,
    table: PoolTable,
    light: LightSettings,
    sources: Sources,
    folder: pathlib.Path,
    key: str,
    seed: int,
    work: Work,
    say: Callable[[str], None],
) -> Explained:
    """Find or draw simulated clusters for what was seen.

    **Arguments:**

    - `folder`: where rounds that are drawn to order are kept. `key`: of all that they depend on; a
      folder of another key is emptied.
    - `say`: called with each stage.

    Raises `ValueError` for a library of other bands or bounds, or one that is too thin.
    """
    data, observation = seen.data, seen.observation
    if table.path is None:
        made = _drawn(seen, table, sources, _kept(folder, key), seed, work, say)
        pool, pairs, effective = made.pool, made.pairs, made.effective
    else:
        say("comparing clusters with simulated ones")
        pool = _given(table, observation.bands, sources)
        pairs = find_pairs(data, observation, pool)
        effective = effective_clusters(pairs, pool, len(data))
    thin = _thin(table, data.ids, effective, len(np.unique(pool.cluster)))
    if table.leave_out_thin and thin is not None:
        kept = effective >= table.min_effective
        data, pairs, effective = _without(data, kept), _of(pairs, kept), effective[kept]
    objects = LightObjects(data, observation, pool, light, pairs)
    return Explained(objects, effective, thin)


def drawn_key(settings: Mapping[str, Any], inputs: Mapping[str, Input], seed: int) -> str:
    """What simulated clusters that are drawn to order depend on: `settings` of the data, without
    what is done with thin ones afterwards."""
    library = {k: v for k, v in settings["library"].items() if k not in _AFTERWARDS}
    return Run("light.library", {**settings, "library": library}, inputs, seed).key


def refuse_unlike(ids: np.ndarray, effective: np.ndarray) -> None:
    """Raises `ConfigError` for clusters that no simulated one is like at all."""
    if (none := np.flatnonzero(effective == 0)).size:
        shown = ", ".join(str(ids[i]) for i in none[:5])
        raise ConfigError(
            f"{none.size} of {len(ids)} clusters are like no simulated one: {shown}"
            f"{', …' if none.size > 5 else ''}; library.leave_out_thin = true leaves them out, and "
            "the report counts them; or draw more (library.target.n_clusters), or "
            "raise observation.floor if stars and errors as assumed cannot explain them"
        )


def _without(data: Photometry, kept: np.ndarray) -> Photometry:
    reason = "stars, dust and errors as assumed explain them; others are like no simulated cluster"
    step = Step("explained", len(data), int(kept.sum()), reason)
    return dataclasses.replace(data.take(kept), steps=(*data.steps, step))


def _of(pairs: Pairs, kept: np.ndarray) -> Pairs:
    """The pairs of some objects, which are numbered anew."""
    some = kept[pairs.owner]
    owner = (np.cumsum(kept) - 1)[pairs.owner[some]]
    return Pairs(owner, pairs.row[some], pairs.log_kernel[some])


def _drawn(
    seen: Seen,
    table: PoolTable,
    sources: Sources,
    folder: pathlib.Path,
    seed: int,
    work: Work,
    say: Callable[[str], None],
) -> Targeted:
    bands = seen.observation.bands
    engine = engine_of(table.grid, table.metallicity, bands, table.imf, table.draw, sources)
    check_z(table, engine.describe()["z"], f"the stellar grid {table.grid!r}")
    settings = dataclasses.replace(table.target, seed=seed)
    return draw_to_order(
        seen.data, seen.observation, engine, table.bounds, settings, folder, work, say
    )


def _kept(folder: pathlib.Path, key: str) -> pathlib.Path:
    """The folder, without rounds of other settings, catalogues or versions."""
    record = folder / _KEY
    try:
        same = read_json(record).get("key") == key
    except (FileError, AttributeError):
        same = False
    if not same and record.is_file():
        shutil.rmtree(folder)
    made = prepare_folder(folder)
    write_json(record, {"key": key})
    return made


def _given(table: PoolTable, bands: tuple[str, ...], sources: Sources) -> Pool:
    path = sources.file(str(table.path), "library")
    library = ClusterLibrary.load(path)
    if lacking := [band for band in bands if band not in library.bands]:
        raise ConfigError(
            f"{path.name}: the library has no {', '.join(lacking)}; it has "
            f"{', '.join(library.bands)}: draw one in the bands of the survey, {', '.join(bands)}"
        )
    engine = library.meta.get("engine")
    check_z(table, engine.get("z") if isinstance(engine, dict) else None, path.name)
    try:
        pool = Pool.of(library, bands)
    except ValueError as error:
        raise ConfigError(f"{path.name}: {error}") from error
    box = _design_box(library) or pool.box
    if complaints := table.bounds.exceeds(box):
        raise ConfigError(
            f"library.bounds reach beyond the clusters of {path.name}: {'; '.join(complaints)}; "
            "narrow the bounds, or draw a library there"
        )
    return dataclasses.replace(pool, box=box)


def check_z(table: PoolTable, z: object, what: str) -> None:
    """Raises `ConfigError` for stars of another metallicity than is stated."""
    if table.z is None:
        return
    if isinstance(z, dict):
        raise ConfigError(
            f"library.z is {table.z:g}, and the stars of {what} have metallicities of a relation; "
            "leave library.z out, or draw clusters of one grid"
        )
    if not isinstance(z, int | float):
        raise ConfigError(
            f"library.z is {table.z:g}, and {what} does not say which its stars have; leave "
            "library.z out, or draw clusters from a grid that says it"
        )
    if abs(z - table.z) > _SAME_Z * table.z:
        raise ConfigError(
            f"library.z is {table.z:g}, and the stars of {what} have z = {z:g}; make a grid of "
            'that metallicity (kind = "grid") and name it as library.grid'
        )


def _design_box(library: ClusterLibrary) -> Box | None:
    """Where the design of a library drew θ, of which the least and largest fall short."""
    design = library.meta.get("design")
    theta = design.get("theta") if isinstance(design, dict) else None
    if not isinstance(theta, dict) or not all(axis in theta for axis in AXES):
        return None
    return Box.from_dict({axis: theta[axis] for axis in AXES})


def _thin(table: PoolTable, ids: np.ndarray, effective: np.ndarray, n_clusters: int) -> str | None:
    few = effective < table.min_effective
    if not few.any():
        return None
    first = int(np.argmin(effective))
    wanted = n_clusters * (table.min_effective / max(float(np.median(effective[few])), 0.25) - 1)
    said = (
        f"the library is thin for {int(few.sum())} of {len(few)} clusters: they have fewer than "
        f"{table.min_effective:g} effective simulated clusters, {ids[first]} has "
        f"{effective[first]:.1f} of {n_clusters:,}"
    )
    if few.mean() <= _MAX_THIN:
        left = "; they are left out" if table.leave_out_thin else ""
        return f"{said[0].upper()}{said[1:]}{left}."
    remedy = (
        "raise library.target.n_clusters, or max_rounds of exploring"
        if table.path is None
        else "draw a larger one"
    )
    raise ConfigError(
        f"{said}; draw about {max(wanted, 1):,.0f} more ({remedy}); if that does not help, the "
        "stars, the dust or the errors cannot explain these: raise observation.floor, or cut them"
    )
