"""What takes long to make from a file is kept in the user's cache folder, for the next process.

An entry is a file of arrays in a folder whose name is a digest of all that the arrays follow from,
the code among it. One that is not there, not whole or not to be written is made as if nothing were
kept. `STARCENSUS_CACHE=off` keeps nothing.
"""

import contextlib
import hashlib
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np

from starcensus.files import FileError, cache_folder, replacing, trim
from starcensus.runs import code_version

# Bytes of all entries together; those of the carried grid are a twentieth of it.
MAX_BYTES = 400_000_000


def folder(what: str, *causes: object) -> pathlib.Path | None:
    """The folder of entries that follow from `causes` and this code; None where nothing is kept.

    `what`: the kind of entry, a folder of its own. `causes`: of plain values, by their `repr`.
    """
    top = cache_folder()
    if top is None:
        return None
    digest = hashlib.sha256(repr((causes, code_version(), np.__version__)).encode())
    return top / what / digest.hexdigest()[:32]


def read(path: pathlib.Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    """The arrays of an entry; None where it is not there or not whole."""
    try:
        # The stream is ours to close, also where NumPy gives up in the middle.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            found = {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    # What was used lately is kept longest.
    with contextlib.suppress(OSError):
        os.utime(path)
    return found


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray], max_bytes: int = MAX_BYTES) -> None:
    """Keep an entry, unless that fails; the kind's oldest go when it is larger than `max_bytes`."""
    with contextlib.suppress(FileError, OSError):
        if not path.parent.exists():
            path.parent.mkdir(parents=True)
            trim(path.parents[1], max_bytes)
        with replacing(path) as temporary:
            np.savez(temporary, allow_pickle=False, **arrays)
