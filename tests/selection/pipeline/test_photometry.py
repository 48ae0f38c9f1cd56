"""Aperture photometry against photutils and against repeated noise."""

import numpy as np
import pytest

from starcensus.selection.pipeline import aperture_photometry
from starcensus.selection.pipeline.photometry import magnitudes
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.psf import optical_psf
from starcensus.simulate.images.render import add_sources
from starcensus.simulate.images.templates import make_template

SHAPE = (70, 110)


def noise(seed: int, level: float = 40.0, t: float = 500.0) -> BandImage:
    rng = np.random.default_rng(seed)
    return BandImage("V", rng.poisson(level, SHAPE).astype(np.float32) / np.float32(t), t, 25.0)


def test_fluxes_and_skies_are_photutils():
    from astropy.stats import SigmaClip
    from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture
    from photutils.aperture import aperture_photometry as theirs

    image = noise(0)
    rng = np.random.default_rng(1)
    x, y = rng.uniform(12, 97, 30), rng.uniform(12, 57, 30)
    ours = aperture_photometry(image, x, y, (1.0, 4.0), (7.0, 9.0))
    at = np.stack([x, y], axis=1)
    sky = ApertureStats(
        image.data,
        CircularAnnulus(at, 7.0, 9.0),
        sigma_clip=SigmaClip(3.0, maxiters=5),
        sum_method="center",
    )
    np.testing.assert_allclose(ours.sky, sky.median, atol=2e-6)
    np.testing.assert_allclose(ours.sky_std, sky.std, rtol=1e-4)
    for column, radius in enumerate((1.0, 4.0)):
        total = theirs(image.data, CircularAperture(at, radius), method="exact")["aperture_sum"]
        expected = np.asarray(total) - np.pi * radius**2 * sky.median
        np.testing.assert_allclose(ours.flux[:, column], expected, atol=1e-4)


def test_errors_of_magnitudes_are_the_change_of_a_magnitude():
    """By differences: a flux 0.1% up and down; no flux has no error."""
    flux, error = np.array([1000.0, 20.0, -1.0]), np.array([1.0, 0.02, 1.0])
    mags, errors = magnitudes(noise(0), flux, error)
    with np.errstate(invalid="ignore"):
        down, up = (noise(0).mag(flux + side * error) for side in (-1, 1))
    np.testing.assert_allclose(errors[:2], (down - up)[:2] / 2, rtol=1e-5)
    assert np.isnan(errors[2]) and np.isnan(mags[2])


def test_errors_are_the_scatter_of_repeated_noise():
    # A source of 2000 electrons on a sky of 40: 800 draws give a scatter to 2.5%; 10% is 4 sigma.
    fluxes, errors = [], []
    at = np.array([55.0]), np.array([35.0])
    for seed in range(800):
        image = noise(seed)
        data = np.array(image.data)
        rng = np.random.default_rng(10_000 + seed)
        data[34:37, 54:57] += (rng.poisson(2000 / 9, (3, 3)) / 500.0).astype(np.float32)
        measured = aperture_photometry(image.with_data(data), *at, (4.0,))
        fluxes.append(measured.flux[0, 0])
        errors.append(measured.error[0, 0])
    assert np.mean(fluxes) * 500 == pytest.approx(2000, abs=4 * np.std(fluxes) * 500 / 800**0.5)
    # Clipping and the median of 48 pixels: the error is of a mean sky, 2% smaller.
    assert np.mean(errors) == pytest.approx(np.std(fluxes), rel=0.1)


def test_rows_and_columns_are_not_exchanged():
    data = np.zeros(SHAPE, np.float32)
    data[20, 90] = 5.0
    image = BandImage("V", data, 1.0, 25.0)
    x, y = np.array([90.0, 20.0]), np.array([20.0, 60.0])
    assert aperture_photometry(image, x, y, (2.0,)).flux[:, 0] == pytest.approx([5.0, 0.0])


def test_apertures_off_the_image_or_on_bad_pixels_have_no_flux():
    bad = np.zeros(SHAPE, bool)
    bad[30, 30] = True
    image = BandImage("V", np.ones(SHAPE), 1.0, 25.0, bad=bad)
    x, y = np.array([2.0, 30.0, 60.0, 108.0]), np.array([35.0, 31.0, 35.0, 35.0])
    flux = aperture_photometry(image, x, y, (4.0,)).flux[:, 0]
    assert np.isnan(flux).tolist() == [True, True, False, True]
    assert flux[2] == pytest.approx(0.0, abs=1e-6)


def test_no_sources_is_no_error():
    none = np.empty(0)
    assert aperture_photometry(noise(0), none, none, (1.0, 3.0)).flux.shape == (0, 2)


def test_an_annulus_has_an_inside_and_an_outside():
    with pytest.raises(ValueError, match="0 < inner < outer"):
        aperture_photometry(noise(0), np.array([9.0]), np.array([9.0]), (1.0,), (8.0, 7.0))


def test_quoted_errors_in_crowded_fields_are_several_times_too_small():
    """The factor of the documents; the errors are IRAF's, which hold no stars."""
    rng, shape = np.random.default_rng(0), (500, 600)
    template = make_template(optical_psf("ACS_F555W", radius_pix=40), None, 1.9)
    n = round(0.03 * shape[0] * shape[1])
    data = np.full(shape, 0.035, np.float32)
    stars = np.minimum(rng.pareto(1.5, n) + 1, 30.0)
    add_sources(data, template, rng.uniform(0, 600, n), rng.uniform(0, 500, n), stars)
    x, y = (a.ravel() for a in np.meshgrid(np.arange(25, 580, 25.0), np.arange(25, 480, 25.0)))
    add_sources(data, template, x, y, np.full(len(x), 80.0))
    observed = (rng.poisson(data * 858.0) + rng.normal(0, 4.4, shape)) / 858
    image = BandImage("ACS_F555W", observed.astype(np.float32), 858.0, 25.73, 3.1, 2)
    measured = aperture_photometry(image, x, y, (4.0,))
    mags, quoted = magnitudes(image, measured.flux[:, 0], measured.error[:, 0])
    scatter = 1.4826 * np.median(np.abs(mags - np.median(mags)))
    assert 3.5 < scatter / np.median(quoted) < 6.5
