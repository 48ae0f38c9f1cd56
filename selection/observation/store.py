"""Observation models on disk: HDF5 with plain arrays, and the rest as JSON, as operators are."""

import json
from collections.abc import Mapping
from typing import Any

import h5py

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_json_attribute

from ..operators._fields import Arrays, decode, encode
from ._base import OBSERVATIONS, AbstractObservation


class ObservationFileError(FileError):
    """A file holds no observation model that this version can read."""


FORMAT = Format(
    name="starcensus.Observation",
    version=1,
    what="observation model",
    remedy="`save_observation` writes one",
    error=ObservationFileError,
)


def save_observation(
    observation: AbstractObservation, path: Path, provenance: Mapping[str, object] | None = None
) -> None:
    """Write an observation model; an existing file is replaced in one step, or left as it was.

    **Arguments:**

    - `observation`: of a kind that is in the registry `OBSERVATIONS`, ours or one's own.
    - `path`: an HDF5 file, usually `.h5`.
    - `provenance`: JSON-ready facts of where it comes from, which `observation_provenance` reads.

    Raises `ValueError` for a class without a name in the registry, or NaN as a setting; `TypeError`
    for a field of a type that cannot be stored; `FileError` where the file cannot be written.

    ```python
    save_observation(observation, "mine.h5", {"survey": "LEGUS"})
    load_observation("mine.h5").words
    ```
    """
    tree, arrays = encode(observation, OBSERVATIONS)
    text = json.dumps(tree, allow_nan=False)
    facts = None if provenance is None else json.dumps(provenance, allow_nan=False, sort_keys=True)
    with FORMAT.create(path) as file:
        file.attrs["observation"] = text
        if facts is not None:
            file.attrs["provenance"] = facts
        for name, values in arrays.items():
            file.create_dataset(name, data=values)


def load_observation(path: Path) -> AbstractObservation:
    """Read what `save_observation` wrote, bit for bit.

    Raises `ObservationFileError` for a file that is not there, is no observation model, is of a
    newer version or damaged, or whose kind is not in the registry.

    ```python
    save_observation(observation, "mine.h5")
    load_observation("mine.h5").bands
    ```
    """
    with FORMAT.open(path) as file:
        arrays: Arrays = {}

        def collect(name: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                arrays[name] = item[()]

        file.visititems(collect)
        try:
            found = decode(read_json_attribute(file, "observation"), arrays, OBSERVATIONS)
        except (ValueError, TypeError) as error:
            if isinstance(error, FileError):
                raise
            raise ObservationFileError(f"{path}: {error}; {FORMAT.remedy}") from error
    if not isinstance(found, AbstractObservation):
        raise ObservationFileError(
            f"{path}: holds a {type(found).__name__}, which is registered as an observation model "
            "but is no AbstractObservation"
        )
    return found


def observation_provenance(path: Path) -> dict[str, Any]:
    """The facts saved with an observation model; empty where there are none.

    Raises as `load_observation`.

    ```python
    save_observation(observation, "mine.h5", {"survey": "LEGUS"})
    observation_provenance("mine.h5")["survey"]  # "LEGUS"
    ```
    """
    with FORMAT.open(path) as file:
        return read_json_attribute(file, "provenance") if "provenance" in file.attrs else {}
