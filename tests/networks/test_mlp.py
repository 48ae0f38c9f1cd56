"""The MLP against NumPy, in chunks, and what it refuses."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from starcensus.networks import MLP, mlp, random_mlp


def reference(network: MLP, x: np.ndarray) -> np.ndarray:
    h = (x - np.asarray(network.mean)) / np.asarray(network.scale)
    for layer, (w, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        if layer:
            h = h * (1 + erf(h / np.sqrt(2))) / 2
        h = h @ np.asarray(w, float).T + np.asarray(b, float)
    return h[:, 0]


@pytest.fixture
def network() -> MLP:
    return random_mlp(
        (3, 16, 8), key=jax.random.key(1), mean=np.array([4.0, 7.0, 1.0]), scale=np.ones(3) * 2
    )


def test_matches_numpy(network, monkeypatch):
    x = np.random.default_rng(0).normal(4, 2, (50, 3))
    np.testing.assert_allclose(network(jnp.asarray(x)), reference(network, x), rtol=0, atol=1e-13)
    monkeypatch.setattr(mlp, "_CHUNK_ROWS", 7)
    np.testing.assert_allclose(network(jnp.asarray(x)), reference(network, x), rtol=0, atol=1e-13)
    gradient = jax.grad(lambda y: network(y).sum())(jnp.asarray(x))
    step = np.zeros((50, 3))
    step[:, 1] = 1e-6
    difference = (reference(network, x + step) - reference(network, x - step)) / 2e-6
    np.testing.assert_allclose(gradient[:, 1], difference, atol=1e-7)


def test_follows_the_dtype_of_its_inputs(network):
    assert network(jnp.ones((2, 3), jnp.float32)).dtype == jnp.float32
    assert network(jnp.ones((2, 3), jnp.float64)).dtype == jnp.float64


def test_holds_numpy_arrays_and_round_trips(network):
    arrays = network.to_arrays()
    assert all(type(a) is np.ndarray for a in arrays.values())
    again = MLP.from_arrays(arrays).to_arrays()
    assert all((again[name] == arrays[name]).all() for name in arrays)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "0 weight and 0 bias"),
        (([np.ones((2, 3)), np.ones((1, 3))], [np.ones(2), np.ones(1)]), "layer 1 has weights"),
        (([np.ones((2, 3))], [np.ones(2)]), "2 outputs; expected 1"),
        (([np.ones((1, 3))], [np.ones(1)], np.ones(2)), "do not fit the 3 inputs"),
        (([np.ones((1, 3))], [np.ones(1)], np.ones(3), np.zeros(3)), "scale positive"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MLP(*arguments)


def test_refuses_rows_of_another_width(network):
    with pytest.raises(ValueError, match="3 inputs; got rows of 4"):
        network(jnp.ones((2, 4)))


@pytest.mark.slow
def test_a_million_rows_need_less_than_half_a_gigabyte():
    code = (
        "import resource, numpy as np, jax, jax.numpy as jnp\n"
        "from starcensus.networks import random_mlp\n"
        "n = random_mlp((3, 512, 512), key=jax.random.key(0))\n"
        "n(jnp.ones((2, 3))).block_until_ready()\n"
        "a = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "n(jnp.ones((1_000_000, 3))).block_until_ready()\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - a)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 500_000
