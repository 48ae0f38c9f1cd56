"""The identity of a run, and the lock on what it writes."""

import itertools
import json
import multiprocessing
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest

import starcensus
from starcensus import runs
from starcensus.files import read_json, write_json
from starcensus.runs import Input, Run, RunError, locked

SETTINGS = {"title": "mine", "n": 3, "nested": {"a": [1.5, True], "b": None}}


@pytest.fixture
def run(tmp_path: pathlib.Path) -> Run:
    (tmp_path / "catalogue.ecsv").write_bytes(b"some rows")
    inputs = {
        "catalogue": Input.of(tmp_path / "catalogue.ecsv", {"url": "https://example.org"}),
        "selections.learned": Input("operator.h5", "ab" * 32),
    }
    return Run("fit", SETTINGS, inputs, seed=1, code="0.1.0 abc")


def changed(run: Run, **changes) -> Run:
    fields = {name: getattr(run, name) for name in ("kind", "settings", "inputs", "seed", "code")}
    return Run(**{**fields, **changes})


def test_one_run_has_one_key_whatever_the_order(run: Run):
    again = changed(
        run,
        settings=dict(reversed(SETTINGS.items())),
        inputs=dict(reversed(run.inputs.items())),
    )
    assert again.key == run.key == changed(run).key and len(run.key) == 64


def test_every_field_and_every_setting_changes_the_key(run: Run):
    others = [
        changed(run, kind="mock"),
        changed(run, seed=2),
        changed(run, seed=None),
        changed(run, code="0.1.0 abd"),
        changed(run, settings={**SETTINGS, "n": 4}),
        changed(run, settings={**SETTINGS, "n": "3"}),
        changed(run, settings={**SETTINGS, "nested": {"a": [1.5, False], "b": None}}),
        changed(run, settings={**SETTINGS, "nested": {"a": [1.5, True]}}),
        changed(run, settings={k: v for k, v in SETTINGS.items() if k != "n"}),
        changed(run, inputs={}),
        changed(run, inputs={**run.inputs, "column_map": Input("map.toml", "cd" * 32)}),
        changed(run, inputs=dict(zip(run.inputs, reversed(run.inputs.values()), strict=True))),
    ]
    keys = [run.key, *(other.key for other in others)]
    assert len(set(keys)) == len(keys)


def test_every_byte_of_every_input_changes_the_key(run: Run, tmp_path: pathlib.Path):
    content = (tmp_path / "catalogue.ecsv").read_bytes()
    keys = {run.key}
    for place, role in itertools.product(range(len(content)), run.inputs):
        edited = bytearray(content)
        edited[place] ^= 1
        (tmp_path / "edited").write_bytes(edited)
        keys.add(changed(run, inputs={**run.inputs, role: Input.of(tmp_path / "edited")}).key)
    assert len(keys) == 1 + len(content) * len(run.inputs)


def test_the_name_and_place_of_a_file_change_nothing(run: Run, tmp_path: pathlib.Path):
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "other.ecsv").write_bytes(b"some rows")
    moved = {**run.inputs, "catalogue": Input.of(tmp_path / "below" / "other.ecsv")}
    assert changed(run, inputs=moved).key == run.key


def test_settings_that_json_cannot_say_are_refused(run: Run):
    # Two long arrays have one text: "[0. 0. ... 0.]".
    for value in (np.zeros(5000), object(), {1, 2}):
        with pytest.raises(TypeError, match="JSON"):
            _ = changed(run, settings={"x": value}).key
    assert changed(run, settings={"n": np.int64(3)}).key == changed(run, settings={"n": 3}).key


def test_a_run_is_known_again_until_a_file_of_it_changes(run: Run, tmp_path: pathlib.Path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    assert not run.finished(tmp_path, "a")
    run.finish(tmp_path, "a", "b")
    assert run.finished(tmp_path, "a", "b") and run.finished(tmp_path)
    assert not changed(run, seed=9).finished(tmp_path, "a", "b")
    assert not run.finished(tmp_path, "a", "other")
    (tmp_path / "b").write_text("B")
    # Of a folder that somebody edited nothing is reported as made.
    assert not run.finished(tmp_path, "a") and not run.finished(tmp_path)
    (tmp_path / "a").unlink()
    assert not run.finished(tmp_path, "a")


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", "3", '{"key": 3}', '{"key": "x", "files": 3}', "\0", "null"]
)
def test_a_damaged_record_is_no_finished_run(run: Run, tmp_path: pathlib.Path, content: str):
    (tmp_path / "a").write_text("a")
    (tmp_path / "run.json").write_text(content)
    assert not run.finished(tmp_path, "a")
    write_json(tmp_path / "run.json", {"key": run.key, "files": [["a", "b"]]})
    assert not run.finished(tmp_path, "a")


def test_provenance_is_written_and_says_what_the_key_is_made_of(run: Run, tmp_path: pathlib.Path):
    with_path = changed(run, settings={**SETTINGS, "path": tmp_path})
    write_json(tmp_path / "provenance.json", with_path.provenance())
    found = read_json(tmp_path / "provenance.json")
    assert found["key"] == with_path.key and found["seed"] == 1 and found["kind"] == "fit"
    assert found["settings"] == {**SETTINGS, "path": str(tmp_path)}
    catalogue = found["inputs"]["catalogue"]
    assert catalogue["name"] == "catalogue.ecsv" and catalogue["origin"]["url"]
    assert catalogue["sha256"] == run.inputs["catalogue"].sha256
    assert "origin" not in found["inputs"]["selections.learned"]
    assert found["version"] == starcensus.__version__
    assert found["libraries"]["numpy"] == np.__version__ and found["hardware"]["jax_devices"]
    # The key follows from what is written: a reader can check it.
    facts = {name: found[name] for name in ("kind", "settings", "seed")}
    inputs = {role: Input(item["name"], item["sha256"]) for role, item in found["inputs"].items()}
    assert Run(**facts, inputs=inputs, code=run.code).key == found["key"]


@pytest.fixture
def package(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A package of two modules in a folder that is a link, as in a checkout."""
    real, package = tmp_path / "forward", tmp_path / "src" / "starcensus"
    (real / "data").mkdir(parents=True)
    (real / "laws").mkdir()
    package.mkdir(parents=True)
    for path in (package / "__init__.py", real / "__init__.py", real / "laws" / "mass.py"):
        path.write_text(f"{path.stem} = 1\n")
    (real / "data" / "table.h5").write_bytes(b"numbers")
    (package / "forward").symlink_to(real)
    monkeypatch.setattr(starcensus, "__file__", str(package / "__init__.py"))
    return package


def test_an_edit_of_the_code_is_another_version(package: pathlib.Path):
    version = runs.code_version.__wrapped__
    before = version()
    assert version() == before and before.startswith(starcensus.__version__)

    def edited(edit: Callable[[pathlib.Path], object]) -> str:
        edit(package)
        return version()

    forward = package / "forward"
    versions = [
        before,
        edited(lambda p: (p / "__init__.py").write_text("__init__ = 2\n")),
        edited(lambda p: (forward / "laws" / "mass.py").write_text("mass = 2\n")),
        edited(lambda p: (forward / "laws" / "mass.py").rename(forward / "mass.py")),
        edited(lambda p: (forward / "data" / "table.h5").write_bytes(b"others")),
        edited(lambda p: (forward / "new.py").write_text("")),
    ]
    assert len(set(versions)) == len(versions)


def test_what_lies_beside_the_code_is_no_version_of_it(package: pathlib.Path):
    version = runs.code_version.__wrapped__
    before = version()
    forward = package / "forward"
    (forward / "__pycache__").mkdir()
    (forward / "__pycache__" / "x.cpython-312.pyc").write_bytes(b"1")
    (forward / "out").mkdir()
    (forward / "out" / "summary.json").write_text("{}")
    (forward / "my.toml").write_text("a = 1")
    assert version() == before


def lock_of(out: pathlib.Path) -> pathlib.Path:
    return out.with_name(f".{out.name}.lock")


def test_a_lock_is_there_while_the_block_lasts_and_on_error_goes(tmp_path: pathlib.Path):
    out = tmp_path / "library.h5"
    with locked(out):
        held = json.loads(lock_of(out).read_text())
        assert held["pid"] == os.getpid() and held["host"] == platform.node()
        with pytest.raises(RunError, match=rf"process {os.getpid()}"), locked(out):
            pytest.fail("the block is not entered")
        with locked(tmp_path / "other.h5"):
            pass
        assert lock_of(out).exists()
    with pytest.raises(ZeroDivisionError), locked(out):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def _hold(out: pathlib.Path, entered, leave) -> None:
    with locked(out):
        entered.set()
        leave.wait(60)


def test_another_process_is_refused_until_the_first_is_done(tmp_path: pathlib.Path):
    out = tmp_path / "library.h5"
    context = multiprocessing.get_context("forkserver")
    entered, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(out, entered, leave))
    holder.start()
    assert entered.wait(60)
    with pytest.raises(RunError, match=rf"library\.h5.*process {holder.pid}.*wait"), locked(out):
        pytest.fail("the block is not entered")
    leave.set()
    holder.join(60)
    with locked(out):
        pass


def test_the_lock_of_a_process_that_was_killed_is_taken_over(tmp_path: pathlib.Path):
    out = tmp_path / "library.h5"
    code = (
        "import os, signal, sys\nfrom starcensus.runs import locked\n"
        "with locked(sys.argv[1]):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(out)], check=False, timeout=300)
    assert killed.returncode == -9 and lock_of(out).exists()
    with locked(out):
        assert json.loads(lock_of(out).read_text())["pid"] == os.getpid()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "content",
    [
        {"host": "another", "pid": 1},
        {"host": "another", "pid": 999_999_999},
        {"host": platform.node(), "pid": os.getppid()},
        {"host": platform.node(), "pid": "many"},
        {"host": platform.node()},
        {},
    ],
)
def test_a_lock_that_may_be_held_is_refused_naming_its_file(tmp_path: pathlib.Path, content: dict):
    out = tmp_path / "library.h5"
    lock_of(out).write_text(json.dumps(content))
    with pytest.raises(RunError) as caught, locked(out):
        pytest.fail("the block is not entered")
    assert str(lock_of(out)) in str(caught.value)
    assert json.loads(lock_of(out).read_text()) == content


@pytest.mark.parametrize("content", ["", "{", "\0"])
def test_a_lock_that_says_nothing_is_refused_naming_its_file(tmp_path: pathlib.Path, content: str):
    out = tmp_path / "library.h5"
    lock_of(out).write_text(content)
    with pytest.raises(RunError) as caught, locked(out):
        pytest.fail("the block is not entered")
    assert str(lock_of(out)) in str(caught.value)
    assert os.listdir(tmp_path) == [lock_of(out).name]


def test_a_lock_works_where_there_are_no_hard_links(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    out = tmp_path / "library.h5"
    with locked(out):
        with pytest.raises(RunError, match="another run"), locked(out):
            pytest.fail("the block is not entered")
    lock_of(out).write_text(json.dumps({"host": platform.node(), "pid": 999_999_999}))
    with locked(out):
        pass
    assert os.listdir(tmp_path) == []


def test_the_folder_of_the_result_is_made(tmp_path: pathlib.Path):
    with locked(tmp_path / "new" / "folder" / "library.h5"):
        pass
    assert os.listdir(tmp_path / "new" / "folder") == []


@pytest.mark.parametrize("name", ["file/library.h5", "nul\0", "n" * 300, ""])
def test_a_place_that_cannot_be_written_is_a_run_error(tmp_path: pathlib.Path, name: str):
    (tmp_path / "file").write_text("")
    out = f"{tmp_path}/{name}" if name else ""
    with pytest.raises(RunError), locked(out):
        pytest.fail("the block is not entered")
    assert os.listdir(tmp_path) == ["file"]


def _count(out: pathlib.Path, counter: pathlib.Path, n: int) -> None:
    done = 0
    while done < n:
        try:
            with locked(out):
                value = int(counter.read_text())
                counter.write_text(str(value + 1))
                done += 1
        except RunError:
            continue


def test_processes_that_want_one_lock_take_it_in_turn(tmp_path: pathlib.Path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    context = multiprocessing.get_context("forkserver")
    arguments = (tmp_path / "library.h5", counter, 30)
    writers = [context.Process(target=_count, args=arguments) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(120)
        assert writer.exitcode == 0
    assert counter.read_text() == "90"
    assert os.listdir(tmp_path) == ["counter"]
