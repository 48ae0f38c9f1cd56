"""Libraries of atmospheres: integrals, gaps, interpolation, and which serves where."""

import dataclasses
import pathlib

import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import quad

from starcensus.simulate.stars import (
    Atmospheres,
    Kind,
    SpectralLibrary,
    black_bodies,
    read_atmospheres,
    read_ck04,
    read_wmbasic,
)
from starcensus.simulate.stars.atmospheres._base import (
    HC_OVER_K,
    SIGMA_SB,
    build_library,
    planck,
)

WAVE = np.geomspace(20.0, 3e5, 1500)


def toy(name: str, teff: list[float], log_g: list[float], **options) -> SpectralLibrary:
    """Planck spectra that brighten towards the red with gravity, to tell the nodes apart."""
    keys = [(float(np.log10(t)), g) for t in teff for g in log_g]
    spectra = {}
    for t, g in keys:
        shape = planck(WAVE, np.array([10**t]))[0] * (1 + 0.1 * g * WAVE / 1e4)
        spectra[t, g] = shape / np.trapezoid(shape, WAVE)
    return build_library(name, (), WAVE, spectra, dict.fromkeys(keys, 1.0), **options)


def test_planck_obeys_stefan_and_boltzmann():
    wave = np.geomspace(10, 1e8, 20001)
    for teff in (2000.0, 5777.0, 60_000.0):
        total = np.trapezoid(planck(wave, np.array([teff]))[0], wave)
        assert total == pytest.approx(SIGMA_SB * teff**4, rel=1e-5)


def test_black_bodies_ionise_as_the_integral_says():
    library = black_bodies()
    for teff in (20_000.0, 45_000.0, 100_000.0):
        row = int(np.argmin(np.abs(library.log_teff - np.log10(teff))))
        x = HC_OVER_K / 911.75 / 10 ** library.log_teff[row]
        photons = quad(lambda u: u**2 / np.expm1(u), x, x + 200)[0]
        energy = np.pi**4 / 15 * 1.380649e-16 * 10 ** library.log_teff[row]
        assert library.ionising[row] == pytest.approx(photons / energy, rel=2e-3)


def test_interpolation_is_exact_at_nodes_linear_between_and_held_beyond():
    library = toy("toy", [5000, 10_000], [3.0, 4.0])
    low, high = library.log_teff
    at_node = library.spectrum(np.array([high]), np.array([3.0]))[0]
    np.testing.assert_allclose(at_node, library.spectra[library.model[1, 0]])
    middle = library.spectrum(np.array([(low + high) / 2]), np.array([3.25]))[0]
    corners = library.spectra[library.model]
    expected = 0.375 * corners[:, 0].sum(0) + 0.125 * corners[:, 1].sum(0)
    np.testing.assert_allclose(middle, expected)
    beyond = library.spectrum(np.array([5.5, 3.0]), np.array([9.0, -2.0]))
    np.testing.assert_allclose(beyond[0], corners[1, 1])
    np.testing.assert_allclose(beyond[1], corners[0, 0])
    _, weights = library.nodes(np.linspace(3, 5, 50), np.linspace(2, 5, 50))
    np.testing.assert_allclose(weights.sum(axis=1), 1)


def test_a_missing_model_is_that_of_the_nearest_gravity():
    full = toy("full", [5000, 10_000], [2.0, 3.0, 4.0])
    spectra = {
        (float(t), float(g)): full.spectra[full.model[i, j]]
        for i, t in enumerate(full.log_teff)
        for j, g in enumerate(full.log_g)
        if not (i == 1 and g == 2.0)
    }
    holes = build_library("holes", (), WAVE, spectra, dict.fromkeys(spectra, 1.0))
    assert not holes.own[1, 0] and holes.own.sum() == 5
    np.testing.assert_allclose(holes.spectra[holes.model[1, 0]], full.spectra[full.model[1, 1]])


def test_models_beyond_the_ends_follow_the_ratio_of_planck_functions():
    library = toy("toy", [4000, 5000], [0.0], cool=np.array([2000.0]), hot=np.array([9000.0]))
    wave = library.wavelength
    for teff, row in ((2000.0, 0), (9000.0, 3)):
        expected = planck(wave, np.array([teff]))[0]
        expected /= np.trapezoid(expected, wave)
        assert library.log_teff[row] == pytest.approx(np.log10(teff))
        np.testing.assert_allclose(library.spectra[library.model[row, 0]], expected, rtol=1e-9)
        assert np.isnan(library.integral[library.model[row, 0]]) and not library.own[row, 0]


def test_fluxes_in_the_wrong_unit_are_refused(tmp_path: pathlib.Path):
    folder = tmp_path / "ckp00"
    folder.mkdir()
    wave = np.geomspace(100, 1e6, 2000)

    def write(teff: float, factor: float) -> None:
        flux = factor * planck(wave, np.array([teff]))[0]
        columns = [
            fits.Column("WAVELENGTH", "E", array=wave),
            fits.Column("g00", "E", array=np.zeros(len(wave))),
            fits.Column("g45", "E", array=flux),
        ]
        table = fits.BinTableHDU.from_columns(columns)
        table.writeto(folder / f"ckp00_{teff:.0f}.fits", overwrite=True)

    write(4000.0, 1.0)
    write(8000.0, 1.0)
    library = read_ck04(tmp_path)
    assert list(library.log_g) == [4.5]
    assert np.nanmax(np.abs(library.integral - 1)) < 0.001
    assert 10 ** library.log_teff[0] == pytest.approx(1500)
    write(8000.0, 1 / np.pi)
    with pytest.raises(ValueError, match=r"ckp00_8000\.fits: g45 .*integrates to 0\.318 of"):
        read_ck04(tmp_path)
    with pytest.raises(FileNotFoundError, match="ckp00"):
        read_ck04(folder)


def test_hot_files_that_are_absent_or_short_are_named(tmp_path: pathlib.Path):
    with pytest.raises(FileNotFoundError, match="WMBASIC_z"):
        read_wmbasic(tmp_path)
    (tmp_path / "WMBASIC_z0.0200.spec").write_text("100 1 1\n200 1 1\n")
    with pytest.raises(FileNotFoundError, match=r"WMBASIC\.teff"):
        read_wmbasic(tmp_path)
    (tmp_path / "WMBASIC.teff").write_text("4.4\n4.5\n")
    with pytest.raises(ValueError, match="has 3 columns; expected a wavelength and 2 temper"):
        read_wmbasic(tmp_path)


@pytest.fixture(scope="module")
def rule() -> Atmospheres:
    return Atmospheres(
        cool=toy("cool", [3500, 50_000], [0.0, 5.0], cool=np.array([1500.0])),
        black_body=black_bodies(),
        hot=toy("hot", [25_000, 50_000], [3.5, 4.5], hot=np.array([100_000.0])),
        wn=toy("wn", [30_000, 120_000], [4.0]),
        wc=toy("wc", [40_000, 140_000], [4.0]),
        post_agb=toy("post", [50_000, 190_000], [6.0]),
    )


CASES = [
    # Teff, log g, kind, library
    (5777, 4.4, Kind.ORDINARY, "cool"),
    (2500, -0.5, Kind.ORDINARY, "cool"),
    (1200, 5.0, Kind.ORDINARY, "black body"),
    (24_900, 4.0, Kind.ORDINARY, "cool"),
    (25_100, 4.0, Kind.ORDINARY, "hot"),
    (30_000, 2.0, Kind.ORDINARY, "cool"),
    (60_000, 4.2, Kind.ORDINARY, "hot"),
    (150_000, 6.5, Kind.ORDINARY, "black body"),
    (26_000, 3.0, Kind.WN, "wn"),
    (90_000, 4.5, Kind.WC, "wc"),
    (120_000, 6.5, Kind.POST_AGB, "post"),
    (30_000, 5.0, Kind.POST_AGB, "hot"),
]


def test_each_star_gets_the_library_of_the_rule(rule: Atmospheres):
    teff, log_g, kind, expected = (np.array(column) for column in zip(*CASES, strict=True))
    names = [library.name for library in rule.libraries]
    found = rule.assign(np.log10(teff.astype(float)), log_g.astype(float), kind)
    assert [names[i] for i in found] == list(expected)
    census = rule.census(np.log10(teff.astype(float)), log_g.astype(float), kind)
    assert census["cool"] == 4 and census["black body"] == 2 and census["wn"] == 1
    assert census["cool, beyond its temperatures"] == 1, "the star of 2,500 K"
    assert census["hot, beyond its temperatures"] == 1, "the star of 60,000 K"


def test_stars_above_a_limit_can_be_black_bodies(rule: Atmospheres):
    limited = dataclasses.replace(rule, hottest=50_000.0)
    found = limited.assign(np.log10([60_000.0]), np.array([4.2]), np.array([0]))
    assert limited.libraries[found[0]].name == "black body"
    with pytest.raises(ValueError, match="must be positive"):
        dataclasses.replace(rule, hot_teff=0.0)


@pytest.mark.shared
def test_the_published_libraries_carry_their_bolometric_flux(shared: pathlib.Path):
    folder = shared / "atmospheres"
    atmospheres = read_atmospheres(folder / "ck04", folder / "hot", z=0.02)
    limits = {"Castelli": 0.0035, "WM-basic": 0.042, "CMFGEN": 0.013, "post-AGB": 0.018}
    for library in atmospheres.libraries:
        worst = np.nanmax(np.abs(library.integral - 1))
        allowed = [limit for name, limit in limits.items() if library.name.startswith(name)]
        assert worst <= (allowed or [1e-5])[0], library.name
    # O5 V: log Q(H) = 49.26 (Martins, Schaerer & Hillier 2005), at 41,540 K, log L = 5.51.
    hot = atmospheres.hot
    assert hot is not None
    models, weights = hot.nodes(np.array([np.log10(41_540)]), np.array([3.92]))
    q_h = 10**5.51 * 3.828e33 * (weights * hot.ionising[models]).sum()
    assert np.log10(q_h) == pytest.approx(49.26, abs=0.1)
