"""Rows of a table tell of one cluster each: its properties, its place, its light, its noise."""

import dataclasses
import importlib
import pathlib

import numpy as np
import pytest

from starcensus.selection.injection import (
    InjectionPlan,
    InjectionTable,
    Injector,
    match_sources,
)
from starcensus.simulate import ClusterLibrary, Frame, Templates
from starcensus.simulate.images.frame import BandImage

HERE = pathlib.Path(__file__).parent
BANDS = ("ACS_F555W", "ACS_F814W")
SHAPE, START, N, PER_FRAME = (150, 260), 7, 72, 12
OLD = np.array([(40, 60), (52, 66), (45, 71), (40, 190), (100, 200), (112, 190), (120, 77)])
RADII = (1.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def toy():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        yield importlib.import_module("toy_survey")


def ramp(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Sky of the untouched frame: no two axes, nor directions of one, are alike."""
    return 1e-3 + 4e-3 * x / SHAPE[1] + 2e-2 * (y / SHAPE[0]) ** 2


@pytest.fixture(scope="module")
def injector(toy) -> Injector:
    """Frames of like brightness, two repeats, own radii, and a few sources that were there."""
    n, rng = START + N, np.random.default_rng(11)
    theta = rng.uniform(2, 6, n), rng.uniform(6, 9, n), rng.uniform(0, 3, n)
    v = rng.uniform(-13, -10, n)
    # More bands than the frame has, in another order.
    mags = np.stack([v - rng.uniform(0, 1, n), v + 1.0, v], 1)
    library = ClusterLibrary(
        *theta,
        ("ACS_F814W", "ACS_F435W", "ACS_F555W"),
        mags,
        rng.uniform(-3, 0, n),
        r_eff_pc=rng.choice(RADII, n),
        inclusion=rng.uniform(0.1, 1.0, n),
    )
    y, x = np.indices(SHAPE)
    data = ramp(x, y).astype(np.float32)
    data[*OLD.T] = 200.0
    frame = Frame(tuple(BandImage(band, data, 1000.0, 25.7) for band in BANDS), 29.98)
    psfs = {band: dataclasses.replace(toy.point_psf(), band=band) for band in BANDS}
    plan = InjectionPlan(
        n_clusters=N,
        repeats=2,
        per_frame=PER_FRAME,
        min_per_frame=PER_FRAME,
        start_row=START,
        min_separation_pix=20.0,
        margin_pix=12,
    )
    templates = Templates(psfs, frame.pc_per_pixel)
    return Injector(frame, library, templates, TwoBands(58.0), plan)


@dataclasses.dataclass(frozen=True)
class TwoBands:
    """The toy survey, with the magnitudes of its source in both bands."""

    threshold: float

    def describe(self):
        return {"pipeline": "two bands", "threshold": self.threshold}

    def __call__(self, frame: Frame):
        from scipy import ndimage
        from toy_survey import ToySurvey  # pyright: ignore[reportMissingImports]

        found = ToySurvey(self.threshold)(frame)
        at = found.y.astype(int), found.x.astype(int)
        mags = []
        for image in frame:
            total = ndimage.uniform_filter(image.data.astype(float), 5) * 25
            mags.append(image.mag(total[at]))
        mags = np.stack(mags, 1)
        return dataclasses.replace(
            found, bands=frame.bands, mags=mags, mag_errors=np.zeros_like(mags)
        )


@pytest.fixture(scope="module")
def table(injector) -> InjectionTable:
    return InjectionTable.concatenate(*(injector.run(i) for i in range(injector.n_frames)))


def test_properties_of_a_row_are_those_of_its_cluster(injector, table):
    """Frames of like brightness take rows of the library out of order."""
    assert (np.diff(table.cluster[:PER_FRAME]) < 0).any() and table.cluster.min() == START
    library, rows = injector.library, table.cluster
    for name in ("log_mass", "log_age", "a_v", "r_eff_pc", "log_density", "inclusion"):
        np.testing.assert_array_equal(getattr(table, name), library.column(name)[rows], name)
    for column, band in enumerate(BANDS):
        mags = library.abs_mags[rows, library.bands.index(band)]
        np.testing.assert_array_equal(table.true_mags[:, column], mags + 29.98)


def test_light_of_a_row_is_that_of_its_cluster(table):
    """What a 5 x 5 sum lacks depends on the radius alone; magnitudes of a frame differ by 0.5."""
    lacking = table.measured_mags - table.true_mags
    assert np.ptp(table.true_mags[:PER_FRAME, 0]) > 0.4
    means = []
    for radius in RADII:
        of_radius = lacking[table.r_eff_pc == radius]
        assert np.isfinite(of_radius).all() and (np.ptp(of_radius, axis=0) < 0.06).all()
        means.append(of_radius.mean())
    assert (np.diff(means) > 0.1).all()


def test_every_cluster_is_there_once_in_every_repeat(injector, table):
    sets = injector.n_frames // 2
    np.testing.assert_array_equal(table.frame, np.repeat(np.arange(2 * sets), PER_FRAME))
    np.testing.assert_array_equal(table.repeat, table.frame // sets)
    for repeat in (0, 1):
        rows = np.sort(table.cluster[table.repeat == repeat])
        np.testing.assert_array_equal(rows, np.arange(START, START + N))
    first, second = (table.take(table.repeat == repeat) for repeat in (0, 1))
    np.testing.assert_array_equal(first.cluster, second.cluster)
    assert not np.isclose(first.x, second.x).any()


def test_background_is_the_sky_at_the_place_of_the_cluster(table):
    at_place = ramp(table.x, table.y)
    np.testing.assert_allclose(table.background, at_place, atol=0.02 * at_place.max())
    # At (y, x) it would be another one.
    exchanged = ramp(np.minimum(table.y, SHAPE[1]), np.minimum(table.x, SHAPE[0]))
    assert np.median(np.abs(exchanged - at_place)) > 0.1 * at_place.max()


def test_crowding_counts_the_sources_of_the_untouched_frame(injector, table):
    found = injector.pipeline(injector.frame)
    assert len(found) == len(OLD)
    apart = np.hypot(table.x[:, None] - found.x, table.y[:, None] - found.y)
    np.testing.assert_array_equal(table.crowding, (apart <= 25).sum(axis=1))
    assert set(table.crowding) >= {0, 1, 2, 3}


class Placed(Injector):
    """An injector that puts the clusters of a frame near the first old source, then elsewhere."""

    def positions(self, number: int):
        n = len(self.rows(number))
        place = np.arange(n) * 20.0
        x = np.where(np.arange(n) == 0, self.control.x[0] + 1.0, 20.0 + place)
        y = np.where(np.arange(n) == 0, self.control.y[0] + 1.0, 75.0)
        return x, y, np.full(n, 1.0)


def test_what_was_detected_before_is_no_detection(injector):
    fields = {f.name: getattr(injector, f.name) for f in dataclasses.fields(injector)}
    table = Placed(**fields).run(0)
    assert table.cuts["bright"].all() and np.isfinite(table.measured_mags).all()
    assert not table.detected[0] and table.detected[1:].all()


def test_a_faint_cluster_on_a_bright_source_is_not_in_the_catalogue(injector):
    """Its source is there and passes the cuts, with the light of another."""
    fields = {f.name: getattr(injector, f.name) for f in dataclasses.fields(injector)}
    library = injector.library
    for fainter, expected in ((0.0, True), (4.0, False)):
        mags = library.abs_mags + fainter
        table = Placed(**fields | {"library": dataclasses.replace(library, abs_mags=mags)}).run(0)
        assert table.cuts["bright"][0] and np.isfinite(table.measured_mags[0]).all()
        assert table.catalogued[0] == expected
    assert table.already_there[0] and not table.already_there[1:].any()


@pytest.mark.parametrize(("distance", "is_found"), [(2.9, True), (3.1, False), (5.0, False)])
def test_sources_belong_to_injections_within_the_radius(injector, distance, is_found):
    """Sources of the catalogue and others, none of which was there before."""
    found, none = injector.control, injector.control.take(np.array([], int))
    x, y = found.x[:2] + distance, found.y[:2]
    for sources in (found, dataclasses.replace(found, cuts={"bright": np.zeros(len(found), bool)})):
        matches = match_sources(x, y, sources, none, 3.0)
        np.testing.assert_array_equal(matches.found, is_found)


def noise_in_common(one: np.ndarray, two: np.ndarray) -> float:
    """Correlation of the noise of two images, electrons, of one expected number per pixel.

    With n pixels its standard deviation is (2 / n)^½ for independent noise.
    """
    lit = one + two > 100
    return float(1 - np.mean((one - two)[lit] ** 2 / (one + two)[lit]))


def test_bands_have_photon_noise_of_their_own(injector):
    library = injector.library
    same = dataclasses.replace(library, abs_mags=np.repeat(library.abs_mags[:, :1], 2, axis=1))
    frame = dataclasses.replace(injector, library=same).injected(0)
    light = [
        (image.data.astype(float) - bare.data) * image.exposure_s
        for image, bare in zip(frame, injector.frame, strict=True)
    ]
    n = (light[0] + light[1] > 100).sum()
    assert n > 2000 and abs(noise_in_common(*light)) < 4 * np.sqrt(2 / n)
    assert noise_in_common(light[0], light[0]) == 1
