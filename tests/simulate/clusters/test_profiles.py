"""Profiles against quadrature, root finding, published numbers, astropy and GalSim."""

import math
import subprocess
import sys

import numpy as np
import pytest
from astropy.modeling.models import KingProjectedAnalytic1D
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.stats import ks_2samp, kstest

from starcensus.simulate.clusters.profiles import EFF, King, Moffat, Profile

CASES: dict[str, Profile] = {
    "eff": EFF(2.0, 3.0),
    "eff steep": EFF(2.0, 8.0, axis_ratio=0.6, position_angle_deg=30.0),
    "eff cut": EFF(2.0, 2.4, truncation_pc=25.0),
    "eff endless": EFF(2.0, 1.5, truncation_pc=25.0),
    "eff logarithmic": EFF(2.0, 2.0, truncation_pc=25.0),
    "moffat": Moffat(3.0, 3.0, axis_ratio=0.4, position_angle_deg=-70.0),
    "moffat cut": Moffat(3.0, 0.75, truncation_pc=40.0, axis_ratio=0.8),
    "king": King(1.5, 10.0),
    "king wide": King(1.5, 100.0, axis_ratio=0.7, position_angle_deg=110.0),
    "king narrow": King(1.5, 0.7),
}
BANDS_OF_RADIUS = (0.3, 1.0, 3.0, 10.0, 24.0)


@pytest.fixture(params=CASES, name="profile")
def _profile(request) -> Profile:
    return CASES[request.param]


def end(profile: Profile) -> float:
    return float(profile.radius_enclosing(1.0))


def light(profile: Profile, low: float, high: float) -> float:
    """∫ 2π r Σ(r) dr."""
    value, _ = quad(
        lambda r: 2 * math.pi * r * float(profile.surface_density(r)),
        low,
        high,
        epsabs=1e-11,
        epsrel=1e-11,
        limit=200,
    )
    return value


def test_enclosed_light_is_the_integral_of_the_density(profile):
    last = 0.0, 0.0
    for r in BANDS_OF_RADIUS:
        r = min(r, end(profile))
        last = r, last[1] + light(profile, last[0], r)
        assert float(profile.enclosed(r)) == pytest.approx(last[1], abs=1e-9)
    assert last[1] + light(profile, last[0], end(profile)) == pytest.approx(1.0, abs=1e-7)


def test_half_light_radius_is_where_half_of_the_light_is(profile):
    root = brentq(lambda r: light(profile, 0.0, r) - 0.5, 1e-3, 30.0, xtol=1e-12)
    assert profile.half_light_radius == pytest.approx(root, rel=1e-8)


def test_the_radius_inverts_the_enclosed_light(profile):
    fraction = np.concatenate([np.geomspace(1e-12, 0.5, 40), 1 - np.geomspace(0.5, 1e-6, 40)])
    back = profile.enclosed(profile.radius_enclosing(fraction))
    np.testing.assert_allclose(back, fraction, rtol=1e-9, atol=1e-12)
    assert profile.radius_enclosing(0.0) == 0 and profile.enclosed(np.inf) == 1


def test_nothing_lies_beyond_the_end(profile):
    if not math.isfinite(end(profile)):
        pytest.skip("an endless profile")
    beyond = end(profile) * np.array([1.001, 2.0, 100.0])
    np.testing.assert_array_equal(profile.surface_density(beyond), 0.0)
    np.testing.assert_array_equal(profile.enclosed(beyond), 1.0)


def test_density_at_integrates_to_one_over_the_plane(profile):
    """In polar coordinates of the sky, so that ellipses and angles take part."""
    angle = np.linspace(0, 2 * np.pi, 721)[:-1]
    reach = float(profile.radius_enclosing(0.9)) * profile.axis_ratio**0.5  # a circle inside
    r, weight = np.polynomial.legendre.leggauss(200)
    r, weight = reach * (r + 1) / 2, reach * weight / 2
    x, y = np.outer(r, np.cos(angle)), np.outer(r, np.sin(angle))
    disc = (profile.density_at(x, y).mean(1) * 2 * np.pi * r * weight).sum()
    # Fraction of the circle's light from the fraction of each ellipse's circumference inside it.
    ratio, turn = profile.axis_ratio, 2 * np.pi * (np.arange(4000) + 0.5) / 4000
    stretch = np.sqrt(np.cos(turn) ** 2 / ratio + np.sin(turn) ** 2 * ratio)
    assert disc == pytest.approx(profile.enclosed(reach / stretch).mean(), abs=2e-5)


def test_stars_follow_the_profile(profile):
    """Kolmogorov–Smirnov tests of radius and of angle; 20 tests, 1e-5 false alarms each."""
    x, y = profile.sample(np.random.default_rng(7), 20_000).T
    radius = profile.circularised_radius(x, y)
    assert kstest(radius, profile.enclosed).pvalue > 1e-5
    tilt = math.radians(profile.position_angle_deg)
    along = x * math.cos(tilt) + y * math.sin(tilt)
    across = y * math.cos(tilt) - x * math.sin(tilt)
    turn = np.arctan2(across / profile.axis_ratio, along) / (2 * np.pi) % 1
    assert kstest(turn, "uniform").pvalue > 1e-5
    # Principal axis of the inner half: 5 sigma of its sampling error.
    if profile.axis_ratio < 1:
        inner = radius < profile.half_light_radius
        xx, yy, xy = (x**2)[inner].mean(), (y**2)[inner].mean(), (x * y)[inner].mean()
        axis = 0.5 * math.atan2(2 * xy, xx - yy)
        error = profile.axis_ratio / (1 - profile.axis_ratio**2) / math.sqrt(inner.sum())
        off = (axis - tilt + np.pi / 2) % np.pi - np.pi / 2
        assert abs(off) < 5 * error


def test_half_of_many_radii_are_inside_the_half_light_radius():
    profile = EFF.from_half_light(3.0)
    radius = np.hypot(*profile.sample(np.random.default_rng(3), 100_000).T)
    assert np.mean(radius < 3.0) == pytest.approx(0.5, abs=0.01)  # 6 sigma


def test_stars_of_several_calls_are_those_of_one(profile):
    whole = profile.sample(np.random.default_rng(5), 10)
    rng = np.random.default_rng(5)
    parts = np.concatenate([profile.sample(rng, 3), profile.sample(rng, 7)])
    np.testing.assert_array_equal(whole, parts)


@pytest.mark.parametrize("r_eff", [0.3, 3.0, 10.0])
@pytest.mark.parametrize(
    "make",
    [
        lambda r: EFF.from_half_light(r),
        lambda r: EFF.from_half_light(r, 6.0, axis_ratio=0.5),
        lambda r: EFF.from_half_light(r, 2.2, truncation_pc=30.0),
        lambda r: EFF.from_half_light(r, 2.0, truncation_pc=30.0),
        lambda r: Moffat.from_half_light(r, 1.25, truncation_pc=14.2),
        lambda r: Moffat.from_half_light(r, 4.0, axis_ratio=0.3),
        lambda r: King.from_half_light(r, 10.0),
        lambda r: King.from_half_light(r, 300.0, 0.9, 45.0),
    ],
)
def test_a_profile_of_given_half_light_radius_has_it(make, r_eff):
    profile = make(r_eff)
    assert profile.half_light_radius == pytest.approx(r_eff, rel=1e-10)
    assert light(profile, 0.0, r_eff) == pytest.approx(0.5, abs=1e-9)


def test_published_half_light_radii_of_eff():
    """r_h of a = 1: the thesis of J. Bialopetravičius; FWHM = r_eff/1.13 is BAOLab's EFF15."""
    for gamma, r_h in ((3.0, 3**0.5), (4.0, 1.0), (6.0, 0.6436), (8.0, 0.5098)):
        assert EFF(1.0, gamma).half_light_radius == pytest.approx(r_h, abs=5e-5)
    profile = EFF.from_half_light(5.0)
    assert profile.eta == 1.5 and 5.0 / profile.fwhm_pc == pytest.approx(1.13, abs=5e-4)


def test_sizes_that_the_thesis_could_draw():
    """Log-uniform a and γ kept where r_h is in range: acceptance and edges of both its surveys."""
    rng = np.random.default_rng(1)
    n = 200_000
    gamma = np.exp(rng.uniform(np.log(2.05), np.log(8.0), n))
    unit = np.sqrt(2 ** (2 / (gamma - 2)) - 1)
    assert unit[0] == pytest.approx(EFF(1.0, gamma[0]).half_light_radius, rel=1e-12)
    for a_range, r_range, accepted, least_gamma, most_a in (
        ((0.04, 1.2), (0.04, 0.4), 0.538, 2.30, 0.785),
        ((0.05, 6.4), (0.1, 1.6), 0.508, 2.20, 3.14),
    ):
        a = np.exp(rng.uniform(*np.log(a_range), n))
        kept = (a * unit >= r_range[0]) & (a * unit <= r_range[1])
        assert kept.mean() == pytest.approx(accepted, abs=0.006)  # 5 sigma
        # Edges of the region in closed form: its least γ at the least a, its largest a at γ = 8.
        top = r_range[1]
        assert EFF.from_half_light(top, 8.0).core_radius_pc == pytest.approx(most_a, abs=5e-3)
        edge = brentq(lambda g, a=a_range[0], r=top: EFF(a, g).half_light_radius - r, 2.1, 8.0)
        assert edge == pytest.approx(least_gamma, abs=0.01)
        assert gamma[kept].min() >= edge and a[kept].max() <= most_a + 5e-3


def test_published_numbers_of_moffat():
    """Thilker et al. (2022): lengths in pixels there."""
    for fwhm, eta, a, r_eff in (
        (2.0, 3.0, 1.96146, 1.26238),
        (1.0, 4.0, 1.14948, 0.58603),
        (2.0, 2.0, 1.55377, 1.55377),
    ):
        profile = Moffat(fwhm, eta)
        assert profile.core_radius_pc == pytest.approx(a, abs=6e-6)
        assert profile.half_light_radius == pytest.approx(r_eff, abs=6e-6)
    scale = 0.03962 / 206264.80625 * 1e6  # pc per pixel and Mpc
    assert 1.26238 * 16 * scale == pytest.approx(3.880, abs=6e-4)
    assert 1.26238 * 9.9 * scale == pytest.approx(2.401, abs=6e-4)


def test_the_published_grid_of_moffat_profiles():
    """Half of the centre at FWHM/2 at every node; counts of nodes with r_eff of at most 10 pc."""
    scale = 0.03962 / 206264.80625 * 1e6
    small = dict.fromkeys((9.9, 10.0, 16.0, 18.0), 0)
    for fwhm in np.arange(0.5, 7.01, 0.25):
        for eta in (0.75, 0.875, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0):
            cut = {} if eta > 1 else {"truncation_pc": 100.0}
            profile = Moffat(float(fwhm), eta, **cut)
            half = profile.surface_density(fwhm / 2) / profile.surface_density(0.0)
            assert half == pytest.approx(0.5, rel=1e-12)
            for distance in small if eta > 1 else ():
                small[distance] += profile.half_light_radius * scale * distance <= 10
    assert small == {9.9: 105, 10.0: 104, 16.0: 69, 18.0: 61}


def test_published_numbers_of_king():
    """μ over k (King 1962, eq. 14) at r_t/r_c = 10: 0.8109 at the centre and 0.3692 at r_c."""
    profile = King(2.0, 10.0)
    centre, core, tidal = profile.surface_density(np.array([0.0, 2.0, 20.0]))
    assert core / centre == pytest.approx(0.3692 / 0.8109, abs=1e-4)
    assert tidal == 0 and profile.tidal_radius_pc == 20
    k = centre / (1 - 101**-0.5) ** 2
    assert centre / k == pytest.approx(0.8109, abs=5e-5)
    # Eq. 18 gives k of one unit of light.
    light = math.log(101) - 4 * (math.sqrt(101) - 1) / math.sqrt(101) + 100 / 101
    assert k == pytest.approx(1 / (math.pi * 4 * light), rel=1e-12)


def test_king_has_the_shape_of_astropys():
    radius = np.linspace(0.0, 45.0, 200)
    theirs = KingProjectedAnalytic1D(amplitude=1.0, r_core=1.5, r_tide=45.0)(radius)
    ours = King(1.5, 30.0).surface_density(radius)
    np.testing.assert_allclose(ours / ours[0], theirs / theirs[0], atol=1e-12)


@pytest.mark.parametrize("q, angle", [(1.0, 0.0), (0.5, 35.0)])
@pytest.mark.parametrize("eta, cut", [(1.5, None), (3.0, None), (1.5, 20.0), (0.8, 20.0)])
def test_moffat_and_eff_are_galsims(eta, cut, q, angle):
    """Height, half-light radius and the light inside circles; the latter by photons.

    GalSim's photons are an independent draw: Kolmogorov–Smirnov tests of x and of the radius on the
    sky, 16 of them at 1e-5.
    """
    galsim = pytest.importorskip("galsim")
    theirs = galsim.Moffat(beta=eta, scale_radius=2.0, trunc=cut or 0.0)
    ours = EFF(2.0, 2 * eta, cut or math.inf, q, angle)
    assert ours.half_light_radius == pytest.approx(theirs.half_light_radius, rel=1e-5)
    if eta > 1:  # GalSim does not solve for the scale of the others
        inside = galsim.Moffat(beta=eta, half_light_radius=5.0, trunc=cut or 0.0)
        same = Moffat.from_half_light(5.0, eta, cut or math.inf)
        assert same.core_radius_pc == pytest.approx(inside.scale_radius, rel=1e-5)
    if q < 1:
        theirs = theirs.shear(q=q, beta=angle * galsim.degrees)
    for x, y in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0), (2.0, 3.0), (-4.0, 3.0), (12.0, 9.0)):
        height = float(ours.density_at(np.array(x), np.array(y)))
        assert height == pytest.approx(theirs.xValue(x, y), rel=1e-6, abs=1e-12)
    photons = theirs.shoot(20_000, galsim.BaseDeviate(11))
    stars = ours.sample(np.random.default_rng(12), 20_000)
    np.testing.assert_allclose(photons.flux, photons.flux[0])
    assert ks_2samp(photons.x, stars[:, 0]).pvalue > 1e-5
    assert ks_2samp(np.hypot(photons.x, photons.y), np.hypot(*stars.T)).pvalue > 1e-5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EFF(1.0, 2.0), "eta = gamma/2 is 1 and the profile has no truncation"),
        (lambda: Moffat(1.0, 0.75), "eta = gamma/2 is 0.75 .* infinite"),
        (lambda: EFF.from_half_light(3.0, 1.8), "no truncation"),
        (lambda: EFF(0.0), "core_radius_pc is 0; expected a positive number"),
        (lambda: EFF(1.0, math.nan), "eta is nan"),
        (lambda: EFF(1.0, truncation_pc=-1.0), "truncation_pc is -1"),
        (lambda: EFF(1.0, axis_ratio=1.2), r"axis_ratio is 1.2; expected B/A in \(0, 1\]"),
        (lambda: King(1.0, axis_ratio=0.0), "axis_ratio is 0"),
        (lambda: Moffat(1.0, position_angle_deg=math.nan), "position_angle_deg is nan"),
        (lambda: Moffat(-1.0), "fwhm_pc is -1"),
        (lambda: King(1.0, 0.4), "concentration is 0.4; expected r_t/r_c"),
        (lambda: King.from_half_light(-2.0), "r_eff_pc is -2"),
        (
            lambda: EFF.from_half_light(8.0, truncation_pc=10.0),
            "half-light radii between 0 and 7.0",
        ),
        (lambda: EFF.from_half_light(2.0, 1.5, 10.0), "half-light radii between 2.5 and 7.07"),
        (lambda: EFF(1.0).enclosed(-1.0), "r_pc has the value -1"),
        (lambda: King(1.0).surface_density(np.array([1.0, np.nan])), "r_pc has the value nan"),
        (lambda: EFF(1.0).radius_enclosing(1.5), "fraction has the value 1.5; expected 0 to 1"),
    ],
)
def test_impossible_profiles_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# The library is instrumented here, and would refuse None by its annotation.
PROBE = """
from starcensus.simulate.clusters.profiles import EFF, Moffat
for make in (EFF, Moffat, EFF.from_half_light, Moffat.from_half_light):
    for wrong in (None, 0.0, -1.0, "60", float("nan")):
        try:
            make(3.0, truncation_pc=wrong)
        except ValueError as error:
            assert "truncation_pc is" in str(error) and "math.inf for no" in str(error), error
        else:
            raise AssertionError(wrong)
"""


def test_a_truncation_that_is_none_is_refused_in_words():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
