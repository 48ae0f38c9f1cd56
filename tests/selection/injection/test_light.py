"""The light that an injector puts into frames: how much, where, and with which noise."""

import functools

import numpy as np
import pytest

from starcensus.selection.injection import ApertureLight, InjectionPlan, Injector
from starcensus.selection.injection.light import owns
from starcensus.simulate import ClusterLibrary, Frame, Templates, default_psfs
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.galaxy import NGC628C
from starcensus.simulate.images.render import add_sources

from .toy_survey import BAND, ToySurvey

N, FRAMES = 16, 40
HALF = 6


@functools.cache
def templates_of(bands: tuple[str, ...], pc_per_pixel: float) -> Templates:
    return Templates(default_psfs(bands), pc_per_pixel)


def frames_of(exposure: float) -> tuple[Frame, list]:
    """V = 22 clusters of 3 pc in five bands of an empty frame; exposure times `exposure` times."""
    bands = tuple(e.band for e in NGC628C)
    data = np.tile(np.linspace(0, 1e-6, 330, dtype=np.float32), (240, 1))
    images = [BandImage(e.band, data, exposure * e.exposure_s, e.zero_point) for e in NGC628C]
    frame = Frame(tuple(images), 29.98)
    theta = np.full(N, 4.0), np.full(N, 8.0), np.zeros(N)
    library = ClusterLibrary(*theta, bands, np.full((N, 5), 22 - 29.98), np.zeros(N))
    # So that the boxes are inside.
    some = {"repeats": FRAMES, "margin_pix": 12}
    plan = InjectionPlan(per_frame=N, min_per_frame=N, radii_pc=(3.0,), **some)
    templates = templates_of(bands, frame.pc_per_pixel)
    injector = Injector(frame, library, templates, ToySurvey(1.0), plan)
    return frame, [(injector.positions(k), injector.injected(k)) for k in range(FRAMES)]


@pytest.fixture(scope="module")
def made():
    return frames_of(1.0)


@pytest.fixture(scope="module")
def sums(made):
    """`(cluster, band)`: light in a box, expected, and its noise; electrons."""
    exact = frames_of(1e8)[1]
    light, noise = [], []
    for ((x, y, _), frame), ((_, _, _), other) in zip(made[1], exact, strict=True):
        for i in range(N):
            pairs = list(zip(frame.images, other.images, strict=True))
            light.append([stamp(b.data, x[i], y[i]).sum() * a.exposure_s for a, b in pairs])
            noise.append(
                [stamp(a.data - b.data, x[i], y[i]).sum() * a.exposure_s for a, b in pairs]
            )
    return np.array(light), np.array(noise)


def stamp(data: np.ndarray, x: float, y: float) -> np.ndarray:
    row, col = round(y), round(x)
    return data[row - HALF : row + HALF + 1, col - HALF : col + HALF + 1].astype(float)


def test_photon_noise_of_a_cluster_of_22_mag(made, sums):
    """The noise of the light in a box has its number of electrons as variance, in each band.

    The deviation of 640 clusters has a standard error of 2.8%: 5% would be seen in the mean of the
    five bands, and a band may be off by 12%.
    """
    light, noise = sums
    for band, image in enumerate(made[0].images):
        rate = image.rate(np.array([22.0]))[0]
        assert 0.5 * rate < light[:, band].mean() / image.exposure_s < rate
    ratio = np.sqrt((noise**2 / light).mean(0))
    assert ratio == pytest.approx(1, rel=0.12) and ratio.mean() == pytest.approx(1, rel=0.05)


def test_light_is_where_the_table_says(made):
    """Centroids of all stamps, x and y apart: the frame is not square."""
    frame, frames = made
    off = []
    for (x, y, _), full in frames:
        for i in range(N):
            light = stamp(full.images[3].data, x[i], y[i])
            grid = np.arange(-HALF, HALF + 1)
            off.append(
                (
                    (light.sum(0) * grid).sum() / light.sum() - (x[i] - round(x[i])),
                    (light.sum(1) * grid).sum() / light.sum() - (y[i] - round(y[i])),
                )
            )
    spread = np.std(off, axis=0) / len(off) ** 0.5
    # Wings that the box cuts off draw centroids towards its middle, to no side on average.
    assert (np.abs(np.mean(off, axis=0)) < 4.5 * spread + 0.01).all()
    assert frame.images[0].shape == (240, 330)


def aperture_sums(r_eff: float, offset: float, angle: float, templates: Templates) -> float:
    """Light of a unit source in 4 pixels, less the median at 7 to 8 pixels, by counting subpixels.

    Nothing of the package but the drawing of the source.
    """
    data = np.zeros((61, 61), np.float32)
    x, y = 30.3, 29.8
    add_sources(data, templates.get(BAND, r_eff), np.array([x]), np.array([y]), np.ones(1))
    at_x, at_y = x + offset * np.cos(angle), y + offset * np.sin(angle)
    fine = (np.arange(61 * 20) - 9.5) / 20
    inside = np.hypot(fine - at_x, fine[:, None] - at_y) < 4
    share = inside.reshape(61, 20, 61, 20).mean((1, 3))
    r = np.hypot(np.arange(61) - at_x, np.arange(61)[:, None] - at_y)
    sky = np.median(data[(r >= 7) & (r < 8)])
    return float((share * data).sum() - sky * share.sum())


@pytest.mark.parametrize("r_eff", [0.0, 1.0, 3.0, 10.0])
def test_light_in_an_aperture_is_what_is_drawn(r_eff: float):
    templates = templates_of((BAND,), 1.9)
    light = ApertureLight(templates, BAND)
    for offset in (0.0, 0.6, 1.7, 3.0):
        drawn = [aperture_sums(r_eff, offset, angle, templates) for angle in (0.4, 2.5, 4.6)]
        found = light.fraction(np.array([r_eff]), np.array([offset]))[0]
        assert found == pytest.approx(np.mean(drawn), abs=0.006)
    edge = light.fraction(np.array([r_eff, r_eff]), np.array([3.0, np.nextafter(3.0, 4.0)]))
    assert edge[0] == edge[1]
    with pytest.raises(ValueError, match="reach_pix is 3"):
        light.fraction(np.array([r_eff]), np.array([3.2]))


def test_light_that_is_not_measured_is_nobodys():
    own, measured = np.array([1.0, 1.0, 1.0, 1.0]), np.array([np.nan, -1.0, 1.9, 2.1])
    assert owns(own, measured).tolist() == [False, False, True, False]
