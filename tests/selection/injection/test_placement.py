"""Placement by the injector: where the light of its frame is, and room between clusters."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from starcensus.selection.injection import InjectionPlan, InjectionTable, Injector
from starcensus.selection.pipeline import LegusPipeline, LegusSettings
from starcensus.simulate import ClusterLibrary, Frame, Templates
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.psf import PSF
from starcensus.simulate.images.white import placement_density

BAND = "ACS_F555W"
N, SIGMA, MARGIN = 2000, 30.0, 9
AT = (60, 180)


def make(radii: np.ndarray, abs_mag: float = 20.0, **settings) -> Injector:
    """An injector whose frame has its light at one pixel, off the middle."""
    n = len(radii)
    theta = np.full(n, 4.0), np.full(n, 8.0), np.zeros(n)
    # By default faint, so that frames of like light are full.
    mags = np.full((n, 1), abs_mag)
    library = ClusterLibrary(*theta, (BAND,), mags, np.zeros(n), r_eff_pc=radii)
    data = np.zeros((160, 260), np.float32)
    data[AT] = 1e4
    frame = Frame((BandImage(BAND, data, 1000.0, 25.7),), 29.98)
    step = np.arange(-20, 21) / 4
    psf = np.exp(-(step[:, None] ** 2 + step**2) / 2)
    templates = Templates({BAND: PSF(BAND, psf / psf.sum(), 4, 0.0396)}, frame.pc_per_pixel)
    plan = InjectionPlan(**settings)
    return Injector(frame, library, templates, LegusPipeline(LegusSettings()), plan)


@pytest.fixture(scope="module")
def apart() -> Injector:
    """An injector whose positions are independent."""
    return make(
        np.ones(N),
        per_frame=100,
        sigma_pc=SIGMA,
        margin_pix=MARGIN,
        min_separation=0.0,
        min_separation_pix=0.0,
    )


def positions(injector: Injector) -> tuple[np.ndarray, np.ndarray]:
    x, y, _ = zip(*map(injector.positions, range(injector.n_frames)), strict=True)
    return np.concatenate(x), np.concatenate(y)


def chance(density: np.ndarray, x: np.ndarray, y: np.ndarray, bins: int = 10) -> float:
    """p-value of the numbers of positions where the density is lowest, ..., highest.

    Bins have like probability; no position may be where the density is zero.
    """
    values = density[np.rint(y).astype(int), np.rint(x).astype(int)]
    if not values.all():
        return 0.0
    order = np.sort(density, axis=None)
    total = np.cumsum(order)
    edges = order[np.searchsorted(total, np.linspace(0, 1, bins + 1)[1:-1])]
    expected = np.bincount(np.digitize(density.ravel(), edges), density.ravel(), bins)
    found = np.bincount(np.digitize(values, edges), minlength=bins)
    return float(stats.chisquare(found, expected * len(x)).pvalue)


def test_positions_follow_the_smoothed_light_of_the_frame(apart):
    """A false alarm once in 10,000 seeds; copies without the light or with another kernel fail."""
    assert apart.n_frames == 20
    density = placement_density(apart.frame, SIGMA, MARGIN)
    assert chance(density, *positions(apart)) > 1e-4
    uniform = dataclasses.replace(apart)
    object.__setattr__(uniform, "density", (density > 0) / (density > 0).sum())
    wider = dataclasses.replace(apart, plan=dataclasses.replace(apart.plan, sigma_pc=1.2 * SIGMA))
    for broken in (uniform, wider):
        assert chance(density, *positions(broken)) < 1e-8
    x, y = positions(apart)
    assert chance(density, y, np.minimum(x, 159)) < 1e-8


def test_positions_scatter_about_the_light_by_the_kernel_of_the_plan(apart):
    """30 pc are 15.8 pixels; of 2000 positions mean and scatter are good to 0.4 and 0.3 pixels."""
    for found, centre in zip(positions(apart)[::-1], AT, strict=True):
        assert found.mean() == pytest.approx(centre, abs=1.5)
        assert found.std() == pytest.approx(15.8, abs=1.1)


def test_the_margin_is_that_of_the_plan(apart):
    plan = dataclasses.replace(apart.plan, sigma_pc=1e4)
    x, y = positions(dataclasses.replace(apart, plan=plan))
    rows, cols = apart.frame.shape
    for found, size in ((x, cols), (y, rows)):
        assert MARGIN - 0.5 <= found.min() < MARGIN + 1
        assert size - MARGIN - 2 < found.max() <= size - MARGIN - 0.5


def test_large_clusters_are_three_half_light_radii_apart():
    """By the plan's default, of the larger of the two, whatever the distance in pixels."""
    radii = np.random.default_rng(0).choice([2.0, 10.0], 120)
    injector = make(radii, per_frame=40, sigma_pc=60.0, min_separation_pix=0.0)
    free = dataclasses.replace(
        injector, plan=dataclasses.replace(injector.plan, min_separation=0.0)
    )
    pairs = np.triu_indices(40, 1)

    def in_radii(injector: Injector, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Distances of pairs, in pixels, and in half-light radii of the larger one."""
        x, y, rendered = injector.positions(number)
        own = injector.library.column("r_eff_pc")[injector.rows(number)]
        np.testing.assert_array_equal(rendered, own)
        larger = np.maximum(own[:, None], own)[pairs] / injector.frame.pc_per_pixel
        pixels = np.hypot(x[:, None] - x, y[:, None] - y)[pairs]
        return pixels, pixels / larger

    for number in range(injector.n_frames):
        pixels, relative = in_radii(injector, number)
        # Small ones may be closer than large ones.
        assert relative.min() >= 3 and pixels.min() < 3 * 10 / injector.frame.pc_per_pixel
        assert in_radii(free, number)[1].min() < 2


def test_a_plan_is_that_of_the_documentation_unless_it_says_otherwise():
    plan = InjectionPlan()
    assert (plan.sigma_pc, plan.margin_pix) == (120.0, 0)
    assert (plan.min_separation, plan.min_separation_pix, plan.match_pix) == (3.0, 10.0, 3.0)
    assert (plan.group, plan.max_light, plan.min_per_frame) == ("brightness", 0.2, 25)


def test_what_a_border_of_the_data_takes_is_part_of_what_becomes_of_clusters():
    """Clusters kept 12 pixels from NaN: what apertures lose there never entered a probability."""
    n = 400
    plan = {"per_frame": 100, "sigma_pc": 1e4, "min_separation_pix": 2.0}
    injector = make(np.ones(n), -11.0, **plan)
    image = injector.frame.images[0]
    bad = np.zeros(image.shape, bool)
    bad[:, 100:130] = True
    noise = np.random.default_rng(0).normal(1.0, 0.01, image.shape)
    frame = Frame((dataclasses.replace(image, data=noise, bad=bad),), 29.98)
    settings = LegusSettings(
        aperture_correction={BAND: -0.3}, min_bands=1, detection_sigma=5.0, ci_limit=-9.0
    )
    test = dataclasses.replace(injector, frame=frame, pipeline=LegusPipeline(settings))
    table = InjectionTable.concatenate(*(test.run(k) for k in range(test.n_frames)))
    edge = np.minimum.reduce(
        [table.x, 259 - table.x, table.y, 159 - table.y, np.abs(table.x - 114.5) - 15.5]
    )
    assert table.covered is not None and edge.min() < 1
    assert table.catalogued[edge > 9].mean() > 0.95 and not table.catalogued[edge < 2].any()
    assert not table.covered[edge < 2].any() and table.covered[edge > 6].all()
    # The share of the field where an aperture of 4 pixels does not fit.
    lost = 1 - (152 * (92 + 122)) / (160 * (100 + 130))
    assert table.catalogued.mean() == pytest.approx(1 - lost, abs=0.06)


def test_tables_keep_which_bands_cover_an_injection(tmp_path):
    injector = make(np.ones(6), per_frame=6, sigma_pc=1e4)
    settings = LegusSettings(aperture_correction={BAND: -0.3}, min_bands=1)
    plain = dataclasses.replace(injector, pipeline=LegusPipeline(settings)).run(0)
    assert plain.covered is None
    both = dataclasses.replace(plain, covered=np.arange(6)[:, None] % 2 == 0)
    both.save(tmp_path / "a.h5")
    back = InjectionTable.load(tmp_path / "a.h5")
    np.testing.assert_array_equal(back.covered, both.covered)
    assert back.sha256() == both.sha256() != plain.sha256()
    twice = InjectionTable.concatenate(both, back).covered
    assert twice is not None and twice.shape == (12, 1)
    assert InjectionTable.concatenate(both, plain).covered is None
