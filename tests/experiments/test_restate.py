"""`selection restate`: an operator says for which survey it was learned; its numbers stay."""

import dataclasses

import jax
import numpy as np
import pytest
from tests.helpers import run

from starcensus.networks import random_mlp
from starcensus.selection import (
    Box,
    MagnitudeLimit,
    NetworkSelection,
    Nuisance,
    learned_facts,
    load_selection,
    save_selection,
    selection_provenance,
)

BOX = Box((2.0, 7.0), (6.0, 10.0), (0.0, 3.0))


def test_facts_are_added_and_nothing_else_changes(tmp_path, monkeypatch):
    radii = Nuisance(("log_r_eff_pc",), np.log10([[2.0], [4.0]]), np.ones(2))
    networks = (random_mlp((4, 8), key=jax.random.key(0)),)
    old = NetworkSelection(networks, BOX, acts_on="truth", nuisance=radii)
    save_selection(old, tmp_path / "old.h5", {"title": "mine"})
    options = ("--field", "NGC 1313", "--distance-modulus", "28.2", "--bands", "F555W, F814W")
    code = run(
        monkeypatch, "selection", "restate", tmp_path / "old.h5", *options,
        "--acts-on", "data", "--out", tmp_path / "new.h5",
    )  # fmt: skip
    assert code == 0
    new = load_selection(tmp_path / "new.h5")
    assert isinstance(new, NetworkSelection) and new.acts_on == "data"
    theta = (np.array([3.0, 5.0]), 7.0, 0.5)
    np.testing.assert_array_equal(new.members(*theta), old.members(*theta))
    assert selection_provenance(tmp_path / "new.h5") == {"title": "mine"}
    (facts,) = learned_facts(new)
    assert (facts.field, facts.distance_modulus) == ("NGC 1313", 28.2)
    assert [band.name for band in facts.bands] == ["F555W", "F814W"]
    assert facts.radius_pc == pytest.approx((2.0, 2.0, 2.0, 4.0, 4.0))
    assert dataclasses.replace(facts, field=None) != facts


def test_an_operator_that_was_not_learned_has_no_facts_to_state(tmp_path, monkeypatch, capsys):
    save_selection(MagnitudeLimit.default(domain=BOX, outside="zero"), tmp_path / "limit.h5")
    out = tmp_path / "new.h5"
    assert run(monkeypatch, "selection", "restate", tmp_path / "limit.h5", "--out", out) == 2
    assert "carries no facts of its own" in capsys.readouterr().err
    assert not out.exists()
