"""Make a bank of stamps in shards: by one process or many, and resumably.

What a mock is follows from the settings, the PSFs, the seed and its number alone, so neither
workers nor shards nor interruptions change a byte of the bank.
"""

import hashlib
import pathlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float

import starcensus
from starcensus.files import Path, to_json
from starcensus.runs import Input, Run, RunError
from starcensus.settings import check_seed
from starcensus.shards import Done, Progress, ShardedRun, Work

from ..images.psf import PSF
from .bank import StampBank, write_bank
from .mocks import check_psfs, draw_mocks, stamp_psfs
from .settings import StampSettings

# Mocks in a shard, unless `Work.shard_size` says another number: half a minute, 25 MB.
SHARD_SIZE = 500


def run_stamps(
    settings: StampSettings,
    n: int,
    seed: int,
    out: Path,
    work: Work = Work(),
    progress: Progress = lambda done, n: None,
    psfs: Mapping[str, PSF] | None = None,
    offsets_pix: Float[np.ndarray, "k 2"] | None = None,
    inputs: Mapping[str, Input] = MappingProxyType({}),
) -> Done:
    """Make a bank of n mocks in the HDF5 file `out`.

    **Arguments:**

    - `settings`: what is drawn.
    - `n`, `seed`: number of mocks; mock i of a seed is the same in a larger bank.
    - `out`: the file; shards lie beside it until it is whole.
    - `work`: processes, a Dask scheduler, mocks in a shard (by default 500); nothing of the bank
      depends on them.
    - `progress`: called with the number of mocks made so far and of all.
    - `psfs`: one for each band, of the settings' pixels; by default the embedded ones.
    - `offsets_pix`: `(k, 2)`, measured (x, y) of a detector's peaks, see `draw_mocks`.
    - `inputs`: files on which the bank depends besides.

    Raises `RunError` for a grid that is not what the settings ask for, when `out` or its shards are
    of another run, cannot be written, or are being written, and when workers are lost or have
    another grid; `ValueError` as `draw_mocks`.

    ```python
    small = StampSettings(faintest_mags=None, size_pix=16, psf_radius_pix=24)
    run_stamps(small, 4, 1, "bank.h5", Work(shard_size=2)).n
    ```
    """
    psfs = stamp_psfs(settings) if psfs is None else psfs
    run = stamps_run(settings, n, seed, psfs, offsets_pix, inputs)
    psfs = {band: psfs[band] for band in settings.bands}
    facts = to_json(run.settings["mocks"], sort_keys=True)
    meta = {
        "settings": run.settings["mocks"],
        "psf_sha256": run.settings["psf_sha256"],
        "n": n,
        "seed": seed,
        "starcensus": starcensus.__version__,
        "key": run.key,
    }

    def arguments(start: int, stop: int) -> tuple[Any, ...]:
        return settings, facts, psfs, seed, start, stop, offsets_pix

    def save(columns: dict[str, np.ndarray], start: int, stop: int, path: pathlib.Path) -> None:
        write_bank(path, stop - start, meta, [lambda: columns])

    def merge(files: list[pathlib.Path], path: pathlib.Path) -> None:
        write_bank(path, n, meta, [lambda file=file: _columns(file) for file in files])

    return ShardedRun(
        key=run.key,
        of="settings, PSFs, seed or version",
        n=n,
        unit="mocks",
        task=_draw,
        arguments=arguments,
        save=save,
        merge=merge,
        finished=lambda path: StampBank.load(path, rows=slice(0, 0)).meta.get("key"),
    ).run(out, work, SHARD_SIZE, progress)


def stamps_run(
    settings: StampSettings,
    n: int,
    seed: int,
    psfs: Mapping[str, PSF],
    offsets_pix: Float[np.ndarray, "k 2"] | None = None,
    inputs: Mapping[str, Input] = MappingProxyType({}),
) -> Run:
    """All that a bank depends on; `run_stamps` writes its key into the bank.

    Raises `RunError` for a grid that is not what the settings ask for, `ValueError` for an n below
    1, a seed that is none, and PSFs that are missing or of other pixels.

    ```python
    stamps_run(StampSettings(), 10, 1, stamp_psfs(StampSettings())).key
    ```
    """
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1 mock")
    check_seed(seed)
    settings.check_grid()
    check_psfs(settings, psfs)
    facts: dict[str, Any] = {
        "mocks": settings.describe(),
        "n": n,
        "psf_sha256": {band: psfs[band].sha256() for band in settings.bands},
    }
    if offsets_pix is not None:
        content = np.ascontiguousarray(offsets_pix, "<f8").tobytes()
        facts["offsets_sha256"] = hashlib.sha256(content).hexdigest()
    return Run("stamps", facts, inputs, seed)


def _columns(path: pathlib.Path) -> dict[str, np.ndarray]:
    bank = StampBank.load(path)
    return {"images": bank.images, **bank.columns}


def _draw(
    settings: StampSettings,
    facts: str,
    psfs: Mapping[str, PSF],
    seed: int,
    start: int,
    stop: int,
    offsets_pix: Float[np.ndarray, "k 2"] | None,
) -> dict[str, np.ndarray]:
    """What a worker does."""
    if to_json(settings.describe(), sort_keys=True) != facts:
        raise RunError(
            "a worker finds another stellar grid than the process that asked it, or the file was "
            "replaced meanwhile; give all machines the same files and leave them as they are"
        )
    return draw_mocks(settings, psfs, seed, start, stop, offsets_pix)
