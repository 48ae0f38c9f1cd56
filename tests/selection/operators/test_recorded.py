"""Operators of recorded quantities against closed forms and Monte Carlo."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from starcensus.selection import Box, MagnitudeLimit, RecordedSelection, complete, with_outside

BOX = Box((3.0, 6.0), (6.0, 9.0), (0.0, 2.0))


def test_a_box_of_recorded_values_is_a_product_of_error_functions():
    sigma = (0.1, 0.25, 0.3)
    operator = RecordedSelection(complete(BOX), sigma)
    rng = np.random.default_rng(0)
    theta = [
        rng.uniform(lo - 3 * s, hi + 3 * s, 200)
        for (lo, hi), s in zip((BOX.log_mass, BOX.log_age, BOX.a_v), sigma, strict=True)
    ]
    expected = np.ones(200)
    limits = (BOX.log_mass, BOX.log_age, BOX.a_v)
    for x, s, (low, high) in zip(theta, sigma, limits, strict=True):
        expected *= norm.cdf((high - x) / s) - norm.cdf((low - x) / s)
    np.testing.assert_allclose(operator.p_sel(*theta), expected, atol=2e-7)
    assert operator.acts_on == "data"


@pytest.mark.parametrize("width", [0.1, 0.2, 0.5])
def test_logistic_normal(width):
    wide = Box((0.0, 9.0), (6.0, 9.0), (0.0, 2.0))
    limit = MagnitudeLimit(
        [5.0, 10.0],
        [0.0, 0.0],
        limit_mag=20.0,
        distance_modulus=30.0,
        extinction_ratio=1.0,
        width_mag=width,
        domain=wide,
        outside="zero",
    )
    # In dex of mass the logistic has scale width / 2.5.
    sigma = 0.2 * width
    operator = RecordedSelection(limit, (sigma, 0.0, 0.0))
    for mass in (3.8, 4.0, 4.05, 4.4):
        expected = quad(
            lambda x, m=mass: expit((20 - 30 + 2.5 * x) / width) * norm.pdf(x, m, sigma),
            mass - 8 * sigma,
            mass + 8 * sigma,
            epsabs=1e-12,
        )[0]
        np.testing.assert_allclose(operator.p_sel(mass, 8.0, 0.0), expected, atol=1e-6)


def test_monte_carlo():
    base = with_outside(MagnitudeLimit.default(domain=BOX), "zero")
    sigma = np.array([0.15, 0.2, 0.2])
    operator = RecordedSelection(base, (0.15, 0.2, 0.2))
    rng = np.random.default_rng(4)
    for theta in ([4.0, 8.0, 0.1], [3.1, 6.5, 0.5], [5.0, 8.9, 1.9]):
        drawn = base.p_sel(*(np.array(theta) + sigma * rng.standard_normal((200_000, 3))).T)
        error = float(drawn.std()) / np.sqrt(200_000)
        assert abs(float(operator.p_sel(*theta)) - float(drawn.mean())) < 4 * error + 1e-6


def test_no_error_is_the_base():
    base = with_outside(MagnitudeLimit.default(domain=BOX), "zero")
    operator = RecordedSelection(base, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(operator.p_sel(4.0, 8.0, 0.1), base.p_sel(4.0, 8.0, 0.1))
    assert operator.domain == base.domain


def test_chunks_agree(monkeypatch):
    from starcensus.selection.operators import recorded as _recorded

    operator = RecordedSelection(complete(BOX), (0.1, 0.1, 0.0), order=6)
    mass = np.linspace(2.9, 6.1, 50)
    whole = operator.p_sel(mass, 8.0, 1.0)
    monkeypatch.setattr(_recorded, "_CHUNK_POINTS", 36 * 7)
    np.testing.assert_allclose(operator.p_sel(mass, 8.0, 1.0), whole, rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((MagnitudeLimit.default(), (0.1, 0.1, 0.1)), "refuses there; pass with_outside"),
        ((complete(BOX), (0.1, -0.1, 0.1)), "expected three standard deviations"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        RecordedSelection(*arguments)


def test_refuses_a_rule_of_one_node():
    with pytest.raises(ValueError, match="order is 1"):
        RecordedSelection(complete(BOX), (0.1, 0.1, 0.1), order=1)
