"""Designs: any piece equals the whole, densities are true, draws follow their laws."""

import dataclasses

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from scipy import stats

from starcensus.simulate import (
    RADIUS_LAWS,
    AbstractRadiusLaw,
    BoxTheta,
    Design,
    FlatRadius,
    MassRadius,
    TableTheta,
)
from starcensus.simulate.library.design import row_seeds

BOX = ((2.0, 6.0), (6.0, 10.0), (0.0, 3.0))


def table(n):
    rng = np.random.default_rng(0)
    return TableTheta({name: rng.uniform(1, 5, n) for name in ("log_mass", "log_age", "a_v")})


@pytest.mark.parametrize(
    "design",
    [
        Design(101, 7, BoxTheta(*BOX), FlatRadius()),
        Design(101, 7, BoxTheta(*BOX, -2.0, "sobol"), MassRadius()),
        Design(101, 7, table(150), FlatRadius(whole=True)),
        Design(101, 7, table(101)),
    ],
)
def test_pieces_make_the_whole(design):
    whole = design.rows(0, 101)
    pieces = [design.rows(a, b) for a, b in ((0, 1), (1, 64), (64, 64), (64, 101))]
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([p[name] for p in pieces]), values)
    other = Design(101, 8, design.theta, design.radius).rows(0, 101)
    assert not (other["seed"] == whole["seed"]).any()


def test_seeds_are_the_words_of_philox_and_differ():
    seeds = row_seeds(3, 0, 200_000)
    assert len(np.unique(seeds)) == len(seeds)
    key = np.random.SeedSequence([3, 0]).generate_state(2, np.uint64)
    assert seeds[41] == np.random.Philox(key=key, counter=41).random_raw()


# 13 Kolmogorov-Smirnov comparisons in this file at 1e-4 each: false alarm 0.13% over all seeds,
# and none at these.
@pytest.mark.parametrize("sequence", ["random", "sobol"])
@pytest.mark.parametrize("slope", [-2.0, -1.0, 0.5])
def test_theta_follows_its_density(sequence, slope):
    rows = Design(4096, 1, BoxTheta(*BOX, slope, sequence)).rows(0, 4096)
    low, high = 1e2, 1e6
    g = slope + 1

    def mass_cdf(log_mass):
        m = 10**log_mass
        return (
            (np.log(m / low) / np.log(high / low))
            if g == 0
            else (m**g - low**g) / (high**g - low**g)
        )

    assert stats.kstest(rows["log_mass"], mass_cdf).pvalue > 1e-4
    assert stats.kstest((rows["log_age"] - 6) / 4, "uniform").pvalue > 1e-4
    assert stats.kstest(rows["a_v"] / 3, "uniform").pvalue > 1e-4
    # The density of one axis, by numerical differentiation of the closed form.
    step = 1e-5
    slope_of_cdf = (mass_cdf(rows["log_mass"] + step) - mass_cdf(rows["log_mass"] - step)) / (
        2 * step
    )
    np.testing.assert_allclose(np.exp(rows["log_density"]) * 12, slope_of_cdf, rtol=1e-4)
    if slope == -1:
        np.testing.assert_allclose(rows["log_density"], -np.log(48))


def test_steep_mass_functions_stay_finite():
    rows = Design(1000, 1, BoxTheta((2.0, 8.0), (6.0, 7.0), (0.0, 1.0), -60.0)).rows(0, 1000)
    assert np.isfinite(rows["log_density"]).all() and rows["log_mass"].max() < 2.2
    assert rows["log_mass"].min() >= 2


def test_fixed_axes_do_not_count_in_the_density():
    rows = Design(10, 1, BoxTheta((3.0, 3.0), (6.0, 10.0), (0.0, 0.0))).rows(0, 10)
    assert (rows["log_mass"] == 3).all() and (rows["a_v"] == 0).all()
    np.testing.assert_allclose(rows["log_density"], -np.log(4))


def test_sobol_points_fill_every_stratum():
    rows = Design(256, 5, BoxTheta(*BOX, -1.0, "sobol")).rows(0, 256)
    for name, (low, high) in zip(("log_mass", "log_age", "a_v"), BOX, strict=True):
        strata = np.floor((rows[name] - low) / (high - low) * 256)
        assert len(np.unique(strata)) == 256


def test_radii():
    rows = Design(20_000, 2, BoxTheta(*BOX), FlatRadius()).rows(0, 20_000)
    assert stats.kstest((rows["r_eff_pc"] - 1) / 9, "uniform").pvalue > 1e-4
    whole = Design(20_000, 2, BoxTheta(*BOX), FlatRadius(whole=True)).rows(0, 20_000)["r_eff_pc"]
    values, counts = np.unique(whole, return_counts=True)
    assert values.tolist() == list(range(1, 11)) and stats.chisquare(counts).pvalue > 1e-4
    rows = Design(20_000, 2, BoxTheta(*BOX), MassRadius()).rows(0, 20_000)
    residual = np.log10(rows["r_eff_pc"]) - 0.14 * rows["log_mass"]
    assert stats.kstest(residual / 0.21, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(residual, rows["log_mass"])[0, 1]) < 0.03
    rounded = Design(20_000, 2, BoxTheta(*BOX), MassRadius(whole=True)).rows(0, 20_000)["r_eff_pc"]
    assert set(rounded) == set(range(1, 11))
    np.testing.assert_array_equal(rounded, np.clip(np.rint(rows["r_eff_pc"]), 1, 10))


@pytest.mark.parametrize("suffix", ["ecsv", "csv", "fits"])
def test_tables(tmp_path, suffix):
    columns = {"log_mass": [2.0, 3.0, 4.0], "log_age": [6.0, 7.0, 8.0], "a_v": [0.0, 1.0, 2.0]}
    extra = {
        "log_density": [-1.0, -2.0, -3.0],
        "r_eff_pc": [1.0, 2.0, 3.0],
        "name": ["a", "b", "c"],
    }
    Table(columns | extra).write(tmp_path / f"t.{suffix}")
    theta = TableTheta.read(tmp_path / f"t.{suffix}")
    rows = Design(3, 0, theta).rows(0, 3)
    for name in (*columns, "log_density", "r_eff_pc"):
        np.testing.assert_array_equal(rows[name], (columns | extra)[name])
    two = Design(2, 0, theta).rows(0, 2)
    assert len(set(two["log_mass"])) == 2 and set(two["log_mass"]) < {2.0, 3.0, 4.0}


def test_a_masked_value_is_not_a_number(tmp_path):
    mass = MaskedColumn([2.0, 3.0], mask=[False, True])
    Table({"log_mass": mass, "log_age": [6.0, 7.0], "a_v": [0.0, 0.0]}).write(tmp_path / "t.ecsv")
    with pytest.raises(ValueError, match=r"t.ecsv, row 2: log_mass is nan; expected a finite"):
        TableTheta.read(tmp_path / "t.ecsv")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BoxTheta(log_mass=(6.0, 2.0)), r"log_mass = \[6, 2\]; expected finite limits"),
        (lambda: BoxTheta(a_v=(-1.0, 2.0)), "a_v starts at -1 mag"),
        (lambda: BoxTheta(log_age=(6.0, np.inf)), "log_age = .* expected finite"),
        (lambda: Design(0), "n is 0; expected at least 1"),
        (lambda: Design(5, -1), "seed is -1"),
        (lambda: Design(4, 0, table(3)), "n is 4 but table has 3 rows, .* without repeats"),
        (lambda: FlatRadius(0.0, 5.0), "radii from 0 to 5 pc; expected 0 < low"),
        (lambda: FlatRadius(1.5, 5.0, True), "expected limits that are whole"),
        (lambda: MassRadius(scatter=-1.0), "the scatter not negative"),
        (lambda: TableTheta({"log_mass": np.ones(2)}), "no column log_age, a_v"),
        (lambda: Design(5).rows(2, 9), "rows 2 to 9; expected a run inside 0 to 5"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_own_law_of_radii_is_described_by_its_name(monkeypatch):
    monkeypatch.setattr(RADIUS_LAWS, "_known", dict(RADIUS_LAWS))

    @dataclasses.dataclass(frozen=True)
    class LogFlat(AbstractRadiusLaw):
        low: float = 1.0
        high: float = 100.0

        def draw(self, u, log_mass):
            return self.low * (self.high / self.low) ** u

    design = Design(20_000, 1, BoxTheta(*BOX), LogFlat())
    radii = design.rows(0, 20_000)["r_eff_pc"]
    assert stats.kstest(np.log10(radii) / 2, "uniform").pvalue > 1e-4
    with pytest.raises(ValueError, match="LogFlat has no name as a radius law"):
        design.describe()
    RADIUS_LAWS.add("log_flat", LogFlat)
    assert design.describe()["radius"] == {"kind": "log_flat", "low": 1.0, "high": 100.0}


def test_the_shipped_laws_say_what_they_always_said():
    flat = {"kind": "flat", "low": 1.0, "high": 10.0, "whole": False}
    assert Design(1, radius=FlatRadius()).describe()["radius"] == flat
    more = {"kind": "mass_radius", "slope": 0.14, "scatter": 0.21, "low": None, "high": None}
    assert Design(1, radius=MassRadius()).describe()["radius"] == more | {"whole": False}
