"""What needs Torch is loaded by those that train, and by nobody else."""

import importlib
import subprocess
import sys
import types

import pytest

FREE = (
    "starcensus.networks",
    "starcensus.networks.conv",
    "starcensus.networks.cnn",
    "starcensus.networks.cnn.targets",
    "starcensus.networks.cnn.decoding",
    "starcensus.networks.cnn.schedules",
)
CODE = """
import importlib, sys
sys.modules["torch"] = None  # Importing it fails, as where it is not installed.
for name in sys.argv[1:]:
    importlib.import_module(name)
from starcensus.networks.cnn import Grid, LoopSettings, decode
try:
    from starcensus.networks.cnn import ResNet
except ImportError as error:
    print(error)
"""


def test_torch_is_asked_for_by_networks_of_torch_alone():
    done = subprocess.run(
        [sys.executable, "-c", CODE, *FREE], capture_output=True, text=True, check=True
    )
    assert "pip install 'starcensus[cnn]'" in done.stdout


def test_a_name_that_there_is_not_is_an_error_of_attributes():
    from starcensus.networks import cnn

    with pytest.raises(AttributeError, match="no attribute 'Perceptron'"):
        cnn.Perceptron  # noqa: B018


def test_every_name_of_the_facade_is_there():
    pytest.importorskip("torch")
    from starcensus.networks import cnn

    for name, home in cnn._HOMES.items():
        made = getattr(cnn, name)
        assert made is getattr(importlib.import_module(f"starcensus.networks.cnn.{home}"), name)
        # A module of the same name would take its place once it is imported.
        assert not isinstance(made, types.ModuleType)
