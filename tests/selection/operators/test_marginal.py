"""Averaging over stochastic light: a closed form, held-out clusters, and fixed sets of clusters."""

import dataclasses
import importlib.util
import itertools
import os

import jax
import numpy as np
import pytest
from scipy.special import xlogy
from scipy.stats import norm

from starcensus.selection import SelectionDomainError, import_c4, marginalise
from starcensus.simulate import ClusterLibrary, read_slug2

BANDS = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")


@dataclasses.dataclass
class Limit:
    """p = 1 − Φ((m − 24) / 0.3), which stays a Gaussian integral after Gaussian scatter."""

    distance_modulus: float = 30.0
    bands: tuple[str, ...] = ("F555W",)

    def p_sel(self, mags):
        return jax.scipy.stats.norm.cdf((24.0 - jax.numpy.asarray(mags)[:, 0]) / 0.3)


def library(n: int, seed: int = 0, power: float = 1.0) -> ClusterLibrary:
    rng = np.random.default_rng(seed)
    log_mass = 2 + 3 * rng.random(n) ** power
    log_age, a_v = rng.uniform(6, 9, n), rng.uniform(0, 2, n)
    mean = -2.5 * log_mass + (log_age - 6) + a_v
    mags = (mean + 0.8 * rng.standard_normal(n))[:, None]
    return ClusterLibrary(log_mass, log_age, a_v, ("ACS_F555W",), mags, np.full(n, np.nan))


GRID = (np.arange(2.2, 4.81, 0.2), np.arange(6.2, 8.9, 0.4), np.arange(0.2, 1.9, 0.4))


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_closed_form_whatever_the_design(power):
    made = marginalise(
        Limit(), library(12_000, power=power), *GRID, key=jax.random.key(0), n_members=30
    )
    mass, age, a_v = np.meshgrid(*GRID, indexing="ij")
    mean = 30 - 2.5 * mass + (age - 6) + a_v
    truth = norm.cdf((24 - mean) / np.hypot(0.3, 0.8))
    got = np.asarray(made.selection.p_sel(mass, age, a_v))
    middle = (truth > 0.02) & (truth < 0.98)
    error, stated = (got - truth)[middle], made.standard_error[middle]
    assert 0.8 < np.sqrt((error**2).mean() / (stated**2).mean()) < 1.4
    assert abs(error.mean()) < 0.01
    assert np.abs(got - truth).mean() < 0.025
    assert made.selection.n_members == 30 and (made.n_effective > 30).all()


def test_reproducible_and_keyed():
    data = library(3000)
    grid = tuple(axis[::3] for axis in GRID)
    one, same, other = (
        marginalise(Limit(), data, *grid, key=jax.random.key(k), n_neighbours=120)
        for k in (1, 1, 2)
    )
    np.testing.assert_array_equal(one.selection.logit, same.selection.logit)
    assert (one.selection.logit != other.selection.logit).any()


def test_refuses_where_the_library_is_thin():
    with pytest.raises(
        SelectionDomainError, match=r"effective clusters; the fewest, .* at log_mass"
    ):
        marginalise(Limit(), library(300), *GRID, key=jax.random.key(0))
    with pytest.raises(ValueError, match="cannot stand for F555W"):
        marginalise(
            Limit(), library(300), *GRID, key=jax.random.key(0), bands=["ACS_F555W", "ACS_F814W"]
        )
    with pytest.raises(ValueError, match="n_members is 2"):
        marginalise(Limit(), library(300), *GRID, key=jax.random.key(0), n_members=2)


@pytest.fixture(scope="module")
def photometric():
    wheel = os.environ.get("STARCENSUS_C4_WHEEL")
    if wheel is None and importlib.util.find_spec("completeness_nn_api") is None:
        pytest.skip(
            "cluster-completeness-pipeline 0.1.0 is not installed (STARCENSUS_C4_WHEEL unset)"
        )
    return import_c4(wheel)[1].simulated()


@pytest.fixture(scope="module")
def slug(shared):
    folder = shared / "slug"
    return read_slug2(
        folder / "lib_1e2_1e6_cluster_prop.fits", folder / "lib_1e2_1e6_cluster_phot.fits", BANDS
    )


@pytest.mark.shared
def test_held_out_clusters(photometric, slug):
    held = np.random.default_rng(1).random(len(slug)) < 0.2
    made = marginalise(
        photometric,
        slug.take(~held),
        np.arange(2, 6.01, 0.25),
        np.arange(5.0, 10.2, 0.15),
        np.arange(0, 3.01, 0.5),
        key=jax.random.key(0),
        min_effective=20.0,
    )
    test = slug.take(held)
    known = np.asarray(made.selection.domain.contains(*test.theta.T))
    test = test.take(known)
    p = np.clip(np.asarray(photometric.p_sel(test.abs_mags + 29.98)), 1e-9, 1 - 1e-9)
    q = np.asarray(made.selection.p_sel(*test.theta.T))
    logit = np.log(q / (1 - q))
    edges = [-30, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 30]
    for low, high in itertools.pairwise(edges):
        rows = (logit >= low) & (logit < high)
        if rows.sum() > 30:
            error = p[rows].std() / np.sqrt(rows.sum())
            assert abs(p[rows].mean() - q[rows].mean()) < 3 * error + 0.01, (low, high)
    # No operator of θ can be below the entropy of p itself; a constant is at 0.68.
    loss = -(xlogy(p, q) + xlogy(1 - p, 1 - q)).mean()
    floor = -(xlogy(p, p) + xlogy(1 - p, 1 - p)).mean()
    assert floor < loss < floor + 0.02


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "log_mass"), [("M500", np.log10(500)), ("M1e4", 4.0), ("M1e5", 5.0)]
)
def test_fixed_sets(photometric, slug, shared, name, log_mass):
    """2,000 clusters of one θ give p_sel(θ) without any regression."""
    grid = (log_mass + np.array([-0.1, 0, 0.1]), np.arange(6.8, 9.21, 0.2), np.array([0.0, 0.3]))
    made = marginalise(photometric, slug, *grid, key=jax.random.key(2), min_effective=20.0)
    for label, log_age in (("10Myr", 7.0), ("100Myr", 8.0), ("1Gyr", 9.0)):
        kind = "fixed" if name == "M1e5" else "fixedcorr"
        folder = shared / "slug" / "fixed"
        clusters = read_slug2(
            folder / f"{kind}_{name}_t{label}_cluster_prop.fits",
            folder / f"fixed_{name}_t{label}_cluster_phot.fits",
            BANDS,
            kind="neb",
        )
        p = float(np.mean(photometric.p_sel(clusters.abs_mags + 29.98)))
        q = float(made.selection.p_sel(log_mass, log_age, 0.0))
        spread = float(np.std(made.selection.members(log_mass, log_age, 0.0)))
        assert abs(p - q) < 3 * spread + 0.05, (label, p, q)
