"""Named arrays in one flat file of the safetensors format, with NumPy alone.

The file is 8 bytes with the length of a header, the header in JSON (for each array its type, shape
and place), and the numbers one after the other, little-endian (https://github.com/huggingface/
safetensors, "Format"). Nothing in it can be run.
"""

import json
import math
from collections.abc import Mapping
from typing import TypeGuard

import numpy as np

from starcensus.files import FileError, Path, reading, replacing

_TYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _TYPES.items()}
# The format's own limit; a length beyond it means another kind of file.
_MAX_HEADER = 100_000_000


def write_tensors(
    path: Path, arrays: Mapping[str, np.ndarray], words: Mapping[str, str] | None = None
) -> None:
    """Write arrays by name, in one step.

    **Arguments:**

    - `path`: the file, by custom `*.safetensors`.
    - `arrays`: of floating point, of whole numbers or of truths; any shape.
    - `words`: texts that the header carries beside them.

    Raises `ValueError` for an array of another type or a name that the format keeps to itself, and
    `FileError` where writing fails.

    ```python
    write_tensors("net.safetensors", {"weight": np.ones((2, 3), np.float32)})
    ```
    """
    header: dict[str, object] = {"__metadata__": dict(words)} if words else {}
    parts, at = [], 0
    # The widest come first, so that each array begins at a multiple of its own width.
    for name in sorted(arrays, key=lambda n: (-np.asarray(arrays[n]).itemsize, n)):
        values = np.asarray(arrays[name])
        kind = _NAMES.get(values.dtype.newbyteorder("<"))
        if kind is None or name == "__metadata__":
            raise ValueError(
                f"array {name!r} is of type {values.dtype}; expected one of "
                f"{', '.join(str(d) for d in _NAMES)}, and a name other than '__metadata__'"
            )
        data = np.ascontiguousarray(values, _TYPES[kind]).tobytes()
        header[name] = {
            "dtype": kind,
            "shape": list(values.shape),
            "data_offsets": [at, at + len(data)],
        }
        parts.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for data in parts:
            file.write(data)


def read_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays by name, and the texts of the header.

    Raises `FileError` for a file that is missing, of another format, cut short, or whose arrays
    are of a type that NumPy does not have.

    ```python
    write_tensors("net.safetensors", {"weight": np.ones((2, 3), np.float32)})
    arrays, words = read_tensors("net.safetensors")
    arrays["weight"].shape  # (2, 3)
    ```
    """
    with reading(path, "safetensors file", "json") as source:
        data = source.read_bytes()
        size = int.from_bytes(data[:8], "little")
        if len(data) < 8 or size > _MAX_HEADER or 8 + size > len(data):
            raise FileError("is cut short, or no safetensors file")
        try:
            header = json.loads(data[8 : 8 + size])
        except (ValueError, RecursionError) as error:
            raise FileError(f"its header is not JSON ({error})") from error
        if not isinstance(header, dict):
            raise FileError("its header is no table of arrays")
        words = header.pop("__metadata__", {})
        body = memoryview(data)[8 + size :]
        arrays = {name: _array(name, entry, body) for name, entry in header.items()}
    return arrays, words


def _array(name: str, entry: object, body: memoryview) -> np.ndarray:
    if not isinstance(entry, dict) or entry.get("dtype") not in _TYPES:
        said = entry.get("dtype") if isinstance(entry, dict) else entry
        raise FileError(f"array {name!r} is of type {said!r}; expected one of {', '.join(_TYPES)}")
    shape, place = entry.get("shape"), entry.get("data_offsets")
    if not (_counts(shape) and _counts(place) and len(place) == 2):
        raise FileError(f"array {name!r} has shape {shape} and place {place}")
    kind, (begin, end) = np.dtype(_TYPES[entry["dtype"]]), place
    if not begin <= end <= len(body) or end - begin != math.prod(shape) * kind.itemsize:
        raise FileError(f"array {name!r} lies outside the file, or is not as long as its shape")
    return np.frombuffer(body[begin:end], kind).reshape(shape).copy()


def _counts(part: object) -> TypeGuard[list[int]]:
    return isinstance(part, list) and all(type(n) is int and n >= 0 for n in part)
