"""Named arrays in a flat file: its bytes as the format says, and what is refused."""

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
}


def test_arrays_and_words_come_back(tmp_path: pathlib.Path):
    write_tensors(tmp_path / "x.safetensors", ARRAYS, {"made": "today"})
    found, words = read_tensors(tmp_path / "x.safetensors")
    assert words == {"made": "today"} and set(found) == set(ARRAYS)
    for name, values in ARRAYS.items():
        assert found[name].dtype == values.dtype and found[name].shape == values.shape
        assert (found[name] == values).all()


def test_the_bytes_are_those_that_the_format_says(tmp_path: pathlib.Path):
    write_tensors(tmp_path / "x.safetensors", {"b": ARRAYS["a"]})
    data = (tmp_path / "x.safetensors").read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    assert n % 8 == 0
    assert header == {"b": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}
    assert np.frombuffer(data[8 + n :], "<f4").tolist() == [0, 1, 2, 3, 4, 5]


def test_the_library_of_the_format_reads_and_writes_the_same(tmp_path: pathlib.Path):
    theirs = pytest.importorskip("safetensors.numpy")
    write_tensors(tmp_path / "ours.safetensors", ARRAYS, {"made": "today"})
    found = theirs.load_file(tmp_path / "ours.safetensors")
    assert set(found) == set(ARRAYS)
    assert all(np.array_equal(found[n], ARRAYS[n]) for n in ARRAYS)
    theirs.save_file(ARRAYS, tmp_path / "theirs.safetensors")
    again, _ = read_tensors(tmp_path / "theirs.safetensors")
    assert all(np.array_equal(again[n], ARRAYS[n]) for n in ARRAYS)


def test_big_endian_numbers_are_turned(tmp_path: pathlib.Path):
    write_tensors(tmp_path / "x.safetensors", {"a": np.array([1.5, 2.5], ">f8")})
    assert read_tensors(tmp_path / "x.safetensors")[0]["a"].tolist() == [1.5, 2.5]


def test_a_type_that_the_format_lacks_is_refused(tmp_path: pathlib.Path):
    with pytest.raises(ValueError, match="'z' is of type complex128"):
        write_tensors(tmp_path / "x.safetensors", {"z": np.zeros(2, complex)})
    assert not list(tmp_path.iterdir())


def written(header: object, body: bytes = b"\0" * 8) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (b"\x89HDF\r\n\x1a\n" + b"x" * 100, "cut short, or no"),
        ((4).to_bytes(8, "little") + b"{{{{", "not JSON"),
        (written([1]), "no table of arrays"),
        (written({"a": {"dtype": "BF16", "shape": [1], "data_offsets": [0, 2]}}), "'BF16'"),
        (written({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}), "outside"),
        (written({"a": {"dtype": "F64", "shape": [2], "data_offsets": [0, 8]}}), "not as long"),
        (written({"a": {"dtype": "F64", "shape": [-1], "data_offsets": [0, 8]}}), "shape"),
        (written({"a": {"dtype": "F64", "shape": [1], "data_offsets": [-8, 0]}}), "place"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: pathlib.Path, data: bytes, message: str):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(FileError, match=message) as error:
        read_tensors(path)
    assert "x.safetensors" in str(error.value)
