"""Concentration indices of PHANGS-HST: definitions, table 1, models, and their errors."""

import numpy as np
import pytest
from scipy import fft, ndimage

from starcensus.selection.pipeline import aperture_photometry
from starcensus.selection.pipeline.phangs import (
    CI_TABLE_1,
    RADII_PIX,
    concentration,
    fiducial_ci,
    in_polygon,
    model_ci,
    multi_scale,
    multi_scale_errors,
    normalised,
)
from starcensus.simulate.clusters.profiles import Moffat
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.psf import PSF, optical_psf, read_psf
from starcensus.simulate.images.render import photon_noise
from starcensus.simulate.images.templates import make_template

V = "WFC3_UVIS_F555W"
CENTRED = ((0.0, 0.0),)


def row(*values: float) -> np.ndarray:
    return np.array([values])


@pytest.mark.parametrize(("share", "mci"), [(1.0, 0.0), (0.5, 0.5), (0.0, 1.0), (2.0, -1.0)])
def test_mci_is_one_less_the_share_of_the_fiducial_ci(share: float, mci: float):
    ci = share * row(*CI_TABLE_1)
    np.testing.assert_allclose(normalised(ci), 1 - share, atol=1e-12)
    np.testing.assert_allclose(multi_scale(ci), mci, atol=1e-12)
    assert sum(CI_TABLE_1[:4]) == pytest.approx(1.667)


def test_mci_knows_neither_the_flux_nor_the_zero_point():
    flux = np.cumsum(np.random.default_rng(0).uniform(1, 2, (5, 7)), axis=1)
    np.testing.assert_allclose(concentration(37 * flux), concentration(flux), atol=1e-12)


def test_a_worked_example():
    ci = row(0.60, 0.35, 0.20, 0.12, 0.12, 0.05)
    expected = row(0.1957, 0.2170, 0.3056, 0.3548, 0.4030, 0.4172)
    np.testing.assert_allclose(normalised(ci), expected, atol=5e-5)
    np.testing.assert_allclose(np.ravel(multi_scale(ci)), [0.2394, 0.3917], atol=5e-5)


def test_a_flux_that_is_not_positive_makes_its_own_mci_nan():
    flux = np.array([[1.0, 2, 3, 4, 5, 6, -1], [0.0, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6, 7]])
    mci_in, mci_out = multi_scale(concentration(flux))
    assert np.isnan(mci_in).tolist() == [False, True, False]
    assert np.isnan(mci_out).tolist() == [True, False, False]


@pytest.mark.parametrize("fiducial", [(0.7, 0.4), (0.7, 0.4, 0.3, 0.2, 0.2, 0.0)])
def test_a_fiducial_has_six_positive_ci(fiducial):
    with pytest.raises(ValueError, match="six positive magnitudes"):
        normalised(row(*CI_TABLE_1), fiducial)


def moffat_psf(fwhm_pix: float, eta: float, half: int = 60, finer: int = 6) -> PSF:
    """A Moffat PSF integrated over a pixel, from sums on a fine grid."""
    width = 4 * finer
    n = 2 * half * 4 + 1
    fine = (np.arange((n + 4) * finer) - ((n + 4) * finer - 1) / 2) / width
    a2 = (fwhm_pix / 2) ** 2 / (2 ** (1 / eta) - 1)
    sums = np.pad(
        ((1 + (fine[:, None] ** 2 + fine**2) / a2) ** -eta).cumsum(0).cumsum(1), ((1, 0), (1, 0))
    )
    i = np.arange(n) * finer + finer // 2
    image = sums[np.ix_(i + width, i + width)] - sums[np.ix_(i, i + width)]
    image += sums[np.ix_(i, i)] - sums[np.ix_(i + width, i)]
    return PSF(V, image / image.sum(), 4, 0.0396)


@pytest.fixture(scope="module")
def toy() -> PSF:
    return moffat_psf(2.0, 2.0)


def direct_ci(shape: tuple[float, float] | None, dx: int = 0, dy: int = 0) -> np.ndarray:
    """CI of a Moffat cluster behind the toy PSF, from sums on a grid of a tenth of a pixel."""
    from photutils.geometry import circular_overlap_grid

    fine, half = 10, 30
    x = np.arange(-half * fine, half * fine + 1) / fine
    image = (1 + (x[:, None] ** 2 + x**2) * (2**0.5 - 1)) ** -2.0
    if shape is not None:
        fwhm, eta = shape
        y = np.arange(-2 * half * fine, 2 * half * fine + 1) / fine
        a2 = (fwhm / 2) ** 2 / (2 ** (1 / eta) - 1)
        # Each point is a mean over 5 x 5 of its surroundings: cores are narrow.
        near = (np.arange(5) - 2) / 5 / fine
        light = np.zeros((len(y), len(y)))
        for e in near:
            for f in near:
                light += (1 + ((y[:, None] + e) ** 2 + (y + f) ** 2) / a2) ** -eta
        n = len(y) + len(x) - 1
        image = fft.irfft2(fft.rfft2(image, (n, n)) * fft.rfft2(light, (n, n)), s=(n, n))
        middle = slice(2 * half * fine, 4 * half * fine + 1)
        image = image[middle, middle]
    box = np.r_[0.5, np.ones(fine - 1), 0.5] / fine
    for axis in (0, 1):
        image = ndimage.convolve1d(image, box, axis=axis, mode="nearest")
    at = half * fine + fine * np.arange(-12, 13)
    pixels = image[np.ix_(at - dy, at - dx)]
    r = np.hypot(np.arange(-12, 13)[:, None] - dy / fine, np.arange(-12, 13) - dx / fine)
    sky = np.median(pixels[(r >= 7) & (r < 8)])
    edges = -12.5 - dx / fine, 12.5 - dx / fine, -12.5 - dy / fine, 12.5 - dy / fine
    flux = [
        (circular_overlap_grid(*edges, 25, 25, radius, 1, 1) * (pixels - sky)).sum()
        for radius in RADII_PIX
    ]
    return 2.5 * np.log10(np.divide(flux[1:], flux[:-1]))


@pytest.mark.parametrize("shape", [None, (2.0, 3.0), (1.0, 0.75), (4.0, 4.0), (7.0, 4.0)])
@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (5, 5)])
def test_model_ci_is_that_of_sums_on_a_fine_grid(toy, shape, dx: int, dy: int):
    profile = None if shape is None else Moffat(*shape, truncation_pc=55.0)
    found = model_ci(toy, profile, offsets_pix=((dx / 10, dy / 10),))
    np.testing.assert_allclose(found, direct_ci(shape, dx, dy), atol=4e-3)


def test_the_fiducial_behind_a_moffat_psf_has_table_1(toy):
    # Means over sub-pixel centres; with exact apertures the middle of a pixel alone is 0.04 off.
    found = np.array(fiducial_ci({V: toy})[V])
    assert np.abs(found - CI_TABLE_1).max() < 0.008
    assert found[:4].sum() == pytest.approx(1.667, abs=0.005)
    centred = model_ci(toy, Moffat(2.0, 3.0), offsets_pix=CENTRED)
    assert np.abs(centred - CI_TABLE_1).max() == pytest.approx(0.039, abs=0.002)


def step_ci(psf_image: np.ndarray, profile: Moffat | None) -> np.ndarray:
    """CI of a centred model as a toy calculation has them, from steps of an eighth of a pixel.

    A pixel is a mean over nine steps, an aperture the steps whose middle is inside.
    """
    finer, reach = 8, 9
    image = ndimage.uniform_filter(psf_image, 9, mode="constant")
    template = make_template(PSF(V, image / image.sum(), finer, 0.0396), profile, 1.0)
    steps = np.zeros((2 * (reach + 1) * finer,) * 2)
    for row in range(finer):
        for column in range(finer):
            stamp = template.stamp(column / finer, row / finer, reach)
            steps[finer - row :: finer, finer - column :: finer][: len(stamp), : len(stamp)] = stamp
    at = (np.arange(len(steps)) - (reach + 1) * finer) / finer
    r = np.hypot(at[:, None], at)
    steps -= np.median(steps[(r >= 7) & (r <= 8)])
    return concentration(np.array([[steps[r <= radius].sum() for radius in RADII_PIX]]))[0]


def square_radii(reach_pix: int = 40) -> np.ndarray:
    at = np.arange(-8 * reach_pix, 8 * reach_pix + 1) / 8
    return at[:, None] ** 2 + at**2


def toy_steps() -> np.ndarray:
    return (1 + square_radii() * (2**0.5 - 1)) ** -2.0


def test_a_centred_fiducial_has_the_ci_of_the_toy_calculation():
    # Unpublished: six numbers, CI(1, 3), and those behind a Gaussian PSF.
    fiducial = Moffat(2.0, 3.0)
    found = step_ci(toy_steps(), fiducial)
    expected = [0.7345, 0.4591, 0.2883, 0.1792, 0.2054, 0.0917]
    np.testing.assert_allclose(found, expected, atol=2e-4)
    assert found[:4].sum() == pytest.approx(1.661, abs=1e-3)
    assert np.abs(found - CI_TABLE_1).max() < 0.013
    found = step_ci(np.exp(-4 * np.log(2) * square_radii() / 2.1**2), fiducial)
    np.testing.assert_allclose(found, [0.711, 0.425, 0.246, 0.137, 0.127, 0.040], atol=1e-3)


def test_the_fiducial_behind_the_optical_psf_has_table_1():
    # The PSF is fitted to STScI's encircled energy, table 1 comes from Anderson's empirical PSFs.
    found = np.array(fiducial_ci({V: optical_psf(V)})[V])
    np.testing.assert_allclose(found, CI_TABLE_1, atol=0.012)


def test_a_gaussian_psf_does_not_have_table_1():
    fine = np.arange(-60 * 4, 60 * 4 + 1) / 4
    image = np.exp(-(fine[:, None] ** 2 + fine**2) * 4 * np.log(2) / 2.1**2)
    image = ndimage.convolve1d(image, np.r_[0.5, 1, 1, 1, 0.5] / 4, axis=0)
    image = ndimage.convolve1d(image, np.r_[0.5, 1, 1, 1, 0.5] / 4, axis=1)
    found = np.array(fiducial_ci({V: PSF(V, image / image.sum(), 4, 0.0396)})[V])
    assert np.abs(found - CI_TABLE_1).max() > 0.03
    assert found[5] < 0.7 * CI_TABLE_1[5]


# (MCI_in, MCI_out) of the toy calculation, of centred sources; means over sub-pixel centres differ
# by up to 0.022 and 0.018.
MODELS = {
    None: (0.306, 0.460),
    (1.0, 4.0): (0.189, 0.361),
    (1.0, 0.75): (-0.047, -0.483),
    (4.0, 4.0): (-0.203, -0.694),
    (4.0, 0.75): (-0.220, -0.994),
    (7.0, 4.0): (-0.318, -1.375),
    (0.5, 4.0): (0.271, 0.437),
}
NOTED_CI = {(0.5, 4.0): 1.22, (7.0, 4.0): 2.18}


@pytest.mark.parametrize("shape", MODELS)
def test_centred_models_lie_where_the_toy_calculation_has_them(shape):
    profile = None if shape is None else Moffat(*shape, truncation_pc=55.0)
    ci = step_ci(toy_steps(), profile)
    # Both are rounded to three digits.
    np.testing.assert_allclose(np.ravel(multi_scale(ci[None])), MODELS[shape], atol=8e-4)
    if shape in NOTED_CI:
        assert ci[:4].sum() == pytest.approx(NOTED_CI[shape], abs=6e-3)


@pytest.fixture(scope="module")
def plane(toy) -> dict:
    found = {}
    for shape in MODELS:
        ci = model_ci(toy, None if shape is None else Moffat(*shape, truncation_pc=55.0))
        found[shape] = (*(float(each[0]) for each in multi_scale(ci[None])), float(ci[:4].sum()))
    return found


@pytest.mark.parametrize("shape", MODELS)
def test_models_lie_where_they_should_in_the_plane(plane, shape):
    mci_in, mci_out, _ = plane[shape]
    assert (mci_in, mci_out) == pytest.approx(MODELS[shape], abs=0.023)
    inside = in_polygon(np.array([mci_in]), np.array([mci_out]))[0]
    assert inside == (shape is not None)


def test_figure_2_is_in_order(plane):
    blue, purple, red, yellow = (plane[s] for s in [(1, 4), (1, 0.75), (4, 4), (4, 0.75)])
    assert blue[0] > 0.1 and blue[1] > 0.3
    assert blue[0] - purple[0] > 0.2 and blue[1] - purple[1] > 0.8
    assert abs(red[0] - yellow[0]) < 0.02 and red[1] - yellow[1] > 0.25
    # CI(1, 3) of observed sources is 1.2 to 2.3; the toy calculation had 1.22 and 2.18.
    assert plane[0.5, 4][2] == pytest.approx(1.22, abs=0.04)
    assert plane[7, 4][2] == pytest.approx(2.18, abs=0.04)


@pytest.mark.parametrize(("dx", "dy"), [(0.0, 0.0), (0.3, 0.4)])
@pytest.mark.parametrize("rate", [2.0, 20.0])
def test_errors_of_mci_are_the_scatter_of_repeated_noise(dx: float, dy: float, rate: float):
    # 3000 draws give a scatter to 1.3%. Errors of the faint source scatter, too: 1.09 was measured.
    psf = optical_psf(V, radius_pix=40)
    stamp = make_template(psf, Moffat(2.0, 3.0), 1.0).stamp(dx, dy, 12)
    n, t = 3000, 1000.0
    light = np.tile(np.maximum(stamp, 0) * np.float32(rate), (n, 1)) + np.float32(0.1)
    noisy = photon_noise(light, t, np.random.default_rng(2))
    image = BandImage(V, noisy, t, 25.0)
    x, y = np.full(n, 12.0 + dx), 12.0 + dy + 25 * np.arange(n)
    measured = aperture_photometry(image, x, y, RADII_PIX)
    mci = multi_scale(concentration(measured.flux))
    errors = multi_scale_errors(image, x, y, measured, CI_TABLE_1)
    for values, error in zip(mci, errors, strict=True):
        assert np.std(values) / np.median(error) == pytest.approx(1.0, abs=0.1)


def test_errors_of_mci_follow_the_correlation_of_the_noise():
    t = 1000.0
    data = np.random.default_rng(0).normal(100.0, 1.0, (40, 40))
    data[17:24, 17:24] += 10.0
    image = BandImage(V, data.astype(np.float32), t, 25.0)
    at = np.array([20.2]), np.array([19.7])
    measured = aperture_photometry(image, *at, RADII_PIX)
    alone, four = (
        multi_scale_errors(image, *at, measured, CI_TABLE_1, correlation)
        for correlation in (1.0, 4.0)
    )
    # The source's own photons, 0.01 of the sky's variance, are not correlated.
    np.testing.assert_allclose(np.divide(four, alone).ravel(), 2.0, rtol=0.01)


@pytest.mark.shared
@pytest.mark.parametrize("plane", [0, 12, 54])
def test_an_empirical_psf_gives_nearly_the_optical_models_fiducial(shared, plane: int):
    # Of F814W, as there is none of F555W; it ends at 12.5 pixels and so has narrower wings.
    band = "WFC3_UVIS_F814W"
    path = shared / "psf" / "wfc3_uvis" / "emp_psf_f814w.fits"
    empirical = read_psf(path, band, 4, 0.0396, plane=plane)
    found = fiducial_ci({band: empirical})[band]
    np.testing.assert_allclose(found, fiducial_ci({band: optical_psf(band)})[band], atol=0.03)
