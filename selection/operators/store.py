"""Operators on disk: HDF5 with plain arrays, and the rest as JSON.

A file has the root attributes `starcensus_kind`, `format_version` and `metadata` (JSON), and one
dataset per array. A wrapper's base lies in the group `base`, its kind and metadata inside the
wrapper's. Nothing in a file is ever executed.
"""

import contextlib
import json
import os
import pathlib
import tempfile
from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np

from ._base import AbstractSelection
from .complete import CompleteSelection
from .grid import GridSelection
from .magnitude import MagnitudeLimit
from .network import NetworkSelection
from .photometric import PhotometricNetwork
from .product import ProductSelection
from .recorded import RecordedSelection

FORMAT_VERSION = 1

Storable = AbstractSelection | PhotometricNetwork

KINDS: dict[str, type[AbstractSelection] | type[PhotometricNetwork]] = {
    "complete": CompleteSelection,
    "grid": GridSelection,
    "magnitude_limit": MagnitudeLimit,
    "network": NetworkSelection,
    "photometric_network": PhotometricNetwork,
    "product": ProductSelection,
    "recorded": RecordedSelection,
}


class SelectionFileError(ValueError):
    """A file holds no operator that this version can read."""


def pack(operator: Storable) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """Arrays, and `{"kind": …, "metadata": …}`, of an operator of any kind.

    Raises `TypeError` for a class that is not in `KINDS`.
    """
    for kind, cls in KINDS.items():
        if type(operator) is cls:
            arrays, metadata = operator.to_arrays()
            return arrays, {"kind": kind, "metadata": metadata}
    raise TypeError(
        f"{type(operator).__name__} cannot be stored; expected one of "
        f"{', '.join(cls.__name__ for cls in KINDS.values())}; `tabulate` makes a GridSelection of "
        "any operator"
    )


def unpack(arrays: dict[str, np.ndarray], header: dict[str, object]) -> Storable:
    """The inverse of `pack`; raises `SelectionFileError`."""
    kind, metadata = header.get("kind"), header.get("metadata")
    if not isinstance(kind, str) or kind not in KINDS:
        raise SelectionFileError(
            f"the operator's kind is {kind!r}; expected one of {', '.join(KINDS)}; "
            "it may come from a newer starcensus"
        )
    try:
        return KINDS[kind].from_arrays(arrays, metadata)  # pyright: ignore
    except KeyError as missing:
        raise SelectionFileError(
            f"an operator of kind {kind} lacks {missing}; it has the arrays "
            f"{', '.join(arrays) or 'none'}; save it again with save_selection"
        ) from missing
    except (TypeError, AttributeError) as error:
        raise SelectionFileError(
            f"the metadata of an operator of kind {kind} cannot be used ({error}); save it again "
            "with save_selection"
        ) from error


def save_selection(
    operator: Storable,
    path: str | os.PathLike[str],
    provenance: Mapping[str, object] | None = None,
) -> None:
    """Write an operator; an existing file is replaced in one step, or left as it was.

    `provenance`: JSON-ready facts of where it comes from, which `selection_provenance` reads.
    Raises `TypeError` for an operator that cannot be stored, `FileNotFoundError` for a folder that
    is not there.
    """
    arrays, header = pack(operator)
    target = pathlib.Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} is not there; make it first")
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        with h5py.File(temporary, "w") as file:
            file.attrs["starcensus_kind"] = header["kind"]
            file.attrs["format_version"] = FORMAT_VERSION
            file.attrs["metadata"] = json.dumps(header["metadata"], allow_nan=False)
            if provenance is not None:
                file.attrs["provenance"] = json.dumps(provenance, allow_nan=False, sort_keys=True)
            for name, values in arrays.items():
                file.create_dataset(name, data=values)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def selection_provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The facts saved with an operator; empty where there are none. Raises as `load_selection`."""
    load_selection(path)
    with h5py.File(path, "r") as file:
        return json.loads(str(file.attrs.get("provenance", "{}")))


def load_selection(path: str | os.PathLike[str]) -> Storable:
    """Read what `save_selection` wrote, bit for bit.

    Raises `FileNotFoundError`, or `SelectionFileError` for a file that is not HDF5, was not written
    by `save_selection`, has a newer format, an unknown kind, or lacks arrays.
    """
    source = pathlib.Path(path)
    if not source.is_file():
        raise FileNotFoundError(
            f"there is no file {source}; expected one that save_selection wrote"
        )
    if not h5py.is_hdf5(source):
        raise SelectionFileError(f"{source} is not an HDF5 file; expected one from save_selection")
    with h5py.File(source, "r") as file:
        attributes = {name: file.attrs.get(name) for name in ("starcensus_kind", "metadata")}
        version = file.attrs.get("format_version")
        if version is None or None in attributes.values():
            raise SelectionFileError(
                f"{source} holds no selection operator: the attributes starcensus_kind, "
                "format_version and metadata are not all there; write it with save_selection"
            )
        if int(version) > FORMAT_VERSION:
            raise SelectionFileError(
                f"{source} has format version {int(version)}; this starcensus reads up to "
                f"{FORMAT_VERSION}: install a newer one"
            )
        arrays: dict[str, np.ndarray] = {}

        def collect(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[()]

        file.visititems(collect)
    try:
        metadata = json.loads(str(attributes["metadata"]))
        return unpack(arrays, {"kind": str(attributes["starcensus_kind"]), "metadata": metadata})
    except ValueError as error:
        raise SelectionFileError(f"{source}: {error}") from error
