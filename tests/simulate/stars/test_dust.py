"""Extinction curves against published values; fluxes between knots against direct integration."""

import importlib.util
import pathlib

import h5py
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.io import fits

from starcensus.simulate.stars import dust, filters

WAVELENGTHS = np.array([1100.0, 1500, 2175, 3000, 4400, 5500, 8000, 12000, 22000, 30000])
# A(λ)/A(V) at those wavelengths by another library (`extinction` 0.4.9), per curve and R_V.
OTHER = {
    ("F99", 3.1): [4.0148, 2.6025, 3.0759, 1.7967, 1.3093, 0.9778, 0.5533, 0.2751, 0.1091, 0.0732],
    ("F99", 5.0): [2.1656, 1.5703, 2.1031, 1.4498, 1.1929, 0.9871, 0.6113, 0.2762, 0.1072, 0.0739],
    ("CCM89", 3.1): [
        4.2172, 2.6639, 3.1851, 1.8182, 1.3245, 0.9989, 0.5975, 0.3012, 0.1135, 0.0689
    ],
    ("CCM89", 5.0): [
        1.9740, 1.4960, 1.9743, 1.3742, 1.2011, 0.9992, 0.6674, 0.3494, 0.1317, 0.0799
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "r_v"), OTHER)
def test_curves_agree_with_another_library(name: str, r_v: float):
    curve = dust.extinction_curve(name, r_v=r_v)
    np.testing.assert_allclose(curve(WAVELENGTHS), OTHER[name, r_v], atol=2e-4)


def test_fitzpatrick_passes_through_his_table():
    # Fitzpatrick (1999), Table 3: A(λ)/E(B-V) for R = 3.1.
    wavelength = np.array([26500.0, 12200, 6000, 5470, 4670, 4110, 2700, 2600])
    published = [0.265, 0.829, 2.688, 3.055, 3.806, 4.315, 6.265, 6.591]
    curve = dust.extinction_curve("F99")
    np.testing.assert_allclose(3.1 * curve(wavelength), published, atol=1e-3)


def test_cardelli_agrees_with_his_table():
    # Cardelli, Clayton & Mathis (1989), Table 3, R_V = 3.1: measured values that the formula fits.
    micron = np.array([0.365, 0.44, 0.55, 0.70, 0.90, 1.25, 1.60, 2.20])
    published = [1.569, 1.337, 1.000, 0.751, 0.479, 0.282, 0.190, 0.114]
    curve = dust.extinction_curve("CCM89")
    np.testing.assert_allclose(curve(1e4 * micron), published, atol=0.013)


def test_calzetti_has_his_numbers():
    curve = dust.extinction_curve("Calzetti00")
    k = 4.05 * curve(np.array([1600.0, 4861.3, 6562.8]))
    # k(1600 Å) = 9.97, k(Hβ) = 4.60, k(Hα) = 3.33, as the literature quotes them.
    np.testing.assert_allclose(k, [9.97, 4.60, 3.33], atol=0.01)


@pytest.mark.parametrize("name", dust.CURVES)
def test_outside_its_range_a_curve_follows_the_documented_rule(name: str):
    curve = dust.extinction_curve(name)
    edge = curve(np.array([curve.shortest, curve.longest]))
    np.testing.assert_allclose(curve(np.array([91.0, 500.0])), edge[0])
    far = np.array([2.0, 100.0])
    np.testing.assert_allclose(curve(far * curve.longest), edge[1] * far**-1.61)
    everywhere = np.geomspace(91, 1.6e6, 20_001)
    ratio = curve(everywhere)
    assert np.all(ratio > 0) and np.all(np.isfinite(ratio))
    # No jump anywhere, at the joints of the formulae neither; Cardelli's own pieces meet to 1%.
    assert np.abs(np.diff(np.log(ratio))).max() < 0.012


def test_a_table_is_a_curve():
    wavelength = np.array([1000.0, 5000.0, 10000.0])
    curve = dust.tabulated_curve(wavelength, np.array([40.0, 10.0, 4.0]), name="k", unity_at=5000.0)
    np.testing.assert_allclose(curve(np.array([500.0, 3000.0, 5000.0])), [4.0, 2.5, 1.0])
    np.testing.assert_allclose(curve(np.array([20000.0])), 0.4 * 2**-1.61)
    assert curve.describe()["published_range_angstrom"] == [1000.0, 10000.0]
    with pytest.raises(ValueError, match="sort the table"):
        dust.tabulated_curve(wavelength[::-1], np.ones(3), name="k")
    with pytest.raises(ValueError, match="positive and finite in every row"):
        dust.tabulated_curve(wavelength, np.array([1.0, np.nan, 1.0]), name="k")
    with pytest.raises(ValueError, match="outside the table"):
        dust.tabulated_curve(wavelength, np.ones(3), name="k", unity_at=99.0)


@pytest.mark.shared
def test_the_curve_of_slug_as_a_table_reddens_as_slug_does(shared):
    """SLUG's Milky Way curve, which SLUG v3 carries, on a B star against SLUG v2's young clusters.

    SLUG scales its curve to 1 on average over Johnson V, which is near 5440 Å.
    """
    found = importlib.util.find_spec("slugpy")
    assert found is not None and found.origin is not None
    carried = pathlib.Path(found.origin).parent / "_share/data/extinct/extinct.h5"
    with h5py.File(carried) as file:
        wavelength = np.asarray(file["Calzetti_MW/wavelength"], float)
        opacity = np.asarray(file["Calzetti_MW/kappa"], float)
    curve = dust.tabulated_curve(wavelength, opacity, name="SLUG Milky Way", unity_at=5440.0)
    light = fits.getdata(shared / "slug/lib_1e2_1e5_cluster_phot.fits", 1)
    made = fits.getdata(shared / "slug/lib_1e2_1e5_cluster_prop.fits", 1)
    assert light is not None and made is not None
    a_v = np.asarray(made["A_V"], float)
    young = (np.asarray(light["Time"]) < 1e7) & (a_v > 0.9) & (a_v < 1.1)
    star, flux = spectra(shared)["B"]
    for name in ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "WFC3_UVIS_F438W", "WFC3_UVIS_F814W"):
        band = filters.read_filter(shared / f"slug/filters/{name}.dat", name)
        screen = 10 ** (-0.4 * curve(band.grid(star)))
        dimming = -2.5 * np.log10(
            band.weights(star, screen) @ flux / band.photon_mean_flux(star, flux)
        )
        slug = np.asarray(light[f"{name}_ex"], float) - np.asarray(light[name], float)
        # The clusters' red supergiants lower it in F814W, by 1.4%.
        assert dimming == pytest.approx(np.median((slug / a_v)[young]), rel=0.02), name


def test_curves_refuse_what_they_are_not():
    with pytest.raises(ValueError, match="no extinction curve 'f99'; there are F99, CCM89"):
        dust.extinction_curve("f99")
    with pytest.raises(ValueError, match=r"R_V between 2\.0 and 6\.0, not 1\.0"):
        dust.extinction_curve("F99", r_v=1.0)
    with pytest.raises(ValueError, match=r"R_V = 4\.05, not 3\.1"):
        dust.extinction_curve("Calzetti00", r_v=3.1)
    with pytest.raises(ValueError, match="positive and finite"):
        dust.extinction_curve("F99")(np.array([0.0]))


def spectra(folder) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Hot, solar and cool stars of Castelli & Kurucz (2004), solar metallicity."""
    stars = {}
    for name, temperature, gravity in [
        ("O", 45000, "g50"),
        ("B", 20000, "g40"),
        ("A", 10000, "g40"),
        ("Sun", 5750, "g45"),
        ("K giant", 4500, "g15"),
        ("M supergiant", 3500, "g00"),
        ("M dwarf", 3500, "g50"),
    ]:
        table = fits.getdata(folder / f"atmospheres/ck04/ckp00/ckp00_{temperature}.fits", 1)
        assert table is not None
        stars[name] = (
            np.asarray(table["WAVELENGTH"], float),
            np.asarray(table[gravity], float),
        )
    return stars


def between_knots(curve, band, wavelength, flux, n: int) -> float:
    """Largest error, mag, of the polynomial against integration, a_v from 0 to 5."""
    ratio = curve(band.grid(wavelength))

    def log_flux(a_v: np.ndarray) -> np.ndarray:
        screens = 10 ** (-0.4 * a_v[:, None] * ratio)
        return np.log(band.weights(wavelength, screens) @ flux)

    a_v, knots = np.linspace(0, 5, 41), dust.chebyshev_knots(n, 5.0)
    error = dust.attenuate(log_flux(knots), knots, a_v) - log_flux(a_v)
    return float(np.abs(error).max() * 2.5 / np.log(10))


@pytest.mark.shared
@pytest.mark.parametrize("name", dust.CURVES)
def test_seven_knots_hold_every_star_in_every_band_to_two_millimagnitudes(name: str, shared):
    curve = dust.extinction_curve(name)
    bands = filters.default_filters(shared / "filters")
    assert len(bands) == 9
    for star, (wavelength, flux) in spectra(shared).items():
        for band in bands:
            error = between_knots(curve, band, wavelength, flux, len(dust.AV_KNOTS))
            assert error < 0.002, (star, band.name, error)


@pytest.mark.shared
def test_five_knots_are_too_few_for_cool_stars_in_the_ultraviolet(shared):
    wavelength, flux = spectra(shared)["K giant"]
    band = filters.default_filters(shared / "filters")[0]
    assert between_knots(dust.extinction_curve("F99"), band, wavelength, flux, 5) > 0.005


@pytest.mark.parametrize("temperature", [5000.0, 10000.0, 50000.0])
def test_black_bodies_behind_dust(temperature: float):
    wavelength = np.arange(1500.0, 12000.0, 5.0)
    flux = wavelength**-5 / np.expm1(1.4388e8 / wavelength / temperature)
    curve = dust.extinction_curve("F99")
    for low, high in [(2300.0, 3100.0), (4800.0, 7000.0)]:
        band = filters.Filter(
            "box", np.array([low - 1, low, high, high + 1]), np.eye(4)[1:3].sum(0)
        )
        assert between_knots(curve, band, wavelength, flux, 6) < 0.002


def test_knots_reach_from_nothing_to_the_end():
    knots = dust.chebyshev_knots(5, 8.0)
    np.testing.assert_allclose(knots, 4 * (1 - np.sqrt([1, 0.5, 0, 0.5, 1]) * [1, 1, 1, -1, -1]))
    assert dust.AV_KNOTS[0] == 0.0 and dust.AV_KNOTS[-1] == 5.0
    with pytest.raises(ValueError, match="two knots or more"):
        dust.chebyshev_knots(1, 5.0)


def test_extinctions_add_where_the_light_is_of_one_wavelength():
    # ln(flux) is then linear in a_v, which any number of knots holds exactly.
    knots = dust.chebyshev_knots(4, 5.0)
    a_v = np.linspace(0, 2.5, 7)
    log_flux = np.broadcast_to(1.3 - 0.9 * knots, (7, 4))
    twice = dust.attenuate(log_flux, knots, 2 * a_v) - dust.attenuate(log_flux, knots, a_v)
    np.testing.assert_allclose(twice, -0.9 * a_v, atol=1e-13)


def test_the_slope_is_right_everywhere_and_at_the_knots():
    knots = dust.AV_KNOTS
    coefficients = np.array([0.3, -1.2, 0.05, 0.01, -0.002, 0.0001])
    log_flux = jnp.asarray(np.polynomial.polynomial.polyval(knots, coefficients))
    slope = np.polynomial.polynomial.polyder(coefficients)
    for a_v in [*knots, 0.123, 4.9]:
        at = jnp.asarray(a_v)
        grad = jax.jit(jax.grad(lambda a: dust.attenuate(log_flux, knots, a)))(at)
        assert float(grad) == pytest.approx(np.polynomial.polynomial.polyval(a_v, slope), abs=1e-10)
        value = dust.attenuate(log_flux, knots, at)
        assert float(value) == pytest.approx(
            np.polynomial.polynomial.polyval(a_v, coefficients), abs=1e-12
        )


def test_numpy_and_jax_agree_in_both_precisions():
    rng = np.random.default_rng(5)
    log_flux = rng.normal(size=(3, 4, 7))
    a_v = rng.uniform(0, 5, size=(3, 4))
    expected = dust.attenuate(log_flux, dust.AV_KNOTS, a_v)
    assert expected.shape == (3, 4)
    for dtype, atol in [(np.float64, 1e-12), (np.float32, 2e-5)]:
        found = dust.attenuate(jnp.asarray(log_flux, dtype), dust.AV_KNOTS, jnp.asarray(a_v, dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found, expected, atol=atol)


@pytest.mark.parametrize("bad", [-0.01, 5.01, np.nan])
def test_extinctions_outside_the_table_are_refused(bad: float):
    with pytest.raises(ValueError, match=r"1 values of a_v are outside 0 to 5 mag"):
        dust.attenuate(np.zeros((2, 7)), dust.AV_KNOTS, np.array([1.0, bad]))
    assert dust.attenuate(np.zeros(7), dust.AV_KNOTS, 5.0) == 0.0
