"""Counts of the house: rooms, arrows, circles, and things that should have one home.

    python benchmarks/house.py [TITLE=]CHECKOUT ... [--json] [--draw]

prints one column for each checkout; `--draw` prints the rooms and what they import instead. Only
the text of the files is read, so that any checkout can be counted, whatever is installed.

A *room* is a subfolder of one of the six folders, or a module that lies in one of them flat; an
*arrow* is a room that imports another of the same folder, or a folder that imports another one; a
*floor* is a step of the longest way along arrows; a *circle* is a set of files each of which can
be reached from each other one, imports inside functions included.
"""

import argparse
import ast
import dataclasses
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping

FOLDERS = ("simulate", "networks", "selection", "forward", "inference", "experiments")
AXES = ("log_mass", "log_age", "a_v")
_BAND = re.compile(r"(?:[A-Z0-9_]+_)?F\d{3}(?:W|M|N|LP|X)")
_SETTINGS = ("Settings", "Config", "Plan", "Options", "Files", "Thresholds")
_SCHEMA_BASES = {"BaseModel", "Strict"}


@dataclasses.dataclass(frozen=True)
class File:
    """A module of the house: its dotted name below starcensus, its lines and its syntax tree."""

    name: str
    lines: int
    tree: ast.Module
    is_package: bool

    @property
    def folder(self) -> str:
        """One of the six folders, or empty on the ground floor."""
        first = self.name.split(".")[0]
        return first if first in FOLDERS else ""

    @property
    def room(self) -> str:
        """Its room; empty for the façade of a folder and on the ground floor."""
        parts = self.name.split(".")
        return ".".join(parts[:2]) if self.folder and len(parts) > 1 else ""


def read_house(root: pathlib.Path) -> dict[str, File]:
    """Files by name: those of the six folders, and the ground floor beside the links."""
    files: dict[str, File] = {}
    ground = root / "src" / "starcensus"
    paths = [(ground, path) for path in ground.glob("*.py")]
    paths += [(root, path) for folder in FOLDERS for path in (root / folder).rglob("*.py")]
    for base, path in sorted(paths):
        text = path.read_text(encoding="utf-8")
        parts = path.relative_to(base).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        files[name] = File(name, text.count("\n"), ast.parse(text), is_package)
    return files


def import_graph(files: Mapping[str, File]) -> dict[str, set[str]]:
    """File → files that it imports, at its top or inside functions."""
    return {name: set(_imported(file, files)) - {name} for name, file in files.items()}


def _imported(file: File, files: Mapping[str, File]) -> Iterator[str]:
    package = file.name.split(".") if file.name else []
    if not file.is_package:
        package = package[:-1]
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _resolve(alias.name.split("."), (), files)
        elif isinstance(node, ast.ImportFrom):
            base = node.module.split(".") if node.module else []
            if node.level:
                base = ["starcensus", *package[: len(package) - node.level + 1], *base]
            for alias in node.names:
                yield from _resolve(base, (alias.name,), files)


def _resolve(base: list[str], rest: tuple[str, ...], files: Mapping[str, File]) -> Iterator[str]:
    if base[:1] != ["starcensus"]:
        return
    for parts in ([*base[1:], *rest], base[1:]):
        if (name := ".".join(parts)) in files:
            yield name
            return


def circles(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Sets of two or more nodes each of which can be reached from each other one (Tarjan 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            place = stack.index(node)
            part, stack[place:] = stack[place:], []
            if len(part) > 1:
                found.append(sorted(part))

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return found


def room_arrows(files: Mapping[str, File], graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Room → other rooms of the same folder that it imports."""
    arrows: dict[str, set[str]] = {file.room: set() for file in files.values() if file.room}
    for name, others in graph.items():
        for other in others:
            here, there = files[name], files[other]
            if here.room and there.room and here.folder == there.folder:
                arrows[here.room] |= {there.room} - {here.room}
    return arrows


def folder_arrows(files: Mapping[str, File], graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """Folder → other folders that it imports; the ground floor is called `ground`."""
    arrows: dict[str, set[str]] = {folder: set() for folder in ("ground", *FOLDERS)}
    for name, others in graph.items():
        if not name:
            continue
        here = files[name].folder or "ground"
        arrows[here] |= {files[o].folder or "ground" for o in others if o} - {here}
    return arrows


def floors(arrows: Mapping[str, set[str]]) -> int:
    """Length of the longest way along arrows, in rooms; a circle counts as one step back."""
    known: dict[str, int] = {}

    def height(room: str, above: tuple[str, ...]) -> int:
        if room not in known:
            below = [r for r in arrows[room] if r not in above]
            known[room] = 1 + max((height(r, (*above, room)) for r in below), default=0)
        return known[room]

    return max((height(room, ()) for room in sorted(arrows)), default=0)


def atomic_writers(file: File) -> list[int]:
    """Lines at which a file takes another's place, or a temporary file is made for that."""
    lines = []
    for node in ast.walk(file.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner, name = ast.unparse(node.func.value), node.func.attr
            one = len(node.args) == 1 and not node.keywords
            path_method = name in ("replace", "rename") and one and owner != "dataclasses"
            made = owner == "tempfile" and name != "TemporaryDirectory"
            if made or (owner == "os" and name in ("replace", "rename")):
                lines.append(node.lineno)
            elif path_method and owner != "os":
                lines.append(node.lineno)
    return lines


def hdf5_writers(file: File) -> list[int]:
    """Lines at which an HDF5 file is made."""
    return [
        node.lineno
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "h5py.File"
        and any(isinstance(a, ast.Constant) and a.value in ("w", "w-", "x") for a in node.args)
    ]


def _words(node: ast.expr) -> list[str]:
    """Texts of a literal: of a tuple, list or set its elements, of a dictionary its keys."""
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        elements = node.elts
    elif isinstance(node, ast.Dict):
        elements = [key for key in node.keys if key is not None]
    else:
        return []
    return [e.value for e in elements if isinstance(e, ast.Constant) and isinstance(e.value, str)]


def axes_tables(file: File) -> list[int]:
    """Lines with the tuple or list of θ's three names."""
    return [
        node.lineno
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Tuple | ast.List) and tuple(_words(node)) == AXES
    ]


def band_tables(file: File) -> list[int]:
    """Lines of the statements at the top of a module that hold literals with two or more bands."""
    lines = []
    for statement in file.tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.For):
            bands = {
                node.value
                for node in ast.walk(statement)
                if isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and _BAND.fullmatch(node.value)
            }
            if len(bands) > 1:
                lines.append(statement.lineno)
    return lines


def classes(files: Mapping[str, File]) -> dict[str, set[str]]:
    """Class → names of its bases, over all files."""
    return {
        f"{name}.{node.name}": {
            ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases
        }
        for name, file in files.items()
        for node in ast.walk(file.tree)
        if isinstance(node, ast.ClassDef)
    }


def schema_classes(files: Mapping[str, File]) -> list[str]:
    """Classes that pydantic validates, directly or through their bases."""
    found, known = classes(files), set(_SCHEMA_BASES)
    while True:
        more = {c.rsplit(".", 1)[-1] for c, bases in found.items() if bases & known} - known
        if not more:
            return sorted(c for c, bases in found.items() if bases & known)
        known |= more


def long_functions(file: File, most: int = 40) -> list[str]:
    """Functions of more than `most` lines, decorators aside."""
    return [
        node.name
        for node in ast.walk(file.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > most
    ]


def count(root: pathlib.Path) -> dict[str, int]:
    """What there is in a checkout, in words → how many."""
    files = read_house(root)
    graph = import_graph(files)
    rooms = room_arrows(files, graph)
    between = folder_arrows(files, graph)
    sizes = [file.lines for file in files.values()]
    names = [c.rsplit(".", 1)[-1] for c in classes(files)]

    def total(count_lines) -> int:
        return sum(len(count_lines(file)) for file in files.values())

    table = {
        "modules": len(files),
        "lines": sum(sizes),
        "lines of the longest module": max(sizes),
        "modules of the ground floor": sum(not f.folder for f in files.values()) - 1,
        "arrows between folders": sum(len(o - {"ground"}) for o in between.values()),
    }
    for folder in FOLDERS:
        inside = {room: o for room, o in rooms.items() if room.split(".")[0] == folder}
        table[f"{folder}: rooms"] = len(inside)
        table[f"{folder}: arrows between rooms"] = sum(len(o) for o in inside.values())
        table[f"{folder}: floors"] = floors(inside)
    experiments = [file for file in files.values() if file.folder == "experiments"]
    return table | {
        "circles of files": len(circles(graph)),
        "circles of rooms": len(circles(rooms)),
        "places that put a file in place": total(atomic_writers),
        "places that make an HDF5 file": total(hdf5_writers),
        "tuples of θ's names": total(axes_tables),
        "tables of bands": total(band_tables),
        "settings classes": sum(name.endswith(_SETTINGS) for name in names),
        "schema classes (pydantic)": len(schema_classes(files)),
        "functions of experiments over 40 lines": sum(len(long_functions(f)) for f in experiments),
        "share of experiments in the lines, %": round(
            100 * sum(f.lines for f in experiments) / sum(sizes)
        ),
    }


def draw(root: pathlib.Path) -> str:
    """The rooms of each folder with their files, and what they import, lowest first."""
    files = read_house(root)
    graph = import_graph(files)
    rooms, between = room_arrows(files, graph), folder_arrows(files, graph)
    lines = [f"ground: {' '.join(sorted(n for n, f in files.items() if n and not f.folder))}"]
    for folder in FOLDERS:
        others = [o for o in FOLDERS if o in between[folder]]
        lines.append(f"\n{folder} ← {', '.join(others) or 'the ground floor'}")
        inside = {room: o for room, o in rooms.items() if room.split(".")[0] == folder}
        width = max(len(room) for room in inside)
        for room in sorted(inside, key=lambda r: (_height(r, inside), r)):
            n = sum(1 for f in files.values() if f.room == room)
            below = ", ".join(sorted(o.split(".")[1] for o in inside[room]))
            label = room.split(".")[1] + ("/" if files[room].is_package else "")
            size = f"{n} files" if n > 1 else ""
            lines.append(f"  {label:<{width}} {size:<9} {'← ' + below if below else ''}".rstrip())
    return "\n".join(lines)


def _height(room: str, arrows: Mapping[str, set[str]], above: tuple[str, ...] = ()) -> int:
    below = [r for r in arrows[room] if r not in above]
    return 1 + max((_height(r, arrows, (*above, room)) for r in below), default=0)


def main() -> None:
    parser = argparse.ArgumentParser(description="Counts of the house.")
    parser.add_argument("checkout", nargs="+", help="folder, or TITLE=FOLDER")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--draw", action="store_true")
    arguments = parser.parse_args()
    pairs = [("=" + each).rpartition("=")[::2] for each in arguments.checkout]
    roots = [pathlib.Path(folder) for _, folder in pairs]
    titles = [title.strip("=") or root.name for (title, _), root in zip(pairs, roots, strict=True)]
    if arguments.draw:
        for root in roots:
            print(draw(root))
        return
    tables = [count(root) for root in roots]
    if arguments.json:
        print(json.dumps(tables, indent=2, ensure_ascii=False))
        return
    print(f"| | {' | '.join(titles)} |")
    print(f"|---|{'---:|' * len(tables)}")
    for row in tables[0]:
        print(f"| {row} | {' | '.join(f'{table[row]:,}' for table in tables)} |")


if __name__ == "__main__":
    main()
