"""Start-up of the command line, and the programs that it keeps."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

from starcensus.files import cache_folder, trim

LOADED = """
import json, sys
from starcensus.experiments.cli.main import main
sys.argv = ["starcensus", *%r]
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
print("LOADED" + json.dumps(sorted(sys.modules)))
"""
# Compiles one program and prints its result to the last bit, the files kept and the warnings.
COMPILES = """
import pathlib, sys, warnings
from starcensus.experiments.cli.process import prepare
prepare()
import jax, jax.numpy as jnp
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name))
def f(x):
    return jax.lax.fori_loop(0, 50, lambda _, y: jnp.sin(y @ y.T) + jnp.exp(-y * y), x)
value = jax.jit(jax.value_and_grad(lambda x: jnp.linalg.norm(f(x)).sum()))(jnp.eye(20) * 0.3)[0]
print(float(value).hex(), sum(h.endswith("cache_hits") for h in hits))
"""


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "TF_CPP"))}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=300,
        env={**kept, "JAX_PLATFORMS": "cpu", **environment},
    )


@pytest.mark.parametrize("words", [["--version"], ["--help"], ["selection", "train", "--help"]])
def test_help_and_version_load_no_library(words: list[str]):
    done = python(LOADED % words)
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout.rpartition("LOADED")[2]))
    assert loaded & {"jax", "numpy", "scipy", "astropy", "h5py", "matplotlib"} == set()
    assert not [name for name in loaded if name.startswith("starcensus.simulate")]


def test_programs_are_kept_and_give_the_same_bytes(tmp_path: pathlib.Path):
    runs = [python(COMPILES, STARCENSUS_CACHE=word) for word in ("off", *[str(tmp_path)] * 2)]
    for run in runs:
        assert run.returncode == 0 and run.stderr == "", run.stderr
    (off, no_hits), (first, _), (second, hits) = (run.stdout.split() for run in runs)
    assert off == first == second
    assert int(no_hits) == 0 and int(hits) > 0
    assert list(tmp_path.rglob("*-cache"))


def test_two_processes_share_the_folder_and_a_torn_program_does_no_harm(tmp_path: pathlib.Path):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "STARCENSUS_CACHE": str(tmp_path)}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", COMPILES], stdout=-1, stderr=-1, text=True, env=environment
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in both]
    assert {error for _, error in said} == {""}
    for path in tmp_path.rglob("*-cache"):
        path.write_bytes(path.read_bytes()[:20])
    torn = python(COMPILES, STARCENSUS_CACHE=str(tmp_path))
    assert torn.returncode == 0 and torn.stderr == ""
    assert {torn.stdout.split()[0]} == {out.split()[0] for out, _ in said}


def test_a_folder_that_cannot_be_made_does_no_harm(tmp_path: pathlib.Path):
    (tmp_path / "file").touch()
    done = python(COMPILES, STARCENSUS_CACHE=str(tmp_path / "file" / "below"))
    assert done.returncode == 0 and done.stderr == ""


def test_the_folder_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
):
    monkeypatch.delenv("STARCENSUS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "starcensus"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_folder() == pathlib.Path("/home/somebody/.cache/starcensus")
    monkeypatch.setenv("STARCENSUS_CACHE", "/elsewhere")
    assert cache_folder() == pathlib.Path("/elsewhere")
    monkeypatch.setenv("STARCENSUS_CACHE", "off")
    assert cache_folder() is None


def test_the_programs_longest_unused_go_when_there_are_too_many(tmp_path: pathlib.Path):
    for i in range(5):
        path = tmp_path / f"program{i}-cache"
        path.write_bytes(bytes(100))
        os.utime(path, (1000 + i, 1000 + i))
    os.utime(tmp_path / "program0-cache", (2000, 1000))  # used again
    trim(tmp_path, 250, "*-cache")
    assert {path.name for path in tmp_path.iterdir()} == {"program0-cache", "program4-cache"}


STOPPED = """
import os, signal, sys, time
from starcensus.experiments.cli.process import stoppable
from starcensus.files import replacing
# A shell's background jobs ignore SIGINT, and so does what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
with stoppable(), replacing("result.txt") as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.%s)
    time.sleep(60)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_ends_a_command_with_a_word(tmp_path: pathlib.Path, name: str):
    done = subprocess.run(
        [sys.executable, "-c", STOPPED % name],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
    )
    assert done.returncode == 128 + getattr(signal, name)
    assert done.stderr.startswith(f"starcensus: stopped by {name}; what was finished is kept")
    assert done.stderr.count("\n") == 1 and not list(tmp_path.iterdir())
