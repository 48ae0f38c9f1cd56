"""Files of convolutional networks: a definition in JSON and parameters beside it."""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from starcensus.files import FileError, Path, checksum, read_json, write_json

from .conv_settings import ConvSettings, check_arrays
from .tensors import read_tensors, write_tensors

KIND = "starcensus convolutional network, 1"


def save_network(
    path: Path,
    settings: ConvSettings,
    arrays: Mapping[str, np.ndarray],
    about: Mapping[str, Any] | None = None,
) -> None:
    """Write the definition of a network, and beside it the parameters, of suffix `.safetensors`.

    **Arguments:**

    - `path`: the JSON file. It is written last, and says the other file's name and checksum.
    - `settings`: the definition.
    - `arrays`: parameters by name, of the shapes `settings.shapes()`; kept in single precision.
    - `about`: further facts that JSON can say, as the bins of the heads.

    Raises `ValueError` for arrays that do not fit, and `FileError` where writing fails.

    ```python
    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    save_network("net.json", conv, {n: np.zeros(s) for n, s in conv.shapes().items()})
    ```
    """
    check_arrays(settings, arrays)
    weights = pathlib.Path(path).with_suffix(".safetensors")
    ordered = {name: np.asarray(arrays[name], np.float32) for name in settings.shapes()}
    write_tensors(weights, ordered)
    definition = {
        "kind": KIND,
        "weights": weights.name,
        "sha256": checksum(weights),
        "network": settings.as_dict(),
        "about": dict(about or {}),
    }
    write_json(path, definition)


def read_network(path: Path) -> tuple[ConvSettings, dict[str, np.ndarray], dict[str, Any]]:
    """Definition, parameters and further facts of a network that `save_network` wrote.

    Raises `FileError` for files that are missing, damaged, or not of one another.

    ```python
    conv = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)
    arrays = {name: np.zeros(shape) for name, shape in conv.shapes().items()}
    save_network("net.json", conv, arrays, about={"galaxy": "M83"})
    read_network("net.json")[2]  # {"galaxy": "M83"}
    ```
    """
    content = read_json(path, "definition of a network")
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise FileError(f"{path}: is no definition of a network; expected kind {KIND!r}")
    try:
        settings = ConvSettings.from_dict(content["network"])
        # A name alone: a definition does not lead to files of other folders.
        weights = pathlib.Path(path).parent / pathlib.PurePath(content["weights"]).name
        arrays = read_tensors(weights)
        if checksum(weights) != content["sha256"]:
            raise FileError(f"{path}: {weights.name} is not the file that it was written with")
        check_arrays(settings, arrays)
        return settings, arrays, dict(content["about"])
    except FileError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise FileError(f"{path}: is damaged: {type(error).__name__}: {error}") from error
