"""Clusters of several metallicities: which stars each has, and that it has these and no others."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom, kstest, truncnorm
from tests.simulate.conftest import BANDS, analytic_grid

from starcensus.simulate import (
    AgeMetallicity,
    BoxTheta,
    CellTheta,
    ClusterLibrary,
    Design,
    DrawSettings,
    MetallicityEngine,
    RunError,
    StarcensusEngine,
    StellarPopulation,
    run_library,
)
from starcensus.simulate.images.resolved import StarByStar
from starcensus.simulate.images.templates import Templates
from starcensus.simulate.stars.grid import StellarGrid

Z = (0.002, 0.008, 0.02)
RELATION = AgeMetallicity(z=(0.02, 0.004), log_age=(7.0, 9.0))


def grid_of(z: float | None, log_age: tuple[float, ...] = (6.0, 7.0, 8.0, 9.0)) -> StellarGrid:
    """The richer in metals the redder, by a magnitude from one grid to the next."""
    made = analytic_grid(np.array(log_age), 0.05)
    dimmer = np.array([1.0, 0.5, 0.2]) * (0.0 if z is None else np.log10(z / Z[0]))
    flux = (made.flux * 10 ** (-0.4 * dimmer)[:, None]).astype(np.float32)
    said = {} if z is None else {"z": z}
    return dataclasses.replace(made, flux=flux, provenance={**said, "citations": ["one"]})


@pytest.fixture(scope="module")
def grids(tmp_path_factory) -> tuple[str, ...]:
    """Files of grids, richest first."""
    folder = tmp_path_factory.mktemp("grids")
    for z in Z:
        grid_of(z).save(folder / f"{z}.h5")
    return tuple(str(folder / f"{z}.h5") for z in reversed(Z))


def rows(n: int, log_age: tuple[float, float] = (6.0, 9.0), seed: int = 1):
    columns = Design(n, seed, BoxTheta((1.5, 3.0), log_age, (0.0, 1.0))).rows(0, n)
    return tuple(columns[name] for name in ("log_mass", "log_age", "a_v", "seed"))


@pytest.mark.parametrize("middle", [0.004, 0.008, 0.009, 0.02])
def test_a_scatter_is_a_normal_law_cut_off_at_the_grids(middle):
    law, (low, high) = AgeMetallicity(z=(middle,), scatter_dex=0.3), np.log10([Z[0], Z[-1]])
    u = np.random.default_rng(1).random(4000)
    found = law.quantile(np.full(4000, 8.0), u, low, high)
    ends = (np.array([low, high]) - np.log10(middle)) / 0.3
    assert kstest(found, truncnorm(*ends, np.log10(middle), 0.3).cdf).pvalue > 1e-3


def test_a_relation_runs_through_its_knots_and_is_constant_beyond():
    at = RELATION.log_z(np.array([6.0, 7.0, 8.0, 9.0, 10.0]))
    np.testing.assert_allclose(10**at, [0.02, 0.02, np.sqrt(0.02 * 0.004), 0.004, 0.004])


def test_each_cluster_is_one_of_its_grid_whatever_is_drawn_beside_it(grids):
    engine = MetallicityEngine(BANDS, grids, RELATION)
    columns = rows(600)
    drawn = engine.draw(*columns)
    known = dict(zip(reversed(Z), grids, strict=True))
    assert set(np.unique(drawn["z"].round(6))) == set(Z)
    for z, path in known.items():
        of = np.abs(drawn["z"] - z) < 1e-9
        alone = StarcensusEngine(BANDS, path).draw(*(column[of] for column in columns))
        for name, values in alone.items():
            np.testing.assert_array_equal(drawn[name][of], values)
    some = np.random.default_rng(2).permutation(600)[:100]
    again = engine.draw(*(column[some] for column in columns))
    for name, values in again.items():
        np.testing.assert_array_equal(values, drawn[name][some])


def test_the_mean_of_log_z_is_that_of_the_relation(grids):
    """Each age by itself: the number of clusters of either grid is binomial."""
    engine = MetallicityEngine(BANDS, grids, RELATION)
    n = 20_000
    seeds = Design(n, 3).rows(0, n)["seed"]
    for age, low, high in ((7.3, 0.008, 0.02), (8.0, 0.008, 0.02), (8.8, 0.002, 0.008)):
        which = engine._grid_of(np.log10(Z), np.full(n, age), seeds)
        assert set(np.unique(which)) == {Z.index(low), Z.index(high)}
        wanted = float(RELATION.log_z(np.array([age]))[0])
        share = (wanted - np.log10(low)) / np.log10(high / low)
        of_many = binom((which >= 0).sum(), share)
        n_high = int((which == Z.index(high)).sum())
        assert 1e-4 < of_many.cdf(n_high) and 1e-4 < of_many.sf(n_high - 1)
    assert (engine._grid_of(np.log10(Z), np.full(n, 6.5), seeds) == 2).all()


def test_a_cluster_behind_more_dust_has_the_same_stars(grids):
    edges = np.array([2.0, 3.0]), np.array([6.0, 9.0]), np.linspace(0.0, 1.0, 3)
    cells = Design(400, 1, CellTheta(edges, np.ones((1, 1, 2)), 4)).rows(0, 400)
    law = AgeMetallicity(z=(0.007,), scatter_dex=0.5)
    engine = MetallicityEngine(BANDS, grids, law, settings=DrawSettings(nebular=False))
    drawn = engine.draw(*(cells[name] for name in ("log_mass", "log_age", "a_v", "seed")))
    for name in ("z", "birth_mass", "max_mass"):
        each = drawn[name].reshape(-1, 4)
        assert (each == each[:, :1]).all()
    assert len(np.unique(drawn["z"])) == 3


def test_what_it_says_of_itself_and_where_it_draws(grids, tmp_path):
    grid_of(0.03, (6.5, 7.0, 8.0)).save(tmp_path / "short.h5")
    paths = (*grids, str(tmp_path / "short.h5"))
    engine = MetallicityEngine(BANDS, paths, RELATION)
    assert engine.limits()["log_age"] == (6.5, 8.0)
    said = engine.describe()
    assert said["z"]["grids"] == [0.002, 0.008, 0.02, 0.03] and said["z"]["log_age"] == (7.0, 9.0)
    assert said["citations"] == ["one"] and len(set(said["grid"])) == 4
    other = MetallicityEngine(BANDS, paths, AgeMetallicity(z=(0.02, 0.005), log_age=(7.0, 9.0)))
    assert other.describe() != said
    with pytest.raises(RunError, match=r"the engine has 6\.5 to 8"):
        run_library(Design(5, theta=BoxTheta(log_age=(6.0, 8.0))), engine, tmp_path / "a.h5")


def test_a_library_keeps_them_and_is_not_rendered_as_if_it_were_of_one_grid(grids, tmp_path):
    engine = MetallicityEngine(BANDS, grids, AgeMetallicity(z=(0.008,), scatter_dex=0.3))
    theta = BoxTheta((1.5, 2.5), (6.0, 9.0), (0.0, 1.0))
    run_library(Design(200, 1, theta), engine, tmp_path / "a.h5")
    library = ClusterLibrary.load(tmp_path / "a.h5")
    assert library.z is not None and len(np.unique(library.z)) == 3
    assert library.take(np.arange(5)).z is not None
    poor = library.abs_mags[library.z < 0.003]
    assert np.median(poor[:, 0]) < np.median(library.abs_mags[library.z > 0.01, 0])
    stars = StellarPopulation(grid_of(0.008), engine.imf)
    render = StarByStar(stars, Templates({}, 1.9))
    with pytest.raises(ValueError, match="differ in metallicity"):
        render.check(library)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"z": (0.01, 0.02)}, "z has 2 values and log_age 0 knots"),
        ({"z": (0.01,), "log_age": (8.0,)}, "one z and no knots"),
        ({"z": (0.01, 0.02), "log_age": (9.0, 8.0)}, "knots that increase"),
        ({"z": (0.01, 0.02), "log_age": (1e7, 1e9)}, "log10 yr"),
        ({"z": (-0.3,)}, "mass fractions of metals"),
        ({"z": (1.0,)}, "mass fractions of metals"),
        ({"z": (0.01,), "scatter_dex": -0.1}, "scatter_dex is -0.1"),
        ({"z": (0.01,), "scatter_dex": float("nan")}, "scatter_dex is nan"),
    ],
)
def test_laws_that_are_none_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        AgeMetallicity(**given)


def test_grids_that_do_not_serve_the_relation_are_refused(grids, tmp_path):
    grid_of(None).save(tmp_path / "silent.h5")
    grid_of(0.00801).save(tmp_path / "again.h5")
    of = {
        "beyond": (
            grids,
            AgeMetallicity(z=(0.03,)),
            "runs from 0.03 to 0.03; the grids have 0.002",
        ),
        "poor": (grids, AgeMetallicity(z=(0.02, 0.001), log_age=(7.0, 9.0)), "from 0.001 to"),
        "one": (grids[:1], RELATION, "grids has 1; expected two or more"),
        "silent": ((*grids, str(tmp_path / "silent.h5")), RELATION, "silent.h5 does not say its Z"),
        "again": ((*grids, str(tmp_path / "again.h5")), RELATION, "have the same Z, 0.008"),
    }
    for paths, law, message in of.values():
        with pytest.raises(ValueError, match=message):
            MetallicityEngine(BANDS, paths, law).limits()
