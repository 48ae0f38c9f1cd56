"""Slopes of masses and ages, and the means of tables 4 and 5."""

import numpy as np
import pytest
from scipy.stats import linregress
from tests.selection.classes.whitmore2021 import (
    BETA,
    BETA_MEAN,
    BETA_MEANS,
    GAMMA,
    GAMMA_MEAN,
    GAMMA_MEANS,
)

from starcensus.selection.classes import equal_number_edges, fit_power_law, spread

# Printed numbers of which the mean is taken have two decimals, and so has the mean.
HALF = 0.005 * (1 + 1e-9)


def drawn(slope: float, n: int, seed: int, low: float = 3.0, high: float = 6.0) -> np.ndarray:
    """log10 of x with dN/dx ∝ x^slope between two limits, by its quantiles."""
    k = slope + 1
    u = np.random.default_rng(seed).random(n)
    ends = 10 ** (low * k), 10 ** (high * k)
    return np.log10(ends[0] + u * (ends[1] - ends[0])) / k


@pytest.mark.parametrize(("n", "mean", "sd"), [(1000, -1.923, 0.027), (3000, -1.922, 0.014)])
def test_masses_of_slope_minus_1_9(n: int, mean: float, sd: float):
    slopes = np.array([fit_power_law(drawn(-1.9, n, seed)).slope for seed in range(300)])
    # The error of the mean of 300 is below 0.0016, of the standard deviation 4%.
    assert slopes.mean() == pytest.approx(mean, abs=0.006)
    assert slopes.std(ddof=1) == pytest.approx(sd, rel=0.15)
    assert np.abs(slopes + 1.9).max() < 0.12


def test_ages_of_slope_minus_0_5_in_bins_of_equal_width():
    log_age = drawn(-0.5, 200_000, 1, 6.0, 9.0)
    fit = fit_power_law(log_age, log_edges=np.linspace(6.0, 9.0, 31))
    assert fit.slope == pytest.approx(-0.5, abs=0.01)
    # Number per year at 10^7.5 yr: N (γ+1) t^γ / (t1^(γ+1) - t0^(γ+1)).
    density = 200_000 * 0.5 * 10 ** (-0.5 * 7.5) / (10**4.5 - 10**3)
    at = fit.intercept + 7.5 * fit.slope
    assert at == pytest.approx(np.log10(density), abs=0.01)


def test_the_line_is_that_of_scipy():
    fit = fit_power_law(drawn(-2.0, 500, 2))
    line = linregress(fit.log_centres, fit.log_density)
    assert fit.slope == pytest.approx(line.slope, rel=1e-9)
    assert fit.intercept == pytest.approx(line.intercept, rel=1e-9)
    assert fit.slope_error == pytest.approx(line.stderr, rel=1e-7)


def test_points_are_counts_over_widths_at_geometric_centres():
    log_mass = drawn(-1.9, 997, 3)
    fit = fit_power_law(log_mass, 7)
    edges = 10**fit.log_edges
    assert fit.counts.sum() == 997 and fit.counts.max() - fit.counts.min() <= 1
    assert (fit.log_edges[0], fit.log_edges[-1]) == (log_mass.min(), log_mass.max())
    np.testing.assert_allclose(10**fit.log_centres, np.sqrt(edges[1:] * edges[:-1]))
    np.testing.assert_allclose(10**fit.log_density, fit.counts / np.diff(edges))


def test_without_the_youngest_point_an_excess_there_is_gone():
    log_age = np.concatenate([drawn(-0.5, 50_000, 4, 6.0, 9.0), np.full(5000, 6.2)])
    edges = np.linspace(6.0, 9.0, 7)
    whole = fit_power_law(log_age, log_edges=edges)
    without = fit_power_law(log_age, log_edges=edges, skip_first=1)
    assert without.slope == pytest.approx(-0.5, abs=0.02) and whole.slope < without.slope - 0.1
    assert len(without.log_centres) == 5 and len(without.counts) == 6


def test_bins_without_objects_and_objects_without_bins_count_nowhere():
    log_age = np.array([5.0, 6.1, 6.2, 7.5, 8.5, 9.0, 9.5])
    fit = fit_power_law(log_age, log_edges=np.array([6.0, 6.5, 7.0, 8.0, 9.0]))
    assert fit.counts.tolist() == [2, 0, 1, 2]
    assert fit.log_centres.tolist() == [6.25, 7.5, 8.5]


def test_edges_lie_in_the_middle_of_gaps():
    edges = equal_number_edges(np.array([4.4, 3.0, 3.6, 3.2]), 2)
    np.testing.assert_allclose(edges, [3.0, 3.4, 4.4])
    # Values that repeat stay in one bin.
    edges = equal_number_edges(np.array([3.0, 3.2, 3.2, 3.2, 3.6, 4.4]), 2)
    np.testing.assert_allclose(edges, [3.0, 3.1, 4.4])


def test_fits_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="2 bins hold objects"):
        fit_power_law(np.linspace(3.0, 4.0, 10), 2)
    with pytest.raises(ValueError, match="2 bins hold objects"):
        fit_power_law(np.linspace(3.0, 4.0, 10), 3, skip_first=1)
    with pytest.raises(ValueError, match="skip_first is -1"):
        fit_power_law(np.linspace(3.0, 4.0, 10), 3, skip_first=-1)
    with pytest.raises(ValueError, match="increasing"):
        fit_power_law(np.linspace(3.0, 4.0, 10), log_edges=np.array([3.0, 3.5, 3.5, 4.0]))
    with pytest.raises(ValueError, match="all values are 3"):
        equal_number_edges(np.full(5, 3.0), 1)


@pytest.mark.parametrize(
    ("values", "each", "whole", "exact"),
    [
        (BETA["C1+2"], BETA_MEANS["C1+2"], BETA_MEAN["C1+2"], (-1.863, 0.042)),
        (BETA["C1"], BETA_MEANS["C1"], BETA_MEAN["C1"], (-1.900, 0.032)),
        *(
            (GAMMA[name], GAMMA_MEANS[name], GAMMA_MEAN[name], exact)
            for name, exact in {
                "C1+2, 6.5-9": (-0.450, 0.033),
                "C1+2, 6-9": (-0.682, 0.028),
                "C1, 6.5-9": (-0.307, 0.035),
                "C1, 6-9": (-0.422, 0.039),
            }.items()
        ),
    ],
)
def test_means_of_tables_4_and_5(values: tuple, each: tuple, whole: tuple, exact: tuple):
    slopes = np.array(values)
    by_method, together = spread(slopes), spread(slopes.ravel())
    np.testing.assert_allclose(by_method.mean, [m for m, _ in each], atol=HALF, rtol=0)
    np.testing.assert_allclose(by_method.sem, [s for _, s in each], atol=HALF, rtol=0)
    assert (round(float(together.mean), 2), round(float(together.sem), 2)) == whole
    assert float(together.mean) == pytest.approx(exact[0], abs=6e-4)
    assert float(together.sem) == pytest.approx(exact[1], abs=6e-4)
    # The text calls these standard deviations, which are larger.
    assert float(together.sd) > 2 * whole[1]
