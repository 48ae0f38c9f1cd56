"""What a result came from: versions, seeds, inputs, hardware."""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterable

import jax

import starcensus

LIBRARIES = (
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


def provenance(
    experiment_text: str, seed: int, inputs: Iterable[pathlib.Path], command: list[str]
) -> dict[str, object]:
    """Facts for `provenance.json`, JSON-ready."""
    return {
        "version": starcensus.__version__,
        "git_commit": _git_commit(),
        "command": command,
        "seed": seed,
        "experiment": experiment_text,
        "inputs": {path.name: f"sha256:{checksum(path)}" for path in inputs},
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "hardware": {
            "machine": platform.machine(),
            "cpu_count": os.cpu_count(),
            "jax_devices": [f"{d.platform}: {d.device_kind}" for d in jax.devices()],
        },
    }


def checksum(path: pathlib.Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def command_line() -> list[str]:
    """The command as it was typed, without the path of the interpreter's script."""
    return [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]]


def _git_commit() -> str:
    """Commit of the source tree, `+changes` if it was edited; `installed` outside a checkout."""
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
