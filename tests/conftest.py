"""A hostile session: strict dtypes and ranks, two CPU devices, no global state changed."""

import collections
import json
import os
import pathlib
import sys

# Commands that are run in this session keep no compiled programs.
os.environ["STARCENSUS_CACHE"] = "off"
# A worker has a core: libraries that take all of them wait for each other's threads. Workers are
# told by the process that starts them, before they import NumPy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
)

import jax
import numpy as np
import pytest
from tests import helpers
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

if "JAX_PLATFORMS" not in os.environ:
    jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

TESTS = pathlib.Path(__file__).resolve().parent
SHARED = TESTS.parents[1] / "shared"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Workers find the programs that each other, or an earlier session, compiled.

    Compiling is half of the time of the tests; commands keep programs in the same way.
    """
    from starcensus.experiments.cli.process import keep_programs  # not before it is instrumented

    keep_programs(TESTS.parent / ".pytest_cache" / "programs")


# Files that share what costs more than they do: one worker takes all of a group.
GROUPS = {
    "inference/evidence/test_compare.py": "evidences",
    "inference/evidence/test_population.py": "evidences",
    "inference/evidence/test_thinning.py": "evidences",
    "inference/test_closed_form.py": "fits",
    "inference/test_fit.py": "fits",
    "inference/test_importance.py": "fits",
    "inference/test_laid.py": "fits",
    "inference/test_likelihood.py": "fits",
    "inference/test_posteriors.py": "fits",
    "inference/test_programs.py": "fits",
    "inference/test_sampling.py": "fits",
}
# Seconds of each file, which `make durations` writes.
DURATIONS = json.loads((TESTS / "durations.json").read_text())


def group_of(nodeid: str) -> str:
    """The group of a test, by default its file."""
    file = nodeid.split("::")[0].removeprefix("tests/")
    return GROUPS.get(file, file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    """With `--dist loadfile`, workers take groups, in the order of the tests."""
    if config.getoption("dist") != "loadfile":
        return None

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In workers, the longest group comes first: what is taken last should be short."""
    if hasattr(config, "workerinput"):
        seconds: dict[str, float] = collections.defaultdict(float)
        for file in {item.nodeid.split("::")[0].removeprefix("tests/") for item in items}:
            seconds[group_of(file)] += DURATIONS.get(file, 5.0)
        items.sort(key=lambda item: -seconds[group_of(item.nodeid)])


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The reference data folder beside the checkout; tests that use it carry `shared`."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the reference data folder ../shared is not there")
    return SHARED / "data"


@pytest.fixture(autouse=True)
def _no_global_state():
    """Fail any test that changes the process: working directory, NumPy's seed, JAX's settings."""
    before = (os.getcwd(), jax.config.jax_enable_x64, np.random.get_state()[1].tobytes())  # noqa: NPY002
    yield
    after = (os.getcwd(), jax.config.jax_enable_x64, np.random.get_state()[1].tobytes())  # noqa: NPY002
    assert before == after, "the test changed global state"


@pytest.fixture(scope="session")
def made_table():
    """`helpers.made_table`: injections of known completeness, without images."""
    return helpers.made_table


@pytest.fixture(scope="session")
def p_of():
    """`helpers.completeness`, the completeness of those injections."""
    return helpers.completeness


@pytest.fixture(autouse=True, scope="module")
def _kinds_of_a_module_go_with_it():
    """Kinds and bands that tests add are not there for the tests of other files."""
    from starcensus.registry import Registry  # not before it is instrumented

    def registries() -> list[Registry]:
        modules = [m for name, m in sys.modules.items() if name.startswith("starcensus.")]
        found = [v for m in modules for v in vars(m).values() if isinstance(v, Registry)]
        return list({id(registry): registry for registry in found}.values())

    before = {id(registry): set(registry) for registry in registries()}
    yield
    for registry in registries():
        # What a module of ours adds when it is first imported stays; a band has no module.
        ours = {n for n, kind in registry.items() if _home(kind).startswith("starcensus.")}
        if registry.what == "band":
            ours = before.get(id(registry), ours)
        keep = ours | before.get(id(registry), set())
        registry._known = {n: kind for n, kind in registry.items() if n in keep}


def _home(kind: object) -> str:
    return str(getattr(kind, "__module__", None) or type(kind).__module__)
