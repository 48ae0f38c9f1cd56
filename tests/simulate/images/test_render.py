"""Point-spread functions, templates and photon noise against independent truths."""

import dataclasses
import pickle

import numpy as np
import pytest

from starcensus.simulate.clusters.profiles import EFF, King, Moffat, Profile
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.galaxy import NGC628C, Exposure
from starcensus.simulate.images.psf import PSF, optical_psf
from starcensus.simulate.images.render import add_sources, add_stars, convolve, photon_noise
from starcensus.simulate.images.templates import ProfileSettings, Templates, make_template


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


def test_extended_light_is_convolved_as_galsim_does_it(psf: PSF):
    """A disc off the middle of an image that is not square, some of it beyond the border."""
    galsim = pytest.importorskip("galsim")
    rows, cols, x0, y0 = 90, 140, 100.3, 8.6
    y, x = np.mgrid[:rows, :cols]
    disc = np.exp(-(((x - x0) / 5) ** 2 + ((y - y0) / 3) ** 2) / 2) / (2 * np.pi * 15)
    point = galsim.InterpolatedImage(galsim.Image(psf.image, scale=1 / psf.oversampling), flux=1.0)
    round_one = galsim.Gaussian(sigma=15**0.5).shear(q=0.6, beta=0 * galsim.degrees)
    offset = (x0 - (cols - 1) / 2, y0 - (rows - 1) / 2)
    drawn = galsim.Convolve(point, round_one).drawImage(
        nx=cols, ny=rows, scale=1, method="no_pixel", offset=offset
    )
    seen = convolve(disc, psf)
    # What lies beyond the border is dark here, and GalSim's is not: 8 pixels of the PSF's core.
    np.testing.assert_allclose(seen[8:], drawn.array[8:], atol=0.002 * drawn.array.max())
    assert np.abs(disc - seen).max() > 0.05 * drawn.array.max()


@pytest.mark.parametrize("turn", [30.0, 110.0])
@pytest.mark.parametrize("kind", ["eff", "moffat"])
def test_ellipses_and_wings_are_galsims(psf: PSF, kind: str, turn: float):
    galsim = pytest.importorskip("galsim")
    # GalSim truncates a circle and shears it, keeping its area, as our circularised radii do.
    scale, ratio, end = 1.9, 0.5, 60.0
    profile: Profile
    if kind == "eff":
        profile = EFF.from_half_light(6.0, 3.0, end, ratio, turn)
        round_one = galsim.Moffat(beta=1.5, half_light_radius=6.0 / scale, trunc=end / scale)
    else:
        profile = Moffat(6.0, 2.5, end, ratio, turn)
        round_one = galsim.Moffat(beta=2.5, fwhm=6.0 / scale, trunc=end / scale)
    point = galsim.InterpolatedImage(galsim.Image(psf.image, scale=1 / psf.oversampling), flux=1.0)
    sheared = round_one.shear(q=ratio, beta=turn * galsim.degrees)
    template = make_template(psf, profile, scale)
    side = 2 * template.radius + 1
    for dx, dy in [(0.0, 0.0), (0.06, 0.31)]:
        drawn = galsim.Convolve(point, sheared).drawImage(
            nx=side, ny=side, scale=1, method="no_pixel", offset=(dx, dy)
        )
        stamp = template.stamp(dx, dy, template.radius)
        assert np.abs(stamp - drawn.array).max() < 0.005 * drawn.array.max()
        # The wings, too faint for a share of the peak: the light in rings, within 2%.
        step = np.arange(side) - template.radius
        r = np.hypot(step[:, None], step)
        for low, high in [(8, 16), (16, 24), (25, 34), (34, 45)]:
            ring = (r >= low) & (r < high)
            assert stamp[ring].sum() == pytest.approx(drawn.array[ring].sum(), rel=0.02)


def test_stars_at_once_are_stars_one_by_one(psf: PSF):
    rng = np.random.default_rng(0)
    x, y, rate = rng.uniform(0, 89, 40), rng.uniform(0, 59, 40), rng.uniform(1, 9, 40)
    one, all_ = np.zeros((60, 90), np.float32), np.zeros((60, 90), np.float32)
    add_sources(one, make_template(psf, None, 1.9), x, y, rate)
    add_stars(all_, psf, x, y, rate)
    assert np.abs(one - all_).max() < 0.01 * one.max()


@pytest.mark.parametrize("exposure", NGC628C, ids=lambda e: e.band)
def test_photons_of_a_cluster_scatter_as_poisson(exposure: Exposure, psf: PSF):
    # V = 22: 4000 draws give the standard deviation to 1.1%; 5% is 4.5 sigma.
    image = BandImage(exposure.band, np.zeros((51, 61)), exposure.exposure_s, exposure.zero_point)
    t = exposure.exposure_s
    electrons = float(image.electrons(np.array([22.0]))[0])
    expected = np.zeros((51, 61), np.float32)
    at = np.array([30.0]), np.array([25.0])
    add_sources(expected, make_template(psf, None, 1.9), *at, np.array([electrons / t]))
    total = float(expected.sum(dtype=float)) * t
    assert total == pytest.approx(electrons, rel=0.07)
    n = 4000

    def scatter(seconds: float) -> tuple[float, float]:
        rng = np.random.default_rng(1)
        sums = [photon_noise(expected, seconds, rng).sum(dtype=float) * t for _ in range(n)]
        return float(np.mean(sums)), float(np.std(sums))

    mean, std = scatter(t)
    assert mean == pytest.approx(total, abs=5 * np.sqrt(total / n))
    assert std == pytest.approx(np.sqrt(total), rel=0.05)
    # Photons counted by a zero point that is not the exposure's are told apart.
    assert scatter(t / 1000)[1] != pytest.approx(np.sqrt(total), rel=0.05)


def test_sources_without_a_number_are_refused(psf: PSF):
    expected, at = np.zeros((9, 9), np.float32), np.array([4.0])
    with pytest.raises(ValueError, match="rate of source 0 is nan; expected a number >= 0"):
        add_sources(expected, make_template(psf, None, 1.9), at, at, np.array([np.nan]))


def test_radii_are_rounded_to_the_bank_and_whole_parsecs_kept(psf: PSF):
    templates = Templates({psf.band: psf}, 1.9)
    assert templates.radius(3.0) == 3.0 and templates.radius(0.0) == 0
    assert (
        templates.radius(3.33) == pytest.approx(3.33, rel=0.024) and templates.radius(3.33) != 3.33
    )
    assert templates.profile_of(psf.band, 3.0).half_light_radius == pytest.approx(3.0)
    with pytest.raises(ValueError, match="no PSF of ACS_F814W"):
        templates.get("ACS_F814W", 3.0)
    other = Templates({psf.band: optical_psf("ACS_F814W", radius_pix=60)}, 1.9)
    assert templates.describe() != other.describe()


def test_a_bank_has_kings_and_ellipses(psf: PSF):
    king = Templates({psf.band: psf}, 1.9, ProfileSettings("king", concentration=12.0))
    wanted = make_template(psf, King.from_half_light(4.0, 12.0), 1.9)
    np.testing.assert_array_equal(king.get(psf.band, 4.0).core, wanted.core)
    assert king.profile_of(psf.band, 4.0).half_light_radius == pytest.approx(4.0)
    flat = Templates({psf.band: psf}, 1.9, ProfileSettings(axis_ratio=0.5, position_angle_deg=90.0))
    assert flat.profile_of(psf.band, 8.0).half_light_radius == pytest.approx(8.0)
    stamp = flat.get(psf.band, 8.0).stamp(0.0, 0.0, 24)
    step = np.arange(-24, 25)
    narrow, long = (stamp.sum(axis) @ step**2 for axis in (0, 1))
    assert long > 1.5 * narrow
    plain = Templates({psf.band: psf}, 1.9)
    assert len({str(each.describe()) for each in (king, flat, plain)}) == 3
    # Nothing of them can be set later.
    with pytest.raises(dataclasses.FrozenInstanceError):
        plain.exact = (1.5,)  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "moffat"}, "moffat"),
        ({"kind": "king", "eta": 2.0}, "eta is not of kind king"),
        ({"concentration": 12.0}, "concentration is not of kind eff"),
        ({"eta": 0.5}, "eta is 0.5; expected more than 0.5"),
        ({"axis_ratio": 0.0}, "axis_ratio is 0.0"),
        ({"step_dex": 0.0}, "step_dex is 0.0"),
    ],
)
def test_profiles_that_cannot_be_are_refused(settings, message: str):
    # By our own check, or where types are checked by that.
    with pytest.raises(Exception, match=message):
        ProfileSettings(**settings)


def test_templates_travel_without_what_they_made(psf: PSF):
    templates = Templates({psf.band: psf}, 1.9)
    made = templates.get(psf.band, 3.0)
    again = pickle.loads(pickle.dumps(templates))
    assert not again._made and again.describe() == templates.describe()
    np.testing.assert_array_equal(again.get(psf.band, 3.0).core, made.core)
