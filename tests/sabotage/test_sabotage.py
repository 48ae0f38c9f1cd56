"""The table of deliberate faults does not rot; `python -m tests.sabotage` tries them."""

import ast
import pathlib

import pytest
from tests.sabotage.copies import ROOT, with_fault
from tests.sabotage.faults import faults

FAULTS = faults()


def test_names_are_different_and_there_are_many():
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= 60


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_can_be_put_where_it_belongs(fault, tmp_path: pathlib.Path):
    """Catches a table that has fallen behind the code: text that moved, tests that went."""
    text = (ROOT / fault.file).read_text()
    copy = tmp_path / fault.file
    copy.parent.mkdir(parents=True)
    copy.write_text(text)
    with with_fault(tmp_path, fault.file, fault.old, fault.new):
        assert copy.read_text() != text
        ast.parse(copy.read_text())
    assert copy.read_text() == text
    assert fault.why and fault.tests
    for test in fault.tests:
        file, _, name = test.partition("::")
        assert f"def {name}" in (ROOT / file).read_text()


def test_text_that_is_not_there_once_is_refused(tmp_path: pathlib.Path):
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    with pytest.raises(ValueError, match="holds 2 times, expected once"):
        with with_fault(tmp_path, "a.py", "x = 1", "x = 2"):
            pass
