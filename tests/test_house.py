"""Guards of the house: what is shipped, what imports what, what an import may do."""

import ast
import importlib.metadata
import importlib.util
import json
import pathlib
import re
import subprocess
import sys
import tomllib
import zipfile
from typing import Any

import pytest
from benchmarks.house import (
    atomic_writers,
    axes_tables,
    band_tables,
    circles,
    hdf5_writers,
    import_graph,
    read_house,
)

import starcensus
from starcensus.bands import BANDS

ROOT = pathlib.Path(__file__).resolve().parents[1]
# Modules of the ground floor, beside the links: every folder may import them.
GROUND = {p.stem for p in (ROOT / "src" / "starcensus").glob("*.py")} - {"__init__"}
# Each folder may import those named here, itself and the ground floor.
MAY_IMPORT = {
    "simulate": set(),
    "networks": set(),
    "selection": {"simulate", "networks"},
    "forward": {"simulate", "networks", "selection"},
    "inference": {"simulate", "networks", "selection", "forward"},
    "experiments": {"simulate", "networks", "selection", "forward", "inference"},
}
FOLDERS = list(MAY_IMPORT)
# What would double the time that `import starcensus.inference` takes.
SLOW = {"arviz_base", "arviz_stats", "xarray", "pandas", "netCDF4", "optax", "astropy"}
SLOW |= {"scipy.stats", "scipy.optimize", "scipy.interpolate", "distributed", "rich.console"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def modules(folder: str) -> list[pathlib.Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def ground_modules() -> list[pathlib.Path]:
    return [ROOT / "src" / "starcensus" / f"{name}.py" for name in sorted(GROUND)]


def dotted(path: pathlib.Path) -> str:
    """Module name of a library file: starcensus.forward.mass for forward/mass.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] == "src":
        return ".".join(parts[1:])
    return ".".join(["starcensus", *(p for p in parts if p != "__init__")])


def test_the_folders_are_those_of_the_house():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    # The benchmarks are a package of the checkout, and not shipped.
    assert packages == {*FOLDERS, "benchmarks"}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert not [name for name in wheel["only-include"] if name.startswith("benchmarks")]
    # The build backend refuses a path that is listed twice.
    assert len(set(wheel["only-include"])) == len(wheel["only-include"])


@pytest.mark.parametrize("name", sorted(GROUND))
def test_each_module_of_the_ground_floor_is_shipped_and_type_checked(name: str):
    path = f"src/starcensus/{name}.py"
    assert path in PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert path in PROJECT["tool"]["pyright"]["include"]
    assert (ROOT / path).is_file() and not (ROOT / path).is_symlink()


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_floor_imports_only_itself(name: str):
    found = imported_folders(ROOT / "src" / "starcensus" / f"{name}.py")
    assert found <= GROUND - {name}


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_is_shipped_linked_and_type_checked(folder: str):
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert folder in wheel["only-include"]
    assert wheel["sources"][folder] == f"starcensus/{folder}"
    assert folder in PROJECT["tool"]["pyright"]["include"]
    link = ROOT / "src" / "starcensus" / folder
    assert link.is_symlink() and link.readlink() == pathlib.Path("../..", folder)
    assert (ROOT / folder / "__init__.py").is_file()


def test_the_package_is_typed_and_knows_its_version():
    assert (ROOT / "src" / "starcensus" / "py.typed").is_file()
    shipped = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    assert {"src/starcensus/__init__.py", "src/starcensus/py.typed"} <= set(shipped)
    assert starcensus.__version__ == importlib.metadata.version("starcensus")
    assert starcensus.__version__ == PROJECT["project"]["version"]


def imported_folders(path: pathlib.Path) -> set[str]:
    """Folders of the house that a file imports; fails on the ways that are not allowed."""
    found: set[str] = set()
    package = dotted(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert node.module is not None
            names = [node.module]
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= len(package), f"{path}:{node.lineno} leaves starcensus"
            base = package[: len(package) - node.level + 1]
            base += node.module.split(".") if node.module else []
            targets = [[*base, alias.name] for alias in node.names]
            found |= {t[1] for t in targets if t[0] == "starcensus" and t[1] in MAY_IMPORT}
            continue
        else:
            continue
        for name in names:
            top, *rest = name.split(".")
            assert top not in MAY_IMPORT, f"{path}:{node.lineno} imports a bare {top}"
            if top == "starcensus":
                inside = path.is_relative_to(ROOT / "experiments") or set(rest[:1]) <= GROUND
                assert inside, f"{path}:{node.lineno}: imports inside the library are relative"
                found |= set(rest[:1])
    return found


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_point_one_way(folder: str):
    for path in modules(folder):
        right = imported_folders(path) - MAY_IMPORT[folder] - {folder} - GROUND
        assert not right, f"{path.relative_to(ROOT)} imports {sorted(right)}"


def test_torch_stays_in_the_networks():
    for folder in FOLDERS:
        for path in modules(folder):
            tree = ast.parse(path.read_text())
            top = [n for n in tree.body if isinstance(n, ast.Import | ast.ImportFrom)]
            names = {
                name.split(".")[0]
                for node in top
                for name in (
                    [a.name for a in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""] * (node.level == 0)
                )
            }
            assert folder == "networks" or "torch" not in names, path


# Reads groups of module names, and says of each what importing it alone has done to a process.
#
# A group is imported in a fork, so that JAX is loaded once for all of them. Then everything is
# imported, and a room into a process from which all of starcensus was taken out again: what is not
# ours is there.
PROBE = """
import contextlib, io, json, os, sys, warnings
import jax

def settings():
    return {k: repr(v) for k, v in jax.config.values.items()}

def report(names):
    before, out = settings(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        for name in names:
            __import__(name)
    after = settings()
    return {
        "printed": out.getvalue(),
        "arrays": len(jax.live_arrays()),
        "changed": [k for k in after if after[k] != before.get(k, after[k])],
        "loaded": sorted(sys.modules),
    }

def in_fork(names):
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # JAX's, of forks; no array was made yet.
        child = os.fork()
    if child == 0:
        try:
            answer = report(names)
        except BaseException as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        with os.fdopen(write, "w") as file:
            json.dump(answer, file)
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    os.waitpid(child, 0)
    return json.loads(answer)

given = json.load(sys.stdin)
folders = {name: in_fork([name]) for name in given["folders"]}
try:
    everything = report(given["everything"])
except BaseException as error:
    everything = {"error": f"{type(error).__name__}: {error}"}
for name in [n for n in sys.modules if n.split(".")[0] == "starcensus"]:
    del sys.modules[name]
rooms = {name: in_fork([name]) for name in given["rooms"]}
json.dump({"folders": folders, "everything": everything, "rooms": rooms}, sys.stdout)
"""
EVERYTHING = [dotted(p) for p in [*ground_modules(), *(p for f in FOLDERS for p in modules(f))]]
EVERYTHING = [name for name in EVERYTHING if not name.endswith(".__main__")]
if importlib.util.find_spec("torch") is None:
    # An extra, without which its users cannot be imported.
    OF_TORCH = {
        dotted(path)
        for path in modules("networks")
        if re.search(r"^(import|from) torch\b", (ROOT / path).read_text(), re.MULTILINE)
    }
    EVERYTHING = [name for name in EVERYTHING if name not in OF_TORCH]
ROOMS = sorted({".".join(name.split(".")[:3]) for name in EVERYTHING} - {"starcensus"})


@pytest.fixture(scope="session")
def imports() -> dict[str, Any]:
    """What imports do, found by one process away from the checkout."""
    given = {
        "folders": [f"starcensus.{folder}" for folder in FOLDERS],
        "everything": EVERYTHING,
        "rooms": ROOMS,
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:starcensus", "-c", PROBE],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        cwd=ROOT.anchor,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_did_nothing(report: dict[str, Any]) -> None:
    assert "error" not in report, report["error"]
    assert report["printed"] == "" and report["arrays"] == 0 and report["changed"] == []
    assert not set(report["loaded"]) & set(MAY_IMPORT), "a folder was imported by its bare name"


def loaded_folders(report: dict[str, Any]) -> set[str]:
    return {name.split(".")[1] for name in report["loaded"] if name.startswith("starcensus.")}


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_folder_imports_alone_and_does_nothing_else(imports: dict[str, Any], folder: str):
    report = imports["folders"][f"starcensus.{folder}"]
    assert_did_nothing(report)
    assert loaded_folders(report) <= MAY_IMPORT[folder] | {folder} | GROUND
    if folder != "networks":
        assert "torch" not in report["loaded"]
    if folder != "experiments":
        assert not set(report["loaded"]) & {"galsim", "matplotlib", "photutils", "sep"}
        assert not set(report["loaded"]) & SLOW, "import these in the functions that use them"


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_imports_alone(imports: dict[str, Any], room: str):
    report = imports["rooms"][room]
    assert_did_nothing(report)
    folder = room.split(".")[1]
    assert loaded_folders(report) <= MAY_IMPORT.get(folder, set()) | {folder} | GROUND


def test_every_module_imports_without_side_effects(imports: dict[str, Any]):
    assert_did_nothing(imports["everything"])
    assert set(EVERYTHING) <= set(imports["everything"]["loaded"])


def test_the_probe_sees_what_it_looks_for(imports: dict[str, Any]):
    loaded = imports["folders"]["starcensus.inference"]["loaded"]
    assert "starcensus.inference" in loaded and "numpyro" in loaded
    assert "starcensus.experiments" not in loaded
    room = imports["rooms"]["starcensus.forward"]["loaded"]
    assert "starcensus.forward" in room and "starcensus.inference" not in room


FILES = read_house(ROOT)


LIBRARY = sorted(n for n, file in FILES.items() if file.folder)


@pytest.mark.parametrize("name", LIBRARY)
def test_one_home(name: str):
    file = FILES[name]
    assert not atomic_writers(file), "files are put in place by starcensus.files.replacing"
    assert not hdf5_writers(file), "HDF5 files are made by starcensus.hdf5.Format.create"
    assert not axes_tables(file), "the names of θ are starcensus.theta.AXES"
    assert not repeated_bands(file.tree), "what is known of bands is in starcensus.bands.BANDS"


def repeated_bands(tree: ast.Module) -> list[int]:
    """Lines of statements that say of a band by name what `BANDS` says of it."""
    lines = []
    for statement in tree.body:
        if not isinstance(statement, ast.Assign | ast.AnnAssign | ast.For):
            continue
        constants = [n.value for n in ast.walk(statement) if isinstance(n, ast.Constant)]
        for band in BANDS.values():
            # A letter alone, such as the V of Bessell, is a broad band's.
            names = {band.name, band.filter} - set("UBVRI")
            if not names & {c for c in constants if isinstance(c, str)}:
                continue
            units = [band.pivot_angstrom * scale for scale in (1.0, 0.1, 1e-4)]
            said = [c for c in constants if c in (band.curve, band.colour) and c is not None]
            said += [
                c
                for c in constants
                if isinstance(c, int | float) and any(abs(c / unit - 1) < 0.005 for unit in units)
            ]
            if said:
                lines.append(statement.lineno)
                break
    return lines


def test_files_import_one_another_in_no_circle():
    assert circles(import_graph(FILES)) == []


def test_the_journeys_go_through_files_that_there_are_and_through_none_twice():
    text = (ROOT / "docs" / "architecture.md").read_text()
    text = text[text.index("## Three journeys") : text.index("## The rooms")]
    journeys = [re.findall(r"^\d+\. `([^`]+)`", part, re.M) for part in text.split("\n**")[1:]]
    assert len(journeys) == 3
    for journey in journeys:
        assert len(journey) > 5 and len(set(journey)) == len(journey)
        assert [file for file in journey if not (ROOT / file).is_file()] == []


def test_the_guards_see_what_they_forbid(tmp_path: pathlib.Path):
    (tmp_path / "src" / "starcensus").mkdir(parents=True)
    (tmp_path / "forward").mkdir()
    (tmp_path / "forward" / "__init__.py").write_text("from .a import f\n")
    (tmp_path / "forward" / "a.py").write_text(
        "import os, tempfile, h5py\n"
        "NAMES = ['log_mass', 'log_age', 'a_v']\n"
        "PIVOTS = {'F555W': 535, 'ACS_F814W': 804.5}\n"
        "def f(path, other):\n"
        "    from . import b\n"
        "    os.replace(path, other)\n"
        "    path.replace(other)\n"
        "    tempfile.mkstemp()\n"
        "    h5py.File(path, 'w')\n"
        "    h5py.File(path, 'r')\n"
        "    'a'.replace('a', 'b')\n"
    )
    (tmp_path / "forward" / "b.py").write_text(
        "import dataclasses\nfrom .a import f\ng = dataclasses.replace(f, x=1)\n"
    )
    files = read_house(tmp_path)
    graph = import_graph(files)
    assert graph["forward.a"] == {"forward.b"} and graph["forward"] == {"forward.a"}
    assert circles(graph) == [["forward.a", "forward.b"]]
    a, b = files["forward.a"], files["forward.b"]
    assert atomic_writers(a) == [6, 7, 8] and hdf5_writers(a) == [9]
    assert axes_tables(a) == [2] and band_tables(a) == [3] and repeated_bands(a.tree) == [3]
    assert repeated_bands(ast.parse((ROOT / "src/starcensus/bands.py").read_text()))
    assert not (atomic_writers(b) or hdf5_writers(b) or axes_tables(b) or band_tables(b))


def test_no_folder_is_imported_by_its_bare_name_in_this_session():
    files = [getattr(sys.modules.get(name), "__file__", None) for name in MAY_IMPORT]
    assert not [f for f in files if f and pathlib.Path(f).is_relative_to(ROOT)]


def test_modules_are_short_and_their_annotations_are_real():
    for folder in [*FOLDERS, "tests"]:
        for path in modules(folder):
            text = path.read_text()
            lines = text.count("\n")
            assert lines <= 600, f"{path.relative_to(ROOT)} has {lines} lines"
            futures = [
                alias.name
                for node in ast.walk(ast.parse(text))
                if isinstance(node, ast.ImportFrom) and node.module == "__future__"
                for alias in node.names
            ]
            assert "annotations" not in futures, path


@pytest.mark.slow
def test_a_wheel_holds_every_module(tmp_path: pathlib.Path):
    uv = pathlib.Path(sys.executable).parent / "uv"
    build = (
        [
            str(uv),
            "build",
            "--python",
            sys.executable,
            "--wheel",
            "--out-dir",
            str(tmp_path),
            str(ROOT),
        ]
        if uv.is_file()
        else [sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", str(tmp_path), str(ROOT)]
    )
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    [wheel] = tmp_path.glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    source = {
        f"starcensus/{path.relative_to(ROOT)}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert source <= shipped, sorted(source - shipped)
    assert {"starcensus/__init__.py", "starcensus/py.typed"} <= shipped
