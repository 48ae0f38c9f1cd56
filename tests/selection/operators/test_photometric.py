"""Operators of magnitudes: which they refuse, which they move to their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from starcensus.networks import random_mlp
from starcensus.selection import PhotometricNetwork


def photometric() -> PhotometricNetwork:
    return PhotometricNetwork(
        networks=(random_mlp((2, 8), key=jax.random.key(0), mean=np.full(2, 22.0)),),
        bands=("F435W", "F555W"),
        limits=np.array([[15.0, 30.0], [15.0, 29.0]]),
        distance_modulus=29.98,
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"row 1 has F555W = nan, which is not a magnitude"),
        (66.666, r"row 1 has F555W = 66.666, the sentinel 66.666 \(outside the frame\)"),
        (99.999, r"the sentinel 99.999 \(not detected\)"),
        (44.444, r"the sentinel 44.444 \(no correction"),
        (29.5, r"row 1 has F555W = 29.5, outside the magnitudes of the training data"),
    ],
)
def test_photometric_refuses(value, message):
    mags = np.full((3, 2), 20.0)
    mags[1, 1] = value
    with pytest.raises(ValueError, match=message):
        photometric().p_sel(mags)
    network = photometric()
    p = jax.jit(lambda x: network.p_sel(x))(mags)
    assert np.isnan(np.asarray(p)).tolist() == [False, True, False]


def test_photometric_clips_where_asked():
    clipping = photometric().simulated()
    p = np.asarray(clipping.p_sel(np.array([[20.0, 29.5], [20.0, 29.0], [20.0, np.inf]])))
    assert p[0] == p[1] == p[2]
    with pytest.raises(ValueError, match=r"shape \(3, 3\); expected \(n, 2\)"):
        photometric().p_sel(np.ones((3, 3)))


def test_magnitudes_of_simulations_are_what_they_are():
    """A very faint cluster may have the value of a sentinel, and none may have no light at all."""
    mags = np.array([[44.444, 20.0], [np.inf, 20.0]])
    with pytest.raises(ValueError, match="row 1 has F435W = inf"):
        photometric().p_sel(mags)
    assert (np.diff(np.asarray(photometric().simulated().p_sel(mags))) == 0).all()
    assert (np.asarray(photometric().simulated("zero").p_sel(mags)) == 0).all()
    with pytest.raises(ValueError, match=r"2 of 2 rows cannot be used: row 0 .* outside"):
        photometric().simulated("refuse").p_sel(mags)
    with pytest.raises(ValueError, match="row 0 has F435W = nan"):
        photometric().simulated().p_sel(np.array([[np.nan, 20.0]]))


def test_a_probability_does_not_depend_on_how_many_are_asked_for():
    """Rows are filled up to few numbers of them, for which there are programs."""
    network, rng = photometric(), np.random.default_rng(0)
    mags = rng.uniform(18.0, 28.0, (9000, 2))
    p = np.asarray(network.p_sel(mags))
    direct = 1 / (1 + np.exp(-np.asarray(network.networks[0](jnp.asarray(mags)), float)))
    np.testing.assert_allclose(p, direct, rtol=2e-6)
    for n in (0, 1, 3, 8193):
        found = np.asarray(network.p_sel(mags[:n]))
        assert found.shape == (n,)
        np.testing.assert_allclose(found, p[:n], rtol=1e-6)
