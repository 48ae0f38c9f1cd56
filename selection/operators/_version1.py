"""Files of version 0.1: the same arrays and settings, under other names.

Such a file has the root attributes `starcensus_kind`, `format_version` and `metadata`; networks lie
in `network_K` with `weight_L` and `bias_L`, a nuisance distribution in `nuisance_values` and
`nuisance_weights`, the operators that another is made of in groups of their own.
"""

import json
import re

import h5py

from ._fields import ARRAY, Arrays

_LAYER = re.compile(r"(weight|bias)_(\d+)")


def is_version_1(file: h5py.File) -> bool:
    """Whether the root's attributes are those of version 0.1."""
    return {"starcensus_kind", "format_version", "metadata"} <= set(file.attrs)


def read_version_1(file: h5py.File, arrays: Arrays) -> tuple[dict[str, object], Arrays]:
    """Tree and arrays as `_fields.decode` takes them; raises `ValueError`."""
    if str(file.attrs["format_version"]) != "1":
        raise ValueError(f"has format version {file.attrs['format_version']}; expected 1")
    header = {
        "kind": str(file.attrs["starcensus_kind"]),
        "metadata": json.loads(str(file.attrs["metadata"])),
    }
    renamed: Arrays = {}
    try:
        return _translate(header, arrays, "", renamed), renamed
    except KeyError as missing:
        raise ValueError(
            f"an operator of kind {header['kind']} lacks {missing}; the file has the arrays "
            f"{', '.join(arrays) or 'none'}"
        ) from missing


def _translate(header: object, arrays: Arrays, where: str, out: Arrays) -> dict[str, object]:
    if not isinstance(header, dict) or not isinstance(header.get("metadata"), dict):
        raise ValueError("the metadata are no table; save the operator again")
    kind, fields = header.get("kind"), dict(header["metadata"])
    if kind in ("network", "photometric_network"):
        fields["networks"] = [
            _network(_within(f"network_{k}/", arrays), f"{where}networks/{k}/", out)
            for k in range(int(fields.pop("n_networks")))
        ]
        if isinstance(fields.get("nuisance"), dict):
            fields["nuisance"] = fields["nuisance"] | {"values": ARRAY, "weights": ARRAY}
            for name in ("values", "weights"):
                out[f"{where}nuisance/{name}"] = arrays[f"nuisance_{name}"]
    for part in {"product": ("first", "second"), "recorded": ("base",)}.get(str(kind), ()):
        nested = _within(f"{part}/", arrays)
        fields[part] = _translate(fields[part], nested, f"{where}{part}/", out)
    for name, values in arrays.items():
        if "/" not in name and not name.startswith("nuisance_"):
            fields[name] = ARRAY
            out[f"{where}{name}"] = values
    return {"kind": kind, "fields": fields}


def _network(arrays: Arrays, where: str, out: Arrays) -> dict[str, object]:
    if not arrays:
        raise KeyError(where)
    layers: dict[str, list[str]] = {"weights": [], "biases": []}
    for name, values in arrays.items():
        if layer := _LAYER.fullmatch(name):
            part = "weights" if layer[1] == "weight" else "biases"
            layers[part].append(ARRAY)
            out[f"{where}{part}/{layer[2]}"] = values
        else:
            out[f"{where}{name}"] = values
    return {**layers, "mean": ARRAY, "scale": ARRAY}


def _within(prefix: str, arrays: Arrays) -> Arrays:
    return {n.removeprefix(prefix): v for n, v in arrays.items() if n.startswith(prefix)}
