"""Few truths far out: simulated clusters there are a sample, and no sum is biased."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from starcensus.inference.objects import find_pairs, kernel
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.observation import REACH, AbstractObservation, Reach
from starcensus.simulate import Pool
from starcensus.theta import Box

BANDS = ("B", "V")
N_ROWS, N_OBJECTS = 30_000, 160
# Of 2,000 rows each.
N_SAMPLES = 15
SD, WIDE, BLENDS = 0.15, 1.5, 0.05


class WithBlends(AbstractObservation):
    """A Gaussian error in each band, and now and then one that is ten times as large."""

    bands, distance_modulus, learned_for = BANDS, 0.0, None
    words = "a toy"  # pyright: ignore

    def __init__(self, core: float) -> None:
        self.core = core

    def check(self, data):
        pass

    def p_sel(self, mags):
        return np.ones(len(mags))

    def draw(self, mags, rng):
        raise NotImplementedError

    def log_prob(self, data, rows, mags):
        away = data.mags[rows] - mags
        each = [stats.norm.logpdf(away, scale=s).sum(axis=1) for s in (SD, WIDE)]
        return np.logaddexp(np.log(1 - BLENDS) + each[0], np.log(BLENDS) + each[1])

    def reach(self, data):
        return Reach(data.mags, np.full(data.mags.shape, WIDE), np.zeros(len(data)), self.core)


@pytest.fixture(scope="module")
def pool() -> Pool:
    rng = np.random.default_rng(4)
    mags = rng.uniform(-10.0, 0.0, (N_ROWS, 2)).astype(np.float32)
    theta, one = np.tile([4.0, 7.0, 0.5], (N_ROWS, 1)), np.zeros(N_ROWS)
    box = Box((3.0, 5.0), (6.0, 8.0), (0.0, 1.0))
    return Pool(BANDS, theta, mags, one, np.arange(N_ROWS), box)


@pytest.fixture(scope="module")
def data() -> Photometry:
    mags = np.random.default_rng(5).uniform(-7.0, -3.0, (N_OBJECTS, 2))
    states = np.zeros(mags.shape, np.uint8)
    errors = np.full(mags.shape, SD)
    return Photometry.from_mags("toy", np.arange(N_OBJECTS), BANDS, mags, errors, states)


def sums(model: WithBlends, data: Photometry, pool: Pool, most: int | None = None) -> np.ndarray:
    pairs = find_pairs(data, model, pool, most=most)
    weight = np.exp(pairs.log_kernel + pool.log_weight[pairs.row])
    return np.bincount(pairs.owner, weight, len(data))


def mean_and_error(ratio: np.ndarray) -> tuple[float, float]:
    """Objects that share a sample share its error."""
    shared = np.array([ratio[k::N_SAMPLES].mean() for k in range(N_SAMPLES)])
    return float(shared.mean()), float(shared.std() / N_SAMPLES**0.5)


def test_sums_keep_their_expectation(data, pool, monkeypatch):
    """Against all rows. Without the weights of the sample the far part, a twentieth, is lost."""
    every = np.repeat(np.arange(N_OBJECTS), N_ROWS)
    mags = np.tile(pool.abs_mags.astype(float), (N_OBJECTS, 1))
    true = np.exp(WithBlends(5.0).log_prob(data, every, mags)).reshape(N_OBJECTS, -1).sum(axis=1)
    ratio = sums(WithBlends(4 * SD / WIDE), data, pool) / true
    mean, error = mean_and_error(ratio)
    assert 1e-5 < error < 0.001
    assert mean == pytest.approx(1.0, abs=4 * error)
    monkeypatch.setattr(kernel._InTwo, "near", _without_weights(kernel._InTwo.near))
    lost = sums(WithBlends(4 * SD / WIDE), data, pool) / true
    assert mean_and_error(lost)[0] < 1 - 8 * error


def test_a_crowded_core_is_thinned(data, pool, monkeypatch):
    monkeypatch.setattr(kernel, "_IN_CORE", 60)
    whole = sums(WithBlends(5.0), data, pool)
    ratio = sums(WithBlends(4 * SD / WIDE), data, pool) / whole
    error = ratio.std() / N_OBJECTS**0.5
    assert 0.0005 < error < 0.01
    assert ratio.mean() == pytest.approx(1.0, abs=4 * error)


@pytest.mark.parametrize("missing", [None, 1])
def test_rows_are_as_far_as_the_reach_says(missing):
    """χ² of a covariance matrix with a part that all bands share, inverted by NumPy."""
    rng, n = np.random.default_rng(11), 20_000
    mags = (20 + rng.normal(0, 2, (n, 1)) + rng.normal(0, 0.3, (n, 4))).astype(np.float32)
    centre, sd = np.array([[20.3, 20.1, 19.8, 20.0]]), np.array([[0.1, 0.3, 0.05, 0.2]])
    if missing is not None:
        centre[0, missing], sd[0, missing] = np.nan, np.inf
    there = np.isfinite(centre[0])
    inverse = np.linalg.inv(np.diag(sd[0, there] ** 2) + 0.4**2)
    away = mags[:, there].astype(float) - centre[0, there]
    chi2 = np.einsum("ni,ij,nj->n", away, inverse, away)
    row, found = kernel._Search(mags, Reach(centre, sd, np.array([0.4])), 1.0).within(0)
    near = np.flatnonzero(chi2 <= REACH**2)
    assert found is not None and len(near) > 100 and set(near) <= set(row)
    # Of shifts of a magnitude and more, which single precision keeps.
    np.testing.assert_allclose(found, chi2[row], rtol=1e-4, atol=1e-3)
    assert np.abs(away[near].mean(axis=1)).max() > 1


def test_few_are_looked_at_of_many(data, pool, monkeypatch):
    """Rows with weights of their own, and a kernel much narrower than the reach: the worst case."""
    weights = np.random.default_rng(7).normal(0.0, 2.0, N_ROWS)
    some = dataclasses.replace(pool, log_weight=weights)
    whole = sums(WithBlends(5.0), data, some)
    ratio = sums(WithBlends(5.0), data, some, most=150) / whole
    error = ratio.std() / N_OBJECTS**0.5
    # From 0.042 to 0.050 with weights of eight seeds.
    assert 0.003 < error < 0.06
    assert ratio.mean() == pytest.approx(1.0, abs=4 * error)
    looked = [
        len(kernel._search(some.abs_mags, reach, 1.0, weights.astype(np.float32), most).near(3)[0])
        for reach, most in ((WithBlends(5.0).reach(data), None), (WithBlends(5.0).reach(data), 150))
    ]
    assert looked[0] > 600 and 100 < looked[1] < 200
    # Where there are not many, all are looked at.
    np.testing.assert_array_equal(sums(WithBlends(5.0), data, some, most=N_ROWS), whole)
    chosen = kernel._Promise.chosen
    monkeypatch.setattr(
        kernel._Promise, "chosen", lambda *a: (chosen(*a)[0], np.zeros_like(chosen(*a)[1]))
    )
    assert (sums(WithBlends(5.0), data, some, most=150) / whole).mean() < 1 - 8 * error


def test_rows_near_the_centre_of_a_wide_core_are_not_missed(monkeypatch):
    """Five bands, each measured four times as well as the core is wide: of 60,000 rows a few
    hundred are near. Taken evenly, the rows that are looked at hold a twentieth of these."""
    rng, bands, n = np.random.default_rng(9), tuple("UBVRI"), 60_000
    mags = (rng.uniform(-2, 2, (n, 1)) + rng.normal(0, 0.4, (n, 5))).astype(np.float32)
    theta, weights = np.tile([4.0, 7.0, 0.5], (n, 1)), rng.normal(0.0, 2.0, n)
    box = Box((3.0, 5.0), (6.0, 8.0), (0.0, 1.0))
    pool = Pool(bands, theta, mags, weights, np.arange(n), box)
    seen = rng.normal(0, 0.2, (30, 5))
    states, errors = np.zeros(seen.shape, np.uint8), np.full(seen.shape, 0.2)
    data = Photometry.from_mags("toy", np.arange(30), bands, seen, errors, states)

    class Narrow(WithBlends):
        bands = ("U", "B", "V", "R", "I")

        def log_prob(self, data, rows, mags):
            return stats.norm.logpdf(data.mags[rows] - mags, scale=0.2).sum(axis=1)

        def reach(self, data):
            sd = np.full(data.mags.shape, 1.6)
            return Reach(data.mags, sd, np.zeros(len(data)), 2.5)

    every = np.repeat(np.arange(30), n)
    kernels = np.exp(Narrow(2.5).log_prob(data, every, np.tile(mags, (30, 1)))).reshape(30, n)
    true = (kernels * np.exp(weights)).sum(axis=1)
    monkeypatch.setattr(kernel, "_IN_CORE", 3000)
    ratio = sums(Narrow(2.5), data, pool) / true
    assert ratio.std() < 0.1 and ratio.mean() == pytest.approx(1.0, abs=0.05)
    monkeypatch.setattr(kernel, "_EVENLY", 1.0)
    assert (sums(Narrow(2.5), data, pool) / true).std() > 0.25


def _without_weights(near):
    return lambda self, i: (near(self, i)[0], np.zeros(len(near(self, i)[0])))
