"""Named arrays in one file of the safetensors format, whole or not there."""

from collections.abc import Mapping

import numpy as np

from starcensus.files import Path, reading, replacing


def write_tensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, in one step.

    **Arguments:**

    - `path`: the file, by custom `*.safetensors`.
    - `arrays`: of floating point, of whole numbers or of truths; any shape.

    Raises `ValueError` for an array of another type, and `FileError` where writing fails.

    ```python
    write_tensors("net.safetensors", {"weight": np.ones((2, 3), np.float32)})
    ```
    """
    # Loaded by who has arrays to write.
    from safetensors import SafetensorError
    from safetensors.numpy import save

    # The library writes the bytes of an array as they lie in memory.
    plain = {n: np.ascontiguousarray(a, a.dtype.newbyteorder("<")) for n, a in arrays.items()}
    plain = {n: a.reshape(arrays[n].shape) for n, a in plain.items()}
    try:
        data = save(plain)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        kinds = sorted({str(a.dtype) for a in plain.values()})
        raise ValueError(
            f"arrays of the types {', '.join(kinds)} cannot all be written ({error}); expected "
            "numbers of fixed width or truths"
        ) from error
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name.

    Raises `FileError` for a file that is missing, of another format, or cut short.

    ```python
    write_tensors("net.safetensors", {"weight": np.ones((2, 3), np.float32)})
    read_tensors("net.safetensors")["weight"].shape  # (2, 3)
    ```
    """
    from safetensors.numpy import load

    with reading(path, "safetensors file", "safetensors") as source:
        return {name: np.array(values) for name, values in load(source.read_bytes()).items()}
