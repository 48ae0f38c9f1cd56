"""What other samplers are given: one density, of however many points, each counted once."""

import importlib.util

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks.evidence import Counted, bench_evidence
from scipy.stats import norm

from starcensus.extras import MissingExtraError
from starcensus.inference import SamplerSettings
from starcensus.inference.evidence import Target


@pytest.fixture(scope="module")
def normal() -> Target:
    """Nothing beyond 4."""
    return Target(
        2,
        lambda x: jax.scipy.stats.norm.logpdf(x).sum(),
        lambda x, data: jnp.where(jnp.abs(x).max() < 4, -2.0 * (x**2).sum(), -jnp.inf),
        lambda key: jax.random.normal(key, (2,), float),
    )


@pytest.mark.parametrize("n", [1, 5, 128, 300])
def test_points_are_evaluated_and_counted_once(normal, n):
    counted = Counted(normal)
    at = np.random.default_rng(n).normal(size=(n, 2))
    expected = norm.logpdf(at).sum(axis=1) - 2 * (at**2).sum(axis=1)
    np.testing.assert_allclose(counted(at), expected, rtol=1e-12)
    assert counted.n == n
    assert counted(np.full((1, 2), 5.0))[0] == -1e10 and counted.n == n + 1


@pytest.mark.skipif(
    all(map(importlib.util.find_spec, ("nautilus", "dynesty"))), reason="the extra is installed"
)
def test_the_command_that_installs_the_others_is_named():
    with pytest.raises(MissingExtraError, match=r"pip install 'starcensus\[nested\]'"):
        next(bench_evidence(100, SamplerSettings(4, 50, 50)))
