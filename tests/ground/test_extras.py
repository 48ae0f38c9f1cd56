"""What is missing is named with the command that installs it."""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest

from starcensus.extras import EXTRAS, MissingExtraError, need

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


def test_each_module_is_brought_by_an_extra_that_there_is():
    extras = PROJECT["optional-dependencies"]
    # The distributions that these modules come in, where both differ in name.
    distributions = {"cluster_completeness": "cluster-completeness-pipeline"}
    for module, extra in EXTRAS.items():
        wanted = distributions.get(module, module)
        assert any(line.startswith(wanted) for line in extras[extra]), module


def test_what_is_there_is_not_imported_by_asking():
    for name in [name for name in sys.modules if name.split(".")[0] == "wave"]:
        pytest.skip(f"{name} is loaded already")
    need("wave", purpose="a test")
    assert "wave" not in sys.modules


def test_what_is_missing_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sep", None)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"images needs sep.*'starcensus\[images\]'"):
        need("numpy", "sep", purpose="images")
    with pytest.raises(MissingExtraError, match=r"sep and torch.*'starcensus\[images,cnn\]'"):
        need("sep", "torch", purpose="all")


def test_the_package_offers_these_extras():
    offered = importlib.metadata.metadata("starcensus").get_all("Provides-Extra") or []
    assert set(EXTRAS.values()) <= set(offered)
