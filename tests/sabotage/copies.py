"""Copies of the checkout, and its tests in them."""

import contextlib
import importlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
LIMIT_S = 900.0
# What the tests import of others, most of the seconds before the first test.
_PRELOADED = (
    "arviz_base",
    "arviz_stats.sampling_diagnostics",
    "astropy.io.fits",
    "astropy.table",
    "dust_extinction.parameter_averages",
    "equinox",
    "h5py",
    "jax",
    "matplotlib.pyplot",
    "numpyro.infer.util",
    "optax",
    "pydantic",
    "pytest",
    "scipy.stats",
    "typer",
    "xarray",
)


class Outcome(NamedTuple):
    """What the tests of a copy say.

    - `failed`: the first that failed, "" if none did.
    - `seconds`: how long that took.
    - `words`: the last lines of pytest.
    """

    failed: str
    seconds: float
    words: str


@contextlib.contextmanager
def copy_of_checkout(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """The tracked files as they lie here, in `folder`; environment and reference data by link.

    Compiled programs are shared with the checkout: a program is found by what it computes.
    """
    copy = folder / "checkout"
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, check=True
    )
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        if not os.path.lexists(ROOT / name):
            continue
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
    (ROOT / ".pytest_cache").mkdir(exist_ok=True)
    for link, target in (
        (copy / ".venv", ROOT / ".venv"),
        (copy / ".pytest_cache", ROOT / ".pytest_cache"),
        (folder / "shared", ROOT.parent / "shared"),
    ):
        if target.exists():
            link.symlink_to(target.resolve())
    try:
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


@contextlib.contextmanager
def with_fault(copy: pathlib.Path, file: str, old: str, new: str) -> Iterator[None]:
    """The copy with `old` replaced by `new`; raises `ValueError` unless it is there once."""
    path = copy / file
    text = path.read_text()
    if text.count(old) != 1:
        raise ValueError(f"{file} holds {text.count(old)} times, expected once: {old}")
    try:
        path.write_text(text.replace(old, new))
        yield
    finally:
        path.write_text(text)


def preload() -> None:
    """Import what the tests import of others, so that forked processes have it."""
    for name in _PRELOADED:
        importlib.import_module(name)


def run_tests(copy: pathlib.Path, tests: Sequence[str], first: bool = True) -> Outcome:
    """The tests of the default suite in these files of a copy, in a process of their own.

    `first`: end with the first that fails.
    """
    begun = time.monotonic()
    log = copy.parent / "log"
    process = os.fork()
    if process == 0:
        _be_pytest(copy, tests, log, first)
    while os.waitpid(process, os.WNOHANG)[0] == 0:
        if time.monotonic() - begun > LIMIT_S:
            os.kill(process, 9)
            os.waitpid(process, 0)
            return Outcome(f"no end within {LIMIT_S:g} s", LIMIT_S, "")
        time.sleep(0.1)
    seconds, said = time.monotonic() - begun, log.read_text(errors="replace")
    found = re.search(r"^(?:FAILED|ERROR) (tests/.*?)(?: - .*)?$", said, re.MULTILINE)
    passed = re.search(r"^=* ?\d+ passed", said, re.MULTILINE)
    if not found and not passed:
        raise RuntimeError(f"pytest ran no test of {', '.join(tests)}:\n{said[-3000:]}")
    return Outcome(found[1] if found else "", seconds, said[-1500:])


def _be_pytest(copy: pathlib.Path, tests: Sequence[str], log: pathlib.Path, first: bool) -> None:
    """Become pytest in `copy`; never returns."""
    code = 70
    try:
        with log.open("w") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy / "src")
        here = {str(ROOT), str(ROOT / "src"), ""}
        sys.path[:] = [str(copy / "src"), *(p for p in sys.path if p not in here)]
        for name in [n for n in sys.modules if n.split(".")[0] in ("tests", "starcensus")]:
            del sys.modules[name]
        import pytest

        # Plugins of pytest were imported before it could rewrite their assertions.
        quiet = ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
        options = ["-m", "not slow", "-q", "--tb=line", *quiet, *(["-x"] if first else [])]
        code = int(pytest.main([*tests, *options]))
    except BaseException as error:
        print(f"ERROR {type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
