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
from collections.abc import Iterator, Mapping
from typing import Any

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


def reason(error: OSError | ValueError) -> str:
    """What the system says of an error, without the path: "No such file or directory"."""
    number = error.errno if isinstance(error, OSError) else None
    return os.strerror(number) if number else str(error)


def _short(value: object) -> str:
    """Text of at most 300 characters."""
    text = str(value)
    return text if len(text) <= 300 else text[:300] + "…"
