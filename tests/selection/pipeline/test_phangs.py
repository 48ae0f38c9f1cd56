"""The PHANGS-HST pipeline on frames: what it finds, keeps and drops, and what it asks for."""

import dataclasses
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy import ndimage
from scipy.spatial import KDTree

from starcensus.selection.injection import InjectionPlan, Injector
from starcensus.selection.pipeline import Detections, PhangsPipeline, PhangsSettings, Pipeline
from starcensus.selection.pipeline.phangs import (
    HitMap,
    ModelRegions,
    SourceList,
    StellarExclusion,
    augments,
    clean_stars,
    find_sources,
    in_polygon,
    model_ci,
    multi_scale,
    stellar_exclusion,
)
from starcensus.simulate import ClusterLibrary
from starcensus.simulate.clusters.profiles import EFF, Moffat
from starcensus.simulate.images.frame import BandImage, Frame
from starcensus.simulate.images.psf import PSF, optical_psf
from starcensus.simulate.images.render import add_sources
from starcensus.simulate.images.templates import Templates, make_template

BANDS = ("WFC3_UVIS_F438W", "WFC3_UVIS_F555W", "WFC3_UVIS_F814W")
V = BANDS[1]
SIDE, EXPOSURE_S, MODULUS = 400, 1000.0, 29.98
PC_PER_PIXEL = 1.902

Sources = tuple[np.ndarray, np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def psfs() -> dict[str, PSF]:
    return {band: optical_psf(band, radius_pix=60) for band in BANDS}


@pytest.fixture(scope="module")
def templates(psfs):
    kinds = {
        "star": None,
        "cluster": Moffat(2.0, 3.0),
        "wide": Moffat(3.0, 1.5),
        # What aperture corrections are made for, in pixels.
        "eff": EFF.from_half_light(3.0 / PC_PER_PIXEL, truncation_pc=60.0),
    }
    return {
        (band, kind): make_template(psfs[band], profile, 1.0)
        for band in BANDS
        for kind, profile in kinds.items()
    }


def scatter(n: int, seed: int, low: float = 0.3, high: float = 1.8) -> Sources:
    """Positions on a jittered grid, and rates between powers of ten."""
    rng = np.random.default_rng(seed)
    per_side = int(np.ceil(n**0.5))
    cell = (SIDE - 30) / per_side
    i, j = np.divmod(rng.permutation(per_side**2)[:n], per_side)
    x, y = (15 + cell * (k + rng.uniform(0.15, 0.85, n)) for k in (i, j))
    return x, y, 10 ** rng.uniform(low, high, n)


def make_frame(templates, sources: dict[str, Sources], seed: int = 0, shape=(SIDE, SIDE)) -> Frame:
    rng = np.random.default_rng(seed)
    images = []
    for band in BANDS:
        light = np.full(shape, 0.1, np.float32)
        for kind, (x, y, rate) in sources.items():
            add_sources(light, templates[band, kind], x, y, rate)
        data = (rng.poisson(light * EXPOSURE_S) / EXPOSURE_S).astype(np.float32)
        images.append(BandImage(band, data, EXPOSURE_S, 25.0))
    return Frame(tuple(images), MODULUS)


def recovered(found: Detections, sources: Sources, within: float = 1.5) -> np.ndarray:
    """Which sources have a detection near them."""
    if not len(found):
        return np.zeros(len(sources[0]), bool)
    distance, _ = KDTree(np.column_stack([found.x, found.y])).query(np.column_stack(sources[:2]))
    return distance < within


@pytest.fixture(scope="module")
def star_field(templates):
    stars = scatter(200, 1)
    return make_frame(templates, {"star": stars}), stars


@pytest.fixture(scope="module")
def pipeline(star_field, psfs) -> PhangsPipeline:
    return PhangsPipeline.for_field(star_field[0], psfs)


@pytest.mark.parametrize("kind", ["cluster", "wide"])
def test_clusters_enter_the_catalogue_and_stars_do_not(templates, star_field, psfs, kind: str):
    settings = PhangsSettings(exclusion_level=0.05)
    pipeline = PhangsPipeline.for_field(star_field[0], psfs, settings)
    stars, clusters = scatter(60, 2, 0.8, 1.8), scatter(70, 3, 0.8, 1.8)
    far = KDTree(np.column_stack(stars[:2])).query(np.column_stack(clusters[:2]))[0] > 10
    clusters = clusters[0][far], clusters[1][far], clusters[2][far]
    found = pipeline(make_frame(templates, {"star": stars, kind: clusters}, seed=4))
    catalogue = found.take(found.catalogued)
    assert recovered(found, stars).mean() > 0.98
    assert recovered(catalogue, clusters).mean() > 0.97
    assert recovered(catalogue, stars).mean() < 0.1


@pytest.mark.parametrize(
    ("m_v", "r_eff_pc", "share"),
    [(-8.5, 4.0, (0.9, 1)), (-8.5, 0.0, (0, 0.2)), (-4.0, 4.0, (0, 0.05))],
)
def test_an_artificial_cluster_test_of_it(
    star_field, psfs, m_v: float, r_eff_pc: float, share: tuple[float, float]
):
    # Through injection and matching, with the magnitudes of a library: clusters of 4 pc are found,
    # those too faint and point sources are not.
    frame, _ = star_field
    pipeline = PhangsPipeline.for_field(frame, psfs, PhangsSettings(exclusion_level=0.05))
    n = 40
    theta = np.full(n, 4.0), np.full(n, 8.0), np.zeros(n)
    mags = np.full((n, 3), m_v)
    library = ClusterLibrary(*theta, BANDS, mags, np.zeros(n), r_eff_pc=np.full(n, r_eff_pc))
    radii = (r_eff_pc,) if r_eff_pc else None
    plan = InjectionPlan(n_clusters=n, per_frame=n, min_per_frame=n, radii_pc=radii)
    templates = Templates(psfs, frame.pc_per_pixel)
    table = Injector(frame, library, templates, pipeline, plan).run(0)
    assert share[0] <= table.catalogued.mean() <= share[1]


def test_half_of_the_peak_leaves_stars_among_the_candidates(templates, star_field, pipeline):
    # Half of a Gaussian's points lie outside the survey's contour, and most of these, where sky and
    # pixel phase scatter them to the left, in the polygon: 0.31 of all, and 0.57 without a region.
    frame, stars = star_field
    found = pipeline(frame)
    kept = recovered(found.take(found.catalogued), stars).mean()
    everything = dataclasses.replace(pipeline, exclusion=None)(frame)
    unmasked = recovered(everything.take(everything.catalogued), stars).mean()
    assert 0.2 < kept < 0.6 * unmasked


def test_magnitudes_are_total(templates, pipeline):
    clusters = scatter(49, 5, 1.5, 1.8)
    found = pipeline(make_frame(templates, {"eff": clusters}))
    _, rows = KDTree(np.column_stack([found.x, found.y])).query(np.column_stack(clusters[:2]))
    excess = found.mags[rows] - (25 - 2.5 * np.log10(clusters[2]))[:, None]
    assert np.abs(np.median(excess, axis=0)).max() < 0.02
    pull = (excess - np.median(excess, axis=0)) / found.mag_errors[rows]
    np.testing.assert_allclose(pull.std(axis=0), 1.0, atol=0.3)


def test_the_region_of_a_field_of_stars(star_field, psfs, pipeline):
    region = pipeline.exclusion
    assert region is not None and region.n_stars > 100
    point = multi_scale(model_ci(psfs[V], None)[None], pipeline.settings.fiducial_ci[V])
    peak = float(point[0][0]), float(point[1][0])
    assert region.peak == pytest.approx(peak, abs=0.02)
    assert region.contains(*point).all() and ndimage.label(region.map.mask)[1] == 1


def test_fiducials_lie_outside_the_region_of_stars(templates, pipeline):
    clusters = scatter(196, 6)
    found = pipeline(make_frame(templates, {"cluster": clusters}))
    inside = found.columns["excluded"][found.columns["snr_v"] > 10]
    assert len(inside) > 120 and inside.mean() < 0.02


def test_clean_stars_are_stars(templates, psfs, pipeline):
    stars, clusters = scatter(100, 7, 1.0, 1.8), scatter(100, 8, 1.0, 1.8)
    for kind, sources, low, high in (("star", stars, 0.9, 1), ("cluster", clusters, 0, 0.02)):
        frame = make_frame(templates, {kind: sources})
        found = pipeline(frame)
        snr = found.columns["detection_snr"]
        clean = clean_stars(frame.image(V), psfs[V], found.x, found.y, snr)
        assert (snr > 40).sum() > 60
        assert low <= clean[snr > 40].mean() <= high
        assert not clean[snr <= 40].any()


def test_a_bright_star_enters_by_the_super_hd_route_alone(templates, pipeline):
    # The pipeline's star region excludes it; M_V is -10.6.
    bright = np.array([200.3]), np.array([150.6]), np.array([10 ** (0.4 * (25 + 10.6 - MODULUS))])
    found = pipeline(make_frame(templates, {"star": bright}))
    row = int(np.argmin(np.hypot(found.x - 200.3, found.y - 150.6)))
    assert found.columns["super_hd"][row] and not found.columns["morphology"][row]
    assert found.cuts["candidate"][row]
    fainter = dataclasses.replace(pipeline.settings, hd_limit_m_v=-11.5)
    again = dataclasses.replace(pipeline, settings=fainter)(make_frame(templates, {"star": bright}))
    assert not again.columns["super_hd"].any()


def test_super_hd_ignores_the_errors_of_morphology(templates, pipeline):
    strict = dataclasses.replace(
        pipeline.settings, min_snr=1e9, max_mci_errors=(0.0, 0.0), hd_limit_m_v=-5.0
    )
    clusters = scatter(25, 9, 1.5, 1.8)
    found = dataclasses.replace(pipeline, settings=strict)(
        make_frame(templates, {"cluster": clusters})
    )
    assert not found.columns["morphology"].any()
    assert recovered(found.take(found.catalogued), clusters).all()


def test_the_fainter_of_a_double_goes(templates, pipeline):
    # 4 pixels apart, as two closer than 3.5 are found as one, with a limit below and above that.
    pair = np.array([100.0, 104.0]), np.full(2, 200.0), np.array([50.0, 30.0])
    frame = make_frame(templates, {"star": pair})
    for doubles_pix, kept in [(2.5, [True, True]), (4.5, [True, False])]:
        settings = dataclasses.replace(
            pipeline.settings, doubles_pix=doubles_pix, hd_limit_m_v=-5.0, hd_mci_in=(-2.0, 2.0)
        )
        found = dataclasses.replace(pipeline, settings=settings)(frame)
        assert recovered(found, pair, 1.0).all()
        assert recovered(found.take(found.catalogued), pair, 1.0).tolist() == kept


def test_each_cut_fails_what_it_is_for(templates, star_field, pipeline):
    frame, _ = star_field
    clusters = scatter(36, 10, 1.3, 1.8)
    lit = make_frame(templates, {"cluster": clusters})
    assert recovered(pipeline(lit).take(pipeline(lit).catalogued), clusters).all()
    dark = np.full((SIDE, SIDE), 0.1, np.float32)
    rng = np.random.default_rng(0)
    noise = (rng.poisson(dark * EXPOSURE_S) / EXPOSURE_S).astype(np.float32)
    two_bands = pipeline(lit.with_data({BANDS[0]: noise}))
    assert not two_bands.catalogued.any() and not two_bands.cuts["photometry"].any()
    high = dataclasses.replace(pipeline.settings, min_detection_snr=1e6)
    assert not dataclasses.replace(pipeline, settings=high)(lit).cuts["detection_snr"].any()
    floor = dataclasses.replace(pipeline.settings, ci_floor=3.0)
    assert not dataclasses.replace(pipeline, settings=floor)(lit).columns["morphology"].any()
    assert len(pipeline(frame)) > 150


# 20, 9.9, 7.9 and 4.4 Mpc.
@pytest.mark.parametrize(
    ("modulus", "changes", "bottom"),
    [
        (31.505, {}, -0.7),
        (29.978, {}, -1.1),
        (29.488, {}, -1.7),
        (28.217, {}, -2.0),
        (31.505, {"full_within_mpc": 30.0}, -2.0),
        (31.505, {"bottom": -0.9}, -0.9),
    ],
)
def test_the_polygon_ends_where_the_distance_says(
    monkeypatch, star_field, pipeline, modulus: float, changes: dict[str, float], bottom: float
):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(
        "starcensus.selection.pipeline.phangs.survey.multi_scale",
        lambda ci, _: (rng.uniform(-0.5, 0.3, len(ci)), rng.uniform(-2.1, 0.6, len(ci))),
    )
    frame = dataclasses.replace(star_field[0], distance_modulus=modulus)
    settings = dataclasses.replace(pipeline.settings, **changes)
    columns = dataclasses.replace(pipeline, settings=settings)(frame).columns
    mci = columns["mci_in"], columns["mci_out"]
    np.testing.assert_array_equal(columns["in_polygon"], in_polygon(*mci, bottom))
    # Every other edge would give another answer.
    for other in {-0.7, -0.9, -1.1, -1.7, -2.0} - {bottom}:
        assert (in_polygon(*mci, other) != columns["in_polygon"]).any()


def test_detections_below_their_limit_are_cut(templates, pipeline):
    found = pipeline(make_frame(templates, {"star": scatter(300, 15, -1.0, 0.3)}))
    snr = found.columns["detection_snr"]
    assert 10 < (snr < 5).sum() < len(snr) - 10
    np.testing.assert_array_equal(found.cuts["detection_snr"], snr >= 5)


def test_defaults_are_the_survey_s():
    s = PhangsSettings()
    assert (s.dao_fwhm_pix, s.threshold_sigma, s.min_detection_snr) == (2.5, 3.5, 5.0)
    assert (s.distinct_pix, s.flux_ratio, s.doubles_pix) == (2.0, 2.5, 2.5)
    assert (s.max_error, s.min_bands, s.min_snr) == (0.3, 3, 10.0)
    assert (s.max_mci_errors, s.bottom, s.full_within_mpc) == ((0.3, 1.0), None, 5.0)
    assert (s.hd_limit_m_v, s.hd_mci_in, s.exclusion_level) == (-10.0, (-0.55, 0.45), 0.5)


def on_pure_noise(monkeypatch, pipeline, smooth_pix: float, correlation: float) -> Detections:
    """Measurements on frames of noise alone, at 3136 places that share no pixel."""
    step, per_side = 20, 56
    side = step * (per_side + 1)
    rng = np.random.default_rng(5)
    images = []
    for band in BANDS:
        data = rng.normal(0, 1, (side, side))
        if smooth_pix:
            data = ndimage.gaussian_filter(data, smooth_pix, mode="wrap")
        data = (data / data.std()).astype(np.float32)
        # So long that the photons of what little flux there is count for nothing.
        images.append(BandImage(band, data, 1e6, 25.0))
    at = step * (1 + np.arange(per_side))
    x, y = (np.ravel(g) + rng.uniform(-0.5, 0.5, per_side**2) for g in np.meshgrid(at, at))
    places = SourceList(x, y, np.ones(len(x)), np.full(len(x), 9.0), np.zeros(len(x), bool))
    monkeypatch.setattr(
        "starcensus.selection.pipeline.phangs.survey.find_sources", lambda *_: places
    )
    settings = dataclasses.replace(pipeline.settings, noise_correlation=correlation)
    return dataclasses.replace(pipeline, settings=settings)(Frame(tuple(images), MODULUS))


def test_the_scatter_on_pure_noise_is_the_stated_error(monkeypatch, pipeline):
    # 3136 places give a scatter to 1.3%, so 5% is 4 sigma; the error of a mean sky is 12% small.
    found = on_pure_noise(monkeypatch, pipeline, 0.0, 1.0)
    snr = found.columns["snr_v"]
    assert snr.std() == pytest.approx(1.0, abs=0.05) and abs(snr.mean()) < 0.07
    bright = snr > 0
    errors = found.mag_errors[bright, BANDS.index(V)]
    np.testing.assert_allclose(errors, 2.5 / np.log(10) / snr[bright], rtol=1e-6)


def test_noise_that_pixels_share_is_in_every_error(monkeypatch, pipeline):
    # A Gaussian of 0.5 pixel: 4 pi 0.25 in a wide aperture, less in 4 pixels and in the annulus.
    one, shared = (on_pure_noise(monkeypatch, pipeline, 0.5, c) for c in (1.0, np.pi))
    assert one.columns["snr_v"].std() > 1.3
    assert 0.75 < shared.columns["snr_v"].std() < 1.1
    # Errors grow by the root of the factor, in each band and for both indices.
    pairs = [(one.mag_errors, shared.mag_errors)]
    pairs += [(one.columns[n], shared.columns[n]) for n in ("mci_in_error", "mci_out_error")]
    for before, after in pairs:
        known = np.isfinite(before)
        assert known.mean() > 0.005
        np.testing.assert_allclose(after[known] / before[known], np.pi**0.5, rtol=1e-3)


def test_the_ml_sample_takes_the_regions_of_models(templates, pipeline):
    clusters = scatter(36, 11, 1.3, 1.8)
    frame = make_frame(templates, {"cluster": clusters})
    settings = dataclasses.replace(pipeline.settings, sample="ml")
    for inside in (True, False):
        everywhere = HitMap(10.0, (-5.0, -5.0), np.array([[inside]]))
        found = PhangsPipeline(settings, ModelRegions((everywhere,)))(frame)
        assert recovered(found.take(found.catalogued), clusters).all() == inside


def test_the_wide_kernel_adds_what_the_narrow_one_lacks():
    def listed(*rows: tuple[float, float]) -> SourceList:
        x, flux = (np.array(column, float) for column in zip(*rows, strict=True))
        return SourceList(x, np.zeros_like(x), flux, flux, np.zeros(len(x), bool))

    first = listed((0, 1.0), (1, 1.0), (10, 1.0))
    # Far from all; above 2.5 times the two near it, and not; within 2.0 pixels, and not.
    second = listed((30, 0.1), (0.5, 5.1), (0.5, 4.9), (12.0, 2.4), (12.1, 0.1))
    assert augments(first, second).tolist() == [True, True, False, False, True]
    none = SourceList(*(np.empty(0) for _ in range(4)), np.empty(0, bool))
    assert augments(none, second).all() and augments(first, none).tolist() == []


def test_sources_are_where_they_are_and_have_their_signal_to_noise(templates):
    stars = scatter(100, 12, 0.8, 1.0)
    image = make_frame(templates, {"star": stars}).image(V)
    found = find_sources(image, PhangsSettings())
    distance, rows = KDTree(np.column_stack([found.x, found.y])).query(np.column_stack(stars[:2]))
    assert np.median(distance) < 0.1 and (distance < 1).all()
    # Beside the sky's noise, which is 0.01 in a pixel, the kernel holds the height of a star.
    heights = found.snr[rows] / stars[2]
    assert np.std(heights) / np.mean(heights) < 0.15


def test_what_is_bad_is_not_detected_nor_measured(templates, pipeline):
    clusters = np.array([100.0, 300.0]), np.array([200.0, 200.0]), np.array([50.0, 50.0])
    frame = make_frame(templates, {"cluster": clusters})
    bad = np.zeros(frame.shape, bool)
    bad[190:211, 90:111] = True
    masked = tuple(dataclasses.replace(image, bad=bad) for image in frame)
    found = pipeline(Frame(masked, MODULUS))
    assert recovered(found.take(found.catalogued), clusters).tolist() == [False, True]


def test_the_result_depends_on_the_frame_alone(star_field, pipeline):
    frame, _ = star_field
    assert isinstance(pipeline, Pipeline)
    first = pipeline(frame)
    copy = pickle.loads(pickle.dumps(pipeline))
    again = copy(frame)
    np.testing.assert_array_equal(first.mags, again.mags)
    for name, passed in first.cuts.items():
        np.testing.assert_array_equal(passed, again.cuts[name])
    described = pipeline.describe()
    assert json.loads(json.dumps(described, allow_nan=False)) == described == copy.describe()
    assert described["pipeline"] == "phangs" and described["exclusion"]["n_stars"] > 100


def test_an_empty_field_has_no_sources_and_is_no_error(pipeline):
    rng = np.random.default_rng(0)
    flat = np.ones((60, 60), np.float32)
    for data in (flat, flat + rng.normal(0, 0.01, (60, 60)).astype(np.float32)):
        images = tuple(BandImage(band, data, EXPOSURE_S, 25.0) for band in BANDS)
        found = pipeline(Frame(images, MODULUS))
        assert not found.catalogued.any() and len(found) < 20
    assert found.mags.shape == (len(found), 3)


def test_what_a_frame_must_have_is_said(star_field, psfs, pipeline):
    frame, _ = star_field
    with pytest.raises(ValueError, match="no F555W or F606W or V among the bands WFC3_UVIS_F438W"):
        pipeline(frame.select((BANDS[0],)))
    with pytest.raises(ValueError, match=r"has 2 bands, .*; 3 are needed.*Lower min_bands"):
        pipeline(frame.select(BANDS[:2]))
    with pytest.raises(ValueError, match="no aperture correction for WFC3_UVIS_F438W"):
        PhangsPipeline()(frame)
    corrections = PhangsSettings(aperture_correction=dict.fromkeys(BANDS, -0.7))
    with pytest.raises(ValueError, match=f"no fiducial CI of {V}; got none"):
        PhangsPipeline(corrections)(frame)
    with pytest.raises(ValueError, match=f"no PSF of {BANDS[2]}; got {BANDS[0]}, {V}"):
        PhangsPipeline.for_field(frame, {band: psfs[band] for band in BANDS[:2]})
    with pytest.raises(ValueError, match="no F555W or F606W"):
        PhangsPipeline.for_field(frame.select((BANDS[0],)), psfs)
    image = frame.image(V)
    blind = dataclasses.replace(image, bad=np.ones(image.shape, bool))
    with pytest.raises(ValueError, match="all 160000 pixels are bad; expected some with data"):
        pipeline(Frame((frame.images[0], blind, frame.images[2]), MODULUS))


def test_a_field_without_stars_says_what_to_do(psfs, templates):
    frame = make_frame(templates, {"cluster": scatter(25, 13)})
    with pytest.raises(ValueError, match=r"clean stars do not make .*Pass `exclusion`"):
        PhangsPipeline.for_field(frame, psfs)
    assert PhangsPipeline.for_field(frame, psfs, exclusion=None).exclusion is None


def test_a_region_of_another_field_is_taken_as_it_is(psfs, templates):
    rng = np.random.default_rng(0)
    other = stellar_exclusion(rng.normal(0.2, 0.02, 100), rng.normal(0.4, 0.05, 100))
    frame = make_frame(templates, {"cluster": scatter(4, 13)})
    built = PhangsPipeline.for_field(frame, psfs, exclusion=other)
    assert isinstance(built.exclusion, StellarExclusion) and built.exclusion is other


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"threshold_sigma": 0.0}, "threshold_sigma is 0.0; expected more than 0"),
        ({"exclusion_level": 1.5}, "exclusion_level is 1.5; expected 0 to 1"),
        ({"back_size_pix": 4}, "back_size_pix is 4 and min_bands 3"),
        ({"hd_mci_in": (0.4, -0.5)}, "hd_mci_in is .*; expected low < high"),
        ({"aperture_correction": {"V": 0.7}}, "aperture_correction of V is 0.7; expected mag"),
        ({"fiducial_ci": {"V": (1.0, 2.0)}}, "six positive magnitudes"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, message: str):
    with pytest.raises(ValueError, match=message):
        PhangsSettings(**changes)


def test_there_are_two_samples():
    # The type checker of the session speaks first.
    with pytest.raises((ValueError, TypeCheckError), match="'both'"):
        PhangsSettings(sample="both")


def test_importing_the_survey_loads_no_image_library():
    code = (
        "import sys, starcensus.selection.pipeline as p; p.PhangsPipeline; "
        "print([m for m in ('sep', 'photutils', 'galsim') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
