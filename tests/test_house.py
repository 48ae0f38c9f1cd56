"""Guards of the house: what is shipped, what imports what, what an import may do."""

import ast
import importlib.metadata
import json
import pathlib
import subprocess
import sys
import tomllib
import zipfile

import pytest

import starcensus

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


def run(code: str) -> str:
    """Standard output of Python running the code in a fresh process, away from the checkout."""
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:starcensus", "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT.anchor,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_folders_are_those_of_the_house():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    # The benchmarks are a package of the checkout, and not shipped.
    assert packages == {*FOLDERS, "benchmarks"}
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert not [name for name in wheel["only-include"] if name.startswith("benchmarks")]


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


# Prints, after importing argv's modules, what an import may have done to the process.
PROBE = """
import io, json, sys, contextlib, warnings
import jax
def settings():
    return {k: repr(v) for k, v in jax.config.values.items()}
before = settings()
out, err = io.StringIO(), io.StringIO()
with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
    for name in %r:
        __import__(name)
after = settings()
print(json.dumps({
    "printed": out.getvalue() + err.getvalue(),
    "arrays": len(jax.live_arrays()),
    "changed": [k for k in after if after[k] != before.get(k, after[k])],
    "loaded": sorted(sys.modules),
}))
"""


@pytest.mark.parametrize("folder", [*sorted(GROUND), *FOLDERS])
def test_each_folder_imports_alone_and_does_nothing_else(folder: str):
    report = json.loads(run(PROBE % [f"starcensus.{folder}"]))
    assert report["printed"] == "" and report["arrays"] == 0 and report["changed"] == []
    loaded = set(report["loaded"])
    assert not loaded & set(MAY_IMPORT), "a folder was imported by its bare name"
    ours = {name.split(".")[1] for name in loaded if name.startswith("starcensus.")}
    assert ours <= MAY_IMPORT.get(folder, set()) | {folder} | GROUND
    if folder != "networks":
        assert "torch" not in loaded
    if folder != "experiments":
        assert not loaded & {"galsim", "matplotlib"}


def test_every_module_imports_without_side_effects():
    files = [*ground_modules(), *(path for f in FOLDERS for path in modules(f))]
    names = [dotted(path) for path in files if path.name != "__main__.py"]
    report = json.loads(run(PROBE % names))
    assert report["printed"] == "" and report["arrays"] == 0 and report["changed"] == []
    assert set(names) <= set(report["loaded"])
    assert not set(report["loaded"]) & set(MAY_IMPORT)


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
