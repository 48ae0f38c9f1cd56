"""Batches: the photons, the pairs, what is known of them, and that a step is always the same."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import poisson
from tests.simulate.stamps.toys import PSFS, toy_settings

from starcensus.simulate.stamps import (
    Backgrounds,
    ComposeSettings,
    StampBank,
    background_sigma,
    compose,
    observe,
    run_stamps,
    turned,
)

EIGHT = ComposeSettings(n_backgrounds=8, n_clusters=8)


@pytest.fixture(scope="module", name="bank")
def _bank(tmp_path_factory) -> StampBank:
    folder = tmp_path_factory.mktemp("bank")
    run_stamps(toy_settings(folder, size_pix=16), 20, 4, folder / "bank.h5", psfs=PSFS)
    return StampBank.load(folder / "bank.h5")


def backgrounds(bank: StampBank, n: int = 50, margin: int = 0, level: float = 0.05) -> Backgrounds:
    rng = np.random.default_rng(n)
    side = bank.size_pix + 2 * margin
    t = bank.exposure_s[:, None, None]
    images = rng.poisson(np.full((n, 3, side, side), level) * t) / t
    images *= rng.uniform(0.5, 2.0, (n, 3, 1, 1))
    nowhere = np.zeros(n, int)
    return Backgrounds(
        bank.bands,
        images.astype(np.float32),
        nowhere,
        nowhere,
        nowhere,
        bank.exposure_s,
        bank.zero_point,
        bank.pixel_scale_arcsec,
        margin,
    )


def test_what_is_added_has_the_mean_of_the_cluster_and_its_noise():
    """Mean: the cluster; variance: (cluster + median)/t; 40,000 draws, five standard deviations."""
    n, t, median = 40_000, np.array([900.0, 400.0]), np.array([0.02, 0.05])
    cluster = np.array([[[0.0, 0.01]], [[0.3, 8.0]]], np.float32)
    own = np.array([[[0.05, -0.01]], [[7.0, 0.0]]], np.float32)
    every = (n, 2, 1, 2)
    seen = observe(
        np.broadcast_to(cluster, every).copy(),
        np.broadcast_to(own, every).copy(),
        np.broadcast_to(median, (n, 2)).copy(),
        t,
        np.random.default_rng(1),
    )
    added = seen.astype(float) - own
    variance = (cluster + median[:, None, None]) / t[:, None, None]
    assert (np.abs(added.mean(0) - cluster) < 5 * np.sqrt(variance / n) + 1e-6).all()
    # Of a Poisson variable the variance's own variance is (2 λ² + λ)/n.
    expected = variance * t[:, None, None] ** 2
    scatter = np.sqrt((2 * expected**2 + expected) / n) / t[:, None, None] ** 2
    assert (np.abs(added.var(0) - variance) < 5 * scatter + 1e-9).all()
    # Photo-electrons are counted whole, and as often as Poisson says.
    counts = (added[:, 0, 0, 1] + median[0]) * t[0]
    np.testing.assert_allclose(counts, np.rint(counts), atol=2e-3)
    share = (np.rint(counts) == 27).mean()
    assert share == pytest.approx(poisson(27.0).pmf(27), abs=5 * (0.08 / n) ** 0.5)


def test_a_sky_that_was_taken_off_gives_no_noise():
    dark = np.zeros((1, 1, 4, 4), np.float32)
    below = np.full((1, 1), -0.3)
    seen = observe(dark, dark, below, np.full(1, 100.0), np.random.default_rng(0))
    assert (seen == 0).all()
    bright = observe(dark + 5000.0, dark, below, np.full(1, 100.0), np.random.default_rng(0))
    np.testing.assert_allclose(bright, 5000.0, rtol=0.01)


def test_a_batch_is_half_backgrounds_and_half_clusters(bank):
    sky = backgrounds(bank)
    batch = compose(bank, sky, seed=1, settings=EIGHT)
    assert len(batch) == 16 and batch.images.dtype == np.float32
    assert batch.has_cluster.tolist() == [False] * 8 + [True] * 8
    assert (batch.cluster[:8] == -1).all() and (batch.visibility[:8] == 0).all()
    assert (batch.cluster[8:] >= 0).all() and (batch.visibility[8:] > 0).all()
    np.testing.assert_array_equal(batch.images[:8], sky.images[batch.background[:8]])
    for at in range(8, 16):
        added = batch.images[at].astype(float) - sky.images[batch.background[at]]
        truth, t = bank.images[batch.cluster[at]], bank.exposure_s[:, None, None]
        noise = np.sqrt((truth + sky.median[batch.background[at]][:, None, None]) / t)
        off = (added - truth) / noise
        assert abs(off.mean()) < 5 / off.size**0.5 and off.std() == pytest.approx(1, abs=0.15)
    assert ComposeSettings().n_backgrounds == ComposeSettings().n_clusters == 256


def test_visibility_is_that_of_the_cluster_on_its_background(bank):
    sky = backgrounds(bank)
    batch = compose(bank, sky, seed=1, settings=EIGHT)
    y, x = np.indices((16, 16)) - 7.5
    r = np.hypot(x, y)
    for at in range(8, 16):
        stamp = bank.images[batch.cluster[at]].astype(float)
        each = []
        for band in range(3):
            # The pixels nearest to the middle that hold half of the light.
            light = np.cumsum(stamp[band].ravel()[np.argsort(r.ravel(), kind="stable")])
            n = np.searchsorted(light, light[-1] / 2) + 1
            sigma = sky.images[batch.background[at], band].astype(float).std()
            each.append(light[-1] / 2 / n / sigma)
        # Pixels count whole here and in parts there.
        assert batch.visibility[at] == pytest.approx(np.mean(each), rel=0.15)


def test_a_step_is_always_the_same_and_no_other(bank):
    sky, options = backgrounds(bank), dataclasses.replace(EIGHT, dihedral=True, jitter=0.2)
    one = compose(bank, sky, 1, 5, options)
    same = compose(bank, sky, 1, 5, options)
    for field in dataclasses.fields(one):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(same, field.name))
    for other in (compose(bank, sky, 1, 6, options), compose(bank, sky, 2, 5, options)):
        assert (one.background != other.background).any() and (one.images != other.images).any()


def test_every_mock_and_background_comes_once_in_a_pass(bank):
    sky = backgrounds(bank, 48)
    batches = [compose(bank, sky, 3, step, EIGHT) for step in range(9)]
    clusters = np.concatenate([batch.cluster[8:] for batch in batches])
    places = np.concatenate([batch.background for batch in batches])
    for start in range(0, 60, 20):
        assert sorted(clusters[start : start + 20]) == list(range(20))
    for start in range(0, 144, 48):
        assert sorted(places[start : start + 48]) == list(range(48))
    assert clusters[:20].tolist() != clusters[20:40].tolist()
    pairs = set(zip(clusters, np.concatenate([b.background[8:] for b in batches]), strict=True))
    assert len(pairs) > 60


def test_a_batch_may_be_larger_than_the_bank(bank):
    sky = backgrounds(bank, 10)
    batch = compose(bank, sky, 3, 1, ComposeSettings(n_backgrounds=3, n_clusters=47))
    # Places 47 to 93 of passes of 20: one whole pass, and parts of those before and after.
    counts = np.bincount(batch.cluster[3:], minlength=20)
    assert counts.sum() == 47 and counts.min() >= 1 and counts.max() <= 3
    empty = compose(bank, sky, 3, 1, ComposeSettings(n_backgrounds=5, n_clusters=0))
    assert not empty.has_cluster.any() and len(empty) == 5


def test_the_eight_ways_of_a_square():
    image = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    ways = turned(np.repeat(image, 8, axis=0), np.arange(8))
    assert len({way.tobytes() for way in ways}) == 8
    rotations = {np.rot90(image[0, 0], k).tobytes() for k in range(4)}
    mirrored = {np.rot90(image[0, 0].T, k).tobytes() for k in range(4)}
    assert {np.ascontiguousarray(way).tobytes() for way in ways} == rotations | mirrored
    np.testing.assert_array_equal(ways[0], image[0])
    np.testing.assert_array_equal(ways[1, 0], image[0, 0, :, ::-1])
    np.testing.assert_array_equal(ways[2, 0], image[0, 0, ::-1])
    np.testing.assert_array_equal(ways[4, 0], image[0, 0].T)


def test_augmented_stamps_are_the_same_stamps_turned(bank):
    sky = backgrounds(bank)
    plain = compose(bank, sky, 1, 0, EIGHT)
    batch = compose(bank, sky, 1, 0, dataclasses.replace(EIGHT, dihedral=True))
    np.testing.assert_array_equal(batch.images, turned(plain.images, batch.variant))
    np.testing.assert_array_equal(batch.visibility, plain.visibility)
    assert len(set(batch.variant)) > 3 and (plain.variant == 0).all()
    many = [compose(bank, sky, 1, s, dataclasses.replace(EIGHT, dihedral=True)) for s in range(50)]
    counts = np.bincount(np.concatenate([each.variant for each in many]), minlength=8)
    assert counts.min() > 60 and counts.max() < 140  # of 800


def test_calibration_is_uncertain_band_by_band(bank):
    sky, sizes = backgrounds(bank, 60), ComposeSettings(n_backgrounds=60, n_clusters=0, jitter=0.2)
    factors = []
    for step in range(20):
        batch = compose(bank, sky, 1, step, sizes)
        ratio = batch.images / sky.images[batch.background]
        spread = np.nanmax(ratio, axis=(2, 3)) - np.nanmin(ratio, axis=(2, 3))
        assert spread.max() < 1e-5
        factors.append(np.nanmean(ratio, axis=(2, 3)))
    factors = np.concatenate(factors)
    assert factors.mean() == pytest.approx(1, abs=5 * 0.2 / 3600**0.5)
    assert factors.std() == pytest.approx(0.2, rel=0.06)
    assert abs(np.corrcoef(factors.T)[0, 1]) < 5 / 1200**0.5


def test_a_cluster_keeps_its_light_on_a_background_of_uncertain_calibration(bank):
    sky = backgrounds(bank)
    plain = compose(bank, sky, 1, 0, EIGHT)
    batch = compose(bank, sky, 1, 0, dataclasses.replace(EIGHT, jitter=0.3))
    np.testing.assert_array_equal(batch.cluster, plain.cluster)
    factor = batch.images[:8] / plain.images[:8]
    assert np.nanstd(factor) > 0.1
    for at in range(8, 16):
        own, truth = sky.images[batch.background[at]].astype(float), bank.images[batch.cluster[at]]
        # The factor of least squares, of pixels that the cluster hardly reaches.
        for band in range(3):
            edge = np.ones((16, 16), bool)
            edge[1:-1, 1:-1] = False
            rest = batch.images[at, band].astype(float) - truth[band]
            f = (rest[edge] * own[band][edge]).sum() / (own[band][edge] ** 2).sum()
            middle = rest[6:10, 6:10].mean() - f * own[band, 6:10, 6:10].mean()
            light = truth[band, 6:10, 6:10].mean()
            noise = np.sqrt((light + 0.2) / bank.exposure_s[band] / 16)
            assert abs(middle) < 6 * noise
    assert (batch.visibility[8:] != plain.visibility[8:]).all()


def test_backgrounds_with_a_margin_are_shifted(bank):
    wide = backgrounds(bank, margin=3)
    batch = compose(bank, wide, 1, 0, ComposeSettings(n_backgrounds=40, n_clusters=10))
    places = set()
    for at in range(40):
        every = wide.images[batch.background[at]]
        found = [
            (dy, dx)
            for dy in range(7)
            for dx in range(7)
            if np.array_equal(every[:, dy : dy + 16, dx : dx + 16], batch.images[at])
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 20
    assert {p[0] for p in places} == {p[1] for p in places} == set(range(7))
    assert (batch.visibility[40:] > 0).all()
    np.testing.assert_allclose(wide.sigma, background_sigma(wide.images[:, :, 3:-3, 3:-3].copy()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bands": ("red", "green", "blue")}, "the bank has the bands blue, green, red and the"),
        ({"zero_point": np.array([24.0, 25.0, 24.6])}, "with `StampSettings.like`"),
        ({"pixel_scale_arcsec": 0.05}, "the backgrounds 0.05 arcsec"),
        ({"margin_pix": 2}, "16 pixels a side and backgrounds 12"),
    ],
)
def test_backgrounds_of_another_kind_are_refused(bank, change, message):
    with pytest.raises(ValueError, match=message):
        compose(bank, dataclasses.replace(backgrounds(bank), **change), 1)


def test_mistakes_are_named(bank):
    sky = backgrounds(bank)
    with pytest.raises(ValueError, match="0 backgrounds and 20 mocks; expected some"):
        compose(bank, sky.of("test"), 1)
    with pytest.raises(ValueError, match="50 backgrounds and 0 mocks"):
        compose(bank.take(slice(0, 0)), sky, 1)
    with pytest.raises(ValueError, match="step is -1"):
        compose(bank, sky, 1, -1)
    with pytest.raises(ValueError, match="seed is -1"):
        compose(bank, sky, -1)
    with pytest.raises(ValueError, match="and a stamp at least"):
        ComposeSettings(0, 0)
    with pytest.raises(ValueError, match=r"jitter is 1\.5"):
        ComposeSettings(jitter=1.5)
