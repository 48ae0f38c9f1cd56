"""Marginal completeness and corrected counts against closed forms."""

import numpy as np
import pytest

from starcensus.selection import (
    Box,
    GridSelection,
    SelectionDomainError,
    complete,
    corrected_counts,
    extinction_density,
    marginal_completeness,
)

NODES = (np.array([2.0, 6.0]), np.array([6.0, 10.0]), np.array([0.0, 3.0]))
NAMES = ("log_mass", "log_age", "a_v")


def linear_logit() -> GridSelection:
    """logit p = 2 (log_mass − 4) − a_v, independent of age; its trilinear table is exact."""
    mass, _, a_v = np.meshgrid(*NODES, indexing="ij")
    return GridSelection.from_probabilities(NODES, 1 / (1 + np.exp(-(2 * (mass - 4) - a_v))))


def test_uniform_density():
    at = np.array([3.0, 4.0, 5.5])
    # ∫ sigmoid(c − a) da over 0..3 is softplus(c) − softplus(c − 3).
    c = 2 * (at - 4)
    expected = (np.logaddexp(0, c) - np.logaddexp(0, c - 3)) / 3
    got = marginal_completeness(linear_logit(), "log_mass", at, n_nodes=16)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_exponential_density():
    rate = 1.7
    got = marginal_completeness(
        linear_logit(),
        "log_age",
        np.array([7.0, 8.0]),
        log_mass_density=lambda x: np.exp(-rate * x),
        a_v_density=lambda a: np.exp(a),
        n_nodes=40,
    )
    m, a = np.linspace(2, 6, 2001), np.linspace(0, 3, 2001)
    p = 1 / (1 + np.exp(-(2 * (m[:, None] - 4) - a[None])))
    weight = np.exp(-rate * m)[:, None] * np.exp(a)[None]
    both = np.trapezoid(np.trapezoid(p * weight, a, axis=1), m)
    expected = both / np.trapezoid(np.trapezoid(weight, a, axis=1), m)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_bounds_and_a_complete_operator():
    box = Box((2.0, 6.0), (6.0, 10.0), (0.0, 3.0))
    got = marginal_completeness(
        complete(box), "log_age", np.array([5.0, 7.0]), bounds={"log_mass": (3.0, 5.0)}
    )
    np.testing.assert_allclose(got, [0, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"axis": "mass"}, ValueError, "axis is 'mass'"),
        ({"log_mass_density": np.exp}, ValueError, "log_mass is not averaged"),
        ({"a_v_density": lambda a: -a}, ValueError, "finite value ≥ 0"),
        ({"a_v_density": lambda a: 0 * a}, ValueError, "a_v_density is 0 all over"),
        ({"bounds": {"a_v": (0.0, 5.0)}}, SelectionDomainError, "outside the domain"),
    ],
)
def test_refuses(arguments, error, message):
    settings = {"axis": "log_mass", "at": np.array([4.0])} | arguments
    with pytest.raises(error, match=message):
        marginal_completeness(linear_logit(), **settings)


def test_corrected_counts():
    values = np.array([1.0, 1.5, 1.9, 2.0, 2.5, 3.0, 9.0, 4.5])
    p = np.array([0.5, 0.25, 0.75, 1e-12, 1e-12, 1e-12, 1.0, 1e-4])
    counts = corrected_counts(
        values, p, np.array([1.0, 2.0, 3.0, 4.0, 5.0]), clip=1e-10, mask_below=1e-3
    )
    np.testing.assert_array_equal(counts.n_raw, [3, 2, 1, 1])
    np.testing.assert_allclose(counts.mean_p, [0.5, 1e-10, 1e-10, 1e-4])
    assert counts.n_corrected[0] == pytest.approx(6.0)
    assert counts.n_low[0] == pytest.approx(3 / np.percentile([0.25, 0.5, 0.75], 84))
    assert counts.n_high[0] == pytest.approx(3 / np.percentile([0.25, 0.5, 0.75], 16))
    assert np.isnan(counts.n_corrected[1:]).all()
    clipped = corrected_counts(values, p, np.array([4.0, 4.5]), clip=1e-3)
    assert clipped.n_raw.tolist() == [1.0] and clipped.n_corrected[0] == pytest.approx(1000.0)


def test_empty_bins_and_bad_input():
    counts = corrected_counts(np.array([1.5]), np.array([0.5]), np.array([1.0, 2.0, 3.0]))
    assert counts.n_corrected.tolist() == [2.0, 0.0] and np.isnan(counts.mean_p[1])
    with pytest.raises(ValueError, match=r"p_values must lie in \[0, 1\]"):
        corrected_counts(np.array([1.5]), np.array([np.nan]), np.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="edges must be"):
        corrected_counts(np.array([1.5]), np.array([0.5]), np.array([2.0, 1.0]))
    with pytest.raises(ValueError, match="clip is 0"):
        corrected_counts(np.array([1.5]), np.array([0.5]), np.array([1.0, 2.0]), clip=0.0)


def test_correction_recovers_the_truth():
    rng = np.random.default_rng(8)
    mass, a_v = rng.uniform(3.5, 6, 40_000), rng.uniform(0, 3, 40_000)
    operator = linear_logit()
    seen = rng.random(40_000) < np.asarray(operator.p_sel(mass, 8.0, a_v))
    p = marginal_completeness(operator, "log_mass", np.linspace(3.5, 6, 60), n_nodes=12)
    counts = corrected_counts(
        mass[seen], np.interp(mass[seen], np.linspace(3.5, 6, 60), p), np.linspace(3.5, 6, 11)
    )
    error = counts.n_corrected / np.sqrt(counts.n_raw)
    assert (np.abs(counts.n_corrected - 4000) < 4.5 * error + 0.03 * 4000).all()


def steep() -> GridSelection:
    """logit p = 6 (log_mass − 4) − 2 a_v."""
    mass, _, a_v = np.meshgrid(*NODES, indexing="ij")
    return GridSelection.from_probabilities(NODES, 1 / (1 + np.exp(-(6 * (mass - 4) - 2 * a_v))))


def catalogued(n: int = 60_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clusters of A_V ~ exponential, cut at 3, that `steep` lets through."""
    rng = np.random.default_rng(3)
    mass, age = rng.uniform(2, 6, n), rng.uniform(6, 10, n)
    a_v = -np.log(1 - rng.random(n) * (1 - np.exp(-3)))
    kept = rng.random(n) < np.asarray(steep().p_sel(mass, age, a_v))
    return mass[kept], age[kept], a_v[kept]


def test_extinction_comes_from_clusters_that_dust_cannot_hide():
    mass, age, a_v = catalogued()
    edges = np.linspace(0, 3, 7)
    middle = (edges[1:] + edges[:-1]) / 2
    true = -np.diff(np.exp(-edges)) / (1 - np.exp(-3)) / 0.5
    found = extinction_density(steep(), mass, age, a_v, edges, least=0.9)(middle)
    n = (np.asarray(steep().p_sel(mass, age, np.full(len(mass), 3.0))) > 0.9).sum()
    # Five standard deviations of a bin's count, and the tenth that dust still hides.
    assert (np.abs(found - true) < 5 * np.sqrt(true / n / 0.5) + 0.06 * true).all()
    assert found.sum() * 0.5 == pytest.approx(1)
    raw = np.histogram(a_v, edges, density=True)[0]
    assert raw[-1] < 0.7 * true[-1]


def test_extinction_needs_clusters_that_dust_cannot_hide():
    mass, age, a_v = catalogued(2000)
    edges = np.linspace(0, 3, 7)
    with pytest.raises(ValueError, match="expected 30 or more"):
        extinction_density(steep(), mass, age, a_v, edges, least=0.999)
    with pytest.raises(SelectionDomainError):
        extinction_density(steep(), mass, age, a_v, np.linspace(0, 4, 5))
    with pytest.raises(ValueError, match="increasing numbers"):
        extinction_density(steep(), mass, age, a_v, edges[::-1])
