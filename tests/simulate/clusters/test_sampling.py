"""Sampling rules against star-by-star simulation, order statistics and closed forms.

Every test of a hypothesis here has a false-alarm rate of 1e-3 over all its comparisons.
"""

from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from starcensus.simulate.clusters import sampling
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.sampling import Drawn, Rule, StarSampler
from starcensus.simulate.stars.grid import StellarGrid

ALARM = 1e-3
# 10 Myr and a little: giants of 13 M_sun between two isochrones.
AGE = 7.02


@pytest.fixture(scope="module")
def population(grid: StellarGrid) -> StellarPopulation:
    return StellarPopulation(grid)


def draws(
    population: StellarPopulation, mass: float, rule: Rule, n: int, seed: int
) -> Iterator[tuple[Drawn, np.ndarray]]:
    """Clusters and their light."""
    index, weight = population.place(np.array([AGE]))
    interval, w = population.interval(int(index[0])), float(weight[0])
    sampler = StarSampler(population.mass_bins)
    rng = np.random.default_rng(seed)
    for _ in range(n):
        drawn = sampler.draw(interval, w, mass, rule, rng)
        yield drawn, interval.totals(drawn.counts, w)


def summary(
    population: StellarPopulation, mass: float, rule: Rule, n: int, seed: int
) -> dict[str, np.ndarray]:
    rows = [
        (
            drawn.birth_mass,
            drawn.counts.sum(),
            drawn.max_mass,
            *population.band_flux(light[None])[0, :, 0],
        )
        for drawn, light in draws(population, mass, rule, n, seed)
    ]
    names = ("birth_mass", "n_stars", "max_mass", "blue", "green", "red")
    return dict(zip(names, np.array(rows, float).T, strict=True))


def star_by_star(population: StellarPopulation, mass: float, n: int, seed: int) -> dict:
    """Stop-nearest as one reads it, with masses from the IMF's inverse distribution."""
    imf, rng = population.imf, np.random.default_rng(seed)
    found = {"birth_mass": [], "n_stars": [], "max_mass": []}
    most = int(1.5 * mass / imf.mean_mass + 100 * np.sqrt(mass) + 100)
    for _ in range(n):
        masses = imf.ppf(rng.random(most))
        total = np.cumsum(masses)
        assert total[-1] > mass
        last = int(np.argmax(total > mass))
        before = total[last] - masses[last]
        keep = last + 1 if abs(total[last] - mass) < abs(before - mass) else last
        found["birth_mass"].append(masses[:keep].sum())
        found["n_stars"].append(keep)
        found["max_mass"].append(masses[:keep].max(initial=0.0))
    return {name: np.array(values, float) for name, values in found.items()}


def assert_same_distribution(a: dict, b: dict, tests: int) -> None:
    for name in a.keys() & b.keys():
        p = stats.ks_2samp(a[name], b[name]).pvalue
        assert p > ALARM / tests, (name, p)


@pytest.mark.parametrize(("mass", "n"), [(0.3, 2000), (30.0, 2000), (400.0, 1500), (6000.0, 800)])
def test_stop_nearest_is_the_sequence_of_stars(population: StellarPopulation, mass: float, n: int):
    ours = summary(population, mass, "stop_nearest", n, seed=1)
    assert_same_distribution(ours, star_by_star(population, mass, n, seed=2), tests=12)


@pytest.mark.parametrize(("singles", "margin"), [(60, 3.0), (60, 0.0), (300, -2.0)])
def test_blocks_of_any_size_are_exact(
    population: StellarPopulation, monkeypatch: pytest.MonkeyPatch, singles: int, margin: float
):
    """Margins of 0 and less make most blocks cross the target, so that they are halved."""
    monkeypatch.setattr(sampling, "SINGLE_STARS", singles)
    monkeypatch.setattr(sampling, "_HALVED_TO", 40)
    mass, n = 700.0, 1500
    monkeypatch.setattr(sampling, "_MARGIN", margin)
    ours = summary(population, mass, "stop_nearest", n, seed=3)
    truth = star_by_star(population, mass, n, seed=4)
    assert_same_distribution(ours, truth, tests=18)
    # The mean number of stars is where an error of the stopping rule would show first.
    for name in ("birth_mass", "n_stars"):
        error = np.hypot(ours[name].std(), truth[name].std()) / np.sqrt(n)
        assert abs(ours[name].mean() - truth[name].mean()) < stats.norm.isf(ALARM / 36) * error
    # Each block halved leaves its cluster with a hole if stars are lost on the way.
    assert np.abs(ours["birth_mass"] - mass).max() < 61


def test_the_switch_from_single_stars_to_blocks_is_invisible(
    population: StellarPopulation, monkeypatch: pytest.MonkeyPatch
):
    mass, n = 3000.0, 1500
    blocks = summary(population, mass, "stop_nearest", n, seed=5)
    number = summary(population, mass, "number", n, seed=6)
    monkeypatch.setattr(sampling, "SINGLE_STARS", 10**9)
    singles = summary(population, mass, "stop_nearest", n, seed=7)
    single_number = summary(population, mass, "number", n, seed=8)
    del number["n_stars"], single_number["n_stars"]
    assert_same_distribution(blocks, singles, tests=12)
    assert_same_distribution(number, single_number, tests=12)
    for a, b in ((blocks, singles), (number, single_number)):
        for name in ("blue", "green", "red"):
            error = np.hypot(a[name].std(), b[name].std()) / np.sqrt(n)
            assert abs(a[name].mean() - b[name].mean()) < stats.norm.isf(ALARM / 12) * error
            x, y = ((v[name] - v[name].mean()) ** 2 for v in (a, b))
            error = np.hypot(x.std(), y.std()) / np.sqrt(n)
            assert abs(x.mean() - y.mean()) < stats.norm.isf(ALARM / 12) * error


@pytest.mark.parametrize("mass", [400.0, 2.0e4])
def test_the_most_massive_star_of_a_known_number(population: StellarPopulation, mass: float):
    n_stars = round(mass / population.imf.mean_mass)
    found = summary(population, mass, "number", 2000, seed=9)
    assert (found["n_stars"] == n_stars).all()
    p = stats.kstest(
        found["max_mass"], lambda m: population.imf.most_massive_cdf(np.asarray(m), n_stars)
    ).pvalue
    assert p > ALARM / 2


@pytest.mark.parametrize("mass", [300.0, 1.0e5])
def test_means_and_variances_of_each_rule(population: StellarPopulation, mass: float):
    """Compound Poisson, a fixed number, and renewal theory.

    With F the flux of a star, m its mass, μ = E[m]: Var = (M/μ) E[F²] for Poisson numbers, n Var(F)
    for a fixed one, and (M/μ) Var(F - m E[F]/μ) + O(1) for the sum up to a total mass.
    """
    imf = population.imf
    index, weight = population.place(np.array([AGE]))
    interval, w = population.interval(int(index[0])), float(weight[0])
    p = interval.probabilities(w)
    light = population.band_flux(interval.star_light(w))[:, :, 0]
    mean, square = p @ light, p @ light**2
    cross = p @ (light * interval.bins.mean[:, None])
    ratio = mean / imf.mean_mass
    number = mass / imf.mean_mass
    per_star = {
        "poisson": square,
        "number": square - mean**2,
        "stop_nearest": square - 2 * ratio * cross + ratio**2 * imf.moment(2.0),
    }
    n = 2000
    for rule, variance in per_star.items():
        found = summary(population, mass, rule, n, seed=10)
        for band, name in enumerate(("blue", "green", "red")):
            flux = found[name] / number
            truth = variance[band] / number
            z = (flux.mean() - mean[band]) / np.sqrt(truth / n)
            # At 300 M_sun the star at the crossing, heavier than most, is dropped more often.
            if rule != "stop_nearest" or mass > 1e4:
                assert abs(z) < stats.norm.isf(ALARM / 30)
            scatter = (flux - flux.mean()) ** 2
            error = scatter.std() / np.sqrt(n)
            if rule != "stop_nearest" or mass > 1e4:
                assert abs(scatter.mean() - truth) < stats.norm.isf(ALARM / 30) * error
        if rule == "poisson":
            total = found["birth_mass"]
            truth = number * imf.moment(2.0)
            scatter = (total - mass) ** 2
            assert abs(total.mean() - mass) < stats.norm.isf(ALARM / 30) * np.sqrt(truth / n)
            error = scatter.std() / np.sqrt(n)
            assert abs(scatter.mean() - truth) < stats.norm.isf(ALARM / 30) * error


def test_counts_add_up_and_masses_agree(population: StellarPopulation):
    for rule in ("stop_nearest", "poisson", "number"):
        for mass in (1.0, 500.0, 3.0e4, 1.0e8):
            for drawn, light in draws(population, mass, rule, 5, seed=11):
                interval = population.interval(int(population.place(np.array([AGE]))[0][0]))
                bins = interval.bins
                n = int(drawn.counts.sum())
                spread = np.sqrt(drawn.counts @ bins.variance)
                assert abs(drawn.birth_mass - drawn.counts @ bins.mean) <= 6 * spread
                if rule == "stop_nearest":
                    assert abs(drawn.birth_mass - mass) <= 60
                assert (n > 0) == (drawn.max_mass > 0)
                assert 0 <= drawn.max_mass <= population.imf.high
                assert np.isfinite(light).all() and (drawn.counts >= 0).all()
                singles = np.bincount(drawn.single_bins, minlength=len(bins))
                assert (singles <= drawn.counts).all()
                k = bins.mass_bin[drawn.single_bins]
                edges = population.mass_bins.edges
                inside = (drawn.single_masses >= edges[k] * (1 - 1e-5)) & (
                    drawn.single_masses <= edges[k + 1] * (1 + 1e-5)
                )
                assert inside.all()


def test_single_stars_fall_into_bins_as_often_as_they_should(population: StellarPopulation):
    index, weight = population.place(np.array([AGE]))
    interval, w = population.interval(int(index[0])), float(weight[0])
    sampler = StarSampler(population.mass_bins)
    rng = np.random.default_rng(12)
    k, fraction, masses = sampler._singles(2_000_000, rng)
    bins = sampling._place(interval, w, k, fraction, rng)
    expected = 2_000_000 * interval.probabilities(w)
    counts = np.bincount(bins, minlength=len(interval.bins))
    assert (counts[expected == 0] == 0).all()
    many = expected > 10
    chi = ((counts - expected)[many] ** 2 / expected[many]).sum()
    assert stats.chi2.sf(chi, many.sum()) > ALARM / 2
    p = stats.kstest(masses[:100_000], lambda m: population.imf.cdf(np.asarray(m))).pvalue
    assert p > ALARM / 2
    # Each star lies inside its bin, not merely inside the mass bin.
    place = k + fraction
    low, high = interval.bins.low[bins], interval.bins.high[bins]
    assert ((place >= low) & (place <= high)).all()
