"""What becomes of a damaged file, and the loop over many."""

import contextlib
import dataclasses
import pathlib
import resource
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from tests.mutator.damage import Damage

from starcensus.experiments.jobs._job import is_ours
from starcensus.files import FileError

LIMIT_S = 20
LIMIT_BYTES = 2 << 30


@dataclasses.dataclass(frozen=True)
class Reader:
    """Something that reads a file.

    **Arguments:**

    - `name`: of the kind of file.
    - `make`: writes valid files into a folder; returns the one that is damaged.
    - `read`: reads it.
    - `ways`: how it is damaged.
    """

    name: str
    make: Callable[[pathlib.Path], pathlib.Path]
    read: Callable[[pathlib.Path], object]
    ways: Mapping[str, Damage]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """`accepted`, `refused`, `traceback`, `hang` or `memory`, and its words."""

    what: str
    words: str = ""


class Hang(BaseException):
    """A reader took too long."""


def attempt(reader: Reader, path: pathlib.Path) -> Outcome:
    """What a reader makes of a file."""
    try:
        with bounded(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
    except Hang:
        return Outcome("hang")
    except MemoryError as error:
        return Outcome("memory", str(error))
    except (ValueError, FileNotFoundError, ImportError) as error:
        words = str(error)
        # The command line says these in one line, and takes others for bugs.
        spoken = isinstance(error, FileError | FileNotFoundError) or is_ours(error)
        files = {each.name for each in path.parent.iterdir()}
        if spoken and any(name in words for name in files) and len(words) < 1500:
            return Outcome("refused", words)
        return Outcome("traceback", _said(error))
    except Exception as error:
        return Outcome("traceback", _said(error))
    return Outcome("accepted")


def _said(error: Exception) -> str:
    places = traceback.extract_tb(error.__traceback__)
    ours = [place for place in places if "starcensus" in place.filename] or places
    place, last = ours[-1], places[-1]
    return (
        f"{type(error).__name__}: {str(error)[:200]} "
        f"({last.filename[-40:]}:{last.lineno}, of {place.filename[-40:]}:{place.lineno})"
    )


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Twenty seconds, and 2 GB more than there are now."""

    def stop(*_: object) -> None:
        raise Hang

    held = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT_S)
    resource.setrlimit(resource.RLIMIT_AS, (held + LIMIT_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def damaged(reader: Reader, content: bytes, number: int) -> tuple[str, bytes]:
    """Name of a way, and the content damaged in it, which follow from the number."""
    names = list(reader.ways)
    way = names[number % len(names)]
    rng = np.random.default_rng([number, len(content)])
    return way, reader.ways[way](content, rng)


def attempts(
    reader: Reader, folder: pathlib.Path, numbers: range
) -> Iterator[tuple[int, str, Outcome]]:
    """Number, way and outcome of each of many damages."""
    path = reader.make(folder)
    whole = path.read_bytes()
    first = attempt(reader, path)
    if first.what != "accepted":
        raise AssertionError(f"{reader.name}: the whole file is not read: {first}")
    for number in numbers:
        way, content = damaged(reader, whole, number)
        path.write_bytes(content)
        yield number, way, attempt(reader, path)
