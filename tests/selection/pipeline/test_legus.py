"""White light, detection and the cuts of the LEGUS pipeline."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import KDTree

from starcensus.selection.pipeline import Detections, LegusPipeline, LegusSettings
from starcensus.selection.pipeline.legus import centroids, detect
from starcensus.simulate.images.frame import BandImage, Frame
from starcensus.simulate.images.psf import optical_psf
from starcensus.simulate.images.render import add_sources
from starcensus.simulate.images.templates import make_template
from starcensus.simulate.images.white import white_light

BANDS = ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W", "ACS_F435W", "ACS_F555W", "ACS_F814W")


def frame(bands=BANDS, shape=(90, 140), seed: int = 0) -> Frame:
    rng = np.random.default_rng(seed)
    images = [
        BandImage(band, rng.normal(1.0, 0.1, shape).astype(np.float32), 1000.0, 25.0)
        for band in bands
    ]
    return Frame(tuple(images), 29.98)


def test_white_light_is_equation_19():
    field = frame()
    sets = ((55.8, 45.3, 44.2, 65.7, 29.3), (0.5, 0.8, 3.1, 11.2, 13.7))
    expected = np.zeros(field.shape)
    for scales in sets:
        total, norm = np.zeros(field.shape), 0.0
        for image, scale in zip(field, scales, strict=True):
            above = np.clip(image.data.astype(float) - np.median(image.data), 0, None)
            total += (above / scale) ** 2
            norm += scale**-2
        expected += np.sqrt(total / norm) / 2
    np.testing.assert_allclose(white_light(field), expected, rtol=1e-5, atol=1e-6)


def test_white_light_names_a_band_without_a_factor():
    with pytest.raises(ValueError, match="no scale factor for WFC3_UVIS_F225W"):
        white_light(frame(("WFC3_UVIS_F225W", "ACS_F555W")))


def test_sources_are_found_where_they_are_and_sep_is_left_as_it_was():
    import sep

    before = sep.get_extract_pixstack(), sep.get_sub_object_limit()
    y, x = np.mgrid[:90, :140]
    white = np.random.default_rng(1).normal(0, 0.01, (90, 140)).astype(np.float32)
    for x0, y0 in [(110.3, 20.2), (30.7, 70.1)]:
        white += (3 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 4)).astype(np.float32)
    found = np.stack(detect(white, LegusSettings()), axis=1)
    np.testing.assert_allclose(sorted(found.tolist()), [[30.7, 70.1], [110.3, 20.2]], atol=0.05)
    assert (sep.get_extract_pixstack(), sep.get_sub_object_limit()) == before


def source(
    bands=BANDS, rate: float = 20.0, width: float = 6.0, dark: tuple[str, ...] = (), **changes
):
    """Detections of one Gaussian source in a frame; `changes` are of the settings."""
    field = frame(bands)
    y, x = np.mgrid[:90, :140]
    light = rate * np.exp(-((x - 100) ** 2 + (y - 40) ** 2) / width)
    data = {
        image.band: image.data + light.astype(np.float32) * (image.band not in dark)
        for image in field
    }
    changes = {"detection_sigma": 5.0} | changes
    settings = LegusSettings(aperture_correction=dict.fromkeys(bands, -0.5), **changes)
    found = LegusPipeline(settings)(field.with_data(data))
    # A centroid in V has nothing to hold on to where the source is dark in V.
    near = np.hypot(found.x - 100, found.y - 40) < (4 if "ACS_F555W" in dark else 1)
    assert near.sum() == 1
    return found.take(near)


def test_a_bright_extended_source_passes_every_cut():
    found = source()
    assert found.catalogued.all() and list(found.cuts) == [
        "v_error",
        "b_or_i_error",
        "ci",
        "n_bands",
        "absolute_v",
    ]
    # All but 1% of a Gaussian of sigma^2 = 3 is within 4 pixels but 7%; the correction is -0.5.
    wanted = 25 - 2.5 * np.log10(20 * np.pi * 6 * (1 - np.exp(-16 / 6))) - 0.5
    assert found.mags[0] == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize(
    ("changes", "failed"),
    [
        ({"width": 0.8, "rate": 60.0}, {"ci"}),
        ({"dark": ("WFC3_UVIS_F275W", "WFC3_UVIS_F336W")}, {"n_bands"}),
        ({"dark": ("ACS_F555W",)}, {"v_error", "ci", "absolute_v"}),
        ({"dark": ("ACS_F435W", "ACS_F814W")}, {"b_or_i_error", "n_bands"}),
    ],
)
def test_each_cut_fails_what_it_is_for(changes, failed: set[str]):
    found = source(**changes)
    assert failed <= {name for name, passed in found.cuts.items() if not passed[0]}
    assert not found.catalogued.any()


@pytest.mark.parametrize("dark", ["ACS_F435W", "ACS_F814W"])
def test_b_or_i_is_enough_in_stage_1(dark: str):
    found = source(dark=(dark,))
    assert not found.mag_errors[0, BANDS.index(dark)] <= 0.3
    assert found.cuts["b_or_i_error"].all() and found.catalogued.all()


def test_the_limit_of_ci_rises_with_the_sky():
    # The sky is 1 electron/s, two decades above the reference, to 0.02 dex.
    ci = float(source().ci[0])
    for limit in (ci - 0.6, ci + 0.6):
        for margin, passes in ((0.05, True), (-0.05, False)):
            slope = (ci - margin - limit) / 2
            found = source(ci_limit=limit, ci_sky_slope=slope, ci_sky_reference=0.01)
            assert found.cuts["ci"].tolist() == [passes]
    # Below the reference it stays.
    assert source(ci_limit=ci - 0.1, ci_sky_slope=5.0, ci_sky_reference=50.0).cuts["ci"].all()


def structured(rng: np.random.Generator) -> tuple[Frame, np.ndarray, np.ndarray]:
    """Point sources in light with structure of 10 pixels, as bright as spiral arms are."""
    shape, bands = (300, 400), ("ACS_F435W", "ACS_F555W", "ACS_F814W", "WFC3_UVIS_F336W")
    lumps = ndimage.gaussian_filter(rng.standard_normal(shape), 4)
    light = 0.5 * np.exp(0.5 * lumps / lumps.std())
    grid = np.stack(np.meshgrid(np.arange(30, 380, 30), np.arange(30, 280, 30)), -1)
    x, y = (grid.reshape(-1, 2) + rng.uniform(-4, 4, (grid.size // 2, 2))).T
    stars = np.zeros(shape, np.float32)
    template = make_template(optical_psf("ACS_F555W"), None, 1.9)
    add_sources(stars, template, x, y, rng.uniform(15, 200, len(x)))
    images = [
        BandImage(band, (rng.poisson((light + stars) * 1000) / 1000).astype(np.float32), 1e3, 25.0)
        for band in bands
    ]
    return Frame(tuple(images), 29.98), x, y


def test_point_sources_do_not_enter_in_structured_light():
    """Without centroids stars are measured off their centre, and pass the cut for clusters."""
    field, x, y = structured(np.random.default_rng(3))

    def entered(**changes) -> tuple[int, float]:
        settings = LegusSettings(
            aperture_correction=dict.fromkeys(field.bands, -0.3), detection_sigma=5.0, **changes
        )
        found = LegusPipeline(settings)(field)
        distance, star = KDTree(np.stack([x, y], 1)).query(np.stack([found.x, found.y], 1))
        near = distance < 3
        assert len(np.unique(star[near])) > 25
        return int(found.catalogued[near].sum()), float(np.quantile(distance[near], 0.95))

    n, off = entered()
    assert n == 0 and off < 0.1
    n, off = entered(centroid_sigma_pix=0.0)
    assert n > 5 and off > 1


def test_sources_of_one_centre_are_one():
    """Two barycentres on either side of a source become its centre, once; another stays."""
    field = frame()
    y, x = np.mgrid[:90, :140]
    data = field.images[3].data + 20 * np.exp(-((x - 100.3) ** 2 + (y - 40.4) ** 2) / 4)
    data += 20 * np.exp(-((x - 50.0) ** 2 + (y - 20.0) ** 2) / 4)
    image = field.images[3].with_data(data.astype(np.float32))
    at = np.array([99.2, 50.4, 101.0]), np.array([40.0, 20.0, 41.0])
    found = np.stack(centroids(image, *at, LegusSettings()), axis=1)
    np.testing.assert_allclose(found, [[50.0, 20.0], [100.3, 40.4]], atol=0.02)
    # Too far away to be its centre.
    far = np.array([96.0]), np.array([40.0])
    kept = np.stack(centroids(image, *far, LegusSettings(centroid_shift_pix=1.0)), axis=1)
    np.testing.assert_array_equal(kept, [[96.0, 40.0]])


def test_a_source_without_data_in_one_band_is_found_by_the_others():
    field = frame()
    y, x = np.mgrid[:90, :140]
    light = sum(
        20 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 6) for x0, y0 in ((100, 40), (30, 40))
    )
    lit = field.with_data({image.band: image.data + light for image in field})
    bad = np.zeros(field.shape, bool)
    bad[:, 70:] = True

    def found(band: str) -> tuple[list[float], Detections]:
        images = tuple(
            dataclasses.replace(image, bad=bad) if image.band == band else image for image in lit
        )
        settings = LegusSettings(
            aperture_correction=dict.fromkeys(BANDS, 0.0), detection_sigma=5.0, min_area_pix=20
        )
        out = LegusPipeline(settings)(Frame(images, 29.98))
        return np.rint(out.x).tolist(), out

    order, both = found("WFC3_UVIS_F275W")
    assert sorted(order) == [30, 100] and both.catalogued.all()
    assert np.isnan(both.mags[:, 0]).tolist() == [place == 100 for place in order]
    assert np.isfinite(both.mags[:, 1:]).all()
    assert found("ACS_F555W")[0] == [30]


def test_white_light_of_pixels_is_that_of_their_good_bands():
    field = frame()
    bad = np.zeros(field.shape, bool)
    bad[:, 70:] = True
    # No number: it must not come in.
    broken = np.where(bad, np.nan, field.images[1].data)
    some = tuple(
        dataclasses.replace(image, data=broken, bad=bad) if i == 1 else image
        for i, image in enumerate(field)
    )
    white = white_light(Frame(some, 29.98))
    rest = white_light(Frame(tuple(i for i in field if i.band != BANDS[1]), 29.98))
    np.testing.assert_allclose(white[:, 70:], rest[:, 70:], rtol=1e-5, atol=1e-7)
    assert not np.allclose(white[:, :70], rest[:, :70])
    nothing = tuple(dataclasses.replace(image, bad=bad) for image in field)
    assert not white_light(Frame(nothing, 29.98))[:, 70:].any()


def test_defaults_are_those_of_ngc_628c():
    # Adamo et al. (2017), and the survey's configuration: 10 pixels above 20 sigma.
    s = LegusSettings()
    assert (s.detection_sigma, s.min_area_pix) == (20.0, 10)
    assert (s.aperture_pix, s.sky_pix, s.ci_pix) == (4.0, (7.0, 8.0), (1.0, 3.0))
    assert (s.ci_limit, s.ci_sky_slope) == (1.4, 0.0)
    assert (s.max_error, s.min_bands, s.max_absolute_v) == (0.3, 4, -6.0)
    assert (s.deblend_levels, s.deblend_contrast, s.clean) == (32, 0.005, 1.0)
    assert (s.back_size_pix, s.back_filter) == (30, 1)
    # Not of the survey's configuration, which leaves the centring to IRAF.
    assert (s.centroid_sigma_pix, s.centroid_shift_pix) == (1.0, 3.0)


def test_the_magnitude_cut_follows_the_distance():
    field = frame()
    settings = LegusSettings(aperture_correction=dict.fromkeys(BANDS, 0.0), detection_sigma=5.0)
    y, x = np.mgrid[:90, :140]
    light = (4 * np.exp(-((x - 100) ** 2 + (y - 40) ** 2) / 6)).astype(np.float32)
    lit = field.with_data({image.band: image.data + light for image in field})
    v = 25 - 2.5 * np.log10(4 * np.pi * 6 * (1 - np.exp(-16 / 6)))
    for modulus, passes in [(v + 6.2, True), (v + 5.8, False)]:
        found = LegusPipeline(settings)(Frame(lit.images, modulus))
        near = np.hypot(found.x - 100, found.y - 40) < 2
        assert found.cuts["absolute_v"][near].tolist() == [passes]


def test_what_a_frame_must_have_is_said():
    pipeline = LegusPipeline()
    with pytest.raises(ValueError, match=r"F555W or F606W.* among the bands ACS_F435W"):
        pipeline(frame(("ACS_F435W",)))
    with pytest.raises(ValueError, match="has 1 bands; 4 are needed"):
        pipeline(frame(("ACS_F555W",)))
    with pytest.raises(ValueError, match="no aperture correction for WFC3_UVIS_F275W"):
        pipeline(frame())


def test_detections_count_what_is_left_after_each_cut():
    passed = {"a": np.array([True, True, False]), "b": np.array([True, False, True])}
    plane = np.zeros((3, 1))
    found = Detections(("V",), np.zeros(3), np.zeros(3), plane, plane, np.zeros(3), passed)
    assert found.counts() == {"detected": 3, "a": 2, "b": 1}
    assert found.catalogued.tolist() == [True, False, False]
