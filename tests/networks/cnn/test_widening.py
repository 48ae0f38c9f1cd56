"""Widenings: found where they are, and the same in a network's last layer."""

import numpy as np
import pytest

from starcensus.networks import ConvNetwork, ConvSettings
from starcensus.networks.cnn.mixture import Mixtures, mixture_outputs
from starcensus.networks.cnn.targets import Grid
from starcensus.networks.cnn.widening import Widening, fit_widening

GRID = Grid()


def test_what_mixtures_were_narrowed_by_is_found():
    """Truths of outputs, judged by others that are surer by a known amount."""
    # So small that none comes near the ends of the ranges, where densities are cut off.
    outputs = 0.6 * np.random.default_rng(1).normal(size=(6000, mixture_outputs(3)))
    truths = Mixtures.of_outputs(outputs, GRID).draw(1, np.random.default_rng(2))[:, 0]
    narrowed = Widening(-0.4, 0.6).of_outputs(outputs)
    found = fit_widening(narrowed, truths, GRID)
    # Numbers of 6,000 objects and 24,000 coordinates.
    assert found.lowered == pytest.approx(0.4, abs=0.03)
    assert found.temperature == pytest.approx(1 / 0.6, abs=0.25)
    wide = Mixtures.of_outputs(found.of_outputs(narrowed), GRID).log_density(truths).mean()
    right = Mixtures.of_outputs(outputs, GRID).log_density(truths).mean()
    assert wide == pytest.approx(right, abs=2e-3)
    with pytest.raises(ValueError, match="there are no objects"):
        fit_widening(outputs[:0], truths[:0], GRID)


def test_the_last_layer_absorbs_it():
    heads = ("class", 2), ("mixture", mixture_outputs(2))
    conv = ConvSettings(("V",), (1.0,), stages=(((3, 4),), ((3, 8),)), box_pix=5, heads=heads)
    rng = np.random.default_rng(3)
    arrays = {name: rng.normal(size=s).astype(np.float32) for name, s in conv.shapes().items()}
    stamps = rng.normal(size=(4, 1, 12, 12)).astype(np.float32)
    before = ConvNetwork(conv, arrays)(stamps)
    widening = Widening(0.3, 1.5)
    after = ConvNetwork(conv, widening.absorbed(arrays))(stamps)
    np.testing.assert_array_equal(after["class"], before["class"])
    expected = widening.of_outputs(before["mixture"])
    np.testing.assert_allclose(after["mixture"], expected, rtol=1e-4, atol=1e-4)
