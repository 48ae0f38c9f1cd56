"""Operators on disk: HDF5 with plain arrays, and the rest as JSON.

The root attribute `operator` holds `{"kind": …, "fields": {…}}`, as `_fields` describes, and each
array is a dataset under the path of its field, which any HDF5 reader opens. Kinds come from the
registry `OPERATORS`, so an operator of one's own is stored as ours are.

Equinox's `tree_serialise_leaves` would be shorter, but writes the leaves one after the other
without their names: only the same classes, with fields in the same order, could read such a file,
and nothing but Python.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import h5py

from starcensus.files import FileError, Path
from starcensus.hdf5 import Format, read_json_attribute

from ._base import OPERATORS, AbstractSelection
from ._fields import Arrays, decode, encode
from ._version1 import is_version_1, read_version_1
from .facts import facts_of_meta
from .network import NetworkSelection
from .photometric import PhotometricNetwork

type Operator = AbstractSelection | PhotometricNetwork


class SelectionFileError(FileError):
    """A file holds no operator that this version can read."""


FORMAT = Format(
    name="starcensus.Operator",
    version=2,
    what="selection operator",
    remedy="`save_selection` writes one",
    error=SelectionFileError,
)


def save_selection(
    operator: Operator, path: Path, provenance: Mapping[str, object] | None = None
) -> None:
    """Write an operator; an existing file is replaced in one step, or left as it was.

    **Arguments:**

    - `operator`: one of a kind that is in the registry `OPERATORS`, ours or one's own.
    - `path`: an HDF5 file, usually `.h5`.
    - `provenance`: JSON-ready facts of where it comes from, which `selection_provenance` reads.

    Raises `ValueError` for an operator whose class has no name in the registry (`tabulate` makes a
    `GridSelection` of any operator of θ), or that holds NaN as a setting; `TypeError` for a field
    of a type that cannot be stored; `FileError` where the file cannot be written.

    ```python
    save_selection(complete(Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))), "complete.h5")
    load_selection("complete.h5")
    ```
    """
    tree, arrays = encode(operator, OPERATORS)
    text = json.dumps(tree, allow_nan=False)
    facts = None if provenance is None else json.dumps(provenance, allow_nan=False, sort_keys=True)
    with FORMAT.create(path) as file:
        file.attrs["operator"] = text
        if facts is not None:
            file.attrs["provenance"] = facts
        for name, values in arrays.items():
            file.create_dataset(name, data=values)


def load_selection(path: Path) -> Operator:
    """Read what `save_selection` wrote, bit for bit; files of version 0.1 too.

    Raises `SelectionFileError` for a file that is not there, is no operator, is of a newer version
    or damaged, or whose kind is not in the registry: the message names the kinds that are. A kind
    of one's own is there once the module that registers it was imported.

    ```python
    load_selection("operator.h5").p_sel(4.0, 7.0, 0.3)
    ```
    """
    with _open(path) as file:
        try:
            tree, arrays = _contents(file)
            operator = _with_facts(decode(tree, arrays, OPERATORS), file)
        except (ValueError, TypeError) as error:
            if isinstance(error, FileError):
                raise
            raise SelectionFileError(f"{path}: {error}") from error
    if not isinstance(operator, AbstractSelection | PhotometricNetwork):
        raise SelectionFileError(
            f"{path}: holds a {type(operator).__name__}, which is registered as an operator but is "
            "no AbstractSelection"
        )
    return operator


def selection_provenance(path: Path) -> dict[str, Any]:
    """The facts saved with an operator; empty where there are none. Raises as `load_selection`.

    ```python
    save_selection(operator, "mine.h5", {"survey": "LEGUS"})
    selection_provenance("mine.h5")["survey"]  # "LEGUS"
    ```
    """
    with _open(path) as file:
        return read_json_attribute(file, "provenance") if "provenance" in file.attrs else {}


@contextmanager
def _open(path: Path) -> Iterator[h5py.File]:
    with FORMAT.opened(path) as file:
        if not is_version_1(file):
            FORMAT.check_header(file, path)
        yield file


def _with_facts(operator: Any, file: h5py.File) -> Any:
    """Networks of before operators carried facts have those of the table that they were learned
    from, as their provenance has it."""
    if not isinstance(operator, NetworkSelection | PhotometricNetwork) or operator.learned_for:
        return operator
    facts = read_json_attribute(file, "provenance") if "provenance" in file.attrs else {}
    if not isinstance(meta := facts.get("injections"), dict):
        return operator
    tables = tuple(facts.get("tables_sha256", ()))
    known = dataclasses.replace(facts_of_meta(meta), tables_sha256=tables)
    return dataclasses.replace(operator, learned_for=known)


def _contents(file: h5py.File) -> tuple[object, Arrays]:
    arrays: Arrays = {}

    def collect(name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[()]

    file.visititems(collect)
    if is_version_1(file):
        return read_version_1(file, arrays)
    return read_json_attribute(file, "operator"), arrays
