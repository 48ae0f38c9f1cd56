"""The light of stochastic clusters: reproducible, additive, and right in the mean."""

import os
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from starcensus.simulate.clusters import sampling
from starcensus.simulate.clusters.bins import StellarPopulation
from starcensus.simulate.clusters.cluster import (
    DrawnClusters,
    DrawSettings,
    draw_clusters,
    draw_stars,
    ssp_abs_mags,
)
from starcensus.simulate.clusters.imf import Chabrier, Kroupa
from starcensus.simulate.stars.grid import StellarGrid

COLUMNS = DrawnClusters.__annotations__


@pytest.fixture(scope="module")
def population(grid: StellarGrid) -> StellarPopulation:
    return StellarPopulation(grid)


def same(a: DrawnClusters, b: DrawnClusters, rows: np.ndarray | slice = slice(None)) -> None:
    for name in COLUMNS:
        assert getattr(a, name)[rows].tobytes() == getattr(b, name).tobytes(), name


def theta(n: int, seed: int, high: float = 5.0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(1, high, n), rng.uniform(6, 10, n), rng.uniform(0, 5, n)]


def test_a_row_depends_on_itself_alone(population: StellarPopulation):
    n = 60
    rows, seeds = theta(n, 1), np.arange(n) + 2**40
    together = draw_clusters(population, *rows, seeds)
    order = np.random.default_rng(2).permutation(n)
    permuted = draw_clusters(population, *(x[order] for x in rows), seeds[order])
    same(together, permuted, order)
    for row in range(0, n, 7):
        alone = draw_clusters(population, *(x[row : row + 1] for x in rows), seeds[row : row + 1])
        same(together, alone, slice(row, row + 1))
    # A population that has been asked for nothing else yet, and seeds of another type.
    fresh = StellarPopulation(population.grid)
    same(
        together,
        draw_clusters(fresh, *(x[40:50] for x in rows), seeds[40:50].astype("u8")),
        slice(40, 50),
    )
    other = draw_clusters(population, *rows, seeds + 1)
    assert (other.birth_mass != together.birth_mass).all()


PROGRAM = """
import hashlib, sys
import numpy as np
from starcensus.simulate import StellarPopulation, draw_clusters
from starcensus.simulate.stars.grid import StellarGrid
n = 40
rng = np.random.default_rng(3)
rows = rng.uniform(2, 7, n), rng.uniform(6, 10, n), rng.uniform(0, 3, n)
drawn = draw_clusters(StellarPopulation(StellarGrid.default()), *rows, np.arange(n))
print(hashlib.sha256(drawn.abs_mags.tobytes() + drawn.birth_mass.tobytes()).hexdigest())
"""


def test_the_number_of_threads_changes_no_bit():
    running = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            stdout=subprocess.PIPE,
            text=True,
        )
        for threads in ("1", "2")
    ]
    one, two = (process.communicate(timeout=120)[0] for process in running)
    assert one == two and len(one.strip()) == 64


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("rule", ["stop_nearest", "poisson", "number"])
def test_stars_are_those_of_the_cluster(
    population: StellarPopulation, rule, halved: bool, monkeypatch: pytest.MonkeyPatch
):
    if halved:
        monkeypatch.setattr(sampling, "SINGLE_STARS", 50)
        monkeypatch.setattr(sampling, "_HALVED_TO", 30)
        monkeypatch.setattr(sampling, "_MARGIN", -1.0)
    settings = DrawSettings(rule=rule, nebular=False)
    knot = float(population.grid.a_v[3])
    for seed, (log_mass, log_age, a_v) in enumerate(
        [(1.5, 6.2, 0.0), (2.5, 6.7, knot), (3.0, 7.02, 1.1), (4.5, 8.4, 0.0), (4.0, 9.03, 4.0)]
    ):
        row = (np.array([x]) for x in (log_mass, log_age, a_v))
        cluster = draw_clusters(population, *row, np.array([seed]), settings)
        stars = draw_stars(population, log_mass, log_age, a_v, seed, settings)
        assert len(stars) == cluster.n_stars[0]
        assert stars.masses.sum() == pytest.approx(cluster.birth_mass[0], rel=1e-9)
        assert stars.masses[0] == pytest.approx(cluster.max_mass[0], rel=1e-12)
        assert (np.diff(stars.masses) <= 0).all() and stars.masses[-1] > 0.99 * 0.08
        total = -2.5 * np.log10((10 ** (-0.4 * stars.abs_mags)).sum(0))
        # Behind extinction between knots: the interpolation of one spectrum and of the sum.
        exact = a_v in (0.0, knot)
        np.testing.assert_allclose(total, cluster.abs_mags[0], atol=1e-9 if exact else 2e-3)
        assert (np.isinf(stars.abs_mags).all(1) >= ~stars.alive).all()
        if not halved:  # The sum of a block of tens of stars may demand masses outside their bins.
            assert stars.masses[stars.alive].max() <= cluster.max_live_mass[0] * 1.08


def test_stars_of_a_block_follow_the_imf(population: StellarPopulation):
    stars = draw_stars(population, 5.0, 9.0, 0.0, 4)
    assert len(stars) > 10 * sampling.SINGLE_STARS
    p = stats.kstest(stars.masses, lambda m: population.imf.cdf(np.asarray(m))).pvalue
    assert p > 1e-3  # false-alarm rate


def test_extinction_acts_on_each_star(population: StellarPopulation, laws):
    """The light of a cluster behind dust is the sum of its stars' light behind dust."""
    age, a_v = 7.0, 2.2
    stars = draw_stars(population, 4.0, age, a_v, 5)
    cluster = draw_clusters(
        population,
        *(np.array([x]) for x in (4.0, age, a_v)),
        np.array([5]),
        DrawSettings(nebular=False),
    )
    clear = draw_stars(population, 4.0, age, 0.0, 5)
    np.testing.assert_array_equal(clear.masses, stars.masses)
    # The extinction law of the test's grid, star by star.
    k = np.array([1.6, 1.0, 0.6]) * (1 + 0.03 * np.log(stars.masses)[:, None])
    flux = 10 ** (-0.4 * (clear.abs_mags + a_v * k * (1 - 0.004 * a_v)))
    truth = -2.5 * np.log10(flux.sum(0))
    np.testing.assert_allclose(cluster.abs_mags[0], truth, atol=2e-3)


@pytest.mark.parametrize("rule", ["stop_nearest", "poisson"])
def test_the_mean_of_massive_clusters_is_the_integral(population: StellarPopulation, rule):
    check_mean(population, 7.0, rule, np.array([6.3, 7.02, 9.0]), 300, 0.003)


@pytest.mark.parametrize("imf", [Kroupa(), Chabrier()])
def test_the_mean_of_massive_clusters_is_the_integral_of_the_shipped_grid(imf):
    population = StellarPopulation(StellarGrid.default(), imf)
    check_mean(population, 6.0, "stop_nearest", np.array([6.4, 7.31, 8.0, 9.5]), 400, 0.002)


def check_mean(
    population: StellarPopulation,
    log_mass: float,
    rule,
    ages: np.ndarray,
    n: int,
    precision_mag: float,
) -> None:
    """Mean flux is the integral within 3.9 standard errors (false-alarm rate 1e-4 a comparison)."""
    settings = DrawSettings(rule=rule)
    for age in ages:
        rows = np.full(n, log_mass), np.full(n, age), np.full(n, 0.7)
        drawn = draw_clusters(population, *rows, np.arange(n), settings)
        flux = 10 ** (-0.4 * (drawn.abs_mags + 2.5 * log_mass))
        truth = 10 ** (-0.4 * ssp_abs_mags(population, rows[1][:1], rows[2][:1], settings)[0])
        error = flux.std(0) / np.sqrt(n)
        offset = flux.mean(0) - truth
        assert (1.0857 * error / truth < precision_mag).all()
        assert (np.abs(offset) < 3.9 * error).all(), (age, offset / error)


def test_the_integral_is_that_of_the_grid(population: StellarPopulation):
    ages, a_v = np.array([7.0, 7.0, 9.0]), np.array([0.0, 1.3, 5.0])
    mags = ssp_abs_mags(population, ages, a_v, DrawSettings(nebular=False))
    grid = population.grid
    for row, (age, extinction) in enumerate(zip(ages, a_v, strict=True)):
        part = grid.isochrone(int(np.flatnonzero(grid.log_age == age)[0]))
        points = grid.initial_mass[part]
        mass = np.unique(np.linspace(points[:-1], points[1:], 30))
        weight = population.imf.pdf(mass) * mass / population.imf.mean_mass
        for band in range(3):
            # Cubic in a_v here, a polynomial through all knots there.
            log_flux = np.array(
                [np.interp(extinction, grid.a_v, np.log(f)) for f in grid.flux[part, band]]
            )
            flux = np.exp(np.interp(np.log(mass), np.log(points), log_flux))
            truth = -2.5 * np.log10(np.trapezoid(weight * flux, np.log(mass)))
            assert mags[row, band] == pytest.approx(truth, abs=0.01 if extinction == 1.3 else 1e-4)


def test_nebular_light(population: StellarPopulation):
    grid = population.grid
    n = 40
    rows = np.full(n, 3.5), np.linspace(6, 7.5, n), np.full(n, 0.9)
    seeds = np.arange(n)
    stars = draw_clusters(population, *rows, seeds, DrawSettings(nebular=False))
    gas = draw_clusters(population, *rows, seeds, DrawSettings(covering=0.3))
    np.testing.assert_array_equal(stars.q_h, gas.q_h)
    more = 10 ** (-0.4 * gas.abs_mags) - 10 ** (-0.4 * stars.abs_mags)
    per_photon = 1e-49 * 10 ** (-0.4 * 2.1 * 0.9 * np.array([1.6, 1.0, 0.6]))
    truth = np.where(rows[1] <= 7.0, 0.3 * stars.q_h, 0.0)[:, None] * per_photon
    np.testing.assert_allclose(
        more, truth, rtol=1e-6, atol=1e-12 * 10 ** (-0.4 * gas.abs_mags.min())
    )
    assert (truth > 0).any() and (stars.q_h[rows[1] < 6.2] > 0).any()
    # Clusters beyond an age have lost their gas, though their stars still ionise.
    young = DrawSettings(covering=0.3, nebular_max_log_age=6.2)
    expected = np.where((rows[1] <= 6.2)[:, None], gas.abs_mags, stars.abs_mags)
    kept = draw_clusters(population, *rows, seeds, young).abs_mags
    np.testing.assert_array_equal(kept, expected)
    assert (kept != gas.abs_mags).any()
    with pytest.raises(ValueError, match="nebular light behind 15 mag is wanted"):
        draw_clusters(
            population,
            *(np.array([x]) for x in (3.0, 6.5, 5.0)),
            np.array([0]),
            DrawSettings(nebular_extinction=3.0),
        )
    assert grid.nebular_a_v[-1] == pytest.approx(10.5)


def test_defaults_are_those_of_the_libraries_that_operators_rest_on():
    """Gas takes half of the ionising photons, as SLUG's does; another default is another light."""
    slug = DrawSettings("stop_nearest", True, 0.5, nebular_extinction=2.1, nebular_max_log_age=7.0)
    assert DrawSettings() == slug


def test_masses_and_luminosities(population: StellarPopulation, laws):
    n = 200
    rows = np.full(n, 3.7), np.repeat([6.5, 7.0, 8.0, 9.0], n // 4), np.zeros(n)
    drawn = draw_clusters(population, *rows, np.arange(n))
    top = laws.turnoff(rows[1])
    assert (drawn.max_live_mass <= np.minimum(top, drawn.max_mass) * (1 + 1e-9)).all()
    assert (drawn.live_mass < drawn.birth_mass).mean() > 0.9
    imf = population.imf
    for age in (7.0, 8.0, 9.0):
        here = rows[1] == age
        lived = imf.partial_moment(1.0, np.array(imf.low), np.array(laws.turnoff(age)))
        # Giants have lost up to a tenth of their mass; they are a few per mille of it.
        ratio = drawn.live_mass[here].sum() / drawn.birth_mass[here].sum()
        assert ratio == pytest.approx(float(lived) / imf.mean_mass, rel=0.02)
        lum = imf.partial_moment(3.5, np.array(0.1), np.array(laws.turnoff(age)))
        mean = 10 ** drawn.log_lum[here]
        expected = float(lum) / imf.mean_mass * drawn.birth_mass[here].mean()
        assert abs(mean.mean() - expected) < 4.4 * mean.std() / np.sqrt(n // 4)


def test_clusters_without_light(population: StellarPopulation):
    n = 100
    rows = np.full(n, np.log10(0.1)), np.full(n, 9.8), np.full(n, 1.0)
    drawn = draw_clusters(population, *rows, np.arange(n))
    empty = drawn.n_stars == 0
    assert empty.any() and not empty.all()
    assert np.isposinf(drawn.abs_mags[empty]).all() and np.isneginf(drawn.log_lum[empty]).all()
    for name in ("birth_mass", "live_mass", "max_mass", "max_live_mass", "q_h"):
        assert (getattr(drawn, name)[empty] == 0).all()
    assert not np.isnan(drawn.abs_mags).any()
    row = int(np.argmax(empty))
    assert len(draw_stars(population, rows[0][0], 9.8, 1.0, row)) == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_age": 10.5}, "log_age of cluster 1 is 10.5"),
        ({"log_mass": np.nan}, "log_mass of cluster 1 is nan; expected a number"),
        ({"log_mass": 11.0}, "log_mass reaches 11"),
        ({"a_v": -0.1}, "a_v of cluster 1 is -0.1 mag; the grid covers 0 to 5"),
        ({"a_v": 5.1}, "a_v of cluster 1 is 5.1 mag"),
        ({"seeds": -1}, "seeds are whole numbers of at least 0"),
    ],
)
def test_bad_rows_are_named(population: StellarPopulation, change: dict, message: str):
    rows = {"log_mass": [3.0, 3.0], "log_age": [7.0, 7.0], "a_v": [1.0, 1.0], "seeds": [1, 2]}
    for name, value in change.items():
        rows[name][1] = value
    arrays = {name: np.array(values) for name, values in rows.items()}
    with pytest.raises(ValueError, match=message):
        draw_clusters(population, **arrays)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"covering": 1.2}, "covering is a fraction"),
        ({"nebular_extinction": -1.0}, "expected 0 or more"),
    ],
)
def test_bad_settings_are_refused(bad: dict, message: str):
    with pytest.raises(ValueError, match=message):
        DrawSettings(**bad)
