"""Which of a synthetic galaxy's own clusters its catalogue holds."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from ..pipeline._base import Detections
from .match import nearest_distance


def catalogued_clusters(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    v_mag: Float[np.ndarray, "n"],
    found: Detections,
    field: Detections,
    match_pix: float = 3.0,
) -> Int[np.ndarray, "n"]:
    """For each cluster the row of `found` that stands for it in the catalogue, or -1.

    The rule is that of artificial clusters, seen from the catalogue: a source belongs to the
    brightest cluster within `match_pix`, each cluster to the nearest such source; a cluster where
    the galaxy without clusters has a source of its own in the catalogue does not count.

    **Arguments:**

    - `x`, `y`, `v_mag`: of the clusters, pixels and mag.
    - `found`, `field`: what the pipeline finds in the galaxy with and without its clusters.
    """
    out = np.full(len(x), -1)
    sources = np.flatnonzero(found.catalogued)
    if not len(x) or not len(sources):
        return out
    where = np.stack([found.x[sources], found.y[sources]], axis=1)
    old = field.catalogued
    taken = nearest_distance(x, y, field.x[old], field.y[old]) <= match_pix
    best = np.full(len(x), np.inf)
    for at, near in enumerate(KDTree(np.stack([x, y], axis=1)).query_ball_point(where, match_pix)):
        if not near:
            continue
        cluster = min(near, key=lambda i: (v_mag[i], i))
        distance = float(np.hypot(*(where[at] - (x[cluster], y[cluster]))))
        if not taken[cluster] and distance < best[cluster]:
            best[cluster] = distance
            out[cluster] = sources[at]
    return out
