"""A network as a survey pipeline, with a network whose answers are known: it sees bright pixels."""

import dataclasses
import json
import pickle

import numpy as np
import pytest

from starcensus.files import FileError
from starcensus.networks import ConvSettings, save_network
from starcensus.networks.cnn.targets import Grid
from starcensus.selection.finder import find_clusters
from starcensus.selection.pipeline import (
    CnnPipeline,
    CnnSettings,
    Field,
    aperture_photometry,
    make_pipeline,
    run_pipeline,
)
from starcensus.simulate import BandImage, Frame
from starcensus.simulate.images.psf import optical_psf
from starcensus.simulate.stamps import StampSettings

BANDS = ("WFC3_UVIS_F336W", "WFC3_UVIS_F438W", "WFC3_UVIS_F814W")
SKY = 0.02
GRID = Grid()
CONV = ConvSettings(
    BANDS, (SKY, SKY, SKY), stages=(((1, 1),),), box_pix=9, heads=tuple(GRID.heads().items())
)
PSFS = {band: optical_psf(band, 0.04, radius_pix=16) for band in BANDS}
STAMPS = StampSettings()


def eye() -> dict[str, np.ndarray]:
    """Its one feature is asinh of the flux in the second band; above 5 it says that there is a
    cluster, and the brighter it is the more visible, and the more massive."""
    arrays = {name: np.zeros(shape) for name, shape in CONV.shapes().items()}
    arrays["stage_0.conv_0.weight"][0, 4] = 1.0
    arrays["heads.class.weight"][1, 0] = 10.0
    arrays["heads.class.bias"][1] = -50.0
    arrays["heads.visibility.weight"][:, 0] = np.arange(20)
    arrays["heads.visibility.bias"][:] = -0.25 * np.arange(20) ** 2
    mass = np.broadcast_to(np.arange(14.0), GRID.joint_shape).ravel()
    arrays["heads.joint.weight"][:, 0] = mass
    arrays["heads.joint.bias"][:] = -0.4 * mass**2
    return arrays


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("network")
    prior = np.full(GRID.heads()["joint"], 1 / GRID.heads()["joint"])
    about = {
        "grid": GRID.as_dict(),
        "prior": prior.tolist(),
        "taught": [1.0] * len(prior),
        "lattice": {"log_age": 0.05, "a_v": 0.1},
        "stamps": STAMPS.describe(),
    }
    save_network(path / "eye.json", CONV, eye(), about)
    return path


X, Y = np.array([20.0, 48.0, 70.0, 33.0]), np.array([22.0, 60.0, 25.0, 77.0])
RATES = np.array([40.0, 160.0, 80.0, 4.0])


def frame(zero_points=None, bad: bool = False, **changes) -> Frame:
    """Four sources on noise: three that the network sees, one that it does not."""
    rng = np.random.default_rng(4)
    images = []
    for exposure, zero in zip(STAMPS.exposures, zero_points or (None,) * 3, strict=True):
        data = rng.normal(SKY, 0.1 * SKY, (96, 96))
        row, col = np.mgrid[:96, :96]
        for x, y, rate in zip(X, Y, RATES, strict=True):
            near = np.exp(-((row - y) ** 2 + (col - x) ** 2) / (2 * 1.8**2))
            data += rate * near / near.sum()
        own = exposure.zero_point if zero is None else zero
        data = data * 10 ** (0.4 * (own - exposure.zero_point))
        hole = np.zeros(data.shape, bool)
        hole[58:62, 46:50] = bad
        told = {"exposure_s": exposure.exposure_s, **changes.get("image", {})}
        images.append(
            BandImage(exposure.band, data, zero_point=own, bad=hole if bad else None, **told)
        )
    return Frame(
        tuple(images),
        changes.get("distance_modulus", STAMPS.distance_modulus),
        changes.get("pixel_scale_arcsec", 0.04),
    )


SETTINGS = CnnSettings("eye.json", min_class=0.5, min_visibility=0.2)


def pipeline(folder, of: Frame | None = None, **changes) -> CnnPipeline:
    settings = dataclasses.replace(SETTINGS, **changes)
    return CnnPipeline.for_field(of or frame(), PSFS, settings, folder=folder)


def test_sources_are_where_the_network_sees_them(folder):
    found = run_pipeline(pipeline(folder), frame())
    kept = np.flatnonzero(found.catalogued)
    assert len(kept) == 3
    for x, y, rate in list(zip(X, Y, RATES, strict=True))[:3]:
        away = np.hypot(found.x[kept] - x, found.y[kept] - y)
        k = kept[away.argmin()]
        assert away.min() < 0.3
        # All light of a source that is as wide as 1.8 pixels, within 4: 1 - exp(-(4/1.8)²/2).
        image = frame().image(BANDS[1])
        inside = rate * (1 - np.exp(-((4 / 1.8) ** 2) / 2))
        lost = pipeline(folder).settings.aperture_correction[BANDS[1]]
        expected = image.zero_point - 2.5 * np.log10(inside) + lost
        assert found.mags[k, 1] == pytest.approx(expected, abs=0.03)
    assert list(found.cuts) == ["class", "visibility"]
    assert found.pipeline["pipeline"] == "cnn" and "tile_pix" not in found.pipeline
    json.dumps(found.pipeline)


def test_what_is_catalogued_is_what_the_finder_finds(folder):
    made, images = pipeline(folder), frame()
    found, posteriors = made.find(images)
    alone = find_clusters(made.network, GRID, made.see(images), made.settings.finder)
    kept = found.catalogued
    np.testing.assert_allclose(found.x[kept], alone.x)
    np.testing.assert_allclose(posteriors.joint, alone.said.joint)
    assert posteriors.ids.tolist() == found.ids[kept].tolist()
    columns = found.columns
    np.testing.assert_allclose(columns["log_mass"][kept], alone.points()["log_mass"])
    np.testing.assert_allclose(columns["a_v_84"][kept], alone.intervals()["a_v"][:, 3])
    assert np.isnan(columns["log_mass"][~kept]).all()
    # The brightest is the most massive.
    brightest = found.mags[kept, 1].argmin()
    assert columns["log_mass"][kept].argmax() == brightest
    CI = aperture_photometry(images.image(BANDS[1]), found.x, found.y, (1.0, 3.0))
    np.testing.assert_allclose(found.ci, -2.5 * np.log10(CI.flux[:, 0] / CI.flux[:, 1]), atol=1e-9)


def test_a_lower_cut_keeps_more(folder):
    images = frame()
    all_of_them = pipeline(folder)(images)
    seen = np.sort(all_of_them.columns["visibility"][all_of_them.catalogued])
    # Between the faintest of the three and the next; and beyond the brightest.
    for limit, n in ((seen[:2].mean(), 2), (seen[1:].mean(), 1), (2 * seen[2], 0)):
        found = pipeline(folder, min_visibility=float(limit))(images)
        assert found.catalogued.sum() == n and len(found) == len(all_of_them)


def test_zero_points_may_differ_from_those_of_the_mocks(folder):
    other = (25.1, 24.0, 26.0)
    one, two = frame(), frame(other)
    first = pipeline(folder)(one)
    second = pipeline(folder, two)(two)
    np.testing.assert_allclose(first.x, second.x, atol=1e-3)
    np.testing.assert_allclose(first.columns["p_cluster"], second.columns["p_cluster"], atol=1e-3)
    np.testing.assert_allclose(first.mags, second.mags, atol=1e-4)


def test_without_posteriors_the_catalogue_is_the_same(folder):
    images = frame()
    whole, fast = (pipeline(folder, posteriors=p).find(images) for p in (True, False))
    np.testing.assert_array_equal(whole[0].mags, fast[0].mags)
    np.testing.assert_array_equal(whole[0].catalogued, fast[0].catalogued)
    assert set(whole[0].columns) > set(fast[0].columns) == {"p_cluster", "visibility"}
    assert len(fast[1]) == 0


def test_pixels_without_data_hide_what_is_there(folder):
    images = frame(bad=True)
    found = run_pipeline(pipeline(folder, images), images)
    at = np.hypot(found.x[found.catalogued] - X[1], found.y[found.catalogued] - Y[1])
    assert found.catalogued.sum() == 2 and at.min() > 10


def test_a_survey_file_makes_it_and_a_process_takes_it(folder):
    made = make_pipeline("cnn", SETTINGS, Field(frame(), PSFS, folder=folder))
    again = pickle.loads(pickle.dumps(made))
    np.testing.assert_array_equal(again(frame()).mags, made(frame()).mags)
    assert SETTINGS.files(folder) == [folder / "eye.json"]
    assert CnnSettings().files(folder) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distance_modulus": 29.98}, "the distance modulus is 29.98 and that of the network's"),
        ({"pixel_scale_arcsec": 0.05}, "pixels have 0.05 arcsec and those that the network was"),
        ({"image": {"exposure_s": 500.0}}, "WFC3_UVIS_F336W was exposed for 500 s"),
    ],
)
def test_other_images_than_those_of_its_mocks_are_refused(folder, changes, message):
    images = frame(**changes)
    if "pixel_scale_arcsec" in changes:
        made = pipeline(folder)
        with pytest.raises(ValueError, match=message):
            made(images)
        return
    with pytest.raises(ValueError, match=message):
        pipeline(folder, images)


def test_other_bands_are_refused(folder):
    with pytest.raises(ValueError, match="the images have no WFC3_UVIS_F438W, and the network"):
        pipeline(folder, frame().select((BANDS[0], BANDS[2])))


def test_settings_that_cannot_be_are_refused(folder):
    with pytest.raises(ValueError, match="stride is 3; expected 1, 2 or 4"):
        CnnSettings(stride=3)
    with pytest.raises(ValueError, match=r"max_exposure_ratio is 0\.5; expected 1 or more"):
        CnnSettings(max_exposure_ratio=0.5)
    with pytest.raises(ValueError, match="there is no network 'm99'; the package carries"):
        CnnPipeline.for_field(frame(), PSFS, CnnSettings("m99"))
    with pytest.raises(FileError, match=r"none\.json"):
        pipeline(folder, network="none.json")
    save_network(folder / "bare.json", CONV, eye(), {"grid": GRID.as_dict()})
    with pytest.raises(ValueError, match="says nothing of its prior"):
        pipeline(folder, network="bare.json")
    with pytest.raises(ValueError, match="aperture_correction: no band ACS_F555W"):
        pipeline(folder, aperture_correction={"ACS_F555W": -0.5})
