"""Values of operators against closed forms, and what they refuse."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from starcensus.networks import random_mlp
from starcensus.selection import Box, GridSelection, NetworkSelection, tabulate
from starcensus.selection.operators import _base

BOX = Box((2.0, 6.0), (6.0, 10.0), (0.0, 3.0))
NODES = (np.linspace(2, 6, 5), np.linspace(6, 10, 4), np.linspace(0, 3, 3))


def network(inputs: Literal["log", "linear"] = "log", n: int = 2) -> NetworkSelection:
    mean, scale = np.array([4.0, 8.0, 1.5]), np.array([1.0, 1.0, 0.8])
    if inputs == "linear":
        mean, scale = np.array([1e5, 1e9, 1.5]), np.array([3e5, 3e9, 0.8])
    keys = jax.random.split(jax.random.key(3), n)
    return NetworkSelection(
        networks=tuple(random_mlp((3, 8), key=key, mean=mean, scale=scale) for key in keys),
        domain=BOX,
        inputs=inputs,
    )


def test_tabulate():
    operator = network()
    table = tabulate(operator, *NODES)
    mesh = np.meshgrid(*NODES, indexing="ij")
    np.testing.assert_allclose(table.members(*mesh), operator.members(*mesh), atol=2e-9)


def test_grid_is_exact_at_nodes_and_linear_in_the_logit():
    p = np.random.default_rng(0).uniform(0.1, 0.9, (5, 4, 3))
    operator = GridSelection.from_probabilities(NODES, p)
    np.testing.assert_allclose(operator.p_sel(*np.meshgrid(*NODES, indexing="ij")), p, rtol=1e-12)
    logit = np.log(p / (1 - p))
    middle = (logit[0, 0, 0] + logit[1, 0, 0]) / 2
    np.testing.assert_allclose(operator.p_sel(2.5, 6.0, 0.0), 1 / (1 + np.exp(-middle)))


def test_linear_inputs_are_linear():
    operator = network("linear", 1)
    features = jnp.array([[10**4.5, 10**7.5, 1.0]])
    expected = jax.nn.sigmoid(operator.networks[0](features))[0]
    np.testing.assert_allclose(operator.p_sel(4.5, 7.5, 1.0), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: NetworkSelection(networks=(), domain=BOX), "no networks"),
        (
            lambda: NetworkSelection(
                networks=(random_mlp((2, 4), key=jax.random.key(0)),), domain=BOX
            ),
            "network 0 has 2 inputs; expected 3",
        ),
        (lambda: GridSelection.from_probabilities(NODES, np.full((5, 4, 3), 1.5)), "1.5 to 1.5"),
        (lambda: GridSelection.from_probabilities(NODES, np.ones((5, 4, 2))), "logit has shape"),
        (
            lambda: GridSelection.from_probabilities(
                NODES, np.ones((5, 4, 3)), Box((1.0, 6.0), (6.0, 10.0), (0.0, 3.0))
            ),
            "log_mass 1 to 6 goes beyond the grid's nodes",
        ),
        (lambda: tabulate(network(), np.array([1.0, 3]), *NODES[1:]), "outside the domain"),
    ],
)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_many_rows_are_taken_in_blocks(monkeypatch):
    """The values are those of one block, and no more than BLOCK rows are asked for at a time."""
    rng = np.random.default_rng(0)
    nodes = (np.linspace(2, 6, 4), np.linspace(6, 10, 3), np.linspace(0, 3, 3))
    operator = GridSelection.from_probabilities(nodes, rng.uniform(0.1, 0.9, (4, 3, 3)))
    theta = rng.uniform(2, 6, (23, 1)), rng.uniform(6, 10, 3), np.array(1.0)
    expected = operator.p_sel(*theta)
    asked = []
    inside = GridSelection._members_inside

    def watched(self, *columns):
        asked.append(len(columns[0]))
        return inside(self, *columns)

    monkeypatch.setattr(_base, "BLOCK", 10)
    monkeypatch.setattr(GridSelection, "_members_inside", watched)
    np.testing.assert_allclose(operator.p_sel(*theta), expected, rtol=1e-6)
    assert expected.shape == (23, 3) and max(asked) == 10
