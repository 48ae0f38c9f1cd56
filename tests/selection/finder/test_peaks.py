"""Peaks of maps: where they are, which are none, and what is averaged about them."""

import numpy as np
import pytest
from scipy import ndimage

from starcensus.selection.finder import PeakSettings, find_peaks


def spots(shape: tuple[int, int], places: list[tuple[int, int]]) -> np.ndarray:
    made = np.zeros(shape)
    made[tuple(np.transpose(places))] = 1.0
    return made


def test_single_pixels_come_back_at_their_places():
    """Ten pixels apart or more, within one (digest of the thesis, test 20)."""
    places = [(12, 12), (12, 30), (30, 12), (40, 25), (25, 44)]
    found = find_peaks(spots((60, 60), places), PeakSettings(min_height=0.01))
    assert len(found) == len(places)
    for y, x in places:
        assert np.hypot(found.y - y, found.x - x).min() <= 1.0


def test_heights_are_those_of_a_gaussian():
    [height] = find_peaks(spots((60, 60), [(30, 30)]), PeakSettings(min_height=0.01)).height
    assert height == pytest.approx(1 / (2 * np.pi * 9), rel=1e-3)
    assert len(find_peaks(spots((60, 60), [(30, 30)]))) == 0  # Lower than 0.05.


def test_peaks_are_all_the_pixels_that_no_neighbour_exceeds():
    """By brute force on smooth noise."""
    rng = np.random.default_rng(3)
    noise = ndimage.gaussian_filter(rng.normal(size=(80, 80)), 2.0)
    probability = 1 / (1 + np.exp(-6 * noise / noise.std()))
    found = find_peaks(probability, PeakSettings(smoothing_pix=1.0, min_height=0.3))
    share = ndimage.gaussian_filter(np.ones((80, 80)), 1.0, mode="constant")
    smooth = ndimage.gaussian_filter(probability, 1.0, mode="constant") / share
    expected = set()
    for y in range(80):
        for x in range(80):
            near = smooth[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if smooth[y, x] >= max(near.max(), 0.3):
                expected.add((y, x))
    assert set(zip(found.y.tolist(), found.x.tolist(), strict=True)) == expected
    assert len(expected) > 20 and (np.diff(found.height) <= 0).all()


def test_a_flat_top_is_one_peak():
    found = find_peaks(np.pad(np.ones((31, 31)), 20), PeakSettings(smoothing_pix=1.0))
    assert len(found) == 1 and (found.y[0], found.x[0]) == (35, 35)


def test_averages_have_the_stated_weights():
    rng = np.random.default_rng(1)
    probability = np.clip(spots((40, 40), [(20, 20)]) + 0.1 * rng.random((40, 40)), 0, 1)
    values = rng.normal(size=(40, 40))
    peaks = find_peaks(probability, PeakSettings(smoothing_pix=1.0, min_height=0.15))
    [k] = np.flatnonzero((peaks.y == 20) & (peaks.x == 20))
    total = weights = 0.0
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            weight = probability[20 + dy, 20 + dx] * np.exp(-(dy**2 + dx**2) / (2 * 1.5**2))
            total, weights = total + weight * values[20 + dy, 20 + dx], weights + weight
    assert peaks.mean(values)[k] == pytest.approx(total / weights, rel=1e-12)
    np.testing.assert_allclose(peaks.weight.sum(axis=1), 1.0)


def test_pixels_without_a_number_take_no_part():
    """A map of ones with a hole is as high at the hole's edge as elsewhere."""
    probability = np.full((60, 60), 0.5)
    probability[30, 40] = 0.9
    probability[:, :20] = np.nan
    probability[33:36, 38:44] = np.nan
    values = np.where(np.isfinite(probability), 1.0, np.nan)
    found = find_peaks(probability, PeakSettings(smoothing_pix=1.5))
    assert np.isfinite(found.height).all() and found.height.max() < 0.9
    assert np.hypot(found.y[0] - 30, found.x[0] - 40) <= 1.5
    assert found.mean(values) == pytest.approx(1.0)
    edge = probability[:, 20]
    assert np.isfinite(edge).all()
    assert len(find_peaks(np.full((30, 30), np.nan))) == 0


@pytest.mark.parametrize("corner", [(0, 0), (0, 39), (39, 39)])
def test_a_peak_at_the_edge_is_averaged_over_what_is_there(corner):
    found = find_peaks(spots((40, 40), [corner]), PeakSettings(smoothing_pix=1.0))
    assert (found.y[0], found.x[0]) == corner
    values = np.zeros((40, 40))
    values[corner] = 7.0
    assert found.mean(values)[0] == pytest.approx(7.0)


def test_what_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="expected probabilities"):
        find_peaks(np.full((9, 9), 1.5))
    with pytest.raises(ValueError, match="odd number"):
        PeakSettings(window_pix=4)
