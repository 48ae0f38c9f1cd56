"""Known clusters of a galaxy: each source stands for one cluster, and field sources for none."""

import numpy as np
import pytest

from starcensus.selection.injection import ApertureLight, KnownClusters, catalogued_clusters
from starcensus.selection.pipeline import Detections
from starcensus.simulate import Frame, Templates
from starcensus.simulate.images.frame import BandImage
from starcensus.simulate.images.render import add_sources

from .toy_survey import BAND, point_psf

X = np.array([30.0, 30.5, 70.0, 100.0, 119.0])
Y = np.array([40.0, 40.0, 80.0, 50.0, 119.0])
V = np.array([22.0, 26.0, 21.0, 20.0, 19.0])
R = np.array([1.0, 1.0, 3.0, 8.0, 1.0])


@pytest.fixture(scope="module")
def templates() -> Templates:
    return Templates({BAND: point_psf()}, 1.9)


def detections(x: list[float], y: list[float], kept: list[bool] | None = None) -> Detections:
    n = len(x)
    nothing = np.zeros((n, 1))
    cuts = {"kept": np.ones(n, bool) if kept is None else np.array(kept)}
    where = np.array(x, float), np.array(y, float)
    return Detections((BAND,), *where, nothing, nothing, np.zeros(n), cuts)


def owners(templates: Templates, found: Detections, v=V, stars=()) -> list[int]:
    """With the clusters in an image, and stars (x, y, magnitude)."""
    image = BandImage(BAND, np.zeros((150, 160), np.float32), 1000.0, 25.7)
    data = np.zeros(image.shape, np.float32)
    for i in range(len(X)):
        at = X[[i]], Y[[i]]
        add_sources(data, templates.get(BAND, float(R[i])), *at, image.rate(v[[i]]))
    for x, y, mag in stars:
        at = np.array([x]), np.array([y])
        add_sources(data, templates.get(BAND, 0.0), *at, image.rate(np.array([mag])))
    light = ApertureLight(templates, BAND)
    return catalogued_clusters(X, Y, v, R, found, image.with_data(data), light).tolist()


def test_a_source_belongs_to_the_brightest_cluster_within_reach(templates):
    # The fainter one is closer.
    found = detections([30.6, 71.0], [40.0, 80.0])
    assert owners(templates, found) == [0, -1, 1, -1, -1]
    fainter = np.array([28.0, 26.0, 21.0, 20.0, 19.0])
    assert owners(templates, found, fainter) == [-1, 0, 1, -1, -1]


def test_a_cluster_takes_the_nearest_of_two_sources(templates):
    found = detections([71.5, 70.2], [80.0, 80.0])
    assert owners(templates, found) == [-1, -1, 1, -1, -1]


def test_sources_that_were_cut_and_places_without_clusters_do_not_count(templates):
    found = detections([100.0, 119.0, 10.0], [50.0, 119.0, 20.0], [False, True, True])
    assert owners(templates, found) == [-1, -1, -1, -1, 1]


@pytest.mark.parametrize("cluster", [0, 2, 3])
def test_half_of_the_light_in_the_aperture_is_needed_at_every_radius(templates, cluster: int):
    """A star of nearly the cluster's own light in the aperture, and one of a little more."""
    inside = ApertureLight(templates, BAND).fraction(R[[cluster, 1]], np.zeros(2)) * [1, 0]
    star = ApertureLight(templates, BAND).fraction(np.array([0.0]), np.zeros(1))
    equal = V[cluster] - 2.5 * np.log10(inside[0] / star[0])
    found = detections([X[cluster]], [Y[cluster]])
    for brighter, row in ((-0.1, 0), (0.1, -1)):
        stars = [(X[cluster], Y[cluster], equal - brighter)]
        assert owners(templates, found, stars=stars)[cluster] == row


def test_an_empty_catalogue_has_no_clusters(templates):
    assert owners(templates, detections([], [])) == [-1] * 5


def test_what_is_recorded_of_the_catalogued_clusters(templates):
    n = 60
    rng = np.random.default_rng(1)
    row, column = np.divmod(np.arange(n), 10)
    x, y = 20.0 + 20 * column, 20.0 + 20 * row
    theta = np.stack([rng.uniform(3, 5, n), rng.uniform(6, 9, n), rng.uniform(0, 2, n)], axis=1)
    clusters = KnownClusters(x, y, np.full(n, 20.0), np.full(n, 3.0), theta, {"log_n": 2.0})
    data = np.zeros((150, 230), np.float32)
    image = BandImage(BAND, data, 1000.0, 25.7)
    add_sources(data, templates.get(BAND, 3.0), x, y, image.rate(clusters.v_mag))
    frame = Frame((image.with_data(data),), 29.98)
    found = detections(list(x), list(y), [True] * 40 + [False] * 20)
    sigma = (0.1, 0.2, 0.3)
    made = clusters.catalogue(found, frame, templates, sigma, seed=4)
    assert made.ids.tolist() == [str(i) for i in range(40)]
    noise = (made.theta - theta[:40]) / sigma
    assert np.abs(noise.mean(0)).max() < 0.6 and np.abs(noise.std(0) - 1).max() < 0.4
    np.testing.assert_allclose(
        made.theta_high - made.theta_low, np.broadcast_to(sigma, (40, 3)) * 2
    )
    np.testing.assert_array_equal(made.columns["true_log_age"], theta[:40, 1])
    assert made.meta["recorded"] == "gaussian" and made.meta["n_drawn"] == n
    again = clusters.catalogue(found, frame, templates, sigma, seed=4)
    np.testing.assert_array_equal(made.theta, again.theta)
    with pytest.raises(ValueError, match="none of its 60 clusters is catalogued"):
        clusters.catalogue(detections([1.0], [1.0]), frame, templates)
    with pytest.raises(ValueError, match="three errors above 0"):
        clusters.catalogue(found, frame, templates, (0.1, 0.0, 0.1))
