"""Words that settings do not know are refused, where nothing instruments the library."""

import dataclasses
import json
import subprocess
import sys
from typing import Literal

import pytest

from starcensus.settings import check_choices, choices_of

# Every dataclass of the library that can be made without arguments: with a wrong word in each
# field of words, or a seed that no generator takes, it must not be made.
PROBE = """
import dataclasses, importlib, inspect, json, pkgutil
import starcensus
from starcensus.settings import choices_of
names = ("simulate", "networks", "selection", "forward", "inference")
wrong, tried, seeds = [], 0, 0
for top in names:
    package = importlib.import_module(f"starcensus.{top}")
    for found in pkgutil.walk_packages(package.__path__, f"starcensus.{top}."):
        try:
            module = importlib.import_module(found.name)
        except ModuleNotFoundError as error:
            # An extra.
            if error.name == "torch":
                continue
            raise
        for name, cls in inspect.getmembers(module, inspect.isclass):
            if cls.__module__ != module.__name__ or not dataclasses.is_dataclass(cls):
                continue
            needed = {
                f.name: 1.0 for f in dataclasses.fields(cls)
                if f.init and f.default is f.default_factory is dataclasses.MISSING
            }
            # Of settings; the seeds of a library are a column.
            if any(f.name == "seed" and f.default == 0 for f in dataclasses.fields(cls)):
                if "n" in needed:
                    needed["n"] = 1
                cls(**needed)
                cls(**{**needed, "seed": 2**62 - 1})
                seeds += 1
                for seed in (-3, 2**62, 2**70, 1.5, "1", None):
                    try:
                        cls(**{**needed, "seed": seed})
                    except ValueError as error:
                        if "seed is" in str(error):
                            continue
                    except TypeError:
                        pass
                    wrong.append(f"{module.__name__}.{name}.seed = {seed!r}")
            for field in dataclasses.fields(cls):
                if not field.init or not choices_of(field.type):
                    continue
                try:
                    cls(**needed)
                except Exception:
                    continue
                tried += 1
                try:
                    cls(**{**needed, field.name: "no such word"})
                except ValueError as error:
                    if "no such word" in str(error):
                        continue
                wrong.append(f"{module.__name__}.{name}.{field.name}")
print(json.dumps([wrong, tried, seeds]))
"""


def test_every_field_of_words_and_every_seed_refuses_others():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wrong, tried, seeds = json.loads(done.stdout)
    assert not wrong and tried >= 8 and seeds >= 6


@dataclasses.dataclass(frozen=True)
class Rows:
    rows: Literal["keep", "drop"] = "keep"
    order: Literal["up", "down"] | None = None
    number: int = 0

    def __post_init__(self) -> None:
        check_choices(self)


def test_words_and_none_are_told_apart():
    assert Rows("drop", "up").rows == "drop"
    assert choices_of(Rows.__dataclass_fields__["order"].type) == ("up", "down", None)
    assert choices_of(int) == choices_of(Literal[1, 2]) == ()
    for wrong in ({"rows": "kep"}, {"rows": None}, {"order": "left"}, {"rows": ["keep"]}):
        with pytest.raises(ValueError, match="expected one of"):
            Rows(**wrong)
