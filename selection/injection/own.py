"""Which of a synthetic galaxy's own clusters its catalogue holds."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree

from ...simulate.images.frame import BandImage
from ..pipeline._base import Detections
from .light import ApertureLight, owns, source_light


def catalogued_clusters(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    v_mag: Float[np.ndarray, "n"],
    r_eff_pc: Float[np.ndarray, "n"],
    found: Detections,
    image: BandImage,
    light: ApertureLight,
) -> Int[np.ndarray, "n"]:
    """For each cluster the row of `found` that stands for it in the catalogue, or -1.

    The rule is that of artificial clusters, seen from the catalogue: a source belongs to the
    cluster within `light.reach_pix` that gives most of the V light in its aperture, if that is at
    least half, and a cluster to the nearest of its sources.

    **Arguments:**

    - `x`, `y`, `v_mag`, `r_eff_pc`: of the clusters: pixels, apparent magnitude, half-light radius.
    - `found`: what the pipeline finds. `image`: in V. `light`: of the clusters' templates in V.
    """
    out = np.full(len(x), -1)
    sources = np.flatnonzero(found.catalogued)
    if not len(x) or not len(sources):
        return out
    where = np.stack([found.x[sources], found.y[sources]], axis=1)
    total = source_light(image, *where.T)
    rate = image.rate(v_mag)
    best = np.full(len(x), np.inf)
    tree = KDTree(np.stack([x, y], axis=1))
    for at, near in enumerate(tree.query_ball_point(where, light.reach_pix)):
        if not near:
            continue
        near = np.array(sorted(near))
        distance = np.hypot(where[at, 0] - x[near], where[at, 1] - y[near])
        own = rate[near] * light.fraction(r_eff_pc[near], distance)
        k = int(np.argmax(own))
        cluster = near[k]
        if owns(own[[k]], total[[at]])[0] and distance[k] < best[cluster]:
            best[cluster] = distance[k]
            out[cluster] = sources[at]
    return out
