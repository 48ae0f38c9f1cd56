"""Which of a synthetic galaxy's own clusters its catalogue holds."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from ..pipeline._base import Detections
from .match import owns


def catalogued_clusters(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    v_mag: Float[np.ndarray, "n"],
    found: Detections,
    measured_v: Float[np.ndarray, "m"],
    match_pix: float = 3.0,
) -> Int[np.ndarray, "n"]:
    """For each cluster the row of `found` that stands for it in the catalogue, or -1.

    The rule is that of artificial clusters, seen from the catalogue: a source belongs to the
    brightest cluster within `match_pix`, if that gives at least half of its V light, and a cluster
    to the nearest of its sources.

    **Arguments:**

    - `x`, `y`, `v_mag`: of the clusters, pixels and mag.
    - `found`: what the pipeline finds, and `measured_v`: its V magnitudes.
    """
    out = np.full(len(x), -1)
    sources = np.flatnonzero(found.catalogued)
    if not len(x) or not len(sources):
        return out
    where = np.stack([found.x[sources], found.y[sources]], axis=1)
    best = np.full(len(x), np.inf)
    for at, near in enumerate(KDTree(np.stack([x, y], axis=1)).query_ball_point(where, match_pix)):
        if not near:
            continue
        cluster = min(near, key=lambda i: (v_mag[i], i))
        measured = measured_v[sources[at]]
        distance = float(np.hypot(*(where[at] - (x[cluster], y[cluster]))))
        if bool(owns(v_mag[[cluster]], np.array([measured]))[0]) and distance < best[cluster]:
            best[cluster] = distance
            out[cluster] = sources[at]
    return out
