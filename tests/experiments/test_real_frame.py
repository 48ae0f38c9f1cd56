"""The example of a real frame: its files agree, and the frame enters by what they say."""

import importlib.resources
import pathlib
from typing import Any

import numpy as np
import pytest
from benchmarks.frame import bench_frame, frame_figure, match_known

from starcensus.bands import BANDS
from starcensus.experiments.jobs._job import open_job
from starcensus.experiments.jobs.finder import read_circles
from starcensus.experiments.jobs.survey import DetectJob
from starcensus.experiments.schema._base import load
from starcensus.experiments.schema.finder import FinderFile
from starcensus.experiments.schema.grid import GridFile
from starcensus.experiments.schema.stamps import StampsFile
from starcensus.experiments.schema.survey import SurveyFile
from starcensus.selection.pipeline import Detections
from starcensus.selection.pipeline.photometry import aperture_photometry
from starcensus.simulate import BandImage, Frame
from starcensus.simulate.stamps import cut_backgrounds

FOLDER = pathlib.Path(str(importlib.resources.files("starcensus.experiments")))
FOLDER = FOLDER / "examples" / "cnn" / "phat"
BAND = "ACS_F475W"
# Johnson et al. (2012): F475W, and the radius of its aperture in pixels.
PUBLISHED = {476: (21.74, 13.0), 477: (16.99, 33.4)}


@pytest.fixture(autouse=True)
def _own_band(monkeypatch):
    monkeypatch.setattr(BANDS, "_known", dict(BANDS._known))


def read(name: str, kind: type[Any]) -> Any:
    return load(FOLDER / name, kind)[0]


def test_the_files_of_a_real_frame_agree():
    grid, stamps = read("grid.toml", GridFile), read("stamps.toml", StampsFile)
    finder, survey = read("finder.toml", FinderFile), read("survey.toml", SurveyFile)
    assert grid.bands == stamps.bands == finder.bands == survey.bands
    assert list(grid.filters) == list(finder.images.paths) == [BAND]
    # The network is taught by the frame in which it looks.
    assert finder.images == survey.images
    (exposure,) = stamps.exposures
    read_as = survey.images.read
    assert (exposure.band, exposure.exposure_s) == (BAND, read_as.exposure_s)
    assert exposure.zero_point == read_as.zero_point
    assert stamps.stamps.distance_modulus == survey.images.distance_modulus
    assert stamps.stamps.size_pix == finder.network.window_pix
    assert stamps.n > finder.n_validation + finder.n_test


@pytest.mark.shared
def test_a_real_frame_enters_by_the_options_of_its_example(shared, tmp_path):
    job = open_job(FOLDER / "survey.toml", tmp_path, (shared / "images",))
    assert isinstance(job, DetectJob)
    frame, file = job.survey.frame, read("finder.toml", FinderFile)
    image = frame.image(BAND)
    assert frame.bands == (BAND,) and frame.shape == (900, 900)
    assert (image.zero_point, image.exposure_s) == (26.19, 1710.0)
    assert frame.distance_modulus == 24.4
    assert frame.pixel_scale_arcsec == pytest.approx(0.05, rel=1e-3)

    known = read_circles(FOLDER / "known.ecsv")
    margin = file.network.centre_pix
    for (x, y, _), (mag, radius) in zip(known, PUBLISHED.values(), strict=True):
        # A window fits about each cluster.
        assert margin <= min(x, y) and max(x, y) <= 899 - margin
        ring = (radius + 5.0, radius + 8.0)
        flux = aperture_photometry(image, np.array([x]), np.array([y]), (radius,), ring).flux
        assert image.mag(flux[0])[0] == pytest.approx(mag, abs=0.15)

    cut = cut_backgrounds(frame, file.backgrounds, file.seed, known)
    assert np.bincount(cut.split).tolist() == list(file.backgrounds.n)
    side = file.backgrounds.side_pix
    for x, y, radius in known:
        dx = np.maximum(np.maximum(cut.x - x, x - cut.x - side + 1), 0)
        dy = np.maximum(np.maximum(cut.y - y, y - cut.y - side + 1), 0)
        assert np.hypot(dx, dy).min() > radius


def detections(x: list[float], catalogued: list[bool]) -> Detections:
    n, at = len(x), np.array(x)
    return Detections(
        (BAND,),
        at,
        np.full(n, 40.0),
        np.full((n, 1), 21.0),
        np.full((n, 1), 0.1),
        np.full(n, np.nan),
        {"class": np.array(catalogued)},
        {"p_cluster": np.linspace(0.99, 0.5, n)},
    )


def test_known_clusters_are_matched_with_what_is_catalogued(tmp_path):
    found = detections([30.0, 42.0, 60.0, 99.0], [True, False, True, True])
    found.write(tmp_path / "catalogue.ecsv")
    (tmp_path / "known.csv").write_text("x,y,radius\n33,44,20\n43,40,20\n")
    # The second is nearest to a source that is not catalogued.
    numbers = bench_frame(FOLDER, tmp_path / "catalogue.ecsv", tmp_path / "known.csv")
    assert (numbers["n_peaks"], numbers["n_catalogued"]) == (4, 3)
    assert (numbers["n_known"], numbers["n_known_found"], numbers["n_others"]) == (2, 1, 2)
    assert numbers["known_0.distance_pix"] == 5.0 and numbers["known_0.p_cluster"] == 0.99
    assert numbers["known_1.distance_pix"] == 13.0 and "known_1.x" not in numbers
    none = match_known(detections([30.0], [False]), np.array([[30.0, 40.0, 9.0]]))
    assert none.source == [-1] and np.isinf(none.distance_pix[0]) and not none.others.any()


def test_the_picture_numbers_known_clusters_first():
    found = detections([60.0, 30.0, 101.0], [True, True, True])
    circles = np.array([[30.0, 40.0, 9.0]])
    data = np.random.default_rng(1).normal(0.0, 1.0, (101, 120)).astype(np.float32)
    frame = Frame((BandImage(BAND, data, 1000.0, 26.0),), 24.4, 0.05)
    figure = frame_figure(frame, found, circles, match_known(found, circles))
    titles = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert titles == ["1: 21.0 mag", "2: 21.0 mag", "3: 21.0 mag"]
    limits = [axes.get_xlim() for axes in figure.axes if axes.get_title()]
    assert limits == [(-2.0, 62.0), (28.0, 92.0), (69.0, 133.0)]
