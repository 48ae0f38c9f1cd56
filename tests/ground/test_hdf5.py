"""HDF5 files: one header, and no fault of a file that is not named."""

import os
import pathlib
import resource

import h5py
import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.hdf5 import Format, check_structure, read_json_attribute


class ThingError(FileError): ...


THING = Format("starcensus thing", 2, "thing", "`make thing` writes one", ThingError)
VALUES = np.random.default_rng(0).normal(size=(20, 3))


def write(path: pathlib.Path) -> None:
    with THING.create(path) as file:
        file["x"] = VALUES
        file.create_dataset("packed", data=VALUES, chunks=(7, 3), compression="gzip", shuffle=True)
        file["names"] = np.array(["a", "bc"], dtype=h5py.string_dtype())
        file.create_group("g")["numbers"] = np.arange(5)
        file["g"].attrs["meta"] = '{"a": [1]}'


def read(path: pathlib.Path) -> tuple:
    with THING.open(path) as file:
        return (
            file["x"][...].tolist(),
            file["packed"][...].tolist(),
            list(file["names"].asstr()[...]),
            file["g/numbers"][...].tolist(),
            read_json_attribute(file["g"], "meta"),
        )


@pytest.fixture
def path(tmp_path: pathlib.Path) -> pathlib.Path:
    write(tmp_path / "thing.h5")
    return tmp_path / "thing.h5"


def test_a_file_is_read_as_it_was_written(path: pathlib.Path):
    values = VALUES.tolist()
    assert read(path) == (values, values, ["a", "bc"], [0, 1, 2, 3, 4], {"a": [1]})
    with h5py.File(path) as file:
        assert dict(file.attrs) == {"format": "starcensus thing", "version": 2}


def test_one_content_is_one_file(path: pathlib.Path, tmp_path: pathlib.Path):
    write(tmp_path / "again.h5")
    assert (tmp_path / "again.h5").read_bytes() == path.read_bytes()


def test_an_error_while_writing_leaves_the_old_file(path: pathlib.Path):
    before = path.read_bytes()
    with pytest.raises(KeyError), THING.create(path) as file:
        file["x"] = 1
        raise KeyError
    assert path.read_bytes() == before and os.listdir(path.parent) == ["thing.h5"]


@pytest.mark.parametrize("limit", [500, 5_000, 50_000, 500_000])
def test_a_full_disk_is_named(path: pathlib.Path, limit: int):
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limits[1]))
    try:
        # In the system's words, and not in HDF5's.
        words = r"cannot write [^:]*thing\.h5: File too large$"
        with pytest.raises(FileError, match=words), THING.create(path) as file:
            for i in range(10):
                file[f"x{i}"] = np.zeros(10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["thing.h5"]


HEADERS = {
    "another format": ({"format": "other"}, "other"),
    "no format": ({"format": None}, "no format"),
    "no text": ({"format": [1, 2]}, "no thing"),
    "newer": ({"version": 3}, "version 3.*up to 2"),
    "zero": ({"version": 0}, "version 0"),
    "no version": ({"version": None}, "version None"),
    "words": ({"version": "2"}, "version 2"),
    "many": ({"version": [1, 2]}, "version"),
    "half": ({"version": 1.5}, r"version 1\.5"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_another_header_is_refused(path: pathlib.Path, name: str):
    attributes, words = HEADERS[name]
    with h5py.File(path, "a") as file:
        for key, value in attributes.items():
            del file.attrs[key]
            if value is not None:
                file.attrs[key] = value
    with pytest.raises(ThingError, match=rf"thing\.h5.*{words}"):
        read(path)


def test_an_older_version_is_read(path: pathlib.Path):
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 1
    assert read(path)[2] == ["a", "bc"]


@pytest.mark.parametrize("content", [b"", b"text", b"\x89HDF\r\n\x1a\n", b"SIMPLE  = T" * 1000])
def test_what_is_no_hdf5_is_refused(tmp_path: pathlib.Path, content: bytes):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(ThingError, match=r"a\.h5.*make thing"):
        read(tmp_path / "a.h5")


def test_a_missing_file_and_a_folder_are_named(tmp_path: pathlib.Path):
    for wrong in (tmp_path, tmp_path / "none.h5"):
        with pytest.raises(ThingError, match=r"thing.*make thing"):
            read(wrong)


def test_a_file_cut_anywhere_is_refused(path: pathlib.Path):
    content = path.read_bytes()
    for length in range(0, len(content), 131):
        path.write_bytes(content[:length])
        with pytest.raises(ThingError, match=r"thing\.h5"):
            read(path)


@pytest.mark.parametrize("start", range(4))
def test_flipped_bytes_never_reach_the_caller_as_h5pys_errors(path: pathlib.Path, start: int):
    content = bytearray(path.read_bytes())
    refused = 0
    for position in range(start * 20, len(content), 83):
        changed = content.copy()
        changed[position] ^= (0xFF, 0x01, 0x80, 0x10)[start]
        path.write_bytes(changed)
        try:
            read(path)  # A flipped bit of a value is another value.
        except ThingError as error:
            assert "thing.h5" in str(error)
            refused += 1
    assert refused > 5


def test_a_loader_says_itself_what_is_wrong_with_the_content(path: pathlib.Path):
    class OwnError(ValueError): ...

    OwnError.__module__ = "starcensus.mine"
    with pytest.raises(OwnError, match="mine"), THING.open(path):
        raise OwnError("mine")
    for error in (KeyError("x"), ValueError("shape"), IndexError(3), TypeError("0-d")):
        with pytest.raises(ThingError, match="damaged"), THING.open(path):
            raise error
    with pytest.raises(ZeroDivisionError), THING.open(path):
        raise ZeroDivisionError


def external_link(file: h5py.File) -> None:
    file["bad"] = h5py.ExternalLink("/etc/passwd", "/")


def soft_link(file: h5py.File) -> None:
    file["g/bad"] = h5py.SoftLink("/x")


def hanging_link(file: h5py.File) -> None:
    file["bad"] = h5py.SoftLink("/nowhere")


def second_name(file: h5py.File) -> None:
    file["bad"] = file["x"]


def group_in_itself(file: h5py.File) -> None:
    # Two names each time: as a tree, this has 2^32 groups of 32 floors.
    file["g/bad"] = file["g"]
    file["g/worse"] = file["g"]


def external_storage(file: h5py.File) -> None:
    file.create_dataset("bad", (10,), "u1", external=[("/etc/passwd", 0, 10)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((3,), "f8")
    layout[:] = h5py.VirtualSource("/other.h5", "x", (3,))
    file.create_virtual_dataset("bad", layout)


def never_written(file: h5py.File) -> None:
    file.create_dataset("bad", (10,), "f8")


def huge(file: h5py.File) -> None:
    file.create_dataset("bad", (10**9,), "f8")


def huge_in_chunks(file: h5py.File) -> None:
    file.create_dataset("bad", (10**9,), "f8", chunks=(10**6,), compression="gzip")


def one_chunk_of_many(file: h5py.File) -> None:
    file.create_dataset("bad", (100,), "f8", chunks=(10,), compression="gzip")[:10] = 1.0


def deep(file: h5py.File) -> None:
    file.create_group("/".join("a" * 40))


def named_type(file: h5py.File) -> None:
    file["bad"] = np.dtype("f8")


@pytest.mark.parametrize(
    "spoil",
    [
        external_link,
        soft_link,
        hanging_link,
        second_name,
        group_in_itself,
        external_storage,
        virtual,
        never_written,
        huge,
        huge_in_chunks,
        one_chunk_of_many,
        deep,
        named_type,
    ],
)
def test_a_file_that_reads_others_or_invents_values_is_refused(path: pathlib.Path, spoil):
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(ThingError, match=r"thing\.h5"):
        read(path)


@pytest.mark.parametrize("spoil", [external_storage, virtual])
def test_values_of_other_files_are_named(path: pathlib.Path, spoil):
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(ThingError, match="bad takes its values from other files; refused"):
        read(path)


def test_what_h5py_writes_of_plain_values_is_accepted(tmp_path: pathlib.Path):
    with THING.create(tmp_path / "a.h5") as file:
        file["empty"] = np.zeros((0, 3))
        file["scalar"] = 3.0
        file["text"] = "words"
        file["nothing"] = h5py.Empty("f8")
        file["truth"] = np.array([True, False])
        file.create_dataset("zeros", data=np.zeros(10**6), compression="gzip", compression_opts=9)
        file.create_dataset("grown", data=np.ones(5), maxshape=(None,), chunks=(3,))
        file.create_dataset("no_rows", data=np.ones((0, 4)), maxshape=(None, 4), chunks=(3, 4))
    with THING.open(tmp_path / "a.h5") as file:
        assert set(file) == {
            "empty", "scalar", "text", "nothing", "truth", "zeros", "grown", "no_rows"
        }  # fmt: skip
        check_structure(file, tmp_path / "a.h5")


def test_a_heap_of_texts_that_is_damaged_is_refused_before_it_is_read(path: pathlib.Path):
    """HDF5's library never comes back from an attribute in such a heap."""
    content = path.read_bytes()
    at = content.index(b"GCOL\x01")
    first = content[at + 24 : at + 32]
    for size in (2**63, 2**64 - 16, len(content)):
        spoilt = content[: at + 24] + size.to_bytes(8, "little") + content[at + 32 :]
        path.write_bytes(spoilt)
        with pytest.raises(ThingError, match=r"thing\.h5.*heap of texts at byte"):
            read(path)
    path.write_bytes(content)
    assert int.from_bytes(first, "little") > 0 and read(path)[2] == ["a", "bc"]
