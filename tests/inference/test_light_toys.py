"""Toys of one band, whose slope has an answer: where selection may stand, and the faults of others.

Clusters of luminosity L have dN/dL ∝ L^slope, so that with M ∝ L the mass function has the slope
too; age and dust are of no effect on the light.
"""

import functools

import jax
import numpy as np
import pytest
from scipy.special import expit, log_ndtr, logit, ndtr

from starcensus.forward import HalfNormal, Population, PowerLaw, PowerLawAge, Separable
from starcensus.inference.identity import Rules, grid_of, rules_of
from starcensus.inference.likelihood import log_likelihood
from starcensus.inference.objects import LightObjects, LightSettings, NodeSamples
from starcensus.selection import Box
from starcensus.selection.catalogue.photometry import Photometry
from starcensus.selection.observation import (
    AbstractObservation,
    GaussianObservation,
    MeasuredCuts,
    NoiseCurves,
    Reach,
)
from starcensus.simulate import Pool

BAND = ("ACS_F555W",)
BOX = Box((2.0, 6.0), (7.0, 7.2), (0.0, 0.1))
MODULUS = 29.0
# M_V of 1 M_sun: a cluster of 10^3.2 M_sun has M_V = -6.
ONE = 2.0
LN = 0.4 * np.log(10.0)


def mags_of(log_mass: np.ndarray) -> np.ndarray:
    return (ONE - 2.5 * log_mass + MODULUS)[:, None]


@pytest.fixture(scope="module")
def pool() -> Pool:
    """Rows at the middles of 2,000 equal steps in log_mass: a quadrature, without noise."""
    n = 2000
    edges = np.linspace(*BOX.log_mass, n + 1)
    log_mass = (edges[1:] + edges[:-1]) / 2
    theta = np.stack([log_mass, np.full(n, 7.1), np.full(n, 0.05)], axis=1)
    volume = 4.0 / n * 0.2 * 0.1
    mags = (mags_of(log_mass) - MODULUS).astype(np.float32)
    return Pool(BAND, theta, mags, np.full(n, np.log(volume)), np.arange(n), BOX)


class Noisy(AbstractObservation):
    """Magnitudes with Gaussian noise, and detection that shares a part of it.

    A cluster is catalogued where `limit` exceeds μ + ρ (m − μ) + noise of its own, of the same
    standard deviation in all: ρ = 1 cuts what is measured, ρ = 0 looks at the truth alone.
    """

    bands, distance_modulus, learned_for = BAND, MODULUS, None
    words = "a toy"  # pyright: ignore

    def __init__(self, sigma: float, limit: float, rho: float) -> None:
        self.sigma, self.limit, self.rho = sigma, limit, rho
        self.own = sigma * np.sqrt(1 - rho**2)

    def check(self, data):
        pass

    def p_given(self, m, mu):
        gap = self.limit - mu - self.rho * (m - mu)
        if self.rho == 1.0:
            return np.where(gap >= 0, 0.0, -np.inf)
        return log_ndtr(gap / self.own)

    def log_prob(self, data, rows, mags):
        m, mu = data.mags[rows, 0], mags[:, 0]
        return -0.5 * ((m - mu) / self.sigma) ** 2 + self.p_given(m, mu)

    def p_sel(self, mags):
        return ndtr((self.limit - mags[:, 0]) / self.sigma)

    def reach(self, data):
        return Reach(data.mags, np.full(data.mags.shape, self.sigma * 1.3), np.zeros(len(data)))

    def draw(self, mags, rng):
        m = mags[:, 0] + self.sigma * rng.standard_normal(len(mags))
        statistic = (
            mags[:, 0] + self.rho * (m - mags[:, 0]) + self.own * rng.standard_normal(len(m))
        )
        kept = statistic <= self.limit
        ids = np.arange(len(m)).astype(str)
        seen = Photometry.from_mags("toy", ids, BAND, m[:, None], np.full((len(m), 1), self.sigma))
        return kept, seen.take(kept)


class Placed(Noisy):
    """A survey whose p_sel of the truth multiplies each object, or does not."""

    def __init__(self, of: Noisy, placed: str) -> None:
        super().__init__(of.sigma, of.limit, of.rho)
        self.placed = placed

    def p_given(self, m, mu):
        if self.placed == "data":
            return np.zeros(len(mu))
        return np.log(np.maximum(self.p_sel(mu[:, None]), 1e-300))


def draw_masses(slope: float, n: int, seed: int) -> np.ndarray:
    """log_mass of a power law between the bounds, by its inverse."""
    u, k = np.random.default_rng(seed).uniform(size=n), slope + 1
    low, high = (10.0 ** (k * x) for x in BOX.log_mass)
    return np.log10(low + u * (high - low)) / k


@functools.partial(jax.jit, static_argnums=0)
def _profile(rules: Rules, p_sel: jax.Array, samples: NodeSamples, slopes: jax.Array) -> jax.Array:
    mass_age = Separable(PowerLaw(BOX.log_mass), PowerLawAge(BOX.log_age))
    family, grid = Population(mass_age, HalfNormal(BOX.a_v)), grid_of(rules, p_sel)

    def at(slope: jax.Array) -> jax.Array:
        return log_likelihood(family.with_values({"alpha_m": slope}), samples, grid, "conditional")

    return jax.lax.map(at, slopes)


def estimate(observation: AbstractObservation, data: Photometry, pool: Pool) -> tuple[float, float]:
    """Slope of the mass function and its error, by the conditional likelihood on a fine line."""
    made = LightObjects(data, observation, pool, LightSettings(panels=(0.05, 0.2, 0.1)))
    samples, grid = made.samples(BOX), made.pool_grid(BOX).grid
    assert isinstance(samples, NodeSamples)
    # One program serves every catalogue of a size.
    padded = samples.padded(1 << samples.n_values.bit_length(), len(data) + 1)
    slopes = np.linspace(-2.6, -1.4, 25)
    ln_l = np.asarray(_profile(rules_of(grid), np.asarray(grid.p_sel), padded, slopes))
    weight = np.exp(ln_l - ln_l.max())
    weight /= weight.sum()
    mean = weight @ slopes
    return float(mean), float(np.sqrt(weight @ (slopes - mean) ** 2))


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "case", [pytest.param("data", marks=SLOW), pytest.param("truth", marks=SLOW), "mixed"]
)
def test_selection_stands_where_the_survey_puts_it(case: str, pool: Pool):
    """The factorised form is right in all three; each other placement is off where it is wrong.

    Noise of 0.5 mag and 3,000 clusters: a wrong placement moves the slope by many errors.
    """
    survey = Noisy(0.5, 23.0, {"data": 1.0, "truth": 0.0, "mixed": 0.5}[case])
    masses = draw_masses(-2.0, 200_000, 8)
    data = survey.draw(mags_of(masses), np.random.default_rng(9))[1].take(slice(0, 3000))
    slope, error = estimate(survey, data, pool)
    assert error < 0.05 and abs(slope + 2.0) < 3 * error
    for placed in {"data", "truth"} - {case}:
        wrong, width = estimate(Placed(survey, placed), data, pool)
        assert abs(wrong + 2.0) > 4 * width, (placed, wrong, width)


# The peer's toy: σ = 0.07, a kernel of 0.05, a cut at M_V < -6 and 383 clusters at 29.23.
PEER = 29.23


# What the C-4 network of NGC 628 gives for mean light of 30 to 100 Myr, at V = 20, 20.5, ... 26.
PEER_P = (0.996, 0.993, 0.986, 0.974, 0.953, 0.917, 0.85, 0.63, 0.31, 0.125, 0.026, 0.009, 0.008)


def peer_p(v: np.ndarray) -> np.ndarray:
    """Share of clusters that are catalogued, by V."""
    p = np.asarray(PEER_P)
    return expit(np.interp(v, np.linspace(20.0, 26.0, len(p)), logit(p)))


def peer_estimate(v: np.ndarray, mode: str) -> float:
    """The slope that the peer's likelihood has for measured V, on a grid of true magnitudes.

    Self-normalised over the rows that the mode keeps; p of the truth in both terms; the kernel on
    top of the errors; the library cut by what was measured, the kernel not.
    """
    grid = np.linspace(15.0, 27.0, 4801)
    kept = np.ones(len(grid), bool)
    if mode != "nn":
        margin = float(mode)
        kept = (grid > v.min() - margin) & (grid < v.max() + margin)
    p = np.where(kept, peer_p(grid), 0.0)
    slopes = np.linspace(-3.0, -1.0, 81)
    width = np.hypot(0.07, 0.05)
    kernel = np.exp(-0.5 * ((v[:, None] - grid) / width) ** 2)
    # dN/dm ∝ L^(slope + 1).
    density = 10 ** (-0.4 * (slopes[:, None] + 1) * (grid - 20.0)) * p
    norm = density.sum(axis=1)
    ln_l = (np.log(kernel @ density.T) - np.log(norm)).sum(axis=0)
    return float(slopes[np.argmax(ln_l)])


def test_the_peers_modes_and_ours_on_the_peers_toy(pool: Pool):
    """True slope -2. A network without the catalogue's own cut flattens the slope by half; a box
    about the data does so more gently the wider it is; the declared cut gives the truth."""
    rng = np.random.default_rng(1)
    noise = NoiseCurves(BAND, np.array([1e-26]), np.zeros(1), np.zeros(1))

    class Network:
        bands, distance_modulus = BAND, PEER

        @staticmethod
        def p_sel(mags):
            return peer_p(np.asarray(mags)[:, 0])

    survey = GaussianObservation(
        BAND, PEER, noise, floor=0.07, cuts=MeasuredCuts(max_absolute={BAND[0]: -6.0}),
        selection=Network(),  # pyright: ignore
    )  # fmt: skip
    modes = ("nn", "0.5", "0.1", "0.05", "0.0")
    ours, theirs = [], {mode: [] for mode in modes}
    for draw in range(12):
        masses = draw_masses(-2.0, 40_000, 100 + draw)
        data = survey.draw(mags_of(masses) + PEER - MODULUS, rng)[1].take(slice(0, 383))
        assert len(data) == 383
        ours.append(estimate(survey, data, pool)[0])
        for mode in modes:
            theirs[mode].append(peer_estimate(data.mags[:, 0], mode))
    mean = {mode: float(np.mean(values)) for mode, values in theirs.items()}
    assert np.mean(ours) == pytest.approx(-2.0, abs=0.05) and np.std(ours) < 0.09
    # The order of the digest, -1.55, -1.74, -1.92, -1.95, -1.99, and about its sizes.
    assert mean["nn"] > mean["0.5"] + 0.1 > mean["0.1"] + 0.2 > mean["0.05"] + 0.2
    assert mean["nn"] == pytest.approx(-1.55, abs=0.12)
    assert mean["0.5"] == pytest.approx(-1.74, abs=0.1)
    assert mean["0.1"] == pytest.approx(-1.92, abs=0.06)
    assert mean["0.05"] == pytest.approx(-1.95, abs=0.06)
    assert mean["0.0"] == pytest.approx(-1.99, abs=0.06)
    assert mean["0.1"] > mean["0.05"] > mean["0.0"]
