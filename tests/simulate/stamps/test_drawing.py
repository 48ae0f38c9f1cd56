"""Drawing: what is drawn at once is what is drawn star by star."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.interpolate import BSpline
from scipy.special import j0
from tests.simulate.stamps.toys import PSFS, gaussian_psf

from starcensus.simulate import EFF, PSF, add_sources, make_template
from starcensus.simulate.stamps import (
    StampRenderer,
    StampSettings,
    draw_mocks,
    draw_places,
    drawing,
    stamp_psfs,
)
from starcensus.simulate.stamps.drawing import DEGREES, _eff_transform, _spline

SIZE = 24
TOY = StampRenderer(tuple(PSFS.values()), SIZE)


def some_stars(n: int, spread: float = 5.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n)
    x, y = (SIZE - 1) / 2 + spread * rng.standard_normal((2, n))
    return x, y, rng.random((n, 3))


def gaussians(x: np.ndarray, y: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """The toy PSFs' own formula in each pixel, star by star."""
    pixel = np.arange(SIZE)
    out = np.zeros((3, SIZE, SIZE))
    for band, sigma in enumerate((1.0, 0.9, 1.1)):
        across = np.exp(-0.5 * ((pixel - x[:, None]) / sigma) ** 2)
        along = np.exp(-0.5 * ((pixel - y[:, None]) / sigma) ** 2)
        out[band] = np.einsum("s,sr,sc->rc", rate[:, band], along, across)
        out[band] /= 2 * np.pi * sigma**2
    return out


@pytest.mark.parametrize("degree", [1, 3, 7])
def test_splines_are_those_of_scipy(degree: int):
    t = np.linspace(0.0, 0.999, 11)
    spline = BSpline.basis_element(np.arange(degree + 2) - (degree + 1) / 2, extrapolate=False)
    for node, values in zip(
        range(-(degree // 2), degree // 2 + 2), _spline(t, degree), strict=True
    ):
        np.testing.assert_allclose(values, np.nan_to_num(spline(t - node)), atol=1e-14)
    np.testing.assert_allclose(np.sum(_spline(t, degree), axis=0), 1.0, rtol=1e-13)


# Of the peak of a Gaussian of 0.9 pixels, in the worst pixel.
@pytest.mark.parametrize(("degree", "error"), [(1, 0.03), (3, 6e-4), (7, 2e-5)])
def test_stars_are_where_they_are_and_as_bright(degree: int, error: float):
    x, y, rate = some_stars(30)
    drawn = TOY.image(TOY.stars(x, y, rate, degree))
    truth = gaussians(x, y, rate)
    assert drawn.dtype == np.float32 and drawn.shape == (3, SIZE, SIZE) and drawn.min() >= 0
    np.testing.assert_allclose(drawn, truth, atol=error * 30**0.5 * 0.2)
    one = gaussians(x[:1], y[:1], rate[:1])
    alone = TOY.image(TOY.stars(x[:1], y[:1], rate[:1], degree))
    np.testing.assert_allclose(alone, one, atol=error * one.max())


def test_light_is_not_lost():
    x, y, rate = some_stars(50, spread=1.0)
    drawn = TOY.image(TOY.stars(x, y, rate, 3)).sum(axis=(1, 2))
    np.testing.assert_allclose(drawn, rate.sum(0), rtol=1e-4)


def test_stars_beyond_the_border_give_their_wings_and_nothing_from_the_other_side():
    x = np.array([-1.5, SIZE + 1.2, 5.0, 11.0])
    y = np.array([3.0, 9.0, -2.0, SIZE + 11.2])
    rate = np.ones((4, 3))
    assert TOY.reaches(x, y).all()
    drawn = TOY.image(TOY.stars(x, y, rate, 7))
    np.testing.assert_allclose(drawn, gaussians(x, y, rate), atol=1e-5)
    # Up to the very edge of what is followed.
    edge = np.array([-12.49, SIZE + 11.49])
    TOY.image(TOY.stars(edge, edge[::-1].copy(), rate[:2], 7))
    far = np.array([-12.6, SIZE + 11.6, 1e9, np.inf])
    with pytest.raises(ValueError, match="4 of 4 stars lie beyond 12 pixels"):
        TOY.stars(far, y, rate, 7)
    with pytest.raises(ValueError, match="degree is 2"):
        TOY.stars(x, y, rate, 2)
    assert not TOY.reaches(far, np.zeros(4)).any() and not TOY.reaches(np.zeros(4), far).any()


def test_stars_of_all_brightnesses_are_drawn_once():
    x, y, rate = some_stars(400)
    electrons = np.sort(10 ** np.random.default_rng(1).uniform(-2, 4, 400))[::-1]
    rate = rate * electrons[:, None]
    x[7], y[200] = 1e12, -np.inf
    drawn = TOY.image(*draw_places(TOY, x, y, rate, electrons))
    near = TOY.reaches(x, y)
    truth = gaussians(x[near], y[near], rate[near])
    np.testing.assert_allclose(drawn, truth, atol=2e-3 * electrons[0] * 0.2)
    # The many faint ones as well.
    faint = electrons < 1.0
    some = draw_places(TOY, x[faint], y[faint], rate[faint], electrons[faint])
    truth = gaussians(x[near & faint], y[near & faint], rate[near & faint])
    np.testing.assert_allclose(TOY.image(*some), truth, atol=0.03 * truth.max())
    assert draw_places(TOY, np.array([1e9]), np.zeros(1), np.ones((1, 3)), np.ones(1)) == []
    with pytest.raises(ValueError, match="the brightest first"):
        draw_places(TOY, x, y, rate, electrons[::-1])


@pytest.mark.parametrize("gamma", [2.3, 3.0, 4.6, 8.0])
def test_the_transform_of_a_profile(gamma: float):
    """Against its Hankel integral; the whole light is 1."""
    a = 1.7
    profile = EFF(a, gamma)
    f = np.array([0.0, 0.003, 0.02, 0.1, 0.3, 0.9])

    def hankel(k: float) -> float:
        # In shells of equal light, which are finite whatever the slope.
        shells = (np.arange(400_000) + 0.5) / 400_000
        return float(j0(2 * np.pi * k * profile.radius_enclosing(shells)).mean())

    expected = [hankel(k) for k in f]
    np.testing.assert_allclose(_eff_transform(f, a, gamma), expected, atol=2e-3)


def test_smooth_light_is_the_mean_of_many_stars():
    profile, rate = EFF(1.5, 3.5), np.array([5.0, 3.0, 2.0])
    places = profile.sample(np.random.default_rng(4), 200_000) + np.array([10.3, 13.1])
    x, y = places.T
    near = TOY.reaches(x, y)
    stars = TOY.stars(x[near], y[near], np.tile(rate / len(x), (near.sum(), 1)), 3)
    drawn = TOY.image(TOY.smooth(1.5, 3.5, 10.3, 13.1, rate))
    # Each pixel has the light of some thousand stars, within five standard deviations.
    truth = TOY.image(stars)
    np.testing.assert_allclose(drawn, truth, atol=5 * (truth.max() * 0.2 * 5.0 / len(x)) ** 0.5)
    assert drawn.sum(axis=(1, 2)) == pytest.approx(truth.sum(axis=(1, 2)), rel=2e-3)
    assert math.isclose(
        quad(lambda r: 2 * math.pi * r * profile.surface_density(r), 0, 1e3)[0], 1, rel_tol=1e-3
    )


def test_images_of_parts_add_up():
    x, y, rate = some_stars(60)
    parts = [TOY.stars(x[:20], y[:20], rate[:20], 7), TOY.stars(x[20:], y[20:], rate[20:], 3)]
    each = [TOY.image(part) for part in parts]
    np.testing.assert_allclose(TOY.image(*parts), each[0] + each[1], atol=2e-6)


@pytest.fixture(scope="module", name="embedded")
def _embedded() -> tuple[StampSettings, dict[str, PSF]]:
    pytest.importorskip("galsim")
    settings = StampSettings(log_mass=(3.5, 4.5), psf_radius_pix=48)
    return settings, stamp_psfs(settings)


def test_the_embedded_psfs_are_drawn_as_the_renderer_of_single_sources_does(embedded):
    """`add_sources`, whose phases are within 0.2% of the peak of GalSim's drawing."""
    settings, psfs = embedded
    renderer = StampRenderer(tuple(psfs.values()), 64)
    rng = np.random.default_rng(6)
    x, y = 31.5 + 8 * rng.standard_normal((2, 12))
    rate = rng.random((12, 3))
    drawn = renderer.image(renderer.stars(x, y, rate, 7))
    for band, psf in enumerate(psfs.values()):
        expected = np.zeros((64, 64), np.float32)
        add_sources(expected, make_template(psf, None, settings.pc_per_pixel), x, y, rate[:, band])
        assert np.abs(drawn[band] - expected).max() < 0.004 * expected.max()


def test_stamps_are_what_galsim_draws_star_by_star(embedded):
    galsim = pytest.importorskip("galsim")
    _, psfs = embedded
    psf = psfs["WFC3_UVIS_F814W"]
    renderer = StampRenderer((psf,), 32)
    x, y, rate = (
        np.array([10.3, 20.8, -3.2]),
        np.array([12.9, 7.6, 16.0]),
        np.array([3.0, 1.0, 2.0]),
    )
    drawn = renderer.image(renderer.stars(x, y, rate[:, None], 7))[0]
    image = galsim.Image(np.ascontiguousarray(psf.image), scale=1 / psf.oversampling)
    point = galsim.InterpolatedImage(image, x_interpolant="lanczos15", normalization="flux")
    expected = galsim.Image(32, 32, scale=1.0, dtype=float)
    for at, col, row in zip(rate, x, y, strict=True):
        star = point.withFlux(at).shift(col - 15.5, row - 15.5)
        # The PSF is integrated over the pixel already.
        star.drawImage(image=expected, method="no_pixel", add_to_image=True)
    assert np.abs(drawn - expected.array).max() < 1e-3 * drawn.max()


@pytest.mark.parametrize(
    "change",
    [
        {},
        # Where most of the light is that of faint stars, in the smallest and in a large cluster.
        {"eff_a_arcsec": (0.0405, 0.0405), "eff_gamma": (3.99, 3.99), "a_v": (3.0, 3.0)},
        {"eff_a_arcsec": (0.6, 0.6), "eff_gamma": (6.0, 6.0)},
    ],
)
def test_a_fast_drawing_is_within_a_hundredth_of_the_noise_of_star_by_star(
    embedded, monkeypatch, change
):
    """The same stars, all drawn with the spline of degree 7, whose own error is far less.

    The noise is that of the cluster's photons and the sky's, in the worst pixel of the worst mock.
    """
    settings, psfs = embedded
    n = 6
    if change:
        old = {"log_age": (10.1, 10.1), "log_mass": (5.0, 5.0), "faintest_mags": None}
        settings, n = dataclasses.replace(settings, **old, **change), 1
    fast = draw_mocks(settings, psfs, 3, 0, n)
    monkeypatch.setattr(drawing, "DEGREES", ((7, 0.0),))
    monkeypatch.setattr(drawing, "SMOOTH_ELECTRONS", 0.0)
    slow = draw_mocks(settings, psfs, 3, 0, n)
    sky = np.array([exposure.sky for exposure in settings.exposures])[:, None, None]
    noise = np.sqrt((slow["images"] + sky) / settings.exposure_s[:, None, None])
    off = np.abs(fast["images"] - slow["images"]) / noise
    assert off.max() < 0.01 and np.sqrt((off**2).mean((2, 3))).max() < 0.002
    assert off.max() > 1e-5  # they are two drawings
    for name in ("mags", "seed", "r_h_pc", "n_stars"):
        np.testing.assert_array_equal(fast[name], slow[name])
    np.testing.assert_allclose(fast["half_light_arcsec"], slow["half_light_arcsec"], rtol=0.01)
    np.testing.assert_allclose(fast["observed_arcsec"], slow["observed_arcsec"], rtol=1e-3)


def test_a_star_at_the_limit_of_a_degree_is_drawn_within_a_hundredth_of_its_noise(embedded):
    """The photon noise of the star and of the darkest sky, at the worst places between nodes."""
    settings, psfs = embedded
    renderer = StampRenderer(tuple(psfs.values()), 32)
    limits = [least for _, least in DEGREES[:-1]]
    sky = np.array([each.sky for each in settings.exposures]) * settings.exposure_s
    for (degree, _), most in zip(DEGREES[1:], limits, strict=True):
        for at in (0.0, 0.125, 0.25, 0.375):
            x, y, rate = np.array([15 + at]), np.array([15.25]), np.full((1, 3), most)
            exact = renderer.image(renderer.stars(x, y, rate, 7)).astype(float)
            drawn = renderer.image(renderer.stars(x, y, rate, degree))
            noise = np.sqrt(exact + sky[:, None, None])
            assert (np.abs(drawn - exact) / noise).max() < 0.01


def test_degrees_fall_with_brightness():
    assert [degree for degree, _ in DEGREES] == sorted((d for d, _ in DEGREES), reverse=True)
    assert [least for _, least in DEGREES] == sorted((e for _, e in DEGREES), reverse=True)
    assert DEGREES[-1][1] == 0.0 <= drawing.SMOOTH_ELECTRONS < DEGREES[-2][1]


def test_a_renderer_takes_psfs_of_different_size():
    small = gaussian_psf("blue", 1.0, radius_pix=8)
    both = StampRenderer((PSFS["blue"], dataclasses.replace(small, band="green")), SIZE)
    assert both.margin_pix == 12
    x, y, rate = np.array([11.2]), np.array([9.7]), np.ones((1, 2))
    first, second = both.image(both.stars(x, y, rate, 7))
    np.testing.assert_allclose(first, second, atol=1e-5)
    with pytest.raises(ValueError, match="got none"):
        StampRenderer((), SIZE)
