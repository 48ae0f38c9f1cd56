"""Files: written in one step, read with every fault of the format named.

Whatever starcensus writes goes through `replacing`: a file is there whole or not at all, and two
processes that write the same name never share a temporary. HDF5 has a door of its own,
`starcensus.hdf5`.
"""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import secrets
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

type Path = str | os.PathLike[str]


class FileError(ValueError):
    """A file cannot be read or written; the message names it, what is wrong and what to do."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[pathlib.Path]:
    """A new file to write, which takes the place of `path` when the block ends without an error.

    It lies in the same folder and has the same suffix. When the block fails it goes, and what was
    at `path` stays as it was. Raises `FileError` where the folder cannot be written.

    ```python
    with replacing("table.txt") as temporary:
        temporary.write_text("1 2 3")
    ```
    """
    target = pathlib.Path(path)
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        # Names may have 255 bytes, and a character up to 4 of them.
        stem = target.stem[:40]
        temporary = target.with_name(f".{stem}.{secrets.token_hex(6)}{target.suffix}")
        # The kernel applies the umask, which a file of `tempfile` would escape.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except (OSError, ValueError) as error:
        raise FileError(f"cannot write {_short(target)}: {reason(error)}") from error
    try:
        yield temporary
        os.replace(temporary, target)
    except OSError as error:
        raise FileError(f"cannot write {target}: {reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text in UTF-8, in one step; raises `FileError` where that fails.

    ```python
    write_text("note.txt", "V = 23.98 mag")
    ```
    """
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in one step.

    Paths become text and NumPy's numbers become numbers. Raises `ValueError` for NaN and infinity,
    `TypeError` for what JSON cannot say, an array for one, and `FileError` where writing fails.

    ```python
    write_json("summary.json", {"n_clusters": np.int64(214)})
    ```
    """
    write_text(path, to_json(content, indent=2, allow_nan=False) + "\n")


def to_json(content: Mapping[str, Any], **options: Any) -> str:
    """Text of JSON with paths as text and NumPy's numbers as numbers.

    `options` are those of `json.dumps`. Raises `TypeError` for what JSON cannot say.

    ```python
    to_json({"seed": np.int64(1)}, sort_keys=True)  # '{"seed": 1}'
    ```
    """

    def plain(value: object) -> object:
        if isinstance(value, os.PathLike):
            return os.fspath(value)
        # A number of NumPy or JAX, without importing either.
        if getattr(value, "shape", None) == ():
            return value.item()  # pyright: ignore[reportAttributeAccessIssue]
        raise TypeError(f"{_short(repr(value))} ({type(value).__name__}) cannot be said in JSON")

    return json.dumps(content, default=plain, **options)


def read_text(path: Path, what: str = "file") -> str:
    """Text of a file of the user's.

    **Arguments:**

    - `path`: the file, in UTF-8.
    - `what`: what it should be, for the message: "survey file".

    Raises `FileError` where there is no such file, or it cannot be read or is not UTF-8.

    ```python
    read_text("catalogue.ecsv", "catalogue")
    ```
    """
    source = existing(path, what)
    try:
        return source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{source}: is not text in UTF-8 ({error}); save it as UTF-8") from error
    except OSError as error:
        raise FileError(f"{source}: cannot be read: {reason(error)}") from error


@contextlib.contextmanager
def reading(path: Path, what: str = "file", *libraries: str) -> Iterator[pathlib.Path]:
    """The path of a file that is there, whose faults name it while the block reads it.

    **Arguments:**

    - `path`: the file. `what`: what it should be, for the message: "isochrone file".
    - `libraries`: names of packages that read it, "astropy": what they raise is a fault of the
      file. What anything else raises, our own bugs above all, stays as it is.

    Raises `FileError` for what our checks say, or these libraries.

    ```python
    write_text("mine.txt", "1 2 3")
    with reading("mine.txt", "list of numbers") as path:
        read_numbers(path)
    ```
    """
    with naming(existing(path, what), what, *libraries) as source:
        yield pathlib.Path(source)


@contextlib.contextmanager
def naming(source: Path, what: str = "file", *libraries: str) -> Iterator[Path]:
    """As `reading`, for what is no file by itself, as a member of an archive.

    ```python
    with naming("net.pt", "checkpoint", "zipfile"):
        ...
    ```
    """
    try:
        yield source
    except FileError as error:
        if os.path.basename(source) in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error
    except Exception as error:
        if isinstance(error, ValueError) and raised_by(error) == "starcensus":
            if os.path.basename(source) in str(error):
                raise
            raise FileError(f"{source}: {error}") from error
        if raised_by(error) not in libraries:
            raise
        words = _short(" ".join(str(error).split()) or type(error).__name__)
        raise FileError(f"{source}: is damaged, or no {what} ({words})") from error


def raised_by(error: BaseException) -> str:
    """The package at fault: ours, where our own code raised, else the one that ours called.

    ```python
    raised_by(ValueError("never raised"))  # ""
    ```
    """
    trace, packages = error.__traceback__, []
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        packages.append(name.partition(".")[0])
        trace = trace.tb_next
    ours = [i for i, package in enumerate(packages) if package == "starcensus"]
    after = packages[ours[-1] + 1 :] if ours else packages
    return after[0] if after else "starcensus" if ours else ""


def read_numbers(path: Path, what: str = "table of numbers") -> "np.ndarray":
    r"""Rows of numbers of a text file, `(row, column)`; `#` begins a comment.

    Raises `FileError` naming the line that is none, or has more or fewer than the others.

    ```python
    write_text("mine.txt", "# mass age\n1.0 7.0\n2.0 7.5")
    read_numbers("mine.txt")
    ```
    """
    return parse_numbers(read_text(path, what).splitlines(), str(path))


def parse_numbers(lines: list[str], source: str, first: int = 1) -> "np.ndarray":
    """As `read_numbers`, of lines, the first of which has the number `first` in `source`.

    ```python
    parse_numbers(["1 2", "3 4"], "mine")
    ```
    """
    import numpy as np  # slow to import, and not every command reads tables

    if not any(line.partition("#")[0].strip() for line in lines):
        raise FileError(f"{source}: holds no numbers")
    try:
        return np.loadtxt(lines, ndmin=2)
    except ValueError as error:
        said, width = error, 0
    for number, line in enumerate(lines, first):
        words = line.partition("#")[0].split()
        for word in words:
            try:
                float(word)
            except ValueError:
                raise FileError(
                    f"{source}, line {number}: {_short(word)!r} is not a number"
                ) from None
        width = width or len(words)
        if words and len(words) != width:
            raise FileError(
                f"{source}, line {number}: has {len(words)} numbers; the lines before it have "
                f"{width}"
            )
    raise FileError(f"{source}: cannot be read as numbers ({said})") from said


def read_toml(path: Path, what: str = "TOML file") -> tuple[dict[str, Any], str]:
    r"""Tables and text of a TOML file.

    Raises `FileError` for a file that is missing, is not UTF-8 or is not TOML, naming the line.

    ```python
    write_text("survey.toml", "[pipeline]\nkind = 'legus'\n")
    tables, text = read_toml("survey.toml", "survey file")
    ```
    """
    text = read_text(path, what)
    return parse_toml(text, str(path)), text


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Tables of a TOML text.

    `source` names the text in messages. Raises `FileError` naming it and the line at fault.

    ```python
    parse_toml("limit = 24.0", "mine")  # {"limit": 24.0}
    ```
    """
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise FileError(f"{source}: not valid TOML: {error}") from error
    except RecursionError as error:
        raise FileError(f"{source}: tables are nested too deeply to be read") from error


def read_json(path: Path, what: str = "JSON file") -> Any:
    """Content of a JSON file; raises `FileError` where it is missing, is not UTF-8 or is not JSON.

    ```python
    write_json("summary.json", {"n_clusters": 214})
    read_json("summary.json")["n_clusters"]  # 214
    ```
    """
    text = read_text(path, what)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path}: not valid JSON: {error}") from error


def cache_folder() -> pathlib.Path | None:
    """Folder for what can be made again: `$STARCENSUS_CACHE`, else starcensus/ of the user's cache.

    The user's cache is `$XDG_CACHE_HOME`, or ~/.cache. None where nothing is to be kept:
    `STARCENSUS_CACHE=off`, or no home. The folder need not exist, nor be one that can be written.

    ```python
    cache_folder()  # ~/.cache/starcensus
    ```
    """
    given = os.environ.get("STARCENSUS_CACHE", "")
    if given:
        return None if given == "off" else pathlib.Path(given)
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification ignores relative paths.
    if base and os.path.isabs(base):
        return pathlib.Path(base, "starcensus")
    try:
        return pathlib.Path.home() / ".cache" / "starcensus"
    except RuntimeError:
        return None


def trim(folder: Path, max_bytes: int, pattern: str = "*") -> None:
    """Remove the files of a folder longest unused until the rest is at most `max_bytes` together.

    **Arguments:**

    - `folder`: with all folders below it.
    - `max_bytes`: the most that may stay.
    - `pattern`: the names of the files that count; folders that are left empty go too.

    Raises `OSError` where they cannot be removed.

    ```python
    trim("images", max_bytes=1_000_000, pattern="*.fits")
    ```
    """
    files = []
    for path in pathlib.Path(folder).rglob(pattern):
        # Another process may trim at the same time.
        with contextlib.suppress(FileNotFoundError):
            state = path.stat()
            if path.is_file():
                files.append((max(state.st_atime, state.st_mtime), state.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files, key=lambda file: file[0]):
        if total <= max_bytes:
            return
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            path.parent.rmdir()
        total -= size


def existing(path: Path, what: str = "file") -> pathlib.Path:
    """The path of a file that is there.

    `what` is what it should be, for the message. Raises `FileError` for none, or for a folder.

    ```python
    existing("catalogue.ecsv", "catalogue")
    ```
    """
    source = pathlib.Path(path)
    try:
        if source.is_file():
            return source
        there = source.exists()
    except (OSError, ValueError) as error:
        raise FileError(f"{_short(source)}: cannot be a {what}: {reason(error)}") from error
    if there:
        kind = "a folder" if source.is_dir() else "no regular file"
        raise FileError(f"{_short(source)}: is {kind}; expected a {what}")
    raise FileError(f"{_short(source)}: there is no such {what}")


def prepare_folder(folder: Path) -> pathlib.Path:
    """Make a folder for results, with those above it, and return its path.

    Raises `FileError` where that, or writing into it, fails.

    ```python
    prepare_folder("results/fit")
    ```
    """
    made = pathlib.Path(folder)
    try:
        made.mkdir(parents=True, exist_ok=True)
        probe = made / f".{secrets.token_hex(6)}"
        probe.touch(exist_ok=False)
        probe.unlink()
    except (OSError, ValueError) as error:
        raise FileError(
            f"cannot write to the output folder {_short(made)}: {reason(error)}"
        ) from error
    return made


def prepare_file(path: Path) -> pathlib.Path:
    """Make the folder of a file that is to be written, and return the file's path.

    Raises `FileError` where no file of that name can be, as for a folder, or its folder cannot be
    written.

    ```python
    prepare_file("results/library.h5")
    ```
    """
    target = pathlib.Path(path)
    if not target.name or target.name == ".." or _is_folder(target):
        raise FileError(f"{_short(target)}: is a folder; expected the name of a file to write")
    prepare_folder(target.parent)
    try:
        target.exists()
    except (OSError, ValueError) as error:  # A name that the file system does not take.
        raise FileError(f"cannot write {_short(target)}: {reason(error)}") from error
    return target


def _is_folder(path: pathlib.Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def checksum(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal; raises `FileError` for a file that cannot be read.

    ```python
    checksum("catalogue.ecsv")
    ```
    """
    try:
        with existing(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {reason(error)}") from error


def state(path: Path) -> tuple[int, ...]:
    """What changes whenever the file at a path becomes another, without reading it.

    For what a process keeps of a file: the number and size of the file, and the times of its last
    changes, one of which no program can set. Raises `FileError` for a file that is not there.

    ```python
    state("grid.h5")
    ```
    """
    try:
        found = existing(path).stat()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {reason(error)}") from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def files_below(folder: Path) -> list[pathlib.Path]:
    """All files of a folder and of those in it, also of folders that are links; in order.

    ```python
    [path.name for path in files_below("atmospheres")]
    ```
    """
    found, waiting, seen = [], [pathlib.Path(folder)], set()
    while waiting:
        place = waiting.pop()
        if (real := place.resolve()) in seen:
            continue
        seen.add(real)
        for path in place.iterdir():
            if path.is_dir():
                waiting.append(path)
            elif path.is_file():
                found.append(path)
    return sorted(found)


def reason(error: OSError | ValueError) -> str:
    """What the system says of an error, without the path: "No such file or directory"."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)


def listed(names: Iterable[object]) -> str:
    """Names of a file for a message: each of 60 characters at most, and 40 of them.

    A damaged table has columns of thousands of characters.

    ```python
    listed(["mass", "age"])  # "mass, age"
    ```
    """
    all_ = [str(name) for name in names]
    shown = [name if len(name) <= 60 else name[:60] + "…" for name in all_[:40]]
    return ", ".join(shown) + (f" and {len(all_) - 40} more" if len(all_) > 40 else "")


def _short(value: object) -> str:
    """Text of at most 300 characters."""
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "…"
