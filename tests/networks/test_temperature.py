"""Temperatures of softmax heads."""

import numpy as np
import pytest
from scipy.special import softmax

from starcensus.networks import (
    ConvNetwork,
    ConvSettings,
    cross_entropy_at,
    fit_temperature,
    tempered,
)

CONV = ConvSettings(("V",), (0.02,), stages=(((3, 4),), ((3, 8),)), box_pix=5)


def told(temperature: float, n: int = 20_000) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too sure, and what happened."""
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 2, (n, 6))
    shares = softmax(logits, axis=1)
    which = (shares.cumsum(1) < rng.random((n, 1))).sum(1)
    return temperature * logits, np.eye(6)[which]


@pytest.mark.parametrize("true", [0.6, 1.0, 2.5])
def test_how_much_too_sure_a_softmax_is_is_found(true):
    # The error of ln T is about 1 / sqrt(n Var of ln p): 0.006 here.
    assert np.log(fit_temperature(*told(true)) / true) == pytest.approx(0, abs=0.025)


def test_cross_entropy_is_that_of_the_definition():
    logits, target = told(1.0, 50)
    expected = -(target * np.log(softmax(logits / 1.7, axis=1))).sum(1).mean()
    assert cross_entropy_at(1.7, logits, target) == pytest.approx(expected, rel=1e-12)


def test_a_softmax_that_is_wrong_is_best_flat():
    logits, target = told(1.0, 2000)
    assert fit_temperature(-logits, target) > 90
    with pytest.raises(ValueError, match="there are no objects"):
        fit_temperature(logits[:0], target[:0])


def test_a_tempered_network_divides_its_logits():
    rng = np.random.default_rng(1)
    arrays = {name: rng.normal(size=shape) for name, shape in CONV.shapes().items()}
    stamps = rng.normal(size=(3, 1, 12, 12))
    plain = ConvNetwork(CONV, arrays)(stamps)
    made = ConvNetwork(CONV, tempered(CONV, arrays, {"joint": 2.0, "size": 0.5}))(stamps)
    np.testing.assert_allclose(made["joint"], plain["joint"] / 2.0, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(made["size"], plain["size"] / 0.5, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(made["class"], plain["class"])
    with pytest.raises(ValueError, match="there is no head 'ages'; expected one of joint"):
        tempered(CONV, arrays, {"ages": 2.0})
    with pytest.raises(ValueError, match="the temperature of size is 0"):
        tempered(CONV, arrays, {"size": 0.0})
