"""The Python examples in docstrings run as they stand, and each public name has one or a reason.

docs/reference/api/index.md says what an example may use: names of the façades and some objects.
"""

import ast
import builtins
import contextlib
import importlib
import importlib.util
import inspect
import os
import pathlib
import re
import shutil
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

from starcensus.registry import Registry

pytest.importorskip("galsim")

PAGES = pathlib.Path(__file__).parents[1] / "docs" / "reference" / "api"
PLACED = tuple(
    path
    for page in sorted(PAGES.glob("*.md"))
    for path in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
)
# What cannot run here, and why; that its names are there is tested.
NOT_RUN = {
    "simulate.build_grid": "reads libraries that we do not carry",
    "simulate.stars.read_cmd": "reads isochrones that we do not carry",
    "simulate.stars.read_fsps": "reads isochrones that we do not carry",
    "simulate.stars.read_mist": "reads isochrones that we do not carry",
    "simulate.stars.read_slug": "reads SLUG's tracks",
    "simulate.stars.read_atmospheres": "reads libraries that we do not carry",
    "simulate.stars.read_ck04": "reads libraries that we do not carry",
    "simulate.stars.read_wmbasic": "reads libraries that we do not carry",
    "simulate.stars.read_cmfgen": "reads libraries that we do not carry",
    "simulate.stars.read_post_agb": "reads libraries that we do not carry",
    "simulate.stars.default_filters": "reads curves that we do not carry",
    "simulate.stars.read_vega": "reads a spectrum that we do not carry",
    "simulate.read_slug2": "reads files of SLUG",
    "simulate.read_slug3": "reads a file of SLUG",
    "selection.classes.ClassifiedPipeline.of": "reads networks that somebody trained",
    "selection.import_c4": "reads a package that is not ours",
    "selection.catalogue.read_legus": "reads a table of MAST's archive",
    "selection.catalogue.read_phangs": "reads tables of MAST's archive",
    "selection.catalogue.read_literature": "reads a table of VizieR's archive",
    "forward.light.learn_emulator": "needs a library of thousands of clusters",
    "inference.fit": "samples for a minute",
    "inference.Sampler": "samples for a minute",
    "inference.calibrate": "makes hundreds of fits",
    "inference.calibrate_problem": "samples for a minute",
    **{
        f"inference.evidence.{name}": "samples for a minute"
        for name in (
            "population_target",
            "constrained",
            "unconstrained_draws",
            "evidence",
            "Evidence.json",
            "posterior_values",
            "data_digests",
            "prior_curve",
            "thinned_score",
            "aimed_checks",
            "Comparison",
        )
    },
}
# Public names without an example, by the reason.
NO_EXAMPLE = {
    "a constant": (
        "theta.AXES",
        "inference.evidence.GRADES",
        "theta.AXIS_UNITS",
        "theta.SENSIBLE",
        "bands.BANDS",
        "extras.EXTRAS",
        "selection.ABOUT",
        "selection.ACTS_ON_WORDS",
        "selection.classes.BOX_3_LOW_TABLE",
        "selection.classes.BOX_3_LOW_TEXT",
        "selection.classes.CLASSES",
        "selection.classes.COLUMNS",
        "selection.classes.POOLED",
        "selection.classes.SUBCLASSES",
    ),
    "a number of the paper that `corrected_counts` takes": (
        "selection.CLIP_LOG_MASS",
        "selection.CLIP_LOG_AGE",
        "selection.MASK_LOG_AGE",
    ),
    "a default": ("selection.learning.NEIGHBOURS",),
    "a part of `fit`, of what its sampler returns": (
        "inference.diagnose",
        "inference.observation_change",
        "inference.operator_change",
        "inference.operator_directions",
        "inference.with_operator_directions",
        "inference.posterior_tree",
        "inference.summarise",
    ),
    "a word of `meta`": ("selection.catalogue.GAUSSIAN",),
    "a part of a column map, whose example has it": (
        "selection.catalogue.Quantity",
        "selection.catalogue.PhotometryColumns",
        "selection.catalogue.ExtraColumn",
    ),
    "a cut, of which `apply_cuts` and `CUTS` have examples": (
        "selection.catalogue.Cut",
        "selection.catalogue.LegusStage2",
        "selection.catalogue.Classes",
        "selection.catalogue.Concentration",
        "selection.catalogue.AbsoluteMagnitude",
        "selection.catalogue.PhotometricErrors",
        "selection.catalogue.WithEstimates",
    ),
    "a protocol, with an example in what takes it": (
        "simulate.Engine",
        "selection.pipeline.Pipeline",
        "selection.injection.Build",
    ),
    "an interface, of which each kind has an example": (
        "simulate.Profile",
        "simulate.AbstractRadiusLaw",
        "inference.AbstractObjects",
        "selection.observation.AbstractObservation",
    ),
    "a segment, with an example in `AbstractImf`": ("simulate.PowerLaw", "simulate.Lognormal"),
    "a part of `GalaxySettings`, whose example has it": ("simulate.Exposure",),
    "what `build_grid` makes on its way": ("simulate.stars.Photometry",),
    "numbers by name": ("simulate.stars.Kind", "selection.catalogue.BandState"),
    "a pipeline, with an example of its settings": (
        "selection.pipeline.PhangsPipeline",
        "selection.pipeline.PhangsSurveySettings",
    ),
    "a prior, of which its module and `as_prior` have examples": (
        "forward.Uniform",
        "forward.Normal",
        "forward.MultivariateNormal",
        "forward.Dirichlet",
        "forward.Fixed",
        "forward.Tied",
        "forward.Given",
    ),
    "a type": (
        "selection.About",
        "selection.ActsOn",
        "selection.Outside",
        "selection.injection.Clock",
        "selection.learning.LearnedOperator",
    ),
    "what its one maker has an example of": ("selection.CompleteSelection",),
    "functions by name, which `operator_from_settings` calls": ("selection.SOURCES",),
    "kinds by name; the abstract class says how one is added": (
        "forward.MASS_FUNCTIONS",
        "forward.AGE_FUNCTIONS",
        "forward.MASS_AGE",
        "forward.EXTINCTIONS",
        "forward.PRIORS",
        "selection.OPERATORS",
        "selection.observation.OBSERVATIONS",
        "simulate.IMFS",
        "simulate.RADIUS_LAWS",
        "selection.catalogue.READERS",
    ),
    "an error, which only our own code raises": (
        "runs.RunError",
        "forward.light.EmulatorError",
        "simulate.RunError",
        "files.FileError",
        "extras.MissingExtraError",
        "networks.TrainingDiverged",
        "inference.BoundsError",
        "inference.ObjectsError",
        "inference.evidence.EvidenceError",
        "selection.OtherSurveyError",
        "selection.learning.LearningError",
        "selection.observation.ObservationFileError",
        "selection.posterior.PosteriorFileError",
        "selection.SelectionDomainError",
        "selection.UncertaintyError",
        "selection.classes.PrintedTableError",
        "selection.catalogue.CatalogueError",
        "selection.SelectionFileError",
        "selection.UnsafePickleError",
    ),
    "what only another function returns": (
        "selection.posterior.ThetaDraws",
        "shards.Done",
        "simulate.DrawnClusters",
        "simulate.stamps.Batch",
        "forward.CheckedGrid",
        "forward.light.Cell",
        "inference.EnsembleChange",
        "inference.Latents",
        "inference.LibraryError",
        "inference.FitResult",
        "inference.evidence.AimedCheck",
        "inference.evidence.Bayes",
        "inference.evidence.Bridge",
        "inference.evidence.Nested",
        "inference.evidence.PriorCurve",
        "inference.evidence.Thinned",
        "inference.MemberChange",
        "inference.ObservationChange",
        "inference.OperatorChange",
        "forward.OperatorDirections",
        "inference.Remarks",
        "selection.Difference",
        "inference.ObjectSamples",
        "inference.Points",
        "inference.Draws",
        "inference.Targeted",
        "inference.Diagnostics",
        "inference.LightPredictions",
        "inference.Measured",
        "inference.Predictions",
        "inference.ScoreTest",
        "inference.Calibration",
        "selection.learning.Evaluation",
        "selection.learning.Plain",
        "selection.learning.Repeats",
        "selection.learning.Scores",
        "selection.learning.Neighbours",
        "selection.learning.Reliability",
        "selection.learning.Choice",
        "selection.observation.Reach",
        "selection.observation.Truths",
        "selection.observation.Transforms",
        "selection.observation.MixtureDensity",
        "selection.pipeline.Apertures",
        "selection.injection.Matches",
        "simulate.stars.Spectrum",
        "simulate.Galaxy",
        "simulate.DrawnStars",
        "simulate.ResolvedCluster",
        "selection.catalogue.Step",
        "networks.Trained",
        "forward.MonteCarloEstimate",
        "forward.Mock",
        "selection.finder.FinderMaps",
        "selection.finder.Found",
        "selection.classes.BinnedAgreement",
        "selection.classes.CrossMatch",
        "selection.classes.Defect",
        "selection.classes.EnsembleVote",
        "selection.classes.FigureOfMerit",
        "selection.classes.PowerLawFit",
        "selection.classes.Spread",
        "selection.Marginalised",
        "selection.CorrectedCounts",
    ),
    "words of an error's message": ("files.reason",),
}


def thing(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def blocks(text: str | None) -> list[str]:
    found = re.findall(r"^( *)```python\n(.*?)^\1```", text or "", re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(code) for _, code in found]


def docstring(path: str) -> str | None:
    """That of a class or function; that of a constant is the text below it in its module."""
    value = thing(path)
    if inspect.isclass(value) or inspect.isroutine(inspect.unwrap(value)):
        return value.__doc__
    module, _, name = path.rpartition(".")
    source = ast.parse(inspect.getsource(importlib.import_module(module))).body
    for node, below in zip(source, [*source[1:], None], strict=True):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    package = importlib.import_module(module).__package__
                    home = importlib.util.resolve_name(
                        "." * node.level + (node.module or ""), package
                    )
                    return docstring(f"{home}.{alias.name}")
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(each, ast.Name) and each.id == name for each in targets):
            text = below.value if isinstance(below, ast.Expr) else None
            return str(text.value) if isinstance(text, ast.Constant) else None
    return None


def texts(path: str) -> Iterator[tuple[str, str | None]]:
    """Docstrings of a public thing and, where it is a class, of its public methods."""
    value = thing(path)
    yield path, docstring(path)
    if inspect.isclass(value):
        for name, member in vars(value).items():
            if not name.startswith("_"):
                yield f"{path}.{name}", getattr(member, "__doc__", None)


def modules() -> list[str]:
    """Where the public things are made."""
    made = (getattr(thing(path), "__module__", None) for path in PLACED)
    ours = {name for name in made if isinstance(name, str) and name.startswith("starcensus.")}
    return sorted(ours)


OWN = [pair for path in PLACED for pair in texts(path)]
OF_MODULES = [(name, importlib.import_module(name).__doc__) for name in modules()]
EXAMPLES = {
    f"{name}-{i}" if i else name: code
    for name, text in [*OWN, *OF_MODULES]
    for i, code in enumerate(blocks(text))
}


def facade_of(name: str) -> str:
    """The façade to which an example belongs: for a method, that of its class."""
    parts = name.partition("-")[0].split(".")
    facades = {path.rpartition(".")[0] for path in PLACED}
    starts = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
    return next((start for start in starts if start in facades), "starcensus.simulate")


@contextlib.contextmanager
def registries_kept() -> Iterator[None]:
    """Kinds that an example adds go with it."""
    registries = [value for path in PLACED if isinstance(value := thing(path), Registry)]
    before = [(registry, dict(registry._known)) for registry in registries]
    try:
        yield
    finally:
        for registry, known in before:
            registry._known = known


def run(code: str, names: dict[str, Any], where: str) -> None:
    # Dataclasses look for their module.
    exec(compile(code, where, "exec"), names)


def unknown(code: str, names: dict[str, Any]) -> set[str]:
    """Names that an example uses and that nothing gives it."""
    tree = list(ast.walk(ast.parse(code)))
    used = {node.id for node in tree if isinstance(node, ast.Name)}
    made = {
        node.id for node in tree if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    return used - made - set(names) - set(dir(builtins))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], pathlib.Path]:
    """The objects of the page, and the folder with their files."""
    folder = tmp_path_factory.mktemp("examples")
    names = {path.rpartition(".")[2]: thing(path) for path in PLACED}
    names["PowerLaw"] = thing("starcensus.forward.PowerLaw")
    names["__name__"] = "example"
    (code,) = blocks((PAGES / "index.md").read_text())
    with contextlib.chdir(folder):
        run(code, names, "index.md")
    return names, folder


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(
    name: str,
    prepared: tuple[dict[str, Any], pathlib.Path],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
):
    names, folder = prepared
    facade = facade_of(name)
    own = {
        path.rpartition(".")[2]: thing(path) for path in PLACED if path.rpartition(".")[0] == facade
    }
    if name.removeprefix("starcensus.") in NOT_RUN:
        assert unknown(EXAMPLES[name], {**names, **own}) == set()
        return
    work = shutil.copytree(folder, tmp_path / "work")
    monkeypatch.chdir(work)
    with registries_kept():
        run(EXAMPLES[name], {**names, **own}, name)
    assert os.getcwd() == str(work)


def test_every_public_name_has_an_example_or_a_reason():
    without = {f"starcensus.{name}" for names in NO_EXAMPLE.values() for name in names}
    has = {path: any(blocks(text) for _, text in texts(path)) for path in PLACED}
    assert [path for path, there in has.items() if not there and path not in without] == []
    # A reason stands only where it is needed.
    assert [path for path in without if has.get(path, True)] == []


def test_what_is_not_run_is_an_example():
    assert set(NOT_RUN) <= {name.removeprefix("starcensus.") for name in EXAMPLES}
