"""What a network says at every pixel, and of the peaks: window by window."""

import dataclasses

import numpy as np
import pytest

from starcensus.networks import ConvNetwork, ConvSettings
from starcensus.networks.cnn.decoding import decode, softmax
from starcensus.networks.cnn.mixture import Mixtures, mixture_outputs
from starcensus.networks.cnn.targets import Axis, Grid
from starcensus.selection.finder import (
    FinderSettings,
    PeakSettings,
    find_clusters,
    find_peaks,
    finder_maps,
)

GRID = Grid(
    Axis(6.6, 10.0, 5),
    Axis(0.0, 3.0, 4),
    Axis(3.5, 5.5, 6),
    Axis(0.0, 1.0, 5),
    Axis(-1.0, 2.0, 9, 0),
)
CONV = ConvSettings(
    ("V", "I"), (1.0, 1.0), (((3, 6),), ((3, 12),)), 5, heads=tuple(GRID.heads().items())
)
SIDE = CONV.window_pix


@pytest.fixture(scope="module")
def network() -> ConvNetwork:
    """Random, with answers that vary from pixel to pixel."""
    rng = np.random.default_rng(2)
    arrays = {name: 0.7 * rng.normal(size=shape) for name, shape in CONV.shapes().items()}
    return ConvNetwork(CONV, arrays)


@pytest.fixture(scope="module")
def mosaic() -> np.ndarray:
    made = np.random.default_rng(3).normal(size=(2, 60, 50))
    made[:, 40:43, 10:14] = np.nan
    return made


def windows(mosaic: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    return np.stack([mosaic[:, i : i + SIDE, j : j + SIDE] for i, j in zip(y, x, strict=True)])


@pytest.mark.parametrize("stride", [1, 2])
def test_maps_are_the_answers_at_each_window(network, mosaic, stride):
    maps = finder_maps(network, GRID, mosaic, FinderSettings(stride=stride, tile_pix=16))
    ny, nx = maps.probability.shape
    assert (ny, nx) == ((60 - SIDE) // stride + 1, (50 - SIDE) // stride + 1)
    assert maps.origin_pix == (SIDE - 1) / 2 and maps.stride == stride
    y, x = (a.ravel() for a in np.mgrid[:ny, :nx])
    said = network(windows(mosaic, stride * y, stride * x))
    hole = ~np.isfinite(windows(mosaic, stride * y, stride * x)).all(axis=(1, 2, 3))
    assert hole.any() and not hole.all()
    assert (np.isnan(maps.probability).ravel() == hole).all()
    sure = softmax(said["class"][~hole])[:, 1]
    np.testing.assert_allclose(maps.probability.ravel()[~hole], sure, atol=1e-4)
    seen = 10 ** decode(softmax(said["visibility"][~hole]), (GRID.log_visibility,))[:, 0]
    np.testing.assert_allclose(maps.visibility.ravel()[~hole], seen, rtol=1e-3)


def test_posteriors_are_means_of_those_about_a_peak(network, mosaic):
    settings = FinderSettings(0.0, 0.0, PeakSettings(smoothing_pix=1.0))
    found = find_clusters(network, GRID, mosaic, settings)
    peaks = find_peaks(finder_maps(network, GRID, mosaic).probability, settings.peaks)
    assert len(found) == len(peaks) > 5
    for place, own, at in ((found.x, peaks.x, peaks.columns), (found.y, peaks.y, peaks.rows)):
        middle = place - (SIDE - 1) / 2
        assert np.abs(middle - own).max() < settings.peaks.window_pix / 2
        expected = [np.average(a, weights=w) for a, w in zip(at, peaks.weight, strict=True)]
        np.testing.assert_allclose(middle, expected, atol=1e-9)
    for k in (0, len(peaks) - 1):
        some = peaks.weight[k] > 0
        said = network(windows(mosaic, peaks.rows[k][some], peaks.columns[k][some]))
        for name, own in (("joint", found.said.joint[k]), ("size", found.said.size[k])):
            expected = peaks.weight[k][some] @ softmax(said[name])
            np.testing.assert_allclose(own, expected, atol=1e-5)
    np.testing.assert_allclose(found.said.joint.sum(axis=1), 1.0, atol=1e-6)
    points, ranges = found.points(), found.intervals()
    for name, axis in zip((*points,), GRID.continuous, strict=True):
        assert axis.edges[0] <= points[name].min() <= points[name].max() <= axis.edges[-1]
        assert (np.diff(ranges[name], axis=1) >= 0).all()


def test_mixtures_are_blended_as_bins_are(mosaic):
    """The density at a peak is the weighted sum of those of its windows."""
    heads = (*GRID.heads().items(), ("mixture", mixture_outputs(2)))
    conv = dataclasses.replace(CONV, heads=heads)
    rng = np.random.default_rng(4)
    arrays = {name: 0.3 * rng.normal(size=shape) for name, shape in conv.shapes().items()}
    network = ConvNetwork(conv, arrays)
    settings = FinderSettings(0.0, 0.0, PeakSettings(smoothing_pix=1.0))
    found = find_clusters(network, GRID, mosaic, settings)
    peaks = find_peaks(finder_maps(network, GRID, mosaic).probability, settings.peaks)
    assert found.said.mixtures is not None
    theta = np.array([[7.3, 1.1, 4.2, 0.4]])
    for k in (0, len(peaks) - 1):
        some = peaks.weight[k] > 0
        said = network(windows(mosaic, peaks.rows[k][some], peaks.columns[k][some]))
        each = Mixtures.of_outputs(said["mixture"], GRID)
        density = np.exp(each.log_density(np.repeat(theta, some.sum(), axis=0)))
        own = found.said.mixtures.take(np.array([k])).log_density(theta)
        assert np.exp(own[0]) == pytest.approx(peaks.weight[k][some] @ density, rel=1e-3)
    middle = found.said.answers.quantiles((0.5,))[:, 2, 0]
    np.testing.assert_array_equal(found.intervals()["log_mass"][:, 2], middle)
    nothing = find_clusters(network, GRID, mosaic, FinderSettings(0.999999, 1e9))
    assert len(nothing) == 0 and nothing.points()["log_age"].shape == (0,)


def test_a_higher_cut_leaves_some_of_what_a_lower_one_found(network, mosaic):
    """Visibility 2 holds those of 2.5, and they those of 3 (digest of the thesis, test 20)."""
    peaks = PeakSettings(smoothing_pix=1.0)
    every = find_clusters(network, GRID, mosaic, FinderSettings(0.0, 0.0, peaks))
    least = np.quantile(every.visibility, (0.2, 0.5, 0.8))
    found = [find_clusters(network, GRID, mosaic, FinderSettings(0.0, v, peaks)) for v in least]
    places = [set(zip(f.x.tolist(), f.y.tolist(), strict=True)) for f in (every, *found)]
    assert places[0] > places[1] > places[2] > places[3] > set()
    assert all(f.visibility.min() >= v for f, v in zip(found, least, strict=True))
    sure = np.median(every.probability)
    half = find_clusters(network, GRID, mosaic, FinderSettings(float(sure), 0.0, peaks))
    assert half.probability.min() >= sure and len(half) == (every.probability >= sure).sum()


def test_a_mosaic_without_clusters_has_none(network, mosaic):
    assert len(find_clusters(network, GRID, mosaic, FinderSettings(min_visibility=1e6))) == 0
