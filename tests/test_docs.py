"""The Python examples of the documentation run as they stand, in the order of their page."""

import ast
import importlib
import pathlib
import re
import tomllib
from typing import Any

import pytest

from starcensus.experiments.jobs._job import open_job
from starcensus.experiments.schema import _base as schema

DOCS = pathlib.Path(__file__).parents[1] / "docs"


def python_of(page: str, *smaller: tuple[str, str]) -> str:
    """The Python examples of a page, with some of their numbers made smaller."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    code = "\n".join(blocks)
    for old, new in smaller:
        assert old in code, f"{page} has no {old}"
        code = code.replace(old, new)
    return code


def test_a_survey_of_ones_own_is_injected_into(tmp_path: pathlib.Path, monkeypatch):
    """docs/how-to/images.md on a smaller galaxy; the labels are those of the survey."""
    pytest.importorskip("galsim")
    code = python_of(
        "how-to/images.md", ("(1024, 1024)", "(300, 400)"), ("n, rng = 1000", "n, rng = 40")
    )
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "example"}
    exec(compile(code, "images.md", "exec"), names)
    legus, mine = names["table"], names["mine"]
    assert len(legus) == len(mine) and (legus.true_mags == mine.true_mags).all()
    v = mine.bands.index("ACS_F555W")
    assert mine.catalogued.any() and mine.measured_mags[mine.catalogued, v].max() < 23


SIZES = "(1024, 1024), 3.5, 20_000, 500, 20, 20"


def test_completeness_from_python_alone(tmp_path: pathlib.Path, monkeypatch):
    """docs/tutorials/completeness.md in fewer than 80 lines, up to the draws of its fit."""
    pytest.importorskip("galsim")
    whole = python_of("tutorials/completeness.md")
    assert whole.count("\n") < 80
    few = python_of(
        "tutorials/completeness.md",
        (SIZES, "(400, 400), 2.4, 500, 25, 4, 2"),
        ("FlatRadius(1.0, 10.0", "FlatRadius(2.0, 4.0"),
    )
    module = importlib.import_module("starcensus.inference.fit")

    class Ready(Exception):
        pass

    def sampled(given, model, *_):
        module._check_start(model, given.samples, given.objects)
        assert given.selection.acts_on == "truth"
        raise Ready

    monkeypatch.setattr(module, "_sampled", sampled)
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "example"}
    with pytest.raises(Ready):
        exec(compile(few, "completeness.md", "exec"), names)
    # The guard of the commands is that of the library: own training rows are refused.
    with pytest.raises(ValueError, match="trained on"):
        names["evaluate"](names["learned"], names["training"])
    assert names["held_out"].repeat.max() == 3 and len(names["held_out"]) == 100
    assert (tmp_path / "operator.h5").is_file()


@pytest.mark.slow
def test_completeness_and_its_fit_from_python_alone(tmp_path: pathlib.Path, monkeypatch):
    """docs/tutorials/completeness.md with few injections and draws."""
    pytest.importorskip("galsim")
    code = python_of(
        "tutorials/completeness.md",
        (SIZES, "(400, 400), 2.7, 1_500, 60, 12, 3"),
        (
            "import PopulationModel, fit",
            "import FitSettings, PopulationModel, SamplerSettings, fit",
        ),
        ("PopulationModel(truth))", "PopulationModel(truth), FitSettings(sampler=short))"),
        (
            "shape, log_n",
            "short = SamplerSettings(n_chains=2, n_warmup=50, n_samples=50)\nshape, log_n",
        ),
    )
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "example"}
    exec(compile(code, "completeness.md", "exec"), names)
    held_out = names["held_out"]
    assert held_out.repeat.max() == 11 and len(held_out) == 720
    assert names["result"].summary["n_clusters"] == len(names["catalogue"])
    assert (tmp_path / "completeness" / "posterior.nc").is_file()


FACADES = (
    *(f"starcensus.{name}" for name in ("simulate", "networks", "selection", "forward")),
    "starcensus.inference",
    "starcensus.inference.evidence",
    "starcensus.forward.light",
    "starcensus.simulate.stamps",
    *(
        f"starcensus.selection.{name}"
        for name in (
            "catalogue",
            "classes",
            "finder",
            "pipeline",
            "injection",
            "learning",
            "posterior",
        )
    ),
)


@pytest.mark.parametrize("facade", FACADES)
def test_every_public_name_has_its_place_in_the_reference(facade: str):
    """Once, on a hand-ordered page; and nothing is there that the façade does not have."""
    module = importlib.import_module(facade)
    source = ast.parse(pathlib.Path(str(module.__file__)).read_text())
    public = {
        alias.asname or alias.name
        for node in source.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    placed = [
        name
        for page in sorted((DOCS / "reference" / "api").glob("*.md"))
        for path in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
        for parent, _, name in [path.rpartition(".")]
        if parent == facade
    ]
    assert len(set(placed)) == len(placed)
    assert set(placed) == {name for name in public if not name.startswith("_")}


PAGES = sorted({*DOCS.glob("tutorials/*.md"), *DOCS.glob("how-to/*.md")})
FILES = [
    pytest.param(text, id=f"{page.stem}:{name}")
    for page in PAGES
    for name, text in re.findall(r'```toml title="(.*?)"\n(.*?)```', page.read_text(), re.DOTALL)
    # Those of the page on parts of one's own are run by a test of their own.
    if page.stem != "extend"
]


@pytest.mark.parametrize("text", FILES)
def test_files_of_the_tutorials_are_what_their_schema_says(text: str):
    kind = tomllib.loads(text)["kind"]
    assert type(schema.parse(text, "page", schema.file_class(kind))).__module__.endswith(kind)


@pytest.mark.shared
@pytest.mark.slow
def test_the_readme_fits_a_legus_table(shared: pathlib.Path, tmp_path, monkeypatch):
    [table] = (shared / "catalogues" / "legus").rglob("*ngc628-c*avgapcor.tab")
    code = python_of("../README.md", ("hlsp_legus_…_avgapcor.tab", str(table)))
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "example"}
    exec(compile(code, "README.md", "exec"), names)
    # Adamo et al. (2017): dN/dM of slope -2.03 +- 0.06; ours has a break as well.
    assert names["result"].diagnostics.converged
    assert -2.5 < names["result"].summary["posterior.alpha_m.median"] < -1.5


@pytest.mark.shared
@pytest.mark.slow
def test_the_tutorial_fits_a_legus_table(shared: pathlib.Path, tmp_path):
    [text] = [t.values[0] for t in FILES if t.id == "legus_table:fit.toml"]
    (tmp_path / "fit.toml").write_text(str(text))
    data = (shared / "catalogues" / "legus",)
    summary = open_job(tmp_path / "fit.toml", tmp_path / "out", data).perform()
    assert summary["converged"] is True
    assert -2.6 < float(summary["posterior.alpha_m.median"]) < -1.5


TEXTS = {
    str(page.relative_to(DOCS.parent)): page.read_text()
    for page in (DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md")))
}
BLOCKS = [
    pytest.param(code, id=f"{page}:{number}")
    for page, text in TEXTS.items()
    for number, code in enumerate(re.findall(r"```python.*?\n(.*?)```", text, re.DOTALL), 1)
]


@pytest.mark.parametrize("code", BLOCKS)
def test_what_the_python_of_a_page_imports_is_there(code: str):
    """Of the pages that need images, tables or hours too, which no test runs."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("starcensus"):
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"


COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for text in TEXTS.values()
        for block in re.findall(r"```(?:sh|bash)\n(.*?)```", text, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("starcensus ")
    }
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_page_has_its_options(line: str):
    import shlex

    from benchmarks.commands import bench_app
    from typer.main import get_command

    from starcensus.experiments.cli import main

    found: Any = get_command(main.app)
    words = shlex.split(line)[1:]
    if words[0] == "bench":  # Of a checkout, which has commands of its own.
        found, words = get_command(bench_app), words[1:]
    while hasattr(found, "commands"):
        name = words.pop(0)
        found = found.get_command(None, name) or pytest.fail(f"no command {name}")
    known = {option for param in found.params for option in (*param.opts, *param.secondary_opts)}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    assert set(given) <= known | {"--help"}, line


TESTS = DOCS.parent / "tests"
NAMED = sorted(
    {
        found
        for text in TEXTS.values()
        for found in re.findall(r"`(?:tests/)?((?:\w+/)+test_\w+\.py(?:::test_\w+)?)", text)
    }
)
STUDIES = sorted(
    {
        line.replace("\\\n", " ").split("#")[0].strip()
        for text in TEXTS.values()
        for line in re.findall(r"python -m (?:tests|benchmarks)\.(?:\\\n|[^`\n])*", text)
    }
)


def test_the_pages_name_tests_and_studies():
    assert len(NAMED) > 30 and len(STUDIES) > 10


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_a_page_names_is_there(name: str):
    path, _, function = name.removeprefix("tests/").partition("::")
    assert (TESTS / path).is_file(), name
    assert f"def {function}(" in (TESTS / path).read_text() if function else True, name


@pytest.mark.parametrize("line", STUDIES)
def test_a_study_of_a_page_has_its_options(line: str):
    words = line.split()[2:]
    module = DOCS.parent / words[0].replace(".", "/")
    [source] = [p for p in (module.with_suffix(".py"), module / "__main__.py") if p.is_file()]
    text = source.read_text()
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word.partition("=")[0]}"' in text, f"{words[0]} has no {word}"
