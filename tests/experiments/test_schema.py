"""Files of settings: their kinds, examples and reference, and what they are refused for."""

import ast
import collections
import dataclasses
import pathlib
import subprocess
import sys

import pytest

from starcensus.experiments.schema._base import FILES, KINDS, ConfigError, File, load, parse
from starcensus.experiments.schema._base import file_class as class_of
from starcensus.experiments.schema.paths import Sources
from starcensus.experiments.schema.reference import json_of, text_of

ROOT = pathlib.Path(__file__).parents[2]
EXPERIMENTS = ROOT / "experiments"
EXAMPLES = sorted((EXPERIMENTS / "examples").rglob("*.toml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid_and_keep_what_they_say(path: pathlib.Path):
    file, text = load(path)
    assert file.title and text == path.read_text()
    # What provenance keeps of a file is a file again.
    again = type(file).model_validate(file.settings())
    assert again.settings() == file.settings()


def test_every_kind_has_an_example_and_a_job():
    from starcensus.experiments.jobs._job import job_of

    assert {load(path)[0].kind for path in EXAMPLES} == set(KINDS)
    for kind in KINDS:
        if kind != "population":
            assert callable(job_of(kind))


def test_the_reference_is_up_to_date():
    # In a process of its own, where no other test has registered anything.
    code = "from starcensus.experiments.schema.reference import markdown; print(markdown(), end='')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    page = ROOT / "docs" / "reference" / "files.md"
    assert page.read_text() == done.stdout, f"write it again: python -c {code!r} > {page}"


def keys(schema: dict, where: str):
    for name, item in schema.get("properties", {}).items():
        yield f"{where}.{name}", item
    for item in schema.get("properties", {}).values():
        for inner in (item, *item.get("anyOf", ()), item.get("additionalProperties") or {}):
            if isinstance(inner, dict):
                yield from keys(inner, where)


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_is_described(kind):
    bare = {key for key, item in keys(json_of(kind), kind) if not item.get("description")}
    bare = {key for key in bare if not key.endswith(".kind")}
    assert not bare
    text = text_of(kind)
    assert all(f"{key.split('.')[1]}" in text for key, _ in keys(json_of(kind), kind))


SETTINGS = ("Settings", "Plan", "Options", "Inputs", "Thresholds", "Exposure")


def test_no_table_of_settings_is_described_twice():
    """Of each table there is one class, and no class says again what the library's say."""
    found = collections.defaultdict(set)
    for path in sorted((EXPERIMENTS / "schema").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                fields = frozenset(
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                )
                if len(fields) > 1:
                    found[fields].add(f"{path.stem}.{node.name}")
    assert not {names for names in map(frozenset, found.values()) if len(names) > 1}
    ours = set(found)
    for folder in ("simulate", "selection", "forward", "inference", "networks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.ClassDef) or not node.name.endswith(SETTINGS):
                    continue
                fields = {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign)
                    and isinstance(item.target, ast.Name)
                    and ast.unparse(item.annotation)[0].islower()
                }
                twins = [
                    found[other] for other in ours if len(other & fields) > max(3, len(other) / 2)
                ]
                assert not twins, f"{path.stem}.{node.name} is said again by {twins}"


def test_functions_of_the_application_are_short():
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1}"
        for path in sorted(EXPERIMENTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= 40
    ]
    assert not long


def test_nothing_in_the_schema_reads_or_writes():
    """Files are opened by jobs; a schema reads the one that it checks."""
    for path in sorted((EXPERIMENTS / "schema").glob("*.py")):
        calls = {
            node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        assert not calls & {"open", "write_text", "write_json", "save", "load_selection", "read"}


LIBRARY = '[theta]\nkind = "log_uniform"\nlog_mass = [2, 4]\n'
SURVEY = '[images]\npaths = "x"\n[pipeline]\nkind = "legus"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n = 10\n" + LIBRARY, 'looks like a library: add the line `kind = "library"`'),
        (SURVEY, 'looks like a survey: add the line `kind = "survey"`'),
        ('tables = ["a.h5"]', 'looks like a learning: add the line `kind = "learning"`'),
        ("x = 1", "kind is missing; expected one of fit, "),
        ('kind = "experiment"', "kind is 'experiment'; expected one of fit, "),
        ('kind = "library"\nn = 1\nm = 1\n' + LIBRARY, "m: unknown key; remove it or check its"),
        ('kind = "survey"\n' + SURVEY + "[plan]\nseed = 1", "plan: unknown key seed .*at the top"),
        ('kind = "library"\n' + LIBRARY, "n is missing; expected the number of clusters"),
        ('kind = "learning"', "tables: is missing"),
        ("kind = 'library'\nn = ", "not valid TOML"),
    ],
)
def test_what_a_file_is_refused_for(text, message):
    with pytest.raises(ValueError, match=rf"^a\.toml: .*{message}"):
        parse(text, "a.toml")


def test_a_command_takes_files_of_its_own_kind():
    with pytest.raises(ConfigError, match=r"is of kind 'library'; expected survey"):
        parse('kind = "library"\nn = 1\n' + LIBRARY, "a.toml", class_of("survey"))


def test_a_kind_of_ones_own(monkeypatch):
    monkeypatch.setattr(FILES, "_known", dict(FILES._known))

    @FILES.register("mine")
    class Mine(File):
        """A file of mine."""

        x: int

    made = parse('kind = "mine"\nx = 3', "a.toml")
    assert isinstance(made, Mine) and made.x == 3
    assert "A file of mine." in text_of("mine")


def test_paths(tmp_path):
    here, data = tmp_path / "here", tmp_path / "data"
    (data / "deep").mkdir(parents=True)
    here.mkdir()
    for path in (here / "a", data / "a", data / "deep" / "b", data / "c", data / "deep" / "c2"):
        path.write_text(path.name)
    sources = Sources.beside(here / "file.toml", (data,))
    assert sources.file("a", "x") == here / "a"
    assert sources.file("b", "x") == data / "deep" / "b"
    assert sources.file(str(data / "c"), "x") == data / "c"
    assert sources.file("package:quickstart.ecsv", "x").is_file()
    with pytest.raises(ConfigError, match=r"x: starcensus carries no file '\.\./quick"):
        sources.file("package:../quickstart.toml", "x")
    with pytest.raises(ConfigError, match=r"x: no file d in .*here or .*data; give .*--data"):
        sources.file("d", "x")
    with pytest.raises(ConfigError, match=r"x: .*deep is a folder; expected a file"):
        sources.file("deep", "x")
    (data / "other").mkdir()
    (data / "other" / "b").write_text("b")
    with pytest.raises(ConfigError, match=r"several files under .*data are called b"):
        sources.file("b", "x")
    with pytest.raises(ConfigError, match=r"--data .*none: there is no such folder"):
        Sources(here, (tmp_path / "none",))


def test_a_table_that_is_left_out_is_an_empty_one():
    """Catches a default in files that is another than the library's."""
    tried = 0
    for kind in KINDS:
        for name, field in class_of(kind).model_fields.items():
            default = field.default
            if dataclasses.is_dataclass(default) and not isinstance(default, type):
                tried += 1
                assert default == type(default)(), f"{kind}: {name}"
    assert tried >= 15


def test_what_an_example_calls_c4_is_defined_there():
    """Its words stand in the report, which has no other place to say it."""
    for path in EXAMPLES:
        text = path.read_text()
        assert "C-4" not in text or "arXiv:2604.05291" in text.partition("C-4")[2][:200], path
