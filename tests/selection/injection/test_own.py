"""Own clusters of a galaxy: each source stands for one cluster, and field sources for none."""

import numpy as np

from starcensus.selection.injection import catalogued_clusters
from starcensus.selection.pipeline import Detections


def detections(x: list[float], y: list[float], kept: list[bool] | None = None) -> Detections:
    n = len(x)
    nothing = np.zeros((n, 1))
    cuts = {"kept": np.ones(n, bool) if kept is None else np.array(kept)}
    where = np.array(x, float), np.array(y, float)
    return Detections(("ACS_F555W",), *where, nothing, nothing, np.zeros(n), cuts)


X = np.array([10.0, 10.5, 50.0, 80.0, 99.0])
Y = np.array([20.0, 20.0, 60.0, 30.0, 99.0])
V = np.array([22.0, 26.0, 21.0, 20.0, 19.0])
NONE = detections([], [])


def owners(x, y, v, found, measured):
    return catalogued_clusters(x, y, v, found, np.array(measured, float)).tolist()


def test_a_source_belongs_to_the_brightest_cluster_within_reach():
    # The fainter one is closer.
    found = detections([10.6, 51.0], [20.0, 60.0])
    assert owners(X, Y, V, found, [22.0, 21.0]) == [0, -1, 1, -1, -1]
    fainter = np.array([27.0, 26.0, 21.0, 20.0, 19.0])
    assert owners(X, Y, fainter, found, [25.5, 21.0]) == [-1, 0, 1, -1, -1]


def test_a_cluster_takes_the_nearest_of_two_sources():
    found = detections([51.5, 50.2], [60.0, 60.0])
    assert owners(X, Y, V, found, [21.0, 21.2]) == [-1, -1, 1, -1, -1]


def test_light_of_others_and_sources_that_were_cut_do_not_count():
    found = detections([80.0, 99.0, 10.0], [30.0, 99.0, 20.0], [True, True, False])
    # A field star of V = 19 lies on the cluster of V = 20.
    assert owners(X, Y, V, found, [18.6, 18.9, 22.0]) == [-1, -1, -1, -1, 1]
    assert owners(X, Y, V, found, [19.4, 18.9, 22.0]) == [-1, -1, -1, 0, 1]


def test_an_empty_catalogue_has_no_clusters():
    assert owners(X, Y, V, NONE, []) == [-1] * 5
