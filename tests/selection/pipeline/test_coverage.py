"""Detection where bands cover a field unequally, and where there is one band alone."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from starcensus.selection.pipeline import LegusPipeline, LegusSettings, run_pipeline
from starcensus.selection.pipeline.coverage import Mesh, Noise, above_background
from starcensus.selection.pipeline.legus import _extract
from starcensus.simulate import ReadOptions, read_frame
from starcensus.simulate.images.frame import BandImage, Frame
from starcensus.simulate.images.white import SCALE_FACTORS, even_white_light, white_light

# Exposure time (s) and sky (electrons/s) of LEGUS's NGC 628-C.
EXPOSURES = {
    "WFC3_UVIS_F275W": (2481.0, 0.001),
    "WFC3_UVIS_F336W": (2361.0, 0.003),
    "ACS_F435W": (1358.0, 0.02),
    "ACS_F555W": (858.0, 0.035),
    "ACS_F814W": (922.0, 0.07),
}
UV = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W")
OPTICAL = ("ACS_F435W", "ACS_F555W", "ACS_F814W")
MESH = Mesh(30, 1)


def noise(bands: tuple[str, ...], shape=(700, 1000), light=0.0, seed: int = 0) -> Frame:
    """Sky and further light (electrons/s in V's scale) with their noise; no source."""
    rng, images = np.random.default_rng(seed), []
    for band in bands:
        time, sky = EXPOSURES[band]
        level = np.broadcast_to(sky * (1 + light), shape)
        electrons = rng.poisson(level * time) + rng.normal(0, 3.1 * 2**0.5, shape)
        images.append(BandImage(band, (electrons / time).astype(np.float32), time, 25.0, 3.1, 2))
    return Frame(tuple(images), 29.98)


def without(frame: Frame, bands: tuple[str, ...], bad: np.ndarray) -> Frame:
    images = (dataclasses.replace(i, bad=bad) if i.band in bands else i for i in frame)
    return dataclasses.replace(frame, images=tuple(images))


def found(frame: Frame, sigma: float, area: int) -> np.ndarray:
    """x of what is detected."""
    settings = LegusSettings(detection_sigma=sigma, min_area_pix=area)
    bad = frame.image("ACS_F555W").bad if "ACS_F555W" in frame.bands else None
    above, threshold = above_background(frame, SCALE_FACTORS, MESH, sigma, bad)
    return _extract(above, threshold, settings, bad)[0]


@pytest.mark.parametrize(
    ("bands", "missing", "sigma", "area"),
    [
        ((*UV, *OPTICAL), UV, 3.0, 5),
        ((*UV, *OPTICAL), UV[:1], 4.0, 3),
        ((*UV, *OPTICAL), OPTICAL[:1], 4.0, 3),
        (OPTICAL, OPTICAL[::2], 3.0, 4),
    ],
)
def test_false_detections_are_as_dense_where_a_band_is_missing(bands, missing, sigma, area):
    """One threshold for all gave 50 times as many where the UV bands ended."""
    frame = noise(bands)
    bad = np.zeros(frame.shape, bool)
    bad[:, 600:] = True
    x = found(without(frame, missing, bad), sigma, area)
    n, m = (x < 600).sum(), (x >= 600).sum()
    assert n > 15 and n + m < 400
    assert abs(n / 0.6 - m / 0.4) < 2 * (n / 0.6**2 + m / 0.4**2) ** 0.5


def test_thresholds_are_those_that_noise_exceeds_equally_often():
    """Against draws: white light of two bands, and of one of them, by its formula."""
    sigma, scales = np.array([0.02, 0.011]), np.array([[44.2, 65.7], [3.1, 11.2]])
    draws = np.random.default_rng(1).normal(0, sigma, (2_000_000, 2))
    both = np.zeros(len(draws))
    for s in scales:
        total = np.sqrt(((np.maximum(draws, 0) / s) ** 2).sum(1) / (s**-2.0).sum())
        both += total / 2
    one = draws[:, 1]
    made = Noise(sigma, np.zeros(2), 1 / scales)
    level = np.median(both)
    for quantile in (0.97, 0.999):
        threshold = np.quantile(both, quantile) - level
        ratio = made.ratio(0b11, 0b10, float(threshold), MESH)
        share = (one * ratio > threshold).mean()
        # The background's estimate is not the median: 0.1 standard deviations of it.
        assert share == pytest.approx(1 - quantile, rel=0.25)


def test_a_field_that_all_bands_cover_is_as_it_was():
    """To the bit: white light, sep's background and its standard deviation."""
    import sep

    frame = noise((*UV, *OPTICAL), (300, 400))
    white = white_light(frame)
    back = sep.Background(white, bw=30, bh=30, fw=1, fh=1)
    above, threshold = above_background(frame, SCALE_FACTORS, MESH, 20.0, None)
    np.testing.assert_array_equal(above, white - back.back(dtype=np.float32))
    assert threshold == 20.0 * back.globalrms


def test_of_one_band_noise_is_gaussian():
    """Clipped at its median the band had no noise, and half of its pixels stood above 10 σ."""
    frame = noise(("ACS_F555W",))
    above, threshold = above_background(frame, SCALE_FACTORS, MESH, 2.5, None)
    # Photons are skew, and each mesh has a level of its own.
    assert 1 < (above > threshold).mean() / stats.norm.sf(2.5) < 2
    assert not len(found(frame, 10.0, 1)) and not len(found(frame, 3.0, 10))


def test_a_bright_disc_has_no_sources_where_a_band_ends():
    """Its white light has a step there, of many times the threshold."""
    y, x = np.mgrid[:400, :600]
    light = 30 * np.exp(-np.hypot(x - 250, y - 200) / 150)
    frame = noise((*UV, *OPTICAL), (400, 600), light)
    bad = np.zeros(frame.shape, bool)
    bad[:, 300:] = True
    lacking = without(frame, UV, bad)
    at = found(lacking, 8.0, 5)
    assert not (np.abs(at - 300) < 40).any() and len(at) < 3
    # Clusters are placed as if there were no step.
    even, plain = (make(lacking) for make in (even_white_light, white_light))
    steps = [float(w[150:250, 305:325].mean() / w[150:250, 275:295].mean()) for w in (even, plain)]
    true = white_light(frame)
    wanted = float(true[150:250, 305:325].mean() / true[150:250, 275:295].mean())
    assert steps[0] == pytest.approx(wanted, rel=0.1) and abs(steps[1] / wanted - 1) > 0.2


def test_single_pixels_without_a_band_make_no_sources_and_hide_none():
    y, x = np.mgrid[:400, :600]
    light = sum(300 * np.exp(-((x - at) ** 2 + (y - 200.3) ** 2) / 6) for at in range(50, 600, 50))
    frame = noise((*UV, *OPTICAL), (400, 600), light)
    bad = np.random.default_rng(2).random(frame.shape) < 0.02
    whole, lacking = found(frame, 8.0, 8), found(without(frame, UV, bad), 8.0, 8)
    assert len(whole) == 11
    np.testing.assert_allclose(np.sort(lacking), np.sort(whole), atol=1.0)


def test_sources_near_a_border_of_the_data_are_flagged():
    """2 pixels from NaN a source lacks a part of its aperture; 9 pixels away, nothing."""
    frame = noise(OPTICAL, (120, 200))
    y, x = np.mgrid[:120, :200]
    at = {20: 2.0, 60: 9.0, 100: 5.0}
    light = sum(
        40 * np.exp(-((x - 99 + away) ** 2 + (y - row) ** 2) / 6) for row, away in at.items()
    )
    data = {image.band: image.data + light.astype(np.float32) for image in frame}
    bad = np.zeros(frame.shape, bool)
    bad[:, 100:] = True
    frame = without(frame.with_data(data), OPTICAL, bad)
    settings = LegusSettings(
        aperture_correction=dict.fromkeys(OPTICAL, 0.0), detection_sigma=8.0, min_bands=2
    )
    out = run_pipeline(LegusPipeline(settings), frame)
    near = {
        row: int(np.argmin(np.hypot(out.x - 99 + away, out.y - row))) for row, away in at.items()
    }
    assert [bool(out.columns["near_edge"][near[row]]) for row in at] == [True, False, True]
    assert [bool(out.catalogued[near[row]]) for row in at] == [False, True, True]


@pytest.mark.shared
def test_a_real_frame_of_one_band(shared):
    """Both of its catalogued clusters are found, and nothing in the mirrored light."""
    options = ReadOptions(
        unit="electrons/s", exposure_s=1710.0, zero_point=38.2, read_noise_e=3.5, n_exposures=5
    )
    path = shared / "images" / "phat_b09" / "M31-B09-EAST_chunk_F475W_drz.chip1.fits"
    frame = read_frame({"ACS_F475W": path}, 24.47, options=options)
    factors = ({"F475W": 1.0},)
    numbers = []
    for sign in (1, -1):
        turned = frame.with_data({"ACS_F475W": sign * frame.images[0].data})
        above, threshold = above_background(turned, factors, MESH, 10.0, None)
        x, y = _extract(above, threshold, LegusSettings(), None)
        numbers.append(len(x))
        if sign == 1:
            # Their centres are resolved into parts.
            for at, reach in (((86.6, 699.2), 5.0), ((864.2, 43.1), 8.0)):
                assert np.hypot(x - at[0], y - at[1]).min() < reach
    assert 100 < numbers[0] < 300 and numbers[1] <= 2
