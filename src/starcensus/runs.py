"""The identity of a run: everything that its result depends on, and nothing else.

A run is its settings, the checksums of all files that it reads, and the version of the code. The
key by which a finished run is known again, the provenance that lies beside the result, and what a
resumed run may continue all follow from that one description.
"""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import starcensus
from starcensus.files import FileError, Path, checksum, read_json, reason, to_json, write_json

_LIBRARIES = (
    "numpy",
    "scipy",
    "jax",
    "jaxlib",
    "equinox",
    "numpyro",
    "arviz",
    "arviz-stats",
    "astropy",
    "h5py",
)


# What file systems without hard links answer.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


class RunError(ValueError):
    """A run cannot be done as asked; the message says what is in the way."""


@dataclasses.dataclass(frozen=True)
class Input:
    """A file that a run reads.

    **Arguments:**

    - `name`: its name, without the folder.
    - `sha256`: its checksum.
    - `origin`: what is known of where it comes from, JSON-ready; not a part of the run's key.

    ```python
    Input.of("catalogue.ecsv", {"survey": "LEGUS"}).sha256
    ```
    """

    name: str
    sha256: str
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, path: Path, origin: Mapping[str, Any] | None = None) -> "Input":
        """The file at `path` with its checksum; raises `FileError` for one that cannot be read."""
        return cls(pathlib.Path(path).name, checksum(path), origin or {})


@dataclasses.dataclass(frozen=True)
class Run:
    """What the result of a run depends on.

    **Arguments:**

    - `kind`: kind of job, "fit".
    - `settings`: JSON-ready, with every default filled in; of what changes nothing of the result
      (workers, size of shards) nothing.
    - `inputs`: role → file: "catalogue", "selections.learned".
    - `seed`: seed of everything random, None where nothing is.
    - `code`: version of the code, by default that of this package with a digest of its files.

    ```python
    run = Run("fit", {"title": "mine"}, {"catalogue": Input.of("catalogue.ecsv")}, seed=1)
    run.key
    ```
    """

    kind: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, Input] = dataclasses.field(default_factory=dict)
    seed: int | None = None
    code: str = dataclasses.field(default_factory=lambda: code_version())

    @functools.cached_property
    def key(self) -> str:
        """SHA-256 over kind, settings, seed, code, and role and checksum of every input.

        Raises `TypeError` for settings that are not JSON-ready.
        """
        facts = {
            "kind": self.kind,
            "settings": self.settings,
            "inputs": {role: item.sha256 for role, item in self.inputs.items()},
            "seed": self.seed,
            "code": self.code,
        }
        text = to_json(facts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def provenance(self) -> dict[str, Any]:
        """Facts for `provenance.json`, JSON-ready."""
        return {
            "kind": self.kind,
            "key": self.key,
            "version": starcensus.__version__,
            "git_commit": git_commit(),
            "command": command_line(),
            "seed": self.seed,
            "settings": dict(self.settings),
            "inputs": {
                role: {
                    "name": item.name,
                    "sha256": item.sha256,
                    **({"origin": dict(item.origin)} if item.origin else {}),
                }
                for role, item in self.inputs.items()
            },
            **environment(),
        }

    def finished(self, folder: Path, *files: str, record: str = "run.json") -> bool:
        """Whether `folder` holds this very run, with all of its files as they were written.

        `files`: those that there must be.

        `record`: the file that says so, where a folder holds several runs.
        """
        try:
            found = read_json(pathlib.Path(folder) / record)
            sums = dict(found["files"])
            return (
                found["key"] == self.key
                and set(files) <= set(sums)
                and all(checksum(pathlib.Path(folder) / name) == sums[name] for name in sums)
            )
        except (FileError, KeyError, TypeError, ValueError):
            return False

    def finish(
        self,
        folder: Path,
        *files: str,
        record: str = "run.json",
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Say in `record` that the files of a folder are this run's; the last thing written.

        `facts`: what else the record holds.
        """
        sums = {name: checksum(pathlib.Path(folder) / name) for name in files}
        own = {"key": self.key, "files": sums}
        write_json(pathlib.Path(folder) / record, {**(facts or {}), **own})


@functools.cache
def code_version() -> str:
    """The package's version, with a digest of its sources and data: two edits are two versions.

    ```python
    code_version()  # "0.2.0 8c1f0a3b5d7e9f02"
    ```
    """
    root = pathlib.Path(starcensus.__file__).parent
    digest = hashlib.sha256()
    found = {path.name: path for path in root.glob("*.py")}
    for folder in (path for path in root.iterdir() if path.is_dir()):
        # The folders of a checkout are links, which rglob does not follow. What users may have
        # laid beside the code, results and files of settings, is no part of it.
        base = folder.resolve()
        for path in base.rglob("*"):
            within = path.relative_to(base)
            if path.is_file() and (path.suffix == ".py" or "data" in within.parts[:-1]):
                found[f"{folder.name}/{within.as_posix()}"] = path
    for name, path in sorted(found.items()):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return f"{starcensus.__version__} {digest.hexdigest()[:16]}"


def environment() -> dict[str, Any]:
    """Versions of libraries and of Python, and the hardware, JSON-ready. Loads JAX.

    ```python
    environment()["libraries"]["numpy"]
    ```
    """
    import jax

    return {
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "python": platform.python_version(),
        "hardware": {
            "machine": platform.machine(),
            "cpu_count": os.cpu_count(),
            "jax_devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        },
    }


def command_line() -> list[str]:
    """The command as it was typed, without the path of the interpreter's script.

    ```python
    command_line()  # ["starcensus", "run", "experiment.toml"]
    ```
    """
    return [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]


@functools.cache
def git_commit() -> str:
    """Commit of the source tree, `+changes` if it was edited; `installed` outside a checkout.

    ```python
    git_commit()
    ```
    """
    root = pathlib.Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "installed"

    def git(*arguments: str) -> str:
        run = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
        return run.stdout.strip() if run.returncode == 0 else ""

    commit = git("rev-parse", "HEAD") or "no commit"
    return commit + ("+changes" if git("status", "--porcelain", "--untracked-files=no") else "")


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Keep other runs from `out` while the block lasts.

    The lock is a file beside `out` that names host and process; one whose process is gone is
    taken over. Raises `RunError` where another run has it.

    ```python
    with locked("library.h5"):
        ...
    ```
    """
    target = pathlib.Path(out)
    if not target.name:
        raise RunError(f"{str(target)!r} is no file to write; choose another --out")
    path = target.with_name(f".{target.name}.lock")
    mine = {"host": platform.node(), "pid": os.getpid(), "token": secrets.token_hex(8)}
    _take(path, target, mine)
    try:
        yield
    finally:
        with contextlib.suppress(FileError):
            if read_json(path) == mine:
                path.unlink(missing_ok=True)


def _take(path: pathlib.Path, target: pathlib.Path, mine: Mapping[str, Any]) -> None:
    """Put our lock at `path`; a link to a whole file, so that no one reads half of it."""
    whole = path.with_name(f"{path.name}.{mine['token']}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        whole.write_text(json.dumps(mine))
        for _ in range(20):
            try:
                os.link(whole, path)
            except FileExistsError:
                _clear_stale(path, target)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                with contextlib.suppress(FileExistsError), path.open("x") as file:
                    json.dump(mine, file)
                    return
                _clear_stale(path, target)
            else:
                return
            time.sleep(0.05)
        raise RunError(
            f"{target} is being written by other runs; wait for them, or remove {path} if there "
            "are none"
        )
    except (OSError, ValueError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"cannot write beside {str(target)[:300]}: {reason(error)}") from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            whole.unlink(missing_ok=True)


def _clear_stale(path: pathlib.Path, target: pathlib.Path) -> None:
    """Remove the lock of a process that is gone; raises `RunError` for one that is not."""
    try:
        found = read_json(path)
    except FileError:
        return  # It went between being seen and being read.
    try:
        host, pid = str(found["host"]), int(found["pid"])
    except (KeyError, TypeError, ValueError):
        host, pid = "", 0
    if host == platform.node() and pid > 0 and not _alive(pid):
        stale = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, stale)
            # Another run may have taken over between reading and renaming: then it is that one's.
            if read_json(stale) != found:
                os.rename(stale, path)
            else:
                stale.unlink()
        return
    raise RunError(
        f"{target} is being written by another run (process {pid} on {host or 'an unknown host'}); "
        f"wait for it, choose another --out, or remove {path} if that run is gone"
    )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
