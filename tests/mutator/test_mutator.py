"""Each reader, with a few damaged files of each kind; `python -m tests.mutator` tries many more."""

import pathlib
import time

import numpy as np
import pytest
from tests.mutator import outcome
from tests.mutator.damage import TEXT
from tests.mutator.outcome import Reader, attempt, attempts, damaged
from tests.mutator.readers import readers

READERS = {reader.name: reader for reader in readers()}


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_accepted_or_refused_in_words(name: str, tmp_path: pathlib.Path):
    """Catches a traceback, a hang and a waste of memory in the reader of any format."""
    reader = READERS[name]
    found = list(attempts(reader, tmp_path, range(len(reader.ways))))
    faults = [each for each in found if each[2].what not in ("accepted", "refused")]
    assert not faults
    assert sum(each[2].what == "refused" for each in found) >= 3


# Of many thousands these were tracebacks.
FOUND = [
    ("SLUG v3", 188),
    ("frame", 249),
    ("frame", 337),
    ("catalogue: csv", 282),
    ("detections: ECSV", 256),
]


@pytest.mark.parametrize(("name", "number"), FOUND)
def test_what_the_mutator_found_once(name: str, number: int, tmp_path: pathlib.Path):
    [(_, _, found)] = attempts(READERS[name], tmp_path, range(number, number + 1))
    assert found.what in ("accepted", "refused"), found.words


def make(folder: pathlib.Path) -> pathlib.Path:
    path = folder / "numbers.txt"
    path.write_text("1 2 3\n")
    return path


def bug(path: pathlib.Path) -> object:
    return {}["no such key"]


def nameless(path: pathlib.Path) -> object:
    raise ValueError("it is damaged")


def wasteful(path: pathlib.Path) -> object:
    return np.empty(4 * outcome.LIMIT_BYTES, np.uint8)


@pytest.mark.parametrize(
    ("read", "what"), [(bug, "traceback"), (nameless, "traceback"), (wasteful, "memory")]
)
def test_faults_of_a_reader_are_seen(tmp_path: pathlib.Path, read, what: str):
    assert attempt(Reader("mine", make, read, TEXT), make(tmp_path)).what == what


def test_a_reader_that_takes_too_long_is_seen(tmp_path: pathlib.Path, monkeypatch):
    monkeypatch.setattr(outcome, "LIMIT_S", 1)
    slow = Reader("mine", make, lambda path: time.sleep(30), TEXT)
    assert attempt(slow, make(tmp_path)).what == "hang"


@pytest.mark.parametrize("name", READERS)
def test_one_number_is_one_damage(name: str, tmp_path: pathlib.Path):
    reader = READERS[name]
    content = reader.make(tmp_path).read_bytes()
    ways = range(len(reader.ways))
    first = [damaged(reader, content, number) for number in ways]
    assert [damaged(reader, content, number) for number in ways] == first
    changed = sum(spoilt != content for _, spoilt in first)
    assert changed >= 0.6 * len(ways)
