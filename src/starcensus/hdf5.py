"""The door of every HDF5 file: one header, written in one step, and checked before it is read.

A file of starcensus names its format and version in root attributes. What opens one refuses
another format, a newer version, and anything by which a file could read other files or invent
values: external and soft links, external storage, virtual datasets, sizes that the file cannot
hold.
"""

import contextlib
import dataclasses
import json
import math
import mmap
import os
import pathlib
import re
import struct
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from h5py import h5o  # pyright: ignore[reportAttributeAccessIssue]

from starcensus.files import FileError, Path, existing, reason, replacing

# Deflate shrinks by 1032 at most; shuffling and checksums change nothing of that.
_MOST_COMPRESSED = 1100
_HEADER_BYTES = 65536
# A collection of the global heap: its signature, its version, and three bytes of zero.
_HEAP = b"GCOL\x01\0\0\0"


@dataclasses.dataclass(frozen=True)
class Format:
    """A kind of HDF5 file.

    **Arguments:**

    - `name`, `version`: the root attributes `format` and `version`.
    - `what`: the thing in words, "cluster library".
    - `remedy`: what a user can do about a file that is none: "`starcensus simulate library`
      writes one".
    - `error`: the class of the errors raised.

    ```python
    TRACKS = Format("mine.tracks", 1, "table of tracks", "`make tracks` writes one")
    with TRACKS.create("tracks.h5") as file:
        file["mass"] = np.array([1.0, 2.0])
    with TRACKS.open("tracks.h5") as file:
        mass = file["mass"][:]
    ```
    """

    name: str
    version: int
    what: str
    remedy: str
    error: type[FileError] = FileError

    @contextlib.contextmanager
    def create(self, path: Path) -> Iterator[h5py.File]:
        """A new file with the header, which takes the place of `path` when the block ends well.

        Raises `FileError` where it cannot be written.
        """
        with replacing(path) as temporary:
            try:
                file = h5py.File(temporary, "w")
                try:
                    file.attrs["format"] = self.name
                    file.attrs["version"] = self.version
                    yield file
                except BaseException:
                    # What is lost is not worth a second error.
                    with contextlib.suppress(Exception):
                        file.close()
                    raise
                try:
                    file.close()
                except RuntimeError as error:  # h5py's word for a disk that is full.
                    raise OSError(str(error)) from error
            except (OSError, RuntimeError) as error:
                # HDF5 hides the system's number in a paragraph of its own words.
                if (found := re.search(r"errno = (\d+)", str(error))) is None:
                    raise
                raise OSError(int(found[1]), os.strerror(int(found[1]))) from error

    @contextlib.contextmanager
    def open(self, path: Path) -> Iterator[h5py.File]:
        """The file, whose header and structure were checked, for reading.

        Raises `error` for a file that is missing, is not HDF5, is of another format or a newer
        version, refers to other files, or proves to be damaged while it is read.
        """
        with self.opened(path) as file:
            self.check_header(file, path)
            yield file

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[h5py.File]:
        """As `open`, for files whose header is another's: only the structure is checked."""
        try:
            source = existing(path, self.what)
        except FileError as error:
            raise self.error(f"{error}; {self.remedy}") from error
        with contextlib.ExitStack() as stack:
            try:
                if not h5py.is_hdf5(source):
                    raise self.error(f"{source}: is not an HDF5 file; {self.remedy}")
                _check_heaps(source)
                file = stack.enter_context(h5py.File(source, "r"))
                check_structure(file, source, self.error)
            except self.error:
                raise
            except Exception as error:  # Whatever h5py or NumPy say of damaged bytes.
                raise self._damaged(source, error) from error
            try:
                yield file
            except (OSError, RuntimeError, LookupError, TypeError, ValueError) as error:
                # What a loader of ours says of the content stands as it is.
                if type(error).__module__.split(".")[0] == "starcensus":
                    raise
                raise self._damaged(source, error) from error

    def check_header(self, file: h5py.File, path: Path) -> None:
        """Raises `error` unless the header is that of this format, of this version or older."""
        name, version = file.attrs.get("format"), file.attrs.get("version")
        if not isinstance(name, str) or name != self.name:
            said = "names no format" if name is None else f"holds {_short(name)}"
            raise self.error(f"{path}: {said}, and is no {self.what}; {self.remedy}")
        if not isinstance(version, int | np.integer) or not 1 <= int(version) <= self.version:
            raise self.error(
                f"{path}: has version {_short(version)} of {self.what}; this starcensus reads up "
                f"to {self.version}: install a newer one, or make the file again"
            )

    def _damaged(self, path: pathlib.Path, error: Exception) -> FileError:
        words = reason(error) if isinstance(error, OSError) and error.errno else str(error)
        return self.error(f"{path}: is cut off or damaged ({_short(words)}); {self.remedy}")


def check_structure(file: h5py.File, path: Path, error: type[FileError] = FileError) -> None:
    """Raises `error` for a file that refers to others, or declares more than it can hold.

    Refused are soft and external links, a group or dataset under two names, virtual and external
    datasets, chunks that were never written, and sizes beyond what `path` can hold.

    ```python
    import h5py

    with h5py.File("library.h5") as file:
        check_structure(file, "library.h5")
    ```
    """
    size = pathlib.Path(path).stat().st_size
    seen = {_address(file)}

    def visit(group: h5py.Group, depth: int) -> None:
        if depth > 32:
            raise error(f"{path}: groups are nested more than 32 deep")
        for name in group:
            link = group.get(name, getlink=True)
            where = f"{str(group.name or '').rstrip('/')}/{name}"
            if not isinstance(link, h5py.HardLink):
                raise error(f"{path}: {_short(where)} is a link to another place; refused")
            item = group.get(name)
            if not isinstance(item, h5py.Group | h5py.Dataset):
                raise error(f"{path}: {_short(where)} is no dataset and no group; refused")
            # A thing under two names is a link too, and groups may so hold themselves.
            if (address := _address(item)) in seen:
                raise error(f"{path}: {_short(where)} is a link to another place; refused")
            seen.add(address)
            if isinstance(item, h5py.Group):
                visit(item, depth + 1)
            else:
                _check_dataset(item, where, path, size, error)

    visit(file, 0)


def _check_heaps(path: pathlib.Path) -> None:
    """Raises `ValueError` for a heap of texts, of an HDF5 file, whose parts do not fill it.

    HDF5's library reads one that is damaged for ever. The layout is that of the HDF5 file format
    specification, version 3, section III.E.
    """
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as held:
        at = held.find(_HEAP)
        while at >= 0:
            (size,) = struct.unpack_from("<Q", held, at + 8) if at + 16 <= len(held) else (0,)
            if not 16 <= size <= len(held) - at or not _fills(held[at + 16 : at + size]):
                raise ValueError(f"the heap of texts at byte {at} is damaged")
            at = held.find(_HEAP, at + 8)


def _fills(heap: bytes) -> bool:
    """Whether the objects of a heap follow one another to its end."""
    at = 0
    while len(heap) - at >= 16:
        (number,), (size,) = (
            struct.unpack_from("<H", heap, at),
            struct.unpack_from("<Q", heap, at + 8),
        )
        # Object 0 is what is free, whose size counts its own head.
        step = size if number == 0 else 16 + -(-size // 8) * 8
        if step < 16 or at + step > len(heap):
            return False
        at += step
    return True


def _address(item: h5py.HLObject) -> int:
    return h5o.get_info(item.id).addr


def _check_dataset(
    item: h5py.Dataset, where: str, path: Path, file_size: int, error: type[FileError]
) -> None:
    if item.is_virtual or item.external:
        raise error(f"{path}: {_short(where)} takes its values from other files; refused")
    declared = int(item.size or 0) * item.dtype.itemsize
    stored = item.id.get_storage_size()
    if item.chunks is not None and None not in (item.shape, item.chunks):
        n_chunks = math.prod(-(-n // c) for n, c in zip(item.shape, item.chunks, strict=True))
        # HDF5 reads a chunk that was never written as zeros.
        if item.id.get_num_chunks() != n_chunks:
            raise error(
                f"{path}: {_short(where)} has {item.id.get_num_chunks()} of {n_chunks} parts; "
                "it is cut off or damaged"
            )
    most = stored if item.chunks is None else stored * _MOST_COMPRESSED + _HEADER_BYTES
    if stored > file_size or declared > max(most, 0):
        raise error(
            f"{path}: {_short(where)} declares {declared:,} bytes and the file holds "
            f"{min(stored, file_size):,} of it; it is cut off or damaged"
        )


def read_array(
    file: h5py.Group, name: str, kinds: str = "f", rows: slice = slice(None)
) -> np.ndarray:
    """A dataset whose values are of a kind.

    **Arguments:**

    - `kinds`: of NumPy's letters: `f` for real numbers, `iu` for whole ones, `b` for true or false.
    - `rows`: which of them are wanted.

    Raises `ValueError` for values of another kind and `KeyError` for no dataset of that name;
    inside `Format.open` both become errors that name the file.

    ```python
    import h5py

    with h5py.File("library.h5") as file:
        read_array(file, "log_mass")
    ```
    """
    item = file[name]
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in kinds:
        found = item.dtype if isinstance(item, h5py.Dataset) else "a group"
        words = {"f": "real numbers", "iu": "whole numbers", "b": "true or false"}
        raise ValueError(f"{name} holds {found}; expected {words.get(kinds, 'numbers')}")
    return np.asarray(item[rows] if item.ndim else item[()])


def read_json_attribute(file: h5py.HLObject, name: str) -> Any:
    """A JSON attribute of a file, group or dataset.

    Raises `KeyError` where there is none and `json.JSONDecodeError` where it is no JSON; inside
    `Format.open` both become errors that name the file.

    ```python
    import h5py

    with h5py.File("library.h5") as file:
        read_json_attribute(file, "meta")["design"]
    ```
    """
    return json.loads(str(file.attrs[name]))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "…"
