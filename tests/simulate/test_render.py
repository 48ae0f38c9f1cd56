"""Point-spread functions, templates and photon noise against independent truths."""

import numpy as np
import pytest

from starcensus.simulate.image import BandImage
from starcensus.simulate.profiles import EFF
from starcensus.simulate.psf import PSF, optical_psf
from starcensus.simulate.render import add_sources, add_stars, make_template, photon_noise


@pytest.fixture(scope="module")
def psf() -> PSF:
    return optical_psf("ACS_F555W", radius_pix=60)


def test_templates_are_galsims_own_drawing(psf: PSF):
    galsim = pytest.importorskip("galsim")
    point = galsim.InterpolatedImage(galsim.Image(psf.image, scale=1 / psf.oversampling), flux=1.0)
    profile = EFF.from_half_light(3.0, gamma=3.0, truncation_pc=100.0)
    cluster = galsim.Moffat(beta=1.5, half_light_radius=3.0 / 1.9, trunc=100.0 / 1.9)
    for template, drawn in [
        (make_template(psf, None, 1.9), point),
        (make_template(psf, profile, 1.9), galsim.Convolve(point, cluster)),
    ]:
        for dx, dy in [(0.0, 0.0), (0.5, 0.5), (0.06, 0.31), (0.97, 0.44)]:
            image = drawn.drawImage(nx=49, ny=49, scale=1, method="no_pixel", offset=(dx, dy))
            worst = np.abs(template.stamp(dx, dy, 24) - image.array).max()
            assert worst < 0.005 * image.array.max()


def test_stars_at_once_are_stars_one_by_one(psf: PSF):
    rng = np.random.default_rng(0)
    x, y, rate = rng.uniform(0, 89, 40), rng.uniform(0, 59, 40), rng.uniform(1, 9, 40)
    one, all_ = np.zeros((60, 90), np.float32), np.zeros((60, 90), np.float32)
    add_sources(one, make_template(psf, None, 1.9), x, y, rate)
    add_stars(all_, psf, x, y, rate)
    assert np.abs(one - all_).max() < 0.01 * one.max()


def test_photons_of_a_cluster_scatter_as_poisson(psf: PSF):
    # V = 22 in NGC 628-C: 400 draws give the standard deviation to 3.5%, so 12% is 3.4 sigma.
    image = BandImage("ACS_F555W", np.zeros((99, 121)), 858.0, 25.731)
    electrons = float(image.electrons(np.array([22.0]))[0])
    expected = np.zeros((99, 121), np.float32)
    template = make_template(psf, None, 1.9)
    at = np.array([60.0]), np.array([49.0])
    add_sources(expected, template, *at, np.array([electrons / 858.0]))
    total = float(expected.sum(dtype=float)) * 858.0
    rng = np.random.default_rng(1)
    drawn = [photon_noise(expected, 858.0, rng).sum(dtype=float) * 858.0 for _ in range(400)]
    assert total == pytest.approx(electrons, rel=0.03)
    assert np.mean(drawn) == pytest.approx(total, rel=4 / np.sqrt(total * 400))
    assert np.std(drawn) == pytest.approx(np.sqrt(total), rel=0.12)
