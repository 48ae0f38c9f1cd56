"""Files are whole or not there, and every fault of a format is named."""

import json
import multiprocessing
import os
import pathlib
import resource
import stat

import numpy as np
import pytest

from starcensus.files import (
    FileError,
    checksum,
    existing,
    parse_toml,
    prepare_file,
    prepare_folder,
    read_json,
    read_text,
    read_toml,
    replacing,
    write_json,
    write_text,
)

# SHA-256 of "abc", FIPS 180-2 appendix B.1.
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_appears_when_the_block_ends_and_its_suffix_is_kept(tmp_path: pathlib.Path):
    path = tmp_path / "table.fits.gz"
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".gz"
        temporary.write_text("new")
        assert not path.exists()
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["table.fits.gz"]


@pytest.mark.parametrize("error", [KeyError("mine"), KeyboardInterrupt(), OSError(28, "full")])
def test_an_error_inside_the_block_leaves_what_was_there(tmp_path: pathlib.Path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    expected = FileError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), replacing(path) as temporary:
        temporary.write_text("half")
        raise error
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_the_umask_holds(tmp_path: pathlib.Path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path: pathlib.Path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(FileError, match=r"cannot write .*a\.txt: File too large"):
            write_text(path, "x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("name", ["sun/a.txt", "file/a.txt", "nul\0.txt", "n" * 300, "folder", ""])
def test_what_cannot_be_written_is_a_file_error(tmp_path: pathlib.Path, name: str):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FileError, match="cannot write"), replacing(tmp_path / name):
        pytest.fail("the block is not entered")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_long_name_in_any_script_is_written(tmp_path: pathlib.Path):
    for name in ("n" * 250 + ".txt", "星" * 80 + ".txt", "🌌" * 62 + ".txt"):
        write_text(tmp_path / name, "x")
    assert len(os.listdir(tmp_path)) == 3


def _write_often(path: pathlib.Path, letter: str) -> None:
    for _ in range(50):
        write_text(path, letter * 200_000)


def test_two_processes_that_write_one_name_leave_one_whole_file(tmp_path: pathlib.Path):
    path = tmp_path / "a.txt"
    context = multiprocessing.get_context("forkserver")
    writers = [context.Process(target=_write_often, args=(path, letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    seen = set()
    while any(writer.is_alive() for writer in writers):
        if path.exists():
            seen.add(path.read_text())
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert seen <= {"a" * 200_000, "b" * 200_000}
    assert os.listdir(tmp_path) == ["a.txt"]


def test_json_round_trip_with_numbers_of_numpy_and_paths(tmp_path: pathlib.Path):
    content = {"f": np.float32(0.5), "i": np.int64(3), "b": np.bool_(True), "é": [1.5, None]}
    write_json(tmp_path / "a.json", {**content, "path": tmp_path})
    assert read_json(tmp_path / "a.json") == {**content, "path": str(tmp_path)}
    assert isinstance(json.loads((tmp_path / "a.json").read_text())["i"], int)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), np.zeros(3), object()])
def test_json_refuses_what_it_cannot_say(tmp_path: pathlib.Path, value: object):
    with pytest.raises((ValueError, TypeError)):
        write_json(tmp_path / "a.json", {"value": value})
    assert os.listdir(tmp_path) == []


BAD_TEXTS = {
    "utf-16": ("title = 'é'".encode("utf-16"), "UTF-8"),
    "latin-1": ("title = 'é'".encode("latin-1"), "UTF-8"),
    "line": (b"a = 1\nb =\n", "line 2"),
    "twice": (b"a = 1\na = 2\n", "line 2"),
    "nul": (b"a = 'x\0'", "not valid TOML"),
    "deep": (b"a = " + b"[" * 100_000, "deep|not valid TOML"),
    "digits": (b"a = " + b"1" * 5000, "not valid TOML"),
    "day": (b"a = 2026-02-30", "not valid TOML"),
}


@pytest.mark.parametrize("name", BAD_TEXTS)
def test_faults_of_toml_are_named(tmp_path: pathlib.Path, name: str):
    content, words = BAD_TEXTS[name]
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(FileError, match=rf"(?s)mine\.toml.*({words})"):
        read_toml(path)


def test_toml_with_a_byte_order_mark_is_read(tmp_path: pathlib.Path):
    path = tmp_path / "a.toml"
    path.write_bytes("a = 'é'".encode("utf-8-sig"))
    assert read_toml(path) == ({"a": "é"}, "a = 'é'")
    assert parse_toml("a = 1", "here") == {"a": 1}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b"1" * 5000, b"\xff\xfe{\0}\0", b"{} {}"]
)
def test_faults_of_json_are_named(tmp_path: pathlib.Path, content: bytes):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(FileError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


NO_FILES = ["missing", "folder", "nul\0", "n/" * 2500, "file/below", "loop", "pipe"]


@pytest.mark.parametrize("name", NO_FILES)
@pytest.mark.parametrize("read", [existing, read_text, read_json, read_toml, checksum])
def test_a_path_that_is_no_file_is_a_file_error(tmp_path: pathlib.Path, name: str, read):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileError) as caught:
        read(tmp_path / name)
    assert len(str(caught.value)) < 1000


def test_the_message_says_what_was_expected(tmp_path: pathlib.Path):
    with pytest.raises(FileError, match="no such survey file"):
        existing(tmp_path / "a", "survey file")
    with pytest.raises(FileError, match=r"is a folder.*survey file"):
        existing(tmp_path, "survey file")


def test_a_folder_for_results_is_made_and_left_empty(tmp_path: pathlib.Path):
    made = prepare_folder(tmp_path / "a" / "b")
    assert made.is_dir() and os.listdir(made) == []
    assert prepare_folder(made) == made


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0", "n" * 300])
def test_a_folder_that_cannot_be_is_a_file_error(tmp_path: pathlib.Path, name: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match="output folder"):
        prepare_folder(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_named(tmp_path: pathlib.Path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(FileError, match="Permission denied"):
            write_text(tmp_path / "a", "x")
        with pytest.raises(FileError, match="Permission denied"):
            prepare_folder(tmp_path)
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_of_the_kernel_cannot_be_written_by_anyone():
    with pytest.raises(FileError, match="cannot write"):
        write_text("/proc/starcensus.txt", "x")
    with pytest.raises(FileError, match="output folder"):
        prepare_folder("/proc/starcensus")


def test_a_checksum_is_sha256(tmp_path: pathlib.Path):
    (tmp_path / "a").write_bytes(b"abc")
    assert checksum(tmp_path / "a") == ABC


@pytest.mark.parametrize("name", [".", "..", "/", "folder", "folder/"])
def test_a_folder_is_no_file_to_write(tmp_path: pathlib.Path, name: str):
    (tmp_path / "folder").mkdir()
    place = name if name in (".", "..", "/") else tmp_path / name
    with pytest.raises(FileError, match="is a folder; expected the name of a file to write"):
        prepare_file(place)


def test_a_file_to_write_gets_its_folder_or_a_word(tmp_path: pathlib.Path):
    assert prepare_file(tmp_path / "a" / "b.h5").parent.is_dir()
    with pytest.raises(FileError, match=r"cannot write .*…: File name too long") as said:
        prepare_file(tmp_path / ("x" * 5000 + ".h5"))
    assert len(str(said.value)) < 500
