"""The magnitude limit and the table of mass-to-light ratios it carries."""

import jax
import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator
from scipy.special import expit

from starcensus.bands import BANDS
from starcensus.selection import MagnitudeLimit
from starcensus.selection.operators.magnitude import _carried_table
from starcensus.selection.operators.mass_to_light import (
    TABLE_BANDS,
    compute_table,
    extinction_ratio,
    magnitude,
    pivot_wavelength,
    read_throughput,
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
    for band in (*TABLE_BANDS, "F275W", "F336W", "F435W", "F438W", "F555W", "F814W"):
        operator = MagnitudeLimit.default(band)
        assert operator.band in TABLE_BANDS
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
        (lambda: extinction_ratio(20000.0), "pivot wavelength is 20000"),
    ],
)
def test_refuses(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_vega_through_any_band_is_zero_and_flux_is_photon_counted():
    wave = np.linspace(3000, 9000, 3001)
    vega = (wave, 1e-9 * (wave / 5500) ** -2)
    band = (np.linspace(5000, 6000, 201), np.hanning(201))
    assert magnitude(*vega, band, vega) == pytest.approx(0.0, abs=1e-12)
    assert magnitude(wave, 100 * vega[1], band, vega) == pytest.approx(-5.0, abs=1e-12)
    # For equal F_λ, the counts are ∫ T λ dλ; here against a 4 times finer grid.
    flat, fine = np.ones_like(wave), np.linspace(5000, 6000, 4001)
    response = np.interp(fine, *band)
    counts = np.trapezoid(response * fine, fine)
    counts /= np.trapezoid(response * fine * 1e-9 * (fine / 5500) ** -2, fine)
    assert magnitude(wave, flat, band, vega) == pytest.approx(-2.5 * np.log10(counts), abs=2e-5)


def test_extinction_law_at_known_points():
    # Table 3 of Cardelli, Clayton & Mathis (1989), R_V = 3.1: U, B, V, R, I.
    x = np.array([2.78, 2.27, 1.82, 1.43, 1.11])
    expected = [1.569, 1.337, 1.000, 0.751, 0.479]
    np.testing.assert_allclose([extinction_ratio(1e4 / v) for v in x], expected, atol=0.015)


@pytest.mark.shared
def test_the_carried_table_is_recomputed(shared):
    carried, again = _carried_table(), compute_table(shared)
    assert carried.colnames == again.colnames
    for name in carried.colnames:
        expected = np.asarray(carried[name], float)
        np.testing.assert_allclose(np.asarray(again[name], float), expected, rtol=0, atol=1e-3)
    assert (
        dict(carried.meta or {})["extinction_ratio"] == dict(again.meta or {})["extinction_ratio"]
    )


@pytest.mark.shared
def test_pivots_are_the_published_ones(shared):
    published = {"WFC3_UVIS_F275W": 2710.2, "WFC3_UVIS_F336W": 3354.8, "WFC3_UVIS_F814W": 8029.5}
    for band, pivot in published.items():
        throughput = read_throughput(shared / "filters" / str(BANDS[band].curve))
        assert pivot_wavelength(*throughput) == pytest.approx(pivot, abs=1.0)


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
