"""Which source belongs to which injection."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree


def match_one_to_one(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    found_x: Float[np.ndarray, "m"],
    found_y: Float[np.ndarray, "m"],
    radius_pix: float,
) -> Int[np.ndarray, "n"]:
    """Index of the source of each injection, -1 for none: the closest pairs first, each used once.

    Pairs farther apart than `radius_pix` do not count; equal distances go to the lower index.
    """
    out = np.full(len(x), -1)
    if not len(x) or not len(found_x):
        return out
    tree = KDTree(np.stack([found_x, found_y], axis=1))
    near = tree.query_ball_point(np.stack([x, y], axis=1), radius_pix)
    pairs = [
        (float(np.hypot(x[i] - found_x[j], y[i] - found_y[j])), i, j)
        for i, sources in enumerate(near)
        for j in sources
    ]
    used: set[int] = set()
    for _, i, j in sorted(pairs):
        if out[i] < 0 and j not in used:
            out[i] = j
            used.add(j)
    return out


def nearest_distance(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    found_x: Float[np.ndarray, "m"],
    found_y: Float[np.ndarray, "m"],
) -> Float[np.ndarray, "n"]:
    """Pixels from each position to the closest source; infinite where there is no source."""
    if not len(x) or not len(found_x):
        return np.full(len(x), np.inf)
    tree = KDTree(np.stack([found_x, found_y], axis=1))
    return np.asarray(tree.query(np.stack([x, y], axis=1))[0])


def count_within(
    x: Float[np.ndarray, "n"],
    y: Float[np.ndarray, "n"],
    found_x: Float[np.ndarray, "m"],
    found_y: Float[np.ndarray, "m"],
    radius_pix: float,
) -> Int[np.ndarray, "n"]:
    """How many sources lie within `radius_pix` of each position."""
    if not len(x) or not len(found_x):
        return np.zeros(len(x), int)
    tree = KDTree(np.stack([found_x, found_y], axis=1))
    near = tree.query_ball_point(np.stack([x, y], axis=1), radius_pix, return_length=True)
    return np.asarray(near, int)
