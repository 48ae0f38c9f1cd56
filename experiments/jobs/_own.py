"""The user's own modules: what they register may be named in files.

A file alone names no code. `--allow-own FILE` or `--allow-own MODULE` on the command line imports a
module, and of what it defines only that counts which it adds to a registry of starcensus.
"""

import ast
import dataclasses
import hashlib
import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Iterable
from typing import Any

from starcensus.bands import BANDS
from starcensus.experiments.schema._base import ConfigError
from starcensus.files import checksum
from starcensus.registry import Registry
from starcensus.runs import Input

# Attribute of an imported module: its files, as they were.
_FILES = "__starcensus_files__"


@dataclasses.dataclass(frozen=True)
class Own:
    """A module of the user's that was imported.

    **Arguments:**

    - `name`: of the module. `folder`: where it is, on the search path.
    - `files`: its file and those of the modules beside it that it imports, with their checksums.
    """

    name: str
    folder: str
    files: tuple[tuple[str, str], ...]

    def input(self) -> Input:
        """As what a run reads: the checksums of all its files are one."""
        joined = "\n".join(f"{pathlib.Path(path).name} {sha}" for path, sha in self.files)
        names = [pathlib.Path(path).name for path, _ in self.files]
        return Input(self.name, hashlib.sha256(joined.encode()).hexdigest(), {"files": names})

    def again(self) -> None:
        """Import it in another process; raises `ConfigError` for files that are others there."""
        found = import_own([self.files[0][0]])[0] if self.folder else import_own([self.name])[0]
        if found.input() != self.input():
            raise ConfigError(
                f"--allow-own {self.name}: a worker finds other files than the process that asked "
                "it; give all machines the same"
            )


def import_own(given: Iterable[str]) -> tuple[Own, ...]:
    """Import modules, each by its file or its name.

    Raises `ConfigError` for one that is not there, fails, registers nothing, or is of the standard
    library.
    """
    return tuple(_from_file(each) if each.endswith(".py") else _by_name(each) for each in given)


def _from_file(path: str) -> Own:
    file = pathlib.Path(path).resolve()
    if not file.is_file():
        raise ConfigError(f"--allow-own {path}: there is no such file")
    name, folder = file.stem, str(file.parent)
    if not name.isidentifier():
        raise ConfigError(f"--allow-own {path}: {name!r} cannot name a module; rename the file")
    if folder not in sys.path:
        # Last, so that no file beside it takes the place of another module; workers inherit it.
        sys.path.append(folder)
        importlib.invalidate_caches()
    spec = None if name in sys.stdlib_module_names else importlib.util.find_spec(name)
    if spec is None or spec.origin is None or pathlib.Path(spec.origin).resolve() != file:
        raise ConfigError(
            f"--allow-own {path}: {name} is another module already; give the file another name"
        )
    return Own(name, folder, _import(name, file.parent, path))


def _by_name(name: str) -> Own:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top == "starcensus":
        raise ConfigError(
            f"--allow-own {name}: is no module of yours; expected one that registers kinds of your "
            "own with starcensus"
        )
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"--allow-own {name}: there is no such module; install it, or give its file, {name}.py"
        )
    # The folder of the package, or of the module alone.
    home = pathlib.Path(spec.origin).resolve().parent
    return Own(name, "", _import(name, home, name))


def _import(name: str, folder: pathlib.Path, said: str) -> tuple[tuple[str, str], ...]:
    """Import a module; its files below a folder with their checksums, its own first."""
    bytecode, before = sys.dont_write_bytecode, _registered()
    sys.dont_write_bytecode = True
    try:
        module = importlib.import_module(name)
        found = _with_imports(pathlib.Path(str(module.__file__)).resolve(), folder)
    except (Exception, SystemExit) as error:
        words = f"{type(error).__name__}: {error}".strip().split("\n")[0]
        raise ConfigError(
            f"--allow-own {said}: cannot be imported ({words}); correct it"
        ) from error
    finally:
        sys.dont_write_bytecode = bytecode
    if not (_FILES in vars(module) or _registered() - before or _is_registered(name)):
        raise ConfigError(
            f"--allow-own {said}: registers nothing with starcensus, so no file can name what it "
            "defines; leave it out, or register a class in it (docs/how-to/extend.md)"
        )
    files = tuple((str(file), checksum(file)) for file in found)
    if vars(module).setdefault(_FILES, files) != files:
        raise ConfigError(f"--allow-own {said}: was edited since it was imported; start again")
    return files


def _registered() -> set[tuple[str, str]]:
    """What is registered, other than the classes and functions that starcensus brings."""
    return {
        (registry.what, word)
        for registry in _registries()
        for word, thing in registry.items()
        if not _home(thing).startswith("starcensus.") or registry is BANDS
    }


def _is_registered(module: str) -> bool:
    """Whether a module that was imported before, or one inside it, has registered something."""
    homes = {_home(thing) for registry in _registries() for thing in registry.values()}
    return any(home == module or home.startswith(f"{module}.") for home in homes)


def _registries() -> list[Registry[Any]]:
    ours = [m for name, m in list(sys.modules.items()) if name.startswith("starcensus.")]
    found = [v for module in ours for v in vars(module).values() if isinstance(v, Registry)]
    return list({id(registry): registry for registry in found}.values())


def _home(thing: object) -> str:
    """The module of a class or a function, or of the class of a value."""
    return str(getattr(thing, "__module__", None) or type(thing).__module__)


def _with_imports(first: pathlib.Path, folder: pathlib.Path) -> list[pathlib.Path]:
    """A source file and those below a folder that its imports lead to."""
    found, waiting = [], [first]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.append(file)
            waiting += sorted(_imported(file, folder))
    return [first, *sorted(set(found) - {first})]


def _imported(file: pathlib.Path, folder: pathlib.Path) -> set[pathlib.Path]:
    if file.suffix != ".py":
        return set()
    places: set[pathlib.Path] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            places |= {folder.joinpath(*alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = folder if node.level == 0 else file.parents[node.level - 1]
            base = start.joinpath(*(node.module or "").split("."))
            places |= {base, *(base / alias.name for alias in node.names)}
    files = {f for place in places for f in (place.with_suffix(".py"), place / "__init__.py")}
    return {f for f in files if f.is_file() and f.is_relative_to(folder)}
