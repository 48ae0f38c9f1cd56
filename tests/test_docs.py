"""The Python examples of the documentation run as they stand, in the order of their page."""

import ast
import importlib
import pathlib
import re
import tomllib

import pytest

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


def test_completeness_from_python_alone(tmp_path: pathlib.Path, monkeypatch):
    """docs/tutorials/completeness.md in fewer than 80 lines, with few injections and draws."""
    pytest.importorskip("galsim")
    whole = python_of("tutorials/completeness.md")
    assert whole.count("\n") < 80
    sizes = "(1024, 1024), 3.5, 20_000, 500, 20, 20"
    code = python_of(
        "tutorials/completeness.md",
        (sizes, "(400, 400), 2.7, 1_500, 60, 12, 3"),
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
    learned, held_out = names["learned"], names["held_out"]
    # The guard of the commands is that of the library: own training rows are refused.
    with pytest.raises(ValueError, match="trained on"):
        names["evaluate"](learned, names["training"])
    assert held_out.repeat.max() == 11 and len(held_out) == 720
    assert names["result"].summary["n_clusters"] == len(names["catalogue"])
    assert (tmp_path / "completeness" / "posterior.nc").is_file()


FACADES = (
    *(f"starcensus.{name}" for name in ("simulate", "networks", "selection", "forward")),
    "starcensus.inference",
    *(
        f"starcensus.selection.{name}"
        for name in ("catalogue", "pipeline", "injection", "learning")
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
