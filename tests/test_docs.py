"""The Python examples of the documentation run as they stand, in the order of their page."""

import pathlib
import re

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"


def test_a_survey_of_ones_own_is_injected_into():
    """docs/how-to/images.md on a smaller galaxy; the labels are those of the survey."""
    pytest.importorskip("galsim")
    text = (DOCS / "how-to" / "images.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    code = "\n".join(blocks)
    for old, new in (("(1024, 1024)", "(300, 400)"), ("n, rng = 1000", "n, rng = 40")):
        assert old in code
        code = code.replace(old, new)
    names: dict = {"__name__": "example"}
    exec(compile(code, "images.md", "exec"), names)
    legus, mine = names["table"], names["mine"]
    assert len(legus) == len(mine) and (legus.true_mags == mine.true_mags).all()
    v = mine.bands.index("ACS_F555W")
    assert mine.catalogued.any() and mine.measured_mags[mine.catalogued, v].max() < 23
