"""From [emulator] to the learned density that explains a catalogue's clusters."""

import dataclasses
import pathlib
from collections.abc import Callable

import numpy as np

from starcensus.experiments.jobs._pool import check_z
from starcensus.experiments.jobs._seen import Seen
from starcensus.experiments.jobs._stars import grid_path
from starcensus.experiments.schema._base import ConfigError
from starcensus.experiments.schema.light import EmulatorTable
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.photometry import PoolTable
from starcensus.forward.light import EmulatorError, LightEmulator, default_emulator
from starcensus.inference.objects import EmulatedObjects
from starcensus.runs import Input
from starcensus.simulate import StarcensusEngine
from starcensus.simulate.library.engine import load_grid

DEFAULT = "default"


@dataclasses.dataclass(frozen=True, eq=False)
class Emulated:
    """A catalogue's clusters with the emulator, and how many effective points each has.

    **Arguments:**

    - `objects`: for the likelihood. `effective`: `(n,)`. `thin`: no sentence.
    """

    objects: EmulatedObjects
    effective: np.ndarray
    thin: None = None

    def summary(self) -> dict[str, int | float]:
        """Sizes and effective numbers, for `summary.json`."""
        low, middle = np.percentile(self.effective, [5, 50])
        assert self.objects.pool is not None
        return {
            "emulator.n_expected": len(self.objects.pool),
            "emulator.effective.min": float(self.effective.min()),
            "emulator.effective.p5": float(low),
            "emulator.effective.median": float(middle),
        }


def emulator_inputs(table: EmulatorTable, sources: Sources) -> dict[str, Input]:
    """The files of an emulator, unless it is `default`."""
    if table.path == DEFAULT:
        return {}
    path = sources.file(table.path, "emulator")
    numbers = pathlib.Path(path).with_suffix(".safetensors")
    found = {"emulator": Input.of(path)}
    return found | ({"emulator.numbers": Input.of(numbers)} if numbers.is_file() else {})


def emulated(
    seen: Seen,
    table: EmulatorTable,
    library: PoolTable,
    sources: Sources,
    seed: int,
    say: Callable[[str], None],
) -> Emulated:
    """What was seen, explained by an emulator.

    Raises `ConfigError` for an emulator of other stars, gas, bands or bounds than the file states.
    """
    if table.path == DEFAULT:
        emulator = default_emulator()
    else:
        emulator = LightEmulator.load(sources.file(table.path, "emulator"))
    path = grid_path(library.grid, sources)
    check_z(library, load_grid(path).provenance.get("z"), f"the stellar grid {library.grid!r}")
    engine = StarcensusEngine(seen.observation.bands, path, library.imf, library.draw)
    try:
        emulator.columns(seen.observation.bands)
        emulator.check_engine(engine.describe(), "[library]")
    except EmulatorError as error:
        raise ConfigError(f"emulator.path = {table.path!r}: {error}") from error
    say("explaining clusters by the emulator")
    settings = dataclasses.replace(table.points, seed=seed)
    objects = EmulatedObjects(seen.data, seen.observation, emulator, library.bounds, settings)
    return Emulated(objects, objects.effective())
