"""Simulated classes: candidates are of their kind, look as their class, and are always the same."""

import dataclasses
import math

import numpy as np
import pytest
from scipy.stats import kstest
from tests.simulate.stamps.toys import PSFS, gaussian_psf, toy_settings

from starcensus.simulate import PSF, StellarPopulation
from starcensus.simulate.library.engine import load_grid
from starcensus.simulate.stamps import StampSettings, classes
from starcensus.simulate.stamps.classes import (
    KINDS,
    TRUTHS,
    ClassSettings,
    ClassStamps,
    draw_classes,
    make_classes,
)

TOYS = ClassSettings(association_log_mass=(3.2, 3.8), association_log_age=(6.5, 7.5))


def only(*kinds: str, **changes) -> ClassSettings:
    return dataclasses.replace(TOYS, shares=tuple((kind, 1.0) for kind in kinds), **changes)


@pytest.fixture(scope="module", name="toy")
def _toy(tmp_path_factory) -> StampSettings:
    # Rich enough that most are symmetric.
    return toy_settings(tmp_path_factory.mktemp("toy"), log_mass=(3.8, 4.4))


@pytest.fixture(scope="module", name="some")
def _some(toy) -> ClassStamps:
    alike = tuple((kind, 1.0) for kind in KINDS)
    return draw_classes(toy, dataclasses.replace(TOYS, shares=alike), PSFS, 3, 0, 44)


def field_of(toy: StampSettings, settings: ClassSettings = TOYS, psfs=PSFS) -> classes._Field:
    population = StellarPopulation(load_grid(toy.grid).select(toy.bands), toy.imf)
    return classes._Field(toy, settings, population, tuple(psfs.values()))


def same(a: ClassStamps, b: ClassStamps) -> bool:
    names = ("images", "label", "kind", "mags")
    equal = [np.array_equal(getattr(a, name), getattr(b, name)) for name in names]
    equal += [np.array_equal(a.truth[name], b.truth[name], equal_nan=True) for name in TRUTHS]
    return all(equal)


def test_a_candidate_depends_on_its_seed_and_number_alone(toy, some):
    alike = tuple((kind, 1.0) for kind in KINDS)
    settings = dataclasses.replace(TOYS, shares=alike)
    part = draw_classes(toy, settings, PSFS, 3, 30, 35)
    for name in ("images", "label", "kind", "mags"):
        np.testing.assert_array_equal(getattr(part, name), getattr(some, name)[30:35])
    for name in TRUTHS:
        np.testing.assert_array_equal(part.truth[name], some.truth[name][30:35])
    other = draw_classes(toy, settings, PSFS, 4, 30, 35)
    assert (other.images != part.images).any(axis=(1, 2, 3)).all()


def test_no_bit_depends_on_the_number_of_workers(toy, monkeypatch):
    monkeypatch.setattr(classes, "_SHARD", 3)
    some = only("star", "association")
    one, two = (make_classes(toy, some, 7, 2, PSFS, workers) for workers in (1, 2))
    assert same(one, two) and same(one, draw_classes(toy, some, PSFS, 2, 0, 7))


def test_labels_are_those_of_the_kinds_and_theta_is_of_clusters(some, toy):
    assert set(some.kind) == set(KINDS)
    assert [KINDS[kind][0] for kind in some.kind] == [str(label) for label in some.label]
    for name in ("log_mass", "log_age", "a_v"):
        assert (np.isfinite(some.truth[name]) == (some.label < 4)).all()
    assert (np.isfinite(some.truth["r_h_pc"]) == (some.label < 3)).all()
    young = some.truth["log_age"][some.kind == "association"]
    assert young.max() <= 7.5 and set(young) <= {6.5, 7.0, 7.5}
    assert some.images.dtype == np.float32 and some.images.min() >= 0
    assert some.images.shape == (44, 3, 24, 24)


def test_clusters_look_as_the_definition_of_their_class_says(some):
    t, peaks = some.truth, some.truth["n_peaks"]
    for label, one in ((1, True), (2, False)):
        rows = some.label == label
        assert (peaks[rows] == 1).all() and (t["extra_ci_mag"][rows] >= 0.1).all()
        assert ((t["asymmetry"][rows] <= 0.1) == one).all()
    assert (peaks[some.label == 3] >= 2).all()
    # A star is as wide as the PSF, and of one peak.
    stars = some.kind == "star"
    np.testing.assert_allclose(t["extra_ci_mag"][stars], 0.0, atol=1e-3)
    assert (peaks[stars] == 1).all() and t["asymmetry"][stars].max() < 1e-3


def seen(x: np.ndarray, y: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """Gaussians of σ = 1 pixel, that of the first band, within 6 pixels of the middle."""
    step = np.arange(-6, 7)
    across = np.exp(-0.5 * (step - x[:, None]) ** 2)
    along = np.exp(-0.5 * (step - y[:, None]) ** 2)
    return np.einsum("s,sr,sc->rc", rate, along, across)


def test_what_is_seen_is_what_a_sum_of_gaussians_shows(toy):
    """Peaks, asymmetry and concentration of ten stars, pixel by pixel, with the toy's formula."""
    field, rng = field_of(toy), np.random.default_rng(2)
    assert toy.bands[field.reference] == "blue"  # All unknown: the first of them.
    n_peaks = set()
    for _ in range(12):
        x, y = rng.normal(0, 2.5, (2, 10))
        rate = rng.lognormal(2, 1, (10, 3))
        found = field.look(field.points(x, y, rate))
        image = seen(x, y, rate[:, 0])
        r = np.hypot(*np.mgrid[-6:7, -6:7])
        inside = np.argwhere(r <= 5)
        total = sum(image[i, j] for i, j in inside)
        # A quarter turn takes (row, column) to (-column, row).
        off = sum(abs(image[i, j] - image[j, 12 - i]) for i, j in inside)
        top = max(image[i, j] for i, j in inside)
        peaks = sum(
            image[i, j] >= image[i - 1 : i + 2, j - 1 : j + 2].max() and image[i, j] >= 0.25 * top
            for i, j in inside
        )
        star = seen(np.zeros(1), np.zeros(1), np.ones(1))
        ci = [2.5 * math.log10(p[r <= 3].sum() / p[r <= 1].sum()) for p in (image, star)]
        assert found["asymmetry"] == pytest.approx(off / 2 / total, abs=2e-3)
        assert found["extra_ci_mag"] == pytest.approx(ci[0] - ci[1], abs=2e-3)
        assert found["n_peaks"] == peaks
        n_peaks.add(peaks)
    assert len(n_peaks) > 1


def test_stamps_have_the_light_of_their_magnitudes(toy):
    """All of it, in stamps that are larger than what is drawn and its wings."""
    wide = dataclasses.replace(toy, size_pix=64, eff_gamma=(6.0, 8.0), log_r_h_arcsec=(-1.4, -1.2))
    small = {"galaxy_r_eff_arcsec": (0.1, 0.12), "galaxy_n": (0.7, 1.0)}
    for kind in ("symmetric", "lopsided", "triplet", "galaxy"):
        drawn = draw_classes(wide, only(kind, **small), PSFS, 1, 0, 3)
        zero = np.array([exposure.zero_point for exposure in toy.exposures])
        light = drawn.images.sum(axis=(2, 3), dtype=float)
        np.testing.assert_allclose(light, 10 ** (0.4 * (zero - drawn.mags)), rtol=3e-3)


def test_all_pass_the_cut_and_have_enough_light(toy):
    cut = dataclasses.replace(toy, faintest_mags=(np.inf, 19.5, np.inf))
    settings = only("lopsided", "pair", "galaxy", least_electrons=2e4)
    drawn = draw_classes(cut, settings, PSFS, 5, 0, 9)
    assert (drawn.mags[:, 1] < 19.5).all()
    free = draw_classes(toy, settings, PSFS, 5, 0, 9)
    assert (free.mags[:, 1] > 19.5).any()
    zero = np.array([exposure.zero_point for exposure in toy.exposures])
    electrons = 10 ** (0.4 * (zero - free.mags)) * toy.exposure_s
    assert electrons.max(axis=1).min() >= 2e4


def test_companions_are_as_near_and_as_bright_as_the_settings_say(toy):
    settings = only("pair", separation_pix=(2.0, 4.0), light_ratio=(0.3, 0.6))
    field, rng = field_of(toy, settings), np.random.default_rng(1)
    apart, ratios = [], []
    for kind, n in (("pair", 2), ("triplet", 3)) * 20:
        points, _ = classes._stars(field, kind, rng)
        assert len(points.x) == n and points.x[0] == points.y[0] == 0
        places = np.column_stack([points.x, points.y])
        each = np.hypot(*(places[:, None] - places).T)[np.triu_indices(n, 1)]
        assert each.min() >= 2.0
        apart += np.hypot(points.x, points.y)[1:].tolist()
        ratios += (points.electrons[1:] / points.electrons[0]).tolist()
    assert min(apart) >= 2 and max(apart) <= 4 and np.std(apart) > 0.3
    assert min(ratios) >= 0.3 and max(ratios) <= 0.6


def test_a_galaxy_is_the_sersic_profile_of_its_settings(toy):
    """With n = 1 the light within r of an exponential disc is 1 − (1 + x) e^(−x), x = r/h."""
    half = 1.6783469900166605  # x that holds half
    settings = only(
        "galaxy",
        galaxy_n=(1.0, 1.0),
        galaxy_r_eff_arcsec=(0.4, 0.4),
        galaxy_axis_ratio=(0.5, 0.5),
    )
    field = field_of(toy, settings)
    points, _ = classes._galaxy(field, "galaxy", np.random.default_rng(3))
    share = points.rate[:, 0] / points.rate[:, 0].sum()
    moments = np.cov(np.stack([points.x, points.y]), aweights=share)
    minor, major = np.sqrt(np.linalg.eigvalsh(moments))
    assert minor / major == pytest.approx(0.5, abs=0.02)
    angle = math.atan2(*np.linalg.eigh(moments)[1][::-1, 1])
    along = points.x * math.cos(angle) + points.y * math.sin(angle)
    across = points.y * math.cos(angle) - points.x * math.sin(angle)
    x = np.hypot(along * 0.5**0.5, across / 0.5**0.5) * half / (0.4 / toy.pixel_scale_arcsec)
    for radius in (0.5, 1.0, half, 3.0):
        within = share[x <= radius].sum()
        assert within == pytest.approx(1 - (1 + radius) * math.exp(-radius), abs=0.01)


def test_smooth_light_of_a_body_follows_its_profile_and_axes(toy):
    field = field_of(toy)
    body = (1.0, classes.EFF(3.0, 4.0, math.inf, 0.4, 30.0), 0.0, 0.0)
    none, rate = np.empty((0, 3)), np.full(3, 30.0)
    points = classes._spread(field, none, rate, [body], False, np.random.default_rng(0))
    np.testing.assert_allclose(points.rate.sum(axis=0), 30.0)
    angle = math.radians(30.0)
    along = points.x * math.cos(angle) + points.y * math.sin(angle)
    across = points.y * math.cos(angle) - points.x * math.sin(angle)
    r = np.hypot(along * 0.4**0.5, across / 0.4**0.5)
    # γ = 4: the share within r is r² / (a² + r²).
    for radius in (1.0, 3.0, 9.0):
        assert (r <= radius).mean() == pytest.approx(radius**2 / (9 + radius**2), abs=2e-3)
    ratio = np.median(np.abs(across)) / np.median(np.abs(along))
    assert ratio == pytest.approx(0.4, abs=0.02)


def test_stars_of_an_association_lie_in_its_clumps_by_their_shares(toy):
    field, rng = field_of(toy), np.random.default_rng(5)
    bodies = [
        (0.25, classes.EFF(0.1, 6.0), -30.0, 0.0),
        (0.5, classes.EFF(0.1, 6.0), 10.0, 0.0),
        (0.25, classes.EFF(0.1, 6.0), 0.0, 20.0),
    ]
    stars = np.full((8000, 3), 1.0)
    points = classes._spread(field, stars, np.zeros(3), bodies, True, rng)
    stars_x = points.x[points.rate[:, 0] > 0]
    # The middle is the clump of most stars, but for that of those that are free.
    share = [np.mean(np.abs(stars_x - x) < 3) for x in (-40.0, 0.0, -10.0)]
    np.testing.assert_allclose(share, (0.25, 0.5, 0.25), atol=0.02)


def test_saturated_pixels_are_full_and_spikes_cross_the_middle(toy):
    cross = {}
    for band, psf in PSFS.items():
        # A Gaussian with arms along the diagonals.
        n = len(psf.image)
        arms = psf.image + 2e-6 * (np.eye(n) + np.eye(n)[::-1])
        cross[band] = PSF(band, arms / arms.sum(), psf.oversampling, psf.pixel_scale_arcsec)
    settings = only("spike", saturated_log_electrons=(6.5, 6.6), spike_pix=(5.0, 9.0))
    drawn = draw_classes(toy, settings, cross, 1, 0, 12)
    most = 70_000.0 * np.array([exposure.n_exposures for exposure in toy.exposures])
    full = np.float32(most / toy.exposure_s)
    brightest = drawn.images.max(axis=(2, 3))
    assert (brightest <= full).all() and (brightest == full).any(axis=1).all()
    quadrants = set()
    for image, x, y in zip(drawn.images, drawn.truth["x"], drawn.truth["y"], strict=True):
        row, col = np.unravel_index(np.argmax(image[2] >= full[2]), (24, 24))
        dx, dy = col - x, row - y
        assert 4 < math.hypot(dx, dy) < 11
        # On a diagonal, but for the pixels that are full.
        assert abs(abs(dx) - abs(dy)) < 3
        quadrants.add((dx > 0, dy > 0))
    assert len(quadrants) == 4
    faint = draw_classes(toy, dataclasses.replace(settings, full_well_e=1e9), cross, 1, 0, 2)
    assert (faint.images.max(axis=(2, 3)) > full).any()


def test_kinds_are_drawn_by_their_shares(toy):
    settings = dataclasses.replace(TOYS, shares=(("star", 3.0), ("saturated", 1.0)))
    drawn = draw_classes(toy, settings, PSFS, 9, 0, 100)
    # Five standard deviations.
    assert abs((drawn.kind == "star").mean() - 0.75) < 5 * (0.75 * 0.25 / 100) ** 0.5
    total = {}
    for kind, share in ClassSettings().shares:
        total[KINDS[kind][0]] = total.get(KINDS[kind][0], 0.0) + share
    assert total == {label: pytest.approx(0.25) for label in "1234"}


@pytest.mark.parametrize("slope", [-1.0, 0.0, 0.7])
def test_masses_follow_the_power_law(toy, slope: float):
    field = field_of(toy, dataclasses.replace(TOYS, mass_slope=slope))
    theta = field.theta("symmetric", 4000, np.random.default_rng(1))
    low, high = toy.log_mass

    def cdf(log_mass):
        if slope == 0:
            return (log_mass - low) / (high - low)
        return (10 ** (slope * log_mass) - 10 ** (slope * low)) / (
            10 ** (slope * high) - 10 ** (slope * low)
        )

    assert kstest(theta[:, 0], cdf).pvalue > 1e-3
    assert set(theta[:, 1]) == set(toy.log_ages) and theta[:, 2].max() <= toy.a_v[1]


def test_centres_fill_the_pixel_in_the_middle(toy):
    drawn = draw_classes(toy, only("star"), PSFS, 1, 0, 60)
    for name in ("x", "y"):
        assert kstest(drawn.truth[name], "uniform", (11.0, 1.0)).pvalue > 1e-3
    # The light is there.
    at = np.arange(24)
    for image, x, y in zip(drawn.images[:, 0], drawn.truth["x"], drawn.truth["y"], strict=True):
        weight = image.astype(float) / image.sum(dtype=float)
        assert (weight.sum(0) @ at, weight.sum(1) @ at) == (
            pytest.approx(x, abs=0.02),
            pytest.approx(y, abs=0.02),
        )


def test_a_kind_of_which_nothing_passes_is_named(toy, monkeypatch):
    monkeypatch.setattr(classes, "_ROUNDS", 3)
    dark = dataclasses.replace(toy, faintest_mags=(5.0, 5.0, 5.0))
    for kind in ("symmetric", "star", "galaxy"):
        with pytest.raises(ValueError, match=rf"no draw of kind '{kind}' passes faintest_mags"):
            draw_classes(dark, only(kind), PSFS, 1, 0, 1)
    old = dataclasses.replace(TOYS, association_log_age=(9.0, 9.5))
    with pytest.raises(ValueError, match=r"'association' .* with ages of"):
        draw_classes(toy, dataclasses.replace(old, shares=(("association", 1.0),)), PSFS, 1, 0, 1)
    with pytest.raises(ValueError, match="n is 0; expected 1"):
        make_classes(toy, TOYS, 0, 1, PSFS)
    wrong = {band: dataclasses.replace(psf, pixel_scale_arcsec=0.1) for band, psf in PSFS.items()}
    with pytest.raises(ValueError, match=r"pixels of 0\.1 arcsec"):
        draw_classes(toy, TOYS, wrong, 1, 0, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shares": (("nebula", 1.0),)}, "'nebula'; expected some of symmetric"),
        ({"shares": (("star", 1.0), ("star", 1.0))}, "each kind once"),
        ({"shares": (("star", 0.0),)}, "each kind once, 0 or more"),
        ({"axis_ratio": (0.5, 1.5)}, "axis_ratio is .* 1.0 at most"),
        ({"clump_pix": (3.0, 1.0)}, "clump_pix is .* the lower limit first"),
        ({"n_clumps": (0, 4)}, "n_clumps is .* above 0"),
        ({"full_well_e": 0.0}, "full_well_e is 0.0"),
        ({"most_symmetric": 1.5}, "most_symmetric is 1.5"),
        ({"mass_slope": math.nan}, "mass_slope is nan"),
        ({"least_peaks": 1}, "least_peaks 1; expected"),
    ],
)
def test_settings_that_draw_nothing_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ClassSettings(**changes)


def test_a_wider_psf_does_not_make_a_star_a_cluster(toy):
    """Concentration is over that of the PSF, whatever it is."""
    broad = {band: gaussian_psf(band, 1.8) for band in PSFS}
    field = field_of(toy, psfs=broad)
    here, one = np.zeros(1), np.full((1, 3), 100.0)
    assert abs(field.look(field.points(here, here, one))["extra_ci_mag"]) < 1e-6
    apart = np.array([-1.5, 1.5])
    wide = field.look(field.points(apart, np.zeros(2), np.full((2, 3), 100.0)))
    assert wide["extra_ci_mag"] > 0.1
