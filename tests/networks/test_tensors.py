"""Named arrays in a file: what comes back, what the format says, and what is refused."""

import json
import pathlib

import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.networks.tensors import read_tensors, write_tensors

ARRAYS = {
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "flag": np.array([True, False, True]),
    "count": np.array(3, np.int64),
    "none": np.zeros((0, 4)),
    "half": np.array([0.5, -2.0], np.float16),
    "columns": np.arange(6.0).reshape(2, 3).T,
    "turned": np.array([1.5, 2.5], ">f8"),
}


def test_arrays_come_back(tmp_path: pathlib.Path):
    write_tensors(tmp_path / "x.safetensors", ARRAYS)
    found = read_tensors(tmp_path / "x.safetensors")
    assert set(found) == set(ARRAYS)
    for name, values in ARRAYS.items():
        assert found[name].dtype == values.dtype.newbyteorder("<")
        assert found[name].shape == values.shape and (found[name] == values).all()


def test_the_bytes_are_those_that_the_format_says(tmp_path: pathlib.Path):
    write_tensors(tmp_path / "x.safetensors", {"b": ARRAYS["a"]})
    data = (tmp_path / "x.safetensors").read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    assert header == {"b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    assert np.frombuffer(data[8 + n :], "<f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_type_that_the_format_lacks_is_refused(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match="<U1"):
        write_tensors(tmp_path / "x.safetensors", {"z": np.array(["a"])})
    assert not list(tmp_path.iterdir())


def damaged() -> list[bytes]:
    header = json.dumps({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}).encode()
    return [
        b"",
        b"\x89HDF\r\n\x1a\n" + b"x" * 100,
        (4).to_bytes(8, "little") + b"{{{{",
        len(header).to_bytes(8, "little") + header + b"\0" * 8,
    ]


@pytest.mark.parametrize("data", damaged())
def test_a_damaged_file_is_named(tmp_path: pathlib.Path, data: bytes):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(FileError, match=r"x\.safetensors"):
        read_tensors(path)
    with pytest.raises(FileError):
        read_tensors(tmp_path / "none.safetensors")
